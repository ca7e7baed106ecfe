"""Candidate pairs: everything that can come within the gap while points stay in their boxes (`boxes`).

A query (a vertex against triangles, an edge against edges, a vertex against shapes) counts its partners and keeps the first few; after
a scan it writes its rows, partners in order of their numbers. So lists depend on the boxes alone, not on the tree, on slices or on other
environments. `first` is the first environment and query of a slice.

Of boxes that overlap, pairs are kept unless a plane parts them: with n the direction between the closest points of the boxes' centres, the
corners of the boxes say how near the features can come along n. Pairs of what cannot move, of what may not touch, and of points that share
a particle are left out.
"""

import warp as wp

from physsim.kernels.contact.boxes import Surfaces, rounded_down, rounded_up
from physsim.kernels.contact.distance import edge_edge_coefficients, point_triangle_coefficients, shape_distance

KEPT = wp.constant(12)  # partners that a query keeps between counting and writing; with more it asks again
NARROWEST = wp.constant(wp.float64(0.1))  # least stretch of a shape's frame within its boxes for which a distance is bounded


@wp.struct
class Candidates:
    """One of the three lists, [envs, capacity]; see `physsim.physics.contact.detection.CandidateList`."""

    stencil: wp.array3d(dtype=int)
    live: wp.array3d(dtype=int)
    touching: wp.array2d(dtype=int)
    pair_class: wp.array2d(dtype=int)
    offset: wp.array2d(dtype=wp.float64)
    weight: wp.array2d(dtype=wp.float64)
    shape: wp.array2d(dtype=int)
    rolls: wp.array2d(dtype=int)


@wp.struct
class Tree:
    """A tree of boxes and where each environment's part of it begins."""

    id: wp.uint64
    roots: wp.array(dtype=int)


@wp.func
def related(owners: wp.array(dtype=wp.vec4i), p: int, q: int) -> bool:
    """Whether two points have a particle in common."""
    a = owners[p]
    b = owners[q]
    found = bool(p == q or a[0] == b[0])
    if not found and (a[1] >= 0 or b[1] >= 0):  # the owners that count come first
        for i in range(4):
            for j in range(4):
                if a[i] >= 0 and a[i] == b[j]:
                    found = True
    return found


@wp.func
def lowest(n: wp.vec3d, lower: wp.vec3d, upper: wp.vec3d) -> wp.float64:
    """Least of n . x over a box."""
    return wp.dot(wp.max(n, wp.vec3d()), lower) + wp.dot(wp.min(n, wp.vec3d()), upper)


@wp.func
def highest(n: wp.vec3d, lower: wp.vec3d, upper: wp.vec3d) -> wp.float64:
    """Greatest of n . x over a box."""
    return -lowest(-n, lower, upper)


@wp.func
def point_triangle_near(
    surfaces: Surfaces, env: int, p: int, t: int, lower: wp.array2d(dtype=wp.vec3d), upper: wp.array2d(dtype=wp.vec3d)
) -> bool:
    """Whether a vertex can come near a triangle."""
    v = surfaces.triangles[t]
    if surfaces.pair_class[surfaces.body[p], surfaces.body[v[0]]] < 0:
        return False
    if surfaces.fixed[p] + surfaces.fixed[v[0]] + surfaces.fixed[v[1]] + surfaces.fixed[v[2]] == 4:
        return False
    if related(surfaces.owners, p, v[0]) or related(surfaces.owners, p, v[1]) or related(surfaces.owners, p, v[2]):
        return False
    half = wp.float64(0.5)
    x = half * (lower[env, p] + upper[env, p])
    x0 = half * (lower[env, v[0]] + upper[env, v[0]])
    x1 = half * (lower[env, v[1]] + upper[env, v[1]])
    x2 = half * (lower[env, v[2]] + upper[env, v[2]])
    c = point_triangle_coefficients(x, x0, x1, x2)
    n = wp.normalize(x + c[1] * x0 + c[2] * x1 + c[3] * x2)
    top = highest(n, lower[env, v[0]], upper[env, v[0]])
    top = wp.max(top, highest(n, lower[env, v[1]], upper[env, v[1]]))
    top = wp.max(top, highest(n, lower[env, v[2]], upper[env, v[2]]))
    r = wp.max(surfaces.radius[v[0]], wp.max(surfaces.radius[v[1]], surfaces.radius[v[2]]))
    return not (lowest(n, lower[env, p], upper[env, p]) - top > surfaces.gap + surfaces.radius[p] + r)


@wp.func
def edge_edge_near(
    surfaces: Surfaces, env: int, i: int, j: int, lower: wp.array2d(dtype=wp.vec3d), upper: wp.array2d(dtype=wp.vec3d)
) -> bool:
    """Whether edges can come near. Edge i asks: of two that may move the lower number, else the one that may move."""
    a = surfaces.edges[i]
    b = surfaces.edges[j]
    if surfaces.pair_class[surfaces.body[a[0]], surfaces.body[b[0]]] < 0:
        return False
    if j <= i and surfaces.fixed[b[0]] + surfaces.fixed[b[1]] < 2:
        return False
    if related(surfaces.owners, a[0], b[0]) or related(surfaces.owners, a[0], b[1]):
        return False
    if related(surfaces.owners, a[1], b[0]) or related(surfaces.owners, a[1], b[1]):
        return False
    half = wp.float64(0.5)
    x0 = half * (lower[env, a[0]] + upper[env, a[0]])
    x1 = half * (lower[env, a[1]] + upper[env, a[1]])
    y0 = half * (lower[env, b[0]] + upper[env, b[0]])
    y1 = half * (lower[env, b[1]] + upper[env, b[1]])
    c = edge_edge_coefficients(x0, x1, y0, y1)
    n = wp.normalize(c[0] * x0 + c[1] * x1 + c[2] * y0 + c[3] * y1)
    low = wp.min(lowest(n, lower[env, a[0]], upper[env, a[0]]), lowest(n, lower[env, a[1]], upper[env, a[1]]))
    top = wp.max(highest(n, lower[env, b[0]], upper[env, b[0]]), highest(n, lower[env, b[1]], upper[env, b[1]]))
    r = wp.max(surfaces.radius[a[0]], surfaces.radius[a[1]]) + wp.max(surfaces.radius[b[0]], surfaces.radius[b[1]])
    return not (low - top > surfaces.gap + r)


@wp.func
def least_stretch(A: wp.mat33d) -> wp.float64:
    """A bound from below of the singular values of a frame that is nearly orthonormal; zero where it is far from that."""
    G = wp.transpose(A) * A - wp.identity(n=3, dtype=wp.float64)
    return wp.sqrt(wp.max(wp.float64(0.0), wp.float64(1.0) - wp.sqrt(wp.ddot(G, G))))


@wp.func
def point_shape_near(
    surfaces: Surfaces, env: int, p: int, k: int, lower: wp.array2d(dtype=wp.vec3d), upper: wp.array2d(dtype=wp.vec3d)
) -> bool:
    """Whether a vertex can come near a shape.

    The distance changes by at most |A^-1| (h_p + sum_j |w_j| h_j): A the frame, w the weights of its points that make up the vertex, h half
    of the boxes' diagonals.
    """
    f = surfaces.shape_frame[k]
    if surfaces.pair_class[surfaces.body[p], surfaces.shape_body[k]] < 0:
        return False
    if surfaces.fixed[p] + surfaces.fixed[f[0]] + surfaces.fixed[f[1]] + surfaces.fixed[f[2]] + surfaces.fixed[f[3]] == 5:
        return False
    if related(surfaces.owners, p, f[0]):
        return False
    half = wp.float64(0.5)
    o = half * (lower[env, f[0]] + upper[env, f[0]])
    h0 = half * wp.length(upper[env, f[0]] - lower[env, f[0]])
    A = wp.mat33d()
    h = wp.vec3d()
    for a in range(3):
        axis = half * (lower[env, f[a + 1]] + upper[env, f[a + 1]]) - o
        A[0, a] = axis[0]
        A[1, a] = axis[1]
        A[2, a] = axis[2]
        h[a] = half * wp.length(upper[env, f[a + 1]] - lower[env, f[a + 1]])
    both = h + wp.vec3d(h0, h0, h0)
    stretch = least_stretch(A) - wp.length(both)
    if not (stretch > NARROWEST):
        return True
    X = wp.inverse(A) * (half * (lower[env, p] + upper[env, p]) - o)
    rest = wp.float64(1.0) - X[0] - X[1] - X[2]
    moved = half * wp.length(upper[env, p] - lower[env, p]) + wp.abs(rest) * h0 + wp.dot(wp.abs(X), h)
    d = shape_distance(surfaces.shape_kind[k], surfaces.shape_size[k], X)
    return not (d - moved / stretch > surfaces.gap + surfaces.radius[p])


@wp.func
def triangle_query(surfaces: Surfaces, env: int, p: int, lower: wp.array2d(dtype=wp.vec3d), upper: wp.array2d(dtype=wp.vec3d), tree: Tree):
    """What a vertex asks a tree of triangles."""
    r = surfaces.gap + surfaces.radius[p]
    around = wp.vec3d(r, r, r)
    return wp.bvh_query_aabb(tree.id, rounded_down(lower[env, p] - around), rounded_up(upper[env, p] + around), tree.roots[env])


@wp.func
def edge_query(surfaces: Surfaces, env: int, i: int, lower: wp.array2d(dtype=wp.vec3d), upper: wp.array2d(dtype=wp.vec3d), tree: Tree):
    """What an edge asks a tree of edges."""
    v = surfaces.edges[i]
    r = surfaces.gap + wp.max(surfaces.radius[v[0]], surfaces.radius[v[1]])
    around = wp.vec3d(r, r, r)
    low = rounded_down(wp.min(lower[env, v[0]], lower[env, v[1]]) - around)
    high = rounded_up(wp.max(upper[env, v[0]], upper[env, v[1]]) + around)
    return wp.bvh_query_aabb(tree.id, low, high, tree.roots[env])


@wp.kernel(module="unique", enable_backward=False)
def find(
    first: wp.vec2i,
    stale: wp.array2d(dtype=int),
    surfaces: Surfaces,
    lower: wp.array2d(dtype=wp.vec3d),
    upper: wp.array2d(dtype=wp.vec3d),
    triangles: Tree,
    edges: Tree,
    counts_out: wp.array(dtype=int),
    partners_out: wp.array2d(dtype=int),
):
    """Count every query's partners: vertices against triangles, then edges, then vertices against shapes."""
    e, row = wp.tid()
    env = first[0] + e
    q = first[1] + row
    if stale[env, 0] == 0:
        return
    V = surfaces.vertices.shape[0]
    E = surfaces.edges.shape[0]
    at = env * (2 * V + E) + q
    n = wp.int32(0)
    item = wp.int32(0)
    if q < V:
        p = surfaces.vertices[q]
        if surfaces.triangles.shape[0] > 0:
            query = triangle_query(surfaces, env, p, lower, upper, triangles)
            while wp.bvh_query_next(query, item):
                t = item - env * surfaces.triangles.shape[0]
                if point_triangle_near(surfaces, env, p, t, lower, upper):
                    if n < KEPT:
                        partners_out[at, n] = t
                    n += 1
    elif q < V + E:
        i = q - V
        v = surfaces.edges[i]
        if surfaces.fixed[v[0]] + surfaces.fixed[v[1]] < 2:
            query = edge_query(surfaces, env, i, lower, upper, edges)
            while wp.bvh_query_next(query, item):
                t = item - env * E
                if edge_edge_near(surfaces, env, i, t, lower, upper):
                    if n < KEPT:
                        partners_out[at, n] = t
                    n += 1
    else:
        p = surfaces.vertices[q - V - E]
        for k in range(surfaces.shape_kind.shape[0]):
            if point_shape_near(surfaces, env, p, k, lower, upper):
                if n < KEPT:
                    partners_out[at, n] = k
                n += 1
    counts_out[at] = n


@wp.kernel(module="unique", enable_backward=False)
def total(surfaces: Surfaces, begins: wp.array(dtype=int), counts_out: wp.array2d(dtype=int)):
    """Rows of each list (0 point and triangle, 1 edge and edge, 2 point and shape) in each environment."""
    env = wp.tid()
    V = surfaces.vertices.shape[0]
    E = surfaces.edges.shape[0]
    at = env * (2 * V + E)
    counts_out[0, env] = begins[at + V] - begins[at]
    counts_out[1, env] = begins[at + V + E] - begins[at + V]
    counts_out[2, env] = begins[at + V + E + V] - begins[at + V + E]


@wp.func
def put(rows: wp.array3d(dtype=int), env: int, begin: int, n: int, partner: int):
    """Insert a partner among the n of a query, which stand in column 1 of its rows in ascending order."""
    k = int(begin + n)
    while k > begin and rows[env, wp.max(k - 1, 0), 1] > partner:
        rows[env, k, 1] = rows[env, k - 1, 1]
        k -= 1
    rows[env, k, 1] = partner


@wp.func
def write_point_triangle(surfaces: Surfaces, env: int, k: int, p: int, rows: Candidates):
    """Write row k for vertex p and the triangle whose number stands in column 1."""
    v = surfaces.triangles[rows.stencil[env, k, 1]]
    rows.stencil[env, k, 0] = p
    rows.stencil[env, k, 1] = v[0]
    rows.stencil[env, k, 2] = v[1]
    rows.stencil[env, k, 3] = v[2]
    rows.pair_class[env, k] = surfaces.pair_class[surfaces.body[p], surfaces.body[v[0]]]
    r = wp.max(surfaces.radius[v[0]], wp.max(surfaces.radius[v[1]], surfaces.radius[v[2]]))
    rows.offset[env, k] = surfaces.radius[p] + r
    rows.weight[env, k] = surfaces.area[p]


@wp.func
def write_edge_edge(surfaces: Surfaces, env: int, k: int, i: int, rows: Candidates):
    """Write row k for edge i and the edge whose number stands in column 1."""
    j = rows.stencil[env, k, 1]
    a = surfaces.edges[i]
    b = surfaces.edges[j]
    rows.stencil[env, k, 0] = a[0]
    rows.stencil[env, k, 1] = a[1]
    rows.stencil[env, k, 2] = b[0]
    rows.stencil[env, k, 3] = b[1]
    rows.pair_class[env, k] = surfaces.pair_class[surfaces.body[a[0]], surfaces.body[b[0]]]
    r = wp.max(surfaces.radius[a[0]], surfaces.radius[a[1]]) + wp.max(surfaces.radius[b[0]], surfaces.radius[b[1]])
    rows.offset[env, k] = r
    rows.weight[env, k] = wp.float64(0.5) * (surfaces.edge_area[i] + surfaces.edge_area[j])


@wp.func
def write_point_shape(surfaces: Surfaces, env: int, k: int, p: int, shape: int, rows: Candidates):
    """Write row k for vertex p and a shape."""
    f = surfaces.shape_frame[shape]
    rows.stencil[env, k, 0] = p
    for a in range(4):
        rows.stencil[env, k, a + 1] = f[a]
    rows.pair_class[env, k] = surfaces.pair_class[surfaces.body[p], surfaces.shape_body[shape]]
    rows.offset[env, k] = surfaces.radius[p]
    rows.weight[env, k] = surfaces.area[p]
    rows.shape[env, k] = shape


@wp.kernel(module="unique", enable_backward=False)
def write(
    first: wp.vec2i,
    stale: wp.array2d(dtype=int),
    surfaces: Surfaces,
    lower: wp.array2d(dtype=wp.vec3d),
    upper: wp.array2d(dtype=wp.vec3d),
    triangles: Tree,
    edges: Tree,
    begins: wp.array(dtype=int),
    partners: wp.array2d(dtype=int),
    point_triangle_out: Candidates,
    edge_edge_out: Candidates,
    point_shape_out: Candidates,
):
    """Write every query's rows. `begins`: the scan of what `find` counted."""
    e, row = wp.tid()
    env = first[0] + e
    q = first[1] + row
    if stale[env, 0] == 0:
        return
    V = surfaces.vertices.shape[0]
    E = surfaces.edges.shape[0]
    at = env * (2 * V + E) + q
    count = begins[at + 1] - begins[at]
    if count == 0:
        return
    n = wp.int32(0)
    item = wp.int32(0)
    if q < V:
        begin = begins[at] - begins[at - q]
        p = surfaces.vertices[q]
        if count <= KEPT:
            for k in range(count):
                put(point_triangle_out.stencil, env, begin, k, partners[at, k])
        else:
            query = triangle_query(surfaces, env, p, lower, upper, triangles)
            while wp.bvh_query_next(query, item):
                t = item - env * surfaces.triangles.shape[0]
                if point_triangle_near(surfaces, env, p, t, lower, upper):
                    put(point_triangle_out.stencil, env, begin, n, t)
                    n += 1
        for k in range(begin, begin + count):
            write_point_triangle(surfaces, env, k, p, point_triangle_out)
    elif q < V + E:
        begin = begins[at] - begins[at - q + V]
        i = q - V
        if count <= KEPT:
            for k in range(count):
                put(edge_edge_out.stencil, env, begin, k, partners[at, k])
        else:
            query = edge_query(surfaces, env, i, lower, upper, edges)
            while wp.bvh_query_next(query, item):
                t = item - env * E
                if edge_edge_near(surfaces, env, i, t, lower, upper):
                    put(edge_edge_out.stencil, env, begin, n, t)
                    n += 1
        for k in range(begin, begin + count):
            write_edge_edge(surfaces, env, k, i, edge_edge_out)
    else:
        begin = begins[at] - begins[at - q + V + E]
        p = surfaces.vertices[q - V - E]
        for k in range(surfaces.shape_kind.shape[0]):
            if point_shape_near(surfaces, env, p, k, lower, upper):
                write_point_shape(surfaces, env, begin + n, p, k, point_shape_out)
                n += 1


@wp.kernel(module="unique", enable_backward=False)
def clear(
    first: wp.vec2i,
    counts: wp.array2d(dtype=int),
    rows: wp.vec3i,
    point_triangle_out: Candidates,
    edge_edge_out: Candidates,
    point_shape_out: Candidates,
):
    """Mark the rows beyond the count as unused, up to `rows` of each list."""
    e, k = wp.tid()
    env = first[0] + e
    row = first[1] + k
    if row >= counts[0, env] and row < rows[0]:
        point_triangle_out.stencil[env, row, 0] = -1
    if row >= counts[1, env] and row < rows[1]:
        edge_edge_out.stencil[env, row, 0] = -1
    if row >= counts[2, env] and row < rows[2]:
        point_shape_out.stencil[env, row, 0] = -1
