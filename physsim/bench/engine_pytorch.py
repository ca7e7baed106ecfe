"""The rasteriser's formulas in PyTorch, vectorised over splats and pixels tile by tile, with autograd's backward pass.

The same image as `physsim.appearance.raster.rasterize(antialias=False)` with a pinhole camera; see `kernels.render` for the formulas.
"""

import torch

from physsim.appearance.camera import Camera
from physsim.appearance.projection import view
from physsim.bench.cases import Case
from physsim.bench.measure import Stopwatch
from physsim.bench.splat_scenes import splat_ball
from physsim.kernels.render.pixel_blending import ALPHA_MAX, LEAST_LIGHT
from physsim.kernels.render.projection import BLUR, LEAST_ALPHA

TILES = (16, 32)  # pixels along an edge: the faster one is kept; 64 is slower everywhere


def project(means: torch.Tensor, factors: torch.Tensor, camera: Camera) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(centres [n, 2], covariances (xx, xy, yy) [n, 3], depths [n]) in the image."""
    rotation, translation = (torch.as_tensor(m, dtype=means.dtype) for m in (camera.rotation, camera.translation))
    (fx, fy), (cx, cy), seen = camera.focal, camera.centre, view(camera, False)
    p = means @ rotation.T + translation
    inverse = 1 / p[:, 2].clamp_min(camera.near)
    tx = (p[:, 0] * inverse).clamp(seen.low[0], seen.high[0])
    ty = (p[:, 1] * inverse).clamp(seen.low[1], seen.high[1])
    half = rotation @ factors
    u = (fx * inverse)[:, None] * (half[:, 0] - tx[:, None] * half[:, 2])
    v = (fy * inverse)[:, None] * (half[:, 1] - ty[:, None] * half[:, 2])
    covariance = torch.stack([(u * u).sum(-1) + BLUR, (u * v).sum(-1), (v * v).sum(-1) + BLUR], -1)
    return torch.stack([fx * p[:, 0] * inverse + cx, fy * p[:, 1] * inverse + cy], -1), covariance, p[:, 2]


def rasterize(
    means: torch.Tensor, factors: torch.Tensor, opacities: torch.Tensor, colours: torch.Tensor, camera: Camera, tile: int = 16
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Colour [H, W, 3], alpha [H, W] and depth [H, W], drawn in squares of `tile` pixels."""
    screen, covariance, depth = project(means, factors, camera)
    xx, xy, yy = covariance.unbind(-1)
    determinant = xx * yy - xy * xy
    conic = torch.stack([yy / determinant, -xy / determinant, xx / determinant], -1)
    with torch.no_grad():
        reach = (2 * torch.log((opacities / LEAST_ALPHA).clamp_min(1)))[:, None].mul(covariance[:, ::2]).sqrt()
        order = torch.argsort(depth)
        order = order[(depth[order] > camera.near) & (opacities[order] > LEAST_ALPHA)]
        low, high = (screen - reach)[order], (screen + reach)[order]
    rows = []
    for top in range(0, camera.height, tile):
        bottom = min(top + tile, camera.height)
        among = (high[:, 1] >= top) & (low[:, 1] <= bottom - 1)
        row = []
        for left in range(0, camera.width, tile):
            right = min(left + tile, camera.width)
            chosen = order[among & (high[:, 0] >= left) & (low[:, 0] <= right - 1)]
            y, x = torch.meshgrid(torch.arange(top, bottom), torch.arange(left, right), indexing="ij")
            pixels = torch.stack([x.reshape(-1), y.reshape(-1)], -1).to(means.dtype)
            values = torch.cat([colours[chosen], torch.ones_like(depth[chosen, None]), depth[chosen, None]], 1)
            row.append(_blend(pixels, screen[chosen], conic[chosen], opacities[chosen], values).reshape(*x.shape, -1))
        rows.append(torch.cat(row, 1))
    image = torch.cat(rows, 0)
    colour, alpha, distance = image.split((colours.shape[1], 1, 1), -1)
    mean = torch.where(alpha > 0, distance / torch.where(alpha > 0, alpha, 1), 0)
    return colour, alpha[..., 0], mean[..., 0]


def _blend(pixels, screen, conic, opacities, values):
    """Sum of values over splats by weight, for each pixel."""
    dx, dy = pixels[:, :1] - screen[:, 0], pixels[:, 1:] - screen[:, 1]
    a = opacities * torch.exp(-(0.5 * (conic[:, 0] * dx * dx + conic[:, 2] * dy * dy) + conic[:, 1] * dx * dy))
    u = (a / LEAST_ALPHA - 1).clamp(0, 1)
    alpha = (LEAST_ALPHA * u * u * (5 - 3 * u) + (a - 2 * LEAST_ALPHA).clamp_min(0)).clamp_max(ALPHA_MAX)
    light = torch.cumprod(1 - alpha, 1)
    before = torch.cat([torch.ones_like(light[:, :1]), light[:, :-1]], 1)
    return torch.where(before >= LEAST_LIGHT, alpha * before, 0) @ values


class SplatDrawing:
    """One image and its gradient; see `engines.Drawing`."""

    def __init__(self, case: Case, substeps: int, options: dict):
        self.scene = splat_ball(case.size, case.pixels)
        self.tile = TILES[0]
        self.parameters = [value.requires_grad_() for value in self.scene[:4]]

    def warm_up(self) -> None:
        """Choose the faster size of tiles."""
        seconds = {}
        for self.tile in TILES:
            self.forward()
            self.backward()
            with Stopwatch() as timing:
                self.forward()
                self.backward()
            seconds[self.tile] = timing.cpu_s
            if timing.cpu_s > 3.0:  # with many splats larger tiles are slower, and take several gigabytes
                break
        self.tile = min(seconds, key=seconds.get)

    def forward(self) -> None:
        """Draw colour, alpha and depth."""
        for parameter in self.parameters:
            parameter.grad = None
        self.image = rasterize(*self.parameters, self.scene.camera, self.tile)

    def backward(self) -> None:
        """The gradient of a weighing of all three."""
        self.scene.loss(*self.image).backward()

    def facts(self) -> dict:
        """Version, threads and size of tiles."""
        return {"tile": self.tile, "version": torch.__version__, "threads": torch.get_num_threads(), "dtype": "float32"}
