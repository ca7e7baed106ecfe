"""The command ``physsim compare``: what a twin predicts, held beside what a capture shows."""

from dataclasses import replace
from os import PathLike
from pathlib import Path

import numpy as np

from physsim.appearance.asset import Asset
from physsim.capture.capture import Capture
from physsim.capture.check import checked_capture
from physsim.errors import InputError
from physsim.twin.fingerprint import capture_fingerprint
from physsim.twin.judged import Judged, judge_twin
from physsim.twin.page import write_report
from physsim.twin.pictures import painter
from physsim.twin.rebuild import rebuilt
from physsim.twin.report import text_table, verdict
from physsim.twin.residual import ResidualCorrection
from physsim.twin.twin_file import twin_of

START = 0.5  # of another recording that may be looked at to find how its motion begins [s]
LEAST = 4  # frames of it at least


def compare(
    asset: Asset, capture: Capture, *, start_seconds: float = START, residual: bool = True, replay: Capture | None = None
) -> tuple[Judged, object, object, tuple[str, ...]]:
    """Simulate an asset's twin over a capture and judge it.

    Of the capture that was fitted, the held-out frames are predicted from the fitted start. Of another one only its first frames are
    looked at, to find where and how fast the body is; material and all else stay, and the rest of the frames is predicted.

    Args:
        asset: with a twin, as `physsim fit` writes it.
        capture: of the same thing.
        start_seconds: of another recording, from its first frame with data on, that may be looked at [s].
        residual: whether a residual correction that the asset holds is judged too.
        replay: another recording, to be replayed as a predictor.

    Returns:
        (Judged, TwinScene, TwinFit, sentences on how it was compared).

    Raises:
        InputError: an asset without a twin; a capture of another kind of body, or in which the body cannot be laid.
        SolverError: a step failed.
    """
    twin = twin_of(asset)
    if capture.kind not in (None, twin.kind):
        raise InputError(
            f"capture {capture.name!r} shows a {capture.kind}; the asset is a {twin.kind}. Compare it with a capture of its kind"
        )
    notes, same = [], capture_fingerprint(capture) == twin.capture.get("fingerprint")
    if same:
        notes.append("The capture is the one that was fitted; its held-out frames were not looked at by the fit.")
    else:
        capture = begun_only(capture, start_seconds)
        told = f"the first {len(capture.fit)} frames tell where and how fast the body begins"
        notes.append(
            f"The capture is not the one that was fitted ({twin.capture.get('name') or 'unnamed'}): {told}, all others are predicted."
        )
    scene, fit = rebuilt(asset, capture)
    correction = None
    if residual and twin.residual is not None:
        correction = ResidualCorrection.from_dict(twin.residual)
        if set(correction.handles) - set(capture.handles):
            correction = None
            notes.append("The asset's residual correction knows handles that this capture lacks, and is left out.")
    draw = painter(asset) if asset.splats is not None and capture.colour else None
    return judge_twin(scene, fit, residual=correction or False, replay=replay, draw=draw), scene, fit, tuple(notes)


def begun_only(capture: Capture, seconds: float) -> Capture:
    """The capture with its first frames that hold data to begin from, and all others held out.

    Args:
        capture: Capture.
        seconds: from its first frame with data on [s]; four frames at least.

    Raises:
        InputError: fewer frames than that and one more.
    """
    there = np.array([_tells(capture, frame) for frame in range(capture.frame_count)])
    frames = np.flatnonzero(there)
    if len(frames) <= LEAST:
        raise InputError(f"capture {capture.name!r}: {len(frames)} frames hold tracks, points or depth; more than {LEAST} are needed")
    begin = frames[capture.times[frames] <= capture.times[frames[0]] + seconds + 1e-9]
    begin = frames[: max(LEAST, min(len(begin), len(frames) - 1))]
    return replace(capture, fit=begin, test=frames[len(begin) :])


def _tells(capture, frame):
    if capture.tracks is not None and capture.tracks.visible[frame].any():
        return True
    if capture.points is not None and capture.points[frame] is not None and len(capture.points[frame]):
        return True
    return any(stream[frame] is not None for stream in capture.depth.values())


def main(
    asset: str | PathLike[str],
    capture: str | PathLike[str],
    out: str | PathLike[str] = "physsim-compare",
    start: float = START,
    replay: str | PathLike[str] | None = None,
    quiet: bool = False,
) -> int:
    """Compare and write report.json and report.html.

    Args:
        asset: folder that `physsim fit` wrote.
        capture: folder.
        out: folder for the report.
        start: of another recording that may be looked at to find how its motion begins [s].
        replay: folder of another recording of the same thing, to be replayed as a predictor.
        quiet: print the table only.

    Returns:
        Exit code.
    """
    thing, seen = Asset.load(asset), checked_capture(capture)[0]
    again = None if replay is None else checked_capture(replay)[0]
    judged, scene, fit, notes = compare(thing, seen, start_seconds=start, replay=again)
    draw = painter(thing) if thing.splats is not None and seen.colour else None
    page = write_report(
        Path(out), scene.capture, scene, fit, judged.judgement, judged.positions,
        kind="compare", corrected=judged.corrected, correction=judged.correction, draw=draw, notes=notes,
    )  # fmt: skip
    print(text_table(judged.judgement))
    if not quiet:
        print("", *verdict(judged.judgement), *judged.judgement.remarks, *notes, "", page, sep="\n")
    return 0
