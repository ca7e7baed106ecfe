"""Judgement of positions that are known against captures that were made of them."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from made_captures import block, capture_of, scene_of, slid
from scipy.spatial.transform import Rotation

import physsim as ps
from physsim.errors import InputError
from physsim.report.json_file import plain
from physsim.twin import trivial
from physsim.twin.judge import judge
from physsim.twin.judgement import TWIN, block_error

TIMES = np.arange(9) * 0.1
FIT, TEST = np.arange(6), np.arange(6, 9)


def made(velocity=(0.05, 0, 0), **options):
    mesh = block()
    positions = slid(mesh, TIMES, velocity)
    capture, association = capture_of(mesh, positions, TIMES, fit=FIT, test=TEST, **options)
    return mesh, positions, capture, association


def test_a_perfect_twin_has_no_error_and_the_last_frame_held_is_off_by_the_way_moved():
    mesh, positions, capture, association = made()
    found = judge(capture, scene_of(mesh), positions, association=association)
    for metric in ("track", "track_median", "track_all", "chamfer", "depth"):
        assert found.mean(metric).value == pytest.approx(0.0, abs=2e-7)
    assert found.mean("iou").value == 1.0
    assert found.mean("chamfer_two_way").value < 1e-6  # both are at the pixels' centres
    assert found.series("track", trivial.HELD)[6:] == pytest.approx([0.005, 0.010, 0.015])
    assert np.isnan(found.series("track", trivial.HELD)[:6]).all()
    assert found.best_trivial("track") == trivial.HELD
    assert found.ratio("track") < 1e-4
    assert found.part == "test" and found.mean("track", part="fit").frames == 6


def test_an_offset_along_the_view_is_the_depth_error_and_the_chamfer_and_the_carried_residual_removes_it():
    mesh, positions, capture, association = made(velocity=(0, 0, 0))
    off = positions + [0.0, 0.003, 0.0]
    found = judge(capture, scene_of(mesh), off, association=association)
    assert found.mean("track").value == pytest.approx(0.003)
    assert found.mean("depth").value == pytest.approx(0.003, abs=1e-6)
    assert found.mean("chamfer").value == pytest.approx(0.003, abs=1e-5)
    assert found.mean("track", trivial.CARRIED).value == pytest.approx(0.0, abs=1e-7)
    assert found.mean("chamfer", trivial.CARRIED).value == pytest.approx(0.0, abs=2e-4)


def test_the_held_cloud_counts_where_the_held_simulation_is_worse():
    mesh, positions, capture, association = made(velocity=(0, 0, 0))
    found = judge(capture, scene_of(mesh), positions + [0.0, 0.02, 0.0], association=association)
    assert found.mean("chamfer", trivial.HELD).value == pytest.approx(0.0, abs=1e-6)  # nothing moved: the measured cloud is right


def test_a_handle_that_carries_the_body_makes_control_the_best_trivial_predictor():
    hand = ps.Handle(TIMES, TIMES[:, None] * np.array([0.05, 0, 0]))
    mesh, positions, capture, association = made(handles={"hand": hand})
    found = judge(capture, scene_of(mesh), positions, association=association)
    assert found.best_trivial("track") == trivial.CONTROL
    assert found.mean("track", trivial.CONTROL).value < 2e-4
    assert found.mean("chamfer", trivial.CONTROL).value < 2e-4


def test_tracks_are_tied_to_the_nearest_material_points_where_nobody_says_to_which():
    mesh, positions, capture, _ = made()
    found = judge(capture, scene_of(mesh), positions)
    assert found.mean("track").value < 1e-6
    assert found.simulated.shape == (9, found.tracks, 3)


def test_tracks_that_no_fitted_frame_shows_are_not_judged():
    mesh, positions, capture, _ = made()
    seen = np.where(np.isin(np.arange(9), TEST)[:, None, None], capture.tracks.positions, np.nan)
    found = judge(ps.Capture(TIMES, tracks=ps.SeenTracks(seen), fit=FIT, test=TEST), scene_of(mesh), positions)
    assert found.tracks == 0 and found.mean("track").frames == 0
    assert "were not seen on the body" in found.remarks[0]


def test_tracks_that_strayed_are_set_aside_and_counted():
    mesh, positions, capture, association = made()
    seen = capture.tracks.positions.copy()
    seen[6:, 4] += [0.0, 0.0, 0.2]
    wrong = ps.Capture(TIMES, tracks=ps.SeenTracks(seen), fit=FIT, test=TEST)
    found = judge(wrong, scene_of(mesh), positions, association=association)
    assert found.mean("track").value == pytest.approx(0.0, abs=1e-9)
    assert found.mean("track_all").value == pytest.approx(0.2 / found.tracks)
    assert found.strayed == pytest.approx(3 / (9 * found.tracks))


def test_the_pose_and_clock_of_the_cameras_that_a_fit_found_are_used_for_the_handles():
    turn, shift = Rotation.from_rotvec([0.1, -0.2, 0.3]).as_matrix(), np.array([0.3, 0.1, -0.2])
    way = TIMES[:, None] * np.array([0.05, 0, 0])
    hand = ps.Handle(
        TIMES + 0.4, way @ turn.T + shift, np.tile(turn, (9, 1, 1))
    )  # the same motion, in the world and on the clock of the hand
    mesh, positions, capture, association = made(handles={"hand": hand})
    fit = SimpleNamespace(camera_pose=(turn, shift), time_offset=0.4, noise={"depth": 0.002})
    found = judge(capture, scene_of(mesh), positions, association=association, fit=fit)
    assert found.mean("track", trivial.CONTROL).value < 2e-4
    assert found.mean("track").value < 1e-6
    assert found.depth_noise == 0.002


def test_tracks_are_tied_by_several_frames_so_that_noise_of_one_does_not_stay():
    mesh, positions, capture, association = made(noise=1e-3)
    known = judge(capture, scene_of(mesh), positions, association=association).mean("track").value
    found = judge(capture, scene_of(mesh), positions)
    assert known == pytest.approx(1e-3 * np.sqrt(8 / np.pi), rel=0.15)  # of a normal vector in space
    assert found.mean("track").value < 1.15 * known  # tied by one frame it would be 1.4 times that


def test_tracks_of_something_else_are_not_judged():
    mesh, positions, capture, _ = made()
    seen = capture.tracks.positions.copy()
    seen[:, 2] += [0.0, 0.0, 0.1]
    wall = ps.Capture(TIMES, tracks=ps.SeenTracks(seen), fit=FIT, test=TEST)
    found = judge(wall, scene_of(mesh), positions)
    assert found.tracks == seen.shape[1] - 1
    assert found.mean("track_all").value < 1e-6


def test_another_recording_is_replayed():
    mesh, positions, capture, association = made()
    again, _ = capture_of(mesh, slid(mesh, TIMES, (0.05, 0, 0.01)), TIMES + 3.0)
    found = judge(capture, scene_of(mesh), positions, association=association, replay=again)
    assert found.series("track", trivial.REPLAYED)[6:] == pytest.approx([0.006, 0.007, 0.008])
    assert found.mean("chamfer", trivial.REPLAYED).frames == 3


def test_points_without_cameras_have_no_two_way_chamfer_and_the_reason_is_said():
    mesh, positions, *_ = made()
    inside = [x[np.unique(mesh.surface())] for x in positions]
    capture = ps.Capture(TIMES, points=inside, fit=FIT, test=TEST)
    found = judge(capture, scene_of(mesh), positions)
    assert found.metrics == ("chamfer", "chamfer_l1")
    assert found.mean("chamfer").value == pytest.approx(0.0, abs=1e-9)
    assert any("two-way" in remark for remark in found.remarks)


def test_a_rod_is_judged_to_its_surface():
    line = np.column_stack([np.linspace(0, 0.2, 21), np.zeros((21, 2))])
    mesh = ps.Curve(line, framed=False)
    around = line[3:-3] + [0, 0.005, 0]
    capture = ps.Capture([0.0, 1.0], points=[around, around], fit=np.array([0]), test=np.array([1]))
    found = judge(capture, scene_of(mesh, thickness=0.01), np.stack([mesh.points] * 2))
    assert found.mean("chamfer").value < 5e-4  # a prism of eight sides


def test_a_judgement_is_numbers_that_json_takes():
    mesh, positions, capture, association = made()
    told = json.loads(json.dumps(plain(judge(capture, scene_of(mesh), positions, association=association).as_dict()), allow_nan=False))
    assert told["means"]["test"][TWIN]["track"]["frames"] == 3
    assert told["best_trivial"]["track"] == trivial.HELD
    assert len(told["series"][TWIN]["chamfer"]) == 9


def test_the_error_of_a_mean_grows_with_correlation_as_it_should():
    rng = np.random.default_rng(5)
    found, truth = [], []
    for _ in range(60):
        noise, series = rng.standard_normal(4096), np.zeros(4096)
        for t in range(1, 4096):
            series[t] = 0.9 * series[t - 1] + noise[t]
        found.append(block_error(series))
        truth.append(series.mean())
    assert np.mean(found) == pytest.approx(np.std(truth), rel=0.5)
    assert np.mean(found) > 3.0 * np.sqrt(1 / (1 - 0.81) / 4096)  # what independent frames would give
    white = rng.standard_normal(400)
    assert block_error(white) < 2.0 / np.sqrt(400)
    assert np.isnan(block_error(white[:1]))


def test_long_captures_are_judged_in_frames_chosen_evenly_and_tracks_in_all():
    mesh, positions, capture, association = made(velocity=(0.05, 0, 0), noise=1e-3)
    found = judge(capture, scene_of(mesh), positions, association=association, most_frames=2)
    assert np.flatnonzero(np.isfinite(found.series("chamfer"))).tolist() == [0, 5, 6, 8]
    assert found.mean("track").frames == 3 and found.mean("iou").frames == 2
    assert found.mean("chamfer", trivial.HELD).frames == 2
    assert "4 of 9 frames" in found.remarks[0]


def test_the_chamfer_is_told_in_units_of_the_noise():
    mesh, positions, capture, association = made(noise=1e-3)
    found = judge(
        capture,
        scene_of(mesh),
        positions,
        association=association,
        fit=SimpleNamespace(camera_pose=(np.eye(3), np.zeros(3)), time_offset=0.0, noise={"depth front": 1e-3}),
    )
    assert found.chamfer_over_noise == pytest.approx(np.sqrt(2 / np.pi), rel=0.1)


def test_positions_that_do_not_fit_are_refused():
    mesh, positions, capture, _ = made()
    with pytest.raises(InputError, match=r"shape \[8, 45, 3\]; \[9, at least 45, 3\] is needed"):
        judge(capture, scene_of(mesh), positions[1:])
    with pytest.raises(InputError, match="must increase"):
        judge(capture, scene_of(mesh), positions[:2], [3, 3])
    with pytest.raises(InputError, match="no fitted frame is among them"):
        judge(capture, scene_of(mesh), positions[6:], [6, 7, 8])
