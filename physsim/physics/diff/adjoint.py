"""Adjoint of a whole simulation by the implicit function theorem, step by step backwards.

At a step's solution grad Phi = 0, so one solve H lambda = dL/dx' with the exact Hessian and one reverse pass through the laws'
gradients give the derivative with respect to every parameter, target and old state at once. Nothing of Newton's iterations is
kept; memory grows with the steps, or with their square root where states are recomputed from checkpoints.
"""

import warnings
from dataclasses import dataclass

import numpy as np

from physsim.errors import SolverError
from physsim.physics.diff.device_exact import exact_solver
from physsim.physics.solvers.implicit import SolverImplicit, targets_at


@dataclass
class Gradients:
    """Derivatives of a loss, float64 numpy with the environment axis first."""

    parameters: dict  # name -> [envs, *shape]
    positions: np.ndarray  # initial, [envs, n, 3]
    velocities: np.ndarray
    targets: dict  # attachment -> [k, envs, points, 3]
    residual: float  # worst relative residual of the linear solves


class Rollout:
    """A run of steps that remembers enough to go back.

    Args:
        solver: SolverImplicit or SolverExplicit.
        state: initial State.
        parameters: ParameterSet.
        control: Control or None.
        keep_every: 1 keeps every state; k keeps every k-th and recomputes the others on the way back.
    """

    def __init__(self, solver, state, parameters, control=None, keep_every=1):
        self.solver, self.parameters, self.control = solver, parameters, control
        self.bound = control.bind(solver.model) if control is not None else None
        self.keep_every = keep_every
        self.start = state
        self.last = state
        self.states = {0: state}
        self.count = 0
        self.reports = []

    def time(self, k):
        """Time of state k [s]."""
        return self.start.time + k * self.solver.dt

    def targets(self, k):
        """Targets of the step from state k."""
        return targets_at(self.solver.model, self.control, self.bound, self.time(k + 1)) if self.bound else None

    def advance(self):
        """One more step; returns the new state."""
        self.last, report = self.solver.advance(self.last, self.targets(self.count), self.parameters)
        self.count += 1
        self.reports.append(report)
        if self.count % self.keep_every == 0 or self.keep_every == 1:
            self.states[self.count] = self.last
        return self.last

    def state(self, k):
        """State k, recomputed from the last kept one before it where it was dropped."""
        if k in self.states:
            return self.states[k]
        base = max(j for j in self.states if j <= k)
        state = self.states[base]
        for j in range(base, min(base + self.keep_every, self.count)):
            state, _ = self.solver.advance(state, self.targets(j), self.parameters)
            self.states[j + 1] = state
        return self.states[k]

    def forget_after(self, k):
        """Drop recomputed states after k, on the way back."""
        if self.keep_every > 1:
            for j in [j for j in self.states if j > k + 1]:
                del self.states[j]


def backward(rollout, pulls, tolerance):
    """Gradients of a loss.

    Args:
        rollout: Rollout of n steps.
        pulls: `pulls(k)` gives (dL/dx_k, dL/dv_k), each [envs, n, 3] or None, for k = 0..n.
        tolerance: relative residual of the linear solves.

    Raises:
        SolverError: the loss has a derivative that is not finite; with `strict=False` its environment gets NaN instead.
    """
    if isinstance(rollout.solver, SolverImplicit):
        stepper = _ImplicitAdjoint(rollout, tolerance)
    else:
        stepper = rollout.solver.adjoint_stepper(rollout)
    model = rollout.solver.model
    shape = (model.envs, model.particle_count, 3)
    # cotangents of (x_k, v_k) and, for two-step schemes, of (x_{k-1}, v_{k-1})
    x, v, x1, v1 = (np.zeros(shape) for _ in range(4))
    for k in range(rollout.count, 0, -1):
        _add(x, v, pulls(k))
        require_finite(rollout.solver, rollout.time(k), x, v)
        x, v, x1, v1 = stepper.step(k - 1, x, v, x1, v1)
        rollout.forget_after(k - 1)
    _add(x, v, pulls(0))
    residual = stepper.residual
    if residual > max(1e-6, 10 * tolerance):
        warnings.warn(f"gradient: a linear solve stopped at the relative residual {residual:.1e}", stacklevel=3)
    if stepper.unreached is not None:
        text = "what comes from its target there is as if it had gone all the way"
        warnings.warn(f"gradient: at t = {stepper.unreached:.6g} s contact kept a held point from its target; {text}", stacklevel=3)
    return Gradients(stepper.assembly.parameter_gradients(), x, v, stepper.target_gradients, residual)


def equilibrium_backward(solver, start, rest, control, parameters, pull, tolerance):
    """Gradients of a loss of an equilibrium.

    Args:
        solver: SolverStatic that found it.
        start: State from which it was sought.
        rest: the equilibrium, a State.
        control, parameters: Control or None, and ParameterSet, of the equilibrium.
        pull: derivative of the loss by its positions, [envs, n, 3].
        tolerance: relative residual of the linear solve.

    Raises:
        SolverError: as `backward`.
    """
    a = solver.assembly
    moment = _Moment(solver, control, start.time)
    solver.prepare(start, moment.targets, parameters)
    a.place(rest.x)
    a.begin_adjoint()
    require_finite(solver, rest.time, pull)
    exact = exact_solver(solver, tolerance)
    right, lam = exact.array("right"), exact.array("lambda")
    out = {name: exact.array(name) for name in ("x", "target")}
    right.assign(pull.astype(right.numpy().dtype))
    exact.at_new_point(rest.cache)
    exact.solve(right, lam)
    a.adjoint(lam, out)
    fixed = ~a.model.free
    target = out["target"].numpy().astype(np.float64)
    target[:, fixed] += pull[:, fixed] + out["x"].numpy()[:, fixed]
    targets = TargetGradients(moment)
    targets.add(-1, target)
    positions = np.zeros(pull.shape)
    positions[:, fixed & ~targets.driven] = target[:, fixed & ~targets.driven]
    return Gradients(a.parameter_gradients(), positions, np.zeros(pull.shape), targets.values, exact.worst)


class _Moment:
    """What TargetGradients asks of a rollout, for one moment."""

    def __init__(self, solver, control, time):
        self.solver, self.control, self._time = solver, control, time
        self.bound = control.bind(solver.model) if control is not None else None
        self.targets = targets_at(solver.model, control, self.bound, time) if self.bound else None

    def time(self, k):
        return self._time


def require_finite(solver, time, *derivatives):
    """Raise a SolverError where derivatives [envs, n, 3] by the state at a time are not finite, unless the solver is not strict."""
    if not solver.strict:
        return
    bad = ~np.logical_and.reduce([np.isfinite(d).all(axis=(1, 2)) for d in derivatives])
    if bad.any():
        where = f" (environment {int(np.argmax(bad))} of {len(bad)})" if len(bad) > 1 else ""
        raise SolverError(
            f"gradient: the loss's derivative by the state at t = {time:.6g} s is not finite{where}. "
            "Look in the loss for a division by zero, or a root or logarithm of zero."
        )


def _add(x, v, pull):
    for array, part in zip((x, v), pull, strict=True):
        if part is not None:
            array += part


class TargetGradients:
    """Gradients of the control's keys, collected step by step."""

    def __init__(self, rollout):
        self.rollout = rollout
        self.values = {name: np.zeros(value.shape) for name, value in (rollout.bound or {}).items()}
        model = rollout.solver.model
        particles = {name: model.attachments[name].particles for name in self.values}
        owner = np.full(model.particle_count, -1)  # whose target holds: of attachments with a common point the last one's
        for number, points in enumerate(particles.values()):
            owner[points] = number
        self._holds = {name: owner[points] == number for number, (name, points) in enumerate(particles.items())}
        self.driven = owner >= 0

    def add(self, k, gradient):
        """Add the gradient [envs, n, 3] of all targets of the step from state k."""
        if not self.values:
            return
        i, j, w = self.rollout.control.weights(self.rollout.time(k + 1))
        for name, value in self.values.items():
            part = gradient[:, self.rollout.solver.model.attachments[name].particles] * self._holds[name][:, None]
            value[i] += (1 - w) * part
            value[j] += w * part


class _ImplicitAdjoint:
    def __init__(self, rollout, tolerance):
        self.rollout, self.solver = rollout, rollout.solver
        self.assembly = a = rollout.solver.assembly
        a.set_parameters(rollout.parameters)
        a.begin_adjoint()
        self.exact = exact_solver(self.solver, tolerance)
        self._right, self._lambda = self.exact.array("right"), self.exact.array("lambda")
        self._out = {name: self.exact.array(name) for name in ("x", "x1", "x2", "predictor", "target")}
        self._targets = TargetGradients(rollout)
        self._fixed = ~a.model.free
        self.unreached = None  # first time at which a held point was kept from its target [s]

    @property
    def residual(self):
        return self.exact.worst

    @property
    def target_gradients(self):
        return self._targets.values

    def step(self, k, x, v, x1, v1):
        """Cotangents of the state before step k from those after it: (x, v, x1, v1) of state k + 1 and of its history."""
        a, rollout = self.assembly, self.rollout
        after = rollout.state(k + 1)
        before = rollout.state(k)
        s = self.solver.prepare(before, rollout.targets(k), rollout.parameters)
        a.place(after.x)
        if np.max(rollout.reports[k].unreached, initial=0.0) > 0.0:
            self.unreached = rollout.time(k + 1)
        total = x + s.rate * v
        self._right.assign(total.astype(self._right.numpy().dtype))
        self.exact.at_new_point(after.cache)
        self.exact.solve(self._right, self._lambda)
        a.adjoint(self._lambda, self._out)
        out = {name: array.numpy().astype(np.float64) for name, array in self._out.items()}
        target = out["target"].copy()
        target[:, self._fixed] += total[:, self._fixed] + out["x"][:, self._fixed]
        self._targets.add(k, target)
        new_x = x1 - s.a * s.rate * v + out["x1"] + s.a * out["predictor"]
        new_v = v1 + s.a / s.rate * out["predictor"]
        stay = self._fixed & ~self._targets.driven  # fixed points without a control stay where the state had them
        new_x[:, stay] += target[:, stay]
        old_x = -s.b * s.rate * v + out["x2"] + s.b * out["predictor"]
        old_v = s.b / s.rate * out["predictor"]
        return new_x, new_v, old_x, old_v


class ExplicitAdjoint:
    """Reverse of `SolverExplicit.advance`; no linear solve."""

    residual, unreached = 0.0, None

    def __init__(self, rollout):
        self.rollout, self.solver = rollout, rollout.solver
        self.assembly = a = rollout.solver.assembly
        a.set_parameters(rollout.parameters)
        a.begin_adjoint()
        shape = (a.model.envs, a.model.particle_count)
        self._lambda = a.vectors(shape)
        self._out = {name: a.vectors(shape) for name in ("x", "x1", "predictor", "target")}
        self._targets = TargetGradients(rollout)

    @property
    def target_gradients(self):
        """Gradients of the control's keys so far."""
        return self._targets.values

    def step(self, k, x, v, x1, v1):
        """As the implicit one: v' = v - h/m g(x, x1), x' = x + h v'; fixed points jump to their targets."""
        a, rollout, h = self.assembly, self.rollout, self.solver.dt
        before = rollout.state(k)
        self.solver.prepare(before, rollout.targets(k), rollout.parameters)
        fixed = ~a.model.free
        pull = v + h * x  # dL/dv'
        mass = self.solver.masses(rollout.parameters)[..., None]
        lam = np.where(fixed[:, None], 0.0, h / mass * pull)
        self._lambda.assign(lam.astype(self._lambda.numpy().dtype))
        a.evaluate()
        # the direct dependence of h/m on the mass
        host = a.column_gradients[a.inertia].numpy()
        host[:, :, 0] += (lam / mass * a.gradient.numpy()).sum(-1)
        a.column_gradients[a.inertia].assign(host)
        a.adjoint(self._lambda, self._out)
        out = {name: array.numpy().astype(np.float64) for name, array in self._out.items()}
        target = out["target"].copy()
        target[:, fixed] += x[:, fixed] + v[:, fixed] / h
        self._targets.add(k, target)
        new_x = x1 + np.where(fixed[:, None], -v / h, x) + out["x"] + out["predictor"]
        new_v = v1 + np.where(fixed[:, None], 0.0, pull)
        stay = fixed & ~self._targets.driven
        new_x[:, stay] += target[:, stay]
        old_x = out["x1"]
        if not before.follows(h):  # the history was extrapolated: x1 = x - h v
            new_x += old_x
            new_v -= h * old_x
            old_x = np.zeros_like(old_x)
        return new_x, new_v, old_x, np.zeros_like(old_x)
