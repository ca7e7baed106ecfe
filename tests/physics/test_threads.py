"""Launches sliced over threads give the same bits as one thread, whatever is sliced."""

import multiprocessing
import os

import numpy as np
import pytest
import warp as wp

import physsim as ps
from physsim.physics import launch
from physsim.physics.assembly import Assembly
from physsim.physics.launch import Launcher, _cut, over_environments


def model(envs):
    builder = ps.ModelBuilder()
    mesh = ps.box_mesh((0.3, 0.1, 0.1), (5, 2, 2))
    body = builder.add_soft_body(mesh, ps.NeoHookean(2e4, 0.4, 1000.0, viscosity=5.0), name="solid")
    builder.attach(body, np.flatnonzero(mesh.points[:, 0] < 1e-9))
    net = builder.add_springs(ps.spring_net((40, 40), (0.3, 0.3)), ps.Spring(100.0, 0.05), 0.1, name="net")
    builder.attach(net, [0, 40])
    return builder.finalize("cpu", "float64", envs)


def everything(model, slices, monkeypatch):
    """Every kind of launch of an assembly, as numpy arrays."""
    monkeypatch.setattr(launch, "WORTH_A_THREAD", 0.0)
    monkeypatch.setattr(launch, "thread_count", lambda: 2)
    a = Assembly(model)
    a.launcher = Launcher(model.device, model.envs, slices)
    rng = np.random.default_rng(5)
    shape = (model.envs, model.particle_count, 3)
    for array in (a.x, a.x1, a.x2, a.predictor, a.target):
        wp.copy(array, model.vectors(model.rest + 0.01 * rng.normal(size=shape)))
    u, out = model.vectors(rng.normal(size=shape)), a.vectors(shape[:2])
    a.set_step(100.0, 4 / 3, -1 / 3)
    a.evaluate()
    found = [a.energy.numpy(), a.gradient.numpy(), a.dot(a.gradient, u), a.largest(u), *a.measure_trial()]
    a.combine(a.direction, 1.0, u, 0.0, u)
    found += a.measure_direction()
    a.assemble(3.0)
    found.append(a.values.numpy())
    for operation in (a.product, a.multiply):
        operation(u, out)
        found.append(out.numpy().copy())
    a.begin_adjoint()
    a.adjoint(u, {"x": out})
    found += [out.numpy().copy(), *(g.numpy() for g in a.column_gradients)]
    a.combine(out, 2.0, u, 0.5, a.x)
    return [np.array(f) for f in (*found, out.numpy())]


@pytest.mark.parametrize("envs", [1, 3])
def test_the_same_bits_for_every_number_of_slices(envs, monkeypatch):
    m = model(envs)
    one = everything(m, 1, monkeypatch)
    for slices in (2, 5):
        for a, b in zip(one, everything(m, slices, monkeypatch), strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_run_does_not_depend_on_the_number_of_threads(threads, monkeypatch):
    def run(count, worth):
        monkeypatch.setattr(launch, "WORTH_A_THREAD", worth)
        monkeypatch.setattr(launch, "thread_count", lambda: count)
        m = model(2)
        solver, state = ps.SolverImplicit(m, 1 / 60, linear="cg"), m.state()
        for _ in range(3):
            state, _ = solver.step(state)
        return state.positions

    np.testing.assert_array_equal(run(threads, 0.0), run(1, 1e9))


@pytest.mark.parametrize(
    ("envs", "count", "slices", "by_rows"), [(1, 7, 2, True), (4, 3, 2, True), (4, 9, 2, False), (1, 1, 8, False), (3, 5, 8, True)]
)
def test_slices_cover_a_launch_once(envs, count, slices, by_rows):
    seen = np.zeros((envs, count), int)
    for env, some, row, rows in _cut(envs, count, slices, by_rows):
        assert some > 0 and rows > 0
        seen[env : env + some, row : row + rows] += 1
    assert (seen == 1).all()


def test_results_in_order_and_errors_handed_on(monkeypatch):
    monkeypatch.setattr(launch, "thread_count", lambda: 2)
    assert over_environments(lambda e: e * e, range(20)) == [e * e for e in range(20)]
    with pytest.raises(ZeroDivisionError):
        over_environments(lambda e: 1 // (e - 3), range(6))


def test_parts_are_run_in_turn_on_one_thread(monkeypatch):
    launch._workers.cache_clear()
    monkeypatch.setattr(launch, "thread_count", lambda: 1)
    done = []
    launch._beside([lambda k=k: done.append(k) for k in range(3)])
    assert done == [0, 1, 2] and launch.worker_count() == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_process_has_threads_of_its_own(monkeypatch):
    monkeypatch.setattr(launch, "thread_count", lambda: 2)
    ours = over_environments(lambda e: e, range(4))  # threads run in this process
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(False)
    child = context.Process(target=lambda: sender.send(over_environments(lambda e: e, range(4))), daemon=True)
    child.start()
    try:
        assert receiver.poll(30) and receiver.recv() == ours
    finally:
        child.kill()
        child.join()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores cannot be chosen here")
def test_threads_follow_the_callers_cores_and_run_anywhere_where_they_cannot(monkeypatch):
    launch._workers.cache_clear()
    monkeypatch.setattr(launch, "thread_count", lambda: 2)
    over_environments(lambda e: e, range(4))
    workers = launch._workers()
    workers._current_core = lambda: 0
    asked = []
    monkeypatch.setattr(os, "sched_setaffinity", lambda thread, cores: asked.append(cores))
    for allowed in ({0, 1}, {0, 1}, {0, 3}, {0}):  # the second time nothing has changed
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid, allowed=allowed: allowed)
        workers.submit(int).result()
    assert asked == [{1}, {3}, {0}]

    def refuse(thread, cores):
        asked.append(cores)
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(os, "sched_setaffinity", refuse)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 2})
    assert over_environments(lambda e: e, range(4)) == list(range(4))
    assert workers.submit(int).result() == 0
    assert asked[3:] == [{2}]
    launch._workers.cache_clear()
