"""Gradients of whole simulations: Taylor and difference tests on a model of every law, adjoint against tangent, closed forms.

The sums that are compared ride as environments of one model, so that a difference test is one simulation.
"""

import gc
import weakref

import numpy as np
import pytest
import torch

import physsim as ps
from physsim.physics.diff import exact
from physsim.physics.diff.adjoint import Rollout, backward
from physsim.physics.diff.tangent import TangentRollout, equilibrium_tangent
from physsim.physics.diff.torch_bridge import equilibrium
from physsim.physics.solvers.static import SolverStatic

TIMES = np.array([0.013, 0.04, 0.0533, 0.1])  # [s]: between steps and on them
DT = 0.01
# The tangent's right sides are fourth-order differences with a relative step of 1e-3: 3e-10 of truncation by Poisson's ratio (a rational
# function), 1e-10 of rounding elsewhere. In float32 solves of 1e-6 add up over the steps to 2e-5.
GAP = 2e-9
TIGHT = 1e-14  # relative residual asked of the adjoint's linear solves

schemes = pytest.mark.parametrize("integrator", ["backward_euler", "bdf2"])
linears = pytest.mark.parametrize("linear", ["direct", "cg"])


def mixed_model(envs=1, dtype="float64"):
    """A viscous ten-node block on a moving clamp and a damped net on tethers, with a weight and a load: every law at once."""
    builder = ps.ModelBuilder(gravity=(0.5, -0.4, -9.81))
    mesh = ps.box_mesh((0.2, 0.1, 0.1), (1, 1, 1), order=2)
    rows = np.linspace(0.0, 1.0, 5)
    material = ps.NeoHookean(2e4 + 2e4 * rows, 0.2 + 0.2 * rows, 900.0 + 200.0 * rows, viscosity=5.0 + 15.0 * rows, mass_damping=0.5)
    solid = builder.add_soft_body(mesh, material, name="solid")
    builder.attach(solid, np.flatnonzero(mesh.points[:, 0] == 0.0), name="clamp")
    builder.add_mass(solid, [5, 7], 0.1)
    builder.add_load(solid, [6], (0.1, 0.2, 0.1))
    net = builder.add_springs(ps.spring_net((2, 2), (0.2, 0.2)), ps.Spring(100.0, 0.1), np.linspace(0.01, 0.02, 9), name="net")
    builder.attach(net, [0, 2], stiffness=50.0, name="hook")
    builder.attach(net, [6, 8], name="pin")
    return builder.finalize(envs=envs, dtype=dtype)


def rubber(poisson=0.3, envs=1, young=2e4, gravity=9.81):
    """A block hanging from its top, of five ten-node tetrahedra."""
    mesh = ps.box_mesh((0.1, 0.1, 0.1), (1, 1, 1), order=2)
    builder = ps.ModelBuilder(gravity=(0.0, 0.0, -gravity))
    body = builder.add_soft_body(mesh, ps.NeoHookean(young, poisson), name="block")
    builder.attach(body, np.flatnonzero(mesh.points[:, 2] == 0.1), name="top")
    return builder.finalize(envs=envs)


def draw_inputs(model, rng):
    """Everything that a run may be differentiated by, one environment's values: dict name -> array, parameters by their names."""
    values = {name: model.parameters[name][0] * rng.uniform(0.9, 1.1, model.parameters[name][0].shape) for name in model.parameters.names()}
    values["net.mass_damping"] = np.array([0.3])  # away from its bound
    positions = model.rest + 0.003 * rng.normal(size=model.rest.shape)
    velocities = 0.3 * rng.normal(size=model.rest.shape)
    targets = {}
    for name in ("clamp", "hook"):  # the pin stays undriven
        rest = model.rest[model.attachments[name].particles]
        targets["target " + name] = rest + 0.01 * rng.normal(size=(3, *rest.shape))
    return values | {"positions": positions, "velocities": velocities} | targets


def scales_of(inputs):
    """Size by which each input may be moved, so that a change of one part in a hundred of it means the same for all."""
    scales = {name: np.abs(value).mean() * np.ones_like(value) for name, value in inputs.items()}
    for name in inputs:
        if name == "positions" or name.startswith("target"):
            scales[name] = 0.02 * np.ones_like(inputs[name])
    return scales


def stacked(inputs, directions):
    """Inputs of many environments: `inputs` moved along each of `directions` (dicts that may lack names)."""
    return {name: np.stack([value + d.get(name, 0.0) for d in directions]) for name, value in inputs.items()}


def simulate(solver, inputs, times=TIMES, **options):
    """`ps.simulate` with every input; entries are tensors or arrays with the environment axis first."""
    targets = {name.removeprefix("target "): value for name, value in inputs.items() if name.startswith("target")}
    swap = {name: value.swapaxes(0, 1) for name, value in targets.items()}  # [k, envs, points, 3]
    control = ps.Control([0.0, 0.03, 0.09], swap)
    params = {name: value for name, value in inputs.items() if name in solver.model.parameters.names()}
    start = {name: inputs[name] for name in ("positions", "velocities")}
    return ps.simulate(solver, control=control, times=times, params=params, tolerance=TIGHT, **start, **options)


class Loss:
    """A smooth function of the sampled motion with first and second derivatives of order one."""

    def __init__(self, model, frames, rng):
        shape = (frames, 1, model.particle_count, 3)
        self.weights = [torch.as_tensor(rng.normal(size=shape)) for _ in range(3)]
        self.rest = torch.tensor(model.rest)

    def __call__(self, trajectory):
        """One number an environment."""
        a, b, c = self.weights
        x, v = trajectory.positions.double() - self.rest, trajectory.velocities.double()
        return (a * x + 30.0 * x**2 + 0.1 * b * v + 0.1 * c * x * v).sum((0, 2, 3))


def gradient(solver, inputs, loss, **options):
    """(gradients, value) of a loss of one environment by the adjoint."""
    tensors = {name: torch.tensor(value[None], requires_grad=True) for name, value in inputs.items()}
    trajectory = simulate(solver, tensors, **options)
    value = loss(trajectory).sum()
    value.backward()
    assert trajectory.gradients.residual < 1e-10
    return {name: t.grad.numpy()[0] for name, t in tensors.items()}, value.item()


def solver_of(model, kind, linear="direct"):
    if kind == "explicit":
        return ps.SolverExplicit(model, DT / 20)
    return ps.SolverImplicit(model, DT, kind, tolerance=1e-11, linear=linear)


CASES = [("backward_euler", "direct"), ("bdf2", "direct"), ("bdf2", "cg"), ("backward_euler", "cg"), ("explicit", "none")]
cases = pytest.mark.parametrize(("kind", "linear"), CASES, ids=["-".join(c) for c in CASES])


@cases
def test_taylor_remainder_falls_by_four_when_the_step_halves(kind, linear, rng):
    """Every input moves at once along a random direction."""
    model = mixed_model()
    inputs, loss = draw_inputs(model, rng), Loss(model, len(TIMES), rng)
    direction = {name: scale * rng.normal(size=scale.shape) for name, scale in scales_of(inputs).items()}
    found, _ = gradient(solver_of(model, kind, linear), inputs, loss)
    slope = sum((found[name] * d).sum() for name, d in direction.items())
    steps = 1e-4 * 0.5 ** np.arange(5)
    moved = stacked(inputs, [{}, *({name: h * d for name, d in direction.items()} for h in steps)])
    many = solver_of(mixed_model(envs=6), kind, linear)
    trajectory = simulate(many, moved)
    # a square about the unmoved run adds nothing to the slope and keeps the second order from vanishing by chance
    square = (trajectory.positions - trajectory.positions[:, :1]).square().sum((0, 2, 3))
    values = (loss(trajectory) + 1e3 * square).numpy()
    remainders = np.abs(values[1:] - values[0] - steps * slope)
    rates = np.log2(remainders[1:-1] / remainders[2:])  # three halvings, after one that brings the third order down
    assert ((rates > 1.9) & (rates < 2.1)).all(), rates


@cases
def test_gradient_by_each_input_equals_central_differences(kind, linear, rng):
    """Every parameter, the initial state and the control's targets: five-point differences along random directions, 1e-6."""
    model = mixed_model()
    inputs, loss = draw_inputs(model, rng), Loss(model, len(TIMES), rng)
    found, _ = gradient(solver_of(model, kind, linear), inputs, loss)
    h = 3e-4
    directions, moves = {}, []
    for name, scale in scales_of(inputs).items():
        d = scale * rng.choice([-1.0, 1.0], size=scale.shape) * rng.uniform(0.5, 1.0, size=scale.shape)
        directions[name] = d
        moves += [{name: h * k * d} for k in (1, -1, 2, -2)]
    many = solver_of(mixed_model(envs=len(moves)), kind, linear)
    values = loss(simulate(many, stacked(inputs, moves))).numpy().reshape(-1, 4)
    slopes = (8 * (values[:, 0] - values[:, 1]) - (values[:, 2] - values[:, 3])) / (12 * h)
    size = np.abs(slopes).max()
    for (name, d), slope in zip(directions.items(), slopes, strict=True):
        assert (found[name] * d).sum() == pytest.approx(slope, rel=1e-6, abs=1e-9 * size), name


@pytest.mark.parametrize("kind", ["bdf2", "explicit"])
@pytest.mark.parametrize("keep_every", [2, 3, 7, 1000])
def test_checkpoints_give_the_same_gradient(kind, keep_every, rng):
    model = mixed_model()
    inputs, loss = draw_inputs(model, rng), Loss(model, len(TIMES), rng)
    whole, value = gradient(solver_of(model, kind), inputs, loss)
    thin, again = gradient(solver_of(model, kind), inputs, loss, keep_every=keep_every)
    assert again == value
    for name in whole:
        np.testing.assert_allclose(thin[name], whole[name], rtol=1e-9, atol=1e-12 * np.abs(whole[name]).max(), err_msg=name)


@cases
def test_gradients_of_environments_equal_those_of_single_runs(kind, linear, rng):
    one = mixed_model()
    runs = [draw_inputs(one, rng) for _ in range(4)]
    loss = Loss(one, len(TIMES), rng)
    together = {name: torch.tensor(np.stack([r[name] for r in runs]), requires_grad=True) for name in runs[0]}
    loss(simulate(solver_of(mixed_model(envs=4), kind, linear), together)).sum().backward()
    solver = solver_of(one, kind, linear)
    for env, inputs in enumerate(runs):
        alone, _ = gradient(solver, inputs, loss)
        for name in alone:
            size = np.abs(alone[name]).max()
            np.testing.assert_allclose(together[name].grad.numpy()[env], alone[name], rtol=1e-7, atol=1e-9 * size, err_msg=name)


# --- adjoint against tangent -------------------------------------------------------------------------------------------------------


def dot_products(model, integrator, linear, rng, names=None, states=True, tolerance=TIGHT):
    """<J u, w>, <u, J^T w> and their scale, for random u (parameters `names`, initial state) and w (every state of ten steps)."""
    solver = ps.SolverImplicit(model, DT, integrator, linear=linear, tolerance=1e-9 if model.dtype == "float64" else None)
    inputs = draw_inputs(model, rng)
    values = {name: inputs[name] for name in model.parameters.names()}
    control = ps.Control([0.0, 0.03, 0.09], {"clamp": inputs["target clamp"], "hook": inputs["target hook"]})
    parameters = model.parameters.replace(values)
    rollout = Rollout(solver, model.state(inputs["positions"], inputs["velocities"]), parameters, control)
    scales = scales_of(inputs)
    names = list(values) if names is None else names
    u = {name: inputs[name] * rng.uniform(-0.8, 0.8, size=inputs[name].shape) for name in names}
    u |= {name: scales[name] * rng.normal(size=scales[name].shape) for name in ("positions", "velocities")}
    if not states:
        u["positions"], u["velocities"] = 0.0 * u["positions"], 0.0 * u["velocities"]
    tangents = {name: u[name][None, None] for name in names}
    follow = TangentRollout(solver, tangents, 1, u["positions"][None, None], u["velocities"][None, None], tolerance=tolerance)
    w = [[rng.normal(size=(1, model.particle_count, 3)) * s for s in (1.0, 0.1)] for _ in range(11)]
    left = (follow.x[0] * w[0][0]).sum() + (follow.v[0] * w[0][1]).sum()
    for k in range(10):
        before = rollout.last
        after = rollout.advance()
        follow.follow(before, after, rollout.targets(k), parameters)
        left += (follow.x[0] * w[k + 1][0]).sum() + (follow.v[0] * w[k + 1][1]).sum()
    found = backward(rollout, lambda k: w[k], tolerance)
    right = (found.positions[0] * u["positions"]).sum() + (found.velocities[0] * u["velocities"]).sum()
    right += sum((found.parameters[name][0] * u[name]).sum() for name in names)
    size = np.linalg.norm(follow.x) * np.linalg.norm(w[-1][0]) + np.linalg.norm(follow.v) * np.linalg.norm(w[-1][1])
    return left, right, size


@schemes
@linears
def test_tangent_and_adjoint_are_transposes(integrator, linear, rng):
    left, right, size = dot_products(mixed_model(), integrator, linear, rng)
    print(f"dot-product gap {abs(left - right) / size:.1e}")
    assert abs(left - right) < GAP * size


@schemes
def test_tangent_and_adjoint_are_transposes_for_the_initial_state_alone(integrator, rng):
    left, right, size = dot_products(mixed_model(), integrator, "direct", rng, names=["gravity"])
    print(f"dot-product gap {abs(left - right) / size:.1e}")
    assert abs(left - right) < GAP * size


@pytest.mark.parametrize("name", mixed_model().parameters.names())
def test_tangent_and_adjoint_are_transposes_for_each_parameter(name, rng):
    left, right, size = dot_products(mixed_model(), "bdf2", "direct", rng, names=[name], states=False)
    print(f"dot-product gap {abs(left - right) / size:.1e}")
    assert abs(left - right) < GAP * size


@schemes
@linears
def test_tangent_and_adjoint_are_transposes_in_float32(integrator, linear, rng):
    left, right, size = dot_products(mixed_model(dtype="float32"), integrator, linear, rng, tolerance=1e-6)
    print(f"dot-product gap {abs(left - right) / size:.1e}")
    assert abs(left - right) < 1e-4 * size


def test_tangent_by_poisson_holds_near_incompressibility(rng):
    """At 0.499 Poisson's ratio may move by less than 0.001: a difference must not step over one half."""
    model = rubber(poisson=0.499)
    static = SolverStatic(model, tolerance=1e-10)
    state, _ = static.solve()
    moved = equilibrium_tangent(static, state, {"block.poisson": np.ones((1, 1, 5))}, 1, tolerance=TIGHT)[0, 0]
    w = rng.normal(size=moved.shape)
    poisson = torch.full((1, 5), 0.499, dtype=torch.float64, requires_grad=True)
    (equilibrium(static, params={"block.poisson": poisson}, tolerance=TIGHT)[0] * torch.as_tensor(w)).sum().backward()
    assert (moved * w).sum() == pytest.approx(poisson.grad.sum().item(), rel=1e-6, abs=1e-9 * np.linalg.norm(moved) * np.linalg.norm(w))


def test_tangent_of_a_fixed_point_without_control_goes_on_beside_a_driven_one():
    model = mixed_model()
    clamp, pin = (model.attachments[name].particles for name in ("clamp", "pin"))
    control = ps.Control([0.0], {"clamp": model.rest[clamp][None]})
    solver = ps.SolverImplicit(model, DT)
    u = np.zeros((1, 1, model.particle_count, 3))
    u[:, :, pin] = 1.0
    rollout = Rollout(solver, model.state(), model.parameters, control)
    follow = TangentRollout(solver, {}, 1, u)
    before = rollout.last
    follow.follow(before, rollout.advance(), rollout.targets(0), model.parameters)
    np.testing.assert_allclose(follow.x[:, :, pin], 1.0)


# --- static equilibria -------------------------------------------------------------------------------------------------------------


def static_inputs(model, rng):
    inputs = draw_inputs(model, rng)
    inputs["net.rest_length"] *= 0.8  # taut: a slack net has many equilibria, and a difference may end in another one
    return {name: value for name, value in inputs.items() if name not in ("positions", "velocities")}


def settle(solver, inputs):
    """Equilibrium positions, torch, [envs, n, 3], of the mixed model whose clamp and hook are moved."""
    control = ps.Control([0.0, 1.0, 2.0], {n: inputs["target " + n].swapaxes(0, 1) for n in ("clamp", "hook")})
    params = {name: value for name, value in inputs.items() if not name.startswith("target")}
    return equilibrium(solver, solver.model.state(time=0.4), control, params=params, tolerance=TIGHT)


@linears
def test_gradient_of_an_equilibrium_equals_central_differences(linear, rng):
    """Every parameter and the control's targets at a time between two keys; what is of rates alone has no influence."""
    model = mixed_model()
    inputs = static_inputs(model, rng)
    weights = torch.as_tensor(rng.normal(size=model.rest.shape))
    tensors = {name: torch.tensor(value[None], requires_grad=True) for name, value in inputs.items()}
    (settle(SolverStatic(model, tolerance=1e-11, linear=linear), tensors) * weights).sum().backward()
    directions, moves = {}, []
    h = 3e-4
    for name, scale in scales_of(inputs).items():
        directions[name] = scale * rng.uniform(0.5, 1.0, size=scale.shape) * rng.choice([-1.0, 1.0], size=scale.shape)
        moves += [{name: h * k * directions[name]} for k in (1, -1, 2, -2)]
    many = SolverStatic(mixed_model(envs=len(moves)), tolerance=1e-11, linear=linear)
    values = (settle(many, stacked(inputs, moves)) * weights).sum((1, 2)).numpy().reshape(-1, 4)
    slopes = (8 * (values[:, 0] - values[:, 1]) - (values[:, 2] - values[:, 3])) / (12 * h)
    for (name, d), slope in zip(directions.items(), slopes, strict=True):
        found = (tensors[name].grad.numpy()[0] * d).sum()
        assert found == pytest.approx(slope, rel=1e-6, abs=1e-9 * np.abs(slopes).max()), name
        if "viscosity" in name or "damping" in name:
            assert found == 0.0


@pytest.mark.parametrize("logarithms", [False, True])
def test_tangent_and_adjoint_of_an_equilibrium_are_transposes(logarithms, rng):
    """`logarithms`: along the parameters themselves, as a fit in log space asks."""
    model = mixed_model()
    inputs = static_inputs(model, rng)
    names = model.parameters.names()
    solver = SolverStatic(model, tolerance=1e-11)
    u = {name: inputs[name] * (1.0 if logarithms else rng.uniform(-0.8, 0.8, size=inputs[name].shape)) for name in names}
    w = rng.normal(size=model.rest.shape)
    tensors = {name: torch.tensor(inputs[name], requires_grad=True) for name in names}
    (equilibrium(solver, params=tensors, tolerance=TIGHT)[0] * torch.as_tensor(w)).sum().backward()
    params = {name: inputs[name] for name in names}
    state, _ = solver.solve(params=params)
    directions = {name: value[None, None] for name, value in u.items()}
    moved = equilibrium_tangent(solver, state, directions, 1, tolerance=TIGHT, params=params)[0, 0]
    pulled = sum((tensors[name].grad.numpy() * u[name]).sum() for name in names)
    gap = abs((moved * w).sum() - pulled) / (np.linalg.norm(moved) * np.linalg.norm(w))
    print(f"dot-product gap {gap:.1e}")
    assert gap < GAP


def test_tangent_of_an_equilibrium_is_of_its_own_parameters():
    model = rubber()
    solver = SolverStatic(model, tolerance=1e-10)
    direction = {"block.young": np.ones((1, 1, 5))}
    state, _ = solver.solve()
    expected = equilibrium_tangent(solver, state, direction, 1)
    solver.solve(params={"block.young": 1e6})
    np.testing.assert_allclose(equilibrium_tangent(solver, state, direction, 1), expected, rtol=1e-6, atol=1e-12)


# --- closed forms ------------------------------------------------------------------------------------------------------------------


def oscillator(stiffness=50.0, mass=0.2, envs=None, amplitude=0.05):
    """A mass on a spring without gravity, pulled by `amplitude` along it: (model, state)."""
    builder = ps.ModelBuilder(gravity=(0, 0, 0))
    body = builder.add_springs(ps.SpringNet([[0, 0, 0], [1.0, 0, 0]], [[0, 1]]), ps.Spring(stiffness), [mass, mass], name="bob")
    builder.attach(body, [0])
    model = builder.finalize(envs=envs)
    return model, model.state([[0, 0, 0], [1.0 + amplitude, 0, 0]])


def test_spring_has_the_exact_discrete_derivative_by_stiffness():
    """m = 0.2 kg, k = 50 N/m, A = 0.05 m, 500 steps of 1 ms: the power of symplectic Euler's 2 x 2 matrix, differentiated."""
    model, state = oscillator()
    solver = ps.SolverExplicit(model, 1e-3)
    stiffness = torch.tensor([50.0], dtype=torch.float64, requires_grad=True)
    x = ps.simulate(solver, state, times=[0.5], params={"bob.stiffness": stiffness}).positions[0, 1, 0] - 1.0
    x.backward()
    assert x.item() == pytest.approx(-0.0029833526671969634, rel=1e-10)
    assert stiffness.grad.item() == pytest.approx(-0.0039499994077684675, rel=1e-10)
    assert stiffness.grad.item() == pytest.approx(-0.003947562932024845, rel=1e-3)  # of the differential equation


@pytest.mark.parametrize("kind", ["explicit", "bdf2", "backward_euler"])
def test_motion_depends_on_stiffness_over_mass_alone(kind):
    """k dx/dk = -m dx/dm, whatever the scheme; for small steps both are t v / 2 (the frequency goes with half a power)."""
    model, state = oscillator()
    solver = ps.SolverExplicit(model, 1e-3) if kind == "explicit" else ps.SolverImplicit(model, 1e-3, kind, tolerance=1e-13)
    stiffness = torch.tensor([50.0], dtype=torch.float64, requires_grad=True)
    mass = torch.tensor([0.2, 0.2], dtype=torch.float64, requires_grad=True)
    trajectory = ps.simulate(solver, state, times=[0.5], params={"bob.stiffness": stiffness, "bob.mass": mass})
    trajectory.positions[0, 1, 0].backward()
    by_stiffness, by_mass = 50.0 * stiffness.grad.item(), 0.2 * mass.grad[1].item()
    assert by_stiffness == pytest.approx(-by_mass, rel=1e-9)
    rel = {"explicit": 2e-3, "bdf2": 1e-3, "backward_euler": 0.15}[kind]
    assert by_stiffness == pytest.approx(0.25 * trajectory.velocities[0, 1, 0].item(), rel=rel)


def test_frequency_of_a_solid_goes_with_the_root_of_young_over_density():
    """Without gravity and from rest x(t; E, rho) = X(t sqrt(E/rho)) at any amplitude, so that dx/dlnE = t v/2 = -dx/dln rho."""
    mesh = ps.box_mesh((0.3, 0.1, 0.1), (3, 1, 1), order=2)
    builder = ps.ModelBuilder(gravity=(0, 0, 0))
    body = builder.add_soft_body(mesh, ps.NeoHookean(2e4, 0.3, 1000.0), name="beam")
    builder.attach(body, np.flatnonzero(mesh.points[:, 0] == 0.0))
    model = builder.finalize()
    tip = np.flatnonzero(mesh.points[:, 0] == 0.3)
    load = np.zeros_like(mesh.points)
    load[:, 2] = -0.4 * mesh.points[:, 0] ** 2  # bent: 36 mm down at the tip
    scale = torch.ones(2, dtype=torch.float64, requires_grad=True)
    params = {body.young: 2e4 * scale[0], body.density: 1000.0 * scale[1]}
    solver = ps.SolverImplicit(model, 1e-3, tolerance=1e-9)
    trajectory = ps.simulate(solver, model.state(mesh.points + load), times=[0.1], params=params, tolerance=TIGHT)
    trajectory.positions[0, tip, 2].mean().backward()
    by_young, by_density = scale.grad.tolist()
    assert by_young == pytest.approx(-by_density, rel=1e-8)
    assert by_young == pytest.approx(0.05 * trajectory.velocities[0, tip, 2].mean().item(), rel=0.02)


def test_static_deflection_goes_with_one_over_stiffness():
    """d ln u / d ln k = -1: a hanging spring exactly, a beam under a light load nearly."""
    model, state = oscillator(amplitude=0.0)
    stiffness = torch.tensor([50.0], dtype=torch.float64, requires_grad=True)
    solver = SolverStatic(model, tolerance=1e-12)
    stretch = equilibrium(solver, state, params={"bob.stiffness": stiffness, "gravity": np.array([9.81, 0, 0])})[1, 0] - 1.0
    stretch.backward()
    assert stretch.item() == pytest.approx(0.03924, rel=1e-9)
    assert 50.0 * stiffness.grad.item() / stretch.item() == pytest.approx(-1.0, rel=1e-8)


@pytest.mark.parametrize(
    ("alpha", "sensitivity"),
    [(0.01, -0.9999771787743402), (1.0, -0.8248568370178414), (2.0, -0.5777446723837997), (5.0, -0.25343786448150174)],
)
def test_bent_beam_has_the_elasticas_sensitivity_to_stiffness(alpha, sensitivity):
    """d ln(drop) / d ln(E) under a tip load, alpha = P L^2/(E I): elliptic integrals, differentiated (Bisshopp and Drucker 1945)."""
    mesh = ps.box_mesh((1.0, 0.04, 0.04), (25, 1, 1), order=2)
    builder = ps.ModelBuilder(gravity=(0, 0, 0))
    body = builder.add_soft_body(mesh, ps.NeoHookean(1e7, 0.0, 1000.0), name="beam")
    builder.attach(body, np.flatnonzero(mesh.points[:, 0] == 0.0))
    tip = np.flatnonzero(mesh.points[:, 0] == 1.0)
    load = builder.add_load(body, tip, (0, 0, 0))
    model = builder.finalize()
    force = alpha * 1e7 * 0.04**4 / 12
    solver = SolverStatic(model, tolerance=1e-9 * force)
    state = model.state()
    for part in (0.1, 0.3, 0.6, 1.0):
        state, _ = solver.solve(state, params={load: [0, 0, -part * force]})
    young = torch.tensor(1e7, dtype=torch.float64, requires_grad=True)
    height = equilibrium(solver, state, params={load: [0, 0, -force], body.young: young})[tip, 2].mean()
    drop = 0.02 - height
    drop.backward()
    assert 1e7 * young.grad.item() / drop.item() == pytest.approx(sensitivity, rel=0.02)


def test_free_flight_has_the_schemes_derivatives():
    """100 steps of 0.01 s of symplectic Euler: dx/dv0 = 1 s, dz/dg = h^2 n (n + 1)/2 = 0.505 s^2."""
    builder = ps.ModelBuilder()
    builder.add_springs(ps.SpringNet([[0, 0, 0], [1.0, 0, 0]], [[0, 1]]), ps.Spring(1.0), 0.4, name="pair")
    model = builder.finalize()
    gravity = torch.tensor([0.0, 0.0, -9.81], dtype=torch.float64, requires_grad=True)
    velocities = torch.zeros((2, 3), dtype=torch.float64, requires_grad=True)
    trajectory = ps.simulate(ps.SolverExplicit(model, 0.01), times=[1.0], params={"gravity": gravity}, velocities=velocities)
    trajectory.positions[0].mean(0)[2].backward()
    assert gravity.grad[2].item() == pytest.approx(0.505, rel=1e-12)
    assert velocities.grad[:, 2].sum().item() == pytest.approx(1.0, rel=1e-12)
    assert velocities.grad[:, :2].abs().max() < 1e-12


# --- sampling, agreement of schemes, honesty -----------------------------------------------------------------------------------------


def test_samples_between_steps_are_hermite_and_differentiable():
    """Third order between steps, exact on them; the derivative of a sample by stiffness is the sampled derivative."""
    model, state = oscillator()
    solver = ps.SolverImplicit(model, 0.02, tolerance=1e-13)
    fine = np.array([0.1, 0.103, 0.11, 0.1193, 0.12])
    trajectory = ps.simulate(solver, state, times=fine)
    states = {0.0: state}
    for _ in range(6):
        state, _ = solver.step(state)
        states[round(state.time, 6)] = state
    np.testing.assert_array_equal(trajectory.positions[0].numpy(), states[0.1].positions)
    np.testing.assert_array_equal(trajectory.velocities[4].numpy(), states[0.12].velocities)
    a, b = states[0.1], states[0.12]
    for frame, time in enumerate(fine):
        s = (time - 0.1) / 0.02
        hermite = (1 + 2 * s) * (1 - s) ** 2 * a.positions + s**2 * (3 - 2 * s) * b.positions
        hermite += 0.02 * (s * (1 - s) ** 2 * a.velocities - s**2 * (1 - s) * b.velocities)
        np.testing.assert_allclose(trajectory.positions[frame].numpy(), hermite, atol=1e-14)
    for field in ("positions", "velocities"):
        for frame in range(5):
            stiffness = torch.tensor([50.0], dtype=torch.float64, requires_grad=True)
            _, state0 = oscillator()
            start = model.state(state0.positions)
            run = lambda k, start=start, field=field, frame=frame: getattr(  # noqa: E731
                ps.simulate(solver, start, times=fine, params={"bob.stiffness": k}, tolerance=TIGHT), field
            )[frame, 1, 0]
            run(stiffness).backward()
            h = 0.05
            slope = (8 * (run(50 + h) - run(50 - h)) - run(50 + 2 * h) + run(50 - 2 * h)).item() / (12 * h)
            assert stiffness.grad.item() == pytest.approx(slope, rel=1e-6)


@schemes
def test_explicit_and_implicit_gradients_meet_as_the_step_shrinks(integrator):
    """An elastic pendulum: both go to the gradient of the differential equation, at first order or better."""
    builder = ps.ModelBuilder()
    body = builder.add_springs(ps.SpringNet([[0, 0, 0], [0, 0, -1.0]], [[0, 1]]), ps.Spring(100.0, 0.3), 2.0, name="bob")
    builder.attach(body, [0])
    model = builder.finalize()
    start = [[0, 0, 0], [0.8, 0.1, -0.6]]
    gaps = []
    for h in (4e-3, 2e-3, 1e-3):
        found = []
        for solver in (ps.SolverExplicit(model, h), ps.SolverImplicit(model, h, integrator, tolerance=1e-11)):
            names = ("stiffness", "damping", "mass")
            params = {n: torch.tensor(model.parameters[f"bob.{n}"][0], requires_grad=True) for n in names}
            trajectory = ps.simulate(solver, model.state(start), times=[0.4], params={f"bob.{n}": p for n, p in params.items()})
            trajectory.positions[0, 1].sum().backward()
            found.append(np.concatenate([p.grad.numpy() * p.detach().numpy() for p in params.values()]))
        gaps.append(np.linalg.norm(found[0] - found[1]) / np.linalg.norm(found[1]))
    assert (np.log2(np.divide(gaps[:-1], gaps[1:])) > 0.85).all(), gaps
    assert gaps[-1] < 0.02


def test_gradient_that_is_not_solved_for_says_so(monkeypatch):
    model, state = oscillator()
    solver = ps.SolverImplicit(model, 0.01)
    stiffness = torch.tensor([50.0], dtype=torch.float64, requires_grad=True)
    monkeypatch.setattr(exact, "LIMIT", 0)
    trajectory = ps.simulate(solver, state, times=[0.1], params={"bob.stiffness": stiffness})
    with pytest.warns(UserWarning, match=r"gradient: a linear solve stopped at the relative residual \d"):
        trajectory.positions.sum().backward()
    assert trajectory.gradients.residual > 1e-6


def test_gradient_of_a_failed_step_is_not_given():
    model = mixed_model()
    with pytest.raises(ps.SolverError):
        ps.simulate(ps.SolverImplicit(model, DT, max_iterations=1, tolerance=1e-13), times=[0.1])


def test_a_gradient_that_is_done_with_keeps_nothing():
    """Torch's graph, the run and the trajectory hold each other only as long as somebody holds the trajectory."""
    builder = ps.ModelBuilder()
    net = builder.add_springs(ps.spring_net((2, 2), (1.0, 1.0)), ps.Spring(100.0), 0.1, name="net")
    builder.attach(net, [0, 2])
    stiffness = torch.tensor(100.0, dtype=torch.float64, requires_grad=True)
    solver = ps.SolverImplicit(builder.finalize(), 0.02)
    trajectory = ps.simulate(solver, times=[0.04], params={"net.stiffness": stiffness})
    trajectory.positions.sum().backward()
    kept = weakref.ref(trajectory)
    assert trajectory.gradients.residual < 1e-6
    del trajectory
    gc.collect()
    assert kept() is None
