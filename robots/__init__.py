"""Robots: what every robot can do, kinematics, and the backends that move one.

Public names are loaded on first use; PyBullet only when a PyBulletRobot is made.
"""

from importlib import import_module

_HOMES = {
    "Robot": "physsim.robots.robot",
    "JointState": "physsim.robots.robot",
    "LinkStates": "physsim.robots.robot",
    "Wrench": "physsim.robots.robot",
    "Prediction": "physsim.robots.robot",
    "Kinematics": "physsim.robots.kinematics",
    "InverseKinematicsResult": "physsim.robots.inverse",
    "PyBulletRobot": "physsim.robots.pybullet_robot",
    "KinematicRobot": "physsim.robots.kinematic_robot",
    "Gripper": "physsim.robots.grasping",
    "GraspCandidate": "physsim.robots.grasping",
    "grasp_candidates": "physsim.robots.grasping",
    "load_urdf": "physsim.io.urdf",
    "panda": "physsim.robots.library",
    "kuka_wsg50": "physsim.robots.library",
    "xarm6": "physsim.robots.library",
    "mount": "physsim.robots.library",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str):
    """Load a public name from its home on first use (PEP 562)."""
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'physsim.robots' has no attribute {name!r}")
    value = getattr(import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
