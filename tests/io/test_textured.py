"""Textures and colours come in with their surfaces, and only from where they may."""

import io
import json
import struct

import numpy as np
import pytest
from PIL import Image

from physsim.errors import InputError
from physsim.io.point_cloud import load_point_cloud
from physsim.io.textured import load_textured_surface

SQUARE = "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\n"
RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def picture(path):
    """Two by two: red and green above, blue and white below."""
    Image.fromarray(np.array([[RED, GREEN], [BLUE, WHITE]], dtype=np.uint8)).save(path)


def at_corners(textured):
    """Colours a little inside the square's four pixels, by x and y."""
    where = np.array([[0.25, 0.75], [0.75, 0.75], [0.25, 0.25], [0.75, 0.25]])
    corners = textured.surface.points[textured.surface.triangles][:, :, :2]
    found = []
    for p in where:
        for k, c in enumerate(corners):
            w = np.linalg.solve(np.concatenate([c.T, np.ones((1, 3))]), [*p, 1.0])
            if w.min() > -1e-9:
                found.append(textured.colours_at(np.array([k]), w[None])[0])
                break
    return 255 * np.array(found)


@pytest.mark.parametrize("faces", ["f 1/1 2/2 3/3 4/4", "f 1/1/1 2/2/1 3/3/1\nf -4/-4/1 -2/-2/1 -1/-1/1"])
def test_an_obj_takes_its_picture_from_beside_it(faces, tmp_path):
    (tmp_path / "a.obj").write_text(f"mtllib a.mtl\n{SQUARE}usemtl paint\n{faces}\n")
    (tmp_path / "a.mtl").write_text("newmtl other\nKd 1 0 0\nnewmtl paint\nKd 0.2 0.2 0.2\nmap_Kd -s 1 1 1 a.png\n")
    picture(tmp_path / "a.png")
    np.testing.assert_allclose(at_corners(load_textured_surface(tmp_path / "a.obj")), [RED, GREEN, BLUE, WHITE], atol=1e-3)


def test_materials_without_a_picture_colour_their_faces(tmp_path):
    (tmp_path / "a.obj").write_text(f"mtllib a.mtl\n{SQUARE}f 1 2 3\nusemtl red\nf 1 3 4\n")
    (tmp_path / "a.mtl").write_text("newmtl red\nKd 1 0 0.5\n")
    textured = load_textured_surface(tmp_path / "a.obj", scale=2.0)
    np.testing.assert_allclose(textured.surface.points.max(axis=0), [2, 2, 0])
    np.testing.assert_allclose(textured.colours_at(np.array([0, 1]), np.full((2, 3), 1 / 3)), [[1, 1, 1], [1, 0, 0.5]])


def test_colours_of_points_are_interpolated(tmp_path):
    (tmp_path / "a.obj").write_text("v 0 0 0 1 0 0\nv 1 0 0 0 1 0\nv 0 1 0 0 0 1\nf 1 2 3\n")
    header = "ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\n"
    header += "property uchar red\nproperty uchar green\nproperty uchar blue\nelement face 1\nproperty list uchar int vertex_indices\n"
    (tmp_path / "a.ply").write_text(f"{header}end_header\n0 0 0 255 0 0\n1 0 0 0 255 0\n0 1 0 0 0 255\n3 0 1 2\n")
    for name in ("a.obj", "a.ply"):
        textured = load_textured_surface(tmp_path / name)
        np.testing.assert_allclose(textured.colours_at(np.array([0]), np.array([[0.5, 0.3, 0.2]])), [[0.5, 0.3, 0.2]])
    cloud = load_point_cloud(tmp_path / "a.ply", scale=3.0)
    np.testing.assert_allclose(cloud.points, [[0, 0, 0], [3, 0, 0], [0, 3, 0]])
    np.testing.assert_allclose(cloud.colours, np.eye(3))
    assert cloud.normals is None


def square_glb(**changes):
    import trimesh

    texture = Image.fromarray(np.array([[RED, GREEN], [BLUE, WHITE]], dtype=np.uint8))
    material = trimesh.visual.material.PBRMaterial(baseColorTexture=texture)
    visual = trimesh.visual.TextureVisuals(uv=[[0, 0], [1, 0], [1, 1], [0, 1]], material=material)
    points = [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]
    mesh = trimesh.Trimesh(points, [[0, 1, 2], [0, 2, 3]], visual=visual, process=False)
    content = mesh.export(file_type="glb")
    return with_description(content, changes) if changes else content


def with_description(content, changes):
    """The GLB with entries of its description changed."""
    size = struct.unpack_from("<I", content, 12)[0]
    tree = json.loads(content[20 : 20 + size])
    for key, value in changes.items():
        kind, entry = key.split("_")
        tree[kind][0][entry] = value
    text = json.dumps(tree).encode()
    text += b" " * (-len(text) % 4)
    rest = content[20 + size :]
    return b"glTF" + struct.pack("<II", 2, 20 + len(text) + len(rest)) + struct.pack("<I", len(text)) + b"JSON" + text + rest


def test_a_glb_holds_its_picture(tmp_path):
    (tmp_path / "a.glb").write_bytes(square_glb())
    np.testing.assert_allclose(at_corners(load_textured_surface(tmp_path / "a.glb")), [RED, GREEN, BLUE, WHITE], atol=1e-3)


def test_parts_of_a_glb_stand_where_its_scene_puts_them(tmp_path):
    import trimesh

    scene = trimesh.Scene()
    ball = trimesh.creation.icosphere(1, 0.1)
    for x in (0.0, 2.0):
        scene.add_geometry(ball, geom_name="ball", transform=trimesh.transformations.translation_matrix([x, 0, 0]))
    (tmp_path / "a.glb").write_bytes(scene.export(file_type="glb"))
    points = load_textured_surface(tmp_path / "a.glb").surface.points
    np.testing.assert_allclose([points[:, 0].min(), points[:, 0].max()], [-0.1, 2.1], atol=1e-6)


HOSTILE = {
    "a file outside": ({"images_uri": "../secret.png"}, "names the file '../secret.png'"),
    "a buffer elsewhere": ({"buffers_uri": "/etc/passwd"}, "names the file '/etc/passwd'"),
    "too many values": ({"accessors_count": 10**12}, "values; at most"),
    "a negative count": ({"accessors_count": -1}, "values; at most"),
    "a count that is none": ({"accessors_count": "many"}, "is not glTF"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_glb_that_reaches_beyond_itself_is_refused(name, tmp_path):
    changes, said = HOSTILE[name]
    (tmp_path / "a.glb").write_bytes(square_glb(**changes))
    with pytest.raises(InputError, match=said):
        load_textured_surface(tmp_path / "a.glb")


def test_a_cut_off_glb_is_refused(tmp_path):
    whole = square_glb()
    for share in np.linspace(0.01, 0.99, 30):
        (tmp_path / "a.glb").write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(InputError, match=r"a\.glb"):
            load_textured_surface(tmp_path / "a.glb")


@pytest.mark.parametrize(
    ("mtllib", "picture_name", "said"),
    [
        ("../a.mtl", "a.png", "leaves its folder"),
        ("/etc/passwd", "a.png", "leaves its folder"),
        ("lost.mtl", "a.png", "no such file"),
        ("a.mtl", "../a.png", "leaves its folder"),
        ("a.mtl", "lost.png", "no such file"),
        ("a.mtl", "a.obj", "ending"),
        ("a.mtl", "x" * 5000, "no file's name|no such file"),
    ],
)
def test_what_an_obj_names_stays_in_its_folder(mtllib, picture_name, said, tmp_path):
    folder = tmp_path / "inside"
    folder.mkdir()
    picture(tmp_path / "a.png")
    (tmp_path / "a.mtl").write_text("newmtl paint\n")
    (folder / "a.obj").write_text(f"mtllib {mtllib}\n{SQUARE}usemtl paint\nf 1/1 2/2 3/3\n")
    (folder / "a.mtl").write_text(f"newmtl paint\nmap_Kd {picture_name}\n")
    with pytest.raises(InputError, match=said):
        load_textured_surface(folder / "a.obj")


def test_a_link_out_of_the_folder_is_not_followed(tmp_path):
    folder = tmp_path / "inside"
    folder.mkdir()
    picture(tmp_path / "a.png")
    (folder / "a.png").symlink_to(tmp_path / "a.png")
    (folder / "a.obj").write_text(f"mtllib a.mtl\n{SQUARE}usemtl paint\nf 1/1 2/2 3/3\n")
    (folder / "a.mtl").write_text("newmtl paint\nmap_Kd a.png\n")
    with pytest.raises(InputError, match="leaves its folder"):
        load_textured_surface(folder / "a.obj")


@pytest.mark.parametrize("face", ["f 1/9 2/2 3/3", "f 1/x 2/2 3/3", "f 1/-9 2/2 3/3"])
def test_texture_coordinates_that_are_not_there_are_refused(face, tmp_path):
    (tmp_path / "a.obj").write_text(f"{SQUARE}{face}\n")
    with pytest.raises(InputError, match=r"a\.obj"):
        load_textured_surface(tmp_path / "a.obj")


def test_other_kinds_of_files_are_refused(tmp_path):
    (tmp_path / "a.zip").write_bytes(b"PK")
    with pytest.raises(InputError, match="ending"):
        load_textured_surface(tmp_path / "a.zip")
    (tmp_path / "a.glb").write_bytes(io.BytesIO(b"glTF").read() * 10)
    with pytest.raises(InputError, match="no whole GLB"):
        load_textured_surface(tmp_path / "a.glb")


@pytest.mark.parametrize("kind", ["glb", "obj"])
def test_random_damage_is_refused_or_read(kind, tmp_path, rng):
    """Bytes changed at random: an InputError, or a surface with finite colours."""
    if kind == "glb":
        whole = square_glb()
    else:
        whole = f"mtllib a.mtl\n{SQUARE}usemtl paint\nf 1/1 2/2 3/3 4/4\n".encode()
        (tmp_path / "a.mtl").write_text("newmtl paint\nmap_Kd a.png\n")
        picture(tmp_path / "a.png")
    for _ in range(150):
        content = bytearray(whole)
        for at in rng.integers(0, len(whole), 2):
            content[at] = rng.integers(256)
        (tmp_path / f"a.{kind}").write_bytes(content)
        try:
            found = load_textured_surface(tmp_path / f"a.{kind}")
        except InputError:
            continue
        count = len(found.surface.triangles)
        assert np.isfinite(found.colours_at(np.arange(count), np.full((count, 3), 1 / 3))).all()
