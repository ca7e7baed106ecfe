"""Linear solvers of a Newton step, and the choice among them: a kept Cholesky factor, or conjugate gradient.

`Direct` factorises the matrix of each environment (banded Cholesky by LAPACK after reverse Cuthill-McKee, or SuperLU where the
band is wide) and keeps the factor over iterations and steps for as long as it serves: solids at small steps change slowly, and a
kept factor costs two triangular solves. `Iterative` assembles at every iteration and runs block-Jacobi conjugate gradient;
`Multigrid` (in its own file) does the same with aggregation multigrid for large and stiff models on the CPU.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import warp as wp
from scipy import sparse
from scipy.linalg import lapack
from scipy.sparse import csgraph
from scipy.sparse.linalg import splu
from threadpoolctl import ThreadpoolController

from physsim.errors import InputError
from physsim.kernels.linear.conjugate_gradient import native_kernel
from physsim.physics.launch import HostView, over_environments
from physsim.physics.laws import SCALARS
from physsim.physics.pattern import Pattern, build_pattern
from physsim.physics.solvers.multigrid import Multigrid
from physsim.physics.solvers.parallel_cg import ParallelConjugateGradient

BANDED_LIMIT = 2e10  # multiplications of a banded factorisation above which SuperLU's fill-reducing order is the better bet
SHIFTS = (0.0, 0.1, 0.5, 2.0)  # of the inertia, tried in turn where the exact matrix is not positive definite
DIRECT_LIMIT = 4e9  # the same, above which "auto" takes conjugate gradient
CHAIN_WIDTH = 24  # subdiagonals of rods and chains: their factor costs no more than a few iterations
MULTIGRID_FROM = 256  # particles at which its set-up is repaid on nets and sheets, soft and stiff


@dataclass(frozen=True)
class Band:
    """Where the entries of the block matrix go in LAPACK's lower band storage."""

    order: np.ndarray  # free particles in band order
    width: int  # subdiagonals
    source: np.ndarray  # places in the flat values of one environment
    target: np.ndarray  # places in the flat band, column by column

    @property
    def size(self):
        """Unknowns."""
        return 3 * len(self.order)

    @property
    def cost(self):
        """Multiplications of a banded Cholesky factorisation."""
        return float(self.size) * float(self.width) ** 2


def build_band(model, pattern):
    """Band storage of a pattern, fixed particles left out, in reverse Cuthill-McKee order."""
    n = model.particle_count
    free = np.flatnonzero(model.free)
    ones = np.ones(len(pattern.rows))
    graph = sparse.csr_matrix((ones, (pattern.rows, pattern.columns)), (n, n))[free][:, free]
    order = free[csgraph.reverse_cuthill_mckee((graph + graph.T).tocsr(), symmetric_mode=True)]
    place = np.full(n, -1)
    place[order] = np.arange(len(order))
    i, j = place[pattern.rows], place[pattern.columns]
    r, c = np.meshgrid(np.arange(3), np.arange(3), indexing="ij")
    lower_r, lower_c = (a[np.tril_indices(3)] for a in (r, c))
    rows = np.concatenate([(3 * place[order, None] + lower_r).ravel(), (3 * i[:, None, None] + r).ravel()])
    columns = np.concatenate([(3 * place[order, None] + lower_c).ravel(), (3 * j[:, None, None] + c).ravel()])
    entry = n + np.arange(len(pattern.rows))
    source = np.concatenate([(12 * order[:, None] + 4 * lower_r + lower_c).ravel(), (12 * entry[:, None, None] + 4 * r + c).ravel()])
    low, high = np.minimum(rows, columns), np.maximum(rows, columns)
    width = int((high - low).max(initial=0))
    return Band(order, width, source, low * (width + 1) + high - low)


class Factor:
    """An immutable factorisation of one environment's matrix."""

    def __init__(self, band, values):
        """Factorise; `definite` is False where the matrix is not positive definite.

        Args:
            band: Band.
            values: the environment's blocks, shape [entries, 3, 4].
        """
        self.band = band
        self.exact = True  # made from the exact matrix, not from a projected one
        flat = values.reshape(-1)[band.source].astype(np.float64)
        self._banded = band.cost <= BANDED_LIMIT
        if self._banded:
            storage = np.zeros(band.size * (band.width + 1))
            storage[band.target] = flat
            ab = storage.reshape(band.size, band.width + 1).T
            self._factor, info = lapack.dpbtrf(ab, lower=1, overwrite_ab=1)
            self.definite = info == 0
        else:
            low = band.target // (band.width + 1)
            high = low + band.target % (band.width + 1)
            matrix = sparse.coo_matrix((flat, (high, low)), (band.size, band.size)).tocsc()
            matrix = matrix + sparse.tril(matrix, -1).T
            try:
                self._factor = splu(matrix.tocsc(), permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
                self.definite = bool((self._factor.U.diagonal() > 0).all())
            except RuntimeError:
                self.definite = False

    def solve(self, right):
        """Solution for right sides [n, 3] or [n, 3, columns] of one environment; fixed particles get zero."""
        out = np.zeros(right.shape)
        columns = right[self.band.order].reshape(self.band.size, -1).astype(np.float64)
        if self._banded:
            x, _ = lapack.dpbtrs(self._factor, columns, lower=1, overwrite_b=1)
        else:
            x = self._factor.solve(columns)
        out[self.band.order] = x.reshape(len(self.band.order), 3, *right.shape[2:])
        return out


@lru_cache(maxsize=1)
def _blas():
    return ThreadpoolController().select(user_api="blas")


def one_blas_thread():
    """Context with single-threaded BLAS: its waiting threads stall small factorisations a hundredfold on a busy machine."""
    return _blas().limit(limits=1)


class Direct:
    """Kept Cholesky factors, one an environment."""

    name = "direct"
    keeps = True

    def __init__(self, assembly, band):
        self.assembly = assembly
        self.band = band
        # rough seconds on one core: band arithmetic at 15 and 4 billion multiplications, a stencil's blocks and product by its size
        points = sum(len(b.stencil) * b.law.points**2 for b in assembly.model.blocks)
        self.factor_cost = band.cost / 1.5e10 + 6e-8 * points
        self.iteration_cost = 4.0 * band.size * band.width / 4e9 + 3e-8 * points + 2e-4

    def factorise(self, which, factors, shift=0.0):
        """New factors for the environments of the mask `which` at the assembly's `x`; the others are kept.

        The exact matrix first; where it is not positive definite, shifts by growing shares of the inertia; last the projected one,
        lifted until it is definite. `shift` [1/s^2], one or one an environment, of the masses is added to all of them.
        """
        a = self.assembly
        factors = list(factors) if factors is not None else [None] * a.model.envs
        asked = a.active_mask().copy()
        a.set_project(False)
        a.set_active(which)
        a.assemble(shift)
        self._factorise(np.flatnonzero(which), factors)
        modified = bad = _indefinite(which, factors)
        if np.any(shift):
            modified = which
        for share in SHIFTS[1:] if a.step[0] > 0 else ():
            if bad.any():
                a.set_active(bad)
                a.sum_blocks(shift + share * a.step[0] ** 2)
                self._factorise(np.flatnonzero(bad), factors)
                bad = _indefinite(bad, factors)
        if bad.any():
            a.set_project(bad)
            a.set_active(bad)
            a.assemble(shift)
            self._factorise(np.flatnonzero(bad), factors)
            self._lift(np.flatnonzero(bad), factors)
        for env in np.flatnonzero(modified):
            factors[env].exact = False
        a.set_active(asked)
        return tuple(factors)

    def _factorise(self, envs, factors):
        values = self.assembly.values.numpy()

        def one(env):
            factors[env] = Factor(self.band, values[env]) if np.isfinite(values[env]).all() else None

        with one_blas_thread():
            over_environments(one, envs)
        for env in envs:
            if factors[env] is None:
                factors[env] = _Nothing()

    def _lift(self, envs, factors):
        """A projected matrix is only semi-definite: add a growing multiple of its diagonal until it factorises."""
        values = self.assembly.values.numpy()
        n = self.assembly.model.particle_count
        for env in envs:
            share = 1e-9
            while not factors[env].definite and share < 1.0 and not isinstance(factors[env], _Nothing):
                lifted = values[env].astype(np.float64)
                diagonal = lifted[:n, [0, 1, 2], [0, 1, 2]]
                lifted[:n, [0, 1, 2], [0, 1, 2]] += share * diagonal.mean()
                factors[env] = Factor(self.band, lifted)
                share *= 10

    def solve(self, factors, right, out):
        """out = factor^-1 right for active environments (device arrays [envs, n]).

        Returns:
            Mask of environments whose factor serves.
        """
        a = self.assembly
        active = a.active_mask()
        source = right.numpy()
        result = out.numpy() if wp.get_device(a.model.device).is_cpu else np.zeros(source.shape)
        served = np.zeros(a.model.envs, bool)

        def one(env):
            if factors[env].definite:
                result[env] = factors[env].solve(source[env])
                served[env] = True

        over_environments(one, np.flatnonzero(active))
        if not wp.get_device(a.model.device).is_cpu:
            out.assign(np.ascontiguousarray(result))
        return served


def _indefinite(which, factors):
    return np.array([w and not f.definite and not isinstance(f, _Nothing) for w, f in zip(which, factors, strict=True)])


class _Nothing:
    """Stands for a factor of a matrix that is not finite."""

    definite = False
    exact = False


class Iterative:
    """Block-Jacobi conjugate gradient on the assembled matrix.

    Args:
        assembly: Assembly.
        limit: iterations of a solve; None: three a particle.
        native: whether an environment's solve is one vectorised thread; None: on the CPU. Else one launch an operation.
    """

    name = "cg"
    keeps = False

    def __init__(self, assembly, limit=None, native=None):
        self.assembly = assembly
        model = assembly.model
        self.limit = int(limit or 3 * model.particle_count)
        assembly.require_pattern()
        p = assembly.pattern
        dtype, block = SCALARS[model.dtype], SCALARS[assembly.block_dtype]
        device = model.device
        self.iterations = wp.zeros(model.envs, dtype=int, device=device)
        self.status = wp.zeros(model.envs, dtype=int, device=device)
        self._read_iterations, self._read_status = HostView(self.iterations), HostView(self.status)
        self.total_iterations = 0
        self._launched = None
        self._tolerance = assembly.per_environment(wp.float64)
        self.tolerance = self._tolerance.array
        if wp.get_device(device).is_cpu if native is None else native:
            Row = wp.types.vector(4, block)
            self._work = wp.zeros((model.envs, 8 * model.particle_count), dtype=Row, device=device)
            self._row_begin = wp.array(p.row_begin.astype(np.int32), dtype=int, device=device)
            self._columns = wp.array(p.columns.astype(np.int32), dtype=int, device=device)
            self._native, self._parallel = _built(native_kernel, dtype, block), None
            self._frames = wp.array(model.frames.astype(np.int32), dtype=int, device=device)
            self._frame_work = wp.zeros((model.envs, 156 * max(1, len(model.frames))), dtype=wp.float64, device=device)
        else:
            self._parallel = ParallelConjugateGradient(assembly, self.limit)

    def queue(self, right, out):
        """out = matrix^-1 right for active environments, to the relative tolerances in the device array `tolerance` [envs].

        Fills `iterations` and `status` (0: no direction of negative curvature was met); nothing is read back.
        """
        a = self.assembly
        if self._parallel is not None:
            self._parallel.solve(right, out, self.tolerance, self.iterations, self.status)
            return
        if self._launched is None:
            arguments = [a.active, a.model.particle_count, self.limit, self.tolerance, a.free, self._row_begin]
            arguments += [self._columns, a.values, *a.entries.arrays, self._frames, self._frame_work]
            arguments += [right, self._work, out, self.iterations, self.status]
            self._launched = a.launcher.record(self._native, 1, *arguments, weight=a.model.particle_count)
        for index, array in zip(range(8, 12), a.entries.arrays, strict=True):
            self._launched.set(index, array)
        self._launched.set(14, right)
        self._launched.set(16, out)
        self._launched()

    def solve(self, right, out, tolerance):
        """out = matrix^-1 right for active environments, to a relative tolerance (one, or one an environment).

        Returns:
            Mask of environments whose matrix showed no direction of negative curvature.
        """
        self._tolerance.set(tolerance)
        self.queue(right, out)
        active = self.assembly.active_mask()
        self.total_iterations += int(self._read_iterations()[active].sum())
        return active & (self._read_status() == 0)


_kernels = {}


def _built(factory, *scalars):
    if (factory, scalars) not in _kernels:
        _kernels[factory, scalars] = factory(*scalars)
    return _kernels[factory, scalars]


LINEAR = ("auto", "direct", "cg", "multigrid")


@dataclass(frozen=True)
class Choice:
    """Linear solver for a model, before anything is allocated."""

    name: str
    pattern: Pattern
    block_dtype: str
    reason: str
    thin: bool  # whether the model has laws of thin bodies, which buckle
    band: Band | None = None

    def build(self, assembly):
        """The solver on an assembly that has this pattern and these blocks."""
        assembly.require_pattern(self.pattern)
        if self.name == "direct":
            return Direct(assembly, self.band or build_band(assembly.model, self.pattern))
        return {"cg": Iterative, "multigrid": Multigrid}[self.name](assembly)


def choose(model, wanted="auto", static=False):
    """The linear solver that a user asked for, or the one that the problem's size and kind call for.

    Args:
        model: Model.
        wanted: "direct", "cg", "multigrid" or "auto": on CUDA conjugate gradient; on the CPU a direct factor for statics and for bodies
            whose matrix changes slowly or is a narrow band (solids, rods), while the factorisation stays affordable, else conjugate
            gradient, preconditioned by multigrid from MULTIGRID_FROM particles on.
        static: whether the solve has no inertia.

    Returns:
        Choice.

    Raises:
        InputError: another name, or multigrid on CUDA.
    """
    if wanted not in LINEAR:
        raise InputError(f"linear = {wanted!r}: allowed are {', '.join(LINEAR)}")
    on_cpu = wp.get_device(model.device).is_cpu
    if wanted == "multigrid" and not on_cpu:
        raise InputError("linear = 'multigrid' runs on the CPU only; use linear='cg' on CUDA")
    pattern = build_pattern(model)
    free = int(model.free.sum())
    if wanted == "direct" and model.contact is not None:
        raise InputError("linear = 'direct': contact changes the matrix's pattern; use linear='auto', 'cg' or 'multigrid'")
    thin = any(b.law.buckles for b in model.blocks)
    name, reason, band = wanted, "asked for", None
    if free == 0:
        name, reason = "cg", "no particle is free"
    elif wanted == "auto":
        name, reason = "cg", f"{free} free particles" if on_cpu else "CUDA"
        chain = len(pattern.rows) <= CHAIN_WIDTH / 3 * free  # each row of the band holds at most so many blocks
        if on_cpu and model.contact is None and (static or not thin or chain):
            band = build_band(model, pattern)
            if band.cost <= DIRECT_LIMIT and (static or not thin or band.width <= CHAIN_WIDTH):
                name, reason = "direct", f"a banded factor costs {band.cost:.1g} multiplications"
        if on_cpu and name == "cg" and free >= MULTIGRID_FROM and model.contact is None:  # pairs pressed together spoil coarse levels
            name = "multigrid"
        wire = chain and model.contact is not None and not len(model.frames) and build_band(model, pattern).width <= CHAIN_WIDTH
        if on_cpu and name == "cg" and wire:
            name, reason = "multigrid", "a stiff chain that may touch"  # a wire's axial stiffness is too much for blocks alone
    # a direction need not be exact: single precision serves where the laws are soft in most directions; a contact that is pressed
    # together hides the inertia beside it from single precision
    single = name in ("cg", "multigrid") and thin and not static and model.contact is None
    return Choice(name, pattern, "float32" if single else model.dtype, reason, thin, band)
