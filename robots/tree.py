"""A robot's joints as arrays: what is moved by what, along which axis, how far and how fast."""

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from physsim.errors import InputError
from physsim.io.description import RobotDescription
from physsim.kernels.kinematics.tree import FIXED, SLIDE, TURN
from physsim.physics import validation
from physsim.physics.frames import unit_quaternion

_KINDS = {"fixed": FIXED, "revolute": TURN, "continuous": TURN, "prismatic": SLIDE}


@dataclass(frozen=True, eq=False)
class JointTree:
    """L links and D movable joints of a robot.

    Args:
        links: names, every parent before its children; the root first.
        joints: names of the movable joints, in the order of the links that they move.
        parent: link that each link sits on; -1 for the root, [L].
        kind: FIXED, TURN or SLIDE of the joint that holds each link, [L].
        column: number among `joints` of the joint that holds each link; -1 where it is fixed, [L].
        axis: of that joint in the link's frame, unit, [L, 3].
        origin: of that joint in the parent's frame [m]; the root's in the world, [L, 3].
        orientation: the same as a quaternion (w, x, y, z), [L, 4].
        lower, upper: limits of the joints [rad or m]; infinite where they have none, [D].
        velocity, effort: largest speed [rad/s or m/s] and torque or force [N m or N]; infinite where none is given, [D].
        damping: [N m s/rad or N s/m], [D].
        moves: whether a joint moves a link, [L, D].
        follow, offset: q = follow u + offset, u the `free_count` joints that follow no other one, [D, F] and [D].
        free: numbers among `joints` of those that follow no other one, [F].
    """

    links: tuple[str, ...]
    joints: tuple[str, ...]
    parent: np.ndarray
    kind: np.ndarray
    column: np.ndarray
    axis: np.ndarray
    origin: np.ndarray
    orientation: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    velocity: np.ndarray
    effort: np.ndarray
    damping: np.ndarray
    moves: np.ndarray
    follow: np.ndarray
    offset: np.ndarray
    free: np.ndarray

    def link(self, name):
        """Number of a link; InputError where there is none of that name."""
        return _number(self.links, name, "link")

    def joint(self, name):
        """Number of a movable joint; InputError where there is none of that name."""
        return _number(self.joints, name, "joint")

    def reachable(self, q, tolerance=1e-9):
        """Whether joint positions [..., D] lie within the limits, [...] bool."""
        return ((q >= self.lower - tolerance) & (q <= self.upper + tolerance)).all(axis=-1)


def _number(names, name, kind):
    try:
        return names.index(name)
    except ValueError:
        raise InputError(f"{kind} {name!r}: there is none of that name; it must be one of {', '.join(names)}") from None


def joint_tree(description, base_pose=None):
    """The joints of a description as arrays.

    Args:
        description: RobotDescription.
        base_pose: (position [m], shape [3]; quaternion (w, x, y, z), shape [4]) of the root in the world; None: at the origin.

    Returns:
        JointTree.

    Raises:
        InputError: no movable joint, a pose that is none, joints that follow each other in a circle.
    """
    validation.instance("description", description, RobotDescription, "as `load_urdf` gives it")
    joints = description.tree
    links = (description.root, *(joint.child for joint in joints))
    number = {name: k for k, name in enumerate(links)}
    movable = [joint for joint in joints if joint.kind != "fixed"]
    if not movable:
        raise InputError(f"robot {description.name!r}: all of its joints are fixed; a collider serves for what cannot move")
    columns = {joint.name: k for k, joint in enumerate(movable)}
    position, quaternion = base_place(base_pose)
    frames = np.array([joint.origin for joint in joints]).reshape(-1, 4, 4)
    column = np.array([-1, *(columns.get(joint.name, -1) for joint in joints)])
    parent = np.array([-1, *(number[joint.parent] for joint in joints)])
    follow, offset, free = _followers(movable, columns)
    return JointTree(
        links=links,
        joints=tuple(columns),
        parent=parent,
        kind=np.array([int(FIXED), *(int(_KINDS[joint.kind]) for joint in joints)]),
        column=column,
        axis=np.array([[0.0, 0.0, 0.0], *(joint.axis * (joint.kind != "fixed") for joint in joints)]),
        origin=np.vstack([position, frames[:, :3, 3]]),
        orientation=np.vstack([quaternion, Rotation.from_matrix(frames[:, :3, :3]).as_quat(scalar_first=True)]),
        **{
            name: np.array([float(getattr(joint, name)) for joint in movable])
            for name in ("lower", "upper", "velocity", "effort", "damping")
        },
        moves=_moved(parent, column, len(movable)),
        follow=follow,
        offset=offset,
        free=free,
    )


def base_place(base_pose):
    """(position [3], unit quaternion [4]) of a base; None: the origin.

    Raises:
        InputError: not a pair of a position and a quaternion that is not zero.
    """
    if base_pose is None:
        return np.zeros(3), np.array([1.0, 0.0, 0.0, 0.0])
    if not isinstance(base_pose, (tuple, list)) or len(base_pose) != 2:
        raise InputError("base_pose: a pair of a position [3] and a quaternion (w, x, y, z) [4] is needed")
    position = validation.array("position of base_pose", base_pose[0], (3,))
    return position, unit_quaternion("quaternion of base_pose", base_pose[1])


def _moved(parent, column, joint_count):
    moves = np.zeros((len(parent), joint_count), bool)
    for link in range(1, len(parent)):
        moves[link] = moves[parent[link]]
        if column[link] >= 0:
            moves[link, column[link]] = True
    return moves


def _followers(movable, columns):
    """(follow [D, F], offset [D], free [F]); a joint may follow one that follows a third."""
    free = np.array([k for k, joint in enumerate(movable) if joint.mimic is None], dtype=int)
    place = {int(k): f for f, k in enumerate(free)}
    follow, offset = np.zeros((len(movable), len(free))), np.zeros(len(movable))
    for k, joint in enumerate(movable):
        scale, shift, at, seen = 1.0, 0.0, joint, {joint.name}
        while at.mimic is not None:
            shift += scale * at.mimic.offset
            scale *= at.mimic.multiplier
            if at.mimic.joint not in columns or at.mimic.joint in seen:
                raise InputError(f"joint {joint.name!r}: it follows {at.mimic.joint!r}, which is fixed, missing, or follows it in turn")
            at = movable[columns[at.mimic.joint]]
            seen.add(at.name)
        follow[k, place[columns[at.name]]], offset[k] = scale, shift
    return follow, offset, free
