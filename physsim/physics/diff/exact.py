"""Solves with the exact Hessian at a solution: what adjoint and tangent need.

Flexible conjugate gradient with the exact Hessian-vector product of the laws (reverse mode of their gradients), preconditioned
by the forward solve's machinery; MINRES where the exact Hessian turns out to be indefinite.
Source: Notay 2000 (flexible CG); Paige and Saunders 1975 (MINRES).
"""

import numpy as np
from scipy.sparse.linalg import LinearOperator, minres

from physsim.physics.solvers.linear import one_blas_thread

REFACTORISE_ABOVE = 8  # iterations with a kept factor after which a new one pays
LIMIT = 200


class ExactSolver:
    """Solves H y = right at the assembly's `x` for all environments at once.

    Args:
        assembly: Assembly, prepared for the step.
        linear: Direct or Iterative of the forward solver.
        tolerance: relative residual, in the 2-norm, at which an environment is done.
    """

    def __init__(self, assembly, linear, tolerance):
        self.assembly, self.linear, self.tolerance = assembly, linear, tolerance
        shape = (assembly.model.envs, assembly.model.particle_count)
        self._r, self._z, self._p, self._q, self._old = (assembly.vectors(shape) for _ in range(5))
        self._factors = None
        self._tired = True
        self.worst = 0.0  # largest relative residual so far
        self.indefinite = 0  # solves that needed MINRES

    def at_new_point(self, factors=None):
        """Call when the assembly's `x` has changed; `factors` may offer the forward solve's kept ones."""
        a = self.assembly
        everyone = np.ones(a.model.envs, bool)
        a.active.fill_(1)
        if self.linear.keeps:
            if factors is not None and self._factors is None:
                self._factors = factors
                self._tired = False
            if self._tired or self._factors is None:
                self._factors = self.linear.factorise(everyone, self._factors)
                self._tired = False
        else:
            a.project.zero_()
            a.assemble()

    def _precondition(self):
        if self.linear.keeps:
            with one_blas_thread():
                self.linear.solve(self._factors, self._r, self._z)
            return
        definite = self.linear.solve(self._r, self._z, max(self.tolerance, 1e-6))
        if not definite.all():
            a = self.assembly
            a.project.assign((~definite).astype(np.int32))
            a.assemble()
            self.linear.solve(self._r, self._z, max(self.tolerance, 1e-6))

    def solve(self, right, out):
        """out = H^-1 right on free particles, zero on fixed ones (device arrays [envs, n])."""
        a = self.assembly
        a.active.fill_(1)
        out.zero_()
        self._q.zero_()
        a.combine(self._r, 0.0, self._q, 1.0, right)  # fixed particles: zero
        scale = np.sqrt(a.dot(self._r, self._r))
        busy = scale > 0
        target = self.tolerance * scale
        rz = np.ones(a.model.envs)
        indefinite = np.zeros(a.model.envs, bool)
        iteration = 0
        size = scale
        while busy.any() and iteration < LIMIT:
            a.active.assign(busy.astype(np.int32))
            self._precondition()
            new = a.dot(self._r, self._z)
            if iteration == 0:
                a.combine(self._p, 1.0, self._z, 0.0, self._z)
            else:
                beta = np.where(busy, (new - a.dot(self._old, self._z)) / np.where(rz == 0, 1.0, rz), 0.0)
                a.combine(self._p, 1.0, self._z, beta, self._p)
            rz = new
            a.product(self._p, self._q)
            curvature = a.dot(self._p, self._q)
            bad = busy & ~(curvature > 0)
            indefinite |= bad
            busy &= ~bad
            alpha = np.where(busy, rz / np.where(curvature == 0, 1.0, curvature), 0.0)
            a.active.assign(busy.astype(np.int32))
            a.combine(self._old, 1.0, self._r, 0.0, self._r)
            a.combine(out, 1.0, out, alpha, self._p)
            a.combine(self._r, 1.0, self._r, -alpha, self._q)
            size = np.sqrt(a.dot(self._r, self._r))
            busy &= size > target
            iteration += 1
        a.active.fill_(1)
        if self.linear.keeps and iteration > REFACTORISE_ABOVE:
            self._tired = True
        size = np.where(scale > 0, size / np.where(scale > 0, scale, 1.0), 0.0)
        for env in np.flatnonzero(indefinite):
            size[env] = self._minres(env, right, out)
            self._tired = True
        self.worst = max(self.worst, float(size.max(initial=0.0)))

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
            a.active.assign(mask)
            kernel(source, result)
            return result.numpy()[env, free].reshape(-1).astype(np.float64)

        def product(vector):
            return apply(vector, a.product, self._p, self._q)

        def precondition(vector):
            return apply(vector, lambda source, result: self.linear.solve(self._factors, source, result), self._r, self._z)

        b = right.numpy()[env, free].reshape(-1).astype(np.float64)
        size = 3 * len(free)
        M = LinearOperator((size, size), precondition) if self.linear.keeps else None
        x, _ = minres(LinearOperator((size, size), product), b, rtol=self.tolerance, maxiter=10 * size, M=M)
        residual = np.linalg.norm(product(x) - b) / np.linalg.norm(b)
        host = out.numpy().copy()
        host[env] = 0.0
        host[env, free] = x.reshape(-1, 3)
        out.assign(host)
        a.active.fill_(1)
        return residual
