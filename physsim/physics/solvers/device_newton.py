"""Newton's method with every decision on the device: a solve without a host round trip, one graph replayed on CUDA."""

import time
from functools import cache

import numpy as np
import warp as wp

from physsim.errors import InputError
from physsim.kernels.newton import CONVERGED, DIRECTION_SUMS, FAILED, TRIAL_SUMS, newton_kernels
from physsim.physics.laws import SCALARS
from physsim.physics.solvers.graph import Graphs
from physsim.physics.solvers.linear import SHIFTS
from physsim.physics.solvers.newton import ARMIJO, PRECISION, Newton, Progress
from physsim.physics.solvers.parallel_cg import parts_of


class DeviceNewton:
    """The algorithm of `Newton`, with the same arguments and results, for conjugate gradient.

    Loops are `wp.capture_while` on flags of the device. The first solve runs launch by launch, so that everything is loaded; later ones
    replay a captured graph, one for each set of step coefficients. Only the report is read back.

    Args:
        assembly, linear, tolerance, max_iterations, extent: as `Newton`; `linear` is `Iterative`.
        graph: whether to capture; see `Graphs`.
    """

    loop = "device"

    def __init__(self, assembly, linear, tolerance, max_iterations, extent, graph=True):
        self.assembly, self.linear = assembly, linear
        self.max_iterations = max_iterations
        model = assembly.model
        self.graphs = Graphs(model.device, graph)
        self._precision = PRECISION[model.dtype]
        self._smallest_step = 4 * self._precision * extent
        self._tolerance = wp.zeros(1, dtype=wp.float64, device=model.device)
        self.tolerance = tolerance
        self._commands = None
        self._begin = None
        self._allocate()
        self.accuracy = -1.0

    @property
    def tolerance(self):
        """Residual at which an environment has converged [N]."""
        return self._tolerance_value

    @tolerance.setter
    def tolerance(self, value):
        self._tolerance_value = value
        self._tolerance.fill_(value)

    @property
    def accuracy(self):
        """As of `SolverImplicit`; negative for none."""
        return self._accuracy_value

    @accuracy.setter
    def accuracy(self, value):
        self._accuracy_value = value
        self._settled.fill_(value * abs(value) * int(self.assembly.model.free.sum()))

    def _allocate(self):
        a = self.assembly
        model = a.model
        self._parts = parts_of(max(model.particle_count, int(a.element_offsets[-1])))
        numbers = lambda *shape: wp.zeros((model.envs, *shape), dtype=wp.float64, device=model.device)  # noqa: E731
        flags = lambda count: wp.zeros(count, dtype=int, device=model.device)  # noqa: E731
        self._sums = numbers(self._parts, max(DIRECTION_SUMS, TRIAL_SUMS))
        self._residual, self._first = numbers(), numbers()
        self._line, self._report = numbers(6), numbers(5)
        self._ladder = wp.zeros((model.envs, 5), dtype=int, device=model.device)
        self._settled = wp.full(1, -1.0, dtype=wp.float64, device=model.device)
        names = ("status", "level", "iterations", "linear_iterations", "todo", "projected", "begin")
        self._env = {name: flags(model.envs) for name in names}
        self._running, self._any_todo, self._assemble, self._searching = (flags(1) for _ in range(4))
        self._shifts = wp.array([*SHIFTS, 0.0, 0.0], dtype=wp.float64, device=model.device)

    def minimise(self, cache=None):
        """As `Newton.minimise`: the levels at which to begin go up before a solve, where they are others, and come back with the report."""
        start = time.perf_counter()
        if cache is None or cache is not self._begin:  # else they stand there from the step before
            self._env["begin"].assign(cache if isinstance(cache, np.ndarray) else np.zeros(len(self._report), int))
        self.queue()
        progress = self._read()
        self.graphs.warm |= bool(progress.iterations.any())
        progress.profile = {"device loop": time.perf_counter() - start}
        return progress, self._begin

    def queue(self):
        """Start a solve; on CUDA it returns before the solve is done."""
        self.assembly.set_active(True)
        self.graphs.run(self.assembly.step, self._run)

    def status_array(self, failed):
        """As `Newton.status_array`, from where it stands anyway."""
        return self._env["status"]

    def _read(self):
        status, residual, iterations, linear_iterations, begin = self._report.numpy().T
        self._begin = begin.astype(int)
        done, failed = status == CONVERGED, status == FAILED
        progress = Progress(residual.copy(), iterations.astype(int), done, failed)
        progress.linear_iterations = int(linear_iterations.sum())
        self.linear.total_iterations += progress.linear_iterations
        return progress

    def _launch(self, name, *more):
        """Launch a recorded kernel; `more` tells the commands of one kernel apart."""
        self._commands[name, *more]()

    def _record(self):
        a, envs = self.assembly, self._env
        kernels = _kernels(a.model.dtype, a.block_dtype)
        record = a.launcher.record
        n, elements, parts = a.model.particle_count, int(a.element_offsets[-1]), self._parts
        sizes = [a.active, parts, n, elements, a.free, a.gradient]
        flags = [self._any_todo, self._assemble]
        search = [self._sums, self._ladder, envs["level"], self._line, self._residual, envs["status"], a.active, self._searching]
        counts = [envs["iterations"], envs["linear_iterations"]]

        def trial(flag):
            return record(kernels["measure_trial"], parts, *sizes, a.energy, a.base_energy, self._sums, flag)

        def decide(name, *arguments):
            return record(kernels[name], 1, *arguments)

        top, rate = len(SHIFTS) + 1, a.step[0]
        solved = [self.linear.status, self.linear.iterations, envs["status"], envs["todo"], envs["level"], self._ladder]
        modified = [envs["projected"], a.active, a.project, a.shift, *flags]
        progress = [self._residual, self._first, envs["status"], envs["level"], self._ladder, *counts]
        aimed = [envs["status"], self._residual, self._first, envs["todo"], envs["projected"], envs["level"], self._ladder]
        aimed.append(self.linear.tolerance)
        begun = [
            self._settled,
            self._sums,
            envs["level"],
            self._ladder,
            envs["begin"],
            self._line,
            envs["status"],
            envs["iterations"],
            a.active,
            self._searching,
            self._running,
        ]
        return {
            ("measure_trial", "start"): trial(self._running),
            ("measure_trial", "search"): trial(self._searching),
            ("start",): decide("start", parts, self._tolerance, envs["begin"], self._sums, *progress, a.active, self._running),
            ("aim",): decide("aim", top, rate, *aimed, *flags),
            ("modify",): decide("modify", top, rate, self._shifts, envs["todo"], envs["level"], *modified),
            ("accept_direction",): decide("accept_direction", top, rate, *solved, envs["linear_iterations"], a.active, *flags),
            ("measure_direction",): record(
                kernels["measure_direction"], parts, *sizes, a.direction, a.energy, a.values, self._sums, self._searching
            ),
            ("begin_search",): decide("begin_search", top, parts, self._precision, *begun),
            ("move",): record(kernels["move"], n, a.active, a.free, self._line, a.base_x, a.direction, a.x),
            ("judge",): decide("judge", top, parts, ARMIJO, self._smallest_step, self._tolerance, *search),
            ("finish_iteration",): decide(
                "finish_iteration", self.max_iterations, envs["iterations"], envs["status"], a.active, self._running
            ),
            ("pack",): decide("pack", envs["status"], self._residual, *counts, envs["begin"], self._report),
        }

    def _run(self):
        """The whole solve: launches and loops, no look at any value."""
        a = self.assembly
        if self._commands is None:
            a.require_pattern()
            self._commands = self._record()
        for name in ("aim", "modify", "accept_direction"):
            self._commands[(name,)].set(1, a.step[0])
        a.evaluate()
        self._launch("measure_trial", "start")
        self._launch("start")
        wp.capture_while(self._running, self._iteration)
        self._launch("pack")

    def _iteration(self):
        a = self.assembly
        self._launch("aim")
        wp.capture_while(self._any_todo, self._attempt)
        self._launch("measure_direction")
        self._launch("begin_search")
        a.keep_base()
        wp.capture_while(self._searching, self._trial)
        self._launch("finish_iteration")

    def _attempt(self):
        """Solve on the matrix of each environment's level."""
        a = self.assembly
        self._launch("modify")
        wp.capture_if(self._assemble, a.assemble_blocks)
        a.sum_blocks()
        self.linear.queue(a.gradient, a.direction)
        self._launch("accept_direction")

    def _trial(self):
        self._launch("move")
        self.assembly.evaluate()
        self._launch("measure_trial", "search")
        self._launch("judge")


def choose_newton(loop, assembly, linear, *arguments):
    """`DeviceNewton` or `Newton`.

    Args:
        loop: "auto", "host" or "device"; "auto" takes the device where that is CUDA and the linear solver runs there without reading back.
        assembly, linear, arguments: as `Newton`.

    Raises:
        InputError: another `loop`; "device" with a linear solver that works on the host.
    """
    if loop not in ("auto", "host", "device"):
        raise InputError(f"loop = {loop!r}: allowed are auto, host, device")
    able = hasattr(linear, "queue") and assembly.contact is None
    if loop == "device" and assembly.contact is not None:
        raise InputError("loop = 'device': contact changes the lists of pairs within a step, which the host decides on; use loop='host'")
    if loop == "device" and not able:
        raise InputError(f"loop = 'device': the linear solver {linear.name!r} works on the host; use linear='cg', or loop='host'")
    if able and (loop == "device" or (loop == "auto" and wp.get_device(assembly.model.device).is_cuda)):
        return DeviceNewton(assembly, linear, *arguments)
    return Newton(assembly, linear, *arguments)


@cache
def _kernels(dtype, block_dtype):
    return newton_kernels(SCALARS[dtype], SCALARS[block_dtype])
