"""Strain of bodies from their positions alone."""

import numpy as np
import pytest

import physsim as ps
from physsim.physics.strain import at_points, green_strain, largest_strain

STRETCH = np.diag([1.3, 0.9, 0.8])


def test_a_uniform_deformation_gives_its_own_green_strain_in_every_tetrahedron(rng):
    F = np.eye(3) + 0.2 * rng.normal(size=(3, 3))
    for order in (1, 2):
        mesh = ps.box_mesh((0.1, 0.2, 0.3), (2, 2, 1), order=order)
        E = green_strain(mesh, mesh.points @ F.T + [1.0, 2.0, 3.0])
        assert pytest.approx(np.broadcast_to((F.T @ F - np.eye(3)) / 2, E.shape), abs=1e-12) == E
        largest = largest_strain(mesh, mesh.points @ F.T)
        assert largest == pytest.approx(np.full(len(mesh.cells), np.linalg.eigvalsh((F.T @ F - np.eye(3)) / 2)[-1]), abs=1e-12)


def test_a_sheets_largest_strain_lies_in_its_plane_even_where_it_shrinks():
    mesh = ps.sheet_mesh((1.0, 1.0), (3, 3))
    for a, b in ((1.3, 0.9), (0.8, 0.9)):  # under pressure both ways the normal's strain of 0 would be the largest of three
        x = mesh.points * [a, b, 1.0]
        assert largest_strain(mesh, x) == pytest.approx(np.full(len(mesh.triangles), (max(a, b) ** 2 - 1) / 2), abs=1e-12)


def test_springs_and_rods_strain_along_themselves():
    net = ps.SpringNet(np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0]], float), [[0, 1], [1, 2]], rest_lengths=[0.5, 2.0])
    assert largest_strain(net, net.points) == pytest.approx([(4 - 1) / 2, (0.25 - 1) / 2])
    rod = ps.Curve.straight((0, 0, 0), (1, 0, 0), 4)
    assert largest_strain(rod, rod.points * [1.1, 1.0, 1.0]) == pytest.approx(np.full(4, (1.21 - 1) / 2))


def test_frames_are_taken_together_as_one_by_one(rng):
    mesh = ps.box_mesh((0.1, 0.1, 0.1), (1, 1, 1))
    frames = mesh.points + 0.01 * rng.normal(size=(3, *mesh.points.shape))
    assert largest_strain(mesh, frames) == pytest.approx(np.stack([largest_strain(mesh, x) for x in frames]), abs=1e-14)


def test_a_constant_stays_itself_at_the_points_and_a_point_takes_the_mean_by_size():
    mesh = ps.box_mesh((0.1, 0.2, 0.3), (2, 1, 1))
    assert at_points(mesh, np.full(len(mesh.cells), 0.7)) == pytest.approx(np.full(len(mesh.points), 0.7))
    rod = ps.Curve(np.array([[0, 0, 0], [1, 0, 0], [4, 0, 0]], float), framed=False)
    assert at_points(rod, [1.0, 2.0]) == pytest.approx([1.0, (1 * 1 + 3 * 2) / 4, 2.0])
