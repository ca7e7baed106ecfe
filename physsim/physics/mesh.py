"""Rest shapes: tetrahedra of 4 or 10 nodes and spring nets, from arrays and from generators. Files come in through `physsim.io`."""

from dataclasses import dataclass

import numpy as np

from physsim.errors import InputError
from physsim.physics import validation

EDGES = np.array([[0, 1], [1, 2], [2, 0], [0, 3], [1, 3], [2, 3]])  # middle nodes 4..9, the order of VTK
_FACES = np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])  # outward for a positive tetrahedron
_FACE_MIDDLES = np.array([[6, 5, 4], [4, 8, 7], [7, 9, 6], [5, 9, 8]])  # between corners 0-1, 1-2, 2-0 of each face


@dataclass(frozen=True)
class TetMesh:
    """A solid's rest shape.

    Args:
        points: rest positions [m], shape [n, 3].
        cells: node indices, shape [m, 4] or [m, 10] (corners, then the middles of edges 01, 12, 20, 03, 13, 23).

    Raises:
        InputError: NaN, indices out of range, unused points, repeated nodes, inverted or flat tetrahedra (with indices).
    """

    points: np.ndarray
    cells: np.ndarray

    def __post_init__(self):
        points = validation.array("TetMesh.points", self.points, (None, 3))
        if np.ndim(self.cells) != 2 or np.shape(self.cells)[1] not in (4, 10) or len(self.cells) == 0:
            raise InputError(f"TetMesh.cells: shape {list(np.shape(self.cells))}; one row of 4 or 10 nodes a tetrahedron is needed")
        cells = validation.indices("TetMesh.cells", self.cells, len(points), (None, None))
        object.__setattr__(self, "points", points)
        object.__setattr__(self, "cells", cells)
        _check_cells(points, cells)

    @property
    def order(self):
        """1 for four nodes, 2 for ten."""
        return 1 if self.cells.shape[1] == 4 else 2

    def volumes(self):
        """Volume of each tetrahedron [m^3], shape [m] (straight edges)."""
        return _corner_volumes(self.points, self.cells)

    def quadratic(self):
        """The same shape with ten-node tetrahedra: a node in the middle of every edge."""
        if self.order == 2:
            return self
        pairs = np.sort(self.cells[:, EDGES].reshape(-1, 2), axis=1)
        edges, inverse = np.unique(pairs, axis=0, return_inverse=True)
        middles = self.points[edges].mean(axis=1)
        cells = np.concatenate([self.cells, len(self.points) + inverse.reshape(-1, 6)], axis=1)
        return TetMesh(np.concatenate([self.points, middles]), cells)

    def surface(self):
        """Outward triangles of the boundary, shape [t, 3]; a ten-node face gives four."""
        corners = self.cells[:, _FACES].reshape(-1, 3)
        _, first, count = np.unique(np.sort(corners, axis=1), axis=0, return_index=True, return_counts=True)
        outer = np.sort(first[count == 1])
        if self.order == 1:
            return corners[outer]
        middles = self.cells[:, _FACE_MIDDLES].reshape(-1, 3)[outer]
        a, b, c = corners[outer].T
        ab, bc, ca = middles.T
        return np.stack([a, ab, ca, ab, b, bc, ca, bc, c, ab, bc, ca], axis=1).reshape(-1, 3)

    def surface_cells(self):
        """The tetrahedron behind each triangle of `surface`, shape [t]."""
        corners = self.cells[:, _FACES].reshape(-1, 3)
        _, first, count = np.unique(np.sort(corners, axis=1), axis=0, return_index=True, return_counts=True)
        return np.repeat(np.sort(first[count == 1]) // 4, 1 if self.order == 1 else 4)

    def node_shares(self):
        """Share of its tetrahedron's volume that each node carries, shape [nodes]: the scaled diagonal of the mass matrix.

        Source: Hinton, Rock and Zienkiewicz 1976 (a quadratic tetrahedron's row sums would be negative at the corners).
        """
        return np.full(4, 1 / 4) if self.order == 1 else np.array([1 / 36] * 4 + [4 / 27] * 6)

    def interpolation(self, positions, outside=0.0):
        """Weights that carry material points with the body.

        Args:
            positions: rest positions of the material points [m], shape [p, 3]; the nearest tetrahedron is extrapolated.
            outside: how far outside the body a point may lie [m].

        Returns:
            (nodes, weights), each of shape [p, 4 or 10]: position = sum over weights * x[nodes].

        Raises:
            InputError: a point further outside than `outside`.
        """
        positions = validation.array("positions", positions, (None, 3))
        corners = self.points[self.cells[:, :4]]
        inverse = np.linalg.inv(np.swapaxes(corners[:, 1:] - corners[:, :1], 1, 2))
        local = np.einsum("mij,pmj->pmi", inverse, positions[:, None] - corners[None, :, 0])
        barycentric = np.concatenate([1 - local.sum(-1, keepdims=True), local], axis=-1)
        worst = barycentric.min(-1)
        best = worst.argmax(1)
        rows = np.arange(len(positions))
        b = barycentric[rows, best]
        nearest = np.einsum("pi,pij->pj", np.clip(b, 0, 1) / np.clip(b, 0, 1).sum(1, keepdims=True), corners[best])
        away = np.linalg.norm(nearest - positions, axis=1)
        if (away > outside + 1e-9).any():
            i = int(away.argmax())
            raise InputError(f"positions: point {i} lies {away[i]:.4g} m outside the body; {outside:g} m are allowed")
        if self.order == 1:
            return self.cells[best], b
        weights = np.concatenate([b * (2 * b - 1), 4 * b[:, EDGES[:, 0]] * b[:, EDGES[:, 1]]], axis=1)
        return self.cells[best], weights


def _corner_volumes(points, cells):
    a, b, c, d = (points[cells[:, i]] for i in range(4))
    return np.einsum("ij,ij->i", np.cross(b - a, c - a), d - a) / 6


def _check_cells(points, cells):
    ordered = np.sort(cells, axis=1)
    repeated = np.flatnonzero((ordered[:, 1:] == ordered[:, :-1]).any(axis=1))
    if len(repeated):
        raise InputError(f"TetMesh.cells: tetrahedra {some(repeated)} name a node twice; give each its own nodes")
    unused = np.setdiff1d(np.arange(len(points)), cells)
    if len(unused):
        raise InputError(f"TetMesh.points: points {some(unused)} belong to no tetrahedron and would have no mass; remove them")
    volumes = _corner_volumes(points, cells)
    edges = points[cells[:, EDGES[:, 0]]] - points[cells[:, EDGES[:, 1]]]
    longest = np.linalg.norm(edges, axis=-1).max(axis=1)
    inverted = np.flatnonzero(volumes < 0)
    if len(inverted):
        raise InputError(f"TetMesh.cells: tetrahedra {some(inverted)} are inverted (negative volume); swap two of their corners")
    flat = np.flatnonzero(volumes <= 1e-9 * longest**3)
    if len(flat):
        raise InputError(f"TetMesh.cells: tetrahedra {some(flat)} are flat (no volume); merge or remove them, or remesh")

    if cells.shape[1] == 10:
        _check_middles(points, cells)


def _check_middles(points, cells):
    """Jacobians of ten-node tetrahedra at the four quadrature points and the corners' centre."""
    near, far = 0.5854101966249685, 0.1381966011250105
    for q in range(5):
        b = np.full(4, 0.25) if q == 4 else np.where(np.arange(4) == q, near, far)
        corner = np.diag(4 * b - 1.0)
        middle = np.zeros((6, 4))
        for row, (i, j) in enumerate(EDGES):
            middle[row, i], middle[row, j] = 4 * b[j], 4 * b[i]
        shape = np.concatenate([corner, middle])
        derivatives = shape[:, 1:] - shape[:, :1]
        bad = np.flatnonzero(np.linalg.det(np.einsum("mni,nj->mij", points[cells], derivatives)) <= 0)
        if len(bad):
            text = f"TetMesh.cells: ten-node tetrahedra {some(bad)} are folded; the middle nodes belong to the edges 01, 12, 20, 03, 13, 23"
            raise InputError(f"{text}, in this order, near the edges' middles")


def some(numbers, limit=8):
    """Indices for an error: the first few and how many there are."""
    text = ", ".join(str(int(i)) for i in numbers[:limit])
    return f"[{text}{', ...' if len(numbers) > limit else ''}] ({len(numbers)} in all)"


def box_mesh(size, cells, order=1, origin=(0.0, 0.0, 0.0)):
    """A box of tetrahedra, five to a cell, mirrored from cell to cell so that faces match.

    Args:
        size: lengths along x, y, z [m].
        cells: number of cells along x, y, z.
        order: 1 for four-node, 2 for ten-node tetrahedra.
        origin: the box's lowest corner [m].

    Returns:
        TetMesh of 5 nx ny nz tetrahedra.

    Raises:
        InputError: sizes or counts not above 0, an order other than 1 and 2.
    """
    size = validation.array("size", size, (3,), lower=0.0, lower_open=True)
    origin = validation.array("origin", origin, (3,))
    counts = validation.array("cells", cells, (3,), kind="i", lower=1)
    if order not in (1, 2):
        raise InputError(f"order = {order!r}: 1 (four-node tetrahedra) or 2 (ten-node) is needed")
    grid = np.meshgrid(*(np.linspace(0, s, n + 1) for s, n in zip(size, counts, strict=True)), indexing="ij")
    points = np.stack(grid, -1).reshape(-1, 3) + origin
    number = np.arange(len(points)).reshape(counts + 1)
    i, j, k = (a.ravel() for a in np.meshgrid(*(np.arange(n) for n in counts), indexing="ij"))
    corner = np.stack([number[i + (b & 1), j + (b >> 1 & 1), k + (b >> 2 & 1)] for b in range(8)], axis=1)
    even = np.array([[0, 1, 2, 4], [3, 2, 1, 7], [5, 4, 7, 1], [6, 7, 4, 2], [1, 2, 4, 7]])
    odd = np.array([[1, 3, 0, 5], [2, 0, 3, 6], [4, 5, 6, 0], [7, 6, 5, 3], [0, 3, 5, 6]])
    pattern = np.where(((i + j + k) % 2 == 0)[:, None, None], even, odd)
    tets = np.take_along_axis(corner, pattern.reshape(len(i), -1), axis=1).reshape(-1, 4)
    negative = _corner_volumes(points, tets) < 0
    tets[negative] = tets[negative][:, [0, 2, 1, 3]]
    mesh = TetMesh(points, tets)
    return mesh.quadratic() if order == 2 else mesh


@dataclass(frozen=True)
class SpringNet:
    """Particles joined by springs.

    Args:
        points: positions [m], shape [n, 3].
        edges: particle pairs, shape [m, 2].
        rest_lengths: [m], shape [m]; None takes the distances of `points`.
        kinds: a number a spring that tells families apart (0 structural, 1 shear, 2 bending for `spring_net`), shape [m].

    Raises:
        InputError: NaN, indices out of range, an edge from a particle to itself, a rest length of zero.
    """

    points: np.ndarray
    edges: np.ndarray
    rest_lengths: np.ndarray | None = None
    kinds: np.ndarray | None = None

    def __post_init__(self):
        points = validation.array("SpringNet.points", self.points, (None, 3))
        edges = validation.indices("SpringNet.edges", self.edges, len(points), (None, 2))
        loops = np.flatnonzero(edges[:, 0] == edges[:, 1])
        if len(loops):
            raise InputError(f"SpringNet.edges: springs {some(loops)} join a particle to itself; remove them")
        lengths = self.rest_lengths
        if lengths is None:
            lengths = np.linalg.norm(points[edges[:, 0]] - points[edges[:, 1]], axis=1)
        lengths = validation.array("SpringNet.rest_lengths", lengths, (len(edges),), lower=0.0, lower_open=True)
        kinds = np.zeros(len(edges), int) if self.kinds is None else self.kinds
        kinds = validation.array("SpringNet.kinds", kinds, (len(edges),), kind="i")
        for name, value in (("points", points), ("edges", edges), ("rest_lengths", lengths), ("kinds", kinds)):
            object.__setattr__(self, name, value)


def spring_net(cells, size, bending=True):
    """A rectangular net in the xy plane: structural (kind 0), shear (1) and bending (2, every second particle) springs.

    Args:
        cells: number of cells along x and y.
        size: lengths along x and y [m].
        bending: whether to add the springs of kind 2.

    Returns:
        SpringNet of (nx + 1)(ny + 1) particles; particle (i, j) has number j (nx + 1) + i.
    """
    size = validation.array("size", size, (2,), lower=0.0, lower_open=True)
    nx, ny = validation.array("cells", cells, (2,), kind="i", lower=1) + 1
    y, x = np.meshgrid(np.linspace(0, size[1], ny), np.linspace(0, size[0], nx), indexing="ij")
    points = np.stack([x, y, np.zeros_like(x)], -1).reshape(-1, 3)
    number = np.arange(nx * ny).reshape(ny, nx)
    families = [(1, 0, 0), (0, 1, 0), (1, 1, 1), (1, -1, 1)] + ([(2, 0, 2), (0, 2, 2)] if bending else [])
    edges, kinds = [], []
    for di, dj, kind in families:
        low, high = max(0, -dj), ny - max(0, dj)
        a = number[low:high, : nx - di].ravel()
        b = number[low + dj : high + dj, di:].ravel()
        edges.append(np.stack([a, b], axis=1))
        kinds.append(np.full(len(a), kind))
    return SpringNet(points, np.concatenate(edges), kinds=np.concatenate(kinds))
