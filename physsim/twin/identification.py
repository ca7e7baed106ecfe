"""Identify a twin: find the material, and what else is unknown, with which the simulation moves as the capture shows.

Levenberg-Marquardt on the simulation's tangents. Several starts decades apart compete over the first part of the motion at a long step;
the best goes on to all of it, and then to the scene's own step. Each term's noise is estimated anew from its residuals, so that a
term that the model cannot follow closely does not outvote the others, and the last stage repeats until the noise stays. Last the step
is halved as long as that moves what is wanted by more than a share of its interval: too long a step slows vibrations down, which would
pass for too little stiffness.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.spatial.transform import Rotation

from physsim.errors import InputError, SolverError
from physsim.physics import validation
from physsim.physics.solvers.implicit import SolverImplicit
from physsim.real2sim.least_squares import MAX_ITERATIONS, least_squares
from physsim.real2sim.sampled_run import run_sampled
from physsim.twin.checkpoint import Checkpoint, Remembered
from physsim.twin.disagreement import newton_step, without_each
from physsim.twin.fingerprint import fingerprint
from physsim.twin.problem import TwinProblem
from physsim.twin.results import TwinFit
from physsim.twin.statement import step_lines, term_lines, value_lines
from physsim.twin.terms import default_terms
from physsim.twin.uncertainty import density_sentence, determine, wanted_values
from physsim.twin.unknowns import DAMPINGS, PARAMETER, STIFFNESSES, Unknown, chosen_unknowns, start_unknowns

STARTS = (1.0, 0.1, 10.0)  # factors of the first stiffness
COARSE_WAYS, FINE_WAYS = 6, 9  # of the start's ways that are corrected, over the first part of the motion and over all of it
LONG_STEP = 1 / 30  # of the stages before the last, or the frames' interval where that is shorter [s]
WORTH = 1.5  # a longer step is not worth a stage of its own unless it is longer by this factor
FIRST_PART = 1 / 3  # of the fitted frames
LEAST_FRAMES = 8  # in the first part
FADED = 0.03  # of the usual damping, below which none falls while the step is long
STEADY = 0.15  # relative change of a noise below which it has been found
ROUNDS = 3  # of the last stage at most
HALVINGS = 2  # of the step at most
CLOSE = 0.1  # of a variable's size, or of what was expected of it: within it the tangents that intervals stand on may be taken
NOTICED, LEAST = 0.3, 0.01  # change by half a step that counts: over half the interval's width, and over a variable's size
COARSE = {"until_best": True, "outrun": 2.0, "max_iterations": 12, "relative_decrease": 2e-2, "gradient": 1e-2, "step_size": 1e-2}
FINE = {"max_iterations": 20, "relative_decrease": 1e-3, "gradient": 1e-3, "step_size": 3e-4}


@dataclass
class _Found:
    """Where a fit stands.

    Args:
        values: name -> value in user units of every unknown fitted so far.
        noise: name -> noise of each term.
        history: as in TwinFit.
        converged: whether the last stage ended by its own criteria.
    """

    values: dict
    noise: dict
    history: list = field(default_factory=list)
    converged: bool = True
    problem: object = None
    result: object = None


def identify_twin(
    scene: object,
    terms: list | None = None,
    unknowns: object = None,
    *,
    start: object = None,
    starts: tuple = STARTS,
    ways: int = FINE_WAYS,
    seeds: int = 1,
    seed: int = 0,
    horizons: tuple | None = None,
    near: bool = False,
    halvings: int = HALVINGS,
    checkpoint: str | None = None,
    progress: Callable | None = None,
    level: float = 0.95,
) -> TwinFit:
    """Fit a scene's unknowns to its capture.

    Args:
        scene: TwinScene of one environment.
        terms: what is compared, see `physsim.twin.terms`; None: all that the capture holds.
        unknowns: what is fitted: names of the scene's parameters, of "time_offset", "camera_pose", "gravity_direction", Unknowns, or a
            dict from name to a start, a Variable or an Unknown; None: stiffness, damping, and what else is not known of the body.
        start: Start; None: found from the first frames, and corrected along.
        starts: factors of the first stiffnesses and dampings that compete over the first horizon, simulated side by side.
        ways: along which the start's place and velocity are corrected at most; 0: it is taken as it is.
        seeds: fits by other choices of points and other starts, for `TwinFit.spread`.
        seed: of the first one's choices.
        horizons: lengths of motion [s] fitted one after the other, None for all; None: a third of the frames, then all.
        near: whether the unknowns start near their answer: then all of the motion is fitted at once, at the scene's own step.
        halvings: how often the scene's step may be halved at the end, where that moves the result; `TwinFit.dt` is the last one.
        checkpoint: folder that keeps every evaluation, so that a fit that was killed goes on; None: none is kept.
        progress: called as progress(stage, horizon [s], iteration, cost, values) after every iteration, with the best candidate.
        level: of the intervals.

    Returns:
        TwinFit.

    Raises:
        InputError: unknowns or terms that do not fit.
        SolverError: no candidate could be simulated.
    """
    if scene.model.envs != 1:
        raise InputError(f"scene: one environment is needed, {scene.model.envs} were given; candidates are made from it")
    if not 0.0 < level < 1.0:
        raise InputError(f"level = {level}: must lie between 0 and 1; 0.95 is usual")
    seeds = int(validation.array("seeds", seeds, (), kind="i", lower=1))
    halvings = int(validation.array("halvings", halvings, (), kind="i", lower=0))
    if start is None:
        from physsim.twin.start import find_start

        start = find_start(scene, seed=seed)
    wanted = chosen_unknowns(scene, unknowns)
    fits = []
    for k in range(seeds):
        own = default_terms(scene, seed=seed + k) if terms is None else list(terms)
        folder = checkpoint if checkpoint is None or k == 0 else f"{checkpoint}/seed_{k}"
        first = wanted if k == 0 else _scattered(wanted, np.random.default_rng((seed, k)))
        fits.append(_Job(scene, own, first, start, tuple(starts), ways, horizons, bool(near), halvings, folder, progress, level).run())
    if seeds > 1:
        fits[0].spread = {name: [fit.values[name] for fit in fits] for name in fits[0].values}
    return fits[0]


def _scattered(unknowns, chance):
    """The same unknowns from starts about a factor of 2 away."""
    out = []
    for u in unknowns:
        v = u.variable
        if u.role == PARAMETER and v.scale == "log":
            out.append(u.started_at(float(np.clip(np.mean(v.start) * 2.0 ** chance.normal(), v.lower, v.upper))))
        else:
            out.append(u)
    return out


class _Job:
    """One fit, stage by stage."""

    def __init__(self, scene, terms, unknowns, start, factors, ways, horizons, near, halvings, folder, progress, level):
        self.scene, self.terms, self.unknowns, self.start = scene, terms, unknowns, start
        self.factors, self.level, self.progress = factors, level, progress
        self.horizons, self.near = _horizons(scene, horizons), near
        self.halvings, self.moved, self.settled = halvings, {}, False  # `moved`: scaled unknowns by the last halving that was tried
        self.extent = float(np.ptp(start.positions[scene.body.particles], axis=0).max())
        self.ways = min(int(ways), len(start.ways))
        self.stated = [term.sigma for term in terms]
        kept = None if folder is None else Checkpoint(folder, self._fingerprint())
        self.remembered = Remembered(kept)

    def _fingerprint(self):
        parts = [
            self._plan(),
            self.factors,
            self.ways,
            self.level,
            self.halvings,
            self.scene.dt,
            self.scene.integrator,
            self.start.positions,
        ]
        parts += [self.start.velocities, self.start.ways, self.start.at_rest, self.scene.model.rest, self.scene.capture.times]
        for u in self.unknowns:
            v = u.variable
            parts += [u.name, u.role, u.carried, u.parameter, u.index, u.prior, u.pattern, np.mean(v.start), v.lower, v.upper, v.scale]
        for name in self.scene.model.parameters.names():
            parts += [name, self.scene.model.parameters[name]]
        if self.scene.control is not None:
            parts += [self.scene.control.times, *(np.asarray(v) for v in self.scene.control.targets.values())]
        for term in self.terms:
            parts += [term.name, term.sigma, *(term.data() if hasattr(term, "data") else [np.asarray(term.frames)])]
        return fingerprint(parts)

    def run(self):
        """The whole fit."""
        for term in self.terms:
            if hasattr(term, "bind"):
                term.bind(self.start_frame, self.start.positions)
        found = _Found({}, {})
        plan = self._plan()
        for number, (horizon, dt) in enumerate(plan):
            if found.problem is not None:
                self._bind_late(found)
            unknowns = self._with_start(self.ways if horizon is None else min(self.ways, COARSE_WAYS), found)
            unknowns = self._damped(unknowns, dt > WORTH * self.scene.dt)
            factors = self.factors if number == 0 else (1.0,)
            name = f"fit {number + 1} of {len(plan)}"
            found = self._stage(name, self._frames(horizon), unknowns, factors, dt, found, number == len(plan) - 1)
        return self._finish(self._halved(found))

    def _plan(self):
        """(horizon [s], step [s]) of each stage: long steps first, all of the motion at the scene's own step last."""
        if self.near:
            return [(None, self.scene.dt)]
        times = self.scene.capture.times
        interval = float(np.median(np.diff(times))) if len(times) > 1 else LONG_STEP
        long = max(self.scene.dt, min(LONG_STEP, interval))
        if long < WORTH * self.scene.dt:
            return [(h, self.scene.dt) for h in self.horizons]
        return [*((h, long) for h in self.horizons), (self.horizons[-1], self.scene.dt)]

    @property
    def start_frame(self):
        """The frame in which the motion starts."""
        return int(np.argmin(np.abs(self.scene.capture.times - self.start.time)))

    def _frames(self, horizon):
        fit, times = self.scene.capture.fit, self.scene.capture.times
        return fit if horizon is None else fit[times[fit] <= self.start.time + horizon + 1e-9]

    def _with_start(self, ways, found):
        """The unknowns with those of the start, from where the fit stands."""
        whole = self.unknowns + (start_unknowns(ways, self.extent, not self.start.at_rest) if ways and not self.start.at_rest else [])
        return [u.started_at(found.values[u.name]) if u.name in found.values else u for u in whole]

    def _damped(self, unknowns, long):
        """Dampings kept from vanishing: a long step damps by itself, and on a logarithm what has become too small to count cannot grow."""
        first = {u.name: float(np.mean(u.variable.start)) for u in self.unknowns}
        stiff = next((u for u in unknowns if u.name.split("[")[0] in STIFFNESSES), None)
        grown = 1.0 if stiff is None else float(np.mean(stiff.variable.start)) / first[stiff.name]
        out = []
        for u in unknowns:
            v = u.variable
            if u.name.split("[")[0] in DAMPINGS:
                usual = float(np.clip(first[u.name] * grown, v.lower, v.upper))
                lower = max(v.lower, FADED * min(usual, first[u.name])) if long else v.lower
                begin = float(np.clip(max(float(np.mean(v.start)), usual), lower, v.upper))
                u = replace(u, variable=replace(v, start=begin, lower=lower))
            out.append(u)
        return out

    def _bind_late(self, found):
        """Bind what is first seen after the start to the body, where the fit so far has it then."""
        problem = found.problem
        everyone = np.tile(found.result.scaled[found.result.best], (problem.model.envs, 1))
        for term in self.terms:
            late = [f for f in term.first_frames if f != self.start_frame] if hasattr(term, "bind") else []
            for frame, x in zip(late, problem.simulate(everyone, np.array(late))[0] if late else (), strict=True):
                if np.isfinite(x).all():
                    term.bind(int(frame), x)

    def _stage(self, name, frames, unknowns, factors, dt, found, last):
        """Fit all unknowns to some frames, from one start a factor."""
        unknowns = _spread(unknowns, factors)
        problem = TwinProblem(self.scene, self.terms, unknowns, self.start, frames, len(factors), dt)
        problem.assume(self._middle(unknowns))
        call = self.remembered.calls(problem)
        scaled = _starts(unknowns, len(factors))
        self._sharpen(False)
        if not found.values:
            call(scaled, np.ones(len(factors), bool))
            self._weigh(problem, _least(problem.noise))
        length = float(self.scene.capture.times[problem.frames[-1]] - self.start.time)
        for round_ in range(ROUNDS if last else 1):
            self._sharpen(last and round_ > 0)
            result = self._solve(name, problem, call, length, FINE if last else COARSE, found)
            best = result.best
            found.values = dict(zip([u.name for u in unknowns], result.theta[best].tolist(), strict=True))
            found.problem, found.result, found.converged = problem, result, result.reason[best] != MAX_ITERATIONS
            change = self._weigh(problem, self.remembered.noise_at(result.scaled[best]))
            if not last or (round_ > 0 and change < STEADY):
                break
            problem.unknowns = [u.started_at(found.values[u.name]) for u in unknowns]
        return found

    def _halved(self, found):
        """The fit in steps so short that half of them would not move it noticeably, or in the shortest allowed."""
        for halving in range(self.halvings):
            coarse = found.problem
            coarse.unknowns = [u.started_at(found.values[u.name]) for u in coarse.unknowns]
            finer = coarse.halved()
            call = self.remembered.calls(finer)
            residuals, jacobian = (part[0] for part in call(_starts(finer.unknowns, 1), np.ones(1, bool)))
            if not np.isfinite(residuals).all():
                break
            step = newton_step(residuals, jacobian) - newton_step(*self._best(found))
            self.moved = {u.name: float(change) for u, change in zip(finer.unknowns, step, strict=True) if u.wanted}
            self.settled = not self._noticed(found)
            if self.settled:
                break
            length = float(self.scene.capture.times[finer.frames[-1]] - self.start.time)
            self._sharpen(True)
            found.result = self._solve(f"step halved, {halving + 1}", finer, call, length, FINE, found)
            found.problem = finer
            found.values = dict(zip([u.name for u in finer.unknowns], found.result.theta[0].tolist(), strict=True))
            found.converged = found.result.reason[0] != MAX_ITERATIONS
            self._weigh(finer, self.remembered.noise_at(found.result.scaled[0]))
        return found

    @staticmethod
    def _best(found):
        return found.result.residuals[found.result.best], found.result.jacobian[found.result.best]

    def _noticed(self, found):
        """Whether half a step moves something wanted by more than a share of what it is known to."""
        problem, scaled = found.problem, found.result.scaled[found.result.best]
        bounds, _ = determine(problem, scaled, *self._best(found), self.level, self._excess())
        for u in problem.unknowns:
            if u.wanted:
                low, high = (float(u.variable.scaled(end)) for end in bounds[u.name])
                if abs(self.moved[u.name]) > max(NOTICED * (high - low) / 2, LEAST * u.variable.size):
                    return True
        return False

    def _sharpen(self, sharp):
        """Let what is far off pull less and less (once the fit is near), or as much as what is a little off."""
        for term in self.terms:
            if hasattr(term, "sharp"):
                term.sharp = sharp

    def _middle(self, unknowns):
        first = {u.name: float(u.variable.scaled(np.mean(u.variable.start))) for u in self.unknowns}
        return np.array([first.get(u.name, 0.0) for u in unknowns])

    def _weigh(self, problem, shown):
        """Set each term's noise to what the residuals show, never below what was stated; returns the largest relative change."""
        change = 0.0
        for term, stated, value in zip(self.terms, self.stated, shown, strict=True):
            if np.isfinite(value):
                new = max(stated, float(value))
                change = max(change, abs(new / term.sigma - 1.0))
                term.sigma = new
        return change

    def _solve(self, name, problem, call, length, options, found):
        def show(iteration, cost, theta):
            best = int(np.nanargmin(cost))
            found.history.append((name, length, float(cost[best])))
            if self.progress is not None:
                values = {u.name: float(theta[best, i]) for i, u in enumerate(problem.unknowns) if u.wanted}
                self.progress(name, length, iteration, float(cost[best]), values)

        if not problem.borrows:
            problem.renew()  # so that no stage ends on tangents of another place without having looked
        try:
            return least_squares(call, problem.variables, progress=show, **options)
        except RuntimeError as error:
            raise SolverError(f"identify_twin: {error}. Try a softer or stiffer start, or a smaller dt") from None

    def _finish(self, found):
        problem, result = found.problem, found.result
        best = result.best
        scaled = result.scaled[best]
        values, units = wanted_values(problem, scaled)
        if not (problem.dt < self.scene.dt and problem.is_near(scaled, CLOSE)):
            problem.renew()  # tangents of the place itself; those of steps that were halved cost most, and were taken close by
        residuals, jacobian = (part[0] for part in problem(np.tile(scaled, (problem.model.envs, 1))))
        bounds, sentences = determine(problem, scaled, residuals, jacobian, self.level, self._excess())
        sentences |= density_sentence(self.scene, values)
        bounds, self.differ = without_each(problem, scaled, bounds, self.level, self._excess())
        everyone = np.tile(scaled, (problem.model.envs, 1))
        s = problem.settings(everyone)
        state, _, _, _ = problem.begin(s, slopes=False)
        names = {u.parameter for u in problem.unknowns if u.parameter} | ({"gravity"} if "gravity" in s.tangents else set())
        pose = s.pose[0]
        turn = Rotation.from_rotvec(pose[:3]).as_matrix()
        return TwinFit(
            values=values,
            units=units,
            intervals=bounds,
            undetermined=sentences,
            level=self.level,
            settings={name: s.parameters[name][0] for name in sorted(names)},
            start=(state.x.numpy()[0].copy(), state.v.numpy()[0].copy()),
            start_time=float(self.start.time),
            time_offset=float(s.offset[0]),
            camera_pose=(turn, problem.centre + pose[3:] - turn @ problem.centre),
            noise={term.name: term.sigma for term in self.terms},
            history=found.history,
            statement="\n".join(self._lines(values, units, bounds, sentences, found)),
            converged=found.converged,
            dt=problem.dt,
        )

    def _lines(self, values, units, bounds, sentences, found):
        """What is to be said of the fit, line by line."""
        lines = value_lines(values, units, bounds, sentences, self.level) + term_lines(self.terms, self.stated)
        logs = {u.name for u in found.problem.unknowns if u.variable.scale == "log"} - set(sentences)
        lines += self.differ
        lines += step_lines(found.problem.dt, {name: change for name, change in self.moved.items() if name in logs}, self.settled)
        return lines if found.converged else [*lines, "the fit was stopped before it had converged"]

    def _excess(self):
        """Largest share of a term's residuals in the noise that its data have by themselves."""
        return max(term.sigma / stated for term, stated in zip(self.terms, self.stated, strict=True))


def _least(noise):
    """Smallest noise of each term over the candidates; NaN where none has one."""
    with np.errstate(invalid="ignore"):
        return np.where(np.isfinite(noise).any(axis=0), np.nanmin(np.where(np.isfinite(noise), noise, np.inf), axis=0), np.nan)


def _spread(unknowns: list[Unknown], factors: tuple) -> list[Unknown]:
    """One start a factor for stiffnesses and dampings; the others start alike."""
    if len(factors) == 1:
        return unknowns
    out = []
    for u in unknowns:
        v = u.variable
        first = np.full(len(factors), float(np.mean(v.start)))
        base = u.name.split("[")[0]
        if u.role == PARAMETER and v.scale == "log" and base in (*STIFFNESSES, *DAMPINGS):
            first = np.clip(first * np.array(factors), v.lower, v.upper)
        out.append(replace(u, variable=v.started_at(first)))
    return out


def _starts(unknowns, count):
    """Scaled starts, shape [count, p]."""
    return np.stack([np.broadcast_to(u.variable.scaled(np.asarray(u.variable.start, float)), (count,)) for u in unknowns], axis=1)


def _horizons(scene, horizons):
    capture = scene.capture
    if not len(capture.fit):
        raise InputError("capture.fit: no frame to fit; give some")
    if horizons is not None:
        if isinstance(horizons, str) or not hasattr(horizons, "__len__") or len(horizons) == 0:
            raise InputError(f"horizons = {horizons!r}: a list of lengths of motion [s] is needed, such as (0.5, None); None for all of it")
        return tuple(h if h is None else float(validation.array("horizons", h, (), lower=0.0, lower_open=True)) for h in horizons)
    first = max(LEAST_FRAMES, int(np.ceil(FIRST_PART * len(capture.fit))))
    if first >= len(capture.fit):
        return (None,)
    return float(capture.times[capture.fit[first - 1]] - scene.start_time), None


def predict(scene: object, fit: TwinFit, frames: np.ndarray | None = None) -> np.ndarray:
    """Simulate a fitted twin.

    Args:
        scene: TwinScene of the capture: the one that was fitted, or the same body in another.
        fit: TwinFit.
        frames: numbers of the capture's frames, increasing; None: all from the start on.

    Returns:
        Positions [m] of all particles as the cameras see them, that is, in the capture's world, shape [frames, n, 3].

    Raises:
        InputError: frames that the capture lacks, a fit of another model.
        SolverError: a step failed.
    """
    times = scene.capture.times
    if frames is None:
        frames = np.flatnonzero(times >= fit.start_time - 1e-9)
    frames = validation.array("frames", frames, (None,), kind="i", lower=0, upper=len(times) - 1)
    scene = scene.with_step(fit.dt)
    model = scene.model.replicated(1) if scene.model.envs == 1 else scene.model
    parameters = model.parameters.replace({name: np.broadcast_to(v, (model.envs, *np.shape(v))) for name, v in fit.settings.items()})
    x, v = fit.start
    if np.shape(x) != (model.particle_count, 3):
        raise InputError(f"fit: it is of a model of {len(x)} particles; this scene's has {model.particle_count}")
    state = model.state(x, v, fit.start_time)
    turn, shift = fit.camera_pose
    out = np.empty((len(frames), model.particle_count, 3))

    def take(env, f, x, v, moved):
        if env == 0:
            out[f] = (x - shift) @ turn

    solver = SolverImplicit(model, scene.dt, scene.integrator, strict=True)
    moments = np.broadcast_to(times[frames] + fit.time_offset, (model.envs, len(frames)))
    run_sampled(solver, state, parameters, scene.control, moments, take)
    return out


predict_twin = predict
