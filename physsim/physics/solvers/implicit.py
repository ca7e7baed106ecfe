"""SolverImplicit: backward Euler and BDF2 steps, each the minimum of an incremental potential."""

from dataclasses import replace
from weakref import WeakSet

import numpy as np

from physsim.errors import InputError
from physsim.physics import validation
from physsim.physics.assembly import Assembly
from physsim.physics.contact.separation import require_apart
from physsim.physics.launch import copy
from physsim.physics.model import Control, State, require_model, require_state
from physsim.physics.solvers.device_newton import choose_newton
from physsim.physics.solvers.diagnosis import default_tolerance, extent, raise_failure, rounding_force, stiffness_contrast
from physsim.physics.solvers.integrators import check_integrator, scheme
from physsim.physics.solvers.linear import choose
from physsim.physics.solvers.newton import StepReport

CONTRAST = 1e7  # about the inverse of single precision's rounding
# what a step adds to dt v where the acceleration stays what it was, in changes of v: backward Euler takes the new velocity all through
LEAN = {"backward_euler": 1.0, "bdf2": 0.5}


class SolverImplicit:
    """Implicit time steps by Newton's method.

    Args:
        model: Model.
        dt: step [s].
        integrator: "bdf2" (second order, little damping) or "backward_euler" (first order, damps by about omega dt / 2).
        tolerance: largest force imbalance on a particle at which a step has converged [N]; None: 1e-5 of the mean weight. In
            float32 it is raised to what rounding leaves of the stiffest particle's forces.
        accuracy: [m], above 0; a step has converged, too, when the root mean square over the particles of what a Newton iteration
            moved falls below this. None: only the tolerance counts. Sheets that buckle spend most iterations on wrinkles far below a
            millimetre. The error left is of this order, a few times as large where a solve creeps; at half the step a quarter leaves
            the same error of acceleration. Gradients want None.
        max_iterations: Newton iterations of a step before it fails.
        linear: "auto", "direct" (kept factorisation), "cg" or "multigrid"; `linear_name` and `linear_reason` say
            what was picked and why, and so does printing the solver.
        strict: True raises when any environment fails; False leaves that environment where it was and says so in the report.
        loop: where Newton's decisions are taken: "host", "device" (no look at a value before the step's end, replayed as one graph;
            conjugate gradient only), or "auto": on the device where that is CUDA.

    Raises:
        InputError: a value out of range or unknown.
    """

    def __init__(
        self,
        model,
        dt=1 / 60,
        integrator="bdf2",
        *,
        tolerance=None,
        accuracy=None,
        max_iterations=200,
        linear="auto",
        strict=True,
        loop="auto",
    ):
        self.model = require_model(model)
        self.dt = float(validation.array("dt", dt, (), lower=0.0, lower_open=True))
        self.integrator = check_integrator(integrator)
        if tolerance is None:
            tolerance = default_tolerance(model)
        self.tolerance = float(validation.array("tolerance", tolerance, (), lower=0.0, lower_open=True))
        if accuracy is not None:
            accuracy = float(validation.array("accuracy", accuracy, (), lower=0.0, lower_open=True))
        self.accuracy = accuracy
        self.max_iterations = int(validation.array("max_iterations", max_iterations, (), kind="i", lower=1))
        self.strict = bool(strict)
        choice = choose(model, linear)
        self._thin = choice.thin
        self._seen = WeakSet()
        self._asked_loop = loop
        self._allocate(choice)

    def _allocate(self, choice):
        model = self.model
        self._choice = choice
        self.assembly = Assembly(model, block_dtype=choice.block_dtype)
        self.linear = choice.build(self.assembly)
        self.linear_name = self.linear.name
        self.linear_reason = choice.reason
        self._newton = choose_newton(self._asked_loop, self.assembly, self.linear, self.tolerance, self.max_iterations, extent(model))
        self.loop = self._newton.loop
        if self.accuracy is not None:
            self._newton.accuracy = self.accuracy
        if self.assembly.contact is not None:
            self.assembly.contact.load()

    def _set_parameters(self, parameters):
        """Hand parameters to the assembly, and see to what rounding they bring with them."""
        if not self.assembly.set_parameters(parameters):
            return
        if self.model.dtype == "float32":
            self._newton.tolerance = max(self.tolerance, rounding_force(self.assembly))
        elif self.assembly.block_dtype == "float32" and stiffness_contrast(self.assembly, 1.0 / self.dt) > CONTRAST:
            # a matrix in single precision would lose the inertia of light particles beside stiffness like this
            self._allocate(replace(self._choice, block_dtype=self.model.dtype))
            self.assembly.set_parameters(parameters)

    def __repr__(self):
        return f"SolverImplicit(dt={self.dt:g}, integrator={self.integrator!r}, linear={self.linear_name!r} ({self.linear_reason}))"

    def step(self, state, control=None, params=None):
        """One step.

        Args:
            state: State of this model; it is not written to.
            control: Control of the attachments, or None: they stay at the state's positions.
            params: None, a ParameterSet, or a dict of changes to the model's parameters.

        Returns:
            (State at time + dt, StepReport).

        Raises:
            InputError: a state of another model, a control or parameter that does not fit.
            SolverError: no convergence, or NaN; names the law and the first bad particle.
        """
        require_state(self.model, state)
        bound = bind(self.model, control)
        targets = targets_at(self.model, control, bound, state.time + self.dt) if bound else None
        return self.advance(state, targets, self.model.resolve(params))

    def advance(self, state, targets, parameters):
        """`step` with checked arguments: `targets` is None or (particles, positions [envs, p, 3])."""
        coefficients = self.prepare(state, targets, parameters)
        progress, factors = self._newton.minimise(state.cache)
        if progress.failed.any() and self.strict:
            used = int(np.max(progress.iterations[progress.failed]))
            what = f"the step to t = {state.time + self.dt:.6g} s failed after {used} of {self.max_iterations} Newton iterations"
            remedy = f"The state is unchanged; take a smaller dt, a larger tolerance (it is {self._newton.tolerance:.3g} N), an accuracy, "
            remedy += f"more max_iterations, another linear solver than {self.linear_name!r}, or softer parameters."
            raise_failure(self.assembly, progress.failed, what, remedy)
        new = self._finish(state, coefficients, progress.failed, factors)
        return new, self.report(progress)

    def prepare(self, state, targets, parameters):
        """Fill the assembly with a step's known quantities and its start; returns the Scheme."""
        self._set_parameters(parameters)
        a = self.assembly
        s = scheme(self.integrator, self.dt, state.follows(self.dt))
        a.set_step(s.rate, s.a, s.b)
        a.set_active(True)
        follows = state.follows(self.dt)
        old_x, old_v = (state.x1, state.v1) if follows else (state.x, state.v)
        copy(a.x1, state.x)
        copy(a.x2, old_x)
        a.stepping.set_targets(state.x, targets)
        # start where the particles would be after dt at their present velocity and, where it is known and steady, their acceleration; in
        # thin bodies that mostly stretches and crushes what hardly gives
        a.stepping.predict(s, self.dt, state, old_x, old_v, LEAN[self.integrator] if follows and not self._thin else 0.0)
        if a.contact is not None:
            self._require_apart(state)
            a.contact.begin_step()
        return s

    def _require_apart(self, state):
        """See once that a state that no step has made begins with its surfaces apart."""
        if state.x1 is None and state not in self._seen:
            require_apart(self.model, state)
            self._seen.add(state)

    def _finish(self, state, s, failed, factors):
        old_x, old_v = (state.x1, state.v1) if state.follows(self.dt) else (state.x, None)
        # without contact accelerations change smoothly
        compared = None if self._thin or self.assembly.contact is None else old_v
        x, v, steady = self.assembly.stepping.finish(s, self._newton.status_array(failed), state, old_x, compared)
        return State(self.model, x, v, state.x, state.v, state.time + self.dt, self.dt, cache=factors, steady=steady)

    def report(self, progress):
        """StepReport of a solve."""
        return make_report(self.model, progress)


def make_report(model, progress):
    """StepReport of a Newton solve, scalars where the model has no environment axis."""
    converged = progress.done & ~progress.failed
    pick = (lambda v: v) if model.batched else (lambda v: v[0].item())
    return StepReport(
        iterations=pick(progress.iterations),
        residual=pick(progress.residual),
        converged=pick(converged),
        factorisations=progress.factorisations,
        linear_iterations=progress.linear_iterations,
        profile=progress.profile,
        launches=progress.launches,
        unreached=pick(progress.unreached if progress.unreached is not None else np.zeros(model.envs)),
    )


def bind(model, control):
    """A control's targets bound to a model; None without a control; an InputError for anything else."""
    if control is None:
        return None
    if not isinstance(control, Control):
        raise InputError(f"control: a Control is needed, {type(control).__name__} was given")
    return control.bind(model)


def targets_at(model, control, bound, time):
    """(particles, positions [envs, p, 3]) of a bound control at a time."""
    i, j, w = control.weights(time)
    particles = [model.attachments[name].particles for name in bound]
    positions = [(1 - w) * value[i] + w * value[j] for value in bound.values()]
    return np.concatenate(particles), np.concatenate(positions, axis=1)
