"""Solids from closed surfaces: tetrahedra of a wanted size or number, and how good they are."""

from dataclasses import dataclass

import numpy as np

from physsim.errors import InputError
from physsim.io import mesher
from physsim.physics import validation
from physsim.physics.mesh import TetMesh, some

DEVIATION = 0.125  # of the edge length: how far the new surface may lie from the old one
TRIES = 8  # at most, to come near a wanted number of tetrahedra
NEAR = 0.08  # relative distance from that number that is near enough
MAX_CELLS = 2_000_000

_OPPOSITE = np.array([[1, 2, 3], [0, 3, 2], [0, 1, 3], [0, 2, 1]])  # face opposite to each corner, inward for a positive tetrahedron
_PAIRS = np.array([[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]])


@dataclass(frozen=True)
class MeshQuality:
    """How good a mesh of tetrahedra is.

    Attributes:
        cells: number of tetrahedra.
        points: number of points.
        volume: of all [m^3].
        least_volume: of a tetrahedron [m^3].
        least_angle: smallest dihedral angle [degree]; 70.5 is regular, below 5 spoils a simulation.
        greatest_angle: largest dihedral angle [degree].
        edge_length: root mean square [m].
    """

    cells: int
    points: int
    volume: float
    least_volume: float
    least_angle: float
    greatest_angle: float
    edge_length: float


def tetrahedralize(surface, edge_length=None, cells=None, deviation=None, time_limit=300.0):
    """Fill a closed surface with four-node tetrahedra (fTetWild; needs the extra `mesh`).

    Args:
        surface: SurfaceMesh (from `load_surface`), or any object with `points` [m], shape [n, 3], and outward `triangles`, shape [t, 3].
        edge_length: that the tetrahedra should have [m].
        cells: instead, about how many there should be; met within 8 %, or as near as eight tries come.
        deviation: how far the new surface may lie from the old one [m]; None takes an eighth of the edge length. Details that are
            smaller vanish, and a convex body loses about as much volume as this layer holds.
        time_limit: for one meshing [s].

    Returns:
        TetMesh; another one, equally good, each time, because fTetWild draws random numbers that cannot be seeded.
        Keep what results must be compared on.

    Raises:
        InputError: both or neither of `edge_length` and `cells`, a surface that is open, inward or flat, pytetwild not installed, or a
            surface on which it fails.
    """
    points, triangles = closed_surface(surface)
    if (edge_length is None) == (cells is None):
        raise InputError("tetrahedralize: one of edge_length [m] and cells is needed, and not both")
    size = float(np.ptp(points, axis=0).max())
    if deviation is not None:
        deviation = float(validation.array("deviation", deviation, (), lower=1e-6 * size, upper=0.5 * size))
    if cells is None:
        edge_length = float(validation.array("edge_length", edge_length, (), lower=0.0, lower_open=True))
        expected = _volume(points, triangles) / _cell_volume(edge_length)
        if expected > MAX_CELLS:
            raise InputError(f"edge_length = {edge_length:g} m: would give about {expected:.2g} tetrahedra; at most {MAX_CELLS} are made")
        return _filled(points, triangles, edge_length, deviation, time_limit)
    cells = int(validation.array("cells", cells, (), kind="i", lower=10, upper=MAX_CELLS))
    edge_length = (_volume(points, triangles) / cells / _cell_volume(1.0)) ** (1 / 3)
    tried = []
    for _ in range(TRIES):
        mesh = _filled(points, triangles, edge_length, deviation, time_limit)
        tried.append((abs(np.log(len(mesh.cells) / cells)), mesh))
        if tried[-1][0] < NEAR:
            break
        edge_length *= (len(mesh.cells) / cells) ** (1 / 3)
    return min(tried, key=lambda entry: entry[0])[1]


def mesh_quality(mesh):
    """MeshQuality of a TetMesh (of its straight edges)."""
    corners = mesh.points[mesh.cells[:, :4]]
    normals = np.cross(corners[:, _OPPOSITE[:, 1]] - corners[:, _OPPOSITE[:, 0]], corners[:, _OPPOSITE[:, 2]] - corners[:, _OPPOSITE[:, 0]])
    normals /= np.linalg.norm(normals, axis=2, keepdims=True)
    cosines = -np.einsum("mki,mki->mk", normals[:, _PAIRS[:, 0]], normals[:, _PAIRS[:, 1]])
    angles = np.degrees(np.arccos(np.clip(cosines, -1.0, 1.0)))
    edges = corners[:, _PAIRS[:, 0]] - corners[:, _PAIRS[:, 1]]
    volumes = mesh.volumes()
    return MeshQuality(
        len(mesh.cells),
        len(mesh.points),
        float(volumes.sum()),
        float(volumes.min()),
        float(angles.min()),
        float(angles.max()),
        float(np.sqrt((edges**2).sum(axis=-1).mean())),
    )


def closed_surface(surface):
    """Points [m], shape [n, 3], and triangles, shape [t, 3], of a closed outward surface; points that no triangle uses are left out.

    Raises:
        InputError: it is no surface, has holes or triangles turned against each other, is turned inside out, or is flat.
    """
    if not (hasattr(surface, "points") and hasattr(surface, "triangles")):
        raise InputError(f"surface: {type(surface).__name__} was given; points and triangles are needed, such as load_surface returns")
    points = validation.array("surface.points", surface.points, (None, 3))
    triangles = validation.indices("surface.triangles", surface.triangles, len(points), (None, 3))
    sides = triangles[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2)
    if (sides[:, 0] == sides[:, 1]).any():
        flat = np.flatnonzero(sides[:, 0] == sides[:, 1]) // 3
        raise InputError(f"surface.triangles: triangles {some(np.unique(flat))} name a point twice; remove them")
    forward, backward = (side[:, 0] * len(points) + side[:, 1] for side in (sides, sides[:, ::-1]))
    unmatched = np.flatnonzero(~np.isin(forward, backward))
    if len(unmatched) or len(np.unique(forward)) != len(forward):
        odd = np.unique(unmatched // 3) if len(unmatched) else np.arange(0)
        raise InputError(
            f"surface.triangles: not closed, or not all turned one way, at triangles {some(odd)}; "
            "every edge must belong to two triangles that run along it in opposite ways; close holes and merge equal points"
        )
    volume = _volume(points, triangles)
    size = np.ptp(points[triangles].reshape(-1, 3), axis=0).max()
    if volume < -1e-9 * size**3:
        raise InputError("surface.triangles: turned inside out (its volume is negative); swap two corners of every triangle")
    if volume <= 1e-9 * size**3:
        raise InputError(f"surface: encloses {volume:.2g} m^3 at a length of {size:.2g} m; a body that is not flat is needed")
    used, triangles = np.unique(triangles, return_inverse=True)
    return points[used], triangles.reshape(-1, 3)


def _filled(points, triangles, edge_length, deviation, time_limit):
    found, cells = mesher.fill(points, triangles, edge_length, deviation or DEVIATION * edge_length, time_limit)
    return TetMesh(found, cells)


def _volume(points, triangles):
    local = points - points.mean(axis=0)
    a, b, c = (local[triangles[:, i]] for i in range(3))
    return float(np.einsum("ij,ij->", a, np.cross(b, c))) / 6


def _cell_volume(edge_length):
    """Volume of a regular tetrahedron [m^3]."""
    return edge_length**3 / (6 * np.sqrt(2))
