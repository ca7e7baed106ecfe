"""Things that lie, stand, bounce: forces balance, thickness is kept, bounce belongs to the material, energy does not grow."""

from itertools import pairwise

import numpy as np
import pytest

import physsim as ps

G = 9.81


def cube(cells=2, size=0.05, at=(0.0, 0.0, 0.0), young=5e4, density=500.0):
    """(TetMesh of a cube about a point, its material)."""
    half = size / 2
    mesh = ps.box_mesh((size,) * 3, (cells,) * 3, origin=tuple(np.asarray(at) - half))
    return mesh, ps.NeoHookean(young, 0.3, density)


def run(model, duration, dt):
    """The last state."""
    solver, state = ps.SolverImplicit(model, dt=dt, integrator="backward_euler"), model.state()
    for _ in range(round(duration / dt)):
        state, _ = solver.step(state)
    return state


def carried(model, state, body):
    """Force that contact puts on a held body [N], shape [3]."""
    return ps.Probe(model).forces(state)[body.particles].sum(axis=0)


@pytest.mark.parametrize(("count", "young"), [(3, 5e4), pytest.param(10, 1e6, marks=pytest.mark.slow)])
def test_a_stack_of_soft_cubes_stands(count, young):
    """It is lower than the height (7.84 E I / (rho g A))^(1/3) at which it would buckle under its own weight."""
    builder = ps.ModelBuilder()
    bodies = [builder.add_soft_body(*cube(at=(0, 0, 0.026 + 0.051 * k), young=young)) for k in range(count)]
    assert 0.05 * count < (7.84 * young * 0.05**2 / 12 / (500.0 * G)) ** (1 / 3)
    ground = builder.add_ground()
    builder.enable_contact(friction=0.5, damping=1e3)
    model = builder.finalize()
    state = run(model, 1.0, 1 / 60)
    middles = np.array([state.positions[b.particles].mean(axis=0) for b in bodies])
    assert np.abs(middles[:, :2]).max() < 1e-3
    assert (np.diff(middles[:, 2]) > 0.04).all()
    assert np.abs(state.velocities).max() < 3e-3  # a high one still sways
    weight = count * 500.0 * 0.05**3 * G
    np.testing.assert_allclose(carried(model, state, ground), [0, 0, -weight], atol=1e-3 * weight)


def test_a_rigid_cube_rests_on_a_soft_one():
    builder = ps.ModelBuilder()
    soft = builder.add_soft_body(*cube(cells=3, at=(0, 0, 0.026)))
    rigid = builder.add_rigid_body(ps.Box((0.03, 0.03, 0.03)), mass=0.05, position=(0, 0, 0.067))
    ground = builder.add_ground()
    builder.enable_contact(friction=0.5, damping=1e3)
    model = builder.finalize()
    state = run(model, 1.0, 1 / 60)
    weight = (0.05 + 500.0 * 0.05**3) * G
    np.testing.assert_allclose(carried(model, state, ground), [0, 0, -weight], atol=1e-3 * weight)
    position, rotation = rigid.mesh.pose(state.positions[rigid.particles])
    assert rotation[2, 2] > 0.999
    assert position[2] - 0.015 > state.positions[soft.particles, 2].mean()


def test_layers_keep_their_thickness_apart():
    """2 mm thick, in contact over half a millimetre: middles of touching layers are 2 to 2.5 mm apart, 1 to 1.5 mm above the ground."""
    builder = ps.ModelBuilder()
    mesh = ps.sheet_mesh((0.1, 0.1), (5, 5))
    material = ps.Shell(stretch=500.0, bending=1e-4, thickness=2e-3, area_density=0.5)
    sheets = []
    for k in range(3):
        pose = mesh.points + [0.003 * k, 0.002 * k, 0.0014 + 0.0026 * k]
        sheets.append(builder.add_cloth(ps.TriMesh(pose, mesh.triangles), material))
    builder.add_ground()
    builder.enable_contact(friction=0.5, gap=5e-4)
    state = run(builder.finalize(), 0.5, 1 / 60)
    heights = [state.positions[s.particles, 2] for s in sheets]
    for lower, upper in pairwise(heights):
        assert 2e-3 <= upper.mean() - lower.mean() <= 2.5e-3
    assert 1e-3 <= heights[0].min() <= heights[0].max() <= 1.5e-3


def rebound(damping, dt):
    """Height to which a rigid ball bounces on a soft layer, over that from which it fell: the speeds' squares."""
    builder = ps.ModelBuilder(gravity=(0, 0, 0))
    ball = builder.add_rigid_body(ps.Sphere(0.03), mass=0.1, position=(0, 0, 0.0501), velocity=(0, 0, -1.0))
    builder.add_ground()
    builder.enable_contact(gap=0.02, stiffness=1e3, friction=0.0, damping=damping)
    model = builder.finalize()
    solver, state = ps.SolverImplicit(model, dt=dt, integrator="backward_euler"), model.state()
    while state.positions[ball.particles, 2].mean() < 0.0502 and state.time < 0.2:
        state, _ = solver.step(state)
    return state.velocities[ball.particles, 2].mean() ** 2


def test_bounce_is_the_materials_and_not_the_steps():
    """The ball stays some 50 ms in the layer; from a five hundredth of that on, halving the step changes heights by less than 3 %."""
    heights = np.array([[rebound(damping, dt) for damping in (0.0, 3e2, 3e3)] for dt in (1e-4, 5e-5)])
    coarse, fine = heights
    assert fine[0] > 0.95
    assert (fine[1:] < 0.95 * fine[:-1]).all()
    assert fine[2] > 0.05
    np.testing.assert_allclose(coarse, fine, atol=0.03)


@pytest.mark.parametrize("dt", [1 / 120, 1 / 240])
def test_a_drop_never_gains_energy(dt):
    builder = ps.ModelBuilder()
    builder.add_soft_body(*cube(cells=3, at=(0, 0, 0.06)), velocity=(0.5, 0.0, -1.0))
    builder.add_rigid_body(ps.Box((0.03, 0.04, 0.02)), mass=0.03, position=(0.01, 0, 0.14), rotation=(0.9, 0.3, 0.2, 0.1))
    builder.add_ground()
    builder.enable_contact(friction=0.3)
    model = builder.finalize()
    solver, probe, state = ps.SolverImplicit(model, dt=dt, integrator="backward_euler"), ps.Probe(model), model.state()
    energies = [probe.energy(state)]
    for _ in range(round(0.4 / dt)):
        state, _ = solver.step(state)
        energies.append(probe.energy(state))
    assert np.diff(energies).max() <= 1e-6 * energies[0]
    assert energies[-1] < 0.5 * energies[0]


def test_a_stiffness_that_was_not_given_is_that_of_the_bodies_of_each_model():
    builder = ps.ModelBuilder()
    mesh = ps.box_mesh((0.1, 0.1, 0.1), (1, 1, 1))
    builder.add_soft_body(mesh, ps.NeoHookean(1e4, 0.3, 100.0))
    pair = builder.enable_contact()
    soft = builder.finalize()
    builder.add_soft_body(ps.TetMesh(mesh.points + 1.0, mesh.cells), ps.NeoHookean(5e6, 0.3, 100.0))
    stiff = builder.finalize()
    assert soft.parameters[pair.stiffness].item() == pytest.approx(2e3)
    assert stiff.parameters[pair.stiffness].item() == pytest.approx(1e6)
