"""The body of a twin: the rest shape that is simulated, and where it is when the fitted motion begins."""

from dataclasses import dataclass, field, replace

import numpy as np

from physsim.capture.capture import KINDS, Capture
from physsim.errors import InputError
from physsim.physics import validation
from physsim.physics.mesh import TetMesh
from physsim.physics.rods import Curve
from physsim.physics.sheets import TriMesh

MESHES = {"solid": TetMesh, "sheet": TriMesh, "rod": Curve}


@dataclass(frozen=True, eq=False)
class SoftBody:
    """A rest shape and its place in a capture.

    Args:
        kind: "solid", "sheet" or "rod".
        mesh: rest shape: TetMesh, TriMesh or Curve.
        pose: positions at the first fitted frame [m], shape [n, 3]: of the mesh's points, of a rod's centreline. None: as at rest.
        source: where the shape comes from: "mesh", "points", "depth" or "tracks".
        remarks: what was assumed, in plain words.

    Raises:
        InputError: an unknown kind, a mesh of another kind, a pose of another shape.
    """

    kind: str
    mesh: object
    pose: np.ndarray | None = None
    source: str = "mesh"
    remarks: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(f'SoftBody.kind = {self.kind!r}: must be "solid", "sheet" or "rod"')
        validation.instance(f"SoftBody.mesh of a {self.kind}", self.mesh, MESHES[self.kind])
        rest = rest_points(self.mesh)
        pose = rest if self.pose is None else validation.array("SoftBody.pose", self.pose, rest.shape)
        object.__setattr__(self, "pose", np.array(pose))
        object.__setattr__(self, "remarks", tuple(self.remarks))

    @property
    def points(self) -> np.ndarray:
        """Rest positions [m], shape [n, 3]: the mesh's points, a rod's centreline."""
        return rest_points(self.mesh)

    @property
    def edges(self) -> np.ndarray:
        """Pairs of points, each edge once, shape [e, 2]."""
        return mesh_edges(self.mesh)

    @property
    def surface(self) -> np.ndarray | None:
        """Triangles that can be seen, shape [t, 3]; None of a rod."""
        return surface_triangles(self.mesh)

    @property
    def cell_size(self) -> float:
        """Median length of the edges [m]."""
        points, edges = self.points, self.edges
        return float(np.median(np.linalg.norm(points[edges[:, 1]] - points[edges[:, 0]], axis=1)))

    def quadratic(self) -> "SoftBody":
        """The same solid with ten-node tetrahedra; the first points stay the same."""
        mesh = self.mesh.quadratic()
        if mesh is self.mesh:
            return self
        corners, middles = mesh.cells[:, :4], mesh.cells[:, 4:]
        pose = np.empty(mesh.points.shape)
        pose[: len(self.pose)] = self.pose
        for k, (a, b) in enumerate(((0, 1), (1, 2), (2, 0), (0, 3), (1, 3), (2, 3))):
            pose[middles[:, k]] = (self.pose[corners[:, a]] + self.pose[corners[:, b]]) / 2
        return replace(self, mesh=mesh, pose=pose)


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


def reconstruct(capture: Capture, kind: str | None = None, cell_size: float | None = None, seed: int = 0) -> SoftBody:
    """A body to simulate: the capture's mesh.

    Args:
        capture: Capture.
        kind: "solid", "sheet" or "rod"; None: the capture's.
        cell_size: of the mesh that is made [m].
        seed: of random choices.

    Returns:
        SoftBody, posed as in the first fitted frame.
    """
    validation.instance("capture", capture, Capture)
    mesh = capture.mesh
    return SoftBody(kind_of(mesh), mesh)
