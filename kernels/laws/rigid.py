"""What keeps the four points of a rigid body's frame rigid: strain that rotations leave at zero to the last digit.

    E = Y V/2 |G|^2,     G = (F^T F - I)/2,     F = sum_k x_k (x) N_k

    x_k  control points [m]      N_k  gradients of the frame's affine coordinates at rest [1/m]      V  volume of the frame [m^3]
    Y    young [Pa]: the linearisation at rest is Hooke's law with this modulus and Poisson's ratio zero

For strains far below one, as a rigid body's are: pressed to half its size it would give way. The frame may be inside out at rest, for
only its mirror image is as good as it. Rounding of the energy is of the order of the strain, whereas energies whose constant terms
cancel lose their digits as soon as a body has turned.
Projection leaves out what the stress adds, Y V (N_a . G N_b) I; the rest is positive semi-definite.
Source: Lan et al. 2022, Affine Body Dynamics, section 4 (the orthogonality potential).
"""

import warp as wp


def rigid(real):
    """Functions of the law for one scalar type; 4 points, parameters (young,)."""
    Stencil = wp.types.matrix((4, 3), real)
    Hessian = wp.types.matrix((12, 12), real)
    Parameters = wp.types.vector(1, real)
    vec3 = wp.types.vector(3, real)
    mat33 = wp.types.matrix((3, 3), real)
    nodes = wp.constant(4)
    zero, half, one, sixth = real(0.0), real(0.5), real(1.0), real(1.0 / 6.0)

    @wp.func
    def edges(x: Stencil) -> mat33:
        return wp.matrix_from_cols(x[1] - x[0], x[2] - x[0], x[3] - x[0])

    @wp.func
    def shapes(B: mat33) -> Stencil:
        """N_k, by rows, of the inverse of the edges at rest."""
        return wp.matrix_from_rows(-(B[0] + B[1] + B[2]), B[0], B[1], B[2])

    @wp.func
    def strain(x: Stencil, E: mat33, B: mat33) -> mat33:
        D = (edges(x) - E) * B  # F - I, so that small strains about the rest pose keep their digits
        return half * (D + wp.transpose(D) + wp.transpose(D) * D)

    @wp.func
    def modulus(E: mat33, p: Parameters) -> real:
        """Y V [N m]."""
        return p[0] * sixth * wp.abs(wp.determinant(E))

    @wp.func
    def energy(x: Stencil, x1: Stencil, x2: Stencil, rest: Stencil, p: Parameters, step: vec3) -> real:
        E = edges(rest)
        G = strain(x, E, wp.inverse(E))
        return half * modulus(E, p) * wp.ddot(G, G)

    @wp.func
    def gradient(x: Stencil, x1: Stencil, x2: Stencil, rest: Stencil, p: Parameters, step: vec3) -> Stencil:
        E = edges(rest)
        B = wp.inverse(E)
        G = strain(x, E, B)
        return modulus(E, p) * (shapes(B) * (G * wp.transpose(edges(x) * B)))

    @wp.func
    def hessian(x: Stencil, x1: Stencil, x2: Stencil, rest: Stencil, p: Parameters, step: vec3, project: int) -> Hessian:
        E = edges(rest)
        B = wp.inverse(E)
        N = shapes(B)
        F = edges(x) * B
        M = F * wp.transpose(F)
        stressed = wp.where(project == 0, one, zero)
        G = stressed * strain(x, E, B)
        m = modulus(E, p)
        H = Hessian()
        count = int(nodes)  # a dynamic loop
        for a in range(count):
            for b in range(a + 1):
                # dG = sym(F^T dF) of both points: its inner product with itself, and the stress on what is of second order
                K = half * (wp.dot(N[a], N[b]) * M + wp.outer(F * N[b], F * N[a]))
                k = wp.dot(N[a], G * N[b])
                for i in range(3):
                    for j in range(3):
                        H[3 * a + i, 3 * b + j] = m * K[i, j]
                    H[3 * a + i, 3 * b + i] += m * k
        return H

    return energy, gradient, hessian
