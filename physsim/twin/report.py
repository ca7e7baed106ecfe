"""What a fit and a comparison report as numbers, and the verdict in plain words.

report.json has these keys; a number that does not exist is null.

    verdict         sentences that the page begins with
    kind            "fit" or "compare"
    capture         name, source, kind, frames, seconds, fitted and test frames (lists of [first, last]), sensors: name -> its frames,
                    {"fitted", "test", "missing"}; handles; noise stated [m, pixel, -]
    body            kind, source, points, cells, remarks: what was assumed
    parameters      name -> value, unit, interval [lower, upper], level, determined, other_seeds
    undetermined    name -> what this motion cannot tell, and which would
    field           name -> {"least", "median", "largest"} over the cells; parts: number of parts
    noise_found     sensor -> standard deviation of what the fit left over [m, pixel, -]
    nuisances       time_offset [s], camera_rotation [degree], camera_translation [m]
    judgement       as `Judgement.as_dict`: means by part, predictor and metric with standard error and number of frames; ratios; series
    residual        null, or: kind, trials: kind -> error [m], judgement: means with the correction
    loss            list of {"stage", "horizon_s", "costs": one an iteration}
    stages          list of {"name", "seconds", "cpu_seconds", "peak_mb"}
    converged       whether the fit ended by its own criteria; null in a comparison
    statement       the fit's own words
    versions        of what computed it
"""

import math
from itertools import groupby

import numpy as np
from scipy.spatial.transform import Rotation

from physsim.capture.capture import SENSORS, Capture
from physsim.capture.layout import runs
from physsim.twin import trivial
from physsim.twin.judgement import METRICS, TWIN, Judgement
from physsim.twin.results import TwinFit

WORDS = {
    "young": "Young's modulus",
    "poisson": "Poisson's ratio",
    "density": "density",
    "viscosity": "viscosity",
    "friction": "friction",
    "hold_stiffness": "stiffness of the hold",
    "time_offset": "time offset of the cameras",
    "thickness": "thickness",
    "bending": "bending stiffness",
    "mass": "mass",
    "radius": "radius",
}
DISTANCES, PICTURES = ("track", "chamfer", "chamfer_two_way", "depth"), ("iou", "psnr", "ssim")
MAIN = (*DISTANCES, *PICTURES)
FURTHER = ("track_median", "track_all", "chamfer_l1")  # metrics beside them, by other definitions
PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "\u00b5"))
PREFIXED = ("Pa", "Pa s", "m", "s", "N/m", "N", "N m")  # units that take a prefix


def words(name: str) -> str:
    """A parameter's name in words, the part of the body that it is of behind it."""
    stem, _, rest = name.partition("[")
    return WORDS.get(stem, stem.replace("_", " ").replace(".", ", ")) + (f", part {int(rest[:-1]) + 1}" if rest[:-1].isdigit() else "")


def scaled(value: float, unit: str) -> tuple[float, str]:
    """Factor and unit in which a value is easily read: 41200 Pa -> (1e-3, "kPa"); powers are raised."""
    unit = unit.replace("^2", "\u00b2").replace("^3", "\u00b3")
    if unit not in PREFIXED or not math.isfinite(value) or value == 0.0:
        return 1.0, unit
    size = abs(value)
    factor, prefix = next(((f, p) for f, p in PREFIXES if size >= f), PREFIXES[-1])
    return 1.0 / factor, prefix + unit


def digits(value: float | None, count: int = 3) -> str:
    """A number to a few digits, without an exponent where it can be read without one; a dash for none."""
    if value is None or not math.isfinite(value):
        return "\u2013"
    if value == 0.0 or 1e-4 <= abs(value) < 1e6:
        places = 0 if value == 0.0 else max(0, count - 1 - math.floor(math.log10(abs(value))))
        return f"{value:,.{places}f}"
    return f"{value:.{count - 1}e}"


def span(interval: tuple | None, factor: float = 1.0) -> str:
    """An interval in words; ends that are infinite or missing are open."""
    ends = [None if e is None or not math.isfinite(e) else digits(factor * e) for e in interval or (None, None)]
    if ends == [None, None]:
        return "not determined"
    return f"{ends[0] or 'no lower end'} to {ends[1] or 'no upper end'}"


def millimetres(mean: object) -> str:
    """A mean over frames [m] with its standard error, in mm."""
    return f"{with_error(1e3 * mean.value, 1e3 * mean.error)} mm"


def with_error(value: float, error: float) -> str:
    """A value and its standard error, which is told to two digits and the value as far; without an error three digits of the value."""
    if not math.isfinite(error) or error <= 0.0 or not math.isfinite(value):
        return digits(value)
    places = max(0, 1 - math.floor(math.log10(error)))
    return f"{value:,.{places}f}\u00a0\u00b1\u00a0{error:,.{places}f}"


def verdict(judgement: Judgement, fit: TwinFit | None = None) -> list[str]:
    """Sentences for whoever reads no further: how well the twin predicts, whether that is better than without it, what is doubtful."""
    out = []
    if not judgement.tested.any():
        found = [f"{METRICS[m][0]} {millimetres(judgement.mean(m, part='fit'))}" for m in ("track", "chamfer") if m in judgement.metrics]
        out.append(f"No frame was held out: this says how well the twin describes ({', '.join(found)}), not how well it predicts.")
    else:
        main = [m for m in ("track", "chamfer") if judgement.mean(m).frames]
        lost = [METRICS[m][0] for m in main if judgement.ratio(m) >= 1.0]
        beside = [m for m in main if np.isfinite(judgement.ratio(m))]
        if lost:
            out.append(f"The twin does not predict better than doing without it, by its {' and its '.join(lost)}.")
        elif beside:
            out.append("The twin predicts better than every trivial predictor.")
        out += [_one(judgement, m, m == main[0]) for m in main]
        carried = [m for m in main if judgement.ratio(m, trivial.CARRIED) > 1.0]
        if carried:
            names = " and ".join(METRICS[m][0] for m in carried)
            out.append(f"Carrying the last residual on would lower its {names}: part of what it misses lasts, and could be corrected.")
        if not main:
            out.append("The held-out frames hold neither tracks nor points, so that nothing says how well the twin predicts.")
    if fit is not None and not fit.converged:
        out.insert(0, "The fit did not end by its own criteria: take its numbers as a stage on the way.")
    if fit is not None:
        out += [f"Doubt: {line}; the intervals do not cover that." for line in misfits(fit)]
    if fit is not None and fit.undetermined:
        out.append(f"This motion does not determine {_listed([words(name) for name in fit.undetermined])}.")
    if judgement.strayed > 0.0:
        share = 100 * judgement.strayed
        out.append(f"{digits(share, 2)} % of the tracks' sightings left the body by the data alone, and are set aside for every predictor.")
    return out


def misfits(fit: TwinFit) -> list[str]:
    """Of the fit's own words those that say that the model does not follow a kind of data as closely as its noise allows."""
    return [line for line in fit.statement.splitlines() if "times the data's own noise" in line]


def _one(judgement, metric, first):
    """A sentence on one metric over the held-out frames."""
    mean, name = judgement.mean(metric), METRICS[metric][0]
    best = judgement.best_trivial(metric)
    frames = f"Over {mean.frames} held-out frames ({digits(np.ptp(judgement.times[judgement.tested]), 2)} s) its" if first else "Its"
    its = f"{frames} {name} is {millimetres(mean)}"
    if best is None:
        return f"{its}; there is no trivial predictor to hold beside it."
    other, ratio = judgement.mean(metric, best), judgement.ratio(metric)
    beside = f'the best trivial predictor, "{best}", is off by {millimetres(other)}'
    if ratio >= 1.0:
        return f"{its}; {beside}."
    doubt = math.hypot(*(e if math.isfinite(e) else 0.0 for e in (mean.error, other.error)))
    barely = ", which these frames can hardly tell apart" if other.value - mean.value < 2.0 * doubt else ""
    return f'{its}, {digits(ratio, 2)} of the best trivial predictor\'s: "{best}" is off by {millimetres(other)}{barely}.'


def _listed(items):
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + " and " + items[-1]


def ranges(frames: np.ndarray) -> list[list[int]]:
    """Runs of frames as [first, last]."""
    return [[first, end - 1] for first, end in runs(np.asarray(frames).tolist())]


def coverage(capture: Capture) -> dict:
    """Sensor (with its camera) -> frames that it has: {"fitted", "test", "missing"}; sensors that the capture lacks are left out."""
    out = {}
    if capture.tracks is not None:
        out["tracks"] = capture.tracks.visible.any(axis=1)
    if capture.points is not None:
        out["points"] = np.array([capture.points[f] is not None for f in range(capture.frame_count)])
    for kind in ("depth", "mask", "colour"):
        for camera, stream in getattr(capture, kind).items():
            out[f"{kind}, camera {camera}"] = np.array([stream[f] is not None for f in range(capture.frame_count)])
    used = np.union1d(capture.fit, capture.test)
    return {
        name: {"fitted": int(there[capture.fit].sum()), "test": int(there[capture.test].sum()), "missing": int((~there[used]).sum())}
        for name, there in out.items()
    }


def losses(fit: TwinFit) -> list[dict]:
    """The fit's history by stage and horizon, in order: {"stage", "horizon_s", "costs"}."""
    return [
        {"stage": stage, "horizon_s": horizon, "costs": [row[2] for row in rows]}
        for (stage, horizon), rows in groupby(fit.history, key=lambda row: (row[0], row[1]))
    ]


def report_numbers(
    kind: str,
    capture: Capture,
    scene: object,
    fit: TwinFit,
    judgement: Judgement,
    corrected: Judgement | None = None,
    correction: object = None,
    versions: dict | None = None,
) -> dict:
    """What report.json holds; its keys are told at the top of this module.

    Args:
        kind: "fit" or "compare".
        capture: Capture.
        scene: TwinScene.
        fit: TwinFit.
        judgement: of the twin as it is.
        corrected: of the twin with its residual correction, or None.
        correction: ResidualCorrection, or None.
        versions: name -> version, or None.
    """
    body = scene.soft_body
    cells = getattr(body.mesh, "cells", getattr(body.mesh, "triangles", getattr(body.mesh, "edges", [])))
    remarks = getattr(scene, "remarks", None) or body.remarks
    turn = np.degrees(np.linalg.norm(Rotation.from_matrix(fit.camera_pose[0]).as_rotvec()))
    return {
        "verdict": verdict(judgement, fit),
        "kind": kind,
        "capture": {
            "name": capture.name,
            "source": capture.source,
            "kind": capture.kind,
            "frames": capture.frame_count,
            "seconds": float(np.ptp(capture.times)),
            "fitted": ranges(capture.fit),
            "test": ranges(capture.test),
            "sensors": coverage(capture),
            "missing_sensors": [s for s in SENSORS if s not in capture.sensors],
            "handles": list(capture.handles),
            "noise": capture.noise,
        },
        "body": {"kind": body.kind, "source": body.source, "points": len(body.mesh.points), "cells": len(cells), "remarks": list(remarks)},
        "parameters": {
            name: {
                "value": value,
                "unit": fit.units.get(name, ""),
                "interval": fit.intervals.get(name, (None, None)),
                "level": fit.level,
                "determined": name not in fit.undetermined,
                "other_seeds": fit.spread.get(name, []),
            }
            for name, value in fit.values.items()
        },
        "undetermined": fit.undetermined,
        "field": {name: {"least": np.min(v), "median": np.median(v), "largest": np.max(v)} for name, v in fit.field.items() if np.size(v)}
        | ({} if fit.parts is None else {"parts": int(np.max(fit.parts)) + 1}),
        "noise_found": fit.noise,
        "nuisances": {"time_offset": fit.time_offset, "camera_rotation": turn, "camera_translation": fit.camera_pose[1]},
        "judgement": judgement.as_dict(),
        "residual": None if corrected is None else {"kind": correction.kind, "trials": correction.trials, "judgement": _means(corrected)},
        "loss": losses(fit),
        "stages": [vars(stage) for stage in fit.stages],
        "converged": fit.converged if kind == "fit" else None,
        "statement": fit.statement,
        "versions": versions or {},
    }


def _means(judgement):
    return {part: {m: vars(judgement.mean(m, TWIN, part)) for m in judgement.metrics} for part in ("fit", "test")}


def error_table(judgement: Judgement, metrics: tuple[str, ...] | None = None) -> tuple[list[str], list[list]]:
    """Header and rows of means over held-out frames: the twin, each trivial predictor, and the twin over fitted frames; distances in mm.

    Args:
        judgement: Judgement.
        metrics: of METRICS, those that it has are shown; None: all.
    """
    metrics = [m for m in judgement.metrics if metrics is None or m in metrics]
    header = ["", *(f"{METRICS[m][0]} [{'mm' if METRICS[m][1] == 'm' else METRICS[m][1]}]".replace(" []", "") for m in metrics)]

    def row(name, predictor, part):
        means = [judgement.mean(m, predictor, part) for m in metrics]
        return [name, *(_cell(mean, METRICS[m][1]) for m, mean in zip(metrics, means, strict=True))]

    rows = [row("twin, held-out frames", TWIN, "test")] if judgement.tested.any() else []
    rows += [row(name, name, "test") for name in judgement.errors if name != TWIN and judgement.tested.any()]
    if judgement.tested.any():
        ratios = [judgement.ratio(m) for m in metrics]
        rows.append(["twin over the best trivial predictor", *(digits(r, 2) for r in ratios)])
    if judgement.fitted.any():
        rows.append(row("twin, fitted frames", TWIN, "fit"))
    return header, [r for r in rows if r[0].startswith("twin,") or any(cell not in (None, digits(None)) for cell in r[1:])]


def _cell(mean, unit):
    if not mean.frames:
        return None
    factor = 1e3 if unit == "m" else 1.0
    return with_error(factor * mean.value, factor * mean.error)


def text_table(judgement: Judgement) -> str:
    """`error_table` for a terminal, without the further definitions."""
    header, rows = error_table(judgement, MAIN)
    cells = [header, *([str("\u2013" if c is None else c) for c in row] for row in rows)]
    kept = [k for k in range(len(header)) if k == 0 or any(row[k] != "\u2013" for row in cells[1:])]
    widths = [max(len(row[k]) for row in cells) for k in kept]
    lines = ["  ".join(row[k].ljust(w) if k == 0 else row[k].rjust(w) for k, w in zip(kept, widths, strict=True)) for row in cells]
    return "\n".join(line.rstrip() for line in lines)
