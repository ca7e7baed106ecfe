"""The rasteriser's formulas in a few lines of PyTorch, every splat at every pixel, in float64: what the kernels are checked against."""

from typing import NamedTuple

import torch

BLUR, LEAST_RATIO, LEAST_ALPHA, ALPHA_MAX, LEAST_LIGHT = 0.3, 2.5e-5, 1 / 255, 0.999, 1e-5


class Image(NamedTuple):
    features: torch.Tensor
    alpha: torch.Tensor
    depth: torch.Tensor
    weights: torch.Tensor  # [H W, splats by depth]
    order: torch.Tensor
    screen: torch.Tensor  # of the splats by depth, with its gradient


def distort(k, x, y):
    r = x * x + y * y
    radial = (1 + k[0] * r + k[1] * r**2 + k[4] * r**3) / (1 + k[5] * r + k[6] * r**2 + k[7] * r**3)
    return torch.stack([x * radial + 2 * k[2] * x * y + k[3] * (r + 2 * x * x), y * radial + k[2] * (r + 2 * y * y) + 2 * k[3] * x * y], -1)


def distort_jacobian(k, points):
    """By autograd, [n, 2, 2]: no formula in common with the kernel."""
    rows = torch.func.vmap(torch.func.jacrev(lambda p: distort(k, p[0], p[1])))
    return rows(points)


def draw(means, factors, opacities, features, camera, bounds, pose=None, background=None, depth_limit=None, antialias=True):
    """Image of splats; `bounds` are (low, high) of x / z, y / z within which the Jacobian is taken. All tensors float64."""
    kind = {"dtype": torch.float64}
    rotation, translation = pose or (torch.as_tensor(camera.rotation, **kind), torch.as_tensor(camera.translation, **kind))
    k = torch.as_tensor(tuple(camera.distortion) + (0.0,) * (8 - len(camera.distortion)), **kind)
    focal, centre = torch.as_tensor(camera.focal, **kind), torch.as_tensor(camera.centre, **kind)
    seen = means @ rotation.T + translation
    kept = (seen[:, 2] > camera.near).nonzero()[:, 0]
    kept = kept[torch.argsort(seen[kept, 2].detach(), stable=True)]
    seen, factors, opacities, features = seen[kept], factors[kept], opacities[kept], features[kept]
    flat = seen[:, :2] / seen[:, 2:]
    held = flat.clamp(torch.as_tensor(bounds[0], **kind), torch.as_tensor(bounds[1], **kind))
    local = distort_jacobian(k, held)
    J = torch.cat([local, -(local @ held[:, :, None])], 2) / seen[:, 2, None, None] * focal[:, None]
    half = J @ rotation @ factors
    sharp = half @ half.transpose(1, 2)
    full = sharp + BLUR * torch.eye(2, **kind)
    if antialias:
        opacities = opacities * (torch.linalg.det(sharp) / torch.linalg.det(full)).clamp(min=LEAST_RATIO).sqrt()
    screen = distort(k, *flat.T) * focal + centre
    if screen.requires_grad:
        screen.retain_grad()
    v, u = torch.meshgrid(torch.arange(camera.height, **kind), torch.arange(camera.width, **kind), indexing="ij")
    d = torch.stack([u.reshape(-1), v.reshape(-1)], -1)[:, None] - screen
    a = opacities * torch.exp(-0.5 * torch.einsum("pni,nij,pnj->pn", d, torch.linalg.inv(full), d))
    u = a / LEAST_ALPHA - 1
    alpha = torch.where(u < 1, LEAST_ALPHA * u**2 * (5 - 3 * u) * (u > 0), a).clamp(max=ALPHA_MAX)
    if depth_limit is not None:
        alpha = alpha * (seen[:, 2].detach() <= depth_limit.reshape(-1, 1))
    light = torch.cumprod(1 - alpha, 1)
    before = torch.cat([torch.ones_like(light[:, :1]), light[:, :-1]], 1)
    weights = alpha * before * (before.detach() >= LEAST_LIGHT)
    rest = torch.where(before.detach() >= LEAST_LIGHT, light, torch.ones_like(light)).amin(1)
    behind = torch.zeros(1, features.shape[1], **kind) if background is None else background.reshape(-1, features.shape[1])
    cover = weights.sum(1)
    mean = torch.where(cover > 0, weights @ seen[:, 2] / torch.where(cover > 0, cover, 1.0), 0.0)
    size = (camera.height, camera.width)
    return Image(
        (weights @ features + rest[:, None] * behind).reshape(*size, -1), cover.reshape(size), mean.reshape(size), weights, kept, screen
    )
