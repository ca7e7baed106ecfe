"""Distances between what was seen and what was simulated, against what can be worked out by hand."""

import numpy as np
import pytest
from made_captures import block, camera

from physsim.twin import distances

SQUARE = np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
TRIANGLES = np.array([[0, 1, 2], [0, 2, 3]])


def test_the_distance_to_a_surface_is_that_to_its_inside_edge_or_corner():
    points = np.array([[0.3, 0.4, 0.25], [0.5, -0.6, 0.8], [-0.3, -0.4, 1.2]])
    assert distances.surface_distances(points, SQUARE, TRIANGLES) == pytest.approx([0.25, 1.0, 1.3])


def test_noise_along_the_normal_shows_as_its_mean_size():
    rng = np.random.default_rng(3)
    points = np.column_stack([rng.uniform(0.2, 0.8, (20000, 2)), rng.normal(0.0, 0.01, 20000)])
    assert distances.surface_distances(points, SQUARE, TRIANGLES).mean() == pytest.approx(0.01 * np.sqrt(2 / np.pi), rel=0.03)


def test_the_l1_chamfer_counts_components_to_the_nearest_vertex():
    assert distances.chamfer_l1(np.array([[0.1, 0.2, -0.3], [1.0, 1.0, 0.5]]), SQUARE) == pytest.approx((0.6 + 0.5) / 2)


def test_a_camera_sees_the_front_of_a_block_at_its_distance():
    mesh = block()
    depth, seen = distances.Eye(camera(), mesh.surface()).look(mesh.points)
    assert seen.any() and not seen.all()
    assert np.nanmedian(depth) == pytest.approx(0.5, abs=1e-5)
    assert np.isnan(depth[~seen]).all()


def test_a_hand_before_the_body_is_ignored_and_holes_tell_nothing():
    model = np.array([[0.5, 0.5, 0.5, 0.5, np.nan]])
    measured = np.array([[0.5, 0.3, np.nan, 0.9, 0.9]])  # the body, a hand, a hole, the wall behind, the wall
    mask = np.array([[True, False, True, False, False]])
    assert distances.hidden(model, measured, mask).tolist() == [[False, True, False, False, False]]
    assert distances.could_see(model, measured, mask).tolist() == [[True, False, False, True, False]]
    ignored = distances.hidden(model, measured, mask)
    assert distances.overlap(np.isfinite(model), mask, ignored) == pytest.approx(2 / 3)  # without the hand: 2 common, 3 in all
    assert distances.depth_error(model, measured + 0.002, mask) == pytest.approx(0.002)


def test_tracks_that_leave_their_neighbours_are_found_and_those_of_a_stretched_body_are_not():
    rng = np.random.default_rng(0)
    rest = np.stack(np.meshgrid(np.arange(8), np.arange(8), [0.0]), -1).reshape(-1, 3) * 0.01
    stretch = 1.0 + 0.3 * np.linspace(0.0, 1.0, 20)[:, None, None]
    positions = rest * stretch + rng.normal(0.0, 2e-4, (20, 64, 3))
    wrong = rng.choice(64, 3, replace=False)
    positions[10:, wrong] += [0.0, 0.05, 0.05]
    visible = np.ones((20, 64), bool)
    lost = distances.strayed(positions, visible)
    assert lost[10:, wrong].all()
    lost[10:, wrong] = False
    assert not lost.any()
