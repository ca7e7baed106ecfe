"""Where surfaces touch or pass through each other as they stand, or lie inside solids, and moving bodies apart."""

from dataclasses import dataclass

import numpy as np
import warp as wp

from physsim.kernels.contact import intersections as kernels
from physsim.physics.contact.containment import Containment
from physsim.physics.contact.detection import Detection
from physsim.physics.launch import Launcher

KINDS = ("point in triangle", "edge on edge", "point in shape", "edge through triangle", "surface inside solid")
SLACK = 0.1  # of the gap: how far apart bodies are put beyond touching
DIRECTIONS = 200  # face normals of a surface along which it may be moved out


@dataclass(frozen=True)
class Intersections:
    """Pairs that are nearer than their thickness, or pass through each other; n of them.

    Args:
        env: environment, [n].
        kind: index into KINDS, [n].
        points: surface points; -1 fills up, [n, 5].
        body: the two surfaces, [n, 2].
        depth: by how much they are too near [m]; NaN for an edge through a triangle and a surface inside a solid, [n].
        outward: unit vector along which the first leaves a shape, zero for other kinds, [n, 3].
    """

    env: np.ndarray
    kind: np.ndarray
    points: np.ndarray
    body: np.ndarray
    depth: np.ndarray
    outward: np.ndarray

    def __len__(self):
        return len(self.env)

    def describe(self, names=(), most=5):
        """One line for messages: which surfaces, how often, how deep; the `most` most frequent ones."""
        pairs, which, counts = np.unique(np.sort(self.body, axis=1), axis=0, return_inverse=True, return_counts=True)
        lines = []
        for k in np.argsort(-counts, kind="stable")[:most]:
            a, b = (names[i] if i < len(names) else f"surface {i}" for i in pairs[k])
            rows = which.ravel() == k
            depth = self.depth[rows]
            deep = f", up to {1e3 * np.nanmax(depth) + 0.0:.3g} mm" if np.isfinite(depth).any() else ""
            first = self.points[rows][0]
            lines.append(f"{a} and {b}: {counts[k]} pairs{deep}, the first of points {first[first >= 0].tolist()}")
        rest = len(pairs) - len(lines)
        return "; ".join(lines) + (f"; and {rest} pairs of surfaces more" if rest > 0 else "")


class Inspection:
    """Finds what intersects in a scene.

    Args:
        scene: ContactScene.
        device: Warp device.
        envs: environments.
    """

    def __init__(self, scene, device, envs):
        self.scene, self.device, self.envs = scene, device, envs
        self._detection = Detection(scene, device, envs)
        self._launcher = Launcher(device, envs)
        self._containment = Containment(scene)

    def intersections(self, s):
        """All intersections of surface points s [m], float64 3-vectors, device array [envs, S].

        Returns:
            Intersections.
        """
        found = self._detection
        found.cover(s, wp.zeros_like(s), margin=0.0)
        parts = []
        for kind, pairs in enumerate(found.lists):
            if pairs.rows:
                parts.append(self._near(kind, pairs, s))
        if len(self.scene.edges) and len(self.scene.triangles):
            parts.append(self._piercing(s))
        parts.append(self._inside(s))
        empty = (np.zeros(0, int), np.zeros(0, int), np.zeros((0, 5), int), np.zeros((0, 2), int), np.zeros(0), np.zeros((0, 3)))
        return Intersections(*(np.concatenate(columns) for columns in zip(empty, *parts)))

    def _near(self, kind, pairs, s):
        shape = (self.envs, pairs.rows)
        free = wp.full(shape, np.inf, dtype=wp.float64, device=self.device)
        outward = wp.zeros(shape, dtype=wp.vec3d, device=self.device)
        if kind == 2:
            arguments = [self._detection.surfaces, pairs.kernels, s, free, outward]
            self._launcher.record(kernels.measure_shapes, pairs.rows, *arguments)()
        else:
            self._launcher.record(kernels.measure_features, pairs.rows, kind, pairs.kernels, s, free)()
        distance = free.numpy()
        env, row = np.nonzero(~(distance > 0.0))
        stencil = pairs.stencil.numpy()[env, row]
        points = np.full((len(env), 5), -1)
        points[:, : stencil.shape[1]] = stencil
        body = self.scene.body[stencil[:, [0, 2 if kind == 1 else 1]]].reshape(-1, 2)
        return env, np.full(len(env), kind), points, body, -distance[env, row], outward.numpy()[env, row]

    def _piercing(self, s):
        scene, found = self.scene, self._detection
        count = self.envs * len(scene.edges)
        counts, begins = (wp.zeros(count + 1, dtype=int, device=self.device) for _ in range(2))
        for _ in range(2):  # count, then write
            number = int(begins.numpy()[-1])
            rows = wp.zeros((number, 3), dtype=int, device=self.device)
            arguments = [found.surfaces, *found.point_boxes, found.triangle_tree, s, begins, counts, rows]
            self._launcher.record(kernels.find_piercing, len(scene.edges), *arguments)()
            wp.utils.array_scan(counts, begins, inclusive=False)
        env, edge, triangle = rows.numpy().reshape(-1, 3).T
        points = np.column_stack([scene.edges[edge], scene.triangles[triangle]]).reshape(-1, 5)
        n = len(env)
        return env, np.full(n, 3), points, scene.body[points[:, [0, 2]]].reshape(-1, 2), np.full(n, np.nan), np.zeros((n, 3))

    def _inside(self, s):
        env, probe, triangle = self._containment.inside(s.numpy())
        n = len(env)
        points = np.column_stack([probe, triangle, np.full(n, -1)]).reshape(n, 5)
        return env, np.full(n, 4), points, self.scene.body[points[:, [0, 1]]].reshape(n, 2), np.full(n, np.nan), np.zeros((n, 3))

    def resolve(self, s, iterations=20):
        """Move bodies apart as wholes, so that none is strained by it.

        A body moves if all of its points may; of two that may, each goes half the way. Out of a shape it goes along the shape's outward
        direction at the deepest point, out of another surface along the normal of a face of either that leads out soonest.
        What intersects itself, or has no room, stays as it is.

        Args:
            s: surface points [m], float64 3-vectors, device array [envs, S].
            iterations: passes over all pairs.

        Returns:
            tuple: displacements of the surfaces [m], numpy [envs, B, 3]; the Intersections that remain.
        """
        scene = self.scene
        start = s.numpy()
        moved = np.zeros((self.envs, len(scene.allowed), 3))
        place = lambda: wp.array(start + moved[:, scene.body], dtype=wp.vec3d, device=self.device)  # noqa: E731
        mobile = np.ones(len(scene.allowed), bool)
        mobile[scene.body[~scene.movable]] = False
        for _ in range(iterations):
            found = self.intersections(place())
            push = self._pushes(found, start + moved[:, scene.body], mobile)
            if not push.any():
                return moved, found
            moved += push
        return moved, self.intersections(place())

    def _pushes(self, found, points, mobile):
        """Displacements [envs, B, 3] of one pass: the mean of what a body's pairs ask for, so that a body between two others settles."""
        total, asked = np.zeros((self.envs, len(mobile), 3)), np.zeros((self.envs, len(mobile), 1))
        keys = np.column_stack([found.env, np.where(found.kind == 2, found.body.T, np.sort(found.body, axis=1).T).T])
        for env, a, b in np.unique(keys, axis=0):
            shares = np.array([mobile[a], mobile[b]], float)
            if a == b or not shares.any():
                continue
            rows = (keys == (env, a, b)).all(axis=1)
            shaped = rows & (found.kind == 2)
            if shaped.any():
                deepest = np.flatnonzero(shaped)[np.argmax(found.depth[shaped])]
                way = found.outward[deepest] * (found.depth[deepest] + SLACK * self.scene.gap)
            else:
                way = self._way_out(points[env], a, b)
            shares /= shares.sum()
            total[env, a] += shares[0] * way
            total[env, b] -= shares[1] * way
            asked[env, [a, b]] += 1
        return total / np.maximum(asked, 1)

    def _way_out(self, points, a, b):
        """Least move of surface a along a face's normal that leaves all of surface b behind [m]."""
        scene = self.scene
        triangles = scene.triangles[np.isin(scene.body[scene.triangles[:, 0]], (a, b))]
        x = points[triangles]
        normals = np.cross(x[:, 1] - x[:, 0], x[:, 2] - x[:, 0])
        length = np.linalg.norm(normals, axis=1)
        normals = normals[length > 0] / length[length > 0, None]
        normals = normals[:: max(1, len(normals) // DIRECTIONS)]
        normals = np.concatenate([normals, -normals, np.eye(3), -np.eye(3)])
        of = [np.flatnonzero(scene.body == k) for k in (a, b)]
        thickness = sum(scene.radius[k].max() for k in of)
        depth = (points[of[1]] @ normals.T).max(axis=0) - (points[of[0]] @ normals.T).min(axis=0)
        best = int(np.argmin(depth))
        return normals[best] * (depth[best] + thickness + SLACK * scene.gap)
