"""Tendon: an elastic string that runs without friction through eight waypoints; it pulls and never pushes.

    E = k f(s),     s = sum_i |x_(i+1) - x_i| - L,     f(s) = 0                            s <= 0
                                                             s^3 / (6 w)                   0 < s < w
                                                             s^2 / 2 - w s / 2 + w^2 / 6   s >= w

    k  stiffness [N/m]: tension over extension where it is taut
    L  rest_length [m]: below it the tendon is slack, without force
    w  onset [m]: extension over which it comes taut; f has two continuous derivatives, so that Newton's method sees no jump

A tendon of fewer waypoints repeats the last one. Pieces whose ends are at one place at rest have no length and count for nothing, so that
they have no direction either. Pieces' lengths are held above 1e-6 of those at rest, which keeps every value finite. The tension k f'(s) is
the same all along. It is never negative, so that the Hessian k f'' g g^T + k f' sum_i (1 - u u^T) / l is positive semi-definite as it is.
Rigid motion is free.
"""

import warp as wp


def tendon(real):
    """Functions of the law for one scalar type; stencil of 8, parameters (stiffness, rest_length, onset)."""
    Stencil = wp.types.matrix((8, 3), real)
    Hessian = wp.types.matrix((24, 24), real)
    vec3 = wp.types.vector(3, real)
    pieces = wp.constant(7)
    zero, half, third, small = real(0.0), real(0.5), real(1.0 / 3.0), real(1.0e-6)

    @wp.func
    def piece(x: Stencil, i: int) -> vec3:
        return x[i + 1] - x[i]

    @wp.func
    def length(x: Stencil, rest: Stencil, i: int) -> real:
        """Of piece i [m]; zero where it has none at rest."""
        own = wp.length(piece(rest, i))
        return wp.where(own > zero, wp.max(wp.length(piece(x, i)), small * own), zero)

    @wp.func
    def extension(x: Stencil, rest: Stencil, p: vec3) -> real:
        total = zero
        for i in range(pieces):
            total += length(x, rest, i)
        return total - p[1]

    @wp.func
    def tension(s: real, p: vec3) -> real:
        """k f'(s) [N]."""
        taut = s - half * p[2]
        coming = half * s * s / p[2]
        return p[0] * wp.where(s <= zero, zero, wp.where(s < p[2], coming, taut))

    @wp.func
    def direction(x: Stencil, rest: Stencil, i: int) -> vec3:
        """Of piece i; zero where it has no length at rest, or lies before the first or behind the last."""
        if i < 0 or i >= pieces:
            return vec3()
        now = length(x, rest, i)
        if now == zero:
            return vec3()
        return piece(x, i) / now

    @wp.func
    def energy(x: Stencil, x1: Stencil, x2: Stencil, rest: Stencil, p: vec3, step: vec3) -> real:
        s = extension(x, rest, p)
        taut = half * s * s - half * p[2] * s + half * third * p[2] * p[2]
        coming = half * third * s * s * s / p[2]
        return p[0] * wp.where(s <= zero, zero, wp.where(s < p[2], coming, taut))

    @wp.func
    def gradient(x: Stencil, x1: Stencil, x2: Stencil, rest: Stencil, p: vec3, step: vec3) -> Stencil:
        pull = tension(extension(x, rest, p), p)
        g = Stencil()
        for i in range(pieces + 1):
            along = pull * (direction(x, rest, i - 1) - direction(x, rest, i))
            for c in range(3):
                g[i, c] = along[c]
        return g

    @wp.func
    def hessian(x: Stencil, x1: Stencil, x2: Stencil, rest: Stencil, p: vec3, step: vec3, project: int) -> Hessian:
        s = extension(x, rest, p)
        pull = tension(s, p)
        rise = p[0] * wp.where(s <= zero, zero, wp.min(s / p[2], real(1.0)))
        H = Hessian()
        count = int(pieces + 1)  # a dynamic loop
        for a in range(count):
            ga = direction(x, rest, a - 1) - direction(x, rest, a)
            for b in range(a + 1):
                gb = direction(x, rest, b - 1) - direction(x, rest, b)
                for i in range(3):
                    for j in range(3):
                        H[3 * a + i, 3 * b + j] = rise * ga[i] * gb[j]
        for i in range(count - 1):
            now = length(x, rest, i)
            if now > zero:
                u = piece(x, i) / now
                for r in range(3):
                    for c in range(3):
                        k = (pull / now) * (wp.where(r == c, real(1.0), zero) - u[r] * u[c])
                        H[3 * i + r, 3 * i + c] += k
                        H[3 * i + 3 + r, 3 * i + 3 + c] += k
                        H[3 * i + 3 + r, 3 * i + c] -= k
        return H

    return energy, gradient, hessian
