"""A calibrated camera: pinhole, lens distortion and pose as OpenCV defines them."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from physsim.errors import InputError
from physsim.physics import validation


@dataclass(frozen=True, eq=False)
class Camera:
    """A camera with OpenCV's conventions: x to the right, y down, z forward; the centre of the first pixel is (0, 0).

    A point X of the world [m] is seen at R X + t in the camera's frame, its image at (fx x'' + cx, fy y'' + cy) where (x'', y'') is
    (x / z, y / z) after distortion.

    Args:
        width, height: of the image [pixel].
        focal: (fx, fy) [pixel].
        centre: (cx, cy), where the optical axis meets the image [pixel]; None: the image's middle, ((width - 1) / 2, (height - 1) / 2).
        rotation: R, from world to camera, shape [3, 3].
        translation: t [m], shape [3].
        distortion: none, or OpenCV's (k1, k2, p1, p2), with k3, or with k3 to k6 (rational model).
        near: least depth that is drawn [m].

    Raises:
        InputError: no size, a focal length that is not positive, a matrix that is no rotation, NaN, another number of coefficients.
    """

    width: int
    height: int
    focal: tuple[float, float]
    centre: tuple[float, float] | None = None
    rotation: np.ndarray = field(default_factory=lambda: np.eye(3))
    translation: np.ndarray = field(default_factory=lambda: np.zeros(3))
    distortion: tuple[float, ...] = ()
    near: float = 0.01

    def __post_init__(self) -> None:
        for name in ("width", "height"):
            object.__setattr__(self, name, int(validation.array(f"Camera.{name}", getattr(self, name), (), kind="i", lower=1, upper=16384)))
        focal = validation.array("Camera.focal", self.focal, (2,), lower=0.0, lower_open=True)
        middle = ((self.width - 1) / 2, (self.height - 1) / 2)
        centre = validation.array("Camera.centre", middle if self.centre is None else self.centre, (2,))
        rotation = validation.array("Camera.rotation", self.rotation, (3, 3))
        if np.abs(rotation @ rotation.T - np.eye(3)).max() > 1e-5 or np.linalg.det(rotation) < 0.0:
            raise InputError(f"Camera.rotation: {rotation.tolist()} is no rotation; its rows must be orthogonal unit vectors, right-handed")
        distortion = validation.array("Camera.distortion", np.asarray(self.distortion, dtype=float), (None,))
        if len(distortion) not in (0, 4, 5, 8):
            raise InputError(f"Camera.distortion: {len(distortion)} coefficients; k1, k2, p1, p2[, k3[, k4, k5, k6]] are 4, 5 or 8")
        object.__setattr__(self, "focal", (float(focal[0]), float(focal[1])))
        object.__setattr__(self, "centre", (float(centre[0]), float(centre[1])))
        object.__setattr__(self, "rotation", rotation)
        object.__setattr__(self, "translation", validation.array("Camera.translation", self.translation, (3,)))
        object.__setattr__(self, "distortion", tuple(distortion.tolist()))
        object.__setattr__(self, "near", float(validation.array("Camera.near", self.near, (), lower=0.0, lower_open=True)))

    @classmethod
    def look_at(
        cls,
        eye: Sequence[float],
        target: Sequence[float],
        up: Sequence[float] = (0.0, 0.0, 1.0),
        width: int = 640,
        height: int = 480,
        angle: float = 40.0,
        **rest: object,
    ) -> "Camera":
        """A camera at `eye` [m] that looks at `target` [m] with square pixels.

        Args:
            eye, target: [m], shape [3].
            up: what is upwards in the image.
            width, height: [pixel].
            angle: vertical angle of view [degree].
            rest: `distortion`, `near`, `centre`.

        Raises:
            InputError: eye and target are the same, up is along the view, an angle outside (0, 170).
        """
        eye, target, up = (validation.array(name, value, (3,)) for name, value in (("eye", eye), ("target", target), ("up", up)))
        angle = float(validation.array("angle", angle, (), lower=0.0, upper=170.0, lower_open=True))
        forward = target - eye
        right = np.cross(forward, up)
        if np.linalg.norm(right) < 1e-9 * max(np.linalg.norm(forward) * np.linalg.norm(up), 1e-300):
            raise InputError("camera: up must not be parallel to the direction of view, and eye and target must differ; move the eye aside")
        forward, right = forward / np.linalg.norm(forward), right / np.linalg.norm(right)
        rotation = np.stack([right, np.cross(forward, right), forward])
        focal = 0.5 * height / np.tan(np.radians(angle) / 2)
        return cls(width, height, (focal, focal), rotation=rotation, translation=-rotation @ eye, **rest)

    def moved(self, rotation: np.ndarray, translation: np.ndarray) -> "Camera":
        """The same camera in another pose (world to camera)."""
        return replace(self, rotation=rotation, translation=translation)

    @property
    def position(self) -> np.ndarray:
        """Where the camera stands in the world [m], shape [3]."""
        return -self.rotation.T @ self.translation
