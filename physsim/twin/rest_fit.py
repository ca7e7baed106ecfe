"""A fit of a body whose rest shape was seen sagging: stiffness and rest shape are found together.

The shape that a capture shows of a solid at rest in its holds is not free of stress: it carries its weight. Taken for the rest shape it
sags once more, and a fit explains that away by too much stiffness. Which rest shape sags to what was seen depends on the stiffness, so that
what is seen of the start says nothing of it; only what comes after does. A fit to the start would therefore be wrong and too sure.

1. Without weight the shape that was seen is in equilibrium for every stiffness: a first fit, right but for how weight stiffens or softens.
2. The rest shape that sags to what was seen for the stiffness E1 that was found (`unsagged`), and a fit with weight. At other
   stiffnesses E gravity is g E / E1, which keeps the start in equilibrium, as elastic forces grow with Young's modulus; once E is E1 it
   is g. Again until they agree.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from physsim.errors import SolverError
from physsim.twin.results import TwinFit
from physsim.twin.sag import remade, unsagged
from physsim.twin.scene import TwinScene
from physsim.twin.start import Start
from physsim.twin.unknowns import GRAVITY, Unknown

ROUNDS = 6  # of rest shape and fit, at most
ALIKE = 0.25  # change of the stiffness over the width of its interval below which a rest shape suits it
SHAPED = 0.01  # distance between equilibrium and what was seen, over the extent, above which the rest shape was not found
VAGUE = 10.0  # upper over lower end of the stiffness's interval from which on it says little of how far the body sags
STIFF = "young"
NEAR = "fit at rest"  # how names of fits begin whose unknowns start near their answer


def starts_sagging(scene: TwinScene, start: Start, unknowns: list[Unknown]) -> bool:
    """Whether a body's rest shape was seen under its weight and can be found.

    It is so of a solid that was made of what was seen, not given, and hangs at rest in holds, clear of the ground.

    Args:
        scene, start, unknowns: as of `identify_twin`.
    """
    body, known = scene.soft_body, scene.capture.known
    made = body.kind == "solid" and body.source != "mesh" and np.array_equal(body.pose, body.points)
    if not (made and scene.holds and start.at_rest and np.any(scene.capture.gravity)):
        return False
    if any(u.role == GRAVITY or u.name == "gravity" for u in unknowns):
        return False  # it could not grow with the stiffness besides
    if scene.contact == "none":
        return True
    if known.ground is None:
        return False
    point, normal = np.asarray(known.ground, float)
    return float(((body.pose - point) @ normal).min() / np.linalg.norm(normal)) > body.cell_size


def fit_unsagged(
    scene: TwinScene, start: Start, unknowns: list[Unknown], fitted: Callable[[str, TwinScene, list[Unknown]], TwinFit]
) -> tuple[TwinScene, TwinFit] | str:
    """Fit a scene that `starts_sagging`.

    Args:
        scene, start, unknowns: as of `identify_twin`.
        fitted: called as fitted(name, scene, unknowns) makes a fit from where the unknowns start; see `NEAR`.

    Returns:
        (TwinScene with the rest shape that was found, TwinFit); or a sentence that says why there is none, and the rest shape is to be
        taken as it was seen.
    """
    floating = remade(scene, capture=replace(scene.capture, gravity=np.zeros(3)))
    fit, spread, history = None, {}, []
    if any(u.name == STIFF for u in unknowns):
        fit = fitted("fit", floating, unknowns)
        low, high = fit.intervals[STIFF]
        if not high < VAGUE * low:
            return (
                "The rest shape is the one that was seen, weight and all: the motion does not tell the stiffness that says how far it sags."
            )
        spread, history, scene = fit.spread, list(fit.history), scene.with_step(fit.dt)
    settings = {} if fit is None else fit.settings
    try:
        for round_ in range(ROUNDS):
            resting = _resting(scene, settings)
            young = float(np.mean(scene.parameters[STIFF].value)) if fit is None else fit.values[STIFF]
            now = [_carrying(u, young, scene.capture.gravity, fit) for u in unknowns]
            fit = fitted("fit" if fit is None else f"{NEAR} {round_ + 1}", resting, now)
            history, spread = history + fit.history, spread or fit.spread
            settings = {name: value for name, value in fit.settings.items() if name != "gravity"}
            low, high = fit.intervals.get(STIFF, (young, young))
            if abs(fit.values.get(STIFF, young) - young) <= ALIKE * (high - low):
                break
        resting = _resting(scene, settings).with_step(fit.dt)
        x = _equilibrium(resting, start, settings)
    except SolverError as error:
        return f"The rest shape is the one that was seen, weight and all: none was found that sags to it ({error})."
    velocities = np.zeros_like(x)
    return resting, replace(fit, settings=settings, start=(x, velocities), spread=spread, history=history)


def _resting(scene, settings):
    """The scene with the rest shape that sags to what was seen."""
    found, left = unsagged(scene, settings)
    if left > SHAPED * float(np.ptp(found.pose, axis=0).max()):
        raise SolverError(f"the nearest one departs from it by {1e3 * left:.2g} mm")
    moved = float(np.linalg.norm(found.points - found.pose, axis=1).max())
    remark = f"its rest shape is the one that sags by up to {1e3 * moved:.3g} mm to what was seen, for the stiffness that was found"
    kept = tuple(r for r in scene.remarks if "free of stress" not in r)
    return remade(scene, replace(found, remarks=(*kept, remark)))


def _carrying(unknown, young, gravity, fit):
    """An unknown from where the fit stands; with the stiffness gravity grows, so that the start stays in equilibrium."""
    if fit is not None and unknown.name in fit.values:
        unknown = unknown.started_at(fit.values[unknown.name])
    return replace(unknown, carried={"gravity": gravity / young}) if unknown.name == STIFF else unknown


def _equilibrium(scene, start, settings):
    """Positions [n, 3] of the body at rest with what was found."""
    values = {name: np.broadcast_to(value, (scene.model.envs, *np.shape(value))) for name, value in settings.items()}
    state, _ = scene.static().solve(start.state(scene), scene.control, scene.model.parameters.replace(values))
    return state.x.numpy().reshape(-1, 3).copy()
