"""Clouds of points that were seen of a body: thinned, cleaned, measured along the body, unrolled."""

import numpy as np
from scipy import sparse
from scipy.sparse import csgraph
from scipy.spatial import ConvexHull, QhullError, cKDTree

from physsim.capture.capture import Capture
from physsim.errors import InputError

NEIGHBOURS = 8  # of the graph along which distances on the body are measured
SMOOTHEST = 2e-4  # noise over the extent that is taken at least
ROUNDS = 60  # of fitting unrolled distances to near ones


def thinned(cloud: np.ndarray, count: int) -> np.ndarray:
    """About `count` points, evenly spread: the mean of those in each cube of a grid whose size is found by halving. By Open3D.

    Raises:
        InputError: Open3D is not installed.
    """
    if len(cloud) <= count:
        return cloud
    try:
        from open3d import geometry, utility
    except ImportError:
        raise InputError("a body without a mesh is made by Open3D: give the capture a mesh, or pip install 'physsim[capture]'") from None
    whole = geometry.PointCloud(utility.Vector3dVector(cloud))
    low, high = 0.0, float(np.ptp(cloud, axis=0).max())
    for _ in range(20):
        size = (low + high) / 2
        few = whole.voxel_down_sample(size)
        if abs(len(few.points) - count) <= 0.05 * count:
            break
        low, high = (size, high) if len(few.points) > count else (low, size)
    return np.array(few.points)


def sampled(cloud: np.ndarray, count: int, seed: int = 0) -> np.ndarray:
    """At most `count` of the points, drawn at random, in their order."""
    if len(cloud) <= count:
        return cloud
    return cloud[np.sort(np.random.default_rng(seed).choice(len(cloud), count, replace=False))]


def inliers(cloud: np.ndarray, neighbours: int = 12) -> np.ndarray:
    """Points that are not far from their neighbours: within four times the median of the mean distance to them.

    Against a median, unlike Open3D's mean and spread, which a few wild points move; and given meshes are laid without Open3D.
    """
    cloud = cloud[np.isfinite(cloud).all(axis=1)]
    if len(cloud) <= neighbours:
        return cloud
    distance = cKDTree(cloud).query(cloud, neighbours + 1)[0][:, 1:].mean(axis=1)
    return cloud[distance <= 4.0 * np.median(distance)]


def cloud_noise(cloud: np.ndarray, asked: int = 400) -> float:
    """Standard deviation of points across the surface that they lie on [m], from planes through the 150th part of them."""
    extent = float(np.ptp(cloud, axis=0).max(initial=1e-6))
    count = int(np.clip(len(cloud) / 150, 16, 200))
    if len(cloud) <= count:
        return 1e-3 * extent
    near = cKDTree(cloud).query(cloud[np.linspace(0, len(cloud) - 1, min(asked, len(cloud))).astype(int)], count)[1]
    _, least, _ = _planes(cloud[near])
    # where the surface is curved a plane is no fit: a quarter of the patches are hardly curved
    return max(float(np.sqrt(np.quantile(np.maximum(least, 0.0), 0.25)) * 1.05), SMOOTHEST * extent)


def _planes(patches):
    """(middles [p, 3], variance across [p], normals [p, 3]) of planes through points [p, k, 3]."""
    middle = patches.mean(axis=1)
    arm = patches - middle[:, None]
    values, vectors = np.linalg.eigh(np.einsum("pki,pkj->pij", arm, arm) / (patches.shape[1] - 3))
    return middle, values[:, 0], vectors[:, :, 0]


def smoothed(cloud: np.ndarray, rounds: int = 1) -> np.ndarray:
    """Points put onto planes through their neighbours: the noise of a cloud less, its sharp edges a little round."""
    count = int(np.clip(len(cloud) / 200, 12, 40))
    if len(cloud) <= 2 * count:
        return cloud
    for _ in range(rounds):
        middle, _, normal = _planes(cloud[cKDTree(cloud).query(cloud, count)[1]])
        cloud = cloud - ((cloud - middle) * normal).sum(axis=1)[:, None] * normal
    return cloud


def seen_at(capture: Capture, frame: int) -> np.ndarray:
    """All points of the body that were seen in a frame, each once, without outliers [m], shape [n, 3]: of points, depth and tracks."""
    parts = [capture.cloud(frame)]
    if capture.tracks is not None:
        parts.append(capture.tracks.positions[frame][capture.tracks.visible[frame]])
    return distinct(np.concatenate([inliers(np.concatenate(parts)), touched(capture, frame)]))


def distinct(cloud: np.ndarray) -> np.ndarray:
    """Points [n, 3] without those that are there already, in their order: captures whose points are their tracks hold them twice."""
    return cloud[np.sort(np.unique(cloud, axis=0, return_index=True)[1])]


def touched(capture: Capture, frame: int) -> np.ndarray:
    """Places in the world where handles that hold the body touch it in a frame [m], shape [n, 3]: what they hide from cameras.

    Of handles alone that hold what lies within a radius much smaller than the extent of their places.
    """
    parts = [np.zeros((0, 3))]
    for handle in capture.handles.values():
        if handle.places is None or len(handle.places) < 2 or handle.radius is None or handle.opening is not None:
            continue
        if handle.radius < 0.2 * float(np.ptp(handle.places, axis=0).max()):
            place, turn = handle.at(np.array(capture.times[frame]))
            parts.append(place + handle.places @ turn.T)
    return np.concatenate(parts)


def singular_extents(cloud: np.ndarray) -> np.ndarray:
    """Root mean square extents along the principal axes [m], the largest first, shape [3]."""
    arm = cloud - cloud.mean(axis=0)
    return np.linalg.svd(arm, compute_uv=False) / np.sqrt(len(cloud))


def area_of(cloud: np.ndarray, count: int = 2000, nearest: int = 6) -> float:
    """Area of the surface on which points lie [m^2]: each stands for what the density of its neighbours leaves to it."""
    few = sampled(cloud, count)
    if len(few) <= nearest:
        return 0.0
    # of points scattered evenly, pi r^2 / k has the mean 1 / density, where r is the distance of the k-th neighbour
    reach = cKDTree(few).query(few, nearest + 1)[0][:, -1]
    return float((np.pi * reach**2 / nearest).sum())


def hull_of(points: np.ndarray) -> ConvexHull | None:
    """Convex hull, or None of points in one plane."""
    try:
        return ConvexHull(points)
    except (QhullError, ValueError):
        return None


def graph_distances(points: np.ndarray, begin: np.ndarray | None = None) -> np.ndarray:
    """Distances along the body [m] from the points of numbers `begin` (None: from all), shape [b, n], by steps to near points.

    Parts of the graph that are apart are joined where they are nearest to each other.
    """
    count = min(NEIGHBOURS + 1, len(points))
    distance, number = cKDTree(points).query(points, count)
    rows = np.repeat(np.arange(len(points)), count - 1)
    graph = sparse.csr_matrix((distance[:, 1:].ravel(), (rows, number[:, 1:].ravel())), (len(points),) * 2)
    graph = graph.maximum(graph.T)
    while True:
        parts, label = csgraph.connected_components(graph, directed=False)
        if parts == 1:
            break
        own = label == label[0]
        away, nearest = cKDTree(points[own]).query(points[~own])
        k = int(away.argmin())
        a, b = np.flatnonzero(own)[nearest[k]], np.flatnonzero(~own)[k]
        graph = graph.tolil()
        graph[a, b] = graph[b, a] = max(away[k], 1e-12)
        graph = graph.tocsr()
    return csgraph.dijkstra(graph, directed=False, indices=begin)


def unrolled(points: np.ndarray) -> np.ndarray:
    """Places in the plane [m], shape [n, 2], of points of a curved sheet, so that distances along the sheet are kept.

    Classical scaling of the distances along the sheet (Tenenbaum et al. 2000), whose zigzag makes them too long; then those between near
    points, which are straight, are fitted by majorisation.
    """
    far = graph_distances(points)
    n = len(points)
    centre = np.eye(n) - 1 / n
    values, vectors = np.linalg.eigh(-0.5 * centre @ far**2 @ centre)
    uv = vectors[:, -2:] * np.sqrt(np.maximum(values[-2:], 0.0))
    count = min(2 * NEIGHBOURS + 1, n)
    distance, number = cKDTree(points).query(points, count)
    a, b = np.repeat(np.arange(n), count - 1), number[:, 1:].ravel()
    wanted = distance[:, 1:].ravel()
    along = uv[b] - uv[a]
    size = np.linalg.norm(along, axis=1)
    uv = uv * np.median(wanted / np.maximum(size, 1e-12))
    ones = np.ones(len(a))
    joined = sparse.coo_matrix((ones, (a, b)), (n, n))
    joined = (joined + joined.T).tocsr()
    laplacian = sparse.diags(np.asarray(joined.sum(axis=1)).ravel()) - joined
    solve = sparse.linalg.splu((laplacian + 1e-9 * sparse.identity(n)).tocsc())
    for _ in range(ROUNDS):
        along = uv[b] - uv[a]
        aim = along * (wanted / np.maximum(np.linalg.norm(along, axis=1), 1e-12))[:, None]
        right = np.zeros((n, 2))
        np.add.at(right, b, aim)
        np.add.at(right, a, -aim)
        uv = solve.solve(right)
    return uv - uv.mean(axis=0)
