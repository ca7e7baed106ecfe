"""Moments of bodies and turns by quaternions are those of other libraries and closed forms; what no body has is refused."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from physsim.errors import InputError
from physsim.physics.frames import cross, matrices, quaternions_of, rotation_matrix, second_moments, turned


def test_turns_by_quaternions_are_scipys(rng):
    quaternions, vectors = rng.normal(size=(20, 4)), rng.normal(size=(20, 3))
    quaternions /= np.linalg.norm(quaternions, axis=1)[:, None]
    truth = Rotation.from_quat(quaternions, scalar_first=True)
    np.testing.assert_allclose(turned(quaternions, vectors), truth.apply(vectors), atol=1e-14)
    np.testing.assert_allclose(matrices(quaternions), truth.as_matrix(), atol=1e-14)
    np.testing.assert_allclose(rotation_matrix(3.0 * quaternions[0]), truth[0].as_matrix(), atol=1e-14)
    np.testing.assert_allclose(cross(quaternions[:, None, 1:], vectors), np.cross(quaternions[:, None, 1:], vectors), atol=1e-14)


def test_quaternions_come_back_from_their_matrices(rng):
    quaternions = rng.normal(size=(20, 4))
    quaternions *= np.sign(quaternions[:, :1]) / np.linalg.norm(quaternions, axis=1, keepdims=True)
    found = quaternions_of(matrices(quaternions))
    np.testing.assert_allclose(found * np.sign(found[:, :1]), quaternions, atol=1e-12)
    np.testing.assert_allclose(quaternions_of(matrices(quaternions[0])), found[0], atol=1e-12)
    assert quaternions_of(np.zeros((0, 3, 3))).shape == (0, 4)


def test_a_quaternion_of_zero_is_no_turn():
    with pytest.raises(InputError, match=r"\(1, 0, 0, 0\) stands for no turn"):
        rotation_matrix(np.zeros(4))


def test_second_moments_of_a_box_are_twelfths_of_its_squared_edges():
    edges, mass = np.array([0.1, 0.2, 0.4]), 3.0
    inertia = mass / 12.0 * np.diag((edges**2).sum() - edges**2)
    np.testing.assert_allclose(second_moments(inertia, mass), np.diag(edges**2) / 12.0, atol=1e-16)


def test_moments_that_no_body_has_are_refused_with_what_to_check():
    with pytest.raises(InputError, match=r"larger than the sum of the other two.*about the centre of mass"):
        second_moments(np.diag([1.0, 1.0, 2.1]), 1.0)
