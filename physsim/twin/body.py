"""The body of a twin: the rest shape that is simulated, and where it is when the fitted motion begins."""

from dataclasses import dataclass, field, replace

import numpy as np

from physsim.capture.capture import KINDS, Capture
from physsim.errors import InputError
from physsim.physics import validation
from physsim.twin.elements import MESHES, kind_of, mesh_edges, rest_points, surface_triangles
from physsim.twin.placing import along_line, carried, guessed_kind, laid, meshed_surface, sensor_noise
from physsim.twin.registration import bent_to
from physsim.twin.rod_shape import rod_shape
from physsim.twin.sheet_shape import sheet_shape
from physsim.twin.solid_shape import solid_shape


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


def reconstruct(capture: Capture, kind: str | None = None, cell_size: float | None = None, seed: int = 0) -> SoftBody:
    """A body to simulate: the capture's mesh laid into the first fitted frame, or a shape made of what is seen.

    Without a mesh: a rod is a smooth line through ordered markers or points, straight at rest. A sheet is the outline of the frame in which
    it lies flattest, or, where it never does, what is seen in the first frame unrolled. A solid is the convex hull of the points, or the
    box that it nearly is; what no camera saw is closed by the ground, or by what is known of mass and density.

    Args:
        capture: Capture.
        kind: "solid", "sheet" or "rod"; None: of the mesh, or the capture's own, or what the points look like.
        cell_size: length of the edges of a mesh that is made [m]; None: some hundreds of points.
        seed: of the points that are used where there are many.

    Returns:
        SoftBody, posed as in the first fitted frame; its remarks say what was assumed.

    Raises:
        InputError: an unknown kind, a mesh of another kind, too few points in the first fitted frame.
    """
    validation.instance("capture", capture, Capture)
    if kind is not None and kind not in KINDS:
        raise InputError(f'kind = {kind!r}: must be "solid", "sheet" or "rod"')
    if cell_size is not None:
        cell_size = float(validation.array("cell_size", cell_size, (), lower=0.0, lower_open=True))
    frame = int(capture.fit[0]) if len(capture.fit) else 0
    if capture.mesh is not None:
        return _laid(capture, kind, cell_size, frame, seed)
    remarks = []
    kind = kind or capture.kind
    if kind is None:
        kind, text = guessed_kind(capture, frame)
        remarks.append(text)
    make = {"rod": _rod_body, "sheet": _sheet_body, "solid": _solid_body}[kind]
    return make(capture, frame, cell_size, seed, remarks)


def _source(capture):
    return next(s for s in ("points", "depth", "tracks") if s in capture.sensors)


def _laid(capture, kind, cell_size, frame, seed):
    """The capture's mesh, posed as what is seen in the frame says."""
    mesh, remarks = capture.mesh, []
    if hasattr(mesh, "points") and not isinstance(mesh, tuple(MESHES.values())) and hasattr(mesh, "triangles"):
        mesh, text = meshed_surface(mesh, cell_size)
        remarks.append(text)
    own = kind_of(mesh)
    if kind not in (None, own):
        raise InputError(f"kind = {kind!r}: the capture's mesh is that of a {own}; leave the kind out, or the mesh")
    pose, texts = laid(capture, mesh, own, frame, seed)
    return SoftBody(own, mesh, pose, "mesh", (*remarks, *texts))


def _rod_body(capture, frame, cell_size, seed, remarks):
    mesh, pose, texts = rod_shape(capture, frame, cell_size)
    noise = sensor_noise(capture, 1e-3 * float(mesh.lengths.sum()))
    pose, _ = bent_to(mesh, "rod", pose, along_line(pose, noise))
    return SoftBody("rod", mesh, pose, _source(capture), (*remarks, *texts))


def _sheet_body(capture, frame, cell_size, seed, remarks):
    mesh, pose, number, texts = sheet_shape(capture, frame, cell_size)
    pose = carried(capture, mesh, "sheet", pose, number, frame, seed)
    return SoftBody("sheet", mesh, pose, _source(capture), (*remarks, *texts))


def _solid_body(capture, frame, cell_size, seed, remarks):
    mesh, texts = solid_shape(capture, frame, cell_size, seed)
    texts.append("it is taken to be free of stress in the first fitted frame")
    return SoftBody("solid", mesh, None, _source(capture), (*remarks, *texts))
