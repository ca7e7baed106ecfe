"""Starts each run in a child process and reads its row back."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import physsim
from physsim.bench.cases import CAPTURED, Case
from physsim.bench.child import THREAD_VARIABLES
from physsim.bench.engines import Engine

TIME_LIMIT_S = 1800.0
"""A child that takes longer [wall s] is stopped and its row says so."""


def _environment() -> dict[str, str]:
    """The parent's environment with one thread for every numerical pool, and this physsim importable from any folder."""
    root = str(Path(physsim.__file__).resolve().parent.parent)
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, **dict.fromkeys(THREAD_VARIABLES, "1"), "PYTHONPATH": os.pathsep.join(paths)}


def launch(case: Case, engine: Engine, substeps: int, options: dict | None = None, time_limit_s: float = TIME_LIMIT_S) -> dict:
    """Run `case` on `engine` with `substeps` steps in 1/60 s and return the child's row.

    A gradient is compiled in a child of its own first: a compiler's memory would hide the run's.

    Returns:
        The row; when the child failed, a row with nothing but a `note` that says why.
    """
    spec = {"case": case.name, "engine": engine.name, "substeps": substeps, "options": options or {}}
    if case.kind in ("gradient", *CAPTURED):
        compiled = _child({**spec, "compile_only": True}, time_limit_s)
        if compiled:
            return compiled
    return _child({**spec, "launched": time.time()}, time_limit_s)


def _child(spec: dict, time_limit_s: float) -> dict:
    """Start a child, wait, and return its row or a note."""
    command = [sys.executable, "-m", "physsim.bench.child", json.dumps(spec)]
    # Some engines write log files into their working folder.
    with tempfile.TemporaryDirectory(prefix="physsim-bench-") as folder:
        try:
            done = subprocess.run(
                command, cwd=folder, env=_environment(), capture_output=True, text=True, timeout=time_limit_s, check=False
            )
        except subprocess.TimeoutExpired:
            return {"note": f"stopped after {time_limit_s:.0f} s"}
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        reason = lines[-1] if lines else "no message"
        return {"note": f"failed (exit status {done.returncode}): {reason}"}
    return json.loads(done.stdout.splitlines()[-1])
