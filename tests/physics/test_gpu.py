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


# --- contact -----------------------------------------------------------------------------------------------------------------------


def cloth_over_ball(device, dtype="float64"):
    """A cloth falls on a ball and folds on itself: every kind of pair; (model, None)."""
    builder = ps.ModelBuilder()
    fabric = ps.Shell(stretch=300.0, bending=1e-5, poisson=0.2, area_density=0.2, stretch_damping=0.1)
    builder.add_cloth(ps.sheet_mesh((0.2, 0.2), (10, 10)), fabric, name="cloth")
    builder.add_collider(ps.Sphere(0.05), (0.09, 0.11, -0.0512), name="ball")
    wedge = ps.TriMesh(
        [[0.0, 0.0, 0.0], [0.05, 0.0, 0.0], [0.0, 0.05, 0.0], [0.0, 0.0, 0.03]], [[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]]
    )
    builder.add_collider(wedge, (0.01, 0.01, -0.05), name="wedge")
    builder.enable_contact(friction=0.3, damping=10.0)
    return builder.finalize(device, dtype), None


def grasp(device, dtype="float64", envs=None):
    """Two fingers close on a soft cube, each environment's at its own friction, and lift it; (model, control)."""
    builder = ps.ModelBuilder()
    builder.add_soft_body(ps.box_mesh((0.05, 0.05, 0.05), (2, 2, 2), origin=(0, 0, 6e-4)), ps.NeoHookean(5e4, 0.3, 300.0), name="cube")
    fingers = {"left": (-0.0108, 0.006), "right": (0.0608, -0.006)}
    for name, (x, _) in fingers.items():
        builder.add_collider(ps.Box((0.02, 0.03, 0.03)), (x, 0.025, 0.025), name=name)
    builder.add_ground()
    builder.enable_contact(friction=0.8)
    model = builder.finalize(device, dtype, envs)
    still = np.tile([1.0, 0.0, 0.0, 0.0], (3, 1))
    places = {name: np.array([[x, 0.025, 0.025], [x + way, 0.025, 0.025], [x + way, 0.025, 0.045]]) for name, (x, way) in fingers.items()}
    return model, ps.Control.from_poses(model, [0.0, 0.05, 0.15], {name: (place, still) for name, place in places.items()})


def contact_run(device, scene, steps, params=None, **options):
    """(positions at the end, contact forces' report) of backward Euler steps."""
    model, control = scene(device, **options)
    solver, state = ps.SolverImplicit(model, 1 / 240, "backward_euler", linear="cg"), model.state()
    for _ in range(steps):
        state, report = solver.step(state, control, params)
        assert np.all(report.converged)
    return state.positions


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-6), ("float32", 1e-3)])
@pytest.mark.parametrize("scene", [cloth_over_ball, grasp])
def test_contact_agrees_with_the_cpu(scene, dtype, tolerance):
    """Additions into the matrix are in no order on CUDA, so that bits differ; wrinkles make more of it."""
    ends = [contact_run(device, scene, 20, dtype=dtype) for device in ("cpu", "cuda")]
    np.testing.assert_allclose(ends[1], ends[0], rtol=0, atol=tolerance)


def test_grasps_side_by_side_agree_with_the_cpu():
    friction = np.linspace(0.3, 1.0, 64)[:, None]
    params = {"contact.default-default.friction": friction}
    ends = [contact_run(device, grasp, 30, params, envs=64) for device in ("cpu", "cuda")]
    np.testing.assert_allclose(ends[1], ends[0], rtol=0, atol=1e-5)


def test_gradient_through_contact_agrees_with_the_cpu():
    import torch

    found = []
    for device in ("cpu", "cuda"):
        model, control = grasp(device)
        solver = ps.SolverImplicit(model, 1 / 240, "backward_euler", tolerance=1e-10, linear="cg")
        values = {"cube.young": 5e4, "contact.default-default.friction": 0.8, "contact.default-default.stiffness": 1e4}
        params = {name: torch.tensor(value, dtype=torch.float64, requires_grad=True) for name, value in values.items()}
        ps.simulate(solver, control=control, times=[0.1], params=params).positions[-1].square().sum().backward()
        found.append([params[name].grad.item() * value for name, value in values.items()])
    np.testing.assert_allclose(found[1], found[0], rtol=1e-4, atol=1e-9)
