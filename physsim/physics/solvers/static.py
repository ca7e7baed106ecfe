"""Static equilibrium: the minimum of the potential without inertia and damping."""

import warp as wp

from physsim.physics import validation
from physsim.physics.assembly import Assembly
from physsim.physics.contact.separation import require_apart
from physsim.physics.model import State, require_model, require_state
from physsim.physics.solvers.device_newton import choose_newton
from physsim.physics.solvers.diagnosis import default_tolerance, extent, raise_failure, rounding_force
from physsim.physics.solvers.implicit import bind, make_report, targets_at
from physsim.physics.solvers.linear import choose


class SolverStatic:
    """Equilibria of one model, keeping its working arrays from solve to solve.

    Args:
        model: Model; every body must be held, else there is no equilibrium.
        tolerance: as `SolverImplicit`.
        max_iterations: Newton iterations before it fails.
        linear: "auto", "direct", "cg" or "multigrid".
        strict, loop: as `SolverImplicit`.
    """

    def __init__(self, model, *, tolerance=None, max_iterations=300, linear="auto", strict=True, loop="auto"):
        self.model = require_model(model)
        if tolerance is None:
            tolerance = default_tolerance(model)
        self.tolerance = float(validation.array("tolerance", tolerance, (), lower=0.0, lower_open=True))
        self.strict = strict
        choice = choose(model, linear, static=True)
        self.assembly = Assembly(model, block_dtype=choice.block_dtype)
        self.linear = choice.build(self.assembly)
        self.linear_name = self.linear.name
        self.linear_reason = choice.reason
        iterations = int(validation.array("max_iterations", max_iterations, (), kind="i", lower=1))
        self._newton = choose_newton(loop, self.assembly, self.linear, self.tolerance, iterations, extent(model))
        self.loop = self._newton.loop

    def solve(self, state=None, control=None, params=None):
        """Equilibrium near a state.

        Args:
            state: where to start; None: the builder's, the rest shape where no pose was given. It is not written to.
            control: Control of the attachments at the state's time, or None.
            params: None, a ParameterSet, or a dict of changes.

        Returns:
            (State at rest in equilibrium, StepReport).

        Raises:
            InputError: a state of another model, a parameter that it lacks.
            SolverError: no convergence, or NaN.
        """
        state = self.model.state() if state is None else state
        require_state(self.model, state)
        bound = bind(self.model, control)
        targets = targets_at(self.model, control, bound, state.time) if bound else None
        self.prepare(state, targets, self.model.resolve(params))
        progress, factors = self._newton.minimise()
        if progress.failed.any() and self.strict:
            remedy = "Hold every body, start nearer, or allow more iterations."
            raise_failure(self.assembly, progress.failed, "no equilibrium was found", remedy)
        a = self.assembly
        x = wp.clone(a.x)
        if progress.failed.any():
            host = x.numpy().copy()
            host[progress.failed] = state.x.numpy()[progress.failed]
            x.assign(host)
        new = State(self.model, x, a.vectors(x.shape), time=state.time, cache=factors)
        return new, make_report(self.model, progress)

    def prepare(self, state, targets, parameters):
        """Fill the assembly for a static solve that starts at a state."""
        a = self.assembly
        if a.set_parameters(parameters) and self.model.dtype == "float32":
            self._newton.tolerance = max(self.tolerance, rounding_force(a))
        a.set_step(0.0, 1.0, 0.0)
        a.set_active(True)
        for array in (a.x1, a.x2, a.predictor):
            wp.copy(array, state.x)
        a.stepping.set_targets(state.x, targets)
        a.combine(a.x, 0.0, a.target, 1.0, state.x)  # fixed particles go to their targets
        if a.contact is not None:
            require_apart(self.model, state)
            a.contact.begin_step()


def solve_equilibrium(model, state=None, control=None, params=None, **options):
    """Static equilibrium of a model; see `SolverStatic` for options and `SolverStatic.solve` for the rest."""
    return SolverStatic(model, **options).solve(state, control, params)
