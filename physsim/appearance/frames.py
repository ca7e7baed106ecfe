"""Pictures with cameras, and the folder that holds them."""

import math
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import torch

from physsim.appearance.camera import Camera
from physsim.errors import InputError
from physsim.io.arrays import load_foreign_array
from physsim.io.files import read_json
from physsim.io.images import SUFFIXES, read_image, read_mask
from physsim.physics import validation

MAX_FRAMES = 10_000
MAX_JSON = 64_000_000  # [bytes]
CAMERAS, TRANSFORMS = "cameras.json", "transforms.json"
_LENSES = {"PINHOLE", "SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "OPENCV"}
_INTRINSICS = ("fl_x", "fl_y", "cx", "cy", "w", "h", "k1", "k2", "p1", "p2", "k3", "camera_angle_x", "camera_angle_y", "camera_model")


@dataclass(frozen=True, eq=False)
class Frame:
    """A picture of a body.

    Args:
        image: red, green, blue from 0 to 1, shape [h, w, 3].
        camera: that took it, of the same size.
        mask: share of each pixel that the body covers, from 0 to 1, shape [h, w]; None: what is not the body is the known background.
        positions: of the body's particles when it was taken [m], shape [p, 3]; None: at rest.
        matte: the image holds the body's own colour even where the mask is between 0 and 1, as pictures with an alpha channel do.
        name: what errors and reports call it.

    Raises:
        InputError: an image or mask of another size than the camera's, values outside [0, 1], NaN, a mask without a pixel above a half.
    """

    image: torch.Tensor
    camera: Camera
    mask: torch.Tensor | None = None
    positions: torch.Tensor | None = None
    matte: bool = False
    name: str = "frame"

    def __post_init__(self) -> None:
        validation.instance(f"{self.name}: camera", self.camera, Camera)
        size = (self.camera.height, self.camera.width)
        self._set("image", (*size, 3), 0.0, 1.0)
        if self.mask is not None:
            self._set("mask", size, 0.0, 1.0)
            if not (self.mask > 0.5).any():
                raise InputError(f"{self.name}: the mask has no pixel above a half; leave the frame out, or give it one")
        if self.positions is not None:
            self._set("positions", (None, 3), None, None)
        if self.matte and self.mask is None:
            raise InputError(f"{self.name}: matte says that the mask tells how much of a pixel is the body; give a mask")

    def _set(self, name, shape, lower, upper):
        checked = validation.array(f"{self.name}: {name}", getattr(self, name), shape, lower=lower, upper=upper)
        object.__setattr__(self, name, torch.as_tensor(checked, dtype=torch.float32))


def read_frames(folder: str | PathLike[str]) -> list[Frame]:
    """The frames of a folder of pictures.

    The folder holds pictures and either `cameras.json`, a list of entries

        {"file": "a.png", "width": 640, "height": 480, "fx": 600.0, "fy": 600.0, "cx": 319.5, "cy": 239.5, "distortion": [],
         "rotation": [[...], [...], [...]], "translation": [...], "mask": "a_mask.png", "positions": "a.npz"}

    in OpenCV's convention (world to camera, x right, y down, z forward, (0, 0) is the first pixel's centre; distortion k1, k2, p1, p2[, k3
    [, k4, k5, k6]]), of which cx and cy (the middle), distortion, mask and positions may be missing; a positions file is an npz with one
    array `positions` [m], shape [particles, 3]; or `transforms.json` as NeRF and 3D Gaussian Splatting read it. A picture's alpha channel
    is its mask, unless it has a mask of its own.

    Args:
        folder: path. Every file that it names lies in it.

    Returns:
        One Frame an entry, in order.

    Raises:
        InputError: no such folder or file, one that leads out of the folder, missing or unknown entries, damaged pictures or pictures of
            another size than their camera, masks without a pixel.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give one with pictures and {CAMERAS} or {TRANSFORMS}")
    if (folder / CAMERAS).is_file():
        source, parse = folder / CAMERAS, _from_cameras
    elif (folder / TRANSFORMS).is_file():
        source, parse = folder / TRANSFORMS, _from_transforms
    else:
        raise InputError(f"{folder}: it holds neither {CAMERAS} nor {TRANSFORMS}, which say how each picture was taken")
    return parse(folder, source, read_json(source, MAX_JSON))


def _from_cameras(folder, source, told):
    rows = told.get("cameras") if isinstance(told, dict) else told
    _check_rows(source, rows)
    known = {"file", "width", "height", "fx", "fy", "cx", "cy", "distortion", "rotation", "translation", "mask", "positions"}
    needed = {"file", "width", "height", "fx", "fy", "rotation", "translation"}
    frames = []
    for i, row in enumerate(rows):
        unknown, missing = sorted(set(row) - known), sorted(needed - set(row))
        if unknown or missing:
            raise InputError(f"{source}: entry {i}: unknown keys {unknown}, missing keys {missing}; known are {sorted(known)}")
        centre = None if row.get("cx") is None and row.get("cy") is None else (row.get("cx"), row.get("cy"))
        camera = _camera(
            f"{source}: entry {i}",
            row["width"],
            row["height"],
            (row["fx"], row["fy"]),
            centre,
            row["rotation"],
            row["translation"],
            row.get("distortion") or (),
        )
        frames.append(_read_frame(folder, source, i, row["file"], camera, row.get("mask"), row.get("positions")))
    return frames


def _from_transforms(folder, source, told):
    """NeRF's file: matrices from the camera's frame (x right, y up, z back) to the world; (0, 0) is the first pixel's corner."""
    if not isinstance(told, dict):
        raise InputError(f"{source}: an object with 'frames' is needed")
    _check_rows(source, told.get("frames"))
    frames = []
    for i, row in enumerate(told["frames"]):
        where = f"{source}: frame {i}"
        name = row.get("file_path")
        if isinstance(name, str) and Path(name).suffix.lower() not in SUFFIXES:
            name += ".png"  # as NeRF's synthetic scenes leave it out
        matrix = validation.array(f"{where}: transform_matrix", row.get("transform_matrix"), (None, 4))
        if len(matrix) not in (3, 4):
            raise InputError(f"{where}: transform_matrix has {len(matrix)} rows; 4 x 4 numbers are needed")
        lens = {key: row.get(key, told.get(key)) for key in _INTRINSICS}
        size = _picture_size(folder, where, name) if lens["w"] is None or lens["h"] is None else (lens["w"], lens["h"])
        size = tuple(int(validation.array(f"{where}: size", side, (), lower=1, upper=16384)) for side in size)
        focal, centre, distortion = _nerf_lens(where, lens, size)
        rotation = (matrix[:3, :3] * [1.0, -1.0, -1.0]).T
        camera = _camera(where, *size, focal, centre, rotation, -rotation @ matrix[:3, 3], distortion)
        frames.append(_read_frame(folder, source, i, name, camera, row.get("mask_path"), row.get("positions")))
    return frames


def _nerf_lens(where, lens, size):
    model = lens["camera_model"] or "PINHOLE"
    if model not in _LENSES:
        raise InputError(f"{where}: camera_model {model!r} is not read; undistort the pictures to one of {', '.join(sorted(_LENSES))}")
    number = {
        key: float(validation.array(f"{where}: {key}", value, ()))
        for key, value in lens.items()
        if value is not None and key != "camera_model"
    }
    if "fl_x" in number:
        focal = number["fl_x"], number.get("fl_y", number["fl_x"])
    elif "camera_angle_x" in number:
        wide = 0.5 * size[0] / math.tan(0.5 * _angle(where, number["camera_angle_x"]))
        high = 0.5 * size[1] / math.tan(0.5 * _angle(where, number["camera_angle_y"])) if "camera_angle_y" in number else wide
        focal = wide, high
    else:
        raise InputError(f"{where}: neither fl_x nor camera_angle_x tells the focal length")
    centre = number.get("cx", size[0] / 2) - 0.5, number.get("cy", size[1] / 2) - 0.5
    bend = tuple(number.get(key, 0.0) for key in ("k1", "k2", "p1", "p2", "k3"))
    return focal, centre, bend if any(bend) else ()


def _angle(where, value):
    if not 0.0 < value < math.pi:
        raise InputError(f"{where}: camera_angle of {value:g} rad; it must lie in (0, pi)")
    return value


def _check_rows(source, rows):
    if not isinstance(rows, list) or not rows or len(rows) > MAX_FRAMES or not all(isinstance(row, dict) for row in rows):
        raise InputError(f"{source}: a list of 1 to {MAX_FRAMES} entries is needed, one a picture")


def _camera(where, width, height, focal, centre, rotation, translation, distortion):
    try:
        bend = validation.array("Camera.distortion", distortion, (None,))
        return Camera(width, height, focal, centre, rotation, translation, tuple(bend))
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def _picture_size(folder, where, name):
    height, width = read_image(_inside(folder, where, name))[0].shape[:2]
    return width, height


def _read_frame(folder, source, index, name, camera, mask, positions):
    where, size = f"{source}: entry {index}", (camera.width, camera.height)
    image, alpha = read_image(_inside(folder, where, name), size)
    matte = alpha is not None and mask is None
    cover = read_mask(_inside(folder, where, mask), size) if mask is not None else alpha
    if matte and not (alpha > 0.5).any():
        raise InputError(f"{folder / name}: its alpha channel has no pixel above a half; leave the picture out")
    moved = None if positions is None else load_foreign_array(_inside(folder, where, positions), "positions")
    return Frame(image, camera, cover, moved, matte, name)


def _inside(folder, where, name):
    """The path of a file that an entry names, which must lie in the folder."""
    if not isinstance(name, str) or not name or "\0" in name:
        raise InputError(f"{where}: {name!r} is no file name")
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise InputError(f"{where}: {name!r} leads out of the folder; put the file into it")
    return path


def same_size_positions(frames: list[Frame], count: int) -> None:
    """Raise an InputError that names the first frame whose positions are not of `count` particles."""
    for frame in frames:
        if frame.positions is not None and len(frame.positions) != count:
            raise InputError(f"{frame.name}: positions of {len(frame.positions)} particles; the body has {count}")
