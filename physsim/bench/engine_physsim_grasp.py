"""physsim's grasps by a robot: the phases of `physsim grasp`, shortened, timed per simulated second, and what contact costs there."""

import time
from dataclasses import replace

import numpy as np

import physsim as ps
from physsim.bench.cases import Case
from physsim.physics.launch import Command, thread_count
from physsim.physics.model import State

SAMPLE_EVERY = 20
"""Steps between two that are repeated without contact."""


class GraspRun:
    """A Panda takes the object that the case's name ends with, lifts, holds, shakes and puts it down."""

    def __init__(self, case: Case):
        self.case, self.launches = case, 0
        self.samples: list[tuple] = []

    def row(self) -> dict:
        """Run the grasp.

        Returns:
            dict with `cpu_s` and `wall_s` of a simulated second (robot and soft bodies), `end_m` (height of the lift),
            `iterations_per_step`, `launches_per_newton` (within iterations), `launches_per_step` (all), and what `contact_cost` gives.
        """
        from physsim.grasp.objects import grasp_object
        from physsim.grasp.robots import robot_setup
        from physsim.grasp.sequence import Timing, plan
        from physsim.grasp.world import GraspWorld
        from physsim.robots.kinematics import Kinematics

        thing, setup = grasp_object(self.case.name.rsplit("-", 1)[1]), robot_setup("panda")
        timing = Timing(reach=0.5, close=1.0, lift=1.0, hold=0.5, shake=0.5, lower=1.0, open=0.5)
        candidates = [replace(c, center=c.center + [*setup.place, 0.0]) for c in thing.choose(setup.gripper)]
        sequence = plan(Kinematics(setup.describe()), setup, candidates, timing, thing.release)
        arm = sequence.command(0.0).arm
        GraspWorld(setup, thing, arm).step(sequence.command(0.0))  # loads or compiles the kernels
        world = GraspWorld(setup, thing, arm)
        self._watch(world.solver)
        heights, newton, self.launches, launches = [], 0, 0, Command.count
        cpu, wall = time.process_time(), time.perf_counter()
        steps = round(sequence.duration / world.dt)
        for k in range(steps):
            sample = world.step(sequence.command((k + 1) * world.dt))
            heights.append(sample.height)
            newton += sample.iterations
        seconds = {"cpu_s": time.process_time() - cpu, "wall_s": time.perf_counter() - wall}
        start, end = (round(t / world.dt) for t in sequence.phase("hold"))
        row = {name: value / sequence.duration for name, value in seconds.items()}
        return row | {
            "end_m": float(np.mean(heights[start:end]) - heights[0]),
            "iterations_per_step": round(newton / steps, 2),
            "launches_per_newton": round(self.launches / max(1, newton), 1),
            "launches_per_step": round((Command.count - launches) / steps, 1),
            "version": ps.__version__,
            "threads": thread_count(),
            "dt": world.dt,
            "particles": world.model.particle_count,
            "linear": world.solver.linear_name,
            **self.contact_cost(world),
        }

    def _watch(self, solver: ps.SolverImplicit) -> None:
        """Keep what some of the solver's steps were given."""
        advance, count = solver.advance, 0

        def watched(state, targets, parameters):
            nonlocal count
            count += 1
            if count % SAMPLE_EVERY == 0:
                self.samples.append((state, targets, parameters))
            after, report = advance(state, targets, parameters)
            self.launches += report.launches
            return after, report

        solver.advance = watched

    def contact_cost(self, world: object) -> dict:
        """Take some of the run's steps again, with contact and, from the same states with the same drives, without.

        Returns:
            As `engine_physsim_touch.TouchSimulation.contact_cost`, without the iterations.
        """
        bare = ps.SolverImplicit(
            replace(world.model, contact=None), dt=world.dt, integrator="backward_euler", tolerance=world.solver.tolerance
        )
        seconds, cache = {"contact": 0.0, "bare": 0.0}, None
        for place, (s, targets, parameters) in enumerate(self.samples):
            start = time.process_time()
            type(world.solver).advance(world.solver, s, targets, parameters)
            seconds["contact"] += time.process_time() - start
            twin = State(bare.model, s.x, s.v, s.x1, s.v1, s.time, s.dt, cache=cache)
            if place == 0:  # compiles and factorises
                twin = replace(twin, cache=bare.advance(twin, targets, parameters)[0].cache)
            start = time.process_time()
            cache = bare.advance(twin, targets, parameters)[0].cache
            seconds["bare"] += time.process_time() - start
        count = len(self.samples)
        return {
            "contact_ratio": round(seconds["contact"] / max(seconds["bare"], 1e-9), 2),
            "contact_step_s": seconds["contact"] / count,
            "bare_step_s": seconds["bare"] / count,
            "bare_linear": bare.linear_name,
        }
