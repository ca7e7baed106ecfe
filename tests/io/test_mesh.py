"""Meshes come in whole or not at all."""

import time
import zipfile

import numpy as np
import pytest

from physsim.errors import InputError
from physsim.io.mesh import SurfaceMesh, load_surface, read_solid_surface, read_tetrahedra

POINTS = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1], [0.3, 2, 0.1]], dtype=float)
TETRAHEDRA = np.array([[0, 1, 2, 3], [1, 2, 3, 4]])
TRIANGLES = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]])


def write_tetrahedra(path, points=POINTS, cells=TETRAHEDRA, kind="tetra", **options):
    import meshio

    formats = {".msh": "gmsh", ".vtk": "vtk", ".vtu": "vtu", ".mesh": "medit"}
    meshio.write(path, meshio.Mesh(points, [(kind, cells)]), file_format=formats[path.suffix], **options)
    return path


def write_obj(path, points=POINTS[:4], triangles=TRIANGLES):
    lines = [f"v {x} {y} {z}" for x, y, z in points] + [f"f {a + 1} {b + 1} {c + 1}" for a, b, c in triangles]
    path.write_text("\n".join(lines) + "\n")
    return path


def write_off(path, points=POINTS[:4], triangles=TRIANGLES):
    lines = ["OFF", f"{len(points)} {len(triangles)} 0", *(f"{x} {y} {z}" for x, y, z in points)]
    path.write_text("\n".join([*lines, *(f"3 {a} {b} {c}" for a, b, c in triangles)]) + "\n")
    return path


def write_ply(path, points=POINTS[:4], triangles=TRIANGLES, declared=None):
    header = ["ply", "format ascii 1.0", f"element vertex {declared or len(points)}"]
    header += ["property double x", "property double y", "property double z"]
    header += [f"element face {len(triangles)}", "property list uchar int vertex_indices", "end_header"]
    lines = header + [f"{x} {y} {z}" for x, y, z in points] + [f"3 {a} {b} {c}" for a, b, c in triangles]
    path.write_text("\n".join(lines) + "\n")
    return path


def write_stl(path, points=POINTS[:4], triangles=TRIANGLES, binary=True):
    import trimesh

    mesh = trimesh.Trimesh(points, triangles, process=False)
    mesh.export(path, file_type="stl" if binary else "stl_ascii")
    return path


VOLUMES = [("a.msh", {}), ("b.msh", {"binary": False}), ("a.vtk", {}), ("b.vtk", {"binary": False}), ("a.mesh", {})]
VOLUMES += [("a.vtu", {"compression": None}), ("b.vtu", {"binary": False})]


@pytest.mark.parametrize(("name", "options"), VOLUMES)
def test_tetrahedra_come_back_as_written_without_unused_points(tmp_path, name, options):
    points, cells = read_tetrahedra(write_tetrahedra(tmp_path / name, **options), scale=0.5)
    np.testing.assert_allclose(points, 0.5 * POINTS[:5])
    np.testing.assert_array_equal(cells, TETRAHEDRA)


@pytest.mark.parametrize("name", ["a.msh", "a.vtk"])
def test_ten_node_tetrahedra_keep_their_order(tmp_path, name):
    corners = POINTS[:4]
    middles = [(corners[a] + corners[b]) / 2 for a, b in [(0, 1), (1, 2), (0, 2), (0, 3), (1, 3), (2, 3)]]
    path = write_tetrahedra(tmp_path / name, np.vstack([corners, middles]), np.arange(10)[None], "tetra10")
    points, cells = read_tetrahedra(path)
    np.testing.assert_allclose(points[cells[0]], np.vstack([corners, middles]))


def test_load_mesh_gives_a_mesh_of_tetrahedra(tmp_path):
    pytest.importorskip("physsim.physics.mesh")
    import physsim as ps

    mesh = ps.load_mesh(write_tetrahedra(tmp_path / "a.vtk"))
    np.testing.assert_allclose(mesh.volumes(), [1 / 6, 1 / 3])


@pytest.mark.parametrize(("name", "options"), VOLUMES)
def test_a_cut_off_volume_is_refused_or_whole(tmp_path, name, options):
    whole = write_tetrahedra(tmp_path / name, **options).read_bytes()
    path = tmp_path / f"cut{name}"
    for share in np.linspace(0.02, 0.97, 40):
        path.write_bytes(whole[: int(share * len(whole))])
        try:
            points, cells = read_tetrahedra(path)
        except InputError:
            continue
        np.testing.assert_allclose(points, POINTS[:5])
        np.testing.assert_array_equal(cells, TETRAHEDRA)


WRITERS = {"a.obj": write_obj, "a.off": write_off, "a.ply": write_ply}


@pytest.mark.parametrize("name", WRITERS)
def test_a_surface_comes_back_as_written(tmp_path, name):
    surface = load_surface(WRITERS[name](tmp_path / name), scale=0.001)
    np.testing.assert_allclose(surface.points, 0.001 * POINTS[:4])
    np.testing.assert_array_equal(surface.triangles, TRIANGLES)


@pytest.mark.parametrize("binary", [True, False])
def test_points_of_an_stl_file_are_joined(tmp_path, binary):
    surface = load_surface(write_stl(tmp_path / "a.stl", binary=binary))
    assert surface.points.shape == (4, 3)
    corners = np.sort(surface.points[surface.triangles].reshape(4, -1), axis=0)
    np.testing.assert_allclose(corners, np.sort(POINTS[TRIANGLES].reshape(4, -1), axis=0), atol=1e-7)


@pytest.mark.parametrize("binary", [True, False])
def test_a_cut_off_stl_file_is_refused(tmp_path, binary):
    whole = write_stl(tmp_path / "a.stl", binary=binary).read_bytes()
    for share in np.linspace(0.02, 0.95, 20):
        (tmp_path / "cut.stl").write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(InputError, match=r"cut\.stl"):
            load_surface(tmp_path / "cut.stl")


@pytest.mark.parametrize("name", ["a.off", "a.ply"])
def test_a_cut_off_surface_is_refused_or_whole(tmp_path, name):
    whole = WRITERS[name](tmp_path / name).read_bytes()
    for share in np.linspace(0.02, 0.95, 40):
        path = tmp_path / f"cut{name}"
        path.write_bytes(whole[: int(share * len(whole))])
        try:
            surface = load_surface(path)
        except InputError:
            continue
        np.testing.assert_array_equal(surface.triangles, TRIANGLES)


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize(
    ("points", "triangles", "said"),
    [
        (POINTS[:4], [[0, 1, 2], [0, 1, 900]], "0, 1, 900|cannot be read"),
        ([[0, 0, 0], [1, 0, 0], [0, np.nan, 0]], [[0, 1, 2]], "finite"),
        ([[0, 0, 0], [1, 0, 0], [0, np.inf, 0]], [[0, 1, 2]], "finite"),
        (POINTS[:4], [[0, 1, 1]], "point twice"),
        (POINTS[:4], np.zeros((0, 3), int), "no triangle|cannot be read|holds 0 and 0|at least one point"),
    ],
)
def test_a_surface_that_cannot_be_used_is_refused(tmp_path, name, points, triangles, said):
    with pytest.raises(InputError, match=said):
        load_surface(WRITERS[name](tmp_path / name, points, triangles))


def test_a_ply_file_that_declares_a_million_points_is_refused(tmp_path):
    with pytest.raises(InputError, match="declares 1000000 points"):
        load_surface(write_ply(tmp_path / "a.ply", declared=1_000_000))


@pytest.mark.parametrize(
    ("points", "cells", "said"),
    [
        (POINTS, [[0, 1, 2, 900]], r"indices must lie in 0\.\.5"),
        (POINTS, [[0, 1, 2, -3]], "indices must lie"),
        (np.where(POINTS == 2, np.nan, POINTS), TETRAHEDRA, "point 5 is"),
        (POINTS, [[0, 1, 2, 2]], "point twice"),
    ],
)
def test_tetrahedra_that_cannot_be_used_are_refused(tmp_path, points, cells, said):
    with pytest.raises(InputError, match=said):
        read_tetrahedra(write_tetrahedra(tmp_path / "a.vtk", points, np.array(cells)))


def test_a_mesh_of_triangles_only_is_refused(tmp_path):
    with pytest.raises(InputError, match="4 triangle; it must hold tetrahedra"):
        read_tetrahedra(write_tetrahedra(tmp_path / "a.vtk", cells=TRIANGLES, kind="triangle"))


def test_files_that_are_no_mesh_are_refused(tmp_path):
    (tmp_path / "empty.msh").touch()
    (tmp_path / "garbage.msh").write_bytes(np.random.default_rng(0).bytes(5000))
    (tmp_path / "archive.zip").write_bytes(b"PK\3\4")
    for name, said in [
        ("empty.msh", "empty"),
        ("garbage.msh", "no whole sections"),
        ("archive.zip", "convert it"),
        ("none.msh", "no such file"),
    ]:
        with pytest.raises(InputError, match=said):
            read_tetrahedra(tmp_path / name)
    with pytest.raises(InputError, match="surface, not tetrahedra"):
        read_tetrahedra(write_obj(tmp_path / "a.obj"))
    with pytest.raises(InputError, match="at most 10 are read"):
        read_tetrahedra(write_tetrahedra(tmp_path / "a.msh"), max_bytes=10)
    with pytest.raises(InputError, match="scale = nan"):
        read_tetrahedra(write_tetrahedra(tmp_path / "a.msh"), scale=float("nan"))


def binary_ply(vertices):
    header = f"ply\nformat binary_little_endian 1.0\nelement vertex {vertices}\nproperty float x\nproperty float y\nproperty float z\n"
    return f"{header}element face 1\nproperty list uchar int vertex_indices\nend_header\n".encode() + bytes(120)


GLTF = b'{"asset": {"version": "2.0"}, "buffers": [{"uri": "../../../../etc/passwd", "byteLength": 100}]}'
STALLING = {
    "far index.ply": (b"", "indices must lie in"),
    "a million points in ten.ply": (binary_ply(1_000_000), "declares 1000000 points"),
    "four thousand million points.ply": (binary_ply(4_000_000_000), "declares 4000000000 points"),
    "minus five points.ply": (binary_ply(-5), "does not declare both"),
    "noise.ply": (bytes(range(256)), "does not declare both"),
    "leaves the folder.gltf": (GLTF, "ending '.gltf' is not read here; convert it"),
    "noise.glb": (b"glTF" + bytes([255] * 16), "ending '.glb' is not read here; convert it"),
    "bomb.zip": (b"PK", "ending '.zip' is not read here; convert it"),
    "bomb.obj": (b"PK", "bomb.obj"),
}


@pytest.mark.parametrize("name", STALLING)
def test_surfaces_that_crash_or_stall_other_readers_are_refused_at_once(tmp_path, name):
    content, said = STALLING[name]
    path = tmp_path / name
    path.write_bytes(content)
    if content == b"PK":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a.obj", b"v 0 0 0\n" * 2_000_000)
    if not content:
        write_ply(path, triangles=np.array([[0, 1, 99_999_999]]))
    start = time.perf_counter()
    with pytest.raises(InputError, match=said):
        load_surface(path)
    assert time.perf_counter() - start < 10.0


def test_an_obj_is_read_as_written_whatever_else_it_holds(tmp_path):
    text = """# a comment
mtllib missing.mtl
  v 0 0 0 0.5 0.5 0.5
v 1 0 0
\tv 1 1 0
vt 0 0
vn 0 0 1
v 0 1 0
g one
usemtl none
f 1/1/1 2//1 3/1 \\
  4
f -4 -3 -1
s off
v 5 5 5
f -1 1 2
"""
    (tmp_path / "a.obj").write_text(text.replace("\n", "\r\n"))
    surface = load_surface(tmp_path / "a.obj")
    np.testing.assert_allclose(surface.points, [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [5, 5, 5]])
    assert surface.triangles.tolist() == [[0, 1, 2], [0, 2, 3], [0, 1, 3], [4, 0, 1]]


def test_our_readers_agree_with_trimesh(tmp_path, rng):
    import trimesh

    mesh = trimesh.creation.icosphere(subdivisions=2)
    mesh.apply_transform(trimesh.transformations.random_rotation_matrix(rng.random(3)))
    for name in ("a.obj", "a.stl", "a.ply"):
        mesh.export(tmp_path / name)
        got = read_solid_surface(tmp_path / name)
        assert got.points.shape == mesh.vertices.shape
        ours = trimesh.Trimesh(got.points, got.triangles, process=False)
        assert ours.is_watertight
        np.testing.assert_allclose([ours.volume, *ours.center_mass], [mesh.volume, *mesh.center_mass], atol=1e-6)


def test_compressed_and_self_expanding_xml_is_refused(tmp_path):
    with pytest.raises(InputError, match="compressed"):
        read_tetrahedra(write_tetrahedra(tmp_path / "a.vtu"))
    (tmp_path / "b.vtu").write_text('<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x "y">]><VTKFile/>')
    with pytest.raises(InputError, match="entities"):
        read_tetrahedra(tmp_path / "b.vtu")


def test_a_surface_lists_each_edge_once():
    assert SurfaceMesh(POINTS[:4], TRIANGLES).edges().tolist() == [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]]
