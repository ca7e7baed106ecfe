"""Splats to ellipses of the image, with gradients."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
import warp as wp
from torch.autograd.function import once_differentiable

from physsim.appearance import distortion as lens_model
from physsim.appearance.camera import Camera
from physsim.appearance.launch import launch, warp_array
from physsim.kernels.render.projection import Coefficients, project

WIDE = 1.3  # times the view: beyond, the projection's Jacobian is that of the edge, as 3DGS has it
UNBOUNDED = 1e30


@dataclass(frozen=True)
class View:
    """What the kernels are told of a camera.

    Args:
        width, height: [pixel].
        near: least depth [m].
        focal, centre: [pixel].
        low, high: of x / z and y / z, within which the projection's Jacobian is taken.
        fold: squared x / z, y / z beyond which the lens model turns back.
        lens: k1, k2, p1, p2, k3, k4, k5, k6.
        antialias: whether opacities make up for the blur of the image.
    """

    width: int
    height: int
    near: float
    focal: tuple[float, float]
    centre: tuple[float, float]
    low: tuple[float, float]
    high: tuple[float, float]
    fold: float
    lens: tuple[float, ...]
    antialias: bool

    def arguments(self):
        """The first arguments of `kernels.render.projection.project`."""
        pairs = [wp.vec2(*pair) for pair in (self.focal, self.centre, self.low, self.high)]
        return [int(self.antialias), self.near, *pairs, self.fold, Coefficients(*self.lens)]


@lru_cache(maxsize=64)
def _lens(width, height, focal, centre, distortion):
    camera = Camera(width, height, focal, centre, distortion=distortion)
    edge = [(u * width - 0.5, v * height - 0.5) for u in (0.0, 0.5, 1.0) for v in (0.0, 0.5, 1.0) if (u, v) != (0.5, 0.5)]
    seen, flat = camera.undistort(np.array(edge)), Camera(width, height, focal, centre).undistort(np.array(edge))
    seen = np.where(np.isnan(seen), flat, seen)  # where the lens images nothing
    low, high = seen.min(axis=0), seen.max(axis=0)
    middle, half = (low + high) / 2, WIDE * (high - low) / 2
    return tuple((middle - half).tolist()), tuple((middle + half).tolist()), min(camera.limit**2, UNBOUNDED)


def view(camera, antialias):
    """What the kernels are told of a camera."""
    low, high, fold = _lens(camera.width, camera.height, camera.focal, camera.centre, camera.distortion)
    coefficients = tuple(lens_model.coefficients(camera.distortion).tolist())
    return View(camera.width, camera.height, camera.near, camera.focal, camera.centre, low, high, fold, coefficients, antialias)


class Project(torch.autograd.Function):
    """(means, factors, opacities, rotation, translation, view) to what `kernels.render.projection.project` puts out."""

    @staticmethod
    def forward(ctx, means, factors, opacities, rotation, translation, view):
        """Project every splat; what cannot be seen has alpha 0."""
        n = len(means)
        outputs = [means.new_zeros(n, 2), means.new_zeros(n, 3), means.new_zeros(n), means.new_zeros(n)]
        ctx.view = view
        ctx.save_for_backward(means, factors, opacities, rotation, translation, *outputs)
        inputs = [*view.arguments(), *_poses(rotation, translation), *splat_arrays(means, factors, opacities)]
        launch(project, n, [*inputs, *ellipse_arrays(*outputs)], means.device)
        return tuple(outputs)

    @staticmethod
    @once_differentiable
    def backward(ctx, *gradients):
        """By Warp's reverse mode of the same kernel; that of the pose follows from those of means and factors."""
        means, factors, opacities, rotation, translation, *outputs = ctx.saved_tensors
        found = [torch.zeros_like(means), torch.zeros_like(factors), torch.zeros_like(opacities)]
        given = [g.clone(memory_format=torch.contiguous_format) for g in gradients]
        arguments = ctx.view.arguments()
        launch(
            project,
            len(means),
            [*arguments, *_poses(rotation, translation), *splat_arrays(means, factors, opacities)],
            means.device,
            outputs=ellipse_arrays(*outputs),
            adj_inputs=[None] * (len(arguments) + 2) + splat_arrays(*found),
            adj_outputs=ellipse_arrays(*given),
            adjoint=True,
        )
        turned = moved = None
        if ctx.needs_input_grad[3] or ctx.needs_input_grad[4]:
            # X = R m + t and A = R M: the gradient at m is R^T that at X, so dL/dt = R^-T sum g_m, dL/dR = R^-T (sum g_m m^T + g_M M^T)
            by_mean, by_factor = found[0].double(), found[1].double()
            back = torch.linalg.inv(rotation.double()).T
            moved = (back @ by_mean.sum(0)).to(translation.dtype)
            turned = by_mean.T @ means.double() + torch.einsum("nij,nkj->ik", by_factor, factors.double())
            turned = (back @ turned).to(rotation.dtype)
        return *found, turned, moved, None


def _poses(rotation, translation):
    return [warp_array(rotation.reshape(1, 3, 3), wp.mat33), warp_array(translation.reshape(1, 3), wp.vec3)]


def splat_arrays(means, factors, opacities):
    """As the kernels take them."""
    return [warp_array(means, wp.vec3), warp_array(factors, wp.mat33), warp_array(opacities)]


def ellipse_arrays(screen, shape, depth, alpha):
    """As the kernels take them."""
    return [warp_array(screen, wp.vec2), warp_array(shape, wp.vec3), warp_array(depth), warp_array(alpha)]
