"""Sparse maps as a kernel gathers by them: offsets of rows, columns, values."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Gather:
    """A sparse map; row r takes the entries offsets[r] to offsets[r + 1].

    Args:
        offsets: shape [rows + 1].
        columns: shape [entries], in increasing order within a row.
        values: shape [entries] or [entries, k].
    """

    offsets: np.ndarray
    columns: np.ndarray
    values: np.ndarray

    @classmethod
    def from_entries(cls, rows: np.ndarray, columns: np.ndarray, values: np.ndarray, row_count: int) -> "Gather":
        """The map with these entries, those at the same place added up.

        Args:
            rows, columns: of the entries, of equal shape.
            values: of the same shape, or with one axis more.
            row_count: rows of the map, also those without an entry.
        """
        rows, columns = np.ravel(rows), np.ravel(columns)
        values = np.reshape(values, (len(rows), -1))
        order = np.lexsort((columns, rows))
        rows, columns, values = rows[order], columns[order], values[order]
        first = np.flatnonzero(np.append(True, (rows[1:] != rows[:-1]) | (columns[1:] != columns[:-1])))
        values = np.add.reduceat(values, first, axis=0)
        return cls(_offsets(rows[first], row_count), columns[first], values[:, 0] if values.shape[1] == 1 else values)

    @property
    def rows(self) -> np.ndarray:
        """Row of each entry."""
        return np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))

    def transposed(self, column_count: int) -> "Gather":
        """The same entries by column."""
        order = np.argsort(self.columns, kind="stable")
        return Gather(_offsets(self.columns[order], column_count), self.rows[order], self.values[order])

    def apply(self, vectors: np.ndarray) -> np.ndarray:
        """Sum over each row's entries of value times vector, for scalar values; vectors [columns, k], shape [rows, k]."""
        out = np.zeros((len(self.offsets) - 1, vectors.shape[1]))
        np.add.at(out, self.rows, self.values[:, None] * vectors[self.columns])
        return out

    def after(self, inner: "Gather") -> "Gather":
        """The map that applies `inner` first; both of scalar values."""
        counts = np.diff(inner.offsets)[self.columns]
        start = np.repeat(inner.offsets[self.columns] - (np.cumsum(counts) - counts), counts)
        at = start + np.arange(counts.sum())
        values = np.repeat(self.values, counts) * inner.values[at]
        return Gather.from_entries(np.repeat(self.rows, counts), inner.columns[at], values, len(self.offsets) - 1)


def _offsets(rows: np.ndarray, count: int) -> np.ndarray:
    return np.searchsorted(rows, np.arange(count + 1))
