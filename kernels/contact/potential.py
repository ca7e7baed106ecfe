"""What a pair in contact stores and dissipates, as a function of its distance and its sliding; the same for every kind of pair.

    u = (d - o)/g              place in the layer: 1 where contact begins, 0 where the surfaces meet
    E = m N g B(u)             B = -(u - 1)^2 ln u in 0 < u < 1, zero beyond; push lambda = -m N B'(u)
    D = c r/2 ((m psi - past)^2 - past^2)                          psi = g/2 (1 - u)^2 in u < 1: Kelvin-Voigt of the layer
    F = mu lambda1 / r F0(|v|)                                     F0 = y^2/e - y^3/(3 e^2) for y < e, y - e/3 beyond

    d     distance [m]             g     gap, the layer's thickness [m]         o     offset, of both bodies' half thicknesses [m]
    N     strength [N]             c     damping [N s/m]                        mu    friction [-]
    e     creep: speed below which friction is viscous [m/s]                    r     1/h_e [1/s], zero for statics
    m     of two edges that are almost parallel, else 1                         past  m psi at the states before, weighted by the step
    v     relative velocity along the surfaces at the state before [m/s]        lambda1  the push at the state before [N]

E is convex in d, twice differentiable where contact begins, and without bound where the surfaces meet. At and below u = 0 the energy is a
huge number, which no line search accepts, and its derivatives are those at the smallest u, so that all stays finite. D is zero, too, where
contact ends, whatever the layer was before: a pair that comes apart has no jump in its energy.
The layer's damping resists opening as well as closing, as a viscous layer does: where a pair parts faster than about 3 N/c it holds back.
Friction never exceeds mu lambda1, equals it above the creep, and its matrix is positive semi-definite.
Sources: Li et al. 2020, Incremental Potential Contact, eqs. 6, 13 and 24.
"""

from functools import cache

import warp as wp


@cache
def potential(real):
    """(energy, slopes, curvatures, compression, push, friction_energy, traction, traction_slope) for one scalar type."""
    vec3 = wp.types.vector(3, real)
    mat33 = wp.types.matrix((3, 3), real)
    zero, half, one, two = real(0.0), real(0.5), real(1.0), real(2.0)
    third = real(1.0 / 3.0)
    smallest = real(1.0e-9 if real == wp.float64 else 1.0e-6)  # u below which derivatives stay
    beyond = real(1.0e30)  # [J]

    @wp.func
    def barrier(u: real) -> vec3:
        """(B, B', B'')."""
        w = wp.max(u, smallest)
        log = wp.log(w)
        short = w - one
        return vec3(
            -short * short * log, -two * short * log - short * short / w, -two * log - (two + two) * short / w + short * short / (w * w)
        )

    @wp.func
    def layer(d: real, gap: real) -> vec3:
        """(psi, psi', psi'') at d - o."""
        short = one - d / gap
        return vec3(half * gap * short * short, -short, one / gap)

    @wp.func
    def compression(d: real, gap: real, offset: real) -> real:
        """psi, zero out of reach."""
        return wp.where(d < offset + gap, layer(d - offset, gap)[0], zero)

    @wp.func
    def energy(d: real, m: real, past: real, strength: real, gap: real, offset: real, viscosity: real) -> real:
        """E + D, where d < offset + gap; `viscosity` is c r."""
        now = m * compression(d, gap, offset)
        e = m * strength * gap * barrier((d - offset) / gap)[0] + half * viscosity * now * (now - two * past)
        return wp.where(d > offset, e, beyond)

    @wp.func
    def slopes(d: real, m: real, past: real, strength: real, gap: real, offset: real, viscosity: real):
        """Derivatives of E + D by d and by m."""
        b = barrier((d - offset) / gap)
        psi = layer(d - offset, gap)
        pull = viscosity * (m * psi[0] - past)
        return m * (strength * b[1] + pull * psi[1]), strength * gap * b[0] + pull * psi[0]

    @wp.func
    def curvatures(d: real, m: real, past: real, strength: real, gap: real, offset: real, viscosity: real):
        """Second derivatives of E + D by d twice, by d and m, by m twice."""
        b = barrier((d - offset) / gap)
        psi = layer(d - offset, gap)
        pull = viscosity * (m * psi[0] - past)
        return (
            m * (strength * b[2] / gap + pull * psi[2] + viscosity * m * psi[1] * psi[1]),
            strength * b[1] + pull * psi[1] + viscosity * m * psi[0] * psi[1],
            viscosity * psi[0] * psi[0],
        )

    @wp.func
    def push(d: real, m: real, strength: real, gap: real, offset: real) -> real:
        """lambda = -dE/dd [N], zero out of reach."""
        return wp.where(d < offset + gap, -m * strength * barrier((d - offset) / gap)[1], zero)

    @wp.func
    def friction_energy(v: vec3, limit: real, creep: real, rate: real) -> real:
        """F for a sliding velocity v and a largest force mu lambda1 [N]."""
        y = wp.length(v)
        e = y - third * creep
        if y < creep:
            e = y * y / creep - third * y * y * y / (creep * creep)
        return limit / rate * e

    @wp.func
    def viscous_part(y: real, creep: real) -> real:
        """F0'(y)/y [s/m]."""
        s = two / creep - y / (creep * creep)
        if y >= creep:
            s = one / y
        return s

    @wp.func
    def traction(v: vec3, limit: real, creep: real) -> vec3:
        """Derivative of F by a displacement along the surfaces [N]: minus the friction."""
        return (limit * viscous_part(wp.length(v), creep)) * v

    @wp.func
    def traction_slope(v: vec3, n: vec3, limit: real, creep: real, rate: real, project: int) -> mat33:
        """Derivative of `traction` by a displacement [N/m], for a unit normal n; projected: the viscous matrix that is above it.

        F0 is concave in |v|^2, so the viscous matrix makes a quadratic above F, whose minimum never lies too far away. The derivative
        vanishes along a sliding, and a Newton step may go far past the point where the sliding ends.
        """
        y = wp.length(v)
        s = viscous_part(y, creep)
        along = zero  # (F0'/y)' / y
        if project == 0:
            if y >= creep:
                along = -s / (y * y)
            elif y > zero:
                along = -one / (creep * creep * y)
        across = wp.identity(n=3, dtype=real) - wp.outer(n, n)
        return (limit * rate) * (s * across + along * wp.outer(v, v))

    return energy, slopes, curvatures, compression, push, friction_energy, traction, traction_slope
