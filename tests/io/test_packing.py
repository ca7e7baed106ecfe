"""Nested values go into JSON and arrays and come back; what physsim never writes is refused."""

import json
import math

import numpy as np
import pytest

from physsim.errors import InputError
from physsim.io.packing import packed, unpacked


def there_and_back(value):
    told, arrays = packed(value)
    return unpacked("it", json.loads(json.dumps(told, allow_nan=False)), arrays)


def same(a, b):
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and a.dtype == b.dtype and np.array_equal(a, b)
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b or (isinstance(a, float) and math.isnan(a) and math.isnan(b))


def test_nested_values_come_back_as_they_went():
    value = {
        "numbers": (1, 2.5, -math.inf, math.nan, True, None),
        "array": {"array": np.arange(6.0).reshape(2, 3), "tuple": [np.zeros(0), "dict"]},
        "flags": np.array([True, False]),
        "": [[], {}, ()],
        "a/b": np.arange(3, dtype=np.int32),
        "a": {"b": "text", "number": 3},
    }
    assert same(there_and_back(value), value)


def test_numbers_of_numpy_become_plain_ones():
    assert same(there_and_back([np.float64(0.1), np.int64(3), np.bool_(True)]), [0.1, 3, True])


@pytest.mark.parametrize("value", [{1: 2}, {"a": object()}, {"a": np.array(["x"])}, [1j], b"bytes", np.array([None])])
def test_what_is_no_value_of_that_kind_is_refused(value):
    with pytest.raises(InputError):
        packed(value)


def test_two_arrays_never_share_a_name():
    a, b = np.zeros(2), np.ones(2)
    for value in ({"a": {"b": a}, "a/b": b}, {"0": [a], "": {"0/0": b}}, {"value": a, "": b}):
        assert same(there_and_back(value), value)


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"array": "x"},
        {"array": 3},
        {"array": "a", "of": "object"},
        {"number": "1e5"},
        {"number": 3},
        {"tuple": {}},
        {"dict": []},
        {"eval": "1"},
        {"dict": {"a": {}}},
        {"tuple": [], "dict": {}},
    ],
)
def test_damaged_values_are_refused(told):
    with pytest.raises(InputError, match="it: "):
        unpacked("it", told, {"a": np.zeros(2)})


def test_values_nested_without_end_are_refused():
    deep = []
    for _ in range(1000):
        deep = [deep]
    with pytest.raises(InputError, match="deep"):
        unpacked("it", deep, {})
