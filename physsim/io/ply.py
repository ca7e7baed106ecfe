"""Points of PLY files: every number that a `vertex` carries, by name, in numpy alone.

Text and binary, of either byte order. What the header declares is held against the length of the file before anything is allocated.
"""

import warnings
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np

from physsim.errors import InputError
from physsim.io.files import checked_path

MAX_BYTES = 4_000_000_000
MAX_TEXT_BYTES = 256_000_000
MAX_HEADER_BYTES = 65_536
MAX_POINTS = 20_000_000

_TYPES = {"char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4", "float": "f4", "double": "f8"}
_TYPES |= {f"{kind}{8 * int(code[1])}": code for kind, codes in (("int", "i1 i2 i4"), ("uint", "u1 u2 u4")) for code in codes.split()}
_TYPES |= {"float32": "f4", "float64": "f8"}
_ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}


@dataclass
class _Element:
    name: str
    count: int
    fields: list  # (name, numpy type)
    lists: bool = False


def read_positions(path: str | PathLike[str], max_bytes: int = MAX_BYTES) -> np.ndarray:
    """Places of the points of a PLY file, in the file's unit, shape [points, 3], of its type; arguments and errors as `read_vertices`.

    Raises:
        InputError: besides, points without x, y and z.
    """
    columns = read_vertices(path, max_bytes)
    if not all(axis in columns for axis in "xyz"):
        raise InputError(f"{path}: its vertices have no x, y, z; write those")
    return np.stack([columns[axis] for axis in "xyz"], axis=1)


def read_vertices(path: str | PathLike[str], max_bytes: int = MAX_BYTES) -> dict[str, np.ndarray]:
    """Properties of the points of a PLY file.

    Args:
        path: the file; other elements behind the points, such as faces, are left out.
        max_bytes: largest file that is read [bytes].

    Returns:
        One array, shape [points], a property, in the order and the type of the file.

    Raises:
        InputError: no PLY, cut off, counts that do not fit its length, lists among or before the points, no points.
    """
    path = checked_path(path, {".ply"}, max_bytes)
    order, elements, start = _header(path)
    names = [element.name for element in elements]
    if "vertex" not in names:
        raise InputError(f"{path}: declares no vertices (it has {', '.join(names) or 'nothing'}); points are needed")
    before = elements[: names.index("vertex") + 1]
    vertex = before[-1]
    if any(element.lists for element in before):
        raise InputError(f"{path}: has list properties in or before its vertices, which are not read; save it with the points first")
    if not 0 < vertex.count <= MAX_POINTS:
        raise InputError(f"{path}: declares {vertex.count} points; 1 to {MAX_POINTS} are read")
    open_end = any(element.lists for element in elements)  # lists behind the points: how long they are is their reader's affair
    if not open_end:
        before = elements
    read = _text if order == "" else _binary
    table = read(path, start, order, before, names.index("vertex"), open_end)
    return {name: np.ascontiguousarray(table[name]).astype(np.dtype(code)) for name, code in vertex.fields}


def write_vertices(path: str | PathLike[str], columns: dict[str, np.ndarray], binary: bool = True) -> None:
    """Write points with named properties.

    Args:
        path: file to write; replaced whole, so that a kill leaves the old one or the new one.
        columns: property -> values, shape [points]; of 8 to 32 bits whole, or float32 or float64.
        binary: little endian; False: text, with digits enough to come back the same.

    Raises:
        InputError: a path that cannot be written.
    """
    names = {code: name for name, code in reversed(_TYPES.items())}
    table = np.empty(len(next(iter(columns.values()))), dtype=[(name, "<" + value.dtype.str[1:]) for name, value in columns.items()])
    for name, value in columns.items():
        table[name] = value
    lines = ["ply", f"format {'binary_little_endian' if binary else 'ascii'} 1.0", f"element vertex {len(table)}"]
    lines += [f"property {names[value.dtype.str[1:]]} {name}" for name, value in columns.items()]
    if binary:
        body = table.tobytes()
    else:
        body = "".join(" ".join(map(str, row)) + "\n" for row in table.tolist()).encode()
    content = "\n".join([*lines, "end_header\n"]).encode() + body
    path = Path(path)
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); its folder must be there and be writable") from None


def _header(path: Path) -> tuple[str, list[_Element], int]:
    """(byte order, elements, where the data begin)."""
    with path.open("rb") as file:
        content = file.read(MAX_HEADER_BYTES)
    if content[:4] not in (b"ply\n", b"ply\r"):
        raise InputError(f"{path}: does not begin with `ply`; is it of another kind?")
    end = content.find(b"\nend_header")
    if end < 0:
        raise InputError(f"{path}: no end_header within {MAX_HEADER_BYTES} bytes; is it cut off, or full of comments?")
    stop = content.find(b"\n", end + 1)
    if content[end + 1 : stop].strip() != b"end_header" or stop < 0:
        raise InputError(f"{path}: end_header is not a line of its own; is the file damaged?")
    order, elements = None, []
    for number, line in enumerate(content[:end].decode("latin-1").splitlines()[1:], start=2):
        words = line.split()
        if not words or words[0] in ("comment", "obj_info"):
            continue
        try:
            if words[0] == "format" and order is None:
                order = _ORDERS[words[1]]
            elif words[0] == "element":
                elements.append(_Element(words[1], int(words[2]), []))
            elif words[0] == "property" and words[1] == "list":
                elements[-1].lists = True
            elif words[0] == "property":
                elements[-1].fields.append((words[2], _TYPES[words[1]]))
            else:
                raise KeyError
        except (KeyError, IndexError, ValueError):
            raise InputError(f"{path}: line {number} of its header, {line[:80]!r}, is not one of PLY") from None
    if order is None:
        raise InputError(f"{path}: its header names no format; ascii, binary_little_endian or binary_big_endian is needed")
    for element in elements:
        properties = [name for name, _ in element.fields]
        if element.count < 0 or len(set(properties)) < len(properties) or not (properties or element.lists):
            raise InputError(f"{path}: element {element.name[:40]!r} has a negative count, a property twice or none; is the file damaged?")
    return order, elements, stop + 1


def _binary(path: Path, start: int, order: str, elements: list, which: int, open_end: bool) -> np.ndarray:
    sizes = [element.count * np.dtype([(n, order + c) for n, c in element.fields]).itemsize for element in elements]
    held = path.stat().st_size - start
    if sum(sizes) > held or (sum(sizes) < held and not open_end):
        raise InputError(f"{path}: declares {sum(sizes)} bytes of data and holds {held}; is it cut off or damaged?")
    kind = np.dtype([(n, order + c) for n, c in elements[which].fields])
    return np.fromfile(path, kind, count=elements[which].count, offset=start + sum(sizes[:which]))


def _text(path: Path, start: int, order: str, elements: list, which: int, open_end: bool) -> dict:
    held = path.stat().st_size - start
    widths = [element.count * len(element.fields) for element in elements]
    if held > MAX_TEXT_BYTES:
        raise InputError(f"{path}: {held} bytes of text; at most {MAX_TEXT_BYTES} are read; save it as binary")
    if 2 * sum(widths) > held + 1:  # every number takes a digit and a space
        raise InputError(f"{path}: declares {sum(widths)} numbers in {held} bytes; is it cut off?")
    text = path.read_bytes()[start:]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            numbers = np.fromstring(text, sep=" ", count=sum(widths) if open_end else -1)
    except (ValueError, DeprecationWarning):
        raise InputError(f"{path}: something among its numbers is none; is the file damaged?") from None
    if len(numbers) != sum(widths):
        raise InputError(f"{path}: declares {sum(widths)} numbers and holds {len(numbers)}; is it cut off or damaged?")
    own = numbers[sum(widths[:which]) : sum(widths[: which + 1])].reshape(elements[which].count, -1)
    for (name, code), values in zip(elements[which].fields, own.T, strict=True):
        if code[0] != "f" and not np.all((values == np.rint(values)) & (values >= np.iinfo(code).min) & (values <= np.iinfo(code).max)):
            raise InputError(f"{path}: property {name!r} holds numbers that its type does not; is the file damaged?")
    return {name: values for (name, _), values in zip(elements[which].fields, own.T, strict=True)}
