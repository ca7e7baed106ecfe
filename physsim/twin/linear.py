"""What a term of a fit says of one frame: residuals, how they move with the body, and how much each of them is believed.

    cost = sum over rows of (shrink * residual / sigma)^2 / 2 = sum of rho(s)      s: norm of a measurement's residuals over sigma

    rho(s) = c^2 (sqrt(1 + s^2 / c^2) - 1)      c = HUBER: what is far off pulls no more than what is a little off
    rho(s) = c^2 / 2 ln(1 + s^2 / c^2)          c = CORE: what is far off, a track that jumped or a pixel that flew, pulls less and less

The first has no other minima than the model's own and leads a fit from afar; the second ("sharp") ends it. Gauss-Newton on rows
shrink * residual with the derivative weight / shrink * d residual has the exact gradient of this cost and a positive definite
approximation of its Hessian, and costs compare from one trial to the next.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import sparse

CORE = 3.0  # residuals over sigma at which a measurement's pull is half of what least squares would give it
HUBER = 1.5  # residuals over sigma at which the pull begins to stay the same


def believed(square: np.ndarray, seen: np.ndarray, sharp: bool) -> tuple[np.ndarray, np.ndarray]:
    """How far measurements are believed.

    Args:
        square: s^2 of each.
        seen: whether it was measured, or how far it is believed beforehand.
        sharp: which rho.

    Returns:
        (weights rho' / s, shrink sqrt(2 rho) / s), of the same shape.
    """
    q = square / (CORE if sharp else HUBER) ** 2
    small = q < 1e-8  # digits would be lost
    safe = np.where(small, 1.0, q)
    if sharp:
        weights, ratio = 1.0 / (1.0 + q), np.where(small, 1.0 - q / 2, np.log1p(safe) / safe)
    else:
        weights, ratio = 1.0 / np.sqrt(1.0 + q), np.where(small, 1.0 - q / 4, 2.0 * (np.sqrt(1.0 + safe) - 1.0) / safe)
    return seen * weights, np.sqrt(seen * ratio)


def curvature(weights: np.ndarray, shrink: np.ndarray, parts: int) -> tuple[float, float]:
    """How much of least squares' normal matrix the rows of Gauss-Newton keep, and the cost's own second derivative, of sharp measurements.

    Args:
        weights, shrink: of each measurement, shape [measurements].
        parts: numbers that one has.

    Returns:
        Sums over the measurements of (weight / shrink)^2, and of the mean over directions of d(weight r)/dr = w - 2 w (1 - w) / parts.
    """
    w, shrink = weights[weights > 0.0], shrink[weights > 0.0]
    return float(np.sum((w / shrink) ** 2)), float(np.sum(w - 2.0 * w * (1.0 - w) / parts))


@dataclass(frozen=True)
class Linear:
    """A term at one frame, linearised about the positions of all particles.

    Args:
        residuals: [m, pixel, or whatever the term's sigma is in], shape [m].
        weights: how far each residual is believed: d rho / d s over s, in [0, 1]; 0: not measured, shape [m].
        apply: derivative of the residuals along displacements [..., n, 3]: [..., m].
        shrink: sqrt(2 rho) / s of each residual's measurement, shape [m]; None: sqrt(weights), as of weights that stay.
        pull: transpose of `apply`: shape [m] to [n, 3]; only gradients by the adjoint need it.
        errors: plain errors of single numbers from which the noise is estimated, any shape; None: the residuals of weight above 0.
    """

    residuals: np.ndarray
    weights: np.ndarray
    apply: Callable
    shrink: np.ndarray | None = None
    pull: Callable | None = None
    errors: np.ndarray | None = None

    def rows(self, sigma: float, moved: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Residuals [m] as they are minimised, over sigma, and their derivatives along displacements [p, n, 3], shape [m, p]."""
        shrink = np.sqrt(self.weights) if self.shrink is None else self.shrink
        slope = np.where(self.weights > 0.0, self.weights / np.where(shrink > 0.0, shrink, 1.0), 0.0) / sigma
        seen = self.weights > 0.0
        return np.where(seen, shrink * self.residuals, 0.0) / sigma, (slope * self.apply(moved)).T

    def cost(self, sigma: float) -> float:
        """Sum of rho."""
        shrink = np.sqrt(self.weights) if self.shrink is None else self.shrink
        return 0.5 * float(np.sum((np.where(self.weights > 0.0, shrink * self.residuals, 0.0) / sigma) ** 2))

    def gradient(self, sigma: float) -> np.ndarray:
        """Derivative of the cost by the positions [1/m], shape [n, 3]."""
        return self.pull(np.where(self.weights > 0.0, self.weights * self.residuals, 0.0) / sigma**2)

    @property
    def spread(self) -> np.ndarray:
        """Errors from which the noise is estimated."""
        return self.residuals[self.weights > 0.0] if self.errors is None else self.errors


def measured(
    residuals: np.ndarray, seen: np.ndarray, nodes: np.ndarray, coefficients: np.ndarray, particles: int, sigma: float, sharp: bool = True
) -> Linear:
    """The linearisation of measurements that depend on a few particles each.

    Args:
        residuals: of each measurement, shape [measurements, parts].
        seen: whether it was measured, or how far it is believed beforehand, shape [measurements].
        nodes: particles that it depends on, shape [measurements, k].
        coefficients: derivative of its residuals by their positions, shape [measurements, parts, k, 3].
        particles: number of particles.
        sigma: standard deviation of one residual, above 0.
        sharp: which rho.
    """
    count, parts = residuals.shape
    seen = np.asarray(seen, dtype=float)
    residuals = np.where(seen[:, None] > 0.0, residuals, 0.0)
    weights, shrink = believed((residuals**2).sum(axis=1) / sigma**2, seen, sharp)
    k = nodes.shape[1]
    row = np.repeat(np.arange(count * parts), 3 * k)
    column = np.broadcast_to(3 * nodes[:, None, :, None] + np.arange(3), (count, parts, k, 3)).ravel()
    values = np.where(seen[:, None, None, None] > 0.0, coefficients, 0.0).ravel()
    matrix = sparse.csr_matrix((values, (row, column)), (count * parts, 3 * particles))

    def apply(moved: np.ndarray) -> np.ndarray:
        flat = moved.reshape(-1, 3 * particles)
        return (matrix @ flat.T).T.reshape(*moved.shape[:-2], count * parts)

    def pull(values: np.ndarray) -> np.ndarray:
        return (matrix.T @ values).reshape(particles, 3)

    def each(values: np.ndarray) -> np.ndarray:
        return np.repeat(values, parts)

    return Linear(residuals.ravel(), each(weights), apply, each(shrink), pull)


def deviation(errors: np.ndarray) -> float:
    """Standard deviation of errors about 0 from their median, which a minority of wrong ones does not move; NaN of none."""
    errors = np.asarray(errors)
    return 1.4826 * float(np.median(np.abs(errors))) if errors.size else float("nan")
