"""numpy's npy and npz of strangers: what a header declares is held against the bytes that are there before anything is allocated.

No pickle is ever loaded: arrays of objects are refused from their header.
"""

import math
import tokenize
import zipfile
import zlib
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import BinaryIO

import numpy as np

from physsim.errors import InputError
from physsim.io.files import checked_path

MAX_BYTES = 4 << 30  # that a file may hold or unpack to
MAX_ENTRIES = 10_000  # arrays of one npz
MAX_DIRECTORY = 4_000_000  # bytes of a zip's list of entries, which is held in memory whole
_TAIL = 65_557  # bytes that the end of a zip's list of entries lies within: its record and the longest comment
_HEADER_ERRORS = (ValueError, TypeError, SyntaxError, KeyError, IndexError, OverflowError, MemoryError, RecursionError, tokenize.TokenError)
_ZIP_ERRORS = (OSError, ValueError, zipfile.BadZipFile, zlib.error, EOFError, KeyError, NotImplementedError, RuntimeError, MemoryError)


@dataclass(frozen=True)
class ArrayHeader:
    """What an array says of itself: its type, its shape, whether its first index runs fastest, and where its data begin."""

    dtype: np.dtype
    shape: tuple[int, ...]
    fortran: bool
    start: int


def read_npy(path: str | PathLike[str], max_bytes: int = MAX_BYTES) -> np.ndarray:
    """The array of an npy file, whatever plain values it holds.

    Args:
        path: the file.
        max_bytes: largest file that is read [bytes].

    Raises:
        InputError: missing, of another kind, cut short, holding objects, too large.
    """
    path = checked_path(path, {".npy"}, max_bytes)
    try:
        with path.open("rb") as file:
            return _array(f"{path}: it cannot be read: the array", file, path.stat().st_size)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None


def npy_header(path: str | PathLike[str], max_bytes: int = MAX_BYTES) -> ArrayHeader:
    """Type and shape of an npy file's array, which is not read; arguments and errors as `read_npy`."""
    path = checked_path(path, {".npy"}, max_bytes)
    try:
        with path.open("rb") as file:
            return _checked_header(f"{path}: it cannot be read: the array", file, path.stat().st_size)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None


def npz_headers(path: str | PathLike[str], max_bytes: int = MAX_BYTES) -> dict[str, ArrayHeader]:
    """Types and shapes of an npz's arrays by name; nothing is unpacked but their headers.

    Args:
        path: the file, of any ending.
        max_bytes: that it may unpack to.

    Raises:
        InputError: missing, cut short, holding objects, unpacking to too much.
    """
    return _each(path, max_bytes, None, _checked_header)


def read_npz(path: str | PathLike[str], only: str | None = None, max_bytes: int = MAX_BYTES) -> dict[str, np.ndarray]:
    """Arrays of an npz by name, whatever plain values they hold.

    Args:
        path: the file, of any ending.
        only: name of the one that is read; None: all.
        max_bytes: that it may unpack to.

    Raises:
        InputError: missing, cut short, holding objects, unpacking to too much.
    """
    return _each(path, max_bytes, only, _array)


def _each(path, max_bytes, only, read) -> dict:
    """What `read(path, file, size)` gives for the entries of an npz, by name."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        _refuse_long_directory(path)
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            size = sum(entry.file_size for entry in entries)
            if size > max_bytes:
                raise InputError(f"{path}: unpacks to {size} bytes; at most {max_bytes} are allowed")
            found = {}
            for entry in entries:
                name = entry.filename.removesuffix(".npy")
                if only is not None and name != only:
                    continue
                if name in found:
                    raise InputError(f"{path}: holds {name[:80]!r} twice; write each array once")
                if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise InputError(f"{path}: {name[:80]!r} is packed in a way that numpy does not write; use numpy.savez")
                with archive.open(entry) as file:
                    found[name] = read(f"{path}: it cannot be read: {name[:80]!r}", file, entry.file_size)
            return found
    except InputError:
        raise
    except _ZIP_ERRORS as error:
        raise InputError(f"{path}: it cannot be read as npz of plain arrays ({error}); is it cut short or of another kind?") from None


def _refuse_long_directory(path: Path) -> None:
    """A zip's list of entries becomes Python objects before anybody can count them; its length stands at the end of the file."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - _TAIL - 20))
        tail = file.read()
    end = tail.rfind(b"PK\5\6")
    if end < 0 or len(tail) < end + 22:
        raise InputError(f"{path}: it cannot be read as npz of plain arrays (no end of a zip); is it cut short or of another kind?")
    entries, length = int.from_bytes(tail[end + 10 : end + 12], "little"), int.from_bytes(tail[end + 12 : end + 16], "little")
    if entries > MAX_ENTRIES or length > MAX_DIRECTORY or b"PK\6\7" in tail[max(0, end - 20) : end]:
        raise InputError(f"{path}: its list of entries is too long ({length} bytes); at most {MAX_ENTRIES} arrays are read from one file")


def _checked_header(where: str, file: BinaryIO, size: int) -> ArrayHeader:
    """The header of an array that takes `size` bytes in all, which must be those that it declares."""
    try:
        version = np.lib.format.read_magic(file)
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
        shape, fortran, dtype = read(file)
        start = file.tell()
    except zipfile.BadZipFile:
        raise
    except _HEADER_ERRORS as error:
        reason = " ".join(str(error).split())[:120]
        raise InputError(f"{where} is not as numpy.save writes it ({reason}); is it damaged or of another kind?") from None
    if dtype.hasobject:
        raise InputError(f"{where} holds Python objects (a pickle, which could run code); save plain arrays of numbers")
    count = math.prod(shape)
    if any(n < 0 for n in shape) or dtype.itemsize == 0 or count * dtype.itemsize != size - start:
        raise InputError(
            f"{where} declares shape {str(list(shape))[:80]} of {str(dtype)[:20]} and holds {size - start} bytes of data; "
            "is it cut short or damaged?"
        )
    return ArrayHeader(dtype, tuple(shape), bool(fortran), start)


def _array(where: str, file: BinaryIO, size: int) -> np.ndarray:
    header = _checked_header(where, file, size)
    content = file.read(size - header.start)
    if len(content) != size - header.start:
        raise InputError(f"{where} has {len(content)} bytes of data instead of {size - header.start}; is it cut short?")
    values = np.frombuffer(bytearray(content), header.dtype)  # a bytearray: what comes out may be written to
    return values.reshape(header.shape[::-1]).T if header.fortran else values.reshape(header.shape)
