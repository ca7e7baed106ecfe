"""Stable neo-Hookean tetrahedron, its volumetric stiffness split between quadrature points and one mean dilatation.

    W = sum_q w_q [ mu/2 (F_q : F_q - 3) - mu (J_q - 1) + (lam_q + mu)/2 (J_q - 1)^2 ]  +  V (lam - lam_q)/2 (theta - 1)^2

    mu = E / (2 (1 + nu)),  lam = E nu / ((1 + nu) (1 - 2 nu)),  lam_q = lam / (1 + max(lam, 0) / (2 mu)),  theta = sum_q w_q J_q / V
    E   young [Pa]     nu  poisson [-], in (-1, 0.5)
    F_q deformation gradient at a quadrature point of volume w_q [m^3], J_q = det F_q, V = sum_q w_q

The linearisation at rest is Hooke's law with exactly these Lame constants, so that young and poisson come out as asked.
Polynomial in F: finite for any inversion. For nu < 0 rest stays a local, not the global, minimum.

Near incompressibility a stiffness lam at every point would lock the element and one mean dilatation alone would let the points
change volume freely and be too soft. The points carry lam_q, which stays below 2 mu (a Poisson's ratio of 1/3, at which ten
nodes are far from locking); the mean carries the rest. With four nodes there is one point, theta = J, and the element locks
above about 0.4.
All values are computed from the displacement gradient G = F - I, in which the terms of order zero and one that cancel at rest
are cancelled by hand, so that float32 keeps its digits at small strain.
Sources: Smith, de Goes and Kim 2018, section 3 (energy), 4 (eigensystem); Nagtegaal, Parks and Rice 1974 (mean dilatation);
Malkus and Hughes 1978 (selective integration of the volumetric part).
"""

import warp as wp

from physsim.kernels.tetrahedra import tetrahedron


def neo_hookean(real, points):
    """Functions of the law for one scalar type and 4 or 10 nodes; parameters (young, poisson). Also `stress`."""
    derivatives, quadrature_count, reference_weight = tetrahedron(points, real)
    count = wp.constant(quadrature_count)
    nodes = wp.constant(points)
    Stencil = wp.types.matrix((points, 3), real)
    Hessian = wp.types.matrix((3 * points, 3 * points), real)
    mat33 = wp.types.matrix((3, 3), real)
    vec2 = wp.types.vector(2, real)
    vec3 = wp.types.vector(3, real)
    half, one, two, zero = real(0.5), real(1.0), real(2.0), real(0.0)
    share_limit = real(2.0)  # lam_q / mu as nu approaches 1/2
    root_half = real(0.7071067811865476)

    @wp.func
    def moduli_of(p: vec2) -> vec3:
        """(mu, lam_q + mu, lam - lam_q) [Pa]."""
        mu = p[0] / (two * (one + p[1]))
        ratio = two * p[1] / (one - two * p[1])  # lam / mu, so that nothing is divided by a modulus
        local = ratio / (one + wp.max(ratio, zero) / share_limit)
        return vec3(mu, (local + one) * mu, (ratio - local) * mu)

    @wp.func
    def cofactor(F: mat33) -> mat33:
        c0 = vec3(F[0, 0], F[1, 0], F[2, 0])
        c1 = vec3(F[0, 1], F[1, 1], F[2, 1])
        c2 = vec3(F[0, 2], F[1, 2], F[2, 2])
        return wp.matrix_from_cols(wp.cross(c1, c2), wp.cross(c2, c0), wp.cross(c0, c1))

    @wp.func
    def rest_jacobian(rest: Stencil, q: int) -> mat33:
        return wp.transpose(rest) * derivatives(q)

    @wp.func
    def second_and_third_invariant(G: mat33) -> real:
        # det(I + G) - 1 = tr G + this
        trace = wp.trace(G)
        return half * (trace * trace - wp.trace(G * G)) + wp.determinant(G)

    @wp.func
    def dilatation(x: Stencil, rest: Stencil) -> vec2:
        """(V [m^3], theta - 1)."""
        volume = zero
        change = zero
        for q in range(count):
            jacobian = rest_jacobian(rest, q)
            w = reference_weight * wp.determinant(jacobian)
            G = wp.transpose(x - rest) * (derivatives(q) * wp.inverse(jacobian))
            volume += w
            change += w * (wp.trace(G) + second_and_third_invariant(G))
        return vec2(volume, change / volume)

    @wp.func
    def distortion(G: mat33, higher: real, change: real) -> real:
        # (I_C - 3) / 2 - (J - 1). In a body that has turned far from rest G is large and its terms cancel; those of C - I do not:
        # I_C - 3 = tr(C - I) and J^2 - 1 = tr(C - I) + higher invariants of it. Inside out, where J + 1 may vanish, G serves.
        if change < -half:
            return half * wp.ddot(G, G) - higher
        strain = G + wp.transpose(G) + wp.transpose(G) * G
        return (half * wp.trace(strain) * change - second_and_third_invariant(strain)) / (two + change)

    @wp.func
    def energy(x: Stencil, x1: Stencil, x2: Stencil, rest: Stencil, p: vec2, step: vec3) -> real:
        moduli = moduli_of(p)
        volume_change = dilatation(x, rest)
        e = half * moduli[2] * volume_change[0] * volume_change[1] * volume_change[1]
        for q in range(count):
            jacobian = rest_jacobian(rest, q)
            w = reference_weight * wp.determinant(jacobian)
            G = wp.transpose(x - rest) * (derivatives(q) * wp.inverse(jacobian))
            higher = second_and_third_invariant(G)
            change = wp.trace(G) + higher
            e += w * (moduli[0] * distortion(G, higher, change) + half * moduli[1] * change * change)
        return e

    @wp.func
    def gradient(x: Stencil, x1: Stencil, x2: Stencil, rest: Stencil, p: vec2, step: vec3) -> Stencil:
        moduli = moduli_of(p)
        volume_change = dilatation(x, rest)
        identity = wp.identity(n=3, dtype=real)
        g = Stencil()
        for q in range(count):
            jacobian = rest_jacobian(rest, q)
            w = reference_weight * wp.determinant(jacobian)
            N = derivatives(q) * wp.inverse(jacobian)
            G = wp.transpose(x - rest) * N
            pressure = moduli[1] * (wp.trace(G) + second_and_third_invariant(G)) + moduli[2] * volume_change[1]
            # P = mu (F - cof F) + pressure cof F, with cof(I + G) = I + tr(G) I - G^T + cof G
            shear = G + wp.transpose(G) - wp.trace(G) * identity - cofactor(G)
            P = moduli[0] * shear + pressure * cofactor(identity + G)
            g += w * (N * wp.transpose(P))
        return g

    @wp.func
    def mode(k: int, U: mat33, V: mat33, Q: mat33) -> mat33:
        """Eigenmatrix k of mu I + p d2J/dF2 in the frame of F = U diag(s) V^T: 3 twists, 3 flips, 3 scalings."""
        A = mat33()
        if k < 6:
            i = (k + 1) % 3
            j = (k + 2) % 3
            A[i, j] = root_half
            A[j, i] = wp.where(k < 3, -root_half, root_half)
        else:
            for i in range(3):
                A[i, i] = Q[i, k - 6]
        return U * A * wp.transpose(V)

    @wp.func
    def add_projection(H: Hessian, N: Stencil, F: mat33, w: real, mu: real, slope: real, bulk: real) -> Hessian:
        """Lift the negative eigenvalues of mu I + slope d2J/dF2 + bulk dJ/dF (x) dJ/dF to zero (Smith et al. 2018, section 4)."""
        U, s, V = wp.svd3(F)
        p = slope * wp.sign(wp.determinant(U) * wp.determinant(V))
        v = vec3(s[1] * s[2], s[2] * s[0], s[0] * s[1])
        scaling = mat33(mu, p * s[2], p * s[1], p * s[2], mu, p * s[0], p * s[1], p * s[0], mu) + bulk * wp.outer(v, v)
        Q = mat33()
        values = vec3(one, one, one)
        minor = scaling[0, 0] * scaling[1, 1] - scaling[0, 1] * scaling[1, 0]
        if not (scaling[0, 0] > zero and minor > zero and wp.determinant(scaling) > zero):  # definite as a rule: nothing to lift
            Q, values = wp.eig3(scaling)
        count_of_nodes = int(nodes)
        modes = 9
        for k in range(modes):
            value = real(0.0)
            if k < 3:
                value = mu + p * s[k]
            elif k < 6:
                value = mu - p * s[k - 3]
            else:
                value = values[k - 6]
            if value < zero:
                E = mode(k, U, V, Q)
                for a in range(count_of_nodes):
                    for b in range(a + 1):
                        left = (-w * value) * (E * N[a])
                        right = E * N[b]
                        for i in range(3):
                            for j in range(3):
                                H[3 * a + i, 3 * b + j] += left[i] * right[j]
        return H

    @wp.func
    def hessian(x: Stencil, x1: Stencil, x2: Stencil, rest: Stencil, p: vec2, step: vec3, project: int) -> Hessian:
        moduli = moduli_of(p)
        mu = moduli[0]
        volume_change = dilatation(x, rest)
        identity = wp.identity(n=3, dtype=real)
        H = Hessian()
        volume_gradient = Stencil()
        points_of_quadrature = int(count)  # dynamic loops: unrolled, they would compile for minutes
        count_of_nodes = int(nodes)
        for q in range(points_of_quadrature):
            jacobian = rest_jacobian(rest, q)
            w = reference_weight * wp.determinant(jacobian)
            N = derivatives(q) * wp.inverse(jacobian)
            G = wp.transpose(x - rest) * N
            F = identity + G
            slope = moduli[1] * (wp.trace(G) + second_and_third_invariant(G)) + moduli[2] * volume_change[1] - mu
            point_gradient = N * wp.transpose(cofactor(F))
            volume_gradient += w * point_gradient
            for a in range(count_of_nodes):
                for b in range(a + 1):
                    k = w * mu * wp.dot(N[a], N[b])
                    # d2J : (u (x) Na)(v (x) Nb) = (u x v) . F (Na x Nb)
                    c = (-w * slope) * (F * wp.cross(N[a], N[b]))
                    i = 3 * a
                    j = 3 * b
                    H[i, j] += k
                    H[i + 1, j + 1] += k
                    H[i + 2, j + 2] += k
                    H[i, j + 1] -= c[2]
                    H[i, j + 2] += c[1]
                    H[i + 1, j] += c[2]
                    H[i + 1, j + 2] -= c[0]
                    H[i + 2, j] -= c[1]
                    H[i + 2, j + 1] += c[0]
                    for r in range(3):
                        for s in range(3):
                            H[i + r, j + s] += w * moduli[1] * point_gradient[a, r] * point_gradient[b, s]
            if project != 0:
                H = add_projection(H, N, F, w, mu, slope, moduli[1])
        for a in range(count_of_nodes):
            for b in range(a + 1):
                for i in range(3):
                    for j in range(3):
                        H[3 * a + i, 3 * b + j] += (moduli[2] / volume_change[0]) * volume_gradient[a, i] * volume_gradient[b, j]
        return H

    @wp.func
    def stress(x: Stencil, rest: Stencil, p: vec2) -> mat33:
        """Mean Cauchy stress [Pa] over the element's deformed volume."""
        moduli = moduli_of(p)
        volume_change = dilatation(x, rest)
        identity = wp.identity(n=3, dtype=real)
        total = mat33()
        volume = zero
        for q in range(count):
            jacobian = rest_jacobian(rest, q)
            w = reference_weight * wp.determinant(jacobian)
            G = wp.transpose(x - rest) * (derivatives(q) * wp.inverse(jacobian))
            F = identity + G
            change = wp.trace(G) + second_and_third_invariant(G)
            pressure = moduli[1] * change + moduli[2] * volume_change[1] - moduli[0]
            total += w * ((moduli[0] * F + pressure * cofactor(F)) * wp.transpose(F))
            volume += w * wp.determinant(F)
        return total / volume

    return energy, gradient, hessian, stress
