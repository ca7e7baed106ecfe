"""What intersects is found and named, and bodies are moved apart."""

import numpy as np
import pytest
import trimesh
import warp as wp
from scipy.spatial.transform import Rotation

from physsim.physics.contact.intersections import KINDS, Inspection, Intersections
from physsim.physics.contact.scene import PLANE, SPHERE


def on_device(points):
    return wp.array(np.ascontiguousarray(points), dtype=wp.vec3d, device="cpu")


def mesh_of(solid):
    return np.array(solid.vertices), np.array(solid.faces)


def test_pairs_closer_than_their_thickness_are_found(surfaces, rng):
    meshes = [surfaces.soup(rng, 20, 0.02, 0.05) for _ in range(2)]
    shapes = [(SPHERE, (0.03, 0, 0), np.zeros(3), np.eye(3)), (PLANE, (0, 0, 0), np.array([0, 0, -0.04]), np.eye(3))]
    scene, points = surfaces.scene(meshes, shapes, thickness=4e-3)
    oracle = surfaces.oracle(scene)
    s = np.stack([points, points + 1e-3 * rng.normal(size=points.shape) * scene.movable[:, None]])
    found = Inspection(scene, "cpu", 2).intersections(on_device(s))
    for kind, name in enumerate(("point_triangle", "edge_edge", "point_shape")):
        for env in range(2):
            free = oracle.free(name, s[env])
            rows = (found.kind == kind) & (found.env == env)
            assert rows.sum() == (free <= 0).sum() > 0
            np.testing.assert_allclose(np.sort(found.depth[rows]), np.sort(-free[free <= 0]), atol=1e-12)


def test_edges_through_triangles_are_found(surfaces, rng):
    """Against the crossing of a segment and a triangle by barycentric coordinates."""
    scene, points = surfaces.scene([surfaces.soup(rng, 25, 0.03, 0.05), surfaces.soup(rng, 25, 0.03, 0.05)])
    found = Inspection(scene, "cpu", 1).intersections(on_device(points[None]))
    expected = set()
    for edge in scene.edges:
        for triangle in scene.triangles:
            if set(edge) & set(triangle):
                continue
            (p, q), (a, b, c) = points[edge], points[triangle]
            t, u, v = np.linalg.solve(np.column_stack([p - q, b - a, c - a]), p - a)
            if 0 < t < 1 and u > 0 and v > 0 and u + v < 1:
                expected.add((*edge, *triangle))
    rows = found.kind == KINDS.index("edge through triangle")
    assert {tuple(row) for row in found.points[rows].tolist()} == expected
    assert len(expected) == rows.sum() > 0
    assert np.isnan(found.depth[rows]).all()


def test_bodies_apart_have_no_intersections(surfaces):
    ball = mesh_of(trimesh.creation.icosphere(subdivisions=2, radius=0.05))
    scene, points = surfaces.scene([ball, (ball[0] + [0.11, 0, 0], ball[1])])
    assert len(Inspection(scene, "cpu", 1).intersections(on_device(points[None]))) == 0


def test_intersections_name_surfaces_and_depth(surfaces):
    ball = mesh_of(trimesh.creation.icosphere(subdivisions=2, radius=0.05))
    scene, points = surfaces.scene([(ball[0] + [0, 0, 0.04], ball[1])], [(PLANE, (0, 0, 0), np.zeros(3), np.eye(3))])
    found = Inspection(scene, "cpu", 1).intersections(on_device(points[None]))
    text = found.describe(("ball", "table"))
    assert "ball and table" in text
    assert "up to 10." in text  # [mm], a quarter of a millimetre of thickness included
    assert found.describe().startswith("surface 0 and surface 1")


def test_a_ball_sunk_into_a_plane_is_lifted_out(surfaces):
    ball = mesh_of(trimesh.creation.icosphere(subdivisions=2, radius=0.05))
    tilt = Rotation.from_euler("y", 20, degrees=True).as_matrix()
    scene, points = surfaces.scene([ball], [(PLANE, (0, 0, 0), -0.025 * tilt[:, 2], tilt)])
    inspection = Inspection(scene, "cpu", 1)
    moved, left = inspection.resolve(on_device(points[None]))
    assert len(left) == 0
    np.testing.assert_allclose(moved[0, 1], 0)
    np.testing.assert_allclose(moved[0, 0], 0.025 * tilt[:, 2], atol=2e-3)


@pytest.mark.parametrize("movable", [[True, True], [True, False], [False, True]])
def test_overlapping_boxes_part_along_the_shortest_way(surfaces, movable):
    box = trimesh.creation.box(extents=(0.1, 0.1, 0.1)).subdivide()
    first, faces = mesh_of(box)
    scene, points = surfaces.scene([(first, faces), (first + [0.01, 0.02, 0.09], faces)], movable=movable)
    moved, left = Inspection(scene, "cpu", 1).resolve(on_device(points[None]))
    assert len(left) == 0
    apart = moved[0, 1] - moved[0, 0]
    np.testing.assert_allclose(apart, [0, 0, 0.01 + 5e-4], atol=2e-4)
    np.testing.assert_allclose(moved[0, ~np.array(movable)], 0)
    if all(movable):
        np.testing.assert_allclose(moved[0, 0], -moved[0, 1])


def test_what_has_no_room_is_reported_as_left(surfaces):
    """A sheet folded through itself is not a matter of moving bodies."""
    sheet, triangles = surfaces.grid(4, 0.03)
    sheet[-4:] = sheet[:4] + [0.004, 0.004, -0.002]
    sheet[-8:-4, 2] = 0.004
    scene, s = surfaces.scene([(sheet, triangles)])
    inspection = Inspection(scene, "cpu", 1)
    before = inspection.intersections(on_device(s[None]))
    moved, left = inspection.resolve(on_device(s[None]))
    assert len(before) == len(left) > 0
    np.testing.assert_array_equal(moved, 0)


def test_things_that_just_touch_are_said_to_be_in_each_other_by_zero():
    pair = Intersections(np.zeros(1, int), np.zeros(1, int), np.zeros((1, 5), int), np.array([[0, 1]]), np.array([-0.0]), np.zeros((1, 3)))
    assert "up to 0 mm" in pair.describe(("a", "b"))
