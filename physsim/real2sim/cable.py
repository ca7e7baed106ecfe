"""A cable held at both ends, filmed by motion capture: fit how it bends and how it is damped, predict how it moves.

Markers sit along the cable; the first two and the last two give the motion of the two clamps, the others are fitted.

Motion alone cannot tell the mass: weight and inertia go with the mass per length, moments with bending and damping, so that only
bending / line_density [m^4/s^2] and damping / line_density [m^4/s] leave a trace. They are what is fitted; a line density that is
known by weighing turns them into N m^2 and N m^2 s.
"""

from dataclasses import dataclass, field

import numpy as np

from physsim.errors import InputError, SolverError
from physsim.physics import validation
from physsim.physics.solvers.implicit import SolverImplicit
from physsim.real2sim.cable_scene import Cable, CableRecording, Scene, StartNearby
from physsim.real2sim.identify import StartAtState, check_frames, checked_horizons, identify
from physsim.real2sim.least_squares import Variable

__all__ = ["Cable", "CableFit", "CablePrediction", "CableRecording", "fit_cable", "predict_cable"]

UNITS = {"bending": "m^4/s^2", "torsion": "m^4/s^2", "bending_damping": "m^4/s", "mass_damping": "1/s"}
UNITS |= {"rest_curvature_1": "1/m", "rest_curvature_2": "1/m"}
PER_MASS = ("bending", "torsion", "bending_damping")


@dataclass
class CableFit:
    """A fitted cable.

    Args:
        cable: Cable.
        values: dict from "bending" [m^4/s^2], "bending_damping" [m^4/s], ... to the fitted values, per line density.
        intervals: the same to 95 % intervals (lower, upper).
        line_density: [kg/m], as given, or None.
        rmse: root mean square distance of the fitted markers [m].
        noise: standard deviation of one number that was assumed [m].
        fit: physsim.real2sim.identify.Fit.
        dt: step [s].
    """

    cable: Cable
    values: dict
    intervals: dict
    line_density: float | None
    rmse: float
    noise: float
    fit: object = field(repr=False)
    dt: float = 1 / 200

    def material(self):
        """dict of bending [N m^2], bending_damping [N m^2 s] as (value, lower, upper), from the line density.

        Raises:
            InputError: no line density was given: motion alone does not tell the mass.
        """
        if self.line_density is None:
            raise InputError("line_density is not known and motion alone does not tell it; weigh the cable and give it to fit_cable")
        known = [name for name in PER_MASS if name in self.values]
        return {name: tuple(self.line_density * v for v in (self.values[name], *self.intervals[name])) for name in known}

    def line_density_for(self, bending):
        """Mass per length [kg/m] with its interval, (value, lower, upper), of a cable whose bending stiffness [N m^2] was measured."""
        bending = float(validation.array("bending", bending, (), lower=0.0, lower_open=True))
        low, high = self.intervals["bending"]
        return bending / self.values["bending"], bending / high, bending / low

    def statement(self):
        """Plain words on what was found and what the motion cannot tell."""
        lines = []
        for name, (low, high) in self.intervals.items():
            ratio = " / line_density" if name in PER_MASS else ""
            lines.append(f"{name}{ratio} = {self.values[name]:.4g} {UNITS[name]}, 95 % {low:.4g} to {high:.4g}")
        lines += [text for name, text in self.fit.intervals.undetermined.items() if name in self.values]
        if self.line_density is None:
            lines.append("line_density is undetermined: motion tells bending and damping per line density only; weigh the cable")
        else:
            lines += [
                f"{name} = {v[0]:.4g}, {v[1]:.4g} to {v[2]:.4g} (with {self.line_density:g} kg/m)" for name, v in self.material().items()
            ]
        lines.append(f"fitted markers: {1e3 * self.rmse:.2f} mm root mean square distance")
        return "\n".join(lines)

    def predict(self, recording):
        """Predict another motion of the same cable from its clamps and its start; see `predict_cable`."""
        return predict_cable(self.cable, recording, self.values, dt=self.dt)


@dataclass(frozen=True)
class CablePrediction:
    """A predicted motion and how far off it is, beside predictors that know no physics.

    Args:
        times: [s], shape [f].
        markers: of the fitted markers [m], shape [f, m - 4, 3].
        errors: mean distance over markers at every frame [m], shape [f].
        error: mean over the frames [m].
        held: the same of the start, held [m].
        carried: the same of the start, carried along by the clamps' displacements, mixed by the place between them [m].
    """

    times: np.ndarray
    markers: np.ndarray
    errors: np.ndarray
    error: float
    held: float
    carried: float


def fit_cable(
    recording,
    *,
    line_density=None,
    arc=None,
    edges=6,
    roll="carried",
    bending=None,
    bending_damping=None,
    also=(),
    start_shapes=3,
    seconds=None,
    horizons=(0.5, None),
    dt=1 / 200,
    progress=None,
):
    """Fit bending and damping per line density of a cable whose ends are driven.

    Args:
        recording: CableRecording.
        line_density: [kg/m], from weighing; None: unknown, and then bending and damping are known per line density only.
        arc: places of the markers along the cable [m], shape [m]; None: from the recording.
        edges, roll: as `Cable`.
        bending: first values per line density [m^4/s^2], one start each, run side by side; None: a limp and a stiff one.
        bending_damping: first value [m^4/s]; None: a hundredth of a second times the bending.
        also: further unknowns: "torsion" (else bending / 1.3, a round section), "mass_damping" (drag of the air),
            "rest_curvature_1", "rest_curvature_2" (a cable that is naturally bent).
        start_shapes: the start, of which noise leaves millimetres and centimetres a second open, is fitted along as so many smooth
            shapes along each axis, in the last horizon; 0: the start is taken as measured.
        seconds: fit this much of the recording; None: all of it.
        horizons: as `identify`.
        dt: step [s].
        progress: as `identify`.

    Returns:
        CableFit.

    Raises:
        InputError: arguments that do not fit.
        SolverError: no start could be simulated.
    """
    validation.instance("recording", recording, CableRecording)
    horizons = checked_horizons(horizons)
    if seconds is not None:
        seconds = float(validation.array("seconds", seconds, (), lower=0.0, lower_open=True))
    if line_density is not None:
        line_density = float(validation.array("line_density", line_density, (), lower=0.0, lower_open=True))
    cable = Cable(recording.arc() if arc is None else arc, edges, roll)
    length = cable.arc[-1] - cable.arc[0]
    scale = max(np.linalg.norm(recording.gravity), 1.0) * length**3
    first = np.array([scale / 300, scale / 20]) if bending is None else _starts("bending", bending)
    damped = 0.01 * first if bending_damping is None else _starts("bending_damping", bending_damping)
    if len(damped) not in (1, len(first)):
        raise InputError(f"bending_damping: {len(damped)} starts beside {len(first)} of bending; give one, or as many")
    damped = np.broadcast_to(damped, first.shape)
    unknown = {
        "bending": Variable("bending", first, 1e-6 * scale, 10 * scale, "log", UNITS["bending"]),
        "bending_damping": Variable("bending_damping", damped, 1e-9 * scale, 10 * scale, "log", UNITS["bending_damping"]),
    }
    extra = {
        "torsion": Variable("torsion", first / 1.3, 1e-6 * scale, 10 * scale, "log", UNITS["torsion"]),
        "mass_damping": Variable("mass_damping", 0.1, 1e-4, 100.0, "log", "1/s"),
        "rest_curvature_1": Variable("rest_curvature_1", 0.0, -50 / length, 50 / length, "linear", "1/m"),
        "rest_curvature_2": Variable("rest_curvature_2", 0.0, -50 / length, 50 / length, "linear", "1/m"),
    }
    for name in (also,) if isinstance(also, str) else also:
        if name not in extra:
            raise InputError(f"also: {name!r} was given; allowed are {', '.join(extra)}")
        unknown[name] = extra[name]
    options = {"recording": recording, "cable": cable, "seconds": seconds, "dt": dt, "progress": progress}
    start_shapes = int(validation.array("start_shapes", start_shapes, (), kind="i", lower=0))
    _check_length(recording, cable, unknown, horizons, seconds, dt, start_shapes)
    if len(horizons) > 1:  # the starts compete over the short motions; the best goes on
        fit, _ = _identify(unknown, horizons[:-1], final=False, **options)
        unknown = {name: v.started_at([fit.values[name]]) for name, v in unknown.items()}
        horizons = horizons[-1:]
    fit, scene = _identify(unknown, horizons, start_shapes=start_shapes, **options)
    distance = np.linalg.norm(fit.observed - scene.tracks(seconds).positions, axis=2)
    rmse = float(np.sqrt(np.nanmean(distance**2)))
    intervals = {name: fit.intervals.interval(name) for name in unknown}
    values = {name: fit.values[name] for name in unknown}
    return CableFit(cable, values, intervals, line_density, rmse, recording.noise, fit, dt)


def _starts(name, value):
    """First values, shape [starts], above 0."""
    value = np.atleast_1d(validation.given_array(name, value))
    return validation.array(name, value, (None,), lower=0.0, lower_open=True)


def _check_length(recording, cable, unknown, horizons, seconds, dt, start_shapes):
    """Raise an InputError where the recording is too short for the unknowns of the fit, before anything is fitted."""
    scene = Scene(cable, recording, {name: float(np.mean(v.start)) for name, v in unknown.items()}, dt)
    tracks, count = scene.tracks(seconds), len(unknown)
    if len(horizons) > 1:
        check_frames(tracks, horizons[-2], count, "take a longer horizon, or a recording with more frames a second")
    if start_shapes:
        count += len(StartNearby(scene, start_shapes).variables)
    check_frames(tracks, horizons[-1], count, f"take a longer recording, or fewer start_shapes than {start_shapes}")


def _identify(unknown, horizons, *, recording, cable, seconds, dt, progress, start_shapes=0, final=True):
    """(Fit, Scene) of one environment a start."""
    count = max(np.size(v.start) for v in unknown.values())
    values = {name: float(np.mean(v.start)) for name, v in unknown.items()}
    scene = Scene(cable, recording, values, dt, envs=count)
    fit = identify(
        SolverImplicit(scene.model, dt, strict=False),
        scene.tracks(seconds),
        {scene.body.parameters[name]: v for name, v in unknown.items()},
        start=StartNearby(scene, start_shapes) if start_shapes else StartAtState(scene.state),
        control=scene.control,
        horizons=horizons,
        progress=progress,
        final=final,
    )
    return fit, scene


def _checked_values(values):
    if not isinstance(values, dict):
        raise InputError(f"values: a dict from name to value is needed, {type(values).__name__} was given")
    missing = [name for name in ("bending", "bending_damping") if name not in values]
    unknown = [name for name in values if name not in UNITS]
    if missing or unknown:
        text = f"values: {', '.join(missing)} missing" if missing else f"values: {unknown[0]!r} is not known"
        allowed = ", ".join(name for name in UNITS if not name.startswith("bending"))
        raise InputError(f"{text}; needed are bending and bending_damping, allowed beside them {allowed}")
    out = {}
    for name, value in values.items():
        bounds = {} if name.startswith("rest_curvature") else {"lower": 0.0, "lower_open": name in ("bending", "torsion")}
        out[name] = float(validation.array(f"values[{name!r}]", value, (), **bounds))
    return out


def predict_cable(cable, recording, values, dt=1 / 200):
    """Simulate a recording from its clamps and its start, and compare.

    Args:
        cable: Cable.
        recording: CableRecording; of its fitted markers only the first frames are used.
        values: dict from "bending" [m^4/s^2], "bending_damping" [m^4/s], ... to values per line density.
        dt: step [s].

    Returns:
        CablePrediction.

    Raises:
        InputError: values that are missing or unknown, a dt that does not fit.
        SolverError: a step failed.
    """
    values = _checked_values(values)
    scene = Scene(cable, recording, values, dt)
    found = scene.run(SolverImplicit(scene.model, dt))
    if not np.isfinite(found).all():
        raise SolverError("predict_cable: the simulation is not finite; take a smaller dt")
    times, seen = recording.times[scene.frame + 1 :], recording.markers[scene.frame + 1 :, 2:-2]
    away = lambda guess: np.linalg.norm(guess - seen, axis=2)  # noqa: E731
    begin = recording.started()[1][2:-2]
    clamps = scene.clamped_at(times) - scene.clamped_at(scene.start)
    inner = cable.arc[1:-1]
    share = ((inner - inner[0]) / (inner[-1] - inner[0]))[1:-1, None]
    carried = begin + (1 - share) * clamps[:, None, 0] + share * clamps[:, None, 1]
    errors = np.nanmean(away(found), axis=1)
    return CablePrediction(
        times, found, errors, float(np.nanmean(away(found))), float(np.nanmean(away(begin))), float(np.nanmean(away(carried)))
    )
