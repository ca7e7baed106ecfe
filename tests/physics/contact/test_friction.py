"""Coulomb friction against closed forms: sticking and sliding on an incline, stopping on the flat, a rope around a drum.

g = 9.81 m/s^2 and mu = 0.4 throughout. On an incline of angle a a block slides with g (sin a - mu cos a) above arctan mu = 21.80 degrees;
on the flat it comes to rest after v0 / (mu g), v0^2 / (2 mu g). Around a drum T2 = T1 exp(mu phi) (Euler and Eytelwein). Sources: any
textbook on mechanics, such as Meriam and Kraige, Statics, sections 6/3 and 6/8.
"""

import numpy as np
import pytest

import physsim as ps

G, MU = 9.81, 0.4
SLIDES = {22.5: 0.1288211859272413, 30.0: 1.5067163155498617}  # g (sin a - mu cos a) [m/s^2]
SURFACES = ("ground", "box", "mesh")


def block(builder, kind):
    """A block whose lower face lies just above z = 0."""
    if kind == "rigid":
        return builder.add_rigid_body(ps.Box((0.1, 0.1, 0.02)), mass=0.5, position=(0, 0, 0.0109))
    mesh = ps.box_mesh((0.05, 0.05, 0.05), (2, 2, 2), origin=(-0.025, -0.025, 0.00095))
    return builder.add_soft_body(mesh, ps.NeoHookean(5e5, 0.3, 1000.0))


def add_floor(builder, surface):
    """Something whose upper face is z = 0."""
    if surface == "ground":
        return builder.add_ground()
    if surface == "box":
        return builder.add_collider(ps.Box((4.0, 1.0, 0.2)), position=(0.5, 0, -0.1))
    flat = ps.sheet_mesh((4.0, 1.0), (9, 3))
    return builder.add_collider(ps.TriMesh(flat.points - (1.5, 0.5, 0.0), flat.triangles))


def slide(kind, surface, dt, duration, angle=0.0, speed=0.0):
    """Times, distances and speeds along x of a block's centre of mass, each [steps]; where it has a speed it lies on the floor before."""
    lean = np.radians(angle)
    builder = ps.ModelBuilder(gravity=(G * np.sin(lean), 0.0, -G * np.cos(lean)))
    body = block(builder, kind)
    add_floor(builder, surface)
    builder.enable_contact(friction=MU)
    model = builder.finalize()
    solver, state = ps.SolverImplicit(model, dt=dt, integrator="backward_euler"), model.state()
    masses = model.parameters.columns(model.column_shapes)["inertia"][0, body.particles, 0]
    share = masses / masses.sum()
    if speed:
        for _ in range(20):
            state, _ = solver.step(state)
        moving = np.zeros_like(state.velocities)
        moving[body.particles, 0] = speed
        state = model.state(state.positions, moving)
    start, path = share @ state.positions[body.particles, 0], []
    for _ in range(round(duration / dt)):
        state, _ = solver.step(state)
        path.append((state.time, share @ state.positions[body.particles, 0], share @ state.velocities[body.particles, 0]))
    times, x, v = np.array(path).T
    return times, x - start, v


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("kind", ["rigid", "soft"])
def test_a_block_below_the_critical_angle_only_creeps(kind, surface):
    _, _, v = slide(kind, surface, 1 / 120, 0.25, angle=21.0)
    assert abs(v[-1]) < 1e-4


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("angle", SLIDES)
def test_a_rigid_block_slides_with_the_acceleration_of_coulombs_law(angle, surface):
    """At 22.5 degrees the acceleration is a thirtieth of the friction; edges that cross at a slight tilt are a thousandth of it off."""
    for dt in (1 / 120, 1 / 240):
        t, _, v = slide("rigid", surface, dt, 0.25, angle=angle)
        half = len(t) // 2
        rel = 0.05 if surface == "mesh" and angle == 22.5 else 0.02
        assert (v[-1] - v[half]) / (t[-1] - t[half]) == pytest.approx(SLIDES[angle], rel=rel)


@pytest.mark.parametrize("surface", SURFACES)
def test_a_soft_block_slides_with_the_acceleration_of_coulombs_law(surface):
    for dt in (1 / 120, 1 / 240):
        t, _, v = slide("soft", surface, dt, 0.3, angle=30.0)
        fit = np.polyfit(t[len(t) // 3 :], v[len(t) // 3 :], 1)  # it rocks a little
        assert fit[0] == pytest.approx(SLIDES[30.0], rel=0.02)


@pytest.mark.parametrize("kind", ["rigid", "soft"])
def test_a_block_on_the_flat_stops_where_friction_has_taken_its_energy(kind):
    """v0 = 2 m/s: after 0.5097 s and 0.5097 m."""
    for dt in (1 / 120, 1 / 240):
        t, x, v = slide(kind, "ground", dt, 0.6, speed=2.0)
        assert x[-1] == pytest.approx(2.0 / (MU * G), rel=0.02)  # v0^2 / (2 mu g)
        assert t[np.flatnonzero(v > 0.01)[-1]] == pytest.approx(2.0 / (MU * G), rel=0.02)


def tension_ratio(mu, wrap, pull=0.5, radius=0.05, every=np.pi / 60):
    """Tension of the end that drags a rope over a fixed drum, over that of the end that a load holds back.

    The rope lies in the x-z plane, without gravity: a straight run of 5 cm, the arc, another straight run. It moves at 5 cm/s.
    """
    thickness, gap = 4e-3, 1e-3
    R = radius + thickness / 2 + 0.7 * gap
    edge = R * every
    arc = np.linspace(0.0, wrap, round(wrap / every) + 1)
    run = np.arange(1, round(0.05 / edge) + 1)[:, None] * edge
    side = lambda a: np.array([-np.sin(a), 0.0, np.cos(a)])  # noqa: E731  # along the rope at angle a
    out = lambda a: np.array([np.cos(a), 0.0, np.sin(a)])  # noqa: E731
    round_drum = R * np.stack([np.cos(arc), 0 * arc, np.sin(arc)], axis=1)
    line = np.concatenate([(R * out(0.0) - run * side(0.0))[::-1], round_drum, R * out(wrap) + run * side(wrap)])
    builder = ps.ModelBuilder(gravity=(0, 0, 0))
    rope = builder.add_rod(ps.Curve(line), ps.Rod(stretch=200.0, line_density=0.02, radius=thickness / 2, bending=0.0, stretch_damping=0.2))
    drum = builder.add_collider(ps.Cylinder(radius, 0.1), rotation=(np.sqrt(0.5), np.sqrt(0.5), 0, 0))  # its axis is y
    builder.set_surface(rope, self_contact=False)
    last = len(line) - 1
    end = builder.attach(rope, [last], name="end")
    builder.add_load(rope, [0], -pull * side(0.0))
    builder.enable_contact(friction=mu, gap=gap, stiffness=1e4)
    model = builder.finalize()
    assert drum is not None
    times = np.array([0.0, 1.0])
    control = ps.Control(times, {end: line[last] + 0.05 * times[:, None, None] * side(wrap)})
    solver, state = ps.SolverImplicit(model, dt=1 / 120, integrator="backward_euler"), model.state()
    probe, tensions = ps.Probe(model), []
    for _ in range(36):
        state, _ = solver.step(state, control)
        tensions.append(-probe.forces(state)[rope.particles[last]] @ side(wrap) / pull)
    return np.array(tensions)


@pytest.mark.parametrize("wrap", [0.5 * np.pi, np.pi])
@pytest.mark.parametrize("mu", [0.1, 0.3])
def test_a_rope_around_a_drum_pulls_exp_mu_phi_times_what_holds_it(mu, wrap):
    assert np.mean(tension_ratio(mu, wrap)[-12:]) == pytest.approx(np.exp(mu * wrap), rel=0.05)
