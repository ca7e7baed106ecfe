"""Files of a capture's folder that no reader asked for: pickles are refused, names that are nearly right are told."""

import difflib
from pathlib import Path

from physsim.capture import layout
from physsim.capture.listing import Listing
from physsim.capture.problems import Problems
from physsim.io.npy import npy_header, npz_headers

PICKLES = (".pkl", ".pickle", ".pk", ".pt", ".pth", ".joblib", ".dill", ".sav")
_TOP = ("rgb", "depth", "mask", "points", "handles", "tracks.npz", layout.MARKER)
_ALIKE = {"color": "rgb", "colour": "rgb", "colours": "rgb", "image": "rgb", "images": "rgb", "video": "rgb", "masks": "mask"}
_ALIKE |= {"segmentation": "mask", "pcd": "points", "clouds": "points", "pointclouds": "points", "controls": "handles"}


def check_strangers(folder: Path, listing: Listing, problems: Problems) -> None:
    """Note pickles, arrays of objects, and files and folders whose names are nearly those of the layout."""
    for file in listing.files:
        suffix = Path(file).suffix.lower()
        if suffix in PICKLES or (suffix not in (".npy", ".npz") and _is_pickle(folder / file)):
            problems.error(
                file,
                "is a pickle, which can run code when it is loaded, and is never read here",
                "save plain arrays (physsim convert reads some formats), and remove it",
                None,
                (file.rpartition("/")[0], "of pickles"),
            )
        elif suffix == ".npz" and file != "tracks.npz" and not file.startswith("mesh."):
            problems.attempt(file, npz_headers, folder / file)
        elif suffix == ".npy" and not file.startswith("points/"):
            problems.attempt(file, npy_header, folder / file)
    for name in listing.names(""):
        if name in _TOP or name.startswith(".") or Path(name).stem == "mesh":
            continue
        stem = name.lower().partition(".")[0]
        near = [_ALIKE[stem]] if stem in _ALIKE else difflib.get_close_matches(name.lower(), _TOP, 1, 0.75)
        if near:
            problems.warning(name, "is not read", f"did you mean {near[0]}?")


def _is_pickle(path: Path) -> bool:
    """Whether a file begins as pickles of protocols 2 to 5 do and ends as all do."""
    try:
        with path.open("rb") as file:
            start = file.read(2)
            if len(start) < 2 or start[0] != 0x80 or not 2 <= start[1] <= 5:
                return False
            file.seek(-1, 2)
            return file.read(1) == b"."
    except OSError:
        return False
