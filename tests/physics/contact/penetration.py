"""Whether surfaces of a scene have passed through each other: crossings and free distances by numpy, without the package's search.

Pairs are all pairs whose boxes meet; distances are those of `distances`.
"""

import numpy as np
from distances import edge_edge_distance, point_triangle_distance, shape_distance


class Penetration:
    """What of a ContactScene lies in what.

    Args:
        scene: ContactScene.
    """

    def __init__(self, scene):
        self.scene = scene
        self._owners = np.where(scene.weights != 0, scene.owners, -1)
        self._tables = {}

    def crossings(self, s):
        """Edges that run through triangles at points s [S, 3], rows (a, b, t0, t1, t2)."""
        scene = self.scene
        pairs = self._pairs(s, scene.edges, scene.triangles, 0.0)
        p, q, a, b, c = np.moveaxis(s[pairs], 1, 0)
        volume = lambda o, u, v, w: np.einsum("ij,ij->i", u - o, np.cross(v - o, w - o))  # noqa: E731
        below, above = volume(p, a, b, c), volume(q, a, b, c)
        size = np.linalg.norm([q - p, b - a, c - a], axis=2).max(axis=0)
        through = (below * above < 0) & (np.minimum(abs(below), abs(above)) > 1e-14 * size**2 * (size + np.linalg.norm(p, axis=1)))
        sides = np.sign([volume(p, q, a, b), volume(p, q, b, c), volume(p, q, c, a)])
        return pairs[through & (np.abs(sides.sum(axis=0)) == 3)]

    def least_free(self, s):
        """Least distance less thickness [m] of any two features whose boxes come within a millimetre; infinite without any."""
        scene, least = self.scene, np.inf
        r = scene.radius
        pairs = self._pairs(s, scene.vertices[:, None], scene.triangles, 1e-3)
        if len(pairs):
            offset = r[pairs[:, 0]] + r[pairs[:, 1:]].max(axis=1)
            least = min(least, (point_triangle_distance(*np.moveaxis(s[pairs], 1, 0)) - offset).min())
        pairs = self._pairs(s, scene.edges, scene.edges, 1e-3)
        if len(pairs):
            offset = r[pairs[:, :2]].max(axis=1) + r[pairs[:, 2:]].max(axis=1)
            least = min(least, (edge_edge_distance(*np.moveaxis(s[pairs], 1, 0)) - offset).min())
        return min([least, *self.depths(s)])

    def depths(self, s):
        """Least distance less thickness [m] of each analytic shape from the points that may touch it."""
        scene, out = self.scene, []
        for kind, size, frame, body in zip(scene.shape_kind, scene.shape_size, scene.shape_frame, scene.shape_body, strict=True):
            v = scene.vertices
            v = v[scene.allowed[scene.body[v], body] & (scene.movable[v] | scene.movable[frame[0]]) & (scene.body[v] != body)]
            if len(v):
                axes = s[frame[1:]] - s[frame[0]]
                local = (s[v] - s[frame[0]]) @ np.linalg.inv(axes)
                out.append((shape_distance(kind, size, local) - scene.radius[v] - scene.radius[frame[0]]).min())
        return out

    def _pairs(self, s, first, second, reach):
        """Rows of both features whose boxes come within `reach` and their radii, of things that may touch and share no particle."""
        low, high = [], []
        for features in (first, second):
            r = self.scene.radius[features].max(axis=1)[:, None] + reach / 2
            low.append(s[features].min(axis=1) - r)
            high.append(s[features].max(axis=1) + r)
        near = self._may_meet(first, second).copy()
        for axis in range(3):
            near &= low[0][:, axis, None] <= high[1][None, :, axis]
            near &= low[1][None, :, axis] <= high[0][:, axis, None]
        i, j = np.divmod(np.flatnonzero(near), near.shape[1])
        return np.concatenate([first[i], second[j]], axis=1)

    def _may_meet(self, first, second):
        """Table of which features may touch, share no particle and are not both held, [n, m], the same for all states."""
        scene, key = self.scene, (first.shape, second.shape)
        if key not in self._tables:
            table = scene.allowed[scene.body[first[:, 0]][:, None], scene.body[second[:, 0]][None]]
            table &= scene.movable[first].any(axis=1)[:, None] | scene.movable[second].any(axis=1)
            a, b = (self._owners[f].reshape(len(f), 4 * f.shape[1]) for f in (first, second))
            for k in range(a.shape[1]):
                for m in range(b.shape[1]):
                    table &= (a[:, k, None] != b[None, :, m]) | (a[:, k, None] < 0)
            if first is second:
                table &= np.tri(len(first), k=-1, dtype=bool).T
            self._tables[key] = table
        return self._tables[key]
