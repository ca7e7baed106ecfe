"""One step of learning from a film: a cloth is simulated, drawn as splats and compared with a picture, and the difference flows back."""

import numpy as np
import torch

import physsim as ps
from physsim.appearance.binding import Posed, bind
from physsim.appearance.sources import splats_from_mesh
from physsim.bench import scenes
from physsim.bench.cases import FRAMES, Case
from physsim.bench.engine_physsim import CaseScene
from physsim.bench.measure import Stopwatch, Timing
from physsim.physics.launch import thread_count

FALL_S = 0.25
"""How long the cloth has swung when the step is taken [s]: it hangs halfway and has begun to wrinkle."""
OFF = 1.5
"""The picture shows a cloth of so many times the stiffness."""


def _paint(points: np.ndarray) -> np.ndarray:
    """Colours that wander over the cloth, shape [n, 3]."""
    return 0.5 + 0.4 * np.sin(20.0 * points[:, [0, 1, 0]] + 13.0 * points[:, [1, 0, 1]] * [1.0, -1.0, -1.0])


class FilmGradient:
    """Gradient of one picture of a film, 30 a second, by the stiffness of every spring; see `engines.FilmStep`.

    The splats are one colour each, as wide as covers the cloth, seen from aside. Stages are cut apart and joined by hand, so that each
    one can be timed; what is computed is the same (of splats of one colour from everywhere an image asks for no deformations).
    """

    def __init__(self, case: Case, substeps: int, options: dict):
        self.options = {"dtype": "float64", "integrator": "bdf2", **options}
        self.scene = CaseScene(case, self.options["dtype"])
        self.solver = ps.SolverImplicit(self.scene.model, dt=1.0 / (FRAMES * substeps), integrator=self.options["integrator"])
        self.state = self.scene.model.state()
        for _ in range(round(FALL_S * FRAMES * substeps)):
            self.state, _report = self.solver.step(self.state)
        shape = scenes.cloth(case.size)
        self.splats = splats_from_mesh(ps.TriMesh(shape.points, shape.triangles), case.splats, colours=_paint)
        self.binding = bind(self.splats, self.scene.body)
        self.camera = ps.Camera.around(self.state.positions, width=case.pixels, height=case.pixels, margin=1.0, direction=(0.2, -0.5, 1.0))
        self.time = [self.state.time + 2 / FRAMES]
        self.stiffness = torch.as_tensor(self.scene.stiffness, dtype=torch.float64).requires_grad_()
        with torch.no_grad():
            self.picture = self._draw(self.binding.pose(self._simulate(OFF * self.stiffness)))

    def _simulate(self, stiffness):
        run = ps.simulate(self.solver, self.state, times=self.time, params={self.scene.body.stiffness: stiffness})
        return run.positions[-1]

    def _draw(self, posed):
        return ps.render(ps.PosedSplats(self.splats, posed), self.camera).colour

    def warm_up(self) -> None:
        """Compile everything, and fill what is kept between steps."""
        for _ in range(2):
            self.step()

    def step(self) -> dict[str, Timing]:
        """Take the step; return what each stage took, forward and back."""
        self.stiffness.grad = None
        watches = {}
        with watches.setdefault("physics", Stopwatch()):
            positions = self._simulate(self.stiffness)
        with watches.setdefault("binding", Stopwatch()):
            moved = positions.detach().requires_grad_()
            posed = self.binding.pose(moved)
        with watches.setdefault("drawing", Stopwatch()):
            means, factors = (value.detach().requires_grad_() for value in (posed.means, posed.factors))
            self.loss = (self._draw(Posed(means, factors, posed.deformations.detach())) - self.picture).square().mean()
        with watches.setdefault("drawing back", Stopwatch()):
            self.loss.backward()
        with watches.setdefault("binding back", Stopwatch()):
            torch.autograd.backward((posed.means, posed.factors), (means.grad, factors.grad))
        with watches.setdefault("physics back", Stopwatch()):
            positions.backward(moved.grad)
        return {name: watch.timing for name, watch in watches.items()}

    def whole(self) -> torch.Tensor:
        """The same loss in one piece, with its gradient still to be taken."""
        return (self._draw(self.binding.pose(self._simulate(self.stiffness))) - self.picture).square().mean()

    def facts(self) -> dict:
        """Version, options, threads, and the linear solver picked."""
        return {"version": ps.__version__, "threads": thread_count(), **self.options, "linear": self.solver.linear_name}
