"""Entries of a capture.json: numbers, lists and keys, each read on its own, so that one that is wrong hides no other."""

import difflib
import math
import reprlib
from dataclasses import fields

import numpy as np

from physsim.capture import layout
from physsim.capture.capture import Known
from physsim.capture.problems import MOST_OF_A_KIND, Problems

FILE = layout.MARKER
KEYS = {
    "capture": (
        "format",
        "version",
        "units",
        "name",
        "source",
        "kind",
        "gravity",
        "times",
        "cameras",
        "known",
        "fit",
        "test",
        "noise",
        "handles",
        "robot",
        "mesh",
        "missing",
    ),
    "times": ["start", "rate", "count"],
    "camera": ["width", "height", "fx", "fy", "cx", "cy", "distortion", "rotation", "translation", "near", "focus"],
    "known": [f.name for f in fields(Known)],
    "ground": ["point", "normal"],
    "handle": ["radius", "places"],
    "robot": ["urdf", "joints", "links", "base"],
    "base": ["position", "quaternion"],
    "link": ["link", "point", "opening"],
    "mesh": ["file", "kind", "closed", "arm", "grips", "framed"],
}


def known_keys(told: dict, kind: str, where: str, problems: Problems) -> None:
    """Warn of keys that are not known, with the nearest one that is."""
    known = KEYS[kind]
    for number, key in enumerate(key for key in told if key not in known):
        near = difflib.get_close_matches(key.lower()[:80], known, 1, 0.6) if number < MOST_OF_A_KIND else ()
        what = f"unknown key {short(where + '.' * bool(where) + key)}, it is not read"
        remedy = f'did you mean "{near[0]}"?' if near else f"known are {', '.join(known)}"
        problems.warning(FILE, what, remedy, kind=(FILE, "of unknown keys"))


def number(told, key, where, problems, lower=-math.inf, upper=math.inf, open_=False, needed=False):
    """A finite number of an object, or None and a problem; `open_` leaves out the bounds themselves."""
    if told.get(key) is None and not needed:
        return None
    value = plain_number(told.get(key))
    if value is None:
        shown = "missing" if key not in told else short(told[key])
        problems.error(FILE, f"{where}{key} is {shown}", "a finite number is needed")
    elif not (lower < value < upper if open_ else lower <= value <= upper):
        low, high = ("(", ")") if open_ else ("[", "]")
        problems.error(FILE, f"{where}{key} = {value:g}", f"it must lie in {low}{lower:g}, {upper:g}{high}")
    else:
        return value
    return None


def plain_number(value: object) -> float | None:
    """A finite number as float; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        value = float(value)
    except OverflowError:
        return None
    return value if math.isfinite(value) else None


def whole_number(value: object) -> int | None:
    """A whole number as int, also where a program wrote 640.0; None for anything else."""
    value = value if isinstance(value, int) and not isinstance(value, bool) else plain_number(value)
    return int(value) if value is not None and value == int(value) else None


def vector(told, key, where, problems, shape, needed=True):
    """Finite numbers of an object as an array of a shape (None: any length), or None and a problem."""
    if told.get(key) is None and not needed:
        return None
    value = _numbers(told.get(key), len(shape))
    if value is None or any(n is not None and n != m for n, m in zip(shape, value.shape)):
        shown = "missing" if key not in told else short(told[key])
        wanted = " x ".join("any" if n is None else str(n) for n in shape)
        problems.error(FILE, f"{where}{key} is {shown}", f"a list of {wanted} finite numbers is needed")
        return None
    return value


def _numbers(value, depth):
    """Nested lists of finite numbers as an array of so many axes, or None."""
    if not isinstance(value, list) or len(value) > layout.MAX_FRAMES:
        return None
    rows = [plain_number(v) for v in value] if depth == 1 else [_numbers(v, depth - 1) for v in value]
    if any(row is None for row in rows) or (depth > 1 and len({row.shape for row in rows}) > 1):
        return None
    return np.array(rows, dtype=float).reshape(len(rows), *(() if depth == 1 else rows[0].shape if rows else (0,) * (depth - 1)))


def short(value: object) -> str:
    """A value as a message shows it; lists and objects of any depth are cut off."""
    text = _SHORT.repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxlong = 3, 70, 40
