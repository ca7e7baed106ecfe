"""Cases of PhysTwin (Jiang et al. 2025): a folder with `final_data.pkl` and, where they lie beside it, images and cameras.

    final_data.pkl    object_points [frames, n, 3] m, object_visibilities and object_motions_valid [frames, n], controller_points
                      [frames, c, 3], surface_points and interior_points [.., 3] of the completed shape in the first frame
    metadata.json     "intrinsics": a 3 x 3 matrix a camera, "WH": [width, height], "fps"
    calibrate.pkl     a 4 x 4 pose a camera, from camera to world
    split.json        "train": [first, end], "test": [first, end]
    color/0/0.png     frame 0 of camera 0; depth/0/0.npy [mm]; mask/0/1/0.png of object 1, which mask/mask_info_0.json names

A motion from frame t to t + 1 that the authors' filter found wrong (`object_motions_valid[t]`) makes the track count as not seen at
t + 1. World z points down in their data (`reverse_z`), so gravity is (0, 0, +9.8), and the table is the plane z = 0.

Controller points lie on hands or grippers. Those that stay together are one handle: points are joined whose distance, at its largest over
the frames, is below `hand_gap`; each handle's pose is the rigid motion that fits its points best, frame by frame, and the points are the
places where it may touch the body.
Source: Jianghanxiao/PhysTwin on GitHub, data_process/ and qqtt/ (layout, meaning of motions, gravity).
"""

from os import PathLike
from pathlib import Path

import numpy as np

from physsim.appearance.camera import Camera
from physsim.capture.adapters.frames import by_number, times_of
from physsim.capture.adapters.hands import handles_of
from physsim.capture.capture import Capture, Known, SeenTracks
from physsim.capture.streams import FileFrames
from physsim.errors import InputError
from physsim.io.files import read_json
from physsim.io.images import read_image
from physsim.io.npy import read_npy
from physsim.io.unpickle import read_pickle
from physsim.physics import validation

DATA = "final_data.pkl"
RATE = 30.0  # [Hz], where metadata.json names none
GRAVITY = 9.8  # [m/s^2], theirs
MAX_JSON = 16_000_000
IMAGES = (".png", ".jpg", ".jpeg")
CONTROLLER = "hand"  # what masks of hands and grippers are called


def fits(source: str | PathLike[str]) -> bool:
    """Whether the source is a case folder or its final_data.pkl."""
    path = Path(source)
    return path.name == DATA and path.is_file() if not path.is_dir() else (path / DATA).is_file()


def read(
    source: str | PathLike[str],
    *,
    rate: float | None = None,
    kind: str | None = None,
    mass: float | None = None,
    reverse_z: bool = True,
    hand_gap: float = 0.06,
    controller: str = CONTROLLER,
) -> Capture:
    """A capture of tracks and points, with the images, depth, masks and cameras that are there.

    Args:
        source: the case's folder, or its final_data.pkl.
        rate: frames a second [Hz]; None: what metadata.json says, else 30.
        kind: "solid", "sheet" or "rod", where known.
        mass: of the body [kg], where known.
        reverse_z: whether world z points down.
        hand_gap: controller points that come no further apart than this are of one hand [m].
        controller: name of hands in mask_info; every other mask is of the body.

    Returns:
        Capture. The points of the first frame include the surface points of the completed shape; images are read when they are asked for.

    Raises:
        InputError: a pickle that is not plain data, missing or misshapen arrays, cameras that do not fit together.
    """
    path = Path(source)
    folder = path if path.is_dir() else path.parent
    data = _arrays(folder / DATA)
    points, seen = data["object_points"], data["object_visibilities"]
    count = len(points)
    facts = _facts(folder / "metadata.json")
    rate = facts.get("fps", RATE) if rate is None else rate
    if isinstance(rate, bool) or not isinstance(rate, int | float):
        raise InputError(f"{folder}/metadata.json: fps = {str(rate)[:40]}: a number of frames a second is needed")
    times = times_of(count, float(rate), None, folder)
    followed = seen.copy()
    followed[1:] &= data["object_motions_valid"][: count - 1]
    clouds = [points[frame][seen[frame]] for frame in range(count)]
    clouds[0] = np.concatenate([clouds[0], data["surface_points"]])
    cameras = _cameras(folder, facts)
    up = -1.0 if reverse_z else 1.0
    return Capture(
        times,
        cameras=cameras,
        colour=_streams(cameras, lambda name: by_number(folder / "color" / name, IMAGES, count), _colour),
        depth=_streams(cameras, lambda name: by_number(folder / "depth" / name, (".npy",), count), _depth),
        mask=_masks(folder, cameras, count, controller),
        points=clouds,
        tracks=SeenTracks(points, followed),
        handles=handles_of(times, data["controller_points"], hand_gap),
        kind=kind,
        gravity=np.array([0.0, 0.0, -up * GRAVITY]),
        known=Known(mass=mass, ground=np.array([[0.0, 0.0, 0.0], [0.0, 0.0, up]])),
        name=folder.resolve().name,
        source="RGB-D cameras, in the layout of PhysTwin",
        **_split(folder / "split.json", count),
    )


def _arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays that are used, checked against each other."""
    held = read_pickle(path)
    if not isinstance(held, dict):
        raise InputError(f"{path}: holds {type(held).__name__}; a dict of arrays with object_points is needed")

    def array(name, shape, kind="f", default=None):
        if held.get(name) is None and default is not None:
            return default
        if held.get(name) is None:
            raise InputError(f"{path}: holds no {name!r}; it has {', '.join(map(str, held))[:200]}")
        value = np.asarray(held[name])
        if value.ndim != len(shape) or any(n is not None and n != m for n, m in zip(shape, value.shape, strict=True)):
            wanted = ", ".join("any" if n is None else str(n) for n in shape)
            raise InputError(f"{path}: {name} has shape {list(value.shape)}; [{wanted}] is needed")
        if value.dtype.kind not in "fiub":
            raise InputError(f"{path}: {name} holds {value.dtype}; numbers are needed")
        return value.astype(bool if kind == "b" else np.float64)

    points = array("object_points", (None, None, 3))
    count, tracks, _ = points.shape
    if count < 2 or tracks < 1:
        raise InputError(f"{path}: object_points has shape {list(points.shape)}; two frames and a point at least are needed")
    seen = array("object_visibilities", (count, tracks), "b", np.isfinite(points).all(axis=2)) & np.isfinite(points).all(axis=2)
    valid = array("object_motions_valid", (None, tracks), "b", np.ones((count, tracks), bool))
    if len(valid) not in (count, count - 1):
        raise InputError(f"{path}: object_motions_valid has {len(valid)} frames, object_points {count}")
    none = np.zeros((0, 3))
    return {
        "object_points": points,
        "object_visibilities": seen,
        "object_motions_valid": valid,
        "controller_points": array("controller_points", (count, None, 3), default=np.zeros((count, 0, 3))),
        "surface_points": array("surface_points", (None, 3), default=none),
    }


def _facts(path: Path) -> dict:
    if not path.is_file():
        return {}
    facts = read_json(path, MAX_JSON)
    if not isinstance(facts, dict):
        raise InputError(f"{path}: an object with intrinsics, WH and fps is needed")
    return facts


def _split(path: Path, count: int) -> dict[str, np.ndarray]:
    """Frames to fit and to test; theirs end where the capture ends."""
    if not path.is_file():
        return {}
    split = read_json(path, MAX_JSON)
    found = {}
    for key, name in (("fit", "train"), ("test", "test")):
        ends = split.get(name) if isinstance(split, dict) else None
        if not (isinstance(ends, list) and len(ends) == 2 and all(type(n) is int for n in ends) and 0 <= ends[0] <= ends[1]):
            raise InputError(f'{path}: "{name}": [first frame, frame behind the last] is needed')
        found[key] = np.arange(ends[0], min(ends[1], count))
    return found


def _cameras(folder: Path, facts: dict) -> dict[str, Camera]:
    """Cameras by number; none where intrinsics or poses are missing."""
    calibration = folder / "calibrate.pkl"
    if "intrinsics" not in facts or not calibration.is_file():
        return {}
    where = f"{folder}/metadata.json"
    intrinsics = _stacked(f"{where}: intrinsics", facts["intrinsics"], (None, 3, 3))
    size = _stacked(f"{where}: WH", facts.get("WH"), (2,))
    poses = _stacked(f"{calibration}: poses", read_pickle(calibration), (None, 4, 4))
    if len(poses) != len(intrinsics):
        raise InputError(f"{folder}: {len(intrinsics)} matrices of intrinsics and {len(poses)} poses; one of each a camera is needed")
    cameras = {}
    for number, (matrix, pose) in enumerate(zip(intrinsics, poses, strict=True)):
        turn = _rotation(f"{calibration}: pose {number}", pose[:3, :3]).T
        cameras[str(number)] = Camera.from_matrix(matrix, int(size[0]), int(size[1]), rotation=turn, translation=-turn @ pose[:3, 3])
    return cameras


def _stacked(name: str, value: object, shape: tuple) -> np.ndarray:
    return validation.array(name, value, shape)


def _rotation(name: str, matrix: np.ndarray) -> np.ndarray:
    """The rotation next to a matrix that calibration left a little off."""
    u, _, vt = np.linalg.svd(matrix)
    if np.abs(u @ vt - matrix).max() > 1e-2 or np.linalg.det(u @ vt) < 0:
        raise InputError(f"{name}: {matrix.tolist()} is no rotation")
    return u @ vt


def _streams(cameras: dict, files_of, read) -> dict:
    """camera -> frames, for those cameras that have any."""
    found = {name: files_of(name) for name in cameras}
    return {name: FileFrames(files, read, np.copy) for name, files in found.items() if any(files)}


def _masks(folder: Path, cameras: dict, count: int, controller: str) -> dict:
    streams = {}
    for name in cameras:
        info = folder / "mask" / f"mask_info_{name}.json"
        if not info.is_file():
            continue
        objects = read_json(info, MAX_JSON)
        if not isinstance(objects, dict) or not all(isinstance(v, str) for v in objects.values()):
            raise InputError(f'{info}: {{"0": "name of the object"}} is needed')
        body = [key for key, what in objects.items() if what != controller and key.isascii() and key.isdigit()]
        layers = [by_number(folder / "mask" / name / key, IMAGES, count) for key in body]
        if any(any(files) for files in layers):
            together = [tuple(file for file in files if file is not None) or None for files in zip(*layers, strict=True)]
            streams[name] = FileFrames(together, _mask, np.copy)
    return streams


def _colour(path: Path) -> np.ndarray:
    return read_image(path)[0].astype(np.float32)


def _mask(paths: tuple[Path, ...]) -> np.ndarray:
    return np.any([read_image(path)[0][..., 0] > 0.5 for path in paths], axis=0)


def _depth(path: Path) -> np.ndarray:
    """Depth [m], NaN where none was measured, of millimetres."""
    depth = read_npy(path)
    if depth.ndim != 2 or depth.dtype.kind not in "fiu":
        raise InputError(f"{path}: shape {list(depth.shape)} of {depth.dtype}; depth in millimetres, [height, width], is needed")
    metres = depth.astype(np.float32) / np.float32(1000.0)
    return np.where(metres > 0, metres, np.float32(np.nan))
