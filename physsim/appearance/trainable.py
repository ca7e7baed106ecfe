"""Splats as numbers that may take any value, with Adam's moments, and how their number grows and shrinks while they are fitted."""

import math
from dataclasses import dataclass

import numpy as np
import torch

from physsim.appearance.quaternions import rotation_matrices
from physsim.appearance.splats import HARMONICS, Splats

# Steps of Adam a group, those of 3D Gaussian Splatting (Kerbl et al. 2023) but for the last; lengths are shares of the body's extent.
RATES = {
    "means": 1.6e-4,
    "log_scales": 5e-3,
    "rotations": 1e-3,
    "logits": 5e-2,
    "constant": 2.5e-3,
    "harmonics": 2.5e-3 / 20,
    "latents": 2.5e-3,
}
_MOMENTS = ("exp_avg", "exp_avg_sq")
SPLIT_SHRINK = 1.6  # by how much the two that replace one are smaller: 3D Gaussian Splatting, section 5.2
MOST_OPAQUE = 1.0 - 1e-6  # beyond it a logit would be infinite


class Trainable:
    """Values of splats without bounds: logarithms of scales, logits of opacities.

    Args:
        splats: to begin with.
        degree: of the spherical harmonics.
        latent_count: numbers a splat for the colour network; new ones are zero.
        extent: length that the step of the means is a share of [m].
        rates: Adam's steps by name, as in `RATES`.

    Attributes:
        values: parameters by name.
        labels: of the splats, shape [n].
        optimiser: Adam over them.
    """

    def __init__(self, splats: Splats, degree: int, latent_count: int, extent: float, rates: dict[str, float]) -> None:
        count = HARMONICS[degree]
        harmonics = torch.nn.functional.pad(splats.harmonics, (0, 0, 0, max(0, count - splats.harmonics.shape[1])))[:, :count]
        latents = splats.latents if splats.latents.shape[1] == latent_count else splats.means.new_zeros(len(splats), latent_count)
        values = {
            "means": splats.means,
            "log_scales": splats.scales.log(),
            "rotations": splats.rotations,
            "logits": torch.logit(splats.opacities.clamp(1.0 - MOST_OPAQUE, MOST_OPAQUE)),
            "constant": harmonics[:, :1],
            "harmonics": harmonics[:, 1:],
            "latents": latents,
        }
        self.values = {name: torch.nn.Parameter(value.detach().clone().float().contiguous()) for name, value in values.items()}
        self.labels = splats.labels.detach().clone()
        steps = {name: rate * (extent if name == "means" else 1.0) for name, rate in rates.items()}
        groups = [{"params": [value], "lr": steps[name], "first": steps[name]} for name, value in self.values.items()]
        self.optimiser = torch.optim.Adam(groups, eps=1e-15)

    def __len__(self) -> int:
        return len(self.labels)

    def splats(self, degree: int | None = None) -> Splats:
        """The splats, with gradients to the values; harmonics up to a degree, or all."""
        v = self.values
        higher = v["harmonics"] if degree is None else v["harmonics"][:, : HARMONICS[degree] - 1]
        return Splats(
            v["means"],
            v["log_scales"].exp(),
            v["rotations"],
            torch.sigmoid(v["logits"]),
            torch.cat([v["constant"], higher], dim=1) if higher.shape[1] else v["constant"],
            v["latents"],
            self.labels,
        )

    def rebuild(self, source: torch.Tensor, fresh: torch.Tensor) -> None:
        """Take other splats: row i is a copy of what is now row `source[i]`, with moments of zero where `fresh`; shapes [m], [m]."""
        self.labels = self.labels[source]
        for group, (name, old) in zip(self.optimiser.param_groups, self.values.items()):
            value = torch.nn.Parameter(old.detach()[source].contiguous())
            state = self.optimiser.state.pop(old, {})
            for moment in _MOMENTS:
                if moment in state:
                    state[moment] = state[moment][source]
                    state[moment][fresh] = 0.0
            if state:
                self.optimiser.state[value] = state
            self.values[name], group["params"] = value, [value]

    def arrays(self) -> dict[str, np.ndarray]:
        """Values, moments and labels as arrays, from which `load` goes on as if nothing had happened."""
        out = {"labels": self.labels.cpu().numpy()}
        for name, value in self.values.items():
            out[f"values/{name}"] = value.detach().cpu().numpy()
        return out | optimiser_arrays(self.optimiser, list(self.values))

    def load(self, arrays: dict[str, np.ndarray]) -> None:
        """Take what `arrays` gave."""
        device = self.labels.device
        self.labels = torch.as_tensor(arrays["labels"], device=device)
        for group, name in zip(self.optimiser.param_groups, self.values):
            self.optimiser.state.pop(self.values[name], None)
            self.values[name] = torch.nn.Parameter(torch.as_tensor(arrays[f"values/{name}"], device=device))
            group["params"] = [self.values[name]]
        load_optimiser(self.optimiser, list(self.values), arrays)


def optimiser_arrays(optimiser: torch.optim.Adam, names: list[str]) -> dict[str, np.ndarray]:
    """Adam's moments and counts as arrays; `names` of its parameters in order."""
    out = {}
    for name, parameter in zip(names, _parameters(optimiser)):
        for key, value in optimiser.state.get(parameter, {}).items():
            out[f"moments/{name}/{key}"] = torch.as_tensor(value).cpu().numpy()
    return out


def load_optimiser(optimiser: torch.optim.Adam, names: list[str], arrays: dict[str, np.ndarray]) -> None:
    """Take the moments that `optimiser_arrays` gave."""
    for name, parameter in zip(names, _parameters(optimiser)):
        prefix = f"moments/{name}/"
        state = {key[len(prefix) :]: torch.tensor(value) for key, value in arrays.items() if key.startswith(prefix)}
        if state:
            optimiser.state[parameter] = {key: value if key == "step" else value.to(parameter.device) for key, value in state.items()}


def _parameters(optimiser):
    return [parameter for group in optimiser.param_groups for parameter in group["params"]]


@dataclass
class Pull:
    """How hard the pictures pull at splats' centres, gathered over iterations.

    Attributes:
        total: sum of |d loss / d centre| over the pictures that see a splat, in units of half the image's width, shape [n].
        count: of these pictures, shape [n].
    """

    total: torch.Tensor
    count: torch.Tensor

    @classmethod
    def zero(cls, trainable: Trainable) -> "Pull":
        """Nothing gathered yet."""
        return cls(*(torch.zeros(len(trainable), device=trainable.labels.device) for _ in range(2)))

    def add(self, raster, width: int) -> None:
        """Take a picture's gradients; after `backward`."""
        if raster.screen.grad is None:
            return
        seen = raster.visible
        self.total += torch.where(seen, 0.5 * width * raster.screen.grad.norm(dim=1), 0.0)
        self.count += seen

    @property
    def mean(self) -> torch.Tensor:
        """Mean over the pictures, 0 for splats that none saw, shape [n]."""
        return self.total / self.count.clamp(min=1)


def grow(trainable: Trainable, pull: Pull, least_pull: float, size: float, most: int, rng: np.random.Generator) -> int:
    """Clone small splats and split large ones that pictures pull at, the hardest pulled first.

    A clone stands where its original does and moves apart by the gradients that the original no longer shares; a split replaces one splat
    by two of 1 / 1.6 its size, drawn from it. Source: Kerbl et al., "3D Gaussian Splatting for real-time radiance field rendering", ACM
    Trans. Graphics 42 (2023), section 5.2.

    Args:
        trainable: changed in place.
        pull: gathered over it.
        least_pull: mean pull from which on a splat is too few.
        size: largest standard deviation of what is cloned, not split [m].
        most: splats afterwards.
        rng: draws where the split ones stand.

    Returns:
        How many splats there are more.
    """
    mean = pull.mean.cpu().numpy()
    wanted = np.flatnonzero(mean > least_pull)
    wanted = wanted[np.argsort(-mean[wanted], kind="stable")][: max(0, most - len(trainable))]
    if len(wanted) == 0:
        return 0
    device = trainable.labels.device
    chosen = torch.as_tensor(np.sort(wanted), device=device)
    old = trainable.splats()
    large = (old.scales.detach().amax(dim=1) > size)[chosen]
    split = chosen[large]
    kept = torch.ones(len(trainable), dtype=torch.bool, device=device)
    kept[split] = False
    source = torch.cat([kept.nonzero()[:, 0], chosen[~large], split, split])
    fresh = torch.ones(len(source), dtype=torch.bool, device=device)
    fresh[: int(kept.sum())] = False
    trainable.rebuild(source, fresh)
    if len(split):
        parts = slice(len(source) - 2 * len(split), None)
        draw = torch.as_tensor(rng.normal(size=(2 * len(split), 3)), dtype=torch.float32, device=device)
        turn = rotation_matrices(trainable.values["rotations"].detach()[parts])
        with torch.no_grad():
            scales = trainable.values["log_scales"][parts].exp()
            trainable.values["means"][parts] += (turn @ (scales * draw)[..., None])[..., 0]
            trainable.values["log_scales"][parts] -= math.log(SPLIT_SHRINK)
    return len(chosen)


def useless(trainable: Trainable, least_opacity: float, largest: float) -> torch.Tensor:
    """Which splats are all but transparent, or of a standard deviation above `largest` [m], shape [n]."""
    with torch.no_grad():
        splats = trainable.splats()
        return (splats.opacities < least_opacity) | (splats.scales.amax(dim=1) > largest)
