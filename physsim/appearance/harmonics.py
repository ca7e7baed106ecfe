"""Colours that depend on the direction of view, by real spherical harmonics as 3D Gaussian Splatting orders them."""

import torch
import warp as wp
from torch.autograd.function import once_differentiable

from physsim.appearance.launch import launch, warp_array
from physsim.errors import InputError
from physsim.kernels.render.harmonics import C0, C1, C20, C21, C22, C30, C31, C32, C33, C34, colours


def harmonic_basis(directions, count):
    """The first `count` (1, 4, 9 or 16) harmonics of unit vectors [n, 3], shape [n, count], signed and ordered as 3DGS has them:

    1; y, z, x; xy, yz, 2zz - xx - yy, xz, xx - yy; and degree 3 in the same manner.
    """
    columns = [torch.full_like(directions[:, 0], C0)]
    if count > 1:
        x, y, z = directions.unbind(1)
        columns += [-C1 * y, C1 * z, -C1 * x]
    if count > 4:
        xx, yy, zz = x * x, y * y, z * z
        columns += [C20 * x * y, -C20 * y * z, C21 * (2 * zz - xx - yy), -C20 * x * z, C22 * (xx - yy)]
    if count > 9:
        columns += [
            -C30 * y * (3 * xx - yy),
            C31 * x * y * z,
            -C32 * y * (4 * zz - xx - yy),
            C33 * z * (2 * zz - 3 * xx - 3 * yy),
            -C32 * x * (4 * zz - xx - yy),
            C34 * z * (xx - yy),
            -C30 * x * (xx - 3 * yy),
        ]
    return torch.stack(columns, 1)


def spherical_harmonics(harmonics, directions=None):
    """Colours of splats seen along unit directions.

    Args:
        harmonics: coefficients, shape [n, 1, 4, 9 or 16, 3].
        directions: from the eye to each splat, of unit length, in the frame of the harmonics, shape [n, 3]; those of degree 0 need none.

    Returns:
        1/2 + the sum over the harmonics, at least 0, shape [n, 3].

    Raises:
        InputError: another number of coefficients, another number of directions, or none where colours depend on them.
    """
    count = harmonics.shape[1] if harmonics.ndim == 3 else 0
    if count not in (1, 4, 9, 16) or harmonics.shape[2] != 3:
        raise InputError(f"harmonics: shape {list(harmonics.shape)} was given; [n, 1, 4, 9 or 16, 3] is needed")
    if directions is None and count > 1:
        raise InputError(f"directions: none were given, and harmonics of {count} coefficients depend on them; give one for each splat")
    if directions is not None and tuple(directions.shape) != (len(harmonics), 3):
        raise InputError(f"directions: shape {list(directions.shape)} was given; [{len(harmonics)}, 3] is needed, one for each splat")
    if count == 1:
        return torch.relu(torch.add(0.5, harmonics[:, 0], alpha=C0))
    if harmonics.dtype == directions.dtype == torch.float32 and harmonics.device == directions.device:
        return _Colours.apply(harmonics.contiguous(), directions.contiguous())
    basis = harmonic_basis(directions, count)
    return torch.relu(0.5 + torch.einsum("nk,nkc->nc", basis, harmonics))


class _Colours(torch.autograd.Function):
    """By a kernel: a third of the time that tensors of the basis take."""

    @staticmethod
    def forward(ctx, harmonics, directions):
        seen = torch.empty_like(directions)
        ctx.save_for_backward(harmonics, directions, seen)
        launch(colours, len(seen), [*_arrays(harmonics, directions), warp_array(seen, wp.vec3)], seen.device)
        return seen

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        harmonics, directions, seen = ctx.saved_tensors
        found = torch.zeros_like(harmonics), torch.zeros_like(directions)
        given = gradient.clone(memory_format=torch.contiguous_format)
        launch(
            colours,
            len(seen),
            _arrays(harmonics, directions),
            seen.device,
            outputs=[warp_array(seen, wp.vec3)],
            adj_inputs=[None, *_arrays(*found)[1:]],
            adj_outputs=[warp_array(given, wp.vec3)],
            adjoint=True,
        )
        return found


def _arrays(harmonics, directions):
    return [harmonics.shape[1], warp_array(harmonics, wp.vec3), warp_array(directions, wp.vec3)]
