"""The demo says who made its capture, what is true of it, and does all but the grasp where PyBullet is missing."""

import json
from dataclasses import replace

import numpy as np
import pytest
from painted_beams import YOUNG, beam

from physsim import assets
from physsim.appearance.asset import Asset
from physsim.appearance.run import Run
from physsim.capture.capture import Capture
from physsim.twin import demo


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small capture in place of the shipped one."""
    film = beam(frames=14, size=(64, 48), cells=(4, 1, 1))
    place = tmp_path_factory.mktemp("captures") / "beam"
    replace(film.capture, depth={}, mask={}).save(place)
    truth = {"young": {"least": YOUNG, "most": YOUNG, "words": "given"}}
    (place / demo.TRUTH).write_text(json.dumps(truth), encoding="utf-8")
    return place


def test_the_shipped_capture_says_that_mujoco_made_it():
    capture = Capture.load(assets.folder(demo.CAPTURE))
    assert "MuJoCo" in capture.source
    assert "MuJoCo" in (assets.folder(demo.CAPTURE) / "README.md").read_text(encoding="utf-8")
    assert len(capture.fit) and len(capture.test) and capture.colour and capture.depth


def test_without_pybullet_all_but_the_grasp_is_there_and_said(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(demo.assets, "folder", lambda name: folder)
    monkeypatch.setattr(demo, "find_spec", lambda name: None)
    assert demo.main(out=tmp_path / "out", quiet=True) == 0
    out = tmp_path / "out"
    told = capsys.readouterr().out
    assert demo.MADE_BY in told and "pip install 'physsim[robots]'" in told and "Young's modulus" in told
    page = (out / "report.html").read_text(encoding="utf-8")
    assert demo.MADE_BY in page and "PyBullet is not installed" in page and "twin/report.html" in page
    numbers = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert numbers["grasp"] is None and numbers["true"]["young"]["least"] == YOUNG
    assert Asset.load(out / "twin").splats is not None
    assert len(Run.load(out / "run")) == 14
    assert (out / "twin.mp4").is_file() or (out / "twin.png").is_file()
    assert demo.main(out=out, quiet=True) == 0  # over the old results


def test_films_show_measured_and_drawn_side_by_side(folder):
    from physsim.twin.films import HIGH, capture_pictures
    from physsim.twin.look import fit_look, with_look

    film = beam(frames=14, size=(64, 48), cells=(4, 1, 1))
    look = fit_look(film.capture, film.mesh, {int(f): film.positions[f] for f in film.capture.fit}, splats=200, iterations=40)
    asset = with_look(Asset("beam", film.mesh, film.material), look)
    lost = list(film.capture.colour["front"])
    lost[1] = None
    capture = replace(film.capture, colour={"front": lost})
    pictures = list(capture_pictures(capture, asset, np.arange(3), film.positions[:3]))
    assert len(pictures) == 2  # a frame without a picture is left out
    assert pictures[0].size == (3 * 480, HIGH)


@pytest.mark.slow
def test_the_demo_finds_what_is_true_and_the_grasp_holds(tmp_path):
    pytest.importorskip("pybullet")
    assert demo.main(out=tmp_path / "out", quiet=True) == 0
    numbers = json.loads((tmp_path / "out" / "report.json").read_text(encoding="utf-8"))
    least, most, _ = demo.known_truth()["young"].values()
    assert 0.85 * least < numbers["fitted"]["young"]["value"] < 1.15 * most
    assert numbers["judgement"]["ratio_to_best_trivial"]["track"] < 0.75
    assert numbers["grasp"]["success"]
    assert (tmp_path / "out" / "grasp.mp4").is_file() and (tmp_path / "out" / "grasp" / "report.html").is_file()
