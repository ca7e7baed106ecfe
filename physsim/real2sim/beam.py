"""The beam experiment: a clamped soft box with a weight at its tip, held, let go, and filmed by motion capture.

`physsim demo beam` fits Young's modulus and viscosity to one recording and predicts another. The experiment's facts come from a
JSON file, the recordings from CSV files; nothing here knows the numbers of the recordings that ship.
"""

from dataclasses import dataclass

import numpy as np

from physsim.errors import InputError, SolverError
from physsim.physics.builder import ModelBuilder
from physsim.physics.diff.sampling import plan
from physsim.physics.materials import NeoHookean
from physsim.physics.mesh import box_mesh
from physsim.physics.solvers.implicit import SolverImplicit
from physsim.physics.solvers.static import SolverStatic
from physsim.real2sim import recording as rec
from physsim.real2sim.beam_experiment import Experiment, Measured
from physsim.real2sim.identify import StartAtScaledGravity, identify, identify_rest
from physsim.real2sim.least_squares import Variable
from physsim.real2sim.tracks import Tracks

DT = 1 / 200  # [s]; BDF2 then runs a 3 Hz swing 0.3 % slow
EARLY = 0.03  # frames within this time after the turning point are left to the delay to settle [s]
YOUNG_BOUNDS = (1e2, 1e9)  # [Pa]
MET = 0.01  # starts whose logarithms differ by less go on as one
MIN_FRAMES = 20
HORIZONS = (1.5, 4.0)  # lengths of motion fitted before all of it, in periods of the swing


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
        points, shares = _edge_nodes(mesh, e.edge, small)
        builder.add_mass(body, points, e.weight, weights=shares)
    nodes, weights = mesh.interpolation(e.points, outside=0.5 * e.size.min())
    return Beam(builder.finalize(envs=envs), body, mesh, nodes, weights)


def _edge_nodes(mesh, edge, small):
    """Nodes along an edge, and their shares of a load that is even along it (Simpson's weights on quadratic edges)."""
    along = edge[1] - edge[0]
    s = (mesh.points - edge[0]) @ along / max(along @ along, 1e-300)
    near = np.linalg.norm(mesh.points - edge[0] - s[:, None] * along, axis=1) < small
    points = np.flatnonzero(near & (s > -1e-9) & (s < 1 + 1e-9))
    if len(points) < 3 or len(points) % 2 == 0 or np.ptp(s[points]) < 1 - 1e-6:
        raise InputError(
            f"weight.edge = {edge.tolist()}: no line of nodes runs from end to end; give an edge of the box, from corner to corner"
        )
    points = points[np.argsort(s[points])]
    shares = np.ones(len(points))
    shares[1::2], shares[2:-1:2] = 4.0, 2.0
    return points, shares


@dataclass(frozen=True)
class Trial:
    """One iteration of a fit: length of motion [s], number within it, then of every start the best RMSE so far [mm] and modulus [Pa]."""

    horizon: float
    iteration: int
    rmse_mm: np.ndarray
    young: np.ndarray


@dataclass
class FitResult:
    """A fitted beam: the material and how sure it is.

    Args:
        fit: physsim.real2sim.identify.Fit.
        young: [Pa].
        viscosity: [Pa s].
        damping_ratio: of the measured swing's frequency.
        young_interval, damping_ratio_interval: 95 %; an end may be infinite.
        starts: first modulus of every start [Pa].
        coarse: modulus of every start after statics alone on the mean pose [Pa].
        ends: fitted modulus of every start [Pa].
        at_rest: modulus that the pose of the last 0.6 s asks for, by statics [Pa]; for comparison, the fit does not use it.
        window: first and last frame that were fitted [s].
        trail: list of Trial.
        linear: name of the linear solver.
    """

    fit: object
    young: float
    viscosity: float
    damping_ratio: float
    young_interval: tuple
    damping_ratio_interval: tuple
    starts: np.ndarray
    coarse: np.ndarray
    ends: np.ndarray
    at_rest: float
    window: tuple
    trail: list
    linear: str


def fit(experiment, measured, *, young_start=(5e4, 2e6), fit_seconds=None, cells=None, dt=DT, show=None):
    """Fit Young's modulus and viscosity to one recording.

    First a coarse modulus from the mean pose of the fitted frames by statics, then the motion from the first turning point on, over
    growing horizons; amplitude and delay of the release are fitted along.

    Frames after the swing has settled and shown its rest are left out (`recording.settled`): they repeat one number, and a recording
    that happens to run on for long would be fitted to its rest alone.

    Args:
        experiment: Experiment.
        measured: Measured.
        young_start: first moduli [Pa], one start each, run as environments.
        fit_seconds: use this long after the release [s]; None: until the swing has settled and shown its rest.
        cells: of the mesh.
        dt: step [s].
        show: called with lines of progress.

    Returns:
        FitResult.

    Raises:
        InputError: fewer than 20 frames to fit, a start out of bounds.
        SolverError: no start could be simulated.
    """
    show = show or (lambda line: None)
    starts = np.atleast_1d(np.asarray(young_start, dtype=float))
    low, high = YOUNG_BOUNDS
    if not ((starts >= low) & (starts <= high)).all():
        raise InputError(f"young_start = {starts.tolist()}: must lie in [{low:g}, {high:g}] Pa")
    swing = _swing(measured, _end(measured, fit_seconds))
    stage = _Stage(experiment, measured, fit_seconds, cells, dt, len(starts))
    show(f"mesh of {len(stage.beam.mesh.cells)} ten-node tetrahedra; linear solver: {stage.solver.linear_name}")
    young = Variable("young", starts, low, high, "log", "Pa")
    mean_pose = stage.tracks.positions.mean(axis=0)
    coarse = stage.statics(mean_pose, young).theta[:, 0]
    pairs = zip(starts / 1e3, coarse / 1e3, strict=True)
    show("coarse modulus from the mean pose: " + ", ".join(f"{s:.4g} -> {c:.4g} kPa" for s, c in pairs))
    omega = 2 * np.pi * swing.frequency_hz
    first = np.clip(2 * max(swing.damping_ratio, 0.01) * coarse / (2 * (1 + experiment.poisson)) / omega, 1e-4, 1e6)
    settled = rec.mean_drop((mean_pose - experiment.points)[None])[0]
    variables = [
        young.started_at(coarse),
        Variable("viscosity", first, 1e-4, 1e6, "log", "Pa s"),
        Variable("release multiple", np.clip(measured.turn_drop / settled, 0.05, 20.0), 0.05, 20.0, "log"),
        Variable("delay", 0.0, -EARLY, EARLY, "linear", "s"),
    ]
    trail, costs, trials = [], [], 0

    def progress(horizon, iteration, cost, theta):
        count = np.sum(stage.tracks.times <= stage.tracks.times[0] + horizon + 1e-9) * len(stage.tracks.nodes)
        rmse = 1e3 * stage.tracks.noise * np.sqrt(2 * cost / count)
        trail.append(Trial(horizon, iteration, *(np.broadcast_to(row, starts.shape).copy() for row in (rmse, theta[:, 0]))))
        rmse, values = (", ".join(f"{v:.5g}" for v in row) for row in (rmse, theta[:, 0] / 1e3))
        show(f"  {horizon:5.2f} s of motion, iteration {iteration}: rmse {rmse} mm, young {values} kPa")

    length = stage.tracks.times[-1] - stage.tracks.times[0]
    for horizon in [h / swing.frequency_hz for h in HORIZONS if h / swing.frequency_hz < 0.8 * length] + [None]:
        found = stage.motion(variables, horizon, progress)
        costs += found.history
        trials += found.iterations
        ends = np.broadcast_to(found.result.theta[:, 0], starts.shape)
        variables = [v.started_at(found.result.theta[:, i]) for i, v in enumerate(variables)]
        spread = np.ptp(np.log(found.result.theta[:, :2]), axis=0).max()
        if stage.count > 1 and horizon is not None and spread < MET:
            show(f"  the {stage.count} starts have met within {100 * spread:.2g} %; one goes on")
            stage = _Stage(experiment, measured, fit_seconds, cells, dt, 1)
            variables = [v.started_at(found.result.theta[found.result.best, i : i + 1]) for i, v in enumerate(variables)]
    found.history, found.iterations = costs, trials
    ratio, interval = _damping_ratio(found, experiment, omega)
    last = experiment.points + rec.rest_displacements(measured.displacements, measured.times)
    at_rest = stage.statics(last, young.started_at(np.full(stage.count, found.values["young"])))
    return FitResult(
        fit=found,
        young=found.values["young"],
        viscosity=found.values["viscosity"],
        damping_ratio=ratio,
        young_interval=found.intervals.interval("young"),
        damping_ratio_interval=interval,
        starts=starts,
        coarse=coarse,
        ends=ends,
        at_rest=float(at_rest.theta[at_rest.best, 0]),
        window=(float(stage.tracks.times[0]), float(stage.tracks.times[-1])),
        trail=trail,
        linear=stage.solver.linear_name,
    )


class _Stage:
    """The beam in as many environments as starts are still apart, with its solvers."""

    def __init__(self, experiment, measured, fit_seconds, cells, dt, count):
        self.count, self.measured = count, measured
        self.beam = build(experiment, cells, envs=count)
        self.tracks = _tracks(experiment, measured, self.beam, fit_seconds)
        self.static = SolverStatic(self.beam.model, strict=False)
        self.solver = SolverImplicit(self.beam.model, dt, strict=False)

    def statics(self, pose, young):
        """Modulus whose equilibrium has the markers' heights of a pose."""
        return identify_rest(self.static, pose, self.beam.nodes, self.beam.weights, {self.beam.body.young: young}, components="z")

    def motion(self, variables, horizon, progress):
        """Fit of the motion from the turning point on."""
        young, viscosity, multiple, delay = variables
        return identify(
            self.solver,
            self.tracks,
            {self.beam.body.young: young, self.beam.body.viscosity: viscosity},
            start=StartAtScaledGravity(self.static, self.measured.turn, multiple, delay),
            horizons=[horizon],
            progress=progress,
            final=horizon is None,
        )


def _swing(measured, end):
    """Damped cosine through the mean drop from a little after the turning point on."""
    begin = measured.turn + EARLY
    # from release to turning point is half a period, if the release is free
    seconds = min(max(rec.SWING_SECONDS, 6 * (measured.turn - measured.release)), end - begin)
    try:
        return rec.damped_cosine(measured.times, rec.mean_drop(measured.displacements), begin, seconds)
    except ValueError as error:
        raise InputError(f"recording {measured.name!r}, after the first turning point: {error}") from None


def _end(measured, fit_seconds):
    """Time of the last frame to fit [s]."""
    seen = measured.times <= (np.inf if fit_seconds is None else measured.release + fit_seconds + 1e-9)
    if measured.times[seen][-1] <= measured.turn:
        raise InputError(
            f"fit_seconds = {fit_seconds:g}: the first turning point comes {measured.turn - measured.release:.3f} s after the release"
        )
    return rec.settled(measured.times[seen], rec.mean_drop(measured.displacements[seen]), measured.turn)


def _tracks(experiment, measured, beam, fit_seconds):
    """The frames to fit: from a little after the turning point on."""
    end = _end(measured, fit_seconds)
    used = (measured.times >= measured.turn + EARLY) & (measured.times <= end + 1e-9)
    if used.sum() < MIN_FRAMES:
        given = "" if fit_seconds is None else f" within {fit_seconds:g} s of the release"
        raise InputError(
            f"recording {measured.name!r}: {int(used.sum())} frames to fit after the first turning point{given}; {MIN_FRAMES} are needed"
        )
    positions = experiment.points + measured.displacements[used]
    return Tracks(measured.times[used], beam.nodes, beam.weights, positions, components="z", noise=1e-3)


def _damping_ratio(found, experiment, omega):
    """Damping ratio eta w / (2 mu) at the measured frequency, and its interval from the covariance of log(viscosity / young)."""
    young, viscosity = found.values["young"], found.values["viscosity"]
    ratio = viscosity * omega * (1 + experiment.poisson) / young
    sure = found.intervals
    c = sure.covariance[:2, :2]
    with np.errstate(invalid="ignore"):
        quantile = np.log(sure.upper[1] / sure.estimate[1]) / sure.std[1]
        half = quantile * np.sqrt(max(c[0, 0] + c[1, 1] - 2 * c[0, 1], 0.0)) if np.isfinite(c).all() else np.inf
    half = float(half) if np.isfinite(half) else np.inf
    return ratio, (ratio * np.exp(-half), ratio * np.exp(half))


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
    gravity = np.asarray(experiment.gravity)
    if multiple is None:
        multiple = _release_multiple(
            static, rest, gravity, measured.turn_drop, lambda x: rec.mean_drop((beam.observe(x) - rest_markers)[None])[0]
        )
    state, _ = static.solve(rest, params={"gravity": multiple * gravity})
    times = measured.times
    after = times >= measured.turn + delay
    samples = run(beam, beam.model.state(state.positions, time=measured.turn + delay), times[after], dt)
    displacements = measured.displacements.copy()
    displacements[after] = beam.observe(samples) - rest_markers
    return displacements, samples, beam


def _release_multiple(static, rest, gravity, wanted, drop):
    """The multiple of gravity whose equilibrium has the wanted drop [m]; Newton on a smooth, monotone curve."""
    multiple = wanted / drop(rest.positions)
    for _ in range(30):
        state, _ = static.solve(rest, params={"gravity": multiple * gravity})
        bumped, _ = static.solve(state, params={"gravity": multiple * 1.001 * gravity})
        slope = (drop(bumped.positions) - drop(state.positions)) / (0.001 * multiple)
        change = (wanted - drop(state.positions)) / slope
        multiple = float(np.clip(multiple + change, 0.5 * multiple, 2 * multiple))
        if abs(change) < 1e-6:
            return multiple
    raise SolverError(f"no multiple of gravity gives the drop of {1e3 * wanted:.4g} mm at the turning point")


def run(beam, state, times, dt):
    """Particle positions [frames, n, 3] at the given times, without gradients."""
    solver = SolverImplicit(beam.model, dt)
    samples = plan(times, state.time, dt)
    out = np.zeros((len(times), beam.model.particle_count, 3))
    for k in range(samples.step_count):
        after, _ = solver.step(state)
        for f in np.flatnonzero(samples.step == k):
            out[f] = samples.mix(samples.position[f], *((s.positions, s.velocities) for s in (state, after)))
        state = after
    return out


def main(**arguments):
    """The command `physsim demo beam`; see `physsim.real2sim.beam_demo.demo` for the arguments.

    Returns:
        Exit code.
    """
    from physsim.real2sim.beam_demo import demo

    return demo(**arguments)


__all__ = ["Beam", "Experiment", "FitResult", "Measured", "Trial", "build", "fit", "main", "predict", "run"]
