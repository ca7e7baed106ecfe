"""What tells one capture from another: a hash of its facts and of a few of its frames."""

import hashlib
import json

import numpy as np

from physsim.capture.capture import Capture

FRAMES = 3  # of each stream that are looked at: the first, one in the middle, the last


def capture_fingerprint(capture: Capture) -> str:
    """Hash of a capture: times, cameras, split, what is known, handles, tracks, mesh, and some frames of every stream.

    Its name and its source do not enter: a copy under another name is the same recording.
    """
    digest = hashlib.sha256()

    def add(*parts):
        for part in parts:
            if isinstance(part, np.ndarray):
                digest.update(f"{part.dtype.str} {part.shape}".encode() + np.ascontiguousarray(part).tobytes())
            else:
                digest.update(repr(part).encode() + b"\0")

    add(capture.times, capture.gravity, capture.fit, capture.test, capture.kind, sorted(capture.noise.items()))
    for name, camera in sorted(capture.cameras.items()):
        add(name, json.dumps(camera.to_dict(), sort_keys=True))
    for name, value in sorted(vars(capture.known).items()):
        add(name, None if value is None else np.asarray(value, dtype=float))
    for name, handle in sorted(capture.handles.items()):
        opening = None if handle.opening is None else handle.opening
        add(name, handle.times, handle.positions, handle.rotations, opening, handle.radius)
    if capture.tracks is not None:
        add(np.nan_to_num(capture.tracks.positions, nan=-1e9), capture.tracks.visible)
    if capture.mesh is not None:
        add(type(capture.mesh).__name__, *(v for v in vars(capture.mesh).values() if isinstance(v, np.ndarray)))
    streams = {("points", ""): capture.points} if capture.points is not None else {}
    for kind in ("colour", "depth", "mask"):
        streams |= {(kind, camera): stream for camera, stream in getattr(capture, kind).items()}
    for name, stream in sorted(streams.items(), key=lambda entry: entry[0]):
        for frame in np.unique(np.linspace(0, len(stream) - 1, FRAMES).round().astype(int)):
            picture = stream[int(frame)]
            add(name, int(frame), None if picture is None else np.nan_to_num(np.asarray(picture)))
    return digest.hexdigest()
