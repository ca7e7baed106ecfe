"""A field recovered: the stiffness of each of 200 springs, from the motion of the particles that they join.

One backward pass gives the gradient by every spring at the price of about one simulation, so 200 unknowns cost no more than one.

What the data can tell matters more than the optimiser. A spring that is never stretched leaves no trace: so the net is held along
its whole rim, taut (its rest lengths are 10 % shorter than its cells), and its particles are flung every which way, which strains
every spring on its own. And the fit runs over a short time, before the many waves have mixed.
"""

import numpy as np

import physsim as ps
from physsim.real2sim.identify import identify_field

CELLS = (11, 10)
START = 100.0  # [N/m]
TIMES = np.linspace(0.01, 0.1, 10)  # [s]


def build(rng):
    """Model, body, a state of motion and the true stiffnesses [N/m]: smooth patches within a factor of four."""
    net = ps.spring_net(CELLS, (1.0, 1.0), bending=False)
    structural = net.kinds == 0
    inner = ~rim(net.points)[net.edges].all(axis=1)  # springs between two held particles do nothing
    edges = net.edges[structural & inner]
    lengths = np.linalg.norm(net.points[edges[:, 0]] - net.points[edges[:, 1]], axis=1)
    net = ps.SpringNet(net.points, edges, rest_lengths=0.9 * lengths)
    x, y, _ = net.points[net.edges].mean(axis=1).T
    truth = START * np.exp(0.5 * np.sin(6 * x) * np.cos(5 * y) + 0.1 * rng.normal(size=len(edges)))
    builder = ps.ModelBuilder(gravity=(0.0, 0.0, 0.0))
    body = builder.add_springs(net, ps.Spring(truth), mass=1.0, name="net")
    builder.attach(body, np.flatnonzero(rim(net.points)))
    model = builder.finalize()
    velocities = rng.normal(size=model.rest.shape) * model.free[:, None]
    return model, body, model.state(velocities=velocities), truth


def rim(points):
    """Which points lie on the rim."""
    return ((points[:, :2] < 1e-9) | (points[:, :2] > 1 - 1e-9)).any(axis=1)


def main():
    """Root mean square of the error of the logarithms: 0.01 is 1 %."""
    model, body, state, truth = build(np.random.default_rng(1))
    solver = ps.SolverImplicit(model, dt=0.01)
    measured = ps.simulate(solver, state, times=TIMES).positions

    def loss(trajectory):
        return (trajectory.positions - measured).square().sum(-1).mean() * 1e6  # [mm^2]

    def progress(iteration, value):
        if iteration % 25 == 0:
            print(f"{iteration:3d}: rms error of the positions {value**0.5:.4f} mm")

    found, _ = identify_field(solver, loss, body.stiffness, START, times=TIMES, state=state, rate=0.1, max_iterations=80, progress=progress)
    error = np.log(found / truth)
    rms = np.sqrt(np.mean(error**2))
    print(f"{len(truth)} springs between {truth.min():.0f} and {truth.max():.0f} N/m, at the start all {START:.0f} N/m")
    before = np.sqrt(np.mean(np.log(START / truth) ** 2))
    print(f"rms error {100 * before:.1f} % before, {100 * rms:.2f} % after; worst {100 * np.abs(error).max():.1f} %")
    return rms


if __name__ == "__main__":
    main()
