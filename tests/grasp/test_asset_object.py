"""An asset stands firmly on the table, whichever way its rest shape lies, and the hand finds a hold on it."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

import physsim as ps
from physsim import InputError, assets
from physsim.appearance.asset import Asset
from physsim.appearance.sources import splats_from_mesh
from physsim.grasp.asset_object import asset_object, lean_before_tipping, resting_turns
from physsim.grasp.command import chosen_object, main
from physsim.grasp.robots import robot_setup
from physsim.physics.mesh import TetMesh
from physsim.robots.grasping import Gripper

STUFF = ps.NeoHookean(young=5e4, poisson=0.3, density=300.0, viscosity=10.0)
BAR = ps.box_mesh((0.09, 0.05, 0.03), (6, 3, 2))


def bar(turn=None, shift=(0.2, -0.1, 0.4)):
    points = BAR.points if turn is None else BAR.points @ turn.T
    return Asset("bar", TetMesh(points + shift, BAR.cells), STUFF)


def test_a_bar_that_stands_stays_as_it_is_over_the_origin():
    thing = asset_object(bar())
    np.testing.assert_allclose(thing.points.min(axis=0), [-0.045, -0.025, 0.0], atol=1e-12)
    np.testing.assert_allclose(thing.points.max(axis=0), [0.045, 0.025, 0.03], atol=1e-12)
    assert len(thing.choose(Gripper())) > 0


def test_a_bar_that_lies_askew_is_stood_on_its_largest_side():
    seed = np.random.default_rng().integers(2**31)
    print(f"seed {seed}")
    for turn in Rotation.random(4, random_state=np.random.RandomState(seed)).as_matrix():
        asset = bar(turn)
        thing = asset_object(asset)
        assert np.ptp(thing.points[:, 2]) == pytest.approx(0.03, abs=1e-4)
        assert np.linalg.norm(thing.points[:, :2].min(axis=0) + thing.points[:, :2].max(axis=0)) < 1e-12
        np.testing.assert_allclose(asset.mesh.points @ thing.turn.T + thing.shift, thing.points, atol=1e-12)
        assert np.linalg.det(thing.turn) == pytest.approx(1.0)


def test_the_lean_before_tipping_is_that_of_a_block():
    """A block of width b whose centre lies h high tips at atan(b / 2h)."""
    middle = BAR.points.mean(axis=0)
    for normal, half, high in (([0, 0, -1], 0.025, 0.015), ([0, -1, 0], 0.015, 0.025), ([-1, 0, 0], 0.015, 0.045)):
        found = lean_before_tipping(BAR.points, middle, np.array(normal, float), 1e-4)
        assert found == pytest.approx(np.arctan2(half, high), rel=1e-9)
    askew = np.array([0.6, 0.0, 0.8])
    assert lean_before_tipping(BAR.points, middle, askew, 1e-4) < 0.0
    assert lean_before_tipping(BAR.points, np.array([1.0, 0.0, 0.0]), np.array([0.0, 0.0, -1.0]), 1e-4) < 0.0


def test_a_solid_of_ten_nodes_and_a_round_one_stand():
    thing = asset_object(Asset("bar", BAR.quadratic(), STUFF))
    assert thing.points[:, 2].min() == 0.0
    plush = Asset.load(assets.folder("plush") / "asset")
    np.testing.assert_allclose(resting_turns(plush.mesh)[0], np.eye(3))  # it sits as it was made to


def test_what_no_hand_holds_is_refused_with_its_size():
    wide = Asset("slab", ps.box_mesh((0.3, 0.3, 0.2), (3, 3, 2)), STUFF)
    with pytest.raises(InputError, match="300, 300, 200 mm, and the fingers open 80 mm"):
        asset_object(wide)
    with pytest.raises(InputError, match="no material"):
        asset_object(replace(bar(), material=None))
    rope = Asset("rope", ps.Curve.straight((0, 0, 0), (1, 0, 0), 8), ps.Rod(young=1e7, radius=0.004, density=1100.0))
    with pytest.raises(InputError, match="Curve cannot be grasped"):
        asset_object(rope)


def test_a_sheet_gets_a_fold_and_keeps_its_lengths():
    cloth = ps.Shell(stretch=2000.0, bending=3e-5, area_density=0.25, thickness=1e-3)
    mesh = ps.sheet_mesh((0.09, 0.16), (15, 27))
    turned = Rotation.from_euler("xyz", [0.4, 0.2, 1.0]).as_matrix()
    thing = asset_object(Asset("cloth", replace(mesh, points=mesh.points @ turned.T), cloth))
    assert thing.is_sheet
    assert np.ptp(thing.points[:, 2]) == pytest.approx(0.024, abs=1e-3)
    assert np.ptp(thing.points[:, 1]) == pytest.approx(0.09, abs=1e-9)
    edges = mesh.edges()
    before, now = (np.linalg.norm(p[edges[:, 1]] - p[edges[:, 0]], axis=1) for p in (mesh.points, thing.points))
    assert (now / before).min() > 0.95 and (now / before).max() < 1 + 1e-6
    with pytest.raises(InputError, match="cell-size"):
        asset_object(Asset("cloth", ps.sheet_mesh((0.3, 0.3), (8, 8)), cloth))
    bent = replace(mesh, points=mesh.points + np.column_stack([0 * mesh.points[:, :2], 5.0 * mesh.points[:, 0] ** 2]))
    with pytest.raises(InputError, match="not flat"):
        asset_object(Asset("cloth", bent, cloth))


def test_the_command_takes_an_assets_folder(tmp_path):
    folder = bar().save(tmp_path / "bar")
    thing = chosen_object(folder, robot_setup("panda"))
    assert thing.name == "bar" and thing.asset is not None
    with pytest.raises(InputError, match=r"asset\.json"):
        chosen_object(tmp_path, robot_setup("panda"))
    with pytest.raises(InputError, match="or the folder of an asset"):
        chosen_object(str(tmp_path / "nothing"), robot_setup("panda"))


@pytest.mark.slow
def test_a_panda_lifts_an_asset_whose_run_keeps_its_look(tmp_path):
    pytest.importorskip("pybullet")
    from physsim.appearance.run import Run

    asset = replace(bar(Rotation.from_euler("x", 90, degrees=True).as_matrix()), splats=splats_from_mesh(BAR, 200, seed=1))
    asset = replace(asset, splats=splats_from_mesh(asset.mesh, 200, seed=1, colours=(0.9, 0.3, 0.1)))
    folder = asset.save(tmp_path / "bar")
    assert main(object_name=folder, out=tmp_path / "out", seconds=0.5, quiet=True) == 0
    run = Run.load(tmp_path / "out" / "run")
    assert len(run.bodies[0].asset.splats) == 200
    np.testing.assert_allclose(run.bodies[0].asset.mesh.points, asset.mesh.points)
