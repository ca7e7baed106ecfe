"""Motors that hold joints to their set points, taken implicitly, so that their answer to a contact force is known beforehand.

Over a step of length h the joints obey
    M (v' - v) / h + c = t(v') - D v' + Q,    q' = q + h v',
M the mass matrix, c gravity and Coriolis terms, D the joints' own damping, Q the contact's generalised force and t the motors:
    t = clip(Kd (clip(w + k (s - q'), -speed, speed) - v') + c, -effort, effort),
a cascade of a position loop inside the joint's speed limit and a speed loop inside its effort limit, with gravity and Coriolis terms
compensated; s and w are the set point at the end of the step and its speed. A joint that is told a speed has k = 0, one that is told a
torque gives just that. With the natural frequency f and damping ratio z of a joint of inertia m = M_jj: Kd = 2 z m (2 pi f) and
k = 2 pi f / (2 z). t falls piecewise linearly with v', so the pieces are found by a few Newton steps (Tan, Liu and Turk, Stable
proportional-derivative controllers, IEEE CG&A 31, 2011, without limits).

Joints that follow others and joints at an end of their range take no part: v' = G u + g, u the speeds of the others.
"""

from dataclasses import dataclass

import numpy as np

from physsim.physics import validation
from physsim.robots.commands import POSITION, TORQUE

_ROUNDS = 30  # of Newton steps; two or three are usual, and the last one is consistent in any case
_SLACK = 1e-9  # [rad or m] that a joint may pass its end by rounding


@dataclass(frozen=True, eq=False)
class ServoStep:
    """A step of all joints as an affine function of the contact's generalised force Q [D].

    Args:
        velocity: at the end of the step for Q = 0, [D].
        mobility: change of that velocity by dt Q, [D, D].
        gain: slope of the motors' torque by the speed, [F].
        level: the motors' torque at speed 0, [F].
        saturated, stopped: whether the motor gives all it may, and whether an end of the range holds the joint, [F] bool.
    """

    velocity: np.ndarray
    mobility: np.ndarray
    gain: np.ndarray
    level: np.ndarray
    saturated: np.ndarray
    stopped: np.ndarray


class Servo:
    """The motors of a robot.

    Args:
        tree: JointTree.
        dt: [s].
        bandwidth: natural frequency of a position servo [Hz], a number or shape [joints that follow no other one].
        damping_ratio: 1 settles without overshoot.
    """

    def __init__(self, tree, dt, bandwidth=20.0, damping_ratio=1.0):
        shape = () if validation.is_scalar("bandwidth", bandwidth) else (len(tree.free),)
        rate = 2.0 * np.pi * validation.array("bandwidth", bandwidth, shape, lower=0.0, lower_open=True)
        ratio = float(validation.array("damping_ratio", damping_ratio, (), lower=0.0, lower_open=True))
        self._tree, self._dt = tree, dt
        self._damping, self._pull = 2.0 * ratio * rate, rate / (2.0 * ratio)  # Kd / m and k, [1/s]
        self._speed = tree.velocity[tree.free]
        self._joint_damping = tree.follow.T @ (tree.damping[:, None] * tree.follow)

    def solve(self, commands, q, qd, mass, bias, force):
        """ServoStep from joints q, qd [D], mass matrix [D, D], gravity and Coriolis terms [D] and an expected contact force [D]."""
        tree, dt = self._tree, self._dt
        follow = tree.follow
        drift = (follow @ q[tree.free] + tree.offset - q) / dt
        # In the free joints: matrix u = momentum + dt (motor + force)
        inertia = follow.T @ mass @ follow
        compensation = follow.T @ bias
        damped = inertia + dt * self._joint_damping
        momentum = follow.T @ (mass @ (qd - drift) - dt * (bias + tree.damping * drift))
        expected = follow.T @ force
        motor = _Motor(self, commands, q, np.diag(inertia), compensation)
        ends = (tree.lower[tree.free] - q[tree.free]) / dt, (tree.upper[tree.free] - q[tree.free]) / dt
        stop = np.zeros(len(tree.free), int)  # -1 held by the lower end, 1 by the upper one
        speed = qd[tree.free]
        for _ in range(_ROUNDS):
            gain, level, saturated = motor.piece(speed)
            matrix = damped + dt * np.diag(gain)
            right = momentum + dt * (level + expected)
            held = np.where(stop < 0, ends[0], ends[1])
            speed = _solve_held(matrix, right, stop != 0, held)
            push = matrix @ speed - right
            after = np.where(speed < ends[0] - _SLACK / dt, -1, np.where(speed > ends[1] + _SLACK / dt, 1, 0))
            after = np.where(stop != 0, np.where(stop * push < 0, stop, 0), after)
            if (after == stop).all() and motor.same_piece(speed):
                break
            stop = after
        still = stop != 0
        base = _solve_held(matrix, momentum + dt * level, still, held)
        inverse = np.zeros_like(matrix)
        moving = np.flatnonzero(~still)
        inverse[np.ix_(moving, moving)] = np.linalg.inv(matrix[np.ix_(moving, moving)])
        return ServoStep(follow @ base + drift, follow @ inverse @ follow.T, gain, level, saturated, still)


class _Motor:
    """The motors' torque as a piecewise linear function of the speed at the end of the step."""

    def __init__(self, servo, commands, q, inertia, compensation):
        tree, dt = servo._tree, servo._dt
        setpoint, rate = commands.next_setpoints(q, dt)
        torque = commands.mode == TORQUE
        self._given = torque
        self._damping = np.where(torque, 0.0, servo._damping * inertia)
        pull = np.where(commands.mode == POSITION, servo._pull, 0.0)
        self._wish, self._slope = rate + pull * (setpoint - q[tree.free]), pull * dt
        self._speed, self._effort = servo._speed, commands.effort
        self._base = np.where(torque, commands.target, compensation)
        self._kind = None

    def piece(self, speed):
        """(gain [F], level [F], saturated [F]): torque = level - gain speed on the piece that holds these speeds."""
        wish = self._wish - self._slope * speed
        fast = np.sign(wish) * (np.abs(wish) > self._speed)
        torque = self._damping * (np.clip(wish, -self._speed, self._speed) - speed) + self._base
        full = np.sign(torque) * (np.abs(torque) > self._effort) * ~self._given
        self._kind = fast, full
        gain = self._damping * np.where(fast == 0, 1.0 + self._slope, 1.0)
        level = self._damping * np.where(fast == 0, self._wish, fast * np.where(fast == 0, 0.0, self._speed)) + self._base
        saturated = full != 0
        return np.where(saturated, 0.0, gain), np.where(saturated, full * np.where(saturated, self._effort, 0.0), level), saturated

    def same_piece(self, speed):
        """Whether these speeds lie on the piece given last."""
        before = self._kind
        self.piece(speed)
        return all((a == b).all() for a, b in zip(before, self._kind))


def _solve_held(matrix, right, still, held):
    """u with matrix u = right, where `still` u = held instead."""
    if not still.any():
        return np.linalg.solve(matrix, right)
    u = np.where(still, held, 0.0)
    moving = np.flatnonzero(~still)
    if len(moving):
        u[moving] = np.linalg.solve(matrix[np.ix_(moving, moving)], (right - matrix @ u)[moving])
    return u
