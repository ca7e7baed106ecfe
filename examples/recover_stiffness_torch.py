"""One stiffness recovered by a PyTorch optimiser, through the simulation.

`ps.simulate` is a differentiable function: what it returns carries gradients to every tensor that went in. Here a net's single
stiffness is found from the motion of its free edge, starting seven times too soft.
"""

import numpy as np
import torch

import physsim as ps

TRUE = 400.0  # [N/m]
TIMES = np.linspace(0.02, 0.4, 20)  # [s], of the "camera"; they need not fall on the solver's steps


def build():
    """Model, body and the particles that the camera sees."""
    builder = ps.ModelBuilder()
    body = builder.add_springs(ps.spring_net((6, 6), (0.5, 0.5)), ps.Spring(TRUE, damping=0.1), mass=0.1, name="net")
    builder.attach(body, [0, 6])
    return builder.finalize(), body, np.arange(42, 49)


def main():
    """Relative error of the recovered stiffness."""
    model, body, seen = build()
    solver = ps.SolverImplicit(model, dt=0.01)
    measured = ps.simulate(solver, times=TIMES).positions[:, seen]

    # In logarithms a stiffness cannot turn negative, and a factor of two is as far up as down.
    log_stiffness = torch.tensor(np.log(60.0), dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([log_stiffness], max_iter=30, tolerance_change=1e-12, line_search_fn="strong_wolfe")
    calls = 0

    def closure():
        nonlocal calls
        calls += 1
        optimiser.zero_grad()
        trajectory = ps.simulate(solver, times=TIMES, params={body.stiffness: log_stiffness.exp()})
        loss = (trajectory.positions[:, seen] - measured).square().sum(-1).mean() * 1e6  # [mm^2]
        loss.backward()
        print(f"{calls:2d}: {log_stiffness.exp().item():8.3f} N/m, rms error {loss.item() ** 0.5:.4f} mm")
        return loss

    optimiser.step(closure)
    return abs(log_stiffness.exp().item() / TRUE - 1)


if __name__ == "__main__":
    main()
