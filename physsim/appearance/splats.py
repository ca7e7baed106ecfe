"""Gaussian splats: what they are made of."""

from dataclasses import dataclass, fields, replace

import torch

from physsim.errors import InputError

HARMONICS = (1, 4, 9, 16)  # coefficients of spherical harmonics of degree 0, 1, 2, 3


@dataclass(frozen=True, eq=False)
class Splats:
    """Gaussians in the rest shape of what they belong to.

    Opacity times exp(-1/2 d^T (M M^T)^-1 d) is what a splat at `means` covers of a ray, with M = rotation diag(scales).

    Args:
        means: centres [m], shape [n, 3].
        scales: standard deviations along the splat's own axes [m], positive, shape [n, 3].
        rotations: quaternions (w, x, y, z) of those axes, of any length but 0, shape [n, 4].
        opacities: in (0, 1), shape [n].
        harmonics: coefficients of spherical harmonics of the colour, shape [n, 1, 4, 9 or 16, 3]; colour = 1/2 + their sum, as 3DGS has it.
        latents: what a colour network is told of each splat, shape [n, k]; None: k = 0.
        labels: which body a splat belongs to, whole numbers from 0, shape [n]; None: all 0.

    Raises:
        InputError: shapes that do not fit, NaN, scales or opacities out of range, a quaternion of zero.
    """

    means: torch.Tensor
    scales: torch.Tensor
    rotations: torch.Tensor
    opacities: torch.Tensor
    harmonics: torch.Tensor
    latents: torch.Tensor | None = None
    labels: torch.Tensor | None = None

    def __post_init__(self) -> None:
        n = len(self.means)
        if self.latents is None:
            object.__setattr__(self, "latents", self.means.new_zeros(n, 0))
        if self.labels is None:
            object.__setattr__(self, "labels", torch.zeros(n, dtype=torch.int32, device=self.means.device))
        shapes = {"means": (n, 3), "scales": (n, 3), "rotations": (n, 4), "opacities": (n,), "labels": (n,)}
        for name, shape in shapes.items():
            if tuple(getattr(self, name).shape) != shape:
                raise InputError(f"Splats.{name}: shape {list(getattr(self, name).shape)} was given; {list(shape)} is needed")
        count = self.harmonics.shape[1] if self.harmonics.ndim == 3 else 0
        if count not in HARMONICS or tuple(self.harmonics.shape) != (n, count, 3):
            raise InputError(f"Splats.harmonics: shape {list(self.harmonics.shape)} was given; [{n}, 1, 4, 9 or 16, 3] is needed")

    def __len__(self) -> int:
        return len(self.means)

    def replace(self, **changes: torch.Tensor) -> "Splats":
        """The same splats with other values for some fields."""
        return replace(self, **changes)

    def select(self, which: torch.Tensor) -> "Splats":
        """Some of the splats, by a mask or indices."""
        return Splats(**{f.name: getattr(self, f.name)[which] for f in fields(self)})
