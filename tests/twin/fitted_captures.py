"""Captures that our own simulation moved, small enough for tests of a fit."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np

import physsim as ps
from physsim.twin.body import SoftBody
from physsim.twin.holds import Hold
from physsim.twin.identification import predict
from physsim.twin.results import TwinFit
from physsim.twin.scene import TwinScene
from physsim.twin.start import Start

FRAMES, RATE = 40, 30
YOUNG, VISCOSITY, POISSON = 3.0e4, 60.0, 0.3
LENGTH, CELLS = 0.2, (8, 2, 2)
FINE = 1 / 480  # step of the true motion [s]


def wave(times, amplitude=0.03, hertz=1.5):
    """A handle's height that swells up from rest [m]."""
    return amplitude * np.sin(2 * np.pi * hertz * times) * (1 - np.exp(-5 * times))


def handle(lag=0.0, seconds=FRAMES / RATE + 0.5):
    """A handle at one end of the bar; its clock is behind the cameras' by `lag`."""
    times = np.arange(-30, int(120 * seconds)) / 120
    positions = np.zeros((len(times), 3))
    positions[:, 2] = wave(np.maximum(times, 0.0))
    return ps.Handle(times + lag, positions)


def bar_capture(lag=0.0, poisson=POISSON, **streams):
    """A bar of 20 x 4 x 4 cm that a handle waves at its end; whatever is seen of it comes in `streams`."""
    mesh = ps.box_mesh((LENGTH, 0.04, 0.04), CELLS, origin=(0.0, -0.02, -0.02))
    if not streams:
        streams = {"tracks": ps.SeenTracks(np.tile(mesh.points[None, :2], (FRAMES, 1, 1)))}
    return ps.Capture(
        np.arange(FRAMES) / RATE, mesh=mesh, handles={"hand": handle(lag)}, known=ps.Known(density=1000.0, poisson=poisson), **streams
    )


def scene_of(capture, dt=1 / 60, **material):
    """The bar, held by its end face, in steps with which a fit may begin."""
    mesh = capture.mesh
    end = np.flatnonzero(mesh.points[:, 0] < 1e-9)
    stuff = {"young": 1.5 * YOUNG, "poisson": POISSON, "density": 1000.0, "viscosity": 1.5 * VISCOSITY} | material
    return TwinScene(capture, SoftBody("solid", mesh), ps.NeoHookean(**stuff), holds=[Hold("hand", end, mesh.points[end])], dt=dt)


def true_motion(lag=0.0, **material):
    """The bar with the true material, sagged at rest at first: scene, positions at the frames [f, n, 3], those of the start [n, 3]."""
    scene = scene_of(bar_capture(lag), **({"young": YOUNG, "viscosity": VISCOSITY} | material))
    rest, _ = scene.static().solve(scene.state(), scene.control)
    fit = TwinFit({}, {}, {}, {}, 0.95, {}, (rest.positions, 0.0 * rest.positions), 0.0, dt=FINE)
    return SimpleNamespace(scene=scene, positions=predict(scene, fit), start=rest.positions)


def tracks_of(scene, positions, rng, count=40, noise=5e-4, wrong=0.05):
    """Tracks of points of the surface with noise [m]; a share of them jumps away half-way."""
    element = rng.integers(len(scene.surface), size=count)
    weights = rng.dirichlet(np.ones(3), count)
    seen = np.einsum("pk,fpkd->fpd", weights, positions[:, scene.surface[element]])
    seen = seen + noise * rng.standard_normal(seen.shape)
    bad = rng.choice(count, round(wrong * count), replace=False)
    seen[len(seen) // 2 :, bad] += 0.05 * rng.standard_normal((len(bad), 3))
    return ps.SeenTracks(seen)


def ways_of(scene):
    """Smooth ways of the start."""
    from physsim.twin.smooth import smooth_ways

    pose = scene.soft_body.pose
    return scene.spread(smooth_ways(scene.soft_body.mesh, "solid", pose, scene.held, 6), around=pose)


def start_at(scene, positions, velocities=None, at_rest=False):
    """A Start of the scene."""
    return Start(positions, np.zeros_like(positions) if velocities is None else velocities, 0.0, at_rest, ways_of(scene))


def with_streams(capture, **streams):
    """The capture with other streams."""
    return replace(capture, tracks=None, **streams) if "tracks" not in streams else replace(capture, **streams)
