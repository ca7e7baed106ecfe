"""Marker pickles of cables, as DEFORM (Chen et al. 2024) publishes them: one file a recording, positions [m] at 100 Hz, z up.

The array is [frames, 3, markers] (also read: [frames, markers, 3] and [frames, 3 markers]); the first two and the last two markers are
held by the robots' grippers. Those become a handle at each end that turns with the end's edge; turns about the cable's axis are not seen,
so the handles do not spin. Source: roahmlab/DEFORM on GitHub, train_DEFORM.py and DEFORM_sim.py (layout, dt = 0.01 s, gravity).
"""

from os import PathLike
from pathlib import Path

import numpy as np

from physsim.capture.adapters.frames import times_of
from physsim.capture.capture import Capture, Handle, Known, SeenTracks
from physsim.errors import InputError
from physsim.io.unpickle import SUFFIXES, read_pickle

RATE = 100.0  # [Hz]
LEAST_MARKERS = 5  # two are held at each end
GRIP = 1.05  # of half the end's edge: the handle reaches both markers of its end


def fits(source: str | PathLike[str]) -> bool:
    """Whether the source is a pickle of numbers that could be markers."""
    if Path(source).suffix.lower() not in SUFFIXES:
        return False
    try:
        _markers(source, read_pickle(source))
    except InputError:
        return False
    return True


def read(
    source: str | PathLike[str], *, rate: float = RATE, scale: float = 1.0, mass: float | None = None, thickness: float | None = None
) -> Capture:
    """A capture of a cable's markers as tracks.

    Args:
        source: the pickle.
        rate: frames a second [Hz].
        scale: factor on the positions, for files that are not in metres (0.001 for millimetres).
        mass: of the cable [kg], where known.
        thickness: its diameter [m], where known.

    Returns:
        Capture of kind "rod": tracks in order along the cable, handles "first" and "last". How the cable is bent at rest is not known.

    Raises:
        InputError: a file that is no pickle of numbers, of another shape, with too few markers or frames, or not in metres.
    """
    markers = scale * _markers(source, read_pickle(source))
    held = markers[:, [0, 1, -2, -1]]
    bad = np.flatnonzero(~np.isfinite(held).all(axis=(1, 2)))
    if len(bad):
        raise InputError(
            f"{source}: one of the first or last two markers is NaN in frame {bad[0]} ({len(bad)} such); cut the recording there"
        )
    lengths = np.nanmedian(np.linalg.norm(np.diff(markers, axis=1), axis=2), axis=0)
    if not (lengths > 0).all() or not 0.02 <= lengths.sum() <= 50.0:
        raise InputError(f"{source}: its markers span {lengths.sum():.4g} m along; metres are expected: give the scale (--scale 0.001)")
    times = times_of(len(markers), rate, None, source)
    return Capture(
        times,
        tracks=SeenTracks(markers),
        handles={"first": _handle(times, markers[:, 0], markers[:, 1]), "last": _handle(times, markers[:, -1], markers[:, -2])},
        kind="rod",
        known=Known(mass=mass, thickness=thickness),
        name=Path(source).stem,
        source="motion capture of a cable in the layout of DEFORM",
    )


def _markers(source: object, held: object) -> np.ndarray:
    """Positions [frames, markers, 3], float64."""
    try:
        values = np.asarray(held, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{source}: holds {type(held).__name__} and no array of numbers; [frames, 3, markers] is needed") from None
    if values.ndim == 2 and values.shape[1] % 3 == 0:
        values = values.reshape(len(values), -1, 3)
    elif values.ndim == 3 and values.shape[1] == 3:
        values = values.transpose(0, 2, 1)
    if values.ndim != 3 or values.shape[2] != 3 or values.shape[1] < LEAST_MARKERS or len(values) < 2:
        raise InputError(
            f"{source}: shape {list(values.shape)}; [frames, 3, markers] with at least two frames and {LEAST_MARKERS} markers is needed"
        )
    return values


def _handle(times: np.ndarray, end: np.ndarray, next_to_it: np.ndarray) -> Handle:
    """The gripper of an end: in the middle of its edge, turned with it by the shortest way from frame to frame."""
    edge = next_to_it - end
    length = np.linalg.norm(edge, axis=1)
    along = edge / length[:, None]
    turns = np.empty((len(times), 3, 3))
    turns[0] = np.eye(3)
    for k in range(1, len(times)):  # each turn follows from the one before
        turns[k] = _shortest_turn(along[k - 1], along[k]) @ turns[k - 1]
    turns = _orthogonal(turns)
    return Handle(times, 0.5 * (end + next_to_it), turns, radius=GRIP * 0.5 * float(length.max()))


def _shortest_turn(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Rotation that takes the unit vector a to b without spin about them."""
    v, c = np.cross(a, b), float(a @ b)
    V = np.array([[0, -v[2], v[1]], [v[2], 0, -v[0]], [-v[1], v[0], 0]])
    return np.eye(3) + V + V @ V / max(1.0 + c, 1e-9)


def _orthogonal(turns: np.ndarray) -> np.ndarray:
    u, _, vt = np.linalg.svd(turns)
    return u @ vt
