"""Rods against closed forms and published values, and their gradients against differences."""

import numpy as np
import pytest
import torch
import warp as wp
from scipy.integrate import solve_bvp
from scipy.spatial.transform import Rotation

import physsim as ps

WEIGHTLESS = (0.0, 0.0, 0.0)


def cantilever(count, material, length=1.0, gravity=WEIGHTLESS, tip=None, curve=None):
    """(model, body): along x, clamped at x = 0, a force on its tip."""
    curve = curve or ps.Curve.straight((0, 0, 0), (length, 0, 0), count, grips=(0,))
    builder = ps.ModelBuilder(gravity)
    body = builder.add_rod(curve, material)
    builder.attach(body, body.mesh.end(0), name="clamp")
    if tip is not None:
        builder.add_load(body, [curve.point_count - 1], tip)
    return builder.finalize(), body


def tip_of(model, body, **options):
    state, report = ps.solve_equilibrium(model, **options)
    assert report.converged
    return state.positions[body.mesh.point_count - 1]


# --- bending --------------------------------------------------------------------------------------------------------------------------


# Bisshopp and Drucker 1945: alpha = P L^2 / (E I), drop and shortening of the tip over L (elliptic integrals)
@pytest.mark.parametrize(("alpha", "drop", "shortening"), [(1, 0.301721, 0.056433), (5, 0.713792, 0.387628), (10, 0.810609, 0.554996)])
def test_tip_load_bends_as_the_elastica(alpha, drop, shortening):
    young, radius = 2e9, 0.004
    bending = young * np.pi * radius**4 / 4
    material = ps.Rod(young=young, radius=radius, density=1000.0)
    tip = tip_of(*cantilever(40, material, tip=(0, 0, -alpha * bending)))
    assert -tip[2] == pytest.approx(drop, rel=5e-3)
    assert 1 - tip[0] == pytest.approx(shortening, rel=5e-3)


@pytest.mark.parametrize("gamma", [1, 2, 10])
def test_own_weight_bends_as_the_heavy_elastica(gamma):
    """Drop over reach for Gamma = rho g A L^3 / (E I): theta'' = Gamma (1 - s) cos(theta), theta(0) = theta'(1) = 0."""
    path = solve_bvp(
        lambda s, y: [y[1], -gamma * (1 - s) * np.cos(y[0]), np.cos(y[0]), np.sin(y[0])],
        lambda clamp, tip: [clamp[0], tip[1], clamp[2], clamp[3]],
        np.linspace(0, 1, 101),
        np.zeros((4, 101)),
        tol=1e-9,
    )
    assert path.success
    reach, drop = abs(path.y[2:, -1])
    bending = 0.01
    material = ps.Rod(stretch=1e5, bending=bending, line_density=gamma * bending / 9.81)
    tip = tip_of(*cantilever(40, material, gravity=(0, 0, -9.81)))
    assert -tip[2] / tip[0] == pytest.approx(drop / reach, rel=5e-3)


def test_error_falls_by_four_when_edges_are_halved():
    exact = 0.30172077379981377
    errors = [
        tip_of(*cantilever(n, ps.Rod(stretch=1e8, bending=1.0, line_density=0.1, torsion=1.0), tip=(0, 0, -1.0)))[2] + exact
        for n in (10, 20, 40)
    ]
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.15)
    assert errors[1] / errors[2] == pytest.approx(4, rel=0.15)


def test_edges_of_unequal_length_bend_alike():
    line = np.zeros((41, 3))
    line[:, 0] = np.linspace(0, 1, 41) ** 1.5
    curve = ps.Curve(line).with_grips(0)
    tip = tip_of(*cantilever(0, ps.Rod(stretch=1e6, bending=1.0, line_density=0.1), tip=(0, 0, -1.0), curve=curve))
    assert -tip[2] == pytest.approx(0.301721, rel=5e-3)


@pytest.mark.parametrize("normal", [(0, 0, 1), (0, 1, 0), (0, 1, 1)])
def test_section_is_round_whatever_the_frame(normal):
    curve = ps.Curve.straight((0, 0, 0), (1, 0, 0), 20, grips=(0,), normal=normal)
    material = ps.Rod(stretch=1e6, bending=1.0, line_density=0.1)
    tip = tip_of(*cantilever(20, material, tip=(0, 0, -1.0), curve=curve))
    reference = tip_of(*cantilever(20, material, tip=(0, 0, -1.0)))
    np.testing.assert_allclose(tip, reference, atol=1e-6)


def test_rest_curvature_makes_an_arc():
    kappa = 2.0
    material = ps.Rod(stretch=1e6, bending=1.0, line_density=0.1, rest_curvature=(kappa, 0.0, 0.0))
    curve = ps.Curve.straight((0, 0, 0), (1, 0, 0), 60, grips=(0,), normal=(0, -1, 0))  # about -y: upwards
    tip = tip_of(*cantilever(60, material, curve=curve))
    np.testing.assert_allclose(tip, [np.sin(kappa) / kappa, 0, (1 - np.cos(kappa)) / kappa], atol=2e-3)


def test_curve_given_bent_is_free_of_stress(rng):
    turn = np.linspace(0, 4, 30)
    line = np.stack([np.cos(turn), np.sin(turn), 0.2 * turn], axis=1)
    builder = ps.ModelBuilder(WEIGHTLESS)
    builder.add_rod(ps.Curve(line), ps.Rod(stretch=1e4, bending=1.0, line_density=0.1))
    model = builder.finalize()
    probe = ps.Probe(model)
    moved = model.rest @ Rotation.random(random_state=int(rng.integers(2**31))).as_matrix().T + rng.normal(size=3)
    for x in (model.rest, moved):
        assert np.abs(probe.forces(model.state(x))).max() < 1e-7
        assert probe.energies(model.state(x))["rod"].max() < 1e-12


# --- twist ----------------------------------------------------------------------------------------------------------------------------


def about_x(angle):
    return [np.cos(angle / 2), np.sin(angle / 2), 0.0, 0.0]


def test_twisted_rod_pulls_back_with_its_torsion_constant():
    """Torque G J phi / L, energy G J phi^2 / (2 L), with G J = pi r^4 / 2 G and G = E / (2 (1 + nu))."""
    young, radius, poisson, length, angle = 1e7, 0.01, 0.4, 0.5, 1.0
    curve = ps.Curve.straight((0, 0, 0), (length, 0, 0), 20, grips=(0, -1))
    builder = ps.ModelBuilder(WEIGHTLESS)
    body = builder.add_rod(curve, ps.Rod(young=young, radius=radius, density=1000.0, poisson=poisson))
    builder.attach(body, body.mesh.end(0), name="first")
    last = builder.attach(body, body.mesh.end(-1), name="last")
    model = builder.finalize()
    control = ps.Control.from_poses(model, [0.0], {last: (model.rest[last.particles[:1]], [about_x(angle)])})
    state, _ = ps.solve_equilibrium(model, control=control, tolerance=1e-9)
    stiffness = np.pi * radius**4 / 2 * young / (2 * (1 + poisson)) / length
    probe = ps.Probe(model)
    forces = probe.forces(state)[last.particles]
    torque = np.cross(state.positions[last.particles], forces).sum(axis=0)[0]
    assert torque == pytest.approx(-stiffness * angle, rel=1e-2)
    assert probe.energies(state)["rod"].sum() == pytest.approx(stiffness * angle**2 / 2, rel=1e-2)


@pytest.mark.parametrize(("share", "buckles"), [(0.9, False), (1.1, True)])
def test_twisted_ring_leaves_its_plane_at_michells_twist(share, buckles):
    """A naturally straight ring of stiffnesses B and T is flat up to a total twist of 2 pi sqrt(3) B / T (Michell 1889)."""
    count, radius, bending, torsion = 60, 0.1, 0.01, 0.02
    angle = 2 * np.pi * np.arange(count) / count
    line = radius * np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=1)
    curve = ps.Curve(line, closed=True, normal=(0, 0, 1))
    h = curve.lengths[0]
    twist = share * 2 * np.pi * np.sqrt(3) * bending / torsion / (count * h)
    material = ps.Rod(
        stretch=1e4, bending=bending, torsion=torsion, line_density=0.1, rest_curvature=(-2 * np.tan(np.pi / count) / h, 0.0, twist)
    )
    builder = ps.ModelBuilder(WEIGHTLESS)
    body = builder.add_rod(curve, material)
    builder.attach(body, np.arange(count), stiffness=1e-4)
    model = builder.finalize()
    start = model.rest.copy()
    start[:count, 2] += 0.01 * radius * np.sin(2 * angle)
    state, _ = ps.solve_equilibrium(model, model.state(start), tolerance=1e-7)
    height = np.ptp(state.positions[:count, 2]) / radius
    assert (height > 0.1) == buckles


# --- motion ---------------------------------------------------------------------------------------------------------------------------


def crossings(times, values):
    k = np.flatnonzero(values[:-1] * values[1:] < 0)
    return times[k] - values[k] * (times[k + 1] - times[k]) / (values[k + 1] - values[k])


@pytest.mark.parametrize(("integrator", "steps"), [("bdf2", 100), ("backward_euler", 800)])
def test_cantilever_swings_at_its_frequency(integrator, steps):
    """f = 1.8751^2 / (2 pi) sqrt(E I / (rho A L^4)); started in the shape of a tip load, which is the first mode within 3 %."""
    bending, line_density = 0.05, 0.1
    frequency = 1.875104**2 / (2 * np.pi) * np.sqrt(bending / line_density)
    material = ps.Rod(stretch=1e4, bending=bending, line_density=line_density)
    model, body = cantilever(20, material)
    bent, _ = cantilever(20, material, tip=(0, 0, -0.03 * bending))
    state, _ = ps.solve_equilibrium(bent, tolerance=1e-12)
    solver = ps.SolverImplicit(model, dt=1 / (steps * frequency), integrator=integrator, tolerance=1e-9)
    times = np.arange(1, int(1.5 * steps)) / (steps * frequency)
    swing = ps.simulate(solver, model.state(state.positions), times=times).positions[:, body.mesh.point_count - 1, 2].numpy()
    moments = crossings(times, swing)
    assert 0.5 / np.diff(moments).mean() == pytest.approx(frequency, rel=1e-2)


def test_taut_string_sounds_at_its_frequency():
    """f = sqrt(T / rho) / (2 L) for a tension of 10 N, 0.05 kg/m, 1 m: 7.0711 Hz; of 20 links 7.0645 Hz."""
    count, stretch = 20, 1e3
    curve = ps.Curve.straight((0, 0, 0), (1, 0, 0), count)
    builder = ps.ModelBuilder(WEIGHTLESS)
    body = builder.add_rod(curve, ps.Rod(stretch=stretch, line_density=0.05))
    builder.attach(body, [0, count])
    model = builder.finalize()
    x = model.rest.copy()
    x[:, 2] = 1e-3 * np.sin(np.pi * x[:, 0])
    # spring of stiffness EA / h and rest length r: tension EA (h - r) / h = 10 N
    params = {body.rest_length: curve.lengths * (1 - 10.0 / stretch)}
    solver = ps.SolverImplicit(model, dt=1e-3)
    times = np.arange(1, 300) * 1e-3
    middle = ps.simulate(solver, model.state(x), times=times, params=params).positions[:, count // 2, 2].numpy()
    assert 0.5 / np.diff(crossings(times, middle)).mean() == pytest.approx(7.0645, rel=2e-3)


def test_bending_damping_lets_a_swing_decay_as_a_kelvin_voigt_rod():
    """A mode of angular frequency w decays with the ratio c w / (2 E I)."""
    bending, line_density = 0.05, 0.1
    omega = 1.875104**2 * np.sqrt(bending / line_density)
    ratio = 0.1
    material = ps.Rod(stretch=1e4, bending=bending, line_density=line_density, bending_damping=2 * ratio * bending / omega)
    model, body = cantilever(20, material)
    bent, _ = cantilever(20, material, tip=(0, 0, -0.03 * bending))
    state, _ = ps.solve_equilibrium(bent, tolerance=1e-12)
    period = 2 * np.pi / omega
    times = np.arange(1, 400) * period / 200
    solver = ps.SolverImplicit(model, dt=period / 200, tolerance=1e-9)
    swing = ps.simulate(solver, model.state(state.positions), times=times).positions[:, body.mesh.point_count - 1, 2].numpy()
    peaks = [swing[:150].max(), -swing[150:250].min()]  # half a period apart
    assert np.log(peaks[0] / peaks[1]) == pytest.approx(np.pi * ratio / np.sqrt(1 - ratio**2), rel=0.03)


def test_thrown_rod_keeps_its_momentum_and_falls_with_gravity():
    """The director points weigh nothing: the centre of the centreline falls by g t^2 / 2."""
    builder = ps.ModelBuilder()
    body = builder.add_rod(ps.Curve.straight((0, 0, 0), (0.5, 0, 0), 10), ps.Rod(young=1e6, radius=0.005, density=1000.0))
    model = builder.finalize()
    solver = ps.SolverImplicit(model, dt=1e-3)
    spin = np.cross([0.0, 3.0, 1.0], model.rest - model.rest[:11].mean(axis=0))
    state = model.state(velocities=spin)
    for _ in range(100):
        state, _ = solver.step(state)
    lengths = body.mesh.lengths
    weights = np.zeros(11)
    weights[:-1] += lengths / 2
    weights[1:] += lengths / 2
    centre = weights @ state.positions[:11] / weights.sum()
    assert centre[2] == pytest.approx(-9.81 * 0.1**2 / 2, rel=2e-2)
    assert np.abs(centre[:2] - [0.25, 0.0]).max() < 2e-4


def test_explicit_steps_agree_with_implicit_ones():
    model, _ = cantilever(8, ps.Rod(young=1e6, radius=0.005, density=1000.0, bending_damping=1e-6), 0.5, gravity=(0, 0, -9.81))
    explicit, _ = ps.SolverExplicit(model, dt=2e-5).run(model.state(), 1500)
    state = model.state()
    implicit = ps.SolverImplicit(model, dt=5e-4)
    for _ in range(60):
        state, _ = implicit.step(state)
    moved = np.abs(state.positions - model.rest).max()
    np.testing.assert_allclose(explicit.positions, state.positions, atol=0.01 * moved)


def shaken(device, dtype):
    """Positions after twenty driven steps."""
    model, poses = driven(device=device, dtype=dtype)
    solver = ps.SolverImplicit(model, dt=0.005, linear="auto" if device == "cpu" else "cg")
    control = ps.Control.from_poses(model, [0.0, 0.05, 0.1], {"last": poses})
    state = model.state()
    for _ in range(20):
        state, report = solver.step(state, control)
        assert report.converged
    return state.positions


def test_float32_agrees_with_float64():
    np.testing.assert_allclose(shaken("cpu", "float32"), shaken("cpu", "float64"), atol=1e-4)


@pytest.mark.gpu
@pytest.mark.skipif(not wp.get_cuda_device_count(), reason="no CUDA device")
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-7), ("float32", 1e-4)])
def test_cuda_agrees_with_the_cpu(dtype, tolerance):
    np.testing.assert_allclose(shaken("cuda", dtype), shaken("cpu", dtype), atol=tolerance)


# --- gradients ------------------------------------------------------------------------------------------------------------------------


def driven(young=False, **options):
    """(model, poses of one end): a short cable."""
    curve = ps.Curve.straight((0, 0, 0), (0.3, 0, 0), 6, grips=(0, -1))
    stuff = {"young": 2e6, "radius": 0.004, "density": 1000.0} if young else {"stretch": 200.0, "bending": 2e-3, "line_density": 0.05}
    material = ps.Rod(**stuff, stretch_damping=0.1, bending_damping=1e-5, mass_damping=0.2, rest_curvature=(1.0, 0.5, 0.3))
    builder = ps.ModelBuilder((0.5, 0.3, -9.81))
    body = builder.add_rod(curve, material)
    builder.attach(body, body.mesh.end(0), name="first")
    builder.attach(body, body.mesh.end(-1), name="last")
    positions = np.array([[0.3, 0, 0], [0.28, 0.02, 0.03], [0.27, 0.03, -0.02]])
    turns = Rotation.from_rotvec([[0, 0, 0], [0.2, 0.1, -0.1], [0.4, -0.2, 0.1]]).as_quat()[:, [3, 0, 1, 2]]
    return builder.finalize(**options), (positions, turns)


@pytest.mark.parametrize("integrator", ["bdf2", "backward_euler"])
@pytest.mark.parametrize("young", [False, True])
def test_gradients_equal_central_differences(integrator, young, rng):
    model, poses = driven(young)
    solver = ps.SolverImplicit(model, dt=0.01, integrator=integrator, tolerance=1e-12)
    weight = torch.as_tensor(rng.normal(size=(3, *model.rest.shape)))
    names = [name for name in model.parameters.names() if name != "gravity"]
    base = [model.parameters[name][0] for name in names] + list(poses)

    def loss(values):
        params = dict(zip(names, values, strict=False))
        control = ps.Control.from_poses(model, [0.0, 0.03, 0.06], {"last": tuple(values[-2:])})
        run = ps.simulate(solver, control=control, times=[0.02, 0.045, 0.06], params=params, tolerance=1e-12)
        return 100 * (run.positions * weight).sum()

    values = [torch.tensor(value, requires_grad=True) for value in base]
    loss(values).backward()
    for i, name in enumerate([*names, "positions", "quaternions"]):
        direction = rng.normal(size=base[i].shape)
        size = np.abs(base[i]).mean()
        h = 1e-4 * size
        sums = []
        for shift in (1, -1, 2, -2):
            moved = [torch.tensor(b + shift * h * direction if j == i else b) for j, b in enumerate(base)]
            sums.append(float(loss(moved)))
        expected = (8 * (sums[0] - sums[1]) - (sums[2] - sums[3])) / (12 * h)
        found = float((values[i].grad.numpy() * direction).sum())
        assert found * size == pytest.approx(expected * size, rel=1e-5, abs=1e-7), name


# --- poses ----------------------------------------------------------------------------------------------------------------------------


def test_pose_moves_points_as_a_rigid_body(rng):
    model, _ = driven()
    turn = Rotation.random(random_state=int(rng.integers(2**31)))
    place = rng.normal(size=3)
    q = turn.as_quat()[[3, 0, 1, 2]]
    points = model.rest[model.attachments["last"].particles]
    control = ps.Control.from_poses(model, [0.0], {"last": ([place], [3 * q])})
    np.testing.assert_allclose(control.targets["last"][0], place + turn.apply(points - points[0]), atol=1e-12)
    origin = rng.normal(size=3)
    control = ps.Control.from_poses(model, [0.0], {"last": ([place], [-q])}, origins={"last": origin})
    np.testing.assert_allclose(control.targets["last"][0], place + turn.apply(points - origin), atol=1e-12)


def test_keys_are_added_where_a_pose_turns():
    """90 degrees: on the way, points stay on their circle within 2e-4 of its radius (a chord of 2 degrees), and turn evenly."""
    model, _ = driven()
    last = model.attachments["last"]
    place = model.rest[last.particles[:1]].repeat(3, axis=0)
    quaternions = [[1, 0, 0, 0], [1, 0, 0, 0], [np.cos(np.pi / 4), 0, 0, np.sin(np.pi / 4)]]
    control = ps.Control.from_poses(model, [0.0, 1.0, 2.0], {last: (place, quaternions)})
    assert len(control.times) == 1 + 1 + 45
    radius = np.linalg.norm(model.rest[last.particles[1]] - place[0])
    i, j, w = control.weights(1.51)
    arm = ((1 - w) * control.targets["last"][i] + w * control.targets["last"][j])[1] - place[0]
    assert np.linalg.norm(arm) == pytest.approx(radius, rel=2e-4)
    start = (model.rest[last.particles[1]] - place[0]) / radius
    assert np.degrees(np.arccos(arm @ start / np.linalg.norm(arm))) == pytest.approx(45.9, abs=0.05)


def test_poses_may_differ_between_environments(rng):
    """Each environment's targets are those of its poses alone."""
    builder = ps.ModelBuilder()
    builder.add_collider(ps.Sphere(0.1), name="ball")
    one, three = builder.finalize(), builder.finalize(envs=3)
    times, positions = [0.0, 0.5, 1.0], rng.normal(size=(3, 3, 3))
    quaternions = rng.normal(size=(3, 3, 4))
    together = ps.Control.from_poses(three, times, {"ball": (positions, quaternions)})
    assert together.targets["ball"].shape[1:] == (3, 4, 3)
    for env in range(3):
        alone = ps.Control.from_poses(one, times, {"ball": (positions[:, env], quaternions[:, env])})
        for t in (0.2, 0.5, 0.9):
            found = []
            for control, model, k in ((alone, one, 0), (together, three, env)):
                i, j, w = control.weights(t)
                value = control.bind(model)["ball"]
                found.append((1 - w) * value[i, k] + w * value[j, k])
            assert np.allclose(found[0], found[1], atol=2e-4)  # keys are as many as the environment that turns most needs
