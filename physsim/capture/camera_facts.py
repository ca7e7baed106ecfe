"""Cameras of a capture.json: intrinsics, distortion and pose in OpenCV's convention."""

import math

import numpy as np

from physsim.appearance.camera import Camera
from physsim.capture import layout
from physsim.capture.entries import FILE, known_keys, number, short, vector, whole_number
from physsim.capture.problems import Problems
from physsim.errors import InputError


def parse_camera(name: str, told: dict, cameras: dict, sizes: dict, problems: Problems) -> None:
    """Put a camera that is right into `cameras`, and the size of one that has any into `sizes`."""
    where = f"cameras.{name}."
    before = len(problems.errors)
    known_keys(told, "camera", where[:-1], problems)
    sides = []
    for key in ("width", "height"):
        side = whole_number(told.get(key))
        right = side is not None and 0 < side <= 16384
        if not right:
            problems.error(
                FILE,
                f"{where}{key} is {short(told[key]) if key in told else 'missing'}",
                "a whole number of pixels from 1 to 16384 is needed",
            )
        sides.append(side if right else None)
    if None not in sides and sides[0] * sides[1] > layout.MAX_PIXELS:
        problems.error(FILE, f"{where}width x height is {sides[0]} x {sides[1]}", f"scale to at most {layout.MAX_PIXELS} pixels")
    elif None not in sides:
        sizes[name] = tuple(sides)
    focal = [number(told, key, where, problems, lower=0.0, upper=1e9, open_=True, needed=True) for key in ("fx", "fy")]
    centre = [number(told, key, where, problems, lower=-1e9, upper=1e9, needed=True) for key in ("cx", "cy")]
    lens = vector(told, "distortion", where, problems, (None,), needed=False)
    if lens is not None and len(lens) not in (0, 4, 5, 8):
        problems.error(FILE, f"{where}distortion has {len(lens)} coefficients", "OpenCV's k1, k2, p1, p2[, k3[, k4, k5, k6]] are 4, 5 or 8")
    rotation = vector(told, "rotation", where, problems, (3, 3))
    if rotation is not None and not _is_rotation(rotation):
        _tell_no_rotation(where, rotation, problems)
    translation = vector(told, "translation", where, problems, (3,))
    more = {k: number(told, k, where, problems, lower=0.0, open_=True) for k in ("near", "focus")}
    if None not in sides and None not in centre:
        _tell_odd_intrinsics(where, sides, focal, centre, problems)
    if len(problems.errors) > before:
        return
    given = {k: v for k, v in more.items() if v is not None}
    try:
        cameras[name] = Camera(*sides, tuple(focal), tuple(centre), rotation, translation, () if lens is None else tuple(lens), **given)
    except InputError as error:
        problems.error(FILE, f"{where[:-1]}: {error}"[:400])


def _is_rotation(rotation):
    with np.errstate(all="ignore"):
        return bool(np.abs(rotation @ rotation.T - np.eye(3)).max() <= 1e-5 and np.linalg.det(rotation) > 0.0)


def _tell_no_rotation(where, rotation, problems):
    with np.errstate(all="ignore"):
        square, turned = rotation @ rotation.T, np.linalg.det(rotation)
    scale = float(np.cbrt(abs(turned))) if np.isfinite(turned) else math.nan
    if np.abs(square - np.eye(3)).max() <= 1e-5:
        what, do = "is a mirror (its determinant is -1)", "OpenCV's axes are x right, y down, z forward: turn two axes, not one"
    elif math.isfinite(scale) and scale > 0 and np.abs(square / scale**2 - np.eye(3)).max() <= 1e-5:
        what, do = f"is scaled by {scale:.6g}", "divide it by that, and scale lengths instead"
    else:
        what, do = (
            "is no rotation: its rows are not orthogonal unit vectors",
            "give the rotation from world to camera, with six digits or more",
        )
    problems.error(FILE, f"{where}rotation {what}", do)


def _tell_odd_intrinsics(where, sides, focal, centre, problems):
    if not (-0.5 <= centre[0] <= sides[0] - 0.5 and -0.5 <= centre[1] <= sides[1] - 0.5):
        what = f"cx, cy = {centre[0]:g}, {centre[1]:g} lie outside the picture of {sides[0]} x {sides[1]} pixels"
        problems.warning(FILE, f"{where}{what}", "leave it so for a cropped picture; else check the order and the size they belong to")
    if None not in focal:
        view = max(sides[0] / focal[0], sides[1] / focal[1]), max(focal) / min(focal)
        if view[0] > 12 or view[0] < 0.02 or view[1] > 2:
            what = f"fx, fy = {focal[0]:g}, {focal[1]:g} are odd for {sides[0]} x {sides[1]} pixels"
            problems.warning(FILE, f"{where}{what}", "give them in pixels of this size")
