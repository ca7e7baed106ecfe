"""What is handed to the browser."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

pytest.importorskip("viser", reason="the extra 'view' is not installed")

from physsim.viewer.canvas import widened


def test_splats_are_widened_by_what_they_lack_in_two_directions(rng):
    turns = Rotation.random(50, random_state=rng).as_matrix()
    given = turns @ np.diag([0.5, 0.3, 0.0]) @ turns.swapaxes(1, 2)
    np.testing.assert_array_equal(widened(given, np.sqrt(0.15) - 1e-6), given)
    np.testing.assert_allclose(widened(given, np.sqrt(0.15) + 0.1), given + 0.1 * np.eye(3), atol=1e-12)
    needle = widened(turns @ np.diag([4.0, 0.0, 0.0]) @ turns.swapaxes(1, 2), 0.25)
    np.testing.assert_allclose(np.linalg.eigvalsh(needle), np.tile([0.25, 0.25, 4.25], (50, 1)), atol=1e-6)
