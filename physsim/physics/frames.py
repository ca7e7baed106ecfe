"""Frames: rigid things as four control particles, of which every point of them is a fixed combination.

A collider's frame has particles at its origin and along its axes; they are held, and moved by a Control. A rigid body's frame has four
equal masses that have the body's mass, centre and moments (Routh's equimomental tetrahedron), so that its inertia is exact, and a stiff
law that keeps them rigid.
"""

from dataclasses import dataclass

import numpy as np

from physsim.errors import InputError
from physsim.physics import validation

CORNERS = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], float)


def _cross_table():
    """(a x b)[k] as a sum over a[i] b[j], [9, 3]."""
    table = np.zeros((3, 3, 3))
    for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        table[i, j, k], table[j, i, k] = 1.0, -1.0
    return table.reshape(9, 3)


def _turn_table():
    """A rotation less the identity as a sum over products of a quaternion's entries (w, x, y, z), [16, 9]."""
    table = np.zeros((4, 4, 3, 3))
    for i in range(3):
        for j in range(3):
            if i != j:
                table[1 + min(i, j), 1 + max(i, j), i, j] = 2.0
                table[1 + j, 1 + j, i, i] = -2.0
    for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        table[0, 1 + k, j, i], table[0, 1 + k, i, j] = 2.0, -2.0
    return table.reshape(16, 9)


_CROSS, _TURN, _IDENTITY = _cross_table(), _turn_table(), np.eye(3).ravel()


@dataclass(frozen=True)
class RigidFrame:
    """Rest shape of a rigid thing.

    Args:
        points: the four control points in the thing's own coordinates [m], shape [4, 3].
        shape: analytic shape or TriMesh, in the same coordinates; several as a tuple of (shape, position, rotation).
    """

    points: np.ndarray
    shape: object

    def weights(self, local):
        """Shares of the control points in points of the thing, shape [p, 4]."""
        ones = lambda x: np.concatenate([x, np.ones((len(x), 1))], axis=1)  # noqa: E731
        return np.linalg.solve(ones(self.points).T, ones(np.atleast_2d(local)).T).T

    def pose(self, positions):
        """(position [m], rotation [3, 3]) of the thing's own coordinates, from its control points [..., 4, 3]."""
        centre = self.points.mean(axis=0)
        now = positions.mean(axis=-2)
        moved = np.einsum("...ki,kj->...ij", positions - now[..., None, :], self.points - centre)
        u, _, vt = np.linalg.svd(moved)
        sign = np.ones((*moved.shape[:-2], 3))
        sign[..., 2] = np.linalg.det(u @ vt)
        rotation = (u * sign[..., None, :]) @ vt
        return now - rotation @ centre, rotation


def collider_frame(shape, size):
    """RigidFrame of a thing that is moved: its origin and one point along each axis, `size` away [m]."""
    return RigidFrame(np.concatenate([np.zeros((1, 3)), np.eye(3) * size]), shape)


def body_frame(shape, centre, second):
    """RigidFrame of a free rigid body.

    Args:
        shape: of the body.
        centre: of mass [m], shape [3].
        second: mean of (x - centre)(x - centre)^T over the mass [m^2], shape [3, 3].

    Raises:
        InputError: a body without extent along an axis.
    """
    sizes, axes = np.linalg.eigh(second)
    if sizes.min() <= 1e-12 * max(sizes.max(), 1e-300):
        raise InputError("rigid body: it has no extent along an axis; give it some thickness")
    if np.linalg.det(axes) < 0:
        axes[:, 0] *= -1
    return RigidFrame(centre + (CORNERS * np.sqrt(sizes)) @ axes.T, shape)


def second_moments(inertia, mass):
    """Mean of (x - centre)(x - centre)^T [m^2] of a body with an inertia tensor about its centre [kg m^2], shape [3, 3].

    Raises:
        InputError: no body has this inertia (a principal moment exceeds the sum of the others).
    """
    inertia = validation.array("inertia", inertia, (3, 3))
    second = (np.trace(inertia) / 2 * np.eye(3) - inertia) / mass
    if np.linalg.eigvalsh((second + second.T) / 2).min() < 0:
        raise InputError(
            "inertia: a principal moment is larger than the sum of the other two, which no body has; "
            "give it about the centre of mass and in kg m^2"
        )
    return (second + second.T) / 2


def cross(a, b):
    """Cross product of vectors [..., 3]; numpy's own takes six times as long for few of them."""
    products = a[..., :, None] * b[..., None, :]
    return products.reshape(*products.shape[:-2], 9) @ _CROSS


def turned(quaternions, vectors):
    """Vectors [..., 3] turned by unit quaternions (w, x, y, z) [..., 4]."""
    axis = quaternions[..., 1:]
    once = cross(axis, vectors)
    return vectors + 2.0 * (quaternions[..., :1] * once + cross(axis, once))


def unit_quaternion(name, value):
    """A quaternion (w, x, y, z) of length one, float64 [4]; InputError where it is zero."""
    quaternion = validation.array(name, value, (4,))
    size = np.linalg.norm(quaternion)
    if size < 1e-9:
        raise InputError(f"{name}: zero was given; (1, 0, 0, 0) stands for no turn")
    return quaternion / size


def matrices(quaternions):
    """Rotations [..., 3, 3] of unit quaternions (w, x, y, z) [..., 4]."""
    products = quaternions[..., :, None] * quaternions[..., None, :]
    shape = products.shape[:-2]
    return (products.reshape(*shape, 16) @ _TURN + _IDENTITY).reshape(*shape, 3, 3)


def quaternions_of(rotations):
    """Unit quaternions (w, x, y, z) [4] or [k, 4] of rotations [3, 3] or [k, 3, 3]."""
    from scipy.spatial.transform import Rotation

    if len(rotations) == 0:
        return np.zeros((0, 4))
    return Rotation.from_matrix(rotations).as_quat(scalar_first=True)


def rotation_matrix(quaternion):
    """Rotation [3, 3] of a quaternion (w, x, y, z), made unit.

    Raises:
        InputError: a quaternion of zero.
    """
    return matrices(unit_quaternion("rotation", quaternion))
