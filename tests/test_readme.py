"""What the README prints runs as printed and ends as its comments say; commands, names and files that it tells of exist."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

import physsim as ps
from physsim import assets, cli

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
COMMANDS = re.findall(r"^\| `physsim ([^`]+)`", TEXT, re.MULTILINE)


@pytest.fixture(autouse=True)
def one_thread():
    """Tensors here are small: threads would only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Runs the block that holds a word, as printed, in an empty folder; returns its names."""
    monkeypatch.chdir(tmp_path)

    def go(word):
        (block,) = [b for b in BLOCKS if word in b]
        names = {"__name__": "__main__"}
        exec(compile(block, "README.md", "exec"), names)
        return names

    return go


def test_every_block_is_run_here():
    words = ("LBFGS", "PyBulletRobot", "PosedSplats", "identify_twin")
    assert len(BLOCKS) == len(words) and all(sum(word in b for b in BLOCKS) == 1 for word in words)


def test_the_stiffness_of_the_beam_is_found_from_its_tip(run, capsys):
    names = run("LBFGS")
    assert names["log_young"].exp().item() == pytest.approx(2.6e5, rel=1e-3)
    assert "tensor(" in capsys.readouterr().out


def test_the_shaken_block_is_as_stiff_as_its_maker_hangs_it(run, capsys):
    names = run("identify_twin")
    truth = json.loads((assets.folder("twin_capture") / "truth.json").read_text(encoding="utf-8"))["young"]
    assert 0.85 * truth["least"] < names["fit"].values["young"] < 1.15 * truth["most"]
    assert names["positions"].shape[0] == 20 and "young = " in capsys.readouterr().out


@pytest.mark.slow
def test_the_panda_holds_the_cube_and_feels_half_its_weight_in_a_finger(run):
    pytest.importorskip("pybullet")
    names = run("PyBulletRobot")
    force = names["report"].wrenches["panda_leftfinger"][0]
    assert np.linalg.norm(force[:2]) == pytest.approx(3.0, abs=0.1)
    assert force[2] == pytest.approx(-0.5 * 300.0 * 0.05**3 * 9.81, rel=0.1)
    lifted = names["state"].positions[names["cube"].particles].mean(axis=0)[2] - names["middle"][2]
    assert lifted > 0.04


def test_the_picture_of_the_plush_tells_the_slope_of_its_stiffness(run):
    names = run("PosedSplats")
    young, splats = names["young"].detach(), names["asset"].splats

    def mean_colour(factor):
        moved = ps.simulate(names["solver"], times=[0.1, 0.2], params={names["body"].young: factor * young}).positions[-1]
        posed = ps.PosedSplats(splats, ps.bind(splats, names["body"]).pose(moved))
        return ps.render(ps.Scene(posed, background=(1.0, 1.0, 1.0)), names["camera"]).colour.double().mean().item()

    # The picture jumps where splats change their order in depth, by as much as a per cent of stiffness changes it: no difference of two
    # pictures tells its slope, and a parabola through many tells it to a tenth.
    factors = np.linspace(0.6, 1.4, 9)
    slope = np.polyfit(young.item() * (factors - 1.0), [mean_colour(factor) for factor in factors], 2)[1]
    assert names["young"].grad.item() == pytest.approx(slope, rel=0.2)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.split()[0])
def test_every_command_of_the_table_has_its_options_and_choices(command, capsys):
    name, *_ = command.split()
    with pytest.raises(SystemExit) as stop:
        cli.main([name, "--help"])
    told = capsys.readouterr().out
    assert stop.value.code == 0
    for option in re.findall(r"--[a-z-]+", command):
        assert re.search(rf"{option}\b", told), option
    for group in re.findall(r"--[a-z]+ ((?:[a-z]+\\\|)+[a-z]+)\]", command):  # pipes are escaped in a table
        assert f"{{{group.replace(chr(92), '').replace('|', ',')}}}" in told, group


def test_the_table_has_every_command(capsys):
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    known = set(re.findall(r"^    ([a-z-]+)(?:  |$)", capsys.readouterr().out, re.MULTILINE))
    assert known == {command.split()[0] for command in COMMANDS}


def test_every_public_name_and_file_that_is_told_of_exists():
    names = set(re.findall(r"\bps\.([A-Za-z_]+)", TEXT))
    assert len(names) > 10 and names <= set(ps.__all__)
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", TEXT)
    folders = re.findall(r"`((?:assets|examples|tests|kernels|physsim|robots)/[^`*]*)`", TEXT)
    assert pictures and folders
    assert [path for path in (*pictures, *folders, "constraints.txt") if not (ROOT / path).exists()] == []
