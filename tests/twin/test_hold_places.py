import numpy as np
import pytest

from physsim import Capture, Handle, SeenTracks, box_mesh
from physsim.twin.body import SoftBody
from physsim.twin.holds import find_holds


@pytest.fixture
def clamped():
    """(Capture, SoftBody laid 2 mm too high): a block whose upper face a clamp holds."""
    mesh = box_mesh((0.06, 0.06, 0.12), (3, 3, 6), origin=(-0.03, -0.03, -0.12))
    grid = np.linspace(-0.03, 0.03, 16)
    places = np.stack(np.meshgrid(grid, grid, [0.0], indexing="ij"), axis=-1).reshape(-1, 3)
    handle = Handle(np.array([0.0, 1.0]), np.zeros((2, 3)), radius=0.004, places=places)
    tracks = SeenTracks(np.tile(mesh.points[:5], (2, 1, 1)))
    capture = Capture(np.array([0.0, 1.0]), tracks=tracks, handles={"clamp": handle})
    return capture, SoftBody("solid", mesh, mesh.points + [0.001, 0.0, 0.002])


def test_what_is_held_lies_in_the_plane_of_the_places_although_the_pose_is_off(clamped):
    capture, body = clamped
    (hold,), _ = find_holds(capture, body)
    assert len(hold.points) == 16
    assert np.abs(hold.local[:, 2]).max() < 1e-12
    assert hold.local[:, :2] == pytest.approx(body.points[hold.points, :2] + [0.001, 0.0])


def test_a_pose_that_is_off_by_more_than_the_radius_loses_no_held_point(clamped):
    capture, body = clamped
    lower = SoftBody("solid", body.mesh, body.points - [0.0, 0.0, 0.006])
    (hold,), _ = find_holds(capture, lower)
    assert np.abs(body.points[hold.points, 2]).max() < 1e-12
    assert len(hold.points) == 16
