"""What the robot does and when: reach, close, lift, hold, shake, put down, open, as joint positions over time.

The hand goes along two lines, the approach and the vertical through the grasp. Inverse kinematics is solved at a few places of each, from
each for the next, and a spline through them gives the joints for any place; how far along the hand is follows from time by minimum jerk
(Flash and Hogan 1985).
"""

from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np

from physsim.errors import InputError
from physsim.grasp.robots import RobotSetup
from physsim.robots.grasping import GraspCandidate

KNOTS = 13  # places of a line where inverse kinematics is solved
LIFT = 0.1  # [m]
BACK = 0.12  # how far from the grasp the hand begins [m]
SHAKE, SHAKE_HZ = 0.05, 2.0  # amplitude [m] and frequency of shaking
CLOSED_BY = 0.6  # share of the closing phase after which fingers that meet nothing are shut; then they press


@dataclass(frozen=True)
class Timing:
    """Lengths of the phases [s]."""

    reach: float = 1.0
    close: float = 1.0
    lift: float = 1.0
    hold: float = 2.0
    shake: float = 2.0
    lower: float = 1.0
    open: float = 0.5


@dataclass(frozen=True)
class Command:
    """What the joints shall do.

    Attributes:
        arm: positions [rad], shape [arm]
        fingers: "open", "close" (go there, with no more than the gripping force) or "grip" (press with that force)
        speed: largest of the finger joints on the way [rad/s or m/s], or None
    """

    arm: np.ndarray
    fingers: str
    speed: float | None = None


@dataclass(frozen=True)
class Sequence:
    """The plan of a grasp.

    Attributes:
        phases: (name, start [s], end [s]) in order
        approach, vertical: splines from the way along a line [m] to the arm's joints
        opened, closed: positions of the finger joints
        candidate: the grasp that is taken, in the world
        release: height above the place where it gripped at which the hand lets go [m]
    """

    phases: tuple[tuple[str, float, float], ...]
    approach: object
    vertical: object
    opened: float
    closed: float
    candidate: GraspCandidate
    release: float = 0.0

    @property
    def duration(self) -> float:
        """Length of the whole [s]."""
        return self.phases[-1][2]

    def phase(self, name: str) -> tuple[float, float]:
        """Start and end of a phase [s]."""
        return next((start, end) for known, start, end in self.phases if known == name)

    def height(self, time: float) -> float:
        """How far the hand should be above the place where it gripped [m]; below zero on the approach's line."""
        value = 0.0
        for name, start, end in self.phases:
            share = np.clip((time - start) / (end - start), 0.0, 1.0)
            if name == "reach":
                value = -BACK * (1.0 - minimum_jerk(share))
            elif name == "lift":
                value += LIFT * minimum_jerk(share)
            elif name == "shake" and 0.0 < share < 1.0:
                swell = minimum_jerk(min(1.0, 4.0 * share, 4.0 * (1.0 - share)))
                value += SHAKE * swell * np.sin(2.0 * np.pi * SHAKE_HZ * (time - start))
            elif name == "lower":
                value -= (LIFT - self.release) * minimum_jerk(share)
        return float(value)

    def command(self, time: float) -> Command:
        """What the joints shall do at a time [s]."""
        height = self.height(time)
        arm = self.approach(-height) if height < 0.0 and time < self.phase("close")[0] else self.vertical(max(height, 0.0))
        begin, end = self.phase("close")
        if not begin <= time < self.phase("open")[0]:
            return Command(arm, "open")
        closing = CLOSED_BY * (end - begin)
        return Command(arm, "close" if time < begin + closing else "grip", abs(self.opened - self.closed) / closing)


def minimum_jerk(share: float) -> float:
    """From 0 to 1 with no speed and no acceleration at either end."""
    return share**3 * (10.0 - 15.0 * share + 6.0 * share**2)


def plan(kinematics, setup: RobotSetup, candidates: list[GraspCandidate], timing: Timing | None = None, release: float = 0.0) -> Sequence:
    """A sequence for the first of the candidates that the robot can reach along the whole way.

    Args:
        kinematics: Kinematics of the robot.
        setup: RobotSetup.
        candidates: GraspCandidates in the world, the best first.
        timing: Timing; None: the usual.
        release: height above the place where it gripped at which the hand lets go [m].

    Returns:
        Sequence.

    Raises:
        InputError: there is no candidate, or none can be reached within the joints' limits.
    """
    timing = timing or Timing()
    lengths = [(name, getattr(timing, name)) for name in ("reach", "close", "lift", "hold", "shake", "lower", "open")]
    ends = list(accumulate((length for _, length in lengths), initial=0.0))
    phases = tuple((name, start, end) for (name, _), (start, end) in zip(lengths, pairwise(ends), strict=True))
    for candidate in candidates:
        for rotation in setup.tool_rotations(candidate):
            lines = _lines(kinematics, setup, candidate, rotation)
            if lines is None:
                continue
            sequence = Sequence(phases, *lines, setup.opened, setup.closed, candidate, release)
            if _slow_enough(kinematics, setup, sequence):
                return sequence
    raise InputError(
        f"grasp: none of {len(candidates)} ways to take hold can be reached by {setup.name!r} within its joints' limits and speeds; "
        "place the object nearer, or take longer"
    )


def _lines(kinematics, setup, candidate, rotation):
    """Splines of the arm's joints over the way back along the approach and over the height; None where a place is out of reach."""
    from scipy.interpolate import CubicSpline
    from scipy.spatial.transform import Rotation

    quaternion = Rotation.from_matrix(rotation).as_quat(scalar_first=True)
    columns = [kinematics.joints.index(name) for name in setup.arm]
    start = kinematics.rest()
    start[columns] = setup.start
    splines, at_grasp = [], None
    for direction, reach in ((-candidate.approach, BACK), (np.array([0.0, 0.0, 1.0]), LIFT + 1.1 * SHAKE)):
        ways, places, q = np.linspace(0.0, reach, KNOTS), [], start if at_grasp is None else at_grasp
        for way in ways:
            target = candidate.center + way * direction
            first = at_grasp is None
            found = kinematics.inverse(
                setup.tool,
                target,
                quaternion,
                start=q,
                point=setup.point,
                joints=setup.arm,
                restarts=32 if first else 0,
                position_tolerance=1e-4,
                rotation_tolerance=1e-3,
            )
            if not found.reached:
                return None
            q = found.q
            if first:
                at_grasp = q
            places.append(q[columns])
        splines.append(CubicSpline(ways, np.array(places)))
    return splines


def _slow_enough(kinematics, setup, sequence):
    times = np.arange(0.0, sequence.duration, 0.01)
    joints = np.array([sequence.command(time).arm for time in times])
    columns = [kinematics.joints.index(name) for name in setup.arm]
    return bool((np.abs(np.diff(joints, axis=0)) / 0.01 <= kinematics.tree.velocity[columns]).all())
