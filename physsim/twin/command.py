"""The command ``physsim fit``: from a capture's folder to an asset that moves like what was seen."""

import sys
from os import PathLike
from pathlib import Path

from physsim.appearance.asset import NAME
from physsim.capture.check import checked_capture
from physsim.io.folders import replaced_folder
from physsim.twin.fingerprint import capture_fingerprint
from physsim.twin.fit_job import FitJob, Fitted, enough_to_fit
from physsim.twin.options import FitRequest, checked_output, known_values
from physsim.twin.terminal import Progress, summary
from physsim.twin.twin_file import versions
from physsim.twin.work import Work, alone, key_of

SHOWN = 5  # warnings on a capture that are told one by one


def main(
    capture: str | PathLike[str],
    out: str | PathLike[str],
    *,
    test: str | PathLike[str] | None = None,
    known: list[str] | None = None,
    restart: bool = False,
    quiet: bool = False,
    **request: object,
) -> int:
    """Fit, judge, write the asset with its report and its run, and print the tables.

    Args:
        capture: folder.
        out: folder for the asset.
        test: folder of another recording of the same thing, to be predicted.
        known: words NAME=VALUE of what is held fixed.
        restart: do not go on from what an interrupted fit left.
        quiet: no progress, only the tables.
        request: as `FitRequest`.

    Returns:
        Exit code 0.

    Raises:
        InputError: a capture that cannot be fitted, a request that it cannot meet.
        SolverError: no candidate could be simulated.
    """
    found, page = fit_capture(capture, out, FitRequest(known=known_values(known or []), **request), test=test, restart=restart, quiet=quiet)
    print(summary(found.fit, found.judged.judgement, found.scene.remarks))
    print(f"\n{page}")
    return 0


def fit_capture(
    capture: str | PathLike[str],
    out: str | PathLike[str],
    request: FitRequest | None = None,
    *,
    test: str | PathLike[str] | None = None,
    restart: bool = False,
    quiet: bool = True,
) -> tuple[Fitted, Path]:
    """Fit a capture's folder and write the asset's; a fit that was interrupted is gone on from, to the same result.

    Args:
        capture, out, test, restart, quiet: as for `main`.
        request: FitRequest; None: the defaults.

    Returns:
        (Fitted, path of the report's page).

    Raises:
        InputError, SolverError: as for `main`.
    """
    request, progress = request or FitRequest(), Progress(quiet)
    out = checked_output(Path(capture), Path(out), NAME)
    partial = out.with_name(f"{out.name}.partial")
    with alone(partial):
        try:
            progress.begin("read")
            seen = _checked(capture, progress)
            other = None if test is None else _checked(test, progress)
            seen = request.given(seen)
            enough_to_fit(seen)
            key = key_of(capture_fingerprint(seen), request.as_dict(), versions())
            work = Work(partial, key, restart, progress.say)
            with work.stage("read"):  # what has passed is not much, and was spent before there was a place to note it
                progress.show(f"{seen.frame_count} frames, {', '.join(seen.sensors)}")
            found = FitJob(seen, request, work, progress).run()
            progress.begin("write")
            page = _written(out, found, other)
        finally:
            progress.end()
        work.remove()
    return found, page


def _checked(folder, progress):
    """The capture of a folder; its warnings are told, its errors end the fit."""
    seen, warnings = checked_capture(folder)
    for problem in warnings[:SHOWN]:
        progress.say(f"{folder}: {problem}")
    if len(warnings) > SHOWN:
        progress.say(f"{folder}: {len(warnings) - SHOWN} more warnings; `physsim check {folder}` tells them")
    return seen


def _written(out, found, other):
    """The asset's folder: asset, report and run, and what another recording says, at once or not at all."""
    from physsim.twin.page import write_report
    from physsim.twin.pictures import painter

    draw = painter(found.asset) if found.asset.splats is not None else None
    judged, scene = found.judged, found.scene
    with replaced_folder(out, NAME) as folder:
        found.asset.save(folder)
        fitted_run(found).save(folder / "run")
        notes = list(found.notes)
        if other is not None:
            notes.append(_tested(folder / "test", found, other))
        write_report(
            folder,
            scene.capture,
            scene,
            found.fit,
            judged.judgement,
            judged.positions,
            corrected=judged.corrected,
            correction=judged.correction,
            draw=draw,
            notes=tuple(notes),
            versions=versions(),
        )
    return out / "report.html"


def _tested(folder, found, other):
    """Predict another recording and report it; what the page says of it."""
    from physsim.twin.compare import compare
    from physsim.twin.page import write_report
    from physsim.twin.pictures import painter
    from physsim.twin.report import verdict

    judged, scene, fit, notes = compare(found.asset, other, replay=found.scene.capture)
    draw = painter(found.asset) if found.asset.splats is not None and other.colour else None
    write_report(folder, scene.capture, scene, fit, judged.judgement, judged.positions, kind="compare", draw=draw, notes=notes)
    said = " ".join(verdict(judged.judgement))
    print(f"{other.name}: {said}", file=sys.stderr)
    return f"Another recording, {other.name}: {said} See test/report.html."


def fitted_run(found: Fitted) -> object:
    """The fitted motion over all frames as a Run, for `physsim view`: the body with its look, and the ground."""
    from dataclasses import replace

    from physsim.appearance.run import Run, RunBody

    scene, judged, asset = found.scene, found.judged, found.asset
    count = len(asset.mesh.points)
    finite = [i for i, x in enumerate(judged.positions) if (x[:count] == x[:count]).all()]
    look = replace(asset, twin=None) if asset.splats is not None else None
    held = scene.held[scene.held < count]
    body = RunBody(asset.name, asset.mesh, asset.material, held=held, asset=look)
    ground = scene.capture.known.ground
    level = None if ground is None or ground[1][2] < (1.0 - 1e-6) * (ground[1] @ ground[1]) ** 0.5 else float(ground[0][2])
    times = scene.capture.times[judged.frames[finite]]
    camera = next(iter(scene.capture.cameras.values()), None)
    return Run.of_parts(times, [body], [judged.positions[finite, :count]], gravity=scene.capture.gravity, ground=level, camera=camera)
