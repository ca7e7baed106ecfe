"""The phase between two swings is followed down to tiny amplitudes, cycles that are lost on the way included."""

import numpy as np
import pytest

from physsim.real2sim.phase import phase_track

TIMES = np.arange(600) * 0.01


def swing(frequency, phase=0.0, decay=1.4, drift=0.0):
    return 0.025 + drift * TIMES + 0.014 * np.exp(-decay * TIMES) * np.cos(2 * np.pi * (frequency * TIMES + phase))


@pytest.mark.parametrize("lead", [-0.2, 0.0, 0.3])
def test_a_constant_lead_is_found_beside_a_creeping_rest(lead, rng):
    track = phase_track(TIMES, swing(3.3, drift=1e-4) + 1e-6 * rng.normal(size=600), swing(3.3, lead), 3.3, 0.2, 3.5)
    assert track.cycles == pytest.approx(np.full(len(track.cycles), lead), abs=0.01)
    assert track.at(0.5)[2] == pytest.approx(0.014 * np.exp(-1.4 * track.times[np.abs(track.times - 0.5).argmin()]), rel=0.05)


def test_a_faster_swing_gains_whole_cycles():
    track = phase_track(TIMES, swing(3.3), swing(3.8), 3.3, 0.0, 4.5)
    assert track.times[-1] == pytest.approx(4.5)
    assert track.cycles[-1] == pytest.approx(0.5 * 4.5, abs=0.05)


def test_noise_shows_as_spread(rng):
    track = phase_track(TIMES, swing(3.3) + 1e-3 * rng.normal(size=600), swing(3.3), 3.3, 0.0, 4.5)
    assert track.spread[0] < 0.02 < track.spread[-1]


def test_data_too_short_for_a_window_have_no_phase():
    assert phase_track(TIMES[:40], swing(3.3)[:40], swing(3.3)[:40], 3.3, 0.0, 2.0) is None
