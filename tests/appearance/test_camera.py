"""Cameras see what OpenCV's see, and know where each pixel looks."""

import json

import numpy as np
import pytest

from physsim.appearance.camera import Camera, orbit
from physsim.errors import InputError

# What calibrations of real lenses give: a webcam, a wide one, and a rational model (Azure Kinect's order of size).
LENSES = [(0.11, -0.24, 0.0011, -0.0008), (-0.31, 0.12, -0.0004, 0.0009, -0.022), (0.45, -2.6, 0.0006, -0.0002, 1.5, 0.33, -2.4, 1.43)]


def rotation(random):
    q, r = np.linalg.qr(random.normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    return q * np.linalg.det(q)


def camera(random, distortion=()):
    return Camera(640, 480, (610.0, 580.0), (310.0, 251.0), rotation(random), random.normal(size=3), distortion)


def in_front(view, random, count=200):
    """Points in the world that the camera has in view."""
    local = np.concatenate([random.uniform(-0.42, 0.42, (count, 2)), np.ones((count, 1))], axis=1) * random.uniform(0.3, 4.0, (count, 1))
    return (local - view.translation) @ view.rotation


def published(view, points):
    """The formula of OpenCV's documentation, point by point."""
    k1, k2, p1, p2, k3, k4, k5, k6 = [*view.distortion, *[0.0] * (8 - len(view.distortion))]
    pixels = []
    for point in points:
        X, Y, Z = view.rotation @ point + view.translation
        x, y = X / Z, Y / Z
        r = x**2 + y**2
        radial = (1 + k1 * r + k2 * r**2 + k3 * r**3) / (1 + k4 * r + k5 * r**2 + k6 * r**3)
        u = x * radial + 2 * p1 * x * y + p2 * (r + 2 * x**2)
        v = y * radial + p1 * (r + 2 * y**2) + 2 * p2 * x * y
        pixels.append((view.focal[0] * u + view.centre[0], view.focal[1] * v + view.centre[1]))
    return np.array(pixels)


@pytest.mark.parametrize("distortion", [(), *LENSES])
def test_points_are_projected_by_the_published_formula(distortion):
    random = np.random.default_rng(11)
    view = camera(random, distortion)
    points = in_front(view, random)
    pixels, depth = view.project(points)
    np.testing.assert_allclose(pixels, published(view, points), atol=1e-9)
    np.testing.assert_allclose(depth, (points @ view.rotation.T + view.translation)[:, 2])


@pytest.mark.parametrize("distortion", LENSES)
def test_points_are_projected_as_by_opencv(distortion):
    cv2 = pytest.importorskip("cv2")
    random = np.random.default_rng(12)
    view = camera(random, distortion)
    points = in_front(view, random)
    turn, _ = cv2.Rodrigues(view.rotation)
    theirs, _ = cv2.projectPoints(points, turn, view.translation, view.matrix, np.array(distortion))
    np.testing.assert_allclose(view.project(points)[0], theirs[:, 0], atol=1e-8)


@pytest.mark.parametrize("distortion", [(), *LENSES])
def test_the_ray_of_a_pixel_meets_what_the_pixel_shows(distortion):
    random = np.random.default_rng(13)
    view = camera(random, distortion)
    points = in_front(view, random)
    pixels, depth = view.project(points)
    origin, directions = view.rays(pixels)
    np.testing.assert_allclose(origin + depth[:, None] * directions, points, atol=1e-9)


@pytest.mark.parametrize("distortion", LENSES)
def test_every_pixel_of_a_calibrated_lens_has_a_ray(distortion):
    view = Camera(640, 480, (610.0, 580.0), distortion=distortion)
    origin, directions = view.rays()
    assert directions.shape == (480, 640, 3)
    seen = np.isfinite(directions).all(axis=2)
    assert seen.mean() > 0.99
    pixels, depth = view.project(origin + 2.0 * directions)
    np.testing.assert_allclose(pixels[seen], view.pixel_centres()[seen], atol=1e-8)
    np.testing.assert_allclose(depth[seen], 2.0)


def test_a_lens_that_folds_back_images_nothing_beyond_its_limit():
    view = Camera(600, 600, (200.0, 200.0), distortion=(-0.3, 0.0, 0.0, 0.0))
    assert view.limit == pytest.approx(np.sqrt(1 / 0.9))  # of r - 0.3 r^3
    edge = 200.0 * (view.limit - 0.3 * view.limit**3)
    centred = view.pixel_centres() - view.centre
    radius = np.hypot(centred[..., 0], centred[..., 1])
    seen = np.isfinite(view.undistort(view.pixel_centres())).all(axis=-1)
    np.testing.assert_array_equal(seen[np.abs(radius - edge) > 0.01], (radius < edge)[np.abs(radius - edge) > 0.01])
    inside, outside = [0.99 * view.limit, 0.0, 1.0], [1.01 * view.limit, 0.0, 1.0]
    pixels, _ = view.project(np.array([inside, outside, [0.0, 0.0, -1.0]]))
    np.testing.assert_array_equal(np.isfinite(pixels).all(axis=1), [True, False, False])


def test_a_lens_that_grows_forever_has_no_limit():
    assert Camera(64, 64, (50.0, 50.0)).limit == np.inf
    assert Camera(64, 64, (50.0, 50.0), distortion=(0.1, 0.01, 0.0, 0.0)).limit == np.inf


def test_the_angle_of_view_reaches_the_borders_of_the_outer_pixels():
    view = Camera.from_fov(200, 100, vertical=60.0)
    x, y = view.undistort(np.array([199.5, 99.5]))
    assert np.degrees(2 * np.arctan(y)) == pytest.approx(60.0)
    assert view.focal[0] == view.focal[1]
    both = Camera.from_fov(200, 100, vertical=60.0, horizontal=80.0)
    x, y = both.undistort(np.array([199.5, 99.5]))
    assert np.degrees(2 * np.arctan([x, y])) == pytest.approx([80.0, 60.0])


def test_a_resized_camera_sees_the_same_shares():
    random = np.random.default_rng(14)
    view = camera(random, LENSES[0])
    points = in_front(view, random)
    small = view.resized(320, 120)
    shares = (view.project(points)[0] + 0.5) / [640, 480]
    np.testing.assert_allclose((small.project(points)[0] + 0.5) / [320, 120], shares, atol=1e-12)


def test_a_camera_around_points_has_them_in_view_and_fills_the_image():
    random = np.random.default_rng(5)
    for _ in range(10):
        points = random.normal(size=(50, 3)) * random.uniform(0.1, 3, 3) + random.normal(size=3)
        view = Camera.around(points, margin=1.0, width=320, height=180)
        pixels, depth = view.project(points)
        assert depth.min() > 0
        assert np.abs((pixels + 0.5) / [320, 180] - 0.5).max() == pytest.approx(0.5, abs=1e-6)
        np.testing.assert_allclose(view.target, 0.5 * (points.min(axis=0) + points.max(axis=0)), atol=1e-9)


@pytest.mark.parametrize("up", [(0.0, 0.0, 1.0), (0.0, -1.0, 0.0), (1.0, 0.2, 0.0)])
def test_an_orbit_goes_around_at_one_distance_with_all_in_view(up):
    random = np.random.default_rng(15)
    points = random.normal(size=(40, 3)) * [0.5, 0.1, 0.2] + [1.0, 2.0, 3.0]
    views = orbit(points, 12, elevation=30.0, up=up, width=320, height=240)
    target = views[0].target
    offsets = np.array([view.position for view in views]) - target
    distances = np.linalg.norm(offsets, axis=1)
    np.testing.assert_allclose(distances, distances[0])
    np.testing.assert_allclose(offsets @ up / np.linalg.norm(up) / distances, 0.5)
    np.testing.assert_allclose(offsets.mean(axis=0), 0.5 * distances[0] * np.array(up) / np.linalg.norm(up), atol=1e-9)  # a closed circle
    for view in views:
        pixels, _ = view.project(points)
        assert (pixels > -0.5).all()
        assert (pixels < [319.5, 239.5]).all()


def test_a_camera_survives_json():
    view = camera(np.random.default_rng(16), LENSES[2])
    again = Camera.from_dict(json.loads(json.dumps(view.to_dict())))
    assert again.to_dict() == view.to_dict()
    np.testing.assert_array_equal(again.rotation, view.rotation)


def test_the_points_of_a_depth_image_are_seen_at_their_pixels():
    view = camera(np.random.default_rng(17), LENSES[0])
    depth = np.random.default_rng(18).uniform(0.5, 2.0, (480, 640))
    depth[3, 4] = 0.0
    points = view.points(depth)
    assert np.isnan(points[3, 4]).all()
    pixels, again = view.project(points)
    np.testing.assert_allclose(
        np.delete(pixels.reshape(-1, 2), 3 * 640 + 4, 0), np.delete(view.pixel_centres().reshape(-1, 2), 3 * 640 + 4, 0), atol=1e-8
    )
    np.testing.assert_allclose(np.delete(again, 3 * 640 + 4), np.delete(depth, 3 * 640 + 4))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Camera(0, 10, (1.0, 1.0)), "width"),
        (lambda: Camera(10, 10, (0.0, 1.0)), "focal"),
        (lambda: Camera(10, 10, (1e25, 1.0)), "focal = 1e\\+25"),
        (lambda: Camera(10, 10, (1.0, 1.0), centre=(-1e30, 0.0)), "centre = -1e\\+30"),
        (lambda: Camera(10, 10, (1.0, 1.0), translation=(0.0, 1e38, 0.0)), "translation = 1e\\+38"),
        (lambda: Camera(10, 10, (np.nan, 1.0)), "NaN"),
        (lambda: Camera(10, 10, (1.0, 1.0), rotation=np.diag([1.0, 1.0, -1.0])), "no rotation"),
        (lambda: Camera(10, 10, (1.0, 1.0), rotation=2.0 * np.eye(3)), "no rotation"),
        (lambda: Camera(10, 10, (1.0, 1.0), distortion=(0.1, 0.1)), "2 coefficients"),
        (lambda: Camera(10, 10, (1.0, 1.0), distortion=(np.inf, 0.0, 0.0, 0.0)), "infinite"),
        (lambda: Camera.from_matrix(np.diag([0.0, 5.0, 1.0]), 10, 10), "singular"),
        (lambda: Camera.from_matrix([[5.0, 0.1, 2.0], [0.0, 5.0, 2.0], [0.0, 0.0, 1.0]], 10, 10), "skew"),
        (lambda: Camera.from_fov(10, 10), "no angle"),
        (lambda: Camera.from_fov(10, 10, vertical=180.0), "angle"),
        (lambda: Camera.look_at((0, 0, 1), (0, 0, 0)), "parallel"),
        (lambda: Camera.look_at((1, 1, 1), (1, 1, 1)), "differ"),
        (lambda: Camera.around([[np.nan, 0, 0]]), "finite"),
        (lambda: Camera.around(np.zeros((0, 3))), "0 points"),
        (lambda: Camera.around(np.eye(3), direction=(0, 0, 0)), "direction"),
        (lambda: orbit(np.eye(3), 0), "frames"),
        (lambda: orbit(np.eye(3), 5, elevation=90.0), "elevation"),
        (lambda: Camera.from_dict({"width": 3, "fov": 2}), "unknown entries"),
        (lambda: Camera(10, 10, (1.0, 1.0)).points(np.zeros((3, 3))), r"\[10, 10\]"),
    ],
)
def test_a_camera_that_cannot_be_is_refused(make, said):
    with pytest.raises(InputError, match=said):
        make()
