"""Gaussian splats: what they are made of."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from os import PathLike

import numpy as np
import torch

from physsim.appearance.quaternions import quaternion_product, rotation_quaternions
from physsim.appearance.turned_harmonics import turned_harmonics
from physsim.errors import InputError
from physsim.physics import validation

HARMONICS = (1, 4, 9, 16)  # coefficients of spherical harmonics of degree 0, 1, 2, 3


@dataclass(frozen=True, eq=False)
class Splats:
    """Gaussians in the rest shape of what they belong to. Shapes are checked here, values by `check`.

    Opacity times exp(-1/2 d^T (M M^T)^-1 d) is what a splat at `means` covers of a ray, with M = rotation diag(scales).

    Args:
        means: centres [m], shape [n, 3].
        scales: standard deviations along the splat's own axes [m], positive, shape [n, 3].
        rotations: quaternions (w, x, y, z) of those axes, of any length but 0, shape [n, 4].
        opacities: in [0, 1], shape [n].
        harmonics: coefficients of spherical harmonics of the colour, shape [n, 1, 4, 9 or 16, 3]; colour = 1/2 + their sum, as 3DGS has it.
        latents: what a colour network is told of each splat, shape [n, k]; None: k = 0.
        labels: which body a splat belongs to, whole numbers from 0, shape [n]; None: all 0.

    Raises:
        InputError: not tensors, shapes that do not fit.
    """

    means: torch.Tensor
    scales: torch.Tensor
    rotations: torch.Tensor
    opacities: torch.Tensor
    harmonics: torch.Tensor
    latents: torch.Tensor | None = None
    labels: torch.Tensor | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not torch.is_tensor(value) and not (value is None and field.default is None):
                raise InputError(f"Splats.{field.name}: {type(value).__name__} was given; a torch tensor is needed")
        n = len(self.means) if self.means.ndim else 0
        if self.latents is None:
            object.__setattr__(self, "latents", self.means.new_zeros(n, 0))
        if self.labels is None:
            object.__setattr__(self, "labels", torch.zeros(n, dtype=torch.int32, device=self.means.device))
        shapes = {"means": (n, 3), "scales": (n, 3), "rotations": (n, 4), "opacities": (n,), "labels": (n,)}
        for name, shape in shapes.items():
            if tuple(getattr(self, name).shape) != shape:
                raise InputError(f"Splats.{name}: shape {list(getattr(self, name).shape)} was given; {list(shape)} is needed")
        count = self.harmonics.shape[1] if self.harmonics.ndim == 3 else 0
        if count not in HARMONICS or tuple(self.harmonics.shape) != (n, count, 3):
            raise InputError(f"Splats.harmonics: shape {list(self.harmonics.shape)} was given; [{n}, 1, 4, 9 or 16, 3] is needed")
        if self.latents.ndim != 2 or len(self.latents) != n:
            raise InputError(f"Splats.latents: shape {list(self.latents.shape)} was given; [{n}, k] is needed")

    def __len__(self) -> int:
        return len(self.means)

    def replace(self, **changes: torch.Tensor) -> "Splats":
        """The same splats with other values for some fields."""
        return replace(self, **changes)

    def select(self, which: torch.Tensor) -> "Splats":
        """Some of the splats, by a mask, shape [n], or indices, shape [k]."""
        return Splats(**{f.name: getattr(self, f.name)[which] for f in fields(self)})

    @property
    def degree(self) -> int:
        """Degree of the spherical harmonics."""
        return HARMONICS.index(self.harmonics.shape[1])

    def check(self) -> "Splats":
        """These splats, if their values can be drawn. Whatever comes from outside goes through here once.

        Raises:
            InputError: NaN, another dtype than float32 or float64 or several, scales that are not positive, opacities outside [0, 1], a
                quaternion of zero, labels that are not whole numbers from 0.
        """
        floats = ("means", "scales", "rotations", "opacities", "harmonics", "latents")
        kinds = {getattr(self, name).dtype for name in floats}
        if len(kinds) != 1 or not kinds <= {torch.float32, torch.float64}:
            raise InputError(
                f"Splats: dtypes {', '.join(sorted(map(str, kinds)))} were given; one of float32 and float64 is needed for all"
            )
        if self.labels.is_floating_point() or self.labels.dtype == torch.bool:
            raise InputError(f"Splats.labels: {self.labels.dtype} was given; whole numbers are needed")
        for name in floats:
            _refuse(name, getattr(self, name), lambda v: ~torch.isfinite(v), "must be finite")
        _refuse("scales", self.scales, lambda v: v <= 0, "must be positive; it is a standard deviation in metres")
        _refuse("opacities", self.opacities, lambda v: (v < 0) | (v > 1), "must lie in [0, 1]")
        _refuse("rotations", self.rotations, lambda v: (v == 0).all(dim=1, keepdim=True).expand_as(v), "is no rotation; use (1, 0, 0, 0)")
        _refuse("labels", self.labels, lambda v: v < 0, "must be at least 0")
        return self

    def to(self, target: object) -> "Splats":
        """The same splats on another device or in another dtype (labels stay whole numbers)."""
        kind = isinstance(target, torch.dtype)
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return Splats(**{name: value if kind and name == "labels" else value.to(target) for name, value in values.items()})

    def with_degree(self, degree: int) -> "Splats":
        """The same splats with spherical harmonics of another degree: more coefficients of 0, or the highest ones dropped.

        Raises:
            InputError: a degree outside 0..3.
        """
        count = HARMONICS[int(validation.array("degree", degree, (), kind="i", lower=0, upper=3))]
        missing = max(count - self.harmonics.shape[1], 0)
        zeros = self.harmonics.new_zeros(len(self), missing, 3)
        return self.replace(harmonics=torch.cat([self.harmonics[:, :count], zeros], dim=1))

    def transformed(self, rotation=None, translation=(0.0, 0.0, 0.0), scale: float = 1.0) -> "Splats":
        """The splats of the same thing turned, scaled and moved: a point X goes to scale * R X + t.

        Args:
            rotation: R, shape [3, 3]; None: not turned.
            translation: t [m], shape [3].
            scale: above 0.

        Raises:
            InputError: no rotation, a scale that is not positive, NaN.
        """
        matrix = validation.rotation("rotation", np.eye(3) if rotation is None else rotation)
        scale = float(validation.array("scale", scale, (), lower=0.0, lower_open=True))
        turn, move = self.means.new_tensor(matrix), self.means.new_tensor(validation.array("translation", translation, (3,)))
        quaternion = rotation_quaternions(torch.as_tensor(matrix)[None])[0].to(turn)
        return self.replace(
            means=scale * self.means @ turn.T + move,
            scales=scale * self.scales,
            rotations=self.rotations if rotation is None else quaternion_product(quaternion, self.rotations),
            harmonics=self.harmonics if rotation is None else turned_harmonics(self.harmonics, turn),
        )

    @staticmethod
    def join(parts: "Sequence[Splats]", relabel: bool = False) -> "Splats":
        """All splats of several in one, with the highest degree among them.

        Args:
            parts: at least one; of the same dtype, device and width of latents.
            relabel: number the parts 0, 1, ... in place of the labels that they have.

        Raises:
            InputError: none, or of different dtypes, devices or widths of latents.
        """
        if not parts:
            raise InputError("Splats.join: no splats were given")
        kinds = {(str(p.means.dtype), str(p.means.device), p.latents.shape[1]) for p in parts}
        if len(kinds) > 1:
            said = "; ".join(f"{dtype} on {device} with {width} latents" for dtype, device, width in sorted(kinds))
            raise InputError(f"Splats.join: {said} were given; make them alike by `to` or `replace`")
        degree = max(p.degree for p in parts)
        parts = [p.with_degree(degree) for p in parts]
        if relabel:
            parts = [p.replace(labels=torch.full_like(p.labels, i)) for i, p in enumerate(parts)]
        return Splats(**{f.name: torch.cat([getattr(p, f.name) for p in parts]) for f in fields(Splats)})

    @classmethod
    def load(cls, path: str | PathLike[str]) -> "Splats":
        """Read a PLY file of splats, as 3D Gaussian splatting and its viewers write them; see `physsim.io.splat_ply`.

        Raises:
            InputError: the file cannot be used; the message says why.
        """
        from physsim.io.splat_ply import read_splats

        return cls(**{name: torch.from_numpy(value) for name, value in read_splats(path).items()}).check()

    def save(self, path: str | PathLike[str], binary: bool = True) -> None:
        """Write a PLY file of splats that other viewers read; latents and labels where there are some.

        Raises:
            InputError: no splat, values that cannot be drawn, or a path that cannot be written.
        """
        from physsim.io.splat_ply import write_splats

        self.check()
        write_splats(path, {f.name: getattr(self, f.name).detach().cpu().numpy() for f in fields(self)}, binary=binary)


def _refuse(name: str, value: torch.Tensor, bad, remedy: str) -> None:
    """Raise an InputError that names the first bad entry."""
    wrong = bad(value.detach())
    if wrong.any():
        first = wrong.nonzero()[0].tolist()
        count = int(wrong.reshape(len(wrong), -1).any(dim=1).sum())
        given = value[tuple(first)].item()
        raise InputError(f"Splats.{name} = {given:g} at {first} ({count} splats): {remedy}")
