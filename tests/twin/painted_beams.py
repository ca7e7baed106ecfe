"""A soft beam with a chequered skin, filmed by ray queries while it falls from level, held at one end: for tests of looks and commands."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

import physsim as ps
from physsim.appearance.meshes import Surface, render_surfaces
from physsim.appearance.skin import Skin

SIZE = (0.16, 0.04, 0.04)  # [m]
CLAMP, RADIUS = np.array([0.0, 0.02, 0.02]), 0.03  # what lies so near to it is held [m]
YOUNG, DENSITY, POISSON, VISCOSITY = 6e4, 1000.0, 0.3, 40.0


@dataclass(frozen=True)
class Beam:
    """A film and the motion behind it: positions [f, n, 3] [m]."""

    capture: ps.Capture
    mesh: object
    material: object
    positions: np.ndarray


def material(young=YOUNG):
    return ps.NeoHookean(young=young, poisson=POISSON, density=DENSITY, viscosity=VISCOSITY)


def motion(times, young=YOUNG, cells=(8, 2, 2)):
    """(mesh, positions [f, n, 3]) of the beam."""
    mesh = ps.box_mesh(SIZE, cells)
    builder = ps.ModelBuilder()
    body = builder.add_soft_body(mesh, material(young))
    builder.attach(body, np.flatnonzero(np.linalg.norm(mesh.points - CLAMP, axis=1) <= RADIUS))
    solver = ps.SolverImplicit(builder.finalize(), dt=1 / 120)
    return mesh, ps.simulate(solver, times=times).positions.detach().numpy()


def camera(size=(160, 120)):
    return ps.Camera.look_at((0.1, -0.3, 0.06), (0.08, 0.0, 0.0), width=size[0], height=size[1])


def skin_of(mesh, rng):
    """(Skin, textured Surface of its triangles, each with corners of its own)."""
    skin = Skin(mesh)
    corners = skin.points(mesh.points)[skin.triangles]
    axis = np.abs(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])).argmax(axis=1)
    others = np.array([[1, 2], [0, 2], [0, 1]])[axis]
    uv = np.take_along_axis(corners, others[:, None, :], axis=2).reshape(-1, 2) / SIZE[0]
    texture = np.kron(rng.uniform(0.1, 0.9, (8, 8, 3)), np.ones((16, 16, 1)))
    flat = np.arange(3 * len(skin.triangles)).reshape(-1, 3)
    return skin, Surface(corners.reshape(-1, 3), flat, texture=texture, uv=uv)


def film(mesh, positions, lens, rng, noise=0.01, depth_noise=0.0005):
    """(colour, depth, mask) frames of a camera."""
    skin, surface = skin_of(mesh, np.random.default_rng(5))
    colour, depth, mask = [], [], []
    for x in positions:
        moved = Surface(skin.points(x)[skin.triangles].reshape(-1, 3), surface.triangles, texture=surface.texture, uv=surface.uv)
        image = render_surfaces([moved], lens, background=(0.2, 0.25, 0.3), samples=2)
        seen = image.alpha.numpy() > 0.5
        noisy = image.colour.numpy() + rng.normal(scale=noise, size=(*seen.shape, 3))
        colour.append(np.clip(noisy, 0.0, 1.0).astype(np.float32))
        depth.append(np.where(seen, image.depth.numpy() + rng.normal(scale=depth_noise, size=seen.shape), np.nan).astype(np.float32))
        mask.append(seen)
    return colour, depth, mask


@lru_cache
def beam(frames=24, size=(160, 120), young=YOUNG, cells=(8, 2, 2), rate=30.0, seed=1):
    """A Beam, whose capture holds depth, masks, colour and tracks of one camera."""
    rng = np.random.default_rng(seed)
    times = np.arange(frames) / rate
    mesh, positions = motion(times, young, cells)
    lens = camera(size)
    colour, depth, mask = film(mesh, positions, lens, rng)
    chosen = np.unique(mesh.surface())[::2]
    tracks = ps.SeenTracks(positions[:, chosen] + rng.normal(scale=0.0003, size=(frames, len(chosen), 3)))
    clamp = ps.Handle(np.array([0.0, times[-1]]), np.tile(CLAMP, (2, 1)), radius=RADIUS)
    known = ps.Known(density=DENSITY, poisson=POISSON)
    capture = ps.Capture(
        times,
        {"front": lens},
        {"front": colour},
        {"front": depth},
        {"front": mask},
        tracks=tracks,
        mesh=mesh,
        handles={"clamp": clamp},
        kind="solid",
        known=known,
        name="beam",
        source="physsim, drawn by rays",
    )
    return Beam(capture, mesh, material(young), positions)
