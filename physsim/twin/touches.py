"""When handles hold, and where they are said to touch a body: places that are points of it."""

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from physsim.appearance.nearest import nearest_element
from physsim.capture.capture import Capture, Handle

TOLD = 5e-4  # how well places are known that are said to be touched [m]
OPENED = 0.25  # share of the span of openings by which a handle has opened when it lets go
NEXT = 5  # places next to a place that may span a face with it
APART = 2.5  # spacings beyond which two places span nothing between them


@dataclass(frozen=True, eq=False)
class Touch:
    """Where a handle touches a body at one time.

    Args:
        places: in the world [m], shape [h, 3].
        reach: what of the body lies within this distance of a place is held [m].
    """

    places: np.ndarray
    reach: float

    def within(self, points: np.ndarray) -> np.ndarray:
        """Numbers of those of points [n, 3] that are held, increasing."""
        return np.flatnonzero(cKDTree(self.places).query(points)[0] <= self.reach)

    def onto(self, points: np.ndarray) -> np.ndarray:
        """The nearest points [n, 3] of what the places span: faces and lines between neighbours."""
        away, number = cKDTree(self.places).query(points)
        nearest = self.places[number]
        for corners in self._spans():
            if len(corners):
                element, weights, beside = nearest_element(points, corners)
                better = beside < away
                nearest[better] = np.einsum("pk,pkc->pc", weights, corners[element])[better]
                away = np.minimum(away, beside)
        return nearest

    def aims(self, held: np.ndarray) -> np.ndarray:
        """Where held points [n, 3] lie on the places: in the middle along axes along which both are about as long."""
        middle = self.places.mean(axis=0)
        axes = np.linalg.svd(self.places - middle, full_matrices=False)[2]
        low, high = ((self.places @ axes.T).min(axis=0), (self.places @ axes.T).max(axis=0))
        own_low, own_high = ((held @ axes.T).min(axis=0), (held @ axes.T).max(axis=0))
        alike = np.abs((high - low) - (own_high - own_low)) < 2.5 * self.reach
        shift = np.where(alike, 0.5 * (low + high - own_low - own_high), 0.0) @ axes
        return self.onto(held + shift)

    def _spans(self):
        """Lines [l, 2, 3] and triangles [t, 3, 3] between places that lie next to each other."""
        count = len(self.places)
        if count < 2:
            return []
        away, number = cKDTree(self.places).query(self.places, min(NEXT, count))
        spacing = APART * float(np.median(away[:, 1]))
        first, second = np.triu_indices(number.shape[1], 1)
        corners = self.places[np.stack([number[:, first], number[:, second]], axis=-1)]
        triples = np.concatenate([np.broadcast_to(self.places[:, None, None], (*corners.shape[:2], 1, 3)), corners], axis=2)
        triples = triples[:, first > 0].reshape(-1, 3, 3)
        sides = np.linalg.norm(triples - np.roll(triples, 1, axis=1), axis=2)
        area = np.linalg.norm(np.cross(triples[:, 1] - triples[:, 0], triples[:, 2] - triples[:, 0]), axis=1)
        lines = corners[:, first == 0].reshape(-1, 2, 3)
        length = np.linalg.norm(lines[:, 1] - lines[:, 0], axis=1)
        flat = area > 0.05 * sides.max(axis=1) ** 2
        return lines[(length <= spacing) & (length > 0.0)], triples[flat & (sides.max(axis=1) <= spacing)]


def closed_times(handle: Handle, begin: float) -> tuple[float, float]:
    """(from, until) when a handle holds [s], about the time at which the motion begins.

    A handle without openings always holds. Else it holds while it is hardly wider open than when it held: at `begin`, or, where it was
    wide open then, when it first had closed. It takes hold where it has closed and lets go where it opens.
    """
    if handle.opening is None:
        return -np.inf, np.inf
    opening, times = handle.opening, handle.times
    span = float(np.ptp(opening))
    if span < 1e-4:
        return -np.inf, np.inf
    at_begin = float(np.interp(begin, times, opening))
    middle = opening.min() + 0.5 * span
    held = at_begin if at_begin <= middle else float(opening[times >= begin].min(initial=opening.min()))
    closed = opening <= held + OPENED * span
    now = int(np.clip(np.searchsorted(times, begin, side="right") - 1, 0, len(times) - 1))
    if not closed[now]:
        later = np.flatnonzero(closed[now:])
        if not len(later):
            return np.inf, np.inf
        first = now + int(later[0])
    else:
        earlier = np.flatnonzero(~closed[:now])
        first = int(earlier[-1]) + 1 if len(earlier) else 0
    opened = np.flatnonzero(~closed[first:])
    start = -np.inf if first == 0 or closed[now] else float(times[first])
    return start, float(times[first + opened[0]]) if len(opened) else np.inf


def touch_of(handle: Handle, time: float, cell_size: float) -> Touch | None:
    """Where a handle whose places are told touches the body at a time [s]; None where they are not told."""
    if handle.places is None or len(handle.places) == 0:
        return None
    place, turn = handle.at(np.array(time))
    # places may lie between the body's points, but then one of these is not half a cell away
    return Touch(place + handle.places @ turn.T, max(handle.radius or 0.0, 0.5 * cell_size))


def touches(capture: Capture, time: float, cell_size: float) -> tuple[Touch, ...]:
    """Where those handles touch the body at a time [s] that hold it then."""
    found = []
    for handle in capture.handles.values():
        begin, end = closed_times(handle, time)
        touch = touch_of(handle, time, cell_size) if begin <= time < end else None
        found += [] if touch is None else [touch]
    return tuple(found)
