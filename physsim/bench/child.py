"""One run in a process of its own: `python -m physsim.bench.child '{"case": ..., "engine": ..., "substeps": ...}'`.

Prints one line of JSON: seconds, memory, and the height curve (or the gradient's figures). Anything else that a library
prints goes to standard error.
"""

import json
import os
import statistics
import sys
import time

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")

# Before numpy or torch are imported: their pools read these once.
for _variable in THREAD_VARIABLES:
    os.environ[_variable] = "1"

import numpy as np  # noqa: E402

from physsim.bench.cases import CAPTURED, FRAMES, Case, case_named  # noqa: E402
from physsim.bench.engines import Simulation, engine_named  # noqa: E402
from physsim.bench.gradient_check import check_gradient  # noqa: E402
from physsim.bench.measure import MemoryWatch, Stopwatch, Timing, repeats_for  # noqa: E402

DRAWINGS, DRAWING_S = 25, 10.0
"""Images that are drawn at most, and seconds after which no further one is begun."""


def _medians(timings: list) -> dict[str, float]:
    return {
        "cpu_s": round(statistics.median(t.cpu_s for t in timings), 5),
        "wall_s": round(statistics.median(t.wall_s for t in timings), 5),
        "repeats": len(timings),
    }


def run_simulation(simulation: Simulation, memory: MemoryWatch) -> dict:
    """Time one simulated second, several times when it is short."""
    timings, wanted = [], 1
    while len(timings) < wanted:
        with Stopwatch() as timing:
            curve = simulation.simulate()
        timings.append(timing)
        wanted = repeats_for(timings[0].cpu_s) if np.isfinite(curve).all() else 1
    heights = [float(z) if np.isfinite(z) else None for z in curve]
    return {**_medians(timings), **memory.columns(), "curve": heights}


def run_gradient(gradient: object, memory: MemoryWatch) -> dict:
    """Time forward and backward, then compare the gradient with central differences of the same forward."""
    forwards, backwards, wanted = [], [], 1
    while len(forwards) < wanted:
        with Stopwatch() as forward:
            height = gradient.forward()
        with Stopwatch() as backward:
            slopes = gradient.backward()
        forwards.append(forward)
        backwards.append(backward)
        wanted = repeats_for(forward.cpu_s + backward.cpu_s)
    columns = memory.columns()
    both = [type(f)(f.cpu_s + b.cpu_s, f.wall_s + b.wall_s) for f, b in zip(forwards, backwards, strict=True)]
    return {
        **_medians(both),
        **columns,
        "forward_s": _medians(forwards)["cpu_s"],
        "backward_s": _medians(backwards)["cpu_s"],
        "height": height,
        **check_gradient(gradient, slopes),
    }


def run_drawing(drawing: object, memory: MemoryWatch) -> dict:
    """Time forward and backward; an image takes milliseconds, so that there are many runs."""
    forwards, backwards = [], []
    while len(forwards) < DRAWINGS and sum(t.wall_s for t in forwards + backwards) < DRAWING_S:
        with Stopwatch() as forward:
            drawing.forward()
        with Stopwatch() as backward:
            drawing.backward()
        forwards.append(forward)
        backwards.append(backward)
    both = [type(f)(f.cpu_s + b.cpu_s, f.wall_s + b.wall_s) for f, b in zip(forwards, backwards, strict=True)]
    parts = {"forward": _medians(forwards), "backward": _medians(backwards)}
    columns = {f"{part}_{unit}": times[unit] for part, times in parts.items() for unit in ("cpu_s", "wall_s")}
    return {**_medians(both), **memory.columns(), **columns}


def run_film(film: object, memory: MemoryWatch) -> dict:
    """Time a film's gradient step and each of its stages."""
    steps: list[dict] = []
    while len(steps) < DRAWINGS and sum(t.wall_s for step in steps for t in step.values()) < DRAWING_S:
        steps.append(film.step())
    whole = [Timing(sum(t.cpu_s for t in step.values()), sum(t.wall_s for t in step.values())) for step in steps]
    stages = {name: _medians([step[name] for step in steps]) for name in steps[0]}
    parts = {unit: {name: times[unit] for name, times in stages.items()} for unit in ("cpu_s", "wall_s")}
    return {**_medians(whole), **memory.columns(), "stages_cpu_s": parts["cpu_s"], "stages_wall_s": parts["wall_s"]}


def run_grasp(case: Case) -> dict:
    """Time a robot's grasp; it has a length and a step of its own, and its figures are those of one simulated second."""
    from physsim.bench.engine_physsim_grasp import GraspRun

    memory = MemoryWatch()
    memory.mark()
    row = GraspRun(case).row()
    return {**memory.columns(), **row}


def run(spec: dict) -> dict:
    """Run one spec (case, engine, substeps, and optionally options, the launch time and compile_only) and return its row.

    A miniature goes first, so that memory is counted from where imports and compiling have left it.
    """
    case: Case = case_named(spec["case"])
    engine, options = engine_named(spec["engine"]), spec.get("options", {})
    if case.kind == "grasp" and not engine.peer:
        return run_grasp(case)
    engine.build(case.miniature(), 1, options).warm_up()
    started = round(time.time() - spec["launched"], 3) if "launched" in spec else None
    memory = MemoryWatch()
    memory.mark()
    with Stopwatch() as setup:
        built = engine.build(case, spec["substeps"], options)
        built.warm_up()
    if spec.get("compile_only"):
        return {}
    timings = {**dict.fromkeys(("gradient", *CAPTURED), run_gradient), "render": run_drawing, "film": run_film}
    row = timings.get(case.kind, run_simulation)(built, memory)
    timed = {"dt": 1.0 / (FRAMES * spec["substeps"]), "startup_s": started, "setup_s": round(setup.wall_s, 3)}
    return {**timed, **row, **built.facts()}


def main() -> None:
    """Read the spec from the command line, or from standard input when there is none, and print the row."""
    text = sys.argv[1] if len(sys.argv) > 1 else sys.stdin.read()
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    row = run(json.loads(text))
    out.write(json.dumps(row) + "\n")
    out.flush()


if __name__ == "__main__":
    main()
