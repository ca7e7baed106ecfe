"""A body as it is, turned and shifted to where it was seen and to where handles are said to touch it."""

import numpy as np
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from physsim.appearance.nearest import nearest_element
from physsim.twin.clouds import sampled
from physsim.twin.elements import elements_of
from physsim.twin.sight import Sight
from physsim.twin.touches import TOLD

TURNED, SETTLED = 12, 40  # rounds of a rigid fit; and where touches tell where the body lies in its own faces
FEW, PROMISING = 120, 6  # points of a first look from every direction, and directions that are looked at again
NEARER = 1.05  # misfit over the best below which a rigid fit that turns less is preferred
SHIFTS = 400  # points of the body that are tried at the middle of what is touched
SURE = 30.0  # weight of a pair of a touch over one of a cloud, at most
CLIPPED = 6.0  # medians beyond which a distance counts for no more
TURNS = 0.1  # share of its misfit that a turn must win a radian [1/rad]
DECIDES = 3.0  # how much more a touch's misfit counts than a cloud's


def turned_to(mesh: object, x: np.ndarray, sight: Sight) -> np.ndarray:
    """The body as it is, turned and shifted to where it was seen: from many directions, and the smallest turn of those that fit."""
    if len(sight.points):
        return _turned_to_points(mesh, x, sight)
    elements = elements_of(mesh)
    used = np.unique(elements)
    cloud = sampled(sight.cloud, 500)
    middle, aim = x[used].mean(axis=0), cloud.mean(axis=0)
    own, theirs = (_axes(points) for points in (x[used], cloud))
    begins = [(np.eye(3), np.zeros(3)), (np.eye(3), aim - middle)]
    few = sampled(cloud, FEW)
    begins += _shifts_to_touches(x, elements, few, sight)
    for turn in Rotation.create_group("O").as_matrix():
        R = theirs @ turn @ own.T
        begins.append((R, aim - R @ middle))
    rough = [_rigid_rounds(x, elements, few, R, t, sight) for R, t in begins]
    begins = sorted(rough, key=lambda fit: fit[2])[:PROMISING]
    begins.append(min(rough[: len(rough) - 24], key=lambda fit: fit[2]))  # where the smallest turn leads, should it fit as well
    fits = []
    for R, t, _ in begins:
        fitted = _rigid_rounds(x, elements, cloud, R, t, sight)
        fits.append((*fitted, float(Rotation.from_matrix(fitted[0]).magnitude())))
    # only what may be the best is fitted to the point
    least = min(fit[2] for fit in fits)
    close = [_rigid_rounds(x, elements, cloud, R, t, sight, exact=True) for R, t, size, _ in fits if size < 2.0 * least]
    fits = [(*fit, float(Rotation.from_matrix(fit[0]).magnitude())) for fit in close]
    least = min(fit[2] for fit in fits)
    good = [fit for fit in fits if fit[2] <= NEARER * least + 0.2 * sight.noise]
    R, t, _, _ = min(good, key=lambda fit: round(fit[3], 2))
    if sight.touches:
        # a sheet fits well enough at each of its rows where few of its points are seen: only ways that fit alike are told apart by the turn
        R, t, _, _ = min(fits, key=lambda fit: fit[2] * (1.0 + TURNS * fit[3]))
        R, t, _ = _rigid_rounds(x, elements, cloud, R, t, sight, exact=True, rounds=SETTLED)
    return x @ R.T + t


def _turned_to_points(mesh, x, sight):
    """To points that are known, some of them wrongly; then to touches as well."""
    seen = np.isfinite(sight.points).all(axis=1)
    own = np.einsum("pk,pkc->pc", sight.weights, x[sight.nodes])[seen]
    R, t = robust_pose(own, sight.points[seen])
    elements = elements_of(mesh)
    for _ in range(SETTLED if sight.touches else 0):
        moved = x @ R.T + t
        held, aims, sure = _touched(moved, elements, sight)
        both = np.concatenate([own @ R.T + t, held]), np.concatenate([sight.points[seen], aims])
        turn, shift = robust_pose(*both, np.concatenate([np.zeros(len(own)), sure]))
        R, t = turn @ R, turn @ t + shift
        if np.abs(x @ R.T + t - moved).max() < 0.02 * sight.noise:
            break
    return x @ R.T + t


def robust_pose(own: np.ndarray, seen: np.ndarray, sure: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Rotation [3, 3] and shift [3] that take points to where they were seen, some of them wrongly; shapes [p, 3].

    sure: weights of pairs that are not wrong; 0: of those that may be. Shape [p]; None: all of them may be.
    """
    doubt = np.ones(len(own), bool) if sure is None else sure == 0.0
    weight = np.ones(len(own)) if sure is None else np.where(doubt, 1.0, sure)
    R, t = np.eye(3), np.zeros(3)
    for _ in range(10):
        share = weight / weight.sum()
        a, b = share @ own, share @ seen
        R = rotation_between((own - a) * share[:, None], seen - b)
        t = b - R @ a
        if not doubt.any():
            break
        away = np.linalg.norm(own @ R.T + t - seen, axis=1)[doubt]
        scale = max(float(np.median(away)), 1e-12)
        weight[doubt] = 1.0 / (1.0 + (away / (2 * scale)) ** 2) ** 2
    return R, t


def rotation_between(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The rotation that best takes vectors a to b, shapes [p, 3] (Kabsch 1976)."""
    u, _, vt = np.linalg.svd(a.T @ b)
    flip = np.diag([1.0, 1.0, np.sign(np.linalg.det(vt.T @ u.T))])
    return vt.T @ flip @ u.T


def _axes(points: np.ndarray) -> np.ndarray:
    axes = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)[2].T
    axes[:, 2] = np.cross(axes[:, 0], axes[:, 1])
    return axes


def _shifts_to_touches(x, elements, cloud, sight):
    """Without a turn, the few shifts [(identity, shift)] that bring some part of the body to what is touched and fit best."""
    if not sight.touches:
        return []
    places = np.concatenate([touch.places for touch in sight.touches])
    few = sampled(places, FEW)
    spots = np.concatenate([x[np.unique(elements)], x[elements].mean(axis=1)])
    shifts = places.mean(axis=0) - sampled(spots, SHIFTS)
    tree = cKDTree(spots)
    sizes = np.array([_trimmed(tree.query(cloud - t)[0]) + DECIDES * _trimmed(tree.query(few - t)[0]) for t in shifts])
    return [(np.eye(3), shifts[k]) for k in np.argsort(sizes, kind="stable")[:3]]


def _touched(moved, elements, sight):
    """(points of the body [p, 3], where touches want them [p, 3], weights [p]): held points, and what lies next to the places."""
    own, aims, sure = [np.zeros((0, 3))], [np.zeros((0, 3))], [np.zeros(0)]
    weight = min((sight.noise / TOLD) ** 2, SURE)
    used = np.unique(elements)
    for touch in sight.touches:
        held = used[touch.within(moved[used])]
        if len(held):
            own.append(moved[held])
            aims.append(touch.aims(moved[held]))
        # the places themselves pull only while the points held do not cover them: later they would keep the body from slipping
        if len(held) == 0 or np.median(cKDTree(moved[held]).query(touch.places)[0]) > 2.0 * touch.reach:
            places = sampled(touch.places, FEW)
            element, weights, _ = nearest_element(places, moved[elements])
            own.append(np.einsum("pk,pkc->pc", weights, moved[elements[element]]))
            aims.append(places)
        sure += [np.full(len(part), weight * min(1.0, 20.0 / len(part))) for part in own[len(sure) :]]
    return np.concatenate(own), np.concatenate(aims), np.concatenate(sure)


def _rigid_rounds(x, elements, cloud, R, t, sight, exact=False, rounds=TURNED):
    """Iterated closest points; (rotation, shift, misfit [m])."""
    used = np.unique(elements)
    misfit = size = np.inf
    # far from the body the nearest of the elements' corners and middles does as well as the nearest point of all of them
    spots = np.concatenate([x[used], x[elements].mean(axis=1)])
    for _ in range(rounds):
        moved = x @ R.T + t
        if exact:
            element, weights, away = nearest_element(cloud, moved[elements])
            own, seen = np.einsum("pk,pkc->pc", weights, moved[elements[element]]), cloud
        else:
            placed = spots @ R.T + t
            away, element = cKDTree(placed).query(cloud)
            own, seen = placed[element], cloud
        back, number = cKDTree(cloud).query(moved[used])
        size = _trimmed(away)
        if sight.whole:
            own, seen = np.concatenate([own, moved[used]]), np.concatenate([seen, cloud[number]])
        size += (1.0 if sight.whole else 0.1) * _trimmed(back)
        sure = None
        if sight.touches:
            held, aims, firm = _touched(moved, elements, sight)
            size += DECIDES * _trimmed(np.linalg.norm(held - aims, axis=1))
            sure = np.concatenate([np.zeros(len(own)), firm])
            own, seen = np.concatenate([own, held]), np.concatenate([seen, aims])
        turn, shift = robust_pose(own, seen, sure)
        R, t = turn @ R, turn @ t + shift
        # along its own faces a body slips slowly to where touches want it, and its misfit hardly says so
        settled = size > 0.999 * misfit if rounds == TURNED else np.abs(x @ R.T + t - moved).max() < 0.02 * sight.noise
        if settled:
            break
        misfit = size
    return R, t, min(size, misfit)


def _trimmed(away: np.ndarray) -> float:
    """Root mean square of distances; those far beyond the others count as if they were at the border."""
    return float(np.sqrt(np.mean(np.minimum(away, max(CLIPPED * np.median(away), np.quantile(away, 0.9))) ** 2)))
