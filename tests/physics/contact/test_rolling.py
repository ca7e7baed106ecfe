"""Balls and capsules roll: friction turns them, as closed forms of rigid bodies say, on every kind of ground.

Backward Euler slows a spin by a share of the step, so that closed forms are met by series in it.
"""

import numpy as np
import pytest

import physsim as ps
from physsim.physics.contact.readout import contact_points

G, RADIUS, MASS, FRICTION = 9.81, 0.05, 0.4, 0.3
LYING = (0.5**0.5, 0.5**0.5, 0.0, 0.0)  # a capsule's axis along y


def floor(builder, kind):
    """A floor at z = 0 that goes on to both sides of x."""
    if kind == "plane":
        builder.add_ground()
    elif kind == "box":
        builder.add_collider(ps.Box((4.0, 1.0, 0.1)), position=(0, 0, -0.05))
    else:
        mesh = ps.sheet_mesh((2.0, 0.6), (5, 2), origin=(-0.31, -0.29, 0))
        builder.add_collider(ps.TriMesh(mesh.points, mesh.triangles))


def spin_of(state, body):
    """(velocity of the centre [m/s], spin [1/s], centre [m]) of a body."""
    x, v = state.positions[body.particles], state.velocities[body.particles]
    arms = x - x.mean(axis=0)
    inertia = (arms**2).sum() * np.eye(3) - arms.T @ arms
    return v.mean(axis=0), np.linalg.solve(inertia, np.cross(arms, v).sum(axis=0)), x.mean(axis=0)


def released(shape, dt, time, kind="plane", slope=0.0, friction=FRICTION, **motion):
    """(velocity of the centre, spin, solver, state) of a body `time` after it was let go on a floor that slopes down along x."""
    builder = ps.ModelBuilder(gravity=(G * np.sin(slope), 0, -G * np.cos(slope)))
    body = builder.add_rigid_body(shape, mass=MASS, position=(0, 0, RADIUS + 9e-4), **motion)
    floor(builder, kind)
    builder.enable_contact(gap=1e-3, friction=friction, stiffness=1e5, damping=1e4)
    solver = ps.SolverImplicit(builder.finalize(), dt=dt, integrator="backward_euler")
    state = solver.model.state()
    for _ in range(round(time / dt)):
        state, _ = solver.step(state)
    velocity, spin, _ = spin_of(state, body)
    return velocity, spin, solver, state


def limit(shape, dt, time, **given):
    """Velocity along x [m/s] as steps go to zero, by those at dt and dt / 2; the rim turns as fast as the centre goes."""
    speeds = []
    for step in (dt, dt / 2):
        velocity, spin, *_ = released(shape, step, time, **given)
        assert RADIUS * spin[1] == pytest.approx(velocity[0], rel=2e-3)  # it creeps, at up to 1e-4 m/s
        speeds.append(velocity[0])
    return 2 * speeds[1] - speeds[0]


@pytest.mark.parametrize("kind", ["plane", "box", "triangles"])
def test_a_ball_that_slides_ends_up_rolling_at_five_sevenths_of_its_speed(kind):
    assert limit(ps.Sphere(RADIUS), 2e-3, 0.16, kind=kind, velocity=(1.0, 0, 0)) == pytest.approx(5 / 7, rel=2e-3)


def test_a_ball_slides_for_two_sevenths_of_its_speed_over_mu_g():
    """Before that friction brakes it by mu g and turns it by 5 mu g / 2 R."""
    time = 2 / 7 / (FRICTION * G)
    velocity, spin, *_ = released(ps.Sphere(RADIUS), 5e-4, 0.8 * time, velocity=(1.0, 0, 0))
    assert velocity[0] == pytest.approx(1.0 - 0.8 * 2 / 7, rel=0.02)  # it lands first, half a millimetre down
    assert RADIUS * spin[1] == pytest.approx(2.5 * (1.0 - velocity[0]), rel=0.01)
    velocity, spin, *_ = released(ps.Sphere(RADIUS), 5e-4, 1.1 * time, velocity=(1.0, 0, 0))
    assert RADIUS * spin[1] == pytest.approx(velocity[0], rel=1e-3)


def test_a_ball_rolls_down_a_slope_at_five_sevenths_of_what_it_would_slide_at():
    slope, time = np.radians(15), 0.3
    assert limit(ps.Sphere(RADIUS), 2e-3, time, slope=slope) == pytest.approx(5 / 7 * G * np.sin(slope) * time, rel=5e-3)


def test_a_ball_on_a_slope_too_steep_to_roll_slides_and_turns():
    slope, time = np.radians(60), 0.2  # rolling needs mu of 2/7 tan 60 degrees, 0.49
    velocity, spin, *_ = released(ps.Sphere(RADIUS), 1e-3, time, slope=slope)
    assert velocity[0] == pytest.approx(G * (np.sin(slope) - FRICTION * np.cos(slope)) * time, rel=0.02)
    assert RADIUS * spin[1] == pytest.approx(2.5 * (G * np.sin(slope) * time - velocity[0]), rel=0.02)


def test_a_spinning_ball_sets_off_at_two_sevenths_of_its_rim():
    rim = 1.0
    assert limit(ps.Sphere(RADIUS), 2e-3, 0.16, angular_velocity=(0, rim / RADIUS, 0)) == pytest.approx(2 / 7 * rim, rel=5e-3)


@pytest.mark.parametrize("kind", ["plane", "triangles"])
def test_a_capsule_that_slides_sideways_ends_up_rolling(kind):
    length = 0.2
    ball, cylinder = 4 / 3 * RADIUS, length  # volumes over pi R^2
    share = (ball * 2 / 5 + cylinder / 2) / (ball + cylinder)  # inertia about the axis, over m R^2
    shape = ps.Capsule(RADIUS, length)
    found = limit(shape, 2e-3, 0.2, kind=kind, velocity=(1.0, 0, 0), rotation=LYING)
    assert found == pytest.approx(1 / (1 + share), rel=3e-3)


@pytest.mark.parametrize("held", ["ball", "capsule", "cylinder"])
def test_a_ball_rolls_off_the_top_of_a_held_round_thing(held):
    """Each of two balls has the other's centre among its pairs: the lever arm is to the surface in both."""
    shape = {"ball": ps.Sphere(RADIUS), "capsule": ps.Capsule(RADIUS, 0.3), "cylinder": ps.Cylinder(RADIUS, 0.3)}[held]
    builder = ps.ModelBuilder()
    builder.add_collider(shape, rotation=LYING)
    start, away = 0.3, 2 * RADIUS + 9e-4
    at = (away * np.sin(start), 0, away * np.cos(start))
    ball = builder.add_rigid_body(ps.Sphere(RADIUS), mass=MASS, position=at)
    builder.enable_contact(gap=1e-3, friction=0.9, stiffness=1e5, damping=1e4)
    speeds, model = [], builder.finalize()
    for dt in (2e-3, 1e-3):
        solver, state = ps.SolverImplicit(model, dt=dt, integrator="backward_euler"), model.state()
        for _ in range(round(0.15 / dt)):
            state, _ = solver.step(state)
        velocity, spin, centre = spin_of(state, ball)
        speed = np.linalg.norm(velocity)
        assert RADIUS * spin[1] == pytest.approx(speed, rel=0.02)
        fallen = at[2] - centre[2]
        speeds.append(speed / np.sqrt(10 / 7 * G * fallen))
    assert 2 * speeds[1] - speeds[0] == pytest.approx(1.0, rel=0.02)


def test_a_plate_that_grazes_a_held_ball_is_turned_with_the_arm_of_its_own_surface():
    builder = ps.ModelBuilder(gravity=(0, 0, 0))
    builder.add_collider(ps.Sphere(RADIUS), position=(0, 0, -RADIUS))
    size = np.array([0.1, 0.1, 0.02])
    plate = builder.add_rigid_body(ps.Box(tuple(size)), mass=MASS, position=(0, 0, 0.0112), velocity=(0.5, 0, -0.2))
    builder.enable_contact(gap=1e-3, friction=FRICTION, stiffness=1e5, damping=1e4)
    solver = ps.SolverImplicit(builder.finalize(), dt=1e-4, integrator="backward_euler")
    state = solver.model.state()
    for _ in range(60):
        state, _ = solver.step(state)
    velocity, spin, _ = spin_of(state, plate)
    gained = MASS * (velocity - [0.5, 0, -0.2])
    assert velocity[2] > -0.01 and gained[0] == pytest.approx(-FRICTION * gained[2], rel=0.02)
    turning = MASS * (size[0] ** 2 + size[2] ** 2) / 12 * spin[1]
    middle = 1.5e-3  # [m] of the place where it is hit, from the plate's middle: it goes on for a few steps
    assert turning == pytest.approx(-0.5 * size[2] * gained[0], abs=middle * abs(gained[2]))


def test_without_friction_nothing_turns():
    velocity, spin, *_ = released(ps.Sphere(RADIUS), 2e-3, 0.1, velocity=(1.0, 0, 0), friction=0.0)
    assert velocity[0] == pytest.approx(1.0, abs=1e-9)
    assert np.abs(spin).max() < 1e-9


def test_friction_of_what_rolls_is_read_with_its_push():
    *_, solver, state = released(ps.Sphere(RADIUS), 5e-4, 0.05, velocity=(1.0, 0, 0))
    touching = contact_points(solver, state).on("rigid")
    force = touching.forces.sum(axis=0)
    assert force[2] == pytest.approx(MASS * G, rel=0.02)
    assert force[0] == pytest.approx(-FRICTION * MASS * G, rel=0.02)
    *_, solver, state = released(ps.Sphere(RADIUS), 5e-4, 0.2, velocity=(1.0, 0, 0))
    rolling = contact_points(solver, state).on("rigid")
    assert np.abs(rolling.sliding).max() < 1e-3  # what touches does not slide


def crossing(first, second, start):
    """(builder, bodies) of two things that are free to turn and press on each other, the first above."""
    builder = ps.ModelBuilder(gravity=(0, 0, 0))
    motion = {"mass": MASS, "angular_velocity": (3.0, 5.0, 8.0)}
    across = (0.5**0.5, 0.0, 0.5**0.5, 0.0)
    at = (0.001, 0.002, start)
    upper = builder.add_rigid_body(first, position=at, rotation=across, velocity=(0.1, 0.3, -0.2), name="upper", **motion)
    lower = builder.add_rigid_body(second, rotation=LYING, velocity=(0.0, 0.0, 0.1), name="lower", **motion)
    builder.enable_contact(gap=1e-3, friction=FRICTION, stiffness=1e5)
    return builder, (upper, lower)


@pytest.mark.parametrize(
    ("first", "second", "height"),
    [
        (ps.Sphere(0.02), ps.Sphere(0.03), 0.05),
        (ps.Sphere(0.02), ps.Box((0.1, 0.1, 0.1)), 0.07),
        (ps.Capsule(0.02, 0.1), ps.Capsule(0.03, 0.1), 0.05),
        (ps.Box((0.1, 0.1, 0.1)), ps.Sphere(0.03), 0.08),
        (ps.Box((0.1, 0.1, 0.1)), ps.Capsule(0.03, 0.1), 0.08),
    ],
)
def test_places_and_sliding_are_those_of_the_surfaces(first, second, height):
    """A ball's contact is read on its surface, with the velocity that its spin has there, whichever of the two it is."""
    builder, bodies = crossing(first, second, height + 9e-4)
    solver = ps.SolverImplicit(builder.finalize(), dt=1e-4, integrator="backward_euler")
    state = solver.model.state()
    for _ in range(8):
        state, _ = solver.step(state)
    seen = contact_points(solver, state)
    seen = seen.on("upper")
    assert len(seen)
    (v, spin, centre), (other_v, other_spin, other_centre) = (spin_of(state, body) for body in bodies)
    np.testing.assert_allclose(seen.points[:, 2] - other_centre[2], height - half_of(first), atol=1.2e-3)
    normal = seen.forces.sum(axis=0)
    for point, sliding in zip(seen.points, seen.sliding, strict=True):
        expected = v + np.cross(spin, point - centre) - other_v - np.cross(other_spin, point - other_centre)
        np.testing.assert_allclose(sliding[:2], expected[:2], atol=0.03)  # a millimetre at 10 rad/s, a slight tilt
    assert np.dot(normal[:2], sliding[:2]) < 0.0


def half_of(shape):
    """Of its extent along z as it lies there [m]."""
    return shape.size[2] / 2 if isinstance(shape, ps.Box) else shape.radius


def test_a_rotating_ball_drags_a_sheet_along():
    """A held ball that spins in place moves what lies on it."""
    builder = ps.ModelBuilder()
    mesh = ps.sheet_mesh((0.1, 0.1), (4, 4), origin=(-0.05, -0.05, 0.0508))
    sheet = builder.add_cloth(mesh, ps.Shell(stretch=1e3, bending=1e-2, thickness=1e-3, area_density=0.3))
    ball = builder.add_collider(ps.Sphere(RADIUS))
    builder.enable_contact(friction=0.8)
    model = builder.finalize()
    times = np.linspace(0.0, 0.1, 11)
    turns = np.stack([np.cos(2.0 * times), 0 * times, np.sin(2.0 * times), 0 * times], axis=1)  # at 4 rad/s about y
    control = ps.Control.from_poses(model, times, {ball.name: (np.zeros((11, 3)), turns)})
    solver, state = ps.SolverImplicit(model, dt=1 / 240, integrator="backward_euler"), model.state()
    for _ in range(24):
        state, _ = solver.step(state, control)
    way = state.positions[sheet.particles].mean(axis=0)[0] - mesh.points[:, 0].mean()
    assert 0.5 * 4.0 * RADIUS * 0.1 < way < 1.05 * 4.0 * RADIUS * 0.1
