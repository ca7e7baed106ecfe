"""Geometry that every engine of the benchmark is given: the same points, elements, pins and masses (numpy only).

Both bodies measure 1 m, so an error in metres is also a share of the body's size.
"""

from dataclasses import dataclass

import numpy as np

GRAVITY = 9.81
"""Acceleration along -z [m/s2]."""

SPRING_OFFSETS = ((1, 0), (0, 1), (1, 1), (-1, 1), (2, 0), (0, 2))
"""Grid offset (x, y) of a spring's second particle from its first: structural, shear, shear, bend, bend."""

BEND_SHARE = 0.02
"""Stiffness and damping of a bend spring as a share of a structural spring's."""

BEAM_CELLS = {40: (4, 2, 1), 500: (11, 3, 3), 4000: (32, 5, 5), 20000: (62, 8, 8)}
"""Boxes along x, y, z of each beam; five tetrahedra fill a box (40, 495, 4,000 and 19,840 tetrahedra)."""

BEAM_SIZE = (1.0, 0.2, 0.2)
BEAM_DENSITY = 1000.0
BEAM_POISSON = 0.4
CLOTH_MASS = 0.2

SHELL_THICKNESS = 1.0e-3
SHELL_POISSON = 0.3

# Corner q of a box sits at (q & 1, q >> 1 & 1, q >> 2). Four corner tetrahedra around one in the middle; neighbouring
# boxes use the mirrored split, so that the diagonals of a shared face coincide.
_SPLIT_EVEN = ((0, 1, 2, 4), (3, 1, 7, 2), (5, 1, 4, 7), (6, 2, 7, 4), (1, 2, 4, 7))
_SPLIT_ODD = ((1, 0, 5, 3), (2, 0, 3, 6), (4, 0, 6, 5), (7, 3, 5, 6), (0, 3, 6, 5))


def shell_bending(stiffness: float) -> float:
    """Return the bending stiffness [N m] of a shell of `stiffness` = Young's modulus times thickness [N/m].

    MuJoCo's: its flex sums 3 mu h^3 / (24 (A1 + A2)) (c . x)^2 / 2 over edges, c the cotangent operator, which Wardetzky et al. 2007 show
    to be mu h^3 / 24 (H^2 / 2) per area, with mu = E / (2 (1 + nu)). That is 0.175 of a plate's E h^3 / (12 (1 - nu^2)).
    """
    return stiffness * SHELL_THICKNESS**2 / (48.0 * (1.0 + SHELL_POISSON))


@dataclass(frozen=True)
class Cloth:
    """Square cloth of n x n particles in the plane z = 0, hanging on two corners."""

    points: np.ndarray
    """Rest positions [m], shape [n*n, 3]; particle (i along x, j along y) is row j*n + i."""
    edges: np.ndarray
    """Spring ends, shape [m, 2], grouped by `SPRING_OFFSETS`."""
    offset_index: np.ndarray
    """Row of `SPRING_OFFSETS` that each spring belongs to, shape [m]."""
    share: np.ndarray
    """Stiffness of each spring as a share of the case's, shape [m]: 1, or `BEND_SHARE` for bend springs."""
    triangles: np.ndarray
    """For engines that model a shell, shape [t, 3]; the diagonals alternate."""
    pins: np.ndarray
    """Fixed particles, shape [2]: the corners (0, 0) and (1, 0)."""


@dataclass(frozen=True)
class Beam:
    """Bar of four-node tetrahedra along x, 1.0 x 0.2 x 0.2 m, clamped at x = 0."""

    points: np.ndarray
    """Rest positions [m], shape [n, 3]."""
    cells: np.ndarray
    """Tetrahedra of positive volume, shape [m, 4]."""
    clamped: np.ndarray
    """Particles with x = 0."""
    tip: np.ndarray
    """Particles with x = 1 m."""


def cloth(side: int) -> Cloth:
    """Return the cloth with `side` particles along each edge of 1 m."""
    grid = np.arange(side * side).reshape(side, side)
    column, row = np.meshgrid(np.arange(side), np.arange(side), indexing="xy")
    points = np.stack([column.ravel(), row.ravel(), np.zeros(side * side)], axis=1) / (side - 1)
    edges, offset_index = [], []
    for index, (dx, dy) in enumerate(SPRING_OFFSETS):
        first = grid[: side - dy, max(0, -dx) : side - max(0, dx)]
        edges.append(np.stack([first.ravel(), (first + dy * side + dx).ravel()], axis=1))
        offset_index.append(np.full(first.size, index))
    offset_index = np.concatenate(offset_index)
    share = np.where(offset_index >= 4, BEND_SHARE, 1.0)
    return Cloth(points, np.concatenate(edges), offset_index, share, _alternating_triangles(grid), grid[0, [0, -1]])


def _alternating_triangles(grid: np.ndarray) -> np.ndarray:
    """Two upward triangles for each square of the grid; the diagonal turns from one square to the next."""
    a, b, c, d = (q.ravel() for q in (grid[:-1, :-1], grid[:-1, 1:], grid[1:, 1:], grid[1:, :-1]))
    row, column = np.indices((grid.shape[0] - 1, grid.shape[1] - 1)).reshape(2, -1)
    even = ((row + column) % 2 == 0)[:, None]
    lower = np.where(even, np.stack([a, b, c], axis=1), np.stack([a, b, d], axis=1))
    upper = np.where(even, np.stack([a, c, d], axis=1), np.stack([b, c, d], axis=1))
    return np.stack([lower, upper], axis=1).reshape(-1, 3)


def beam(tetrahedra: int) -> Beam:
    """Return the beam of about `tetrahedra` elements, a key of `BEAM_CELLS`."""
    points, cells = bar(BEAM_SIZE, BEAM_CELLS[tetrahedra])
    clamped = np.flatnonzero(points[:, 0] < 1e-9)
    tip = np.flatnonzero(points[:, 0] > BEAM_SIZE[0] - 1e-9)
    return Beam(points, cells, clamped, tip)


def bar(size: tuple[float, float, float], boxes: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return points [m], shape [n, 3], and cells, shape [m, 4], of a bar from the origin to `size` [m] that five tetrahedra a box fill."""
    counts = np.array(boxes)
    axes = [np.linspace(0.0, length, count + 1) for length, count in zip(size, counts, strict=True)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    node = np.arange(len(points)).reshape(counts + 1)
    box = np.indices(counts).reshape(3, -1).T
    corner = np.array([(q & 1, q >> 1 & 1, q >> 2) for q in range(8)])
    nodes = node[tuple(np.moveaxis(box[:, None] + corner, -1, 0))]
    even = box.sum(axis=1) % 2 == 0
    split = np.where(even[:, None, None], np.array(_SPLIT_EVEN), np.array(_SPLIT_ODD))
    cells = np.take_along_axis(nodes[:, None, :], split, axis=2).reshape(-1, 4)
    flipped = signed_volumes(points, cells) < 0.0
    cells[flipped] = cells[flipped][:, [0, 2, 1, 3]]
    return points, cells


def signed_volumes(points: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Return the volume of each tetrahedron [m3], positive when right-handed, shape [m]."""
    corners = points[cells]
    return np.linalg.det(corners[:, 1:] - corners[:, :1]) / 6.0
