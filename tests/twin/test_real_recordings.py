"""Recordings of real things through the general door: the silicone beam gives the answer that its own fit gives."""

from dataclasses import replace

import numpy as np
import pytest

from physsim import assets
from physsim.capture.convert import convert
from physsim.errors import InputError
from physsim.real2sim import beam
from physsim.real2sim.beam_experiment import Experiment
from physsim.twin.association import Association
from physsim.twin.body import reconstruct
from physsim.twin.identification import identify_twin, predict
from physsim.twin.judge import judge
from physsim.twin.scene import TwinScene
from physsim.twin.start import find_start
from physsim.twin.terms import default_terms

FOLDER = assets.folder("silicone_beam")
OWN = 277e3, (249e3, 307e3)  # [Pa], what `physsim demo beam` says of recording a, and its 95 % interval


@pytest.fixture(scope="module")
def capture():
    return convert(FOLDER / "beam_load101_V2_a.csv")


def test_the_beams_scene_is_the_model_of_its_own_fit(capture):
    """Same equilibrium to the solver's tolerance: same box, clamp, weight, gravity and material."""
    own = beam.build(Experiment.read(FOLDER / "experiment.json"), young=263_824.0)
    scene = TwinScene(capture, reconstruct(capture))
    assert scene.model.particle_count == own.model.particle_count
    np.testing.assert_allclose(scene.held, own.model.attachments["clamp"].particles)
    state, _ = scene.static().solve(params={scene.parameters["young"]: 263_824.0})
    theirs, _ = beam.SolverStatic(own.model).solve()
    drop = own.observe(theirs.positions)[:, 2] - own.observe(own.mesh.points)[:, 2]
    found = own.observe(state.positions)[:, 2] - own.observe(own.mesh.points)[:, 2]
    np.testing.assert_allclose(found, drop, rtol=5e-3)  # the weight is shared out along the edge by straight pieces, there by parabolas
    assert found.mean() == pytest.approx(drop.mean(), rel=2e-3)
    # an independent commercial code and an independent quadratic hexahedral mesh give 26.31 and 26.54 mm
    assert -1e3 * found.mean() == pytest.approx(26.4, rel=0.03)


def test_the_beam_is_laid_into_its_first_frame_and_found_moving(capture):
    body = reconstruct(capture)
    scene = TwinScene(capture, body)
    nodes, weights = scene.soft_body.mesh.interpolation(capture.tracks.rest, outside=0.01)
    markers = np.einsum("pk,pkc->pc", weights, scene.soft_body.pose[nodes])
    assert np.linalg.norm(markers - capture.tracks.positions[0], axis=1).max() < 2e-3
    np.testing.assert_allclose(scene.soft_body.pose[scene.held], scene.soft_body.points[scene.held], atol=1e-4)
    assert not find_start(scene).at_rest  # it is about to turn


def test_a_weight_away_from_the_body_is_refused(capture):
    far = replace(capture, known=replace(capture.known, weights=np.array([[0.0, 0.0, 0.0, 0.1], [0.5, 0.0, 0.0, 0.1]])))
    with pytest.raises(InputError, match=r"known.weights\[1\] lies 0.5 m"):
        TwinScene(far, reconstruct(far))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_silicone_beam_as_a_capture_of_tracks_gives_the_answer_of_its_own_fit(capture):
    """Fitted to the first four swings; all three components of the markers, where the own fit takes the vertical one only."""
    seen = replace(capture, fit=np.flatnonzero(capture.times <= 1.9), test=np.flatnonzero(capture.times > 1.9))
    scene = TwinScene(seen, reconstruct(seen))
    fit = identify_twin(scene, starts=(1.0,), ways=3)
    print(fit.statement)
    low, high = fit.intervals["young"]
    assert 250e3 < fit.values["young"] < 300e3  # the range that statics and swing ask for
    assert OWN[1][0] < fit.values["young"] < OWN[1][1]
    assert low < OWN[1][1] and high > OWN[1][0]
    assert fit.values["young"] == pytest.approx(OWN[0], rel=0.08)
    frames = np.arange(seen.frame_count)
    judgement = judge(seen, scene, predict(scene, fit, frames), frames, fit=fit)
    for name in judgement.errors:
        print(name, f"{1e3 * judgement.mean('track', name).value:.2f} mm")
    # 3.7 mm: the frame of the markers is tilted by up to 7 degrees, which no material explains, and a modulus that swings right rests 2 mm
    # too high. What is left after 1.9 s is nearly rest, which the last frame held foretells to 2.0 mm
    assert judgement.mean("track").value < 4.5e-3


def test_tracks_are_bound_and_judged_at_the_places_that_the_capture_names(capture):
    """Whatever pose the body is in when they are first seen: at rest they are where the experiment's file says."""
    scene = TwinScene(capture, reconstruct(capture))
    rest = scene.model.rest
    (term,) = default_terms(scene)
    bent = rest + np.array([0.0, 0.0, -3.0]) * rest[:, :1] ** 2  # far from where the markers were seen
    term.bind(int(capture.fit[0]), bent)
    residuals, _, seen = term.apart(int(capture.fit[0]), rest)
    assert seen.all() and not term.free
    away = np.linalg.norm(capture.tracks.rest - capture.tracks.positions[capture.fit[0]], axis=1)
    np.testing.assert_allclose(np.linalg.norm(residuals, axis=1), away, atol=1e-9)
    positions = np.tile(bent, (capture.frame_count, 1, 1))
    visible, places = capture.tracks.visible, capture.tracks.rest
    association = Association(scene, capture.tracks.positions, visible, positions, capture.fit, places)
    np.testing.assert_allclose(association(rest), places, atol=1e-9)
