"""What stiffness another engine says that its bodies have: they hang from what holds them, and a converged solution tells the modulus.

An engine's cells may be stiffer than the modulus that they were given: four-node tetrahedra lock. So its own static answer is the truth
that a fit has to meet, not the number in its file.
"""

import numpy as np
from peer_flex import FlexWorld, Thing, still
from scipy.optimize import brentq

from physsim import ModelBuilder, NeoHookean, Shell, TetMesh, TriMesh, box_mesh, sheet_mesh, solve_equilibrium


def static_stiffness(thing: Thing, gravity: tuple[float, float, float], finer: int = 2) -> float:
    """Young's modulus [Pa] with which a converged model hangs as far as the engine's.

    Args:
        thing: a box of tetrahedra or an upright rectangle of triangles, of one stuff, that handles hold.
        gravity: the load, by weight [m/s^2]: along the body it is stretched, across it is bent.
        finer: cells of the converged model along one of the engine's.

    Returns:
        The modulus; the displacement that is compared is the mean over what is held least: all vertices, weighed by mass.
    """
    along = np.asarray(gravity, float) / np.linalg.norm(gravity)
    world = FlexWorld(thing, dict.fromkeys(thing.held, still), 1 / 480, gravity)
    world.settle()
    sag = _mean(thing.masses(), (world.positions - thing.points) @ along)
    guess = thing.young[0]

    def excess(log_young):
        return np.log(_converged_sag(thing, gravity, guess * np.exp(log_young), finer) / sag)

    return guess * float(np.exp(brentq(excess, -1.0, 1.0, xtol=1e-4)))


def _mean(weights, values):
    return float(weights @ values / weights.sum())


def _converged_sag(thing, gravity, young, finer):
    """Mean displacement along gravity [m] of a finer model with ten-node cells, or of a finer sheet."""
    low, size = thing.points.min(axis=0), np.ptp(thing.points, axis=0)
    counts = [finer * (len(np.unique(thing.points[:, k].round(9))) - 1) for k in range(3)]
    builder = ModelBuilder(gravity)
    if thing.solid:
        mesh = box_mesh(size, counts, order=2, origin=low)
        body = builder.add_soft_body(mesh, NeoHookean(young, thing.poisson, thing.density), name="body")
    else:
        flat = sheet_mesh(size[[0, 2]], (counts[0], counts[2]), origin=(low[0], low[2], 0.0))
        mesh = TriMesh(flat.points[:, [0, 2, 1]] + [0.0, low[1], 0.0], flat.triangles)
        body = builder.add_cloth(mesh, Shell(young, thing.thickness, thing.poisson, thing.density), name="body")
    builder.attach(body, np.flatnonzero(_held(thing, mesh)), name="held")
    model = builder.finalize()
    state, _ = solve_equilibrium(model)
    moved = (state.x.numpy().reshape(-1, 3)[: len(mesh.points)] - mesh.points) @ (np.asarray(gravity) / np.linalg.norm(gravity))
    return _mean(_shares(mesh), moved)


def _held(thing, mesh):
    """Points of the mesh within the boxes about what the engine holds."""
    held = np.zeros(len(mesh.points), bool)
    for vertices in thing.held.values():
        low, high = thing.points[vertices].min(axis=0) - 1e-9, thing.points[vertices].max(axis=0) + 1e-9
        held |= ((mesh.points >= low) & (mesh.points <= high)).all(axis=1)
    return held


def _shares(mesh):
    """Volume or area of each point."""
    if isinstance(mesh, TetMesh):
        return np.bincount(mesh.cells.ravel(), np.outer(mesh.volumes(), mesh.node_shares()).ravel(), len(mesh.points))
    return np.bincount(mesh.triangles.ravel(), np.repeat(mesh.areas() / 3, 3), len(mesh.points))
