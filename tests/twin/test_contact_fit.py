"""Fits of bodies that touch the ground: a block that falls onto it and slides."""

import fitted_captures as made
import numpy as np
import pytest

import physsim as ps
from physsim.twin.body import SoftBody
from physsim.twin.identification import identify_twin, predict
from physsim.twin.problem import TwinProblem
from physsim.twin.results import TwinFit
from physsim.twin.scene import TwinScene
from physsim.twin.start import Start
from physsim.twin.terms import default_terms
from physsim.twin.unknowns import chosen_unknowns

FRAMES = 24
YOUNG, VISCOSITY, FRICTION = 1.2e4, 30.0, 0.3
ABOVE, SPEED = 0.02, (1.0, 0.3, 0.0)


def block_scene(tracks=None, cells=(3, 3, 2), dt=1 / 120, friction=None, **material):
    """A block of 6 x 6 x 4 cm above a ground that nothing holds."""
    mesh = ps.box_mesh((0.06, 0.06, 0.04), cells, origin=(-0.03, -0.03, 0.0))
    seen = ps.SeenTracks(np.tile(mesh.points[None, :2], (FRAMES, 1, 1))) if tracks is None else tracks
    known = ps.Known(density=1000.0, poisson=0.3, friction=friction, ground=np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 1.0]]))
    capture = ps.Capture(np.arange(FRAMES) / 30, mesh=mesh, tracks=seen, kind="solid", known=known, noise={"tracks": 5e-4})
    stuff = ps.NeoHookean(**({"young": YOUNG / 2, "viscosity": VISCOSITY, "poisson": 0.3, "density": 1000.0} | material))
    return TwinScene(capture, SoftBody("solid", mesh), stuff, dt=dt, holds=[])


def thrown(scene):
    """(positions, velocities) of the model at the start; the ground's points stay."""
    x = scene.soft_body.mesh.points + [0.0, 0.0, ABOVE]
    return scene.spread(x), scene.spread(np.zeros_like(x) + SPEED, around=x)


@pytest.fixture(scope="module")
def truth():
    scene = block_scene(dt=1 / 480, friction=FRICTION, young=YOUNG)
    return scene, predict(scene, TwinFit({}, {}, {}, {}, 0.95, {}, thrown(scene), 0.0))


def start_of(scene):
    """The true start, with ways along which a fit may leave it."""
    from physsim.twin.smooth import smooth_ways

    x, v = thrown(scene)
    around = x[: scene.count]
    ways = smooth_ways(scene.soft_body.mesh, "solid", around, np.zeros(0, int), 6)
    return Start(x, v, 0.0, False, scene.spread(ways, around=around))


@pytest.mark.slow
def test_stiffness_and_friction_of_a_block_that_falls_and_slides_are_found(truth):
    scene, positions = truth
    tracks = made.tracks_of(scene, positions, np.random.default_rng(0), count=40)
    fitted = block_scene(tracks)
    assert fitted.parameters["friction"].value == pytest.approx(0.5)
    fit = identify_twin(fitted, unknowns=("young", "friction"), start=start_of(fitted), starts=(1.0,), ways=3)
    assert fit.values["friction"] == pytest.approx(FRICTION, abs=0.02)
    assert fit.values["young"] == pytest.approx(YOUNG, rel=0.25)  # the step of 1/120 s damps on its own
    found = predict(fitted, fit)[:, : fitted.count]
    moved = positions[:, : fitted.count] - positions[0, : fitted.count]  # where on the body tracks lie is not known, nor then its place
    assert np.linalg.norm(found - found[0] - moved, axis=2).mean() < 1e-3


def test_the_gradient_through_contact_is_that_of_the_tangents(truth):
    scene, positions = truth
    tracks = made.tracks_of(scene, positions, np.random.default_rng(0), count=40)
    fitted = block_scene(tracks)
    terms = default_terms(fitted)
    start = start_of(fitted)
    terms[0].bind(0, start.positions)
    problem = TwinProblem(fitted, terms, chosen_unknowns(fitted, ("young", "friction")), start, np.arange(10))
    z = np.log([[1e4, 0.4]])
    residuals, jacobian = problem(z)
    costs, gradients = problem.loss_gradient(z)
    assert costs[0] == pytest.approx(0.5 * residuals[0] @ residuals[0], rel=1e-6)
    expected = jacobian[0].T @ residuals[0]
    for i, name in enumerate(("young", "friction")):
        adjoint = gradients.parameters[fitted.parameters[name].name][0].sum() * np.exp(z[0, i])
        assert adjoint == pytest.approx(expected[i], rel=5e-3, abs=1e-3 * np.abs(expected).max())
