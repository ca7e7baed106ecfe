"""Compares a gradient with central differences of the same forward run, in the configuration that was timed."""

import numpy as np

from physsim.bench.metric import gradient_error

RELATIVE_STEPS = (1e-4, 3e-5, 1e-5, 3e-6)
"""Steps of the central difference, as shares of the stiffness: a buckled cloth can need very small ones, because its motion
depends on the stiffness exponentially."""
RANDOM_DIRECTIONS = 1
SINGLE_SPRINGS = 1
SEED = 20261123
SETTLED = 0.01
"""Relative change between neighbouring steps below which a difference counts."""


def directions(stiffness: np.ndarray, slopes: np.ndarray) -> list[np.ndarray]:
    """Return groups of directions in stiffness [N/m], each array of shape [directions, m].

    All springs together; random signs on every spring; the single springs that the gradient says matter most.
    """
    signs = np.random.default_rng(SEED).choice((-1.0, 1.0), size=(RANDOM_DIRECTIONS, len(stiffness)))
    finite = np.where(np.isfinite(slopes), np.abs(slopes * stiffness), 0.0)
    chosen = np.argsort(finite)[-SINGLE_SPRINGS:]
    single = np.zeros((len(chosen), len(stiffness)))
    single[np.arange(len(chosen)), chosen] = stiffness[chosen]
    return [stiffness[None], signs * stiffness, *single[:, None]]


def central_difference(gradient: object, stiffness: np.ndarray, direction: np.ndarray) -> tuple[float, float]:
    """Return the slope along `direction` [m] and how much it changed between the two steps that agree best.

    Long steps err by truncation, short ones by rounding and by the solver's tolerance; between them neighbours agree.
    """
    found = []
    for step in RELATIVE_STEPS:
        heights = []
        for sign in (1.0, -1.0):
            gradient.set_stiffness(stiffness + sign * step * direction)
            heights.append(gradient.forward())
        found.append((heights[0] - heights[1]) / (2.0 * step))
    changes = np.abs(np.diff(found))
    # Steps too short to be felt give zero twice; that is no agreement.
    changes[np.array(found[1:]) == 0.0] = np.inf
    best = int(np.argmin(np.where(np.isfinite(changes), changes, np.inf)))
    return found[best + 1], float(changes[best])


def check_gradient(gradient: object, slopes: np.ndarray) -> dict:
    """Return `gradient_error` over the directions whose differences settle, how many do, and the slope along all springs.

    A direction settles where two neighbouring steps agree to 1 %. In a cloth that buckles, a difference may jump between branches of
    the motion at every step size; it says nothing about the slope then.
    """
    stiffness = gradient.stiffness
    groups, changes = [], []
    for group in directions(stiffness, slopes):
        found = [central_difference(gradient, stiffness, direction) for direction in group]
        differences = np.array([slope for slope, _ in found])
        change = np.linalg.norm([change for _, change in found]) / max(np.linalg.norm(differences), 1e-300)
        changes.append(change)
        groups.append((group @ slopes, differences))
    gradient.set_stiffness(stiffness)
    settled = [group for group, change in zip(groups, changes, strict=True) if change <= SETTLED]
    return {
        "gradient_error": gradient_error(settled) if settled else float("nan"),
        "difference_uncertainty": float(min(changes)),
        "directions_settled": f"{len(settled)} of {len(groups)}",
        "slope_all_springs": float(groups[0][0][0]),
        "difference_all_springs": float(groups[0][1][0]),
    }
