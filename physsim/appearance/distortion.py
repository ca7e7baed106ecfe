"""The lens model of OpenCV: how distortion bends rays, and back.

    x'' = x g + 2 p1 x y + p2 (s + 2 x^2),   y'' = y g + p1 (s + 2 y^2) + 2 p2 x y,   s = x^2 + y^2,
    g = (1 + k1 s + k2 s^2 + k3 s^3) / (1 + k4 s + k5 s^2 + k6 s^3)

with (x, y) = (X / Z, Y / Z) of a point in the camera's frame. Source: OpenCV, "Camera Calibration and 3D Reconstruction", calib3d.

Far from the axis the polynomials turn back: two directions would then share a pixel. The model holds out to `limit`, where the image
radius stops growing; beyond it nothing is imaged.
"""

import numpy as np

_ITERATIONS = 30  # Newton converges in 3 to 6; near the limit, where the Jacobian fades, in a dozen
_TOLERANCE = 1e-11  # of x'' and y''; a pixel is 1e-3 or so


def coefficients(distortion):
    """(k1, k2, p1, p2, k3, k4, k5, k6), absent ones 0."""
    return np.concatenate([np.asarray(distortion, dtype=float), np.zeros(8 - len(distortion))])


def limit(distortion) -> float:
    """Largest sqrt(x^2 + y^2) up to which the image radius grows; inf where it always does."""
    if not len(distortion):
        return np.inf
    k1, k2, _, _, k3, k4, k5, k6 = coefficients(distortion)
    above, below = np.polynomial.Polynomial([1.0, k1, k2, k3]), np.polynomial.Polynomial([1.0, k4, k5, k6])
    s = np.polynomial.Polynomial([0.0, 1.0])
    # d/dr (r above(r^2) / below(r^2)) is turn / below^2; the radius also ends at a pole
    turn = (above + 2.0 * s * above.deriv()) * below - 2.0 * s * above * below.deriv()
    roots = np.concatenate([polynomial.trim(0.0).roots() for polynomial in (turn, below)])
    real = roots.real[(np.abs(roots.imag) < 1e-9 * (1.0 + np.abs(roots))) & (roots.real > 0.0)]
    return float(np.sqrt(real.min())) if len(real) else np.inf


def distort(directions: np.ndarray, distortion) -> tuple[np.ndarray, np.ndarray]:
    """Distorted coordinates and their Jacobian.

    Args:
        directions: (x, y) = (X / Z, Y / Z), shape [..., 2].
        distortion: 4, 5 or 8 coefficients.

    Returns:
        (x'', y''), shape [..., 2], and d(x'', y'') / d(x, y), shape [..., 2, 2].
    """
    k1, k2, p1, p2, k3, k4, k5, k6 = coefficients(distortion)
    x, y = directions[..., 0], directions[..., 1]
    s = x * x + y * y
    above, below = 1.0 + s * (k1 + s * (k2 + s * k3)), 1.0 + s * (k4 + s * (k5 + s * k6))
    g = above / below
    slope = ((k1 + s * (2.0 * k2 + s * 3.0 * k3)) - g * (k4 + s * (2.0 * k5 + s * 3.0 * k6))) / below  # dg / ds
    bent = np.stack([x * g + 2.0 * p1 * x * y + p2 * (s + 2.0 * x * x), y * g + p1 * (s + 2.0 * y * y) + 2.0 * p2 * x * y], axis=-1)
    across = 2.0 * x * y * slope + 2.0 * p1 * x + 2.0 * p2 * y
    first = np.stack([g + 2.0 * x * x * slope + 2.0 * p1 * y + 6.0 * p2 * x, across], axis=-1)
    second = np.stack([across, g + 2.0 * y * y * slope + 6.0 * p1 * y + 2.0 * p2 * x], axis=-1)
    return bent, np.stack([first, second], axis=-2)


def undistort(bent: np.ndarray, distortion) -> np.ndarray:
    """Directions that the lens images at the given distorted coordinates.

    Newton's method on both coordinates, started from the inverse of the radial part.

    Args:
        bent: (x'', y''), shape [..., 2].
        distortion: 4, 5 or 8 coefficients.

    Returns:
        (x, y), shape [..., 2], to 1e-11; NaN where no direction within the model's limit is imaged.
    """
    bent = np.asarray(bent, dtype=float)
    flat = bent.reshape(-1, 2)
    end = limit(distortion)
    result = np.full(flat.shape, np.nan)
    open_rays = np.flatnonzero(np.isfinite(flat).all(axis=1))
    guess = _radial_start(flat[open_rays], distortion, end)
    for _ in range(_ITERATIONS):
        if not len(open_rays):
            break
        reached, slope = distort(guess, distortion)
        gap = flat[open_rays] - reached
        a, b, c, d = slope[:, 0, 0], slope[:, 0, 1], slope[:, 1, 0], slope[:, 1, 1]
        determinant = a * d - b * c
        done = np.abs(gap).max(axis=1) < _TOLERANCE
        inside = (np.hypot(*guess.T) < end) & (determinant > 0.0)
        result[open_rays[done & inside]] = guess[done & inside]
        going = ~done & (np.abs(determinant) > 1e-12)
        step = np.stack([d * gap[:, 0] - b * gap[:, 1], a * gap[:, 1] - c * gap[:, 0]], axis=1)[going] / determinant[going, None]
        open_rays, guess = open_rays[going], guess[going]
        # half the way to the axis at most, so that no step leaves the basin near the limit
        shrink = np.minimum(1.0, 0.5 * np.maximum(np.hypot(*guess.T), 0.1) / np.maximum(np.hypot(*step.T), 1e-300))
        guess = guess + step * shrink[:, None]
    return result.reshape(bent.shape)


def _radial_start(bent, distortion, end):
    """Directions whose radial distortion alone would give the coordinates, from a table; shape [n, 2]."""
    wanted = np.hypot(*bent.T)
    highest = wanted.max(initial=0.0)
    reach = min(end, max(2.0 * highest, 1e-6))
    radial = _radial_only(distortion)
    while reach < min(end, 1e4) and _image_radius(np.array([reach]), radial)[0] < highest:
        reach = min(2.0 * reach, end)
    radii = np.tan(np.linspace(0.0, np.arctan(reach * (1.0 - 1e-6)), 1025))  # dense near the axis however far the table goes
    found = np.interp(wanted, _image_radius(radii, radial), radii)
    return bent * (found / np.maximum(wanted, 1e-300))[:, None]


def _radial_only(distortion):
    k = coefficients(distortion)
    k[2:4] = 0.0
    return k


def _image_radius(radii, distortion):
    return distort(np.stack([radii, np.zeros_like(radii)], axis=-1), distortion)[0][:, 0]
