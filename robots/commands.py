"""What each joint has been told to do, checked against its limits, and the set point that moves towards it."""

from collections.abc import Iterable

import numpy as np

from physsim.errors import InputError
from physsim.physics import validation

POSITION, VELOCITY, TORQUE = range(3)
_MODES = {"position": POSITION, "velocity": VELOCITY, "torque": TORQUE}
_UNITS = {"position": "rad or m", "velocity": "rad/s or m/s", "torque": "N m or N"}


class JointCommands:
    """Commands of the F joints that follow no other one.

    Args:
        tree: JointTree.

    Attributes:
        mode: POSITION, VELOCITY or TORQUE, [F].
        target: position, speed or torque that was asked for, [F].
        effort: largest torque or force that the motor may give [N m or N], [F].
        speed: largest speed towards a position [rad/s or m/s], [F].
        fresh: whether the target was given since the last step, [F] bool.
        setpoint, rate: position that the servo holds now, on its way to the target [rad or m], and its speed, [F].
    """

    def __init__(self, tree):
        self._tree = tree
        self._known = {}  # names of joints -> their places
        self._ends = {  # kind -> least and most, [D]
            "position": (tree.lower, tree.upper),
            "velocity": (-tree.velocity, tree.velocity),
            "torque": (-tree.effort, tree.effort),
        }
        self.hold(np.clip(np.zeros(len(tree.joints)), tree.lower, tree.upper))

    def hold(self, q):
        """Stay at joint positions [D]."""
        free = self._tree.free
        self.mode = np.full(len(free), POSITION)
        self.target, self.setpoint, self.rate = q[free].copy(), q[free].copy(), np.zeros(len(free))
        self.effort, self.speed = self._tree.effort[free].copy(), self._tree.velocity[free].copy()
        self.fresh = np.zeros(len(free), bool)

    def advance(self, setpoint, rate):
        """Take up set points and their speeds [F] at the end of a step."""
        self.setpoint, self.rate, self.fresh = setpoint, rate, np.zeros(len(rate), bool)

    def take(self, q, qd, asked, joints, on_limit, effort, speed):
        """Take a command; arguments as `Robot.command`, `asked` from kind to value."""
        given = {kind: value for kind, value in asked.items() if value is not None}
        if len(given) != 1:
            raise InputError(f"command: exactly one of position, velocity and torque is needed, {len(given)} were given")
        if on_limit not in ("raise", "clip"):
            raise InputError(f"on_limit = {on_limit!r}: must be 'raise' or 'clip'")
        ((kind, value),) = given.items()
        places = self._places(joints)
        mine = self._tree.free[places]
        low, high = self._ends[kind]
        value = self._within(kind, value, mine, low[mine], high[mine], on_limit)
        efforts = self._most("effort", effort, mine, self._tree.effort[mine], on_limit)
        speeds = self._most("speed", speed, mine, self._tree.velocity[mine], on_limit)
        other = self.mode[places] != _MODES[kind]
        if other.any():
            self.setpoint[places[other]], self.rate[places[other]] = q[mine[other]], qd[mine[other]]
        self.mode[places], self.target[places] = _MODES[kind], value
        self.effort[places], self.speed[places], self.fresh[places] = efforts, speeds, True

    def next_rates(self, dt, acceleration=np.inf):
        """Speeds of the set points over the next step.

        A fresh target that lies within reach of the speed and acceleration is gone to at once, so that a stream of them is followed
        without lag; a distant one is approached with a speed from which half of the acceleration stops the set point there.

        Args:
            dt: [s].
            acceleration: largest change of the set points' speed [rad/s^2 or m/s^2], [F].

        Returns:
            [rad/s or m/s], [F]; 0 for joints that are told a torque.
        """
        held = self.mode == POSITION
        change = acceleration * dt + np.zeros(len(held))
        direct = (self.target - self.setpoint) / dt
        way = np.abs(direct)
        bounded = change < np.inf
        slower = 0.5 * change if bounded.all() else np.where(bounded, 0.5 * change, 1.0)
        # the steps that stop from speed v by `slower` each go v (v + slower) dt / (2 slower)
        brake = 0.5 * slower * (np.sqrt(1.0 + 8.0 * way / slower) - 1.0)
        if not bounded.all():
            brake = np.where(bounded, brake, np.inf)
        wish = np.copysign(np.minimum(np.minimum(self.speed, brake), way), direct)
        if not held.all():
            wish = np.where(held, wish, np.where(self.mode == VELOCITY, self.target, 0.0))
        rate = np.minimum(np.maximum(wish, self.rate - change), self.rate + change)
        near = held & self.fresh & (np.abs(direct - self.rate) <= change) & (way <= self.speed)
        return np.where(near, direct, np.where(self.mode == TORQUE, 0.0, rate))

    def next_setpoints(self, q, rate, dt):
        """Set points [F] one step on at these speeds; where the joint is [D], for those that are told no position."""
        return np.where(self.mode == POSITION, self.setpoint + rate * dt, q[self._tree.free])

    def _places(self, joints):
        free = self._tree.free
        if joints is None:
            return np.arange(len(free))
        names = (joints,) if isinstance(joints, str) or not isinstance(joints, Iterable) else tuple(joints)
        if not all(isinstance(name, str) for name in names):
            raise InputError(f"joints = {joints!r}: the name of a joint, several, or None for all are needed")
        if names in self._known:
            return self._known[names]
        numbers = [self._tree.joint(name) for name in names]
        if len(set(numbers)) < len(numbers):
            raise InputError("joints: one is named twice; name each once")
        for name, number in zip(names, numbers):
            if number not in free:
                leader = self._tree.joints[free[np.flatnonzero(self._tree.follow[number])[0]]]
                raise InputError(f"joint {name!r}: it follows {leader!r}; command that one")
        self._known[names] = np.searchsorted(free, numbers)
        return self._known[names]

    def _within(self, name, value, mine, low, high, on_limit):
        value = validation.array(name, value, () if validation.is_scalar(name, value) else (len(mine),))
        value = np.broadcast_to(value, (len(mine),))
        bad = (value < low) | (value > high)
        if bad.any() and on_limit == "raise":
            k = int(np.argmax(bad))
            unit = _UNITS.get(name, "")
            raise InputError(
                f"{name} = {value[k]:g} of joint {self._tree.joints[mine[k]]!r}: must lie in [{low[k]:g}, {high[k]:g}] {unit}".rstrip()
                + "; on_limit='clip' takes the nearest"
            )
        return np.minimum(np.maximum(value, low), high)

    def _most(self, name, value, mine, high, on_limit):
        return high if value is None else self._within(name, value, mine, np.zeros(len(mine)), high, on_limit)
