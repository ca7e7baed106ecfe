"""What capture.json says, entry by entry: each is read on its own, so that one that is wrong hides no other."""

import difflib
import math
from dataclasses import dataclass, field, fields

import numpy as np

from physsim.appearance.camera import Camera
from physsim.capture import layout
from physsim.capture.capture import KINDS, SENSORS, Known
from physsim.capture.problems import Problems
from physsim.errors import InputError
from physsim.io.folders import UNITS

FILE = layout.MARKER
KEYS = {
    "capture": (
        "format",
        "version",
        "units",
        "name",
        "source",
        "kind",
        "gravity",
        "times",
        "cameras",
        "known",
        "fit",
        "test",
        "noise",
        "handles",
        "robot",
        "mesh",
        "missing",
    ),
    "times": ["start", "rate", "count"],
    "camera": ["width", "height", "fx", "fy", "cx", "cy", "distortion", "rotation", "translation", "near", "focus"],
    "known": [f.name for f in fields(Known)],
    "ground": ["point", "normal"],
    "handle": ["radius"],
    "robot": ["urdf", "joints", "links", "base"],
    "base": ["position", "quaternion"],
    "link": ["link", "point", "opening"],
    "mesh": ["file", "kind", "closed", "arm", "grips", "framed"],
}
MESH_KINDS = ("tetrahedra", "triangles", "surface", "rod")
GRAVITY = 9.81, 0.2  # [m/s^2], and how far from it a place on Earth may be


@dataclass
class Facts:
    """What capture.json says; None or empty where it says nothing, or nothing that can be used."""

    name: str = "capture"
    source: str = ""
    kind: str | None = None
    gravity: np.ndarray = field(default_factory=lambda: np.array([0.0, 0.0, -9.81]))
    times: np.ndarray | None = None
    frame_count: int | None = None
    cameras: dict = field(default_factory=dict)  # name -> Camera, of those that are right
    sizes: dict = field(default_factory=dict)  # name -> (width, height), of all that have one
    camera_names: list = field(default_factory=list)  # of all that are named
    known: Known = field(default_factory=Known)
    fit: np.ndarray | None = None
    test: np.ndarray | None = None
    noise: dict = field(default_factory=dict)
    radii: dict = field(default_factory=dict)  # handle -> [m] or None
    robot: dict | None = None
    mesh: dict | None = None
    missing: dict = field(default_factory=dict)  # stream -> set of frames


def parse_facts(told: dict, problems: Problems) -> Facts:
    """Facts of a capture.json that is an object; what is wrong goes into `problems`."""
    facts = Facts()
    _header(told, problems)
    known_keys(told, "capture", "", problems)
    for key, most in (("name", 200), ("source", 2000)):
        if key in told:
            if isinstance(told[key], str) and len(told[key]) <= most:
                setattr(facts, key, told[key])
            else:
                problems.error(FILE, f"{key} is no text of at most {most} characters", f'write "{key}": "..."')
    if told.get("kind") is not None:
        if told["kind"] in KINDS:
            facts.kind = told["kind"]
        else:
            problems.error(FILE, f"kind = {_short(told['kind'])}", 'write "solid", "sheet" or "rod", or leave it out')
    _gravity(told, facts, problems)
    _times(told, facts, problems)
    for name, entry in _entries(told, "cameras", layout.MAX_CAMERAS, problems):
        facts.camera_names.append(name)
        _camera(name, entry, facts, problems)
    _known(told, facts, problems)
    _split(told, facts, problems)
    _noise(told, facts, problems)
    for name, entry in _entries(told, "handles", layout.MAX_HANDLES, problems):
        known_keys(entry, "handle", f"handles.{name}", problems)
        facts.radii[name] = number(entry, "radius", f"handles.{name}.", problems, lower=0.0, open_=True)
    for key in ("robot", "mesh"):
        _object(told, key, facts, problems)
    _missing(told, facts, problems)
    return facts


def known_keys(told: dict, kind: str, where: str, problems: Problems) -> None:
    """Warn of keys that are not known, with the nearest one that is."""
    known = KEYS[kind]
    for key in told:
        if key not in known:
            near = difflib.get_close_matches(key.lower(), known, 1, 0.6)
            what = f"unknown key {_short(where + '.' * bool(where) + key)}; it is not read"
            remedy = f'did you mean "{near[0]}"?' if near else f"known are {', '.join(known)}"
            problems.warning(FILE, what.replace("; ", ", "), remedy, kind=(FILE, "of unknown keys"))


def number(told, key, where, problems, lower=-math.inf, upper=math.inf, open_=False, needed=False):
    """A finite number of an object, or None and a problem; `open_` leaves out the bounds themselves."""
    if told.get(key) is None and not needed:
        return None
    value = plain_number(told.get(key))
    if value is None:
        shown = "missing" if key not in told else _short(told[key])
        problems.error(FILE, f"{where}{key} is {shown}", "a finite number is needed")
    elif not (lower < value < upper if open_ else lower <= value <= upper):
        low, high = ("(", ")") if open_ else ("[", "]")
        problems.error(FILE, f"{where}{key} = {value:g}", f"it must lie in {low}{lower:g}, {upper:g}{high}")
    else:
        return value
    return None


def plain_number(value: object) -> float | None:
    """A finite number as float; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        value = float(value)
    except OverflowError:
        return None
    return value if math.isfinite(value) else None


def vector(told, key, where, problems, shape, needed=True):
    """Finite numbers of an object as an array of a shape (None: any length), or None and a problem."""
    if told.get(key) is None and not needed:
        return None
    value = _numbers(told.get(key), len(shape))
    if value is None or any(n is not None and n != m for n, m in zip(shape, value.shape)):
        shown = "missing" if key not in told else _short(told[key])
        wanted = " x ".join("any" if n is None else str(n) for n in shape)
        problems.error(FILE, f"{where}{key} is {shown}", f"a list of {wanted} finite numbers is needed")
        return None
    return value


def _numbers(value, depth):
    """Nested lists of finite numbers as an array of so many axes, or None."""
    if not isinstance(value, list) or len(value) > layout.MAX_FRAMES:
        return None
    rows = [plain_number(v) for v in value] if depth == 1 else [_numbers(v, depth - 1) for v in value]
    if any(row is None for row in rows) or (depth > 1 and len({row.shape for row in rows}) > 1):
        return None
    return np.array(rows, dtype=float).reshape(len(rows), *(() if depth == 1 else rows[0].shape if rows else (0,) * (depth - 1)))


def _short(value: object) -> str:
    text = repr(value) if not isinstance(value, int) or abs(value) < 10**30 else "a number too large"
    return text if len(text) <= 80 else text[:77] + "..."


def _header(told, problems):
    if told.get("format") != layout.FORMAT:
        problems.error(FILE, f"format is {_short(told.get('format'))}", f'write "format": "{layout.FORMAT}"')
    version = told.get("version")
    if isinstance(version, bool) or version != layout.VERSION:
        problems.error(FILE, f"version is {_short(version)}", f"this physsim reads version {layout.VERSION}; write that, or update physsim")
    if told.get("units") != UNITS:
        written = ", ".join(f'"{k}": "{v}"' for k, v in UNITS.items())
        problems.error(FILE, f"units are {_short(told.get('units'))}", f'convert all numbers, and write "units": {{{written}}}')


def _gravity(told, facts, problems):
    if "gravity" not in told:
        problems.warning(FILE, "gravity is missing, (0, 0, -9.81) m/s^2 is taken: z points up", 'write "gravity": [x, y, z]')
        return
    value = vector(told, "gravity", "", problems, (3,))
    if value is None:
        return
    size = float(np.linalg.norm(value))
    if size > 1e4:
        problems.error(FILE, f"gravity has size {size:g} m/s^2", "give it in metres and seconds, about 9.81")
        return
    facts.gravity = value
    if abs(size - GRAVITY[0]) > GRAVITY[1]:
        problems.warning(FILE, f"gravity has size {size:.4g} m/s^2, on Earth it is about 9.81", "leave it so if the thing fell otherwise")


def _times(told, facts, problems):
    value = told.get("times")
    if isinstance(value, dict):
        known_keys(value, "times", "times", problems)
        start = number(value, "start", "times.", problems)
        rate = number(value, "rate", "times.", problems, lower=0.0, open_=True, needed=True)
        count = value.get("count")
        if isinstance(count, bool) or not isinstance(count, int) or not 0 < count <= layout.MAX_FRAMES:
            problems.error(FILE, f"times.count is {_short(count)}", f"a whole number from 1 to {layout.MAX_FRAMES} is needed")
            return
        facts.frame_count = count
        if rate is not None:
            facts.times = (start or 0.0) + np.arange(count) / rate
            value = facts.times
            if not np.isfinite(value).all() or (np.diff(value) <= 0.0).any():
                problems.error(FILE, "times.start and times.rate: frames fall together", "give the rate in frames a second")
                facts.times = None
        return
    if not isinstance(value, list) or not 0 < len(value) <= layout.MAX_FRAMES:
        shown = "missing" if "times" not in told else "an empty list" if value == [] else _short(value)
        problems.error(FILE, f"times is {shown}", 'write [0.0, 0.033, ...] in seconds, or {"start": 0.0, "rate": 30.0, "count": 60}')
        return
    facts.frame_count = len(value)
    values = [plain_number(v) for v in value]
    for i, v in enumerate(values):
        if v is None:
            problems.error(FILE, f"times[{i}] is {_short(value[i])}", "a finite number of seconds is needed", i, (FILE, "of times"))
    if None in values:
        return
    times = np.array(values)
    for i in np.flatnonzero(np.diff(times) <= 0.0) + 1:
        what = "repeats the one before" if times[i] == times[i - 1] else f"goes back from {times[i - 1]:g} s"
        problems.error(FILE, f"times[{i}] = {times[i]:g} s {what}", "each must be later than the one before", int(i), (FILE, "of times"))
    if (np.diff(times) > 0.0).all():
        facts.times = times


def _entries(told, key, most, problems):
    """(name, object) of an object of objects, those that are right."""
    value = told.get(key, {})
    if not isinstance(value, dict) or len(value) > most:
        problems.error(FILE, f"{key} is {_short(value)}", f"an object of at most {most} names, each with its own object, is needed")
        return
    for name, entry in value.items():
        if not layout.is_name(name):
            problems.error(
                FILE, f"{key}: {_short(name)} cannot be a name, it would name files", "use 1 to 64 letters, digits, _ . - and spaces inside"
            )
        elif not isinstance(entry, dict):
            problems.error(FILE, f"{key}.{name} is {_short(entry)}", "an object is needed")
        else:
            yield name, entry


def _camera(name, told, facts, problems):
    where = f"cameras.{name}."
    before = len(problems.errors)
    known_keys(told, "camera", where[:-1], problems)
    sides = []
    for key in ("width", "height"):
        side = told.get(key)
        right = isinstance(side, int) and not isinstance(side, bool) and 0 < side <= 16384
        if not right:
            problems.error(FILE, f"{where}{key} is {_short(side)}", "a whole number of pixels from 1 to 16384 is needed")
        sides.append(side if right else None)
    if None not in sides:
        facts.sizes[name] = tuple(sides)
    focal = [number(told, key, where, problems, lower=0.0, upper=1e9, open_=True, needed=True) for key in ("fx", "fy")]
    centre = [number(told, key, where, problems, lower=-1e9, upper=1e9, needed=True) for key in ("cx", "cy")]
    lens = vector(told, "distortion", where, problems, (None,), needed=False)
    if lens is not None and len(lens) not in (0, 4, 5, 8):
        problems.error(FILE, f"{where}distortion has {len(lens)} coefficients", "OpenCV's k1, k2, p1, p2[, k3[, k4, k5, k6]] are 4, 5 or 8")
    rotation = vector(told, "rotation", where, problems, (3, 3))
    if rotation is not None and not _is_rotation(rotation):
        _tell_no_rotation(where, rotation, problems)
    translation = vector(told, "translation", where, problems, (3,))
    more = {k: number(told, k, where, problems, lower=0.0, open_=True) for k in ("near", "focus")}
    if None not in sides and None not in centre:
        _tell_odd_intrinsics(where, sides, focal, centre, problems)
    if len(problems.errors) > before:
        return
    given = {k: v for k, v in more.items() if v is not None}
    try:
        facts.cameras[name] = Camera(
            *sides, tuple(focal), tuple(centre), rotation, translation, () if lens is None else tuple(lens), **given
        )
    except InputError as error:
        problems.error(FILE, f"{where[:-1]}: {error}"[:400])


def _is_rotation(rotation):
    with np.errstate(all="ignore"):
        return bool(np.abs(rotation @ rotation.T - np.eye(3)).max() <= 1e-5 and np.linalg.det(rotation) > 0.0)


def _tell_no_rotation(where, rotation, problems):
    with np.errstate(all="ignore"):
        square, turned = rotation @ rotation.T, np.linalg.det(rotation)
    scale = float(np.cbrt(abs(turned))) if np.isfinite(turned) else math.nan
    if np.abs(square - np.eye(3)).max() <= 1e-5:
        what, do = "is a mirror (its determinant is -1)", "OpenCV's axes are x right, y down, z forward: turn two axes, not one"
    elif math.isfinite(scale) and scale > 0 and np.abs(square / scale**2 - np.eye(3)).max() <= 1e-5:
        what, do = f"is scaled by {scale:.6g}", "divide it by that, and scale lengths instead"
    else:
        what, do = (
            "is no rotation: its rows are not orthogonal unit vectors",
            "give the rotation from world to camera, with six digits or more",
        )
    problems.error(FILE, f"{where}rotation {what}", do)


def _tell_odd_intrinsics(where, sides, focal, centre, problems):
    if not (-0.5 <= centre[0] <= sides[0] - 0.5 and -0.5 <= centre[1] <= sides[1] - 0.5):
        what = f"cx, cy = {centre[0]:g}, {centre[1]:g} lie outside the picture of {sides[0]} x {sides[1]} pixels"
        problems.warning(FILE, f"{where}{what}", "leave it so for a cropped picture; else check the order and the size they belong to")
    if None not in focal:
        view = max(sides[0] / focal[0], sides[1] / focal[1]), max(focal) / min(focal)
        if view[0] > 12 or view[0] < 0.02 or view[1] > 2:
            what = f"fx, fy = {focal[0]:g}, {focal[1]:g} are odd for {sides[0]} x {sides[1]} pixels"
            problems.warning(FILE, f"{where}{what}", "give them in pixels of this size")


def _known(told, facts, problems):
    value = told.get("known", {})
    if not isinstance(value, dict):
        problems.error(FILE, f"known is {_short(value)}", "an object is needed")
        return
    known_keys(value, "known", "known", problems)
    found = {k: number(value, k, "known.", problems, lower=0.0, open_=True) for k in ("mass", "density", "thickness", "length")}
    found["poisson"] = number(value, "poisson", "known.", problems, lower=-1.0, upper=0.5, open_=True)
    found["friction"] = number(value, "friction", "known.", problems, lower=0.0, upper=100.0)
    ground = value.get("ground")
    if isinstance(ground, dict):
        known_keys(ground, "ground", "known.ground", problems)
        point, normal = (vector(ground, k, "known.ground.", problems, (3,)) for k in ("point", "normal"))
        if point is not None and normal is not None:
            length = float(np.linalg.norm(normal))
            if length > 0.0 and math.isfinite(length):
                found["ground"] = np.stack([point, normal / length])
                if found["ground"][1] @ facts.gravity > 0.0:
                    problems.warning(FILE, "known.ground.normal points along gravity", "it must point upward, out of the ground")
            else:
                problems.error(FILE, "known.ground.normal has no length", "give the direction out of the ground, such as [0, 0, 1]")
    elif ground is not None:
        problems.error(FILE, f"known.ground is {_short(ground)}", 'write {"point": [x, y, z], "normal": [x, y, z]}')
    facts.known = Known(**found)


def _split(told, facts, problems):
    count = facts.frame_count
    found = {}
    for key in ("fit", "test"):
        value = told.get(key)
        if value is None:
            continue
        frames, wrong = [], not isinstance(value, list) or len(value) > layout.MAX_FRAMES
        for part in [] if wrong else value:
            if not (isinstance(part, list) and len(part) == 2 and all(isinstance(v, int) and not isinstance(v, bool) for v in part)):
                wrong = True
            elif not 0 <= part[0] < part[1] or (count is not None and part[1] > count):
                last = "" if count is None else f"there are {count} frames: "
                problems.error(FILE, f"{key}: {_short(part)} is out of range", f"{last}give [first, end) with 0 <= first < end <= {count}")
            elif frames and part[0] < frames[-1][1]:
                problems.error(FILE, f"{key}: {part} begins before {frames[-1]} ends", "list ranges in order, without overlap")
            else:
                frames.append(part)
        if wrong:
            problems.error(FILE, f"{key} is {_short(value)}", "half-open ranges of frames are needed, such as [[0, 40]]")
            continue
        if count is not None:
            found[key] = np.concatenate([np.arange(a, b) for a, b in frames]) if frames else np.zeros(0, int)
    if "fit" in found and len(found["fit"]) == 0:
        problems.error(FILE, "fit names no frame", "name some, or leave it out for the first two thirds")
        del found["fit"]
    if len(found) == 2:
        both = np.intersect1d(found["fit"], found["test"])
        if len(both):
            what = f"fit and test share {len(both)} frames, from {both[0]} on"
            problems.error(FILE, what, "frames that judge must not be fitted", int(both[0]))
            found = {}
    facts.fit, facts.test = found.get("fit"), found.get("test")


def _noise(told, facts, problems):
    value = told.get("noise", {})
    if not isinstance(value, dict):
        problems.error(FILE, f"noise is {_short(value)}", "an object of sensor and standard deviation is needed")
        return
    for key in value:
        if key not in SENSORS:
            near = difflib.get_close_matches(key.lower(), SENSORS, 1, 0.6)
            problems.warning(
                FILE, f"noise: unknown sensor {_short(key)}", f'did you mean "{near[0]}"?' if near else f"known are {', '.join(SENSORS)}"
            )
            continue
        sigma = number(value, key, "noise.", problems, lower=0.0, open_=True)
        if sigma is not None:
            facts.noise[key] = sigma


def _object(told, key, facts, problems):
    """`robot` and `mesh`: objects that other files read; a mesh may be a file's name alone."""
    value = told.get(key)
    if value is None:
        return
    if key == "mesh" and isinstance(value, str):
        value = {"file": value}
    if not isinstance(value, dict):
        problems.error(FILE, f"{key} is {_short(value)}", "an object is needed")
        return
    known_keys(value, key, key, problems)
    setattr(facts, key, value)


def _missing(told, facts, problems):
    value = told.get("missing", {})
    if not isinstance(value, dict):
        problems.error(FILE, f"missing is {_short(value)}", 'write {"depth/CAMERA": [3, 7]}')
        return
    for stream, frames in value.items():
        head, _, camera = stream.partition("/")
        right = stream == "points" or (head in layout.STREAMS.values() and camera in facts.camera_names)
        if not right:
            problems.warning(
                FILE, f"missing: there is no stream {_short(stream)}", 'streams are "points", "rgb/CAMERA", "depth/CAMERA", ...'
            )
            continue
        whole = isinstance(frames, list) and all(isinstance(f, int) and not isinstance(f, bool) and f >= 0 for f in frames)
        if not whole or any(facts.frame_count is not None and f >= facts.frame_count for f in frames):
            problems.error(FILE, f"missing.{stream} is {_short(frames)}", "a list of frame numbers is needed")
            continue
        facts.missing[stream] = set(frames)
