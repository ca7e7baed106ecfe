"""Friction of a ball or a capsule: it acts on the surface, a radius away from the point or the segment whose distance counts.

    F of `kernels.contact.potential`, with the push lambda1 and the normal n1 (towards the round thing) of its pair at the state before
    q1 = y1 - R n1                            place of the contact, y1 the closest point of the round thing's core at the state before
    v = r (I - n1 n1^T) sum_k c_k (x_k - a x1_k - b x2_k)
    c = (w(X1), -w'(X1'))                     shares of both things' points in what lies at q1: X1 its coordinates in a frame A,
                                              w(X) = (1 - X0 - X1 - X2, X0, X1, X2); barycentric ones on a triangle or an edge

    points   the round thing's frame (its origin, and one metre along each axis), and four of the other: its frame, or the points of a
             triangle or an edge, the last one repeated
    p        strength [N], gap [m], offset [m], friction [-], damping [N s/m] (not used here), creep [m/s]; kind and size_x, size_y, size_z
             [m] of the other where it is a shape; begin, end: places of the core's ends along the frame's z [m], the same for a point;
             radius R [m]; other_begin, other_end: of the other where it is a core, too; meeting (0 a point and a triangle, 1 a core and
             an edge, 2 a point and a shape, 3 two cores)

The push itself goes through the core and turns nothing; it stays with the law of the pair, whose own friction is zero then. Forces on
both frames act at one place, so that their torques balance.
Source: Coulomb's law at a contact with a lever arm, e.g. Featherstone 2008, Rigid Body Dynamics Algorithms, section 11.1.
"""

import warp as wp

from physsim.kernels.contact.distance import closest_features, shapes
from physsim.kernels.contact.potential import potential
from physsim.kernels.contact.rolling import CORES, POINT_SHAPE, POINT_TRIANGLE
from physsim.kernels.laws.contact import mollifier_of


def rolling(real):
    """Functions of the law for one scalar type; 8 points, parameters in the order above."""
    Stencil = wp.types.matrix((8, 3), real)
    Hessian = wp.types.matrix((24, 24), real)
    Parameters = wp.types.vector(16, real)
    vec3 = wp.types.vector(3, real)
    vec4 = wp.types.vector(4, real)
    vec8 = wp.types.vector(8, real)
    mat33 = wp.types.matrix((3, 3), real)
    nodes = wp.constant(8)
    zero, half, one = real(0.0), real(0.5), real(1.0)
    shortest = real(1.0e-30)  # [m] distance below which there is no direction
    point_triangle, edge_edge = closest_features(real)
    distance, slope_of, curvature_of = shapes(real)
    pair_energy, slopes, curvatures, compression, push, friction_energy, traction, traction_slope = potential(real)
    mollifier = mollifier_of(real)

    @wp.func
    def shares(inverse: mat33, r: vec3) -> vec4:
        """Of a frame's points in the place r away from its origin."""
        X = inverse * r
        return vec4(one - X[0] - X[1] - X[2], X[0], X[1], X[2])

    @wp.func
    def inverse_of(o: vec3, x: vec3, y: vec3, z: vec3) -> mat33:
        return wp.inverse(wp.transpose(wp.matrix_from_rows(x - o, y - o, z - o)))

    @wp.func
    def touch(x1: Stencil, p: Parameters):
        """(c, n1, mu lambda1)."""
        meeting = int(p[15] + half)
        a0 = x1[0] + p[10] * (x1[3] - x1[0])
        a1 = x1[0] + p[11] * (x1[3] - x1[0])
        b0 = x1[4]
        b1 = x1[5]
        place = a0
        m = one
        d = zero
        n = vec3()
        on = vec4()
        if meeting == POINT_SHAPE:
            inverse = inverse_of(x1[4], x1[5], x1[6], x1[7])
            X = inverse * (a0 - x1[4])
            size = vec3(p[7], p[8], p[9])
            d = distance(int(p[6] + half), size, X)
            n = wp.normalize(wp.transpose(inverse) * slope_of(int(p[6] + half), size, X))
            on = shares(inverse, a0 - p[12] * n - x1[4])
        elif meeting == POINT_TRIANGLE:
            w = point_triangle(a0, b0, b1, x1[6])
            Delta = w[0] * a0 + w[1] * b0 + w[2] * b1 + w[3] * x1[6]
            d = wp.length(Delta)
            n = Delta / wp.max(d, shortest)
            on = vec4(-w[1], -w[2], -w[3], zero)
        else:
            if meeting == CORES:
                b0 = x1[4] + p[13] * (x1[7] - x1[4])
                b1 = x1[4] + p[14] * (x1[7] - x1[4])
            w = edge_edge(a0, a1, b0, b1)
            place = w[0] * a0 + w[1] * a1
            Delta = place + w[2] * b0 + w[3] * b1
            d = wp.length(Delta)
            n = Delta / wp.max(d, shortest)
            corners = wp.matrix_from_rows(a0, a1, b0, b1)
            m, U, V, W, slope, curve = mollifier(corners, corners)
            on = vec4(-w[2], -w[3], zero, zero)
            if meeting == CORES:
                on = shares(inverse_of(x1[4], x1[5], x1[6], x1[7]), place - p[12] * n - x1[4])
        of = shares(inverse_of(x1[0], x1[1], x1[2], x1[3]), place - p[12] * n - x1[0])
        c = vec8(of[0], of[1], of[2], of[3], -on[0], -on[1], -on[2], -on[3])
        return c, n, p[3] * push(d, m, p[0], p[1], p[2])

    @wp.func
    def sliding(x: Stencil, x1: Stencil, x2: Stencil, p: Parameters, step: vec3):
        """(c, n1, v, mu lambda1)."""
        c, n, limit = touch(x1, p)
        w = step[0] * (c * (x - step[1] * x1 - step[2] * x2))
        return c, n, w - wp.dot(w, n) * n, limit

    @wp.func
    def energy(x: Stencil, x1: Stencil, x2: Stencil, reference: Stencil, p: Parameters, step: vec3) -> real:
        e = zero
        if p[3] * step[0] != zero:
            c, n, v, limit = sliding(x, x1, x2, p, step)
            e = friction_energy(v, limit, p[5], step[0])
        return e

    @wp.func
    def gradient(x: Stencil, x1: Stencil, x2: Stencil, reference: Stencil, p: Parameters, step: vec3) -> Stencil:
        g = Stencil()
        if step[0] != zero:
            c, n, v, limit = sliding(x, x1, x2, p, step)
            g = wp.outer(c, traction(v, limit, p[5]))
        return g

    @wp.func
    def hessian(x: Stencil, x1: Stencil, x2: Stencil, reference: Stencil, p: Parameters, step: vec3, project: int) -> Hessian:
        H = Hessian()
        if step[0] != zero:
            c, n, v, limit = sliding(x, x1, x2, p, step)
            if limit > zero:
                rub = traction_slope(v, n, limit, p[5], step[0], project)
                count = int(nodes)  # a dynamic loop
                for a in range(count):
                    for b in range(a + 1):
                        for i in range(3):
                            for j in range(3):
                                H[3 * a + i, 3 * b + j] = c[a] * c[b] * rub[i, j]
        return H

    return energy, gradient, hessian
