"""What a fit turns: the cameras' world against that of the handles, and gravity; with their derivatives."""

import numpy as np
from scipy.spatial.transform import Rotation


def seen_by_cameras(x: np.ndarray, moved: np.ndarray | None, pose: np.ndarray, slope: np.ndarray | None, centre: np.ndarray) -> tuple:
    """Positions in the cameras' world from those in the handles' world, and their tangents.

    Args:
        x: [m], shape [n, 3]; moved: their tangents [p, n, 3], or None.
        pose: rotation vector [rad] and shift [m] that take the cameras' world to the handles', shape [6]: handles = R (cameras - centre)
            + centre + shift.
        slope: of the pose, [p, 6].
        centre: [m], shape [3].
    """
    if not pose.any() and (slope is None or not slope.any()):
        return x, moved
    turn = Rotation.from_rotvec(pose[:3]).as_matrix()
    arm = x - centre - pose[3:]
    seen = arm @ turn + centre
    if moved is None:
        return seen, None
    # d(exp(-[w]) a) = exp(-[w]) [a]x Jr(-w) dw
    spin = slope[:, :3] @ _right_jacobian(-pose[:3]).T
    along = np.cross(arm[None], spin[:, None]) + moved - slope[:, None, 3:]
    return seen, along @ turn


def _right_jacobian(w):
    """Of the exponential map of rotations, shape [3, 3]."""
    angle = float(np.linalg.norm(w))
    k = np.array([[0, -w[2], w[1]], [w[2], 0, -w[0]], [-w[1], w[0], 0]])
    if angle < 1e-6:
        return np.eye(3) - k / 2
    return np.eye(3) - (1 - np.cos(angle)) / angle**2 * k + (angle - np.sin(angle)) / angle**3 * (k @ k)


def tilted(gravity, tilt, slope):
    """Gravity [k, 3] tilted about two axes across it by [k, 2] rad, and its tangents [p, k, 3]."""
    size = np.maximum(np.linalg.norm(gravity, axis=1, keepdims=True), 1e-300)
    down = gravity / size
    first = np.eye(3)[np.abs(down[0]).argmin()] - down * down[:, [np.abs(down[0]).argmin()]]
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    second = np.cross(down, first)
    raw = down + tilt[:, :1] * first + tilt[:, 1:] * second
    length = np.linalg.norm(raw, axis=1, keepdims=True)
    unit = raw / length
    moved = slope[..., :1] * first + slope[..., 1:] * second
    moved = (moved - np.einsum("pkd,kd->pk", moved, unit)[..., None] * unit) / length
    return size * unit, size * moved
