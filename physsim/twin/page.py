"""The page report.html of a fitted or compared twin: one file, to be read from the top by somebody who has no reason to believe it."""

from os import PathLike
from pathlib import Path

import numpy as np

from physsim.capture.capture import Capture
from physsim.report.json_file import write_json
from physsim.report.page import Page
from physsim.report.plot import PALETTE, Interval, Panel, Series
from physsim.twin import trivial
from physsim.twin.elements import rest_points
from physsim.twin.field_pictures import field_pictures
from physsim.twin.judge_clouds import Moving
from physsim.twin.judgement import METRICS, TWIN, Judgement
from physsim.twin.pictures import one_torch_thread
from physsim.twin.report import (
    DISTANCES,
    FURTHER,
    MAIN,
    PICTURES,
    coverage,
    digits,
    error_table,
    losses,
    ranges,
    report_numbers,
    scaled,
    span,
    words,
)
from physsim.twin.results import TwinFit
from physsim.twin.seen import Seen
from physsim.twin.strip import TITLES, make_strip

COLOURS = {
    TWIN: PALETTE[0],
    trivial.HELD: "#9ca3af",
    trivial.CONTROL: PALETTE[1],
    trivial.CARRIED: PALETTE[2],
    trivial.REPLAYED: PALETTE[3],
}
WIDE = 20.0  # ratio of errors above which they are drawn on a logarithmic axis
DEFINITIONS = {
    "track": "distance of a tracked point from its material point, mean over the tracks that a frame shows; tracks that left "
    "the body by the data alone are set aside.",
    "track_median": "the median over the tracks of a frame instead of the mean.",
    "chamfer": "distance of a measured point from the simulated surface, mean over a frame's points, not squared. Noise "
    "of standard deviation s along the surface's normal alone gives 0.8 s.",
    "chamfer_two_way": "the mean of that and of the distance from the simulated surface to the nearest measured point, "
    "over what the cameras could see; it contains the spacing of the measured points.",
    "depth": "median over the pixels that both show, mean over cameras.",
    "iou": "of the silhouettes, without pixels where something stands in front.",
    "psnr": "over the pixels that the body covers in either picture.",
    "ssim": "over the rectangle around the body.",
    "track_all": "the mean over all tracks, whatever they did.",
    "chamfer_l1": "from measured points to the nearest vertices in the L1 norm, as PhysTwin's evaluation reports it.",
}


def write_report(
    folder: str | PathLike[str],
    capture: Capture,
    scene: object,
    fit: TwinFit,
    judgement: Judgement,
    positions: np.ndarray,
    *,
    kind: str = "fit",
    corrected: Judgement | None = None,
    correction: object = None,
    draw: object = None,
    notes: tuple[str, ...] = (),
    versions: dict | None = None,
) -> Path:
    """Write report.json and report.html into a folder.

    Args:
        folder: made where needed.
        capture: Capture.
        scene: TwinScene.
        fit: TwinFit.
        judgement: of the twin as it is.
        positions: that were judged [m], shape [f, n, 3].
        kind: "fit" or "compare".
        corrected: of the twin with its residual correction; None: there is none.
        correction: ResidualCorrection, where there is one.
        draw: as `physsim.twin.pictures.painter` gives it; None: the body is drawn plain.
        notes: further sentences for the top of the page.
        versions: name -> version.

    Returns:
        Path of the page.
    """
    folder = Path(folder)
    numbers = report_numbers(kind, capture, scene, fit, judgement, corrected, correction, versions)
    numbers["verdict"] = [*numbers["verdict"], *notes]
    write_json(folder / "report.json", numbers)
    name = capture.name or "a capture"
    verb = "fitted to it" if kind == "fit" else "compared with it"
    page = Page(f"Twin of {name}" if kind == "fit" else f"Twin against {name}", _lead(capture, scene, verb))
    page.text(" ".join(numbers["verdict"]))
    _tiles(page, fit, judgement)
    _strip(page, capture, scene, fit, judgement, positions, draw)
    _errors(page, judgement)
    if corrected is not None:
        _residual(page, judgement, corrected, correction)
    _parameters(page, fit, kind)
    _field(page, scene, fit)
    _losses(page, fit, kind)
    _used(page, capture, fit, judgement, numbers)
    _stages(page, fit)
    return page.write(folder / "report.html")


def _lead(capture, scene, verb):
    source = f" ({capture.source})" if capture.source else ""
    seconds = digits(float(np.ptp(capture.times)))
    return f"A simulated {scene.soft_body.kind} {verb}: {capture.frame_count} frames in {seconds} s{source}."


def _tiles(page, fit, judgement):
    tiles, level = [], f"{100 * fit.level:g} %"
    for name in [n for n in fit.values if n not in ("time_offset",)][:3]:
        factor, unit = scaled(fit.values[name], fit.units.get(name, ""))
        interval = f"{level}: {span(fit.intervals.get(name), factor)} {unit}".rstrip()
        doubt = "not determined by this motion" if name in fit.undetermined else interval
        tiles.append((words(name), f"{digits(factor * fit.values[name])} {unit}".rstrip(), doubt))
    part = judgement.part
    kind = "held out" if part == "test" else "fitted"
    for metric in ("track", "chamfer"):
        mean = judgement.mean(metric, part=part)
        if mean.frames:
            note = f"{mean.frames} frames {kind}"
            if np.isfinite(judgement.ratio(metric)):
                best = judgement.best_trivial(metric)
                note += f"; {best}: {digits(1e3 * judgement.mean(metric, best).value)} mm"
            tiles.append((METRICS[metric][0], f"{digits(1e3 * mean.value)} mm", note))
    if tiles:
        page.tiles(tiles)


def _strip(page, capture, scene, fit, judgement, positions, draw):
    page.heading("What was seen and what the twin does")
    mesh = scene.soft_body.mesh
    count = len(rest_points(mesh))
    body = Moving.of(mesh, np.asarray(positions)[:, :count], getattr(scene, "thickness", None))
    if not (body.there & (judgement.fitted | judgement.tested)).any():
        page.text("No frame of the capture was simulated.")
        return
    with one_torch_thread():
        strip = make_strip(judgement, Seen(capture, fit), body, np.asarray(positions), draw)
    page.strip(TITLES, strip.frames, "measured, simulated and difference", strip.caption, strip.spans, strip.first)


def _errors(page, judgement):
    page.heading("Errors")
    shown = [m for m in MAIN if m in judgement.metrics]
    counts = f"{int(judgement.fitted.sum())} fitted and {int(judgement.tested.sum())} held-out frames"
    told = f"Means over {counts}, each with its standard error, which allows for errors that last over many frames."
    page.table(*error_table(judgement, DISTANCES), told, 0)
    if set(PICTURES) & set(judgement.metrics):
        page.table(*error_table(judgement, PICTURES), "The same for what pictures show.", 0)
    series = [m for m in ("track", "chamfer") if m in judgement.metrics]
    panels = [_panel(judgement, m) for m in series]
    if panels:
        noise = judgement.depth_noise
        ratio = digits(judgement.chamfer_over_noise, 2)
        told = f" Noise of depth: {digits(1e3 * noise)} mm; the Chamfer is {ratio} of it." if noise and "chamfer" in series else ""
        page.plots(panels, height=3.2, caption=f"Frame by frame; shaded: held-out frames, of which the fit knows nothing.{told}")
    further = [m for m in FURTHER if m in judgement.metrics]
    page.facts([(METRICS[m][0], DEFINITIONS[m]) for m in (*shown, *further)])
    page.text(
        "The trivial predictors know the last fitted frame and where the handles are. Last frame held: nothing moves. Control "
        "interpolated: every point goes along with the handles, by shares that are learned in the fitted frames. Last residual carried on: "
        "the simulation, moved by what it was off by in the last fitted frame; it contains the twin, and is not counted among predictors "
        "that do without one."
    )
    if further:
        page.table(*error_table(judgement, FURTHER), "The same predictors by further definitions.")
    page.text(*judgement.remarks)


def _panel(judgement, metric):
    t = judgement.times - judgement.times[0]
    series = []
    for name in sorted(judgement.errors, key=lambda n: n == TWIN):
        values = judgement.series(metric, name)
        if np.isfinite(values).any():
            style, width = ("line", 2.0) if name == TWIN else ("dashed", 1.3)
            series.append(Series(name, t, 1e3 * values, style, COLOURS.get(name), width))
    step = float(np.median(np.diff(t))) if len(t) > 1 else 1.0
    runs = ranges(np.flatnonzero(judgement.tested))
    spans = [(t[a] - step / 2, t[b] + step / 2, "held out" if k == 0 else "") for k, (a, b) in enumerate(runs)]
    name, values = METRICS[metric][0], np.concatenate([s.y[np.isfinite(s.y)] for s in series])
    wide = values.min() > 0.0 and values.max() > WIDE * values.min()
    return Panel(name[0].upper() + name[1:], series, "time [s]", "[mm]", log_y=bool(wide), spans=spans)


def _residual(page, judgement, corrected, correction):
    page.heading("Residual correction")
    if correction.kind == "none":
        tried = ", ".join(f"{'without' if k == 'none' else k} {digits(1e3 * v)} mm" for k, v in correction.trials.items())
        page.text(
            f"A smooth displacement on top of the physics was tried inside the fitted frames; it does not help ({tried}), and none is made."
        )
        return
    kept = [m for m in MAIN if m in judgement.metrics]
    header, (plain, *_) = error_table(judgement, kept)
    _, (mended, *_) = error_table(corrected, kept)
    frames = "held-out" if judgement.part == "test" else "fitted"
    page.table(header, [["without", *plain[1:]], ["with", *mended[1:]]], f"Means over {frames} frames.")
    trials = ", ".join(f"{kind} {digits(1e3 * value)} mm" for kind, value in correction.trials.items())
    page.text(
        f"A step of its own after the physics: a smooth displacement, learned from what the fitted frames leave over. Its kind is "
        f'"{correction.kind}", chosen inside the fitted frames by learning from their first two thirds and trying on the rest: {trials}. '
        "It repairs what comes out, not the cause; material, intervals and all other numbers of this page are those of the twin without it."
    )


def _parameters(page, fit, kind):
    if not fit.values:
        return
    page.heading("Parameters")
    level, rows, forest = f"{100 * fit.level:g} %", [], []
    for name, value in fit.values.items():
        factor, unit = scaled(value, fit.units.get(name, ""))
        interval = fit.intervals.get(name)
        row = [words(name), digits(factor * value, 4), unit, span(interval, factor), "no" if name in fit.undetermined else "yes"]
        spread = np.asarray(fit.spread.get(name, []), float)
        if fit.spread:
            ends = [digits(factor * end) for end in (spread.min(), spread.max())] if len(spread) else []
            row.append(f"{' to '.join(ends)} ({len(spread)})" if ends else "\u2013")
        rows.append(row)
        if value > 0.0 and name != "time_offset":
            forest.append(Interval(words(name), value, *(interval or (None, None)), tuple(spread)))
    header = ["", "estimate", "unit", f"{level} interval", "determined", *(["other seeds (number)"] if fit.spread else [])]
    told = "They hold if the model does: a wrong shape, a wrong hold or another law of the material is not in them."
    page.table(header, rows, f"Intervals allow for errors that last over frames and are shared by neighbouring points. {told}")
    if forest:
        seeds = " Small dots: estimates of other seeds." if fit.spread else ""
        page.intervals(forest, f"Estimates and their intervals, relative to the estimate; an arrow: the interval has no end there.{seeds}")
    said = [line for line in fit.statement.splitlines() if line not in fit.undetermined.values()]
    page.text(*(line for line in said if line.partition(" = ")[0] not in fit.values and ": residuals of" not in line))
    left = [line.partition(": ") for line in said if ": residuals of" in line]
    if left:
        page.facts([(f"left over, {name}", text) for name, _, text in left])
    if fit.undetermined:
        page.heading("What this motion cannot tell")
        page.facts([(words(name), sentence) for name, sentence in fit.undetermined.items()])


def _field(page, scene, fit):
    pictures = field_pictures(scene.soft_body.mesh, fit)
    if pictures:
        page.heading("The stiffness field on the body")
    for name, image, caption in pictures:
        page.image(image, f"{name} on the body", caption)


def _losses(page, fit, kind):
    parts = [part for part in losses(fit) if len(part["costs"])]
    if not parts:
        return
    page.heading("How the fit went")
    panels = []
    for stage in dict.fromkeys(part["stage"] for part in parts):
        series, x = [], 0
        for part in (p for p in parts if p["stage"] == stage):
            steps = x + np.arange(len(part["costs"]))
            colour = PALETTE[len(series) % len(PALETTE)]
            style = "line" if len(steps) > 1 else "points"
            series.append(Series(f"{digits(part['horizon_s'], 2)} s", steps, np.array(part["costs"], float), style, colour))
            x = steps[-1] + 1
        positive = all(np.nanmin(s.y) > 0 for s in series)
        panels.append(Panel(stage, series[:8], "iteration", "cost [-]", log_y=positive))
    page.plots(
        panels,
        columns=min(2, len(panels)),
        height=2.9,
        caption="Cost: residuals over their noise, squared and added up. Each colour is a length of motion; a longer one is another "
        "problem, so that its cost may begin higher.",
    )


def _used(page, capture, fit, judgement, numbers):
    page.heading("What was used, and what was assumed")
    rows = [[name, c["fitted"], c["test"], c["missing"]] for name, c in coverage(capture).items()]
    page.table(["data", "fitted frames", "held-out frames", "missing frames"], rows, "Frames in which there are data.")
    body = numbers["body"]
    facts = [("body", f"{body['kind']}, from {body['source']}: {body['points']:,} points, {body['cells']:,} cells")]
    if numbers["capture"]["missing_sensors"]:
        facts.append(("not in the capture", ", ".join(numbers["capture"]["missing_sensors"])))
    facts.append(("handles", ", ".join(capture.handles) or "none"))
    if judgement.tracks:
        facts.append(("tracks", f"{judgement.tracks} judged; {digits(100 * judgement.strayed, 2)} % of their sightings left the body"))
    noise = [f"{s} {_noise(v, s)}" for s, v in {**fit.noise, **capture.noise}.items()]
    if noise:
        facts.append(("noise", ", ".join(noise)))
    turn, shift = numbers["nuisances"]["camera_rotation"], 1e3 * np.linalg.norm(fit.camera_pose[1])
    if turn > 0.0 or shift > 0.0:
        facts.append(("cameras", f"turned by {digits(turn)} degree and moved by {digits(shift)} mm, as the fit found"))
    if fit.time_offset:
        facts.append(("clock", f"{digits(1e3 * fit.time_offset)} ms are added to the cameras' times, as the fit found"))
    page.facts([*facts, *(("assumed", remark) for remark in body["remarks"])])


def _noise(value, sensor):
    factor, unit = {"mask": (1.0, " pixel"), "colour": (1.0, "")}.get(sensor.split()[0], (1e3, " mm"))  # "mask front" of several cameras
    return f"{digits(factor * value, 2)}{unit}"


def _stages(page, fit):
    if not fit.stages:
        return
    page.heading("Time and memory")
    rows = [[s.name, digits(s.seconds), digits(s.cpu_seconds), digits(s.peak_mb)] for s in fit.stages]
    wall, cpu = (sum(getattr(s, name) for s in fit.stages) for name in ("seconds", "cpu_seconds"))
    rows.append(["together", digits(wall), digits(cpu), digits(max(s.peak_mb for s in fit.stages))])
    page.table(["stage", "wall time [s]", "CPU time [s]", "peak memory up to its end [MB]"], rows)
