"""The start of a cable's motion from noisy markers: a line and a velocity that do not stretch it.

A millimetre of noise between markers eight centimetres apart would be two percent of strain, which a cable answers with a blow.
"""

import numpy as np
from scipy.interpolate import CubicSpline

from physsim.physics.solvers.linear import one_blas_thread

STRAIN = 1e-4  # of an edge that weighs as much as one noise of a marker
ROUGHNESS = 0.02  # change of the turn from one vertex to the next that weighs as much [rad]
SPEED = 0.02  # error of a marker's velocity that is expected [m/s]
MOST = 50  # iterations
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

    difference = np.diff(np.eye(curve.point_count), axis=0) / lengths[:, None]
    seen = np.kron(np.eye(curve.point_count)[nodes], np.eye(3)) / noise
    rough = np.kron(np.diff(difference, n=2, axis=0), np.eye(3)) / ROUGHNESS
    for _ in range(MOST):  # Gauss-Newton; only the strain is not linear
        along = difference @ line
        size = np.linalg.norm(along, axis=1)
        strain = np.einsum("en,ec->enc", difference, along / size[:, None]).reshape(len(lengths), -1) / STRAIN
        right = np.concatenate([markers.ravel() / noise - seen @ line.ravel(), (1 - size) / STRAIN, -rough @ line.ravel()])
        with one_blas_thread():
            step = np.linalg.lstsq(np.concatenate([seen, strain, rough])[:, 6:-6], right, rcond=None)[0].reshape(-1, 3)
        line[2:-2] += step
        if np.abs(step).max() < 1e-3 * noise:
            break
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
    with one_blas_thread():
        out[2:-2] = np.linalg.lstsq(matrix[:, 6:-6], right, rcond=None)[0].reshape(-1, 3)
    return out
