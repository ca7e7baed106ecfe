"""What capture.json says, entry by entry: each is read on its own, so that one that is wrong hides no other."""

import difflib
import math
from dataclasses import dataclass, field

import numpy as np

from physsim.capture import layout
from physsim.capture.camera_facts import parse_camera
from physsim.capture.capture import KINDS, SENSORS, Known
from physsim.capture.entries import FILE, known_keys, number, plain_number, short, vector, whole_number
from physsim.capture.problems import Problems
from physsim.io.folders import UNITS

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
    holds: dict = field(default_factory=dict)  # handle -> radius [m] and places [m], each if it is given
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
            problems.error(FILE, f"kind = {short(told['kind'])}", 'write "solid", "sheet" or "rod", or leave it out')
    _gravity(told, facts, problems)
    _times(told, facts, problems)
    for name, entry in _entries(told, "cameras", layout.MAX_CAMERAS, problems):
        facts.camera_names.append(name)
        parse_camera(name, entry, facts.cameras, facts.sizes, problems)
    _known(told, facts, problems)
    _split(told, facts, problems)
    _noise(told, facts, problems)
    for name, entry in _entries(told, "handles", layout.MAX_HANDLES, problems):
        known_keys(entry, "handle", f"handles.{name}", problems)
        radius = number(entry, "radius", f"handles.{name}.", problems, lower=0.0, open_=True)
        places = vector(entry, "places", f"handles.{name}.", problems, (None, 3), needed=False)
        facts.holds[name] = {k: v for k, v in (("radius", radius), ("places", places)) if v is not None}
    for key in ("robot", "mesh"):
        _object(told, key, facts, problems)
    _missing(told, facts, problems)
    return facts


def _header(told, problems):
    if told.get("format") != layout.FORMAT:
        problems.error(FILE, f"format is {short(told.get('format'))}", f'write "format": "{layout.FORMAT}"')
    version = told.get("version")
    if isinstance(version, bool) or version != layout.VERSION:
        problems.error(FILE, f"version is {short(version)}", f"this physsim reads version {layout.VERSION}; write that, or update physsim")
    if told.get("units") != UNITS:
        written = ", ".join(f'"{k}": "{v}"' for k, v in UNITS.items())
        problems.error(FILE, f"units are {short(told.get('units'))}", f'convert all numbers, and write "units": {{{written}}}')


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
        count = whole_number(value.get("count"))
        if count is None or not 0 < count <= layout.MAX_FRAMES:
            problems.error(FILE, f"times.count is {short(value.get('count'))}", f"a whole number from 1 to {layout.MAX_FRAMES} is needed")
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
        shown = "missing" if "times" not in told else "an empty list" if value == [] else short(value)
        problems.error(FILE, f"times is {shown}", 'write [0.0, 0.033, ...] in seconds, or {"start": 0.0, "rate": 30.0, "count": 60}')
        return
    facts.frame_count = len(value)
    values = [plain_number(v) for v in value]
    for i, v in enumerate(values):
        if v is None:
            problems.error(FILE, f"times[{i}] is {short(value[i])}", "a finite number of seconds is needed", i, (FILE, "of times"))
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
        problems.error(FILE, f"{key} is {short(value)}", f"an object of at most {most} names, each with its own object, is needed")
        return
    for name, entry in value.items():
        if not layout.is_name(name):
            problems.error(
                FILE, f"{key}: {short(name)} cannot be a name, it would name files", "use 1 to 64 letters, digits, _ . - and spaces inside"
            )
        elif not isinstance(entry, dict):
            problems.error(FILE, f"{key}.{name} is {short(entry)}", "an object is needed")
        else:
            yield name, entry


def _known(told, facts, problems):
    value = told.get("known", {})
    if not isinstance(value, dict):
        problems.error(FILE, f"known is {short(value)}", "an object is needed")
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
        problems.error(FILE, f"known.ground is {short(ground)}", 'write {"point": [x, y, z], "normal": [x, y, z]}')
    weights = vector(value, "weights", "known.", problems, (None, 4), needed=False)
    if weights is not None and not (weights[:, 3] > 0.0).all():
        problems.error(FILE, "known.weights: a mass is not positive", "rows are x, y, z [m] and mass [kg]")
        weights = None
    facts.known = Known(**found, weights=weights)


def _split(told, facts, problems):
    count = facts.frame_count
    found = {}
    for key in ("fit", "test"):
        value = told.get(key)
        if value is None:
            continue
        frames, wrong = [], not isinstance(value, list) or len(value) > layout.MAX_FRAMES
        for part in [] if wrong else value:
            part = [whole_number(v) for v in part] if isinstance(part, list) and len(part) == 2 else [None]
            if None in part:
                wrong = True
            elif not 0 <= part[0] < part[1] or (count is not None and part[1] > count):
                last, most = ("", "") if count is None else (f"there are {count} frames: ", f" <= {count}")
                problems.error(FILE, f"{key}: {short(part)} is out of range", f"{last}give [first, end) with 0 <= first < end{most}")
            elif frames and part[0] < frames[-1][1]:
                problems.error(FILE, f"{key}: {part} begins before {frames[-1]} ends", "list ranges in order, without overlap")
            else:
                frames.append(part)
        if wrong:
            problems.error(FILE, f"{key} is {short(value)}", "half-open ranges of frames are needed, such as [[0, 40]]")
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
        problems.error(FILE, f"noise is {short(value)}", "an object of sensor and standard deviation is needed")
        return
    for key in value:
        if key not in SENSORS:
            near = difflib.get_close_matches(key.lower(), SENSORS, 1, 0.6)
            problems.warning(
                FILE, f"noise: unknown sensor {short(key)}", f'did you mean "{near[0]}"?' if near else f"known are {', '.join(SENSORS)}"
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
        problems.error(FILE, f"{key} is {short(value)}", "an object is needed")
        return
    known_keys(value, key, key, problems)
    setattr(facts, key, value)


def _missing(told, facts, problems):
    value = told.get("missing", {})
    if not isinstance(value, dict):
        problems.error(FILE, f"missing is {short(value)}", 'write {"depth/CAMERA": [3, 7]}')
        return
    for stream, frames in value.items():
        head, _, camera = stream.partition("/")
        right = stream == "points" or (head in layout.STREAMS.values() and camera in facts.camera_names)
        if not right:
            problems.warning(
                FILE, f"missing: there is no stream {short(stream)}", 'streams are "points", "rgb/CAMERA", "depth/CAMERA", ...'
            )
            continue
        numbers = [whole_number(f) for f in frames] if isinstance(frames, list) else [None]
        if any(f is None or f < 0 or (facts.frame_count is not None and f >= facts.frame_count) for f in numbers):
            problems.error(FILE, f"missing.{stream} is {short(frames)}", "a list of frame numbers is needed")
            continue
        facts.missing[stream] = set(numbers)
