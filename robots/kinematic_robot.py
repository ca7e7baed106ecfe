"""A robot without mass that goes where it is told: for optimisation through trajectories, and for many environments at once."""

import numpy as np

from physsim.errors import InputError
from physsim.physics import validation
from physsim.robots.commands import POSITION
from physsim.robots.robot import JointState, Prediction, Robot, Wrench, in_world

_SLACK = 1e-6  # of a limit that a trajectory may pass by rounding, of its size


class KinematicRobot(Robot):
    """A robot whose links move as commanded, whatever pushes them.

    As a `Robot` it is stepped: positions are approached at the joints' largest speed, speeds are kept up to the ends of the ranges, and
    torques are refused. With `follow` it is given a whole trajectory, of one or of many environments, numpy or torch; `link_poses` then
    gives the poses of its links, differentiable where the trajectory is a torch tensor that requires gradients, ready for
    `Control.from_poses`.

    Args:
        description: RobotDescription, as `load_urdf` gives it.
        dt: length of a step [s].
        base_pose: (position [m], quaternion (w, x, y, z)) of the root link in the world; None: at the origin.
        device: Warp device for the kinematics.
    """

    def __init__(self, description, dt=1 / 240, base_pose=None, device="cpu"):
        super().__init__(description, dt, base_pose, device)
        self.reset()

    def reset(self, q=None, qd=None):
        """As `Robot.reset`; a trajectory is no longer followed."""
        super().reset(q, qd)
        self.times, self.trajectory = None, None

    def state(self):
        """JointState at this moment; torques are zero."""
        return self._state

    def prepare(self, wrenches=None):
        """Prediction of the step to come; nothing that pushes changes it. As `Robot.prepare`."""
        if wrenches is not None:
            self._checked_wrenches(wrenches)
        q, stopped = self._next()
        qd = (q - self._state.position) / self.dt
        positions, quaternions, jacobians = (value[0] for value in self.kinematics.motion(self._state.position[None]))
        self._stopped = stopped
        return Prediction(q, qd, np.zeros((len(q), len(q))), positions, quaternions, jacobians, self.dt)

    def step(self):
        """Move on by dt."""
        prediction = self.prepare()
        none = np.zeros(len(prediction.q), bool)
        free = self.kinematics.tree.free
        self.commands.advance(prediction.q[free], prediction.qd[free])
        self._state = JointState(prediction.q, prediction.qd, np.zeros(len(none)), none, self._stopped)
        self.applied, self._waiting = self._waiting, {}
        self.time += self.dt

    def command(self, position=None, velocity=None, torque=None, joints=None, on_limit="raise", effort=None, speed=None):
        """As `Robot.command`, without torques; a trajectory is no longer followed, joints that are not named stay where they are."""
        if torque is not None:
            raise InputError("torque: a KinematicRobot has no mass; command a position or a velocity, or use PyBulletRobot")
        if self.times is not None:  # joints that are not named stay where the trajectory has brought them
            self.commands.hold(self._state.position)
        super().command(position, velocity, torque, joints, on_limit, effort, speed)
        self.times, self.trajectory = None, None

    def wrench(self, link, frame="link"):
        """The contact's load on the joint that holds a link over the last step; there is no weight. As `Robot.wrench`."""
        number = self._held_link(link, frame)
        positions, quaternions = (value[0] for value in self.kinematics.poses(self._state.position[None]))
        force, torque = np.zeros(3), np.zeros(3)
        for name, wrench in self.applied.items():
            carried = self.kinematics.tree.link(name)
            if self._carries(number, carried):
                force = force + wrench.force
                torque = torque + wrench.torque + np.cross(positions[carried] - positions[number], wrench.force)
        if frame == "world":
            return Wrench(force, torque)
        back = quaternions[number] * np.array([1.0, -1.0, -1.0, -1.0])
        return in_world(Wrench(force, torque), back)

    def follow(self, times, joints, on_limit="raise"):
        """Follow a trajectory from now on: joints are linear between keys and stay at the last one.

        Args:
            times: of the keys [s], shape [k], increasing.
            joints: positions [rad or m], shape [k, joints] or [k, envs, joints]; numpy, or a torch tensor to be differentiated.
            on_limit: "raise" to refuse positions and speeds outside the joints' limits, "clip" to take the nearest position that is not
                and refuse speeds only.

        Raises:
            InputError: times that do not increase, shapes that do not fit, NaN, or outside the limits.
        """
        times = validation.array("times", times, (None,))
        if len(times) == 0 or (np.diff(times) <= 0).any():
            raise InputError("times: at least one is needed, each later than the one before")
        if on_limit not in ("raise", "clip"):
            raise InputError(f"on_limit = {on_limit!r}: must be 'raise' or 'clip'")
        if np.ndim(joints) not in (2, 3) or len(joints) != len(times):
            wanted = f"[{len(times)}, {self.kinematics.dof}] or [{len(times)}, envs, {self.kinematics.dof}]"
            raise InputError(f"joints: shape {list(np.shape(joints))} was given, {wanted} is needed")
        values = self.kinematics.checked(joints, "joints")
        if on_limit == "clip":
            tree = self.kinematics.tree
            clipped = np.clip(values, tree.lower, tree.upper)
            joints = joints.clamp(_like(tree.lower, joints), _like(tree.upper, joints)) if hasattr(joints, "detach") else clipped
            values = clipped
        self._check_trajectory(times, values)
        self.times, self.trajectory = times, joints
        if values.ndim == 2:
            self._set_state(self._followed(self.time), np.zeros(self.kinematics.dof))

    def link_poses(self, times=None, links=None):
        """Poses of links along the trajectory.

        Args:
            times: [s], shape [t]; None: the keys' own.
            links: names; None: all of them.

        Returns:
            dict from link to (positions [m], shape [t, 3] or [t, envs, 3]; quaternions (w, x, y, z), shape [t, 4] or [t, envs, 4]);
            torch tensors if the trajectory is one.

        Raises:
            InputError: nothing is followed, no such link, NaN.
        """
        if self.times is None:
            raise InputError("link_poses: no trajectory is followed; give one with `follow`")
        names = self.kinematics.links if links is None else ((links,) if isinstance(links, str) else tuple(links))
        numbers = [self.kinematics.tree.link(name) for name in names]
        q = self.trajectory if times is None else self._joints_at(validation.array("times", times, (None,)))
        forward = self.kinematics.forward_torch if hasattr(q, "detach") else self.kinematics.forward
        positions, quaternions = forward(q)
        return {name: (positions[..., k, :], quaternions[..., k, :]) for name, k in zip(names, numbers)}

    def _set_state(self, q, qd):
        none = np.zeros(len(q), bool)
        self._state = JointState(q.copy(), qd.copy(), np.zeros(len(q)), none, none.copy())

    def _next(self):
        """(joints at the end of the step [D], whether an end of the range holds them [D])."""
        tree, q = self.kinematics.tree, self._state.position
        if self.times is not None:
            if np.ndim(self.trajectory) != 2:
                raise InputError("step: the trajectory is of several environments; `link_poses` gives the poses of all")
            return self._followed(self.time + self.dt), np.zeros(len(q), bool)
        rate = self.commands.next_rates(self.dt)
        setpoint = self.commands.next_setpoints(q, rate, self.dt)
        wanted = np.where(self.commands.mode == POSITION, setpoint, q[tree.free] + rate * self.dt)
        free = np.clip(wanted, tree.lower[tree.free], tree.upper[tree.free])
        stopped = np.zeros(len(q), bool)
        stopped[tree.free] = free != wanted
        return tree.follow @ free + tree.offset, stopped

    def _followed(self, time):
        """Joints [D] of the trajectory at one time, as numbers."""
        at = self._joints_at(np.array([time]))[0]
        return np.asarray(at.detach().cpu() if hasattr(at, "detach") else at, dtype=float)

    def _joints_at(self, times):
        """The trajectory at times, linear between its keys; numpy or torch as it is."""
        first = np.clip(np.searchsorted(self.times, times, side="right") - 1, 0, max(len(self.times) - 2, 0))
        second = np.minimum(first + 1, len(self.times) - 1)
        length = np.where(second > first, self.times[second] - self.times[first], 1.0)
        weight = np.clip((times - self.times[first]) / length, 0.0, 1.0).reshape(-1, *(1,) * (np.ndim(self.trajectory) - 1))
        if hasattr(self.trajectory, "detach"):
            weight = _like(weight, self.trajectory)
        else:
            self.trajectory = np.asarray(self.trajectory, dtype=float)
        return (1 - weight) * self.trajectory[first] + weight * self.trajectory[second]

    def _check_trajectory(self, times, q):
        tree = self.kinematics.tree
        self._first_beyond("joints", q, tree.lower, tree.upper)
        if len(times) > 1:
            speeds = np.diff(q, axis=0) / np.diff(times).reshape(-1, *(1,) * (q.ndim - 1))
            self._first_beyond("speed between keys", speeds, -tree.velocity, tree.velocity)
        off = np.abs(q[..., tree.free] @ tree.follow.T + tree.offset - q) > 1e-6
        if off.any():
            at = np.argwhere(off)[0].tolist()
            raise InputError(f"joints at {at}: {tree.joints[at[-1]]!r} follows another joint and does not where this trajectory leads it")

    def _first_beyond(self, name, value, low, high):
        tree = self.kinematics.tree
        bad = (value < low - _SLACK * (1 + np.abs(low))) | (value > high + _SLACK * (1 + np.abs(high)))
        if bad.any():
            at = np.argwhere(bad)[0].tolist()
            k = at[-1]
            ends = f"[{low[k]:g}, {high[k]:g}]"
            raise InputError(f"{name} = {value[tuple(at)]:g} at {at}, joint {tree.joints[k]!r}: must lie in {ends}; slow down or clip")

    def _carries(self, number, link):
        while link > number:
            link = self.kinematics.tree.parent[link]
        return link == number


def _like(value, tensor):
    """A numpy array as a constant tensor of the same kind as another one."""
    return tensor.new_tensor(value)
