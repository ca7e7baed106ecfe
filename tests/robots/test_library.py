"""Robots that come with PyBullet, and tools that are fixed to them."""

import re

import numpy as np
import pytest

import physsim
from physsim.robots import Kinematics, load_urdf, mount, panda


def test_the_pads_of_the_wsg50_meet_when_it_is_closed_and_open_to_its_stroke(robots):
    kinematics = Kinematics(robots["kuka"])
    q = kinematics.rest()
    for opening in (0.0, 0.055):
        q[7:] = opening
        positions, _ = kinematics.forward(q)
        faces = {}
        for side, towards in (("left", 1.0), ("right", -1.0)):
            pad = robots["kuka"].link(f"wsg50_{side}_jaw").collisions[0]
            faces[side] = positions[kinematics.tree.link(f"wsg50_{side}_jaw")], pad.origin[0, 3] + towards * pad.size[0] / 2
        apart = np.linalg.norm(faces["left"][0] - faces["right"][0])
        assert apart == pytest.approx(2 * opening, abs=1e-12)
        assert faces["left"][1] == pytest.approx(0.0, abs=1e-12) and faces["right"][1] == pytest.approx(0.0, abs=1e-12)


def test_the_panda_has_fingers_with_motors_of_their_own_or_one_for_both(robots):
    assert len(Kinematics(robots["panda"]).tree.free) == 9
    assert len(Kinematics(panda()).tree.free) == 8


def test_a_mounted_tool_moves_with_its_link(robots, rng):
    kinematics = Kinematics(robots["kuka"])
    q = rng.uniform(kinematics.tree.lower, kinematics.tree.upper)
    positions, quaternions = kinematics.forward(q)
    link, tool = kinematics.tree.link("lbr_iiwa_link_7"), kinematics.tree.link("wsg50_body")
    assert np.linalg.norm(positions[tool] - positions[link]) == pytest.approx(0.045)
    np.testing.assert_allclose(quaternions[tool], quaternions[link], atol=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda r: mount(r, r, "elbow", np.eye(4)), "link 'elbow': there is none of that name"),
        (lambda r: mount(r, r, "panda_hand", 2 * np.eye(4)), "pose: a turn and a shift are needed"),
        (lambda r: mount(r, r, "panda_hand", np.eye(4)), "panda_link0"),
        (lambda r: mount(r, "tool", "panda_hand", np.eye(4)), "tool: a RobotDescription is needed, str was given"),
    ],
)
def test_what_does_not_fit_is_refused(robots, call, message):
    with pytest.raises(physsim.InputError, match=re.escape(message)):
        call(robots["panda"])


def test_a_robot_whose_joints_are_all_fixed_is_refused(tmp_path):
    path = tmp_path / "rock.urdf"
    path.write_text("""<robot name="rock">
<link name="a"/><link name="b"/><joint name="j" type="fixed"><parent link="a"/><child link="b"/></joint></robot>""")
    with pytest.raises(physsim.InputError, match="all of its joints are fixed"):
        Kinematics(load_urdf(path))


def test_every_public_name_is_found_and_others_are_attribute_errors():
    assert all(hasattr(physsim.robots, name) for name in physsim.robots.__all__)
    with pytest.raises(AttributeError, match=re.escape("module 'physsim.robots' has no attribute 'Android'")):
        _ = physsim.robots.Android
