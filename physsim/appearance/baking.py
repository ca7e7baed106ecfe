"""A deformed frame as plain splats, which any viewer shows."""

import torch

from physsim.appearance.binding import Posed
from physsim.appearance.quaternions import rotation_quaternions
from physsim.appearance.splats import Splats
from physsim.appearance.turned_harmonics import constant_harmonics, turned_harmonics
from physsim.errors import InputError


def bake(splats: Splats, posed: Posed, colours: torch.Tensor | None = None) -> Splats:
    """Plain splats of a pose, without gradients.

    Scales and rotations come from M = F R S by its singular values; spherical harmonics are turned by the rotation in F (exact for rigid
    motion; under strain the colour seen from aside differs a little from that along the material's own directions).

    Args:
        splats: that were bound.
        posed: where they are.
        colours: of this frame in place of the splats' own, as a colour network gives them, shape [n, 3].

    Raises:
        InputError: colours of another shape, or as many splats as are not posed.
    """
    if len(splats) != len(posed.means):
        raise InputError(f"bake: {len(splats)} splats and {len(posed.means)} posed ones were given; bake those that were posed")
    with torch.no_grad():
        u, scales, _ = torch.linalg.svd(posed.factors.double())
        if colours is None:
            left, _, right = torch.linalg.svd(posed.deformations.double())
            turn = _rotations(left @ right)
            harmonics = turned_harmonics(splats.harmonics, turn.to(splats.harmonics.dtype)) if splats.degree else splats.harmonics
        elif tuple(colours.shape) != (len(splats), 3):
            raise InputError(f"bake: colours of shape {list(colours.shape)} were given; [{len(splats)}, 3] is needed")
        else:
            harmonics = constant_harmonics(colours)
        kind = splats.means.dtype
        return Splats(
            posed.means.detach().clone(),
            scales.clamp_min(torch.finfo(kind).tiny).to(kind),
            rotation_quaternions(_rotations(u)).to(kind),
            splats.opacities.detach().clone(),
            harmonics.detach().clone(),
            splats.latents.detach().clone(),
            splats.labels.clone(),
        )


def _rotations(orthogonal: torch.Tensor) -> torch.Tensor:
    """Orthogonal matrices [n, 3, 3], those that mirror mirrored back."""
    return orthogonal * torch.where(torch.linalg.det(orthogonal) < 0, -1.0, 1.0)[:, None, None]
