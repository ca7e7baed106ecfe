"""Levenberg-Marquardt for a handful of parameters, from several starts at once.

    minimise  F(z) = 1/2 |r(z)|^2   subject to  lower <= z <= upper

    z     the scaled parameters [p]: ln(value) for ``scale="log"``, the value itself for ``scale="linear"``
    r     the residuals [m]; their weights are the caller's business
    J     dr/dz [m, p]

One iteration solves (J^T J + mu D) s = -J^T r for each start, D being the largest diagonal of J^T J seen so far (so
that the units of a parameter do not matter), and mu following Nielsen's rule from the gain ratio. Parameters that sit on a bound
and are pushed outwards leave the system; a step that leaves the box is cut at the bound and the rest of it solved again.

All starts advance together, one call of ``fun`` an iteration, because they run as environments of one simulation. A start
whose trial fails (NaN or infinite rows) keeps its place and is damped; the others do not notice.

Sources: H. B. Nielsen, "Damping parameter in Marquardt's method", IMM-REP-1999-05 (1999); J. J. More, "The
Levenberg-Marquardt algorithm: implementation and theory" (1978) for the scaling and the tests of convergence.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from physsim.errors import InputError

GRADIENT, DECREASE, STEP = "gradient", "relative decrease", "step size"
FAILED_START, FAILED_TRIALS, MAX_ITERATIONS = "start failed", "trials failed", "max iterations"
OUTRUN = "another start is far ahead"
RACE = 2  # iterations before a start can be outrun


@dataclass(frozen=True)
class Variable:
    """One parameter to be fitted.

    Args:
        name: what it is called in results and messages
        start: first value, or one value a start, in user units
        lower: smallest value allowed, in user units
        upper: largest value allowed, in user units
        scale: "log" for positive quantities (fitted as a logarithm), "linear" for signed ones
        unit: printed behind the value, for example "Pa"
    """

    name: str
    start: float | Sequence[float]
    lower: float = -np.inf
    upper: float = np.inf
    scale: str = "log"
    unit: str = ""

    def __post_init__(self) -> None:
        if self.scale not in ("log", "linear"):
            raise InputError(f'{self.name}: scale = "{self.scale}": must be "log" or "linear"')
        if self.scale == "log" and self.lower == -np.inf:
            object.__setattr__(self, "lower", 0.0)
        start = np.atleast_1d(np.asarray(self.start, dtype=float))
        if start.ndim != 1 or not np.isfinite(start).all():
            raise InputError(f"{self.name}: start = {self.start}: must be one finite number, or one a start")
        if np.isnan(self.lower) or np.isnan(self.upper) or not self.lower < self.upper:
            raise InputError(f"{self.name}: bounds {self.lower} to {self.upper}: lower must lie below upper")
        if (start < self.lower).any() or (start > self.upper).any():
            raise InputError(f"{self.name}: start = {self.start}: must lie within its bounds {self.lower} to {self.upper}")
        if self.scale == "log" and (self.lower < 0.0 or (start <= 0.0).any()):
            raise InputError(f'{self.name}: a log scale needs positive values; use scale="linear" for a signed one')

    @property
    def size(self) -> float:
        """Length of scaled space over which the parameter changes noticeably: steps are measured by it."""
        if self.scale == "log":
            return 1.0
        if np.isfinite(self.upper - self.lower):
            return self.upper - self.lower
        largest = float(np.abs(np.asarray(self.start)).max())
        return largest if largest > 0.0 else 1.0

    def scaled(self, value: np.ndarray | float) -> np.ndarray:
        """User units to scaled space."""
        with np.errstate(divide="ignore"):
            return np.log(value) if self.scale == "log" else np.asarray(value, dtype=float)

    def user(self, scaled: np.ndarray | float) -> np.ndarray:
        """Scaled space to user units."""
        return np.exp(scaled) if self.scale == "log" else np.asarray(scaled, dtype=float)

    def slope(self, scaled: np.ndarray | float) -> np.ndarray:
        """d(user value) / d(scaled value): turns a derivative by the value into one by the scaled value."""
        return np.exp(scaled) if self.scale == "log" else np.ones_like(np.asarray(scaled, dtype=float))

    def started_at(self, start: float | Sequence[float]) -> Variable:
        """The same variable from other starts, in user units; an estimate on a bound may have been rounded past it."""
        return replace(self, start=np.clip(np.array(start, dtype=float), self.lower, self.upper))


def to_user(variables: Sequence[Variable], scaled: np.ndarray) -> np.ndarray:
    """Scaled parameters [..., p] to user units [..., p]."""
    return np.stack([v.user(scaled[..., i]) for i, v in enumerate(variables)], axis=-1)


def to_scaled(variables: Sequence[Variable], values: np.ndarray) -> np.ndarray:
    """Parameters in user units [..., p] to scaled space [..., p]."""
    values = np.asarray(values, dtype=float)
    return np.stack([v.scaled(values[..., i]) for i, v in enumerate(variables)], axis=-1)


@dataclass(frozen=True)
class LeastSquaresResult:
    """What a fit from k starts found; p parameters, m residuals.

    Attributes:
        variables: the parameters, in the order of the columns
        theta: estimates in user units, shape [k, p]
        scaled: the same in scaled space, shape [k, p]
        cost: 1/2 |r|^2 at the estimate, infinite for a start that never ran, shape [k]
        residuals: at the estimate, shape [k, m]
        jacobian: dr/d(scaled) at the estimate, shape [k, m, p]
        on_bound: -1 on the lower, +1 on the upper bound, 0 between, shape [k, p]
        iterations: trials made, shape [k]
        history: cost after each iteration, row 0 before the first, shape [iterations + 1, k]
        reason: why each start stopped, k strings
        best: index of the start with the smallest cost
        agreeing: starts whose cost is within 1 % of the best, shape [k]
        agreement: spread of the estimates among those, shape [p]: largest / smallest - 1 (log), largest - smallest (linear)
    """

    variables: tuple[Variable, ...]
    theta: np.ndarray
    scaled: np.ndarray
    cost: np.ndarray
    residuals: np.ndarray
    jacobian: np.ndarray
    on_bound: np.ndarray
    iterations: np.ndarray
    history: np.ndarray
    reason: tuple[str, ...]
    best: int
    agreeing: np.ndarray
    agreement: np.ndarray

    def value(self, name: str) -> float:
        """The best start's estimate of one parameter, in user units."""
        names = [v.name for v in self.variables]
        if name not in names:
            raise KeyError(f"no parameter {name!r}; there are {', '.join(names)}")
        return float(self.theta[self.best, names.index(name)])


class _Start:
    """One start's place, model and damping."""

    def __init__(self, z: np.ndarray, residuals: np.ndarray, jacobian: np.ndarray, damping: float) -> None:
        self.z, self.mu, self.nu = z, damping, 2.0
        self.residuals, self.jacobian = residuals, jacobian
        self.cost = _cost(residuals, jacobian)
        self.diagonal = (jacobian**2).sum(0) if np.isfinite(self.cost) else np.ones_like(z)
        self.reason = "" if np.isfinite(self.cost) else FAILED_START
        self.step = np.zeros_like(z)
        self.predicted, self.length = 0.0, 0.0
        self.reach = 1.0  # longest step, as a share of the limit
        self.iterations, self.failed = 0, False

    def accept(self, z: np.ndarray, residuals: np.ndarray, jacobian: np.ndarray, cost: float) -> None:
        self.z, self.residuals, self.jacobian, self.cost = z, residuals, jacobian, cost
        self.diagonal = np.maximum(self.diagonal, (jacobian**2).sum(0))

    def gradient_size(self, lower: np.ndarray, upper: np.ndarray) -> float:
        """Largest cosine between the residuals and a column that may still move (scale-free)."""
        gradient = self.jacobian.T @ self.residuals
        columns = np.linalg.norm(self.jacobian, axis=0) * np.linalg.norm(self.residuals)
        free = ~_blocked(self.z, gradient, lower, upper) & (columns > 0.0)
        return float((np.abs(gradient[free]) / columns[free]).max()) if free.any() else 0.0

    def propose(self, lower: np.ndarray, upper: np.ndarray, limit: np.ndarray) -> np.ndarray:
        """Next trial; sets the step and the decrease of the cost that the linear model predicts."""
        self.step = _boxed_step(self, lower, upper)
        length = float((np.abs(self.step) / limit).max())
        if length > self.reach:
            self.step = self.step * (self.reach / length)
            length = self.reach
        self.length = length
        # The clip takes away rounding only: the step was cut at the bounds before.
        trial = np.clip(self.z + self.step, lower, upper)
        self.predicted = self.cost - 0.5 * float(np.sum((self.residuals + self.jacobian @ self.step) ** 2))
        return trial


def _cost(residuals: np.ndarray, jacobian: np.ndarray) -> float:
    if not (np.isfinite(residuals).all() and np.isfinite(jacobian).all()):
        return np.inf
    with np.errstate(over="ignore"):
        return 0.5 * float(residuals @ residuals)


def _blocked(z: np.ndarray, gradient: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """Parameters on a bound that descent pushes outwards, shape [p]."""
    return ((z <= lower) & (gradient > 0.0)) | ((z >= upper) & (gradient < 0.0))


def _boxed_step(start: _Start, lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """Damped step that ends inside the box: whatever would leave is fixed at its bound and the rest solved again."""
    gradient = start.jacobian.T @ start.residuals
    normal = start.jacobian.T @ start.jacobian
    # A column of zeros (a parameter without effect) would make the system singular; its step is then zero.
    floor = max(float(start.diagonal.max()) * 1e-14, np.finfo(float).tiny)
    damped = normal + start.mu * np.diag(np.maximum(start.diagonal, floor))
    step = np.zeros_like(start.z)
    free = ~_blocked(start.z, gradient, lower, upper)
    while free.any():
        rest = gradient[free] + damped[np.ix_(free, ~free)] @ step[~free]
        step[free] = -np.linalg.lstsq(damped[np.ix_(free, free)], rest, rcond=None)[0]
        leaving = free & ((start.z + step < lower) | (start.z + step > upper))
        if not leaving.any():
            break
        step[leaving] = np.clip(start.z + step, lower, upper)[leaving] - start.z[leaving]
        free &= ~leaving
    return step


def _judge(start: _Start, trial: np.ndarray, residuals: np.ndarray, jacobian: np.ndarray, relative_decrease: float) -> None:
    """Accept or reject a trial, set the damping by Nielsen's rule, stop where the cost no longer moves."""
    start.iterations += 1
    cost, before = _cost(residuals, jacobian), start.cost
    start.failed = not np.isfinite(cost)
    # A failed simulation says nothing about the model: the next step is at most half as long, growing back with success.
    start.reach = 0.5 * start.length if start.failed else min(1.0, 2.0 * start.reach)
    gain = (before - cost) / start.predicted if start.predicted > 0.0 and not start.failed else -1.0
    if gain > 1e-4:
        start.accept(trial, residuals, jacobian, cost)
        start.mu *= max(1.0 / 3.0, 1.0 - (2.0 * gain - 1.0) ** 3)
        start.nu = 2.0
    else:
        start.mu *= start.nu
        start.nu *= 2.0
    small = relative_decrease * before
    if not start.failed and abs(before - cost) <= small and start.predicted <= small:
        start.reason = DECREASE


def _give_up(starts: list[_Start], outrun: float) -> None:
    """Stop the starts that are far behind the best one."""
    least = min(s.cost for s in starts)
    for s in starts:
        if not s.reason and s.cost > outrun * least:
            s.reason = OUTRUN


def _evaluate(fun: Callable, z: np.ndarray, active: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    residuals, jacobian = (np.asarray(a, dtype=float) for a in fun(z.copy(), active.copy()))
    starts, p = z.shape
    if residuals.ndim != 2 or residuals.shape[0] != starts or jacobian.shape != (*residuals.shape, p):
        raise InputError(
            f"fun returned residuals {residuals.shape} and jacobian {jacobian.shape}: must be [{starts}, m] and [{starts}, m, {p}]"
        )
    return residuals, jacobian


def _begin(variables: Sequence[Variable]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scaled starts [k, p] and bounds [p], [p]."""
    names = [v.name for v in variables]
    if not names or len(set(names)) != len(names):
        raise InputError(f"variables = {names}: there must be at least one, and no name twice")
    counts = {np.size(v.start) for v in variables} - {1}
    if len(counts) > 1:
        raise InputError(f"variables have {sorted(counts)} starts: give each the same number, or one for all")
    k = counts.pop() if counts else 1
    z = np.stack([np.broadcast_to(v.scaled(np.asarray(v.start, dtype=float)), (k,)) for v in variables], axis=1)
    lower = np.array([float(v.scaled(v.lower)) for v in variables])
    upper = np.array([float(v.scaled(v.upper)) for v in variables])
    return np.clip(z, lower, upper), lower, upper


def _show(progress: Callable | None, iteration: int, variables: tuple[Variable, ...], starts: list[_Start]) -> None:
    if progress is not None:
        progress(iteration, np.array([s.cost for s in starts]), to_user(variables, np.stack([s.z for s in starts])))


def least_squares(
    fun: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]],
    variables: Sequence[Variable],
    *,
    max_iterations: int = 50,
    relative_decrease: float = 1e-8,
    gradient: float = 1e-8,
    step_size: float = 1e-6,
    max_step: float = 1.5,
    damping: float = 1e-3,
    until_best: bool = False,
    outrun: float | None = None,
    progress: Callable[[int, np.ndarray, np.ndarray], None] | None = None,
) -> LeastSquaresResult:
    """Fit the variables from all their starts at once (k starts, p variables, m residuals).

    Args:
        fun: ``fun(scaled [k, p], active [k] bool) -> (residuals [k, m], jacobian dr/d(scaled) [k, m, p])``; rows of starts
            that are not active are ignored and may hold anything; NaN or infinite rows of an active start mean failure
        variables: what to fit, with starts and bounds
        max_iterations: trials at most
        relative_decrease: stop when the cost changes, and was predicted to change, by less than this share
        gradient: stop when the residuals are this close to orthogonal to every column (cosine)
        step_size: stop when every step is below this share of its variable's size (log: relative change)
        max_step: longest step in a variable's size (log: 1.5 is a factor of 4.5), against wild trials
        damping: first damping, relative to the diagonal of J^T J
        until_best: stop as soon as the start with the smallest cost has stopped, wherever the others are
        outrun: a start whose cost is this many times the smallest one's after two iterations is given up; None: none is
        progress: called as ``progress(iteration, cost [k], theta [k, p] in user units)``

    Raises:
        InputError: bad variables or shapes
        RuntimeError: no start could be simulated; give other starts
    """
    variables = tuple(variables)
    z, lower, upper = _begin(variables)
    size = np.array([v.size for v in variables])
    residuals, jacobian = _evaluate(fun, z, np.ones(len(z), dtype=bool))
    starts = [_Start(z[i], residuals[i], jacobian[i], damping) for i in range(len(z))]
    history = [[s.cost for s in starts]]
    if not np.isfinite(history[0]).any():
        raise RuntimeError("no start gave finite residuals and a finite jacobian; give starts that can be simulated")

    _show(progress, 0, variables, starts)
    for iteration in range(1, max_iterations + 1):
        trials = np.stack([s.z for s in starts])
        for i, s in enumerate(starts):
            if not s.reason and s.gradient_size(lower, upper) <= gradient:
                s.reason = GRADIENT
            if not s.reason:
                trials[i] = s.propose(lower, upper, max_step * size)
                if (np.abs(s.step) <= step_size * size).all():
                    s.reason = FAILED_TRIALS if s.failed else STEP
        active = np.array([not s.reason for s in starts])
        if not active.any() or (until_best and not active[int(np.argmin([s.cost for s in starts]))]):
            break
        residuals, jacobian = _evaluate(fun, np.where(active[:, None], trials, np.stack([s.z for s in starts])), active)
        for i in np.flatnonzero(active):
            _judge(starts[i], trials[i], residuals[i], jacobian[i], relative_decrease)
        if outrun is not None and iteration >= RACE:
            _give_up(starts, outrun)
        history.append([s.cost for s in starts])
        _show(progress, iteration, variables, starts)
    return _result(variables, starts, history, lower, upper)


def _result(
    variables: tuple[Variable, ...], starts: list[_Start], history: list[list[float]], lower: np.ndarray, upper: np.ndarray
) -> LeastSquaresResult:
    scaled = np.stack([s.z for s in starts])
    theta = to_user(variables, scaled)
    cost = np.array([s.cost for s in starts])
    best = int(np.argmin(cost))
    # A fit without noise ends at rounding, where 1 % means nothing: a 1e-10th of the first cost counts as nought.
    agreeing = cost <= 1.01 * cost[best] + 1e-10 * min(history[0])
    high, low = theta[agreeing].max(0), theta[agreeing].min(0)
    log = np.array([v.scale == "log" for v in variables])
    agreement = np.where(log, high / np.where(log, low, 1.0) - 1.0, high - low)
    return LeastSquaresResult(
        variables=variables,
        theta=theta,
        scaled=scaled,
        cost=cost,
        residuals=np.stack([s.residuals for s in starts]),
        jacobian=np.stack([s.jacobian for s in starts]),
        on_bound=(scaled >= upper).astype(int) - (scaled <= lower).astype(int),
        iterations=np.array([s.iterations for s in starts]),
        history=np.array(history),
        reason=tuple(s.reason or MAX_ITERATIONS for s in starts),
        best=best,
        agreeing=agreeing,
        agreement=agreement,
    )
