"""Prints rows, and ratios between engines at equal error."""

from physsim.bench.engines import engine_named
from physsim.bench.profile import profile_line

_COLUMNS = (
    ("case", 21, "<"),
    ("stiffness", 10, ">"),
    ("engine", 17, "<"),
    ("dt", 8, ">"),
    ("cpu_s", 9, ">"),
    ("wall_s", 9, ">"),
    ("peak_rss_mb", 11, ">"),
    ("run_rss_mb", 10, ">"),
    ("error", 8, ">"),
)


def _cell(row: dict, key: str) -> str:
    """One value as text; a dash where there is none."""
    value = row.get(key)
    if value is None:
        return "-"
    if key == "dt":
        return f"1/{round(1.0 / value)}"
    if key == "error":
        return f"{100.0 * value:.2f} %"
    if key in ("cpu_s", "wall_s"):
        return f"{value:.3g}"
    if key == "stiffness":
        return f"{value:g}"
    return str(value)


def _line(cells: list[str]) -> str:
    return "  ".join(f"{cell:{align}{width}}" for cell, (_, width, align) in zip(cells, _COLUMNS, strict=True)).rstrip()


def _worth_showing(row: dict, picked_dt: float | None) -> bool:
    """Steps finer than the compared one only served to find the limit."""
    return picked_dt is None or row.get("dt") is None or row["dt"] >= picked_dt * (1.0 - 1e-9)


def format_table(rows: list[dict]) -> str:
    """Return the rows as text, one line each; `*` marks the step at which an engine is compared.

    Runs at finer steps than the compared one are left out, and of those that broke down only the finest is shown; the JSON file has
    them all.
    """
    lines = [_line([key for key, _, _ in _COLUMNS])]
    for row in rows:
        picked = next((r["dt"] for r in rows if _same_work(r, row) and r.get("compared")), None)
        if not _worth_showing(row, picked) or (row.get("broke_down") and row["dt"] != _finest_broken(rows, row)):
            continue
        line = _line([_cell(row, key) for key, _, _ in _COLUMNS])
        lines.append(line + (" *" if row.get("compared") else "") + (f"  {row['note']}" if row.get("note") else ""))
        if row.get("forward_wall_s") is not None:
            parts = [f"{part} {1e3 * row[f'{part}_wall_s']:.3g} ms" for part in ("forward", "backward")]
            lines.append(f"{'':21}  {', '.join(parts)}")
        if row.get("stages_cpu_s"):
            lines.append(f"{'':21}  a gradient step's CPU: {_stages_line(row)}")
        if row.get("forward_s") is not None:
            lines.append(f"{'':21}  forward {row['forward_s']:.3g} s, backward {row['backward_s']:.3g} s; {_gradient_check(row)}")
        if row.get("end_m") is not None:
            lines.append(f"{'':21}  {_touch_line(row)}")
        profile = profile_line(row) if row.get("compared") or row.get("end_m") is not None else None
        if profile:
            lines.append(f"{'':21}  {profile}")
    return "\n".join(lines)


def _stages_line(row: dict) -> str:
    """What each stage of a film's gradient step takes."""
    return ", ".join(f"{stage} {1e3 * seconds:.3g} ms" for stage, seconds in row["stages_cpu_s"].items())


def _touch_line(row: dict) -> str:
    """Where the bodies end, how deep they ever overlapped, and what contact costs."""
    parts = [f"ends at a height of {row['end_m']:.4f} m"]
    if row.get("deepest_m") is not None:
        parts.append(f"overlaps by {1e3 * row['deepest_m']:.2f} mm at most")
    if row.get("launches_per_newton"):
        parts.append(f"{row['launches_per_newton']:g} launches a Newton iteration")
    if row.get("contact_ratio"):
        parts.append(f"a step takes {row['contact_ratio']:g} times that of the same scene without contact")
    return ", ".join(parts)


def _gradient_check(row: dict) -> str:
    known = f"known to {row['difference_uncertainty']:.1e}"
    if str(row.get("directions_settled", "all")).startswith("0"):
        return f"no check: differences settle along none of the directions ({known})"
    settled = row.get("directions_settled", "all")
    return f"gradient off by {row['gradient_error']:.1e} (the differences themselves are {known}; settled along {settled} directions)"


def _finest_broken(rows: list[dict], row: dict) -> float:
    return min(r["dt"] for r in rows if _same_work(r, row) and r.get("broke_down"))


def _same_work(a: dict, b: dict) -> bool:
    return a["case"] == b["case"] and a["engine"] == b["engine"]


def equal_error_ratios(rows: list[dict]) -> list[dict]:
    """Return ratios ours / peer of the compared rows: `cpu_ratio`, and for memory `peak_rss_ratio` and `run_rss_ratio`.

    Below one means that physsim needs less. `best` marks the fastest of physsim's engines on that case.
    """
    compared = [row for row in rows if row.get("compared")]
    peers = [row for row in compared if engine_named(row["engine"]).peer]
    ratios = []
    for ours in compared:
        if engine_named(ours["engine"]).peer:
            continue
        rivals = [r.get("cpu_s") or 0.0 for r in compared if r["case"] == ours["case"] and not engine_named(r["engine"]).peer]
        for peer in peers:
            if peer["case"] == ours["case"]:
                ratios.append(
                    {
                        "case": ours["case"],
                        "engine": ours["engine"],
                        "peer": peer["engine"],
                        "best": (ours.get("cpu_s") or 0.0) <= min(rivals),
                        "cpu_ratio": _ratio(ours, peer, "cpu_s"),
                        "peak_rss_ratio": _ratio(ours, peer, "peak_rss_mb"),
                        "run_rss_ratio": _ratio(ours, peer, "run_rss_mb"),
                    }
                )
    return ratios


def _ratio(ours: dict, peer: dict, key: str) -> float | None:
    if ours.get(key) is None or not peer.get(key):
        return None
    return ours[key] / peer[key]


def format_ratios(ratios: list[dict]) -> str:
    """Return the ratios as text, one line each."""
    if not ratios:
        return "No ratio: no case has both a physsim row and a peer's with an error below two per cent."
    lines = ["At equal error (each at its largest step below 2 %), physsim / peer; below 1 physsim needs less; * is the best of ours:"]
    for ratio in ratios:
        values = [
            f"{label} {ratio[key]:.3f}"
            for label, key in (("CPU", "cpu_ratio"), ("peak memory", "peak_rss_ratio"), ("memory of the run", "run_rss_ratio"))
            if ratio[key] is not None
        ]
        mark = " *" if ratio.get("best") else ""
        lines.append(f"  {ratio['case']:21}  {ratio['engine']} / {ratio['peer']}:  {', '.join(values)}{mark}")
    return "\n".join(lines)


def own_step_ratios(rows: list[dict]) -> list[dict]:
    """Return CPU ratios ours / peer of the cases in which things touch, each engine at its own step; only runs that got to the end."""
    whole = [row for row in rows if row.get("end_m") is not None and row.get("cpu_s")]
    ours = [row for row in whole if not engine_named(row["engine"]).peer]
    peers = [row for row in whole if engine_named(row["engine"]).peer]
    return [
        {"case": row["case"], "engine": row["engine"], "peer": peer["engine"], "cpu_ratio": row["cpu_s"] / peer["cpu_s"]}
        for row in ours
        for peer in peers
        if peer["case"] == row["case"]
    ]


def format_own_step_ratios(ratios: list[dict]) -> str:
    """Return the ratios as text, one line each; empty without any."""
    lines = [f"  {r['case']:21}  {r['engine']} / {r['peer']}:  CPU {r['cpu_ratio']:.3f}" for r in ratios]
    return "\n".join(["\nTouch, each engine at its own step, physsim / peer:", *lines]) if lines else ""


def drawing_ratios(rows: list[dict]) -> list[dict]:
    """Return ratios PyTorch / physsim of the images drawn: how many times as fast physsim is, forward and backward together."""
    drawn = {(row["case"], row["engine"]): row for row in rows if row.get("forward_wall_s") is not None}
    ratios = []
    for (case, engine), ours in drawn.items():
        twin = drawn.get((case, "pytorch"))
        if engine != "pytorch" and twin is not None:
            times = {"cpu_times": _ratio(twin, ours, "cpu_s"), "wall_times": _ratio(twin, ours, "wall_s")}
            ratios.append({"case": case, "engine": engine, "peer": "pytorch", **times})
    return ratios


def format_drawing_ratios(ratios: list[dict]) -> str:
    """Return the ratios as text, one line each; empty without any."""
    lines = [f"  {r['case']:21}  {r['engine']}: {r['cpu_times']:.1f} times (wall {r['wall_times']:.1f})" for r in ratios]
    title = "Drawing with gradient, how many times as fast as the same formulas in PyTorch, by CPU seconds:"
    return "\n".join([title, *lines]) if lines else ""


def capture_ratios(rows: list[dict]) -> list[dict]:
    """Return ratios peer / physsim of the gradients over a capture: how many times as fast physsim is."""
    timed = {(row["case"], row["engine"]): row for row in rows if row["case"].startswith("capture") and row.get("cpu_s")}
    ratios = []
    for (case, engine), peer in timed.items():
        ours = next((row for (c, e), row in timed.items() if c == case and not engine_named(e).peer), None)
        if ours is not None and engine_named(engine).peer:
            times = {"cpu_times": _ratio(peer, ours, "cpu_s"), "wall_times": _ratio(peer, ours, "wall_s")}
            ratios.append({"case": case, "engine": ours["engine"], "peer": engine, **times})
    return ratios


def format_capture_ratios(ratios: list[dict]) -> str:
    """Return the ratios as text, one line each; empty without any."""
    lines = [f"  {r['case']:21}  {r['engine']} / {r['peer']}: {r['cpu_times']:.1f} times (wall {r['wall_times']:.1f})" for r in ratios]
    return (
        "\n".join(["Gradient over a capture, each engine at its own step, how many times as fast, by CPU seconds:", *lines])
        if lines
        else ""
    )
