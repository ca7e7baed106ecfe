"""How the time of the compared rows grows with particles and with stiffness, engine by engine and for the best of physsim's solvers."""

import math

from physsim.bench.cases import case_named
from physsim.bench.engines import engine_named

BEST = "physsim's best"


def compared_seconds(rows: list[dict]) -> dict[tuple[str, int, float, str], float]:
    """Return CPU seconds by (kind, size, stiffness, engine) of the compared rows; `BEST` is the fastest of physsim's engines."""
    found: dict[tuple[str, int, float, str], float] = {}
    for row in rows:
        if not row.get("compared") or not row.get("cpu_s"):
            continue
        case = case_named(row["case"])
        names = [row["engine"]] if engine_named(row["engine"]).peer else [row["engine"], BEST]
        for name in names:
            key = (case.kind, case.size, case.stiffness, name)
            found[key] = min(found.get(key, math.inf), row["cpu_s"])
    return found


def particle_exponents(rows: list[dict]) -> list[dict]:
    """Return p of time ~ particles^p from the smallest to the largest sheet of each kind, stiffness and engine."""
    out = []
    for (kind, stiffness, engine), times in _grouped(rows, "size").items():
        small, large = min(times), max(times)
        if kind != "beam" and large > small:
            p = math.log(times[large] / times[small]) / math.log((large / small) ** 2)
            out.append({"kind": kind, "stiffness": stiffness, "engine": engine, "from": small, "to": large, "exponent": p})
    return out


def stiffness_ratios(rows: list[dict]) -> list[dict]:
    """Return the time of the stiffest sheet over that of the softest, for each kind, size and engine."""
    out = []
    for (kind, size, engine), times in _grouped(rows, "stiffness").items():
        soft, stiff = min(times), max(times)
        if stiff > soft:
            ratio = times[stiff] / times[soft]
            out.append({"kind": kind, "size": size, "engine": engine, "from": soft, "to": stiff, "ratio": ratio})
    return out


def _grouped(rows: list[dict], over: str) -> dict[tuple, dict]:
    """Seconds by (kind, stiffness, engine) and then by size, or by (kind, size, engine) and then by stiffness."""
    groups: dict[tuple, dict] = {}
    for (kind, size, stiffness, engine), seconds in compared_seconds(rows).items():
        key, value = ((kind, stiffness, engine), size) if over == "size" else ((kind, size, engine), stiffness)
        groups.setdefault(key, {})[value] = seconds
    return groups


def format_scaling(rows: list[dict]) -> str:
    """Return exponents and ratios as text, one line for each engine and kind; empty where no rows can be compared so."""
    lines = []
    for one in particle_exponents(rows):
        span = f"from {one['from']}x{one['from']} to {one['to']}x{one['to']}"
        lines.append(f"  {one['kind']} at {one['stiffness']:g} N/m, {span}: {one['engine']} grows with particles^{one['exponent']:.2f}")
    for one in stiffness_ratios(rows):
        span = f"from {one['from']:g} to {one['to']:g} N/m"
        lines.append(f"  {one['kind']} of {one['size']}x{one['size']}, {span}: {one['engine']} takes {one['ratio']:.2f} times as long")
    return "\n".join(["CPU time of the compared rows:", *sorted(lines)]) if lines else ""
