"""Spherical harmonics of things that have been turned."""

from functools import lru_cache

import numpy as np
import torch

from physsim.appearance.harmonics import C0, harmonic_basis


def constant_harmonics(colours: torch.Tensor) -> torch.Tensor:
    """Coefficients of degree 0, shape [n, 1, 3], of colours that are the same from everywhere, shape [n, 3]."""
    return ((colours - 0.5) / C0)[:, None]


def turned_harmonics(harmonics: torch.Tensor, rotation: torch.Tensor) -> torch.Tensor:
    """Coefficients of the same colours on turned things: seen along R d, the colour is what it was along d.

    Each degree is closed under rotation, so that values at a few directions give it exactly.

    Args:
        harmonics: shape [n, 1, 4, 9 or 16, 3].
        rotation: R, shape [3, 3] or one a splat, [n, 3, 3].

    Returns:
        The same shape.
    """
    parts = [harmonics[:, :1]]
    for degree in range(1, round(harmonics.shape[1] ** 0.5)):
        own = slice(degree**2, (degree + 1) ** 2)
        directions, inverse = (torch.as_tensor(a, dtype=harmonics.dtype, device=harmonics.device) for a in _samples(degree))
        back = directions @ rotation  # rows R^T d
        basis = harmonic_basis(back.reshape(-1, 3), own.stop)[:, own].reshape(*back.shape[:-1], -1)
        parts.append(inverse @ (basis @ harmonics[:, own]))
    return torch.cat(parts, dim=1)


@lru_cache
def _samples(degree: int) -> tuple[np.ndarray, np.ndarray]:
    """Fixed directions [k, 3], spread by the golden angle, and what gives one degree's coefficients from values there."""
    k = np.arange(32)
    z = 1.0 - (2 * k + 1) / 32
    angle = k * np.pi * (3.0 - 5.0**0.5)
    r = np.sqrt(1.0 - z * z)
    directions = np.stack([r * np.cos(angle), r * np.sin(angle), z], axis=1)
    basis = harmonic_basis(torch.as_tensor(directions), (degree + 1) ** 2)[:, degree**2 :]
    return directions, np.linalg.pinv(basis.numpy())
