"""A cable driven at both ends, filmed, fitted, and predicted in another motion; films come from a finer model of our own."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

import physsim as ps
from physsim.physics.rods import transport
from physsim.real2sim.cable import Cable, CableFit, CableRecording, Scene, fit_cable, predict_cable

LINE_DENSITY, BENDING, DAMPING = 0.05, 2e-3, 3e-5  # [kg/m], [N m^2], [N m^2 s]
MARKERS, LENGTH = 13, 1.0
RATE = 100.0  # frames a second


def motion(times, seed):
    """Positions [k, 2, 3] and quaternions [k, 2, 4] of two grippers: slow swings in all directions, from rest."""
    rng = np.random.default_rng(seed)
    begin = 1 - np.exp(-((times / 0.3) ** 2))
    swing = lambda size: sum(  # noqa: E731
        size / 2 * rng.normal(size=(1, 2, 3)) * np.sin(2 * np.pi * rng.uniform(0.3, 1.2) * times[:, None, None] + rng.uniform(0, 6))
        for _ in range(3)
    )
    places = np.array([[0.0, 0, 0], [0.7, 0, 0]]) + begin[:, None, None] * swing(0.06)
    turns = begin[:, None, None] * swing(0.25)
    quaternions = Rotation.from_rotvec(turns.reshape(-1, 3)).as_quat()[:, [3, 0, 1, 2]].reshape(-1, 2, 4)
    return places, quaternions


def film(seconds, seed, rng, noise=1e-3, edges=9, dt=1 / 300):
    """CableRecording of a finer cable between two grippers, 13 markers along 1 m, the outer two of each end on the gripper."""
    arc = np.linspace(0, LENGTH, MARKERS)
    free = LENGTH - 2 * arc[1]
    curve = ps.Curve.straight((0, 0, 0), (free, 0, 0), edges * (MARKERS - 3), grips=(0, -1))
    builder = ps.ModelBuilder()
    material = ps.Rod(stretch=500.0, bending=BENDING, line_density=LINE_DENSITY, stretch_damping=0.5, bending_damping=DAMPING)
    body = builder.add_rod(curve, material)
    first, last = (builder.attach(body, body.mesh.end(e), name=n) for e, n in ((0, "first"), (-1, "last")))
    model = builder.finalize()
    times = np.arange(int(seconds * RATE) + 1) / RATE
    fine = np.arange(int(seconds / dt) + 2) * dt
    places, quaternions = motion(fine, seed)
    control = ps.Control.from_poses(model, fine, {a: (places[:, i], quaternions[:, i]) for i, a in enumerate((first, last))})
    # towards the hanging equilibrium: from an arc of the right length between the grippers
    x = curve.arc / free
    sag = np.stack([places[0, 1, 0] * x, 0 * x, -0.16 * np.sin(np.pi * np.clip(x, 0, 1)) ** 2], axis=1)
    held = ps.Control.from_poses(model, fine[:1], {a: (places[:1, i], quaternions[:1, i]) for i, a in enumerate((first, last))})
    state, _ = ps.solve_equilibrium(model, model.state(body.mesh.posed(sag)), control=held)
    solver = ps.SolverImplicit(model, dt)
    run = ps.simulate(solver, state, control, times=times).positions.numpy()
    nodes, weights = body.mesh.interpolation(arc[1:-1] - arc[1])
    markers = np.empty((len(times), MARKERS, 3))
    markers[:, 1:-1] = np.einsum("pk,fpkc->fpc", weights, run[:, nodes])
    n = curve.point_count
    for marker, (inner, outer) in {0: (1, 0), -1: (n - 2, n - 1)}.items():
        away = run[:, outer] - run[:, inner]
        markers[:, marker] = run[:, inner] + arc[1] * away / np.linalg.norm(away, axis=1)[:, None]
    spin = np.stack([spun(quaternions[:, i]) for i in (0, 1)], axis=1)
    spin = np.stack([np.interp(times, fine, spin[:, i]) for i in (0, 1)], axis=1)
    return CableRecording(times, markers + noise * rng.normal(size=markers.shape), noise=max(noise, 1e-4), spin=spin)


def spun(quaternions):
    """Angle by which a gripper has turned about the cable's axis, beyond what carrying a frame along would turn it."""
    turns = Rotation.from_quat(quaternions[:, [1, 2, 3, 0]])
    axis, own = turns.apply([1.0, 0, 0]), turns.apply([0.0, 1, 0])
    carried = transport(axis, own[0])
    return np.unwrap(np.arctan2((np.cross(carried, own) * axis).sum(axis=1), (carried * own).sum(axis=1)))


TRUTH = {"bending": BENDING / LINE_DENSITY, "bending_damping": DAMPING / LINE_DENSITY}


def assert_recovered(fit, tolerance):
    """Within the interval or `tolerance` of the truth."""
    for name, true in TRUTH.items():
        low, high = fit.intervals[name]
        print(f"{name}: {fit.values[name] / true:.3f} of the truth, interval {low / true:.3f} to {high / true:.3f}")
        assert low <= true <= high or fit.values[name] == pytest.approx(true, rel=tolerance), name


def test_cable_is_recovered_and_predicts_another_motion(rng):
    """1.2 s, half a millimetre of noise, from four times the stiffness and a quarter of the damping."""
    start = {"bending": 4 * TRUTH["bending"], "bending_damping": TRUTH["bending_damping"] / 4}
    fit = fit_cable(film(1.2, 1, rng, noise=5e-4), line_density=LINE_DENSITY, dt=1 / 100, start_shapes=2, **start)
    print(fit.statement())
    assert_recovered(fit, 0.1)
    assert fit.material()["bending"][0] == pytest.approx(BENDING, rel=0.1)
    other = fit.predict(film(1.2, 2, rng, noise=5e-4))
    print(f"prediction {1e3 * other.error:.2f} mm; start held {1e3 * other.held:.1f} mm, carried {1e3 * other.carried:.1f} mm")
    assert other.error < 0.15 * min(other.held, other.carried)


@pytest.mark.slow
def test_cable_driven_for_five_seconds_is_recovered_and_predicts_another_motion(rng):
    """A millimetre of noise, starts four times too limp and four times too stiff."""
    seen = film(5.0, 3, rng)
    fit = fit_cable(seen, line_density=LINE_DENSITY, bending=[TRUTH["bending"] / 4, TRUTH["bending"] * 4])
    print(fit.statement())
    assert_recovered(fit, 0.1)
    other = fit.predict(film(5.0, 4, rng))
    print(f"prediction {1e3 * other.error:.2f} mm; start held {1e3 * other.held:.1f} mm, carried {1e3 * other.carried:.1f} mm")
    assert other.error < 0.15 * min(other.held, other.carried)


# --- pieces ---------------------------------------------------------------------------------------------------------------------------


def still(frames=30, seed=0, noise=0.0):
    """CableRecording of a hanging arc that does not move: no simulation."""
    arc = np.linspace(0, LENGTH, MARKERS)
    radius, half = (arc[-2] - arc[1]) / 2.4, 1.2
    turn = np.clip((arc - arc[1]) / radius, 0, 2 * half) - half
    line = radius * np.stack([np.sin(turn), 0 * turn, -np.cos(turn)], axis=1)
    for end, step in ((0, -arc[1]), (-1, arc[1])):
        line[end] += step * np.array([np.cos(turn[end]), 0, np.sin(turn[end])])
    rng = np.random.default_rng(seed)
    return CableRecording(np.arange(frames) / RATE, line + noise * rng.normal(size=(frames, MARKERS, 3)))


def test_places_of_markers_are_arc_lengths():
    np.testing.assert_allclose(still(noise=5e-4).arc(), np.linspace(0, LENGTH, MARKERS), atol=2e-3)


def test_start_does_not_stretch_the_cable_and_is_near_the_markers():
    recording = still(noise=1e-3)
    scene = Scene(Cable(np.linspace(0, LENGTH, MARKERS)), recording, TRUTH, dt=1 / 200)
    n = scene.curve.point_count
    line = scene.state.positions[:n]
    strain = np.linalg.norm(np.diff(line, axis=0), axis=1) / scene.curve.lengths - 1
    assert np.abs(strain).max() < 2e-3  # the markers' own distances err by 2 %
    away = np.linalg.norm(line[scene.cable.nodes()] - still().markers[0, 2:-2], axis=1)
    assert away.mean() < 1e-3
    velocity = scene.state.velocities[:n]
    along = np.diff(line, axis=0) / scene.curve.lengths[:, None]
    assert np.abs((np.diff(velocity, axis=0) * along).sum(axis=1) / scene.curve.lengths).max() < 0.02


def test_turning_as_a_whole_is_no_deformation():
    """Velocities of a rigid turn are found again, and so are those of the clamps."""
    recording = still()
    spin = np.array([0.5, 1.0, -0.7])
    times = recording.times - 0.03
    turned = Rotation.from_rotvec(times[:, None] * spin)
    markers = np.stack([r.apply(recording.markers[0]) for r in turned])
    scene = Scene(Cable(np.linspace(0, LENGTH, MARKERS)), CableRecording(recording.times, markers), TRUTH, dt=1 / 200)
    n = scene.curve.point_count
    np.testing.assert_allclose(scene.state.velocities[:n], np.cross(spin, scene.state.positions[:n]), atol=5e-3)


def test_mass_stays_unknown_without_a_line_density():
    fit = CableFit(Cable(np.linspace(0, 1, 8)), TRUTH, {k: (0.9 * v, 1.1 * v) for k, v in TRUTH.items()}, None, 1e-3, 1e-3, Unsure())
    with pytest.raises(ps.InputError, match="motion alone does not tell it; weigh the cable"):
        fit.material()
    assert "line_density is undetermined" in fit.statement()
    value, low, high = fit.line_density_for(BENDING)
    assert value == pytest.approx(LINE_DENSITY)
    assert low < value < high


class Unsure:
    """Stands for a Fit whose intervals say nothing."""

    class intervals:
        undetermined = {}  # noqa: RUF012


def gap(frame, marker):
    markers = still().markers.copy()
    markers[frame, marker] = np.nan
    return markers


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"markers": np.zeros((30, 5, 3))}, r"markers: shape \[30, 5, 3\] was given; \[30, 6 or more, 3\]"),
        ({"markers": np.zeros((29, 13, 3))}, r"markers: shape \[29, 13, 3\]"),
        ({"times": np.arange(30) ** 2 * 1.0}, "evenly spaced"),
        ({"times": np.arange(5) * 0.01, "markers": still().markers[:5]}, "at least 15"),
        ({"markers": gap(20, 1)}, "one of the first or last two not seen, at frame 20"),
        ({"markers": gap(slice(0, 30), 5)}, r"markers: \[5\] are not seen at the start"),
        ({"noise": 0.0}, "noise = 0"),
        ({"spin": np.zeros(30)}, "spin: shape"),
        ({"markers": np.zeros((30, 13, 3))}, r"markers: 0 and 1 lie at one place in frame 0 \(360 such pairs\); leave one"),
        ({"markers": still().markers[:, [0, 1, 2, 3, 3, 4, 5, 6]]}, "markers: 3 and 4 lie at one place in frame 0"),
        ({"markers": still().markers[:, [0, 0, 1, 2, 3, 4, 5, 6]]}, "markers: 0 and 1 lie at one place"),
        ({"markers": [[1], [1, 2]]}, "markers: rows of different lengths"),
        ({"markers": "a"}, "markers: numbers are needed"),
    ],
)
def test_impossible_recordings_are_refused(changes, message):
    given = {"times": still().times, "markers": still().markers} | changes
    with pytest.raises(ps.InputError, match=message):
        CableRecording(**given)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"line_density": -1.0}, "line_density = -1"),
        ({"arc": [0.0, 0.1, 0.1, 0.2, 0.3, 0.4]}, "arc: places"),
        ({"arc": np.linspace(0, 1, 8)}, "markers: 13 were given; this cable has 8"),
        ({"roll": "loose"}, "carried or free"),
        ({"also": ("colour",)}, "allowed are torsion, mass_damping"),
        ({"also": "colour"}, "'colour' was given"),
        ({"dt": "x"}, "dt: not an array of numbers"),
        ({"dt": 0}, r"dt = 0: must lie in \(0, inf\)"),
        ({"dt": -1}, "dt = -1: must lie"),
        ({"dt": 10}, "dt = 10 s: the recording lasts 0.29 s; take a step of at most a tenth"),
        ({"seconds": "x"}, "seconds: not an array"),
        ({"seconds": -1}, "seconds = -1: must lie"),
        ({"seconds": 1e-4}, "seconds = 0.0001: no frame"),
        ({"bending": "x"}, "bending: not an array"),
        ({"bending": 0.0}, "bending = 0 at"),
        ({"bending": [0.1, 0.2], "bending_damping": [1e-3] * 3}, "bending_damping: 3 starts beside 2"),
        ({"horizons": 0.5}, "horizons = 0.5: a list of lengths"),
        ({"horizons": (-0.5, None)}, "horizons = -0.5"),
        (
            {"horizons": (None,), "start_shapes": 5},
            "26 frames within .* are needed for .* unknowns; take a longer recording, or fewer start",
        ),
    ],
)
def test_impossible_fits_are_refused(options, message):
    with pytest.raises(ps.InputError, match=message):
        fit_cable(still(), **options)


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        ({"bending": 0.04}, {}, "values: bending_damping missing; needed are bending and bending_damping"),
        ({**TRUTH, "colour": 1.0}, {}, "values: 'colour' is not known; .* allowed beside them torsion, mass_damping"),
        ({**TRUTH, "bending": -1.0}, {}, r"values\['bending'\] = -1"),
        (None, {}, "values: a dict"),
        (TRUTH, {"dt": 0}, "dt = 0"),
        (TRUTH, {"dt": 10}, "dt = 10 s: the recording lasts"),
    ],
)
def test_impossible_predictions_are_refused(values, options, message):
    with pytest.raises(ps.InputError, match=message):
        predict_cable(Cable(np.linspace(0, LENGTH, MARKERS)), still(), values, **options)


def test_other_objects_than_recordings_are_refused():
    with pytest.raises(ps.InputError, match="recording: a CableRecording is needed, NoneType"):
        fit_cable(None)
    with pytest.raises(ps.InputError, match="cable: a Cable is needed, str"):
        predict_cable("cable", still(), TRUTH)


def test_still_cable_in_equilibrium_is_predicted_to_stay(rng):
    """Under gravity along another axis, a gap in a marker's track, and a roll left free."""
    recording = film(0.3, 1, rng, noise=1e-5)
    turn = Rotation.from_rotvec([0.3, -0.5, 0.2])
    markers = turn.apply(recording.markers.reshape(-1, 3)).reshape(recording.markers.shape)
    markers[20:25, 6] = np.nan
    gravity = turn.apply([0, 0, -9.81])
    seen = CableRecording(recording.times, markers, gravity, spin=recording.spin)
    cable = Cable(np.linspace(0, LENGTH, MARKERS), edges=6)
    found = predict_cable(cable, seen, TRUTH)
    assert found.error < 5e-4
    assert found.error < 0.2 * found.carried
    free = predict_cable(Cable(cable.arc, edges=3, roll="free"), seen, TRUTH)
    assert free.error < 5e-3
