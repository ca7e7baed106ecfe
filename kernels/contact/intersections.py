"""What touches or passes through something else where it stands: distances of the candidate pairs, and edges that pierce triangles.

`first` is the first environment and row of a slice.
"""

import warp as wp

from physsim.kernels.contact.boxes import Surfaces
from physsim.kernels.contact.broad_phase import Candidates, Tree, edge_query, related
from physsim.kernels.contact.distance import edge_edge_coefficients, point_triangle_coefficients, shape_distance, shape_gradient

vec3 = wp.vec3d
ROUNDING = wp.constant(wp.float64(1.0e-14))  # of coordinates, with what differences make of it


@wp.kernel(module="unique", enable_backward=False)
def measure_features(first: wp.vec2i, edges: int, pairs: Candidates, s: wp.array2d(dtype=vec3), free_out: wp.array2d(dtype=wp.float64)):
    """Distance less radii [m] of pairs of points and triangles (or of `edges`), row by row."""
    e, k = wp.tid()
    env = first[0] + e
    row = first[1] + k
    if pairs.stencil[env, row, 0] < 0:
        return
    x0 = s[env, pairs.stencil[env, row, 0]]
    y1 = s[env, pairs.stencil[env, row, 1]] - x0
    y2 = s[env, pairs.stencil[env, row, 2]] - x0
    y3 = s[env, pairs.stencil[env, row, 3]] - x0
    c = wp.vec4d()
    if edges != 0:
        c = edge_edge_coefficients(vec3(), y1, y2, y3)
    else:
        c = point_triangle_coefficients(vec3(), y1, y2, y3)
    free_out[env, row] = wp.length(c[1] * y1 + c[2] * y2 + c[3] * y3) - pairs.offset[env, row]


@wp.kernel(module="unique", enable_backward=False)
def measure_shapes(
    first: wp.vec2i,
    surfaces: Surfaces,
    pairs: Candidates,
    s: wp.array2d(dtype=vec3),
    free_out: wp.array2d(dtype=wp.float64),
    outward_out: wp.array2d(dtype=vec3),
):
    """Distance to a shape less the radius [m], and the unit vector that leads away from it."""
    e, k = wp.tid()
    env = first[0] + e
    row = first[1] + k
    if pairs.stencil[env, row, 0] < 0:
        return
    o = s[env, pairs.stencil[env, row, 1]]
    A = wp.matrix_from_cols(
        s[env, pairs.stencil[env, row, 2]] - o, s[env, pairs.stencil[env, row, 3]] - o, s[env, pairs.stencil[env, row, 4]] - o
    )
    inverse = wp.inverse(A)
    X = inverse * (s[env, pairs.stencil[env, row, 0]] - o)
    shape = pairs.shape[env, row]
    kind = surfaces.shape_kind[shape]
    free_out[env, row] = shape_distance(kind, surfaces.shape_size[shape], X) - pairs.offset[env, row]
    outward_out[env, row] = wp.normalize(wp.transpose(inverse) * shape_gradient(kind, surfaces.shape_size[shape], X))


@wp.func
def volume(a: vec3, b: vec3, c: vec3, d: vec3) -> wp.float64:
    """Six times the signed volume of a tetrahedron."""
    return wp.dot(wp.cross(b - a, c - a), d - a)


@wp.func
def pierces(p: vec3, q: vec3, a: vec3, b: vec3, c: vec3) -> bool:
    """Whether the segment p q passes through the inside of the triangle a b c; not where both lie in one plane, but for rounding."""
    zero = wp.float64(0.0)
    size = wp.max(wp.length(q - p), wp.max(wp.length(b - a), wp.length(c - a)))
    rounding = ROUNDING * size * size * (size + wp.length(p))
    below = volume(a, b, c, p)
    above = volume(a, b, c, q)
    u = volume(p, q, a, b)
    v = volume(p, q, b, c)
    w = volume(p, q, c, a)
    same = (u > zero and v > zero and w > zero) or (u < zero and v < zero and w < zero)
    return same and ((below > rounding and above < -rounding) or (below < -rounding and above > rounding))


@wp.kernel(module="unique", enable_backward=False)
def find_piercing(
    first: wp.vec2i,
    surfaces: Surfaces,
    lower: wp.array2d(dtype=vec3),
    upper: wp.array2d(dtype=vec3),
    triangles: Tree,
    s: wp.array2d(dtype=vec3),
    begins: wp.array(dtype=int),
    counts_out: wp.array(dtype=int),
    found_out: wp.array2d(dtype=int),
):
    """Count the triangles that each edge pierces; where `found_out` has rows, write (environment, edge, triangle) from `begins` on."""
    e, k = wp.tid()
    env = first[0] + e
    i = first[1] + k
    at = env * surfaces.edges.shape[0] + i
    v = surfaces.edges[i]
    n = wp.int32(0)
    item = wp.int32(0)
    query = edge_query(surfaces, env, i, lower, upper, triangles)
    while wp.bvh_query_next(query, item):
        t = item - env * surfaces.triangles.shape[0]
        w = surfaces.triangles[t]
        fixed = surfaces.fixed[v[0]] + surfaces.fixed[v[1]] + surfaces.fixed[w[0]] + surfaces.fixed[w[1]] + surfaces.fixed[w[2]]
        if fixed < 5 and surfaces.pair_class[surfaces.body[v[0]], surfaces.body[w[0]]] >= 0:
            shared = wp.int32(0)
            for a in range(2):
                for b in range(3):
                    if related(surfaces.owners, v[a], w[b]):
                        shared += 1
            if shared == 0 and pierces(s[env, v[0]], s[env, v[1]], s[env, w[0]], s[env, w[1]], s[env, w[2]]):
                if found_out.shape[0] > 0:
                    found_out[begins[at] + n, 0] = env
                    found_out[begins[at] + n, 1] = i
                    found_out[begins[at] + n, 2] = t
                n += 1
    counts_out[at] = n
