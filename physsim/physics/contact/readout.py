"""Where surfaces press on each other, with what force, and how they slide: contact as a list that a user can read."""

from dataclasses import dataclass

import numpy as np

from physsim.errors import InputError
from physsim.kernels.contact.rolling import CORES, POINT_SHAPE
from physsim.physics.model import require_state

ROLLING = "rolling"
FRAMED = (int(POINT_SHAPE), int(CORES))  # meetings in which the other thing is a frame, too
SIDE = {"point_triangle": 1, "edge_edge": 2, "point_shape": 1}  # vertices of a pair that are the first surface's


@dataclass(frozen=True)
class ContactPoints:
    """Pairs that press on each other, k of them.

    Args:
        env: environment, [k].
        bodies: names of the two surfaces, [k, 2].
        points: where they touch [m], [k, 3]: on the surface of one of the two, the other is nearer than the scene's gap.
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
    rolling = _Rolling(contact, shares, positions, velocities)
    found = []
    for name, law, pairs, count, _, first_share, _ in contact.rows():
        if name == ROLLING:
            continue
        stencil = pairs.stencil.numpy()[:, :count]
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
        first = np.einsum("kv,kvc->kc", share[:, :side], at[:, :side])
        second = -np.einsum("kv,kvc->kc", share[:, side:], at[:, side:])
        friction, wheeling = rolling.of(name, stencil.shape[:2], (env, row), normal, first, second)
        relative = np.einsum("kv,kvc->kc", share, moving) + wheeling
        relative -= np.einsum("kc,kc->k", relative, normal)[:, None] * normal
        point = first - scene.radius[members[:, 0], None] * normal
        bodies = names[scene.body[members[:, [0, side]]]]
        found.append((env, bodies, point, forces[env, row, :side].sum(axis=1) + friction, relative))
    if not found:
        return ContactPoints(np.zeros(0, int), np.zeros((0, 2), names.dtype), *(np.zeros((0, 3)) for _ in range(3)))
    return ContactPoints(*(np.concatenate(part) for part in zip(*found, strict=True)))


class _Rolling:
    """What rolls among the pairs: friction, which has a list of its own, and how turning moves what lies at the place of the contact."""

    def __init__(self, contact, shares, positions, velocities):
        self._rows = None
        for name, law, pairs, count, _, first_share, _ in contact.rows():
            if name != ROLLING:
                continue
            stencil = pairs.stencil.numpy()[:, :count]
            env, row = np.nonzero(stencil[:, :, 0] >= 0)
            slots = slice(first_share, first_share + count * law.points)
            self._friction = -shares[:, slots].reshape(*stencil.shape, 3)[env, row, :4].sum(axis=1)
            members = stencil[env, row]
            self._frames = positions[env[:, None], members].reshape(-1, 2, 4, 3)
            self._moving = velocities[env[:, None], members].reshape(-1, 2, 4, 3)
            arm = pairs.arm.numpy()[env, row]
            self._radius, self._turning = arm[:, 2], np.isin(arm[:, 5], FRAMED)
            self._env, self._source, self._rows = env, pairs.source.numpy()[env, row], len(env)

    def of(self, name, shape, where, normal, first, second):
        """Friction on the first thing [N], and what turning adds to the velocity of its surface against the other's [m/s], both [k, 3].

        Args:
            name: of a list; `shape`: (environments, rows) of it.
            where: (environment, row) of its pairs that press, each [k].
            normal: of these, towards the first thing, [k, 3].
            first, second: their places on the first thing's core and on the second's [m], [k, 3].
        """
        if not self._rows:
            return np.zeros_like(normal), np.zeros_like(normal)
        mine = np.flatnonzero(self._source[:, 0] == list(SIDE).index(name))
        number = np.full(shape, -1)
        number[self._env[mine], self._source[mine, 1]] = mine
        number = number[where]
        rolls = np.flatnonzero(number >= 0)
        number, side = number[rolls], self._source[number[rolls], 2:]
        friction, wheeling = np.zeros_like(normal), np.zeros_like(normal)
        friction[rolls] = side * self._friction[number]
        round_one, other = (np.where(side > 0, a[rolls], b[rolls]) for a, b in ((first, second), (second, first)))
        place = round_one - self._radius[number, None] * side * normal[rolls]
        turned = self._carried(number, 0, place - round_one)
        turned -= np.where(self._turning[number, None], self._carried(number, 1, place - other), 0.0)
        wheeling[rolls] = side * turned
        return friction, wheeling

    def _carried(self, number, which, away):
        """Velocity of what a frame carries `away` from a place, against that of the place [m/s]."""
        frames, moving = self._frames[number, which], self._moving[number, which]
        edges = np.where(self._turning[number, None, None] | (which == 0), frames[:, 1:] - frames[:, :1], np.eye(3))
        local = np.linalg.solve(edges.transpose(0, 2, 1), away[..., None])
        return ((moving[:, 1:] - moving[:, :1]).transpose(0, 2, 1) @ local)[..., 0]
