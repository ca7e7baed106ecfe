"""The page report.html of `physsim demo beam`: one file, to be read from the top by somebody who has no reason to believe it."""

import numpy as np

from physsim.real2sim import recording as rec
from physsim.real2sim.beam_report import ERROR_NAMES, error_rows, span
from physsim.report.page import Page, format_cell
from physsim.report.plot import PALETTE, Panel, Series

MEASURED, SIMULATED = "#9aa3af", PALETTE[0]
MAX_POINTS = 400  # measured frames drawn in a panel


def write_page(path, study, data, film):
    """Write report.html.

    Args:
        path: the file.
        study: Study.
        data: what `beam_report.report` returned.
        film: path of the video or of the strip of stills.

    Returns:
        The path.
    """
    judged = study.heldout or study.fitted
    then = ", and a second recording predicted from its first turning point on." if study.heldout else "."
    lead = f"Young's modulus and damping fitted to one recording, by gradients through a finite-element simulation{then}"
    page = Page(study.experiment.about.get("name") or "A beam, held and let go", lead)
    _headline(page, study, data)
    caption = f"The simulated motion of {judged.measured.name} in real time from the first turning point on, with the measured markers. "
    page.video(
        film,
        "the simulated beam with the measured markers",
        caption + "The bar at the tip stands for the weight; its size is not to scale.",
    )
    _errors(page, study, data)
    _curves(page, study)
    _phase(page, study)
    _convergence(page, study, data)
    _swings(page, data)
    _certainty(page, study, data)
    _facts(page, study, data)
    return page.write(path)


def _headline(page, study, data):
    level = f"{100 * data['interval_level']:g} %"
    tiles = [
        ("Young's modulus", f"{data['young_pa'] / 1e3:.1f} kPa", f"{level}: {span(data['young_pa_interval'], 1e-3)} kPa"),
        ("Damping ratio", f"{data['damping_ratio']:.3f}", f"{level}: {span(data['damping_ratio_interval'], digits=3)}"),
    ]
    shown, kind = (data["heldout"], "predicted") if study.heldout else (data["fit"], "fitted")
    name = f"{shown['recording']}, {kind}"
    for key, label, unit, measured in (
        ("drop_error_pct", "Drop at rest is off by", "%", ("drop_mm", "mm")),
        ("frequency_error_pct", "Frequency is off by", "%", ("frequency_hz", "Hz")),
    ):
        value, (fact, fact_unit) = shown[key], measured
        pair = " measured, ".join(format_cell(shown[side][fact]) for side in ("measured", "simulated"))
        tiles.append((label, "\u2013" if value is None else f"{value:.1f} {unit}", f"{name}: {pair} {fact_unit} simulated"))
    tiles.append(("Vertical RMSE", f"{shown['rmse_mm']:.2f} mm", name))
    if data.get("extrapolation", {}).get("phase_error_cycles") is not None:
        rest = data["extrapolation"]
        where = f"{rest['phase_read_s_after_window']:.1f} s after the fitted window, where the swing is {rest['amplitude_there_mm']:.2g} mm"
        tiles.append(("Phase is off by", f"{rest['phase_error_cycles']:.2f} cycle", where))
    page.tiles(tiles)


def _errors(page, study, data):
    page.heading("Errors")
    rows = error_rows(data)
    strong = next((i for i, row in enumerate(rows) if row[0].endswith(", predicted")), 0)
    page.table(
        ["", *ERROR_NAMES],
        rows,
        "RMSE over all frames from the first turning point on. Drop: mean of the markers over the last 0.6 s. Frequency: damped cosine "
        "from 0.30 s after the release over 1.5 s. The same code judges measured and simulated curves.",
        strong,
    )
    page.text(
        "The vertical displacements are what is fitted and what can be trusted. The frame of the markers may be tilted by some degrees, "
        "which spoils the small horizontal displacements; the 3-D figure contains that."
    )
    if not study.heldout:
        page.text("No recording was held out: these errors say how well the model describes, not how well it predicts.")
        return
    found, replay = data["heldout"]["rmse_mm"], data["baselines"]["a_replayed"]["rmse_mm"]
    if replay < found:
        page.text(
            f"Replaying the fitted recording comes closer ({replay:.2f} mm) than the simulation ({found:.2f} mm): the two recordings are "
            "nearly repeats of each other. A replay says nothing about another load, another shape or another release; the simulation does."
        )


def _curves(page, study):
    for judged, kind in ((study.fitted, "fitted"), (study.heldout, "predicted, not seen by the fit")):
        if judged is None:
            continue
        m = judged.measured
        page.heading(f"{m.name}: {kind}")
        since = m.times - m.release
        fitted = judged is study.fitted
        window = [tuple(np.array(study.fit.window) - m.release) + ("",)] if fitted else []
        turn = [(m.turn - m.release, "first turning point")]
        thin = slice(None, None, max(1, len(since) // MAX_POINTS))
        after = since >= m.turn - m.release
        drops = [1e3 * rec.mean_drop(u) for u in (m.displacements, judged.displacements)]

        def pair(real, simulated, since=since, after=after, thin=thin, names=("", "")):
            return [
                Series(names[0], since[thin], real[thin], "points", MEASURED),
                Series(names[1], since[after], simulated[after], "line", SIMULATED),
            ]

        whole = Panel(
            "Mean drop of the markers",
            pair(*drops, names=("measured", "simulated")),
            "time after the release [s]",
            "drop [mm]",
            spans=window,
            marks=turn,
        )
        page.plots([whole], height=3.3, caption=_curve_caption(fitted))
        swing = since <= (m.turn - m.release) * 14
        panels = []
        for i, name in enumerate(judged.experiment.markers):
            real, simulated = (1e3 * u[:, i, 2] for u in (m.displacements, judged.displacements))
            both = pair(real[swing], simulated[swing], since[swing], after[swing], slice(None, None, max(1, swing.sum() // MAX_POINTS)))
            panels.append(Panel(f"{name}, z", both, "time after the release [s]", "[mm]"))
        page.plots(panels, columns=min(3, len(panels)), height=2.7, caption="Each marker's vertical displacement; grey dots: measured.")
        names = judged.experiment.markers
        residuals = [1e3 * (judged.displacements - m.displacements)[:, i, 2] for i in range(len(names))]
        series = [
            Series(n, since[after], r[after], colour=PALETTE[i % len(PALETTE)], width=1.1) for i, (n, r) in enumerate(zip(names, residuals))
        ]
        page.plots(
            [Panel("Simulated minus measured, vertical", series, "time after the release [s]", "[mm]", spans=window, marks=turn)],
            height=2.6,
            caption="A good model of everything would leave noise. What stays away from zero at the end is a wrong resting pose; what "
            "oscillates is a wrong frequency, damping or start.",
        )


def _curve_caption(fitted):
    if fitted:
        return (
            "Shaded: the frames that were fitted. Amplitude and delay of the start are fitted along with the material: the hand that lets "
            "go disturbs the release."
        )
    return "Of this recording the prediction knows one thing: when, and at which drop, the beam first turns. All that follows is computed."


def _phase(page, study):
    rest = study.extrapolation
    if rest is None or rest.track is None:
        return
    page.heading("Beyond the fitted window")
    since = rest.track.times - rest.begin
    ahead = Panel(
        "Simulated swing ahead of the measured one", [Series("", since, rest.track.cycles)], "time after the fitted window [s]", "[cycles]"
    )
    size = Panel("Amplitude of the measured swing", [Series("", since, 1e3 * rest.track.amplitude)], ahead.x_label, "[mm]", log_y=True)
    page.plots(
        [ahead, size],
        columns=2,
        caption="Phase by a sliding fit over two periods, followed from inside the window so that lost cycles count. Real rubber swings "
        "faster as its amplitude falls; a linear law cannot follow a swing down to where it is a thousandth of the first.",
    )


def _convergence(page, study, data):
    page.heading("How the fit went")
    series, moduli, x = [], [], 0
    count = len(study.fit.starts)
    for part in data["horizons"]:
        rmse, young = np.array(part["rmse_mm"], dtype=float), np.array(part["young_pa"], dtype=float) / 1e3
        steps = x + np.arange(len(rmse))
        series.append(
            Series(f"{part['seconds']:.2f} s", steps, np.nanmin(rmse, axis=1), colour=PALETTE[len(series) % len(PALETTE)], width=2)
        )
        moduli.append((steps, young))
        x = steps[-1] + 1
    steps = np.concatenate([s for s, _ in moduli])
    values = np.concatenate([y for _, y in moduli])
    starts = [
        Series(
            f"from {s / 1e3:g} kPa",
            np.concatenate([[-2, -1], steps]),
            np.concatenate([[s / 1e3, c / 1e3], values[:, i]]),
            colour=PALETTE[i],
            width=2.4 - i,
        )
        for i, (s, c) in enumerate(zip(study.fit.starts[:6], study.fit.coarse[:6], strict=True))
    ]
    page.plots(
        [
            Panel("Loss by length of motion", series, "iteration", "vertical RMSE [mm]"),
            Panel("Young's modulus", starts, "iteration", "[kPa]", log_y=True, marks=[(-1, "statics")]),
        ],
        columns=2,
        height=3.1,
        caption="The fit first matches the mean pose by statics, then ever longer motions, so that a swing of unknown stiffness cannot "
        "lock on to a wrong period. A longer motion is another problem, so its loss may begin higher.",
    )
    agree = ""
    if count > 1:
        apart, statics = (
            f"{v:.2g} %" if v >= 0.01 else "0.01 %" for v in (data["starts_differ_pct"], data["starts_differ_after_statics_pct"])
        )
        agree = f" The starts agree within {statics} after statics and within {apart} at the end."
    page.text(f"{data['iterations']} simulations with tangents, {data['seconds_by_part']['fit']:.0f} s.{agree}")


def _swings(page, data):
    rows = []
    for key in ("fit", "heldout"):
        for w in data["swing_by_window"].get(key, []):
            name = f"{data[key]['recording']}, {w['from_s']:.2f} to {w['to_s']:.2f} s"
            values = (w[f"{side}_{what}"] for what in ("hz", "damping_ratio") for side in ("measured", "simulated"))
            rows.append([name, w["amplitude_mm"], *values])
    if not rows:
        return
    page.heading("Frequency and damping as the swing dies down")
    page.table(
        ["", "amplitude [mm]", "measured [Hz]", "simulated [Hz]", "measured damping ratio", "simulated damping ratio"],
        rows,
        "A damped cosine through the mean drop, stretch by stretch of three periods, until the swing sinks into the scatter. A material "
        "whose damping and stiffness depend on amplitude shows here as columns that drift apart.",
    )


def _certainty(page, study, data):
    page.heading("What the data determine, and what they do not")
    level = f"{100 * data['interval_level']:g} %"
    units = {"young": "Pa", "viscosity": "Pa s", "delay": "s"}
    words = {"young": "Young's modulus", "release multiple": "start, as a multiple of gravity", "delay": "delay of the start"}
    rows = []
    sure = study.fit.fit.intervals
    for name in sure.names:
        low, high = sure.interval(name)
        ends = span([v if np.isfinite(v) else None for v in (low, high)])
        rows.append(
            [words.get(name, name), study.fit.fit.values[name], units.get(name, ""), ends, "no" if name in sure.undetermined else "yes"]
        )
    rows.insert(2, ["damping ratio", data["damping_ratio"], "", span(data["damping_ratio_interval"]), "as viscosity"])
    page.table(
        ["fitted", "value", "unit", level, "determined"],
        rows,
        "Intervals allow for errors that are correlated in time and across markers. They assume the model; they do not cover a wrong "
        "length, a wrong weight or a material that one modulus and one viscosity cannot describe.",
    )
    page.text(*sure.undetermined.values())
    if sure.not_determined:
        page.text(f"Hardly fixed by these data: {', '.join(sure.not_determined)}.")
    page.table(
        ["Young's modulus asked for by", "[kPa]"],
        [[row["data"], row["young_pa"] / 1e3] for row in data["young_by_data"]],
        "If one modulus described the material, these would agree within the interval. Rubber creeps: it is stiffer in a fast swing than "
        "at rest, and a single modulus is a compromise between the two.",
    )


def _facts(page, study, data):
    e, about = study.experiment, study.experiment.about
    page.heading("The experiment")
    size = " x ".join(f"{1e3 * s:g}" for s in e.size)
    rows = [
        [
            "body",
            f"{about['material'] or 'soft solid'}, {size} mm, clamped at the face of lowest x, straight and free of stress while held",
        ],
        ["density", f"{e.density:g} kg/m3"],
        ["Poisson's ratio", f"{e.poisson:g} (given, not fitted)"],
        ["weight", f"{1e3 * e.weight:.5g} g with its inertia, along the edge {_place(e.edge[0])} to {_place(e.edge[1])}"],
        ["gravity", f"{abs(e.gravity[2]):g} m/s2"],
        ["markers", "; ".join(f"{n} at {_place(p)}" for n, p in zip(e.markers, e.points))],
    ]
    for judged, kind in ((study.fitted, "fitted"), (study.heldout, "predicted")):
        if judged:
            m = judged.measured
            how = "given" if m.release_known else "detected"
            step = 1 / np.median(np.diff(m.times))
            own = f", weight {1e3 * judged.experiment.weight:.5g} g" if judged.experiment.weight != e.weight else ""
            rows.append([f"{m.name} ({kind})", f"{len(m.times)} frames at {step:.4g} Hz; release at {m.release:.3f} s ({how}){own}"])
    rows += [[key, about[key]] for key in ("source", "licence") if about.get(key)]
    page.facts(rows)
    if about.get("marker_note"):
        page.text(about["marker_note"])
    page.heading("Settings")
    s = data["settings"]
    page.facts(
        [
            ["mesh", f"{s['cells']} {s['element']}; {s['nodes']} nodes"],
            ["laws", f"{s['elasticity']}; {s['damping']}"],
            ["steps in time", f"{s['integrator'].upper()}, dt = {1e3 * s['dt_s']:g} ms; linear solver: {s['linear_solver']}"],
            ["fit", f"{s['fit']}; {s['compared']}"],
            ["versions", ", ".join(f"{k} {v}" for k, v in data["versions"].items())],
            ["time", "; ".join(f"{k} {v:.0f} s" for k, v in data["seconds_by_part"].items())],
        ],
    )
    page.heading("Limits")
    page.text(
        "One modulus and one viscosity: the material creeps, and its damping depends on amplitude. The tables above show by how much.",
        "The held pose is taken as straight and free of stress, the clamp as rigid, the weight as a line on the edge.",
        "Markers stand off the surface; the displacement of each is compared with that of the material point that it stands for.",
    )


def _place(point):
    return "(" + ", ".join(f"{1e3 * v:g}" for v in point) + ") mm"
