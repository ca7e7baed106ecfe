"""Tendons: what they pull with, against statics by hand; when they are slack; what is refused."""

import numpy as np
import pytest

from physsim.errors import InputError
from physsim.physics.builder import ModelBuilder
from physsim.physics.materials import NeoHookean, Spring
from physsim.physics.mesh import SpringNet, box_mesh
from physsim.physics.model import Control
from physsim.physics.solvers.implicit import SolverImplicit
from physsim.physics.solvers.static import SolverStatic


def chain(count=3, stiffness=100.0):
    """Particles in a row along x, 1 m apart, joined by springs; the first is held."""
    builder = ModelBuilder(gravity=(0.0, 0.0, 0.0))
    points = np.arange(count)[:, None] * np.array([1.0, 0.0, 0.0])
    body = builder.add_springs(
        SpringNet(points, np.stack([np.arange(count - 1), np.arange(1, count)], axis=1)), Spring(stiffness), mass=1.0
    )
    builder.attach(body, [0], name="wall")
    return builder, body


@pytest.mark.parametrize("pull", [0.0, 0.01, 0.1])
def test_a_tendon_in_series_with_springs_shares_the_pull_by_compliance(pull):
    """Two springs of 100 N/m and a tendon of 300 N/m beside them, pulled at its end: 1/k adds up."""
    builder, body = chain()
    tendon = builder.add_tendon(body, [2], 300.0, end=(3.0, 0.0, 0.0), onset=1e-9)
    model = builder.finalize()
    control = Control([0.0], {tendon.name: np.array([[[3.0 + pull, 0.0, 0.0]]])})
    state, _ = SolverStatic(model).solve(control=control)
    together = 1 / (2 / 100 + 1 / 300)
    np.testing.assert_allclose(state.positions[2, 0] - 2.0, 2 * together * pull / 100, atol=1e-7)


def test_a_tendon_through_waypoints_draws_them_together_with_one_tension():
    """A string of rest length L round all four points of a row: the middle ones feel nothing, the ends are drawn in."""
    builder, body = chain(count=4)
    tendon = builder.add_tendon(body, [0, 1, 2, 3], 50.0, slack=-0.4, onset=1e-9)
    state, _ = SolverStatic(builder.finalize()).solve()
    # all three springs are pressed by T: shortened by T / 100 each; the tendon is 0.4 - 3 T / 100 too long
    T = 50.0 * 0.4 / (1 + 3 * 50 / 100)
    np.testing.assert_allclose(np.diff(state.positions[:, 0]), 1 - T / 100, atol=1e-7)
    assert tendon.length == pytest.approx(3.0) and tendon.end is None


def test_a_slack_tendon_does_nothing_and_one_that_is_let_go_does_not_push():
    builder, body = chain()
    tendon = builder.add_tendon(body, [0, 2], 1e4, slack=0.05)
    model = builder.finalize()
    still, _ = SolverStatic(model).solve()
    np.testing.assert_allclose(still.positions, model.rest, atol=1e-12)
    pulled, _ = SolverStatic(model).solve(params={tendon.rest_length: 1.9})
    assert pulled.positions[2, 0] < 1.95
    again, _ = SolverStatic(model).solve(pulled, params={tendon.rest_length: 3.0})
    np.testing.assert_allclose(again.positions, model.rest, atol=1e-9)


def test_tension_over_extension_is_smooth_where_the_tendon_comes_taut():
    """Force on the end of a rigid pair against the law's f'(s): s^2/2w within the onset w, then s - w/2."""
    builder, body = chain(count=2)
    tendon = builder.add_tendon(body, [1], 200.0, end=(2.0, 0.0, 0.0), onset=0.02)
    model = builder.finalize()
    for pull in (0.005, 0.015, 0.02, 0.05):
        control = Control([0.0], {tendon.name: np.array([[[2.0 + pull, 0.0, 0.0]]])})
        state, _ = SolverStatic(model).solve(control=control)
        moved = state.positions[1, 0] - 1.0
        s = pull - moved
        tension = 200.0 * (s**2 / 0.04 if s < 0.02 else s - 0.01)
        np.testing.assert_allclose(100.0 * moved, tension, rtol=1e-4)


def test_a_tendon_beside_a_beams_axis_bends_it_to_a_circle():
    """A tendon at distance e from the axis presses the beam by T and bends it by T e: curvature T e / (E I)."""
    builder = ModelBuilder(gravity=(0.0, 0.0, 0.0))
    length, h, pull = 0.3, 0.02, 1e-3
    beam = builder.add_soft_body(box_mesh((length, h, h), (12, 1, 1), order=2), NeoHookean(1e5, 0.3, 1000.0))
    x = beam.mesh.points
    builder.attach(beam, np.flatnonzero(x[:, 0] < 1e-9), name="wall")

    def line(z):
        found = np.flatnonzero((np.abs(x[:, 2] - z) < 1e-9) & (np.abs(x[:, 1] - h / 2) < 1e-9))
        return found[np.argsort(-x[found, 0])]

    lowest = line(0.0)
    chosen = lowest[np.linspace(0, len(lowest) - 1, 7).round().astype(int)]
    tendon = builder.add_tendon(beam, chosen, 1e5, end=(-0.05, h / 2, 0.0), onset=1e-8)
    control = Control([0.0], {tendon.name: np.array([[[-0.05 - pull, h / 2, 0.0]]])})
    state, _ = SolverStatic(builder.finalize()).solve(control=control)
    # what the tendon loses, pull = length (T / (E A) + T e^2 / (E I)) = length kappa (I / A / e + e), with I / A = h^2 / 12, e = h / 2
    kappa = pull / (length * (h**2 / 12 / (h / 2) + h / 2))
    tip = line(h / 2)[0]
    assert state.positions[tip, 2] - h / 2 == pytest.approx(-0.5 * kappa * length**2, rel=0.05)


def test_a_tendon_pulled_in_time_moves_what_it_holds():
    builder, body = chain()
    tendon = builder.add_tendon(body, [2], 500.0, end=(3.0, 0.0, 0.0))
    model = builder.finalize()
    solver = SolverImplicit(model, 0.01, "bdf2")
    times = np.linspace(0.0, 1.0, 11)
    targets = np.zeros((11, 1, 3))
    targets[:, 0, 0] = 3.0 + 0.1 * times
    control = Control(times, {tendon.name: targets})
    state = model.state()
    for _ in range(100):
        state, _ = solver.step(state, control)
    assert 0.02 < state.positions[2, 0] - 2.0 < 0.12


def test_wrong_tendons_are_refused_and_leave_the_builder_as_it_was():
    builder, body = chain(count=10)

    def refused(word, *arguments, **options):
        with pytest.raises(InputError, match=word):
            builder.add_tendon(*arguments, **options)

    refused("waypoints", body, [1], 10.0)
    refused("waypoints", body, list(range(9)), 10.0)
    refused("waypoints", body, list(range(8)), 10.0, end=(11.0, 0, 0))
    refused("one place", body, [1, 2], 10.0, end=(2.0, 0.0, 0.0))
    refused("stiffness", body, [1, 2], 0.0)
    refused("onset", body, [1, 2], 1.0, onset=0.0)
    refused("slack = -2", body, [1, 2], 1.0, slack=-2.0)
    refused("twice", body, [1, 1], 1.0)
    refused("another builder", chain()[1], [0, 1], 1.0)
    refused("taken", body, [1, 2], 1.0, name="wall")
    assert builder.finalize().particle_count == 10
