"""Facts of a beam experiment, from a JSON file, and its recordings, from CSV files."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from physsim.errors import InputError
from physsim.physics import validation
from physsim.real2sim import recording as rec

CELL_SHARE = 0.5  # cells are at most this share of the thinnest side


@dataclass(frozen=True)
class Experiment:
    """Facts of a beam experiment in SI units; see `assets/silicone_beam/experiment.json` for the file's form.

    Args:
        origin, size: of the box [m], shape [3]; clamped at the face of lowest x.
        density: [kg/m^3].
        poisson: [-].
        gravity: [m/s^2], shape [3]; z points up.
        weight: mass of the weight [kg].
        edge: ends of the edge that carries it [m], shape [2, 3].
        markers: names.
        points: the material points that they stand for [m], shape [markers, 3].
        renamed: the file's names of columns -> `t_s` and `<marker>_<axis>_m`.
        folder: of the file, where recordings with a bare name lie.
        recordings: dict name -> {"file", and where known "release_time" [s] and "mass" of its own weight [kg]}.
        about: what else the file says in words (name, source, licence, material, notes).
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
    renamed: dict
    folder: Path
    recordings: dict
    about: dict

    @staticmethod
    def read(path):
        """Read and check an experiment file.

        Raises:
            InputError: no such file, not JSON, a missing or impossible entry.
        """
        path = Path(path)
        try:
            return _experiment(json.loads(path.read_text(encoding="utf-8")), path.parent)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
        except KeyError as error:
            raise InputError(f"{path}: the entry {error} is missing; the shipped experiment.json shows the form") from None
        except (TypeError, AttributeError) as error:
            raise InputError(f"{path}: an entry is of the wrong kind ({error}); the shipped experiment.json shows the form") from None
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: not a readable JSON file ({error})") from None

    def default_cells(self):
        """Cells of at most half the thinnest side."""
        edge = CELL_SHARE * self.size.min()
        return tuple(int(np.ceil(s / edge - 1e-9)) for s in self.size)

    def entry(self, path):
        """What the experiment file says of a recording: by its place, or by its name if no such file lies beside the experiment."""
        path = Path(path)
        for entry in self.recordings.values():
            listed = self.folder / entry["file"]
            if listed.resolve() == path.resolve() or (listed.name == path.name and not listed.exists()):
                return entry
        return {}

    def loaded(self, path, mass=None):
        """The experiment with the weight of one recording: `mass` [kg], or what the file says of it."""
        mass = self.entry(path).get("mass") if mass is None else mass
        if mass is None:
            return self
        return replace(self, weight=float(validation.array("mass of the weight", mass, (), lower=0.0)))


def _experiment(data, folder):
    body, weight, markers = data["body"], data["weight"], data["markers"]
    origin = validation.array("body.origin", body["origin"], (3,))
    face = body.get("clamped_face", {"axis": "x", "value": origin[0]})
    if face["axis"] != "x" or abs(face["value"] - origin[0]) > 1e-9:
        raise InputError(f"body.clamped_face = {face}: the face of lowest x, {origin[0]:g}, must be the clamped one; turn the axes")
    gravity = validation.array("gravity", data["gravity"], (3,))
    if gravity[2] >= 0:
        raise InputError(f"gravity = {gravity.tolist()}: z must point up, so that its third number is below 0")
    recordings = data.get("recordings", {})
    for name, entry in recordings.items():
        if not isinstance(entry, dict) or not isinstance(entry.get("file"), str):
            raise InputError(f'recordings.{name}: {{"file": "name.csv"}} is needed')
    return Experiment(
        origin=origin,
        size=validation.array("body.size", body["size"], (3,), lower=0.0, lower_open=True),
        density=_number("body.density", body["density"], 0.0),
        poisson=_number("body.poisson", body["poisson"], -1.0, 0.5),
        gravity=gravity,
        weight=float(validation.array("weight.mass", weight["mass"], (), lower=0.0)),
        edge=validation.array("weight.edge", weight["edge"], (2, 3)),
        markers=tuple(str(m["name"]) for m in markers),
        points=validation.array("markers: points", [m["point"] for m in markers], (None, 3)),
        renamed=_renamed(data, markers),
        folder=folder,
        recordings=recordings,
        about={k: v for k, v in data.items() if isinstance(v, str)} | {"material": str(body.get("material", ""))},
    )


def _number(name, value, lower, upper=None):
    return float(validation.array(name, value, (), lower=lower, upper=upper, lower_open=True, upper_open=True))


def _renamed(data, markers):
    """The columns' names in the file -> those that `recording` knows."""
    renamed = {str(data.get("time_column", "t_s")): "t_s"}
    for marker in markers:
        names = [f"{marker['name']}_{axis}_m" for axis in "xyz"]
        given = marker.get("columns", names)
        if len(given) != 3:
            raise InputError(f"markers: {marker['name']} has {len(given)} columns; three are needed, of x, y and z")
        renamed.update(zip(given, names, strict=True))
    return renamed


@dataclass
class Measured:
    """A recording made ready: displacements of the markers from their held pose.

    Args:
        name: for reports.
        times: [s], shape [f].
        displacements: [m], shape [f, markers, 3].
        release: [s].
        release_known: False where it was detected.
        turn: first turning point after the release [s].
        turn_drop: mean drop there [m].
    """

    name: str
    times: np.ndarray
    displacements: np.ndarray
    release: float
    release_known: bool
    turn: float
    turn_drop: float

    @staticmethod
    def read(path, experiment, release=None, name=None):
        """Read a recording.

        Args:
            path: CSV file.
            experiment: Experiment.
            release: [s]; None: what the experiment file says of this file, and where it says nothing it is detected.
            name: for reports; None: the file's name.

        Raises:
            InputError: a file that cannot be used.
        """
        release = experiment.entry(path).get("release_time") if release is None else release
        try:
            recording = rec.read_recording(path, markers=list(experiment.markers), name=name, renamed=experiment.renamed)
            return Measured.of(recording, release)
        except ValueError as error:
            raise InputError(str(error) if str(path) in str(error) else f"{path}: {error}") from None

    @staticmethod
    def of(recording, release=None):
        """Displacements, release and first turning point of a Recording.

        Raises:
            ValueError: nothing is held, let go and swings.
        """
        times = recording.times
        known = release is not None
        if known and (isinstance(release, bool) or not isinstance(release, int | float)):
            raise ValueError(f"release_time = {release!r}: a number of seconds is needed")
        release = float(release) if known else rec.detect_release(times, recording.positions)
        if not times[0] < release < times[-1]:
            raise ValueError(f"release_time = {release:g} s: the recording runs from {times[0]:g} to {times[-1]:g} s")
        displacements = recording.displacements(release)
        turn, drop = rec.first_turning_point(times, rec.mean_drop(displacements), release)
        return Measured(recording.name, times, displacements, release, known, turn, drop)
