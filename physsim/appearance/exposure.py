"""Pictures of different exposure: each has a gain and an offset a colour, and their mean over all pictures is fixed."""

import numpy as np
import torch

from physsim.appearance.trainable import load_optimiser, optimiser_arrays

RATE = 5e-3  # Adam's step
MIDDLE = 0.5  # the colour about which gains turn while they are fitted: gain and offset then hardly trade with each other


class Exposure:
    """Gain and offset of each picture: what it shows is gain * colour + offset.

    Colours and gains could trade any factor, colours and offsets any shift; so the mean logarithm of the gains and the mean offset over
    the pictures are kept at zero.

    Args:
        frame_count: pictures.
        device: of the numbers.
        rate: factor on the steps.
    """

    def __init__(self, frame_count: int, device: torch.device, rate: float = 1.0) -> None:
        self._log_gains = torch.nn.Parameter(torch.zeros(frame_count, 3, device=device))
        self._shifts = torch.nn.Parameter(torch.zeros(frame_count, 3, device=device))  # of the middle colour
        self._first = rate * RATE
        self.optimiser = torch.optim.Adam([{"params": [p], "lr": self._first, "first": self._first} for p in self._all()], eps=1e-15)

    def _all(self):
        return self._log_gains, self._shifts

    def apply(self, frame: int, colour: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
        """What a picture shows of premultiplied colours [h, w, 3] that cover `alpha` [h, w] of the pixels; the background comes later."""
        gain = self._log_gains[frame].exp()
        return gain * colour + (self._shifts[frame] + MIDDLE * (1.0 - gain)) * alpha[..., None]

    def step(self) -> None:
        """Adam's step, then the means back to zero."""
        self.optimiser.step()
        with torch.no_grad():
            self._log_gains -= self._log_gains.mean(dim=0)
            self._shifts -= self._offsets().mean(dim=0)

    def _offsets(self):
        return self._shifts + MIDDLE * (1.0 - self._log_gains.exp())

    @property
    def gains(self) -> np.ndarray:
        """Shape [frames, 3]; their geometric mean is 1."""
        return self._log_gains.detach().exp().cpu().numpy()

    @property
    def offsets(self) -> np.ndarray:
        """Shape [frames, 3]; their mean is 0."""
        return self._offsets().detach().cpu().numpy()

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything as arrays."""
        values = {f"values/exposure{i}": value.detach().cpu().numpy() for i, value in enumerate(self._all())}
        return values | optimiser_arrays(self.optimiser, ["exposure0", "exposure1"])

    def load(self, arrays: dict[str, np.ndarray]) -> None:
        """Take what `arrays` gave."""
        with torch.no_grad():
            for i, value in enumerate(self._all()):
                value.copy_(torch.as_tensor(arrays[f"values/exposure{i}"]))
        load_optimiser(self.optimiser, ["exposure0", "exposure1"], arrays)


def matched_exposure(colour: torch.Tensor, reference: torch.Tensor, where: torch.Tensor) -> torch.Tensor:
    """A picture with the gain and the offset a colour by which it comes closest to a reference in the least squares sense.

    For pictures that were not fitted, whose exposure nobody knows.

    Args:
        colour, reference: shape [h, w, 3].
        where: which pixels count and are changed, shape [h, w].

    Returns:
        Shape [h, w, 3].
    """
    out = colour.clone()
    a, b = colour[where], reference[where]
    if len(a) < 2:
        return out
    mean_a, mean_b = a.mean(dim=0), b.mean(dim=0)
    variance = ((a - mean_a) ** 2).mean(dim=0)
    gain = torch.where(variance > 1e-8, ((a - mean_a) * (b - mean_b)).mean(dim=0) / variance.clamp(min=1e-8), 1.0)
    out[where] = mean_b + gain * (a - mean_a)
    return out
