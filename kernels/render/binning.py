"""Which splats each tile of the image has to draw, nearest first.

Splats are sorted by depth; each, in that order, lists the tiles that its ellipse reaches (`count_tiles`, `list_tiles`); a stable sort
of that list by tile leaves each tile's splats together and in depth order. A place in the list before the sort is a pair's number: a
splat's pairs are neighbours there, so that their gradients are summed in a fixed order.
"""

import warp as wp

from physsim.kernels.render.projection import reach, span

TILE = wp.constant(16)  # pixels along a tile's edge
HEADER = wp.constant(8)  # columns of a record before its features: x, y, k, g, h, alpha, depth, label


@wp.func
def pixels(low: float, high: float, count: int):
    """Range [first, end) of whole numbers between two bounds, within [0, count)."""
    first = int(wp.ceil(wp.clamp(low, 0.0, float(count))))
    end = int(wp.floor(wp.clamp(high, -1.0, float(count) - 1.0))) + 1
    return wp.vec2i(first, end)


@wp.func
def tiles(low: float, high: float, count: int):
    """Range [first, end) of tiles that hold the whole numbers between two bounds, of `count` pixels; empty: first >= end."""
    between = pixels(low, high, count)
    found = wp.vec2i(0, 0)
    if between[1] > between[0]:
        found = wp.vec2i(between[0] / TILE, (between[1] - 1) / TILE + 1)
    return found


@wp.kernel(enable_backward=False)
def find_faults(
    means: wp.array(dtype=wp.vec3),
    factors: wp.array(dtype=wp.mat33),
    opacities: wp.array(dtype=float),
    features: wp.array2d(dtype=float),
    faults_out: wp.array(dtype=wp.int64),
):
    """First splat with a mean, factor, opacity or feature that is NaN or infinite or, last, an opacity outside [0, 1]; a thread a splat."""
    i = wp.tid()
    if not wp.isfinite(means[i]):
        wp.atomic_min(faults_out, 0, wp.int64(i))
    if not wp.isfinite(factors[i]):
        wp.atomic_min(faults_out, 1, wp.int64(i))
    if not wp.isfinite(opacities[i]):
        wp.atomic_min(faults_out, 2, wp.int64(i))
    elif opacities[i] < 0.0 or opacities[i] > 1.0:
        wp.atomic_min(faults_out, 4, wp.int64(i))
    total = wp.float32(0.0)
    for c in range(features.shape[1]):
        total += features[i, c] * 0.0  # NaN where any is NaN or infinite
    if not wp.isfinite(total):
        wp.atomic_min(faults_out, 3, wp.int64(i))


@wp.kernel(enable_backward=False)
def count_tiles(
    width: int,
    height: int,
    screen: wp.array(dtype=wp.vec2),
    shape: wp.array(dtype=wp.vec3),
    alpha: wp.array(dtype=float),
    counts_out: wp.array(dtype=wp.int64),
    radii_out: wp.array(dtype=float),
):
    """Tiles that each splat reaches, and its larger half axis-aligned extent [pixel], 0 where it reaches none; a thread a splat."""
    i = wp.tid()
    size = reach(shape[i], alpha[i])
    count = wp.int32(0)
    if size[0] > 0.0 and wp.isfinite(size[0]) and wp.isfinite(size[1]) and wp.isfinite(screen[i]):
        rows = tiles(screen[i][1] - size[0], screen[i][1] + size[0], height)
        for row in range(rows[0], rows[1]):
            top = float(row * TILE)
            ends = span(screen[i], shape[i], size, top, top + float(TILE - 1))
            columns = tiles(ends[0], ends[1], width)
            count += columns[1] - columns[0]
    counts_out[i] = wp.int64(count)
    radii_out[i] = 0.0
    if count > 0:
        radii_out[i] = wp.max(size[0], size[1])


@wp.kernel(enable_backward=False)
def list_tiles(
    width: int,
    height: int,
    order: wp.array(dtype=wp.int64),
    ends: wp.array(dtype=wp.int64),
    screen: wp.array(dtype=wp.vec2),
    shape: wp.array(dtype=wp.vec3),
    depth: wp.array(dtype=float),
    alpha: wp.array(dtype=float),
    features: wp.array2d(dtype=float),
    labels: wp.array(dtype=int),
    records_out: wp.array2d(dtype=float),
    tiles_out: wp.array(dtype=int),
    owners_out: wp.array(dtype=int),
):
    """A thread a splat, in the order of depth: its record, and its tiles at the places that end at `ends`."""
    rank = wp.tid()
    i = int(order[rank])
    records_out[rank, 0] = screen[i][0]
    records_out[rank, 1] = screen[i][1]
    records_out[rank, 2] = shape[i][0]
    records_out[rank, 3] = shape[i][1]
    records_out[rank, 4] = shape[i][2]
    records_out[rank, 5] = alpha[i]
    records_out[rank, 6] = depth[i]
    records_out[rank, 7] = float(labels[i])
    for c in range(features.shape[1]):
        records_out[rank, HEADER + c] = features[i, c]
    place = wp.int64(0)
    if rank > 0:
        place = ends[rank - 1]
    if ends[rank] > place:
        size = reach(shape[i], alpha[i])
        rows = tiles(screen[i][1] - size[0], screen[i][1] + size[0], height)
        across = (width + TILE - 1) / TILE
        k = int(place)
        for row in range(rows[0], rows[1]):
            top = float(row * TILE)
            x = span(screen[i], shape[i], size, top, top + float(TILE - 1))
            columns = tiles(x[0], x[1], width)
            for column in range(columns[0], columns[1]):
                tiles_out[k] = row * across + column
                owners_out[k] = rank
                k += 1


_COUNTING_SORT = r"""
int* __restrict__ begin = begin_out.data;
for (int t = 0; t <= tile_count; ++t) begin[t] = 0;
for (int k = 0; k < count; ++k) ++begin[tiles.data[k] + 1];
for (int t = 0; t < tile_count; ++t) begin[t + 1] += begin[t];
for (int k = 0; k < count; ++k) { const int at = begin[tiles.data[k]]++; pairs_out.data[at] = k; owners_out.data[at] = owners.data[k]; }
for (int t = tile_count; t > 0; --t) begin[t] = begin[t - 1];
begin[0] = 0;
"""


@wp.func_native(_COUNTING_SORT)
def counting_sort(
    count: int,
    tile_count: int,
    tiles: wp.array(dtype=int),
    owners: wp.array(dtype=int),
    begin_out: wp.array(dtype=int),
    pairs_out: wp.array(dtype=int),
    owners_out: wp.array(dtype=int),
):
    """Stable, by tile, in one thread."""


@wp.kernel(module="unique", enable_backward=False)
def sort_tiles(
    count: int,
    tile_count: int,
    tiles: wp.array(dtype=int),
    owners: wp.array(dtype=int),
    begin_out: wp.array(dtype=int),
    pairs_out: wp.array(dtype=int),
    owners_out: wp.array(dtype=int),
):
    """CPU, one thread: each tile's pairs together in their order, where each tile's begin, and the owner of each."""
    wp.tid()
    counting_sort(count, tile_count, tiles, owners, begin_out, pairs_out, owners_out)


@wp.kernel(enable_backward=False)
def find_tiles(
    count: int,
    tile_count: int,
    sorted_tiles: wp.array(dtype=int),
    pairs: wp.array(dtype=int),
    owners: wp.array(dtype=int),
    begin_out: wp.array(dtype=int),
    owners_out: wp.array(dtype=int),
):
    """After a sort of `count` pairs by tile: where each tile's begin, and the owner of each. A thread a pair and one more."""
    k = wp.tid()
    tile = tile_count
    before = wp.int32(-1)
    if k < count:
        tile = sorted_tiles[k]
        owners_out[k] = owners[pairs[k]]
    if k > 0:
        before = sorted_tiles[k - 1]
    for t in range(before + 1, tile + 1):
        begin_out[t] = k


@wp.kernel(enable_backward=False)
def sum_pairs(
    order: wp.array(dtype=wp.int64),
    ends: wp.array(dtype=wp.int64),
    gradients: wp.array2d(dtype=float),
    screen_out: wp.array(dtype=wp.vec2),
    shape_out: wp.array(dtype=wp.vec3),
    depth_out: wp.array(dtype=float),
    alpha_out: wp.array(dtype=float),
    features_out: wp.array2d(dtype=float),
):
    """Each splat's gradient from its pairs', in the order of the pairs; a thread a splat, in the order of depth."""
    rank = wp.tid()
    i = int(order[rank])
    first = wp.int32(0)
    if rank > 0:
        first = int(ends[rank - 1])
    end = int(ends[rank])
    for c in range(features_out.shape[1]):
        features_out[i, c] = 0.0
    s = wp.vec2(0.0)
    q = wp.vec3(0.0)
    a = wp.float32(0.0)
    z = wp.float32(0.0)
    for k in range(first, end):
        s += wp.vec2(gradients[k, 0], gradients[k, 1])
        q += wp.vec3(gradients[k, 2], gradients[k, 3], gradients[k, 4])
        a += gradients[k, 5]
        z += gradients[k, 6]
        for c in range(features_out.shape[1]):
            features_out[i, c] = features_out[i, c] + gradients[k, HEADER + c]
    screen_out[i] = s
    shape_out[i] = q
    depth_out[i] = z
    alpha_out[i] = a
