"""What handles hold, and when."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

import physsim as ps
from physsim.twin.body import SoftBody, reconstruct
from physsim.twin.grips import gripped
from physsim.twin.holds import GUESSED, closed_times, find_holds
from physsim.twin.nearby import nearby
from physsim.twin.scene import TwinScene

TIMES = np.arange(40) / 30.0
SHEET = ps.sheet_mesh((0.3, 0.3), (12, 12), origin=(-0.15, -0.15, 0.0))
BLOCK = ps.box_mesh((0.05, 0.05, 0.12), (3, 3, 7), origin=(-0.025, -0.025, -0.12))
EDGE = np.flatnonzero(SHEET.points[:, 1] > 0.149)
CORNER = np.flatnonzero(np.linalg.norm(SHEET.points - [0.15, 0.15, 0.0], axis=1) < 0.06)


def waved(mesh, held, spot, stuff, shown, noise, rng):
    """A capture of a body whose held points a waving hand carries, simulated; the hand's radius is not said."""
    sway = 0.04 * np.stack([np.sin(5 * TIMES), np.sin(7 * TIMES), 1 - np.cos(6 * TIMES)], axis=1)
    turn = 0.3 * np.sin(4 * TIMES)
    turns = np.array([[[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]] for a in turn])
    hand = ps.Handle(TIMES, spot + sway, turns)
    builder = ps.ModelBuilder()
    body = (builder.add_cloth if isinstance(mesh, ps.TriMesh) else builder.add_soft_body)(mesh, stuff, name="body")
    builder.attach(body, held, name="held")
    model = builder.finalize()
    places, turned = hand.at(TIMES)
    targets = places[:, None] + np.einsum("kij,pj->kpi", turned, mesh.points[held] - spot)
    control, solver = ps.Control(TIMES, {"held": targets}), ps.SolverImplicit(model, dt=1 / 120)
    state, _ = ps.solve_equilibrium(model, control=ps.Control([0.0], {"held": targets[:1]}))
    frames = [state.positions]
    for _ in TIMES[1:]:
        for _ in range(4):
            state, _ = solver.step(state, control)
        frames.append(state.positions)
    frames = np.array(frames)
    tracks = frames[:, shown] + noise * rng.standard_normal((len(TIMES), len(shown), 3))
    wrong = rng.choice(len(shown), len(shown) // 20, replace=False)
    tracks[20:, wrong] += 0.05
    capture = ps.Capture(times=TIMES, tracks=ps.SeenTracks(tracks), mesh=mesh, handles={"hand": hand}, fit=np.arange(40))
    return capture, SoftBody("sheet" if isinstance(mesh, ps.TriMesh) else "solid", mesh, frames[0])


CLOTH = ps.Shell(young=2e5, thickness=1e-3, density=300.0, stretch_damping=0.05)


@pytest.mark.parametrize(("held", "spot"), [(EDGE, [0.0, 0.15, 0.0]), (CORNER, [0.15, 0.15, 0.0])])
def test_what_a_hand_in_the_middle_of_an_edge_or_at_a_corner_holds_is_found(held, spot, seed=1):
    rng = np.random.default_rng(seed)
    capture, body = waved(SHEET, held, np.array(spot), CLOTH, rng.choice(len(SHEET.points), 130, replace=False), 1e-3, rng)
    found = find_holds(capture, body)[0][0].points
    # a bar along an edge is found to the point; of a patch at a corner, next to which the cloth hardly moves, the better part
    assert len(np.setdiff1d(found, held)) <= 0.2 * len(held)
    assert len(np.intersect1d(found, held)) >= (1.0 if held is EDGE else 0.5) * len(held)


def test_an_edge_that_follows_a_hand_off_its_middle_is_found_by_the_motion(seed=1):
    rng = np.random.default_rng(seed)
    spot = np.array([0.08, 0.15, 0.0])
    body = SoftBody("sheet", SHEET)
    assert not np.isin(EDGE, nearby(body, spot)).all()
    capture, body = waved(SHEET, EDGE, spot, CLOTH, np.arange(len(SHEET.points)), 1e-3, rng)
    assert np.array_equal(gripped(capture, body, capture.handles["hand"], "hand"), EDGE)


@pytest.mark.parametrize("drift", [0.0, 3e-3])
def test_a_block_that_hardly_deforms_next_to_the_hand_is_held_by_its_face_whatever_drifts(drift, seed=3):
    """Tracks that slide by more than their noise anywhere say nothing about what is held, unlike a body that moves by its distance."""
    rng = np.random.default_rng(seed)
    shown = np.flatnonzero(np.abs(BLOCK.points[:, 1] + 0.025) < 1e-9)
    sway = 0.04 * np.stack([np.sin(5 * TIMES), np.sin(7 * TIMES), 1 - np.cos(6 * TIMES)], axis=1)
    slides = drift * rng.standard_normal((len(shown), 3)) * np.sin(3 * TIMES)[:, None, None]
    tracks = BLOCK.points[shown] + sway[:, None] + slides + 1e-3 * rng.standard_normal((len(TIMES), len(shown), 3))
    hand = ps.Handle(TIMES, sway + [0.002, -0.001, 0.002])
    capture = ps.Capture(times=TIMES, tracks=ps.SeenTracks(tracks), mesh=BLOCK, handles={"hand": hand})
    holds, remarks = find_holds(capture, SoftBody("solid", BLOCK))
    assert np.array_equal(holds[0].points, np.flatnonzero(BLOCK.points[:, 2] > -1e-9))
    assert any(GUESSED in remark and "radius or places" in remark for remark in remarks)


def test_a_hand_below_the_surface_holds_as_far_again_and_never_more_than_a_third():
    body = SoftBody("solid", BLOCK)
    depth = -BLOCK.points[:, 2]
    step = 0.12 / 7
    assert np.array_equal(nearby(body, np.array([0.0, 0.0, -0.5 * step])), np.flatnonzero(depth < 1.1 * step))
    for deep in np.linspace(-0.01, 0.06, 15):
        assert 4 <= len(nearby(body, np.array([0.0, 0.0, -deep]))) <= len(depth) / 3


def test_hands_at_two_corners_that_move_alike_hold_their_corners_not_the_edge_between(seed=5):
    rng = np.random.default_rng(seed)
    sheet = SHEET.points
    patches = {n: np.flatnonzero((side * sheet[:, 0] > 0.12) & (sheet[:, 1] > 0.12)) for n, side in (("left", -1), ("right", 1))}
    sway = 0.04 * np.stack([np.sin(5 * TIMES), np.sin(7 * TIMES), 1 - np.cos(6 * TIMES)], axis=1)
    away = np.linalg.norm(sheet[:, None] - sheet[np.concatenate(list(patches.values()))], axis=2).min(axis=1)
    away = np.where(sheet[:, 1] > 0.149, 0.3, 1.0) * away  # the edge between the hands moves less than what hangs below it
    lag = 0.2 * away[:, None] * np.sin(4 * TIMES)[:, None, None]
    tracks = sheet + sway[:, None] + lag * [0.0, 0.0, 1.0] + 1e-3 * rng.standard_normal((len(TIMES), len(sheet), 3))
    hands = {name: ps.Handle(TIMES, sheet[patch].mean(axis=0) + sway) for name, patch in patches.items()}
    capture = ps.Capture(times=TIMES, tracks=ps.SeenTracks(tracks), mesh=SHEET, handles=hands)
    holds, _ = find_holds(capture, SoftBody("sheet", SHEET))
    for hold in holds:
        assert np.array_equal(hold.points, patches[hold.handle])


def test_a_face_in_whose_middle_a_still_hand_sits_is_held(seed=2):
    rng = np.random.default_rng(seed)
    still = np.repeat(BLOCK.points[None], len(TIMES), axis=0)
    tracks = ps.SeenTracks(still + 1e-3 * rng.standard_normal(still.shape))
    capture = ps.Capture(times=TIMES, tracks=tracks, mesh=BLOCK, handles={"hand": ps.Handle(TIMES[:1], np.zeros((1, 3)))})
    holds, remarks = find_holds(capture, SoftBody("solid", BLOCK))
    assert np.array_equal(holds[0].points, np.flatnonzero(BLOCK.points[:, 2] > -1e-9))
    assert any(GUESSED in remark for remark in remarks)


def test_a_radius_that_holds_too_few_points_is_widened_and_said():
    capture = ps.Capture(
        times=TIMES,
        tracks=ps.SeenTracks(np.zeros((len(TIMES), 1, 3))),
        mesh=BLOCK,
        handles={"hand": ps.Handle(TIMES[:1], BLOCK.points[:1], radius=1e-3)},
    )
    holds, remarks = find_holds(capture, SoftBody("solid", BLOCK))
    assert len(holds[0].points) >= 4
    places = BLOCK.points[holds[0].points]
    assert np.linalg.svd(places - places.mean(axis=0), compute_uv=False)[1] > 0.01
    assert any("too few" in remark for remark in remarks)


def test_two_hands_share_the_points_between_them():
    hands = {name: ps.Handle(TIMES[:1], np.array([[x, 0.0, 0.0]]), radius=0.12) for name, x in (("left", -0.08), ("right", 0.08))}
    capture = ps.Capture(times=TIMES, tracks=ps.SeenTracks(np.zeros((len(TIMES), 1, 3))), mesh=SHEET, handles=hands)
    holds, _ = find_holds(capture, SoftBody("sheet", SHEET))
    left, right = (SHEET.points[hold.points] for hold in holds)
    assert left[:, 0].max() < 1e-9 <= right[:, 0].min() + 2e-9
    assert not np.intersect1d(holds[0].points, holds[1].points).size


def test_a_handle_that_opens_lets_go_and_one_that_closes_takes_hold():
    opening = np.where(TIMES < 0.7, 0.01, 0.06)
    hand = ps.Handle(TIMES, np.zeros((len(TIMES), 3)), opening=opening)
    assert closed_times(hand, 0.0) == (-np.inf, pytest.approx(TIMES[TIMES >= 0.7][0]))
    begin, end = closed_times(ps.Handle(TIMES, np.zeros((len(TIMES), 3)), opening=opening[::-1]), 0.0)
    assert 0.5 < begin < 0.7
    assert end == np.inf
    capture = ps.Capture(times=TIMES, tracks=ps.SeenTracks(np.zeros((len(TIMES), 1, 3))), mesh=BLOCK, handles={"hand": hand})
    with pytest.raises(ps.InputError, match="lets go at"):
        TwinScene(capture, SoftBody("solid", BLOCK))


def told_at(mesh, spots, at, turn=None, **facts):
    """A capture of a mesh whose places `spots` [h, 3], in the mesh's coordinates, a hand has carried to `at`, and seen as tracks."""
    R = np.eye(3) if turn is None else turn
    hand = ps.Handle(TIMES[:1], np.array([at]), R[None], places=np.asarray(spots), **facts)
    moved = mesh.points @ R.T + at
    rng = np.random.default_rng(4)
    shown = moved[rng.choice(len(moved), min(100, len(moved)), replace=False)] + 1e-3 * rng.standard_normal((min(100, len(moved)), 3))
    tracks = np.repeat(shown[None], len(TIMES), axis=0)
    return ps.Capture(times=TIMES, tracks=ps.SeenTracks(tracks), mesh=mesh, handles={"hand": hand}), moved


def test_a_told_edge_of_a_sheet_is_held_as_a_hinge_and_not_widened():
    line = np.stack([np.linspace(-0.15, 0.15, 76), np.full(76, 0.15), np.zeros(76)], axis=1)
    capture, _ = told_at(SHEET, line, np.zeros(3), radius=4e-3)
    holds, remarks = find_holds(capture, SoftBody("sheet", SHEET))
    assert np.array_equal(holds[0].points, EDGE)
    assert any("hinge" in remark for remark in remarks)


def test_places_finer_than_the_mesh_hold_the_points_within_half_a_cell():
    top = np.flatnonzero(BLOCK.points[:, 2] > -1e-9)
    grid = np.stack(np.meshgrid(np.linspace(-0.02, 0.02, 5), np.linspace(-0.02, 0.02, 5), [0.0]), axis=-1).reshape(-1, 3)
    capture, _ = told_at(BLOCK, grid, np.zeros(3), radius=1e-3)
    holds, _ = find_holds(capture, SoftBody("solid", BLOCK))
    near = np.linalg.norm(BLOCK.points[top, None] - grid, axis=2).min(axis=1) <= 0.5 * SoftBody("solid", BLOCK).cell_size
    assert np.array_equal(holds[0].points, top[near])


def test_places_lay_the_mesh_where_the_hand_has_carried_it():
    grid = np.stack(np.meshgrid(np.linspace(-0.025, 0.025, 13), np.linspace(-0.025, 0.025, 13), [0.0]), axis=-1).reshape(-1, 3)
    turn = Rotation.from_rotvec([0.1, -0.05, 0.1]).as_matrix()
    capture, moved = told_at(BLOCK, grid, np.array([0.02, -0.015, 0.03]), turn, radius=4e-3)
    body = reconstruct(capture)
    top = np.flatnonzero(BLOCK.points[:, 2] > -1e-9)
    assert np.linalg.norm(body.pose[top] - moved[top], axis=1).max() < 1.5e-3
    assert np.sqrt(((body.pose - moved) ** 2).sum(axis=1).mean()) < 3e-3
    holds, _ = find_holds(capture, body)
    assert np.array_equal(holds[0].points, top)


def test_a_sheet_hung_from_a_told_line_is_laid_row_to_row_by_few_tracks():
    line = np.stack([np.linspace(-0.15, 0.15, 76), np.full(76, 0.15), np.zeros(76)], axis=1)
    capture, moved = told_at(SHEET, line, np.array([0.01, 0.02, -0.015]), radius=4e-3)
    body = reconstruct(capture)
    assert np.sqrt(((body.pose - moved) ** 2).sum(axis=1).mean()) < 3e-3
    assert np.array_equal(find_holds(capture, body)[0][0].points, EDGE)
