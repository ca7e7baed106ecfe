"""Where a step's time goes: its parts, its iterations, and what its launches cost by themselves."""

import time
from functools import cache

import numpy as np

REPLAYS = 1000
"""Launches of an empty kernel that are timed."""


@cache
def launch_seconds(device: str = "cpu") -> float:
    """Return what one recorded launch of an empty kernel takes [wall s]; the fastest of three series."""
    import warp as wp

    from physsim.physics.launch import Launcher

    @wp.kernel(module="unique", enable_backward=False)
    def nothing(first: int, out: wp.array(dtype=float)):
        if first < 0:
            out[0] = 0.0

    command = Launcher(device, 1).record(nothing, 1, wp.zeros(1, dtype=float, device=device))
    series = []
    for _ in range(3):
        start = time.perf_counter()
        for _ in range(REPLAYS):
            command()
        series.append((time.perf_counter() - start) / REPLAYS)
    return min(series)


class StepProfile:
    """Adds up the reports of a run's steps; a new one is made for each run."""

    def __init__(self) -> None:
        from physsim.physics.launch import Command

        self._command, self._launches = Command, Command.count
        self._start = time.perf_counter()
        self.parts: dict[str, float] = {}
        self.newton = self.linear = self.factorisations = self.in_iterations = 0

    def note(self, report: object) -> None:
        """Add a report's iterations (the most of any environment) and its seconds by part."""
        self.newton += int(np.max(report.iterations))
        self.linear += int(report.linear_iterations)
        self.factorisations += int(report.factorisations)
        self.in_iterations += int(getattr(report, "launches", 0))
        for part, seconds in report.profile.items():
            self.parts[part] = self.parts.get(part, 0.0) + seconds

    def columns(self, steps: int) -> dict:
        """Return what to add to a row, for a run of `steps` steps that ends now.

        `profile`: wall seconds by part, 'other' being what no part accounts for; `launches_s`: the launches' number times the time
        of an empty one (it is contained in the parts); `launches_per_newton`: those within an iteration; `step_s`, and per step
        `launches` (all), `iterations`, `linear_iterations`, and `factorisations`.
        """
        wall = time.perf_counter() - self._start
        launches = self._command.count - self._launches
        parts = {**self.parts, "other": max(0.0, wall - sum(self.parts.values()))}
        return {
            "profile": {part: round(seconds, 5) for part, seconds in parts.items()},
            "launches_s": round(launches * launch_seconds(), 5),
            "launches_per_newton": round(self.in_iterations / max(1, self.newton), 1),
            "step_s": wall / steps,
            "launches_per_step": round(launches / steps, 2),
            "iterations_per_step": round(self.newton / steps, 2),
            "linear_iterations_per_step": round(self.linear / steps, 2),
            "factorisations_per_step": round(self.factorisations / steps, 3),
        }


def profile_line(row: dict) -> str | None:
    """Return a row's profile as one line of text, or None where it has none."""
    if not row.get("profile"):
        return None
    whole = sum(row["profile"].values()) or 1.0
    shares = ", ".join(f"{part} {100.0 * seconds / whole:.0f} %" for part, seconds in row["profile"].items())
    counts = [
        f"{row[key + '_per_step']:g} {words}"
        for key, words in (("iterations", "Newton"), ("linear_iterations", "linear"), ("factorisations", "factorisations"))
        if row.get(key + "_per_step")
    ]
    solver = f" by {row['linear']}" if row.get("linear") else ""
    iterations = f", {', '.join(counts)}{solver}" if counts else ""
    launches = f"{row['launches_per_step']:g} launches, by themselves {100.0 * row['launches_s'] / whole:.0f} %"
    return f"a step {1e3 * row['step_s']:.3g} ms{iterations}: {shares}; {launches}"
