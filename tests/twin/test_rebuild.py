"""A fit comes back from its asset's folder as a scene that predicts the same, in the capture that was fitted and in another one."""

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from painted_beams import DENSITY, YOUNG, beam

import physsim as ps
from physsim import InputError
from physsim.appearance.asset import Asset
from physsim.twin.body import reconstruct
from physsim.twin.fingerprint import capture_fingerprint
from physsim.twin.identification import identify_twin, predict
from physsim.twin.rebuild import rebuilt, twin_asset
from physsim.twin.scene import TwinScene
from physsim.twin.twin_file import twin_of


@lru_cache
def fitted():
    """(film, scene, fit) from its tracks alone."""
    film = beam()
    bare = replace(film.capture, depth={}, mask={}, colour={})
    scene = TwinScene(bare, reconstruct(bare))
    return film, scene, identify_twin(scene)


def test_the_fit_finds_the_beams_stiffness():
    _, _, fit = fitted()
    assert fit.values["young"] == pytest.approx(YOUNG, rel=0.05)


def test_the_rebuilt_scene_predicts_to_the_last_digit(tmp_path):
    _, scene, fit = fitted()
    asset = Asset.load(twin_asset(scene, fit).save(tmp_path / "a"))
    again, found = rebuilt(asset, scene.capture)
    np.testing.assert_array_equal(predict(again, found), predict(scene, fit))
    assert float(np.mean(asset.material.young)) == pytest.approx(fit.values["young"])
    assert asset.name == "beam" and twin_of(asset).capture["name"] == "beam"


def test_another_recording_is_predicted_from_its_own_start(tmp_path):
    film, scene, fit = fitted()
    asset = Asset.load(twin_asset(scene, fit).save(tmp_path / "a"))
    moved = np.array([0.3, -0.2, 0.1])
    handle, lens = film.capture.handles["clamp"], film.capture.cameras["front"]
    clamp = ps.Handle(handle.times, handle.positions + moved, radius=handle.radius)
    parts = {
        "cameras": {"front": replace(lens, translation=lens.translation - lens.rotation @ moved)},
        "tracks": ps.SeenTracks(film.capture.tracks.positions + moved),
        "handles": {"clamp": clamp},
        "colour": {},
        "mesh": None,
        "name": "other",
    }
    other = replace(film.capture, **parts, fit=np.arange(8), test=np.arange(8, 24))
    again, found = rebuilt(asset, other)
    error = np.linalg.norm(predict(again, found) - (film.positions + moved), axis=2).mean(axis=1)
    print(error)
    assert error.mean() < 4e-3  # [m], of a motion of 4 cm


def test_captures_are_told_apart_by_what_they_hold_not_by_their_names():
    film = beam()
    own = capture_fingerprint(film.capture)
    assert capture_fingerprint(replace(film.capture, name="copy", source="elsewhere")) == own
    shifted = [d + np.float32(1e-3) for d in film.capture.depth["front"]]
    others = {
        "times": film.capture.times + 1e-3,
        "depth": {"front": shifted},
        "mask": {},
        "tracks": None,
        "mesh": None,
        "known": ps.Known(density=DENSITY),
        "gravity": np.array([0.0, 0.0, -9.8]),
        "handles": {},
        "test": np.arange(20, 24),
        "noise": {"depth": 0.002},
    }
    hand = next(iter(film.capture.handles.values()))
    others |= {"handles, touching elsewhere": {"clamp": replace(hand, places=np.ones((2, 3)))}}
    found = {name: capture_fingerprint(replace(film.capture, **{name.split(",")[0]: value})) for name, value in others.items()}
    assert len({own, *found.values()}) == len(found) + 1


def test_an_asset_that_was_not_fitted_is_refused():
    film = beam()
    with pytest.raises(InputError, match="physsim fit"):
        rebuilt(Asset("beam", film.mesh, film.material), film.capture)
