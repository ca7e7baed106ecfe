"""What a moved collider meets: things that make way, however fast it comes, and things that have no room.

In the first case it gets where it is sent, in the second it stays behind, says by how much, and feels what it presses on.
"""

import numpy as np
import pytest
from penetration import Penetration

import physsim as ps
from physsim.kernels.contact import ccd
from physsim.physics.assembly import Assembly
from physsim.physics.contact.readout import contact_points

CLOTH = ps.Shell(stretch=500.0, bending=1e-5, thickness=5e-4, area_density=0.2)
SIZE, CELLS = 0.24, 12
PROJECTILES = {
    "ball": ps.Sphere(0.03),
    "marble": ps.Sphere(0.01),
    "box": ps.Box((0.05, 0.05, 0.05)),
    "capsule": ps.Capsule(0.01, 0.06),
}


def add_sheet(builder, height=0.0):
    mesh = ps.sheet_mesh((SIZE, SIZE), (CELLS, CELLS), origin=(-SIZE / 2, -SIZE / 2, height))
    return builder.add_cloth(mesh, CLOTH), mesh


def follow(model, ways, time, dt, count):
    """(last state, reports, solver) of colliders sent along straight `ways` [m] within `time`; no step fails, nothing lies in anything."""
    poses = {}
    for collider, way in ways:
        start = model.positions[collider.particles]
        poses[collider.name] = np.stack([start, start + way])
    control = ps.Control([0.0, time], poses)
    solver = ps.SolverImplicit(model, dt=dt, integrator="backward_euler")
    judge, state, reports = Penetration(model.contact), model.state(), []
    for _ in range(count):
        state, report = solver.step(state, control)
        reports.append(report)
        s = model.contact.embed(state.positions)
        assert report.converged
        assert len(judge.crossings(s)) == 0
        assert judge.least_free(s) > 0.0
    return state, reports, solver


@pytest.mark.filterwarnings("ignore:something is hit")
@pytest.mark.parametrize(
    ("name", "held", "speed"),
    [("ball", True, 3.0), ("ball", True, 10.0), ("marble", True, 3.0), ("capsule", True, 6.0), ("box", True, 6.0)]
    + [pytest.param(name, False, speed, marks=pytest.mark.slow) for name in PROJECTILES for speed in (3.0, 6.0, 10.0)],
)
def test_a_sheet_makes_way_for_what_is_driven_into_it(name, held, speed):
    builder = ps.ModelBuilder()
    cloth, mesh = add_sheet(builder)
    if held:
        builder.attach(cloth, np.flatnonzero((np.abs(np.abs(mesh.points[:, :2]) - SIZE / 2) < 1e-9).all(axis=1)))
    collider = builder.add_collider(PROJECTILES[name], position=(0.003, 0.004, 0.05))
    builder.enable_contact(friction=0.4)
    time, dt = 0.2 / speed, 1 / 60
    state, reports, _ = follow(builder.finalize(), [(collider, (0, 0, -0.2))], time, dt, int(np.ceil(time / dt)))
    assert reports[-1].unreached == 0.0
    x = state.positions
    centre = x[collider.particles[0]]
    assert centre[2] == pytest.approx(-0.15)
    if held or speed * dt < 2 * half_height(PROJECTILES[name]):  # else a step may lead a loose sheet around it, as a warning says
        near = np.argsort(np.linalg.norm(x[cloth.particles, :2] - centre[:2], axis=1))[0]
        assert x[cloth.particles[near], 2] < -0.15  # it came along, before it


def test_a_way_that_was_gone_but_for_rounding_is_reported_as_gone(monkeypatch):
    """It goes in two parts or more, which may miss the target by the last digit; gradients warn of what was not reached."""
    builder = ps.ModelBuilder(gravity=(0, 0, 0))
    builder.add_rigid_body(ps.Sphere(0.01), mass=0.03, position=(0.003, 0.002, 0.0412))
    wheel = builder.add_collider(ps.Sphere(0.03))
    builder.enable_contact(friction=0.3)
    measured = Assembly.measure_way
    monkeypatch.setattr(Assembly, "measure_way", lambda *arguments: np.maximum(measured(*arguments), 1e-20))
    _, reports, _ = follow(builder.finalize(), [(wheel, (0.001, 0.002, 0.01))], 1 / 60, 1 / 240, 4)
    assert [r.unreached for r in reports] == [0.0] * 4


def half_height(shape):
    """Of what stands upright [m]."""
    if isinstance(shape, ps.Box):
        return shape.size[2] / 2
    return shape.radius + (shape.length / 2 if isinstance(shape, ps.Capsule) else 0.0)


@pytest.mark.filterwarnings("ignore:something is hit")
@pytest.mark.parametrize("name", PROJECTILES)
@pytest.mark.parametrize(("speed", "dt"), [(1.0, 1 / 60), (6.0, 1 / 60), (3.0, 1 / 240)])
def test_what_is_driven_at_a_sheet_on_the_ground_stays_above_it(name, speed, dt):
    builder = ps.ModelBuilder()
    builder.add_ground()
    add_sheet(builder, 1.5e-3)
    shape = PROJECTILES[name]
    height = half_height(shape)
    collider = builder.add_collider(shape, position=(0.003, 0.004, height + 0.02))
    builder.enable_contact(friction=0.4)
    depth = 0.05
    model = builder.finalize()
    _, reports, _ = follow(model, [(collider, (0, 0, -depth))], depth / speed, dt, int(np.ceil(depth / speed / dt)) + 3)
    room = reports[-1].unreached - (depth - 0.02)  # between it and the ground
    gap, thickness = model.contact.gap, CLOTH.thickness
    assert thickness < room < thickness + gap
    assert room == pytest.approx(thickness + 0.06 * gap, abs=0.06 * gap)  # two layers, both pressed


@pytest.mark.parametrize(("young", "speed", "dt"), [(1e4, 0.2, 1 / 60), (1e6, 5.0, 1 / 60), (1e5, 1.0, 1 / 240)])
def test_plates_that_close_on_a_soft_block_stop_and_feel_each_other(young, speed, dt):
    builder = ps.ModelBuilder(gravity=(0, 0, 0))
    mesh = ps.box_mesh((0.05, 0.05, 0.05), (3, 3, 3), origin=(-0.025, -0.025, -0.025))
    builder.add_soft_body(mesh, ps.NeoHookean(young, 0.3, 500.0))
    plates = [builder.add_collider(ps.Box((0.01, 0.1, 0.1)), position=(x, 0.001, 0.002)) for x in (-0.032, 0.032)]
    builder.enable_contact(friction=0.4)
    way = 0.032
    ways = [(plates[0], (way, 0, 0)), (plates[1], (-way, 0, 0))]
    state, reports, solver = follow(builder.finalize(), ways, way / speed, dt, int(way / speed / dt) + 6)
    assert 5e-4 < reports[-1].unreached < 0.025
    pushes = [contact_points(solver, state).on(plate.name).forces.sum(axis=0)[0] for plate in plates]
    assert -pushes[0] == pytest.approx(pushes[1], rel=0.05)
    assert pushes[1] > 0.1 * young * 0.05**2  # squeezed to less than half its thickness


def test_a_rigid_box_pressed_on_the_ground_stops_the_press_for_good():
    """However long it presses: layers are not pressed thinner from step to step."""
    builder = ps.ModelBuilder()
    builder.add_ground()
    builder.add_rigid_body(ps.Box((0.05, 0.05, 0.05)), density=500.0, position=(0, 0, 0.0255))
    press = builder.add_collider(ps.Box((0.1, 0.1, 0.01)), position=(0.002, 0.001, 0.06))
    builder.enable_contact(friction=0.4)
    model = builder.finalize()
    state, reports, _ = follow(model, [(press, (0, 0, -0.09))], 0.09, 1 / 60, 60)
    assert reports[-1].unreached == pytest.approx(reports[-30].unreached, abs=1e-6)
    least = Penetration(model.contact).least_free(model.contact.embed(state.positions))
    assert 0.9 * ccd.PRESSED < least / model.contact.gap < 0.1
