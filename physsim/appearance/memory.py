"""Whether a drawing fits into memory, before it is begun."""

import os

import torch

from physsim.errors import InputError

ASSURED = 2**26  # bytes that there are without asking
MOST_PAIRS = 2**30 - 1  # of splats and tiles: their sort numbers twice as many places by int32


def available_memory(device):
    """Bytes that can still be had on a torch device; None where nobody says."""
    if device.type == "cuda":
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # by torch, for its next tensors
        return torch.cuda.mem_get_info(device)[0] + kept
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            for line in lines:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def require_memory(what, needed, device, remedy):
    """Go on only where a device has this many bytes.

    Raises:
        InputError: it has not; the message says what needs how much, how much there is, and what to do.
    """
    there = available_memory(device) if needed > ASSURED else None
    if there is not None and needed > there:
        raise InputError(f"{what}: it takes about {needed / 2**30:.1f} GiB, {there / 2**30:.1f} GiB are free; {remedy}")


def drawing_memory(splat_count, pair_count, width, height, channels, label_count=0):
    """Bytes that an image and its gradient take: records, pairs and maps, and the same again for what flows back.

    `label_count` counts where labels are chosen pixel by pixel, with a place for each label in each.
    """
    splats = splat_count * (8 * (14 + 2 * channels) + 32)
    pairs = pair_count * (32 + 4 * (8 + channels))
    pixels = width * height * (8 * (6 + 2 * channels) + 4 * label_count)
    return splats + pairs + pixels


def check_memory(device, splat_count, pair_count, width, height, channels, label_count=0):
    """Whether a drawing can be had.

    Raises:
        InputError: it would take more memory than there is; the message says how much.
    """
    if pair_count > MOST_PAIRS:
        raise InputError(
            f"rasterize: splats reach {pair_count} tiles in all, at most {MOST_PAIRS} can be drawn; draw fewer or smaller splats"
        )
    needed = drawing_memory(splat_count, pair_count, width, height, channels, label_count)
    on_tiles = f" on {pair_count} tiles" if pair_count else ""
    what = f"rasterize: {splat_count} splats{on_tiles}, drawn at {width} x {height} with {channels} channels"
    require_memory(what, needed, device, "draw fewer splats, a smaller image or fewer features at a time")
