"""Captures of hanging blocks and cloths of more than one stuff, made by this engine on a finer mesh than the one that is fitted."""

from dataclasses import dataclass

import numpy as np

import physsim as ps
from physsim.capture.capture import Capture, Handle, Known, SeenTracks
from physsim.physics.diff.adjoint import Rollout
from physsim.twin.body import SoftBody
from physsim.twin.holds import Hold
from physsim.twin.scene import TwinScene
from physsim.twin.start import Start

SIZE = np.array([0.05, 0.05, 0.12])
RATE, FRAMES = 30, 31
POISSON, DENSITY, RELAXATION = 0.3, 1000.0, 2e-3


def block_mesh(cells, order=2):
    """A block that hangs from z = 0."""
    return ps.box_mesh(SIZE, cells, order, origin=(-SIZE[0] / 2, -SIZE[1] / 2, -SIZE[2]))


def centres(mesh):
    """Of the cells, shape [m, 3]."""
    return mesh.points[mesh.cells[:, :4]].mean(axis=1)


def hand(times):
    """Where the hand is [m], shape [k, 3]: a sway that swells up from rest."""
    swell = np.clip(times / 0.4, 0, 1)[:, None] ** 2
    return swell * np.array([0.03, 0.025, 0.02]) * np.sin(2 * np.pi * times[:, None] * np.array([1.6, 1.1, 2.2]))


@dataclass(frozen=True, eq=False)
class Made:
    """A capture, the scene that fits it, and its start at rest."""

    capture: Capture
    scene: TwinScene
    start: Start


def hanging_block(young, seed=0, noise=7e-4, wrong=0.05, tracks=100, cells=(2, 2, 6), fine=(3, 3, 8), order=2, side=None):
    """A block whose stiffness is `young(centres [m, 3])`, held by its upper face from an equilibrium on.

    Args:
        side: direction that is seen; None: the surface all around.
    """
    mesh = block_mesh(fine)
    times = np.arange(FRAMES) / RATE
    places = _motion(mesh, young(centres(mesh)), times)
    rng = np.random.default_rng(seed)
    seen = np.unique(mesh.surface())
    if side is not None:
        outer = mesh.points @ np.asarray(side)
        seen = seen[outer[seen] > outer.max() - 1e-9]
    chosen = rng.choice(seen, tracks)
    found = places[:, chosen] + noise * rng.normal(size=(FRAMES, tracks, 3))
    for i in np.flatnonzero(rng.random(tracks) < wrong):  # from some frame on another point is followed
        jump = rng.integers(1, FRAMES)
        found[jump:, i] = found[jump:, rng.integers(tracks)]
    moments = np.linspace(0.0, times[-1] + 0.3, 160)
    capture = Capture(
        times,
        tracks=SeenTracks(found),
        handles={"hand": Handle(moments, hand(moments))},
        mesh=block_mesh(cells, order),
        kind="solid",
        known=Known(density=DENSITY, poisson=POISSON),
        fit=np.arange(FRAMES),
        test=np.zeros(0, int),
    )
    nodes, weights = mesh.interpolation(block_mesh(cells, order).points, outside=1e-6)
    return _scene(capture, cells, order, np.einsum("pk,pkd->pd", weights, places[0][nodes]))


def _motion(mesh, young, times):
    builder = ps.ModelBuilder()
    stuff = ps.NeoHookean(young=young, poisson=POISSON, density=DENSITY, viscosity=RELAXATION * young)
    body = builder.add_soft_body(mesh, stuff, name="body")
    held = np.flatnonzero(mesh.points[:, 2] > -1e-9)
    hold = builder.attach(body, held, name="holds")
    model = builder.finalize()
    rest, _ = ps.solve_equilibrium(model)
    steps = 16  # a frame
    moments = np.arange(steps * (len(times) - 1) + 2) / (steps * RATE)
    control = ps.Control(moments, {hold: mesh.points[held] + hand(moments)[:, None]})
    rollout = Rollout(ps.SolverImplicit(model, 1 / (steps * RATE), "bdf2"), rest, model.parameters, control)
    out = [rest.x.numpy()[0].copy()]
    for k in range(steps * (len(times) - 1)):
        after = rollout.advance()
        if (k + 1) % steps == 0:
            out.append(after.x.numpy()[0].copy())
    return np.stack(out)


def _scene(capture, cells, order, pose):
    mesh = block_mesh(cells, order)
    body = SoftBody("solid", mesh, pose, "made")
    held = np.flatnonzero(mesh.points[:, 2] > -1e-9)
    stuff = ps.NeoHookean(young=4e4, poisson=POISSON, density=DENSITY, viscosity=RELAXATION * 4e4)
    scene = TwinScene(capture, body, stuff, holds=[Hold("hand", held, mesh.points[held])], dt=1 / (2 * RATE))
    count = scene.model.particle_count
    start = Start(pose, np.zeros((count, 3)), 0.0, True, np.zeros((0, count, 3)))
    return Made(capture, scene, start)


def two_stuffs(border, first=2e4, second=1e5):
    """Stiffness of two parts, `first` where border(centres) < 0."""
    return lambda x: np.where(border(x) < 0, first, second)


__all__ = ["Made", "centres", "hanging_block", "two_stuffs"]
