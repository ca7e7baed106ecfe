"""What contact needs is loaded before anything touches."""

import numpy as np

import physsim as ps
from physsim.physics import launch
from physsim.physics.mesh import box_mesh


def test_nothing_of_the_laws_is_loaded_when_things_first_touch(monkeypatch):
    seen = set()
    monkeypatch.setattr(launch, "_seen", seen)  # as in a new process
    builder = ps.ModelBuilder()
    mesh = box_mesh((0.05, 0.05, 0.05), (1, 1, 1))
    builder.add_soft_body(ps.TetMesh(mesh.points - mesh.points.min(axis=0) + [0.0, 0.0, 0.01], mesh.cells), ps.NeoHookean(5e4, 0.3, 300.0))
    builder.add_ground()
    builder.enable_contact(friction=0.5)
    solver = ps.SolverImplicit(builder.finalize(), dt=1 / 120, integrator="backward_euler")
    state, _ = solver.step(solver.model.state())
    contact = solver.assembly.contact
    assert not contact.anything_near()
    before = set(seen)
    for _ in range(20):
        state, _ = solver.step(state)
    assert contact.anything_near() and np.abs(contact.forces()).max() > 0.0
    late = {kernel.key.rsplit("__", 1)[-1] for kernel, _ in seen - before}
    assert not late & {"evaluate", "blocks", "fill", "spread"}, late
