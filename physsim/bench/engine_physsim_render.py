"""physsim's rasteriser on the benchmark's splats."""

import warp as wp

from physsim.appearance.raster import rasterize
from physsim.bench.cases import Case
from physsim.bench.splat_scenes import splat_ball
from physsim.physics.launch import thread_count


class SplatDrawing:
    """One image and its gradient; see `engines.Drawing`."""

    def __init__(self, case: Case, substeps: int, options: dict):
        self.scene = splat_ball(case.size, case.pixels)
        self.parameters = [value.requires_grad_() for value in self.scene[:4]]
        self.threads = options.get("threads")

    def warm_up(self) -> None:
        """Compile both directions."""
        for _ in range(2):
            self.forward()
            self.backward()

    def forward(self) -> None:
        """Draw colour, alpha and depth."""
        for parameter in self.parameters:
            parameter.grad = None
        self.image = rasterize(*self.parameters, self.scene.camera, antialias=False, threads=self.threads)

    def backward(self) -> None:
        """The gradient of a weighing of all three."""
        self.scene.loss(self.image.features, self.image.alpha, self.image.depth).backward()

    def facts(self) -> dict:
        """Version, and threads at most."""
        return {"version": wp.config.version, "threads": self.threads or thread_count(), "dtype": "float32"}
