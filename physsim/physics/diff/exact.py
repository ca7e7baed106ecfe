"""Solves with the exact Hessian at a solution: what adjoint and tangent need.

Flexible conjugate gradient with the exact Hessian-vector product of the laws (reverse mode of their gradients), preconditioned
by the forward solve's machinery; MINRES where the exact Hessian turns out to be indefinite.
Source: Notay 2000 (flexible CG); Paige and Saunders 1975 (MINRES).
"""

import numpy as np
from scipy.sparse.linalg import LinearOperator, minres

from physsim.physics.solvers.linear import one_blas_thread

LIMIT = 200  # iterations of a solve
FRESH_FOR = 20  # points for which new factors are made once kept ones have proved too slow


class ExactSolver:
    """Solves H y = right at the assembly's `x` for all environments at once.

    Args:
        assembly: Assembly, prepared for the step.
        linear: Direct, Iterative or Multigrid of the forward solver.
        tolerance: relative residual, in the 2-norm, at which an environment is done.
    """

    def __init__(self, assembly, linear, tolerance):
        self.assembly, self.linear = assembly, linear
        shape = (assembly.model.envs, assembly.model.particle_count)
        self._r, self._z, self._p, self._q, self._old = (assembly.vectors(shape) for _ in range(5))
        self._arrays = {}
        self.begin(tolerance)

    def begin(self, tolerance):
        """Forget what an earlier gradient left; call before the first point of another one."""
        self.tolerance = tolerance
        self.factors = None
        self._fresh = 0
        self._assembled = False  # whether the matrix in the assembly is the exact one at this point, in the model's precision
        self._iterations = 0
        self._solves = 0
        self.worst = 0.0  # largest relative residual so far
        self.indefinite = 0  # solves that needed MINRES

    def array(self, name, count=None):
        """A caller's array of 3-vectors, [envs, n] or [count, envs, n], that is the same at the next gradient; launches name it."""
        shape = self._r.shape if count is None else (count, *self._r.shape)
        if name not in self._arrays or self._arrays[name].shape != shape:
            self._arrays[name] = self.assembly.vectors(shape)
        return self._arrays[name]

    def at_new_point(self, factors=None):
        """Call when the assembly's `x` has changed; `factors` may offer the forward solve's kept ones."""
        a = self.assembly
        a.set_active(True)
        self._assembled = False
        if not self.linear.keeps:
            a.set_project(False)
            a.assemble()
            return
        wasted = self._iterations - self._solves  # a factor made here would need one iteration a solve
        if wasted * self.linear.iteration_cost > self.linear.factor_cost:
            self._fresh = FRESH_FOR
        self._iterations = self._solves = 0
        if self.factors is None and isinstance(factors, tuple):
            self.factors = factors
        missing = np.array([self.factors is None or f is None or not f.definite for f in self.factors or [None] * a.model.envs])
        if self._fresh > 0 or missing.all():
            self.factors = self.linear.factorise(np.ones(a.model.envs, bool), self.factors)
            self._fresh -= 1
            self._assembled = a.block_dtype == a.model.dtype and all(f.exact for f in self.factors)
        elif missing.any():  # environments that were in equilibrium at once never made a factor
            self.factors = self.linear.factorise(missing, self.factors)

    def _precondition(self):
        if self.linear.keeps:
            with one_blas_thread():
                self.linear.solve(self.factors, self._r, self._z)
            return
        a = self.assembly
        busy = a.active_mask().copy()
        bad = busy & ~self.linear.solve(self._r, self._z, max(self.tolerance, 1e-6))
        if bad.any():
            a.set_active(bad)
            a.set_project(bad)
            a.assemble()
            self.linear.solve(self._r, self._z, max(self.tolerance, 1e-6))
            a.set_active(busy)

    def solve(self, right, out):
        """out = H^-1 right on free particles, zero on fixed ones (device arrays [envs, n]); NaN in environments where right has one."""
        a = self.assembly
        a.set_active(True)
        out.zero_()
        self._q.zero_()
        a.combine(self._r, 0.0, self._q, 1.0, right)  # fixed particles: zero
        scale = np.sqrt(a.dot(self._r, self._r))
        busy = (scale > 0) & np.isfinite(scale)
        target = self.tolerance * scale
        rz = np.ones(a.model.envs)
        indefinite = np.zeros(a.model.envs, bool)
        iteration = 0
        size = scale
        while busy.any() and iteration < LIMIT:
            a.set_active(busy)
            self._precondition()
            new = a.dot(self._r, self._z)
            if iteration == 0:
                a.combine(self._p, 1.0, self._z, 0.0, self._z)
            else:
                beta = np.where(busy, (new - a.dot(self._old, self._z)) / np.where(rz == 0, 1.0, rz), 0.0)
                a.combine(self._p, 1.0, self._z, beta, self._p)
            rz = new
            (a.multiply if self._assembled else a.product)(self._p, self._q)
            curvature = a.dot(self._p, self._q)
            bad = busy & ~(curvature > 0)
            indefinite |= bad
            busy &= ~bad
            alpha = np.where(busy, rz / np.where(curvature == 0, 1.0, curvature), 0.0)
            a.set_active(busy)
            a.combine(self._old, 1.0, self._r, 0.0, self._r)
            a.combine(out, 1.0, out, alpha, self._p)
            a.combine(self._r, 1.0, self._r, -alpha, self._q)
            size = np.sqrt(a.dot(self._r, self._r))
            busy &= size > target
            iteration += 1
        with np.errstate(invalid="ignore"):
            size = size / np.where(scale == 0, 1.0, scale)  # NaN where the scale is not finite
        self._conclude(iteration, size, indefinite, right, out)

    def _conclude(self, iterations, residuals, indefinite, right, out):
        """Count, and solve again where the Hessian turned out to be indefinite (mask [envs]). Residuals are NaN where right is."""
        self.assembly.set_active(True)
        self._iterations += iterations
        self._solves += 1
        for env in np.flatnonzero(indefinite):
            residuals[env] = self._minres(env, right, out)
        unknown = np.isnan(residuals)
        if unknown.any():
            host = out.numpy().copy()
            host[unknown] = np.nan
            out.assign(host)
        self.worst = max(self.worst, float(residuals[~unknown].max(initial=0.0)))

    def _minres(self, env, right, out):
        """One environment with an indefinite Hessian; returns the relative residual."""
        a = self.assembly
        self.indefinite += 1
        free = np.flatnonzero(a.model.free)
        mask = np.zeros(a.model.envs, np.int32)
        mask[env] = 1

        def apply(vector, kernel, source, result):
            host = np.zeros((a.model.envs, a.model.particle_count, 3))
            host[env, free] = vector.reshape(-1, 3)
            source.assign(host.astype(source.numpy().dtype))
            a.set_active(mask)
            kernel(source, result)
            return result.numpy()[env, free].reshape(-1).astype(np.float64)

        def product(vector):
            return apply(vector, a.product, self._p, self._q)

        def precondition(vector):
            return apply(vector, lambda source, result: self.linear.solve(self.factors, source, result), self._r, self._z)

        b = right.numpy()[env, free].reshape(-1).astype(np.float64)
        size = 3 * len(free)
        H = LinearOperator((size, size), product)
        best, residual = np.zeros(size), 1.0
        # a factor of a modified matrix may be a worse guide than none
        for M in ([LinearOperator((size, size), precondition)] if self.linear.keeps else []) + [None]:
            x, _ = minres(H, b, rtol=self.tolerance, maxiter=10 * size, M=M)
            left = np.linalg.norm(product(x) - b) / np.linalg.norm(b)
            if left < residual:
                best, residual = x, left
            if residual <= max(1e-8, self.tolerance):
                break
        host = out.numpy().copy()
        host[env] = 0.0
        host[env, free] = best.reshape(-1, 3)
        out.assign(host)
        a.set_active(True)
        return residual
