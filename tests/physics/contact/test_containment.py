"""What lies wholly inside a solid is found before the first step, and what may lie in a bag, a room or a cavity is not."""

import numpy as np
import pytest
import trimesh

import physsim as ps
from physsim.physics.contact.containment import is_closed, winding_number
from physsim.physics.contact.separation import inspect

RUBBER = ps.NeoHookean(5e4, 0.3, 500.0)


def surface(solid, inwards=False):
    faces = np.array(solid.faces)
    return ps.TriMesh(np.array(solid.vertices), faces[:, ::-1] if inwards else faces)


def ball(radius, inwards=False):
    return surface(trimesh.creation.icosphere(subdivisions=2, radius=radius), inwards)


def test_winding_number_is_one_inside_and_zero_outside(rng):
    solid = trimesh.creation.torus(0.05, 0.02)
    corners = np.array(solid.vertices)[np.array(solid.faces)]
    points = rng.uniform(-0.08, 0.08, (200, 3)) * [1, 1, 0.3]
    around = np.array([winding_number(x, corners) for x in points])
    # a torus by its own equation, but for points within the facets' error of it
    off = np.hypot(np.hypot(points[:, 0], points[:, 1]) - 0.05, points[:, 2]) - 0.02
    clear = np.abs(off) > 2e-3
    np.testing.assert_allclose(around[clear], off[clear] < 0, atol=1e-9)
    assert is_closed(np.array(solid.faces))
    assert not is_closed(np.array(solid.faces)[1:])


def small_things(builder, place):
    """One thing of each kind, a millimetre or two large, near a place."""
    box = ps.box_mesh((0.004,) * 3, (1, 1, 1), origin=tuple(place - 0.002))
    builder.add_soft_body(box, RUBBER, name="soft")
    builder.add_rigid_body(ps.Sphere(0.002), mass=0.01, position=place + [0.01, 0, 0], name="pea")
    builder.add_rigid_body(ball(0.002), mass=0.01, position=place + [0, 0.01, 0], name="bead")
    sheet = ps.sheet_mesh((0.004, 0.004), (2, 2), origin=tuple(place + [0, 0, 0.01]))
    builder.add_cloth(sheet, ps.Shell(stretch=100.0, bending=1e-6, area_density=0.1), name="scrap")
    rope = ps.Curve.straight(tuple(place + [0, 0, -0.01]), tuple(place + [0.004, 0, -0.01]), 4)
    builder.add_rod(rope, ps.Rod(young=1e6, radius=1e-4, density=1000.0), name="string")


THINGS = {"soft", "pea", "bead", "scrap", "string"}


def pairs_of(builder):
    model = builder.finalize()
    found = inspect(model.state())
    names = np.array(model.contact.names)
    return {tuple(sorted(pair)) for pair in names[found.body].tolist()}, model


@pytest.mark.parametrize("kind", ["soft body", "rigid mesh", "collider"])
def test_things_inside_a_solid_are_found_and_named(kind):
    builder = ps.ModelBuilder(gravity=(0, 0, 0))
    middle = np.array([0.3, 0.0, 0.1])
    if kind == "soft body":
        mesh = ps.box_mesh((0.1,) * 3, (1, 1, 1), origin=tuple(middle - 0.05))
        builder.add_soft_body(mesh, RUBBER, name="big")
    elif kind == "rigid mesh":
        builder.add_rigid_body(ball(0.08), mass=1.0, position=middle, name="big")
    else:
        builder.add_collider(ball(0.08), position=middle, name="big")
    small_things(builder, middle)
    builder.enable_contact(gap=5e-4)
    found, model = pairs_of(builder)
    assert found == {tuple(sorted(("big", name))) for name in THINGS}
    with pytest.raises(ps.InputError, match="big and"):
        ps.SolverImplicit(model, integrator="backward_euler").step(model.state())


def test_bags_rooms_cavities_and_what_stands_beside_are_no_intersections():
    builder = ps.ModelBuilder(gravity=(0, 0, 0))
    bag = ball(0.05)
    builder.add_cloth(bag, ps.Shell(stretch=100.0, bending=1e-6, area_density=0.1), name="bag")
    small_things(builder, np.zeros(3))
    builder.add_collider(ball(0.2, inwards=True), name="room")
    hollow = trimesh.util.concatenate([trimesh.creation.icosphere(3, radius=0.1), trimesh.creation.icosphere(3, radius=0.08)])
    faces = np.array(hollow.faces)
    inner = np.linalg.norm(hollow.triangles_center, axis=1) < 0.09
    faces[inner] = faces[inner][:, ::-1]
    builder.add_collider(ps.TriMesh(np.array(hollow.vertices), faces), name="shell with a cavity")
    builder.add_collider(ball(0.02), position=(0.13, 0.0, 0.0), name="beside")
    builder.enable_contact(gap=5e-4)
    assert pairs_of(builder)[0] == set()


def test_pairs_that_never_touch_may_lie_in_each_other():
    builder = ps.ModelBuilder()
    outer = builder.add_soft_body(ps.box_mesh((0.1,) * 3, (1, 1, 1), origin=(-0.05,) * 3), RUBBER)
    inner = builder.add_rigid_body(ps.Sphere(0.01), mass=0.1)
    builder.enable_contact()
    builder.ignore_contact(outer, inner)
    assert pairs_of(builder)[0] == set()


def test_what_lies_inside_is_moved_out_on_request():
    builder = ps.ModelBuilder(gravity=(0, 0, 0))
    builder.add_soft_body(ps.box_mesh((0.1,) * 3, (2, 2, 2), origin=(-0.05,) * 3), RUBBER, name="big")
    builder.add_rigid_body(ball(0.005), mass=0.01, position=(0.02, 0.01, 0.0), name="bead")
    builder.enable_contact()
    model = builder.finalize()
    assert len(inspect(model.state())) == 1
    assert len(inspect(ps.separate(model.state()))) == 0
