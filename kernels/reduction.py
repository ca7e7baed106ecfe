"""Sums in a fixed order: shares to particles, blocks to matrix entries, scalars of an environment.

`first` is the first environment and the first particle, entry or chunk of a launch. A sum belongs to one thread, so results do not
depend on how launches are sliced.
"""

import warp as wp

CHUNK = wp.constant(1024)  # terms that one thread adds up before the second stage


_SCATTER_BLOCKS = r"""
typedef SCALAR S;
const S* __restrict__ from = (const S*)((const char*)blocks.data + (size_t)env * blocks.strides[0]);
S* __restrict__ to = (S*)((char*)values.data + (size_t)env * values.strides[0]);
const int* __restrict__ entry = entries.data;
for (size_t k = 0; k < 12 * (size_t)entry_count; ++k) to[k] = 0;
for (int k = 0; k < block_count; ++k, from += 12) {
  const int n = entry[k];
  if (n >= 0) {
    S* __restrict__ b = to + 12 * (size_t)n;
    for (int c = 0; c < 12; ++c) b[c] += from[c];
  } else if (n != none) {
    S* __restrict__ b = to + 12 * (size_t)(-1 - n);
    for (int r = 0; r < 3; ++r) for (int c = 0; c < 3; ++c) b[4 * r + c] += from[4 * c + r];
  }
}
"""
NO_ENTRY = wp.constant(-(2**31))  # blocks that touch a fixed particle


def reduction_kernels(real, block_real):
    """Kernels for one pair of scalar types: `gather`, `assemble`, `multiply`, `trial`, `descent`, `way`, `dot`, `largest`, `combine`."""
    vec3 = wp.types.vector(3, real)
    Block = wp.types.matrix((3, 4), block_real)
    Inertia = wp.types.vector(5, real)  # parameters of the law `inertia`, the mass first

    @wp.kernel(module="unique", enable_backward=False)
    def gather(
        first: wp.vec2i,
        active: wp.array(dtype=int),
        offsets: wp.array(dtype=int),
        slots: wp.array(dtype=int),
        shares: wp.array2d(dtype=vec3),
        sum_out: wp.array2d(dtype=vec3),
    ):
        e, row = wp.tid()
        env = first[0] + e
        i = first[1] + row
        if active[env] == 0:
            return
        s = vec3()
        for q in range(offsets[i], offsets[i + 1]):
            s += shares[env, slots[q]]
        sum_out[env, i] = s

    @wp.kernel(module="unique", enable_backward=False)
    def assemble(
        first: wp.vec2i,
        active: wp.array(dtype=int),
        offsets: wp.array(dtype=int),
        slots: wp.array(dtype=int),
        blocks: wp.array2d(dtype=Block),
        particle_count: int,
        shift: wp.array(dtype=real),
        inertia: wp.array2d(dtype=Inertia),
        values_out: wp.array2d(dtype=Block),
    ):
        """Slots are block numbers; a negative one, -1 - n, means the transpose of block n. No slot: the identity.

        `shift[env]` [1/s^2] times the particle's mass is added to the diagonal.
        """
        e, row = wp.tid()
        env = first[0] + e
        i = first[1] + row
        if active[env] == 0:
            return
        B = Block()
        if offsets[i] == offsets[i + 1]:
            B[0, 0] = block_real(1.0)
            B[1, 1] = block_real(1.0)
            B[2, 2] = block_real(1.0)
        for q in range(offsets[i], offsets[i + 1]):
            n = slots[q]
            if n >= 0:
                B += blocks[env, n]
            else:
                A = blocks[env, -1 - n]
                for r in range(3):
                    for c in range(3):
                        B[r, c] += A[c, r]
        if i < particle_count:
            lift = block_real(shift[env] * inertia[env, i][0])
            for r in range(3):
                B[r, r] += lift
        values_out[env, i] = B

    scalar = {wp.float32: "float", wp.float64: "double"}[block_real]

    @wp.func_native(_SCATTER_BLOCKS.replace("SCALAR", scalar))
    def add_blocks(
        env: int,
        block_count: int,
        entry_count: int,
        none: int,
        entries: wp.array(dtype=int),
        blocks: wp.array2d(dtype=Block),
        values: wp.array2d(dtype=Block),
    ): ...

    @wp.kernel(module="unique", enable_backward=False)
    def scatter(
        first: int,
        active: wp.array(dtype=int),
        block_count: int,
        entry_count: int,
        offsets: wp.array(dtype=int),
        entries: wp.array(dtype=int),
        blocks: wp.array2d(dtype=Block),
        particle_count: int,
        shift: wp.array(dtype=real),
        inertia: wp.array2d(dtype=Inertia),
        values_out: wp.array2d(dtype=Block),
    ):
        """The same as `assemble` with one thread an environment: blocks are read in the order in which they lie in memory.

        `entries[k]` is where block k belongs, -1 - n for the transpose at n, NO_ENTRY for nowhere. On a CPU the gather of `assemble` waits
        for memory: this takes a fifth of its time on a sheet of 4,096 particles.
        """
        e, once = wp.tid()
        env = first + e
        if active[env] == 0:
            return
        add_blocks(env, block_count, entry_count, NO_ENTRY, entries, blocks, values_out)
        for i in range(particle_count):
            lift = block_real(shift[env] * inertia[env, i][0])
            if offsets[i] == offsets[i + 1]:
                lift += block_real(1.0)
            B = values_out[env, i]
            for r in range(3):
                B[r, r] += lift
            values_out[env, i] = B

    @wp.kernel(module="unique", enable_backward=False)
    def multiply(
        first: wp.vec2i,
        active: wp.array(dtype=int),
        row_begin: wp.array(dtype=int),
        columns: wp.array(dtype=int),
        slots: wp.array(dtype=int),
        values: wp.array2d(dtype=Block),
        u: wp.array2d(dtype=vec3),
        product_out: wp.array2d(dtype=vec3),
    ):
        """Assembled matrix times a vector over the full pattern: slot n is block n, -1 - n its transpose."""
        e, row = wp.tid()
        env = first[0] + e
        i = first[1] + row
        if active[env] == 0:
            return
        s = vec3()
        for k in range(row_begin[i], row_begin[i + 1]):
            n = slots[k]
            w = u[env, columns[k]]
            if n >= 0:
                B = values[env, n]
                for r in range(3):
                    s[r] += real(B[r, 0]) * w[0] + real(B[r, 1]) * w[1] + real(B[r, 2]) * w[2]
            else:
                B = values[env, -1 - n]
                for r in range(3):
                    s[r] += real(B[0, r]) * w[0] + real(B[1, r]) * w[1] + real(B[2, r]) * w[2]
        product_out[env, i] = s

    @wp.func
    def square(u: vec3) -> wp.float64:
        return wp.float64(u[0]) * wp.float64(u[0]) + wp.float64(u[1]) * wp.float64(u[1]) + wp.float64(u[2]) * wp.float64(u[2])

    @wp.func
    def larger(s: wp.float64, n: wp.float64) -> wp.float64:
        """The larger one; infinite when `n` is NaN, which compares false with everything."""
        t = s
        if n >= s:
            t = n
        elif not (n < s):
            t = wp.float64(wp.inf)
        return t

    @wp.kernel(module="unique", enable_backward=False)
    def trial(
        first: wp.vec2i,
        particles: int,
        elements: int,
        pairs: int,
        free: wp.array(dtype=int),
        gradient: wp.array2d(dtype=vec3),
        energy: wp.array2d(dtype=wp.float64),
        base: wp.array2d(dtype=wp.float64),
        pair_energy: wp.array2d(dtype=wp.float64),
        pair_base: wp.array2d(dtype=wp.float64),
        partial_out: wp.array2d(dtype=wp.vec3d),
    ):
        """Largest gradient of a free particle, squared; sum of energy differences (totals would cancel); sum of |base|."""
        e, row = wp.tid()
        env = first[0] + e
        c = first[1] + row
        largest_one = wp.float64(0.0)
        change = wp.float64(0.0)
        size = wp.float64(0.0)
        for i in range(c * CHUNK, wp.min(particles, (c + 1) * CHUNK)):
            if free[i] != 0:
                largest_one = larger(largest_one, square(gradient[env, i]))
        for t in range(c * CHUNK, wp.min(elements, (c + 1) * CHUNK)):
            change += energy[env, t] - base[env, t]
            size += wp.abs(base[env, t])
        for t in range(c * CHUNK, wp.min(pairs, (c + 1) * CHUNK)):
            change += pair_energy[env, t] - pair_base[env, t]
            size += wp.abs(pair_base[env, t])
        partial_out[env, c] = wp.vec3d(largest_one, change, size)

    @wp.kernel(module="unique", enable_backward=False)
    def descent(
        first: wp.vec2i,
        particles: int,
        free: wp.array(dtype=int),
        gradient: wp.array2d(dtype=vec3),
        direction: wp.array2d(dtype=vec3),
        partial_out: wp.array2d(dtype=wp.vec3d),
    ):
        """Of free particles: longest direction, squared; gradient . direction; direction . direction."""
        e, row = wp.tid()
        env = first[0] + e
        c = first[1] + row
        longest = wp.float64(0.0)
        slope = wp.float64(0.0)
        whole = wp.float64(0.0)
        for i in range(c * CHUNK, wp.min(particles, (c + 1) * CHUNK)):
            if free[i] != 0:
                g = gradient[env, i]
                d = direction[env, i]
                slope += wp.float64(g[0]) * wp.float64(d[0]) + wp.float64(g[1]) * wp.float64(d[1]) + wp.float64(g[2]) * wp.float64(d[2])
                whole += square(d)
                longest = larger(longest, square(d))
        partial_out[env, c] = wp.vec3d(longest, slope, whole)

    @wp.kernel(module="unique", enable_backward=False)
    def dot(
        first: wp.vec2i,
        count: int,
        free: wp.array(dtype=int),
        a: wp.array2d(dtype=vec3),
        b: wp.array2d(dtype=vec3),
        partial_out: wp.array2d(dtype=wp.float64),
    ):
        e, row = wp.tid()
        env = first[0] + e
        c = first[1] + row
        s = wp.float64(0.0)
        for i in range(c * CHUNK, wp.min(count, (c + 1) * CHUNK)):
            if free[i] != 0:
                u = a[env, i]
                v = b[env, i]
                s += wp.float64(u[0]) * wp.float64(v[0]) + wp.float64(u[1]) * wp.float64(v[1])
                s += wp.float64(u[2]) * wp.float64(v[2])
        partial_out[env, c] = s

    @wp.kernel(module="unique", enable_backward=False)
    def largest(
        first: wp.vec2i,
        count: int,
        free: wp.array(dtype=int),
        a: wp.array2d(dtype=vec3),
        partial_out: wp.array2d(dtype=wp.float64),
    ):
        """Largest length of a free particle's vector; infinite when one is not finite."""
        e, row = wp.tid()
        env = first[0] + e
        c = first[1] + row
        s = wp.float64(0.0)
        for i in range(c * CHUNK, wp.min(count, (c + 1) * CHUNK)):
            if free[i] != 0:
                s = larger(s, square(a[env, i]))
        partial_out[env, c] = wp.sqrt(s)

    @wp.kernel(module="unique", enable_backward=False)
    def way(
        first: wp.vec2i,
        count: int,
        free: wp.array(dtype=int),
        x: wp.array2d(dtype=vec3),
        target: wp.array2d(dtype=vec3),
        way_out: wp.array2d(dtype=vec3),
        partial_out: wp.array2d(dtype=wp.float64),
    ):
        """x - target of held particles and zero of the others; its largest length, infinite when one is not finite."""
        e, row = wp.tid()
        env = first[0] + e
        c = first[1] + row
        s = wp.float64(0.0)
        for i in range(c * CHUNK, wp.min(count, (c + 1) * CHUNK)):
            w = vec3()
            if free[i] == 0:
                w = x[env, i] - target[env, i]
                s = larger(s, square(w))
            way_out[env, i] = w
        partial_out[env, c] = wp.sqrt(s)

    @wp.kernel(module="unique", enable_backward=False)
    def combine(
        first: wp.vec2i,
        active: wp.array(dtype=int),
        free: wp.array(dtype=int),
        alpha: wp.array(dtype=real),
        beta: wp.array(dtype=real),
        a: wp.array2d(dtype=vec3),
        b: wp.array2d(dtype=vec3),
        sum_out: wp.array2d(dtype=vec3),
    ):
        """alpha a + beta b on free particles, a on the others."""
        e, row = wp.tid()
        env = first[0] + e
        i = first[1] + row
        if active[env] == 0:
            return
        if free[i] != 0:
            sum_out[env, i] = alpha[env] * a[env, i] + beta[env] * b[env, i]
        else:
            sum_out[env, i] = a[env, i]

    return {
        "gather": gather,
        "assemble": assemble,
        "scatter": scatter,
        "multiply": multiply,
        "trial": trial,
        "descent": descent,
        "way": way,
        "dot": dot,
        "largest": largest,
        "combine": combine,
    }
