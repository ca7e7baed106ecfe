"""A capture in memory gives the points that were seen and keeps its parts together."""

from dataclasses import replace

import numpy as np
import pytest

from physsim.capture.capture import Capture, Handle, SeenTracks
from physsim.errors import InputError


def test_a_cloud_holds_the_masked_depth_of_all_cameras_and_the_points(ball):
    for frame in (0, 3):
        expected = [ball.points[frame]]
        for name, camera in ball.cameras.items():
            expected.append(camera.points(ball.depth[name][frame])[ball.mask[name][frame]])
        np.testing.assert_allclose(ball.cloud(frame), np.concatenate(expected), atol=1e-12)
        np.testing.assert_allclose(ball.cloud(frame, "front"), expected[1], atol=1e-12)


def test_a_frame_whose_mask_is_missing_shows_nothing_of_the_body(ball):
    masks = {**ball.mask, "front": [None, *ball.mask["front"][1:]]}
    part = replace(ball, mask=masks, points=None)
    assert len(part.cloud(0, "front")) == 0
    np.testing.assert_array_equal(part.cloud(0), part.cloud(0, "side cam"))
    np.testing.assert_array_equal(part.cloud(1), replace(ball, points=None).cloud(1))


def test_depth_without_a_mask_counts_whole_and_missing_frames_give_nothing(ball):
    depth = [np.full((32, 40), 0.8), None]
    depth[0][3, 4], depth[0][5, 6] = np.nan, 0.0
    capture = Capture(times=[0.0, 1.0], cameras=ball.cameras, depth={"front": depth})
    assert capture.cloud(0).shape == (32 * 40 - 2, 3)
    assert capture.cloud(1).shape == (0, 3)
    depth[1] = np.zeros((40, 32))
    with pytest.raises(InputError, match=r"depth of camera 'front', frame 1: shape \[40, 32\]"):
        capture.cloud(1)


def test_some_frames_keep_their_split_and_their_sensors(ball):
    part = ball.with_frames([1, 3, 5])
    np.testing.assert_array_equal(part.times, ball.times[[1, 3, 5]])
    np.testing.assert_array_equal(part.fit, [0, 1])
    np.testing.assert_array_equal(part.test, [2])
    assert part.sensors == ball.sensors == ("tracks", "points", "depth", "mask", "colour")
    np.testing.assert_allclose(part.cloud(2), ball.cloud(5))


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({}, "one of depth, points and tracks is needed"),
        ({"times": [0.0, 0.0]}, "each later than the one before"),
        ({"points": [np.zeros((1, 3))]}, "points: 1 frames for 2 times"),
        ({"depth": {"top": [None, None]}}, "no camera 'top'"),
        ({"tracks": SeenTracks(np.zeros((3, 1, 3)))}, "tracks: 3 frames"),
        ({"points": [None, None], "kind": "cloth"}, "must be"),
        ({"points": [None, None], "fit": [1, 0]}, "frames must increase"),
        ({"points": [None, None], "test": [2]}, "must lie in"),
    ],
)
def test_parts_that_do_not_fit_together_are_refused(parts, said):
    with pytest.raises(InputError, match=said):
        Capture(**({"times": [0.0, 1.0]} | parts))


@pytest.mark.parametrize("turn", [np.diag([1.0, 1.0, -1.0]), 1.01 * np.eye(3), np.full((3, 3), np.nan), np.full((3, 3), 1e200)])
def test_a_handle_names_its_first_matrix_that_is_no_rotation(turn):
    turns = np.tile(np.eye(3), (4, 1, 1))
    turns[2] = turn
    with pytest.raises(InputError, match=r"Handle\.rotations\[2\]"):
        Handle(np.arange(4), np.zeros((4, 3)), turns)


def test_a_handle_keeps_its_own_numbers():
    turns = np.tile(np.eye(3), (2, 1, 1))
    handle = Handle([0, 1], np.zeros((2, 3)), turns)
    turns[...] = 0.0
    np.testing.assert_array_equal(handle.rotations[1], np.eye(3))
