"""A step's beginning and end on the device: targets, predictor, start, and the new state."""

from functools import cache

import numpy as np
import warp as wp

from physsim.kernels.stepping import CHUNK, stepping_kernels
from physsim.physics.laws import SCALARS


class Stepping:
    """Recorded launches around the solves of one assembly. What is uploaded in a step is the control's targets.

    Args:
        assembly: Assembly whose `target`, `predictor` and `x` are filled.
    """

    def __init__(self, assembly):
        self.assembly = a = assembly
        self._kernels = _kernels(a.model.dtype)
        self._commands, self._numbers = {}, {}
        self._always = wp.full((a.model.envs, 1), wp.vec2d(1.0, 1.0), dtype=wp.vec2d, device=a.model.device)
        self._driven = None
        self._resting = np.zeros(a.model.particle_count, np.int32)
        for attachment in a.model.attachments.values():
            if attachment.stiffness is not None:
                self._resting[attachment.particles] = 1
        count = a.model.particle_count
        self._kind, self._slot = (wp.zeros(count, dtype=int, device=a.model.device) for _ in range(2))
        self._drive(np.zeros(0, int))

    def _drive(self, particles):
        """Index arrays for targets of these particles; later entries win."""
        kind, slot = self._resting.copy(), np.zeros(len(self._resting), np.int32)
        kind[particles] = 2
        slot[particles] = np.arange(len(particles))
        self._kind.assign(kind)
        self._slot.assign(slot)
        self._values = self.assembly.vectors((self.assembly.model.envs, max(1, len(particles))))
        self._driven = np.array(particles)

    @property
    def driven(self):
        """Particles that the control of the present step moves, [p]."""
        return self._driven

    def set_targets(self, x, targets):
        """Targets of every particle: where it is, for soft attachments where it was attached, overwritten by a control.

        Args:
            x: positions, device array [envs, n].
            targets: None, or (particles [p], positions [envs, p, 3]).
        """
        a = self.assembly
        particles, positions = targets if targets is not None else (self._driven[:0], None)
        if not np.array_equal(particles, self._driven):
            self._drive(particles)
        if positions is not None and self._values.device.is_cpu:
            self._values.numpy()[...] = positions
        elif positions is not None:
            self._values.assign(np.ascontiguousarray(positions, dtype=self.assembly.model.dtype))
        self._launch("set_targets", [self._kind, self._slot, x, a.start, self._values, a.target])

    def predict(self, scheme, dt, state, old_x, old_v, lean):
        """Fill `predictor`, and `x` with the start of a solve from a state; `old_x`, `old_v` are those of one step before.

        `lean`: share of the velocities' last change by which a start goes on where accelerations stay what they are.
        """
        a = self.assembly
        head = [a.free, self._coefficients(scheme), self._number(dt), self._number(lean)]
        head.append(state.steady if state.steady is not None else self._always)
        self._launch("predict", [*head, state.x, state.v, old_x, old_v, a.target, a.predictor, a.x])

    def finish(self, scheme, status, state, old_x, old_v=None):
        """New device arrays (x, v, steady) from the solution in `x`; `steady` is None where the state has no history for it.

        Args:
            scheme: Scheme of the step.
            status: device array [envs] int; environments at 2 keep the state's.
            state: State before the step.
            old_x: positions of one step before.
            old_v: velocities of one step before; None: there was none.
        """
        a = self.assembly
        x, v = wp.empty_like(a.x), wp.empty_like(a.x)
        self._launch("finish", [status, self._coefficients(scheme), a.x, state.x, state.v, old_x, x, v])
        if old_v is None:
            return x, v, None
        chunks = -(-a.model.particle_count // CHUNK)
        steady = wp.empty((a.model.envs, chunks), dtype=wp.vec2d, device=x.device)
        self._launch("compare", [a.free, a.parameters[a.inertia], v, state.v, old_v, steady], chunks)
        return x, v, steady

    def _coefficients(self, scheme):
        """(rate, a, b) as kernels take them: the same object for the same scheme, which a recorded launch need not be told again."""
        return self._same(scheme, lambda: wp.types.vector(3, SCALARS[self.assembly.model.dtype])(scheme.rate, scheme.a, scheme.b))

    def _number(self, value):
        return self._same(value, lambda: SCALARS[self.assembly.model.dtype](value))

    def _same(self, key, build):
        if key not in self._numbers:
            if len(self._numbers) > 64:
                self._numbers.clear()
            self._numbers[key] = build()
        return self._numbers[key]

    def _launch(self, name, arguments, count=None):
        """Launch with these arguments; states come and go, the recorded launch stays."""
        if name not in self._commands:
            a = self.assembly
            self._commands[name] = a.launcher.record(self._kernels[name], count or a.model.particle_count, *arguments)
        command = self._commands[name]
        for index, value in enumerate(arguments):
            command.set(index, value)
        command()


@cache
def _kernels(dtype):
    return stepping_kernels(SCALARS[dtype])
