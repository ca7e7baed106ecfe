"""A frame's drive towards its target pose: springs for how far it is off and turned, and one that holds its shape.

    E = 1/2 xi^T K xi + s/2 sum_k |delta_k - t - theta x r_k|^2,     xi = (t, theta)

    delta_k = x_k - y_k        how far control point k is from its target y_k [m]
    t       mean of delta_k [m]
    theta   J^-1 sum_k r_k x delta_k [rad], with r_k = y_k - mean(y), J = sum_k (|r_k|^2 I - r_k r_k^T)
    K       6 x 6, symmetric, by the rows k_00, k_10, k_11, ... of its lower triangle: [N/m] for two shifts, [N] for a shift and a
            turn, [N m] for two turns
    s       stiffness [N/m] against all that is no rigid motion

Quadratic in the positions: small turns about the target. The forces sum to K's force, their torques about the target's middle to K's.
The matrix is constant, and positive semi-definite where K is, which is the caller's to see to; projection changes nothing.
Four points in one plane serve, four on one line have no turn about it.
Source: least squares fit of a small rigid motion, e.g. Sorkine-Hornung and Rabinovich 2017, linearised.
"""

import warp as wp


def drive(real):
    """Functions of the law for one scalar type; 4 points, parameters (k_00, k_10, k_11, ..., k_55, stiffness)."""
    Stencil = wp.types.matrix((4, 3), real)
    Hessian = wp.types.matrix((12, 12), real)
    Parameters = wp.types.vector(22, real)
    vec3 = wp.types.vector(3, real)
    mat33 = wp.types.matrix((3, 3), real)
    nodes = wp.constant(4)
    half, quarter = real(0.5), real(0.25)

    @wp.func
    def arms(y: Stencil) -> Stencil:
        centre = quarter * (y[0] + y[1] + y[2] + y[3])
        return wp.matrix_from_rows(y[0] - centre, y[1] - centre, y[2] - centre, y[3] - centre)

    @wp.func
    def compliance(r: Stencil) -> mat33:
        """J^-1."""
        return wp.inverse(wp.ddot(r, r) * wp.identity(n=3, dtype=real) - wp.transpose(r) * r)

    @wp.func
    def shift(delta: Stencil) -> vec3:
        return quarter * (delta[0] + delta[1] + delta[2] + delta[3])

    @wp.func
    def turn(r: Stencil, delta: Stencil) -> vec3:
        moment = wp.cross(r[0], delta[0]) + wp.cross(r[1], delta[1]) + wp.cross(r[2], delta[2]) + wp.cross(r[3], delta[3])
        return compliance(r) * moment

    @wp.func
    def rigid(r: Stencil, t: vec3, theta: vec3) -> Stencil:
        return wp.matrix_from_rows(
            t + wp.cross(theta, r[0]), t + wp.cross(theta, r[1]), t + wp.cross(theta, r[2]), t + wp.cross(theta, r[3])
        )

    @wp.func
    def shifts(p: Parameters) -> mat33:
        return mat33(p[0], p[1], p[3], p[1], p[2], p[4], p[3], p[4], p[5])

    @wp.func
    def mixed(p: Parameters) -> mat33:
        """Rows: torques; columns: shifts."""
        return mat33(p[6], p[7], p[8], p[10], p[11], p[12], p[15], p[16], p[17])

    @wp.func
    def turns(p: Parameters) -> mat33:
        return mat33(p[9], p[13], p[18], p[13], p[14], p[19], p[18], p[19], p[20])

    @wp.func
    def energy(x: Stencil, x1: Stencil, x2: Stencil, target: Stencil, p: Parameters, step: vec3) -> real:
        delta = x - target
        r = arms(target)
        t = shift(delta)
        theta = turn(r, delta)
        bent = delta - rigid(r, t, theta)
        e = wp.dot(t, shifts(p) * t) + wp.dot(theta, turns(p) * theta) + p[21] * wp.ddot(bent, bent)
        return half * e + wp.dot(theta, mixed(p) * t)

    @wp.func
    def gradient(x: Stencil, x1: Stencil, x2: Stencil, target: Stencil, p: Parameters, step: vec3) -> Stencil:
        delta = x - target
        r = arms(target)
        t = shift(delta)
        theta = turn(r, delta)
        force = shifts(p) * t + wp.transpose(mixed(p)) * theta
        torque = mixed(p) * t + turns(p) * theta
        return rigid(r, quarter * force, compliance(r) * torque) + p[21] * (delta - rigid(r, t, theta))

    @wp.func
    def hessian(x: Stencil, x1: Stencil, x2: Stencil, target: Stencil, p: Parameters, step: vec3, project: int) -> Hessian:
        r = arms(target)
        C = compliance(r)
        identity = wp.identity(n=3, dtype=real)
        S = quarter * (quarter * shifts(p) - p[21] * identity)
        M = quarter * (C * mixed(p))
        T = C * turns(p) * C - p[21] * C
        H = Hessian()
        count = int(nodes)  # a dynamic loop
        for a in range(count):
            A = wp.skew(r[a])
            for b in range(a + 1):
                B = wp.skew(r[b])
                K = S + wp.transpose(A) * T * B + wp.transpose(A) * M + wp.transpose(M) * B
                if a == b:
                    K = K + p[21] * identity
                for i in range(3):
                    for j in range(3):
                        H[3 * a + i, 3 * b + j] = K[i, j]
        return H

    return energy, gradient, hessian
