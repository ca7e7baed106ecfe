"""Where a known shape lies in a frame, and what kind of body a cloud looks like."""

from dataclasses import replace

import numpy as np
from scipy.spatial import cKDTree

from physsim.appearance.nearest import nearest_element
from physsim.capture.capture import Capture
from physsim.errors import InputError
from physsim.physics.mesh import TetMesh
from physsim.physics.rods import Curve
from physsim.physics.tetrahedralize import closed_surface, tetrahedralize
from physsim.twin.clouds import area_of, cloud_noise, hull_of, inliers, sampled, seen_at, singular_extents, thinned, touched
from physsim.twin.elements import elements_of, mesh_edges, rest_points
from physsim.twin.noise import track_noise
from physsim.twin.registration import bent_to
from physsim.twin.rigid import robust_pose, turned_to
from physsim.twin.rod_shape import evenly, rod_lines
from physsim.twin.sight import SAMPLED, Sight
from physsim.twin.solid_shape import CELLS, CLOSED, closed_share, filled_hull
from physsim.twin.touches import TOLD, touches

ALIKE = 0.2  # relative difference of the lengths of edges below which tracks are the mesh's own points
BETWEEN = 15  # frames, at most, through which a pose is carried to another frame
FOLLOWED = 20  # tracks, at least, that carry a pose
DENSE = 20_000  # points that tell how far a cloud reaches
SHOWN = 0.8  # share of a sheet's area that is seen where it shows all of it
SLENDER = 0.12  # second over first extent of a rod, in pieces of it
DOUBTED = 3.0  # noises off: another pose is tried, and if that is no better it is said
LEAST = 1e-3  # of the extent: how far points that nothing is said of are off at least
ROUNDING = 1e-3  # of that: of noise that is stated to be less
SEATED = 30  # rounds in which what is held is laid onto its places
TOUCHED = 0.9  # share of its places at which a touch must find a body that lies as it is given
THIN = 0.06  # third over first extent of a sheet


def sensor_noise(capture: Capture, fallback: float) -> float:
    """Standard deviation of points and depth as the capture states it [m], or what was estimated."""
    stated = [capture.noise[s] for s in ("points", "depth", "tracks") if s in capture.sensors and s in capture.noise]
    return float(max(stated)) if stated and max(stated) > 0 else fallback


def sight_at(capture: Capture, mesh: object, kind: str, frame: int, seed: int, bound: tuple | None = None) -> Sight:
    """What is seen of a body in a frame.

    Args:
        capture, mesh, kind, frame: as named.
        seed: of the points that are used.
        bound: (tracks, nodes, weights) that are known to be points of the body; None: tracks count as points of the cloud.
    """
    cloud = inliers(capture.cloud(frame)) if bound is not None else seen_at(capture, frame)
    if bound is None:
        cloud = cloud[: len(cloud) - len(touched(capture, frame))]  # these come in as touches, without noise
    few = sampled(cloud, SAMPLED, seed)
    shown = [cloud_noise(few) if len(few) > 20 else np.nan, np.nan if bound is None else track_noise(capture.tracks.positions)]
    # what is still, or was smoothed, scatters less than it is off: where a marker sits is known no better than this
    least = LEAST * float(np.ptp(rest_points(mesh), axis=0).max())
    noise = max(sensor_noise(capture, float(np.nanmax([*shown, least]))), ROUNDING * least)
    whole = len(few) > 0 and shows_all(few, mesh, kind)
    tracks, nodes, weights = bound if bound is not None else (np.zeros(0, int), np.zeros((0, 1), int), np.zeros((0, 1)))
    points = capture.tracks.positions[frame][tracks] if bound is not None else np.zeros((0, 3))
    edges, rest = mesh_edges(mesh), rest_points(mesh)
    cell = float(np.median(np.linalg.norm(rest[edges[:, 1]] - rest[edges[:, 0]], axis=1)))
    found = touches(capture, float(capture.times[frame]), cell)
    return Sight(few, points, nodes, weights, noise, whole, dense=sampled(cloud, DENSE, seed), touches=found)


def with_held(x: np.ndarray, sight: Sight) -> Sight:
    """A sight to which those points of a body at x [n, 3] are added that touches hold there, each where they hold it."""
    parts, width = [(sight.points, sight.nodes, sight.weights)], sight.nodes.shape[1]
    taken = np.zeros(len(x), bool)
    for touch in sight.touches:
        held = touch.within(x)
        held = held[~taken[held]]
        taken[held] = True
        if len(held) == 0:
            continue
        # what a hand holds keeps its shape
        R, t = robust_pose(x[held], touch.aims(x[held]), np.ones(len(held)))
        nodes = np.tile(held[:, None], (1, width))
        weights = np.zeros(nodes.shape)
        weights[:, 0] = 1.0
        parts.append((x[held] @ R.T + t, nodes, weights))
    points, nodes, weights = (np.concatenate(part) for part in zip(*parts, strict=True))
    return replace(sight, points=points, nodes=nodes, weights=weights, held=int(taken.sum()))


def seated(pose: np.ndarray, rest: np.ndarray, sight: Sight) -> np.ndarray:
    """The pose [n, 3] with what told places hold lying on them as at rest: a hand's turn carries on to all that hangs from it."""
    out = pose.copy()
    for touch in sight.touches:
        held = touch.within(pose)
        if len(held) < 2:
            continue
        every = np.ones(len(held))
        R, t = robust_pose(rest[held], pose[held], every)
        for _ in range(SEATED):
            moved = rest[held] @ R.T + t
            turn, shift = robust_pose(moved, touch.aims(moved), every)
            R, t = turn @ R, turn @ t + shift
        moved = rest[held] @ R.T + t
        if np.median(np.linalg.norm(touch.onto(moved) - moved, axis=1)) < TOLD:
            out[held] = moved
    return out


def lies_held(x: np.ndarray, sight: Sight) -> bool:
    """Whether touches find a body at x [n, 3] in nearly all of their places, and it lies on them."""
    for touch in sight.touches:
        held = touch.within(x)
        if len(held) == 0 or np.mean(cKDTree(x[held]).query(touch.places)[0] <= 2.0 * touch.reach) < TOUCHED:
            return False
        if np.median(np.linalg.norm(touch.onto(x[held]) - x[held], axis=1)) > 2.0 * TOLD:
            return False
    return True


def shows_all(cloud: np.ndarray, mesh: object, kind: str) -> bool:
    """Whether a cloud shows all of a body, so that it reaches no further."""
    if kind == "rod":
        return True
    if kind == "sheet":
        return area_of(cloud) > SHOWN * float(mesh.areas().sum())
    return len(cloud) > 20 and hull_of(cloud) is not None and closed_share(cloud) > CLOSED


def own_tracks(capture: Capture, mesh: object, frame: int) -> tuple | None:
    """(tracks, nodes, weights) where it is known which points of the mesh the tracks are. Else None.

    It is where the capture says where they are at rest, or where they are the mesh's points one by one: their edges are about as long.
    """
    if capture.tracks is not None and capture.tracks.rest is not None:
        elements = elements_of(mesh)
        which, weights, _ = nearest_element(capture.tracks.rest, rest_points(mesh)[elements])
        return np.arange(len(which)), elements[which], weights
    if capture.tracks is None or capture.tracks.positions.shape[1] != len(rest_points(mesh)):
        return None
    places, rest, edges = capture.tracks.positions[frame], rest_points(mesh), mesh_edges(mesh)
    seen = np.linalg.norm(places[edges[:, 1]] - places[edges[:, 0]], axis=1)
    rest = np.linalg.norm(rest[edges[:, 1]] - rest[edges[:, 0]], axis=1)
    both = np.isfinite(seen)
    if both.sum() < 3 or np.median(np.abs(seen[both] / rest[both] - 1)) > ALIKE:
        return None
    every = np.arange(len(places))
    return every, every[:, None], np.ones((len(every), 1))


def laid(capture: Capture, mesh: object, kind: str, frame: int, seed: int) -> tuple[np.ndarray, list[str]]:
    """(positions of a mesh's points in a frame [m], shape [n, 3]; remarks). The mesh may be given in any pose."""
    rest = rest_points(mesh)
    bound = own_tracks(capture, mesh, frame)
    sight = sight_at(capture, mesh, kind, frame, seed, bound)
    if len(sight.cloud) < 3 and bound is None:
        return rest, [f"frame {frame} shows {len(sight.cloud)} points: the mesh is taken to lie as it is given"]
    if bound is None and kind == "rod" and isinstance(mesh, Curve) and not mesh.closed:
        return _laid_rod(capture, mesh, frame, sight), []
    tried = []
    if lies_held(rest, sight):  # where a hand finds it, it may have sagged far since
        tried.append(bent_to(mesh, kind, rest, with_held(rest, sight), only_if_near=not sight.touches))
    if not tried or tried[0][0] is None or tried[0][1] > DOUBTED:
        turned = turned_to(mesh, rest, sight)
        tried.append(bent_to(mesh, kind, turned, with_held(turned, sight)))
    pose, misfit = min((found for found in tried if found[0] is not None), key=lambda found: found[1])
    remarks = []
    if misfit > DOUBTED:
        remarks.append(f"the mesh lies {misfit:.1f} noises from what is seen in frame {frame}: is it the right shape and size?")
    return seated(pose, rest, sight), remarks


def _laid_rod(capture, mesh, frame, sight):
    line = evenly(rod_lines(capture, np.array([frame]))[0], 200)
    share = (mesh.arc - mesh.arc[0]) / (mesh.arc[-1] - mesh.arc[0])
    fits = []
    for way in (line, line[::-1]):
        guess = np.stack([np.interp(share, np.linspace(0, 1, len(way)), c) for c in way.T], axis=1)
        pose, misfit = bent_to(mesh, "rod", guess, along_line(guess, sight.noise))
        fits.append((round(misfit, 2), float(np.linalg.norm(pose - mesh.line)), pose))
    return min(fits, key=lambda fit: fit[:2])[2]


def along_line(line: np.ndarray, noise: float) -> Sight:
    """A rod's points, each where a smooth line says."""
    every = np.arange(len(line))
    return Sight(np.zeros((0, 3)), line, every[:, None], np.ones((len(line), 1)), noise)


def carried(capture: Capture, mesh: object, kind: str, pose: np.ndarray, begin: int, end: int, seed: int) -> np.ndarray:
    """A pose in frame `begin` carried to frame `end` [m], shape [n, 3]: by tracks where there are enough, frame by frame by clouds."""
    bound = followed(capture, mesh, pose, begin, end)
    if bound is not None:
        return bent_to(mesh, kind, pose, sight_at(capture, mesh, kind, end, seed, bound))[0]
    frames = np.unique(np.linspace(begin, end, min(abs(end - begin), BETWEEN) + 1).round().astype(int))
    before = pose
    for frame in frames if end >= begin else frames[::-1]:
        guess = pose if frame == begin else 2 * pose - before
        before, pose = pose, bent_to(mesh, kind, guess, sight_at(capture, mesh, kind, int(frame), seed))[0]
    return pose


def followed(capture: Capture, mesh: object, pose: np.ndarray, begin: int, end: int) -> tuple | None:
    """(tracks, nodes, weights) of tracks that are seen in two frames, bound to the body where it lies in the first; None: too few."""
    if capture.tracks is None:
        return None
    tracks = np.flatnonzero(capture.tracks.visible[begin] & capture.tracks.visible[end])
    if len(tracks) < FOLLOWED:
        return None
    elements = elements_of(mesh)
    element, weights, away = nearest_element(capture.tracks.positions[begin][tracks], pose[elements])
    near = away <= 4.0 * np.median(away) + 1e-9
    return tracks[near], elements[element[near]], weights[near]


def guessed_kind(capture: Capture, frame: int) -> tuple[str, str]:
    """(kind that the points of a frame look like, a sentence that says so)."""
    cloud = seen_at(capture, frame)
    if len(cloud) < 5:
        raise InputError(f"frame {frame} shows {len(cloud)} points: too few to tell a solid, a sheet and a rod apart; name the kind")
    if len(cloud) < 20 or _is_rod(cloud):
        return "rod", "what is seen is long and slender: it is taken for a rod"
    one_view = capture.points is None and len(capture.depth) == 1
    sizes = singular_extents(cloud)
    extent = float(np.ptp(cloud @ np.linalg.svd(cloud - cloud.mean(axis=0), full_matrices=False)[2].T, axis=0).max())
    thin = capture.known.thickness is not None and capture.known.thickness < 0.1 * extent
    flat = sizes[2] < THIN * sizes[0] + cloud_noise(cloud)
    doubt = "; one view cannot tell a sheet from the face of a solid: name the kind if this is wrong" if one_view else ""
    if thin:
        return "sheet", "its thickness is known to be small: it is taken for a sheet"
    if flat and not _stands_off(capture, cloud, extent):
        return "sheet", f"what is seen is flat: it is taken for a sheet{doubt}"
    hull = hull_of(cloud)
    if not one_view and hull is not None and area_of(cloud) < 0.6 * hull.area:
        return "sheet", "what is seen encloses nothing: it is taken for a sheet"
    return "solid", f"what is seen is neither flat nor slender: it is taken for a solid{doubt}"


def _is_rod(cloud):
    """Whether pieces of a cloud, a third of its extent long, are slender: nearly all of them."""
    few = thinned(cloud, 400)
    reach = 0.15 * float(np.ptp(few, axis=0).max())
    picks = few[:: max(1, len(few) // 40)]
    slender = []
    for middle in picks:
        near = few[np.linalg.norm(few - middle, axis=1) < reach]
        if len(near) >= 5:
            sizes = singular_extents(near)
            slender.append(sizes[1] < 2 * SLENDER * sizes[0])
    return len(slender) > 0 and np.mean(slender) > 0.7


def _stands_off(capture, cloud, extent):
    """Whether a flat cloud lies well above the ground, as the top of a solid does, and along it."""
    if capture.known.ground is None:
        return False
    point, normal = np.asarray(capture.known.ground, float)
    heights = (cloud - point) @ (normal / np.linalg.norm(normal))
    return bool(np.percentile(heights, 90) - np.percentile(heights, 10) < 0.1 * extent and np.median(heights) > 0.05 * extent)


def meshed_surface(surface: object, cell_size: float | None) -> tuple[TetMesh, str]:
    """(tetrahedra of a closed surface, a sentence that says how they were made)."""
    points, triangles = closed_surface(surface)
    hull = hull_of(points)
    a, b, c = (points[triangles[:, k]] - points.mean(axis=0) for k in range(3))
    volume = float(np.einsum("ij,ij->", a, np.cross(b, c))) / 6
    size = (volume / CELLS) ** (1 / 3) if cell_size is None else cell_size
    if hull is not None and volume > 0.97 * hull.volume:
        return filled_hull(points, size), "the mesh's closed surface is filled with tetrahedra"
    return tetrahedralize(surface, edge_length=size), "the mesh's closed surface is filled by fTetWild: another mesh each time, keep it"
