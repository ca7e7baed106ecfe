"""Identification: what went into a simulation comes out of its tracks, with intervals that hold and a word where data cannot tell."""

import numpy as np
import pytest

import physsim as ps
from physsim.physics.solvers.static import SolverStatic
from physsim.real2sim.identify import StartAtScaledGravity, StartAtState, identify, identify_field, identify_rest
from physsim.real2sim.least_squares import Variable
from physsim.real2sim.tracks import Tracks

YOUNG, VISCOSITY = 5e4, 20.0
MARKERS = np.array([[0.2, 0.02, 0.02], [0.1, 0.02, 0.04], [0.15, 0.04, 0.02]])
DT = 0.01


def small_beam(envs=None, viscosity=VISCOSITY, young=YOUNG, poisson=0.3):
    """(model, body, mesh) of a clamped beam of 10 ten-node tetrahedra, 20 x 4 x 4 cm."""
    mesh = ps.box_mesh((0.2, 0.04, 0.04), (2, 1, 1), order=2)
    builder = ps.ModelBuilder()
    body = builder.add_soft_body(mesh, ps.NeoHookean(young, poisson, 1000.0, viscosity=viscosity), name="beam")
    builder.attach(body, np.flatnonzero(mesh.points[:, 0] == 0.0))
    return builder.finalize(envs=envs), body, mesh


def tracks_of(model, mesh, times, state=None, markers=MARKERS, noise=1e-3, **options):
    """Tracks of a simulation of the model itself, without noise."""
    nodes, weights = mesh.interpolation(markers)
    trajectory = ps.simulate(ps.SolverImplicit(model, DT), state, times=times)
    empty = Tracks(times, nodes, weights, np.zeros((len(times), len(markers), 3)), noise=noise, **options)
    return Tracks(times, nodes, weights, empty.observe(trajectory.positions.numpy()), noise=noise, **options)


def young_variable(start, **bounds):
    return Variable("young", start, **({"lower": 1e3, "upper": 1e7} | bounds), unit="Pa")


def viscosity_variable(start):
    return Variable("viscosity", start, lower=0.1, upper=1e3, unit="Pa s")


def fit_beam(tracks, starts, progress=None, **options):
    envs = len(starts["young"])
    model, body, _ = small_beam(envs=envs)
    wanted = {body.young: young_variable(starts["young"]), body.viscosity: viscosity_variable(starts["viscosity"])}
    solver = ps.SolverImplicit(model, DT, strict=False)
    return identify(solver, tracks, wanted, start=StartAtState(model.state()), progress=progress, **options)


def test_beam_is_recovered_from_two_starts():
    """Young's modulus and viscosity to 1e-3 from two thirds and from twice the modulus, side by side."""
    model, _, mesh = small_beam()
    tracks = tracks_of(model, mesh, np.arange(1, 26) * DT)
    said = []
    fit = fit_beam(tracks, {"young": [3.3e4, 1e5], "viscosity": [8.0, 60.0]}, lambda *now: said.append(now), horizons=(0.1, None))
    assert fit.values["young"] == pytest.approx(YOUNG, rel=1e-3)
    assert fit.values["viscosity"] == pytest.approx(VISCOSITY, rel=1e-3)
    np.testing.assert_allclose(fit.result.theta, np.tile([YOUNG, VISCOSITY], (2, 1)), rtol=1e-3)
    np.testing.assert_allclose(fit.observed, tracks.positions, atol=1e-5)
    assert fit.intervals.undetermined == {}
    assert "young" in fit.statement()
    assert len(said) > 2
    assert sorted({round(horizon, 2) for horizon, *_ in said}) == [0.1, 0.24]
    assert fit.parameters["beam.young"][0, 0] == pytest.approx(YOUNG, rel=1e-3)


def test_frames_between_steps_and_gaps_do_no_harm():
    """Frames that fall on no step, a marker lost for a while, and two of three components."""
    model, _, mesh = small_beam()
    tracks = tracks_of(model, mesh, 0.0037 + 0.0083 * np.arange(36), components="xz")
    tracks.positions[5:9, 1] = np.nan
    tracks.positions[20, 0, 2] = np.nan
    fit = fit_beam(tracks, {"young": [4e4], "viscosity": [10.0]})
    assert fit.values["young"] == pytest.approx(YOUNG, rel=1e-3)
    assert fit.values["viscosity"] == pytest.approx(VISCOSITY, rel=1e-3)


def test_one_failing_start_does_not_end_the_others():
    """A modulus of 1e-9 Pa cannot be simulated in few iterations."""
    model, _, mesh = small_beam()
    tracks = tracks_of(model, mesh, np.arange(1, 21) * DT)
    many, body, _ = small_beam(envs=2)
    solver = ps.SolverImplicit(many, DT, strict=False, max_iterations=25)
    wanted = {body.young: young_variable([4e4, 1e-9], lower=1e-10)}
    fit = identify(solver, tracks, wanted, start=StartAtState(many.state()))
    assert fit.values["young"] == pytest.approx(YOUNG, rel=1e-3)


def test_release_from_a_held_pose_is_fitted_with_its_amplitude():
    """Let go from the equilibrium under 0.4 g: the multiple of gravity comes out along with the modulus."""
    model, _, mesh = small_beam()
    held, _ = ps.solve_equilibrium(model, params={"gravity": [0, 0, -0.4 * 9.81]})
    tracks = tracks_of(model, mesh, np.arange(1, 31) * DT, model.state(held.positions))
    many, body, _ = small_beam(envs=4)
    start = StartAtScaledGravity(SolverStatic(many, strict=False), 0.0, Variable("multiple", 0.6, lower=-2.0, upper=3.0, scale="linear"))
    wanted = {body.young: young_variable(np.geomspace(3.5e4, 8e4, 4)), body.viscosity: viscosity_variable(10.0)}
    fit = identify(ps.SolverImplicit(many, DT, strict=False), tracks, wanted, start=start)
    assert fit.values["young"] == pytest.approx(YOUNG, rel=1e-3)
    assert fit.values["viscosity"] == pytest.approx(VISCOSITY, rel=2e-3)
    assert fit.values["multiple"] == pytest.approx(0.4, rel=2e-3)


def test_resting_pose_gives_the_modulus():
    model, _, mesh = small_beam()
    state, _ = ps.solve_equilibrium(model)
    nodes, weights = mesh.interpolation(MARKERS)
    seen = np.einsum("pk,pkc->pc", weights, state.positions[nodes])
    many, body, _ = small_beam(envs=2)
    found = identify_rest(SolverStatic(many, strict=False), seen, nodes, weights, {body.young: young_variable([2e4, 2e5])})
    np.testing.assert_allclose(found.theta[:, 0], YOUNG, rtol=1e-3)


# --- what data cannot tell ------------------------------------------------------------------------------------------------------------


def noisy(tracks, rng, size=5e-4, memory=0.0):
    """Tracks with autoregressive noise of standard deviation `size` [m] on every number."""
    frames = len(tracks.times)
    white = rng.normal(size=(frames + 50, *tracks.positions.shape[1:]))
    noise = np.zeros_like(white)
    for f in range(1, len(noise)):
        noise[f] = memory * noise[f - 1] + np.sqrt(1 - memory**2) * white[f]
    positions = tracks.positions + size * noise[50:]
    return Tracks(tracks.times, tracks.nodes, tracks.weights, positions, tracks.components, size)


def test_swing_tells_young_and_density_as_a_ratio_only(rng):
    """Gravity and inertia both go with the mass, so that a motion depends on E / rho: no numbers, but the ratio."""
    model, _, mesh = small_beam(viscosity=0.0)
    tracks = noisy(tracks_of(model, mesh, np.arange(1, 31) * DT), rng)
    many, body, _ = small_beam(envs=1, viscosity=0.0)
    density = Variable("density", 1200.0, lower=100.0, upper=1e4, unit="kg/m^3")
    solver = ps.SolverImplicit(many, DT, strict=False)
    fit = identify(solver, tracks, {body.young: young_variable(5.5e4), body.density: density}, start=StartAtState(many.state()))
    assert set(fit.intervals.undetermined) == {"young", "density"}
    assert fit.intervals.determined == ("young / density",)
    assert "young is undetermined by this motion" in fit.statement()
    assert fit.values["young"] / fit.values["density"] == pytest.approx(YOUNG / 1000.0, rel=0.02)


def test_light_bending_does_not_tell_poissons_ratio(rng):
    """The deflection of a thin beam does not depend on it: a tip drop of 1 mm seen to 0.5 mm leaves every value possible."""
    mesh = ps.box_mesh((0.2, 0.02, 0.02), (4, 1, 1), order=2)
    models = []
    for envs in (None, 1):
        builder = ps.ModelBuilder(gravity=(0.0, 0.0, -0.1))
        body = builder.add_soft_body(mesh, ps.NeoHookean(3e5, 0.3, 1000.0), name="beam")
        builder.attach(body, np.flatnonzero(mesh.points[:, 0] == 0.0))
        models.append(builder.finalize(envs=envs))
    tracks = noisy(tracks_of(models[0], mesh, np.arange(1, 31) * DT, markers=np.array([[0.2, 0.01, 0.01]])), rng)
    poisson = Variable("poisson", 0.2, lower=-0.5, upper=0.49, scale="linear")
    solver = ps.SolverImplicit(models[1], DT, strict=False)
    wanted = {body.young: young_variable(2.8e5), body.poisson: poisson}
    fit = identify(solver, tracks, wanted, start=StartAtState(models[1].state()))
    print(fit.statement())
    assert "poisson" in fit.intervals.undetermined


# --- intervals ------------------------------------------------------------------------------------------------------------------------


def slender_beam(cells, envs=None):
    """30 x 2 x 2 cm at a Poisson's ratio of 0 under 0.6 m/s^2, 4 MPa: sags by 4.6 mm and swings at 7 Hz, a tenth damped.

    Without contraction at the clamp, ten-node meshes converge fast: 50 tetrahedra sag 0.12 % less than 400, a sixth of what noise
    of 0.5 mm leaves open.
    """
    mesh = ps.box_mesh((0.3, 0.02, 0.02), cells, order=2)
    builder = ps.ModelBuilder(gravity=(0.0, 0.0, -0.6))
    body = builder.add_soft_body(mesh, ps.NeoHookean(4e6, 0.0, 1000.0, viscosity=1e4), name="beam")
    builder.attach(body, np.flatnonzero(mesh.points[:, 0] == 0.0))
    return builder.finalize(envs=envs), body, mesh


@pytest.mark.slow
@pytest.mark.parametrize("memory", [0.0, 0.5])
def test_intervals_cover_the_truth_as_often_as_they_say(memory):
    """20 noisy recordings of a finer mesh's motion: at least 17 intervals of 95 % hold the truth, and none is idly wide.

    The seed is fixed: even exact intervals would miss 17 of 20 once in 60 tries.
    """
    rng = np.random.default_rng(0)
    fine, _, fine_mesh = slender_beam((20, 2, 2))
    markers = np.array([[0.3, 0.01, 0.01], [0.2, 0.01, 0.01]])
    clean = tracks_of(fine, fine_mesh, np.arange(1, 61) * DT, markers=markers, components="z")
    coarse, body, mesh = slender_beam((10, 1, 1), envs=1)
    nodes, weights = mesh.interpolation(markers)
    solver = ps.SolverImplicit(coarse, DT, strict=False)
    wanted = {body.young: young_variable(3.6e6), body.viscosity: Variable("viscosity", 7e3, lower=100.0, upper=1e6)}
    truth = np.log([4e6, 1e4])
    estimates, ends = [], []
    for _ in range(20):
        seen = noisy(Tracks(clean.times, nodes, weights, clean.positions, "z"), rng, memory=memory)
        fit = identify(solver, seen, wanted, start=StartAtState(coarse.state()))
        estimates.append(np.log([fit.values["young"], fit.values["viscosity"]]))
        ends.append(np.log([fit.intervals.lower, fit.intervals.upper]))
    estimates, ends = np.array(estimates), np.array(ends)
    inside = ((ends[:, 0] < truth) & (truth < ends[:, 1])).sum(axis=0)
    widths, spreads = (ends[:, 1] - ends[:, 0]).mean(axis=0), estimates.std(axis=0, ddof=1)
    print(f"inside {inside} of 20; spreads {spreads}; width / (3.92 spreads) {widths / (3.92 * spreads)}; bias {estimates.mean(0) - truth}")
    assert (inside >= 17).all()
    assert ((widths > 0.7 * 3.92 * spreads) & (widths < 2.0 * 3.92 * spreads)).all()


# --- fields ---------------------------------------------------------------------------------------------------------------------------


def taut_chain():
    """(model, body, state, truth): three masses between two walls, four springs."""
    points = np.stack([np.linspace(0.0, 1.0, 5), np.zeros(5), np.zeros(5)], axis=1)
    net = ps.SpringNet(points, [[0, 1], [1, 2], [2, 3], [3, 4]])
    truth = np.array([50.0, 100.0, 200.0, 80.0])
    builder = ps.ModelBuilder(gravity=(0.0, 0.0, 0.0))
    body = builder.add_springs(net, ps.Spring(truth), mass=0.5, name="chain")
    builder.attach(body, [0, 4])
    model = builder.finalize()
    velocities = np.zeros((5, 3))
    velocities[1:4, 0] = [1.0, -0.5, 0.3]
    return model, body, model.state(velocities=velocities), truth


def test_field_is_recovered_and_stops_early():
    model, body, state, truth = taut_chain()
    solver = ps.SolverImplicit(model, DT)
    times = np.arange(1, 11) * DT
    measured = ps.simulate(solver, state, times=times).positions
    loss = lambda trajectory: (trajectory.positions - measured).square().sum() * 1e6  # noqa: E731
    options = {"times": times, "state": state, "rate": 0.2}
    found, losses = identify_field(solver, loss, body.stiffness, 100.0, max_iterations=100, **options)
    np.testing.assert_allclose(found, truth, rtol=0.01)
    # from the answer there is no way down: patience runs out
    again, few = identify_field(solver, loss, body.stiffness, truth, max_iterations=100, patience=5, **options)
    np.testing.assert_allclose(again, truth, rtol=1e-12)
    assert len(few) == 7 < len(losses)
    bounded, _ = identify_field(solver, loss, body.stiffness, 100.0, lower=70.0, upper=150.0, max_iterations=30, **options)
    assert bounded.min() >= 70.0 * (1 - 1e-12)
    assert bounded.max() <= 150.0 * (1 + 1e-12)


def test_a_field_in_a_basis_comes_back_from_beyond_its_bounds():
    """The first step, of 2 in the logarithm, takes every entry out."""
    model, body, state, _ = taut_chain()
    solver = ps.SolverImplicit(model, DT)
    times = np.arange(1, 11) * DT
    measured = ps.simulate(solver, state, times=times, params={body.stiffness: [80.0, 120.0, 100.0, 90.0]}).positions
    loss = lambda trajectory: (trajectory.positions - measured).square().sum() * 1e6  # noqa: E731
    options = {"times": times, "state": state, "lower": 50.0, "upper": 200.0, "rate": 2.0, "basis": np.eye(4)}
    _, losses = identify_field(solver, loss, body.stiffness, 105.0, max_iterations=15, patience=15, **options)
    assert losses[1] > losses[0]
    assert losses[-5:].min() < 0.5 * losses[1]


@pytest.mark.parametrize("start", [0.0, -5.0, [100.0, 100.0, 0.0, 100.0]])
def test_field_that_does_not_start_above_zero_is_refused(start):
    model, body, state, _ = taut_chain()
    with pytest.raises(ps.InputError, match="stiffness"):
        identify_field(ps.SolverImplicit(model, DT), lambda t: t.positions.sum(), body.stiffness, start, times=[0.1], state=state)


def test_field_of_a_parameter_that_is_not_there_is_refused():
    model, _, state, _ = taut_chain()
    with pytest.raises(ps.InputError, match=r"no parameter 'chain\.hardness'.*it has"):
        identify_field(ps.SolverImplicit(model, DT), lambda t: t.positions.sum(), "chain.hardness", 1.0, times=[0.1], state=state)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lower": 120.0}, r"stiffness: start = 100 at \[0\]: must lie in \[120, inf\)"),
        ({"upper": 80.0}, r"stiffness: start = 100 at \[0\]: must lie in"),
        ({"lower": 200.0, "upper": 50.0}, "lower = 200 and upper = 50: lower must lie below upper"),
        ({"lower": -1.0}, r"stiffness: lower = -1: must lie in \(0, inf\)"),
        ({"basis": np.zeros((4, 0))}, "basis: no columns"),
    ],
)
def test_bounds_and_bases_of_a_field_that_cannot_be_are_refused(options, message):
    model, body, state, _ = taut_chain()
    solver = ps.SolverImplicit(model, DT)
    with pytest.raises(ps.InputError, match=message):
        identify_field(solver, lambda t: t.positions.sum(), body.stiffness, 100.0, times=[0.1], state=state, **options)


def test_a_field_stays_within_the_parameters_own_bounds():
    """Poisson's ratio of a sheet, pushed towards 1 for ever."""
    builder = ps.ModelBuilder(gravity=(0, 0, 0))
    mesh = ps.sheet_mesh((1.0, 1.0), (2, 2))
    body = builder.add_cloth(mesh, ps.Shell(stretch=100.0, area_density=0.1))
    builder.attach(body, np.flatnonzero(np.isin(mesh.points[:, 0], (0.0, 1.0))), name="ends")
    control = ps.Control([0.0], {"ends": (mesh.points[body.points[:, 0] != 0.5] * [1.2, 1, 1])[None]})
    solver = ps.SolverImplicit(builder.finalize(), DT)
    loss = lambda t: t.positions[-1, 1, 1] - t.positions[-1, 7, 1]  # noqa: E731
    options = {"times": [DT], "control": control, "rate": 0.5, "max_iterations": 6}
    found, _ = identify_field(solver, lambda t: -loss(t), body.poisson, 0.6, **options)
    assert (found < 1).all() and found.max() > 0.6


def test_too_few_frames_are_refused_before_the_fit():
    model, body, mesh = small_beam(envs=1)
    tracks = Tracks(DT * np.arange(1, 12), *mesh.interpolation(MARKERS), np.zeros((11, 3, 3)))
    solver = ps.SolverImplicit(model, DT, strict=False)
    with pytest.raises(ps.InputError, match=r"tracks: 11 frames .* 12 are needed for 1 unknowns"):
        identify(solver, tracks, {body.young: young_variable(5e4)}, progress=lambda *a: pytest.fail("fitted"))
    with pytest.raises(ps.InputError, match=r"horizons = 0\.5: a list"):
        identify(solver, tracks, {body.young: young_variable(5e4)}, horizons=0.5)


# --- bad input ------------------------------------------------------------------------------------------------------------------------


def test_strict_and_explicit_solvers_are_refused():
    model, body, mesh = small_beam(envs=1)
    tracks = Tracks([0.1], *mesh.interpolation(MARKERS), np.zeros((1, 3, 3)))
    for solver in (ps.SolverImplicit(model, DT), ps.SolverExplicit(model, DT)):
        with pytest.raises(ps.InputError, match="strict=False is needed"):
            identify(solver, tracks, {body.young: young_variable(5e4)})


def test_starts_that_do_not_match_the_environments_are_refused():
    model, body, mesh = small_beam(envs=2)
    tracks = Tracks([0.1], *mesh.interpolation(MARKERS), np.zeros((1, 3, 3)))
    with pytest.raises(ps.InputError, match=r"young: 3 starts were given for 2 environments"):
        identify(ps.SolverImplicit(model, DT, strict=False), tracks, {body.young: young_variable([1e4, 2e4, 3e4])})


def test_unknown_parameters_are_refused():
    model, _, mesh = small_beam(envs=1)
    tracks = Tracks([0.1], *mesh.interpolation(MARKERS), np.zeros((1, 3, 3)))
    with pytest.raises(ps.InputError, match=r"no parameter 'beam\.stiffness'"):
        identify(ps.SolverImplicit(model, DT, strict=False), tracks, {"beam.stiffness": young_variable(5e4)})


def test_starts_that_cannot_be_simulated_end_with_an_error():
    model, body, mesh = small_beam(envs=1)
    tracks = tracks_of(small_beam()[0], mesh, np.arange(1, 21) * DT)
    solver = ps.SolverImplicit(model, DT, strict=False, max_iterations=1, tolerance=1e-14)
    with pytest.raises(ps.SolverError, match="identify"):
        identify(solver, tracks, {body.young: young_variable(5e4)}, start=StartAtState(model.state()))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"times": [0.1, 0.1]}, "later than the one before"),
        ({"times": []}, "at least one"),
        ({"times": [0.1, np.nan]}, r"Tracks\.times"),
        ({"positions": np.zeros((2, 4, 3))}, r"Tracks\.positions: shape \[2, 4, 3\]"),
        ({"weights": np.zeros((3, 9))}, r"Tracks\.weights"),
        ({"nodes": -np.ones((3, 10), int)}, r"Tracks\.nodes"),
        ({"components": "xw"}, "components"),
        ({"components": ""}, "components"),
        ({"noise": 0.0}, r"Tracks\.noise"),
    ],
)
def test_impossible_tracks_are_refused(changes, message):
    given = {"times": [0.1, 0.2], "nodes": np.zeros((3, 10), int), "weights": np.zeros((3, 10)), "positions": np.zeros((2, 3, 3))}
    with pytest.raises(ps.InputError, match=message):
        Tracks(**(given | changes))
