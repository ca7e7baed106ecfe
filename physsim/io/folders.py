"""Folders that are written whole or not at all, and files that are read from them."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path

from physsim.errors import InputError
from physsim.io.files import read_json

MAX_JSON = 16_000_000  # bytes
UNITS = {"length": "m", "time": "s", "mass": "kg"}  # of every number in a folder


@contextmanager
def replaced_folder(path: str | PathLike[str], marker: str) -> Iterator[Path]:
    """A fresh folder to write into; it takes the place of `path` at the end, so that a kill leaves the old one or the new one.

    Args:
        path: folder to write; an old one is replaced if it holds `marker` or nothing.
        marker: name of the file by which a folder of this kind is known.

    Raises:
        InputError: no path, something else is there, or it cannot be written.
    """
    if not isinstance(path, str | os.PathLike):
        raise InputError(f"path: the name of a folder is needed, {type(path).__name__} was given")
    path = Path(path).absolute()
    if path.exists() and not path.is_dir():
        raise InputError(f"{path}: it exists and is no folder; give another name")
    if path.is_dir() and any(path.iterdir()) and not (path / marker).is_file():
        raise InputError(f"{path}: the folder holds something else (no {marker}); give another name")
    try:
        aside = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); the folder that it is in must be there and be writable") from None
    try:
        fresh, old = aside / "new", aside / "old"
        fresh.mkdir()  # with the permissions that any new folder has, unlike the one around it
        yield fresh
        if path.exists():
            os.replace(path, old)
        try:
            os.replace(fresh, path)
        except OSError:
            if old.exists():
                os.replace(old, path)
            raise
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from None
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def file_of(folder: Path, name: str) -> Path:
    """A file that belongs to a folder.

    Raises:
        InputError: it is missing, or a link that leaves the folder.
    """
    file = folder / name
    if not file.is_file():
        raise InputError(f"{folder}: {name} is missing")
    if not file.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"{file}: is a link that leaves the folder; copy the file into it")
    return file


def read_facts(folder: str | PathLike[str], name: str, kind: str, version: int) -> dict:
    """What the JSON file `name` of a folder says.

    Args:
        folder: that holds it.
        name: of the file.
        kind: that its "format" must be.
        version: that its "version" must be.

    Raises:
        InputError: no folder, no such file, not JSON, of another format, version or other units.
    """
    if not isinstance(folder, str | os.PathLike):
        raise InputError(f"path: the name of a folder is needed, {type(folder).__name__} was given")
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder")
    file = file_of(folder, name)
    facts = read_json(file, MAX_JSON)
    if not isinstance(facts, dict) or facts.get("format") != kind:
        raise InputError(f"{file}: it is not of format {kind!r}")
    if facts.get("version") != version:
        raise InputError(f"{file}: version {repr(facts.get('version'))[:20]}; this physsim reads version {version}")
    if facts.get("units") != UNITS:
        raise InputError(f"{file}: units {str(facts.get('units'))[:80]}; {UNITS} are needed")
    return facts
