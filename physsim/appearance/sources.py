"""Where splats come from: textured surfaces, coloured points. (A PLY file of splats: `Splats.load`.)"""

from dataclasses import dataclass
from os import PathLike

import numpy as np
import torch
from scipy.spatial import cKDTree

from physsim.appearance.memory import require_memory
from physsim.appearance.quaternions import rotation_quaternions
from physsim.appearance.skin import Skin
from physsim.appearance.splats import HARMONICS, Splats
from physsim.appearance.turned_harmonics import constant_harmonics
from physsim.errors import InputError
from physsim.io.mesh import SurfaceMesh
from physsim.io.point_cloud import PointCloud, load_point_cloud
from physsim.io.textured import Material, TexturedSurface, load_textured_surface
from physsim.physics import validation
from physsim.physics.mesh import SpringNet, TetMesh
from physsim.physics.rods import Curve
from physsim.physics.sheets import TriMesh

FLAT = 0.1  # thickness of a splat that lies in a surface, as a share of its width
COVER = 0.7  # width of a splat, as a share of the distance between splats: 3 % of what is behind shows at an opacity of 0.9
_KINDS = (torch.float32, torch.float64)

CANDIDATES = 8  # places a splat among which even ones are chosen, and over which its colour is averaged
ROUNDS = 8  # of choosing
_BYTES = 500  # that a candidate takes at most: places, normals, colours, weights, orders


def splats_from_mesh(
    mesh: TexturedSurface | SurfaceMesh | TetMesh | TriMesh | SpringNet | Curve | str | PathLike[str],
    count: int = 10_000,
    *,
    colours: object = None,
    opacity: float = 0.9,
    width: float | None = None,
    radius: float | None = None,
    degree: int = 0,
    label: int = 0,
    seed: int = 0,
    dtype: torch.dtype = torch.float32,
) -> Splats:
    """Flat splats that lie in a surface, spread evenly by area.

    Args:
        mesh: the surface, or a file that `load_textured_surface` reads; of a TetMesh the boundary, of a SpringNet or Curve a tube around
            each edge.
        count: of splats.
        colours: None: the mesh's own, grey where it has none; else one colour from 0 to 1, shape [3], one a point of the mesh, shape
            [n, 3] (not of tubes), or a function from positions [k, 3] to colours [k, 3].
        opacity: of each splat, in (0, 1].
        width: standard deviation along the surface [m]; None: `COVER` of the distance between splats.
        radius: of tubes [m]; None: a share of the edges' length.
        degree: of the spherical harmonics; those above degree 0 are 0.
        label: of the body.
        seed: of the random places; the same seed gives the same splats.
        dtype: float32 or float64.

    Returns:
        Splats in the mesh's coordinates, their third axis along the normal.

    Raises:
        InputError: a surface without area, colours that do not fit, values out of range.
    """
    surface = _textured(mesh, colours, radius)
    count = int(validation.array("count", count, (), kind="i", lower=1))
    require_memory(f"count = {count}", _BYTES * CANDIDATES * count, torch.device("cpu"), "ask for fewer splats")
    rng = np.random.default_rng(int(validation.array("seed", seed, (), kind="i", lower=0)))
    candidates, area = _candidates(surface, CANDIDATES * count, rng)
    chosen, owner = _spread(candidates.places, rng.integers(CANDIDATES) + CANDIDATES * np.arange(count))
    own = colours(candidates.places) if callable(colours) else surface.colours_at(candidates.triangles, candidates.weights)
    own = validation.array("colours", own, (len(owner), 3), lower=0.0, upper=1.0)
    # of thin things, not the colour of the back
    same_side = ((candidates.normals * candidates.normals[chosen[owner]]).sum(axis=1) > 0.0).astype(float)
    found = np.clip(_means(owner, own, same_side, count), 0.0, 1.0)
    if width is None:
        width = COVER * np.sqrt(area / count)
    sizes = np.full(count, validation.array("width", width, (), lower=0.0, lower_open=True))
    return _splats(candidates.places[chosen], sizes, candidates.normals[chosen], found, opacity, degree, label, dtype)


def splats_from_points(
    points: np.ndarray | PointCloud | str | PathLike[str],
    colours: object = None,
    normals: np.ndarray | None = None,
    *,
    opacity: float = 0.9,
    width: float | None = None,
    degree: int = 0,
    label: int = 0,
    dtype: torch.dtype = torch.float32,
) -> Splats:
    """A splat for each point of a coloured point cloud.

    Args:
        points: [m], shape [n, 3], a PointCloud, or a PLY file of points.
        colours: from 0 to 1, shape [n, 3] or [3]; None: the cloud's own, grey where it has none.
        normals: shape [n, 3]: splats lie flat across them; None: the cloud's own; where it has none, splats are round.
        opacity, degree, label, dtype: as for `splats_from_mesh`.
        width: standard deviation of each splat [m], one or [n]; None: `COVER` of the root mean square distance of the three nearest points.

    Raises:
        InputError: NaN, colours or normals that do not fit, a file that cannot be used.
    """
    cloud = load_point_cloud(points) if isinstance(points, (str, PathLike)) else points
    if not isinstance(cloud, PointCloud):
        cloud = PointCloud(validation.array("points", cloud, (None, 3)))
    n = len(cloud.points)
    if n == 0:
        raise InputError("splats_from_points: no points were given")
    colours = cloud.colours if colours is None else colours
    colours = np.full(3, 0.5) if colours is None else colours
    normals = cloud.normals if normals is None else validation.array("normals", normals, (n, 3))
    if normals is not None and not (np.linalg.norm(normals, axis=1) > 0.0).all():
        raise InputError("normals: one of them has no length; give directions, or None for round splats")
    if width is None:
        width = COVER * _spacing(cloud.points)
    sizes = np.broadcast_to(validation.array("width", width, (n,) if np.ndim(width) else (), lower=0.0, lower_open=True), (n,))
    return _splats(cloud.points, sizes, normals, colours, opacity, degree, label, dtype)


@dataclass(frozen=True)
class _Candidates:
    """Places on a surface [m], shape [m, 3]; the triangles they lie in [m], their weights of the corners [m, 3], unit normals [m, 3]."""

    places: np.ndarray
    triangles: np.ndarray
    weights: np.ndarray
    normals: np.ndarray


def _candidates(surface: TexturedSurface, count: int, rng: np.random.Generator) -> tuple[_Candidates, float]:
    """One random place in each of `count` equal slices of a surface's area, and that area [m^2]."""
    corners = surface.surface.points[surface.surface.triangles]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    areas = 0.5 * np.linalg.norm(normals, axis=1)
    total = areas.sum()
    if not total > 0.0:
        raise InputError("splats_from_mesh: the surface has no area; give one whose triangles are not all degenerate")
    at = (np.arange(count) + rng.uniform(size=count)) * (total / count)
    triangles = np.minimum(np.searchsorted(np.cumsum(areas), at, side="right"), len(areas) - 1)
    root, share = np.sqrt(rng.uniform(size=count)), rng.uniform(size=count)
    weights = np.stack([1.0 - root, root * (1.0 - share), root * share], axis=1)
    normals = normals[triangles] / np.maximum(np.linalg.norm(normals[triangles], axis=1, keepdims=True), 1e-300)
    return _Candidates(np.einsum("kc,kcd->kd", weights, corners[triangles]), triangles, weights, normals), total


def _spread(places: np.ndarray, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places that spread evenly: each moves to the middle of those that it is nearest to, over and over (Lloyd 1982).

    Args:
        places: [m], shape [m, 3].
        chosen: to begin with, shape [n].

    Returns:
        (chosen places [n], the chosen place that each one is nearest to [m]).
    """
    count = len(chosen)
    for _ in range(ROUNDS):
        owner = cKDTree(places[chosen]).query(places)[1]
        middles = _means(owner, places, np.ones(len(places)), count)
        away = ((places - middles[owner]) ** 2).sum(axis=1)
        order = np.lexsort((away, owner))
        owners, first = np.unique(owner[order], return_index=True)
        chosen = chosen.copy()
        chosen[owners] = order[first]
    return chosen, cKDTree(places[chosen]).query(places)[1]


def _means(owner: np.ndarray, values: np.ndarray, weights: np.ndarray, count: int) -> np.ndarray:
    """Weighted mean of the values [m, 3] of each owner, shape [count, 3]."""
    total = np.maximum(np.bincount(owner, weights, count), 1e-300)
    return np.stack([np.bincount(owner, weights * column, count) / total for column in values.T], axis=1)


def _spacing(points: np.ndarray) -> np.ndarray:
    """Root mean square distance of the three nearest other places [m], shape [n]; of coinciding points the cloud's mean."""
    near = min(4, len(points))
    distance = cKDTree(points).query(points, k=near)[0].reshape(len(points), near)[:, 1:]
    spacing = np.sqrt((distance**2).mean(axis=1)) if near > 1 else np.zeros(len(points))
    some = spacing[spacing > 0.0]
    if len(some) == 0:
        raise InputError("splats_from_points: the points all coincide, so that nothing tells the splats' size; give width [m]")
    return np.where(spacing > 0.0, spacing, some.mean())


def _textured(mesh: object, colours: object, radius: float | None) -> TexturedSurface:
    """The mesh with its colours, or with given ones."""
    if radius is not None:
        radius = float(validation.array("radius", radius, (), lower=0.0, lower_open=True))
    if isinstance(mesh, (str, PathLike)):
        mesh = load_textured_surface(mesh)
    if isinstance(mesh, TetMesh):
        mesh = SurfaceMesh(mesh.points, mesh.surface())
    elif isinstance(mesh, TriMesh):
        mesh = SurfaceMesh(mesh.points, mesh.triangles)
    elif isinstance(mesh, (SpringNet, Curve)):
        skin = Skin(mesh, radius)
        mesh = SurfaceMesh(skin.points(mesh.points), skin.triangles)
    if isinstance(mesh, SurfaceMesh):
        grey = Material(np.full(3, 0.5))
        mesh = TexturedSurface(mesh, (grey,), np.zeros(len(mesh.triangles), dtype=int))
    validation.instance("mesh", mesh, TexturedSurface, "or a SurfaceMesh, the mesh of a body or the name of a file")
    if colours is None or callable(colours):
        return mesh
    n = len(mesh.surface.points)
    colours = validation.array("colours", colours, (3,) if np.ndim(colours) == 1 else (n, 3), lower=0.0, upper=1.0)
    own = np.zeros(len(mesh.surface.triangles), dtype=int)
    return TexturedSurface(mesh.surface, (Material(),), own, colours=np.broadcast_to(colours, (n, 3)))


def _splats(means, sizes, normals, colours, opacity, degree, label, dtype) -> Splats:
    """Splats of given widths [m]: flat across normals [n, 3] (of any length), or round without."""
    n = len(means)
    if dtype not in _KINDS:
        raise InputError(f"dtype: {dtype} was given; torch.float32 or torch.float64 is needed")
    colours = validation.array("colours", colours, (3,) if np.ndim(colours) == 1 else (n, 3), lower=0.0, upper=1.0)
    opacity = float(validation.array("opacity", opacity, (), lower=0.0, upper=1.0, lower_open=True))
    degree = int(validation.array("degree", degree, (), kind="i", lower=0, upper=len(HARMONICS) - 1))
    label = int(validation.array("label", label, (), kind="i", lower=0))
    scales = np.repeat(np.asarray(sizes)[:, None], 3, axis=1)
    rotations = np.broadcast_to([1.0, 0.0, 0.0, 0.0], (n, 4))
    if normals is not None:
        scales[:, 2] *= FLAT
        rotations = rotation_quaternions(torch.as_tensor(_frames(normals))).numpy()
    harmonics = constant_harmonics(torch.as_tensor(np.array(np.broadcast_to(colours, (n, 3)))))
    splats = Splats(
        *(torch.as_tensor(np.array(values), dtype=dtype) for values in (means, scales, rotations, np.full(n, opacity))),
        harmonics.to(dtype),
        labels=torch.full((n,), label, dtype=torch.int32),
    )
    return splats.with_degree(degree).check()


def _frames(normals: np.ndarray) -> np.ndarray:
    """Rotations [n, 3, 3] whose third column lies along the normals [n, 3]."""
    third = normals / np.linalg.norm(normals, axis=1, keepdims=True)
    first = np.cross(third, np.eye(3)[np.abs(third).argmin(axis=1)])
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    return np.stack([first, np.cross(third, first), third], axis=2)
