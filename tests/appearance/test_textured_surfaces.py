"""Meshes are seen in the textures and colours of their files."""

import numpy as np
import pytest
from PIL import Image as Picture

from physsim.appearance.camera import Camera
from physsim.appearance.meshes import UNSHADED, render_surfaces
from physsim.appearance.textured_surfaces import textured_surfaces
from physsim.errors import InputError
from physsim.io.mesh import SurfaceMesh
from physsim.io.textured import Material, TexturedSurface

VIEW = Camera.look_at((0, 0, 5), (0, 0, 0), up=(0, 1, 0), width=64, height=48, angle=20)


def test_an_obj_is_seen_in_its_texture(tmp_path):
    pixels = np.random.default_rng(1).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    Picture.fromarray(pixels).save(tmp_path / "skin.png")
    (tmp_path / "skin.mtl").write_text("newmtl skin\nKd 1 1 1\nmap_Kd skin.png\n")
    corners = [(-1, -1), (1, -1), (1, 1), (-1, 1)]
    lines = ["mtllib skin.mtl", *(f"v {x} {y} 0" for x, y in corners), *(f"vt {(x + 1) / 2} {(y + 1) / 2}" for x, y in corners)]
    (tmp_path / "square.obj").write_text("\n".join([*lines, "usemtl skin", "f 1/1 2/2 3/3", "f 1/1 3/3 4/4", ""]))
    image = render_surfaces(textured_surfaces(tmp_path / "square.obj", label=3), VIEW, UNSHADED)
    for row in range(4):  # where the middles of texels are seen, the first row on top
        for column in range(4):
            x, y = VIEW.project(np.array([(column + 0.5) / 2 - 1, 1 - (row + 0.5) / 2, 0.0]))[0].round().astype(int)
            seen = VIEW.points(image.depth)[y, x]
            at = np.array([(1 - seen[1]) * 2 - 0.5, (1 + seen[0]) * 2 - 0.5])  # row and column, not quite whole
            low = np.floor(at).astype(int)
            s, t = at - low
            near = pixels[(low[0] + np.array([[0, 0], [1, 1]])) % 4, (low[1] + np.array([[0, 1], [0, 1]])) % 4] / 255
            expected = np.einsum("i,j,ijc->c", [1 - s, s], [1 - t, t], near)
            np.testing.assert_allclose(image.colour[y, x].numpy(), expected, atol=1e-4)
    assert set(image.labels.unique().tolist()) == {-1, 3}


def test_materials_and_colours_of_points_are_multiplied(rng):
    points = np.array([[-1.0, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]])
    triangles = np.array([[0, 1, 2], [0, 2, 3]])
    materials = Material(np.array([0.5, 1.0, 0.2])), Material(np.array([1.0, 0.3, 0.6]), rng.uniform(size=(5, 3, 3)))
    mesh = TexturedSurface(
        SurfaceMesh(points, triangles), materials, np.array([0, 1]), rng.uniform(size=(2, 3, 2)), rng.uniform(size=(4, 3))
    )
    surfaces = textured_surfaces(mesh)
    assert [len(surface.triangles) for surface in surfaces] == [1, 1]
    image = render_surfaces(surfaces, VIEW, UNSHADED)
    seen = VIEW.points(image.depth)[image.alpha.numpy() > 0]
    a, b = (1 + seen[:, 0]) / 2, (1 + seen[:, 1]) / 2
    first = a > b
    weights = np.where(first[:, None], np.stack([1 - a, a - b, b], axis=1), np.stack([1 - b, a, b - a], axis=1))
    expected = mesh.colours_at(np.where(first, 0, 1), weights)
    sure = np.abs(a - b) > 1e-4
    np.testing.assert_allclose(image.colour.numpy()[image.alpha.numpy() > 0][sure], expected[sure], atol=1e-4)
    moved = render_surfaces([surface.deformed(points + [0, 0, 1.0]) for surface in surfaces], VIEW)
    assert moved.depth.max() == pytest.approx(4.0, abs=1e-5)


def test_something_else_is_refused():
    with pytest.raises(InputError, match="TexturedSurface"):
        textured_surfaces(3)
    with pytest.raises(InputError, match="no such file"):
        textured_surfaces("nowhere.obj")
