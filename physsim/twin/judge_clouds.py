"""One-way Chamfer of a twin and of the trivial predictors, whose surfaces and clouds are those of the last fitted frame, moved.

A trivial predictor has two things to move: the surface that the twin had in the anchor frame, to which distances carry no spacing of
points, and the cloud that was measured there, which owes the simulation nothing. Both are tried, and the one that does better over the
held-out frames is the predictor's.
"""

import numpy as np
from scipy.spatial import cKDTree

from physsim.appearance.nearest import nearest_element
from physsim.twin import distances, trivial
from physsim.twin.judgement import TWIN

NEIGHBOURS = 8  # data points whose residuals are averaged at a vertex


def judge_clouds(out, seen, triangles, vertices, replay, most_points):
    """Add one-way Chamfer errors to a Judgement.

    Args:
        out: Judgement.
        seen: Seen.
        triangles: of the surface, shape [t, 3].
        vertices: of the surface in the judged frames [m], shape [f, v, 3]; NaN where not simulated.
        replay: another Capture, or None.
        most_points: of a frame's cloud that distances are taken of.
    """
    clouds = [distances.thinned(seen.cloud(frame), most_points) for frame in out.frames]
    if not any(len(cloud) for cloud in clouds):
        return
    there = np.isfinite(vertices).all(axis=(1, 2))
    used = np.unique(triangles)
    chamfer, plain = (np.full(len(clouds), np.nan) for _ in range(2))
    for i, cloud in enumerate(clouds):
        if len(cloud) and there[i]:
            chamfer[i] = distances.surface_distances(cloud, vertices[i], triangles).mean()
            plain[i] = distances.chamfer_l1(cloud, vertices[i][used])
    out.errors[TWIN].update(chamfer=chamfer, chamfer_l1=plain)
    if out.tested.any():
        _trivial(out, seen, triangles, vertices, clouds, most_points)
    if replay is not None:
        _replay(out, seen, replay, clouds, most_points)


def _trivial(out, seen, triangles, vertices, clouds, most_points):
    handles, fitted = seen.capture.handles, seen.capture.fit
    place = {int(frame): i for i, frame in enumerate(out.frames)}
    learned = np.array([i for i in (place.get(int(f)) for f in fitted) if i is not None and np.isfinite(vertices[i]).all()], dtype=int)
    if not len(learned):
        out.remarks.append("No fitted frame was simulated along with the held-out ones: no trivial predictor of Chamfer.")
        return
    times = seen.times[out.frames]
    all_seen = np.ones(vertices.shape[:2], bool)
    shares = trivial.control_shares(vertices, all_seen, learned, handles, times) if handles else None
    variants = {}
    for i in np.flatnonzero(out.tested):
        if not len(clouds[i]):
            continue
        before = learned[np.maximum(np.searchsorted(learned, i, side="right") - 1, 0)]
        for key, found in _moved(seen, triangles, vertices, shares, times, (i, before), out.frames, most_points):
            away = distances.surface_distances(clouds[i], found, triangles) if key[1] == "surface" else None
            away = distances.cloud_distances(clouds[i], found) if away is None else away
            variants.setdefault(key, np.full(len(clouds), np.nan))[i] = away.mean()
    for name in dict.fromkeys(name for name, _ in variants):
        series = [values for (owner, _), values in variants.items() if owner == name]
        out.errors.setdefault(name, {})["chamfer"] = min(series, key=lambda v: np.nanmean(v) if np.isfinite(v).any() else np.inf)


def _moved(seen, triangles, vertices, shares, times, pair, frames, most_points):
    """Surfaces and clouds that the predictors put into a frame: ((predictor, "surface" or "cloud"), points)."""
    now, before = pair
    cloud, surface = seen.cloud(frames[before]), vertices[before]
    yield (trivial.HELD, "surface"), surface
    if len(cloud):
        yield (trivial.HELD, "cloud"), cloud
    if shares is not None:
        handles, then = seen.capture.handles, np.full(len(surface), times[before])
        yield (trivial.CONTROL, "surface"), trivial.go_along(surface, shares, handles, then, times[now])
        if len(cloud):
            near = cKDTree(surface).query(cloud)[1]
            yield (trivial.CONTROL, "cloud"), trivial.go_along(cloud, shares[near], handles, np.full(len(cloud), times[before]), times[now])
    if len(cloud) and np.isfinite(vertices[now]).all():
        yield (trivial.CARRIED, "surface"), vertices[now] + surface_residual(distances.thinned(cloud, most_points), surface, triangles)


def surface_residual(cloud: np.ndarray, surface: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """What has to be added to a surface's vertices so that it lies in a cloud [m], shape [v, 3].

    The mean over the nearest data points of each vertex of the way from the surface to them.

    Args:
        cloud: [m], shape [m, 3].
        surface: vertices [m], shape [v, 3].
        triangles: shape [t, 3].
    """
    which, weights, _ = nearest_element(cloud, surface[triangles])
    off = cloud - np.einsum("mk,mkc->mc", weights, surface[triangles[which]])
    near = cKDTree(cloud).query(surface, k=min(NEIGHBOURS, len(cloud)))[1].reshape(len(surface), -1)
    return off[near].mean(axis=1)


def _replay(out, seen, replay, clouds, most_points):
    """The clouds of another recording at the same time since its first frame."""
    chosen = trivial.replayed_frames(seen.capture.times, replay.times, out.frames)
    found = np.full(len(clouds), np.nan)
    for i in np.flatnonzero(out.tested & (chosen >= 0)):
        away = distances.cloud_distances(clouds[i], seen.placed(replay.cloud(int(chosen[i]))))
        found[i] = away.mean() if len(away) else np.nan
    if np.isfinite(found).any():
        out.errors.setdefault(trivial.REPLAYED, {})["chamfer"] = found
