"""One grasp from beginning to end: planned, stepped, felt, judged and recorded."""

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import warp as wp

from physsim.errors import InputError
from physsim.grasp.judge import Slip, judge
from physsim.grasp.objects import GraspObject
from physsim.grasp.robots import RobotSetup
from physsim.grasp.sequence import Sequence, Timing, plan
from physsim.grasp.world import GraspWorld
from physsim.physics.contact.intersections import Inspection
from physsim.physics.launch import Command as Launch
from physsim.physics.probe import Probe, von_mises
from physsim.report.grasp_film import coarse_link
from physsim.report.grasp_record import GraspRecord, LinkMesh
from physsim.robots.kinematics import Kinematics

FPS = 30.0


def run_grasp(
    setup: RobotSetup, thing: GraspObject, hold: str = "friction", timing: Timing | None = None, show: Callable = lambda line: None
) -> tuple[GraspRecord, dict]:
    """Plan and run a grasp.

    Args:
        setup: RobotSetup.
        thing: GraspObject.
        hold: "friction".
        timing: Timing; None: the usual.
        show: called with lines about the progress.

    Returns:
        (GraspRecord, numbers of report.json).

    Raises:
        InputError: no grasp can be reached, or `hold` is not offered.
        SolverError: a step failed.
    """
    if hold != "friction":
        raise InputError(f"hold = {hold!r}: only 'friction' is offered")
    candidates = [replace(c, center=c.center + [*setup.place, 0.0]) for c in thing.choose(setup.gripper)]
    sequence = plan(Kinematics(setup.describe()), setup, candidates, timing)
    world = GraspWorld(setup, thing, sequence.command(0.0).arm)
    show(f"{setup.name} presses with {world.grip:.2f} N a finger; the {thing.name} weighs {world.weight:.3f} N")
    diary = _Diary(world, sequence)
    seconds, newton, told = 0.0, 0, ""
    steps = round(sequence.duration / world.dt)
    for k in range(steps):
        before = time.process_time()
        sample = world.step(sequence.command((k + 1) * world.dt))
        seconds += time.process_time() - before
        newton += sample.iterations
        diary.note(sample)
        phase = next(name for name, _, end in sequence.phases if sample.time <= end + 1e-9)
        if phase != told:
            show(f"{sample.time:.2f} s: {phase}")
            told = phase
    numbers = {"object": thing.name, "robot": setup.name, "hold": hold}
    numbers |= judge(sequence, diary.samples, np.array(diary.slip), world.weight)
    numbers |= {
        "penetration_mm": 1e3 * diary.deepest,
        "cpu_s_per_sim_s": seconds / sequence.duration,
        "launches_per_newton": diary.launches / max(newton, 1),
        "newton_per_step": newton / steps,
        "steps": steps,
        "dt_s": world.dt,
        "particles": world.model.particle_count,
        "cells": len(thing.mesh.triangles if thing.is_sheet else thing.mesh.cells),
    }
    return diary.record(hold), numbers


class _Diary:
    """Keeps what a run shows: samples of every step, and pictures' poses 30 times a second."""

    def __init__(self, world: GraspWorld, sequence: Sequence) -> None:
        self._world, self._sequence = world, sequence
        self.samples, self.slip, self._frames = [], [], []
        self._probe = Probe(world.model)
        self._inspection = Inspection(world.model.contact, world.model.device, world.model.envs)
        self._slip = None
        self.deepest, self.launches, self._seen = 0.0, 0, Launch.count
        self._links = tuple(_link_meshes(world.robot.description, world.setup))

    def note(self, sample) -> None:
        """Take down a step."""
        self.launches += Launch.count - self._seen
        world = self._world
        self.samples.append(sample)
        start = self._sequence.phase("hold")[0]
        if self._slip is None and start <= sample.time + 1e-9:
            self._slip = Slip(world.object_points(), world.contact_forces(), world.finger_poses(), sample.closing)
        released = sample.time > self._sequence.phase("lower")[0] + 1e-9
        known = self._slip is not None and not released
        self.slip.append(self._slip.way(world.object_points(), world.finger_poses()) if known else np.nan)
        if sample.time + 1e-9 >= len(self._frames) / FPS:
            self._frames.append(self._picture(sample))
        self._seen = Launch.count

    def _picture(self, sample):
        world = self._world
        positions, quaternions = world.link_poses(tuple(link.name for link in self._links))
        points, forces = world.object_points(), world.contact_forces()
        pressed = np.abs(forces @ sample.closing)  # by the fingers; the table pushes across
        touched = pressed > np.maximum(1e-3 * world.weight, 0.3 * np.linalg.norm(forces, axis=1))
        s = wp.array(world.model.contact.embed(world.state.x.numpy().reshape(1, -1, 3).astype(np.float64)), dtype=wp.vec3d)
        depth = self._inspection.intersections(s).depth
        self.deepest = max(self.deepest, float(np.nanmax(depth, initial=0.0)))
        stress = von_mises(self._probe.stresses(world.state, world.body))
        if world.thing.is_sheet:
            stress = stress / world.thing.thickness
        return sample.time, positions, quaternions, points, points[touched], stress

    def record(self, hold: str) -> GraspRecord:
        """All that was taken down."""
        world, samples = self._world, self.samples
        times, positions, quaternions, points, touched, stress = zip(*self._frames, strict=True)
        seen = np.array([s.time for s in samples])
        return GraspRecord(
            robot=world.setup.name,
            object_name=world.thing.name,
            hold=hold,
            times=seen,
            heights=np.array([s.height for s in samples]) - samples[0].height,
            finger_forces=np.array([s.pressing for s in samples]),
            carried=np.array([s.carried for s in samples]),
            slip=np.array(self.slip),
            stress=np.interp(seen, times, [s.max() for s in stress]),
            weight=world.weight,
            phases=self._sequence.phases,
            links=self._links,
            frame_times=np.array(times),
            link_positions=np.array(positions),
            link_quaternions=np.array(quaternions),
            object_points=np.array(points),
            object_triangles=world.thing.triangles,
            object_stress=np.array([_for_drawing(world.thing, s) for s in stress]),
            contact_points=touched,
            two_sided=world.thing.is_sheet,
            gripper=tuple(link.name for link in self._links if link.name in world.setup.shown),
        )


def _for_drawing(thing: GraspObject, stress: np.ndarray) -> np.ndarray:
    """Stress of cells as stress of points (the mean of a point's tetrahedra), or of a sheet's triangles as it is."""
    if thing.is_sheet:
        return stress
    cells = thing.mesh.cells
    count = np.bincount(cells.ravel(), minlength=len(thing.points))
    return np.bincount(cells.ravel(), np.repeat(stress, cells.shape[1]), minlength=len(thing.points)) / count


def _link_meshes(description, setup: RobotSetup) -> list[LinkMesh]:
    """Meshes of the links to draw: visuals, coarser where they are far from the object."""
    meshes = []
    for link in description.links:
        parts = [g for g in link.visuals if g.triangles is not None]
        if not parts:
            continue
        points = [g.points @ g.origin[:3, :3].T + g.origin[:3, 3] for g in parts]
        offsets = np.cumsum([0, *(len(p) for p in points)])
        triangles = np.concatenate([g.triangles + offset for g, offset in zip(parts, offsets, strict=False)])
        colour = _hex(next((g.color for g in parts if g.color is not None), None))
        meshes.append(coarse_link(link.name, np.concatenate(points), triangles, colour, cells=28 if link.name in setup.shown else 16))
    return meshes


def _hex(colour) -> str:
    """A colour in [0, 1] as ``#rrggbb``, a little darker than white."""
    red, green, blue = (0.82, 0.85, 0.89) if colour is None else (min(0.87, c) for c in colour[:3])
    return f"#{round(255 * red):02x}{round(255 * green):02x}{round(255 * blue):02x}"
