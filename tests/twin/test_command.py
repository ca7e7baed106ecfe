"""physsim fit: from a folder to an asset; a killed fit ends as an unbroken one; wrong input ends in one line."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from painted_beams import YOUNG, beam

import physsim as ps
from physsim import InputError, cli
from physsim.appearance.asset import Asset
from physsim.appearance.run import Run
from physsim.twin.command import fit_capture, main
from physsim.twin.fit_job import enough_to_fit
from physsim.twin.options import FitRequest, checked_output, known_values
from physsim.twin.twin_file import twin_of
from physsim.twin.work import Work, alone

SMALL = {"frames": 14, "size": (64, 48), "cells": (4, 1, 1)}


def small(seed=1):
    """Tracks and pictures of a beam of 20 points: 9 frames to fit and 5 held out."""
    film = beam(**SMALL, seed=seed)
    return replace(film, capture=replace(film.capture, depth={}, mask={}))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder of `small`."""
    place = tmp_path_factory.mktemp("captures") / "beam"
    small().capture.save(place)
    return place


@pytest.fixture(scope="module")
def fitted(folder, tmp_path_factory):
    """(asset's folder, Fitted, page) of an unbroken fit."""
    out = tmp_path_factory.mktemp("assets") / "twin"
    found, page = fit_capture(folder, out)
    return out, found, page


def test_two_fits_to_one_output_are_not_under_way_at_once(tmp_path):
    with alone(tmp_path / "twin.partial"):
        with pytest.raises(InputError, match="another fit to the same output is under way"), alone(tmp_path / "twin.partial"):
            pass
        with alone(tmp_path / "other.partial"):
            pass
    with alone(tmp_path / "twin.partial"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_the_asset_holds_body_material_look_run_and_report(fitted):
    out, found, page = fitted
    asset = Asset.load(out)
    assert twin_of(asset).fit.values == found.fit.values
    assert found.fit.values["young"] == pytest.approx(YOUNG, rel=0.15)
    assert asset.splats is not None and float(np.mean(asset.material.young)) == pytest.approx(found.fit.values["young"])
    run = Run.load(out / "run")
    assert len(run) == 14 and run.bodies[0].asset is not None and len(run.bodies[0].held) > 0
    error = np.array([run.positions(f)[0] for f in range(14)]) - small().positions
    assert np.linalg.norm(error, axis=2).mean() < 2e-3
    numbers = json.loads((out / "report.json").read_text())
    assert numbers["parameters"]["young"]["value"] == found.fit.values["young"]
    assert numbers["judgement"]["means"]["test"]["twin"]["psnr"]["value"] > 15.0
    assert page == out / "report.html" and "<html" in page.read_text()
    assert not out.with_name("twin.partial").exists()


def test_time_and_memory_are_told_by_stage(fitted):
    _, found, _ = fitted
    stages = {stage.name: stage for stage in found.fit.stages}
    assert list(stages) == ["read", "body", "fit", "look", "judge"]
    assert stages["fit"].seconds > 0.0 and stages["fit"].cpu_seconds > 0.0
    assert all(50.0 < stage.peak_mb < 4000.0 for stage in found.fit.stages)


@pytest.mark.slow
def test_the_same_fit_gives_the_same_numbers(folder, fitted, tmp_path):
    again, _ = fit_capture(folder, tmp_path / "again")
    assert again.fit.values == fitted[1].fit.values and again.fit.intervals == fitted[1].fit.intervals


class Killed(BaseException):
    """Ends a fit as nothing in it can catch."""


@pytest.mark.parametrize(
    "when",
    [
        pytest.param("in the first fit", marks=pytest.mark.slow),
        "in the last fit",
        "in the look",
        pytest.param("before judging", marks=pytest.mark.slow),
    ],
)
def test_a_fit_that_is_cut_off_goes_on_to_the_same_numbers(folder, fitted, tmp_path, monkeypatch, when):
    from physsim.twin import fit_job

    count = 0

    def cut(after, told=None):
        nonlocal count
        count += told is None or told
        if count > after:
            raise Killed

    with monkeypatch.context() as patch:
        if when == "before judging":
            patch.setattr(fit_job.FitJob, "_judged", lambda *given: cut(0))
        elif when == "in the look":
            patch.setattr(fit_job, "look_line", lambda done: cut(2) or "")
        else:
            first = "fit 1" if when == "in the first fit" else "fit 2"
            patch.setattr(fit_job, "fit_line", lambda stage, *given: cut(2, stage.startswith(first)) or "")
        with pytest.raises(Killed):
            fit_capture(folder, tmp_path / "twin")
    assert (tmp_path / "twin.partial").is_dir() and not (tmp_path / "twin").exists()
    found, _ = fit_capture(folder, tmp_path / "twin")
    same_fit(found.fit, fitted[1].fit)
    assert (found.asset.splats.means == fitted[1].asset.splats.means).all()
    assert os.listdir(tmp_path) == ["twin"]


def same_fit(a, b):
    assert a.values == b.values and a.intervals == b.intervals and a.noise == b.noise
    assert all(np.array_equal(x, y) for x, y in zip(a.start, b.start, strict=True))
    assert a.settings.keys() == b.settings.keys() and all(np.array_equal(a.settings[k], b.settings[k]) for k in a.settings)


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_a_killed_process_leaves_what_another_goes_on_from(folder, fitted, tmp_path, share):
    words = [sys.executable, "-m", "physsim", "fit", str(folder), "--out", str(tmp_path / "twin"), "--quiet"]
    partial = tmp_path / "twin.partial"
    stages = ("fit", "fit.npz", "look.npz")[: 1 + round(2 * share)]
    child = subprocess.Popen(words, env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    deadline = time.monotonic() + 240
    while child.poll() is None and time.monotonic() < deadline:
        if all((partial / name).exists() for name in stages) and len(list((partial / "fit").glob("*.npz"))) >= 3:
            child.send_signal(signal.SIGKILL)
        time.sleep(0.02)
    assert child.wait() == -signal.SIGKILL, child.stderr.read()
    found, _ = fit_capture(folder, tmp_path / "twin")
    same_fit(found.fit, fitted[1].fit)
    assert (found.asset.splats.means == fitted[1].asset.splats.means).all()
    assert os.listdir(tmp_path) == ["twin"]


def test_what_is_left_of_another_fit_is_set_aside_with_a_line(tmp_path):
    said = []
    Work(tmp_path / "w", "one", tell=said.append).keep("fit", {"a": 1.0})
    assert said == []
    work = Work(tmp_path / "w", "one", tell=said.append)
    assert work.kept("fit") == {"a": 1.0} and "goes on from" in said.pop()
    work = Work(tmp_path / "w", "two", tell=said.append)
    assert work.kept("fit") is None and "begins anew" in said.pop()
    work.keep("fit", {"a": 2.0})
    assert Work(tmp_path / "w", "two", restart=True, tell=said.append).kept("fit") is None and "as asked" in said.pop()


def test_damaged_leftovers_are_made_again(tmp_path):
    work = Work(tmp_path / "w", "one")
    work.keep("fit", {"a": np.arange(3.0)})
    content = work.path("fit.npz").read_bytes()
    for damaged in (b"", content[:100], b"not a zip"):
        work.path("fit.npz").write_bytes(damaged)
        assert work.kept("fit") is None
    (tmp_path / "w" / "work.json").write_text("{")
    said = []
    Work(tmp_path / "w", "one", tell=said.append)
    assert "begins anew" in said[0]


def test_a_folder_that_no_fit_left_is_not_touched(tmp_path):
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="interrupted fit"):
        Work(tmp_path / "w", "one", restart=True)
    assert (tmp_path / "w" / "thesis.txt").read_text() == "mine"


def test_times_of_interrupted_runs_add_up(tmp_path):
    for _ in range(2):
        work = Work(tmp_path / "w", "one")
        with work.stage("fit"):
            time.sleep(0.05)
    assert work.stages[0].seconds >= 0.1


def refused(capsys, *words):
    """What the command says; one line, exit code 2, nothing written."""
    with pytest.raises(SystemExit) as stop:
        raise SystemExit(cli.main([str(w) for w in words]))
    told = capsys.readouterr()
    assert stop.value.code == 2 and told.out == ""
    last = told.err.strip().splitlines()[-1]
    assert last.startswith("physsim: error: ")
    return last


def test_outputs_that_would_touch_the_capture_or_other_things_are_refused(folder, tmp_path, capsys):
    before = sorted(folder.rglob("*"))
    assert "the capture itself" in refused(capsys, "fit", folder, "--out", folder)
    assert "lies in the capture's folder" in refused(capsys, "fit", folder, "--out", folder / "twin")
    assert "the capture lies in it" in refused(capsys, "fit", folder, "--out", folder.parent)
    link = tmp_path / "link"
    link.symlink_to(folder)
    assert "the capture itself" in refused(capsys, "fit", folder, "--out", link)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("mine")
    assert "something else" in refused(capsys, "fit", folder, "--out", tmp_path / "full")
    assert "does not exist" in refused(capsys, "fit", folder, "--out", tmp_path / "no" / "twin")
    assert sorted(folder.rglob("*")) == before


def test_a_folder_that_cannot_be_written_is_refused_before_the_fit(folder, tmp_path, capsys, monkeypatch):
    from pathlib import Path

    def denied(self, *given, **named):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", denied)
    assert "cannot be written (Permission denied)" in refused(capsys, "fit", folder, "--out", tmp_path / "twin", "--quiet")


def saved(tmp_path, **changed):
    tmp_path.mkdir(exist_ok=True)
    replace(small().capture, **changed).save(tmp_path / "capture")
    return tmp_path / "capture"


def test_captures_that_hold_too_little_are_refused(tmp_path, capsys):
    few = saved(tmp_path / "a", fit=np.array([0, 1]), test=np.arange(2, 14))
    assert "2 frames to fit" in refused(capsys, "fit", few, "--out", tmp_path / "twin", "--quiet")
    bare = small().capture
    blank = {"front": [np.zeros((48, 64), bool)] * 14}
    empty = saved(tmp_path / "b", tracks=None, mask=blank, depth=beam(**SMALL).capture.depth)
    assert "mask" in refused(capsys, "fit", empty, "--out", tmp_path / "twin", "--quiet")
    lost = ps.SeenTracks(np.full_like(bare.tracks.positions, np.nan))
    with pytest.raises(InputError, match="seen in 0 of 9 frames"):
        enough_to_fit(replace(bare, tracks=lost, depth={}, mask={}, colour={}))
    assert not (tmp_path / "twin").exists() and not (tmp_path / "twin.partial").exists()


def test_a_capture_with_errors_is_refused_with_the_first_and_the_way_to_all(folder, tmp_path, capsys):
    broken = tmp_path / "broken"
    small().capture.save(broken)
    told = json.loads((broken / "capture.json").read_text())
    told["times"][3] = told["times"][2]
    told["gravity"] = "down"
    (broken / "capture.json").write_text(json.dumps(told))
    assert "physsim check" in refused(capsys, "fit", broken, "--out", tmp_path / "twin")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--known", "poisson"], "NAME=VALUE"),
        (["--known", "poisson=much"], "NAME=VALUE"),
        (["--known", "poisson=0.3", "poisson=0.4"], "twice"),
        (["--known", "poisson=0.6"], "poisson = 0.6"),
        (["--known", "colour=3"], "no 'colour'"),
        (["--known", "mass=-1"], "above 0"),
        (["--fit", "colour"], "no 'colour'"),
        (["--fit", "young", "--known", "young=1e4"], "fitted and known at once"),
        (["--known", "young=1e4", "viscosity=10"], "nothing is left"),
        (["--joint", "--no-appearance"], "joint"),
        (["--kind", "rod"], "rod"),
    ],
)
def test_requests_that_cannot_be_met_are_refused_in_one_line(folder, tmp_path, capsys, words, said):
    assert said in refused(capsys, "fit", folder, "--out", tmp_path / "twin", "--quiet", *words)


def test_what_is_known_is_held_and_what_is_named_is_fitted():
    capture = small().capture
    request = FitRequest(known={"poisson": 0.4, "young": 5e4}, fit=("viscosity",))
    assert request.given(capture).known.poisson == 0.4
    assert request.material(ps.NeoHookean(young=1e3, viscosity=1.0)).young == 5e4
    started = FitRequest(young_start=2e4).material(ps.NeoHookean(young=1e3, viscosity=1.0))
    assert (started.young, started.viscosity) == (2e4, 20.0)
    assert FitRequest(fit=("poisson",)).given(capture).known.poisson is None
    assert known_values(["poisson=0.3", "mass=1e-2"]) == {"poisson": 0.3, "mass": 0.01}


def test_names_that_are_fitted_are_the_only_ones(folder, tmp_path):
    found, _ = fit_capture(folder, tmp_path / "twin", FitRequest(fit=("young",), appearance=False))
    assert list(found.fit.values) == ["young"] and found.asset.splats is None


def test_another_recording_is_predicted_and_reported(folder, fitted, tmp_path):
    small(seed=2).capture.save(tmp_path / "other")
    out = tmp_path / "twin"
    assert main(folder, out, test=tmp_path / "other", quiet=True, appearance=False) == 0
    numbers = json.loads((out / "test" / "report.json").read_text())
    assert numbers["kind"] == "compare" and numbers["judgement"]["means"]["test"]["twin"]["track"]["value"] < 5e-3
    assert "Another recording" in (out / "report.html").read_text()


def test_the_table_tells_parameters_intervals_and_held_out_errors(folder, fitted, capsys):
    from physsim.twin.terminal import summary

    text = summary(fitted[1].fit, fitted[1].judged.judgement)
    assert "Young's modulus" in text and "95 % interval" in text and "held-out" in text and "last frame held" in text
    assert "doubt" not in text


def test_the_table_and_the_verdict_tell_a_misfit_and_what_was_assumed(fitted):
    from physsim.twin.holds import GUESSED
    from physsim.twin.report import verdict
    from physsim.twin.terminal import summary

    off = "tracks: residuals of 0.0044 m, 4.4 times the data's own noise: the model, its shape or its start is off"
    fit, judgement = replace(fitted[1].fit, statement=f"young = 1\n{off}"), fitted[1].judged.judgement
    guessed = f"handle 'hand': {GUESSED}"
    text = summary(fit, judgement, ["it is 1 mm thick", guessed], ["the rest shape was changed"])
    assert (
        f"doubt: {off}" in text
        and "assumed: it is 1 mm thick" in text
        and f"warning: {guessed}" in text
        and "note: the rest shape was changed" in text
    )
    assert any(off in line for line in verdict(judgement, fit)) and not any(off in line for line in verdict(judgement, fitted[1].fit))


def test_checked_output_takes_a_new_name_and_an_old_asset(fitted, folder, tmp_path):
    assert checked_output(folder, tmp_path / "new", "asset.json") == tmp_path / "new"
    assert checked_output(folder, fitted[0], "asset.json") == fitted[0]


@pytest.mark.slow
@pytest.mark.parametrize("stiffness", ["parts", "field"])
def test_stiffness_by_part_and_as_a_field_is_kept_with_the_asset(folder, tmp_path, stiffness):
    found, _ = fit_capture(folder, tmp_path / "twin", FitRequest(stiffness=stiffness, appearance=False))
    fit = twin_of(Asset.load(tmp_path / "twin")).fit
    cells = len(small().mesh.cells)
    assert fit.field["young"].shape == (cells,)
    assert np.median(fit.field["young"]) == pytest.approx(YOUNG, rel=0.2)
    assert np.array_equal(fit.field["young"], found.fit.field["young"])


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_pixels_take_part_in_a_joint_fit_and_the_page_says_so(folder, tmp_path):
    found, page = fit_capture(folder, tmp_path / "twin", FitRequest(joint=True))
    assert "colour" in found.fit.noise and "Pixels took part" in page.read_text(encoding="utf-8")
    assert found.fit.values["young"] == pytest.approx(YOUNG, rel=0.1)
    assert [s.name for s in found.fit.stages] == ["read", "body", "fit", "look", "joint fit", "look again", "judge"]


@pytest.mark.slow
def test_a_residual_correction_is_kept_with_the_asset(folder, tmp_path):
    fit_capture(folder, tmp_path / "twin", FitRequest(residual_correction=True, appearance=False))
    assert twin_of(Asset.load(tmp_path / "twin")).residual["kind"] in ("none", "carried", "constant", "handles")
