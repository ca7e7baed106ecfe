"""`physsim warmup`: compile the kernels that simulations and pictures commonly use, and say how long it took."""

import time

import warp as wp

from physsim.physics.builder import device_name
from physsim.physics.warmup import KINDS, solve


def main(device="cpu", dtype="float64"):
    """Compile for one device and scalar type; the kernels stay in Warp's cache.

    Args:
        device: as Warp names it.
        dtype: of the simulations, "float32" or "float64"; pictures are drawn in single precision.

    Returns:
        Exit code 0.

    Raises:
        InputError: an unknown device.
    """
    from physsim.appearance.warmup import draw

    device = device_name(device)
    print(f"compiling kernels for {device}, {dtype}; a minute or two the first time, then nothing")
    start = time.perf_counter()
    parts = {what: lambda kind=kind: solve(kind, device, dtype) for what, kind in KINDS.items()}
    parts["pictures"] = lambda: draw(device)
    for what, run in parts.items():
        begin = time.perf_counter()
        run()
        print(f"  {what:18s} {time.perf_counter() - begin:6.1f} s")
    print(f"done in {time.perf_counter() - start:.1f} s; kept in {wp.config.kernel_cache_dir}")
    return 0
