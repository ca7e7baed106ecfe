"""Named parameters of a model and the values that they have.

A parameter is what a user knows ("beam.young", "beam.density"). Laws read columns of numbers, one row a stencil. Each parameter
feeds one or more columns by a fixed linear map, so that setting values, pulling a gradient back and pushing a tangent forward
are one mechanism: density feeds masses through the volumes, gravity feeds three columns of every particle.
"""

from dataclasses import dataclass, field

import numpy as np
from scipy import sparse

from physsim.errors import InputError
from physsim.physics import validation


@dataclass(frozen=True)
class Feed:
    """`columns[law][rows, column] += matrix @ value` (the value itself where `matrix` is None)."""

    law: str
    column: int
    rows: np.ndarray
    matrix: sparse.csr_matrix | None = None


@dataclass(frozen=True, eq=False)
class Parameter:
    """Handle of a parameter: a key for `params`.

    Args:
        name: "body.parameter", unique in a model.
        unit: SI unit.
        value: default, shape `shape`.
        feeds: the columns that it feeds.
        bounds: keyword arguments of `validation.check_bounds`.
    """

    name: str
    unit: str
    value: np.ndarray
    feeds: tuple[Feed, ...]
    bounds: dict = field(default_factory=dict)

    @property
    def shape(self):
        """Shape of one environment's value."""
        return self.value.shape

    def __repr__(self):
        return f"Parameter({self.name!r} [{self.unit}], shape {list(self.shape)})"

    def expand(self, value, envs):
        """Broadcast a user's value to shape [envs, *shape].

        Args:
            value: a scalar; an array of `shape`; for several environments also [envs] or [envs, *shape] (or [envs, 1]).

        Raises:
            InputError: another shape, an ambiguous one, NaN, or a value out of bounds.
        """
        if hasattr(value, "detach"):
            value = value.detach().cpu().numpy()
        try:
            value = np.asarray(value, dtype=np.float64)
        except (TypeError, ValueError):
            raise InputError(f"{self.name}: numbers are needed, {type(value).__name__} was given") from None
        full = (envs, *self.shape)
        if value.ndim == 1 and len(self.shape) == 1 and value.shape[0] == envs > 1:
            if envs == self.shape[0]:
                raise InputError(f"{self.name}: shape [{envs}] could mean environments or entries; give [{envs}, 1] or [1, {envs}]")
            value = value[:, None]
        try:
            out = np.array(np.broadcast_to(value, full))
        except ValueError:
            raise InputError(
                f"{self.name}: shape {list(value.shape)} was given; a scalar, {list(self.shape)} or {list(full)} is needed"
            ) from None
        validation.array(self.name, out.reshape(-1), (None,))
        validation.check_bounds(self.name, out.reshape(-1), **self.bounds)
        return out


class ParameterSet:
    """Values of every parameter of a model, one row an environment. A value object: `replace` gives a new one."""

    def __init__(self, parameters, envs, values=None, columns=None):
        self._parameters = parameters
        self._envs = envs
        self._values = values or {n: np.tile(p.value, (envs, *[1] * p.value.ndim)) for n, p in parameters.items()}
        self._columns = columns

    def __getitem__(self, key):
        """Value of a parameter (handle or name), shape [envs, *shape]."""
        return self._values[self.find(key).name].copy()

    def belongs_to(self, other):
        """Whether another set is of the same model."""
        return self._parameters is other._parameters

    def names(self):
        """Names in the order in which bodies were added."""
        return list(self._parameters)

    def find(self, key):
        """The parameter of a handle or name.

        Raises:
            InputError: the model lacks it.
        """
        name = getattr(key, "name", key)
        if name not in self._parameters:
            raise InputError(f"the model has no parameter {name!r}; it has {', '.join(self._parameters)}")
        if isinstance(key, Parameter) and self._parameters[name] is not key:
            raise InputError(f"parameter {name!r} is of another model; use this model's, or the name")
        return self._parameters[name]

    def replace(self, values):
        """A new set with some values changed.

        Args:
            values: dict from Parameter or name to a value (see `Parameter.expand`).

        Raises:
            InputError: a parameter that the model lacks, a wrong shape, NaN, a value out of bounds.
        """
        new = dict(self._values)
        touched = set()
        for key, value in (values or {}).items():
            p = self.find(key)
            new[p.name] = p.expand(value, self._envs)
            touched.update((f.law, f.column) for f in p.feeds)
        out = ParameterSet(self._parameters, self._envs, new)
        if self._columns is not None:
            laws = {law for law, _ in touched}
            out._columns = {law: c.copy() if law in laws else c for law, c in self._columns.items()}
            _fill(out._columns, self._parameters, new, touched)
        return out

    def replicated(self, envs):
        """The same values in each of `envs` environments, from a set of one.

        Raises:
            InputError: the set has several environments, whose values may differ.
        """
        if self._envs != 1:
            raise InputError(f"replicated: the set has {self._envs} environments; one is needed")
        return ParameterSet(self._parameters, envs, {name: np.repeat(value, envs, axis=0) for name, value in self._values.items()})

    def with_columns(self, shapes, law, columns):
        """The same values with other numbers for one law: what changes at every step and is no parameter to be learnt.

        Args:
            shapes: as in `columns`.
            law: name.
            columns: [envs, stencils, parameters].
        """
        out = ParameterSet(self._parameters, self._envs, self._values)
        out._columns = self.columns(shapes) | {law: columns}
        return out

    def columns(self, shapes):
        """Numbers as the laws read them: dict law -> [envs, stencils, parameters]; `shapes` is dict law -> (stencils, parameters)."""
        if self._columns is None:
            self._columns = scatter(self._parameters, self._values, shapes, self._envs)
        return self._columns


def scatter(parameters, values, shapes, envs):
    """Columns of the laws from values (or from tangents: the map is linear) of the named parameters.

    Args:
        parameters: dict name -> Parameter.
        values: dict name -> [envs, *shape]; parameters without a value feed zero.
        shapes: dict law -> (stencils, parameters).

    Returns:
        dict law -> [envs, stencils, parameters].
    """
    columns = {law: np.zeros((envs, *shape)) for law, shape in shapes.items()}
    _fill(columns, {n: parameters[n] for n in values}, values, None)
    return columns


def _fill(columns, parameters, values, touched):
    if touched is not None:
        for law, column in touched:
            columns[law][:, :, column] = 0.0
    for name, p in parameters.items():
        flat = values[name].reshape(len(values[name]), -1)
        for f in p.feeds:
            if touched is None or (f.law, f.column) in touched:
                fed = flat if f.matrix is None else (f.matrix @ flat.T).T
                columns[f.law][:, f.rows, f.column] += fed


def pull_back(parameter, gradients):
    """Gradient of a parameter from gradients of the laws' columns (the transpose of `scatter`), shape [envs, *shape]."""
    total = 0.0
    for f in parameter.feeds:
        g = gradients[f.law][:, f.rows, f.column]
        total = total + (g if f.matrix is None else (f.matrix.T @ g.T).T)
    return total.reshape(-1, *parameter.shape)
