"""What touches in one environment is nothing to another one."""

import numpy as np
import pytest

import physsim as ps


def pressed_cube(envs):
    """A plate above a soft cube on the ground."""
    builder = ps.ModelBuilder()
    box = ps.box_mesh((0.05, 0.05, 0.05), (2, 2, 2), origin=(0, 0, 0.0008))
    builder.add_soft_body(box, ps.NeoHookean(5e4, 0.3, 500.0), name="cube")
    builder.add_collider(ps.Box((0.1, 0.1, 0.02)), (0.025, 0.025, 0.0625), name="plate")
    builder.add_ground()
    builder.enable_contact(friction=0.5)
    return builder.finalize(envs=envs)


def way_down(model, depths):
    depths = np.atleast_1d(depths)
    positions = np.tile([0.025, 0.025, 0.0625], (2, len(depths), 1))
    positions[1, :, 2] -= depths
    turn = np.tile([1.0, 0, 0, 0], (2, len(depths), 1))
    if not model.batched:
        positions, turn = positions[:, 0], turn[:, 0]
    return ps.Control.from_poses(model, [0.0, 1 / 240], {"plate": (positions, turn)})


def test_plates_that_stall_in_one_environment_do_not_disturb_another():
    """One step down by up to 3 cm: some go all the way, some are held back."""
    depths = np.array([0.03, 0.02, 0.01, 0.002])
    together = pressed_cube(len(depths))
    solver = ps.SolverImplicit(together, dt=1 / 240, integrator="backward_euler", strict=False)
    state, report = solver.step(together.state(), way_down(together, depths))
    alone = pressed_cube(None)
    single = ps.SolverImplicit(alone, dt=1 / 240, integrator="backward_euler", strict=False)
    for env, depth in enumerate(depths):
        one, own = single.step(alone.state(), way_down(alone, depth))
        assert bool(report.converged[env]) == own.converged
        assert np.isclose(report.unreached[env], own.unreached, atol=1e-6)
        if own.converged:
            assert np.allclose(state.positions[env], one.positions, atol=1e-6)


def test_forces_of_an_environment_at_rest_outlast_a_crash_in_another():
    builder = ps.ModelBuilder()
    box = ps.box_mesh((0.05, 0.05, 0.05), (3, 3, 3), origin=(0, 0, 0.0008))
    cube = builder.add_soft_body(box, ps.NeoHookean(5e4, 0.3, 500.0), name="cube")
    builder.add_ground()
    builder.enable_contact()
    model = builder.finalize(envs=2)
    positions = np.array(np.broadcast_to(model.positions, (2, *model.positions.shape)))
    velocities = np.zeros_like(positions)
    positions[1, cube.particles, 2] += 0.3
    velocities[1, cube.particles, 2] = -30.0
    solver = ps.SolverImplicit(model, dt=1 / 240, integrator="backward_euler")
    state = model.state(positions, velocities)
    weight = 500.0 * 0.05**3 * 9.81
    for _ in range(30):
        state, _ = solver.step(state)
        if state.time > 0.04:
            forces = solver.assembly.contact.forces()[:, cube.particles].sum(axis=1)
            assert np.isclose(forces[0, 2], weight, rtol=0.15)


def test_an_explicit_solver_refuses_contact():
    with pytest.raises(ps.InputError, match="explicit"):
        ps.SolverExplicit(pressed_cube(None), dt=1e-4)


def test_a_gradient_knows_the_pairs_after_a_long_way():
    """A small cube falls many of its edges in a step, to the ground."""
    builder = ps.ModelBuilder()
    box = ps.box_mesh((0.004, 0.004, 0.004), (4, 4, 4), origin=(0, 0, 0.13))
    cube = builder.add_soft_body(box, ps.NeoHookean(1e6, 0.3, 1000.0), velocity=(0, 0, -10.0))
    builder.add_ground()
    builder.enable_contact(gap=2e-4)
    solver = ps.SolverImplicit(builder.finalize(), dt=1 / 60, integrator="backward_euler")
    state, report = solver.step(solver.model.state())
    force = solver.assembly.contact.forces()[0, cube.particles].sum(axis=0)
    assert force[2] > 1e-3
    solver.prepare(solver.model.state(), None, solver.model.parameters)
    solver.assembly.place(state.x)
    solver.assembly.evaluate()
    assert np.allclose(solver.assembly.contact.forces()[0, cube.particles].sum(axis=0), force, rtol=1e-6)
    assert np.isclose(solver.assembly.largest(solver.assembly.gradient)[0], report.residual, rtol=1e-3, atol=1e-9)
