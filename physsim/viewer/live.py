"""A simulation that goes on while it is looked at: soft bodies in a thread of their own, one of whose points can be pulled."""

import threading
import time
from dataclasses import dataclass

import numpy as np

from physsim.errors import InputError, PhyssimError
from physsim.physics.archive import MATERIALS
from physsim.physics.builder import ModelBuilder
from physsim.physics.laws import INERTIA
from physsim.physics.materials import NeoHookean, Rod, Shell
from physsim.physics.mesh import TetMesh
from physsim.physics.model import Control
from physsim.physics.rods import Curve
from physsim.physics.solvers.implicit import SolverImplicit

DT = 1 / 60  # [s]
HOLDS = ("auto", "bottom", "top", "none")
LAYER = 0.05  # share of the extent that counts as the lowest or highest layer
PATCH = 0.08  # radius of what a pointer takes hold of, as a share of the body's extent
PULL_HZ = 5.0  # at least this quickly a free body follows the pointer
REACH = 0.5  # how far the pull's spring stretches at most, as a share of the body's extent
GAP = 1e-6  # a body must be this far above the floor for the floor to carry it [m]
CONVERGED = 1e-4  # accuracy of a step as a share of the smallest extent


def hold_points(mesh, where="auto"):
    """Points of a body that stay where they are while it is pulled about.

    Args:
        mesh: TetMesh, TriMesh, SpringNet or Curve.
        where: "bottom" or "top" layer, "none", or "auto": the bottom of solids, the top of what hangs (sheets, nets, rods); of a flat
            thing the side of least x or y, of a rod its first end.

    Returns:
        Indices, shape [h].

    Raises:
        InputError: another word.
    """
    if where not in HOLDS:
        raise InputError(f"hold = {where!r}: choose one of {', '.join(HOLDS)}")
    if where == "none":
        return np.zeros(0, np.int64)
    if where == "auto" and isinstance(mesh, Curve):
        return np.zeros(0, np.int64) if mesh.closed else np.asarray(mesh.end(0), np.int64)
    points = mesh.line if isinstance(mesh, Curve) else mesh.points
    size = np.ptp(points, axis=0)
    if where == "auto":
        flat = size[2] < 2 * LAYER * size.max()
        axis = int(np.argmax(size[:2])) if flat else 2
        high = axis == 2 and not isinstance(mesh, TetMesh)
    else:
        axis, high = 2, where == "top"
    along = -points[:, axis] if high else points[:, axis]
    return np.flatnonzero(along <= along.min() + LAYER * size[axis])


def why_not_live(run):
    """Why no simulation can start from a run, in words; None where it can."""
    if not run.bodies:
        return "the run holds no soft body"
    for body in run.bodies:
        if type(body.material) not in MATERIALS.values():
            return f"the material of {body.name!r} is not recorded"
        if isinstance(body.material, Shell) and body.material.has_directions:
            return f"the warp directions of {body.name!r} are not recorded"
        if not isinstance(body.material, NeoHookean | Rod | Shell) and body.masses is None:
            return f"the masses of {body.name!r} are not recorded"
        if isinstance(body.mesh, TetMesh) and body.mesh.order == 1 and np.max(body.material.poisson) > 0.45:
            return f"{body.name!r} has four-node tetrahedra, which lock at its Poisson's ratio"
    return None


@dataclass(frozen=True)
class Snapshot:
    """Positions of every body's points [m], shape [n, 3] each, at a time [s]; `pace` is simulated over real time."""

    positions: tuple[np.ndarray, ...]
    time: float
    pace: float


@dataclass(frozen=True)
class _Grip:
    body: int
    stiffness: np.ndarray  # of every tether of that body [N/m]
    start: np.ndarray  # positions of the body's tethered points when they were taken hold of [m]
    centre: int  # among them, the one that was pointed at
    shift: np.ndarray  # of the pointer since [m]


class LiveSimulation:
    """Bodies of a run, simulated on from one of its frames, in a thread.

    What was held stays where it is in that frame; robots and other rigid things do not take part; the floor does where all bodies are
    above it.

    Args:
        run: Run whose bodies have materials.
        frame: number of the frame to start from.

    Attributes:
        message: what went wrong in the last step, or "".
        failure: what ended the thread for good, or None.

    Raises:
        InputError: the run does not hold enough; the message says what is missing.
    """

    def __init__(self, run, frame=0):
        reason = why_not_live(run)
        if reason is not None:
            raise InputError(f"no simulation can start: {reason}")
        self.run, self.message, self.failure = run, "", None
        starts = [np.asarray(x, dtype=np.float64) for x in run.positions(frame)]
        self.floor = run.ground is not None and all(x[:, 2].min() > run.ground + GAP for x in starts)
        own = self._build(None)
        masses = own.resolve(None).columns(own.column_shapes)[INERTIA.name][0, :, 0]
        more = [None if b.masses is None else b.masses - masses[own.bodies[b.name].particles] for b in run.bodies]
        heavier = any(m is not None and (m > 1e-6 * masses.max()).any() for m in more)
        self.model = self._build(more, masses.max()) if heavier else own
        self._bodies = [self.model.bodies[b.name] for b in run.bodies]
        self._free = [self._tethered(i) for i in range(len(run.bodies))]
        x = np.concatenate([self.model.positions])
        for body, start in zip(self._bodies, starts, strict=True):
            x[body.particles] = start
        self._extents = [float(np.ptp(b.mesh.points, axis=0).max()) for b in run.bodies]
        integrator = "backward_euler" if self.floor else "bdf2"
        self._solver = SolverImplicit(self.model, dt=DT, integrator=integrator, accuracy=CONVERGED * min(self._extents))
        self._start = self._state = self.model.state(positions=x)
        self._loose = {a.stiffness: np.zeros(a.stiffness.shape) for a in self.model.attachments.values() if a.stiffness is not None}
        self._grip, self._again = None, False
        self._lock, self._wake = threading.Lock(), threading.Condition()
        self._running = self._ended = False
        self.snapshot = self._shot(0.0)
        self._thread = threading.Thread(target=self._loop, name="physsim live", daemon=True)
        self._thread.start()

    def _tethered(self, i):
        """Points of a body that may be pulled: those that are not held, and of rods no directors."""
        body = self.run.bodies[i]
        count = body.mesh.point_count if isinstance(body.mesh, Curve) else len(body.mesh.points)
        return np.setdiff1d(np.arange(count), body.held)

    def _build(self, more, scale=1.0):
        builder = ModelBuilder(self.run.gravity)
        for i, body in enumerate(self.run.bodies):
            if isinstance(body.material, NeoHookean):
                made = builder.add_soft_body(body.mesh, body.material, name=body.name)
            elif isinstance(body.material, Shell):
                made = builder.add_cloth(body.mesh, body.material, name=body.name)
            elif isinstance(body.material, Rod):
                made = builder.add_rod(body.mesh, body.material, name=body.name)
            else:
                made = builder.add_springs(body.mesh, body.material, np.maximum(body.masses, 1e-12 * body.masses.sum()), name=body.name)
            if len(body.held):
                builder.attach(made, body.held)
            if len(self._tethered(i)):
                builder.attach(made, self._tethered(i), stiffness=1.0, name=f"{body.name} pull")
            extra = None if more is None else more[i]
            if extra is not None and (extra > 1e-6 * scale).any():
                points = np.flatnonzero(extra > 1e-6 * scale)
                builder.add_mass(made, points, float(extra[points].sum()), weights=extra[points] / extra[points].sum())
        if self.floor:
            builder.add_ground(self.run.ground)
            builder.enable_contact()
        return builder.finalize()

    @property
    def running(self):
        """Whether time goes on."""
        return self._running

    def play(self):
        """Let time go on."""
        with self._wake:
            self._running = True
            self._wake.notify_all()

    def pause(self):
        """Hold time."""
        self._running = False

    def reset(self):
        """Back to the start, let go of everything."""
        with self._lock:
            self._grip, self._again = None, True
        with self._wake:
            self._wake.notify_all()

    def close(self):
        """End the thread."""
        with self._wake:
            self._ended = True
            self._wake.notify_all()
        self._thread.join(timeout=10.0)

    def grab(self, number, place):
        """Take hold of the body's points about the one nearest to a place [m], shape [3], and let time go on.

        Returns:
            Index of that point in the body, or None where every point is held.
        """
        free = self._free[number]
        if len(free) == 0:
            return None
        now = self.snapshot.positions[number][free]
        centre = int(np.linalg.norm(now - np.asarray(place), axis=1).argmin())
        body = self.run.bodies[number]
        rest = body.mesh.points[free]
        near = np.linalg.norm(rest - rest[centre], axis=1) <= PATCH * self._extents[number]
        stiffness = np.where(near, self._pull(number) / near.sum(), 0.0)
        with self._lock:
            self._grip = _Grip(number, stiffness, now.astype(np.float64), centre, np.zeros(3))
        self.play()
        return int(free[centre])

    def move(self, shift):
        """Move what is held by a way since it was taken hold of [m], shape [3]."""
        with self._lock:
            g = self._grip
            if g is not None:
                self._grip = _Grip(g.body, g.stiffness, g.start, g.centre, np.asarray(shift, dtype=np.float64))

    def release(self):
        """Let go."""
        with self._lock:
            self._grip = None

    @property
    def pulled(self):
        """(where the held point is, where the pointer is) [m], shape [3] each, or None."""
        g = self._grip
        if g is None:
            return None
        return self.snapshot.positions[g.body][self._free[g.body]][g.centre], g.start[g.centre] + g.shift

    def _pull(self, number):
        """Stiffness of the pull on a body [N/m]: it carries the body, and is stiff beside what it pulls at."""
        body, extent = self.run.bodies[number], self._extents[number]
        masses = self.model.resolve(None).columns(self.model.column_shapes)[INERTIA.name][0, self._bodies[number].particles, 0]
        inertia = masses.sum() * (2.0 * np.pi * PULL_HZ) ** 2
        material = body.material
        if isinstance(material, NeoHookean):
            return inertia + 4.0 * float(np.mean(material.young)) * PATCH * extent
        if isinstance(material, Shell):
            thick = material.young is not None and material.stretch is None
            stretch = material.young * np.asarray(material.thickness) if thick else material.stretch
            return inertia + float(np.mean(stretch))
        if isinstance(material, Rod):
            return inertia  # a rod bends long before it stretches
        return inertia + float(np.mean(material.stiffness))

    def _loop(self):
        try:
            self._follow_time()
        except Exception as error:
            self.failure, self._running = error, False

    def _follow_time(self):
        due = time.perf_counter()
        while True:
            with self._wake:
                while not (self._running or self._again or self._ended):
                    self._wake.wait()
                    due = time.perf_counter()
                if self._ended:
                    return
            with self._lock:
                grip, again, self._again = self._grip, self._again, False
            if again:
                self._state, self.message = self._start, ""
                self.snapshot = self._shot(0.0)
                due = time.perf_counter()
                continue
            began = time.perf_counter()
            self._advance(grip)
            took = time.perf_counter() - began
            self.snapshot = self._shot(DT / max(took, DT))
            due = max(due + DT, time.perf_counter() - DT)  # what a slow step lost is not run after
            time.sleep(max(due - time.perf_counter(), 0.0))

    def _advance(self, grip):
        control, params = None, dict(self._loose)
        if grip is not None:
            attachment = self.model.attachments[f"{self.run.bodies[grip.body].name} pull"]
            params[attachment.stiffness] = grip.stiffness
            now = self._state.x.numpy()[0][attachment.particles[grip.centre]]
            way = grip.start[grip.centre] + grip.shift - now
            excess = max(np.linalg.norm(way) / (REACH * self._extents[grip.body]), 1.0)
            shift = now + way / excess - grip.start[grip.centre]
            control = Control([0.0], {attachment.name: (grip.start + shift)[None]})
        try:
            self._state, _ = self._solver.step(self._state, control, params)
            self.message = ""
        except PhyssimError as error:
            # the last good state is kept; without the pull and at rest it will mostly go on
            self.message = f"a step failed, let go: {' '.join(str(error).split())[:160]}"
            self._state = self.model.state(positions=self._state.x.numpy()[0], time=self._state.time)
            with self._lock:
                self._grip = None
            if grip is None:
                self._running = False

    def _shot(self, pace):
        x = self._state.x.numpy()[0]
        return Snapshot(tuple(x[b.particles].astype(np.float32) for b in self._bodies), self._state.time, pace)
