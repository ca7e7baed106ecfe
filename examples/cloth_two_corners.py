"""A cloth swings from two corners: a shell from fabric numbers, let go from level, seen by how far its lowest point swings out.

Cotton of 150 g/m^2: it gives 1 % under 10 N/m of pull along the warp, twice that along the weft, shears easily and bends at 2e-5 N m.
It is held by two corners of the warp's side and falls like a pendulum, wrinkling as it goes.
"""

import numpy as np

import physsim as ps

CELLS = 24
SIZE = 1.0  # [m]
COTTON = ps.Shell(
    stretch=(1000.0, 500.0),  # warp, weft [N/m]
    shear=50.0,  # [N/m]
    bending=2e-5,  # [N m]
    poisson=0.2,
    area_density=0.15,  # [kg/m^2]
    stretch_damping=0.5,  # [N s/m]
    mass_damping=0.1,  # of the air [1/s]
)


def build():
    """The cloth's model and body."""
    mesh = ps.sheet_mesh((SIZE, SIZE), (CELLS, CELLS))
    builder = ps.ModelBuilder(gravity=(0.0, 0.0, -9.81))
    body = builder.add_cloth(mesh, COTTON, name="cloth", warp=(1.0, 0.0, 0.0))
    # point (i, j) has number j * (CELLS + 1) + i: these are two corners of one side, held where they are
    builder.attach(body, [0, CELLS])
    return builder.finalize(), body


def main():
    """Time at which the free side, let go from level, first passes under the held one [s]."""
    model, body = build()
    solver = ps.SolverImplicit(model, dt=1 / 120)
    state = model.state()
    free_side = body.particles[-(CELLS + 1) :]
    passed, before = None, None
    for step in range(120):
        state, _ = solver.step(state)
        out = state.positions[free_side].mean(axis=0)
        if step % 20 == 19:
            print(f"t = {state.time:.2f} s: the free side {out[1]:+.3f} m out, {-out[2]:.3f} m down")
        if passed is None and out[1] < 0:
            passed = state.time - solver.dt * out[1] / (out[1] - before)
        before = out[1]
    pull = ps.Probe(model).forces(state)[[0, CELLS]]
    print(f"it passed under the held side after {passed:.3f} s; now the corners carry {np.linalg.norm(pull, axis=1).sum():.2f} N")
    plate = 1.8541 * np.sqrt(2 * SIZE / (3 * 9.81))  # a quarter of the period at 90 degrees: K(sin 45) sqrt(2 L / (3 g))
    print(f"a stiff plate on a hinge takes {plate:.3f} s")
    print(f"the cloth weighs {9.81 * SIZE**2 * COTTON.area_density:.2f} N")
    return passed


if __name__ == "__main__":
    main()
