"""Damped spring between two particles.

    Phi = k/2 (l - L)^2  +  c r / 2 (l - a l1 - b l2)^2,     l = |x_0 - x_1|

    k  stiffness [N/m]     L  rest length [m]     c  damping [N s/m]

The damping acts on the change of length, so that rigid motion is free. At l = 0 the direction is undefined; the length is
held above 1e-12 m there, which keeps every value finite.
Projection drops the transverse stiffness of a compressed spring (2: of one that was compressed at x1).
Source: Choi and Ko 2002, eq. 6 (Hessian).
"""

import warp as wp


def spring(real):
    """Functions of the law for one scalar type; stencil of 2, parameters (stiffness, rest_length, damping)."""
    Stencil = wp.types.matrix((2, 3), real)
    Hessian = wp.types.matrix((6, 6), real)
    vec3 = wp.types.vector(3, real)
    half, shortest = real(0.5), real(1.0e-12)

    @wp.func
    def length(x: Stencil) -> real:
        return wp.max(wp.length(x[0] - x[1]), shortest)

    @wp.func
    def energy(x: Stencil, x1: Stencil, x2: Stencil, reference: Stencil, p: vec3, step: vec3) -> real:
        now = length(x)
        stretch = now - p[1]
        e = half * p[0] * stretch * stretch
        if p[2] * step[0] != real(0.0):
            change = now - step[1] * length(x1) - step[2] * length(x2)
            e += half * p[2] * step[0] * change * change
        return e

    @wp.func
    def tension(now: real, x1: Stencil, x2: Stencil, p: vec3, step: vec3) -> real:
        pull = p[0] * (now - p[1])
        if step[0] != real(0.0):  # statics, and explicit runs without damping, are spared two roots
            pull += p[2] * step[0] * (now - step[1] * length(x1) - step[2] * length(x2))
        return pull

    @wp.func
    def gradient(x: Stencil, x1: Stencil, x2: Stencil, reference: Stencil, p: vec3, step: vec3) -> Stencil:
        now = length(x)
        g = (tension(now, x1, x2, p, step) / now) * (x[0] - x[1])
        return Stencil(g[0], g[1], g[2], -g[0], -g[1], -g[2])

    @wp.func
    def hessian(x: Stencil, x1: Stencil, x2: Stencil, reference: Stencil, p: vec3, step: vec3, project: int) -> Hessian:
        now = length(x)
        u = (x[0] - x[1]) / now
        across = tension(now, x1, x2, p, step) / now
        if project != 0:
            if project == 2 and step[0] != real(0.0):
                across = p[0] * (length(x1) - p[1]) / length(x1)
            across = wp.max(across, real(0.0))
        along = p[0] + p[2] * step[0] - across
        H = Hessian()
        for i in range(3):
            for j in range(3):
                k = along * u[i] * u[j] + wp.where(i == j, across, real(0.0))
                H[i, j] = k
                H[3 + i, 3 + j] = k
                H[3 + i, j] = -k
        return H

    return energy, gradient, hessian
