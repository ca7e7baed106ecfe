"""Recorded launches: a kernel and its arguments once, replayed cheaply, sliced over threads by environments on the CPU."""

import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from itertools import pairwise

import warp as wp

from physsim.errors import InputError

WORTH_A_THREAD = 400.0  # [us] of work in a launch, of which waking a second thread costs about a fifth


@lru_cache(maxsize=1)
def _pool():
    return ThreadPoolExecutor(max_workers=thread_count(), thread_name_prefix="physsim")


@lru_cache(maxsize=1)
def thread_count():
    """Threads for environments on the CPU: the cores this process may use, at most 8; PHYSSIM_THREADS sets another number."""
    asked = os.environ.get("PHYSSIM_THREADS")
    if asked:
        if not asked.isdigit() or int(asked) < 1:
            raise InputError(f"PHYSSIM_THREADS = {asked!r}: a whole number of at least 1 is needed")
        return int(asked)
    return max(1, min(8, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1))


def over_environments(function, envs):
    """Call `function(env)` for each environment, on the pool's threads where there are several; results in order."""
    envs = list(envs)
    if len(envs) < 2 or thread_count() < 2:
        return [function(e) for e in envs]
    return list(_pool().map(function, envs))


class Launcher:
    """Records launches over (environments, count) for one device."""

    def __init__(self, device, envs, slices=None):
        self.device = device
        on_cpu = wp.get_device(device).is_cpu
        parts = (slices or min(thread_count(), envs)) if on_cpu else 1
        bounds = [envs * k // parts for k in range(parts + 1)]
        self._slices = [(a, b - a) for a, b in pairwise(bounds) if b > a]

    def record(self, kernel, count, *arguments, weight=0.01):
        """A command whose kernel takes the first environment of its slice, then `arguments`.

        Args:
            kernel: Warp kernel over (environments, count).
            count: threads of one environment.
            weight: rough cost of one thread [us]; launches too short to repay a thread's wake-up are not sliced.
        """
        if count == 0:
            return Command([])
        _announce(kernel, self.device)
        parts = []
        total = sum(envs for _, envs in self._slices)
        slices = self._slices if total * count * weight > WORTH_A_THREAD else [(0, total)]
        for first, envs in slices:
            inputs = [first, *arguments]
            parts.append(wp.launch(kernel, dim=(envs, count), inputs=inputs, device=self.device, record_cmd=True))
        return Command(parts)


class Command:
    """One recorded launch, in slices."""

    def __init__(self, parts):
        self._parts = parts

    def __call__(self):
        """Launch; returns when all slices are done (on CUDA: when they are queued)."""
        if len(self._parts) < 2:
            for part in self._parts:
                part.launch()
        else:
            list(_pool().map(lambda part: part.launch(), self._parts))

    def set(self, index, value):
        """Change argument `index` (0 is the first after the slice's first environment)."""
        for part in self._parts:
            part.set_param_at_index(index + 1, value)


@contextmanager
def quiet_warp():
    """Keep Warp's own notices off the terminal; errors still show."""
    level = wp.config.log_level
    wp.config.log_level = max(level, wp.LOG_ERROR)
    try:
        yield
    finally:
        wp.config.log_level = level


_seen = set()


def _announce(kernel, device):
    """Load a kernel's module; say what the wait is for when it has to be compiled."""
    if (kernel, device) in _seen:
        return
    _seen.add((kernel, device))
    start = time.perf_counter()
    with quiet_warp():
        wp.load_module(kernel.module, device=device)
    waited = time.perf_counter() - start
    if waited > 0.5 and sys.stderr.isatty():
        print(f"physsim: compiled {kernel.key} for {device} in {waited:.1f} s (once; kept in Warp's cache)", file=sys.stderr)
