"""Surfaces of strangers read in a child process, with bounds on memory, processor time and patience.

One child reads all the files of a robot. It imports numpy and the readers only, and writes plain arrays (npz, never a pickle) to a
pipe. Whatever becomes of it, killed, out of memory or out of time, becomes one error here.
"""

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from physsim.errors import InputError
from physsim.io.mesh import SurfaceMesh, read_solid_surface

MAX_BYTES = 128_000_000  # of one file
MAX_TRIANGLES = 1_000_000  # of one file
MEMORY_BYTES = 4 << 30  # of the child's address space
SECONDS = 60.0


def read_surfaces(paths: Sequence[Path], seconds: float = SECONDS, memory_bytes: int = MEMORY_BYTES) -> list[SurfaceMesh]:
    """Surfaces of files, each cleaned as `read_solid_surface` says.

    Args:
        paths: files to read; one named twice is read once
        seconds: longest that all of them together may take, in real time and in processor time [s]
        memory_bytes: most address space that reading may take

    Returns:
        One surface a path.

    Raises:
        InputError: a file cannot be used, or reading them broke a bound; the message says why.
    """
    if not paths:
        return []
    distinct = list(dict.fromkeys(str(path) for path in paths))
    request = {"paths": distinct, "seconds": seconds, "memory": memory_bytes}
    arrays = _run_child(request, ", ".join(sorted({Path(name).name for name in distinct})[:8]))
    if "error" in arrays:
        raise InputError(arrays["error"].tobytes().decode())
    surfaces = {name: SurfaceMesh(arrays[f"points{i}"], arrays[f"triangles{i}"]) for i, name in enumerate(distinct)}
    return [surfaces[str(path)] for path in paths]


def _run_child(request: dict, names: str) -> dict[str, np.ndarray]:
    """Arrays that the child sends back."""
    begin = f"import sys; sys.path[:] = {sys.path!r}; from physsim.io import confined; confined.serve()"
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            [sys.executable, "-c", begin],
            input=json.dumps(request).encode(),
            capture_output=True,
            timeout=request["seconds"] + 10.0,  # the start of an interpreter is not the file's fault
            env=environment,
        )
    except subprocess.TimeoutExpired:
        raise InputError(f"{names}: reading took more than {request['seconds']:g} s; use coarser meshes") from None
    if done.returncode != 0:
        said = " ".join(done.stderr.decode(errors="replace").split())[-200:]
        raise InputError(
            f"{names}: the process that read them ended with code {done.returncode} (at most {request['seconds']:g} s and "
            f"{request['memory'] >> 20} MiB are allowed); use coarser meshes or find the damaged file. {said}".rstrip()
        )
    try:
        with np.load(io.BytesIO(done.stdout), allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{names}: the process that read them sent back nothing usable ({error})") from None


def serve() -> None:
    """What the child does: set its bounds, read the files named on standard input, write arrays to standard output."""
    request = json.loads(sys.stdin.buffer.read())
    set_bounds(request["seconds"], request["memory"])
    answer = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # a library that prints must not spoil the answer
    arrays = {}
    try:
        for i, name in enumerate(request["paths"]):
            surface = read_solid_surface(name, MAX_BYTES, MAX_TRIANGLES)
            arrays[f"points{i}"], arrays[f"triangles{i}"] = surface.points, surface.triangles
    except InputError as error:
        arrays = {"error": np.frombuffer(str(error).encode(errors="replace"), dtype=np.uint8)}
    except MemoryError:
        told = f"{name}: reading it takes more memory than there is; use a coarser mesh"
        arrays = {"error": np.frombuffer(told.encode(errors="replace"), dtype=np.uint8)}
    with answer:
        np.savez(answer, **arrays)


def set_bounds(seconds: float, memory_bytes: int, file_bytes: int = 0) -> None:
    """Bounds on this very process, where the system offers them (elsewhere only the parent's patience counts).

    Args:
        seconds: of processor time [s]
        memory_bytes: of address space
        file_bytes: of a file that it may write
    """
    try:
        import resource
    except ImportError:
        return
    wanted = {"RLIMIT_AS": memory_bytes, "RLIMIT_CPU": int(np.ceil(seconds)), "RLIMIT_CORE": 0, "RLIMIT_FSIZE": file_bytes}
    for name, bound in wanted.items():
        kind = getattr(resource, name)
        hard = resource.getrlimit(kind)[1]
        bound = bound if hard == resource.RLIM_INFINITY else min(bound, hard)
        with contextlib.suppress(ValueError, OSError):  # a system may know a bound and not take it
            resource.setrlimit(kind, (bound, bound))
