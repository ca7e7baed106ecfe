"""Viscous damping of a tetrahedron: Kelvin-Voigt on the Green strain.

    D = sum_q w_q eta r |E_q - a E_q(x1) - b E_q(x2)|^2,     E = (F^T F - I)/2

    eta  viscosity [Pa s]; the second Piola stress is 2 eta dE/dt, beside the elastic 2 mu E: a mode of angular frequency w
         decays with the damping ratio eta w / (2 mu)

The Green strain does not feel rotations, so rigid motion is not damped, exactly, at any step size. Projection drops the
geometric term S : dE2, the only indefinite part.
Source: Kelvin-Voigt solid in a total Lagrangian frame, e.g. Simo and Hughes, Computational Inelasticity, section 10.2.
"""

import warp as wp

from physsim.kernels.tetrahedra import tetrahedron


def viscous(real, points):
    """Functions of the law for one scalar type and 4 or 10 nodes; parameters (viscosity,)."""
    derivatives, quadrature_count, reference_weight = tetrahedron(points, real)
    count = wp.constant(quadrature_count)
    nodes = wp.constant(points)
    Stencil = wp.types.matrix((points, 3), real)
    Hessian = wp.types.matrix((3 * points, 3 * points), real)
    Parameters = wp.types.vector(1, real)
    mat33 = wp.types.matrix((3, 3), real)
    vec3 = wp.types.vector(3, real)
    half, two = real(0.5), real(2.0)

    @wp.func
    def strain(x: Stencil, rest: Stencil, N: Stencil) -> mat33:
        G = wp.transpose(x - rest) * N
        return half * (G + wp.transpose(G) + wp.transpose(G) * G)

    @wp.func
    def strain_change(x: Stencil, x1: Stencil, x2: Stencil, rest: Stencil, N: Stencil, step: vec3) -> mat33:
        return strain(x, rest, N) - step[1] * strain(x1, rest, N) - step[2] * strain(x2, rest, N)

    @wp.func
    def energy(x: Stencil, x1: Stencil, x2: Stencil, rest: Stencil, p: Parameters, step: vec3) -> real:
        e = real(0.0)
        for q in range(count):
            D = derivatives(q)
            jacobian = wp.transpose(rest) * D
            change = strain_change(x, x1, x2, rest, D * wp.inverse(jacobian), step)
            e += reference_weight * wp.determinant(jacobian) * p[0] * step[0] * wp.ddot(change, change)
        return e

    @wp.func
    def gradient(x: Stencil, x1: Stencil, x2: Stencil, rest: Stencil, p: Parameters, step: vec3) -> Stencil:
        identity = wp.identity(n=3, dtype=real)
        g = Stencil()
        for q in range(count):
            D = derivatives(q)
            jacobian = wp.transpose(rest) * D
            w = reference_weight * wp.determinant(jacobian)
            N = D * wp.inverse(jacobian)
            F = identity + wp.transpose(x - rest) * N
            S = (two * p[0] * step[0]) * strain_change(x, x1, x2, rest, N, step)
            g += w * (N * (S * wp.transpose(F)))
        return g

    @wp.func
    def hessian(x: Stencil, x1: Stencil, x2: Stencil, rest: Stencil, p: Parameters, step: vec3, project: int) -> Hessian:
        identity = wp.identity(n=3, dtype=real)
        H = Hessian()
        points_of_quadrature = int(count)
        count_of_nodes = int(nodes)
        for q in range(points_of_quadrature):
            D = derivatives(q)
            jacobian = wp.transpose(rest) * D
            w = reference_weight * wp.determinant(jacobian)
            N = D * wp.inverse(jacobian)
            F = identity + wp.transpose(x - rest) * N
            S = (two * p[0] * step[0]) * strain_change(x, x1, x2, rest, N, step)
            B = F * wp.transpose(F)
            k = w * p[0] * step[0]
            for a in range(count_of_nodes):
                Fa = F * N[a]
                for b in range(a + 1):
                    Fb = F * N[b]
                    near = wp.dot(N[a], N[b])
                    geometric = real(0.0)
                    if project == 0:
                        geometric = w * wp.dot(N[a], S * N[b])
                    for i in range(3):
                        H[3 * a + i, 3 * b + i] += geometric
                        for j in range(3):
                            H[3 * a + i, 3 * b + j] += k * (near * B[i, j] + Fb[i] * Fa[j])
        return H

    return energy, gradient, hessian
