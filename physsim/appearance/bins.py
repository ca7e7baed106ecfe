"""Which splats each tile of an image draws, and the checks on the way there."""

from dataclasses import dataclass

import torch

from physsim.appearance.launch import launch, radix_sort, warp_array
from physsim.appearance.projection import ellipse_arrays, splat_arrays
from physsim.errors import InputError
from physsim.kernels.render import binning

TILE, HEADER = int(binning.TILE), int(binning.HEADER)
NO_FAULT = 2**62
FAULTS = ("means", "factors", "opacities", "features")


@dataclass(frozen=True)
class Bins:
    """Which splats each tile draws.

    Args:
        pair_count: of splats and tiles.
        order: splats by depth, int64, shape [n].
        ends: where each one's pairs end, in that order, int64, shape [n].
        records: a row for each, in that order, shape [n, 8 + features].
        begin: where each tile's pairs begin, int32, shape [tiles + 1].
        owners: row in `records` of each pair, tile by tile, int32, shape [pairs].
        pairs: number of each pair before the sort by tile, int32, shape [pairs].
    """

    pair_count: int
    order: torch.Tensor
    ends: torch.Tensor
    records: torch.Tensor
    begin: torch.Tensor
    owners: torch.Tensor
    pairs: torch.Tensor


def count_pairs(means, factors, opacities, features, ellipses, size, checks, labels):
    """How many tiles each splat reaches; checks of everything that was handed in come back with the total, in the only wait for a GPU.

    Args:
        means, factors, opacities, features: the splats.
        ellipses: (screen, shape, depth, alpha) in the image.
        size: (width, height) [pixel].
        checks: {what is wrong: tensor that says whether it is}.
        labels: whole numbers, shape [n], or None.

    Returns:
        (counts int64 [n], radii [n], their total, the greatest label).

    Raises:
        InputError: NaN or infinite numbers, an opacity outside [0, 1] or a label below 0; the first is named.
    """
    n, device = len(means), means.device
    counts, radii = torch.empty(n, dtype=torch.int64, device=device), means.new_empty(n)
    screen, shape, _, alpha = ellipse_arrays(*ellipses)
    launch(binning.count_tiles, n, [*size, screen, shape, alpha, warp_array(counts), warp_array(radii)], device)
    faults = torch.full((len(FAULTS) + 1,), NO_FAULT, dtype=torch.int64, device=device)
    launch(binning.find_faults, n, [*splat_arrays(means, factors, opacities), warp_array(features), warp_array(faults)], device)
    ends = [labels.min(), labels.max()] if labels is not None and n else [counts.new_zeros(())] * 2
    numbers = torch.stack([counts.sum(), *(end.to(torch.int64) for end in ends), *(flag.to(torch.int64) for flag in checks.values())])
    total, least, greatest, *flags = torch.cat([numbers, faults]).tolist()
    for message, flag in zip(checks, flags, strict=False):
        if flag:
            raise InputError(message)
    *where, outside = flags[len(checks) :]
    for name, first in zip(FAULTS, where, strict=True):
        if first < NO_FAULT:
            raise InputError(f"{name}: NaN or infinite at splat {first}; remove or repair such splats")
    if outside < NO_FAULT:
        raise InputError(f"opacities: {float(opacities[outside]):g} at splat {outside}; they must lie in [0, 1], as after a sigmoid")
    if least < 0:
        raise InputError(f"labels: {least} was given; they must be 0 or more (-1 marks the background)")
    return counts, radii, total, greatest


def make_bins(counts, total, ellipses, features, labels, size, serial):
    """Bins of ellipses (screen, shape, depth, alpha), of which `count_pairs` gave the counts; `labels` are int32, shape [n]."""
    n, device, (width, height) = len(counts), counts.device, size
    order = torch.sort(ellipses[2].view(torch.int32), stable=True).indices  # depths are not negative: ordered as their bits, sorted faster
    ends = torch.cumsum(counts[order], 0)
    records = features.new_empty(n, HEADER + features.shape[1])
    tiles, owners = (torch.empty(total, dtype=torch.int32, device=device) for _ in range(2))
    arrays = [warp_array(order), warp_array(ends), *ellipse_arrays(*ellipses)]
    arrays += map(warp_array, (features, labels, records, tiles, owners))
    launch(binning.list_tiles, n, [width, height, *arrays], device)
    return Bins(total, order, ends, records, *sort_pairs(tiles, owners, -(-width // TILE) * -(-height // TILE), serial))


def sort_pairs(tiles, owners, tile_count, serial):
    """(begin, owners, pairs) of `Bins`, from each pair's tile and owner, in order of depth; stable.

    With `serial`, by counting in one thread of a CPU; else by a radix sort, which a GPU does as well.
    """
    total, device = len(tiles), tiles.device
    begin = torch.empty(tile_count + 1, dtype=torch.int32, device=device)
    sorted_owners = torch.empty_like(owners)
    if serial:
        pairs = torch.empty_like(tiles)
        arrays = [warp_array(tiles), warp_array(owners), warp_array(begin), warp_array(pairs), warp_array(sorted_owners)]
        launch(binning.sort_tiles, 1, [total, tile_count, *arrays], device)
        return begin, sorted_owners, pairs
    keys = torch.cat([tiles, torch.empty_like(tiles)])  # the sort wants as much room again
    pairs = torch.arange(2 * total, dtype=torch.int32, device=device)
    radix_sort(keys, pairs, total)
    arrays = [warp_array(keys), warp_array(pairs), warp_array(owners), warp_array(begin), warp_array(sorted_owners)]
    launch(binning.find_tiles, total + 1, [total, tile_count, *arrays], device)
    return begin, sorted_owners, pairs[:total]
