"""Splats carried by a body: one factor M = F R S each, and the reverse mode of it, by gathers in a fixed order.

Carriers are where the body tells how it deforms: nodes of tetrahedra, triangles, particles of a net, edges of a rod. A carrier c knows
    L_c = sum_j (x_j - x_ref) h_cj^T,
x [m] the positions of a few particles, where sum_j h_cj = 0 and L_c = F for every affine motion x = F X + b in the directions that the
particles span at rest. The other directions are completed with the carrier's orthonormal, right-handed rest axes Q = [q1 q2 q3], and
f_k = L q_k:
    SOLID   nothing is missing
    PLANE   F q3 = f1 x f2 / |f1 x f2|
    FRAMED  F q2 is f2 made a unit vector across f1, F q3 = f1 x F q2 / |f1|
    LINE    the same with the image of q2 under the smallest rotation that takes q1 along f1 in place of f2: a line does not tell its spin

A splat with rest mean X, axes R (from a quaternion) and standard deviations S blends its carriers, and its mean follows a few particles:
    F = limited(sum_c u_c F_c),  M = F R S,  mean = sum_j w_j x_j + (sum_c u_c F_c)(X - X_0),  X_0 = sum_j w_j X_j.
Its covariance is M M^T. The weights are constants of the binding, so that dmean/dX = F.

Sparse maps stand as offsets, columns and values, with their transposes for the way back.
"""

import warp as wp

from physsim.kernels.render.stretch_limit import limit_functions

SOLID = wp.constant(0)
PLANE = wp.constant(1)
LINE = wp.constant(2)
FRAMED = wp.constant(3)

_SHORTEST = 1e-3  # length, next to 1, of what is made a unit vector: less has collapsed, and its direction says as good as nothing
_BACKWARDS = 1e-3  # 1 + cosine of the turn of a line below which no smallest rotation is told: it points back to where it came from


def binding_kernels(real):
    """Kernels for one scalar type: `carriers`, `splats`, `splats_backward`, `carriers_backward`, `particles_backward`.

    Args:
        real: `wp.float32` or `wp.float64`.

    Returns:
        dict name -> kernel.
    """
    vec3 = wp.types.vector(3, real)
    vec4 = wp.types.vector(4, real)
    mat33 = wp.types.matrix((3, 3), real)
    shortest = real(_SHORTEST)
    limited, limited_adjoint = limit_functions(real)

    @wp.func
    def column(A: mat33, j: int) -> vec3:
        return vec3(A[0, j], A[1, j], A[2, j])

    @wp.func
    def inverse_length(a: vec3) -> real:
        """1 / |a|, bounded where a vanishes: `unit` and its slopes are then those of a / _SHORTEST."""
        return real(1.0) / wp.max(wp.length(a), shortest)

    @wp.func
    def across(g: vec3, unit: vec3, inverse: real) -> vec3:
        """Gradient with respect to a from the gradient g with respect to `unit` = a `inverse`."""
        if inverse * shortest >= real(1.0):
            return inverse * g
        return inverse * (g - unit * wp.dot(unit, g))

    @wp.func
    def turn_weight(c: real) -> real:
        return real(1.0) / wp.max(real(1.0) + c, real(_BACKWARDS))

    @wp.func
    def turned(q1: vec3, q2: vec3, t: vec3) -> vec3:
        """q2 under the smallest rotation that takes q1 to t, unit vectors, q2 across q1."""
        return q2 - (q1 + t) * (turn_weight(wp.dot(q1, t)) * wp.dot(t, q2))

    @wp.func
    def turned_adjoint(q1: vec3, q2: vec3, t: vec3, g: vec3) -> vec3:
        """Gradient with respect to t from that with respect to `turned`."""
        c = wp.dot(q1, t)
        w = turn_weight(c)
        m = wp.dot(t, q2)
        along = wp.dot(q1 + t, g)
        slope = wp.where(real(1.0) + c > real(_BACKWARDS), w * w, real(0.0))
        return slope * m * along * q1 - w * m * g - w * along * q2

    @wp.func
    def completed(L: mat33, kind: int, Q: mat33) -> mat33:
        """F of a carrier from what its particles tell."""
        if kind == SOLID:
            return L
        q1 = column(Q, 0)
        q2 = column(Q, 1)
        q3 = column(Q, 2)
        f1 = L * q1
        if kind == PLANE:
            n = wp.cross(f1, L * q2)
            return L + wp.outer(n * inverse_length(n), q3)
        t = f1 * inverse_length(f1)
        d = L * q2
        if kind == LINE:
            d = turned(q1, q2, t)
        d = d - t * wp.dot(t, d)
        d = d * inverse_length(d)
        return wp.outer(f1, q1) + wp.outer(d, q2) + wp.outer(wp.cross(t, d), q3)

    @wp.func
    def plane_adjoint(L: mat33, Q: mat33, G: mat33) -> mat33:
        q1 = column(Q, 0)
        q2 = column(Q, 1)
        q3 = column(Q, 2)
        f1 = L * q1
        f2 = L * q2
        n = wp.cross(f1, f2)
        inverse = inverse_length(n)
        g = across(G * q3, n * inverse, inverse)
        return wp.outer(G * q1 + wp.cross(f2, g), q1) + wp.outer(G * q2 + wp.cross(g, f1), q2)

    @wp.func
    def line_adjoint(L: mat33, kind: int, Q: mat33, G: mat33) -> mat33:
        """Of LINE and FRAMED."""
        q1 = column(Q, 0)
        q2 = column(Q, 1)
        f1 = L * q1
        inverse = inverse_length(f1)
        t = f1 * inverse
        f2 = L * q2
        if kind == LINE:
            f2 = turned(q1, q2, t)
        d = f2 - t * wp.dot(t, f2)
        inverse_d = inverse_length(d)
        d = d * inverse_d
        g3 = G * column(Q, 2)
        ga = across(G * q2 + wp.cross(g3, t), d, inverse_d)
        g2 = ga - t * wp.dot(t, ga)
        gt = wp.cross(d, g3) - wp.dot(t, f2) * ga - f2 * wp.dot(t, ga)
        if kind == LINE:
            return wp.outer(G * q1 + across(gt + turned_adjoint(q1, q2, t, g2), t, inverse), q1)
        return wp.outer(G * q1 + across(gt, t, inverse), q1) + wp.outer(g2, q2)

    @wp.func
    def rotation(q: vec4) -> mat33:
        """Rotation matrix of a unit quaternion (w, x, y, z)."""
        one = real(1.0)
        two = real(2.0)
        return mat33(
            one - two * (q[2] * q[2] + q[3] * q[3]),
            two * (q[1] * q[2] - q[0] * q[3]),
            two * (q[1] * q[3] + q[0] * q[2]),
            two * (q[1] * q[2] + q[0] * q[3]),
            one - two * (q[1] * q[1] + q[3] * q[3]),
            two * (q[2] * q[3] - q[0] * q[1]),
            two * (q[1] * q[3] - q[0] * q[2]),
            two * (q[2] * q[3] + q[0] * q[1]),
            one - two * (q[1] * q[1] + q[2] * q[2]),
        )

    @wp.func
    def rotation_adjoint(q: vec4, G: mat33) -> vec4:
        """Gradient with respect to a unit quaternion from the gradient G with respect to its matrix, along the sphere."""
        v = vec3(q[1], q[2], q[3])
        turn = vec3(G[2, 1] - G[1, 2], G[0, 2] - G[2, 0], G[1, 0] - G[0, 1])
        even = (G + wp.transpose(G)) * v - real(2.0) * wp.trace(G) * v + q[0] * turn
        g = real(2.0) * vec4(wp.dot(v, turn), even[0], even[1], even[2])
        return g - q * wp.dot(q, g)

    @wp.kernel(module="unique", enable_backward=False)
    def carriers(
        offsets: wp.array(dtype=int),
        particles: wp.array(dtype=int),
        slopes: wp.array(dtype=vec3),  # h [1/m]
        kinds: wp.array(dtype=int),
        axes: wp.array(dtype=mat33),  # Q
        positions: wp.array(dtype=vec3),  # x [m]
        told_out: wp.array(dtype=mat33),  # L
        carried_out: wp.array(dtype=mat33),  # F
    ):
        c = wp.tid()
        begin = offsets[c]
        L = mat33()
        for k in range(begin + 1, offsets[c + 1]):
            L += wp.outer(positions[particles[k]] - positions[particles[begin]], slopes[k])
        told_out[c] = L
        carried_out[c] = completed(L, kinds[c], axes[c])

    @wp.kernel(module="unique", enable_backward=False)
    def splats(
        limit: real,
        offsets: wp.array(dtype=int),
        columns: wp.array(dtype=int),
        shares: wp.array(dtype=real),  # u
        mean_offsets: wp.array(dtype=int),
        mean_particles: wp.array(dtype=int),
        mean_weights: wp.array(dtype=real),  # w
        anchors: wp.array(dtype=vec3),  # X_0 [m]
        means: wp.array(dtype=vec3),
        scales: wp.array(dtype=vec3),
        rotations: wp.array(dtype=vec4),
        positions: wp.array(dtype=vec3),
        carried: wp.array(dtype=mat33),
        blended_out: wp.array(dtype=mat33),
        means_out: wp.array(dtype=vec3),
        factors_out: wp.array(dtype=mat33),
        deformations_out: wp.array(dtype=mat33),
    ):
        s = wp.tid()
        F = mat33()
        for k in range(offsets[s], offsets[s + 1]):
            F += shares[k] * carried[columns[k]]
        blended_out[s] = F
        begin = mean_offsets[s]
        origin = positions[mean_particles[begin]]  # the weights add up to 1: differences round less
        moved = vec3()
        for k in range(begin + 1, mean_offsets[s + 1]):
            moved += mean_weights[k] * (positions[mean_particles[k]] - origin)
        means_out[s] = origin + (moved + F * (means[s] - anchors[s]))
        F = limited(F, limit)
        deformations_out[s] = F
        factors_out[s] = F * rotation(wp.normalize(rotations[s])) * wp.diag(scales[s])

    @wp.kernel(module="unique", enable_backward=False)
    def splats_backward(
        limit: real,
        anchors: wp.array(dtype=vec3),
        means: wp.array(dtype=vec3),
        scales: wp.array(dtype=vec3),
        rotations: wp.array(dtype=vec4),
        blended: wp.array(dtype=mat33),
        deformations: wp.array(dtype=mat33),
        moved_gradient: wp.array(dtype=vec3),
        factor_gradient: wp.array(dtype=mat33),
        deformation_gradient: wp.array(dtype=mat33),
        blended_out: wp.array(dtype=mat33),
        means_out: wp.array(dtype=vec3),
        scales_out: wp.array(dtype=vec3),
        rotations_out: wp.array(dtype=vec4),
    ):
        s = wp.tid()
        G = factor_gradient[s]
        length = wp.length(rotations[s])
        q = rotations[s] / length
        R = rotation(q)
        A = wp.transpose(deformations[s]) * G  # with respect to R S
        scales_out[s] = vec3(wp.dot(column(A, 0), column(R, 0)), wp.dot(column(A, 1), column(R, 1)), wp.dot(column(A, 2), column(R, 2)))
        rotations_out[s] = rotation_adjoint(q, A * wp.diag(scales[s])) / length
        g = moved_gradient[s]
        means_out[s] = wp.transpose(blended[s]) * g
        within = deformation_gradient[s] + G * wp.diag(scales[s]) * wp.transpose(R)
        blended_out[s] = limited_adjoint(blended[s], within, limit) + wp.outer(g, means[s] - anchors[s])

    @wp.kernel(module="unique", enable_backward=False)
    def carriers_backward(
        offsets: wp.array(dtype=int),  # of the transpose: splats of a carrier
        rows: wp.array(dtype=int),
        shares: wp.array(dtype=real),
        kinds: wp.array(dtype=int),
        axes: wp.array(dtype=mat33),
        told: wp.array(dtype=mat33),
        blended_gradient: wp.array(dtype=mat33),
        told_out: wp.array(dtype=mat33),
    ):
        c = wp.tid()
        G = mat33()
        for k in range(offsets[c], offsets[c + 1]):
            G += shares[k] * blended_gradient[rows[k]]
        kind = kinds[c]
        if kind == PLANE:
            G = plane_adjoint(told[c], axes[c], G)
        elif kind != SOLID:
            G = line_adjoint(told[c], kind, axes[c], G)
        told_out[c] = G

    @wp.kernel(module="unique", enable_backward=False)
    def particles_backward(
        offsets: wp.array(dtype=int),  # of the transposes: carriers, then means, that a particle tells
        rows: wp.array(dtype=int),
        slopes: wp.array(dtype=vec3),
        mean_offsets: wp.array(dtype=int),
        mean_rows: wp.array(dtype=int),
        mean_weights: wp.array(dtype=real),
        told_gradient: wp.array(dtype=mat33),
        moved_gradient: wp.array(dtype=vec3),
        positions_out: wp.array(dtype=vec3),
    ):
        j = wp.tid()
        g = vec3()
        for k in range(offsets[j], offsets[j + 1]):
            g += told_gradient[rows[k]] * slopes[k]
        for k in range(mean_offsets[j], mean_offsets[j + 1]):
            g += mean_weights[k] * moved_gradient[mean_rows[k]]
        positions_out[j] = g

    return {
        "carriers": carriers,
        "splats": splats,
        "splats_backward": splats_backward,
        "carriers_backward": carriers_backward,
        "particles_backward": particles_backward,
    }
