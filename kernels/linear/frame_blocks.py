"""The preconditioner's blocks of frames: the four particles of a rigid body are one block of twelve, not four of three.

A frame is stiff against all but its six rigid motions, which blocks of three know nothing of. The parallel form of what the native
conjugate gradient does within its one launch: gather each frame's part of the matrix, add what contact put beside the pattern, factorise
(Cholesky), and solve where block Jacobi stands for the other particles. `factor[env, 144 f + 12 i + j]`, lower triangle, the inverse of
the diagonal on its diagonal; double precision whatever the matrix is.
"""

import warp as wp


def frame_kernels(block_real):
    """Kernels `gather`, `add_entries`, `factorise` and `solve` for blocks of one scalar type; `flags` as in `parallel_kernels`."""
    v3 = wp.types.vector(3, block_real)
    Block = wp.types.matrix((3, 4), block_real)
    vec12 = wp.types.vector(12, wp.float64)
    side = wp.constant(12)

    @wp.kernel(module="unique", enable_backward=False)
    def gather(
        flags: wp.array(dtype=int),
        frames: wp.array(dtype=int),
        row_begin: wp.array(dtype=int),
        columns: wp.array(dtype=int),
        slots: wp.array(dtype=int),
        values: wp.array2d(dtype=Block),
        factor_out: wp.array2d(dtype=wp.float64),
    ):
        """The fixed pattern's blocks of a frame, over (environments, frames); `frames`: the first particle of each."""
        env, f = wp.tid()
        if flags[env] != 0:
            return
        start = frames[f]
        base = 144 * f
        for k in range(int(side * side)):
            factor_out[env, base + k] = wp.float64(0.0)
        for a in range(4):
            D = values[env, start + a]
            for i in range(3):
                for j in range(3):
                    factor_out[env, base + 12 * (3 * a + i) + 3 * a + j] = wp.float64(D[i, j])
            for s in range(row_begin[start + a], row_begin[start + a + 1]):
                b = columns[s] - start
                n = slots[s]
                if b >= 0 and b < a and n >= 0:
                    B = values[env, n]
                    for i in range(3):
                        for j in range(3):
                            factor_out[env, base + 12 * (3 * a + i) + 3 * b + j] = wp.float64(B[i, j])

    @wp.kernel(module="unique", enable_backward=False)
    def add_entries(
        flags: wp.array(dtype=int),
        frames: wp.array(dtype=int),
        frame_of: wp.array(dtype=int),
        count: wp.array(dtype=int),
        rows: wp.array2d(dtype=int),
        columns: wp.array2d(dtype=int),
        blocks: wp.array2d(dtype=Block),
        factor_out: wp.array2d(dtype=wp.float64),
    ):
        """Blocks beside the pattern that join two particles of one frame (row > column); `frame_of`: of each particle, or -1."""
        env, k = wp.tid()
        if flags[env] != 0 or k >= count[env]:
            return
        f = frame_of[rows[env, k]]
        if f < 0 or f != frame_of[columns[env, k]]:
            return
        a = rows[env, k] - frames[f]
        b = columns[env, k] - frames[f]
        B = blocks[env, k]
        for i in range(3):
            for j in range(3):
                wp.atomic_add(factor_out, env, 144 * f + 12 * (3 * a + i) + 3 * b + j, wp.float64(B[i, j]))

    @wp.kernel(module="unique", enable_backward=False)
    def factorise(flags: wp.array(dtype=int), factor_out: wp.array2d(dtype=wp.float64), flags_out: wp.array(dtype=int)):
        """In place, over (environments, frames); says 1 in `flags_out` where a block is not positive definite."""
        env, f = wp.tid()
        if flags[env] == 2:
            return
        base = 144 * f
        for i in range(int(side)):
            for j in range(i + 1):
                s = factor_out[env, base + 12 * i + j]
                for k in range(j):
                    s -= factor_out[env, base + 12 * i + k] * factor_out[env, base + 12 * j + k]
                if i == j:
                    if not (s > wp.float64(0.0)):
                        flags_out[env] = 1
                        s = wp.float64(1.0)
                    factor_out[env, base + 13 * i] = wp.float64(1.0) / wp.sqrt(s)
                else:
                    factor_out[env, base + 12 * i + j] = s * factor_out[env, base + 13 * j]

    @wp.kernel(module="unique", enable_backward=False)
    def solve(
        flags: wp.array(dtype=int),
        frames: wp.array(dtype=int),
        factor: wp.array2d(dtype=wp.float64),
        r: wp.array2d(dtype=v3),
        z_out: wp.array2d(dtype=v3),
    ):
        """z = block^-1 r of a frame, over (environments, frames)."""
        env, f = wp.tid()
        if flags[env] != 0:
            return
        base = 144 * f
        start = frames[f]
        y = vec12()
        for i in range(int(side)):
            s = wp.float64(r[env, start + i / 3][i % 3])
            for k in range(i):
                s -= factor[env, base + 12 * i + k] * y[k]
            y[i] = s * factor[env, base + 13 * i]
        for n in range(int(side)):
            i = 11 - n
            s = y[i]
            for k in range(i + 1, int(side)):
                s -= factor[env, base + 12 * k + i] * y[k]
            y[i] = s * factor[env, base + 13 * i]
        for a in range(4):
            z_out[env, start + a] = v3(block_real(y[3 * a]), block_real(y[3 * a + 1]), block_real(y[3 * a + 2]))

    return {"gather": gather, "add_entries": add_entries, "factorise": factorise, "solve": solve}
