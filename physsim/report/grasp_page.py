"""What a grasp leaves in its folder: the page report.html, the film grasp.mp4 and the numbers of report.json."""

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import numpy as np

from physsim.report.grasp_film import phase_stills, write_film
from physsim.report.grasp_record import GraspRecord
from physsim.report.json_file import write_json
from physsim.report.page import Page, format_cell
from physsim.report.plot import HeatMap, Panel, Series

MAX_POINTS = 1500  # of a series that are drawn
TIME = "time [s]"

DATA = ("force_maps", "series")  # in report.json, not in the page's table
MAPS = "Forces across the fingers' surfaces over the hold, in the axes of their links: the mean, and the largest that each cell felt."

WORDS = {  # of the numbers in report.json: name on the page, unit
    "success": ("held, carried and put down", ""),
    "hold": ("held by", ""),
    "lift_m": ("lifted", "m"),
    "slip_mm": ("slip over the hold", "mm"),
    "finger_force_n": ("fingers press with (mean of the hold)", "N"),
    "finger_force_difference_pct": ("difference of the two", "%"),
    "carried_n": ("fingers carry (mean of the hold)", "N"),
    "object_weight_n": ("weight of the object", "N"),
    "momentum_residual": ("momentum out of balance, largest share", ""),
    "felt_slip_mm": ("slip that the fingers felt over the hold", "mm"),
    "slip_shake_mm": ("slip over the shaking", "mm"),
    "carried_error_pct": ("carried, above the weight", "%"),
    "stall_mm": ("farthest that contact kept a finger from its link", "mm"),
    "pinned_points": ("points pinned", ""),
    "wrist_force_n": ("load on the wrist, axes of the hand (mean of the hold)", "N"),
    "wrist_torque_nm": ("torque on the wrist (mean of the hold)", "N m"),
    "largest_stress_pa": ("largest stress in the object, von Mises", "Pa"),
    "largest_strain": ("largest principal strain", ""),
    "stored_energy_j": ("elastic energy stored (mean of the hold)", "J"),
    "newton_per_step": ("Newton iterations a step", ""),
    "dt_s": ("time step", "s"),
    "seconds": ("time that the run took", "s"),
    "penetration_mm": ("deepest penetration", "mm"),
    "cpu_s_per_sim_s": ("CPU seconds a simulated second", "s"),
    "launches_per_newton": ("launches a Newton iteration", ""),
}


def write_report(
    folder: str | PathLike[str], record: GraspRecord, numbers: dict, facts: Sequence[tuple[str, str]] = (), fps: float = 30.0
) -> tuple[Path, Path, Path]:
    """Write report.json, grasp.mp4 and report.html.

    Args:
        folder: where to; made where needed
        record: what happened
        numbers: of report.json, such as `success`, `lift_m`, `slip_mm`
        facts: rows (what, text) about the settings, for the page's end
        fps: pictures a second of the film

    Returns:
        Paths of the three; the film may be a strip of stills, ending in .png.
    """
    folder = Path(folder)
    data = write_json(folder / "report.json", numbers)
    film = write_film(folder / "grasp.mp4", record, fps)
    return data, film, write_page(folder / "report.html", record, numbers, film, facts)


def write_page(
    path: str | PathLike[str], record: GraspRecord, numbers: dict, film: str | PathLike[str], facts: Sequence[tuple[str, str]] = ()
) -> Path:
    """Write the page, and return its path; arguments as for `write_report`, `film` what it wrote."""
    held = "by friction alone" if record.hold == "friction" else "by points pinned to the fingers, not by friction"
    page = Page(f"{record.robot} grasps: {record.object_name}", f"A soft body that is reached, gripped, lifted and shaken, held {held}.")
    page.tiles(_tiles(numbers))
    page.video(film, "gripper and object from near by", "Gripper and object from near by, in real time; colours show the stress inside.")
    page.image(phase_stills(record), "the robot at the end of each phase", "The robot at the end of each phase.")
    page.heading("What was felt")
    for group in _panels(record):
        page.plots(group, columns=len(group), height=2.8)
    if record.force_maps:
        page.heat_maps(_heat_maps(record), "force on a cell [N]", columns=2, height=2.9, caption=MAPS)
    page.text(*_explanations(record))
    page.heading("Numbers")
    shown = {name: value for name, value in numbers.items() if name not in DATA}
    rows = [(WORDS.get(name, (name, ""))[0], _text(value, WORDS.get(name, (name, ""))[1])) for name, value in shown.items()]
    page.facts(rows)
    if facts:
        page.heading("Settings")
        page.facts(facts)
    return page.write(path)


def _tiles(numbers: dict) -> list[tuple[str, str, str]]:
    force = numbers.get("finger_force_n")
    pair = " and ".join(format_cell(float(value)) for value in np.atleast_1d(force)) if force is not None else "\u2013"
    carried = numbers.get("carried_n")
    return [
        ("Grasp", "held" if numbers.get("success") else "failed", f"by {numbers.get('hold', 'friction')}"),
        ("Lifted", _text(numbers.get("lift_m"), "m"), ""),
        ("Slip over the hold", _text(numbers.get("slip_mm"), "mm"), ""),
        ("Fingers press with", f"{pair} N", ""),
        ("Fingers carry", _text(carried, "N"), f"the object weighs {_text(numbers.get('object_weight_n'), 'N')}"),
    ]


def _panels(record: GraspRecord) -> list[list[Panel]]:
    thin = slice(None, None, max(1, len(record.times) // MAX_POINTS))
    t = record.times[thin]
    spans = [(start, end, name) for name, start, end in record.phases[::2]]
    marks = [(start, name) for name, start, _ in record.phases[1::2]]
    bare = [(start, end, "") for start, end, _ in spans]

    def panel(title, series, unit, named=False):
        return Panel(title, series, TIME, unit, spans=spans if named else bare, marks=marks if named else ())

    pressing = [Series(name, t, record.finger_forces[thin, i]) for i, name in enumerate(("finger 1", "finger 2"))]
    weight = Series("weight", t, np.full(len(t), record.weight), "dashed", "#6b7280", 1.2)
    felt = []
    if record.strain is not None and record.energy is not None:
        felt.append(
            [
                panel("Largest strain in the object", [Series("", t, record.strain[thin])], "principal strain [-]"),
                panel("Energy stored in the object", [Series("", t, 1e3 * record.energy[thin])], "elastic [mJ]"),
            ]
        )
    if record.wrist_force is not None and record.wrist_torque is not None:
        loads = [("Load on the wrist", record.wrist_force, "force [N]"), ("Torque on the wrist", record.wrist_torque, "[N m]")]
        felt.append(
            [panel(title, [Series(n, record.wrist_times, load[:, k]) for k, n in enumerate("xyz")], unit) for title, load, unit in loads]
        )
    return [
        [panel("Force of the fingers", pressing, "pressing [N]", named=True)],
        [
            panel("Carried by the fingers", [Series("upwards force", t, record.carried[thin]), weight], "[N]"),
            panel("Height of the object", [Series("", t, 1e3 * record.heights[thin])], "[mm]"),
        ],
        [
            panel("Slip along the fingers", [Series("", t, 1e3 * record.slip[thin])], "[mm]"),
            panel("Largest stress in the object", [Series("", t, record.stress[thin])], "von Mises [Pa]"),
        ],
        *felt,
    ]


def _heat_maps(record: GraspRecord) -> list[HeatMap]:
    titled = [(f"finger {i}, {what}", m, getattr(m, what)) for what in ("mean", "peak") for i, m in enumerate(record.force_maps, 1)]
    return [HeatMap(title, values, *(1e3 * e for e in m.edges), *(f"{axis} [mm]" for axis in m.axes)) for title, m, values in titled]


def _explanations(record: GraspRecord) -> list[str]:
    said = [
        "Slip is the tangential way of the object's surface along the fingers since the hold began; friction is a smoothed Coulomb law "
        "that creeps below its limit, and that creep counts as slip.",
    ]
    if record.hold != "friction":
        said.append("Points of the object were pinned to the fingers: this run says nothing about whether friction would have held.")
    return said


def _text(value: object, unit: str) -> str:
    if value is None:
        return "\u2013"
    if isinstance(value, list | tuple | np.ndarray):
        return ", ".join(_text(part, unit) for part in value)
    return f"{format_cell(value)} {unit}".strip()
