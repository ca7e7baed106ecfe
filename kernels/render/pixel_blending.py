"""Blending, a thread a pixel: what a GPU runs, and the plain twin of `kernels.render.tile_blending`.

Nearest splat first, with a_k = alpha_k exp(-(g e^2 + h d_y^2) / 2) at the pixel (`kernels.render.projection` has the symbols):

    alpha = min(a, ALPHA_MAX); for a from m = LEAST_ALPHA to 2 m instead m u^2 (5 - 3 u) with u = a / m - 1, and 0 below
    weight_k = alpha_k T_k,   T_{k+1} = T_k (1 - alpha_k),   T_0 = 1
    features = sum weight_k features_k + T background,   alpha = sum weight_k,   depth = sum weight_k z_k / sum weight_k

as 3DGS (Kerbl et al. 2023, equation 3), whose contributions end with a step at 1 / 255: here they go to zero between 2 / 255 and
1 / 255, so that the image is a smooth function of the splats and its gradient is complete. A pixel ends when T < LEAST_LIGHT, and
before the first splat beyond its depth limit.

Backward, with q_k = dL/dweight_k = features_k . v_features + v_alpha + v_depth (z_k - depth) / alpha_sum and the suffix
S_k = sum_{j > k} weight_j q_j + T v_features . background:  dL/dalpha_k = T_k q_k - S_k / (1 - alpha_k).
A tile's eight warps add what they find for a splat by atomics, in any order: on a GPU the last bits of gradients differ from run to run.
"""

import warp as wp

from physsim.kernels.render.binning import HEADER, TILE
from physsim.kernels.render.projection import LEAST_ALPHA

ALPHA_MAX = wp.constant(0.999)
LEAST_LIGHT = wp.constant(1.0e-5)

_ADD = r"""
#if defined(__CUDA_ARCH__)
for (int d = 16; d > 0; d /= 2) value += __shfl_xor_sync(0xffffffffu, value, d);
if ((threadIdx.x & 31) == 0) atomicAdd(rows_out.data + (size_t)row * rows_out.shape[1] + column, value);
#else
rows_out.data[(size_t)row * rows_out.shape[1] + column] += value;
#endif
"""

_GREATEST = r"""
#if defined(__CUDA_ARCH__)
for (int d = 16; d > 0; d /= 2) value = max(value, __shfl_xor_sync(0xffffffffu, value, d));
#endif
return value;
"""


@wp.func_native(_ADD)
def add_over_warp(row: int, column: int, value: float, rows_out: wp.array2d(dtype=float)):
    """Add to a place what all 32 threads of a warp bring, all of which must call; on a CPU what one thread brings."""


@wp.func_native(_GREATEST)
def greatest_in_warp(value: int) -> int:
    """Greatest of what all 32 threads of a warp bring, all of which must call; on a CPU the thread's own."""


@wp.func
def cover(records: wp.array2d(dtype=float), row: int, x: float, y: float):
    """(e, d_y, a) of a splat at a pixel."""
    dy = y - records[row, 1]
    e = x - records[row, 0] - records[row, 2] * dy
    a = records[row, 5] * wp.exp(-0.5 * (records[row, 3] * e * e + records[row, 4] * dy * dy))
    return wp.vec3(e, dy, a)


@wp.func
def rise(a: float):
    """How far a has come from LEAST_ALPHA (0) to twice that (1)."""
    return wp.clamp(a / LEAST_ALPHA - 1.0, 0.0, 1.0)


@wp.func
def tapered(a: float, u: float):
    """What counts of a: alpha, with u = rise(a)."""
    return wp.min(LEAST_ALPHA * u * u * (5.0 - 3.0 * u) + wp.max(a - 2.0 * LEAST_ALPHA, 0.0), ALPHA_MAX)


@wp.func
def place(thread: int, across: int):
    """(tile, x, y) of a thread: 256 in turn draw a tile, row by row."""
    tile = thread / (TILE * TILE)
    within = thread - tile * TILE * TILE
    x = (tile % across) * TILE + within % TILE
    y = (tile / across) * TILE + within / TILE
    return wp.vec3i(tile, x, y)


def pixel_kernels(channels):
    """Kernels {"forward", "backward"} of features of `channels` columns; launched in blocks of 256 threads, one block a tile."""
    Features = wp.types.vector(channels, wp.float32)
    COUNT = wp.constant(channels)

    @wp.kernel(module="unique", enable_backward=False)
    def forward(
        width: int,
        height: int,
        across: int,
        label_count: int,
        begin: wp.array(dtype=int),
        owners: wp.array(dtype=int),
        records: wp.array2d(dtype=float),
        background: wp.array2d(dtype=float),
        depth_limit: wp.array2d(dtype=float),
        votes: wp.array2d(dtype=float),
        features_out: wp.array3d(dtype=float),
        alpha_out: wp.array2d(dtype=float),
        depth_out: wp.array2d(dtype=float),
        light_out: wp.array2d(dtype=float),
        last_out: wp.array2d(dtype=int),
        labels_out: wp.array2d(dtype=int),
    ):
        """`votes` is room of [H W, label_count], zeros."""
        at = place(wp.tid(), across)
        x, y = at[1], at[2]
        if x < width and y < height:
            pixel = y * width + x
            limit = wp.inf
            if depth_limit.shape[0] > 0:
                limit = depth_limit[y, x]
            sums = Features()
            total = wp.float32(0.0)
            distance = wp.float32(0.0)
            light = wp.float32(1.0)
            k = begin[at[0]]
            end = begin[at[0] + 1]
            while k < end and light >= LEAST_LIGHT:
                row = owners[k]
                if records[row, 6] > limit:
                    end = k
                else:
                    a = cover(records, row, float(x), float(y))[2]
                    alpha = tapered(a, rise(a))
                    weight = alpha * light
                    total += weight
                    distance += weight * records[row, 6]
                    for c in range(COUNT):
                        sums[c] = sums[c] + weight * records[row, HEADER + c]
                    if label_count > 0:
                        name = int(records[row, 7])
                        votes[pixel, name] = votes[pixel, name] + weight
                    light -= weight
                    k += 1
            behind = wp.where(background.shape[0] > 1, pixel, 0)
            for c in range(COUNT):
                features_out[y, x, c] = sums[c] + light * background[behind, c]
            alpha_out[y, x] = total
            depth_out[y, x] = wp.where(total > 0.0, distance / total, 0.0)
            light_out[y, x] = light
            last_out[y, x] = k
            if label_count > 0:
                best = wp.int32(-1)
                most = wp.float32(0.0)
                for name in range(label_count):
                    if votes[pixel, name] > most:
                        most = votes[pixel, name]
                        best = name
                labels_out[y, x] = best

    @wp.kernel(module="unique", enable_backward=False)
    def backward(
        width: int,
        height: int,
        across: int,
        begin: wp.array(dtype=int),
        owners: wp.array(dtype=int),
        pairs: wp.array(dtype=int),
        records: wp.array2d(dtype=float),
        background: wp.array2d(dtype=float),
        alpha: wp.array2d(dtype=float),
        depth: wp.array2d(dtype=float),
        light: wp.array2d(dtype=float),
        last: wp.array2d(dtype=int),
        features_grad: wp.array3d(dtype=float),
        alpha_grad: wp.array2d(dtype=float),
        depth_grad: wp.array2d(dtype=float),
        gradients_out: wp.array2d(dtype=float),
    ):
        """`gradients_out` holds zeros. All threads of a warp stay together to the end: pixels outside the image bring nothing."""
        at = place(wp.tid(), across)
        x, y = at[1], at[2]
        first = begin[at[0]]
        stop = first
        T = wp.float32(0.0)
        S = wp.float32(0.0)
        share = wp.float32(0.0)
        rest = wp.float32(0.0)
        v = Features()
        if x < width and y < height:
            stop = last[y, x]
            T = light[y, x]
            behind = wp.where(background.shape[0] > 1, y * width + x, 0)
            for c in range(COUNT):
                v[c] = features_grad[y, x, c]
                S += T * v[c] * background[behind, c]
            if alpha[y, x] > 0.0:
                share = depth_grad[y, x] / alpha[y, x]
            rest = alpha_grad[y, x] - share * depth[y, x]
        k = greatest_in_warp(stop) - 1
        while k >= first:
            row = owners[k]
            found = cover(records, row, float(x), float(y))
            e, dy, a = found[0], found[1], found[2]
            counts = wp.where(k < stop and a > LEAST_ALPHA, 1, 0)
            if greatest_in_warp(counts) > 0:
                weight = wp.float32(0.0)
                pull = wp.float32(0.0)
                if counts > 0:
                    u = rise(a)
                    covered = tapered(a, u)
                    back = 1.0 / (1.0 - covered)
                    T = T * back
                    value = rest + share * records[row, 6]
                    for c in range(COUNT):
                        value += records[row, HEADER + c] * v[c]
                    if a < ALPHA_MAX:
                        pull = a * u * (10.0 - 9.0 * u) * (value * T - S * back)
                    weight = covered * T
                    S += weight * value
                out = pairs[k]
                g, h = records[row, 3], records[row, 4]
                add_over_warp(out, 0, pull * g * e, gradients_out)
                add_over_warp(out, 1, pull * (h * dy - records[row, 2] * g * e), gradients_out)
                add_over_warp(out, 2, pull * g * e * dy, gradients_out)
                add_over_warp(out, 3, -0.5 * pull * e * e, gradients_out)
                add_over_warp(out, 4, -0.5 * pull * dy * dy, gradients_out)
                add_over_warp(out, 5, pull / records[row, 5], gradients_out)
                add_over_warp(out, 6, weight * share, gradients_out)
                for c in range(COUNT):
                    add_over_warp(out, HEADER + c, weight * v[c], gradients_out)
            k -= 1

    return {"forward": forward, "backward": backward}
