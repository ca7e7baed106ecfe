"""Tracks with an unknown constant offset each: eliminated over all frames, robustly, before a fit sees their residuals.

    r'_fj = r_fj - d_j,    d_j = sum_f w_fj r_fj / sum_f w_fj,    J'_fj = J_fj - sum_f w_fj J_fj / sum_f w_fj

    r_fj   simulated minus measured place of track j at frame f, in axes that turn with the surface, over the noise [3]
    w_fj   weight rho' / s of `physsim.twin.linear` where it was seen, else 0

d_j minimises the robust cost of the track, so that the cost's derivative by everything else needs no derivative of d_j.
"""

from dataclasses import dataclass

import numpy as np

from physsim.twin.linear import believed

SWEEPS, SETTLED = 200, 1e-7  # of reweighting at most; change of an offset, over the noise, at which it has settled


@dataclass(frozen=True)
class Centred:
    """Residuals of tracks without their offsets, over the noise.

    Args:
        residuals: shape [f, p, 3].
        weights: shape [f, p].
        shrink: sqrt(2 rho) over the residual's size, shape [f, p].
        offset: over the noise, shape [p, 3].
    """

    residuals: np.ndarray
    weights: np.ndarray
    shrink: np.ndarray
    offset: np.ndarray

    def rows(self, jacobian: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows as they are minimised, [f, 3 p], and their derivatives [f, 3 p, q], from those of the residuals [f, p, 3, q]."""
        total = np.maximum(self.weights.sum(axis=0), 1e-300)
        jacobian = jacobian - np.einsum("fp,fpiq->piq", self.weights, jacobian) / total[:, None, None]
        slope = np.where(self.weights > 0.0, self.weights / np.where(self.shrink > 0.0, self.shrink, 1.0), 0.0)
        f, p = self.weights.shape
        residuals = (self.shrink[..., None] * self.residuals).reshape(f, 3 * p)
        return residuals, (slope[..., None, None] * jacobian).reshape(f, 3 * p, -1)

    @property
    def cost(self) -> float:
        """Sum of rho."""
        return 0.5 * float((self.shrink[..., None] ** 2 * self.residuals**2).sum())


def centred(residuals: np.ndarray, seen: np.ndarray, free: bool = True, sharp: bool = True) -> Centred:
    """Eliminate the offsets.

    Args:
        residuals: over the noise, shape [f, p, 3].
        seen: shape [f, p].
        free: False: there are no offsets, only weights.
        sharp: which rho.
    """
    values = np.where(seen[..., None], residuals, np.nan)
    if free:
        with np.errstate(all="ignore"):
            some = seen.any(axis=0)
            offset = np.zeros(values.shape[1:])
            offset[some] = np.nanmedian(values[:, some], axis=0)
    else:
        offset = np.zeros(values.shape[1:])
    for _ in range(SWEEPS if free else 0):
        left = np.where(seen[..., None], residuals - offset, 0.0)
        weights, _ = believed((left**2).sum(axis=2), seen, sharp)
        change = np.einsum("fp,fpi->pi", weights, left) / np.maximum(weights.sum(axis=0), 1e-300)[:, None]
        offset = offset + change
        if np.abs(change).max(initial=0.0) < SETTLED:
            break
    left = np.where(seen[..., None], residuals - offset, 0.0)
    weights, shrink = believed((left**2).sum(axis=2), seen, sharp)
    return Centred(left, weights, shrink, offset)
