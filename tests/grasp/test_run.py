"""A grasp holds by friction alone: what it carries is the weight, both fingers press alike, and nothing slips."""

import json

import numpy as np
import pytest

from physsim import InputError
from physsim.appearance.run import Run
from physsim.grasp.command import main
from physsim.grasp.objects import grasp_object
from physsim.grasp.sequence import SHAKE, Timing
from physsim.grasp.world import GraspWorld

QUICK = Timing(reach=0.8, close=0.8, lift=0.8, hold=0.5, shake=1.0, lower=0.8, open=0.4)


def test_what_the_worker_cannot_use_is_refused(tmp_path):
    with pytest.raises(InputError, match="object 'teapot' is unknown"):
        main(object_name="teapot", out=tmp_path)
    with pytest.raises(InputError, match="robot 'hand' is unknown"):
        main(robot="hand", out=tmp_path)
    with pytest.raises(InputError, match=r"seconds = 0.1: at least 0.5 s"):
        main(seconds=0.1, out=tmp_path)
    with pytest.raises(InputError, match="hold = 'glue': choose one of friction, pin"):
        GraspWorld(None, None, None, hold="glue")


@pytest.mark.slow
def test_a_panda_lifts_holds_and_puts_down_the_cube():
    pytest.importorskip("pybullet")
    from physsim.grasp.robots import robot_setup
    from physsim.grasp.run import run_grasp

    record, numbers = run_grasp(robot_setup("panda"), grasp_object("cube"), timing=QUICK)
    assert numbers["success"]
    assert numbers["lift_m"] == pytest.approx(0.1, abs=0.002)
    assert numbers["carried_n"] == pytest.approx(numbers["object_weight_n"], rel=0.02)
    assert numbers["slip_mm"] < 0.5
    assert numbers["finger_force_difference_pct"] < 5.0
    assert numbers["penetration_mm"] == 0.0
    assert numbers["momentum_residual"] < 1e-6
    assert numbers["felt_slip_mm"] == pytest.approx(numbers["slip_mm"], abs=0.01)
    for found, force in zip(numbers["force_maps"], numbers["finger_force_n"], strict=True):
        assert np.sum(found["mean_n"]) == pytest.approx(force, rel=0.01)
    assert len(record.frame_times) == pytest.approx(30 * 5.1, abs=2)
    assert record.stress.max() > 100.0


@pytest.mark.slow
def test_pinned_points_stay_where_they_are_on_the_fingers_until_these_open():
    pytest.importorskip("pybullet")
    from physsim.grasp.robots import robot_setup
    from physsim.grasp.run import run_grasp

    _, numbers = run_grasp(robot_setup("panda"), grasp_object("cube"), hold="pin", timing=QUICK)
    assert numbers["success"]
    assert numbers["pinned_points"] > 4
    assert numbers["slip_mm"] < 0.01
    assert numbers["carried_n"] == pytest.approx(numbers["object_weight_n"], rel=0.02)
    assert numbers["momentum_residual"] < 1e-6


@pytest.mark.slow
def test_the_command_writes_what_it_says(tmp_path, capsys):
    pytest.importorskip("pybullet")
    assert main(out=tmp_path, seconds=0.5, quiet=True) == 0
    data = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    wanted = {"success", "lift_m", "slip_mm", "finger_force_n", "object_weight_n", "momentum_residual", "penetration_mm"}
    assert wanted | {"cpu_s_per_sim_s", "launches_per_newton", "hold"} <= set(data)
    assert len(data["finger_force_n"]) == 2
    assert "by friction alone" in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "success" in capsys.readouterr().out
    run = Run.load(tmp_path / "run")
    assert {link.name for link in run.links} >= {"panda_leftfinger", "panda_rightfinger"}
    heights = [run.positions(f)[0][:, 2].mean() for f in range(len(run))]
    assert data["lift_m"] - 0.01 < max(heights) - heights[0] < data["lift_m"] + SHAKE  # the shaking goes that far beyond
