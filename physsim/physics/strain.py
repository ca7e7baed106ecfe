"""Strain of bodies from their positions alone: of tetrahedra, triangles, springs and the edges of rods."""

import numpy as np

from physsim.physics.mesh import TetMesh
from physsim.physics.rods import Curve
from physsim.physics.sheets import TriMesh


def green_strain(mesh, positions):
    """Green strain E = (F^T F - 1) / 2 of tetrahedra or triangles [-], shape [..., elements, 3, 3].

    Of ten-node tetrahedra that of their corners; a triangle's normal is not stretched.

    Args:
        mesh: TetMesh or TriMesh.
        positions: of its points [m], shape [..., n, 3].
    """
    cells = mesh.cells if isinstance(mesh, TetMesh) else mesh.triangles
    F = _edges(positions, cells) @ np.linalg.inv(_edges(mesh.points, cells))
    return (F.swapaxes(-1, -2) @ F - np.eye(3)) / 2


def largest_strain(mesh, positions):
    """Largest principal Green strain of every element [-], shape [..., elements].

    Of springs and of a rod's edges the one along them, (l^2 / l0^2 - 1) / 2; of triangles the larger one in their plane.

    Args:
        mesh: TetMesh, TriMesh, SpringNet or Curve.
        positions: of its points [m], shape [..., n, 3].
    """
    positions = np.asarray(positions, dtype=np.float64)
    if isinstance(mesh, TriMesh):
        # of the three eigenvalues the normal's is 0: trace and second invariant give the other two
        E = green_strain(mesh, positions)
        half = 0.5 * np.trace(E, axis1=-2, axis2=-1)
        square = (E**2).sum(axis=(-2, -1))
        return half + np.sqrt(np.maximum(0.5 * square - half**2, 0.0))
    if isinstance(mesh, TetMesh):
        return np.linalg.eigvalsh(green_strain(mesh, positions))[..., -1]
    lengths = mesh.lengths if isinstance(mesh, Curve) else mesh.rest_lengths
    sides = positions[..., mesh.edges[:, 1], :] - positions[..., mesh.edges[:, 0], :]
    return 0.5 * ((sides**2).sum(axis=-1) / lengths**2 - 1.0)


def at_points(mesh, values):
    """Means of the elements about every point, weighted by their size at rest, shape [..., n].

    Args:
        mesh: TetMesh, TriMesh, SpringNet or Curve.
        values: one an element, shape [..., elements].
    """
    if isinstance(mesh, TetMesh):
        nodes, sizes = mesh.cells, mesh.volumes()
    elif isinstance(mesh, TriMesh):
        nodes, sizes = mesh.triangles, mesh.areas()
    else:
        nodes, sizes = mesh.edges, mesh.lengths if isinstance(mesh, Curve) else mesh.rest_lengths
    count = len(mesh.points)
    weights = np.repeat(sizes, nodes.shape[1])
    flat = np.asarray(values, dtype=np.float64).reshape(-1, len(nodes))
    sums = np.stack([np.bincount(nodes.ravel(), weights * np.repeat(row, nodes.shape[1]), minlength=count) for row in flat])
    out = sums / np.maximum(np.bincount(nodes.ravel(), weights, minlength=count), 1e-300)  # directors and loose points: 0
    return out.reshape(*np.shape(values)[:-1], count)


def _edges(points, cells):
    """Edges from the first corner as columns, [..., m, 3, 3]; a triangle's third one is its unit normal."""
    corners = points[..., cells, :]
    sides = np.moveaxis(corners[..., 1 : min(cells.shape[1], 4), :] - corners[..., :1, :], -1, -2)
    if cells.shape[1] > 3:
        return sides
    normal = np.cross(sides[..., 0], sides[..., 1])
    size = np.linalg.norm(normal, axis=-1, keepdims=True)
    return np.concatenate([sides, (normal / np.maximum(size, 1e-300))[..., None]], axis=-1)
