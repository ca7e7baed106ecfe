"""Captures to folders: frame by frame as a program sees them, or whole from memory."""

import json
from contextlib import ExitStack
from os import PathLike
from pathlib import Path

import numpy as np
from PIL import Image

from physsim.appearance.camera import Camera
from physsim.capture import layout
from physsim.capture.capture import KINDS, SENSORS, Capture, Handle, Known, SeenTracks
from physsim.capture.handle_files import write_handle
from physsim.capture.problems import Problems
from physsim.capture.read import read_parts
from physsim.capture.rest_shape import pack_rest_shape
from physsim.errors import InputError
from physsim.io.folders import UNITS, replaced_folder
from physsim.physics import validation


class CaptureWriter:
    """Writes a capture's folder, a frame at a time; the folder appears whole when it is closed.

    with CaptureWriter("toss", {"front": camera}) as writer:
        for time, colour, depth in frames:
            writer.add_frame(time, colour={"front": colour}, depth={"front": depth})

    Leaving the block by an error writes nothing.

    Args:
        folder: to write; an old capture of that name is replaced at the end.
        cameras: name -> Camera.
        rate: frames a second, for `add_frame` without a time [1/s].
        name, source, kind, gravity, known, noise: as for Capture.
        fit, test: frames to fit and frames held out, increasing indices; None: the first two thirds, and the rest.
        compression: of PNG files, 0 (fast) to 9 (small).

    Raises:
        InputError: something else lies in the folder; a name that names no file; what Capture refuses.
    """

    def __init__(
        self,
        folder: str | PathLike[str],
        cameras: dict[str, Camera] | None = None,
        *,
        rate: float | None = None,
        name: str = "capture",
        source: str = "",
        kind: str | None = None,
        gravity: np.ndarray = (0.0, 0.0, -9.81),
        known: Known | None = None,
        noise: dict[str, float] | None = None,
        fit: np.ndarray | None = None,
        test: np.ndarray | None = None,
        compression: int = 4,
    ):
        self.cameras = dict(validation.instance("cameras", {} if cameras is None else cameras, dict))
        for camera, value in self.cameras.items():
            validation.instance(f"cameras[{camera!r}]", value, Camera)
        _names("camera", self.cameras)
        if kind is not None and kind not in KINDS:
            raise InputError(f'kind = {kind!r}: must be "solid", "sheet" or "rod", or left out')
        if unknown := sorted(set(noise or {}) - set(SENSORS)):
            raise InputError(f"noise: unknown sensors {', '.join(unknown)}; known are {', '.join(SENSORS)}")
        self._rate = None if rate is None else float(validation.array("rate", rate, (), lower=0.0, lower_open=True))
        self._compression = int(validation.array("compression", compression, (), kind="i", lower=0, upper=9))
        self._facts = {
            "name": str(name),
            "source": str(source),
            "kind": kind,
            "gravity": validation.array("gravity", gravity, (3,)).tolist(),
            "cameras": {key: camera_facts(camera) for key, camera in self.cameras.items()},
            "known": known_facts(Known() if known is None else known),
            "noise": {key: float(validation.array(f"noise[{key!r}]", value, ())) for key, value in (noise or {}).items()},
        }
        self._split = {"fit": fit, "test": test}
        self._times, self._tracks, self._given_tracks = [], [], None
        self._handles, self._mesh = {}, None
        self._seen = {}  # stream -> frames that it has
        self._stack = ExitStack()
        self._closed = False
        self.path = Path(folder) if isinstance(folder, str | PathLike) else folder
        self._folder = self._stack.enter_context(replaced_folder(folder, layout.MARKER))

    def add_frame(
        self,
        time: float | None = None,
        colour: dict | np.ndarray | None = None,
        depth: dict | np.ndarray | None = None,
        mask: dict | np.ndarray | None = None,
        points: np.ndarray | None = None,
        tracks: np.ndarray | None = None,
    ) -> int:
        """Write what was seen at one time; what is left out counts as missing.

        Args:
            time: [s], later than the one before; None: by `rate`.
            colour: camera -> [height, width, 3], float from 0 to 1 or uint8; with one camera the array alone will do. So for the others.
            depth: camera -> [height, width] along the optical axis [m]; NaN or 0 where none was measured. Kept to a millimetre.
            mask: camera -> [height, width] bool, True on the body.
            points: of the body in the world [m], shape [n, 3].
            tracks: positions of the followed points [m], shape [points, 3], NaN where not seen; or give all by `set_tracks`.

        Returns:
            Number of the frame.

        Raises:
            InputError: another size than the camera's, values out of range, a time that goes back.
        """
        self._open()
        frame = len(self._times)
        if time is None and self._rate is None:
            raise InputError(f"frame {frame}: no time was given; give one, or a rate when the writer is made")
        time = float(validation.array(f"time of frame {frame}", frame / self._rate if time is None else time, ()))
        if frame and time <= self._times[-1]:
            raise InputError(f"frame {frame}: time {time:g} s follows {self._times[-1]:g} s; each must be later than the one before")
        if frame >= layout.MAX_FRAMES:
            raise InputError(f"frame {frame}: at most {layout.MAX_FRAMES} are written; split the capture")
        images = []  # all are checked before the first is written
        for kind, given, stored in (("colour", colour, stored_colour), ("depth", depth, stored_depth), ("mask", mask, stored_mask)):
            for camera, picture in self._by_camera(kind, given).items():
                where = f"{kind} of camera {camera!r}, frame {frame}"
                images.append((f"{layout.STREAMS[kind]}/{camera}", stored(where, picture, self.cameras[camera])))
        if points is not None:
            points = stored_points(f"points of frame {frame}", points)
        if tracks is not None:
            tracks = self._checked_track(frame, tracks)
            self._tracks = self._tracks or [np.full_like(tracks, np.nan)] * frame
        for stream, image in images:
            self._save(stream, frame, lambda path, image=image: Image.fromarray(image).save(path, compress_level=self._compression))
        if points is not None:
            self._save("points", frame, lambda path: np.save(path, points, allow_pickle=False), ".npy")
        if tracks is not None or self._tracks:
            self._tracks.append(np.full_like(self._tracks[0], np.nan) if tracks is None else tracks)
        self._times.append(time)
        return frame

    def set_tracks(self, positions: np.ndarray, visible: np.ndarray | None = None, rest: np.ndarray | None = None) -> None:
        """All followed points at once; arguments as those of SeenTracks: positions [m], shape [frames, points, 3], NaN where not seen."""
        self._open()
        if self._tracks:
            raise InputError("tracks: they were given frame by frame; give them one way")
        self._given_tracks = SeenTracks(positions, visible, rest)

    def set_handle(self, name: str, handle: Handle) -> None:
        """Where a hand, gripper or clamp was; a handle of the same name is replaced."""
        self._open()
        validation.instance(f"handle {name!r}", handle, Handle)
        _names("handle", [*(n for n in self._handles if n != name), name])
        self._handles[name] = handle

    def set_mesh(self, mesh: object) -> None:
        """The rest shape: TetMesh, TriMesh, Curve, or a closed SurfaceMesh."""
        self._open()
        pack_rest_shape(mesh)
        self._mesh = mesh

    def close(self) -> None:
        """Write what is left, check it all as a reader would, and put the folder in its place.

        Raises:
            InputError: no frame, neither depth nor points nor tracks, a split that does not fit.
        """
        if self._closed:
            return
        try:
            self._finish()
        except BaseException as error:
            self._end(error)
            raise
        self._end(None)

    def _end(self, error):
        self._closed = True
        self._stack.__exit__(*((None,) * 3 if error is None else (type(error), error, error.__traceback__)))

    def __enter__(self) -> "CaptureWriter":
        return self

    def __exit__(self, kind, error, trace) -> None:
        if error is None:
            self.close()
        elif not self._closed:
            self._end(error)

    def _open(self):
        if self._closed:
            raise InputError(f"{self.path}: the writer is closed; make another one")

    def _by_camera(self, kind, given):
        if given is None:
            return {}
        if not isinstance(given, dict):
            if len(self.cameras) != 1:
                raise InputError(f"{kind}: there are {len(self.cameras)} cameras; give a dict from camera to picture")
            return {next(iter(self.cameras)): given}
        for camera in given:
            if camera not in self.cameras:
                raise InputError(f"{kind}: there is no camera {camera!r}; there are {', '.join(self.cameras) or 'none'}")
        return {camera: picture for camera, picture in given.items() if picture is not None}

    def _checked_track(self, frame, tracks):
        if self._given_tracks is not None:
            raise InputError("tracks: they were given at once by set_tracks; give them one way")
        where = f"tracks of frame {frame}"
        tracks = validation.given_array(where, tracks)
        shape = (len(self._tracks[0]) if self._tracks else len(tracks) if tracks.ndim else 0, 3)
        if tracks.dtype.kind not in "fiu" or tracks.shape != shape or np.isinf(tracks).any():
            raise InputError(f"{where}: {tracks.dtype} of shape {list(tracks.shape)}; the same points, [points, 3], NaN where not seen")
        return tracks.astype(float)

    def _save(self, stream, frame, save, suffix=".png"):
        folder = self._folder / stream
        if stream not in self._seen:
            folder.mkdir(parents=True, exist_ok=True)
            self._seen[stream] = set()
        save(folder / layout.frame_name(frame, suffix))
        self._seen[stream].add(frame)

    def _finish(self):
        count = len(self._times)
        if not count:
            raise InputError(f"{self.path}: no frame was added; a capture needs at least one")
        tracks = SeenTracks(np.stack(self._tracks)) if self._tracks else self._given_tracks
        if tracks is not None:
            if len(tracks.positions) != count:
                raise InputError(f"tracks: {len(tracks.positions)} frames for {count} times; one for each is needed")
            rest = {} if tracks.rest is None else {"rest": tracks.rest}
            np.savez_compressed(self._folder / "tracks.npz", xyz=tracks.positions, visible=tracks.visible, **rest)
        facts = {"format": layout.FORMAT, "version": layout.VERSION, "units": UNITS, **self._facts, "times": self._times}
        for key, frames in self._split.items():
            if frames is not None:
                frames = validation.array(key, frames, (None,), kind="i", lower=0, upper=count - 1)
                if (np.diff(frames) <= 0).any():
                    raise InputError(f"{key}: frames must increase")
                facts[key] = layout.runs(frames.tolist())
        lost = {stream: sorted(set(range(count)) - frames) for stream, frames in self._seen.items()}
        if any(lost.values()):
            facts["missing"] = {stream: frames for stream, frames in lost.items() if frames}
        if self._handles:
            (self._folder / "handles").mkdir()
            facts["handles"] = {name: hold_facts(handle) for name, handle in self._handles.items()}
            for name, handle in self._handles.items():
                write_handle(self._folder / "handles" / f"{name}.csv", handle)
        if self._mesh is not None:
            told, arrays = pack_rest_shape(self._mesh)
            facts["mesh"] = {"file": "mesh.npz", **told}
            np.savez_compressed(self._folder / "mesh.npz", **arrays)
        facts = {key: value for key, value in facts.items() if value not in (None, {})}
        (self._folder / layout.MARKER).write_text(json.dumps(facts, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        problems = Problems()
        read_parts(self._folder, problems)
        if problems.errors:
            raise InputError(f"{self.path}: what was given makes no capture: {str(problems.errors[0]).removeprefix('error: ')}")


def save_capture(capture: Capture, folder: str | PathLike[str]) -> Path:
    """Write a Capture to a folder and return its path; see `Capture.save`."""
    writer = CaptureWriter(
        folder,
        capture.cameras,
        name=capture.name,
        source=capture.source,
        kind=capture.kind,
        gravity=capture.gravity,
        known=capture.known,
        noise=capture.noise,
        fit=capture.fit,
        test=capture.test,
    )
    with writer:
        for frame, time in enumerate(capture.times):
            pictures = {
                kind: {camera: frames[frame] for camera, frames in getattr(capture, kind).items()} for kind in ("colour", "depth", "mask")
            }
            writer.add_frame(time, **pictures, points=None if capture.points is None else capture.points[frame])
        if capture.tracks is not None:
            writer.set_tracks(capture.tracks.positions, capture.tracks.visible, capture.tracks.rest)
        for name, handle in capture.handles.items():
            writer.set_handle(name, handle)
        if capture.mesh is not None:
            writer.set_mesh(capture.mesh)
    return Path(folder)


def camera_facts(camera: Camera) -> dict:
    """A Camera as capture.json holds it."""
    return {
        "width": camera.width,
        "height": camera.height,
        "fx": camera.focal[0],
        "fy": camera.focal[1],
        "cx": camera.centre[0],
        "cy": camera.centre[1],
        "distortion": list(camera.distortion),
        "rotation": camera.rotation.tolist(),
        "translation": camera.translation.tolist(),
        "near": camera.near,
        "focus": camera.focus,
    }


def hold_facts(handle: Handle) -> dict:
    """What capture.json says of a handle beside its table; what is not known is left out."""
    found = {} if handle.radius is None else {"radius": handle.radius}
    return found if handle.places is None else found | {"places": handle.places.tolist()}


def known_facts(known: Known) -> dict:
    """What is known as capture.json holds it; what is not is left out."""
    validation.instance("known", known, Known)
    found = {
        key: value
        for key in ("mass", "density", "thickness", "length", "poisson", "friction")
        if (value := getattr(known, key)) is not None
    }
    found = {key: float(validation.array(f"known.{key}", value, ())) for key, value in found.items()}
    if known.ground is not None:
        ground = validation.array("known.ground", known.ground, (2, 3))
        found["ground"] = {"point": ground[0].tolist(), "normal": ground[1].tolist()}
    if known.weights is not None:
        found["weights"] = validation.array("known.weights", known.weights, (None, 4)).tolist()
    return found


def stored_colour(where: str, picture: np.ndarray, camera: Camera) -> np.ndarray:
    """Colours as uint8 [height, width, 3]."""
    picture = _picture(where, picture, (camera.height, camera.width, 3))
    if picture.dtype == np.uint8:
        return picture
    if picture.dtype.kind != "f":
        raise InputError(f"{where}: {picture.dtype} was given; floats from 0 to 1, or uint8, are needed")
    if not (picture.min() >= -1e-4 and picture.max() <= 1.0001):
        raise InputError(f"{where}: values reach from {picture.min():g} to {picture.max():g}; they must lie in [0, 1] and be no NaN")
    return np.rint(np.clip(picture, 0.0, 1.0) * 255.0).astype(np.uint8)


def stored_depth(where: str, picture: np.ndarray, camera: Camera) -> np.ndarray:
    """Depth [m] as uint16 [mm], 0 where there is none."""
    picture = _picture(where, picture, (camera.height, camera.width)).astype(float)
    measured = np.where(np.isfinite(picture), picture, 0.0)
    if measured.min() < 0.0 or measured.max() > layout.FARTHEST:
        raise InputError(
            f"{where}: depths reach from {measured.min():g} to {measured.max():g} m; they must lie in [0, {layout.FARTHEST}]; "
            "give metres, and NaN where none was measured"
        )
    return np.rint(measured / layout.MILLIMETRE).astype(np.uint16)


def stored_mask(where: str, picture: np.ndarray, camera: Camera) -> np.ndarray:
    """A mask as uint8, 255 on the body."""
    picture = _picture(where, picture, (camera.height, camera.width))
    if picture.dtype != bool and not np.isin(picture, (0, 1)).all():
        raise InputError(f"{where}: {picture.dtype} with other values than 0 and 1; give bool, True on the body")
    return picture.astype(np.uint8) * np.uint8(255)


def stored_points(where: str, points: np.ndarray) -> np.ndarray:
    """Points as float32 where they are given so, else float64."""
    given = validation.given_array(where, points)
    checked = validation.array(where, given, (None, 3))
    return np.ascontiguousarray(given) if given.dtype == np.float32 else checked


def _picture(where, picture, shape):
    picture = validation.given_array(where, picture)
    if picture.shape != shape or picture.dtype.kind not in "fiub":
        raise InputError(f"{where}: {picture.dtype} of shape {list(picture.shape)}; the camera's pictures have {list(shape)}")
    return picture


def _names(kind, names):
    folded = [str(name).casefold() for name in names]
    for name in names:
        if not layout.is_name(name):
            raise InputError(f"{kind} {name!r}: names files; use 1 to 64 letters, digits, _ . + - and spaces inside")
        if folded.count(name.casefold()) > 1:
            raise InputError(f"{kind} {name!r}: another one differs by upper and lower case only; not all systems tell such files apart")
