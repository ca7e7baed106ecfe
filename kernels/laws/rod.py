"""Bending and twisting of a rod at the vertex between two edges.

    E = 1/(2 l) [ B_1 (Om_1 - Om_1^0)^2 + B_2 (Om_2 - Om_2^0)^2 + T (Om_3 - Om_3^0)^2 ]
      + T/(2 l) sum over both edges of [ ((d.e - D.e^0) / (L Rg))^2 + ((|d|^2 / Rg^2 - 1) / 2)^2 ]
    D = c r/(2 l) |Om - a Om(x1) - b Om(x2)|^2

    points   x_0, x_1, x_2 of the centreline, g_0, g_1: one director point an edge, which carries the material frame
    e        edge [m], t = e / |e|;  d = g - midpoint [m];  u = the part of d across t, made a unit vector;  v = t x u
    Om       2 tan(theta/2) n [-] of the turn (theta, n) between the frames A = [u v t] of the two edges, in the material frame:
             components 1 and 2 bend about u and v, 3 twists
    Om^0     that of the rest positions plus l (rest_curvature_1, rest_curvature_2, rest_twist) [1/m]
    l        half the sum of the two rest lengths [m];  L, Rg = |D|  rest length and director's distance of an edge [m]
    B, T     bending and torsional stiffness [N m^2]       c  damping [N m^2 s]

The second line keeps the director points where they belong. Frames feel only the part of d across t, so that it does not bias
them: at rest and in every equilibrium without loads on director points it is zero.
Energies and damping see relative turns in the material frame only, so rigid motion is free. Om grows without bound as the turn
nears pi: valid below. Lengths are held above 1e-6 of those at rest and 1 + tr A_0^T A_1 above 1e-6, which keeps every value finite.
Projection drops the terms of second derivatives of Om (Gauss-Newton).

Turns: with w the angular velocity of a frame, w = t x de/|e| + t (v.dd - (d.t) (v.de)/|e|) / |p|, p the part of d across t;
dOm = (1 - [rho] + rho rho^T) A_0^T (w_1 - w_0), rho = Om / 2.
Sources: Bergou et al. 2008, eq. 1 (curvature as 2 tan(theta/2), integrated over a vertex); Umetani, Schmidt and Stam 2014
(director points that carry the frame).
"""

import warp as wp


def rod(real):
    """Functions of the law for one scalar type; stencil of 5.

    Parameters (bending_1, bending_2, torsion, damping, rest_curvature_1, rest_curvature_2, rest_twist).
    """
    Stencil = wp.types.matrix((5, 3), real)
    Hessian = wp.types.matrix((15, 15), real)
    Parameters = wp.types.vector(7, real)
    mat33 = wp.types.matrix((3, 3), real)
    vec2 = wp.types.vector(2, real)
    vec3 = wp.types.vector(3, real)
    unknowns = wp.constant(15)
    half, one, two, zero, small = real(0.5), real(1.0), real(2.0), real(0.0), real(1.0e-6)

    @wp.func
    def edge(x: Stencil, k: int) -> vec3:
        return x[k + 1] - x[k]

    @wp.func
    def arm(x: Stencil, k: int) -> vec3:
        return x[k + 3] - half * (x[k] + x[k + 1])

    @wp.func
    def frame(x: Stencil, rest: Stencil, k: int) -> mat33:
        """Columns u, v, t of edge k."""
        e = edge(x, k)
        d = arm(x, k)
        t = e / wp.max(wp.length(e), small * wp.length(edge(rest, k)))
        p = d - wp.dot(d, t) * t
        u = p / wp.max(wp.length(p), small * wp.length(arm(rest, k)))
        return wp.matrix_from_cols(u, wp.cross(t, u), t)

    @wp.func
    def sizes(x: Stencil, rest: Stencil, A: mat33, k: int) -> vec3:
        """|e|, d.t and |p| [m]."""
        d = arm(x, k)
        t = wp.transpose(A)[2]
        across = d - wp.dot(d, t) * t
        length = wp.max(wp.length(edge(x, k)), small * wp.length(edge(rest, k)))
        return vec3(length, wp.dot(d, t), wp.max(wp.length(across), small * wp.length(arm(rest, k))))

    @wp.func
    def turn(A0: mat33, A1: mat33) -> vec3:
        """Om."""
        R = wp.transpose(A0) * A1
        scale = two / wp.max(one + wp.trace(R), small)
        return scale * vec3(R[2, 1] - R[1, 2], R[0, 2] - R[2, 0], R[1, 0] - R[0, 1])

    @wp.func
    def turn_of(x: Stencil, rest: Stencil) -> vec3:
        return turn(frame(x, rest, 0), frame(x, rest, 1))

    @wp.func
    def voronoi(rest: Stencil) -> real:
        return half * (wp.length(edge(rest, 0)) + wp.length(edge(rest, 1)))

    @wp.func
    def away(om: vec3, rest: Stencil, p: Parameters) -> vec3:
        """Om - Om^0."""
        return om - turn_of(rest, rest) - voronoi(rest) * vec3(p[4], p[5], p[6])

    @wp.func
    def change(om: vec3, x1: Stencil, x2: Stencil, rest: Stencil, step: vec3) -> vec3:
        return om - step[1] * turn_of(x1, rest) - step[2] * turn_of(x2, rest)

    @wp.func
    def kept(x: Stencil, rest: Stencil, k: int) -> vec2:
        """The two numbers that keep the director point of edge k; zero at its place."""
        d = arm(x, k)
        D = arm(rest, k)
        E = edge(rest, k)
        along = (wp.dot(d, edge(x, k)) - wp.dot(D, E)) / (wp.length(E) * wp.length(D))
        return vec2(along, half * (wp.dot(d, d) / wp.dot(D, D) - one))

    @wp.func
    def energy(x: Stencil, x1: Stencil, x2: Stencil, rest: Stencil, p: Parameters, step: vec3) -> real:
        om = turn_of(x, rest)
        a = away(om, rest, p)
        e = p[0] * a[0] * a[0] + p[1] * a[1] * a[1] + p[2] * a[2] * a[2]
        for k in range(2):
            c = kept(x, rest, k)
            e += p[2] * wp.dot(c, c)
        if p[3] * step[0] != zero:
            moved = change(om, x1, x2, rest, step)
            e += p[3] * step[0] * wp.dot(moved, moved)
        return half * e / voronoi(rest)

    @wp.func
    def moment(om: vec3, x1: Stencil, x2: Stencil, rest: Stencil, p: Parameters, step: vec3) -> vec3:
        """dPhi / dOm [N m]."""
        m = wp.cw_mul(vec3(p[0], p[1], p[2]), away(om, rest, p))
        if step[0] != zero:
            m += (p[3] * step[0]) * change(om, x1, x2, rest, step)
        return m / voronoi(rest)

    @wp.func
    def torque(om: vec3, m: vec3) -> vec3:
        """(dOm/dpsi)^T m: what works on w_1 - w_0, in the frame of edge 0."""
        rho = half * om
        return m + wp.cross(rho, m) + wp.dot(rho, m) * rho

    @wp.func
    def by_edge(s: vec3, A: mat33, size: vec3) -> vec3:
        """s.w = (this).de + (by_arm).dd."""
        t = wp.transpose(A)[2]
        v = wp.transpose(A)[1]
        return (wp.cross(s, t) - (size[1] * wp.dot(s, t) / size[2]) * v) / size[0]

    @wp.func
    def by_arm(s: vec3, A: mat33, size: vec3) -> vec3:
        return (wp.dot(s, wp.transpose(A)[2]) / size[2]) * wp.transpose(A)[1]

    @wp.func
    def on_points(fe0: vec3, fe1: vec3, fd0: vec3, fd1: vec3) -> Stencil:
        """Shares of the five points from those of the edges and arms."""
        return wp.matrix_from_rows(-fe0 - half * fd0, fe0 - fe1 - half * (fd0 + fd1), fe1 - half * fd1, fd0, fd1)

    @wp.func
    def gradient(x: Stencil, x1: Stencil, x2: Stencil, rest: Stencil, p: Parameters, step: vec3) -> Stencil:
        A0 = frame(x, rest, 0)
        A1 = frame(x, rest, 1)
        om = turn(A0, A1)
        s = A0 * torque(om, moment(om, x1, x2, rest, p, step))
        z0 = sizes(x, rest, A0, 0)
        z1 = sizes(x, rest, A1, 1)
        g = on_points(-by_edge(s, A0, z0), by_edge(s, A1, z1), -by_arm(s, A0, z0), by_arm(s, A1, z1))
        k = p[2] / voronoi(rest)
        return g + k * (keeping_gradient(x, rest, 0) + keeping_gradient(x, rest, 1))

    @wp.func
    def keeping_slopes(x: Stencil, rest: Stencil, k: int, j: int) -> Stencil:
        """Derivative of number j of `kept` by the five points."""
        d = arm(x, k)
        D = arm(rest, k)
        fe = vec3()
        fd = d / wp.dot(D, D)
        if j == 0:
            scale = one / (wp.length(edge(rest, k)) * wp.length(D))
            fe = scale * d
            fd = scale * edge(x, k)
        if k == 0:
            return on_points(fe, vec3(), fd, vec3())
        return on_points(vec3(), fe, vec3(), fd)

    @wp.func
    def keeping_gradient(x: Stencil, rest: Stencil, k: int) -> Stencil:
        c = kept(x, rest, k)
        return c[0] * keeping_slopes(x, rest, k, 0) + c[1] * keeping_slopes(x, rest, k, 1)

    @wp.func
    def keeping_change(x: Stencil, dx: Stencil, rest: Stencil, k: int, whole: int) -> Stencil:
        """Change of `keeping_gradient` along dx; without its indefinite part where `whole` is 0."""
        s0 = keeping_slopes(x, rest, k, 0)
        s1 = keeping_slopes(x, rest, k, 1)
        out = wp.ddot(s0, dx) * s0 + wp.ddot(s1, dx) * s1
        if whole != 0:
            c = kept(x, rest, k)
            out += c[0] * keeping_slopes(dx, rest, k, 0) + c[1] * keeping_slopes(dx, rest, k, 1)  # linear in x
        return out

    @wp.func
    def angular(x: Stencil, dx: Stencil, A: mat33, size: vec3, k: int) -> vec3:
        """w of the frame of edge k along dx."""
        v = wp.transpose(A)[1]
        t = wp.transpose(A)[2]
        de = edge(dx, k)
        spin = (wp.dot(v, arm(dx, k)) - size[1] * wp.dot(v, de) / size[0]) / size[2]
        return wp.cross(t, de) / size[0] + spin * t

    @wp.func
    def sizes_change(dx: Stencil, A: mat33, size: vec3, k: int) -> vec3:
        u = wp.transpose(A)[0]
        t = wp.transpose(A)[2]
        de = edge(dx, k)
        dd = arm(dx, k)
        lean = wp.dot(u, de) / size[0]
        return vec3(wp.dot(t, de), wp.dot(t, dd) + size[2] * lean, wp.dot(u, dd) - size[1] * lean)

    @wp.func
    def by_edge_change(s: vec3, ds: vec3, A: mat33, w: vec3, size: vec3, dsize: vec3) -> vec3:
        v = wp.transpose(A)[1]
        t = wp.transpose(A)[2]
        dv = wp.cross(w, v)
        dt = wp.cross(w, t)
        along = wp.dot(s, t)
        ratio = size[1] / size[2]
        dratio = (dsize[1] - ratio * dsize[2]) / size[2]
        dalong = wp.dot(ds, t) + wp.dot(s, dt)
        top = wp.cross(ds, t) + wp.cross(s, dt) - (dratio * along + ratio * dalong) * v - (ratio * along) * dv
        return (top - dsize[0] * by_edge(s, A, size)) / size[0]

    @wp.func
    def by_arm_change(s: vec3, ds: vec3, A: mat33, w: vec3, size: vec3, dsize: vec3) -> vec3:
        v = wp.transpose(A)[1]
        t = wp.transpose(A)[2]
        along = wp.dot(s, t)
        dalong = wp.dot(ds, t) + wp.dot(s, wp.cross(w, t))
        return ((dalong - along * dsize[2] / size[2]) * v + along * wp.cross(w, v)) / size[2]

    @wp.func
    def hessian(x: Stencil, x1: Stencil, x2: Stencil, rest: Stencil, p: Parameters, step: vec3, project: int) -> Hessian:
        A0 = frame(x, rest, 0)
        A1 = frame(x, rest, 1)
        z0 = sizes(x, rest, A0, 0)
        z1 = sizes(x, rest, A1, 1)
        om = turn(A0, A1)
        rho = half * om
        m = moment(om, x1, x2, rest, p, step)
        s = A0 * torque(om, m)
        length = voronoi(rest)
        viscous = p[3] * step[0]
        stiffness = vec3(p[0] + viscous, p[1] + viscous, p[2] + viscous) / length
        whole = wp.where(project == 0, 1, 0)
        H = Hessian()
        count = int(unknowns)  # a dynamic loop over unit vectors: the change of the gradient along each
        for i in range(count):
            dx = Stencil()
            dx[i // 3, i % 3] = one
            w0 = angular(x, dx, A0, z0, 0)
            w1 = angular(x, dx, A1, z1, 1)
            psi = wp.transpose(A0) * (w1 - w0)
            dom = psi - wp.cross(rho, psi) + wp.dot(rho, psi) * rho
            dm = wp.cw_mul(stiffness, dom)
            ds = A0 * torque(om, dm)
            column = on_points(-by_edge(ds, A0, z0), by_edge(ds, A1, z1), -by_arm(ds, A0, z0), by_arm(ds, A1, z1))
            if whole != 0:
                drho = half * dom
                dtorque = wp.cross(drho, m) + wp.dot(drho, m) * rho + wp.dot(rho, m) * drho
                ds = ds + wp.cross(w0, s) + A0 * dtorque
                dz0 = sizes_change(dx, A0, z0, 0)
                dz1 = sizes_change(dx, A1, z1, 1)
                column = on_points(
                    -by_edge_change(s, ds, A0, w0, z0, dz0),
                    by_edge_change(s, ds, A1, w1, z1, dz1),
                    -by_arm_change(s, ds, A0, w0, z0, dz0),
                    by_arm_change(s, ds, A1, w1, z1, dz1),
                )
            column += (p[2] / length) * (keeping_change(x, dx, rest, 0, whole) + keeping_change(x, dx, rest, 1, whole))
            for a in range(5):
                for c in range(3):
                    H[3 * a + c, i] = column[a, c]
        return H

    return energy, gradient, hessian
