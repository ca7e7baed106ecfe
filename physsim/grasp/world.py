"""The scene of a grasp: a robot, a soft object and a table, stepped together and felt."""

from dataclasses import dataclass

import numpy as np

from physsim.coupling import RobotCoupling, add_links
from physsim.errors import InputError
from physsim.grasp.objects import GRAVITY, GraspObject
from physsim.grasp.robots import RobotSetup
from physsim.grasp.sequence import SHAKE, SHAKE_HZ, Command
from physsim.physics.builder import ModelBuilder
from physsim.physics.frames import cross, matrices
from physsim.physics.laws import INERTIA
from physsim.physics.solvers.implicit import SolverImplicit
from physsim.robots.pybullet_robot import PyBulletRobot

DT = 1 / 240  # of robot and soft bodies [s]
GAP = 1e-3  # at which contact begins to push [m]
CREEP = 1e-4  # sliding speed at which friction is fully developed [m/s]
HOLDS = ("friction", "pin")
PIN_SAG = 1e-5  # way of pinned points under the largest load of the shaking [m]
TOUCHING = 1e-3  # share of a finger's force above which a point counts as touched
SAFETY = 2.0  # how many times the least force that carries the object through the shaking the fingers press with
MOMENTUM = 1e-6  # share of the object's weight that a converged step may leave out of balance: of all its particles together


@dataclass(frozen=True)
class Sample:
    """One moment.

    Attributes:
        time: [s]
        height: of the object, as `GraspObject.height` [m]
        lowest: height of its lowest point [m]
        wrenches: force on the two finger links [N], shape [2, 3], world axes, means over the step
        closing: unit vector from the first finger to the second, shape [3]
        momentum_residual: share of momentum out of balance in this step
        stall: how far the fingers stayed from where they were to be [m]
        iterations: Newton iterations
        launches: of kernels in them
    """

    time: float
    height: float
    lowest: float
    wrenches: np.ndarray
    closing: np.ndarray
    momentum_residual: float
    stall: float
    iterations: int
    launches: int

    @property
    def pressing(self) -> np.ndarray:
        """Force with which each finger presses [N], shape [2]."""
        return np.array([-self.wrenches[0] @ self.closing, self.wrenches[1] @ self.closing])

    @property
    def carried(self) -> float:
        """Upwards force of the fingers on the object [N]."""
        return float(-self.wrenches[:, 2].sum())


class GraspWorld:
    """Robot, object and table.

    Args:
        setup: RobotSetup.
        thing: GraspObject.
        start: joint positions of the arm at the beginning [rad], shape [arm].
        hold: "friction", or "pin" to fix what the fingers touch to them from the end of the closing on, beside friction.
        dt: step of robot and soft bodies [s].

    Raises:
        InputError: another `hold`.
    """

    def __init__(self, setup: RobotSetup, thing: GraspObject, start: np.ndarray, hold: str = "friction", dt: float = DT) -> None:
        if hold not in HOLDS:
            raise InputError(f"hold = {hold!r}: choose one of {', '.join(HOLDS)}")
        self.setup, self.thing, self.dt = setup, thing, dt
        self.robot = PyBulletRobot(setup.describe(), dt=dt)
        joints = self.robot.joints
        self._arm = [joints.index(name) for name in setup.arm]
        tree, links = self.robot.limits, self.robot.kinematics.links
        self._tool, self._fingers = links.index(setup.tool), [links.index(name) for name in setup.finger_links]
        self._closing_joints = [list(tree.free).index(tree.joint(name)) for name in setup.fingers]
        q = self.robot.kinematics.rest()
        q[self._arm] = start
        q[[joints.index(name) for name in setup.fingers]] = setup.opened
        self.robot.reset(tree.follow @ q[tree.free] + tree.offset)
        builder = ModelBuilder()
        self.body = thing.add(builder, setup.place)
        ground = builder.add_ground()
        builder.set_surface(ground, material="table")
        self.links = add_links(builder, self.robot, setup.finger_links, material="finger")
        for link in self.links.values():
            builder.ignore_contact(link, ground)
        builder.ignore_contact(*self.links.values())
        builder.enable_contact(gap=GAP, friction=thing.friction, creep=CREEP)
        self._surface = np.unique(thing.triangles)
        fingers = [self.links[name] for name in setup.finger_links]
        self._pins = [builder.pin(self.body, self._surface, f, name=f"{f.name}.pin") for f in fingers] if hold == "pin" else []
        self._params = None
        self.model = builder.finalize()
        inertia = self.model.resolve(None).columns(self.model.column_shapes)[INERTIA.name]
        self.masses = inertia[0, self.body.particles, 0]
        self.weight = float(GRAVITY * self.masses.sum())
        tolerance = MOMENTUM * self.weight / self.model.particle_count
        linear = "multigrid" if thing.is_sheet else "auto"
        self.solver = SolverImplicit(self.model, dt=dt, integrator="backward_euler", tolerance=tolerance, linear=linear)
        self.coupling = RobotCoupling(self.solver, self.robot, self.links)
        self.state = self.model.state()
        # the most that the shaking asks the fingers to carry [N]
        self.load = self.weight / GRAVITY * (GRAVITY + SHAKE * (2 * np.pi * SHAKE_HZ) ** 2)
        self.grip = max(SAFETY * self.load / (2.0 * thing.friction), thing.least_grip)

    def step(self, command: Command) -> Sample:
        """Move everything on by dt under a command."""
        setup, robot = self.setup, self.robot
        robot.command(position=command.arm, joints=setup.arm, on_limit="clip")
        if command.fingers == "open":
            robot.command(position=setup.opened, joints=setup.fingers, on_limit="clip")
        elif command.fingers == "close":
            effort = np.abs(self.finger_efforts())
            robot.command(position=setup.closed, joints=setup.fingers, effort=effort, speed=command.speed, on_limit="clip")
        else:
            robot.command(torque=self.finger_efforts(), joints=setup.fingers, on_limit="clip")
        self.state, report = self.coupling.step(self.state, params=self._params)
        return self._sample(report)

    def pin(self) -> int:
        """Fix the object's points that a finger presses on to that finger, where they are; returns how many. Only with hold="pin"."""
        push = self.contact_forces()[self._surface] @ self.closing()
        touched = [push > TOUCHING * self.grip, push < -TOUCHING * self.grip]  # the first finger pushes along, the second against
        count = int(sum(t.sum() for t in touched))
        self._params, points = {}, self.object_points()[self._surface]
        bodies = [self.links[name] for name in self.setup.finger_links]
        for pins, mask, body, (position, rotation) in zip(self._pins, touched, bodies, self.finger_poses(), strict=True):
            self._params[pins["stiffness"]] = np.where(mask, self.load / (PIN_SAG * max(count, 1)), 0.0)
            self._params[pins["shares"]] = body.mesh.weights((points - position) @ rotation)[:, 1:]
        return count

    def unpin(self) -> None:
        """Let go of what `pin` fixed."""
        self._params = None

    def finger_efforts(self) -> np.ndarray:
        """Torques or forces of the finger joints that press with `grip` on either side [N m or N], shape [fingers]: by virtual work."""
        tree, kinematics = self.robot.limits, self.robot.kinematics
        positions, quaternions, jacobians = (value[0] for value in kinematics.motion(self.robot.state().position[None]))
        turn = matrices(quaternions[self._tool])
        held, closing = positions[self._tool] + turn @ self.setup.point, turn @ self.setup.closing
        efforts = np.zeros(len(tree.free))
        for number in self._fingers:
            own = positions[number] - held
            inward = -np.sign(own @ closing) * closing
            wrench = np.concatenate([inward, cross(inward, own)])  # of a unit force at the held place, about the link's origin
            efforts += self.grip * (wrench @ jacobians[number]) @ tree.follow
        return efforts[self._closing_joints]

    def object_points(self) -> np.ndarray:
        """Where the object's points are [m], shape [n, 3]."""
        return self.state.x.numpy().reshape(-1, 3)[self.body.particles].astype(np.float64)

    def contact_forces(self) -> np.ndarray:
        """Contact forces on the object's points in the last step [N], shape [n, 3]."""
        return self.solver.assembly.contact.forces()[0][self.body.particles]

    def closing(self) -> np.ndarray:
        """Unit vector from the first finger to the second, shape [3]."""
        x = self.state.x.numpy().reshape(-1, 3)
        first, second = (x[self.links[name].particles].mean(axis=0) for name in self.setup.finger_links)
        return (second - first) / np.linalg.norm(second - first)

    def finger_poses(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """(position [m], rotation matrix) of both fingers' frames as contact saw them."""
        x = self.state.x.numpy().reshape(-1, 3).astype(np.float64)
        bodies = [self.links[name] for name in self.setup.finger_links]
        return [body.mesh.pose(x[body.particles]) for body in bodies]

    def link_poses(self, names: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
        """Positions [m], shape [L, 3], and quaternions, shape [L, 4], of links."""
        now = self.robot.links()
        numbers = [now.names.index(name) for name in names]
        return now.positions[numbers], now.quaternions[numbers]

    def _sample(self, report) -> Sample:
        points = self.object_points()
        forces = np.array([report.wrenches[name][0] for name in self.setup.finger_links])
        return Sample(
            self.robot.time,
            self.thing.height(points, self.masses),
            float(points[:, 2].min()),
            forces,
            self.closing(),
            report.momentum_residual,
            max(report.stall.values()),
            report.iterations,
            report.launches,
        )
