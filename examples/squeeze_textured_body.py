"""A painted plush is squeezed between two plates: what splats show of it beside what rays that hit its texture show.

The plush that ships with physsim sits on the ground, and two plates close until it is little more than half as wide. The reference
draws the painted surface, carried by the tetrahedra, with its full texture and lit. The splats of the same asset are fitted to twelve
pictures of it at rest; then they are bound to the tetrahedra and go where the material goes, with the light of their rest. Both are
drawn with the same plates and ground, in a direction that the fit did not see.

`squeeze_textured_body.py [FOLDER]` writes plush-squeezed.mp4 and plush-strip.png (reference above, splats below).
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

import physsim as ps
from physsim import assets
from physsim.appearance.asset import Asset
from physsim.appearance.binding import bind
from physsim.appearance.fit import fit_appearance
from physsim.appearance.fit_options import FitOptions
from physsim.appearance.frames import Frame
from physsim.appearance.textured_surfaces import textured_surfaces
from physsim.report.render import box_surface
from physsim.report.video import write_video

FOLDER = assets.folder("plush")
PLATE, WAY = np.array([0.01, 0.09, 0.11]), 0.018  # each plate's size and how far it goes [m]
FRAMES, DT = 24, 1 / 60  # one step a frame
LIGHT = ps.Light(direction=(-0.4, -1.0, 0.9), ambient=0.55, diffuse=0.45)
SKY = (0.93, 0.94, 0.96)


class Squeeze:
    """The plush, the plates and the ground, simulated."""

    def __init__(self, asset):
        builder = ps.ModelBuilder()
        self.body = builder.add_soft_body(asset.mesh, asset.material, name="plush")
        builder.add_ground(-2e-3)
        reach = np.abs(asset.mesh.points[:, 0]).max() + 0.5 * PLATE[0] + 2e-3
        self.places = {side: np.array([side * reach, 0.0, 0.5 * PLATE[2] - 1e-3]) for side in (-1.0, 1.0)}
        self.plates = {side: builder.add_collider(ps.Box(PLATE), place) for side, place in self.places.items()}
        builder.enable_contact(friction=0.6)
        self.model = builder.finalize()
        self.times = DT * np.arange(FRAMES)
        self.ways = WAY * 0.5 * (1.0 - np.cos(np.pi * self.times / self.times[-1]))

    def run(self):
        """Positions of the plush's particles [m], shape [frames, n, 3]."""
        poses = {}
        for side, plate in self.plates.items():
            places = self.places[side] - np.outer(self.ways, [side, 0.0, 0.0])
            poses[plate.name] = places, np.tile([1.0, 0.0, 0.0, 0.0], (FRAMES, 1))
        solver = ps.SolverImplicit(self.model, DT, "backward_euler")
        control = ps.Control.from_poses(self.model, self.times, poses)
        return ps.simulate(solver, control=control, times=self.times).positions[:, self.body.particles]

    def around(self, way):
        """The plates after a way [m], and the ground, to look at."""
        boxes = [(self.places[side] - [side * way, 0.0, 0.0] - PLATE / 2, PLATE, (0.35, 0.45, 0.6)) for side in self.plates]
        boxes.append((np.array([-0.12, -0.09, -0.012]), np.array([0.24, 0.18, 0.01]), (0.75, 0.72, 0.68)))
        return [ps.Surface(*box_surface(low, low + size, 1), colour, label=1) for low, size, colour in boxes]


class Painted:
    """The painted surface as rays see it, carried by the tetrahedra."""

    def __init__(self, mesh):
        self.surfaces = textured_surfaces(FOLDER / "painted.obj", smooth=True)
        self.nodes, self.weights = mesh.interpolation(self.surfaces[0].points.numpy(), outside=5e-3)

    def at(self, positions):
        """The surfaces where the body's particles [m], shape [n, 3], are."""
        points = np.einsum("pk,pkd->pd", self.weights, np.asarray(positions)[self.nodes])
        return [surface.deformed(points) for surface in self.surfaces]


def main(folder="physsim-squeeze"):
    """Mean PSNR of the frames, over the pixels that show the plush [dB]."""
    asset = Asset.load(FOLDER / "asset")
    squeeze, painted, rest = Squeeze(asset), Painted(asset.mesh), asset.mesh.points
    at_rest = ps.Scene(surfaces=painted.at(rest), background=SKY, light=LIGHT)
    pictures = []
    for camera in ps.orbit(rest, 12, width=224, height=224, start=-75.0):
        image = ps.render(at_rest, camera, samples=3)
        pictures.append(Frame(image.colour, camera, mask=image.alpha))
    options = FitOptions(iterations=240, degree=0, held_out=0, background=SKY)
    splats = fit_appearance(asset.splats, pictures, options=options).splats
    print(f"{len(splats)} splats fitted to {len(pictures)} pictures at rest")
    binding = bind(splats, squeeze.body)
    camera = ps.Camera.around(rest, direction=(0.0, -1.0, 0.25), width=240, height=240, margin=1.3)
    frames, errors = [], []
    for positions, way in zip(squeeze.run(), squeeze.ways, strict=True):
        around = squeeze.around(way)
        truth = ps.render(ps.Scene((), painted.at(positions) + around, SKY, LIGHT), camera, samples=2)
        image = ps.render(ps.Scene(ps.PosedSplats(splats, binding.pose(positions)), around, SKY, LIGHT), camera, samples=2)
        errors.append(ps.psnr(image.colour, truth.colour, mask=truth.labels == 0).item())
        frames.append(np.concatenate([truth.bytes(), image.bytes()], axis=1))
    film, strip = write_video(Path(folder) / "plush-squeezed.mp4", frames, fps=12), Path(folder) / "plush-strip.png"
    chosen = [np.concatenate(np.split(frames[k], 2, axis=1)) for k in (0, FRAMES // 3, FRAMES // 2, 2 * FRAMES // 3, -1)]
    Image.fromarray(np.concatenate(chosen, axis=1)).save(strip)
    print(f"{1e3 * np.ptp(rest[:, 0]):.0f} mm wide at first, {1e3 * np.ptp(positions[:, 0].numpy()):.0f} mm squeezed")
    print(f"PSNR of the plush's pixels: {errors[0]:.1f} dB at first, {min(errors):.1f} dB at worst; wrote {film} and {strip}")
    return float(np.mean(errors))


if __name__ == "__main__":
    main(*sys.argv[1:])
