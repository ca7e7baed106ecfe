"""A filmed cable as a model: where the markers say it is, how its clamps move, how it starts."""

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import CubicSpline, make_smoothing_spline
from scipy.spatial.transform import Rotation

from physsim.errors import InputError
from physsim.physics import validation
from physsim.physics.builder import ModelBuilder
from physsim.physics.diff.sampling import plan
from physsim.physics.materials import Rod
from physsim.physics.model import Control
from physsim.physics.rods import Curve, transport
from physsim.real2sim.cable_start import initial_line, initial_velocity
from physsim.real2sim.least_squares import Variable
from physsim.real2sim.tracks import Tracks

OWN_STRETCH = 1e-3  # strain under its own weight; stiffer changes nothing that markers show
SMOOTHED = 0.07  # the simulation starts in the middle of this time, where the start is better known than at its ends [s]
BEGINNING = 0.5  # frames that the start is taken from [s]


@dataclass(frozen=True)
class CableRecording:
    """Markers along a cable over time, checked, and what they say about its clamps.

    Args:
        times: [s], evenly spaced, shape [k], at least 15.
        markers: in order along the cable [m], shape [k, m, 3], at least 6; NaN where one was not seen, not among the first or last two.
        gravity: [m/s^2], shape [3].
        noise: standard deviation of one number [m].
        spin: angle by which each clamp has turned about the cable's axis (from the first towards the last marker) [rad], shape [k, 2],
            where the grippers' poses tell it; markers do not. None: no spin.

    Raises:
        InputError: shapes that do not fit, times that are not even, a gap where there may be none, two neighbours at one place.
    """

    times: np.ndarray
    markers: np.ndarray
    gravity: np.ndarray = (0.0, 0.0, -9.81)
    noise: float = 1e-3
    spin: np.ndarray | None = None

    def __post_init__(self):
        times = validation.array("times", self.times, (None,))
        markers = validation.given_array("markers", self.markers)
        try:
            markers = markers.astype(np.float64)  # NaN are gaps
        except (TypeError, ValueError):
            raise InputError("markers: numbers are needed [m], NaN where a marker was not seen") from None
        if markers.ndim != 3 or markers.shape[0] != len(times) or markers.shape[1] < 6 or markers.shape[2] != 3:
            raise InputError(f"markers: shape {list(markers.shape)} was given; [{len(times)}, 6 or more, 3] is needed")
        steps = np.diff(times)
        if len(times) < 15 or (steps <= 0).any() or np.ptp(steps) > 0.05 * np.median(steps):
            raise InputError("times: at least 15, evenly spaced and increasing, are needed; resample the recording")
        held = [0, 1, -2, -1]
        bad = ~np.isfinite(markers[:, held])
        if bad.any() or np.isinf(markers).any():
            frame = int(np.argwhere(bad)[0][0]) if bad.any() else int(np.argwhere(np.isinf(markers))[0][0])
            raise InputError(
                f"markers: infinite, or one of the first or last two not seen, at frame {frame}; fill the gap or cut the recording"
            )
        apart = np.linalg.norm(np.diff(markers, axis=1), axis=2)
        same = np.argwhere(apart <= 1e-9 * np.nanmax(np.abs(markers)))
        if len(same):
            frame, k = same[0]
            text = f"markers: {k} and {k + 1} lie at one place in frame {frame} ({len(same)} such pairs)"
            raise InputError(f"{text}; leave one of them out, or set it to NaN where it was not seen")
        never = np.flatnonzero(~np.isfinite(markers[: self._window(times)]).all(axis=2).any(axis=0))
        if len(never):
            raise InputError(f"markers: {never.tolist()} are not seen at the start; begin the recording where they are, or leave them out")
        for name, value in (("times", times), ("markers", markers), ("gravity", validation.array("gravity", self.gravity, (3,)))):
            object.__setattr__(self, name, value)
        validation.array("noise", self.noise, (), lower=0.0, lower_open=True)
        spin = np.zeros((len(times), 2)) if self.spin is None else validation.array("spin", self.spin, (len(times), 2))
        object.__setattr__(self, "spin", spin)

    @staticmethod
    def _window(times):
        return max(7, 2 * round(SMOOTHED / np.median(np.diff(times)) / 2) + 1)

    def arc(self):
        """Places of the markers along the cable [m], shape [m]: median over frames of the arc length of a smooth curve through them."""
        whole = self.markers[np.isfinite(self.markers).all(axis=(1, 2))]
        if not len(whole):
            raise InputError("markers: no frame shows all of them; give `arc`, their places along the cable")
        pieces = np.stack([_arc_pieces(frame) for frame in whole[:: max(1, len(whole) // 50)]])
        return np.concatenate([[0.0], np.cumsum(np.median(pieces, axis=0))])

    def started(self):
        """(frame, positions [m, 3], velocities [m, 3]) of the start, from smooth curves through the first half second."""
        begin = self._window(self.times) // 2
        first = self.times <= self.times[0] + BEGINNING
        place, speed = np.empty(self.markers.shape[1:]), np.empty(self.markers.shape[1:])
        for j in range(self.markers.shape[1]):
            seen = first & np.isfinite(self.markers[:, j]).all(axis=1)
            curve = _smoothed(self.times[seen], self.markers[seen, j])
            place[j], speed[j] = curve(self.times[begin]), curve(self.times[begin], 1)
        return begin, place, speed

    def clamps(self):
        """Smooth motion of the first two and last two markers: a function of time with values [..., 4, 3]."""
        curve = _smoothed(self.times, self.markers[:, [0, 1, -2, -1]].reshape(len(self.times), 12))
        return lambda time: curve(time).reshape(*np.shape(time), 4, 3)


def _smoothed(times, values):
    """Cubic smoothing spline of values [k, c], each component as stiff as cross-validation finds its noise to ask for."""
    if len(times) < 5:
        return lambda time, order=0: values.mean(axis=0) * (order == 0)
    scale = np.median(np.diff(times))
    curves = [make_smoothing_spline(times / scale, column) for column in values.T]
    return lambda time, order=0: np.stack([c(np.asarray(time) / scale, order) for c in curves], axis=-1) / scale**order


def _arc_pieces(points):
    """Lengths between markers: straight within the clamps, between them along a spline that leaves the clamps as they point."""
    chords = np.diff(points, axis=0)
    sizes = np.linalg.norm(chords, axis=1)
    at = np.concatenate([[0.0], np.cumsum(sizes[1:-1])])
    slopes = [(1, chords[k] / sizes[k]) for k in (0, -1)]
    fine = CubicSpline(at, points[1:-1], bc_type=slopes)(at[:-1, None] + np.linspace(0, 1, 33) * np.diff(at)[:, None])
    return np.concatenate([sizes[:1], np.linalg.norm(np.diff(fine, axis=1), axis=2).sum(axis=1), sizes[-1:]])


@dataclass(frozen=True)
class Cable:
    """A cable's geometry: where its markers are and into how many edges it is cut.

    Args:
        arc: places of the markers along the cable [m], shape [m].
        edges: between two markers; a curve's polygon is shorter than the curve, by a share of (edge * curvature)^2 / 24.
        roll: "carried": the clamps do not spin about the cable's axis; "free": it may turn in them.
    """

    arc: np.ndarray
    edges: int = 6
    roll: str = "carried"

    def __post_init__(self):
        arc = validation.array("arc", self.arc, (None,))
        if len(arc) < 6 or (np.diff(arc) <= 0).any():
            raise InputError("arc: places of at least 6 markers, increasing along the cable, are needed")
        if self.roll not in ("carried", "free"):
            raise InputError(f"roll = {self.roll!r}: carried or free is needed")
        object.__setattr__(self, "arc", arc)
        object.__setattr__(self, "edges", int(validation.array("edges", self.edges, (), kind="i", lower=1)))

    def curve(self):
        """The straight cable between its clamps, which begin at the second marker from each end."""
        inner = self.arc[1:-1] - self.arc[1]
        share = np.arange(self.edges * (len(inner) - 1) + 1) / self.edges
        along = np.interp(share, np.arange(len(inner)), inner)
        return Curve(np.stack([along, 0 * along, 0 * along], axis=1)).with_grips(0, -1)

    def nodes(self):
        """Points of the curve that the fitted markers are."""
        return 1 + self.edges * np.arange(1, len(self.arc) - 3)


class Scene:
    """A recording's cable as a model: clamps driven, started in the pose and motion of the first frames.

    Args:
        cable: Cable.
        recording: CableRecording with as many markers.
        values: dict from "bending", "bending_damping", ... per line density to values.
        dt: step [s].
        envs: starts that are run side by side.

    Raises:
        InputError: other objects, another number of markers, a step that is not above 0 or over a tenth of the recording.
    """

    def __init__(self, cable, recording, values, dt, envs=None):
        validation.instance("cable", cable, Cable)
        validation.instance("recording", recording, CableRecording)
        span = recording.times[-1] - recording.times[0]
        dt = float(validation.array("dt", dt, (), lower=0.0, lower_open=True))
        if dt > span / 10:
            raise InputError(f"dt = {dt:g} s: the recording lasts {span:g} s; take a step of at most a tenth of it, 1/200 s is usual")
        if recording.markers.shape[1] != len(cable.arc):
            raise InputError(f"markers: {recording.markers.shape[1]} were given; this cable has {len(cable.arc)}")
        self.cable, self.recording = cable, recording
        curve = cable.curve()
        length = curve.arc[-2]
        stretch = max(np.linalg.norm(recording.gravity), 1.0) * length / OWN_STRETCH
        bent = {k: values.get(k, 0.0) for k in ("rest_curvature_1", "rest_curvature_2")}
        material = Rod(
            stretch=stretch,
            bending=values["bending"],
            torsion=values.get("torsion"),
            line_density=1.0,
            stretch_damping=stretch * dt,
            bending_damping=values["bending_damping"],
            mass_damping=values.get("mass_damping", 0.0),
            rest_curvature=(*bent.values(), 0.0) if any(k in values for k in bent) else None,
        )
        builder = ModelBuilder(recording.gravity)
        self.body = builder.add_rod(curve, material, name="cable")
        self.curve = self.body.mesh
        kept = 3 if cable.roll == "carried" else 2
        for name, end in (("first", 0), ("last", -1)):
            builder.attach(self.body, self.curve.end(end)[:kept], name=name)
        self.model = builder.finalize(envs=envs)
        self.frame, place, speed = recording.started()
        self.start = recording.times[self.frame]
        self._motion = recording.clamps()
        self.state = self._state(place, speed)
        self.control = self._control(dt)

    def _clamped(self, time):
        """The two points of each clamped edge, inner one first as in `Curve.end`, at times [...]: shapes [..., 2, 3]."""
        held = self._motion(time)
        out = []
        for outer, inner, step in ((0, 1, self.curve.lengths[0]), (3, 2, self.curve.lengths[-1])):
            away = held[..., outer, :] - held[..., inner, :]
            away = away / np.linalg.norm(away, axis=-1, keepdims=True)
            out.append(np.stack([held[..., inner, :], held[..., inner, :] + step * away], axis=-2))
        return out

    def _state(self, place, speed):
        small = 1e-4
        now, before, after = (np.concatenate([a[::-1], b]) for a, b in (self._clamped(self.start + s) for s in (0.0, -small, small)))
        nodes = self.cable.nodes()
        line = initial_line(self.curve, nodes, place[2:-2], now, self.recording.noise)
        velocity = initial_velocity(self.curve, line, nodes, speed[2:-2], (after - before) / (2 * small))
        self._line, points = line, self.curve.posed(line)
        self._normals = points[self.curve.point_count :] - (line[1:] + line[:-1]) / 2
        ends = (self.curve.posed(line + s * small * velocity) for s in (1, -1))
        moved = (next(ends) - next(ends)) / (2 * small)
        return self.model.state(points, moved, time=self.start)

    def _control(self, dt):
        times = self.start + dt * np.arange(int(np.ceil((self.recording.times[-1] - self.start) / dt - 1e-9)) + 1)
        times[-1] = min(times[-1], self.recording.times[-1])
        targets = {}
        for name, points, normal, sign in zip(("first", "last"), self._clamped(times), self._normals[[0, -1]], (1, -1), strict=True):
            if self.cable.roll == "carried":
                along = sign * (points[:, 0] - points[:, 1])
                along /= np.linalg.norm(along, axis=1)[:, None]
                turned = CubicSpline(self.recording.times, self.recording.spin[:, 0 if name == "first" else 1])
                angle = turned(times) - turned(self.start)
                across = Rotation.from_rotvec(angle[:, None] * along).apply(transport(along, normal / np.linalg.norm(normal)))
                points = np.concatenate([points, points.mean(axis=1)[:, None] + self.curve.arm * across[:, None]], axis=1)
            targets[name] = points
        return Control(times, targets)

    def tracks(self, seconds=None):
        """Tracks of the fitted markers after the start."""
        r = self.recording
        used = np.arange(len(r.times)) > self.frame
        if seconds is not None:
            used &= r.times <= self.start + seconds + 1e-9
            if not used.any():
                raise InputError(f"seconds = {seconds:g}: no frame lies within them after the start; take more")
        nodes = self.cable.nodes()[:, None]
        return Tracks(r.times[used], nodes, np.ones(nodes.shape), r.markers[used, 2:-2], noise=r.noise)

    def ways(self, count):
        """Smooth ways to move the start that do not stretch it, [q, particles, 3]; their root mean square over fitted markers is 1.

        Of `count` shapes sin(k pi s) sin(pi s) along each axis, those that are left without stretch.
        """
        line, nodes = self._line, self.cable.nodes()
        s = self.curve.arc[nodes] / self.curve.arc[-2]
        shapes = np.array([np.sin(k * np.pi * s) * np.sin(np.pi * s) for k in range(1, count + 1)])
        still = np.zeros((4, 3))
        found = np.array([initial_velocity(self.curve, line, nodes, f[:, None] * axis, still) for f in shapes for axis in np.eye(3)])
        left, sizes, _ = np.linalg.svd(found[:, nodes].reshape(len(found), -1), full_matrices=False)
        keep = sizes > 0.2 * sizes[0]
        moved = np.sqrt(len(nodes)) * np.einsum("fq,fnc->qnc", left[:, keep] / sizes[keep], found)
        small = 1e-6
        return np.array([(self.curve.posed(line + small * w) - self.curve.posed(line - small * w)) / (2 * small) for w in moved])

    def clamped_at(self, times):
        """Second marker of each clamp, smoothed [m], shape [f, 2, 3]."""
        return self._motion(times)[..., [1, 2], :]

    def run(self, solver):
        """Fitted markers [m] at every frame after the start, shape [f, markers, 3]."""
        times = self.recording.times[self.frame + 1 :]
        samples = plan(times, self.start, solver.dt)
        out, state = np.empty((len(times), len(self.cable.nodes()), 3)), self.state
        nodes = self.cable.nodes()
        for k in range(samples.step_count):
            after, _ = solver.step(state, self.control)
            ends = (state.positions[nodes], state.velocities[nodes]), (after.positions[nodes], after.velocities[nodes])
            for f in np.flatnonzero(samples.step == k):
                out[f] = samples.mix(samples.position[f], *ends)
            state = after
        return out


class StartNearby:
    """The measured start, corrected along `Scene.ways`: what noise leaves open of it is fitted along, for `identify`.

    Args:
        scene: Scene.
        count: shapes along each axis.
    """

    def __init__(self, scene, count):
        self.scene, self.ways = scene, scene.ways(count)
        places = [Variable(f"start {i}", 0.0, -0.05, 0.05, "linear", "m") for i in range(len(self.ways))]
        self.variables = (*places, *(Variable(f"start speed {i}", 0.0, -1.0, 1.0, "linear", "m/s") for i in range(len(self.ways))))

    def prepare(self, model, tracks, parameters, slopes, values, value_slopes):
        """As `StartAtState.prepare`."""
        q, state = len(self.ways), self.scene.state
        x = state.x.numpy() + np.einsum("eq,qnc->enc", values[:, :q], self.ways)
        v = state.v.numpy() + np.einsum("eq,qnc->enc", values[:, q:], self.ways)
        dx, dv = (np.einsum("deq,qnc->denc", part, self.ways) for part in (value_slopes[..., :q], value_slopes[..., q:]))
        return model.state(x, v, state.time), (dx, dv), np.zeros(model.envs), np.zeros(value_slopes.shape[:2])
