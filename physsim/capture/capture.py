"""A capture in memory: cameras, frames, tracks, handles, and what is known of the thing."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation, Slerp

from physsim.appearance.camera import Camera
from physsim.errors import InputError
from physsim.physics import validation

KINDS = ("solid", "sheet", "rod")
SENSORS = ("tracks", "points", "depth", "mask", "colour")


@dataclass(frozen=True, eq=False)
class Handle:
    """A hand, gripper or clamp that holds the body: where it was, and how wide open.

    Args:
        times: [s], shape [k], each later than the one before.
        positions: of the handle's origin in the world [m], shape [k, 3].
        rotations: from handle to world, shape [k, 3, 3]; None: it keeps its orientation.
        opening: between its fingers [m], shape [k], or None.
        radius: what of the body lies within this distance of one of the handle's places when it begins to hold is held [m]; None: found
            from the data.
        places: where the handle touches the body, in its own coordinates [m], shape [h, 3]: a grid over the face of a clamp, points of
            a glove; None: its origin.

    Raises:
        InputError: shapes that do not fit, times that go back, matrices that are no rotations, values that are not finite.
    """

    times: np.ndarray
    positions: np.ndarray
    rotations: np.ndarray | None = None
    opening: np.ndarray | None = None
    radius: float | None = None
    places: np.ndarray | None = None

    def __post_init__(self) -> None:
        times = validation.array("Handle.times", self.times, (None,))
        if len(times) == 0 or (np.diff(times) <= 0).any():
            raise InputError("Handle.times: at least one is needed, each later than the one before")
        positions = validation.array("Handle.positions", self.positions, (len(times), 3))
        rotations = np.tile(np.eye(3), (len(times), 1, 1)) if self.rotations is None else np.array(self.rotations, dtype=float)
        if rotations.shape != (len(times), 3, 3):
            raise InputError(f"Handle.rotations: shape {list(rotations.shape)}; [{len(times)}, 3, 3] is needed")
        with np.errstate(invalid="ignore", over="ignore"):
            square, turned = rotations @ rotations.transpose(0, 2, 1), np.linalg.det(rotations)
        wrong = np.flatnonzero(~((np.abs(square - np.eye(3)).max(axis=(1, 2)) <= 1e-5) & (turned > 0.0)))
        if len(wrong):
            validation.rotation(f"Handle.rotations[{wrong[0]}]", rotations[wrong[0]])
        object.__setattr__(self, "times", times)
        object.__setattr__(self, "positions", positions)
        object.__setattr__(self, "rotations", rotations)
        if self.opening is not None:
            object.__setattr__(self, "opening", validation.array("Handle.opening", self.opening, (len(times),), lower=0.0))
        if self.places is not None:
            object.__setattr__(self, "places", validation.array("Handle.places", self.places, (None, 3)))
        if self.radius is not None:
            object.__setattr__(self, "radius", float(validation.array("Handle.radius", self.radius, (), lower=0.0, lower_open=True)))

    def at(self, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Positions [..., 3] and rotations [..., 3, 3] at times [...], held still before the first and after the last."""
        times = np.clip(np.asarray(times, dtype=float), self.times[0], self.times[-1])
        places = np.stack([np.interp(times, self.times, self.positions[:, k]) for k in range(3)], axis=-1)
        if len(self.times) == 1:
            return places, np.broadcast_to(self.rotations[0], (*times.shape, 3, 3)).copy()
        turns = Slerp(self.times, Rotation.from_matrix(self.rotations))(times.ravel()).as_matrix()
        return places, turns.reshape(*times.shape, 3, 3)

    def distances(self, time: float, points: np.ndarray) -> np.ndarray:
        """Distance of points [n, 3] from the nearest of the handle's places at a time [s]: [m], shape [n]."""
        place, turn = self.at(np.array(time))
        spots = place[None] if self.places is None or len(self.places) == 0 else place + self.places @ turn.T
        return cKDTree(spots).query(points)[0]


@dataclass(frozen=True)
class Known:
    """What is known beforehand of the thing and its surroundings; None: not known.

    Args:
        mass: of the body [kg].
        density: [kg/m^3].
        thickness: of a sheet, or diameter of a rod [m].
        length: the longest edge of the body at rest [m]; sets the scale where cameras cannot.
        poisson: Poisson's ratio [-].
        friction: with the ground [-].
        ground: a point of the ground [m] and its upward normal, shape [2, 3]; None: there is no ground to touch.
        weights: what hangs on the body, with its inertia: places at rest in the mesh's coordinates [m] and masses [kg], rows
            (x, y, z, mass), shape [w, 4].
    """

    mass: float | None = None
    density: float | None = None
    thickness: float | None = None
    length: float | None = None
    poisson: float | None = None
    friction: float | None = None
    ground: np.ndarray | None = None
    weights: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class SeenTracks:
    """Material points that were followed through the frames.

    Args:
        positions: in the world [m], shape [frames, points, 3]; NaN: not seen.
        visible: shape [frames, points]; None: where positions are finite.
        rest: where the points are at rest, in the mesh's coordinates [m], shape [points, 3]; None: where they are first seen tells.
    """

    positions: np.ndarray
    visible: np.ndarray | None = None
    rest: np.ndarray | None = None

    def __post_init__(self) -> None:
        positions = np.asarray(self.positions, dtype=float)
        if positions.ndim != 3 or positions.shape[2] != 3:
            raise InputError(f"tracks: shape {list(positions.shape)}; [frames, points, 3] is needed")
        finite = np.isfinite(positions).all(axis=2)
        visible = finite if self.visible is None else np.asarray(self.visible, dtype=bool)
        if visible.shape != positions.shape[:2]:
            raise InputError(f"tracks.visible: shape {list(visible.shape)}; {list(positions.shape[:2])} is needed")
        visible = visible & finite
        if self.rest is not None:
            object.__setattr__(self, "rest", validation.array("tracks.rest", self.rest, (positions.shape[1], 3)))
        object.__setattr__(self, "positions", np.where(visible[..., None], positions, np.nan))
        object.__setattr__(self, "visible", visible)


@dataclass(frozen=True, eq=False)
class Capture:
    """What cameras and a robot saw of a soft thing being handled.

    Frames of a stream may be read on demand: any sequence serves, an entry of None is a frame that is missing.

    Args:
        times: of the frames [s], shape [frames], each later than the one before.
        cameras: name -> Camera.
        colour: camera -> frames, each [height, width, 3] float32 from 0 to 1.
        depth: camera -> frames, each [height, width] float32, along the optical axis [m]; NaN: not measured.
        mask: camera -> frames, each [height, width] bool, True on the body.
        points: frames of points in the world, each [n, 3] [m], of the body alone; or None.
        tracks: SeenTracks, or None.
        mesh: rest shape, where known: TetMesh, TriMesh, Curve, or a closed SurfaceMesh; or None. In any pose.
        handles: name -> Handle.
        kind: "solid", "sheet" or "rod"; None: to be found.
        gravity: [m/s^2], shape [3].
        known: Known.
        fit, test: frames to fit and frames held out, increasing indices; None: the first two thirds, and the rest.
        noise: sensor ("tracks", "points", "depth" [m], "mask" [pixel], "colour" [-]) -> standard deviation; others are estimated.
        name: of the capture.
        source: what made it, such as "MuJoCo 4.0, rendered" or "RealSense D435".

    Raises:
        InputError: parts that do not fit together, with what is needed.
    """

    times: np.ndarray
    cameras: dict[str, Camera] = field(default_factory=dict)
    colour: dict[str, Sequence] = field(default_factory=dict)
    depth: dict[str, Sequence] = field(default_factory=dict)
    mask: dict[str, Sequence] = field(default_factory=dict)
    points: Sequence | None = None
    tracks: SeenTracks | None = None
    mesh: object = None
    handles: dict[str, Handle] = field(default_factory=dict)
    kind: str | None = None
    gravity: np.ndarray = field(default_factory=lambda: np.array([0.0, 0.0, -9.81]))
    known: Known = field(default_factory=Known)
    fit: np.ndarray | None = None
    test: np.ndarray | None = None
    noise: dict[str, float] = field(default_factory=dict)
    name: str = "capture"
    source: str = ""

    def __post_init__(self) -> None:
        times = validation.array("Capture.times", self.times, (None,))
        if len(times) == 0 or (np.diff(times) <= 0).any():
            raise InputError("Capture.times: at least one is needed, each later than the one before")
        object.__setattr__(self, "times", times)
        object.__setattr__(self, "gravity", validation.array("Capture.gravity", self.gravity, (3,)))
        if self.kind is not None and self.kind not in KINDS:
            raise InputError(f'Capture.kind = {self.kind!r}: must be "solid", "sheet" or "rod", or left out')
        for sensor in ("colour", "depth", "mask"):
            for camera, frames in getattr(self, sensor).items():
                if camera not in self.cameras:
                    raise InputError(f"Capture.{sensor}: there is no camera {camera!r}; there are {', '.join(self.cameras) or 'none'}")
                self._same_count(f"{sensor}[{camera!r}]", frames)
        if self.points is not None:
            self._same_count("points", self.points)
        if self.tracks is not None:
            self._same_count("tracks", self.tracks.positions)
        if not self.depth and self.points is None and self.tracks is None:
            raise InputError("Capture: one of depth, points and tracks is needed; colour alone is not enough yet")
        two_thirds = max(1, round(2 * len(times) / 3))
        fit = np.arange(two_thirds) if self.fit is None else self.fit
        test = np.setdiff1d(np.arange(len(times)), fit) if self.test is None else self.test
        for name, value in (("fit", fit), ("test", test)):
            frames = validation.array(f"Capture.{name}", value, (None,), kind="i", lower=0, upper=len(times) - 1)
            if (np.diff(frames) <= 0).any():
                raise InputError(f"Capture.{name}: frames must increase")
            object.__setattr__(self, name, frames)

    def _same_count(self, name, frames):
        if len(frames) != len(self.times):
            raise InputError(f"Capture.{name}: {len(frames)} frames for {len(self.times)} times; one for each is needed, None if missing")

    @classmethod
    def load(cls, folder: str | PathLike[str]) -> "Capture":
        """Read a capture's folder, as docs/capture.md describes it; pictures and points are read when they are asked for.

        Args:
            folder: that holds capture.json.

        Raises:
            InputError: the first errors of those that `check_capture` finds without reading pictures; asking for a frame may raise one too.

        Warns:
            UserWarning: what is odd, but can be used.
        """
        from physsim.capture.read import load_capture

        return load_capture(folder)

    def save(self, folder: str | PathLike[str]) -> Path:
        """Write the capture to a folder; an old capture there is replaced whole.

        Colours are kept to 8 bits and depth to a millimetre.

        Args:
            folder: to write.

        Returns:
            Its path.

        Raises:
            InputError: something else lies there, it cannot be written, pictures that do not fit their camera.
        """
        from physsim.capture.write import save_capture

        return save_capture(self, folder)

    @property
    def frame_count(self) -> int:
        """Number of frames."""
        return len(self.times)

    @property
    def sensors(self) -> tuple[str, ...]:
        """Kinds of data that there are, of "tracks", "points", "depth", "mask", "colour"."""
        there = {"tracks": self.tracks is not None, "points": self.points is not None}
        return tuple(s for s in SENSORS if there.get(s, bool(getattr(self, s))))

    def cloud(self, frame: int, camera: str | None = None) -> np.ndarray:
        """Points of the body in the world [m], shape [n, 3]: of depth within the mask (all cameras, or one), and of `points`.

        Where a camera has no masks at all its whole depth counts; where it has, a frame without one tells nothing of the body. Empty
        where nothing was measured.
        """
        points = None if self.points is None or camera is not None else self.points[frame]
        parts = [] if points is None else [np.asarray(points, float)]
        for name in self.depth if camera is None else [camera]:
            depth = self.depth[name][frame]
            if depth is None:
                continue
            depth = np.asarray(depth, dtype=float)
            if depth.shape != (self.cameras[name].height, self.cameras[name].width):
                raise InputError(f"depth of camera {name!r}, frame {frame}: shape {list(depth.shape)} is not the camera's")
            seen = np.isfinite(depth) & (depth > 0)
            if name in self.mask:
                mask = self.mask[name][frame]
                if mask is None:
                    continue
                seen &= mask
            rows, columns = np.nonzero(seen)
            origin, directions = self.cameras[name].rays(np.stack([columns, rows], axis=1).astype(float))
            points = origin + depth[rows, columns, None] * directions
            parts.append(points[np.isfinite(points).all(axis=1)])  # a lens may image nothing at a pixel
        return np.concatenate(parts) if parts else np.zeros((0, 3))

    def with_frames(self, frames: np.ndarray) -> "Capture":
        """The same capture with some frames only, its split kept; handles keep all their times."""
        frames = validation.array("frames", frames, (None,), kind="i", lower=0, upper=self.frame_count - 1)

        def part(stream):
            return None if stream is None else _Picked(stream, frames)

        def streams(kind):
            return {name: part(s) for name, s in getattr(self, kind).items()}

        kept = {name: np.flatnonzero(np.isin(frames, getattr(self, name))) for name in ("fit", "test")}
        tracks = self.tracks and SeenTracks(self.tracks.positions[frames], self.tracks.visible[frames], self.tracks.rest)
        parts = {kind: streams(kind) for kind in ("colour", "depth", "mask")}
        return replace(self, times=self.times[frames], points=part(self.points), tracks=tracks, **parts, **kept)


class _Picked(Sequence):
    """Some frames of a stream, still read on demand."""

    def __init__(self, stream, frames):
        self._stream, self._frames = stream, frames

    def __len__(self):
        return len(self._frames)

    def __getitem__(self, index):
        return self._stream[int(self._frames[index])]
