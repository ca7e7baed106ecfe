"""Surfaces that begin inside each other are reported with the pairs, and parted on request."""

import numpy as np
import pytest

import physsim as ps
from physsim.physics.contact.separation import inspect


def cubes_in_each_other(depth=0.01):
    builder = ps.ModelBuilder()
    for name, height in (("lower", 0.002), ("upper", 0.052 - depth)):
        mesh = ps.box_mesh((0.05, 0.05, 0.05), (2, 2, 2), origin=(0.003 if name == "upper" else 0.0, 0.002, height))
        builder.add_soft_body(mesh, ps.NeoHookean(1e5, 0.3, 500.0), name=name)
    builder.add_ground()
    builder.enable_contact()
    return builder.finalize()


def test_a_first_step_names_the_surfaces_that_intersect():
    model = cubes_in_each_other()
    with pytest.raises(ps.InputError, match=r"lower and upper: \d+ pairs.*separate"):
        ps.SolverImplicit(model, integrator="backward_euler").step(model.state())
    with pytest.raises(ps.InputError, match="lower and upper"):
        ps.solve_equilibrium(model)


def test_separated_bodies_step_and_keep_their_shapes_and_velocities(rng):
    model = cubes_in_each_other()
    velocities = 0.1 * rng.normal(size=(model.particle_count, 3))
    state = model.state(velocities=velocities)
    assert len(inspect(state)) > 0
    apart = ps.separate(state)
    assert len(inspect(apart)) == 0
    assert np.array_equal(apart.velocities, velocities)
    for name in ("lower", "upper"):
        moved = apart.positions[model.body(name).particles] - state.positions[model.body(name).particles]
        assert np.ptp(moved, axis=0).max() < 1e-12
    state, report = ps.SolverImplicit(model, dt=1 / 240, integrator="backward_euler").step(apart)
    assert report.converged


def test_what_cannot_be_parted_is_said():
    builder = ps.ModelBuilder()
    builder.add_collider(ps.Box((0.1, 0.1, 0.1)), (0, 0, 0.02), name="stuck")
    builder.add_soft_body(
        ps.box_mesh((0.05, 0.05, 0.05), (1, 1, 1), origin=(-0.02, -0.02, 0.0)), ps.NeoHookean(1e5, 0.3, 500.0), name="cube"
    )
    builder.enable_contact()
    model = builder.finalize()
    assert len(inspect(ps.separate(model.state()))) == 0  # the cube has somewhere to go
    builder = ps.ModelBuilder()
    folded = ps.sheet_mesh((0.1, 0.1), (6, 6))
    pose = folded.points.copy()
    pose[:, 0] = np.abs(pose[:, 0] - 0.05) + 1e-4 * pose[:, 1]
    pose[:, 2] = np.where(folded.points[:, 0] > 0.05, -1.0, 1.0) * (pose[:, 0] - 0.03) * 0.1
    builder.add_cloth(folded, ps.Shell(stretch=100.0, bending=1e-5, area_density=0.2), pose=pose, name="cloth")
    builder.enable_contact()
    model = builder.finalize()
    with pytest.raises(ps.InputError, match=r"remain.*cloth and cloth"):
        ps.separate(model.state())
