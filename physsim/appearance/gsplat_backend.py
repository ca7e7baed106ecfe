"""The rasteriser of gsplat (Ye et al. 2024) behind the same call, where it and a CUDA device are at hand.

Written against the documentation of gsplat 1.5 (`gsplat.rasterization`); it has not been run by the authors of this module. What
differs: contributions end with a step at 1/255, a pixel ends at a transmittance of 1e-4, and opacities are compensated without a floor.
"""

import importlib.util
import warnings

import torch

from physsim.errors import InputError
from physsim.kernels.render.projection import BLUR

DEVICE = "cuda"  # the only one that gsplat draws on


def rasterize_gsplat(splats, camera, pose, background, labels, limit, antialias, threads):
    """`physsim.appearance.raster.rasterize` of what has been checked there.

    Returns:
        (features, alpha, depth, labels, radii, screen) as `Raster` has them.

    Raises:
        InputError: gsplat is not installed, the tensors are not on CUDA, NaN, a lens distortion or a depth limit.
    """
    means, factors, opacities, features = splats
    _check(splats, camera, background, limit)
    from gsplat import rasterization

    rows = torch.cat([torch.cat([pose[0], pose[1][:, None]], 1), means.new_tensor([[0.0, 0.0, 0.0, 1.0]])])
    (fx, fy), (cx, cy) = camera.focal, camera.centre
    inner = means.new_tensor([[fx, 0.0, cx + 0.5], [0.0, fy, cy + 0.5], [0.0, 0.0, 1.0]])  # the first pixel's corner is (0, 0) there
    options = {
        "quats": None,
        "scales": None,
        "opacities": opacities,
        "viewmats": rows[None],
        "Ks": inner[None],
        "width": camera.width,
        "height": camera.height,
        "near_plane": camera.near,
        "eps2d": float(BLUR),
        "packed": False,
        "rasterize_mode": "antialiased" if antialias else "classic",
    }
    covariances = factors @ factors.transpose(1, 2)
    drawn, cover, found = rasterization(means=means, covars=covariances, colors=features, render_mode="RGB+ED", **options)
    centres = found["means2d"]
    screen = centres.detach()[0].requires_grad_(centres.requires_grad)
    if centres.requires_grad:
        centres.register_hook(lambda gradient: setattr(screen, "grad", gradient[0]))  # of the batch of one camera
    alpha = cover[0, ..., 0]
    behind = background if len(background) == 1 else background.reshape(camera.height, camera.width, -1)
    image = drawn[0, ..., :-1] + (1.0 - alpha[..., None]) * behind
    radii = found["radii"][0].detach()
    radii = (radii.amax(-1) if radii.ndim == 2 else radii).to(means.dtype)  # releases differ: one radius, or one along each axis
    if not bool((radii > 0).any()):
        warnings.warn(f"rasterize: none of {len(means)} splats is seen, the image is the background; check the camera's pose", stacklevel=3)
    names = _labels(labels, alpha, lambda columns: _weights(rasterization, means, covariances, columns, options))
    return image, alpha, drawn[0, ..., -1], names, radii, screen


def _check(splats, camera, background, limit):
    if importlib.util.find_spec("gsplat") is None:
        raise InputError("backend = 'gsplat': gsplat is not installed; install it with its CUDA build, or choose backend='warp'")
    if splats[0].device.type != DEVICE:
        raise InputError(f"backend = 'gsplat': it draws on CUDA only, the splats are on {splats[0].device}; move them, or choose 'warp'")
    if camera.distortion:
        raise InputError("backend = 'gsplat': it is used without lens distortion; remove that from the camera, or choose backend='warp'")
    if limit.numel():
        raise InputError("backend = 'gsplat': it knows no depth_limit; leave it out, or choose backend='warp'")
    for name, value in zip(("means", "factors", "opacities", "features", "background"), (*splats, background), strict=True):
        bad = ~torch.isfinite(value).reshape(len(value), -1).all(1)
        if bool(bad.any()):
            raise InputError(f"{name}: NaN or infinite at {int(bad.nonzero()[0])}; remove or repair it")


@torch.no_grad()
def _labels(labels, alpha, weights):
    """The label with the greatest weight at each pixel; `weights` draws columns of features."""
    if labels is None:
        return torch.where(alpha > 0, 0, -1).to(torch.int32)
    names, codes = torch.unique(labels, return_inverse=True)
    best = weights(torch.nn.functional.one_hot(codes.long(), len(names)).to(alpha.dtype)).argmax(-1)
    return torch.where(alpha > 0, names[best], -1).to(torch.int32)


def _weights(rasterization, means, covariances, columns, options):
    return rasterization(means=means, covars=covariances, colors=columns, render_mode="RGB", **options)[0][0]
