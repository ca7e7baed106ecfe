"""Many directions of a tangent at once: one sparse factor of the exact Hessian at a point serves them all.

Conjugate gradient pays its iterations for every direction anew; from a few directions on a factor is cheaper. It is checked by the exact
product on a mixture of the directions, and refined where single precision of the matrix leaves too much.
"""

import numpy as np
import warp as wp
from scipy import sparse
from scipy.sparse.linalg import splu

from physsim.physics.solvers.linear import one_blas_thread

FEWEST = 3  # directions from which a factor pays
LARGEST = 6000  # free particles up to which it does: beyond, fill takes over
REFINED = 4  # corrections at most


class BlockSolver:
    """Solves H Y = R at the assembly's `x` for many right sides.

    Args:
        exact: ExactSolver, whose `at_new_point` was called for this point before every solve.
    """

    def __init__(self, exact):
        self.exact, self.assembly = exact, exact.assembly
        model = self.assembly.model
        self.free = np.flatnonzero(model.free)
        self._place = np.full(model.particle_count, -1)
        self._place[self.free] = np.arange(len(self.free))
        self._order = None  # of the unknowns, once a factor has found a good one
        self._source = self._shape = None
        self._mix = np.random.default_rng(0)

    @classmethod
    def choose(cls, exact, directions):
        """One, where it pays; else None."""
        model = exact.assembly.model
        on_cpu = wp.get_device(model.device).is_cpu
        return cls(exact) if on_cpu and directions >= FEWEST and 0 < model.free.sum() <= LARGEST else None

    def solve(self, right):
        """Solutions [p, envs, n, 3] for right sides of that shape, zero on fixed particles; None where a factor does not serve."""
        if not np.isfinite(right).all():
            return None
        p, envs = right.shape[:2]
        right = right * self.assembly.model.free[:, None]
        factors = self._kept() if self.exact.linear.keeps else [self._factor(env) for env in range(envs)]
        if any(f is None for f in factors):
            return None
        out = self._apply(factors, right)
        mix = self._mix.normal(size=p)
        for _ in range(REFINED):
            if self._worst(np.einsum("p,penk->enk", mix, out), np.einsum("p,penk->enk", mix, right)) <= self.exact.tolerance:
                return out
            left = right - np.stack([self._product(one) for one in out])
            out = out + self._apply(factors, left)
        return None

    def _apply(self, factors, right):
        out = np.zeros(right.shape)
        with one_blas_thread():
            for env, factor in enumerate(factors):
                out[:, env] = factor(right[:, env])
        return out

    def _kept(self):
        """New factors of a solver that keeps them: the next step begins with them, too."""
        exact = self.exact
        exact.factors = exact.linear.factorise(np.ones(self.assembly.model.envs, bool), exact.factors)
        exact._assembled = self.assembly.block_dtype == self.assembly.model.dtype and all(f.exact for f in exact.factors)
        return [_several(f) if f.definite and f.exact else None for f in exact.factors]

    def _product(self, vector):
        """Exact Hessian times vectors [envs, n, 3], zero on fixed particles."""
        source, result = self.exact.array("block direction"), self.exact.array("block product")
        source.assign(vector.astype(source.numpy().dtype))
        self.assembly.set_active(True)
        self.assembly.product(source, result)
        return result.numpy() * self.assembly.model.free[:, None]

    def _worst(self, solution, right):
        """Largest relative residual of the environments."""
        left = np.linalg.norm((right - self._product(solution)).reshape(len(right), -1), axis=1)
        scale = np.linalg.norm(right.reshape(len(right), -1), axis=1)
        return float(np.max(left / np.where(scale > 0, scale, 1.0)))

    def _factor(self, env):
        """A function that solves for right sides [p, n, 3] of an environment, or None where the matrix is singular."""
        try:
            matrix = self._matrix(env)
            options = {"SymmetricMode": True}
            spec = "MMD_AT_PLUS_A" if self._order is None else "NATURAL"
            lu = splu(matrix, permc_spec=spec, diag_pivot_thresh=0.0, options=options)
        except RuntimeError:
            return None
        if self._order is None:
            self._order = np.argsort(lu.perm_c)
            self._source = None
            return self._factor(env)
        free, order = self.free, self._order

        def solve(right):
            columns = right[:, free].reshape(len(right), -1).T[order]
            found = np.empty_like(columns)
            found[order] = lu.solve(np.ascontiguousarray(columns))
            out = np.zeros(right.shape)
            out[:, free] = found.T.reshape(len(right), -1, 3)
            return out

        return solve

    def _matrix(self, env):
        """The assembled matrix of an environment in the order of elimination."""
        a = self.assembly
        values = a.values.numpy()[env]
        if self._source is None:
            self._arrange(a.pattern)
        data = values.reshape(-1)[self._source].astype(np.float64)
        matrix = sparse.csc_matrix((data, *self._shape), shape=(3 * len(self.free),) * 2)
        count = int(a.entries.count.numpy()[env])
        return matrix if count == 0 else (matrix + self._touching(env, count)).tocsc()

    def _arrange(self, pattern):
        """Where each entry of the compressed columns stands among the blocks."""
        n = self.assembly.model.particle_count
        lower = n + np.arange(len(pattern.rows))
        blocks = np.concatenate([self.free, lower, lower])
        i = np.concatenate([self.free, pattern.rows, pattern.columns])
        j = np.concatenate([self.free, pattern.columns, pattern.rows])
        turned = np.concatenate([np.zeros(len(self.free), bool), np.zeros(len(lower), bool), np.ones(len(lower), bool)])
        r, c = np.meshgrid(np.arange(3), np.arange(3), indexing="ij")
        r, c = r.ravel(), c.ravel()
        source = 12 * blocks[:, None] + np.where(turned[:, None], 4 * c + r, 4 * r + c)
        rows, columns = (self._unknown(particle, k) for particle, k in ((i, r), (j, c)))
        numbers = sparse.csc_matrix((np.arange(source.size) + 1.0, (rows.ravel(), columns.ravel())), shape=(3 * len(self.free),) * 2)
        numbers.sort_indices()
        self._source = source.ravel()[numbers.data.astype(np.int64) - 1]
        self._shape = numbers.indices, numbers.indptr

    def _unknown(self, particles, component):
        """Number of an unknown in the order of elimination, [blocks, 9]."""
        number = 3 * self._place[particles][:, None] + component
        if self._order is None:
            return number
        place = np.empty(len(self._order), int)
        place[self._order] = np.arange(len(self._order))
        return place[number]

    def _touching(self, env, count):
        """Blocks of contact."""
        e = self.assembly.entries
        rows, columns = e.rows.numpy()[env, :count], e.columns.numpy()[env, :count]
        blocks = e.blocks.numpy()[env, :count, :, :3].astype(np.float64)
        kept = (self._place[rows] >= 0) & (self._place[columns] >= 0)
        rows, columns, blocks = rows[kept], columns[kept], blocks[kept]
        other = rows != columns
        i, j = np.concatenate([rows, columns[other]]), np.concatenate([columns, rows[other]])
        values = np.concatenate([blocks, blocks[other].swapaxes(1, 2)])
        r, c = np.meshgrid(np.arange(3), np.arange(3), indexing="ij")
        places = self._unknown(i, r.ravel()).ravel(), self._unknown(j, c.ravel()).ravel()
        return sparse.coo_matrix((values.reshape(-1), places), shape=(3 * len(self.free),) * 2)


def _several(factor):
    """A kept factor as a function of right sides [p, n, 3]."""
    return lambda right: np.moveaxis(factor.solve(np.moveaxis(right, 0, 2)), 2, 0)
