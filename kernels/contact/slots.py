"""Which rows of the candidate lists a surface point takes part in, so that shares of rows are summed on points in a fixed order.

Slots number the vertices of all rows: those of the list of point and triangle, then of edge and edge, of point and shape, and of what
rolls. They are sorted by their points, which is stable: keys here, the sort by Warp, and then where each point's slots begin.
"""

import warp as wp

from physsim.kernels.contact.broad_phase import Candidates


@wp.kernel(module="unique", enable_backward=False)
def slot_keys(
    first: wp.vec2i,
    points: int,
    rows: wp.vec4i,
    point_triangle: Candidates,
    edge_edge: Candidates,
    point_shape: Candidates,
    rolling: Candidates,
    keys_out: wp.array(dtype=int),
    slots_out: wp.array(dtype=int),
):
    """The point of every slot of `rows` of each list, with slots numbered by the lists' capacities; `points` where a row is unused."""
    e, k = wp.tid()
    env = first[0] + e
    i = first[1] + k
    slot = int(i)
    point = wp.int32(-1)
    if i < 4 * rows[0]:
        if point_triangle.stencil[env, i // 4, 0] >= 0:
            point = point_triangle.stencil[env, i // 4, i % 4]
    elif i < 4 * (rows[0] + rows[1]):
        j = i - 4 * rows[0]
        slot = 4 * point_triangle.stencil.shape[1] + j
        if edge_edge.stencil[env, j // 4, 0] >= 0:
            point = edge_edge.stencil[env, j // 4, j % 4]
    elif i < 4 * (rows[0] + rows[1]) + 5 * rows[2]:
        j = i - 4 * (rows[0] + rows[1])
        slot = 4 * (point_triangle.stencil.shape[1] + edge_edge.stencil.shape[1]) + j
        if point_shape.stencil[env, j // 5, 0] >= 0:
            point = point_shape.stencil[env, j // 5, j % 5]
    else:
        j = i - 4 * (rows[0] + rows[1]) - 5 * rows[2]
        slot = 4 * (point_triangle.stencil.shape[1] + edge_edge.stencil.shape[1]) + 5 * point_shape.stencil.shape[1] + j
        if rolling.stencil[env, j // 8, 0] >= 0:
            point = rolling.stencil[env, j // 8, j % 8]
    at = env * (4 * (rows[0] + rows[1]) + 5 * rows[2] + 8 * rows[3]) + i
    keys_out[at] = env * (points + 1) + wp.where(point < 0, points, point)
    slots_out[at] = slot


@wp.kernel(module="unique", enable_backward=False)
def slot_begins(first: wp.vec2i, points: int, slots: int, keys: wp.array(dtype=int), begins_out: wp.array2d(dtype=int)):
    """Where each point's slots begin among the `slots` sorted ones of its environment; one row more than there are points."""
    e, k = wp.tid()
    env = first[0] + e
    i = first[1] + k
    key = env * (points + 1) + i
    low = int(env * slots)
    high = int(low + slots)
    while low < high:
        middle = (low + high) // 2
        if keys[middle] < key:
            low = middle + 1
        else:
            high = middle
    begins_out[env, i] = low - env * slots
