"""Inertia, gravity and mass damping of one particle.

    Phi = m r^2 / 2 |x - x_hat|^2  -  m g . x  +  alpha m r / 2 |x - a x1 - b x2|^2

    m      mass [kg]
    alpha  mass damping [1/s]; damps rigid motion too, as a viscous medium does
    g      gravity [m/s^2], three components
    x_hat  the integrator's predictor [m] (the `reference` of this law), x_hat = a x1 + b x2 + (a v1 + b v2) / r

Linear in x apart from the square: valid everywhere. Source: incremental potential of backward Euler, Kane et al. 2000.
"""

import warp as wp


def inertia(real):
    """Functions of the law for one scalar type; stencil of 1, parameters (mass, damping, gravity_x, gravity_y, gravity_z)."""
    Stencil = wp.types.matrix((1, 3), real)
    Hessian = wp.types.matrix((3, 3), real)
    Parameters = wp.types.vector(5, real)
    vec3 = wp.types.vector(3, real)
    half = real(0.5)

    @wp.func
    def energy(x: Stencil, x1: Stencil, x2: Stencil, predictor: Stencil, p: Parameters, step: vec3) -> real:
        mass = p[0]
        gravity = vec3(p[2], p[3], p[4])
        away = x[0] - predictor[0]
        moved = x[0] - step[1] * x1[0] - step[2] * x2[0]
        inertial = half * step[0] * step[0] * wp.dot(away, away) + half * p[1] * step[0] * wp.dot(moved, moved)
        return mass * (inertial - wp.dot(gravity, x[0]))

    @wp.func
    def gradient(x: Stencil, x1: Stencil, x2: Stencil, predictor: Stencil, p: Parameters, step: vec3) -> Stencil:
        gravity = vec3(p[2], p[3], p[4])
        moved = x[0] - step[1] * x1[0] - step[2] * x2[0]
        g = p[0] * (step[0] * step[0] * (x[0] - predictor[0]) + p[1] * step[0] * moved - gravity)
        return wp.matrix_from_rows(g)  # Stencil(...) of one row is ambiguous in C++

    @wp.func
    def hessian(x: Stencil, x1: Stencil, x2: Stencil, predictor: Stencil, p: Parameters, step: vec3, project: int) -> Hessian:
        k = p[0] * (step[0] * step[0] + p[1] * step[0])
        zero = real(0.0)
        return Hessian(k, zero, zero, zero, k, zero, zero, zero, k)

    return energy, gradient, hessian
