"""Folders of pictures: conventions are OpenCV's and NeRF's, and every bad entry is named."""

import json
import math

import numpy as np
import pytest
from PIL import Image

from physsim.appearance.camera import Camera
from physsim.appearance.frames import Frame, read_frames
from physsim.errors import InputError

ENTRY = {"file": "a.png", "width": 8, "height": 6, "fx": 9.0, "fy": 10.0, "rotation": np.eye(3).tolist(), "translation": [0, 0, 2]}


@pytest.fixture
def folder(tmp_path, rng):
    for name in ("a.png", "b.png"):
        Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)).save(tmp_path / name)
    mask = np.zeros((6, 8), np.uint8)
    mask[2:4, 3:6] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    np.savez(tmp_path / "moved.npz", positions=rng.normal(size=(4, 3)))
    return tmp_path


def told(folder, *rows, name="cameras.json"):
    (folder / name).write_text(json.dumps(rows[0] if name == "transforms.json" else list(rows)))
    return folder


def test_cameras_masks_and_positions_are_read(folder):
    second = {**ENTRY, "file": "b.png", "cx": 4.0, "cy": 3.0, "distortion": [0.1, 0, 0, 0], "mask": "mask.png", "positions": "moved.npz"}
    first, second = read_frames(told(folder, ENTRY, second))
    assert first.camera.centre == (3.5, 2.5)
    assert first.mask is None and first.positions is None
    assert second.camera.centre == (4.0, 3.0) and second.camera.distortion == (0.1, 0.0, 0.0, 0.0)
    assert second.mask.sum() == 6 and not second.matte
    np.testing.assert_allclose(second.positions, np.load(folder / "moved.npz")["positions"], atol=1e-6)
    np.testing.assert_allclose(first.image * 255, np.asarray(Image.open(folder / "a.png")), atol=1e-4)


def test_an_alpha_channel_is_the_mask(folder, rng):
    given = rng.integers(0, 256, (6, 8, 4), dtype=np.uint8)
    given[0, 0, 3] = 255
    Image.fromarray(given).save(folder / "a.png")
    (frame,) = read_frames(told(folder, ENTRY))
    assert frame.matte
    np.testing.assert_allclose(frame.mask * 255, given[..., 3], atol=1e-4)
    (frame,) = read_frames(told(folder, {**ENTRY, "mask": "mask.png"}))
    assert not frame.matte and frame.mask.sum() == 6


def test_a_nerf_camera_sees_a_point_where_its_definition_says(folder):
    # 4 m up the z axis, looking down it, x to the right and y upwards; angle of view 90 degrees across 8 pixels: 4 pixels a unit slope
    matrix = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 4], [0, 0, 0, 1]]
    frames = [{"file_path": "./a", "transform_matrix": matrix}]
    (frame,) = read_frames(told(folder, {"camera_angle_x": math.pi / 2, "frames": frames}, name="transforms.json"))
    pixel, depth = frame.camera.project(np.array([1.0, 0.5, 0.0]))
    np.testing.assert_allclose(pixel, [3.5 + 4 * 0.25, 2.5 - 4 * 0.125], atol=1e-9)
    np.testing.assert_allclose(depth, 4.0)
    np.testing.assert_allclose(frame.camera.position, [0, 0, 4], atol=1e-12)


def test_nerf_intrinsics_count_pixels_from_their_corner(folder):
    frames = [{"file_path": "b.png", "transform_matrix": np.eye(4).tolist(), "mask_path": "mask.png"}]
    lens = {"fl_x": 7.0, "fl_y": 8.0, "cx": 4.0, "cy": 3.0, "w": 8, "h": 6, "k1": 0.05, "p2": 0.01}
    (frame,) = read_frames(told(folder, {**lens, "frames": frames}, name="transforms.json"))
    assert frame.camera.focal == (7.0, 8.0) and frame.camera.centre == (3.5, 2.5)
    assert frame.camera.distortion == (0.05, 0.0, 0.0, 0.01, 0.0)
    assert frame.mask.sum() == 6


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"file": "none.png"}, "none.png: no such file"),
        ({"file": "../a.png"}, "leads out of the folder"),
        ({"file": "/etc/hostname"}, "leads out of the folder"),
        ({"file": 7}, "is no file name"),
        ({"file": "a\0.png"}, "is no file name"),
        ({"width": 9}, "a.png: 8 x 6 pixels, but its camera has 9 x 6"),
        ({"width": "wide"}, "entry 0: Camera.width"),
        ({"width": 10**9}, "entry 0: Camera.width"),
        ({"fx": 0.0}, "entry 0: Camera.focal"),
        ({"fx": None}, "entry 0: Camera.focal"),
        ({"cx": 4.0}, "entry 0: Camera.centre"),
        ({"rotation": [[1, 0, 0], [0, 1, 0], [0, 0, 2]]}, "entry 0: Camera.rotation"),
        ({"rotation": "identity"}, "entry 0: Camera.rotation"),
        ({"distortion": 0.1}, "entry 0: Camera.distortion"),
        ({"distortion": [0.1]}, "entry 0: Camera.distortion"),
        ({"lens": "wide"}, r"unknown keys \['lens'\]"),
        ({"mask": "b.png"}, "b.png: a mask must be grey"),
        ({"mask": "black.png"}, "black.png: the mask has no pixel"),
        ({"mask": "small.png"}, "small.png: 4 x 4 pixels"),
        ({"positions": "a.png"}, "a.png: it cannot be read as npz of plain arrays"),
        ({"positions": "other.npz"}, "other.npz: it holds no array 'positions'"),
        ({"positions": "nan.npz"}, "nan.npz: 'positions' holds NaN"),
        ({"positions": "objects.npz"}, "objects.npz: it cannot be read"),
    ],
)
def test_each_bad_entry_is_named(folder, change, said):
    Image.fromarray(np.zeros((6, 8), np.uint8)).save(folder / "black.png")
    Image.fromarray(np.full((4, 4), 255, np.uint8)).save(folder / "small.png")
    np.savez(folder / "other.npz", points=np.zeros((4, 3)))
    np.savez(folder / "nan.npz", positions=np.full((4, 3), np.nan))
    np.savez(folder / "objects.npz", positions=np.array([{}, None], dtype=object))
    with pytest.raises(InputError, match=said):
        read_frames(told(folder, {**ENTRY, **change}))


def test_a_link_that_leaves_the_folder_is_not_followed(folder):
    outside = folder / "outside"
    inside = folder / "inside"
    outside.mkdir()
    inside.mkdir()
    (folder / "a.png").rename(outside / "a.png")
    (inside / "a.png").symlink_to(outside / "a.png")
    with pytest.raises(InputError, match="leads out of the folder"):
        read_frames(told(inside, ENTRY))


@pytest.mark.parametrize("content", ["", "[", "[]", "{}", "7", "[7]", '{"cameras": {}}', "[" * 100_000])
def test_files_that_are_no_list_of_cameras_are_refused(folder, content):
    (folder / "cameras.json").write_text(content)
    with pytest.raises(InputError, match=r"cameras\.json"):
        read_frames(folder)


def test_folders_without_cameras_are_refused(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        read_frames(tmp_path / "none")
    with pytest.raises(InputError, match=r"neither cameras\.json nor transforms\.json"):
        read_frames(tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"camera_model": "OPENCV_FISHEYE"}, "camera_model 'OPENCV_FISHEYE' is not read"),
        ({"fl_x": None}, "neither fl_x nor camera_angle_x"),
        ({"fl_x": float("nan")}, "fl_x"),
        ({"w": 9}, "but its camera has 9 x 6"),
        ({"frames": [{"file_path": "a.png"}]}, "transform_matrix"),
        ({"frames": [{"file_path": "a.png", "transform_matrix": (2 * np.eye(4)).tolist()}]}, "Camera.rotation"),
        ({"frames": [{"transform_matrix": np.eye(4).tolist()}]}, "is no file name"),
        ({"frames": {}}, "a list of 1 to"),
    ],
)
def test_bad_nerf_files_are_refused(folder, change, said):
    whole = {"fl_x": 7.0, "w": 8, "h": 6, "frames": [{"file_path": "a.png", "transform_matrix": np.eye(4).tolist()}]}
    with pytest.raises(InputError, match=said):
        read_frames(told(folder, {**whole, **change}, name="transforms.json"))


def test_frames_check_what_they_are_given():
    camera = Camera(8, 6, (9.0, 9.0))
    image = np.full((6, 8, 3), 0.5)
    with pytest.raises(InputError, match=r"k: image: shape \[8, 6, 3\]"):
        Frame(image.transpose(1, 0, 2), camera, name="k")
    with pytest.raises(InputError, match="image"):
        Frame(image + 1, camera)
    with pytest.raises(InputError, match="the mask has no pixel"):
        Frame(image, camera, np.zeros((6, 8)))
    with pytest.raises(InputError, match="positions"):
        Frame(image, camera, positions=np.full((3, 3), np.inf))
    with pytest.raises(InputError, match="matte"):
        Frame(image, camera, matte=True)
