"""Where OpenCV's lens model holds: how far from the axis it turns back, and which directions an image shows."""

import numpy as np

WIDE = 1.3  # times the view: beyond, the projection's Jacobian is that of the edge, as 3DGS has it
UNBOUNDED = 1e30


def coefficients(distortion):
    """k1, k2, p1, p2, k3, k4, k5, k6, of which OpenCV's lists of 0, 4, 5 or 8 leave out the last ones."""
    return tuple(float(k) for k in distortion) + (0.0,) * (8 - len(distortion))


def fold(distortion):
    """Squared distance (of x / z, y / z from the axis) at which the radial distortion ceases to grow; `UNBOUNDED` where it never does.

    Beyond it the model brings what stands outside the view back into it. It is the least positive root in s = r^2 of
    d/dr (r N / D) = ((N + 2 s N') D - 2 s N D') / D^2, or of D, where N / D is the radial factor.
    """
    k1, k2, _, _, k3, k4, k5, k6 = coefficients(distortion)
    top, below = np.polynomial.Polynomial([1.0, k1, k2, k3]), np.polynomial.Polynomial([1.0, k4, k5, k6])
    s = np.polynomial.Polynomial([0.0, 1.0])
    slope = (top + 2 * s * top.deriv()) * below - 2 * s * top * below.deriv()
    roots = np.concatenate([slope.trim().roots(), below.trim().roots()])
    real = roots[np.abs(roots.imag) < 1e-9 * (1.0 + np.abs(roots))].real
    return float(min(real[real > 0.0], default=UNBOUNDED))


def distorted(distortion, x, y):
    """Points (x / z, y / z) after distortion, as OpenCV's `projectPoints` has it."""
    k1, k2, p1, p2, k3, k4, k5, k6 = coefficients(distortion)
    r = x * x + y * y
    radial = (1 + r * (k1 + r * (k2 + r * k3))) / (1 + r * (k4 + r * (k5 + r * k6)))
    return x * radial + 2 * p1 * x * y + p2 * (r + 2 * x * x), y * radial + p1 * (r + 2 * y * y) + 2 * p2 * x * y


def directions(camera):
    """Least and greatest x / z and y / z around an image's edge, without distortion: ((x, y), (x, y)).

    Found by fixed-point iteration, as OpenCV's `undistortPoints`; a point that does not settle counts as its distorted self.
    """
    u = np.array([0.0, 0.5, 1.0, 1.0, 1.0, 0.5, 0.0, 0.0]) * camera.width - 0.5
    v = np.array([0.0, 0.0, 0.0, 0.5, 1.0, 1.0, 1.0, 0.5]) * camera.height - 0.5
    goal = np.stack([(u - camera.centre[0]) / camera.focal[0], (v - camera.centre[1]) / camera.focal[1]])
    points = goal.copy()
    if camera.distortion:
        with np.errstate(all="ignore"):
            for _ in range(50):
                points = points + goal - distorted(camera.distortion, *points)
            off = np.abs(np.stack(distorted(camera.distortion, *points)) - goal).max(axis=0)
        points = np.where(off < 1e-6, points, goal)
    return points.min(axis=1), points.max(axis=1)
