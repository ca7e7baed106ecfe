"""The beam demo: what it writes, what it refuses, and that it finds again what our own simulation was made with."""

import json
import re
from dataclasses import replace
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from physsim import cli
from physsim.appearance.run import Run
from physsim.errors import InputError
from physsim.physics.solvers.static import SolverStatic
from physsim.real2sim import beam
from physsim.real2sim import recording as rec
from physsim.real2sim.beam_experiment import Experiment, Measured
from physsim.real2sim.beam_report import plain

YOUNG, VISCOSITY, CELLS = 3.0e5, 700.0, (4, 1, 1)
RELEASE = 10.5  # [s]; the clock of the made recordings does not begin at nought
FACTS = Path(str(resources.files("physsim.assets"))) / "silicone_beam" / "experiment.json"
ERRORS = {"rmse_mm", "rmse_3d_mm", "drop_error_pct", "frequency_error_pct"}


@pytest.fixture(scope="module")
def facts():
    return Experiment.read(FACTS)


def made(facts, weight, multiple, rate, seconds=1.6):
    """A recording of our own beam: held for 0.5 s, a smooth hand down to the turning point, then a free swing; (times, positions)."""
    e = replace(facts, weight=weight)
    simulated = beam.build(e, CELLS, YOUNG, VISCOSITY)
    static = SolverStatic(simulated.model)
    start, _ = static.solve(params={"gravity": multiple * e.gravity})
    half = 0.15
    times = RELEASE - 0.5 + np.arange(round((0.5 + half + seconds) * rate)) / rate
    free = times >= RELEASE + half
    samples = beam.run(simulated, simulated.model.state(start.positions, time=RELEASE + half), times[free], 1 / 400)
    share = np.clip((times - RELEASE) / half, 0, 1)[:, None, None]
    lowest = simulated.observe(start.positions)
    positions = e.points + 0.5 * (1 - np.cos(np.pi * share)) * (lowest - e.points)
    positions[free] = simulated.observe(samples)
    return times, positions


def write_csv(path, markers, times, positions, noise):
    """Columns in reversed order, with one that nobody needs."""
    names = ["frame", *(f"{m}_{axis}_m" for m in markers for axis in "xyz"), "t_s"]
    noisy = positions + 2e-5 * noise.normal(size=positions.shape)
    table = np.column_stack([np.arange(len(times)), noisy.reshape(len(times), -1), times])[:, ::-1]
    np.savetxt(path, table, delimiter=",", header=",".join(names[::-1]), comments="", fmt="%.9f")
    return path


@pytest.fixture(scope="module")
def recordings(facts, tmp_path_factory):
    """Two weights, two sample rates."""
    folder, noise = tmp_path_factory.mktemp("made"), np.random.default_rng(7)
    made_a, made_b = made(facts, 0.10203, 1.6, 100), made(facts, 0.06, 1.5, 60)
    return [write_csv(folder / f"{name}.csv", facts.markers, *m, noise) for name, m in (("heavy", made_a), ("light", made_b))]


@pytest.fixture(scope="module")
def run(recordings, tmp_path_factory):
    """One run through the command's door, with an experiment file that gives the second recording its own weight."""
    folder = tmp_path_factory.mktemp("run")
    data = json.loads(FACTS.read_text())
    data["recordings"] = {
        "heavy": {"file": str(recordings[0]), "release_time": RELEASE},
        "light": {"file": str(recordings[1]), "mass": 0.06},
    }
    experiment = folder / "mine.json"
    experiment.write_text(json.dumps(data))
    words = ["demo", "beam", "--experiment", str(experiment), "--cells", "4", "1", "1", "--quiet", "--out", str(folder / "out")]
    assert cli.main(words) == 0
    return folder / "out"


def test_report_json_has_every_key_and_only_plain_numbers(run):
    data = json.loads((run / "report.json").read_text())
    assert data.keys() >= {"young_pa", "damping_ratio", "young_pa_interval", "damping_ratio_interval", "iterations", "seconds", "statement"}
    for found in (data["fit"], data["heldout"], *data["baselines"].values()):
        assert found.keys() >= ERRORS
        assert all(isinstance(found[key], float) for key in ERRORS)
    assert data["baselines"].keys() == {"pose_held", "residual_carried", "a_replayed"}
    assert len(data["young_pa_interval"]) == len(data["damping_ratio_interval"]) == 2
    assert [s["young_start_pa"] for s in data["starts"]] == [5e4, 2e6]


def test_what_a_recording_was_made_with_is_found_again_and_predicts_another_load(run):
    data = json.loads((run / "report.json").read_text())
    assert data["young_pa"] == pytest.approx(YOUNG, rel=5e-3)
    assert data["viscosity_pa_s"] == pytest.approx(VISCOSITY, rel=0.05)
    assert data["starts_differ_pct"] < 1.0
    assert (data["fit"]["release_known"], data["heldout"]["release_known"]) == (True, False)
    assert data["heldout"]["weight_kg"] == 0.06
    assert data["heldout"]["rmse_mm"] < 0.2
    assert data["heldout"]["frequency_error_pct"] < 1.0
    assert data["heldout"]["rmse_mm"] < 0.2 * data["baselines"]["a_replayed"]["rmse_mm"]


def test_the_page_holds_everything_it_shows(run):
    page = (run / "report.html").read_text()
    addresses = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert addresses
    assert all(a.startswith(("data:", "#")) for a in addresses)
    assert not re.search(r"url\((?!#)|@import|<link|<script", page)
    for words in ("heavy", "light", "95 %", "Dragon Skin 10", "MIT", "What the data determine"):
        assert words in page


def test_the_video_or_its_strip_is_there(run):
    assert any((run / name).stat().st_size > 5_000 for name in ("beam.mp4", "beam.png") if (run / name).exists())


def test_the_run_of_the_prediction_is_there_to_be_viewed(run):
    recorded = Run.load(run / "run")
    (beam,) = recorded.bodies
    assert beam.material.young == pytest.approx(json.loads((run / "report.json").read_text())["young_pa"])
    assert np.median(np.diff(recorded.times)) >= 1 / 61
    held = [recorded.positions(f)[0][beam.held] for f in (0, len(recorded) - 1)]
    assert len(beam.held)
    assert np.array_equal(*held)
    assert beam.masses.sum() > 1.05 * beam.material.density * beam.mesh.volumes().sum()  # the weight at its end is in it


def test_without_a_recording_held_out_there_is_no_section_of_it(recordings, tmp_path, capsys):
    words = ["--fit", str(recordings[1]), "--mass", "0.06", "--fit-seconds", "0.9", "--young-start", "2e5", "--cells", "4", "1", "1"]
    assert cli.main(["demo", "beam", *words, "--quiet", "--out", str(tmp_path / "out")]) == 0
    data = json.loads((tmp_path / "out" / "report.json").read_text())
    assert "heldout" not in data
    assert "baselines" not in data
    assert data["young_pa"] == pytest.approx(YOUNG, rel=0.01)
    assert data["extrapolation"]["rmse_mm"] < 0.2
    assert data["extrapolation"]["phase_error_cycles"] < 0.05
    assert "of a cycle" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d["body"].update(poisson=0.5), "poisson"),
        (lambda d: d["body"].update(density=-1.0), "body.density"),
        (lambda d: d["body"].pop("size"), "'size' is missing"),
        (lambda d: d["markers"][0].update(point=[0.0, 1.0]), "markers"),
        (lambda d: d.update(body=[1]), "wrong kind"),
        (lambda d: d["weight"].update(edge=[[0, 0, 0.02], [0, 0.03, 0.02]]), "weight.edge"),
        (lambda d: d["markers"][0].update(point=[0.2, 0.0, 0.0]), "outside the body"),
        (lambda d: d["body"]["clamped_face"].update(value=0.0), "clamped_face"),
        (lambda d: d.update(gravity=[0, 0, 9.8]), "z must point up"),
        (lambda d: d["recordings"].clear(), "--fit"),
        (lambda d: d["recordings"].update(a={"file": "lost.csv"}), "no such file"),
    ],
)
def test_impossible_experiments_get_one_line_and_exit_code_2(recordings, tmp_path, capsys, change, said):
    data = json.loads(FACTS.read_text())
    data["recordings"] = {"heavy": {"file": str(recordings[0])}}
    change(data)
    (tmp_path / "e.json").write_text(json.dumps(data))
    code = cli.main(["demo", "beam", "--experiment", str(tmp_path / "e.json"), "--cells", "4", "1", "1", "--quiet", "--out", str(tmp_path)])
    told = capsys.readouterr().err
    assert (code, told.count("\n")) == (2, 1)
    assert said in told


def test_recordings_that_cannot_be_used_get_one_line_and_exit_code_2(recordings, tmp_path, capsys):
    def refused(path, said, *words):
        code = cli.main(["demo", "beam", "--fit", str(path), *words, "--cells", "4", "1", "1", "--quiet", "--out", str(tmp_path / "out")])
        told = capsys.readouterr().err
        assert (code, told.count("\n")) == (2, 1)
        assert said in told

    lines = recordings[0].read_text().splitlines()
    bad = tmp_path / "bad.csv"
    bad.write_text("\n".join([lines[0].replace("tip2_y_m", "other"), *lines[1:]]))
    refused(bad, "missing columns tip2_y_m")
    bad.write_text("\n".join(lines[:40]))
    refused(bad, "frames")
    bad.write_text("\n".join([lines[0], *lines[80:]]))
    refused(bad, "release")
    bad.write_bytes(b"\xff\xfe\x00 binary")
    refused(bad, "UTF-8")
    refused(recordings[0], "young_start", "--young-start", "1e12")
    refused(recordings[0], "turning point", "--fit-seconds", "0.1")


def test_a_release_outside_the_recording_is_refused(facts, recordings):
    with pytest.raises(InputError, match="release_time = 1 s: the recording runs from 10 to"):
        Measured.read(recordings[0], facts, release=1.0)


def test_infinite_ends_become_null():
    assert plain({"a": (0.0, np.inf), "b": np.float64(np.nan), "c": np.arange(2), "d": True}) == {
        "a": [0.0, None],
        "b": None,
        "c": [0, 1],
        "d": True,
    }


# The real beam: what the whole of it is for.


@pytest.fixture(scope="module")
def shipped(facts):
    return {name: Measured.read(facts.folder / entry["file"], facts) for name, entry in facts.recordings.items()}


@pytest.fixture(scope="module")
def real_fit(facts, shipped):
    return beam.fit(facts, shipped["a"])


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_real_beam_gives_one_modulus_from_starts_far_apart(real_fit):
    assert 250e3 < real_fit.ends.min() <= real_fit.ends.max() < 300e3
    assert real_fit.ends.max() / real_fit.ends.min() < 1.01


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_second_recording_is_predicted_within_five_per_cent(facts, shipped, real_fit):
    b = shipped["b"]
    predicted, _, _ = beam.predict(facts, b, real_fit.young, real_fit.viscosity)
    found = rec.errors(b.displacements, predicted, b.times, b.release)
    print(found)
    assert found["drop_error_pct"] < 5.0
    assert found["frequency_error_pct"] < 5.0


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_finer_mesh_moves_the_modulus_by_less_than_two_per_cent(facts, shipped, real_fit):
    finer = beam.fit(facts, shipped["a"], young_start=real_fit.young, cells=(10, 3, 3))
    print(real_fit.young, finer.young)
    assert finer.young == pytest.approx(real_fit.young, rel=0.02)


@pytest.mark.slow
def test_at_a_fixed_modulus_drop_and_small_swings_are_those_of_other_codes(facts):
    # E = 263,824 Pa: 26.4 mm between an independent commercial code and quadratic hexahedra, whose small swings run at 3.14 Hz
    simulated = beam.build(facts, None, 263_824.0, 1.0)
    static = SolverStatic(simulated.model)
    rest, _ = static.solve()
    drop = rec.mean_drop((simulated.observe(rest.positions) - simulated.observe(simulated.mesh.points))[None])[0]
    assert drop == pytest.approx(0.0264, rel=0.02)
    raised, _ = static.solve(rest, params={"gravity": 0.97 * facts.gravity})
    times = np.arange(0.0, 1.2, 0.01)
    samples = beam.run(simulated, simulated.model.state(raised.positions), times, 1 / 400)
    swing = rec.damped_cosine(times, rec.mean_drop(simulated.observe(samples)), 0.0, 1.2)
    print(drop, swing.frequency_hz)
    assert swing.frequency_hz == pytest.approx(3.14, rel=0.02)


@pytest.mark.slow
def test_a_fit_to_the_first_second_and_a_half_keeps_the_phase_while_there_is_a_swing(tmp_path):
    # Below 3 % of its first amplitude (half a millimetre) the real beam swings ever faster, at 3.9 Hz where 0.03 mm are left; no single
    # modulus follows it there, and two seconds after the window the accumulated phase says nothing about the fit.
    words = ["--fit-seconds", "1.5", "--young-start", "1e5", "--cells", "4", "1", "1", "--quiet", "--out", str(tmp_path)]
    assert cli.main(["demo", "beam", *words]) == 0
    found = json.loads((tmp_path / "report.json").read_text())["extrapolation"]
    print(found)
    assert found["while_swinging"]["until_s_after_window"] > 0.5
    assert found["while_swinging"]["phase_error_cycles"] < 0.25
