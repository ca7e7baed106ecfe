"""Rigid bodies: free tops against closed forms, bounces against the law's own differential equation, falling and tipping over an edge."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.spatial.transform import Rotation

import physsim as ps

G = 9.81


def spun(shape, mass, spin, **given):
    """(model, body) of one rigid body without weight."""
    builder = ps.ModelBuilder(gravity=(0, 0, 0))
    body = builder.add_rigid_body(shape, mass=mass, angular_velocity=spin, **given)
    return builder.finalize(), body


def momenta(body, state):
    """(momentum [N s], angular momentum about the centre [N m s], kinetic energy [J]) of a rigid body."""
    mass = body.parameters["mass"].value[0] / 4
    x, v = state.positions[body.particles], state.velocities[body.particles]
    spin = mass * np.cross(x - x.mean(axis=0), v - v.mean(axis=0)).sum(axis=0)
    return mass * v.sum(axis=0), spin, 0.5 * mass * (v**2).sum()


def test_four_particles_carry_any_body_s_inertia(rng):
    M = rng.normal(size=(3, 3))
    second = M @ M.T  # mean of x x^T
    mass, spin, velocity = 0.7, rng.normal(size=3), rng.normal(size=3)
    inertia = mass * (np.trace(second) * np.eye(3) - second)
    turn = Rotation.random(random_state=int(rng.integers(1 << 30)))
    centre = rng.normal(size=3)
    given = {"inertia": inertia, "center": centre, "velocity": velocity, "rotation": turn.as_quat()[[3, 0, 1, 2]]}
    model, body = spun(ps.Box((1.0, 2.0, 3.0)), mass, spin, position=(1.0, -2.0, 0.5), **given)
    momentum, angular, energy = momenta(body, model.state())
    R = turn.as_matrix()
    np.testing.assert_allclose(momentum, mass * velocity, rtol=1e-12)
    np.testing.assert_allclose(angular, R @ inertia @ R.T @ spin, rtol=1e-9, atol=1e-12)
    assert energy == pytest.approx(0.5 * mass * velocity @ velocity + 0.5 * spin @ R @ inertia @ R.T @ spin, rel=1e-9)
    position, rotation = body.mesh.pose(model.positions[body.particles])
    np.testing.assert_allclose(position, [1.0, -2.0, 0.5], atol=1e-12)
    np.testing.assert_allclose(rotation, R, atol=1e-12)


def top_after(integrator, dt, time):
    """(angle by which a symmetric top is off [rad], angular momentum as a share of that at the start)."""
    radius, length, mass, spin = 0.05, 0.02, 0.3, np.array([3.0, 0.0, 8.0])
    model, body = spun(ps.Cylinder(radius, length), mass, spin, velocity=(0.2, 0.0, 0.0))
    across, along = mass * (radius**2 / 4 + length**2 / 12), mass * radius**2 / 2
    solver, state = ps.SolverImplicit(model, dt=dt, integrator=integrator), model.state()
    first = momenta(body, state)
    np.testing.assert_allclose(first[1], [across * spin[0], 0.0, along * spin[2]], rtol=1e-9, atol=1e-15)
    for _ in range(round(time / dt)):
        state, _ = solver.step(state)
    last = momenta(body, state)
    np.testing.assert_allclose(last[0], first[0], rtol=1e-6, atol=1e-9)
    position, rotation = body.mesh.pose(state.positions[body.particles])
    np.testing.assert_allclose(position, [0.2 * time, 0.0, 0.0], atol=1e-7)
    # Euler's free top: it turns about the angular momentum at |L|/A, and about its own axis at (1 - C/A) w3
    wanted = Rotation.from_rotvec(first[1] / across * time) * Rotation.from_rotvec([0, 0, (1 - along / across) * spin[2] * time])
    direction = first[1] @ last[1] / np.linalg.norm(first[1]) / np.linalg.norm(last[1])
    assert np.degrees(np.arccos(min(direction, 1.0))) < 0.02
    return (Rotation.from_matrix(rotation) * wanted.inv()).magnitude(), np.linalg.norm(last[1]) / np.linalg.norm(first[1])


def test_a_free_top_turns_as_euler_s_equations_say():
    coarse, spin = top_after("bdf2", 4e-3, 0.4)
    fine, spin_fine = top_after("bdf2", 2e-3, 0.4)
    assert np.degrees(fine) < 0.1  # after half a turn
    assert coarse == pytest.approx(4.0 * fine, rel=0.1)
    assert 0.0 < 1.0 - spin_fine < 0.3 * (1.0 - spin) < 1e-3


def test_backward_euler_slows_a_spin_by_omega_squared_dt():
    # a chord of the circle goes on along itself and is turned back onto it: w' = w (1 - (w h)^2) a step
    rate, dt, time = 10.0, 1e-3, 0.5
    model, body = spun(ps.Box((0.1, 0.1, 0.1)), 0.5, (0.0, 0.0, rate))
    solver, state = ps.SolverImplicit(model, dt=dt, integrator="backward_euler"), model.state()
    start = np.linalg.norm(momenta(body, state)[1])
    for _ in range(round(time / dt)):
        state, _ = solver.step(state)
    left = np.linalg.norm(momenta(body, state)[1]) / start
    assert left == pytest.approx((1.0 + 2.0 * rate**2 * dt * time) ** -0.5, rel=1e-3)


SIDE, MASS, GAP, STIFFNESS = 0.1, 0.4, 1e-2, 2e4  # a soft table: contact lasts some 20 ms


def layer(height, speed, strength, damping):
    """Push of a corner [N] at a height above the table, by `physsim.kernels.contact.potential`."""
    u = np.maximum(height / GAP, 1e-12)
    barrier = np.where(u < 1, 2 * (u - 1) * np.log(u) + (u - 1) ** 2 / u, 0.0)
    return strength * barrier - damping * np.where(u < 1, (1 - u) ** 2, 0.0) * speed


def bounces(dampings, dt, speed=0.5, time=0.08):
    """Speeds at which cubes leave the table that they struck flat [m/s], one a damping of contact."""
    builder = ps.ModelBuilder(gravity=(0, 0, -G))
    cube = builder.add_rigid_body(ps.Box((SIDE,) * 3), mass=MASS, position=(0, 0, SIDE / 2 + GAP), velocity=(0, 0, -speed))
    builder.add_ground()
    pair = builder.enable_contact(gap=GAP, stiffness=STIFFNESS, friction=0.3)
    model = builder.finalize(envs=len(dampings))
    params = model.resolve({pair.damping: np.array(dampings)[:, None]})
    solver, state, fastest = ps.SolverImplicit(model, dt=dt, integrator="backward_euler"), model.state(), np.full(len(dampings), -speed)
    for _ in range(round(time / dt)):
        state, _ = solver.step(state, params=params)
        fastest = np.maximum(fastest, state.velocities[:, cube.particles, 2].mean(axis=1))
    return fastest


def bounce(damping, speed=0.5, time=0.08):
    """The same of one cube by the layer's differential equation [m/s]; each of four corners has an eighth of the side squared."""
    area = SIDE**2 / 8

    def fall(t, y):
        return [y[1], -G + 4.0 * layer(y[0], y[1], STIFFNESS * area, damping * area) / MASS]

    return solve_ivp(fall, (0.0, time), [GAP, -speed], rtol=1e-9, atol=1e-12, max_step=2e-5).y[1].max()


def test_a_cube_bounces_less_the_more_its_contact_damps():
    dampings = 0.0, 3e4, 1e5
    coarse, middle, fine = (bounces(dampings, dt) for dt in (1e-3, 5e-4, 2.5e-4))
    true = np.array([bounce(damping) for damping in dampings])
    assert true[0] == pytest.approx(0.5, rel=0.03)  # an elastic layer gives back what it took, and at its edge weight has not yet slowed it
    assert (np.diff(true) < -0.05).all()
    assert (coarse < middle).all()  # backward Euler takes some more,
    assert (middle < fine).all()
    np.testing.assert_allclose((8 * fine - 6 * middle + coarse) / 3, true, atol=2e-3)  # by a series in its step


def test_a_slab_falls_about_its_edge_as_its_energy_says():
    # on its edge, held by friction: I w^2 / 2 = m g (fall of the centre), I about the edge
    size, start = np.array([0.2, 0.1, 0.02]), np.radians(60)
    turn = Rotation.from_euler("y", -start)  # the edge at x < 0 stays down
    corner = turn.apply([-size[0] / 2, 0, -size[2] / 2])
    builder = ps.ModelBuilder(gravity=(0, 0, -G))
    at = {"position": (0, 0, 4e-4 - corner[2]), "rotation": turn.as_quat()[[3, 0, 1, 2]]}
    slab = builder.add_rigid_body(ps.Box(tuple(size)), mass=0.5, **at)
    builder.add_ground()
    builder.enable_contact(gap=5e-4, friction=3.0, stiffness=1e6, damping=1e5)
    model = builder.finalize()
    dt = 5e-4
    solver, state = ps.SolverImplicit(model, dt=dt, integrator="backward_euler"), model.state()
    reach, lean = 0.5 * np.hypot(size[0], size[2]), np.arctan2(size[2], size[0])
    inertia = (size[0] ** 2 + size[2] ** 2) / 3  # about the edge, a unit of mass
    angle = start
    while angle > 0.25:
        state, _ = solver.step(state)
        angle = np.arcsin(body_axis(slab, state)[2])
    rate = np.linalg.norm(np.linalg.solve(inertia_of(slab, state), momenta(slab, state)[1]))
    true = np.sqrt(2 * G * reach * (np.sin(start + lean) - np.sin(angle + lean)) / inertia)
    assert rate == pytest.approx(true, rel=0.02)


def body_axis(body, state):
    """Direction of the body's x axis in the world."""
    return body.mesh.pose(state.positions[body.particles])[1][:, 0]


def inertia_of(body, state):
    """Inertia about the centre, in the world [kg m^2]."""
    arms = state.positions[body.particles] - state.positions[body.particles].mean(axis=0)
    return body.parameters["mass"].value[0] / 4 * ((arms**2).sum() * np.eye(3) - arms.T @ arms)


@pytest.mark.parametrize(("lean", "falls"), [(-2.0, False), (2.0, True)])
def test_a_column_on_a_steep_slope_tips_where_its_weight_leaves_its_foot(lean, falls):
    width, height = 0.04, 0.1
    slope = np.degrees(np.arctan(width / height)) + lean
    turn = Rotation.from_euler("y", slope, degrees=True)
    builder = ps.ModelBuilder(gravity=turn.inv().apply([0, 0, -G]))
    column = builder.add_rigid_body(ps.Box((width, width, height)), mass=0.3, position=(0, 0, height / 2 + 4.5e-4))
    builder.add_ground()
    builder.enable_contact(gap=5e-4, friction=2.0, stiffness=1e6, damping=1e5)
    model = builder.finalize()
    solver, state = ps.SolverImplicit(model, dt=2e-3, integrator="backward_euler"), model.state()
    for _ in range(250):
        state, _ = solver.step(state)
    tilt = np.degrees(np.arccos(min(column.mesh.pose(state.positions[column.particles])[1][2, 2], 1.0)))
    assert (tilt > 30.0) if falls else (tilt < 0.2)


def rolling(shape):
    """Speed of a ball's centre, and that of its rim about it [m/s], 0.2 s after it was pushed without spin over the table at 1 m/s."""
    builder = ps.ModelBuilder(gravity=(0, 0, -G))
    ball = builder.add_rigid_body(shape, mass=0.4, position=(0, 0, 0.0509), velocity=(1.0, 0, 0))
    builder.add_ground()
    builder.enable_contact(gap=1e-3, friction=0.3, stiffness=1e5, damping=1e4)
    model = builder.finalize()
    solver, state = ps.SolverImplicit(model, dt=2e-3, integrator="backward_euler"), model.state()
    for _ in range(100):
        state, _ = solver.step(state)
    momentum, angular, _ = momenta(ball, state)
    return momentum[0] / 0.4, 0.05 * np.linalg.solve(inertia_of(ball, state), angular)[1]


@pytest.mark.slow
def test_a_ball_of_triangles_ends_up_rolling_at_five_sevenths_of_its_speed():
    import trimesh

    ball = trimesh.creation.icosphere(subdivisions=3, radius=0.05)
    speed, rim = rolling(ps.TriMesh(np.array(ball.vertices), np.array(ball.faces)))
    assert rim == pytest.approx(speed, rel=0.01)
    assert speed == pytest.approx(5 / 7, rel=0.03)  # it has 642 corners
