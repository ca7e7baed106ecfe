"""Fields over a body's cells that have few coefficients: constant on regions, or smooth; and where cells border on each other."""

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.sparse import linalg

from physsim.errors import InputError
from physsim.physics import validation
from physsim.physics.mesh import TetMesh, some
from physsim.physics.rods import Curve
from physsim.physics.sheets import TriMesh


@dataclass(frozen=True, eq=False)
class Cells:
    """What fields need to know of a mesh: simplices of d + 1 corners, d = 3 (tetrahedra), 2 (triangles) or 1 (edges of a rod).

    Args:
        points: corners at rest [m], shape [n, 3]; middle nodes of ten-node tetrahedra are left out.
        corners: of each cell, shape [m, d + 1].
        sizes: volume, area or length of each cell [m^d], shape [m].
    """

    points: np.ndarray
    corners: np.ndarray
    sizes: np.ndarray

    def __len__(self):
        return len(self.corners)

    def centres(self):
        """Mean of each cell's corners [m], shape [m, 3]."""
        return self.points[self.corners].mean(axis=1)

    def borders(self):
        """Cells that share a side: pairs [k, 2], and the side's area, length, or 1 at a point, shape [k]."""
        count = self.corners.shape[1]
        sides = np.concatenate([np.delete(self.corners, i, axis=1) for i in range(count)])
        owner = np.tile(np.arange(len(self)), count)
        ordered = np.sort(sides, axis=1)
        order = np.lexsort(ordered.T)
        same = np.flatnonzero((ordered[order[1:]] == ordered[order[:-1]]).all(axis=1))
        pairs = np.stack([owner[order[same]], owner[order[same + 1]]], axis=1)
        arms = self.points[ordered[order[same]]]
        arms = arms[:, 1:] - arms[:, :1]
        if count == 4:
            return pairs, 0.5 * np.linalg.norm(np.cross(arms[:, 0], arms[:, 1]), axis=1)
        return pairs, np.linalg.norm(arms[:, 0], axis=1) if count == 3 else np.ones(len(pairs))

    def gradients(self):
        """Gradient of each corner's linear function in its cell [1/m], shape [m, d + 1, 3]."""
        at = self.points[self.corners]
        slopes = np.swapaxes(np.linalg.pinv(at[:, 1:] - at[:, :1]), 1, 2)
        return np.concatenate([-slopes.sum(axis=1, keepdims=True), slopes], axis=1)


def cells_of(mesh):
    """Cells of a TetMesh, a TriMesh or a Curve.

    Raises:
        InputError: another kind of mesh.
    """
    if isinstance(mesh, TetMesh):
        used, corners = np.unique(mesh.cells[:, :4], return_inverse=True)
        return Cells(mesh.points[used], corners.reshape(-1, 4), mesh.volumes())
    if isinstance(mesh, TriMesh):
        return Cells(mesh.points, mesh.triangles, mesh.areas())
    if isinstance(mesh, Curve):
        n = len(mesh.line)
        edges = np.stack([np.arange(n), (np.arange(n) + 1) % n], axis=1)[: n if mesh.closed else n - 1]
        return Cells(mesh.line, edges, np.linalg.norm(mesh.line[edges[:, 1]] - mesh.line[edges[:, 0]], axis=1))
    raise InputError(f"mesh: a TriMesh, TetMesh or Curve is needed, {type(mesh).__name__} was given")


def region_basis(labels):
    """Basis of fields that are constant on regions: `field = basis @ values`.

    Args:
        labels: region of each cell (tetrahedron, triangle, edge), whole numbers from 0, shape [m].

    Returns:
        array [m, regions] of zeros and ones.

    Raises:
        InputError: labels that are not whole numbers from 0, or leave one out.
    """
    labels = validation.array("labels", labels, (None,), kind="i", lower=0)
    count = int(labels.max(initial=-1)) + 1
    empty = np.setdiff1d(np.arange(count), labels)
    if count == 0 or len(empty):
        raise InputError(f"labels: regions {some(empty)} have no cell; number the regions 0, 1, 2, ... without gaps")
    return np.eye(count)[labels]


def smooth_basis(mesh, count):
    """Basis of smooth fields over a body: `field = basis @ coefficients`.

    The smoothest vibrations of the body as a membrane (a solid as a fluid in a closed vessel) with a free rim: eigenvectors of the
    Laplacian of linear elements, mean of a cell's corners. The first is the constant; each has the root mean square 1.

    Args:
        mesh: TriMesh, TetMesh (of four or ten nodes) or Curve.
        count: number of functions.

    Returns:
        array [m, count].

    Raises:
        InputError: more functions than points - 2 (of a solid, corners - 2).
    """
    return smooth_columns(cells_of(mesh), count)[0]


def smooth_columns(cells, count):
    """The columns of `smooth_basis` [m, count], and the eigenvalue of each [1/m^2], shape [count]: its mean square gradient."""
    n = len(cells.points)
    count = int(validation.array("count", count, (), kind="i", lower=1))
    if count > n - 2:
        raise InputError(f"count = {count}: a body of {n} points has at most {n - 2} smooth functions here")
    slopes = cells.gradients()
    local = np.einsum("mik,mjk,m->mij", slopes, slopes, cells.sizes)
    width = cells.corners.shape[1]
    rows, columns = np.repeat(cells.corners, width, axis=1).ravel(), np.tile(cells.corners, (1, width)).ravel()
    laplacian = sparse.csc_matrix((local.ravel(), (rows, columns)), (n, n))
    masses = np.bincount(cells.corners.ravel(), np.repeat(cells.sizes / width, width), minlength=n)
    span = np.ptp(cells.points, axis=0).max()
    shift = -1e-3 / span**2  # below every eigenvalue, which are of the order of pi^2 / span^2 and more
    values, vectors = linalg.eigsh(laplacian, count, sparse.diags(masses).tocsc(), sigma=shift, v0=np.ones(n) + np.linspace(0, 1, n))
    basis = vectors[cells.corners].mean(axis=1)
    basis /= np.sqrt((cells.sizes[:, None] * basis**2).sum(axis=0) / cells.sizes.sum())
    order = np.argsort(values)
    basis, values = basis[:, order], np.maximum(values[order], 0.0)
    return basis * np.sign(basis[np.abs(basis).argmax(axis=0), np.arange(count)]), values
