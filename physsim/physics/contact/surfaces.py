"""Surfaces: what a builder knows of things that may touch, and the ContactScene that it becomes."""

from dataclasses import dataclass, field

import numpy as np

from physsim.errors import InputError
from physsim.physics import shapes, validation
from physsim.physics.contact.scene import ContactScene
from physsim.physics.frames import RigidFrame
from physsim.physics.mesh import SpringNet, TetMesh
from physsim.physics.rods import Curve
from physsim.physics.sheets import TriMesh

DEFAULT = "default"  # material of surfaces that were given none
GAP = 1e-3  # [m]
SHARE_OF_EDGE = 0.25  # of the shortest edge of surfaces that may touch themselves, which the gap may fill


@dataclass
class Surface:
    """One surface before it is numbered.

    Args:
        name: of its body.
        particles: of the body.
        mesh: TetMesh, TriMesh, Curve, SpringNet or RigidFrame.
        thickness: [m].
        material: name.
        self_contact: whether it may touch itself.
        pressure: that its own stuff stands [Pa], 0 where only its weight counts; scales the contact's stiffness.
    """

    name: str
    particles: np.ndarray
    mesh: object
    pressure: float = 0.0
    thickness: float = 0.0
    material: str = DEFAULT
    self_contact: bool = True


@dataclass(frozen=True)
class ContactPair:
    """Handles of the contact parameters of two materials: `stiffness` [Pa], `friction` [-], `damping` [Pa s/m].

    A stiffness that was not given is found by `finalize`, for the bodies that there are then: `model.parameters[pair.stiffness]`.
    """

    materials: tuple
    stiffness: object
    friction: object
    damping: object


@dataclass
class _Parts:
    """Arrays of a scene as they are collected."""

    owners: list = field(default_factory=list)
    weights: list = field(default_factory=list)
    body: list = field(default_factory=list)
    radius: list = field(default_factory=list)
    area: list = field(default_factory=list)
    vertices: list = field(default_factory=list)
    triangles: list = field(default_factory=list)
    edges: list = field(default_factory=list)
    edge_area: list = field(default_factory=list)
    shape_kind: list = field(default_factory=list)
    shape_size: list = field(default_factory=list)
    shape_frame: list = field(default_factory=list)
    shape_body: list = field(default_factory=list)
    roller: list = field(default_factory=list)
    along: list = field(default_factory=list)
    count: int = 0

    def add_points(self, owners, weights, body, radius, area, roller=-1, along=0.0):
        """Append surface points; returns their numbers."""
        self.roller.append(np.full(len(owners), roller))
        self.along.append(np.broadcast_to(along, len(owners)))
        numbers = self.count + np.arange(len(owners))
        self.owners.append(owners)
        self.weights.append(weights)
        self.body.append(np.full(len(owners), body))
        self.radius.append(np.broadcast_to(radius, len(owners)))
        self.area.append(np.broadcast_to(area, len(owners)))
        self.count += len(owners)
        return numbers

    def add_features(self, points, edges, triangles, area_of_edges):
        """Append what meets others: points by number, edges and triangles in terms of them."""
        self.vertices.append(points)
        self.edges.append(points[edges])
        self.triangles.append(points[triangles])
        self.edge_area.append(area_of_edges)


def build_scene(surfaces, free, ignored, classes, gap, creep):
    """ContactScene of some surfaces.

    Args:
        surfaces: list of Surface.
        free: particles that are free, [n] bool.
        ignored: pairs of surface numbers that never touch.
        classes: dict from frozenset of material names to row of the table; pairs of materials without a row never touch.
        gap: [m], or None: GAP, or less where a surface's own edges are short.
        creep: [m/s].

    Raises:
        InputError: gap and thickness that a surface's own edges leave no room for.
    """
    parts = _Parts()
    soft = [s for s in surfaces if not isinstance(s.mesh, RigidFrame)]
    spans = [_spans(s) for s in soft]
    typical = min((float(np.median(areas)) for _, _, _, areas, _ in spans if len(areas)), default=np.inf)
    for number, surface in enumerate(surfaces):
        if isinstance(surface.mesh, RigidFrame):
            _add_frame(parts, number, surface, typical)
        else:
            _add_soft(parts, number, surface, spans[soft.index(surface)])
    materials = sorted({s.material for s in surfaces})
    table = np.full((len(materials), len(materials)), -1)
    for names, row in classes.items():
        pair = [materials.index(m) for m in names if m in materials]
        if len(pair) == len(names):
            table[pair[0], pair[-1]] = table[pair[-1], pair[0]] = row
    allowed = np.ones((len(surfaces), len(surfaces)), bool)
    for number, surface in enumerate(surfaces):
        allowed[number, number] = surface.self_contact and not isinstance(surface.mesh, RigidFrame)
    for a, b in ignored:
        allowed[a, b] = allowed[b, a] = False
    gap = _checked_gap(gap, soft, spans)
    join = lambda lists, shape, dtype=float: (  # noqa: E731
        np.concatenate(lists).reshape(-1, *shape) if lists else np.zeros((0, *shape))
    ).astype(dtype)
    owners, weights = join(parts.owners, (4,), int), join(parts.weights, (4,))
    return ContactScene(
        owners=owners,
        weights=weights,
        body=join(parts.body, (), int),
        radius=join(parts.radius, ()),
        area=join(parts.area, ()),
        movable=(free[owners] & (weights != 0.0)).any(axis=1),
        vertices=join(parts.vertices, (), int),
        triangles=join(parts.triangles, (3,), int),
        edges=join(parts.edges, (2,), int),
        edge_area=join(parts.edge_area, ()),
        shape_kind=np.array(parts.shape_kind, int),
        shape_size=np.array(parts.shape_size, float).reshape(-1, 3),
        shape_frame=np.array(parts.shape_frame, int).reshape(-1, 4),
        shape_body=np.array(parts.shape_body, int),
        allowed=allowed,
        material=np.array([materials.index(s.material) for s in surfaces], int),
        pair_class=table,
        gap=gap,
        creep=creep,
        names=tuple(s.name for s in surfaces),
        roller=join(parts.roller, (), int),
        along=join(parts.along, ()),
        solid=np.array([isinstance(s.mesh, (TetMesh, RigidFrame)) for s in surfaces], bool),
    )


def _spans(surface):
    """(points, edges, triangles of the surface in the body's numbers; areas of those points and of the edges [m^2])."""
    mesh = surface.mesh
    if isinstance(mesh, (Curve, SpringNet)):
        edges = mesh.edges if isinstance(mesh, Curve) or mesh.kinds is None else mesh.edges[mesh.kinds == 0]
        lengths = np.linalg.norm(np.diff(mesh.points[edges], axis=1)[:, 0], axis=1)
        area = lengths * max(surface.thickness, 1e-3)  # a rope's shadow
        points = np.unique(edges)
        return points, edges, np.zeros((0, 3), int), _shared(edges, area, len(mesh.points))[points], area
    triangles = mesh.surface() if isinstance(mesh, TetMesh) else mesh.triangles
    corners = mesh.points[triangles]
    areas = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 2
    sides = np.sort(triangles[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    edges, owner = np.unique(sides, axis=0, return_inverse=True)
    edge_area = np.bincount(owner.ravel(), weights=np.repeat(areas / 3, 3), minlength=len(edges))
    points = np.unique(triangles)
    return points, edges, triangles, _shared(triangles, areas, len(mesh.points))[points], edge_area


def _shared(cells, areas, count):
    """Areas spread evenly on the cells' points, [count]."""
    size = cells.shape[1]
    return np.bincount(cells.ravel(), weights=np.repeat(areas / size, size), minlength=count)


def _add_soft(parts, number, surface, spans):
    points, edges, triangles, areas, edge_area = spans
    owners = np.repeat(surface.particles[points][:, None], 4, axis=1)
    weights = np.tile([1.0, 0.0, 0.0, 0.0], (len(points), 1))
    numbers = parts.add_points(owners, weights, number, surface.thickness / 2, areas)
    place = np.full(len(surface.mesh.points), -1)
    place[points] = np.arange(len(points))
    parts.add_features(numbers, place[edges], place[triangles], edge_area)


def _add_frame(parts, number, surface, typical):
    """A rigid thing's shapes; points count with at most the area of a soft neighbour's, for only so much can be pressed on."""
    frame, half = surface.mesh, surface.thickness / 2
    given = frame.shape if isinstance(frame.shape, tuple) else ((frame.shape, np.zeros(3), np.eye(3)),)
    for shape, position, rotation in given:

        def embedded(local, radius=0.0, area=0.0, roller=-1, position=position, rotation=rotation):
            weights = frame.weights(local @ rotation.T + position)
            owners = np.tile(surface.particles, (len(local), 1))
            return parts.add_points(owners, weights, number, radius, area, roller, local[:, 2])

        f = shapes.features(shape)
        if len(f.points):
            if len(f.triangles):
                corners = f.points[f.triangles]
                size = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 2
                areas, edge_area = _shared(f.triangles, size, len(f.points)), size.sum() / max(len(f.edges), 1)
            else:
                extent = np.ptp(f.points, axis=0).max() + 2 * f.radius
                areas, edge_area = extent**2 / len(f.points), extent**2 / max(len(f.edges), 1)
            core = len(parts.shape_kind) if f.radius > 0.0 else -1  # the number that the shape will have
            numbers = embedded(f.points, half + f.radius, np.minimum(areas, typical), core)
            parts.add_features(numbers, f.edges, f.triangles, np.full(len(f.edges), min(edge_area, typical)))
        if not isinstance(shape, TriMesh):
            axes = embedded(np.concatenate([np.zeros((1, 3)), np.eye(3)]), half)
            parts.shape_kind.append(shape.kind)
            parts.shape_size.append(shapes.half_size(shape))
            parts.shape_frame.append(axes)
            parts.shape_body.append(number)


def _checked_gap(gap, soft, spans):
    """The gap [m], which must leave room between a surface's own points."""
    room, tightest = np.inf, ""
    for surface, (_, edges, _, _, _) in zip(soft, spans, strict=True):
        if surface.self_contact and len(edges):
            shortest = float(np.linalg.norm(np.diff(surface.mesh.points[edges], axis=1)[:, 0], axis=1).min())
            if shortest - surface.thickness < room:
                room, tightest = shortest - surface.thickness, surface.name
    if room <= 0:
        raise InputError(
            f"contact: {tightest!r} is thicker than its shortest edge is long; use larger triangles, less thickness, or "
            f"set_surface({tightest!r}, self_contact=False)"
        )
    if gap is None:
        return min(GAP, SHARE_OF_EDGE * room)
    gap = float(validation.array("gap", gap, (), lower=0.0, lower_open=True))
    if gap >= room:
        text = f"gap = {gap:g} m: {tightest!r} would touch itself; its shortest edge leaves {room:.3g} m"
        raise InputError(f"{text}; use a smaller gap, or set_surface(body, self_contact=False)")
    return gap
