"""A cable driven at both ends, filmed, fitted, and predicted in another motion; films come from a finer model of our own."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

import physsim as ps
from physsim.physics.rods import transport
from physsim.real2sim.cable import Cable, CableRecording, fit_cable, predict_cable

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
    origins = {first: curve.line[1], last: curve.line[-2]}
    control = ps.Control.from_poses(model, fine, {a: (places[:, i], quaternions[:, i]) for i, a in enumerate((first, last))}, origins)
    # towards the hanging equilibrium: from an arc of the right length between the grippers
    x = curve.arc / free
    sag = np.stack([places[0, 1, 0] * x, 0 * x, -0.16 * np.sin(np.pi * np.clip(x, 0, 1)) ** 2], axis=1)
    held = ps.Control.from_poses(model, fine[:1], {a: (places[:1, i], quaternions[:1, i]) for i, a in enumerate((first, last))}, origins)
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
    fit = fit_cable(film(1.2, 1, rng, noise=5e-4), line_density=LINE_DENSITY, dt=1 / 100, horizons=(0.5, None), **start)
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
