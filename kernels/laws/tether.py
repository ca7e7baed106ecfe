"""Soft attachment of one particle to a target that the caller moves.

E = k/2 |x - y|^2

k  stiffness [N/m]
y  target position [m] (the `reference` of this law)
"""

import warp as wp


def tether(real):
    """Functions of the law for one scalar type; stencil of 1, parameters (stiffness,)."""
    Stencil = wp.types.matrix((1, 3), real)
    Hessian = wp.types.matrix((3, 3), real)
    Parameters = wp.types.vector(1, real)
    vec3 = wp.types.vector(3, real)

    @wp.func
    def energy(x: Stencil, x1: Stencil, x2: Stencil, target: Stencil, p: Parameters, step: vec3) -> real:
        away = x[0] - target[0]
        return real(0.5) * p[0] * wp.dot(away, away)

    @wp.func
    def gradient(x: Stencil, x1: Stencil, x2: Stencil, target: Stencil, p: Parameters, step: vec3) -> Stencil:
        return p[0] * (x - target)

    @wp.func
    def hessian(x: Stencil, x1: Stencil, x2: Stencil, target: Stencil, p: Parameters, step: vec3, project: int) -> Hessian:
        k = p[0]
        zero = real(0.0)
        return Hessian(k, zero, zero, zero, k, zero, zero, zero, k)

    return energy, gradient, hessian
