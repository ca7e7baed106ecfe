"""Named arrays of trained networks from files that others wrote: numpy's npz, safetensors, or PyTorch's state dictionaries.

Nothing in a file is run: npz is read without pickles, safetensors is a table and numbers, and PyTorch reads with `weights_only`.
"""

import json
import struct
from functools import partial
from os import PathLike
from pathlib import Path

import numpy as np

from physsim.errors import InputError
from physsim.io.files import checked_path
from physsim.io.npy import read_npz

MAX_BYTES = 1 << 30  # of a file, and of what it unpacks to
_HEADER_BYTES = 16 << 20  # of a safetensors table
_KINDS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1", "U8": "u1", "BOOL": "?"}


def read_weights(path: str | PathLike[str]) -> dict[str, np.ndarray]:
    """Arrays by name.

    Args:
        path: .npz, .safetensors, .pt or .pth file.

    Raises:
        InputError: no such file, another kind, too large, damaged, or one that holds more than arrays.
    """
    path = checked_path(path, (".npz", ".safetensors", ".pt", ".pth"), MAX_BYTES)
    read = {".npz": partial(read_npz, max_bytes=MAX_BYTES), ".safetensors": _read_safetensors}.get(path.suffix.lower(), _read_torch)
    try:
        arrays = read(path)
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"{path}: it cannot be read as {path.suffix[1:]} ({type(error).__name__}); it may be damaged or hold more than arrays"
        ) from None
    if not arrays:
        raise InputError(f"{path}: it holds no array")
    return arrays


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    if length > min(_HEADER_BYTES, len(content) - 8):
        raise InputError(f"{path}: its table is said to take {length} bytes; the file has {len(content)}")
    table, data = json.loads(content[8 : 8 + length]), memoryview(content)[8 + length :]
    table.pop("__metadata__", None)
    return {name: _tensor(path, name, entry, data) for name, entry in table.items()}


def _tensor(path, name, entry, data):
    kind, shape, (start, end) = entry["dtype"], tuple(entry["shape"]), entry["data_offsets"]
    if kind not in _KINDS:
        raise InputError(f"{path}: {name!r} is of kind {kind}; convert it to F32")
    if any(not isinstance(n, int) or n < 0 for n in (*shape, start, end)) or end > len(data):
        raise InputError(f"{path}: {name!r} lies outside the file, which may be cut short")
    dtype = np.dtype(_KINDS[kind])
    if end - start != dtype.itemsize * int(np.prod(shape, dtype=object)):
        raise InputError(f"{path}: {name!r} has {end - start} bytes, which do not fit its shape {list(shape)}")
    return np.frombuffer(data[start:end], dtype).reshape(shape).copy()


def _read_torch(path: Path) -> dict[str, np.ndarray]:
    import torch

    content = torch.load(path, map_location="cpu", weights_only=True)
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict) or not all(isinstance(k, str) and isinstance(v, torch.Tensor) for k, v in content.items()):
        raise InputError(f"{path}: it holds {type(content).__name__}; a state dictionary of tensors by name is needed")
    return {name: tensor.detach().numpy() for name, tensor in content.items()}
