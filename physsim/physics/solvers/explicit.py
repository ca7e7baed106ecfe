"""SolverExplicit: symplectic Euler over the same gradients, for checks and for very soft things."""

import time
from functools import cache

import numpy as np
import warp as wp

from physsim.errors import InputError
from physsim.kernels.explicit import march_kernel
from physsim.physics import laws, validation
from physsim.physics.assembly import Assembly
from physsim.physics.model import State, require_model, require_state
from physsim.physics.solvers.diagnosis import raise_failure
from physsim.physics.solvers.implicit import bind, targets_at
from physsim.physics.solvers.newton import StepReport
from physsim.physics.solvers.spring_march import SpringMarch


class SolverExplicit:
    """Symplectic Euler: v' = v - h M^-1 g(x), x' = x + h v'. Damping is taken from the last step's change.

    Args:
        model: Model.
        dt: step [s]; above `stable_step()` the run explodes.
        strict: True raises when any environment turns NaN; False reports it.

    Raises:
        InputError: dt not above 0, a model with contact.
    """

    def __init__(self, model, dt, *, strict=True):
        self.model = require_model(model)
        if model.contact is not None:
            raise InputError("model: explicit steps know no contact; use SolverImplicit, or leave out enable_contact")
        self.dt = float(validation.array("dt", dt, (), lower=0.0, lower_open=True))
        self.strict = bool(strict)
        self.assembly = Assembly(model)
        self._springs = self._marched = None

    def step(self, state, control=None, params=None):
        """One step; arguments and errors as `SolverImplicit.step`."""
        return self.run(state, 1, control, params)

    def run(self, state, count, control=None, params=None):
        """Several steps, in one launch where the model has a single elastic law and no control moves it.

        Args:
            state: State; it is not written to.
            count: number of steps.
            control: Control or None.
            params: as `SolverImplicit.step`.

        Returns:
            (State, StepReport).
        """
        require_state(self.model, state)
        count = int(validation.array("count", count, (), kind="i", lower=1))
        parameters = self.model.resolve(params)
        elastic = [i for i in range(len(self.model.blocks)) if i != self.assembly.inertia]
        marches = control is None and len(elastic) == 1 and wp.get_device(self.model.device).is_cpu
        if marches and self.model.blocks[elastic[0]].law.reference == "rest":
            return self._march(state, count, elastic[0], parameters)
        bound = bind(self.model, control)
        for _ in range(count):
            targets = targets_at(self.model, control, bound, state.time + self.dt) if bound else None
            state, report = self.advance(state, targets, parameters)
        return state, report

    def _march(self, state, count, law, parameters):
        a, model = self.assembly, self.model
        a.set_parameters(parameters)
        block = model.blocks[law]
        x, v, v1 = wp.clone(state.x), wp.empty_like(state.v), wp.empty_like(state.v)
        a.set_active(True)
        a.trial.zero_()
        a.combine(v, 0.0, a.trial, 1.0, state.v)  # held particles stand still
        x1 = wp.clone(self._old(state))
        columns = parameters.columns(model.column_shapes)[block.law.name]
        changed, self._marched = parameters is not self._marched, parameters
        if changed:
            damped = any((columns[..., block.law.column(name)] != 0).any() for name in block.law.rates)
            self._rate = 1.0 / self.dt if damped else 0.0
        start = time.perf_counter()
        if block.law is laws.SPRING:
            self._march_springs(law, columns if changed else None, count, (x, x1, v, v1))
        else:
            real = laws.SCALARS[model.dtype]
            kernel = _march_kernel(block.law, model.dtype)
            arguments = [count, real(self.dt), real(self._rate), model.particle_count, len(block.stencil), a.free]
            arguments += [a.stencils[law], a.parameters[law], a.parameters[a.inertia], a.rest]
            a.gradient.zero_()
            weight = 0.01 * count * len(block.stencil)
            a.launcher.record(kernel, 1, *arguments, a.gradient, x, x1, v, v1, weight=weight)()
        profile = {"march": time.perf_counter() - start}
        new = State(model, x, v, x1, v1, state.time + count * self.dt, self.dt)
        return new, self._check(new, parameters, profile)

    def _march_springs(self, law, columns, count, states):
        """The vectorised form for springs; the same scheme. `columns`: the law's new parameters, None for those of the last call."""
        if self._springs is None:
            self._springs = SpringMarch(self, law)
        if columns is not None:
            self._springs.set_parameters(columns, self._rate)
        self._springs(count, states)

    def _old(self, state):
        """Positions one step before: of the history, or extrapolated back from a state without one."""
        if state.follows(self.dt):
            return state.x1
        old = self.assembly.vectors(state.x.shape)
        self.assembly.set_active(True)
        self.assembly.combine(old, 1.0, state.x, -self.dt, state.v, fixed=True)
        return old

    def prepare(self, state, targets, parameters):
        """Fill the assembly with a state; inertia's own term vanishes, because its predictor is the position itself."""
        a = self.assembly
        a.set_parameters(parameters)
        a.set_step(1.0 / self.dt, 1.0, 0.0)
        a.set_active(True)
        old = self._old(state)
        for array, value in ((a.x, state.x), (a.x1, old), (a.x2, old), (a.predictor, state.x)):
            wp.copy(array, value)
        a.stepping.set_targets(state.x, targets)

    def advance(self, state, targets, parameters):
        """`step` with checked arguments."""
        a = self.assembly
        self.prepare(state, targets, parameters)
        a.evaluate()
        g = a.gradient.numpy().astype(np.float64)
        x = state.x.numpy().astype(np.float64)
        v = state.v.numpy() - self.dt / self.masses(parameters)[..., None] * g
        new_x = x + self.dt * v
        fixed = ~self.model.free
        new_x[:, fixed] = a.target.numpy()[:, fixed]
        v[:, fixed] = (new_x[:, fixed] - x[:, fixed]) / self.dt
        new = State(self.model, self.model.vectors(new_x), self.model.vectors(v), state.x, state.v, state.time + self.dt, self.dt)
        return new, self._check(new, parameters)

    def masses(self, parameters):
        """Particle masses [kg], shape [envs, n]."""
        return parameters.columns(self.model.column_shapes)[laws.INERTIA.name][:, :, 0]

    def _check(self, state, parameters, profile=None):
        a = self.assembly
        a.set_active(True)
        size = a.largest(state.v)
        failed = ~np.isfinite(size)
        if failed.any() and self.strict:
            wp.copy(a.x, state.x)
            a.evaluate()
            what = f"the explicit run to t = {state.time:.6g} s turned NaN or infinite"
            stable = self.stable_step(parameters)
            remedy = f"take dt below {stable:.3g} s"
            if self.dt < stable:
                remedy = f"dt = {self.dt:.3g} s is stable at rest (up to {stable:.3g} s), so something moves too fast, is loaded too hard"
                remedy += " or is damped too much for it; take a smaller dt, or a SolverImplicit"
            raise_failure(a, failed, what, f"The state is unchanged; {remedy}.")
        pick = (lambda value: value) if self.model.batched else (lambda value: value[0].item())
        zero = np.zeros(self.model.envs)
        return StepReport(pick(zero.astype(int)), pick(np.where(failed, np.inf, zero)), pick(~failed), profile=profile or {})

    def stable_step(self, params=None, iterations=60):
        """Largest stable step at the rest shape [s]: 2 / omega_max by power iteration on M^-1 H; damping lowers it further."""
        a, model = self.assembly, self.model
        a.set_parameters(model.resolve(params))
        a.set_step(0.0, 1.0, 0.0)
        a.set_active(True)
        wp.copy(a.x, a.rest)
        root = np.sqrt(self.masses(model.resolve(params)))[..., None]
        rng = np.random.default_rng(0)
        u = rng.normal(size=(model.envs, model.particle_count, 3)) * model.free[:, None]
        source, result = a.vectors(u.shape[:2]), a.vectors(u.shape[:2])
        for _ in range(iterations):
            u /= np.sqrt((u**2).sum(axis=(1, 2), keepdims=True))
            source.assign((u / root).astype(source.numpy().dtype))
            a.product(source, result)
            u = result.numpy() / root * model.free[:, None]
        largest = np.sqrt((u**2).sum(axis=(1, 2))).max()
        return float(2.0 / np.sqrt(largest)) if largest > 0 else float("inf")

    def adjoint_stepper(self, rollout):
        """The reverse of `advance`, for `physsim.physics.diff.adjoint.backward`."""
        from physsim.physics.diff.adjoint import ExplicitAdjoint

        return ExplicitAdjoint(rollout)


@cache
def _march_kernel(law, dtype):
    return march_kernel(law.functions(dtype), law.points, len(law.parameters), laws.SCALARS[dtype])
