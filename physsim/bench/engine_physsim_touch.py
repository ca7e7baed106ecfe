"""physsim on the scenes in which things touch, and what contact costs there."""

import time

import numpy as np

import physsim as ps
from physsim.bench import scenes, touch_scenes
from physsim.bench.cases import FRAMES, Case
from physsim.bench.profile import StepProfile, launch_seconds
from physsim.physics.launch import thread_count
from physsim.physics.model import State

OPTIONS = {"integrator": "backward_euler", "accuracy": 1e-4}
"""Of the solver; `accuracy` [m] is that of a step of 1/60 s and falls with the square of the step."""
SAMPLES = 20
"""States of a run from which a step with contact is compared with one without."""


def solver_of(model: ps.Model, substeps: int, options: dict) -> ps.SolverImplicit:
    """Return the solver with `substeps` steps in 1/60 s."""
    own = OPTIONS | options
    own["accuracy"] = own["accuracy"] and own["accuracy"] / substeps**2
    return ps.SolverImplicit(model, dt=1.0 / (FRAMES * substeps), **own)


class _Scene:
    """A case's model. `contact` False: the same bodies, which pass through each other."""

    def __init__(self, case: Case, contact: bool = True):
        self.builder = builder = ps.ModelBuilder(gravity=(0.0, 0.0, -scenes.GRAVITY))
        self.control = None
        self.envs = None
        {"touch-cloth": self._cloth, "touch-pile": self._pile, "environments": self._grasps}[case.kind](case)
        if contact:
            builder.enable_contact(friction=touch_scenes.FRICTION)
        self.model = builder.finalize(device="cpu", dtype="float64", envs=self.envs)
        self.particles = np.concatenate([body.particles for body in self.bodies])

    def _cloth(self, case: Case) -> None:
        scene = touch_scenes.cloth_on_sphere(case.size)
        bending = scenes.shell_bending(case.stiffness)
        shell = ps.Shell(stretch=case.stiffness, bending=bending, poisson=scenes.SHELL_POISSON, area_density=scenes.CLOTH_MASS)
        self.bodies = [self.builder.add_cloth(ps.TriMesh(scene.points, scene.triangles), shell, name="cloth")]
        self.builder.add_collider(ps.Sphere(scene.radius), scene.centre, name="sphere")
        self.depth = lambda x: scene.radius - np.linalg.norm(x - scene.centre, axis=-1).min()

    def _pile(self, case: Case) -> None:
        scene = touch_scenes.pile(case.size)
        material = ps.NeoHookean(case.stiffness, touch_scenes.CUBE_POISSON, touch_scenes.CUBE_DENSITY)
        self.bodies = [self.builder.add_soft_body(ps.TetMesh(points, scene.cells), material) for points in scene.points]
        self.builder.add_ground()
        self.depth = lambda x: -x[..., 2].min()

    def _grasps(self, case: Case) -> None:
        scene = touch_scenes.grasp()
        self.envs = case.size
        material = ps.NeoHookean(case.stiffness, touch_scenes.CUBE_POISSON, touch_scenes.CUBE_DENSITY)
        self.bodies = [self.builder.add_soft_body(ps.TetMesh(scene.points, scene.cells), material)]
        for name, places in scene.fingers.items():
            self.builder.add_collider(ps.Box(tuple(2.0 * half for half in touch_scenes.FINGER_HALF)), places[0], name=name)
        self.builder.add_ground()
        self.depth = lambda x: -x[..., 2].min()
        self.keys = scene

    def controls(self, model: ps.Model) -> ps.Control | None:
        """Return the fingers' motion, where the scene has any."""
        if not hasattr(self, "keys"):
            return None
        upright = np.tile([1.0, 0.0, 0.0, 0.0], (len(self.keys.times), 1))
        return ps.Control.from_poses(model, self.keys.times, {name: (places, upright) for name, places in self.keys.fingers.items()})


class TouchSimulation:
    """One simulated second; see `engines.Simulation`."""

    def __init__(self, case: Case, substeps: int, options: dict):
        self.case, self.substeps, self.options = case, substeps, options
        self.scene = _Scene(case)
        self.control = self.scene.controls(self.scene.model)
        self.solver = solver_of(self.scene.model, substeps, options)
        self.deepest = 0.0
        self.samples: list[ps.State] = []
        self.profiled: dict = {}

    def warm_up(self) -> None:
        """Load or compile the kernels by taking two steps."""
        launch_seconds()
        state = self.scene.model.state()
        for _ in range(2):
            state, _report = self.solver.step(state, self.control)

    def simulate(self) -> np.ndarray:
        """Return the bodies' mean height [m] at each frame, over all environments; nan from the frame in which a step failed."""
        curve = np.full(FRAMES, np.nan)
        profile, self.samples, self.deepest = StepProfile(), [], 0.0
        state = self.scene.model.state()
        try:
            for frame in range(FRAMES):
                for _ in range(self.substeps):
                    state, report = self.solver.step(state, self.control)
                    profile.note(report)
                places = state.positions[..., self.scene.particles, :]
                curve[frame], self.deepest = places[..., 2].mean(), max(self.deepest, float(self.scene.depth(places)))
                if frame % (FRAMES // SAMPLES) == 0:
                    self.samples.append(state)
        except ps.SolverError as error:
            self.failure = str(error)
        self.profiled = profile.columns(FRAMES * self.substeps)
        return curve

    def facts(self) -> dict:
        """Version, options, the last run's profile, the deepest overlap [m], and what contact costs."""
        facts = {"version": ps.__version__, "threads": thread_count(), **OPTIONS, **self.options, **self.profiled}
        facts |= {"linear": self.solver.linear_name, "accuracy": self.solver.accuracy, "deepest_m": self.deepest}
        if hasattr(self, "failure"):
            facts["note"] = self.failure
        elif self.samples:
            facts |= self.contact_cost()
        return facts

    def contact_cost(self) -> dict:
        """Take one step from each sampled state with contact and one in a model without, which keeps its own best linear solver.

        Both begin with the same positions, velocities and history. Without contact the bodies fall from there, so the two steps are the
        same stage of the same motion but for the touch.

        Returns:
            dict with `contact_ratio` (CPU time of the steps with contact over those without), `contact_step_s`, `bare_step_s`, and
            `bare_iterations_per_step`.
        """
        bare = _Scene(self.case, contact=False)
        model, control = bare.model, bare.controls(bare.model)
        solver = solver_of(model, self.substeps, self.options)
        seconds, newton, cache = {"contact": 0.0, "bare": 0.0}, 0, None
        for place, s in enumerate(self.samples):
            seconds["contact"] += _timed(self.solver, s, self.control)[0]
            twin = State(model, s.x, s.v, s.x1, s.v1, s.time, s.dt, cache=cache)
            if place == 0:  # compiles and factorises
                twin = State(model, s.x, s.v, s.x1, s.v1, s.time, s.dt, cache=solver.step(twin, control)[0].cache)
            spent, after, report = _timed(solver, twin, control)
            seconds["bare"] += spent
            cache, newton = after.cache, newton + int(np.max(report.iterations))
        count = len(self.samples)
        return {
            "contact_ratio": round(seconds["contact"] / max(seconds["bare"], 1e-9), 2),
            "contact_step_s": seconds["contact"] / count,
            "bare_step_s": seconds["bare"] / count,
            "bare_iterations_per_step": newton / count,
        }


def _timed(solver: ps.SolverImplicit, state: ps.State, control: ps.Control | None) -> tuple[float, ps.State, ps.StepReport]:
    """CPU seconds of a step, its state and its report."""
    start = time.process_time()
    after, report = solver.step(state, control)
    return time.process_time() - start, after, report
