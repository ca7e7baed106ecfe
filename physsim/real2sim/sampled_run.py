"""A run and its tangents, looked at where frames lie: what every fit by Gauss-Newton asks of a simulation."""

from dataclasses import replace

import numpy as np

from physsim.physics.diff.adjoint import Rollout
from physsim.physics.diff.sampling import plan
from physsim.physics.diff.tangent import TangentRollout


def run_sampled(
    solver,
    state,
    parameters,
    control,
    times,
    take,
    *,
    directions=0,
    tangents=None,
    positions=None,
    velocities=None,
    observe=None,
    tolerance=1e-7,
):
    """Run all environments past their frames; every frame is handed over as soon as it is reached, and nothing else is kept.

    Args:
        solver: SolverImplicit with `strict=False`.
        state: State to start from.
        parameters: ParameterSet.
        control: Control or None.
        times: of the frames in each environment [s], shape [envs, frames], increasing. Before the state's time bodies are carried
            back along their velocities.
        take: called as take(env, frame, x, v, moved) with what `observe` makes of positions [m] and velocities [m/s], and of the
            tangents of the positions, [directions, ...]; None without directions.
        directions: number of tangents; 0: none.
        tangents: dict parameter name -> tangents [directions, envs, *shape].
        positions, velocities: tangents of the start, [directions, envs, n, 3], or None for zero.
        observe: linear map of the last two axes of [..., n, 3]; None: all of it.
        tolerance: relative residual of the tangents' solves.

    Returns:
        Mask [envs] of environments in which a step failed; `take` was not called for their frames after it.
    """
    observe = observe or (lambda values: values)
    inside = np.maximum(times, state.time)
    early = np.asarray(times) - inside
    plans = [plan(row, state.time, solver.dt) for row in inside]
    steps = max(s.step_count for s in plans)
    rollout = Rollout(solver, state, parameters, control, keep_every=steps + 1)
    follow = None
    if directions:
        follow = TangentRollout(solver, tangents or {}, directions, positions=positions, velocities=velocities, tolerance=tolerance)
    failed = np.zeros(solver.model.envs, bool)
    before = _Seen(state, follow, observe)
    for k in range(steps):
        old = rollout.last
        after_state = rollout.advance()
        failed |= ~np.atleast_1d(rollout.reports[-1].converged)
        if failed.all():
            break
        if follow is not None:
            follow.follow(old, after_state, rollout.targets(k), parameters)
            if solver.linear.keeps:  # the tangent's factors are at this very state: the next step starts with them
                rollout.last = replace(after_state, cache=follow.exact.factors)
        after = _Seen(after_state, follow, observe)
        for e in np.flatnonzero(~failed):
            s = plans[e]
            for f in np.flatnonzero(s.step == k):
                take(e, f, *_mixed(s, f, early[e, f], before, after, e))
        before = after
    return failed


class _Seen:
    """A state and its tangents, observed when somebody asks."""

    def __init__(self, state, follow, observe):
        self._state, self._observe, self._made = state, observe, None
        self._moved = None if follow is None else (follow.x, follow.v)

    def at(self, env):
        """(x, v) and (dx, dv) or None of an environment."""
        if self._made is None:
            state = tuple(self._observe(a.numpy()) for a in (self._state.x, self._state.v))
            moved = None if self._moved is None else tuple(self._observe(a) for a in self._moved)
            self._made = state, moved
        state, moved = self._made
        return tuple(a[env] for a in state), moved and tuple(a[:, env] for a in moved)


def _mixed(samples, frame, early, before, after, env):
    """(x, v, moved) at a frame, between two states; `early` is how long it lies before the first of them [s], 0 or below."""
    (old, old_moved), (new, new_moved) = before.at(env), after.at(env)
    x, v = samples.mix(samples.position[frame], old, new), samples.mix(samples.velocity[frame], old, new)
    moved = None if old_moved is None else samples.mix(samples.position[frame], old_moved, new_moved)
    if early < 0.0:
        x = x + early * v
        moved = None if moved is None else moved + early * samples.mix(samples.velocity[frame], old_moved, new_moved)
    return x, v, moved
