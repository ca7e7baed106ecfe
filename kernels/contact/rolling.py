"""The list of pairs whose friction has a lever arm: those of balls and capsules, taken from the other three lists in their order.

A point of a ball's or a capsule's core knows the shape that it is of, `roller`, and its place along that shape's axis, `along` [m]. A row
of this list has the frame of that shape and the points of what it meets; its source's own friction is switched off (`rolls`). Pairs of
round things that do not turn are left out, unless they meet a shape that does: there the friction of the source is the same.
"""

import warp as wp

from physsim.kernels.contact.boxes import Surfaces
from physsim.kernels.contact.broad_phase import Candidates

POINT_TRIANGLE, CORE_EDGE, POINT_SHAPE, CORES = (wp.constant(k) for k in range(4))  # what meets: see `kernels.laws.rolling`
vec6 = wp.types.vector(6, wp.float64)


@wp.struct
class Rollers:
    """Of every surface point: `roller`, the number of its shape or -1, and `along` [m]; of every shape: 1 in `turns` where it may turn."""

    roller: wp.array(dtype=int)
    along: wp.array(dtype=wp.float64)
    turns: wp.array(dtype=int)


@wp.func
def rolls_at(rollers: Rollers, p: int) -> int:
    """1 for points of the core of something that may turn."""
    k = rollers.roller[p]
    if k >= 0:
        return rollers.turns[k]
    return 0


@wp.func
def list_of(rows: wp.vec3i, k: int) -> wp.vec2i:
    """(list, row) of row k, where rows count on from one list to the next."""
    found = wp.vec2i(0, k)
    if k >= rows[0] + rows[1]:
        found = wp.vec2i(2, k - rows[0] - rows[1])
    elif k >= rows[0]:
        found = wp.vec2i(1, k - rows[0])
    return found


@wp.kernel(module="unique", enable_backward=False)
def find_rolling(
    first: wp.vec2i,
    rows: wp.vec3i,
    rollers: Rollers,
    point_triangle: Candidates,
    edge_edge: Candidates,
    point_shape: Candidates,
    found_out: wp.array(dtype=int),
):
    """1 for rows of balls and capsules, in `found_out` by environments and in the lists' `rolls`; one entry more ends the scan."""
    e, r = wp.tid()
    env = first[0] + e
    k = first[1] + r
    at = list_of(rows, k)
    t = at[1]
    rolls = wp.int32(0)
    if at[0] == 0:
        if point_triangle.stencil[env, t, 0] >= 0:
            rolls = rolls_at(rollers, point_triangle.stencil[env, t, 0])
        point_triangle.rolls[env, t] = rolls
    elif at[0] == 1:
        if edge_edge.stencil[env, t, 0] >= 0:
            rolls = wp.max(rolls_at(rollers, edge_edge.stencil[env, t, 0]), rolls_at(rollers, edge_edge.stencil[env, t, 2]))
        edge_edge.rolls[env, t] = rolls
    else:
        if point_shape.stencil[env, t, 0] >= 0:
            rolls = rolls_at(rollers, point_shape.stencil[env, t, 0])
            # where the core stands still the shape that it meets may turn, about the core of its own
            if rollers.roller[point_shape.stencil[env, t, 0]] >= 0:
                rolls = wp.max(rolls, rollers.turns[point_shape.shape[env, t]])
        point_shape.rolls[env, t] = rolls
    found_out[env * (rows[0] + rows[1] + rows[2]) + k] = rolls


@wp.func
def copy_row(env: int, t: int, j: int, source: Candidates, out: Candidates):
    """What row j of one list takes over from row t of another."""
    out.pair_class[env, j] = source.pair_class[env, t]
    out.offset[env, j] = source.offset[env, t]
    out.weight[env, j] = source.weight[env, t]


@wp.kernel(module="unique", enable_backward=False)
def write_rolling(
    first: wp.vec2i,
    rows: wp.vec3i,
    surfaces: Surfaces,
    rollers: Rollers,
    point_triangle: Candidates,
    edge_edge: Candidates,
    point_shape: Candidates,
    found: wp.array(dtype=int),
    begins: wp.array(dtype=int),
    rolling_out: Candidates,
    arm_out: wp.array2d(dtype=vec6),
    source_out: wp.array2d(dtype=wp.vec3i),
):
    """Rows of the list: `arm_out` is (begin, end, radius, other_begin, other_end, meeting) of `kernels.laws.rolling`, `source_out` the list
    and the row that a row comes from, and 1 where the round thing stands first there, else -1."""
    e, r = wp.tid()
    env = first[0] + e
    k = first[1] + r
    total = rows[0] + rows[1] + rows[2]
    if found[env * total + k] == 0:
        return
    j = begins[env * total + k] - begins[env * total]
    at = list_of(rows, k)
    t = at[1]
    side = wp.int32(1)
    meeting = int(POINT_TRIANGLE)
    other = wp.vec4i()
    p = wp.int32(0)
    q = wp.int32(0)
    begin = wp.float64(0.0)
    end = wp.float64(0.0)
    if at[0] == 0:
        p = point_triangle.stencil[env, t, 0]
        q = p
        last = point_triangle.stencil[env, t, 3]
        other = wp.vec4i(point_triangle.stencil[env, t, 1], point_triangle.stencil[env, t, 2], last, last)
        copy_row(env, t, j, point_triangle, rolling_out)
    elif at[0] == 1:
        p = edge_edge.stencil[env, t, 0]
        q = edge_edge.stencil[env, t, 1]
        u = edge_edge.stencil[env, t, 2]
        v = edge_edge.stencil[env, t, 3]
        if rollers.roller[p] < 0:
            side = -1
            p = edge_edge.stencil[env, t, 2]
            q = edge_edge.stencil[env, t, 3]
            u = edge_edge.stencil[env, t, 0]
            v = edge_edge.stencil[env, t, 1]
        meeting = CORE_EDGE
        other = wp.vec4i(u, v, v, v)
        if rollers.roller[u] >= 0:
            meeting = CORES
            other = surfaces.shape_frame[rollers.roller[u]]
            begin = rollers.along[u]
            end = rollers.along[v]
        copy_row(env, t, j, edge_edge, rolling_out)
    else:
        p = point_shape.stencil[env, t, 0]
        q = p
        meeting = POINT_SHAPE
        for a in range(4):
            other[a] = point_shape.stencil[env, t, a + 1]
        rolling_out.shape[env, j] = point_shape.shape[env, t]
        copy_row(env, t, j, point_shape, rolling_out)
    frame = surfaces.shape_frame[rollers.roller[p]]
    for a in range(4):
        rolling_out.stencil[env, j, a] = frame[a]
        rolling_out.stencil[env, j, a + 4] = other[a]
    arm_out[env, j] = vec6(rollers.along[p], rollers.along[q], surfaces.radius[p], begin, end, wp.float64(meeting))
    source_out[env, j] = wp.vec3i(at[0], t, side)


@wp.kernel(module="unique", enable_backward=False)
def count_rolling(total: int, begins: wp.array(dtype=int), counts_out: wp.array(dtype=int)):
    """Rows of each environment."""
    env = wp.tid()
    counts_out[env] = begins[(env + 1) * total] - begins[env * total]
