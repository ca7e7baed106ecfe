"""Pins hold points of a soft body to places on a rigid thing, and both feel it."""

import numpy as np
import pytest

import physsim as ps


def test_a_pinned_cube_hangs_on_its_frame_and_turns_with_it():
    builder = ps.ModelBuilder()
    box = ps.box_mesh((0.05, 0.05, 0.05), (2, 2, 2), origin=(-0.025, -0.025, -0.055))
    cube = builder.add_soft_body(box, ps.NeoHookean(1e5, 0.3, 500.0), name="cube")
    plate = builder.add_collider(ps.Box((0.1, 0.1, 0.008)), name="plate")
    top = np.flatnonzero(box.points[:, 2] > -0.0051)
    pins = builder.pin(cube, top, plate)
    solver = ps.SolverImplicit(builder.finalize(), dt=1 / 120, integrator="backward_euler")
    model, state = solver.model, solver.model.state()
    quarter = np.array([[1, 0, 0, 0], [np.cos(np.pi / 4), 0, 0, np.sin(np.pi / 4)]])
    control = ps.Control.from_poses(model, [0.0, 0.4], {"plate": (np.array([[0, 0, 0], [0.1, 0, 0.05]]), quarter)})
    held = {pins["stiffness"]: np.full(len(top), 2000.0)}
    for _ in range(150):
        state, _ = solver.step(state, control, held)
    x = state.positions
    place, turn = plate.mesh.pose(x[plate.particles])
    away = x[cube.particles[top]] - (box.points[top] @ turn.T + place)
    weight = 500.0 * 0.05**3 * 9.81
    assert np.allclose(turn[:, 0], [0, 1, 0], atol=1e-9)
    assert np.isclose(-2000.0 * away[:, 2].sum(), weight, rtol=0.01)
    force = -solver.assembly.gradient.numpy()[0, plate.particles]
    assert np.allclose(force.sum(axis=0), [0, 0, -weight], atol=0.01 * weight)
    free = model.state()
    for _ in range(10):
        free, _ = solver.step(free, control)
    assert free.velocities[cube.particles, 2].mean() < -0.7  # nothing is held unless params say so


def test_a_pin_wants_a_frame():
    builder = ps.ModelBuilder()
    box = ps.box_mesh((0.05, 0.05, 0.05), (1, 1, 1))
    cubes = [builder.add_soft_body(box, ps.NeoHookean(1e5, 0.3, 500.0)) for _ in range(2)]
    with pytest.raises(ps.InputError, match="frame"):
        builder.pin(cubes[0], [0, 1], cubes[1])


@pytest.mark.parametrize("kind", ["solid", "quadratic", "sheet"])
def test_strains_are_those_of_a_known_deformation(kind, rng):
    builder = ps.ModelBuilder()
    if kind == "sheet":
        mesh = ps.sheet_mesh((0.1, 0.1), (2, 2))
        body = builder.add_cloth(mesh, ps.Shell(stretch=100.0, bending=1e-5, area_density=0.2))
    else:
        mesh = ps.box_mesh((0.1, 0.1, 0.1), (1, 1, 1), order=2 if kind == "quadratic" else 1)
        body = builder.add_soft_body(mesh, ps.NeoHookean(1e5, 0.3, 500.0))
    model = builder.finalize()
    F = np.eye(3) + 0.1 * rng.normal(size=(3, 3))
    found = ps.Probe(model).strains(model.state(mesh.points @ F.T), body)
    expected = (F.T @ F - np.eye(3)) / 2
    if kind == "sheet":
        assert np.allclose(found[:, :2, :2], expected[:2, :2], atol=1e-12)
        assert np.allclose(found[:, 2], 0.0, atol=1e-12)
    else:
        assert np.allclose(found, expected, atol=1e-12)
