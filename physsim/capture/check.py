"""Everything that is wrong with a capture's folder, found before any work is put into it."""

import warnings
from os import PathLike

import numpy as np

from physsim.capture.capture import Capture
from physsim.capture.check_body import check_body
from physsim.capture.check_frames import read_frames
from physsim.capture.check_views import check_views
from physsim.capture.problems import Problem, Problems
from physsim.capture.read import Parts, read_parts
from physsim.errors import InputError

__all__ = ["Problem", "check_capture", "checked_capture", "examine"]


def check_capture(folder: str | PathLike[str]) -> list[Problem]:
    """All that is wrong with a capture, every frame read: errors, of which no fit is made, and warnings, past which a fit goes on.

    Args:
        folder: that holds capture.json.

    Returns:
        Problems, errors first; none where all is well. Of many alike in one stream the first twenty, and how many more there are.

    Raises:
        InputError: `folder` is no name of a folder.
    """
    return examine(folder)[1]


def checked_capture(folder: str | PathLike[str]) -> tuple[Capture, list[Problem]]:
    """A capture all of whose frames were looked at, and the warnings on it.

    Raises:
        InputError: the first of its errors, and how many more there are.
    """
    problems = check_capture(folder)
    errors = [problem for problem in problems if problem.severity == "error"]
    if errors:
        more = "" if len(errors) == 1 else f" (and {len(errors) - 1} more; `physsim check {folder}` tells them)"
        raise InputError(f"{folder}: {str(errors[0]).removeprefix('error: ')}{more}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # they are among those that are returned
        return Capture.load(folder), problems


def examine(folder: str | PathLike[str]) -> tuple[Parts | None, list[Problem]]:
    """What a folder holds, as far as it can be read, and its problems as `check_capture` gives them."""
    problems = Problems()
    parts = read_parts(folder, problems)
    if parts is not None and parts.facts.frame_count is not None:
        with np.errstate(all="ignore"):  # numbers may be wild, and are compared so that NaN counts as wrong
            seen = read_frames(parts, problems)
            check_body(parts, seen, problems)
            check_views(parts, problems)
    problems.close()
    return parts, sorted(problems, key=lambda p: p.severity)
