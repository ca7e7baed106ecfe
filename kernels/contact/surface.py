"""From particles to surface points and back, and rows of contact parameters from a table.

A surface point is s = sum_k w_k x_k over at most four particles; what is known of points (forces, shares of a matrix) goes back to
particles by the transposed map. Points are float64 whatever the particles are: gaps are differences of nearly equal numbers.
"""

import warp as wp

from physsim.kernels.contact.rolling import vec6


def surface_kernels(real):
    """Kernels between particles of scalar type `real` and points; `first` as in `kernels.elements`."""
    vec3 = wp.types.vector(3, real)

    @wp.kernel(module="unique", enable_backward=False)
    def embed(
        first: wp.vec2i,
        active: wp.array(dtype=int),
        owner_count: wp.array(dtype=int),
        owners: wp.array2d(dtype=int),
        weights: wp.array2d(dtype=wp.float64),
        scale: wp.float64,
        x: wp.array2d(dtype=vec3),
        s_out: wp.array2d(dtype=wp.vec3d),
    ):
        """s = scale W x."""
        e, row = wp.tid()
        env = first[0] + e
        i = first[1] + row
        if active[env] == 0:
            return
        s = wp.vec3d()
        for k in range(owner_count[i]):
            s += scale * weights[i, k] * wp.vec3d(x[env, owners[i, k]])
        s_out[env, i] = s

    @wp.kernel(module="unique", enable_backward=False)
    def embed_way(
        first: wp.vec2i,
        active: wp.array(dtype=int),
        owner_count: wp.array(dtype=int),
        owners: wp.array2d(dtype=int),
        weights: wp.array2d(dtype=wp.float64),
        x: wp.array2d(dtype=vec3),
        old: wp.array2d(dtype=vec3),
        s_out: wp.array2d(dtype=wp.vec3d),
    ):
        """s = W (x - old)."""
        e, row = wp.tid()
        env = first[0] + e
        i = first[1] + row
        if active[env] == 0:
            return
        s = wp.vec3d()
        for k in range(owner_count[i]):
            j = owners[i, k]
            s += weights[i, k] * (wp.vec3d(x[env, j]) - wp.vec3d(old[env, j]))
        s_out[env, i] = s

    @wp.kernel(module="unique", enable_backward=False)
    def gather(
        first: wp.vec2i,
        active: wp.array(dtype=int),
        begin: wp.array(dtype=int),
        points: wp.array(dtype=int),
        weights: wp.array(dtype=wp.float64),
        offsets: wp.array2d(dtype=int),
        slots: wp.array2d(dtype=int),
        shares: wp.array2d(dtype=wp.vec3d),
        scale: wp.float64,
        x_out: wp.array2d(dtype=vec3),
    ):
        """x += scale W^T s, s the pairs' shares summed on points in the order of the slots."""
        e, row = wp.tid()
        env = first[0] + e
        i = first[1] + row
        if active[env] == 0 or begin[i] == begin[i + 1]:
            return
        total = wp.vec3d()
        for k in range(begin[i], begin[i + 1]):
            p = points[k]
            s = wp.vec3d()
            for q in range(offsets[env, p], offsets[env, p + 1]):
                s += shares[env, slots[env, q]]
            total += weights[k] * s
        x_out[env, i] = x_out[env, i] + vec3(scale * total)

    return {"embed": embed, "embed_way": embed_way, "gather": gather}


def row_kernels(width):
    """Kernels between the table of contact parameters and the rows of a list, whose laws take `width` parameters."""
    Row = wp.types.vector(width, wp.float64)
    shaped, armed = width > 6, width > 10

    @wp.kernel(module="unique", enable_backward=False)
    def fill(
        first: wp.vec2i,
        active: wp.array(dtype=int),
        stencil: wp.array3d(dtype=int),
        pair_class: wp.array2d(dtype=int),
        weight: wp.array2d(dtype=wp.float64),
        offset: wp.array2d(dtype=wp.float64),
        shape: wp.array2d(dtype=int),
        rolls: wp.array2d(dtype=int),
        arm: wp.array2d(dtype=vec6),
        shape_kind: wp.array(dtype=int),
        shape_size: wp.array(dtype=wp.vec3d),
        gap: wp.float64,
        creep: wp.float64,
        tangent: int,
        table: wp.array2d(dtype=wp.vec3d),
        p_out: wp.array2d(dtype=Row),
    ):
        """(strength, gap, offset, friction, damping, creep[, kind, size[, arm]]) from table rows (stiffness, friction, damping) by area.

        Without friction where `rolls` is 1: another row has it. `tangent`: 1 where the table holds tangents, for which the rest stands
        still.
        """
        e, r = wp.tid()
        env = first[0] + e
        t = first[1] + r
        if active[env] == 0 or stencil[env, t, 0] < 0:
            return
        c = table[env, pair_class[env, t]]
        p = Row()
        p[0] = c[0] * weight[env, t]
        p[3] = wp.where(rolls[env, t] == 0, c[1], wp.float64(0.0))
        p[4] = c[2] * weight[env, t]
        if tangent == 0:
            p[1] = gap
            p[2] = offset[env, t]
            p[5] = creep
            if wp.static(shaped):
                k = shape[env, t]
                p[6] = wp.float64(shape_kind[k])
                for a in range(3):
                    p[7 + a] = shape_size[k][a]
            if wp.static(armed):
                for a in range(6):
                    p[10 + a] = arm[env, t][a]
        p_out[env, t] = p

    @wp.kernel(module="unique", enable_backward=False)
    def collect(
        first: int,
        active: wp.array(dtype=int),
        rows: int,
        stencil: wp.array3d(dtype=int),
        pair_class: wp.array2d(dtype=int),
        weight: wp.array2d(dtype=wp.float64),
        rolls: wp.array2d(dtype=int),
        p: wp.array2d(dtype=Row),
        table_out: wp.array2d(dtype=wp.vec3d),
    ):
        """Add the rows' gradients to those of the table; one thread an environment, so that the order is fixed."""
        e, once = wp.tid()
        env = first + e
        if active[env] == 0:
            return
        for t in range(rows):
            if stencil[env, t, 0] >= 0:
                c = pair_class[env, t]
                g = p[env, t]
                a = weight[env, t]
                friction = wp.where(rolls[env, t] == 0, g[3], wp.float64(0.0))
                table_out[env, c] = table_out[env, c] + wp.vec3d(a * g[0], friction, a * g[4])

    return {"fill": fill, "collect": collect}


def spread_kernel(block_real, points):
    """Kernel that spreads the blocks of pairs of `points` surface points over particles."""
    Block = wp.types.matrix((3, 4), block_real)
    k = wp.constant(points)

    @wp.func
    def scaled(B: Block, w: block_real, turned: int) -> Block:
        C = Block()
        for i in range(3):
            for j in range(3):
                C[i, j] = w * wp.where(turned == 1, B[j, i], B[i, j])
        return C

    @wp.func
    def place_of(columns: wp.array(dtype=int), begin: int, end: int, column: int) -> int:
        """Where a column stands among those of a row, or -1."""
        low = int(begin)
        high = int(end)
        while low < high:
            middle = (low + high) // 2
            if columns[middle] < column:
                low = middle + 1
            else:
                high = middle
        if low < end and columns[low] == column:
            return low
        return -1

    @wp.kernel(module="unique", enable_backward=False)
    def spread(
        active: wp.array(dtype=int),
        stencil: wp.array3d(dtype=int),
        owner_count: wp.array(dtype=int),
        owners: wp.array2d(dtype=int),
        weights: wp.array2d(dtype=wp.float64),
        free: wp.array(dtype=int),
        row_begin: wp.array(dtype=int),
        columns: wp.array(dtype=int),
        split: int,
        block_offset: int,
        block: wp.array2d(dtype=Block),
        values_out: wp.array2d(dtype=Block),
        count_out: wp.array(dtype=int),
        row_out: wp.array2d(dtype=int),
        column_out: wp.array2d(dtype=int),
        entry_out: wp.array2d(dtype=Block),
    ):
        """Blocks within the matrix's pattern are added to `values_out`; the others are appended to the list of entries (row > column).

        Blocks between the two features, whose points are those below `split` and the others, are always appended: the pattern may hold
        only some of them, and with those alone the matrix in `values_out`, on which preconditioners are built, might not be definite.
        On the CPU threads run in order and so do the sums; on CUDA additions are atomic and their order is not fixed.
        """
        env, t = wp.tid()
        particle_count = row_begin.shape[0] - 1
        if active[env] == 0 or stencil[env, t, 0] < 0:
            return
        base = block_offset + t * (k * (k + 1) // 2)
        trace = block_real(0.0)
        for a in range(int(k)):
            D = block[env, base + a * (a + 1) // 2 + a]
            trace += wp.abs(D[0, 0]) + wp.abs(D[1, 1]) + wp.abs(D[2, 2])
        if trace == block_real(0.0):
            return
        slot = int(base)
        for a in range(int(k)):
            pa = stencil[env, t, a]
            for b in range(a + 1):
                B = block[env, slot]
                slot += 1
                pb = stencil[env, t, b]
                for m in range(owner_count[pa]):
                    i = owners[pa, m]
                    for n in range(owner_count[pb]):
                        j = owners[pb, n]
                        if free[i] != 0 and free[j] != 0:
                            w = block_real(weights[pa, m] * weights[pb, n])
                            if i == j:
                                wp.atomic_add(values_out, env, i, scaled(B, w, 0))
                                if a != b:
                                    wp.atomic_add(values_out, env, i, scaled(B, w, 1))
                            elif i > j or a != b:
                                high = wp.max(i, j)
                                low = wp.min(i, j)
                                C = scaled(B, w, wp.where(i > j, 0, 1))
                                own = wp.int32(-1)
                                if a < split or b >= split:
                                    own = place_of(columns, row_begin[high], row_begin[high + 1], low)
                                if own >= 0:
                                    wp.atomic_add(values_out, env, particle_count + own, C)
                                else:
                                    at = wp.atomic_add(count_out, env, 1)
                                    if at < row_out.shape[1]:
                                        row_out[env, at] = high
                                        column_out[env, at] = low
                                        entry_out[env, at] = C

    return spread
