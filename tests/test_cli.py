"""The command line says what is wrong in one line, and hands on what was given."""

import types
import warnings
from pathlib import Path

import pytest

from physsim import cli
from physsim.errors import InputError, SolverError


@pytest.fixture
def worker(monkeypatch):
    """Stands in for each subcommand's worker and keeps what it was called with."""
    calls = []

    def main(**arguments):
        calls.append(arguments)

    monkeypatch.setattr(cli, "import_module", lambda name: types.SimpleNamespace(main=main, name=calls.append(name)))
    return calls


def run(capsys, *words):
    """Exit code, standard output and standard error of a command."""
    try:
        code = cli.main(words)
    except SystemExit as stop:
        code = stop.code
    told = capsys.readouterr()
    return code, told.out, told.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "COMMAND"),
        (["fly"], "invalid choice: 'fly'"),
        (["demo", "teapot"], "invalid choice: 'teapot'"),
        (["demo", "--young-start", "-1"], "'-1' is not a positive"),
        (["demo", "--young-start", "nan"], "'nan' is not a positive"),
        (["demo", "--fit-seconds", "soon"], "'soon' is not a positive"),
        (["demo", "--cells", "1", "2"], "expected 3 arguments"),
        (["demo", "--cells", "1", "2", "0"], "'0' is not a whole number"),
        (["demo", "--fit", "no/such.csv"], "'no/such.csv' is not a file"),
        (["demo", "--out", __file__], "is not a folder"),
        (["demo", "--colour"], "unrecognized arguments: --colour"),
        (["grasp", "--object", "teapot"], "'teapot' is neither cube, plush nor cloth"),
        (["grasp", "--robot", "hand"], "invalid choice: 'hand'"),
        (["grasp", "--hold", "glue"], "invalid choice: 'glue'"),
        (["grasp", "--seconds", "0"], "'0' is not a positive"),
        (["view"], "ASSET_OR_RUN"),
        (["check", "no/such"], "'no/such' is not a folder"),
        (["view", "no/such"], "'no/such' is not a folder"),
        (["view", ".", "--port", "0"], "'0' is not a whole number"),
        (["view", ".", "--hold", "left"], "invalid choice: 'left'"),
        (["render", ".", "--camera", "front"], "--out"),
        (["render", ".", "--out", "no/such/film.mp4"], "cannot be written"),
        (["render", ".", "--out", "film.mp4", "--size", "64"], "expected 2 arguments"),
        (["render", ".", "--out", "film.mp4", "--frames", "0"], "'0' is not a whole number"),
        (["render", ".", "--out", "film.mp4", "--show", "bones"], "invalid choice: 'bones'"),
        (["demo", "--restart", "--cells", "8", "2", "2"], "--cells belongs to another demo: physsim demo beam --cells"),
        (["demo", "beam", "--restart"], "--restart belongs to another demo: physsim demo twin --restart"),
        (["fit"], "CAPTURE"),
        (["fit", "."], "--out"),
        (["fit", "no/such", "--out", "twin"], "'no/such' is not a folder"),
        (["fit", ".", "--out", "twin", "--cell-size", "0"], "'0' is not a positive"),
        (["fit", ".", "--out", "twin", "--kind", "gas"], "invalid choice: 'gas'"),
        (["fit", ".", "--out", "twin", "--stiffness", "soft"], "invalid choice: 'soft'"),
        (["fit", ".", "--out", "twin", "--seeds", "0"], "'0' is not a whole number"),
        (["fit", ".", "--out", "twin", "--test", "no/such"], "'no/such' is not a folder"),
        (["fit", ".", "--out", "twin", "--fit"], "expected at least one argument"),
        (["fit", ".", "--out", "twin", "--appearance", "--no-appearance"], "not allowed with"),
        (["warmup", "--dtype", "float16"], "invalid choice: 'float16'"),
        (["bench", "--json", "no/such/folder.json"], "cannot be written"),
    ],
)
def test_wrong_input_gets_one_line_and_exit_code_2(capsys, worker, words, said):
    code, out, err = run(capsys, *words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("physsim: error: ")
    assert said in err
    assert worker == []


@pytest.mark.parametrize("error", [InputError("poisson = 0.5:\n  use 0.499"), SolverError("no"), PermissionError(13, "no", "x")])
def test_an_error_of_the_worker_gets_one_line_and_exit_code_2(capsys, monkeypatch, error):
    def main(**_):
        raise error

    monkeypatch.setattr(cli, "import_module", lambda name: types.SimpleNamespace(main=main))
    code, _, err = run(capsys, "demo")
    assert (code, err.count("\n")) == (2, 1)
    assert err.startswith("physsim: error: ")


def test_a_warning_of_the_worker_gets_one_line_without_file_and_line(capsys, monkeypatch):
    def main(**_):
        warnings.warn("none of 5 splats\n  is seen", stacklevel=1)

    monkeypatch.setattr(cli, "import_module", lambda name: types.SimpleNamespace(main=main))
    before = warnings.showwarning
    assert run(capsys, "demo") == (0, "", "physsim: warning: none of 5 splats is seen\n")
    assert warnings.showwarning is before


def test_an_interrupt_ends_without_a_traceback(capsys, monkeypatch):
    def main(**_):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "import_module", lambda name: types.SimpleNamespace(main=main))
    assert run(capsys, "warmup") == (130, "", "physsim: interrupted\n")


def test_only_what_was_given_reaches_the_worker(capsys, worker, tmp_path):
    assert run(capsys, "demo")[0] == 0
    assert worker == ["physsim.twin.demo", {"out": Path("physsim-demo")}]
    assert run(capsys, "demo", "twin", "--restart", "--quiet")[0] == 0
    assert worker[-1] == {"out": Path("physsim-demo"), "restart": True, "quiet": True}
    assert run(capsys, "demo", "beam")[0] == 0
    assert worker[-2:] == ["physsim.real2sim.beam", {"out": Path("physsim-demo")}]
    words = ["demo", "beam", "--out", str(tmp_path), "--fit", __file__, "--young-start", "5e4", "--cells", "8", "2", "2", "--quiet"]
    assert run(capsys, *words)[0] == 0
    assert worker[-1] == {"out": tmp_path, "fit": Path(__file__), "young_start": 5e4, "cells": [8, 2, 2], "quiet": True}
    assert run(capsys, "warmup", "--device", "cpu", "--dtype", "float32")[0] == 0
    assert worker[-2:] == ["physsim.warmup", {"device": "cpu", "dtype": "float32"}]
    words = ["grasp", "--object", "plush", "--robot", "kuka", "--hold", "pin", "--seconds", "3", "--out", str(tmp_path), "--quiet"]
    assert run(capsys, *words)[0] == 0
    given = {"object_name": "plush", "robot": "kuka", "hold": "pin", "seconds": 3.0, "out": tmp_path, "quiet": True}
    assert worker[-2:] == ["physsim.grasp", given]
    assert run(capsys, "grasp")[0] == 0
    assert worker[-1] == {"out": Path("physsim-grasp")}
    assert run(capsys, "view", str(tmp_path))[0] == 0
    assert worker[-2:] == ["physsim.viewer.view", {"path": tmp_path}]
    assert run(capsys, "view", str(tmp_path), "--port", "8090", "--no-browser", "--hold", "top")[0] == 0
    assert worker[-1] == {"path": tmp_path, "port": 8090, "browser": False, "hold": "top"}
    words = ["render", str(tmp_path), "--out", str(tmp_path / "f.mp4"), "--camera", "orbit", "--size", "64", "48", "--frames", "3"]
    assert run(capsys, *words, "--show", "strain")[0] == 0
    given = {"path": tmp_path, "out": tmp_path / "f.mp4", "camera": "orbit", "size": [64, 48], "frames": 3, "show": "strain"}
    assert worker[-2:] == ["physsim.viewer.film", given]
    words = ["fit", str(tmp_path), "--out", str(tmp_path / "twin"), "--fit", "young", "viscosity", "--known", "poisson=0.3", "mass=0.1"]
    more = [
        "--kind",
        "solid",
        "--cell-size",
        "0.01",
        "--stiffness",
        "parts",
        "--test",
        str(tmp_path),
        "--young-start",
        "1e4",
        "--seeds",
        "3",
    ]
    flags = ["--no-appearance", "--residual-correction", "--restart", "--quiet", "--seed", "2"]
    assert run(capsys, *words, *more, *flags)[0] == 0
    given = {"capture": tmp_path, "out": tmp_path / "twin", "fit": ["young", "viscosity"], "known": ["poisson=0.3", "mass=0.1"]}
    given |= {"kind": "solid", "cell_size": 0.01, "stiffness": "parts", "test": tmp_path, "young_start": 1e4, "seeds": 3, "seed": 2}
    given |= {"appearance": False, "residual_correction": True, "restart": True, "quiet": True}
    assert worker[-2:] == ["physsim.twin.command", given]
    assert run(capsys, "fit", str(tmp_path), "--out", "twin")[0] == 0
    assert worker[-1] == {"capture": tmp_path, "out": Path("twin")}
    assert run(capsys, "check", str(tmp_path))[0] == 0
    assert worker[-2:] == ["physsim.capture.command", {"path": tmp_path}]
    assert run(capsys, "bench", "--case", "cloth", "--peers", "--json", str(tmp_path / "b.json"))[0] == 0
    assert worker[-2:] == ["physsim.bench", {"case": "cloth", "peers": True, "json_path": tmp_path / "b.json"}]


@pytest.mark.parametrize("command", [None, "demo", "fit", "grasp", "view", "render", "check", "warmup", "bench"])
def test_help_shows_examples(capsys, command):
    code, out, _ = run(capsys, *([command] if command else []), "--help")
    assert code == 0
    assert "examples:\n  physsim" in out
