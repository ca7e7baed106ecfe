"""Block-sparse pattern of a model's matrix."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Pattern:
    """Block-sparse pattern: the diagonal first, then the strictly lower triangle in compressed rows; fixed particles left out."""

    rows: np.ndarray  # of the lower entries, [l]
    columns: np.ndarray
    row_begin: np.ndarray  # [n + 1]
    offsets: np.ndarray  # shares of entry i are slots[offsets[i]:offsets[i + 1]], entries 0..n+l
    slots: np.ndarray

    def entries(self, block_count, nowhere):
        """Where each block goes, the inverse of `slots`: entry e, -1 - e for its transpose, `nowhere` for none; shape [blocks]."""
        out = np.full(block_count, nowhere)
        entry = np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))
        turned = self.slots < 0
        out[np.where(turned, -1 - self.slots, self.slots)] = np.where(turned, -1 - entry, entry)
        return out

    def full(self, n):
        """Both triangles and the diagonal: (rows, columns, slots) by rows; slot k is entry k, -1 - k its transpose."""
        entry = n + np.arange(len(self.rows))
        everyone = np.arange(n)
        rows = np.concatenate([everyone, self.rows, self.columns])
        columns = np.concatenate([everyone, self.columns, self.rows])
        slots = np.concatenate([everyone, entry, -1 - entry])
        order = np.lexsort((columns, rows))
        return rows[order], columns[order], slots[order]


def build_pattern(model):
    """Pattern of a model's matrix (a pure function of the stencils and the fixed particles)."""
    n = model.particle_count
    rows, columns, slots = [], [], []
    offset = 0
    for block in model.blocks:
        k = block.law.points
        a, b = np.tril_indices(k)
        i, j = block.stencil[:, a], block.stencil[:, b]
        number = offset + np.arange(i.size).reshape(i.shape)
        keep = model.free[i] & model.free[j]
        rows.append(np.maximum(i, j)[keep])
        columns.append(np.minimum(i, j)[keep])
        slots.append(np.where(i >= j, number, -1 - number)[keep])
        offset += i.size
    rows, columns, slots = (np.concatenate(part) for part in (rows, columns, slots))
    order = np.argsort(np.where(rows == columns, rows, n + rows * n + columns), kind="stable")
    rows, columns, slots = rows[order], columns[order], slots[order]
    diagonal = rows == columns
    pairs, begin = np.unique(np.stack([rows, columns], 1)[~diagonal], axis=0, return_index=True)
    offsets = np.concatenate([np.searchsorted(rows[diagonal], np.arange(n)), diagonal.sum() + begin, [len(slots)]])
    row_begin = np.searchsorted(pairs[:, 0], np.arange(n + 1))
    return Pattern(pairs[:, 0], pairs[:, 1], row_begin, offsets, slots)
