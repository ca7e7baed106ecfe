"""Curve: the centreline of a rod at rest, and the director points that carry its material frame."""

from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse
from scipy.interpolate import CubicSpline
from scipy.spatial.transform import Rotation

from physsim.errors import InputError
from physsim.physics import validation

REVERSED = -0.999  # cosine of the turn between two edges below which a curve counts as folded back onto itself


@dataclass(frozen=True)
class Curve:
    """Centreline of a rod, stress-free as given, with one director point beside each edge.

    Points come first, then the directors, one an edge: edge k runs from point k to point k + 1, its director is point n + k.
    A polygon of `Rod` bends right while it turns well under a half turn a vertex: the energy is 2 % too high at 20 degrees, 11 % at 45,
    62 % at 90.

    Args:
        line: centreline [m], shape [n, 3], at least two points (three if closed).
        closed: whether an edge joins the last point to the first.
        normal: across the first edge, where its director points to, shape [3]; None: some direction. The other directors follow
            without twist; around a closed curve what is left is spread evenly.
        arm: distance of the directors from their edges [m]; None: the mean edge length. No effect on statics.
        grips: ends (0, -1) whose outermost edge lies in a clamp and does not bend: bending begins at the second point. Hold such an
            end by `builder.attach(body, body.mesh.end(0))`; see `with_grips`.
        framed: False: no directors, as a rope needs none.

    Raises:
        InputError: too few points, NaN, an edge of no length, a curve that turns back onto itself, a normal along the first edge.
    """

    line: np.ndarray
    closed: bool = False
    normal: np.ndarray | None = None
    arm: float | None = None
    grips: tuple = ()
    framed: bool = True

    def __post_init__(self):
        line = validation.array("Curve.line", self.line, (None, 3))
        least = 3 if self.closed else 2
        if len(line) < least:
            raise InputError(f"Curve.line: {len(line)} points were given; a {'closed ' * self.closed}rod needs at least {least}")
        along, lengths = _tangents("Curve.line", line, self.closed)
        grips = tuple(sorted(set(self._ends(self.grips)), reverse=True))
        if grips and (self.closed or len(lengths) <= len(grips)):
            raise InputError("Curve.grips: ends of an open curve, with at least one edge between clamps, are needed")
        arm = float(validation.array("Curve.arm", lengths.mean() if self.arm is None else self.arm, (), lower=0.0, lower_open=True))
        normal = _first_normal(along[0], self.normal)
        for name, value in (("line", line), ("arm", arm), ("grips", grips), ("normal", normal)):
            object.__setattr__(self, name, value)

    @staticmethod
    def _end(end, name):
        if not isinstance(end, (int, np.integer)) or isinstance(end, bool) or end not in (0, -1):
            raise InputError(f"{name}: {end!r} was given; ends are 0 and -1")
        return int(end)

    @classmethod
    def _ends(cls, ends):
        if not hasattr(ends, "__len__") or isinstance(ends, str):
            raise InputError(f"Curve.grips: {ends!r} was given; a tuple of ends, such as (0,) or (0, -1), is needed")
        return [cls._end(end, "Curve.grips") for end in ends]

    @classmethod
    def straight(cls, start, end, count, grips=(), normal=None):
        """A straight line of `count` edges from `start` to `end` [m], shape [3]; edges in clamps (`grips`) are added outside."""
        start, end = (validation.array(f"Curve.straight: {n}", v, (3,)) for n, v in (("start", start), ("end", end)))
        count = int(validation.array("Curve.straight: count", count, (), kind="i", lower=1))
        line = start + np.linspace(0.0, 1.0, count + 1)[:, None] * (end - start)
        return cls(line, normal=normal).with_grips(*cls._ends(grips))

    @classmethod
    def through(cls, points, count, grips=(), normal=None):
        """A smooth open curve of `count` edges of equal length through measured points [m], shape [m, 3], in order."""
        points = validation.array("Curve.through: points", points, (None, 3))
        count = int(validation.array("Curve.through: count", count, (), kind="i", lower=1))
        cls(points)  # checks
        at, spline = smooth(points)
        fine = np.linspace(0.0, at[-1], 64 * max(len(points), count) + 1)
        run = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(spline(fine), axis=0), axis=1))])
        return cls(spline(np.interp(np.linspace(0.0, run[-1], count + 1), run, fine)), normal=normal).with_grips(*cls._ends(grips))

    def with_grips(self, *ends):
        """The same curve with an edge added outside at each of the ends, to lie in a clamp; the free length stays what it was.

        Raises:
            InputError: an end named twice, or gripped already.
        """
        twice = [end for end in (0, -1) if (*self.grips, *ends).count(end) > 1]
        if twice:
            raise InputError(f"grips: the end {twice[0]} is gripped twice; name each end once")
        line = self.line
        if 0 in ends:
            line = np.concatenate([2 * line[:1] - line[1:2], line])
        if -1 in ends:
            line = np.concatenate([line, 2 * line[-1:] - line[-2:-1]])
        return replace(self, line=line, grips=(*self.grips, *ends))

    @property
    def point_count(self):
        """Points of the centreline."""
        return len(self.line)

    @property
    def edge_count(self):
        """Edges."""
        return len(self.line) - (not self.closed)

    @property
    def edges(self):
        """Pairs of points, shape [m, 2]."""
        k = np.arange(self.edge_count)
        return np.stack([k, (k + 1) % self.point_count], axis=1)

    @property
    def lengths(self):
        """Of the edges at rest [m], shape [m]."""
        return np.linalg.norm(self.line[self.edges[:, 1]] - self.line[self.edges[:, 0]], axis=1)

    @property
    def vertices(self):
        """Stencils of bending, (point, point, point, director, director) around every point between two edges, shape [v, 5]."""
        first = np.arange(self.edge_count if self.closed else self.edge_count - 1)
        second = (first + 1) % self.edge_count
        return np.stack([first, second, self.edges[second, 1], self.point_count + first, self.point_count + second], axis=1)

    @property
    def arc(self):
        """Arc length of every point from the first one, or from the clamp where that end is gripped [m], shape [n]."""
        run = np.concatenate([[0.0], np.cumsum(self.lengths)])[: self.point_count]
        return run - (self.lengths[0] if 0 in self.grips else 0.0)

    @property
    def points(self):
        """Rest positions [m] of the points and then of the directors, shape [n + m, 3]."""
        return self.posed(self.line, self.normal)

    def posed(self, line, normal=None):
        """Points and directors of the rod in another pose, bent but not twisted (beyond the rest shape's).

        Args:
            line: centreline [m], shape [n, 3].
            normal: where the first edge's director points to; None: the rest one, turned with the first edge.

        Returns:
            [m], shape [n + m, 3]; without directors [n, 3].

        Raises:
            InputError: a shape that does not fit, NaN, an edge of no length, a line that turns back onto itself, a normal along the edge.
        """
        line = validation.array("pose's line", line, (self.point_count, 3))
        along = _tangents("pose's line", line, self.closed, foldable=not self.framed)[0]
        if not self.framed:
            return line
        a, b = line[self.edges[:, 0]], line[self.edges[:, 1]]
        if normal is None:
            rest = self.line[1] - self.line[0]
            normal = _turns(np.stack([rest / np.linalg.norm(rest), along[0]])).apply(self.normal)[0]
        directors = transport(along, _first_normal(along[0], normal))
        if self.closed:
            directors = _close(along, directors)
        return np.concatenate([line, 0.5 * (a + b) + self.arm * directors])

    def end(self, which):
        """Points of an end, to be attached as a pose: the two of its edge and the edge's director, shape [3].

        The rod's own end comes first, so that a pose's position is its place; of a gripped end, the point where the clamp ends.

        Args:
            which: 0 or -1.
        """
        if self.closed:
            raise InputError("Curve.end: a closed curve has no end")
        n, m = self.point_count, self.edge_count
        outer, inner, director = (0, 1, n) if self._end(which, "Curve.end") == 0 else (n - 1, n - 2, n + m - 1)
        points = [inner, outer, director] if which in self.grips else [outer, inner, director]
        return np.array(points[: 2 + self.framed])

    def interpolation(self, arc):
        """Where material points along the rod are, by cubic interpolation.

        Args:
            arc: positions along the rod as in `arc` [m], shape [p].

        Returns:
            (nodes [p, k], weights [p, k]): each point is the sum over k of weights * x[nodes], for `Tracks`.

        Raises:
            InputError: beyond an end, or a closed curve.
        """
        if self.closed:
            raise InputError("Curve.interpolation: open curves only")
        own = self.arc
        arc = validation.array("arc", arc, (None,), lower=own[0] - 1e-9, upper=own[-1] + 1e-9)
        k = min(4, len(own))
        first = np.clip(np.searchsorted(own, arc) - k // 2, 0, len(own) - k)
        nodes = first[:, None] + np.arange(k)
        at = own[nodes]
        off = ~np.eye(k, dtype=bool)
        factors = np.where(off, (arc[:, None, None] - at[:, None, :]) / np.where(off, at[:, :, None] - at[:, None, :], 1.0), 1.0)
        return nodes, factors.prod(axis=2)


def smooth(points):
    """(chord length at every point [m], cubic spline through them) of points [m, 3] in order; a straight line through two."""
    at = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(points, axis=0), axis=1))])
    return at, CubicSpline(at, points, bc_type="natural" if len(points) < 4 else "not-a-knot")


def transport(along, normal):
    """Directors [m, 3] along unit tangents [m, 3]: the first one turned from edge to edge without twist."""
    if len(along) < 2:
        return normal[None].copy()
    turns = _turns(along)
    step = 1
    while step < len(turns):  # running product by doubling
        turns = Rotation.concatenate([turns[:step], turns[step:] * turns[:-step]])
        step *= 2
    directors = np.concatenate([normal[None], turns.apply(normal)])
    directors -= (directors * along).sum(axis=1)[:, None] * along
    return directors / np.linalg.norm(directors, axis=1)[:, None]


def _tangents(name, line, closed, foldable=False):
    """Unit tangents [m, 3] and lengths [m] of a line's edges, checked: each has a length, none turns back unless it is `foldable`."""
    edges = np.diff(np.concatenate([line, line[:1]]) if closed else line, axis=0)
    lengths = np.linalg.norm(edges, axis=1)
    short = np.flatnonzero(lengths <= 1e-9 * lengths.sum())
    if len(short):
        k = int(short[0])
        raise InputError(f"{name}: edge {k} (points {k} and {(k + 1) % len(line)}) has no length; remove or move one of its points")
    along = edges / lengths[:, None]
    turns = (along * np.roll(along, -1, axis=0)).sum(axis=1)[: None if closed else -1]
    folded = np.flatnonzero(turns < REVERSED)
    if len(folded) and not foldable:
        k = (int(folded[0]) + 1) % len(line)
        raise InputError(f"{name}: it turns back onto itself at point {k}; move the point, or lead the line round in several edges")
    return along, lengths


def _turns(along):
    """The smallest turns from each unit vector to the next; between opposite ones, a half turn about some direction across."""
    a, b = along[:-1], along[1:]
    axis, cosine = np.cross(a, b), (a * b).sum(axis=1)
    opposite = cosine < -1 + 1e-14  # the cross product is rounding alone
    across = np.cross(a, np.eye(3)[np.abs(a).argmin(axis=1)])
    axis = np.where(opposite[:, None], across, axis)
    return Rotation.from_quat(np.concatenate([axis, np.where(opposite, 0.0, 1.0 + cosine)[:, None]], axis=1))


def _close(along, directors):
    """Spread the angle by which a director comes back from its way round over all edges."""
    back = transport(np.stack([along[-1], along[0]]), directors[-1])[1]
    angle = np.arctan2(np.cross(back, directors[0]) @ along[0], back @ directors[0])
    share = angle * np.arange(len(along)) / len(along)
    return Rotation.from_rotvec(share[:, None] * along).apply(directors)


def _first_normal(along, normal):
    given = np.eye(3)[np.abs(along).argmin()] if normal is None else validation.array("Curve.normal", normal, (3,))
    across = given - (given @ along) * along
    if np.linalg.norm(across) <= 1e-6 * np.linalg.norm(given):
        raise InputError(f"Curve.normal = {given.tolist()}: it lies along the first edge; give a direction across it")
    return across / np.linalg.norm(across)


@dataclass(frozen=True)
class RodMaps:
    """Linear maps from a rod's material, one value an edge, to what the laws read; sparse matrices."""

    springs: sparse.csr_matrix  # [N] or [N s] -> [N/m] or [N s/m], edges
    vertices: sparse.csr_matrix  # [N m^2] or [N m^2 s] -> the same at the vertices
    curvature: np.ndarray  # share of a rest curvature at the vertices, shape [v]
    masses: sparse.csr_matrix  # [kg/m] -> [kg], points and directors


def rod_maps(curve, radius):
    """RodMaps of a curve; `radius` [m], shape [m], gives the rotary inertia about the axis: half of m r^2.

    A vertex next to a clamp turns for its free half only: it is stiffer by its whole length over that half.
    """
    n, m, lengths = curve.point_count, curve.edge_count, curve.lengths
    first = curve.vertices[:, 3] - curve.point_count
    second = curve.vertices[:, 4] - curve.point_count
    shares = np.stack([lengths[first], lengths[second]], axis=1) / 2
    whole = shares.sum(axis=1)
    free = shares.copy()
    if 0 in curve.grips:
        free[0, 0] = 0.0
    if -1 in curve.grips:
        free[-1, 1] = 0.0
    left = free.sum(axis=1)
    rows = np.arange(len(first)).repeat(2)
    weights = free * (whole / left**2)[:, None]
    vertices = sparse.csr_matrix((weights.ravel(), (rows, np.stack([first, second], axis=1).ravel())), (len(first), m))
    masses = sparse.csr_matrix((np.repeat(lengths / 2, 2), (curve.edges.ravel(), np.arange(m).repeat(2))), (n, m))
    if curve.framed:
        masses = sparse.vstack([masses, sparse.diags(lengths * 0.5 * (radius / curve.arm) ** 2)]).tocsr()
    return RodMaps(sparse.diags(1.0 / lengths).tocsr(), vertices, left / whole, masses)
