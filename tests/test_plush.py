"""The plush that ships: what its README says, and that its recipe makes it."""

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

from physsim import assets, load_mesh, load_surface, mesh_quality, tetrahedralize
from physsim.appearance.asset import Asset
from physsim.assets.plush import paint, recipe
from physsim.io import mesher
from physsim.io.textured import load_textured_surface

FOLDER = assets.folder("plush")


@pytest.fixture(scope="module")
def surface():
    return load_surface(FOLDER / "plush.obj")


@pytest.fixture(scope="module")
def inside():
    return load_mesh(FOLDER / "plush.mesh")


def test_the_surface_is_closed_outward_and_without_handles(surface):
    mesh = trimesh.Trimesh(surface.points, surface.triangles, process=False)
    assert mesh.is_watertight
    assert mesh.is_winding_consistent
    assert mesh.euler_number == 2
    assert mesh.volume == pytest.approx(163e-6, rel=0.01)
    assert 2000 <= len(mesh.faces) <= 4000
    assert np.degrees(mesh.face_angles.min()) > 20.0


def test_it_is_ten_centimetres_high_and_sits_on_the_table(surface):
    low, high = surface.points.min(axis=0), surface.points.max(axis=0)
    np.testing.assert_allclose(high - low, [0.077, 0.075, 0.099], atol=1e-3)
    assert abs(low[2]) < 1e-4
    base = surface.points[surface.points[:, 2] < 1e-3]
    centre = trimesh.Trimesh(surface.points, surface.triangles, process=False).center_mass
    assert (base.min(axis=0) < centre)[:2].all()
    assert (base.max(axis=0) > centre)[:2].all()


def test_the_recipe_makes_it(surface):
    points, triangles = recipe.surface()
    np.testing.assert_allclose(surface.points, points, atol=1e-6)
    np.testing.assert_array_equal(surface.triangles, triangles)


def test_its_inside_is_about_two_thousand_good_tetrahedra_under_the_surface(surface, inside):
    quality = mesh_quality(inside)
    assert 1800 <= quality.cells <= 2200
    assert quality.least_angle > 15.0
    outer = trimesh.Trimesh(inside.points, inside.surface(), process=False)
    assert outer.is_watertight
    assert outer.euler_number == 2
    away = recipe.signed_distance(inside.points[np.unique(inside.surface())])
    assert np.abs(away).max() < 0.0014


@pytest.mark.skipif(not mesher.available(), reason="pytetwild is not installed")
def test_the_mesher_makes_such_an_inside(surface, inside):
    made, shipped = mesh_quality(tetrahedralize(surface, edge_length=0.0116)), mesh_quality(inside)
    assert made.cells == pytest.approx(shipped.cells, rel=0.3)
    assert made.volume == pytest.approx(shipped.volume, rel=0.01)
    assert made.least_angle > 8.0


def test_its_texture_shows_what_it_was_painted_with(surface, rng):
    painted = load_textured_surface(FOLDER / "painted.obj")
    np.testing.assert_array_equal(painted.surface.triangles, surface.triangles)
    triangles, weights = rng.integers(0, len(surface.triangles), 3000), rng.dirichlet(np.ones(3), 3000)
    places = np.einsum("kc,kcd->kd", weights, surface.points[surface.triangles[triangles]])
    away = np.abs(painted.colours_at(triangles, weights) - paint.paint(places)).max(axis=1)
    assert np.median(away) < 0.02
    assert (away > 0.2).mean() < 0.05  # where one colour turns into another within a pixel


def test_the_painted_asset_is_what_its_recipe_writes(tmp_path):
    paint.write_surface(tmp_path)
    assert (tmp_path / "painted.obj").read_bytes() == (FOLDER / "painted.obj").read_bytes()
    with Image.open(tmp_path / "painted.png") as new, Image.open(FOLDER / "painted.png") as old:
        assert np.abs(np.asarray(new, dtype=int) - np.asarray(old)).max() <= 1
    paint.write_asset(tmp_path / "asset")
    new, old = Asset.load(tmp_path / "asset"), Asset.load(FOLDER / "asset")
    for name in ("means", "scales", "harmonics"):
        np.testing.assert_allclose(getattr(new.splats, name), getattr(old.splats, name), atol=1e-5)


def test_the_painted_asset_is_squeezed_with_its_splats(inside):
    asset = Asset.load(FOLDER / "asset")
    np.testing.assert_array_equal(asset.mesh.points, inside.points)
    binding = asset.bind()
    flat = binding.rest() * torch.tensor([1.1, 1.1, 0.7])
    posed = binding.pose(flat)
    np.testing.assert_allclose(posed.means, asset.splats.means * torch.tensor([1.1, 1.1, 0.7]), atol=1e-6)


def test_its_paint_takes_less_than_a_megabyte():
    files = [*FOLDER.glob("painted.*"), *(FOLDER / "asset").iterdir()]
    assert len(files) == 6
    assert sum(file.stat().st_size for file in files) < 1_000_000
