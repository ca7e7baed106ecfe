"""A fit as a least-squares problem: one simulation gives residuals and Jacobians of all candidates, one environment each.

Every frame is linearised when the simulation reaches it. Of its m residuals r and their Jacobian J [m, p] only the triangle of
[J r] = Q [R c; 0 d] is kept: p rows R with residuals c, and one row d that nothing moves. Costs and normal equations are the same, and
memory does not grow with the number of points. Tracks are kept until the last frame, because their offsets are eliminated over all of them.
"""

import copy
from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial.transform import Rotation

from physsim.errors import InputError
from physsim.physics.diff.adjoint import Rollout, backward, equilibrium_backward
from physsim.physics.diff.sampling import plan
from physsim.physics.diff.tangent import equilibrium_tangent
from physsim.physics.solvers.implicit import SolverImplicit
from physsim.physics.solvers.static import SolverStatic
from physsim.real2sim.sampled_run import run_sampled
from physsim.twin.linear import curvature, deviation
from physsim.twin.offsets import centred
from physsim.twin.poses import seen_by_cameras, tilted
from physsim.twin.unknowns import GRAVITY, PARAMETER, PLACE, POSE, SPEED, TIME

TANGENT = 1e-4  # relative residual of the tangents' solves: Gauss-Newton asks for no more
NEAR = 0.25  # of a variable's size or of what was expected of it beforehand: within it tangents are used again
BORROWED = 0.5  # likewise of tangents of steps twice as long
CHORDS = 4  # evaluations in a row with the same tangents at most
KEPT = 2e8  # bytes of runs that are kept for another look
MOST_ITERATIONS = 80  # of Newton in a step: a candidate that needs more is no good one


@dataclass(frozen=True, eq=False)
class Settings:
    """What scaled unknowns [k, p] mean for the simulation; slopes are by the scaled unknowns.

    Args:
        parameters: ParameterSet.
        tangents: parameter name -> [p, k, *shape].
        offset: of time [s], shape [k]; offset_slope: [p, k].
        turn: rotation vector of the cameras' world [rad], and shift [m], shapes [k, 6]; pose_slope: [p, k, 6].
        place, speed: amplitudes along the start's ways, [k, q]; place_slope, speed_slope: [p, k, q].
    """

    parameters: object
    tangents: dict
    offset: np.ndarray
    offset_slope: np.ndarray
    pose: np.ndarray
    pose_slope: np.ndarray
    place: np.ndarray
    place_slope: np.ndarray
    speed: np.ndarray
    speed_slope: np.ndarray


class TwinProblem:
    """Residuals and Jacobian of a fit, as `least_squares` asks for them.

    Args:
        scene: TwinScene.
        terms: those of `physsim.twin.terms`.
        unknowns: list of Unknown.
        start: Start.
        frames: numbers of the frames; None: those to fit.
        envs: candidates that are simulated side by side.
        dt: step [s]; None: the scene's.

    Raises:
        InputError: no frame, or none that a term covers.
    """

    def __init__(
        self,
        scene: object,
        terms: list,
        unknowns: list,
        start: object,
        frames: np.ndarray | None = None,
        envs: int = 1,
        dt: float | None = None,
    ) -> None:
        self.scene, self.terms, self.unknowns, self.start = scene, list(terms), list(unknowns), start
        frames = scene.capture.fit if frames is None else np.asarray(frames, dtype=int)
        covered = np.isin(frames, np.concatenate([term.frames for term in self.terms]))
        self.frames = frames[covered]
        if not len(self.frames):
            raise InputError("frames: no term covers any of the frames to fit")
        self.model = scene.model.replicated(envs) if scene.model.envs == 1 else scene.model
        self.dt = scene.dt if dt is None else dt
        self.covers = [{int(f) for f in term.frames} for term in self.terms]
        self.centre = start.positions[scene.body.particles].mean(axis=0)
        self._priors = [i for i, u in enumerate(self.unknowns) if u.prior is not None]
        self._middle = np.array([float(u.variable.scaled(np.mean(u.variable.start))) for u in self.unknowns])
        self.runs = 0
        self._base = None  # scaled unknowns [p] at which tangents were taken last, and may be used again from
        self._chords = 0  # evaluations since then
        self._tangents = None  # of the base: its key and, of every frame, those of positions as cameras see them, [p, n, 3]
        self._lender = None  # problem of longer steps whose tangents are used as long as they are near
        self._fewer = {}  # number of candidates -> problem of so many
        self._runs = {}  # of the last simulations: with other weights only their frames are looked at again
        self.noise = np.full((envs, len(self.terms)), np.nan)  # that the residuals of the last call show, [k, terms]
        self.flatness = np.ones(envs)  # by which its cost is flatter than Gauss-Newton's rows say, because what is off pulls less, [k]

    def solver(self) -> SolverImplicit:
        """A new solver: what one keeps from an earlier run would show in the last digits, and a fit could not be repeated to the bit."""
        return SolverImplicit(self.model, self.dt, self.scene.integrator, strict=False, max_iterations=MOST_ITERATIONS)

    @property
    def variables(self) -> list:
        """Variables of the unknowns."""
        return [u.variable for u in self.unknowns]

    @property
    def prior_rows(self) -> int:
        """Rows at the end that hold what is assumed beforehand."""
        return len(self._priors)

    def assume(self, middle: np.ndarray) -> None:
        """Set what the priors are about, scaled [p]: the first starts, wherever a later stage begins."""
        self._middle = np.asarray(middle, dtype=float)

    def settings(self, scaled: np.ndarray) -> Settings:
        """What scaled unknowns [k, p] mean for the simulation."""
        k, p = scaled.shape
        ways = len(self.start.ways)
        sizes = {TIME: 1, POSE: 6, GRAVITY: 2, PLACE: ways, SPEED: ways}
        made = {role: np.zeros((k, size)) for role, size in sizes.items()}
        slopes = {role: np.zeros((p, *values.shape)) for role, values in made.items()}
        params, tangents = {}, {}
        for i, u in enumerate(self.unknowns):
            value = np.clip(u.variable.user(scaled[:, i]), u.variable.lower, u.variable.upper)
            slope = u.variable.slope(scaled[:, i])
            if u.role == PARAMETER:
                self._feed(u, i, value, slope, params, tangents, p)
            else:
                made[u.role][:, u.index], slopes[u.role][i, :, u.index] = value, slope
        if any(u.role == GRAVITY for u in self.unknowns):
            params["gravity"], tangents["gravity"] = tilted(self.model.parameters["gravity"], made[GRAVITY], slopes[GRAVITY])
        parameters = self.model.parameters.replace(params)
        parts = [part for role in (POSE, PLACE, SPEED) for part in (made[role], slopes[role])]
        return Settings(parameters, tangents, made[TIME][:, 0], slopes[TIME][:, :, 0], *parts)

    def _feed(self, u, i, value, slope, params, tangents, p):
        name = u.parameter
        k, shape = len(value), self.model.parameters.find(name).shape
        if name not in params:
            params[name] = self.model.parameters[name]
            tangents[name] = np.zeros((p, k, *shape))
        pattern = np.ones(shape) if u.pattern is None else u.pattern
        column = (slice(None), *([None] * len(shape)))
        params[name] = np.where(pattern != 0, value[column] * pattern, params[name])
        tangents[name][i] = slope[column] * pattern
        for other, share in u.carried.items():
            params[other] = np.multiply.outer(value, share)
            tangents.setdefault(other, np.zeros((p, *params[other].shape)))[i] = np.multiply.outer(slope, share)

    def begin(self, s: Settings, slopes: bool = True) -> tuple:
        """(State, tangents of positions and of velocities [p, k, n, 3] or None, mask [k] of environments without a start)."""
        start, envs = self.start, self.model.envs
        base = np.broadcast_to(start.positions, (envs, *start.positions.shape))
        x = base + np.einsum("kq,qnd->knd", s.place, start.ways)
        v = np.broadcast_to(start.velocities, base.shape) + np.einsum("kq,qnd->knd", s.speed, start.ways)
        dx = np.einsum("pkq,qnd->pknd", s.place_slope, start.ways) if slopes else None
        dv = np.einsum("pkq,qnd->pknd", s.speed_slope, start.ways) if slopes else None
        state = self.scene_state(x, v)
        if not start.at_rest:
            return state, dx, dv, np.zeros(envs, bool)
        return self._at_rest(state, s, dx, dv)

    def scene_state(self, x: np.ndarray, v: np.ndarray) -> object:
        """State of this problem's model at the start's time from positions and velocities [k, n, 3]."""
        return self.model.state(x, v, self.start.time)

    def _at_rest(self, state, s, dx, dv):
        """The equilibrium at the start's place; it begins anew from there at every call."""
        static = SolverStatic(self.model, strict=False)
        control = self.scene.control
        rest, report = static.solve(state, control, s.parameters)
        bad = ~np.atleast_1d(report.converged)
        if dx is not None:
            p = len(self.unknowns)
            dx = equilibrium_tangent(static, rest, s.tangents, p, params=s.parameters, control=control)
            bad |= ~np.isfinite(dx).all(axis=(0, 2, 3))
            dx = np.where(bad[:, None, None], 0.0, dx)
        x = np.where(bad[:, None, None], state.x.numpy(), rest.x.numpy())
        return self.scene_state(x, state.v.numpy()), dx, dv, bad

    def times(self, s: Settings, frames: np.ndarray | None = None) -> np.ndarray:
        """When the frames are in the handles' time, [k, frames]."""
        frames = self.frames if frames is None else frames
        return self.scene.frames_times(frames)[None] + s.offset[:, None]

    def __call__(self, scaled: np.ndarray, active: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Residuals [k, rows] and Jacobian [k, rows, p]; NaN where a simulation failed, or is not `active`.

        Rows: p + 1 a frame, then the priors'.
        """
        if active is not None and not active.all():
            return self._some(scaled, active)
        k, p = scaled.shape
        failed, run = self._run(scaled)
        looks = [_Looks(self, p) for _ in range(k)]
        for env, f, x, moved in run:
            looks[env].add(f, x, moved)
        self.noise = np.full((k, len(self.terms)), np.nan)
        self.flatness = np.ones(k)
        rows = np.full((k, len(self.frames) * (p + 1), p + 1), np.nan)
        for env in np.flatnonzero(~failed):
            rows[env], self.noise[env] = looks[env].rows()
            self.flatness[env] = looks[env].flatness
        rows = np.concatenate([rows, self._prior(scaled)], axis=1)
        return rows[..., p], rows[..., :p]

    def _some(self, scaled, active):
        """The same of some candidates only, by a problem of their number; what stays NaN was not simulated."""
        count, envs = int(active.sum()), len(scaled)
        if count not in self._fewer:
            own = TwinProblem(self.scene, self.terms, self.unknowns, self.start, self.frames, count, self.dt)
            own.assume(self._middle)
            self._fewer[count] = own
        fewer = self._fewer[count]
        parts = *fewer(scaled[active]), fewer.noise, fewer.flatness
        out = [np.full((envs, *part.shape[1:]), np.nan) for part in parts]
        for whole, part in zip(out, parts, strict=True):
            whole[active] = part
        residuals, jacobian, self.noise, self.flatness = out
        return residuals, jacobian

    def without(self, index: int) -> "TwinProblem":
        """The problem without one of its terms, for a look at what was simulated last."""
        other = copy.copy(self)
        other.terms, other.covers = ([x for k, x in enumerate(part) if k != index] for part in (self.terms, self.covers))
        other._chords = 0
        return other

    def is_near(self, scaled: np.ndarray, share: float) -> bool:
        """Whether tangents were taken within a share of each variable's size, or of what was expected of it, from unknowns [p]."""
        size = np.array([u.variable.size if u.prior is None else min(u.prior, u.variable.size) for u in self.unknowns])
        return self._base is not None and bool((np.abs(scaled - self._base) <= share * size).all())

    def renew(self) -> None:
        """Take tangents anew at the next evaluation."""
        self._base = self._lender = None

    @property
    def borrows(self) -> bool:
        """Whether it uses the tangents of a problem of longer steps."""
        return self._lender is not None

    def halved(self) -> "TwinProblem":
        """The problem of one candidate in steps half as long. It begins with the tangents of this one, if they are of one: they are nearly
        the same, and there already."""
        scene = self.scene.with_step(self.dt / 2)
        finer = TwinProblem(scene, self.terms, self.unknowns, self.start, self.frames)
        finer.assume(self._middle)
        if self.model.envs == 1 and self._base is not None:
            finer._base, finer._lender = self._base.copy(), self
        return finer

    def pass_by(self, scaled: np.ndarray) -> bool:
        """Note an evaluation at unknowns [k, p]; returns whether it takes tangents anew, or uses those of one nearby.

        A single candidate's tangents change little over a short way, and cost several times what its motion does. An evaluation that is
        known from before is to be noted, too: which tangents later ones use depends on it.
        """
        near = len(scaled) == 1 and self.is_near(scaled[0], BORROWED if self.borrows else NEAR)
        if near and self._chords < CHORDS:
            self._chords += not np.array_equal(scaled[0], self._base)
            return False
        self._base, self._chords, self._lender = scaled[0].copy(), 0, None
        return True

    def _run(self, scaled):
        """(Mask [k] of what failed; a list of (environment, frame, x, moved) as cameras see it)."""
        if self.pass_by(scaled) or (self._lender is None and np.array_equal(scaled[0], self._base)):
            return self._moving(scaled)
        tangents = self._base_tangents()
        if tangents is None:
            return self._moving(scaled)
        failed, places = self._moving(scaled, slopes=False)
        return failed, [(env, f, x, tangents[f]) for env, f, x, _ in places]

    def _base_tangents(self):
        """Frame -> tangents of the base; None where it cannot be simulated."""
        if self._lender is not None:
            return self._lender._base_tangents()
        key = self._base.tobytes()
        if self._tangents is None or self._tangents[0] != key:
            failed, run = self._moving(self._base[None])
            if failed.any():
                return None
            self._tangents = key, {f: moved for _, f, _, moved in run}
        return self._tangents[1]

    def _moving(self, scaled, slopes=True):
        """As `_run`, with tangents or without; the last runs are kept."""
        key = scaled.tobytes(), slopes
        if key in self._runs:
            return self._runs[key]
        self.runs += 1
        s = self.settings(scaled)
        state, dx, dv, bad = self.begin(s, slopes)
        run = []

        def take(env, f, x, v, moved):
            if moved is not None:
                moved = moved + s.offset_slope[:, env, None, None] * v
            slope = None if moved is None else s.pose_slope[:, env]
            run.append((env, f, *seen_by_cameras(x, moved, s.pose[env], slope, self.centre)))

        moves = {"directions": scaled.shape[1], "tangents": s.tangents, "positions": dx, "velocities": dv} if slopes else {}
        solver, times = self.solver(), self.times(s)
        failed = run_sampled(solver, state, s.parameters, self.scene.control, times, take, tolerance=TANGENT, **moves)
        size = 8 * sum(x.size + (0 if moved is None else moved.size) for _, _, x, moved in run)
        while self._runs and (len(self._runs) + 1) * size > KEPT:
            del self._runs[next(iter(self._runs))]
        self._runs[key] = failed | bad, run
        return self._runs[key]

    def _prior(self, scaled):
        """[J r] of what is assumed beforehand, [k, priors, p + 1]."""
        k, p = scaled.shape
        out = np.zeros((k, len(self._priors), p + 1))
        for row, i in enumerate(self._priors):
            out[:, row, i] = 1.0 / self.unknowns[i].prior
            out[:, row, p] = (scaled[:, i] - self._middle[i]) / self.unknowns[i].prior
        return out

    def simulate(self, scaled: np.ndarray, frames: np.ndarray) -> np.ndarray:
        """Positions as cameras see them [m], shape [k, frames, n, 3]; NaN where the simulation failed."""
        s = self.settings(scaled)
        state, _, _, bad = self.begin(s, slopes=False)
        out = np.full((len(scaled), len(frames), self.model.particle_count, 3), np.nan)

        def take(env, f, x, v, moved):
            out[env, f] = seen_by_cameras(x, None, s.pose[env], None, self.centre)[0]

        run_sampled(self.solver(), state, s.parameters, self.scene.control, self.times(s, frames), take)
        out[bad] = np.nan
        return out

    def loss_gradient(self, scaled: np.ndarray, parameters: object = None, tolerance: float = 1e-6) -> tuple:
        """Cost of the frames and its gradient by every parameter of the model at once, by the adjoint of the whole run.

        Args:
            scaled: unknowns [k, p].
            parameters: ParameterSet to simulate with in place of what the unknowns set; None: theirs.
            tolerance: relative residual of the linear solves.

        Returns:
            (costs [k], infinite where the simulation failed; `Gradients`, whose `parameters` are dict name -> [k, *shape]; of a start at
            rest they hold how its equilibrium moves).

        Raises:
            InputError: a term without the transpose of its derivative.
        """
        s = self.settings(scaled)
        values = s.parameters if parameters is None else parameters
        if parameters is not None:
            s = Settings(**{**s.__dict__, "parameters": parameters})
        state, _, _, bad = self.begin(s, slopes=False)
        times = self.times(s)
        plans = [plan(np.maximum(row, state.time), state.time, self.dt) for row in times]
        steps = max(one.step_count for one in plans)
        solver = self.solver()
        few = 2 * steps * state.x.numpy().nbytes < KEPT and not solver.linear.keeps  # kept factors are far larger than states
        rollout = Rollout(solver, state, values, self.scene.control, keep_every=1 if few else max(1, int(np.sqrt(steps))))
        shape = (len(scaled), self.model.particle_count, 3)
        seen = np.zeros((len(scaled), len(self.frames), *shape[1:]))
        failed = np.array(bad)
        old = state
        for k in range(steps):
            new = rollout.advance()
            failed |= ~np.atleast_1d(rollout.reports[-1].converged)
            for e, one in enumerate(plans):
                for f in np.flatnonzero(one.step == k):
                    seen[e, f] = one.mix(one.position[f], *((a.x.numpy()[e], a.v.numpy()[e]) for a in (old, new)))
            old = new
        pulls, costs = {}, np.full(len(scaled), np.inf)
        for e in np.flatnonzero(~failed):
            costs[e], frames = self._pulls(seen[e], s.pose[e])
            for f, pull in enumerate(frames):
                k, w = plans[e].step[f], plans[e].position[f]
                for step, kind, weight in ((k, 0, w[0]), (k, 1, w[1]), (k + 1, 0, w[2]), (k + 1, 1, w[3])):
                    if weight != 0.0:
                        pulls.setdefault(step, (np.zeros(shape), np.zeros(shape)))[kind][e] += weight * pull
        found = backward(rollout, lambda k: pulls.get(k, (None, None)), tolerance)
        return costs, self._with_equilibrium(found, state, values, tolerance) if self.start.at_rest else found

    def _with_equilibrium(self, found, rest, parameters, tolerance):
        """Gradients by the equilibrium at which the run began, too: of them the positions are no inputs any more."""
        static = SolverStatic(self.model, strict=False)
        own = equilibrium_backward(static, rest, rest, self.scene.control, parameters, found.positions, tolerance)
        summed = {name: value + own.parameters[name] for name, value in found.parameters.items()}
        targets = {name: value + own.targets[name] for name, value in found.targets.items()}
        return replace(found, parameters=summed, positions=own.positions, targets=targets, residual=max(found.residual, own.residual))

    def _pulls(self, x, pose):
        """Cost of all frames [f, n, 3] of an environment and its derivative by the positions in the handles' world."""
        turn = Rotation.from_rotvec(pose[:3]).as_matrix()
        seen = np.stack([seen_by_cameras(one, None, pose, None, self.centre)[0] for one in x])
        cost, total = 0.0, np.zeros_like(x)
        for t, term in enumerate(self.terms):
            covered = [f for f, frame in enumerate(self.frames) if int(frame) in self.covers[t]]
            if hasattr(term, "apart"):
                apart = [term.apart(int(self.frames[f]), seen[f]) for f in covered]
                found = centred(np.stack([a[0] for a in apart]) / term.sigma, np.stack([a[2] for a in apart]), term.free, term.sharp)
                cost += found.cost
                for i, f in enumerate(covered):
                    values = found.weights[i][:, None] * found.residuals[i] / term.sigma
                    total[f] += term.pull(apart[i][1], values, x.shape[1]) @ turn.T
                continue
            for f in covered:
                linear = term.linearise(int(self.frames[f]), seen[f])
                if linear.pull is None:
                    raise InputError(f"term {term.name!r}: it gives no transpose of its derivative (`Linear.pull`), which an adjoint needs")
                cost += linear.cost(term.sigma)
                total[f] += linear.gradient(term.sigma) @ turn.T
        return cost, total


class _Looks:
    """What the terms say of one environment's frames, collected while it runs."""

    def __init__(self, problem, directions):
        self.problem, self.p = problem, directions
        self._parts = [[] for _ in problem.frames]  # rows [J r] of each frame
        self._errors = [[] for _ in problem.terms]
        self._kept = np.zeros(2)  # sums of `curvature`
        self._apart = [{} for _ in problem.terms]  # of tracks: frame -> (residuals, Jacobian, seen)

    def add(self, f, x, moved):
        """Linearise a frame at positions x [n, 3] whose tangents are moved [p, n, 3]."""
        problem = self.problem
        frame = int(problem.frames[f])
        for t, term in enumerate(problem.terms):
            if frame not in problem.covers[t]:
                continue
            if hasattr(term, "apart"):
                residuals, slope, seen = term.apart(frame, x)
                self._apart[t][f] = residuals / term.sigma, np.moveaxis(term.moved(slope, moved), 0, -1) / term.sigma, seen
                continue
            linear = term.linearise(frame, x)
            residuals, jacobian = linear.rows(term.sigma, moved)
            self._parts[f].append(np.column_stack([jacobian, residuals]))
            self._errors[t].append(np.ravel(linear.spread))
            if getattr(term, "sharp", False) and linear.shrink is not None:
                self._kept += curvature(linear.weights, linear.shrink, 1)

    @property
    def flatness(self):
        """As `TwinProblem.flatness`, of this environment."""
        return max(1.0, self._kept[0] / self._kept[1]) if self._kept[1] > 0.0 else 1.0

    def rows(self):
        """(Triangles of [J r], a frame after the other [frames * (p + 1), p + 1]; noise that the residuals show, [terms])."""
        for t, term in enumerate(self.problem.terms):
            if self._apart[t]:
                self._centre(t, term)
        out = np.zeros((len(self._parts), self.p + 1, self.p + 1))
        for f, parts in enumerate(self._parts):
            if parts:
                whole = np.concatenate(parts)
                triangle = np.linalg.qr(whole, mode="r") if np.isfinite(whole).all() else np.full((1, self.p + 1), np.nan)
                out[f, : len(triangle)] = triangle
        noise = np.array([deviation(np.concatenate(e)) if e else np.nan for e in self._errors])
        return out.reshape(-1, self.p + 1), noise

    def _centre(self, t, term):
        frames = list(self._apart[t])
        residuals, jacobian, seen = (np.stack(part) for part in zip(*self._apart[t].values(), strict=True))
        found = centred(residuals, seen, term.free, term.sharp)
        rows, slopes = found.rows(jacobian)
        for i, f in enumerate(frames):
            self._parts[f].append(np.column_stack([slopes[i], rows[i]]))
        if term.sharp:
            self._kept += curvature(found.weights, found.shrink, 3)
        count = np.maximum(seen.sum(axis=0), 2)  # each track's offset took one of its frames
        freed = np.sqrt(count / (count - 1.0))[:, None] if term.free else 1.0
        self._errors[t].append(((found.residuals * freed)[seen] * term.sigma).ravel())
