"""Colour that knows how the material is strained: spherical harmonics plus a small network's residual.

    colour = max(1/2 + sum_k harmonics_k Y_k(d) + N(latent, E, d), 0)

with d the direction of view in the material's frame, E = (F^T F - 1) / 2 the Green strain [-] in the rest shape's axes, and N a
perceptron of two hidden layers of tanh, whose output is exactly zero at the start, so that training begins at plain splats. Besides the
six numbers of E it is told its equivalent strain sqrt(3/2 e : e), e = E - tr(E) / 3, which no turn of the axes changes: what isotropic
materials do is then learned from fewer pictures. Its hidden units saturate, so that a strain never seen gives a bounded residual.
"""

import math
from itertools import pairwise

import numpy as np
import torch

from physsim.appearance.binding import Posed
from physsim.appearance.harmonics import C0, spherical_harmonics
from physsim.appearance.splats import Splats
from physsim.errors import InputError
from physsim.physics import validation

STRAINS = 6  # xx, yy, zz, yz, xz, xy of the Green strain
STRAIN_SCALE = 0.1  # what the network sees as 1: a stretch of 1.1
VIEW_SCALE = 0.25  # directions always differ by as much as they can; the harmonics are what they are mainly for
LEAST_STRAIN = 0.01  # the equivalent strain is rounded off below it, where it has a kink
INPUTS = STRAINS + 1 + 3  # besides the latents
MOST_LATENTS, MOST_WIDTH = 256, 1024
_ARRAYS = tuple(f"{kind}{layer}" for layer in range(3) for kind in ("weight", "bias"))


class ColorNetwork(torch.nn.Module):
    """Residual colour of splats from their latents, strain and direction of view; zero until it is trained.

    Args:
        latent_count: numbers that each splat has of its own.
        width: units in each of the two hidden layers.
        seed: of the first weights.

    Raises:
        InputError: sizes out of range.
    """

    def __init__(self, latent_count: int = 8, width: int = 32, seed: int = 0) -> None:
        super().__init__()
        self.latent_count = int(validation.array("latent_count", latent_count, (), kind="i", lower=0, upper=MOST_LATENTS))
        self.width = int(validation.array("width", width, (), kind="i", lower=1, upper=MOST_WIDTH))
        generator = torch.Generator().manual_seed(int(seed))
        sizes = (self.latent_count + INPUTS, self.width, self.width, 3)
        for layer, (inside, outside) in enumerate(pairwise(sizes)):
            bound = 0.0 if layer == 2 else 1.0 / math.sqrt(inside)
            weight = bound * (2.0 * torch.rand(outside, inside, generator=generator) - 1.0)
            self.register_parameter(f"weight{layer}", torch.nn.Parameter(weight))
            self.register_parameter(f"bias{layer}", torch.nn.Parameter(torch.zeros(outside)))

    def forward(self, latents: torch.Tensor, strains: torch.Tensor, directions: torch.Tensor) -> torch.Tensor:
        """Residual colours, shape [n, 3].

        Args:
            latents: shape [n, latent_count].
            strains: as `green_strain` gives them [-], shape [n, 6].
            directions: unit vectors from the eye to each splat in the material's frame, shape [n, 3].

        Raises:
            InputError: another number of latents a splat than the network was made for.
        """
        if latents.ndim != 2 or latents.shape[1] != self.latent_count:
            raise InputError(
                f"latents: shape {list(latents.shape)} was given; [n, {self.latent_count}] is needed, as the network was made for"
            )
        strains = torch.cat([strains, equivalent_strain(strains)[:, None]], dim=1)
        x = torch.cat([latents, strains / STRAIN_SCALE, directions * VIEW_SCALE], dim=1)
        x = torch.tanh(torch.addmm(self.bias0, x, self.weight0.T))
        x = torch.tanh(torch.addmm(self.bias1, x, self.weight1.T))
        return torch.addmm(self.bias2, x, self.weight2.T)

    def arrays(self) -> dict[str, np.ndarray]:
        """Weights and biases by name, as an Asset keeps them."""
        return {name: getattr(self, name).detach().cpu().numpy().copy() for name in _ARRAYS}

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray]) -> "ColorNetwork":
        """The network whose `arrays` were given.

        Raises:
            InputError: missing or unknown names, shapes that do not fit each other, NaN.
        """
        validation.instance("network", arrays, dict)
        unknown, missing = sorted(set(arrays) - set(_ARRAYS)), sorted(set(_ARRAYS) - set(arrays))
        if unknown or missing:
            raise InputError(f"network: unknown arrays {unknown}, missing arrays {missing}; ColorNetwork.arrays gives what is needed")
        first = validation.array("network: weight0", arrays["weight0"], (None, None))
        width, inputs = first.shape
        if not INPUTS <= inputs <= INPUTS + MOST_LATENTS or not 1 <= width <= MOST_WIDTH:
            raise InputError(
                f"network: weight0 has shape {list(first.shape)}; [1 to {MOST_WIDTH}, {INPUTS} to {INPUTS + MOST_LATENTS}] is allowed"
            )
        network = cls(inputs - INPUTS, width)
        with torch.no_grad():
            for name in _ARRAYS:
                parameter = getattr(network, name)
                parameter.copy_(torch.as_tensor(validation.array(f"network: {name}", arrays[name], tuple(parameter.shape))))
        return network


def green_strain(deformations: torch.Tensor) -> torch.Tensor:
    """Green strain E = (F^T F - 1) / 2 as xx, yy, zz, yz, xz, xy [-], shape [n, 6]; the same under every rotation after F.

    Args:
        deformations: F, shape [n, 3, 3].
    """
    a, b, c = deformations.unbind(dim=-1)
    doubled = [(a * a).sum(-1) - 1.0, (b * b).sum(-1) - 1.0, (c * c).sum(-1) - 1.0, (b * c).sum(-1), (a * c).sum(-1), (a * b).sum(-1)]
    return 0.5 * torch.stack(doubled, dim=-1)


def equivalent_strain(strains: torch.Tensor) -> torch.Tensor:
    """sqrt(3/2 e : e) of the deviator e [-], rounded off below 0.01 so that it has a slope at rest, shape [n].

    Args:
        strains: as `green_strain` gives them, shape [n, 6].
    """
    normal, shear = strains[:, :3], strains[:, 3:]
    deviator = normal - normal.mean(dim=1, keepdim=True)
    return torch.sqrt(1.5 * (deviator.square().sum(dim=1) + 2.0 * shear.square().sum(dim=1)) + LEAST_STRAIN**2)


def splat_colors(splats: Splats, posed: Posed, eye: torch.Tensor, network: ColorNetwork | None = None) -> torch.Tensor:
    """Colours of posed splats as an eye sees them, shape [n, 3].

    Args:
        splats: whose harmonics and latents count.
        posed: where they are now.
        eye: where the camera stands [m], shape [3].
        network: None: the harmonics alone.

    Raises:
        InputError: another number of posed splats, or of latents.
    """
    return colors_and_residual(splats, posed, eye, network)[0]


def colors_and_residual(splats, posed, eye, network):
    """What `splat_colors` gives, and the network's residual in it, shape [n, 3], or None without a network."""
    if len(posed.means) != len(splats):
        raise InputError(f"splat_colors: {len(posed.means)} posed splats for {len(splats)} splats; pose the same ones")
    if network is None:
        return spherical_harmonics(splats.harmonics, posed.directions(eye) if splats.degree else None), None
    directions = posed.directions(eye)
    residual = network(splats.latents, green_strain(posed.deformations), directions)
    first = splats.harmonics[:, :1] + residual[:, None] / C0  # under the same clamp at zero as the harmonics
    return spherical_harmonics(torch.cat([first, splats.harmonics[:, 1:]], dim=1), directions), residual
