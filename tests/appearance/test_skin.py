"""Skins cover bodies: closed surfaces of the right size that follow the particles."""

import numpy as np
import pytest
import trimesh

import physsim as ps
from physsim.appearance.skin import Skin


def surface(skin, positions):
    return trimesh.Trimesh(skin.points(positions), skin.triangles, process=False)


@pytest.mark.parametrize("order", [1, 2])
def test_the_skin_of_a_solid_is_closed_outward_and_holds_its_volume(order):
    mesh = ps.box_mesh((0.1, 0.2, 0.3), (2, 3, 2), order=order)
    skin = Skin(mesh)
    drawn = surface(skin, mesh.points * [2.0, 1.0, 1.0])
    assert drawn.is_watertight
    assert drawn.volume == pytest.approx(2 * 0.1 * 0.2 * 0.3)
    assert len(skin.points(mesh.points)) < len(mesh.points) or order == 1  # what lies inside is left out


def test_a_straight_rod_is_a_prism_of_eight_sides():
    rod = ps.Curve.straight((0, 0, 0), (1, 0, 0), 10)
    drawn = surface(Skin(rod, radius=0.01), rod.points)
    assert drawn.volume == pytest.approx(0.5 * 8 * np.sin(2 * np.pi / 8) * 0.01**2)  # area of an octagon, times 1 m
    assert np.linalg.norm(drawn.vertices[:, 1:], axis=1) == pytest.approx(np.full(len(drawn.vertices), 0.01))


def test_edges_of_a_bent_rod_meet_without_gaps():
    angle = np.linspace(0, np.pi / 2, 9)
    line = np.stack([np.cos(angle), np.sin(angle), 0.2 * angle], axis=1)
    rod = ps.Curve(line)
    points = Skin(rod, radius=0.02).points(rod.points).reshape(8, 2, 8, 3)  # edge, end, corner
    assert points[:-1, 1] == pytest.approx(points[1:, 0], abs=2e-4)


def test_springs_of_a_net_are_prisms_about_them_and_only_those_that_form_it():
    net = ps.spring_net((3, 2), (0.3, 0.2))
    skin = Skin(net, radius=1e-3)
    count = int((net.kinds == 0).sum())
    moved = net.points + [0.0, 0.0, 1.0]
    points = skin.points(moved).reshape(count, 2, 3, 3)
    edges = net.edges[net.kinds == 0]
    assert points.mean(axis=2) == pytest.approx(moved[edges], abs=1e-12)
    assert surface(skin, moved).volume == pytest.approx(count * 0.1 * 0.75 * np.sqrt(3) * 1e-6)


def test_strain_at_the_surface_is_that_of_a_uniform_stretch():
    rod, net = ps.Curve.straight((0, 0, 0), (1, 0, 0), 4), ps.spring_net((3, 3), (1, 1))
    for mesh in (ps.box_mesh((0.1, 0.1, 0.1), (2, 2, 2)), ps.sheet_mesh((1, 1), (3, 3)), net, rod):
        skin = Skin(mesh)
        x = mesh.points * 1.2
        assert skin.strain(x) == pytest.approx(np.full(len(skin.points(x)), 0.22))


def test_another_thing_has_no_skin():
    with pytest.raises(ps.InputError, match="TetMesh, TriMesh, SpringNet or Curve is needed, dict"):
        Skin({})
