"""Runs are recorded in two lines, come back from their folder as they were, and damaged folders are refused."""

import json
import os
import shutil

import numpy as np
import pytest

import physsim as ps
from physsim.appearance.asset import Asset
from physsim.appearance.camera import Camera
from physsim.appearance.run import Run, RunBody, RunLink
from physsim.appearance.sources import splats_from_mesh
from physsim.io.arrays import load_arrays, save_arrays
from physsim.physics.frames import matrices


def scene():
    """A model of every kind of body, and of rigid things that move and stand."""
    builder = ps.ModelBuilder()
    beam = builder.add_soft_body(
        ps.box_mesh((0.1, 0.03, 0.03), (3, 1, 1), origin=(0, 0, 0.5)), ps.NeoHookean(2e5, 0.3, 1000.0), name="beam"
    )
    builder.attach(beam, np.flatnonzero(beam.points[:, 0] == 0.0))
    builder.add_cloth(ps.sheet_mesh((0.2, 0.2), (3, 3)), ps.Shell(stretch=1000.0, bending=2e-5, area_density=0.15), name="cloth")
    builder.add_springs(ps.spring_net((3, 3), (0.2, 0.2)), ps.Spring(100.0), mass=0.1, name="net")
    builder.add_rod(ps.Curve.straight((0, 0, 1), (1, 0, 1), 8), ps.Rod(young=1e7, radius=0.004, density=1100.0), name="cable")
    builder.add_ground(-2.0)
    builder.add_rigid_body(ps.Box((0.1, 0.2, 0.3)), 500.0, position=(1, 1, 1), angular_velocity=(0, 0, 3.0), name="brick")
    builder.add_collider([(ps.Sphere(0.1), (0, 0, 0.2), (1, 0, 0, 0)), (ps.Capsule(0.05, 0.2), (0, 0, 0), (1, 0, 0, 0))], name="post")
    return builder.finalize()


@pytest.fixture(scope="module")
def recorded():
    """(run, its model, the states in it)."""
    model = scene()
    solver = ps.SolverImplicit(model, dt=1 / 60)
    run, states = Run(model), [model.state()]
    run.add(states[0])
    for _ in range(3):
        states.append(solver.step(states[-1])[0])
        run.add(states[-1])
    return run, model, states


@pytest.fixture
def folder(recorded, tmp_path):
    return recorded[0].save(tmp_path / "run")


def test_a_run_holds_what_was_added(recorded):
    run, model, states = recorded
    assert run.times == pytest.approx([s.time for s in states])
    assert [b.name for b in run.bodies] == ["beam", "cloth", "net", "cable"]
    assert [link.name for link in run.links] == ["brick", "post"]
    assert run.ground == pytest.approx(-2.0)
    for i, body in enumerate(run.bodies):
        assert np.array_equal(run.positions(2)[i], states[2].positions[model.bodies[body.name].particles])
    assert np.array_equal(run.bodies[0].held, np.flatnonzero(run.bodies[0].mesh.points[:, 0] == 0.0))
    assert run.bodies[2].masses == pytest.approx(np.full(16, 0.1 / 16))


def test_links_stand_where_the_model_has_them(recorded):
    run, model, states = recorded
    place, rotation = model.bodies["brick"].mesh.pose(states[3].positions[model.bodies["brick"].particles])
    places, turns = run.poses(3)
    assert places[0] == pytest.approx(place, abs=1e-12)
    assert matrices(turns[0]) == pytest.approx(rotation, abs=1e-12)
    assert 2 * np.arctan2(turns[0][3], turns[0][0]) == pytest.approx(3.0 * 3 / 60, rel=0.01)  # it spins at 3 rad/s
    assert np.ptp(run.links[0].points, axis=0) == pytest.approx([0.1, 0.2, 0.3])
    assert run.links[1].points[:, 2].max() == pytest.approx(0.3)  # ball on a capsule of half length 0.15
    assert run.links[1].points[:, 2].min() == pytest.approx(-0.15)


def test_a_run_comes_back_from_its_folder(recorded, folder):
    run, back = recorded[0], Run.load(folder)
    assert np.array_equal(back.times, run.times)
    assert back.ground == run.ground
    assert np.array_equal(back.gravity, run.gravity)
    for a, b in zip(run.bodies, back.bodies, strict=True):
        assert (a.name, a.colour, type(a.mesh), type(a.material)) == (b.name, b.colour, type(b.mesh), type(b.material))
        assert np.array_equal(a.mesh.points, b.mesh.points)
        assert np.array_equal(a.held, b.held)
        assert np.array_equal(a.masses, b.masses)
    for f in range(len(run)):
        for a, b in zip(run.positions(f), back.positions(f), strict=True):
            assert b == pytest.approx(a, abs=1e-7, rel=1e-7)  # single precision
        for a, b in zip(run.poses(f), back.poses(f), strict=True):
            assert b == pytest.approx(a, abs=1e-12)


def test_the_assets_of_bodies_come_back_with_their_splats(recorded, tmp_path):
    _, model, states = recorded
    mesh = model.bodies["cloth"].mesh
    asset = Asset("my cloth", mesh, splats=splats_from_mesh(mesh, 50, colours=(0.2, 0.4, 0.6)))
    run = Run(model, assets={"cloth": asset})
    run.add(states[0])
    back = Run.load(run.save(tmp_path / "run"))
    assert [body.asset is not None for body in back.bodies] == [False, True, False, False]
    assert back.bodies[1].asset.splats.means.numpy() == pytest.approx(asset.splats.means.numpy(), abs=1e-6)
    (tmp_path / "run" / "assets" / "1" / "splats.ply").unlink()
    with pytest.raises(ps.InputError, match=r"splats\.ply is missing"):
        Run.load(tmp_path / "run")
    with pytest.raises(ps.InputError, match="its asset is of another mesh"):
        Run(model, assets={"beam": asset})


def test_the_camera_from_where_it_is_best_seen_comes_back(recorded, tmp_path):
    camera = Camera.look_at((1, -1, 1), (0, 0, 0), angle=33.0)
    run = Run(recorded[1], camera=camera)
    run.add(recorded[2][0])
    assert Run.load(run.save(tmp_path / "run")).camera.to_dict() == camera.to_dict()
    with pytest.raises(ps.InputError, match="camera: a Camera is needed, str"):
        Run(recorded[1], camera="front")


def test_a_trajectory_becomes_a_run():
    model = scene()
    trajectory = ps.simulate(ps.SolverImplicit(model, dt=1 / 60), times=[0.02, 0.05])
    run = Run.of_trajectory(model, trajectory)
    assert run.times == pytest.approx([0.02, 0.05])
    assert run.positions(1)[0] == pytest.approx(trajectory.positions[1].numpy()[model.bodies["beam"].particles])


def test_one_of_several_environments_is_recorded():
    builder = ps.ModelBuilder()
    body = builder.add_soft_body(ps.box_mesh((0.1, 0.1, 0.1), (1, 1, 1)), ps.NeoHookean(1e4, 0.3, 200.0))
    model = builder.finalize(envs=2)
    x = np.stack([model.rest, model.rest + 1.0])
    run = Run(model, env=1, params={body.young: np.array([1e4, 3e4])})
    run.add(model.state(positions=x))
    assert np.array_equal(run.positions(0)[0], model.rest + 1.0)
    assert run.bodies[0].material.young == 3e4


def test_saving_again_replaces_the_run_whole_and_leaves_nothing_beside_it(recorded, folder):
    before = sorted(os.listdir(folder.parent))
    (folder / "stale.txt").write_text("of an older run")
    recorded[0].save(folder)
    assert sorted(os.listdir(folder.parent)) == before == ["run"]
    assert sorted(os.listdir(folder)) == ["run.json", "run.npz"]


def test_a_failed_save_leaves_the_old_run(recorded, folder, monkeypatch):
    content = (folder / "run.npz").read_bytes()
    from physsim.appearance import run_folder

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(run_folder, "save_arrays", full)
    with pytest.raises(ps.InputError, match="No space"):
        recorded[0].save(folder)
    assert (folder / "run.npz").read_bytes() == content
    assert os.listdir(folder.parent) == ["run"]


def test_the_same_run_gives_the_same_bytes(recorded, tmp_path):
    a, b = (recorded[0].save(tmp_path / name) for name in "ab")
    assert all((a / name).read_bytes() == (b / name).read_bytes() for name in ("run.json", "run.npz"))


def test_a_folder_of_something_else_is_not_replaced(recorded, tmp_path):
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "mother.txt").write_text("dear")
    with pytest.raises(ps.InputError, match=r"holds something else \(no run\.json\)"):
        recorded[0].save(tmp_path / "letters")
    assert (tmp_path / "letters" / "mother.txt").read_text() == "dear"
    with pytest.raises(ps.InputError, match="the folder that it is in must be there"):
        recorded[0].save(tmp_path / "no" / "such")
    with pytest.raises(ps.InputError, match="it exists and is no folder"):
        recorded[0].save(tmp_path / "letters" / "mother.txt")


def test_states_that_do_not_fit_are_refused(recorded):
    run, model, states = recorded
    with pytest.raises(ps.InputError, match="in the order of their times"):
        run.add(states[0])
    with pytest.raises(ps.InputError, match="another model"):
        run.add(scene().state())
    with pytest.raises(ps.InputError, match="holds no frame"):
        Run(model).save("nowhere")
    with pytest.raises(ps.InputError, match="no body 'teapot'"):
        Run(model, assets={"teapot": None})
    with pytest.raises(ps.InputError, match="env"):
        Run(model, env=1)


def test_parts_that_do_not_fit_are_refused():
    mesh = ps.box_mesh((1, 1, 1), (1, 1, 1))
    body, link = RunBody("b", mesh), RunLink("l", mesh.points, mesh.surface())
    x = mesh.points[None]
    for arguments, said in [
        (([0.0], [], []), "nothing to look at"),
        (([0.0], [body, body], [x, x]), "2 parts are called 'b'"),
        (([], [body], [x[:0]]), "at least one is needed"),
        (([0.0, 0.0], [body], [np.tile(x, (2, 1, 1))]), "later than the one before"),
        (([0.0], [body], [x[:, :3]]), "positions of 'b': shape"),
        (([0.0], [body], []), "0 arrays for 1 bodies"),
        (([0.0], [body], [x * np.nan]), "NaN"),
        (([0.0], [], [], [link], np.zeros((1, 1, 3)), np.zeros((1, 1, 4))), "a quaternion of zero"),
    ]:
        with pytest.raises(ps.InputError, match=said):
            Run.of_parts(*arguments)
    with pytest.raises(ps.InputError, match="takes no more states"):
        Run.of_parts([0.0], [body], [x]).add(None)
    with pytest.raises(ps.InputError, match="held: index 99"):
        RunBody("b", mesh, held=[99])
    with pytest.raises(ps.InputError, match="l: triangles: index"):
        RunLink("l", mesh.points[:2], mesh.surface())


def rewrite(folder, change):
    facts = json.loads((folder / "run.json").read_text())
    change(facts)
    (folder / "run.json").write_text(json.dumps(facts))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: d.update(format="physsim asset"), "not of format 'physsim run'"),
        (lambda d: d.update(version=99), "version 99; this physsim reads version 1"),
        (lambda d: d["units"].update(length="mm"), "units .*'mm'.* are needed"),
        (lambda d: d.update(bodies={}), "bodies must be a list"),
        (lambda d: d.update(links=[1]), "links must be a list"),
        (lambda d: d["links"][0].update(name="beam"), "2 parts are called 'beam'"),
        (lambda d: d["bodies"].append(d["bodies"][0]), "run.npz lacks 'bodies/4/positions'"),
        (lambda d: d["bodies"][0].update(name=7), "a name of 1 to 200 characters"),
        (lambda d: d["bodies"][0].update(colour="javascript:alert(1)"), "is not like #5b8def"),
        (lambda d: d["bodies"][0].update(mesh={"kind": "voxels"}), "mesh kind 'voxels' is not known"),
        (lambda d: d["bodies"][0].update(material={"kind": "neo_hookean", "young": [1]}), "young = \\[1\\] is no number"),
        (lambda d: d["bodies"][1].update(mesh=d["bodies"][0]["mesh"]), "lacks cells"),
        (lambda d: d.update(ground="low"), "ground = 'low' is no height"),
        (lambda d: d["links"].pop(), "places: shape"),
        (lambda d: d.update(camera={"width": 3}), "missing entries"),
        (lambda d: d.update(camera=7), "camera"),
    ],
)
def test_a_changed_description_is_refused(folder, change, said):
    rewrite(folder, change)
    with pytest.raises(ps.InputError, match=said) as told:
        Run.load(folder)
    assert str(folder) in str(told.value)


def test_damaged_files_are_refused(folder, tmp_path):
    arrays = load_arrays(folder / "run.npz", kind="run")

    def damaged(**changes):
        save_arrays(folder / "run.npz", "run", {k: v for k, v in (arrays | changes).items() if v is not None})

    for changes, said in [
        ({"times": None}, "lacks 'times'"),
        ({"times": arrays["times"][::-1]}, "later than the one before"),
        ({"bodies/0/positions": arrays["bodies/0/positions"][:, :-1]}, "positions of 'beam': shape"),
        ({"bodies/0/mesh/cells": arrays["bodies/0/mesh/cells"] + 1000}, "index"),
        ({"links/0/triangles": arrays["links/0/triangles"] - 5}, "brick: triangles: index"),
        ({"turns": 0 * arrays["turns"]}, "a quaternion of zero"),
    ]:
        damaged(**changes)
        with pytest.raises(ps.InputError, match=said):
            Run.load(folder)
    whole = (folder / "run.npz").read_bytes()
    (folder / "run.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ps.InputError, match="cut short"):
        Run.load(folder)
    save_arrays(folder / "run.npz", "state", arrays)
    with pytest.raises(ps.InputError, match="holds 'state'"):
        Run.load(folder)
    (folder / "run.npz").unlink()
    with pytest.raises(ps.InputError, match=r"run\.npz is missing"):
        Run.load(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 100_000, '{"format": "physsim run"}', "\x00\x01", "NaN"])
def test_a_description_that_is_no_json_is_refused(folder, text):
    (folder / "run.json").write_text(text)
    with pytest.raises(ps.InputError, match=r"run\.json"):
        Run.load(folder)


def test_a_pickle_in_the_arrays_is_not_opened(folder, tmp_path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "sprung"),)

    arrays = dict(load_arrays(folder / "run.npz", kind="run"))
    arrays["times"] = np.array([Trap()], dtype=object)
    np.savez(folder / "run.npz", **{"physsim kind": np.array("run")}, **arrays)
    with pytest.raises(ps.InputError, match="holds Python objects"):
        Run.load(folder)
    assert not (tmp_path / "sprung").exists()


def test_what_is_no_run_folder_is_refused(tmp_path):
    with pytest.raises(ps.InputError, match="no such folder"):
        Run.load(tmp_path / "nothing")
    with pytest.raises(ps.InputError, match=r"run\.json is missing"):
        Run.load(tmp_path)
    with pytest.raises(ps.InputError, match="name of a folder"):
        Run.load(7)


def test_a_link_that_leaves_the_folder_is_not_followed(folder, tmp_path):
    (folder / "run.npz").rename(tmp_path / "elsewhere.npz")
    (folder / "run.npz").symlink_to(tmp_path / "elsewhere.npz")
    with pytest.raises(ps.InputError, match="leaves the folder"):
        Run.load(folder)


def test_a_copy_elsewhere_reads_the_same(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "moved")
    assert len(Run.load(tmp_path / "moved")) == 4
