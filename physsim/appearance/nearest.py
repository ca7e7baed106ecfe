"""The nearest element of a mesh to each of many points, and where on it: by a k-d tree over the elements' middles, exactly."""

import numpy as np
from scipy.spatial import cKDTree

PAIRS = 400_000  # of points and elements that are held against each other at a time


def closest_on_simplex(points: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Weights of the corners in the point of a simplex that is closest to each point.

    Args:
        points: [m], shape [n, 3].
        corners: of a segment or triangle a point [m], shape [n, k, 3], k = 2 or 3.

    Returns:
        Weights, none negative, adding up to 1, shape [n, k].
    """
    a = corners[:, 0]
    if corners.shape[1] == 2:
        side = corners[:, 1] - a
        t = np.clip(((points - a) * side).sum(-1) / np.maximum((side * side).sum(-1), 1e-300), 0.0, 1.0)
        return np.stack([1.0 - t, t], axis=1)
    weights = plane_weights(points, corners)
    outside = np.flatnonzero(weights.min(axis=1) < 0.0)
    if len(outside) == 0:
        return weights
    p, c = points[outside], corners[outside]
    best = np.full(len(p), np.inf)
    for i, j in ((0, 1), (1, 2), (2, 0)):
        ends = closest_on_simplex(p, c[:, [i, j]])
        away = ((np.einsum("nk,nkd->nd", ends, c[:, [i, j]]) - p) ** 2).sum(-1)
        nearer = np.flatnonzero(away < best)
        best[nearer] = away[nearer]
        rows = outside[nearer]
        weights[rows] = 0.0
        weights[rows, i], weights[rows, j] = ends[nearer, 0], ends[nearer, 1]
    return weights


def plane_weights(points: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Barycentric coordinates of the foot of each point in the plane of its triangle [n, 3, 3], shape [n, 3]."""
    u, v, arm = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0], points - corners[:, 0]
    normal = np.cross(u, v)
    square = np.maximum((normal * normal).sum(-1), 1e-300)
    second = (np.cross(arm, v) * normal).sum(-1) / square
    third = (np.cross(u, arm) * normal).sum(-1) / square
    return np.stack([1.0 - second - third, second, third], axis=1)


def nearest_element(points: np.ndarray, corners: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The nearest segment or triangle to each point.

    Args:
        points: [m], shape [n, 3].
        corners: [m], shape [elements, 2 or 3, 3].

    Returns:
        (element [n], weights of its corners in the nearest point of it [n, 2 or 3], distance [m], shape [n]).
    """

    def measure(at: np.ndarray, which: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        weights = closest_on_simplex(points[at], corners[which])
        return np.linalg.norm(np.einsum("nk,nkd->nd", weights, corners[which]) - points[at], axis=1), weights

    return _least(points, corners, measure)


def containing_tetrahedron(points: np.ndarray, corners: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The tetrahedron that each point lies in.

    Args:
        points: [m], shape [n, 3].
        corners: [m], shape [elements, 4, 3].

    Returns:
        (element [n], barycentric coordinates [n, 4], whether it lies in it [n]); of points in none, one that is near.
    """
    inverse = np.linalg.inv(np.swapaxes(corners[:, 1:] - corners[:, :1], 1, 2))

    def measure(at: np.ndarray, which: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        local = np.einsum("nij,nj->ni", inverse[which], points[at] - corners[which, 0])
        weights = np.concatenate([1.0 - local.sum(axis=1, keepdims=True), local], axis=1)
        return -weights.min(axis=1), weights

    element, weights, outside = _least(points, corners, measure)
    return element, weights, outside <= 1e-9


def _least(points: np.ndarray, corners: np.ndarray, measure) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(element, weights, measure) for which a measure is least, among the elements that can hold the nearest point.

    The element next to a point has its middle within the distance of the nearest middle plus the largest radius of an element.
    """
    middles = corners.mean(axis=1)
    radius = np.linalg.norm(corners - middles[:, None], axis=-1).max()
    tree = cKDTree(middles)
    reach = tree.query(points)[0] + radius * (1.0 + 1e-9)
    counts = tree.query_ball_point(points, reach, return_length=True)
    element = np.zeros(len(points), dtype=np.int64)
    weights, least = np.zeros((len(points), corners.shape[1])), np.zeros(len(points))
    ends = np.cumsum(counts)
    start = 0
    while start < len(points):  # a slice of points at a time, so that memory stays bounded
        before = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + PAIRS, side="right")))
        lists = tree.query_ball_point(points[start:stop], reach[start:stop], return_sorted=True)
        which = np.concatenate([np.asarray(found, dtype=np.int64) for found in lists])
        at = np.repeat(np.arange(start, stop), counts[start:stop])
        found, w = measure(at, which)
        order = np.lexsort((found, at))
        first = order[np.searchsorted(at, np.arange(start, stop))]
        element[start:stop], weights[start:stop], least[start:stop] = which[first], w[first], found[first]
        start = stop
    return element, weights, least
