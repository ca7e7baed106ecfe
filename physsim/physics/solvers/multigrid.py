"""Conjugate gradient preconditioned by aggregation multigrid (CPU)."""

from functools import cache

import numpy as np
import warp as wp

from physsim.kernels.linear.multigrid import FINE_WORK, native_kernels
from physsim.physics.laws import SCALARS
from physsim.physics.solvers.aggregation import build_plan


class Multigrid:
    """The solver that `kernels.linear.multigrid` describes, on an assembly's matrix.

    Args:
        assembly: Assembly; aggregates are made from its pattern once, products from every matrix with the positions in its `x`.
        limit: iterations of a solve; None: three a particle.
    """

    name = "multigrid"
    keeps = False

    def __init__(self, assembly, limit=None):
        self.assembly = assembly
        model = assembly.model
        assembly.require_pattern()
        self.plan = build_plan(assembly.pattern, model.free)
        device, block = model.device, SCALARS[assembly.block_dtype]
        self.iterations = wp.zeros(model.envs, dtype=int, device=device)
        self.status = wp.zeros(model.envs, dtype=int, device=device)
        self.total_iterations = 0
        self._tolerance = assembly.per_environment(wp.float64)
        self._versions = np.full(model.envs, -1)  # of the matrix that each environment's hierarchy was made of
        integers = wp.array(self.plan.integers, dtype=int, device=device)
        fine = wp.zeros((model.envs, FINE_WORK * model.particle_count), dtype=block, device=device)
        coarse = wp.zeros((model.envs, self.plan.work), dtype=wp.float64, device=device)
        kernels = _kernels(model.dtype, assembly.block_dtype)
        a, weight = assembly, float(model.particle_count)
        arguments = [a.active, integers, a.values, a.x, fine, coarse, self.status]
        self._setup = a.launcher.record(kernels["setup"], 1, *arguments, weight=weight)
        arguments = [a.active, int(limit or 3 * model.particle_count), self._tolerance.array, a.free, integers, a.values]
        arguments += [*a.entries.arrays, a.gradient, fine, coarse, a.direction, self.iterations, self.status]
        self._solve = a.launcher.record(kernels["solve"], 1, *arguments, weight=weight)

    def solve(self, right, out, tolerance):
        """out = matrix^-1 right for active environments, to a relative tolerance in the energy norm (one, or one an environment).

        A matrix that was assembled since the last call is set up first.

        Returns:
            Mask of environments whose matrix showed no direction of negative curvature.
        """
        a = self.assembly
        self._tolerance.set(tolerance)
        active = a.active_mask().copy()
        stale = active & (self._versions != a.matrix_version)
        if stale.any():
            a.set_active(stale)
            self._setup()
            self._versions[stale] = a.matrix_version
            a.set_active(active)
        for index, array in zip(range(6, 10), a.entries.arrays, strict=True):
            self._solve.set(index, array)
        self._solve.set(10, right)
        self._solve.set(13, out)
        self._solve()
        self.total_iterations += int(self.iterations.numpy()[active].sum())
        return active & (self.status.numpy() == 0)


@cache
def _kernels(dtype, block_dtype):
    return native_kernels(SCALARS[dtype], SCALARS[block_dtype])
