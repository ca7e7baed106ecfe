"""What every reader checks before it opens a file: that it is one, of a known kind, neither empty nor too large."""

import json
from collections.abc import Collection
from os import PathLike
from pathlib import Path

from physsim.errors import InputError


def checked_path(path: str | PathLike[str], suffixes: Collection[str], max_bytes: int) -> Path:
    """Path of a file that may be read.

    Args:
        path: the file
        suffixes: endings that are allowed, in lower case and with their dot
        max_bytes: largest size that is allowed [bytes]

    Returns:
        The same path.

    Raises:
        InputError: there is no such regular file, its ending is not among `suffixes`, or it is empty or too large.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file (folders, pipes and devices are not read)")
    if path.suffix.lower() not in suffixes:
        raise InputError(f"{path}: ending {path.suffix!r} is not read here; convert it to one of {', '.join(sorted(suffixes))}")
    size = path.stat().st_size
    if size == 0:
        raise InputError(f"{path}: the file is empty")
    if size > max_bytes:
        raise InputError(f"{path}: {size} bytes; at most {max_bytes} are read; make it smaller, or raise max_bytes")
    return path


def read_json(path: str | PathLike[str], max_bytes: int) -> object:
    """What a JSON file says.

    Args:
        path: the file.
        max_bytes: largest size that is allowed [bytes].

    Raises:
        InputError: what `checked_path` refuses, or not JSON.
    """
    path = checked_path(path, {".json"}, max_bytes)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not JSON ({str(error)[:200]}); repair it, or write it anew") from None
