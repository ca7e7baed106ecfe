"""Motors that hold joints to their set points, taken implicitly, so that their answer to a contact force is known beforehand.

Over a step of length h the joints obey
    M (v' - v) / h + c = t(v') - D v' + Q,    q' = q + h v',
M the mass matrix, c gravity and Coriolis terms, D the joints' own damping, Q the contact's generalised force and t the motors:
    t = clip(Kd (z - v') + D z + c, -effort, effort),    z = clip(w + k (s - q'), -speed, speed),
a cascade of a position loop inside the joint's speed limit and a speed loop inside its effort limit, with gravity, Coriolis terms and
damping made up for; s and w are the set point at the end of the step and its speed. A set point accelerates no faster than half of the
effort that gravity leaves moves the joint's own inertia, and all of them together no faster than all motors can drive. A joint that is
told a speed has k = 0, one that is told a torque gives just that. With the natural frequency f and damping ratio d of a joint of inertia
m = M_jj: Kd = 2 d m (2 pi f) and k = 2 pi f / (2 d). t falls piecewise linearly with v', so the pieces are found by a few Newton steps
(Tan, Liu and Turk, Stable proportional-derivative controllers, IEEE CG&A 31, 2011, without limits).

Joints that follow others and joints at an end of their range take no part: v' = G u + g, u the speeds of the others.
"""

from dataclasses import dataclass

import numpy as np

from physsim.physics import validation
from physsim.robots.commands import POSITION, TORQUE

_ROUNDS = 50  # of Newton steps; one or two are usual
_HALVINGS = 30  # of a Newton step that goes too far
_WALL = 1e9  # damping of the end of a range, in units of what stops the joint's own inertia within a step
_SHARE = 0.5  # of the effort that is not needed against gravity, for a set point's acceleration; the rest is for the other joints' motion
_LEAST = 0.1  # of the effort, for it where gravity needs nearly all
_SLACK = 1e-9  # [rad or m] that a joint may pass its end by rounding


@dataclass(frozen=True, eq=False)
class ServoStep:
    """A step of all joints as an affine function of the contact's generalised force Q [D].

    Args:
        velocity: at the end of the step for Q = 0, [D].
        mobility: change of that velocity by dt Q, [D, D].
        gain: slope of the motors' torque by the speed, [F].
        level: the motors' torque at speed 0, [F].
        setpoint, rate: that the servos have reached at the end of the step [rad or m], and its speed, [F].
        saturated, stopped: whether the motor gives all it may, and whether an end of the range holds the joint, [F] bool.
    """

    velocity: np.ndarray
    mobility: np.ndarray
    gain: np.ndarray
    level: np.ndarray
    setpoint: np.ndarray
    rate: np.ndarray
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
        self._speed, self._effort = tree.velocity[tree.free], tree.effort[tree.free]
        self._ends = np.stack([tree.lower[tree.free] - _SLACK, tree.upper[tree.free] + _SLACK])
        self._joint_damping = tree.follow.T @ (tree.damping[:, None] * tree.follow)
        self._own_damping = self._joint_damping.diagonal()

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
        motor = _Motor(self, commands, q, inertia, compensation)
        piece, speed = _pieces(motor, damped, momentum + dt * expected, qd[tree.free], dt)
        held = np.where(piece.stop != 0, speed, 0.0)
        matrix = damped + dt * np.diag(piece.gain)
        inverse = _inverse(matrix, piece.stop)
        base = held + inverse @ (momentum + dt * piece.level - matrix @ held)
        gain, level = np.where(piece.stop != 0, 0.0, piece.gain), np.where(piece.stop != 0, motor.torque(speed), piece.level)
        mobility = follow @ inverse @ follow.T
        return ServoStep(follow @ base + drift, mobility, gain, level, motor.setpoint, motor.rate, piece.full != 0, piece.stop != 0)


def _pieces(motor, damped, right, speed, dt):
    """(piece, speeds [F]) with damped speed = right + dt torque(speed).

    The speeds make a strictly convex function least (the torques only fall with them), so Newton's method with a line search finds them.
    """
    piece = motor.piece(speed)
    for _ in range(_ROUNDS):
        matrix = damped.copy()
        matrix.flat[:: len(matrix) + 1] += dt * piece.gain
        ahead = np.linalg.solve(matrix, right + dt * piece.level)
        after = motor.piece(ahead)
        if after.same(piece):
            return piece, ahead
        step = ahead - speed

        def slope(share, start=speed, step=step):
            at = start + share * step
            there = motor.piece(at)
            return step @ (damped @ at - right - dt * (there.level - there.gain * at))

        share = 1.0 if slope(1.0) <= 0.0 else _root(slope)
        speed = speed + share * step
        piece = after if share == 1.0 else motor.piece(speed)
    return piece, speed


def _root(slope):
    """A share in (0, 1) near where an increasing function passes zero; it does so between the ends."""
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return 0.5 * (low + high)


def _inverse(matrix, stop):
    """Inverse over the joints that no end holds, zero elsewhere."""
    if not np.count_nonzero(stop):
        return np.linalg.inv(matrix)
    inverse, moving = np.zeros_like(matrix), np.flatnonzero(stop == 0)
    inverse[np.ix_(moving, moving)] = np.linalg.inv(matrix[np.ix_(moving, moving)])
    return inverse


@dataclass(eq=False)  # frozen ones take longer to make
class _Piece:
    """One linear piece of the joints' torque, level - gain speed.

    `fast` and `full` say which limits of speed and effort it lies on, `stop` which end of its range holds a joint (-1, 0 or 1).
    """

    gain: np.ndarray
    level: np.ndarray
    fast: np.ndarray
    full: np.ndarray
    stop: np.ndarray

    def same(self, other):
        return not np.count_nonzero((self.fast != other.fast) | (self.full != other.full) | (self.stop != other.stop))


class _Motor:
    """The motors' torque as a piecewise linear function of the speed at the end of the step."""

    def __init__(self, servo, commands, q, inertia, compensation):
        tree, dt = servo._tree, servo._dt
        torque = commands.mode == TORQUE
        spare = np.maximum(commands.effort - np.abs(compensation), _LEAST * commands.effort)
        rate = commands.next_rates(dt, _SHARE * spare / inertia.diagonal())
        change = rate - commands.rate
        effort = servo._effort
        able = ~torque & (effort > 0)
        excess = (np.abs(inertia @ change) / dt)[able] / np.maximum(effort - np.abs(compensation), _LEAST * effort)[able]
        self.rate = commands.rate + change / np.max(excess, initial=1.0)
        self.setpoint = commands.next_setpoints(q, self.rate, dt)
        held, place, own = commands.mode == POSITION, q[tree.free], inertia.diagonal()
        self._damping = servo._damping * own * ~torque
        self._drive = self._damping + servo._own_damping * ~torque
        pull = servo._pull * held
        self._wish, self._slope = self.rate + pull * (self.setpoint - place), pull * dt
        self._pulled = self._drive * self._slope
        self._speed = np.where(held, commands.speed, servo._speed)
        self._effort = np.where(torque, np.inf, commands.effort)  # a torque that is told was checked when it was
        self._base = np.where(torque, commands.target, compensation)
        self._ends = (servo._ends - place) / dt
        self._wall = _WALL * own / dt

    def piece(self, speed):
        """The piece that holds these speeds: motors, and ends of ranges as very stiff dampers."""
        wish, limited, torque, given = self._answer(speed)
        fast, full = np.sign(wish - limited), np.sign(torque - given)
        gain, level = self._damping + self._pulled * (fast == 0), self._drive * np.where(fast != 0, limited, self._wish) + self._base
        if np.count_nonzero(full):
            gain, level = np.where(full != 0, 0.0, gain), np.where(full != 0, given, level)
        below, above = speed < self._ends[0], speed > self._ends[1]
        stop = np.subtract(above, below, dtype=float)
        if np.count_nonzero(stop):
            gain = gain + self._wall * (stop != 0)
            level = level + self._wall * np.where(below, self._ends[0], np.where(above, self._ends[1], 0.0))
        return _Piece(gain, level, fast, full, stop)

    def torque(self, speed):
        """What the motors alone give at these speeds, [F]."""
        return self._answer(speed)[-1]

    def _answer(self, speed):
        """(speed that the position loop wishes, what is allowed of it, torque that the speed loop wishes, what is allowed of it)."""
        wish = self._wish - self._slope * speed
        limited = np.minimum(np.maximum(wish, -self._speed), self._speed)
        torque = self._drive * limited - self._damping * speed + self._base
        return wish, limited, torque, np.minimum(np.maximum(torque, -self._effort), self._effort)
