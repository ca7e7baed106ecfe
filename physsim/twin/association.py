"""Which material point of a body each track follows, when nobody says so."""

import numpy as np

from physsim.twin.elements import rest_points
from physsim.twin.surface import BodySurface, Spots

FRAMES = 8  # that a track is tied by: noise of the place is halved and more, and a frame in which it is wrong does not count
FAR = 2.0  # edges from the surface beyond which a track is of something else,
USUAL = 3.0  # unless most are nearly as far: then it is the body that is in a wrong place


class Association:
    """Tracks tied to material points, on the surface of a body or above it.

    In each of the first eight fitted frames that show a track the nearest place on the simulated surface is taken; the track's material
    point is where the median of these lies on the rest shape, its height above the surface the median of the heights.

    Args:
        scene: has `soft_body.mesh`, `surface` (None of rods), `edges`, `thickness`.
        tracks: measured positions [m], shape [frames, p, 3].
        visible: shape [frames, p].
        positions: simulated, in all frames [m], shape [frames, n, 3]; NaN where not simulated.
        fitted: fitted frames, increasing.
        places: where the tracked points are at rest [m], shape [p, 3], where that is known: nothing is looked for then.

    Attributes:
        bound: whether a track lies on the body, shape [p].
    """

    def __init__(
        self,
        scene: object,
        tracks: np.ndarray,
        visible: np.ndarray,
        positions: np.ndarray,
        fitted: np.ndarray,
        places: np.ndarray | None = None,
    ) -> None:
        mesh = scene.soft_body.mesh
        rest = rest_points(mesh)
        surface = BodySurface.of(scene)
        if places is not None:
            spots = Spots.at(surface, places, rest)
            self.nodes, self.weights, self.height = spots.nodes, spots.weights, spots.height
            self.bound = visible[fitted].any(axis=0)
            return
        usable = fitted[np.isfinite(positions[fitted][:, : len(rest)]).all(axis=(1, 2))]
        seen = visible[usable]
        first = seen & (np.cumsum(seen, axis=0) <= FRAMES)
        shape = (len(usable), tracks.shape[1])
        places, heights, away = np.full((*shape, 3), np.nan), np.full(shape, np.nan), np.full(shape, np.nan)
        for row in np.flatnonzero(first.any(axis=1)):
            these, x = first[row], positions[usable[row]]
            y = tracks[usable[row], these]
            spots = Spots.at(surface, y, x)
            places[row, these] = np.einsum("pk,pkc->pc", spots.weights, rest[spots.nodes])
            heights[row, these] = spots.height
            away[row, these] = np.linalg.norm(np.einsum("pk,pkc->pc", spots.weights, x[spots.nodes]) - y, axis=1)
        ever = first.any(axis=0)
        self.nodes = np.zeros((shape[1], surface.elements.shape[1]), int)
        self.weights, self.height, self.bound = np.full(self.nodes.shape, np.nan), np.zeros(shape[1]), ever
        if not ever.any():
            return
        foot = surface.nearest(np.nanmedian(places[:, ever], axis=0), rest)
        self.nodes[ever], self.weights[ever] = foot.nodes, foot.weights
        self.height[ever] = np.nanmedian(heights[:, ever], axis=0)
        corners = rest[surface.elements]
        edge = float(np.median(np.linalg.norm(corners[:, 1] - corners[:, 0], axis=1)))
        self.bound = ever.copy()
        off = np.nanmedian(away[:, ever], axis=0)
        self.bound[ever] = off < max(FAR * edge + surface.half, USUAL * float(np.median(off)))
        self.weights[~self.bound] = np.nan

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Where the tracks' material points are [m], shape [p, 3], of positions [n, 3] [m]; NaN where a track is not on the body."""
        return Spots(self.nodes, self.weights, self.height).places(np.asarray(x, float))[0]
