"""A capture's body as a model that its handles carry."""

import numpy as np
import pytest

import physsim as ps
from physsim.twin.body import SoftBody, reconstruct
from physsim.twin.scene import TwinScene

TIMES = np.arange(20) / 30.0
BODIES = {
    "solid": ps.box_mesh((0.2, 0.05, 0.05), (8, 2, 2), origin=(0, -0.025, -0.025)),
    "sheet": ps.sheet_mesh((0.3, 0.3), (10, 10), origin=(0, -0.15, 0)),
    "rod": ps.Curve.straight((0, 0, 0), (0.5, 0, 0), 30),
}


def capture(kind, **changes):
    """A hand that holds the body's left end, lifts and turns it."""
    angle = 0.5 * np.sin(2 * np.pi * TIMES)
    turns = np.array([[[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]] for a in angle])
    lifted = np.stack([0 * TIMES, 0 * TIMES, 0.1 * TIMES], axis=1)
    given = {"handles": {"hand": ps.Handle(TIMES, lifted, turns, radius=0.06)}, "known": ps.Known(thickness=2e-3, density=500.0)}
    tracks = ps.SeenTracks(np.zeros((len(TIMES), 1, 3)))
    return ps.Capture(times=TIMES, tracks=tracks, mesh=BODIES[kind], **(given | changes))


@pytest.mark.parametrize("kind", BODIES)
def test_held_points_move_rigidly_with_the_handle(kind):
    c = capture(kind)
    scene = TwinScene(c, reconstruct(c))
    state, solver = scene.state(), scene.solver()
    rest = state.positions[scene.held]
    while state.time < 0.4:
        state, _ = solver.step(state, scene.control)
    places, turns = c.handles["hand"].at(np.array(state.time))
    begin = c.handles["hand"].at(np.array(0.0))
    expected = places + (rest - begin[0]) @ begin[1] @ turns.T
    assert np.abs(state.positions[scene.held] - expected).max() < 1e-9
    assert len(scene.held) >= 3


@pytest.mark.parametrize("kind", BODIES)
def test_tethers_let_held_points_give_way_by_weight_over_stiffness(kind):
    c = capture(kind, handles={"hand": ps.Handle(TIMES[:1], np.zeros((1, 3)), radius=10.0)})
    scene = TwinScene(c, reconstruct(c), hold_stiffness=200.0)
    state, _ = scene.static().solve(scene.state(), scene.control)
    n = len(scene.soft_body.pose)
    volume = {"solid": 0.2 * 0.05**2, "sheet": 0.3**2 * 2e-3, "rod": 0.5 * np.pi * 1e-6}[kind]
    mass = scene.model.parameters[scene.parameters["density"]].mean() * volume
    sunk = (scene.soft_body.pose - state.positions[:n])[:, 2]
    held = 200.0 * sunk.sum() + 200.0 * (scene.state().positions - state.positions)[n : scene.count, 2].sum()
    assert held == pytest.approx(mass * 9.81, rel=1e-6)


@pytest.mark.parametrize("kind", BODIES)
def test_a_body_let_go_comes_to_rest_on_a_tilted_ground(kind):
    normal = np.array([0.1, 0.0, 1.0]) / np.hypot(0.1, 1.0)
    ground = np.stack([[0.0, 0.0, -0.08], normal])
    c = capture(kind, handles={}, known=ps.Known(thickness=2e-3, density=500.0, ground=ground, friction=1.0))
    scene = TwinScene(c, reconstruct(c))
    assert scene.integrator == "backward_euler"
    state, solver = scene.state(), scene.solver()
    while state.time < 1.2:
        state, _ = solver.step(state)
    n = len(scene.soft_body.pose)
    heights = (state.positions[:n] - ground[0]) @ normal
    half = scene.thickness / 2
    assert half - 1.1e-3 < heights.min() < half + 1e-4
    assert np.abs(state.velocities[:n]).max() < 0.05  # a rod's directors may still spin


def test_a_stiff_poisson_ratio_is_given_ten_node_tetrahedra_whose_corners_keep_their_numbers():
    c = capture("solid", known=ps.Known(density=500.0, poisson=0.49))
    scene = TwinScene(c, reconstruct(c))
    mesh = BODIES["solid"]
    assert scene.soft_body.mesh.order == 2
    assert np.array_equal(scene.state().positions[: len(mesh.points)], mesh.points)
    middles = scene.soft_body.mesh.cells[:, 4]
    ends = scene.soft_body.mesh.cells[:, :2]
    assert np.allclose(scene.soft_body.pose[middles], scene.soft_body.pose[ends].mean(axis=1))


def test_the_step_is_a_part_of_the_time_between_frames():
    c = capture("solid")
    scene = TwinScene(c, reconstruct(c))
    per_frame = (1 / 30) / scene.dt
    assert per_frame == pytest.approx(round(per_frame))
    assert scene.dt <= 1 / 120 + 1e-9


@pytest.mark.parametrize("radius", [0.02, None])
def test_a_handle_far_from_the_body_is_refused(radius):
    far = {"hand": ps.Handle(TIMES[:1], np.array([[3.0, 0, 0]]), radius=radius)}
    with pytest.raises(ps.InputError, match="none is near the body"):
        TwinScene(capture("solid", handles=far), SoftBody("solid", BODIES["solid"]))
