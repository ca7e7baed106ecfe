"""Recordings of a limb that a tendon bends, seen from the side: a CSV file with time [ms], contraction [mm] and x, y [mm] of markers.

The form is that of the soft starfish of diff_pd_public (assets/starfish): `Time (ms)`, `Tendon Contraction (mm)`, then `M1 X (mm)`, `M1Y`,
and so on, spelled a little differently from column to column. x goes right in the picture and y down. The tracks lie in the plane of world
x (right) and z (up); what the camera did not see, y, is 0 for every marker: fit and judge the plane's two components.

The contraction is the handle "tendon": it moves along x by the contraction. It is how far the tendon is pulled, not where.
"""

import re
from os import PathLike
from pathlib import Path

import numpy as np

from physsim.capture.capture import Capture, Handle, SeenTracks
from physsim.errors import InputError
from physsim.io.table import read_table

MILLI = 1e-3
_AXIS = re.compile(r"M(\d+) ?([XY])( \(mm\))?", re.IGNORECASE)
TIME, PULL = "Time (ms)", "Tendon Contraction (mm)"
HEADER_BYTES = 4096


def fits(source: str | PathLike[str]) -> bool:
    """Whether the source is a CSV file with a contraction and markers."""
    path = Path(source)
    if path.suffix.lower() != ".csv" or not path.is_file():
        return False
    with path.open("rb") as file:
        header = file.readline(HEADER_BYTES).decode("latin-1")
    return TIME in header and PULL in header and _AXIS.search(header) is not None


def read(source: str | PathLike[str]) -> Capture:
    """A capture of the markers as tracks.

    Args:
        source: the CSV file.

    Returns:
        Capture of the frames between the first and the last whose contraction is known; the first half is to be fitted, the second held
        out. World z is up.

    Raises:
        InputError: a file that cannot be used, columns that are missing, a contraction that is not known between others.
    """
    path = Path(source)
    table = read_table(path, required=[TIME, PULL], increasing=TIME, min_rows=3, gaps=[PULL, "Markers from bottom to top"])
    columns = {match.groups()[:2]: name for name in table if (match := _AXIS.fullmatch(name))}
    columns = {(int(number), axis.upper()): name for (number, axis), name in columns.items()}
    numbers = sorted({number for number, _ in columns})
    lost = [f"M{n} {axis}" for n in numbers for axis in "XY" if (n, axis) not in columns]
    if not numbers or lost:
        raise InputError(f"{path}: no column {', '.join(lost) or 'M1 X (mm)'}; it has {', '.join(table)}")
    pull = table[PULL]
    known = np.flatnonzero(np.isfinite(pull))
    if len(known) < 2 or known[-1] - known[0] + 1 != len(known):
        raise InputError(f"{path}: the contraction is not known in {len(pull) - len(known)} rows, not only before and after the motion")
    x, y = (np.stack([table[columns[n, axis]][known] for n in numbers], axis=1) for axis in "XY")
    times, pulled = MILLI * table[TIME][known], MILLI * pull[known]
    half = len(times) // 2
    tendon = np.zeros((len(times), 3))
    tendon[:, 0] = pulled
    return Capture(
        times,
        tracks=SeenTracks(MILLI * np.stack([x, np.zeros_like(x), -y], axis=2)),
        handles={"tendon": Handle(times, tendon)},
        fit=np.arange(half),
        test=np.arange(half, len(times)),
        name=path.stem,
        source="camera at the side of a limb bent by a tendon, markers in its plane",
    )
