"""TriMesh: the rest shape of a sheet, flat or curved, and generators."""

from dataclasses import dataclass

import numpy as np

from physsim.errors import InputError
from physsim.physics import validation
from physsim.physics.mesh import some

FOLDED = np.cos(np.radians(170.0))  # cosine between the normals of neighbours below which the rest shape counts as folded onto itself


@dataclass(frozen=True)
class TriMesh:
    """A sheet's rest shape.

    Args:
        points: rest positions [m], shape [n, 3].
        triangles: point indices, shape [m, 3]; neighbours run through their common edge in opposite directions.

    Raises:
        InputError: NaN, indices out of range, unused points, a triangle that names a point twice, duplicates, edges of no length or
            of more than two triangles, triangles without area, opposite orientations, neighbours folded onto each other.
    """

    points: np.ndarray
    triangles: np.ndarray

    def __post_init__(self):
        points = validation.array("TriMesh.points", self.points, (None, 3))
        triangles = validation.indices("TriMesh.triangles", self.triangles, len(points), (None, 3))
        if len(triangles) == 0:
            raise InputError("TriMesh.triangles: none were given")
        object.__setattr__(self, "points", points)
        object.__setattr__(self, "triangles", triangles)
        _check_topology(points, triangles)
        _check_shape(points, triangles, self.neighbours())

    def areas(self):
        """Area of each triangle [m^2], shape [m]."""
        return 0.5 * np.linalg.norm(_normals(self.points, self.triangles), axis=1)

    def edges(self):
        """Point pairs, each edge once, shape [e, 2]."""
        return np.unique(np.sort(_sides(self.triangles), axis=-1).reshape(-1, 2), axis=0)

    def boundary(self):
        """Points on the rim, in increasing order."""
        return np.unique(_sides(self.triangles)[self.neighbours() < 0])

    def neighbours(self):
        """Triangle across the edge opposite each corner, -1 where there is none, shape [m, 3]."""
        pairs = np.sort(_sides(self.triangles).reshape(-1, 2), axis=1)
        order = np.lexsort((pairs[:, 1], pairs[:, 0]))
        same = np.flatnonzero((pairs[order[1:]] == pairs[order[:-1]]).all(axis=1))
        out = np.full(pairs.shape[0], -1)
        a, b = order[same], order[same + 1]
        out[a], out[b] = b // 3, a // 3
        return out.reshape(-1, 3)

    def stencils(self):
        """Each triangle with the far corners of its neighbours, its own corner where there is none, shape [m, 6]."""
        across = self.neighbours()
        sums = self.triangles.sum(axis=1)
        ends = _sides(self.triangles).sum(axis=-1)
        far = np.where(across < 0, self.triangles, sums[across] - ends)
        return np.concatenate([self.triangles, far], axis=1)

    def warp_angles(self, warp, needed):
        """Angle from each triangle's edge 0 -> 1 to a direction, about the triangle's normal [rad], shape [m].

        Args:
            warp: direction, shape [3] or [m, 3]; its part in the triangle's plane counts.
            needed: whether the angle has an effect; else a direction across a triangle gives 0.

        Raises:
            InputError: a zero direction, or one across a triangle.
        """
        warp = validation.array("warp", warp, (3,) if validation.given_array("warp", warp).ndim < 2 else (len(self.triangles), 3))
        length = np.linalg.norm(warp, axis=-1, keepdims=True)
        if (length == 0).any():
            raise InputError("warp: a direction of no length; give the warp's direction at rest, such as (1, 0, 0)")
        warp = np.broadcast_to(warp / length, (len(self.triangles), 3))
        normal = _normals(self.points, self.triangles)
        normal = normal / np.linalg.norm(normal, axis=1, keepdims=True)
        edge = self.points[self.triangles[:, 1]] - self.points[self.triangles[:, 0]]
        edge = edge / np.linalg.norm(edge, axis=1, keepdims=True)
        along = (warp * edge).sum(axis=1)
        across = (warp * np.cross(normal, edge)).sum(axis=1)
        lost = np.flatnonzero(np.hypot(along, across) < 0.1)
        if needed and len(lost):
            raise InputError(f"warp: it stands across the triangles {some(lost)}; give one direction a triangle, shape [m, 3]")
        return np.arctan2(across, along)

    def interpolation(self, positions, outside=0.0):
        """Weights that carry material points with the sheet.

        Args:
            positions: rest positions of the material points [m], shape [p, 3]; the nearest point of the sheet is taken.
            outside: how far from the sheet a point may lie [m].

        Returns:
            (nodes, weights), each of shape [p, 3]: position = sum over weights * x[nodes].

        Raises:
            InputError: a point further away than `outside`.
        """
        positions = validation.array("positions", positions, (None, 3))
        corners = self.points[self.triangles]
        chunk = max(1, 200_000 // len(corners))  # points at a time: every point is held against every triangle
        weights, away, best = np.zeros((len(positions), 3)), np.zeros(len(positions)), np.zeros(len(positions), int)
        for start in range(0, len(positions), chunk):
            part = slice(start, start + chunk)
            found, distance = _nearest(corners, positions[part])
            best[part] = distance.argmin(axis=1)
            rows = np.arange(len(distance))
            weights[part], away[part] = found[rows, best[part]], distance[rows, best[part]]
        if (away > outside + 1e-9).any():
            i = int(away.argmax())
            raise InputError(f"positions: point {i} lies {away[i]:.4g} m from the sheet; {outside:g} m are allowed")
        return self.triangles[best], weights


def check_areas(name, points, triangles):
    """Raise an InputError naming the triangles that have no area at positions [..., n, 3]: nothing tells them which way to open."""
    corners = points[..., triangles, :]
    longest = np.linalg.norm(corners - np.roll(corners, 1, axis=-2), axis=-1).max(axis=-1)
    twice = np.linalg.norm(np.cross(corners[..., 1, :] - corners[..., 0, :], corners[..., 2, :] - corners[..., 0, :]), axis=-1)
    flat = np.unique(np.argwhere(twice <= 1e-12 * longest**2)[:, -1])
    if len(flat):
        raise InputError(f"{name}: triangles {some(flat)} have no area; give positions at which every triangle is spread out")


def _sides(triangles):
    """Point pairs opposite corners 0, 1, 2, shape [m, 3, 2]."""
    return triangles[:, [[1, 2], [2, 0], [0, 1]]]


def _normals(points, triangles):
    a, b, c = (points[triangles[:, i]] for i in range(3))
    return np.cross(b - a, c - a)


def _nearest(corners, positions):
    """(barycentric weights [p, m, 3], distances [p, m]) of the point of each triangle nearest to each position."""
    u, v = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    arm = positions[:, None] - corners[None, :, 0]
    metric = np.linalg.inv(
        np.stack([np.stack([(u * u).sum(-1), (u * v).sum(-1)], -1), np.stack([(u * v).sum(-1), (v * v).sum(-1)], -1)], -1)
    )
    inner = np.einsum("mij,pmj->pmi", metric, np.stack([(arm * u).sum(-1), (arm * v).sum(-1)], -1))
    candidates = [np.concatenate([1 - inner.sum(-1, keepdims=True), inner], axis=-1)]
    for i, j in ((0, 1), (1, 2), (2, 0)):
        side = corners[:, j] - corners[:, i]
        t = np.clip(((positions[:, None] - corners[None, :, i]) * side).sum(-1) / (side * side).sum(-1), 0, 1)
        weights = np.zeros((*t.shape, 3))
        weights[..., i], weights[..., j] = 1 - t, t
        candidates.append(weights)
    candidates = np.stack(candidates)
    away = np.linalg.norm(np.einsum("cpmi,mik->cpmk", candidates, corners) - positions[None, :, None], axis=-1)
    away[0][(candidates[0] < 0).any(axis=-1)] = np.inf
    best = away.argmin(axis=0)[None]
    return np.take_along_axis(candidates, best[..., None], axis=0)[0], np.take_along_axis(away, best, axis=0)[0]


def _check_topology(points, triangles):
    ordered = np.sort(triangles, axis=1)
    repeated = np.flatnonzero((ordered[:, 1:] == ordered[:, :-1]).any(axis=1))
    if len(repeated):
        raise InputError(f"TriMesh.triangles: triangles {some(repeated)} name a point twice; remove them")
    _, first, number = np.unique(ordered, axis=0, return_index=True, return_inverse=True)
    twins = np.flatnonzero(first[number.ravel()] != np.arange(len(triangles)))
    if len(twins):
        raise InputError(f"TriMesh.triangles: triangles {some(twins)} repeat earlier ones; keep each once")
    unused = np.setdiff1d(np.arange(len(points)), triangles)
    if len(unused):
        raise InputError(f"TriMesh.points: points {some(unused)} belong to no triangle and would have no mass; remove them")
    sides = _sides(triangles).reshape(-1, 2)
    pairs, number, count = np.unique(np.sort(sides, axis=1), axis=0, return_inverse=True, return_counts=True)
    number = number.ravel()
    crowded = np.flatnonzero(count > 2)
    if len(crowded):
        a, b = pairs[crowded[0]]
        owners = np.flatnonzero(number == crowded[0]) // 3
        text = f"TriMesh.triangles: {len(crowded)} edges have more than two triangles, the first, {a}-{b}, has {some(owners)}"
        raise InputError(f"{text}; split the points there and join the sheets by `sew`")
    forward = np.bincount(number, sides[:, 0] < sides[:, 1], minlength=len(pairs))
    against = np.flatnonzero((count == 2) & (forward != 1))
    if len(against):
        a, b = pairs[against[0]]
        owners = np.flatnonzero(number == against[0]) // 3
        text = (
            f"TriMesh.triangles: {len(against)} edges join triangles of opposite orientation, the first, {a}-{b}, triangles {some(owners)}"
        )
        raise InputError(f"{text}; swap two corners of the flipped ones")


def _check_shape(points, triangles, neighbours):
    sides = _sides(triangles)
    lengths = np.linalg.norm(points[sides[..., 0]] - points[sides[..., 1]], axis=-1)
    longest = lengths.max(axis=1)
    scale = max(float(np.ptp(points, axis=0).max()), 1e-300)
    short = np.argwhere(lengths <= 1e-9 * scale)
    if len(short):
        t, i = short[0]
        a, b = sides[t, i]
        raise InputError(f"TriMesh: edge {a}-{b} of triangle {t} has no length ({len(short)} such sides); merge its points")
    normals = _normals(points, triangles)
    twice = np.linalg.norm(normals, axis=1)
    flat = np.flatnonzero(twice <= 1e-6 * longest**2)
    if len(flat):
        raise InputError(f"TriMesh.triangles: triangles {some(flat)} have no area; remove them or flip their longest edge")
    unit = normals / twice[:, None]
    cosine = np.where(neighbours < 0, 1.0, (unit[:, None] * unit[neighbours]).sum(axis=-1))
    folded = np.argwhere(cosine < FOLDED)
    if len(folded):
        t, i = folded[0]
        text = f"TriMesh: at rest triangles {t} and {neighbours[t, i]} lie folded onto each other ({len(folded) // 2} such pairs)"
        raise InputError(f"{text}; give the unfolded sheet as the rest shape and the fold as `pose`")


def sheet_mesh(size, cells, diagonals="alternating", origin=(0.0, 0.0, 0.0)):
    """A flat rectangle in the xy plane, two triangles to a cell, normals along +z.

    Args:
        size: lengths along x and y [m].
        cells: number of cells along x and y.
        diagonals: "alternating" from cell to cell, "uniform", or an array of booleans [nx, ny], True for a diagonal from a cell's lowest
            corner.
        origin: the lowest corner [m].

    Returns:
        TriMesh of (nx + 1)(ny + 1) points; point (i, j) has number j (nx + 1) + i.

    Raises:
        InputError: sizes or counts not above 0, unknown diagonals.
    """
    size = validation.array("size", size, (2,), lower=0.0, lower_open=True)
    origin = validation.array("origin", origin, (3,))
    nx, ny = (int(c) for c in validation.array("cells", cells, (2,), kind="i", lower=1))
    y, x = np.meshgrid(np.linspace(0, size[1], ny + 1), np.linspace(0, size[0], nx + 1), indexing="ij")
    points = np.stack([x, y, np.zeros_like(x)], -1).reshape(-1, 3) + origin
    j, i = (a.ravel() for a in np.meshgrid(np.arange(ny), np.arange(nx), indexing="ij"))
    if isinstance(diagonals, str):
        if diagonals not in ("alternating", "uniform"):
            raise InputError(f"diagonals = {diagonals!r}: alternating, uniform or an array of booleans [{nx}, {ny}] is needed")
        rising = (i + j) % 2 == 0 if diagonals == "alternating" else np.ones(len(i), bool)
    else:
        rising = validation.given_array("diagonals", diagonals).astype(bool)
        if rising.shape != (nx, ny):
            raise InputError(f"diagonals: shape {list(rising.shape)} was given; [{nx}, {ny}] is needed")
        rising = rising[i, j]
    a = j * (nx + 1) + i
    b, c, d = a + 1, a + nx + 2, a + nx + 1
    first = np.where(rising, [a, b, c], [a, b, d]).T
    second = np.where(rising, [a, c, d], [b, c, d]).T
    return TriMesh(points, np.stack([first, second], axis=1).reshape(-1, 3))
