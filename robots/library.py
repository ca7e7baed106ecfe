"""Robots that come with PyBullet, read through the same door as any other."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from physsim.errors import InputError
from physsim.io.description import Joint, RobotDescription
from physsim.io.urdf import load_urdf
from physsim.physics import validation


def panda(coupled_fingers=True):
    """Franka Emika Panda with its hand: seven joints and two fingers; the point between the fingertips is `panda_grasptarget`.

    Args:
        coupled_fingers: whether the second finger follows the first one, as in the hand itself; False: each has a motor of its own.

    Returns:
        RobotDescription.

    Raises:
        InputError: PyBullet's data are not installed.
    """
    description = load_urdf(_data() / "franka_panda" / "panda.urdf")
    if coupled_fingers:
        return description
    return replace(description, joints=tuple(replace(joint, mimic=None) for joint in description.joints))


def kuka_wsg50():
    """KUKA LBR iiwa 7 with a Schunk WSG 50-110: seven joints and two jaws that one motor moves; `wsg50_grasp` lies between the pads.

    PyBullet's own file of the two closes the gripper by a loop, which no URDF holds; the jaws here slide (`wsg50.urdf` says how).

    Returns:
        RobotDescription.

    Raises:
        InputError: PyBullet's data are not installed.
    """
    data = _data()
    arm = load_urdf(data / "kuka_iiwa" / "model.urdf")
    gripper = load_urdf(Path(__file__).parent / "wsg50.urdf", [data])
    flange = np.eye(4)
    flange[2, 3] = 0.045  # [m], the face of the last link's mesh
    return mount(arm, gripper, "lbr_iiwa_link_7", flange)


def xarm6():
    """UFACTORY xArm 6 with its gripper: six joints, and six more in the gripper of which five follow `drive_joint`.

    Returns:
        RobotDescription.

    Raises:
        InputError: PyBullet's data are not installed.
    """
    return load_urdf(_data() / "xarm" / "xarm6_with_gripper.urdf")


def mount(robot, tool, link, pose):
    """A robot with a tool fixed to one of its links.

    Args:
        robot, tool: RobotDescription.
        link: name of the robot's link.
        pose: of the tool's root in that link, shape [4, 4].

    Returns:
        RobotDescription; the tool's links and joints come after the robot's.

    Raises:
        InputError: no such link, a pose that is none, a name that both have.
    """
    validation.instance("robot", robot, RobotDescription)
    validation.instance("tool", tool, RobotDescription)
    robot.link(link)
    pose = validation.array("pose", pose, (4, 4))
    turn = pose[:3, :3]
    if np.abs(turn @ turn.T - np.eye(3)).max() > 1e-6 or np.linalg.det(turn) < 0 or (pose[3] != (0, 0, 0, 1)).any():
        raise InputError("pose: a turn and a shift are needed, [[R, t], [0, 1]] with R orthogonal and right-handed")
    joint = Joint(f"{link} to {tool.root}", "fixed", link, tool.root, pose, np.array([0.0, 0.0, 1.0]))
    return replace(
        robot,
        name=f"{robot.name} with {tool.name}",
        links=(*robot.links, *tool.links),
        joints=(*robot.joints, joint, *tool.joints),
    )


def _data():
    try:
        import pybullet_data
    except ImportError:
        raise InputError("PyBullet's data are not installed; pip install 'physsim[robots]' brings them") from None
    return Path(pybullet_data.getDataPath())
