"""A robot and soft bodies exchange poses and wrenches, with the robot's inertia in the soft bodies' step.

Each link that may touch is a driven frame of the model (`ModelBuilder.add_driven`). For a step the robot says where its links will be
without contact and how much a force would move them (`Robot.prepare`); the drive of a link's frame is then the inertia that a contact
feels there, over the step squared,

    E_i = 1/2 xi_i^T K_i xi_i,     K_i = (c W_i)^-1 / dt^2,     W_i = J_i M^-1 J_i^T

with xi_i the way and turn from the predicted pose. So the contact force is found together with how the robot gives way to it: a contact of
any stiffness is stable, where handing back the force of the last step is not above k dt^2 / m = 4. The mean wrench of the step goes to the
robot, which moves as the prediction said.

Links move together (both fingers hang on one wrist), but a drive knows its own link only; c, the number of links, makes each as light
as all forces at once could make it, which keeps the exchange from overshooting. What that leaves between a frame and its link in steady
contact is taken up slowly by shifting the target.
"""

from dataclasses import dataclass

import numpy as np

from physsim.errors import InputError, SolverError
from physsim.physics import validation
from physsim.physics.frames import cross, matrices, quaternions_of
from physsim.physics.laws import DRIVE, INERTIA, TETHER
from physsim.physics.model import Body, require_state
from physsim.physics.shapes import Box, Capsule, Cylinder, Sphere
from physsim.physics.sheets import TriMesh
from physsim.physics.solvers.implicit import SolverImplicit, bind, targets_at
from physsim.robots.kinematic_robot import KinematicRobot

ARM = 0.1  # that weighs turns against shifts [m]
SOFTEST = 1e-4  # least mobility of a link in any direction, as a share of its largest
_SCALES = np.outer([1.0] * 3 + [ARM] * 3, [1.0] * 3 + [ARM] * 3)
TAKE_UP = 0.05  # share of a steady difference between a frame and its link that a step takes up


@dataclass(frozen=True)
class CouplingReport:
    """One step of robot and soft bodies.

    Args:
        wrenches: link -> (force [N], torque [N m] about its origin at the step's beginning), world axes, means over the step.
        momentum_residual: change of the soft bodies' momentum over the step, less the impulses of weight, links, colliders and
            attachments, as a share of the largest of these.
        stall: link -> how far its frame stayed from where the link was to be [m].
        iterations: Newton iterations of the step.
        residual: largest force imbalance on a particle [N].
        launches: of kernels in the Newton iterations.
    """

    wrenches: dict
    momentum_residual: float
    stall: dict
    iterations: int
    residual: float
    launches: int = 0


def add_links(builder, robot, links, material=None, hulls=True, driven=True):
    """Make links of a robot touchable, at their present poses. They do not touch each other: the robot sees to that.

    Args:
        builder: ModelBuilder.
        robot: Robot.
        links: names of the links.
        material: of their surfaces, as in `ModelBuilder.set_surface`.
        driven: whether links give way (for `RobotCoupling`); False: colliders, which a Control moves by their names.
        hulls: whether meshes are taken as their convex hulls, as robot simulators do; False: as they are, which must be clean surfaces.

    Returns:
        dict from link to Body.

    Raises:
        InputError: a link that the robot lacks or that has no collision geometry.
    """
    now = robot.links()
    bodies = {}
    known = {link.name: link for link in robot.description.links}
    for name in links:
        position, quaternion = now.pose(name)
        geometries = known[name].collisions
        if not geometries:
            raise InputError(f"link {name!r}: it has no collision geometry; name one that has")
        shapes = [(_shape_of(g, hulls), g.origin[:3, 3], quaternions_of(g.origin[:3, :3])) for g in geometries]
        bodies[name] = (builder.add_driven if driven else builder.add_collider)(shapes, position, quaternion, name=name)
        if material is not None:
            builder.set_surface(bodies[name], material=material)
        for other in bodies.values():
            builder.ignore_contact(bodies[name], other)
    return bodies


def _shape_of(geometry, hulls):
    size = geometry.size
    if geometry.kind == "box":
        return Box(tuple(size))
    if geometry.kind == "sphere":
        return Sphere(size[0])
    if geometry.kind in ("cylinder", "capsule"):
        return (Cylinder if geometry.kind == "cylinder" else Capsule)(size[0], size[1])
    return hull(geometry.points) if hulls else TriMesh(geometry.points, geometry.triangles)


def hull(points):
    """Convex hull of points [m], [n, 3], as a TriMesh whose normals point outwards."""
    from scipy.spatial import ConvexHull

    found = ConvexHull(points)
    used = np.sort(found.vertices)
    corners, triangles = points[used], np.searchsorted(used, found.simplices)
    a, b, c = (corners[triangles[:, k]] for k in range(3))
    inwards = (np.cross(b - a, c - a) * found.equations[:, :3]).sum(axis=1) < 0
    triangles[inwards] = triangles[inwards][:, [0, 2, 1]]
    return TriMesh(corners, triangles)


class RobotCoupling:
    """Steps a robot and soft bodies together.

    Args:
        solver: SolverImplicit of the model; its dt is the robot's, or a whole part of it (substeps).
        robot: Robot with `prepare`, `apply` and `step`.
        links: dict from link to driven Body, as `add_links` gives it.

    Raises:
        InputError: steps that do not fit, no contact, no links or none of that name, a body that is not driven, several environments.
    """

    def __init__(self, solver, robot, links):
        self.solver = validation.instance("solver", solver, SolverImplicit)
        self.robot, self.links = robot, dict(links)
        model = solver.model
        if isinstance(robot, KinematicRobot):
            raise InputError(
                "robot: a KinematicRobot gives way to nothing; make its links colliders (add_links with driven=False) and move them by "
                "Control.from_poses(model, times, robot.link_poses(times))"
            )
        self.substeps = round(robot.dt / solver.dt)
        if self.substeps < 1 or abs(self.substeps * solver.dt - robot.dt) > 1e-9 * robot.dt:
            raise InputError(f"solver.dt = {solver.dt:g} s: the robot's dt = {robot.dt:g} s must be a whole multiple of it")
        if model.envs != 1:
            raise InputError(f"model: it has {model.envs} environments, a coupled robot moves in one; for many move colliders by a Control")
        if model.contact is None:
            raise InputError("model: nothing touches in it; call builder.enable_contact before finalize")
        if not self.links:
            raise InputError("links: none are given; name those that may touch in add_links")
        names = list(robot.kinematics.links)
        for name, body in self.links.items():
            if name not in names:
                raise InputError(f"links: the robot has no link {name!r}; it must be one of {', '.join(names)}")
            if not isinstance(body, Body) or model.bodies.get(body.name) is not body or "drive" not in body.parameters:
                raise InputError(f"links: the body of {name!r} must be what add_links gave for it, from this model's builder")
        self._numbers = [names.index(name) for name in self.links]
        self._particles = np.concatenate([body.particles for body in self.links.values()])
        self._local = np.array([body.mesh.points for body in self.links.values()])
        firsts = next(b.stencil for b in model.blocks if b.law is DRIVE)[:, 0]
        number = [b.law for b in model.blocks].index(DRIVE)
        self._drive_shares = slice(*(int(n) for n in solver.assembly.share_offsets[number : number + 2]))
        self._rows = np.array([int(np.flatnonzero(firsts == body.particles[0])[0]) for body in self.links.values()])
        self._shift = np.zeros((len(self.links), 6))
        self._centres = self._local.mean(axis=1)
        self._lower = np.tril_indices(6)
        self._shapes, self._columns = model.column_shapes, None

    def step(self, state, control=None, params=None):
        """One step of the robot.

        Args:
            state: State of the model.
            control: Control of other attachments, or None.
            params: as `SolverImplicit.step`.

        Returns:
            (State one robot step later, CouplingReport).

        Raises:
            SolverError: a step failed; robot and coupling are then as before it.
        """
        before = self._shift.copy()
        try:
            return self._advance(state, control, params)
        except SolverError:
            self._shift = before
            raise

    def _advance(self, state, control, params):
        solver, robot = self.solver, self.robot
        state = require_state(solver.model, state)
        parameters = solver.model.resolve(params)
        bound = bind(solver.model, control)
        prediction = robot.prepare()
        origins, jacobians = prediction.positions[self._numbers], prediction.jacobians[self._numbers]
        starts = (matrices(prediction.quaternions[self._numbers]) @ self._centres[:, :, None])[:, :, 0]
        now, speed = robot.state().position, robot.state().velocity
        free = (prediction.qd - speed) / robot.dt  # acceleration without contact
        dt = solver.dt
        totals = np.zeros((len(self.links), 6))
        imbalance = iterations = residual = launches = 0
        for _ in range(self.substeps):
            speed_free = speed + dt * free
            driven, targets = self._drives(parameters, jacobians, prediction.mobility, now + dt * speed_free, dt)
            if bound:
                others = targets_at(solver.model, control, bound, state.time + dt)
                targets = np.concatenate([others[0], targets[0]]), np.concatenate([others[1], targets[1]], axis=1)
            before, (state, report) = state, solver.advance(state, targets, driven)
            contact = solver.assembly.contact.forces()[0]
            wrenches = self._wrenches(state.x.numpy()[0], origins)
            answer = prediction.mobility @ np.einsum("lij,li->j", jacobians, wrenches)
            speed = speed_free + dt * answer
            now = now + dt * speed
            self._take_up(jacobians, wrenches, dt**2 * answer, starts)
            totals += wrenches / self.substeps
            imbalance = max(imbalance, self._imbalance(before, state, contact, wrenches, driven))
            iterations, residual = iterations + report.iterations, max(residual, report.residual)
            launches += report.launches
        pairs = {name: (w[:3], w[3:]) for name, w in zip(self.links, totals, strict=True)}
        robot.apply(pairs)
        robot.step()
        stall = dict(zip(self.links, self._stalls(jacobians, now, state), strict=True))
        return state, CouplingReport(pairs, imbalance, stall, iterations, residual, launches)

    def _drives(self, parameters, jacobians, mobility, q, dt):
        """Parameters and targets (particles, positions [1, p, 3]) of all links' drives for a step that would end at q."""
        positions, quaternions = self.robot.kinematics.poses(q[None])
        turns = matrices(quaternions[0, self._numbers]).swapaxes(1, 2)
        arms = (self._centres[:, None] @ turns)[:, 0]
        middles = positions[0, self._numbers] + arms
        self._aim, self._middles, self._arms = q, middles, arms
        about = (self._local - self._centres[:, None]) @ turns
        targets = about + (middles + self._shift[:, :3])[:, None] + cross(self._shift[:, None, 3:], about)
        stiffness, rigidity, self._compliance = self._stiffness(jacobians, mobility, arms, dt)
        columns = np.empty((1, len(self.links), 22))
        columns[0, self._rows, :21] = stiffness[:, *self._lower]
        columns[0, self._rows, 21] = rigidity
        driven = parameters.with_columns(self._shapes, DRIVE.name, columns)
        return driven, (self._particles, targets.reshape(1, -1, 3))

    def _stiffness(self, jacobians, mobility, arms, dt):
        """(K of the links' drives about points at `arms` from their origins [L, 6, 6], their largest stiffness [L], K^-1)."""
        J = jacobians.copy()
        J[:, :3] += cross(J[:, 3:].swapaxes(1, 2), arms[:, None]).swapaxes(1, 2)
        size, axes = np.linalg.eigh(len(self.links) * J @ mobility @ J.swapaxes(1, 2) * _SCALES)
        size = np.maximum(size, SOFTEST * np.maximum(size[:, -1:], 1e-12)) * dt**2  # they come in ascending order
        turned = axes.swapaxes(1, 2)
        K = (axes / size[:, None]) @ turned * _SCALES
        compliance = (axes * size[:, None]) @ turned / _SCALES
        return K, 1.0 / size[:, 0], compliance

    def _wrenches(self, x, origins):
        """Force and torque on each link by all but its drive: contact, and pins where there are any; about the origins, [links, 6]."""
        a = self.solver.assembly
        drives = a.read_shares()[0, self._drive_shares].reshape(-1, 4, 3)[self._rows]
        forces = drives - a.read_gradient()[0, self._particles].reshape(-1, 4, 3)
        arms = x[self._particles].reshape(-1, 4, 3) - origins[:, None]
        return np.concatenate([forces, cross(arms, forces)], axis=2).sum(axis=1)

    def _take_up(self, jacobians, wrenches, moved, arms):
        """Move the shifts towards what makes frames and links agree under the present wrenches, which move the joints by `moved`.

        `arms`: from the links' origins to the middles of their frames at the beginning.
        """
        real = jacobians @ moved
        real[:, :3] += cross(real[:, 3:], arms)
        middle = wrenches.copy()
        middle[:, 3:] -= cross(arms, wrenches[:, :3])
        given = (self._compliance @ middle[:, :, None])[:, :, 0]
        self._shift += TAKE_UP * (real - given - self._shift)

    def _imbalance(self, before, after, contact, wrenches, parameters):
        """Momentum of the soft bodies that came from nowhere, as a share of the largest force on them.

        What holds points (exactly, or by tethers) takes part with the force that it needs, links with what they feel.
        """
        a, model = self.solver.assembly, self.solver.model
        columns = parameters.columns(self._shapes)[INERTIA.name][0]
        if columns is not self._columns:  # constant over most runs
            self._columns, soft = columns, columns[:, 0] > 0.0
            self._mass, self._damped = columns[:, 0], columns[:, 0] * columns[:, 1]
            self._weight = columns[:, 0] @ columns[:, 2:5]
            self._held, colliders = np.flatnonzero(soft & ~model.free), ~soft
            colliders[self._particles] = False
            self._colliders = np.flatnonzero(colliders)
        velocity = after.v.numpy()[0]
        gained = self._mass @ (velocity - before.v.numpy()[0]) / self.solver.dt
        weight = self._weight - self._damped @ velocity
        held = (a.read_gradient()[0, self._held] + contact[self._held]).sum(axis=0)
        links, colliders = -wrenches[:, :3], -contact[self._colliders].sum(axis=0)
        tethers = sum((-s.sum(axis=0) for s in self._tether_shares()), np.zeros(3))
        parts = np.array([weight, held, colliders, tethers, *links])
        return float(np.linalg.norm(gained - parts.sum(axis=0)) / max(np.linalg.norm(parts, axis=1).max(), self._mass.sum() * 1.0))

    def _tether_shares(self):
        a = self.solver.assembly
        for i, block in enumerate(a.model.blocks):
            if block.law is TETHER:
                yield a.read_shares()[0, a.share_offsets[i] : a.share_offsets[i + 1]]

    def _stalls(self, jacobians, q, state):
        """How far the middles of frames are from their links' at the end of the step, where the joints are at q; [links]."""
        moved = jacobians @ (q - self._aim)  # from where the drives' targets were made for
        middles = self._middles + moved[:, :3] + cross(moved[:, 3:], self._arms)
        frames = state.x.numpy()[0, self._particles].reshape(-1, 4, 3).mean(axis=1)
        return np.linalg.norm(frames - middles, axis=1).tolist()
