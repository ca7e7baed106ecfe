"""Inverse kinematics: damped least squares within the joints' limits, from a start and from random ones.

Each step solves (J^T J + (E + e0) I) du = J^T r over the joints that are not held by a limit, r the error of the pose in units of its
tolerances, E = r.r / 2 its size and e0 a floor that keeps singular poses bounded (Sugihara, Solvability-unconcerned inverse kinematics
by the Levenberg-Marquardt method, IEEE T-RO 27, 2011, eq. 19).
"""

from dataclasses import dataclass

import numpy as np

from physsim.errors import InputError
from physsim.physics import validation
from physsim.physics.frames import unit_quaternion

_FLOOR = 1e-3  # of the damping, as a share of the mean square of the Jacobian's entries
_TIGHT = 1e-3  # of the tolerances; a start that is this near is not improved further


@dataclass(frozen=True, eq=False)
class InverseKinematicsResult:
    """What an inverse kinematics found.

    Args:
        q: joint positions within the limits [rad or m], shape [joints].
        reached: whether both errors are within the tolerances.
        position_error: distance of the link's point from the position that was asked for [m].
        rotation_error: angle between the link's turn and the one that was asked for [rad]; 0 where none was.
    """

    q: np.ndarray
    reached: bool
    position_error: float
    rotation_error: float


@dataclass(frozen=True, eq=False)
class _Goal:
    """The pose of a point of a link that is asked for, and what may move for it."""

    kinematics: object
    link: int
    point: np.ndarray
    position: np.ndarray
    quaternion: np.ndarray | None
    tolerances: np.ndarray  # [m] and [rad]
    free: np.ndarray  # numbers of the joints that may move
    follow: np.ndarray  # [joints, free]
    lower: np.ndarray
    upper: np.ndarray

    def errors(self, q):
        """(error in units of the tolerances [B, 3 or 6], Jacobian of minus it [B, 3 or 6, free], (distance, angle) [B, 2])."""
        kinematics = self.kinematics
        positions, quaternions = kinematics.poses(q)
        turn = quaternions[:, self.link]
        at, jacobian = kinematics.point_jacobian(self.link, self.point, positions, quaternions)
        jacobian = jacobian @ self.follow
        parts = [self.position - at]
        if self.quaternion is None:
            jacobian = jacobian[:, :3]
        else:
            parts.append(rotation_between(turn, self.quaternion))
        sizes = np.stack([np.linalg.norm(part, axis=-1) for part in parts], axis=-1)
        scale = np.repeat(1.0 / self.tolerances[: len(parts)], 3)
        return np.concatenate(parts, axis=-1) * scale, jacobian * scale[:, None], sizes


def rotation_between(a, b):
    """Rotation vector [..., 3] in world axes that turns quaternion a [..., 4] into b [4], at most half a turn."""
    scalar = (a * b).sum(axis=-1)
    va, vb = a[..., 1:], b[1:]
    vector = a[..., :1] * vb - b[0] * va - np.cross(vb, va)  # of b a*
    vector = np.where(scalar[..., None] < 0, -vector, vector)
    size = np.linalg.norm(vector, axis=-1)
    angle = 2.0 * np.arctan2(size, np.abs(scalar))
    return vector * np.where(size > 1e-12, angle / np.maximum(size, 1e-12), 2.0)[..., None]


def solve_inverse(
    kinematics,
    link,
    position,
    quaternion=None,
    start=None,
    point=(0.0, 0.0, 0.0),
    joints=None,
    restarts=32,
    seed=0,
    position_tolerance=1e-3,
    rotation_tolerance=np.pi / 180,
    iterations=100,
):
    """Joints that bring a link to a pose; arguments as `Kinematics.inverse`."""
    tree = kinematics.tree
    start = kinematics.rest() if start is None else validation.array("start", start, (kinematics.dof,))
    if not tree.reachable(start):
        worst = int(np.argmax(np.maximum(tree.lower - start, start - tree.upper)))
        raise InputError(
            f"start = {start[worst]:g} of joint {tree.joints[worst]!r}: must lie in [{tree.lower[worst]:g}, {tree.upper[worst]:g}]"
        )
    restarts = int(validation.array("restarts", restarts, (), kind="i", lower=0))
    iterations = int(validation.array("iterations", iterations, (), kind="i", lower=1))
    goal = _goal(kinematics, link, point, position, quaternion, joints, (position_tolerance, rotation_tolerance))
    q, sizes = _descend(goal, start[None], iterations)
    if restarts and not _reached(goal, sizes)[0]:
        rng = np.random.default_rng(seed)
        low, high = (np.where(np.isfinite(end), end, turn) for end, turn in ((goal.lower, -np.pi), (goal.upper, np.pi)))
        u = rng.uniform(low, high, (restarts, len(goal.free)))
        again = np.repeat(start[None], restarts, axis=0)
        again = again + (u - again[:, goal.free]) @ goal.follow.T
        more, more_sizes = _descend(goal, again, iterations)
        q, sizes = np.vstack([q, more]), np.vstack([sizes, more_sizes])
    return _best(goal, q, sizes, start)


def _goal(kinematics, link, point, position, quaternion, joints, tolerances):
    tree = kinematics.tree
    number = tree.link(link)
    names = tree.joints if joints is None else joints
    if isinstance(names, str):
        names = (names,)
    asked = {tree.joint(name) for name in names}
    moving = [f for f, k in enumerate(tree.free) if k in asked and (tree.moves[number] & (tree.follow[:, f] != 0)).any()]
    if not moving:
        raise InputError(f"link {link!r}: none of the joints moves it; choose another link or other joints")
    tolerances = [
        validation.array(f"{name}_tolerance", value, (), lower=0.0, lower_open=True)
        for name, value in zip(("position", "rotation"), tolerances, strict=True)
    ]
    return _Goal(
        kinematics=kinematics,
        link=number,
        point=validation.array("point", point, (3,)),
        position=validation.array("position", position, (3,)),
        quaternion=None if quaternion is None else unit_quaternion("quaternion", quaternion),
        tolerances=np.array(tolerances, dtype=float),
        free=tree.free[moving],
        follow=tree.follow[:, moving],
        lower=tree.lower[tree.free[moving]],
        upper=tree.upper[tree.free[moving]],
    )


def _descend(goal, q, iterations):
    """Joints [B, joints] improved until one of them is there, and their errors (distance, angle) [B, 2]."""
    error, jacobian, sizes = goal.errors(q)
    identity = np.eye(len(goal.free))
    for _ in range(iterations):
        if (sizes <= _TIGHT * goal.tolerances[: sizes.shape[-1]]).all(axis=-1).any():
            break
        size = 0.5 * (error * error).sum(axis=-1) + _FLOOR * (jacobian * jacobian).mean(axis=(-2, -1))
        u = q[:, goal.free]
        held = np.zeros(u.shape, bool)
        for _ in range(2):  # the second time without joints that a limit holds
            free = jacobian * ~held[:, None, :]
            normal = np.swapaxes(free, -1, -2) @ free + size[:, None, None] * identity
            step = np.linalg.solve(normal, np.swapaxes(free, -1, -2) @ error[..., None])[..., 0]
            outward = ((u <= goal.lower) & (step < 0)) | ((u >= goal.upper) & (step > 0))
            held |= outward
            if not outward.any():
                break
        moved = np.clip(u + step * ~held, goal.lower, goal.upper)
        q = q + (moved - u) @ goal.follow.T
        error, jacobian, sizes = goal.errors(q)
    return q, sizes


def _reached(goal, sizes):
    return (sizes <= goal.tolerances[: sizes.shape[-1]]).all(axis=-1)


def _best(goal, q, sizes, start):
    tree = goal.kinematics.tree
    within = tree.reachable(q)
    reached = _reached(goal, sizes) & within
    if reached.any():
        best = int(np.argmin(np.where(reached, np.linalg.norm(q - start, axis=-1), np.inf)))
    else:
        best = int(np.argmin(np.where(within, (sizes / goal.tolerances[: sizes.shape[-1]]).max(axis=-1), np.inf)))
    rotation = float(sizes[best, 1]) if goal.quaternion is not None else 0.0
    return InverseKinematicsResult(q[best], bool(reached[best]), float(sizes[best, 0]), rotation)
