"""Block-Jacobi conjugate gradient, one launch an operation: scalars, tests and the loop's end stay on the device."""

from functools import cache
from math import isqrt

import numpy as np
import warp as wp

from physsim.kernels.linear.conjugate_gradient import parallel_kernels
from physsim.kernels.linear.frame_blocks import frame_kernels
from physsim.physics.laws import SCALARS


class ParallelConjugateGradient:
    """The method of `Iterative` for CUDA; runs on a CPU too, where a test compares the two.

    `solve` may be captured into a graph: it allocates nothing after the first call and reads nothing back. The loop is
    `wp.capture_while` on a flag of the device. Environments that have stopped are masked. The four particles of a frame are one block of
    the preconditioner.

    Args:
        assembly: Assembly with a pattern.
        limit: iterations of a solve.
        unroll: iterations between two looks at the flag, of which some at the end do nothing; None: 32 where nothing is captured on
            CUDA (a look is a round trip there), else 4.
    """

    def __init__(self, assembly, limit, unroll=None):
        self.assembly, self.limit, self.unroll = assembly, limit, unroll
        model, p = assembly.model, assembly.pattern
        n, device = model.particle_count, model.device
        block = SCALARS[assembly.block_dtype]
        rows, columns, slots = p.full(n)
        off = rows != columns
        rows, columns, slots = rows[off], columns[off], slots[off]
        as_ints = lambda v: wp.array(v.astype(np.int32), dtype=int, device=device)  # noqa: E731
        self._row_begin = as_ints(np.searchsorted(rows, np.arange(n + 1)))
        self._columns, self._slots = as_ints(columns), as_ints(slots)
        v3, mat33 = wp.types.vector(3, block), wp.types.matrix((3, 3), block)
        shape = (model.envs, n)
        self._inverse = wp.zeros(shape, dtype=mat33, device=device)
        self._x, self._r, self._z, self._p, self._q = (wp.zeros(shape, dtype=v3, device=device) for _ in range(5))
        self._parts = parts_of(n)
        self._partial = wp.zeros((model.envs, self._parts), dtype=wp.float64, device=device)
        self._scalars = wp.zeros((model.envs, 4), dtype=wp.float64, device=device)
        self.flags = wp.zeros(model.envs, dtype=int, device=device)
        self._running = wp.zeros(1, dtype=int, device=device)
        of = np.full(n, -1)
        of[np.add.outer(model.frames, np.arange(4))] = np.arange(len(model.frames))[:, None]
        self._frames, self._frame_of = as_ints(model.frames), as_ints(of)
        self._frame_factor = wp.zeros((model.envs, max(1, 144 * len(model.frames))), dtype=wp.float64, device=device)
        self._recorded = {}

    def solve(self, right, out, tolerance, iterations, status):
        """out = matrix^-1 right for active environments.

        Args:
            right: device array [envs, n] of 3-vectors.
            out: the same, to fill.
            tolerance: relative, device array [envs] float64.
            iterations: device array [envs] int to fill.
            status: device array [envs] int to fill: 1 where a direction of no positive curvature was met.
        """
        entries = self.assembly.entries
        key = tuple(array.ptr for array in (right, out, tolerance, iterations, status, *entries.arrays)) + entries.rows.shape
        if key not in self._recorded:
            if len(self._recorded) >= 8:
                self._recorded.clear()
            self._recorded[key] = self._record(right, out, tolerance, iterations, status)
        before, loop, after = self._recorded[key]
        for launch in before:
            launch()
        unroll = self.unroll or (32 if self._running.device.is_cuda and not self._running.device.is_capturing else 4)

        def body():
            for _ in range(unroll):
                for launch in loop:
                    launch()

        wp.capture_while(self._running, body)
        for launch in after:
            launch()

    def _record(self, right, out, tolerance, iterations, status):
        a, flags = self.assembly, self.flags
        kernels = _kernels(a.model.dtype, a.block_dtype)
        shape, envs = right.shape, right.shape[0]

        def launch(name, dim, *arguments):
            return a.launcher.record_whole(kernels[name], dim, *arguments)

        def reduce(which, u, v):
            first = launch("inner", (envs, self._parts), shape[1], self._parts, u, v, self._partial, self._running)
            numbers = [tolerance, self._partial, self._scalars, flags, iterations, self._running]
            return first, launch("scalars", envs, which, self._parts, self.limit, *numbers)

        before = [
            launch("begin", envs, a.active, flags, iterations),
            launch("start", shape, a.active, a.free, a.values, right, self._inverse, self._x, self._r, self._z, self._p, flags),
            *self._factorise_frames(),
            *self._solve_frames(self._z),
            *self._solve_frames(self._p),
            *reduce(0, self._r, self._z),
        ]
        loop = [
            launch("multiply", shape, flags, self._row_begin, self._columns, self._slots, a.values, self._p, self._q),
            *self._multiply_entries(launch),
            *reduce(1, self._p, self._q),
            launch("advance", shape, flags, self._scalars, self._inverse, self._p, self._q, self._x, self._r, self._z),
            *self._solve_frames(self._z),
            *reduce(2, self._r, self._z),
            launch("direction", shape, flags, self._scalars, self._z, self._p),
        ]
        return before, loop, [launch("finish", shape, a.active, flags, self._x, out, status)]

    def _multiply_entries(self, launch):
        a = self.assembly
        if a.contact is None:
            return []
        e = a.entries
        return [launch("multiply_entries", e.rows.shape, self.flags, e.count, e.rows, e.columns, e.blocks, self._p, self._q)]

    def _factorise_frames(self):
        """Launches that make the frames' blocks of the preconditioner."""
        a = self.assembly
        if not len(self._frames):
            return []
        kernels, shape = _frame_kernels(a.block_dtype), (a.model.envs, len(self._frames))
        pattern = [self._row_begin, self._columns, self._slots, a.values]
        launches = [a.launcher.record_whole(kernels["gather"], shape, self.flags, self._frames, *pattern, self._frame_factor)]
        if a.contact is not None:
            e = a.entries
            entries = [e.count, e.rows, e.columns, e.blocks, self._frame_factor]
            head = [self.flags, self._frames, self._frame_of]
            launches.append(a.launcher.record_whole(kernels["add_entries"], e.rows.shape, *head, *entries))
        return [*launches, a.launcher.record_whole(kernels["factorise"], shape, self.flags, self._frame_factor, self.flags)]

    def _solve_frames(self, out):
        """The preconditioner of the residual on frames, over what the particles' own blocks made of it."""
        a = self.assembly
        if not len(self._frames):
            return []
        shape = (a.model.envs, len(self._frames))
        solve = _frame_kernels(a.block_dtype)["solve"]
        return [a.launcher.record_whole(solve, shape, self.flags, self._frames, self._frame_factor, self._r, out)]


def parts_of(count):
    """Partial sums that a sum over `count` terms is cut into: both stages take about as long."""
    return max(1, min(256, isqrt(max(count - 1, 0)) + 1))


@cache
def _kernels(dtype, block_dtype):
    return parallel_kernels(SCALARS[dtype], SCALARS[block_dtype])


@cache
def _frame_kernels(block_dtype):
    return frame_kernels(SCALARS[block_dtype])
