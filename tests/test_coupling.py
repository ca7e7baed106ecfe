"""A robot and soft bodies step together: forces balance, stiff contacts are stable, commands that cannot be met are felt."""

import numpy as np
import pytest

import physsim as ps
from physsim.coupling import RobotCoupling, add_links, hull

pytest.importorskip("pybullet")

from physsim.physics.frames import rotation_matrix
from physsim.robots.library import panda
from physsim.robots.pybullet_robot import PyBulletRobot

HOME = np.array([0.0, -0.4, 0.0, -2.2, 0.0, 1.8, 0.785])
FINGERS = ["panda_leftfinger", "panda_rightfinger"]
DT = 1 / 240


@pytest.fixture(scope="module")
def description():
    return panda()


def arm(description, opening, dt=DT):
    robot = PyBulletRobot(description, dt=dt)
    robot.reset(np.append(HOME, [opening, opening]))
    return robot


def cube_between_fingers(robot, young, gravity, cells=3, friction=0.8, substeps=1):
    """(coupling, body, state) of a 5 cm cube between the open fingers, on the ground where there is gravity."""
    middle, _ = robot.links().pose("panda_grasptarget")
    builder = ps.ModelBuilder(gravity=gravity)
    box = ps.box_mesh((0.05, 0.05, 0.05), (cells, cells, cells))
    cube = builder.add_soft_body(ps.TetMesh(box.points - 0.025 + middle, box.cells), ps.NeoHookean(young, 0.3, 300.0), name="cube")
    if np.any(gravity):
        builder.add_ground(middle[2] - 0.0258)
    links = add_links(builder, robot, FINGERS)
    builder.enable_contact(friction=friction)
    solver = ps.SolverImplicit(builder.finalize(), dt=robot.dt / substeps, integrator="backward_euler")
    return RobotCoupling(solver, robot, links), cube, solver.model.state()


def test_a_soft_cube_is_lifted_and_the_fingers_carry_its_weight(description):
    robot = arm(description, 0.03)
    coupling, cube, state = cube_between_fingers(robot, 5e4, (0, 0, -9.81), cells=2)
    weight = 300.0 * 0.05**3 * 9.81
    start = state.positions[cube.particles].mean(axis=0)
    robot.command(position=0.0, joints=["panda_finger_joint1"], effort=6.0)
    worst = 0.0
    for k in range(160):
        if k >= 60:  # up by the second joint, then rest
            lift = HOME + np.array([0, -0.1 * min(1.0, (k - 60) / 60), 0, 0, 0, 0, 0])
            robot.command(position=lift, joints=list(robot.joints[:7]))
        state, report = coupling.step(state)
        worst = max(worst, report.momentum_residual)
    forces = np.array([report.wrenches[name][0] for name in FINGERS])
    assert state.positions[cube.particles].mean(axis=0)[2] - start[2] > 0.03
    assert np.isclose(-forces[:, 2].sum(), weight, rtol=0.02)
    assert np.allclose(np.linalg.norm(forces, axis=1), 3.0, rtol=0.05)  # one motor of 6 N closes both
    assert worst < 1e-6
    assert max(report.stall.values()) < 1e-4


@pytest.mark.parametrize(("young", "substeps"), [(1e7, 1), (1e9, 1), (1e7, 3)])
def test_a_finger_presses_steadily_on_the_stiffest_thing(description, young, substeps):
    """k dt^2 / m of the block against a finger's 0.1 kg is 87 and 8,700; an explicit exchange is unstable above 4."""
    robot = arm(description, 0.026)
    coupling, _, state = cube_between_fingers(robot, young, (0, 0, 0), substeps=substeps)
    robot.command(position=0.0, joints=["panda_finger_joint1"], effort=10.0)
    forces = []
    for _ in range(70):
        state, report = coupling.step(state)
        forces.append([abs(report.wrenches[name][0][1]) for name in FINGERS])
    assert np.allclose(forces[-15:], 5.0, rtol=0.02)
    assert max(report.stall.values()) < 1e-4


@pytest.mark.parametrize("young", [1e6, 1e9])
def test_the_wrist_presses_steadily_on_the_stiffest_thing(description, young):
    """Both fingertips come down on a block; the whole arm is behind the contact."""
    robot = arm(description, 0.0)
    target, _ = robot.links().pose("panda_grasptarget")
    builder = ps.ModelBuilder()
    box = ps.box_mesh((0.1, 0.1, 0.05), (2, 2, 2))
    fingers = add_links(builder, robot, FINGERS)
    tips = min(ps_state[:, 2].min() for ps_state in _surfaces(robot))
    corner = np.array([target[0] - 0.05, target[1] - 0.05, tips - 0.0525])
    block = builder.add_soft_body(ps.TetMesh(box.points + corner, box.cells), ps.NeoHookean(young, 0.3, 300.0))
    builder.attach(block, np.flatnonzero(box.points[:, 2] < 1e-9))
    builder.enable_contact(friction=0.5)
    solver = ps.SolverImplicit(builder.finalize(), dt=DT, integrator="backward_euler")
    coupling, state = RobotCoupling(solver, robot, fingers), solver.model.state()
    found = robot.inverse_kinematics("panda_grasptarget", target - [0, 0, 0.006], start=robot.state().position)
    assert found.reached
    robot.command(position=found.q[:7], joints=list(robot.joints[:7]), speed=0.2)
    forces = []
    for _ in range(110):
        state, report = coupling.step(state)
        forces.append(sum(report.wrenches[name][0][2] for name in FINGERS))
    assert forces[-1] > 10.0
    assert np.ptp(forces[-20:]) < 0.02 * forces[-1]
    assert report.momentum_residual < 1e-6


def _surfaces(robot):
    """Points of the fingers' collision shapes in the world."""
    now = robot.links()
    known = {link.name: link for link in robot.description.links}
    for name in FINGERS:
        position, quaternion = now.pose(name)
        for g in known[name].collisions:
            local = g.points @ g.origin[:3, :3].T + g.origin[:3, 3]
            yield local @ rotation_matrix(quaternion).T + position


def test_a_finger_told_to_close_in_one_step_is_held_back_and_feels_it(description):
    robot = arm(description, 0.03)
    coupling, cube, state = cube_between_fingers(robot, 5e4, (0, 0, 0), cells=2)
    robot.command(position=0.0, joints=["panda_finger_joint1"])  # with all that the motor has
    for _ in range(60):
        state, _ = coupling.step(state)
    assert robot.state().position[-1] > 0.01
    assert robot.state().saturated[-2] or robot.state().saturated[-1] or robot.state().torque[-2] < -5.0
    assert state.positions[cube.particles][:, 1].max() < robot.state().position[-2] + 0.001


def test_steps_that_do_not_fit_are_refused(description):
    robot = arm(description, 0.03)
    coupling, _, _ = cube_between_fingers(robot, 5e4, (0, 0, 0), cells=1)
    solver = ps.SolverImplicit(coupling.solver.model, dt=DT * 0.7, integrator="backward_euler")
    with pytest.raises(ps.InputError, match="whole multiple"):
        RobotCoupling(solver, robot, coupling.links)


def test_a_model_without_contact_and_links_that_do_not_fit_are_refused(description):
    robot = arm(description, 0.03)
    coupling, cube, _ = cube_between_fingers(robot, 5e4, (0, 0, 0), cells=1)
    for links, text in (
        ({}, "none are given; name those that may touch in add_links"),
        ({"nose": cube}, "the robot has no link 'nose'; it must be one of"),
        ({FINGERS[0]: cube}, f"the body of '{FINGERS[0]}' must be what add_links gave"),
    ):
        with pytest.raises(ps.InputError, match=text):
            RobotCoupling(coupling.solver, robot, links)
    builder = ps.ModelBuilder()
    links = add_links(builder, robot, FINGERS)
    with pytest.raises(ps.InputError, match="nothing touches in it; call"):
        RobotCoupling(ps.SolverImplicit(builder.finalize(), dt=DT, tolerance=1e-6), robot, links)


def test_a_step_that_failed_can_be_tried_again_with_the_same_result(description, monkeypatch):
    results = []
    for fails in (False, True):
        robot = arm(description, 0.026)
        coupling, _, state = cube_between_fingers(robot, 5e5, (0, 0, 0), cells=1, substeps=2)
        robot.command(position=0.0, joints=["panda_finger_joint1"], effort=10.0)
        for _ in range(20):
            state, _ = coupling.step(state)
        if fails:
            advance, calls = coupling.solver.advance, []

            def second_fails(*arguments, advance=advance, calls=calls):
                calls.append(0)
                if len(calls) == 2:
                    raise ps.SolverError("asked for")
                return advance(*arguments)

            with monkeypatch.context() as patch:
                patch.setattr(coupling.solver, "advance", second_fails)
                with pytest.raises(ps.SolverError):
                    coupling.step(state)
        results.append(coupling.step(state)[1].wrenches[FINGERS[0]][0])
    assert np.linalg.norm(results[0]) > 1.0
    np.testing.assert_allclose(results[1], results[0], rtol=1e-6)


def test_a_hull_is_closed_and_looks_outwards(rng):
    mesh = hull(rng.normal(size=(40, 3)))
    corners = mesh.points[mesh.triangles]
    assert len(mesh.boundary()) == 0
    assert np.linalg.det(corners).sum() > 0


def test_kinematic_links_are_colliders_that_a_control_moves(description):
    from physsim.robots import KinematicRobot

    robot = KinematicRobot(description)
    robot.reset(np.append(HOME, [0.03, 0.03]))
    middle, _ = robot.links().pose("panda_grasptarget")
    builder = ps.ModelBuilder(gravity=(0, 0, 0))
    box = ps.box_mesh((0.05, 0.05, 0.05), (2, 2, 2))
    builder.add_soft_body(ps.TetMesh(box.points - 0.025 + middle, box.cells), ps.NeoHookean(5e4, 0.3, 300.0))
    links = add_links(builder, robot, FINGERS, driven=False)
    builder.enable_contact()
    solver = ps.SolverImplicit(builder.finalize(), dt=DT, integrator="backward_euler")
    with pytest.raises(ps.InputError, match="driven=False"):
        RobotCoupling(solver, robot, links)
    times = np.linspace(0, 0.1, 5)
    opening = np.linspace(0.03, 0.0235, 5)
    robot.follow(times, np.column_stack([np.tile(HOME, (5, 1)), opening, opening]))
    control = ps.Control.from_poses(solver.model, times, robot.link_poses(times, FINGERS))
    state = solver.model.state()
    for _ in range(30):
        state, report = solver.step(state, control)
    pressed = [solver.assembly.contact.forces()[0, links[name].particles].sum(axis=0)[1] for name in FINGERS]
    assert report.unreached < 1e-12
    assert min(np.abs(pressed)) > 1.0
    assert np.isclose(*np.abs(pressed), rtol=0.05)
