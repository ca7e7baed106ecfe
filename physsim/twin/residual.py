"""Residual correction: a small displacement that is learned from what a fitted simulation misses, and added to what it says.

    x'(p, t) = x(p, t) + sum_b sum_z phi_b(p) C_bz z(t)

    phi_b  lowest modes of the body's mesh, as a graph: smooth over the body [-]
    z(t)   1, and with "handles" how far each handle has moved and turned since the first fitted frame, each by its usual size [-]
    C      coefficients, found by ridge regression of the residuals of the fitted frames [m]

It is a step of its own. It is no physics: it repairs the output, not the cause, holds for motions like the fitted ones only, and neither
the material nor its intervals know of it. Which of the kinds below is used is decided inside the fitted frames: each learns from their
first two thirds and is tried on the rest. "none" takes part, so that a correction which does not help is not made. Held-out frames are
not touched.

    none      no correction
    carried   the residual of the last fitted frames, carried on
    constant  the mean residual of all fitted frames
    handles   affine in the handles' motion
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import eigsh
from scipy.spatial.transform import Rotation

from physsim.appearance.nearest import nearest_element
from physsim.capture.capture import Capture, Handle
from physsim.errors import InputError
from physsim.twin import distances
from physsim.twin.elements import elements_of, mesh_edges, rest_points
from physsim.twin.judge_clouds import Moving
from physsim.twin.seen import Seen

KINDS = ("none", "carried", "constant", "handles")
MODES = 8  # of the body
LAST = 3  # fitted frames whose residual is carried on
RIDGE = 1e-2  # of the regression, as a share of the mean square of a column
BEYOND = 1.2  # features go at most so far beyond their range in the fitted frames
MOST_POINTS = 500  # of a frame's cloud
WORTH = 0.97  # of the error without a correction: the least gain in the trial for which one is made


@dataclass(frozen=True, eq=False)
class ResidualCorrection:
    """A displacement to be added to simulated positions.

    Args:
        kind: of KINDS.
        modes: phi, shape [n, b].
        coefficients: C [m], shape [b, z, 3].
        handles: names of the handles whose motion z tells, in order.
        origins: handle -> (position [m], rotation) at the first fitted frame.
        scales: of each feature, shape [z].
        limits: smallest and largest value of each feature, shape [2, z].
        trials: kind -> error in the last third of the fitted frames, learned from the others [m].
    """

    kind: str
    modes: np.ndarray
    coefficients: np.ndarray
    handles: tuple[str, ...]
    origins: dict
    scales: np.ndarray
    limits: np.ndarray
    trials: dict

    def displacements(self, times: np.ndarray, handles: Mapping[str, Handle]) -> np.ndarray:
        """What is added at times on the handles' clock [s], shape [f]: [m], shape [f, n, 3].

        Raises:
            InputError: a handle is missing.
        """
        missing = [name for name in self.handles if name not in handles]
        if missing:
            there = ", ".join(handles) or "none"
            raise InputError(f"residual correction: it knows the handle {missing[0]!r}; there are: {there}. Leave the correction out")
        z = _features(np.asarray(times, float), handles, self.handles, self.origins) / self.scales
        z = np.clip(z, *self.limits)
        return np.einsum("nb,bzc,fz->fnc", self.modes, self.coefficients, z)

    def apply(self, positions: np.ndarray, times: np.ndarray, handles: Mapping[str, Handle]) -> np.ndarray:
        """Corrected positions [m], shape [f, n, 3]; particles beyond the body's own stay.

        Args:
            positions: simulated [m], shape [f, n, 3].
            times: on the handles' clock [s], shape [f].
            handles: name -> Handle.
        """
        out = np.array(positions, dtype=float)
        out[:, : len(self.modes)] += self.displacements(times, handles)
        return out

    def as_dict(self) -> dict:
        """Numbers, arrays, lists and dicts, from which `from_dict` makes it again."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__} | {
            "handles": list(self.handles),
            "origins": {name: list(pose) for name, pose in self.origins.items()},
        }

    @classmethod
    def from_dict(cls, told: dict) -> "ResidualCorrection":
        """The correction that `as_dict` told of.

        Raises:
            InputError: missing or unknown entries, an unknown kind.
        """
        if not isinstance(told, dict) or set(told) != set(cls.__dataclass_fields__) or told.get("kind") not in KINDS:
            raise InputError(
                f"residual correction: damaged; {', '.join(cls.__dataclass_fields__)} are needed, kind one of {', '.join(KINDS)}"
            )
        arrays = {name: np.asarray(told[name], float) for name in ("modes", "coefficients", "scales", "limits")}
        origins = {name: tuple(np.asarray(part, float) for part in pose) for name, pose in told["origins"].items()}
        return cls(told["kind"], handles=tuple(told["handles"]), origins=origins, trials=dict(told["trials"]), **arrays)


def fit_residual(
    capture: Capture,
    scene: object,
    positions: np.ndarray,
    frames: np.ndarray | None = None,
    *,
    fit: object = None,
    simulated: np.ndarray | None = None,
) -> ResidualCorrection:
    """Learn a correction from the fitted frames.

    Args:
        capture: Capture; only its fitted frames are looked at.
        scene: has `soft_body.mesh`, and `thickness`.
        positions: simulated [m], shape [f, n, 3].
        frames: of the capture, shape [f]; None: all.
        fit: TwinFit or None.
        simulated: positions of the tracks in these frames [m], shape [f, p, 3], as `Judgement.simulated`; None: the cloud alone is used.

    Raises:
        InputError: fewer than four fitted frames with data.
    """
    frames = np.arange(capture.frame_count) if frames is None else np.asarray(frames, int)
    mesh = scene.soft_body.mesh
    elements, count = elements_of(mesh), len(rest_points(mesh))
    seen = Seen(capture, fit)
    rows = [i for i, frame in enumerate(frames) if frame in capture.fit and np.isfinite(positions[i, :count]).all()]
    body = Moving.of(mesh, positions[:, :count], getattr(scene, "thickness", None))
    kept = None if simulated is None or seen.tracks is None else seen.visible & ~distances.strayed(seen.tracks, seen.visible)
    data = [_residuals(seen, elements, frames, positions, simulated, kept, body, i) for i in rows]
    data, rows = [d for d in data if len(d[2])], [i for i, d in zip(rows, data, strict=True) if len(d[2])]
    if len(rows) < 4:
        raise InputError(f"residual correction: {len(rows)} fitted frames hold data; at least 4 are needed to learn and to try")
    modes = smooth_modes(mesh, count)
    names = tuple(capture.handles)
    times = seen.times[frames[rows]]
    origins = {name: tuple(part[0] for part in capture.handles[name].at(times[:1])) for name in names}
    learner = _Learner(modes, data, _features(times, capture.handles, names, origins))
    cut = max(2, round(2 * len(rows) / 3))
    kinds = [kind for kind in KINDS if kind != "handles" or names]
    trials = {kind: learner.trial(kind, cut) for kind in kinds}
    kind = min(trials, key=trials.get)
    kind = kind if trials[kind] < WORTH * trials["none"] else "none"
    coefficients = learner.learn(kind, len(rows))
    return ResidualCorrection(kind, modes, coefficients, names, origins, learner.scales, learner.limits, trials)


def smooth_modes(mesh: object, count: int, modes: int = MODES) -> np.ndarray:
    """Lowest modes of the graph of a mesh's points, the first of which is constant, each of mean square 1, shape [count, modes]."""
    pairs = mesh_edges(mesh)
    graph = sparse.coo_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(count, count))
    graph = graph + graph.T
    laplacian = sparse.diags(np.asarray(graph.sum(axis=1)).ravel()) - graph
    modes = min(modes, count - 2)
    if count < 400:
        values = np.linalg.eigh(laplacian.toarray())[1][:, :modes]
    else:
        start = np.random.default_rng(0).standard_normal(count)
        found, vectors = eigsh(laplacian.tocsc(), k=modes, sigma=-1e-3, v0=start)
        values = vectors[:, np.argsort(found)]
    return values * np.sqrt(count)


def _material_points(elements: np.ndarray, positions: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(nodes, weights), shape [p, 2 or 3] each, of the material points of what can be seen that are nearest to points [p, 3]."""
    which, weights, _ = nearest_element(points, positions[elements])
    return elements[which], weights


def _features(times, handles, names, origins):
    """1, and translation [m] and rotation vector [rad] of each handle since its origin, shape [f, 1 + 6 handles]."""
    columns = [np.ones((len(times), 1))]
    for name in names:
        place, turn = handles[name].at(times)
        centre, rotation = origins[name]
        columns += [place - centre, Rotation.from_matrix(turn @ rotation.T).as_rotvec().reshape(-1, 3)]
    return np.concatenate(columns, axis=1)


def _residuals(seen, elements, frames, positions, simulated, kept, body, i):
    """(nodes [m, k], weights [m, k], residuals [m, 3]) of a frame: of its tracks, or where there are none of its cloud."""
    frame = frames[i]
    if kept is not None:
        these = kept[frame] & np.isfinite(simulated[i]).all(axis=1)
        if these.any():
            nodes, weights = _material_points(elements, positions[i], simulated[i, these])
            return nodes, weights, seen.tracks[frame, these] - simulated[i, these]
    cloud = distances.evenly_chosen(seen.cloud(frame), MOST_POINTS)
    if not len(cloud):
        return np.zeros((0, 3), int), np.zeros((0, 3)), np.zeros((0, 3))
    nodes, weights = _material_points(elements, positions[i], cloud)
    which, inside, away = nearest_element(cloud, body.vertices[i][body.triangles])
    foot = np.einsum("mk,mkc->mc", inside, body.vertices[i][body.triangles[which]])
    outwards = (cloud - foot) / np.maximum(away, 1e-12)[:, None]
    return nodes, weights, outwards * (away - body.half)[:, None]


class _Learner:
    """Ridge regression of residuals on modes and features."""

    def __init__(self, modes, data, features):
        self.modes, self.data = modes, data
        self.scales = np.where((size := np.sqrt((features**2).mean(axis=0))) > 1e-9, size, 1.0)
        self.features = features / self.scales
        low, high = self.features.min(axis=0), self.features.max(axis=0)
        middle, half = 0.5 * (low + high), 0.5 * (high - low)
        self.limits = np.stack([middle - BEYOND * half, middle + BEYOND * half])
        self.phi = [np.einsum("mk,mkb->mb", weights, modes[nodes]) for nodes, weights, _ in data]

    def learn(self, kind, until):
        """Coefficients [b, z, 3] from the first `until` frames."""
        b, z = self.modes.shape[1], self.features.shape[1]
        out = np.zeros((b, z, 3))
        if kind == "none":
            return out
        frames = range(max(0, until - LAST) if kind == "carried" else 0, until)
        used = z if kind == "handles" else 1
        rows = [(self.phi[f][:, :, None] * self.features[f, :used]).reshape(-1, b * used) for f in frames]
        design, target = np.concatenate(rows), np.concatenate([self.data[f][2] for f in frames])
        weight = np.ones(len(design))
        for _ in range(3):  # Huber's weights: a few wrong residuals must not bend the field
            left = design * weight[:, None]
            normal = left.T @ design
            normal += RIDGE * np.trace(normal) / len(normal) * np.eye(len(normal))
            found = np.linalg.solve(normal, left.T @ target)
            away = np.linalg.norm(target - design @ found, axis=1)
            weight = np.minimum(1.0, 1.5 * np.median(away) / np.maximum(away, 1e-12))
        out[:, :used] = found.reshape(b, used, 3)
        return out

    def trial(self, kind, cut):
        """Mean distance that is left in the frames from `cut` on, learned from those before [m]."""
        coefficients = self.learn(kind, cut)
        seen = self.features[:cut]
        low, high = seen.min(axis=0), seen.max(axis=0)
        middle, half = 0.5 * (low + high), 0.5 * BEYOND * (high - low)
        z = np.clip(self.features, middle - half, middle + half)
        left = [
            np.linalg.norm(self.data[f][2] - np.einsum("mb,bzc,z->mc", self.phi[f], coefficients, z[f]), axis=1).mean()
            for f in range(cut, len(self.data))
        ]
        return float(np.mean(left))
