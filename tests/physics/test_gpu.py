"""The same kernels on CUDA: results agree with the CPU's. Skipped where there is no CUDA device."""

import numpy as np
import pytest
import warp as wp

import physsim as ps
from physsim.bench.environments import COUNTS, nets, time_environments

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not wp.get_cuda_device_count(), reason="no CUDA device")]


def build(device, dtype="float64", envs=None, with_net=True):
    builder = ps.ModelBuilder()
    mesh = ps.box_mesh((0.3, 0.1, 0.1), (3, 1, 1), order=2)
    body = builder.add_soft_body(mesh, ps.NeoHookean(2e4, 0.4, 1000.0, viscosity=5.0), name="solid")
    builder.attach(body, np.flatnonzero(mesh.points[:, 0] < 1e-9))
    if with_net:
        net = builder.add_springs(ps.spring_net((6, 6), (0.3, 0.3)), ps.Spring(100.0, 0.05), 0.1, name="net")
        builder.attach(net, [0, 6])
    return builder.finalize(device, dtype, envs)


@pytest.mark.parametrize("integrator", ["bdf2", "backward_euler"])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-8), ("float32", 1e-4)])
def test_implicit_steps_agree_with_the_cpu(integrator, dtype, tolerance):
    ends = []
    for device in ("cpu", "cuda"):
        model = build(device, dtype)
        solver = ps.SolverImplicit(model, 1 / 120, integrator, linear="cg")
        state = model.state()
        for _ in range(10):
            state, report = solver.step(state)
            assert report.converged
        ends.append(state.positions)
    np.testing.assert_allclose(ends[1], ends[0], rtol=0, atol=tolerance)


def test_equilibrium_and_explicit_steps_agree_with_the_cpu():
    rests, ends = [], []
    for device in ("cpu", "cuda"):
        solid = build(device, with_net=False)
        rests.append(ps.solve_equilibrium(solid, linear="cg")[0].positions)
        model = build(device)
        state, _ = ps.SolverExplicit(model, 1e-4).run(model.state(), 50)
        ends.append(state.positions)
    np.testing.assert_allclose(rests[1], rests[0], rtol=0, atol=1e-6)
    np.testing.assert_allclose(ends[1], ends[0], rtol=0, atol=1e-10)


def test_gradient_agrees_with_the_cpu():
    import torch

    found = []
    for device in ("cpu", "cuda"):
        model = build(device)
        young = torch.tensor(2e4, dtype=torch.float64, requires_grad=True)
        solver = ps.SolverImplicit(model, 1 / 120, linear="cg", tolerance=1e-10)
        ps.simulate(solver, times=[0.1], params={"solid.young": young}).positions[-1].sum().backward()
        found.append(float(young.grad))
    assert found[1] == pytest.approx(found[0], rel=1e-5)


def test_the_same_run_gives_the_same_bits():
    ends = []
    for _ in range(2):
        model = build("cuda", envs=3)
        solver, state = ps.SolverImplicit(model, 1 / 120, linear="cg"), model.state()
        for _ in range(5):
            state, _ = solver.step(state)
        ends.append(state.positions)
    np.testing.assert_array_equal(ends[0], ends[1])


@pytest.mark.parametrize("envs", COUNTS)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-7), ("float32", 1e-4)])
def test_many_small_environments_agree_with_the_cpu(envs, dtype, tolerance):
    ends = []
    for device in ("cpu", "cuda"):
        model, state = nets(device, envs, dtype=dtype)
        solver = ps.SolverImplicit(model, 1 / 60, linear="cg")
        assert solver.loop == ("host" if device == "cpu" else "device")
        for _ in range(3):
            state, report = solver.step(state)
            assert np.all(report.converged)
        ends.append(state.positions)
    np.testing.assert_allclose(ends[1], ends[0], rtol=0, atol=tolerance)


@pytest.mark.parametrize("loop", ["eager", "host"])
def test_replayed_graphs_equal(loop):
    """Launch by launch: the same bits. By the host's loop, whose sums are taken in another order: to rounding."""
    ends = []
    for mode in ("graph", loop):
        model, state = nets("cuda", 64, dtype="float64")
        solver = ps.SolverImplicit(model, 1 / 60, linear="cg", loop="host" if mode == "host" else "auto")
        if mode == "eager":
            solver._newton.graphs.wanted = False
        for _ in range(5):
            state, _ = solver.step(state)
        if mode == "graph":
            assert solver._newton.graphs.graphs
        ends.append(state.positions)
    if loop == "eager":
        np.testing.assert_array_equal(ends[0], ends[1])
    np.testing.assert_allclose(ends[0], ends[1], rtol=0, atol=1e-7)


def test_failure_on_the_device_touches_no_other_environment():
    ends = []
    for broken in (False, True):
        model, state = nets("cuda", 64, dtype="float64")
        host = state.x.numpy().copy()
        if broken:
            host[7, 30] = np.nan
        state.x.assign(host)
        solver = ps.SolverImplicit(model, 1 / 60, linear="cg", strict=False)
        for _ in range(4):
            state, report = solver.step(state)
            np.testing.assert_array_equal(report.converged, (np.arange(64) != 7) | (not broken))
        ends.append(np.delete(state.positions, 7, axis=0))
    np.testing.assert_array_equal(ends[0], ends[1])


def test_the_benchs_rows_run():
    for envs in COUNTS:
        row = time_environments("cuda", envs, steps=5)
        assert row["loop"] == "device" and row["failed"] == 0 and row["env_steps_per_s"] > 0
