"""Halves an engine's step until it has reached its own limit, and marks the step at which it is compared."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from physsim.bench.cases import FRAMES, Case
from physsim.bench.engines import Engine
from physsim.bench.metric import ERROR_ALLOWED, LIMIT_AGREEMENT, curve_error, largest_good_step
from physsim.errors import InputError

SUBSTEPS_MOST = 4096
"""The shortest step tried is 1/60 s over this."""
LIMIT_AGREEMENT_LOOSE = 0.5 * ERROR_ALLOWED
"""Runs that come no closer to each other than this are not at a limit (share of the body's size)."""
LIMIT_CPU_S = 600.0
"""No run is started that should take longer than this [CPU s]."""


@dataclass
class Limit:
    """An engine's own limit for a case."""

    substeps: int
    """Steps in 1/60 s of the finest run."""
    gap: float
    """Difference between the two finest runs, as a share of the body's size."""
    curve: list[float]
    """Heights of the finest run [m], shape [60]."""

    @property
    def reached(self) -> bool:
        """Whether the two finest runs agree."""
        return self.gap < LIMIT_AGREEMENT

    @property
    def near(self) -> bool:
        """Whether the two finest runs agree well enough to tell a row's error by."""
        return self.gap < ERROR_ALLOWED


@dataclass
class LimitCache:
    """Limits by case and engine; kept in a JSON file when one is named."""

    path: Path | None = None
    limits: dict[str, Limit] = field(default_factory=dict)

    @classmethod
    def load(cls, path: str | Path | None) -> "LimitCache":
        """Read the file, or start an empty cache where there is none.

        Raises:
            InputError: the file is there and is not a limits file.
        """
        if path is None or not Path(path).exists():
            return cls(Path(path) if path else None)
        try:
            content = json.loads(Path(path).read_text())
            limits = {key: Limit(**value) for key, value in content.items()}
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise InputError(f"limits = {str(path)!r}: not a file of benchmark limits ({error}); delete it or name another") from error
        return cls(Path(path), limits)

    def get(self, case: Case, engine: Engine) -> Limit | None:
        """Return the limit found earlier, if any."""
        return self.limits.get(f"{case.name}/{engine.name}")

    def put(self, case: Case, engine: Engine, limit: Limit) -> None:
        """Remember a limit, and write the file."""
        self.limits[f"{case.name}/{engine.name}"] = limit
        if self.path is not None:
            self.path.write_text(json.dumps({key: asdict(value) for key, value in self.limits.items()}))


def _curve(row: dict) -> np.ndarray:
    """The height curve of a child's row [m], nan where it broke down or failed."""
    return np.array(row.get("curve", [None] * FRAMES), dtype=float)


def _labelled(case: Case, engine: Engine, substeps: int, row: dict) -> dict:
    labels = {"case": case.name, "size": case.size_label, "stiffness": case.stiffness, "engine": engine.name}
    shown = {key: value for key, value in row.items() if key != "curve"}
    return {**labels, "dt": 1.0 / (FRAMES * substeps), "substeps": substeps, **shown}


def sweep(case: Case, engine: Engine, limits: LimitCache, run: Callable[[Case, Engine, int], dict]) -> list[dict]:
    """Run 1/60, 1/120, 1/240, ... s and return a row for each, with `error` and `compared`.

    Args:
        case: a cloth or a beam.
        engine: who runs it.
        limits: where a limit found earlier spares the finest runs.
        run: `launch`, or a stand-in with its arguments (case, engine, substeps) and result.

    Returns:
        Rows in the order of falling step. `compared` marks the largest step whose error is below two per cent. Halving ends
        when two runs agree, or when they come no closer although they are within one per cent: buckles keep some bodies from having
        a limit as sharp as 0.2 %, and the rows' `limit_gap` says how sharp it is. Where the next run would take longer than
        `LIMIT_CPU_S` and no limit is near, errors are unknown and the finest run is marked; a note says so.
    """
    known = limits.get(case, engine)
    runs: dict[int, dict] = {}
    substeps, gap = 1, np.inf
    while substeps <= SUBSTEPS_MOST:
        runs[substeps] = run(case, engine, substeps)
        curve = _curve(runs[substeps])
        if known is not None:
            if curve_error(curve, known.curve) < ERROR_ALLOWED:
                break
        elif substeps > 1:
            last_gap, gap = gap, curve_error(curve, _curve(runs[substeps // 2]))
            if gap < LIMIT_AGREEMENT or last_gap <= gap < LIMIT_AGREEMENT_LOOSE:
                break
        if 2.0 * runs[substeps].get("cpu_s", 0.0) > LIMIT_CPU_S or "stopped" in runs[substeps].get("note", ""):
            break
        substeps *= 2
    limit = known or _finest(runs, gap)
    if limit is not None and limit.near and known is None:
        limits.put(case, engine, limit)
    return _rows(case, engine, runs, limit)


def _finest(runs: dict[int, dict], gap: float) -> Limit | None:
    """The finest run that did not break down, as the best limit there is."""
    whole = [substeps for substeps, row in runs.items() if np.isfinite(_curve(row)).all()]
    if not whole:
        return None
    return Limit(max(whole), float(gap), _curve(runs[max(whole)]).tolist())


def _rows(case: Case, engine: Engine, runs: dict[int, dict], limit: Limit | None) -> list[dict]:
    """Label the runs and add their errors."""
    near = limit is not None and limit.near
    errors = {n: curve_error(_curve(row), limit.curve) if near else np.inf for n, row in runs.items()}
    picked = largest_good_step(errors) if near else limit and limit.substeps
    rows = []
    for substeps, row in runs.items():
        out = _labelled(case, engine, substeps, row)
        out["error"] = errors[substeps] if np.isfinite(errors[substeps]) else None
        out["compared"] = substeps == picked
        if not np.isfinite(_curve(row)).all() and "curve" in row:
            out["broke_down"] = True
            out["note"] = "broke down at this step" + (f": {out['note']}" if out.get("note") else "")
        if limit is not None:
            out["limit_dt"], out["limit_gap"] = 1.0 / (FRAMES * limit.substeps), limit.gap if np.isfinite(limit.gap) else None
            if not limit.reached:
                out.setdefault("note", _uncertain(limit))
        rows.append(out)
    return rows


def _uncertain(limit: Limit) -> str:
    gap = f"{100.0 * limit.gap:.2f} %" if np.isfinite(limit.gap) else "an unknown amount"
    if limit.near:
        return f"limit uncertain: its two finest steps differ by {gap}, not below 0.2 %"
    return (
        f"limit not reached within {LIMIT_CPU_S:.0f} CPU s: its two finest steps differ by {gap}; compared is the finest, which may be "
        "cheaper than a step below 2 %"
    )


def gradient_row(case: Case, engine: Engine, rows: list[dict], run: Callable[[Case, Engine, int], dict]) -> dict:
    """Run the gradient at the step at which `engine` is compared in the cloth case that `case` names.

    Args:
        case: the gradient case.
        engine: who runs it.
        rows: the rows of the cloth case.
        run: as in `sweep`.
    """
    picked = next((r for r in rows if r["case"] == case.gradient_of and r["engine"] == engine.name and r["compared"]), None)
    if picked is None:
        return {**missing_row(case, engine, f"no step of {case.gradient_of} has an error below two per cent")}
    row = _labelled(case, engine, picked["substeps"], run(case, engine, picked["substeps"]))
    return {**row, "error": picked["error"], "compared": "cpu_s" in row}


def own_step_row(case: Case, engine: Engine, run: Callable[[Case, Engine, int], dict]) -> dict:
    """Run a case in which things touch at the engine's own step; `end_m` is the bodies' mean height after 1 s.

    Args:
        case: one whose `touches` is true.
        engine: who runs it.
        run: as in `sweep`.
    """
    substeps = engine.own_substeps(case)
    row = run(case, engine, substeps)
    curve = _curve(row)
    out = _labelled(case, engine, substeps, row) | {"error": None, "compared": False}
    out.setdefault("end_m", float(curve[-1]) if np.isfinite(curve[-1]) else None)
    if "curve" in row and not np.isfinite(curve).all():
        out["note"] = "broke down at this step" + (f": {out['note']}" if out.get("note") else "")
    return out


def drawing_row(case: Case, engine: Engine, run: Callable[[Case, Engine, int], dict]) -> dict:
    """Draw an image and its gradient. Of a 'render' nothing is simulated, so that there is no step; a 'film' has two of 1/60 s.

    Args:
        case: one whose kind is among `DRAWN`.
        engine: who draws.
        run: as in `sweep`.
    """
    step = {"dt": None, "substeps": None} if case.kind == "render" else {}
    return _labelled(case, engine, 1, run(case, engine, 1)) | step | {"error": None, "compared": False}


def capture_row(case: Case, engine: Engine, run: Callable[[Case, Engine, int], dict]) -> dict:
    """Run a gradient over a capture of two seconds at the engine's own step.

    Args:
        case: one whose kind is among `CAPTURED`.
        engine: who runs it.
        run: as in `sweep`.
    """
    substeps = engine.capture_substeps
    return _labelled(case, engine, substeps, run(case, engine, substeps)) | {"error": None, "compared": False}


def missing_row(case: Case, engine: Engine, note: str) -> dict:
    """Return a row that holds no figures and says why."""
    labels = {"case": case.name, "size": case.size_label, "stiffness": case.stiffness, "engine": engine.name}
    return {**labels, "dt": None, "cpu_s": None, "wall_s": None, "peak_rss_mb": None, "error": None, "compared": False, "note": note}
