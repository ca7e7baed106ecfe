"""One grasp from beginning to end: planned, stepped, felt, judged and recorded."""

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from physsim.grasp.diary import Diary
from physsim.grasp.judge import judge
from physsim.grasp.objects import GraspObject
from physsim.grasp.robots import RobotSetup
from physsim.grasp.sequence import Timing, plan
from physsim.grasp.world import GraspWorld
from physsim.report.grasp_record import GraspRecord
from physsim.robots.kinematics import Kinematics


def run_grasp(
    setup: RobotSetup, thing: GraspObject, hold: str = "friction", timing: Timing | None = None, show: Callable = lambda line: None
) -> tuple[GraspRecord, dict]:
    """Plan and run a grasp.

    Args:
        setup: RobotSetup.
        thing: GraspObject.
        hold: "friction", or "pin" to fix what the fingers touch to them once they have closed, until they open.
        timing: Timing; None: the usual.
        show: called with lines about the progress.

    Returns:
        (GraspRecord, numbers of report.json).

    Raises:
        InputError: no grasp can be reached, or `hold` is not offered.
        SolverError: a step failed.
    """
    candidates = [replace(c, center=c.center + [*setup.place, 0.0]) for c in thing.choose(setup.gripper)]
    sequence = plan(Kinematics(setup.describe()), setup, candidates, timing, thing.release)
    world = GraspWorld(setup, thing, sequence.command(0.0).arm, hold)
    show(f"{setup.name} presses with {world.grip:.2f} N a finger; the {thing.name} weighs {world.weight:.3f} N")
    diary = Diary(world, sequence)
    seconds, newton, pinned, told = 0.0, 0, 0, ""
    steps = round(sequence.duration / world.dt)
    for k in range(steps):
        phase = next(name for name, _, end in sequence.phases if (k + 1) * world.dt <= end + 1e-9)
        before = time.process_time()
        if hold == "pin" and phase != told:
            if phase == "lift":
                pinned = world.pin()
            elif phase == "open":
                world.unpin()
        sample = world.step(sequence.command((k + 1) * world.dt))
        seconds += time.process_time() - before
        newton += sample.iterations
        diary.note(sample)
        if phase != told:
            show(f"{sample.time:.2f} s: {phase}")
            told = phase
    numbers = {"object": thing.name, "robot": setup.name, "hold": hold} | ({"pinned_points": pinned} if hold == "pin" else {})
    numbers |= judge(sequence, diary.samples, np.array(diary.slip), world.weight) | diary.felt()
    numbers |= {
        "penetration_mm": 1e3 * diary.deepest,
        "cpu_s_per_sim_s": seconds / sequence.duration,
        "launches_per_newton": sum(s.launches for s in diary.samples) / max(newton, 1),
        "newton_per_step": newton / steps,
        "steps": steps,
        "dt_s": world.dt,
        "particles": world.model.particle_count,
        "cells": len(thing.mesh.triangles if thing.is_sheet else thing.mesh.cells),
    }
    return diary.record(hold), numbers
