"""Tangents of many directions at once against those of one after the other."""

import numpy as np
import pytest

import physsim as ps
from physsim.physics.diff import block
from physsim.physics.diff.adjoint import Rollout
from physsim.physics.diff.tangent import TangentRollout


def solid():
    builder = ps.ModelBuilder()
    mesh = ps.box_mesh((0.1, 0.04, 0.04), (4, 2, 2))
    body = builder.add_soft_body(mesh, ps.NeoHookean(2e4, 0.3, 1000.0, viscosity=20.0))
    builder.attach(body, np.flatnonzero(mesh.points[:, 0] < 1e-9))
    return builder, body.young


def sheet():
    builder = ps.ModelBuilder()
    mesh = ps.sheet_mesh((0.2, 0.2), (17, 17))  # multigrid, blocks in single precision
    body = builder.add_cloth(mesh, ps.Shell(young=1e5, thickness=1e-3, density=300.0, stretch_damping=0.05, bending_damping=1e-6))
    builder.attach(body, np.flatnonzero(mesh.points[:, 0] < 1e-9))
    return builder, body.young


def resting():
    builder = ps.ModelBuilder()
    mesh = ps.box_mesh((0.1, 0.1, 0.04), (3, 3, 1), origin=(0, 0, 0.0012))
    body = builder.add_soft_body(mesh, ps.NeoHookean(2e4, 0.3, 1000.0, viscosity=20.0))
    builder.add_collider(ps.Plane())
    builder.enable_contact(gap=1e-3, friction=0.4)
    return builder, body.young


def tangents(make, many, monkeypatch, envs=2):
    monkeypatch.setattr(block, "FEWEST", 3 if many else 10**9)
    builder, young = make()
    model = builder.finalize(envs=envs)
    solver = ps.SolverImplicit(model, 1 / 120, "bdf2" if model.contact is None else "backward_euler")
    rng = np.random.default_rng(0)
    shape = (4, envs, model.particle_count, 3)
    dx, dv = rng.standard_normal(shape), rng.standard_normal(shape)
    dx[:, :, ~model.free] = dv[:, :, ~model.free] = 0.0
    moved = np.zeros((4, envs, *young.shape))
    moved[0] = 1e4
    rollout = Rollout(solver, model.state(), model.parameters)
    follow = TangentRollout(solver, {young.name: moved}, 4, positions=dx, velocities=dv, tolerance=1e-9)
    assert (follow._block is not None) == many
    for _ in range(4):
        old = rollout.last
        follow.follow(old, rollout.advance(), None, model.parameters)
    return follow.x


@pytest.mark.parametrize("make", [solid, sheet, resting])
def test_one_factor_for_all_directions_gives_the_same_tangents(make, monkeypatch):
    one, many = (tangents(make, many, monkeypatch) for many in (False, True))
    assert many == pytest.approx(one, rel=1e-6, abs=1e-6 * np.abs(one).max())


def test_environments_of_a_replicated_model_are_like_the_one(monkeypatch):
    builder, young = solid()
    model = builder.finalize()
    twice = model.replicated(2)
    assert twice.envs == 2
    single, _ = ps.SolverImplicit(model).step(model.state())
    both, _ = ps.SolverImplicit(twice).step(twice.state(), params={young: [[2e4] * young.shape[0], [4e4] * young.shape[0]]})
    assert both.positions[0] == pytest.approx(single.positions, abs=1e-9)
    assert np.abs(both.positions[1] - single.positions).max() > 1e-9
    with pytest.raises(ps.InputError, match="2 environments"):
        twice.replicated(3)
