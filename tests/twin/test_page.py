"""The report of a twin: every part is there, says what the numbers say, and its slider works."""

import json
import re
import shutil

import numpy as np
import pytest
from made_captures import block, capture_of, scene_of, slid

import physsim as ps
from physsim.twin import trivial
from physsim.twin.field_pictures import cells_of_surface, field_pictures
from physsim.twin.judge import judge
from physsim.twin.page import write_report
from physsim.twin.report import digits, losses, ranges, scaled, span, verdict, with_error
from physsim.twin.residual import fit_residual
from physsim.twin.results import Stage, TwinFit

TIMES = np.arange(18) * 0.1
FIT, TEST = np.arange(12), np.arange(12, 18)
CHROMIUM = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)


def fit_of(mesh, **changes):
    values = {"young": 24e3, "viscosity": 21.0, "poisson": 0.41}
    told = {
        "values": values,
        "units": {"young": "Pa", "viscosity": "Pa s"},
        "intervals": {"young": (22.5e3, 26e3), "viscosity": (14.0, np.inf), "poisson": (0.05, 0.49)},
        "undetermined": {"poisson": "This motion hardly changes the width: squeeze the body to tell Poisson's ratio."},
        "level": 0.95,
        "settings": {},
        "start": (mesh.points, 0 * mesh.points),
        "start_time": 0.0,
        "noise": {"tracks": 0.0011, "mask left": 1.3, "depth left": 0.0024, "colour left": 0.031},
        "history": [("first fit", 0.4, 9e3), ("first fit", 0.4, 4e3), ("whole fit", 1.2, 7e3), ("whole fit", 1.2, 5e3)],
        "field": {"young": np.linspace(1e4, 5e4, len(mesh.cells))},
        "statement": "Young's modulus is known to 8 %.",
        "stages": [Stage("read", 0.8, 0.7, 310.0), Stage("whole fit", 44.0, 61.0, 840.0)],
        "spread": {"young": [23.8e3, 25e3], "viscosity": [20.0, 24.0], "poisson": [0.3, 0.45]},
    }
    return TwinFit(**told | changes)


def made(off=(0.0, 0.0, 0.002), velocity=(0.03, 0, 0), **options):
    mesh = block()
    truth = slid(mesh, TIMES, velocity)
    hand = {"hand": ps.Handle(TIMES, TIMES[:, None] * np.asarray(velocity, float))} if options.pop("handle", True) else {}
    capture, association = capture_of(mesh, truth, TIMES, hand, noise=2e-4, fit=FIT, test=TEST, name="a <block>", **options)
    scene = scene_of(mesh)
    scene.remarks = ("The first frame is taken to be at rest.",)
    positions = truth + np.asarray(off)
    return mesh, capture, scene, positions, judge(capture, scene, positions, association=association)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    mesh, capture, scene, positions, judgement = made()
    correction = fit_residual(capture, scene, positions, simulated=judgement.simulated)
    corrected = judge(capture, scene, correction.apply(positions, TIMES, capture.handles))
    folder = tmp_path_factory.mktemp("report")
    write_report(folder, capture, scene, fit_of(mesh), judgement, positions, corrected=corrected, correction=correction, notes=("A note.",))
    return folder, judgement


def page_text(folder):
    return re.sub(r"data:image/[a-z]+;base64,[A-Za-z0-9+/=]+", "", (folder / "report.html").read_text())


def test_noise_is_told_in_its_own_unit_also_of_one_camera_of_several(report):
    text = page_text(report[0])
    for told in ("mask left 1.3 pixel", "depth left 2.4 mm", "colour left 0.031<"):
        assert told in text


def test_every_part_is_on_the_page(report):
    text = page_text(report[0])
    for heading in (
        "What was seen and what the twin does", "Errors", "Residual correction", "Parameters", "What this motion cannot tell",
        "The stiffness field on the body", "How the fit went", "What was used, and what was assumed", "Time and memory",
    ):  # fmt: skip
        assert f"<h2>{heading}</h2>" in text, heading
    for said in ("measured", "simulated", "difference", trivial.HELD, trivial.CONTROL, trivial.CARRIED, "squeeze the body", "at rest.",
                 "840", "23.8 to 25.0 (2)", "14.0 to no upper end", "a &lt;block&gt;", "A note.", "held out", "PhysTwin"):  # fmt: skip
        assert said in text, said
    assert "http" not in text.replace("http://www.w3.org", "") and "<block>" not in text


def test_the_numbers_are_those_of_the_page_and_of_the_judgement(report):
    folder, judgement = report
    numbers = json.loads((folder / "report.json").read_text())
    mean = judgement.mean("track")
    assert numbers["judgement"]["means"]["test"]["twin"]["track"] == pytest.approx({"value": mean.value, "error": mean.error, "frames": 6})
    assert numbers["parameters"]["young"] == {
        "value": 24e3, "unit": "Pa", "interval": [22.5e3, 26e3], "level": 0.95, "determined": True, "other_seeds": [23.8e3, 25e3],
    }  # fmt: skip
    assert numbers["parameters"]["viscosity"]["interval"] == [14.0, None] and not numbers["parameters"]["poisson"]["determined"]
    assert numbers["capture"]["fitted"] == [[0, 11]] and numbers["capture"]["test"] == [[12, 17]]
    assert numbers["capture"]["sensors"]["tracks"] == {"fitted": 12, "test": 6, "missing": 0}
    assert numbers["capture"]["missing_sensors"] == ["points"]
    assert numbers["loss"][1] == {"stage": "whole fit", "horizon_s": 1.2, "costs": [7e3, 5e3]}
    assert numbers["residual"]["judgement"]["test"]["track"]["value"] < mean.value
    text = page_text(folder)
    assert f"{digits(1e3 * mean.value)}" in text and all(sentence.replace('"', "&quot;").replace("'", "&#x27;") in text for sentence in
                                                        numbers["verdict"])  # fmt: skip


def test_a_twin_that_loses_says_so_first():
    mesh, *_, judgement = made(off=(0.0, 0.0, 0.03))
    assert verdict(judgement, fit_of(mesh))[0].startswith("The twin does not predict better than doing without it")
    *_, judgement = made(off=(0.0, 0.0, 0.0), handle=False)
    assert verdict(judgement)[0] == "The twin predicts better than every trivial predictor."
    unfinished = verdict(judgement, fit_of(mesh, converged=False))
    assert unfinished[0].startswith("The fit did not end by its own criteria")
    assert any("Poisson's ratio" in sentence for sentence in unfinished)


def test_without_held_out_frames_no_prediction_is_claimed():
    mesh = block()
    truth = slid(mesh, TIMES, (0.03, 0, 0))
    capture, _ = capture_of(mesh, truth, TIMES, fit=np.arange(18), test=np.zeros(0, int))
    judgement = judge(capture, scene_of(mesh), truth)
    assert verdict(judgement)[0].startswith("No frame was held out")


@pytest.mark.parametrize("data", ["tracks", "points", "depth", "mask"])
def test_a_page_is_made_of_whatever_was_captured(data, tmp_path):
    mesh, capture, scene, positions, _ = made(colour=False)
    parts = {
        "tracks": {"tracks": capture.tracks},
        "points": {"points": [capture.cloud(f) for f in range(18)]},
        "depth": {"cameras": capture.cameras, "depth": capture.depth},
        "mask": {"cameras": capture.cameras, "mask": capture.mask, "tracks": capture.tracks},
    }
    some = ps.Capture(TIMES, **parts[data], fit=FIT, test=TEST)
    write_report(tmp_path, some, scene, fit_of(mesh, field={}, history=[], stages=[], spread={}), judge(some, scene, positions), positions)
    text = page_text(tmp_path)
    assert 'type="range"' in text and "How the fit went" not in text and "Time and memory" not in text


def test_a_body_that_left_the_picture_is_still_reported(tmp_path):
    mesh, capture, scene, positions, _ = made()
    away = positions + [3.0, 0.0, 0.0]
    write_report(tmp_path, capture, scene, fit_of(mesh), judge(capture, scene, away), away)
    assert "does not predict better" in page_text(tmp_path)


def test_a_field_is_drawn_over_the_cells_that_it_is_of():
    mesh = block().quadratic()
    owner = cells_of_surface(mesh)
    corners = mesh.surface()
    for triangle, cell in zip(corners[::7], owner[::7], strict=True):
        assert set(triangle) <= set(mesh.cells[cell])
    ((name, image, caption),) = field_pictures(mesh, fit_of(mesh, field={"young": np.linspace(1e4, 5e4, len(mesh.cells))}))
    assert name == "young" and "10.0 to 50.0 kPa" in caption and image.width == 1000
    parts = field_pictures(mesh, fit_of(mesh, field={}, parts=np.arange(len(mesh.cells)) % 2))
    assert parts[0][0] == "parts" and "2 parts" in parts[0][2]
    nothing = fit_of(mesh, field={"young": np.full(len(mesh.cells), 3e4), "other": np.ones(7)}, parts=np.zeros(len(mesh.cells), int))
    assert field_pictures(mesh, nothing) == []
    rod = ps.Curve(np.linspace([0, 0, 0], [0.3, 0, 0], 8), framed=False)
    ((_, _, caption),) = field_pictures(rod, fit_of(mesh, field={"bending": np.linspace(1.0, 3.0, 6)}, units={"bending": "N m^2"}))
    assert "1.00 to 3.00 N m\u00b2" in caption


def test_numbers_are_written_as_people_read_them():
    factor, unit = scaled(41200.0, "Pa")
    assert (digits(factor * 41200.0), unit) == ("41.2", "kPa")
    assert scaled(0.41, "") == (1.0, "")
    assert with_error(1.7047, 0.0149) == "1.705\u00a0\u00b1\u00a00.015" and with_error(44.87, 13.6) == "45\u00a0\u00b1\u00a014"
    assert with_error(1.7047, np.nan) == "1.70"
    assert [digits(v) for v in (0.0, 1234.5, 0.01234, 3.2e-7, np.nan)] == ["0", "1,234", "0.0123", "3.20e-07", "\u2013"]
    assert span((1.0, np.inf)) == "1.00 to no upper end" and span(None) == "not determined"
    assert ranges(np.array([0, 1, 2, 5, 6])) == [[0, 2], [5, 6]]
    assert [part["horizon_s"] for part in losses(fit_of(block()))] == [0.4, 1.2]


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the path (apt install chromium)")
def test_the_slider_shows_each_frame_and_play_moves_on(report):
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page, errors, asked = browser.new_page(viewport={"width": 1200, "height": 900}), [], []
        page.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto((report[0] / "report.html").as_uri())
        slider, label, image = (page.locator(f".strip {tag}") for tag in ("input", "output", "img"))
        assert label.text_content() == "frame 12, 1.20 s, held out"  # the first that the fit did not see
        before = image.get_attribute("src")
        slider.fill("3")
        assert label.text_content() == "frame 3, 0.30 s, fitted"
        assert image.get_attribute("src") != before
        slider.press("ArrowRight")
        assert label.text_content() == "frame 4, 0.40 s, fitted"
        page.get_by_role("button", name="Play").click()
        page.wait_for_function("document.querySelector('.strip input').value > 5")
        page.get_by_role("button", name="Pause").click()
        assert page.evaluate("document.documentElement.scrollWidth") <= 1200
        assert errors == [] and all(address.startswith(("file:", "data:")) for address in asked)
        browser.close()
