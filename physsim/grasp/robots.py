"""The robots that grasp: where their tools are, how their hands are made, and where their fingers open and close."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from physsim.errors import InputError
from physsim.robots.grasping import GraspCandidate, Gripper


@dataclass(frozen=True)
class RobotSetup:
    """What a grasp needs to know of a robot.

    Attributes:
        name: as on the command line
        describe: makes its RobotDescription
        tool: link that inverse kinematics brings to the grasp
        point: held place in that link [m], shape [3]
        closing, approach: axes of closing and of approach in that link, shape [3] each
        arm: names of the arm's joints
        start: joint positions of the arm that inverse kinematics begins with [rad]
        fingers: names of the joints that close the hand
        opened, closed: their positions with the hand open and shut [rad or m]
        finger_links: the two links that press
        gripper: measures of the hand
        shown: links that the close pictures show
        place: where objects lie, x and y [m]
    """

    name: str
    describe: Callable
    tool: str
    arm: tuple[str, ...]
    start: tuple[float, ...]
    fingers: tuple[str, ...]
    opened: float
    closed: float
    finger_links: tuple[str, str]
    gripper: Gripper
    shown: tuple[str, ...]
    point: tuple[float, float, float] = (0.0, 0.0, 0.0)
    closing: tuple[float, float, float] = (0.0, 1.0, 0.0)
    approach: tuple[float, float, float] = (0.0, 0.0, 1.0)
    place: tuple[float, float] = field(default=(0.5, 0.0))

    def tool_rotations(self, candidate: GraspCandidate) -> list[np.ndarray]:
        """Rotations of the tool that bring the hand to a grasp, shape [3, 3] each: two, since the fingers may change sides."""
        own = np.stack([np.cross(self.closing, self.approach), self.closing, self.approach], axis=1)
        turned = np.diag([-1.0, -1.0, 1.0])  # in the hand's axes: half a turn about the approach
        return [candidate.rotation @ own.T, candidate.rotation @ turned @ own.T]


def robot_setup(name: str) -> RobotSetup:
    """The robot of that name.

    Raises:
        InputError: there is none.
    """
    if name not in ROBOTS:
        raise InputError(f"robot {name!r} is unknown; choose one of {', '.join(ROBOTS)}")
    return ROBOTS[name]()


def _panda() -> RobotSetup:
    from physsim.robots.library import panda

    return RobotSetup(
        name="panda",
        describe=panda,
        tool="panda_grasptarget",
        arm=tuple(f"panda_joint{i}" for i in range(1, 8)),
        start=(0.0, 0.1, 0.0, -2.2, 0.0, 2.3, 0.8),
        fingers=("panda_finger_joint1",),
        opened=0.04,
        closed=0.0,
        finger_links=("panda_leftfinger", "panda_rightfinger"),
        gripper=Gripper(opening=0.08, finger_width=0.021, finger_thickness=0.0265, finger_length=0.046, pad=0.0072),
        shown=("panda_hand", "panda_leftfinger", "panda_rightfinger"),
    )


def _kuka() -> RobotSetup:
    from physsim.robots.library import kuka_wsg50

    return RobotSetup(
        name="kuka",
        describe=kuka_wsg50,
        tool="wsg50_grasp",
        closing=(1.0, 0.0, 0.0),
        arm=tuple(f"lbr_iiwa_joint_{i}" for i in range(1, 8)),
        start=(0.0, 0.5, 0.0, -1.5, 0.0, 1.1, 0.0),
        fingers=("wsg50_left",),
        opened=0.055,
        closed=0.0,
        finger_links=("wsg50_left_jaw", "wsg50_right_jaw"),
        gripper=Gripper(opening=0.11, finger_width=0.02, finger_thickness=0.02, finger_length=0.19, pad=0.022),
        shown=("wsg50_body", "wsg50_left_jaw", "wsg50_right_jaw"),
        place=(0.55, 0.0),
    )


def _xarm() -> RobotSetup:
    from physsim.robots.library import xarm6

    return RobotSetup(
        name="xarm",
        describe=xarm6,
        tool="xarm_gripper_base_link",
        point=(0.0, 0.0, 0.16),
        arm=tuple(f"joint{i}" for i in range(1, 7)),
        start=(0.0, 0.0, -0.9, 0.0, 0.9, 0.0),
        fingers=("drive_joint",),
        opened=0.0,
        closed=0.85,
        finger_links=("left_finger", "right_finger"),
        gripper=Gripper(opening=0.085, finger_width=0.032, finger_thickness=0.032, finger_length=0.06, pad=0.01),
        shown=("xarm_gripper_base_link", "left_finger", "right_finger", "left_outer_knuckle", "right_outer_knuckle"),
        place=(0.4, 0.0),
    )


ROBOTS = {"panda": _panda, "kuka": _kuka, "xarm": _xarm}
