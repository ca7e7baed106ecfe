"""Stiffness that differs from place to place: slopes against differences, and parts that are given, found, or not there."""

from types import SimpleNamespace

import numpy as np
import pytest
from field_captures import centres, hanging_block, two_stuffs

import physsim as ps
from physsim.physics.fields import cells_of, smooth_columns
from physsim.real2sim.least_squares import Variable
from physsim.twin.field import identify_field_twin
from physsim.twin.field_maps import ColumnField, border_field
from physsim.twin.field_stages import FieldProblem, Stage
from physsim.twin.terms import default_terms
from physsim.twin.unknowns import Unknown, chosen_unknowns


@pytest.fixture(scope="module")
def small():
    """A short coarse block that is softer above z = -60 mm."""
    return hanging_block(two_stuffs(lambda x: -0.06 - x[:, 2]), cells=(1, 1, 4), fine=(1, 1, 4), tracks=30)


def _bound(made):
    terms = default_terms(made.scene)
    for term in terms:
        for frame in term.first_frames:
            term.bind(int(frame), made.start.positions)
    return terms


@pytest.mark.parametrize("kind", ["columns", "border"])
def test_a_field_moves_stiffness_and_damping_as_its_slopes_say(small, kind):
    """Damping goes along with the field; the viscosity beside it is an unknown of its own."""
    scene, cells = small.scene, cells_of(small.scene.soft_body.mesh)
    columns, rates = smooth_columns(cells, 3)
    if kind == "columns":
        field = ColumnField(columns, ("young", "a", "b"), np.array([0.0, 0.3, -0.2]), np.array([np.inf, 1.0, 1.0]))
    else:
        labels = (cells.centres()[:, 2] < -0.06).astype(int)
        field = border_field(cells, labels, [-0.3, 1.0], columns[:, :2], rates[:2], 0.02)
    base = {"body.young": np.full(len(cells), 2.5e4)}
    others = chosen_unknowns(scene, {"viscosity": 60.0})
    frames = np.arange(1, 9)
    problem = FieldProblem(scene, _bound(small), others, field, base, small.start, frames, along=("body.viscosity",))
    z = np.array([[float(v.scaled(np.mean(v.start))) for v in problem.variables]])
    made = problem.settings(z)
    for name in ("body.young", "body.viscosity"):
        for i in range(z.shape[1]):
            step = np.zeros_like(z)
            step[0, i] = 1e-5 if problem.variables[i].scale == "log" else 1e-7
            ends = [problem.settings(z + s * step).parameters[name][0] for s in (1, -1)]
            difference = (ends[0] - ends[1]) / (2 * step[0, i])
            assert made.tangents[name][i, 0] == pytest.approx(difference, rel=1e-5, abs=1e-5 * made.parameters[name].max())
    residuals, jacobian = problem(z)
    assert jacobian.shape == (*residuals.shape, z.shape[1])
    assert np.isfinite(jacobian).all()
    assert (np.linalg.norm(jacobian[0], axis=0) > 0).all()


class _Plane:
    """Residuals that are linear in the unknowns, as a problem of some frames."""

    def __init__(self, unknowns, first, frames):
        self.unknowns, self.own, self.prior_rows, self.frames = unknowns, slice(first, len(unknowns)), 0, np.arange(frames)
        self.variables = [u.variable for u in unknowns]


def _linear_stage(residuals, jacobian, priors=(None,) * 3, frames=2):
    unknowns = [Unknown(Variable(f"u{i}", 1.0, 1e-6, 1e6), prior=s) for i, s in enumerate(priors)]
    scaled = np.zeros((1, len(unknowns)))
    result = SimpleNamespace(residuals=residuals[None], jacobian=jacobian[None], scaled=scaled)
    return Stage(_Plane(unknowns, 1, frames), scaled[0, 1:], unknowns[:1], result)


def test_what_follows_a_moved_border_is_the_best_of_the_linear_model(rng):
    jacobian, residuals = rng.normal(size=(8, 3)), rng.normal(size=8)
    residuals -= jacobian @ np.linalg.lstsq(jacobian, residuals, rcond=None)[0]
    z, others = _linear_stage(residuals, jacobian).followed(1, 0.2)
    expected = -0.2 * np.linalg.lstsq(jacobian[:, :2], jacobian[:, 2], rcond=None)[0]
    assert z == pytest.approx([expected[1], 0.2])
    assert float(np.log(np.mean(others[0].variable.start))) == pytest.approx(expected[0])


def test_a_change_that_follows_a_border_stays_where_the_linear_model_holds(rng):
    jacobian, residuals = rng.normal(size=(8, 3)), np.zeros(8)
    z, others = _linear_stage(residuals, jacobian, (0.1, None, None)).followed(1, 40.0)
    assert abs(float(np.log(np.mean(others[0].variable.start)))) < 0.1 + 1e-12
    assert abs(z[0]) < 1.0 + 1e-12


@pytest.mark.parametrize("noise", [1.0, 3.0])
@pytest.mark.parametrize("kept", [0.0, 0.6])
def test_chance_is_about_what_columns_explain_of_errors_of_any_size_that_may_last(noise, kept, rng):
    """Forty frames of noise that goes on from frame to frame, seen through one and the same Jacobian."""
    columns, frames = 6, 40
    rows = columns + 2
    found, expected = [], []
    for _ in range(200):
        jacobian = np.tile(rng.normal(size=(rows, columns + 1)), (frames, 1))
        residuals = noise * rng.normal(size=(frames, rows))
        for f in range(1, frames):
            residuals[f] = kept * residuals[f - 1] + np.sqrt(1 - kept**2) * residuals[f]
        residuals = residuals.ravel()
        found.append(_linear_stage(residuals, jacobian, (None,) * (columns + 1), frames).chance())
        costs = [np.linalg.lstsq(jacobian[:, :w], residuals, rcond=None)[1][0] / 2 for w in (2, columns + 1)]
        expected.append(costs[0] - costs[1])
    assert np.mean(found) == pytest.approx(np.mean(expected), rel=0.35)


@pytest.mark.slow
def test_given_parts_get_a_value_and_an_interval_each(small):
    x = centres(small.scene.soft_body.mesh)
    labels = (x[:, 2] < -0.06).astype(int)
    fit = identify_field_twin(small.scene, basis=labels, unknowns=["young", "viscosity"], start=small.start, starts=(1.0,))
    assert (fit.parts == labels).all()
    assert fit.field["young"] == pytest.approx(np.array([fit.values["young[0]"], fit.values["young[1]"]])[labels])
    assert fit.values["young[0]"] == pytest.approx(2e4, rel=0.1)
    assert fit.values["young[1]"] == pytest.approx(1e5, rel=0.25)
    for part in (0, 1):
        low, high = fit.intervals[f"young[{part}]"]
        assert low < fit.values[f"young[{part}]"] < high


def test_what_is_no_field_is_refused(small):
    with pytest.raises(ps.InputError, match="basis = 'rough'"):
        identify_field_twin(small.scene, basis="rough")
    with pytest.raises(ps.InputError, match="no parameter 'stretch'"):
        identify_field_twin(small.scene, names="stretch")
    with pytest.raises(ps.InputError, match=r"gravity has shape \[3\]"):
        identify_field_twin(small.scene, names="gravity")
    with pytest.raises(ps.InputError, match="regions"):
        identify_field_twin(small.scene, basis=np.full(len(small.scene.soft_body.mesh.cells), 1))


def _wrong_cells(made, fit, border):
    """Distance from the true border [m] of the cells that are in the wrong part, and the size of a cell."""
    mesh = made.scene.soft_body.mesh
    x = centres(mesh)
    soft = int(np.argmin([fit.values["young[0]"], fit.values["young[1]"]]))
    wrong = (fit.parts == soft) != (border(x) < 0)
    return np.abs(border(x))[wrong], (5 * mesh.volumes().mean()) ** (1 / 3)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    "slope",
    [
        0.0,
        pytest.param(0.6, marks=pytest.mark.xfail(strict=False, reason="the border is found 6 cm off, the stiff part at 159 of 100 kPa")),
    ],
)
def test_two_parts_and_their_border_are_found(slope):
    """Soft above, five times stiffer below, level or slanting: both within 25 %, the border within two cells."""

    def border(x):
        return (-0.055 - x[:, 2] + slope * x[:, 0]) / np.hypot(1.0, slope)

    made = hanging_block(two_stuffs(border))
    fit = identify_field_twin(made.scene, unknowns=["young", "viscosity"], start=made.start, starts=(1.0,))
    assert np.unique(fit.parts).tolist() == [0, 1]
    assert np.sort([fit.values["young[0]"], fit.values["young[1]"]]) == pytest.approx([2e4, 1e5], rel=0.25)
    away, cell = _wrong_cells(made, fit, border)
    assert away.max(initial=0.0) < 2 * cell


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_block_of_one_stuff_has_one_part():
    made = hanging_block(lambda x: np.full(len(x), 4e4))
    fit = identify_field_twin(made.scene, unknowns=["young", "viscosity"], start=made.start, starts=(1.0,))
    assert (fit.parts == 0).all()
    assert fit.values["young"] == pytest.approx(4e4, rel=0.1)
    assert np.ptp(fit.field["young"]) == 0.0


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_smooth_field_is_found():
    """Stiffness that rises by a factor of four from the hand down."""
    made = hanging_block(lambda x: 2e4 * 4.0 ** (-x[:, 2] / 0.12))
    fit = identify_field_twin(made.scene, basis="smooth", count=8, unknowns=["young", "viscosity"], start=made.start, starts=(1.0,))
    x = centres(made.scene.soft_body.mesh)
    upper = x[:, 2] > -0.08  # little hangs on the lowest third: how stiff it is can hardly be told
    error = np.log(fit.field["young"] / (2e4 * 4.0 ** (-x[:, 2] / 0.12)))
    assert np.sqrt(np.mean(error[upper] ** 2)) < 0.25
    assert fit.parts is None
