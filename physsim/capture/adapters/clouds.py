"""Folders with a point cloud a frame, `.npy` or `.ply`, of the body alone.

Frames go by the last number in the files' names. When they were taken says `times.csv` beside them (column `time` [s]) or a rate.
"""

from os import PathLike
from pathlib import Path

import numpy as np

from physsim.capture.adapters.frames import numbered, read_points, times_of
from physsim.capture.capture import Capture
from physsim.capture.streams import FileFrames
from physsim.errors import InputError

SUFFIXES = (".npy", ".ply")
TIMES = "times.csv"


def fits(source: str | PathLike[str]) -> bool:
    """Whether the source is a folder with two clouds or more and nothing that names another format."""
    folder = Path(source)
    return folder.is_dir() and sum(file.suffix.lower() in SUFFIXES for file in folder.iterdir()) > 1


def read(source: str | PathLike[str], *, rate: float | None = None, scale: float = 1.0, kind: str | None = None) -> Capture:
    """A capture of points alone.

    Args:
        source: the folder.
        rate: frames a second [Hz], where there is no times.csv.
        scale: factor on the points, for files that are not in metres (0.001 for millimetres).
        kind: "solid", "sheet" or "rod", where known.

    Returns:
        Capture whose clouds are read when they are asked for; world z is taken as up.

    Raises:
        InputError: no folder, fewer than two clouds, both kinds of file, two files with one number, no times, a first cloud that cannot
            be read.
    """
    folder = Path(source)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; a folder with one .npy or .ply file a frame is needed")
    files = [file for _, file in numbered(folder, SUFFIXES)]
    kinds = {file.suffix.lower() for file in files}
    if len(files) < 2 or len(kinds) > 1:
        told = (
            "both .npy and .ply files; move one kind away" if len(kinds) > 1 else f"{len(files)} .npy or .ply files; one a frame is needed"
        )
        raise InputError(f"{folder}: holds {told}")
    if not (np.isfinite(scale) and scale > 0.0):
        raise InputError(f"scale = {scale}: must be positive and finite; use 0.001 for files in millimetres")
    table = folder / TIMES
    times = times_of(len(files), rate, table if table.is_file() else None, folder)
    _check_units(files[0], read_points(files[0], scale))
    clouds = FileFrames(files, lambda file: read_points(file, scale), np.copy)
    return Capture(times, points=clouds, kind=kind, name=folder.name, source=f"{len(files)} clouds ({kinds.pop()})")


def _check_units(file: Path, points: np.ndarray) -> None:
    extent = float(np.ptp(points, axis=0).max())
    if not 1e-3 <= extent <= 20.0:
        raise InputError(f"{file}: its points span {extent:.4g} m; give the scale to metres (--scale 0.001 for millimetres)")
