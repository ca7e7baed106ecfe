"""A hand learns to fold a cloth in half: its path is found by gradients through contact, friction and the cloth itself.

A strip of cloth lies on a table. A hand holds one end and follows a path through a few points, which are all that is optimised. The
goal is a pose: the held half mirrored onto the other one, which nothing holds but friction. The first path is timid: it ends half way.
"""

import numpy as np
import torch

import physsim as ps

LENGTH, WIDTH, CELLS = 0.16, 0.06, (8, 2)  # [m]
FABRIC = ps.Shell(stretch=100.0, bending=2e-6, poisson=0.2, area_density=0.2, thickness=1e-3, stretch_damping=0.05, mass_damping=1.0)
TIMES = [0.0, 0.12, 0.24, 0.36, 0.48]  # of the path's points [s]
FIRST = [[0.0, 0.0], [-0.03, 0.04], [-0.06, 0.05], [-0.09, 0.04], [-0.12, 0.02]]  # way of the hand (x, z) [m]
END, DT = 0.6, 1 / 60  # [s]
RATE, ITERATIONS = 0.008, 12  # of Adam: the first step [m], which shrinks to nothing


def build():
    """Model, cloth, the hand's attachment and the goal's positions [m]."""
    mesh = ps.sheet_mesh((LENGTH, WIDTH), CELLS)
    builder = ps.ModelBuilder()
    cloth = builder.add_cloth(mesh, FABRIC, name="cloth", pose=mesh.points + [0.0, 0.0, 0.0013])
    hand = builder.attach(cloth, np.flatnonzero(mesh.points[:, 0] > LENGTH - 1e-9), name="hand")
    builder.add_ground()
    builder.enable_contact(friction=0.8, stiffness=1e3, creep=1e-3)
    model = builder.finalize()
    goal = model.positions[cloth.particles].copy()
    upper = goal[:, 0] > LENGTH / 2
    goal[upper, 0] = LENGTH - goal[upper, 0]
    goal[upper, 2] += 0.0018
    return model, cloth, hand, torch.tensor(goal)


def fold(solver, cloth, hand, path):
    """Positions in the end [m], a tensor, where the hand goes along `path`, ways (x, z) [m] at TIMES."""
    held = torch.tensor(solver.model.positions[hand.particles])
    way = torch.stack([path[:, 0], torch.zeros(len(path), dtype=torch.float64), path[:, 1]], dim=1)
    control = ps.Control(TIMES, {hand: held + way[:, None]})
    return ps.simulate(solver, control=control, times=[END]).positions[0, cloth.particles]


def main():
    """Distance from the goal (root mean square) of the best path, as a share of the first one's."""
    model, cloth, hand, goal = build()
    solver = ps.SolverImplicit(model, DT, "backward_euler")
    path = torch.tensor(FIRST[1:], dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.Adam([path], lr=RATE)
    schedule = torch.optim.lr_scheduler.LinearLR(optimiser, 1.0, 0.0, ITERATIONS)
    errors = []
    for iteration in range(ITERATIONS):
        optimiser.zero_grad()
        loss = (fold(solver, cloth, hand, torch.cat([torch.tensor(FIRST[:1]), path])) - goal).square().sum(-1).mean() * 1e6  # [mm^2]
        loss.backward()
        optimiser.step()
        schedule.step()
        errors.append(loss.item() ** 0.5)
        print(f"path {iteration + 1:2d} ends {errors[-1]:5.2f} mm from the goal")
    ways = ", ".join(f"({x:.0f}, {z:.0f})" for x, z in 1e3 * path.detach())
    print(f"the hand's way (x, z) in mm: {ways}")
    return min(errors) / errors[0]


if __name__ == "__main__":
    main()
