"""Films of a twin: beside what a camera saw, and in a robot's hand."""

from collections.abc import Iterator
from os import PathLike
from pathlib import Path

import numpy as np
from PIL import Image

from physsim.appearance.asset import Asset
from physsim.capture.capture import Capture
from physsim.report.overlay import Legend, draw_overlay
from physsim.report.video import write_video

HIGH = 360  # of the pictures [pixel]
SLOWER = 3.0  # a capture of a few seconds is shown slower by this factor
LEAST_FPS = 5.0
GRASP_HIGH, GRASP_FPS = 288, 12.0  # of a grasp's film: rays to a robot's meshes are what it takes
BEHIND = 0.93  # grey behind what is drawn


def capture_film(path: str | PathLike[str], capture: Capture, asset: Asset, frames: np.ndarray, positions: np.ndarray) -> Path:
    """What the first camera with colour saw, the twin as its splats show it, and both mixed, frame by frame.

    Args:
        path: .mp4 file.
        capture: with colour.
        asset: with splats.
        frames: of the capture, shape [f].
        positions: of the asset's points in these [m], shape [f, n, 3].

    Returns:
        What was written: the video, or a strip of stills where no encoder is found.
    """
    rate = (len(frames) - 1) / max(float(np.ptp(capture.times[frames])), 1e-9) if len(frames) > 1 else 30.0
    fps = float(np.clip(rate / SLOWER, LEAST_FPS, 60.0))
    return write_video(path, capture_pictures(capture, asset, frames, positions), fps)


def capture_pictures(capture: Capture, asset: Asset, frames: np.ndarray, positions: np.ndarray) -> Iterator[Image.Image]:
    """The pictures of `capture_film`; frames without a picture are left out."""
    from physsim.twin.pictures import painter

    name = next(iter(capture.colour))
    camera, draw = capture.cameras[name], painter(asset)
    width = 2 * round(camera.width * HIGH / camera.height / 2)
    lens = camera.resized(width, HIGH)
    for frame, x in zip(frames, positions, strict=True):
        seen = capture.colour[name][int(frame)]
        if seen is None or not np.isfinite(x).all():
            continue
        measured = np.asarray(_picture(seen).resize((width, HIGH), Image.Resampling.BICUBIC), dtype=np.float32) / 255.0
        colour, alpha, _ = draw(lens, x)
        over = 1.0 - alpha[..., None]
        drawn, laid = colour + over * BEHIND, colour + over * measured
        part = "fitted" if frame in capture.fit else "predicted" if frame in capture.test else "between"
        told = ("measured", f"twin, {part}", "twin over the measured picture")
        panels = [_labelled(p, text, f"{capture.times[frame]:.2f} s") for p, text in zip((measured, drawn, laid), told, strict=True)]
        yield Image.fromarray(np.concatenate([np.asarray(panel) for panel in panels], axis=1))


def grasp_film(path: str | PathLike[str], run: object, fps: float = GRASP_FPS) -> Path:
    """A grasp with the object by its splats, the robot by its meshes.

    Args:
        path: .mp4 file.
        run: Run of it, with a camera, whose object has an asset with splats.
        fps: frames a second of the film, which takes as long as the grasp.

    Returns:
        What was written: the video, or a strip of stills where no encoder is found.
    """
    from physsim.viewer.film import film

    high = GRASP_HIGH
    size = 2 * round(run.camera.width * high / run.camera.height / 2), high
    frames = max(2, round(fps * float(np.ptp(run.times))) + 1)
    return film(run, path, size=size, frames=frames, show="splats")


def _picture(colours):
    return Image.fromarray((255.0 * np.clip(colours, 0.0, 1.0)).round().astype(np.uint8))


def _labelled(colours, caption, note):
    picture = _picture(colours)
    draw_overlay(picture, Legend([], None), caption, note)
    return picture
