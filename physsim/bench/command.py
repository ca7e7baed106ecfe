"""`physsim bench`: runs the cases, prints the table and writes the rows."""

import json
import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TextIO

from physsim.bench.cases import CAPTURED, DRAWN, Case, case_named, cases_to_run
from physsim.bench.engines import Engine, engine_named, engines_for
from physsim.bench.launch import launch
from physsim.bench.scaling import format_scaling, particle_exponents, stiffness_ratios
from physsim.bench.sweep import LimitCache, capture_row, drawing_row, gradient_row, missing_row, own_step_row, sweep
from physsim.bench.table import (
    capture_ratios,
    drawing_ratios,
    equal_error_ratios,
    format_capture_ratios,
    format_drawing_ratios,
    format_own_step_ratios,
    format_ratios,
    format_table,
    own_step_ratios,
)
from physsim.errors import InputError

Runner = Callable[[Case, Engine, int], dict]


def main(
    case: str | None = None,
    peers: bool = False,
    json_path: str | Path | None = None,
    *,
    engines: tuple[str, ...] | None = None,
    limits_path: str | Path | None = None,
    run: Runner = launch,
    stream: TextIO | None = None,
) -> int:
    """Benchmark physsim, and with `peers` MuJoCo, Taichi and PyBullet on the same work.

    A row holds case, size, stiffness, engine, dt [s], cpu_s and wall_s of one simulated second [s], peak_rss_mb and run_rss_mb [MB],
    error [share of the body's size], compared (whether this is the engine's step at equal error), and more.

    Args:
        case: name of a case, or how the names of several begin ('cloth', 'cloth-64'); None runs all.
        peers: also run the peers that are installed, and print ratios at equal error.
        json_path: where the rows go; written anew after every case.
        engines: names of the only engines to run.
        limits_path: file in which each engine's limit is kept from one benchmark to the next.
        run: how one run is made; tests hand in a stand-in.
        stream: where the table is printed, standard output by default.

    Returns:
        Zero, the command's exit status.

    Raises:
        InputError: no such case or engine, or a file that cannot be written; nothing has been run then.
    """
    chosen = cases_to_run(case)
    only = None if engines is None else {engine_named(name).name for name in engines}
    target = _writable(json_path)
    limits = LimitCache.load(limits_path)
    stream = stream or sys.stdout
    rows: list[dict] = []
    for one in _with_prerequisites(chosen):
        for engine in engines_for(one, peers or only is not None):
            if only is None or engine.name in only:
                rows += _run_one(one, engine, rows, limits, _announced(run))
        if target is not None:
            _write(target, rows)
    print(format_table(rows), file=stream)
    if peers:
        if any(not one.touches and one.kind not in (*DRAWN, *CAPTURED) for one in chosen):
            print("\n" + format_ratios(equal_error_ratios(rows)), file=stream)
        print(format_own_step_ratios(own_step_ratios(rows)), file=stream)
    captured = format_capture_ratios(capture_ratios(rows))
    if captured:
        print("\n" + captured, file=stream)
    drawing = format_drawing_ratios(drawing_ratios(rows))
    if drawing:
        print("\n" + drawing, file=stream)
    scaling = format_scaling(rows)
    if scaling:
        print("\n" + scaling, file=stream)
    return 0


def _with_prerequisites(chosen: tuple[Case, ...]) -> list[Case]:
    """A gradient needs the step that its cloth case finds, so that case goes first."""
    order: list[Case] = []
    for case in chosen:
        for needed in filter(None, [case.gradient_of and case_named(case.gradient_of), case]):
            if needed not in order:
                order.append(needed)
    return order


def _run_one(case: Case, engine: Engine, rows: list[dict], limits: LimitCache, run: Runner) -> list[dict]:
    """All rows of one case on one engine."""
    missing = engine.missing()
    if missing is not None:
        return [missing_row(case, engine, missing)]
    if case.touches:
        return [own_step_row(case, engine, run)]
    if case.kind in CAPTURED:
        return [capture_row(case, engine, run)]
    if case.kind in DRAWN:
        return [drawing_row(case, engine, run)]
    if case.kind == "gradient":
        return [gradient_row(case, engine, rows, run)]
    return sweep(case, engine, limits, run)


def _announced(run: Runner) -> Runner:
    """The same runner, which says on standard error what the wait is for and what came of it."""

    def announced(case: Case, engine: Engine, substeps: int) -> dict:
        step = "" if case.kind == "render" else f" at 1/{60 * substeps} s"
        print(f"{case.name}: {engine.name}{step} ... ", end="", file=sys.stderr, flush=True)
        row = run(case, engine, substeps)
        outcome = row["note"] if row.get("cpu_s") is None else f"{row['cpu_s']:.3g} CPU s"
        print(outcome, file=sys.stderr, flush=True)
        return row

    return announced


def _writable(path: str | Path | None) -> Path | None:
    """Return the path, after making sure that a file can be written there."""
    if path is None:
        return None
    target = Path(path)
    if target.is_dir() or not os.access(target.resolve().parent, os.W_OK):
        raise InputError(f"json = {str(path)!r}: cannot be written; name a file in an existing folder that you may write to")
    return target


def _write(path: Path, rows: list[dict]) -> None:
    machine = {"platform": platform.platform(), "python": platform.python_version(), "cpu_count": os.cpu_count()}
    scaling = particle_exponents(rows) + stiffness_ratios(rows)
    content = {
        "rows": rows,
        "ratios": equal_error_ratios(rows),
        "touch_ratios": own_step_ratios(rows),
        "drawing_ratios": drawing_ratios(rows),
        "scaling": scaling,
        "machine": machine,
    }
    path.write_text(json.dumps(content, indent=1) + "\n")
