"""A step depends on the state that it is given and on nothing that its solver has done before: the same state, the same bits."""

import contextlib
import warnings

import numpy as np
import pytest
import torch

import physsim as ps

RUBBER = ps.NeoHookean(5e4, 0.3, 500.0)
FABRIC = ps.Shell(stretch=200.0, bending=1e-5, thickness=1e-3, area_density=0.2)


def pile(builder):
    """Two blocks, a ball and a capsule fall on one another."""
    for k, height in enumerate((0.0012, 0.0545)):
        builder.add_soft_body(ps.box_mesh((0.05,) * 3, (2, 2, 2), origin=(0.004 * k, 0.002 * k, height)), RUBBER, velocity=(0, 0, -0.3))
    motion = {"mass": 0.05, "angular_velocity": (3.0, 5.0, 1.0), "velocity": (0.2, 0.1, -0.5)}
    builder.add_rigid_body(ps.Sphere(0.02), position=(0.02, 0.02, 0.128), **motion)
    builder.add_rigid_body(ps.Capsule(0.01, 0.05), position=(0.03, 0.06, 0.118), rotation=(0.7, 0.1, 0.7, 0.0), **motion)
    builder.add_ground()
    return {}


def draped(builder):
    """A cloth falls over a ball that spins in place."""
    mesh = ps.sheet_mesh((0.16, 0.16), (8, 8), origin=(-0.075, -0.083, 0.052))
    builder.add_cloth(mesh, FABRIC, velocity=(0, 0, -1.0))
    ball = builder.add_collider(ps.Sphere(0.05), name="ball")
    builder.add_ground(-0.06)
    return {ball.name: (0.0, 0.0, 0.0)}


def pressed(builder):
    """A plate presses on a block."""
    builder.add_soft_body(ps.box_mesh((0.05,) * 3, (2, 2, 2), origin=(0, 0, 0.0012)), RUBBER)
    plate = builder.add_collider(ps.Box((0.1, 0.1, 0.01)), position=(0.02, 0.03, 0.0585), name="plate")
    builder.add_ground()
    return {plate.name: (0.1, 0.0, -0.25)}


SCENES = {f.__name__: f for f in (pile, draped, pressed)}


def control_of(model, ways):
    """What is given a way goes it, what is given none turns at 4 rad/s about y."""
    times = np.linspace(0.0, 0.2, 41)
    still = np.tile([1.0, 0, 0, 0], (len(times), 1))
    turns = np.stack([np.cos(2.0 * times), 0 * times, np.sin(2.0 * times), 0 * times], axis=1)
    poses = {}
    for name, way in ways.items():
        start = model.positions.reshape(-1, model.particle_count, 3)[0, model.bodies[name].particles[0]]
        poses[name] = start + np.outer(times, way), still if np.any(way) else turns
    return ps.Control.from_poses(model, times, poses) if poses else None


def distract(solver, friction):
    """Steps from a state far away, of other parameters, and a gradient; whether they succeed does not matter."""
    model = solver.model
    wild = model.state(velocities=3.0 * np.random.default_rng(1).normal(size=model.positions.shape))
    with contextlib.suppress(ps.SolverError), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # something may be led around something
        solver.step(wild, params={friction: 0.9})
    torch.set_num_threads(1)
    mu = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    ps.simulate(solver, times=[3 * solver.dt], params={friction: mu}).positions.sum().backward()


@pytest.mark.parametrize(("scene", "dtype", "envs"), [("pile", "float64", 1), ("draped", "float64", 2), ("pressed", "float32", 1)])
def test_a_step_gives_the_same_bits_whatever_its_solver_did_before(scene, dtype, envs):
    builder = ps.ModelBuilder()
    ways = SCENES[scene](builder)
    contact = builder.enable_contact(friction=0.4)
    model = builder.finalize(dtype=dtype, envs=envs)
    control = control_of(model, ways)
    solver, other = (ps.SolverImplicit(model, dt=1 / 240, integrator="backward_euler") for _ in range(2))
    states = [model.state()]
    for _ in range(20):
        states.append(solver.step(states[-1], control)[0])
    distract(other, contact.friction)
    for k in (17, 3, 19, 0):
        for again in (other, solver):
            new, _ = again.step(states[k], control)
            for name in ("positions", "velocities"):
                np.testing.assert_array_equal(getattr(new, name), getattr(states[k + 1], name), err_msg=f"step from state {k}")


def test_how_far_a_step_may_go_at_once_does_not_depend_on_the_first_state_that_a_solver_saw():
    """Motions are limited to some lengths of edges: those at rest, not those of whatever came first."""
    builder = ps.ModelBuilder(gravity=(0, 0, 0))
    builder.add_soft_body(ps.box_mesh((0.05,) * 3, (2, 2, 2), origin=(0, 0, 0.01)), RUBBER)
    builder.add_ground()
    builder.enable_contact()
    model = builder.finalize()
    fast = model.state(velocities=np.where(model.free[:, None], [0.0, 10.0, 200.0], 0.0))
    stretched = model.state(positions=np.where(model.free[:, None], 1.5, 1.0) * model.positions)
    fresh, other = (ps.SolverImplicit(model, dt=1 / 240, integrator="backward_euler") for _ in range(2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # something would go on for long
        other.step(stretched)
        new, again = fresh.step(fast)[0], other.step(fast)[0]
    np.testing.assert_array_equal(again.positions, new.positions)
