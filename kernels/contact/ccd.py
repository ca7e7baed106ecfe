"""How far a motion may go: conservative advancement along directions that part two features.

All points move along straight lines, x + t v with t in [0, 1]. If n . (x_a - x_b) >= d for every vertex a of one convex feature and b of
another, with |n| = 1, they are at least d apart; n between the closest points gives their distance. Let n turn with the features: with
m at right angles to n, all t are safe for which every pair of vertices keeps

    (n + t m) . (x_a - x_b + t (v_a - v_b)) >= level (1 + t^2 |m|^2 / 2) >= level |n + t m|.

Advance to the least root of these quadratics, look again, and stop when the distance has come near the level. m = 0 lets features
slide past each other in one step, where the bound of additive CCD (Li, Kaufman, Jiang 2021, Codimensional incremental potential contact,
algorithm 1), which knows speeds only, takes hundreds; the m that keeps n at right angles to the meeting edges or face lets them rock. The
longer step of the two is taken.

A point X(t) in the frame A(t) of a shape moves by X(t + tau) - X(t) = tau A(t + tau)^-1 u, u its velocity relative to the frame's
material there. Distances to convex shapes are convex functions, so with g the gradient at X, B = A^-1 dA/dt and v = |A^-1 u|

    d(t + tau) >= d + tau g . A^-1 u - 2 |B| v tau^2      while tau |B| <= 1/2.
"""

import warp as wp

from physsim.kernels.contact.boxes import Surfaces
from physsim.kernels.contact.broad_phase import Candidates
from physsim.kernels.contact.distance import edge_edge_coefficients, point_triangle_coefficients, shape_distance, shape_gradient

# No less is left than these shares: of the gap, or of the free distance at the beginning where that is less. A solve that goes on from
# there pushes a pair apart by a factor of two at a time: what presses it together may not be faster.
SHARE, CLOSE_SHARE = (wp.constant(wp.float64(c)) for c in (0.15, 0.5))
NEAR, CLOSE_NEAR = (wp.constant(wp.float64(c)) for c in (0.2, 0.55))  # the advance ends where less than this is left
# What is held does not press a pair below this share of the gap: there the layer stands a hundred times its strength, and there is no room.
# Pairs that are closer yet, by what else presses them, may come closer by rounding only, which is this share of it.
PRESSED = 0.01
SLACK, NEAR_FLOOR = (wp.constant(wp.float64(c)) for c in (1.0e-6, 1.1))
ADVANCES = wp.constant(64)  # most looks at a pair; where they do not suffice the step is shorter than it need be
NO_MARKS, MARK_LIVE, MARK_TOUCHING = (wp.constant(k) for k in range(3))
WILDEST = wp.constant(wp.float64(1.0e30))  # [m] a direction that turns faster is of edges that are points

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
def turning(n: vec3, e: vec3, f: vec3, de: vec3, df: vec3) -> vec3:
    """Velocity of n that keeps it at right angles to e and f, which change at de and df; f may be zero, and e too."""
    ee = wp.dot(e, e)
    ef = wp.dot(e, f)
    ff = wp.dot(f, f)
    a = -wp.dot(n, de)
    b = -wp.dot(n, df)
    m = vec3()
    det = ee * ff - ef * ef
    if det > wp.float64(1.0e-6) * ee * ff:  # else they are parallel: any one of them does
        m = ((a * ff - b * ef) * e + (b * ee - a * ef) * f) / det
    elif ee > wp.float64(0.0):
        m = (a / ee) * e
    return m


@wp.func
def meeting(edges: bool, c: vec4, x0: vec3, x1: vec3, x2: vec3, x3: vec3):
    """The edges that a direction between closest points is at right angles to, zero for none; `c` as in `kernels.contact.distance`."""
    zero = wp.float64(0.0)
    e = vec3()
    f = vec3()
    if edges:
        if c[0] != zero and c[1] != zero:
            e = x1 - x0
        if c[2] != zero and c[3] != zero:
            f = x3 - x2
            if c[0] == zero or c[1] == zero:
                e = f
                f = vec3()
    elif c[1] == zero:
        if c[2] != zero and c[3] != zero:
            e = x3 - x2
    elif c[2] == zero:
        if c[3] != zero:
            e = x3 - x1
    else:
        e = x2 - x1
        if c[3] != zero:
            f = x3 - x1
    return e, f


@wp.func
def first_root(a: wp.float64, b: wp.float64, c: wp.float64, limit: wp.float64) -> wp.float64:
    """Least t in (0, limit] at which a t^2 + b t + c = 0, where c >= 0; `limit` without one."""
    square = b * b - wp.float64(4.0) * a * c
    t = limit
    if square >= wp.float64(0.0):
        slope = wp.sqrt(square) - b
        if slope * limit > wp.float64(2.0) * c:
            t = wp.float64(2.0) * c / slope
    return t


@wp.func
def kept(free: wp.float64, gap: wp.float64, share: wp.float64, close: wp.float64) -> wp.float64:
    """What is left of a distance [m]: a share of the gap, or a close pair's share of itself."""
    return wp.where(free < gap, close * free, share * gap)


@wp.func
def least_left(free: wp.float64, gap: wp.float64, floor: wp.float64) -> wp.float64:
    """The free distance that a motion must leave; where things that are held press, no less than `floor`, which is 0 where none do."""
    level = wp.min(kept(free, gap, SHARE, CLOSE_SHARE), free)
    if free >= floor:
        level = wp.max(level, floor)
    elif free > wp.float64(0.0):
        level = free - wp.min(SLACK * floor, CLOSE_SHARE * free)
    return level


@wp.func
def features_step(
    edges: bool,
    offset: wp.float64,
    gap: wp.float64,
    floor: wp.float64,
    limit: wp.float64,
    x0: vec3,
    x1: vec3,
    x2: vec3,
    x3: vec3,
    v0: vec3,
    v1: vec3,
    v2: vec3,
    v3: vec3,
):
    """(largest safe t, at most `limit`, of a point and a triangle or of two edges, 0 for NaN; whether they are within the gap at t = 0,
    and whether they may be so at any t in [0, 1])."""
    t = wp.float64(0.0)
    within = wp.vec2i(1, 1)
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
            level = offset + least_left(free, gap, floor)
            near = wp.max(kept(free, gap, NEAR, CLOSE_NEAR), NEAR_FLOOR * floor)
            within[0] = wp.where(free >= gap, 0, 1)
        elif free <= near:
            return t, within
        speed = features_apart(edges, n, v0, v1, v2, v3)
        if k == 0:
            within[1] = wp.where(free >= gap and wp.min(apart + speed) >= offset + gap, 0, 1)
        if not (wp.length_sq(n) > wp.float64(0.0) and wp.length_sq(speed) < wp.float64(wp.inf)):
            return t, within
        left = limit - t
        step = wp.float64(left)
        for a in range(4):
            if speed[a] * step < level - apart[a]:
                step = (level - apart[a]) / speed[a]
        if step < left:
            e, f = meeting(edges, c, y0, y1, y2, y3)
            de, df = meeting(edges, c, v0, v1, v2, v3)
            m = turning(n, e, f, de, df)
            aside = features_apart(edges, m, y0, y1, y2, y3)
            faster = features_apart(edges, m, v0, v1, v2, v3)
            bend = wp.float64(0.5) * level * wp.dot(m, m)
            turned = wp.where(bend < WILDEST, left, step)
            for a in range(4):
                turned = first_root(faster[a] - bend, speed[a] + aside[a], apart[a] - level, turned)
            step = wp.max(step, turned)
        if not (step > wp.float64(0.0)):
            return t, within
        if step >= left:
            return limit, within
        t += step
    return t, within


@wp.func
def shape_step(
    kind: int,
    size: vec3,
    offset: wp.float64,
    gap: wp.float64,
    floor: wp.float64,
    limit: wp.float64,
    p: vec3,
    o: vec3,
    A: wp.mat33d,
    vp: vec3,
    vo: vec3,
    V: wp.mat33d,
):
    """The same of a point and a shape in the frame (o, A), whose columns are its axes."""
    t = wp.float64(0.0)
    within = wp.vec2i(1, 1)
    level = wp.float64(0.0)
    near = wp.float64(0.0)
    zero = wp.float64(0.0)
    for k in range(int(ADVANCES)):
        inverse = wp.inverse(A + t * V)
        if wp.ddot(inverse, inverse) == zero:
            return t, within  # the frame has collapsed
        X = inverse * (p + t * vp - o - t * vo)
        free = shape_distance(kind, size, X) - offset
        if k == 0:
            level = least_left(free, gap, floor)
            near = wp.max(kept(free, gap, NEAR, CLOSE_NEAR), NEAR_FLOOR * floor)
            within[0] = wp.where(free >= gap, 0, 1)
        elif free <= near:
            return t, within
        U = inverse * (vp - vo - V * X)
        B = inverse * V
        turn = wp.sqrt(wp.ddot(B, B))
        bend = wp.float64(2.0) * turn * wp.length(U)
        speed = wp.dot(shape_gradient(kind, size, X), U)
        room = free - level
        if k == 0:
            within[1] = wp.where(free >= gap and turn <= wp.float64(0.5) and free + speed - bend >= gap, 0, 1)
        if not (bend < wp.float64(wp.inf) and room >= zero):
            return t, within
        step = limit - t
        if turn * step > wp.float64(0.5):
            step = wp.float64(0.5) / turn
        root = wp.sqrt(speed * speed + wp.float64(4.0) * bend * room) - speed  # of room + speed tau - bend tau^2 = 0
        if root * step > wp.float64(2.0) * room:
            step = wp.float64(2.0) * room / root
        if not (step > zero):
            return t, within
        if step >= limit - t:
            return limit, within
        t += step
    return t, within


@wp.func
def mark(rows: Candidates, env: int, row: int, marks: int, within: wp.vec2i):
    """Note what `advance` says; `within` as from `features_step`."""
    if marks == MARK_TOUCHING:
        rows.touching[env, row] = within[0]
    live = within[1] + rows.touching[env, row] > 0
    rows.live[env, row, 0] = wp.where(live, rows.stencil[env, row, 0], -1)


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
    floor: wp.array(dtype=wp.float64),
    s: wp.array2d(dtype=vec3),
    motion: wp.array2d(dtype=vec3),
    marks: int,
    partial_out: wp.array2d(dtype=wp.float64),
):
    """Least safe step of `chunk` rows of the three lists, which count on from one to the next; `floor` [m] is that of `least_left`.

    `marks`: NO_MARKS; or MARK_LIVE to note which rows may be within the gap during the motion, or were marked touching; or
    MARK_TOUCHING to note before which are within the gap at its beginning.

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
            t, within = features_step(
                row >= first_edge,
                offset,
                surfaces.gap,
                floor[env],
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
            if marks != NO_MARKS:
                if row < first_edge:
                    mark(point_triangle, env, row, marks, within)
                else:
                    mark(edge_edge, env, row - first_edge, marks, within)
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
            t, within = shape_step(
                surfaces.shape_kind[shape],
                surfaces.shape_size[shape],
                point_shape.offset[env, j],
                surfaces.gap,
                floor[env],
                t,
                s[env, p],
                s[env, o],
                A,
                motion[env, p],
                motion[env, o],
                V,
            )
            if marks != NO_MARKS:
                mark(point_shape, env, j, marks, within)
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
