"""Where surfaces press on each other, with what force, and how they slide: contact as a list that a user can read."""

from dataclasses import dataclass

import numpy as np

from physsim.errors import InputError
from physsim.physics.model import require_state

ROLLING = "rolling"
SIDE = {"point_triangle": 1, "edge_edge": 2, "point_shape": 1}  # vertices of a pair that are the first surface's


@dataclass(frozen=True)
class ContactPoints:
    """Pairs that press on each other, k of them.

    Args:
        env: environment, [k].
        bodies: names of the two surfaces, [k, 2].
        points: where they touch [m], [k, 3]: on one of the two, the other is nearer than the scene's gap.
        forces: on the first one [N], [k, 3]: push, damping and friction.
        sliding: velocity of the first one relative to the second along the surfaces [m/s], [k, 3].
    """

    env: np.ndarray
    bodies: np.ndarray
    points: np.ndarray
    forces: np.ndarray
    sliding: np.ndarray

    def __len__(self):
        return len(self.env)

    def on(self, name):
        """The same seen from one surface, which comes first in each pair; pairs without it are left out."""
        first, second = self.bodies[:, 0] == name, self.bodies[:, 1] == name
        keep = first | second
        sign = np.where(first, 1.0, -1.0)[keep, None]
        bodies = np.where(first[keep, None], self.bodies[keep], self.bodies[keep][:, ::-1])
        return ContactPoints(self.env[keep], bodies, self.points[keep], sign * self.forces[keep], sign * self.sliding[keep])


def contact_points(solver, state):
    """What touches in the state that a solver's last step led to.

    Args:
        solver: SolverImplicit.
        state: the State that its last `step` returned.

    Returns:
        ContactPoints.

    Raises:
        InputError: a model without contact, or a state of another step (a backward pass, too, moves the solver elsewhere).
    """
    contact = solver.assembly.contact
    if contact is None:
        raise InputError("solver: its model has no contact; call enable_contact before finalize")
    if require_state(solver.model, state).x1 is None or not np.array_equal(state.x.numpy(), solver.assembly.x.numpy()):
        raise InputError("state: it must be the one that the solver's last step returned; read contacts step by step")
    scene = contact.scene
    positions = scene.embed(state.x.numpy().astype(np.float64))
    velocities = scene.embed(state.v.numpy().astype(np.float64))
    near = contact.anything_near()
    shares, pushes = (contact.shares.numpy().copy(), contact.pushes()) if near else (None, None)
    names = np.array(scene.names)
    rolling = _Rolling(contact, shares, pushes, positions, velocities)
    found = []
    for name, law, pairs, count, _, first_share, _ in contact.rows():
        if name == ROLLING:
            continue
        stencil = pairs.stencil.numpy()[:, :count]
        friction, wheeling = rolling.of(name, stencil.shape[:2])
        slots = slice(first_share, first_share + count * law.points)
        forces, push = (-part[:, slots].reshape(*stencil.shape, 3) for part in (shares, pushes))
        side = SIDE[name]
        env, row = np.nonzero((stencil[:, :, 0] >= 0) & (np.abs(push).sum(axis=(2, 3)) > 0.0))
        members, push = stencil[env, row], push[env, row]
        at, moving = positions[env[:, None], members], velocities[env[:, None], members]
        normal = push[:, :side].sum(axis=1)
        size = np.linalg.norm(normal, axis=1)
        normal = normal / size[:, None]
        share = np.einsum("kvc,kc->kv", push, normal) / size[:, None]  # how the points take part: +1 in all on the first surface
        relative = np.einsum("kv,kvc->kc", share, moving) + wheeling[env, row]
        relative -= np.einsum("kc,kc->k", relative, normal)[:, None] * normal
        point = np.einsum("kv,kvc->kc", share[:, :side], at[:, :side])
        bodies = names[scene.body[members[:, [0, side]]]]
        found.append((env, bodies, point, forces[env, row, :side].sum(axis=1) + friction[env, row], relative))
    if not found:
        return ContactPoints(np.zeros(0, int), np.zeros((0, 2), names.dtype), *(np.zeros((0, 3)) for _ in range(3)))
    return ContactPoints(*(np.concatenate(part) for part in zip(*found, strict=True)))


class _Rolling:
    """What rolls among the pairs: friction, which has a list of its own, and how the turning moves the place of the contact."""

    def __init__(self, contact, shares, pushes, positions, velocities):
        self._parts = {}
        for name, law, pairs, count, _, first_share, _ in contact.rows():
            if name != ROLLING:
                continue
            stencil = pairs.stencil.numpy()[:, :count]
            env, row = np.nonzero(stencil[:, :, 0] >= 0)
            source, arm = pairs.source.numpy()[env, row], pairs.arm.numpy()[env, row]
            slots = slice(first_share, first_share + count * law.points)
            force = -shares[:, slots].reshape(*stencil.shape, 3)[env, row, :4].sum(axis=1)
            self._parts = {"env": env, "source": source, "force": force * source[:, 2:]}
            self._parts["wheeling"] = _wheeling(contact, pushes, env, stencil[env, row], source, arm, positions, velocities) * source[:, 2:]

    def of(self, name, shape):
        """(force on the first thing [N], velocity of the round one's surface against its core [m/s]) of the rows of a list, [*shape, 3]."""
        force, wheeling = np.zeros((*shape, 3)), np.zeros((*shape, 3))
        if self._parts:
            p = self._parts
            keep = p["source"][:, 0] == list(SIDE).index(name)
            place = p["env"][keep], p["source"][keep, 1]
            force[place], wheeling[place] = p["force"][keep], p["wheeling"][keep]
        return force, wheeling


def _wheeling(contact, pushes, env, stencil, source, arm, positions, velocities):
    """Velocity, against its core, of what lies on a round thing's surface where it touches [m/s], [k, 3]."""
    at, moving = positions[env[:, None], stencil[:, :4]], velocities[env[:, None], stencil[:, :4]]
    frames, turning = at[:, 1:] - at[:, :1], moving[:, 1:] - moving[:, :1]
    normal = np.zeros((len(env), 3))
    for name, _, pairs, _, _, first_share, _ in contact.rows():
        if name == ROLLING:
            continue
        mine = np.flatnonzero(source[:, 0] == list(SIDE).index(name))
        slots = first_share + source[mine, 1, None] * pairs.stencil.shape[2] + np.arange(SIDE[name])
        normal[mine] = -pushes[env[mine, None], slots].sum(axis=1) * source[mine, 2:]
    size = np.linalg.norm(normal, axis=1, keepdims=True)
    out = -arm[:, 2:3] * np.divide(normal, size, out=np.zeros_like(normal), where=size > 0)  # from the core to the place
    local = np.linalg.solve(frames.transpose(0, 2, 1), out[..., None])
    return (turning.transpose(0, 2, 1) @ local)[..., 0]
