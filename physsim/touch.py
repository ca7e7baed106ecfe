"""What a finger feels: forces, where they press, and how the thing that it holds slides."""

from dataclasses import dataclass

import numpy as np

from physsim.errors import InputError
from physsim.physics import validation
from physsim.physics.contact.readout import contact_points
from physsim.physics.model import Body


@dataclass(frozen=True)
class Touch:
    """One moment of a finger, in the coordinates of its link.

    Args:
        force: on the finger by all that it touches [N], shape [3].
        torque: about the link's origin [N m], shape [3].
        points: of contact [m], shape [k, 3].
        forces: on the finger there [N], shape [k, 3].
        pressing: sum of the forces' sizes [N].
        sliding: velocity of the thing held relative to the finger, across the contact, the mean by force [m/s], shape [3].
        slip: relative tangential travel since `reset` [m]: the length of the way from where it was, not of the path.
    """

    force: np.ndarray
    torque: np.ndarray
    points: np.ndarray
    forces: np.ndarray
    pressing: float
    sliding: np.ndarray
    slip: float

    def force_map(self, axis, cells=(8, 8), extent=None):
        """Forces over the finger's surface as seen along an axis of its link.

        Args:
            axis: 0, 1 or 2: that points out of the surface.
            cells: of the map.
            extent: ((low, high), (low, high)) of the other two axes [m]; None: of the points of contact, or 0.2 mm about the
                origin where nothing touches.

        Returns:
            Sums of the forces along the axis [N], shape `cells`, positive where the finger is pressed back along -axis; edges of the
            cells along the two other axes [m].

        Raises:
            InputError: an axis other than 0, 1, 2.
        """
        if axis not in (0, 1, 2):
            raise InputError(f"axis = {axis!r}: must be 0, 1 or 2")
        others = [k for k in range(3) if k != axis]
        if extent is None:
            low, high = (f(self.points[:, others], axis=0) if len(self.points) else np.zeros(2) for f in (np.min, np.max))
            room = np.maximum(0.05 * (high - low), 1e-4)
            extent = np.stack([low - room, high + room], axis=1)
        found, *edges = np.histogram2d(*self.points[:, others].T, bins=cells, range=extent, weights=-self.forces[:, axis])
        return found, *edges


class TouchSensor:
    """Reads the contacts of one link, step by step.

    Args:
        solver: SolverImplicit of the model.
        finger: Body of the link, as `add_links`, `add_collider` or `add_driven` gave it.

    Raises:
        InputError: a body that is no frame of this model.
    """

    def __init__(self, solver, finger):
        self.solver, self.finger = solver, validation.instance("finger", finger, Body)
        if solver.model.bodies.get(finger.name) is not finger or not hasattr(finger.mesh, "pose"):
            raise InputError(f"finger: {finger.name!r} must be a collider, driven frame or rigid body of the solver's model")
        if solver.model.contact is None:
            raise InputError("finger: the model has no contact; call enable_contact before finalize")
        self.reset()

    def reset(self):
        """Count slip from here on."""
        self._travel = np.zeros(3)
        self._time = None

    def read(self, state, env=0):
        """Touch of the state that the solver's last step led to; call once a step, so that slip adds up.

        Args:
            state: State that `step` returned.
            env: number of the environment.

        Returns:
            Touch of that environment.
        """
        seen = contact_points(self.solver, state).on(self.finger.name)
        keep = seen.env == env
        points, forces, sliding = seen.points[keep], seen.forces[keep], -seen.sliding[keep]
        origin, turn = self.finger.mesh.pose(state.x.numpy()[env, self.finger.particles].astype(np.float64))
        sizes = np.linalg.norm(forces, axis=1)
        pressing = float(sizes.sum())
        mean = (sizes @ sliding / pressing if pressing > 0 else np.zeros(3)) @ turn
        if self._time is not None and state.time > self._time:
            self._travel = self._travel + (state.time - self._time) * mean
        self._time = state.time
        local, local_forces = (points - origin) @ turn, forces @ turn
        torque = np.cross(local, local_forces).sum(axis=0)
        return Touch(local_forces.sum(axis=0), torque, local, local_forces, pressing, mean, float(np.linalg.norm(self._travel)))
