"""A grasp's plan: objects as they are described, poses that the robots reach, phases that follow each other smoothly."""

from dataclasses import replace

import numpy as np
import pytest

from physsim import InputError, sheet_mesh
from physsim.grasp.judge import Slip
from physsim.grasp.objects import OBJECTS, grasp_object
from physsim.grasp.sequence import BACK, LIFT, SHAKE, Timing, minimum_jerk, plan


def test_the_cube_is_a_cube_of_320_tetrahedra():
    cube = grasp_object("cube")
    assert len(cube.mesh.cells) == 320
    np.testing.assert_allclose(np.ptp(cube.points, axis=0), 0.05)
    assert cube.mesh.volumes().sum() * cube.material.density == pytest.approx(0.0375)


def test_the_plush_sits_on_the_table_and_is_held_above_its_middle():
    from physsim.robots.grasping import Gripper

    plush = grasp_object("plush")
    assert plush.points[:, 2].min() == 0.0
    assert 1800 < len(plush.mesh.cells) < 2200
    best = plush.choose(Gripper())[0]
    assert best.center[2] > plush.mesh.volumes() @ plush.points[plush.mesh.cells].mean(axis=1)[:, 2] / plush.mesh.volumes().sum()


def test_the_folded_cloth_keeps_the_lengths_of_its_threads():
    cloth = grasp_object("cloth")
    assert cloth.is_sheet
    assert cloth.points[:, 2].min() == pytest.approx(0.0, abs=1e-12)
    assert cloth.points[:, 2].max() == pytest.approx(0.024, abs=1e-3)
    flat = sheet_mesh((0.16, 0.09), (27, 15))
    before, now = (np.linalg.norm(p[flat.triangles[:, 1]] - p[flat.triangles[:, 0]], axis=1) for p in (flat.points, cloth.points))
    assert (now / before).max() < 1 + 1e-6  # chords of a curve
    assert (now / before).min() > 0.95


def test_an_unknown_object_is_refused():
    with pytest.raises(InputError, match="choose one of cube, plush, cloth"):
        grasp_object("teapot")


def test_minimum_jerk_begins_and_ends_at_rest():
    s = np.array([0.0, 1e-4, 0.5, 1 - 1e-4, 1.0])
    np.testing.assert_allclose([minimum_jerk(v) for v in s], [0, 0, 0.5, 1, 1], atol=1e-10)


@pytest.mark.parametrize("thing", sorted(OBJECTS))
@pytest.mark.parametrize("robot", ["panda", "kuka", "xarm"])
@pytest.mark.filterwarnings("ignore:.*no body has the inertia")
def test_every_robot_reaches_every_object_along_the_whole_way(robot, thing):
    pytest.importorskip("pybullet_data")
    from physsim.grasp.robots import robot_setup
    from physsim.robots.kinematics import Kinematics

    setup, described = robot_setup(robot), grasp_object(thing)
    kinematics = Kinematics(setup.describe())
    candidates = [replace(c, center=c.center + [*setup.place, 0.0]) for c in described.choose(setup.gripper)]
    sequence = plan(kinematics, setup, candidates)
    names = [name for name, _, _ in sequence.phases]
    assert names == ["reach", "close", "lift", "hold", "shake", "lower", "open"]
    assert sequence.duration == pytest.approx(8.5)
    columns = [kinematics.joints.index(name) for name in setup.arm]
    tree, tool = kinematics.tree, kinematics.links.index(setup.tool)
    held, approach = sequence.candidate.center, sequence.candidate.approach
    for time in (0.0, 0.6, 1.0, 2.5, 3.5, 5.4, 8.4):
        q = kinematics.rest()
        q[columns] = sequence.command(time).arm
        assert (q >= tree.lower - 1e-9).all()
        assert (q <= tree.upper + 1e-9).all()
        at, _ = kinematics.point_jacobian(tool, np.array(setup.point), *kinematics.forward(q))
        height = sequence.height(time)
        wanted = held + height * (approach if height < 0 else np.array([0.0, 0.0, 1.0]))
        np.testing.assert_allclose(at, wanted, atol=3e-4)
    assert sequence.height(0.0) == -BACK
    assert sequence.height(4.0) == pytest.approx(LIFT)
    assert sequence.height(8.5) == pytest.approx(0.0, abs=1e-12)
    shaken = [sequence.height(t) for t in np.linspace(*sequence.phase("shake"), 500)]
    assert max(shaken) - LIFT == pytest.approx(SHAKE, rel=0.05)
    assert [sequence.command(t).fingers for t in (0.5, 1.3, 1.9, 7.9, 8.2)] == ["open", "close", "grip", "grip", "open"]


def test_what_is_out_of_reach_is_said_so():
    pytest.importorskip("pybullet_data")
    from physsim.grasp.robots import robot_setup
    from physsim.robots.grasping import GraspCandidate
    from physsim.robots.kinematics import Kinematics

    setup = robot_setup("panda")
    far = GraspCandidate(np.array([3.0, 0.0, 0.1]), np.array([0.0, 1.0, 0.0]), np.array([0.0, 0.0, -1.0]), 0.05, 1.0)
    with pytest.raises(InputError, match="none of 1 ways to take hold can be reached by 'panda'"):
        plan(Kinematics(setup.describe()), setup, [far])
    near = replace(far, center=np.array([0.5, 0.0, 0.03]))
    with pytest.raises(InputError, match="speeds"):
        plan(Kinematics(setup.describe()), setup, [near], Timing(lift=0.05))


def test_slip_is_the_way_along_the_fingers_and_nothing_else(rng):
    from scipy.spatial.transform import Rotation

    points = rng.normal(size=(30, 3))
    closing = np.array([0.0, 1.0, 0.0])
    forces = np.where(rng.random(30) < 0.5, 1.0, -1.0)[:, None] * closing
    fingers = [(np.array([0.0, side, 0.0]), Rotation.random(rng=rng).as_matrix()) for side in (-1.0, 1.0)]
    slip = Slip(points, forces, fingers, closing)
    turn, shift = Rotation.random(rng=rng).as_matrix(), rng.normal(size=3)
    carried = [(turn @ p + shift, turn @ r) for p, r in fingers]
    assert slip.way(points @ turn.T + shift, carried) == pytest.approx(0.0, abs=1e-12)  # all move together
    assert slip.way(points @ turn.T + shift + turn @ [0.3, 0.0, 0.4], carried) == pytest.approx(0.5)
    assert slip.way(points @ turn.T + shift + turn @ [0.0, 0.2, 0.0], carried) == pytest.approx(0.0, abs=1e-12)  # pressed in
    assert np.isnan(Slip(points, np.zeros((30, 3)), fingers, closing).way(points, fingers))
