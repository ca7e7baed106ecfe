"""SolverExplicit: marching many steps is stepping, the step's limit is the oscillator's, and an explosion is told."""

import numpy as np
import pytest

import physsim as ps

WHAT_MARCHES = ("net", "damped net", "solid")


def scene(kind, envs=None, dtype="float64"):
    """Scenes with one elastic law, which march, and two that cannot."""
    builder = ps.ModelBuilder()
    if "solid" in kind:
        mesh = ps.box_mesh((0.3, 0.1, 0.1), (3, 1, 1))
        material = ps.NeoHookean(2e4, 0.3, viscosity=5.0 if kind == "viscous solid" else 0.0)
        body = builder.add_soft_body(mesh, material, name="body")
        builder.attach(body, np.flatnonzero(mesh.points[:, 0] == 0.0))
    else:
        damping = 0.05 if "damped" in kind else 0.0
        body = builder.add_springs(ps.spring_net((4, 3), (0.4, 0.3)), ps.Spring(100.0, damping), 0.1, name="body")
        builder.attach(body, [0, 4], stiffness=500.0 if kind == "tethered net" else None)
    return builder.finalize(envs=envs, dtype=dtype)


def oscillator(stiffness=50.0, mass=0.2, damping=0.0, stretch=0.02, mass_damping=0.0):
    """A bob on a spring along x, no gravity: (model, state, parameters)."""
    builder = ps.ModelBuilder(gravity=(0, 0, 0))
    body = builder.add_springs(ps.SpringNet([[0, 0, 0], [1.0, 0, 0]], [[0, 1]]), ps.Spring(stiffness, damping), [mass, mass])
    builder.attach(body, [0])
    model = builder.finalize()
    state = model.state([[0, 0, 0], [1.0 + stretch, 0, 0]])
    return model, state, {body.mass_damping: mass_damping}


def stretches(model, state, solver, steps, params=None):
    found = [state.positions[1, 0] - 1.0]
    for _ in range(steps):
        state, _ = solver.step(state, params=params)
        found.append(state.positions[1, 0] - 1.0)
    return np.array(found)


def root_of(samples):
    """Root of positive phase of the two-term recursion x'' = p x' + q x that the samples obey."""
    (p, q), *_ = np.linalg.lstsq(np.stack([samples[1:-1], samples[:-2]], axis=1), samples[2:], rcond=None)
    found = np.roots([1, -p, -q])
    return found[np.argmax(found.imag)]


@pytest.mark.parametrize("kind", ["net", "damped net", "solid", "viscous solid", "tethered net"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_many_steps_in_one_call_equal_steps_one_by_one(kind, dtype, rng):
    model = scene(kind, dtype=dtype)
    start = model.rest + 0.005 * rng.normal(size=model.rest.shape) * model.free[:, None]
    state = model.state(start, 0.1 * rng.normal(size=model.rest.shape) * model.free[:, None])
    solver = ps.SolverExplicit(model, 5e-4)
    at_once, report = solver.run(state, 60)
    assert report.converged
    one_by_one = state
    for _ in range(60):
        one_by_one, _ = solver.step(one_by_one)
    np.testing.assert_array_equal(at_once.positions, one_by_one.positions)
    np.testing.assert_array_equal(at_once.velocities, one_by_one.velocities)
    assert at_once.time == pytest.approx(one_by_one.time)
    np.testing.assert_array_equal(state.positions, start.astype(dtype))


@pytest.mark.parametrize("kind", WHAT_MARCHES)
def test_marching_equals_the_path_that_gradients_take(kind, rng):
    """`run` marches in one launch, `simulate` goes step by step over the assembly: the same scheme, other roundings."""
    model = scene(kind)
    start = model.rest + 0.005 * rng.normal(size=model.rest.shape) * model.free[:, None]
    state = model.state(start, 0.1 * rng.normal(size=model.rest.shape) * model.free[:, None])
    solver = ps.SolverExplicit(model, 5e-4)
    marched, _ = solver.run(state, 60)
    walked = ps.simulate(solver, state, times=[60 * 5e-4])
    np.testing.assert_allclose(walked.positions[0].numpy(), marched.positions, atol=1e-12)
    np.testing.assert_allclose(walked.velocities[0].numpy(), marched.velocities, atol=1e-9)


def test_a_net_without_order_marches_like_the_path_that_gradients_take(rng):
    """A hub, chains, a lone particle and doubled springs; then other parameters, and those of the start again."""
    points = rng.normal(size=(40, 3))
    hub = np.stack([np.zeros(20, int), np.arange(1, 21)], axis=1)
    others = rng.permuted(np.stack([np.arange(20, 38), np.arange(21, 39)], axis=1), axis=1)
    builder = ps.ModelBuilder()
    net = ps.SpringNet(points, rng.permutation(np.concatenate([hub, others, hub[:3, ::-1]])))
    body = builder.add_springs(net, ps.Spring(50.0, 0.02), np.full(40, 0.1), name="net")
    builder.attach(body, [5, 30])
    model = builder.finalize()
    solver = ps.SolverExplicit(model, 1e-3)
    for params in (None, {body.stiffness: 80.0, body.damping: 0.0}, None):
        marched, _ = solver.run(model.state(), 30, params=params)
        walked = ps.simulate(solver, model.state(), times=[0.03], params=params)
        np.testing.assert_allclose(walked.positions[0].numpy(), marched.positions, atol=1e-12)


def test_mass_damping_is_the_same_when_marching():
    model, state, params = oscillator(mass_damping=2.0)
    solver = ps.SolverExplicit(model, 5e-3)
    marched, _ = solver.run(state, 60, params=params)
    walked = ps.simulate(solver, state, times=[0.3], params=params)
    np.testing.assert_allclose(walked.positions[0].numpy(), marched.positions, atol=1e-12)


@pytest.mark.parametrize("kind", WHAT_MARCHES)
def test_environments_march_like_single_runs(kind, rng):
    many, one = scene(kind, envs=4), scene(kind)
    name, values = ("body.young", [1e4, 2e4, 3e4, 4e4]) if kind == "solid" else ("body.stiffness", [50.0, 100.0, 200.0, 400.0])
    start = one.rest + 0.005 * rng.normal(size=(4, *one.rest.shape)) * one.free[:, None]
    together, _ = ps.SolverExplicit(many, 5e-4).run(many.state(start), 50, params={name: np.array(values)[:, None]})
    for env, value in enumerate(values):
        alone, _ = ps.SolverExplicit(one, 5e-4).run(one.state(start[env]), 50, params={name: value})
        np.testing.assert_allclose(together.positions[env], alone.positions, atol=1e-13)


@pytest.mark.parametrize(("stiffness", "mass"), [(50.0, 0.2), (3e4, 1e-3)])
def test_stable_step_is_two_over_omega(stiffness, mass):
    """k = 50 N/m, m = 0.2 kg: 0.12649110640673517 s. Just below, the swing stays; just above, it grows without end."""
    model, state, _ = oscillator(stiffness, mass)
    exact = 2 / np.sqrt(stiffness / mass)
    if stiffness == 50.0:
        assert exact == pytest.approx(0.12649110640673517, rel=1e-12)
    assert ps.SolverExplicit(model, 1e-3).stable_step() == pytest.approx(exact, rel=1e-6)
    for share, stays in ((0.99, True), (1.01, False)):
        moved = stretches(model, state, ps.SolverExplicit(model, share * exact), 40)
        assert (np.abs(moved).max() < 1.0) == stays


def test_stable_step_of_a_chain_is_that_of_its_highest_mode():
    """20 masses, 21 springs: omega_20 = 2 sqrt(k/m) sin(20 pi / 42); another stiffness goes in by params."""
    points = np.stack([np.arange(22.0), np.zeros(22), np.zeros(22)], axis=1)
    builder = ps.ModelBuilder(gravity=(0, 0, 0))
    net = ps.SpringNet(points, np.stack([np.arange(21), np.arange(1, 22)], axis=1))
    body = builder.add_springs(net, ps.Spring(50.0), np.full(22, 0.2))
    builder.attach(body, [0, 21])
    solver = ps.SolverExplicit(builder.finalize(), 1e-3)
    omega = 2 * np.sqrt(50.0 / 0.2) * np.sin(20 * np.pi / 42)
    # neighbouring modes lie 1 % apart, so that the power iteration nears from below and the step from above
    assert solver.stable_step(iterations=400) == pytest.approx(2 / omega, rel=1e-3)
    assert solver.stable_step(params={body.stiffness: 200.0}, iterations=400) == pytest.approx(1 / omega, rel=1e-3)


def test_swing_has_the_discrete_period_of_symplectic_euler():
    """cos(w' h) = 1 - (w h)^2 / 2: 0.3969688540690604 s for h = 0.01 s, and no decay."""
    model, state, _ = oscillator()
    root = root_of(stretches(model, state, ps.SolverExplicit(model, 0.01), 200))
    assert 2 * np.pi * 0.01 / np.angle(root) == pytest.approx(0.3969688540690604, rel=1e-9)
    assert abs(root) == pytest.approx(1.0, abs=1e-10)


def test_damped_spring_decays_as_its_discrete_formula_says():
    """v' = v - h/m (k x + c (x - x1)/h), x' = x + h v': roots of z^2 - (2 - w^2 h^2 - c h/m) z + 1 - c h/m."""
    h, c, k, m = 0.01, 0.4, 50.0, 0.2
    model, state, _ = oscillator(damping=c)
    root = root_of(stretches(model, state, ps.SolverExplicit(model, h), 200))
    expected = np.roots([1, -(2 - k / m * h**2 - c * h / m), 1 - c * h / m])
    assert root == pytest.approx(expected[np.argmax(expected.imag)], rel=1e-9)


def test_mass_damping_decays_at_its_rate():
    """x'' + alpha x' + w^2 x = 0 decays by exp(-alpha t / 2); first order in h."""
    model, state, params = oscillator(mass_damping=2.0)
    root = root_of(stretches(model, state, ps.SolverExplicit(model, 1e-3), 400, params))
    assert np.log(abs(root)) / 1e-3 == pytest.approx(-1.0, rel=5e-3)


def test_energy_stays_bounded_over_many_swings():
    """Symplectic: 10,000 steps at a fifth of the limit; the energy (up to its h-small ripple) neither grows nor falls."""
    model, state, _ = oscillator(stretch=0.05)
    solver = ps.SolverExplicit(model, 0.025)
    energies = []
    for _ in range(100):
        state, _ = solver.run(state, 100)
        stretch, speed = state.positions[1, 0] - 1.0, state.velocities[1, 0]
        energies.append(0.5 * 50.0 * stretch**2 + 0.5 * 0.2 * speed**2 - 0.5 * 0.025 * 50.0 * stretch * speed)  # its invariant
    assert np.ptp(energies) < 1e-9 * np.mean(energies)


@pytest.mark.parametrize("kind", ["net", "solid", "viscous solid"])
def test_explosion_names_law_body_and_particle_and_leaves_the_state_alone(kind):
    model = scene(kind, envs=2)
    state = model.state()
    before = state.positions
    solver = ps.SolverExplicit(model, 0.1)
    message = r"explicit run to t = .*turned NaN or infinite \(environment 0 of 2\).*particle \d+ of body 'body'.*take dt below [\d.e-]+ s"
    with pytest.raises(ps.SolverError, match=message), np.errstate(all="ignore"):
        solver.run(state, 2000)
    np.testing.assert_array_equal(state.positions, before)


def test_explosion_of_one_environment_is_reported_where_asked():
    """strict=False: the stiff environment explodes, the soft ones go on as if alone."""
    model = scene("net", envs=4)
    stiffness = np.array([[10.0], [1e9], [20.0], [40.0]])
    solver = ps.SolverExplicit(model, 2e-3, strict=False)
    state, report = solver.run(model.state(), 400, params={"body.stiffness": stiffness})
    np.testing.assert_array_equal(report.converged, [True, False, True, True])
    calm, _ = solver.run(model.state(), 400, params={"body.stiffness": np.array([[10.0], [15.0], [20.0], [40.0]])})
    np.testing.assert_array_equal(state.positions[[0, 2, 3]], calm.positions[[0, 2, 3]])


def test_prescribed_points_follow_the_control_and_drag_the_rest_along():
    model = scene("net")
    held = model.attachments["attachment"].particles
    there = model.rest[held] + [0.0, 0.0, 0.05]
    control = ps.Control([0.0, 0.1], {"attachment": np.stack([model.rest[held], there])})
    solver = ps.SolverExplicit(model, 1e-3)
    state, _ = solver.run(model.state(), 50, control=control)
    np.testing.assert_allclose(state.positions[held], model.rest[held] + [0.0, 0.0, 0.025], atol=1e-12)
    np.testing.assert_allclose(state.velocities[held], np.tile([0.0, 0.0, 0.5], (2, 1)), atol=1e-9)
    still, _ = solver.run(model.state(), 50)
    assert (state.positions - still.positions)[5:, 2].max() > 1e-3
    np.testing.assert_array_equal(still.positions[held], model.rest[held])


@pytest.mark.parametrize(("count", "dt"), [(0, 1e-3), (-1, 1e-3), (1.5, 1e-3), (1, 0.0), (1, -1e-3), (1, np.nan)])
def test_impossible_counts_and_steps_are_refused(count, dt):
    model = scene("net")
    with pytest.raises(ps.InputError, match=r"count|dt"):
        ps.SolverExplicit(model, dt).run(model.state(), count)


def test_state_of_another_model_is_refused():
    with pytest.raises(ps.InputError, match="belongs to another model"):
        ps.SolverExplicit(scene("net"), 1e-3).step(scene("net").state())
