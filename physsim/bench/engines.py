"""The engines that can be benchmarked, what each can do, and the interface its module gives."""

import importlib
import importlib.util
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from physsim.bench.cases import CAPTURED, Case
from physsim.bench.measure import Timing
from physsim.errors import InputError


class Simulation(Protocol):
    """One simulated second; built as `Class(case, substeps, options)` with `substeps` steps in 1/60 s."""

    def warm_up(self) -> None:
        """Compile and take a step; what follows is timed."""

    def simulate(self) -> np.ndarray:
        """Run one second from rest and return the compared height [m] at each frame, shape [60].

        Frames after a breakdown are nan.
        """

    def facts(self) -> dict:
        """Return extra columns: version, threads, dtype, iterations, warnings, profile [s by part]."""


class Gradient(Protocol):
    """The mean height at 1 s and its derivative by every spring's stiffness."""

    stiffness: np.ndarray
    """The springs' stiffness [N/m], in the order of `scenes.Cloth.edges`, shape [m]."""

    def warm_up(self) -> None:
        """Compile both directions."""

    def set_stiffness(self, stiffness: np.ndarray) -> None:
        """Set every spring's stiffness [N/m], shape [m]."""

    def forward(self) -> float:
        """Run one second and return the mean z of all particles [m]."""

    def backward(self) -> np.ndarray:
        """Return the derivative of the last `forward` [m / (N/m)], shape [m]."""

    def facts(self) -> dict:
        """Return extra columns, as a `Simulation` does."""


class Drawing(Protocol):
    """An image of splats, colour, alpha and depth, and the gradient of a weighing of it by means, factors, opacities and colours."""

    def warm_up(self) -> None:
        """Compile both directions."""

    def forward(self) -> None:
        """Draw."""

    def backward(self) -> None:
        """Find the gradient."""

    def facts(self) -> dict:
        """Return extra columns, as a `Simulation` does."""


class FilmStep(Protocol):
    """A gradient step from a film's picture to a material, in stages."""

    def warm_up(self) -> None:
        """Compile all stages, both directions."""

    def step(self) -> dict[str, Timing]:
        """Take it; return what each stage took."""

    def facts(self) -> dict:
        """Return extra columns, as a `Simulation` does."""


@dataclass(frozen=True)
class Engine:
    """An engine by name: where its classes are, what it needs and what it can run."""

    name: str
    module: str
    requires: str
    """Distribution that must be importable."""
    simulation: str
    kinds: tuple[str, ...]
    gradient: str | None = None
    peer: bool = False
    touch: str | None = None
    """Module of the cases in which things touch, where it is another; its class is `TouchSimulation`."""
    grasp: str | None = None
    """The same for a robot's grasp of a cube."""
    touch_substeps: int = 1
    """Steps in 1/60 s at which it carries those out."""
    capture: str | None = None
    """Module of the gradients over a capture; its class is `CaptureGradient`."""
    capture_substeps: int = 1
    """Steps in 1/60 s at which it carries those out."""

    def runs(self, case: Case) -> bool:
        """Whether it can run a case: one of its kinds; of grasps, peers only that of the cube."""
        return case.kind in self.kinds and (case.kind != "grasp" or not self.peer or case.name == "grasp-cube")

    def own_substeps(self, case: Case) -> int:
        """Steps in 1/60 s at which it carries out a case in which things touch; the robots of `physsim grasp` have a step of their own."""
        return 4 if case.kind == "grasp" and not self.peer else self.touch_substeps

    def missing(self) -> str | None:
        """Return why this engine cannot run here, in plain words, or None."""
        if importlib.util.find_spec(self.requires) is None:
            return f"{self.requires} is not installed (pip install {self.requires})"
        return None

    def build(self, case: Case, substeps: int, options: dict) -> Simulation | Gradient | Drawing | FilmStep:
        """Import the engine and set up `case` with `substeps` steps in 1/60 s.

        Raises:
            InputError: the engine has no such kind of case.
        """
        if not self.runs(case):
            raise InputError(f"case = {case.name!r}: {self.name} cannot run a {case.kind}; it can run {', '.join(self.kinds)}")
        if case.kind in CAPTURED:
            return importlib.import_module(f"physsim.bench.{self.capture}").CaptureGradient(case, substeps, options)
        if case.touches:
            module = self.grasp if case.kind == "grasp" else self.touch
            return importlib.import_module(f"physsim.bench.{module}").TouchSimulation(case, substeps, options)
        module = importlib.import_module(f"physsim.bench.{self.module}")
        name = self.gradient if case.kind == "gradient" else self.simulation
        return getattr(module, name)(case, substeps, options)


ENGINES = (
    Engine(
        "physsim-implicit",
        "engine_physsim",
        "warp",
        "ImplicitSimulation",
        ("cloth", "shell", "beam", "gradient", "touch-cloth", "touch-pile", "grasp", "environments", *CAPTURED),
        "ImplicitGradient",
        touch="engine_physsim_touch",
        touch_substeps=2,
        capture="engine_physsim_capture",
    ),
    Engine("physsim-explicit", "engine_physsim", "warp", "ExplicitSimulation", ("cloth", "gradient"), "ExplicitGradient"),
    Engine(
        "mujoco",
        "engine_mujoco",
        "mujoco",
        "MujocoSimulation",
        ("shell", "beam", "touch-cloth", "touch-pile", "grasp"),
        peer=True,
        touch="engine_mujoco_touch",
        grasp="engine_mujoco_grasp",
        touch_substeps=8,
    ),
    Engine(
        "pybullet",
        "",
        "pybullet",
        "",
        ("touch-cloth", "touch-pile", "grasp"),
        peer=True,
        touch="engine_pybullet",
        grasp="engine_pybullet",
        touch_substeps=32,
    ),
    Engine(
        "taichi",
        "engine_taichi",
        "taichi",
        "TaichiSimulation",
        ("cloth", "gradient", "capture-gradient"),
        "TaichiGradient",
        peer=True,
        capture="engine_taichi_capture",
        capture_substeps=334,
    ),
    Engine("physsim-raster", "engine_physsim_render", "torch", "SplatDrawing", ("render",)),
    Engine("physsim-film", "engine_physsim_film", "torch", "FilmGradient", ("film",)),
    Engine("pytorch", "engine_pytorch", "torch", "SplatDrawing", ("render",)),
)


def engine_named(name: str) -> Engine:
    """Return the engine called `name`.

    Raises:
        InputError: there is none; the message lists those that exist.
    """
    for engine in ENGINES:
        if engine.name == name:
            return engine
    raise InputError(f"engine = {name!r}: no such engine; choose from {', '.join(e.name for e in ENGINES)}")


def engines_for(case: Case, peers: bool) -> tuple[Engine, ...]:
    """Return the engines that can run `case`: physsim's, and with `peers` the others."""
    return tuple(engine for engine in ENGINES if engine.runs(case) and (peers or not engine.peer))
