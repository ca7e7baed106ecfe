"""Scenes that a user would expect to run, in single precision, with stiff wires; and a word where a step is too long."""

import warnings

import numpy as np
import pytest

import physsim as ps


@pytest.mark.parametrize(("velocity", "dt"), [((0.5, 0, 0), 1 / 60), ((0.5, 0, -0.2), 1 / 240)])
def test_single_precision_brings_a_sliding_cube_to_rest(velocity, dt):
    builder = ps.ModelBuilder()
    box = ps.box_mesh((0.05, 0.05, 0.05), (2, 2, 2), origin=(0, 0, 0.0008))
    cube = builder.add_soft_body(box, ps.NeoHookean(5e4, 0.3, 300.0), velocity=velocity)
    builder.add_ground()
    builder.enable_contact()
    solver = ps.SolverImplicit(builder.finalize(dtype="float32"), dt=dt, integrator="backward_euler")
    state = solver.model.state()
    for _ in range(round(0.3 / dt)):
        state, _ = solver.step(state)
    assert np.abs(state.velocities[cube.particles]).max() < 0.01


@pytest.mark.parametrize(("young", "radius"), [(2e11, 1e-3), (5e10, 3e-4)])
def test_a_wire_falls_on_a_drum(young, radius):
    builder = ps.ModelBuilder()
    curve = ps.Curve.straight((-0.2, 0, 0.055), (0.22, 0, 0.055), 20)
    wire = builder.add_rod(curve, ps.Rod(young=young, radius=radius, density=7800.0))
    builder.add_collider(ps.Cylinder(0.05, 0.3), rotation=(0.5**0.5, 0.5**0.5, 0, 0))
    builder.enable_contact()
    solver = ps.SolverImplicit(builder.finalize(), integrator="backward_euler")
    state = solver.model.state()
    for _ in range(12):
        state, _ = solver.step(state)
    assert np.linalg.norm(state.positions[wire.particles][:21, [0, 2]], axis=1).min() > 0.05 + radius


@pytest.mark.parametrize(("dt", "warned"), [(1 / 60, True), (1 / 480, False)])
def test_a_step_that_could_lead_a_ball_around_a_cube_is_warned_of(dt, warned):
    builder = ps.ModelBuilder(gravity=(0, 0, 0))
    builder.add_soft_body(ps.box_mesh((0.05,) * 3, (1, 1, 1), origin=(-0.025,) * 3), ps.NeoHookean(5e4, 0.3, 300.0))
    builder.add_rigid_body(ps.Sphere(0.02), density=2000.0, position=(-0.055, 0.003, 0.002), velocity=(10.0, 0, 0))
    builder.enable_contact()
    solver = ps.SolverImplicit(builder.finalize(), dt=dt, integrator="backward_euler", strict=False)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        state = solver.model.state()
        for _ in range(2):
            state, _ = solver.step(state)
    assert any("led around" in str(w.message) for w in seen) == warned
