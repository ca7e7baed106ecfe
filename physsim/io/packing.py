"""Nested values as what JSON takes and named arrays beside it, and back: dicts, lists, tuples, text, numbers, arrays; nothing that runs.

    packed({"a": np.zeros(3), "b": (1.0, math.inf)})
    -> ({"a": {"array": "a"}, "b": {"tuple": [1.0, {"number": "inf"}]}}, {"a": array})

An object that JSON shows has one of the keys array, tuple, number, dict and says so by it; everything else stands for itself.
"""

import math

import numpy as np

from physsim.errors import InputError

MAX_DEPTH = 20  # of values in values
_NUMBERS = {"inf": math.inf, "-inf": -math.inf, "nan": math.nan}


def packed(value: object) -> tuple[object, dict[str, np.ndarray]]:
    """(what JSON takes, arrays by name) of a nested value.

    Raises:
        InputError: something else than dicts with names, lists, tuples, text, numbers, None and arrays of numbers.
    """
    arrays = {}
    return _pack(value, "", arrays), arrays


def _pack(value, name, arrays):
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, np.bool_ | np.integer):
        return value.item()
    if isinstance(value, float | np.floating):
        number = float(value)
        return number if math.isfinite(number) else {"number": str(number)}
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in "fiub":
            raise InputError(f"{name or 'value'}: an array of {value.dtype}; only arrays of numbers are written")
        own = name or "value"
        while own in arrays:  # such as of {"a": {"b": ...}, "a/b": ...}
            own += "~"
        arrays[own] = value.astype(np.uint8) if value.dtype.kind == "b" else value
        return {"array": own} | ({"of": "bool"} if value.dtype.kind == "b" else {})
    if isinstance(value, list | tuple):
        rows = [_pack(part, f"{name}/{i}".lstrip("/"), arrays) for i, part in enumerate(value)]
        return rows if isinstance(value, list) else {"tuple": rows}
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {"dict": {key: _pack(part, f"{name}/{key}".lstrip("/"), arrays) for key, part in value.items()}}
    raise InputError(f"{name or 'value'}: {type(value).__name__} cannot be written; dicts, lists, text, numbers and arrays can")


def unpacked(where: str, facts: object, arrays: dict[str, np.ndarray]) -> object:
    """The value of `packed`; `where` is what errors call it.

    Raises:
        InputError: an object of no known kind, an array that is missing, values nested too deeply.
    """
    return _unpack(where, facts, arrays, MAX_DEPTH)


def _unpack(where, facts, arrays, depth):
    if depth < 0:
        raise InputError(f"{where}: values in values more than {MAX_DEPTH} deep; the file is damaged")
    if isinstance(facts, list):
        return [_unpack(where, part, arrays, depth - 1) for part in facts]
    if not isinstance(facts, dict):
        return facts
    if set(facts) in ({"array"}, {"array", "of"}):
        return _array(where, facts, arrays)
    if len(facts) != 1:
        raise InputError(f"{where}: {str(facts)[:80]} is no value that physsim writes; the file is damaged")
    (kind, inner), *_ = facts.items()
    if kind == "tuple" and isinstance(inner, list):
        return tuple(_unpack(where, part, arrays, depth - 1) for part in inner)
    if kind == "dict" and isinstance(inner, dict):
        return {key: _unpack(where, part, arrays, depth - 1) for key, part in inner.items()}
    if kind == "number" and isinstance(inner, str) and inner in _NUMBERS:
        return _NUMBERS[inner]
    raise InputError(f"{where}: {str(facts)[:80]} is no value that physsim writes; the file is damaged")


def _array(where, facts, arrays):
    name = facts["array"]
    if not isinstance(name, str) or name not in arrays:
        raise InputError(f"{where}: there is no array {str(name)[:80]!r} beside it; is the file of another asset?")
    if "of" in facts and facts["of"] != "bool":
        raise InputError(f"{where}: array {name!r} of {str(facts['of'])[:40]!r}; only of bool is known")
    return arrays[name].astype(bool) if "of" in facts else arrays[name]
