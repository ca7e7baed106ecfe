"""The start of a motion from its first frames."""

from dataclasses import replace

import numpy as np
import pytest

import physsim as ps
from physsim.twin.body import SoftBody
from physsim.twin.elements import elements_of
from physsim.twin.scene import TwinScene
from physsim.twin.smooth import smooth_ways
from physsim.twin.start import find_start

RATE = 30.0
CASES = {
    "solid": (ps.box_mesh((0.2, 0.05, 0.05), (8, 2, 2)), ps.NeoHookean(young=4e4, poisson=0.3, density=1000.0)),
    "sheet": (ps.sheet_mesh((0.3, 0.3), (10, 10)), ps.Shell(young=1e6, thickness=1e-3, density=300.0)),
    "rod": (ps.Curve.straight((0, 0, 0), (0.5, 0, 0), 30), ps.Rod(young=2e7, radius=4e-3, density=1000.0)),
}


def filmed(kind, held, moving, noise, rng, clouds=False):
    """(scene, true velocities [m/s] of the mesh's points) of a body that is thrown, swung by a hand, or hangs from it."""
    mesh, stuff = CASES[kind]
    times = np.arange(12) / RATE
    rising = 0.03 * np.stack([np.sin(4 * (times + 0.4)), 0 * times, np.sin(5 * (times + 0.4))], axis=1) if moving else np.zeros((12, 3))
    hands = {"hand": ps.Handle(times, rising - rising[0], radius=0.055)} if held else {}
    blank = ps.Capture(times=times, tracks=ps.SeenTracks(np.zeros((12, 1, 3))), mesh=mesh, handles=hands)
    scene = TwinScene(blank, SoftBody(kind, mesh), stuff)
    state, solver = scene.state(), scene.solver()
    if held:
        state, _ = scene.static(tolerance=1e-5).solve(state, scene.control)
    x = state.positions
    speed = np.zeros_like(x)
    if moving and not held:
        speed[:] = [0.4, -0.2, 0.6] + np.cross([0.0, 1.5, 1.0], x - x.mean(axis=0))
    state = scene.model.state(x, speed, scene.start_time)
    frames = [state.positions]
    for _ in times[1:]:
        for _ in range(round(1 / RATE / scene.dt)):
            state, _ = solver.step(state, scene.control)
        frames.append(state.positions)
    n = len(scene.soft_body.pose)
    frames = np.array(frames)[:, :n]
    shown = rng.choice(n, min(n, 60), replace=False)
    tracks = frames[:, shown] + noise * rng.standard_normal((12, len(shown), 3))
    wrong = rng.choice(len(shown), len(shown) // 20, replace=False)
    tracks[4:, wrong] += 0.05
    sensor = {"tracks": ps.SeenTracks(tracks)}
    if clouds:
        elements = elements_of(mesh)
        which = rng.integers(len(elements), size=1500)
        weights = rng.dirichlet(np.ones(elements.shape[1]), 1500)
        places = np.einsum("pk,fpkc->fpc", weights, frames[:, elements[which]])
        sensor = {"points": list(places + noise * rng.standard_normal(places.shape))}
    seen = ps.Capture(times=times, mesh=mesh, handles=hands, **sensor)
    return TwinScene(seen, SoftBody(kind, mesh, frames[0]), stuff), speed[:n]


@pytest.mark.parametrize("clouds", [False, True])
@pytest.mark.parametrize("kind", CASES)
def test_a_thrown_body_starts_with_its_velocity(kind, clouds, seed=1):
    rng = np.random.default_rng(seed)
    scene, speed = filmed(kind, held=False, moving=True, noise=1e-3, rng=rng, clouds=clouds)
    start = find_start(scene)
    assert not start.at_rest
    error = start.velocities[: len(speed)] - speed
    # clouds tell less of how a body moves along itself
    assert np.sqrt((error**2).sum(axis=1).mean()) < (0.2 if clouds else 0.05) * np.sqrt((speed**2).sum(axis=1).mean())


@pytest.mark.parametrize("kind", CASES)
def test_a_hanging_body_is_at_rest(kind, seed=2):
    scene, _ = filmed(kind, held=True, moving=False, noise=1e-3, rng=np.random.default_rng(seed))
    start = find_start(scene)
    assert start.at_rest
    assert not start.velocities.any()


@pytest.mark.parametrize("kind", CASES)
def test_a_body_that_a_hand_swings_is_not_at_rest(kind, seed=3):
    scene, _ = filmed(kind, held=True, moving=True, noise=1e-3, rng=np.random.default_rng(seed))
    assert not find_start(scene).at_rest


@pytest.mark.parametrize("kind", CASES)
def test_ways_leave_held_points_and_stretch_little(kind):
    mesh, _ = CASES[kind]
    x = mesh.line if kind == "rod" else mesh.points
    held = np.flatnonzero(x[:, 0] < 0.06)
    ways = smooth_ways(mesh, kind, x, held, 10)
    assert len(ways) == 10
    assert not ways[:, held].any()
    assert np.allclose((ways**2).sum(axis=2).mean(axis=1), 1.0)
    gram = np.einsum("anc,bnc->ab", ways, ways) / len(x)
    assert np.allclose(gram, np.eye(10), atol=1e-6)
    edges = SoftBody(kind, mesh).edges
    along = x[edges[:, 1]] - x[edges[:, 0]]
    change = np.einsum("qec,ec->qe", ways[:, edges[:, 1]] - ways[:, edges[:, 0]], along) / (along**2).sum(axis=1)
    random = np.random.default_rng(4).standard_normal(ways.shape)
    noisy = np.einsum("qec,ec->qe", random[:, edges[:, 1]] - random[:, edges[:, 0]], along) / (along**2).sum(axis=1)
    # the first three are those in which it gives under its weight
    assert np.abs(change[3]).mean() < (0.1 if kind == "solid" else 0.02) * np.abs(noisy).mean()


def test_the_first_ways_of_a_free_body_are_its_six_rigid_motions():
    mesh, _ = CASES["solid"]
    ways = smooth_ways(mesh, "solid", mesh.points, np.zeros(0, int), 8)
    arm = mesh.points - mesh.points.mean(axis=0)
    rigid = [np.tile(axis, (len(arm), 1)) for axis in np.eye(3)] + [np.cross(axis, arm) for axis in np.eye(3)]
    for motion in rigid:
        shares = np.einsum("qnc,nc->q", ways[:6], motion) / len(arm)
        assert np.allclose(np.einsum("q,qnc->nc", shares, ways[:6]), motion, atol=1e-9)


@pytest.mark.slow
def test_depth_of_one_side_of_a_swung_block_tells_more_of_its_velocity_than_its_hand_does():
    pytest.importorskip("mujoco")
    from peer_captures import block, capture_of

    specimen = block()
    places, speeds = specimen.motion()
    capture = replace(capture_of(specimen, 160, 120), tracks=None)
    scene = TwinScene(capture, SoftBody("solid", capture.mesh, places[0]))
    error = find_start(scene).velocities[: len(speeds[0])] - speeds[0]
    assert np.sqrt((error**2).sum(axis=1).mean()) < 0.4 * np.sqrt((speeds[0] ** 2).sum(axis=1).mean())
