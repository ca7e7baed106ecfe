"""What a handle is likely to hold by its place alone: a flat end of a body, the edge or the corner of a sheet, or what is nearest."""

from collections.abc import Sequence

import numpy as np

from physsim.twin.body import SoftBody
from physsim.twin.rigid import robust_pose

LEAST = {"solid": 4, "sheet": 3, "rod": 2}  # points that a hold of a pose needs: fewer let the body turn about them
LARGEST = 1 / 3  # share of the body's points that a handle may hold unless it is told
BESIDE = 20  # points of the body next to a handle
LAYER = 0.35  # cells within which points lie in one layer
CENTRED = 0.15  # share of an end's width by which a handle may miss its middle
CORNER = 2.0  # cells from both sides within which a handle sits at a sheet's corner


def at_rest(body: SoftBody, places: np.ndarray, spot: np.ndarray) -> np.ndarray:
    """Where places [m], shape [k, 3], lie on the body at rest, carried along with the part of it that is next to a spot [m], shape [3]."""
    beside = np.argsort(np.linalg.norm(body.pose - spot, axis=1), kind="stable")[:BESIDE]
    turn, shift = robust_pose(body.pose[beside], body.points[beside])
    return places @ turn.T + shift


def nearby(body: SoftBody, spot: np.ndarray) -> np.ndarray:
    """Numbers of the points that a handle is likely to hold, increasing: at most a third, unless a rigid hold needs more.

    Args:
        body: SoftBody.
        spot: where the handle is, carried to the body at rest [m], shape [3].
    """
    found = None
    if body.kind == "sheet":
        found = _corner(body, spot)
    if found is None and body.kind != "rod":
        found = _end(body, spot)
    return nearest_spread(body, np.linalg.norm(body.points - spot, axis=1)) if found is None else found


def nearest_spread(body: SoftBody, distance: np.ndarray) -> np.ndarray:
    """Numbers of those points, by their distance [m], shape [n], that lie half a cell further than the nearest, or as many as spread."""
    order = np.argsort(distance, kind="stable")
    within = int((distance <= distance[order[0]] + 0.5 * body.cell_size).sum())
    for count in range(max(within, LEAST[body.kind]), len(order) + 1):
        if spread(body, order[:count]):
            break
    return np.sort(order[:count])


def spread(body: SoftBody, points: Sequence[int]) -> bool:
    """Whether points held fix the body's pose: enough of them, and not in one line where the body is no rod."""
    if len(points) < LEAST[body.kind]:
        return False
    if body.kind == "rod":
        return bool((np.diff(np.sort(points)) == 1).any())
    places = body.points[np.asarray(points)]
    sizes = np.linalg.svd(places - places.mean(axis=0), compute_uv=False)
    return bool(sizes[1] > 0.1 * sizes[0])


def _sides(body, spot):
    """(depths of the points below an end [m], depth of the spot [m]) for both ends along each axis that the body extends along."""
    points, size = body.points, body.cell_size
    own = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)[2]
    for axes in (np.eye(3), own):  # a square's own axes are any: those of its coordinates come first
        found = []
        for axis in (*axes, *-axes):
            along = points @ axis
            if np.ptp(along) > size:
                found.append((along.max() - along, float(along.max() - spot @ axis)))
        yield found


def _end(body, spot):
    """The layers at an end of the body in whose middle the handle sits: as deep again as it is. None where it sits in no such middle."""
    best, size = None, body.cell_size
    for sides in _sides(body, spot):
        for depth, own in sides:
            layer = np.flatnonzero(depth < LAYER * size)
            if len(layer) < LEAST[body.kind]:
                continue
            width = float(np.ptp(body.points[layer], axis=0).max())
            arm = body.points[layer].mean(axis=0) - spot
            off = float(np.sqrt(max(arm @ arm - own**2, 0.0)))
            if off > LAYER * size + CENTRED * width or abs(own) > size + CENTRED * width:
                continue
            # what a handle holds lies about its middle: where that is below the surface, the hold is twice as deep
            for deep in (2.0 * own if own > LAYER * size else 0.0, 0.0):
                held = np.flatnonzero(depth < deep + LAYER * size)
                if len(held) <= LARGEST * len(depth):
                    away = float(np.linalg.norm(arm))
                    best = (away, held) if best is None or away < best[0] - 1e-9 else best
                    break
    return None if best is None else best[1]


def _corner(body, spot):
    """The patch at a sheet's corner next to which the handle sits: as far again as it is from both sides, a cell at least."""
    size = body.cell_size
    for sides in _sides(body, spot):
        near = [(depth, own) for depth, own in sides if own < CORNER * size]
        if len(near) != 2:
            continue
        reach = [np.clip(2.0 * own, size, 2.0 * size) + LAYER * size for _, own in near]
        held = np.flatnonzero((near[0][0] < reach[0]) & (near[1][0] < reach[1]))
        if spread(body, held) and len(held) <= LARGEST * len(near[0][0]):
            return held
    return None
