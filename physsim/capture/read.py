"""Captures from folders: facts, files, tracks, handles and rest shape are read and checked at once, pictures and points when asked for."""

import os
import warnings
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path

import numpy as np

from physsim.capture import layout
from physsim.capture.capture import Capture, Handle, SeenTracks
from physsim.capture.entries import FILE
from physsim.capture.facts import Facts, parse_facts
from physsim.capture.handle_files import inside, read_handle, robot_handles
from physsim.capture.listing import Listing
from physsim.capture.problems import Problems
from physsim.capture.rest_shape import read_rest_shape
from physsim.capture.strangers import check_strangers
from physsim.capture.streams import FileFrames, VideoFrames, colour_shown, depth_shown, read_colour, read_depth, read_mask, read_points
from physsim.errors import InputError
from physsim.io.files import read_json
from physsim.io.folders import MAX_JSON
from physsim.io.npy import npz_headers, read_npz

MOST_TOLD = 8  # errors that one message lists


@dataclass
class Parts:
    """What a folder holds; of what is wrong, what can be used of it."""

    folder: Path
    facts: Facts
    colour: dict = field(default_factory=dict)
    depth: dict = field(default_factory=dict)
    mask: dict = field(default_factory=dict)
    points: FileFrames | None = None
    tracks: SeenTracks | None = None
    mesh: object = None
    mesh_file: str = ""
    handles: dict[str, Handle] = field(default_factory=dict)
    robot_handles: frozenset = frozenset()  # names of those that a robot's links make

    def sensors(self) -> tuple[str, ...]:
        """Kinds of data that there are."""
        there = {"tracks": self.tracks is not None, "points": self.points is not None}
        there |= {kind: bool(getattr(self, kind)) for kind in ("depth", "mask", "colour")}
        return tuple(kind for kind, is_there in there.items() if is_there)


def load_capture(path: str | PathLike[str]) -> Capture:
    """Read a Capture from a folder; see `Capture.load`."""
    problems = Problems()
    parts = read_parts(path, problems)
    problems.close()
    errors = problems.errors
    if errors:
        told = "; ".join(str(e).removeprefix("error: ") for e in errors[:MOST_TOLD])
        rest = f"; and {len(errors) - MOST_TOLD} more" if len(errors) > MOST_TOLD else ""
        raise InputError(f"{path}: {len(errors)} errors (physsim check tells all): {told}{rest}")
    for problem in problems:
        warnings.warn(f"{path}: {str(problem).removeprefix('warning: ')}", UserWarning, stacklevel=3)
    facts = parts.facts
    return Capture(
        times=facts.times,
        cameras=facts.cameras,
        colour=parts.colour,
        depth=parts.depth,
        mask=parts.mask,
        points=parts.points,
        tracks=parts.tracks,
        mesh=parts.mesh,
        handles=parts.handles,
        kind=facts.kind,
        gravity=facts.gravity,
        known=facts.known,
        fit=facts.fit,
        test=facts.test,
        noise=facts.noise,
        name=facts.name,
        source=facts.source,
    )


@np.errstate(all="ignore")  # numbers may be wild, and are compared so that NaN and infinity count as wrong
def read_parts(path: str | PathLike[str], problems: Problems) -> Parts | None:
    """What a folder holds, cheap checks made; pictures and points are listed but not read. None where there is nothing to read."""
    if not isinstance(path, str | os.PathLike):
        raise InputError(f"path: the name of a folder is needed, {type(path).__name__} was given")
    folder = Path(path)
    if "\0" in str(folder) or not folder.is_dir():
        problems.error("", f"{folder}: no such folder", "give the folder that holds capture.json")
        return None
    listing = Listing(folder, problems)
    marker = problems.attempt(FILE, inside, folder, FILE)
    told = None if marker is None else problems.attempt(FILE, read_json, marker, MAX_JSON)
    if told is not None and not isinstance(told, dict):
        problems.error(FILE, "holds no object", "write { ... }")
    if not isinstance(told, dict):
        return None
    parts = Parts(folder, parse_facts(told, problems))
    _streams(parts, listing, problems)
    _tracks(parts, listing, problems)
    _handles(parts, listing, problems)
    _mesh(parts, listing, problems)
    check_strangers(folder, listing, problems)
    if not (listing.names("depth") or listing.has("points") or listing.has("tracks.npz")):
        problems.error("", "holds neither depth nor points nor tracks", "give one of them; colour alone is not enough yet")
    return parts


def _streams(parts, listing, problems):
    facts = parts.facts
    if facts.frame_count is None:
        return
    for kind, head in layout.STREAMS.items():
        for camera in listing.cameras(head):
            if camera not in facts.camera_names:
                there = ", ".join(facts.camera_names) or "none"
                problems.error(f"{head}/{camera}", f"capture.json has no camera {camera!r:.64}", f"add it there; it has {there}"[:300])
                continue
            if camera in facts.sizes:
                stream = _camera_stream(parts, listing, problems, kind, f"{head}/{camera}", facts.sizes[camera])
                if stream is not None:
                    getattr(parts, kind)[camera] = stream
    if listing.has("points"):
        files = listing.frames("points", layout.SUFFIXES["points"], facts.frame_count, facts.missing.get("points", set()))
        if files is not None:
            parts.points = FileFrames(files, read_points, np.copy)


def _camera_stream(parts, listing, problems, kind, name, size):
    facts = parts.facts
    missing = facts.missing.get(name, set())
    video = f"{name}.mp4"
    if kind == "colour" and listing.has(video):
        if listing.has(name):
            problems.error(name, f"{video} is there as well", "keep one of them")
            return None
        path = problems.attempt(video, inside, parts.folder, video)
        return None if path is None else VideoFrames(path, size, facts.frame_count, missing)
    files = listing.frames(name, layout.SUFFIXES[name.partition("/")[0]], facts.frame_count, missing)
    if files is None:
        return None
    read, shown = {"colour": (read_colour, colour_shown), "depth": (read_depth, depth_shown), "mask": (read_mask, np.copy)}[kind]
    return FileFrames(files, lambda path: read(path, size), shown)


def _tracks(parts, listing, problems):
    name, count = "tracks.npz", parts.facts.frame_count
    if not listing.has(name):
        return
    path = problems.attempt(name, inside, parts.folder, name)
    limit = 30 * layout.MAX_TRACK_VALUES  # bytes: three numbers and a flag of each, and two headers
    headers = None if path is None else problems.attempt(name, npz_headers, path, limit)
    if headers is None:
        return
    for key in headers:
        if key not in ("xyz", "visible", "rest"):
            told = f"unknown array {key!r:.80}, it is not read"
            problems.warning(name, told, "arrays are xyz, visible and rest", None, (name, "of arrays"))
    if "xyz" not in headers:
        problems.error(
            name, f"holds no array xyz (it has {', '.join(headers)[:200] or 'none'})", "write numpy.savez(file, xyz=..., visible=...)"
        )
        return
    shape, kind = headers["xyz"].shape, headers["xyz"].dtype.kind
    if len(shape) != 3 or shape[2] != 3 or kind not in "fiu":
        problems.error(name, f"xyz has shape {list(shape)}", "it must be [frames, points, 3], numbers")
        return
    if shape[1] > layout.MAX_TRACKS or shape[0] * shape[1] > layout.MAX_TRACK_VALUES:
        problems.error(name, f"xyz has shape {list(shape)}", f"at most {layout.MAX_TRACK_VALUES} positions are read: thin the points out")
        return
    for key, wanted, kinds in (("visible", shape[:2], "bui"), ("rest", shape[1:], "fiu")):
        header = headers.get(key)
        if header is not None and (header.shape != wanted or header.dtype.kind not in kinds):
            problems.error(name, f"{key} has shape {list(header.shape)} of {header.dtype}", f"it must have shape {list(wanted)}")
            return
    if count is not None and shape[0] != count:
        problems.error(name, f"xyz has {shape[0]} frames, there are {count} times", "give a row for each time, NaN where nothing was seen")
        return
    if shape[1] == 0:
        problems.error(name, "xyz follows no point", "leave the file out")
        return
    arrays = problems.attempt(name, read_npz, path, None, limit)
    if arrays is not None:
        parts.tracks = _checked_tracks(name, arrays["xyz"].astype(float, copy=False), arrays.get("visible"), arrays.get("rest"), problems)


def _checked_tracks(name, xyz, visible, rest, problems):
    infinite = np.isinf(xyz).any(axis=2)
    hidden = np.isnan(xyz).any(axis=2)
    said = ~(hidden | infinite) if visible is None else visible.astype(bool)
    before = len(problems.errors)
    for what, wrong, remedy in (
        ("infinite", infinite, "write NaN where a point was not seen"),
        ("NaN though visible", hidden & said & ~infinite, "say visible = False there"),
    ):
        for frame in np.flatnonzero(wrong.any(axis=1)):
            points = np.flatnonzero(wrong[frame])
            told = f"xyz: {len(points)} points are {what}, the first is number {points[0]}"
            problems.error(name, told, remedy, int(frame), (name, f"of {what} values"))
    if not (said & ~hidden & ~infinite).any():
        problems.error(name, "no point is ever seen", "leave the file out, or find out why all is NaN")
    if len(problems.errors) > before:
        return None
    never = np.flatnonzero(~said.any(axis=0))
    if len(never):
        problems.warning(name, f"{len(never)} points are never seen, the first is number {never[0]}", "leave them out")
    if rest is not None and not np.isfinite(rest).all():
        problems.error(name, "rest holds NaN or infinite values", "give a place for every point, or leave the array out")
        return None
    return SeenTracks(xyz, said, rest)


def _handles(parts, listing, problems):
    holds = parts.facts.holds
    names = listing.handles()
    for name in names:
        file = f"handles/{name}.csv"
        path = problems.attempt(file, inside, parts.folder, file)
        handle = None if path is None else read_handle(path, file, holds.get(name, {}), problems)
        if handle is not None:
            parts.handles[name] = handle
    if parts.facts.robot is not None:
        links = parts.facts.robot.get("links")
        both = sorted(set(links if isinstance(links, dict) else ()) & set(names))
        if both:
            problems.error(FILE, f"robot.links.{both[0]} stands in handles/ as well", "keep one of them")
        found = robot_handles(parts.folder, parts.facts.robot, holds, problems)
        parts.handles |= found
        parts.robot_handles = frozenset(found)
        names = [*names, *(links if isinstance(links, dict) else ())]
    for name in holds:
        if name not in names:
            problems.warning(FILE, f"handles.{name}: there is no handles/{name}.csv", "write it, or leave the entry out")


def _mesh(parts, listing, problems):
    told = parts.facts.mesh
    file = None if told is None else told.get("file")
    if file is None:
        found = [name for name in (f"mesh{suffix}" for suffix in layout.MESH_SUFFIXES) if listing.has(name)]
        if len(found) > 1:
            problems.error(
                found[0], f"{', '.join(found[1:])} are there as well", "keep one of them, or name one as mesh.file in capture.json"
            )
            return
        file = found[0] if found else None
    if file is None:
        if told is not None:
            problems.error(FILE, "mesh is described, but there is no mesh.* file", "write one, or leave the entry out")
        return
    path = problems.attempt(str(file)[:200], inside, parts.folder, file)
    if path is not None:
        parts.mesh_file = file
        parts.mesh = problems.attempt(file, read_rest_shape, path, told or {}, parts.facts.kind)
