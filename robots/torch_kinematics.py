"""Forward kinematics for PyTorch: poses out, gradients of joints back through the kernels' own reverse mode."""

import numpy as np
import torch

from physsim.errors import InputError


class _Forward(torch.autograd.Function):
    @staticmethod
    def forward(ctx, kinematics, q):
        ctx.kinematics, ctx.q = kinematics, q.detach().cpu().double().numpy()
        return tuple(torch.as_tensor(value, dtype=q.dtype, device=q.device) for value in kinematics.poses(ctx.q))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, position_gradients, quaternion_gradients):
        given = position_gradients.dtype, position_gradients.device
        gradients = [g.detach().cpu().double().numpy() for g in (position_gradients, quaternion_gradients)]
        found = ctx.kinematics.pullback(ctx.q, *gradients)
        return None, torch.as_tensor(found, dtype=given[0], device=given[1])


def torch_forward(kinematics, q):
    """Poses of all links.

    Args:
        kinematics: Kinematics.
        q: tensor of joint positions [rad or m], shape [..., joints].

    Returns:
        (positions [m], shape [..., links, 3]; quaternions (w, x, y, z), shape [..., links, 4]), with gradients to q.

    Raises:
        InputError: not a tensor of floating point numbers, another number of joints, NaN.
    """
    if not torch.is_tensor(q) or not q.is_floating_point():
        raise InputError(f"q: a torch tensor of floating point numbers is needed, {type(q).__name__} was given")
    kinematics.checked(q)
    positions, quaternions = _Forward.apply(kinematics, q.reshape(int(np.prod(q.shape[:-1])), kinematics.dof))
    return positions.reshape(*q.shape[:-1], -1, 3), quaternions.reshape(*q.shape[:-1], -1, 4)
