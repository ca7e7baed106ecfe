"""What a grasp left behind for its page: time series, and the poses that its pictures are drawn from."""

from dataclasses import dataclass, field

import numpy as np

from physsim.errors import InputError


@dataclass(frozen=True)
class LinkMesh:
    """A rigid part of a robot to draw: points in its own frame [m], shape [n, 3]; outward triangles, shape [t, 3]; colour."""

    name: str
    points: np.ndarray
    triangles: np.ndarray
    colour: str = "#d7dce3"


@dataclass(frozen=True)
class ForceMap:
    """Forces across a finger's surface, positive where it is pressed back.

    Attributes:
        name: of the finger
        mean, peak: over the hold, of each cell [N], shape [a, b]
        edges: of the cells along both axes [m], shapes [a + 1] and [b + 1]
        axes: names of the two axes of the finger's link
    """

    name: str
    mean: np.ndarray
    peak: np.ndarray
    edges: tuple[np.ndarray, np.ndarray]
    axes: tuple[str, str] = ("x", "y")


@dataclass(frozen=True)
class GraspRecord:
    """A grasp as it happened.

    Attributes:
        robot, object_name, hold: words, such as "panda", "plush", "friction"
        times: of the series [s], shape [k]
        heights: of the object's centre of mass, or of a sheet's highest point, over where it began [m], shape [k]
        finger_forces: pressing force of both fingers [N], shape [k, 2]
        carried: vertical force of the fingers on the object [N], shape [k]
        slip: tangential way of the object along the fingers since the hold began [m], shape [k]; NaN outside it
        stress: largest von Mises stress in the object [Pa], shape [k]
        weight: of the object [N]
        phases: (name, start [s], end [s]) in order
        links: parts of the robot
        frame_times: of the pictures [s], shape [f]
        link_positions: of the links' frames [m], shape [f, links, 3]
        link_quaternions: w, x, y, z, shape [f, links, 4]
        object_points: [m], shape [f, n, 3]
        object_triangles: outward, shape [t, 3]
        object_stress: von Mises stress [Pa], shape [f, n] or [f, t], or None
        contact_points: of every picture [m], shape [c, 3] each, or empty
        two_sided: whether the object is an open sheet
        ground: height of the table [m], or None
        gripper: names of the links that the close picture must show
        strain: largest principal strain in the object, its size [-], shape [k], or None
        energy: elastic energy that the object stores [J], shape [k], or None
        wrist_times: of the next two [s], shape [w]
        wrist_force, wrist_torque: load on the wrist, axes of the hand [N] and [N m], shape [w, 3], or None
        force_maps: of the fingers over the hold
    """

    robot: str
    object_name: str
    hold: str
    times: np.ndarray
    heights: np.ndarray
    finger_forces: np.ndarray
    carried: np.ndarray
    slip: np.ndarray
    stress: np.ndarray
    weight: float
    phases: tuple[tuple[str, float, float], ...]
    links: tuple[LinkMesh, ...]
    frame_times: np.ndarray
    link_positions: np.ndarray
    link_quaternions: np.ndarray
    object_points: np.ndarray
    object_triangles: np.ndarray
    object_stress: np.ndarray | None = None
    contact_points: tuple[np.ndarray, ...] = field(default=())
    two_sided: bool = False
    ground: float | None = 0.0
    gripper: tuple[str, ...] = ()
    strain: np.ndarray | None = None
    energy: np.ndarray | None = None
    wrist_times: np.ndarray | None = None
    wrist_force: np.ndarray | None = None
    wrist_torque: np.ndarray | None = None
    force_maps: tuple[ForceMap, ...] = ()

    def __post_init__(self) -> None:
        count, frames, links = len(self.times), len(self.frame_times), len(self.links)
        shapes = dict.fromkeys(("heights", "carried", "slip", "stress"), (count,)) | {"finger_forces": (count, 2)}
        shapes |= {"link_positions": (frames, links, 3), "link_quaternions": (frames, links, 4)}
        for name, shape in shapes.items():
            if np.shape(getattr(self, name)) != shape:
                raise InputError(f"GraspRecord.{name}: shape {np.shape(getattr(self, name))} was given, {shape} is needed")
        if count == 0 or frames == 0:
            raise InputError(f"GraspRecord: {count} times and {frames} pictures; at least one of each is needed")
        if np.ndim(self.object_points) != 3 or len(self.object_points) != frames:
            raise InputError(f"GraspRecord.object_points: shape {np.shape(self.object_points)}; [{frames}, n, 3] is needed")
        if self.contact_points and len(self.contact_points) != frames:
            raise InputError(f"GraspRecord.contact_points: {len(self.contact_points)} given; one array a picture, {frames}, is needed")
        missing = set(self.gripper) - {link.name for link in self.links}
        if missing:
            raise InputError(f"GraspRecord.gripper: {', '.join(sorted(missing))} are not among the links")

    def phase_at(self, time: float) -> str:
        """Name of the phase at a time; empty outside all."""
        return next((name for name, start, end in reversed(self.phases) if start <= time <= end + 1e-9), "")
