"""Judging a twin: simulated positions against a capture, beside trivial predictors.

`physsim.twin.distances` defines the errors, `physsim.twin.trivial` the predictors, `physsim.twin.judgement` what comes out.
"""

from collections.abc import Callable

import numpy as np

from physsim.capture.capture import Capture
from physsim.errors import InputError
from physsim.physics import validation
from physsim.twin import distances, trivial
from physsim.twin.association import Association
from physsim.twin.elements import rest_points
from physsim.twin.judge_clouds import Moving, judge_clouds
from physsim.twin.judgement import TWIN, Judgement
from physsim.twin.pictures import held_painter, one_torch_thread, picture_errors
from physsim.twin.seen import Seen

MOST_POINTS = 1500  # of a frame's cloud that distances are taken of
MOST_FRAMES = 120  # fitted, and held out, in which clouds and silhouettes are judged
MOST_PICTURES = 30  # fitted, and held out, that are drawn and judged


def judge(
    capture: Capture,
    scene: object,
    positions: np.ndarray,
    frames: np.ndarray | None = None,
    *,
    fit: object = None,
    association: tuple[np.ndarray, np.ndarray] | Callable | None = None,
    replay: Capture | None = None,
    draw: Callable | None = None,
    most_points: int = MOST_POINTS,
    most_frames: int = MOST_FRAMES,
) -> Judgement:
    """Judge simulated positions against a capture.

    Args:
        capture: what was seen; its `fit` and `test` say which frames are which.
        scene: TwinScene that the positions belong to; its `soft_body.mesh`, `surface`, `edges` and `thickness` are used.
        positions: of the particles in these frames, in the cameras' world, as `predict` gives them [m], shape [f, n, 3]; the mesh's points
            come first. NaN: not simulated.
        frames: of the capture, increasing, shape [f]; None: all. For the trivial predictors the last fitted frames must be among them.
        fit: TwinFit, whose `time_offset`, `camera_pose` and `noise` are used; None: none of them is known.
        association: of the tracks with the body: (nodes [p, k], weights [p, k]) of material points, a row of NaN weights where there is
            none; or a function that gives their places [p, 3], NaN where there is none, from positions [n, 3]; None: found by
            `Association` in the first fitted frames.
        replay: another recording of the same thing, to be replayed as a predictor.
        draw: (Camera, positions [n, 3] m) -> what `physsim.twin.pictures.painter` returns; None: pictures are not judged.
        most_points: of a frame's cloud that distances are taken of, evenly chosen.
        most_frames: of the fitted and of the held-out frames in which clouds and pictures are judged, evenly chosen; tracks are in all.

    Raises:
        InputError: frames and positions that do not fit together, no frame that is fitted or held out.
    """
    frames = np.arange(capture.frame_count) if frames is None else frames
    frames = validation.array("frames", frames, (None,), kind="i", lower=0, upper=capture.frame_count - 1)
    positions = np.asarray(positions, dtype=float)
    mesh = scene.soft_body.mesh
    least = len(rest_points(mesh))
    if positions.ndim != 3 or len(positions) != len(frames) or positions.shape[1] < least or positions.shape[2] != 3:
        raise InputError(f"positions: shape {list(positions.shape)}; [{len(frames)}, at least {least}, 3] is needed, a row a frame")
    if not len(frames) or (np.diff(frames) <= 0).any():
        raise InputError("frames: at least one is needed, and they must increase")
    if not np.isin(frames, [*capture.fit, *capture.test]).any():
        raise InputError("frames: none of them is among the capture's fitted or held-out frames")
    seen = Seen(capture, fit)
    fitted, tested = (np.isin(frames, part) for part in (capture.fit, capture.test))
    out = Judgement(capture.name, frames, capture.times[frames], fitted, tested, {TWIN: {}}, depth_noise=seen.noise("depth"))
    if seen.tracks is not None:
        _judge_tracks(out, seen, scene, positions, association, replay)
    chosen = _evenly(np.flatnonzero(fitted), most_frames) + _evenly(np.flatnonzero(tested), most_frames)
    looked = np.where(np.isin(np.arange(len(frames)), chosen)[:, None, None], positions, np.nan)
    if len(chosen) < (fitted | tested).sum():
        out.remarks.append(f"Clouds and pictures were judged in {len(chosen)} of {(fitted | tested).sum()} frames, evenly chosen.")
    body = Moving.of(mesh, looked[:, :least], thickness=getattr(scene, "thickness", None))
    judge_clouds(out, seen, body, replay, most_points)
    with one_torch_thread():
        _judge_surfaces(out, seen, body, most_points)
        if draw is not None:
            _judge_pictures(out, seen, looked, draw)
    if not out.errors[TWIN]:
        out.remarks.append("Nothing could be judged: the judged frames hold neither tracks nor depth, points or masks.")
    return out


def _evenly(rows, most):
    """At most so many of the rows, the first and the last among them."""
    return rows[np.unique(np.linspace(0, len(rows) - 1, min(most, len(rows))).round().astype(int))].tolist()


def _judge_tracks(out, seen, scene, positions, association, replay):
    """Track errors of the twin and of the trivial predictors."""
    capture = seen.capture
    whole = np.full((capture.frame_count, *positions.shape[1:]), np.nan)
    whole[out.frames] = positions
    lost = distances.strayed(seen.tracks, seen.visible)
    if association is None:
        if not np.isfinite(whole[capture.fit][:, :1]).all(axis=(1, 2)).any():
            raise InputError(
                "positions: no fitted frame is among them, so that nobody knows which material points the tracks follow; "
                "simulate some, or give the association"
            )
        association = Association(scene, seen.tracks, seen.visible & ~lost, whole, capture.fit, capture.tracks.rest)
    if callable(association):
        simulated = np.stack([association(x) for x in whole])
    else:
        nodes, weights = association
        simulated = np.einsum("pk,fpkc->fpc", weights, whole[:, nodes])
    known = np.isfinite(simulated).all(axis=2).any(axis=0) & seen.visible[capture.fit].any(axis=0)
    judged = (seen.visible & known)[out.frames]
    out.tracks, out.simulated = int(known.sum()), simulated[out.frames]
    out.strayed = float(lost[out.frames][judged].mean()) if judged.any() else 0.0
    if known.sum() < len(known):
        out.remarks.append(f"{len(known) - known.sum()} of {len(known)} tracks were not seen on the body in a fitted frame; not judged.")
    predicted = {TWIN: out.simulated}
    predicted |= trivial.predict_tracks(seen.tracks, seen.visible, simulated, out.frames, capture.fit, seen.handles, seen.times)
    if replay is not None:
        again = _replayed_tracks(out, seen, replay)
        if again is not None:
            predicted[trivial.REPLAYED] = again
    target = seen.tracks[out.frames]
    for name, places in predicted.items():
        away = np.where(judged, np.linalg.norm(places - target, axis=-1), np.nan)
        if name != TWIN:
            away[~out.tested] = np.nan  # what a predictor rests on is no prediction
        kept = np.where(lost[out.frames], np.nan, away)
        out.errors.setdefault(name, {}).update(track=_mean(kept), track_median=_mean(kept, np.median), track_all=_mean(away))


def _mean(values, how=np.mean):
    """Of the finite values of each row [f, p], shape [f]; NaN where there are none."""
    return np.array([how(row[np.isfinite(row)]) if np.isfinite(row).any() else np.nan for row in values])


def _replayed_tracks(out, seen, replay):
    """Tracks of another recording at the same time since its first frame; None, with a remark, where they cannot be matched."""
    if replay.tracks is None or replay.tracks.positions.shape[1] != seen.tracks.shape[1]:
        out.remarks.append("The other recording has no tracks of the same number, so that its tracks are not replayed.")
        return None
    chosen = trivial.replayed_frames(seen.capture.times, replay.times, out.frames)
    return np.where((chosen >= 0)[:, None, None], replay.tracks.positions[np.maximum(chosen, 0)], np.nan)


def _judge_surfaces(out, seen, body, most_points):
    """What cameras tell: two-way Chamfer, depth, silhouettes; of the last frame held the latter two."""
    count, sigma = len(out.frames), out.depth_noise or 0.0
    eyes = {name: distances.Eye(camera, body.triangles) for name, camera in seen.cameras.items() if _looks(seen.capture, name)}
    found = {metric: np.full(count, np.nan) for metric in ("chamfer_two_way", "depth", "iou")}
    held = {metric: np.full(count, np.nan) for metric in ("depth", "iou")}
    for i, frame in enumerate(out.frames):
        if not body.there[i]:
            continue
        anchor = trivial.anchors(out.frames[i : i + 1], seen.capture.fit)[0] if out.tested[i] and len(seen.capture.fit) else None
        looks = [_camera_errors(seen, name, eye, frame, body.vertices[i], anchor, sigma) for name, eye in eyes.items()]
        parts = [part for part, *_ in looks if len(part)]
        if parts and np.isfinite(out.series("chamfer")[i]):
            back = distances.cloud_distances(distances.evenly_chosen(np.concatenate(parts), most_points), seen.cloud(frame)).mean()
            found["chamfer_two_way"][i] = 0.5 * (out.series("chamfer")[i] + back)
        for k, (table, metric) in enumerate(((found, "depth"), (found, "iou"), (held, "depth"), (held, "iou")), 1):
            table[metric][i] = _finite_mean([look[k] for look in looks])
    for name, table in ((TWIN, found), (trivial.HELD, held)):
        told = {metric: values for metric, values in table.items() if np.isfinite(values).any()}
        if told:
            out.errors.setdefault(name, {}).update(told)
    if not eyes and seen.capture.points is not None:
        out.remarks.append("No camera is known, so that nobody can say which parts of the body could be seen: no two-way Chamfer.")


def _camera_errors(seen, name, eye, frame, vertices, anchor, sigma):
    """Of one camera: points of the model that it could see [m, 3]; depth error and IoU of the twin, and of the anchor frame held."""
    measured, mask = seen.image("depth", name, frame), seen.image("mask", name, frame)
    told = [np.zeros((0, 3)), np.nan, np.nan, np.nan, np.nan]
    if measured is None and mask is None and name in {*seen.capture.depth, *seen.capture.mask}:
        return told  # the frame is missing
    depth, shown = eye.look(vertices)
    told[0] = eye.camera.points(depth)[distances.could_see(depth, measured, mask, sigma)]
    before, then = (None if anchor is None else seen.image(kind, name, anchor) for kind in ("depth", "mask"))
    if measured is not None:
        told[1] = distances.depth_error(depth, measured, mask)
        if before is not None:
            told[3] = distances.depth_error(before if then is None else np.where(then, before, np.nan), measured, mask)
    if mask is not None:
        ignored = distances.hidden(depth, measured, mask, sigma)
        told[2] = distances.overlap(shown, mask, ignored)
        if then is not None:
            told[4] = distances.overlap(then, mask, ignored)
    return told


def _looks(capture, camera):
    """Whether a camera tells of the body: it has depth or masks, or it is one of those that made `points`."""
    return camera in capture.depth or camera in capture.mask or capture.points is not None


def _finite_mean(values):
    values = [v for v in values if np.isfinite(v)]
    return float(np.mean(values)) if values else np.nan


def _judge_pictures(out, seen, positions, draw):
    """PSNR and SSIM of pictures drawn in the simulated positions, and of the last fitted picture held; in frames chosen evenly."""
    chosen = [_evenly(np.flatnonzero(part), MOST_PICTURES) for part in (out.fitted, out.tested)]
    tables = {name: {metric: np.full(len(out.frames), np.nan) for metric in ("psnr", "ssim")} for name in (TWIN, trivial.HELD)}
    for i in sorted({*chosen[0], *chosen[1]}):
        frame = out.frames[i]
        if not np.isfinite(positions[i]).all():
            continue
        painters = {TWIN: lambda name: draw}
        if out.tested[i] and len(seen.capture.fit):
            anchor = trivial.anchors(out.frames[i : i + 1], seen.capture.fit)[0]
            painters[trivial.HELD] = lambda name, anchor=anchor: held_painter(seen, name, anchor)
        for who, painter in painters.items():
            numbers = [picture_errors(seen, name, frame, positions[i], painter(name)) for name in seen.capture.colour]
            numbers = [n for n in numbers if n]
            for metric in tables[who] if numbers else ():
                tables[who][metric][i] = _finite_mean([n[metric] for n in numbers])
    for who, table in tables.items():
        told = {metric: values for metric, values in table.items() if np.isfinite(values).any()}
        if told:
            out.errors.setdefault(who, {}).update(told)
