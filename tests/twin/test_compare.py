"""A twin's asset held against captures: the one that was fitted, another recording, and what cannot be compared."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

import physsim as ps
from physsim.cli import main
from physsim.errors import InputError
from physsim.twin import trivial
from physsim.twin.body import reconstruct
from physsim.twin.compare import begun_only, compare
from physsim.twin.judged import judge_twin
from physsim.twin.rebuild import twin_asset
from physsim.twin.report import with_error
from physsim.twin.results import TwinFit
from physsim.twin.scene import TwinScene
from physsim.twin.twin_file import twin_of, with_twin

TIMES = np.arange(31) / 30
YOUNG = 6e3


def bar():
    return ps.box_mesh((0.12, 0.03, 0.03), (6, 2, 2))


def recording(rate=6.0, name="a", noise=5e-4, seed=0):
    """A bar that a handle at its left end moves up and down, as tracks of its surface; simulated by a scene like the twin's own."""
    way = np.stack([0 * TIMES, 0 * TIMES, 0.03 * np.sin(rate * TIMES) * TIMES], axis=1)
    mesh = bar()
    hand = ps.Handle(TIMES, np.array([0.0, 0.015, 0.015]) + way, radius=0.022)
    nothing = ps.SeenTracks(np.tile(mesh.points, (len(TIMES), 1, 1)))
    capture = ps.Capture(TIMES, tracks=nothing, mesh=mesh, handles={"hand": hand}, kind="solid", gravity=np.zeros(3), name=name)
    scene, fit = fitted(capture)
    from physsim.twin.identification import predict

    chosen = np.unique(mesh.surface())[::3]
    seen = predict(scene, fit)[:, chosen] + noise * np.random.default_rng(seed).standard_normal((len(TIMES), len(chosen), 3))
    return replace(capture, tracks=ps.SeenTracks(seen))


def fitted(capture, young=YOUNG):
    """A scene and a fit as identification would hand them on."""
    body = reconstruct(capture)
    scene = TwinScene(capture, body, ps.NeoHookean(young, 0.35, 300.0, 20.0))
    rest = scene.state().x.numpy().reshape(-1, 3)
    p = scene.parameters["young"]
    settings = {p.name: np.full(p.shape, young)}
    fit = TwinFit({"young": young}, {"young": "Pa"}, {"young": (0.9 * young, 1.1 * young)}, {}, 0.95, settings, (rest, 0 * rest), 0.0)
    return scene, fit


@pytest.fixture(scope="module")
def capture():
    return recording()


@pytest.fixture(scope="module")
def asset(capture):
    return twin_asset(*fitted(capture), name="bar")


def test_the_held_out_frames_of_the_fitted_capture_are_predicted_from_the_fitted_start(asset, capture):
    judged, _, _, notes = compare(asset, capture)
    assert judged.judgement.mean("track").frames == len(capture.test)
    assert judged.judgement.mean("track").value < 1.3e-3  # noise of 0.5 mm an axis alone gives 0.8 mm
    assert judged.judgement.ratio("track") < 0.5
    assert "the one that was fitted" in notes[0]


def test_another_recording_begins_from_its_first_frames_and_all_others_are_predicted(asset):
    other = recording(rate=9.0, name="b", seed=1)
    judged, scene, _, notes = compare(asset, other)
    assert "not the one that was fitted (a)" in notes[0]
    assert scene.capture.fit.tolist() == list(range(16))
    assert judged.judgement.mean("track").frames == 15
    assert judged.judgement.ratio("track") < 0.5


def test_a_recording_that_begins_in_the_middle_of_a_motion_is_begun_with_its_speed(asset):
    late = recording(rate=9.0, name="b", seed=1).with_frames(np.arange(8, 31))
    judged, scene, fit, _ = compare(asset, late)
    assert np.abs(fit.start[1]).max() > 0.05  # [m/s]
    assert judged.judgement.mean("track").value < 1.8e-3  # noise alone gives 0.8 mm
    begun = judged.judgement.mean("track", part="fit").value
    assert begun < 1.25 * 5e-4 * np.sqrt(8 / np.pi)  # the noise's mean length
    still = judge_twin(scene, replace(fit, start=(fit.start[0], 0 * fit.start[1])))
    assert still.judgement.mean("track", part="fit").value > 1.5 * begun


def test_cameras_and_clock_that_the_fit_found_apart_are_apart_in_another_recording_too(asset, late=0.03):
    turn, shift = Rotation.from_rotvec([0.03, -0.05, 0.04]).as_matrix(), np.array([0.02, -0.01, 0.015])
    other = recording(rate=9.0, name="b", seed=1).with_frames(np.arange(8, 31))
    seen = ps.SeenTracks((other.tracks.positions - shift) @ turn)  # in a world of the cameras' own, by a clock of their own
    other = replace(other, times=other.times - late, tracks=seen)
    twin = twin_of(asset)
    apart = with_twin(asset, replace(twin, fit=replace(twin.fit, camera_pose=(turn, shift), time_offset=late)))
    told = compare(apart, other)[0].judgement.mean("track").value
    ignored = compare(asset, other)[0].judgement.mean("track").value
    assert told < 1.8e-3, (told, ignored)  # noise alone gives 0.8 mm
    assert ignored > 2.0 * told


def test_the_command_writes_a_report_with_the_table_that_it_prints(asset, capture, tmp_path, capsys):
    asset.save(tmp_path / "twin")
    capture.save(tmp_path / "capture")
    assert main(["compare", str(tmp_path / "twin"), str(tmp_path / "capture"), "--out", str(tmp_path / "out")]) == 0
    told = capsys.readouterr().out
    numbers = json.loads((tmp_path / "out" / "report.json").read_text())
    assert numbers["kind"] == "compare"
    mean = numbers["judgement"]["means"]["test"]["twin"]["track"]
    assert with_error(1e3 * mean["value"], 1e3 * mean["error"]) in told
    assert trivial.HELD in told and "the best trivial predictor" in told
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Twin against a" in page and "the one that was fitted" in page


def test_what_cannot_be_compared_is_said(asset, capture, tmp_path, capsys):
    plain = ps.Asset("bar", bar(), ps.NeoHookean(1e4, 0.3, 300.0))
    with pytest.raises(InputError, match="physsim fit"):
        compare(plain, capture)
    sheet = replace(capture, kind="sheet", mesh=None, name="cloth")
    with pytest.raises(InputError, match="'cloth' shows a sheet; the asset is a solid"):
        compare(asset, sheet)
    plain.save(tmp_path / "plain")
    capture.save(tmp_path / "capture")
    assert main(["compare", str(tmp_path / "plain"), str(tmp_path / "capture")]) == 2
    assert "twin.json" in capsys.readouterr().err


def test_a_recording_begins_where_it_holds_data(capture):
    seen = capture.tracks.positions.copy()
    seen[:5] = np.nan
    late = begun_only(replace(capture, tracks=ps.SeenTracks(seen)), 0.1)
    assert late.fit.tolist() == [5, 6, 7, 8]
    assert late.test.tolist() == list(range(9, 31))
    with pytest.raises(InputError, match="3 frames hold"):
        begun_only(replace(capture, tracks=ps.SeenTracks(np.where(np.arange(31)[:, None, None] < 3, seen[10], np.nan))), 0.1)
