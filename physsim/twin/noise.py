"""How noisy a capture's data are, from the data alone: before anything is fitted, and where the capture does not say."""

from math import comb

import numpy as np
from scipy.spatial import cKDTree

from physsim.twin.linear import deviation

NEIGHBOURS = 16
LARGEST = 4000  # points that are looked at


def track_noise(positions: np.ndarray) -> float:
    """Standard deviation of one coordinate [m] of tracks [f, p, 3], NaN where not seen: from differences in time.

    A difference of order k has comb(2k, k) times the noise's variance; motion adds to it, less at higher order the smoother it is.
    The smallest of the orders 2 to 4 counts. NaN where no track is seen in three frames running.
    """
    found = []
    for order in (2, 3, 4):
        if len(positions) > order:
            difference = np.diff(positions, n=order, axis=0)
            difference = difference[np.isfinite(difference)]
            if difference.size:
                found.append(deviation(difference) / np.sqrt(comb(2 * order, order)))
    return float(min(found)) if found else float("nan")


def cloud_noise(points: np.ndarray) -> float:
    """Standard deviation [m] of points [n, 3] across the surface that they lie on: from planes through neighbours; NaN of too few."""
    if len(points) < NEIGHBOURS + 1:
        return float("nan")
    tree = cKDTree(points)
    some = points[:: max(1, len(points) // LARGEST)]
    _, near = tree.query(some, k=NEIGHBOURS)
    patch = points[near] - points[near].mean(axis=1, keepdims=True)
    least = np.linalg.eigvalsh(np.einsum("nki,nkj->nij", patch, patch))[:, 0]
    return float(np.sqrt(np.median(np.maximum(least, 0.0)) / (NEIGHBOURS - 3)))
