"""Files of foreign folders by their numbers, points in them, and when they were taken."""

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from physsim.errors import InputError
from physsim.io.npy import read_npy
from physsim.io.ply import read_positions
from physsim.io.table import read_table

MAX_FRAMES = 100_000


def numbered(folder: Path, suffixes: Sequence[str]) -> list[tuple[int | None, Path]]:
    """Files of some endings with the last number in their names, by that number, then by name; those without a number last.

    Raises:
        InputError: too many files, two with one number.
    """
    files = [file for file in sorted(folder.iterdir()) if file.suffix.lower() in suffixes and file.is_file()]
    if len(files) > MAX_FRAMES:
        raise InputError(f"{folder}: {len(files)} files; at most {MAX_FRAMES} frames are read")
    found = re.compile(r"\d+")
    pairs = [(int(numbers[-1][:18]) if (numbers := found.findall(file.stem)) else None, file) for file in files]
    pairs.sort(key=lambda pair: (pair[0] is None, pair[0] or 0, pair[1].name))
    for (a, first), (b, second) in pairwise(pairs):
        if a is not None and a == b:
            raise InputError(f"{folder}: {first.name} and {second.name} have the same number; which frame comes first?")
    return pairs


def by_number(folder: Path, suffixes: Sequence[str], count: int) -> list[Path | None]:
    """Files of frames 0 to count - 1 by the numbers in their names, None where one is missing; no folder has none."""
    files = dict(numbered(folder, suffixes)) if folder.is_dir() else {}
    return [files.get(frame) for frame in range(count)]


def read_points(path: Path, scale: float = 1.0) -> np.ndarray:
    """Points of an npy ([n, 3], or more columns whose first three are x, y, z) or a ply file [m], shape [n, 3]; those that are not
    finite are left out.

    Raises:
        InputError: a file that cannot be used, or that holds no points.
    """
    if path.suffix.lower() == ".ply":
        points = read_positions(path).astype(np.float64)
    else:
        points = read_npy(path)
        if points.ndim != 2 or points.shape[1] < 3 or points.dtype.kind not in "fiu":
            raise InputError(f"{path}: shape {list(points.shape)} of {points.dtype}; points as numbers of shape [n, 3] are needed")
        points = points[:, :3].astype(np.float64)
    points = scale * points[np.isfinite(points).all(axis=1)]
    if len(points) == 0:
        raise InputError(f"{path}: holds no point that is finite; leave the frame out, or repair it")
    return points


def times_of(count: int, rate: float | None, table: Path | None, where: object) -> np.ndarray:
    """Times of frames [s], shape [count].

    Args:
        count: of the frames.
        rate: frames a second [Hz].
        table: CSV file with a column `time` [s], one row a frame; it counts before the rate.
        where: what errors name.

    Raises:
        InputError: neither is there, a rate that is none, another number of rows.
    """
    if table is not None:
        times = read_table(table, required=["time"], increasing="time")["time"]
        if len(times) != count:
            raise InputError(f"{table}: {len(times)} times for {count} frames of {where}; one row a frame is needed")
        return times
    if rate is None:
        raise InputError(
            f"{where}: nothing says when its frames were taken; give their rate (--rate HZ), or times.csv with a column `time` [s]"
        )
    if not (np.isfinite(rate) and rate > 0.0):
        raise InputError(f"rate = {rate}: frames a second, positive and finite, are needed")
    return np.arange(count) / rate
