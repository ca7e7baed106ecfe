"""Captures from other people's files: which adapter reads a source, and the command `physsim convert`."""

import inspect
from collections.abc import Callable
from importlib import import_module
from os import PathLike
from pathlib import Path
from types import ModuleType

from physsim.capture.capture import Capture
from physsim.errors import InputError

FORMATS = {  # in the order in which they are tried
    "phystwin": "a case of PhysTwin: the folder with final_data.pkl, or that file",
    "beam": "a CSV file of a beam's markers beside its experiment.json",
    "starfish": "a CSV file of a tendon's contraction and of markers seen from the side",
    "deform": "a pickle of a cable's markers, as DEFORM publishes them",
    "clouds": "a folder with one .npy or .ply file of points a frame",
}


def _adapter(name: str) -> ModuleType:
    return import_module(f"physsim.capture.adapters.{name}")


def guess(source: str | PathLike[str]) -> str:
    """Name of the format that a source is in.

    Raises:
        InputError: there is no such file or folder, or it is in none of the formats.
    """
    path = Path(source)
    if not path.exists():
        raise InputError(f"{path}: no such file or folder")
    for name in FORMATS:
        if _adapter(name).fits(path):
            return name
    listed = "; ".join(f"{name}: {what}" for name, what in FORMATS.items())
    raise InputError(f"{path}: its format is not recognised; say which it is (--from). Known are {listed}")


def convert(source: str | PathLike[str], source_format: str | None = None, **options: object) -> Capture:
    """A capture from a file or folder of another format.

    Args:
        source: the file or folder.
        source_format: one of FORMATS; None: guessed.
        options: of the format's adapter, such as `rate` [Hz]; see `physsim.capture.adapters`.

    Returns:
        Capture; `Capture.save` writes it.

    Raises:
        InputError: a source that cannot be used, an unknown format, an option that the format does not have.
    """
    if source_format is not None and source_format not in FORMATS:
        raise InputError(f"format {source_format!r} is unknown; there are {', '.join(FORMATS)}")
    name = guess(source) if source_format is None else source_format
    read = _adapter(name).read
    known = [key for key in inspect.signature(read).parameters if key != "source"]
    other = [key for key in options if key not in known]
    if other:
        raise InputError(f"{other[0]} has no meaning for a source of format {name!r}; it takes {', '.join(known) or 'no options'}")
    return read(source, **options)


def main(
    source: Path, out: Path, source_format: str | None = None, show: Callable[[str], None] = print, quiet: bool = False, **options: object
) -> int:
    """The command `physsim convert`.

    Returns:
        Exit code.
    """
    capture = convert(source, source_format, **options)
    capture.save(out)
    if not quiet:
        show(_told(capture, out))
    return 0


def _told(capture: Capture, out: Path) -> str:
    """What was found, in one line."""
    seconds = capture.times[-1] - capture.times[0]
    parts = [f"{capture.frame_count} frames over {seconds:.3g} s", ", ".join(capture.sensors)]
    if capture.handles:
        parts.append(f"handles {', '.join(capture.handles)}")
    return f"{out}: {'; '.join(parts)}; {len(capture.fit)} frames to fit, {len(capture.test)} held out"
