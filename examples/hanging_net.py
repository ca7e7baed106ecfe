"""A spring net hangs from two corners: build a body, let it settle, find its lowest point.

Equilibrium is the minimum of the energy, so there is nothing to simulate: `solve_equilibrium` goes straight to rest. A damped run
in time, printed for comparison, sinks to the same place.
"""

import physsim as ps

CELLS = 16
SIZE = 1.0  # [m]


def build():
    """The net's model and body."""
    net = ps.spring_net((CELLS, CELLS), (SIZE, SIZE))
    builder = ps.ModelBuilder(gravity=(0.0, 0.0, -9.81))
    body = builder.add_springs(net, ps.Spring(stiffness=500.0, damping=0.5), mass=0.25, name="net")
    # particle (i, j) has number j * (CELLS + 1) + i: these are two corners of one side, held where they are
    builder.attach(body, [0, CELLS])
    return builder.finalize(), body


def main():
    """Height of the lowest point at rest [m]; the held corners are at 0."""
    model, body = build()
    # flat and slack the net can give way to either side; a start that leans tells it which
    leaning = model.rest.copy()
    leaning[:, 2] = -0.3 * leaning[:, 1]
    rest, report = ps.solve_equilibrium(model, model.state(leaning))
    lowest = rest.positions[body.particles, 2].min()
    print(f"at rest after {report.iterations} Newton iterations: lowest point {1e3 * lowest:.2f} mm")

    solver = ps.SolverImplicit(model, dt=1 / 60)
    state = model.state(leaning)
    for frame in range(6 * 60):
        state, _ = solver.step(state, params={body.mass_damping: 2.0})
        if frame % 60 == 59:
            print(f"t = {state.time:.0f} s: lowest point {1e3 * state.positions[:, 2].min():.2f} mm")
    return lowest


if __name__ == "__main__":
    main()
