"""A sheet from what was seen: its outline where it lies flattest, or unrolled, filled with triangles."""

import numpy as np
from scipy.interpolate import RBFInterpolator
from scipy.ndimage import label
from scipy.spatial import cKDTree

from physsim.capture.capture import Capture
from physsim.errors import InputError
from physsim.physics.sheets import TriMesh, sheet_mesh
from physsim.twin.clouds import cloud_noise, hull_of, seen_at, singular_extents, thinned, unrolled

FLAT = 0.01  # departure from a plane over the extent below which a sheet lies flat
FRAMES = 12  # that are searched for the flattest
POINTS = 400  # of the mesh where no cell size is given
RECTANGLE = 0.93  # share of its bounding rectangle that a rectangular sheet fills
UNROLLED = 500  # points that are unrolled
SHARE = 0.5  # of a cell that the sheet covers where the cell belongs to it


def flattest(capture: Capture, frame: int) -> tuple[int, bool]:
    """(the frame whose points lie flat and spread widest, whether any lies flat at all)."""
    fit = capture.fit[capture.fit >= frame]
    frames = fit[np.unique(np.linspace(0, len(fit) - 1, FRAMES).astype(int))] if len(fit) else np.array([frame])
    best, widest = frame, 0.0
    for number in frames:
        cloud = thinned(seen_at(capture, int(number)), 2000)
        if len(cloud) < 20:
            continue
        sizes = singular_extents(cloud)
        if sizes[2] > FLAT * sizes[0] + 1.5 * cloud_noise(cloud):
            continue
        area = sizes[0] * sizes[1]
        if area > 1.03 * widest:  # a later frame only where it shows more
            best, widest = int(number), area
    return best, widest > 0.0


def sheet_shape(capture: Capture, frame: int, cell_size: float | None) -> tuple[TriMesh, np.ndarray, int, list[str]]:
    """Rest shape of a sheet.

    Returns:
        (TriMesh flat in the xy plane, its pose in a frame [m], shape [n, 3], that frame, remarks).

    Raises:
        InputError: too few points.
    """
    best, flat = flattest(capture, frame)
    number = best if flat else frame
    cloud = seen_at(capture, number)
    if len(cloud) < 20:
        raise InputError(f"sheet: {len(cloud)} points are seen in frame {number}; at least 20 are needed to find its outline")
    if flat:
        middle = cloud.mean(axis=0)
        axes = np.linalg.svd(cloud - middle, full_matrices=False)[2]
        uv, points = (cloud - middle) @ axes[:2].T, cloud
        remarks = [f"the rest shape of the sheet is its outline in frame {number}, where it lies flat"]
    else:
        few = thinned(cloud, UNROLLED)
        # thinning takes the rim's outermost points away: the others' places follow those of thinned neighbours
        points = cloud
        try:
            uv = RBFInterpolator(few, unrolled(few), neighbors=16, kernel="linear", degree=1)(points)
        except np.linalg.LinAlgError:  # neighbours that span no plane
            raise InputError(f"sheet: points seen in frame {number} lie in lines; is it a rod, or are there too few of them?") from None
        remarks = [f"the sheet lies flat in no frame: its rest shape is unrolled from frame {number}, what is hidden in folds is missing"]
    mesh = outlined(uv, cell_size)
    if capture.known.length is not None:
        longest = float(np.ptp(mesh.points, axis=0).max())
        scale = capture.known.length / longest
        remarks.append(f"the longest edge was seen as {longest:.4g} m and is set to the {capture.known.length:.4g} m that are known")
        mesh, uv = TriMesh(mesh.points * scale, mesh.triangles), uv * scale
    if flat:
        return mesh, middle + mesh.points[:, :2] @ axes[:2], number, remarks
    few = np.linspace(0, len(uv) - 1, min(len(uv), 2000)).astype(int)
    noise = cloud_noise(points)
    lift = RBFInterpolator(uv[few], points[few], neighbors=min(30, len(few)), smoothing=noise, kernel="linear", degree=1)
    return mesh, lift(mesh.points[:, :2]), number, remarks


def outlined(uv: np.ndarray, cell_size: float | None) -> TriMesh:
    """Triangles that cover points of the plane, shape [n, 2]: a rectangle where they nearly fill one, else its cells that they cover.

    Raises:
        InputError: all points in one line.
    """
    if hull_of(uv) is None:
        raise InputError("sheet: its points lie in one line; is it a rod?")
    R, low, high = _rectangle(uv)
    own = uv @ R.T
    size = high - low
    spacing = _spacing(own)
    if cell_size is None:
        cell_size = float(np.sqrt(size[0] * size[1] / POINTS))
    counts = np.maximum(1, np.round(size / cell_size).astype(int))
    step = size / counts
    covered = _coverage(own, low, step, counts, spacing)
    if covered.mean() < RECTANGLE:
        return _picked(_largest(covered >= SHARE), low, step, R)
    low, high = _straight_edges(own, low, high)
    mesh = sheet_mesh(high - low, counts)
    return TriMesh(_placed(mesh.points[:, :2] + low, R), mesh.triangles)


def _placed(points, R):
    """Points of the rectangle's frame [n, 2] back in the points' own, in the xy plane [n, 3]."""
    back = points @ R
    return np.column_stack([back, np.zeros(len(back))])


def _rectangle(uv):
    """(rotation [2, 2] into the frame of the smallest rectangle about points, its lowest and highest corner there)."""
    from trimesh.bounds import oriented_bounds_2D

    R = oriented_bounds_2D(uv)[0][:2, :2]
    own = uv @ R.T
    return R, own.min(axis=0), own.max(axis=0)


def _straight_edges(own, low, high):
    """Edges of a rectangle that points fill: at the middle of the outermost points of strips across each edge."""
    strips = max(4, min(20, len(own) // 40))
    edges = np.stack([low, high])
    for axis in (0, 1):
        other = 1 - axis
        share = (own[:, other] - low[other]) / (high[other] - low[other])
        number = np.clip((share * strips).astype(int), 0, strips - 1)
        lowest, highest = np.full(strips, np.inf), np.full(strips, -np.inf)
        np.minimum.at(lowest, number, own[:, axis])
        np.maximum.at(highest, number, own[:, axis])
        full = np.isfinite(lowest)
        edges[:, axis] = np.median(lowest[full]), np.median(highest[full])
    return edges


def _spacing(own):
    return float(np.median(cKDTree(own).query(own, 2)[0][:, 1]))


def _coverage(own, low, step, counts, spacing):
    """Share of each cell [nx, ny] that has points near by: of 4 x 4 places in it."""
    fine = (np.arange(4) + 0.5) / 4
    grids = [(np.arange(n)[:, None] + fine).ravel() * s + a for n, s, a in zip(counts, step, low, strict=True)]
    places = np.stack(np.meshgrid(*grids, indexing="ij"), axis=-1)
    distance = cKDTree(own).query(places.reshape(-1, 2))[0].reshape(places.shape[:2])
    # thinned points lie a spacing apart at most: the median distance of neighbours of scattered ones is shorter
    near = distance <= max(2.5 * spacing, 0.25 * float(step.max()))
    return near.reshape(counts[0], 4, counts[1], 4).mean(axis=(1, 3))


def _largest(cells):
    parts, count = label(cells)
    if count <= 1:
        return cells
    return parts == 1 + int(np.bincount(parts.ravel())[1:].argmax())


def _picked(cells, low, step, R):
    """The mesh of the chosen cells of a grid."""
    if not cells.any():
        raise InputError("sheet: its points are too far apart for the cells; take a larger cell_size")
    mesh = sheet_mesh(step * cells.shape, cells.shape)
    i, j = (mesh.points[mesh.triangles].mean(axis=1)[:, :2] / step).astype(int).T
    triangles = mesh.triangles[cells[i, j]]
    used, triangles = np.unique(triangles, return_inverse=True)
    return TriMesh(_placed(mesh.points[used, :2] + low, R), triangles.reshape(-1, 3))
