"""Which points a handle holds, found from how the body moves: what it holds keeps its place in the handle's frame.

Seen points near the handle scatter in its frame: by noise alone where they are held, the further away from what is held the more. Of a
family of regions about the handle (balls, and ends of the body cut off across its axes) that one is taken under which the scatter

    variance(d) = noise^2 + (c d^a)^2,    d: distance from the region at rest

is most likely, with the best c > 0 and a from 1 to 2. It must beat what a hold of a single spot explains.
"""

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from physsim.appearance.nearest import nearest_element
from physsim.capture.capture import Capture, Handle
from physsim.twin.body import SoftBody
from physsim.twin.clouds import inliers, sampled
from physsim.twin.elements import elements_of
from physsim.twin.registration import across_elements
from physsim.twin.rigid import robust_pose

FRAMES = 40  # that are looked at
LEAST = 8  # of them, and of points, with which anything can be told
SCOPE = 0.4  # of the body's extent about the handle: further away distances say little
WRONG = 8.0  # log likelihood that one point can cost: some are tracked wrongly
ALIKE = 4.0  # numbers of a point that count as one, because errors of the shape and of neighbouring frames go together
BESIDE = 20  # points of the body next to a handle
SURE = 3.0  # log likelihood by which a region must beat the spot nearest to the handle
FITTING = 4.5  # log likelihood a point that the law itself may cost: beyond it the scatter has other reasons
POWERS = (1.0, 1.5, 2.0)
LARGEST = 0.6  # share of the body's points that a handle may hold


@dataclass(frozen=True, eq=False)
class Scatter:
    """How much seen points move in a handle's frame.

    Args:
        rest: where they are on the body at rest [m], shape [p, 3].
        variance: of a component [m^2], shape [p].
        count: numbers behind each, shape [p].
        noise: standard deviation of the measurement [m].
    """

    rest: np.ndarray
    variance: np.ndarray
    count: np.ndarray
    noise: float


def gripped(capture: Capture, body: SoftBody, handle: Handle, name: str) -> np.ndarray | None:
    """Numbers of the body's points that a handle holds, increasing; None where the motion does not tell.

    Args:
        capture: Capture.
        body: SoftBody, posed in the first fitted frame.
        handle: the Handle, of a name: points nearer to other handles say nothing of this one.
    """
    frames = capture.fit
    frames = frames[np.unique(np.linspace(0, len(frames) - 1, FRAMES).astype(int))] if len(frames) else frames
    if len(frames) < LEAST:
        return None
    start = float(capture.times[frames[0]])
    spot = handle.at(np.array(start))[0]
    scatter = _of_tracks(capture, body, handle, frames)
    if scatter is None:
        scatter = _of_clouds(capture, body, handle, frames)
    if scatter is None:
        return None
    # where the handle would be at rest: carried along with the part of the body that is next to it
    beside = np.argsort(np.linalg.norm(body.pose - spot, axis=1), kind="stable")[:BESIDE]
    turn, shift = robust_pose(body.pose[beside], body.points[beside])
    at_rest = turn @ spot + shift
    extent = float(np.ptp(body.points, axis=0).max())
    away = np.linalg.norm(scatter.rest - at_rest, axis=1)
    use = away < SCOPE * extent + np.linalg.norm(body.points - at_rest, axis=1).min()
    for other in (h for n, h in capture.handles.items() if n != name):
        place = turn @ other.at(np.array(start))[0] + shift
        use &= away < np.linalg.norm(scatter.rest - place, axis=1)
    if use.sum() < LEAST or not (scatter.variance[use] > 2.0 * scatter.noise**2).any():
        return None
    scatter = Scatter(scatter.rest[use], scatter.variance[use], scatter.count[use], scatter.noise)
    regions = _regions(body, at_rest)
    likely = np.array([_likelihood(scatter, body, region) for region in regions])
    best = int(likely.argmax())
    if likely[best] < max(likely[0] + SURE, -FITTING * len(scatter.rest)):
        return None
    return regions[best]


def _regions(body, spot):
    """Sets of points about a spot [m] at rest: the nearest point, balls, and ends cut off across the principal axes."""
    points, size = body.points, body.cell_size
    away = np.linalg.norm(points - spot, axis=1)
    nearest = int(away.argmin())
    found = [np.array([nearest])]
    reach = away[nearest]
    radii = reach + size * np.array([0.6, 1.1, 1.6, 2.2, 3.0, 4.0, 5.5, 7.5])
    found += [np.flatnonzero(away <= r) for r in radii]
    axes = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)[2]
    for axis in (*axes, *np.eye(3)):
        along = points @ axis
        for sign in (1.0, -1.0):
            beyond = sign * (along - points[nearest] @ axis)
            layers = np.unique(np.round(beyond[beyond < 0.01 * size] / (0.2 * size)))[::-1][:12] * 0.2 * size
            found += [np.flatnonzero(beyond >= layer - 0.11 * size) for layer in layers if layer > -4.0 * size]
    unique = {region.tobytes(): region for region in found if 0 < len(region) <= LARGEST * len(points)}
    return [found[0], *(r for key, r in unique.items() if key != found[0].tobytes())]


def _likelihood(scatter, body, region):
    """Log likelihood of the scatter when a region is held, at the best slope and power."""
    elements = elements_of(body.mesh)
    whole = elements[np.isin(elements, region).all(axis=1)]
    distance = cKDTree(body.points[region]).query(scatter.rest)[0]
    if len(whole):
        distance = np.minimum(distance, nearest_element(scatter.rest, body.points[whole])[2])
    size = max(float(distance.max()), 1e-9)
    own = scatter.count / ALIKE
    best = -np.inf
    top = np.sqrt(max(float(scatter.variance.max()), 1.01 * scatter.noise**2))
    for power in POWERS:
        slopes = np.geomspace(0.05, 2.0, 16)[:, None] * top
        model = scatter.noise**2 + (slopes * (distance / size) ** power) ** 2
        # gamma law of a variance of `own` numbers, less its value at the variance itself
        loss = 0.5 * own * (np.log(model / scatter.variance) + scatter.variance / model - 1.0)
        best = max(best, float(-np.minimum(loss, WRONG).sum(axis=1).min()))
    return best


def _in_frame(handle, times, start, points):
    """Points [k, p, 3] at times [k] as they would lie at the start had the handle stayed there."""
    place, turn = handle.at(times)
    first, begin = handle.at(np.array(start))
    local = np.einsum("kji,kpj->kpi", turn, points - place[:, None])
    return local @ begin.T + first


def _of_tracks(capture, body, handle, frames):
    if capture.tracks is None:
        return None
    seen = capture.tracks.visible[frames]
    use = np.flatnonzero(seen.sum(axis=0) >= max(LEAST, 0.3 * len(frames)))
    if len(use) < LEAST:
        return None
    start = float(capture.times[frames[0]])
    places = capture.tracks.positions[frames][:, use]
    local = _in_frame(handle, capture.times[frames], start, places)
    middle = np.nanmedian(local, axis=0)
    variance = np.nanmean((local - middle) ** 2, axis=(0, 2))
    jumps = local[2:] - 2 * local[1:-1] + local[:-2]
    noise = 1.4826 * float(np.nanmedian(np.abs(jumps))) / np.sqrt(6.0)
    noise = capture.noise.get("tracks", noise)
    rest = _at_rest(capture, body, places, seen[:, use], use)
    return Scatter(rest, np.maximum(variance, 0.1 * noise**2), 3.0 * seen[:, use].sum(axis=0), max(noise, 1e-6))


def _at_rest(capture, body, places, seen, use):
    elements = elements_of(body.mesh)
    if capture.tracks.rest is not None:
        return capture.tracks.rest[use]
    first = seen.argmax(axis=0)
    which, weights, _ = nearest_element(places[first, np.arange(len(use))], body.pose[elements])
    return np.einsum("pk,pkc->pc", weights, body.points[elements[which]])


def _of_clouds(capture, body, handle, frames):
    """Scatter of the surface across itself at its points, where clouds show it."""
    elements = elements_of(body.mesh)
    start = float(capture.times[frames[0]])
    lags = np.full((len(frames), len(elements)), np.nan)
    middles = body.pose[elements].mean(axis=1)
    axis = across_elements(body.pose, elements)[0]
    for k, frame in enumerate(frames):
        cloud = sampled(inliers(capture.cloud(int(frame))), 6000)
        if len(cloud) < 20:
            continue
        local = _in_frame(handle, capture.times[[frame]], start, cloud[None])[0]
        number = cKDTree(local).query(middles, 6)[1]
        arm = local[number] - middles[:, None]
        lag = (arm * axis[:, None]).sum(axis=-1)
        across = np.sqrt(np.maximum((arm**2).sum(axis=-1) - lag**2, 0.0))
        beside = across.min(axis=1) < body.cell_size  # seen there, be it moved across or not
        lags[k] = np.where(beside, np.median(lag, axis=1), np.nan)
    count = np.isfinite(lags).sum(axis=0)
    use = count >= max(LEAST, 0.5 * len(frames))
    if use.sum() < LEAST:
        return None
    lags = lags[:, use]
    variance = np.nanmean((lags - np.nanmedian(lags, axis=0)) ** 2, axis=0)
    jumps = lags[2:] - 2 * lags[1:-1] + lags[:-2]
    noise = max(1.4826 * float(np.nanmedian(np.abs(jumps))) / np.sqrt(6.0), 1e-6)
    rest = body.points[elements].mean(axis=1)[use]
    return Scatter(rest, np.maximum(variance, 0.1 * noise**2), count[use], noise)
