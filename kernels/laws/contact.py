"""Contact of a point with a triangle, or of two edges: barrier, damping of the layer, and friction.

    E + D + F of `kernels.contact.potential`, with d = |Delta|, Delta = sum_v c_v x_v of `kernels.contact.distance`
    v = r (I - n1 n1^T) sum_v c1_v (x_v - a x1_v - b x2_v), with coefficients c1 and normal n1 at the state before
    m = 1 for a point and a triangle; for edges U, V with s = |U x V|^2 less than e = 1e-3 |U1|^2 |V1|^2: s/e (2 - s/e)

    p    strength [N], gap [m], offset [m], friction [-], damping [N s/m], creep [m/s]

Damping feels the distance only, so that no rigid motion is damped. The force on vertex v is c_v times the push along Delta: forces
and torques of the push balance exactly, those of friction up to the lever arm of the distance.
d' = c_v n; d'' = (c_v c_w (I - n n^T) - sum_ij (G^-1)_ij A_iv A_jw^T) / d over the coordinates beta_i that are free, with
e_i = sum_v D_iv x_v, D_iv = dc_v/dbeta_i, G_ij = e_i . e_j and A_iv = c_v e_i + D_iv Delta.
Projection keeps what is convex in distance, in m, in sliding, and in the turning of the direction that is pushed in: where a feature tilts
about the place at which a thick one presses on it, one side comes up, and with u_i a slide along e_i and g_i the tilt that way,
both in an orthonormal basis, push (-d'') = push sum_i (2 u_i g_i + d g_i^2), whose negative eigenvalues are left out.
Sources: Li et al. 2020, Incremental Potential Contact, sections 4 and 5; Huang et al. 2024 (derivatives of distances by their Delta).
"""

import warp as wp

from physsim.kernels.contact.distance import closest_features
from physsim.kernels.contact.potential import potential


def mollifier_of(real):
    """(m, U, V, W = U x V, m', m'') of two edges, derivatives by |W|^2."""
    Stencil = wp.types.matrix((4, 3), real)
    zero, one, two = real(0.0), real(1.0), real(2.0)
    share = real(1.0e-3)

    @wp.func
    def mollifier(x: Stencil, x1: Stencil):
        U = x[1] - x[0]
        V = x[3] - x[2]
        U1 = x1[1] - x1[0]
        V1 = x1[3] - x1[2]
        W = wp.cross(U, V)
        s = wp.dot(W, W)
        limit = share * wp.dot(U1, U1) * wp.dot(V1, V1)
        m = one
        slope = zero
        curvature = zero
        if s < limit:
            y = s / limit
            m = y * (two - y)
            slope = two * (one - y) / limit
            curvature = -two / (limit * limit)
        return m, U, V, W, slope, curvature

    return mollifier


def free_of(real, kind):
    """Directions D_1, D_2 of the coordinates that are free at coefficients c, and how many there are of each."""
    vec4 = wp.types.vector(4, real)
    zero, one = real(0.0), real(1.0)

    @wp.func
    def free_on_triangle(c: vec4):
        first = vec4()
        second = vec4()
        if c[1] != zero and c[2] != zero:
            first = vec4(zero, one, -one, zero)
            if c[3] != zero:
                second = vec4(zero, one, zero, -one)
        elif c[1] != zero and c[3] != zero:
            second = vec4(zero, one, zero, -one)
        elif c[2] != zero and c[3] != zero:
            first = vec4(zero, zero, one, -one)
        return first, second

    @wp.func
    def free_on_edges(c: vec4):
        first = vec4()
        second = vec4()
        if c[0] != zero and c[1] != zero:
            first = vec4(-one, one, zero, zero)
        if c[2] != zero and c[3] != zero:
            second = vec4(zero, zero, one, -one)
        return first, second

    return free_on_triangle if kind == "point_triangle" else free_on_edges


def turning_of(real, kind):
    """A matrix less k times what a distance loses because its closest points move along their features."""
    Stencil = wp.types.matrix((4, 3), real)
    Hessian = wp.types.matrix((12, 12), real)
    vec4 = wp.types.vector(4, real)
    nodes = wp.constant(4)
    zero, one = real(0.0), real(1.0)
    free = free_of(real, kind)

    @wp.func
    def turning(H: Hessian, k: real, c: vec4, x: Stencil) -> Hessian:
        Delta = c * x
        first, second = free(c)
        e = first * x
        f = second * x
        ee = wp.dot(e, e)
        ff = wp.dot(f, f)
        w = wp.cross(e, f)
        g11 = zero  # G^-1
        g12 = zero
        g22 = zero
        if ee > zero and ff > zero:
            determinant = wp.dot(w, w)
            g11 = ff / determinant
            g12 = -wp.dot(e, f) / determinant
            g22 = ee / determinant
        elif ee > zero:
            g11 = one / ee
        elif ff > zero:
            g22 = one / ff
        R = H
        count = int(nodes)  # a dynamic loop
        for a in range(count):
            A1 = c[a] * e + first[a] * Delta
            A2 = c[a] * f + second[a] * Delta
            for b in range(a + 1):
                B1 = c[b] * e + first[b] * Delta
                B2 = c[b] * f + second[b] * Delta
                K = wp.outer(A1, g11 * B1 + g12 * B2) + wp.outer(A2, g12 * B1 + g22 * B2)
                for i in range(3):
                    for j in range(3):
                        R[3 * a + i, 3 * b + j] -= k * K[i, j]
        return R

    return turning


def leaning_of(real, kind):
    """A matrix plus what is convex of a push times the turning of its direction, for `project`."""
    Stencil = wp.types.matrix((4, 3), real)
    Hessian = wp.types.matrix((12, 12), real)
    vec3 = wp.types.vector(3, real)
    vec4 = wp.types.vector(4, real)
    nodes = wp.constant(4)
    zero, half = real(0.0), real(0.5)
    free = free_of(real, kind)

    @wp.func
    def lean_along(H: Hessian, push: real, d: real, n: vec3, c: vec4, D: vec4, t: vec3) -> Hessian:
        """H plus push (d a a^T + a b^T + b a^T), less its negative eigenvalue, with a_v = D_v n and b_v = c_v t at right angles."""
        aa = wp.dot(D, D)
        bb = wp.dot(c, c)
        coupling = wp.sqrt(aa * bb)
        spread = wp.sqrt(half * half * d * d * aa * aa + coupling * coupling)
        high = half * d * aa + spread  # the eigenvalue that stays, of the eigenvector (high, coupling) in a/|a| and b/|b|
        k = push * high / (high * high + coupling * coupling)
        along = k * high * high / aa
        both = k * high
        across = k * aa
        R = H
        count = int(nodes)  # a dynamic loop
        for v in range(count):
            for w in range(v + 1):
                K = (along * D[v] * D[w]) * wp.outer(n, n) + (across * c[v] * c[w]) * wp.outer(t, t)
                K = K + both * (D[v] * c[w] * wp.outer(n, t) + c[v] * D[w] * wp.outer(t, n))
                for i in range(3):
                    for j in range(3):
                        R[3 * v + i, 3 * w + j] += K[i, j]
        return R

    @wp.func
    def leaning(H: Hessian, push: real, d: real, n: vec3, c: vec4, x: Stencil) -> Hessian:
        first, second = free(c)
        R = H
        e = first * x
        size = wp.length(e)
        t = vec3()
        D = vec4()
        if size > zero:
            t = e / size
            D = first / size
            R = lean_along(R, push, d, n, c, D, t)
        f = second * x
        f_size = wp.length(f)
        along = wp.dot(f, t)
        f = f - along * t
        size = wp.length(f)
        if size > real(1.0e-6) * f_size:  # else both lie along one line
            R = lean_along(R, push, d, n, c, (second - along * D) / size, f / size)
        return R

    return leaning


def contact(real, kind):
    """Functions of the law for one scalar type and "point_triangle" or "edge_edge"; parameters in the order above."""
    Stencil = wp.types.matrix((4, 3), real)
    Hessian = wp.types.matrix((12, 12), real)
    Parameters = wp.types.vector(6, real)
    Vector12 = wp.types.vector(12, real)
    vec3 = wp.types.vector(3, real)
    vec4 = wp.types.vector(4, real)
    mat33 = wp.types.matrix((3, 3), real)
    zero, half, one, two = real(0.0), real(0.5), real(1.0), real(2.0)
    shortest = real(1.0e-18 if real == wp.float64 else 1.0e-12)  # [m], below which there is no direction
    edges = wp.constant(kind == "edge_edge")
    features = closest_features(real)[1 if kind == "edge_edge" else 0]
    pair_energy, slopes, curvatures, compression, push, friction_energy, traction, traction_slope = potential(real)
    mollifier = mollifier_of(real)
    turning = turning_of(real, kind)
    leaning = leaning_of(real, kind)
    nodes = wp.constant(4)

    @wp.func
    def coefficients(x: Stencil) -> vec4:
        return features(x[0], x[1], x[2], x[3])

    @wp.func
    def weight(x: Stencil, x1: Stencil) -> real:
        m = one
        if edges:
            m, U, V, W, slope, curve = mollifier(x, x1)
        return m

    @wp.func
    def past_layer(x1: Stencil, x2: Stencil, p: Parameters, step: vec3) -> real:
        c1 = coefficients(x1)
        past = step[1] * weight(x1, x1) * compression(wp.length(c1 * x1), p[1], p[2])
        if step[2] != zero:
            c2 = coefficients(x2)
            past = past + step[2] * weight(x2, x1) * compression(wp.length(c2 * x2), p[1], p[2])
        return past

    @wp.func
    def sliding(x: Stencil, x1: Stencil, x2: Stencil, p: Parameters, step: vec3):
        """(c1, n1, v, mu lambda1)."""
        c1 = coefficients(x1)
        Delta = c1 * x1
        d = wp.length(Delta)
        n = vec3()
        v = vec3()
        limit = zero
        if d < p[1] + p[2]:
            limit = p[3] * push(d, weight(x1, x1), p[0], p[1], p[2])
            n = Delta / wp.max(d, shortest)
            w = step[0] * (c1 * (x - step[1] * x1 - step[2] * x2))
            v = w - wp.dot(w, n) * n
        return c1, n, v, limit

    @wp.func
    def energy(x: Stencil, x1: Stencil, x2: Stencil, reference: Stencil, p: Parameters, step: vec3) -> real:
        e = zero
        d = wp.length(coefficients(x) * x)
        if d < p[1] + p[2]:
            past = zero
            if p[4] * step[0] != zero:
                past = past_layer(x1, x2, p, step)
            e = pair_energy(d, weight(x, x1), past, p[0], p[1], p[2], p[4] * step[0])
        if p[3] * step[0] != zero:
            c1, n1, v, limit = sliding(x, x1, x2, p, step)
            e += friction_energy(v, limit, p[5], step[0])
        return e

    @wp.func
    def gradient(x: Stencil, x1: Stencil, x2: Stencil, reference: Stencil, p: Parameters, step: vec3) -> Stencil:
        g = Stencil()
        c = coefficients(x)
        Delta = c * x
        d = wp.length(Delta)
        if d < p[1] + p[2]:
            past = zero
            if step[0] != zero:
                past = past_layer(x1, x2, p, step)
            by_d, by_m = slopes(d, weight(x, x1), past, p[0], p[1], p[2], p[4] * step[0])
            g = wp.outer(c, (by_d / wp.max(d, shortest)) * Delta)
            if edges:
                m, U, V, W, slope, curve = mollifier(x, x1)
                k = two * by_m * slope
                g = g + wp.outer(vec4(-k, k, zero, zero), wp.cross(V, W)) + wp.outer(vec4(zero, zero, -k, k), wp.cross(W, U))
        if step[0] != zero:
            c1, n1, v, limit = sliding(x, x1, x2, p, step)
            g = g + wp.outer(c1, traction(v, limit, p[5]))
        return g

    @wp.func
    def not_negative(aa: real, ab: real, bb: real):
        """The symmetric matrix (aa, ab; ab, bb) without its negative eigenvalues."""
        mean = half * (aa + bb)
        spread = wp.sqrt(half * half * (aa - bb) * (aa - bb) + ab * ab)
        low = wp.max(mean - spread, zero)
        high = wp.max(mean + spread, zero)
        k = zero  # the larger one's projector is 1/2 + (matrix - mean) / (2 spread)
        if spread > zero:
            k = (high - low) / (two * spread)
        centre = half * (low + high)
        return centre + k * half * (aa - bb), k * ab, centre - k * half * (aa - bb)

    @wp.func
    def flat(c: vec4, n: vec3) -> Vector12:
        f = Vector12()
        for a in range(4):
            for i in range(3):
                f[3 * a + i] = c[a] * n[i]
        return f

    @wp.func
    def fading(H: Hessian, U: vec3, V: vec3, W: vec3, k: real, mm: real, dm: real, gd: Vector12, project: int) -> Hessian:
        """H plus k s'' + mm s' s'^T + dm (d' s'^T + s' d'^T); of k s'' only what comes of W' if it is projected."""
        s = flat(vec4(-two, two, zero, zero), wp.cross(V, W)) + flat(vec4(zero, zero, -two, two), wp.cross(W, U))
        R = H + mm * wp.outer(s, s) + dm * (wp.outer(gd, s) + wp.outer(s, gd))
        J = wp.skew(V)
        L = wp.skew(U)
        twist = wp.skew(W)
        count = int(nodes)  # a dynamic loop
        for a in range(count):
            for b in range(a + 1):
                sign = wp.where((a + b) % 2 == 0, two * k, -two * k)
                K = wp.transpose(J) * J
                if a > 1 and b > 1:
                    K = wp.transpose(L) * L
                elif a > 1:
                    K = -(wp.transpose(L) * J)
                    if project == 0:
                        K = K + twist
                for i in range(3):
                    for j in range(3):
                        R[3 * a + i, 3 * b + j] += sign * K[i, j]
        return R

    @wp.func
    def convex(dd: real, dm: real, mm: real, c: vec4, U: vec3, V: vec3, W: vec3):
        """Second derivatives by d and s, both measured by how far they change with the positions, without negative eigenvalues."""
        steep = wp.sqrt(wp.dot(c, c))
        VW = wp.cross(V, W)
        WU = wp.cross(W, U)
        fast = wp.sqrt((two + two) * two * (wp.dot(VW, VW) + wp.dot(WU, WU)))
        a = dd
        b = zero
        e = zero
        if fast > zero:
            a, b, e = not_negative(dd * steep * steep, dm * steep * fast, mm * fast * fast)
            a = a / (steep * steep)
            b = b / (steep * fast)
            e = e / (fast * fast)
        return a, b, e

    @wp.func
    def hessian(x: Stencil, x1: Stencil, x2: Stencil, reference: Stencil, p: Parameters, step: vec3, project: int) -> Hessian:
        H = Hessian()
        c = coefficients(x)
        Delta = c * x
        d = wp.max(wp.length(Delta), shortest)
        n = Delta / d
        near = d < p[1] + p[2]
        by_d = zero
        by_m = zero
        m = one
        slope = zero
        curve = zero
        dm = zero
        mm = zero
        U = vec3()
        V = vec3()
        W = vec3()
        along = mat33()
        if near:
            past = zero
            if step[0] != zero:
                past = past_layer(x1, x2, p, step)
            if edges:
                m, U, V, W, slope, curve = mollifier(x, x1)
            by_d, by_m = slopes(d, m, past, p[0], p[1], p[2], p[4] * step[0])
            dd, dm, mm = curvatures(d, m, past, p[0], p[1], p[2], p[4] * step[0])
            mm = mm * slope * slope + by_m * curve
            dm = dm * slope
            if project != 0:
                if slope != zero:
                    dd, dm, mm = convex(dd, dm, mm, c, U, V, W)
                dd = wp.max(dd, zero)
                by_m = wp.max(by_m, zero)
            along = dd * wp.outer(n, n)
            if project == 0:
                along = along + (by_d / d) * (wp.identity(n=3, dtype=real) - wp.outer(n, n))
        c1 = vec4()
        rub = mat33()
        limit = zero
        if step[0] != zero:
            c1, n1, v, limit = sliding(x, x1, x2, p, step)
            if limit > zero:
                rub = traction_slope(v, n1, limit, p[5], step[0], project)
        if near or limit > zero:
            count = int(nodes)  # a dynamic loop
            for a in range(count):
                for b in range(a + 1):
                    K = c[a] * c[b] * along + c1[a] * c1[b] * rub
                    for i in range(3):
                        for j in range(3):
                            H[3 * a + i, 3 * b + j] = K[i, j]
        if near and project == 0:
            H = turning(H, by_d / d, c, x)
        elif near and by_d < zero:
            H = leaning(H, -by_d, d, n, c, x)
        if slope != zero:
            H = fading(H, U, V, W, by_m * slope, mm, dm, flat(c, n), project)
        return H

    return energy, gradient, hessian
