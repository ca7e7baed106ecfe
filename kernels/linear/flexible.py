"""Flexible conjugate gradient with its scalars and tests on the device.

Source: Notay 2000. The preconditioner and the product are other launches. As in `kernels.newton`, kernels of two dimensions add up
every `parts`-th term, those of one decide for an environment, and a flag of one entry tells a loop whether any goes on.

`scalars[env]` = (rz, target norm, step length or direction's weight, norm of the right side, norm of the residual).
"""

import warp as wp


def flexible_kernels(real):
    """Kernels for one scalar type, in the order in which a solve calls them."""
    vec3 = wp.types.vector(3, real)
    f64 = wp.float64

    @wp.kernel(module="unique", enable_backward=False)
    def begin(
        first: wp.vec2i,
        free: wp.array(dtype=int),
        right: wp.array2d(dtype=vec3),
        r_out: wp.array2d(dtype=vec3),
        p_out: wp.array2d(dtype=vec3),
        old_out: wp.array2d(dtype=vec3),
        solution_out: wp.array2d(dtype=vec3),
    ):
        e, row = wp.tid()
        env = first[0] + e
        i = first[1] + row
        r = vec3()
        if free[i] != 0:
            r = right[env, i]
        r_out[env, i] = r
        p_out[env, i] = vec3()
        old_out[env, i] = vec3()
        solution_out[env, i] = vec3()

    @wp.kernel(module="unique", enable_backward=False)
    def inner_two(
        first: wp.vec2i,
        parts: int,
        count: int,
        free: wp.array(dtype=int),
        a: wp.array2d(dtype=vec3),
        b: wp.array2d(dtype=vec3),
        c: wp.array2d(dtype=vec3),
        sums_out: wp.array3d(dtype=f64),
        flag_out: wp.array(dtype=int),
    ):
        """Partial sums of a.b and a.c over free particles; clears the flag."""
        e, part = wp.tid()
        env = first[0] + e
        k = first[1] + part
        if env == 0 and k == 0:
            flag_out[0] = 0
        s = f64(0.0)
        t = f64(0.0)
        for i in range(k, count, parts):
            if free[i] != 0:
                u = a[env, i]
                v = b[env, i]
                w = c[env, i]
                s += f64(u[0]) * f64(v[0]) + f64(u[1]) * f64(v[1]) + f64(u[2]) * f64(v[2])
                t += f64(u[0]) * f64(w[0]) + f64(u[1]) * f64(w[1]) + f64(u[2]) * f64(w[2])
        sums_out[env, k, 0] = s
        sums_out[env, k, 1] = t

    @wp.func
    def total(env: int, parts: int, which: int, sums: wp.array3d(dtype=f64)) -> f64:
        s = f64(0.0)
        for k in range(parts):
            s += sums[env, k, which]
        return s

    @wp.kernel(module="unique", enable_backward=False)
    def decide_start(
        first: int,
        parts: int,
        tolerance: f64,
        sums: wp.array3d(dtype=f64),
        scalars_out: wp.array2d(dtype=f64),
        iterations_out: wp.array(dtype=int),
        indefinite_out: wp.array(dtype=int),
        active_out: wp.array(dtype=int),
        busy_out: wp.array(dtype=int),
    ):
        e, once = wp.tid()
        env = first + e
        scale = wp.sqrt(total(env, parts, 0, sums))
        scalars_out[env, 0] = f64(1.0)
        scalars_out[env, 1] = tolerance * scale
        scalars_out[env, 3] = scale
        scalars_out[env, 4] = scale
        iterations_out[env] = 0
        indefinite_out[env] = 0
        goes = scale > f64(0.0) and wp.isfinite(scale)
        active_out[env] = wp.where(goes, 1, 0)
        if goes:
            busy_out[0] = 1

    @wp.kernel(module="unique", enable_backward=False)
    def mark(
        first: int,
        active: wp.array(dtype=int),
        status: wp.array(dtype=int),
        project_out: wp.array(dtype=int),
        again_out: wp.array(dtype=int),
    ):
        """Environments whose preconditioner was not positive definite are projected from now on."""
        e, once = wp.tid()
        env = first + e
        if active[env] != 0 and status[env] != 0 and project_out[env] == 0:
            project_out[env] = 1
            again_out[0] = 1

    @wp.kernel(module="unique", enable_backward=False)
    def decide_direction(
        first: int,
        parts: int,
        sums: wp.array3d(dtype=f64),
        iterations: wp.array(dtype=int),
        active: wp.array(dtype=int),
        scalars_out: wp.array2d(dtype=f64),
    ):
        e, once = wp.tid()
        env = first + e
        if active[env] == 0:
            return
        rz = total(env, parts, 0, sums)
        weight = f64(0.0)
        if iterations[env] > 0 and scalars_out[env, 0] != f64(0.0):
            weight = (rz - total(env, parts, 1, sums)) / scalars_out[env, 0]
        scalars_out[env, 0] = rz
        scalars_out[env, 2] = weight

    @wp.kernel(module="unique", enable_backward=False)
    def turn(
        first: wp.vec2i,
        active: wp.array(dtype=int),
        free: wp.array(dtype=int),
        scalar: wp.array2d(dtype=f64),
        z: wp.array2d(dtype=vec3),
        p_out: wp.array2d(dtype=vec3),
    ):
        e, row = wp.tid()
        env = first[0] + e
        i = first[1] + row
        if active[env] != 0 and free[i] != 0:
            p_out[env, i] = z[env, i] + real(scalar[env, 2]) * p_out[env, i]

    @wp.kernel(module="unique", enable_backward=False)
    def decide_step(
        first: int,
        parts: int,
        sums: wp.array3d(dtype=f64),
        scalars_out: wp.array2d(dtype=f64),
        indefinite_out: wp.array(dtype=int),
        active_out: wp.array(dtype=int),
    ):
        e, once = wp.tid()
        env = first + e
        if active_out[env] == 0:
            return
        curvature = total(env, parts, 0, sums)
        if curvature > f64(0.0):
            scalars_out[env, 2] = scalars_out[env, 0] / curvature
        else:
            indefinite_out[env] = 1
            active_out[env] = 0

    @wp.kernel(module="unique", enable_backward=False)
    def advance(
        first: wp.vec2i,
        active: wp.array(dtype=int),
        free: wp.array(dtype=int),
        scalar: wp.array2d(dtype=f64),
        p: wp.array2d(dtype=vec3),
        q: wp.array2d(dtype=vec3),
        r_out: wp.array2d(dtype=vec3),
        old_out: wp.array2d(dtype=vec3),
        solution_out: wp.array2d(dtype=vec3),
    ):
        e, row = wp.tid()
        env = first[0] + e
        i = first[1] + row
        if active[env] != 0 and free[i] != 0:
            alpha = real(scalar[env, 2])
            old_out[env, i] = r_out[env, i]
            solution_out[env, i] = solution_out[env, i] + alpha * p[env, i]
            r_out[env, i] = r_out[env, i] - alpha * q[env, i]

    @wp.kernel(module="unique", enable_backward=False)
    def decide_end(
        first: int,
        parts: int,
        limit: int,
        sums: wp.array3d(dtype=f64),
        scalars_out: wp.array2d(dtype=f64),
        iterations_out: wp.array(dtype=int),
        active_out: wp.array(dtype=int),
        busy_out: wp.array(dtype=int),
    ):
        e, once = wp.tid()
        env = first + e
        if active_out[env] == 0:
            return
        size = wp.sqrt(total(env, parts, 0, sums))
        scalars_out[env, 4] = size
        iterations_out[env] = iterations_out[env] + 1
        if size > scalars_out[env, 1] and iterations_out[env] < limit:
            busy_out[0] = 1
        else:
            active_out[env] = 0

    @wp.kernel(module="unique", enable_backward=False)
    def pack(
        first: int,
        scalar: wp.array2d(dtype=f64),
        iterations: wp.array(dtype=int),
        indefinite: wp.array(dtype=int),
        report_out: wp.array2d(dtype=f64),
    ):
        """`report_out[env]` = (relative residual, iterations, whether a direction of negative curvature was met).

        The residual is NaN where the right side is not finite.
        """
        e, once = wp.tid()
        env = first + e
        report_out[env, 0] = f64(0.0)
        if scalar[env, 3] != f64(0.0):
            report_out[env, 0] = scalar[env, 4] / scalar[env, 3]
        report_out[env, 1] = f64(iterations[env])
        report_out[env, 2] = f64(indefinite[env])

    kernels = [begin, inner_two, decide_start, mark, decide_direction, turn, decide_step, advance, decide_end, pack]
    return {kernel.func.__name__: kernel for kernel in kernels}
