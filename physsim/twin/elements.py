"""What a rest shape consists of, whatever its kind: points, edges, and what can be seen of it."""

import numpy as np

from physsim.errors import InputError
from physsim.physics.mesh import TetMesh
from physsim.physics.rods import Curve
from physsim.physics.sheets import TriMesh

MESHES = {"solid": TetMesh, "sheet": TriMesh, "rod": Curve}


def rest_points(mesh: TetMesh | TriMesh | Curve) -> np.ndarray:
    """Rest positions that a pose gives anew [m], shape [n, 3]: a mesh's points, a rod's centreline."""
    return mesh.line if isinstance(mesh, Curve) else mesh.points


def mesh_edges(mesh: TetMesh | TriMesh | Curve) -> np.ndarray:
    """Pairs of points that an edge joins, each once, shape [e, 2]; of ten-node tetrahedra the half edges."""
    if isinstance(mesh, Curve):
        return mesh.edges
    if isinstance(mesh, TriMesh):
        return mesh.edges()
    if mesh.order == 1:
        pairs = np.array([[0, 1], [1, 2], [2, 0], [0, 3], [1, 3], [2, 3]])
    else:
        pairs = np.array([[0, 4], [4, 1], [1, 5], [5, 2], [2, 6], [6, 0], [0, 7], [7, 3], [1, 8], [8, 3], [2, 9], [9, 3]])
    return np.unique(np.sort(mesh.cells[:, pairs].reshape(-1, 2), axis=1), axis=0)


def surface_triangles(mesh: TetMesh | TriMesh | Curve) -> np.ndarray | None:
    """Triangles that can be seen, shape [t, 3]; None of a rod."""
    if isinstance(mesh, Curve):
        return None
    return mesh.triangles if isinstance(mesh, TriMesh) else mesh.surface()


def kind_of(mesh: object) -> str:
    """The kind of body that a mesh is the rest shape of.

    Raises:
        InputError: none of TetMesh, TriMesh, Curve.
    """
    for kind, made in MESHES.items():
        if isinstance(mesh, made):
            return kind
    raise InputError(f"mesh: {type(mesh).__name__} was given; a TetMesh, TriMesh, Curve or closed SurfaceMesh is needed")


def elements_of(mesh: TetMesh | TriMesh | Curve) -> np.ndarray:
    """What can be seen: triangles [t, 3], or a rod's edges [e, 2]."""
    triangles = surface_triangles(mesh)
    return mesh_edges(mesh) if triangles is None else triangles
