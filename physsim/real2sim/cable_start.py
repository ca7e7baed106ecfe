"""The start of a cable's motion from noisy markers: a line and a velocity that do not stretch it.

A millimetre of noise between markers eight centimetres apart would be two percent of strain, which a cable answers with a blow.
"""

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.optimize import least_squares

STRAIN = 1e-4  # of an edge that weighs as much as one noise of a marker
ROUGHNESS = 0.02  # change of the turn from one vertex to the next that weighs as much [rad]
SPEED = 0.02  # error of a marker's velocity that is expected [m/s]
STRAIN_RATE, SPIN_CHANGE = 1e-3, 1.0  # [1/s]


def initial_line(curve, nodes, markers, clamps, noise):
    """Centreline [n, 3] near markers, of the rest lengths and smooth.

    Args:
        curve: Curve with both ends gripped.
        nodes: points of the curve that the markers are, shape [p].
        markers: [m], shape [p, 3].
        clamps: the first two and the last two points [m], shape [4, 3]; they stay.
        noise: standard deviation of a marker [m].
    """
    arc, lengths = curve.arc, curve.lengths
    known = np.concatenate([[1], nodes, [curve.point_count - 2]])
    slopes = (clamps[1] - clamps[0]) / lengths[0], (clamps[3] - clamps[2]) / lengths[-1]
    spline = CubicSpline(arc[known], np.concatenate([clamps[1:2], markers, clamps[2:3]]), bc_type=((1, slopes[0]), (1, slopes[1])))
    line = spline(arc)
    line[[0, 1, -2, -1]] = clamps

    def residuals(free):
        x = line.copy()
        x[2:-2] = free.reshape(-1, 3)
        edges = np.diff(x, axis=0)
        strain = np.linalg.norm(edges, axis=1) / lengths - 1
        along = edges / lengths[:, None]
        return np.concatenate(
            [((x[nodes] - markers) / noise).ravel(), strain[1:-1] / STRAIN, (np.diff(along, n=2, axis=0) / ROUGHNESS).ravel()]
        )

    found = least_squares(residuals, line[2:-2].ravel(), x_scale=1e-3, xtol=1e-10, max_nfev=50)
    line[2:-2] = found.x.reshape(-1, 3)
    return line


def initial_velocity(curve, line, nodes, speeds, clamps):
    """Velocity [n, 3] near the markers' that does not stretch the line; `clamps` [4, 3] and `speeds` [p, 3] in m/s."""
    n, lengths = curve.point_count, curve.lengths
    along = np.diff(line, axis=0)
    along /= np.linalg.norm(along, axis=1)[:, None]
    difference = np.diff(np.eye(n), axis=0) / lengths[:, None]
    three = np.eye(3)
    seen = np.kron(np.eye(n)[nodes], three) / SPEED
    strain = np.einsum("en,ec->enc", difference, along).reshape(n - 1, 3 * n) / STRAIN_RATE
    rough = np.kron(np.diff(difference, n=2, axis=0), three) / SPIN_CHANGE
    matrix = np.concatenate([seen, strain, rough])
    right = np.concatenate([speeds.ravel() / SPEED, np.zeros(len(strain) + len(rough))])
    out = np.zeros((n, 3))
    out[[0, 1, -2, -1]] = clamps
    right = right - matrix @ out.ravel()
    free = np.arange(3 * 2, 3 * (n - 2))
    out[2:-2] = np.linalg.lstsq(matrix[:, free], right, rcond=None)[0].reshape(-1, 3)
    return out
