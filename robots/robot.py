"""What every robot can do, whatever moves it: take commands, say where its links are, feel forces, and step."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import numpy as np

from physsim.errors import InputError
from physsim.physics import validation
from physsim.physics.frames import turned
from physsim.robots.commands import JointCommands
from physsim.robots.kinematics import Kinematics


@dataclass(frozen=True, eq=False)
class JointState:
    """The joints, in the order of `Robot.joints`.

    Args:
        position: [rad or m], [D].
        velocity: [rad/s or m/s], [D].
        torque: of the motors over the last step [N m or N], [D]; 0 of joints that follow another one.
        saturated: whether the motor gave all that it may, [D] bool.
        stopped: whether an end of its range held the joint, [D] bool.
    """

    position: np.ndarray
    velocity: np.ndarray
    torque: np.ndarray
    saturated: np.ndarray
    stopped: np.ndarray


@dataclass(frozen=True, eq=False)
class LinkStates:
    """Where the links are and how they move, in world axes.

    Args:
        names: of the links, L of them.
        positions: of their origins [m], [L, 3].
        quaternions: (w, x, y, z), [L, 4].
        velocities: of their origins [m/s], [L, 3].
        angular_velocities: [rad/s], [L, 3].
    """

    names: tuple[str, ...]
    positions: np.ndarray
    quaternions: np.ndarray
    velocities: np.ndarray
    angular_velocities: np.ndarray

    def pose(self, name):
        """(position [3], quaternion [4]) of a link; InputError where there is none of that name."""
        if name not in self.names:
            raise InputError(f"link {name!r}: there is none of that name; it must be one of {', '.join(self.names)}")
        number = self.names.index(name)
        return self.positions[number], self.quaternions[number]


@dataclass(frozen=True)
class Wrench:
    """A force [N], [3], and a torque about the origin of a link's frame [N m], [3]."""

    force: np.ndarray = field(default_factory=lambda: np.zeros(3))
    torque: np.ndarray = field(default_factory=lambda: np.zeros(3))


@dataclass(frozen=True, eq=False)
class Prediction:
    """How a step will end without contact, and what contact changes about it.

    A generalised force Q [N m or N] over the step of length dt changes the velocity at its end by dt `mobility` Q and the position by
    dt^2 `mobility` Q; wrenches on links give Q = sum of `jacobians[link]`^T (force, torque).

    Args:
        q, qd: at the end of the step without contact [rad or m] and [rad/s or m/s], [D].
        mobility: [1/(kg m^2) or 1/kg], [D, D], symmetric; zero where motion is prescribed.
        positions, quaternions: of the links at the beginning, [L, 3] and [L, 4].
        jacobians: of the links' origins at the beginning, [L, 6, D], as `Kinematics.jacobians`.
        dt: [s].
    """

    q: np.ndarray
    qd: np.ndarray
    mobility: np.ndarray
    positions: np.ndarray
    quaternions: np.ndarray
    jacobians: np.ndarray
    dt: float

    def after(self, force):
        """(q, qd) at the end of the step with a generalised force [D]."""
        change = self.dt * (self.mobility @ force)
        return self.q + self.dt * change, self.qd + change


class Robot(ABC):
    """A robot that is commanded by its joints and stepped with a fixed dt.

    A coupling calls `prepare`, finds the contact's wrenches with the prediction, hands them over with `apply`, and calls `step`; without
    contact `step` alone is enough.

    Args:
        description: RobotDescription, as `load_urdf` gives it.
        dt: length of a step [s].
        base_pose: (position [m], quaternion (w, x, y, z)) of the root link in the world; None: at the origin.
        device: Warp device for the kinematics.
    """

    def __init__(self, description, dt=1 / 240, base_pose=None, device="cpu"):
        self.dt = float(validation.array("dt", dt, (), lower=0.0, lower_open=True))
        self.kinematics = Kinematics(description, base_pose, device)
        self.description = description
        self.commands = JointCommands(self.kinematics.tree)
        self.time = 0.0
        self.applied: dict[str, Wrench] = {}
        self._waiting: dict[str, Wrench] = {}
        self._ready = None  # what `prepare` found, as long as it holds

    @classmethod
    def load(cls, path, package_folders=(), **options):
        """A robot from a URDF; `package_folders` as `load_urdf`, `options` as the class.

        Raises:
            InputError: the file cannot be used, or an option.
        """
        from physsim.io.urdf import load_urdf

        return cls(load_urdf(path, package_folders), **options)

    @property
    def joints(self):
        """Names of the movable joints."""
        return self.kinematics.joints

    @property
    def limits(self):
        """Limits of the joints: a JointTree with `lower`, `upper` [rad or m], `velocity` and `effort`, [D] each."""
        return self.kinematics.tree

    @abstractmethod
    def state(self):
        """JointState at this moment."""

    @abstractmethod
    def prepare(self, wrenches=None):
        """Prediction of the step to come, under the commands as they are.

        Args:
            wrenches: dict from link to Wrench (or a pair force, torque) that contact is expected to give; what motors and ends of ranges
                hold against is decided with it. None: those of the last step.

        Returns:
            Prediction, free of contact all the same.
        """

    @abstractmethod
    def step(self):
        """Move on by dt, under the wrenches applied since the last step.

        Raises:
            SolverError: the state is no longer finite.
        """

    @abstractmethod
    def wrench(self, link, frame="link"):
        """What a force and torque sensor in the joint that holds a link read over the last step.

        It is the load on the sensor: the contact forces and weight of the link and of all that it carries, less what their acceleration
        takes up. Nothing is subtracted: at rest the weight shows.

        Args:
            link: name; the wrist's sensor of a hand is that of the hand's own link.
            frame: "link" for the axes of the link, "world" for those of the world.

        Returns:
            Wrench; the torque is about the origin of the link's frame.

        Raises:
            InputError: no such link, the root (nothing holds it), another frame.
        """

    @abstractmethod
    def _set_state(self, q, qd):
        """Take up joint positions and velocities."""

    def reset(self, q=None, qd=None):
        """Begin anew: joints at rest where they are put, commanded to stay there.

        Args:
            q: positions [rad or m], shape [joints]; None: the middle of the limits.
            qd: velocities [rad/s or m/s], shape [joints]; None: 0.

        Raises:
            InputError: another number of joints, outside the limits, or a joint that does not follow as it must.
        """
        tree = self.kinematics.tree
        q = self.kinematics.rest() if q is None else self.kinematics.checked(q)
        qd = np.zeros(len(q)) if qd is None else self.kinematics.checked(qd, "qd")
        self._check_within(q, qd)
        for name, value, followed in (("q", q, tree.follow @ q[tree.free] + tree.offset), ("qd", qd, tree.follow @ qd[tree.free])):
            off = np.abs(value - followed)
            if (off > 1e-6).any():
                k = int(np.argmax(off))
                raise InputError(f"{name} = {value[k]:g} of joint {tree.joints[k]!r}: it follows another joint and must be {followed[k]:g}")
        self.time, self.applied, self._waiting, self._ready = 0.0, {}, {}, None
        self._set_state(q, qd)
        self.commands.hold(q)

    def _check_within(self, q, qd):
        tree = self.kinematics.tree
        for name, value, low, high in (("q", q, tree.lower, tree.upper), ("qd", qd, -tree.velocity, tree.velocity)):
            bad = (value < low - 1e-9) | (value > high + 1e-9)
            if bad.any():
                k = int(np.argmax(bad))
                raise InputError(f"{name} = {value[k]:g} of joint {tree.joints[k]!r}: must lie in [{low[k]:g}, {high[k]:g}]")

    def command(self, position=None, velocity=None, torque=None, joints=None, on_limit="raise", effort=None, speed=None):
        """Say what joints shall do from now on.

        Args:
            position: to go to and hold [rad or m], a number or shape [named joints].
            velocity: to keep [rad/s or m/s].
            torque: of the motor [N m or N], nothing added to it. Exactly one of the three is given.
            joints: names; None: all that follow no other one.
            on_limit: "raise" to refuse what lies outside a joint's limits, "clip" to take the nearest that does not.
            effort: largest torque or force of the motors on the way [N m or N], at most the joints' own; None: the joints' own.
            speed: largest speed on the way to a position [rad/s or m/s], at most the joints' own; None: the joints' own.

        Raises:
            InputError: not exactly one kind, no such joint, one that follows another, shapes that do not fit, NaN, or outside the limits.
        """
        self._ready = None
        state, asked = self.state(), {"position": position, "velocity": velocity, "torque": torque}
        self.commands.take(state.position, state.velocity, asked, joints, on_limit, effort, speed)

    def apply(self, wrenches):
        """Hand over what contact does to links over the step to come; it is gone after that step.

        Args:
            wrenches: dict from link to Wrench, or a pair (force [N], torque [N m]) of shape [3] each: means over the step in world axes,
                the torque about where the origin of the link's frame is at the step's beginning.

        Raises:
            InputError: no such link, not finite.
        """
        self._waiting = self._checked_wrenches(wrenches)

    def contact_wrench(self, link):
        """Wrench that was applied to a link over the last step, in world axes about the origin of its frame."""
        self.kinematics.tree.link(link)
        return self.applied.get(link, Wrench())

    def links(self):
        """LinkStates at this moment."""
        state = self.state()
        positions, quaternions, jacobians = (value[0] for value in self.kinematics.motion(state.position[None]))
        speeds = jacobians @ state.velocity
        return LinkStates(self.kinematics.links, positions, quaternions, speeds[:, :3], speeds[:, 3:])

    def forward_kinematics(self, q):
        """Poses of all links for joints [..., D]; as `Kinematics.forward`."""
        return self.kinematics.forward(q)

    def inverse_kinematics(self, link, position, quaternion=None, start=None, **options):
        """Joints that bring a link to a pose, near where the robot is now; as `Kinematics.inverse`."""
        tree = self.kinematics.tree
        if start is None:  # contact may push a joint past its end by what one step moves it
            start = np.clip(self.state().position, tree.lower, tree.upper)
        return self.kinematics.inverse(link, position, quaternion, start, **options)

    def _checked_wrenches(self, wrenches):
        validation.instance("wrenches", wrenches, dict, "from link to (force [N], torque [N m])")
        checked = {}
        for link, given in wrenches.items():
            self.kinematics.tree.link(link)
            if not isinstance(given, Wrench):
                if not isinstance(given, (tuple, list)) or len(given) != 2:
                    raise InputError(f"wrenches[{link!r}]: a pair of a force [3] and a torque [3] is needed")
                given = Wrench(*given)
            checked[link] = Wrench(*(_vector(name, link, getattr(given, name)) for name in ("force", "torque")))
        return checked

    def _generalised(self, wrenches, jacobians):
        """Generalised force [D] of checked wrenches."""
        total = np.zeros(self.kinematics.dof)
        for link, wrench in wrenches.items():
            jacobian = jacobians[self.kinematics.tree.link(link)]
            total += np.concatenate([wrench.force, wrench.torque]) @ jacobian
        return total

    def _held_link(self, link, frame):
        number = self.kinematics.tree.link(link)
        if number == 0:
            raise InputError(f"link {link!r}: it is the root, no joint holds it; choose a link beyond a joint")
        if frame not in ("link", "world"):
            raise InputError(f"frame = {frame!r}: must be 'link' or 'world'")
        return number


def _vector(name, link, value):
    """A finite vector [3] of its own; the common case is told quickly, every step asks several times."""
    if isinstance(value, np.ndarray) and value.shape == (3,) and value.dtype == np.float64 and np.isfinite(value).all():
        return value.copy()
    return validation.array(f"{name} on {link!r}", value, (3,))


def in_world(wrench, quaternion):
    """A Wrench in the axes of a link turned into world axes."""
    return Wrench(turned(quaternion, wrench.force), turned(quaternion, wrench.torque))
