"""Bodies drawn by ray queries, for tests of fits: no splat has a part in these pictures."""

import numpy as np
import torch

import physsim as ps
from physsim.appearance.camera import Camera
from physsim.appearance.frames import Frame
from physsim.appearance.meshes import UNSHADED, Surface, render_surfaces
from physsim.appearance.sources import splats_from_mesh


def waves(rng, sides, count=8, contrast=0.15):
    """A smooth pattern of colours that repeats, shape [sides, sides, 3]."""
    y, x = np.mgrid[0:sides, 0:sides] * (2 * np.pi / sides)
    out = np.zeros((sides, sides, 3))
    for channel in range(3):
        for _ in range(count):
            a, b = rng.integers(-4, 5, 2)
            out[..., channel] += np.sin(a * x + b * y + rng.uniform(0, 2 * np.pi))
    return np.clip(0.5 + contrast * out / out.std(), 0.02, 0.98)


def even_directions(count, turn=0.0):
    """Unit vectors spread evenly over the sphere (Fibonacci's spiral)."""
    z = 1.0 - (2.0 * np.arange(count) + 1.0) / count
    angle = np.arange(count) * np.pi * (3.0 - np.sqrt(5.0)) + turn
    ring = np.sqrt(1.0 - z * z)
    return np.stack([ring * np.cos(angle), ring * np.sin(angle), z], axis=1)


class TexturedBlock:
    """A block of 20 x 10 x 10 cm with a texture, bent, twisted and squeezed."""

    def __init__(self, rng):
        self.mesh = ps.box_mesh(size=(0.2, 0.1, 0.1), cells=(6, 3, 3), origin=(-0.1, -0.05, -0.05))
        self._nodes, corners = np.unique(self.mesh.surface(), return_inverse=True)
        triangles = corners.reshape(-1, 3)
        places = self.mesh.points[self._nodes][triangles]
        normals = np.cross(places[:, 1] - places[:, 0], places[:, 2] - places[:, 0])
        axes = np.array([[1, 2], [0, 2], [0, 1]])[np.abs(normals).argmax(axis=1)]
        uv = np.take_along_axis(places, axes[:, None, :], axis=2) / 0.2 + 0.5
        self.surface = Surface(self.mesh.points[self._nodes], triangles, texture=waves(rng, 64), uv=uv)

    def deformed(self, bend, twist, squeeze):
        """Positions of the particles [m]."""
        x, y, z = self.mesh.points.T
        share = 1.0 + squeeze * np.cos(np.pi * x / 0.2)
        y, z = y * share, z / share
        angle = twist * x / 0.1
        y, z = np.cos(angle) * y - np.sin(angle) * z, np.sin(angle) * y + np.cos(angle) * z
        radius = 0.1 / bend
        return np.stack([(radius - z) * np.sin(x / radius), y, radius - (radius - z) * np.cos(x / radius)], axis=1)

    def frame(self, rng, direction, name, size=128, still=False, background=(0.0, 0.0, 0.0)):
        """A picture of it in a pose drawn at random, and how much of each pixel it covers."""
        drawn = rng.uniform(0.05, 0.6), rng.uniform(-0.4, 0.4), rng.uniform(-0.2, 0.2)
        positions = self.mesh.points if still else self.deformed(*drawn)
        camera = Camera.look_at(0.45 * direction, (0, 0, 0), up=np.eye(3)[np.abs(direction).argmin()], width=size, height=size, angle=32.0)
        image = render_surfaces([self.surface.deformed(torch.as_tensor(positions[self._nodes]))], camera, UNSHADED, background, samples=4)
        moved = None if still else torch.as_tensor(positions)
        return Frame(image.colour.clamp(0.0, 1.0), camera, positions=moved, name=name), image.alpha

    def frames(self, rng, count, turn=0.0, **rest):
        """Pictures from all sides."""
        return [self.frame(rng, d, f"{i}.png", **rest)[0] for i, d in enumerate(even_directions(count, turn))]

    def splats(self, count, seed=0):
        """Grey splats over its surface."""
        return splats_from_mesh(self.mesh, count, colours=(0.5, 0.5, 0.5), seed=seed)


class StretchedSheet:
    """A sheet of 1 m that stretches and bulges in random waves; its albedo tells its stretch, or is a pattern that does not change."""

    def __init__(self, by_strain):
        self.mesh = ps.sheet_mesh((1.0, 1.0), (16, 16))
        self._fine, self._by_strain = ps.sheet_mesh((1.0, 1.0), (64, 64)), by_strain

    def frame(self, rng, name, size=96):
        """A picture of a bend drawn at random, from a side drawn at random."""
        motion = self._motion(rng)
        points, stretch = motion(self._fine.points)
        camera = self._camera(rng, points.mean(axis=0), size)
        surface = Surface(points, self._fine.triangles, colours=self._albedo(stretch))
        image = render_surfaces([surface], camera, UNSHADED, samples=3)
        return Frame(image.colour.clamp(0.0, 1.0), camera, positions=torch.as_tensor(motion(self.mesh.points)[0]), name=name)

    def _motion(self, rng):
        """Positions [m] of points at rest, and the largest stretch there, in closed form: a sum of plane waves over a uniform stretch."""
        terms = [(3.0 * rng.normal(size=2), rng.uniform(0, 2 * np.pi), rng.normal(size=3) * [0.15, 0.15, 0.45]) for _ in range(3)]
        uniform = np.eye(2) + np.diag(rng.uniform(0.0, 0.25, 2))

        def moved(rest):
            points, slopes = np.zeros((len(rest), 3)), np.zeros((len(rest), 3, 2))
            points[:, :2], slopes[:, :2] = rest[:, :2] @ uniform.T, uniform
            for wave, phase, amplitude in terms:
                angle = rest[:, :2] @ wave + phase
                points += np.sin(angle)[:, None] * amplitude / np.linalg.norm(wave)
                slopes += np.cos(angle)[:, None, None] * (amplitude[:, None] * wave / np.linalg.norm(wave))
            return points, np.linalg.svd(slopes, compute_uv=False)[:, 0]

        return moved

    def _camera(self, rng, middle, size):
        towards = np.array([*rng.uniform(-0.6, 0.6, 2), 1.0])
        eye = middle + 2.6 * towards / np.linalg.norm(towards)
        return Camera.look_at(eye, middle, up=(0, 1, 0), width=size, height=size, angle=34.0)

    def _albedo(self, stretch):
        if self._by_strain:
            return np.repeat((0.2 + 0.6 * np.clip((stretch - 1.0) / 0.5, 0.0, 1.0))[:, None], 3, axis=1)
        x, y, _ = self._fine.points.T[:, :, None]
        return 0.5 + 0.3 * np.sin(9.0 * x + [0.0, 2.0, 4.0]) * np.cos(7.0 * y + [1.0, 0.0, 3.0])

    def splats(self, count):
        """Grey splats over the sheet."""
        return splats_from_mesh(self.mesh, count, colours=(0.5, 0.5, 0.5))
