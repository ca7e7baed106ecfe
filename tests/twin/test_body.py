"""Bodies from clouds, depth and markers whose shapes are known."""

import sys

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

import physsim as ps
from physsim.appearance.nearest import nearest_element
from physsim.io.mesh import SurfaceMesh
from physsim.twin.body import reconstruct
from physsim.twin.clouds import area_of, cloud_noise, thinned, unrolled
from physsim.twin.elements import elements_of
from physsim.twin.rod_shape import marker_order

TURN = Rotation.from_rotvec([0.3, -0.2, 0.7]).as_matrix()
UPRIGHT = Rotation.from_rotvec([0.0, 0.0, 0.7]).as_matrix()
FRONT, ALL = ((0.5, -1.0, 0.9),), ((0.5, -1.0, 0.9), (-0.8, 0.6, 0.7), (0.4, 0.9, -0.5), (-0.3, -0.4, -1.0))


def rolled(points, radius):
    """A flat sheet, or a straight rod along x, laid onto a cylinder."""
    angle, r = points[:, 0] / radius, radius - points[:, 2]
    return np.stack([r * np.sin(angle), points[:, 1], radius - r * np.cos(angle)], axis=1)


def on_surface(points, triangles, count, noise, rng):
    """Points scattered evenly over triangles, with noise."""
    a, b, c = (points[triangles[:, k]] for k in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    which = rng.choice(len(area), count, p=area / area.sum())
    places = np.einsum("pk,pkc->pc", rng.dirichlet(np.ones(3), count), points[triangles[which]])
    return places + noise * rng.standard_normal(places.shape)


def looked_at(points, triangles, views, noise, rng, **given):
    """Depth images of a surface, each number with noise."""
    cameras, depth, mask = {}, {}, {}
    for k, direction in enumerate(views):
        camera = ps.Camera.around(points, direction=direction, width=240, height=180)
        image = ps.render_surfaces([ps.Surface(points, triangles)], camera)
        shown = np.asarray(image.alpha) > 0.5
        seen = np.asarray(image.depth) + noise * rng.standard_normal(shown.shape)
        cameras[f"{k}"], mask[f"{k}"] = camera, [shown]
        depth[f"{k}"] = [np.where(shown, seen, np.nan).astype(np.float32)]
    return ps.Capture(times=[0.0], cameras=cameras, depth=depth, mask=mask, **given)


def distances(body, mesh, points):
    """Root mean squares [m] of how far the body's surface lies from the true one, and the true one from the body's."""
    own, true = elements_of(body.mesh), elements_of(mesh)
    there = nearest_element(body.pose[np.unique(own)], points[true])[2]
    back = nearest_element(points[np.unique(true)], body.pose[own])[2]
    return float(np.sqrt((there**2).mean())), float(np.sqrt((back**2).mean()))


@pytest.mark.parametrize(("noise", "views"), [pytest.param(0.0, ALL, marks=pytest.mark.slow), (2e-3, ALL), (2e-3, FRONT)])
def test_a_box_that_depth_shows_comes_out_with_its_volume(noise, views, seed=1):
    rng = np.random.default_rng(seed)
    mesh = ps.box_mesh((0.12, 0.08, 0.06), (6, 4, 3))
    points = mesh.points @ UPRIGHT.T
    known = ps.Known(ground=[[0, 0, 0], [0, 0, 1]])
    body = reconstruct(looked_at(points, mesh.surface(), views, noise, rng, known=known))
    assert body.kind == "solid"
    assert body.mesh.volumes().sum() == pytest.approx(mesh.volumes().sum(), rel=0.04)
    assert max(distances(body, mesh, points)) < 1.5e-3
    assert any("box" in remark for remark in body.remarks)
    assert any("ground" in remark for remark in body.remarks) == (views is FRONT)
    assert 200 < len(body.points) < 1500


def test_a_round_body_is_filled_with_tetrahedra_that_are_the_same_each_time(seed=2):
    rng = np.random.default_rng(seed)
    ball = rng.standard_normal((6000, 3))
    ball *= [0.05, 0.04, 0.03] / np.linalg.norm(ball, axis=1)[:, None]
    capture = ps.Capture(times=[0.0], points=[ball + 1e-3 * rng.standard_normal(ball.shape)])
    body, again = reconstruct(capture), reconstruct(capture)
    assert body.kind == "solid"
    assert np.array_equal(body.points, again.points)
    assert np.array_equal(body.mesh.cells, again.mesh.cells)
    assert body.mesh.volumes().sum() == pytest.approx(4 / 3 * np.pi * 0.05 * 0.04 * 0.03, rel=0.05)


@pytest.mark.parametrize(("radius", "views"), [(None, FRONT), (0.2, FRONT), pytest.param(0.2, ALL, marks=pytest.mark.slow)])
def test_a_sheet_keeps_its_area_and_lies_in_what_is_seen_without_strain(radius, views, seed=3):
    rng = np.random.default_rng(seed)
    mesh = ps.sheet_mesh((0.3, 0.24), (15, 12))
    points = (mesh.points if radius is None else rolled(mesh.points, radius)) @ TURN.T
    capture = looked_at(points, mesh.triangles, views, 1e-3, rng, known=ps.Known(thickness=1e-3))
    body = reconstruct(capture)
    assert body.kind == "sheet"
    assert body.mesh.areas().sum() == pytest.approx(0.3 * 0.24, rel=0.04)
    assert max(distances(body, mesh, points)) < 2e-3
    edges = body.edges
    rest, now = (np.linalg.norm(p[edges[:, 1]] - p[edges[:, 0]], axis=1) for p in (body.points, body.pose))
    assert np.sqrt(np.mean((now / rest - 1) ** 2)) < 0.01


def test_points_that_are_the_tracks_again_do_not_hinder_unrolling(seed=13):
    mesh, rng = ps.sheet_mesh((0.2, 0.3), (10, 15)), np.random.default_rng(seed)
    cloud = on_surface(rolled(mesh.points, 0.1), mesh.triangles, 300, 1e-3, rng)
    capture = ps.Capture(np.array([0.0]), points=[cloud], tracks=ps.SeenTracks(cloud[None, :70]), kind="sheet")
    body = reconstruct(capture)
    assert np.ptp(body.mesh.points, axis=0).max() == pytest.approx(0.3, rel=0.05)


def test_a_line_of_points_that_is_called_a_sheet_is_refused():
    cloud = np.column_stack([np.linspace(0.0, 0.3, 60), np.zeros(60), np.zeros(60)])
    with pytest.raises(ps.InputError, match="line"):
        reconstruct(ps.Capture(np.array([0.0]), points=[cloud], kind="sheet"))


def test_a_sheet_with_a_corner_cut_off_is_no_rectangle(seed=4):
    rng = np.random.default_rng(seed)
    square = rng.random((8000, 2)) * 0.2
    kept = square[square.sum(axis=1) < 0.28]
    cloud = np.column_stack([kept, 1e-4 * rng.standard_normal(len(kept))])
    body = reconstruct(ps.Capture(times=[0.0], points=[cloud], kind="sheet"))
    assert body.mesh.areas().sum() == pytest.approx(0.2**2 - 0.12**2 / 2, rel=0.05)


@pytest.mark.parametrize("noise", [0.0, 2e-3])
def test_a_rod_is_as_long_as_it_is_seen_and_its_axis_lies_behind_its_skin(noise, seed=5):
    rng = np.random.default_rng(seed)
    radius, straight = 4e-3, np.linspace(0, 0.5, 80)[:, None] * [1.0, 0.0, 0.0]
    line = rolled(straight, 0.25) @ TURN.T
    along = np.gradient(line, axis=0)
    along /= np.linalg.norm(along, axis=1)[:, None]
    first = np.cross(along, TURN @ [0, 1.0, 0])
    second = np.cross(along, first)
    angle = np.linspace(0, 2 * np.pi, 13)[:-1]
    skin = line[:, None] + radius * (np.cos(angle)[:, None] * first[:, None] + np.sin(angle)[:, None] * second[:, None])
    number = np.arange(80 * 12).reshape(80, 12)
    a, b = number[:-1], number[1:]
    triangles = np.stack([a, np.roll(a, -1, 1), b, np.roll(a, -1, 1), np.roll(b, -1, 1), b], axis=-1).reshape(-1, 3)
    capture = looked_at(skin.reshape(-1, 3), triangles, FRONT, noise, rng, known=ps.Known(thickness=2 * radius))
    body = reconstruct(capture)
    assert body.kind == "rod"
    assert body.mesh.lengths.sum() == pytest.approx(0.5, rel=0.02)
    away = nearest_element(body.pose, line[np.stack([np.arange(79), np.arange(1, 80)], axis=1)])[2]
    assert np.sqrt((away**2).mean()) < 1.2e-3


def test_markers_in_disorder_are_put_in_order_along_the_rod(seed=6):
    rng = np.random.default_rng(seed)
    line = rolled(np.linspace(0, 0.6, 12)[:, None] * [1.0, 0.0, 0.0], 0.3)
    shuffled = rng.permutation(12)
    frames = np.stack([line[shuffled] @ Rotation.from_rotvec([0, 0, 0.1 * k]).as_matrix().T for k in range(5)])
    frames = frames + 1e-3 * rng.standard_normal(frames.shape)
    order = shuffled[marker_order(frames, np.ones(frames.shape[:2], bool))]
    assert np.array_equal(order if order[0] == 0 else order[::-1], np.arange(12))
    body = reconstruct(ps.Capture(times=np.arange(5) / 30, tracks=ps.SeenTracks(frames)))
    assert body.kind == "rod"
    assert body.mesh.lengths.sum() == pytest.approx(0.6, rel=0.02)


@pytest.mark.parametrize("kind", ["solid", "sheet"])
def test_a_mesh_in_any_pose_is_laid_into_the_cloud(kind, seed=7):
    rng = np.random.default_rng(seed)
    # no two sides of the wedge are alike, so that it lies in its cloud in one way only
    if kind == "solid":
        mesh = ps.box_mesh((0.2, 0.1, 0.05), (8, 4, 2))
        mesh = ps.TetMesh(
            mesh.points * (1 + np.array([0, 3.0, 0]) * mesh.points[:, :1]) + [[0, 0, 1]] * mesh.points[:, :1] * 0.2, mesh.cells
        )
        surface = mesh.surface()
    else:
        mesh = ps.sheet_mesh((0.3, 0.2), (12, 8))
        mesh = ps.TriMesh(mesh.points * (1 + np.array([0, 2.0, 0]) * mesh.points[:, :1]), mesh.triangles)
        surface = mesh.triangles
    truth = mesh.points @ Rotation.from_rotvec([0.5, -1.2, 2.0]).as_matrix().T + [0.3, 0.1, 0.5]
    cloud = on_surface(truth, surface, 4000, 1e-3, rng)
    body = reconstruct(ps.Capture(times=[0.0], points=[cloud], mesh=mesh))
    # in its own plane a sheet is known as well as its rim: the cloud's points lie 4 mm apart
    assert max(distances(body, mesh, truth)) < (2e-3 if kind == "solid" else 4e-3)


def test_tracks_that_are_the_points_of_the_mesh_lay_it_whatever_some_wrong_ones_say(seed=8):
    rng = np.random.default_rng(seed)
    mesh = ps.box_mesh((0.2, 0.06, 0.04), (8, 3, 2))
    truth = rolled(mesh.points, 0.3) @ TURN.T
    tracks = truth + 5e-4 * rng.standard_normal(truth.shape)
    wrong = rng.choice(len(tracks), len(tracks) // 20, replace=False)
    tracks[wrong] += 0.1 * rng.standard_normal((len(wrong), 3))
    body = reconstruct(ps.Capture(times=[0.0], tracks=ps.SeenTracks(tracks[None]), mesh=mesh))
    assert np.sqrt(((body.pose - truth) ** 2).sum(axis=1).mean()) < 2e-3


def test_unrolling_keeps_distances_along_a_cylinder(seed=9):
    rng = np.random.default_rng(seed)
    flat = np.column_stack([rng.random((500, 2)) * [0.3, 0.2], np.zeros(500)])
    uv = unrolled(rolled(flat, 0.1))
    wanted = np.linalg.norm(flat[:, None] - flat[None], axis=-1)
    found = np.linalg.norm(uv[:, None] - uv[None], axis=-1)
    far = wanted > 0.1
    assert np.abs(found[far] / wanted[far] - 1).mean() < 0.02


def test_the_noise_of_a_cloud_is_estimated(seed=10):
    rng = np.random.default_rng(seed)
    mesh = ps.box_mesh((0.2, 0.15, 0.1), (4, 3, 2))
    for noise in (5e-4, 2e-3):
        cloud = on_surface(mesh.points, mesh.surface(), 6000, noise, rng)
        assert cloud_noise(cloud) == pytest.approx(noise, rel=0.2)


def test_too_few_points_and_a_wrong_kind_are_refused():
    few = ps.Capture(times=[0.0], points=[np.zeros((3, 3))])
    with pytest.raises(ps.InputError, match="name the kind"):
        reconstruct(few)
    with pytest.raises(ps.InputError, match="at least 20"):
        reconstruct(few, kind="solid")
    given = ps.Capture(times=[0.0], points=[np.zeros((3, 3))], mesh=ps.sheet_mesh((1, 1), (2, 2)))
    with pytest.raises(ps.InputError, match="that of a sheet"):
        reconstruct(given, kind="solid")


def test_the_area_of_a_scattered_surface_is_estimated(seed=12):
    rng = np.random.default_rng(seed)
    sheet, box = ps.sheet_mesh((0.3, 0.2), (12, 8)), ps.box_mesh((0.2, 0.15, 0.1), (4, 3, 2))
    cloud = on_surface(rolled(sheet.points, 0.2), sheet.triangles, 6000, 1e-3, rng)
    # points at its rim have neighbours on one side only
    assert area_of(cloud) == pytest.approx(0.3 * 0.2, rel=0.12)
    # seen twice as densely on one half
    denser = np.concatenate([cloud, cloud[cloud[:, 1] < 0.1] + 1e-3 * rng.standard_normal((int((cloud[:, 1] < 0.1).sum()), 3))])
    assert area_of(denser) == pytest.approx(0.3 * 0.2, rel=0.12)
    assert area_of(on_surface(box.points, box.surface(), 6000, 1e-3, rng)) == pytest.approx(0.13, rel=0.1)


def test_thinned_points_are_spread_evenly_and_the_same_each_time(seed=13):
    rng = np.random.default_rng(seed)
    cloud = np.concatenate([rng.random((9000, 2)), 0.5 * rng.random((20000, 2))])
    cloud = np.column_stack([cloud, 1e-3 * rng.standard_normal(len(cloud))])
    few = thinned(cloud, 400)
    assert len(few) == pytest.approx(400, rel=0.06)
    assert np.array_equal(few, thinned(cloud, 400))
    assert (few[:, :2] < 0.5).all(axis=1).mean() == pytest.approx(0.25, abs=0.03)


def test_without_open3d_a_given_mesh_is_laid_and_a_body_without_one_says_what_to_install(monkeypatch, seed=14):
    rng = np.random.default_rng(seed)
    monkeypatch.setitem(sys.modules, "open3d", None)
    for kind, mesh in (("sheet", ps.sheet_mesh((0.3, 0.2), (12, 8))), ("rod", ps.Curve.straight((0, 0, 0), (0.3, 0, 0), 20))):
        points = mesh.points if kind == "sheet" else mesh.line
        elements = mesh.triangles if kind == "sheet" else np.stack([np.arange(20), np.arange(1, 21), np.arange(1, 21)], axis=1)
        share = rng.dirichlet(np.ones(3), 3000)
        cloud = np.einsum("pk,pkc->pc", share, points[elements[rng.integers(len(elements), size=3000)]]) + 1e-3 * rng.standard_normal(
            (3000, 3)
        )
        body = reconstruct(ps.Capture(times=[0.0], points=[cloud], mesh=mesh))
        assert np.sqrt(((body.pose - points) ** 2).sum(axis=1).mean()) < 5e-3
        with pytest.raises(ps.InputError, match=r"pip install 'physsim\[capture\]'"):
            reconstruct(ps.Capture(times=[0.0], points=[cloud]))


@pytest.mark.slow
def test_a_closed_surface_is_filled_and_laid_into_the_cloud(seed=11):
    rng = np.random.default_rng(seed)
    box = ps.box_mesh((0.12, 0.08, 0.05), (4, 3, 2))
    surface = box.surface()
    used, triangles = np.unique(surface, return_inverse=True)
    given = SurfaceMesh(box.points[used], triangles.reshape(-1, 3))
    truth = box.points @ UPRIGHT.T + [0.2, 0.0, 0.1]
    cloud = on_surface(truth, surface, 4000, 5e-4, rng)
    body = reconstruct(ps.Capture(times=[0.0], points=[cloud], mesh=given))
    assert body.kind == "solid"
    assert body.mesh.volumes().sum() == pytest.approx(box.volumes().sum(), rel=0.01)
    there, back = distances(body, box, truth)
    assert max(there, back) < 1.5e-3
