"""Weights come from files of three kinds, and nothing in a file is run or believed."""

import json
import pickle
import struct
import zipfile

import numpy as np
import pytest
import torch

from physsim.errors import InputError
from physsim.io.weights import read_weights

ARRAYS = {"a.weight": np.random.default_rng(1).normal(size=(3, 2, 1)).astype(np.float32), "b": np.arange(4, dtype=np.float64)}


def safetensors(path, arrays, **changes):
    """The format by its published description: length of the table, table, numbers."""
    names, table, data = {"f4": "F32", "f8": "F64"}, {"__metadata__": {"format": "np"}}, b""
    for name, array in arrays.items():
        table[name] = {
            "dtype": names[array.dtype.str[1:]],
            "shape": list(array.shape),
            "data_offsets": [len(data), len(data) + array.nbytes],
        }
        table[name].update(changes)
        data += array.tobytes()
    head = json.dumps(table).encode()
    path.write_bytes(struct.pack("<Q", len(head)) + head + data)


def same(found):
    assert set(found) == set(ARRAYS)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array)


def test_arrays_come_back_from_every_kind_of_file(tmp_path):
    np.savez(tmp_path / "w.npz", **ARRAYS)
    same(read_weights(tmp_path / "w.npz"))
    safetensors(tmp_path / "w.safetensors", ARRAYS)
    same(read_weights(tmp_path / "w.safetensors"))
    tensors = {name: torch.tensor(array) for name, array in ARRAYS.items()}
    torch.save(tensors, tmp_path / "w.pth")
    same(read_weights(tmp_path / "w.pth"))
    torch.save({"state_dict": tensors, "epoch": 3}, tmp_path / "w.pt")
    same(read_weights(tmp_path / "w.pt"))


class Trap:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


def test_a_pickle_is_not_run(tmp_path):
    trap = str(tmp_path / "sprung")
    (tmp_path / "w.pth").write_bytes(pickle.dumps(Trap(trap)))
    np.savez(tmp_path / "w.npz", a=np.array([Trap(trap)], dtype=object))
    torch.save({"a": Trap(trap)}, tmp_path / "z.pt")
    for name in ("w.pth", "w.npz", "z.pt"):
        with pytest.raises(InputError, match="cannot be read"):
            read_weights(tmp_path / name)
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"data_offsets": [0, 10**9]}, "outside the file"),
        ({"data_offsets": [-4, 20]}, "outside the file"),
        ({"shape": [2**40, 2**40]}, "do not fit"),
        ({"dtype": "BF16"}, "convert it"),
        ({"dtype": None}, "convert it"),
        ({"shape": 3}, "cannot be read"),
    ],
)
def test_a_safetensors_table_that_lies_is_refused(tmp_path, changes, said):
    safetensors(tmp_path / "w.safetensors", ARRAYS, **changes)
    with pytest.raises(InputError, match=said):
        read_weights(tmp_path / "w.safetensors")


def test_files_that_hold_no_weights_are_refused(tmp_path):
    path = tmp_path / "w.safetensors"
    for content, said in (
        (struct.pack("<Q", 2**60) + b"{}", "its table"),
        (b"abc", "cannot be read"),
        (struct.pack("<Q", 2) + b"{}", "no array"),
    ):
        path.write_bytes(content)
        with pytest.raises(InputError, match=said):
            read_weights(path)
    torch.save([torch.zeros(3)], tmp_path / "list.pth")
    with pytest.raises(InputError, match="state dictionary"):
        read_weights(tmp_path / "list.pth")
    (tmp_path / "w.bin").write_bytes(b"x")
    with pytest.raises(InputError, match="ending"):
        read_weights(tmp_path / "w.bin")
    with pytest.raises(InputError, match="no such file"):
        read_weights(tmp_path / "none.npz")


def test_a_file_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("physsim.io.weights.MAX_BYTES", 10_000)
    with zipfile.ZipFile(tmp_path / "w.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", b"\0" * 10_000_000)
    with pytest.raises(InputError, match="unpacks"):
        read_weights(tmp_path / "w.npz")
