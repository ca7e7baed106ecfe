"""Pin: a particle held to a place on a frame of four control points.

    E = k/2 |x_0 - y|^2,     y = w_0 x_1 + w_1 x_2 + w_2 x_3 + w_3 x_4,     w_0 = 1 - w_1 - w_2 - w_3

k              stiffness [N/m]
w_1, w_2, w_3  shares of the frame's second, third and fourth point in the place: an affine combination, fixed in the frame

Both sides feel the force, so that a grasp by pins has the weight in the fingers as one by friction has. Quadratic in the positions:
the Hessian is constant and positive semi-definite; rigid motion is free.
"""

import warp as wp


def pin(real):
    """Functions of the law for one scalar type; stencil of 5 (particle, frame), parameters (stiffness, w_1, w_2, w_3)."""
    Stencil = wp.types.matrix((5, 3), real)
    Hessian = wp.types.matrix((15, 15), real)
    Parameters = wp.types.vector(4, real)
    vec3 = wp.types.vector(3, real)
    vec5 = wp.types.vector(5, real)
    points = wp.constant(5)
    half, one = real(0.5), real(1.0)

    @wp.func
    def shares(p: Parameters) -> vec5:
        """Of the points in the way from the place to the particle."""
        return vec5(one, p[1] + p[2] + p[3] - one, -p[1], -p[2], -p[3])

    @wp.func
    def way(x: Stencil, c: vec5) -> vec3:
        return c[0] * x[0] + c[1] * x[1] + c[2] * x[2] + c[3] * x[3] + c[4] * x[4]

    @wp.func
    def energy(x: Stencil, x1: Stencil, x2: Stencil, reference: Stencil, p: Parameters, step: vec3) -> real:
        r = way(x, shares(p))
        return half * p[0] * wp.dot(r, r)

    @wp.func
    def gradient(x: Stencil, x1: Stencil, x2: Stencil, reference: Stencil, p: Parameters, step: vec3) -> Stencil:
        c = shares(p)
        f = p[0] * way(x, c)
        return wp.matrix_from_rows(c[0] * f, c[1] * f, c[2] * f, c[3] * f, c[4] * f)

    @wp.func
    def hessian(x: Stencil, x1: Stencil, x2: Stencil, reference: Stencil, p: Parameters, step: vec3, project: int) -> Hessian:
        c = shares(p)
        H = Hessian()
        count = int(points)  # a dynamic loop
        for a in range(count):
            for b in range(a + 1):
                for i in range(3):
                    H[3 * a + i, 3 * b + i] = p[0] * c[a] * c[b]
        return H

    return energy, gradient, hessian
