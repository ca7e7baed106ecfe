"""The command ``physsim check``: what is wrong with a capture, and what it holds."""

from os import PathLike

import numpy as np

from physsim.capture.check import examine
from physsim.capture.layout import runs
from physsim.capture.read import Parts

WRONG = 2


def main(path: str | PathLike[str]) -> int:
    """Print every problem of a capture's folder, then what is in it.

    Returns:
        Exit code: 0 where a fit can be made, 2 where it cannot.
    """
    parts, problems = examine(path)
    for problem in problems:
        print(problem)
    if problems:
        print()
    if parts is not None:
        for line in summary(parts):
            print(line)
        print()
    errors = sum(p.severity == "error" for p in problems)
    print(f"{path}: {_count(errors, 'error')}, {_count(len(problems) - errors, 'warning')}")
    return WRONG if errors else 0


def summary(parts: Parts) -> list[str]:
    """What a folder holds, a line a kind."""
    facts = parts.facts
    rows = [("capture", f"{facts.name}{f' ({facts.source})' if facts.source else ''}"), ("kind", facts.kind or "to be found")]
    if facts.times is not None:
        seconds = facts.times[-1] - facts.times[0]
        rate = f", {(len(facts.times) - 1) / seconds:.4g} a second" if seconds > 0 else ""
        rows.append(("frames", f"{len(facts.times)} over {seconds:.4g} s{rate}; fit {_split(facts, 'fit')}, test {_split(facts, 'test')}"))
    for name in facts.camera_names:
        size = facts.sizes.get(name)
        sensors = [kind for kind in ("colour", "depth", "mask") if name in getattr(parts, kind)]
        shown = f"{size[0]} x {size[1]}" if size else "of no size"
        rows.append(("camera", f"{name}, {shown} pixels: {', '.join(sensors) or 'nothing'}"))
    if parts.points is not None:
        rows.append(("points", f"{_count(sum(f is not None for f in parts.points.files), 'frame')}"))
    if parts.tracks is not None:
        visible = parts.tracks.visible
        rows.append(("tracks", f"{_count(visible.shape[1], 'point')}, seen {100 * visible.mean():.0f} % of the time"))
    for name, handle in parts.handles.items():
        opening = ", with its opening" if handle.opening is not None else ""
        first, last = handle.times[[0, -1]]
        rows.append(("handle", f"{name}, {_count(len(handle.times), 'pose')} from {first:.4g} to {last:.4g} s{opening}"))
    if parts.mesh is not None:
        points = parts.mesh.line if hasattr(parts.mesh, "line") else parts.mesh.points
        rows.append(("mesh", f"{type(parts.mesh).__name__} of {_count(len(points), 'point')}"))
    known = {k: v for k, v in vars(facts.known).items() if v is not None}
    if known:
        rows.append(("known", ", ".join(k if np.ndim(v) else f"{k} {v:g}" for k, v in known.items())))
    return [f"{name:<9}{text}" for name, text in rows]


def _split(facts, name):
    frames = getattr(facts, name)
    if frames is None:
        return "left open"
    return ", ".join(f"{a}-{b - 1}" if b > a + 1 else f"{a}" for a, b in runs(frames.tolist())[:6]) or "none"


def _count(number, what):
    return f"{number} {what}{'' if number == 1 else 's'}"
