"""The start of a fitted motion: where the body is, how it moves, and along which smooth ways both are corrected."""

from dataclasses import dataclass, fields

import numpy as np

from physsim.appearance.nearest import nearest_element
from physsim.capture.capture import Capture
from physsim.physics.model import State
from physsim.twin.registration import across_elements
from physsim.twin.scene import TwinScene
from physsim.twin.smooth import follow, smooth_ways, strain_rows

WINDOW = 0.2  # time from which the first velocity is taken [s]
FRAMES = 3, 8  # frames in it: at least, at most
SAMPLED = 800  # points of a frame that are used
ALIKE = 150  # points of a cloud that tell as much as all of one frame
ALONG = 0.003  # share of what a point of a cloud tells along the surface
STILL = 0.005  # displacement over extent within the window below which a body is at rest
HELD_STILL = 0.002  # likewise of what handles carry
FASTEST = 3.0  # prior spread of a velocity [m/s]
STRAINING = 0.3  # prior spread of the rate of strain where clouds alone show the motion [1/s]
HARDEST = 30.0  # of an acceleration [m/s^2]
MOVED = 0.01  # of a correction of the place, over the extent
ROUNDS = 4  # of reweighting


@dataclass(frozen=True, eq=False)
class Start:
    """Where a motion begins.

    Args:
        positions, velocities: of every particle of the scene's model [m], [m/s], shape [n, 3].
        time: [s].
        at_rest: whether the body is at rest there, so that it is in equilibrium under gravity and holds.
        ways: smooth directions in which position and velocity may be corrected, shape [q, n, 3]; their root mean square over the body is
            1; held points do not move.
        remarks: what was found or assumed, in plain words.
    """

    positions: np.ndarray
    velocities: np.ndarray
    time: float
    at_rest: bool
    ways: np.ndarray
    remarks: tuple[str, ...] = ()

    def state(self, scene: TwinScene) -> State:
        """State of the scene's model, the same in every environment."""
        return scene.state(self.positions, self.velocities, self.time)


@dataclass(frozen=True, eq=False)
class _Looks:
    """What was seen of points of the body in the window: rows of a linear fit of their displacement.

    Args:
        nodes, weights: the points, shape [p, k].
        axes: directions along which they were measured, shape [p, 3].
        times: after the start [s], shape [p].
        lags: measured minus the start's position along the axes [m], shape [p].
        groups: rows of one number share an unknown offset, shape [p]; -1: none.
        frames: of the capture, shape [p].
        shares: how much each counts: errors of neighbouring points of a cloud go together, shape [p].
    """

    nodes: np.ndarray
    weights: np.ndarray
    axes: np.ndarray
    times: np.ndarray
    lags: np.ndarray
    groups: np.ndarray
    frames: np.ndarray
    shares: np.ndarray

    def along(self, ways: np.ndarray) -> np.ndarray:
        """Displacements [q, n, 3] at the points along the axes, shape [p, q]."""
        return np.einsum("pk,qpkc,pc->pq", self.weights, ways[:, self.nodes], self.axes)


def find_start(scene: TwinScene, capture: Capture | None = None, *, count: int = 12, seed: int = 0) -> Start:
    """Where the motion of a scene begins, and how fast: from what was seen in its first frames.

    Args:
        scene: TwinScene, whose body is posed in the first fitted frame.
        capture: Capture; None: the scene's.
        count: ways along which the start can be corrected.
        seed: of the points that are used where there are many.

    Returns:
        Start.
    """
    capture = scene.capture if capture is None else capture
    x = scene.soft_body.pose
    mesh, kind = scene.soft_body.mesh, scene.soft_body.kind
    held, carried = _held(scene)
    ways = smooth_ways(mesh, kind, x, held, count)
    extent = float(np.ptp(x, axis=0).max())
    frames, still = _window(scene, carried, extent)
    moves = follow(mesh, kind, x, held, carried(capture.times[frames]) - carried(scene.start_time))
    paths, looks = np.broadcast_to(x, moves.shape), None
    fastest = _fastest(scene, x, ways, capture.tracks is None)
    # clouds do not say which point is where: frame by frame they are laid onto where the body would be by now
    for count in _counts(capture, len(frames)):
        looks = _looks(scene, capture, frames[:count], x, paths, seed)
        if looks is None or count < 2:
            break
        rates = _rates(looks, frames, ways, moves, extent, fastest)[0]
        t = (capture.times[frames] - scene.start_time)[:, None]
        paths = x + moves + np.einsum("fq,qnc->fnc", rates[0] * t + rates[1] * t**2 / 2, ways)
    before, after = (carried(scene.start_time + s * scene.dt) for s in (0.0, 1.0))
    led = follow(mesh, kind, x, held, (after - before) / scene.dt)
    remarks = []
    if looks is None or len(frames) < 2:
        velocity, at_rest = led, still
        remarks.append("too little is seen in the first frames to tell how the body moves: it is taken to follow what holds it")
    else:
        rates, size, spread = _rates(looks, frames, ways, moves, extent, fastest)
        at_rest = still and size < max(STILL * extent, 2.0 * spread)
        velocity = led + np.einsum("q,qnc->nc", rates[0], ways)
    if at_rest:
        velocity = np.zeros_like(x)
    positions, ways = scene.spread(x), scene.spread(ways, around=x)
    return Start(positions, scene.spread(velocity, around=x), scene.start_time, bool(at_rest), ways, tuple(remarks))


def _held(scene):
    """Numbers of the held mesh points, and a function of time with their positions [..., p, 3]."""
    n = len(scene.soft_body.pose)
    parts = [(hold, hold.points < n) for hold in scene.holds]
    held = np.concatenate([hold.points[own] for hold, own in parts]) if parts else np.zeros(0, int)

    def carried(time):
        time = np.asarray(time, float)
        if not parts:
            return np.zeros((*time.shape, 0, 3))
        places = [hold.targets(scene.capture.handles[hold.handle], time)[..., own, :] for hold, own in parts]
        return np.concatenate(places, axis=-2)

    return held, carried


def _fastest(scene, x, ways, clouds):
    """Prior spreads [m/s] of the speeds along ways, shape [q].

    Clouds hardly show how a body stretches along its own sides: without tracks it is taken to strain no faster than elastic bodies do,
    beyond what moves with the handles.
    """
    spread = np.full(len(ways), FASTEST)
    if not clouds or len(ways) == 0:
        return spread
    body = scene.soft_body
    lengths = np.linalg.norm(x[body.edges[:, 1]] - x[body.edges[:, 0]], axis=1)
    strains = (strain_rows(x, body.edges, lengths) @ ways.reshape(len(ways), -1).T).T
    return np.minimum(spread, STRAINING / np.maximum(np.sqrt(np.mean(strains**2, axis=1)), 1e-12))


def _window(scene, carried, extent):
    """(frames from the start on that show the first motion, whether what is held stays still in them)."""
    times = scene.capture.times
    first = scene.start_frame
    frames = np.arange(first, min(len(times), first + FRAMES[1]))
    frames = frames[times[frames] <= max(times[first] + WINDOW, times[min(first + FRAMES[0] - 1, len(times) - 1)]) + 1e-9]
    moved = np.linalg.norm(carried(times[frames]) - carried(times[first]), axis=-1).max(axis=-1, initial=0.0)
    still = moved <= HELD_STILL * extent
    least = min(FRAMES[0], len(frames))
    if still[:least].all():
        quiet = int(np.argmin(still)) if not still.all() else len(frames)
        return frames[: max(quiet, least)], True
    return frames, False


def _counts(capture, frames):
    """How many frames are looked at, pass by pass: with clouds one more each time, the first two and all of them twice."""
    if frames < 3 or (not capture.depth and capture.points is None):
        return [frames]
    return [2, 2, *range(2, frames + 1), frames]


def _elements(body):
    return body.edges if body.surface is None else body.surface


def _looks(scene, capture, frames, x, paths, seed):
    """_Looks of the frames, whose clouds are laid onto the body at `paths` [f, n, 3]; None where nothing is seen."""
    elements = _elements(scene.soft_body)
    parts = []
    if capture.tracks is not None:
        parts.append(_track_looks(capture, frames, x, elements, scene))
    parts.append(_cloud_looks(capture, frames, x, paths, elements, scene, seed))
    parts = [part for part in parts if part is not None]
    return _joined(parts) if parts else None


def _joined(parts):
    names = [entry.name for entry in fields(_Looks)]
    return _Looks(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def _track_looks(capture, frames, x, elements, scene):
    seen = capture.tracks.visible[frames]
    points = np.flatnonzero(seen[0] & (seen.sum(axis=0) >= 2))
    if len(points) == 0:
        return None
    first = seen[:, points].argmax(axis=0)
    places = capture.tracks.positions[frames][first, points]
    element, weights, _ = nearest_element(places, x[elements])
    nodes = elements[element]
    f, p = np.nonzero(seen[:, points])
    measured = capture.tracks.positions[frames[f], points[p]]
    start = np.einsum("pk,pkc->pc", weights, x[nodes])
    count = len(f)
    times = capture.times[frames[f]] - scene.start_time
    lags = (measured - start[p]).ravel()
    groups = (3 * p[:, None] + np.arange(3)).ravel()
    axes = np.tile(np.eye(3), (count, 1))
    three = np.repeat(np.arange(count), 3)
    return _Looks(nodes[p][three], weights[p][three], axes, times[three], lags, groups, frames[f][three], np.ones(3 * count))


def _cloud_looks(capture, frames, x, paths, elements, scene, seed):
    random = np.random.default_rng(seed)
    parts, border = [], _border(elements, len(x))
    for frame, moved in zip(frames, paths, strict=False):
        cloud = capture.cloud(int(frame))
        if len(cloud) > SAMPLED:
            cloud = cloud[random.choice(len(cloud), SAMPLED, replace=False)]
        if len(cloud) == 0:
            continue
        element, weights, _ = nearest_element(cloud, moved[elements])
        nodes = elements[element]
        arm = cloud - np.einsum("pk,pkc->pc", weights, x[nodes])
        time = float(capture.times[frame] - scene.start_time)
        rows, none, whole = np.full(len(cloud), time), np.full(len(cloud), -1), min(1.0, ALIKE / len(cloud))
        across = [(axis, 1.0) for axis in across_elements(moved, nodes)]
        # along the surface a point only says that the body is there: enough to keep it from slipping away; beyond its rim, where it goes
        along = np.where((border[nodes] | (weights < 1e-6)).all(axis=1), 1.0, ALONG)
        for axis, share in across + [(np.tile(axis, (len(cloud), 1)), along) for axis in np.eye(3)]:
            shares = np.full(len(cloud), share * whole)
            parts.append(_Looks(nodes, weights, axis, rows, (arm * axis).sum(axis=1), none, np.full(len(cloud), frame), shares))
    return _joined(parts) if parts else None


def _border(elements, count):
    """Which points lie on the rim of triangles, or at the ends of edges, shape [n] bool."""
    out = np.zeros(count, bool)
    if elements.shape[1] == 2:
        out[np.flatnonzero(np.bincount(elements.ravel(), minlength=count) == 1)] = True
        return out
    sides, times = np.unique(np.sort(elements[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1), axis=0, return_counts=True)
    out[sides[times == 1].ravel()] = True
    return out


def _rates(looks, frames, ways, moves, extent, fastest):
    """Velocity and acceleration along the ways, [2, q]; how far what is seen has moved at the end of the window, and its spread [m].

    Both are root mean squares over what was looked at then: of ways that nothing shows, a few points tell neither motion nor rest.
    """
    q, t = len(ways), looks.times
    led = np.empty(len(t))
    for k, frame in enumerate(frames):
        rows = looks.frames == frame
        led[rows] = np.einsum("pk,pkc,pc->p", looks.weights[rows], moves[k][looks.nodes[rows]], looks.axes[rows])
    own = looks.along(ways)
    placed = own * (looks.groups < 0)[:, None]
    matrix = np.concatenate([placed, own * t[:, None], own * (t**2 / 2)[:, None]], axis=1)
    right = looks.lags - led
    matrix, right = _centred(matrix, right, looks.groups)
    prior = np.concatenate([np.full(q, 1 / (MOVED * extent)), 1 / fastest, FASTEST / (HARDEST * fastest)])
    weight = looks.shares
    left = right
    for _ in range(ROUNDS):
        noise = max(1.4826 * float(np.median(np.abs(left))), 1e-6 * extent)
        weighted = matrix * (weight / noise**2)[:, None]
        normal = weighted.T @ matrix + np.diag(prior**2)
        found = np.linalg.solve(normal, weighted.T @ right)
        left = right - matrix @ found
        size = np.abs(left) / noise
        weight = looks.shares * np.where(size < 2.0, 1.0, 2.0 / np.maximum(size, 2.0)) ** 2
    last = t >= t.max() - 1e-9
    shown = np.concatenate([own[last] * t[last, None], own[last] * (t[last, None] ** 2 / 2)], axis=1)
    covariance = np.linalg.inv(normal)[q:, q:]
    moved = shown @ found[q:] + led[last]
    unsure = np.einsum("pa,ab,pb->p", shown, covariance, shown)
    return found[q:].reshape(2, q), float(np.sqrt(np.mean(moved**2))), float(np.sqrt(np.mean(unsure)))


def _centred(matrix, right, groups):
    """Rows less the mean of their group, which takes the group's unknown offset out."""
    own = groups >= 0
    if not own.any():
        return matrix, right
    number = groups[own]
    sizes = np.maximum(np.bincount(number), 1)
    matrix, right = matrix.copy(), right.copy()
    means = np.zeros((len(sizes), matrix.shape[1]))
    np.add.at(means, number, matrix[own])
    matrix[own] -= means[number] / sizes[number][:, None]
    right[own] -= np.bincount(number, right[own])[number] / sizes[number]
    return matrix, right
