"""Pickles that are data are read as Python and numpy read them; pickles that are programs are refused and never run."""

import collections
import io
import os
import pickle
import struct
import sys
import tracemalloc

import numpy as np
import pytest

from physsim.errors import InputError
from physsim.io.unpickle import read_pickle

PROTOCOLS = (2, 3, 4, 5)
protocols = pytest.mark.parametrize("protocol", PROTOCOLS)


def written(tmp_path, content):
    path = tmp_path / "held.pkl"
    path.write_bytes(content)
    return path


def read(tmp_path, content):
    return read_pickle(written(tmp_path, content))


def refused(tmp_path, content, *words):
    with pytest.raises(InputError) as error:
        read(tmp_path, content)
    for word in words:
        assert word in str(error.value), str(error.value)
    return str(error.value)


class Calls:
    """Pickles as a call of a function."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def same(a, b):
    if isinstance(b, np.ndarray):
        assert type(a) is np.ndarray and a.dtype == b.dtype and a.shape == b.shape and a.flags.writeable
        np.testing.assert_array_equal(a, b)
    elif isinstance(b, dict):
        assert type(a) is dict and list(a) == list(b)
        for key in b:
            same(a[key], b[key])
    elif isinstance(b, list | tuple):
        assert type(a) is type(b) and len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            same(x, y)
    else:
        assert type(a) is type(b) and (a == b or (a != a and b != b))


@protocols
def test_plain_data_comes_back_as_pickle_reads_it(tmp_path, protocol, rng):
    held = {
        "points": rng.normal(size=(4, 5, 3)),
        "colours": rng.random((4, 5, 3)).astype(np.float32),
        "seen": rng.random((4, 5)) > 0.5,
        "mm": rng.integers(0, 60000, (3, 2)).astype(np.uint16),
        "big endian": np.arange(6, dtype=">f8").astype(">f8").reshape(2, 3),
        "fortran": np.asfortranarray(rng.normal(size=(3, 4))),
        "empty": np.zeros((0, 3)),
        "names": np.array(["left", "right"]),
        "complex": np.array([1 + 2j]),
        "scalar": np.float64(0.25),
        "text": "grüße",
        "bytes": b"\x00\xff",
        3: [1, -(2**70), 2.5, None, True, (), (1,), (1, 2), (1, 2, 3, 4)],
        (1, "a"): {"deeper": [[np.arange(3)]]},
    }
    expected = dict(held)
    expected["big endian"] = held["big endian"].astype("=f8")
    same(read(tmp_path, pickle.dumps(held, protocol)), expected)


@protocols
def test_sets_complex_numbers_and_bytearrays_come_back(tmp_path, protocol):
    held = [{1, 2, 3}, frozenset("ab"), 1 - 2j, bytearray(b"abc"), {1, (2, "x")}]
    assert read(tmp_path, pickle.dumps(held, protocol)) == held


@protocols
def test_shared_objects_come_back_wherever_they_were(tmp_path, protocol):
    part = np.arange(4.0)
    a, b = read(tmp_path, pickle.dumps([part, part], protocol))
    np.testing.assert_array_equal(a, part)
    np.testing.assert_array_equal(b, part)


def test_arrays_of_numpy_1_are_read_under_its_name_for_them(tmp_path):
    content = pickle.dumps(np.arange(5.0), 2)
    old = content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    assert old != content
    np.testing.assert_array_equal(read(tmp_path, old), np.arange(5.0))


def test_pickles_of_python_2_hold_their_bytes_as_strings(tmp_path):
    data = np.array([1.5, -2.0]).tobytes()
    dtype = b"cnumpy\ndtype\nU\x02f8K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    content = b"\x80\x02" + array + b"(K\x01K\x02\x85" + dtype + b"\x89U" + bytes([len(data)]) + data + b"tb."
    np.testing.assert_array_equal(read(tmp_path, content), [1.5, -2.0])


@protocols
@pytest.mark.parametrize(
    ("held", "name"),
    [
        (Calls(os.system, "touch {marker}"), "system"),
        (Calls(eval, "open('{marker}', 'w')"), "eval"),
        (Calls(exec, "open('{marker}', 'w')"), "exec"),
        (Calls(getattr, "x", "upper"), "getattr"),
        (Calls(open, "{marker}", "w"), "open"),
        (Calls(np.load, "x.npy"), "load"),
        (Calls(np.fromfile, "/etc/hostname"), "fromfile"),
        (collections.OrderedDict(a=1), "OrderedDict"),
        (slice(1, 2), "slice"),
        (sys.getsizeof, "getsizeof"),
        (ValueError("x"), "ValueError"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_pickle_that_names_code_is_refused_and_nothing_runs(tmp_path, protocol, held, name):
    marker = tmp_path / "ran"
    if isinstance(held, Calls):
        function, arguments = held.call
        held = Calls(function, *(a.format(marker=marker) if isinstance(a, str) else a for a in arguments))
    refused(tmp_path, pickle.dumps({"points": held}, protocol), name, "code")
    assert not marker.exists()


@protocols
def test_arrays_of_objects_are_refused(tmp_path, protocol):
    refused(tmp_path, pickle.dumps(np.array([{"a": 1}, None], dtype=object), protocol), "objects")
    refused(tmp_path, pickle.dumps(np.zeros(2, dtype=[("x", "f8"), ("y", "O")]), protocol), "held.pkl")


@protocols
def test_subclasses_of_arrays_are_refused(tmp_path, protocol):
    refused(tmp_path, pickle.dumps(np.ma.array([1.0, 2.0], mask=[0, 1]), protocol), "held.pkl")


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"\x80\x04Pid\n.", "PERSID"),
        (b"\x80\x04K\x01Q.", "BINPERSID"),
        (b"\x80\x04(ios\nsystem\n.", "INST"),
        (b"\x80\x04(cos\nsystem\no.", "system"),
        (b"\x80\x04\x82\x01.", "EXT1"),
        (b"\x80\x04cnumpy\ndtype\n)\x81.", "NEWOBJ"),
        (b"\x80\x05\x97.", "NEXT_BUFFER"),
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x02id\x85R.", "os.system"),
        (b"\x80\x04cnumpy\ndtype\n.", "objects of their own"),
        (b"\x80\x04K\x01)R.", "calls int"),
        (b"\x80\x04]}b.", "state of list"),
        (b"\x80\x04cnumpy\nndarray\n)R.", "array type"),
        (b"(lp0\n.", "protocol"),
        (b"\x80\x01N.", "protocol 1"),
        (b"\x80\x09N.", "protocol 9"),
    ],
)
def test_every_other_way_out_of_plain_data_is_refused_by_name(tmp_path, content, word):
    refused(tmp_path, content, word)


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x04.",  # nothing on the stack
        b"\x80\x040.",  # takes from an empty stack
        b"\x80\x04N",  # no end
        b"\x80\x04NN.",  # two objects
        b"\x80\x04(.",  # a mark as the result
        b"\x80\x04h\x07.",  # a memo that was never filled
        b"\x80\x04K\x01K\x02a.",  # appends to a number
        b"\x80\x04}(K\x01u.",  # a key without a value
        b"\x80\x04}]K\x01s.",  # a list as a key
        b"\x80\x04(\x85.",  # a mark inside a tuple
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7fabc.",  # bytes that are not there
        b"\x80\x05\x96\x00\x00\x00\x00\x00\x01\x00\x00abc.",  # a bytearray of a terabyte
        b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7fN.\xff",  # bytes behind the end are not read, a frame longer than the file
        b"\x80\x04\xff.",
        b"\x00" * 64,
        b"not a pickle at all",
    ],
)
def test_damaged_pickles_end_in_an_input_error_or_in_what_they_hold(tmp_path, content):
    try:
        assert read(tmp_path, content) is None
    except InputError as error:
        assert "held.pkl" in str(error)


@protocols
def test_a_pickle_cut_off_anywhere_is_refused(tmp_path, protocol, rng):
    content = pickle.dumps({"points": rng.normal(size=(3, 3)), "names": ["a", "b"]}, protocol)
    for end in range(1, len(content)):
        refused(tmp_path, content[:end])


@protocols
def test_no_single_damaged_byte_gets_out_as_another_error(tmp_path, protocol, rng):
    content = bytearray(pickle.dumps({"points": rng.normal(size=(2, 3)), "seen": [True, 3, "x"]}, protocol))
    for at in range(len(content)):
        damaged = bytearray(content)
        damaged[at] ^= int(rng.integers(1, 256))
        try:
            read(tmp_path, bytes(damaged))
        except InputError:
            continue


def array_state(shape, data, dtype="f8"):
    """A pickle of an array with a state of our own."""
    file = io.BytesIO()
    pickler = pickle.Pickler(file, 4)
    pickler.dump(Shaped(shape, data, dtype))
    return file.getvalue()


class Shaped:
    def __init__(self, shape, data, dtype):
        self.state = (1, shape, np.dtype(dtype), False, data)

    def __reduce__(self):
        return np.zeros(0).__reduce__()[0], (np.ndarray, (0,), b"b"), self.state


@pytest.mark.parametrize("shape", [(10**12,), (2**40, 2**40), (3, -1), (2.0,), (True, 1), ("3",), [3], (1,) * 40])
def test_arrays_that_declare_other_than_they_hold_are_refused_before_anything_is_allocated(tmp_path, shape):
    content = array_state(shape, b"\0" * 8 if shape != (3, -1) else b"")
    path = written(tmp_path, content)
    tracemalloc.start()
    with pytest.raises(InputError):
        read_pickle(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1e6


def test_memo_bombs_are_refused_before_they_unfold(tmp_path):
    # each list holds the last one twice and takes its place: [ [a, a], [a, a] ], 60 times over
    doubled = b"\x80\x04]q\x00" + b"".join(b"0](h%ch%ceq%c" % (i, i, i + 1) for i in range(60)) + b"."
    refused(tmp_path, doubled, "shared ones counted each time")
    tuples = b"\x80\x04)" + b"2\x86" * 60 + b"."
    refused(tmp_path, tuples, "shared ones counted each time")
    key = b"\x80\x04})" + b"2\x86" * 60 + b"Ns."  # its hash would take 2^60 steps
    refused(tmp_path, key, "key")


def test_a_copy_of_a_copy_of_a_long_string_is_refused_before_memory_runs_out(tmp_path):
    size = 1_000_000
    text = b"\x80\x04X" + struct.pack("<I", size) + b"a" * size + b"q\x00(" + b"c_codecs\nencode\nh\x00\x8c\x06latin1\x86R" * 400 + b"t."
    refused(tmp_path, text, "over and over")
    raw = b"\x80\x04B" + struct.pack("<I", size) + b"a" * size + b"q\x00(" + b"cbuiltins\nbytearray\nh\x00\x85R" * 400 + b"t."
    refused(tmp_path, raw, "over and over")


def test_an_array_shared_a_thousand_times_counts_a_thousand_times(tmp_path):
    path = written(tmp_path, pickle.dumps([np.zeros(1000)] * 1000, 4))
    with pytest.raises(InputError, match="shared ones counted"):
        read_pickle(path, max_bytes=1_000_000)


def test_deep_nesting_and_cycles_are_refused(tmp_path):
    refused(tmp_path, b"\x80\x04" + b"]" * 100_000 + b"a" * 99_999 + b".", "levels")
    cycle = []
    cycle.append(cycle)
    refused(tmp_path, pickle.dumps(cycle, 4), "levels")


def test_a_wide_memo_index_allocates_nothing(tmp_path):
    assert read(tmp_path, b"\x80\x04Nr\xff\xff\xff\xff.") is None


def test_dicts_with_very_many_keys_are_refused(tmp_path):
    refused(tmp_path, pickle.dumps(dict.fromkeys(range(20_000)), 4), "keys")
    refused(tmp_path, pickle.dumps(set(range(20_000)), 4), "set of more")


def test_files_that_are_no_pickles_by_name_or_size_are_refused(tmp_path):
    path = tmp_path / "held.txt"
    path.write_bytes(pickle.dumps(1, 4))
    with pytest.raises(InputError, match="ending"):
        read_pickle(path)
    with pytest.raises(InputError, match="no such file"):
        read_pickle(tmp_path / "other.pkl")
    with pytest.raises(InputError, match="at most 10 are read"):
        read_pickle(written(tmp_path, pickle.dumps(np.zeros(10), 4)), max_bytes=10)
