import io
from itertools import combinations

import numpy as np
import pytest

from physsim.bench import main, touch_scenes
from physsim.bench.cases import CASES, Case, case_named
from physsim.bench.engine_physsim_touch import TouchSimulation
from physsim.bench.engines import engine_named
from physsim.bench.launch import launch


def falling(case, engine, substeps):
    seconds = {"physsim-implicit": 2.0, "mujoco": 4.0, "pybullet": 8.0}[engine.name]
    row = {"cpu_s": seconds, "wall_s": seconds, "peak_rss_mb": 100.0, "curve": np.linspace(0.1, 0.04, 60).tolist(), "deepest_m": 1e-3}
    return row | ({"contact_ratio": 2.5, "launches_per_newton": 24.0} if not engine.peer else {})


def test_cubes_of_the_pile_begin_apart_and_above_the_ground():
    scene = touch_scenes.pile(2)
    assert len(scene.points) == 10
    assert scene.points[..., 2].min() > 0.01
    around = [pack.mean(axis=0) for pack in scene.points]
    for a, b in combinations(range(10), 2):
        directions = np.vstack([faces_and_edges(scene.points[a]), faces_and_edges(scene.points[b])])
        directions = np.vstack([directions, np.cross(directions[:3, None], directions[None, 3:]).reshape(-1, 3), around[b] - around[a]])
        directions /= np.linalg.norm(directions, axis=1)[:, None]
        p, q = scene.points[a] @ directions.T, scene.points[b] @ directions.T
        assert np.maximum(q.min(axis=0) - p.max(axis=0), p.min(axis=0) - q.max(axis=0)).max() > 2e-3


def faces_and_edges(points):
    """Axes of a turned cube of 3 x 3 x 3 points."""
    return points[[9, 3, 1]] - points[0]


def test_fingers_begin_beside_the_cube_and_close_beyond_its_faces():
    scene = touch_scenes.grasp()
    for side, name in ((-1.0, "left"), (1.0, "right")):
        inner = side * scene.fingers[name][:, 0] - touch_scenes.FINGER_HALF[0]
        assert inner[0] > 0.5 * touch_scenes.CUBE_SIZE > inner[1]
        assert scene.fingers[name][-1, 2] - scene.fingers[name][0, 2] == pytest.approx(touch_scenes.LIFT)


def test_cases_in_which_things_touch_run_once_at_each_engine_s_own_step(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    stream, seen = io.StringIO(), []

    def watched(case, engine, substeps):
        seen.append((engine.name, substeps))
        return falling(case, engine, substeps)

    main(case="touch-pile", peers=True, run=watched, stream=stream)
    assert seen == [(name, engine_named(name).touch_substeps) for name in ("physsim-implicit", "mujoco", "pybullet")]
    text = stream.getvalue()
    assert "ends at a height of 0.0400 m, overlaps by 1.00 mm at most, 24 launches a Newton iteration" in text
    assert "a step takes 2.5 times that of the same scene without contact" in text
    assert "physsim-implicit / mujoco:  CPU 0.500" in text
    assert "No ratio" not in text


def test_every_case_in_which_things_touch_has_an_engine():
    names = [case.name for case in CASES if case.touches]
    assert names[:2] == ["touch-cloth-sphere", "touch-pile"]
    engine = engine_named("physsim-implicit")
    assert all(case_named(name).kind in engine.kinds for name in names)


def test_a_small_pile_comes_to_rest_without_overlap_and_says_what_contact_costs():
    simulation = TouchSimulation(Case("few", "touch-pile", 1, 5.0e4), 1, {})
    simulation.warm_up()
    curve = simulation.simulate()
    assert np.isfinite(curve).all()
    assert curve[0] > curve[20] > curve[-1] > 0.5 * touch_scenes.CUBE_SIZE * 0.8
    facts = simulation.facts()
    assert facts["deepest_m"] == 0.0
    assert facts["contact_ratio"] > 1.0
    assert facts["launches_per_newton"] > 0.0


def test_fingers_lift_cubes_side_by_side():
    simulation = TouchSimulation(Case("two", "environments", 2, 5.0e4), 2, {})
    curve = simulation.simulate()
    assert curve[-1] - curve[0] == pytest.approx(touch_scenes.LIFT, abs=0.01)


@pytest.mark.slow
def test_peers_carry_the_pile_out():
    pytest.importorskip("mujoco")
    row = launch(case_named("touch-pile"), engine_named("mujoco"), 8)
    assert row["curve"][-1] == pytest.approx(0.035, abs=0.015)


def test_fingers_are_as_large_as_the_scene_says_they_are():
    bodies = TouchSimulation(Case("one", "environments", 1, 5.0e4), 2, {}).scene.model.bodies
    for name in ("left", "right"):
        np.testing.assert_allclose(0.5 * np.array(bodies[name].mesh.shape[0][0].size), touch_scenes.FINGER_HALF)
