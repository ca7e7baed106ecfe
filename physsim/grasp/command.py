"""The worker of `physsim grasp`: arguments in, report.html, grasp.mp4, report.json and a run out."""

import sys
import time
from os import PathLike
from pathlib import Path

from physsim.errors import InputError
from physsim.grasp.objects import grasp_object
from physsim.grasp.robots import robot_setup
from physsim.grasp.sequence import Timing
from physsim.report.page import format_cell

SHOWN = ("success", "lift_m", "slip_mm", "finger_force_n", "carried_n", "object_weight_n", "penetration_mm", "cpu_s_per_sim_s")


def main(
    *,
    object_name: str = "cube",
    robot: str = "panda",
    out: str | PathLike[str] = "physsim-grasp",
    hold: str = "friction",
    seconds: float = 2.0,
    quiet: bool = False,
) -> int:
    """Let a robot reach, grip, lift 10 cm, hold, shake and put down a soft thing, and report it.

    Args:
        object_name: "cube", "plush" or "cloth".
        robot: "panda", "kuka" or "xarm".
        out: folder for the results.
        hold: "friction", or "pin" to fix the object's points to the fingers.
        seconds: how long it is held still [s].
        quiet: no progress, only the numbers.

    Returns:
        0 where the grasp held, 1 where it did not.

    Raises:
        InputError: a value that cannot be used, or PyBullet is not installed.
        SolverError: a step failed.
    """
    began = time.perf_counter()
    show = (lambda line: None) if quiet else (lambda line: print(line, file=sys.stderr, flush=True))
    thing, setup = grasp_object(object_name), robot_setup(robot)
    if not seconds >= 0.5:
        raise InputError(f"seconds = {seconds:g}: at least 0.5 s are needed to see whether it holds")
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)

    from physsim.grasp.diary import FPS
    from physsim.grasp.run import run_grasp
    from physsim.report.grasp_page import write_report

    show("the first run compiles kernels, a minute or two")
    record, numbers = run_grasp(setup, thing, hold, Timing(hold=seconds), show)
    numbers["seconds"] = time.perf_counter() - began
    show("drawing the film")
    written = [*write_report(out, record, numbers, _facts(thing, setup, numbers), FPS), _recorded(thing, record).save(out / "run")]
    for name in SHOWN:
        value = numbers[name]
        cells = [format_cell(part) for part in value] if isinstance(value, list) else [format_cell(value)]
        print(f"{name:18} {', '.join(cells)}")
    print(f"\nwritten: {', '.join(str(path) for path in written)} ({time.perf_counter() - began:.0f} s)")
    return 0 if numbers["success"] else 1


def _recorded(thing, record):
    """The grasp as a Run, for `physsim view`."""
    from physsim.appearance.run import Run, RunBody, RunLink
    from physsim.report.grasp_film import OBJECT, close_camera

    body = RunBody(thing.name, thing.mesh, thing.material, colour=OBJECT)
    links = [RunLink(link.name, link.points, link.triangles, link.colour) for link in record.links]
    poses = record.link_positions, record.link_quaternions
    camera = close_camera(record)
    return Run.of_parts(record.frame_times, [body], [record.object_points], links, *poses, ground=record.ground, camera=camera)


def _facts(thing, setup, numbers) -> list[tuple[str, str]]:
    material = ", ".join(f"{name} {value:g}" for name, value in vars(thing.material).items() if isinstance(value, float | int) and value)
    kind = "triangles" if thing.is_sheet else "tetrahedra"
    return [
        ("object", f"{thing.name}: {numbers['cells']} {kind}; {material}"),
        ("friction", f"{thing.friction:g} against fingers and table"),
        ("robot", f"{setup.name}, pressed by {', '.join(setup.fingers)}"),
        ("steps", f"{numbers['steps']} of {1e3 * numbers['dt_s']:.3g} ms, {numbers['newton_per_step']:.2f} Newton iterations each"),
    ]
