"""Where a mesh tells splats how it deforms: carriers, and each splat's shares of them.

What the carriers are, what they know and what completes it stands in `physsim.kernels.render.binding`.
"""

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.spatial import cKDTree

from physsim.appearance.gather import Gather
from physsim.appearance.nearest import containing_tetrahedron, nearest_element
from physsim.errors import InputError
from physsim.kernels.render.binding import FRAMED, LINE, PLANE, SOLID
from physsim.physics.frames import RigidFrame
from physsim.physics.mesh import EDGES, SpringNet, TetMesh
from physsim.physics.rods import Curve
from physsim.physics.sheets import TriMesh

DETERMINED = 0.05  # share of the largest moment of a particle's springs from which on a direction is determined: cones of 13 degrees
NEIGHBOURS = 6  # particles of a net that carry a splat
_FACES = np.array([[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]])  # opposite each corner


@dataclass(frozen=True)
class Carriage:
    """How a mesh carries splats.

    Args:
        slopes: carriers x particles, h [1/m].
        kinds: SOLID, PLANE, LINE or FRAMED, shape [carriers].
        axes: Q, shape [carriers, 3, 3].
        shares: splats x carriers.
        means: splats x particles.
        away: how far from the mesh each splat's mean lies [m], shape [splats].
    """

    slopes: Gather
    kinds: np.ndarray
    axes: np.ndarray
    shares: Gather
    means: Gather
    away: np.ndarray


def carriage(mesh: object, points: np.ndarray) -> Carriage:
    """How a mesh carries points.

    Args:
        mesh: TetMesh, TriMesh, SpringNet, Curve, or the RigidFrame of a rigid body.
        points: at rest [m], shape [n, 3].

    Raises:
        InputError: another kind of mesh.
    """
    build = {TetMesh: _tetrahedra, TriMesh: _triangles, SpringNet: _springs, Curve: _rod, RigidFrame: _frame}.get(type(mesh))
    if build is None:
        raise _unknown(mesh)
    return build(mesh, points)


def usual_distance(mesh: object) -> float:
    """How far from a mesh its splats may usually lie [m]: the mean length of its edges, or a twentieth of its diagonal if that is more.

    Raises:
        InputError: another kind of mesh than `carriage` takes.
    """
    find = {
        TetMesh: lambda m: m.cells[:, EDGES].reshape(-1, 2),
        TriMesh: lambda m: m.edges(),
        SpringNet: lambda m: m.edges,
        Curve: lambda m: m.edges,
        RigidFrame: lambda m: np.array([[0, 1], [0, 2], [0, 3]]),
    }.get(type(mesh))
    if find is None:
        raise _unknown(mesh)
    pairs = find(mesh)
    length = np.linalg.norm(mesh.points[pairs[:, 0]] - mesh.points[pairs[:, 1]], axis=1).mean()
    return float(max(length, np.linalg.norm(np.ptp(mesh.points, axis=0)) / 20))


def _unknown(mesh: object) -> InputError:
    return InputError(f"bind: a TetMesh, TriMesh, SpringNet, Curve or a Body of one is needed, {type(mesh).__name__} was given")


def _tetrahedra(mesh: TetMesh, points: np.ndarray) -> Carriage:
    """Carriers are the corners: F of the tetrahedra around, weighted by volume, is blended over each tetrahedron."""
    ends = mesh.cells[:, :4]
    nodes, number = np.unique(ends, return_inverse=True)
    number = number.reshape(ends.shape)
    volumes = mesh.volumes()
    weights = volumes[:, None] / np.bincount(number.ravel(), np.repeat(volumes, 4))[number]
    slopes = weights[..., None, None] * _slopes_at_corners(mesh)
    rows = np.broadcast_to(number[:, :, None], slopes.shape[:3])
    columns = np.broadcast_to(mesh.cells[:, None, :], slopes.shape[:3])

    element, barycentric, away = _tetrahedron_of(mesh, points)
    which = np.arange(len(points))
    shares = Gather.from_entries(np.repeat(which, 4), number[element], barycentric, len(points))
    cells, shape = mesh.cells[element], barycentric
    if mesh.order == 2:
        b = barycentric
        shape = np.concatenate([b * (2 * b - 1), 4 * b[:, EDGES[:, 0]] * b[:, EDGES[:, 1]]], axis=1)
    means = Gather.from_entries(np.repeat(which, cells.shape[1]), cells, shape, len(points))
    return Carriage(
        Gather.from_entries(rows, columns, slopes, len(nodes)),
        np.full(len(nodes), SOLID),
        np.broadcast_to(np.eye(3), (len(nodes), 3, 3)),
        shares,
        means,
        away,
    )


def _slopes_at_corners(mesh: TetMesh) -> np.ndarray:
    """Gradients of the shape functions [1/m] at each tetrahedron's corners, shape [m, 4 corners, nodes, 3]."""
    corners = mesh.points[mesh.cells[:, :4]]
    sides = np.swapaxes(corners[:, 1:] - corners[:, :1], 1, 2)
    straight = np.linalg.inv(sides)
    straight = np.concatenate([-straight.sum(axis=1, keepdims=True), straight], axis=1)
    count, nodes = mesh.cells.shape
    if mesh.order == 1:
        return np.broadcast_to(straight[:, None], (count, 4, 4, 3))
    out = np.zeros((count, 4, nodes, 3))
    for corner in range(4):
        b = np.eye(4)[corner]
        by_b = np.concatenate([np.diag(4 * b - 1.0), np.zeros((6, 4))])
        for row, (i, j) in enumerate(EDGES):
            by_b[4 + row, i], by_b[4 + row, j] = 4 * b[j], 4 * b[i]
        local = by_b[:, 1:] - by_b[:, :1]
        jacobian = np.einsum("mni,nj->mij", mesh.points[mesh.cells], local)
        folded = np.linalg.det(jacobian) < 0.05 * np.linalg.det(sides)  # a strongly curved corner: take the straight element
        jacobian[folded] = sides[folded]
        out[:, corner] = np.einsum("nj,mji->mni", local, np.linalg.inv(jacobian))
        out[folded, corner] = np.concatenate([straight, np.zeros((count, 6, 3))], axis=1)[folded]
    return out


def _tetrahedron_of(mesh: TetMesh, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(tetrahedron, barycentric coordinates in it of the nearest point of the body, distance [m]) of each point."""
    ends = mesh.cells[:, :4]
    element, weights, inside = containing_tetrahedron(points, mesh.points[ends])
    away = np.zeros(len(points))
    out = np.flatnonzero(~inside)
    if len(out):
        faces = ends[:, _FACES].reshape(-1, 3)
        _, first, count = np.unique(np.sort(faces, axis=1), axis=0, return_index=True, return_counts=True)
        outer = first[count == 1]
        found, on_face, away[out] = nearest_element(points[out], mesh.points[faces[outer]])
        element[out] = outer[found] // 4
        weights[out] = 0.0
        weights[out[:, None], _FACES[outer[found] % 4]] = on_face
    return element, weights, away


def _triangles(mesh: TriMesh, points: np.ndarray) -> Carriage:
    """Carriers are the triangles; at a point they are blended by area around each corner."""
    corners = mesh.points[mesh.triangles]
    u, v = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    normal = np.cross(u, v)
    square = (normal * normal).sum(-1, keepdims=True)
    dual = np.stack([np.cross(v, normal) / square, np.cross(normal, u) / square], axis=1)
    slopes = np.concatenate([-dual.sum(axis=1, keepdims=True), dual], axis=1)
    first, third = u / np.linalg.norm(u, axis=1, keepdims=True), normal / np.sqrt(square)

    count = len(mesh.triangles)
    of_triangle = np.repeat(np.arange(count), 3)
    areas = np.repeat(mesh.areas(), 3)
    around = areas / np.bincount(mesh.triangles.ravel(), areas)[mesh.triangles.ravel()]
    at_points = Gather.from_entries(mesh.triangles, of_triangle, around, len(mesh.points))
    element, weights, away = nearest_element(points, corners)
    means = Gather.from_entries(np.repeat(np.arange(len(points)), 3), mesh.triangles[element], weights, len(points))
    return Carriage(
        Gather.from_entries(of_triangle, mesh.triangles, slopes, count),
        np.full(count, PLANE),
        np.stack([first, np.cross(third, first), third], axis=2),
        means.after(at_points),
        means,
        away,
    )


def _springs(net: SpringNet, points: np.ndarray) -> Carriage:
    """Carriers are the particles: least squares over their springs, where these determine a direction."""
    pairs = np.concatenate([net.edges, net.edges[:, ::-1]])
    arms = net.points[pairs[:, 1]] - net.points[pairs[:, 0]]
    square = (arms * arms).sum(-1)
    pairs, arms, square = pairs[square > 0.0], arms[square > 0.0], square[square > 0.0]
    nodes, number = np.unique(pairs[:, 0], return_inverse=True)
    if len(nodes) == 0:
        raise InputError("bind: every spring has no length at rest, so that the net tells no deformation")
    moments = np.zeros((len(nodes), 3, 3))
    np.add.at(moments, number, arms[:, :, None] * arms[:, None, :] / square[:, None, None])
    sizes, axes = np.linalg.eigh(moments)
    sizes, axes = sizes[:, ::-1], axes[:, :, ::-1]
    axes = axes * np.where(np.linalg.det(axes) < 0.0, -1.0, 1.0)[:, None, None]
    determined = sizes > DETERMINED * sizes[:, :1]
    inverse = np.einsum("nik,nk,njk->nij", axes, np.where(determined, 1.0 / np.where(determined, sizes, 1.0), 0.0), axes)
    slopes = np.einsum("eij,ej->ei", inverse[number], arms) / square[:, None]
    own = np.concatenate([number, number])
    entries = np.concatenate([pairs[:, 1], pairs[:, 0]])

    shares, away = _around(net, points, nodes)
    return Carriage(
        Gather.from_entries(own, entries, np.concatenate([slopes, -slopes]), len(nodes)),
        np.array([LINE, PLANE, SOLID])[determined.sum(axis=1) - 1],
        axes,
        shares,
        Gather(shares.offsets, nodes[shares.columns], shares.values),
        away,
    )


def _around(net: SpringNet, points: np.ndarray, nodes: np.ndarray) -> tuple[Gather, np.ndarray]:
    """Shares of the nearest particles, fading to nothing, and distances to the nearest spring.

    Only ends of the nearest spring and what springs join to them count, so that a layer does not stick to another one close by.
    """
    spring, _, away = nearest_element(points, net.points[net.edges])
    count = min(NEIGHBOURS + 1, len(nodes))
    distance, near = cKDTree(net.points[nodes]).query(points, k=count)
    distance, near = distance.reshape(len(points), count), near.reshape(len(points), count)
    ends = net.edges[spring]
    joined = sparse.coo_matrix((np.ones(2 * len(net.edges)), (net.edges.T.ravel(), net.edges[:, ::-1].T.ravel())), (len(net.points),) * 2)
    joined = joined.tocsr()
    allowed = (nodes[near][:, :, None] == ends[:, None, :]).any(axis=2)
    for end in ends.T:
        allowed |= np.asarray(joined[np.repeat(end, count), nodes[near].ravel()]).reshape(near.shape) > 0
    none = ~allowed.any(axis=1)
    allowed[none] = True
    reach = 1.001 * distance[:, -1:] * (1.0 if count > NEIGHBOURS else 2.0) + 1e-300
    weights = allowed * (1.0 - (distance / reach) ** 2) ** 2
    weights /= weights.sum(axis=1, keepdims=True)
    return Gather.from_entries(np.repeat(np.arange(len(points)), count), near, weights, len(points)), away


def _rod(curve: Curve, points: np.ndarray) -> Carriage:
    """Carriers are the edges; at a point they are blended by length around each end."""
    line, edges, lengths = curve.line, curve.edges, curve.lengths
    count = len(edges)
    along = (line[edges[:, 1]] - line[edges[:, 0]]) / lengths[:, None]
    if curve.framed:
        third = curve.point_count + np.arange(count)
        director = (curve.points[third] - line[edges].mean(axis=1)) / curve.arm
    else:
        director = np.cross(along, np.eye(3)[np.abs(along).argmin(axis=1)])
        director /= np.linalg.norm(director, axis=1, keepdims=True)
    stretch = along / lengths[:, None]
    columns, slopes = edges, np.stack([-stretch, stretch], axis=1)
    if curve.framed:
        half = 0.5 * director[:, None] / curve.arm
        columns = np.concatenate([edges, third[:, None]], axis=1)
        slopes = np.concatenate([slopes - half, 2.0 * half], axis=1)

    of_edge = np.repeat(np.arange(count), 2)
    shares = np.repeat(lengths, 2)
    around = shares / np.bincount(edges.ravel(), shares)[edges.ravel()]
    at_points = Gather.from_entries(edges, of_edge, around, curve.point_count)
    element, weights, away = nearest_element(points, line[edges])
    means = Gather.from_entries(np.repeat(np.arange(len(points)), 2), edges[element], weights, len(points))
    return Carriage(
        Gather.from_entries(np.repeat(np.arange(count), columns.shape[1]), columns, slopes, count),
        np.full(count, FRAMED if curve.framed else LINE),
        np.stack([along, director, np.cross(along, director)], axis=2),
        means.after(at_points),
        means,
        away,
    )


def _frame(frame: RigidFrame, points: np.ndarray) -> Carriage:
    """One carrier: the frame's four particles tell its motion."""
    slopes = (frame.weights(np.eye(3)) - frame.weights(np.zeros(3))).T
    zeros, which = np.zeros(4, dtype=int), np.arange(len(points))
    return Carriage(
        Gather.from_entries(zeros, np.arange(4), slopes, 1),
        np.array([SOLID]),
        np.eye(3)[None],
        Gather.from_entries(which, 0 * which, np.ones(len(points)), len(points)),
        Gather.from_entries(which, 0 * which, np.ones(len(points)), len(points)),
        np.zeros(len(points)),
    )
