"""Ellipses to an image, with gradients: by tiles on the CPU, by pixels on a GPU."""

from functools import cache
from itertools import pairwise

import numpy as np
import torch
from torch.autograd.function import once_differentiable

from physsim.appearance.bins import HEADER, TILE
from physsim.appearance.launch import launch, launch_slices, warp_array
from physsim.appearance.projection import ellipse_arrays
from physsim.kernels.render import binning
from physsim.kernels.render.pixel_blending import pixel_kernels
from physsim.kernels.render.tile_blending import tile_kernels
from physsim.physics.launch import thread_count

UNROLLED = (3, 4)  # numbers of channels that the kernels of tiles are compiled for; others are counted at run time
WORK_OF_A_PAIR = 0.15  # [us] of drawing a splat in a tile, roughly
WORTH_A_THREAD = 3000.0  # [us] of drawing, that sharing it among threads gains more than it costs


class Blend(torch.autograd.Function):
    """Ellipses, features and a background to an image: (features [H, W, C], alpha [H, W], depth [H, W], labels [H, W])."""

    @staticmethod
    def forward(ctx, screen, shape, depth, alpha, features, background, bins, size, depth_limit, label_count, slices):
        """Draw the image; `background` is [1, C] or [H W, C], `depth_limit` [H, W] or [0, 0], `slices` of tiles; None: by pixels."""
        width, height = size
        channels = features.shape[1]
        image = screen.new_empty(height, width, channels)
        maps = [screen.new_empty(height, width) for _ in range(3)]
        last = torch.empty(height, width, dtype=torch.int32, device=screen.device)
        names = torch.empty((height, width) if label_count else (0, 0), dtype=torch.int32, device=screen.device)
        if slices is None:
            room = screen.new_zeros(height * width if label_count else 0, label_count)
        else:
            room = screen.new_empty(len(slices), TILE * TILE * (channels + label_count))
        counts = [width, height, -(-width // TILE), *([] if slices is None else [channels]), label_count]
        arrays = [bins.begin, bins.owners, bins.records, background, depth_limit, room, image, *maps, last, names]
        _draw("forward", channels, size, slices, counts, arrays)
        ctx.bins, ctx.size, ctx.slices = bins, size, slices
        ctx.save_for_backward(background, *maps, last)
        ctx.mark_non_differentiable(names)
        return image, maps[0], maps[1], names

    @staticmethod
    @once_differentiable
    def backward(ctx, image_grad, alpha_grad, depth_grad, _):
        """From the last splat to the first; each pair's gradient has a row of its own, and rows are summed by splat in a fixed order.

        On the CPU one thread fills a row, so that the same image has the same gradient to the last bit.
        """
        background, alpha, depth, light, last = ctx.saved_tensors
        bins, slices, (width, height) = ctx.bins, ctx.slices, ctx.size
        n, columns = bins.records.shape
        channels = columns - HEADER
        grads = [image_grad.contiguous(), alpha_grad.contiguous(), depth_grad.contiguous()]
        arrays = [bins.begin, bins.owners, bins.pairs, bins.records, background, alpha, depth, light, last, *grads]
        counts = [width, height, -(-width // TILE)]
        if slices is None:
            rows = bins.records.new_zeros(bins.pair_count, columns)
        else:
            rows = bins.records.new_empty(bins.pair_count, columns)
            counts.append(channels)
            arrays.append(rows.new_empty(len(slices), (TILE * TILE + 8) * channels))
        _draw("backward", channels, ctx.size, slices, counts, [*arrays, rows])
        found = [rows.new_empty(n, 2), rows.new_empty(n, 3), rows.new_empty(n), rows.new_empty(n), rows.new_empty(n, channels)]
        arrays = [*map(warp_array, (bins.order, bins.ends, rows)), *ellipse_arrays(*found[:4]), warp_array(found[4])]
        launch(binning.sum_pairs, n, arrays, rows.device)
        behind = None
        if ctx.needs_input_grad[5]:
            behind = (light[..., None] * image_grad).reshape(-1, channels)
            if len(background) == 1:
                behind = behind.sum(0, keepdim=True)
        return *found, behind, None, None, None, None, None


def _draw(direction, channels, size, slices, counts, arrays):
    """Launch over tiles in slices, or over pixels, one block of threads a tile."""
    arguments = [*counts, *map(warp_array, arrays)]
    if slices is not None:
        launch_slices(_tile_kernels(channels if channels in UNROLLED else 0)[direction], slices, arguments)
        return
    threads = TILE * TILE * -(-size[0] // TILE) * -(-size[1] // TILE)
    launch(_pixel_kernels(channels)[direction], threads, arguments, arrays[0].device, block_dim=TILE * TILE)


@cache
def _pixel_kernels(channels):
    return pixel_kernels(channels)


@cache
def _tile_kernels(channels):
    return tile_kernels(channels)


def draws_by_tiles(device):
    """Whether a device draws by tiles, a thread each, rather than by pixels."""
    return device.type == "cpu"


def tile_slices(bins, threads):
    """Ranges of tiles [first, end) with about the same number of pairs, one a thread."""
    tile_count = len(bins.begin) - 1
    if threads is None:
        threads = thread_count() if bins.pair_count * WORK_OF_A_PAIR > WORTH_A_THREAD else 1
    if threads == 1:
        return [(0, tile_count)]
    work = bins.begin.numpy() + 4.0 * np.arange(tile_count + 1)  # an empty tile has its pixels to write
    cuts = np.searchsorted(work, np.linspace(0, work[-1], threads + 1)[1:-1])
    return [(a, b) for a, b in pairwise([0, *cuts.tolist(), tile_count]) if b > a]
