"""Two fingers find where a body can be held: opposite, within friction, with room to come in."""

import numpy as np
import pytest
import trimesh

from physsim import InputError, assets, load_surface
from physsim.io.mesh import SurfaceMesh
from physsim.robots.grasping import Gripper, grasp_candidates

DOWN = np.array([0.0, 0.0, -1.0])


def surface_of(mesh):
    return SurfaceMesh(np.array(mesh.vertices), np.array(mesh.faces))


def box(size=(0.05, 0.04, 0.05)):
    return surface_of(trimesh.creation.box(size))


@pytest.fixture(scope="module")
def plush():
    return load_surface(assets.folder("plush") / "plush.obj")


def test_a_box_is_held_along_its_normals_near_its_middle(rng):
    found = grasp_candidates(box(), friction=0.3, seed=int(rng.integers(1 << 30)))
    best = found[0]
    assert max(abs(best.closing_axis)) == pytest.approx(1.0, abs=1e-12)
    assert best.width == pytest.approx([0.05, 0.04, 0.05][int(np.argmax(abs(best.closing_axis)))])
    assert np.linalg.norm(best.center) < 0.012
    assert [c.quality for c in found] == sorted((c.quality for c in found), reverse=True)
    for candidate in found:
        assert max(abs(candidate.closing_axis)) > np.cos(np.arctan(0.3)) - 1e-9
        assert candidate.approach @ candidate.closing_axis == pytest.approx(0.0, abs=1e-12)
        assert candidate.approach @ DOWN >= 0.5 - 1e-9
        np.testing.assert_allclose(candidate.rotation.T @ candidate.rotation, np.eye(3), atol=1e-12)
        assert np.linalg.det(candidate.rotation) == pytest.approx(1.0)


def test_a_ball_is_held_at_opposite_points(rng):
    found = grasp_candidates(surface_of(trimesh.creation.icosphere(4, 0.03)), friction=0.2, seed=int(rng.integers(1 << 30)))
    assert len(found) == 20
    for candidate in found:
        assert np.linalg.norm(candidate.center) < 0.03 * 0.2
        assert candidate.width == pytest.approx(0.06, rel=0.025)
    assert np.linalg.norm(found[0].center) < 0.002


def test_an_upright_cylinder_is_held_across_its_axis_when_its_ends_are_too_far_apart(rng):
    cylinder = surface_of(trimesh.creation.cylinder(radius=0.02, height=0.12, sections=64))
    for candidate in grasp_candidates(cylinder, friction=0.3, seed=int(rng.integers(1 << 30)), samples=600):
        assert abs(candidate.closing_axis[2]) < np.sin(np.arctan(0.3)) + 1e-9
        assert candidate.width < 0.042 / np.cos(np.arctan(0.3))


def test_what_is_wider_than_the_gripper_is_not_held():
    assert grasp_candidates(box((0.09, 0.1, 0.11))) == []
    assert all(c.width < 0.08 for c in grasp_candidates(box((0.09, 0.06, 0.05))))


def test_less_friction_leaves_fewer_holds_on_a_wedge():
    wedge = surface_of(
        trimesh.convex.convex_hull(np.array([[x, y, z] for x in (-0.03, 0.03) for y, z in ((-0.03, 0), (0.03, 0), (0, 0.045))]))
    )
    thin = Gripper(pad=0.002, finger_width=0.01)  # wide ones would rest on the slopes
    sloped = np.array([0.0, 1.0, 0.0])  # across the wedge: its sides lean by 33.7 degrees, tan = 0.67
    across = [
        [c for c in grasp_candidates(wedge, thin, friction=mu, count=400, samples=400) if abs(c.closing_axis @ sloped) > 0.7]
        for mu in (0.5, 0.9)
    ]
    assert across[0] == []
    assert across[1]


def test_the_same_seed_gives_the_same_grasps_and_another_gives_others(plush):
    first, again, other = (grasp_candidates(plush, seed=seed, samples=150) for seed in (3, 3, 4))
    assert len(first) == len(again)
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(
            np.concatenate([a.center, a.closing_axis, a.approach]), np.concatenate([b.center, b.closing_axis, b.approach])
        )
    assert any(not np.array_equal(a.center, b.center) for a, b in zip(first, other, strict=False))


def test_the_plush_is_held_from_above_without_touching_the_table(plush):
    found = grasp_candidates(plush, friction=0.6, table=0.0)
    assert len(found) == 20
    gripper = Gripper()
    for c in found:
        lateral = np.cross(c.closing_axis, c.approach)
        for side in (-1, 1):
            for tip in (-0.5, 0.5):
                corner = c.center + side * (0.04 + 0.012) * c.closing_axis + tip * gripper.finger_width * lateral + gripper.pad * c.approach
                assert corner[2] > 0
    assert found[0].quality > 0.3


def test_a_flat_plate_on_the_table_leaves_no_room_for_the_tips():
    plate = surface_of(trimesh.creation.box((0.05, 0.05, 0.007)).apply_translation([0, 0, 0.0035]))
    assert grasp_candidates(plate, table=0.0, tilt=10.0) == []
    assert grasp_candidates(plate, table=None, tilt=10.0)


def test_a_roof_wider_than_the_hand_blocks_the_way_from_above():
    profile = [(0.0, -0.02), (0.015, -0.02), (0.015, 0.02), (0.1, 0.02), (0.1, 0.03), (0.0, 0.03)]  # a mushroom: radius and height
    mushroom = surface_of(trimesh.creation.revolve(profile, sections=48))
    assert grasp_candidates(mushroom, tilt=45.0) == []
    assert grasp_candidates(mushroom, approach=(0, 0, 1), tilt=45.0)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"friction": -0.1}, "friction = -0.1"),
        ({"count": 0}, "count = 0"),
        ({"approach": (0, 0, 0)}, "a direction is needed"),
        ({"gripper": 0.08}, "a Gripper is needed"),
        ({"tilt": 200.0}, "tilt = 200"),
    ],
)
def test_wrong_arguments_are_refused(arguments, says):
    with pytest.raises(InputError, match=says):
        grasp_candidates(box(), **arguments)


def test_a_gripper_without_length_is_refused():
    with pytest.raises(InputError, match=r"Gripper.opening = 0"):
        Gripper(opening=0.0)
    with pytest.raises(InputError, match="must be less than finger_length"):
        Gripper(pad=0.1)
