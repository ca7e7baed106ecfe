"""Fitting splats, and the colour network, to pictures of a body at rest or deformed."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path

import numpy as np
import torch

from physsim.appearance.binding import Binding, RigidBinding
from physsim.appearance.color import ColorNetwork
from physsim.appearance.fit_options import FitOptions, Round
from physsim.appearance.fitting import Fitting, draw_splats
from physsim.appearance.frames import Frame
from physsim.appearance.splats import Splats


@dataclass(frozen=True, eq=False)
class Fit:
    """What a fit found.

    Attributes:
        splats: at rest; those of the best round on the held-out pictures (the latest within 0.25 dB of it), or of the last where none are
            held out.
        network: the colour network, or None.
        body: mesh that they are bound to, or None.
        options: of the fit.
        rounds: its history.
        best: index in `rounds` of the one whose splats these are.
        stopped_early: whether the held-out pictures ended it.
        fitted, held_out: names of the frames.
        gains, offsets: exposure of the fitted frames, shape [frames, 3]; 1 and 0 where none was fitted.
    """

    splats: Splats
    network: ColorNetwork | None
    body: object
    options: FitOptions
    rounds: tuple[Round, ...]
    best: int
    stopped_early: bool
    fitted: tuple[str, ...]
    held_out: tuple[str, ...]
    gains: np.ndarray
    offsets: np.ndarray
    _binding: object = field(repr=False)

    def draw(self, camera, positions: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """The splats as a camera sees them.

        Args:
            camera: Camera.
            positions: of the body's particles [m], shape [p, 3]; None: at rest.

        Returns:
            Colour over `options.background`, shape [h, w, 3], and alpha, shape [h, w]; without gradients.
        """
        with torch.no_grad():
            eye = torch.as_tensor(camera.position, dtype=torch.float32, device=self.splats.means.device)
            raster = draw_splats(self.splats, self._binding, self.network, camera, eye, positions)[0]
            background = raster.features.new_tensor(self.options.background)
            return raster.features + (1.0 - raster.alpha[..., None]) * background, raster.alpha


def fit_appearance(
    splats: Splats,
    frames: Sequence[Frame],
    body: object = None,
    network: ColorNetwork | None = None,
    options: FitOptions | None = None,
    checkpoint: str | PathLike[str] | None = None,
    progress: Callable[[Round], None] | None = None,
) -> Fit:
    """Fit splats, and a network that makes their colour depend on strain, to pictures.

    Each iteration draws one picture and takes a step of Adam down

        (1 - w) mean |difference| + w (1 - SSIM) + m mean |alpha - mask| + r mean residual^2.

    Splats stay bound to the body: they are fitted in its rest shape and bound anew each round.

    Args:
        splats: to begin with, in the body's rest shape, such as `physsim.appearance.sources` makes.
        frames: pictures, cameras, masks, positions of the body's particles.
        body: mesh or Body that the splats are bound to; None: something rigid, at rest in every picture.
        network: to begin with; None: a new one where `options.network` asks for it.
        options: None: the defaults.
        checkpoint: file that is rewritten each round; where it is there, the fit goes on from it, to the same result as if it had never
            been interrupted. The same splats, frames, body, network and options have to be given again.
        progress: called after each round.

    Returns:
        Fit.

    Raises:
        InputError: no frame or splat, positions of another number of particles, frames that are all held out, pictures too small, a
            checkpoint of another fit or a damaged one.
        SolverError: the loss turned NaN; a smaller rate may help.
    """
    fitting = Fitting(splats, list(frames), body, network, options or FitOptions())
    if checkpoint is not None and Path(checkpoint).exists():
        fitting.restore(checkpoint)
    with _one_thread(fitting.device):
        while not fitting.finished:
            done = fitting.round()
            if checkpoint is not None:
                fitting.save(checkpoint)
            if progress is not None:
                progress(done)
        return _result(fitting)


@contextmanager
def _one_thread(device: torch.device) -> Iterator[None]:
    """PyTorch on one thread: at the sizes of a fit its threads wait for each other, ten times as long as they work on a busy machine."""
    before = torch.get_num_threads()
    try:
        if device.type == "cpu":
            torch.set_num_threads(1)
        yield
    finally:
        torch.set_num_threads(before)


def _result(fitting: Fitting) -> Fit:
    splats, network, best = fitting.result()
    count, exposure = len(fitting.fitted), fitting.exposure
    return Fit(
        splats,
        network,
        fitting.mesh,
        fitting.options,
        tuple(fitting.rounds),
        best,
        fitting.stopped_early,
        tuple(target.frame.name for target in fitting.fitted),
        tuple(target.frame.name for target in fitting.held_out),
        np.ones((count, 3)) if exposure is None else exposure.gains,
        np.zeros((count, 3)) if exposure is None else exposure.offsets,
        RigidBinding(splats) if fitting.mesh is None else Binding(splats, fitting.mesh),
    )
