"""Contact of a point with a plane, sphere, box, capsule or cylinder that is carried by a frame: barrier, damping, and friction.

    E + D + F of `kernels.contact.potential` with m = 1, and d the signed distance phi(X) of `kernels.contact.distance`
    X = A^-1 (x - o), A = (ox - o, oy - o, oz - o): coordinates of the point in the shape's frame
    v = r (I - n1 n1^T) (x - sum_k w1_k f_k at x, less a and b times the same of the states before), w = (1 - X0 - X1 - X2, X0, X1, X2)

    points   the point x, and the frame f: its origin o, and the points ox, oy, oz one metre along its axes
    p        strength [N], gap [m], offset [m], friction [-], damping [N s/m], creep [m/s], kind (0 plane, 1 sphere, 2 box, 3 capsule,
             4 cylinder), size_x, size_y, size_z [m]

The frame may turn, and may be strained a little: distances are those in its own coordinates. The point is taken as carried by the frame
where it is, so that forces and torques of the push balance exactly. With y = A^-T grad phi, h_k = A^-T grad w_k, B = A^-T (hess phi) A^-1:
d' = y for the point and -w_k y for the frame; d'' = B, -w_k B - h_k y^T, and w_j w_k B + w_k y h_j^T + w_j h_k y^T.
Projection keeps what is convex in distance and in sliding.
"""

import warp as wp

from physsim.kernels.contact.distance import shapes
from physsim.kernels.contact.potential import potential


def point_shape(real):
    """Functions of the law for one scalar type; 5 points, parameters in the order above."""
    Stencil = wp.types.matrix((5, 3), real)
    Hessian = wp.types.matrix((15, 15), real)
    Parameters = wp.types.vector(10, real)
    vec3 = wp.types.vector(3, real)
    vec5 = wp.types.vector(5, real)
    mat33 = wp.types.matrix((3, 3), real)
    nodes = wp.constant(5)
    zero, half, one = real(0.0), real(0.5), real(1.0)
    distance, slope_of, curvature_of = shapes(real)
    pair_energy, slopes, curvatures, compression, push, friction_energy, traction, traction_slope = potential(real)

    @wp.func
    def inverse_frame(x: Stencil) -> mat33:
        return wp.inverse(wp.transpose(wp.matrix_from_rows(x[2] - x[1], x[3] - x[1], x[4] - x[1])))

    @wp.func
    def kind(p: Parameters) -> int:
        return int(p[6] + half)

    @wp.func
    def size(p: Parameters) -> vec3:
        return vec3(p[7], p[8], p[9])

    @wp.func
    def coefficients(X: vec3) -> vec5:
        """(1, -w)."""
        return vec5(one, X[0] + X[1] + X[2] - one, -X[0], -X[1], -X[2])

    @wp.func
    def past_layer(x1: Stencil, x2: Stencil, p: Parameters, step: vec3) -> real:
        d1 = distance(kind(p), size(p), inverse_frame(x1) * (x1[0] - x1[1]))
        past = step[1] * compression(d1, p[1], p[2])
        if step[2] != zero:
            d2 = distance(kind(p), size(p), inverse_frame(x2) * (x2[0] - x2[1]))
            past = past + step[2] * compression(d2, p[1], p[2])
        return past

    @wp.func
    def sliding(x: Stencil, x1: Stencil, x2: Stencil, p: Parameters, step: vec3):
        """(c1, n1, v, mu lambda1)."""
        inverse = inverse_frame(x1)
        X = inverse * (x1[0] - x1[1])
        d = distance(kind(p), size(p), X)
        c = coefficients(X)
        n = vec3()
        v = vec3()
        limit = zero
        if d < p[1] + p[2]:
            limit = p[3] * push(d, one, p[0], p[1], p[2])
            n = wp.normalize(wp.transpose(inverse) * slope_of(kind(p), size(p), X))
            w = step[0] * (c * (x - step[1] * x1 - step[2] * x2))
            v = w - wp.dot(w, n) * n
        return c, n, v, limit

    @wp.func
    def energy(x: Stencil, x1: Stencil, x2: Stencil, reference: Stencil, p: Parameters, step: vec3) -> real:
        e = zero
        d = distance(kind(p), size(p), inverse_frame(x) * (x[0] - x[1]))
        if d < p[1] + p[2]:
            past = zero
            if p[4] * step[0] != zero:
                past = past_layer(x1, x2, p, step)
            e = pair_energy(d, one, past, p[0], p[1], p[2], p[4] * step[0])
        if p[3] * step[0] != zero:
            c1, n1, v, limit = sliding(x, x1, x2, p, step)
            e += friction_energy(v, limit, p[5], step[0])
        return e

    @wp.func
    def gradient(x: Stencil, x1: Stencil, x2: Stencil, reference: Stencil, p: Parameters, step: vec3) -> Stencil:
        g = Stencil()
        inverse = inverse_frame(x)
        X = inverse * (x[0] - x[1])
        d = distance(kind(p), size(p), X)
        if d < p[1] + p[2]:
            past = zero
            if step[0] != zero:
                past = past_layer(x1, x2, p, step)
            by_d, by_m = slopes(d, one, past, p[0], p[1], p[2], p[4] * step[0])
            g = wp.outer(coefficients(X), by_d * (wp.transpose(inverse) * slope_of(kind(p), size(p), X)))
        if step[0] != zero:
            c1, n1, v, limit = sliding(x, x1, x2, p, step)
            g = g + wp.outer(c1, traction(v, limit, p[5]))
        return g

    @wp.func
    def lean(inverse: mat33, a: int) -> vec3:
        """Derivative of coefficient a by the point: -h_k of the frame."""
        h = vec3()
        if a == 1:
            h = inverse[0] + inverse[1] + inverse[2]
        elif a > 1:
            h = -inverse[a - 2]
        return h

    @wp.func
    def hessian(x: Stencil, x1: Stencil, x2: Stencil, reference: Stencil, p: Parameters, step: vec3, project: int) -> Hessian:
        inverse = inverse_frame(x)
        X = inverse * (x[0] - x[1])
        d = distance(kind(p), size(p), X)
        c = coefficients(X)
        by_d = zero
        along = mat33()
        y = vec3()
        if d < p[1] + p[2]:
            past = zero
            if step[0] != zero:
                past = past_layer(x1, x2, p, step)
            by_d, by_m = slopes(d, one, past, p[0], p[1], p[2], p[4] * step[0])
            dd, dm, mm = curvatures(d, one, past, p[0], p[1], p[2], p[4] * step[0])
            y = wp.transpose(inverse) * slope_of(kind(p), size(p), X)
            if project == 0:
                along = dd * wp.outer(y, y) + by_d * (wp.transpose(inverse) * curvature_of(kind(p), size(p), X) * inverse)
            else:
                along = wp.max(dd, zero) * wp.outer(y, y)
                by_d = zero
        c1 = vec5()
        rub = mat33()
        limit = zero
        if step[0] != zero:
            c1, n1, v, limit = sliding(x, x1, x2, p, step)
            if limit > zero:
                rub = traction_slope(v, n1, limit, p[5], step[0], project)
        H = Hessian()
        if limit > zero or d < p[1] + p[2]:
            count = int(nodes)  # a dynamic loop
            for a in range(count):
                for b in range(a + 1):
                    K = c[a] * c[b] * along + c1[a] * c1[b] * rub
                    if by_d != zero:
                        K = K + by_d * (c[b] * wp.outer(y, lean(inverse, a)) + c[a] * wp.outer(lean(inverse, b), y))
                    for i in range(3):
                        for j in range(3):
                            H[3 * a + i, 3 * b + j] = K[i, j]
        return H

    return energy, gradient, hessian
