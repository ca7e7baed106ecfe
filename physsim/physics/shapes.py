"""Shapes of rigid things: analytic ones as value objects, and what contact needs to know of them and of rigid meshes."""

from dataclasses import dataclass

import numpy as np

from physsim.errors import InputError
from physsim.physics import validation
from physsim.physics.contact.scene import BOX, CAPSULE, CYLINDER, PLANE, SPHERE
from physsim.physics.sheets import TriMesh

SIDES = 24  # of the polygon that stands for a cylinder's rim where edges meet it


@dataclass(frozen=True)
class Plane:
    """A half space: z <= 0 of its frame is solid."""

    kind = PLANE


@dataclass(frozen=True)
class Sphere:
    """A ball about its frame's origin.

    Args:
        radius: [m].
    """

    radius: float
    kind = SPHERE

    def __post_init__(self):
        _positive(self, "radius")


@dataclass(frozen=True)
class Box:
    """A box about its frame's origin.

    Args:
        size: edges along x, y, z [m], shape [3].
    """

    size: tuple
    kind = BOX

    def __post_init__(self):
        validation.array("Box.size", self.size, (3,), lower=0.0, lower_open=True)


@dataclass(frozen=True)
class Capsule:
    """A cylinder along z with round ends, about its frame's origin.

    Args:
        radius: [m].
        length: of the segment that it surrounds [m].
    """

    radius: float
    length: float
    kind = CAPSULE

    def __post_init__(self):
        _positive(self, "radius", "length")


@dataclass(frozen=True)
class Cylinder:
    """A cylinder along z about its frame's origin.

    Args:
        radius: [m].
        length: [m].
    """

    radius: float
    length: float
    kind = CYLINDER

    def __post_init__(self):
        _positive(self, "radius", "length")


SHAPES = (Plane, Sphere, Box, Capsule, Cylinder)


def _positive(shape, *names):
    for name in names:
        validation.array(f"{type(shape).__name__}.{name}", getattr(shape, name), (), lower=0.0, lower_open=True)


@dataclass(frozen=True)
class Features:
    """Points, edges and triangles of a shape in its frame, which meet the edges and triangles of others.

    An analytic shape is met by the points of others as what it is; its own points and edges keep it from poking through between those.
    """

    points: np.ndarray  # [p, 3]
    edges: np.ndarray  # [e, 2]
    triangles: np.ndarray  # [t, 3]
    radius: float = 0.0  # about points and edges [m]


def features(shape):
    """Features of an analytic shape or of a TriMesh."""
    none = np.zeros((0, 3)), np.zeros((0, 2), int), np.zeros((0, 3), int)
    if isinstance(shape, TriMesh):
        return Features(shape.points, shape.edges(), shape.triangles)
    if isinstance(shape, Plane):
        return Features(*none)
    if isinstance(shape, Sphere):
        return Features(np.zeros((1, 3)), none[1], none[2], float(shape.radius))
    if isinstance(shape, Capsule):
        ends = np.array([[0, 0, -0.5], [0, 0, 0.5]]) * shape.length
        return Features(ends, np.array([[0, 1]]), none[2], float(shape.radius))
    if isinstance(shape, Box):
        corners = np.array([[x, y, z] for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)])
        a, b = np.triu_indices(8, 1)
        along = (corners[a] != corners[b]).sum(axis=1) == 1
        return Features(corners * np.asarray(shape.size, float), np.stack([a, b], 1)[along], none[2])
    angle = 2 * np.pi * np.arange(SIDES) / SIDES
    rim = np.stack([np.cos(angle), np.sin(angle), np.zeros(SIDES)], 1) * shape.radius
    points = np.concatenate([rim - [0, 0, shape.length / 2], rim + [0, 0, shape.length / 2]])
    i = np.arange(SIDES)
    after = (i + 1) % SIDES
    edges = np.concatenate([np.stack(p, 1) for p in ((i, after), (i + SIDES, after + SIDES), (i, i + SIDES))])
    return Features(points, edges, none[2])


def half_size(shape):
    """The three numbers by which the kernels know an analytic shape [m]."""
    if isinstance(shape, Plane):
        return np.zeros(3)
    if isinstance(shape, Sphere):
        return np.array([shape.radius, 0.0, 0.0])
    if isinstance(shape, Box):
        return np.asarray(shape.size, float) / 2
    return np.array([shape.radius, shape.length / 2, 0.0])


def moments(shape):
    """(volume [m^3], centre [m], mean of (x - centre)(x - centre)^T [m^2]) of a solid shape of even density.

    Raises:
        InputError: a plane, or a mesh that is not closed or is inside out.
    """
    if isinstance(shape, Plane):
        raise InputError("shape: a Plane has no mass; make it a collider")
    if isinstance(shape, TriMesh):
        return _mesh_moments(shape)
    if isinstance(shape, Sphere):
        return 4 / 3 * np.pi * shape.radius**3, np.zeros(3), np.eye(3) * shape.radius**2 / 5
    if isinstance(shape, Box):
        size = np.asarray(shape.size, float)
        return float(np.prod(size)), np.zeros(3), np.diag(size**2) / 12
    r, length = shape.radius, shape.length
    cylinder = np.pi * r**2 * length
    across, along = r**2 / 4 * cylinder, length**2 / 12 * cylinder
    if isinstance(shape, Capsule):  # two half balls, whose centres lie 3 r / 8 beyond the segment's ends
        ball = 4 / 3 * np.pi * r**3
        across, along = across + ball * r**2 / 5, along + ball * (r**2 / 5 + length**2 / 4 + 3 * length * r / 8)
        cylinder += ball
    return cylinder, np.zeros(3), np.diag([across, across, along]) / cylinder


def _mesh_moments(mesh):
    if len(mesh.boundary()):
        raise InputError(f"shape: the mesh has a rim of {len(mesh.boundary())} points; a rigid body needs a closed surface")
    corners = mesh.points[mesh.triangles]
    volumes = np.linalg.det(corners) / 6
    volume = float(volumes.sum())
    if volume <= 0:
        raise InputError(f"shape: the mesh's volume is {volume:.3g} m^3; turn its triangles so that their normals point outwards")
    total = corners.sum(axis=1)
    centre = (volumes[:, None] * total).sum(axis=0) / 4 / volume
    second = np.einsum("t,tai,taj->ij", volumes, corners, corners) + np.einsum("t,ti,tj->ij", volumes, total, total)
    return volume, centre, second / 20 / volume - np.outer(centre, centre)


def shape_surface(shape, reach=1.0):
    """Triangles to draw a shape by.

    Args:
        shape: analytic shape, TriMesh, or a tuple of (shape, position [m], rotation [3, 3]), as a RigidFrame has them.
        reach: half the side of the square that stands for a plane [m].

    Returns:
        (points [m], shape [n, 3]; outward triangles, shape [t, 3]) in the shape's own coordinates.
    """
    if isinstance(shape, tuple):
        parts = [(shape_surface(part, reach), np.asarray(place), np.asarray(turn)) for part, place, turn in shape]
        offsets = np.cumsum([0, *(len(points) for (points, _), _, _ in parts)])
        points = [points @ turn.T + place for (points, _), place, turn in parts]
        return np.concatenate(points), np.concatenate([t + k for ((_, t), _, _), k in zip(parts, offsets, strict=False)])
    if isinstance(shape, TriMesh):
        return shape.points, shape.triangles
    if isinstance(shape, Plane):
        return np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]]) * float(reach), np.array([[0, 1, 2], [0, 2, 3]])
    import trimesh

    if isinstance(shape, Sphere):
        drawn = trimesh.creation.icosphere(subdivisions=3, radius=shape.radius)
    elif isinstance(shape, Box):
        drawn = trimesh.creation.box(extents=np.asarray(shape.size, float))
    elif isinstance(shape, Capsule):
        drawn = trimesh.creation.capsule(height=shape.length, radius=shape.radius, count=[SIDES, SIDES])
        drawn.vertices -= (drawn.vertices.max(axis=0) + drawn.vertices.min(axis=0)) / 2  # releases differ in where it begins
    else:
        drawn = trimesh.creation.cylinder(radius=shape.radius, height=shape.length, sections=SIDES)
    return np.array(drawn.vertices, dtype=np.float64), np.array(drawn.faces, dtype=np.int64)
