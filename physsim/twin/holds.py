"""How handles hold a body: which of its points, where in the handle's frame, and whether for the whole time."""

from dataclasses import dataclass

import numpy as np

from physsim.capture.capture import Capture, Handle
from physsim.errors import InputError
from physsim.physics.rods import Curve
from physsim.twin.body import SoftBody
from physsim.twin.grips import gripped
from physsim.twin.nearby import LEAST, at_rest, nearby, spread
from physsim.twin.touches import closed_times, touch_of

GUESSED = "what it holds was guessed"  # of a handle of which neither radius nor places are known, and whose motion does not tell
REACH, SHARE = 3.0, 0.25  # mesh edges, and share of the body's extent: a handle further away than both, and than its radius, holds nothing


@dataclass(frozen=True, eq=False)
class Hold:
    """Points that a handle carries.

    Args:
        handle: its name.
        points: numbers of the body's points, increasing, shape [p]: of a rod those of its centreline and of the directors of held edges.
        local: where they are in the handle's frame [m], shape [p, 3].
        begin, end: times between which it holds [s]; infinite: always.
    """

    handle: str
    points: np.ndarray
    local: np.ndarray
    begin: float = -np.inf
    end: float = np.inf

    def targets(self, handle: Handle, times: np.ndarray) -> np.ndarray:
        """Where the points are held at times [k]: [m], shape [k, p, 3]."""
        places, turns = handle.at(times)
        return places[..., None, :] + np.einsum("...ij,pj->...pi", turns, self.local)


def find_holds(capture: Capture, body: SoftBody, positions: np.ndarray | None = None) -> tuple[list[Hold], list[str]]:
    """Which points of the body each handle holds.

    Those within the handle's radius of one of its places, or half a cell of places that are told, when the motion begins: if they lie on
    one line the body hangs from it as from a hinge. Where neither radius nor places are known, a guess, which a remark says: the face or
    the edge in whose middle the handle sits, the corner of a sheet next to it, or the nearest points (`physsim.twin.nearby`); unless the
    motion shows that others keep their place in the handle's frame (`physsim.twin.grips`).

    Args:
        capture: Capture.
        body: SoftBody.
        positions: of the body's points when the motion begins [m], shape [n, 3]; None: the body's pose.

    Returns:
        (Holds of those handles that hold anything, remarks in plain words).

    Raises:
        InputError: every handle is far from the body.
    """
    positions = body.pose if positions is None else positions
    time = float(capture.times[capture.fit[0]]) if len(capture.fit) else float(capture.times[0])
    found, remarks, taken = [], [], np.full(len(positions), -1)
    distances = {}
    for number, (name, handle) in enumerate(capture.handles.items()):
        begin, end = closed_times(handle, time)
        if begin > capture.times[-1] or end <= time:
            remarks.append(f"handle {name!r} is open throughout the motion: it holds nothing")
            continue
        distances[name] = handle.distances(max(time, begin) if np.isfinite(begin) else time, positions)
        told = handle.radius is not None or (handle.places is not None and len(handle.places) > 0)
        points = None if told or distances[name].min() > _far(body) else gripped(capture, body, handle, name)
        if points is not None:
            text = f"it is taken to hold the {len(points)} points that keep their place in its frame; give its radius or places if known"
        elif not told and distances[name].min() <= _far(body):
            spot = handle.at(np.array(max(time, begin) if np.isfinite(begin) else time))[0]
            points = nearby(body, at_rest(body, spot[None], spot)[0])
            text = f"{GUESSED}, as the motion does not tell: the {len(points)} points next to it; give its radius or places"
        else:
            points, text = _held(body, distances[name], handle, max(time, begin) if np.isfinite(begin) else time)
        if text:
            remarks.append(f"handle {name!r}: {text}")
        if len(points):
            found.append([number, name, points, begin, end])
    if distances and not found:
        nearest = {name: float(d.min()) for name, d in distances.items()}
        text = ", ".join(f"{name!r} {d:.3g} m" for name, d in nearest.items())
        raise InputError(f"handles: none is near the body when the motion begins ({text} away); check their poses, and the body's place")
    for number, name, points, _, _ in sorted(found, key=lambda entry: -entry[0]):
        nearer = (taken[points] < 0) | (distances[name][points] < _distance_of(distances, capture.handles, taken[points], points))
        taken[points[nearer]] = number
    holds = []
    for number, name, _, begin, end in found:
        points = np.flatnonzero(taken == number)
        if len(points):
            holds.append(_hold(capture.handles[name], name, body, points, positions, time, begin, end))
        else:
            remarks.append(f"handle {name!r}: another handle is nearer to all that it could hold; it holds nothing")
    return holds, remarks


def _far(body: SoftBody) -> float:
    """How far from the body a handle of unknown radius may be and still hold it [m]."""
    return max(REACH * body.cell_size, SHARE * float(np.ptp(body.points, axis=0).max()))


def _distance_of(distances: dict, handles: dict, owners: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Distance of each point from the handle that has it [m], shape [p]."""
    names = list(handles)
    out = np.full(len(points), np.inf)
    for owner in np.unique(owners[owners >= 0]):
        out[owners == owner] = distances[names[owner]][points[owners == owner]]
    return out


def _held(body: SoftBody, distance: np.ndarray, handle: Handle, time: float) -> tuple[np.ndarray, str]:
    """Numbers of the points that a handle holds, and what is to be said of it."""
    size, radius = body.cell_size, handle.radius
    touch = touch_of(handle, time, size)
    order = np.argsort(distance, kind="stable")
    nearest = float(distance[order[0]])
    reach = touch.reach if touch is not None else radius if radius is not None else nearest + 0.5 * size
    if nearest > max(_far(body), 0.0 if radius is None else 2 * radius):
        return np.zeros(0, int), f"{nearest:.3g} m from the body when the motion begins: it holds nothing"
    within = np.flatnonzero(distance <= reach)
    if spread(body, within):
        return within, ""
    # what is told is taken at its word: along one line, or at few places, a body hangs as from a hinge
    if len(within) >= (2 if touch is not None and len(touch.places) > 1 else LEAST[body.kind]):
        return within, f"it holds {len(within)} points, about which the body can turn as about a hinge"
    for count in range(max(len(within) + 1, LEAST[body.kind]), len(order) + 1):
        if spread(body, order[:count]):
            break
    chosen = np.sort(order[:count])
    text = f"its places and its radius of {radius or reach:.3g} m hold {len(within)} points, too few to carry the body's turns"
    return chosen, f"{text}; the {count} nearest are held"


def _hold(handle, name, body, points, positions, time, begin, end):
    places = positions[points]
    if isinstance(body.mesh, Curve) and body.mesh.framed:
        curve = body.mesh
        edges = np.flatnonzero(np.isin(curve.edges, points).all(axis=1))
        points = np.concatenate([points, curve.point_count + edges])
        places = curve.posed(positions)[points]
    place, turn = handle.at(np.array(max(time, begin) if np.isfinite(begin) else time))
    return Hold(name, points, (places - place) @ turn, begin, end)
