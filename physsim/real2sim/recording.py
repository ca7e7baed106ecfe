"""Motion-capture recordings: reading, release, rest, swing, and the errors by which a prediction is judged.

A recording is a table of marker positions over time. The motion is a release: an object is held still, let go, and rings down
to rest. Positions are in metres, times in seconds, z points up; the *drop* is minus the z displacement.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.optimize import least_squares as _scipy_least_squares

from physsim.errors import InputError

UP = 2
MAX_BYTES = 200_000_000
REST_SECONDS = 0.6
SWING_START, SWING_SECONDS = 0.30, 1.5


@dataclass(frozen=True)
class Recording:
    """Marker positions over time.

    Attributes:
        name: what it is called in reports
        times: [s], increasing, shape [f]
        positions: [m], shape [f, markers, 3]
        markers: names, one a marker
    """

    name: str
    times: np.ndarray
    positions: np.ndarray
    markers: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "times", np.asarray(self.times, dtype=float))
        object.__setattr__(self, "positions", np.asarray(self.positions, dtype=float))
        object.__setattr__(self, "markers", tuple(self.markers))
        _check(self)

    def select(self, prefix: str) -> Recording:
        """Only the markers whose names begin with ``prefix``."""
        keep = [i for i, m in enumerate(self.markers) if m.startswith(prefix)]
        if not keep:
            raise InputError(f"{self.name}: no marker begins with {prefix!r}; there are {', '.join(self.markers)}")
        return Recording(self.name, self.times, self.positions[:, keep], tuple(self.markers[i] for i in keep))

    def held_pose(self, release: float | None = None, reference_seconds: float = 0.3) -> np.ndarray:
        """Mean pose before the release [m], shape [markers, 3]; the last 0.02 s are left out: the hand opens."""
        release = detect_release(self.times, self.positions) if release is None else release
        frames = (self.times >= release - reference_seconds - 1e-9) & (self.times < release - 0.02 + 1e-9)
        if not frames.any():
            raise InputError(
                f"{self.name}: no frame between {release - reference_seconds:.3f} and {release - 0.02:.3f} s: "
                "give a later release or a longer reference_seconds"
            )
        return self.positions[frames].mean(axis=0)

    def displacements(self, release: float | None = None, reference_seconds: float = 0.3) -> np.ndarray:
        """Displacement from the held pose [m], shape [f, markers, 3]."""
        return self.positions - self.held_pose(release, reference_seconds)

    def rest_pose(self, last_seconds: float = REST_SECONDS) -> np.ndarray:
        """Mean pose of the last seconds [m], shape [markers, 3]."""
        return self.positions[_tail(self.times, last_seconds)].mean(axis=0)


def _check(r: Recording, min_frames: int = 2) -> None:
    f = len(r.times)
    if r.times.ndim != 1 or r.positions.shape != (f, len(r.markers), 3) or not r.markers:
        raise InputError(
            f"{r.name}: times {r.times.shape}, positions {r.positions.shape}, {len(r.markers)} markers: must be [f], [f, markers, 3]"
        )
    if f < min_frames:
        raise InputError(f"{r.name}: {f} frames: at least {min_frames} are needed")
    if not np.isfinite(r.times).all():
        raise InputError(f"{r.name}: a time is NaN or infinite at frame {int(np.flatnonzero(~np.isfinite(r.times))[0])}")
    late = np.flatnonzero(np.diff(r.times) <= 0.0)
    if late.size:
        i = int(late[0])
        raise InputError(f"{r.name}: times must increase; frame {i + 1} is at {r.times[i + 1]} s after {r.times[i]} s")
    bad = ~np.isfinite(r.positions)
    if bad.any():
        frame, marker, axis = (int(v) for v in np.argwhere(bad)[0])
        raise InputError(
            f"{r.name}: {int(bad.any(axis=(1, 2)).sum())} frames have gaps (NaN or infinite); first: marker "
            f"{r.markers[marker]}, {'xyz'[axis]}, frame {frame}; fill the gaps or cut the recording there"
        )
    largest = float(np.abs(r.positions).max())
    if largest > 20.0:
        raise InputError(f"{r.name}: a position of {largest:.4g} m: metres are expected; are these millimetres?")
    extent = float(np.ptp(r.positions.reshape(-1, 3), axis=0).max())
    if 0.0 < extent < 1e-4:
        raise InputError(f"{r.name}: everything within {extent:.2g} m: metres are expected; are these kilometres?")
    step = float(np.median(np.diff(r.times)))
    if not 1e-5 <= step <= 1.0:
        raise InputError(f"{r.name}: frames {step:.4g} s apart: seconds are expected, between 1e-5 and 1 s a frame")


def read_recording(
    path: str | Path,
    markers: list[str] | None = None,
    min_frames: int = 50,
    name: str | None = None,
    renamed: dict[str, str] | None = None,
) -> Recording:
    """Read a table of comma-separated columns ``t_s`` and ``<marker>_x_m``, ``<marker>_y_m``, ``<marker>_z_m``, in any order.

    Args:
        path: the file
        markers: which to read; None: all that the header names
        min_frames: fewer is an error
        name: of the recording; None: the file's name
        renamed: for files with other names of columns: the file's name -> the name above

    Raises:
        InputError: missing columns, gaps, times that do not increase, units other than metres and seconds, too few frames
    """
    path = Path(path)
    name = name or path.stem
    if path.stat().st_size > MAX_BYTES:
        raise InputError(f"{path}: {path.stat().st_size} bytes: at most {MAX_BYTES} are read")
    with path.open(encoding="utf-8-sig") as file:
        try:
            header = [(renamed or {}).get(c.strip(), c.strip()) for c in file.readline().split(",")]
            table = np.genfromtxt(file, delimiter=",", dtype=float, ndmin=2)
        except UnicodeDecodeError:
            raise InputError(f"{path}: not text in UTF-8; save it as comma-separated text") from None
        except ValueError as error:
            raise InputError(f"{path}: rows differ in their number of columns: {error}") from None
    if table.size and table.shape[1] != len(header):
        raise InputError(f"{path}: {len(header)} names in the header, {table.shape[1]} columns below it")
    if len(table) < min_frames:
        raise InputError(f"{path}: {len(table)} frames: at least {min_frames} are needed")
    return recording_from_columns(name, {c: table[:, i] for i, c in enumerate(header)}, markers, min_frames)


def recording_from_columns(name: str, columns: dict[str, np.ndarray], markers: list[str] | None = None, min_frames: int = 50) -> Recording:
    """A recording from named columns, each of shape [f]: ``t_s`` [s] and ``<marker>_<axis>_m`` [m]."""
    if markers is None:
        found = (re.fullmatch(r"(.+)_[xyz]_m", c) for c in columns)
        markers = list(dict.fromkeys(m.group(1) for m in found if m))
    wanted = ["t_s"] + [f"{m}_{axis}_m" for m in markers for axis in "xyz"]
    missing = [c for c in wanted if c not in columns]
    if missing or not markers:
        raise InputError(
            f"{name}: missing columns {', '.join(missing) or '<marker>_x_m'}; a recording has t_s in seconds and "
            f"<marker>_x_m, _y_m, _z_m in metres; this one has {', '.join(list(columns)[:8])}"
        )
    positions = np.stack([np.stack([columns[f"{m}_{axis}_m"] for axis in "xyz"], axis=-1) for m in markers], axis=1)
    recording = Recording(name, columns["t_s"], positions, tuple(markers))
    _check(recording, min_frames)
    return recording


def _tail(times: np.ndarray, seconds: float) -> np.ndarray:
    # Half a frame of slack: 60 frames at 100 Hz are the last 0.6 s whatever the rounding of the times.
    step = float(np.median(np.diff(times)))
    return times > times[-1] - seconds + 0.5 * step


def detect_release(times: np.ndarray, positions: np.ndarray, hold_seconds: float = 0.3, sustained_seconds: float = 0.1) -> float:
    """Time [s] of the first frame that has left the held pose for good.

    The markers' mean displacement from the pose of the last ``hold_seconds`` must exceed 1 % of the travel to rest (and six times the
    scatter of the held pose) for ``sustained_seconds``; small corrections of the hand before do not count.

    Args:
        times: [s], shape [f]
        positions: [m], shape [f, markers, 3]

    Raises:
        InputError: nothing is held at the beginning, or nothing moves; give the release time
    """
    path = np.asarray(positions, dtype=float).mean(axis=1)
    step = float(np.median(np.diff(times)))
    hold, sustained = max(3, round(hold_seconds / step)), max(2, round(sustained_seconds / step))
    travel = float(np.linalg.norm(path - path[: max(3, hold // 6)].mean(axis=0), axis=1).max())
    for i in range(3, len(times) - sustained):
        held = path[max(0, i - hold) : i]
        centre = np.median(held, axis=0)
        scatter = float(np.median(np.linalg.norm(held - centre, axis=1)))
        away = np.linalg.norm(path[i : i + sustained] - centre, axis=1)
        if travel > 0.0 and away.min() > max(6.0 * scatter, 0.01 * travel) and away.max() > 0.1 * travel:
            if (times[i] - times[0]) < 0.05:
                break
            return float(times[i])
    raise InputError("found no release: the recording must begin with a held pose and then move; give the release time")


def first_turning_point(times: np.ndarray, drop: np.ndarray, release: float) -> tuple[float, float]:
    """Time [s] and value [m] of the first reversal of the drop after the release, by a parabola through the frames around it.

    Args:
        times: [s], shape [f]
        drop: downward displacement [m], shape [f]; a rise works as well
        release: [s]
    """
    times, drop = np.asarray(times, dtype=float), np.asarray(drop, dtype=float)
    step = float(np.median(np.diff(times)))
    begin = int(np.searchsorted(times, release - 1e-9))
    sign = 1.0 if drop[_tail(times, REST_SECONDS)].mean() >= drop[max(0, begin - 1)] else -1.0
    curve = sign * (drop - drop[max(0, begin - 1)])
    reach = max(2, round(0.03 / step))
    for i in range(begin + 1, len(times) - reach):
        around = slice(max(0, i - reach), i + reach + 1)
        # Ripples of the release itself lie below a quarter of the largest excursion.
        if curve[i] == curve[around].max() and curve[i] > 0.25 * curve[begin:].max():
            shift = times[around] - times[i]
            c2, c1, c0 = np.polyfit(shift, curve[around], 2)
            if c2 >= 0.0:
                continue
            at = float(np.clip(-c1 / (2.0 * c2), shift[0], shift[-1]))
            return float(times[i] + at), float(sign * (c0 + c1 * at + c2 * at**2) + drop[max(0, begin - 1)])
    raise InputError(f"the drop does not turn after the release at {release:.3f} s; the recording is too short or overdamped")


def settled(times: np.ndarray, drop: np.ndarray, turn: float, share: float = 0.05) -> float:
    """Time [s] after which the drop stays within ``share`` of the first swing from its rest, plus the seconds that give the rest.

    Frames after it repeat one number: they would count a rest pose hundreds of times against a swing that is seen once.

    Args:
        times: [s], shape [f]
        drop: downward displacement [m], shape [f]
        turn: first turning point [s]
        share: of the distance between the turning point and rest
    """
    times, drop = np.asarray(times, dtype=float), np.asarray(drop, dtype=float)
    away = np.abs(drop - drop[_tail(times, REST_SECONDS)].mean())
    first = np.interp(turn, times, away)
    moving = times[(times >= turn) & (away > share * first)]
    return float(min(times[-1], (moving[-1] if len(moving) else turn) + REST_SECONDS))


@dataclass(frozen=True)
class DampedCosine:
    """offset + amplitude exp(-d s) cos(2 pi f s + phase), s = t - start, d = 2 pi f zeta / sqrt(1 - zeta^2).

    Attributes:
        offset, amplitude, rmse: in the values' unit
        frequency_hz: of the damped swing; 0 for a curve that stands still
        damping_ratio: zeta
        phase: [rad]
    """

    offset: float
    amplitude: float
    frequency_hz: float
    damping_ratio: float
    phase: float
    rmse: float


def _cosine_fit(s: np.ndarray, values: np.ndarray, frequency: float, decay: float) -> tuple[np.ndarray, np.ndarray]:
    """Best offset, cosine and sine amplitudes [3] at a given frequency [Hz] and decay [1/s], and the residuals [f]."""
    envelope, angle = np.exp(-decay * s), 2.0 * np.pi * frequency * s
    basis = np.stack([np.ones_like(s), envelope * np.cos(angle), envelope * np.sin(angle)], axis=1)
    linear = np.linalg.lstsq(basis, values, rcond=None)[0]
    return linear, basis @ linear - values


def damped_cosine(times: np.ndarray, values: np.ndarray, start: float, duration: float = SWING_SECONDS) -> DampedCosine:
    """Fit a damped cosine to the values from ``start`` [s] over ``duration`` [s].

    Offset and amplitudes are solved for exactly at each frequency and decay (variable projection); these two are first scanned,
    from three quarters of a period in the window up to 0.4 of the frame rate, and then refined.
    """
    window = (times >= start - 1e-9) & (times <= start + duration + 1e-9)
    s, y = np.asarray(times)[window] - start, np.asarray(values, dtype=float)[window]
    if len(s) < 8:
        raise InputError(f"{len(s)} frames between {start:.3f} and {start + duration:.3f} s: a damped cosine needs 8")
    offset, spread = float(y.mean()), float(np.ptp(y))
    if spread <= 1e-12 * max(1.0, abs(offset)):
        return DampedCosine(offset, 0.0, 0.0, 0.0, 0.0, 0.0)
    span = s[-1] - s[0]
    frequencies = np.arange(0.75 / span, 0.4 * (len(s) - 1) / span, 0.2 / span)
    grid = [(f, d) for f in frequencies for d in (0.3 / span, 2.0 / span, 6.0 / span)]
    first = min(grid, key=lambda fd: float(np.sum(_cosine_fit(s, y, *fd)[1] ** 2)))
    fit = _scipy_least_squares(
        lambda q: _cosine_fit(s, y, q[0], q[1])[1] / spread, first, x_scale=(1.0 / span, 1.0 / span), xtol=1e-12, ftol=1e-12
    )
    frequency, decay = abs(float(fit.x[0])), float(fit.x[1])
    (offset, cosine, sine), residuals = _cosine_fit(s, y, frequency, decay)
    omega = 2.0 * np.pi * frequency
    return DampedCosine(
        offset=float(offset),
        amplitude=float(np.hypot(cosine, sine)),
        frequency_hz=frequency,
        damping_ratio=decay / float(np.hypot(omega, decay)),
        phase=float(np.arctan2(-sine, cosine)),
        rmse=float(np.sqrt(np.mean(residuals**2))),
    )


def rest_displacements(displacements: np.ndarray, times: np.ndarray, last_seconds: float = REST_SECONDS) -> np.ndarray:
    """Mean of the last seconds [m], shape [markers, 3], of displacements [f, markers, 3]."""
    return displacements[_tail(times, last_seconds)].mean(axis=0)


def mean_drop(displacements: np.ndarray) -> np.ndarray:
    """Mean drop of the markers [m], shape [f], from displacements [f, markers, 3]."""
    return -displacements[..., UP].mean(axis=1)


def rest_and_swing(displacements: np.ndarray, times: np.ndarray, release: float, start: float | None = None) -> dict[str, float]:
    """Where a recording or a prediction rests, and how it swings.

    Args:
        displacements: from the held pose [m], shape [f, markers, 3]
        times: [s], shape [f]
        release: [s]
        start: the damped cosine begins no earlier than this [s]; None: 0.30 s after the release

    Returns:
        ``drop_mm``: mean drop over the last 0.6 s; ``frequency_hz`` and ``damping_ratio`` of a damped cosine through the mean drop
        from 0.30 s after the release over 1.5 s (NaN where fewer than 8 frames are left, frequency 0 for a curve that stands still).
    """
    drop = mean_drop(np.asarray(displacements, dtype=float))
    begin = max(release + SWING_START, -np.inf if start is None else start)
    swing = None
    if np.sum((times >= begin - 1e-9) & (times <= begin + SWING_SECONDS + 1e-9)) >= 8:
        swing = damped_cosine(times, drop, begin, SWING_SECONDS)
    return {
        "drop_mm": 1e3 * float(drop[_tail(times, REST_SECONDS)].mean()),
        "frequency_hz": swing.frequency_hz if swing else np.nan,
        "damping_ratio": swing.damping_ratio if swing else np.nan,
    }


def errors(
    measured: np.ndarray,
    predicted: np.ndarray,
    times: np.ndarray,
    release: float,
    judge_from: float | None = None,
    judge_until: float | None = None,
    components: str = "z",
) -> dict[str, float]:
    """How far a prediction is from the measurement; both treated by the same code.

    Args:
        measured: displacements from the held pose [m], shape [f, markers, 3]
        predicted: the same of the prediction
        times: [s], shape [f]
        release: [s]
        judge_from: first frame that counts for the RMSE [s]; None: the measured drop's first turning point (before it the hand is
            still in the motion)
        judge_until: last frame that counts for the RMSE [s]; None: the last of all
        components: of the displacement that ``rmse_mm`` compares, a part of "xyz"; vertical unless told: a frame that is a little
            tilted spoils the horizontal components by the sine of the tilt, the vertical one by its cosine

    Returns:
        ``rmse_mm``: root of the mean squared distance between measured and predicted markers, in the given components;
        ``rmse_3d_mm``: the same in all three;
        ``drop_error_pct``: of the markers' mean drop over the last 0.6 s;
        ``frequency_error_pct``: of a damped cosine through the mean drop from 0.30 s after the release (but not before
        ``judge_from``) over 1.5 s; a curve that stands still has frequency 0, an error of 100; NaN where too few frames are left.
        Percentages are absolute values.
    """
    measured, predicted = np.asarray(measured, dtype=float), np.asarray(predicted, dtype=float)
    if measured.shape != predicted.shape or measured.shape != (len(times), measured.shape[1], 3):
        raise InputError(f"measured {measured.shape}, predicted {predicted.shape}, {len(times)} times: must be [f, markers, 3]")
    if not np.isfinite(predicted).all():
        raise InputError("the prediction holds NaN or infinite values; predict every frame that is judged")
    if not components or set(components) - set("xyz"):
        raise InputError(f'components = {components!r}: one or more of "x", "y", "z"')
    judge_from = first_turning_point(times, mean_drop(measured), release)[0] if judge_from is None else judge_from
    judged = (times >= judge_from - 1e-9) & (times <= (np.inf if judge_until is None else judge_until) + 1e-9)
    if not judged.any():
        raise InputError(f"no frame from {judge_from:.3f} s on to judge by")
    squared = (predicted[judged] - measured[judged]) ** 2
    real, simulated = (rest_and_swing(u, times, release, judge_from) for u in (measured, predicted))
    return {
        "rmse_mm": 1e3 * float(np.sqrt(squared[..., ["xyz".index(c) for c in components]].sum(axis=-1).mean())),
        "rmse_3d_mm": 1e3 * float(np.sqrt(squared.sum(axis=-1).mean())),
        "drop_error_pct": _error_pct(real["drop_mm"], simulated["drop_mm"]),
        "frequency_error_pct": _error_pct(real["frequency_hz"], simulated["frequency_hz"]),
    }


def _error_pct(real: float, simulated: float) -> float:
    return 100.0 * abs(simulated / real - 1.0) if real else np.nan


def pose_held(measured: np.ndarray, times: np.ndarray, last_seen: float) -> np.ndarray:
    """Baseline: the pose of the last frame seen, at ``last_seen`` [s], held for ever after; shape [f, markers, 3]."""
    frame = _frame(times, last_seen)
    return np.concatenate([measured[:frame], np.broadcast_to(measured[frame], measured[frame:].shape)])


def residual_carried(measured: np.ndarray, predicted: np.ndarray, times: np.ndarray, last_seen: float) -> np.ndarray:
    """Baseline: the prediction plus its residual at the last frame seen, carried on; shape [f, markers, 3]."""
    frame = _frame(times, last_seen)
    return np.concatenate([measured[:frame], predicted[frame:] + (measured[frame] - predicted[frame])])


def _frame(times: np.ndarray, moment: float) -> int:
    return max(0, int(np.searchsorted(times, moment + 1e-9, side="right")) - 1)


def a_replayed(other: np.ndarray, other_times: np.ndarray, other_turn: float, times: np.ndarray, turn: float) -> np.ndarray:
    """Baseline: another recording's displacements, shifted in time so that the first turning points coincide.

    Args:
        other: displacements of the other recording [m], shape [g, markers, 3]
        other_times: [s], shape [g]
        other_turn: its first turning point [s]
        times: where they are wanted [s], shape [f]; beyond the other's ends its first or last frame is held
        turn: first turning point of the recording to be predicted [s]

    Returns:
        displacements [m], shape [f, markers, 3]
    """
    flat = other.reshape(len(other_times), -1)
    asked = np.asarray(times) - turn + other_turn
    return np.stack([np.interp(asked, other_times, c) for c in flat.T], axis=1).reshape(len(times), *other.shape[1:])
