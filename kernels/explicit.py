"""Many symplectic Euler steps in one launch, for models of one elastic law: one thread an environment marches alone.

Each launch of the general path costs more than a small body's step; here a step is a loop over stencils and one over particles.
The law's own `gradient` is called, so there is no second formula.
"""

import warp as wp


def march_kernel(functions, points, parameter_count, real):
    """CPU kernel of `count` steps for one law and one scalar type.

    Per step: g = sum of the law's gradients at x (with x1 for its damping), then
    v' = (1 - h alpha) v - h (g / m - gravity),  x' = x + h v'   on free particles.
    `rate` is 1 / h, or 0 to leave the law's damping out.
    """
    gradient = functions[1]
    k = wp.constant(points)
    Stencil = wp.types.matrix((points, 3), real)
    Parameters = wp.types.vector(parameter_count, real)
    Inertia = wp.types.vector(5, real)
    vec3 = wp.types.vector(3, real)

    @wp.kernel(module="unique", enable_backward=False)
    def march(
        first: int,
        count: int,
        dt: real,
        rate: real,
        particle_count: int,
        stencil_count: int,
        free: wp.array(dtype=int),
        stencil: wp.array2d(dtype=int),
        p: wp.array2d(dtype=Parameters),
        inertia: wp.array2d(dtype=Inertia),
        reference: wp.array2d(dtype=vec3),
        g: wp.array2d(dtype=vec3),
        x_out: wp.array2d(dtype=vec3),
        x1_out: wp.array2d(dtype=vec3),
        v_out: wp.array2d(dtype=vec3),
        v1_out: wp.array2d(dtype=vec3),
    ):
        e, once = wp.tid()
        env = first + e
        step = vec3(rate, real(1.0), real(0.0))
        for s in range(count):
            for t in range(stencil_count):
                xs = Stencil()
                xs1 = Stencil()
                rs = Stencil()
                for a in range(k):
                    i = stencil[t, a]
                    xi = x_out[env, i]
                    yi = x1_out[env, i]
                    ri = reference[env, i]
                    for c in range(3):
                        xs[a, c] = xi[c]
                        xs1[a, c] = yi[c]
                        rs[a, c] = ri[c]
                f = gradient(xs, xs1, xs1, rs, p[env, t], step)
                for a in range(k):
                    i = stencil[t, a]
                    g[env, i] = g[env, i] + vec3(f[a, 0], f[a, 1], f[a, 2])
            for i in range(particle_count):
                xi = x_out[env, i]
                x1_out[env, i] = xi
                v1_out[env, i] = v_out[env, i]
                if free[i] != 0:
                    m = inertia[env, i]
                    pull = g[env, i] / m[0] - vec3(m[2], m[3], m[4])
                    v = (real(1.0) - dt * m[1]) * v_out[env, i] - dt * pull
                    v_out[env, i] = v
                    x_out[env, i] = xi + dt * v
                g[env, i] = vec3()

    return march
