"""Assets come back whole from their folders, or not at all."""

import json
import os
import struct
import zipfile
from dataclasses import fields

import numpy as np
import pytest
import torch

import physsim as ps
from physsim.appearance.asset import Asset
from physsim.appearance.sources import splats_from_mesh
from physsim.errors import InputError

BOX = ps.box_mesh((0.1, 0.05, 0.05), (2, 1, 1))
NET = ps.spring_net((3, 2), (0.3, 0.2))
KINDS = {
    "solid": (BOX, ps.NeoHookean(young=1e4, poisson=0.3, density=np.linspace(100.0, 200.0, len(BOX.cells)))),
    "solid of ten nodes": (BOX.quadratic(), ps.NeoHookean(young=1e4, viscosity=3.0)),
    "sheet": (ps.sheet_mesh((0.2, 0.1), (3, 2)), ps.Shell(stretch=(100.0, 50.0), bending=1e-5, area_density=0.2)),
    "net": (NET, ps.Spring(stiffness=50.0, damping=0.1)),
    "rod": (ps.Curve.straight((0, 0, 0), (0.5, 0, 0), 6), ps.Rod(young=1e7, radius=0.004, density=1100.0)),
}


def asset_of(kind, look=True):
    mesh, material = KINDS[kind]
    splats = network = None
    if look:
        near = mesh if hasattr(mesh, "cells") or hasattr(mesh, "triangles") else ps.sheet_mesh((0.2, 0.01), (2, 2))
        splats = splats_from_mesh(near, 60, colours=[0.8, 0.2, 0.1], degree=1)
        splats = splats.replace(latents=torch.randn(60, 4), labels=torch.arange(60, dtype=torch.int32) % 2)
        network = {"weight0": np.random.default_rng(0).normal(size=(8, 13)).astype(np.float32), "bias0": np.zeros(8)}
    return Asset(f"my {kind}", mesh, material, splats, network, mass=0.01 if kind == "net" else None)


def same(a, b):
    """Whether two values, or all fields of two dataclasses, are equal."""
    if hasattr(a, "__dataclass_fields__"):
        return type(a) is type(b) and all(same(getattr(a, f.name), getattr(b, f.name)) for f in fields(a))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if torch.is_tensor(a):
        return torch.allclose(a, b, atol=1e-6, rtol=1e-6)
    return a is b or np.array_equal(a, b)


@pytest.mark.parametrize("look", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_an_asset_comes_back_as_it_went(kind, look, tmp_path):
    asset = asset_of(kind, look)
    back = Asset.load(asset.save(tmp_path / "a"))
    assert all(same(getattr(asset, f.name), getattr(back, f.name)) for f in fields(Asset))
    assert back.network is None or back.network["weight0"].dtype == np.float32


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_same_asset_gives_the_same_bytes_and_leaves_nothing_beside(tmp_path):
    asset = asset_of("solid")
    asset.save(tmp_path / "a")
    first = contents(tmp_path / "a")
    assert set(first) == {"asset.json", "mesh.npz", "splats.ply", "network.npz"}
    Asset.load(tmp_path / "a").save(tmp_path / "b")
    asset.save(tmp_path / "a")  # over the old one
    assert contents(tmp_path / "a") == first
    assert contents(tmp_path / "b").keys() == first.keys()
    assert contents(tmp_path / "b")["mesh.npz"] == first["mesh.npz"]
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]
    mask = os.umask(0)
    os.umask(mask)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o777 & ~mask


def test_parts_that_an_asset_no_longer_has_do_not_stay_behind(tmp_path):
    asset_of("solid").save(tmp_path / "a")
    asset_of("solid", look=False).save(tmp_path / "a")
    assert set(contents(tmp_path / "a")) == {"asset.json", "mesh.npz"}


def test_a_save_that_fails_leaves_the_old_asset(tmp_path, monkeypatch):
    asset = asset_of("solid")
    asset.save(tmp_path / "a")
    before = contents(tmp_path / "a")
    monkeypatch.setattr(json, "dumps", lambda *a, **k: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        asset.save(tmp_path / "a")
    assert contents(tmp_path / "a") == before
    assert os.listdir(tmp_path) == ["a"]


def test_a_folder_of_something_else_is_not_replaced(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    (tmp_path / "note").write_text("x")
    for name, said in (("thesis", "something else"), ("note", "is no folder"), ("nowhere/a", "cannot be written")):
        with pytest.raises(InputError, match=said):
            asset_of("solid").save(tmp_path / name)
    assert (tmp_path / "thesis" / "chapter.txt").read_text() == "years of work"


@pytest.mark.parametrize("kind", KINDS)
def test_an_asset_is_simulated_and_its_splats_follow(kind):
    asset = asset_of(kind)
    builder = ps.ModelBuilder()
    body = asset.add_to(builder)
    assert body.name == asset.name
    model = builder.finalize()
    solver = ps.SolverImplicit(model, dt=0.01)
    run = ps.simulate(solver, times=[0.1])
    posed = asset.bind(body, outside=0.5).pose(run.positions[0])
    fallen = posed.means[:, 2] - asset.splats.means[:, 2]
    np.testing.assert_allclose(fallen, -0.5 * 9.81 * 0.1**2, rtol=0.1)  # nothing holds it
    sizes = torch.linalg.svdvals(asset.bind(outside=0.5).pose(torch.as_tensor(asset.mesh.points)).factors)
    np.testing.assert_allclose(torch.linalg.svdvals(posed.factors), sizes, rtol=1e-3)  # a rod may spin as it falls


def test_what_an_asset_cannot_do_without_is_said():
    builder = ps.ModelBuilder()
    with pytest.raises(InputError, match="has no material"):
        Asset("a", BOX).add_to(builder)
    with pytest.raises(InputError, match="mass of its particles"):
        Asset("a", NET, ps.Spring(stiffness=1.0)).add_to(builder)
    with pytest.raises(InputError, match="has no splats"):
        Asset("a", BOX).bind()
    other = builder.add_soft_body(ps.box_mesh((1, 1, 1), (1, 1, 1)), ps.NeoHookean(young=1e4))
    with pytest.raises(InputError, match="another mesh"):
        asset_of("solid").bind(other)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": ""}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": 5}, "name"),
        ({"mesh": "mesh"}, "mesh"),
        ({"material": ps.Spring(stiffness=1.0)}, "NeoHookean is needed"),
        ({"splats": 5}, "Splats is needed"),
        ({"splats": asset_of("solid").splats.select([])}, "there is none among them"),
        ({"network": {}}, "a dict from names"),
        ({"network": {"file": np.zeros(2)}}, "cannot name an array"),
        ({"network": {"../a": np.zeros(2)}}, "cannot name an array"),
        ({"network": {"a": [np.nan]}}, "NaN"),
        ({"mass": 1.0}, "only a SpringNet"),
    ],
)
def test_parts_that_do_not_fit_are_refused(change, said):
    with pytest.raises(InputError, match=said):
        Asset(**({"name": "a", "mesh": BOX} | change))


def rewritten(change):
    """A change of asset.json as one of its folder."""

    def apply(folder):
        facts = json.loads((folder / "asset.json").read_text())
        change(facts)
        (folder / "asset.json").write_text(json.dumps(facts))

    return apply


def other_mesh(folder):
    Asset("b", ps.box_mesh((1, 1, 1), (1, 1, 1))).save(folder.parent / "other")
    os.replace(folder.parent / "other" / "mesh.npz", folder / "mesh.npz")


def other_splats(folder):
    splats_from_mesh(BOX, 61).save(folder / "splats.ply")


def linked(folder):
    os.replace(folder / "splats.ply", folder.parent / "elsewhere.ply")
    (folder / "splats.ply").symlink_to(folder.parent / "elsewhere.ply")


def pickled(folder):
    np.savez(folder / "network.npz", **{"physsim kind": np.array("asset network"), "weight0": np.array([{}], dtype=object)})


def absurd_array(folder):
    """An npz whose array says that it has 10^15 entries."""
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000000,), }"
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    with zipfile.ZipFile(folder / "network.npz", "w") as archive:
        archive.writestr("weight0.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header)


def text_in_archive(folder):
    with zipfile.ZipFile(folder / "network.npz", "a") as archive:
        archive.writestr("hello.txt", "hello")


def damaged_stream(folder):
    with zipfile.ZipFile(folder / "network.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("weight0.npy", bytes(100_000))
    content = bytearray((folder / "network.npz").read_bytes())
    content[45:60] = b"\xff" * 15
    (folder / "network.npz").write_bytes(content)


FOLDERS = {
    "no asset.json": (lambda f: (f / "asset.json").unlink(), "asset.json is missing"),
    "no mesh": (lambda f: (f / "mesh.npz").unlink(), "mesh.npz is missing"),
    "no splats": (lambda f: (f / "splats.ply").unlink(), "splats.ply is missing"),
    "no network": (lambda f: (f / "network.npz").unlink(), "network.npz is missing"),
    "an empty asset.json": (lambda f: (f / "asset.json").write_text(""), "empty"),
    "no JSON": (lambda f: (f / "asset.json").write_text("{"), "not JSON"),
    "JSON without end": (lambda f: (f / "asset.json").write_text("[" * 100_000), "not JSON"),
    "a list": (lambda f: (f / "asset.json").write_text("[]"), "not of format"),
    "another format": (rewritten(lambda d: d.update(format="physsim run")), "not of format 'physsim asset'"),
    "a later version": (rewritten(lambda d: d.update(version=2)), "version 2; this physsim reads version 1"),
    "other units": (rewritten(lambda d: d["units"].update(length="mm")), "units"),
    "a mesh of another kind": (rewritten(lambda d: d["mesh"].update(kind="voxels")), "'voxels' is not known"),
    "a mesh without a kind": (rewritten(lambda d: d.update(mesh=3)), "not known"),
    "another asset's mesh": (other_mesh, "is the file of another asset"),
    "another asset's splats": (other_splats, "splats.ply: holds .*is the file of another asset"),
    "splats in place of the mesh": (lambda f: (f / "mesh.npz").write_bytes((f / "splats.ply").read_bytes()), "mesh.npz"),
    "the network in place of the mesh": (
        lambda f: (f / "mesh.npz").write_bytes((f / "network.npz").read_bytes()),
        "'asset mesh' is needed",
    ),
    "a link out of the folder": (linked, "a link that leaves the folder"),
    "a pickle": (pickled, "network.npz"),
    "an absurd array": (absurd_array, "network.npz"),
    "text in the archive": (text_in_archive, "network.npz"),
    "a damaged stream": (damaged_stream, "network.npz"),
    "an unknown material": (rewritten(lambda d: d["material"].update(kind="jelly")), "'jelly' is not known"),
    "a material out of range": (rewritten(lambda d: d["material"].update(young=-1.0)), "young"),
    "a material of another mesh": (rewritten(lambda d: d.update(material={"kind": "spring", "stiffness": 1.0})), "NeoHookean|no 'density'"),
    "a name of a number": (rewritten(lambda d: d.update(name=5)), "name"),
    "counts that differ": (rewritten(lambda d: d["splats"].update(count=10**9)), "is the file of another asset"),
}


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_that_is_not_whole_is_refused(name, tmp_path):
    damage, said = FOLDERS[name]
    asset_of("solid").save(tmp_path / "a")
    damage(tmp_path / "a")
    with pytest.raises(InputError, match=said):
        Asset.load(tmp_path / "a")


def test_cut_off_files_are_refused(tmp_path):
    folder = asset_of("solid").save(tmp_path / "a")
    for name, whole in contents(folder).items():
        for share in (0.0, 0.1, 0.5, 0.9, 0.99):
            (folder / name).write_bytes(whole[: int(share * len(whole))])
            with pytest.raises(InputError, match=name.split(".")[0]):
                Asset.load(folder)
        (folder / name).write_bytes(whole)
    assert Asset.load(folder).name == "my solid"


def test_what_is_no_folder_is_refused(tmp_path):
    for path in (tmp_path / "nothing", tmp_path, 5):
        with pytest.raises(InputError):
            Asset.load(path)
