"""What `physsim demo beam` writes: the numbers of report.json, the table of the terminal."""

import numpy as np

from physsim.real2sim import beam, beam_demo
from physsim.real2sim import recording as rec
from physsim.report.json_file import plain
from physsim.report.page import format_cell

WINDOW_PERIODS = 3.0  # length of a stretch whose swing is described by itself [periods]
SMALLEST_SWING = 0.03  # below this share of its first amplitude a swing is hardly one any more
ERROR_KEYS = ("rmse_mm", "rmse_3d_mm", "drop_error_pct", "frequency_error_pct")
ERROR_NAMES = ("RMSE, vertical [mm]", "RMSE, 3-D [mm]", "drop error [%]", "frequency error [%]")
BASELINES = {
    "pose_held": "baseline: pose at the turning point held",
    "residual_carried": "baseline: prediction plus its residual there",
    "a_replayed": "baseline: the fitted recording replayed",
}


def report(study):
    """Everything that was found, as plain numbers, strings, lists and dicts; None where a number does not exist."""
    f, e = study.fit, study.experiment
    sure = f.fit.intervals
    data = {
        "young_pa": f.young,
        "young_pa_interval": f.young_interval,
        "damping_ratio": f.damping_ratio,
        "damping_ratio_interval": f.damping_ratio_interval,
        "viscosity_pa_s": f.viscosity,
        "viscosity_pa_s_interval": sure.interval("viscosity"),
        "interval_level": sure.level,
        "fit": _judged(study.fitted) | {"window_s": f.window},
    }
    if study.heldout:
        data["heldout"] = _judged(study.heldout)
        data["baselines"] = {name: study.heldout.errors(u) for name, u in study.baselines.items()}
    if study.extrapolation:
        data["extrapolation"] = _extrapolation(study.extrapolation)
    data |= {
        "iterations": f.fit.iterations,
        "seconds": None,
        "seconds_by_part": study.seconds,
        "starts": [{"young_start_pa": a, "after_statics_pa": b, "young_pa": c} for a, b, c in zip(f.starts, f.coarse, f.ends, strict=True)],
        "starts_differ_pct": 100 * (f.ends.max() / f.ends.min() - 1),
        "starts_differ_after_statics_pct": 100 * (f.coarse.max() / f.coarse.min() - 1),
        "release": {name: {"value": f.fit.values[name], "interval": sure.interval(name)} for name in ("release multiple", "delay")},
        "undetermined": sure.undetermined,
        "not_determined_combinations": sure.not_determined,
        "statement": f.fit.statement().splitlines(),
        "young_by_data": [{"data": name, "young_pa": young} for name, young in _young_by_data(f)],
        "horizons": _horizons(f),
        "swing_by_window": {"fit": swing_windows(study.fitted)} | ({"heldout": swing_windows(study.heldout)} if study.heldout else {}),
        "settings": _settings(study),
        "experiment": {
            "name": e.about.get("name", ""),
            "size_m": e.size,
            "density_kg_m3": e.density,
            "poisson": e.poisson,
            "gravity_m_s2": e.gravity,
            "weight_kg": e.weight,
            "markers": e.markers,
        },
        "versions": beam_demo.versions(),
    }
    return plain(data)


def _judged(judged):
    m = judged.measured
    measured, simulated = judged.swings()
    return judged.errors() | {
        "recording": m.name,
        "release_s": m.release,
        "release_known": m.release_known,
        "turning_point_s": m.turn,
        "weight_kg": judged.experiment.weight,
        "measured": measured,
        "simulated": simulated,
    }


def _extrapolation(rest):
    found = {"fitted_until_s": rest.begin, "rmse_mm": rest.rmse_mm, "rmse_3d_mm": rest.rmse_3d_mm}
    if rest.track is None:
        return found | {"phase_error_cycles": None}
    cycles, spread, amplitude = rest.track.at(rest.at)
    found |= {
        "phase_error_cycles": abs(cycles),
        "phase_read_s_after_window": rest.at - rest.begin,
        "phase_spread_cycles": spread,
        "amplitude_there_mm": 1e3 * amplitude,
    }
    swinging = np.flatnonzero(rest.track.amplitude > SMALLEST_SWING * rest.first_amplitude)
    if len(swinging):
        last = swinging[-1]
        found["while_swinging"] = {
            "until_s_after_window": rest.track.times[last] - rest.begin,
            "phase_error_cycles": abs(rest.track.cycles[last]),
            "amplitude_mm": 1e3 * rest.track.amplitude[last],
        }
    return found


def _horizons(f):
    """For each length of motion that was fitted: RMSE and modulus of every start, an iteration a row."""
    rows = {}
    for t in f.trail:
        part = rows.setdefault(t.horizon, {"seconds": t.horizon, "rmse_mm": [], "young_pa": []})
        part["rmse_mm"].append(t.rmse_mm)
        part["young_pa"].append(t.young)
    return list(rows.values())


def _young_by_data(f):
    """Modulus that each part of the data asks for: (words, Pa)."""
    last = {t.horizon: t for t in f.trail}
    rows = [
        ("resting pose of the last 0.6 s, by statics", f.at_rest),
        ("mean pose of the fitted frames, by statics", float(np.median(f.coarse))),
    ]
    return rows + [(f"first {h:.2f} s of motion from the turning point", float(t.young[np.argmin(t.rmse_mm)])) for h, t in last.items()]


def swing_windows(judged):
    """Frequency and damping ratio, measured and simulated, stretch by stretch as the amplitude falls, while there is one."""
    m = judged.measured
    drops = [rec.mean_drop(u) for u in (m.displacements, judged.displacements)]
    frequency = judged.swings()[0]["frequency_hz"]
    rows, begin = [], m.turn
    if not np.isfinite(frequency) or frequency <= 0:
        return rows
    length = WINDOW_PERIODS / frequency
    while begin + length <= m.times[-1] and np.sum((m.times >= begin) & (m.times <= begin + length)) >= 12:
        measured, simulated = (rec.damped_cosine(m.times, d, begin, length) for d in drops)
        if measured.amplitude < 6 * measured.rmse or (rows and 1e3 * measured.amplitude < SMALLEST_SWING * rows[0]["amplitude_mm"]):
            break
        row = {"from_s": begin - m.release, "to_s": begin + length - m.release, "amplitude_mm": 1e3 * measured.amplitude}
        for name, swing in (("measured", measured), ("simulated", simulated)):
            row |= {f"{name}_hz": swing.frequency_hz, f"{name}_damping_ratio": swing.damping_ratio}
        rows.append(row)
        begin += length
    return rows


def _settings(study):
    simulated = study.fitted.beam
    return {
        "cells": len(simulated.mesh.cells),
        "nodes": len(simulated.mesh.points),
        "element": "ten-node tetrahedra, mean dilatation",
        "elasticity": "neo-Hookean, stable under inversion",
        "damping": "Kelvin-Voigt viscosity on the Green strain",
        "integrator": "bdf2",
        "dt_s": beam.DT,
        "linear_solver": study.fit.linear,
        "fit": "Levenberg-Marquardt on exact tangents of the whole motion",
        "compared": "vertical displacements of the markers from the held pose",
    }


def error_rows(data):
    """Rows (what, four errors) of the fitted and the predicted recording and of the baselines."""
    rows = [[f"{data['fit']['recording']}, fitted", *(data["fit"][k] for k in ERROR_KEYS)]]
    if "extrapolation" in data:
        rest = data["extrapolation"]
        rows.append([f"{data['fit']['recording']}, after the fitted window", rest["rmse_mm"], rest["rmse_3d_mm"], None, None])
    if "heldout" in data:
        rows.append([f"{data['heldout']['recording']}, predicted", *(data["heldout"][k] for k in ERROR_KEYS)])
        rows += [[BASELINES[name], *(found[k] for k in ERROR_KEYS)] for name, found in data["baselines"].items()]
    return rows


def span(interval, scale=1.0, digits=4):
    """An interval in words."""
    low, high = (None if v is None else f"{scale * v:.3g}" if digits == 3 else format_cell(scale * v) for v in interval)
    if low is None and high is None:
        return "not determined"
    return f"{low or 'no lower end'} to {high or 'no upper end'}"


def table(data):
    """The table of the terminal."""
    level = f"{100 * data['interval_level']:g} %"
    lines = [
        f"Young's modulus  {format_cell(data['young_pa'] / 1e3)} kPa   {level}: {span(data['young_pa_interval'], 1e-3)}",
        f"damping ratio    {format_cell(data['damping_ratio'])}       {level}: {span(data['damping_ratio_interval'])}",
        "",
    ]
    rows = [["", *ERROR_NAMES], *([row[0], *map(format_cell, row[1:])] for row in error_rows(data))]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines += ["  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))]) for row in rows]
    phase = data.get("extrapolation", {}).get("phase_error_cycles")
    if phase is not None:
        rest = data["extrapolation"]
        lines += ["", f"{rest['phase_read_s_after_window']:.2f} s after the fitted window the phase is off by {phase:.3f} of a cycle"]
        lines[-1] += f", where the swing is {rest['amplitude_there_mm']:.3g} mm"
        if "while_swinging" in rest:
            early = rest["while_swinging"]
            size, when = f"{early['amplitude_mm']:.3g} mm", f"{early['until_s_after_window']:.2f} s"
            lines.append(f"{when} after it, where the swing is {size}: {early['phase_error_cycles']:.3f} of a cycle")
    lines += ["", *data["undetermined"].values()] if data["undetermined"] else []
    return "\n".join(lines)
