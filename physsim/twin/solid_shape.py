"""A solid from what was seen: a closed hull about its points, completed where no camera looked, filled with tetrahedra."""

import numpy as np
from scipy.spatial import ConvexHull, Delaunay, cKDTree

from physsim.capture.capture import Capture
from physsim.errors import InputError
from physsim.physics.mesh import TetMesh, box_mesh
from physsim.twin.clouds import cloud_noise, hull_of, sampled, seen_at, smoothed

CELLS = 350  # cubes of the cell size in the body where none is given
CLOSED = 0.85  # share of the hull that points cover where the body is seen from all sides
BOX = 0.93  # share of its points that lie on a box's faces
USED = 6000  # points that the shape is made of
DIRECTIONS = 2  # digits to which normals of the hull are told apart as directions of a box's face
UPRIGHT = 0.97  # volume of the smallest box over that of one that stands upright, above which this one is taken
END = 0.005  # share of the points that lie beyond where a face that is not seen is put
JITTER = 0.05  # of a lattice's points, over its cells
FLATTEST = 1e-3  # volume of a tetrahedron over that of a regular one of its longest edge, below which it is left out


def solid_shape(capture: Capture, frame: int, cell_size: float | None, seed: int = 0) -> tuple[TetMesh, list[str]]:
    """(TetMesh where the body was seen in a frame, remarks).

    Raises:
        InputError: too few points, or all in one plane.
    """
    cloud = seen_at(capture, frame)
    if len(cloud) < 20 or hull_of(cloud) is None:
        raise InputError(f"solid: {len(cloud)} points are seen in frame {frame}; at least 20 that do not lie in one plane are needed")
    remarks = []
    raw = sampled(cloud, USED, seed)
    cloud = smoothed(raw)
    hidden = np.zeros((0, 3))
    if closed_share(cloud) < CLOSED:
        hidden, text = hidden_side(capture, cloud, frame)
        remarks.append(text)
    every = np.concatenate([cloud, hidden])
    hull = ConvexHull(every)
    if cell_size is None:
        cell_size = float((hull.volume / CELLS) ** (1 / 3))
    # of the smoothed cloud, whose corners are a little round, and of the cloud as it is
    boxes = [bounding_box(np.concatenate([points, hidden]), _up(capture)) for points in (cloud, raw)]
    fits = [(axes, *box_faces(raw @ axes.T, hidden @ axes.T, low, high)) for axes, low, high in boxes]
    axes, low, high, share = max(fits, key=lambda fit: fit[3])
    if share > BOX:
        size = high - low
        counts = np.maximum(1, np.round(size / cell_size).astype(int))
        mesh = box_mesh(size, counts, origin=low)
        remarks.append(f"the solid is taken for a box of {' x '.join(f'{1e3 * s:.1f}' for s in size)} mm")
        return TetMesh(mesh.points @ axes, mesh.cells), remarks
    remarks.append("the solid is taken for the convex hull of what is seen of it")
    return filled_hull(every, cell_size), remarks


def _up(capture):
    """Upward direction, of the ground or against gravity, or None."""
    if capture.known.ground is not None:
        normal = np.asarray(capture.known.ground[1], float)
        return normal / np.linalg.norm(normal)
    size = np.linalg.norm(capture.gravity)
    return None if size == 0 else -capture.gravity / size


def closed_share(cloud: np.ndarray) -> float:
    """Share of the convex hull's area that has points near by."""
    points, spacing = _hull_samples(cloud)
    return float((cKDTree(cloud).query(points)[0] < spacing).mean())


def _hull_samples(cloud, count=600):
    """(points evenly over the convex hull, distance within which evenly spread points would have another)."""
    hull = ConvexHull(cloud)
    return _on_hull(hull, count), 1.5 * float(np.sqrt(hull.area / min(count, len(cloud))))


def _on_hull(hull, count):
    """Points scattered evenly over a convex hull, the same each time, shape [n, 3]."""
    from trimesh import Trimesh
    from trimesh.sample import sample_surface

    return np.asarray(sample_surface(Trimesh(hull.points, hull.simplices, process=False), count, seed=0)[0])


def hidden_side(capture: Capture, cloud: np.ndarray, frame: int) -> tuple[np.ndarray, str]:
    """Points where the body's hidden side may be [m], shape [n, 3], and what was assumed."""
    known = capture.known
    if known.ground is not None:
        point, normal = np.asarray(known.ground, float)
        normal = normal / np.linalg.norm(normal)
        dropped = cloud - ((cloud - point) @ normal)[:, None] * normal
        return dropped, "the side that no camera saw is taken to reach straight down to the ground"
    away = _viewing_direction(capture, cloud, frame)
    depth = cloud @ away
    if known.mass is not None and known.density is not None:
        volume, text = known.mass / known.density, "so far behind that the volume is mass over density"
    else:
        across = np.linalg.svd(cloud - cloud.mean(axis=0), full_matrices=False)[2]
        extents = np.ptp(cloud @ across.T, axis=0)
        thick = max(float(np.sort(extents)[1]), float(np.ptp(depth)))
        volume, text = None, f"a plane {1e3 * thick:.0f} mm behind its nearest point, as wide as it is seen across"
    if volume is None:
        back = depth.min() + thick
    else:
        back = _plane_of_volume(cloud, away, depth, volume)
    hidden = cloud + np.maximum(back - depth, 0.0)[:, None] * away
    return hidden, f"one side alone was seen: the hidden one is taken to be {text}"


def _plane_of_volume(cloud, away, depth, volume):
    """Where a plane behind the cloud closes a hull of a volume, by bisection."""
    low, high = float(depth.min()), float(depth.max()) + 3.0 * float(np.ptp(cloud, axis=0).max())
    for _ in range(40):
        middle = (low + high) / 2
        hull = hull_of(np.concatenate([cloud, cloud + np.maximum(middle - depth, 0.0)[:, None] * away]))
        low, high = (middle, high) if hull is None or hull.volume < volume else (low, middle)
    return high


def _viewing_direction(capture, cloud, frame):
    """From the cameras that saw the body in a frame to it; without one, across the cloud."""
    rays = [cloud.mean(axis=0) - capture.cameras[name].position for name in capture.depth if len(capture.cloud(frame, name))]
    if rays:
        total = sum(ray / np.linalg.norm(ray) for ray in rays)
        if np.linalg.norm(total) > 1e-6:
            return total / np.linalg.norm(total)
    across = np.linalg.svd(cloud - cloud.mean(axis=0), full_matrices=False)[2][2]
    up = _up(capture)
    return -across if up is not None and across @ up > 0 else across


def bounding_box(cloud: np.ndarray, up: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(axes, rows of a rotation [3, 3], lowest and highest corner along them) of the smallest box about points.

    One of its faces lies on a face of the convex hull; or it stands across `up`, where it is hardly larger then.
    """
    from trimesh.bounds import oriented_bounds

    turn, size = oriented_bounds(cloud, angle_digits=DIRECTIONS)
    if up is not None:
        upright, larger = oriented_bounds(cloud, normal=up)
        if UPRIGHT * larger.prod() <= size.prod():
            turn = upright
    axes = turn[:3, :3]
    own = cloud @ axes.T
    return axes, own.min(axis=0), own.max(axis=0)


def box_faces(own: np.ndarray, hidden: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """A box's faces laid through the points on them.

    Args:
        own, hidden: points that were seen, and those that were taken to be there, in the box's axes [m], shapes [n, 3] and [m, 3].
        low, high: corners to begin with [m], shape [3].

    Returns:
        (lowest corner, highest corner, share of the points that lie on the box's faces). A face on which next to nothing was seen goes
        where the points end.
    """
    noise = cloud_noise(own)
    every = np.concatenate([own, hidden])
    ends = np.quantile(every, [END, 1 - END], axis=0)
    faces = np.stack([low, high])
    for _ in range(10):
        away = np.abs(own[:, None, :] - faces[None])  # [n, 2, 3]
        nearest = away.reshape(len(own), 6).argmin(axis=1)
        for face in range(6):
            side, axis = divmod(face, 3)
            mine = own[nearest == face, axis]
            others = [k for k in range(3) if k != axis]
            spread = np.ptp(own[nearest == face][:, others], axis=0) if len(mine) else np.zeros(2)
            seen = len(mine) > 0.02 * len(own) and (spread > 0.6 * (faces[1] - faces[0])[others]).all()
            faces[side, axis] = np.median(mine) if seen else ends[side, axis]
    inside = (own > faces[0] - 4 * noise) & (own < faces[1] + 4 * noise)
    near = np.abs(own[:, None, :] - faces[None]).min(axis=(1, 2)) < 3 * noise + 0.01 * float(np.ptp(faces, axis=0).max())
    return faces[0], faces[1], float((near & inside.all(axis=1)).mean())


def filled_hull(cloud: np.ndarray, cell_size: float) -> TetMesh:
    """The convex hull of points in tetrahedra of about a size [m]: Delaunay's, of points on the hull and of a body-centred lattice in it.

    The same each time, unlike `tetrahedralize`, so that a fit that is resumed goes on with the same body.

    Raises:
        InputError: a hull that is thinner than the cells.
    """
    surface = _hull_points(cloud, cell_size)
    hull = ConvexHull(surface)
    low, high = surface.min(axis=0), surface.max(axis=0)
    counts = np.ceil((high - low) / cell_size).astype(int) + 1
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in counts), indexing="ij"), axis=-1).reshape(-1, 3)
    lattice = np.concatenate([grid, grid + 0.5]) * cell_size + (low + high - (counts - 0.5) * cell_size) / 2
    depth = -(lattice @ hull.equations[:, :3].T + hull.equations[:, 3]).max(axis=1)
    inner = lattice[depth > 0.45 * cell_size]
    # on an exact lattice points lie on common spheres, of which Delaunay's tetrahedra would be flat
    points = np.concatenate([surface, inner + JITTER * cell_size * np.random.default_rng(0).uniform(-1, 1, inner.shape)])
    cells = Delaunay(points).simplices
    a, b, c, d = (points[cells[:, k]] for k in range(4))
    volume = np.einsum("ij,ij->i", np.cross(b - a, c - a), d - a) / 6
    cells = np.where((volume < 0)[:, None], cells[:, [0, 2, 1, 3]], cells)
    longest = np.max([np.linalg.norm(p - q, axis=1) for p, q in ((a, b), (a, c), (a, d), (b, c), (b, d), (c, d))], axis=0)
    # flat ones between points of the hull lie on its faces; one taken out of the inside would leave a hole
    flat = np.abs(volume) <= FLATTEST * longest**3 / (6 * np.sqrt(2))
    cells = cells[~(flat & (cells < len(surface)).all(axis=1))]
    if len(cells) == 0:
        raise InputError(f"solid: a hull of {hull.volume:.3g} m^3 holds no tetrahedron of {cell_size:g} m; take a smaller cell_size")
    used, cells = np.unique(cells, return_inverse=True)
    mesh = TetMesh(points[used], cells.reshape(-1, 4))
    # points on a round hull are the corners of a smaller polyhedron
    middle = mesh.points.mean(axis=0)
    grown = (ConvexHull(cloud).volume / mesh.volumes().sum()) ** (1 / 3)
    return TetMesh(middle + grown * (mesh.points - middle), mesh.cells)


def _hull_points(cloud, cell_size):
    """Points on the convex hull, about a cell apart, its sharp corners among them."""
    hull = ConvexHull(cloud)
    count = int(np.clip(20 * hull.area / cell_size**2, 1000, 60_000))
    points = np.concatenate([cloud[hull.vertices], _on_hull(hull, count)])
    return points[_apart(points, 0.85 * cell_size)]


def _apart(points, distance):
    """Numbers of points no two of which are nearer than a distance; of near ones the first is kept (Luby 1986)."""
    a, b = cKDTree(points).query_pairs(distance, output_type="ndarray").T  # a < b
    open_, kept = np.ones(len(points), bool), np.zeros(len(points), bool)
    while open_.any():
        both = open_[a] & open_[b]
        a, b = a[both], b[both]
        first = open_.copy()
        first[b] = False  # an earlier one is near
        kept |= first
        open_ &= ~first
        open_[b[first[a]]] = False
    return np.flatnonzero(kept)
