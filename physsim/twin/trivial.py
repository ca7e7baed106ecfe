"""Predictors that anybody could use without a simulation, to be held beside a twin on the same frames.

Of a frame t that was not fitted they know the fitted frames before it, the last of which is its anchor a (a frame before all fitted ones
has the first fitted one), and where the handles are at t:

    last frame held           x(t) = x(a)
    control interpolated      x(t) = x(a) + sum_h w_h (G_h(t) G_h(a)^-1 x(a) - x(a)), G_h the pose of handle h
    last residual carried on  x(t) = s(t) + x(a) - s(a), s the simulated position
    other recording replayed  x(t) = y(t - t_0 + u_0), y another recording of the same points that begins at u_0

In the second every point goes along with the handles, each by its share w_h in 0..1. The shares are found by ridge regression of the
point's displacements in the fitted frames, drawn towards shares by distance (1 / d^2, adding up to 1) where the motion does not tell.

The third contains the simulation. It says what correcting a twin by its last known error would gain, and is not counted when a twin is
compared with predictors that do without one.
"""

from collections.abc import Mapping

import numpy as np

from physsim.capture.capture import Handle

HELD, CONTROL, CARRIED, REPLAYED = "last frame held", "control interpolated", "last residual carried on", "other recording replayed"
TRIVIAL = (HELD, CONTROL, REPLAYED)  # without a simulation
RIDGE = 1e-2  # of the regression, as a share of the handles' mean square displacement


def anchors(frames: np.ndarray, fitted: np.ndarray) -> np.ndarray:
    """Number of the fitted frame that each frame's predictions rest on, shape [f]; both in increasing order, at least one fitted."""
    place = np.searchsorted(fitted, frames, side="right") - 1
    return np.asarray(fitted)[np.maximum(place, 0)]


def last_seen(visible: np.ndarray, fitted: np.ndarray, anchor: int) -> np.ndarray:
    """Frame in which each track was last seen among the fitted ones up to the anchor, shape [p]; -1: never."""
    allowed = fitted[fitted <= anchor]
    seen = visible[allowed]
    place = len(allowed) - 1 - np.argmax(seen[::-1], axis=0)
    return np.where(seen.any(axis=0), allowed[place], -1)


def carried_by(handle: Handle, points: np.ndarray, before: np.ndarray, after: float) -> np.ndarray:
    """Where points [p, 3] would be at time `after` [s] if the handle had carried them rigidly from the times `before` [s], shape [p]."""
    centre, turn = handle.at(before)
    place, rotation = handle.at(np.array(after))
    local = np.einsum("pji,pj->pi", turn, points - centre)
    return place + local @ rotation.T


def control_shares(
    positions: np.ndarray, visible: np.ndarray, fitted: np.ndarray, handles: Mapping[str, Handle], times: np.ndarray
) -> np.ndarray:
    """How much each point goes along with each handle, found in the fitted frames.

    Args:
        positions: [m], shape [frames, p, 3].
        visible: shape [frames, p].
        fitted: numbers of the fitted frames, increasing.
        handles: name -> Handle, at least one.
        times: of the frames, on the handles' clock [s], shape [frames].

    Returns:
        Shares in 0..1, shape [p, handles]; NaN for points that were not seen in a fitted frame.
    """
    seen = visible[fitted]
    first = fitted[np.argmax(seen, axis=0)]
    rows = np.arange(positions.shape[1])
    start = positions[first, rows]
    basis = np.stack(
        [np.stack([carried_by(h, start, times[first], times[t]) - start for h in handles.values()]) for t in fitted]
    )  # [f, h, p, 3]
    weight = (seen & seen.any(axis=0)).astype(float)
    moved = np.where(seen[..., None], positions[fitted] - start, 0.0)
    square = np.einsum("fhpc,fkpc,fp->phk", basis, basis, weight)
    product = np.einsum("fhpc,fpc,fp->ph", basis, moved, weight)
    centres = np.stack([h.at(times[first])[0] for h in handles.values()], axis=1)  # [p, h, 3]
    near = 1.0 / np.maximum(((centres - start[:, None]) ** 2).sum(axis=-1), 1e-12)
    prior = near / near.sum(axis=1, keepdims=True)
    count = len(handles)
    ridge = RIDGE * np.trace(square, axis1=1, axis2=2)[:, None] / count + 1e-12 * np.maximum(weight.sum(axis=0)[:, None], 1.0)
    square = square + ridge[..., None] * np.eye(count)
    shares = np.full((len(rows), count), np.nan)
    known = seen.any(axis=0)
    shares[known] = np.linalg.solve(square[known], (product + ridge * prior)[known][..., None])[..., 0]
    return np.clip(shares, 0.0, 1.0)


def go_along(points: np.ndarray, shares: np.ndarray, handles: Mapping[str, Handle], before: np.ndarray, after: float) -> np.ndarray:
    """Points [p, 3] moved by their shares [p, handles] of the handles' motion from the times `before` [s], shape [p], to `after` [s]."""
    out = points.copy()
    for k, handle in enumerate(handles.values()):
        out += shares[:, k, None] * (carried_by(handle, points, before, after) - points)
    return out


def predict_tracks(
    seen: np.ndarray,
    visible: np.ndarray,
    simulated: np.ndarray,
    frames: np.ndarray,
    fitted: np.ndarray,
    handles: Mapping[str, Handle],
    times: np.ndarray,
) -> dict[str, np.ndarray]:
    """Where the trivial predictors say that tracks are.

    Args:
        seen: measured positions of all frames of the capture [m], shape [frames, p, 3].
        visible: shape [frames, p].
        simulated: positions in the capture's frames, NaN where not simulated [m], shape [frames, p, 3].
        frames: to predict, increasing, shape [f].
        fitted: fitted frames, increasing.
        handles: name -> Handle; none: there is no control to interpolate.
        times: of the frames, on the handles' clock [s].

    Returns:
        Predictor -> positions [m], shape [f, p, 3]; NaN where a track was not seen before.
    """
    rows = np.arange(seen.shape[1])
    shares = control_shares(seen, visible, fitted, handles, times) if handles else None
    out = {name: np.full((len(frames), len(rows), 3), np.nan) for name in (HELD, CARRIED, *([CONTROL] if handles else []))}
    for i, (frame, anchor) in enumerate(zip(frames, anchors(frames, fitted), strict=True)):
        last = last_seen(visible, fitted, max(anchor, fitted[0]))
        known = last >= 0
        place = seen[last[known], rows[known]]
        out[HELD][i, known] = place
        out[CARRIED][i, known] = simulated[frame, known] + place - simulated[last[known], rows[known]]
        if handles:
            out[CONTROL][i, known] = go_along(place, shares[known], handles, times[last[known]], times[frame])
    return out


def replayed_frames(times: np.ndarray, other: np.ndarray, frames: np.ndarray) -> np.ndarray:
    """Frame of another recording at the same time since its first frame, shape [f]; -1 where it has ended.

    Args:
        times, other: of the two recordings' frames [s].
        frames: of the first recording.
    """
    since = times[frames] - times[0]
    there = other - other[0]
    place = np.abs(there - since[:, None]).argmin(axis=1)
    step = np.median(np.diff(times)) if len(times) > 1 else np.inf
    return np.where(np.abs(there[place] - since) <= step, place, -1)
