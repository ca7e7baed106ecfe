"""Fits of a bar that our own simulation waved: what is recovered, and what is said of what cannot be."""

import signal
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import fitted_captures as made
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

import physsim as ps
from physsim.twin.foreground import Foreground
from physsim.twin.identification import identify_twin, predict
from physsim.twin.linear import Linear
from physsim.twin.poses import seen_by_cameras
from physsim.twin.problem import TwinProblem
from physsim.twin.terms import default_terms
from physsim.twin.unknowns import chosen_unknowns, gravity_unknowns, part_unknowns, pose_unknowns, start_unknowns, time_unknown

ONE = (1.0,)


@pytest.fixture(scope="module")
def truth():
    return made.true_motion()


def tracked(truth, seed=0, **options):
    rng = np.random.default_rng(seed)
    return made.bar_capture(tracks=made.tracks_of(truth.scene, truth.positions, rng, **options))


class Everything:
    """A term of all coordinates."""

    name, sigma = "everything", 1e-3

    def __init__(self, frames):
        self.frames = np.asarray(frames)

    def linearise(self, frame, x):
        """As every term."""
        return Linear(x.ravel().copy(), np.ones(x.size), lambda d: d.reshape(*d.shape[:-2], -1), pull=lambda v: v.reshape(-1, 3))


def problem_of(truth, unknowns, terms=None, at_rest=False, frames=(0, 3, 5)):
    scene = made.scene_of(made.bar_capture())
    start = made.start_at(scene, truth.start, at_rest=at_rest)
    terms = [Everything(frames)] if terms is None else terms
    return TwinProblem(scene, terms, unknowns(scene), start, np.array(frames))


ROLES = {
    "material": lambda scene: chosen_unknowns(scene, ("young", "viscosity", "poisson")),
    "parts": lambda scene: part_unknowns(scene, "young", np.arange(len(scene.soft_body.mesh.cells)) % 2, (4e4, 2e4)),
    "start": lambda scene: start_unknowns(3, 0.2),
    "time offset": lambda scene: [time_unknown()],
    "camera pose": lambda scene: pose_unknowns(),
    "gravity direction": lambda scene: gravity_unknowns(),
}


@pytest.mark.parametrize("at_rest", [False, True])
@pytest.mark.parametrize("role", ROLES)
def test_positions_move_with_every_unknown_as_finite_differences_say(truth, role, at_rest):
    problem = problem_of(truth, ROLES[role], at_rest=at_rest)
    if at_rest and role == "start":
        return  # a body at rest has no such unknowns
    rng = np.random.default_rng(2)
    p = len(problem.unknowns)
    size = {"time offset": 0.01, "camera pose": 0.02, "gravity direction": 0.05, "start": 1e-3}.get(role, 0.1)
    z = np.array([[float(u.variable.scaled(np.mean(u.variable.start))) for u in problem.unknowns]]) + size * rng.standard_normal((1, p))
    frames = problem.frames
    jacobian = moved_of(problem, z)
    for i in range(p):
        step = np.zeros((1, p))
        step[0, i] = 1e-5
        expected = (problem.simulate(z + step, frames)[0] - problem.simulate(z - step, frames)[0]) / 2e-5
        assert jacobian[i] == pytest.approx(expected, rel=1e-3, abs=2e-4 * np.abs(expected).max())


def moved_of(problem, z):
    """Tangents of the positions at the frames, [p, f, n, 3], by a term that keeps them."""
    kept = {}

    class Keeps(Everything):
        def linearise(self, frame, x):
            linear = super().linearise(frame, x)

            def apply(moved):
                kept[frame] = moved.copy()
                return linear.apply(moved)

            return Linear(linear.residuals, linear.weights, apply)

    problem.terms = [Keeps(problem.frames)]
    problem(z)
    return np.stack([kept[int(f)] for f in problem.frames], axis=1)


@pytest.mark.parametrize("at_rest", [False, True])
def test_the_adjoint_gives_the_gradient_that_the_tangents_give(truth, at_rest):
    capture = tracked(truth)
    scene = made.scene_of(capture)
    terms = default_terms(scene)
    start = made.start_at(scene, truth.start, at_rest=at_rest)
    for term in terms:
        term.bind(0, truth.start)
    problem = TwinProblem(scene, terms, chosen_unknowns(scene, ("young", "viscosity")), start, np.arange(0, 12))
    z = np.log([[4e4, 80.0]])
    residuals, jacobian = problem(z)
    costs, gradients = problem.loss_gradient(z)
    assert costs[0] == pytest.approx(0.5 * residuals[0] @ residuals[0], rel=1e-6)
    for i, name in enumerate(("young", "viscosity")):
        adjoint = gradients.parameters[scene.parameters[name].name][0].sum() * np.exp(z[0, i])
        assert adjoint == pytest.approx((jacobian[0].T @ residuals[0])[i], rel=2e-3)


def test_tangents_are_taken_again_nearby_and_anew_far_away(truth):
    """What is known from files counts as what was simulated: a fit that goes on takes the same ones."""
    problem, other = (problem_of(truth, ROLES["material"]) for _ in range(2))
    z = np.array([[float(u.variable.scaled(np.mean(u.variable.start))) for u in problem.unknowns]])
    near, far = z + [[0.05, 0.1, 0.01]], z + [[1.0, 0.0, 0.0]]
    problem(z)
    residuals, jacobian = problem(near)
    other.pass_by(z)
    assert np.array_equal(np.stack(other(near)[:1]), np.stack([residuals]))
    problem.renew()
    anew, exact = problem(near)
    cost = 0.5 * residuals[0] @ residuals[0]
    assert 0.5 * anew[0] @ anew[0] == pytest.approx(cost, rel=1e-6)
    assert jacobian[0].T @ residuals[0] == pytest.approx(exact[0].T @ anew[0], rel=0.5)
    assert not np.allclose(jacobian[0].T @ residuals[0], exact[0].T @ anew[0], rtol=1e-6)
    assert problem.pass_by(far)
    assert not problem.pass_by(far + 0.01)


def test_the_cameras_world_is_the_handles_turned_back_and_shifted_back():
    rng = np.random.default_rng(3)
    y, pose, centre = rng.standard_normal((5, 3)), 0.3 * rng.standard_normal(6), rng.standard_normal(3)
    handles = (y - centre) @ Rotation.from_rotvec(pose[:3]).as_matrix().T + centre + pose[3:]
    assert seen_by_cameras(handles, None, pose, None, centre)[0] == pytest.approx(y)


def test_a_step_that_slows_the_motion_down_is_halved_until_it_does_not_matter(truth):
    scene = made.scene_of(tracked(truth))
    given = {"start": made.start_at(scene, truth.start, at_rest=True), "starts": ONE}
    fit, as_told = identify_twin(scene, **given), identify_twin(scene, halvings=0, **given)
    assert as_told.dt == scene.dt
    assert fit.dt in (scene.dt / 2, scene.dt / 4)
    assert abs(fit.values["young"] / made.YOUNG - 1) < 0.3 * abs(as_told.values["young"] / made.YOUNG - 1)
    assert f"steps of {1e3 * fit.dt:.3g} ms" in fit.statement
    positions = predict(scene, fit)
    assert np.abs(positions - predict(scene.with_step(fit.dt), fit)).max() == 0.0
    assert np.abs(positions - predict(scene, replace(fit, dt=None))).max() > 1e-4


@pytest.mark.parametrize("stiffer", [1.0, 1.3])
def test_an_interval_reaches_to_what_sensors_that_disagree_say(truth, stiffer):
    """Tracks of two trackers, of which the second may have followed a stiffer bar from the same start."""
    other = made.true_motion(young=stiffer * made.YOUNG)
    shifted = other.positions + (truth.start - other.start)
    rng = np.random.default_rng(5)
    captures = [made.bar_capture(tracks=made.tracks_of(truth.scene, x, rng, wrong=0.0)) for x in (truth.positions, shifted)]
    scene = made.scene_of(captures[0])
    terms = [default_terms(made.scene_of(capture))[0] for capture in captures]
    terms[1].name = "other tracks"
    fit = identify_twin(scene, terms, start=made.start_at(scene, truth.start, at_rest=True), starts=ONE)
    low, high = fit.intervals["young"]
    assert low < fit.values["young"] < high
    if stiffer == 1.0:
        assert "sensors differ" not in fit.statement
        assert high / low < 1.1
    else:
        assert "without other tracks young would be" in fit.statement
        assert low < 1.03 * made.YOUNG
        assert high > 0.97 * stiffer * made.YOUNG


def test_stiffness_and_damping_come_out_of_noisy_tracks_of_which_some_are_wrong(truth):
    scene = made.scene_of(tracked(truth, wrong=0.05), young=3 * made.YOUNG, viscosity=made.VISCOSITY)
    fit = identify_twin(scene, start=made.start_at(scene, truth.start, at_rest=True), starts=ONE)
    assert fit.values["young"] == pytest.approx(made.YOUNG, rel=0.03)
    assert fit.values["viscosity"] == pytest.approx(made.VISCOSITY, rel=0.1)
    assert fit.noise["tracks"] == pytest.approx(5e-4, rel=0.2)
    low, high = fit.intervals["young"]
    assert low < fit.values["young"] < high < 1.2 * low
    error = np.linalg.norm(predict(scene, fit) - truth.positions, axis=2).mean()
    assert error < 3e-4


def test_a_start_that_is_off_and_moves_is_found_along_with_the_stiffness(truth):
    scene = made.scene_of(tracked(truth))
    ways = made.ways_of(scene)
    start = made.start_at(scene, truth.start + 1e-3 * ways[2], 0.1 * ways[1])
    fit = identify_twin(scene, start=start, starts=ONE)
    assert fit.values["young"] == pytest.approx(made.YOUNG, rel=0.05)
    assert np.linalg.norm(fit.start[1], axis=1).mean() < 0.3 * np.linalg.norm(start.velocities, axis=1).mean()


@pytest.mark.slow
def test_starts_decades_away_lead_to_the_same_answer(truth):
    found = []
    for factor in (0.03, 30.0):
        scene = made.scene_of(tracked(truth), young=factor * made.YOUNG, viscosity=factor * made.VISCOSITY)
        found.append(identify_twin(scene, start=made.start_at(scene, truth.start, at_rest=True)).values["young"])
    assert found == pytest.approx([made.YOUNG] * 2, rel=0.05)


def depths_of(truth, rng, noise=1e-3):
    """What one camera measures of the bar, and its masks."""
    from physsim.twin.distances import Eye

    middle = truth.positions.reshape(-1, 3).mean(axis=0)
    camera = ps.Camera.look_at(middle + [0.1, -0.5, 0.15], middle, width=120, height=90, angle=28.0)
    eye = Eye(camera, truth.scene.surface)
    depth, mask = zip(*(eye.look(x) for x in truth.positions), strict=True)
    noisy = [np.float32(np.where(m, d + noise * rng.standard_normal(d.shape), np.nan)) for d, m in zip(depth, mask, strict=True)]
    return {"cameras": {"side": camera}, "depth": {"side": noisy}, "mask": {"side": list(mask)}}


def test_the_depth_of_one_camera_is_enough(truth):
    capture = made.bar_capture(**depths_of(truth, np.random.default_rng(4)))
    scene = made.scene_of(capture)
    fit = identify_twin(scene, start=made.start_at(scene, truth.start, at_rest=True), starts=ONE)
    assert set(fit.noise) == {"depth", "mask"}
    assert fit.values["young"] == pytest.approx(made.YOUNG, rel=0.06)
    assert fit.noise["depth"] == pytest.approx(1e-3, rel=0.4)


def test_a_wall_behind_the_body_is_left_out_of_depth_without_a_mask(truth):
    streams = depths_of(truth, np.random.default_rng(4))
    mask, depth = streams.pop("mask")["side"], streams["depth"]["side"]
    rng = np.random.default_rng(5)
    walled = [np.where(m, d, np.float32(0.75) + 1e-3 * rng.standard_normal(d.shape)) for m, d in zip(mask, depth, strict=True)]
    scene = made.scene_of(made.bar_capture(**(streams | {"depth": {"side": walled}})))
    scene.soft_body = replace(scene.soft_body, pose=truth.start)
    found = Foreground(scene, "side", scene.capture.fit)
    for frame in (0, 10, 20):
        assert len(found.cloud(frame)) == pytest.approx(mask[frame].sum(), rel=0.05)
    fit = identify_twin(scene, start=made.start_at(scene, truth.start, at_rest=True), starts=ONE)
    assert "has no mask" in fit.statement
    assert fit.values["young"] == pytest.approx(made.YOUNG, rel=0.06)


def test_depth_that_shows_only_a_wall_is_refused(truth):
    streams = depths_of(truth, np.random.default_rng(4))
    wall = [np.full(one.shape, 0.9, np.float32) for one in streams["depth"]["side"]]
    scene = made.scene_of(made.bar_capture(cameras=streams["cameras"], depth={"side": wall}))
    with pytest.raises(ps.InputError, match="Add masks"):
        default_terms(scene)


@pytest.mark.slow
def test_clocks_and_poses_that_are_off_are_found(truth):
    lag = 0.03
    late = made.true_motion(lag)  # its handle's clock runs behind the cameras' by the lag
    turn, shift = Rotation.from_rotvec([0.02, -0.03, 0.04]).as_matrix(), np.array([0.004, -0.006, 0.003])
    shifted = (late.positions - shift) @ turn  # what cameras say of the handles' world
    seen = made.tracks_of(late.scene, shifted, np.random.default_rng(5), noise=2e-4)
    rest = made.tracks_of(late.scene, np.broadcast_to(late.scene.model.rest, shifted.shape), np.random.default_rng(5), noise=0.0, wrong=0.0)
    tracks = ps.SeenTracks(seen.positions, rest=rest.positions[0])
    capture = made.bar_capture(tracks=tracks)
    scene = made.scene_of(capture, dt=1 / 120)
    unknowns = ("young", "viscosity", "time_offset", "camera_pose")
    fit = identify_twin(scene, unknowns=unknowns, start=made.start_at(scene, late.start, at_rest=True), starts=ONE)
    assert fit.time_offset == pytest.approx(-lag, abs=3e-3)
    assert fit.camera_pose[0] == pytest.approx(turn, abs=4e-3)
    middle = late.start.mean(axis=0)
    assert fit.camera_pose[0] @ middle + fit.camera_pose[1] == pytest.approx(turn @ middle + shift, abs=1e-3)
    assert fit.values["young"] == pytest.approx(made.YOUNG, rel=0.05)


def test_of_a_bar_that_hardly_bends_nothing_is_said_of_poissons_ratio():
    stiff = {"young": 30 * made.YOUNG, "viscosity": 30 * made.VISCOSITY}
    truth = made.true_motion(**stiff)
    scene = made.scene_of(tracked(truth, noise=1e-3), **stiff)
    unknowns = {"young": None, "viscosity": None, "poisson": 0.3}
    fit = identify_twin(scene, unknowns=unknowns, start=made.start_at(scene, truth.start, at_rest=True), starts=ONE)
    assert "squeeze or stretch" in fit.undetermined["poisson"]
    low, high = fit.intervals["poisson"]
    assert high - low > 0.25
    assert low <= made.POISSON <= high


def test_a_density_that_nobody_knows_is_said_to_be_assumed(truth):
    capture = ps.Capture(**{**tracked(truth).__dict__, "known": ps.Known(poisson=made.POISSON)})
    scene = made.scene_of(capture)
    fit = identify_twin(scene, start=made.start_at(scene, truth.start, at_rest=True), starts=ONE, horizons=(0.5,))
    assert "young / density" in fit.undetermined["density"]
    assert "Weigh" in fit.undetermined["density"] or "weigh" in fit.undetermined["density"]


def test_a_material_with_which_no_step_converges_ends_no_other_candidate(truth):
    scene = made.scene_of(tracked(truth))
    start = made.start_at(scene, truth.start, at_rest=True)
    terms = default_terms(scene)
    terms[0].bind(0, truth.start)
    problem = TwinProblem(scene, terms, chosen_unknowns(scene, "young"), start, np.arange(10), envs=2)
    residuals, _ = problem(np.log([[1e-2], [made.YOUNG]]))
    assert np.isfinite(residuals[1]).all()


CHILD = """
    import sys, signal, os
    sys.path.insert(0, {tests!r})
    import numpy as np, fitted_captures as made
    from physsim.twin.identification import identify_twin
    truth = made.true_motion()
    rng = np.random.default_rng(0)
    scene = made.scene_of(made.bar_capture(tracks=made.tracks_of(truth.scene, truth.positions, rng)))
    count = 0
    def progress(*_):
        global count
        count += 1
        if count == {stop}:
            os.kill(os.getpid(), signal.SIGKILL)
    start = made.start_at(scene, truth.start, at_rest=True)
    fit = identify_twin(scene, start=start, starts=(1.0,), horizons=(0.4,), checkpoint={folder!r}, progress=progress)
    print(*(v.hex() for v in fit.values.values()), len(fit.history))
"""


def test_a_fit_that_was_killed_goes_on_and_ends_with_the_same_bits(tmp_path):
    def run(stop, folder):
        code = textwrap.dedent(CHILD.format(tests=str(Path(__file__).parent), stop=stop, folder=str(folder)))
        return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    whole = run(-1, tmp_path / "whole")
    killed = run(4, tmp_path / "killed")
    assert killed.returncode == -signal.SIGKILL
    kept = len(list((tmp_path / "killed").glob("evaluation_*.npz")))
    assert kept >= 3
    assert not list((tmp_path / "killed").glob("*.partial"))
    resumed = run(-1, tmp_path / "killed")
    assert resumed.stdout == whole.stdout
    assert resumed.stdout


def test_a_checkpoint_of_another_capture_is_not_taken(truth, tmp_path):
    for seed in (0, 1):
        scene = made.scene_of(tracked(truth, seed))
        start = made.start_at(scene, truth.start, at_rest=True)
        fit = identify_twin(scene, start=start, starts=ONE, horizons=(0.4,), checkpoint=str(tmp_path))
    fresh = identify_twin(scene, start=start, starts=ONE, horizons=(0.4,))
    assert fresh.values == fit.values


def test_a_checkpoint_of_other_parts_is_not_taken(truth, tmp_path):
    """Names, starts and data are the same; which cells a number is of is not."""
    scene = made.scene_of(tracked(truth))
    start = made.start_at(scene, truth.start, at_rest=True)
    labels = (scene.soft_body.mesh.points[scene.soft_body.mesh.cells].mean(axis=1)[:, 0] > 0.03).astype(int)

    def fit(labels, folder):
        unknowns = part_unknowns(scene, "young", labels)
        return identify_twin(scene, None, unknowns, start=start, starts=ONE, horizons=(0.2,), checkpoint=folder).values

    first = fit(labels, str(tmp_path))
    other = fit(1 - labels, str(tmp_path))
    assert other == fit(1 - labels, None)
    assert other["young[0]"] == pytest.approx(first["young[1]"], rel=0.05)


def test_seeds_show_how_far_estimates_spread(truth):
    scene = made.scene_of(tracked(truth))
    fit = identify_twin(scene, start=made.start_at(scene, truth.start, at_rest=True), starts=ONE, horizons=(0.5,), seeds=2)
    assert len(fit.spread["young"]) == 2
    assert fit.spread["young"][0] == fit.values["young"]


def test_unknowns_that_the_scene_lacks_are_named():
    scene = made.scene_of(made.bar_capture())
    with pytest.raises(ps.InputError, match="no parameter 'stretch'"):
        chosen_unknowns(scene, ("young", "stretch"))
    with pytest.raises(ps.InputError, match="no name twice"):
        chosen_unknowns(scene, ("young", "young"))
