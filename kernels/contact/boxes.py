"""Boxes about surface points: where points may go before pairs are looked for again.

A point that stays in its box, which is convex, keeps triangles, edges and shapes inside the boxes of their points. All boxes are
float64; those handed to a tree are float32, rounded outward. `first` is the first environment and row of a slice.
"""

import warp as wp

AHEAD = wp.constant(wp.float64(1.0))  # a box goes on by this share of the motion: most motions last longer than one step
OUTWARD = wp.constant(wp.float64(2.0**-22))  # float32 rounds by up to 2^-24 of a number
FARTHEST = wp.constant(wp.float64(1.0e12))  # [m] of a tree's boxes: their areas stay finite in float32


@wp.struct
class Surfaces:
    """A contact scene on the device; names as in ContactScene.

    `owners` holds -1 where a weight is zero, and those come last; `pair_class` is by bodies, and -1 where two may not touch; `fixed` is
    where `movable` is not.
    """

    owners: wp.array(dtype=wp.vec4i)
    body: wp.array(dtype=int)
    radius: wp.array(dtype=wp.float64)
    area: wp.array(dtype=wp.float64)
    fixed: wp.array(dtype=int)
    vertices: wp.array(dtype=int)
    triangles: wp.array(dtype=wp.vec3i)
    edges: wp.array(dtype=wp.vec2i)
    edge_area: wp.array(dtype=wp.float64)
    shape_kind: wp.array(dtype=int)
    shape_size: wp.array(dtype=wp.vec3d)
    shape_frame: wp.array(dtype=wp.vec4i)
    shape_body: wp.array(dtype=int)
    pair_class: wp.array2d(dtype=int)
    gap: wp.float64


@wp.func
def inside(p: wp.vec3d, lower: wp.vec3d, upper: wp.vec3d) -> bool:
    """False for NaN too."""
    a = p[0] >= lower[0] and p[1] >= lower[1] and p[2] >= lower[2]
    b = p[0] <= upper[0] and p[1] <= upper[1] and p[2] <= upper[2]
    return a and b


@wp.kernel(module="unique", enable_backward=False)
def find_escaped(
    first: wp.vec2i,
    active: wp.array(dtype=int),
    limit: wp.float64,
    reach: wp.array(dtype=wp.float64),
    s: wp.array2d(dtype=wp.vec3d),
    motion: wp.array2d(dtype=wp.vec3d),
    before: wp.array2d(dtype=wp.vec3d),
    lower: wp.array2d(dtype=wp.vec3d),
    upper: wp.array2d(dtype=wp.vec3d),
    state_out: wp.array2d(dtype=int),
):
    """Say (column 0) which environments have points that leave their boxes, and (column 1) points that move further than `limit` [m].

    Threads of an environment write the same or nothing.
    """
    e, row = wp.tid()
    env = first[0] + e
    i = first[1] + row
    if active[env] == 0:
        return
    p = s[env, i]
    m = reach[env] * motion[env, i]
    lo = lower[env, i]
    hi = upper[env, i]
    if not (inside(p, lo, hi) and inside(p + m, lo, hi) and inside(before[env, i], lo, hi)):
        state_out[env, 0] = 1
    if wp.length_sq(m) > limit * limit:
        state_out[env, 1] = 1


@wp.kernel(module="unique", enable_backward=False)
def limit_reach(
    active: wp.array(dtype=int),
    limit: wp.float64,
    motion: wp.array2d(dtype=wp.vec3d),
    reach_out: wp.array(dtype=wp.float64),
):
    """Share of a motion, at most 1, after which no point has gone further than `limit` [m]."""
    env = wp.tid()
    if active[env] == 0:
        return
    most = wp.float64(0.0)
    for i in range(motion.shape[1]):
        most = wp.max(most, wp.length_sq(motion[env, i]))
    reach_out[env] = wp.min(wp.float64(1.0), limit / wp.sqrt(wp.max(most, limit * limit)))


@wp.kernel(module="unique", enable_backward=False)
def point_boxes(
    first: wp.vec2i,
    stale: wp.array2d(dtype=int),
    margin: wp.float64,
    fixed: wp.array(dtype=int),
    reach: wp.array(dtype=wp.float64),
    s: wp.array2d(dtype=wp.vec3d),
    motion: wp.array2d(dtype=wp.vec3d),
    before: wp.array2d(dtype=wp.vec3d),
    lower_out: wp.array2d(dtype=wp.vec3d),
    upper_out: wp.array2d(dtype=wp.vec3d),
):
    """Hull of where a point was, is and goes, wider by `margin` [m] unless it is fixed and at rest; a single place for NaN."""
    e, row = wp.tid()
    env = first[0] + e
    i = first[1] + row
    if stale[env, 0] == 0:
        return
    p = s[env, i]
    q = before[env, i]
    m = reach[env] * motion[env, i]
    lo = wp.min(p, wp.min(q, p + m))
    hi = wp.max(p, wp.max(q, p + m))
    if fixed[i] == 0 or wp.length_sq(hi - lo) > wp.float64(0.0):
        ahead = p + (wp.float64(1.0) + AHEAD) * m
        around = wp.vec3d(margin, margin, margin)
        lo = wp.min(lo, ahead) - around
        hi = wp.max(hi, ahead) + around
    if not (wp.isfinite(lo[0]) and wp.isfinite(lo[1]) and wp.isfinite(lo[2])):
        lo = wp.vec3d()
    if not (wp.isfinite(hi[0]) and wp.isfinite(hi[1]) and wp.isfinite(hi[2])):
        hi = lo
    lower_out[env, i] = lo
    upper_out[env, i] = hi


@wp.func
def rounded_down(p: wp.vec3d) -> wp.vec3:
    """Lower corner of a tree's box."""
    q = wp.vec3()
    for a in range(3):
        x = wp.clamp(p[a], -FARTHEST, FARTHEST)
        q[a] = wp.float32(x - OUTWARD * wp.abs(x) - wp.float64(1.0e-30))
    return q


@wp.func
def rounded_up(p: wp.vec3d) -> wp.vec3:
    """Upper corner of a tree's box."""
    return -rounded_down(-p)


@wp.kernel(module="unique", enable_backward=False)
def triangle_boxes(
    first: wp.vec2i,
    stale: wp.array2d(dtype=int),
    surfaces: Surfaces,
    lower: wp.array2d(dtype=wp.vec3d),
    upper: wp.array2d(dtype=wp.vec3d),
    lower_out: wp.array(dtype=wp.vec3),
    upper_out: wp.array(dtype=wp.vec3),
):
    """Boxes of triangles with their thickness, for a tree."""
    e, row = wp.tid()
    env = first[0] + e
    t = first[1] + row
    if stale[env, 0] == 0:
        return
    v = surfaces.triangles[t]
    r = wp.max(surfaces.radius[v[0]], wp.max(surfaces.radius[v[1]], surfaces.radius[v[2]]))
    around = wp.vec3d(r, r, r)
    k = env * surfaces.triangles.shape[0] + t
    lower_out[k] = rounded_down(wp.min(lower[env, v[0]], wp.min(lower[env, v[1]], lower[env, v[2]])) - around)
    upper_out[k] = rounded_up(wp.max(upper[env, v[0]], wp.max(upper[env, v[1]], upper[env, v[2]])) + around)


@wp.kernel(module="unique", enable_backward=False)
def edge_boxes(
    first: wp.vec2i,
    stale: wp.array2d(dtype=int),
    surfaces: Surfaces,
    lower: wp.array2d(dtype=wp.vec3d),
    upper: wp.array2d(dtype=wp.vec3d),
    lower_out: wp.array(dtype=wp.vec3),
    upper_out: wp.array(dtype=wp.vec3),
):
    """Boxes of edges with their thickness, for a tree."""
    e, row = wp.tid()
    env = first[0] + e
    t = first[1] + row
    if stale[env, 0] == 0:
        return
    v = surfaces.edges[t]
    r = wp.max(surfaces.radius[v[0]], surfaces.radius[v[1]])
    around = wp.vec3d(r, r, r)
    k = env * surfaces.edges.shape[0] + t
    lower_out[k] = rounded_down(wp.min(lower[env, v[0]], lower[env, v[1]]) - around)
    upper_out[k] = rounded_up(wp.max(upper[env, v[0]], upper[env, v[1]]) + around)


@wp.kernel(module="unique", enable_backward=False)
def group_roots(tree: wp.uint64, root_out: wp.array(dtype=int)):
    """Where a tree's part of each environment begins."""
    env = wp.tid()
    root_out[env] = wp.bvh_get_group_root(tree, env)
