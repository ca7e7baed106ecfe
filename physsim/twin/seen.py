"""What a capture saw, and its handles in that world: a fit may have found the cameras turned and moved against the handles."""

from dataclasses import replace

import numpy as np

from physsim.capture.capture import Capture


class Seen:
    """A capture's data in the world of its cameras, to which `physsim.twin.identification.predict` brings simulated positions.

    Args:
        capture: Capture.
        fit: TwinFit; its `camera_pose` (rotation, translation) takes what cameras saw to the handles' world, its `time_offset` is added to
            the times of cameras to get those of handles, its `noise` replaces what the capture does not state. None: the identity and 0.

    Attributes:
        capture: Capture.
        times: of the frames on the handles' clock [s], shape [frames].
        handles: name -> Handle in the world of the cameras.
        tracks: positions [m], shape [frames, p, 3], NaN where not seen; None: there are none.
        visible: shape [frames, p]; None: there are no tracks.
        cameras: name -> Camera.
    """

    def __init__(self, capture: Capture, fit: object = None) -> None:
        self.capture, self._fit = capture, fit
        self.times = capture.times + (0.0 if fit is None else fit.time_offset)
        self.handles = dict(capture.handles)
        if fit is not None:
            turn, shift = (np.asarray(part, float) for part in fit.camera_pose)
            self.handles = {name: _moved(handle, turn, shift) for name, handle in self.handles.items()}
        self.tracks = None if capture.tracks is None else capture.tracks.positions
        self.visible = None if capture.tracks is None else capture.tracks.visible
        self.cameras = capture.cameras

    def cloud(self, frame: int, camera: str | None = None) -> np.ndarray:
        """Points of the body [m], shape [n, 3], as `Capture.cloud` gives them."""
        return self.capture.cloud(int(frame), camera)

    def noise(self, sensor: str) -> float | None:
        """Standard deviation of a sensor that the capture states, or else that the fit found; None: not known."""
        found = {} if self._fit is None else self._fit.noise
        of_cameras = [value for name, value in found.items() if name.split(" ")[0] == sensor]
        return self.capture.noise.get(sensor, max(of_cameras) if of_cameras else None)

    def image(self, kind: str, camera: str, frame: int) -> np.ndarray | None:
        """A picture of "depth", "mask" or "colour"; depth has NaN where nothing was measured. None: there is none."""
        streams = getattr(self.capture, kind)
        picture = streams[camera][int(frame)] if camera in streams else None
        if picture is None:
            return None
        picture = np.asarray(picture)
        return np.where(picture > 0.0, picture, np.nan) if kind == "depth" else picture


def _moved(handle, turn, shift):
    """x_seen = turn^T (x_world - shift)."""
    return replace(handle, positions=(handle.positions - shift) @ turn, rotations=turn.T @ handle.rotations)
