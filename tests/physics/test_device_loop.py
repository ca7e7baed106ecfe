"""Newton's loop on the device against the loop on the host, launch by launch and as a replayed graph (CPUs capture graphs, too)."""

import threading

import numpy as np
import pytest
import warp as wp

import physsim as ps
from physsim.bench.environments import time_environments
from physsim.physics import launch
from physsim.physics.diff.device_exact import DeviceExactSolver
from physsim.physics.diff.exact import ExactSolver
from physsim.physics.launch import Command
from physsim.physics.solvers import device_newton
from physsim.physics.solvers.linear import Iterative


def net(dtype="float64", envs=3):
    builder = ps.ModelBuilder()
    body = builder.add_springs(ps.spring_net((6, 6), (1.0, 1.0)), ps.Spring(300.0, 0.01), 0.2, name="net")
    builder.attach(body, [0, 6], name="corners")
    return builder.finalize("cpu", dtype, envs)


def solid(dtype="float64", envs=3, order=1):
    builder = ps.ModelBuilder()
    mesh = ps.box_mesh((0.3, 0.1, 0.1), (3, 1, 1), order=order)
    body = builder.add_soft_body(mesh, ps.NeoHookean(2e4, 0.4, 1000.0, viscosity=5.0), name="body")
    builder.attach(body, np.flatnonzero(mesh.points[:, 0] < 1e-9), name="end")
    builder.attach(body, np.flatnonzero(mesh.points[:, 0] > 0.3 - 1e-9), stiffness=50.0, name="grip")
    return builder.finalize("cpu", dtype, envs)


def control_of(model):
    """Attachments pulled aside over 0.1 s, each environment another way."""
    name = next(iter(model.attachments))
    points = model.rest[model.attachments[name].particles]
    shift = 0.05 * np.random.default_rng(2).normal(size=(model.envs, 1, 3))
    return ps.Control([0.0, 0.1], {name: np.stack([np.broadcast_to(points, (model.envs, *points.shape)), points + shift])})


def solver_of(model, mode, native=True, kind=ps.SolverImplicit, **options):
    """A solver whose loop is "host", "eager" (device, launch by launch) or "graph"."""
    options = {"linear": "cg", **options, "loop": "host" if mode == "host" else "device"}
    solver = kind(model, **options)
    if mode != "host":
        if not native:
            old = solver._newton
            solver.linear = Iterative(solver.assembly, native=False)
            limits = (old.tolerance, old.max_iterations, old._smallest_step / (4 * old._precision))
            solver._newton = device_newton.DeviceNewton(solver.assembly, solver.linear, *limits)
        solver._newton.graphs.wanted = mode == "graph"
    return solver


def run(model, solver, steps, start=None, control=None):
    state = model.state(start)
    reports = []
    for _ in range(steps):
        state, report = solver.step(state, control)
        reports.append(report)
    return state, reports


@pytest.mark.parametrize("scene", [net, solid])
@pytest.mark.parametrize("integrator", ["bdf2", "backward_euler"])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("native", [True, False])
def test_device_and_host_loops_agree(scene, integrator, dtype, native):
    """The same iterations and positions; nets start where the exact Hessian is indefinite (compressed springs)."""
    model = scene(dtype)
    start = model.rest + 0.02 * np.random.default_rng(0).normal(size=(3, *model.rest.shape)) * (scene is net)
    control = control_of(model)
    ends = {}
    for mode in ("host", "eager", "graph"):
        solver = solver_of(model, mode, native, integrator=integrator, dt=1 / 100)
        ends[mode] = run(model, solver, 5, start, control)
        assert solver.loop == ("host" if mode == "host" else "device")
    host, reports = ends["host"]
    for mode in ("eager", "graph"):
        state, found = ends[mode]
        if native:
            np.testing.assert_allclose(state.positions, host.positions, rtol=0, atol=1e-12 if dtype == "float64" else 2e-6)
            for a, b in zip(found, reports, strict=True):
                np.testing.assert_array_equal(a.iterations, b.iterations)
                assert a.linear_iterations == b.linear_iterations
        np.testing.assert_allclose(state.positions, host.positions, rtol=0, atol=1e-5)
        assert all(np.all(r.converged) and np.all(r.residual <= solver._newton.tolerance) for r in found)
    np.testing.assert_array_equal(ends["graph"][0].positions, ends["eager"][0].positions)


@pytest.mark.parametrize("mode", ["eager", "graph"])
@pytest.mark.parametrize("native", [True, False])
def test_a_failing_environment_touches_no_other(mode, native):
    model = net()
    start = np.array(np.broadcast_to(model.rest, (3, *model.rest.shape)))
    whole = run(model, solver_of(model, mode, native, strict=False), 4, start)[0].positions
    start[1, 20] = np.inf
    with np.errstate(invalid="ignore", over="ignore"):
        bad = model.state()
        host = bad.x.numpy()
        host[1, 20] = np.nan
        solver = solver_of(model, mode, native, strict=False)
        state = bad
        for _ in range(4):
            state, report = solver.step(state)
            np.testing.assert_array_equal(report.converged, [True, False, True])
    np.testing.assert_array_equal(state.positions[[0, 2]], whole[[0, 2]])
    kept = state.positions[1]
    assert np.isnan(kept[20]).all() and np.array_equal(kept[21], model.rest[21])  # where it was
    with pytest.raises(ps.SolverError, match="environment 1 of 3"):
        solver_of(model, mode, native).step(bad)


@pytest.mark.parametrize("mode", ["host", "eager", "graph"])
def test_too_few_iterations_are_a_failure(mode):
    """Environment 0 stands still; the others are far from equilibrium."""
    model = net()
    velocities = np.zeros((3, *model.rest.shape))
    velocities[1:] = 30.0 * np.random.default_rng(3).normal(size=velocities[1:].shape)
    solver = solver_of(model, mode, strict=False, max_iterations=2)
    for _ in range(3):
        state, report = solver.step(model.state(velocities=velocities), params={"gravity": [[0.0, 0.0, 0.0]]})
        np.testing.assert_array_equal(report.converged, [True, False, False])
        np.testing.assert_array_equal(report.iterations[1:], [2, 2])
        np.testing.assert_array_equal(state.positions[1:], np.broadcast_to(model.rest, (2, *model.rest.shape)))


@pytest.mark.parametrize("native", [True, False])
def test_equilibria_agree(native):
    model = solid(order=2)
    found = []
    for mode in ("host", "eager", "graph"):
        solver = solver_of(model, mode, native, kind=ps.SolverStatic)
        for gravity in (9.81, 3.0, 9.81):  # parameters change under the same graph
            state, report = solver.solve(params={"gravity": [[0.0, 0.0, -gravity]]})
            assert report.converged.all()
        found.append(state.positions)
    np.testing.assert_allclose(found[1], found[0], rtol=0, atol=1e-7)
    np.testing.assert_array_equal(found[2], found[1])


def test_graphs_follow_step_size_scheme_control_and_parameters():
    """One solver, replayed graphs, everything else changing: as a host loop."""
    model = net(envs=2)
    control, ends = control_of(model), []
    for mode in ("host", "graph"):
        solver = solver_of(model, mode, dt=1 / 100)
        state, found = model.state(), []
        for k in range(8):
            if k == 5:
                state = model.state(state.positions)  # no history: another scheme
            params = {"net.stiffness": 200.0 + 30.0 * k}
            state, _ = solver.step(state, control if k % 3 else None, params)
            found.append(state.positions)
        ends.append(found)
    np.testing.assert_allclose(ends[1], ends[0], rtol=0, atol=1e-12)


def loss_gradients(model, loop, steps):
    """Gradients of a sum of squares by stiffness, per environment, and by the start; residual of the linear solves."""
    import torch

    solver = ps.SolverImplicit(model, 1 / 100, linear="cg", loop=loop, tolerance=1e-11)
    value = torch.full((model.envs, 1), 300.0, dtype=torch.float64, requires_grad=True)
    start = torch.tensor(np.broadcast_to(model.rest, (model.envs, *model.rest.shape)).copy(), requires_grad=True)
    trajectory = ps.simulate(solver, times=[steps / 100], params={next(iter(model.bodies)) + ".stiffness": value}, positions=start)
    trajectory.positions[-1].square().sum().backward()
    return value.grad.numpy(), start.grad.numpy()


def test_gradients_follow_the_device_loop():
    found = [loss_gradients(net(envs=3), loop, 8) for loop in ("host", "device")]
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(b, a, rtol=0, atol=1e-8 * np.abs(a).max())


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize("amount", [2e-5, 2e-3])
def test_exact_solves_agree(graph, amount):
    """Near rest the Hessian is definite; far from it some environments need a projected preconditioner or MINRES."""
    model = net(envs=4)
    solver = ps.SolverImplicit(model, 1 / 30, linear="cg", loop="device")
    a = solver.assembly
    a.set_step(20.0, 1.0, 0.0)
    rng = np.random.default_rng(4)
    x = model.vectors(model.rest + amount * np.arange(4)[:, None, None] * rng.normal(size=(4, *model.rest.shape)))
    rights = [model.vectors(rng.normal(size=x.shape + (3,))) for _ in range(3)]
    rights[1].assign(rights[1].numpy() * np.array([0.0, 1.0, 1.0, 0.0])[:, None, None])  # two have nothing to do
    found, right, out = [], a.vectors(x.shape), a.vectors(x.shape)
    for kind in (ExactSolver, DeviceExactSolver):
        exact = kind(a, solver.linear, 1e-10)
        if kind is DeviceExactSolver:
            exact.graphs.wanted = graph
        wp.copy(a.x, x)
        exact.at_new_point()
        ends = []
        for source in rights:
            wp.copy(right, source)
            exact.solve(right, out)
            ends.append(out.numpy().copy())
        found.append(ends)
        assert exact.worst < (1e-9 if amount < 1e-3 else 1e-4)  # MINRES on an indefinite matrix goes less far
        assert (exact.indefinite > 0) == (amount > 1e-3)
    for a_end, b_end in zip(*found, strict=True):
        np.testing.assert_allclose(b_end, a_end, rtol=0, atol=1e-6 * np.abs(a_end).max())


@pytest.mark.parametrize("kind", [ExactSolver, DeviceExactSolver])
def test_exact_solves_of_environments_with_nothing_to_do_or_without_a_number(kind, monkeypatch):
    """Idle environments cost nothing; a right side that is not finite has no solution, and leaves the others theirs."""
    model = net(envs=3)
    solver = ps.SolverImplicit(model, 1 / 30, linear="cg", loop="device")
    a = solver.assembly
    a.set_step(200.0, 1.0, 0.0)
    wp.copy(a.x, a.rest)
    exact = kind(a, solver.linear, 1e-10, *([False] if kind is DeviceExactSolver else []))  # a capture takes every branch
    exact.at_new_point()
    for name in ("assemble", "assemble_blocks"):
        monkeypatch.setattr(a, name, lambda *args: pytest.fail("assembled again"))
    right, out = (a.vectors((3, model.particle_count)) for _ in range(2))
    values = np.random.default_rng(1).normal(size=(3, model.particle_count, 3))
    values[2] = 0.0
    right.assign(values)
    exact.solve(right, out)
    good = out.numpy().copy()
    assert np.isfinite(good).all() and not good[2].any() and exact.worst <= 1e-10
    for bad in (np.nan, np.inf):
        values[1, 20] = bad
        right.assign(values)
        exact.solve(right, out)
        np.testing.assert_array_equal(out.numpy()[[0, 2]], good[[0, 2]])
        assert np.isnan(out.numpy()[1]).all()
    assert exact.worst <= 1e-10


def test_launches_of_one_operation_each_are_counted_and_announced(monkeypatch):
    announced, announce = set(), launch.announce
    monkeypatch.setattr(launch, "announce", lambda kernel, device: announced.add(kernel.key) or announce(kernel, device))
    a = solver_of(net(), "host").assembly
    a.set_step(200.0, 1.0, 0.0)
    wp.copy(a.x, a.rest)
    a.assemble()
    linear = Iterative(a, native=False)
    before = Command.count
    right = a.vectors(a.x.shape)
    right.fill_(1.0)
    assert linear.solve(right, a.direction, 1e-6).all()
    assert announced
    assert Command.count - before > 7 * linear.iterations.numpy().max() > 0


def test_loop_is_checked():
    model = solid(envs=1)
    with pytest.raises(ps.InputError, match="auto, host, device"):
        ps.SolverImplicit(model, loop="gpu")
    with pytest.raises(ps.InputError, match="linear='cg'"):
        ps.SolverImplicit(model, linear="direct", loop="device")
    assert ps.SolverImplicit(model, linear="cg").loop == "host"


def test_nothing_is_captured_while_another_thread_runs(monkeypatch):
    monkeypatch.setattr(threading, "active_count", lambda: 99)
    monkeypatch.setattr(wp, "ScopedCapture", lambda *a, **k: pytest.fail("captured"))
    model = net()
    run(model, solver_of(model, "graph"), 4)


@pytest.mark.parametrize("loop", ["host", "device"])
def test_the_benchs_row_of_many_environments(loop):
    row = time_environments("cpu", 3, side=5, steps=3, loop=loop)
    assert row["loop"] == loop and row["envs"] == 3 and row["particles"] == 25 and row["failed"] == 0
    assert row["env_steps_per_s"] == pytest.approx(3 / row["step_s"])


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_steps_that_stop_at_an_accuracy_agree(dtype):
    model = net(dtype)
    start = model.rest + 0.02 * np.random.default_rng(0).normal(size=(3, *model.rest.shape))
    runs = {mode: run(model, solver_of(model, mode, accuracy=1e-4, tolerance=1e-9), 6, start) for mode in ("host", "eager", "graph")}
    assert max(np.max(r.residual) for r in runs["host"][1]) > 1e-9  # the accuracy stopped them
    for mode in ("eager", "graph"):
        np.testing.assert_allclose(runs[mode][0].positions, runs["host"][0].positions, rtol=0, atol=1e-12 if dtype == "float64" else 2e-6)
        for a, b in zip(runs[mode][1], runs["host"][1], strict=True):
            np.testing.assert_array_equal(a.iterations, b.iterations)
