"""Sampling a trajectory of steps at any times: cubic Hermite interpolation between the two states around a time."""

from dataclasses import dataclass

import numpy as np

from physsim.errors import InputError
from physsim.physics import validation


@dataclass(frozen=True)
class Samples:
    """For each sample the step that it follows and its Hermite weights on (x_k, v_k, x_{k+1}, v_{k+1})."""

    step: np.ndarray  # [frames]
    position: np.ndarray  # [frames, 4]
    velocity: np.ndarray  # [frames, 4]
    step_count: int

    @staticmethod
    def mix(weights, before, after):
        """Weighted sum of (x, v) before and after; parts of no weight are not touched, whatever they hold."""
        return sum(w * part for w, part in zip(weights, (*before, *after), strict=True) if w != 0)


def plan(times, start, dt):
    """Samples of the given times.

    Args:
        times: [s], shape [frames], none before `start`.
        start: time of the initial state [s].
        dt: step [s].

    Raises:
        InputError: no times, NaN, times that go back or lie before the start.
    """
    times = validation.array("times", times, (None,))
    if len(times) == 0 or (np.diff(times) < 0).any():
        raise InputError("times: at least one is needed, in increasing order")
    if times[0] < start - 1e-9 * dt:
        raise InputError(f"times: {times[0]:g} s lies before the initial state's time {start:g} s")
    place = np.maximum((times - start) / dt, 0.0)
    nearest = np.round(place)
    place = np.where(np.abs(place - nearest) < 1e-7, nearest, place)
    step = np.maximum(np.ceil(place).astype(int) - 1, 0)
    s = place - step
    # exactly at a state only that state counts, so that its own velocity does not enter
    p = np.stack([2 * s**3 - 3 * s**2 + 1, dt * (s**3 - 2 * s**2 + s), 3 * s**2 - 2 * s**3, dt * (s**3 - s**2)], axis=1)
    v = np.stack([(6 * s**2 - 6 * s) / dt, 3 * s**2 - 4 * s + 1, (6 * s - 6 * s**2) / dt, 3 * s**2 - 2 * s], axis=1)
    return Samples(step, p, v, int(step.max()) + 1)
