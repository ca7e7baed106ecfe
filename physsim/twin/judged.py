"""A fitted twin, simulated over its capture and judged: as it is, and where asked for with a residual correction."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from physsim.capture.capture import Capture
from physsim.errors import InputError
from physsim.twin.identification import predict
from physsim.twin.judge import judge
from physsim.twin.judgement import Judgement
from physsim.twin.residual import ResidualCorrection, fit_residual
from physsim.twin.results import TwinFit
from physsim.twin.seen import Seen


@dataclass(frozen=True, eq=False)
class Judged:
    """What `physsim.twin.page.write_report` shows.

    Args:
        frames: of the capture that were simulated, shape [f].
        positions: of all particles in these, in the cameras' world [m], shape [f, n, 3].
        judgement: of the twin as it is.
        correction: of its residual; None: none was asked for.
        corrected: judgement with the correction, or None.
    """

    frames: np.ndarray
    positions: np.ndarray
    judgement: Judgement
    correction: ResidualCorrection | None = None
    corrected: Judgement | None = None


def judge_twin(
    scene: object,
    fit: TwinFit,
    *,
    residual: bool | ResidualCorrection = False,
    replay: Capture | None = None,
    draw: Callable | None = None,
) -> Judged:
    """Simulate a fit over all frames from its start on, and judge it.

    Args:
        scene: TwinScene, of the capture that it is judged against.
        fit: TwinFit.
        residual: True: a correction is learned from the fitted frames, where these hold enough; or one that was learned before.
        replay: another recording of the same thing, to be replayed as a predictor.
        draw: as `physsim.twin.pictures.painter` gives it; None: pictures are not judged.

    Raises:
        InputError: a fit of another model.
        SolverError: a step failed.
    """
    capture = scene.capture
    frames = np.flatnonzero(capture.times >= fit.start_time - 1e-9)
    positions = predict(scene, fit, frames)
    judgement = judge(capture, scene, positions, frames, fit=fit, replay=replay, draw=draw)
    correction = residual if isinstance(residual, ResidualCorrection) else None
    if residual is True:
        try:
            correction = fit_residual(capture, scene, positions, frames, fit=fit, simulated=judgement.simulated)
        except InputError as error:
            judgement.remarks.append(f"No residual correction: {error}.")
    if correction is None:
        return Judged(frames, positions, judgement)
    if correction.kind == "none":
        return Judged(frames, positions, judgement, correction, judgement)
    mended = correction.apply(positions, Seen(capture, fit).times[frames], capture.handles)
    return Judged(frames, positions, judgement, correction, judge(capture, scene, mended, frames, fit=fit, draw=draw))
