"""The command `physsim demo`: a twin is fitted to a shipped capture, compared with what it did not see, and grasped by a robot.

No camera saw the capture: another engine, MuJoCo, moved the body, rays drew it, and noise was added. What is true of it is therefore known.
"""

import sys
import time
from dataclasses import dataclass
from importlib.util import find_spec
from os import PathLike
from pathlib import Path

from physsim import assets
from physsim.capture.capture import Capture
from physsim.errors import InputError, PhyssimError
from physsim.io.files import read_json
from physsim.report.json_file import write_json
from physsim.report.page import Page, format_cell
from physsim.twin.command import fit_capture
from physsim.twin.options import FitRequest
from physsim.twin.report import digits, scaled, span, text_table, verdict, words

CAPTURE = "twin_capture"
MADE_BY = "Made by MuJoCo, drawn by rays, noise added: no camera saw it."
HOLD = 1.0  # for which the robot holds the twin still [s]
MARKER = "report.json"  # by which a folder of this demo is known
TRUTH = "truth.json"  # in the capture's folder: name -> least and most value that is true, and in words why


@dataclass
class Shown:
    """What the demo leaves to be shown.

    Args:
        found: Fitted.
        compared: Judged of the twin, read back from its folder.
        film: of the capture, or None.
        grasp: numbers of the grasp, or None.
        grasp_film, stress_film: the grasp with the twin's look, and with the stress in it; or None.
        missing: why there is no grasp, "" where there is one.
        seconds: name -> wall time [s].
    """

    found: object
    compared: object
    film: Path | None = None
    grasp: dict | None = None
    grasp_film: Path | None = None
    stress_film: Path | None = None
    missing: str = ""
    seconds: dict | None = None


def main(*, out: str | PathLike[str] = "physsim-demo", restart: bool = False, quiet: bool = False) -> int:
    """Fit, compare, grasp, and write report.html, report.json, twin.mp4, grasp.mp4, twin/, grasp/ and run/.

    Args:
        out: folder for the results.
        restart: do not go on from what an interrupted demo left.
        quiet: no progress, only the tables.

    Returns:
        Exit code 0.

    Raises:
        InputError: the folder cannot be written.
        SolverError: nothing could be simulated.
    """
    began = time.perf_counter()
    show = (lambda line: None) if quiet else (lambda line: print(line, file=sys.stderr, flush=True))
    out, source = Path(out), assets.folder(CAPTURE)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{out}: cannot be written ({error.strerror}); give another --out") from None
    capture = Capture.load(source)
    show(f"{capture.name}: {capture.frame_count} frames of one RGB-D camera. {MADE_BY}")
    show("the first run compiles kernels, a minute or two")
    found, _ = fit_capture(source, out / "twin", FitRequest(), restart=restart, quiet=quiet)
    seconds = {"fit": time.perf_counter() - began}
    shown = _compared(out, found, capture, seconds)
    _grasped(out, shown, show, seconds)
    seconds["all"] = time.perf_counter() - began
    page = _write(out, shown, capture)
    print(table(shown))
    print(f"\n{MADE_BY}")
    print(
        f"written: {page}, {shown.film}, {shown.grasp_film or shown.missing} ({seconds['all']:.0f} s); physsim view {out} plays the motion"
    )
    return 0


def _compared(out, found, capture, seconds):
    """The asset, read back, against the frames that the fit did not see; the film of both."""
    from physsim.appearance.asset import Asset
    from physsim.appearance.run import Run
    from physsim.twin.compare import compare
    from physsim.twin.films import capture_film

    before = time.perf_counter()
    asset = Asset.load(out / "twin")
    judged, *_ = compare(asset, capture)
    seconds["compare"] = time.perf_counter() - before
    before = time.perf_counter()
    film = None
    if asset.splats is not None:
        film = capture_film(out / "twin.mp4", capture, asset, judged.frames, judged.positions)
    Run.load(out / "twin" / "run").save(out / "run")
    seconds["film"] = time.perf_counter() - before
    return Shown(found, judged, film, seconds=seconds)


def _grasped(out, shown, show, seconds):
    """A Panda takes the twin, where PyBullet is installed."""
    if find_spec("pybullet") is None:
        shown.missing = "no grasp: PyBullet is not installed; pip install 'physsim[robots]' adds it"
        show(shown.missing)
        return
    from physsim.appearance.asset import Asset
    from physsim.grasp.asset_object import asset_object
    from physsim.grasp.command import grasp_and_report, recorded
    from physsim.grasp.robots import robot_setup
    from physsim.twin.films import grasp_film

    before = time.perf_counter()
    asset, setup = Asset.load(out / "twin"), robot_setup("panda")
    try:
        thing = asset_object(asset, setup.gripper)
        record, shown.grasp, written = grasp_and_report(setup, thing, out / "grasp", "friction", HOLD, show)
    except PhyssimError as error:
        shown.missing = f"no grasp: {error}"
        show(shown.missing)
        return
    shown.stress_film = next((path for path in written if path.stem == "grasp"), None)
    seconds["grasp"] = time.perf_counter() - before
    before = time.perf_counter()
    if asset.splats is not None:
        shown.grasp_film = grasp_film(out / "grasp.mp4", recorded(thing, record))
    seconds["grasp film"] = time.perf_counter() - before


def known_truth() -> dict:
    """What is true of the shipped capture's body: name -> least and most value in SI units, and words on what that rests on."""
    return read_json(assets.folder(CAPTURE) / TRUTH, 100_000)


def true_rows(fit: object) -> list[list[str]]:
    """Rows (parameter, true, fitted, interval, what the truth rests on)."""
    rows = []
    for name, entry in known_truth().items():
        least, most, source = entry["least"], entry["most"], entry["words"]
        if name not in fit.values:
            continue
        value, doubt = fit.values[name], " (not determined)" if name in fit.undetermined else ""
        factor, unit = scaled(value, fit.units.get(name, ""))
        true = digits(factor * least) if least == most else f"{digits(factor * least)} to {digits(factor * most)}"
        rows.append(
            [
                words(name),
                f"{true} {unit}".rstrip(),
                f"{digits(factor * value)} {unit}".rstrip(),
                span(fit.intervals.get(name), factor) + doubt,
                source,
            ]
        )
    return rows


HEADER = ["parameter", "true", "fitted", "95 % interval", "what the true value is"]


def table(shown: Shown) -> str:
    """What the demo prints at its end."""
    rows = [HEADER, *true_rows(shown.found.fit)]
    widths = [max(len(row[k]) for row in rows) for k in range(len(HEADER))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines += ["", text_table(shown.compared.judgement)]
    if shown.grasp is not None:
        lines += ["", *(f"grasp: {what:24} {value}" for what, value in grasp_rows(shown.grasp))]
    return "\n".join(lines)


def grasp_rows(numbers: dict) -> list[tuple[str, str]]:
    """What the robot did and felt, in words."""
    forces = " and ".join(format_cell(float(f)) for f in numbers["finger_force_n"])
    return [
        ("held, carried, put down", "yes" if numbers["success"] else "no"),
        ("lifted", f"{format_cell(1e3 * numbers['lift_m'])} mm"),
        ("fingers press with", f"{forces} N"),
        ("fingers carry", f"{format_cell(numbers['carried_n'])} N of {format_cell(numbers['object_weight_n'])} N"),
        ("slip over the hold", f"{format_cell(numbers['slip_mm'])} mm"),
        ("largest strain", f"{format_cell(numbers['largest_strain'])}"),
    ]


def _write(out, shown, capture):
    """report.json and report.html of the demo; the fit's and the grasp's own lie in twin/ and grasp/."""
    fit, judgement = shown.found.fit, shown.compared.judgement
    numbers = {
        "capture": {"name": capture.name, "source": capture.source, "frames": capture.frame_count},
        "true": known_truth(),
        "fitted": {
            name: {"value": value, "interval": fit.intervals.get(name), "unit": fit.units.get(name, "")}
            for name, value in fit.values.items()
        },
        "undetermined": fit.undetermined,
        "judgement": judgement.as_dict(),
        "grasp": {k: v for k, v in (shown.grasp or {}).items() if k not in ("series", "force_maps")} or None,
        "grasp_missing": shown.missing or None,
        "seconds": shown.seconds,
        "stages": [vars(stage) for stage in fit.stages],
    }
    write_json(out / MARKER, numbers)
    page = Page("A twin, from a capture to a robot's hand", f"{capture.name}: {capture.frame_count} frames of one RGB-D camera. {MADE_BY}")
    page.text(" ".join(verdict(judgement, fit)))
    page.table(HEADER, true_rows(fit), "What is true of the capture, beside what the fit found without knowing it.")
    if shown.film is not None:
        page.video(
            shown.film,
            "the capture, the twin, and the twin over the capture",
            "Measured, the twin, and the twin over the measured picture, three times slower. The fit did not see what is marked predicted.",
        )
    page.facts([("the fit, and how far to trust it", "twin/report.html"), ("the twin, to be viewed, rendered, grasped", "twin/")])
    if shown.grasp is not None:
        page.heading("A robot grasps the twin")
        page.facts(grasp_rows(shown.grasp))
        if shown.grasp_film is not None:
            page.video(shown.grasp_film, "a Panda lifts the twin", "The twin with the look that was fitted.")
        if shown.stress_film is not None:
            page.video(shown.stress_film, "stress in the twin", "The same grasp: stress in the twin, and where the fingers touch it.")
        page.facts([("the grasp in full", "grasp/report.html")])
    else:
        page.text(shown.missing[:1].upper() + shown.missing[1:] + ".")
    page.heading("Time")
    page.facts([(name, f"{value:.0f} s") for name, value in shown.seconds.items()])
    return page.write(out / "report.html")
