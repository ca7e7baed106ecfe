"""Recordings of a clamped beam that is held, let go and rings down: markers in a CSV file, the facts of the experiment in a JSON file.

The form is that of the shipped silicone beam (assets/silicone_beam/experiment.json): a box that is clamped at its face of lowest x, a
weight along an edge, markers that stand for material points. Each marker's displacement from its mean place before the release is added
to that point, so that a tilted or shifted frame of the motion capture does not matter. The capture begins where the hand has let go
for good (`release_time` + `release_disturbed_for`): before that, what moved the beam was not recorded.
"""

from os import PathLike
from pathlib import Path

import numpy as np

from physsim.capture.capture import Capture, Handle, Known, SeenTracks
from physsim.errors import InputError
from physsim.io.files import read_json
from physsim.io.table import read_table
from physsim.physics import validation
from physsim.physics.mesh import box_mesh

FACTS = "experiment.json"
MAX_JSON = 1_000_000
HELD_SECONDS = 0.3  # before the release, from which the places of the held markers are taken
OPENING = 0.02  # the hand opens this long before the release [s]
PITCH = 0.1  # of the thinnest side: distance between the clamp's places
WEIGHTS = 13  # points along the edge that the weight is shared out to


def fits(source: str | PathLike[str]) -> bool:
    """Whether the source is a CSV file beside an experiment.json that names it."""
    path = Path(source)
    if path.suffix.lower() != ".csv" or not (path.parent / FACTS).is_file():
        return False
    try:
        facts = read_json(path.parent / FACTS, MAX_JSON)
        return path.name in [entry["file"] for entry in facts["recordings"].values()]
    except (InputError, KeyError, TypeError, AttributeError):
        return False


def read(
    source: str | PathLike[str], *, experiment: str | PathLike[str] | None = None, release: float | None = None, begin: float | None = None
) -> Capture:
    """A capture of the beam's markers as tracks.

    Args:
        source: CSV file of the recording: `t_s` and the markers' columns [m].
        experiment: JSON file with the facts; None: the experiment.json beside it.
        release: when the beam was let go [s]; None: what the facts say of this recording.
        begin: first moment of the capture [s]; None: where the hand is no longer in the motion.

    Returns:
        Capture of kind "solid" with the box as tetrahedra of four nodes, the handle "clamp" that holds its face, and the weight among
        what is known. World z is up, as in the facts.

    Raises:
        InputError: files that cannot be used, facts that are missing or impossible, no release, too few frames.
    """
    path = Path(source)
    where = Path(experiment) if experiment is not None else path.parent / FACTS
    facts = read_json(where, MAX_JSON)
    try:
        return _capture(path, facts, release, begin)
    except InputError as error:
        raise InputError(f"{where}: {error}" if str(path) not in str(error) else str(error)) from None
    except KeyError as error:
        raise InputError(f"{where}: the entry {error} is missing; the shipped experiment.json shows the form") from None
    except (TypeError, AttributeError) as error:
        raise InputError(f"{where}: an entry is of the wrong kind ({error}); the shipped experiment.json shows the form") from None


def _capture(path: Path, facts: dict, release: float | None, begin: float | None) -> Capture:
    body, markers = facts["body"], facts["markers"]
    if not markers:
        raise InputError("markers: none are named; a name and the material point that it stands for are needed")
    times, measured = _markers(path, facts.get("time_column", "t_s"), markers)
    points = validation.array("markers: points", [m["point"] for m in markers], (None, 3))
    entry = next((e for e in facts.get("recordings", {}).values() if e.get("file") == path.name), {})
    release = entry.get("release_time") if release is None else release
    if release is None:
        raise InputError(f"nothing says when {path.name} was let go; give the time of the release [s] (--release)")
    release = float(validation.array("release_time", release, ()))
    held = (times >= release - HELD_SECONDS) & (times < release - OPENING)
    disturbed = float(validation.array("release_disturbed_for", facts.get("release_disturbed_for", 0.0), (), lower=0.0))
    used = times >= (release + disturbed if begin is None else begin) - 1e-9
    if not held.any() or used.sum() < 2:
        raise InputError(
            f"{path}: {held.sum()} frames before the release at {release:g} s and {used.sum()} after it; it runs to {times[-1]:g} s"
        )
    origin = validation.array("body.origin", body["origin"], (3,))
    size = validation.array("body.size", body["size"], (3,), lower=0.0, lower_open=True)
    cells = np.ceil(2.0 * size / size.min() - 1e-9).astype(int)
    return Capture(
        times[used],
        tracks=SeenTracks(points + measured[used] - measured[held].mean(axis=0), rest=points),
        mesh=box_mesh(size, cells, origin=origin),
        handles={"clamp": _clamp(times[used][:1], origin, size)},
        kind="solid",
        gravity=validation.array("gravity", facts["gravity"], (3,)),
        known=Known(density=float(body["density"]), poisson=float(body["poisson"]), weights=_weights(facts.get("weight", {}), entry)),
        name=path.stem,
        source=str(facts.get("source", "motion capture of a beam")),
    )


def _markers(path: Path, time: str, markers: list) -> tuple[np.ndarray, np.ndarray]:
    """Times [f] and positions [f, markers, 3]."""
    columns = [m.get("columns", [f"{m['name']}_{axis}_m" for axis in "xyz"]) for m in markers]
    table = read_table(path, required=[time, *(name for names in columns for name in names)], increasing=time, min_rows=3)
    return table[time], np.stack([np.stack([table[name] for name in names], axis=1) for names in columns], axis=1)


def _clamp(times: np.ndarray, origin: np.ndarray, size: np.ndarray) -> Handle:
    """A handle that holds what lies on the face of lowest x: places in a grid over it, with a reach that covers what is between them."""
    pitch = PITCH * size.min()
    counts = np.ceil(size[1:] / pitch - 1e-9).astype(int)
    y, z = np.meshgrid(*(np.linspace(-0.5 * s, 0.5 * s, n + 1) for s, n in zip(size[1:], counts, strict=True)), indexing="ij")
    places = np.stack([np.zeros(y.size), y.ravel(), z.ravel()], axis=1)
    centre = origin + [0.0, 0.5 * size[1], 0.5 * size[2]]
    reach = 0.5 * np.hypot(*(size[1:] / counts)) * (1 + 1e-6)
    return Handle(times, np.tile(centre, (len(times), 1)), radius=float(reach), places=places)


def _weights(weight: dict, entry: dict) -> np.ndarray | None:
    """Rows (x, y, z, mass) along the weight's edge, by Simpson's shares."""
    mass = float(validation.array("weight.mass", entry.get("mass", weight.get("mass", 0.0)), (), lower=0.0))
    if mass == 0.0:
        return None
    a, b = validation.array("weight.edge", weight["edge"], (2, 3))
    along = np.linspace(0.0, 1.0, WEIGHTS)[:, None]
    shares = np.ones(WEIGHTS)
    shares[1::2], shares[2:-1:2] = 4.0, 2.0
    return np.concatenate([a + along * (b - a), mass * (shares / shares.sum())[:, None]], axis=1)
