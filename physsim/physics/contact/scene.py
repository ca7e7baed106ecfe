"""ContactScene: every surface that may touch another, as plain arrays; frozen like the model that holds it.

Surface points are fixed affine combinations of at most four particles. A vertex of a soft body is one particle; a vertex of a rigid
body, a collider or a robot's link is a combination of its frame's four control particles. Contact knows surface points only.
"""

from dataclasses import dataclass, fields

import numpy as np

from physsim.kernels.contact.distance import BOX, CAPSULE, CYLINDER, PLANE, SPHERE  # noqa: F401

TABLE = "contact"  # under this name parameters feed the table, as they feed the columns of a law
COLUMNS = ("stiffness", "friction", "damping")  # of the table


@dataclass(frozen=True, eq=False)
class ContactScene:
    """Surfaces of a model, S surface points of B surfaces.

    Args:
        owners: particles of each point, [S, 4]; weights of those not used are zero.
        weights: their shares, each row summing to one, [S, 4].
        body: surface that a point belongs to, [S].
        radius: half of the thickness about a point [m], [S].
        area: share of the surface's area [m^2], [S].
        movable: whether any particle of a point is free, [S] bool.
        vertices: points that are tested against triangles and shapes, [V].
        triangles, edges: surface points, [T, 3] and [E, 2].
        edge_area: [m^2], [E].
        shape_kind: PLANE, SPHERE, BOX, CAPSULE or CYLINDER, [N].
        shape_size: [m], [N, 3]; plane none (z <= 0 is solid); sphere (radius); box half its edges; capsule and cylinder (radius,
        half the length along z).
        shape_frame: surface points at the origin of a shape's frame and at one metre along its axes, [N, 4].
        shape_body: [N].
        allowed: pairs of surfaces that may touch, [B, B], symmetric; the diagonal is contact of a surface with itself.
        material: number of a surface's material, [B].
        pair_class: row of the table of contact parameters for two materials, [M, M], symmetric; -1 where they never meet.
        gap: distance at which contact begins to push [m].
        creep: sliding speed at which friction is fully developed [m/s].
        names: of the surfaces, for messages, length B.
        roller: shape that a point is of the core of, a ball's centre or an end of a capsule's segment, -1 for other points, [S]; None: no
            point is. Friction with it acts on the shape's surface.
        along: place of such a point along its shape's z axis [m], [S].
        solid: whether a surface bounds a solid, so that nothing may lie inside it, [B] bool; None: no surface does.
    """

    owners: np.ndarray
    weights: np.ndarray
    body: np.ndarray
    radius: np.ndarray
    area: np.ndarray
    movable: np.ndarray
    vertices: np.ndarray
    triangles: np.ndarray
    edges: np.ndarray
    edge_area: np.ndarray
    shape_kind: np.ndarray
    shape_size: np.ndarray
    shape_frame: np.ndarray
    shape_body: np.ndarray
    allowed: np.ndarray
    material: np.ndarray
    pair_class: np.ndarray
    gap: float
    creep: float = 1e-4
    names: tuple[str, ...] = ()
    roller: np.ndarray | None = None
    along: np.ndarray | None = None
    solid: np.ndarray | None = None

    def __post_init__(self):
        for f in fields(self):
            value = getattr(self, f.name)
            if isinstance(value, np.ndarray):
                value.setflags(write=False)

    @property
    def point_count(self):
        """Surface points S."""
        return len(self.owners)

    @property
    def class_count(self):
        """Rows of the table of contact parameters."""
        return int(self.pair_class.max(initial=-1)) + 1

    def embed(self, positions):
        """Surface points [..., S, 3] of particle positions [..., n, 3]."""
        return (positions[..., self.owners, :] * self.weights[:, :, None]).sum(axis=-2)
