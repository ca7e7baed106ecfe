"""Steps in time: each scheme does exactly what its discrete formula says, keeps what it should keep, and many environments, threads
and repeated runs give the same numbers.
"""

import itertools
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

import physsim as ps
from physsim.physics.assembly import Assembly

SCHEMES = ("backward_euler", "bdf2")
schemes = pytest.mark.parametrize("integrator", SCHEMES)
GRAVITY = 9.81


def run(solver, state, steps, **options):
    """Positions after each step, the start first, [steps + 1, ...], and the last state."""
    positions = [state.positions]
    for _ in range(steps):
        state, _ = solver.step(state, **options)
        positions.append(state.positions)
    return np.array(positions), state


def roots_of(integrator, rate, h):
    """Amplification factors of y' = rate y: roots of the scheme's characteristic polynomial, the principal one first.

    Backward Euler: z - 1 = h rate z. BDF2: 3/2 z^2 - 2 z + 1/2 = h rate z^2.
    """
    polynomial = [1 - h * rate, -1] if integrator == "backward_euler" else [1.5 - h * rate, -2, 0.5]
    found = np.roots(polynomial)
    return found[np.argsort(-np.abs(found))]


def measured_root(samples):
    """Root with positive phase of the two-term recursion that a decaying oscillation obeys."""
    (p, q), *_ = np.linalg.lstsq(np.stack([samples[1:-1], samples[:-2]], axis=1), samples[2:], rcond=None)
    found = np.roots([1, -p, -q])
    return found[np.argmax(found.imag)]


def vertical_spring(stiffness=50.0, damping=0.0, mass=0.2, length=1.0, gravity=GRAVITY, envs=None):
    net = ps.SpringNet([[0.0, 0.0, 0.0], [0.0, 0.0, -length]], [[0, 1]])
    builder = ps.ModelBuilder(gravity=(0.0, 0.0, -gravity))
    body = builder.add_springs(net, ps.Spring(stiffness, damping), [mass, mass], name="bob")
    builder.attach(body, [0], name="top")
    return builder.finalize(envs=envs)


def small_beam(envs=None, viscosity=0.0, young=2e4, order=1, held=True, dtype="float64", gravity=GRAVITY):
    mesh = ps.box_mesh((0.3, 0.1, 0.1), (3, 1, 1), order=order)
    builder = ps.ModelBuilder(gravity=(0.0, 0.0, -gravity))
    body = builder.add_soft_body(mesh, ps.NeoHookean(young, 0.3, 1000.0, viscosity=viscosity), name="beam")
    if held:
        builder.attach(body, np.flatnonzero(mesh.points[:, 0] == 0.0), name="clamp")
    return builder.finalize(envs=envs, dtype=dtype)


# --- oscillators -------------------------------------------------------------------------------------------------------------------


@schemes
def test_free_fall_is_the_schemes_sum(integrator):
    """Backward Euler from rest drops g h^2 n (n + 1)/2 = 4.95405 m in 100 steps of 0.01 s; BDF2 by its recursion."""
    model = small_beam(held=False)
    solver = ps.SolverImplicit(model, dt=0.01, integrator=integrator, tolerance=1e-9)
    positions, state = run(solver, model.state(), 100)
    drop = -(positions[-1] - positions[0])
    v, x = [0.0, GRAVITY * 0.01], [0.0, GRAVITY * 0.01**2]
    for _ in range(99):
        a, b, rate = (1.0, 0.0, 100.0) if integrator == "backward_euler" else (4 / 3, -1 / 3, 150.0)
        v.append(a * v[-1] + b * v[-2] + GRAVITY / rate)
        x.append(a * x[-1] + b * x[-2] + v[-1] / rate)
    if integrator == "backward_euler":
        assert x[-1] == pytest.approx(4.95405, rel=1e-12)
    np.testing.assert_allclose(drop[:, 2], x[-1], rtol=1e-9)
    np.testing.assert_allclose(state.velocities[:, 2], -v[-1], rtol=1e-9)
    assert np.abs(drop[:, :2]).max() < 1e-9
    assert state.time == pytest.approx(1.0)


def test_bob_hangs_at_the_static_extension():
    """m g / k = 0.03924 m."""
    model = vertical_spring()
    state, _ = ps.solve_equilibrium(model, tolerance=1e-10)
    assert -state.positions[1, 2] - 1.0 == pytest.approx(0.03924, rel=1e-9)


@schemes
@pytest.mark.parametrize("damping", [0.0, 0.4])
def test_hanging_mass_swings_with_the_schemes_period_and_decay(integrator, damping):
    """m = 0.2 kg, k = 50 N/m, h = 0.01 s: m z'' + c z' + k z = 0 as two first-order modes of rate w."""
    model = vertical_spring(damping=damping)
    solver = ps.SolverImplicit(model, dt=0.01, integrator=integrator, tolerance=1e-10)
    positions, _ = run(solver, model.state(), 150)
    offset = positions[:, 1, 2] + 1.0 + 0.2 * GRAVITY / 50.0
    rate = np.roots([0.2, damping, 50.0])[0]
    expected = roots_of(integrator, rate, 0.01)[0]
    expected = expected.real + 1j * abs(expected.imag)
    found = measured_root(offset[40:])  # BDF2's second roots, about 1/3, have died by then
    assert abs(found) == pytest.approx(abs(expected), rel=1e-8)
    assert np.angle(found) == pytest.approx(np.angle(expected), rel=1e-8)
    if integrator == "backward_euler" and damping == 0.0:  # 1/sqrt(1 + w^2 h^2) and 2 pi h / atan(w h)
        assert abs(found) == pytest.approx(0.9877295966495897, rel=1e-8)
        assert 2 * np.pi * 0.01 / np.angle(found) == pytest.approx(0.40067326768877515, rel=1e-8)


def test_damped_period_and_decrement_at_small_steps():
    """c = 0.4 N s/m: period 0.39818 s and logarithmic decrement 0.39818 of the differential equation."""
    model = vertical_spring(damping=0.4)
    solver = ps.SolverImplicit(model, dt=1e-3, tolerance=1e-10)
    positions, _ = run(solver, model.state(), 800)
    found = measured_root((positions[:, 1, 2] + 1.0 + 0.2 * GRAVITY / 50.0)[40:])
    period = 2 * np.pi * 1e-3 / np.angle(found)
    assert period == pytest.approx(0.39818068996987943, rel=3e-4)
    assert -np.log(abs(found)) * period / 1e-3 == pytest.approx(0.39818068996987943, rel=1e-3)


@pytest.mark.parametrize("mode", [1, 2, 3, 4, 5])
def test_chain_between_walls_has_its_discrete_modes(mode):
    """20 masses, 21 springs: w_j = 2 sqrt(k/m) sin(j pi / 42), along the chain."""
    omega = [2.363173054906417, 4.713130287497857, 7.036729783698563, 9.320977032586367, 11.553097596968824][mode - 1]
    points = np.stack([np.arange(22.0), np.zeros(22), np.zeros(22)], axis=1)
    net = ps.SpringNet(points, np.stack([np.arange(21), np.arange(1, 22)], axis=1))
    builder = ps.ModelBuilder(gravity=(0, 0, 0))
    body = builder.add_springs(net, ps.Spring(50.0), np.full(22, 0.2))
    builder.attach(body, [0, 21])
    model = builder.finalize()
    shape = np.sin(mode * np.pi * np.arange(22) / 21)
    h = 0.2 / omega
    solver = ps.SolverImplicit(model, dt=h, tolerance=1e-11)
    positions, _ = run(solver, model.state(points + 0.1 * np.outer(shape, [1, 0, 0])), 90)
    amplitude = (positions[:, :, 0] - points[:, 0]) @ shape
    found, expected = measured_root(amplitude[40:]), roots_of("bdf2", 1j * omega, h)[0]
    assert np.angle(found) == pytest.approx(abs(np.angle(expected)), rel=1e-6)
    assert abs(found) == pytest.approx(abs(expected), rel=1e-6)


def test_taut_string_sounds_at_its_pitch():
    """T = 10 N, 0.05 kg/m, 1 m, 20 masses: 7.064475869 Hz (7.0711 Hz for a continuous string)."""
    a = 1 / 21
    points = np.stack([np.linspace(0, 1, 22), np.zeros(22), np.zeros(22)], axis=1)
    net = ps.SpringNet(points, np.stack([np.arange(21), np.arange(1, 22)], axis=1), np.full(21, a / 2))
    builder = ps.ModelBuilder(gravity=(0, 0, 0))
    body = builder.add_springs(net, ps.Spring(10.0 / (a / 2)), np.full(22, 0.05 * a))
    builder.attach(body, [0, 21])
    model = builder.finalize()
    shape = np.sin(np.pi * points[:, 0])
    solver = ps.SolverImplicit(model, dt=1e-3, tolerance=1e-11)
    positions, _ = run(solver, model.state(points + 1e-4 * np.outer(shape, [0, 0, 1])), 200)
    found = measured_root((positions[:, :, 2] @ shape)[40:])
    assert np.angle(found) / (2 * np.pi * 1e-3) == pytest.approx(7.064475869199553, rel=2e-3)


def test_pendulum_periods_at_five_amplitudes():
    """Complete elliptic integral: T = 4 sqrt(L/g) K(sin(amplitude/2)), L = 1 m; five environments in one model."""
    periods = {5: 2.007021914469057, 30: 2.0409898895191305, 60: 2.152874666880516, 90: 2.3678419475762373, 120: 2.7540898288878255}
    model = vertical_spring(stiffness=1e6, mass=1.0, envs=5)
    angles = np.radians(list(periods))
    start = np.zeros((5, 2, 3))
    start[:, 1] = np.stack([np.sin(angles), 0 * angles, -np.cos(angles)], axis=1)
    h = 0.005
    solver = ps.SolverImplicit(model, dt=h, tolerance=1e-6)
    positions, _ = run(solver, model.state(start), int(2.2 / h))
    for env, period in enumerate(periods.values()):
        x = positions[:, env, 1, 0]
        down = np.flatnonzero((x[:-1] > 0) & (x[1:] <= 0))[0]
        up = np.flatnonzero((x[:-1] < 0) & (x[1:] >= 0))[0]
        crossing = [h * (i + x[i] / (x[i] - x[i + 1])) for i in (down, up)]
        assert 2 * (crossing[1] - crossing[0]) == pytest.approx(period, rel=2e-3)


@pytest.mark.parametrize(
    ("size", "young", "poisson", "density", "cells", "frequency"),
    [
        ((1.0, 0.05, 0.05), 1e6, 0.3, 1000.0, (40, 2, 2), 0.2549169788044581),
        ((0.1, 0.03, 0.03), 263824.0, 0.0, 1070.0, (8, 2, 2), 7.2021820514557815),
    ],
    ids=["slender", "stocky"],
)
def test_beam_swings_at_timoshenkos_frequency(size, young, poisson, density, cells, frequency):
    """First mode of a clamped Timoshenko beam (Han, Benaroya and Wei 1999), small swing after a light load is let go."""
    mesh = ps.box_mesh(size, cells, order=2)
    tip = np.flatnonzero(mesh.points[:, 0] == size[0])
    builder = ps.ModelBuilder(gravity=(0, 0, 0))
    body = builder.add_soft_body(mesh, ps.NeoHookean(young, poisson, density))
    builder.attach(body, np.flatnonzero(mesh.points[:, 0] == 0.0))
    load = builder.add_load(body, tip, (0, 0, 0))
    model = builder.finalize()
    weight = 1e-4 * young * size[1] * size[2] ** 3 / size[0] ** 2
    state, _ = ps.solve_equilibrium(model, params={load: [0, 0, -weight]}, tolerance=1e-9 * weight)
    h = 1 / (50 * frequency)
    solver = ps.SolverImplicit(model, dt=h, tolerance=1e-6 * weight)
    positions, _ = run(solver, model.state(state.positions), 90)
    z = (positions - mesh.points)[:, tip, 2].mean(axis=1)
    crossings = np.flatnonzero(z[:-1] * z[1:] < 0)
    times = crossings + z[crossings] / (z[crossings] - z[crossings + 1])
    half = np.polyfit(np.arange(len(times)), times, 1)[0]
    discrete = np.angle(roots_of("bdf2", 2j * np.pi * frequency, h)[0])  # what the scheme makes of the frequency
    assert np.pi / half == pytest.approx(abs(discrete), rel=0.02)


# --- order in time -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("integrator", "order"), [("backward_euler", 1), ("bdf2", 2)])
@pytest.mark.parametrize("scene", ["elastic pendulum", "viscous beam"])
def test_error_falls_with_the_step_at_the_schemes_order(integrator, order, scene):
    if scene == "elastic pendulum":
        model = vertical_spring(stiffness=100.0, damping=0.3, mass=1.0)
        state, duration = model.state([[0, 0, 0], [0.8, 0.1, -0.6]]), 0.4
    else:
        model = small_beam(viscosity=20.0)
        state, duration = model.state(), 0.1

    def end(steps):
        solver = ps.SolverImplicit(model, dt=duration / steps, integrator=integrator, tolerance=1e-10)
        return run(solver, state, steps)[0][-1]

    ends = [end(steps) for steps in (50, 100, 200, 400)]
    gaps = [np.abs(b - a).max() for a, b in itertools.pairwise(ends)]
    rates = np.log2(np.divide(gaps[:-1], gaps[1:]))
    assert rates[-1] == pytest.approx(order, abs=0.2)


# --- conservation ------------------------------------------------------------------------------------------------------------------


def masses_of(model):
    return model.parameters.columns(model.column_shapes)["inertia"][0, :, 0]


def momenta(model, state):
    """Linear and angular momentum about the origin."""
    m = masses_of(model)[:, None]
    return (m * state.velocities).sum(axis=0), np.cross(state.positions, m * state.velocities).sum(axis=0)


@schemes
@pytest.mark.parametrize("viscosity", [0.0, 10.0])
def test_free_body_keeps_its_linear_momentum_exactly(integrator, viscosity, rng):
    model = small_beam(held=False, gravity=0.0, viscosity=viscosity)
    start = model.rest + 0.01 * rng.normal(size=model.rest.shape)
    state = model.state(start, rng.normal(size=model.rest.shape))
    before = momenta(model, state)[0]
    solver = ps.SolverImplicit(model, dt=0.01, integrator=integrator, tolerance=1e-9)
    _, state = run(solver, state, 30)
    np.testing.assert_allclose(momenta(model, state)[0], before, atol=1e-9)


@pytest.mark.parametrize(("integrator", "order"), [("backward_euler", 1), ("bdf2", 2)])
def test_free_body_loses_angular_momentum_only_at_the_schemes_order(integrator, order):
    """Internal forces have no torque (tests/test_laws.py); what is lost is the step's own error."""
    model = small_beam(held=False, gravity=0.0, viscosity=5.0)
    centre = model.rest.mean(axis=0)
    spin = np.cross([2.0, -1.0, 5.0], model.rest - centre)
    lost = []
    for steps in (25, 50, 100):
        state = model.state(velocities=spin)
        before = momenta(model, state)[1]
        solver = ps.SolverImplicit(model, dt=0.2 / steps, integrator=integrator, tolerance=1e-10)
        _, state = run(solver, state, steps)
        lost.append(np.linalg.norm(momenta(model, state)[1] - before) / np.linalg.norm(before))
    rates = np.log2(np.divide(lost[:-1], lost[1:]))
    assert (rates > order - 0.3).all()
    assert lost[-1] < (0.02 if order == 1 else 1e-3)


@pytest.mark.parametrize("order", [1, 2])
def test_viscosity_does_not_hold_back_a_rigid_turn(order, rng):
    """Forces of the viscous law on a body that turns and moves rigidly, by any angle in a step, are zero."""
    model = small_beam(viscosity=100.0, order=order, held=False)
    a = Assembly(model)
    a.set_step(150.0, 4 / 3, -1 / 3)
    for array in (a.x, a.x1, a.x2):
        turn = Rotation.random(random_state=int(rng.integers(2**31))).as_matrix()
        array.assign(model.vectors((model.rest @ turn.T + rng.normal(size=3))[None]))
    a.evaluate()
    number = [block.law.name for block in model.blocks].index(f"viscous_{4 if order == 1 else 10}")
    shares = a.shares.numpy()[0, a.share_offsets[number] : a.share_offsets[number + 1]]
    assert np.abs(shares).max() < 1e-9


def test_viscosity_leaves_a_steady_spin_alone(rng):
    """A second of free rotation with and without viscosity: the same angular momentum, however the rounding falls."""
    turned, speed = [], rng.uniform(0.99, 1.01)
    for viscosity in (0.0, 20.0):
        model = small_beam(held=False, gravity=0.0, viscosity=viscosity, young=1e6)
        spin = np.cross([0.0, 0.0, speed], model.rest - model.rest.mean(axis=0))
        solver = ps.SolverImplicit(model, dt=0.01, tolerance=1e-9)
        _, state = run(solver, model.state(velocities=spin), 100)
        turned.append(momenta(model, state)[1])
    np.testing.assert_allclose(turned[1], turned[0], rtol=1e-4, atol=1e-9)


def test_mass_damping_slows_everything_alike():
    """v' = -alpha v: each backward Euler step divides by 1 + alpha h."""
    mesh = ps.box_mesh((0.1, 0.1, 0.1), (1, 1, 1))
    builder = ps.ModelBuilder(gravity=(0, 0, 0))
    builder.add_soft_body(mesh, ps.NeoHookean(1e4, mass_damping=3.0), velocity=(1.0, 2.0, 0.0))
    model = builder.finalize()
    solver = ps.SolverImplicit(model, dt=0.02, integrator="backward_euler", tolerance=1e-10)
    _, state = run(solver, model.state(), 25)
    np.testing.assert_allclose(state.velocities, np.tile([1.0, 2.0, 0.0], (8, 1)) / 1.06**25, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("stiffness", [1e3, 1e4, 1e5])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_cloth_falls_for_a_second_without_a_failed_step(stiffness, dtype):
    """An everyday scene with every default: a net held at two corners swings down."""
    builder = ps.ModelBuilder()
    body = builder.add_springs(ps.spring_net((16, 16), (0.6, 0.6)), ps.Spring(stiffness, 0.01), 0.2)
    builder.attach(body, [0, 16])
    model = builder.finalize(dtype=dtype)
    positions, _ = run(ps.SolverImplicit(model, dt=1 / 60), model.state(), 60)
    assert np.isfinite(positions).all()
    assert positions[..., 2].min() > -1.0


# --- attachments -------------------------------------------------------------------------------------------------------------------


def test_prescribed_points_go_exactly_where_the_control_says():
    model = small_beam(gravity=0.0)
    clamp = model.attachments["clamp"].particles
    there = model.rest[clamp] + [0.0, 0.0, 0.05]
    control = ps.Control([0.0, 0.1], {"clamp": np.stack([model.rest[clamp], there])})
    solver = ps.SolverImplicit(model, dt=0.02)
    positions, state = run(solver, model.state(), 8, control=control)
    np.testing.assert_allclose(positions[2, clamp], model.rest[clamp] + [0.0, 0.0, 0.02], atol=1e-14)
    np.testing.assert_array_equal(state.positions[clamp], there)


def test_soft_attachment_pulls_with_its_stiffness():
    """Four tethers of 25 N/m carry the weight of a falling block: m g / (4 k)."""
    mesh = ps.box_mesh((0.1, 0.1, 0.1), (1, 1, 1))
    builder = ps.ModelBuilder()
    body = builder.add_soft_body(mesh, ps.NeoHookean(1e7, 0.3, 1000.0))
    builder.attach(body, np.flatnonzero(mesh.points[:, 2] == 0.1), stiffness=25.0)
    state, _ = ps.solve_equilibrium(builder.finalize(), tolerance=1e-8)
    assert (state.positions - mesh.points)[:, 2].mean() == pytest.approx(-1.0 * GRAVITY / 100.0, rel=1e-3)


# --- environments, repeatability, failure ------------------------------------------------------------------------------------------


def scenes(envs):
    """(model, parameter values by environment, states by environment, solver options) of a solid and of a net."""
    beam = small_beam(envs=envs, viscosity=1.0)
    net = ps.spring_net((4, 4), (0.4, 0.4))
    builder = ps.ModelBuilder()
    body = builder.add_springs(net, ps.Spring(200.0, 0.05), 0.1, name="cloth")
    builder.attach(body, [0, 4])
    cloth = builder.finalize(envs=envs)
    return {
        "beam": (beam, "beam.young", np.array([2e4, 5e4, 1e5, 8e3])),
        "cloth": (cloth, "cloth.stiffness", np.array([200.0, 50.0, 1000.0, 400.0])),
    }


@schemes
@pytest.mark.parametrize("scene", ["beam", "cloth"])
def test_environments_equal_single_runs(scene, integrator, rng):
    many, name, values = scenes(4)[scene]
    one, *_ = scenes(None)[scene]
    start = many.rest + 0.005 * rng.normal(size=(4, *many.rest.shape)) * many.free[:, None]
    options = {"dt": 0.01, "integrator": integrator, "tolerance": 1e-9}
    together, _ = run(ps.SolverImplicit(many, **options), many.state(start), 20, params={name: values})
    for env in range(4):
        alone, _ = run(ps.SolverImplicit(one, **options), one.state(start[env]), 20, params={name: values[env]})
        np.testing.assert_allclose(together[:, env], alone, rtol=0, atol=1e-7)


@pytest.mark.parametrize("scene", ["beam", "cloth"])
@pytest.mark.parametrize("bad", [1e300, 1e30])
def test_one_environments_failure_leaves_the_others_bits_alone(scene, bad):
    model, name, values = scenes(4)[scene]
    rng = np.random.default_rng(3)
    calm = rng.normal(size=(4, *model.rest.shape)) * model.free[:, None]
    wild = calm.copy()
    wild[2] *= bad
    solver = ps.SolverImplicit(model, dt=0.01, strict=False, max_iterations=30)
    results = []
    for velocities in (calm, wild):
        state = model.state(velocities=velocities)
        for _ in range(3):
            state, report = solver.step(state, params={name: values})
        results.append((state.positions, state.velocities, report))
    others = [0, 1, 3]
    for clean, disturbed in zip(results[0][:2], results[1][:2], strict=True):
        np.testing.assert_array_equal(clean[others], disturbed[others])
    assert results[0][2].converged.all()
    np.testing.assert_array_equal(results[1][2].converged, [True, True, False, True])
    np.testing.assert_array_equal(results[1][0][2], model.rest)  # left where it was


@pytest.mark.parametrize("scene", ["beam", "cloth"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_same_run_gives_the_same_bits_and_leaves_its_start_alone(scene, dtype):
    model = small_beam(dtype=dtype) if scene == "beam" else scenes(None)["cloth"][0]
    start = model.state()
    before = start.positions, start.velocities
    runs = [run(ps.SolverImplicit(model, dt=0.01), start, 10)[1] for _ in range(2)]
    np.testing.assert_array_equal(runs[0].positions, runs[1].positions)
    np.testing.assert_array_equal(runs[0].velocities, runs[1].velocities)
    np.testing.assert_array_equal(start.positions, before[0])
    np.testing.assert_array_equal(start.velocities, before[1])
    assert start.time == 0.0
    assert runs[0].time == pytest.approx(0.1)


def test_intermediate_states_stay_as_they_were():
    model = small_beam()
    solver = ps.SolverImplicit(model, dt=0.01)
    states, kept = [model.state()], []
    for _ in range(5):
        kept.append(states[-1].positions)
        states.append(solver.step(states[-1])[0])
    for state, positions in zip(states, kept, strict=False):
        np.testing.assert_array_equal(state.positions, positions)
    again = solver.step(states[2])[0]
    np.testing.assert_array_equal(again.positions, states[3].positions)


def test_float32_follows_float64():
    ends = []
    for dtype in ("float32", "float64"):
        model = small_beam(dtype=dtype)
        ends.append(run(ps.SolverImplicit(model, dt=0.01), model.state(), 30)[0][-1])
    np.testing.assert_allclose(ends[0], ends[1], atol=2e-5)


THREADS = """
import json, sys
import numpy as np
import physsim as ps

mesh = ps.box_mesh((0.3, 0.1, 0.1), (3, 1, 1))
builder = ps.ModelBuilder()
body = builder.add_soft_body(mesh, ps.NeoHookean(2e4, 0.3), name="beam")
builder.attach(body, np.flatnonzero(mesh.points[:, 0] == 0.0))
net = builder.add_springs(ps.spring_net((3, 3), (0.3, 0.3)), ps.Spring(300.0), 0.1, name="cloth")
builder.attach(net, [0, 3])
model = builder.finalize(envs=5)
params = {"beam.young": np.linspace(1e4, 5e4, 5), "cloth.stiffness": np.linspace(100, 900, 5)[:, None]}
out = []
for linear in ("direct", "cg"):
    solver, state = ps.SolverImplicit(model, dt=0.01, linear=linear), model.state()
    for _ in range(5):
        state, _ = solver.step(state, params=params)
    out.append(state.positions.tobytes().hex())
print(json.dumps(out))
"""


def test_number_of_threads_does_not_change_a_bit():
    answers = []
    for threads in ("1", "2", "3"):
        environment = dict(os.environ, PHYSSIM_THREADS=threads)
        done = subprocess.run([sys.executable, "-c", THREADS], env=environment, capture_output=True, text=True, timeout=250)
        assert done.returncode == 0, done.stderr[-2000:]
        answers.append(json.loads(done.stdout.strip().splitlines()[-1]))
    assert answers[0] == answers[1] == answers[2]


def test_saved_state_and_parameters_go_on_as_the_originals_do(tmp_path):
    model = small_beam()
    solver = ps.SolverImplicit(model, dt=0.01, tolerance=1e-9)
    params = model.parameters.replace({"beam.young": 3e4})
    _, state = run(solver, model.state(), 4, params=params)
    state.save(tmp_path / "state.npz")
    model.save_parameters(tmp_path / "parameters.npz", params)
    loaded, values = model.load_state(tmp_path / "state.npz"), model.load_parameters(tmp_path / "parameters.npz")
    np.testing.assert_array_equal(loaded.positions, state.positions)
    np.testing.assert_array_equal(loaded.velocities, state.velocities)
    np.testing.assert_array_equal(values["beam.young"], params["beam.young"])
    assert loaded.time == state.time
    _, on = run(solver, state, 3, params=params)
    _, again = run(solver, loaded, 3, params=values)
    np.testing.assert_allclose(again.positions, on.positions, rtol=0, atol=1e-10)  # BDF2's history came along


def test_failed_step_names_law_body_and_particle_and_leaves_the_state_alone():
    model = small_beam(envs=2)
    velocities = np.zeros((2, *model.rest.shape))
    velocities[1, -1] = 1e300
    state = model.state(velocities=velocities)
    before = state.positions
    solver = ps.SolverImplicit(model, dt=0.01)
    with pytest.raises(ps.SolverError, match=r"environment 1 of 2.*law '\w+'.*particle \d+ of body 'beam'.*smaller dt"):
        solver.step(state)
    np.testing.assert_array_equal(state.positions, before)
    fine, _ = solver.step(model.state())  # and the solver still serves
    expected, _ = ps.SolverImplicit(model, dt=0.01).step(model.state())
    np.testing.assert_array_equal(fine.positions, expected.positions)


def test_step_out_of_iterations_says_what_is_out_of_balance():
    model = small_beam(young=100.0)
    solver = ps.SolverImplicit(model, dt=0.5, max_iterations=1, tolerance=1e-12)
    with pytest.raises(ps.SolverError, match=r"particle \d+ of body 'beam' is out of balance by .* N.*law '\w+'"):
        solver.step(model.state())


def test_body_without_hold_has_no_equilibrium():
    with pytest.raises(ps.SolverError, match=r"no equilibrium was found.*Hold every body"):
        ps.solve_equilibrium(small_beam(held=False), max_iterations=20)


def test_steps_do_not_pile_up_launches():
    """A run of any length keeps as many recorded launches, and so as many arrays, as a short one."""
    model, _, _ = scenes(1)["cloth"]
    solver = ps.SolverImplicit(model, dt=0.01)
    state = model.state()
    counts = []
    for _ in range(12):
        state, _ = solver.step(state)
        counts.append(len(solver.assembly._commands))
    assert counts[-1] == counts[2]
