"""Depth without masks: which of it is the body, and which the room.

In the first frame the body has been placed: what lies near it is the body, the rest the room. Later a pixel shows the room where it is no
nearer than the room was there in the first frame, or, where the body hid the room then, than the farthest that the pixel ever showed.
"""

import numpy as np
from scipy.spatial import cKDTree

from physsim.capture.capture import Capture
from physsim.errors import InputError
from physsim.twin.clouds import cloud_noise

MARGIN = 0.1  # of the body's extent, beside its cell size: how far its place in the first frame may be off
ALL = 0.97  # share of points near the body from which on there is nothing else
LEAST = 30  # points near it, below which it cannot be told
DEPTHS = 5.0  # noises by which a point must lie before the room


class Foreground:
    """The body's points of a camera without a mask.

    Args:
        scene: TwinScene.
        camera: name.
        frames: numbers of the frames that are asked for later.

    Attributes:
        remark: what was left out, or "".

    Raises:
        InputError: depth in which the body cannot be told from what else there is.
    """

    def __init__(self, scene: object, camera: str, frames: np.ndarray) -> None:
        self.capture, self.camera = scene.capture, camera
        self.remark, self._room = "", None
        self._frames = [int(f) for f in frames if self.capture.depth[camera][int(f)] is not None]
        if not self._frames:
            return
        first = self.capture.depth[camera][self._frames[0]]
        pixels, points = _points(self.capture, camera, first)
        near = self._near(scene, points)
        if near.mean() >= ALL:
            return
        if near.sum() < LEAST:
            raise InputError(
                f"depth of camera {camera!r} has no mask, and {int(near.sum())} of {len(points)} points of frame {self._frames[0]} lie by "
                "the body where it was placed: what is the body cannot be told. Add masks of it, or leave this camera's depth out"
            )
        self._learn(first, pixels[~near], pixels[near], points[near])
        self.remark = f"depth of camera {camera!r} has no mask: {100 * (1 - near.mean()):.0f} % of its first points lie off the body, and"
        self.remark += " what does not move before them was left out of all frames; what else moves there is taken for the body"

    def _near(self, scene, points):
        """Which points are near the body where it was placed, and not on the ground, [p]."""
        body = np.asarray(scene.soft_body.pose, float)
        reach = MARGIN * float(np.ptp(body, axis=0).max()) + scene.soft_body.cell_size
        near = cKDTree(body).query(points, distance_upper_bound=reach)[0] <= reach
        self._ground = None if scene.capture.known.ground is None else np.asarray(scene.capture.known.ground, float)
        self._noise = self.capture.noise.get("depth") or (cloud_noise(points[near]) if near.sum() > LEAST else 0.0)
        return near & ~self._on_ground(points)

    def _on_ground(self, points):
        if self._ground is None:
            return np.zeros(len(points), bool)
        point, normal = self._ground
        return (points - point) @ (normal / np.linalg.norm(normal)) <= DEPTHS * self._noise

    def _learn(self, first, room, body, points):
        """How far the room is at every pixel, infinite where it was never seen."""
        shape = np.shape(first)
        far = np.full(shape, np.nan)
        for frame in self._frames:
            far = np.fmax(far, np.asarray(self.capture.depth[self.camera][frame], float))
        self._room = np.full(shape, np.inf)
        rows, columns = room.T
        self._room[rows, columns] = np.asarray(first, float)[rows, columns]
        rows, columns = body.T
        depth = np.asarray(first, float)[rows, columns]
        own = self.capture.cameras[self.camera]
        thick = float(np.ptp(points @ own.rotation[2]))  # of the body along the view
        hidden = far[rows, columns] > depth + max(thick, DEPTHS * self._noise)
        self._room[rows[hidden], columns[hidden]] = far[rows[hidden], columns[hidden]]

    def cloud(self, frame: int) -> np.ndarray:
        """Points of the body in a frame [m], shape [p, 3]."""
        depth = np.asarray(self.capture.depth[self.camera][int(frame)], float)
        if self._room is None:
            return _points(self.capture, self.camera, depth)[1]
        with np.errstate(invalid="ignore"):
            before = depth < self._room - DEPTHS * self._noise
        points = _points(self.capture, self.camera, np.where(before, depth, np.nan))[1]
        return points[~self._on_ground(points)]


def _points(capture: Capture, camera: str, depth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(Rows and columns [p, 2], places [m] [p, 3]) of what a depth picture shows."""
    depth = np.asarray(depth, float)
    with np.errstate(invalid="ignore"):
        pixels = np.argwhere(np.isfinite(depth) & (depth > 0))
    origin, directions = capture.cameras[camera].rays(pixels[:, ::-1].astype(float))
    points = origin + depth[pixels[:, 0], pixels[:, 1], None] * directions
    good = np.isfinite(points).all(axis=1)
    return pixels[good], points[good]
