"""What contact steps leave out: starts that are solutions, blocks that are kept; and that nothing comes out of it but less work."""

import numpy as np
import pytest

import physsim as ps
from physsim.physics.solvers.newton import Newton


def cube_model(height, envs=None, velocity=(0.0, 0.0, 0.0), friction=0.5):
    mesh = ps.box_mesh((0.05,) * 3, (3,) * 3, origin=(0.0, 0.0, height))
    builder = ps.ModelBuilder()
    builder.add_soft_body(mesh, ps.NeoHookean(5e4, 0.3, 300.0, viscosity=5.0), velocity=velocity)
    builder.add_ground()
    builder.enable_contact(friction=friction)
    return builder.finalize(envs=envs)


def test_a_free_fall_is_known_before_it_is_solved():
    """Its acceleration stays what it is: a solve begins where it ends."""
    solver = ps.SolverImplicit(cube_model(5.0), dt=1 / 240, integrator="backward_euler")
    state, iterations = solver.model.state(), []
    for _ in range(8):
        state, report = solver.step(state)
        iterations.append(report.iterations)
    assert iterations[0] > 0
    assert iterations[4:] == [0] * 4


def test_accelerations_count_as_steady_where_they_repeat():
    """Weighted by mass: 1 in free fall, less after a hit, and by environments."""
    model = cube_model(0.01, envs=2)
    above = model.expand("positions", model.positions).copy()
    above[1, :, 2] += np.where(model.free, 1.0, 0.0)
    solver = ps.SolverImplicit(model, dt=1 / 240, integrator="backward_euler")
    state = model.state(positions=above)
    shares = []
    for _ in range(24):
        state, _ = solver.step(state)
        if state.steady is not None:
            sums = state.steady.numpy().sum(axis=1)
            shares.append(sums[:, 0] / sums[:, 1])
    shares = np.array(shares)
    np.testing.assert_allclose(shares[:, 1], 1.0, rtol=1e-9)
    assert shares[:, 0].min() < 0.5


@pytest.mark.parametrize("envs", [None, 2])
def test_blocks_that_are_kept_change_no_solution(envs, monkeypatch):
    """A cube that lands and slides, with the blocks of its tetrahedra kept in a solve's last iteration and made anew in each."""
    model = cube_model(0.0015, envs, velocity=(0.3, 0.0, 0.0))
    kept, ends = [], []
    for keep in (True, False):
        solver = ps.SolverImplicit(model, dt=1 / 240, integrator="backward_euler")
        assemble = solver.assembly.assemble_blocks
        monkeypatch.setattr(
            solver.assembly, "assemble_blocks", lambda c, k, a=assemble: (kept.append(int(np.count_nonzero(k))), a(c, k))[1]
        )
        if not keep:
            monkeypatch.setattr(Newton, "_kept", lambda self, p, project: np.zeros(len(project), bool))
            del kept[:]
        state = model.state()
        for _ in range(40):
            state, report = solver.step(state)
            assert np.all(report.converged)
        if keep:
            assert sum(kept) > 10
        ends.append(state.positions)
    assert sum(kept) == 0
    np.testing.assert_allclose(*ends, atol=1e-8)


@pytest.mark.filterwarnings("error")
def test_environments_without_any_force_rest_beside_one_that_lands():
    """To the bit, and without a warning of numpy's."""
    mesh = ps.box_mesh((0.05,) * 3, (2,) * 3, origin=(0.0, 0.0, 0.0015))
    builder = ps.ModelBuilder(gravity=(0, 0, 0))
    builder.add_soft_body(mesh, ps.NeoHookean(5e4, 0.3, 300.0))
    builder.add_ground()
    builder.enable_contact()
    model = builder.finalize(envs=2)
    velocities = np.where(model.free[:, None], [0.3, 0.0, -0.5], 0.0) * np.array([0.0, 1.0])[:, None, None]
    solver, state = ps.SolverImplicit(model, dt=1 / 240, integrator="backward_euler"), model.state(velocities=velocities)
    iterations = []
    for _ in range(6):
        state, report = solver.step(state)
        iterations.append(report.iterations)
    assert np.sum(iterations, axis=0)[0] == 0 < np.sum(iterations, axis=0)[1]
    np.testing.assert_array_equal(state.positions[0], model.positions)
