"""Where a robot's links are for given joints, how they move with them, and which joints bring a link to a pose."""

from functools import cache, cached_property

import numpy as np
import warp as wp

from physsim.errors import InputError
from physsim.kernels.kinematics.tree import SLIDE, kinematics_kernels
from physsim.physics import validation
from physsim.physics.frames import cross, turned
from physsim.physics.launch import HostView, Launcher, quiet_warp
from physsim.robots.inverse import solve_inverse
from physsim.robots.tree import joint_tree

_SCALARS = {"float32": wp.float32, "float64": wp.float64}
_kernels = cache(kinematics_kernels)


class Kinematics:
    """Positions and turns of a robot's links as functions of its joints.

    Joints are those of `joints`: all that move, also those that follow another one, in the order of the links that they hold.
    Quaternions are (w, x, y, z).

    Args:
        description: RobotDescription, as `load_urdf` gives it.
        base_pose: (position [m], shape [3]; quaternion, shape [4]) of the root link in the world; None: at the origin.
        device: Warp device that computes poses.
        dtype: "float64" or "float32".

    Raises:
        InputError: no movable joint, a pose, device or dtype that is none.
    """

    def __init__(self, description, base_pose=None, device="cpu", dtype="float64"):
        if dtype not in _SCALARS:
            raise InputError(f"dtype = {dtype!r}: must be 'float64' or 'float32'")
        self.tree = joint_tree(description, base_pose)
        self.description, self.dtype = description, dtype
        with quiet_warp():
            try:
                self.device = str(wp.get_device(device))
            except (ValueError, RuntimeError) as error:
                raise InputError(f"device = {device!r}: {error}; 'cpu' always works") from None
        self._batches = {}

    @property
    def links(self):
        """Names of the links, the root first."""
        return self.tree.links

    @property
    def joints(self):
        """Names of the movable joints."""
        return self.tree.joints

    @property
    def dof(self):
        """Number of movable joints."""
        return len(self.tree.joints)

    def forward(self, q):
        """Poses of all links.

        Args:
            q: joint positions [rad or m], shape [..., joints].

        Returns:
            (positions [m], shape [..., links, 3]; quaternions, shape [..., links, 4]).

        Raises:
            InputError: another number of joints, NaN.
        """
        q = self.checked(q)
        positions, quaternions = self.poses(q.reshape(-1, self.dof))
        return positions.reshape(*q.shape[:-1], -1, 3), quaternions.reshape(*q.shape[:-1], -1, 4)

    def forward_torch(self, q):
        """Poses of all links as a differentiable function of a torch tensor; shapes as `forward`."""
        from physsim.robots.torch_kinematics import torch_forward

        return torch_forward(self, q)

    def jacobians(self, q):
        """How the links' origins move with the joints, for all links.

        Args:
            q: joint positions [rad or m], shape [..., joints].

        Returns:
            Shape [..., links, 6, joints]: velocity of the link's origin and angular velocity, both in world axes, a unit speed.

        Raises:
            InputError: another number of joints, NaN.
        """
        q = self.checked(q)
        found = self.motion(q.reshape(-1, self.dof))[2]
        return found.reshape(*q.shape[:-1], *found.shape[1:])

    def jacobian(self, q, link, point=(0.0, 0.0, 0.0)):
        """How a point of a link moves with the joints.

        Args:
            q: joint positions [rad or m], shape [..., joints].
            link: name.
            point: in the link's frame [m], shape [3].

        Returns:
            Shape [..., 6, joints]: velocity of the point and angular velocity, both in world axes, a unit speed.

        Raises:
            InputError: no such link, another number of joints.
        """
        return self.point_jacobian(self.tree.link(link), validation.array("point", point, (3,)), *self.forward(q))[1]

    def point_jacobian(self, number, point, positions, quaternions):
        """(place [..., 3], Jacobian [..., 6, joints]) of a point of the link of that number, given the poses of all links."""
        tree, holder = self.tree, self._holder
        at = positions[..., number, :] + turned(quaternions[..., number, :], point)
        axis = turned(quaternions[..., holder, :], tree.axis[holder])
        slide = (tree.kind[holder] == int(SLIDE))[:, None]
        linear = np.where(slide, axis, cross(axis, at[..., None, :] - positions[..., holder, :]))
        both = np.concatenate([linear, np.where(slide, 0.0, axis)], axis=-1) * tree.moves[number][:, None]
        return at, np.swapaxes(both, -1, -2)

    def inverse(self, link, position, quaternion=None, start=None, **options):
        """Joints that bring a link to a pose.

        Damped least squares within the joints' limits from `start`, then from random joints, all at once. Joints that follow another one
        do so; joints that do not move the link stay as they are in `start`.

        Args:
            link: name.
            position: that the link's `point` should reach, in the world [m], shape [3].
            quaternion: that the link should have, shape [4]; None: any.
            start: joint positions to begin with [rad or m], shape [joints]; None: the middle of the limits. Among those found the
                nearest to it is given.
            **options: `point` in the link's frame [m] (its origin); `restarts` (32) random starts, drawn with `seed` (0);
                `position_tolerance` [m] (1e-3) and `rotation_tolerance` [rad] (pi/180) of what counts as reached; `iterations` (100) of
                each start; `joints`, names of those that may move (all).

        Returns:
            InverseKinematicsResult; `reached` says whether both tolerances are met, within the limits.

        Raises:
            InputError: no such link, a start outside the limits, shapes that do not fit.
        """
        return solve_inverse(self, link, position, quaternion, start, **options)

    def checked(self, q, name="q"):
        """Joint positions as float64 [..., joints]; InputError where their number is another or one is not finite."""
        shape = (None,) * (max(np.ndim(q), 1) - 1)
        return validation.array(name, q, (*shape, self.dof))

    def rest(self):
        """Middle of the limits, 0 where there are none [rad or m], shape [joints]; followers follow."""
        tree = self.tree
        ends = np.isfinite(tree.lower) & np.isfinite(tree.upper)
        middle = np.where(ends, 0.5 * (np.where(ends, tree.lower, 0.0) + np.where(ends, tree.upper, 0.0)), 0.0)
        middle = np.clip(middle, tree.lower, tree.upper)
        return tree.follow @ middle[tree.free] + tree.offset

    def poses(self, q):
        """`forward` of joints [envs, joints] that are known to be good."""
        return self._batch(len(q)).forward(q)

    def motion(self, q):
        """(positions, quaternions, Jacobians) of all links for joints [envs, joints] that are known to be good."""
        return self._batch(len(q)).motion(q)

    def pullback(self, q, position_gradients, quaternion_gradients):
        """Gradient [envs, joints] of a function of the poses of `poses`, given its gradients by them."""
        return self._batch(len(q)).pullback(q, position_gradients, quaternion_gradients)

    @cached_property
    def _holder(self):
        """Link that each joint holds, [joints]."""
        links = np.flatnonzero(self.tree.column >= 0)
        return links[np.argsort(self.tree.column[links])]

    def _batch(self, envs):
        batch = self._batches.get(envs)
        if batch is None:
            if len(self._batches) > 7:
                self._batches.clear()
            batch = self._batches[envs] = _Batch(self.tree, envs, self.device, self.dtype)
        return batch


class _Batch:
    """Arrays and recorded launches for one number of environments."""

    def __init__(self, tree, envs, device, dtype):
        real = _SCALARS[dtype]
        vec3, vec4 = wp.types.vector(3, real), wp.types.vector(4, real)
        self._kernels = _kernels(real)
        self._launcher = Launcher(device, envs)
        count = len(tree.links)
        self._count = count

        def constant(value, kind):
            return wp.array(value, dtype=kind, device=device)

        def room(kind):
            return wp.zeros((envs, count), dtype=kind, device=device)

        indices = [constant(value.astype(np.int32), int) for value in (tree.parent, tree.kind, tree.column)]
        self._tree = [count, *indices, constant(tree.axis, vec3)]
        self._q = wp.zeros((envs, len(tree.joints)), dtype=real, device=device)
        self._poses = room(vec3), room(vec4)
        self._places = constant(tree.origin, vec3), constant(tree.orientation, vec4)  # a recorded launch does not keep what it reads
        self._read, self._write = [HostView(out) for out in self._poses], _writer(self._q)
        self._forward = self._launcher.record(self._kernels["forward"], 1, *self._tree, *self._places, self._q, *self._poses)
        self._room = room, vec3, vec4
        self._backward = self._jacobians = None

    def forward(self, q):
        self._write(q)
        self._forward()
        return tuple(read().astype(np.float64) for read in self._read)  # copies

    def motion(self, q):
        if self._jacobians is None:
            self._slopes = wp.zeros((len(q), self._count, 6, q.shape[1]), dtype=self._q.dtype, device=self._q.device)
            self._read_slopes = HostView(self._slopes)
            self._jacobians = self._launcher.record(self._kernels["jacobians"], 1, *self._tree, *self._poses, self._slopes)
        poses = self.forward(q)
        self._jacobians()
        return *poses, self._read_slopes().astype(np.float64)

    def pullback(self, q, position_gradients, quaternion_gradients):
        if self._backward is None:
            room, vec3, vec4 = self._room
            self._gradients = room(vec3), room(vec4)
            self._work = room(vec3), room(vec3), wp.zeros_like(self._q)
            self._backward = self._launcher.record(
                self._kernels["pullback"], 1, *self._tree, *self._poses, *self._gradients, *self._work, weight=1.0
            )
        self.forward(q)
        for array, value in zip(self._gradients, (position_gradients, quaternion_gradients), strict=True):
            _writer(array)(value)
        for array in self._work:
            array.zero_()
        self._backward()
        return self._work[2].numpy().astype(np.float64)


def _writer(array):
    """A function that puts values into a device array."""
    if not array.device.is_cpu:
        return array.assign
    view = array.numpy()

    def write(value):
        view[...] = value  # `assign` takes twenty times as long for one pose

    return write
