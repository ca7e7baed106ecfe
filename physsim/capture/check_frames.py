"""Every picture and cloud of a capture is read once: what cannot be, what is empty, what is in other units; and what was seen is kept."""

from dataclasses import dataclass, field

import numpy as np

from physsim.capture import layout
from physsim.capture.problems import Problems
from physsim.capture.read import Parts
from physsim.errors import InputError

NEAREST, FURTHEST = 0.1, 10.0  # [m], a median of depth outside is taken for other units
_UNITS = {1000.0: "metres", 10.0: "centimetres", 0.2: "units of 0.2 mm", 0.1: "units of 0.1 mm"}  # factor -> what was written
SAMPLE, SAMPLES = 1500, 10_000_000  # points that are kept of one frame and camera, and in all
INSIDE = 2  # pixels from the border within which a body may be leaving the picture


@dataclass
class Seen:
    """What the frames showed.

    Args:
        clouds: of each frame, points of the body in the world [m], at most some thousand.
        medians: camera -> median depth of each frame [m], NaN where there is none; of the body where there is a mask.
        areas: camera -> share of the picture that the mask covers in each frame, NaN where there is none.
        masked: whether clouds hold the body alone.
        sample: points that are kept of one frame and camera.
    """

    clouds: list
    medians: dict = field(default_factory=dict)
    areas: dict = field(default_factory=dict)
    masked: bool = True
    sample: int = SAMPLE


def read_frames(parts: Parts, problems: Problems) -> Seen:
    """Read every frame, note what is wrong with it, and keep a sample of what was seen."""
    count = parts.facts.frame_count or 0
    sources = len(parts.depth) + 2
    seen = Seen([[] for _ in range(count)], sample=max(10, min(SAMPLE, SAMPLES // (sources * max(count, 1)))))
    for camera, stream in parts.colour.items():
        if hasattr(stream, "path"):
            _video(f"rgb/{camera}.mp4", stream, problems)
        else:
            _colours(f"rgb/{camera}", stream, parts, problems)
    for camera, stream in parts.mask.items():
        _masks(camera, stream, parts, seen, problems)
    for camera, stream in parts.depth.items():
        _depths(camera, stream, parts, seen, problems)
    if parts.points is not None:
        _points(parts.points, parts, seen, problems)
    if parts.tracks is not None:
        for frame, (positions, visible) in enumerate(zip(parts.tracks.positions, parts.tracks.visible)):
            seen.clouds[frame].append(positions[visible][:: max(1, int(visible.sum()) // seen.sample)])
    seen.clouds = [np.concatenate(c) if c else np.zeros((0, 3)) for c in seen.clouds]
    return seen


def _each(stream, parts, problems):
    """(frame, file, array) of the frames that can be read."""
    for frame, path in enumerate(stream.files):
        if path is None:
            continue
        file = path.relative_to(parts.folder).as_posix()
        value = problems.attempt(file, stream.__getitem__, frame, frame=frame, kind=(file.rpartition("/")[0], "of unreadable frames"))
        if value is not None:
            yield frame, file, value


def _video(file, stream, problems):
    """A video's frames are decoded in order until one cannot be."""
    try:
        for frame in range(len(stream)):
            stream[frame]
        if stream.excess():
            problems.warning(file, f"goes on behind the {len(stream)} times", "add their times, or cut the video")
    except InputError as error:
        problems.refused(file, error, frame)
    finally:
        stream.close()


def _colours(name, stream, parts, problems):
    brightest = [float(picture.max()) for _, _, picture in _each(stream, parts, problems)]
    if brightest and max(brightest) < 0.02:
        problems.warning(name, "all pictures are black", "were floats from 0 to 1 written as 0 to 255?")


def _masks(camera, stream, parts, seen, problems):
    name = f"mask/{camera}"
    count = len(stream)
    seen.areas[camera] = np.full(count, np.nan)
    borders = np.zeros(count, bool)
    for frame, _, mask in _each(stream, parts, problems):
        seen.areas[camera][frame] = mask.mean()
        frame_of = np.ones_like(mask)
        frame_of[INSIDE:-INSIDE, INSIDE:-INSIDE] = False
        borders[frame] = (mask & frame_of).any()
    areas = seen.areas[camera]
    full, empty = np.flatnonzero(areas > 0), np.flatnonzero(areas == 0)
    if len(empty) and not len(full):
        problems.error(name, "every mask is empty", "paint the body white (255), or leave the masks out")
        return
    for frame in empty:
        file = f"{name}/{layout.frame_name(int(frame), '.png')}"
        around = [full[full < frame][-1:], full[full > frame][:1]]
        near = np.concatenate(around).astype(int)
        if borders[near].any():
            problems.warning(file, "the mask is empty", "right if the body had left the picture", int(frame), (name, "of empty masks"))
        else:
            what = f"the mask is empty, though the body was well inside the picture in frame {near[0]}"
            remedy = f'paint it anew, or list {frame} under "missing" for "mask/{camera}" and "depth/{camera}"'
            problems.error(file, what, remedy, int(frame), (name, "of empty masks"))
    if np.nanmedian(areas) > 0.6:
        what = f"the masks cover {100 * np.nanmedian(areas):.0f} % of the picture"
        problems.warning(name, what, "the body must be white, the rest black: are they the wrong way round?")


def readable(stream, frame: int) -> np.ndarray | None:
    """A frame of a stream, or None where it is missing or cannot be read, which is told elsewhere."""
    try:
        return stream[frame]
    except InputError:
        return None


def _depths(camera, stream, parts, seen, problems):
    name, masks = f"depth/{camera}", parts.mask.get(camera)
    medians = seen.medians[camera] = np.full(len(stream), np.nan)
    rng = np.random.default_rng(0)
    covered = []
    for frame, file, depth in _each(stream, parts, problems):
        measured = np.isfinite(depth)
        if not measured.any():
            problems.warning(file, "no depth was measured", "right if nothing was in reach", frame, (name, "of empty frames"))
            continue
        mask = None if masks is None else readable(masks, frame)
        if mask is not None and mask.any():
            covered.append((measured & mask).sum() / mask.sum())
            measured = measured & mask if covered[-1] > 0 else measured
        else:
            seen.masked &= masks is not None
        medians[frame] = np.median(depth[measured])
        if camera in parts.facts.cameras and (mask is not None or masks is None):
            seen.clouds[frame].append(_sampled(parts.facts.cameras[camera], depth, measured, seen.sample, rng))
    if covered and np.median(covered) < 0.05:
        what = f"depth is measured on {100 * np.median(covered):.1f} % of the mask's pixels"
        problems.warning(name, what, "do depth and mask belong to the same camera and frame?")
    if masks is None and np.isfinite(medians).any():
        remedy = f"right if it shows the body alone; else write mask/{camera}"
        problems.warning(name, "the camera has no masks: what is the body must be guessed from what its depth shows", remedy)
    _tell_units(name, medians, problems)


def _sampled(camera, depth, measured, most, rng):
    """Some of the points of a depth picture in the world [m], shape [n, 3]."""
    rows, columns = np.nonzero(measured)
    chosen = rng.permutation(len(rows))[:most]
    rows, columns = rows[chosen], columns[chosen]
    origin, directions = camera.rays(np.stack([columns, rows], axis=1).astype(float))
    points = origin + depth[rows, columns, None] * directions
    return points[np.isfinite(points).all(axis=1)]


def _tell_units(name, medians, problems):
    if not np.isfinite(medians).any():
        return
    median = float(np.nanmedian(medians))
    if NEAREST <= median <= FURTHEST:
        return
    likely = [factor for factor in _UNITS if NEAREST <= median * factor <= FURTHEST]
    factor = min(likely, key=lambda f: abs(np.log(median * f)), default=None)
    what = f"half of the depth is nearer than {median:.4g} m, outside {NEAREST:g} to {FURTHEST:g} m"
    if factor is None:
        problems.error(name, what, "depth is written in whole millimetres: check the units")
    else:
        remedy = f"depth is written in whole millimetres: multiply by {factor:g} if these are {_UNITS[factor]}"
        problems.error(name, what, remedy)


def _points(stream, parts, seen, problems):
    name, counts = "points", []
    rng = np.random.default_rng(0)
    for frame, file, points in _each(stream, parts, problems):
        counts.append(len(points))
        if len(points) == 0:
            problems.warning(file, "holds no point", "right if nothing was seen", frame, (name, "of empty frames"))
        seen.clouds[frame].append(points[rng.permutation(len(points))[: seen.sample]])
    if counts and not any(counts):
        problems.error(name, "no frame holds a point", "write points of the body, or leave them out")
