"""The fit that an asset came from is saved beside it and comes back whole, or not at all."""

import json
import math
import pickle
import zipfile
from dataclasses import fields, replace

import numpy as np
import pytest

import physsim as ps
from physsim.appearance.asset import Asset
from physsim.errors import InputError
from physsim.twin.results import Stage, TwinFit
from physsim.twin.twin_file import Twin, twin_of, versions, with_twin

BOX = ps.box_mesh((0.1, 0.05, 0.05), (2, 1, 1))
STUFF = ps.NeoHookean(young=1e4, poisson=0.3, density=np.linspace(100.0, 200.0, len(BOX.cells)))


def a_fit(n=None):
    n = n or len(BOX.points)
    rng = np.random.default_rng(3)
    return TwinFit(
        values={"young": 2.1e4, "hold_stiffness": np.float64(3.0)},
        units={"young": "Pa", "hold_stiffness": "N/m"},
        intervals={"young": (1.9e4, 2.3e4), "hold_stiffness": (0.0, math.inf)},
        undetermined={"hold_stiffness": "the handle never pulls"},
        level=0.95,
        settings={"body.young": np.full((1, len(BOX.cells)), 2.1e4), "gravity": np.array([[0.0, 0.0, -9.81]])},
        start=(rng.normal(size=(n, 3)), rng.normal(size=(n, 3))),
        start_time=0.5,
        time_offset=-0.01,
        camera_pose=(np.eye(3), np.array([0.0, 0.01, 0.0])),
        noise={"tracks": 0.002},
        history=[("first fit", 0.2, 31.0), ("whole fit", 1.0, math.nan)],
        field={"young": rng.uniform(1e4, 2e4, len(BOX.cells))},
        parts=np.arange(len(BOX.cells)) % 2,
        statement="it fits",
        stages=[Stage("read", 0.1, 0.1, 120.0)],
        spread={"young": [2.0e4, 2.2e4]},
        converged=True,
    )


def a_twin(**changed):
    holds = {"left": {"points": np.array([0, 1]), "local": np.zeros((2, 3)), "begin": -math.inf, "end": 2.0}}
    told = {"name": "box", "source": "MuJoCo", "fingerprint": "ab12", "frames": 60}
    given = {"fit": a_fit(), "kind": "solid", "pose": BOX.points + 0.1, "material": STUFF, "dt": 1 / 120}
    given |= {"source": "given mesh", "remarks": ["none"], "holds": holds, "scene": {"contact": True}, "capture": told}
    return Twin(**given | changed)


def same(a, b):
    if hasattr(a, "__dataclass_fields__"):
        return type(a) is type(b) and all(same(getattr(a, f.name), getattr(b, f.name)) for f in fields(a))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float) and math.isnan(a):
        return math.isnan(b)
    return np.array_equal(a, b)


@pytest.fixture
def saved(tmp_path):
    return with_twin(Asset("box", BOX, STUFF), a_twin()).save(tmp_path / "a")


def test_a_twin_comes_back_to_the_last_digit(saved):
    back = twin_of(Asset.load(saved))
    assert same(a_twin(), back)
    assert {path.name for path in saved.iterdir()} == {"asset.json", "mesh.npz", "twin.json", "twin.npz"}


def test_a_twin_with_a_residual_and_of_a_sheet_comes_back(tmp_path):
    sheet = ps.sheet_mesh((0.2, 0.1), (3, 2))
    stuff = ps.Shell(stretch=(100.0, 50.0), bending=1e-5, area_density=0.2)
    twin = a_twin(fit=a_fit(len(sheet.points) + 4), kind="sheet", pose=sheet.points, material=stuff, residual={"weights": np.ones(3)})
    assert same(twin, twin_of(Asset.load(with_twin(Asset("cloth", sheet, stuff), twin).save(tmp_path / "a"))))


def test_an_asset_keeps_its_twin_when_its_look_changes_and_is_saved_elsewhere(saved, tmp_path):
    asset = Asset.load(saved)
    again = replace(asset, name="painted").save(tmp_path / "b")
    assert same(twin_of(Asset.load(again)), a_twin())


def test_an_asset_without_a_fit_says_who_makes_one(tmp_path):
    asset = Asset.load(Asset("box", BOX, STUFF).save(tmp_path / "a"))
    assert asset.twin is None
    with pytest.raises(InputError, match="physsim fit"):
        twin_of(asset)
    assert with_twin(with_twin(asset, a_twin()), None).twin is None


def test_the_same_twin_gives_the_same_bytes(saved, tmp_path):
    other = with_twin(Asset("box", BOX, STUFF), a_twin()).save(tmp_path / "b")
    assert all((saved / name).read_bytes() == (other / name).read_bytes() for name in ("asset.json", "twin.json", "twin.npz"))


def test_versions_say_what_computed_it():
    assert versions()["physsim"] == ps.__version__ and set(versions()) >= {"warp-lang", "numpy", "scipy", "torch", "python"}


@pytest.mark.parametrize(
    ("field", "value", "word"),
    [
        ("kind", "liquid", "solid"),
        ("pose", np.full((len(BOX.points), 3), np.nan), "NaN"),
        ("pose", np.zeros((100, 3)), "particles"),
        ("dt", 0.0, "dt"),
        ("dt", math.inf, "dt"),
        ("holds", [], "holds"),
        ("holds", {"left": {}}, "points, local"),
        ("holds", {"left": {"points": np.array([99]), "local": np.zeros((1, 3)), "begin": 0.0, "end": 1.0}}, "out of range"),
        ("holds", {"left": {"points": np.array([0]), "local": np.zeros((2, 3)), "begin": 0.0, "end": 1.0}}, "local"),
        ("holds", {"left": {"points": np.array([0]), "local": np.zeros((1, 3)), "begin": "now", "end": 1.0}}, "times"),
        ("residual", 3, "residual"),
    ],
)
def test_twins_of_other_things_are_refused(field, value, word):
    with pytest.raises(InputError, match=word):
        a_twin(**{field: value})


@pytest.mark.parametrize(
    ("field", "value", "word"),
    [
        ("values", {"young": "1e4"}, "values"),
        ("values", [1.0], "values"),
        ("intervals", {"young": (1.0,)}, "intervals"),
        ("intervals", {"young": ("a", "b")}, "intervals"),
        ("undetermined", {"young": 3}, "undetermined"),
        ("settings", {"body.young": 3.0}, "settings"),
        ("start", (np.zeros((12, 3)), np.zeros((11, 3))), "velocities"),
        ("start", (np.zeros((4, 3)), np.zeros((4, 3))), "particles"),
        ("start", 3, "start"),
        ("level", 95, "level"),
        ("camera_pose", (2 * np.eye(3), np.zeros(3)), "rotation"),
        ("history", [("a", 1.0)], "history"),
        ("parts", np.array([-1]), "parts"),
        ("converged", "yes", "converged"),
    ],
)
def test_fits_whose_parts_are_something_else_are_refused(field, value, word):
    with pytest.raises(InputError, match=word):
        a_twin(fit=replace(a_fit(), **{field: value}))


def test_values_that_are_not_finite_are_not_written():
    fit = replace(a_fit(), field={"young": np.array([np.nan])})
    with pytest.raises(InputError, match="NaN"):
        with_twin(Asset("box", BOX, STUFF), a_twin(fit=fit))


def test_a_twin_of_another_mesh_is_refused():
    with pytest.raises(InputError, match="points"):
        with_twin(Asset("box", ps.box_mesh((0.1, 0.1, 0.1), (1, 1, 1)), ps.NeoHookean(young=1e4)), a_twin())


def change_json(folder, change):
    path = folder / "twin.json"
    told = json.loads(path.read_text())
    change(told)
    path.write_text(json.dumps(told))


def inner(told):
    return told["twin"]["dict"]


DAMAGES = {
    "another format": lambda t: t.update(format="physsim asset"),
    "another version": lambda t: t.update(version=2),
    "other units": lambda t: t.update(units={"length": "mm"}),
    "no twin": lambda t: t.pop("twin"),
    "a list": lambda t: t.update(twin=[]),
    "a fit missing": lambda t: inner(t).pop("fit"),
    "an unknown part": lambda t: inner(t).update(code="import os"),
    "fit of text": lambda t: inner(t).update(fit="x"),
    "fit with an unknown part": lambda t: inner(t)["fit"]["dict"].update(code="x"),
    "values missing": lambda t: inner(t)["fit"]["dict"].pop("values"),
    "an array that is not there": lambda t: inner(t).update(pose={"array": "nothing"}),
    "an array of objects": lambda t: inner(t)["pose"].update(of="object"),
    "stages of text": lambda t: inner(t)["fit"]["dict"].update(stages="x"),
    "stages with unknown parts": lambda t: inner(t)["fit"]["dict"].update(stages=[{"dict": {"code": 1}}]),
    "an unknown material": lambda t: inner(t)["material"]["dict"]["facts"]["dict"].update(kind="os.system"),
    "a material of text": lambda t: inner(t).update(material="x"),
    "a negative modulus": lambda t: inner(t)["material"]["dict"]["facts"]["dict"].update(young=-1.0),
    "a step of zero": lambda t: inner(t).update(dt=0.0),
    "a number that overflows": lambda t: inner(t).update(dt=10**400),
    "a text for a number": lambda t: inner(t).update(dt="fast"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_twin_is_refused_in_one_line(damage, saved):
    change_json(saved, DAMAGES[damage])
    with pytest.raises(InputError, match=r"twin|material|Twin") as told:
        twin_of(Asset.load(saved))
    assert "\n" not in str(told.value) and len(str(told.value)) < 600


def test_files_cut_short_missing_or_of_another_asset_are_refused(saved, tmp_path):
    content = (saved / "twin.npz").read_bytes()
    (saved / "twin.npz").write_bytes(content[:200])
    with pytest.raises(InputError, match=r"twin\.npz"):
        Asset.load(saved)
    (saved / "twin.npz").unlink()
    with pytest.raises(InputError, match=r"twin\.npz is missing"):
        Asset.load(saved)
    other = a_twin(fit=replace(a_fit(), settings={}))
    elsewhere = with_twin(Asset("box", BOX, STUFF), other).save(tmp_path / "b")
    (saved / "twin.npz").write_bytes((elsewhere / "twin.npz").read_bytes())
    with pytest.raises(InputError, match="another asset"):
        Asset.load(saved)
    (saved / "twin.npz").write_bytes(content)
    (saved / "twin.json").unlink()
    with pytest.raises(InputError, match=r"twin\.json is missing"):
        Asset.load(saved)


def test_a_pickle_among_the_arrays_is_not_run(saved, tmp_path):
    trap = tmp_path / "trapped"

    class Trap:
        def __reduce__(self):
            return (open, (str(trap), "w"))

    inside = {}
    with zipfile.ZipFile(saved / "twin.npz") as archive:
        inside = {name: archive.read(name) for name in archive.namelist()}
    header = b"\x93NUMPY\x01\x00v\x00" + b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }".ljust(117) + b"\n"
    inside["pose.npy"] = header + pickle.dumps(np.array([Trap()], dtype=object))
    with zipfile.ZipFile(saved / "twin.npz", "w") as archive:
        for name, value in inside.items():
            archive.writestr(name, value)
    with pytest.raises(InputError):
        Asset.load(saved)
    assert not trap.exists()


def test_links_that_leave_the_folder_are_refused(saved, tmp_path):
    (saved / "twin.json").rename(tmp_path / "twin.json")
    (saved / "twin.json").symlink_to(tmp_path / "twin.json")
    with pytest.raises(InputError, match="leaves the folder"):
        Asset.load(saved)
