"""Distances of points, triangles, edges and analytic shapes, by numpy: what tests hold the package's own against."""

import numpy as np

from physsim.physics.contact.scene import BOX, CAPSULE, CYLINDER, PLANE, SPHERE


def nearest_on_segment(p, a, b):
    e = b - a
    t = np.clip(((p - a) * e).sum(-1) / np.maximum((e * e).sum(-1), 1e-300), 0, 1)
    return a + t[..., None] * e


def point_triangle_distance(p, a, b, c):
    """Distances [...]: to the plane where the foot lies inside, else to the nearest edge."""
    n = np.cross(b - a, c - a)
    nn = np.maximum((n * n).sum(-1), 1e-300)
    inside = nn > 1e-280
    for u, v in ((a, b), (b, c), (c, a)):
        inside = inside & ((np.cross(v - u, p - u) * n).sum(-1) >= 0)
    plane = np.abs(((p - a) * n).sum(-1)) / np.sqrt(nn)
    edges = [np.linalg.norm(p - nearest_on_segment(p, u, v), axis=-1) for u, v in ((a, b), (b, c), (c, a))]
    return np.where(inside, plane, np.min(edges, axis=0))


def edge_edge_distance(a, b, c, d):
    """Distances [...]: between the lines where the feet lie on both edges, else of the nearest end."""
    u, v, w = b - a, d - c, a - c
    uu, uv, vv = (u * u).sum(-1), (u * v).sum(-1), (v * v).sum(-1)
    uw, vw = (u * w).sum(-1), (v * w).sum(-1)
    det = uu * vv - uv * uv
    skew = det > 1e-14 * uu * vv
    safe = np.where(skew, det, 1.0)
    s, t = (uv * vw - vv * uw) / safe, (uu * vw - uv * uw) / safe
    inside = skew & (s >= 0) & (s <= 1) & (t >= 0) & (t <= 1)
    lines = np.linalg.norm(w + s[..., None] * u - t[..., None] * v, axis=-1)
    ends = [(a, c, d), (b, c, d), (c, a, b), (d, a, b)]
    ends = np.min([np.linalg.norm(p - nearest_on_segment(p, x, y), axis=-1) for p, x, y in ends], axis=0)
    return np.where(inside, lines, ends)


def shape_distance(kind, size, X):
    """Signed distances [...] of points X [..., 3] to one shape in its own coordinates."""
    if kind == PLANE:
        return X[..., 2]
    if kind == SPHERE:
        return np.linalg.norm(X, axis=-1) - size[0]
    if kind == CAPSULE:
        z = X[..., 2] - np.clip(X[..., 2], -size[1], size[1])
        return np.sqrt(X[..., 0] ** 2 + X[..., 1] ** 2 + z**2) - size[0]
    if kind == BOX:
        q = np.abs(X) - size
    else:
        assert kind == CYLINDER
        q = np.stack([np.hypot(X[..., 0], X[..., 1]) - size[0], np.abs(X[..., 2]) - size[1]], axis=-1)
    return np.linalg.norm(np.maximum(q, 0), axis=-1) + np.minimum(q.max(axis=-1), 0)
