"""Splats that the benchmark draws, and the camera that sees them."""

import math
from typing import NamedTuple

import torch

from physsim.appearance.camera import Camera
from physsim.appearance.quaternions import rotation_matrices


class SplatScene(NamedTuple):
    """Splats with colours, and a camera; a random weighing of the image makes the loss whose gradient is timed."""

    means: torch.Tensor
    factors: torch.Tensor
    opacities: torch.Tensor
    colours: torch.Tensor
    camera: Camera
    weights: tuple[torch.Tensor, torch.Tensor, torch.Tensor]
    """Of colour [H, W, 3], alpha [H, W] and depth [H, W]."""

    def loss(self, colour: torch.Tensor, alpha: torch.Tensor, depth: torch.Tensor) -> torch.Tensor:
        """The weighed sum of what is drawn."""
        return sum((part * weight).sum() for part, weight in zip((colour, alpha, depth), self.weights, strict=True))


def splat_ball(count: int, pixels: int, seed: int = 0) -> SplatScene:
    """`count` splats of all directions on a fuzzy unit sphere, sized to cover it, as those of a fitted object are; seen from 3 m."""
    draw = torch.Generator().manual_seed(seed)
    directions = torch.nn.functional.normalize(torch.randn(count, 3, generator=draw), dim=-1)
    means = directions * (1 - 0.1 * torch.rand(count, 1, generator=draw))
    size = 0.7 * math.sqrt(4 * math.pi / count)
    scales = size * (0.25 + 0.75 * torch.rand(count, 3, generator=draw))
    factors = rotation_matrices(torch.randn(count, 4, generator=draw)) * scales[:, None]
    opacities = 0.1 + 0.85 * torch.rand(count, generator=draw)
    colours = 0.5 + 0.4 * directions + 0.1 * torch.rand(count, 3, generator=draw)
    focal = 0.5 * pixels / math.tan(0.4)
    camera = Camera(pixels, pixels, (focal, focal), translation=(0.0, 0.0, 3.0))
    weights = (torch.randn(pixels, pixels, 3, generator=draw), *torch.randn(2, pixels, pixels, generator=draw))
    return SplatScene(means, factors, opacities, colours, camera, weights)
