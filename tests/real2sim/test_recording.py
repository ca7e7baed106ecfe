"""Recordings: reading and its errors, release, turning point, damped cosine, errors and baselines."""

from importlib import resources

import numpy as np
import pytest

from physsim.real2sim.recording import (
    Recording,
    a_replayed,
    damped_cosine,
    detect_release,
    errors,
    first_turning_point,
    mean_drop,
    pose_held,
    read_recording,
    recording_from_columns,
    residual_carried,
)

RELEASE = 0.5


def swing(times, release=RELEASE, frequency=3.3, zeta=0.07, drop=0.025):
    """Free release from a held pose: drop [f]."""
    s = np.clip(times - release, 0.0, None)
    w = 2.0 * np.pi * frequency
    d = w * zeta / np.sqrt(1.0 - zeta**2)
    return drop * (1.0 - np.exp(-d * s) * (np.cos(w * s) + d / w * np.sin(w * s)))


def synthetic(noise=2e-5, seed=0, name="synthetic", **kind):
    times = np.arange(600) * 0.01
    positions = np.zeros((600, 3, 3)) + np.array([[0.0, 0.015, 0.03], [0.0, 0.0, 0.024], [0.0, 0.03, 0.006]])
    positions[..., 2] -= swing(times, **kind)[:, None]
    positions += noise * np.random.default_rng(seed).normal(size=positions.shape)
    return Recording(name, times, positions, ("tip1", "tip2", "tip3"))


def write(path, recording, drop_column=None, rows=None):
    header = ["t_s"] + [f"{m}_{axis}_m" for m in recording.markers for axis in "xyz"]
    table = np.concatenate([recording.times[:, None], recording.positions.reshape(len(recording.times), -1)], axis=1)
    keep = [i for i, h in enumerate(header) if h != drop_column]
    lines = [",".join(header[i] for i in keep)] + [",".join(f"{v:.9f}" for v in row[keep]) for row in table[:rows]]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def beam():
    path = resources.files("physsim.assets") / "silicone_beam" / "beam_load101_V2_a.csv"
    if not path.is_file():
        pytest.skip("the silicone beam's recording is not installed")
    return read_recording(path)


def test_a_written_recording_reads_back(tmp_path):
    recording = synthetic()
    read = read_recording(write(tmp_path / "r.csv", recording))
    assert read.markers == recording.markers
    assert read.positions == pytest.approx(recording.positions, abs=1e-9)
    assert read.select("tip2").positions.shape == (600, 1, 3)


def test_bad_files_are_refused_by_name(tmp_path):
    recording = synthetic()
    with pytest.raises(ValueError, match="missing columns tip2_y_m"):
        read_recording(write(tmp_path / "a.csv", recording, drop_column="tip2_y_m"))
    with pytest.raises(ValueError, match="30 frames"):
        read_recording(write(tmp_path / "b.csv", recording, rows=30))
    path = write(tmp_path / "c.csv", recording)
    lines = path.read_text().splitlines()
    lines[100] = lines[100].replace(lines[100].split(",")[4], "", 1)
    path.write_text("\n".join(lines))
    with pytest.raises(ValueError, match=r"gaps.*tip2, x, frame 99"):
        read_recording(path)
    lines[100] = "1.0,2.0"
    path.write_text("\n".join(lines))
    with pytest.raises(ValueError, match="columns"):
        read_recording(path)
    with pytest.raises(ValueError, match="missing columns tip9_x_m"):
        read_recording(write(tmp_path / "d.csv", recording), markers=["tip9"])


def test_bad_times_and_units_are_refused():
    good = synthetic()
    with pytest.raises(ValueError, match="millimetres"):
        Recording("r", good.times, good.positions * 1e3 + 50.0, good.markers)
    with pytest.raises(ValueError, match="kilometres"):
        Recording("r", good.times, good.positions * 1e-3, good.markers)
    with pytest.raises(ValueError, match="seconds are expected"):
        Recording("r", good.times * 1e3, good.positions, good.markers)
    times = good.times.copy()
    times[7] = times[6]
    with pytest.raises(ValueError, match="frame 7"):
        Recording("r", times, good.positions, good.markers)
    with pytest.raises(ValueError, match="must be"):
        Recording("r", good.times, good.positions[:-1], good.markers)
    with pytest.raises(ValueError, match="no marker"):
        good.select("base")
    with pytest.raises(ValueError, match="missing columns"):
        recording_from_columns("r", {"time": good.times})


def test_a_release_is_found_despite_noise_and_a_twitch_of_the_hand():
    recording = synthetic(noise=1e-4, seed=5)
    assert detect_release(recording.times, recording.positions) == pytest.approx(RELEASE, abs=0.03)
    twitch = recording.positions.copy()
    twitch[20:24, :, 2] += 5e-4
    assert detect_release(recording.times, twitch) == pytest.approx(RELEASE, abs=0.03)
    with pytest.raises(ValueError, match="no release"):
        detect_release(recording.times, np.zeros_like(twitch))
    with pytest.raises(ValueError, match="longer reference"):
        recording.displacements(release=0.001)


def test_displacements_start_at_nought_and_end_at_the_drop():
    recording = synthetic()
    u = recording.displacements(RELEASE)
    assert np.abs(u[:50].mean(axis=0)).max() < 2e-5
    assert mean_drop(u)[-60:].mean() == pytest.approx(0.025, rel=1e-3)
    assert (recording.rest_pose() - recording.held_pose(RELEASE))[:, 2] == pytest.approx(-0.025, rel=2e-3)


def test_the_first_turning_point_is_half_a_period_after_the_release():
    recording = synthetic(noise=0.0)
    at, value = first_turning_point(recording.times, mean_drop(recording.displacements(RELEASE)), RELEASE)
    assert at == pytest.approx(RELEASE + 0.5 / 3.3, abs=1e-3)
    assert value == pytest.approx(0.025 * (1.0 + np.exp(-np.pi * 0.07 / np.sqrt(1.0 - 0.07**2))), rel=1e-3)
    upwards = first_turning_point(recording.times, -mean_drop(recording.displacements(RELEASE)), RELEASE)
    assert upwards == pytest.approx((at, -value))
    with pytest.raises(ValueError, match="does not turn"):
        first_turning_point(recording.times, np.linspace(0.0, 1.0, 600), RELEASE)


@pytest.mark.parametrize(("frequency", "zeta"), [(0.9, 0.02), (3.36, 0.067), (12.0, 0.01), (3.0, 0.3)])
def test_a_damped_cosine_is_recovered(frequency, zeta):
    times = np.arange(300) * 0.01
    omega = 2.0 * np.pi * frequency
    d = omega * zeta / np.sqrt(1.0 - zeta**2)
    s = times - 0.3
    values = 5.0 + 2.0 * np.exp(-d * s) * np.cos(omega * s + 0.7)
    fit = damped_cosine(times, values, 0.3, 1.5)
    assert (fit.frequency_hz, fit.damping_ratio) == pytest.approx((frequency, zeta), rel=1e-5)
    assert (fit.offset, fit.amplitude, fit.phase) == pytest.approx((5.0, 2.0, 0.7), rel=1e-5)
    assert fit.rmse < 1e-6


def test_a_curve_that_stands_still_has_frequency_nought():
    fit = damped_cosine(np.arange(200) * 0.01, np.full(200, 0.02), 0.0, 1.5)
    assert (fit.frequency_hz, fit.amplitude, fit.offset) == (0.0, 0.0, pytest.approx(0.02))
    with pytest.raises(ValueError, match="needs 8"):
        damped_cosine(np.arange(5) * 0.01, np.zeros(5), 0.0)


def test_errors_are_nought_for_the_truth_and_known_for_a_shift():
    recording = synthetic(noise=0.0)
    u = recording.displacements(RELEASE)
    nothing = {"rmse_mm": 0.0, "rmse_3d_mm": 0.0, "drop_error_pct": 0.0, "frequency_error_pct": 0.0}
    assert errors(u, u, recording.times, RELEASE) == nothing
    shifted = u + np.array([0.0, 0.003, 0.004])
    found = errors(u, shifted, recording.times, RELEASE)
    assert (found["rmse_mm"], found["rmse_3d_mm"]) == pytest.approx((4.0, 5.0))
    assert errors(u, shifted, recording.times, RELEASE, components="yz")["rmse_mm"] == pytest.approx(5.0)
    late = np.where(recording.times[:, None, None] > 2.0, shifted, u)
    assert errors(u, late, recording.times, RELEASE, judge_until=2.0)["rmse_mm"] == 0.0
    assert found["drop_error_pct"] == pytest.approx(100.0 * 0.004 / 0.025, rel=1e-3)
    assert found["frequency_error_pct"] == pytest.approx(0.0, abs=1e-6)
    faster = synthetic(noise=0.0, frequency=3.465).displacements(RELEASE)
    assert errors(u, faster, recording.times, RELEASE)["frequency_error_pct"] == pytest.approx(5.0, rel=1e-3)
    with pytest.raises(ValueError, match="NaN"):
        errors(u, np.full_like(u, np.nan), recording.times, RELEASE)
    with pytest.raises(ValueError, match="components"):
        errors(u, u, recording.times, RELEASE, components="up")


def test_a_recording_too_short_to_swing_has_no_frequency():
    recording = synthetic(noise=0.0)
    short = recording.times < RELEASE + 0.33
    u = recording.displacements(RELEASE)[short]
    found = errors(u, u, recording.times[short], RELEASE)
    assert np.isnan(found["frequency_error_pct"])
    assert found["drop_error_pct"] == 0.0


def test_columns_may_stand_in_another_order_and_have_other_names(tmp_path):
    recording = synthetic()
    lines = [line.split(",") for line in write(tmp_path / "r.csv", recording).read_text().splitlines()]
    lines[0][0] = "seconds"
    (tmp_path / "r.csv").write_text("\n".join(",".join(reversed(cells)) for cells in lines))
    read = read_recording(tmp_path / "r.csv", markers=list(recording.markers), renamed={"seconds": "t_s"})
    assert read.positions == pytest.approx(recording.positions, abs=1e-9)


def test_the_baselines_do_what_they_say():
    recording, other = synthetic(noise=0.0), synthetic(noise=0.0, release=0.57)
    times, u = recording.times, recording.displacements(RELEASE)
    v = other.displacements(0.57)
    turn = first_turning_point(times, mean_drop(u), RELEASE)[0]
    other_turn = first_turning_point(times, mean_drop(v), 0.57)[0]
    assert turn - other_turn == pytest.approx(-0.07, abs=1e-3)
    held = pose_held(u, times, 1.0)
    assert np.array_equal(held[:101], u[:101])
    assert (held[100:] == u[100]).all()
    assert errors(u, pose_held(u, times, turn), times, RELEASE)["frequency_error_pct"] == pytest.approx(100.0)
    carried = residual_carried(u, u + 0.001, times, 1.0)
    assert carried == pytest.approx(u)
    replayed = a_replayed(v, times, other_turn, times, turn)
    assert np.abs(replayed - u).max() < 2e-4
    assert errors(u, replayed, times, RELEASE)["rmse_mm"] < 0.1


def test_the_silicone_beam_says_what_its_description_says(beam):
    tips = beam.select("tip")
    release = detect_release(tips.times, tips.positions)
    assert release == pytest.approx(0.52, abs=0.02)
    drop = mean_drop(tips.displacements(release))
    assert drop[-60:].mean() == pytest.approx(0.0261, abs=1e-4)
    fit = damped_cosine(tips.times, drop, release + 0.3, 1.5)
    assert fit.frequency_hz == pytest.approx(3.36, abs=0.005)
    assert fit.damping_ratio == pytest.approx(0.067, abs=0.001)
    at, value = first_turning_point(tips.times, drop, release)
    assert at - release == pytest.approx(0.152, abs=0.005)
    # The hand is still in the release: it overshoots by 14 mm where a free one would by 20.
    assert value - drop[-60:].mean() == pytest.approx(0.0139, abs=2e-4)
