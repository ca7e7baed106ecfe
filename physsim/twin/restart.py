"""How another recording of a fitted thing begins: its material is known, where and how fast it is at first is not."""

import copy
from dataclasses import replace

import numpy as np

from physsim.errors import SolverError
from physsim.real2sim.least_squares import least_squares
from physsim.twin.problem import TwinProblem
from physsim.twin.results import TwinFit
from physsim.twin.start import Start, find_start
from physsim.twin.terms import default_terms
from physsim.twin.unknowns import start_unknowns

WAYS = 9  # of the start that are corrected at most
ROUNDS = 2  # after the first, tracks that are seen later are tied to the body as it then lies
ENDS = {"max_iterations": 12, "relative_decrease": 1e-3, "gradient": 1e-3, "step_size": 1e-3}


def restarted(scene: object, fit: TwinFit, seed: int = 0) -> TwinFit:
    """A fit whose start suits the fitted frames of a scene's capture, all else as it was.

    Place and velocity are corrected along the start's smooth ways by Gauss-Newton on tracks, points, depth and masks, so that a start that
    was read off few noisy frames does not spoil all that follows. What is at rest, and fits that moved cameras or clocks, stay as they are.

    Args:
        scene: TwinScene of the capture.
        fit: TwinFit, which begins where that capture does.
        seed: of the choice of points.
    """
    moved = fit.time_offset != 0.0 or not (np.allclose(fit.camera_pose[0], np.eye(3)) and np.allclose(fit.camera_pose[1], 0.0))
    start = find_start(scene, seed=seed)
    if start.at_rest or moved or not len(start.ways):
        return fit
    known = copy.copy(scene)
    known.model = replace(scene.model, parameters=scene.model.parameters.replace(fit.settings))
    terms = default_terms(known, seed=seed)
    frame = int(np.argmin(np.abs(scene.capture.times - start.time)))
    _bind(terms, lambda _: start.positions[None], [frame])
    extent = float(np.ptp(start.positions[scene.body.particles], axis=0).max())
    unknowns = start_unknowns(min(WAYS, len(start.ways)), extent)
    problem = TwinProblem(known, terms, unknowns, start, None, 1)
    problem.assume(np.zeros(len(unknowns)))
    try:
        for _ in range(ROUNDS):
            result = least_squares(problem, problem.variables, **ENDS)
            at = result.scaled[result.best][None]
            problem.unknowns = [u.started_at(float(v)) for u, v in zip(unknowns, result.theta[result.best], strict=True)]
            _bind(terms, lambda first, at=at: problem.simulate(at, first)[0])
    except (RuntimeError, SolverError):
        return fit
    return replace(fit, start=_begun(problem, at, start), start_time=float(start.time))


def _bind(terms, poses, frames=None):
    """Tie what is followed to the body where it is first seen: positions [frames, n, 3] from poses(frames)."""
    for term in terms:
        if hasattr(term, "bind"):
            first = term.first_frames if frames is None else np.intersect1d(term.first_frames, frames)
            for number, x in zip(first, poses(first) if len(first) else (), strict=True):
                if np.isfinite(x).all():
                    term.bind(int(number), x)


def _begun(problem: TwinProblem, scaled: np.ndarray, start: Start) -> tuple[np.ndarray, np.ndarray]:
    state, *_ = problem.begin(problem.settings(scaled), slopes=False)
    return tuple(part.numpy().reshape(start.positions.shape).copy() for part in (state.x, state.v))
