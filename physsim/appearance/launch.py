"""Warp kernels on torch's tensors, on torch's streams."""

from contextlib import nullcontext
from functools import cache

import torch
import warp as wp

from physsim.errors import InputError
from physsim.physics.launch import announce, over_environments, quiet_warp


def torch_device(device):
    """The device that a user names, with its number: "cuda" alone is the one that torch uses now, where tensors say "cuda:0".

    Args:
        device: "cpu", "cuda", "cuda:1", or a torch device.

    Raises:
        InputError: another name, or CUDA where there is none.
    """
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError):
        raise InputError(f"device = {device!r}: torch knows no such device; use 'cpu' or 'cuda'") from None
    if found.type not in ("cpu", "cuda"):
        raise InputError(f"device = {device!r}: pictures are drawn on the CPU and on CUDA; use 'cpu' or 'cuda'")
    if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
        raise InputError(f"device = {device!r}: {torch.cuda.device_count()} CUDA devices are found; use another one, or 'cpu'")
    return torch.device("cuda", torch.cuda.current_device()) if found.type == "cuda" and found.index is None else found


def warp_array(tensor, dtype=None):
    """A tensor's memory as Warp's kernels take it; the tensor must be contiguous, and outlive the launch."""
    if tensor.numel() == 0:
        tensor = tensor.new_empty(tensor.shape)  # torch calls any strides of nothing contiguous, Warp does not
    return wp.from_torch(tensor.detach(), dtype=dtype, requires_grad=False, return_ctype=True)


@cache
def _start_warp():
    with quiet_warp():
        wp.init()


def torch_stream(device):
    """Context in which Warp works on the stream that torch uses on a device now: they need not wait for each other."""
    _start_warp()
    if device.type != "cuda":
        return nullcontext()
    return wp.ScopedStream(wp.stream_from_torch(device), sync_enter=False)


def launch(kernel, dim, inputs, device, **rest):
    """Launch on a torch device, on torch's own stream."""
    announce(kernel, str(device))
    with torch_stream(device), quiet_warp():
        wp.launch(kernel, dim=dim, inputs=inputs, device=str(device), **rest)


def launch_slices(kernel, slices, inputs):
    """On the CPU, a launch for each slice (first, end), on several threads; kernels take a slice's first and number before `inputs`."""

    def one(k):
        first, end = slices[k]
        wp.launch(kernel, dim=end - first, inputs=[first, k, *inputs], device="cpu")

    announce(kernel, "cpu")
    with quiet_warp():
        over_environments(one, range(len(slices)))


def radix_sort(keys, values, count):
    """Sort the first `count` of int32 keys and their values in place, stable; both have room for twice as many."""
    if count == 0:
        return
    with torch_stream(keys.device), quiet_warp():
        wp.utils.radix_sort_pairs(wp.from_torch(keys), wp.from_torch(values), count)
