"""Newton's method on the device: its sums and, an environment a thread, its decisions.

The twin of `physsim.physics.solvers.newton.Newton`, which takes the same decisions on the host. Each kernel of two dimensions adds up
every `parts`-th term of an environment (`first` = first environment and part); each decision adds the parts and moves one environment
on (`first` = first environment). A flag of one entry tells a loop whether any environment goes on: the launch before the deciding
one clears it.

`status[env]`: 0 running, 1 converged, 2 failed. The kernels of an iteration stand in one file in the order in which they are called.
"""

import warp as wp

EXACT, PROJECTED, LAGGED = wp.constant(0), wp.constant(1), wp.constant(2)  # `project` of a law's Hessian
RUNNING, CONVERGED, FAILED = wp.constant(0), wp.constant(1), wp.constant(2)
DIRECTION_SUMS = wp.constant(5)  # g.d, largest d, largest diagonal entry, sum of |energy|, d.d
TRIAL_SUMS = wp.constant(2)  # largest gradient, energy change

# Rules that the loop on the host shares
LINEAR_SHARE, LINEAR_TIGHTEST, LINEAR_LOOSEST = 0.05, 1e-3, 0.1  # inner tolerance: a share of the root of the residual's fall, within
LONGEST_WAIT = wp.constant(8)  # iterations before a lower level is tried again
NOISE = 1e3  # roundings of the energies' sum that a change of energy may be lost in
FLAT = 1e3  # noises that the energy may rise by where the forces fall to FALLEN of what they were
FALLEN = 0.5
RISEN = 2.0  # times that forces may grow in a move whose change of energy is lost in noise
NEAR = 1e3  # tolerances at which an environment that cannot move on counts as converged
ROUNDED = 2.0  # smallest steps of the stiffest particle whose force counts as rounding
SHORTENING, SHORTEST = 0.5, 1e-10  # of the line search's step
SHORT = 0.5  # step below which lagged stresses are not those here
SLOW, SLOW_MOST = 0.7, wp.constant(2)  # share of the residual left by a slow iteration, and how many of them end the lagged level's use


def newton_kernels(real, block_real):
    """Kernels for one pair of scalar types, in the order in which an iteration calls them."""
    vec3 = wp.types.vector(3, real)
    Block = wp.types.matrix((3, 4), block_real)
    f64 = wp.float64
    linear_share, linear_tightest, linear_loosest = (wp.constant(f64(c)) for c in (LINEAR_SHARE, LINEAR_TIGHTEST, LINEAR_LOOSEST))
    noise_of, flat_of, fallen, risen = (wp.constant(f64(c)) for c in (NOISE, FLAT, FALLEN, RISEN))
    near_of, rounded, shortening, shortest = (wp.constant(f64(c)) for c in (NEAR, ROUNDED, SHORTENING, SHORTEST))
    short, slow = (wp.constant(f64(c)) for c in (SHORT, SLOW))

    @wp.func
    def larger(s: f64, n: f64) -> f64:
        """The larger one; infinite when `n` is NaN."""
        if n >= s:
            return n
        if not (n < s):
            return f64(wp.inf)
        return s

    @wp.func
    def above(level: int, top: int, slow_count: int) -> int:
        """The next level to try; the lagged one, top - 1, is skipped where it has proved slow."""
        return wp.where(slow_count >= SLOW_MOST and level + 1 == top - 1, top, level + 1)

    @wp.func
    def below(level: int, top: int, slow_count: int) -> int:
        return wp.max(wp.where(slow_count >= SLOW_MOST and level == top, level - 2, level - 1), 0)

    @wp.kernel(module="unique", enable_backward=False)
    def measure_trial(
        first: wp.vec2i,
        active: wp.array(dtype=int),
        parts: int,
        particles: int,
        elements: int,
        free: wp.array(dtype=int),
        gradient: wp.array2d(dtype=vec3),
        energy: wp.array2d(dtype=f64),
        base_energy: wp.array2d(dtype=f64),
        sums_out: wp.array3d(dtype=f64),
        flag_out: wp.array(dtype=int),
    ):
        """Largest force on a free particle (infinite when one is NaN) and the change of energy, stencil by stencil."""
        e, part = wp.tid()
        env = first[0] + e
        c = first[1] + part
        if env == 0 and c == 0:
            flag_out[0] = 0
        if active[env] == 0:
            return
        size = f64(0.0)
        change = f64(0.0)
        for i in range(c, particles, parts):
            if free[i] != 0:
                g = gradient[env, i]
                size = larger(size, f64(g[0]) * f64(g[0]) + f64(g[1]) * f64(g[1]) + f64(g[2]) * f64(g[2]))
        for t in range(c, elements, parts):
            change += energy[env, t] - base_energy[env, t]
        sums_out[env, c, 0] = size
        sums_out[env, c, 1] = change

    @wp.kernel(module="unique", enable_backward=False)
    def measure_direction(
        first: wp.vec2i,
        active: wp.array(dtype=int),
        parts: int,
        particles: int,
        elements: int,
        free: wp.array(dtype=int),
        gradient: wp.array2d(dtype=vec3),
        direction: wp.array2d(dtype=vec3),
        energy: wp.array2d(dtype=f64),
        values: wp.array2d(dtype=Block),
        sums_out: wp.array3d(dtype=f64),
        flag_out: wp.array(dtype=int),
    ):
        e, part = wp.tid()
        env = first[0] + e
        c = first[1] + part
        if env == 0 and c == 0:
            flag_out[0] = 0
        if active[env] == 0:
            return
        slope = f64(0.0)
        length = f64(0.0)
        stiffness = f64(0.0)
        magnitude = f64(0.0)
        moved = f64(0.0)
        for i in range(c, particles, parts):
            if free[i] != 0:
                g = gradient[env, i]
                d = direction[env, i]
                slope += f64(g[0]) * f64(d[0]) + f64(g[1]) * f64(d[1]) + f64(g[2]) * f64(d[2])
                square = f64(d[0]) * f64(d[0]) + f64(d[1]) * f64(d[1]) + f64(d[2]) * f64(d[2])
                length = larger(length, square)
                moved += square
            B = values[env, i]
            for r in range(3):
                stiffness = larger(stiffness, f64(wp.abs(B[r, r])))
        for t in range(c, elements, parts):
            magnitude += wp.abs(energy[env, t])
        sums_out[env, c, 0] = slope
        sums_out[env, c, 1] = length
        sums_out[env, c, 2] = stiffness
        sums_out[env, c, 3] = magnitude
        sums_out[env, c, 4] = moved

    @wp.kernel(module="unique", enable_backward=False)
    def start(
        first: int,
        parts: int,
        tolerance: wp.array(dtype=f64),
        begin: wp.array(dtype=int),
        sums: wp.array3d(dtype=f64),
        residual_out: wp.array(dtype=f64),
        first_residual_out: wp.array(dtype=f64),
        status_out: wp.array(dtype=int),
        level_out: wp.array(dtype=int),
        ladder_out: wp.array2d(dtype=int),
        iterations_out: wp.array(dtype=int),
        linear_iterations_out: wp.array(dtype=int),
        active_out: wp.array(dtype=int),
        running_out: wp.array(dtype=int),
    ):
        e, once = wp.tid()
        env = first + e
        size = f64(0.0)
        for c in range(parts):
            size = larger(size, sums[env, c, 0])
        residual = wp.sqrt(size)
        status = RUNNING
        if not wp.isfinite(residual):
            status = FAILED
        elif residual <= tolerance[0]:
            status = CONVERGED
        residual_out[env] = residual
        first_residual_out[env] = wp.max(residual, f64(1.0e-300))
        status_out[env] = status
        level_out[env] = begin[env]
        ladder_out[env, 0] = 1
        ladder_out[env, 1] = 0
        ladder_out[env, 2] = begin[env]
        ladder_out[env, 4] = 0
        iterations_out[env] = 0
        linear_iterations_out[env] = 0
        active_out[env] = wp.where(status == RUNNING, 1, 0)
        if status == RUNNING:
            running_out[0] = 1

    @wp.kernel(module="unique", enable_backward=False)
    def aim(
        first: int,
        top: int,
        rate: f64,
        status: wp.array(dtype=int),
        residual: wp.array(dtype=f64),
        first_residual: wp.array(dtype=f64),
        todo_out: wp.array(dtype=int),
        projected_out: wp.array(dtype=int),
        level_out: wp.array(dtype=int),
        ladder_out: wp.array2d(dtype=int),
        tolerance_out: wp.array(dtype=f64),
        any_todo_out: wp.array(dtype=int),
        assemble_out: wp.array(dtype=int),
    ):
        """Begin the search for a direction: the linear solve's tolerance, looser far from the solution."""
        e, once = wp.tid()
        env = first + e
        if env == 0:
            any_todo_out[0] = 1  # an iteration runs only where some environment does
            assemble_out[0] = 0
        running = status[env] == RUNNING
        todo_out[env] = wp.where(running, 1, 0)
        projected_out[env] = -1
        ladder_out[env, 3] = 0
        tolerance_out[env] = linear_loosest
        if running:
            tolerance_out[env] = wp.clamp(linear_share * wp.sqrt(residual[env] / first_residual[env]), linear_tightest, linear_loosest)
            if rate == f64(0.0) and level_out[env] < top:
                level_out[env] = 0  # nothing between without inertia

    @wp.kernel(module="unique", enable_backward=False)
    def modify(
        first: int,
        top: int,
        rate: f64,
        shifts: wp.array(dtype=f64),
        todo: wp.array(dtype=int),
        level: wp.array(dtype=int),
        projected_out: wp.array(dtype=int),
        active_out: wp.array(dtype=int),
        project_out: wp.array(dtype=int),
        shift_out: wp.array(dtype=real),
        any_todo_out: wp.array(dtype=int),
        assemble_out: wp.array(dtype=int),
    ):
        """The matrix to try next: exact, shifted by a share of the inertia, lagged or projected; `assemble_out` where blocks are stale."""
        e, once = wp.tid()
        env = first + e
        if env == 0:
            any_todo_out[0] = 0
        active_out[env] = todo[env]
        if todo[env] == 0:
            return
        last = int(EXACT)
        if level[env] == top:
            last = PROJECTED
        elif level[env] == top - 1:
            last = LAGGED
        project_out[env] = last
        shift_out[env] = real(shifts[level[env]] * rate * rate)
        if projected_out[env] != last:
            assemble_out[0] = 1
        projected_out[env] = last

    @wp.kernel(module="unique", enable_backward=False)
    def accept_direction(
        first: int,
        top: int,
        rate: f64,
        indefinite: wp.array(dtype=int),
        solve_iterations: wp.array(dtype=int),
        status: wp.array(dtype=int),
        todo_out: wp.array(dtype=int),
        level_out: wp.array(dtype=int),
        ladder_out: wp.array2d(dtype=int),
        linear_iterations_out: wp.array(dtype=int),
        active_out: wp.array(dtype=int),
        any_todo_out: wp.array(dtype=int),
        assemble_out: wp.array(dtype=int),
    ):
        """Another matrix where this one was not positive definite."""
        e, once = wp.tid()
        env = first + e
        if env == 0:
            assemble_out[0] = 0
        active_out[env] = wp.where(status[env] == RUNNING, 1, 0)
        if todo_out[env] == 0:
            return
        linear_iterations_out[env] = linear_iterations_out[env] + solve_iterations[env]
        ladder_out[env, 3] = ladder_out[env, 3] + 1
        if indefinite[env] != 0 and level_out[env] < top:
            level_out[env] = wp.where(rate > f64(0.0), above(level_out[env], top, ladder_out[env, 4]), top)
            any_todo_out[0] = 1
        else:
            todo_out[env] = 0

    @wp.kernel(module="unique", enable_backward=False)
    def begin_search(
        first: int,
        top: int,
        parts: int,
        precision: f64,
        settled: wp.array(dtype=f64),
        sums: wp.array3d(dtype=f64),
        level_out: wp.array(dtype=int),
        ladder_out: wp.array2d(dtype=int),
        begin_out: wp.array(dtype=int),
        line_out: wp.array2d(dtype=f64),
        status_out: wp.array(dtype=int),
        iterations_out: wp.array(dtype=int),
        active_out: wp.array(dtype=int),
        searching_out: wp.array(dtype=int),
        running_out: wp.array(dtype=int),
    ):
        """`line_out[env]` = (step length, slope, length, largest diagonal entry, rounding of the energy, 1 where the move is negligible).

        `ladder_out[env]` = (wait, left, last level, matrices tried, slow iterations with lagged stresses): see `_Ladder` in
        `physsim.physics.solvers.newton`.
        """
        e, once = wp.tid()
        env = first + e
        if env == 0:
            running_out[0] = 0
        if active_out[env] == 0:
            return
        slope = f64(0.0)
        length = f64(0.0)
        stiffness = f64(0.0)
        magnitude = f64(0.0)
        moved = f64(0.0)
        for c in range(parts):
            slope += sums[env, c, 0]
            length = larger(length, sums[env, c, 1])
            stiffness = larger(stiffness, sums[env, c, 2])
            magnitude += sums[env, c, 3]
            moved += sums[env, c, 4]
        line_out[env, 0] = f64(1.0)
        line_out[env, 1] = slope
        line_out[env, 2] = wp.sqrt(length)
        line_out[env, 3] = stiffness
        line_out[env, 4] = noise_of * precision * magnitude
        line_out[env, 5] = wp.where(moved <= settled[0], f64(1.0), f64(0.0))
        level = level_out[env]
        if iterations_out[env] == 0:
            begin_out[env] = below(level, top, ladder_out[env, 4])
        if ladder_out[env, 3] > 1:
            ladder_out[env, 0] = wp.min(2 * ladder_out[env, 0], LONGEST_WAIT)
            ladder_out[env, 1] = ladder_out[env, 0]
        else:
            if level < ladder_out[env, 2]:
                ladder_out[env, 0] = 1
            ladder_out[env, 1] = wp.max(ladder_out[env, 1] - 1, 0)
        ladder_out[env, 2] = level
        if ladder_out[env, 1] == 0:
            level_out[env] = below(level, top, ladder_out[env, 4])
        iterations_out[env] = iterations_out[env] + 1
        if wp.isfinite(slope) and wp.isfinite(length):
            searching_out[0] = 1
        else:
            status_out[env] = FAILED
            active_out[env] = 0

    @wp.kernel(module="unique", enable_backward=False)
    def move(
        first: wp.vec2i,
        active: wp.array(dtype=int),
        free: wp.array(dtype=int),
        line: wp.array2d(dtype=f64),
        base: wp.array2d(dtype=vec3),
        direction: wp.array2d(dtype=vec3),
        x_out: wp.array2d(dtype=vec3),
    ):
        e, row = wp.tid()
        env = first[0] + e
        i = first[1] + row
        if active[env] == 0:
            return
        if free[i] != 0:
            x_out[env, i] = base[env, i] - real(line[env, 0]) * direction[env, i]
        else:
            x_out[env, i] = base[env, i]

    @wp.kernel(module="unique", enable_backward=False)
    def judge(
        first: int,
        top: int,
        parts: int,
        armijo: f64,
        smallest_step: f64,
        tolerance: wp.array(dtype=f64),
        sums: wp.array3d(dtype=f64),
        ladder_out: wp.array2d(dtype=int),
        level_out: wp.array(dtype=int),
        line_out: wp.array2d(dtype=f64),
        residual_out: wp.array(dtype=f64),
        status_out: wp.array(dtype=int),
        active_out: wp.array(dtype=int),
        searching_out: wp.array(dtype=int),
    ):
        """Take the trial point, halve the step, or give the environment up. `active_out` comes in as those that search."""
        e, once = wp.tid()
        env = first + e
        if active_out[env] == 0:
            return
        size = f64(0.0)
        change = f64(0.0)
        for c in range(parts):
            size = larger(size, sums[env, c, 0])
            change += sums[env, c, 1]
        residual = wp.sqrt(size)
        before = residual_out[env]
        alpha = line_out[env, 0]
        slope = line_out[env, 1]
        noise = line_out[env, 4]
        enough = change <= -armijo * alpha * slope
        # where energies cannot tell any more, the forces decide
        small = alpha * wp.abs(slope) <= noise and change <= noise and residual <= risen * before
        flat = small or (change <= flat_of * noise and residual <= fallen * before)
        if wp.isfinite(residual) and (enough or flat):
            active_out[env] = 0
            residual_out[env] = residual
            level = ladder_out[env, 2]
            if level == top - 1:  # the lagged one: are the stresses of the step's start those here?
                if residual > slow * before:
                    ladder_out[env, 4] = ladder_out[env, 4] + 1
                if alpha < short or ladder_out[env, 4] >= SLOW_MOST:
                    level_out[env] = top
            # a small move means a small error where the matrix was exact but for inertia, or the forces fall fast
            settled = alpha == f64(1.0) and line_out[env, 5] > f64(0.0) and (level < top - 1 or residual <= fallen * before)
            if residual <= tolerance[0] or settled:
                status_out[env] = CONVERGED
            elif alpha * line_out[env, 2] <= smallest_step and residual > fallen * before:
                # moves below the precision of positions: as converged as this dtype goes, if that is anywhere near
                rounding = rounded * smallest_step * line_out[env, 3]
                near = residual <= wp.max(near_of * tolerance[0], rounding)
                status_out[env] = wp.where(near, CONVERGED, FAILED)
            return
        line_out[env, 0] = shortening * alpha
        if shortening * alpha < shortest:
            active_out[env] = 0
            status_out[env] = FAILED
        else:
            searching_out[0] = 1

    @wp.kernel(module="unique", enable_backward=False)
    def finish_iteration(
        first: int,
        max_iterations: int,
        iterations: wp.array(dtype=int),
        status_out: wp.array(dtype=int),
        active_out: wp.array(dtype=int),
        running_out: wp.array(dtype=int),
    ):
        e, once = wp.tid()
        env = first + e
        if status_out[env] == RUNNING and iterations[env] >= max_iterations:
            status_out[env] = FAILED
        active_out[env] = wp.where(status_out[env] == RUNNING, 1, 0)
        if status_out[env] == RUNNING:
            running_out[0] = 1

    @wp.kernel(module="unique", enable_backward=False)
    def pack(
        first: int,
        status: wp.array(dtype=int),
        residual: wp.array(dtype=f64),
        iterations: wp.array(dtype=int),
        linear_iterations: wp.array(dtype=int),
        begin: wp.array(dtype=int),
        report_out: wp.array2d(dtype=f64),
    ):
        """`report_out[env]` = (status, residual [N], iterations, linear iterations, level of the first): what one read-back fetches."""
        e, once = wp.tid()
        env = first + e
        report_out[env, 0] = f64(status[env])
        report_out[env, 1] = residual[env]
        report_out[env, 2] = f64(iterations[env])
        report_out[env, 3] = f64(linear_iterations[env])
        report_out[env, 4] = f64(begin[env])

    kernels = [measure_trial, measure_direction, start, aim, modify, accept_direction, begin_search, move, judge, finish_iteration, pack]
    return {kernel.func.__name__: kernel for kernel in kernels}
