"""Tracks as a term of a fit: material points that are bound to the body where they are first seen."""

import numpy as np

from physsim.errors import InputError
from physsim.twin.linear import Linear, measured
from physsim.twin.surface import BodySurface, Spots

FAR = 10.0  # noises from the surface, beside an edge of it, beyond which a track is of something else


class TrackTerm:
    """Distances of tracked points from the material points that they follow [m].

    A track is bound by `bind` to the place of the surface, or above it, where it is when it is first seen; until then it has no weight.
    Noise of that frame, and a body that lay a little elsewhere, put it beside its point. A fit therefore eliminates one constant offset a
    track, see `physsim.twin.offsets`: what counts is how tracks move.

    Args:
        frames: numbers of the frames, shape [f].
        positions: measured [m], shape [f, p, 3]; NaN: not seen.
        surface: BodySurface.
        sigma: standard deviation of one coordinate [m], above 0.
        rest: (where the tracked points are at rest [m], shape [p, 3], and the particles then, shape [n, 3]), where that is known: they
            are bound there.

    Raises:
        InputError: shapes that do not fit, a sigma not above 0.
    """

    name = "tracks"

    def __init__(self, frames: np.ndarray, positions: np.ndarray, surface: BodySurface, sigma: float, rest: tuple | None = None) -> None:
        self.frames = np.asarray(frames, dtype=int)
        self.positions = np.asarray(positions, dtype=float)
        if self.positions.ndim != 3 or self.positions.shape[::2] != (len(self.frames), 3):
            raise InputError(
                f"TrackTerm: positions of shape {list(self.positions.shape)} for {len(self.frames)} frames; [frames, points, 3]"
            )
        if not sigma > 0:
            raise InputError(f"TrackTerm: sigma = {sigma}: must lie above 0")
        self.surface, self.sigma, self.rest, self.sharp = surface, float(sigma), rest, True
        self._seen = np.isfinite(self.positions).all(axis=2)
        ever = self._seen.any(axis=0)
        self._first = np.where(ever, self.frames[self._seen.argmax(axis=0)], -1)
        count, k = self.positions.shape[1], surface.elements.shape[1]
        self._nodes, self._weights = np.zeros((count, k), int), np.zeros((count, k))
        self._height, self.bound = np.zeros(count), np.zeros(count, bool)
        self._row = {int(f): i for i, f in enumerate(self.frames)}

    @property
    def free(self) -> bool:
        """Whether each track has a constant offset that is not known: not where its rest place is, nor on rods, whose turn is not seen."""
        return self.rest is None and not self.surface.is_rod

    @property
    def first_frames(self) -> np.ndarray:
        """Frames in which a track is seen for the first time, increasing."""
        return np.unique(self._first[self._first >= 0])

    def bind(self, frame: int, x: np.ndarray) -> None:
        """Bind the tracks that are first seen in a frame to the body as it lies there, positions x [n, 3] [m].

        Those that are farther from it than ten noises and an edge stay unbound: they follow something else.
        """
        new = np.flatnonzero(self._first == frame)
        if not len(new):
            return
        y = self.positions[self._row[int(frame)], new]
        if self.rest is not None:
            y, x = self.rest[0][new], self.rest[1]
        spots = Spots.at(self.surface, y, x)
        corners = x[self.surface.elements]
        edge = float(np.median(np.linalg.norm(corners[:, 1] - corners[:, 0], axis=1)))
        away = np.linalg.norm(np.einsum("pk,pkd->pd", spots.weights, x[spots.nodes]) - y, axis=1)
        self._nodes[new], self._weights[new], self._height[new] = spots.nodes, spots.weights, spots.height
        self.bound[new] = away < FAR * self.sigma + edge + self.surface.half

    def linearise(self, frame: int, x: np.ndarray) -> Linear:
        """As every term: Linear at positions x [n, 3], as if the places where tracks were bound were exact."""
        residuals, slope, seen = self.apart(frame, x)
        return measured(residuals, seen, self._nodes, slope, len(x), self.sigma, self.sharp)

    def apart(self, frame: int, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Distances in axes that turn with the surface, so that a track bound beside its point errs alike in every frame.

        Returns:
            (simulated minus measured [m], shape [p, 3]; its derivative by the nodes' positions, shape [p, 3, k, 3]; whether it was seen).
        """
        place, slope = Spots(self._nodes, self._weights, self._height).places(x)
        row = self._row[int(frame)]
        axes = self._axes(x)
        residuals = np.einsum("pij,pj->pi", axes, np.where(self._seen[row, :, None], place - self.positions[row], 0.0))
        return residuals, np.einsum("pij,pjkd->pikd", axes, slope), self._seen[row] & self.bound

    def moved(self, slope: np.ndarray, displacements: np.ndarray) -> np.ndarray:
        """What `apart`'s derivative makes of displacements [..., n, 3]: [..., p, 3]."""
        return np.einsum("pikd,...pkd->...pi", slope, displacements[..., self._nodes, :], optimize=True)

    def pull(self, slope: np.ndarray, values: np.ndarray, particles: int) -> np.ndarray:
        """Its transpose: values [p, 3] to [particles, 3]."""
        out = np.zeros((particles, 3))
        np.add.at(out, self._nodes, np.einsum("pikd,pi->pkd", slope, values))
        return out

    def _axes(self, x):
        """Orthonormal axes of each track's triangle, rows of [p, 3, 3]; on rods, whose turn is not seen, those of the world."""
        if self.surface.is_rod:
            return np.broadcast_to(np.eye(3), (len(self._nodes), 3, 3))
        a, b, c = (x[self._nodes[:, k]] for k in range(3))
        first = b - a
        normal = np.cross(first, c - a)
        first, normal = (v / np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-300) for v in (first, normal))
        return np.stack([first, np.cross(normal, first), normal], axis=1)

    def data(self) -> list:
        """Arrays that make this term what it is, for a fingerprint."""
        return [self.frames, np.nan_to_num(self.positions, nan=-1e9)]
