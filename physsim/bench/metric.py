"""How far a run is from its engine's own limit, and which step is compared."""

import numpy as np

LIMIT_AGREEMENT = 0.002
"""Two steps, one half of the other, whose curves differ by less than this are at the limit (share of the body's size)."""

ERROR_ALLOWED = 0.02
"""Engines are compared at their largest step whose error is below this (share of the body's size)."""

BODY_SIZE = 1.0
"""Every body of the benchmark is 1 m long [m]."""


def curve_error(curve: np.ndarray, limit: np.ndarray, body_size: float = BODY_SIZE) -> float:
    """Return the root mean square difference of two height curves as a share of the body's size.

    Args:
        curve: heights of the run [m], shape [frames].
        limit: heights in the limit [m], shape [frames].
        body_size: [m].

    Returns:
        The share, or infinity when either curve holds a value that is not finite (the run broke down).
    """
    difference = np.asarray(curve, float) - np.asarray(limit, float)
    if not np.isfinite(difference).all():
        return float("inf")
    return float(np.sqrt(np.mean(difference**2)) / body_size)


def largest_good_step(errors: dict[int, float], allowed: float = ERROR_ALLOWED) -> int | None:
    """Return the fewest substeps in 1/60 s whose error is below `allowed`, or None where no run is good enough.

    Args:
        errors: error of each run, by its substeps in 1/60 s.
        allowed: share of the body's size.
    """
    good = [substeps for substeps, error in errors.items() if error is not None and error < allowed]
    return min(good, default=None)


def gradient_error(groups: list[tuple[np.ndarray, np.ndarray]]) -> float:
    """Return the worst relative difference between a gradient and central differences.

    Args:
        groups: pairs (the gradient's slopes, the differences' slopes), shape [directions] each. Directions of like
            magnitude share a group, so that one whose slope happens to vanish is not divided by nearly nothing.
    """
    worst = 0.0
    for slopes, differences in groups:
        scale = float(np.linalg.norm(differences))
        gap = float(np.linalg.norm(np.asarray(slopes) - np.asarray(differences)))
        if not np.isfinite(gap):
            return float("inf")
        worst = max(worst, gap / scale if scale > 0.0 else (0.0 if gap == 0.0 else float("inf")))
    return worst
