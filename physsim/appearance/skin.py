"""Skins: the triangles by which a body is shown, and how they follow its particles."""

import numpy as np
from scipy import sparse

from physsim.errors import InputError
from physsim.physics.mesh import SpringNet, TetMesh
from physsim.physics.rods import Curve, transport
from physsim.physics.sheets import TriMesh
from physsim.physics.strain import at_points, largest_strain

SIDES = {SpringNet: 3, Curve: 8}  # of the prism that stands for a spring, and for an edge of a rod
THIN = 0.06  # radius of a prism as a share of the median edge, where nothing else is known


class Skin:
    """The surface of a body.

    Of tetrahedra the boundary, of a sheet its triangles, of springs and rods a prism an edge.

    Args:
        mesh: TetMesh, TriMesh, SpringNet or Curve.
        radius: of springs and rods [m]; None: a share of the edges' length.

    Attributes:
        triangles: indices into what `points` gives, shape [t, 3].
        two_sided: whether both faces of the triangles show.

    Raises:
        InputError: another mesh.
    """

    def __init__(self, mesh, radius=None):
        self.mesh, self.two_sided, self._sums = mesh, isinstance(mesh, TriMesh), None
        if isinstance(mesh, TetMesh):
            surface = mesh.surface()
            self._nodes, corners = np.unique(surface, return_inverse=True)
            self.triangles = corners.reshape(surface.shape)
        elif isinstance(mesh, TriMesh):
            self._nodes, self.triangles = np.arange(len(mesh.points)), mesh.triangles
        elif isinstance(mesh, SpringNet | Curve):
            self._build_prisms(radius)
        else:
            raise InputError(f"mesh: a TetMesh, TriMesh, SpringNet or Curve is needed, {type(mesh).__name__} was given")

    def _build_prisms(self, radius):
        mesh = self.mesh
        if isinstance(mesh, SpringNet) and (mesh.kinds == 0).any():
            self._rows = np.flatnonzero(mesh.kinds == 0)  # shear and bending springs would hide those that form the net
        else:
            self._rows = np.arange(len(mesh.edges))
        self._edges = mesh.edges[self._rows]
        lengths = mesh.lengths if isinstance(mesh, Curve) else mesh.rest_lengths
        self._radius = THIN * float(np.median(lengths)) if radius is None else float(radius)
        sides, count = SIDES[type(mesh)], len(self._edges)
        k = np.arange(sides)
        after = (k + 1) % sides
        walls = np.concatenate([np.stack([k, after, after + sides], 1), np.stack([k, after + sides, k + sides], 1)])
        caps = np.concatenate([np.stack([0 * k[2:], k[1:-1], k[2:]], 1)[:, ::-1] + shift * sides for shift in (0, 1)])
        caps[len(caps) // 2 :] = caps[len(caps) // 2 :, ::-1]
        prism = np.concatenate([walls, caps])
        self.triangles = (prism + 2 * sides * np.arange(count)[:, None, None]).reshape(-1, 3)
        angle = 2.0 * np.pi * k / sides
        self._ring = np.stack([np.cos(angle), np.sin(angle)], axis=1)

    def points(self, positions):
        """Where the surface's points are [m], shape [v, 3], from those of the body's particles [m], shape [n, 3]."""
        positions = np.asarray(positions, dtype=np.float64)
        if isinstance(self.mesh, TetMesh | TriMesh):
            return positions[self._nodes]
        a, b = positions[self._edges[:, 0]], positions[self._edges[:, 1]]
        along = b - a
        along = along / np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-300)
        across = np.cross(along, np.eye(3)[np.abs(along).argmin(axis=1)])
        across = across / np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-300)
        if isinstance(self.mesh, Curve):
            # the same frame carried along the line, and mitred where two edges meet, so that the prisms join to a tube
            across = transport(along, across[0])
            along_a, along_b = self._mitres(along)
        else:
            along_a = along_b = along
        rings = [self._placed(end, along, across, cut) for end, cut in ((a, along_a), (b, along_b))]
        return np.stack(rings, axis=1).reshape(-1, 3)

    def _mitres(self, along):
        """Normals of the planes in which every edge's two ends are cut, each shape [m, 3]."""
        closed = self.mesh.closed
        before, after = np.roll(along, 1, axis=0), np.roll(along, -1, axis=0)
        if not closed:
            before[0], after[-1] = along[0], along[-1]
        return along + before, along + after

    def _placed(self, middle, along, across, cut):
        """Rings of every edge's end, cut along the plane whose normal is `cut`, shape [m, sides, 3]."""
        third = np.cross(along, across)
        ring = self._radius * (self._ring[:, 0, None] * across[:, None] + self._ring[:, 1, None] * third[:, None])
        slope = (ring * cut[:, None]).sum(axis=-1) / np.maximum((along * cut).sum(axis=-1), 0.5)[:, None]
        return middle[:, None] + ring - slope[..., None] * along[:, None]

    def inset(self, points, depth):
        """The surface moved inwards along its points' normals.

        Args:
            points: what `points` gave [m], shape [v, 3].
            depth: [m].

        Returns:
            [m], shape [v, 3].
        """
        a, b, c = (points[self.triangles[:, i]] for i in range(3))
        normals = self._incidence() @ np.cross(b - a, c - a)
        return points - depth * normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-300)

    def _incidence(self):
        """Sums triangles' values at their points, [v, t]."""
        if self._sums is None:
            columns = np.repeat(np.arange(len(self.triangles)), 3)
            self._sums = sparse.csr_matrix((np.ones(len(columns)), (self.triangles.ravel(), columns)))
        return self._sums

    def strain(self, positions):
        """Largest principal Green strain at the surface's points [-], shape [v]: the mean of the elements about each.

        Args:
            positions: of the body's particles [m], shape [n, 3].
        """
        strain = largest_strain(self.mesh, positions)
        if isinstance(self.mesh, TetMesh | TriMesh):
            return at_points(self.mesh, strain)[self._nodes]
        return np.repeat(strain[self._rows], 2 * SIDES[type(self.mesh)])
