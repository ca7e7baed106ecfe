"""Levenberg-Marquardt over several starts: known minima, bounds, failures, reasons."""

import numpy as np
import pytest

from physsim.real2sim.least_squares import Variable, least_squares, to_scaled, to_user

TIMES = np.linspace(0.0, 3.0, 120)


def batched(single):
    """fun(z [k, p], active) from single(z [p]) -> (r [m], J [m, p])."""

    def fun(z, active):
        pairs = [single(row) for row in z]
        return np.stack([r for r, _ in pairs]), np.stack([j for _, j in pairs])

    return fun


def decay(truth_amplitude=2.0, truth_rate=1.5, noise=0.0, seed=0):
    data = truth_amplitude * np.exp(-truth_rate * TIMES) + noise * np.random.default_rng(seed).normal(size=TIMES.size)

    def single(z):
        amplitude, rate = np.exp(z)
        y = amplitude * np.exp(-rate * TIMES)
        return y - data, np.stack([y, -rate * TIMES * y], axis=1)

    return single


def rosenbrock(z):
    return np.array([10.0 * (z[1] - z[0] ** 2), 1.0 - z[0]]), np.array([[-20.0 * z[0], 10.0], [-1.0, 0.0]])


def test_starts_far_apart_agree_on_an_exponential():
    variables = [Variable("amplitude", [0.1, 30.0, 1.0], 1e-3, 1e3), Variable("rate", [0.05, 8.0, 1.0], 1e-3, 1e2)]
    result = least_squares(batched(decay()), variables)
    assert result.theta == pytest.approx(np.tile([2.0, 1.5], (3, 1)), rel=1e-6)
    assert result.agreeing.all()
    assert (result.agreement < 1e-5).all()
    assert result.value("rate") == pytest.approx(1.5)


def test_rosenbrock_from_the_classical_start():
    variables = [Variable("x", -1.2, scale="linear"), Variable("y", 1.0, scale="linear")]
    result = least_squares(batched(rosenbrock), variables, max_iterations=100)
    assert result.theta[0] == pytest.approx([1.0, 1.0], abs=1e-6)


def test_the_minimum_of_noisy_data_is_that_of_scipy():
    scipy_optimize = pytest.importorskip("scipy.optimize")
    single = decay(noise=0.05, seed=3)
    ours = least_squares(batched(single), [Variable("amplitude", 1.0), Variable("rate", 1.0)])
    theirs = scipy_optimize.least_squares(lambda z: single(z)[0], [0.0, 0.0], xtol=1e-14, ftol=1e-14, gtol=1e-14)
    assert ours.scaled[0] == pytest.approx(theirs.x, abs=1e-5)
    assert ours.cost[0] == pytest.approx(theirs.cost, rel=1e-9)
    assert ours.reason[0] in ("relative decrease", "gradient", "step size")


def test_a_bound_holds_and_the_rest_is_still_optimal():
    single = decay(noise=0.05, seed=4)
    variables = [Variable("amplitude", 1.0, 1e-3, 1e3), Variable("rate", 0.8, 0.1, 1.2)]
    result = least_squares(batched(single), variables)
    assert result.theta[0, 1] == pytest.approx(1.2)
    assert result.on_bound[0].tolist() == [0, 1]
    residuals, jacobian = single(result.scaled[0])
    assert abs(jacobian[:, 0] @ residuals) < 1e-5 * np.linalg.norm(jacobian[:, 0]) * np.linalg.norm(residuals)


def test_a_start_on_a_bound_leaves_it_when_descent_points_inwards():
    variables = [Variable("amplitude", 2.0, 0.1, 10.0), Variable("rate", 5.0, 0.1, 5.0)]
    assert least_squares(batched(decay()), variables).theta[0] == pytest.approx([2.0, 1.5], rel=1e-6)


def test_failed_trials_are_damped_and_the_other_starts_do_not_notice():
    calls = []

    def fun(z, active):
        residuals, jacobian = batched(decay())(z, active)
        calls.append(z.copy())
        if 2 <= len(calls) <= 4:  # three trials of the second start blow up
            residuals[1, 5:] = np.nan
            jacobian[1] = np.inf
        return residuals, jacobian

    alone = least_squares(batched(decay()), [Variable("amplitude", 1.0), Variable("rate", 1.0)])
    both = least_squares(fun, [Variable("amplitude", [1.0, 5.0]), Variable("rate", [1.0, 0.1])])
    assert both.theta == pytest.approx(np.tile([2.0, 1.5], (2, 1)), rel=1e-5)
    assert both.scaled[0] == pytest.approx(alone.scaled[0], abs=1e-9)
    steps = [np.abs(z[1] - calls[0][1]).max() for z in calls[1:5]]
    assert (np.diff(steps) < 0.0).all(), "each retreat must be shorter than the one that failed"
    assert both.history[3, 1] == both.history[0, 1]


def test_a_start_whose_trials_always_fail_says_so():
    first = []

    def fun(z, active):
        residuals, jacobian = batched(decay())(z, active)
        first.append(True)
        if len(first) > 1:
            residuals[:] = np.inf
        return residuals, jacobian

    result = least_squares(fun, [Variable("amplitude", 1.0), Variable("rate", 1.0)])
    assert result.reason == ("trials failed",)
    assert result.theta[0] == pytest.approx([1.0, 1.0])


def test_a_start_that_cannot_run_is_reported_and_the_rest_fitted():
    def fun(z, active):
        residuals, jacobian = batched(decay())(z, active)
        residuals[1] = np.nan
        return residuals, jacobian

    result = least_squares(fun, [Variable("amplitude", 1.0), Variable("rate", [1.0, 2.0])])
    assert result.reason[1] == "start failed"
    assert result.cost[1] == np.inf
    assert result.best == 0
    with pytest.raises(RuntimeError, match="no start"):
        least_squares(lambda z, a: (np.full((1, 3), np.nan), np.zeros((1, 3, 1))), [Variable("x", 1.0)])


def test_finished_starts_are_frozen_and_masked():
    masks = []

    def fun(z, active):
        masks.append(active.copy())
        residuals, jacobian = batched(decay(noise=0.01))(z, active)
        residuals[~active] = np.nan  # must be ignored
        return residuals, jacobian

    result = least_squares(fun, [Variable("amplitude", [1.9, 100.0], 1e-3, 1e3), Variable("rate", [1.4, 0.01], 1e-3, 1e2)])
    assert masks[0].all()
    assert any(not m.all() for m in masks)
    assert np.isfinite(result.residuals).all()
    assert result.iterations[0] < result.iterations[1]


def test_history_never_rises_and_progress_sees_user_units():
    seen = []
    result = least_squares(
        batched(decay(noise=0.02)),
        [Variable("amplitude", [0.1, 9.0]), Variable("rate", 1.0)],
        progress=lambda i, cost, theta: seen.append((i, cost, theta)),
    )
    assert (np.diff(result.history, axis=0) <= 0.0).all()
    assert [s[0] for s in seen] == list(range(len(result.history)))
    assert seen[0][2][:, 0] == pytest.approx([0.1, 9.0])


def test_each_reason_is_reported():
    variables = [Variable("amplitude", 1.0), Variable("rate", 1.0)]
    fun = batched(decay(noise=0.1))
    assert least_squares(fun, variables, max_iterations=1).reason == ("max iterations",)
    assert least_squares(fun, variables, gradient=1e-2, relative_decrease=0.0).reason == ("gradient",)
    assert least_squares(fun, variables, relative_decrease=1e-3, gradient=0.0).reason == ("relative decrease",)
    assert least_squares(fun, variables, step_size=1e-2, relative_decrease=0.0, gradient=0.0).reason == ("step size",)


def test_a_parameter_without_effect_stays_where_it_started():
    def single(z):
        residuals, jacobian = decay()(z[:2])
        return residuals, np.concatenate([jacobian, np.zeros((len(residuals), 1))], axis=1)

    result = least_squares(batched(single), [Variable("amplitude", 1.0), Variable("rate", 1.0), Variable("idle", 7.0)])
    assert result.theta[0] == pytest.approx([2.0, 1.5, 7.0], rel=1e-6)


def test_scaling_goes_there_and_back():
    variables = [Variable("young", 1e5, 1e3, 1e7, unit="Pa"), Variable("offset", -0.3, -1.0, 1.0, "linear")]
    values = np.array([[2e5, -0.2], [3e5, 0.4]])
    assert to_user(variables, to_scaled(variables, values)) == pytest.approx(values)
    assert variables[0].slope(np.log(2e5)) == pytest.approx(2e5)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"start": -1.0}, "within its bounds"),
        ({"start": 1.0, "scale": "cubic"}, "log"),
        ({"start": 1.0, "lower": 2.0, "upper": 1.0}, "below upper"),
        ({"start": 5.0, "lower": 1.0, "upper": 2.0}, "within its bounds"),
        ({"start": np.nan}, "finite"),
        ({"start": 1.0, "lower": -1.0}, "positive"),
    ],
)
def test_bad_variables_are_named(arguments, words):
    with pytest.raises(ValueError, match=words):
        Variable("stiffness", **arguments)


def test_bad_shapes_are_named():
    with pytest.raises(ValueError, match="must be"):
        least_squares(lambda z, a: (np.zeros((1, 3)), np.zeros((1, 3, 4))), [Variable("x", 1.0)])
    with pytest.raises(ValueError, match="starts"):
        least_squares(batched(decay()), [Variable("a", [1.0, 2.0]), Variable("b", [1.0, 2.0, 3.0])])


def test_a_start_that_is_outrun_is_given_up():
    """Two valleys of x: one ends at a cost of 0.5, the other at 8 of which it falls but slowly."""

    def fun(scaled, active):
        x = scaled[:, 0]
        low = x < 0
        residuals = np.where(low, 1.0 + 0.0 * x, 4.0)[:, None] * np.ones((1, 2))
        residuals[:, 1] = np.where(low, x + 1.0, 0.1 * (x - 5.0))
        jacobian = np.zeros((len(x), 2, 1))
        jacobian[:, 1, 0] = np.where(low, 1.0, 0.1)
        return residuals, jacobian

    variables = [Variable("x", np.array([-3.0, 1.0]), -10.0, 10.0, "linear")]
    options = {"max_step": 0.05, "relative_decrease": 1e-12, "max_iterations": 30}
    free, raced = (least_squares(fun, variables, outrun=outrun, **options) for outrun in (None, 2.0))
    assert raced.reason[1] == "another start is far ahead"
    assert raced.iterations[1] < free.iterations[1]
    assert raced.best == 0
    assert raced.theta[0] == pytest.approx(free.theta[0])
