"""The rest shape of a body that was first seen sagging: the one that, under its weight and in its holds, takes the shape that was seen."""

from dataclasses import replace

import numpy as np

from physsim.capture.capture import Capture
from physsim.errors import InputError, SolverError
from physsim.physics.mesh import TetMesh
from physsim.twin.body import SoftBody
from physsim.twin.scene import TwinScene

ROUNDS = 40  # of correction
NEAR = 1e-3  # largest distance from the seen shape at which it is reached, over the extent


def unsagged(scene: TwinScene, params: dict | None = None) -> tuple[SoftBody, float]:
    """Rest shape of a solid that is in equilibrium in the pose in which it was seen.

    Each round the rest shape is moved against what equilibrium departs from the pose (a fixed-point iteration, which converges while weight
    does not soften the body to a fraction of its stiffness).

    Args:
        scene: TwinScene of a solid that is held and at rest when the motion begins.
        params: changes to the scene's parameters: short or full name -> value; the stiffness that was found, as a rule.

    Returns:
        (SoftBody with the new rest shape and the same pose, the largest distance that is left between equilibrium and pose [m]).

    Raises:
        InputError: no solid, or nothing holds it.
        SolverError: no equilibrium, or a rest shape that turns inside out: the stiffness is too low for what was seen.
    """
    body = scene.soft_body
    if body.kind != "solid":
        raise InputError(
            f"unsagged: a solid is needed, the body is a {body.kind}; the rest shapes of sheets and rods are flat and straight"
        )
    if not scene.holds:
        raise InputError("unsagged: nothing holds the body, so that it has no equilibrium; give the handle that it hangs from")
    named = {scene.parameters[key].name if key in scene.parameters else key: value for key, value in (params or {}).items()}
    seen, rest, guess = body.pose, body.points.copy(), None
    extent = float(np.ptp(seen, axis=0).max())
    left = np.inf
    for _ in range(ROUNDS):
        try:
            tried = replace(body, mesh=TetMesh(rest, body.mesh.cells))
        except InputError as error:
            raise SolverError(f"the rest shape turns inside out ({error}): the stiffness is too low for the pose that was seen") from None
        found = _equilibrium(scene, tried, named, guess)
        guess = found
        off = found[: len(seen)] - seen
        size = float(np.linalg.norm(off, axis=1).max())
        if size < left:
            best, left = tried, size
        if size < NEAR * extent:
            break
        rest = rest - off
    remark = "its rest shape is the one that sags to what was seen, for the stiffness that was found"
    return replace(best, remarks=(*(r for r in body.remarks if "free of stress" not in r), remark)), left


def _equilibrium(scene, body, named, guess):
    """Positions [n, 3] of a body of another rest shape in the scene's holds."""
    made = remade(scene, body)
    params = {name: _value(scene, name, value) for name, value in named.items()}
    state, _ = made.static().solve(made.state(guess), made.control, params)
    return state.x.numpy()[0]


def remade(scene: TwinScene, body: SoftBody | None = None, capture: Capture | None = None) -> TwinScene:
    """The scene with another rest shape of its body, or another capture; its holds, step and laws stay."""
    return TwinScene(
        scene.capture if capture is None else capture,
        scene.soft_body if body is None else body,
        scene.material,
        dt=scene.dt,
        contact=scene.contact,
        integrator=scene.integrator,
        holds=list(scene.holds),
        order=scene.soft_body.mesh.order,
        hold_stiffness=_tether(scene),
    )


def _value(scene, name, value):
    """A value as a parameter of one environment takes it."""
    value = np.asarray(value, float)
    shape = scene.model.parameters.find(name).shape
    return value[0] if value.ndim == len(shape) + 1 and value.ndim > 1 else value


def _tether(scene):
    found = scene.parameters.get("hold_stiffness")
    return None if found is None else float(np.mean(found.value))
