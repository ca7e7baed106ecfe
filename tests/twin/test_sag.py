"""Rest shapes of bodies that were seen sagging."""

import numpy as np
import pytest

import physsim as ps
from physsim.twin.body import SoftBody
from physsim.twin.sag import unsagged
from physsim.twin.scene import TwinScene

BEAM = ps.box_mesh((0.2, 0.04, 0.04), (10, 2, 2))
RUBBER = ps.NeoHookean(young=1e5, poisson=0.3, density=1000.0)


def scene_of(mesh, pose, stuff):
    times = np.arange(10) / 30
    capture = ps.Capture(
        times=times,
        tracks=ps.SeenTracks(np.zeros((10, 1, 3))),
        handles={"clamp": ps.Handle(times[:1], np.array([[0.0, 0.02, 0.02]]), radius=0.03)},
    )
    return TwinScene(capture, SoftBody("solid", mesh, pose), stuff)


def test_the_rest_shape_of_a_sagging_beam_is_the_straight_beam():
    straight = scene_of(BEAM, None, RUBBER)
    state, _ = straight.static().solve(straight.state(), straight.control)
    sagged = state.positions[: len(BEAM.points)]
    sag = np.linalg.norm(sagged - BEAM.points, axis=1).max()
    assert sag > 0.02
    # seen sagging, taken for stress-free at first, with another stiffness to begin with
    scene = scene_of(ps.TetMesh(sagged, BEAM.cells), None, ps.NeoHookean(young=3e5, poisson=0.3, density=1000.0))
    body, left = unsagged(scene, {"young": 1e5})
    assert left < 1e-3 * 0.2
    assert np.linalg.norm(body.points - BEAM.points, axis=1).max() < 0.02 * sag
    assert np.array_equal(body.pose, sagged)


def test_only_held_solids_have_a_rest_shape_to_find():
    sheet = ps.sheet_mesh((0.2, 0.2), (4, 4))
    capture = ps.Capture(times=[0.0], tracks=ps.SeenTracks(np.zeros((1, 1, 3))))
    with pytest.raises(ps.InputError, match="a solid is needed"):
        unsagged(TwinScene(capture, SoftBody("sheet", sheet)))
    with pytest.raises(ps.InputError, match="nothing holds"):
        unsagged(TwinScene(capture, SoftBody("solid", BEAM)))
