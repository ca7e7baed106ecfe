"""What a capture saw, in the world of the handles: moved by the camera pose and clock that a fit found."""

import numpy as np

from physsim.appearance.camera import Camera
from physsim.capture.capture import Capture


class Seen:
    """A capture's data in the world and on the clock in which the body is simulated.

    Args:
        capture: Capture.
        fit: TwinFit; its `camera_pose` (rotation, translation) takes what cameras saw to the handles' world, its `time_offset` is added to
            the times of cameras to get those of handles, its `noise` replaces what the capture does not state. None: the identity and 0.

    Attributes:
        capture: Capture.
        times: of the frames on the handles' clock [s], shape [frames].
        tracks: positions [m], shape [frames, p, 3], NaN where not seen; None: there are none.
        visible: shape [frames, p]; None: there are no tracks.
        cameras: name -> Camera, as they stand in the handles' world.
    """

    def __init__(self, capture: Capture, fit: object = None) -> None:
        self.capture, self._fit = capture, fit
        self._turn, self._shift = (np.eye(3), np.zeros(3)) if fit is None else (np.asarray(part, float) for part in fit.camera_pose)
        self.times = capture.times + (0.0 if fit is None else fit.time_offset)
        self.tracks = None if capture.tracks is None else self.placed(capture.tracks.positions)
        self.visible = None if capture.tracks is None else capture.tracks.visible
        self.cameras = {name: self._moved(camera) for name, camera in capture.cameras.items()}

    def placed(self, points: np.ndarray) -> np.ndarray:
        """Points that cameras saw [m], shape [..., 3], in the handles' world."""
        return np.asarray(points, float) @ self._turn.T + self._shift

    def cloud(self, frame: int, camera: str | None = None) -> np.ndarray:
        """Points of the body in the handles' world [m], shape [n, 3], as `Capture.cloud` gives them."""
        return self.placed(self.capture.cloud(frame, camera))

    def noise(self, sensor: str) -> float | None:
        """Standard deviation of a sensor that the capture states, or else that the fit found; None: not known."""
        found = {} if self._fit is None else self._fit.noise
        return self.capture.noise.get(sensor, found.get(sensor))

    def image(self, kind: str, camera: str, frame: int) -> np.ndarray | None:
        """A picture of "depth", "mask" or "colour"; depth has NaN where nothing was measured. None: there is none."""
        streams = getattr(self.capture, kind)
        picture = streams[camera][frame] if camera in streams else None
        if picture is None:
            return None
        picture = np.asarray(picture)
        return np.where(picture > 0.0, picture, np.nan) if kind == "depth" else picture

    def _moved(self, camera: Camera) -> Camera:
        """x_camera = R x_seen + t, and x_seen = turn^T (x_world - shift)."""
        rotation = camera.rotation @ self._turn.T
        return camera.moved(rotation, camera.translation - rotation @ self._shift)
