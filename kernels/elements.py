"""Kernels that run any law over its stencils: gather the points, call the law, write each stencil's share.

They know no formula. Shares are written to slots of their own and summed in a fixed order by `kernels.reduction`, so that the
same run gives the same bits on every device. Rows are environments; `first` is the first environment and the first stencil of a
launch, so that a launch may cover a slice of them. A stencil that begins with a negative number is no stencil: pairs in contact come
and go, and their lists have room to spare.
"""

import warp as wp


def element_kernels(functions, points, parameter_count, curved, real, block_real):
    """Kernels of one law for one pair of scalar types.

    Args:
        functions: (energy, gradient, hessian) Warp functions of the law.
        points: stencil size k.
        parameter_count: number of parameters P.
        curved: for each parameter None where the gradient is affine in it, else its bounds (lower, upper), None for no bound.
        real: scalar type of states and parameters.
        block_real: scalar type of the matrix blocks.

    Returns:
        dict of kernels `evaluate`, `blocks`, `adjoint`, `product`, `tangent`.
    """
    energy, gradient, hessian = functions[:3]
    second_order = wp.constant(real is wp.float64)  # in single precision rounding would be more than what fourth order gains
    tenth = real(0.1)
    one, half, inner, outer = real(1.0), real(0.5), real(2.0 / 3.0), real(1.0 / 12.0)  # in the kernel they would be float32
    k = wp.constant(points)
    Stencil = wp.types.matrix((points, 3), real)
    Parameters = wp.types.vector(parameter_count, real)
    bending = Parameters(*(real(0.0 if bounds is None else 1.0) for bounds in curved))
    far = 1.0e30  # no bound
    lowest = Parameters(*(real(-far if bounds is None or bounds[0] is None else bounds[0]) for bounds in curved))
    highest = Parameters(*(real(far if bounds is None or bounds[1] is None else bounds[1]) for bounds in curved))
    vec3 = wp.types.vector(3, real)
    Block = wp.types.matrix((3, 4), block_real)

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
    def work(
        direction: Stencil,
        x: Stencil,
        x1: Stencil,
        x2: Stencil,
        reference: Stencil,
        p: Parameters,
        step: vec3,
    ) -> real:
        return wp.ddot(direction, gradient(x, x1, x2, reference, p, step))

    @wp.kernel(module="unique", enable_backward=False)
    def evaluate(
        first: wp.vec2i,
        active: wp.array(dtype=int),
        step: vec3,
        stencil: wp.array3d(dtype=int),
        p: wp.array2d(dtype=Parameters),
        x: wp.array2d(dtype=vec3),
        x1: wp.array2d(dtype=vec3),
        x2: wp.array2d(dtype=vec3),
        reference: wp.array2d(dtype=vec3),
        element_offset: int,
        share_offset: int,
        energy_out: wp.array2d(dtype=wp.float64),
        share_out: wp.array2d(dtype=vec3),
    ):
        e, row = wp.tid()
        env = first[0] + e
        t = first[1] + row
        if active[env] == 0:
            return
        if stencil[env, t, 0] < 0:
            energy_out[env, element_offset + t] = wp.float64(0.0)
            for a in range(int(k)):
                share_out[env, share_offset + k * t + a] = vec3()
            return
        xs = gather(env, t, stencil, x)
        xs1 = gather(env, t, stencil, x1)
        xs2 = gather(env, t, stencil, x2)
        rs = gather(env, t, stencil, reference)
        ps = p[env, t]
        energy_out[env, element_offset + t] = wp.float64(energy(xs, xs1, xs2, rs, ps, step))
        g = gradient(xs, xs1, xs2, rs, ps, step)
        for a in range(k):
            share_out[env, share_offset + k * t + a] = vec3(g[a, 0], g[a, 1], g[a, 2])

    @wp.kernel(module="unique", enable_backward=False)
    def blocks(
        first: wp.vec2i,
        active: wp.array(dtype=int),
        step: vec3,
        project: wp.array(dtype=int),
        stencil: wp.array3d(dtype=int),
        p: wp.array2d(dtype=Parameters),
        x: wp.array2d(dtype=vec3),
        x1: wp.array2d(dtype=vec3),
        x2: wp.array2d(dtype=vec3),
        reference: wp.array2d(dtype=vec3),
        block_offset: int,
        block_out: wp.array2d(dtype=Block),
    ):
        e, row = wp.tid()
        env = first[0] + e
        t = first[1] + row
        if active[env] == 0 or stencil[env, t, 0] < 0:
            return
        H = hessian(
            gather(env, t, stencil, x),
            gather(env, t, stencil, x1),
            gather(env, t, stencil, x2),
            gather(env, t, stencil, reference),
            p[env, t],
            step,
            project[env],
        )
        slot = int(block_offset + t * (k * (k + 1) // 2))
        count = int(k)  # a dynamic loop: unrolled, ten nodes would compile for minutes
        for a in range(count):
            for b in range(a + 1):
                B = Block()
                twice = a != b and stencil[env, t, a] == stencil[env, t, b]  # one particle at two places: both blocks fall on its diagonal
                for i in range(3):
                    for j in range(3):
                        value = H[3 * a + i, 3 * b + j]
                        if twice:
                            value += H[3 * a + j, 3 * b + i]
                        B[i, j] = block_real(value)
                block_out[env, slot] = B
                slot += 1

    @wp.kernel(module="unique", enable_backward=False)
    def adjoint(
        first: wp.vec2i,
        active: wp.array(dtype=int),
        step: vec3,
        stencil: wp.array3d(dtype=int),
        p: wp.array2d(dtype=Parameters),
        x: wp.array2d(dtype=vec3),
        x1: wp.array2d(dtype=vec3),
        x2: wp.array2d(dtype=vec3),
        reference: wp.array2d(dtype=vec3),
        direction: wp.array2d(dtype=vec3),
        parameter_scale: real,
        share_offset: int,
        x_out: wp.array2d(dtype=vec3),
        x1_out: wp.array2d(dtype=vec3),
        x2_out: wp.array2d(dtype=vec3),
        reference_out: wp.array2d(dtype=vec3),
        p_out: wp.array2d(dtype=Parameters),
    ):
        """lambda^T d(gradient)/d(everything): shares of positions and histories, parameters added up with `parameter_scale`."""
        e, row = wp.tid()
        env = first[0] + e
        t = first[1] + row
        if active[env] == 0 or stencil[env, t, 0] < 0:
            return
        xs = gather(env, t, stencil, x)
        xs1 = gather(env, t, stencil, x1)
        xs2 = gather(env, t, stencil, x2)
        rs = gather(env, t, stencil, reference)
        ls = gather(env, t, stencil, direction)
        dl, dx, dx1, dx2, dr, dp, ds = wp.grad(work)(ls, xs, xs1, xs2, rs, p[env, t], step)
        p_out[env, t] = p_out[env, t] + parameter_scale * dp
        for a in range(k):
            s = share_offset + k * t + a
            x_out[env, s] = vec3(dx[a, 0], dx[a, 1], dx[a, 2])
            x1_out[env, s] = vec3(dx1[a, 0], dx1[a, 1], dx1[a, 2])
            x2_out[env, s] = vec3(dx2[a, 0], dx2[a, 1], dx2[a, 2])
            reference_out[env, s] = vec3(dr[a, 0], dr[a, 1], dr[a, 2])

    @wp.kernel(module="unique", enable_backward=False)
    def product(
        first: wp.vec2i,
        active: wp.array(dtype=int),
        step: vec3,
        stencil: wp.array3d(dtype=int),
        p: wp.array2d(dtype=Parameters),
        x: wp.array2d(dtype=vec3),
        x1: wp.array2d(dtype=vec3),
        x2: wp.array2d(dtype=vec3),
        reference: wp.array2d(dtype=vec3),
        direction: wp.array2d(dtype=vec3),
        share_offset: int,
        share_out: wp.array2d(dtype=vec3),
    ):
        """Exact Hessian times a direction."""
        e, row = wp.tid()
        env = first[0] + e
        t = first[1] + row
        if active[env] == 0 or stencil[env, t, 0] < 0:
            return
        xs = gather(env, t, stencil, x)
        xs1 = gather(env, t, stencil, x1)
        xs2 = gather(env, t, stencil, x2)
        rs = gather(env, t, stencil, reference)
        ls = gather(env, t, stencil, direction)
        dl, dx, dx1, dx2, dr, dp, ds = wp.grad(work)(ls, xs, xs1, xs2, rs, p[env, t], step)
        for a in range(k):
            share_out[env, share_offset + k * t + a] = vec3(dx[a, 0], dx[a, 1], dx[a, 2])

    @wp.func
    def moved_by(x: Stencil, dx: Stencil, t: real) -> Stencil:
        return x + t * dx

    @wp.func
    def gather_tangent(d: int, env: int, t: int, stencil: wp.array3d(dtype=int), x: wp.array3d(dtype=vec3)) -> Stencil:
        s = Stencil()
        for a in range(k):
            q = x[d, env, stencil[env, t, a]]
            s[a, 0] = q[0]
            s[a, 1] = q[1]
            s[a, 2] = q[2]
        return s

    @wp.func
    def reach(x: Stencil, dx: Stencil) -> real:
        """Largest |dx| of a point over the stencil's own size; 0 for one point, whose laws are linear in it."""
        size = real(0.0)
        moved = real(0.0)
        for a in range(k):
            size = wp.max(size, wp.length(x[a] - x[0]))
            moved = wp.max(moved, wp.length(dx[a]))
        return wp.where(size > real(0.0), moved / wp.max(size, real(1.0e-12)), real(0.0))

    @wp.func
    def room(value: real, low: real, high: real) -> real:
        """How far a parameter that is not affine may move: to its nearest bound; 1 where it has none or lies on it."""
        nearest = wp.min(value - low, high - value)
        return wp.where(nearest > real(0.0) and nearest < real(1.0e29), nearest, one)

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
        """Directional derivatives of the gradient by central differences along each direction.

        Affine parameters: exact. The rest by differences of fourth order, exact to rounding for laws that are polynomials of
        degree four or less in the positions; elsewhere the error is that of `difference`^4. The size of a parameter
        that is not affine is the way to its nearest bound, where it may have a pole. Reverse mode from every unit vector of the
        stencil gives the same at fifteen times the cost for ten nodes.
        """
        e, row = wp.tid()
        env = first[0] + e
        t = first[1] + row
        if active[env] == 0 or stencil[env, t, 0] < 0:
            return
        xs = gather(env, t, stencil, x)
        xs1 = gather(env, t, stencil, x1)
        xs2 = gather(env, t, stencil, x2)
        rs = gather(env, t, stencil, reference)
        ps = p[env, t]
        for d in range(direction_count):
            if needed[d] == 0:
                for a in range(k):
                    share_out[d, env, share_offset + k * t + a] = vec3()
                continue
            ux = gather_tangent(d, env, t, stencil, dx)
            ux1 = gather_tangent(d, env, t, stencil, dx1)
            ux2 = gather_tangent(d, env, t, stencil, dx2)
            ur = gather_tangent(d, env, t, stencil, dreference)
            up = dp[d, env, t]
            bent = wp.cw_mul(up, bending)
            straight = up - bent
            total = Stencil()
            if wp.dot(up, up) > real(0.0):  # parameters in which the gradient is affine, or a product of two such: any size is exact
                total = half * (gradient(xs, xs1, xs2, rs, ps + straight, step) - gradient(xs, xs1, xs2, rs, ps - straight, step))
            scale = wp.max(wp.max(reach(xs, ux), reach(xs, ux1)), wp.max(reach(xs, ux2), reach(xs, ur)))
            for c in range(parameter_count):
                if bent[c] != real(0.0):
                    scale = wp.max(scale, wp.abs(bent[c]) / room(ps[c], lowest[c], highest[c]))
            moving = wp.ddot(ux, ux) + wp.ddot(ux1, ux1) + wp.ddot(ux2, ux2) + wp.ddot(ur, ur)
            if scale > real(0.0) or moving > real(0.0):
                # what only the old states move is the dissipation, smooth enough for second order at a tenth of the size
                old = second_order and wp.ddot(ux, ux) + wp.ddot(ur, ur) + wp.dot(bent, bent) == real(0.0)
                sides = wp.where(old, 2, 4)
                h = wp.where(old, tenth * difference, difference)
                if scale > real(0.0):
                    h = h / scale
                for side in range(sides):
                    sign = wp.where(side % 2 == 0, one, -one)
                    u = h * sign * wp.where(side < 2, one, one + one)
                    weight = sign * wp.where(side < 2, wp.where(old, half, inner), -outer) / h
                    total += weight * gradient(
                        moved_by(xs, ux, u), moved_by(xs1, ux1, u), moved_by(xs2, ux2, u), moved_by(rs, ur, u), ps + u * bent, step
                    )
            for a in range(k):
                share_out[d, env, share_offset + k * t + a] = vec3(total[a, 0], total[a, 1], total[a, 2])

    return {"evaluate": evaluate, "blocks": blocks, "adjoint": adjoint, "product": product, "tangent": tangent}


def stress_kernel(stress, points, parameter_count, real):
    """Kernel of a law's `stress(x, rest, p)`: one Cauchy stress [Pa] an element."""
    k = wp.constant(points)
    Stencil = wp.types.matrix((points, 3), real)
    Parameters = wp.types.vector(parameter_count, real)
    vec3 = wp.types.vector(3, real)
    mat33 = wp.types.matrix((3, 3), real)

    @wp.kernel(module="unique", enable_backward=False)
    def evaluate_stress(
        first: wp.vec2i,
        stencil: wp.array2d(dtype=int),
        p: wp.array2d(dtype=Parameters),
        x: wp.array2d(dtype=vec3),
        rest: wp.array2d(dtype=vec3),
        stress_out: wp.array2d(dtype=mat33),
    ):
        e, row = wp.tid()
        env = first[0] + e
        t = first[1] + row
        xs = Stencil()
        rs = Stencil()
        for a in range(k):
            i = stencil[t, a]
            for c in range(3):
                xs[a, c] = x[env, i][c]
                rs[a, c] = rest[env, i][c]
        stress_out[env, t] = stress(xs, rs, p[env, t])

    return evaluate_stress
