"""A body's surface in a pose: the nearest place on it to what was seen, where tracked points sit on it, and what a camera sees of it."""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from scipy.spatial import cKDTree

from physsim.appearance.nearest import closest_on_simplex, nearest_element

NEIGHBOURS = 12  # elements whose middles are nearest are tried first
FACING = -0.05  # cosine between normal and view below which a closed body's triangle is seen from behind


@dataclass(frozen=True)
class Foot:
    """Nearest places on a surface to points y [p].

    Args:
        element: shape [p].
        nodes, weights: the place is sum over k of weights * x[nodes], shape [p, 2 or 3].
        place: [m], shape [p, 3].
        normal: unit vectors: of triangles their normal, of rods from the axis to y, shape [p, 3].
        inner: whether the nearest place is not on the border of its surface, shape [p].
    """

    element: np.ndarray
    nodes: np.ndarray
    weights: np.ndarray
    place: np.ndarray
    normal: np.ndarray
    inner: np.ndarray

    def spread(self, chosen: np.ndarray, others: "Foot") -> "Foot":
        """These where a mask [p] is set, others elsewhere, each in order."""
        values = []
        for own, other in zip(vars(self).values(), vars(others).values(), strict=True):
            whole = np.empty((len(chosen), *own.shape[1:]), own.dtype)
            whole[chosen], whole[~chosen] = own, other
            values.append(whole)
        return Foot(*values)


@dataclass(frozen=True, eq=False)
class BodySurface:
    """What can be seen of a body, in terms of its particles.

    Args:
        elements: triangles [t, 3], or of a rod the edges of its axis [t, 2].
        closed: whether the triangles bound a solid, so that only the side towards a camera can be seen.
        half: from the middle surface or axis to what is seen [m]: half a sheet's thickness, a rod's radius; 0 of solids.
    """

    elements: np.ndarray
    closed: bool = False
    half: float = 0.0
    _border: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        elements = np.asarray(self.elements, dtype=int)
        object.__setattr__(self, "elements", elements)
        object.__setattr__(self, "_border", _border_edges(elements))

    @classmethod
    def of(cls, scene: object) -> "BodySurface":
        """The surface of a scene's body."""
        if scene.surface is None:
            return cls(scene.edges, False, 0.5 * scene.thickness)
        closed = not len(_border_list(np.asarray(scene.surface)))
        return cls(scene.surface, closed, 0.0 if closed else 0.5 * scene.thickness)

    @property
    def is_rod(self) -> bool:
        """Whether it is an axis with a radius."""
        return self.elements.shape[1] == 2

    def normals(self, x: np.ndarray) -> np.ndarray:
        """Unit normals of the triangles, shape [t, 3]."""
        a, b, c = (x[self.elements[:, k]] for k in range(3))
        normal = np.cross(b - a, c - a)
        return normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-300)

    def silhouette(self, x: np.ndarray, eye: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Edges at which the surface ends as seen from a place: those of one triangle, and those between one that is turned towards it and
        one that is turned away; some may be hidden by other parts of the surface.

        Args:
            x: positions of the particles [m], shape [n, 3].
            eye: [m], shape [3].

        Returns:
            (Ends of the edges, shape [s, 2]; the corner opposite, on whose side the surface lies, shape [s].)
        """
        corners = x[self.elements]
        towards = np.einsum("td,td->t", self.normals(x), eye - corners[:, 0]) > 0.0
        edges, first, second = self._sides
        chosen = np.flatnonzero((second < 0) | (towards[first // 3] != towards[second // 3]))
        near = np.where((second[chosen] < 0) | towards[first[chosen] // 3], first[chosen], second[chosen])
        return edges[chosen], self.elements[near // 3, near % 3]

    @cached_property
    def _sides(self):
        return _sides_of(self.elements)

    def nearest(self, y: np.ndarray, x: np.ndarray, eye: np.ndarray | None = None) -> Foot:
        """Nearest place to each point.

        Args:
            y: points [m], shape [p, 3].
            x: positions of the particles [m], shape [n, 3].
            eye: where each point was seen from [m], shape [p, 3] or [3]; None: not known. Sides of a closed body that are turned away
                are left out where another is near.
        """
        corners = x[self.elements]
        middles = corners.mean(axis=1)
        radius = np.linalg.norm(corners - middles[:, None], axis=-1).max()
        k = min(NEIGHBOURS, len(corners))
        away, which = cKDTree(middles).query(y, k=k)
        away, which = away.reshape(len(y), k), which.reshape(len(y), k)
        weights = closest_on_simplex(np.repeat(y, k, axis=0), corners[which.ravel()]).reshape(len(y), k, -1)
        place = np.einsum("pkc,pkcd->pkd", weights, corners[which])
        distance = np.linalg.norm(place - y[:, None], axis=2)
        normals = None if self.is_rod else self.normals(x)
        if self.closed and eye is not None:
            behind = np.einsum("pkd,pkd->pk", normals[which], _unit(eye - y)[:, None]) < FACING
            distance = np.where(behind & ~behind.all(axis=1)[:, None], np.inf, distance)
        best = distance.argmin(axis=1)
        rows = np.arange(len(y))
        element, weight = which[rows, best], weights[rows, best]
        # an element whose middle is farther than all those tried could still be nearer, where elements differ in size
        reached = distance[rows, best]
        unsure = np.flatnonzero(np.isfinite(reached) & (reached > away[:, -1] - radius)) if k < len(corners) else []
        if len(unsure) and not (self.closed and eye is not None):
            element[unsure], weight[unsure], _ = nearest_element(y[unsure], corners)
        return self._foot(y, x, element, weight, normals)

    def struck(self, y: np.ndarray, x: np.ndarray, eye: np.ndarray) -> tuple[np.ndarray, Foot]:
        """Places of triangles that the rays on which points were measured strike.

        Where a depth camera errs it errs along the ray. The place that the ray strikes does not depend on that, the nearest one does:
        errors of points by an edge would draw it outwards.

        Args:
            y: points [m], shape [p, 3].
            x: positions of the particles [m], shape [n, 3].
            eye: where each point was seen from [m], shape [p, 3].

        Returns:
            (Whether each ray strikes a triangle near its point, on the side that can be seen [p]; the Foot of those, in order.)
        """
        corners = x[self.elements]
        k = min(NEIGHBOURS, len(corners))
        which = cKDTree(corners.mean(axis=1)).query(y, k=k)[1].reshape(len(y), k)
        reach = np.linalg.norm(y - eye, axis=1)
        ray = _unit(y - eye)
        weights, along = _crossings(eye, ray, corners[which])
        good = (weights >= -1e-9).all(axis=2) & (along > 0.0)
        normals = self.normals(x)
        if self.closed:
            good &= np.einsum("pkd,pd->pk", normals[which], ray) < 0.0
        off = np.where(good, np.abs(along - reach[:, None]), np.inf)
        best = off.argmin(axis=1)
        rows = np.arange(len(y))
        hit = np.isfinite(off[rows, best])
        element, weight = which[rows, best][hit], np.clip(weights[rows, best][hit], 0.0, 1.0)
        return hit, self._foot(y[hit], x, element, weight, normals)

    def _foot(self, y, x, element, weights, normals):
        nodes = self.elements[element]
        place = np.einsum("pk,pkd->pd", weights, x[nodes])
        if self.is_rod:
            along = _unit(x[nodes[:, 1]] - x[nodes[:, 0]])
            across = (y - place) - np.einsum("pd,pd->p", y - place, along)[:, None] * along
            far = np.linalg.norm(across, axis=1)
            normal = np.where(far[:, None] > 1e-12, across / np.maximum(far, 1e-12)[:, None], _across(along))
        else:
            normal = normals[element]
        # opposite corner without weight: the place lies on that edge
        outer = (self._border[element] & (weights <= 1e-9)).any(axis=1)
        if self.is_rod:
            normal = np.where((weights.min(axis=1) <= 1e-9)[:, None], _unit(y - place), normal)
        return Foot(element, nodes, weights, place, normal, ~outer)


def _border_list(triangles):
    """(triangle, corner opposite) of edges that belong to one triangle only, shape [b, 2]."""
    _, first, second = _sides_of(triangles)
    single = first[second < 0]
    return np.stack([single // 3, single % 3], axis=1)


def _sides_of(triangles):
    """(Edges [e, 2]; 3 * triangle + corner opposite in the one or two triangles of each, -1 for none, each [e])."""
    ends = np.stack([triangles[:, [1, 2]], triangles[:, [2, 0]], triangles[:, [0, 1]]], axis=1).reshape(-1, 2)
    edges, first, owner = np.unique(np.sort(ends, axis=1), axis=0, return_index=True, return_inverse=True)
    second = np.full(len(edges), -1)
    later = np.setdiff1d(np.arange(len(ends)), first)
    second[owner.reshape(-1)[later]] = later
    return edges, first, second


def _border_edges(elements):
    """Whether the border lies opposite to each corner of each element, shape [t, k]; of rods, whether the other corner is an end."""
    out = np.zeros(elements.shape, bool)
    if elements.shape[1] == 3:
        border = _border_list(elements)
        out[border[:, 0], border[:, 1]] = True
        return out
    nodes, counts = np.unique(elements, return_counts=True)
    ends = nodes[counts == 1]
    return np.isin(elements[:, ::-1], ends)


def _crossings(origin, ray, corners):
    """Where rays [p, 3] cross the planes of triangles [p, k, 3, 3]: barycentric coordinates [p, k, 3], way along the ray [p, k]."""
    a = corners[:, :, 0]
    first, second = corners[:, :, 1] - a, corners[:, :, 2] - a
    across = np.cross(ray[:, None], second)
    volume = np.einsum("pkd,pkd->pk", first, across)
    safe = np.where(np.abs(volume) > 1e-300, volume, np.nan)
    arm = origin[:, None] - a
    other = np.cross(arm, first)
    u = np.einsum("pkd,pkd->pk", arm, across) / safe
    v = np.einsum("pd,pkd->pk", ray, other) / safe
    along = np.einsum("pkd,pkd->pk", second, other) / safe
    return np.nan_to_num(np.stack([1.0 - u - v, u, v], axis=-1), nan=-1.0), np.nan_to_num(along, nan=-1.0)


def _unit(v):
    return v / np.maximum(np.linalg.norm(v, axis=-1, keepdims=True), 1e-300)


def _across(v):
    """A unit vector across each unit vector."""
    axis = np.eye(3)[np.abs(v).argmin(axis=1)]
    return _unit(np.cross(v, axis))


@dataclass(frozen=True)
class Spots:
    """Material points on or off a surface.

    Args:
        nodes, weights: the foot of each is sum over k of weights * x[nodes], shape [p, k].
        height: above its triangle, along the normal [m], shape [p]; 0 of rods.
    """

    nodes: np.ndarray
    weights: np.ndarray
    height: np.ndarray

    @classmethod
    def at(cls, surface: BodySurface, y: np.ndarray, x: np.ndarray) -> "Spots":
        """Those that lie at y [p, 3] in the pose x."""
        foot = surface.nearest(y, x)
        height = np.zeros(len(y)) if surface.is_rod else np.einsum("pd,pd->p", foot.normal, y - foot.place)
        return cls(foot.nodes, foot.weights, height)

    def places(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where they are [m], shape [p, 3], and the derivative by their nodes' positions, shape [p, 3, k, 3]."""
        corners = x[self.nodes]
        place = np.einsum("pk,pkd->pd", self.weights, corners)
        slope = self.weights[:, None, :, None] * np.eye(3)[None, :, None, :]
        if not self.height.any():
            return place, slope
        first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
        normal = np.cross(first, second)
        size = np.maximum(np.linalg.norm(normal, axis=1), 1e-300)
        unit = normal / size[:, None]
        flat = (np.eye(3) - unit[:, :, None] * unit[:, None, :]) / size[:, None, None]
        by_first, by_second = -_skew(second), _skew(first)  # of first x second
        parts = np.stack([-(by_first + by_second), by_first, by_second], axis=2)  # [p, 3, corner, 3]
        slope = slope + self.height[:, None, None, None] * np.einsum("pij,pjkd->pikd", flat, parts)
        return place + self.height[:, None] * unit, slope


def _skew(v):
    """Matrices [p, 3, 3] with skew(v) w = v x w."""
    out = np.zeros((len(v), 3, 3))
    out[:, 0, 1], out[:, 0, 2], out[:, 1, 2] = -v[:, 2], v[:, 1], -v[:, 0]
    return out - out.swapaxes(1, 2)
