"""Tosses of a rigid cube on a table: the recordings, the state they are thrown with, the judgement of predicted resting places, and a fit.

A toss begins in free flight and ends at rest. A simulation gets the state of the first frame and predicts where the cube comes to lie;
its error is the distance on the table between that place and the real one. Contact is not smooth, so that the few parameters of contact
are fitted without derivatives, on tosses that do not judge.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np

from physsim.errors import InputError
from physsim.io.arrays import load_arrays
from physsim.physics import validation

REST_FRAMES = 5
CLEARANCE = 0.004  # [m] between the lowest corner and the table while a frame counts as flight: corners are tracked to about 3 mm


@dataclass(frozen=True)
class TossFacts:
    """What is known of the cube and of the recording; `assets/cube_toss/README.md` says what of it agrees with what.

    Attributes:
        edge: of the cube [m]
        mass: [kg]
        inertia: about each axis through its centre [kg m^2]
        sample_rate: [Hz]
        gravity: length of the true one [m/s^2]
        seen_edge: edge as the recording shows it, from the height of the centre at rest [m]
        seen_gravity: acceleration as the recording shows it, in flight [m/s^2]
        published_friction: [-]
        published_restitution: [-]
    """

    edge: float
    mass: float
    inertia: float
    sample_rate: float
    gravity: float
    seen_edge: float
    seen_gravity: float
    published_friction: float
    published_restitution: float

    @property
    def seen_inertia(self) -> float:
        """Inertia of a cube of the same mass whose edge is `seen_edge` [kg m^2]."""
        return self.inertia * (self.seen_edge / self.edge) ** 2


@dataclass(frozen=True, eq=False)
class TossRecording:
    """Poses and velocities of a cube from free flight to rest.

    Attributes:
        name: what it is called
        times: [s], increasing, shape [f]
        positions: of the centre [m], z up, the table at 0, shape [f, 3]
        quaternions: w x y z, body to world, shape [f, 4]
        velocities: of the centre [m/s], shape [f, 3]
        angular_velocities: in the body's axes [rad/s], shape [f, 3]

    Raises:
        InputError: shapes that do not fit, fewer than 10 frames, NaN, times that do not increase, quaternions that are not of length 1.
    """

    name: str
    times: np.ndarray
    positions: np.ndarray
    quaternions: np.ndarray
    velocities: np.ndarray
    angular_velocities: np.ndarray

    def __post_init__(self) -> None:
        times = validation.array(f"{self.name}: times", self.times, (None,))
        if len(times) < 10:
            raise InputError(f"{self.name}: {len(times)} frames; at least 10 are needed, from flight to rest")
        if (np.diff(times) <= 0.0).any():
            raise InputError(f"{self.name}: times must increase; frame {int(np.argmax(np.diff(times) <= 0.0)) + 1} does not")
        object.__setattr__(self, "times", times)
        for name, width in (("positions", 3), ("quaternions", 4), ("velocities", 3), ("angular_velocities", 3)):
            object.__setattr__(self, name, validation.array(f"{self.name}: {name}", getattr(self, name), (len(times), width)))
        lengths = np.linalg.norm(self.quaternions, axis=1)
        if np.abs(lengths - 1.0).max() > 1e-3:
            frame = int(np.argmax(np.abs(lengths - 1.0)))
            raise InputError(f"{self.name}: the quaternion of frame {frame} has length {lengths[frame]:.4g}; it must be 1, as w x y z")
        object.__setattr__(self, "quaternions", self.quaternions / lengths[:, None])

    @property
    def rest_position(self) -> np.ndarray:
        """Mean position of the last five frames [m], shape [3]."""
        return self.positions[-REST_FRAMES:].mean(axis=0)

    def lowest_corner(self, edge: float) -> np.ndarray:
        """Height of the lowest corner of a cube of that edge [m], shape [f]."""
        reach = np.abs(_rotations(self.quaternions).as_matrix()[:, 2]).sum(axis=1)
        return self.positions[:, 2] - 0.5 * edge * reach

    def launch(self, edge: float, gravity: float) -> "Launches":
        """State at the first frame, from all frames before the cube first touches: smoother than the velocities that were recorded.

        In free flight the velocity's horizontal part and the angular velocity stay as they are (a cube's inertia is the same about every
        axis), so that straight lines through the frames give both.

        Args:
            edge: of the cube as the recording shows it [m]
            gravity: acceleration as the recording shows it [m/s^2]

        Raises:
            InputError: fewer than three frames of flight.
        """
        low = self.lowest_corner(edge) < CLEARANCE
        count = int(np.argmax(low)) if low.any() else len(low)
        if count < 3:
            raise InputError(
                f"{self.name}: {count} frames before the cube touches; at least 3 are needed: let the recording begin in flight"
            )
        t = self.times[:count] - self.times[0]
        fallen = 0.5 * gravity * t**2
        slope, start = np.polyfit(t, self.positions[:count] + fallen[:, None] * np.array([0.0, 0.0, 1.0]), 1)
        rotations = _rotations(self.quaternions[:count])
        turned = (rotations[0].inv() * rotations).as_rotvec()  # less than half a turn while it flies
        spin = (turned * t[:, None]).sum(axis=0) / (t @ t)
        return Launches(start[None], self.quaternions[:1], slope[None], spin[None])


@dataclass(frozen=True, eq=False)
class Launches:
    """States at which cubes are let go, one a toss.

    Attributes:
        positions: of the centres [m], shape [n, 3]
        quaternions: w x y z, body to world, shape [n, 4]
        velocities: [m/s], shape [n, 3]
        angular_velocities: in the body's axes [rad/s], shape [n, 3]
    """

    positions: np.ndarray
    quaternions: np.ndarray
    velocities: np.ndarray
    angular_velocities: np.ndarray


def _rotations(quaternions):
    from scipy.spatial.transform import Rotation

    return Rotation.from_quat(np.asarray(quaternions)[:, [1, 2, 3, 0]])


def load_tosses(folder: str | PathLike[str] | None = None) -> tuple[TossFacts, tuple[TossRecording, ...]]:
    """Read recorded tosses.

    Args:
        folder: with `experiment.json` and `tosses.npz`; None for those that ship with physsim

    Returns:
        The facts and one recording a toss.

    Raises:
        InputError: a file is missing, damaged or lacks an entry.
    """
    if folder is None:
        from physsim import assets

        folder = assets.folder("cube_toss")
    facts = _read_facts(Path(folder) / "experiment.json")
    path = Path(folder) / "tosses.npz"
    recordings = []
    for name, rows in load_arrays(path, "cube tosses").items():
        rows = validation.array(f"{path}: {name}", rows, (None, 13))
        times = np.arange(len(rows)) / facts.sample_rate
        recordings.append(TossRecording(name, times, rows[:, :3], rows[:, 3:7], rows[:, 7:10], rows[:, 10:]))
    if not recordings:
        raise InputError(f"{path}: holds no toss")
    return facts, tuple(recordings)


def _read_facts(path: Path) -> TossFacts:
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as JSON ({error})") from None
    lengths = {
        name: np.linalg.norm(said.get(name, [])) if isinstance(said.get(name), list) else 0.0 for name in ("gravity", "seen_gravity")
    }
    values = {}
    for name in TossFacts.__dataclass_fields__:
        if name not in said:
            raise InputError(f"{path}: lacks {name!r}")
        values[name] = float(validation.array(f"{path}: {name}", lengths.get(name, said[name]), (), lower=0.0))
    return TossFacts(**values)


def launches(recordings: Sequence[TossRecording], facts: TossFacts) -> Launches:
    """States of all recordings at their first frames, in the recording's own lengths."""
    single = [recording.launch(facts.seen_edge, facts.seen_gravity) for recording in recordings]
    return Launches(*(np.concatenate([getattr(one, name) for one in single]) for name in Launches.__dataclass_fields__))


def split(
    recordings: Sequence[TossRecording], test: int = 10, seed: int = 0
) -> tuple[tuple[TossRecording, ...], tuple[TossRecording, ...]]:
    """Recordings to fit on and recordings to judge on, drawn by a seed.

    Raises:
        InputError: nothing would be left of one of them.
    """
    if not 0 < test < len(recordings):
        raise InputError(f"test = {test}: of {len(recordings)} recordings at least one must judge and one must be left to fit on")
    order = np.random.default_rng(seed).permutation(len(recordings))
    return tuple(recordings[i] for i in order[test:]), tuple(recordings[i] for i in order[:test])


def rest_errors(predicted: np.ndarray, recordings: Sequence[TossRecording]) -> np.ndarray:
    """Distance on the table between predicted and real resting places [m], shape [n].

    Args:
        predicted: resting positions of the centre [m], shape [n, 3]
        recordings: n of them
    """
    predicted = validation.array("predicted", predicted, (len(recordings), 3))
    real = np.stack([recording.rest_position for recording in recordings])
    return np.linalg.norm((predicted - real)[:, :2], axis=1)


def mean_displacement(train: Sequence[TossRecording], test: Sequence[TossRecording]) -> np.ndarray:
    """The trivial prediction: the start plus the mean displacement of the training tosses [m], shape [n, 3]."""
    moved = np.mean([recording.rest_position - recording.positions[0] for recording in train], axis=0)
    return np.stack([recording.positions[0] + moved for recording in test])


def mean_travel(train: Sequence[TossRecording], test: Sequence[TossRecording]) -> np.ndarray:
    """A stricter trivial prediction [m], shape [n, 3]: the mean displacement along and across the direction of each throw.

    The tosses were turned by random angles about the vertical, so that their mean displacement is next to nothing; told the direction,
    a mean does much better, and a simulation should beat that too.
    """
    along = np.mean([_turned(recording, recording.rest_position - recording.positions[0], -1.0) for recording in train], axis=0)
    return np.stack([recording.positions[0] + _turned(recording, along, 1.0) for recording in test])


def _turned(recording: TossRecording, vector: np.ndarray, sign: float) -> np.ndarray:
    """The vector turned about z by `sign` times the direction of the throw."""
    angle = sign * np.arctan2(recording.velocities[0, 1], recording.velocities[0, 0])
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]]) @ vector


def judge(predicted: np.ndarray, train: Sequence[TossRecording], test: Sequence[TossRecording]) -> dict[str, float]:
    """How good predicted resting places are, beside the trivial ones.

    Args:
        predicted: resting positions of the test tosses [m], shape [n, 3]
        train: tosses that the trivial predictions may know
        test: n tosses that judge

    Returns:
        ``median_mm`` and ``mean_mm``: of the rest-position errors; ``mean_displacement_mm`` and ``mean_travel_mm``: medians of the two
        trivial predictions; ``ratio``: of `median_mm` to `mean_displacement_mm`; ``travel_ratio``: to `mean_travel_mm`.
    """
    error = 1e3 * rest_errors(predicted, test)
    displaced = 1e3 * float(np.median(rest_errors(mean_displacement(train, test), test)))
    travelled = 1e3 * float(np.median(rest_errors(mean_travel(train, test), test)))
    median = float(np.median(error))
    return {
        "median_mm": median,
        "mean_mm": float(error.mean()),
        "mean_displacement_mm": displaced,
        "mean_travel_mm": travelled,
        "ratio": median / displaced,
        "travel_ratio": median / travelled,
    }


@dataclass(frozen=True)
class TossFit:
    """What `fit_tosses` found: `parameters` by name, the training tosses' mean `error` [m], and how many `evaluations` it took."""

    parameters: dict[str, float]
    error: float
    evaluations: int


def fit_tosses(
    recordings: Sequence[TossRecording],
    facts: TossFacts,
    simulate: Callable[..., np.ndarray],
    start: Mapping[str, float],
    evaluations: int = 60,
    tolerance: float = 0.01,
) -> TossFit:
    """Parameters of contact under which simulated cubes come to lie nearest to where the real ones did.

    The mean distance is made small by the simplex of Nelder and Mead in the logarithms of the parameters: contact makes it jump, and
    least squares would follow the few cubes that tip onto another face.

    Args:
        recordings: to fit on
        facts: of the cube
        simulate: called as `simulate(launches, **parameters)`; returns resting positions of the centres [m], shape [n, 3], in the
            recording's lengths
        start: first guess of each parameter, positive
        evaluations: most calls of `simulate`
        tolerance: relative change of the parameters at which the fit ends

    Raises:
        InputError: nothing to fit, a guess that is not positive, or positions that are not finite.
    """
    from scipy.optimize import minimize

    if not recordings or not start:
        raise InputError(f"{len(recordings)} recordings and {len(start)} parameters: at least one of each is needed")
    names = tuple(start)
    guess = validation.array("start", [start[name] for name in names], (len(names),), lower=0.0, lower_open=True)
    states = launches(recordings, facts)

    def error(logarithms):
        values = dict(zip(names, np.exp(logarithms).tolist()))
        return float(rest_errors(simulate(states, **values), recordings).mean())

    first = np.log(guess) + np.vstack([np.zeros(len(names)), 0.3 * np.eye(len(names))])  # steps of a third
    options = {"initial_simplex": first, "maxfev": evaluations, "xatol": tolerance, "fatol": 1e-5}
    found = minimize(error, np.log(guess), method="Nelder-Mead", options=options)
    return TossFit(dict(zip(names, np.exp(found.x).tolist())), float(found.fun), int(found.nfev))
