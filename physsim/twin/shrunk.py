"""Smaller pictures: fits look at a capture's pictures at a size that pays."""

from collections.abc import Sequence

import numpy as np

from physsim.appearance.camera import Camera


def shrunk_camera(camera: Camera, side: int) -> Camera:
    """The camera with pictures whose longer side is at most `side` pixels; the same one where they are that small."""
    longer = max(camera.width, camera.height)
    if longer <= side:
        return camera
    width, height = (max(1, round(x * side / longer)) for x in (camera.width, camera.height))
    return camera.resized(width, height)


def averaged(picture: np.ndarray, camera: Camera) -> np.ndarray:
    """A picture [h, w] or [h, w, c] averaged to the size of a camera, as float32."""
    import torch

    picture = np.asarray(picture, dtype=np.float32)
    if picture.shape[:2] == (camera.height, camera.width):
        return picture
    flat = picture[..., None] if picture.ndim == 2 else picture
    planes = torch.as_tensor(np.ascontiguousarray(flat.transpose(2, 0, 1)))[None]
    small = torch.nn.functional.interpolate(planes, size=(camera.height, camera.width), mode="area")[0].permute(1, 2, 0).numpy()
    return np.ascontiguousarray(small[..., 0] if picture.ndim == 2 else small)


def spread_frames(frames: Sequence[int], most: int) -> np.ndarray:
    """At most `most` of some frames, evenly spread, the first and the last among them."""
    frames = np.asarray(frames, dtype=int)
    if len(frames) <= most:
        return frames
    return frames[np.unique(np.linspace(0, len(frames) - 1, most).round().astype(int))]
