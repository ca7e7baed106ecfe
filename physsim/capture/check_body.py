"""Do tracks, handles, rest shape and what was seen belong to one thing of one size?"""

import numpy as np

from physsim.capture.check_frames import Seen
from physsim.capture.entries import FILE
from physsim.capture.problems import Problems
from physsim.capture.read import Parts
from physsim.physics.rods import Curve
from physsim.physics.sheets import TriMesh

FAR, LEAVES, NEVER = 1.0, 2.0, 3.0  # sizes of the body from it: far; gone, once it was near; not of this world, if it never was
WILD = 20.0  # spreads of the tracks from their middle beyond which one lies far outside
LET_GO = 0.001  # [m] that an opening grows by when it lets go
FRAMES = 40  # that are looked at for a handle's distance
DENSE, SPARSE = 8, 10.0  # points a frame that show how large a body is; factor by which a body may be larger than fewer show
HUGE = 20.0  # [m] that a body is likely to be millimetres from
SLOW = 4.0  # seconds between frames from which on they are likely to be milliseconds
LONGER = 100.0  # times the frames' span that a handle's log may last


def body_size(seen: Seen) -> float | None:
    """Diagonal of the box around what was seen of the body [m]: the median of the frames, each without its outermost points."""
    boxes = [np.linalg.norm(np.ptp(np.percentile(c, (2, 98), axis=0), axis=0)) for c in seen.clouds if len(c) >= 3]
    size = float(np.median(boxes)) if boxes else 0.0
    return size if size > 0.0 else None


def check_body(parts: Parts, seen: Seen, problems: Problems) -> None:
    """Note what does not fit the body that was seen."""
    size = body_size(seen)
    if parts.tracks is not None:
        _wild_tracks(parts.tracks, problems)
    if parts.facts.times is not None and len(parts.facts.times) > 1:
        _clock(parts.facts.times, problems)
    if parts.mesh is not None and parts.facts.kind is not None:
        _kinds(parts, problems)
    if size is not None and seen.masked and size > HUGE:
        problems.warning(FILE, f"what is seen of the body measures {size:.3g} m", "is all of it in millimetres? give metres")
    for name, handle in parts.handles.items():
        file = FILE if name in parts.robot_handles else f"handles/{name}.csv"
        if parts.facts.times is not None:
            if len(handle.times) > 1:  # one pose alone is a clamp that stays
                _handle_times(file, handle, parts.facts.times, problems)
            if size is not None:
                _handle_distance(file, handle, parts, seen, size, problems)
    if size is not None and seen.masked:
        _sizes(parts, seen, size, problems)


def _kinds(parts, problems):
    own = "sheet" if isinstance(parts.mesh, TriMesh) else "rod" if isinstance(parts.mesh, Curve) else "solid"
    if own != parts.facts.kind:
        what = f"it is the shape of a {own}, and capture.json says that the body is a {parts.facts.kind}"
        problems.warning(parts.mesh_file, what, "correct one of them: the mesh counts")


def _sparse(seen):
    """Whether so few points were seen that the body may be much larger than they are apart."""
    counts = [len(c) for c in seen.clouds if len(c) >= 3]
    return bool(counts) and np.median(counts) < DENSE


def _clock(times, problems):
    apart = float(np.median(np.diff(times)))
    if apart >= SLOW:
        problems.warning(
            FILE, f"times: the frames are {apart:.3g} s apart", "are they in milliseconds? give seconds; right if it was filmed so slowly"
        )


def _wild_tracks(tracks, problems):
    """Points far outside the others of their frame, as a mistaken track or another unit leaves them."""
    wild = np.zeros(tracks.visible.shape, bool)
    for frame, (positions, visible) in enumerate(zip(tracks.positions, tracks.visible)):
        if visible.sum() >= 5:
            away = np.linalg.norm(positions - np.median(positions[visible], axis=0), axis=1)
            wild[frame] = visible & (away > WILD * np.median(away[visible]))
    for frame in np.flatnonzero(wild.any(axis=1)):
        points = np.flatnonzero(wild[frame])
        what = f"xyz: {len(points)} points lie far outside the others, the first is number {points[0]}"
        problems.warning("tracks.npz", what, "say visible = False there if they are mistaken", int(frame), ("tracks.npz", "of far points"))


def _handle_times(file, handle, times, problems):
    first, last = handle.times[[0, -1]]
    if last < times[0] or first > times[-1]:
        what = f"its times, {first:g} to {last:g} s, miss the frames', {times[0]:g} to {times[-1]:g} s"
        problems.error(file, what, "give both by the same clock")
        return
    if last - first > LONGER * (times[-1] - times[0]) > 0.0:
        what = f"its times span {last - first:.4g} s, the frames' {times[-1] - times[0]:.3g} s"
        problems.warning(file, what, "are they in milliseconds? give seconds; right if the log is so much longer")
    slack = 1.5 * (np.median(np.diff(times)) if len(times) > 1 else 0.0)
    if first > times[0] + slack or last < times[-1] - slack:
        what = f"its times, {first:g} to {last:g} s, do not cover the frames', {times[0]:g} to {times[-1]:g} s"
        problems.warning(file, what, "it is held still outside them; record it longer if it moved")


def _handle_distance(file, handle, parts, seen, size, problems):
    """A handle that holds the body cannot be far from all that is seen of it, unless it opened."""
    times = parts.facts.times
    frames = [f for f in range(len(times)) if len(seen.clouds[f])]
    if not frames:
        return
    frames = np.array(frames)[np.unique(np.linspace(0, len(frames) - 1, FRAMES).round().astype(int))]
    away = np.array([handle.distances(times[f], seen.clouds[f]).min() for f in frames])
    shown = SPARSE * size if _sparse(seen) else size
    reach = max(shown, _mesh_size(parts), parts.facts.known.length or 0.0) + (handle.radius or 0.0)
    far = ~(away <= FAR * reach)
    beyond = ~(away <= (NEVER if far.all() else LEAVES) * reach)
    if handle.opening is not None and not far.all():
        wide = np.interp(times[frames], handle.times, handle.opening)
        beyond &= wide <= wide[int(np.argmin(away))] + max(0.1 * np.ptp(wide), LET_GO)
    if not far.any():
        return
    worst = int(np.argmax(np.where(beyond, away, -1.0) if beyond.any() else away))
    what = f"the handle is {away[worst]:.3g} m from all that is seen of the body, whose size is {size:.3g} m"
    if not beyond.any():
        problems.warning(file, what, "right if it had let go or holds a part that is hidden", int(frames[worst]))
    elif far.all():
        problems.error(file, f"{what}, and never near", "give metres in the cameras' world", int(frames[worst]))
    else:
        first = int(frames[np.argmax(beyond)])
        problems.error(file, f"the handle leaves the body: {what}", "if it let go, give its opening, which tells when", first)


def _mesh_size(parts):
    """Diagonal of the box around the rest shape [m]; 0 where there is none."""
    if parts.mesh is None:
        return 0.0
    points = parts.mesh.line if hasattr(parts.mesh, "line") else parts.mesh.points
    return float(np.linalg.norm(np.ptp(points, axis=0)))


def _sizes(parts, seen, size, problems):
    """A rest shape or a known length in other units than what was seen."""
    told = []
    bends = parts.facts.kind in ("sheet", "rod") or hasattr(parts.mesh, "line")  # and lies folded or coiled
    usual = (10.0 if bends else 4.0) * (SPARSE if _sparse(seen) else 1.0)
    if parts.mesh is not None:
        told.append((parts.mesh_file, "the rest shape", _mesh_size(parts)))
    if parts.facts.known.length is not None:
        told.append((FILE, "known.length", parts.facts.known.length))
    for file, what, length in told:
        factor = length / size
        if not 1 / usual < factor < usual:
            remedy = "is it in millimetres? give metres" if 200 < factor < 5000 else "give both in metres"
            note = problems.warning if 1 / 50 < factor < max(50, 2 * usual) else problems.error
            note(file, f"{what} measures {length:.3g} m, what is seen {size:.3g} m", remedy)
