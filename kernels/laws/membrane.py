"""Orthotropic membrane of a triangle: stable neo-Hookean in the plane, fibres along warp and weft, Kelvin-Voigt damping.

    W = A [ G0 ((c1 + c2)/2 - (J - 1)) + (C12 + G0)/2 (J - 1)^2 + a1/2 (|f1| - 1)^2 + a2/2 (|f2| - 1)^2 + g/2 (f1 . f2)^2 ]
    D = A c r/2 |E - a E(x1) - b E(x2)|^2

    f1, f2   images of the unit warp and weft [-]; c_i = |f_i|^2 - 1, J = |f1 x f2|, E the Green strain, A rest area [m^2]
    C11 = Y1/(1 - nu^2), C22 = Y2/(1 - nu^2), C12 = nu sqrt(Y1 Y2)/(1 - nu^2), a_i = C_ii - C12 - 2 G0, g = G - G0
    Y1, Y2   stretch_warp, stretch_weft [N/m]: Young's modulus times thickness
    nu       poisson [-], in (-1, 1): the geometric mean of both directions' ratios
    G        shear [N/m]; 0 stands for sqrt(Y1 Y2)/(2 (1 + nu)), the isotropic value
    angle    [rad] from the rest edge 0 -> 1 to the warp, about the triangle's normal
    c        damping [N s/m], on the Green strain, which feels no rotation: rigid motion is free

Linearised at rest this is orthotropic plane stress with exactly these moduli, whatever G0 is. G0 is the share of the shear
modulus that both directions can carry: G itself up to m = h^2/mean of (C11 - C12)/2 and (C22 - C12)/2 (h: their harmonic mean), from
there on growing slower, to 3/2 m; so that a_i > -G0 and the energy stays bounded below where one direction is
much softer than the other. In the isotropic case G0 = G, a_i = g = 0. Where nu^2 exceeds the ratio of the softer to the stiffer
stretch, no such share exists and a long pull along the soft direction loses stiffness.
It resists compression down to collapse and stays finite there (J and |f| are held above 1e-3).
All values come from the displacement gradient; terms that cancel at rest are cancelled by hand, so that float32 keeps its digits.
Projection clamps the two symmetric factors of the Hessian (3 x 3 in the strains, 2 x 2 of the stresses; 2: of those at x1) apart.
Sources: Smith, de Goes and Kim 2018, section 3 (energy, here with two axes); Boehler 1987 (fibre terms); Huber 1923 (geometric means).
"""

import warp as wp


def membrane(real):
    """Functions of the law for one scalar type; 3 points, parameters (stretch_warp, stretch_weft, poisson, shear, angle, damping)."""
    Stencil = wp.types.matrix((3, 3), real)
    Hessian = wp.types.matrix((9, 9), real)
    Parameters = wp.types.vector(6, real)
    Moduli = wp.types.vector(5, real)
    mat22 = wp.types.matrix((2, 2), real)
    mat33 = wp.types.matrix((3, 3), real)
    vec2 = wp.types.vector(2, real)
    vec3 = wp.types.vector(3, real)
    zero, quarter, half, one, two = real(0.0), real(0.25), real(0.5), real(1.0), real(2.0)
    tiny = real(1.0e-6)  # of squared ratios, about what rounding leaves of them in float32

    @wp.func
    def moduli_of(p: Parameters) -> Moduli:
        """(G0, C12 + G0, a1, a2, g) [N/m]."""
        mixed = wp.sqrt(p[0] * p[1])
        scale = one / (one - p[2] * p[2])
        coupling = p[2] * mixed * scale
        shear = wp.where(p[3] > zero, p[3], half * mixed / (one + p[2]))
        x1 = wp.max(half * (p[0] * scale - coupling), tiny * p[0])
        x2 = wp.max(half * (p[1] * scale - coupling), tiny * p[1])
        total = x1 + x2
        room = real(8.0) * x1 * x1 * x2 * x2 / (total * total * total)
        excess = wp.max(shear / room - one, zero)
        carried = wp.min(shear, room) + room * excess / (one + two * excess)
        return Moduli(
            carried,
            coupling + carried,
            p[0] * scale - coupling - two * carried,
            p[1] * scale - coupling - two * carried,
            shear - carried,
        )

    @wp.func
    def frame(rest: Stencil, angle: real):
        """(warp a1, weft a2, gradients of the second and third hat function as rows [1/m], rest area [m^2])."""
        u = rest[1] - rest[0]
        v = rest[2] - rest[0]
        normal = wp.cross(u, v)
        twice = wp.length(normal)
        along = u / wp.length(u)
        across = wp.cross(normal, along) / twice
        c = wp.cos(angle)
        s = wp.sin(angle)
        a1 = c * along + s * across
        a2 = c * across - s * along
        N = mat22(wp.dot(v, a2), -wp.dot(v, a1), -wp.dot(u, a2), wp.dot(u, a1)) / twice
        return a1, a2, N, half * twice

    @wp.func
    def axis_gradient(x: Stencil, rest: Stencil, n1: real, n2: real) -> vec3:
        """Displacement gradient along one axis; the differences of rest and of x are taken first."""
        return n1 * ((x[1] - rest[1]) - (x[0] - rest[0])) + n2 * ((x[2] - rest[2]) - (x[0] - rest[0]))

    @wp.func
    def strains(g1: vec3, g2: vec3, a1: vec3, a2: vec3) -> vec3:
        """(|f1|^2 - 1, |f2|^2 - 1, f1 . f2), from f = a + g."""
        return vec3(
            two * wp.dot(a1, g1) + wp.dot(g1, g1),
            two * wp.dot(a2, g2) + wp.dot(g2, g2),
            wp.dot(a1, g2) + wp.dot(a2, g1) + wp.dot(g1, g2),
        )

    @wp.func
    def strains_of(x: Stencil, rest: Stencil, a1: vec3, a2: vec3, N: mat22) -> vec3:
        g1 = axis_gradient(x, rest, N[0, 0], N[1, 0])
        g2 = axis_gradient(x, rest, N[0, 1], N[1, 1])
        return strains(g1, g2, a1, a2)

    @wp.func
    def strain_change(now: vec3, x1: Stencil, x2: Stencil, rest: Stencil, a1: vec3, a2: vec3, N: mat22, step: vec3) -> vec3:
        """Twice the change of the Green strain (11, 22, 12)."""
        change = now - step[1] * strains_of(x1, rest, a1, a2, N)
        if step[2] != zero:
            change = change - step[2] * strains_of(x2, rest, a1, a2, N)
        return change

    @wp.func
    def area_ratio(c: vec3) -> vec2:
        """(J, J - 1)."""
        product = c[0] * c[1] - c[2] * c[2]
        J = wp.sqrt(wp.max(one + c[0] + c[1] + product, tiny))
        return vec2(J, (c[0] + c[1] + product) / (one + J))

    @wp.func
    def length_change(c: real) -> vec2:
        """(|f|, |f| - 1)."""
        f = wp.sqrt(wp.max(one + c, tiny))
        return vec2(f, c / (one + f))

    @wp.func
    def energy(x: Stencil, x1: Stencil, x2: Stencil, rest: Stencil, p: Parameters, step: vec3) -> real:
        a1, a2, N, area = frame(rest, p[4])
        c = strains_of(x, rest, a1, a2, N)
        m = moduli_of(p)
        J = area_ratio(c)
        # (c1 + c2)/2 - (J - 1), its terms of first order cancelled
        e = m[0] * (half * (c[0] + c[1]) * J[1] - (c[0] * c[1] - c[2] * c[2])) / (one + J[0])
        s1 = length_change(c[0])[1]
        s2 = length_change(c[1])[1]
        e += half * (m[1] * J[1] * J[1] + m[2] * s1 * s1 + m[3] * s2 * s2 + m[4] * c[2] * c[2])
        if p[5] * step[0] != zero:
            d = strain_change(c, x1, x2, rest, a1, a2, N, step)
            e += real(0.125) * p[5] * step[0] * (d[0] * d[0] + d[1] * d[1] + two * d[2] * d[2])
        return area * e

    @wp.func
    def elastic_stress(c: vec3, m: Moduli) -> vec3:
        """Derivatives of W/A by (c1, c2, f1 . f2)."""
        J = area_ratio(c)
        f1 = length_change(c[0])
        f2 = length_change(c[1])
        pressure = m[1] * J[1]
        w1 = half * (m[0] * (J[1] - c[1]) + pressure * (one + c[1])) / J[0] + half * m[2] * f1[1] / f1[0]
        w2 = half * (m[0] * (J[1] - c[0]) + pressure * (one + c[0])) / J[0] + half * m[3] * f2[1] / f2[0]
        return vec3(w1, w2, c[2] * ((m[0] - pressure) / J[0] + m[4]))

    @wp.func
    def gradient(x: Stencil, x1: Stencil, x2: Stencil, rest: Stencil, p: Parameters, step: vec3) -> Stencil:
        a1, a2, N, area = frame(rest, p[4])
        g1 = axis_gradient(x, rest, N[0, 0], N[1, 0])
        g2 = axis_gradient(x, rest, N[0, 1], N[1, 1])
        c = strains(g1, g2, a1, a2)
        w = elastic_stress(c, moduli_of(p))
        if step[0] != zero:
            d = strain_change(c, x1, x2, rest, a1, a2, N, step)
            w = w + (quarter * p[5] * step[0]) * vec3(d[0], d[1], two * d[2])
        P1 = area * (two * w[0] * (a1 + g1) + w[2] * (a2 + g2))
        P2 = area * (two * w[1] * (a2 + g2) + w[2] * (a1 + g1))
        q1 = N[0, 0] * P1 + N[0, 1] * P2
        q2 = N[1, 0] * P1 + N[1, 1] * P2
        q0 = -(q1 + q2)
        return Stencil(q0[0], q0[1], q0[2], q1[0], q1[1], q1[2], q2[0], q2[1], q2[2])

    @wp.func
    def stiffness(c: vec3, m: Moduli) -> mat33:
        """Second derivatives of W/A by (c1, c2, f1 . f2)."""
        J = area_ratio(c)
        f1 = length_change(c[0])[0]
        f2 = length_change(c[1])[0]
        slope = m[1] * J[1] - m[0]
        cubed = slope / (J[0] * J[0] * J[0])
        k1 = one + c[0]
        k2 = one + c[1]
        dJ = vec3(half * k2, half * k1, -c[2]) / J[0]
        H = m[1] * wp.outer(dJ, dJ)
        H[0, 0] += quarter * (m[2] / (f1 * f1 * f1) - cubed * k2 * k2)
        H[1, 1] += quarter * (m[3] / (f2 * f2 * f2) - cubed * k1 * k1)
        H[2, 2] += m[4] - slope / J[0] - cubed * c[2] * c[2]
        h12 = half * slope / J[0] - quarter * cubed * k1 * k2
        h13 = half * cubed * c[2] * k2
        h23 = half * cubed * c[2] * k1
        H[0, 1] += h12
        H[1, 0] += h12
        H[0, 2] += h13
        H[2, 0] += h13
        H[1, 2] += h23
        H[2, 1] += h23
        return H

    @wp.func
    def clamped(H: mat33) -> mat33:
        """The nearest positive semi-definite matrix; Sylvester's test spares most the eigenvalues."""
        minor = H[0, 0] * H[1, 1] - H[0, 1] * H[1, 0]
        if H[0, 0] > zero and minor > zero and wp.determinant(H) > zero:
            return H
        Q, values = wp.eig3(H)
        for k in range(3):
            column = vec3(Q[0, k], Q[1, k], Q[2, k])
            H = H + wp.max(-values[k], zero) * wp.outer(column, column)
        return H

    @wp.func
    def clamped_stress(w: vec3) -> vec3:
        """The stress matrix ((2 w1, w3), (w3, 2 w2)) with its negative eigenvalues lifted to zero."""
        middle = w[0] + w[1]
        spread = w[0] - w[1]
        radius = wp.sqrt(spread * spread + w[2] * w[2])
        if middle >= radius:
            return w
        if middle <= -radius:
            return vec3(zero, zero, zero)
        k = half * (middle + radius) / radius  # of one eigenvector's projector, (radius I + deviator) / (2 radius)
        return vec3(half * k * (radius + spread), half * k * (radius - spread), k * w[2])

    @wp.func
    def block(n: vec2, k: vec2, w: vec3, C: mat33, f1: vec3, f2: vec3) -> mat33:
        """Second derivative by the nodes of hat gradients n (rows) and k (columns), over the area."""
        # rows and columns in the basis (f1, f2): strains' gradients are (2 n1, 0), (0, 2 n2), (n2, n1)
        r11 = two * n[0] * C[0, 0] + n[1] * C[2, 0]
        r12 = two * n[0] * C[0, 1] + n[1] * C[2, 1]
        r13 = two * n[0] * C[0, 2] + n[1] * C[2, 2]
        r21 = two * n[1] * C[1, 0] + n[0] * C[2, 0]
        r22 = two * n[1] * C[1, 1] + n[0] * C[2, 1]
        r23 = two * n[1] * C[1, 2] + n[0] * C[2, 2]
        left1 = (two * k[0] * r11 + k[1] * r13) * f1 + (two * k[1] * r12 + k[0] * r13) * f2
        left2 = (two * k[0] * r21 + k[1] * r23) * f1 + (two * k[1] * r22 + k[0] * r23) * f2
        B = wp.outer(f1, left1) + wp.outer(f2, left2)
        s = two * (w[0] * n[0] * k[0] + w[1] * n[1] * k[1]) + w[2] * (n[0] * k[1] + n[1] * k[0])
        for i in range(3):
            B[i, i] += s
        return B

    @wp.func
    def hessian(x: Stencil, x1: Stencil, x2: Stencil, rest: Stencil, p: Parameters, step: vec3, project: int) -> Hessian:
        a1, a2, N, area = frame(rest, p[4])
        g1 = axis_gradient(x, rest, N[0, 0], N[1, 0])
        g2 = axis_gradient(x, rest, N[0, 1], N[1, 1])
        c = strains(g1, g2, a1, a2)
        m = moduli_of(p)
        w = elastic_stress(c, m)
        C = stiffness(c, m)
        rate = quarter * p[5] * step[0]
        if rate != zero:
            d = strain_change(c, x1, x2, rest, a1, a2, N, step)
            w = w + rate * vec3(d[0], d[1], two * d[2])
            C[0, 0] += rate
            C[1, 1] += rate
            C[2, 2] += two * rate
        if project != 0:
            if project == 2 and step[0] != zero:
                w = elastic_stress(strains_of(x1, rest, a1, a2, N), m)
            w = clamped_stress(w)
            C = clamped(C)
        f1 = a1 + g1
        f2 = a2 + g2
        B11 = area * block(N[0], N[0], w, C, f1, f2)
        B21 = area * block(N[1], N[0], w, C, f1, f2)
        B22 = area * block(N[1], N[1], w, C, f1, f2)
        H = Hessian()
        for i in range(3):
            for j in range(3):
                # rows of a translation are zero
                H[3 + i, j] = -B11[i, j] - B21[j, i]
                H[6 + i, j] = -B21[i, j] - B22[i, j]
                H[i, j] = B11[i, j] + B21[i, j] + B21[j, i] + B22[i, j]
                H[3 + i, 3 + j] = B11[i, j]
                H[6 + i, 3 + j] = B21[i, j]
                H[6 + i, 6 + j] = B22[i, j]
        return H

    @wp.func
    def stress(x: Stencil, rest: Stencil, p: Parameters) -> mat33:
        """Elastic Cauchy stress times thickness [N/m]."""
        a1, a2, N, area = frame(rest, p[4])
        g1 = axis_gradient(x, rest, N[0, 0], N[1, 0])
        g2 = axis_gradient(x, rest, N[0, 1], N[1, 1])
        c = strains(g1, g2, a1, a2)
        w = elastic_stress(c, moduli_of(p))
        f1 = a1 + g1
        f2 = a2 + g2
        total = two * (w[0] * wp.outer(f1, f1) + w[1] * wp.outer(f2, f2)) + w[2] * (wp.outer(f1, f2) + wp.outer(f2, f1))
        return total / area_ratio(c)[0]

    return energy, gradient, hessian, stress
