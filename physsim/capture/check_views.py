"""Do cameras, masks, depth and what was followed agree on where things are?"""

import numpy as np
from scipy.ndimage import binary_dilation

from physsim.capture.check_frames import readable
from physsim.capture.entries import FILE
from physsim.capture.problems import Problems
from physsim.capture.read import Parts

FRAMES = 20  # that are looked at
SLACK = 0.01  # of the picture's width around a mask that counts as within, at least a pixel
SCALE = 1.5  # factor between depth and the tracks beyond which one of them is mistaken


def check_views(parts: Parts, problems: Problems) -> None:
    """Note cameras that do not see the body, masks that miss it, depth that contradicts the tracks."""
    bodies = _bodies(parts)
    if not bodies:
        return
    for name, camera in parts.facts.cameras.items():
        within = [_within(camera, points) for points in bodies.values()]
        share = np.mean(np.concatenate(within))
        if share < 0.05:
            _tell_unseen(name, camera, bodies, share, problems)
            continue
        if name in parts.mask:
            _masks(name, camera, parts.mask[name], bodies, problems)
        if name in parts.depth and parts.tracks is not None:
            _depths(name, camera, parts, bodies, problems)


def _bodies(parts):
    """Frame -> points of the body in the world, by the tracks or else by `points`, of some frames that have any."""
    count = parts.facts.frame_count or 0
    chosen = np.unique(np.linspace(0, count - 1, FRAMES).round().astype(int)).tolist()
    if parts.tracks is not None:
        found = {f: parts.tracks.positions[f][parts.tracks.visible[f]] for f in chosen}
    elif parts.points is not None:
        read = {f: readable(parts.points, f) for f in chosen}
        found = {f: points[:2000] for f, points in read.items() if points is not None}
    else:
        found = {}
    return {f: points for f, points in found.items() if len(points)}


def _pixels(camera, points):
    """(row, column) of the points that lie in the picture, and which do."""
    with np.errstate(all="ignore"):
        pixels, depth = camera.project(points)
        inside = (depth > 0) & (pixels > -0.5).all(axis=1) & (pixels[:, 0] < camera.width - 0.5) & (pixels[:, 1] < camera.height - 0.5)
    return np.rint(pixels[inside]).astype(int)[:, ::-1], inside, depth


def _within(camera, points):
    return _pixels(camera, points)[1]


def _tell_unseen(name, camera, bodies, share, problems):
    """Say that a camera sees nothing of the body, and why that may be."""
    turned = camera.moved(camera.rotation.T, -camera.rotation.T @ camera.translation)
    flipped = camera.moved(np.diag([1.0, -1.0, -1.0]) @ camera.rotation, np.diag([1.0, -1.0, -1.0]) @ camera.translation)
    remedy = "check its pose (world to camera, OpenCV's axes) and the units of both"
    likely = (turned, "the pose looks like camera to world: invert it"), (flipped, "its axes look like OpenGL's: turn y and z")
    for other, reason in likely:
        if np.mean(np.concatenate([_within(other, points) for points in bodies.values()])) > 0.5:
            remedy = reason
            break
    what = f"cameras.{name} sees {100 * share:.0f} % of what the tracks say of the body"
    problems.warning(FILE, what, remedy)


def _masks(name, camera, masks, bodies, problems):
    inside = total = 0
    for frame, points in bodies.items():
        mask = readable(masks, frame)
        if mask is None or not mask.any():
            continue
        at, _, _ = _pixels(camera, points)
        wide = binary_dilation(mask, iterations=max(1, round(SLACK * camera.width)))
        inside, total = inside + int(wide[at[:, 0], at[:, 1]].sum()), total + len(at)
    if total >= 10 and inside < 0.5 * total:
        what = f"{100 * (1 - inside / total):.0f} % of the tracks project outside the mask"
        problems.warning(f"mask/{name}", what, "do mask, pose and tracks belong together, and is the body white?")


def _depths(name, camera, parts, bodies, problems):
    ratios = []
    for frame in bodies:
        depth = readable(parts.depth[name], frame)
        if depth is None:
            continue
        at, inside, distance = _pixels(camera, parts.tracks.positions[frame])
        measured = depth[at[:, 0], at[:, 1]]
        ratios.append((measured / distance[inside])[np.isfinite(measured)])
    ratios = np.concatenate(ratios) if ratios else np.zeros(0)
    if len(ratios) >= 10 and not 1 / SCALE < np.median(ratios) < SCALE:
        what = f"depth is {np.median(ratios):.3g} times what the tracks say where they are seen"
        problems.warning(f"depth/{name}", what, "check the units of depth, tracks and pose")
