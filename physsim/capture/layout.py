"""Names and limits of a capture's folder."""

import re
from pathlib import Path

FORMAT, VERSION, MARKER = "physsim capture", 1, "capture.json"
STREAMS = {"colour": "rgb", "depth": "depth", "mask": "mask"}  # of a Capture -> folder
SUFFIXES = {"rgb": (".png", ".jpg", ".jpeg"), "depth": (".png",), "mask": (".png",), "points": (".npy", ".ply")}
MESH_SUFFIXES = (".npz", ".npy", ".obj", ".ply", ".stl", ".off", ".dae", ".msh", ".vtk", ".vtu", ".mesh")
MILLIMETRE = 0.001  # [m] that one unit of a depth picture stands for
FARTHEST = 65535 * MILLIMETRE  # [m]

MAX_FRAMES = 1_000_000
MAX_CAMERAS = 64
MAX_HANDLES = 64
MAX_POINTS = 5_000_000  # of one frame
MAX_TRACKS = 1_000_000  # points that are followed
MAX_TRACK_VALUES = 10_000_000  # frames x points
MAX_PIXELS = 17_000_000  # of a picture
MAX_FILE = 256_000_000  # bytes of points
MAX_MESH = 32_000_000  # bytes of a rest shape
MAX_TABLE = 16_000_000  # bytes of handles or joints
MAX_FILES = 500_000  # in all, before they are not looked at any further

_NAME = re.compile(r"\w([\w .+-]{0,62}[\w+-])?")
_FRAME = re.compile(r"[0-9]{6}")


def is_name(name: object) -> bool:
    """Whether a camera or handle may be called so: 1 to 64 letters, digits, `_ . + -` and spaces inside; it names files."""
    return isinstance(name, str) and _NAME.fullmatch(name) is not None and name.isprintable()


def frame_name(frame: int, suffix: str) -> str:
    """Name of a frame's file."""
    return f"{frame:06d}{suffix}"


def frame_number(file: str) -> int | None:
    """Frame that a file's name stands for; None if for none."""
    stem = Path(file).stem
    return int(stem) if _FRAME.fullmatch(stem) else None


def runs(frames: list[int]) -> list[list[int]]:
    """Increasing frames as half-open ranges [first, end)."""
    found: list[list[int]] = []
    for frame in frames:
        if found and found[-1][1] == frame:
            found[-1][1] = frame + 1
        else:
            found.append([frame, frame + 1])
    return found
