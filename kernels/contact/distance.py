"""How far: point against triangle, edge against edge, point against a shape.

Of a pair of features the closest points are Delta = sum_v c_v x_v apart, with coefficients c of the four vertices that sum to zero:

    point and triangle   c = (1, -b0, -b1, -b2)       b  barycentric coordinates of the closest point
    edge and edge        c = (1 - s, s, t - 1, -t)    s, t in [0, 1]  places along the edges a0 a1 and b0 b1

Where a coordinate sits on its bound, the coefficient is exactly zero, so that c also says which vertices, edges or face meet. The closest
pair is inside both features, or an end of one takes part; the inside is one linear solve, and the ends are tried one by one,
so that needles, points in place of edges, and parallel edges need no case of their own.

Shapes lie in coordinates of their own [m]: plane z <= 0; sphere (radius); box (half its edges); capsule and cylinder (radius, half the
length along z). Distances are negative inside. The derivative of the distance is a unit vector, zero at a centre where there is none.
"""

from functools import cache

import warp as wp

PLANE, SPHERE, BOX, CAPSULE, CYLINDER = (wp.constant(kind) for kind in range(5))


@cache
def closest_features(real):
    """(point_triangle_coefficients, edge_edge_coefficients) for one scalar type."""
    vec3 = wp.types.vector(3, real)
    vec4 = wp.types.vector(4, real)
    zero, one = real(0.0), real(1.0)
    flat = real(1.0e-20 if real == wp.float64 else 1.0e-10)  # of sin^2 of an angle, below which there is no inside to solve for
    point = real(1.0e-60 if real == wp.float64 else 1.0e-30)  # of a squared length [m^2], below which an edge is a point

    @wp.func
    def along(p: vec3, a: vec3, b: vec3) -> real:
        """Place of the point of the edge a b that is closest to p."""
        e = b - a
        square = wp.dot(e, e)
        t = zero
        if square > point:
            t = wp.clamp(wp.dot(p - a, e) / square, zero, one)
        return t

    @wp.func
    def square_distance(p: vec3, a: vec3, b: vec3, t: real) -> real:
        d = p - a - t * (b - a)
        return wp.dot(d, d)

    @wp.func
    def point_triangle_coefficients(p: vec3, t0: vec3, t1: vec3, t2: vec3) -> vec4:
        """(1, -b0, -b1, -b2)."""
        u = t1 - t0
        v = t2 - t0
        n = wp.cross(u, v)
        nn = wp.dot(n, n)
        b1 = -one
        b2 = -one
        if nn > flat * wp.dot(u, u) * wp.dot(v, v):
            w = p - t0
            b1 = wp.dot(wp.cross(w, v), n) / nn
            b2 = wp.dot(wp.cross(u, w), n) / nn
        b0 = one - b1 - b2
        c = vec4(one, -b0, -b1, -b2)
        if b0 <= zero or b1 <= zero or b2 <= zero:
            s = along(p, t0, t1)
            c = vec4(one, s - one, -s, zero)
            nearest = square_distance(p, t0, t1, s)
            s = along(p, t1, t2)
            square = square_distance(p, t1, t2, s)
            if square < nearest:
                nearest = square
                c = vec4(one, zero, s - one, -s)
            s = along(p, t2, t0)
            square = square_distance(p, t2, t0, s)
            if square < nearest:
                c = vec4(one, -s, zero, s - one)
        return c

    @wp.func
    def edge_edge_coefficients(a0: vec3, a1: vec3, b0: vec3, b1: vec3) -> vec4:
        """(1 - s, s, t - 1, -t)."""
        u = a1 - a0
        v = b1 - b0
        w = b0 - a0
        n = wp.cross(u, v)
        nn = wp.dot(n, n)
        s = -one
        t = -one
        if nn > flat * wp.dot(u, u) * wp.dot(v, v):
            s = wp.dot(wp.cross(w, v), n) / nn
            t = wp.dot(wp.cross(w, u), n) / nn
        c = vec4(one - s, s, t - one, -t)
        if s <= zero or s >= one or t <= zero or t >= one:
            s = along(b0, a0, a1)
            c = vec4(one - s, s, -one, zero)
            nearest = square_distance(b0, a0, a1, s)
            s = along(b1, a0, a1)
            square = square_distance(b1, a0, a1, s)
            if square < nearest:
                nearest = square
                c = vec4(one - s, s, zero, -one)
            s = along(a0, b0, b1)
            square = square_distance(a0, b0, b1, s)
            if square < nearest:
                nearest = square
                c = vec4(one, zero, s - one, -s)
            s = along(a1, b0, b1)
            square = square_distance(a1, b0, b1, s)
            if square < nearest:
                c = vec4(zero, one, s - one, -s)
        return c

    return point_triangle_coefficients, edge_edge_coefficients


@cache
def shapes(real):
    """(shape_distance, shape_gradient, shape_hessian) of (kind, size, X) for one scalar type."""
    vec3 = wp.types.vector(3, real)
    mat33 = wp.types.matrix((3, 3), real)
    zero, one = real(0.0), real(1.0)

    @wp.func
    def from_core(kind: int, size: vec3, X: vec3) -> vec3:
        """From the nearest point of what a round shape is thickened from: a point, or a capsule's segment."""
        arm = X
        if kind == CAPSULE:
            arm = vec3(X[0], X[1], X[2] - wp.clamp(X[2], -size[1], size[1]))
        return arm

    @wp.func
    def beyond(kind: int, size: vec3, X: vec3) -> vec3:
        """How far beyond each pair of faces: three of a box; rim and ends of a cylinder."""
        q = vec3(wp.abs(X[0]) - size[0], wp.abs(X[1]) - size[1], wp.abs(X[2]) - size[2])
        if kind == CYLINDER:
            ends = wp.abs(X[2]) - size[1]
            rim = wp.length(vec3(X[0], X[1], zero)) - size[0]
            q = vec3(rim, wp.min(rim, ends), ends)  # the middle one is never the largest alone
        return q

    @wp.func
    def outside(kind: int, q: vec3) -> vec3:
        """Positive parts of `beyond`."""
        return vec3(wp.max(q[0], zero), wp.where(kind == CYLINDER, zero, wp.max(q[1], zero)), wp.max(q[2], zero))

    @wp.func
    def shape_distance(kind: int, size: vec3, X: vec3) -> real:
        """Signed distance [m]."""
        d = X[2]
        if kind == SPHERE or kind == CAPSULE:
            d = wp.length(from_core(kind, size, X)) - size[0]
        elif kind == BOX or kind == CYLINDER:
            q = beyond(kind, size, X)
            d = wp.length(outside(kind, q)) + wp.min(wp.max(q[0], wp.max(q[1], q[2])), zero)
        return d

    @wp.func
    def face(kind: int, q: vec3) -> vec3:
        """Where the distance to flat sides comes from: the unit direction among |x|, |y|, |z| or radius and |z|."""
        g = outside(kind, q)
        size = wp.length(g)
        if size > zero:
            g = g / size
        elif q[0] >= q[1] and q[0] >= q[2]:
            g = vec3(one, zero, zero)
        elif q[1] >= q[2] and kind == BOX:
            g = vec3(zero, one, zero)
        else:
            g = vec3(zero, zero, one)
        return g

    @wp.func
    def side(a: real) -> real:
        return wp.where(a < zero, -one, one)

    @wp.func
    def shape_gradient(kind: int, size: vec3, X: vec3) -> vec3:
        """Derivative of the signed distance by X."""
        g = vec3(zero, zero, one)
        if kind == SPHERE or kind == CAPSULE:
            g = wp.normalize(from_core(kind, size, X))
        elif kind == BOX or kind == CYLINDER:
            f = face(kind, beyond(kind, size, X))
            if kind == BOX:
                g = vec3(f[0] * side(X[0]), f[1] * side(X[1]), f[2] * side(X[2]))
            else:
                g = f[0] * wp.normalize(vec3(X[0], X[1], zero)) + vec3(zero, zero, f[2] * side(X[2]))
        return g

    @wp.func
    def shape_hessian(kind: int, size: vec3, X: vec3) -> mat33:
        """Second derivative of the signed distance by X: positive semi-definite outside, for every shape here is convex."""
        H = mat33()
        free = vec3(one, one, one)  # coordinates in which the nearest feature does not follow
        n = shape_gradient(kind, size, X)
        length = zero  # radius of curvature
        if kind == SPHERE or kind == CAPSULE:
            length = wp.length(from_core(kind, size, X))
            if kind == CAPSULE and wp.abs(X[2]) < size[1]:
                free = vec3(one, one, zero)
        elif kind == BOX:
            q = outside(kind, beyond(kind, size, X))
            length = wp.length(q)
            free = vec3(wp.where(q[0] > zero, one, zero), wp.where(q[1] > zero, one, zero), wp.where(q[2] > zero, one, zero))
        elif kind == CYLINDER:
            q = outside(kind, beyond(kind, size, X))
            across = wp.length(vec3(X[0], X[1], zero))
            if across > zero:
                r = vec3(X[0], X[1], zero) / across
                f = face(kind, beyond(kind, size, X))
                around = vec3(-r[1], r[0], zero)
                H = (f[0] / across) * wp.outer(around, around)
                if q[0] > zero and q[2] > zero:  # the rim: a circle seen from outside
                    m = f[0] * vec3(zero, zero, side(X[2])) - f[2] * r
                    H = H + (one / wp.length(q)) * wp.outer(m, m)
        if length > zero:
            H = (one / length) * (wp.diag(free) - wp.outer(n, n))
        return H

    return shape_distance, shape_gradient, shape_hessian


point_triangle_coefficients, edge_edge_coefficients = closest_features(wp.float64)
shape_distance, shape_gradient, shape_hessian = shapes(wp.float64)
