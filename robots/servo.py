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
        setpoint: that the position servos have reached at the end of the step [rad or m], [F].
        saturated, stopped: whether the motor gives all it may, and whether an end of the range holds the joint, [F] bool.
    """

    velocity: np.ndarray
    mobility: np.ndarray
    gain: np.ndarray
    level: np.ndarray
    setpoint: np.ndarray
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
        self._speed, self._ends = tree.velocity[tree.free], (tree.lower[tree.free], tree.upper[tree.free])
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
        motor = _Motor(self, commands, q, inertia.diagonal(), compensation)
        ends = [(end - q[tree.free]) / dt for end in self._ends]
        stop = np.zeros(len(tree.free), int)  # -1 held by the lower end, 1 by the upper one
        piece = motor.piece(qd[tree.free])
        for _ in range(_ROUNDS):
            matrix = damped.copy()
            matrix.flat[:: len(matrix) + 1] += dt * piece.gain
            inverse, held = _inverse(matrix, stop), np.where(stop < 0, ends[0], np.where(stop > 0, ends[1], 0.0))
            base = held + inverse @ (momentum + dt * piece.level - matrix @ held)
            speed = base + dt * (inverse @ expected)
            after, used = _stops(stop, speed, ends, matrix @ speed - momentum - dt * (piece.level + expected), _SLACK / dt), piece
            piece = motor.piece(speed)
            if (after == stop).all() and piece.same(used):
                break
            stop = after
        return ServoStep(
            follow @ base + drift, follow @ inverse @ follow.T, used.gain, used.level, motor.setpoint, used.full != 0, stop != 0
        )


def _inverse(matrix, stop):
    """Inverse over the joints that no end holds, zero elsewhere."""
    if not stop.any():
        return np.linalg.inv(matrix)
    inverse, moving = np.zeros_like(matrix), np.flatnonzero(stop == 0)
    inverse[np.ix_(moving, moving)] = np.linalg.inv(matrix[np.ix_(moving, moving)])
    return inverse


def _stops(stop, speed, ends, push, slack):
    """Ends that hold joints after a trial: those that push inwards stay, those that a joint passes begin."""
    passed = 1 * (speed > ends[1] + slack) - 1 * (speed < ends[0] - slack)
    return np.where(stop != 0, stop * (stop * push < 0), passed)


@dataclass(frozen=True, eq=False)
class _Piece:
    """One linear piece of the motors' torque, level - gain speed; `fast` and `full` say which limits of speed and effort it lies on."""

    gain: np.ndarray
    level: np.ndarray
    fast: np.ndarray
    full: np.ndarray

    def same(self, other):
        return (self.fast == other.fast).all() and (self.full == other.full).all()


class _Motor:
    """The motors' torque as a piecewise linear function of the speed at the end of the step."""

    def __init__(self, servo, commands, q, inertia, compensation):
        tree, dt = servo._tree, servo._dt
        self.setpoint, rate = commands.next_setpoints(q, dt)
        torque = commands.mode == TORQUE
        self._given = torque
        self._damping = np.where(torque, 0.0, servo._damping * inertia)
        pull = np.where(commands.mode == POSITION, servo._pull, 0.0)
        self._wish, self._slope = rate + pull * (self.setpoint - q[tree.free]), pull * dt
        self._speed, self._effort = servo._speed, commands.effort
        self._base = np.where(torque, commands.target, compensation)

    def piece(self, speed):
        """The piece that holds these speeds."""
        wish = self._wish - self._slope * speed
        limited = np.minimum(np.maximum(wish, -self._speed), self._speed)
        torque = self._damping * (limited - speed) + self._base
        given = np.minimum(np.maximum(torque, -self._effort), self._effort)
        fast, full = np.sign(wish - limited), np.where(self._given, 0.0, np.sign(torque - given))
        gain = np.where(full != 0, 0.0, self._damping * np.where(fast != 0, 1.0, 1.0 + self._slope))
        level = np.where(full != 0, given, self._damping * np.where(fast != 0, limited, self._wish) + self._base)
        return _Piece(gain, level, fast, full)
