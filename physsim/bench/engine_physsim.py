"""physsim's own solvers on the benchmark's cases."""

import numpy as np

import physsim as ps
from physsim.bench import scenes
from physsim.bench.cases import FRAMES, Case
from physsim.bench.profile import StepProfile, launch_seconds
from physsim.physics.launch import thread_count

IMPLICIT_OPTIONS = {"dtype": "float64", "integrator": "bdf2", "accuracy": 1e-4}
"""Options of the implicit rows; a spec may override them and add `tolerance` [N] or `linear`. A step of 1/60 s
ends when a Newton iteration moves the 1 m body by less than a tenth of a millimetre, a shorter one by its share of the square of the
step, which leaves the same error of acceleration; the rows' errors contain what that costs."""
EXPLICIT_OPTIONS = {"dtype": "float32"}


class CaseScene:
    """A case's model, with what is read from its states."""

    def __init__(self, case: Case, dtype: str):
        builder = ps.ModelBuilder(gravity=(0.0, 0.0, -scenes.GRAVITY))
        if case.kind == "beam":
            shape = scenes.beam(case.size)
            material = ps.NeoHookean(young=case.stiffness, poisson=scenes.BEAM_POISSON, density=scenes.BEAM_DENSITY)
            self.body = builder.add_soft_body(ps.TetMesh(shape.points, shape.cells), material, name="beam")
            builder.attach(self.body, shape.clamped)
        elif case.kind == "shell":
            shape = scenes.cloth(case.size)
            bending = scenes.shell_bending(case.stiffness)
            density = scenes.CLOTH_MASS  # of 1 m^2
            material = ps.Shell(stretch=case.stiffness, bending=bending, poisson=scenes.SHELL_POISSON, area_density=density)
            self.body = builder.add_cloth(ps.TriMesh(shape.points, shape.triangles), material, name="shell")
            builder.attach(self.body, shape.pins)
        else:
            shape = scenes.cloth(case.size)
            self.stiffness = case.stiffness * shape.share
            spring = ps.Spring(stiffness=self.stiffness, damping=case.damping * shape.share)
            mass = np.full(len(shape.points), scenes.CLOTH_MASS / len(shape.points))
            self.body = builder.add_springs(ps.SpringNet(shape.points, shape.edges), spring, mass=mass, name="cloth")
            builder.attach(self.body, shape.pins)
        self.tip = shape.tip if case.kind == "beam" else None
        self.model = builder.finalize(device="cpu", dtype=dtype)

    def height(self, state: ps.State) -> float:
        """Return the compared height [m] of a state."""
        z = np.asarray(state.positions)[self.body.particles, 2]
        return float(z.min() if self.tip is None else z[self.tip].mean())


class _Simulation:
    """One simulated second; see `engines.Simulation`."""

    def __init__(self, case: Case, substeps: int, options: dict):
        self.options = {**self.defaults, **options}
        self.substeps = substeps
        self.scene = CaseScene(case, self.options["dtype"])
        self.solver = _solver(self.scene.model, 1.0 / (FRAMES * substeps), self.options, self.explicit)
        self.profiled: dict = {}

    def warm_up(self) -> None:
        """Load or compile the kernels by taking two steps (the second uses the integrator's history)."""
        launch_seconds()
        state = self.scene.model.state()
        for _ in range(2):
            state, _report = self.solver.step(state)

    def simulate(self) -> np.ndarray:
        """Return the compared height [m] at each frame; nan from the frame in which a step failed."""
        curve = np.full(FRAMES, np.nan)
        self.profile = StepProfile()
        state = self.scene.model.state()
        try:
            for frame in range(FRAMES):
                state = self.advance_frame(state)
                curve[frame] = self.scene.height(state)
        except ps.SolverError as error:
            self.failure = str(error)
        self.profiled = self.profile.columns(FRAMES * self.substeps)
        return curve

    def advance_frame(self, state: ps.State) -> ps.State:
        """Return the state 1/60 s later."""
        for _ in range(self.substeps):
            state, report = self.solver.step(state)
            self.profile.note(report)
        return state

    def facts(self) -> dict:
        """Version, dtype, the linear solver picked, and the last run's profile."""
        facts = {"version": ps.__version__, "threads": thread_count(), **self.options, **self.profiled}
        if not self.explicit:
            facts |= {"linear": self.solver.linear_name, "accuracy": self.solver.accuracy}
        if hasattr(self, "failure"):
            facts["note"] = self.failure
        return facts


class ImplicitSimulation(_Simulation):
    """The implicit solver."""

    defaults = IMPLICIT_OPTIONS
    explicit = False


class ExplicitSimulation(_Simulation):
    """The explicit solver, which takes all steps of a frame in one call."""

    defaults = EXPLICIT_OPTIONS
    explicit = True

    def advance_frame(self, state: ps.State) -> ps.State:
        """Return the state 1/60 s later."""
        state, report = self.solver.run(state, self.substeps)
        self.profile.note(report)
        return state


def _solver(model: ps.Model, dt: float, options: dict, explicit: bool) -> object:
    """Return the solver with those options that are its own."""
    own = {name: value for name, value in options.items() if name != "dtype"}
    if own.get("accuracy") is not None:
        own["accuracy"] *= (FRAMES * dt) ** 2
    return ps.SolverExplicit(model, dt=dt, **own) if explicit else ps.SolverImplicit(model, dt=dt, **own)


class _Gradient:
    """Mean height at 1 s and its derivative by every spring; see `engines.Gradient`."""

    def __init__(self, case: Case, substeps: int, options: dict):
        self.options = {**self.defaults, **options}
        self.scene = CaseScene(case, self.options["dtype"])
        self.dt = 1.0 / (FRAMES * substeps)
        self.solver = _solver(self.scene.model, self.dt, self.options, self.explicit)
        self.stiffness = self.scene.stiffness
        self.set_stiffness(self.stiffness)

    def set_stiffness(self, stiffness: np.ndarray) -> None:
        """Set every spring's stiffness [N/m], shape [m]."""
        import torch

        self.parameter = torch.tensor(stiffness, dtype=getattr(torch, self.options["dtype"]), requires_grad=True)

    def warm_up(self) -> None:
        """Load or compile the kernels, reverse mode included, by differentiating two steps."""
        self._height(2.0 * self.dt).backward()
        self.parameter.grad = None

    def _height(self, time: float) -> object:
        parameters = {self.scene.body.stiffness: self.parameter}
        trajectory = ps.simulate(self.solver, times=[time], params=parameters)
        return trajectory.positions[-1, self.scene.body.particles.tolist(), 2].mean()

    def forward(self) -> float:
        """Return the mean z [m] of all particles at 1 s."""
        self.end = self._height(1.0)
        return float(self.end.detach())

    def backward(self) -> np.ndarray:
        """Return the derivative of the last `forward` by each stiffness [m / (N/m)], shape [m]."""
        self.parameter.grad = None
        self.end.backward()
        return self.parameter.grad.numpy().astype(float)

    def facts(self) -> dict:
        """Version, dtype and options."""
        return {"version": ps.__version__, "threads": thread_count(), **self.options}


class ImplicitGradient(_Gradient):
    """Through the implicit solver, each step solved far enough for differences of whole runs to be smooth."""

    defaults = IMPLICIT_OPTIONS | {"tolerance": 1e-12, "accuracy": None}
    explicit = False


class ExplicitGradient(_Gradient):
    """Through the explicit solver."""

    defaults = EXPLICIT_OPTIONS
    explicit = True
