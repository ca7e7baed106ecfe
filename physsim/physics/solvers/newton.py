"""Newton's method with line search on an incremental potential, all environments at once.

Exact Hessian where it is positive definite, shifted by a little inertia, lagged or projected where it is not; the line search compares
energies summed stencil by stencil; an environment that has converged or failed is left alone while the others go on.

Ladder, held particles, direction and search stand in one file because they are the stages of one iteration and share its numbers.
"""

import time
from dataclasses import dataclass, field

import numpy as np

from physsim.kernels import newton as rules
from physsim.kernels.newton import EXACT, LAGGED, PROJECTED
from physsim.physics.launch import Command
from physsim.physics.solvers.linear import SHIFTS

anywhere = np.count_nonzero  # of a mask; `any` takes five times as long for a few environments

ARMIJO = 1e-4
PRECISION = {"float32": 1.2e-7, "float64": 2.2e-16}
LENGTHENINGS = 12  # times that a shift is raised tenfold where a direction leaves the scene
STALLED = 1e-2  # share of the way left that held points must go to count as getting on
STALLS = 8  # steps without getting on after which they stay where they are
ON_THE_WAY = 0.5  # share of a solve's iterations after which they stay, too, so that what they press on still finds its balance
SETTLING, SETTLED = 8, 0.1  # after such a step they rest for so many iterations, or until the residual has fallen to this share
PUSHING = 1e-5  # inner tolerance of steps in which held particles move: what they push must hear of it all the way through
FORESEEN = 0.5  # share of what a step with moving held particles was to do to the energy, by which it may do more
FEW, TIGHT = 1000, 1e-4  # particles up to which linear solves are tight, and how tight at least
AIMED, TIGHTEST = 0.1, 1e-8  # share of the step's tolerance that such a solve may leave, and the tightest that it is asked to be
# by levels of the ladder, of which the last but one is lagged and the last projected
LEVEL_SHIFTS = np.array([*SHIFTS, 0.0, 0.0])
LEVEL_MATRICES = np.array([int(EXACT)] * len(SHIFTS) + [int(LAGGED), int(PROJECTED)])
ROUGH = 4  # iterations for which pairs' matrices are projected after a step that had to be cut
CONTRACTION = 0.3  # a kept factor that shrinks the residual by less than this is replaced


@dataclass(frozen=True)
class StepReport:
    """What a solve did. With an environment axis, `residual`, `converged` and `iterations` have one entry an environment."""

    iterations: object
    residual: object  # largest force imbalance on a free particle [N]
    converged: object
    factorisations: int = 0
    linear_iterations: int = 0
    profile: dict = field(default_factory=dict)  # CPU-side seconds by part
    unreached: object = 0.0  # how far contact kept a held point from its target [m]: there was no room, or no end of making way
    launches: int = 0  # in its iterations, all environments together


@dataclass
class Progress:
    """Per-environment numbers of a running solve."""

    residual: np.ndarray
    iterations: np.ndarray
    done: np.ndarray
    failed: np.ndarray
    factorisations: int = 0
    linear_iterations: int = 0
    profile: dict = field(default_factory=lambda: {"assemble": 0.0, "solve": 0.0, "line search": 0.0})
    unreached: np.ndarray | None = None  # of held points, from their targets [m]
    launches: int = 0


class _Held:
    """Held particles on their way to their targets, where contact lets them go only so far at a time.

    They move with the Newton steps of what is free, which makes way as the linearised forces say. Where a step gets nowhere they rest for
    a while, so that what they press on finds its balance; where that does not help they stay, and what is left of the way is reported.
    `moving`: environments in which they move in the next step.
    """

    def __init__(self, assembly, smallest):
        self.assembly, self._smallest = assembly, smallest
        shape = assembly.x.shape
        self._way, self._force, self.right = (assembly.vectors(shape) for _ in range(3))

    def begin(self):
        """Begin a solve."""
        envs = self.assembly.model.envs
        self._stalls, self._wait = np.zeros((2, envs), int)
        self._settled = np.zeros(envs)
        self.measure()

    def measure(self):
        """See how far there is to go, `left` [m], and which environments are on the way, `lagging`; both [envs]."""
        left = self.assembly.measure_way(self._way)
        self.left = np.where(left > self._smallest, left, 0.0)  # less is rounding
        self.lagging = (self.left > 0.0) & (self._stalls < STALLS)
        self.moving = self.lagging & (self._wait == 0)

    def load(self, mask):
        """Right side of a Newton step in which the held particles of some environments go all their way: `right` = gradient - H way."""
        a = self.assembly
        a.product(self._way, self._force)
        a.combine(self.right, 1.0, a.gradient, np.where(mask, -1.0, 0.0), self._force, fixed=True)

    def complete(self, mask):
        """Add the way of the held particles to the assembly's direction; returns first and second order of the energy, each [envs]."""
        a = self.assembly
        a.combine(a.direction, 1.0, a.direction, np.where(mask, 1.0, 0.0), self._way, fixed=True)
        a.product(a.direction, self._force)
        return a.dot(a.gradient, a.direction, everywhere=True), a.dot(a.direction, self._force, everywhere=True)

    def judge(self, moved, alpha, residual):
        """Note how far environments went."""
        stalled = moved & (alpha < STALLED)
        self._stalls = np.where(moved, np.where(stalled, self._stalls + 1, 0), self._stalls)
        self._wait = np.where(stalled, SETTLING + 1, self._wait)
        self._settled = np.where(stalled, SETTLED * residual, self._settled)
        self.measure()

    def halt(self, late):
        """Some environments' held particles stay where they are for the rest of the solve."""
        if not anywhere(late & self.lagging):
            return
        self._stalls = np.where(late & self.lagging, STALLS, self._stalls)
        self.lagging, self.moving = self.lagging & ~late, self.moving & ~late

    def rest(self, running, residual):
        """Count an iteration of those that rest."""
        if not anywhere(self._wait):
            return
        self._wait = np.where(running & (residual > self._settled), np.maximum(self._wait - 1, 0), np.where(running, 0, self._wait))
        self.moving = self.lagging & (self._wait == 0)


class _Ladder:
    """Where each environment stands between the exact matrix (0), its shifts (1, 2, ...), the lagged one and the projected one (last).

    A solve that succeeded at a level tries the next lower one in the following iteration; where that fails, it waits twice as long
    before it tries again. The lagged level is skipped for the rest of a solve once it has shown that the stresses of the step's start
    mislead: a short step, or slow contraction. `begin` remembers the levels of a solve's first iteration for the next step. `rough` are
    iterations for which the matrix of pairs in contact is to be projected, whatever the level, [envs].
    """

    lagged, top = len(SHIFTS), len(SHIFTS) + 1

    def __init__(self, envs, begin):
        self.level = np.zeros(envs, int) if begin is None else begin.copy()
        self.begin = np.zeros(envs, int) if begin is None else begin
        self._last = self.level
        self._wait, self._left = np.ones(envs, int), np.zeros(envs, int)
        self._first = True
        self._slow, self._skip = np.zeros(envs, int), np.zeros(envs, bool)
        self.rough = np.zeros(envs, int)

    def above(self, level):
        """The next level to try."""
        return np.where(self._skip & (level + 1 == self.lagged), self.top, level + 1)

    def below(self, level):
        """The next level down, for the following iteration."""
        return np.maximum(np.where(self._skip & (level - 1 == self.lagged), level - 2, level - 1), 0)

    def settle(self, running, level, tried):
        """Note that environments `running` succeeded at `level` after `tried` matrices."""
        if self._first:
            self.begin = np.where(running, self.below(level), self.begin)
            self._first = False
        if not (anywhere(level) or anywhere(self.level) or anywhere(self._last) or anywhere(self._left) or anywhere(tried > 1)):
            return  # all exact, as they were
        climbed = running & (tried > 1)
        longer = np.minimum(2 * self._wait, rules.LONGEST_WAIT)
        self._wait = np.where(climbed, longer, np.where(running & (level < self._last), 1, self._wait))
        self._left = np.where(climbed, self._wait, np.maximum(self._left - 1, 0))
        self._last = np.where(running, level, self._last)
        self.level = np.where(running, np.where(self._left > 0, level, self.below(level)), self.level)

    def judge(self, running, alpha, contraction, rough):
        """Note how an iteration's step ended: its length, and the residual as a share of that before.

        Where the potential is `rough` (friction), a step that had to be cut says that the exact matrix misleads: that of the pairs is
        projected for a while, and where this did not help, that of all laws.
        """
        lagged = running & (self._last == self.lagged)
        short = alpha < rules.SHORT
        if anywhere(lagged):
            self._slow += lagged & (contraction > rules.SLOW)
            self._skip |= self._slow >= rules.SLOW_MOST
            self.level = np.where(lagged & (short | self._skip), self.top, self.level)
        if not rough:
            return
        cut = running & short & (self._last < self.lagged)
        again = cut & (self.rough > 0)
        self.rough = np.where(cut, ROUGH, np.maximum(self.rough - running, 0))
        if anywhere(again):
            self._wait = np.where(again, np.minimum(2 * self._wait, rules.LONGEST_WAIT), self._wait)
            self._left = np.where(again, self._wait, self._left)
            self.level = np.where(again, self.top, self.level)

    @property
    def trusted(self):
        """Environments whose last matrix was exact but for inertia, so that a small move means a small error."""
        return self._last < self.lagged


class Newton:
    """Minimises the potential that an Assembly evaluates, from the positions in its `x`.

    Args:
        assembly: Assembly; `x` holds the start and then the solution.
        linear: Direct, Iterative or Multigrid.
        tolerance: residual [N] at which an environment has converged.
        max_iterations: Newton iterations before a solve counts as failed.
        extent: size of the scene [m], for the smallest meaningful step.
    """

    loop = "host"

    def __init__(self, assembly, linear, tolerance, max_iterations, extent):
        self.assembly, self.linear = assembly, linear
        self.tolerance, self.max_iterations = tolerance, max_iterations
        self._status = assembly.per_environment(int)
        self._held = None
        self._safe = np.ones(assembly.model.envs)  # how far contact lets each environment go
        self._precision = PRECISION[assembly.model.dtype]
        self._smallest_step = 4 * self._precision * extent
        self._extent = extent
        self.accuracy = None  # [m]; see `SolverImplicit`
        self._free_count = int(assembly.model.free.sum())
        # single precision's energies cannot see friction set in: steps that need no line search, those of the projected matrix
        self._blunt = assembly.contact is not None and assembly.model.dtype == "float32"
        # few particles, of things that touch or rest: a Newton iteration costs as much as hundreds of linear ones
        self._few = self._free_count <= FEW and assembly.block_dtype == "float64"

    def status_array(self, failed):
        """The failed environments of a solve as a device array [envs]: 2 where one failed."""
        self._status.set(2 * failed)
        return self._status.array

    def minimise(self, cache=None):
        """Run to convergence.

        Args:
            cache: what the solve of the step before left for this one: kept factors for `Direct`, else the levels at which to begin
                (see `_assembled_direction`).

        Returns:
            (Progress, cache). Environments that could not converge are marked, not raised.
        """
        a = self.assembly
        envs = a.model.envs
        a.set_active(True)
        a.evaluate()
        p = Progress(a.largest(a.gradient), np.zeros(envs, int), np.zeros(envs, bool), np.zeros(envs, bool))
        p.failed = ~np.isfinite(p.residual)
        p.done = p.residual <= self.tolerance
        factors = cache if self.linear.keeps and isinstance(cache, tuple) else None  # another solver may have made the state
        fresh = np.array([f is None for f in factors or [None] * envs])
        ladder = _Ladder(envs, cache if isinstance(cache, np.ndarray) else None)
        first = np.maximum(p.residual, 1e-300)
        if a.contact is not None and self._held is None:
            self._held = _Held(a, self._smallest_step)
        held = self._held
        if held is not None:
            held.begin()
            p.done &= ~held.lagging
        self._square_before = np.full(envs, np.nan)
        self._assembled, self._left = np.full(envs, -1), np.full(envs, np.inf)
        launched = Command.count
        while True:
            running = ~(p.done | p.failed)
            if not anywhere(running):
                p.launches = Command.count - launched
                if held is not None:
                    p.unreached = held.left
                    a.contact.restore()
                return p, factors if self.linear.keeps else ladder.begin
            late = running & (p.iterations >= self.max_iterations)
            if anywhere(late):
                p.failed |= late
                continue
            if held is not None:
                held.halt(p.iterations >= ON_THE_WAY * self.max_iterations)
            a.set_active(running)
            if self.linear.keeps:
                factors, fresh = self._kept_direction(p, running, factors, fresh)
            else:
                self._assembled_direction(p, running, ladder, first)
            self._length, self._slope, self._square = a.measure_direction()
            factors = self._shorten(p, running, factors)
            before = p.residual.copy()
            alpha = self._search(p, running, ladder.trusted)
            if held is not None:
                held.rest(running, p.residual)
            with np.errstate(invalid="ignore"):
                ladder.judge(running, alpha / self._safe, p.residual / np.maximum(before, 1e-300), held is not None)
            p.iterations += running
            if self.linear.keeps:
                fresh = running & ~p.done & (p.residual > CONTRACTION * before)

    def _shorten(self, p, running, factors):
        """Add inertia to the matrix where a direction leaves the scene; returns the factors.

        There the matrix has next to nothing to say along it, as across a sheet that hangs slack in a static solve, and a factor may be
        definite by rounding alone. The first shift would hold a mean particle against the residual within the scene. The same where
        there is no direction, because contacts that are pressed hard hide all else in a block from its precision.
        """
        a = self.assembly
        none = self._length == 0.0
        if anywhere(none) and self._held is not None:
            none &= (p.residual > self.tolerance) & ~self._held.moving
        else:
            none[:] = False
        long = (self._length > self._extent) | none
        if not anywhere(long):
            return factors
        long &= running
        if not anywhere(long):
            return factors
        mass = a.particle_masses().mean(axis=1)
        shift = np.where(long, p.residual / (mass * self._extent), 0.0)
        for _ in range(LENGTHENINGS):
            a.set_active(long)
            if self.linear.keeps:
                factors = self.linear.factorise(long, factors, shift)
                p.factorisations += int(long.sum())
                served = self.linear.solve(factors, a.gradient, a.direction)
            else:
                a.sum_blocks(shift)
                served = self.linear.solve(a.gradient, a.direction, 0.1)
            self._length, self._slope, self._square = a.measure_direction()
            long = long & ((self._length > self._extent) | ~served)
            if not anywhere(long):
                break
            shift = 10.0 * shift
        a.set_active(running)
        return factors

    def _kept_direction(self, p, running, factors, fresh):
        a = self.assembly
        start = time.perf_counter()
        renew = running & (fresh if factors is not None else True)
        if anywhere(renew):
            factors = self.linear.factorise(renew, factors)
            p.factorisations += int(renew.sum())
        p.profile["assemble"] += time.perf_counter() - start
        start = time.perf_counter()
        served = self.linear.solve(factors, a.gradient, a.direction)
        p.failed |= running & ~served
        p.profile["solve"] += time.perf_counter() - start
        return factors, renew

    def _assembled_direction(self, p, running, ladder, first):
        """Conjugate gradient, looser far from the solution, on the exact matrix or the nearest positive definite one tried."""
        a = self.assembly
        rate = a.step[0]
        top = ladder.top
        if self._few and (a.contact is not None or rate == 0.0):  # never above what would do otherwise
            tolerance = rules.LINEAR_TIGHTEST  # lengths of moves are what counts, not what is left of forces
            if self.accuracy is None:
                tolerance = np.minimum(np.maximum(AIMED * self.tolerance / np.maximum(p.residual, 1e-300), TIGHTEST), TIGHT)
        else:
            fall = np.where(running, p.residual, 1.0) / np.where(running, first, 1.0)
            tolerance = np.clip(rules.LINEAR_SHARE * np.sqrt(fall), rules.LINEAR_TIGHTEST, rules.LINEAR_LOOSEST)
        before = self.linear.total_iterations
        right = a.gradient
        lagging = self._held.moving & running if self._held is not None else np.zeros(1, bool)
        if anywhere(lagging):
            self._held.load(lagging)
            right = self._held.right
            tolerance = np.where(lagging, PUSHING, tolerance)
        todo = running.copy()
        if self._blunt:
            ladder.level[:] = top
        level = ladder.level if rate > 0.0 else np.where(ladder.level == top, top, 0)  # nothing between without inertia
        projected = np.full(len(todo), -1)
        tried = np.zeros(len(todo), int)
        while anywhere(todo):
            a.set_active(todo)
            start = time.perf_counter()
            shift = LEVEL_SHIFTS[level] * rate**2
            project = LEVEL_MATRICES[level]
            if anywhere(todo & (projected != project)):
                a.set_project(project, np.where(ladder.rough > 0, int(PROJECTED), project))
                a.assemble(shift, self._assembled[running].min() >= 0, self._kept(p, project) if self._held is not None else None)
                self._assembled = np.where(todo, project, self._assembled)
                projected = project
            else:
                a.sum_blocks(shift)
            p.profile["assemble"] += time.perf_counter() - start
            start = time.perf_counter()
            definite = self.linear.solve(right, a.direction, tolerance)
            p.profile["solve"] += time.perf_counter() - start
            tried += todo
            todo = todo & ~definite & (level < top)
            if anywhere(todo):
                level = np.where(todo, ladder.above(level) if rate > 0 else top, level)
        a.set_active(running)
        p.linear_iterations += self.linear.total_iterations - before
        ladder.settle(running, level, tried)

    def _kept(self, p, project):
        """Environments that another iteration ends with the blocks that stand there, those of contact apart; [envs].

        A whole step that left a share of the residual changed the matrix by about twice that share, and so much the next would leave.
        """
        with np.errstate(invalid="ignore"):  # those at rest have no residual and have left none
            last = 2.0 * self._left * p.residual <= self.tolerance
        return last & (project == EXACT) & (self._assembled == EXACT)

    def _search(self, p, running, trusted):
        """Backtracking on energy differences; leaves `x`, `gradient` and the residual at the accepted point; returns step lengths."""
        a = self.assembly
        start = time.perf_counter()
        slope, bend = self._slope, None
        lagging = self._held.moving & running if self._held is not None else np.zeros(1, bool)
        if anywhere(lagging):
            work, bend = self._held.complete(lagging)
            self._length, slope, self._square = a.measure_direction()
            slope = np.where(lagging, work, slope)
        length = self._length
        settled = None if self.accuracy is None else self._square <= self.accuracy**2 * self._free_count
        before = p.residual.copy()
        if a.contact is not None:
            self._safe = np.maximum(a.contact.prepare_search(a.direction, lagging), 1e-300)
        a.keep_base()
        alpha = np.where(running, self._safe, 0.0)
        searching = running & np.isfinite(slope) & np.isfinite(length)
        p.failed |= running & ~searching
        while anywhere(searching):
            a.set_active(searching)
            a.combine(a.x, 1.0, a.base_x, -alpha, a.direction, fixed=bend is not None)
            a.evaluate()
            residual, change, magnitude = a.measure_trial()
            noise = rules.NOISE * self._precision * magnitude
            with np.errstate(invalid="ignore"):
                enough = change <= -ARMIJO * alpha * slope
                # where energies cannot tell any more, the forces decide
                small = (alpha * np.abs(slope) <= noise) & (change <= noise) & (residual <= rules.RISEN * p.residual)
                flat = small | ((change <= rules.FLAT * noise) & (residual <= rules.FALLEN * p.residual))
                if bend is not None:  # work is done on the held particles: the energy shall do about what was foreseen
                    first, second = -alpha * slope, 0.5 * alpha**2 * bend
                    foreseen = change <= first + second + FORESEEN * (np.abs(first) + np.abs(second)) + noise
                    enough, flat = np.where(lagging, foreseen, enough), flat & ~lagging
                good = searching & np.isfinite(residual) & (enough | flat)
            stuck = good & (alpha * length <= self._smallest_step) & (residual > rules.FALLEN * p.residual)
            p.residual = np.where(good, residual, p.residual)
            there = good
            if self._held is not None:
                stuck &= ~(lagging | self._held.lagging)
                if anywhere(lagging):
                    self._held.judge(good & lagging, alpha, residual)
                there = good & ~self._held.lagging
            reached = residual <= self.tolerance
            if settled is not None:
                reached |= settled & (alpha == 1.0) & (trusted | (residual <= rules.FALLEN * before) | self._fading())
            p.done |= there & reached
            if anywhere(stuck):
                # moves below the precision of positions: as converged as this dtype goes, if that is anywhere near
                near = residual <= np.maximum(rules.NEAR * self.tolerance, self._rounding(stuck))
                p.done |= stuck & near
                p.failed |= stuck & ~near
            searching &= ~good
            if anywhere(searching):
                alpha = np.where(searching, alpha * rules.SHORTENING, alpha)
                lost = searching & (alpha < rules.SHORTEST)
                p.failed |= lost
                searching &= ~lost
        a.set_active(running)
        self._square_before = np.where(alpha == 1.0, self._square, np.nan)
        with np.errstate(invalid="ignore"):
            self._left = np.where(running & (alpha == 1.0), p.residual / np.maximum(before, 1e-300), np.inf)
        p.profile["line search"] += time.perf_counter() - start
        return alpha

    def _fading(self):
        """Where whole moves grow shorter so fast that all those to come would be below the accuracy; only looked at with contact.

        Pairs that are pressed together leave a solve with projected matrices, whose moves shrink by a share from one to the next.
        """
        if self._held is None or self.accuracy is None:
            return False
        with np.errstate(divide="ignore", invalid="ignore"):
            share = np.sqrt(self._square / self._square_before)
            left = np.where(share < 1.0, np.sqrt(self._square / self._free_count) * share / (1.0 - share), np.inf)
        return left <= self.accuracy

    def _rounding(self, which):
        """Force [N] that a position's last digits make on the stiffest particle; zero for environments not asked for."""
        out = np.zeros(len(which))
        if anywhere(which):
            n = self.assembly.model.particle_count
            diagonal = self.assembly.values.numpy()[which, :n].astype(np.float64)
            out[which] = rules.ROUNDED * self._smallest_step * np.abs(diagonal[:, :, [0, 1, 2], [0, 1, 2]]).max(axis=(1, 2))
        return out
