"""Handles in the world of the cameras: moved as a whole, whatever they hold."""

from types import SimpleNamespace

import numpy as np
from scipy.spatial.transform import Rotation

import physsim as ps
from physsim.twin.seen import Seen


def test_a_moved_handle_keeps_its_distances_from_what_cameras_saw():
    rng = np.random.default_rng(7)
    times = np.array([0.0, 0.5])
    places = rng.normal(size=(5, 3))
    turns = Rotation.from_rotvec(rng.normal(size=(2, 3))).as_matrix()
    handle = ps.Handle(times, rng.normal(size=(2, 3)), turns, opening=np.array([0.1, 0.2]), radius=0.03, places=places)
    turn, shift = Rotation.from_rotvec([0.3, -0.2, 0.5]).as_matrix(), np.array([0.1, 0.2, -0.3])
    cloud = rng.normal(size=(1, 20, 3))
    capture = ps.Capture(np.zeros(1), tracks=ps.SeenTracks(cloud), handles={"hand": handle})
    fit = SimpleNamespace(time_offset=0.0, camera_pose=(turn, shift), noise={})
    moved = Seen(capture, fit).handles["hand"]
    seen_by_handles = cloud[0] @ turn.T + shift
    np.testing.assert_allclose(moved.distances(0.25, cloud[0]), handle.distances(0.25, seen_by_handles), atol=1e-12)
    assert moved.radius == handle.radius
    np.testing.assert_array_equal(moved.opening, handle.opening)
