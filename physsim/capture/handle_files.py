"""Handles of a capture's folder: tables of poses, or a robot and its joints."""

from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from physsim.capture.capture import Handle
from physsim.capture.entries import FILE, known_keys, vector
from physsim.capture.layout import MAX_TABLE, is_name
from physsim.capture.problems import Problems
from physsim.errors import InputError
from physsim.io.table import read_table

POSE = ("time", "x", "y", "z")
TURN = ("qw", "qx", "qy", "qz")
UNIT = 0.02  # how far from 1 a quaternion's length may be


def read_handle(path: Path, file: str, hold: dict, problems: Problems) -> Handle | None:
    """The Handle of a table with columns time, x, y, z, and where it has them qw, qx, qy, qz and opening; None where it is wrong.

    Args:
        path: the file.
        file: what problems call it.
        hold: what capture.json says of it: "radius" [m] and "places", or None.
        problems: where what is wrong is noted.
    """
    columns = problems.attempt(file, read_table, path, POSE, max_bytes=MAX_TABLE)
    if columns is None:
        return None
    before = len(problems.errors)
    for name in columns:
        if name not in (*POSE, *TURN, "opening"):
            what = f"unknown column {name[:80]!r}, it is not read"
            problems.warning(file, what, "columns are time, x, y, z, qw, qx, qy, qz, opening", None, (file, "of columns"))
    _tell_times(file, columns["time"], problems)
    turns = [name for name in TURN if name in columns]
    rotations = None
    if 0 < len(turns) < 4:
        lacking = ", ".join(name for name in TURN if name not in columns)
        problems.error(file, f"columns {lacking} are missing", "give the whole quaternion (w, x, y, z), or none of it")
    elif turns:
        rotations = _rotations(file, np.stack([columns[name] for name in TURN], axis=1), problems)
    opening = columns.get("opening")
    if opening is not None and (opening < 0.0).any():
        row = int(np.argmax(opening < 0.0))
        problems.error(file, f"opening = {opening[row]:g} m in row {row}", "it must not be negative")
    if len(problems.errors) > before:
        return None
    positions = np.stack([columns[name] for name in "xyz"], axis=1)
    return problems.attempt(file, Handle, columns["time"], positions, rotations, opening, **hold)


def _tell_times(file, times, problems):
    for row in np.flatnonzero(np.diff(times) <= 0.0) + 1:
        what = "repeats the time before" if times[row] == times[row - 1] else f"goes back from {times[row - 1]:g} s"
        problems.error(
            file, f"time = {times[row]:g} s in row {row} {what}", "each must be later than the one before", None, (file, "of times")
        )


def _rotations(file, quaternions, problems):
    length = np.linalg.norm(quaternions, axis=1)
    wrong = np.flatnonzero(~(np.abs(length - 1.0) < UNIT))
    for row in wrong:
        what = f"the quaternion of row {row} has length {length[row]:.4g}"
        problems.error(file, what, "it must be 1: is the order w, x, y, z?", None, (file, "of quaternions"))
    return None if len(wrong) else Rotation.from_quat(quaternions, scalar_first=True).as_matrix()


def write_handle(path: Path, handle: Handle) -> None:
    """Write a Handle's table."""
    columns = [handle.times, *handle.positions.T, *Rotation.from_matrix(handle.rotations).as_quat(scalar_first=True).T]
    names = [*POSE, *TURN]
    if handle.opening is not None:
        columns, names = [*columns, handle.opening], [*names, "opening"]
    rows = np.stack(columns, axis=1).tolist()
    path.write_text("\n".join([",".join(names), *(",".join(map(repr, row)) for row in rows)]) + "\n", encoding="utf-8")


def robot_handles(folder: Path, told: dict, holds: dict, problems: Problems) -> dict[str, Handle]:
    """Handles that links of a robot make, by the robot's URDF and the positions of its joints.

    Args:
        folder: of the capture.
        told: "urdf" and "joints", names of files (robot.urdf, joints.csv); "links": handle -> link, or an object of link, "point" in the
            link's frame [m] and "opening", joints whose positions add up to the opening [m]; "base": "position" [m] and "quaternion".
        holds: handle -> "radius" [m] and "places", where capture.json says so.
        problems: where what is wrong is noted.
    """
    from physsim.io.urdf import load_urdf
    from physsim.robots.kinematics import Kinematics

    before = len(problems.errors)
    base = _base(told, problems)
    links = _links(told, problems)
    names = {key: told.get(key, default) for key, default in (("urdf", "robot.urdf"), ("joints", "joints.csv"))}
    files = {key: problems.attempt(str(name)[:200], inside, folder, name) for key, name in names.items()}
    if None in files.values() or len(problems.errors) > before:
        return {}
    description = problems.attempt(names["urdf"], load_urdf, files["urdf"], frames_only=True)
    columns = problems.attempt(names["joints"], read_table, files["joints"], ["time"], max_bytes=MAX_TABLE)
    if description is None or columns is None:
        return {}
    _tell_times(names["joints"], columns["time"], problems)
    robot = problems.attempt(names["urdf"], Kinematics, description, base)
    if robot is None:
        return {}
    q = _joints(names["joints"], robot, columns, problems)
    for name, (link, _, opening) in links.items():
        if link not in robot.links:
            problems.error(FILE, f"robot.links.{name}: the robot has no link {link!r:.80}", f"it has {', '.join(robot.links)}"[:300])
        for joint in opening:
            if joint not in robot.joints:
                problems.error(FILE, f"robot.links.{name}: the robot has no joint {joint!r:.80}", f"it has {', '.join(robot.joints)}"[:300])
    if q is None or len(problems.errors) > before:
        return {}
    positions, quaternions = robot.forward(q)
    found = {}
    for name, (link, point, opening) in links.items():
        number = robot.links.index(link)
        turns = Rotation.from_quat(quaternions[:, number], scalar_first=True)
        wide = sum(q[:, robot.joints.index(joint)] for joint in opening) if opening else None
        places = positions[:, number] + turns.apply(point)
        handle = problems.attempt(FILE, Handle, columns["time"], places, turns.as_matrix(), wide, **holds.get(name, {}))
        if handle is not None:
            found[name] = handle
    return found


def _base(told, problems):
    base = told.get("base")
    if base is None:
        return None
    if not isinstance(base, dict):
        problems.error(FILE, "robot.base is no object", 'write {"position": [x, y, z], "quaternion": [w, x, y, z]}')
        return None
    known_keys(base, "base", "robot.base", problems)
    position = vector(base, "position", "robot.base.", problems, (3,), needed=False)
    turn = vector(base, "quaternion", "robot.base.", problems, (4,), needed=False)
    if turn is not None and not abs(np.linalg.norm(turn) - 1.0) < UNIT:
        problems.error(FILE, f"robot.base.quaternion has length {np.linalg.norm(turn):.4g}", "it must be 1: is the order w, x, y, z?")
        return None
    return np.zeros(3) if position is None else position, np.array([1.0, 0, 0, 0]) if turn is None else turn / np.linalg.norm(turn)


def _links(told, problems):
    """Handle -> (link, point in its frame, joints of its opening)."""
    links, found = told.get("links"), {}
    if not isinstance(links, dict) or not links:
        problems.error(FILE, "robot.links names no link", 'write {"HANDLE": "LINK"}')
        return {}
    for name, entry in links.items():
        entry = {"link": entry} if isinstance(entry, str) else entry
        if not is_name(name) or not isinstance(entry, dict) or not isinstance(entry.get("link"), str):
            problems.error(FILE, f"robot.links.{name:.64} is neither a link's name nor an object with one", 'write {"HANDLE": "LINK"}')
            continue
        known_keys(entry, "link", f"robot.links.{name}", problems)
        point = vector(entry, "point", f"robot.links.{name}.", problems, (3,), needed=False)
        opening = entry.get("opening", [])
        if not isinstance(opening, list) or not all(isinstance(joint, str) for joint in opening):
            problems.error(FILE, f"robot.links.{name}.opening is no list of joints", 'write ["JOINT", "JOINT"]')
            continue
        found[name] = entry["link"], np.zeros(3) if point is None else point, opening
    return found


def _joints(file, robot, columns, problems):
    """Joint positions [rows, joints]; those that follow others need no column."""
    tree = robot.tree
    free = [robot.joints[i] for i in tree.free]
    lacking = [name for name in free if name not in columns]
    if lacking:
        problems.error(file, f"columns {', '.join(lacking)[:200]} are missing", "give one for each joint of the robot, in rad or m")
        return None
    for name in columns:
        if name != "time" and name not in robot.joints:
            what = f"column {name!r:.80} is no joint of the robot"
            problems.warning(file, what, f"it has {', '.join(robot.joints)}"[:300], None, (file, "of columns"))
    q = np.stack([columns[name] for name in free], axis=1) @ tree.follow.T + tree.offset
    for i, name in enumerate(robot.joints):
        if name in columns:
            q[:, i] = columns[name]
    if not tree.reachable(q, 0.05).all():
        row = int(np.argmin(tree.reachable(q, 0.05)))
        problems.warning(file, f"row {row} lies beyond the robot's limits", "are these radians and metres, and the right columns?")
    return q


def inside(folder: Path, name: object) -> Path:
    """Path of a file that a capture names: it must lie in the folder, symbolic links followed.

    Raises:
        InputError: no name, one that leads out of the folder, no such file.
    """
    if not isinstance(name, str) or not 0 < len(name) <= 1000 or not name.isprintable() or "\\" in name:
        raise InputError(f"{name!r:.80}: is no file's name; give a path below the folder, with /")
    path = folder / name
    try:
        real = path.resolve()
        if Path(name).is_absolute() or not real.is_relative_to(folder.resolve()):
            raise InputError(f"{name}: leads out of the folder; copy the file into it")
        if not real.is_file():
            raise InputError(f"{name}: no such file; put it there or correct its name")
    except InputError:
        raise
    except (OSError, RuntimeError, ValueError):  # a name too long for the system, or links in a circle
        raise InputError(f"{name}: is no usable path; put a plain file there") from None
    return path
