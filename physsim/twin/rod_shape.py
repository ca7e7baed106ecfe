"""A rod from what was seen: a line through points or markers, as long as they say, straight at rest."""

import numpy as np
from scipy.interpolate import make_smoothing_spline
from scipy.sparse import csgraph
from scipy.spatial.distance import pdist, squareform

from physsim.capture.capture import Capture
from physsim.errors import InputError
from physsim.physics.rods import Curve, smooth
from physsim.twin.clouds import graph_distances, inliers, sampled

MARKERS = 60  # more tracks than these are a cloud
LINED = 1500  # points of a cloud that a line is laid through
BINS = 30  # pieces of a line through a cloud
FRAMES = 9  # in which the length is measured
EDGES = 40  # where no cell size is given


def rod_lines(capture: Capture, frames: np.ndarray) -> list[np.ndarray]:
    """Lines through what was seen in frames: each [m], shape [k, 3], all running the same way, densely and evenly spaced.

    Raises:
        InputError: too few points in the first of the frames.
    """
    markers = capture.tracks is not None and capture.tracks.positions.shape[1] <= MARKERS
    order = marker_order(capture.tracks.positions, capture.tracks.visible) if markers else None
    lines = []
    for frame in frames:
        if markers:
            places = capture.tracks.positions[frame][order]
            places = places[np.isfinite(places).all(axis=1)]
            line = through_markers(places) if len(places) >= 3 else None
        else:
            line = through_cloud(_axis_cloud(capture, int(frame)))
        if line is not None and lines and lines[0] is not None:
            same, other = (np.linalg.norm(line[[0, -1]] - lines[-1][ends]) for ends in ([0, -1], [-1, 0]))
            line = line if same <= other else line[::-1]
        if line is None and not lines:
            raise InputError(
                f"rod: too little is seen in frame {int(frame)} to lay a line through; begin the fitted frames where it is seen"
            )
        if line is not None:
            lines.append(line)
    return lines


def marker_order(positions: np.ndarray, visible: np.ndarray) -> np.ndarray:
    """Order of markers along a rod, from the shortest distance that any two keep: shape [p] of those ever seen.

    Their own order where it is hardly longer than the shortest tree that joins them all.
    """
    seen = np.flatnonzero(visible.sum(axis=0) >= max(2, 0.2 * visible.sum(axis=0).max()))
    distance = np.nanmedian(np.stack([squareform(pdist(frame)) for frame in positions[:: _stride(len(positions))][:, seen]]), axis=0)
    distance = np.where(np.isfinite(distance), distance, np.nanmax(distance))
    tree = csgraph.minimum_spanning_tree(distance + 1e-12)
    own = distance[np.arange(len(seen) - 1), np.arange(1, len(seen))].sum()
    if own <= 1.05 * tree.sum():
        return seen
    joined = tree + tree.T
    first = int(csgraph.dijkstra(joined, indices=0).argmax())
    return seen[np.argsort(csgraph.dijkstra(joined, indices=first), kind="stable")]


def _stride(count: int) -> int:
    return max(1, count // 20)


def through_markers(places: np.ndarray) -> np.ndarray:
    """A smooth line through markers in order."""
    at, spline = smooth(places)
    return evenly(spline(np.linspace(0.0, at[-1], 20 * len(places))), 200)


def through_cloud(cloud: np.ndarray) -> np.ndarray | None:
    """A smooth line along a cloud; None of too few points.

    Points are put in order by their distance along the cloud from its end, and laid onto the line again twice.
    """
    if len(cloud) < 10:
        return None
    few = sampled(cloud, LINED)
    begin = int(graph_distances(few, np.array([0]))[0].argmax())
    arc = graph_distances(few, np.array([begin]))[0]
    line = None
    for _ in range(3):
        if line is not None:
            arc = _along(line, few)
        line = _smoothed(arc, few)
    return line


def _smoothed(arc, points):
    order = np.argsort(arc, kind="stable")
    arc, points = arc[order], points[order]
    cells = max(4, min(BINS, len(points) // 4))
    number = np.minimum((cells * (arc - arc[0]) / (arc[-1] - arc[0])).astype(int), cells - 1)
    count = np.bincount(number, minlength=cells)
    full = count > 0
    at = np.bincount(number, arc, cells)[full] / count[full]
    middles = np.stack([np.bincount(number, p, cells)[full] / count[full] for p in points.T], axis=1)
    if len(at) < 5:
        return evenly(middles, 200)
    fine = np.linspace(arc[0], arc[-1], 400)
    weights = count[full] / count.mean()
    return evenly(np.stack([make_smoothing_spline(at, m, weights)(fine) for m in middles.T], axis=1), 200)


def _along(line, points):
    """Arc length of the point of a line nearest to each point, running on beyond the ends."""
    edges = np.diff(line, axis=0)
    sizes = np.linalg.norm(edges, axis=1)
    run = np.concatenate([[0.0], np.cumsum(sizes)])
    arm = points[:, None] - line[None, :-1]
    share = (arm * edges).sum(-1) / sizes**2
    low = np.where(np.arange(len(sizes)) == 0, -np.inf, 0.0)
    high = np.where(np.arange(len(sizes)) == len(sizes) - 1, np.inf, 1.0)
    share = np.clip(share, low, high)
    away = np.linalg.norm(arm - share[..., None] * edges, axis=-1)
    best = away.argmin(axis=1)
    rows = np.arange(len(points))
    return run[best] + share[rows, best] * sizes[best]


def evenly(line: np.ndarray, count: int) -> np.ndarray:
    """`count` points at equal distances along a line, its ends included."""
    run = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    at = np.linspace(0.0, run[-1], count)
    return np.stack([np.interp(at, run, c) for c in line.T], axis=1)


def length_of(line: np.ndarray) -> float:
    """Length of a line [m]."""
    return float(np.linalg.norm(np.diff(line, axis=0), axis=1).sum())


def _axis_cloud(capture: Capture, frame: int) -> np.ndarray:
    """Points seen, moved from the skin that a camera sees to the axis behind it.

    Evenly over the width seen, the skin's mean distance before the axis is pi / 4 radii.
    """
    behind = 0.0 if capture.known.thickness is None else np.pi / 8 * capture.known.thickness
    whole = capture.cloud(frame)
    parts = []
    for camera in capture.depth:
        own = capture.cloud(frame, camera)
        rays = own - capture.cameras[camera].position
        parts.append(own + behind * rays / np.linalg.norm(rays, axis=1)[:, None])
    count = sum(len(p) for p in parts)
    parts.append(whole[: len(whole) - count])  # of `points`, which come first
    if capture.tracks is not None:
        parts.append(capture.tracks.positions[frame][capture.tracks.visible[frame]])
    return inliers(np.concatenate(parts))


def rod_shape(capture: Capture, frame: int, cell_size: float | None) -> tuple[Curve, np.ndarray, list[str]]:
    """(Curve straight at rest, its pose in the frame [m], shape [n, 3], remarks)."""
    fit = capture.fit[capture.fit >= frame]
    others = fit[np.unique(np.linspace(0, len(fit) - 1, FRAMES).astype(int))] if len(fit) else np.array([frame])
    lines = rod_lines(capture, np.unique(np.concatenate([[frame], others])))
    length = float(np.median([length_of(line) for line in lines]))
    remarks = ["the rod is taken to be straight and untwisted at rest"]
    if capture.known.length is not None:
        if abs(length / capture.known.length - 1) > 0.05:
            text = f"what is seen of the rod is {length:.4g} m long, {capture.known.length:.4g} m are known"
            remarks.append(f"{text}: the known length is taken, evenly over what is seen")
        length = capture.known.length
    count = EDGES if cell_size is None else max(4, round(length / cell_size))
    return Curve.straight((0.0, 0.0, 0.0), (length, 0.0, 0.0), count), evenly(lines[0], count + 1), remarks
