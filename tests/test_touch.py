"""What fingers feel: the forces that act, where, and slip."""

import numpy as np
import pytest

import physsim as ps
from physsim.physics.contact.readout import contact_points
from physsim.touch import TouchSensor


def held_by_plates(friction, squeeze, steps=60, dt=1 / 240):
    """(solver, state, plates, cube) of a soft cube that two plates have come together on; gravity pulls it down."""
    builder = ps.ModelBuilder()
    box = ps.box_mesh((0.05, 0.05, 0.05), (2, 2, 2), origin=(-0.025, -0.025, 0.0))
    cube = builder.add_soft_body(box, ps.NeoHookean(5e4, 0.3, 300.0), name="cube")
    plate = ps.Box((0.01, 0.06, 0.06))
    plates = [builder.add_collider(plate, (side * 0.031, 0.0, 0.025), name=name) for side, name in ((-1, "left"), (1, "right"))]
    builder.enable_contact(friction=friction)
    solver = ps.SolverImplicit(builder.finalize(), dt=dt, integrator="backward_euler")
    model, state = solver.model, solver.model.state()
    turn = np.tile([1.0, 0.0, 0.0, 0.0], (2, 1))
    poses = {}
    for side, name in ((-1, "left"), (1, "right")):
        poses[name] = np.array([[side * 0.031, 0, 0.025], [side * (0.031 - squeeze), 0, 0.025]]), turn
    control = ps.Control.from_poses(model, [0.0, 0.05], poses)
    return solver, state, control, plates, cube


def test_fingers_feel_the_weight_and_each_other(rng):
    solver, state, control, plates, _ = held_by_plates(friction=0.8, squeeze=0.003)
    sensors = [TouchSensor(solver, plate) for plate in plates]
    for _ in range(70):
        state, _ = solver.step(state, control)
        touches = [s.read(state) for s in sensors]
    weight = 300.0 * 0.05**3 * 9.81
    assert np.isclose(-sum(t.force[2] for t in touches), weight, rtol=0.02)
    assert np.isclose(touches[0].force[0], -touches[1].force[0], rtol=0.01)
    forces = solver.assembly.contact.forces()[0]
    for touch, plate in zip(touches, plates, strict=True):
        assert np.allclose(touch.force, forces[plate.particles].sum(axis=0), atol=1e-9)  # the plates are not turned
        assert np.all(np.abs(np.abs(touch.points[:, 0]) - 0.0055) <= 0.00051)  # within the gap of the plates' inner faces
        total, *_ = touch.force_map(0)
        assert np.isclose(total.sum(), -touch.force[0])
    start = [t.slip for t in touches]
    for _ in range(24):
        state, _ = solver.step(state, control)
        touches = [s.read(state) for s in sensors]
    assert max(abs(t.slip - s) for t, s in zip(touches, start, strict=True)) < 2e-5


def test_slip_is_the_way_that_a_sliding_thing_goes():
    solver, state, control, plates, cube = held_by_plates(friction=0.01, squeeze=0.002)
    sensor = TouchSensor(solver, plates[0])
    for _ in range(20):
        state, _ = solver.step(state, control)
    sensor.reset()
    sensor.read(state)
    before = state.positions[cube.particles].mean(axis=0)
    for _ in range(5):  # after that it has left them
        state, _ = solver.step(state, control)
        touch = sensor.read(state)
    fallen = before[2] - state.positions[cube.particles].mean(axis=0)[2]
    assert fallen > 5e-3
    assert np.isclose(touch.slip, fallen, rtol=0.02)
    assert touch.sliding[2] < -0.1


def test_pairs_say_who_touches_whom():
    solver, state, control, _, _ = held_by_plates(friction=0.8, squeeze=0.003)
    for _ in range(20):
        state, _ = solver.step(state, control)
    seen = contact_points(solver, state)
    assert {tuple(sorted(pair)) for pair in seen.bodies.tolist()} == {("cube", "left"), ("cube", "right")}
    on_cube = seen.on("cube")
    assert len(on_cube) == len(seen)
    forces = solver.assembly.contact.forces()[0]
    assert np.allclose(on_cube.forces.sum(axis=0), forces[solver.model.body("cube").particles].sum(axis=0), atol=1e-9)


def test_a_body_that_is_no_finger_is_refused():
    solver, _, _, _, cube = held_by_plates(friction=0.8, squeeze=0.003)
    with pytest.raises(ps.InputError, match="collider"):
        TouchSensor(solver, cube)


@pytest.mark.parametrize("friction", [0.3, 1.0])
@pytest.mark.parametrize("table", ["plane", "mesh"])
def test_slip_of_a_brick_that_slides_at_full_friction(friction, table):
    builder = ps.ModelBuilder()
    box = ps.box_mesh((0.04, 0.04, 0.02), (1, 1, 1), origin=(0, 0, 0.00099))
    brick = builder.add_soft_body(box, ps.NeoHookean(1e6, 0.3, 1000.0), velocity=(1.5, 0, 0))
    if table == "plane":
        floor = builder.add_ground()
    else:
        floor = builder.add_collider(ps.sheet_mesh((2.0, 0.4), (2, 1), origin=(-1.0, -0.2, 0.0)), name="floor")
    builder.enable_contact(friction=friction)
    solver = ps.SolverImplicit(builder.finalize(), dt=1 / 240, integrator="backward_euler")
    state = solver.model.state()
    for _ in range(4):
        state, _ = solver.step(state)
    sensor = TouchSensor(solver, floor)
    sensor.read(state)
    start = state.positions[brick.particles].mean(axis=0)[0]
    for _ in range(12):
        state, _ = solver.step(state)
        touch = sensor.read(state)
    assert np.isclose(touch.slip, state.positions[brick.particles].mean(axis=0)[0] - start, rtol=0.02)
    assert abs(touch.sliding[2]) < 0.01


def test_contacts_are_read_from_the_last_step_alone():
    solver, state, control, _, _ = held_by_plates(friction=0.8, squeeze=0.003)
    with pytest.raises(ps.InputError, match="last step"):
        contact_points(solver, state)
    assert not solver.assembly.contact.forces().any()
    older, _ = solver.step(state, control)
    newer, _ = solver.step(older, control)
    contact_points(solver, newer)
    with pytest.raises(ps.InputError, match="last step"):
        contact_points(solver, older)
