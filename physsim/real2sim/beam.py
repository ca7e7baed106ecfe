"""The beam experiment: a clamped soft box with a weight at its tip, held, let go, and filmed by motion capture.

`physsim demo beam` fits Young's modulus and viscosity to one recording and predicts another. The experiment's facts come from a
JSON file, the recordings from CSV files; nothing here knows the numbers of the recordings that ship.
"""

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from physsim.errors import InputError
from physsim.physics import validation
from physsim.physics.builder import ModelBuilder
from physsim.physics.materials import NeoHookean
from physsim.physics.mesh import box_mesh
from physsim.physics.solvers.implicit import SolverImplicit
from physsim.physics.solvers.static import SolverStatic
from physsim.real2sim import recording as rec
from physsim.real2sim.identify import StartAtScaledGravity, identify, identify_rest
from physsim.real2sim.least_squares import Variable
from physsim.real2sim.tracks import Tracks

DT = 1 / 200  # [s]; BDF2 then runs a 3 Hz swing 0.3 % slow
CELL_SHARE = 0.5  # cells are at most this share of the thinnest side
EARLY = 0.03  # frames within this time after the turning point are left to the delay to settle [s]


@dataclass(frozen=True)
class Experiment:
    """Facts of a beam experiment in SI units; see `assets/silicone_beam/experiment.json` for the file's form.

    Args:
        origin, size: of the box [m], shape [3]; clamped at the face of lowest x.
        density: [kg/m^3].
        poisson: [-].
        gravity: [m/s^2], shape [3].
        weight: mass of the weight [kg].
        edge: ends of the edge that carries it [m], shape [2, 3].
        markers: names.
        points: the material points that they stand for [m], shape [markers, 3].
        folder: of the file, where recordings with a bare name lie.
        recordings: dict name -> {"file", "release_time"}.
    """

    origin: np.ndarray
    size: np.ndarray
    density: float
    poisson: float
    gravity: np.ndarray
    weight: float
    edge: np.ndarray
    markers: tuple[str, ...]
    points: np.ndarray
    folder: Path
    recordings: dict

    @staticmethod
    def read(path):
        """Read and check an experiment file.

        Raises:
            InputError: no such file, not JSON, a missing or impossible entry.
        """
        path = Path(path)
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            body, weight, markers = data["body"], data["weight"], data["markers"]
            return Experiment(
                origin=validation.array("experiment body.origin", body["origin"], (3,)),
                size=validation.array("experiment body.size", body["size"], (3,), lower=0.0, lower_open=True),
                density=float(validation.array("experiment body.density", body["density"], (), lower=0.0, lower_open=True)),
                poisson=float(
                    validation.array("experiment body.poisson", body["poisson"], (), -1.0, 0.5)
                    if False
                    else validation.array(
                        "experiment body.poisson", body["poisson"], (), lower=-1.0, upper=0.5, lower_open=True, upper_open=True
                    )
                ),
                gravity=validation.array("experiment gravity", data["gravity"], (3,)),
                weight=float(validation.array("experiment weight.mass", weight["mass"], (), lower=0.0)),
                edge=validation.array("experiment weight.edge", weight["edge"], (2, 3)),
                markers=tuple(m["name"] for m in markers),
                points=validation.array("experiment markers", [m["point"] for m in markers], (None, 3)),
                folder=path.parent,
                recordings=data.get("recordings", {}),
            )
        except (KeyError, TypeError) as error:
            raise InputError(f"{path}: the entry {error} is missing or of the wrong kind; see the shipped experiment.json") from None
        except (OSError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{path}: not a readable JSON file ({error})") from None

    def default_cells(self):
        """Cells of at most half the thinnest side."""
        edge = CELL_SHARE * self.size.min()
        return tuple(int(np.ceil(s / edge - 1e-9)) for s in self.size)


@dataclass
class Beam:
    """The simulated experiment: model, its body, and where the markers are."""

    model: object
    body: object
    mesh: object
    nodes: np.ndarray
    weights: np.ndarray

    def observe(self, x):
        """Marker positions [..., markers, 3] from particle positions [..., n, 3]."""
        return np.einsum("pk,...pkc->...pc", self.weights, x[..., self.nodes, :])


def build(experiment, cells=None, young=1e5, viscosity=1.0, envs=None):
    """The beam's model: ten-node tetrahedra, one face clamped, the weight along its edge.

    Args:
        experiment: Experiment.
        cells: cells along x, y, z; None: `Experiment.default_cells`.
        young: [Pa].
        viscosity: [Pa s], above 0.
        envs: as `ModelBuilder.finalize`.
    """
    e = experiment
    mesh = box_mesh(e.size, cells or e.default_cells(), order=2, origin=e.origin)
    builder = ModelBuilder(gravity=e.gravity)
    body = builder.add_soft_body(mesh, NeoHookean(young, e.poisson, e.density, viscosity), name="beam")
    small = 1e-6 * e.size.min()
    builder.attach(body, np.flatnonzero(mesh.points[:, 0] < e.origin[0] + small), name="clamp")
    if e.weight > 0:
        along = e.edge[1] - e.edge[0]
        s = (mesh.points - e.edge[0]) @ along / (along @ along)
        near = np.linalg.norm(mesh.points - e.edge[0] - s[:, None] * along, axis=1) < small
        points = np.flatnonzero(near & (s > -1e-9) & (s < 1 + 1e-9))
        if len(points) < 2:
            raise InputError("experiment weight.edge: no edge of the box runs from one end to the other")
        points = points[np.argsort(s[points])]
        # an even line load on quadratic edges: Simpson's weights
        shares = np.ones(len(points))
        shares[1::2], shares[2:-1:2] = 4.0, 2.0
        builder.add_mass(body, points, e.weight, weights=shares)
    nodes, weights = mesh.interpolation(e.points, outside=0.5 * e.size.min())
    return Beam(builder.finalize(envs=envs), body, mesh, nodes, weights)


@dataclass
class Measured:
    """A recording made ready: displacements of the markers from their held pose."""

    name: str
    times: np.ndarray
    displacements: np.ndarray  # [f, markers, 3]
    release: float
    turn: float  # first turning point [s]
    turn_drop: float  # mean drop there [m]

    @staticmethod
    def read(path, experiment, release=None, name=None):
        """Read a recording; the release is detected where it is not given.

        Raises:
            InputError: a file that cannot be used.
        """
        recording = rec.read_recording(path, name=name)
        try:
            missing = [m for m in experiment.markers if m not in recording.markers]
            if missing:
                raise InputError(f"{path}: no columns for the markers {', '.join(missing)} of the experiment")
            order = [recording.markers.index(m) for m in experiment.markers]
            positions = recording.positions[:, order]
            part = rec.Recording(recording.name, recording.times, positions, experiment.markers)
            if release is None:
                release = rec.detect_release(part.times, part.positions)
            displacements = part.displacements(release)
            turn, value = rec.first_turning_point(part.times, rec.mean_drop(displacements), release)
        except ValueError as error:
            if isinstance(error, InputError):
                raise
            raise InputError(f"{path}: {error}") from None
        return Measured(recording.name, part.times, displacements, release, turn, value)


@dataclass
class FitResult:
    """A fitted beam: the material and how sure it is."""

    fit: object
    young: float
    viscosity: float
    damping_ratio: float
    young_interval: tuple
    damping_ratio_interval: tuple
    starts: np.ndarray  # fitted modulus of every start [Pa]


def fit(experiment, measured, *, young_start=(5e4, 2e6), fit_seconds=None, cells=None, dt=DT, show=None):
    """Fit Young's modulus and viscosity to one recording.

    First a coarse modulus from the mean pose of the fitted frames by statics, then the motion from the first turning point on, over
    growing horizons; amplitude and delay of the release are fitted along.

    Args:
        experiment: Experiment.
        measured: Measured.
        young_start: first moduli [Pa], one start each, run as environments.
        fit_seconds: use only this long after the release [s]; None: until the swing has settled and shown its rest.
        cells: of the mesh.
        dt: step [s].
        show: called with lines of progress.
    """
    show = show or (lambda line: None)
    starts = np.atleast_1d(np.asarray(young_start, dtype=float))
    beam = build(experiment, cells, envs=len(starts))
    seen = measured.times <= (np.inf if fit_seconds is None else measured.release + fit_seconds + 1e-9)
    end = rec.settled(measured.times[seen], rec.mean_drop(measured.displacements[seen]), measured.turn)
    used = (measured.times >= measured.turn + EARLY) & (measured.times <= end + 1e-9)
    if used.sum() < 20:
        raise InputError(f"recording {measured.name!r}: {int(used.sum())} frames to fit after the first turning point; 20 are needed")
    positions = experiment.points + measured.displacements
    tracks = Tracks(measured.times[used], beam.nodes, beam.weights, positions[used], components="z", noise=1e-3)
    static = SolverStatic(beam.model, strict=False)
    young = Variable("young", starts, 1e2, 1e9, "log", "Pa")
    show(f"mesh of {len(beam.mesh.cells)} ten-node tetrahedra; linear solver: {static.linear_name}")
    rest = identify_rest(static, positions[used].mean(axis=0), beam.nodes, beam.weights, {beam.body.young: young}, components="z")
    coarse = rest.theta[:, 0]
    show("coarse modulus from the mean pose: " + ", ".join(f"{s / 1e3:.4g} -> {c / 1e3:.4g} kPa" for s, c in zip(starts, coarse, strict=True)))
    swing = rec.damped_cosine(tracks.times, rec.mean_drop(positions[used]), tracks.times[0], min(1.5, end - tracks.times[0]))
    omega = 2 * np.pi * swing.frequency_hz
    shear = coarse / (2 * (1 + experiment.poisson))
    viscosity = Variable("viscosity", 2 * max(swing.damping_ratio, 0.01) * shear / omega, 1e-4, 1e6, "log", "Pa s")
    settled = rec.mean_drop(positions[used].mean(axis=0, keepdims=True))[0] - rec.mean_drop(experiment.points[None])[0]
    multiple = Variable("release multiple", measured.turn_drop / settled, 0.05, 20.0, "log")
    delay = Variable("delay", 0.0, -EARLY, EARLY, "linear", "s")
    start = StartAtScaledGravity(static, measured.turn, multiple, delay)
    solver = SolverImplicit(beam.model, dt, strict=False)
    period = 1 / swing.frequency_hz
    length = tracks.times[-1] - tracks.times[0]
    horizons = [h for h in (1.5 * period, 4.0 * period) if h < 0.8 * length] + [None]

    def progress(horizon, iteration, cost, theta):
        values = ", ".join(f"{y / 1e3:.2f}" for y in theta[:, 0])
        show(f"  {horizon:5.2f} s of motion, iteration {iteration}: rmse {_rmse_mm(cost, tracks, horizon)} mm, young {values} kPa")

    found = identify(
        solver, tracks, {beam.body.young: young_at(young, coarse), beam.body.viscosity: viscosity}, start=start, horizons=horizons, progress=progress
    )
    return _result(found, experiment, omega)


def young_at(variable, start):
    """The same variable from other starts."""
    return Variable(variable.name, start, variable.lower, variable.upper, variable.scale, variable.unit)


def _rmse_mm(cost, tracks, horizon):
    count = np.sum(tracks.times <= tracks.times[0] + horizon + 1e-9) * len(tracks.nodes) * len(tracks.axes)
    return ", ".join(f"{1e3 * tracks.noise * np.sqrt(2 * c / count):.3f}" for c in cost)


def _result(found, experiment, omega):
    young, viscosity = found.values["young"], found.values["viscosity"]
    shear = young / (2 * (1 + experiment.poisson))
    ratio = viscosity * omega / (2 * shear)
    sure = found.intervals
    c = sure.covariance[:2, :2]
    spread = np.sqrt(max(c[1, 1] + c[0, 0] - 2 * c[0, 1], 0.0))  # of log(viscosity / young), the frequency being measured
    half = spread * (np.log(sure.upper[1] / sure.estimate[1]) / sure.std[1] if sure.std[1] > 0 else 2.0)
    interval = (ratio * np.exp(-half), ratio * np.exp(half))
    return FitResult(found, young, viscosity, ratio, sure.interval("young"), interval, found.result.theta[:, 0])


def predict(experiment, measured, young, viscosity, *, cells=None, dt=DT, multiple=None, delay=0.0):
    """Predict a recording from its first turning point.

    Args:
        experiment: Experiment.
        measured: Measured; of it only time and drop of the first turning point are used.
        young: [Pa].
        viscosity: [Pa s].
        multiple: of gravity at the start; None: the one whose equilibrium has the measured drop at the turning point.
        delay: [s].

    Returns:
        (displacements [f, markers, 3] (before the turning point the measured ones), states' positions at the frames from there on
        [g, n, 3], Beam).
    """
    beam = build(experiment, cells, young, viscosity)
    static = SolverStatic(beam.model)
    rest_markers = beam.observe(beam.mesh.points)
    rest, _ = static.solve()
    drop = lambda state: -(beam.observe(state.positions) - rest_markers)[:, 2].mean()  # noqa: E731
    gravity = np.asarray(experiment.gravity)
    if multiple is None:
        multiple = measured.turn_drop / drop(rest)
        for _ in range(30):  # secant on a smooth monotone curve
            state, _ = static.solve(rest, params={"gravity": multiple * gravity})
            bumped, _ = static.solve(state, params={"gravity": multiple * 1.001 * gravity})
            slope = (drop(bumped) - drop(state)) / (0.001 * multiple)
            change = (measured.turn_drop - drop(state)) / slope
            multiple = float(np.clip(multiple + change, 0.5 * multiple, 2 * multiple))
            if abs(change) < 1e-6:
                break
    state, _ = static.solve(rest, params={"gravity": multiple * gravity})
    times = measured.times
    after = times >= measured.turn + delay
    samples = run(beam, beam.model.state(state.positions, time=measured.turn + delay), times[after], dt)
    displacements = measured.displacements.copy()
    displacements[after] = beam.observe(samples) - rest_markers
    return displacements, samples, beam


def run(beam, state, times, dt):
    """Particle positions [frames, n, 3] at the given times, without gradients."""
    from physsim.physics.diff.sampling import plan

    solver = SolverImplicit(beam.model, dt)
    samples = plan(times, state.time, dt)
    out = np.zeros((len(times), beam.model.particle_count, 3))
    for k in range(samples.step_count):
        after, _ = solver.step(state)
        for f in np.flatnonzero(samples.step == k):
            parts = (state.positions, state.velocities, after.positions, after.velocities)
            out[f] = sum(w * part for w, part in zip(samples.position[f], parts, strict=True))
        state = after
    return out
