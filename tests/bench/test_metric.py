import numpy as np
import pytest

from physsim.bench.gradient_check import central_difference, check_gradient
from physsim.bench.metric import curve_error, gradient_error, largest_good_step


def test_error_of_a_shifted_curve_is_the_shift_over_the_body_size():
    curve = np.linspace(0.0, -0.3, 60)
    assert curve_error(curve + 0.04, curve, body_size=2.0) == pytest.approx(0.02, rel=1e-12)


def test_error_of_a_sine_is_its_amplitude_over_root_two():
    time = np.arange(60) / 60.0
    assert curve_error(0.1 * np.sin(2.0 * np.pi * time), np.zeros(60)) == pytest.approx(0.1 / np.sqrt(2.0), rel=1e-12)


def test_a_curve_that_broke_down_has_infinite_error():
    curve = np.zeros(60)
    curve[40:] = np.nan
    assert curve_error(curve, np.zeros(60)) == np.inf


def test_the_largest_step_below_two_per_cent_is_compared():
    assert largest_good_step({1: 0.3, 2: np.inf, 4: 0.019, 8: 0.004, 16: 0.0}) == 4
    assert largest_good_step({1: 0.02, 2: None}) is None


def test_gradient_error_is_the_worst_group_and_infinite_for_nan():
    exact = (np.array([1.0, 2.0]), np.array([1.0, 2.0]))
    assert gradient_error([exact, (np.array([1.1]), np.array([1.0]))]) == pytest.approx(0.1)
    assert gradient_error([exact, (np.array([np.nan]), np.array([1.0]))]) == np.inf


class Polynomial:
    """A gradient with a known answer: the sum of cubes of the stiffness."""

    def __init__(self, mistake: float = 0.0):
        self.stiffness = np.linspace(1.0, 2.0, 7)
        self.set_stiffness(self.stiffness)
        self.mistake = mistake

    def set_stiffness(self, stiffness):
        self.present = stiffness

    def forward(self):
        return float(np.sum(self.present**3))

    def backward(self):
        return 3.0 * self.present**2 * (1.0 + self.mistake)


def test_central_differences_find_the_step_between_truncation_and_rounding():
    gradient = Polynomial()
    slope, change = central_difference(gradient, gradient.stiffness, np.ones(7))
    truth = float(np.sum(3.0 * gradient.stiffness**2))
    assert slope == pytest.approx(truth, rel=1e-8)
    assert change < 1e-6 * truth


@pytest.mark.parametrize("mistake", [0.0, 0.01])
def test_the_check_measures_a_gradient_that_is_one_per_cent_wrong(mistake):
    gradient = Polynomial(mistake)
    found = check_gradient(gradient, gradient.backward())
    assert found["gradient_error"] == pytest.approx(mistake, abs=1e-6)
    assert found["difference_uncertainty"] < 1e-6
