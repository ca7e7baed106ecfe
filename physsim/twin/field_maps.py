"""Fields of a body's stiffness as functions of a few unknowns: combinations of columns, and parts with borders that move.

log factor of a cell = log_values(z)    z: unknowns [q]; the field multiplies the parameter's own values
"""

from dataclasses import dataclass, replace

import numpy as np

from physsim.errors import InputError
from physsim.physics.fields import Cells
from physsim.real2sim.least_squares import Variable
from physsim.twin.parts import signed_distances

WIDE = 12.0  # of logarithms: bounds of a coefficient about 0


@dataclass(frozen=True, eq=False)
class ColumnField:
    """log_values = columns @ z.

    Args:
        columns: shape [cells, q].
        names: of the unknowns, q strings.
        starts: z to begin with, shape [q].
        priors: standard deviation about 0 of each, infinite: none, shape [q].
    """

    columns: np.ndarray
    names: tuple
    starts: np.ndarray
    priors: np.ndarray

    @property
    def lead(self) -> str:
        """The unknown that is a result: the constant part."""
        return self.names[0]

    def variables(self) -> list[Variable]:
        """Of the unknowns, on a log scale: factors."""
        return [Variable(n, float(np.exp(z)), np.exp(-WIDE), np.exp(WIDE)) for n, z in zip(self.names, self.starts, strict=True)]

    def log_values(self, z: np.ndarray) -> np.ndarray:
        """Shape [cells]."""
        return self.columns @ z

    def slopes(self, z: np.ndarray) -> np.ndarray:
        """Derivative of `log_values`, shape [cells, q]."""
        return self.columns

    def first(self, count: int) -> "ColumnField":
        """The field of the first columns alone."""
        return ColumnField(self.columns[:, :count], self.names[:count], self.starts[:count], self.priors[:count])

    def started_at(self, z: np.ndarray) -> "ColumnField":
        """The same from another start."""
        return replace(self, starts=np.array(z, dtype=float))


@dataclass(frozen=True, eq=False)
class BorderField:
    """Parts with one value each, whose borders lie where unknown smooth displacements of given borders put them.

        share of part p in a cell = softmax over p of ((d_p + 2 sum_j modes_j a_pj) / width)
        log value = sum over p of share_p v_p

    d is the signed distance from the given border, positive inside. The border of part p against the first part
    moves outwards by a_p (both distances change); the blend makes the field smooth in a.

    Args:
        distances: d, shape [cells, parts].
        modes: shape [cells, modes].
        width: of the blend [m].
        values: v to begin with, shape [parts].
        reach: standard deviation that is assumed of each mode's displacement [m], shape [modes].
    """

    distances: np.ndarray
    modes: np.ndarray
    width: float
    values: np.ndarray
    reach: np.ndarray
    lead = None

    def variables(self) -> list[Variable]:
        """Values (log), then displacements of the borders of all parts but the first, part by part (linear, [m])."""
        parts = range(len(self.values))
        found = [Variable(f"part[{p}]", float(np.exp(self.values[p])), np.exp(-WIDE), np.exp(WIDE)) for p in parts]
        for p in parts[1:]:
            found += [Variable(f"border[{p}][{j}]", 0.0, -8 * r, 8 * r, "linear", "m") for j, r in enumerate(self.reach)]
        return found

    @property
    def priors(self) -> np.ndarray:
        """Standard deviations: none of the values, `reach` of the displacements."""
        return np.concatenate([np.full(len(self.values), np.inf), np.tile(self.reach, len(self.values) - 1)])

    def shares(self, z: np.ndarray) -> np.ndarray:
        """Share of each part in each cell, shape [cells, parts]."""
        scaled = self.moved(z).distances / self.width
        power = np.exp(scaled - scaled.max(axis=1, keepdims=True))
        return power / power.sum(axis=1, keepdims=True)

    def log_values(self, z: np.ndarray) -> np.ndarray:
        """Shape [cells]."""
        return self.shares(z) @ z[: len(self.values)]

    def slopes(self, z: np.ndarray) -> np.ndarray:
        """Derivative of `log_values`, shape [cells, parts + (parts - 1) modes]."""
        count = len(self.values)
        shares = self.shares(z)
        lead = 2.0 * shares * (z[:count] - (shares @ z[:count])[:, None]) / self.width
        moves = [lead[:, p, None] * self.modes for p in range(1, count)]
        return np.concatenate([shares, *moves], axis=1)

    def moved(self, z: np.ndarray) -> "BorderField":
        """The same field about the borders as z has moved them, with its values to begin with."""
        count = len(self.values)
        distances = self.distances.copy()
        distances[:, 1:] += 2.0 * self.modes @ z[count:].reshape(count - 1, -1).T
        return replace(self, distances=distances, values=np.array(z[:count], dtype=float))

    def still(self) -> np.ndarray:
        """The unknowns to begin with: the values, and no displacement."""
        return np.concatenate([self.values, np.zeros((len(self.values) - 1) * self.modes.shape[1])])

    def labels(self, z: np.ndarray) -> np.ndarray:
        """The part with the largest share in each cell, shape [cells]."""
        return np.argmax(self.shares(z), axis=1)


def border_field(cells: Cells, labels: np.ndarray, values: np.ndarray, modes: np.ndarray, rates: np.ndarray, width: float) -> BorderField:
    """BorderField about the borders of labels [cells].

    Args:
        cells: Cells.
        labels: part of each cell.
        values: log value of each part.
        modes: smooth columns, shape [cells, modes], the first the constant.
        rates: their mean square gradients [1/m^2], shape [modes].
        width: of the blend [m]; borders are expected to move by about two widths.
    """
    if len(values) < 2:
        raise InputError("border_field: one part has no border; at least two parts are needed")
    first = rates[1] if len(rates) > 1 else 1.0
    reach = 2 * width * np.sqrt(first / np.maximum(rates, first))
    return BorderField(signed_distances(cells, labels), modes, width, np.asarray(values, float), reach)
