"""A pinhole camera."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from physsim.errors import InputError


@dataclass(frozen=True)
class Camera:
    """A perspective camera at `eye` [m] that looks at `target` [m], with `up` upwards and a vertical angle of view `angle` [degree]."""

    eye: Sequence[float]
    target: Sequence[float]
    up: Sequence[float] = (0.0, 0.0, 1.0)
    angle: float = 28.0

    def __post_init__(self) -> None:
        view = np.array([self.eye, self.target, self.up], dtype=float)
        if view.shape != (3, 3) or not np.isfinite(view).all() or not 1.0 <= self.angle <= 120.0:
            raise InputError(f"camera {self}: eye, target and up must be three finite numbers each, and angle within 1..120 degrees")
        if np.linalg.norm(np.cross(view[1] - view[0], view[2])) < 1e-12:
            raise InputError(f"camera {self}: up must not be parallel to the direction of view; move the eye aside")

    @classmethod
    def around(
        cls,
        points: np.ndarray,
        direction: Sequence[float] = (0.55, -1.0, 0.38),
        angle: float = 28.0,
        aspect: float = 16 / 9,
        margin: float = 1.25,
    ) -> "Camera":
        """A camera that has all points in view.

        Args:
            points: positions [m], shape [..., 3], for example of all frames of a motion
            direction: from the points towards the camera
            angle: vertical angle of view [degree]
            aspect: width over height of the frames
            margin: 1 lets the points touch the frame's border

        Raises:
            InputError: there is no point, or one is not finite.
        """
        points = np.asarray(points, dtype=float).reshape(-1, 3)
        if len(points) == 0 or not np.isfinite(points).all():
            raise InputError(f"camera: {len(points)} points to look at; at least one is needed and all must be finite")
        target = 0.5 * (points.min(axis=0) + points.max(axis=0))
        towards = np.array(direction, dtype=float) / np.linalg.norm(direction)
        trial = cls(tuple(target + towards), tuple(target), angle=angle)
        right, up, forward = trial.axes
        slope = np.tan(np.radians(angle) / 2) / margin
        offset = points - target
        needed = np.maximum(np.abs(offset @ up) / slope, np.abs(offset @ right) / (slope * aspect)) - offset @ forward
        return cls(tuple(target + max(needed.max(), 1e-9) * towards), tuple(target), angle=angle)

    @property
    def axes(self) -> np.ndarray:
        """Unit vectors to the right, upwards and forwards, shape [3, 3]."""
        forward = np.subtract(self.target, self.eye)
        forward = forward / np.linalg.norm(forward)
        right = np.cross(forward, self.up)
        right /= np.linalg.norm(right)
        return np.stack([right, np.cross(right, forward), forward])

    @property
    def near(self) -> float:
        """Least depth that is drawn [m]."""
        return 0.02 * float(np.linalg.norm(np.subtract(self.target, self.eye)))

    @property
    def spread(self) -> float:
        """Tangent of half the vertical angle of view, times two for a wide frame."""
        return 2.0 * float(np.tan(np.radians(self.angle) / 2))

    def project(self, points: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Pixels, shape [n, 2], x right and y down, and depth [m], shape [n], of positions [m], shape [n, 3], in a frame of `size`."""
        local = (points - np.asarray(self.eye, dtype=float)) @ self.axes.T
        depth = local[:, 2]
        focal = 0.5 * size[1] / np.tan(np.radians(self.angle) / 2)
        safe = np.maximum(depth, self.near)[:, None]
        return np.array([0.5 * size[0], 0.5 * size[1]]) + focal * local[:, :2] * [1.0, -1.0] / safe, depth
