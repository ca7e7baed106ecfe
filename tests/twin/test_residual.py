"""A residual correction learns what is smooth and lasting, says so where there is nothing to learn, and looks at fitted frames only."""

import numpy as np
import pytest
from made_captures import block, capture_of, scene_of, slid

import physsim as ps
from physsim.errors import InputError
from physsim.twin.judge import judge
from physsim.twin.residual import ResidualCorrection, fit_residual, smooth_modes

TIMES = np.arange(18) * 0.1
FIT, TEST = np.arange(12), np.arange(12, 18)
WAY = np.stack([0.02 * np.sin(4 * TIMES), np.zeros(18), 0.02 * (1 - np.cos(3 * TIMES))], axis=1)
HAND = ps.Handle(TIMES, WAY)


def corrected(off, noise=0.0, tracks=True):
    """Errors of a twin that is off by `off` [f, n, 3] of the truth, without and with a correction, and the correction."""
    mesh = block()
    truth = mesh.points + WAY[:, None]
    capture, association = capture_of(mesh, truth, TIMES, {"hand": HAND}, noise=noise, fit=FIT, test=TEST)
    scene, positions = scene_of(mesh), truth + off
    before = judge(capture, scene, positions, association=association)
    correction = fit_residual(capture, scene, positions, simulated=before.simulated if tracks else None)
    after = judge(capture, scene, correction.apply(positions, TIMES, capture.handles), association=association)
    return before, after, correction


def test_a_bend_that_goes_with_the_handle_is_learned():
    shape = (block().points[:, 0] / 0.04) ** 2
    off = 0.3 * WAY[:, None, :1] * shape[:, None] * np.array([0.0, 0.0, 1.0])
    before, after, correction = corrected(off)
    assert correction.kind == "handles"
    assert after.mean("track").value < 0.2 * before.mean("track").value


def test_an_offset_is_taken_away_from_tracks_and_from_the_cloud_alone():
    for tracks in (True, False):
        before, after, correction = corrected(np.array([0.0, 0.004, 0.0]), noise=2e-4, tracks=tracks)
        assert correction.kind in ("carried", "constant", "handles")
        assert after.mean("chamfer").value < 0.3 * before.mean("chamfer").value


def test_noise_alone_is_hardly_corrected():
    before, after, correction = corrected(0.0, noise=1e-3)
    assert after.mean("track").value < 1.05 * before.mean("track").value
    assert min(correction.trials.values()) > 0.9 * correction.trials["none"]


def test_held_out_frames_do_not_change_what_is_learned():
    mesh = block()
    truth = mesh.points + WAY[:, None]
    capture, _ = capture_of(mesh, truth, TIMES, {"hand": HAND}, fit=FIT, test=TEST)
    positions = truth + [0.0, 0.003, 0.0]
    first = fit_residual(capture, scene_of(mesh), positions, simulated=positions[:, :20])
    positions[TEST] += 0.05
    again = fit_residual(capture, scene_of(mesh), positions, simulated=positions[:, :20])
    assert np.array_equal(first.coefficients, again.coefficients)


def test_a_correction_is_the_same_after_it_was_told_as_numbers():
    _, _, correction = corrected(np.array([0.0, 0.004, 0.0]))
    again = ResidualCorrection.from_dict(correction.as_dict())
    assert np.array_equal(again.displacements(TIMES, {"hand": HAND}), correction.displacements(TIMES, {"hand": HAND}))
    with pytest.raises(InputError, match="damaged"):
        ResidualCorrection.from_dict({"kind": "none"})
    with pytest.raises(InputError, match="handle 'hand'"):
        correction.displacements(TIMES, {})


def test_modes_are_orthogonal_smooth_first_and_of_mean_square_one():
    mesh = ps.box_mesh((0.4, 0.1, 0.1), (16, 5, 5))
    modes = smooth_modes(mesh, len(mesh.points))
    assert modes.T @ modes / len(modes) == pytest.approx(np.eye(8), abs=1e-6)
    assert np.ptp(modes[:, 0]) < 1e-6
    assert abs(np.corrcoef(modes[:, 1], np.cos(np.pi * mesh.points[:, 0] / 0.4))[0, 1]) > 0.98  # the first along the longest side


def test_too_few_frames_are_refused():
    mesh = block()
    capture, _ = capture_of(mesh, slid(mesh, TIMES[:4], (0, 0, 0)), TIMES[:4], fit=np.arange(3), test=np.array([3]))
    with pytest.raises(InputError, match="3 fitted frames hold data"):
        fit_residual(capture, scene_of(mesh), slid(mesh, TIMES[:4], (0, 0, 0)))
