"""Force against indentation of a ball and a flat, by Hertz.

F = 4/3 E* sqrt(R) d^(3/2), E* = E / (1 - nu^2) against something rigid; which of the two is the soft one does not matter. Here a rigid ball
of R = 3 cm is pressed into a block of E = 100 kPa, nu = 0.45. The block's bottom, some twenty contact radii away, and its sides stand for
infinity; the indentation is that of the point below the ball. Source: Johnson, Contact Mechanics, 1985, eqs. 4.22 to 4.24.
"""

import numpy as np
import pytest

import physsim as ps

YOUNG, POISSON, RADIUS = 1e5, 0.45, 0.03
E_STAR = 125391.84952978056  # [Pa]


def pressed(cells, depth, power, indentations, gap=3e-5):
    """(indentations [m], forces [N]) in static equilibrium, on a block that gets finer towards the contact."""
    n, m = cells
    mesh = ps.box_mesh((2, 2, 1), (n, n, m), origin=(-1, -1, -1))
    mesh = ps.TetMesh(depth * np.sign(mesh.points) * np.abs(mesh.points) ** power, mesh.cells).quadratic()
    builder = ps.ModelBuilder(gravity=(0, 0, 0))
    block = builder.add_soft_body(mesh, ps.NeoHookean(YOUNG, POISSON))
    builder.attach(block, np.flatnonzero(mesh.points[:, 2] < -0.999 * depth))
    builder.set_surface(block, self_contact=False)
    ball = builder.add_collider(ps.Sphere(RADIUS), position=(0, 0, RADIUS + gap))
    builder.enable_contact(gap=gap)
    model = builder.finalize()
    solver, state, probe = ps.SolverStatic(model), model.state(), ps.Probe(model)
    below = block.particles[np.argmin(np.linalg.norm(mesh.points, axis=1))]
    found = []
    for d in indentations:
        target = model.positions[ball.particles] - [0, 0, d + 0.5 * gap]
        state, report = solver.solve(state, ps.Control([0.0], {ball.name: target[None]}))
        assert report.unreached == 0.0
        push = probe.forces(state)[ball.particles].sum(axis=0)
        assert np.abs(push[:2]).max() < 1e-6 * push[2]
        found.append((-state.positions[below, 2], push[2]))
    return np.array(found).T


def hertz(indentation):
    return 4 / 3 * E_STAR * np.sqrt(RADIUS) * indentation**1.5


def test_indentation_roughly_follows_hertz_on_a_coarse_mesh():
    d, force = pressed((8, 5), 0.06, 2.0, (3e-4, 6e-4, 1e-3))
    np.testing.assert_allclose(force, hertz(d), rtol=0.2)


@pytest.mark.slow
def test_indentation_follows_hertz_on_a_fine_mesh():
    d, force = pressed((12, 7), 0.15, 2.5, (5e-4, 1e-3))
    np.testing.assert_allclose(force, hertz(d), rtol=0.1)
    assert np.diff(np.log(force))[0] / np.diff(np.log(d))[0] == pytest.approx(1.5, abs=0.03)
