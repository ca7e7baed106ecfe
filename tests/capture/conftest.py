"""A small capture whose every number is known: a ball that a hand swings in front of two cameras."""

import json

import numpy as np
import pytest

from physsim.appearance.camera import Camera
from physsim.capture.capture import Capture, Handle, Known, SeenTracks
from physsim.physics.mesh import box_mesh

RADIUS, FRAMES = 0.06, 6


def ball_centre(times):
    """Where the ball is [m], shape [..., 3]."""
    times = np.asarray(times)
    return np.stack([0.05 * np.sin(3 * times), 0.0 * times, 0.3 - 0.02 * times], axis=-1)


def seen_ball(camera, centre):
    """Depth [m], NaN beside the ball, of a ball of RADIUS: the nearer root of |origin + depth d - centre| = RADIUS for every pixel."""
    origin, d = camera.rays()
    a, b, c = (d * d).sum(-1), d @ (origin - centre), ((origin - centre) ** 2).sum() - RADIUS**2
    root = b * b - a * c
    with np.errstate(invalid="ignore"):
        return np.where(root > 0, (-b - np.sqrt(root)) / a, np.nan).astype(np.float32)


@pytest.fixture
def ball(rng):
    """A Capture that holds one of everything."""
    times = np.cumsum(rng.uniform(0.02, 0.05, FRAMES))
    cameras = {
        "front": Camera.look_at((0.05, -0.8, 0.35), (0, 0, 0.28), width=40, height=32, angle=30),
        "side cam": Camera.look_at((0.7, 0.1, 0.4), (0, 0, 0.28), width=36, height=30, angle=30, distortion=(0.05, -0.02, 0.001, 0.0)),
    }
    centres = ball_centre(times)
    depth = {name: [seen_ball(camera, c) for c in centres] for name, camera in cameras.items()}
    mask = {name: [np.isfinite(d) for d in frames] for name, frames in depth.items()}
    colour = {name: [np.where(m[..., None], [0.9, 0.3, 0.2], [0.1, 0.2, 0.3]).astype(np.float32) for m in f] for name, f in mask.items()}
    sides = rng.normal(size=(30, 3))
    sides *= RADIUS / np.linalg.norm(sides, axis=1, keepdims=True)
    tracks = centres[:, None] + sides
    visible = rng.random(tracks.shape[:2]) > 0.2
    visible[0] = True
    handle_times = np.linspace(0.0, times[-1] + 0.05, 9)
    angles = np.linspace(0.0, 0.5, 9)
    turns = [[[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]] for a in angles]
    opening = np.linspace(0.03, 0.02, 9)
    hand = Handle(handle_times, ball_centre(handle_times) + [0, 0, RADIUS], turns, opening, 0.015, [[0, 0, 0], [0.01, 0, 0]])
    mesh = box_mesh((0.1, 0.1, 0.1), (2, 2, 2))
    return Capture(
        times=times,
        cameras=cameras,
        colour=colour,
        depth=depth,
        mask=mask,
        points=[c + sides[: 20 + i] for i, c in enumerate(centres)],
        tracks=SeenTracks(tracks, visible, sides),
        mesh=mesh,
        handles={"hand": hand},
        kind="solid",
        known=Known(mass=0.2, poisson=0.45, length=0.12, ground=np.array([[0, 0, 0.0], [0, 0, 1.0]]), weights=np.array([[0, 0, 0, 0.05]])),
        fit=[0, 1, 2, 3],
        test=[4, 5],
        noise={"depth": 0.001, "tracks": 0.0005},
        name="ball",
        source="closed form",
    )


@pytest.fixture
def folder(ball, tmp_path):
    """The ball's capture in a folder."""
    ball.save(tmp_path / "ball")
    return tmp_path / "ball"


@pytest.fixture
def edit(folder):
    """Changes capture.json of the folder: edit(lambda facts: ...)."""

    def change(how):
        path = folder / "capture.json"
        facts = json.loads(path.read_text())
        how(facts)
        path.write_text(json.dumps(facts))

    return change
