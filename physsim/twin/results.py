"""What a fit of a capture found: the values that go from identification to asset, judgement and report."""

from dataclasses import dataclass
from dataclasses import field as entry

import numpy as np


@dataclass
class Stage:
    """Where time and memory went.

    Args:
        name: such as "read", "body", "first fit", "whole fit", "appearance".
        seconds: of wall time.
        cpu_seconds: of this process and its children.
        peak_mb: largest resident memory up to its end [MB].
    """

    name: str
    seconds: float
    cpu_seconds: float
    peak_mb: float


@dataclass
class TwinFit:
    """Material and motion that explain a capture's fitted frames.

    Args:
        values: name -> estimate in SI units: "young", "poisson", "density", "viscosity", "friction", "hold_stiffness", "time_offset", ...;
            of parts "young[0]", "young[1]", ...
        units: name -> unit, "" for none.
        intervals: name -> (lower, upper) at `level`.
        undetermined: name -> a sentence that says what this motion cannot tell, and which further motion would.
        level: of the intervals.
        settings: Model parameter name -> array: every parameter that differs from the scene's own, to simulate with.
        start: (positions [n, 3] m, velocities [n, 3] m/s) of the particles at `start_time`.
        start_time: [s].
        time_offset: that is added to the times of cameras to get those of handles [s].
        camera_pose: (rotation [3, 3], translation [3] m) that takes what cameras saw to the handles' world.
        noise: sensor -> standard deviation that the residuals show [m, pixel, or -].
        history: (stage name, horizon [s], cost) an iteration.
        field: name -> values, one a cell, where a field was fitted.
        parts: label of each cell, or None.
        statement: plain words on fit and doubts.
        stages: Stages.
        spread: name -> estimates of other seeds, where asked for.
        converged: whether the last horizon ended by its own criteria.
        dt: step of the simulation in which it was found [s]; None: the scene's.
    """

    values: dict
    units: dict
    intervals: dict
    undetermined: dict
    level: float
    settings: dict
    start: tuple
    start_time: float
    time_offset: float = 0.0
    camera_pose: tuple = entry(default_factory=lambda: (np.eye(3), np.zeros(3)))
    noise: dict = entry(default_factory=dict)
    history: list = entry(default_factory=list)
    field: dict = entry(default_factory=dict)
    parts: np.ndarray | None = None
    statement: str = ""
    stages: list = entry(default_factory=list)
    spread: dict = entry(default_factory=dict)
    converged: bool = True
    dt: float | None = None
