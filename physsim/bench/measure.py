"""Seconds and memory of this process."""

import contextlib
import resource
import time
from dataclasses import dataclass
from pathlib import Path

SHORT_S = 1.0
"""Runs shorter than this [CPU s] are repeated and their median is reported."""
REPEATS = 5
"""Runs of a short case; a case of up to four times `SHORT_S` is run three times, a longer one once."""


@dataclass
class Timing:
    """Seconds of a block: CPU seconds of all threads, and wall-clock seconds."""

    cpu_s: float = 0.0
    wall_s: float = 0.0


class Stopwatch:
    """Context manager that fills a `Timing` with what its block took."""

    def __enter__(self) -> Timing:
        self.timing = Timing()
        self.cpu, self.wall = time.process_time(), time.perf_counter()
        return self.timing

    def __exit__(self, *_: object) -> None:
        self.timing.cpu_s = time.process_time() - self.cpu
        self.timing.wall_s = time.perf_counter() - self.wall


def repeats_for(first_cpu_s: float) -> int:
    """Return how many runs in all a case deserves whose first took `first_cpu_s` [s]."""
    if first_cpu_s < SHORT_S:
        return REPEATS
    return 3 if first_cpu_s < 4.0 * SHORT_S else 1


def _status_mb(field: str) -> float | None:
    """Return a field of /proc/self/status in megabytes (2**20 bytes), or None where there is no such file."""
    try:
        text = Path("/proc/self/status").read_text()
    except OSError:
        return None
    for line in text.splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1024.0
    return None


def peak_mb() -> float:
    """Return the largest resident memory this process has had [MB].

    On Linux it is read from /proc, because `getrusage` also counts what the parent had at the moment of the fork.
    """
    peak = _status_mb("VmHWM")
    return peak if peak is not None else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0


class MemoryWatch:
    """The peak of the whole process, and how far it rises above where it stood when `mark` was called."""

    def __init__(self) -> None:
        self.before = 0.0
        self.peak_before = 0.0

    def mark(self) -> None:
        """Take the present memory as the baseline and, on Linux, let the peak start anew from it."""
        self.peak_before = peak_mb()
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
        self.before = _status_mb("VmRSS") or self.peak_before

    def columns(self) -> dict[str, float]:
        """Return `peak_rss_mb` of the process and `run_rss_mb`, its rise over the baseline."""
        after = peak_mb()
        return {
            "peak_rss_mb": round(max(self.peak_before, after), 1),
            "run_rss_mb": round(max(0.0, after - self.before), 1),
        }
