"""Seam: two particles drawn together.

    E = k/2 |x_0 - x_1|^2

    k  stiffness [N/m]

Rest is where both lie on one point; rigid motion is free. Quadratic, so that the Hessian is constant and positive.
"""

import warp as wp


def seam(real):
    """Functions of the law for one scalar type; stencil of 2, parameters (stiffness,)."""
    Stencil = wp.types.matrix((2, 3), real)
    Hessian = wp.types.matrix((6, 6), real)
    Parameters = wp.types.vector(1, real)
    vec3 = wp.types.vector(3, real)
    half = real(0.5)

    @wp.func
    def energy(x: Stencil, x1: Stencil, x2: Stencil, reference: Stencil, p: Parameters, step: vec3) -> real:
        gap = x[0] - x[1]
        return half * p[0] * wp.dot(gap, gap)

    @wp.func
    def gradient(x: Stencil, x1: Stencil, x2: Stencil, reference: Stencil, p: Parameters, step: vec3) -> Stencil:
        g = p[0] * (x[0] - x[1])
        return Stencil(g[0], g[1], g[2], -g[0], -g[1], -g[2])

    @wp.func
    def hessian(x: Stencil, x1: Stencil, x2: Stencil, reference: Stencil, p: Parameters, step: vec3, project: int) -> Hessian:
        H = Hessian()
        for i in range(3):
            H[i, i] = p[0]
            H[3 + i, 3 + i] = p[0]
            H[3 + i, i] = -p[0]
        return H

    return energy, gradient, hessian
