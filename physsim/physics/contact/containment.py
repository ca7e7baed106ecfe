"""Surfaces that lie wholly inside a solid, where no edge pierces a triangle and nothing is near: by winding numbers, on the host.

Only solids have an inside: bodies of tetrahedra, and rigid meshes that are closed and turn their faces outwards. A closed sheet is a bag,
and a closed mesh whose faces look inwards is a room; things may be in both.
"""

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components

HALF = 0.5  # winding number between outside and inside


class Containment:
    """Finds what lies inside what in a scene.

    Args:
        scene: ContactScene.
    """

    def __init__(self, scene):
        self.scene = scene
        self._solids = {}
        if scene.solid is not None and len(scene.triangles):
            of = scene.body[scene.triangles[:, 0]]
            parts = {int(b): scene.triangles[of == b] for b in np.unique(of) if scene.solid[b]}
            self._solids = {b: t for b, t in parts.items() if is_closed(t)}
        self._probes = self._one_of_each_piece() if self._solids else np.zeros(0, int)

    def _one_of_each_piece(self):
        """A vertex of every piece of surface that hangs together; the others lie where it does, or something pierces something."""
        scene = self.scene
        a = np.concatenate([scene.edges[:, 0], scene.triangles[:, 0], scene.triangles[:, 0]])
        b = np.concatenate([scene.edges[:, 1], scene.triangles[:, 1], scene.triangles[:, 2]])
        graph = sparse.coo_matrix((np.ones(len(a)), (a, b)), (scene.point_count, scene.point_count))
        _, piece = connected_components(graph, directed=False)
        return scene.vertices[np.unique(piece[scene.vertices], return_index=True)[1]]

    def inside(self, s):
        """Pieces inside solids at surface points s [m], numpy [envs, S, 3].

        Returns:
            tuple: environment [k], a point of the piece [k], a triangle of the solid [k, 3].
        """
        scene, found = self.scene, []
        for body, triangles in self._solids.items():
            of = scene.body[self._probes]
            meets = scene.allowed[of, body] & (scene.pair_class[scene.material[of], scene.material[body]] >= 0) & (of != body)
            meets &= scene.movable[self._probes] | scene.movable[triangles].any()
            probes = self._probes[meets]
            if not len(probes):
                continue
            corners = s[:, np.unique(triangles)]
            x = s[:, probes]
            near = ((x > corners.min(axis=1)[:, None]) & (x < corners.max(axis=1)[:, None])).all(axis=2)
            for env, k in np.argwhere(near):
                if winding_number(x[env, k], s[env, triangles]) > HALF:
                    found.append((env, probes[k], *triangles[0]))
        rows = np.array(found, int).reshape(-1, 5)
        return rows[:, 0], rows[:, 1], rows[:, 2:]


def is_closed(triangles):
    """Whether every edge of some triangles [t, 3] is one of two that run against each other."""
    ways = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    there, back = (ways[np.lexsort(ways.T)] for ways in (ways, ways[:, ::-1]))
    return np.array_equal(there, back)


def winding_number(x, corners):
    """How often triangles [t, 3, 3] go around a point x [3]: 1 inside of a closed surface whose faces look outwards, 0 outside.

    Solid angles by van Oosterom and Strackee 1983, The solid angle of a plane triangle, eq. 8.
    """
    a, b, c = np.moveaxis(corners - x, 1, 0)
    la, lb, lc = (np.linalg.norm(v, axis=1) for v in (a, b, c))
    dot = lambda u, v: np.einsum("ti,ti->t", u, v)  # noqa: E731
    below = la * lb * lc + dot(a, b) * lc + dot(b, c) * la + dot(c, a) * lb
    return float(2.0 * np.arctan2(dot(a, np.cross(b, c)), below).sum() / (4.0 * np.pi))
