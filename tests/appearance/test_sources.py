"""Splats from surfaces and points lie where these are, as large as they must be."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

import physsim as ps
from physsim.appearance.binding import bind
from physsim.appearance.sources import splats_from_mesh, splats_from_points
from physsim.errors import InputError
from physsim.io.mesh import SurfaceMesh
from physsim.io.ply import write_vertices
from physsim.io.point_cloud import PointCloud


def colours_of(splats):
    return 0.5 + 0.28209479177387814 * splats.harmonics[:, 0].numpy()


def axes_of(splats):
    return Rotation.from_quat(splats.rotations.numpy(), scalar_first=True).as_matrix()


def test_splats_of_a_ball_lie_on_it_flat_and_everywhere():
    import trimesh

    ball = trimesh.creation.icosphere(4, 0.5)
    splats = splats_from_mesh(SurfaceMesh(np.asarray(ball.vertices), np.asarray(ball.faces)), 4000, dtype=torch.float64)
    means = splats.means.numpy()
    radius = np.linalg.norm(means, axis=1)
    assert np.abs(radius - 0.5).max() < 2e-3
    assert (np.einsum("ni,ni->n", axes_of(splats)[:, :, 2], means / radius[:, None]) > 0.998).all()
    assert (splats.scales[:, 2] < 0.11 * splats.scales[:, 0]).all()
    octants, counts = np.unique(means > 0, axis=0, return_counts=True)
    assert len(octants) == 8
    assert np.abs(counts - 500).max() < 60


def test_little_is_seen_through_a_surface_covered_by_default():
    """Along random lines across a sheet, the product of what its splats let through, as `COVER` promises."""
    splats = splats_from_mesh(ps.sheet_mesh((1.0, 1.0), (4, 4)), 2000, dtype=torch.float64)
    rng = np.random.default_rng(0)
    at = rng.uniform(0.1, 0.9, (2000, 2))
    away = ((at[:, None] - splats.means[None, :, :2].numpy()) ** 2).sum(-1)
    through = np.prod(1.0 - 0.9 * np.exp(-0.5 * away / float(splats.scales[0, 0]) ** 2), axis=1)
    assert 0.02 < through.mean() < 0.045


def test_splats_spread_more_evenly_than_by_chance():
    """The nearest neighbour of a random place lies at half the mean spacing on average; on a hexagonal grid at 1.07."""
    means = splats_from_mesh(ps.sheet_mesh((1.0, 1.0), (4, 4)), 2000).means.double()
    nearest = torch.cdist(means, means).fill_diagonal_(np.inf).min(dim=1).values * 2000**0.5
    assert nearest.mean() > 0.65


def test_a_pattern_finer_than_the_splats_becomes_its_mean():
    """A chessboard of half a millimetre under splats 2 cm apart: the mean of eight places each, not black or white."""
    chess = lambda x: np.repeat(((x // 5e-4).sum(axis=1, keepdims=True) % 2), 3, axis=1)  # noqa: E731
    colours = colours_of(splats_from_mesh(ps.sheet_mesh((1.0, 1.0), (4, 4)), 2500, colours=chess))
    assert colours.mean() == pytest.approx(0.5, abs=0.02)
    assert colours.std() < 0.25


def test_thin_things_keep_the_colours_of_their_sides():
    """A plate 1 mm thick, red above and blue below, with splats 2 cm apart."""
    plate = ps.box_mesh((1.0, 1.0, 0.001), (4, 4, 1))
    splats = splats_from_mesh(plate, 4000, colours=lambda x: np.where(x[:, 2:] > 0.0005, [1.0, 0, 0], [0, 0, 1.0]))
    top = (splats.means[:, 2] > 0.00099).numpy()
    np.testing.assert_allclose(colours_of(splats)[top], np.broadcast_to([1.0, 0, 0], (top.sum(), 3)), atol=1e-6)


def test_triangles_get_splats_by_their_area():
    points = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 3.0]])
    splats = splats_from_mesh(SurfaceMesh(points, np.array([[0, 1, 2], [0, 1, 3]])), 1000)
    assert abs(int((splats.means[:, 2] == 0).sum()) - 250) <= 20


def test_textures_paint_their_splats(tmp_path):
    from PIL import Image

    Image.fromarray(np.array([[[255, 0, 0]] * 4 + [[0, 0, 255]] * 4] * 8, dtype=np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "a.mtl").write_text("newmtl paint\nmap_Kd a.png\n")
    square = "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\nusemtl paint\nf 1/1 2/2 3/3 4/4\n"
    (tmp_path / "a.obj").write_text(f"mtllib a.mtl\n{square}")
    splats = splats_from_mesh(tmp_path / "a.obj", 500, degree=2)
    x = splats.means[:, 0].numpy()
    colours = colours_of(splats)
    np.testing.assert_allclose(colours[(x > 0.1) & (x < 0.4)], [[1, 0, 0]] * int(((x > 0.1) & (x < 0.4)).sum()), atol=1e-6)
    np.testing.assert_allclose(colours[(x > 0.6) & (x < 0.9)], [[0, 0, 1]] * int(((x > 0.6) & (x < 0.9)).sum()), atol=1e-6)
    assert splats.degree == 2
    assert not splats.harmonics[:, 1:].any()


def test_a_body_is_painted_by_a_function_of_place():
    mesh = ps.box_mesh((0.2, 0.1, 0.1), (3, 2, 2))
    splats = splats_from_mesh(mesh, 800, colours=lambda x: np.clip(x * 5.0, 0.0, 1.0), label=3)
    np.testing.assert_allclose(colours_of(splats), np.clip(splats.means.numpy() * 5.0, 0, 1), atol=0.04)  # a mean over each one's place
    assert (splats.labels == 3).all()
    inside = ((splats.means > 1e-6) & (splats.means < torch.tensor([0.2, 0.1, 0.1]) - 1e-6)).all(dim=1)
    assert not inside.any()


@pytest.mark.parametrize("kind", ["rod", "net"])
def test_rods_and_nets_wear_tubes_that_bind_to_them(kind):
    mesh = ps.Curve.straight((0, 0, 0), (1, 0, 0), 10) if kind == "rod" else ps.spring_net((3, 3), (1.0, 1.0))
    splats = splats_from_mesh(mesh, 500, radius=0.01, colours=[1.0, 0.5, 0.0])
    assert bind(splats, mesh, outside=0.0101).splats is splats
    np.testing.assert_allclose(colours_of(splats), np.broadcast_to([1.0, 0.5, 0.0], (500, 3)), atol=1e-6)
    if kind == "rod":
        assert (np.linalg.norm(splats.means[:, 1:], axis=1) > 0.0085).mean() > 0.9  # the rest on the ends of the edges' prisms


def test_the_same_seed_gives_the_same_splats():
    mesh = ps.sheet_mesh((1.0, 1.0), (3, 3))
    a, b, c = (splats_from_mesh(mesh, 100, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(a.means, b.means)
    assert not torch.equal(a.means, c.means)


def test_points_of_a_grid_become_splats_of_its_spacing(tmp_path):
    x, y = np.meshgrid(np.arange(10) * 0.1, np.arange(10) * 0.1)
    points = np.stack([x.ravel(), y.ravel(), 0 * x.ravel()], axis=1)
    colours = np.clip(points, 0, 1)
    round_ones = splats_from_points(points, colours, dtype=torch.float64)
    inner = ((points > 0.05) & (points < 0.85))[:, :2].all(axis=1)
    np.testing.assert_allclose(round_ones.scales[torch.as_tensor(inner)], 0.07)
    flat = splats_from_points(PointCloud(points, colours, np.broadcast_to([0, 0, -2.0], points.shape)), dtype=torch.float64)
    np.testing.assert_allclose(axes_of(flat)[:, :, 2], np.broadcast_to([0, 0, -1.0], points.shape), atol=1e-12)
    np.testing.assert_allclose(flat.scales[:, 2] * 10, flat.scales[:, 0])
    columns = dict(zip("xyz", points.T.astype(np.float32), strict=True))
    columns |= dict(zip(("red", "green", "blue"), np.rint(255 * colours).T.astype(np.uint8), strict=True))
    write_vertices(tmp_path / "a.ply", columns)
    read = splats_from_points(tmp_path / "a.ply")
    np.testing.assert_allclose(read.means, points, atol=1e-6)
    np.testing.assert_allclose(colours_of(read), colours, atol=0.003)


def test_coinciding_points_take_the_size_of_the_others():
    points = np.concatenate([np.zeros((5, 3)), np.arange(6)[:, None] * [0.1, 0, 0] + 1.0])
    assert (splats_from_points(points).scales > 0.01).all()
    with pytest.raises(InputError, match="coincide"):
        splats_from_points(np.zeros((5, 3)))


def test_what_cannot_become_splats_is_refused(tmp_path):
    mesh = ps.sheet_mesh((1.0, 1.0), (3, 3))
    flat = SurfaceMesh(np.zeros((3, 3)), np.array([[0, 1, 2]]))
    for given, said in (
        (lambda: splats_from_mesh(flat), "no area"),
        (lambda: splats_from_mesh(mesh, 0), "count"),
        (lambda: splats_from_mesh(mesh, 10**12), "GiB are free; ask for fewer"),
        (lambda: splats_from_mesh(mesh, colours=[2.0, 0, 0]), "colours = 2"),
        (lambda: splats_from_mesh(mesh, colours=lambda x: x[:5]), "colours: shape"),
        (lambda: splats_from_mesh(mesh, colours=np.ones((3, 3))), "colours: shape"),
        (lambda: splats_from_mesh(mesh, opacity=0.0), "opacity"),
        (lambda: splats_from_mesh(mesh, width=-1.0), "width"),
        (lambda: splats_from_mesh(ps.spring_net((3, 3), (1.0, 1.0)), radius=0.0), "radius"),
        (lambda: splats_from_mesh(mesh, degree=4), "degree"),
        (lambda: splats_from_mesh(mesh, dtype=torch.int32), "dtype"),
        (lambda: splats_from_mesh(5), "mesh"),
        (lambda: splats_from_mesh(tmp_path / "lost.obj"), "no such file"),
        (lambda: splats_from_points(np.zeros((0, 3))), "no points"),
        (lambda: splats_from_points(np.full((4, 3), np.nan)), "NaN"),
        (lambda: splats_from_points(np.eye(3), normals=np.zeros((3, 3))), "no length"),
    ):
        with pytest.raises(InputError, match=said):
            given()
