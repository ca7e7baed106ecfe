"""Named arrays in numpy's npz, written by physsim and read back with checks; never a pickle."""

import os

import numpy as np

from physsim.errors import InputError
from physsim.io.npy import read_npz


def save_arrays(path, kind, arrays):
    """Write named arrays with a tag that says what they are.

    Args:
        path: file to write; replaced whole, so that a kill leaves the old one or the new one.
        kind: a word that `load_arrays` asks for again.
        arrays: dict name -> array of numbers.

    Raises:
        InputError: no path, or one that cannot be written.
    """
    temporary = f"{_checked_path(path)}.partial"
    try:
        with open(temporary, "wb") as file:
            np.savez(file, **{"physsim kind": np.array(kind)}, **arrays)
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); its folder must be there and be writable") from None


def _checked_path(path):
    if not isinstance(path, (str, os.PathLike)):
        raise InputError(f"path: the name of a file is needed, {type(path).__name__} was given")
    return os.fspath(path)


def load_arrays(path, kind):
    """Read what `save_arrays` wrote.

    Returns:
        dict name -> array.

    Raises:
        InputError: missing, truncated, of another kind, holding objects, too large, or not finite.
    """
    data = read_npz(_checked_path(path))
    found = str(data.pop("physsim kind", "nothing that physsim knows"))
    if found != kind:
        raise InputError(f"{path}: holds {found!r}, a file of kind {kind!r} is needed")
    for name, value in data.items():
        _check_numbers(path, name, value)
    return data


def arrays_under(arrays, prefix):
    """Those arrays whose names begin with a prefix, by the rest of their names."""
    return {name[len(prefix) :]: value for name, value in arrays.items() if name.startswith(prefix)}


def load_foreign_array(path, name):
    """Read one array of numbers from an npz that anybody may have written.

    Raises:
        InputError: missing, truncated, without the array, holding objects, too large, or not finite.
    """
    data = read_npz(_checked_path(path), only=name)
    if name not in data:
        raise InputError(f"{path}: it holds no array {name!r}; write it with numpy.savez(file, {name}=...)")
    _check_numbers(path, name, data[name])
    return data[name]


def _check_numbers(path, name, value):
    if not isinstance(value, np.ndarray) or not np.issubdtype(value.dtype, np.number) or not np.isfinite(value).all():
        raise InputError(f"{path}: {name!r} holds NaN, infinite values or no numbers")
