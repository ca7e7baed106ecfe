"""Tangents of a law by reverse mode: one pass for each entry of its gradient, whatever the number of directions.

For laws that change over lengths far below their stencil's size, as contact does within its layer: the differences of
`kernels.elements`, whose size is a share of the stencil's, would step across all of it.
"""

import warp as wp


def exact_tangent_kernel(functions, points, parameter_count, real):
    """Kernel `tangent` with the arguments of the one in `kernels.elements`; needs no size of differences."""
    gradient = functions[1]
    k = wp.constant(points)
    Stencil = wp.types.matrix((points, 3), real)
    Parameters = wp.types.vector(parameter_count, real)
    vec3 = wp.types.vector(3, real)

    @wp.func
    def gather(env: int, t: int, stencil: wp.array3d(dtype=int), x: wp.array2d(dtype=vec3)) -> Stencil:
        s = Stencil()
        for a in range(k):
            q = x[env, stencil[env, t, a]]
            s[a, 0] = q[0]
            s[a, 1] = q[1]
            s[a, 2] = q[2]
        return s

    @wp.func
    def along(row: Stencil, d: int, env: int, t: int, stencil: wp.array3d(dtype=int), dx: wp.array3d(dtype=vec3)) -> real:
        total = real(0.0)
        for a in range(k):
            total += wp.dot(row[a], dx[d, env, stencil[env, t, a]])
        return total

    @wp.func
    def work(direction: Stencil, x: Stencil, x1: Stencil, x2: Stencil, reference: Stencil, p: Parameters, step: vec3) -> real:
        return wp.ddot(direction, gradient(x, x1, x2, reference, p, step))

    @wp.kernel(module="unique", enable_backward=False)
    def tangent(
        first: wp.vec2i,
        active: wp.array(dtype=int),
        step: vec3,
        stencil: wp.array3d(dtype=int),
        p: wp.array2d(dtype=Parameters),
        x: wp.array2d(dtype=vec3),
        x1: wp.array2d(dtype=vec3),
        x2: wp.array2d(dtype=vec3),
        reference: wp.array2d(dtype=vec3),
        direction_count: int,
        needed: wp.array(dtype=int),
        difference: real,
        dx: wp.array3d(dtype=vec3),
        dx1: wp.array3d(dtype=vec3),
        dx2: wp.array3d(dtype=vec3),
        dreference: wp.array3d(dtype=vec3),
        dp: wp.array3d(dtype=Parameters),
        share_offset: int,
        share_out: wp.array3d(dtype=vec3),
    ):
        e, row = wp.tid()
        env = first[0] + e
        t = first[1] + row
        if active[env] == 0 or stencil[env, t, 0] < 0:
            return
        xs = gather(env, t, stencil, x)
        xs1 = gather(env, t, stencil, x1)
        xs2 = gather(env, t, stencil, x2)
        rs = gather(env, t, stencil, reference)
        count = int(k)
        for a in range(count):
            s = share_offset + k * t + a
            for d in range(direction_count):
                share_out[d, env, s] = vec3()
            for i in range(3):
                unit = Stencil()
                unit[a, i] = real(1.0)
                dl, rx, rx1, rx2, rr, rp, ds = wp.grad(work)(unit, xs, xs1, xs2, rs, p[env, t], step)
                for d in range(direction_count):
                    if needed[d] != 0:
                        total = wp.dot(rp, dp[d, env, t])
                        total += along(rx, d, env, t, stencil, dx) + along(rx1, d, env, t, stencil, dx1)
                        total += along(rx2, d, env, t, stencil, dx2) + along(rr, d, env, t, stencil, dreference)
                        out = share_out[d, env, s]
                        out[i] = total
                        share_out[d, env, s] = out

    return tangent
