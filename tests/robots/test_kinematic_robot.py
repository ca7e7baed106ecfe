"""Robots that go where they are told: trajectories in numpy and torch, steps, limits, and what pushes them."""

import re

import numpy as np
import pytest
import torch

import physsim
from physsim.robots import KinematicRobot, Robot, Wrench

HOME = np.array([0.0, -0.785, 0.0, -2.356, 0.0, 1.571, 0.785, 0.03, 0.03])


@pytest.fixture
def panda(robots):
    robot = KinematicRobot(robots["panda"])
    robot.reset(HOME)
    return robot


def keys(rng, count=4, envs=()):
    return HOME + 0.05 * rng.uniform(-1.0, 1.0, (count, *envs, 9)) * np.array([1.0] * 7 + [0.1, 0.1])


def test_links_are_where_forward_kinematics_puts_them(panda, rng):
    times, joints = np.array([0.0, 0.3, 0.7, 1.0]), keys(rng)
    panda.follow(times, joints)
    poses = panda.link_poses(links=("panda_hand", "panda_leftfinger"))
    positions, quaternions = panda.forward_kinematics(joints)
    for link in ("panda_hand", "panda_leftfinger"):
        number = panda.kinematics.tree.link(link)
        np.testing.assert_array_equal(poses[link][0], positions[:, number])
        np.testing.assert_array_equal(poses[link][1], quaternions[:, number])
    between = panda.link_poses([-1.0, 0.15, 2.0], "panda_hand")["panda_hand"][0]
    wanted = panda.forward_kinematics([joints[0], 0.5 * (joints[0] + joints[1]), joints[3]])[0]
    np.testing.assert_allclose(between, wanted[:, panda.kinematics.tree.link("panda_hand")], atol=1e-14)


def test_gradients_of_poses_reach_the_trajectory(panda, rng):
    times, joints = np.array([0.0, 0.5, 1.0]), torch.tensor(keys(rng, 3, (2,)), requires_grad=True)
    numbers = torch.tensor(rng.normal(size=(4, 2, 7)))

    def score(q):
        panda.follow(times, q)
        return (torch.cat(panda.link_poses([0.1, 0.4, 0.5, 0.9])["panda_hand"], dim=-1) * numbers).sum()

    assert torch.autograd.gradcheck(score, (joints,))


def test_environments_do_not_mix(panda, rng):
    times, joints = np.array([0.0, 0.5, 1.0]), keys(rng, 3, (3,))
    panda.follow(times, joints)
    together = panda.link_poses([0.25, 0.6])["panda_hand"]
    for env in range(3):
        panda.follow(times, joints[:, env])
        alone = panda.link_poses([0.25, 0.6])["panda_hand"]
        np.testing.assert_array_equal(together[0][:, env], alone[0])
        np.testing.assert_array_equal(together[1][:, env], alone[1])


def test_a_control_takes_the_poses_as_they_are(panda, rng):
    builder = physsim.ModelBuilder()
    mesh = physsim.box_mesh((0.04, 0.04, 0.04), (1, 1, 1))
    body = builder.add_soft_body(mesh, physsim.NeoHookean(young=1e4, poisson=0.3, density=100.0))
    grip = builder.attach(body, [0, 1, 2, 3])
    panda.follow([0.0, 0.5], torch.tensor(keys(rng, 2), requires_grad=True))
    control = physsim.Control.from_poses(builder.finalize(), [0.0, 0.5], {grip: panda.link_poses()["panda_hand"]})
    assert next(iter(control.targets.values())).requires_grad


def test_stepping_follows_the_trajectory(panda, rng):
    joints = keys(rng, 3)
    panda.follow([0.0, 0.5, 1.0], joints)
    for _ in range(60):
        prediction = panda.prepare()
        panda.step()
        np.testing.assert_array_equal(panda.state().position, prediction.q)
    np.testing.assert_allclose(panda.state().position, 0.5 * (joints[0] + joints[1]), atol=1e-12)
    np.testing.assert_allclose(panda.state().velocity, (joints[1] - joints[0]) / 0.5, atol=1e-9)
    assert (prediction.mobility == 0).all()


def test_commands_are_approached_at_the_largest_speed(panda):
    panda.command(position=0.0, joints="panda_finger_joint1")
    panda.command(velocity=0.1, joints="panda_finger_joint2")
    for k in range(48):
        panda.step()
        assert panda.state().position[7] == pytest.approx(max(0.0, 0.03 - 0.2 * (k + 1) / 240), abs=1e-12)
        assert panda.state().position[8] == pytest.approx(min(0.04, 0.03 + 0.1 * (k + 1) / 240), abs=1e-12)
    assert panda.state().stopped[8] and not panda.state().stopped[7]
    panda.command(position=0.02, joints="panda_finger_joint2")
    panda.step()
    assert panda.state().position[8] == pytest.approx(0.04 - 0.2 / 240)


def test_what_pushes_a_finger_is_felt_at_the_wrist(panda, rng):
    left, right = rng.normal(size=3), rng.normal(size=3)
    links = panda.links()
    panda.apply({"panda_leftfinger": (left, np.zeros(3)), "panda_rightfinger": Wrench(right, np.ones(3))})
    panda.step()
    felt = panda.wrench("panda_hand", frame="world")
    hand = links.pose("panda_hand")[0]
    arms = [links.pose(f"panda_{side}finger")[0] - hand for side in ("left", "right")]
    np.testing.assert_allclose(felt.force, left + right, atol=1e-12)
    np.testing.assert_allclose(felt.torque, np.cross(arms[0], left) + np.cross(arms[1], right) + 1.0, atol=1e-12)
    assert np.linalg.norm(panda.wrench("panda_hand").force) == pytest.approx(np.linalg.norm(left + right))
    np.testing.assert_array_equal(panda.wrench("panda_rightfinger", frame="world").force, right)
    panda.step()
    assert (panda.wrench("panda_hand").force == 0).all()


def test_both_backends_are_robots(panda, robots):
    assert isinstance(panda, Robot)
    assert isinstance(KinematicRobot.load(robots["panda"].path), Robot)


def test_a_clipped_trajectory_stays_within_the_limits(panda):
    joints = torch.tensor(np.stack([HOME, HOME]), requires_grad=True)
    panda.follow([0.0, 1.0], joints + torch.tensor([0.0] * 7 + [0.05, 0.0]), on_limit="clip")
    assert float(panda.trajectory.detach()[0, 7]) == 0.04
    panda.link_poses()["panda_leftfinger"][0].sum().backward()
    assert (joints.grad[:, 7] == 0).all() and (joints.grad[:, :6] != 0).any()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda r: r.command(torque=0.0), "a KinematicRobot has no mass"),
        (lambda r: r.link_poses(), "no trajectory is followed"),
        (lambda r: r.follow([0.0, 0.0], [HOME, HOME]), "each later than the one before"),
        (lambda r: r.follow([0.0, 1.0], [HOME]), "joints: shape [1, 9] was given, [2, 9] or [2, envs, 9] is needed"),
        (lambda r: r.follow([0.0, 1.0], [HOME, HOME + 3.0]), "at [1, 0], joint 'panda_joint1': must lie in [-2.9671, 2.9671]"),
        (lambda r: r.follow([0.0, 0.01], [HOME, HOME + 0.005]), "speed between keys = 0.5 at [0, 7]"),
        (lambda r: r.follow([0.0, 1.0], [HOME, HOME * np.nan]), "NaN or infinite"),
        (lambda r: r.follow([0.0, 1.0], [HOME, HOME], on_limit="shrug"), "must be 'raise' or 'clip'"),
        (lambda r: (r.follow([0.0], [HOME]), r.link_poses(links="tail")), "link 'tail': there is none of that name"),
        (lambda r: (r.follow([0.0], [[HOME]]), r.step()), "`link_poses` gives the poses of all"),
    ],
)
def test_what_does_not_fit_is_refused(panda, call, message):
    with pytest.raises(physsim.InputError, match=re.escape(message)):
        call(panda)


def test_a_trajectory_in_which_a_follower_does_not_follow_is_refused(robots):
    robot = KinematicRobot(robots["xarm"])
    joints = np.stack([robot.kinematics.rest()] * 2)
    joints[1, robot.kinematics.tree.joint("right_finger_joint")] += 0.1
    with pytest.raises(physsim.InputError, match="'right_finger_joint' follows another joint"):
        robot.follow([0.0, 1.0], joints)


def test_a_robot_that_begins_anew_leaves_its_trajectory(panda):
    goal = HOME + 0.2 * np.array([1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0])
    panda.follow([0.0, 1.0], np.array([HOME, goal]))
    panda.step()
    panda.reset(HOME)
    for _ in range(10):
        panda.step()
    np.testing.assert_array_equal(panda.state().position, HOME)


def test_joints_that_are_not_named_stay_where_the_trajectory_has_brought_them(panda):
    goal = HOME + 0.2 * np.array([1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0])
    panda.follow([0.0, 1.0], np.array([HOME, goal]))
    for _ in range(120):
        panda.step()
    reached = panda.state().position
    panda.command(position=HOME[0], joints=[panda.joints[0]])
    for _ in range(120):
        panda.step()
    assert panda.state().position[0] == pytest.approx(HOME[0], abs=1e-12)
    np.testing.assert_allclose(panda.state().position[1:], reached[1:], atol=1e-12)
