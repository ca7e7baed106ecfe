"""Terms of a fit against finite differences and closed forms."""

import numpy as np
import pytest

import physsim as ps
from physsim.appearance.meshes import Surface, render_surfaces
from physsim.twin.cloud_term import CloudTerm
from physsim.twin.linear import Linear, deviation, measured
from physsim.twin.mask_term import MaskTerm
from physsim.twin.noise import cloud_noise, track_noise
from physsim.twin.offsets import centred
from physsim.twin.surface import BodySurface, Spots
from physsim.twin.track_term import TrackTerm


def block():
    mesh = ps.box_mesh((0.1, 0.06, 0.04), (3, 2, 2))
    return mesh, BodySurface(mesh.surface(), closed=True)


def sheet():
    mesh = ps.sheet_mesh((0.1, 0.08), (5, 4))
    return mesh, BodySurface(mesh.triangles, half=5e-4)


def rod():
    points = np.stack([np.linspace(0, 0.2, 9), 0.02 * np.sin(np.linspace(0, 3, 9)), np.zeros(9)], axis=1)
    return points, BodySurface(np.stack([np.arange(8), np.arange(1, 9)], axis=1), half=2e-3)


def bent(points, rng, size=2e-3):
    return points + size * rng.standard_normal(points.shape)


def rate(function, x, direction, step=1e-6):
    return (function(x + step * direction) - function(x - step * direction)) / (2 * step)


@pytest.mark.parametrize("sharp", [False, True])
@pytest.mark.parametrize("make", [block, sheet, rod])
def test_the_gradient_of_a_clouds_cost_is_that_of_finite_differences(make, sharp, request):
    rng = np.random.default_rng(3)
    body, surface = make()
    points = body if make is rod else body.points
    x = bent(points, rng)
    place = x[surface.elements].mean(axis=1)
    y = place[rng.integers(len(place), size=60)] + 4e-3 * rng.standard_normal((60, 3))
    y[:5] += 0.05 * rng.standard_normal((5, 3))
    term = CloudTerm("points", [0], [y], surface, 1e-3)
    term.sharp = sharp
    gradient = term.linearise(0, x).gradient(term.sigma)
    for _ in range(3):
        direction = rng.standard_normal(x.shape)
        expected = rate(lambda z: term.linearise(0, z).cost(term.sigma), x, direction)
        assert np.sum(gradient * direction) == pytest.approx(expected, rel=1e-4, abs=1e-3 * np.abs(gradient).max())


def test_rows_of_gauss_newton_have_the_costs_gradient_and_its_value():
    rng = np.random.default_rng(4)
    mesh, surface = block()
    x = bent(mesh.points, rng)
    y = x[surface.elements].mean(axis=1) + 3e-3 * rng.standard_normal((len(surface.elements), 3))
    term = CloudTerm("points", [0], [y], surface, 1e-3)
    moved = rng.standard_normal((4, *x.shape))
    linear = term.linearise(0, x)
    residuals, jacobian = linear.rows(term.sigma, moved)
    assert 0.5 * residuals @ residuals == pytest.approx(linear.cost(term.sigma), rel=1e-12)
    expected = np.einsum("pnd,nd->p", moved, linear.gradient(term.sigma))
    assert jacobian.T @ residuals == pytest.approx(expected, rel=1e-9)


def test_a_derivative_and_its_transpose_belong_together():
    rng = np.random.default_rng(5)
    mesh, surface = block()
    y = mesh.points[surface.elements].mean(axis=1) + 1e-3
    linear = CloudTerm("points", [0], [y], surface, 1e-3).linearise(0, mesh.points)
    direction, values = rng.standard_normal(mesh.points.shape), rng.standard_normal(len(linear.residuals))
    assert np.sum(linear.apply(direction) * values) == pytest.approx(np.sum(linear.pull(values) * direction), rel=1e-12)


def test_a_sphere_of_points_about_a_closed_body_keeps_off_the_side_turned_away():
    mesh = ps.box_mesh((0.1, 0.1, 0.004), (6, 6, 1))
    surface = BodySurface(mesh.surface(), closed=True)
    y = np.array([[0.05, 0.05, 0.0015]])  # nearer to the lower face, but seen from above
    from_above = surface.nearest(y, mesh.points, np.array([0.05, 0.05, 1.0]))
    from_nowhere = surface.nearest(y, mesh.points)
    assert from_above.place[0, 2] == pytest.approx(0.004)
    assert from_nowhere.place[0, 2] == pytest.approx(0.0)


def test_a_point_beyond_a_sheets_border_is_drawn_along_the_sheet():
    mesh, surface = sheet()
    surface = BodySurface(mesh.triangles)
    linear = CloudTerm("points", [0], [np.array([[0.11, 0.04, 0.0]])], surface, 1e-3).linearise(0, mesh.points)
    towards = np.zeros_like(mesh.points)
    towards[:, 0] = 1.0
    assert np.abs(linear.residuals).max() == pytest.approx(0.01)
    assert np.abs(linear.apply(towards)).max() == pytest.approx(1.0)


def test_half_the_thickness_lies_between_a_sheet_and_what_a_camera_sees_of_it():
    mesh, surface = sheet()
    y = np.array([[0.05, 0.04, 5e-4]])
    seen = CloudTerm("depth", [0], [y], surface, 1e-3, eyes=[np.array([0.05, 0.04, 1.0])]).linearise(0, mesh.points)
    assert np.abs(seen.residuals).max() < 1e-12


@pytest.mark.parametrize("make", [block, rod])
def test_places_above_a_surface_follow_it_as_finite_differences_say(make):
    rng = np.random.default_rng(6)
    body, surface = make()
    points = body if make is rod else body.points
    x = bent(points, rng)
    y = x[surface.elements].mean(axis=1) + 2e-3 * rng.standard_normal((len(surface.elements), 3))
    spots = Spots.at(surface, y, x)
    _, slope = spots.places(x)
    direction = rng.standard_normal(x.shape)
    found = np.einsum("pikd,pkd->pi", slope, direction[spots.nodes])
    assert found == pytest.approx(rate(lambda z: spots.places(z)[0], x, direction), rel=1e-6, abs=1e-8)
    if make is block:
        inner = np.abs(spots.weights).min(axis=1) > 1e-6
        assert spots.places(x)[0][inner] == pytest.approx(y[inner], abs=1e-12)


def test_a_track_that_turns_with_the_body_keeps_its_offset():
    rng = np.random.default_rng(7)
    mesh, surface = block()
    y = mesh.points[surface.elements].mean(axis=1)
    from scipy.spatial.transform import Rotation

    turns = Rotation.from_rotvec([[0, 0, 0], [0.3, 0.1, 0.5], [1.0, -0.4, 0.2]]).as_matrix()
    beside = y + 2e-3 * rng.standard_normal(y.shape)
    term = TrackTerm(np.arange(3), np.stack([beside @ r.T for r in turns]), surface, 1e-3)
    term.bind(0, mesh.points + 1e-3)
    apart = np.stack([term.apart(f, mesh.points @ r.T)[0] for f, r in enumerate(turns)])
    assert apart == pytest.approx(np.broadcast_to(apart[0], apart.shape), abs=1e-12)
    assert np.abs(apart).max() > 1e-4


def test_offsets_are_eliminated_and_a_track_that_jumps_moves_none():
    rng = np.random.default_rng(8)
    offset = 5.0 * rng.standard_normal((20, 3))
    residuals = offset + rng.standard_normal((30, 20, 3))
    residuals[18:, 0] += 80.0
    found = centred(residuals, np.ones((30, 20), bool))
    assert np.abs(found.offset - offset).max() < 5 * 1.3 / np.sqrt(18)
    assert found.weights[20:, 0].max() < 0.01
    assert deviation(found.residuals[:, 1:]) == pytest.approx(1.0, abs=0.1)


def test_the_cost_of_centred_tracks_has_the_gradient_of_its_rows():
    rng = np.random.default_rng(9)
    residuals = 3.0 * rng.standard_normal((12, 5, 3))
    jacobian = rng.standard_normal((12, 5, 3, 2))
    seen = rng.random((12, 5)) < 0.8
    rows, slopes = centred(residuals, seen).rows(jacobian)
    gradient = np.einsum("fmq,fm->q", slopes, rows)
    for q in range(2):
        step = 1e-5
        cost = [centred(residuals + s * step * jacobian[..., q], seen).cost for s in (1, -1)]
        assert gradient[q] == pytest.approx((cost[0] - cost[1]) / (2 * step), rel=2e-2, abs=2e-2)


def silhouette(camera, surface, x):
    return render_surfaces([Surface(x, surface.elements, (1.0, 1.0, 1.0))], camera).depth.numpy() > 0


def test_a_mask_draws_a_body_that_was_shifted_back_into_it():
    mesh, surface = block()
    camera = ps.Camera.look_at((0.05, -0.5, 0.02), (0.05, 0.03, 0.02), width=160, height=120, angle=14.0)
    mask = silhouette(camera, surface, mesh.points)
    term = MaskTerm("mask", camera, np.array([0]), [mask], surface)
    for shift in ([6e-3, 0, 0], [0, 0, -5e-3], [-4e-3, 0, 4e-3]):
        x = mesh.points + shift
        gradient = term.linearise(0, x).gradient(term.sigma).sum(axis=0)
        assert gradient @ shift > 0
        assert abs(gradient[1]) < 0.5 * np.linalg.norm(gradient)
        assert term.linearise(0, x).cost(1.0) > 4 * term.linearise(0, mesh.points).cost(1.0)


def test_the_masks_derivative_is_that_of_finite_differences_where_correspondences_stay():
    mesh, surface = block()
    camera = ps.Camera.look_at((0.05, -0.5, 0.02), (0.05, 0.03, 0.02), width=160, height=120, angle=14.0)
    term = MaskTerm("mask", camera, np.array([0]), [silhouette(camera, surface, mesh.points)], surface)
    x = mesh.points + [8e-3, 0, 2e-3]
    direction = np.broadcast_to([0.6, 0.2, -0.5], x.shape)
    linear = term.linearise(0, x)
    expected = rate(lambda z: term.linearise(0, z).residuals, x, direction, 1e-7)
    assert np.count_nonzero(expected) > 140
    close = np.isclose(linear.apply(direction), expected, rtol=1e-3, atol=1e-2 * np.abs(expected).max())
    assert close.mean() > 0.97


def best_scale(linearised, points):
    """Factor of the body's size, about its middle, at which terms of many poses cost least."""
    middle, scales = points.mean(axis=0), np.linspace(0.96, 1.04, 17)
    costs = [sum(one(middle + s * (points - middle)) for one in linearised) for s in scales]
    curve = np.polyfit(scales, costs, 2)
    assert curve[0] > 0
    return -curve[1] / (2 * curve[0])


def looking(shift):
    return ps.Camera.look_at(
        (0.05 + shift[0], -0.5, 0.02 + shift[1]), (0.05 + shift[0], 0.03, 0.02 + shift[1]), width=160, height=120, angle=14.0
    )


def test_masks_of_a_body_that_fits_ask_for_no_other_size(rng):
    """Pixels are counted where their centres are covered: over many poses their border is right, not a pixel in or out."""
    mesh, surface = block()
    terms = []
    for shift in 2e-3 * rng.random((12, 2)):
        camera = looking(shift)
        term = MaskTerm("mask", camera, np.array([0]), [silhouette(camera, surface, mesh.points)], surface)
        terms.append(lambda x, term=term: term.linearise(0, x).cost(1.0))
    assert best_scale(terms, mesh.points) == pytest.approx(1.0, abs=0.002)  # a sixth of a pixel


def test_depth_of_a_body_that_fits_asks_for_no_other_size_although_it_errs(rng):
    """Points at rims err along their rays; the size asked for stays within two fifths of a per cent."""
    mesh, surface = block()
    terms = []
    for shift in 2e-3 * rng.random((12, 2)):
        camera = looking(shift)
        depth = render_surfaces([Surface(mesh.points, surface.elements, (1.0, 1.0, 1.0))], camera).depth.numpy()
        rows, columns = np.nonzero(depth > 0)
        origin, rays = camera.rays(np.stack([columns, rows], axis=1).astype(float))
        cloud = origin + (depth[rows, columns] + 2e-3 * rng.standard_normal(len(rows)))[:, None] * rays
        term = CloudTerm("depth", np.array([0]), [cloud], surface, 2e-3, [np.broadcast_to(camera.position, cloud.shape)], count=2000)
        terms.append(lambda x, term=term: term.linearise(0, x).cost(term.sigma))
    assert best_scale(terms, mesh.points) == pytest.approx(1.0, abs=0.004)


def test_the_noise_of_tracks_that_swing_is_found():
    rng = np.random.default_rng(10)
    times = np.arange(60) / 30
    smooth = 0.03 * np.sin(2 * np.pi * 1.5 * times)[:, None, None] * rng.standard_normal((1, 40, 3))
    assert track_noise(smooth + 1e-3 * rng.standard_normal(smooth.shape)) == pytest.approx(1e-3, rel=0.15)


def test_the_noise_of_a_cloud_is_found_across_its_surface():
    rng = np.random.default_rng(11)
    flat = np.column_stack([rng.random((4000, 2)), 2e-3 * rng.standard_normal(4000)])
    assert cloud_noise(flat) == pytest.approx(2e-3, rel=0.15)


def test_measurements_that_were_not_made_count_for_nothing():
    linear = measured(np.array([[np.nan], [2.0]]), [False, True], np.array([[0], [1]]), np.ones((2, 1, 1, 3)), 2, 1.0)
    assert isinstance(linear, Linear)
    assert linear.rows(1.0, np.ones((1, 2, 3)))[0][0] == 0.0
    assert np.isfinite(linear.cost(1.0))
    assert list(linear.spread) == [2.0]
