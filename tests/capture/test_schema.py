"""The shipped JSON schema takes what the writer writes and refuses what is malformed, as the checker does."""

import json
from importlib.resources import files

import jsonschema
import numpy as np
import pytest

from physsim.capture.capture import Capture
from physsim.capture.check import check_capture
from physsim.capture.entries import KEYS
from physsim.capture.layout import is_name

SCHEMA = json.loads(files("physsim.capture").joinpath("capture.schema.json").read_text(encoding="utf-8"))


def refusals(facts):
    """What the schema says against an object."""
    return list(jsonschema.Draft202012Validator(SCHEMA).iter_errors(facts))


def test_the_schema_is_one_and_names_the_keys_that_the_reader_knows():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    properties = SCHEMA["properties"]
    assert set(properties) == set(KEYS["capture"])
    assert set(SCHEMA["$defs"]["camera"]["properties"]) == set(KEYS["camera"])
    for key in ("known", "robot"):
        assert set(properties[key]["properties"]) == set(KEYS[key])
    assert set(properties["handles"]["additionalProperties"]["properties"]) == set(KEYS["handle"])
    assert set(properties["mesh"]["oneOf"][1]["properties"]) == set(KEYS["mesh"])
    assert set(properties["robot"]["properties"]["base"]["properties"]) == set(KEYS["base"])
    assert set(properties["robot"]["properties"]["links"]["additionalProperties"]["oneOf"][1]["properties"]) == set(KEYS["link"])


def test_the_schema_takes_what_the_writer_writes(folder, ball, tmp_path):
    assert refusals(json.loads((folder / "capture.json").read_text())) == []
    ball.depth["front"][2] = None
    ball.save(tmp_path / "missing")
    Capture(times=ball.times, points=ball.points).save(tmp_path / "points")
    for name in ("missing", "points"):
        assert refusals(json.loads((tmp_path / name / "capture.json").read_text())) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda f: f.pop("format"),
        lambda f: f.update(format="another"),
        lambda f: f.update(version=2),
        lambda f: f.update(version="1"),
        lambda f: f.pop("units"),
        lambda f: f["units"].update(length="mm"),
        lambda f: f.pop("times"),
        lambda f: f.update(times=[]),
        lambda f: f.update(times=["0"]),
        lambda f: f.update(times={"rate": 30}),
        lambda f: f.update(times={"rate": -1, "count": 6}),
        lambda f: f.update(gravity=[0, 0]),
        lambda f: f.update(kind="cloth"),
        lambda f: f.update(name=3),
        lambda f: f.update(cameras=[]),
        lambda f: f["cameras"].update({"../x": f["cameras"]["front"]}),
        lambda f: f["cameras"]["front"].pop("fx"),
        lambda f: f["cameras"]["front"].update(width=0),
        lambda f: f["cameras"]["front"].update(width=12.5),
        lambda f: f["cameras"]["front"].update(rotation=[[1, 0, 0], [0, 1, 0]]),
        lambda f: f["cameras"]["front"].update(translation="origin"),
        lambda f: f["cameras"]["front"].update(distortion=[0.1, 0.2]),
        lambda f: f["known"].update(mass=0),
        lambda f: f["known"].update(poisson=0.5),
        lambda f: f["known"].update(ground={"point": [0, 0, 0]}),
        lambda f: f["known"].update(weights=[[0, 0, 0, -1]]),
        lambda f: f.update(fit=[0, 4]),
        lambda f: f.update(fit=[]),
        lambda f: f.update(test=[[-1, 3]]),
        lambda f: f.update(test=[[1, 2, 3]]),
        lambda f: f["noise"].update(depth=0),
        lambda f: f["handles"]["hand"].update(radius=-1),
        lambda f: f["handles"]["hand"].update(places=[[0, 0]]),
        lambda f: f.update(robot={"links": {}}),
        lambda f: f.update(robot={"links": {"grip": {"point": [0, 0, 0]}}}),
        lambda f: f["mesh"].update(kind="voxels"),
        lambda f: f["mesh"].update(file="../mesh.npz"),
        lambda f: f["mesh"].update(file="/mesh.npz"),
        lambda f: f.update(missing={"points": ["3"]}),
    ],
)
def test_the_schema_and_the_checker_refuse_the_same_malformed_examples(folder, edit, change):
    edit(change)
    assert refusals(json.loads((folder / "capture.json").read_text()))
    assert any(p.severity == "error" for p in check_capture(folder))


def test_whole_numbers_may_have_a_point(folder, edit):
    edit(lambda f: (f["cameras"]["front"].update(width=40.0), f.update(version=1.0, test=[[4.0, 6.0]])))
    assert refusals(json.loads((folder / "capture.json").read_text())) == []
    assert check_capture(folder) == []


def test_schema_and_reader_take_the_same_names(rng):
    letters = list("ab Z9_.-+/\\é\n\t:") + ["名"]
    pattern = {"$schema": SCHEMA["$schema"], "$defs": SCHEMA["$defs"], "$ref": "#/$defs/name"}
    judge = jsonschema.Draft202012Validator(pattern)
    for _ in range(2000):
        name = "".join(rng.choice(letters, rng.integers(0, 5)))
        assert judge.is_valid(name) == is_name(name), repr(name)
    assert judge.is_valid("x" * 64) and not judge.is_valid("x" * 65)
    assert np.all([is_name("x" * 64), not is_name("x" * 65)])
