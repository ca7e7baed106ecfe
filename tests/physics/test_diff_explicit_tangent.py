"""The explicit solver's tangent against differences of whole runs."""

import numpy as np
import pytest

import physsim as ps
from physsim.physics.diff.tangent import ExplicitTangentRollout


@pytest.fixture(scope="module")
def model():
    builder = ps.ModelBuilder()
    net = builder.add_springs(ps.spring_net((2, 2), (0.2, 0.2)), ps.Spring(40.0, 0.05), 0.1, name="net")
    builder.attach(net, [0])
    builder.attach(net, [8], stiffness=20.0, name="soft")
    mesh = ps.box_mesh((0.2, 0.1, 0.1), (2, 1, 1))
    body = builder.add_soft_body(mesh, ps.NeoHookean(2e4, 0.3, 1000.0, viscosity=5.0, mass_damping=0.4), name="solid")
    builder.attach(body, np.flatnonzero(mesh.points[:, 0] < 1e-9))
    return builder.finalize()


@pytest.mark.parametrize("name", ["net.stiffness", "net.rest_length", "net.damping", "net.mass", "soft.stiffness", "solid.young"])
@pytest.mark.parametrize("steps", [1, 40])
def test_tangent_by_a_parameter_equals_differences(model, name, steps):
    compare(model, steps, {name: np.ones(model.parameters[name][0].shape)}, 0.0, 0.0)


@pytest.mark.parametrize("name", ["solid.poisson", "solid.density", "solid.viscosity", "solid.mass_damping", "gravity"])
def test_tangent_by_the_other_parameters_equals_differences(model, name):
    compare(model, 40, {name: np.ones(model.parameters[name][0].shape)}, 0.0, 0.0)


def test_tangent_by_the_initial_state_equals_differences(model):
    rng = np.random.default_rng(4)
    compare(model, 40, {}, rng.normal(size=model.rest.shape) * model.free[:, None], rng.normal(size=model.rest.shape) * model.free[:, None])


def compare(model, steps, directions, dx, dv):
    """Positions and velocities after some steps, by the tangent and by central differences; directions are relative."""
    solver = ps.SolverExplicit(model, 2e-4)
    rng = np.random.default_rng(3)
    x0 = model.rest + 0.003 * rng.normal(size=model.rest.shape) * model.free[:, None]
    v0 = 0.1 * rng.normal(size=model.rest.shape) * model.free[:, None]
    base = {name: model.parameters[name][0] for name in directions}
    tangents = {name: (d * base[name])[None, None] for name, d in directions.items()}

    def end(s):
        params = model.resolve({name: base[name] * (1 + s * d) for name, d in directions.items()})
        state = model.state(x0 + s * dx, v0 + s * dv)
        for _ in range(steps):
            state, _ = solver.advance(state, None, params)
        return np.concatenate([state.positions, state.velocities])

    h = 1e-5
    slope = (end(h) - end(-h)) / (2 * h)
    zero = np.zeros((1, 1, *model.rest.shape))
    follow = ExplicitTangentRollout(solver, tangents, 1, zero + dx, zero + dv)
    state = model.state(x0, v0)
    for _ in range(steps):
        after, _ = solver.advance(state, None, model.parameters)
        follow.follow(state, after, None, model.parameters)
        state = after
    found = np.concatenate([follow.x[0, 0], follow.v[0, 0]])
    np.testing.assert_allclose(found, slope, rtol=0, atol=2e-6 * max(np.abs(slope).max(), 1e-9))
