"""Hashes: of values of any kind, and of a capture's facts and a few of its frames, which tell one capture from another."""

import hashlib
import json
from collections.abc import Iterable, Iterator

import numpy as np

from physsim.capture.capture import Capture

FRAMES = 3  # of each stream that are looked at: the first, one in the middle, the last


def fingerprint(parts: Iterable[object]) -> str:
    """Hash of numbers, strings and arrays."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(str((part.dtype, part.shape)).encode())
            digest.update(np.ascontiguousarray(part).tobytes())
        else:
            digest.update(repr(part).encode())
        digest.update(b"\0")
    return digest.hexdigest()


def capture_fingerprint(capture: Capture) -> str:
    """Hash of a capture: times, cameras, split, what is known, handles, tracks, mesh, and some frames of every stream.

    Its name and its source do not enter: a copy under another name is the same recording.
    """
    return fingerprint(_told(capture))


def _told(capture: Capture) -> Iterator[object]:
    yield from (capture.times, capture.gravity, capture.fit, capture.test, capture.kind, sorted(capture.noise.items()))
    for name, camera in sorted(capture.cameras.items()):
        yield from (name, json.dumps(camera.to_dict(), sort_keys=True))
    for name, value in sorted(vars(capture.known).items()):
        yield from (name, None if value is None else np.asarray(value, dtype=float))
    for name, handle in sorted(capture.handles.items()):
        yield from (name, handle.times, handle.positions, handle.rotations, handle.opening, handle.radius, handle.places)
    if capture.tracks is not None:
        yield from (np.nan_to_num(capture.tracks.positions, nan=-1e9), capture.tracks.visible, capture.tracks.rest)
    if capture.mesh is not None:
        yield from (type(capture.mesh).__name__, *(v for v in vars(capture.mesh).values() if isinstance(v, np.ndarray)))
    streams = {("points", ""): capture.points} if capture.points is not None else {}
    for kind in ("colour", "depth", "mask"):
        streams |= {(kind, camera): stream for camera, stream in getattr(capture, kind).items()}
    for name, stream in sorted(streams.items(), key=lambda entry: entry[0]):
        for frame in np.unique(np.linspace(0, len(stream) - 1, FRAMES).round().astype(int)):
            picture = stream[int(frame)]
            yield from (name, int(frame), None if picture is None else np.nan_to_num(np.asarray(picture)))
