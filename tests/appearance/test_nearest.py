"""The nearest elements are those that holding every point against every element finds."""

import numpy as np
import pytest

import physsim as ps
from physsim.appearance import nearest
from physsim.appearance.carriers import carriage
from physsim.appearance.gather import Gather
from physsim.appearance.nearest import containing_tetrahedron, nearest_element


@pytest.fixture(params=[400_000, 50], ids=["at once", "in slices"])
def slices(request, monkeypatch):
    monkeypatch.setattr(nearest, "PAIRS", request.param)


def graded_box(rng):
    """Tetrahedra from a hundredth to a third of the box."""
    box = ps.box_mesh((1.0, 1.0, 1.0), (5, 4, 3))
    return ps.TetMesh(box.points**3, box.cells)


def test_points_in_a_graded_body_find_their_tetrahedron(slices, rng):
    mesh = graded_box(rng)
    points = rng.uniform(0, 1, (300, 3)) ** 3
    nodes, weights = mesh.interpolation(points)
    element, found, inside = containing_tetrahedron(points, mesh.points[mesh.cells])
    assert inside.all()
    np.testing.assert_array_equal(np.sort(mesh.cells[element], axis=1), np.sort(nodes, axis=1))
    np.testing.assert_allclose(np.einsum("nk,nkd->nd", found, mesh.points[mesh.cells[element]]), points, atol=1e-12)
    np.testing.assert_allclose(np.sort(found, axis=1), np.sort(weights, axis=1), atol=1e-9)


def test_points_near_a_sheet_find_its_nearest_point(slices, rng):
    flat = ps.sheet_mesh((1.0, 1.0), (6, 5))
    sheet = ps.TriMesh(flat.points + [0, 0, 0.1] * np.sin(5 * flat.points[:, :1]), flat.triangles)
    points = rng.uniform(-0.3, 1.3, (300, 3))
    nodes, weights = sheet.interpolation(points, outside=10.0)
    there = np.einsum("nk,nkd->nd", weights, sheet.points[nodes])
    element, found, away = nearest_element(points, sheet.points[sheet.triangles])
    np.testing.assert_allclose(np.einsum("nk,nkd->nd", found, sheet.points[sheet.triangles[element]]), there, atol=1e-9)
    np.testing.assert_allclose(away, np.linalg.norm(points - there, axis=1), atol=1e-12)


def test_points_beside_segments_find_the_nearest_one(slices, rng):
    ends = rng.uniform(-1, 1, (40, 2, 3))
    points = rng.uniform(-1, 1, (200, 3))
    _, weights, away = nearest_element(points, ends)
    t = np.linspace(0, 1, 2001)
    along = ends[:, None, 0] * (1 - t)[None, :, None] + ends[:, None, 1] * t[None, :, None]
    finest = np.array([np.linalg.norm(along - p, axis=2).min() for p in points])
    assert (away <= finest + 1e-12).all()
    np.testing.assert_allclose(away, finest, atol=1e-3)
    assert (weights >= 0).all()


def test_points_outside_a_body_belong_to_the_nearest_place_on_its_boundary(rng):
    mesh = ps.box_mesh((1.0, 1.0, 1.0), (3, 3, 3))
    points = rng.uniform(-0.2, 1.2, (300, 3))
    found = carriage(mesh, points)
    inner = np.clip(points, 0.0, 1.0)
    np.testing.assert_allclose(found.away, np.linalg.norm(points - inner, axis=1), atol=1e-12)
    np.testing.assert_allclose(found.means.apply(mesh.points), inner, atol=1e-12)


def test_sparse_maps_are_those_of_matrices(rng):
    rows, columns, values = rng.integers(0, 5, 40), rng.integers(0, 7, 40), rng.normal(size=40)
    dense = np.zeros((5, 7))
    np.add.at(dense, (rows, columns), values)
    gather = Gather.from_entries(rows, columns, values, 5)
    vectors = rng.normal(size=(7, 3))
    np.testing.assert_allclose(gather.apply(vectors), dense @ vectors, atol=1e-14)
    np.testing.assert_allclose(gather.transposed(7).apply(vectors[:5]), dense.T @ vectors[:5], atol=1e-14)
    other = Gather.from_entries(rng.integers(0, 7, 20), rng.integers(0, 4, 20), rng.normal(size=20), 7)
    inner = np.stack([other.apply(np.eye(4)[:, i : i + 1])[:, 0] for i in range(4)], axis=1)
    np.testing.assert_allclose(gather.after(other).apply(vectors[:4]), dense @ inner @ vectors[:4], atol=1e-14)
