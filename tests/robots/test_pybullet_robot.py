"""PyBullet behind implicit servos: what is predicted happens, sensors feel what was applied, limits hold, contact stays stable."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

import physsim
from physsim.io.description import Joint, Link, RobotDescription
from physsim.robots import PyBulletRobot, Wrench

pytest.importorskip("pybullet")

HOME = np.array([0.0, -0.785, 0.0, -2.356, 0.0, 1.571, 0.785, 0.03, 0.03])
FINGERS = ("panda_finger_joint1", "panda_finger_joint2")


@pytest.fixture
def panda(robots):
    robot = PyBulletRobot(robots["panda"])
    robot.reset(HOME)
    return robot


def one_joint(kind, mass=2.0, arm=0.5, inertia=1e-6, **limits):
    """A mass on one joint: sliding along x, or turning about x at the end of a thin arm that hangs down."""
    links = (
        Link("base", 0.0, np.zeros(3), np.zeros((3, 3))),
        Link("bob", mass, np.array([0.0, 0.0, -arm]), inertia * np.eye(3)),
    )
    joint = Joint("drive", kind, "base", "bob", np.eye(4), np.array([1.0, 0.0, 0.0]), **limits)
    return RobotDescription("one", links, (joint,), Path("."), Path("one.urdf"))


@pytest.mark.parametrize("name", ["panda", "kuka", "xarm"])
def test_a_step_ends_where_the_prediction_and_its_mobility_say(robots, name, rng):
    turn = rng.normal(size=4)
    robot = PyBulletRobot(robots[name], base_pose=(rng.normal(size=3), turn / np.linalg.norm(turn)))
    tree = robot.kinematics.tree
    robot.reset()
    middle = robot.state().position[tree.free]
    robot.command(position=middle + rng.uniform(-0.3, 0.3, len(middle)) * (tree.upper - tree.lower)[tree.free])
    for _ in range(30):
        wrenches = {link: (5 * rng.normal(size=3), 0.2 * rng.normal(size=3)) for link in rng.choice(tree.links, 3, replace=False)}
        prediction = robot.prepare()
        force = np.zeros(len(tree.joints))
        for link, (push, twist) in wrenches.items():
            jacobian = robot.kinematics.jacobian(robot.state().position, link)
            force += jacobian[:3].T @ push + jacobian[3:].T @ twist
        robot.apply(wrenches)
        robot.step()
        state = robot.state()
        np.testing.assert_allclose(state.position, prediction.q + robot.dt**2 * prediction.mobility @ force, atol=1e-10)
        np.testing.assert_allclose(state.velocity, prediction.qd + robot.dt * prediction.mobility @ force, atol=1e-8)
        np.testing.assert_allclose(state.position, tree.follow @ state.position[tree.free] + tree.offset, atol=1e-9)


def test_five_newtons_at_a_fingertip_are_felt_at_the_wrist(robots):
    robot = PyBulletRobot(robots["panda"], gravity=(0, 0, 0))
    robot.reset(HOME)
    for _ in range(240):
        robot.apply({"panda_leftfinger": (np.array([0.0, 0.0, -5.0]), np.zeros(3))})
        robot.step()
    links = robot.links()
    hand, finger = links.pose("panda_hand"), links.pose("panda_leftfinger")
    felt = robot.wrench("panda_hand", frame="world")
    np.testing.assert_allclose(felt.force, [0, 0, -5], atol=1e-4)
    np.testing.assert_allclose(felt.torque, np.cross(finger[0] - hand[0], [0, 0, -5]), atol=1e-4)
    inside = robot.wrench("panda_hand")
    turn = Rotation.from_quat(hand[1], scalar_first=True)
    np.testing.assert_allclose(turn.apply(inside.force), felt.force, atol=1e-12)
    np.testing.assert_allclose(robot.contact_wrench("panda_leftfinger").force, [0, 0, -5])


@pytest.mark.parametrize("name", ["panda", "kuka", "xarm"])
def test_at_rest_every_joint_carries_the_weight_beyond_it(robots, name, rng):
    turn = rng.normal(size=4)
    robot = PyBulletRobot(robots[name], base_pose=(rng.normal(size=3), turn / np.linalg.norm(turn)), gravity=(0.5, 0, -9.81))
    tree = robot.kinematics.tree
    robot.reset()
    robot.step()
    links = robot.links()
    centers = np.array([robot.description.link(link).center for link in tree.links])
    turns = Rotation.from_quat(links.quaternions, scalar_first=True)
    places = links.positions + turns.apply(centers)
    weights = np.array([robot.description.link(link).mass for link in tree.links])[:, None] * [0.5, 0, -9.81]
    for number in range(1, len(tree.links)):
        beyond = [k for k in range(len(tree.links)) if _carries(tree, number, k)]
        felt = robot.wrench(tree.links[number], frame="world")
        np.testing.assert_allclose(felt.force, weights[beyond].sum(axis=0), atol=1e-5)
        moment = np.cross(places[beyond] - links.positions[number], weights[beyond]).sum(axis=0)
        np.testing.assert_allclose(felt.torque, moment, atol=1e-5)


def _carries(tree, number, link):
    while link > number:
        link = tree.parent[link]
    return link == number


def test_a_pendulum_without_a_motor_swings_with_its_period():
    robot = PyBulletRobot(one_joint("continuous"), dt=2e-3)
    robot.reset([0.05])
    robot.command(torque=0.0)
    crossings, before = [], 0.05
    while robot.time < 4.0:
        robot.step()
        now = robot.state().position[0]
        if before * now < 0:
            crossings.append(robot.time - robot.dt * now / (now - before))
        before = now
    assert 2 * np.mean(np.diff(crossings)) == pytest.approx(2 * np.pi * np.sqrt(0.5 / 9.81), rel=1e-3)


@pytest.mark.parametrize("ratio", [0.5, 1.0])
def test_a_position_servo_answers_as_its_frequency_and_damping_say(ratio):
    robot = PyBulletRobot(one_joint("prismatic"), dt=2e-4, bandwidth=5.0, damping_ratio=ratio)
    robot.command(position=0.1)
    rate, found, times = 2 * np.pi * 5.0, [], []
    for _ in range(1000):
        robot.step()
        found.append(robot.state().position[0])
        times.append(robot.time)
    # The set point jumps where no speed limit holds it back, and its speed in that one step is an impulse 2 z w on the damper.
    s = np.roots([1.0, 2 * ratio * rate, rate**2]).astype(complex) + np.array([1e-6j, -1e-6j])
    t = np.array(times)
    shares = [(2 * ratio * rate * a + rate**2) / (a * (a - b)) for a, b in (s, s[::-1])]
    step = 1 + sum(share * np.exp(a * t) for share, a in zip(shares, s)).real
    np.testing.assert_allclose(found, 0.1 * step, atol=0.1 * 0.03)


def test_motors_give_no_more_than_their_effort(panda):
    panda.command(position=0.0, joints=FINGERS, effort=5.0)
    worst = 0.0
    for _ in range(480):
        links = panda.links()
        inward = links.pose("panda_leftfinger")[0] - links.pose("panda_rightfinger")[0]
        push = 5.0 * inward / np.linalg.norm(inward)
        panda.apply({"panda_leftfinger": (push, np.zeros(3)), "panda_rightfinger": (-push, np.zeros(3))})
        panda.step()
        worst = max(worst, np.abs(panda.state().torque[7:]).max())
        if panda.state().saturated[7:].all():
            break
    assert panda.state().saturated[7:].all() and worst < 7.5
    np.testing.assert_allclose(np.abs(panda.state().torque[7:]), 5.0)
    assert not panda.state().saturated[:7].any()


def test_joints_keep_their_speed_limit_and_arrive(panda):
    tree, fastest = panda.kinematics.tree, np.zeros(9)
    panda.command(position=[0.8, 0.0], joints=("panda_joint1", "panda_finger_joint1"))
    for _ in range(480):
        panda.step()
        fastest = np.maximum(fastest, np.abs(panda.state().velocity))
    assert (fastest <= tree.velocity * 1.03).all(), "one joint's start shakes the others"
    assert fastest[0] > 0.9 * tree.velocity[0]
    assert panda.state().position[0] == pytest.approx(0.8, abs=1e-5)
    assert panda.state().position[7] == pytest.approx(0.0, abs=1e-6)
    assert panda.state().position[8] == pytest.approx(0.03, abs=1e-6)


@pytest.mark.parametrize("name", ["panda", "xarm"])
def test_all_joints_at_once_go_far_and_arrive_within_their_speeds(robots, name, rng):
    robot = PyBulletRobot(robots[name])
    tree = robot.kinematics.tree
    low, high = np.maximum(tree.lower, -2.0)[tree.free], np.minimum(tree.upper, 2.0)[tree.free]
    for _ in range(2):
        goal, fastest = rng.uniform(low, high), np.zeros(len(tree.joints))
        robot.command(position=goal)
        for _ in range(800):
            robot.step()
            fastest = np.maximum(fastest, np.abs(robot.state().velocity))
        assert (fastest <= 1.5 * tree.velocity).all()
        np.testing.assert_allclose(robot.state().position[tree.free], goal, atol=1e-3)


def test_a_slower_way_can_be_asked_for(panda):
    panda.command(position=0.8, joints="panda_joint1", speed=0.2)
    for _ in range(240):
        panda.step()
    assert panda.state().velocity[0] == pytest.approx(0.2, rel=1e-3)


def test_a_blocked_joint_is_not_faster_than_its_limit_when_it_comes_free(panda):
    panda.command(position=0.0, joints="panda_finger_joint1")
    hold = panda.links().pose("panda_leftfinger")[0]
    for k in range(480):
        if k < 240:
            stretch = panda.links().pose("panda_leftfinger")[0] - hold
            panda.apply({"panda_leftfinger": (-2000.0 * stretch, np.zeros(3))})
        panda.step()
        if k >= 240:
            assert np.abs(panda.state().velocity[7]) < 0.2 * 1.001
    assert panda.state().position[7] == pytest.approx(0.0, abs=1e-6)


def test_the_end_of_a_range_holds(panda):
    panda.command(torque=5.0, joints=FINGERS)
    for _ in range(240):
        panda.step()
    state = panda.state()
    np.testing.assert_allclose(state.position[7:], 0.04, atol=1e-8)
    assert state.stopped[7:].all() and not state.stopped[:7].any()
    assert (panda.prepare().mobility[7:] == 0).all()
    panda.command(torque=-5.0, joints=FINGERS)
    panda.step()
    assert not panda.state().stopped.any() and (panda.state().velocity[7:] < 0).all()


@pytest.mark.parametrize(("link", "bandwidth"), [("panda_leftfinger", 20.0), ("panda_hand", 20.0), ("panda_hand", 1.0)])
def test_stiff_contact_is_stable_and_holds_what_the_robot_presses_with(robots, link, bandwidth):
    """A stiff spring at a finger, or one that the wrist drives, k dt^2/m = 100 and 1,000 of the contact's inertia there."""
    robot = PyBulletRobot(robots["panda"], bandwidth=bandwidth)
    robot.reset(HOME)
    place = robot.links().pose(link)[0]
    normal = np.array([0.0, 1.0, 0.0]) if link == "panda_leftfinger" else np.array([0.0, 0.0, 1.0])
    jacobian = robot.kinematics.jacobian(HOME, link)[:3].T @ normal
    robot.command(position=HOME)
    if link == "panda_leftfinger":
        axis = np.sign(jacobian[7])
        robot.command(torque=-5.0 * axis, joints=FINGERS[0])
    else:
        down = robot.inverse_kinematics("panda_hand", place - [0, 0, 0.01], robot.links().pose(link)[1])
        robot.command(position=down.q)
    for ratio in (100.0, 1000.0):
        forces = []
        for _ in range(240):
            prediction = robot.prepare()
            row = normal @ prediction.jacobians[robot.kinematics.tree.link(link)][:3]
            inertia = 1.0 / (row @ prediction.mobility @ row)
            stiffness = ratio * inertia / robot.dt**2
            gap = normal @ (prediction.positions[robot.kinematics.tree.link(link)] - place)
            free = gap + row @ (prediction.q - robot.state().position)  # where it would be without contact
            force = max(0.0, -stiffness * free / (1.0 + ratio))
            robot.apply({link: Wrench(force * normal)})
            robot.step()
            forces.append(force)
        tail = np.array(forces[-60:])
        assert tail.min() > 0 and np.ptp(tail) < 0.02 * tail.mean()
        if link == "panda_leftfinger":
            assert tail.mean() == pytest.approx(5.0, rel=0.02)


def test_followers_move_exactly_with_their_leader_and_share_its_motor(robots):
    description = robots["panda"]
    mimic = physsim.io.description.Mimic(FINGERS[0])
    coupled = tuple(replace(joint, mimic=mimic) if joint.name == FINGERS[1] else joint for joint in description.joints)
    robot = PyBulletRobot(replace(description, joints=coupled))
    robot.reset(HOME)
    robot.command(torque=-1.0, joints=FINGERS[0])
    robot.apply({"panda_leftfinger": (np.array([0.0, 0.3, 0.1]), np.zeros(3))})
    for _ in range(20):
        robot.step()
        assert robot.state().position[7] == pytest.approx(robot.state().position[8], abs=1e-12)
    assert robot.state().torque[7] == -1.0 and robot.state().torque[8] == 0.0
    with pytest.raises(physsim.InputError, match="it follows 'panda_finger_joint1'; command that one"):
        robot.command(position=0.0, joints=FINGERS)
    with pytest.raises(physsim.InputError, match=r"must be 0\.02"):
        robot.reset([*HOME[:7], 0.02, 0.03])


def test_robots_in_one_process_know_nothing_of_each_other(robots):
    one, other = PyBulletRobot(robots["panda"]), PyBulletRobot(robots["panda"])
    one.command(velocity=0.5, joints="panda_joint1")
    before = other.state().position
    for _ in range(10):
        one.step()
    assert (other.state().position == before).all()
    one.close()
    one.close()
    other.step()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda r: r.command(position=3.0, joints="panda_joint1"), "position = 3 of joint 'panda_joint1': must lie in [-2.9671, 2.9671]"),
        (lambda r: r.command(velocity=-0.3, joints=FINGERS), "velocity = -0.3 of joint 'panda_finger_joint1': must lie in [-0.2, 0.2]"),
        (lambda r: r.command(torque=90.0, joints="panda_joint1"), "torque = 90 of joint 'panda_joint1': must lie in [-87, 87]"),
        (lambda r: r.command(position=0.0, joints=FINGERS, effort=21.0), "effort = 21 of joint 'panda_finger_joint1'"),
        (lambda r: r.command(position=0.0, torque=0.0), "exactly one of position, velocity and torque is needed, 2 were given"),
        (lambda r: r.command(), "0 were given"),
        (lambda r: r.command(position=np.nan), "NaN or infinite"),
        (lambda r: r.command(position=[0.0, 0.0]), "shape [2] was given, [9] is needed"),
        (lambda r: r.command(position=0.0, joints="elbow"), "joint 'elbow': there is none of that name"),
        (lambda r: r.command(position=0.0, joints=[["panda_joint1"]]), "the name of a joint, several, or None for all are needed"),
        (lambda r: r.command(position=0.0, joints=5), "joints = 5"),
        (lambda r: r.command(position=0.0, joints=FINGERS[:1] * 2), "named twice"),
        (lambda r: r.command(position=0.0, on_limit="ignore"), "must be 'raise' or 'clip'"),
        (lambda r: r.reset(np.full(9, 0.5)), "must lie in"),
        (lambda r: r.reset(HOME, np.full(9, 5.0)), "qd = 5 of joint 'panda_joint1': must lie in [-2.175, 2.175]"),
        (lambda r: r.apply({"tail": (np.zeros(3), np.zeros(3))}), "link 'tail': there is none of that name"),
        (lambda r: r.apply({"panda_hand": np.zeros(3)}), "a pair of a force [3] and a torque [3] is needed"),
        (lambda r: r.apply({"panda_hand": (np.full(3, np.inf), np.zeros(3))}), "force on 'panda_hand'"),
        (lambda r: r.apply([1.0]), "wrenches: a dict is needed"),
        (lambda r: r.wrench("panda_link0"), "it is the root, no joint holds it"),
        (lambda r: r.wrench("panda_hand", frame="tool"), "must be 'link' or 'world'"),
        (lambda r: PyBulletRobot(r.description, dt=0.0), "dt = 0: must lie in (0, inf)"),
        (lambda r: PyBulletRobot(r.description, bandwidth=-1.0), "bandwidth = -1"),
        (lambda r: PyBulletRobot(r.description, gravity=9.81), "gravity: shape [] was given, [3] is needed"),
        (lambda r: PyBulletRobot(one_joint("prismatic", mass=0.0, inertia=0.0)), "no link that it moves has a mass"),
    ],
)
def test_what_does_not_fit_is_refused(panda, call, message):
    with pytest.raises(physsim.InputError, match=re.escape(message)):
        call(panda)


def test_commands_beyond_limits_are_clipped_where_that_is_asked_for(panda):
    panda.command(position=-1.0, joints=FINGERS, on_limit="clip", effort=1e3)
    np.testing.assert_array_equal(panda.commands.target[7:], 0.0)
    np.testing.assert_array_equal(panda.commands.effort[7:], 20.0)


def test_without_pybullet_the_message_says_what_to_install(robots, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "pybullet", None)
    with pytest.raises(physsim.InputError, match=re.escape("pip install 'physsim[robots]'")):
        PyBulletRobot(robots["panda"])


def test_sensors_read_nothing_between_a_reset_and_the_first_step(panda):
    panda.step()
    assert np.linalg.norm(panda.wrench("panda_hand").force) > 1.0
    panda.reset(HOME)
    assert not panda.wrench("panda_hand").force.any()
    assert not panda.wrench("panda_hand", frame="world").torque.any()
