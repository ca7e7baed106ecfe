"""Frames of a capture's folder, read when they are asked for; the last ones stay in memory."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path

import numpy as np

from physsim.capture import layout
from physsim.errors import InputError
from physsim.io.images import read_image, read_integers
from physsim.io.npy import npy_header, read_npy
from physsim.io.ply import read_positions
from physsim.io.video import video_frames

KEPT_BYTES = 96_000_000  # of one stream
KEPT_VIDEO_BYTES = 256_000_000  # going back in a video is dear


class _Kept:
    """The frames that were asked for last, within a number of bytes."""

    def __init__(self, most):
        self._most, self._held, self._frames = most, 0, OrderedDict()

    def get(self, frame):
        if frame in self._frames:
            self._frames.move_to_end(frame)
        return self._frames.get(frame)

    def put(self, frame, value):
        if value.nbytes > self._most or frame in self._frames:
            return
        self._frames[frame] = value
        self._held += value.nbytes
        while self._held > self._most:
            self._held -= self._frames.popitem(last=False)[1].nbytes


class FileFrames(Sequence):
    """A file a frame.

    Args:
        files: path of each frame, None where it is missing.
        read: what a file holds, as an array.
        shown: the frame that is made of that array; a fresh one each time.
    """

    def __init__(self, files: Sequence[Path | None], read: Callable[[Path], np.ndarray], shown: Callable[[np.ndarray], np.ndarray]):
        self.files, self._read, self._shown = list(files), read, shown
        self._kept = _Kept(KEPT_BYTES)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, frame: int) -> np.ndarray | None:
        frame = range(len(self.files))[frame]
        if self.files[frame] is None:
            return None
        stored = self._kept.get(frame)
        if stored is None:
            stored = self._read(self.files[frame])
            self._kept.put(frame, stored)
        return self._shown(stored)


class VideoFrames(Sequence):
    """Frames of a video: decoded in order, from the beginning again where one is asked for that has been passed and was not kept.

    Args:
        path: the video.
        size: (width, height) of its frames [pixel].
        count: number of frames that it must hold.
        missing: frames that are not to be used.
    """

    def __init__(self, path: Path, size: tuple[int, int], count: int, missing: Sequence[int] = ()):
        self.path, self._size, self._count, self._missing = path, size, count, frozenset(missing)
        self._kept = _Kept(KEPT_VIDEO_BYTES)
        self._running, self._next, self._longer = None, 0, None

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, frame: int) -> np.ndarray | None:
        frame = range(self._count)[frame]
        return None if frame in self._missing else colour_shown(self._decoded(frame))

    def excess(self) -> bool:
        """Whether the video goes on behind its last frame."""
        if self._longer is None:
            self.close()
            self._kept = _Kept(KEPT_VIDEO_BYTES)
            self._decoded(self._count - 1)
        return self._longer

    def close(self) -> None:
        """End the process that decodes, if one is waiting."""
        if self._running is not None:
            self._running.close()
            self._running = None

    def _decoded(self, frame):
        stored = self._kept.get(frame)
        if stored is not None:
            return stored
        if self._running is None or frame < self._next:
            self.close()
            self._running, self._next = video_frames(self.path, self._size), 0
        while self._next <= frame:
            stored = next(self._running, None)
            if stored is None:
                ended, self._running = self._next, None
                raise InputError(
                    f"{self.path}: ends after frame {ended - 1}, but there are {self._count} times; write all frames, or list those "
                    'that are not there under "missing"'
                )
            self._kept.put(self._next, stored)
            self._next += 1
        if self._next == self._count:  # look once whether there is more, and let no process wait
            try:
                self._longer = next(self._running, None) is not None
            except InputError:  # what is behind the last frame does not matter
                self._longer = False
            self.close()
        return stored


def read_colour(path: str | PathLike[str], size: tuple[int, int] | None) -> np.ndarray:
    """Red, green and blue from 0 to 1, float32, shape [height, width, 3]; an alpha channel is left out."""
    return read_image(path, size)[0]


def read_depth(path: str | PathLike[str], size: tuple[int, int] | None) -> np.ndarray:
    """Depth as it stands in the file [mm], uint16, shape [height, width]; 0: not measured."""
    return read_integers(path, size, 16)


def read_mask(path: str | PathLike[str], size: tuple[int, int] | None) -> np.ndarray:
    """A mask, bool, shape [height, width]; grey above half is True. It may be empty.

    Raises:
        InputError: what `read_image` refuses; values that are not 0 and yet never above half.
    """
    colour, alpha = read_image(path, size)
    if alpha is not None and alpha.min() < alpha.max():
        grey = alpha
    elif np.abs(colour - colour[..., :1]).max() > 0.02:
        raise InputError(f"{path}: a mask must be grey, this one has colours; write white where the body is and black elsewhere")
    else:
        grey = colour[..., 0]
    brightest = float(grey.max())
    if 0.0 < brightest <= 0.5:
        raise InputError(
            f"{path}: its brightest pixel is {brightest * 255:.3g} of 255, so that nothing counts as body; write 255 where the body is"
        )
    return grey > 0.5


def read_points(path: str | PathLike[str]) -> np.ndarray:
    """Points [m], shape [n, 3], float64, of an .npy or .ply file.

    Raises:
        InputError: no such array, too many points, values that are not finite.
    """
    path = Path(path)
    if path.suffix.lower() == ".ply":
        values = read_positions(path, layout.MAX_FILE)
    else:
        header = npy_header(path, layout.MAX_FILE)
        if len(header.shape) != 2 or header.shape[1] != 3 or header.dtype.kind not in "fiu":
            raise InputError(f"{path}: shape {list(header.shape)} of {header.dtype}; points are numbers of shape [n, 3]")
        values = read_npy(path, layout.MAX_FILE)
    if len(values) > layout.MAX_POINTS:
        raise InputError(f"{path}: {len(values)} points; at most {layout.MAX_POINTS} are read; thin them out")
    values = values.astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(bad):
        raise InputError(f"{path}: {len(bad)} points are NaN or infinite, the first is number {bad[0]}; leave them out")
    return values


def colour_shown(stored: np.ndarray) -> np.ndarray:
    """Colours from 0 to 1, float32, of what is kept."""
    return stored.astype(np.float32) / np.float32(255.0) if stored.dtype == np.uint8 else stored.copy()


def depth_shown(stored: np.ndarray) -> np.ndarray:
    """Depth [m], float32, NaN where none was measured, of units [mm]."""
    return np.where(stored == 0, np.float32(np.nan), stored * np.float32(layout.MILLIMETRE))
