"""What `physsim fit` says on a terminal: one line a stage that is rewritten, and the table at the end."""

import math
import shutil
import sys
import time
from collections.abc import Sequence

from physsim.twin.holds import GUESSED
from physsim.twin.report import digits, misfits, scaled, span, text_table, words
from physsim.twin.results import TwinFit


class Progress:
    """A line a stage. On a terminal it is rewritten as the stage goes on; elsewhere it is written when the stage ends.

    Args:
        quiet: say nothing.
    """

    def __init__(self, quiet: bool = False) -> None:
        self._quiet, self._live = quiet, not quiet and sys.stderr.isatty()
        self._name, self._began, self._last = None, 0.0, ""

    def say(self, line: str) -> None:
        """A line of its own."""
        if not self._quiet:
            self.end()
            print(line, file=sys.stderr, flush=True)

    def begin(self, name: str) -> None:
        """Start a stage."""
        self.end()
        self._name, self._began, self._last = name, time.perf_counter(), ""
        self._show("")

    def show(self, text: str) -> None:
        """How the stage stands."""
        self._last = text
        self._show(text)

    def _show(self, text):
        if self._live and self._name is not None:
            wide = max(20, shutil.get_terminal_size().columns - 1)
            line = f"{self._name:<12} {time.perf_counter() - self._began:5.0f} s  {text}"
            print(f"\r{line[:wide]:<{wide}}", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Leave the line as it stands."""
        if self._name is None:
            return
        if self._live:
            self._show(self._last)
            print(file=sys.stderr, flush=True)
        elif not self._quiet:
            print(f"{self._name:<12} {time.perf_counter() - self._began:5.0f} s  {self._last}".rstrip(), file=sys.stderr, flush=True)
        self._name = None


def fit_line(stage: str, horizon: float, iteration: int, cost: float, values: dict, units: dict | None = None) -> str:
    """How a fit stands, in a line."""
    shown = []
    for name, value in list(values.items())[:4]:
        factor, unit = scaled(value, (units or {}).get(name, ""))
        shown.append(f"{name} {digits(factor * value)} {unit}".rstrip())
    more = f", {len(values) - 4} more" if len(values) > 4 else ""
    return f"{stage}, {digits(horizon, 2)} s of motion, iteration {iteration}: cost {digits(cost)}; {', '.join(shown)}{more}"


def look_line(done: object) -> str:
    """How the fit of a look stands, in a line."""
    held = "" if done.held_out is None else f", held out {done.held_out:.1f} dB"
    return f"{done.iteration}/{done.iterations}  PSNR {done.psnr:.1f} dB{held}, {done.splats} splats"


def parameter_table(fit: TwinFit) -> str:
    """Parameters with their intervals, and in words what could not be determined."""
    level = f"{100 * fit.level:g} % interval"
    rows = [["parameter", "estimate", level, *(["other seeds"] if fit.spread else [])]]
    for name, value in fit.values.items():
        factor, unit = scaled(value, fit.units.get(name, ""))
        row = [words(name), f"{digits(factor * value)} {unit}".rstrip(), span(fit.intervals.get(name), factor)]
        if name in fit.undetermined:
            row[2] += " (not determined)" if "not determined" not in row[2] else ""
        if fit.spread:
            seeds = [s for s in fit.spread.get(name, []) if math.isfinite(s)]
            row.append(f"{digits(factor * min(seeds))} to {digits(factor * max(seeds))}" if seeds else "\u2013")
        rows.append(row)
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([*lines, *(f"not determined: {sentence}" for sentence in fit.undetermined.values())])


def summary(fit: TwinFit, judgement: object, assumed: Sequence[str] = (), notes: Sequence[str] = ()) -> str:
    """What a fit ends with: parameters, what they rest on, and the errors beside the trivial predictors'.

    Args:
        fit: TwinFit.
        judgement: Judgement.
        assumed: what was assumed of body, holds and material, in plain words.
        notes: sentences for the top of the report.
    """
    doubts = [f"doubt: {line}" for line in misfits(fit)]
    told = (f"{'warning' if GUESSED in line else 'assumed'}: {line}" for line in assumed)
    lines = [parameter_table(fit), *told, *doubts, *(f"note: {line}" for line in notes)]
    return "\n".join([*lines, "", text_table(judgement)])
