"""Arrays of strangers: what numpy writes is read as it is, and what lies about itself is refused before anything is allocated."""

import io
import pickle
import struct
import tracemalloc
import zipfile

import numpy as np
import pytest

from physsim.errors import InputError
from physsim.io.npy import npy_header, npz_headers, read_npy, read_npz


@pytest.mark.parametrize(
    "value",
    [
        np.arange(12.0).reshape(3, 4),
        np.asfortranarray(np.arange(24, dtype=">i2").reshape(2, 3, 4)),
        np.array(3.5),
        np.zeros((0, 3)),
        np.array([True, False]),
        np.array("a word"),
        np.zeros(2, [("a", "<i4"), ("b", "<f8", (2,))]),
    ],
    ids=["rows", "columns first", "scalar", "empty", "bool", "text", "records"],
)
def test_what_numpy_writes_is_read_as_it_is(tmp_path, value):
    np.save(tmp_path / "a.npy", value)
    np.savez_compressed(tmp_path / "a.npz", a=value, b=value)
    for back in (read_npy(tmp_path / "a.npy"), read_npz(tmp_path / "a.npz")["b"], read_npz(tmp_path / "a.npz", only="a")["a"]):
        assert (back.dtype, back.shape) == (value.dtype, value.shape)
        np.testing.assert_array_equal(back, value)
        assert back.flags.writeable
    for header in (npy_header(tmp_path / "a.npy"), npz_headers(tmp_path / "a.npz")["a"]):
        assert (header.dtype, header.shape) == (value.dtype, value.shape)


def npy(shape, descr="<f8", data=b"", version=1):
    header = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}}}".encode()
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H", len(header) + 1) + header + b"\n" + data


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"no array at all", "not as numpy.save writes it"),
        (npy("(10**15,)"), "not as numpy.save"),
        (npy((10**15, 3)), "declares shape"),
        (npy((2**62, 4)), "declares shape"),
        (npy((-1,)), "declares shape|not as numpy"),
        (npy((2, 2), data=bytes(31)), "holds 31 bytes"),
        (npy((2, 2), data=bytes(33)), "holds 33 bytes"),
        (npy((3,), "|O", b"\x80\x04N."), "pickle"),
        (npy((10**18,), "<U0"), "declares shape"),
        (npy((3,), [("a", "|O")]), "pickle"),
        (npy((3,), version=9), "not as numpy"),
        (b"\x93NUMPY\1\0" + struct.pack("<H", 6000) + b"[" * 6000, "not as numpy"),
        (b"\x93NUMPY\1\0" + struct.pack("<H", 100) + b"{'descr': (lambda: 1)()" + b" " * 77, "not as numpy"),
    ],
)
def test_headers_that_lie_are_refused(tmp_path, content, said):
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(InputError, match=rf"a\.npy.*({said})"):
        read_npy(tmp_path / "a.npy")
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("x.npy", content)
    with pytest.raises(InputError, match=rf"a\.npz.*({said if content else 'not as numpy'})"):
        read_npz(tmp_path / "a.npz")


def test_a_zip_bomb_and_a_long_list_of_entries_take_no_memory(tmp_path):
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("x.npy", npy((25_000_000,), data=bytes(200_000_000)))
    with zipfile.ZipFile(tmp_path / "many.npz", "w") as archive:
        for i in range(10_001):
            archive.writestr(f"{i}.npy", b"")
    tracemalloc.start()
    with pytest.raises(InputError, match="unpacks to 200000"):
        read_npz(tmp_path / "bomb.npz", max_bytes=100_000_000)
    assert npz_headers(tmp_path / "bomb.npz")["x"].shape == (25_000_000,)
    with pytest.raises(InputError, match="list of entries is too long"):
        read_npz(tmp_path / "many.npz")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3_000_000


def test_entries_that_claim_less_than_they_unpack_to_stay_within_their_claim(tmp_path):
    content = npy((4,), data=bytes(32))
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", content + bytes(10_000_000))
    raw = bytearray((tmp_path / "a.npz").read_bytes())
    claimed = struct.pack("<I", len(content) + 10_000_000)
    assert raw.count(claimed) == 2  # in the entry and in the list of entries
    (tmp_path / "a.npz").write_bytes(raw.replace(claimed, struct.pack("<I", len(content))))
    with pytest.raises(InputError, match=r"a\.npz: it cannot be read"):
        read_npz(tmp_path / "a.npz")


def test_twice_the_same_name_other_packings_and_pickles_in_a_zip_are_refused(tmp_path):
    one = io.BytesIO()
    np.save(one, np.zeros(3))
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(tmp_path / "twice.npz", "w") as archive:
        archive.writestr("x.npy", one.getvalue())
        archive.writestr("x.npy", one.getvalue())
    with pytest.raises(InputError, match="holds 'x' twice"):
        read_npz(tmp_path / "twice.npz")
    with zipfile.ZipFile(tmp_path / "packed.npz", "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("x.npy", one.getvalue())
    with pytest.raises(InputError, match="numpy does not write"):
        read_npz(tmp_path / "packed.npz")
    with zipfile.ZipFile(tmp_path / "pickle.npz", "w") as archive:
        archive.writestr("x", pickle.dumps([1]))
    with pytest.raises(InputError, match="not as numpy"):
        read_npz(tmp_path / "pickle.npz")
