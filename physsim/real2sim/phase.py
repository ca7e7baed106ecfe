"""How far one swing is ahead of another, in cycles, where amplitudes may be tiny.

At each moment t both curves are compared over the same window of two periods around it: a weighted linear fit of

    c0 + c1 s + A cos(w s) + B sin(w s),    s = time - t,   w = 2 pi times the measured frequency

whose phase is that of A - i B. Only the difference of the two phases counts, so that w need not be exact, and offset and drift (a body
that creeps towards rest) go into c0 and c1. The difference is followed from moment to moment, so that whole cycles lost on the way
are counted. Nothing is divided by the amplitude; how trustworthy a phase is, its spread says: scatter / amplitude * sqrt(2 / frames).
"""

from dataclasses import dataclass

import numpy as np

PERIODS = 2.0


@dataclass(frozen=True)
class PhaseTrack:
    """Phase of a simulated curve ahead of a measured one.

    Args:
        times: [s], shape [k].
        cycles: [cycles], shape [k]; above 0: the simulated swing is ahead.
        spread: standard deviation of each, from the scatter of the measured curve about its local fit [cycles], shape [k].
        amplitude: of the measured swing, in the curve's unit, shape [k].
    """

    times: np.ndarray
    cycles: np.ndarray
    spread: np.ndarray
    amplitude: np.ndarray

    def at(self, time):
        """(cycles, spread, amplitude) at the moment nearest to a time [s]."""
        i = int(np.abs(self.times - time).argmin())
        return float(self.cycles[i]), float(self.spread[i]), float(self.amplitude[i])


def phase_track(times, measured, simulated, frequency_hz, begin, end):
    """Follow the phase between two curves.

    Args:
        times: [s], shape [f].
        measured, simulated: shape [f].
        frequency_hz: of the measured swing, to about a tenth.
        begin: the first window begins here [s]; by then the two must be less than half a cycle apart.
        end: last moment wanted [s]; the last window ends with the data.

    Returns:
        PhaseTrack, or None where the data are too short for one window.
    """
    half = 0.5 * PERIODS / frequency_hz
    begin, end = max(begin, times[0]), min(end, times[-1] - half)
    centres = np.arange(begin + half, end + 1e-9, 0.05 / frequency_hz)
    if len(centres) and centres[-1] < end:
        centres = np.append(centres, end)
    rows = []
    for centre in centres:
        near = np.abs(times - centre) <= half + 1e-9
        if near.sum() < 8:
            return None
        s = times[near] - centre
        taper = np.sqrt(0.5 + 0.5 * np.cos(np.pi * s / half) + 1e-3)
        angle = 2 * np.pi * frequency_hz * s
        basis = np.stack([np.ones_like(s), s, np.cos(angle), np.sin(angle)], axis=1)
        curves = np.stack([measured[near], simulated[near]], axis=1)
        found = np.linalg.lstsq(basis * taper[:, None], curves * taper[:, None], rcond=None)[0]
        swing = found[2] - 1j * found[3]
        scatter = np.sqrt(np.average((basis @ found - curves)[:, 0] ** 2, weights=taper**2))
        amplitude = abs(swing[0])
        spread = scatter / max(amplitude, 1e-300) * np.sqrt(2 / near.sum()) / (2 * np.pi)
        rows.append((np.angle(swing[1] * np.conj(swing[0])), spread, amplitude))
    if not rows:
        return None
    angle, spread, amplitude = np.array(rows).T
    return PhaseTrack(centres, np.unwrap(angle) / (2 * np.pi), np.minimum(spread, 0.5), amplitude)
