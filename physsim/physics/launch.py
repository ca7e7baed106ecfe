"""Recorded launches: a kernel and its arguments once, replayed cheaply, sliced over threads on the CPU."""

import ctypes
import os
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import lru_cache
from itertools import pairwise

import warp as wp

from physsim.errors import InputError

WORTH_A_THREAD = 8000.0  # [us] of work in a launch: waking a thread takes some 50 of CPU time, on a busy machine much more of waiting


class _Workers:
    """Threads that work beside the calling one, `thread_count() - 1` of them.

    They are kept off the core that the caller is on: Linux wakes a thread where its waker runs, and leaves it waiting there for
    tens of milliseconds while another core idles. Where cores cannot be chosen (no such call, a cpuset that shrank) they run anywhere.
    """

    def __init__(self):
        self._pool = ThreadPoolExecutor(max_workers=thread_count() - 1, thread_name_prefix="physsim", initializer=self._enter)
        self.threads = []
        self._placed = None
        self._current_core = getattr(ctypes.CDLL(None), "sched_getcpu", None) if hasattr(os, "sched_setaffinity") else None

    def _enter(self):
        self.threads.append(threading.get_native_id())
        self._placed = None

    def submit(self, function, *arguments):
        """A future of `function(*arguments)`."""
        if self._current_core is not None:
            self._keep_apart()
        return self._pool.submit(function, *arguments)

    def _keep_apart(self):
        """Bind the threads to the cores that the caller may use now, without the one that it is on."""
        core, cores = self._current_core(), os.sched_getaffinity(0)
        if (core, cores) == self._placed:
            return
        self._placed = core, cores
        try:
            for thread in self.threads:
                os.sched_setaffinity(thread, (cores - {core}) or cores)
        except OSError:  # a core was taken from this process in between
            self._current_core = None


@lru_cache(maxsize=1)
def _workers():
    return _Workers()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_workers.cache_clear)  # a child has none of its parent's threads


@lru_cache(maxsize=1)
def thread_count():
    """Threads on the CPU: the cores this process may use, at most 8; PHYSSIM_THREADS sets another number."""
    asked = os.environ.get("PHYSSIM_THREADS")
    if asked:
        if not asked.isdigit() or int(asked) < 1:
            raise InputError(f"PHYSSIM_THREADS = {asked!r}: a whole number of at least 1 is needed")
        return int(asked)
    return max(1, min(8, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1))


def worker_count():
    """Threads that this module has started."""
    return len(_workers().threads) if _workers.cache_info().currsize else 0


def over_environments(function, envs):
    """Call `function(env)` for each environment, on several threads where there are several; results in order."""
    envs = list(envs)
    if len(envs) < 2 or thread_count() < 2:
        return [function(e) for e in envs]
    results = [None] * len(envs)
    places = iter(range(len(envs)))

    def work():
        for k in places:  # shared: each thread takes the next
            results[k] = function(envs[k])

    _beside([work] * min(thread_count(), len(envs)))
    return results


def _beside(functions):
    """Call functions without arguments at the same time, the first on this thread; returns when all are done. One thread: in turn."""
    if thread_count() < 2:
        for function in functions:
            function()
        return
    waiting = [_workers().submit(function) for function in functions[1:]]
    try:
        functions[0]()
    finally:
        wait(waiting)
    for future in waiting:
        future.result()


class Launcher:
    """Records launches over (environments, count) for one device, sliced over threads on the CPU.

    How a kernel may be sliced is said by its first argument. `first: wp.vec2i` = (first environment, first row): over both
    dimensions; every thread must write slots of its own, so that results do not depend on the slices. `first: int` = first
    environment: over environments only, for kernels that do an environment's whole work in one thread (count 1).

    Args:
        device: Warp device.
        envs: environments.
        slices: parts of a launch; None: `thread_count()`. Always 1 on CUDA.
    """

    def __init__(self, device, envs, slices=None):
        self.device, self.envs = device, envs
        self.slices = (slices or thread_count()) if wp.get_device(device).is_cpu else 1

    def record(self, kernel, count, *arguments, weight=0.01):
        """A command whose kernel takes the first environment (and row) of its slice, then `arguments`.

        Args:
            kernel: Warp kernel over (environments, count).
            count: threads of one environment.
            weight: rough cost of one thread [us]; launches too short to repay a thread's wake-up are not sliced.
        """
        if count == 0:
            return Command([])
        announce(kernel, self.device)
        by_rows = kernel.adj.args[0].type is wp.vec2i
        slices = self.slices if self.envs * count * weight > WORTH_A_THREAD else 1
        parts = []
        for env, envs, row, rows in _cut(self.envs, count, slices, by_rows):
            inputs = [wp.vec2i(env, row) if by_rows else env, *arguments]
            parts.append(wp.launch(kernel, dim=(envs, rows), inputs=inputs, device=self.device, record_cmd=True))
        return Command(parts)

    def record_whole(self, kernel, dim, *arguments):
        """A command in one piece, of a kernel that knows no slices: `dim` and `arguments` are all of its own."""
        announce(kernel, self.device)
        return Command([wp.launch(kernel, dim=dim, inputs=list(arguments), device=self.device, record_cmd=True)], sliced=False)


def _cut(envs, count, slices, by_rows):
    """Slices (first environment, environments, first row, rows) that cover a launch; rows are cut where there are more of them."""
    along_rows = by_rows and count > envs
    total = count if along_rows else envs
    bounds = [total * k // slices for k in range(slices + 1)]
    ranges = [(a, b - a) for a, b in pairwise(bounds) if b > a]
    return [(0, envs, *r) for r in ranges] if along_rows else [(*r, 0, count) for r in ranges]


class Command:
    """One recorded launch, in slices. `count` is how many this process has made; a benchmark reads it."""

    count = 0

    def __init__(self, parts, sliced=True):
        self._parts = parts
        self._set = {}  # what arguments were set to last
        self._lead = int(sliced)  # arguments before the caller's own
        self._late = {}  # arguments that Warp's own record of the launch has yet to learn of
        self._packed = [_pack(part) for part in parts]
        self._launches = [_direct(*pair) if pair[1] else pair[0].launch for pair in zip(parts, self._packed, strict=True)]

    def __call__(self):
        """Launch; returns when all slices are done (on CUDA: when they are queued)."""
        Command.count += 1
        if self._parts and _captures():
            for part in self._parts:
                for index, value in self._late.items():
                    part.set_param_at_index(index, value)
                part.launch()
            self._late.clear()
        elif len(self._launches) > 1:
            _beside(self._launches)
        else:
            for launch in self._launches:
                launch()

    def set(self, index, value):
        """Change argument `index` (0 is the first after the slice's beginning)."""
        known = self._set.get(index, self)
        if known is value or (type(value) is int and type(known) is int and known == value):  # setting costs more than launching
            return
        self._set[index] = value
        index += self._lead
        for part, packed in zip(self._parts, self._packed, strict=True):
            if packed is not None and isinstance(value, (wp.array, int)):  # Warp's own setting would take six times as long
                setattr(packed, packed._fields_[index][0], value if isinstance(value, int) else value.__ctype__())
                self._late[index] = value
                continue
            part.set_param_at_index(index, value)
            if packed is not None:
                setattr(packed, packed._fields_[index][0], part.params[index + 1])


_capturing = 0  # captures that this process is in the middle of


def _captures():
    return _capturing > 0


@contextmanager
def capturing():
    """While launches are recorded into a graph, on whatever device."""
    global _capturing
    _capturing += 1
    try:
        yield
    finally:
        _capturing -= 1


class Program:
    """Commands that follow one another at every call, from one loop: on a CPU that takes a third of calling each."""

    def __init__(self, commands):
        self._commands = [c for c in commands if c._parts]
        whole = all(len(c._launches) == 1 for c in self._commands)
        self._launches = [c._launches[0] for c in self._commands] if whole else None

    def __call__(self):
        """Launch all; as a Command."""
        if self._launches is None or _captures():
            for command in self._commands:
                command()
            return
        Command.count += len(self._launches)
        for launch in self._launches:
            launch()


class Copies:
    """Copies between device arrays of the same size that are made again and again; contiguous ones, which must outlive it."""

    def __init__(self, *pairs):
        self._pairs = pairs

    def __call__(self):
        """Copy all."""
        for out, source in self._pairs:
            copy(out, source)


def copy(out, source):
    """As `wp.copy`, between arrays of one device, which takes ten times as long for small ones on a CPU."""
    alike = out.shape == source.shape and out.dtype == source.dtype and out.is_contiguous and source.is_contiguous
    if alike and out.device.is_cpu and not _captures():
        ctypes.memmove(out.ptr, source.ptr, out.shape[0] * out.strides[0])
    else:
        wp.copy(out, source)


class HostView:
    """A device array as numpy reads it: on the CPU one view of it, made once, elsewhere a copy at each call."""

    def __init__(self, array):
        self._array = array
        self._view = array.numpy() if array.device.is_cpu else None

    def __call__(self):
        """The numbers as they are; not to be written to, nor kept."""
        return self._view if self._view is not None else self._array.numpy()


def _pack(part):
    """The arguments of a recorded launch as the kernel's entry point on the CPU reads them; None elsewhere.

    Warp packs them anew at every launch, which takes longer than many a small kernel.
    """
    if not part.device.is_cpu or part.block_dim > 1 or part.adjoint:
        return None
    fields = [(arg.label, type(value)) for arg, value in zip(part.kernel.adj.args, part.params[1:], strict=True)]
    packed = type("Arguments", (ctypes.Structure,), {"_fields_": fields})()
    for (name, _), value in zip(fields, part.params[1:], strict=True):
        setattr(packed, name, value)
    return packed


def _direct(part, packed):
    """A call of a recorded launch's entry point with packed arguments."""
    entry, bounds, arguments = part.hooks.forward, ctypes.byref(part.params[0]), ctypes.byref(packed)
    return lambda: entry(bounds, arguments)


_quiet_lock = threading.Lock()
_quiet_count, _loud_level = 0, None  # who wants quiet now, on any thread, and Warp's level without them


@contextmanager
def quiet_warp():
    """Keep Warp's own notices off the terminal; errors still show. Threads may be in it at the same time."""
    global _quiet_count, _loud_level
    with _quiet_lock:
        if _quiet_count == 0:
            _loud_level = wp.config.log_level
            wp.config.log_level = max(_loud_level, wp.LOG_ERROR)
        _quiet_count += 1
    try:
        yield
    finally:
        with _quiet_lock:
            _quiet_count -= 1
            if _quiet_count == 0:
                wp.config.log_level = _loud_level


_seen = set()
_loading = threading.Lock()  # Warp compiles one module at a time: a viewer draws and simulates on threads of their own


def announce(kernel, device):
    """Load a kernel's module; say what the wait is for when it has to be compiled."""
    if (kernel, device) in _seen:
        return
    start = time.perf_counter()
    with _loading, quiet_warp():
        if (kernel, device) not in _seen:
            wp.load_module(kernel.module, device=device)
            _seen.add((kernel, device))
    waited = time.perf_counter() - start
    if waited > 0.5 and sys.stderr.isatty():
        print(f"physsim: compiled {kernel.key} for {device} in {waited:.1f} s (once; kept in Warp's cache)", file=sys.stderr)
