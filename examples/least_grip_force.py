"""How hard must a hand squeeze to lift a cube? The least force, by gradients through the grasp, and by bisection.

Two plates squeeze a soft cube on a stand. Then they rise, and the stand drops away. Under the least force the cube slides down between the
plates, faster the weaker the grip: Coulomb's friction makes the speed linear in the force, and the simulation knows its slope: one step
of Newton's method from a grip that slips lands next to the one that just holds.
"""

import numpy as np
import torch

import physsim as ps

SIDE, DENSITY, FRICTION = 0.05, 300.0, 0.5  # [m], [kg/m^3], [-]
RISE = 2.0  # acceleration of the hand [m/s^2]
START, END, DT = 0.1, 0.3, 1 / 240  # [s]: the hand rises between these
SQUEEZE, ARM, WRIST = 1e3, 1e5, 1e3  # stiffness of the hand along its squeeze and across [N/m], against turns [N m]
HELD = 2e-3  # sliding speed at the end below which the cube counts as held [m/s]


class Grasp:
    """The cube between two driven plates; what a way that the plates are told to close makes of it."""

    def __init__(self):
        builder = ps.ModelBuilder()
        mesh = ps.box_mesh((SIDE, SIDE, SIDE), (2, 2, 2), origin=(-SIDE / 2, -SIDE / 2, 1e-3))
        self.cube = builder.add_soft_body(mesh, ps.NeoHookean(5e4, 0.3, DENSITY), name="cube")
        self.places = {side: np.array([side * (SIDE / 2 + 0.011), 0.0, 1e-3 + SIDE / 2]) for side in (-1.0, 1.0)}
        self.plates = {side: builder.add_driven(ps.Box((0.02, 0.08, 0.6)), place) for side, place in self.places.items()}
        builder.add_collider(ps.Box((0.03, 0.03, 0.02)), (0.0, 0.0, -0.01), name="stand")
        builder.enable_contact(friction=FRICTION)
        self.model = builder.finalize()
        self.solver = ps.SolverImplicit(self.model, DT, "backward_euler")
        stiffness = np.diag([SQUEEZE, ARM, ARM, WRIST, WRIST, WRIST])[np.tril_indices(6)]
        self.drives = {plate.drive: stiffness for plate in self.plates.values()}

    def control(self, way):
        """Plates close by `way` (a tensor) [m], wait, and rise; the stand drops away."""
        times = np.concatenate([[0.0, 0.5 * START], np.linspace(START, END, 25)])
        rise = torch.tensor(0.5 * RISE * np.maximum(times - START, 0.0) ** 2)
        closed = torch.tensor((times > 0.0).astype(float)) * way
        still = np.tile([1.0, 0.0, 0.0, 0.0], (len(times), 1))
        poses = {"stand": (np.outer(np.maximum(times - START, 0.0), [0.0, 0.0, -5.0]) - [0.0, 0.0, 0.01], still)}
        for side, plate in self.plates.items():
            move = torch.stack([-side * closed, 0.0 * rise, rise], dim=1)
            poses[plate.name] = torch.tensor(self.places[side]) + move, still
        return ps.Control.from_poses(self.model, times, poses)

    def __call__(self, way):
        """(force of the squeeze [N], speed at which the cube slides down in the end [m/s]) as tensors."""
        control = self.control(way)
        run = ps.simulate(self.solver, control=control, times=[START, END], params=self.drives)
        left, right = (plate.particles for plate in self.plates.values())
        behind = run.positions[0][right] - control.targets[self.plates[1.0].name][control.times.searchsorted(START)]
        force = SQUEEZE * behind[:, 0].mean()
        up = run.velocities[1][:, 2]
        slide = 0.5 * (up[left].mean() + up[right].mean()) - up[self.cube.particles].mean()
        return force, slide


def by_newton(grasp, way):
    """Least force [N], from a squeeze that slips [m]: the last run that slipped says at which force it would not have."""
    least = None
    while True:
        way = torch.tensor(way, dtype=torch.float64, requires_grad=True)
        force, slide = grasp(way)
        text = f"{1e3 * way.item():.3f} mm of squeeze give {force.item():.4f} N: "
        if slide.item() < HELD:
            print(text + "it holds")
            return least
        (stiffness,) = torch.autograd.grad(force, way, retain_graph=True)
        (slope,) = torch.autograd.grad(slide, way)
        least = (force - slide * stiffness / slope).item()
        print(text + f"it slides at {slide.item():.3f} m/s, and would not at {least:.4f} N")
        way = (way - slide / slope).item()


def by_bisection(grasp, low, high, runs=7):
    """The same without gradients, between a squeeze that slips and one that holds [m]."""
    least = None
    for _ in range(runs):
        middle = 0.5 * (low + high)
        force, slide = grasp(torch.tensor(middle, dtype=torch.float64))
        if slide.item() < HELD:
            high, least = middle, force.item()
        else:
            low = middle
    return least


def main():
    """Least force by gradients over that of bisection."""
    grasp = Grasp()
    found = by_newton(grasp, 5e-4)
    expected = by_bisection(grasp, 3e-4, 1e-3)
    coulomb = DENSITY * SIDE**3 * (9.81 + RISE) / (2 * FRICTION)
    print(f"least force: {found:.4f} N by gradients, {expected:.4f} N by bisection in seven runs")
    print(f"Coulomb's m (g + a) / (2 mu) for a rigid cube that is pulled steadily: {coulomb:.4f} N")
    return found / expected


if __name__ == "__main__":
    main()
