"""Closed surfaces become solids: right volume, right size, sound elements; what is not closed is refused."""

import sys

import numpy as np
import pytest
import trimesh

import physsim
from physsim import InputError, mesh_quality, tetrahedralize
from physsim.io import mesher
from physsim.io.mesh import SurfaceMesh
from physsim.physics.tetrahedralize import closed_surface

with_mesher = pytest.mark.skipif(not mesher.available(), reason="pytetwild is not installed")


def ball(subdivisions=3, radius=0.03):
    mesh = trimesh.creation.icosphere(subdivisions, radius)
    return SurfaceMesh(np.array(mesh.vertices), np.array(mesh.faces))


def box():
    mesh = trimesh.creation.box((0.05, 0.04, 0.03))
    return SurfaceMesh(np.array(mesh.vertices), np.array(mesh.faces))


@with_mesher
def test_a_box_keeps_its_volume_and_its_corners():
    mesh = tetrahedralize(box(), edge_length=0.012)
    assert mesh.volumes().min() > 0
    assert mesh.volumes().sum() == pytest.approx(0.05 * 0.04 * 0.03, rel=0.02)
    nearest = np.linalg.norm(mesh.points[:, None] - box().points, axis=2).min(axis=0)
    assert nearest.max() < 0.0015


@with_mesher
def test_a_ball_is_filled_with_about_as_many_tetrahedra_as_asked_for():
    mesh = tetrahedralize(ball(), cells=600)
    quality = mesh_quality(mesh)
    assert 540 < quality.cells < 660
    assert quality.least_angle > 10
    outer = trimesh.Trimesh(mesh.points, mesh.surface(), process=False)
    assert outer.is_watertight
    # the mesher draws random numbers: both ways the surface stays within the deviation that is promised, an eighth of an edge
    away = 0.03 - np.linalg.norm(mesh.points[np.unique(mesh.surface())], axis=1)
    assert np.abs(away).max() < 0.125 * 0.013


@with_mesher
@pytest.mark.parametrize("scale", [1e-4, 1e3])
def test_any_unit_of_length_serves_and_points_far_from_the_origin_too(scale):
    surface = ball(2)
    mesh = tetrahedralize(SurfaceMesh(scale * (surface.points + 5.0), surface.triangles), edge_length=0.02 * scale)
    assert mesh.volumes().sum() == pytest.approx(scale**3 * trimesh.Trimesh(*vars(surface).values()).volume, rel=0.15)


def test_quality_of_a_regular_and_of_a_right_angled_tetrahedron():
    regular = physsim.TetMesh(np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1.0]]), [[0, 2, 1, 3]])
    quality = mesh_quality(regular)
    assert quality.least_angle == pytest.approx(quality.greatest_angle) == pytest.approx(np.degrees(np.arccos(1 / 3)))
    assert quality.edge_length == pytest.approx(np.sqrt(8))
    corner = mesh_quality(physsim.TetMesh(np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1.0]]), [[0, 1, 2, 3]]))
    assert corner.greatest_angle == pytest.approx(90)
    assert corner.least_angle == pytest.approx(np.degrees(np.arccos(1 / np.sqrt(3))))
    assert corner.volume == corner.least_volume == pytest.approx(1 / 6)


def spoilt(kind):
    surface = ball(1)
    points, triangles = surface.points.copy(), surface.triangles.copy()
    if kind == "hole":
        triangles = triangles[:-3]
    elif kind == "turned":
        triangles[4] = triangles[4, ::-1]
    elif kind == "inside out":
        triangles = triangles[:, ::-1]
    elif kind == "flat":
        points[:, 2] = 0.0
    elif kind == "not a number":
        points[3, 1] = np.nan
    elif kind == "out of range":
        triangles[0, 0] = 1000
    elif kind == "repeated":
        triangles[7, 1] = triangles[7, 0]
    elif kind == "twice":
        triangles = np.concatenate([triangles, triangles])
    return SurfaceMesh(points, triangles)


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("hole", "not closed"),
        ("turned", "not closed, or not all turned one way, at triangles"),
        ("inside out", "turned inside out"),
        ("flat", "a body that is not flat"),
        ("not a number", "NaN or infinite"),
        ("out of range", "out of range"),
        ("repeated", "name a point twice"),
        ("twice", "not closed"),
    ],
)
def test_a_surface_that_cannot_be_filled_is_refused(kind, says):
    with pytest.raises(InputError, match=says):
        tetrahedralize(spoilt(kind), edge_length=0.01)


def test_points_that_no_triangle_uses_are_left_out():
    surface = ball(1)
    points, triangles = closed_surface(SurfaceMesh(np.concatenate([[[9.0, 9, 9]], surface.points]), surface.triangles + 1))
    np.testing.assert_array_equal(points, surface.points)
    np.testing.assert_array_equal(triangles, surface.triangles)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({}, "one of edge_length"),
        ({"edge_length": 0.01, "cells": 100}, "not both"),
        ({"edge_length": -1.0}, "edge_length = -1"),
        ({"edge_length": 1e-6}, "at most 2000000 are made"),
        ({"cells": 3}, "cells = 3"),
        ({"cells": 100, "deviation": 1.0}, "deviation = 1"),
    ],
)
def test_wrong_sizes_are_refused(arguments, says):
    with pytest.raises(InputError, match=says):
        tetrahedralize(ball(1), **arguments)


def test_what_is_no_surface_is_refused():
    with pytest.raises(InputError, match="points and triangles are needed"):
        tetrahedralize(np.zeros((3, 3)), edge_length=0.1)


def test_without_the_mesher_the_error_names_the_extra(monkeypatch):
    monkeypatch.setattr(mesher, "available", lambda: False)
    with pytest.raises(InputError, match=r"pip install physsim\[mesh\]"):
        tetrahedralize(ball(1), edge_length=0.01)


@with_mesher
def test_a_mesher_that_dies_or_takes_too_long_is_an_error():
    surface = ball(2)
    with pytest.raises(InputError, match="not done after"):
        mesher.fill(surface.points, surface.triangles, 0.01, 0.001, time_limit=0.05)
    with pytest.raises(InputError, match="the mesher failed on this surface"):
        mesher.fill(surface.points, np.concatenate([surface.triangles, [[0, 1, 10**6]]]), 0.01, 0.001)


@with_mesher
@pytest.mark.skipif(sys.platform != "linux", reason="bounds on memory are Linux's")
def test_a_mesher_that_takes_too_much_memory_is_an_error():
    surface = ball(2)
    with pytest.raises(InputError, match=r"it may take 200 MiB.*above 0.01 m"):
        mesher.fill(surface.points, surface.triangles, 0.01, 0.001, memory_bytes=200 << 20)
