"""Bases of fields over tetrahedra, triangles and rods, and the sides that cells share."""

import numpy as np
import pytest

import physsim as ps
from physsim.physics.fields import cells_of, smooth_columns


@pytest.mark.parametrize("order", [1, 2])
def test_smooth_columns_of_a_box_are_its_cosines(order):
    """The eigenvalues of a box with a free rim are pi^2 (i^2/a^2 + j^2/b^2 + k^2/c^2); linear elements come from above."""
    size = np.array([0.2, 0.1, 0.05])
    mesh = ps.box_mesh(size, (16, 8, 4), order)
    basis, values = smooth_columns(cells_of(mesh), 4)
    numbers = np.array([[0, 0, 0], [1, 0, 0], [2, 0, 0], [0, 1, 0]])
    truth = np.sort(((np.pi * numbers / size) ** 2).sum(axis=1))
    assert values == pytest.approx(truth, rel=0.03, abs=1e-3)
    assert basis[:, 0] == pytest.approx(1.0, rel=1e-9)
    x = cells_of(mesh).centres()[:, 0]
    wave = np.sqrt(2) * np.cos(np.pi * x / size[0])
    assert min(np.abs(basis[:, 1] - s * wave).max() for s in (1, -1)) < 0.05
    shares = mesh.volumes() / mesh.volumes().sum()
    np.testing.assert_allclose(basis.T @ (shares[:, None] * basis), np.eye(4), atol=0.05)


def test_smooth_columns_of_a_rod_are_its_cosines():
    rod = ps.Curve.straight((0.0, 0.0, 0.0), (0.0, 0.0, 2.0), 40)
    basis, values = smooth_columns(cells_of(rod), 3)
    assert values == pytest.approx((np.pi * np.arange(3) / 2.0) ** 2, rel=0.01, abs=1e-6)
    z = cells_of(rod).centres()[:, 2]
    assert np.abs(basis[:, 1]) == pytest.approx(np.sqrt(2) * np.abs(np.cos(np.pi * z / 2.0)), abs=0.01)


def test_borders_of_cells_close_the_surface():
    """Every inner side is shared by two cells: the areas of all sides, twice the inner ones, and the surface's add up."""
    mesh = ps.box_mesh((0.3, 0.2, 0.1), (3, 2, 1))
    pairs, areas = cells_of(mesh).borders()
    whole = sum(_areas(mesh.points, np.delete(mesh.cells, i, axis=1)).sum() for i in range(4))
    assert 2 * areas.sum() + 2 * (0.06 + 0.03 + 0.02) == pytest.approx(whole)
    shared = [len(np.intersect1d(mesh.cells[a], mesh.cells[b])) for a, b in pairs]
    assert shared == [3] * len(pairs)
    sheet = ps.sheet_mesh((1.0, 1.0), (2, 2))
    pairs, lengths = cells_of(sheet).borders()
    assert len(pairs) == 8
    assert lengths.sum() == pytest.approx(4 * 0.5 + 4 * np.sqrt(0.5))
    ring = cells_of(ps.Curve(np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]), closed=True))
    assert ring.sizes == pytest.approx(1.0)
    assert len(ring.borders()[0]) == 4


def _areas(points, triangles):
    a, b, c = (points[triangles[:, i]] for i in range(3))
    return 0.5 * np.linalg.norm(np.cross(b - a, c - a), axis=1)
