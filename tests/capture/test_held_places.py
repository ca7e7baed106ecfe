"""Places of handles, weights that hang on a body, tracks whose rest places are known: what they mean, and what files may say of them."""

import json

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from physsim.capture.capture import Capture, Handle, Known, SeenTracks
from physsim.errors import InputError
from physsim.physics.mesh import box_mesh
from physsim.twin.body import reconstruct
from physsim.twin.scene import TwinScene


def a_capture(**changes):
    """A block that hangs from a clamp, with a weight under it and four tracks that are known points of it."""
    mesh = box_mesh((0.04, 0.04, 0.1), (2, 2, 5))
    rest = np.array([[0.0, 0.02, 0.0], [0.04, 0.02, 0.0], [0.02, 0.0, 0.02], [0.02, 0.04, 0.04]])
    x, y = (a.ravel() for a in np.meshgrid([0.005, 0.015, 0.025, 0.035], [0.005, 0.015, 0.025, 0.035]))
    places = np.stack([x - 0.02, y - 0.02, np.zeros(16)], axis=1)
    given = {
        "times": np.arange(6) / 30,
        "tracks": SeenTracks(np.tile(rest, (6, 1, 1)), rest=rest),
        "mesh": mesh,
        "kind": "solid",
        "handles": {"clamp": Handle([0.0], [[0.02, 0.02, 0.1]], radius=0.0072, places=places)},
        "known": Known(density=1000.0, weights=np.array([[0.02, 0.02, 0.0, 0.3], [0.0, 0.0, 0.0, 0.1]])),
    }
    return Capture(**(given | changes))


def test_distances_are_from_the_nearest_place_in_the_handles_pose(rng):
    turns = Rotation.from_rotvec(rng.normal(size=(2, 3))).as_matrix()
    handle = Handle([0.0, 1.0], rng.normal(size=(2, 3)), turns, places=rng.normal(size=(5, 3)))
    points = rng.normal(size=(7, 3))
    for k in range(2):
        places = handle.positions[k] + handle.places @ turns[k].T
        expected = np.linalg.norm(points[:, None] - places, axis=-1).min(axis=1)
        np.testing.assert_allclose(handle.distances(float(k), points), expected)
    bare = Handle([0.0], [[1.0, 2.0, 3.0]])
    np.testing.assert_allclose(bare.distances(0.0, points), np.linalg.norm(points - [1.0, 2.0, 3.0], axis=1))


def test_a_clamp_with_places_holds_its_face_and_no_more():
    scene = TwinScene(a_capture(), reconstruct(a_capture()))
    z = scene.model.rest[:, 2]
    np.testing.assert_array_equal(np.sort(scene.held), np.flatnonzero(z > 0.1 - 1e-9))


def test_weights_add_their_mass_where_they_hang():
    """The clamp carries the body and the weights: minus the gradient of gravity's energy, by the mean reaction at rest."""
    heavy, light = a_capture(), a_capture(known=Known(density=1000.0))
    drops = []
    for capture in (heavy, light):
        scene = TwinScene(capture, reconstruct(capture))
        masses = scene.model.parameters.columns(scene.model.column_shapes)["inertia"][0, :, 0]
        drops.append(masses)
    np.testing.assert_allclose(drops[1].sum(), 1000.0 * 0.04 * 0.04 * 0.1)
    added = drops[0] - drops[1]
    np.testing.assert_allclose(added.sum(), 0.4)
    rest = heavy.mesh.points
    np.testing.assert_allclose(added @ rest / 0.4, (0.3 * np.array([0.02, 0.02, 0]) + 0.1 * np.zeros(3)) / 0.4, atol=1e-12)
    assert (added >= 0).all()


def test_tracks_with_known_rest_places_lay_the_body_where_they_are_seen():
    """Seen 4 mm lower than at rest, the block is stretched by as much; its clamped face stays."""
    capture = a_capture()
    moved = np.array(capture.tracks.positions)
    moved[..., 2] -= 0.004 * (1 - moved[..., 2] / 0.1)
    body = reconstruct(a_capture(tracks=SeenTracks(moved, rest=capture.tracks.rest)))
    nodes, weights = body.mesh.interpolation(capture.tracks.rest)
    away = np.einsum("pk,pkc->pc", weights, body.pose[nodes]) - moved[0]
    assert np.linalg.norm(away, axis=1).max() < 1.5e-3
    top = body.points[:, 2] > 0.1 - 1e-9
    np.testing.assert_allclose(body.pose[top], body.points[top], atol=3e-4)


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match=r"tracks.rest"):
        SeenTracks(np.zeros((3, 4, 3)), rest=np.zeros((3, 3)))
    with pytest.raises(InputError, match=r"Handle.places"):
        Handle([0.0], [[0.0, 0, 0]], places=np.zeros((2, 2)))
    assert a_capture().with_frames(np.arange(3)).tracks.rest is not None


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda facts: facts["known"].update(weights=[[0, 0, 0, -1]]), "known.weights"),
        (lambda facts: facts["known"].update(weights=[[0, 0, 0]]), "known.weights"),
        (lambda facts: facts["handles"]["clamp"].update(places=[[0, 0]]), "places"),
        (lambda facts: facts["handles"]["clamp"].update(places="all"), "places"),
    ],
)
def test_files_that_say_it_wrongly_are_refused_by_name(tmp_path, change, word):
    a_capture().save(tmp_path / "block")
    facts = json.loads((tmp_path / "block/capture.json").read_text())
    change(facts)
    (tmp_path / "block/capture.json").write_text(json.dumps(facts))
    with pytest.raises(InputError, match=word):
        Capture.load(tmp_path / "block")


@pytest.mark.parametrize("rest", [np.zeros((3, 3)), np.full((4, 3), np.nan), np.zeros((4, 3), "U3")])
def test_rest_places_of_tracks_that_do_not_fit_are_refused(tmp_path, rest):
    capture = a_capture()
    capture.save(tmp_path / "block")
    np.savez(tmp_path / "block/tracks.npz", xyz=capture.tracks.positions, rest=rest)
    with pytest.raises(InputError, match=r"tracks.npz.*rest"):
        Capture.load(tmp_path / "block")
