import numpy as np
import pytest

from physsim import ModelBuilder, NeoHookean, Shell, TriMesh, box_mesh, sheet_mesh, solve_equilibrium
from physsim.twin.smooth import smooth_ways


def sheet():
    flat = sheet_mesh((0.3, 0.3), (8, 8), origin=(-0.15, -0.3, 0.0))
    mesh = TriMesh(flat.points[:, [0, 2, 1]], flat.triangles)
    return mesh, Shell(3e4, 0.3, 1e-3, 300.0), "sheet"


def block():
    return box_mesh((0.05, 0.05, 0.12), (2, 2, 5), origin=(0.0, 0.0, -0.12)), NeoHookean(3e4, 0.3, 1000.0), "solid"


@pytest.mark.parametrize("make", [sheet, block])
def test_the_first_ways_hold_the_stretch_of_what_hangs(make):
    """Against the equilibrium of the material itself."""
    mesh, material, kind = make()
    builder = ModelBuilder((0.0, 0.0, -9.81))
    body = builder.add_cloth(mesh, material) if kind == "sheet" else builder.add_soft_body(mesh, material)
    held = np.flatnonzero(mesh.points[:, 2] > -1e-9)
    builder.attach(body, held)
    state, _ = solve_equilibrium(builder.finalize())
    sag = state.x.numpy().reshape(-1, 3) - mesh.points
    ways = smooth_ways(mesh, kind, mesh.points, held, 6).reshape(6, -1) / np.sqrt(len(sag))
    left = sag.ravel() - ways.T @ (ways @ sag.ravel())
    assert np.linalg.norm(left) < 0.15 * np.linalg.norm(sag)
    assert np.abs(ways.reshape(6, -1, 3)[:, held]).max() == 0.0
    assert ways @ ways.T == pytest.approx(np.eye(6), abs=1e-9)
