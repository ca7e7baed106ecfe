"""physsim on captures: the gradient of a track loss over all frames by the adjoint."""

import numpy as np

import physsim as ps
from physsim.bench import capture_scenes, scenes
from physsim.bench.cases import FRAMES, Case
from physsim.physics.launch import thread_count

OPTIONS = {"dtype": "float64", "integrator": "bdf2", "tolerance": None, "keep_every": 1}
"""A case that touches takes backward Euler, as twins do."""


class CaptureGradient:
    """Mean squared distance of all particles from their tracks [m^2] and its derivative by every spring, or triangle; see
    `engines.Gradient`, with a loss for the height."""

    def __init__(self, case: Case, substeps: int, options: dict):
        self.options = OPTIONS | ({"integrator": "backward_euler"} if case.kind == "capture-touch" else {}) | options
        builder = ps.ModelBuilder(gravity=(0.0, 0.0, -scenes.GRAVITY))
        shape = scenes.cloth(case.size)
        if case.kind == "capture-touch":
            self.stiffness = np.full(len(shape.triangles), case.stiffness)
            damping = capture_scenes.DAMPING_SHARE * case.stiffness
            bending = scenes.shell_bending(case.stiffness)
            material = ps.Shell(
                stretch=self.stiffness,
                bending=bending,
                poisson=scenes.SHELL_POISSON,
                area_density=scenes.CLOTH_MASS,
                stretch_damping=damping,
                bending_damping=capture_scenes.DAMPING_SHARE * bending,
            )
            body = builder.add_cloth(ps.TriMesh(shape.points, shape.triangles), material, name="sheet")
            builder.add_collider(ps.Plane(), (0.0, 0.0, capture_scenes.FLOOR), name="floor")
            builder.set_surface(body, self_contact=False)
            builder.enable_contact(friction=0.5)
            self.name = body.parameters["stretch"]
        else:
            self.stiffness = case.stiffness * shape.share
            spring = ps.Spring(stiffness=self.stiffness, damping=case.damping * shape.share)
            mass = np.full(len(shape.points), scenes.CLOTH_MASS / len(shape.points))
            body = builder.add_springs(ps.SpringNet(shape.points, shape.edges), spring, mass=mass, name="net")
            self.name = body.stiffness
        builder.attach(body, capture_scenes.held(shape))
        self.particles = body.particles.tolist()
        own = {key: self.options[key] for key in ("integrator", "tolerance")}
        self.dt = 1.0 / (FRAMES * substeps)
        self.solver = ps.SolverImplicit(builder.finalize(device="cpu", dtype=self.options["dtype"]), dt=self.dt, **own)
        self.tracks = None
        self.set_stiffness(self.stiffness)

    def set_stiffness(self, stiffness: np.ndarray) -> None:
        """Set every spring's or triangle's stiffness [N/m], shape [m]."""
        import torch

        self.parameter = torch.tensor(stiffness, dtype=torch.float64, requires_grad=True)

    def warm_up(self) -> None:
        """Load or compile the kernels, reverse mode included, and record the tracks."""
        import torch

        self._positions([2.0 * self.dt]).sum().backward()
        self.parameter.grad = None
        with torch.no_grad():
            self.set_stiffness(capture_scenes.OFF * self.stiffness)
            self.tracks = self._positions(capture_scenes.frame_times()).detach()
        self.set_stiffness(self.stiffness)

    def _positions(self, times):
        run = ps.simulate(self.solver, times=list(times), params={self.name: self.parameter}, keep_every=self.options["keep_every"])
        return run.positions[:, self.particles]

    def forward(self) -> float:
        """Return the loss [m^2] over all frames."""
        self.end = (self._positions(capture_scenes.frame_times()) - self.tracks).square().sum(dim=-1).mean()
        return float(self.end.detach())

    def backward(self) -> np.ndarray:
        """Return the derivative of the last `forward` by each stiffness, shape [m]."""
        self.parameter.grad = None
        self.end.backward()
        return self.parameter.grad.numpy().astype(float)

    def facts(self) -> dict:
        """Version, threads and options."""
        return {"version": ps.__version__, "threads": thread_count(), **self.options}
