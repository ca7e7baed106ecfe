"""A calibrated camera: pinhole, lens distortion and pose as OpenCV defines them."""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace

import numpy as np

from physsim.appearance import distortion as lens_model
from physsim.errors import InputError
from physsim.physics import validation

MOST_PIXELS, FARTHEST = 1e9, 1e12  # [pixel], [m]: squares of more are not finite in float32, and gradients would be none


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
        focus: distance of what the camera looks at [m], which grids and orbits turn about; the image does not depend on it.

    Raises:
        InputError: no size, a focal length that is not positive, lengths that no camera has (1e9 pixels, 1e12 m), a matrix
            that is no rotation, NaN, another number of coefficients.
    """

    width: int
    height: int
    focal: tuple[float, float]
    centre: tuple[float, float] | None = None
    rotation: np.ndarray = field(default_factory=lambda: np.eye(3))
    translation: np.ndarray = field(default_factory=lambda: np.zeros(3))
    distortion: tuple[float, ...] = ()
    near: float = 0.01
    focus: float = 1.0

    def __post_init__(self) -> None:
        for name in ("width", "height"):
            object.__setattr__(self, name, int(validation.array(f"Camera.{name}", getattr(self, name), (), kind="i", lower=1, upper=16384)))
        focal = validation.array("Camera.focal", self.focal, (2,), lower=0.0, upper=MOST_PIXELS, lower_open=True)
        middle = ((self.width - 1) / 2, (self.height - 1) / 2)
        centre = validation.array(
            "Camera.centre", middle if self.centre is None else self.centre, (2,), lower=-MOST_PIXELS, upper=MOST_PIXELS
        )
        rotation = validation.rotation("Camera.rotation", self.rotation)
        distortion = validation.array("Camera.distortion", np.asarray(self.distortion, dtype=float), (None,))
        if len(distortion) not in (0, 4, 5, 8):
            raise InputError(f"Camera.distortion: {len(distortion)} coefficients; k1, k2, p1, p2[, k3[, k4, k5, k6]] are 4, 5 or 8")
        object.__setattr__(self, "focal", (float(focal[0]), float(focal[1])))
        object.__setattr__(self, "centre", (float(centre[0]), float(centre[1])))
        object.__setattr__(self, "rotation", rotation)
        object.__setattr__(
            self, "translation", validation.array("Camera.translation", self.translation, (3,), lower=-FARTHEST, upper=FARTHEST)
        )
        object.__setattr__(self, "distortion", tuple(distortion.tolist()))
        for name in ("near", "focus"):
            object.__setattr__(self, name, float(validation.array(f"Camera.{name}", getattr(self, name), (), lower=0.0, lower_open=True)))

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
            InputError: eye and target are the same, up is along the view, an angle outside (0, 170].
        """
        eye, target, up = (validation.array(name, value, (3,)) for name, value in (("eye", eye), ("target", target), ("up", up)))
        angle = float(validation.array("angle", angle, (), lower=0.0, upper=170.0, lower_open=True))
        forward = target - eye
        right = np.cross(forward, up)
        if np.linalg.norm(right) < 1e-9 * max(np.linalg.norm(forward) * np.linalg.norm(up), 1e-300):
            raise InputError("camera: up must not be parallel to the direction of view, and eye and target must differ; move the eye aside")
        forward, right = forward / np.linalg.norm(forward), right / np.linalg.norm(right)
        rotation = np.stack([right, np.cross(forward, right), forward])
        distance = float(np.linalg.norm(target - eye))
        return cls.from_fov(width, height, vertical=angle, rotation=rotation, translation=-rotation @ eye, focus=distance, **rest)

    @classmethod
    def around(
        cls,
        points: np.ndarray,
        direction: Sequence[float] = (0.55, -1.0, 0.38),
        up: Sequence[float] = (0.0, 0.0, 1.0),
        width: int = 640,
        height: int = 480,
        angle: float = 28.0,
        margin: float = 1.25,
        **rest: object,
    ) -> "Camera":
        """A camera that has all points in view.

        Args:
            points: positions [m], shape [..., 3], for example of all frames of a motion.
            direction: from the points towards the camera.
            up: what is upwards in the image.
            width, height: [pixel].
            angle: vertical angle of view [degree].
            margin: 1 lets the points touch the image's border.
            rest: `near` (default: 2 % of the distance), `distortion`.

        Raises:
            InputError: there is no point, or one is not finite; no direction; the errors of `look_at`.
        """
        return _looking(_fit(points, direction, up, width, height, angle, margin), up, width, height, angle, rest)

    @classmethod
    def from_fov(cls, width: int, height: int, vertical: float | None = None, horizontal: float | None = None, **rest: object) -> "Camera":
        """A camera from an angle of view; square pixels unless both angles are given.

        Args:
            width, height: [pixel].
            vertical, horizontal: whole angles between the outer borders of the outermost pixels [degree], at least one.
            rest: the other fields of a Camera.

        Raises:
            InputError: no angle, or one outside (0, 179].
        """
        sides = []
        for name, angle, pixels in (("horizontal", horizontal, width), ("vertical", vertical, height)):
            if angle is not None:
                angle = float(validation.array(f"{name} angle of view", angle, (), lower=0.0, upper=179.0, lower_open=True))
                sides.append(0.5 * pixels / np.tan(np.radians(angle) / 2))
        if not sides:
            raise InputError("Camera.from_fov: no angle was given; give vertical, horizontal or both, in degrees")
        return cls(width, height, (sides[0], sides[-1]), **rest)

    @classmethod
    def from_matrix(cls, matrix: np.ndarray, width: int, height: int, **rest: object) -> "Camera":
        """A camera from the matrix of intrinsics [[fx, 0, cx], [0, fy, cy], [0, 0, 1]] [pixel].

        Args:
            matrix: shape [3, 3].
            width, height: [pixel].
            rest: the other fields of a Camera.

        Raises:
            InputError: singular, with skew, or of another form.
        """
        matrix = validation.array("intrinsics", matrix, (3, 3))
        if abs(matrix[0, 0] * matrix[1, 1] * matrix[2, 2]) < 1e-12:
            raise InputError(f"intrinsics: {matrix.tolist()} is singular; fx and fy must be positive and the last entry 1")
        if np.abs(matrix[[0, 1, 2, 2], [1, 0, 0, 1]]).max() > 1e-9 * matrix[0, 0] or abs(matrix[2, 2] - 1.0) > 1e-9:
            raise InputError(f"intrinsics: {matrix.tolist()} must be [[fx, 0, cx], [0, fy, cy], [0, 0, 1]]; rectify images with skew first")
        return cls(width, height, (matrix[0, 0], matrix[1, 1]), (matrix[0, 2], matrix[1, 2]), **rest)

    @classmethod
    def from_dict(cls, values: dict) -> "Camera":
        """A camera from what `to_dict` gave.

        Raises:
            InputError: no dictionary, a missing or an unknown entry, or one that a Camera refuses.
        """
        validation.instance("camera", values, dict)
        known = {f.name for f in fields(cls)}
        unknown, missing = sorted(set(values) - known), sorted({"width", "height", "focal"} - set(values))
        if unknown or missing:
            raise InputError(f"camera: unknown entries {unknown}, missing entries {missing}; known are {sorted(known)}")
        return cls(**values)

    def to_dict(self) -> dict:
        """All fields as numbers and lists, safe for JSON."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: np.asarray(value).tolist() for name, value in values.items()}

    def moved(self, rotation: np.ndarray, translation: np.ndarray) -> "Camera":
        """The same camera in another pose.

        Args:
            rotation: from world to camera, shape [3, 3].
            translation: [m], shape [3].

        Raises:
            InputError: no rotation, NaN.
        """
        return replace(self, rotation=rotation, translation=translation)

    def resized(self, width: int, height: int) -> "Camera":
        """The same view with other pixels: what covered a share of the image covers the same share of the new one.

        Args:
            width, height: of the new image [pixel].

        Raises:
            InputError: no size.
        """
        factor = np.array([width / self.width, height / self.height])
        centre = (np.array(self.centre) + 0.5) * factor - 0.5  # the borders of the outermost pixels stay, not their centres
        return replace(self, width=width, height=height, focal=tuple(self.focal * factor), centre=tuple(centre))

    @property
    def matrix(self) -> np.ndarray:
        """Intrinsics [[fx, 0, cx], [0, fy, cy], [0, 0, 1]] [pixel]."""
        return np.array([[self.focal[0], 0.0, self.centre[0]], [0.0, self.focal[1], self.centre[1]], [0.0, 0.0, 1.0]])

    @property
    def position(self) -> np.ndarray:
        """Where the camera stands in the world [m], shape [3]."""
        return -self.rotation.T @ self.translation

    @property
    def target(self) -> np.ndarray:
        """What the camera looks at [m], shape [3]: `focus` ahead on its axis."""
        return self.position + self.focus * self.rotation[2]

    @property
    def limit(self) -> float:
        """Largest sqrt(x^2 + y^2) of a direction (x, y, 1) that the lens images; inf for most lenses. Beyond it the model folds back."""
        return lens_model.limit(self.distortion)

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where points are seen.

        Args:
            points: positions in the world [m], shape [..., 3].

        Returns:
            Pixels (right, down), shape [..., 2], NaN for points that are not in front of the camera or beyond the lens's `limit`; depth
            along the axis [m], shape [...].
        """
        local = np.asarray(points, dtype=float) @ self.rotation.T + self.translation
        depth = local[..., 2]
        ahead = depth > 0.0
        directions = local[..., :2] / np.where(ahead, depth, 1.0)[..., None]
        seen = ahead & (np.hypot(directions[..., 0], directions[..., 1]) < self.limit)
        directions = np.where(seen[..., None], directions, np.nan)
        if self.distortion:
            directions = lens_model.distort(directions, self.distortion)[0]
        return directions * self.focal + self.centre, depth

    def undistort(self, pixels: np.ndarray) -> np.ndarray:
        """Directions (x, y, 1) in the camera's frame of what is seen at the pixels.

        Args:
            pixels: (right, down), shape [..., 2].

        Returns:
            (x, y), shape [..., 2]; NaN where the lens images nothing.
        """
        bent = (np.asarray(pixels, dtype=float) - self.centre) / self.focal
        return lens_model.undistort(bent, self.distortion) if self.distortion else bent

    def rays(self, pixels: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Rays of pixels in the world.

        Args:
            pixels: (right, down), shape [..., 2]; None: the centres of all pixels, [height, width, 2].

        Returns:
            Origin [m], shape [3], and directions, shape [..., 3], of length such that origin + depth * direction lies at that depth; NaN
            where the lens images nothing.
        """
        local = self.undistort(self.pixel_centres() if pixels is None else pixels)
        return self.position, np.concatenate([local, np.ones((*local.shape[:-1], 1))], axis=-1) @ self.rotation

    def points(self, depth: np.ndarray) -> np.ndarray:
        """Positions in the world [m], shape [height, width, 3], of a depth image [m]; NaN where depth is 0, that is missing.

        Raises:
            InputError: the image is not of the camera's size.
        """
        depth = np.asarray(depth, dtype=float)
        if depth.shape != (self.height, self.width):
            raise InputError(f"depth image: shape {list(depth.shape)} was given, the camera's is [{self.height}, {self.width}]")
        origin, directions = self.rays()
        return origin + np.where(depth > 0.0, depth, np.nan)[..., None] * directions

    def pixel_centres(self) -> np.ndarray:
        """(right, down) of every pixel, shape [height, width, 2]."""
        return np.stack(np.meshgrid(np.arange(self.width, dtype=float), np.arange(self.height, dtype=float)), axis=-1)


def orbit(
    points: np.ndarray,
    frames: int,
    elevation: float = 20.0,
    start: float = -60.0,
    turns: float = 1.0,
    up: Sequence[float] = (0.0, 0.0, 1.0),
    width: int = 640,
    height: int = 480,
    angle: float = 28.0,
    margin: float = 1.25,
    **rest: object,
) -> list[Camera]:
    """Cameras on a circle that have all points in view.

    Args:
        points: positions [m], shape [..., 3].
        frames: how many cameras.
        elevation: of the circle above the points' middle [degree].
        start: where the first one stands, from the x axis (for up = z) [degree].
        turns: how often they go around; a whole number closes the circle, with the first one after the last.
        up, width, height, angle, margin, rest: as for `Camera.around`.

    Returns:
        The cameras in order, all at one distance from what they look at.

    Raises:
        InputError: as for `Camera.around`; frames below 1, an elevation outside (-90, 90).
    """
    frames = int(validation.array("frames", frames, (), kind="i", lower=1, upper=100_000))
    elevation = float(validation.array("elevation", elevation, (), lower=-90.0, upper=90.0, lower_open=True, upper_open=True))
    axis = validation.array("up", up, (3,))
    axis = axis / max(np.linalg.norm(axis), 1e-300)
    side = np.eye(3)[0 if abs(axis[0]) < 0.9 else 1]
    first = side - (side @ axis) * axis
    first /= np.linalg.norm(first)
    second = np.cross(axis, first)
    around = np.radians(start) + 2.0 * np.pi * turns * np.arange(frames) / frames
    level = np.radians(elevation)
    directions = np.cos(level) * (np.cos(around)[:, None] * first + np.sin(around)[:, None] * second) + np.sin(level) * axis
    views = [_fit(points, direction, up, width, height, angle, margin) for direction in directions]
    farthest = max(distance for _, _, distance in views)  # one distance for all, so that the picture does not pulse
    return [_looking((target, towards, farthest), up, width, height, angle, rest) for target, towards, _ in views]


def _fit(points, direction, up, width, height, angle, margin):
    """Middle of the points [m], unit vector towards the camera, and the distance [m] from which all are in view."""
    points = np.asarray(points, dtype=float).reshape(-1, 3)
    if len(points) == 0 or not np.isfinite(points).all():
        raise InputError(f"camera: {len(points)} points to look at; at least one is needed and all must be finite")
    direction = validation.array("direction", direction, (3,))
    margin = float(validation.array("margin", margin, (), lower=0.0, lower_open=True))
    if not np.linalg.norm(direction) > 0.0:
        raise InputError("camera: direction is zero; give a vector from the points towards the camera")
    target = 0.5 * (points.min(axis=0) + points.max(axis=0))
    towards = direction / np.linalg.norm(direction)
    trial = Camera.look_at(target + towards, target, up, width, height, angle)
    offset = (points - target) @ trial.rotation.T
    reach = margin * np.abs(offset[:, :2]) / (0.5 * np.array([width, height]) / trial.focal)
    return target, towards, max(float((reach.max(axis=1) - offset[:, 2]).max()), 1e-9)


def _looking(view, up, width, height, angle, rest):
    target, towards, distance = view
    return Camera.look_at(target + distance * towards, target, up, width, height, angle, **{"near": 0.02 * distance, **rest})
