"""Gradients at the edges: targets that compete, losses that are no number, steps that stop early, one solver's many gradients."""

import numpy as np
import pytest
import torch

import physsim as ps
from physsim.physics.diff import device_exact
from physsim.physics.diff.tangent import TangentRollout
from physsim.physics.diff.torch_bridge import equilibrium
from physsim.physics.solvers.static import SolverStatic

TIGHT = 1e-14  # relative residual asked of the adjoint's linear solves
KINDS = ["implicit", "explicit", "static"]


def hung_net(envs=1, side=3):
    builder = ps.ModelBuilder()
    net = builder.add_springs(ps.spring_net((side, side), (1.0, 1.0)), ps.Spring(100.0, 0.05), 0.1, name="net")
    builder.attach(net, [0, side], name="edge")
    builder.attach(net, [side, 2 * side + 1], stiffness=200.0, name="grip")  # shares a point with the edge
    return builder.finalize(envs=envs)


def solver_of(model, kind, strict=True):
    if kind == "explicit":
        return ps.SolverExplicit(model, 5e-4, strict=strict)
    if kind == "static":
        return SolverStatic(model, tolerance=1e-9, strict=strict)
    return ps.SolverImplicit(model, 0.01, tolerance=1e-11, strict=strict)


def end(solver, **options):
    """Where a run of 0.05 s ends, or the equilibrium."""
    if isinstance(solver, SolverStatic):
        return equilibrium(solver, **options)
    return ps.simulate(solver, times=[0.05], **options).positions[-1]


@pytest.mark.parametrize("kind", KINDS)
def test_of_attachments_with_a_common_point_the_last_one_is_credited(kind, rng):
    model = hung_net()
    rest = {name: model.rest[attachment.particles] for name, attachment in model.attachments.items()}
    shift = {name: torch.tensor(0.01 * rng.normal(size=points.shape), requires_grad=True) for name, points in rest.items()}
    weights = torch.as_tensor(rng.normal(size=model.rest.shape))
    solver = solver_of(model, kind)

    def loss(shift):
        control = ps.Control([0.0], {name: (torch.as_tensor(rest[name]) + shift[name])[None] for name in ("edge", "grip")})
        return (end(solver, control=control, tolerance=TIGHT) * weights).sum()

    loss(shift).backward()
    for name, tensor in shift.items():
        for point in range(2):
            ends = []
            for sign in (1.0, -1.0):
                moved = {n: t.detach().clone() for n, t in shift.items()}
                moved[name][point, 2] += sign * 1e-5
                ends.append(loss(moved).item())
            assert tensor.grad[point, 2].item() == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-5, abs=1e-6)
    assert not shift["edge"].grad[1].any()


@pytest.mark.parametrize("kind", KINDS)
def test_a_loss_that_is_not_a_number_has_no_gradient(kind):
    model = hung_net(envs=2)
    stiffness = torch.full((2, 1), 100.0, dtype=torch.float64, requires_grad=True)

    def backward_of_nan(strict):
        x = end(solver_of(model, kind, strict), params={"net.stiffness": stiffness})
        factors = torch.tensor([1.0, float("nan")], dtype=torch.float64)
        (x.sum((1, 2)) * factors).sum().backward()

    with pytest.raises(ps.SolverError, match=r"state at t = 0.* s is not finite \(environment 1 of 2\)"):
        backward_of_nan(True)
    assert stiffness.grad is None
    backward_of_nan(False)  # each environment by itself, failed ones as NaN
    assert stiffness.grad[0].isfinite().all() and stiffness.grad[0].any()
    assert stiffness.grad[1].isnan().all()


def test_gradients_of_steps_that_stop_at_an_accuracy_say_so_once():
    model = hung_net()
    solver = ps.SolverImplicit(model, 0.01, accuracy=1e-4)
    with pytest.warns(UserWarning, match="accuracy = 0.0001 m") as caught:
        for _ in range(2):
            stiffness = torch.tensor(100.0, dtype=torch.float64, requires_grad=True)
            ps.simulate(solver, times=[0.02], params={"net.stiffness": stiffness}).positions.sum().backward()
    assert len(caught) == 1
    with pytest.warns(UserWarning, match="accuracy"):
        TangentRollout(ps.SolverImplicit(model, 0.01, accuracy=1e-4), {}, 1)


@pytest.mark.parametrize(("linear", "loop"), [("direct", "host"), ("cg", "host"), ("cg", "device")])
def test_gradients_of_one_solver_share_arrays_launches_and_graphs(linear, loop):
    model = hung_net()
    solver = ps.SolverImplicit(model, 0.01, linear=linear, loop=loop)

    def gradient_of_stiffness():
        stiffness = torch.tensor(100.0, dtype=torch.float64, requires_grad=True)
        ps.simulate(solver, times=[0.03], params={"net.stiffness": stiffness}).positions[-1].square().sum().backward()
        return stiffness.grad.item()

    values, kept = [], []
    for _ in range(4):
        values.append(gradient_of_stiffness())
        solves = device_exact.exact_solver(solver, 1e-8)
        kept.append((id(solves), set(solver.assembly._commands), set(solves.graphs.graphs) if loop == "device" else None))
    assert values == values[:1] * 4 and values[0] != 0.0
    assert kept[1:] == kept[1:2] * 3  # the first gradient of a device loop runs launch by launch
    assert kept[0][0] == kept[1][0]


def test_tangents_follow_a_solver_into_double_precision():
    """A seam made so stiff by the run's parameters that the solver takes new arrays at its first step: tangents as of one that has them."""
    found = []
    for stepped in (False, True):
        shell = ps.Shell(stretch=100.0, bending=1e-4, area_density=0.1)
        builder = ps.ModelBuilder()
        left = builder.add_cloth(ps.sheet_mesh((1, 1), (4, 4)), shell)
        right = builder.add_cloth(ps.sheet_mesh((1, 1), (4, 4), origin=(1, 0, 0)), shell)
        seam = builder.sew(left, 4 + 5 * np.arange(5), right, 5 * np.arange(5), stiffness=1e4)
        builder.attach(left, [0, 4])
        model = builder.finalize()
        solver = ps.SolverImplicit(model, linear="cg")
        parameters = model.resolve({seam: 1e9})
        if stepped:
            solver.advance(model.state(), None, parameters)
        follow = TangentRollout(solver, {left.stretch.name: np.ones((1, 1, *left.stretch.shape))}, 1)
        state = model.state()
        for _ in range(2):
            after, _ = solver.advance(state, None, parameters)
            follow.follow(state, after, None, parameters)
            state = after
        assert solver.assembly.block_dtype == "float64"
        found.append(follow.x)
    assert np.abs(found[1]).max() > 0
    np.testing.assert_allclose(found[0], found[1], rtol=0, atol=1e-5 * np.abs(found[1]).max())
