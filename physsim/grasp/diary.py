"""What is taken down of a grasp: samples of every step, what was felt, and poses for pictures 30 times a second."""

import numpy as np
import warp as wp

from physsim.grasp.judge import Slip
from physsim.grasp.objects import GraspObject
from physsim.grasp.robots import RobotSetup
from physsim.grasp.sequence import Sequence
from physsim.grasp.world import GraspWorld
from physsim.physics.contact.intersections import Inspection
from physsim.physics.contact.readout import contact_points
from physsim.physics.probe import Probe, von_mises
from physsim.report.grasp_film import coarse_link
from physsim.report.grasp_record import ForceMap, GraspRecord, LinkMesh
from physsim.touch import TouchSensor

FPS = 30.0
MAP_CELLS = 6  # of a force map, along each side
ELASTIC = ("neo_hookean_4", "neo_hookean_10", "membrane", "bending")  # laws whose energy the object stores


class Diary:
    """Keeps what a run shows.

    Args:
        world: GraspWorld.
        sequence: Sequence that it follows.
    """

    def __init__(self, world: GraspWorld, sequence: Sequence) -> None:
        self._world, self._sequence = world, sequence
        self.samples, self.slip, self._frames, self._series = [], [], [], []
        self._probe = Probe(world.model)
        self._inspection = Inspection(world.model.contact, world.model.device, world.model.envs)
        self._slip = None
        self._sensors = [TouchSensor(world.solver, world.links[name]) for name in world.setup.finger_links]
        self._touches = []  # of both fingers, at the pictures of the hold
        self._felt_slip = 0.0
        self.deepest = 0.0
        self._links = tuple(_link_meshes(world.robot.description, world.setup))

    def note(self, sample) -> None:
        """Take down a step."""
        world = self._world
        self.samples.append(sample)
        begin, end = self._sequence.phase("hold")
        if self._slip is None and begin <= sample.time + 1e-9:
            self._slip = Slip(world.object_points(), world.contact_forces(), world.finger_poses(), sample.closing)
        released = sample.time > self._sequence.phase("lower")[0] + 1e-9
        known = self._slip is not None and not released
        self.slip.append(self._slip.way(world.object_points(), world.finger_poses()) if known else np.nan)
        pictured = sample.time + 1e-9 >= len(self._frames) / FPS
        if begin <= sample.time + 1e-9 and sample.time <= end + 1e-9:
            touches = [sensor.read(world.state) for sensor in self._sensors]
            self._felt_slip = max(self._felt_slip, *(t.slip for t in touches))
            if pictured:
                self._touches.append(touches)
        if pictured:
            self._frames.append(self._picture(sample))
            self._series.append(self._feelings(sample))

    def _feelings(self, sample):
        world = self._world
        strain = np.abs(np.linalg.eigvalsh(self._probe.strains(world.state, world.body))).max()
        energies = self._probe.energies(world.state)
        elastic = sum(float(energies[name].sum()) for name in ELASTIC if name in energies)
        wrist, joints = world.robot.wrench(world.setup.shown[0]), world.robot.state()
        return sample.time, strain, elastic, wrist.force, wrist.torque, joints.position, joints.velocity, joints.torque

    def _picture(self, sample):
        world = self._world
        positions, quaternions = world.link_poses(tuple(link.name for link in self._links))
        seen = contact_points(world.solver, world.state)
        touched = np.concatenate([seen.on(world.links[name].name).points for name in world.setup.finger_links])
        s = wp.array(world.model.contact.embed(world.state.x.numpy().reshape(1, -1, 3).astype(np.float64)), dtype=wp.vec3d)
        depth = self._inspection.intersections(s).depth
        self.deepest = max(self.deepest, float(np.nanmax(depth, initial=0.0)))
        stress = von_mises(self._probe.stresses(world.state, world.body))
        if world.thing.is_sheet:
            stress = stress / world.thing.thickness
        return sample.time, positions, quaternions, world.object_points(), touched, stress

    def felt(self) -> dict:
        """Numbers of report.json about what the robot and its fingers felt, and what the object suffered.

        Forces of the hand are the load on its wrist, in the axes of the hand's link; means are over the hold.
        """
        times, strain, energy, force, torque, position, velocity, effort = (np.array(part) for part in zip(*self._series, strict=True))
        begin, end = self._sequence.phase("hold")
        hold = (times > begin) & (times <= end + 1e-9)
        maps = self._maps()
        return {
            "felt_slip_mm": 1e3 * self._felt_slip,
            "wrist_force_n": force[hold].mean(axis=0).tolist(),
            "wrist_torque_nm": torque[hold].mean(axis=0).tolist(),
            "largest_stress_pa": float(max(frame[-1].max() for frame in self._frames)),
            "largest_strain": float(strain.max()),
            "stored_energy_j": float(energy[hold].mean()),
            "force_maps": [
                {"finger": m.name, "mean_n": m.mean.tolist(), "peak_n": m.peak.tolist(), "edges_mm": [(1e3 * e).tolist() for e in m.edges]}
                for m in maps
            ],
            "series": {
                "time_s": times.tolist(),
                "largest_strain": strain.tolist(),
                "stored_energy_j": energy.tolist(),
                "wrist_force_n": force.tolist(),
                "wrist_torque_nm": torque.tolist(),
                "joints": list(self._world.robot.joints),
                "joint_positions": position.tolist(),
                "joint_velocities": velocity.tolist(),
                "joint_torques": effort.tolist(),
            },
        }

    def _maps(self) -> tuple[ForceMap, ...]:
        """Force maps of both fingers over the hold, as seen along the axis of the link that is nearest to the closing."""
        world, maps = self._world, []
        closing = self.samples[-1].closing
        for i, (name, (_, rotation)) in enumerate(zip(world.setup.finger_links, world.finger_poses(), strict=True)):
            along = closing @ rotation
            axis = int(np.argmax(np.abs(along)))
            touches = [pair[i] for pair in self._touches if len(pair[i].points)]
            if not touches:
                continue
            others = [k for k in range(3) if k != axis]
            points = np.concatenate([t.points for t in touches])[:, others]
            middle, reach = (points.max(axis=0) + points.min(axis=0)) / 2, 0.55 * np.ptp(points, axis=0).max() + 1e-4
            extent = np.stack([middle - reach, middle + reach], axis=1)
            found = [t.force_map(axis, (MAP_CELLS, MAP_CELLS), extent) for t in touches]
            sign = np.sign(along[axis]) * (1.0 if i == 0 else -1.0)  # the first finger looks along the closing, the second against it
            seen = sign * np.array([forces for forces, *_ in found])
            maps.append(ForceMap(name, seen.mean(axis=0), seen.max(axis=0), tuple(found[0][1:]), tuple("xyz"[k] for k in others)))
        return tuple(maps)

    def record(self, hold: str) -> GraspRecord:
        """All that was taken down."""
        world, samples = self._world, self.samples
        times, positions, quaternions, points, touched, stress = zip(*self._frames, strict=True)
        series = list(zip(*self._series, strict=True))
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
            strain=np.interp(seen, times, series[1]),
            energy=np.interp(seen, times, series[2]),
            wrist_times=np.array(times),
            wrist_force=np.array(series[3]),
            wrist_torque=np.array(series[4]),
            force_maps=self._maps(),
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
