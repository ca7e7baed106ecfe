"""Real spherical harmonics up to degree 3, in the order and with the signs of 3D Gaussian splatting (Kerbl et al. 2023)."""

from functools import lru_cache

import numpy as np
import torch

_C0 = 0.28209479177387814
_C1 = 0.4886025119029199
_C2 = (1.0925484305920792, 0.31539156525252005, 0.5462742152960396)
_C3 = (0.5900435899266435, 2.890611442640554, 0.4570457994644658, 0.3731763325901154, 1.445305721320277)


def harmonic_basis(directions: torch.Tensor, degree: int) -> torch.Tensor:
    """Values of the basis.

    Args:
        directions: unit vectors, shape [..., 3].
        degree: 0 to 3.

    Returns:
        Shape [..., (degree + 1)^2].
    """
    x, y, z = directions.unbind(-1)
    rows = [torch.full_like(x, _C0)]
    if degree > 0:
        rows += [-_C1 * y, _C1 * z, -_C1 * x]
    if degree > 1:
        a, b, c = _C2
        rows += [a * x * y, -a * y * z, b * (2 * z * z - x * x - y * y), -a * x * z, c * (x * x - y * y)]
    if degree > 2:
        a, b, c, d, e = _C3
        across, along = x * x + y * y, z * z
        rows += [-a * y * (3 * x * x - y * y), b * x * y * z, -c * y * (4 * along - across), d * z * (2 * along - 3 * across)]
        rows += [-c * x * (4 * along - across), e * z * (x * x - y * y), -a * x * (x * x - 3 * y * y)]
    return torch.stack(rows, dim=-1)


def constant_harmonics(colours: torch.Tensor) -> torch.Tensor:
    """Coefficients of degree 0, shape [n, 1, 3], of colours that are the same from everywhere, shape [n, 3]."""
    return ((colours - 0.5) / _C0)[:, None]


@lru_cache
def _fit(degree: int) -> tuple[np.ndarray, np.ndarray]:
    """Fixed directions [k, 3], spread by the golden angle, and what gives each degree's coefficients from values there."""
    k = np.arange(32)
    z = 1.0 - (2 * k + 1) / 32
    angle = k * np.pi * (3.0 - 5.0**0.5)
    r = np.sqrt(1.0 - z * z)
    directions = np.stack([r * np.cos(angle), r * np.sin(angle), z], axis=1)
    return directions, np.linalg.pinv(harmonic_basis(torch.as_tensor(directions), degree)[:, degree**2 :].numpy())


def turned_harmonics(harmonics: torch.Tensor, rotation: torch.Tensor) -> torch.Tensor:
    """Coefficients of the same colours on turned things: seen along R d, the colour is what it was along d.

    Each degree is closed under rotation, so that values at a few directions give it exactly.

    Args:
        harmonics: shape [n, 1, 4, 9 or 16, 3].
        rotation: R, shape [3, 3] or one a splat, [n, 3, 3].

    Returns:
        The same shape.
    """
    degree = round(harmonics.shape[1] ** 0.5) - 1
    parts = [harmonics[:, :1]]
    for l in range(1, degree + 1):  # noqa: E741
        directions, inverse = (torch.as_tensor(a, dtype=harmonics.dtype, device=harmonics.device) for a in _fit(l))
        basis = harmonic_basis(directions @ rotation, l)[..., l * l :]  # rows R^T d
        parts.append(inverse @ (basis @ harmonics[:, l * l : (l + 1) ** 2]))
    return torch.cat(parts, dim=1)
