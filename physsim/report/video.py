"""Frames to a video: H.264 that every browser plays, or a strip of stills where no encoder is found."""

import subprocess
from collections.abc import Iterable, Iterator
from itertools import chain
from os import PathLike
from pathlib import Path

import numpy as np
from PIL import Image

from physsim.errors import InputError

STRIP_FRAMES, STRIP_COLUMNS, STRIP_WIDTH = 12, 4, 400


def encoder_path() -> str | None:
    """Path of an ffmpeg that writes H.264, or None where there is none."""
    import imageio_ffmpeg

    try:
        path = imageio_ffmpeg.get_ffmpeg_exe()
        told = subprocess.run([path, "-hide_banner", "-encoders"], capture_output=True, text=True, timeout=30, check=True)
    except (RuntimeError, OSError, subprocess.SubprocessError):
        return None
    return path if "libx264" in told.stdout else None


def write_video(path: str | PathLike[str], frames: Iterable[Image.Image | np.ndarray], fps: float = 30.0) -> Path:
    """Write frames as they come.

    Args:
        path: the file, ending in .mp4; its folder is made where needed
        frames: PIL images, or arrays of uint8, shape [height, width, 3], all of one size with even sides
        fps: frames a second

    Returns:
        What was written: `path`, or where no encoder is found the same name ending in .png, a strip of stills.

    Raises:
        InputError: another ending, no frame, odd sides, frames that differ in size, or `fps` outside 1..240.
    """
    path = Path(path)
    if path.suffix.lower() != ".mp4":
        raise InputError(f"{path}: videos are written as .mp4; give a name that ends so")
    if not 1.0 <= fps <= 240.0:
        raise InputError(f"fps = {fps}: must lie in 1..240 frames a second")
    checked = _checked_frames(frames)
    first = next(checked, None)
    if first is None:
        raise InputError(f"{path}: no frame to write; a video needs at least one")
    path.parent.mkdir(parents=True, exist_ok=True)
    checked = chain([first], checked)
    if encoder_path() is None:
        return _write_strip(path.with_suffix(".png"), checked)
    _encode(path, checked, (first.shape[1], first.shape[0]), fps)
    return path


def _checked_frames(frames: Iterable[Image.Image | np.ndarray]) -> Iterator[np.ndarray]:
    shape = None
    for index, frame in enumerate(frames):
        pixels = np.asarray(frame.convert("RGB") if isinstance(frame, Image.Image) else frame)
        shape = shape or pixels.shape
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape != shape or shape[2] != 3 or shape[0] % 2 or shape[1] % 2:
            raise InputError(
                f"frame {index}: {pixels.dtype} of shape {list(pixels.shape)}; every frame must be uint8 [height, width, 3] of one size, "
                "height and width even"
            )
        yield np.ascontiguousarray(pixels)


def _encode(path: Path, frames: Iterable[np.ndarray], size: tuple[int, int], fps: float) -> None:
    import imageio_ffmpeg

    writer = imageio_ffmpeg.write_frames(
        str(path),
        size,
        fps=fps,
        codec="libx264",
        pix_fmt_in="rgb24",
        pix_fmt_out="yuv420p",
        macro_block_size=2,
        quality=None,
        output_params=["-crf", "19", "-preset", "medium", "-movflags", "+faststart"],
    )
    try:
        writer.send(None)
        for frame in frames:
            writer.send(frame)
    finally:
        writer.close()


def _write_strip(path: Path, frames: Iterable[np.ndarray]) -> Path:
    """Evenly spaced stills in rows, read from left to right."""
    small = []
    for frame in frames:
        image = Image.fromarray(frame)
        small.append(image.resize((STRIP_WIDTH, round(STRIP_WIDTH * image.height / image.width)), Image.Resampling.LANCZOS))
    chosen = [small[index] for index in np.unique(np.linspace(0, len(small) - 1, STRIP_FRAMES).round().astype(int))]
    columns = min(STRIP_COLUMNS, len(chosen))
    rows = -(-len(chosen) // columns)
    width, height = chosen[0].size
    sheet = Image.new("RGB", (columns * width, rows * height), "white")
    for index, image in enumerate(chosen):
        sheet.paste(image, (index % columns * width, index // columns * height))
    sheet.save(path, optimize=True)
    return path
