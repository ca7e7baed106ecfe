"""Fits without gradients: against closed forms, and of what sticks or slips."""

import numpy as np
import pytest

import physsim as ps
from physsim.real2sim.least_squares import Variable
from physsim.twin.evolution import minimise_without_gradient


def test_the_least_of_a_stretched_bowl_is_found_and_numpys_global_generator_is_left_alone(capfd):
    """cost = (ln(a / 3e4))^2 + 100 (b - 0.2)^2 + their product: least at a = 3e4, b = 0.2."""
    variables = [Variable("a", 1e4, 1e2, 1e7), Variable("b", 0.5, 0.0, 1.0, "linear")]

    def cost(values):
        u, w = np.log(values[:, 0] / 3e4), 10 * (values[:, 1] - 0.2)
        return u**2 + w**2 + u * w

    np.random.seed(4)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    first = minimise_without_gradient(cost, variables, 8, seed=3, max_evaluations=1000, tolerance=1e-5)
    again = minimise_without_gradient(cost, variables, 8, seed=3, max_evaluations=1000, tolerance=1e-5)
    assert first.values["a"] == pytest.approx(3e4, rel=1e-3)
    assert first.values["b"] == pytest.approx(0.2, abs=1e-4)
    assert first.reason == "spread"
    assert (first.theta == again.theta).all()
    assert (np.diff(first.history) <= 0).all()
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002
    assert capfd.readouterr().out == ""


def test_a_staircase_a_whole_number_and_failed_candidates_are_no_obstacle():
    """No slope anywhere: the cost counts whole steps from 7, and is not finite above 12."""
    variables = [Variable("count", 3.0, 1.0, 20.0, "linear")]
    seen = []

    def cost(values):
        seen.append(values[:, 0])
        return np.where(values[:, 0] > 12, np.nan, np.abs(values[:, 0] - 7.0))

    found = minimise_without_gradient(cost, variables, 6, seed=1, max_evaluations=200, whole=["count"])
    assert found.theta == pytest.approx([7.0])
    assert found.cost == 0.0
    assert (np.concatenate(seen) % 1 == 0).all()


def test_a_generation_that_fails_whole_ends_no_search():
    generations = []

    def cost(values):
        generations.append(len(generations))
        return np.full(4, 1.0 if len(generations) < 12 else np.nan)  # the search looks for costs that agree from the twelfth on

    found = minimise_without_gradient(cost, [Variable("a", 1.0, 0.1, 10.0)], 4, seed=1, max_evaluations=60)
    assert (found.cost, found.failed, found.reason) == (1.0, 16, "evaluations")


def test_what_cannot_be_searched_is_refused():
    one = [Variable("a", 1.0, 0.1, 10.0)]
    with pytest.raises(ps.InputError, match="population"):
        minimise_without_gradient(lambda v: v[:, 0], one, 3)
    with pytest.raises(ps.InputError, match=r"shape \[4, 1\] for 4 candidates"):
        minimise_without_gradient(lambda v: v, one, 4)
    with pytest.raises(ps.InputError, match="no variable 'b'"):
        minimise_without_gradient(lambda v: v[:, 0], one, 4, whole=["b"])
    with pytest.raises(ps.SolverError, match="no first candidate"):
        minimise_without_gradient(lambda v: np.full(4, np.nan), one, 4)


def test_friction_is_found_where_a_block_stops(rng):
    """A cube thrown along the ground stops after v^2 / (2 mu g); where it sticks or slips the slope by mu jumps."""
    population, speed, truth = 6, 0.8, 0.37
    builder = ps.ModelBuilder()
    cube = ps.box_mesh((0.04, 0.04, 0.04), (1, 1, 1), origin=(0.0, 0.0, 5e-4))
    body = builder.add_soft_body(cube, ps.NeoHookean(young=1e6, poisson=0.3, density=500.0), velocity=(speed, 0.0, 0.0))
    builder.add_ground()
    builder.set_surface(body)
    pair = builder.enable_contact(gap=1e-3, friction=0.5)
    model = builder.finalize(envs=population)
    solver = ps.SolverImplicit(model, 1 / 100, "backward_euler", strict=False)

    def way(friction):
        x = ps.simulate(solver, times=[0.35], params={pair.friction: friction[:, None]}).positions.detach().numpy()
        return (x[0] - model.positions).mean(axis=1)[:, 0]

    measured = way(np.full(population, truth))[0]
    variable = Variable("friction", 0.8, 0.05, 2.0)
    found = minimise_without_gradient(lambda v: (way(v[:, 0]) - measured) ** 2, [variable], population, seed=2, max_evaluations=90)
    assert found.values["friction"] == pytest.approx(truth, rel=0.02)
