"""One-way Chamfer of a twin and of the trivial predictors, whose surfaces and clouds are those of the last fitted frame, moved.

A trivial predictor has two things to move: the surface that the twin had in the anchor frame, to which distances carry no spacing of
points, and the cloud that was measured there, which owes the simulation nothing. Both are tried, and the one that does better over the
held-out frames is the predictor's.
"""

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from physsim.appearance.nearest import nearest_element
from physsim.appearance.skin import Skin
from physsim.physics.rods import Curve
from physsim.physics.sheets import TriMesh
from physsim.twin import distances, trivial
from physsim.twin.judgement import TWIN

NEIGHBOURS = 8  # data points whose residuals are averaged at a vertex


@dataclass(frozen=True, eq=False)
class Moving:
    """A body's surface in the judged frames.

    Args:
        triangles: shape [t, 3].
        vertices: [m], shape [f, v, 3]; NaN in frames that were not simulated.
        half: from the triangles to what can be seen [m]: of a sheet half its thickness, of a rod's prisms and of solids 0.
    """

    triangles: np.ndarray
    vertices: np.ndarray
    half: float = 0.0

    @classmethod
    def of(cls, mesh: object, positions: np.ndarray, thickness: float | None = None) -> "Moving":
        """The surface of a mesh whose points are at positions [m], shape [f, n, 3]; thickness of a sheet, diameter of a rod [m]."""
        skin = Skin(mesh, 0.5 * thickness if isinstance(mesh, Curve) and thickness else None)
        nothing = np.full((int(skin.triangles.max()) + 1, 3), np.nan)
        vertices = np.stack([skin.points(x) if np.isfinite(x).all() else nothing for x in positions])
        return cls(skin.triangles, vertices, 0.5 * thickness if isinstance(mesh, TriMesh) and thickness else 0.0)

    @property
    def there(self) -> np.ndarray:
        """Whether a frame was simulated, shape [f]."""
        return np.isfinite(self.vertices).all(axis=(1, 2))

    def distances(self, points: np.ndarray, i: int, vertices: np.ndarray | None = None) -> np.ndarray:
        """Of points [m, 3] from the surface of the i-th frame, or from it with other vertices [v, 3] [m], shape [m]."""
        return distances.surface_distances(points, self.vertices[i] if vertices is None else vertices, self.triangles, self.half)


def judge_clouds(out, seen, body, replay, most_points):
    """Add one-way Chamfer errors to a Judgement.

    Args:
        out: Judgement.
        seen: Seen.
        body: Moving.
        replay: another Capture, or None.
        most_points: of a frame's cloud that distances are taken of.
    """
    nothing = np.zeros((0, 3))
    clouds = [
        distances.evenly_chosen(seen.cloud(f), most_points) if there else nothing for f, there in zip(out.frames, body.there, strict=True)
    ]
    if not any(len(cloud) for cloud in clouds):
        return
    used = np.unique(body.triangles)
    chamfer, plain = (np.full(len(clouds), np.nan) for _ in range(2))
    for i, cloud in enumerate(clouds):
        if len(cloud) and body.there[i]:
            chamfer[i] = body.distances(cloud, i).mean()
            plain[i] = distances.chamfer_l1(cloud, body.vertices[i][used])
    out.errors[TWIN].update(chamfer=chamfer, chamfer_l1=plain)
    if out.tested.any():
        _trivial(out, seen, body, clouds, most_points)
    if replay is not None:
        _replay(out, seen, replay, clouds, most_points)


def _trivial(out, seen, body, clouds, most_points):
    handles, fitted = seen.handles, seen.capture.fit
    place = {int(frame): i for i, frame in enumerate(out.frames)}
    learned = np.array([place[int(f)] for f in fitted if int(f) in place and body.there[place[int(f)]]], dtype=int)
    if not len(learned):
        out.remarks.append("No fitted frame was simulated along with the held-out ones: no trivial predictor of Chamfer.")
        return
    times = seen.times[out.frames]
    all_seen = np.ones(body.vertices.shape[:2], bool)
    shares = trivial.control_shares(body.vertices, all_seen, learned, handles, times) if handles else None
    variants = {}
    for i in np.flatnonzero(out.tested):
        if not len(clouds[i]):
            continue
        before = learned[np.maximum(np.searchsorted(learned, i, side="right") - 1, 0)]
        for key, found in _moved(seen, body, shares, times, (i, before), out.frames, most_points):
            surface = key[1] == "surface"
            away = body.distances(clouds[i], i, found) if surface else distances.cloud_distances(clouds[i], found)
            variants.setdefault(key, np.full(len(clouds), np.nan))[i] = away.mean()
    for name in dict.fromkeys(name for name, _ in variants):
        series = [values for (owner, _), values in variants.items() if owner == name]
        out.errors.setdefault(name, {})["chamfer"] = min(series, key=lambda v: np.nanmean(v) if np.isfinite(v).any() else np.inf)


def _moved(seen, body, shares, times, pair, frames, most_points):
    """Surfaces and clouds that the predictors put into a frame: ((predictor, "surface" or "cloud"), points)."""
    now, before = pair
    cloud, surface = seen.cloud(frames[before]), body.vertices[before]
    yield (trivial.HELD, "surface"), surface
    if len(cloud):
        yield (trivial.HELD, "cloud"), cloud
    if shares is not None:
        handles, then = seen.handles, np.full(len(surface), times[before])
        yield (trivial.CONTROL, "surface"), trivial.go_along(surface, shares, handles, then, times[now])
        if len(cloud):
            near = cKDTree(surface).query(cloud)[1]
            yield (trivial.CONTROL, "cloud"), trivial.go_along(cloud, shares[near], handles, np.full(len(cloud), times[before]), times[now])
    if len(cloud) and body.there[now]:
        residual = surface_residual(distances.evenly_chosen(cloud, most_points), surface, body.triangles)
        yield (trivial.CARRIED, "surface"), body.vertices[now] + residual


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
        away = distances.cloud_distances(clouds[i], replay.cloud(int(chosen[i])))
        found[i] = away.mean() if len(away) else np.nan
    if np.isfinite(found).any():
        out.errors.setdefault(trivial.REPLAYED, {})["chamfer"] = found
