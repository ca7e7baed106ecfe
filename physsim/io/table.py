"""Tables of numbers, such as recordings of markers: one header line of names, then one row of numbers a sample, separated by commas."""

import csv
from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import numpy as np

from physsim.errors import InputError
from physsim.io.files import checked_path

MAX_BYTES = 64_000_000
MAX_COLUMNS = 10_000


def read_table(
    path: str | PathLike[str],
    required: Sequence[str] = (),
    increasing: str | None = None,
    min_rows: int = 1,
    max_bytes: int = MAX_BYTES,
    gaps: Sequence[str] = (),
) -> dict[str, np.ndarray]:
    """Read a CSV file of numbers into named columns.

    Args:
        path: the file, UTF-8, ending in .csv
        required: names of columns that must be there
        increasing: name of a column (such as the time) that must grow from row to row
        min_rows: fewest rows that are accepted
        max_bytes: largest file that is read [bytes]
        gaps: names of columns in which values may be missing: an empty cell, or one that is not finite, becomes NaN

    Returns:
        One float64 array, shape [rows], for each column, in the order of the file, in the units of the file.

    Raises:
        InputError: the file, its header, or a value (named by line and column) cannot be used.
    """
    path = checked_path(path, {".csv"}, max_bytes)
    names, rows, lines = _read_rows(path)
    missing = [name for name in [*required, *([increasing] if increasing else [])] if name not in names]
    if missing:
        raise InputError(f"{path}: column {missing[0]!r} is missing; the file has {', '.join(names)}")
    if len(rows) < max(min_rows, 1):
        raise InputError(f"{path}: {len(rows)} rows of numbers; at least {max(min_rows, 1)} are needed")
    open_columns = [names.index(name) for name in gaps if name in names]
    values = _as_numbers(path, names, rows, lines, open_columns)
    columns = {name: np.ascontiguousarray(values[:, index]) for index, name in enumerate(names)}
    if increasing:
        _require_increasing(path, increasing, columns[increasing], lines)
    return columns


def _read_rows(path: Path) -> tuple[list[str], list[list[str]], list[int]]:
    """Header names, rows of cells, and the line that each row stands on."""
    rows, lines = [], []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            names = [name.strip() for name in next(reader, [])]
            _check_names(path, names)
            for row in reader:
                if not row:
                    continue
                if len(row) != len(names):
                    raise InputError(
                        f"{path}, line {reader.line_num}: {len(row)} cells; the header names {len(names)}; is the file cut off?"
                    )
                rows.append(row)
                lines.append(reader.line_num)
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a CSV file in UTF-8 ({error}); save it as comma-separated text") from error
    return names, rows, lines


def _check_names(path: Path, names: list[str]) -> None:
    if not names or not all(names):
        raise InputError(f"{path}, line 1: every column needs a name; the header must be a line of names separated by commas")
    if len(names) > MAX_COLUMNS:
        raise InputError(f"{path}, line 1: {len(names)} columns; at most {MAX_COLUMNS} are read")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"{path}, line 1: column {twice!r} stands there twice; names must differ")
    if all(_is_number(name) for name in names):
        raise InputError(f"{path}, line 1: numbers where the names of the columns should stand; add a header line")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _as_numbers(path: Path, names: list[str], rows: list[list[str]], lines: list[int], gaps: list[int]) -> np.ndarray:
    """Values [rows, columns], float64; refuses, by line and column, what is no finite number, except in the columns `gaps`."""
    for row in rows if gaps else ():
        for column in gaps:
            row[column] = row[column].strip() or "nan"
    try:
        values = np.array(rows, dtype=np.float64)
    except ValueError:
        row, column = next((i, j) for i, cells in enumerate(rows) for j, cell in enumerate(cells) if not _is_number(cell))
        raise InputError(f"{path}, line {lines[row]}, column {names[column]!r}: {rows[row][column]!r} is not a number") from None
    finite = np.isfinite(values)
    values[:, gaps] = np.where(finite[:, gaps], values[:, gaps], np.nan)
    finite[:, gaps] = True
    bad = np.argwhere(~finite)
    if len(bad):
        row, column = bad[0]
        raise InputError(
            f"{path}, line {lines[row]}, column {names[column]!r}: {values[row, column]} ({len(bad)} such values); "
            "every value must be finite: leave out the rows where a marker was lost"
        )
    return values


def _require_increasing(path: Path, name: str, column: np.ndarray, lines: list[int]) -> None:
    back = np.flatnonzero(np.diff(column) <= 0.0)
    if len(back):
        row = back[0] + 1
        raise InputError(
            f"{path}, line {lines[row]}, column {name!r}: {column[row]:g} follows {column[row - 1]:g}; it must grow from row to row"
        )
