"""What the benchmark's captures show: a sheet of 1 m between two held edges that swings, freely or down to a floor, for two seconds."""

import numpy as np

from physsim.bench import scenes

SECONDS, RATE = 2.0, 30
"""Length [s] and frames a second: 60 frames."""
FLOOR = -0.03
"""Height of the floor [m]: the sheet would sag by 45 mm at rest."""
OFF = 1.2
"""Tracks are those of the same engine's sheet of so many times the stiffness."""
DAMPING_SHARE = 2.0e-3
"""Damping of a sheet that touches the floor, over its stiffness [s]."""


def frame_times() -> np.ndarray:
    """When the frames are taken [s], shape [60]: 1/30, 2/30, ... 2."""
    return np.arange(1, round(SECONDS * RATE) + 1) / RATE


def held(shape: scenes.Cloth) -> np.ndarray:
    """Particles of the two held edges, x = 0 and x = 1."""
    return np.flatnonzero((shape.points[:, 0] < 1e-9) | (shape.points[:, 0] > 1.0 - 1e-9))
