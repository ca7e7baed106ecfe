"""The command `physsim grasp`, and its parts for scripts: a robot reaches, grips, lifts, holds, shakes and puts down a soft thing.

    from physsim.grasp import Timing, grasp_object, robot_setup, run_grasp

    robot, thing = robot_setup("panda"), grasp_object("plush")
    record, numbers = run_grasp(robot, thing, timing=Timing(hold=1.0))
    print(numbers["success"], numbers["slip_mm"], numbers["finger_force_n"])

Step by step, to look at anything on the way:

    candidates = [replace(c, center=c.center + [*robot.place, 0.0]) for c in thing.choose(robot.gripper)]  # dataclasses.replace
    sequence = plan(Kinematics(robot.describe()), robot, candidates, release=thing.release)  # physsim.robots.kinematics
    world = GraspWorld(robot, thing, sequence.command(0.0).arm)
    while world.robot.time < sequence.duration:
        sample = world.step(sequence.command(world.robot.time + world.dt))
        print(sample.time, sample.pressing, sample.carried)

Another thing to grasp is a GraspObject, another hand a RobotSetup.
"""

from importlib import import_module

_HOMES = {
    "GraspObject": "objects",
    "GraspWorld": "world",
    "RobotSetup": "robots",
    "Sample": "world",
    "Sequence": "sequence",
    "Timing": "sequence",
    "grasp_object": "objects",
    "main": "command",
    "plan": "sequence",
    "robot_setup": "robots",
    "run_grasp": "run",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str):
    """Load a public name from its home on first use (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'physsim.grasp' has no attribute {name!r}")
    return getattr(import_module(f"physsim.grasp.{_HOMES[name]}"), name)
