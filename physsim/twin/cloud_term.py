"""Points on the body, from depth cameras or scanners, as a term of a fit: their distance from its surface."""

from collections.abc import Sequence

import numpy as np

from physsim.errors import InputError
from physsim.twin.linear import Linear, measured
from physsim.twin.surface import BodySurface

COUNT = 400  # points of a frame


class CloudTerm:
    """Distances of measured points from the nearest places of the body's surface [m].

    Along the surface a point tells nothing but where the surface ends: within it the residual is the distance from the triangle's plane,
    beyond an edge the distance from the edge. What one camera cannot see does not enter. Of a point that was seen from a known place the
    plane is the one that its ray strikes, and where it strikes none the distance is the ray's. Places are found anew at every
    linearisation; that they move along does not change the distance to first order.

    Args:
        name: "depth" or "points".
        frames: numbers of the frames, shape [f].
        points: of each frame [m], shape [p, 3].
        surface: BodySurface.
        sigma: standard deviation of the distance [m], above 0.
        eyes: where the points of each frame were seen from [m], each [p, 3], or None.
        count: of points that are taken of each frame, by chance.
        seed: of that chance.

    Raises:
        InputError: lengths that do not fit, a sigma not above 0.
    """

    def __init__(
        self,
        name: str,
        frames: np.ndarray,
        points: Sequence,
        surface: BodySurface,
        sigma: float,
        eyes: Sequence | None = None,
        count: int = COUNT,
        seed: int = 0,
    ) -> None:
        self.name, self.surface, self.sigma, self.sharp = name, surface, float(sigma), True
        self.frames = np.asarray(frames, dtype=int)
        if len(points) != len(self.frames) or (eyes is not None and len(eyes) != len(points)):
            raise InputError(f"CloudTerm: {len(points)} clouds for {len(self.frames)} frames; one a frame is needed")
        if not sigma > 0:
            raise InputError(f"CloudTerm: sigma = {sigma}: must lie above 0")
        self.points, self.eyes = {}, {}
        for i, frame in enumerate(self.frames):
            cloud = np.asarray(points[i], dtype=float).reshape(-1, 3)
            chance = np.random.default_rng((seed, int(frame)))
            chosen = np.sort(chance.permutation(len(cloud))[:count])
            self.points[int(frame)] = cloud[chosen]
            self.eyes[int(frame)] = None if eyes is None or eyes[i] is None else np.broadcast_to(eyes[i], cloud.shape)[chosen]

    def linearise(self, frame: int, x: np.ndarray) -> Linear:
        """As every term: Linear at positions x [n, 3]."""
        y, eye = self.points[int(frame)], self.eyes[int(frame)]
        if not len(y):
            return measured(np.zeros((0, 1)), np.zeros(0), np.zeros((0, 1), int), np.zeros((0, 1, 1, 3)), len(x), self.sigma, self.sharp)
        foot, missed = self._foot(y, x, eye)
        directions, distance = self._directions(y, x, foot, eye, missed)
        residuals = np.concatenate([distance[:, None], np.zeros((len(y), directions.shape[1] - 1))], axis=1)
        slope = -directions[:, :, None, :] * foot.weights[:, None, :, None]
        linear = measured(residuals, np.ones(len(y)), foot.nodes, slope, len(x), self.sigma, self.sharp)
        return Linear(linear.residuals, linear.weights, linear.apply, linear.shrink, linear.pull, distance[foot.inner])

    def _foot(self, y, x, eye):
        """(Foot of the place that each point is compared with, whether the ray on which it was measured misses the body [p])."""
        if eye is None or self.surface.is_rod:
            return self.surface.nearest(y, x, eye), np.zeros(len(y), bool)
        hit, struck = self.surface.struck(y, x, eye)
        if hit.all():
            return struck, ~hit
        return struck.spread(hit, self.surface.nearest(y[~hit], x, eye[~hit])), ~hit

    def _directions(self, y, x, foot, eye, missed):
        """Unit vectors along which a point's distance counts [p, rows, 3], and the distance [m], shape [p].

        On a triangle its normal; on an edge, a corner or a rod's node the way to the point, of a ray that misses the way to the ray; on a
        rod's edge across the axis, and a second one across both: there the distance does not change to first order, but to second.
        """
        half = self.surface.half
        away = y - foot.place
        if self.surface.is_rod:
            along = x[foot.nodes[:, 1]] - x[foot.nodes[:, 0]]
            side = np.cross(along / np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-300), foot.normal)
            side = np.where((foot.weights.min(axis=1) > 1e-9)[:, None], side, 0.0)
            return np.stack([foot.normal, side], axis=1), np.einsum("pd,pd->p", foot.normal, away) - half
        height = np.einsum("pd,pd->p", foot.normal, away)
        side = np.sign(height if eye is None else np.einsum("pd,pd->p", foot.normal, eye - y))
        edge = missed if eye is not None else foot.weights.min(axis=1) <= 1e-9
        if eye is not None:
            ray = (y - eye) / np.maximum(np.linalg.norm(y - eye, axis=1, keepdims=True), 1e-300)
            away = away - np.einsum("pd,pd->p", away, ray)[:, None] * ray
        size = np.linalg.norm(away, axis=1)
        edge = edge & (size > 0.1 * self.sigma)
        direction = np.where(edge[:, None], away / np.maximum(size, 1e-300)[:, None], foot.normal)
        distance = np.where(edge, size - half, np.where(missed, 0.0, height - half * side))
        return direction[:, None], distance

    def data(self) -> list:
        """Arrays that make this term what it is, for a fingerprint."""
        return [self.frames, *(self.points[int(f)] for f in self.frames)]
