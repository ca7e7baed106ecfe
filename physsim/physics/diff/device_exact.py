"""Solves with the exact Hessian whose loop stays on the device, for solvers whose own loop does."""

import warnings
from functools import cache
from weakref import WeakKeyDictionary

import warp as wp

from physsim.kernels.linear.flexible import flexible_kernels
from physsim.physics.diff.exact import LIMIT, ExactSolver
from physsim.physics.laws import SCALARS
from physsim.physics.solvers.graph import Graphs
from physsim.physics.solvers.parallel_cg import parts_of


class DeviceExactSolver(ExactSolver):
    """As `ExactSolver`, for conjugate gradient as the preconditioner: one read-back a solve. MINRES stays on the host."""

    def __init__(self, assembly, linear, tolerance, graph=True):
        super().__init__(assembly, linear, tolerance)
        model = assembly.model
        self._parts = parts_of(model.particle_count)
        numbers = lambda *shape: wp.zeros((model.envs, *shape), dtype=wp.float64, device=model.device)  # noqa: E731
        flags = lambda count: wp.zeros(count, dtype=int, device=model.device)  # noqa: E731
        self._sums, self._numbers, self._report = numbers(self._parts, 2), numbers(5), numbers(3)
        self._counts, self._indefinite = flags(model.envs), flags(model.envs)
        self._busy, self._again = flags(1), flags(1)
        self.graphs = Graphs(model.device, graph)
        self._commands = {}

    def solve(self, right, out):
        """out = H^-1 right on free particles, zero on fixed ones (device arrays [envs, n]); NaN in environments where right has one."""
        self.linear.tolerance.fill_(max(self.tolerance, 1e-6))
        key = (self.assembly.step, self.tolerance, right.ptr, out.ptr)
        self.graphs.run(key, lambda: self._run(right, out))
        residual, iterations, indefinite = self._report.numpy().T.copy()
        self.graphs.warm |= bool(iterations.any())
        self._conclude(int(iterations.max()), residual, indefinite > 0, right, out)

    def _launch(self, name, count, *arguments):
        a = self.assembly
        if name not in self._commands:
            self._commands[name] = a.launcher.record(_kernels(a.model.dtype)[name], count, *arguments)
        command = self._commands[name]
        for index, value in enumerate(arguments):
            command.set(index, value)
        command()

    def _inner(self, a, b, c, flag):
        n = self.assembly.model.particle_count
        self._launch("inner_two", self._parts, self._parts, n, self.assembly.free, a, b, c, self._sums, flag)

    def _run(self, right, out):
        a, n = self.assembly, self.assembly.model.particle_count
        self._launch("begin", n, a.free, right, self._r, self._p, self._old, out)
        self._inner(self._r, self._r, self._r, self._busy)
        head = [self._parts, self.tolerance, self._sums, self._numbers, self._counts, self._indefinite]
        self._launch("decide_start", 1, *head, a.active, self._busy)
        wp.capture_while(self._busy, lambda: self._iterate(out))
        self._launch("pack", 1, self._numbers, self._counts, self._indefinite, self._report)

    def _iterate(self, out):
        a, n = self.assembly, self.assembly.model.particle_count
        self.linear.queue(self._r, self._z)
        self._launch("mark", 1, a.active, self.linear.status, a.project, self._again)
        wp.capture_if(self._again, self._project)
        self._inner(self._z, self._r, self._old, self._again)
        self._launch("decide_direction", 1, self._parts, self._sums, self._counts, a.active, self._numbers)
        self._launch("turn", n, a.active, a.free, self._numbers, self._z, self._p)
        a.product(self._p, self._q)
        self._inner(self._p, self._q, self._q, self._again)
        self._launch("decide_step", 1, self._parts, self._sums, self._numbers, self._indefinite, a.active)
        self._launch("advance", n, a.active, a.free, self._numbers, self._p, self._q, self._r, self._old, out)
        self._inner(self._r, self._r, self._r, self._busy)
        self._launch("decide_end", 1, self._parts, LIMIT, self._sums, self._numbers, self._counts, a.active, self._busy)

    def _project(self):
        """The preconditioner again, from blocks projected where they have to be."""
        self.assembly.assemble_blocks()
        self.assembly.sum_blocks()
        self.linear.queue(self._r, self._z)


@cache
def _kernels(dtype):
    return flexible_kernels(SCALARS[dtype])


_kept = WeakKeyDictionary()  # solver -> its ExactSolver


def exact_solver(solver, tolerance):
    """The ExactSolver that goes with a solver's loop; one a solver, whose arrays, launches and graphs serve all its gradients."""
    exact = _kept.get(solver)
    if exact is not None and exact.linear is solver.linear:
        exact.begin(tolerance)
        return exact
    if getattr(solver, "accuracy", None) is not None:
        warnings.warn(
            f"gradient: steps end at accuracy = {solver.accuracy:g} m, before the balance of forces that derivatives take for granted; "
            "they are off by more than their residual says. Use accuracy=None where gradients count",
            stacklevel=3,
        )
    kind = DeviceExactSolver if solver.loop == "device" else ExactSolver
    _kept[solver] = kind(solver.assembly, solver.linear, tolerance)
    return _kept[solver]
