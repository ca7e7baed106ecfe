"""Poses against PyBullet and Pinocchio, derivatives against differences, inverse kinematics against its own forward."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

import physsim
from physsim.errors import InputError
from physsim.io.description import Joint, Link, RobotDescription
from physsim.robots import Kinematics
from physsim.robots.inverse import rotation_between
from physsim.robots.tree import base_place

FILES = {"panda": "franka_panda/panda.urdf", "kuka": "kuka_iiwa/model.urdf", "xarm": "xarm/xarm6_with_gripper.urdf"}


def random_joints(kinematics, rng, *shape):
    tree = kinematics.tree
    low, high = np.maximum(tree.lower, -3.0), np.minimum(tree.upper, 3.0)
    return rng.uniform(low, high, (*shape, kinematics.dof))


def random_pose(rng):
    turn = rng.normal(size=4)
    return rng.normal(size=3), turn / np.linalg.norm(turn)


def angle(a, b):
    return 4 * np.arcsin(min(np.linalg.norm(a - b), np.linalg.norm(a + b)) / 2)


@pytest.fixture
def arm(robots):
    return Kinematics(robots["panda"])


@pytest.mark.parametrize("name", FILES)
def test_every_link_is_where_pybullet_puts_it(robots, name, rng):
    pybullet, data = pytest.importorskip("pybullet"), pytest.importorskip("pybullet_data")
    base = random_pose(rng)
    kinematics = Kinematics(robots[name], base)
    client = pybullet.connect(pybullet.DIRECT)
    try:
        path = f"{data.getDataPath()}/{FILES[name]}"
        body = pybullet.loadURDF(path, base[0], base[1][[1, 2, 3, 0]].tolist(), useFixedBase=True, physicsClientId=client)
        infos = [pybullet.getJointInfo(body, k, physicsClientId=client) for k in range(pybullet.getNumJoints(body, physicsClientId=client))]
        for q in random_joints(kinematics, rng, 5):
            values = dict(zip(kinematics.joints, q))
            for info in infos:
                if info[1].decode() in values:
                    pybullet.resetJointState(body, info[0], values[info[1].decode()], physicsClientId=client)
            positions, quaternions = kinematics.forward(q)
            for info in infos:
                state = pybullet.getLinkState(body, info[0], computeForwardKinematics=1, physicsClientId=client)
                link = kinematics.tree.link(info[12].decode())
                np.testing.assert_allclose(positions[link], state[4], atol=1e-6)
                assert angle(quaternions[link], np.array(state[5])[[3, 0, 1, 2]]) < 1e-5
    finally:
        pybullet.disconnect(client)


@pytest.mark.parametrize("name", FILES)
def test_every_link_is_where_pinocchio_puts_it(robots, name, rng):
    pin, data = pytest.importorskip("pinocchio"), pytest.importorskip("pybullet_data")
    model = pin.buildModelFromUrdf(f"{data.getDataPath()}/{FILES[name]}")
    kinematics = Kinematics(robots[name])
    frames = {model.frames[k].name: k for k in range(model.nframes)}
    links = [link for link in kinematics.links if link in frames]
    store = model.createData()
    for q in random_joints(kinematics, rng, 5):
        theirs = pin.neutral(model)
        for joint, value in zip(kinematics.joints, q):
            if model.existJointName(joint):
                theirs[model.joints[model.getJointId(joint)].idx_q] = value
        pin.framesForwardKinematics(model, store, theirs)
        for link in links:
            np.testing.assert_allclose(kinematics.forward(q)[0][kinematics.tree.link(link)], store.oMf[frames[link]].translation, atol=1e-9)


def test_jacobians_are_what_differences_of_poses_say(robots, rng):
    for name in FILES:
        kinematics = Kinematics(robots[name], random_pose(rng))
        q, point, link = random_joints(kinematics, rng), rng.normal(size=3), kinematics.links[-1]
        every, one, step = kinematics.jacobians(q), kinematics.jacobian(q, link, point), 1e-6
        for k in range(kinematics.dof):
            ends = [kinematics.forward(q + sign * step * np.eye(kinematics.dof)[k]) for sign in (-1, 1)]
            np.testing.assert_allclose(every[:, :3, k], (ends[1][0] - ends[0][0]) / (2 * step), atol=1e-8)
            turns = [Rotation.from_quat(end[1], scalar_first=True) for end in ends]
            np.testing.assert_allclose(every[:, 3:, k], (turns[1] * turns[0].inv()).as_rotvec() / (2 * step), atol=1e-8)
            moved = [end[0][-1] + turn[-1].apply(point) for end, turn in zip(ends, turns)]
            np.testing.assert_allclose(one[:3, k], (moved[1] - moved[0]) / (2 * step), atol=1e-7)


def test_reverse_mode_passes_the_gradient_check(robots, rng):
    for name in FILES:
        kinematics = Kinematics(robots[name], random_pose(rng))
        q = torch.tensor(random_joints(kinematics, rng, 2, 2), requires_grad=True)
        assert torch.autograd.gradcheck(kinematics.forward_torch, (q,))


def test_a_tree_of_joints_of_all_kinds_has_right_derivatives(rng):
    kinematics = Kinematics(random_tree(rng), random_pose(rng))
    q = torch.tensor(random_joints(kinematics, rng, 2), requires_grad=True)
    assert torch.autograd.gradcheck(kinematics.forward_torch, (q,))


def test_a_batch_gives_what_each_of_its_rows_gives(arm, rng):
    q = random_joints(arm, rng, 2, 3)
    positions, quaternions = arm.forward(q)
    jacobians = arm.jacobians(q)
    for k in np.ndindex(2, 3):
        one = arm.forward(q[k])
        assert (positions[k] == one[0]).all() and (quaternions[k] == one[1]).all()
        assert (jacobians[k] == arm.jacobians(q[k])).all()


def test_single_precision_is_right_to_a_micrometre(robots, arm, rng):
    q = random_joints(arm, rng, 4)
    np.testing.assert_allclose(Kinematics(robots["panda"], dtype="float32").forward(q)[0], arm.forward(q)[0], atol=2e-6)


def random_tree(rng, links=12):
    """A tree of joints of all kinds in random places."""
    parts = [Link(f"link {k}", 1.0, np.zeros(3), np.eye(3)) for k in range(links)]
    joints = []
    for k in range(1, links):
        origin, axis = np.eye(4), rng.normal(size=3)
        origin[:3, :3], origin[:3, 3] = Rotation.random(rng=rng).as_matrix(), rng.normal(size=3)
        kind = ("revolute", "prismatic", "continuous", "fixed")[k % 4]
        joints.append(Joint(f"joint {k}", kind, f"link {rng.integers(k)}", f"link {k}", origin, axis / np.linalg.norm(axis)))
    return RobotDescription("tree", tuple(parts), tuple(joints), Path("."), Path("tree.urdf"))


@pytest.mark.gpu
def test_the_device_gives_the_same_poses_and_derivatives(rng):
    import warp as wp

    if not wp.get_cuda_devices():
        pytest.skip("no CUDA device")
    description = random_tree(rng)
    here, there = Kinematics(description), Kinematics(description, device="cuda:0")
    q = random_joints(here, rng, 64)
    for mine, theirs in zip(here.forward(q), there.forward(q)):
        np.testing.assert_allclose(theirs, mine, atol=1e-12)
    np.testing.assert_allclose(there.jacobians(q), here.jacobians(q), atol=1e-12)
    weights = rng.normal(size=(64, len(here.links), 3)), rng.normal(size=(64, len(here.links), 4))
    np.testing.assert_allclose(there.pullback(q, *weights), here.pullback(q, *weights), atol=1e-10)


def test_inverse_kinematics_reaches_at_least_198_of_200_panda_poses(robots, rng):
    kinematics = Kinematics(robots["panda"], random_pose(rng))
    tree, tool, reached = kinematics.tree, kinematics.tree.link("panda_grasptarget"), 0
    for q in random_joints(kinematics, rng, 200):
        positions, quaternions = kinematics.forward(q)
        found = kinematics.inverse("panda_grasptarget", positions[tool], quaternions[tool])
        there = kinematics.forward(found.q)
        near = np.linalg.norm(there[0][tool] - positions[tool]) <= 1e-3
        aligned = angle(there[1][tool], quaternions[tool]) <= np.radians(1.0) + 1e-9
        within = (found.q >= tree.lower).all() and (found.q <= tree.upper).all()
        assert found.reached == (near and aligned) and within
        reached += found.reached
    assert reached >= 198


def test_what_cannot_be_reached_is_said_not_to_be(arm):
    found = arm.inverse("panda_hand", [2.0, 0.0, 0.5])
    assert not found.reached
    assert found.position_error == pytest.approx(np.linalg.norm(arm.forward(found.q)[0][arm.tree.link("panda_hand")] - [2.0, 0.0, 0.5]))
    assert found.position_error > 0.9 and arm.tree.reachable(found.q)


def test_of_a_position_alone_any_turn_will_do(arm):
    found = arm.inverse("panda_hand", [0.4, 0.2, 0.3], point=[0.0, 0.0, 0.1])
    positions, quaternions = arm.forward(found.q)
    hand = arm.tree.link("panda_hand")
    place = positions[hand] + Rotation.from_quat(quaternions[hand], scalar_first=True).apply([0.0, 0.0, 0.1])
    assert found.reached and found.rotation_error == 0.0
    np.testing.assert_allclose(place, [0.4, 0.2, 0.3], atol=1e-3)


def test_the_nearest_of_several_answers_is_the_one_given(arm, rng):
    start = np.array([0.0, -0.785, 0.0, -2.356, 0.0, 1.571, 0.785, 0.02, 0.02])
    positions, quaternions = (value[arm.tree.link("panda_hand")] for value in arm.forward(start + 0.05 * np.eye(9)[3]))
    found = arm.inverse("panda_hand", positions, quaternions, start=start)
    assert found.reached and np.abs(found.q - start).max() < 0.3
    assert (found.q[7:] == start[7:]).all(), "fingers do not move the hand"


def test_followers_follow_in_inverse_kinematics(robots):
    kinematics = Kinematics(robots["xarm"])
    tree = kinematics.tree
    goal = kinematics.rest()
    goal[tree.joint("joint2")] += 0.2
    goal = tree.follow @ goal[tree.free]
    target = kinematics.forward(goal)[0][tree.link("left_finger")]
    found = kinematics.inverse("left_finger", target)
    assert found.reached
    np.testing.assert_allclose(found.q, tree.follow @ found.q[tree.free] + tree.offset, atol=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda k: k.forward(np.zeros(8)), "[9] is needed"),
        (lambda k: k.forward(np.full(9, np.nan)), "NaN or infinite"),
        (lambda k: k.forward_torch(np.zeros(9)), "a torch tensor of floating point numbers is needed, ndarray was given"),
        (lambda k: k.jacobian(np.zeros(9), "panda_tail"), "link 'panda_tail': there is none of that name"),
        (lambda k: k.inverse("panda_hand", [0.4, 0.0]), "position: shape [2] was given, [3] is needed"),
        (lambda k: k.inverse("panda_hand", [0.4, 0.0, 0.3], [0, 0, 0, 0]), "quaternion: zero was given"),
        (lambda k: k.inverse("panda_hand", [0.4, 0.0, 0.3], start=np.full(9, 3.0)), "must lie in"),
        (lambda k: k.inverse("panda_link0", [0.4, 0.0, 0.3]), "none of the joints moves it"),
        (lambda k: k.inverse("panda_hand", [0.4, 0.0, 0.3], restarts=-1), "restarts = -1"),
        (lambda k: Kinematics(k.description, base_pose=[0, 0, 0]), "a pair of a position [3] and a quaternion"),
        (lambda k: Kinematics(k.description, dtype="float16"), "must be 'float64' or 'float32'"),
        (lambda k: Kinematics(k.description, device="abacus"), "'cpu' always works"),
        (lambda k: Kinematics("panda.urdf"), "description: a RobotDescription is needed, str was given"),
    ],
)
def test_what_does_not_fit_is_refused(arm, call, message):
    with pytest.raises(physsim.InputError, match=re.escape(message)):
        call(arm)


def test_a_rotation_vector_between_turns_is_scipys(rng):
    a, b = rng.normal(size=(20, 4)), rng.normal(size=4)
    a, b = a / np.linalg.norm(a, axis=1)[:, None], b / np.linalg.norm(b)
    first, second = (Rotation.from_quat(q, scalar_first=True) for q in (a, b))
    np.testing.assert_allclose(rotation_between(a, b), (second * first.inv()).as_rotvec(), atol=1e-12)
    np.testing.assert_allclose(rotation_between(b[None], -b), 0.0, atol=1e-12)


@pytest.mark.parametrize(
    ("pose", "text"),
    [
        ((np.zeros(3),), "a pair of a position"),
        ((np.zeros(2), np.ones(4)), "position of base_pose"),
        ((np.zeros(3), np.zeros(4)), "zero was given"),
    ],
)
def test_a_base_that_is_no_pose_is_refused(pose, text):
    with pytest.raises(InputError, match=text):
        base_place(pose)


def test_a_base_has_a_position_and_a_unit_quaternion():
    position, quaternion = base_place(([1, 2, 3], [0, 2, 0, 0]))
    np.testing.assert_array_equal(position, [1.0, 2.0, 3.0])
    np.testing.assert_array_equal(quaternion, [0.0, 1.0, 0.0, 0.0])
    np.testing.assert_array_equal(base_place(None)[1], [1.0, 0.0, 0.0, 0.0])
