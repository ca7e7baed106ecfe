"""Rigid motions as targets of attachments; numpy in, numpy out, or torch in, torch out."""

import sys

import numpy as np

from physsim.errors import InputError
from physsim.physics import validation
from physsim.physics.model import find_attachment


def pose_targets(model, times, poses, origins, largest_turn):
    """(times, targets) for a Control, with keys added where attachments turn; arguments as `Control.from_poses`."""
    times = validation.array("times", times, (None,))
    if len(times) == 0 or (np.diff(times) <= 0).any():
        raise InputError("times: at least one is needed, each later than the one before")
    validation.instance("poses", poses, dict, "from attachment to (positions [m], quaternions)")
    validation.instance("origins", origins, dict, "from attachment to a point [m]")
    poses, given = {}, poses
    for key, value in given.items():
        name = find_attachment(model, key, "poses")
        if not isinstance(value, (tuple, list)) or len(value) != 2:
            entries = f"{len(value)} entries" if isinstance(value, (tuple, list)) else type(value).__name__
            wanted = f"a pair of positions [{len(times)}, 3] and quaternions [{len(times)}, 4] is needed"
            raise InputError(f"poses[{name!r}]: {entries} was given; {wanted}")
        poses[name] = value
    origins = {find_attachment(model, key, "origins"): validation.array("origin", value, (3,)) for key, value in origins.items()}
    for name in origins:
        if name not in poses:
            raise InputError(f"origins: no pose of attachment {name!r} was given; leave its origin out")
    largest_turn = float(validation.array("largest_turn", largest_turn, (), lower=0.0, lower_open=True))
    parts = np.ones(max(len(times) - 1, 0), int)
    for name, (positions, quaternions) in poses.items():
        side = (model.envs,) if np.ndim(positions) == 3 else ()  # one pose for all environments, or one for each
        validation.array(f"positions of {name!r}", positions, (len(times), *side, 3))
        q = validation.array(f"quaternions of {name!r}", quaternions, (len(times), *side, 4))
        sizes = np.linalg.norm(q, axis=-1)
        if (sizes < 1e-9).any():
            raise InputError(f"quaternions of {name!r}: entry {int(np.argmin(sizes))} is zero; (1, 0, 0, 0) stands for no turn")
        q = q / sizes[..., None]
        turns = 2 * np.degrees(np.arccos(np.clip(np.abs((q[:-1] * q[1:]).sum(axis=-1)), 0.0, 1.0)))
        turns = turns if not side else turns.max(axis=1)
        parts = np.maximum(parts, np.ceil(turns / largest_turn - 1e-9).astype(int))
    first = np.repeat(np.arange(len(parts)), parts)
    weight = (np.arange(len(first)) - np.repeat(np.cumsum(parts) - parts, parts)) / parts[first]
    first, weight = np.append(first, len(times) - 1), np.append(weight, 0.0)
    second = np.minimum(first + 1, len(times) - 1)
    keys = (1 - weight) * times[first] + weight * times[second]
    targets = {}
    for name, (positions, quaternions) in poses.items():
        points = model.rest[model.attachments[name].particles]
        arms = points - origins.get(name, points[0])
        targets[name] = _moved(arms, positions, quaternions, first, second, weight)
    return keys, targets


def _moved(arms, positions, quaternions, first, second, weight):
    """Points [k, (envs,) p, 3] at the keys; written for numpy and torch alike."""
    torch = sys.modules.get("torch")
    if torch is not None and (torch.is_tensor(positions) or torch.is_tensor(quaternions)):
        lib = torch
        to = lambda a: torch.as_tensor(a, dtype=torch.float64)  # noqa: E731
    else:
        lib, to = np, np.asarray
    positions, q, arms = to(positions), to(quaternions), to(arms)
    w = to(weight).reshape((-1,) + (1,) * (positions.ndim - 1))
    q = q / ((q * q).sum(-1)[..., None]) ** 0.5
    place = (1 - w) * positions[first] + w * positions[second]
    a, b = q[first], q[second]
    dot = (a * b).sum(-1)[..., None]
    b, dot = lib.where(dot < 0, -b, b), abs(dot)
    inside = (w > 0) & (dot < 1 - 1e-12)
    angle = lib.arccos(lib.where(inside, dot, 0.5 + 0 * dot))
    left = lib.where(inside, lib.sin((1 - w) * angle) / lib.sin(angle), 1 - w)
    right = lib.where(inside, lib.sin(w * angle) / lib.sin(angle), w)
    turn = (left * a + right * b)[..., None, :]
    scalar, vector = turn[..., :1], turn[..., 1:]
    arms = arms + 0 * vector
    once = lib.cross(vector + 0 * arms, arms, **({"dim": -1} if lib is not np else {}))
    twice = lib.cross(vector + 0 * arms, once, **({"dim": -1} if lib is not np else {}))
    return place[..., None, :] + arms + 2 * (scalar * once + twice)
