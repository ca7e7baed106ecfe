"""Trivial predictors on motions for which they are right, and by known amounts wrong."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

import physsim as ps
from physsim.twin import trivial

TIMES = np.arange(12) * 0.1
FITTED = np.arange(8)
FRAMES = np.arange(12)


def turning(axis, rate, centre, velocity):
    """A handle that turns about an axis through its origin, which moves."""
    turns = Rotation.from_rotvec(np.asarray(axis, float) * rate * TIMES[:, None]).as_matrix()
    return ps.Handle(TIMES, np.asarray(centre) + TIMES[:, None] * np.asarray(velocity, float), turns)


def points(count=30, seed=1):
    return np.random.default_rng(seed).uniform(-0.1, 0.1, (count, 3))


def test_the_anchor_is_the_last_fitted_frame_before_a_frame():
    assert trivial.anchors(np.array([0, 3, 5, 9]), np.array([2, 3, 4])).tolist() == [2, 3, 4, 4]


def test_a_track_that_was_hidden_at_the_anchor_is_held_where_it_was_last_seen():
    visible = np.ones((12, 3), bool)
    visible[5:, 1] = False
    visible[:, 2] = False
    assert trivial.last_seen(visible, FITTED, 7).tolist() == [7, 4, -1]


def test_what_a_handle_carries_rigidly_is_predicted_by_control_and_not_by_holding():
    handle = turning((0, 0, 1), 0.8, (0.2, 0, 0), (0.1, 0, 0.3))
    start = points()
    positions = np.stack([trivial.carried_by(handle, start, np.zeros(len(start)), t) for t in TIMES])
    visible = np.ones(positions.shape[:2], bool)
    found = trivial.predict_tracks(positions, visible, positions, FRAMES, FITTED, {"hand": handle}, TIMES)
    assert found[trivial.CONTROL] == pytest.approx(positions)  # one handle: the share by distance is 1 as well, no pull
    assert found[trivial.HELD][11] == pytest.approx(positions[7])
    assert found[trivial.CARRIED][11] == pytest.approx(positions[11])


def test_shares_of_two_handles_are_found_from_the_motion_whatever_the_distance_says():
    left, right = turning((0, 0, 1), 0.0, (-0.1, 0, 0), (0, 0, 0.4)), turning((0, 0, 1), 0.0, (0.1, 0, 0), (0, 0.3, 0))
    start = points()
    truth = np.random.default_rng(2).uniform(0.0, 1.0, len(start))
    moved = truth[:, None] * [0, 0, 0.4] + (1 - truth)[:, None] * np.array([0, 0.3, 0])
    positions = start + TIMES[:, None, None] * moved
    visible = np.ones(positions.shape[:2], bool)
    shares = trivial.control_shares(positions, visible, FITTED, {"left": left, "right": right}, TIMES)
    assert np.abs(shares - np.stack([truth, 1 - truth], 1)).max() < 0.03


def test_where_nothing_moved_the_nearer_handle_has_the_larger_share():
    still = {side: ps.Handle([0.0], [[x, 0.0, 0.0]]) for side, x in (("left", -0.1), ("right", 0.1))}
    positions = np.tile(np.array([[-0.05, 0, 0], [0.0, 0, 0]]), (12, 1, 1))
    shares = trivial.control_shares(positions, np.ones((12, 2), bool), FITTED, still, TIMES)
    near, far = 1 / 0.05**2, 1 / 0.15**2
    assert shares[0] == pytest.approx([near / (near + far), far / (near + far)])
    assert shares[1] == pytest.approx([0.5, 0.5])


def test_the_residual_carried_on_takes_away_an_offset_of_the_simulation():
    positions = points() + TIMES[:, None, None] * np.array([0.1, 0, 0])
    visible = np.ones(positions.shape[:2], bool)
    found = trivial.predict_tracks(positions, visible, positions + 0.02, FRAMES, FITTED, {}, TIMES)
    assert found[trivial.CARRIED] == pytest.approx(positions)
    assert trivial.CONTROL not in found


def test_another_recording_is_replayed_by_the_time_since_its_first_frame():
    other = np.array([5.0, 5.1, 5.2, 5.3])
    assert trivial.replayed_frames(TIMES, other, np.array([0, 2, 3, 9])).tolist() == [0, 2, 3, -1]
