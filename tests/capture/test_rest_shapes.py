"""Rest shapes come in from the files that meshes come in, and become what the body's kind says."""

import meshio
import numpy as np
import pytest

from physsim.capture.capture import Capture
from physsim.capture.check import check_capture
from physsim.errors import InputError
from physsim.io.mesh import SurfaceMesh
from physsim.physics.mesh import TetMesh, box_mesh
from physsim.physics.rods import Curve
from physsim.physics.sheets import TriMesh, sheet_mesh

BOX = box_mesh((0.1, 0.1, 0.1), (1, 1, 1))
SHEET = sheet_mesh((0.1, 0.1), (2, 2))
LINE = np.array([[0, 0, 0], [0, 0, 0.05], [0, 0.01, 0.1]])


@pytest.fixture
def bare(ball, tmp_path):
    """A folder with tracks alone, and a function that says of what kind the body is."""
    Capture(times=ball.times, tracks=ball.tracks, kind=None).save(tmp_path / "c")
    return tmp_path / "c"


def set_kind(folder, kind):
    path = folder / "capture.json"
    path.write_text(path.read_text().replace('"units"', f'"kind": "{kind}", "units"', 1))


def obj(points, triangles):
    return "".join(f"v {x} {y} {z}\n" for x, y, z in points) + "".join(f"f {a + 1} {b + 1} {c + 1}\n" for a, b, c in triangles)


@pytest.mark.parametrize("suffix", [".msh", ".vtk", ".vtu", ".mesh"])
def test_tetrahedra_of_each_kind_of_file(bare, suffix):
    write = {".msh": meshio.gmsh.write, ".vtk": meshio.vtk.write, ".vtu": meshio.vtu.write, ".mesh": meshio.medit.write}[suffix]
    options = {".msh": {"binary": False}, ".vtk": {"binary": False}, ".vtu": {"compression": None}, ".mesh": {}}[suffix]
    write(bare / f"mesh{suffix}", meshio.Mesh(BOX.points, [("tetra", BOX.cells)]), **options)
    mesh = Capture.load(bare).mesh
    assert isinstance(mesh, TetMesh)
    np.testing.assert_allclose(mesh.points, BOX.points, atol=1e-7)


def test_a_closed_surface_is_a_solids_and_an_open_one_a_sheet(bare):
    (bare / "mesh.obj").write_text(obj(BOX.points, BOX.surface()))
    assert isinstance(Capture.load(bare).mesh, SurfaceMesh)
    (bare / "mesh.obj").write_text(obj(SHEET.points, SHEET.triangles))
    assert isinstance(Capture.load(bare).mesh, TriMesh)
    set_kind(bare, "solid")
    with pytest.raises(InputError, match=r"mesh\.obj: the surface is not closed"):
        Capture.load(bare)


def test_a_closed_surface_may_be_a_sheet_where_the_kind_says_so(bare):
    np.savez(bare / "mesh.npz", points=BOX.points, triangles=BOX.surface())
    set_kind(bare, "sheet")
    assert isinstance(Capture.load(bare).mesh, TriMesh)


def test_arrays_that_anybody_wrote_give_tetrahedra_sheets_and_rods(bare):
    for arrays, cls in (
        ({"points": BOX.points, "cells": BOX.cells}, TetMesh),
        ({"points": SHEET.points, "triangles": SHEET.triangles}, TriMesh),
        ({"points": LINE}, Curve),
        ({"line": LINE}, Curve),
    ):
        np.savez(bare / "mesh.npz", **arrays)
        assert type(Capture.load(bare).mesh) is cls
    (bare / "mesh.npz").unlink()
    np.save(bare / "mesh.npy", LINE)
    np.testing.assert_array_equal(Capture.load(bare).mesh.line, LINE)
    (bare / "mesh.npy").unlink()
    (bare / "mesh.ply").write_text(
        "ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\nend_header\n"
        + "".join(f"{x} {y} {z}\n" for x, y, z in LINE)
    )
    set_kind(bare, "rod")
    np.testing.assert_allclose(Capture.load(bare).mesh.line, LINE)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"cells": BOX.cells}, 'no array "points"'),
        ({"points": BOX.points[:, :2], "triangles": BOX.surface()}, r"shape \[n, 3\]"),
        ({"points": BOX.points, "triangles": BOX.surface() + 5}, "name points from 0 to 7"),
        ({"points": BOX.points, "triangles": BOX.surface().astype(float)}, "whole numbers"),
        ({"points": BOX.points * np.nan, "triangles": BOX.surface()}, "finite"),
        ({"points": BOX.points, "cells": BOX.cells[:, [1, 0, 2, 3]]}, "inverted"),
        ({"points": BOX.points, "cells": BOX.cells + 1}, "out of range"),
        ({"points": np.zeros((3, 3))}, "no length"),
        ({"points": LINE.astype(str)}, "numbers"),
    ],
)
def test_meshes_that_are_none_are_refused_by_file(bare, arrays, said):
    np.savez(bare / "mesh.npz", **arrays)
    with pytest.raises(InputError, match=rf"mesh\.npz.*{said}"):
        Capture.load(bare)


def test_two_meshes_and_units_that_cannot_be_are_told(folder):
    (folder / "mesh.npz").unlink()
    text = (folder / "capture.json").read_text().replace('"file": "mesh.npz",', "")
    (folder / "capture.json").write_text(text.replace('"kind": "tetrahedra"', '"kind": "surface"'))
    (folder / "mesh.obj").write_text(obj(100 * BOX.points, BOX.surface()))
    assert [(p.severity, p.file) for p in check_capture(folder)] == [("error", "mesh.obj")]
    (folder / "mesh.stl").write_bytes(b"")
    assert any("mesh.stl are there as well" in p.message for p in check_capture(folder))
