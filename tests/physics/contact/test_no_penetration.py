"""Nothing passes through anything: fast, thin, sharp and small things, at steps of a sixtieth of a second.

Judged by distances and crossings of all pairs that come near, worked out by numpy (`penetration`), and by the side on which things end up.
"""

import numpy as np
import pytest
from penetration import Penetration

import physsim as ps

DT = 1 / 60
CLOTH = ps.Shell(stretch=500.0, bending=1e-5, thickness=5e-4, area_density=0.2)


def steps(model, count, control=None, linear="auto"):
    """States after each of some steps, in each of which nothing lies in anything; returns the states and reports."""
    solver = ps.SolverImplicit(model, dt=DT, integrator="backward_euler", max_iterations=1000, linear=linear)
    judge, state, out = Penetration(model.contact), model.state(), []
    for _ in range(count):
        state, report = solver.step(state, control)
        s = model.contact.embed(state.positions)
        assert len(judge.crossings(s)) == 0
        assert judge.least_free(s) > 0.0
        out.append((state, report))
    return out


def held_cloth(builder, cells=10, size=0.2, material=CLOTH):
    """A sheet about the origin, held by its rim."""
    mesh = ps.sheet_mesh((size, size), (cells, cells), origin=(-size / 2, -size / 2, 0))
    cloth = builder.add_cloth(mesh, material)
    builder.attach(cloth, mesh.boundary())
    return cloth


PROJECTILES = {
    "the edge of a box": (ps.Box((0.06, 0.06, 0.06)), (np.cos(np.pi / 8), np.sin(np.pi / 8), 0, 0), 0.06),
    "the corner of a box": (ps.Box((0.06, 0.06, 0.06)), (np.cos(0.3), np.sin(0.3) * 0.6, np.sin(0.3) * 0.8, 0), 0.07),
    "a ball smaller than a triangle": (ps.Sphere(0.005), (1, 0, 0, 0), 0.02),
    "a needle": (ps.Capsule(0.001, 0.05), (1, 0, 0, 0), 0.04),
}


@pytest.mark.parametrize("name", PROJECTILES)
def test_a_cloth_half_a_millimetre_thick_stops_what_hits_it_at_ten_metres_a_second(name):
    shape, rotation, height = PROJECTILES[name]
    builder = ps.ModelBuilder()
    held_cloth(builder)
    body = builder.add_rigid_body(shape, mass=0.02, position=(0.003, 0.004, height), rotation=rotation, velocity=(0, 0, -10.0))
    builder.enable_contact(friction=0.3)
    model = builder.finalize()
    lowest = 0.0
    for state, _ in steps(model, 12):
        x = state.positions
        cloth = x[model.body("cloth").particles]
        centre = x[body.particles].mean(axis=0)
        near = np.argsort(np.linalg.norm(cloth[:, :2] - centre[:2], axis=1))[:4]
        lowest = min(lowest, centre[2])
        assert centre[2] > cloth[near, 2].min()  # still on its side
    assert lowest < 0.0  # the sheet gave way


def test_a_cloth_falls_on_a_needle():
    builder = ps.ModelBuilder()
    mesh = ps.sheet_mesh((0.2, 0.2), (10, 10), origin=(-0.1, -0.1, 0))
    cloth = builder.add_cloth(mesh, CLOTH, velocity=(0, 0, -3.0))
    builder.add_collider(ps.Capsule(5e-4, 0.1), position=(0.003, 0.002, -0.08))
    builder.enable_contact(friction=0.3)
    model = builder.finalize()
    state, _ = steps(model, 18)[-1]
    x = state.positions[cloth.particles]
    assert x[:, 2].max() > -0.035  # it hangs on the tip
    assert x[:, 2].min() < -0.1


def test_a_plate_commanded_through_a_cube_in_one_step_stops_and_says_so():
    builder = ps.ModelBuilder()
    builder.add_soft_body(ps.box_mesh((0.05, 0.05, 0.05), (2, 2, 2), origin=(-0.025, -0.025, 0.001)), ps.NeoHookean(5e4, 0.3, 500.0))
    builder.add_ground()
    plate = builder.add_collider(ps.Box((0.1, 0.1, 0.01)), position=(0, 0, 0.058))
    builder.enable_contact(friction=0.3)
    model = builder.finalize()
    away = model.positions[plate.particles] - [0, 0, 0.06]
    control = ps.Control([0.0, DT], {plate.name: np.stack([model.positions[plate.particles], away])})
    (state, report), *_ = steps(model, 1, control)
    height = state.positions[plate.particles[0], 2] - 0.005
    assert report.unreached == pytest.approx(height + 0.007, abs=1e-9)  # its lower face was sent to 7 mm below the ground
    assert 0.0 < height < 0.02  # however strong the plate, something of the cube is left between it and the ground


@pytest.mark.parametrize("linear", ["cg", "multigrid"])
def test_a_cloth_folded_onto_itself_stays_in_layers(linear):
    builder = ps.ModelBuilder()
    mesh = ps.sheet_mesh((0.2, 0.1), (16, 8))
    x, y, _ = mesh.points.T
    radius = 0.004
    s = np.clip((x - 0.1) / radius, 0, np.pi)  # the turn half way
    pose = np.stack(
        [np.minimum(x, 0.1) + radius * np.sin(s) - np.maximum(x - 0.1 - np.pi * radius, 0), y, 0.002 + radius * (1 - np.cos(s))], 1
    )
    cloth = builder.add_cloth(mesh, CLOTH, pose=pose)
    builder.add_ground()
    builder.enable_contact(friction=0.3)
    model = builder.finalize()
    state, _ = steps(model, 20, linear=linear)[-1]
    z = state.positions[cloth.particles, 2]
    lower, upper = z[x < 0.06], z[x > 0.16]
    assert lower.max() < upper.min()
    assert upper.mean() - lower.mean() >= 5e-4
    assert upper.mean() < 0.006


def test_two_cubes_thrown_at_each_other_stop_each_other():
    """Head on at 4 m/s. A step that took them further than their size might find its way past each other."""
    builder = ps.ModelBuilder(gravity=(0, 0, 0))
    mesh = ps.box_mesh((0.05, 0.05, 0.05), (3, 3, 3), origin=(-0.025, -0.025, -0.025))
    material = ps.NeoHookean(1e5, 0.3, 300.0)
    left = builder.add_soft_body(ps.TetMesh(mesh.points - [0.04, 0.002, 0], mesh.cells), material, velocity=(2, 0, 0))
    right = builder.add_soft_body(ps.TetMesh(mesh.points + [0.04, 0, 0.002], mesh.cells), material, velocity=(-2, 0, 0))
    builder.enable_contact(friction=0.3)
    model = builder.finalize()
    for state, _ in steps(model, 10):
        x = state.positions
        assert x[left.particles, 0].mean() < x[right.particles, 0].mean()
    v = state.velocities[:, 0]
    assert abs(v[left.particles].mean()) < 0.2
    assert v[left.particles].mean() + v[right.particles].mean() == pytest.approx(0.0, abs=1e-4)


def test_a_pinned_cloth_is_dragged_over_a_box():
    builder = ps.ModelBuilder()
    mesh = ps.sheet_mesh((0.2, 0.1), (14, 7), origin=(-0.1, -0.05, 0.042))
    cloth = builder.add_cloth(mesh, CLOTH)
    edge = np.flatnonzero(mesh.points[:, 0] > 0.0999)
    end = builder.attach(cloth, edge)
    builder.add_collider(ps.Box((0.1, 0.2, 0.08)))
    builder.enable_contact(friction=0.5)
    model = builder.finalize()
    times = np.array([0.0, 0.5])
    path = mesh.points[edge] + times[:, None, None] * 2 * np.array([0.08, 0.0, -0.05])
    state, report = steps(model, 30, ps.Control(times, {end: path}))[-1]
    assert report.unreached == 0.0
    assert state.positions[cloth.particles, 0].min() > -0.06  # it came along


def test_rest_shapes_turned_anyhow_do_not_count_as_crossing_themselves(rng):
    from scipy.spatial.transform import Rotation

    for _ in range(5):
        builder = ps.ModelBuilder(gravity=(0, 0, 0))
        box, sheet = ps.box_mesh((0.06, 0.05, 0.04), (5, 4, 3)), ps.sheet_mesh((0.2, 0.1), (10, 6))
        turn = Rotation.random(random_state=rng).as_matrix()
        builder.add_soft_body(ps.TetMesh(box.points @ turn.T, box.cells), ps.NeoHookean(1e4, 0.3))
        builder.add_cloth(ps.TriMesh(sheet.points @ turn.T + [0, 0, 0.5], sheet.triangles), CLOTH)
        builder.enable_contact()
        model = builder.finalize()
        ps.SolverImplicit(model, integrator="backward_euler").step(model.state())
