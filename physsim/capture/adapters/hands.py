"""Handles from points that were followed on hands or grippers."""

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import pdist, squareform

from physsim.capture.capture import Handle
from physsim.errors import InputError

MOST = 5000  # points: memory and time grow with their square
TURNING = 3  # points that a pose with a turn needs
ROUNDS = 5  # of reweighting against points that slip
SLIP = 0.005  # a point this far from its rigid place counts half [m]


def handles_of(times: np.ndarray, points: np.ndarray, gap: float) -> dict[str, Handle]:
    """A handle for each group of points that stay together.

    Points are joined (single linkage) whose distance, at its largest over the frames, is below `gap`; a group of fewer than three points
    goes to the nearest larger one, if there is one. Each handle's pose in a frame is the rigid motion from the first frame that fits its
    points best, with points that slip weighed down; its origin is their mean, its places are they.

    Args:
        times: of the frames [s], shape [f].
        points: [m], shape [f, c, 3]; NaN where one was not seen.
        gap: [m].

    Returns:
        "hand_0", "hand_1", ...; from the largest group to the smallest. Empty where there are no points.

    Raises:
        InputError: a gap not above 0; more than five thousand points; points none of which is seen in the first frame.
    """
    if not (np.isfinite(gap) and gap > 0.0):
        raise InputError(f"hand_gap = {gap}: a positive length [m] is needed")
    if points.shape[1] > MOST:
        raise InputError(f"controller points: {points.shape[1]} were given; at most {MOST} are read: thin them out")
    if points.shape[1] == 0:
        return {}
    points = points[:, np.isfinite(points[0]).all(axis=1)]
    if points.shape[1] == 0:
        raise InputError("controller points: none is finite in the first frame; begin the recording where the hands are seen")
    groups = _groups(points, gap)
    return {f"hand_{k}": _handle(times, points[:, group]) for k, group in enumerate(groups)}


def _groups(points: np.ndarray, gap: float) -> list[np.ndarray]:
    """Numbers of the points of each group, largest group first."""
    count = points.shape[1]
    if count == 1:
        return [np.array([0])]
    apart = np.zeros(count * (count - 1) // 2)
    for frame in points:
        np.fmax(apart, pdist(frame), out=apart)  # NaN where one of the two was not seen
    labels = fcluster(linkage(apart, "single"), gap, "distance")
    sizes = np.bincount(labels)
    large = np.flatnonzero(sizes >= TURNING)
    if len(large):
        apart = squareform(apart)
        for point in np.flatnonzero(sizes[labels] < TURNING):
            others = np.flatnonzero(np.isin(labels, large))
            labels[point] = labels[others[apart[point, others].argmin()]]
    found = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    return sorted(found, key=lambda group: (-len(group), group[0]))


def _handle(times: np.ndarray, points: np.ndarray) -> Handle:
    first = points[0]
    centre = first.mean(axis=0)
    local = first - centre
    places, turns, kept = [], [], []
    for frame, now in enumerate(points):
        seen = np.isfinite(now).all(axis=1)
        if not seen.any():
            continue
        turn, place = _rigid(local[seen], now[seen])
        places.append(place)
        turns.append(turn)
        kept.append(frame)
    return Handle(times[kept], np.array(places), np.array(turns), places=local)


def _rigid(local: np.ndarray, now: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(rotation, translation) that take local to now best, those that slip weighed down; without rotation for fewer than three points."""
    weights = np.ones(len(local))
    for _ in range(ROUNDS):
        share = weights / weights.sum()
        a, b = share @ local, share @ now
        turn = np.eye(3)
        if len(local) >= TURNING:
            u, _, vt = np.linalg.svd((now - b).T @ (share[:, None] * (local - a)))
            turn = u @ np.diag([1.0, 1.0, np.sign(np.linalg.det(u @ vt))]) @ vt
        place = b - turn @ a
        slip = np.linalg.norm(now - place - local @ turn.T, axis=1)
        weights = 1.0 / (1.0 + (slip / SLIP) ** 2)
    return turn, place
