"""The two differentiable parts of a rasteriser: splats to ellipses of the image, and ellipses to an image."""

import itertools
import warnings
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
import warp as wp

from physsim.appearance.memory import check_memory
from physsim.errors import InputError
from physsim.kernels.render import binning
from physsim.kernels.render.projection import Coefficients, project
from physsim.kernels.render.tile_blending import tile_kernels
from physsim.physics.launch import over_environments, quiet_warp, thread_count

TILE, HEADER = int(binning.TILE), int(binning.HEADER)
NO_FAULT = 2**62
FAULTS = ("means", "factors", "opacities", "features")
WORK_OF_A_PAIR = 0.15  # [us] of drawing a splat in a tile, roughly
WORTH_A_THREAD = 3000.0  # [us] of drawing, that sharing it among threads gains more than it costs


@dataclass(frozen=True)
class View:
    """What the kernels are told of a camera.

    Args:
        width, height: [pixel].
        near: least depth [m].
        focal, centre: [pixel].
        low, high: of x / z and y / z, within which the projection's Jacobian is taken.
        fold: squared x / z, y / z beyond which the lens model turns back.
        lens: k1, k2, p1, p2, k3, k4, k5, k6.
        antialias: whether opacities make up for the blur of the image.
    """

    width: int
    height: int
    near: float
    focal: tuple[float, float]
    centre: tuple[float, float]
    low: tuple[float, float]
    high: tuple[float, float]
    fold: float
    lens: tuple[float, ...]
    antialias: bool

    def arguments(self):
        """The first arguments of `kernels.render.projection.project`."""
        pairs = [wp.vec2(*pair) for pair in (self.focal, self.centre, self.low, self.high)]
        return [int(self.antialias), self.near, *pairs, self.fold, Coefficients(*self.lens)]


def warp_array(tensor, dtype=None):
    """A tensor's memory as Warp's kernels take it; the tensor must be contiguous."""
    return wp.from_torch(tensor.detach(), dtype=dtype, requires_grad=False, return_ctype=True)


def launch(kernel, dim, inputs, device, **rest):
    """Launch on a torch device, on torch's own stream."""
    with quiet_warp():
        if device.type != "cuda":
            return wp.launch(kernel, dim=dim, inputs=inputs, device="cpu", **rest)
        where = wp.device_from_torch(device)
        with wp.ScopedStream(wp.stream_from_torch(device), sync_enter=False):
            return wp.launch(kernel, dim=dim, inputs=inputs, device=where, **rest)


class Project(torch.autograd.Function):
    """(means, factors, opacities, rotation, translation, view) -> screen [n, 2], shape [n, 3], depth [n], alpha [n]; see `project`."""

    @staticmethod
    def forward(ctx, means, factors, opacities, rotation, translation, view):
        """Project every splat; what cannot be seen has alpha 0."""
        n = len(means)
        outputs = [means.new_zeros(n, 2), means.new_zeros(n, 3), means.new_zeros(n), means.new_zeros(n)]
        ctx.view = view
        ctx.save_for_backward(means, factors, opacities, rotation, translation, *outputs)
        launch(project, n, [*view.arguments(), *_poses(rotation, translation), *_splats(means, factors, opacities), *_ellipses(*outputs)],
               means.device)  # fmt: skip
        return tuple(outputs)

    @staticmethod
    def backward(ctx, *gradients):
        """By Warp's reverse mode of the same kernel; that of the pose follows from those of means and factors."""
        means, factors, opacities, rotation, translation, *outputs = ctx.saved_tensors
        found = [torch.zeros_like(means), torch.zeros_like(factors), torch.zeros_like(opacities)]
        given = [g.clone(memory_format=torch.contiguous_format) for g in gradients]
        arguments = ctx.view.arguments()
        launch(
            project,
            len(means),
            [*arguments, *_poses(rotation, translation), *_splats(means, factors, opacities)],
            means.device,
            outputs=_ellipses(*outputs),
            adj_inputs=[None] * (len(arguments) + 2) + _splats(*found),
            adj_outputs=_ellipses(*given),
            adjoint=True,
        )
        turned = moved = None
        if ctx.needs_input_grad[3] or ctx.needs_input_grad[4]:
            # X = R m + t and A = R M: the gradient at m is R^T that at X, so dL/dt = R^-T sum g_m, dL/dR = R^-T (sum g_m m^T + g_M M^T)
            by_mean, by_factor = found[0].double(), found[1].double()
            back = torch.linalg.inv(rotation.double()).T
            moved = (back @ by_mean.sum(0)).to(translation.dtype)
            turned = by_mean.T @ means.double() + torch.einsum("nij,nkj->ik", by_factor, factors.double())
            turned = (back @ turned).to(rotation.dtype)
        return *found, turned, moved, None


def _poses(rotation, translation):
    return [warp_array(rotation.reshape(1, 3, 3), wp.mat33), warp_array(translation.reshape(1, 3), wp.vec3)]


def _splats(means, factors, opacities):
    return [warp_array(means, wp.vec3), warp_array(factors, wp.mat33), warp_array(opacities)]


def _ellipses(screen, shape, depth, alpha):
    return [warp_array(screen, wp.vec2), warp_array(shape, wp.vec3), warp_array(depth), warp_array(alpha)]


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
        radii: half the larger extent in the image [pixel], 0 where a splat is not seen, shape [n].
    """

    pair_count: int
    order: torch.Tensor
    ends: torch.Tensor
    records: torch.Tensor
    begin: torch.Tensor
    owners: torch.Tensor
    pairs: torch.Tensor
    radii: torch.Tensor


def check_splats(counts, means, factors, opacities, features, background):
    """How many pairs there are, from each splat's number; the only wait for a GPU.

    Raises:
        InputError: NaN or infinite numbers, or an opacity outside [0, 1]; the first is named.
    """
    device = means.device
    faults = torch.full((7,), NO_FAULT, dtype=torch.int64, device=device)
    launch(binning.find_faults, len(means), [*_splats(means, factors, opacities), warp_array(features), warp_array(faults)], device)
    faults[0] = counts.sum()
    faults[6] = torch.isfinite(background).all()
    total, *where, outside, finite = faults.tolist()
    for name, first in zip(FAULTS, where, strict=True):
        if first < NO_FAULT:
            raise InputError(f"{name}: NaN or infinite at splat {first}; remove or repair such splats")
    if outside < NO_FAULT:
        raise InputError(f"opacities: {float(opacities[outside]):g} at splat {outside}; they must lie in [0, 1], as after a sigmoid")
    if not finite:
        raise InputError("background: NaN or infinite was given; finite numbers are needed")
    return int(total)


def make_bins(splats, screen, shape, depth, alpha, features, labels, background, size):
    """Bins of splats (means, factors, opacities) whose ellipses are given, for an image of `size` (width, height)."""
    n, device, (width, height) = len(screen), screen.device, size
    counts = torch.empty(n, dtype=torch.int64, device=device)
    radii = screen.new_empty(n)
    ellipses = _ellipses(screen, shape, depth, alpha)
    launch(binning.count_tiles, n, [width, height, ellipses[0], ellipses[1], ellipses[3], warp_array(counts), warp_array(radii)], device)
    total = check_splats(counts, *splats, features, background)
    columns = HEADER + features.shape[1]
    check_memory(device, n, total, width, height, features.shape[1])
    order = torch.sort(depth, stable=True).indices
    ends = torch.cumsum(counts[order], 0)
    records = screen.new_empty(n, columns)
    tiles, owners = (torch.empty(total, dtype=torch.int32, device=device) for _ in range(2))
    launch(
        binning.list_tiles,
        n,
        [width, height, warp_array(order), warp_array(ends), *ellipses, warp_array(features), warp_array(labels)]
        + [warp_array(records), warp_array(tiles), warp_array(owners)],
        device,
    )
    begin, sorted_owners, pairs = sort_pairs(tiles, owners, -(-width // TILE) * -(-height // TILE))
    return Bins(total, order, ends, records, begin, sorted_owners, pairs, radii)


def sort_pairs(tiles, owners, tile_count):
    """(begin, owners, pairs) of `Bins`, from each pair's tile and owner, in order of depth; stable."""
    total, device = len(tiles), tiles.device
    begin = torch.empty(tile_count + 1, dtype=torch.int32, device=device)
    pairs, sorted_owners = torch.empty_like(tiles), torch.empty_like(owners)
    arrays = [warp_array(tiles), warp_array(owners), warp_array(begin), warp_array(pairs), warp_array(sorted_owners)]
    launch(binning.sort_tiles, 1, [total, tile_count, *arrays], device)
    return begin, sorted_owners, pairs


class Blend(torch.autograd.Function):
    """Ellipses, features and a background to an image: (features [H, W, C], alpha [H, W], depth [H, W], labels [H, W])."""

    @staticmethod
    def forward(ctx, screen, shape, depth, alpha, features, background, bins, size, depth_limit, label_count, threads):
        """Draw every tile; `background` is [1, C] or [H W, C], `depth_limit` [H, W] or [0, 0]."""
        width, height = size
        channels = features.shape[1]
        image = screen.new_empty(height, width, channels)
        maps = [screen.new_empty(height, width) for _ in range(3)]
        last = torch.empty(height, width, dtype=torch.int32, device=screen.device)
        names = torch.empty((height, width) if label_count else (0, 0), dtype=torch.int32, device=screen.device)
        slices = _slices(bins, threads)
        scratch = screen.new_empty(len(slices), 256 * (channels + label_count))
        arrays = [warp_array(a) for a in (bins.begin, bins.owners, bins.records, background, depth_limit, scratch)]
        arrays += [warp_array(a) for a in (image, *maps, last, names)]
        kernel = _tile_kernels(channels if channels in (3, 4) else 0)["forward"]
        across = -(-width // TILE)
        _draw(kernel, slices, [width, height, across, channels, label_count, *arrays])
        ctx.bins, ctx.size, ctx.slices = bins, size, slices
        ctx.save_for_backward(background, *maps, last)
        ctx.mark_non_differentiable(names)
        return image, maps[0], maps[1], names

    @staticmethod
    def backward(ctx, image_grad, alpha_grad, depth_grad, _):
        """Draw every tile from the back; each pair's gradient has a row of its own, summed by splat in a fixed order."""
        background, alpha, depth, light, last = ctx.saved_tensors
        bins, (width, height) = ctx.bins, ctx.size
        columns = bins.records.shape[1]
        channels = columns - HEADER
        found = bins.records.new_empty(bins.pair_count, columns)
        scratch = bins.records.new_empty(len(ctx.slices), 256 * channels)
        arrays = [bins.begin, bins.owners, bins.pairs, bins.records, background, alpha, depth, light, last]
        arrays += [image_grad.contiguous(), alpha_grad.contiguous(), depth_grad.contiguous(), scratch, found]
        kernel = _tile_kernels(channels if channels in (3, 4) else 0)["backward"]
        _draw(kernel, ctx.slices, [width, height, -(-width // TILE), channels, *map(warp_array, arrays)])
        n = len(bins.order)
        gradients = [found.new_empty(n, 2), found.new_empty(n, 3), found.new_empty(n), found.new_empty(n), found.new_empty(n, channels)]
        launch(
            binning.sum_pairs,
            n,
            [warp_array(bins.order), warp_array(bins.ends), warp_array(found), *_ellipses(*gradients[:4]), warp_array(gradients[4])],
            found.device,
        )
        behind = None
        if ctx.needs_input_grad[5]:
            behind = (light[..., None] * image_grad).reshape(-1, channels)
            if len(background) == 1:
                behind = behind.sum(0, keepdim=True)
        return *gradients, behind, None, None, None, None, None


@cache
def _tile_kernels(channels):
    return tile_kernels(channels)


def _slices(bins, threads):
    """Ranges of tiles [first, end) with about the same number of pairs, one a thread."""
    tile_count = len(bins.begin) - 1
    if threads is None:
        threads = thread_count() if bins.pair_count * WORK_OF_A_PAIR > WORTH_A_THREAD else 1
    work = bins.begin.numpy() + 4.0 * np.arange(tile_count + 1)  # an empty tile has its pixels to write
    cuts = np.searchsorted(work, np.linspace(0, work[-1], threads + 1)[1:-1])
    bounds = [0, *cuts.tolist(), tile_count]
    return [(a, b) for a, b in itertools.pairwise(bounds) if b > a]


def _draw(kernel, slices, arguments):
    def draw(k):
        first, end = slices[k]
        wp.launch(kernel, dim=end - first, inputs=[first, k, *arguments], device="cpu")

    with quiet_warp():
        over_environments(draw, range(len(slices)))


def warn_of_nothing(bins):
    """Say that nothing is to be seen."""
    if bins.pair_count == 0:
        count = len(bins.order)
        warnings.warn(f"rasterize: none of {count} splats is seen; the image is the background. Check the camera's pose", stacklevel=3)
