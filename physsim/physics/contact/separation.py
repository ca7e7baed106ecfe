"""A state's own intersections: found before a first step, and resolved where a user asks for it."""

import numpy as np
import warp as wp

from physsim.errors import InputError
from physsim.physics import validation
from physsim.physics.contact.intersections import Inspection
from physsim.physics.model import State, require_state


def inspect(state):
    """Intersections of a state's surfaces: pairs nearer than their thickness, and edges through triangles.

    Args:
        state: State of a model with contact.

    Returns:
        Intersections (`len` of it counts them, `describe(model.contact.names)` tells them).

    Raises:
        InputError: the model has no contact.
    """
    inspection, points = _begin(state)
    return inspection.intersections(points)


def separate(state, iterations=20):
    """A state whose intersecting bodies were moved apart as wholes; velocities stay.

    Args:
        state: State of a model with contact.
        iterations: passes over all pairs.

    Returns:
        State without history.

    Raises:
        InputError: the model has no contact, or some surfaces could not be parted: those that intersect themselves, or have no room.
    """
    inspection, points = _begin(state)
    moved, left = inspection.resolve(points, iterations)
    model, scene = state.model, state.model.contact
    if len(left):
        raise InputError(f"separate: {len(left)} intersections remain: {left.describe(scene.names)}; place the bodies otherwise")
    x = state.x.numpy().astype(np.float64)
    for number, name in enumerate(scene.names):
        x[:, model.bodies[name].particles] += moved[:, number, None]
    return model.state(model.squeeze(x), state.velocities, state.time)


def require_apart(model, state):
    """Raise an InputError where surfaces of a state intersect, and name the pairs."""
    found = inspect(state)
    if len(found):
        raise InputError(
            f"state: its surfaces intersect ({found.describe(model.contact.names)}). A step needs them apart: place the bodies otherwise, "
            "call physsim.separate(state), or let pairs pass by ignore_contact"
        )


def _begin(state):
    model = validation.instance("state", state, State, "model.state() makes one").model
    require_state(model, state)
    if model.contact is None:
        raise InputError("state: its model has no contact; call enable_contact before finalize")
    points = model.contact.embed(state.x.numpy().astype(np.float64))
    inspection = Inspection(model.contact, model.device, model.envs)
    return inspection, wp.array(points, dtype=wp.vec3d, device=model.device)
