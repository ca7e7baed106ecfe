"""Intervals: coverage under correlated noise, flat directions and their sentences, the noise model's parts."""

import numpy as np
import pytest
from scipy.signal import lfilter

from physsim.real2sim.intervals import combination, intervals
from physsim.real2sim.least_squares import Variable, least_squares
from physsim.real2sim.noise import autocovariance, fit_noise, stabilised

COSINE = [
    Variable("amplitude", 14.0, 0.1, 1e3),
    Variable("frequency", 3.36, 0.1, 20.0, unit="Hz"),
    Variable("zeta", 0.067, 1e-4, 2.0),
    Variable("offset", 25.0, -100.0, 100.0, "linear"),
    Variable("phase", 0.3, -10.0, 10.0, "linear"),
]
TRUTH = np.array([np.log(14.0), np.log(3.36), np.log(0.067), 25.0, 0.3])


def cosine(z, frames, gains):
    """Damped cosine [frames, channels] and its derivative by z [frames, channels, 5]."""
    t = np.arange(frames) * 0.01
    amplitude, frequency, zeta = np.exp(z[:3])
    w = 2.0 * np.pi * frequency
    envelope = amplitude * np.exp(-w * zeta * t)
    c, s = envelope * np.cos(w * t + z[4]), envelope * np.sin(w * t + z[4])
    j = np.stack([c, -w * zeta * t * c - w * t * s, -w * zeta * t * c, np.ones(frames), -s], axis=1)
    return (z[3] + c)[:, None] * gains, j[:, None] * gains[None, :, None]


def errors_of(kind, frames, channels, rng):
    """Noise [frames, channels] of unit variance."""
    if kind == "white":
        return rng.normal(size=(frames, channels))
    if kind == "drift":
        t = np.arange(frames)
        kernel = np.exp(-0.5 * ((t[:, None] - t) / (0.08 * frames)) ** 2)
        w, u = np.linalg.eigh(kernel)
        return (u * np.sqrt(np.maximum(w, 0.0))) @ rng.normal(size=(frames, channels)) + 0.05 * rng.normal(size=(frames, channels))
    phi = 0.95 if kind == "ar0.95" else 0.9
    e = lfilter([1.0], [1.0, -phi], rng.normal(size=(frames + 600, channels)), axis=0)[600:] * np.sqrt(1.0 - phi**2)
    if kind == "fading":
        e = e * (2.0 * np.exp(-np.arange(frames) / (0.3 * frames)) + 0.05)[:, None]
    return e


def monte_carlo(kind, frames, channels, repeats, seed):
    """Coverage and mean width over 3.92 spreads of the estimates, each [5]."""
    rng = np.random.default_rng(seed)
    estimates, inside, widths = [], [], []
    for _ in range(repeats):
        gains = rng.uniform(0.5, 1.5, channels)
        mix = np.eye(channels) + 0.6 * rng.normal(size=(channels, channels)) / np.sqrt(channels) * (channels > 1)
        data = cosine(TRUTH, frames, gains)[0] + 0.4 * errors_of(kind, frames, channels, rng) @ mix

        def fun(z, active, data=data, gains=gains):
            y, j = cosine(z[0], frames, gains)
            return (y - data).reshape(1, -1), j.reshape(1, -1, 5)

        fit = least_squares(fun, COSINE)
        found = intervals(COSINE, fit.scaled[0], fit.residuals.reshape(frames, channels), fit.jacobian.reshape(frames, channels, 5))
        low = np.array([float(v.scaled(x)) for v, x in zip(COSINE, found.lower, strict=True)])
        high = np.array([float(v.scaled(x)) for v, x in zip(COSINE, found.upper, strict=True)])
        estimates.append(fit.scaled[0])
        inside.append((low <= TRUTH) & (high >= TRUTH))
        widths.append(high - low)
    return np.mean(inside, axis=0), np.mean(widths, axis=0) / (3.92 * np.std(estimates, axis=0))


@pytest.mark.parametrize(("kind", "channels", "repeats"), [("white", 1, 40), ("ar0.9", 2, 25)])
def test_intervals_cover_the_truth_about_as_often_as_they_say(kind, channels, repeats):
    seed = int(np.random.default_rng().integers(2**31))
    cover, width = monte_carlo(kind, 300, channels, repeats, seed)
    # Few repeats: wide enough that a true coverage of 0.93 fails less than once in 10,000 runs.
    assert cover.min() >= 0.65, f"seed {seed}: {cover}"
    assert cover.mean() >= 0.82, f"seed {seed}: {cover}"
    assert ((width > 0.5) & (width < 2.2)).all(), f"seed {seed}: {width}"


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("kind", "frames", "channels", "lowest"),
    [
        ("white", 300, 1, 0.90),
        ("white", 600, 3, 0.90),
        ("ar0.9", 300, 1, 0.90),
        ("ar0.9", 400, 3, 0.90),
        ("ar0.95", 400, 1, 0.88),
        # A drift a twelfth of the recording long: its offset has some six independent values to go by.
        ("drift", 300, 1, 0.80),
        ("fading", 400, 1, 0.88),
    ],
)
def test_coverage_over_400_repeats(kind, frames, channels, lowest):
    cover, width = monte_carlo(kind, frames, channels, 400, 20)
    assert ((cover >= lowest) & (cover <= 0.995)).all(), cover
    assert ((width > 0.8) & (width < 1.6)).all(), width


def test_white_noise_in_a_linear_fit_gives_the_textbook_interval():
    rng = np.random.default_rng(8)
    t = np.linspace(-1.0, 1.0, 2000)
    design = np.stack([np.ones_like(t), t], axis=1)
    data = design @ [2.0, 3.0] + 0.1 * rng.normal(size=t.size)
    estimate = np.linalg.lstsq(design, data, rcond=None)[0]
    variables = [Variable("offset", 1.0, scale="linear"), Variable("slope", 1.0, scale="linear")]
    residuals = design @ estimate - data
    found = intervals(variables, estimate, residuals[:, None], design[:, None])
    textbook = np.sqrt(np.diag(np.linalg.inv(design.T @ design)) * (residuals @ residuals) / (t.size - 2))
    assert found.std == pytest.approx(textbook, rel=0.1)
    assert found.upper - found.lower == pytest.approx(3.92 * textbook, rel=0.1)
    assert not found.undetermined
    tight = intervals(variables, estimate, residuals[:, None], design[:, None], level=0.5)
    assert (tight.upper - tight.lower < 0.4 * (found.upper - found.lower)).all()


def test_a_copied_channel_adds_nothing():
    rng = np.random.default_rng(9)
    e = errors_of("ar0.9", 400, 1, rng)
    y, j = cosine(TRUTH, 400, np.ones(1))
    step = np.linalg.lstsq(j[:, 0], e[:, 0], rcond=None)[0]
    residuals = e - j @ step
    once = intervals(COSINE, TRUTH, residuals, j)
    twice = intervals(COSINE, TRUTH, np.repeat(residuals, 2, axis=1), np.repeat(j, 2, axis=1))
    assert twice.std == pytest.approx(once.std, rel=1e-3)
    assert y.shape == (400, 1)


def test_gaps_are_allowed_and_widen_the_interval():
    rng = np.random.default_rng(10)
    _, j = cosine(TRUTH, 400, np.ones(2))
    residuals = errors_of("white", 400, 2, rng)
    gappy = residuals.copy()
    gappy[40:160] = np.nan
    gappy[rng.random((400, 2)) < 0.02] = np.nan
    whole, found = intervals(COSINE, TRUTH, residuals, j), intervals(COSINE, TRUTH, gappy, j)
    assert np.isfinite(found.std).all()
    assert found.std[2] > whole.std[2]


def flat_problem(columns, names, seed=0, noise=0.01):
    """Residuals whose Jacobian by ln(names) has the given columns [f, p]."""
    residuals = noise * np.random.default_rng(seed).normal(size=(len(columns), 1))
    return [Variable(n, 10.0, 1e-6, 1e9) for n in names], np.full(len(names), np.log(10.0)), residuals, columns[:, None]


def test_only_the_ratio_is_determined_when_two_columns_are_opposite():
    t = np.linspace(0.0, 1.0, 300)
    columns = np.stack([np.sin(9.0 * t), -np.sin(9.0 * t), np.cos(7.0 * t)], axis=1)
    found = intervals(*flat_problem(columns, ["young", "density", "damping"]))
    assert set(found.undetermined) == {"young", "density"}
    assert found.determined == ("young / density",)
    assert found.not_determined == ("young * density",)
    assert "young / density is determined" in found.undetermined["young"]
    assert found.interval("young") == (0.0, np.inf)
    low, high = found.interval("damping")
    assert 9.5 < low < 10.0 < high < 10.5
    assert "damping = 10" in found.text()


def test_powers_and_nearly_flat_directions_are_named():
    rng = np.random.default_rng(2)
    t = np.linspace(0.0, 1.0, 400)
    stiff = np.sin(9.0 * t)
    columns = np.stack([stiff, 2.0 * stiff + 1e-3 * np.cos(5.0 * t), np.cos(7.0 * t)], axis=1)
    found = intervals(*flat_problem(columns, ["width", "height", "damping"], seed=int(rng.integers(1000)), noise=0.05))
    assert set(found.undetermined) == {"width", "height"}
    assert found.determined == ("width^(1/2) * height",)
    assert found.not_determined == ("width / height^(1/2)",)
    assert "interval runs from" in found.undetermined["height"]


def test_a_parameter_without_effect_and_one_on_its_bound_are_said_so():
    t = np.linspace(0.0, 1.0, 300)
    columns = np.stack([np.sin(9.0 * t), np.zeros(300), np.cos(7.0 * t)], axis=1)
    variables, scaled, residuals, jacobian = flat_problem(columns, ["young", "friction", "damping"])
    variables[2] = Variable("damping", 5.0, 1.0, 10.0, unit="s")
    found = intervals(variables, scaled, residuals, jacobian)
    assert set(found.undetermined) == {"friction", "damping"}
    assert "no effect" in found.undetermined["friction"]
    assert "on its bound, 10 s" in found.undetermined["damping"]
    assert np.isfinite(found.interval("young")).all()


def test_nothing_to_learn_is_said_and_not_a_crash():
    residuals = np.random.default_rng(4).normal(size=(100, 2))
    bound = intervals([Variable("young", 10.0, 1.0, 10.0)], np.log([10.0]), residuals, np.ones((100, 2, 1)))
    assert "on its bound" in bound.text()
    pair = [Variable("young", 5.0, 1.0, 10.0), Variable("density", 5.0, 1.0, 10.0)]
    blind = intervals(pair, np.log([5.0, 5.0]), residuals, np.zeros((100, 2, 2)))
    assert set(blind.undetermined) == {"young", "density"}
    assert blind.determined == ()
    exact = intervals(pair, np.log([5.0, 5.0]), 0.0 * residuals, np.random.default_rng(5).normal(size=(100, 2, 2)))
    assert exact.std == pytest.approx([0.0, 0.0], abs=1e-9)


def test_mixed_scales_are_written_as_sums():
    variables = [Variable("young", 1.0), Variable("offset", 2.0, scale="linear")]
    assert combination(variables, np.array([1.0, -1.0])) == "1 ln(young) - 0.5 offset"


def test_the_noise_model_finds_the_filter_and_its_variance():
    rng = np.random.default_rng(11)
    phi = np.array([1.5, -0.7])
    e = lfilter([1.0], np.concatenate([[1.0], -phi]), rng.normal(size=4500))[500:, None]
    model = fit_noise(e, np.ones((4000, 1, 1)), max_order=8)
    assert model.coefficients[0][:2] == pytest.approx(phi, abs=0.06)
    assert model.innovations[0, 0] == pytest.approx(1.0, rel=0.08)


def test_autocovariance_and_stabilising_follow_their_formulas():
    assert autocovariance(np.array([0.9]), 3) == pytest.approx(0.9 ** np.arange(3) / 0.19, rel=1e-4)
    assert stabilised(np.array([1.2]), 0.99) == pytest.approx([0.99])
    assert stabilised(np.array([1.5, -0.7]), 0.99) == pytest.approx([1.5, -0.7])


def test_bad_input_is_named():
    variables = [Variable("young", 1.0)]
    good, slope = np.zeros((50, 1)) + 0.1, np.ones((50, 1, 1))
    with pytest.raises(ValueError, match="must be"):
        intervals(variables, np.zeros(1), good, np.ones((50, 2, 1)))
    with pytest.raises(ValueError, match="level"):
        intervals(variables, np.zeros(1), good, slope, level=95.0)
    with pytest.raises(ValueError, match="frames have every channel"):
        intervals(variables, np.zeros(1), np.full((50, 1), np.nan), slope)
    with pytest.raises(ValueError, match="jacobian holds"):
        intervals(variables, np.zeros(1), good, np.full((50, 1, 1), np.nan))
