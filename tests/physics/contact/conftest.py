"""Scenes of surfaces made by hand, and distances of all their pairs without any search."""

from dataclasses import replace

import numpy as np
import pytest
from distances import edge_edge_distance, point_triangle_distance, shape_distance

from physsim.physics.contact.scene import ContactScene


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
