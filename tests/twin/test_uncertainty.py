"""What is said of how sure a fit is, on linear problems whose answer is known."""

from types import SimpleNamespace

import numpy as np
import pytest

from physsim.real2sim.least_squares import Variable
from physsim.twin.uncertainty import determine
from physsim.twin.unknowns import Unknown

FRAMES = 60


def problem_of(variable):
    """A problem of one unknown, with two rows a frame."""
    return SimpleNamespace(unknowns=[Unknown(variable)], frames=np.arange(FRAMES), _priors=[], flatness=np.ones(1))


def rows(values):
    """A number a frame as the frame's two rows."""
    return np.stack([values, np.zeros_like(values)], axis=1).ravel()


def test_an_estimate_on_its_bound_may_lie_anywhere_that_is_possible():
    rng = np.random.default_rng(0)
    problem = problem_of(Variable("poisson", 0.3, 0.0, 0.49, "linear"))
    slope = 100.0 * np.ones(FRAMES)
    bounds, said = determine(problem, np.zeros(1), rows(5.0 + rng.standard_normal(FRAMES)), rows(slope)[:, None], 0.95)
    assert bounds["poisson"] == (0.0, 0.49)
    assert "undetermined" in said["poisson"]
    assert "squeeze or stretch" in said["poisson"]


def test_an_estimate_within_its_bounds_keeps_what_the_data_say():
    rng = np.random.default_rng(0)
    problem = problem_of(Variable("poisson", 0.3, 0.0, 0.49, "linear"))
    slope = 100.0 * np.ones(FRAMES)
    noise = rng.standard_normal(FRAMES)
    bounds, said = determine(problem, np.full(1, 0.3), rows(noise - noise.mean()), rows(slope)[:, None], 0.95)
    low, high = bounds["poisson"]
    assert high - low == pytest.approx(2 * 1.96 / 100 / np.sqrt(FRAMES), rel=0.35)
    assert not said


def test_where_the_model_is_off_what_parts_of_the_motion_say_widens_the_interval():
    """A motion that tells the unknown in a few of its parts, and a model whose error changes once from one to the next."""
    rng = np.random.default_rng(1)
    problem = problem_of(Variable("young", 1.0, 0.01, 100.0))
    covered = {1.0: 0, 3.0: 0}
    for _ in range(60):
        slope = 10.0 * np.repeat(np.abs(rng.standard_normal(6)), 10)
        error = np.repeat(rng.standard_normal(6), 10) + 0.3 * rng.standard_normal(FRAMES)
        found = -(slope @ error) / (slope @ slope)  # by which the estimate is off the truth, 0
        for excess in covered:
            bounds, _ = determine(problem, np.full(1, found), rows(error + slope * found), rows(slope)[:, None], 0.95, excess)
            low, high = bounds["young"]
            covered[excess] += low <= 1.0 <= high
    assert covered[3.0] >= 51
    assert covered[3.0] > covered[1.0]
