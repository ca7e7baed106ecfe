"""Which files a capture's folder holds. Nothing is opened, no link is followed out of the folder."""

import os
from collections.abc import Collection
from itertools import islice
from pathlib import Path

from physsim.capture import layout
from physsim.capture.problems import Problems

_DEPTH = 4  # folders in folders that are looked into


class Listing:
    """Files of a folder by their names, with / between folders.

    Args:
        folder: the capture's.
        problems: where what is wrong is noted: links that leave the folder, files that are none, frames that are missing.
    """

    def __init__(self, folder: Path, problems: Problems):
        self._folder, self._problems = folder, problems
        self.files: dict[str, None] = {}
        self._under: dict[str, dict[str, None]] = {}  # folder -> names in it, in order
        self._root = folder.resolve()
        self._scan(folder, "", _DEPTH)

    def has(self, name: str) -> bool:
        """Whether there is such a file or folder."""
        return name in self.files or name in self._under

    def folders(self) -> list[str]:
        """Names of all folders."""
        return [name for name in self._under if name]

    def names(self, folder: str) -> list[str]:
        """Names in a folder, sorted."""
        return list(self._under.get(folder, {}))

    def cameras(self, head: str) -> list[str]:
        """Cameras that have a folder, or a video, below one of the streams' folders."""
        found = []
        for name in self.names(head):
            whole = f"{head}/{name}"
            if whole in self._under:
                found.append(name)
            elif head == "rgb" and name.lower().endswith(".mp4"):
                found.append(name[:-4])
            elif not name.startswith("."):
                self._problems.warning(whole, "is not read", f"pictures belong into {head}/CAMERA/000000.png", None, (head, "of files"))
        return list(dict.fromkeys(found))

    def handles(self) -> list[str]:
        """Handles that have a table."""
        found = []
        for name in self.names("handles"):
            if name.endswith(".csv") and layout.is_name(name[:-4]):
                found.append(name[:-4])
            elif not name.startswith("."):
                self._problems.warning(f"handles/{name}", "is not read", "handles are tables NAME.csv", None, ("handles", "of files"))
        if len(found) > layout.MAX_HANDLES:
            self._problems.error("handles", f"{len(found)} handles", f"at most {layout.MAX_HANDLES} are read; join some by their places")
        return found[: layout.MAX_HANDLES]

    def frames(self, folder: str, suffixes: tuple[str, ...], count: int, missing: Collection[int]) -> list[Path | None] | None:
        """Path of each frame, None where it is missing; None where no frame is there.

        Frames that are missing and not said to be are noted, like those that are there twice or too many.
        """
        found: dict[int, str] = {}
        from_one = False
        remedy = f"write {folder}/000000{suffixes[0]}, ..."
        kind = folder, "of frames"
        for name in self.names(folder):
            file = f"{folder}/{name}"
            frame = layout.frame_number(name)
            if file not in self.files or os.path.splitext(name)[1].lower() not in suffixes or frame is None:
                if not name.startswith("."):
                    self._problems.warning(file, "is no frame by its name", remedy, None, (folder, "of names"))
            elif frame >= count:
                from_one |= frame == count
                self._problems.warning(
                    file, f"lies beyond the {count} times", "add its time, or remove it", frame, (folder, "of extra frames")
                )
            elif frame in found:
                self._problems.error(file, f"{found[frame]} is there as well", "keep one of them", frame, kind)
            else:
                found[frame] = name
        if not found:
            self._problems.error(folder, "holds no frame", remedy)
            return None
        for frame in range(count):
            if frame not in found and frame not in missing:
                file = f"{folder}/{layout.frame_name(frame, suffixes[0])}"
                what = f'write it, or list {frame} under "missing": {{"{folder}": [...]}} in capture.json'
                what = "frames are numbered from 000000: rename them all" if frame == 0 and from_one else what
                self._problems.error(file, "is missing", what, frame, kind)
        return [self._folder / folder / found[frame] if frame in found and frame not in missing else None for frame in range(count)]

    def _scan(self, path, name, depth):
        try:
            with os.scandir(path) as entries:
                rows = sorted(islice(entries, layout.MAX_FILES + 1), key=lambda entry: entry.name)
        except OSError as error:
            self._problems.error(name, f"cannot be listed ({error.strerror})", "look at its permissions")
            return
        under = self._under.setdefault(name, {})
        for entry in rows:
            if len(self.files) >= layout.MAX_FILES:
                self._problems.error(name, f"more than {layout.MAX_FILES} files", "split the capture", None, ("", "of files"))
                return
            whole = f"{name}/{entry.name}" if name else entry.name
            try:
                self._one(entry, whole, under, depth)
            except (OSError, RuntimeError, ValueError) as error:
                self._problems.error(whole, f"cannot be looked at ({error})", "remove it", None, (name, "of files"))

    def _one(self, entry, whole, under, depth):
        alike = whole.rpartition("/")[0], "of files"
        if entry.is_symlink() and not Path(entry.path).resolve().is_relative_to(self._root):
            self._problems.error(whole, "is a link that leaves the folder", "copy the file into it", None, alike)
        elif entry.is_dir():
            if entry.is_symlink():
                self._problems.error(whole, "is a link to a folder", "copy the folder", None, alike)
            elif depth:
                under[entry.name] = None
                self._scan(entry.path, whole, depth - 1)
        elif entry.is_file():
            under[entry.name] = None
            self.files[whole] = None
        else:
            self._problems.error(whole, "is no plain file", "remove it", None, alike)
