"""PyTorch in, PyTorch out: simulations and equilibria as differentiable functions."""

import weakref
from dataclasses import dataclass, field

import numpy as np
import torch

from physsim.errors import InputError
from physsim.physics import validation
from physsim.physics.diff.adjoint import Rollout, backward, equilibrium_backward
from physsim.physics.diff.sampling import plan
from physsim.physics.model import Control, State, require_state
from physsim.physics.solvers.explicit import SolverExplicit
from physsim.physics.solvers.implicit import SolverImplicit
from physsim.physics.solvers.static import SolverStatic

_TORCH = {"float32": torch.float32, "float64": torch.float64}


@dataclass
class Trajectory:
    """A simulated run, sampled.

    Args:
        times: [s], shape [frames].
        positions: [m], torch, shape [frames, n, 3], with several environments [frames, envs, n, 3].
        velocities: [m/s], the same shape.
        final: State after the last step.
        reports: one StepReport a step.
    """

    times: np.ndarray
    positions: torch.Tensor
    velocities: torch.Tensor
    final: State = field(repr=False)
    reports: list = field(repr=False)
    gradients: object = field(default=None, repr=False)  # of the last backward pass


def simulate(
    solver,
    state=None,
    control=None,
    *,
    times,
    params=None,
    positions=None,
    velocities=None,
    keep_every=1,
    tolerance=None,
):
    """Simulate and sample, differentiably over the whole horizon.

    Args:
        solver: SolverImplicit or SolverExplicit.
        state: initial State; None: the model's.
        control: Control; its targets may be tensors that require gradients.
        times: sampling times [s], increasing, none before the state's; between steps by cubic Hermite interpolation.
        params: dict from Parameter (or name) to a scalar, array or tensor, shape `parameter.shape`, for several environments
            also [envs] or [envs, *shape].
        positions, velocities: initial values that replace the state's, [m] and [m/s], shape [n, 3] or [envs, n, 3].
        keep_every: keep every k-th state for the way back and recompute the others (less memory, one more forward run).
        tolerance: relative residual of the adjoint's linear solves; None: 1e-8, in float32 1e-5.

    Returns:
        Trajectory; its tensors carry gradients to every tensor among params, targets, positions and velocities.

    Raises:
        InputError: times, shapes or parameters that do not fit.
        SolverError: a step failed.
    """
    validation.instance("solver", solver, (SolverImplicit, SolverExplicit), "of a SolverStatic take `equilibrium`")
    model = solver.model
    state = model.state() if state is None else require_state(model, state)
    tolerance = _checked_tolerance(model, tolerance)
    inputs = _Inputs(model, params, control, positions, velocities, state)
    keep_every = int(validation.array("keep_every", keep_every, (), kind="i", lower=1))
    run = _Run(solver, inputs, plan(times, state.time, solver.dt), keep_every, tolerance)
    x, v = _Simulate.apply(run, *inputs.tensors)
    trajectory = Trajectory(
        np.asarray(times, dtype=np.float64), _squeeze(model, x), _squeeze(model, v), run.rollout.last, run.rollout.reports
    )
    run.trajectory = weakref.ref(trajectory)  # torch's graph holds the run, and the trajectory holds the graph
    return trajectory


def equilibrium(solver, state=None, control=None, *, params=None, tolerance=None):
    """Static equilibrium as a differentiable function.

    Args:
        solver: SolverStatic.
        state, control, params, tolerance: as `simulate`.

    Returns:
        Positions [m], torch, shape [n, 3] or [envs, n, 3].
    """
    validation.instance("solver", solver, SolverStatic)
    model = solver.model
    state = model.state() if state is None else require_state(model, state)
    tolerance = _checked_tolerance(model, tolerance)
    inputs = _Inputs(model, params, control, None, None, state)
    return _squeeze(model, _Equilibrium.apply(_StaticRun(solver, inputs, tolerance), *inputs.tensors)[None])[0]


def _checked_tolerance(model, tolerance):
    if tolerance is None:
        return 1e-8 if model.dtype == "float64" else 1e-5
    return float(validation.array("tolerance", tolerance, (), lower=0.0, lower_open=True))


def _squeeze(model, tensor):
    return tensor if model.batched else tensor.squeeze(1)


class _Inputs:
    """The tensors of a call, broadcast to the environments, and what each one is."""

    def __init__(self, model, params, control, positions, velocities, state):
        self.model, self.state, self.control = model, state, control
        self.tensors, self.kinds = [], []
        values = {}
        base = model.resolve(params) if not isinstance(params, dict) else model.parameters
        for key, value in (params if isinstance(params, dict) else {}).items():
            p = model.parameters.find(key)
            values[p.name] = value
            if torch.is_tensor(value):
                self._add(("parameter", p.name), _broadcast(p, value, model.envs))
        self.parameters = base.replace(values) if values else base
        if control is not None:
            if not isinstance(control, Control):
                raise InputError(f"control: a Control is needed, {type(control).__name__} was given")
            control.bind(model)  # checks
            for name, value in control.targets.items():
                if torch.is_tensor(value):
                    value = value[:, None] if value.ndim == 3 else value
                    count = len(model.attachments[name].particles)
                    full = torch.broadcast_to(value.to(torch.float64), (len(control.times), model.envs, count, 3))
                    self._add(("target", name), full)
        start = {"positions": state.x.numpy(), "velocities": state.v.numpy()}
        for name, value in (("positions", positions), ("velocities", velocities)):
            if value is not None:
                start[name] = model.expand(name, value.detach().cpu().numpy() if torch.is_tensor(value) else value)
                if torch.is_tensor(value):
                    self._add((name, ""), torch.broadcast_to(value.to(torch.float64), start[name].shape))
        if positions is not None or velocities is not None:
            self.state = model.state(start["positions"], start["velocities"], state.time)

    def _add(self, kind, tensor):
        self.kinds.append(kind)
        self.tensors.append(tensor.to(torch.float64))

    def gradients(self, found):
        """Gradients of the tensors from a Gradients."""
        out = []
        for kind, name in self.kinds:
            source = {"parameter": found.parameters, "target": found.targets}.get(kind)
            value = source[name] if source is not None else getattr(found, kind)
            out.append(torch.as_tensor(np.array(value), dtype=torch.float64))
        return out


def _broadcast(parameter, value, envs):
    parameter.expand(value, envs)  # checks
    if value.ndim == 1 and len(parameter.shape) == 1 and value.shape[0] == envs > 1:
        value = value[:, None]
    return torch.broadcast_to(value.to(torch.float64), (envs, *parameter.shape))


class _Run:
    def __init__(self, solver, inputs, samples, keep_every, tolerance):
        self.solver, self.inputs, self.samples, self.tolerance = solver, inputs, samples, tolerance
        self.rollout = Rollout(solver, inputs.state, inputs.parameters, inputs.control, keep_every)
        self.trajectory = lambda: None

    def forward(self):
        s = self.samples
        model = self.solver.model
        shape = (len(s.step), model.envs, model.particle_count, 3)
        x, v = np.zeros(shape), np.zeros(shape)
        frames = {k: np.flatnonzero(s.step == k) for k in np.unique(s.step)}
        before = self.rollout.last
        for k in range(s.step_count):
            after = self.rollout.advance()
            for f in frames.get(k, ()):
                ends = (before.x.numpy(), before.v.numpy()), (after.x.numpy(), after.v.numpy())
                x[f], v[f] = s.mix(s.position[f], *ends), s.mix(s.velocity[f], *ends)
            before = after
        return x, v

    def backward(self, gx, gv):
        s = self.samples

        def pulls(k):
            x = v = 0.0
            for f in np.flatnonzero((s.step == k) | (s.step == k - 1)):
                i = 0 if s.step[f] == k else 2
                x = x + s.position[f, i] * gx[f] + s.velocity[f, i] * gv[f]
                v = v + s.position[f, i + 1] * gx[f] + s.velocity[f, i + 1] * gv[f]
            return (None, None) if np.isscalar(x) else (x, v)

        return backward(self.rollout, pulls, self.tolerance)


class _Simulate(torch.autograd.Function):
    @staticmethod
    def forward(ctx, run, *tensors):
        ctx.run = run
        x, v = run.forward()
        dtype = _TORCH[run.solver.model.dtype]
        return torch.as_tensor(x, dtype=dtype), torch.as_tensor(v, dtype=dtype)

    @staticmethod
    def backward(ctx, gx, gv):
        found = ctx.run.backward(gx.detach().cpu().double().numpy(), gv.detach().cpu().double().numpy())
        trajectory = ctx.run.trajectory()
        if trajectory is not None:
            trajectory.gradients = found
        return None, *ctx.run.inputs.gradients(found)


class _StaticRun:
    def __init__(self, solver, inputs, tolerance):
        self.solver, self.inputs, self.tolerance = solver, inputs, tolerance

    def forward(self):
        i = self.inputs
        self.result, _ = self.solver.solve(i.state, i.control, i.parameters)
        return self.result.x.numpy().astype(np.float64)

    def backward(self, gx):
        i = self.inputs
        return equilibrium_backward(self.solver, i.state, self.result, i.control, i.parameters, gx, self.tolerance)


class _Equilibrium(torch.autograd.Function):
    @staticmethod
    def forward(ctx, run, *tensors):
        ctx.run = run
        return torch.as_tensor(run.forward(), dtype=_TORCH[run.solver.model.dtype])

    @staticmethod
    def backward(ctx, gx):
        found = ctx.run.backward(gx.detach().cpu().double().numpy())
        return None, *ctx.run.inputs.gradients(found)
