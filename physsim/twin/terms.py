"""The terms of a fit: what of a capture is compared with the simulation, each weighed by its own noise.

A term has `name`, `frames` (numbers of the frames that it covers), `sigma` (standard deviation of one residual; a fit sets it anew as
residuals show it) and `linearise(frame, x)`, which gives a `Linear`. Beyond these it may have `sharp` (which rho it uses), `bind(frame, x)`
with `first_frames` (called with the body's positions where the fit knows them), `data()` (arrays for the
fingerprint of a checkpoint), and `remark` (what is to be said of its data).
"""

import numpy as np

from physsim.capture.capture import Capture
from physsim.errors import InputError
from physsim.twin.cloud_term import COUNT, CloudTerm
from physsim.twin.foreground import Foreground
from physsim.twin.mask_term import MaskTerm
from physsim.twin.noise import cloud_noise, track_noise
from physsim.twin.surface import BodySurface
from physsim.twin.track_term import TrackTerm

LEAST_NOISE = 1e-5  # [m]: of data without any, as a simulation gives them


def default_terms(scene: object, frames: np.ndarray | None = None, sensors: tuple | None = None, seed: int = 0) -> list:
    """Terms for all that a capture holds.

    Args:
        scene: TwinScene.
        frames: numbers of the frames; None: those to fit.
        sensors: of "tracks", "points", "depth", "mask"; None: all that there are.
        seed: of the choice of points.

    Raises:
        InputError: a sensor that the capture lacks, nothing to compare.
    """
    capture = scene.capture
    frames = capture.fit if frames is None else np.asarray(frames, dtype=int)
    there = tuple(s for s in capture.sensors if s != "colour")
    for sensor in sensors or ():
        if sensor not in there:
            raise InputError(f"sensors: {sensor!r} was asked for; this capture has {', '.join(there)}")
    chosen = there if sensors is None else sensors
    surface = BodySurface.of(scene)
    terms = []
    if "tracks" in chosen:
        terms.append(_tracks(capture, frames, surface, scene.model.rest))
    if "points" in chosen:
        terms.append(_points(capture, frames, surface, seed))
    if "depth" in chosen:
        terms += [_depth(scene, name, frames, surface, seed) for name in capture.depth]
    if "mask" in chosen:
        terms += [MaskTerm.of(capture, name, frames, surface, seed) for name in capture.mask if not surface.is_rod]
    terms = [term for term in terms if len(term.frames)]
    if not terms:
        raise InputError("the capture holds nothing to compare in the frames to fit; give tracks, points or depth there")
    return terms


def _tracks(capture, frames, surface, particles):
    positions = capture.tracks.positions[frames]
    rest = None if capture.tracks.rest is None else (capture.tracks.rest, particles)
    return TrackTerm(frames, positions, surface, _noise(capture, "tracks", lambda: track_noise(positions)), rest)


def _points(capture, frames, surface, seed):
    frames = np.array([f for f in frames if capture.points[f] is not None and len(capture.points[f])], int)
    clouds = [np.asarray(capture.points[f], float) for f in frames]
    sigma = _noise(capture, "points", lambda: np.nanmedian([cloud_noise(c) for c in clouds[::5]]))
    return CloudTerm("points", frames, clouds, surface, sigma, seed=seed)


def _depth(scene, camera, frames, surface, seed):
    capture = scene.capture
    found = None if camera in capture.mask else Foreground(scene, camera, frames)
    cloud = found.cloud if found is not None else lambda frame: capture.cloud(frame, camera)
    clouds = {int(f): cloud(int(f)) for f in frames if capture.depth[camera][f] is not None}
    some = [cloud for i, cloud in enumerate(clouds.values()) if i % 5 == 0]
    sigma = _noise(capture, "depth", lambda: np.nanmedian([cloud_noise(c) for c in some]))
    chosen = np.array(list(clouds), int)
    eyes = [capture.cameras[camera].position] * len(chosen)
    name = "depth" if len(capture.depth) == 1 else f"depth {camera}"
    term = CloudTerm(name, chosen, list(clouds.values()), surface, sigma, eyes, COUNT, seed)
    term.remark = "" if found is None else found.remark
    return term


def _noise(capture: Capture, sensor: str, estimate) -> float:
    stated = capture.noise.get(sensor)
    value = float(estimate()) if stated is None else float(stated)
    return max(value, LEAST_NOISE) if np.isfinite(value) else 1e-3
