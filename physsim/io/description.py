"""What a robot's description holds once it came through the door: links with mass and shapes, joints, all in SI units and checked."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from physsim.errors import InputError

GEOMETRY_KINDS = ("box", "sphere", "cylinder", "capsule", "mesh")
JOINT_KINDS = ("revolute", "continuous", "prismatic", "fixed")


@dataclass(frozen=True, eq=False)
class Geometry:
    """One shape of a link, for contact or to be looked at.

    Attributes:
        kind: "box", "sphere", "cylinder", "capsule" or "mesh"
        size: box: the three full edge lengths [m]; sphere: (radius,) [m]; cylinder: (radius, length) [m], axis z; capsule: (radius, length)
            [m], axis z, the length between the centres of its caps; mesh: ()
        origin: pose of the shape in its link, shape [4, 4]
        points: of a mesh [m], in the shape's axes and with its scale applied, shape [n, 3]; otherwise None
        triangles: of a mesh, indices into points, shape [m, 3]; otherwise None
        color: red, green, blue and opacity in [0, 1], or None
    """

    kind: str
    size: tuple[float, ...]
    origin: np.ndarray
    points: np.ndarray | None = None
    triangles: np.ndarray | None = None
    color: tuple[float, float, float, float] | None = None


@dataclass(frozen=True, eq=False)
class Link:
    """A rigid part.

    Attributes:
        name: its name, unique among links
        mass: [kg]; 0 where the file gives none (a frame that only marks a place)
        center: centre of mass in the link's frame [m], shape [3]
        inertia: about the centre of mass, in the axes of the link's frame [kg m^2], shape [3, 3]
        collisions: shapes that may touch
        visuals: shapes to be looked at
    """

    name: str
    mass: float
    center: np.ndarray
    inertia: np.ndarray
    collisions: tuple[Geometry, ...] = ()
    visuals: tuple[Geometry, ...] = ()


@dataclass(frozen=True)
class Mimic:
    """A joint that follows another one: q = multiplier * q_joint + offset [rad or m]."""

    joint: str
    multiplier: float = 1.0
    offset: float = 0.0


@dataclass(frozen=True, eq=False)
class Joint:
    """Holds a child link to its parent.

    Attributes:
        name: its name, unique among joints
        kind: "revolute", "continuous" (turns without end), "prismatic" or "fixed"
        parent: name of the link it sits on
        child: name of the link it moves
        origin: pose of the child's frame in the parent's at q = 0, shape [4, 4]
        axis: unit vector in the child's frame that it turns about or slides along, shape [3]
        lower: smallest q [rad or m]; -inf where it has no end
        upper: largest q [rad or m]; inf where it has no end
        effort: largest torque or force [N m or N]; inf where the file gives none
        velocity: largest speed [rad/s or m/s]; inf where the file gives none
        damping: [N m s/rad or N s/m]
        mimic: the joint that it follows, or None
    """

    name: str
    kind: str
    parent: str
    child: str
    origin: np.ndarray
    axis: np.ndarray
    lower: float = -np.inf
    upper: float = np.inf
    effort: float = np.inf
    velocity: float = np.inf
    damping: float = 0.0
    mimic: Mimic | None = None


@dataclass(frozen=True, eq=False)
class RobotDescription:
    """A tree of links held by joints.

    Attributes:
        name: of the robot
        links: in the order of the file
        joints: in the order of the file; every link but the root is the child of exactly one
        folder: where the file lies
        path: the file
    """

    name: str
    links: tuple[Link, ...]
    joints: tuple[Joint, ...]
    folder: Path
    path: Path

    @cached_property
    def root(self) -> str:
        """Name of the one link that no joint moves."""
        children = {joint.child for joint in self.joints}
        return next(link.name for link in self.links if link.name not in children)

    @cached_property
    def tree(self) -> tuple[Joint, ...]:
        """The joints with every parent before its children, otherwise in the order of the file (depth first)."""
        below: dict[str, list[Joint]] = {}
        for joint in self.joints:
            below.setdefault(joint.parent, []).append(joint)
        ordered, waiting = [], below.get(self.root, [])[::-1]
        while waiting:
            joint = waiting.pop()
            ordered.append(joint)
            waiting.extend(below.get(joint.child, [])[::-1])
        return tuple(ordered)

    def link(self, name: str) -> Link:
        """The link of that name; InputError where there is none."""
        return _named(self.links, name, "link")

    def joint(self, name: str) -> Joint:
        """The joint of that name; InputError where there is none."""
        return _named(self.joints, name, "joint")


def _named(parts, name, kind):
    for part in parts:
        if part.name == name:
            return part
    raise InputError(f"{kind} {name!r}: there is none of that name; it must be one of {', '.join(part.name for part in parts)}")
