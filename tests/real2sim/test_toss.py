"""Tosses of a cube: the recordings are what their README says, and the judgement and the fit do what they say."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from physsim.errors import InputError
from physsim.real2sim import toss
from physsim.real2sim.toss import TossRecording


@pytest.fixture(scope="module")
def tosses():
    return toss.load_tosses()


def slide(states, friction, gravity=9.614):
    """Resting places of points that slide: v^2 / (2 mu g) along the throw."""
    v = states.velocities * [1.0, 1.0, 0.0]
    return states.positions + v * np.linalg.norm(v, axis=1)[:, None] / (2.0 * friction * gravity)


def throw(rng, name, friction, edge=0.1, gravity=9.81, rate=148.0):
    """A cube that flies turning, then slides as a point does and lies flat."""
    times = np.arange(160) / rate
    velocity, spin = np.append(rng.uniform(-1.5, 1.5, 2), 0.1), rng.normal(0, 3, 3)
    start, turn = np.array([*rng.normal(size=2), 0.15]), Rotation.random(random_state=rng.integers(1 << 30))
    fly = np.minimum(times, 0.08)[:, None]
    positions = start + velocity * fly - 0.5 * gravity * fly**2 * [0, 0, 1]
    quaternions = (turn * Rotation.from_rotvec(spin * fly)).as_quat()
    state = toss.Launches(start[None], quaternions[:1, [3, 0, 1, 2]], velocity[None], spin[None])
    late = times > 0.08
    positions[late], quaternions[late] = slide(state, friction, gravity)[0] * [1, 1, 0] + [0, 0, edge / 2], [0, 0, 0, 1]
    shape = np.zeros((len(times), 3))
    return TossRecording(name, times, positions, quaternions[:, [3, 0, 1, 2]], shape + velocity, shape + spin), state


def test_the_shipped_tosses_are_what_their_readme_says(tosses):
    facts, recordings = tosses
    assert len(recordings) == 50
    states = toss.launches(recordings, facts)
    speed = np.linalg.norm(states.velocities[:, :2], axis=1)
    assert (speed.min() > 0.85) and (speed.max() < 1.85)
    rest = np.stack([recording.rest_position for recording in recordings])
    assert rest[:, 2].mean() == pytest.approx(0.5 * facts.seen_edge, rel=0.002)
    assert max(np.linalg.norm(recording.velocities[-1]) for recording in recordings) < 0.02
    falls = []
    for recording in recordings:
        count = int(np.argmax(recording.lowest_corner(facts.seen_edge) < toss.CLEARANCE))
        assert 8 <= count <= 26
        falls.append(-2.0 * np.polyfit(recording.times[:count], recording.positions[:count, 2], 2)[0])
    assert np.mean(falls) == pytest.approx(facts.seen_gravity, rel=0.005)
    assert facts.seen_inertia < facts.inertia


def test_the_launch_agrees_with_the_recorded_velocities(tosses):
    facts, recordings = tosses
    states = toss.launches(recordings, facts)
    first = np.stack([recording.velocities[2] for recording in recordings])[:, :2]
    assert np.abs(first - states.velocities[:, :2]).max() < 0.05
    spins = np.stack([recording.angular_velocities[2] for recording in recordings])
    assert np.median(np.abs(spins - states.angular_velocities)) < 0.05


def test_the_launch_of_a_known_flight_is_found(rng):
    recording, state = throw(rng, "a", 0.2)
    found = recording.launch(0.1, 9.81)
    for name in ("positions", "quaternions", "velocities", "angular_velocities"):
        np.testing.assert_allclose(getattr(found, name), getattr(state, name), atol=1e-9)
    assert recording.lowest_corner(0.1)[-1] == pytest.approx(0.0, abs=1e-12)
    with pytest.raises(InputError, match="0 frames before the cube touches"):
        recording.launch(0.5, 9.81)


def test_a_sliding_point_finds_its_friction_and_beats_the_trivial_predictions(tosses):
    facts, recordings = tosses
    train, test = toss.split(recordings, 10, seed=1)
    assert len(train) == 40
    assert not {recording.name for recording in train} & {recording.name for recording in test}
    fit = toss.fit_tosses(train, facts, slide, {"friction": 0.4})
    assert 0.15 < fit.parameters["friction"] < 0.2
    assert fit.evaluations <= 60
    verdict = toss.judge(slide(toss.launches(test, facts), **fit.parameters), train, test)
    assert verdict["ratio"] < 0.2
    assert verdict["travel_ratio"] < 1.0
    assert verdict["mean_travel_mm"] < 0.3 * verdict["mean_displacement_mm"]


def test_a_known_friction_is_found_again(rng, tosses):
    import dataclasses

    facts = dataclasses.replace(tosses[0], seen_edge=0.1, seen_gravity=9.81)
    recordings = [throw(rng, str(i), 0.3)[0] for i in range(8)]

    def simulate(states, friction):
        return slide(states, friction, 9.81)

    fit = toss.fit_tosses(recordings, facts, simulate, {"friction": 0.15})
    assert fit.parameters["friction"] == pytest.approx(0.3, rel=0.01)
    perfect = toss.judge(simulate(toss.launches(recordings, facts), 0.3), recordings, recordings)
    assert perfect["median_mm"] < 1e-6


def test_the_mean_travel_knows_the_direction(rng):
    recordings = [throw(rng, str(i), 0.3)[0] for i in range(6)]
    for recording, predicted in zip(recordings, toss.mean_travel(recordings, recordings)):
        moved, thrown = (predicted - recording.positions[0])[:2], recording.velocities[0, :2]
        assert moved @ thrown == pytest.approx(np.linalg.norm(moved) * np.linalg.norm(thrown))
    start = np.stack([recording.positions[0] for recording in recordings])
    moved = np.mean([recording.rest_position for recording in recordings], axis=0) - start.mean(axis=0)
    np.testing.assert_allclose(toss.mean_displacement(recordings, recordings), start + moved)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"times": np.arange(160) * -1.0}, "times must increase; frame 1 does not"),
        ({"times": np.arange(5.0)}, "5 frames; at least 10"),
        ({"positions": np.full((160, 3), np.nan)}, "NaN"),
        ({"quaternions": np.ones((160, 4))}, "quaternion of frame 0 has length 2"),
        ({"velocities": np.ones((160, 2))}, "shape"),
    ],
)
def test_a_recording_that_cannot_be_used_is_refused(rng, change, said):
    good = vars(throw(rng, "a", 0.2)[0])
    with pytest.raises(InputError, match=said):
        TossRecording(**{**good, **change})


def test_bad_requests_are_refused(tosses, tmp_path):
    facts, recordings = tosses
    with pytest.raises(InputError, match="test = 50"):
        toss.split(recordings, 50)
    with pytest.raises(InputError, match="0 parameters"):
        toss.fit_tosses(recordings, facts, slide, {})
    with pytest.raises(InputError, match="start"):
        toss.fit_tosses(recordings, facts, slide, {"friction": -1.0})
    with pytest.raises(InputError, match="predicted"):
        toss.rest_errors(np.full((50, 3), np.nan), recordings)
    with pytest.raises(InputError, match="cannot be read as JSON"):
        toss.load_tosses(tmp_path)
    (tmp_path / "experiment.json").write_text('{"edge": 0.1}')
    with pytest.raises(InputError, match="lacks 'mass'"):
        toss.load_tosses(tmp_path)
