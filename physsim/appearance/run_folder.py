"""Runs on disk: one folder of JSON, npz and, where a body has one, its Asset's own folder; never a pickle.

run.json        what the run holds, in words and numbers
run.npz         times [s], positions [m] (single precision), poses, meshes
assets/0 ...    Assets of bodies, by the number of the body
"""

import json
from pathlib import Path

import numpy as np

from physsim.appearance.camera import Camera
from physsim.appearance.run import Run, RunBody, RunLink
from physsim.errors import InputError
from physsim.io.arrays import arrays_under, load_arrays, save_arrays
from physsim.io.folders import UNITS, file_of, read_facts, replaced_folder
from physsim.physics.archive import pack_material, pack_mesh, unpack_material, unpack_mesh

FORMAT, VERSION = "physsim run", 1
MAX_PARTS = 10_000  # bodies and links that a folder may name
NAME = "run.json"


def is_run(path):
    """Whether a folder says that it holds a run."""
    return (Path(path) / NAME).is_file()


def save_run(run, path):
    """Write a Run to a folder and return its path; see `Run.save`."""
    if len(run) == 0:
        raise InputError("run: it holds no frame; add(state) takes one down")
    with replaced_folder(path, NAME) as folder:
        _write(run, folder)
    return Path(path)


def _write(run, folder):
    times = run.times
    arrays = {"times": times, "gravity": run.gravity}
    arrays["places"] = np.array([run.poses(i)[0] for i in range(len(run))]).reshape(len(run), -1, 3)
    arrays["turns"] = np.array([run.poses(i)[1] for i in range(len(run))]).reshape(len(run), -1, 4)
    bodies = []
    for i, body in enumerate(run.bodies):
        facts, parts = pack_mesh(body.mesh)
        told = {"name": body.name, "colour": body.colour, "mesh": facts, "asset": body.asset is not None}
        arrays |= {f"bodies/{i}/mesh/{key}": value for key, value in parts.items()}
        if body.material is not None:
            told["material"], parts = pack_material(body.material)
            arrays |= {f"bodies/{i}/material/{key}": value for key, value in parts.items()}
        arrays[f"bodies/{i}/held"] = body.held
        if body.masses is not None:
            arrays[f"bodies/{i}/masses"] = body.masses
        arrays[f"bodies/{i}/positions"] = np.array([run.positions(f)[i] for f in range(len(run))], dtype=np.float32)
        if body.asset is not None:
            (folder / "assets").mkdir(exist_ok=True)
            body.asset.save(folder / "assets" / str(i))
        bodies.append(told)
    for i, link in enumerate(run.links):
        arrays[f"links/{i}/points"], arrays[f"links/{i}/triangles"] = link.points, link.triangles
    save_arrays(folder / "run.npz", "run", arrays)
    facts = {
        "format": FORMAT,
        "version": VERSION,
        "units": UNITS,
        "frames": len(run),
        "seconds": [float(times[0]), float(times[-1])],
        "ground": run.ground,
        "camera": None if run.camera is None else run.camera.to_dict(),
        "bodies": bodies,
        "links": [{"name": link.name, "colour": link.colour} for link in run.links],
    }
    (folder / NAME).write_text(json.dumps(facts, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def load_run(path):
    """Read a Run from a folder; see `Run.load`."""
    facts = read_facts(path, NAME, FORMAT, VERSION)
    path = Path(path)
    arrays = load_arrays(file_of(path, "run.npz"), kind="run")
    bodies, links = _listed(path, facts, "bodies"), _listed(path, facts, "links")
    frames = [_array(path, arrays, f"bodies/{i}/positions") for i in range(len(bodies))]
    ground = facts.get("ground")
    if ground is not None and (isinstance(ground, bool) or not isinstance(ground, int | float)):
        raise InputError(f"{path}: ground = {ground!r} is no height")
    try:
        camera = None if facts.get("camera") is None else Camera.from_dict(facts["camera"])
        return Run.of_parts(
            _array(path, arrays, "times"),
            [_body(path, i, told, arrays) for i, told in enumerate(bodies)],
            frames,
            [_link(path, i, told, arrays) for i, told in enumerate(links)],
            _array(path, arrays, "places"),
            _array(path, arrays, "turns"),
            _array(path, arrays, "gravity"),
            ground,
            camera,
        )
    except InputError as error:
        raise InputError(str(error) if str(error).startswith(str(path)) else f"{path}: {error}") from None


def _listed(path, facts, key):
    rows = facts.get(key)
    if not isinstance(rows, list) or len(rows) > MAX_PARTS or not all(isinstance(row, dict) for row in rows):
        raise InputError(f"{path}: {key} must be a list of at most {MAX_PARTS} entries")
    for row in rows:
        if not isinstance(row.get("name"), str) or not 0 < len(row["name"]) <= 200:
            raise InputError(f"{path}: {key}: every entry needs a name of 1 to 200 characters")
        if not _is_colour(row.get("colour")):
            raise InputError(f"{path}: {row['name']!r}: colour {row.get('colour')!r} is not like #5b8def")
    return rows


def _is_colour(text):
    if not isinstance(text, str) or len(text) != 7 or text[0] != "#":
        return False
    return all(c in "0123456789abcdefABCDEF" for c in text[1:])


def _array(path, arrays, name):
    if name not in arrays:
        raise InputError(f"{path}: run.npz lacks {name!r}")
    return arrays[name]


def _body(path, i, told, arrays):
    name, asset = told["name"], None
    where = f"{path}: body {name!r}"
    mesh = unpack_mesh(where, told.get("mesh"), arrays_under(arrays, f"bodies/{i}/mesh/"))
    material = told.get("material")
    if material is not None:
        material = unpack_material(where, material, arrays_under(arrays, f"bodies/{i}/material/"))
    if told.get("asset"):
        from physsim.appearance.asset import Asset

        folder = path / "assets" / str(i)
        if not folder.resolve().is_relative_to(path.resolve()):
            raise InputError(f"{folder}: is a link that leaves the folder; copy the asset into it")
        asset = Asset.load(folder)
    held = _array(path, arrays, f"bodies/{i}/held")
    return RunBody(name, mesh, material, arrays.get(f"bodies/{i}/masses"), held, asset, told["colour"])


def _link(path, i, told, arrays):
    return RunLink(told["name"], _array(path, arrays, f"links/{i}/points"), _array(path, arrays, f"links/{i}/triangles"), told["colour"])
