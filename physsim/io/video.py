"""Videos of strangers, frame by frame, through ffmpeg in a process of its own with bounds on memory, processor time and patience.

Only what an mp4 itself holds is read: the reader's kind is forced, so that a playlist under another name leads nowhere, and only plain
files are opened. ffmpeg writes each frame as a PPM picture, whose size is checked before its pixels are taken.
"""

import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from functools import partial
from os import PathLike
from pathlib import Path

import numpy as np

from physsim.errors import InputError
from physsim.io.files import checked_path
from physsim.io.images import MAX_PIXELS

SUFFIXES = {".mp4"}
MAX_BYTES = 4_000_000_000  # of a file
MEMORY_BYTES = 3 << 30  # of ffmpeg's address space
FRAME_SECONDS = 30.0  # longest wait for one frame [s]
CPU_SECONDS = 3600  # of ffmpeg for a whole video [s]
_MOST_HEADER = 32  # bytes of `P6`, two sizes and 255

# Sets its own bounds, then becomes ffmpeg: a function between fork and exec is not safe where the parent has threads.
_BOUNDED = """
import os, sys
try:
    import resource
    for name, bound in (("RLIMIT_AS", int(sys.argv[1])), ("RLIMIT_CPU", int(sys.argv[2])), ("RLIMIT_FSIZE", 1000000), ("RLIMIT_CORE", 0)):
        hard = resource.getrlimit(getattr(resource, name))[1]
        bound = bound if hard == resource.RLIM_INFINITY else min(bound, hard)
        resource.setrlimit(getattr(resource, name), (bound, bound))
except (ImportError, ValueError, OSError):
    pass
os.execv(sys.argv[3], sys.argv[3:])
"""


def video_frames(path: str | PathLike[str], size: tuple[int, int] | None = None) -> Iterator[np.ndarray]:
    """Frames of a video in their order, decoded as they are asked for.

    Args:
        path: an .mp4 file.
        size: (width, height) that each frame must have [pixel]; None: that of the first one.

    Yields:
        Red, green and blue, uint8, shape [height, width, 3].

    Raises:
        InputError: no such file, no ffmpeg, no video, damaged, frames of another size, or more memory or time than is allowed.
    """
    path = checked_path(path, SUFFIXES, MAX_BYTES)
    with tempfile.TemporaryFile() as spoken:
        process = _started(path, spoken)
        count = 0
        try:
            while True:
                header = _within(process, path, count, _header)
                if header is None:
                    break
                size = size or header
                if header[0] * header[1] > MAX_PIXELS:
                    raise InputError(f"{path}: {header[0]} x {header[1]} pixels; at most {MAX_PIXELS} are read; make it smaller")
                if header != tuple(size):
                    raise InputError(
                        f"{path}: frame {count} has {header[0]} x {header[1]} pixels, {size[0]} x {size[1]} are needed; scale one of them"
                    )
                needed = 3 * header[0] * header[1]
                pixels = _within(process, path, count, partial(_pixels, needed=needed))
                if len(pixels) < needed:
                    raise InputError(f"{path}: cannot be decoded from frame {count} on ({_said(process, spoken)}); is it damaged?")
                count += 1
                yield np.frombuffer(pixels, np.uint8).reshape(size[1], size[0], 3)
            if process.wait() != 0 or count == 0:
                raise InputError(f"{path}: cannot be decoded from frame {count} on ({_said(process, spoken)}); is it cut short or no mp4?")
        finally:
            process.kill()
            process.stdout.close()
            process.wait()


def _started(path: Path, spoken) -> subprocess.Popen:
    import imageio_ffmpeg

    try:
        encoder = imageio_ffmpeg.get_ffmpeg_exe()
    except RuntimeError:
        raise InputError(f"{path}: no ffmpeg was found; install imageio-ffmpeg, or write the frames as PNG files") from None
    command = [encoder, "-nostdin", "-hide_banner", "-loglevel", "error", "-protocol_whitelist", "file", "-threads", "1", "-f", "mov"]
    command += ["-i", f"file:{path.absolute()}", "-map", "0:v:0", "-fps_mode", "passthrough", "-noautoscale", "-threads", "1"]
    command += ["-f", "image2pipe", "-c:v", "ppm", "-pix_fmt", "rgb24", "pipe:1"]
    if sys.platform != "win32":
        command = [sys.executable, "-I", "-S", "-c", _BOUNDED, str(MEMORY_BYTES), str(CPU_SECONDS), *command]
    try:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=spoken)
    except OSError as error:
        raise InputError(f"{path}: ffmpeg cannot be started ({error.strerror})") from None


def _within(process, path, count, read):
    """What `read` takes from the process, which is ended where it lets us wait too long."""
    late = threading.Event()

    def stop():
        late.set()
        process.kill()

    timer = threading.Timer(FRAME_SECONDS, stop)
    timer.daemon = True
    timer.start()
    try:
        return read(process.stdout)
    finally:
        timer.cancel()
        if late.is_set():
            raise InputError(f"{path}: frame {count} took more than {FRAME_SECONDS:g} s to decode; write the frames as PNG files")


def _header(stream) -> tuple[int, int] | None:
    """(width, height) of the PPM picture that comes next; None at the end."""
    words, word = [], b""
    for _ in range(_MOST_HEADER):
        byte = stream.read(1)
        if not byte:
            return None
        if byte.isspace():
            words.append(word)
            word = b""
            if len(words) == 4:
                break
        else:
            word += byte
    if len(words) != 4 or words[0] != b"P6" or words[3] != b"255":
        return None
    return int(words[1]), int(words[2])


def _pixels(stream, needed: int) -> bytes:
    return stream.read(needed)


def _said(process, spoken) -> str:
    """Last words of ffmpeg."""
    process.kill()
    process.wait()
    spoken.seek(0)
    return " ".join(spoken.read(100_000).decode(errors="replace").split())[-160:] or "nothing was said"
