"""Noise of depth and colour has the size, the steps and the gaps that its formulas say."""

import numpy as np
import pytest

from physsim.appearance.camera import Camera
from physsim.appearance.meshes import Surface, render_surfaces
from physsim.appearance.noise import ColourNoise, DepthNoise, linear_from_srgb, srgb_from_linear
from physsim.errors import InputError

VIEW = Camera(160, 120, (150.0, 150.0))
QUIET = {"axial": (0.0, 0.0, 0.0, 0.0), "baseline": None, "edge_dropout": 0.0, "grazing": 90.0, "near": 0.0, "far": 100.0}


def flat(z):
    return np.full((120, 160), z)


def test_without_errors_depth_stays_what_it_is():
    depth = np.random.default_rng(1).uniform(0.5, 3.0, (120, 160))
    np.testing.assert_array_equal(DepthNoise(**QUIET)(depth, VIEW, np.random.default_rng(2)), depth)


@pytest.mark.parametrize("z", [0.6, 1.5, 3.0])
def test_axial_noise_grows_as_its_formula(z):
    noise = DepthNoise(**{**QUIET, "axial": (0.0012, 0.0019, 0.4, 0.0)})
    error = noise(flat(z), VIEW, np.random.default_rng(3)) - z
    sigma = 0.0012 + 0.0019 * (z - 0.4) ** 2
    assert error.std() == pytest.approx(sigma, rel=0.03)  # 19,200 pixels: 0.5 %
    assert abs(error.mean()) < 5 * sigma / np.sqrt(error.size)


def test_axial_noise_grows_with_the_angle():
    tilt = np.radians(60)
    normals = np.broadcast_to([np.sin(tilt), 0.0, -np.cos(tilt)], (120, 160, 3))
    long = Camera(160, 120, (1e5, 1e5))  # all rays along the axis
    noise = DepthNoise(**{**QUIET, "axial": (0.0, 0.0, 0.0, 1e-4)})
    error = noise(flat(1.44), long, np.random.default_rng(4), normals) - 1.44
    assert error.std() == pytest.approx(1e-4 / 1.2 * tilt**2 / (np.pi / 2 - tilt) ** 2, rel=0.03)


def test_disparity_comes_in_steps_and_steps_of_depth_grow_with_its_square():
    noise = DepthNoise(**{**QUIET, "baseline": 0.08, "subpixel": 0.125})
    depth = np.linspace(1.0, 3.0, 120 * 160).reshape(120, 160)
    seen = noise(depth, VIEW, np.random.default_rng(5))
    disparity = 0.08 * 150.0 / seen / 0.125
    np.testing.assert_allclose(disparity, np.round(disparity), atol=1e-9)
    half_step = 0.5 * depth**2 * 0.125 / (0.08 * 150.0)
    assert (np.abs(seen - depth) < 1.02 * half_step).all()
    assert np.abs(seen - depth).max() > 0.9 * half_step.max()
    levels = np.unique(seen)
    np.testing.assert_allclose(np.diff(levels), levels[1:] * levels[:-1] * 0.125 / (0.08 * 150.0), rtol=1e-9)


def test_depth_can_come_in_fixed_steps():
    seen = DepthNoise(**{**QUIET, "step": 0.001})(flat(1.23456), VIEW, np.random.default_rng(6))
    np.testing.assert_allclose(seen, 1.235)


def test_what_is_out_of_range_is_missing():
    depth = np.linspace(0.1, 6.0, 120 * 160).reshape(120, 160)
    depth[5] = 0.0
    seen = DepthNoise(**{**QUIET, "near": 0.4, "far": 4.5})(depth, VIEW, np.random.default_rng(7))
    np.testing.assert_array_equal(seen > 0, (depth >= 0.4) & (depth <= 4.5))


def test_pixels_beside_an_edge_are_lost_as_often_as_asked():
    depth = flat(1.0)
    depth[:, 80:] = 1.5
    seen = DepthNoise(**{**QUIET, "edge": 0.1, "edge_width": 2, "edge_dropout": 0.7})(depth, VIEW, np.random.default_rng(8))
    beside = np.zeros(160, bool)
    beside[77:83] = True  # two at the step, and two more on each side
    assert (seen[:, ~beside] > 0).all()
    assert (seen[:, beside] == 0).mean() == pytest.approx(0.7, abs=0.06)  # 720 pixels: 0.017


@pytest.mark.parametrize("given", [True, False])
def test_surfaces_seen_at_a_grazing_angle_are_missing(given):
    slope = Surface([[-9, -9, 6.0], [9, -9, 6.0], [9, 9, -1.0], [-9, 9, -1.0]], [[0, 1, 2], [0, 2, 3]])  # nearer towards the bottom
    image = render_surfaces([slope], VIEW)
    depth = image.depth.numpy()
    normal = np.array([0.0, 18.0, 0.0]) * 7 / 18 + np.array([0.0, 0.0, 18.0])
    _, directions = VIEW.rays()
    cosine = np.abs(directions @ normal) / np.linalg.norm(normal) / np.linalg.norm(directions, axis=-1)
    angle = np.degrees(np.arccos(cosine))
    noise = DepthNoise(**{**QUIET, "grazing": 40.0})
    seen = noise(depth, VIEW, np.random.default_rng(9), image.normals.numpy() if given else None)
    sure = (depth > 0) & (np.abs(angle - 40.0) > 0.2)
    assert 0.1 < (angle[sure] < 40.0).mean() < 0.9
    np.testing.assert_array_equal((seen > 0)[sure], (angle < 40.0)[sure])


def test_the_same_seed_gives_the_same_noise_and_another_another():
    noise, colour = DepthNoise(), ColourNoise()
    depth, image = flat(1.2), np.random.default_rng(1).uniform(size=(20, 30, 3))
    first, again, other = (noise(depth, VIEW, np.random.default_rng(seed)) for seed in (10, 10, 11))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    first, again, other = (colour(image, np.random.default_rng(seed)) for seed in (10, 10, 11))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@pytest.mark.parametrize("intensity", [0.1, 0.5])
def test_colour_noise_has_the_variance_of_photons_and_reading(intensity):
    noise = ColourNoise(full_well=2000.0, read=8.0, bits=None, srgb=False)
    seen = noise(np.full((200, 200), intensity), np.random.default_rng(12))
    assert seen.mean() == pytest.approx(intensity, rel=2e-3)
    assert seen.var() == pytest.approx(intensity / 2000.0 + (8.0 / 2000.0) ** 2, rel=0.03)  # 40,000 pixels: 0.7 %


def test_colours_are_clipped_and_rounded():
    seen = ColourNoise(full_well=100.0, bits=4, srgb=False)(np.array([-1.0, 0.0, 0.3, 1.0, 2.0] * 50), np.random.default_rng(13))
    assert seen.min() >= 0
    assert seen.max() <= 1
    np.testing.assert_allclose(15 * seen, np.round(15 * seen), atol=1e-9)


def test_srgb_and_linear_are_inverse_and_join_where_the_standard_says():
    values = np.linspace(0, 1, 1001)
    np.testing.assert_allclose(srgb_from_linear(linear_from_srgb(values)), values, atol=1e-7)
    assert linear_from_srgb(np.array(0.5)) == pytest.approx(0.21404114)
    bright = ColourNoise(full_well=1e9, read=0.0, bits=None)(values, np.random.default_rng(14))
    np.testing.assert_allclose(bright, values, atol=2e-3)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: DepthNoise(step=0.001), "two kinds"),
        (lambda: DepthNoise(near=2.0, far=1.0), "near"),
        (lambda: DepthNoise(edge_dropout=1.5), "edge_dropout"),
        (lambda: DepthNoise(axial=(np.nan, 0, 0, 0)), "NaN"),
        (lambda: DepthNoise(subpixel=0.0), "subpixel"),
        (lambda: DepthNoise()(np.zeros((3, 3)), VIEW, np.random.default_rng(0)), r"\[120, 160\]"),
        (lambda: DepthNoise()(-flat(1.0), VIEW, np.random.default_rng(0)), "depth image"),
        (lambda: DepthNoise()(flat(1.0), VIEW, 3), "default_rng"),
        (
            lambda: DepthNoise()((1000 * flat(1.0)).astype(np.uint16), VIEW, np.random.default_rng(0)),
            "uint16 was given; divide millimetres",
        ),
        (lambda: ColourNoise()(np.full((2, 2), 200, np.uint8), np.random.default_rng(0)), "uint8 was given; divide by 255"),
        (lambda: ColourNoise(full_well=0.0), "full_well"),
        (lambda: ColourNoise(bits=0), "bits"),
        (lambda: ColourNoise()(np.full((2, 2), np.nan), np.random.default_rng(0)), "NaN"),
    ],
)
def test_noise_that_cannot_be_is_refused(call, said):
    with pytest.raises(InputError, match=said):
        call()
