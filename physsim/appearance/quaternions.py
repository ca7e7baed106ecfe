"""Quaternions (w, x, y, z) and rotation matrices, as tensors."""

import torch


def rotation_matrices(quaternions: torch.Tensor) -> torch.Tensor:
    """Rotation matrices [n, 3, 3] of quaternions of any length but 0, shape [n, 4]."""
    w, x, y, z = torch.nn.functional.normalize(quaternions, dim=-1, eps=1e-30).unbind(-1)
    rows = [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)]
    rows += [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)]
    rows += [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)]
    return torch.stack(rows, dim=-1).reshape(-1, 3, 3)


def rotation_quaternions(matrices: torch.Tensor) -> torch.Tensor:
    """Unit quaternions [n, 4] of rotation matrices [n, 3, 3], without gradients.

    Every product of two components is a sum of entries; the row of the largest component is divided by it (Shepperd 1978).
    """
    (a, b, c), (d, e, f), (g, h, i) = (row.unbind(-1) for row in matrices.detach().unbind(-2))
    products = [
        [1 + a + e + i, h - f, c - g, d - b],
        [h - f, 1 + a - e - i, b + d, c + g],
        [c - g, b + d, 1 - a + e - i, f + h],
        [d - b, c + g, f + h, 1 - a - e + i],
    ]
    table = torch.stack([torch.stack(row, dim=-1) for row in products], dim=-2)
    largest = table.diagonal(dim1=-2, dim2=-1).argmax(dim=-1)
    row = table.gather(-2, largest[:, None, None].expand(-1, 1, 4))[:, 0]
    return torch.nn.functional.normalize(row, dim=-1)


def quaternion_product(p: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    """p q, shapes [..., 4] that broadcast: first turn by q, then by p."""
    a, b, c, d = p.unbind(-1)
    w, x, y, z = q.unbind(-1)
    rows = [a * w - b * x - c * y - d * z, a * x + b * w + c * z - d * y, a * y - b * z + c * w + d * x, a * z + b * y - c * x + d * w]
    return torch.stack(rows, dim=-1)
