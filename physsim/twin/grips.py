"""Which points a handle holds, found from how the body moves: what it holds keeps its place in the handle's frame.

Seen points near the handle scatter in its frame: by noise alone where they are held, the further away from what is held the more. Of a
family of regions about the handle (balls, and ends of the body cut off across its axes) that one is taken under which the scatter

    variance(d) = noise^2 + (c d^a)^2,    d: distance from the region at rest

is most likely, with the best c > 0 and a from 1 to 2. A body that hardly deforms next to the hand tells little by this, and then what
sensors get wrong would decide. So what the place of the handle suggests (`physsim.twin.nearby`) stands unless another region is likelier by
a margin, which widens with how badly even the best region explains the scatter, and is borne out where the two differ: what it adds is seen
to keep its place within the noise or, where it is but a part of the guess, what it leaves out is seen to move. The law's distance knows no
directions: a sheet between two hands moves less along its edge than below it, and without this the edge would count as held.
"""

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from physsim.appearance.nearest import nearest_element
from physsim.capture.capture import Capture, Handle
from physsim.twin.body import SoftBody
from physsim.twin.clouds import inliers, sampled
from physsim.twin.elements import elements_of
from physsim.twin.nearby import LARGEST, LAYER, LEAST, at_rest, nearby
from physsim.twin.registration import across_elements

FRAMES = 40  # that are looked at
FEWEST = 8  # frames, and points, with which anything can be told
SCOPE = 0.4  # of the body's extent about the handle: further away distances say little
WRONG = 8.0  # log likelihood that one point can cost: some are tracked wrongly
ALIKE = 4.0  # numbers of a point that count as one, because errors of the shape and of neighbouring frames go together
SURE = 3.0  # log likelihood by which a region must beat what the place of the handle suggests
FOLLOWS = 2.0  # variance of what is held, in those of the noise
SHOWN = 3  # points that show what is added to a hold or left out of it
DOUBT = 0.25  # share of them that may show otherwise: some are tracked wrongly
COST = 0.5  # log likelihood that a point costs on average where the law is right
POWERS = (1.0, 1.5, 2.0)


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
    """Numbers of the body's points that a handle holds, increasing; None where the motion tells nothing better than its place does.

    Args:
        capture: Capture.
        body: SoftBody, posed in the first fitted frame.
        handle: the Handle, of a name: points nearer to other handles say nothing of this one.
    """
    frames = capture.fit
    frames = frames[np.unique(np.linspace(0, len(frames) - 1, FRAMES).astype(int))] if len(frames) else frames
    if len(frames) < FEWEST:
        return None
    start = float(capture.times[frames[0]])
    spot = handle.at(np.array(start))[0]
    scatter = _of_tracks(capture, body, handle, frames)
    if scatter is None:
        scatter = _of_clouds(capture, body, handle, frames)
    if scatter is None:
        return None
    # carried along with the part of the body that is next to it
    resting = at_rest(body, np.stack([spot, *(h.at(np.array(start))[0] for n, h in capture.handles.items() if n != name)]), spot)
    extent = float(np.ptp(body.points, axis=0).max())
    away = np.linalg.norm(scatter.rest - resting[0], axis=1)
    use = away < SCOPE * extent + np.linalg.norm(body.points - resting[0], axis=1).min()
    for place in resting[1:]:
        use &= away < np.linalg.norm(scatter.rest - place, axis=1)
    if use.sum() < FEWEST or not (scatter.variance[use] > 2.0 * scatter.noise**2).any():
        return None
    scatter = Scatter(scatter.rest[use], scatter.variance[use], scatter.count[use], scatter.noise)
    guess = nearby(body, resting[0])
    away = np.linalg.norm(body.points - resting[:, None], axis=2)
    own = away[0] <= away.min(axis=0)
    regions = [guess, *(r for r in _regions(body, resting[0]) if own[r].all() and _borne_out(scatter, body, r, guess))]
    likely = np.array([_likelihood(scatter, body, region) for region in regions])
    best = int(likely.argmax())
    excess = max(1.0, -likely[best] / (COST * len(scatter.rest)))
    return regions[best] if likely[best] > likely[0] + SURE * excess else None


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


def _borne_out(scatter, body, region, guess):
    """Whether points seen where a region adds to the guess keep their place, or, of a part of the guess, move where it leaves out."""
    inside, outside = (_distance(scatter, body, r) < LAYER * body.cell_size for r in (region, guess))
    moved = scatter.variance > FOLLOWS * scatter.noise**2
    if len(np.setdiff1d(region, guess)):
        added = moved[inside & ~outside]
        return len(added) >= SHOWN and added.mean() < DOUBT
    left = moved[outside & ~inside]
    return len(region) >= LEAST[body.kind] and len(left) >= SHOWN and left.mean() > 1.0 - DOUBT


def _distance(scatter, body, region):
    """Of the seen points from a region at rest: from its elements, and its points [m], shape [p]."""
    elements = elements_of(body.mesh)
    whole = elements[np.isin(elements, region).all(axis=1)]
    distance = cKDTree(body.points[region]).query(scatter.rest)[0]
    return np.minimum(distance, nearest_element(scatter.rest, body.points[whole])[2]) if len(whole) else distance


def _likelihood(scatter, body, region):
    """Log likelihood of the scatter when a region is held, at the best slope and power."""
    distance = _distance(scatter, body, region)
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
    use = np.flatnonzero(seen.sum(axis=0) >= max(FEWEST, 0.3 * len(frames)))
    if len(use) < FEWEST:
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
    use = count >= max(FEWEST, 0.5 * len(frames))
    if use.sum() < FEWEST:
        return None
    lags = lags[:, use]
    variance = np.nanmean((lags - np.nanmedian(lags, axis=0)) ** 2, axis=0)
    jumps = lags[2:] - 2 * lags[1:-1] + lags[:-2]
    noise = max(1.4826 * float(np.nanmedian(np.abs(jumps))) / np.sqrt(6.0), 1e-6)
    rest = body.points[elements].mean(axis=1)[use]
    return Scatter(rest, np.maximum(variance, 0.1 * noise**2), count[use], noise)
