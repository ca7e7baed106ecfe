"""Fits of bodies whose rest shape was seen sagging under its weight."""

from dataclasses import replace

import numpy as np
import pytest

import physsim as ps
from physsim.twin.body import SoftBody
from physsim.twin.fit_job import FitJob
from physsim.twin.identification import identify_twin, predict
from physsim.twin.options import FitRequest
from physsim.twin.problem import TwinProblem
from physsim.twin.rebuild import rebuilt
from physsim.twin.rest_fit import NEAR, fit_unsagged, starts_sagging
from physsim.twin.results import TwinFit
from physsim.twin.scene import TwinScene
from physsim.twin.start import Start, find_start
from physsim.twin.terminal import Progress
from physsim.twin.terms import default_terms
from physsim.twin.unknowns import default_unknowns, gravity_unknowns
from physsim.twin.work import Work

YOUNG, LENGTH = 6e3, 0.2
FRAMES, RATE = 36, 30
BAR = ps.box_mesh((0.05, 0.05, LENGTH), (2, 2, 8))
TOP = np.array([0.025, 0.025, LENGTH])


def hanging_capture(kind=None, **streams):
    """Held by its upper end, still for the first five frames, then shaken up and sideways."""
    times = np.arange(FRAMES) / RATE
    dense = np.arange(-60, int((times[-1] + 0.5) * 120)) / 120
    run = np.maximum(dense - 5 / RATE, 0.0)
    swell = (1 - np.exp(-8 * run)) * 0.03
    places = TOP + swell[:, None] * np.stack([np.sin(9 * run), 0 * run, np.sin(13 * run)], axis=1)
    hand = ps.Handle(dense, places, radius=0.04)
    return ps.Capture(times, **streams, kind=kind, handles={"hand": hand}, known=ps.Known(density=1000.0, poisson=0.3))


def rubber(young, viscosity):
    return ps.NeoHookean(young=young, poisson=0.3, density=1000.0, viscosity=viscosity)


def true_motion():
    """Positions [f, n, 3] of a bar that its weight stretches by a sixth."""
    true = TwinScene(hanging_capture(tracks=ps.SeenTracks(np.zeros((FRAMES, 1, 3)))), SoftBody("solid", BAR), rubber(YOUNG, 12.0))
    rest, _ = true.static().solve(true.state(), true.control)
    still = TwinFit({}, {}, {}, {}, 0.95, {}, (rest.positions, 0.0 * rest.positions), 0.0)
    return predict(true, still, np.arange(FRAMES))


def tracked(positions, rng, noise=5e-4):
    """Tracks of points of the surface with noise [m]."""
    chosen = np.unique(BAR.surface())[::2]
    return ps.SeenTracks(positions[:, chosen] + noise * rng.standard_normal((FRAMES, len(chosen), 3)))


def scene_of(capture, pose, source="points"):
    """The bar as it was seen, taken for its rest shape, and far too stiff to begin with."""
    return TwinScene(capture, SoftBody("solid", ps.TetMesh(pose, BAR.cells), None, source), rubber(2.5 * YOUNG, 30.0))


def still(scene, at_rest=True):
    x = scene.state().positions
    return Start(x, 0.0 * x, 0.0, at_rest, np.zeros((0, *x.shape)))


def test_only_a_shape_that_was_seen_hanging_at_rest_is_taken_to_sag():
    capture = hanging_capture(tracks=ps.SeenTracks(np.zeros((FRAMES, 1, 3))))
    scene = scene_of(capture, BAR.points)
    unknowns = default_unknowns(scene)
    assert starts_sagging(scene, still(scene), unknowns)
    assert not starts_sagging(scene, still(scene, at_rest=False), unknowns)
    assert not starts_sagging(scene, still(scene), unknowns + gravity_unknowns())
    given = scene_of(capture, BAR.points, "mesh")
    assert not starts_sagging(given, still(given), unknowns)
    floating = scene_of(replace(capture, gravity=np.zeros(3)), BAR.points)
    assert not starts_sagging(floating, still(floating), unknowns)
    for height, hangs in ((-0.05, True), (0.0, False)):
        known = replace(capture.known, ground=[[0, 0, height], [0, 0, 1.0]])
        above = scene_of(replace(capture, known=known), BAR.points)
        assert starts_sagging(above, still(above), unknowns) == hangs


def test_what_an_unknown_carries_with_it_is_in_proportion_and_so_is_its_slope():
    scene = scene_of(hanging_capture(tracks=ps.SeenTracks(np.zeros((FRAMES, 1, 3)))), BAR.points)
    gravity = np.array([0.3, -0.2, -9.0])
    unknowns = [replace(u, carried={"gravity": gravity / YOUNG}) if u.name == "young" else u for u in default_unknowns(scene)]
    problem = TwinProblem(scene, default_terms(scene), unknowns, still(scene))
    which = [u.name for u in unknowns].index("young")
    scaled = np.array([[float(u.variable.scaled(3.0 * YOUNG if u.name == "young" else u.variable.start)) for u in unknowns]])
    s = problem.settings(scaled)
    assert s.parameters["gravity"][0] == pytest.approx(3.0 * gravity)
    step = 1e-6 * np.eye(len(unknowns))[which]
    up, down = (problem.settings(scaled + sign * step).parameters["gravity"][0] for sign in (1, -1))
    assert s.tangents["gravity"][which, 0] == pytest.approx((up - down) / 2e-6, rel=1e-6)
    # the bar's shape under weight is the same at every stiffness
    x = [problem.begin(problem.settings(scaled + shift * np.eye(len(unknowns))[which]))[0].x.numpy()[0] for shift in (0.0, 1.0)]
    assert np.abs(x[0] - x[1]).max() < 1e-5


@pytest.mark.parametrize(
    ("young", "width", "said"), [(YOUNG, 4.0, "does not tell the stiffness"), (0.02 * YOUNG, 1.1, "none was found that sags to it")]
)
def test_a_stiffness_that_is_unsure_or_too_low_for_a_rest_shape_is_said(young, width, said):
    scene = scene_of(hanging_capture(tracks=ps.SeenTracks(np.zeros((FRAMES, 1, 3)))), BAR.points)

    def fitted(name, scene, unknowns):
        settings = {"body.young": np.full(len(BAR.cells), young)}
        x = scene.state().positions
        return TwinFit({"young": young}, {"young": "Pa"}, {"young": (young / width, young * width)}, {}, 0.95, settings, (x, 0 * x), 0.0)

    assert said in fit_unsagged(scene, still(scene), default_unknowns(scene), fitted)


def test_a_known_stiffness_gives_the_rest_shape_before_the_only_fit():
    scene = TwinScene(
        hanging_capture(tracks=ps.SeenTracks(np.zeros((FRAMES, 1, 3)))),
        SoftBody("solid", BAR, None, "points"),
        rubber(2 * YOUNG, 12.0),
    )
    calls = []

    def fitted(name, scene, unknowns):
        calls.append(name)
        x = scene.state().positions
        assert np.abs(scene.static().solve(scene.state(), scene.control)[0].positions[: len(x)] - BAR.points).max() < 1e-3 * LENGTH
        return TwinFit({"viscosity": 12.0}, {}, {"viscosity": (10.0, 14.0)}, {}, 0.95, {}, (x, 0 * x), 0.0)

    damping = [u for u in default_unknowns(scene) if u.name == "viscosity"]
    found, _ = fit_unsagged(scene, still(scene), damping, fitted)
    assert calls == ["fit"]
    assert np.ptp(found.soft_body.points[:, 2]) < 0.97 * LENGTH


@pytest.mark.slow
def test_a_hanging_bar_keeps_its_stiffness_and_its_start_where_its_rest_shape_was_seen_sagging(seed=1):
    positions = true_motion()
    sag = -float(positions[0, :, 2].min())
    assert sag > 0.1 * LENGTH
    scene = scene_of(hanging_capture(tracks=tracked(positions, np.random.default_rng(seed))), positions[0])
    start, unknowns = find_start(scene), default_unknowns(scene)
    assert starts_sagging(scene, start, unknowns)

    def fitted(name, scene, unknowns):
        near = {"near": True, "starts": (1.0,)} if name.startswith(NEAR) else {}
        return identify_twin(scene, unknowns=unknowns, start=start, **near)

    found, fit = fit_unsagged(scene, start, unknowns, fitted)
    assert fit.values["young"] == pytest.approx(YOUNG, rel=0.02)
    assert fit.values["viscosity"] == pytest.approx(12.0, rel=0.1)
    assert np.abs(fit.start[0] - positions[0]).max() < 1e-3
    assert np.abs(found.soft_body.points - BAR.points).max() < 0.05 * sag
    assert any("sags by up to" in remark for remark in found.remarks)
    assert "gravity" not in fit.settings
    error = np.linalg.norm(predict(found, fit, np.arange(FRAMES)) - positions, axis=2)
    assert np.sqrt((error**2).mean()) < 1e-3
    # taken for its rest shape, what was seen sags once more
    plain = identify_twin(scene, unknowns=unknowns, start=start, starts=(1.0,))
    assert sag + plain.start[0][:, 2].min() < -0.5 * sag
    assert plain.values["young"] > 1.2 * YOUNG


@pytest.mark.slow
def test_a_bar_that_is_made_of_what_is_seen_of_it_hanging_is_fitted_and_goes_on_after_a_kill(tmp_path, seed=2):
    rng = np.random.default_rng(seed)
    positions = true_motion()
    surface = BAR.surface()
    clouds = []
    for x in positions:
        share, chosen = rng.dirichlet(np.ones(3), 3000), surface[rng.integers(len(surface), size=3000)]
        clouds.append(np.einsum("pk,pkc->pc", share, x[chosen]) + 5e-4 * rng.standard_normal((3000, 3)))
    capture = hanging_capture(points=clouds, tracks=tracked(positions, rng), kind="solid")
    request = FitRequest(appearance=False, cell_size=0.025)
    found = FitJob(capture, request, Work(tmp_path / "work", "key"), Progress(True)).run()
    assert found.notes == ()
    assert found.fit.values["young"] == pytest.approx(YOUNG, rel=0.15)
    assert any("sags by up to" in remark for remark in found.scene.remarks)
    pose = found.scene.soft_body.pose
    assert np.linalg.norm(found.fit.start[0][: len(pose)] - pose, axis=1).max() < 0.01 * LENGTH
    frames = found.judged.frames
    scene, fit = rebuilt(found.asset, capture)
    assert np.nanmax(np.abs(predict(scene, fit, frames) - found.judged.positions)) < 1e-6
    (tmp_path / "work" / f"{NEAR} 1.npz").unlink()
    again = FitJob(capture, request, Work(tmp_path / "work", "key"), Progress(True)).run()
    assert again.fit.values == found.fit.values
    assert np.array_equal(again.fit.start[0], found.fit.start[0])
