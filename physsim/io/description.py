"""What a robot's description holds once it came through the door: links with mass and shapes, joints, all in SI units and checked.

The numbers are checked by whoever reads a file; that links and joints make one tree of sane size and plain names is checked here,
for descriptions made by hand as well.
"""

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from physsim.errors import InputError

GEOMETRY_KINDS = ("box", "sphere", "cylinder", "capsule", "mesh")
JOINT_KINDS = ("revolute", "continuous", "prismatic", "fixed")
MAX_LINKS = 256  # a chain of 1,000 takes others seconds a step
MAX_NAME = 128  # characters


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
        friction: dry friction of the joint [N m or N]
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
    friction: float = 0.0


@dataclass(frozen=True, eq=False)
class RobotDescription:
    """A tree of links held by joints.

    Attributes:
        name: of the robot
        links: in the order of the file
        joints: in the order of the file; every link but the root is the child of exactly one
        folder: where the file lies
        path: the file

    Raises:
        InputError: links and joints make no tree, there are too many, or a name is missing, twice there, too long or not printable.
    """

    name: str
    links: tuple[Link, ...]
    joints: tuple[Joint, ...]
    folder: Path
    path: Path

    def __post_init__(self) -> None:
        _check_names(self.path, "robot", [self.name])
        _check_names(self.path, "link", [link.name for link in self.links])
        _check_names(self.path, "joint", [joint.name for joint in self.joints])
        if not 0 < len(self.links) <= MAX_LINKS:
            raise InputError(f"{self.path}: {len(self.links)} links; 1 to {MAX_LINKS} are read; join those that are fixed to each other")
        _check_tree(self.path, {link.name for link in self.links}, self.joints)
        _check_mimics(self.path, {joint.name: joint for joint in self.joints})

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


def _check_names(path, kind, names):
    for name in names:
        if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME:
            shown = f"{name[:20]!r}... of {len(name)} characters" if isinstance(name, str) and name else repr(name)
            raise InputError(f"{path}: a {kind} is named {shown}; a name has 1 to {MAX_NAME} characters")
        if not name.isprintable():
            raise InputError(f"{path}: the name of {kind} {name!r} holds characters that cannot be printed; rename it")
    if len(set(names)) < len(names):
        twice, count = Counter(names).most_common(1)[0]
        raise InputError(f"{path}: {count} {kind}s are named {twice!r}; names must differ")


def _check_tree(path, links, joints):
    """Every link but one is the child of exactly one joint, and all hang together."""
    parent = {}
    for joint in joints:
        if joint.kind not in JOINT_KINDS:
            raise InputError(f"{path}: joint {joint.name!r} is of kind {joint.kind!r}; it must be one of {', '.join(JOINT_KINDS)}")
        for end, name in (("parent", joint.parent), ("child", joint.child)):
            if name not in links:
                raise InputError(f"{path}: joint {joint.name!r} names {end} link {name[:MAX_NAME]!r}, which there is none of")
        if joint.child in parent:
            raise InputError(
                f"{path}: link {joint.child!r} is the child of joints {parent[joint.child].name!r} and {joint.name!r}; "
                "a link has one parent: cut closed loops open"
            )
        parent[joint.child] = joint
    for name in sorted(parent):
        chain, at = [], name
        while at in parent and at not in chain:
            chain.append(at)
            at = parent[at].parent
        if at in chain:
            loop = " -> ".join(chain[chain.index(at) :][::-1])
            raise InputError(f"{path}: joints close a cycle through links {loop}; a robot is a tree: cut the cycle open")
    roots = sorted(links - set(parent))
    if len(roots) > 1:
        raise InputError(
            f"{path}: links {', '.join(map(repr, roots[:4]))} hang from no joint; exactly one link may, the root: join the others to it"
        )


def _check_mimics(path, joints):
    for joint in joints.values():
        if joint.mimic is None:
            continue
        leader = joints.get(joint.mimic.joint)
        if leader is None or leader is joint or leader.kind == "fixed" or joint.kind == "fixed":
            raise InputError(
                f"{path}: joint {joint.name!r} mimics {joint.mimic.joint[:MAX_NAME]!r}; it must be another joint, and both must move"
            )
        if leader.mimic is not None:
            raise InputError(
                f"{path}: joint {joint.name!r} mimics {leader.name!r}, which mimics {leader.mimic.joint!r} in turn; "
                "let each follow one that leads, with the multipliers and offsets combined"
            )


def _named(parts, name, kind):
    for part in parts:
        if part.name == name:
            return part
    raise InputError(f"{kind} {name!r}: there is none of that name; it must be one of {', '.join(part.name for part in parts)}")
