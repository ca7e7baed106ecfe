"""Fits without gradients: an evolution strategy for numbers along which a simulation jumps, such as what is held, or what sticks and slips.

CMA-ES of the package `cma` (N. Hansen, "The CMA Evolution Strategy: A Tutorial", arXiv:1604.00772). A generation is as many candidates as
the cost takes at a time, so that they run as environments of one model. It needs many more simulations than a fit with gradients: use it
only where there are none.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from physsim.errors import InputError, SolverError
from physsim.physics import validation
from physsim.real2sim.least_squares import Variable, to_scaled, to_user

LEAST_POPULATION = 4


@dataclass(frozen=True, eq=False)
class EvolutionResult:
    """What an evolution found.

    Args:
        variables: as they were given.
        theta: the best candidate in user units, shape [p].
        cost: its cost.
        evaluations: candidates tried.
        history: lowest cost so far after each generation, shape [generations].
        failed: candidates without a finite cost.
        reason: why it stopped: "evaluations", "spread" (the candidates agree) or "cost" (their costs do).
    """

    variables: tuple
    theta: np.ndarray
    cost: float
    evaluations: int
    history: np.ndarray
    failed: int
    reason: str

    @property
    def values(self) -> dict:
        """Name -> the best candidate's value in user units."""
        return {v.name: float(x) for v, x in zip(self.variables, self.theta, strict=True)}


def minimise_without_gradient(
    cost: Callable[[np.ndarray], np.ndarray],
    variables: Sequence[Variable],
    population: int,
    *,
    seed: int = 0,
    max_evaluations: int = 400,
    spread: float = 0.3,
    tolerance: float = 1e-3,
    whole: Sequence[str] = (),
    progress: Callable | None = None,
) -> EvolutionResult:
    """Minimise a cost of a few variables by CMA-ES.

    Args:
        cost: `cost(values [population, p] in user units) -> costs [population]`; what is not finite counts as a failed candidate.
        variables: Variables with one start each.
        population: candidates a generation, such as the environments of a model; at least 4.
        seed: of all chance; numpy's global generator is left alone.
        max_evaluations: candidates at most, rounded up to whole generations.
        spread: of the first candidates, as a share of a variable's size (log scale: 0.3 is 30 %).
        tolerance: the fit ends when every variable's spread is below this share of its size, or the last generations' best costs are the
            same but for 1e-12 of them.
        whole: names of variables that are whole numbers: they are rounded before `cost` sees them.
        progress: called as progress(generation, lowest cost so far, its values [p]).

    Raises:
        InputError: the package `cma` is missing, bad variables, a population below 4, costs of another shape.
        SolverError: no candidate of the first generation had a finite cost.
    """
    variables = tuple(variables)
    population = int(validation.array("population", population, (), kind="i", lower=LEAST_POPULATION))
    max_evaluations = int(validation.array("max_evaluations", max_evaluations, (), kind="i", lower=1))
    rounded = _checked(variables, whole)
    size = np.array([v.size for v in variables])
    strategy = _strategy(variables, size, population, seed, spread)
    best, lowest, history, failed, count = None, np.inf, [], 0, 0
    reason = "evaluations"
    while count < max_evaluations:
        candidates = np.array(strategy.ask())
        scaled = candidates[:, : len(variables)] * size
        values = _within(variables, to_user(variables, scaled), rounded)
        costs = np.asarray(cost(values.copy()), dtype=float)
        if costs.shape != (population,):
            raise InputError(f"cost returned shape {list(costs.shape)} for {population} candidates; one number each is needed")
        count += population
        good = np.isfinite(costs)
        failed += int((~good).sum())
        if not good.any() and best is None:
            raise SolverError("minimise_without_gradient: no first candidate had a finite cost; give other starts, or a smaller spread")
        if good.any() and costs[good].min() < lowest:
            winner = int(np.argmin(np.where(good, costs, np.inf)))
            best, lowest = values[winner], float(costs[winner])
        worst = costs[good].max() if good.any() else lowest
        strategy.tell(list(candidates), list(np.where(good, costs, worst + abs(worst) + 1.0)))
        history.append(lowest)
        if progress is not None:
            progress(len(history), lowest, best.copy())
        if (strategy.sigma * strategy.sm.variances**0.5 < tolerance).all():
            reason = "spread"
            break
        if (
            len(history) > 10 + len(variables)
            and good.any()
            and np.ptp(history[-8:]) <= 1e-12 * abs(lowest)
            and np.ptp(costs[good]) <= 1e-12 * abs(lowest)
        ):
            reason = "cost"
            break
    return EvolutionResult(variables, best, lowest, count, np.array(history), failed, reason)


def _checked(variables, whole):
    names = [v.name for v in variables]
    if not names or len(set(names)) != len(names):
        raise InputError(f"variables = {names}: there must be at least one, and no name twice")
    for v in variables:
        if np.size(v.start) != 1:
            raise InputError(f"{v.name}: {np.size(v.start)} starts were given; one is needed, the candidates spread about it")
    unknown = [name for name in whole if name not in names]
    if unknown:
        raise InputError(f"whole: there is no variable {unknown[0]!r}; there are {', '.join(names)}")
    return np.array([name in whole for name in names])


def _strategy(variables, size, population, seed, spread):
    """The strategy over scaled values in units of their size; a single variable gets an idle one beside it, which `cma` needs."""
    try:
        import cma
    except ImportError:
        raise InputError("a fit without gradients needs the package cma: pip install cma") from None
    chance = np.random.default_rng(seed)
    starts = to_scaled(variables, np.array([float(np.mean(v.start)) for v in variables])) / size
    with np.errstate(divide="ignore"):
        lower = np.array([float(v.scaled(v.lower)) for v in variables]) / size
        upper = np.array([float(v.scaled(v.upper)) for v in variables]) / size
    if len(variables) == 1:
        starts, lower, upper = np.append(starts, 0.0), np.append(lower, -1.0), np.append(upper, 1.0)
    room = np.where(np.isfinite(upper - lower), upper - lower, np.inf).min()
    bounds = [[x if np.isfinite(x) else None for x in ends.tolist()] for ends in (lower, upper)]
    options = {
        "seed": np.nan,  # leave numpy's global generator alone: all chance comes from `randn`
        "randn": lambda *shape: chance.standard_normal(shape),
        "popsize": population,
        "bounds": bounds,
        "verbose": -9,
        "verb_log": 0,
        "verb_disp": 0,
    }
    inside = np.clip(starts, lower + 1e-9, upper - 1e-9)
    return cma.CMAEvolutionStrategy(inside, float(min(spread, 0.3 * room)), options)


def _within(variables, values, rounded):
    lower, upper = (np.array([getattr(v, end) for v in variables]) for end in ("lower", "upper"))
    return np.clip(np.where(rounded, np.round(values), values), lower, upper)
