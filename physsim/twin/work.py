"""What a fit under way keeps on disk beside its output, so that it goes on after a kill: whole results of its stages, and their times.

OUT.partial/
  work.json       what it is of (a hash of capture, options and versions), seconds and memory of the stages done so far
  NAME.npz        the result of a stage, as `physsim.io.packing` writes nested values
  identify/ ...   what a stage keeps of its own

Each file is written beside its place and renamed.
"""

import hashlib
import json
import os
import resource
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from physsim.errors import InputError
from physsim.io.arrays import load_arrays, save_arrays
from physsim.io.files import read_json
from physsim.io.packing import packed, unpacked
from physsim.twin.results import Stage

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

FORMAT, MARKER, KIND = "physsim fit under way", "work.json", "fit under way"
MAX_JSON = 1_000_000  # bytes


class Work:
    """The folder of a fit under way.

    Args:
        folder: made where it is missing.
        key: of what is fitted, and how; what is there of another one is discarded.
        restart: discard what is there in any case.
        tell: called with a line that says whether the fit goes on or begins anew.

    Raises:
        InputError: the folder holds something else, or cannot be written.
    """

    def __init__(self, folder: Path, key: str, restart: bool = False, tell: Callable[[str], None] = lambda line: None) -> None:
        self.folder, self.key = Path(folder), key
        self.stages, self._spent = [], {}
        try:
            found = self._found()
            if found is not None and found.get("key") == key and not restart:
                self._spent = _times(found.get("stages"))
                tell(f"goes on from {self.folder}")
                return
            if found is not None:
                why = "as asked" if restart else "what is there is of another capture, other options or another version"
                tell(f"begins anew ({why}): {self.folder}")
                shutil.rmtree(self.folder)
            self.folder.mkdir()
            self._write()
        except OSError as error:
            raise InputError(f"{self.folder}: cannot be written ({error.strerror}); its folder must be there and be writable") from None

    def _found(self):
        """What the marker says; None where there is no such folder, or an empty one."""
        if not self.folder.exists():
            return None
        if not self.folder.is_dir() or (any(self.folder.iterdir()) and not (self.folder / MARKER).is_file()):
            raise InputError(f"{self.folder}: it is not what an interrupted fit leaves; move it away, or give another --out")
        try:
            told = read_json(self.folder / MARKER, MAX_JSON)
        except InputError:
            return {}
        return told if isinstance(told, dict) and told.get("format") == FORMAT else {}

    def _write(self):
        stages = {name: list(spent) for name, spent in self._spent.items()}
        partial = self.folder / f"{MARKER}.partial"
        partial.write_text(json.dumps({"format": FORMAT, "key": self.key, "stages": stages}) + "\n", encoding="utf-8")
        os.replace(partial, self.folder / MARKER)

    def path(self, name: str) -> Path:
        """Where a stage keeps something of its own."""
        return self.folder / name

    def keep(self, name: str, value: object) -> None:
        """Write the result of a stage: dicts, lists, tuples, text, numbers, finite arrays."""
        told, arrays = packed(value)
        text = np.frombuffer(json.dumps(told, allow_nan=False).encode(), np.uint8)
        save_arrays(self.path(f"{name}.npz"), KIND, {"told": text} | {f"value/{key}": array for key, array in arrays.items()})

    def kept(self, name: str) -> object:
        """The result of a stage; None where there is none, or a damaged one."""
        path = self.path(f"{name}.npz")
        if not path.is_file():
            return None
        try:
            arrays = load_arrays(path, KIND)
            told = json.loads(arrays.pop("told").astype(np.uint8).tobytes())
            return unpacked(str(path), told, {key[len("value/") :]: array for key, array in arrays.items()})
        except (InputError, ValueError, KeyError):
            return None

    @contextmanager
    def stage(self, name: str) -> Iterator[Callable[[], None]]:
        """Take the time and memory of a stage, those of interrupted runs included; the yielded function writes them down on the way."""
        before, wall, cpu = self._spent.get(name, (0.0, 0.0, 0.0)), time.perf_counter(), _cpu()

        def note():
            now = time.perf_counter() - wall, _cpu() - cpu
            self._spent[name] = before[0] + now[0], before[1] + now[1], max(before[2], peak_mb())
            self._write()

        yield note
        note()
        self.stages.append(Stage(name, *self._spent[name]))

    def remove(self) -> None:
        """Take the folder away: the fit is done."""
        shutil.rmtree(self.folder, ignore_errors=True)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep other processes out of a folder of work, whether it is there yet or not: two that write into it would undo each other.

    The lock ends with the process, however that ends. Where the system has no such locks nothing is kept out.

    Raises:
        InputError: another process has it; its place cannot be written.
    """
    if fcntl is None:
        yield
        return
    path = folder.with_name(f"{folder.name}.lock")
    try:
        file = path.open("w")
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); its folder must be there and be writable") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"{folder}: another fit to the same output is under way; wait for it, or give another --out") from None
        except OSError:
            pass  # a disk without locks
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _times(told):
    """Seconds, CPU seconds and memory by stage, as far as they are numbers."""
    out = {}
    for name, spent in told.items() if isinstance(told, dict) else ():
        if isinstance(spent, list) and len(spent) == 3 and all(isinstance(x, int | float) for x in spent):
            out[name] = tuple(map(float, spent))
    return out


def _cpu():
    """CPU seconds of this process and of its children that have ended."""
    spent = os.times()
    return spent.user + spent.system + spent.children_user + spent.children_system


def peak_mb() -> float:
    """Largest resident memory of this process so far [MB]."""
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest / (1e6 if sys.platform == "darwin" else 1e3)


def key_of(*parts: object) -> str:
    """Hash of text and of what JSON takes."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()
