"""How far what was seen lies from what was simulated: points and surfaces, depth images, silhouettes.

    one-way Chamfer   mean over data points p of min over the surface s of |p - s|                                   [m]
    two-way Chamfer   mean of the one-way Chamfer and of: mean over surface points s that cameras could see of min over data |s - p|  [m]
    Chamfer L1        mean over data points p of min over surface vertices v of |p - v|_1                            [m]
    depth error       median over pixels that both show of |depth simulated - depth measured|                        [m]
    IoU               pixels in both silhouettes / pixels in either, without those where something stands in front   [-]

The one-way distance is taken to the surface itself, not to points sampled on it, so that a coarse mesh is not charged for its spacing. With
noise of standard deviation s along the surface's normal and a perfect model it is sqrt(2 / pi) s = 0.8 s. Chamfer L1 is what PhysTwin's
evaluation reports (Jiang et al., "PhysTwin", 2025: single direction, L1, from measured points to simulated surface points); it contains the
spacing of the vertices. Distances are not squared.
"""

import warnings

import numpy as np
from scipy.spatial import cKDTree

from physsim.appearance.camera import Camera
from physsim.appearance.nearest import nearest_element

IN_FRONT = 0.01  # an unmasked measurement that is nearer than the model by more than this stands before it [m]
SIGMAS = 4.0  # or by more than so many standard deviations of depth


def surface_distances(points: np.ndarray, vertices: np.ndarray, triangles: np.ndarray, half: float = 0.0) -> np.ndarray:
    """Distance of each point to a triangle surface [m], shape [m].

    Args:
        points: [m], shape [m, 3].
        vertices: [m], shape [v, 3].
        triangles: shape [t, 3].
        half: from the triangles to what can be seen, of a sheet half its thickness [m].
    """
    if len(points) == 0:
        return np.zeros(0)
    return np.abs(nearest_element(np.asarray(points, dtype=float), vertices[triangles])[2] - half)


def cloud_distances(points: np.ndarray, cloud: np.ndarray) -> np.ndarray:
    """Distance of each point to the nearest of a cloud [m], shape [m]; NaN where the cloud is empty."""
    if len(cloud) == 0 or len(points) == 0:
        return np.full(len(points), np.nan)
    return cKDTree(cloud).query(points)[0]


def chamfer_l1(points: np.ndarray, vertices: np.ndarray) -> float:
    """Mean L1 distance of points [m, 3] to the nearest vertex [v, 3] in that norm [m]; NaN where there is nothing."""
    if len(points) == 0 or len(vertices) == 0:
        return float("nan")
    return float(cKDTree(vertices).query(points, p=1)[0].mean())


def evenly_chosen(points: np.ndarray, most: int) -> np.ndarray:
    """At most `most` of the points, evenly by their order in the list: the same points for every predictor."""
    if len(points) <= most:
        return points
    return points[np.linspace(0, len(points) - 1, most).astype(int)]


class Eye:
    """What one camera sees of a surface that moves: depth and silhouette, by a ray through each pixel's centre.

    Args:
        camera: Camera.
        triangles: indices into the vertices that are given to `look`, shape [t, 3].
    """

    def __init__(self, camera: Camera, triangles: np.ndarray) -> None:
        self.camera, self._triangles, self._surface = camera, triangles, None

    def look(self, vertices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Depth [m], NaN off the surface, and whether it is seen, both [height, width], of vertices [v, 3] [m]."""
        from physsim.appearance.meshes import Surface, render_surfaces

        if self._surface is None:
            self._surface = Surface(vertices, self._triangles)
        else:
            self._surface = self._surface.deformed(vertices)
        image = render_surfaces([self._surface], self.camera)
        seen = image.alpha.numpy() > 0.5
        return np.where(seen, image.depth.numpy(), np.nan), seen


def hidden(depth: np.ndarray, measured: np.ndarray | None, mask: np.ndarray | None, sigma: float = 0.0) -> np.ndarray:
    """Pixels of the model before which something else stands, such as a hand, shape [height, width].

    Only a mask can tell: there the camera measured something nearer that the mask does not count to the body.

    Args:
        depth: of the model [m], NaN: it is not there.
        measured: depth image [m], NaN: not measured; or None.
        mask: True on the body; or None.
        sigma: standard deviation of the measured depth [m].
    """
    if measured is None or mask is None:
        return np.zeros(depth.shape, bool)
    with np.errstate(invalid="ignore"):
        return ~mask & (measured < depth - max(IN_FRONT, SIGMAS * sigma))


def could_see(depth: np.ndarray, measured: np.ndarray | None, mask: np.ndarray | None, sigma: float = 0.0) -> np.ndarray:
    """Pixels of the model of which the camera tells whether the body is there, shape [height, width]; arguments as for `hidden`.

    That is where the model is seen and nothing stands before it, and the camera measured some depth or, without one, has a mask that
    says that the body is not there. A hole in the depth image within the mask tells nothing. Without any depth image all that is seen
    counts.
    """
    seen = np.isfinite(depth)
    if measured is None:
        return seen
    told = np.isfinite(measured) | (np.zeros(depth.shape, bool) if mask is None else ~mask)
    return seen & told & ~hidden(depth, measured, mask, sigma)


def depth_error(depth: np.ndarray, measured: np.ndarray, mask: np.ndarray | None) -> float:
    """Median of |model - measured| over pixels of the body that both show [m]; NaN where there are none."""
    both = np.isfinite(depth) & np.isfinite(measured) & (measured > 0.0)
    if mask is not None:
        both &= mask
    return float(np.median(np.abs(depth - measured)[both])) if both.any() else float("nan")


def overlap(seen: np.ndarray, mask: np.ndarray, ignored: np.ndarray) -> float:
    """Intersection over union of two silhouettes without the ignored pixels [-]; 1 where both are empty."""
    either = (seen | mask) & ~ignored
    return float((seen & mask & ~ignored).sum() / either.sum()) if either.any() else 1.0


def strayed(positions: np.ndarray, visible: np.ndarray, neighbours: int = 8, growth: float = 0.5) -> np.ndarray:
    """Tracks that have left what they were followed on, by the data alone, shape [frames, p].

    A track strays in a frame where it is farther from most of its neighbours than `1 + growth` times what it was in the first frame in
    which both were seen, and by more than five times what is usual there: the body would have torn. No simulation is asked, so that the
    same tracks are set aside whoever predicts.

    Args:
        positions: [m], shape [frames, p, 3].
        visible: shape [frames, p].
        neighbours: that each is held against, those nearest in the frame in which most are seen.
        growth: [-].
    """
    frames, count = visible.shape
    if count < 4:
        return np.zeros((frames, count), bool)
    neighbours = min(neighbours, count - 1)
    whole = positions[np.argmax(visible.sum(axis=1))]
    known = np.flatnonzero(np.isfinite(whole).all(axis=1))
    if len(known) <= neighbours:
        return np.zeros((frames, count), bool)
    near = np.zeros((count, neighbours), dtype=int)
    near[known] = known[cKDTree(whole[known]).query(whole[known], k=neighbours + 1)[1][:, 1:]]
    # [frames, p, k], NaN where one is not seen; neighbour by neighbour, which takes a third of the memory of all at once
    apart = np.stack([np.linalg.norm(positions - positions[:, one], axis=-1) for one in near.T], axis=-1)
    first = np.argmax(np.isfinite(apart), axis=0)
    before = np.take_along_axis(apart, first[None], axis=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a track without a visible neighbour has no median, and has not strayed
        grown = np.nanmedian(apart - before, axis=2)
        share = np.nanmedian((apart - before) / np.maximum(before, 1e-12), axis=2)
        usual = np.nanmedian(np.abs(grown), axis=1, keepdims=True)
    lost = np.zeros((frames, count), bool)
    lost[:, known] = ((share > growth) & (grown > 5.0 * usual))[:, known]
    return lost & visible
