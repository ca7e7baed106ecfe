"""Captures that are made in memory from positions that are known, for tests of judgement and report."""

from types import SimpleNamespace

import numpy as np

import physsim as ps
from physsim.twin.distances import Eye


def scene_of(mesh, thickness=None):
    """What judgement asks of a scene."""
    rod = isinstance(mesh, ps.Curve)
    soft_body = SimpleNamespace(mesh=mesh, kind="rod" if rod else "solid", remarks=[], source="mesh")
    surface = None if rod else mesh.surface()
    return SimpleNamespace(soft_body=soft_body, thickness=thickness or 0.0, surface=surface, edges=mesh.edges if rod else None)


def block():
    """A soft block of 4 x 2 x 2 cm."""
    return ps.box_mesh((0.04, 0.02, 0.02), (4, 2, 2))


def camera(size=(80, 60)):
    """A camera at half a metre that sees the block from the front, along +y."""
    return ps.Camera.look_at((0.02, -0.5, 0.01), (0.02, 0.0, 0.01), width=size[0], height=size[1], angle=8.0)


def capture_of(mesh, positions, times, handles=None, cameras=None, noise=0.0, seed=0, tracks=20, colour=True, **options):
    """What a camera and a tracker would see of positions [f, n, 3]: depth, masks, colours, tracks of surface points with noise [m].

    Returns:
        (Capture, association of its tracks)
    """
    rng = np.random.default_rng(seed)
    surface = mesh.surface()
    chosen = np.unique(surface)[:: max(1, len(np.unique(surface)) // tracks)][:tracks]
    association = chosen[:, None], np.ones((len(chosen), 1))
    seen = positions[:, chosen] + noise * rng.standard_normal((len(positions), len(chosen), 3))
    cameras = {"front": camera()} if cameras is None else cameras
    depth, mask, pictures = ({name: [] for name in cameras} for _ in range(3))
    for name, lens in cameras.items():
        eye = Eye(lens, surface)
        for x in positions:
            there, shown = eye.look(x)
            there = there + noise * rng.standard_normal(there.shape)
            depth[name].append(there.astype(np.float32))
            mask[name].append(shown)
            pictures[name].append(np.where(shown[..., None], np.float32([0.8, 0.5, 0.3]), np.float32(0.2)).astype(np.float32))
    shown = {"colour": pictures if colour else {}, "depth": depth, "mask": mask}
    capture = ps.Capture(times, cameras, **shown, tracks=ps.SeenTracks(seen), mesh=mesh, handles=handles or {}, **options)
    return capture, association


def slid(mesh, times, velocity):
    """The mesh moved at a velocity [m/s], shape [f, n, 3]."""
    return mesh.points + times[:, None, None] * np.asarray(velocity)
