"""Runs on disk: one folder of JSON, npz and, where a body has one, its Asset's own folder; never a pickle.

run.json        what the run holds, in words and numbers
run.npz         times [s], positions [m] (single precision), poses, meshes
assets/0 ...    Assets of bodies, by the number of the body
"""

import json
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np

from physsim.appearance.run import Run, RunBody, RunLink
from physsim.errors import InputError
from physsim.io.arrays import load_arrays, save_arrays
from physsim.io.files import checked_path
from physsim.physics.archive import pack_material, pack_mesh, unpack_material, unpack_mesh

FORMAT, VERSION = "physsim run", 1
MAX_JSON = 16_000_000  # bytes
MAX_PARTS = 10_000  # bodies and links that a folder may name
NAME = "run.json"


def is_run(path):
    """Whether a folder says that it holds a run."""
    return (Path(path) / NAME).is_file()


def save_run(run, path):
    """Write a Run to a folder and return its path; see `Run.save`."""
    if len(run) == 0:
        raise InputError("run: it holds no frame; add(state) takes one down")
    if not isinstance(path, str | os.PathLike):
        raise InputError(f"path: the name of a folder is needed, {type(path).__name__} was given")
    path = Path(path)
    if path.exists() and not path.is_dir():
        raise InputError(f"{path}: it exists and is no folder; give another name")
    if path.is_dir() and any(path.iterdir()) and not is_run(path):
        raise InputError(f"{path}: the folder holds something that is no run; give another name")
    parent = path.absolute().parent
    try:
        fresh = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=parent))
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); the folder that it is in must be there and be writable") from None
    try:
        _write(run, fresh)
        fresh.chmod(0o777 & ~_umask())
        _put_in_place(fresh, path)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return path


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
        "units": {"length": "m", "time": "s", "mass": "kg"},
        "frames": len(run),
        "seconds": [float(times[0]), float(times[-1])],
        "ground": run.ground,
        "bodies": bodies,
        "links": [{"name": link.name, "colour": link.colour} for link in run.links],
    }
    (folder / NAME).write_text(json.dumps(facts, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _put_in_place(fresh, path):
    """Rename the new folder; an old one is moved aside first and goes back if that fails."""
    if not path.exists():
        os.replace(fresh, path)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.absolute().parent))
    os.replace(path, old)
    try:
        os.replace(fresh, path)
    except OSError:
        os.replace(old, path)
        raise
    shutil.rmtree(old, ignore_errors=True)


def load_run(path):
    """Read a Run from a folder; see `Run.load`."""
    if not isinstance(path, str | os.PathLike):
        raise InputError(f"path: the name of a folder is needed, {type(path).__name__} was given")
    path = Path(path)
    facts = read_facts(path)
    arrays = load_arrays(path / "run.npz", kind="run")
    bodies, links = _listed(path, facts, "bodies"), _listed(path, facts, "links")
    frames = [_array(path, arrays, f"bodies/{i}/positions") for i in range(len(bodies))]
    ground = facts.get("ground")
    if ground is not None and (isinstance(ground, bool) or not isinstance(ground, int | float)):
        raise InputError(f"{path}: ground = {ground!r} is no height")
    try:
        return Run.of_parts(
            _array(path, arrays, "times"),
            [_body(path, i, told, arrays) for i, told in enumerate(bodies)],
            frames,
            [_link(path, i, told, arrays) for i, told in enumerate(links)],
            _array(path, arrays, "places"),
            _array(path, arrays, "turns"),
            _array(path, arrays, "gravity"),
            ground,
        )
    except InputError as error:
        raise InputError(str(error) if str(error).startswith(str(path)) else f"{path}: {error}") from None


def read_facts(path):
    """What `run.json` of a folder says, a dict.

    Raises:
        InputError: no folder, no such file, not JSON, of another format or version.
    """
    if not path.is_dir():
        raise InputError(f"{path}: no such folder; a run is a folder that Run.save wrote")
    file = path / NAME
    if not file.is_file():
        raise InputError(f"{path}: it holds no {NAME}; a run is a folder that Run.save wrote")
    try:
        facts = json.loads(checked_path(file, {".json"}, MAX_JSON).read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file}: not JSON ({error})") from None
    if not isinstance(facts, dict) or facts.get("format") != FORMAT:
        raise InputError(f"{file}: it is not of format {FORMAT!r}")
    if facts.get("version") != VERSION:
        raise InputError(f"{file}: version {facts.get('version')!r}; this physsim reads version {VERSION}")
    return facts


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


def _group(arrays, prefix):
    return {name[len(prefix) :]: value for name, value in arrays.items() if name.startswith(prefix)}


def _body(path, i, told, arrays):
    name, asset = told["name"], None
    where = f"{path}: body {name!r}"
    mesh = unpack_mesh(where, told.get("mesh"), _group(arrays, f"bodies/{i}/mesh/"))
    material = told.get("material")
    if material is not None:
        material = unpack_material(where, material, _group(arrays, f"bodies/{i}/material/"))
    if told.get("asset"):
        from physsim.appearance.asset import Asset

        asset = Asset.load(path / "assets" / str(i))
    held = _array(path, arrays, f"bodies/{i}/held")
    return RunBody(name, mesh, material, arrays.get(f"bodies/{i}/masses"), held, asset, told["colour"])


def _link(path, i, told, arrays):
    return RunLink(told["name"], _array(path, arrays, f"links/{i}/points"), _array(path, arrays, f"links/{i}/triangles"), told["colour"])
