"""The worker of `physsim grasp`: arguments in, report.html, grasp.mp4, report.json and a run out."""

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from os import PathLike
from pathlib import Path

from physsim.errors import InputError
from physsim.grasp.objects import OBJECTS, GraspObject, grasp_object
from physsim.grasp.robots import RobotSetup, robot_setup
from physsim.grasp.sequence import Timing
from physsim.report.page import format_cell

SHOWN = ("success", "lift_m", "slip_mm", "finger_force_n", "carried_n", "object_weight_n", "penetration_mm", "cpu_s_per_sim_s")


def main(
    *,
    object_name: str | PathLike[str] = "cube",
    robot: str = "panda",
    out: str | PathLike[str] = "physsim-grasp",
    hold: str = "friction",
    seconds: float = 2.0,
    quiet: bool = False,
) -> int:
    """Let a robot reach, grip, lift 10 cm, hold, shake and put down a soft thing, and report it.

    Args:
        object_name: "cube", "plush" or "cloth", or the folder of an Asset of a solid or a sheet.
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
    setup = robot_setup(robot)
    thing = chosen_object(object_name, setup)
    if not seconds >= 0.5:
        raise InputError(f"seconds = {seconds:g}: at least 0.5 s are needed to see whether it holds")
    _, numbers, written = grasp_and_report(setup, thing, Path(out), hold, seconds, show, began)
    for name in SHOWN:
        value = numbers[name]
        cells = [format_cell(part) for part in value] if isinstance(value, list) else [format_cell(value)]
        print(f"{name:18} {', '.join(cells)}")
    print(f"\nwritten: {', '.join(str(path) for path in written)} ({time.perf_counter() - began:.0f} s)")
    return 0 if numbers["success"] else 1


def chosen_object(object_name: str | PathLike[str], setup: RobotSetup) -> GraspObject:
    """The object of that name, or that the Asset in that folder is.

    Raises:
        InputError: neither, or an asset that cannot be grasped by this robot.
    """
    if isinstance(object_name, str) and (object_name in OBJECTS or not Path(object_name).is_dir()):
        return grasp_object(object_name)
    from physsim.appearance.asset import Asset
    from physsim.grasp.asset_object import asset_object

    return asset_object(Asset.load(object_name), setup.gripper)


def grasp_and_report(
    setup: RobotSetup, thing: GraspObject, out: Path, hold: str, seconds: float, show: Callable[[str], None], began: float | None = None
) -> tuple[object, dict, list[Path]]:
    """Run a grasp and write report.json, report.html, grasp.mp4 and run/ to a folder.

    Args:
        setup: RobotSetup.
        thing: GraspObject.
        out: folder, made where needed.
        hold, seconds: as for `main`.
        show: called with lines about the progress.
        began: when the work that the report's seconds count began, by `time.perf_counter`; None: now.

    Returns:
        (GraspRecord, numbers of report.json, what was written).
    """
    from physsim.grasp.diary import FPS
    from physsim.grasp.run import run_grasp
    from physsim.report.grasp_page import write_report

    began = time.perf_counter() if began is None else began
    out.mkdir(parents=True, exist_ok=True)
    show("the first run compiles kernels, a minute or two")
    record, numbers = run_grasp(setup, thing, hold, Timing(hold=seconds), show)
    numbers["seconds"] = time.perf_counter() - began
    show("drawing the film")
    written = [*write_report(out, record, numbers, _facts(thing, setup, numbers), FPS), recorded(thing, record).save(out / "run")]
    return record, numbers, written


def recorded(thing: GraspObject, record: object) -> object:
    """The grasp as a Run, for `physsim view`; with the look of an asset that has one."""
    from physsim.appearance.run import Run, RunBody, RunLink
    from physsim.report.grasp_film import OBJECT, close_camera

    look = None if thing.asset is None or thing.asset.splats is None else replace(thing.asset, twin=None)
    body = RunBody(thing.name, thing.mesh, thing.material, asset=look, colour=OBJECT)
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
