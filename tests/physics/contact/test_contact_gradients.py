"""Gradients through contact: Taylor and difference tests over every kind of pair, adjoint against tangent, closed forms.

Sums that are compared ride as environments of one model, so that a difference test is one simulation. The creep speed is larger than the
builder's own, so that a step of differences is small against it.
"""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

import physsim as ps
from physsim.physics.diff.adjoint import Rollout, backward
from physsim.physics.diff.tangent import TangentRollout, equilibrium_tangent
from physsim.physics.diff.torch_bridge import equilibrium
from physsim.physics.solvers.diagnosis import default_tolerance
from physsim.real2sim.identify import StartAtState

DT, STEPS = 1 / 240, 8
TIMES = DT * np.array([2.5, 5.0, STEPS])
KEYS = [0.0, 0.015, 0.03]  # of a control [s]
CREEP = 5e-3
TIGHT = 1e-14  # relative residual asked of the adjoint's linear solves
RUBBER = ps.NeoHookean(5e4, 0.3, 1000.0, viscosity=20.0)
FABRIC = ps.Shell(stretch=200.0, bending=1e-5, poisson=0.2, area_density=0.3, stretch_damping=0.1)


def sliding_block():
    """A soft block slides over the ground along a wall, and a ball strikes it: points with a plane, a box and a sphere."""
    builder = ps.ModelBuilder()
    mesh = ps.box_mesh((0.05, 0.05, 0.05), (1, 1, 1), origin=(0.0, 0.0, 6e-4))
    builder.add_soft_body(mesh, RUBBER, velocity=(0.4, 0.05, -0.1), name="block")
    builder.add_collider(ps.Sphere(0.03), (0.085, 0.02, 0.03), name="ball")
    builder.add_collider(ps.Box((0.1, 0.02, 0.1)), (0.02, -0.011, 0.04), name="wall")
    builder.add_ground()
    builder.enable_contact(friction=0.3, damping=1e3, creep=CREEP)
    return builder, {"ball": (-0.4, 0.0, 0.05)}


def struck_block():
    """A soft block, held at two corners, is struck by a wedge given as triangles: points with triangles, edges with edges."""
    builder = ps.ModelBuilder()
    block = builder.add_soft_body(ps.box_mesh((0.05, 0.05, 0.05), (1, 1, 1)), RUBBER, velocity=(0.0, 0.0, -0.1), name="block")
    wedge = [[0.0, -0.04, 0.0], [0.0, 0.04, 0.0], [0.05, -0.04, -0.04], [0.05, 0.04, -0.04]]
    builder.add_collider(ps.TriMesh(wedge, [[0, 1, 2], [1, 3, 2]]), (0.0553, 0.02, 0.03), (1.0, 0.1, 0.15, 0.1), name="wedge")
    builder.attach(block, [0, 1])
    builder.enable_contact(friction=0.3, damping=1e3, creep=CREEP)
    return builder, {"wedge": (-0.5, 0.1, 0.05)}


def closing_fold():
    """A strip of cloth, folded askew and held by one end, closes on itself."""
    builder = ps.ModelBuilder()
    mesh = ps.sheet_mesh((0.12, 0.04), (6, 2))
    x, y, _ = (mesh.points - [0.06, 0.0, 0.0]).T
    radius, side = 0.006, np.sign(x)
    flat = np.maximum(np.abs(x) - 0.5 * np.pi * radius, 0.0)
    px = np.where(flat > 0, -flat, radius * np.cos(x / radius))
    pz = np.where(flat > 0, side * (radius - 0.09 * flat), radius * np.sin(x / radius))
    cloth = builder.add_cloth(mesh, FABRIC, pose=np.stack([px, y + 0.15 * pz, pz], axis=1), name="cloth")
    builder.attach(cloth, np.flatnonzero(x < -0.055))
    builder.enable_contact(friction=0.3, damping=1e2, creep=CREEP)
    return builder, {}


def landing_bodies():
    """A rigid tetrahedron lands on a cloth held by its corners, a rigid brick on a plane."""
    builder = ps.ModelBuilder()
    cloth = builder.add_cloth(ps.sheet_mesh((0.08, 0.08), (2, 2)), FABRIC, name="cloth")
    builder.attach(cloth, [0, 2, 6, 8])
    corners = [[0.0, 0.0, 0.0], [0.03, 0.0, 0.02], [-0.015, 0.026, 0.02], [-0.015, -0.026, 0.02]]
    top = ps.TriMesh(corners, [[0, 2, 1], [0, 3, 2], [0, 1, 3], [1, 2, 3]])
    motion = {"angular_velocity": (1.0, 2.0, 0.5), "young": 1e7, "mass": 0.05}
    builder.add_rigid_body(top, position=(0.042, 0.035, 8e-4), velocity=(0.1, 0.05, -0.2), name="top", **motion)
    turn = (1.0, 0.01, 0.02, 0.0)
    brick = ps.Box((0.03, 0.03, 0.02))
    builder.add_rigid_body(brick, position=(0.15, 0.0, -0.0092), rotation=turn, velocity=(0.3, 0.05, -0.1), name="brick", **motion)
    builder.add_ground(-0.0205)
    builder.enable_contact(friction=0.3, damping=1e3, stiffness=2e4, creep=CREEP)
    return builder, {}


def squeezed_block():
    """Driven fingers, a box and a capsule, squeeze a soft block that falls between them."""
    builder = ps.ModelBuilder()
    builder.add_soft_body(ps.box_mesh((0.05, 0.05, 0.05), (1, 1, 1)), RUBBER, velocity=(0.0, 0.0, -0.1), name="block")
    builder.add_driven(ps.Box((0.02, 0.08, 0.08)), (-0.0106, 0.025, 0.025), stiffness=2e3, name="left")
    builder.add_driven(ps.Capsule(0.01, 0.1), (0.0606, 0.025, 0.025), (1.0, 0.02, 0.01, 0.0), stiffness=2e3, name="right")
    builder.enable_contact(friction=0.3, damping=1e3, creep=CREEP)
    return builder, {"left": (0.3, 0.0, 0.0), "right": (-0.3, 0.0, 0.1)}


def rolling_bodies():
    """A ball and a capsule roll over a cloth, another capsule over a plane, with a third one across it."""
    builder = ps.ModelBuilder()
    cloth = builder.add_cloth(ps.sheet_mesh((0.08, 0.08), (2, 2)), FABRIC, name="cloth")
    builder.attach(cloth, [0, 2, 6, 8])
    motion = {"angular_velocity": (3.0, 5.0, 1.0), "young": 1e7, "mass": 0.03}
    lying, across = (0.71, 0.02, 0.7, 0.0), (0.72, 0.69, 0.03, 0.02)  # along x, and along y
    ball, rod = ps.Sphere(0.01), ps.Capsule(0.008, 0.05)
    builder.add_rigid_body(ball, position=(0.055, 0.052, 0.0107), velocity=(0.1, 0.05, -0.2), name="ball", **motion)
    builder.add_rigid_body(rod, position=(0.041, 0.021, 0.0105), rotation=lying, velocity=(0.05, 0.1, -0.2), name="rod", **motion)
    builder.add_rigid_body(rod, position=(0.2, 0.0, -0.0913), rotation=lying, velocity=(0.05, 0.2, -0.1), name="lower", **motion)
    builder.add_rigid_body(rod, position=(0.203, 0.002, -0.0742), rotation=across, velocity=(0.2, 0.05, -0.2), name="upper", **motion)
    builder.add_ground(-0.1)
    builder.enable_contact(friction=0.3, damping=1e3, stiffness=2e4, creep=CREEP)
    return builder, {}


def driven_ball():
    """A driven ball moves on under a ball, a plate and a capsule that are free to turn: their friction acts at what it is to each."""
    builder = ps.ModelBuilder(gravity=(-10.0, -10.0, -10.0))
    builder.add_collider(ps.Sphere(0.03), name="wheel")
    motion = {"young": 1e7, "mass": 0.03, "angular_velocity": (3.0, 5.0, 1.0)}
    builder.add_rigid_body(ps.Sphere(0.01), position=(0.003, 0.002, 0.0407), velocity=(0.1, 0.05, -0.2), name="ball", **motion)
    plate = ps.Box((0.04, 0.04, 0.01))
    builder.add_rigid_body(plate, position=(0.0357, 0.004, 0.002), rotation=(0.72, 0.02, 0.7, 0.01), velocity=(-0.2, 0.0, 0.1), **motion)
    lying = (0.71, 0.02, 0.7, 0.0)
    builder.add_rigid_body(ps.Capsule(0.008, 0.05), position=(0.002, 0.0387, 0.003), rotation=lying, velocity=(0, -0.2, 0.1), **motion)
    builder.enable_contact(friction=0.3, damping=1e3, stiffness=2e4, creep=CREEP)
    return builder, {"wheel": (0.03, 0.06, 0.05)}


FORMS = (sliding_block, struck_block, closing_fold, landing_bodies, squeezed_block, rolling_bodies, driven_ball)
SCENES = {f.__name__: f for f in FORMS}
MET = {  # lists that hold touching pairs in the end
    "sliding_block": {"point_shape"},
    "struck_block": {"edge_edge"},
    "closing_fold": {"point_triangle", "edge_edge"},
    "landing_bodies": {"point_triangle", "point_shape"},
    "squeezed_block": {"edge_edge", "point_shape"},
    "rolling_bodies": {"point_triangle", "edge_edge", "point_shape", "rolling"},
    "driven_ball": {"point_shape", "rolling"},
}
each = pytest.mark.parametrize("scene", SCENES)
FEW = ("closing_fold", "landing_bodies")
few = pytest.mark.parametrize("scene", [s if s in FEW else pytest.param(s, marks=pytest.mark.slow) for s in SCENES])


def build(scene, envs=1, dtype="float64"):
    builder, ways = SCENES[scene]()
    return builder.finalize(envs=envs, dtype=dtype), ways


def solver_of(model, integrator="backward_euler", **options):
    """Steps that balance to 1e-10 of a particle's weight, so that differences of runs are differences of solutions."""
    return ps.SolverImplicit(model, DT, integrator, tolerance=1e-5 * default_tolerance(model), **options)


def draw_inputs(model, ways, rng):
    """Everything that a run may be differentiated by, one environment's values: dict name -> array, parameters by their names."""
    values = {
        name: model.parameters[name][0] * rng.uniform(0.95, 1.05, model.parameters[name][0].shape) for name in model.parameters.names()
    }
    values |= {name: np.array([0.3]) for name in values if name.endswith("mass_damping")}  # away from its bound
    values["positions"] = model.positions + 1e-5 * rng.normal(size=model.rest.shape)
    values["velocities"] = model.velocities + 0.01 * rng.normal(size=model.rest.shape)
    for name, speed in ways.items():
        place = model.positions[model.attachments[name].particles]
        way = np.multiply.outer(KEYS, speed)[:, None]
        values["target " + name] = place + way + 1e-5 * rng.normal(size=(3, *place.shape))
    return values


def scales_of(inputs):
    """Size by which each input may be moved, so that a change of one part in a hundred of it means the same for all."""
    scales = {name: np.full(value.shape, np.abs(value).mean() or 0.05) for name, value in inputs.items()}
    for name in inputs:
        if name == "positions" or name.startswith("target"):
            scales[name] = np.full(inputs[name].shape, 1e-3)
    return scales


def stacked(inputs, directions):
    """Inputs of many environments: `inputs` moved along each of `directions` (dicts that may lack names)."""
    return {name: np.stack([value + d.get(name, 0.0) for d in directions]) for name, value in inputs.items()}


def control_of(inputs):
    """Control of the targets among `inputs`, entries with the environment axis first, or None."""
    targets = {name.removeprefix("target "): value.swapaxes(0, 1) for name, value in inputs.items() if name.startswith("target")}
    return ps.Control(KEYS, targets) if targets else None


def simulate(solver, inputs, **options):
    """`ps.simulate` with every input; entries are tensors or arrays with the environment axis first."""
    params = {name: value for name, value in inputs.items() if name in solver.model.parameters.names()}
    start = {name: inputs[name] for name in ("positions", "velocities")}
    options = {"times": TIMES, "tolerance": TIGHT} | options
    return ps.simulate(solver, control=control_of(inputs), params=params, **start, **options)


class Loss:
    """A smooth function of the sampled motion, one number an environment."""

    def __init__(self, model, rng):
        self.weights = [torch.as_tensor(rng.normal(size=(len(TIMES), 1, model.particle_count, 3))) for _ in range(3)]
        self.start = torch.tensor(model.positions)

    def __call__(self, trajectory):
        a, b, c = self.weights
        x, v = trajectory.positions.double() - self.start, trajectory.velocities.double()
        return (a * x + 30.0 * x**2 + 0.1 * b * v + 0.1 * c * x * v).sum((0, 2, 3))


def gradient(solver, inputs, loss, **options):
    """(gradients, value) of a loss of one environment by the adjoint."""
    tensors = {name: torch.tensor(value[None], requires_grad=True) for name, value in inputs.items()}
    trajectory = simulate(solver, tensors, **options)
    value = loss(trajectory).sum()
    value.backward()
    if solver.model.dtype == "float64":
        assert trajectory.gradients.residual < 1e-9
    return {name: t.grad.numpy()[0] for name, t in tensors.items()}, value.item()


def touching(solver):
    """Names of the lists with pairs that push, after a run."""
    contact = solver.assembly.contact
    energy = contact.energy.numpy()
    return {name for name, _, _, count, row, _, _ in contact.rows() if (energy[:, row : row + count] > 0).any()}


@each
def test_taylor_remainder_falls_by_four_when_the_step_halves(scene, rng):
    """Every input moves at once along a random direction."""
    model, ways = build(scene)
    inputs, loss = draw_inputs(model, ways, rng), Loss(model, rng)
    direction = {name: scale * rng.normal(size=scale.shape) for name, scale in scales_of(inputs).items()}
    solver = solver_of(model)
    found, _ = gradient(solver, inputs, loss)
    slope = sum((found[name] * d).sum() for name, d in direction.items())
    steps = 2e-5 * 0.5 ** np.arange(5)
    many = solver_of(build(scene, envs=6)[0])
    trajectory = simulate(many, stacked(inputs, [{}, *({name: h * d for name, d in direction.items()} for h in steps)]))
    assert touching(many) >= MET[scene]
    # a square about the unmoved run adds nothing to the slope and keeps the second order from vanishing by chance
    square = (trajectory.positions - trajectory.positions[:, :1]).square().sum((0, 2, 3))
    values = (loss(trajectory) + 1e5 * square).numpy()
    remainders = np.abs(values[1:] - values[0] - steps * slope)
    rates = np.log2(remainders[1:-1] / remainders[2:])  # three halvings, after one that brings the third order down
    assert ((rates > 1.9) & (rates < 2.1)).all(), rates


@each
def test_gradient_by_each_input_equals_central_differences(scene, rng):
    """Every parameter, the initial state and the control's targets: five-point differences along random directions, 1e-6.

    At one of two sizes: within the larger one a pair may come to touch elsewhere, where second derivatives jump, and at the smaller one
    rounding shows.
    """
    model, ways = build(scene)
    inputs, loss = draw_inputs(model, ways, rng), Loss(model, rng)
    found, _ = gradient(solver_of(model), inputs, loss)
    sizes = np.array([5e-5, 3e-6])
    slopes_found, moves = {}, []
    for name, scale in scales_of(inputs).items():
        d = scale * rng.choice([-1.0, 1.0], size=scale.shape) * rng.uniform(0.5, 1.0, size=scale.shape)
        slopes_found[name] = (found[name] * d).sum()
        moves += [{name: h * k * d} for h in sizes for k in (1, -1, 2, -2)]
    values = loss(simulate(solver_of(build(scene, envs=len(moves))[0]), stacked(inputs, moves))).numpy().reshape(-1, 2, 4)
    slopes = (8 * (values[..., 0] - values[..., 1]) - (values[..., 2] - values[..., 3])) / (12 * sizes)
    size = np.abs(slopes).max()
    for (name, slope), expected in zip(slopes_found.items(), slopes, strict=True):
        nearest = expected[np.argmin(np.abs(expected - slope))]
        assert slope == pytest.approx(nearest, rel=1e-6, abs=1e-8 + 1e-7 * size), name


@pytest.mark.parametrize("scene", ["landing_bodies", "closing_fold", "squeezed_block"])
def test_gradient_of_the_second_order_scheme_equals_central_differences(scene, rng):
    """BDF2 remembers two states, and so do its friction and its damping of the layer; every input moves at once."""
    model, ways = build(scene)
    inputs, loss = draw_inputs(model, ways, rng), Loss(model, rng)
    found, _ = gradient(solver_of(model, integrator="bdf2"), inputs, loss)
    d = {name: scale * rng.normal(size=scale.shape) for name, scale in scales_of(inputs).items()}
    h = 5e-6  # everything moves at once: small, so that no pair comes to touch elsewhere within it
    moves = [{name: h * k * part for name, part in d.items()} for k in (1, -1, 2, -2)]
    many = solver_of(build(scene, envs=4)[0], integrator="bdf2")
    values = loss(simulate(many, stacked(inputs, moves))).numpy()
    assert found["contact.default-default.stiffness"].any()  # things touched, though they may have sprung apart by the end
    slope = (8 * (values[0] - values[1]) - (values[2] - values[3])) / (12 * h)
    assert sum((found[name] * part).sum() for name, part in d.items()) == pytest.approx(slope, rel=1e-6)


def test_gradient_does_not_depend_on_the_linear_solver(rng):
    model, ways = build("closing_fold")
    inputs, loss = draw_inputs(model, ways, rng), Loss(model, rng)
    expected, _ = gradient(solver_of(model, linear="cg"), inputs, loss)
    found, _ = gradient(solver_of(model, linear="multigrid"), inputs, loss)
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-6, atol=1e-7 * np.abs(expected[name]).max() + 1e-12, err_msg=name)


@few
def test_checkpoints_give_the_same_gradient(scene, rng):
    model, ways = build(scene)
    inputs, loss = draw_inputs(model, ways, rng), Loss(model, rng)
    whole, value = gradient(solver_of(model), inputs, loss)
    thin, again = gradient(solver_of(model), inputs, loss, keep_every=3)
    assert again == value
    for name in whole:
        np.testing.assert_allclose(thin[name], whole[name], rtol=1e-9, atol=1e-11 * np.abs(whole[name]).max(), err_msg=name)


@few
def test_environments_with_other_parameters_equal_single_runs(scene, rng):
    """The motion and its gradient: environments share nothing but the launches."""
    one, ways = build(scene)
    runs = [draw_inputs(one, ways, rng) for _ in range(2)]
    loss = Loss(one, rng)
    together = {name: torch.tensor(np.stack([r[name] for r in runs]), requires_grad=True) for name in runs[0]}
    trajectory = simulate(solver_of(build(scene, envs=2)[0]), together)
    loss(trajectory).sum().backward()
    for env, inputs in enumerate(runs):
        tensors = {name: torch.tensor(value[None], requires_grad=True) for name, value in inputs.items()}
        alone = simulate(solver_of(one), tensors)
        np.testing.assert_allclose(trajectory.positions.detach()[:, env], alone.positions.detach()[:, 0], rtol=0, atol=1e-12)
        loss(alone).sum().backward()
        for name, tensor in tensors.items():
            size = tensor.grad.abs().max().item()
            np.testing.assert_allclose(together[name].grad[env], tensor.grad[0], rtol=1e-7, atol=1e-8 * size, err_msg=name)


@few
def test_single_precision_gradients_are_near_those_of_double_precision(scene, rng):
    """Most differ by a thousandth. Steps end where forces are balanced to what rounded positions make of them, 4 mN with driven frames."""
    model, ways = build(scene)
    inputs, loss = draw_inputs(model, ways, rng), Loss(model, rng)
    double, _ = gradient(solver_of(model), inputs, loss)
    single, _ = gradient(solver_of(build(scene, dtype="float32")[0]), inputs, loss, tolerance=1e-6)
    scales = scales_of(inputs)
    largest = max(np.linalg.norm(scales[name] * g) for name, g in double.items())
    # things of 30 g roll by friction of a fraction of their weight, of which their steps' 1.3 mN are 0.4 per cent: up to 6e-2 was measured
    share = 0.1 if "rolling" in MET[scene] else 2e-3
    for name, expected in double.items():
        gap = np.linalg.norm(scales[name] * (single[name] - expected))
        assert gap < 0.1 * np.linalg.norm(scales[name] * expected) + share * largest, name


# --- adjoint against tangent -------------------------------------------------------------------------------------------------------


@each
def test_tangent_and_adjoint_are_transposes(scene, rng):
    """<J u, w> and <u, J^T w> for random u (every parameter, the initial state) and w (every state)."""
    model, ways = build(scene)
    inputs = draw_inputs(model, ways, rng)
    names = model.parameters.names()
    solver = solver_of(model)
    parameters = model.parameters.replace({name: inputs[name] for name in names})
    control = control_of({name: value[None] for name, value in inputs.items()})
    rollout = Rollout(solver, model.state(inputs["positions"], inputs["velocities"]), parameters, control)
    u = {name: scale * rng.normal(size=scale.shape) for name, scale in scales_of(inputs).items() if not name.startswith("target")}
    tangents = {name: u[name][None, None] for name in names}
    follow = TangentRollout(solver, tangents, 1, u["positions"][None, None], u["velocities"][None, None], tolerance=TIGHT)
    w = [[rng.normal(size=(1, model.particle_count, 3)) * s for s in (1.0, 0.1)] for _ in range(STEPS + 1)]
    left = (follow.x[0] * w[0][0]).sum() + (follow.v[0] * w[0][1]).sum()
    for k in range(STEPS):
        before = rollout.last
        follow.follow(before, rollout.advance(), rollout.targets(k), parameters)
        left += (follow.x[0] * w[k + 1][0]).sum() + (follow.v[0] * w[k + 1][1]).sum()
    found = backward(rollout, lambda k: w[k], TIGHT)
    right = (found.positions[0] * u["positions"]).sum() + (found.velocities[0] * u["velocities"]).sum()
    right += sum((found.parameters[name][0] * u[name]).sum() for name in names)
    size = np.linalg.norm(follow.x) * np.linalg.norm(w[-1][0]) + np.linalg.norm(follow.v) * np.linalg.norm(w[-1][1])
    print(f"dot-product gap {abs(left - right) / size:.1e}")
    assert abs(left - right) < 1e-10 * size


# --- closed forms, poses, equilibria, fits -------------------------------------------------------------------------------------------


def brick(mu, speed=0.0, envs=None, damping=0.0):
    """A rigid brick on level ground: (model, body, pair of materials)."""
    builder = ps.ModelBuilder()
    body = builder.add_rigid_body(ps.Box((0.1, 0.1, 0.02)), mass=0.5, position=(0, 0, 0.0107), velocity=(speed, 0, 0), name="brick")
    builder.add_ground()
    pair = builder.enable_contact(friction=mu, damping=damping)
    return builder.finalize(envs=envs), body, pair


def test_distance_to_a_stop_and_its_derivatives_are_those_of_coulomb():
    """d = v^2 / (2 mu g), by mu and by v; the sum of speeds at the ends of steps is half a step's way short of it."""
    mu, speed, h, g = 0.4, 2.0, 1 / 240, 9.81
    model, body, pair = brick(mu, damping=1e4)
    solver = ps.SolverImplicit(model, h, "backward_euler", tolerance=1e-10)
    state = model.state()
    for _ in range(60):
        state, _ = solver.step(state)
    rest = state.positions
    assert np.abs(state.velocities).max() < 1e-6
    friction = torch.tensor([mu], dtype=torch.float64, requires_grad=True)
    velocities = torch.zeros(rest.shape, dtype=torch.float64)
    velocities[body.particles, 0] = speed
    velocities.requires_grad_()
    trajectory = ps.simulate(solver, times=[0.6], params={pair.friction: friction}, positions=rest, velocities=velocities)
    distance = (trajectory.positions[0] - torch.tensor(rest))[body.particles, 0].mean()
    distance.backward()
    by_speed = velocities.grad[body.particles, 0].sum().item()
    assert trajectory.velocities.abs().max().item() < 1e-4
    assert distance.item() == pytest.approx(speed**2 / (2 * mu * g) - 0.5 * h * speed, rel=1e-3)
    assert friction.grad.item() == pytest.approx(-(speed**2) / (2 * mu**2 * g), rel=5e-3)
    assert by_speed == pytest.approx(speed / (mu * g) - 0.5 * h, rel=5e-3)


@pytest.mark.parametrize(("scene", "name"), [("sliding_block", "ball"), ("struck_block", "wedge"), ("squeezed_block", "right")])
def test_gradient_by_a_pose_equals_differences(scene, name, rng):
    """Positions and turns of colliders and of a driven frame's target, as tensors through `Control.from_poses`."""
    model, _ = build(scene)
    solver, loss = solver_of(model), Loss(model, rng)
    points = model.positions[model.attachments[name].particles]
    axes = (points[1:] - points[0]) / np.linalg.norm(points[1:] - points[0], axis=1)[:, None]
    turn = Rotation.from_matrix(axes.T).as_quat()[[3, 0, 1, 2]]
    start = torch.tensor(np.tile(np.concatenate([points[0], turn]), (2, 1)))
    start[1, :3] += torch.tensor([-0.01, 0.002, 0.001])
    start[1, 3:] += 0.03 * torch.tensor(rng.normal(size=4))

    def value(poses):
        control = ps.Control.from_poses(model, [0.0, 0.03], {name: (poses[:, :3], poses[:, 3:])})
        return loss(ps.simulate(solver, control=control, times=TIMES, tolerance=TIGHT)).sum()

    poses = start.clone().requires_grad_()
    value(poses).backward()
    for part, size in ((slice(0, 3), 1e-3), (slice(3, 7), 1e-2)):
        d = torch.zeros(2, 7, dtype=torch.float64)
        d[:, part] = size * torch.tensor(rng.normal(size=d[:, part].shape))
        h = 1e-4
        a, b, c, e = (value(start + k * h * d).item() for k in (1, -1, 2, -2))
        assert (poses.grad * d).sum().item() == pytest.approx((8 * (a - b) - (c - e)) / (12 * h), rel=1e-6)


def pressed_block(envs=None):
    """A soft block, held at its foot, under a plate and beside a wedge that press it: (model, inputs)."""
    builder = ps.ModelBuilder()
    mesh = ps.box_mesh((0.05, 0.05, 0.05), (2, 2, 2))
    body = builder.add_soft_body(mesh, ps.NeoHookean(5e4, 0.3, 1000.0), name="block")
    builder.attach(body, np.flatnonzero(mesh.points[:, 2] == 0.0), name="foot")
    builder.add_collider(ps.Sphere(0.05), (0.02, 0.03, 0.1008), name="ball")
    wedge = [[0.0, -0.04, 0.0], [0.0, 0.04, 0.0], [0.05, -0.04, -0.04], [0.05, 0.04, -0.04]]
    builder.add_collider(ps.TriMesh(wedge, [[0, 1, 2], [1, 3, 2]]), (0.0553, 0.02, 0.04), (1.0, 0.1, 0.15, 0.1), name="wedge")
    builder.enable_contact(friction=0.3)
    model = builder.finalize(envs=envs)
    inputs = {name: model.parameters[name][0] for name in model.parameters.names()}
    for name, way in (("ball", (0.001, -0.001, -0.004)), ("wedge", (-0.003, 0.001, 0.0))):
        inputs["target " + name] = (model.positions[model.attachments[name].particles] + way)[None]
    return model, inputs


def equilibrium_of(static, inputs):
    """`equilibrium` with parameters and targets, entries with the environment axis first."""
    targets = {name.removeprefix("target "): value.swapaxes(0, 1) for name, value in inputs.items() if name.startswith("target")}
    params = {name: value for name, value in inputs.items() if name in static.model.parameters.names()}
    return equilibrium(static, control=ps.Control([0.0], targets), params=params, tolerance=TIGHT)


def test_gradient_of_an_equilibrium_in_contact_equals_differences(rng):
    """By every parameter and the poses of what presses; friction and damping have no part in statics."""
    model, inputs = pressed_block(envs=1)
    options = {"tolerance": 1e-5 * default_tolerance(model)}
    w = torch.as_tensor(rng.normal(size=(model.particle_count, 3)))
    tensors = {name: torch.tensor(value[None], requires_grad=True) for name, value in inputs.items()}
    (equilibrium_of(ps.SolverStatic(model, **options), tensors) * w).sum().backward()
    h, directions, moves = 1e-4, {}, []
    for name, scale in scales_of(inputs).items():
        if name.rsplit(".")[-1] in ("friction", "damping", "mass_damping"):
            assert not tensors[name].grad.any()
            continue
        directions[name] = scale * rng.choice([-1.0, 1.0], size=scale.shape)
        moves += [{name: h * k * directions[name]} for k in (1, -1, 2, -2)]
    many = ps.SolverStatic(pressed_block(envs=len(moves))[0], **options)
    x = equilibrium_of(many, stacked(inputs, moves))
    values = (x * w).sum((-1, -2)).numpy().reshape(-1, 4)
    slopes = (8 * (values[:, 0] - values[:, 1]) - (values[:, 2] - values[:, 3])) / (12 * h)
    size = np.abs(slopes).max()
    for (name, d), slope in zip(directions.items(), slopes, strict=True):
        found = (tensors[name].grad.numpy()[0] * d).sum()
        assert found == pytest.approx(slope, rel=1e-6, abs=1e-7 * size), name


def test_tangent_of_an_equilibrium_in_contact_is_the_adjoints_transpose(rng):
    model, inputs = pressed_block(envs=1)
    static = ps.SolverStatic(model, tolerance=1e-5 * default_tolerance(model))
    control = ps.Control([0.0], {name.removeprefix("target "): v[None] for name, v in inputs.items() if name.startswith("target")})
    state, _ = static.solve(None, control)
    static.solve()  # whatever the solver did last
    u = {name: inputs[name] * rng.normal(size=inputs[name].shape) for name in model.parameters.names()}
    moved = equilibrium_tangent(static, state, {name: d[None, None] for name, d in u.items()}, 1, tolerance=TIGHT)[0, 0]
    w = rng.normal(size=moved.shape)
    tensors = {name: torch.tensor(inputs[name][None], requires_grad=True) for name in u}
    (equilibrium(static, control=control, params=tensors, tolerance=TIGHT)[0] * torch.as_tensor(w)).sum().backward()
    right = sum((t.grad.numpy()[0] * u[name]).sum() for name, t in tensors.items())
    gap = abs((moved * w).sum() - right) / (np.linalg.norm(moved) * np.linalg.norm(w))
    print(f"dot-product gap {gap:.1e}")
    assert gap < 1e-10


def test_friction_is_identified_from_a_recorded_slide(rng):
    """A brick seen while it slows down, to a tenth of a millimetre; its friction comes with an interval that holds it."""
    truth, noise = 0.27, 1e-4
    model, body, pair = brick(truth, speed=1.0)
    times = np.arange(0.02, 0.3, 0.02)
    seen = ps.simulate(ps.SolverImplicit(model, DT, "backward_euler"), times=times).positions[:, body.particles].numpy()
    nodes = body.particles[:, None]
    tracks = ps.Tracks(times, nodes, np.ones(nodes.shape), seen + noise * rng.normal(size=seen.shape), noise=noise)
    model, _, pair = brick(0.5, speed=1.0, envs=2)
    solver = ps.SolverImplicit(model, DT, "backward_euler", strict=False)
    variable = ps.Variable("friction", [0.6, 0.15], 0.01, 2.0, unit="-")
    fit = ps.identify(solver, tracks, {pair.friction: variable}, start=StartAtState(model.state()))
    print(fit.statement())
    error = np.log(fit.values["friction"] / truth)
    assert abs(error) < 2e-3
    assert abs(error) < 4 * fit.intervals.std[0] < 4e-3
    low, high = fit.intervals.interval("friction")
    assert low < fit.values["friction"] < high


def test_a_target_that_contact_does_not_let_be_reached_is_said():
    """A plate is told to go below a cloth that lies on the ground."""
    builder = ps.ModelBuilder()
    mesh = ps.sheet_mesh((0.05, 0.05), (2, 2))
    cloth = builder.add_cloth(mesh, FABRIC, pose=mesh.points + [0.0, 0.0, 0.0013])
    builder.set_surface(cloth, thickness=1e-3)
    builder.add_collider(ps.Box((0.1, 0.1, 0.02)), (0.025, 0.025, 0.0135), name="plate")
    builder.add_ground()
    pair = builder.enable_contact(stiffness=1e4)
    model = builder.finalize()
    still = np.tile([1.0, 0.0, 0.0, 0.0], (2, 1))
    way = np.array([[0.025, 0.025, 0.0135], [0.025, 0.025, 0.009]])
    control = ps.Control.from_poses(model, [0.0, 0.01], {"plate": (way, still)})
    stiffness = torch.tensor(model.parameters[pair.stiffness][0], requires_grad=True)
    run = ps.simulate(ps.SolverImplicit(model, DT, "backward_euler"), control=control, times=[0.01], params={pair.stiffness: stiffness})
    assert run.reports[-1].unreached > 1e-4
    with pytest.warns(UserWarning, match=r"at t = 0.0\d+ s contact kept a held point from its target"):
        run.positions.sum().backward()
