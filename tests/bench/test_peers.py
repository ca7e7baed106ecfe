import importlib.util

import numpy as np
import pytest

from physsim.bench.cases import case_named
from physsim.bench.engines import engine_named
from physsim.bench.launch import launch

pytestmark = pytest.mark.peers


def run(case, engine, substeps):
    found = engine_named(engine)
    if found.missing():
        pytest.skip(found.missing())
    row = launch(case_named(case), found, substeps)
    assert "cpu_s" in row, row
    return row


def test_mujoco_beam_falls_freely_at_first_and_reports_its_cost():
    row = run("beam-500", "mujoco", 4)
    assert row["warnings"] == 0
    assert len(row["curve"]) == 60
    # Far from the clamp, the tip of a bar at rest falls freely until waves from the clamp reach it: 0.1 m + z = -g t^2 / 2.
    assert row["curve"][0] - 0.1 == pytest.approx(-0.5 * 9.81 / 3600, rel=0.3)
    assert 0.0 < row["cpu_s"] < 60.0
    assert row["peak_rss_mb"] > row["run_rss_mb"] >= 0.0


@pytest.mark.skipif(importlib.util.find_spec("mujoco") is None, reason="mujoco is not installed")
def test_the_shell_of_mujoco_and_ours_fall_and_are_caught_alike():
    """Eight by eight: down to the lowest point, at 1/2 s, before wrinkles set the two apart."""
    from physsim.bench.cases import Case
    from physsim.bench.engine_mujoco import MujocoSimulation
    from physsim.bench.engine_physsim import ImplicitSimulation

    case = Case("small", "shell", 8, 1000.0)
    curves = [engine(case, substeps, {}).simulate()[:28] for engine, substeps in ((MujocoSimulation, 16), (ImplicitSimulation, 4))]
    assert np.sqrt(np.mean((curves[0] - curves[1]) ** 2)) < 0.02
    assert curves[0].min() < -0.85


def test_taichi_cloth_breaks_down_at_a_long_step_and_swings_at_a_short_one():
    assert run("cloth-32-1000", "taichi", 1)["curve"][-1] is None
    curve = np.array(run("cloth-32-1000", "taichi", 64)["curve"], float)
    assert -1.2 < curve.min() < -0.3


@pytest.mark.skipif(importlib.util.find_spec("taichi") is None, reason="taichi is not installed")
def test_springs_of_the_taichi_gradient_are_in_the_order_of_the_edges():
    from physsim.bench.cases import Case
    from physsim.bench.engine_taichi import TaichiGradient
    from physsim.bench.scenes import cloth

    gradient = TaichiGradient(Case("small", "gradient", 6, 1000.0, 0.01), 64, {})
    scene = cloth(6)
    gradient.steps = 400
    height = gradient.forward()
    slopes = gradient.backward()
    assert slopes.shape == (len(scene.edges),)
    assert np.isfinite(height)
    # The cloth is symmetric about x = 1/2, so mirrored springs matter alike.
    middle = scene.points[scene.edges].mean(axis=1)
    mirrored = np.lexsort((scene.offset_index, middle[:, 1].round(6), middle[:, 0].round(6)))
    structural = scene.offset_index == 0
    order = [i for i in mirrored if structural[i]]
    flipped = np.lexsort((middle[:, 1].round(6), (1 - middle[:, 0]).round(6)))
    flipped = [i for i in flipped if structural[i]]
    np.testing.assert_allclose(slopes[order], slopes[flipped], rtol=1e-2, atol=1e-3 * np.abs(slopes).max())
