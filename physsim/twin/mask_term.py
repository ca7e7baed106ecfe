"""A camera's mask as a term of a fit: the silhouette, both ways."""

import numpy as np
from scipy import ndimage

from physsim.appearance.camera import Camera
from physsim.errors import InputError
from physsim.twin.linear import Linear, measured
from physsim.twin.surface import BodySurface

CONTOUR = 150  # places of the mask's border in a frame
INSIDE = 300  # places of the surface that must lie within the mask
BEYOND = 1.0  # from the centre of the mask's nearest pixel at most [pixel]: what is nearer may be in it
HIDDEN = 0.02  # what was measured nearer than the surface by this share of its depth hides it
AROUND = 5  # pixels along a side of the window in which depth is looked for
LARGEST = 640  # pixels along a side of the distance images; larger masks are thinned


class MaskTerm:
    """Distances in the image between the body's silhouette and the mask's [pixel].

    Places of the mask's border, midway between a pixel in it and one outside, draw the nearest edge of the body's silhouette whose outer
    side is theirs. Places of the surface that are seen outside the mask are drawn to it besides. Where depth shows something in front
    of the body the mask says nothing.

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
        self._away, self._contour, self._outward, self._hiding = {}, {}, {}, {}
        for i, frame in enumerate(self.frames):
            mask = np.asarray(masks[i], dtype=bool)
            if mask.shape != (camera.height, camera.width):
                raise InputError(f"mask of frame {frame}: shape {list(mask.shape)}; the camera's is [{camera.height}, {camera.width}]")
            self._prepare(int(frame), mask, None if depth is None else depth[i], np.random.default_rng((seed, int(frame))))
        chance = np.random.default_rng(seed)
        self._places = chance.integers(len(surface.elements), size=INSIDE), chance.dirichlet(np.ones(3), INSIDE)

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
        border, outward = _border(mask, depth)
        chosen = np.sort(chance.permutation(len(border))[:CONTOUR])
        self._contour[frame], self._outward[frame] = border[chosen], outward[chosen]
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
        value, slope, inside = self._within(int(frame), pixels, depth, seen, slopes)
        off, along, ends, shares, matched = self._along_border(int(frame), x)
        residuals = np.concatenate([value, off])[:, None]
        believed = np.concatenate([inside, matched])
        ends, shares = np.column_stack([ends, ends[:, :1]]), np.column_stack([shares, np.zeros(len(shares))])  # three nodes, as places
        nodes = np.concatenate([nodes, ends])
        coefficients = np.concatenate([slope, along])[:, None, None, :] * np.concatenate([weights, shares])[:, None, :, None]
        linear = measured(residuals, believed, nodes, coefficients, len(x), self.sigma, self.sharp)
        return Linear(linear.residuals, linear.weights, linear.apply, linear.shrink, linear.pull, off[matched > 0])

    def _within(self, frame, pixels, depth, seen, slopes):
        """(How far places lie from the mask [p], slopes by the places [p, 3], whether they count [p])."""
        away, step = self._away[frame]
        at = np.where(seen[:, None], pixels, 0.0)[:, ::-1] / step
        height, width = away.shape
        inside = seen & (at >= 0).all(axis=1) & (at <= [height - 1, width - 1]).all(axis=1)
        row, column = (np.clip(np.floor(a).astype(int), 0, m - 2) for a, m in zip(at.T, (height, width), strict=True))
        v, u = at[:, 0] - row, at[:, 1] - column
        corners = [away[row + i, column + j].astype(float) for i in (0, 1) for j in (0, 1)]
        value = (1 - v) * ((1 - u) * corners[0] + u * corners[1]) + v * ((1 - u) * corners[2] + u * corners[3])
        by_u = ((1 - v) * (corners[1] - corners[0]) + v * (corners[3] - corners[2])) / step
        by_v = ((1 - u) * (corners[2] - corners[0]) + u * (corners[3] - corners[1])) / step
        if frame in self._hiding:
            down, right = (np.clip(np.rint(a).astype(int), 0, m - 1) for a, m in zip(at.T, (height, width), strict=True))
            inside &= self._hiding[frame][down, right] > (1 - HIDDEN) * depth
        beyond = value > BEYOND * step
        value, by_u, by_v = (np.where(beyond, part, 0.0) for part in (value - BEYOND * step, by_u, by_v))
        return value, by_u[:, None] * slopes[:, 0] + by_v[:, None] * slopes[:, 1], inside.astype(float)

    def _along_border(self, frame, x):
        """(Distance of silhouette edges from the mask's border, outwards [c]; slopes by the foot [c, 3]; the edge's ends and their shares
        [c, 2]; whether there is such an edge [c])."""
        border, outward = self._contour[frame], self._outward[frame]
        edges, inner = self.surface.silhouette(x, self.camera.position)
        pixels = self.camera.project(x)[0]
        good = np.isfinite(pixels[edges]).all(axis=(1, 2)) & np.isfinite(pixels[inner]).all(axis=1)
        edges, inner = edges[good], inner[good]
        if not len(edges) or not len(border):
            none = np.zeros(len(border))
            return none, np.zeros((len(border), 3)), np.zeros((len(border), 2), int), np.zeros((len(border), 2)), none
        first, second = pixels[edges[:, 0]], pixels[edges[:, 1]]
        along = second - first
        length = np.maximum((along**2).sum(axis=1), 1e-12)
        normal = np.stack([along[:, 1], -along[:, 0]], axis=1) / np.sqrt(length)[:, None]
        normal *= np.where(np.einsum("sd,sd->s", normal, pixels[inner] - first) > 0.0, -1.0, 1.0)[:, None]
        arm = border[:, None] - first
        share = np.clip(np.einsum("csd,sd->cs", arm, along) / length, 0.0, 1.0)
        distance = np.linalg.norm(arm - share[..., None] * along, axis=2)
        distance = np.where(outward @ normal.T > 0.0, distance, np.inf)
        best = distance.argmin(axis=1)
        rows = np.arange(len(border))
        share, normal = share[rows, best], normal[best]
        shares = np.stack([1.0 - share, share], axis=1)
        place = np.einsum("ck,ckd->cd", shares, x[edges[best]])
        shown, depth = self.camera.project(place)
        slope = np.einsum("cd,cdk->ck", normal, _pixel_slopes(self.camera, place, depth))
        matched = np.isfinite(distance[rows, best]) & np.isfinite(shown).all(axis=1)
        off = np.einsum("cd,cd->c", normal, np.nan_to_num(shown) - border)
        return np.where(matched, off, 0.0), slope, edges[best], shares, matched.astype(float)

    def data(self) -> list:
        """Arrays that make this term what it is, for a fingerprint."""
        return [self.frames, *(self._contour[int(f)] for f in self.frames)]


def _border(mask, depth):
    """Places midway between pixels of the mask and their neighbours outside it [pixel], and the ways out, each [b, 2].

    Where depth shows that what is outside stands in front, the body may go on behind it.
    """
    kept = mask.copy()
    if depth is not None:
        deep = np.where(np.isfinite(depth) & (depth > 0), depth, np.inf)
        own = ndimage.minimum_filter(np.where(mask, deep, np.inf), AROUND)
        other = ndimage.minimum_filter(np.where(mask, np.inf, deep), AROUND)
        kept &= ~(other < (1 - HIDDEN) * own)
    beyond = np.pad(mask, 1, constant_values=True)  # what is cut off by the picture's rim goes on there
    height, width = mask.shape
    places, ways = [], []
    for way in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        outside = ~beyond[1 + way[1] :, 1 + way[0] :][:height, :width]
        found = np.argwhere(kept & outside)[:, ::-1].astype(float)
        places.append(found + 0.5 * np.array(way))
        ways.append(np.broadcast_to(np.array(way, float), found.shape))
    return np.concatenate(places), np.concatenate(ways)


def _pixel_slopes(camera, place, depth):
    """Derivative of the pixels by the places, shape [p, 2, 3], by central differences: any lens."""
    step = 1e-5 * np.maximum(np.abs(depth), camera.near)[:, None]
    out = np.empty((len(place), 2, 3))
    for k in range(3):
        shift = step * np.eye(3)[k]
        out[:, :, k] = (camera.project(place + shift)[0] - camera.project(place - shift)[0]) / (2 * step)
    return np.nan_to_num(out)
