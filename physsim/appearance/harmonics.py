"""Colours that depend on the direction of view, by real spherical harmonics as 3D Gaussian Splatting orders them."""

import torch
import warp as wp
from torch.autograd.function import once_differentiable

from physsim.appearance.launch import launch, warp_array
from physsim.errors import InputError
from physsim.kernels.render.harmonics import colours

# Signs and order as in 3DGS and its PLY files: 1; y, z, x; xy, yz, 2zz - xx - yy, xz, xx - yy; and degree 3 in the same manner.
C0 = 0.28209479177387814
C1 = 0.4886025119029199
C2 = (1.0925484305920792, -1.0925484305920792, 0.31539156525252005, -1.0925484305920792, 0.5462742152960396)
C3 = (
    -0.5900435899266435,
    2.890611442640554,
    -0.4570457994644658,
    0.3731763325901154,
    -0.4570457994644658,
    1.445305721320277,
    -0.5900435899266435,
)


def harmonic_basis(directions, count):
    """The first `count` (1, 4, 9 or 16) harmonics of unit vectors [n, 3], shape [n, count]."""
    columns = [torch.full_like(directions[:, 0], C0)]
    if count > 1:
        x, y, z = directions.unbind(1)
        columns += [-C1 * y, C1 * z, -C1 * x]
    if count > 4:
        xx, yy, zz = x * x, y * y, z * z
        columns += [C2[0] * x * y, C2[1] * y * z, C2[2] * (2 * zz - xx - yy), C2[3] * x * z, C2[4] * (xx - yy)]
    if count > 9:
        columns += [
            C3[0] * y * (3 * xx - yy),
            C3[1] * x * y * z,
            C3[2] * y * (4 * zz - xx - yy),
            C3[3] * z * (2 * zz - 3 * xx - 3 * yy),
            C3[4] * x * (4 * zz - xx - yy),
            C3[5] * z * (xx - yy),
            C3[6] * x * (xx - 3 * yy),
        ]
    return torch.stack(columns, 1)


def spherical_harmonics(harmonics, directions):
    """Colours of splats seen along unit directions.

    Args:
        harmonics: coefficients, shape [n, 1, 4, 9 or 16, 3].
        directions: from the eye to each splat, of unit length, in the frame of the harmonics, shape [n, 3].

    Returns:
        1/2 + the sum over the harmonics, at least 0, shape [n, 3].

    Raises:
        InputError: another number of coefficients, or of directions.
    """
    count = harmonics.shape[1] if harmonics.ndim == 3 else 0
    if count not in (1, 4, 9, 16) or harmonics.shape[2] != 3:
        raise InputError(f"harmonics: shape {list(harmonics.shape)} was given; [n, 1, 4, 9 or 16, 3] is needed")
    if tuple(directions.shape) != (len(harmonics), 3):
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
