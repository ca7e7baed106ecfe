"""A camera's mask as a term of a fit: the silhouette, both ways."""

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

from physsim.appearance.camera import Camera
from physsim.errors import InputError
from physsim.twin.linear import Linear, measured
from physsim.twin.surface import BodySurface

CONTOUR = 150  # pixels of the mask's border in a frame
INSIDE = 300  # places of the surface that must lie within the mask
COVER = 2000  # places of the surface that may cover the mask's border
HIDDEN = 0.02  # what was measured nearer than the surface by this share of its depth hides it
LARGEST = 640  # pixels along a side of the distance images; larger masks are thinned


class MaskTerm:
    """Distances in the image between the body's silhouette and the mask's [pixel].

    Places of the surface that are seen outside the mask are drawn to its border; pixels of the mask's border that no place of the surface
    covers draw the nearest one. Where depth shows something in front of the body the mask says nothing.

    Args:
        name: such as "mask".
        camera: Camera.
        frames: numbers of the frames, shape [f].
        masks: of each frame, bool [height, width].
        surface: BodySurface of triangles.
        sigma: standard deviation of a distance [pixel], above 0.
        depth: of each frame [m], [height, width] with NaN where nothing was measured, or None.
        seed: of the choice of pixels and places.

    Raises:
        InputError: masks of another size than the camera's, a rod.
    """

    def __init__(
        self,
        name: str,
        camera: Camera,
        frames: np.ndarray,
        masks: list,
        surface: BodySurface,
        sigma: float = 1.0,
        depth: list | None = None,
        seed: int = 0,
    ) -> None:
        if surface.is_rod:
            raise InputError("MaskTerm: a body of triangles is needed; rods are told by their points")
        self.name, self.camera, self.sigma, self.surface, self.sharp = name, camera, float(sigma), surface, True
        self.frames = np.asarray(frames, dtype=int)
        self._away, self._contour, self._hiding = {}, {}, {}
        for i, frame in enumerate(self.frames):
            mask = np.asarray(masks[i], dtype=bool)
            if mask.shape != (camera.height, camera.width):
                raise InputError(f"mask of frame {frame}: shape {list(mask.shape)}; the camera's is [{camera.height}, {camera.width}]")
            self._prepare(int(frame), mask, None if depth is None else depth[i], np.random.default_rng((seed, int(frame))))
        chance = np.random.default_rng(seed)
        self._places = chance.integers(len(surface.elements), size=COVER), chance.dirichlet(np.ones(3), COVER)

    @classmethod
    def of(cls, capture: object, camera: str, frames: np.ndarray, surface: BodySurface, seed: int = 0) -> "MaskTerm":
        """The term of a capture's camera; frames without a mask, or with an empty one, are left out."""
        stream = capture.mask[camera]
        kept = [int(f) for f in frames if stream[f] is not None and np.any(stream[f])]
        depth = capture.depth.get(camera)
        depths = None if depth is None else [depth[f] for f in kept]
        name = "mask" if len(capture.mask) == 1 else f"mask {camera}"
        sigma = max(float(capture.noise.get("mask", 1.0)), 0.3)
        return cls(name, capture.cameras[camera], np.array(kept, int), [stream[f] for f in kept], surface, sigma, depths, seed)

    def _prepare(self, frame, mask, depth, chance):
        step = max(1, int(np.ceil(max(mask.shape) / LARGEST)))
        outside = ndimage.distance_transform_edt(~mask)[::step, ::step]
        self._away[frame] = np.float32(outside), step
        border = mask & ~ndimage.binary_erosion(mask, border_value=1)
        pixels = np.argwhere(border)[:, ::-1].astype(float)
        self._contour[frame] = pixels[np.sort(chance.permutation(len(pixels))[:CONTOUR])]
        if depth is not None:
            near = np.where(np.isfinite(depth) & (depth > 0), depth, np.inf)
            self._hiding[frame] = np.float32(near[::step, ::step])

    def linearise(self, frame: int, x: np.ndarray) -> Linear:
        """As every term: Linear at positions x [n, 3]."""
        element, weights = self._places
        nodes = self.surface.elements[element]
        place = np.einsum("pk,pkd->pd", weights, x[nodes])
        pixels, depth = self.camera.project(place)
        seen = np.isfinite(pixels).all(axis=1)
        if self.surface.closed:
            normals = self.surface.normals(x)[element]
            seen &= np.einsum("pd,pd->p", normals, self.camera.position - place) > 0
        slopes = _pixel_slopes(self.camera, place, depth)
        parts = [self._within(int(frame), pixels, depth, seen, slopes), self._covering(int(frame), pixels, seen, slopes)]
        residuals, slope, believed, which = (np.concatenate(p) for p in zip(*parts, strict=True))
        coefficients = slope[:, :, None, :] * weights[which][:, None, :, None]
        linear = measured(residuals, believed, nodes[which], coefficients, len(x), self.sigma, self.sharp)
        errors = residuals[(believed > 0) & (np.abs(residuals).max(axis=1) > 0)]
        return Linear(linear.residuals, linear.weights, linear.apply, linear.shrink, linear.pull, errors[np.abs(errors) > 0])

    def _within(self, frame, pixels, depth, seen, slopes):
        """Distance of places from the mask, one row each (the second is empty)."""
        which = np.arange(INSIDE)
        away, step = self._away[frame]
        at = np.where(seen[which, None], pixels[which], 0.0)[:, ::-1] / step
        height, width = away.shape
        inside = seen[which] & (at >= 0).all(axis=1) & (at <= [height - 1, width - 1]).all(axis=1)
        row, column = (np.clip(np.floor(a).astype(int), 0, m - 2) for a, m in zip(at.T, (height, width), strict=True))
        v, u = at[:, 0] - row, at[:, 1] - column
        corners = [away[row + i, column + j].astype(float) for i in (0, 1) for j in (0, 1)]
        value = (1 - v) * ((1 - u) * corners[0] + u * corners[1]) + v * ((1 - u) * corners[2] + u * corners[3])
        by_u = ((1 - v) * (corners[1] - corners[0]) + v * (corners[3] - corners[2])) / step
        by_v = ((1 - u) * (corners[2] - corners[0]) + u * (corners[3] - corners[1])) / step
        if frame in self._hiding:
            down, right = (np.clip(np.rint(a).astype(int), 0, m - 1) for a, m in zip(at.T, (height, width), strict=True))
            nearest = self._hiding[frame][down, right]
            inside &= nearest > (1 - HIDDEN) * depth[which]
        beyond = value > 0.5  # the border runs half a pixel from the centres of the mask's outermost ones
        value, by_u, by_v = (np.where(beyond, part, 0.0) for part in (value - 0.5, by_u, by_v))
        slope = by_u[:, None] * slopes[which, 0] + by_v[:, None] * slopes[which, 1]
        return np.stack([value, 0 * value], 1), np.stack([slope, 0 * slope], 1), inside.astype(float), which

    def _covering(self, frame, pixels, seen, slopes):
        """From the nearest place's pixel to each pixel of the contour, less the places' spacing, two rows each."""
        contour = self._contour[frame]
        index = np.flatnonzero(seen)
        if not len(index):
            none = np.zeros(len(contour), int)
            return np.zeros((len(contour), 2)), np.zeros((len(contour), 2, 3)), np.zeros(len(contour)), none
        tree = cKDTree(pixels[index])
        distance, near = tree.query(contour)
        # two neighbours: half of the usual gap between places counts as covered
        spacing = float(np.median(tree.query(pixels[index], k=min(4, len(index)))[0][:, -1]))
        which = index[near]
        share = np.maximum(0.0, 1.0 - spacing / np.maximum(distance, 1e-9))
        residuals = share[:, None] * (pixels[which] - contour)
        slope = np.where(share[:, None, None] > 0, slopes[which], 0.0)
        return residuals, slope, np.ones(len(contour)), which

    def data(self) -> list:
        """Arrays that make this term what it is, for a fingerprint."""
        return [self.frames, *(self._contour[int(f)] for f in self.frames)]


def _pixel_slopes(camera, place, depth):
    """Derivative of the pixels by the places, shape [p, 2, 3], by central differences: any lens."""
    step = 1e-5 * np.maximum(np.abs(depth), camera.near)[:, None]
    out = np.empty((len(place), 2, 3))
    for k in range(3):
        shift = step * np.eye(3)[k]
        out[:, :, k] = (camera.project(place + shift)[0] - camera.project(place - shift)[0]) / (2 * step)
    return np.nan_to_num(out)
