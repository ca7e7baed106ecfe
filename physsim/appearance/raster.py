"""Splats to an image, with gradients: `rasterize`."""

import warnings
from dataclasses import dataclass

import numpy as np
import torch

from physsim.appearance.bins import count_pairs, make_bins
from physsim.appearance.blending import Blend, draws_by_tiles, tile_slices
from physsim.appearance.camera import Camera
from physsim.appearance.harmonics import spherical_harmonics
from physsim.appearance.launch import torch_device
from physsim.appearance.memory import check_memory
from physsim.appearance.projection import Project, view
from physsim.errors import InputError
from physsim.physics import validation

__all__ = ["Raster", "rasterize", "spherical_harmonics"]

BACKENDS = ("auto", "warp", "gsplat")
FEW_LABELS = 32  # are counted for each pixel as they are; greater ones are numbered first


@dataclass(frozen=True, eq=False)
class Raster:
    """What a camera sees of splats.

    Args:
        features: the splats' features and the background, each by how much of the pixel it covers, shape [H, W, C].
        alpha: how much of the pixel splats cover, in [0, 1], shape [H, W].
        depth: mean z in the camera's frame of what covers the pixel [m], weighted by how much it does; 0 where nothing does, shape [H, W].
        labels: label that covers most of the pixel, -1 where nothing does, int32, without gradient, shape [H, W].
        radii: half the larger extent of each splat in the image [pixel], 0 where it is not seen, without gradient, shape [n].
        screen: centres in the image [pixel], shape [n, 2]; after `backward` its `grad` says where the image wants them, where splats have
            gradients.
    """

    features: torch.Tensor
    alpha: torch.Tensor
    depth: torch.Tensor
    labels: torch.Tensor
    radii: torch.Tensor
    screen: torch.Tensor

    @property
    def visible(self) -> torch.Tensor:
        """Which splats reach the image, shape [n]."""
        return self.radii > 0


def rasterize(
    means: torch.Tensor,
    factors: torch.Tensor,
    opacities: torch.Tensor,
    features: torch.Tensor,
    camera: Camera,
    *,
    pose: tuple[torch.Tensor, torch.Tensor] | None = None,
    background: torch.Tensor | None = None,
    labels: torch.Tensor | None = None,
    depth_limit: torch.Tensor | None = None,
    antialias: bool = True,
    backend: str = "auto",
    threads: int | None = None,
) -> Raster:
    """Draw splats as a camera sees them; every output but `labels` and `radii` has gradients with respect to every tensor but these.

    Opacities count as 3DGS has them, but that a splat's contribution goes to zero between 2/255 and 1/255 instead of ending at 1/255.

    Args:
        means: centres [m], shape [n, 3].
        factors: M of the covariance M M^T [m], shape [n, 3, 3].
        opacities: in [0, 1], shape [n].
        features: colours or anything else that is to be drawn, shape [n, C], C >= 1.
        camera: the camera. What its lens model folds back into the image is left out.
        pose: (R, t), shapes [3, 3] and [3], instead of the camera's own; may have gradients.
        background: features of what is behind, shape [C] or [H, W, C]; None: 0.
        labels: whole numbers from 0, shape [n]; None: all 0.
        depth_limit: z in the camera's frame [m], shape [H, W]: splats with centres beyond it do not count at that pixel. No gradient.
        antialias: opacities are lowered by what the image's blur widens a splat (Mip-Splatting); False: plain 3DGS.
        backend: "warp"; "gsplat" (CUDA, where it is installed); "auto": "warp".
        threads: on the CPU, that share the tiles; None: as many as pay. The result is the same.

    Returns:
        The image. Where no splat is seen it is the background, and a warning says so.

    Raises:
        InputError: shapes or devices that do not fit, NaN (the first splat is named), opacities out of range, more memory than there is,
            an unknown backend, or one that cannot draw this here.
    """
    if backend not in BACKENDS:
        raise InputError(f"backend = {backend!r}: choose one of {', '.join(BACKENDS)}")
    if backend == "gsplat":
        from physsim.appearance.gsplat_backend import rasterize_gsplat as draw
    else:
        draw = _rasterize_warp
    validation.instance("camera", camera, Camera)
    splats = _check_splats(means, factors, opacities, features, camera)
    n, channels = splats[3].shape
    device = splats[0].device
    pose = _pose(camera, pose, device)
    behind = _background(background, camera, channels, device)
    limit = _depth_limit(depth_limit, camera, device)
    _check_labels(labels, n)
    _check_threads(threads)
    return Raster(*draw(splats, camera, pose, behind, None if labels is None else labels.to(device), limit, bool(antialias), threads))


def _rasterize_warp(splats, camera, pose, background, labels, limit, antialias, threads):
    """`rasterize` of what has been checked, by our own kernels."""
    size, device, features = (camera.width, camera.height), background.device, splats[3]
    ellipses = Project.apply(*splats[:3], *pose, view(camera, antialias))
    screen = ellipses[0]
    if screen.requires_grad:
        screen.retain_grad()
    fixed = [ellipse.detach() for ellipse in ellipses]
    checks = {
        "background: NaN or infinite was given; finite numbers are needed": ~torch.isfinite(background).all(),
        "pose: NaN or infinite was given; finite numbers are needed": ~(torch.isfinite(pose[0]).all() & torch.isfinite(pose[1]).all()),
        "depth_limit: NaN was given; use infinity where there is no limit": torch.isnan(limit).any(),
    }
    counts, radii, total, greatest = count_pairs(*(s.detach() for s in splats), fixed, size, checks, labels)
    names, codes = _codes(labels, greatest, len(features), device)
    by_tiles, label_count = draws_by_tiles(device), 0 if names is None else len(names)
    check_memory(device, len(features), total, *size, features.shape[1], 0 if by_tiles else label_count)
    bins = make_bins(counts, total, fixed, features.detach(), codes, size, by_tiles)
    if total == 0:
        warnings.warn(
            f"rasterize: none of {len(features)} splats is seen, the image is the background; check the camera's pose", stacklevel=3
        )
    slices = tile_slices(bins, threads) if by_tiles else None
    image, cover, depth, found = Blend.apply(*ellipses, features, background, bins, size, limit, label_count, slices)
    if names is None:
        found = torch.where(cover.detach() > 0, 0, -1)
    else:
        found = names[found.clamp(min=0).long()].where(found >= 0, -1)
    return image, cover, depth, found.to(torch.int32), radii, screen


def _check_splats(means, factors, opacities, features, camera):
    """The four tensors as contiguous float32, if there is room for them and the image."""
    given = {"means": means, "factors": factors, "opacities": opacities, "features": features}
    for name, value in given.items():
        validation.instance(name, value, torch.Tensor, "torch.as_tensor makes one")
        if not value.is_floating_point():
            raise InputError(f"{name}: {value.dtype} was given; floating-point numbers are needed, such as .float()")
    n = len(means) if means.ndim else 0
    shapes = {"means": (n, 3), "factors": (n, 3, 3), "opacities": (n,), "features": (n, features.shape[1] if features.ndim == 2 else "C")}
    for name, shape in shapes.items():
        if tuple(given[name].shape) != shape:
            raise InputError(f"{name}: shape {list(given[name].shape)} was given; [{', '.join(map(str, shape))}] is needed")
        if given[name].device != means.device:
            raise InputError(f"{name}: on {given[name].device}, but means are on {means.device}; move them together with .to(...)")
    if features.shape[1] < 1:
        raise InputError("features: no channel was given; at least one is needed")
    # before anything is copied: a view that repeats one splat takes no room as yet
    check_memory(torch_device(means.device), n, 0, camera.width, camera.height, features.shape[1])
    return [value.float().contiguous() for value in given.values()]


def _fit(name, value, shapes, device):
    """A tensor of one of some shapes as contiguous float32 on a device, gradients kept."""
    if not isinstance(value, torch.Tensor):
        value = torch.as_tensor(validation.given_array(name, value))
    if tuple(value.shape) not in shapes:
        wanted = " or ".join(str(list(shape)) for shape in shapes)
        raise InputError(f"{name}: shape {list(value.shape)} was given; {wanted} is needed")
    return value.to(device=device, dtype=torch.float32).contiguous()


def _pose(camera, pose, device):
    if pose is None:
        return [torch.as_tensor(np.asarray(m), dtype=torch.float32, device=device) for m in (camera.rotation, camera.translation)]
    if not isinstance(pose, tuple | list) or len(pose) != 2:
        raise InputError("pose: (R, t), from world to camera, of shapes [3, 3] and [3], is needed")
    return [_fit("pose: R", pose[0], [(3, 3)], device), _fit("pose: t", pose[1], [(3,)], device)]


def _background(background, camera, channels, device):
    if background is None:
        return torch.zeros(1, channels, device=device)
    return _fit("background", background, [(channels,), (camera.height, camera.width, channels)], device).reshape(-1, channels)


def _depth_limit(limit, camera, device):
    if limit is None:
        return torch.empty(0, 0, device=device)
    return _fit("depth_limit", limit, [(camera.height, camera.width)], device).detach()


def _check_labels(labels, n):
    if labels is None:
        return
    if not isinstance(labels, torch.Tensor) or tuple(labels.shape) != (n,) or labels.is_floating_point() or labels.is_complex():
        raise InputError(f"labels: a tensor of {n} whole numbers is needed, one for each splat")


def _codes(labels, greatest, n, device):
    """(labels that a code stands for, each splat's code); None for the labels where all splats have the same."""
    if labels is None:
        return None, torch.zeros(n, dtype=torch.int32, device=device)
    if greatest < FEW_LABELS:
        return torch.arange(greatest + 1, device=device), labels.to(torch.int32).contiguous()
    names, codes = torch.unique(labels, return_inverse=True)
    return names, codes.to(torch.int32)


def _check_threads(threads):
    if threads is not None and (not isinstance(threads, int) or threads < 1):
        raise InputError(f"threads = {threads!r}: a whole number of at least 1 is needed, or None")
