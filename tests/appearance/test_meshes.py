"""Surfaces are seen where geometry says, in their colours, and what is in front hides what is behind."""

import subprocess
import sys

import numpy as np
import pytest
import torch
import trimesh
import warp as wp

from physsim.appearance import meshes
from physsim.appearance.camera import Camera
from physsim.appearance.meshes import UNSHADED, Light, Surface, render_surfaces
from physsim.errors import InputError
from physsim.kernels.render import rays
from physsim.physics.frames import rotation_matrix

BARREL = (-0.28, 0.07, 0.001, -0.0005)
SQUARE = np.array([[-1.0, -1.0, 0.0], [1.0, -1.0, 0.0], [1.0, 1.0, 0.0], [-1.0, 1.0, 0.0]])
HALVES = np.array([[0, 1, 2], [0, 2, 3]])
FACING = Camera.look_at((0, 0, -5), (0, 0, 0), up=(0, -1, 0), width=64, height=48, angle=20)  # x right, y down, z away


def square(size=1.0, at=(0.0, 0.0, 0.0), **options):
    return Surface(size * SQUARE + at, HALVES, **options)


def soup(random, count):
    return random.uniform(-1, 1, (count, 1, 3)) + random.normal(scale=0.4, size=(count, 3, 3))


def brute_force(view, corners):
    """Nearest triangle and depth of each pixel, all pairs in float64 (Moeller and Trumbore); least margin of a corner's weight."""
    origin, directions = view.rays()
    d = directions.reshape(-1, 1, 3)
    e1, e2 = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    p = np.cross(d, e2)
    determinant = (p * e1).sum(-1)
    s = origin - corners[:, 0]
    u = (p * s).sum(-1) / determinant
    q = np.cross(s, e1)
    v = (d * q).sum(-1) / determinant
    depth = (q * e2).sum(-1) / determinant
    inside = np.minimum(np.minimum(u, v), 1 - u - v)
    depth = np.where((inside > 0) & (depth > view.near), depth, np.inf)
    near_an_edge = (np.abs(inside) < 1e-4).any(axis=1)
    return depth.min(axis=1), depth.argmin(axis=1), near_an_edge


@pytest.mark.parametrize("distortion", [(), BARREL])
def test_the_first_triangle_along_each_ray_is_seen(rng, distortion):
    corners = soup(rng, 40)
    view = Camera.look_at((0.5, -4, 1), (0, 0, 0), width=60, height=45, distortion=distortion)
    image = render_surfaces([Surface(t, [[0, 1, 2]], label=k) for k, t in enumerate(corners)], view)
    depth, which, doubtful = brute_force(view, corners)
    labels = np.where(np.isfinite(depth), which, -1)
    sure = ~doubtful
    assert sure.mean() > 0.9
    np.testing.assert_array_equal(image.labels.numpy().ravel()[sure], labels[sure])
    hit = sure & (labels >= 0)
    assert hit.sum() > 200
    np.testing.assert_allclose(image.depth.numpy().ravel()[hit], depth[hit], rtol=1e-5)
    np.testing.assert_array_equal(image.alpha.numpy().ravel()[sure], labels[sure] >= 0)
    assert not image.depth.numpy().ravel()[sure & (labels < 0)].any()
    one = render_surfaces([Surface(corners.reshape(-1, 3), np.arange(120).reshape(-1, 3), triangle_colours=np.ones((40, 3)))], view)
    np.testing.assert_allclose(one.depth.numpy().ravel()[hit], depth[hit], rtol=1e-5)


def test_depth_is_along_the_axis_and_normals_face_the_viewer():
    tilt = np.radians(30)
    turn = np.array([[np.cos(tilt), 0, np.sin(tilt)], [0, 1, 0], [-np.sin(tilt), 0, np.cos(tilt)]])
    view = Camera(80, 60, (70.0, 75.0), rotation=turn, translation=[0.1, -0.2, 3.0], distortion=BARREL)
    image = render_surfaces([square(20.0)], view)
    origin, directions = view.rays()
    np.testing.assert_allclose(image.depth.numpy(), -origin[2] / directions[..., 2], rtol=1e-5)
    np.testing.assert_allclose(image.normals.numpy(), np.broadcast_to([0, 0, np.sign(origin[2])], (60, 80, 3)), atol=1e-6)


def test_colours_of_vertices_are_blended_and_those_of_triangles_are_not():
    random = np.random.default_rng(3)
    colours = random.uniform(size=(4, 3))
    image = render_surfaces([square(colours=colours)], FACING, UNSHADED)
    x, y = FACING.points(image.depth)[..., 0], FACING.points(image.depth)[..., 1]
    seen = image.alpha.numpy() > 0
    a, b = (1 + x) / 2, (1 + y) / 2  # the square's own coordinates
    below = np.stack([1 - a, a - b, b, 0 * a], axis=-1)  # weights of the vertices in the triangle where a > b
    above = np.stack([1 - b, 0 * a, a, b - a], axis=-1)
    expected = np.where((a > b)[..., None], below, above) @ colours
    np.testing.assert_allclose(image.colour.numpy()[seen], expected[seen], atol=1e-5)
    by_triangle = render_surfaces([square(triangle_colours=colours[:2])], FACING, UNSHADED)
    inside = seen & (np.abs(a - b) > 1e-3)
    np.testing.assert_allclose(by_triangle.colour.numpy()[inside], np.where((a > b)[..., None], colours[0], colours[1])[inside], atol=1e-6)


def test_a_texture_stands_upright_and_is_read_between_its_texels():
    texture = np.random.default_rng(4).uniform(size=(6, 8, 3))
    uv = np.array([[0, 0], [1, 0], [1, 1], [0, 1.0]])  # lower left first
    upright = Camera.look_at((0, 0, 5), (0, 0, 0), up=(0, 1, 0), width=64, height=48, angle=20)
    for given in (uv, uv[HALVES]):
        image = render_surfaces([square(texture=texture, uv=given)], upright, UNSHADED)
        seen = image.alpha.numpy() > 0
        points = upright.points(image.depth)[seen]
        column, row = (1 + points[:, 0]) / 2 * 8 - 0.5, (1 - points[:, 1]) / 2 * 6 - 0.5
        left, top = np.floor(column).astype(int), np.floor(row).astype(int)
        s, t = (column - left)[:, None], (row - top)[:, None]
        at = lambda i, j: texture[i % 6, j % 8]  # noqa: E731
        expected = (1 - t) * ((1 - s) * at(top, left) + s * at(top, left + 1)) + t * (
            (1 - s) * at(top + 1, left) + s * at(top + 1, left + 1)
        )
        np.testing.assert_allclose(image.colour.numpy()[seen], expected, atol=2e-5)
    tinted = render_surfaces([square(texture=texture, uv=uv, colours=(0.5, 1.0, 0.25))], upright, UNSHADED)
    np.testing.assert_allclose(tinted.colour.numpy()[seen], expected * [0.5, 1.0, 0.25], atol=2e-5)


def test_light_follows_lamberts_law():
    light = Light(direction=(1.0, 2.0, -2.0), ambient=0.25, diffuse=0.75)
    image = render_surfaces([square(5.0, colours=(0.8, 0.4, 0.2))], FACING, light)
    expected = np.array([0.8, 0.4, 0.2]) * (0.25 + 0.75 * 2 / 3)  # the viewer's side looks along -z
    np.testing.assert_allclose(image.colour.numpy(), np.broadcast_to(expected, (48, 64, 3)), atol=1e-6)
    behind = render_surfaces([square(5.0, colours=(0.8, 0.4, 0.2))], FACING, Light((0, 0, 1), 0.25, 0.75))
    np.testing.assert_allclose(behind.colour[20, 30].numpy(), 0.25 * np.array([0.8, 0.4, 0.2]), atol=1e-6)
    head = render_surfaces([square(5.0, colours=(1.0, 1.0, 1.0))], FACING, Light(None, 0.0, 1.0))
    _, directions = FACING.rays()
    np.testing.assert_allclose(head.colour[..., 0].numpy(), 1 / np.linalg.norm(directions, axis=-1), atol=1e-6)


def test_smooth_normals_of_a_ball_are_radial():
    ball = trimesh.creation.icosphere(subdivisions=4, radius=0.8)
    errors = []
    for smooth in (True, False):
        image = render_surfaces([Surface(ball.vertices, ball.faces, smooth=smooth)], FACING)
        seen = image.labels.numpy() == 0
        radial = FACING.points(image.depth)[seen]
        radial /= np.linalg.norm(radial, axis=1, keepdims=True)
        errors.append(np.linalg.norm(image.normals.numpy()[seen] - radial, axis=1))
    assert errors[0].max() < 0.01
    assert errors[0].mean() < 0.2 * errors[1].mean()


def test_samples_make_alpha_the_share_of_a_pixel_that_is_covered():
    edge = 0.313  # the border x = edge runs through the middle of some pixel's column
    half = Surface([[-9, -9, 0], [edge, -9, 0], [edge, 9, 0], [-9, 9, 0.0]], HALVES, colours=(1.0, 1.0, 1.0))
    image = render_surfaces([half], FACING, UNSHADED, background=(0.0, 0.5, 1.0), samples=16)
    border = FACING.project(np.array([edge, 0.0, 0.0]))[0][0]
    share = np.clip(border - (np.arange(64) - 0.5), 0, 1)
    np.testing.assert_allclose(image.alpha[20].numpy(), share, atol=1 / 32 + 1e-4)
    np.testing.assert_allclose(image.colour[20].numpy(), share[:, None] + (1 - share[:, None]) * [0, 0.5, 1], atol=1 / 32 + 1e-4)
    np.testing.assert_array_equal(image.labels[20].numpy(), np.where(np.arange(64) < border, 0, -1))


def test_a_moved_surface_is_the_surface_of_moved_points(rng):
    mesh = trimesh.creation.icosphere(subdivisions=2, radius=0.6)
    turn, shift = rotation_matrix(rng.normal(size=4)), rng.uniform(-0.5, 0.5, 3)
    view = Camera.look_at((0.5, -4, 1), (0, 0, 0), width=60, height=45)
    stretched = mesh.vertices * [1.5, 0.7, 1.0]
    here = Surface(stretched, mesh.faces)
    moved = render_surfaces([here.moved(turn, shift)], view)
    again = render_surfaces([Surface(stretched @ turn.T + shift, mesh.faces)], view)
    inside = (moved.labels == again.labels).numpy()
    assert inside.mean() > 0.999
    np.testing.assert_allclose(moved.depth.numpy()[inside], again.depth.numpy()[inside], rtol=1e-4)
    assert (render_surfaces([here], view).depth != moved.depth).any()


def test_deformed_surfaces_leave_each_other_alone(rng):
    mesh = trimesh.creation.icosphere(subdivisions=2, radius=0.5)
    rest = Surface(mesh.vertices, mesh.faces, smooth=True)
    view = Camera.look_at((0.5, -5, 1), (0, 0, 0), width=60, height=45)
    shapes = [mesh.vertices * rng.uniform(0.7, 1.3, 3) + offset for offset in ([-0.9, 0, 0], [0.9, 0, 0])]
    bent = [rest.deformed(torch.tensor(points)) for points in shapes]
    fresh = render_surfaces([Surface(points, mesh.faces, smooth=True) for points in shapes], view)
    first = render_surfaces([rest], view)
    for _ in range(2):  # the second time the trees of boxes have been used for other points
        together = render_surfaces([*bent, rest.moved(np.eye(3), [0, 0, 9.0])], view)
        for name in ("depth", "colour", "normals"):
            np.testing.assert_allclose(getattr(together, name).numpy(), getattr(fresh, name).numpy(), atol=1e-6)
        np.testing.assert_array_equal(render_surfaces([rest], view).depth, first.depth)


def test_nothing_is_seen_nearer_than_near_or_beyond_the_lens():
    near = Camera.look_at((0, 0, -5), (0, 0, 0), up=(0, -1, 0), width=64, height=48, angle=20, near=5.5)
    image = render_surfaces([square(5.0, label=1), square(50.0, at=(0, 0, 1.0), label=2)], near)
    assert (image.labels == 2).all()
    folding = Camera(90, 90, (30.0, 30.0), translation=[0, 0, 3.0], distortion=(-0.3, 0.0, 0.0, 0.0))
    image = render_surfaces([square(100.0)], folding, background=(0.1, 0.2, 0.3))
    missing = ~np.isfinite(folding.undistort(folding.pixel_centres())).all(axis=-1)
    assert 0.1 < missing.mean() < 0.9
    np.testing.assert_array_equal(image.labels.numpy() < 0, missing)
    np.testing.assert_allclose(image.colour.numpy()[missing], np.broadcast_to([0.1, 0.2, 0.3], (missing.sum(), 3)))


def test_drawing_prints_nothing():
    code = "import numpy as np, physsim as ps\n"
    code += "ps.render_surfaces([ps.Surface(np.eye(3), [[0, 1, 2]], (1.0, 0.0, 0.0))], ps.Camera.around(np.eye(3), width=16, height=16))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True).stdout == ""


def test_rays_are_kept_for_the_next_picture_unless_there_are_very_many(monkeypatch):
    view, device = FACING.resized(33, 21), torch.device("cpu")
    assert meshes.camera_rays(view, 2, device) is meshes.camera_rays(view.moved(np.eye(3), np.ones(3)), 2, device)
    monkeypatch.setattr(meshes, "MOST_KEPT", 100)
    many = [meshes.camera_rays(view, 3, device) for _ in range(2)]
    assert many[0] is not many[1]
    np.testing.assert_array_equal(many[0].numpy(), many[1].numpy())


def test_without_surfaces_the_background_is_seen():
    picture = np.random.default_rng(6).uniform(size=(48, 64, 3))
    image = render_surfaces([], FACING, background=picture)
    np.testing.assert_allclose(image.colour.numpy(), picture, atol=1e-7)
    assert not image.alpha.any()
    assert (image.labels == -1).all()
    np.testing.assert_array_equal(image.bytes(), np.round(255 * picture.astype(np.float32)).astype(np.uint8))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Surface(np.full((3, 3), np.nan), [[0, 1, 2]]), "NaN"),
        (lambda: Surface(SQUARE, [[0, 1, 4]]), "out of range"),
        (lambda: Surface(SQUARE, np.zeros((0, 3), int)), "at least one"),
        (lambda: square(colours=np.ones((3, 3))), r"\[4, 3\]"),
        (lambda: square(colours=(0.0, 0.0, 2.0)), "must lie in"),
        (lambda: square(texture=np.ones((2, 2, 3))), "together"),
        (lambda: square(colours=(1.0, 0.0, 0.0), triangle_colours=np.ones((2, 3))), "both given"),
        (lambda: square(texture=np.ones((0, 2, 3)), uv=np.zeros((4, 2))), "no pixel"),
        (lambda: square(texture=np.ones((2, 2, 3)), uv=np.zeros((5, 2))), r"\[4, 2\]"),
        (lambda: square(label=-1), "label"),
        (lambda: square().moved(np.ones((3, 3)), np.zeros(3)), "no rotation"),
        (lambda: square().deformed(np.zeros((5, 3))), r"\[4, 3\] is needed"),
        (lambda: square().deformed(np.full((4, 3), np.inf)), "infinite"),
        (lambda: Light(direction=(0, 0, 0)), "zero"),
        (lambda: Light(ambient=1.5), "ambient"),
        (lambda: render_surfaces([], FACING, samples=0), "samples"),
        (lambda: render_surfaces([square()], FACING.resized(16384, 16384), samples=16), "GiB are free"),
        (lambda: render_surfaces([], FACING, background=np.zeros((3, 3, 3))), "camera's size"),
        (lambda: render_surfaces([], FACING, background=(0, 0, np.nan)), "NaN"),
    ],
)
def test_what_cannot_be_drawn_is_refused(make, said):
    with pytest.raises(InputError, match=said):
        make()


@pytest.mark.gpu
@pytest.mark.skipif(not wp.is_cuda_available(), reason="needs a CUDA device")
def test_a_cuda_device_sees_what_the_cpu_sees(rng):
    corners = soup(rng, 40)
    view = Camera.look_at((0.5, -4, 1), (0, 0, 0), width=200, height=150, distortion=BARREL)
    surfaces = [Surface(t, [[0, 1, 2]], colours=rng.uniform(size=3), label=k) for k, t in enumerate(corners)]
    here, there = (render_surfaces(surfaces, view, samples=3, device=device) for device in ("cpu", "cuda"))
    same = here.labels == there.labels.cpu()
    assert same.float().mean() > 0.999
    np.testing.assert_allclose(there.depth.cpu()[same], here.depth[same], rtol=1e-4)
    assert (there.colour.cpu() - here.colour).abs().mean() < 1e-3


@pytest.mark.skipif(80 not in wp.get_cuda_supported_archs(), reason="this build of Warp compiles nothing for CUDA")
def test_kernels_compile_for_cuda(tmp_path):
    for kernel in (rays.trace, rays.vertex_normals):
        assert wp.compile_aot_module(kernel.module, arch=80, module_dir=tmp_path, use_ptx=True)
