"""Tracks: where material points of a body were seen, and when."""

from dataclasses import dataclass

import numpy as np

from physsim.errors import InputError
from physsim.physics import validation


@dataclass(frozen=True)
class Tracks:
    """Measured positions of material points.

    Args:
        times: [s], shape [frames], increasing.
        nodes, weights: each material point is the sum over k of weights[p, k] * x[nodes[p, k]], shape [points, k]
            (see `TetMesh.interpolation`; particle numbers of the model).
        positions: [m], shape [frames, points, 3]; NaN: not seen.
        components: axes that are compared, a part of "xyz".
        noise: standard deviation of one number [m].

    Raises:
        InputError: shapes that do not fit, times that go back, unknown components, a noise not above 0.
    """

    times: np.ndarray
    nodes: np.ndarray
    weights: np.ndarray
    positions: np.ndarray
    components: str = "xyz"
    noise: float = 1e-3

    def __post_init__(self):
        times = validation.array("Tracks.times", self.times, (None,))
        if len(times) == 0 or (np.diff(times) <= 0).any():
            raise InputError("Tracks.times: at least one is needed, each later than the one before")
        nodes = validation.array("Tracks.nodes", self.nodes, (None, None), kind="i", lower=0)
        weights = validation.array("Tracks.weights", self.weights, nodes.shape)
        positions = np.asarray(self.positions, dtype=np.float64)
        if positions.shape != (len(times), len(nodes), 3):
            raise InputError(f"Tracks.positions: shape {list(positions.shape)}; [{len(times)}, {len(nodes)}, 3] is needed")
        if np.isinf(positions).any() or np.isnan(positions).all():
            raise InputError("Tracks.positions: infinite values, or no frame with a number; NaN marks a point that was not seen")
        if not self.components or set(self.components) - set("xyz"):
            raise InputError(f'Tracks.components = {self.components!r}: one or more of "x", "y", "z"')
        validation.array("Tracks.noise", self.noise, (), lower=0.0, lower_open=True)
        for name, value in (("times", times), ("nodes", nodes), ("weights", weights), ("positions", positions)):
            object.__setattr__(self, name, value)

    @property
    def axes(self):
        """Indices of the compared components."""
        return ["xyz".index(c) for c in self.components]

    def observe(self, x):
        """Material points [..., points, 3] from particle positions [..., n, 3]; linear, so that it maps tangents too."""
        return np.einsum("pk,...pkc->...pc", self.weights, x[..., self.nodes, :])

    def until(self, time):
        """The frames up to a time."""
        keep = self.times <= time + 1e-9
        if not keep.any():
            raise InputError(f"Tracks: no frame up to {time:g} s; the first is at {self.times[0]:g} s")
        return Tracks(self.times[keep], self.nodes, self.weights, self.positions[keep], self.components, self.noise)

    def residuals(self, observed):
        """Weighted differences [frames, points * components] of observed points [frames, points, 3]; NaN where not seen."""
        return ((observed - self.positions)[..., self.axes] / self.noise).reshape(len(self.times), -1)

    def scaled(self, tangent):
        """The same weighting of a tangent [..., frames, points, 3]: [..., frames, points * components]."""
        picked = tangent[..., self.axes] / self.noise
        return picked.reshape(*picked.shape[:-2], -1)
