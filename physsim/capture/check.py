"""Everything that is wrong with a capture's folder, found before any work is put into it."""

from os import PathLike

import numpy as np

from physsim.capture.check_body import check_body
from physsim.capture.check_frames import read_frames
from physsim.capture.check_views import check_views
from physsim.capture.problems import Problem, Problems
from physsim.capture.read import Parts, read_parts

__all__ = ["Problem", "check_capture", "examine"]


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
