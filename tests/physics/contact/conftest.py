"""Scenes of surfaces made by hand, and distances of all their pairs without any search."""

from dataclasses import replace

import numpy as np
import pytest

from physsim.physics.contact.scene import BOX, CAPSULE, CYLINDER, PLANE, SPHERE, ContactScene


def edges_of(triangles):
    """Edges of triangles, each once."""
    pairs = np.sort(np.asarray(triangles)[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    return np.unique(pairs, axis=0)


def make_scene(meshes, shapes=(), movable=None, thickness=5e-4, gap=1e-3, self_contact=True, edges=None):
    """(scene, points [S, 3]) of meshes (points, triangles), one surface each, and shapes (kind, size, origin, rotation), one surface each.

    Every point is a particle. `movable`: of each mesh; shapes never are.
    """
    movable = [True] * len(meshes) if movable is None else movable
    shapes = list(shapes)
    starts = np.cumsum([0] + [len(p) for p, _ in meshes]).astype(int)
    counts = [len(p) for p, _ in meshes] + [4] * len(shapes)
    frames = [np.vstack([o, o + np.asarray(R).T]) for _, _, o, R in shapes]
    points = np.concatenate([np.asarray(p, float) for p, _ in meshes] + frames)
    triangles = [np.asarray(t).reshape(-1, 3) + n for (_, t), n in zip(meshes, starts)]
    triangles = np.concatenate([*triangles, np.zeros((0, 3), int)])
    edges = (edges_of(triangles) if len(triangles) else np.zeros((0, 2), int)) if edges is None else np.asarray(edges)
    S, B, V = len(points), len(counts), int(starts[-1])
    owners, weights = np.zeros((S, 4), int), np.zeros((S, 4))
    owners[:, 0], weights[:, 0] = np.arange(S), 1.0
    scene = ContactScene(
        owners=owners,
        weights=weights,
        body=np.repeat(np.arange(B), counts),
        radius=np.full(S, 0.5 * thickness),
        area=np.linspace(1.0, 2.0, S),
        movable=np.repeat(np.concatenate([np.array(movable, bool), np.zeros(len(shapes), bool)]), counts),
        vertices=np.arange(V),
        triangles=triangles,
        edges=edges,
        edge_area=np.linspace(3.0, 4.0, len(edges)),
        shape_kind=np.array([k for k, *_ in shapes], int),
        shape_size=np.array([s for _, s, *_ in shapes], float).reshape(-1, 3),
        shape_frame=V + np.arange(4 * len(shapes)).reshape(-1, 4),
        shape_body=len(meshes) + np.arange(len(shapes)),
        allowed=np.ones((B, B), bool) if self_contact else ~np.eye(B, dtype=bool),
        material=np.arange(B) % 2,
        pair_class=np.array([[0, 1], [1, 2]]),
        gap=gap,
        creep=1e-4,
    )
    return scene, points


def grid(n, size=1.0, height=0.0):
    """(points, triangles) of a flat square sheet of n x n points [m]."""
    x = np.linspace(-0.5 * size, 0.5 * size, n)
    X, Y = np.meshgrid(x, x, indexing="ij")
    i = np.arange(n * n).reshape(n, n)
    a, b, c, d = (k.ravel() for k in (i[:-1, :-1], i[1:, :-1], i[1:, 1:], i[:-1, 1:]))
    triangles = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])
    return np.stack([X.ravel(), Y.ravel(), np.full(n * n, height)], axis=1), triangles


def soup(rng, count, size, spread):
    """(points, triangles) of loose triangles [m]."""
    centres = rng.uniform(-spread, spread, (count, 1, 3))
    return (centres + rng.normal(size=(count, 3, 3)) * size).reshape(-1, 3), np.arange(3 * count).reshape(-1, 3)


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


class Oracle:
    """All pairs of a scene that count, and their free distances, by brute force."""

    def __init__(self, scene):
        self.scene = scene
        used = scene.weights != 0
        self._particles = [set(o[u]) for o, u in zip(scene.owners, used)]
        vertices, triangles, edges = scene.vertices, scene.triangles, scene.edges
        p, t = (a.ravel() for a in np.meshgrid(vertices, np.arange(len(triangles)), indexing="ij"))
        i, j = np.triu_indices(len(edges), 1)
        v, k = (a.ravel() for a in np.meshgrid(vertices, np.arange(len(scene.shape_kind)), indexing="ij"))
        self.point_triangle = self._kept(np.column_stack([p, triangles[t]]).reshape(-1, 4), 1)
        self.edge_edge = self._kept(np.column_stack([edges[i], edges[j]]).reshape(-1, 4), 2)
        self.point_shape = self._kept(np.column_stack([v, scene.shape_frame[k], k]).reshape(-1, 6), 1)

    def _kept(self, stencils, split):
        scene = self.scene
        a, b = stencils[:, :split], stencils[:, split : 5 if stencils.shape[1] == 6 else 4]
        keep = scene.allowed[scene.body[a[:, 0]], scene.body[b[:, 0]]]
        keep &= scene.movable[a].any(axis=1) | scene.movable[b].any(axis=1)
        share = [any(self._particles[x] & self._particles[y] for x in row_a for y in row_b) for row_a, row_b in zip(a, b)]
        return stencils[keep & ~np.array(share, bool).reshape(len(keep))]

    def offset(self, name):
        """Sum of the radii [m], one a pair."""
        r = self.scene.radius[getattr(self, name)[:, :4]]
        if name == "edge_edge":
            return r[:, :2].max(axis=1) + r[:, 2:].max(axis=1)
        return r[:, 0] + (r[:, 1:].max(axis=1) if name == "point_triangle" else 0)

    def free(self, name, s):
        """Distances less radii [..., pairs] at points s [..., S, 3]."""
        pairs = getattr(self, name)
        x = np.moveaxis(s[..., pairs[:, :5] if name == "point_shape" else pairs, :], -2, 0)
        if name == "point_triangle":
            return point_triangle_distance(*x) - self.offset(name)
        if name == "edge_edge":
            return edge_edge_distance(*x) - self.offset(name)
        A = np.stack([x[2] - x[1], x[3] - x[1], x[4] - x[1]], axis=-1)
        X = np.linalg.solve(A, (x[0] - x[1])[..., None])[..., 0]
        out = np.empty(X.shape[:-1])
        for k, (kind, size) in enumerate(zip(self.scene.shape_kind, self.scene.shape_size)):
            rows = pairs[:, 5] == k
            out[..., rows] = shape_distance(kind, size, X[..., rows, :])
        return out - self.offset(name)

    def least_free(self, s):
        """Least free distance of any pair [...]."""
        names = [n for n in ("point_triangle", "edge_edge", "point_shape") if len(getattr(self, n))]
        return np.min([self.free(n, s).min(axis=-1) for n in names], axis=0)


class Surfaces:
    """What tests of contact make their scenes with."""

    scene = staticmethod(make_scene)
    grid = staticmethod(grid)
    soup = staticmethod(soup)
    oracle = Oracle
    replace = staticmethod(replace)


@pytest.fixture
def surfaces():
    """Makers of scenes, and the oracle."""
    return Surfaces
