"""What surrounds a step's solve: targets, predictor and start, and the new state."""

import warp as wp

CHUNK = wp.constant(256)  # particles that one thread compares the accelerations of


def stepping_kernels(real):
    """Kernels `set_targets`, `predict`, `finish` and `compare` for one scalar type; `first` as in `kernels.elements`."""
    vec3 = wp.types.vector(3, real)
    Inertia = wp.types.vector(5, real)  # parameters of the law `inertia`, the mass first

    @wp.kernel(module="unique", enable_backward=False)
    def set_targets(
        first: wp.vec2i,
        kind: wp.array(dtype=int),
        slot: wp.array(dtype=int),
        x: wp.array2d(dtype=vec3),
        start: wp.array2d(dtype=vec3),
        values: wp.array2d(dtype=vec3),
        target_out: wp.array2d(dtype=vec3),
    ):
        """`kind[i]`: 0 where the particle is, 1 where it was attached, 2 `values[env, slot[i]]`."""
        e, row = wp.tid()
        env = first[0] + e
        i = first[1] + row
        if kind[i] == 2:
            target_out[env, i] = values[env, slot[i]]
        elif kind[i] == 1:
            target_out[env, i] = start[env, i]
        else:
            target_out[env, i] = x[env, i]

    @wp.kernel(module="unique", enable_backward=False)
    def predict(
        first: wp.vec2i,
        free: wp.array(dtype=int),
        step: vec3,
        dt: real,
        lean: real,
        steady: wp.array2d(dtype=wp.vec2d),
        x: wp.array2d(dtype=vec3),
        v: wp.array2d(dtype=vec3),
        old_x: wp.array2d(dtype=vec3),
        old_v: wp.array2d(dtype=vec3),
        target: wp.array2d(dtype=vec3),
        predictor_out: wp.array2d(dtype=vec3),
        x_out: wp.array2d(dtype=vec3),
    ):
        """The scheme's predictor, and where Newton starts: after `dt` at the present velocity, plus a share of its last change.

        The share is `lean` where accelerations stay what they are, as far as `steady` (see `compare`) says that they do.
        `step` = (rate, a, b) of `solvers.integrators`. Held particles start at their targets.
        """
        e, row = wp.tid()
        env = first[0] + e
        i = first[1] + row
        rate = step[0]
        a = step[1]
        b = step[2]
        past_x = a * x[env, i] + b * old_x[env, i]
        past_v = (a / rate) * v[env, i] + (b / rate) * old_v[env, i]
        predictor_out[env, i] = past_x + past_v
        if free[i] != 0:
            like = wp.vec2d()
            for c in range(steady.shape[1]):
                like += steady[env, c]
            share = real(0.0)
            if like[1] > wp.float64(0.0):
                share = lean * real(wp.clamp(like[0] / like[1], wp.float64(0.0), wp.float64(1.0)))
            x_out[env, i] = x[env, i] + dt * ((real(1.0) + share) * v[env, i] - share * old_v[env, i])
        else:
            x_out[env, i] = target[env, i]

    @wp.kernel(module="unique", enable_backward=False)
    def finish(
        first: wp.vec2i,
        status: wp.array(dtype=int),
        step: vec3,
        solution: wp.array2d(dtype=vec3),
        x: wp.array2d(dtype=vec3),
        v: wp.array2d(dtype=vec3),
        old_x: wp.array2d(dtype=vec3),
        x_out: wp.array2d(dtype=vec3),
        v_out: wp.array2d(dtype=vec3),
    ):
        """New positions and velocities; where `status[env]` is 2 (failed) the old ones."""
        e, row = wp.tid()
        env = first[0] + e
        i = first[1] + row
        if status[env] == 2:
            x_out[env, i] = x[env, i]
            v_out[env, i] = v[env, i]
        else:
            s = solution[env, i]
            x_out[env, i] = s
            v_out[env, i] = step[0] * s - step[0] * (step[1] * x[env, i] + step[2] * old_x[env, i])

    @wp.kernel(module="unique", enable_backward=False)
    def compare(
        first: wp.vec2i,
        free: wp.array(dtype=int),
        inertia: wp.array2d(dtype=Inertia),
        v: wp.array2d(dtype=vec3),
        old_v: wp.array2d(dtype=vec3),
        older_v: wp.array2d(dtype=vec3),
        steady_out: wp.array2d(dtype=wp.vec2d),
    ):
        """How alike two changes a, b of velocity are that follow each other, by chunks: sums of 2 m a . b and of m (|a|^2 + |b|^2).

        Their ratio is 1 where they are the same, and least where one is the other turned round.
        """
        e, row = wp.tid()
        env = first[0] + e
        c = first[1] + row
        total = wp.vec2d()
        for i in range(c * CHUNK, wp.min((c + 1) * CHUNK, free.shape[0])):
            if free[i] != 0:
                now = v[env, i] - old_v[env, i]
                was = old_v[env, i] - older_v[env, i]
                m = wp.float64(inertia[env, i][0])
                alike = real(2.0) * wp.dot(now, was)
                total += wp.vec2d(m * wp.float64(alike), m * wp.float64(wp.dot(now, now) + wp.dot(was, was)))
        steady_out[env, c] = total

    return {"set_targets": set_targets, "predict": predict, "finish": finish, "compare": compare}
