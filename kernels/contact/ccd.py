"""How far a motion may go: conservative advancement along directions that part two features.

All points move along straight lines, x + t v with t in [0, 1]. Of two convex features whose closest points lie d apart in direction n, every
pair of vertices is n . (x_a - x_b) + t n . (v_a - v_b) apart along n, and the features are never nearer than the least of these. The
largest t at which that is still the level sought is safe; advance to it, look again, and stop when the free distance has come near the level.
A sliding motion is through in one step where the bound of additive CCD (Li, Kaufman, Jiang 2021, Codimensional incremental potential
contact, algorithm 1), which knows speeds only, takes hundreds.

A point X(t) in the frame A(t) of a shape moves by X(t + tau) - X(t) = tau A(t + tau)^-1 u, u its velocity relative to the frame's material there.
Distances to convex shapes are convex functions, so with g the gradient at X, B = A^-1 dA/dt and v = |A^-1 u|

    d(t + tau) >= d + tau g . A^-1 u - 2 |B| v tau^2      while tau |B| <= 1/2.
"""

import warp as wp

from physsim.kernels.contact.boxes import Surfaces
from physsim.kernels.contact.broad_phase import Candidates
from physsim.kernels.contact.distance import edge_edge_coefficients, point_triangle_coefficients, shape_distance, shape_gradient

SHARE = wp.constant(wp.float64(0.1))  # of the free distance at the beginning: never less than this is left
NEAR = wp.constant(wp.float64(0.15))  # the advance ends where less than this is left
ADVANCES = wp.constant(64)  # most looks at a pair; where they do not suffice the step is shorter than it need be

vec3 = wp.vec3d
vec4 = wp.vec4d


@wp.func
def features_apart(edges: bool, n: vec3, x0: vec3, x1: vec3, x2: vec3, x3: vec3) -> vec4:
    """Along n, between the vertices of the one feature (a point or an edge) and of the other (a triangle or an edge)."""
    apart = vec4(wp.dot(n, x0 - x1), wp.dot(n, x0 - x2), wp.dot(n, x0 - x3), wp.dot(n, x0 - x3))
    if edges:
        apart = vec4(wp.dot(n, x0 - x2), wp.dot(n, x0 - x3), wp.dot(n, x1 - x2), wp.dot(n, x1 - x3))
    return apart


@wp.func
def features_step(
    edges: bool,
    offset: wp.float64,
    limit: wp.float64,
    x0: vec3,
    x1: vec3,
    x2: vec3,
    x3: vec3,
    v0: vec3,
    v1: vec3,
    v2: vec3,
    v3: vec3,
) -> wp.float64:
    """Largest safe t, at most `limit`, of a point and a triangle or of two edges; 0 for NaN."""
    t = wp.float64(0.0)
    level = wp.float64(0.0)
    near = wp.float64(0.0)
    for k in range(int(ADVANCES)):
        y0 = x0 + t * v0
        y1 = x1 + t * v1
        y2 = x2 + t * v2
        y3 = x3 + t * v3
        c = vec4()
        if edges:
            c = edge_edge_coefficients(y0, y1, y2, y3)
        else:
            c = point_triangle_coefficients(y0, y1, y2, y3)
        n = wp.normalize(c[0] * y0 + c[1] * y1 + c[2] * y2 + c[3] * y3)
        apart = features_apart(edges, n, y0, y1, y2, y3)
        free = wp.min(apart) - offset
        if k == 0:
            level = wp.min(SHARE * free, free)
            near = NEAR * free
        elif free <= near:
            return t
        speed = features_apart(edges, n, v0, v1, v2, v3)
        if not (wp.length_sq(n) > wp.float64(0.0) and wp.length_sq(speed) < wp.float64(wp.inf)):
            return t
        step = limit - t
        for a in range(4):
            if speed[a] < wp.float64(0.0):
                step = wp.min(step, (apart[a] - offset - level) / -speed[a])
        if not (step > wp.float64(0.0)):
            return t
        if step >= limit - t:
            return limit
        t += step
    return t


@wp.func
def shape_step(
    kind: int,
    size: vec3,
    offset: wp.float64,
    limit: wp.float64,
    p: vec3,
    o: vec3,
    A: wp.mat33d,
    vp: vec3,
    vo: vec3,
    V: wp.mat33d,
) -> wp.float64:
    """Largest safe t, at most `limit`, of a point and a shape in the frame (o, A), whose columns are its axes; 0 for NaN."""
    t = wp.float64(0.0)
    level = wp.float64(0.0)
    near = wp.float64(0.0)
    zero = wp.float64(0.0)
    for k in range(int(ADVANCES)):
        inverse = wp.inverse(A + t * V)
        if wp.ddot(inverse, inverse) == zero:
            return t  # the frame has collapsed
        X = inverse * (p + t * vp - o - t * vo)
        free = shape_distance(kind, size, X) - offset
        if k == 0:
            level = wp.min(SHARE * free, free)
            near = NEAR * free
        elif free <= near:
            return t
        U = inverse * (vp - vo - V * X)
        B = inverse * V
        turn = wp.sqrt(wp.ddot(B, B))
        bend = wp.float64(2.0) * turn * wp.length(U)
        speed = wp.dot(shape_gradient(kind, size, X), U)
        room = free - level
        if not (bend < wp.float64(wp.inf) and room >= zero):
            return t
        step = limit - t
        if turn * step > wp.float64(0.5):
            step = wp.float64(0.5) / turn
        root = wp.sqrt(speed * speed + wp.float64(4.0) * bend * room) - speed  # of room + speed tau - bend tau^2 = 0
        if root * step > wp.float64(2.0) * room:
            step = wp.float64(2.0) * room / root
        if not (step > zero):
            return t
        if step >= limit - t:
            return limit
        t += step
    return t


@wp.kernel(module="unique", enable_backward=False)
def advance(
    first: wp.vec2i,
    active: wp.array(dtype=int),
    chunk: int,
    counts: wp.array2d(dtype=int),
    surfaces: Surfaces,
    point_triangle: Candidates,
    edge_edge: Candidates,
    point_shape: Candidates,
    reach: wp.array(dtype=wp.float64),
    s: wp.array2d(dtype=vec3),
    motion: wp.array2d(dtype=vec3),
    partial_out: wp.array2d(dtype=wp.float64),
):
    """Least safe step of `chunk` rows of the three lists, which count on from one to the next.

    With chunks of one row the least of an environment is gathered in its column 0 right away, which is exact in any order.
    """
    e, k = wp.tid()
    env = first[0] + e
    c = first[1] + k
    first_edge = counts[0, env]
    first_shape = first_edge + counts[1, env]
    end = wp.min(first_shape + counts[2, env], (c + 1) * chunk)
    if active[env] == 0:
        end = 0
    t = wp.float64(reach[env])
    for row in range(c * chunk, end):
        if row < first_shape:
            v = wp.vec4i()
            offset = wp.float64(0.0)
            if row < first_edge:
                for a in range(4):
                    v[a] = point_triangle.stencil[env, row, a]
                offset = point_triangle.offset[env, row]
            else:
                for a in range(4):
                    v[a] = edge_edge.stencil[env, row - first_edge, a]
                offset = edge_edge.offset[env, row - first_edge]
            x0 = s[env, v[0]]
            t = features_step(
                row >= first_edge,
                offset,
                t,
                vec3(),
                s[env, v[1]] - x0,
                s[env, v[2]] - x0,
                s[env, v[3]] - x0,
                motion[env, v[0]],
                motion[env, v[1]],
                motion[env, v[2]],
                motion[env, v[3]],
            )
        else:
            j = row - first_shape
            p = point_shape.stencil[env, j, 0]
            o = point_shape.stencil[env, j, 1]
            A = wp.mat33d()
            V = wp.mat33d()
            for a in range(3):
                q = point_shape.stencil[env, j, a + 2]
                axis = s[env, q] - s[env, o]
                turn = motion[env, q] - motion[env, o]
                for b in range(3):
                    A[b, a] = axis[b]
                    V[b, a] = turn[b]
            shape = point_shape.shape[env, j]
            t = shape_step(
                surfaces.shape_kind[shape],
                surfaces.shape_size[shape],
                point_shape.offset[env, j],
                t,
                s[env, p],
                s[env, o],
                A,
                motion[env, p],
                motion[env, o],
                V,
            )
    if chunk == 1:
        wp.atomic_min(partial_out, env, 0, t)
    else:
        partial_out[env, c] = t


@wp.kernel(module="unique", enable_backward=False)
def least(chunks: int, partial: wp.array2d(dtype=wp.float64), reach: wp.array(dtype=wp.float64), step_out: wp.array(dtype=wp.float64)):
    """Least of what `advance` found in its chunks; 1 is put back into their column 0."""
    env = wp.tid()
    t = wp.float64(reach[env])
    for c in range(chunks):
        t = wp.min(t, partial[env, c])
    partial[env, 0] = wp.float64(1.0)
    step_out[env] = t
