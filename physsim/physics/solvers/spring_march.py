"""A net's springs set out for the vectorised march of `kernels.explicit_springs`."""

from functools import cache

import numpy as np
import warp as wp

from physsim.kernels.explicit_springs import march_springs_kernel
from physsim.physics import laws

NEIGHBOURHOOD = 64
"""Particles that are sorted by their number of springs among each other: near enough to share cache lines."""


def march_layout(springs, particle_count):
    """How springs, particle pairs of shape [m, 2], are set out for `march_springs_kernel`.

    Eight particles form a group; a block holds one spring of each, so a group has as many blocks as the most springs that one of
    its particles is the first end of. Free places are springs from a particle to itself, to be left without stiffness.

    Returns:
        (groups, blocks, ends, place): counts, the kernel's `ends`, and each spring's place among the 8 `blocks`, shape [m].
    """
    order = np.argsort(springs[:, 0], kind="stable")
    first = springs[order, 0]
    turn = np.arange(len(first)) - np.searchsorted(first, first)
    degree = np.bincount(first, minlength=particle_count)
    members = np.lexsort((np.arange(particle_count), -degree, np.arange(particle_count) // NEIGHBOURHOOD))
    members = members[degree[members] > 0]
    seat = np.empty(particle_count, int)
    seat[members] = np.arange(len(members))
    groups = -(-len(members) // 8)
    members = np.pad(members, (0, 8 * groups - len(members)), mode="edge")
    start = np.concatenate([[0], np.cumsum(degree[members].reshape(groups, 8).max(axis=1))])
    blocks = int(start[-1])
    place = np.empty(len(springs), int)
    place[order] = 8 * (start[seat[first] // 8] + turn) + seat[first] % 8
    second = np.repeat(members.reshape(groups, 8), np.diff(start), axis=0).ravel()
    second[place] = springs[:, 1]
    ends = np.concatenate([16 * members, 16 * second, start]).astype(np.int32)
    return groups, blocks, ends, place


class SpringMarch:
    """A spring net's springs as `kernels.explicit_springs` reads them, and the launch that marches them."""

    def __init__(self, solver, law):
        a, model, real = solver.assembly, solver.model, laws.SCALARS[solver.model.dtype]
        self._groups, self._blocks, ends, self._place = march_layout(model.blocks[law].stencil, model.particle_count)
        self._ends = wp.array(ends, dtype=int, device=model.device)
        self._rows = wp.zeros((model.envs, 5 * model.particle_count), dtype=wp.types.vector(4, real), device=model.device)
        self._springs = wp.zeros((model.envs, 32 * self._blocks), dtype=real, device=model.device)
        self._solver, self._inertia, self._real = solver, a.parameters[a.inertia], real
        self._damped, self._count, self._command = 0, None, None

    def set_parameters(self, columns, rate):
        """Take stiffness, rest length and damping, shape [envs, m, 3]; `rate` is 1 / dt, or 0 where nothing is damped."""
        host = self._springs.numpy().reshape(len(columns), 4, 8 * self._blocks)
        host[:, :3, self._place] = columns.transpose(0, 2, 1)
        host[:, 2] *= rate
        self._damped, self._count = int(rate != 0), None

    def __call__(self, count, states):
        """March positions, the old ones, velocities and the old ones by `count` steps."""
        a, model = self._solver.assembly, self._solver.model
        if self._count == count:
            for index, array in enumerate(states, start=11):
                self._command.set(index, array)
            return self._command()
        kernel = _march_springs_kernel(model.dtype)
        arguments = [model.particle_count, self._groups, self._blocks, count, self._damped, self._real(self._solver.dt), a.free]
        arguments += [self._ends, self._inertia, self._springs, self._rows, *states]
        self._command = a.launcher.record(kernel, 1, *arguments, weight=0.002 * count * len(self._place))
        self._count = count
        return self._command()


@cache
def _march_springs_kernel(dtype):
    return march_springs_kernel(laws.SCALARS[dtype])
