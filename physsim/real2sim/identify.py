"""Identify materials from tracks, by gradients through the simulation over the whole horizon.

A handful of numbers is fitted by Levenberg-Marquardt on the tangents of the simulation, several starts at once as environments;
a field (a value a spring or a cell) by Adam on its adjoint.
"""

from dataclasses import dataclass, field

import numpy as np

from physsim.errors import InputError, SolverError
from physsim.physics import validation
from physsim.physics.diff.tangent import equilibrium_tangent
from physsim.physics.solvers.implicit import SolverImplicit
from physsim.real2sim.intervals import Intervals, frames_needed, intervals
from physsim.real2sim.least_squares import LeastSquaresResult, least_squares
from physsim.real2sim.sampled_run import run_sampled
from physsim.real2sim.tracks import Tracks


class StartAtState:
    """The simulation starts at a known state.

    Args:
        state: State; None: the model's, at the first track's time.
    """

    variables = ()

    def __init__(self, state=None):
        self.state = state

    def prepare(self, model, tracks, parameters, slopes, values, value_slopes):
        """(state, position tangents or None or (position, velocity tangents), delays [envs], delay slopes [directions, envs])."""
        state = self.state or model.state(time=tracks.times[0])
        return state, None, np.zeros(model.envs), np.zeros((len(value_slopes), model.envs))


class StartAtScaledGravity:
    """Released at rest from an equilibrium under another gravity: amplitude and phase of a swing as nuisance parameters.

    The family of equilibria under a multiple of gravity is a path of real shapes of the body, whatever its stiffness; at
    multiple 1 nothing moves. The motion starts at a turning point, at `time` plus a delay.

    Args:
        static: SolverStatic of the same model.
        time: of the turning point [s].
        multiple: Variable of the multiple of gravity.
        delay: Variable of the delay [s], or None for a known time.
    """

    def __init__(self, static, time, multiple, delay=None):
        self.static, self.time = static, float(time)
        self.variables = (multiple,) if delay is None else (multiple, delay)
        self._last = None

    def prepare(self, model, tracks, parameters, slopes, values, value_slopes):
        """As `StartAtState.prepare`; `values` [envs, variables] and `value_slopes` [directions, envs, variables] are its own."""
        gravity = model.parameters["gravity"]
        scaled = parameters.replace({"gravity": gravity * values[:, :1]})
        start = None if self._last is None else model.state(self._last.x.numpy())
        try:
            rest, report = self.static.solve(start, params=scaled)
        except SolverError:
            rest, report = self.static.solve(None, params=scaled)
        bad = ~np.atleast_1d(report.converged)
        self._last = None if bad.any() else rest
        tangents = dict(slopes) | {"gravity": gravity[None] * value_slopes[:, :, :1]}
        dx = equilibrium_tangent(self.static, rest, tangents, len(value_slopes), params=scaled)
        dx[:, bad] = np.nan
        delays = values[:, 1] if values.shape[1] > 1 else np.zeros(model.envs)
        delay_slopes = value_slopes[:, :, 1] if values.shape[1] > 1 else np.zeros(value_slopes.shape[:2])
        return model.state(rest.x.numpy(), time=self.time), dx, delays, delay_slopes


@dataclass
class Fit:
    """What a fit found.

    Args:
        values: dict variable name -> estimate in SI units.
        intervals: Intervals, correlation of the residuals taken into account.
        result: LeastSquaresResult of the last horizon, every start.
        history: cost of the best start, an iteration an entry, horizon after horizon: list of (horizon [s], cost).
        observed: fitted material points [m], shape [frames, points, 3].
        parameters: ParameterSet of the best start's environment, all environments alike.
        iterations: simulations of the whole fit.
    """

    values: dict
    intervals: Intervals
    result: LeastSquaresResult = field(repr=False)
    history: list = field(repr=False)
    observed: np.ndarray = field(repr=False)
    parameters: object = field(repr=False)
    iterations: int = 0

    def statement(self):
        """Plain words on what the data determine and what they do not, and whether the model fits them at all."""
        misfit = float(np.sqrt(2 * self.result.cost[self.result.best] / np.count_nonzero(self.result.residuals[self.result.best])))
        text = self.intervals.text()
        if misfit > 3.0:
            text += f"\nthe residuals are {misfit:.1f} times the noise that was stated: the model or the start of the motion is off"
        return text


class _Problem:
    """Residuals and Jacobian of all starts: one simulation with one environment a start."""

    def __init__(self, solver, tracks, keys, variables, start, control):
        self.solver, self.tracks, self.keys, self.variables = solver, tracks, keys, variables
        self.start, self.control = start, control
        self.model = solver.model
        self.count = 0

    def settings(self, scaled):
        """User values [envs, p], the ParameterSet, and slopes of every parameter by scaled variable."""
        k, p = scaled.shape
        values = np.stack([np.clip(v.user(scaled[:, i]), v.lower, v.upper) for i, v in enumerate(self.variables)], axis=1)
        slopes = np.stack([v.slope(scaled[:, i]) for i, v in enumerate(self.variables)], axis=1)
        params, tangents = {}, {}
        for i, key in enumerate(self.keys):
            shape = (k, *self.model.parameters.find(key).shape)
            column = (slice(None), *([None] * (len(shape) - 1)))
            params[key] = np.broadcast_to(values[:, i][column], shape)
            tangent = np.zeros((p, *shape))
            tangent[i] = np.broadcast_to(slopes[:, i][column], shape)
            tangents[getattr(key, "name", key)] = tangent
        return values, slopes, self.model.parameters.replace(params), tangents

    def __call__(self, scaled, active):
        """As `least_squares` wants it."""
        self.count += 1
        k, p = scaled.shape
        values, slopes, parameters, tangents = self.settings(scaled)
        own = len(self.keys)
        value_slopes = np.zeros((p, k, p - own))
        for i in range(own, p):
            value_slopes[i, :, i - own] = slopes[:, i]
        state, dx, delays, delay_slopes = self.start.prepare(self.model, self.tracks, parameters, tangents, values[:, own:], value_slopes)
        x, v, moved = self._run(state, dx, delays, parameters, tangents, p)
        moved = moved - delay_slopes[:, None, :, None, None] * v[None]
        t = self.tracks
        residuals = np.stack([t.residuals(x[:, e]).ravel() for e in range(k)])
        seen = np.isfinite(np.stack([t.residuals(np.zeros_like(t.positions)).ravel()] * k))
        jacobian = np.stack([t.scaled(moved[:, :, e]).reshape(p, -1).T for e in range(k)])
        failed = np.isnan(x).any(axis=(0, 2, 3))
        residuals = np.where(seen, residuals, 0.0)
        residuals[failed] = np.nan
        return residuals, np.where(seen[..., None], jacobian, 0.0)

    def _run(self, state, dx, delays, parameters, tangents, p):
        """Observed points [f, envs, points, 3], their velocities, and their tangents [p, f, envs, points, 3]."""
        t, envs = self.tracks, self.model.envs
        if t.times[0] < state.time - 1e-9:
            raise InputError(f"tracks: the first frame, {t.times[0]:g} s, lies before the start of the simulation, {state.time:g} s")
        dx, dv = dx if isinstance(dx, tuple) else (dx, None)
        shape = (len(t.times), envs, len(t.nodes), 3)
        x, v, moved = np.zeros(shape), np.zeros(shape), np.zeros((p, *shape))

        def take(env, frame, place, speed, tangent):
            x[frame, env], v[frame, env], moved[:, frame, env] = place, speed, tangent

        failed = run_sampled(
            self.solver,
            state,
            parameters,
            self.control,
            np.stack([np.maximum(t.times - d, state.time) for d in delays]),
            take,
            directions=p,
            tangents=tangents,
            positions=dx,
            velocities=dv,
            observe=t.observe,
        )
        x[:, failed] = np.nan
        if dx is not None:
            x[:, np.isnan(dx).any(axis=(0, 2, 3))] = np.nan
        return x, v, moved


def identify(
    solver,
    tracks,
    parameters,
    *,
    start=None,
    control=None,
    horizons=(None,),
    max_iterations=30,
    progress=None,
    level=0.95,
    final=True,
):
    """Fit a handful of parameters to tracks by Levenberg-Marquardt with the simulation's exact tangents.

    Args:
        solver: SolverImplicit with `strict=False`; its model has one environment a start.
        tracks: Tracks.
        parameters: dict from Parameter (or name) to a Variable: start (one, or one an environment), bounds, scale. A parameter of
            many values (a stiffness a cell) is fitted as one number; use `identify_field` for fields.
        start: StartAtState or StartAtScaledGravity; None: the model's state at the first track's time.
        control: Control or None.
        horizons: lengths of motion [s] fitted one after the other, each from the last one's answer, None for all of it. Short
            ones first keep a swing of unknown stiffness from locking on to a wrong period.
        max_iterations: trials of each horizon.
        progress: called as progress(horizon [s], iteration, cost [starts], values [starts, p]).
        level: of the intervals.
        final: False stops the last horizon early, too, as the ones before it: for a caller that goes on from the answer.

    Returns:
        Fit.

    Raises:
        InputError: a parameter that the model lacks, a solver that is strict, starts that do not match the environments.
        SolverError: no start could be simulated.
    """
    if not isinstance(solver, SolverImplicit) or solver.strict:
        raise InputError("solver: a SolverImplicit with strict=False is needed, so that one failed start does not end the others")
    start = start or StartAtState()
    validation.instance("tracks", tracks, Tracks)
    keys = list(parameters)
    if not keys:
        raise InputError("identify: at least one parameter is needed")
    horizons = checked_horizons(horizons)
    if tracks.nodes.max() >= solver.model.particle_count:
        raise InputError(f"tracks.nodes: {int(tracks.nodes.max())} is no particle; the model has {solver.model.particle_count}")
    for key in keys:
        solver.model.parameters.find(key)
    variables = _spread([*parameters.values(), *start.variables], solver.model.envs)
    check_frames(tracks, horizons[-1], len(variables))
    history, iterations = [], 0
    for horizon in horizons:
        part = tracks if horizon is None else tracks.until(tracks.times[0] + horizon)
        length = part.times[-1] - part.times[0]
        problem = _Problem(solver, part, keys, variables, start, control)
        shown = None if progress is None else (lambda i, cost, theta, length=length: progress(length, i, cost, theta))
        last = final and (horizon is None or horizon == horizons[-1])
        try:
            result = least_squares(
                problem,
                variables,
                max_iterations=max_iterations,
                relative_decrease=1e-3 if last else 5e-2,
                gradient=1e-3 if last else 1e-2,
                step_size=3e-4 if last else 1e-2,
                progress=shown,
            )
        except RuntimeError as error:
            raise SolverError(f"identify: {error}") from None
        history += [(length, float(c)) for c in np.nanmin(result.history, axis=1 if result.history.ndim > 1 else 0).ravel()]
        iterations += problem.count
        variables = [v.started_at(result.theta[:, i]) for i, v in enumerate(variables)]
    return _finish(problem, result, variables, history, iterations, level)


def checked_horizons(horizons):
    """Lengths of motion as a list.

    Raises:
        InputError: not a list of at least one length [s], above 0, or None.
    """
    if isinstance(horizons, str) or not hasattr(horizons, "__len__") or len(horizons) == 0:
        raise InputError(f"horizons = {horizons!r}: a list of lengths of motion [s] is needed, such as (0.5, None); None for all of it")
    return [h if h is None else float(validation.array("horizons", h, (), lower=0.0, lower_open=True)) for h in horizons]


def check_frames(tracks, horizon, count, remedy="give more frames, or drop material points that are often not seen"):
    """Raise an InputError where the frames up to a horizon are too few for intervals of `count` unknowns: before a long fit."""
    part = tracks if horizon is None else tracks.until(tracks.times[0] + horizon)
    complete = int(np.isfinite(part.positions[..., part.axes]).all(axis=(1, 2)).sum())
    if complete < frames_needed(count):
        span = f"the {part.times[-1] - part.times[0]:g} s to fit"
        text = f"tracks: {complete} frames within {span} show every point; {frames_needed(count)} are needed for {count} unknowns"
        raise InputError(f"{text}; {remedy}")


def _spread(variables, envs):
    for v in variables:
        if np.size(v.start) not in (1, envs):
            raise InputError(f"{v.name}: {np.size(v.start)} starts were given for {envs} environments; finalize(envs=starts)")
    return [v.started_at(np.broadcast_to(v.start, (envs,))) for v in variables]


def _finish(problem, result, variables, history, iterations, level):
    best = result.best
    t = problem.tracks
    frames = len(t.times)
    residuals = result.residuals[best].reshape(frames, -1).copy()
    residuals[~np.isfinite(t.residuals(np.zeros_like(t.positions)))] = np.nan
    jacobian = result.jacobian[best].reshape(frames, -1, len(variables))
    found = [v.started_at(result.theta[best, i : i + 1]) for i, v in enumerate(variables)]
    sure = intervals(found, result.scaled[best], residuals, jacobian, level=level)
    everyone = np.tile(result.scaled[best], (problem.model.envs, 1))
    _, _, parameters, _ = problem.settings(everyone)
    observed = t.positions.copy()
    observed[..., t.axes] += (result.residuals[best].reshape(frames, len(t.nodes), -1)) * t.noise
    values = {v.name: float(result.theta[best, i]) for i, v in enumerate(variables)}
    return Fit(values, sure, result, history, observed, parameters, iterations)


def identify_rest(static, mean_positions, nodes, weights, parameters, *, components="xyz", noise=1e-3, max_iterations=30):
    """Fit parameters to a mean or resting pose by static equilibrium: a quick and coarse first answer.

    Args:
        static: SolverStatic with `strict=False`; one environment a start.
        mean_positions: [m], shape [points, 3].
        nodes, weights: of the material points, as `Tracks`.
        parameters: dict from Parameter to Variable.
        components, noise: as `Tracks`.
        max_iterations: trials.

    Returns:
        LeastSquaresResult.
    """
    tracks = Tracks(np.zeros(1), nodes, weights, np.asarray(mean_positions)[None], components, noise)
    problem = _Problem(static, tracks, list(parameters), _spread(list(parameters.values()), static.model.envs), StartAtState(), None)

    def evaluate(scaled, active):
        _, _, values, tangents = problem.settings(scaled)
        state, report = static.solve(params=values)
        dx = equilibrium_tangent(static, state, tangents, scaled.shape[1], params=values)
        x, moved = tracks.observe(state.x.numpy()), tracks.observe(dx)
        x[~np.atleast_1d(report.converged)] = np.nan
        residuals = np.stack([tracks.residuals(x[e][None]).ravel() for e in range(len(x))])
        jacobian = np.stack([tracks.scaled(moved[:, e][:, None]).reshape(scaled.shape[1], -1).T for e in range(len(x))])
        return residuals, jacobian

    return least_squares(evaluate, problem.variables, max_iterations=max_iterations, relative_decrease=1e-4, step_size=1e-3)


def identify_field(
    solver,
    loss,
    parameter,
    start,
    *,
    times,
    state=None,
    control=None,
    lower=None,
    upper=None,
    rate=0.05,
    max_iterations=200,
    patience=20,
    progress=None,
    basis=None,
):
    """Fit a field (one value a spring, a cell or a triangle) by Adam on its logarithm, with the adjoint of the whole run.

    Args:
        solver: SolverImplicit or SolverExplicit.
        loss: called with a Trajectory, gives a scalar torch tensor.
        parameter: Parameter or name.
        start: first values, scalar or shape `parameter.shape`, above 0.
        times: sampling times of the trajectory [s].
        state, control: as `simulate`.
        lower, upper: bounds in the parameter's unit, above 0; None: the parameter's own, where it has some.
        rate: Adam's step in the logarithm.
        max_iterations: at most.
        patience: stop after this many iterations without a loss smaller by 1 %.
        progress: called as progress(iteration, loss).
        basis: None: every entry on its own; or columns whose combinations the logarithm is, shape [entries, k] (`smooth_basis`,
            `region_basis`). It starts at the combination nearest to `start`; its bounds hold where the simulation runs.

    Returns:
        (values, losses): the best field [parameter.shape] and the loss of every iteration.

    Raises:
        InputError: a start that is not above 0 or outside its bounds, bounds that leave no room, a parameter that the model lacks, a
            basis of another length or without columns.
    """
    import torch

    from physsim.physics.diff.torch_bridge import simulate

    p = solver.model.parameters.find(parameter)
    first = p.expand(start, 1)[0]
    low, high = _log_bounds(p, first, lower, upper)
    columns, z = None, np.log(first)
    if basis is not None:
        basis = validation.array("basis", basis, (first.size, None))
        if basis.shape[1] == 0:
            raise InputError("basis: no columns; at least one is needed, such as smooth_basis(mesh, 1)")
        columns, z = torch.tensor(basis), np.linalg.lstsq(basis, z.ravel(), rcond=None)[0]
    z = torch.tensor(z, dtype=torch.float64, requires_grad=True)

    def values():
        """The parameter's values."""
        return z.exp() if columns is None else _held(columns @ z, low, high).exp().reshape(first.shape)

    adam = torch.optim.Adam([z], lr=rate)
    best, best_loss, losses, since = first, np.inf, [], 0
    for iteration in range(max_iterations):
        adam.zero_grad()
        value = loss(simulate(solver, state, control, times=times, params={p: values()}))
        value.backward()
        losses.append(float(value.detach()))
        if progress is not None:
            progress(iteration, losses[-1])
        since = 0 if losses[-1] < 0.99 * best_loss else since + 1
        if losses[-1] < best_loss:
            best, best_loss = values().detach().numpy().copy(), losses[-1]
        if since > patience:
            break
        adam.step()
        if columns is None:
            with torch.no_grad():
                z.clamp_(low, high)
    return best, np.array(losses)


def _held(field, low, high):
    """A field within its bounds; entries beyond them keep the gradient that leads back, lest all of them stand still."""
    import torch

    beyond = field.detach()
    if field.requires_grad:
        field.register_hook(lambda g: torch.where(((beyond < low) & (g > 0)) | ((beyond > high) & (g < 0)), torch.zeros_like(g), g))
    return beyond.clamp(low, high) + (field - beyond)


def _log_bounds(p, first, lower, upper):
    """Logarithms of the bounds of a field: those given, else the parameter's own; open ones are left by a millionth of the bound."""
    if (first <= 0).any():
        raise InputError(f"{p.name}: starts above 0 are needed, the field is fitted as a logarithm")
    own = p.bounds
    given = (("lower", lower), ("upper", upper))
    low, high = (v if v is None else float(validation.array(f"{p.name}: {k}", v, (), lower=0.0, lower_open=True)) for k, v in given)
    for name, value in (("lower", low), ("upper", high)):
        if value is not None:
            validation.check_bounds(f"{p.name}: {name}", np.array(value), **own)
    if low is None and (own.get("lower") or 0.0) > 0:
        low = own["lower"] * (1 + 1e-6 * own.get("lower_open", False))
    if high is None and own.get("upper") is not None:
        high = own["upper"] * (1 - 1e-6 * own.get("upper_open", False))
    if low is not None and high is not None and low >= high:
        raise InputError(f"{p.name}: lower = {low:g} and upper = {high:g}: lower must lie below upper")
    validation.check_bounds(f"{p.name}: start", first, low, high)
    return -np.inf if low is None else np.log(low), np.inf if high is None else np.log(high)
