"""A model of residuals that are correlated in time and across channels, from the residuals of a fit.

    e_t = sum_k phi_k e_{t-k} + g_t eps_t      per channel c, order by AICc
    Cov(eps_t) = Sigma                         between channels

    e     what remains of the data at the true parameters [frames, channels]; the residuals of the fit are
          r = e - J delta, the fit having swallowed the part that looks like J [frames, channels, p]

Channels are first rotated to the principal components of the residuals, so that an error common to several
markers becomes one channel with its own memory. The envelope g, a running mean of the squared innovations, lets the errors
fade with the motion, as those of a ring-down do. Swallowing makes plain estimates from r too small and too white, badly so for
slow errors (drift looks like an offset). The model is therefore fitted by restricted maximum likelihood, as an
expectation-maximisation over delta with a flat prior: given phi and Sigma, delta is known to be N(delta_hat, P) by generalised
least squares; given these, the expected lagged products of e give phi and Sigma.

Valid for residuals whose memory is short against the recording. A drift as long as the recording cannot be
told from an offset by anybody; roots are held at a memory of half a recording. The filter is the same from beginning to end: errors that
ring at the motion's own frequency and fade into white noise come out about a quarter too small (the 95 % intervals of a damped cosine then
cover 80 to 90 %).

Sources: Patterson and Thompson, Biometrika 58 (1971) for the restricted likelihood; Hurvich and Tsai, Biometrika 76 (1989)
for AICc.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import solve_triangular, toeplitz
from scipy.signal import lfilter

FLOOR = 0.01


@dataclass(frozen=True)
class NoiseModel:
    """Autoregressive noise of c channels.

    Attributes:
        rotation: channels of the model as columns in those of the data, shape [c, c]
        coefficients: phi of each channel, shapes [order]
        innovations: Sigma [c, c]
        envelope: g [frames, c], mean square one
        spread: covariance of each channel's phi, shapes [order, order]
        complete: frames that the model rests on, shape [frames]
    """

    rotation: np.ndarray
    coefficients: list[np.ndarray]
    innovations: np.ndarray
    envelope: np.ndarray
    spread: list[np.ndarray]
    complete: np.ndarray

    @property
    def orders(self) -> tuple[int, ...]:
        """Length of each channel's filter."""
        return tuple(len(c) for c in self.coefficients)

    def smoothed(self, jacobian: np.ndarray, channel: int, coefficients: np.ndarray | None = None) -> np.ndarray:
        """g Psi^T J of one (rotated) channel: how each eps, past ones included, enters the score J^T e; [past + f, p].

        e = Psi g eps with Psi the filter 1 / (1 - sum phi_k B^k), so that J^T e = (g Psi^T J)^T eps, and Psi^T is the same
        filter run backwards in time. Before the first frame g is that of the first frame.
        """
        phi = self.coefficients[channel] if coefficients is None else coefficients
        past = np.zeros((memory(phi), jacobian.shape[-1]))
        reversed_time = np.concatenate([jacobian[::-1, channel], past])
        filtered = lfilter([1.0], np.concatenate([[1.0], -phi]), reversed_time, axis=0)[::-1]
        g = self.envelope[:, channel]
        return filtered * np.concatenate([np.full(len(past), g[0]), g])[:, None]

    def variance_doubt(self, filtered: np.ndarray, channel: int) -> np.ndarray:
        """Relative variance [p] of sum eps^2 filtered^2 [p], because g^2 is a mean of few squared innovations."""
        past = len(filtered) - len(self.envelope)
        shares = filtered[past:] ** 2
        shares[0] += (filtered[:past] ** 2).sum(axis=0)
        shares = np.stack([_spread_back(x, self.complete) for x in shares.T], axis=1)
        total = np.maximum(shares.sum(axis=0), 1e-300)
        return 2.0 * ((shares / total) ** 2).sum(axis=0)


def _kernel(frames: int) -> np.ndarray:
    """Triangle over an eighth of the frames: wide enough for a steady variance, short against the motion's decay."""
    half = max(4, frames // 16)
    return np.concatenate([np.arange(1, half + 1), np.arange(half - 1, 0, -1)]).astype(float)


def _running_mean(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Mean of x [f] under the kernel where weight [f] is one."""
    kernel = _kernel(len(x))
    over = np.convolve(weight, kernel, "same")
    mean = np.convolve(x * weight, kernel, "same") / np.maximum(over, 1e-300)
    return np.where(over > 0.0, mean, (x * weight).sum() / max(weight.sum(), 1.0))


def _spread_back(x: np.ndarray, complete: np.ndarray) -> np.ndarray:
    """Transpose of the running mean: where the squared innovations behind sum x g^2 come from, shape [f]."""
    kernel, weight = _kernel(len(x)), complete.astype(float)
    over = np.convolve(weight, kernel, "same")
    return weight * np.convolve(np.where(over > 0.0, x / np.maximum(over, 1e-300), 0.0), kernel, "same")


def memory(phi: np.ndarray) -> int:
    """Frames after which an innovation has faded to 1e-3."""
    if not len(phi):
        return 0
    radius = float(np.abs(np.roots(np.concatenate([[1.0], -phi]))).max())
    return len(phi) if radius < 1e-3 else len(phi) + int(np.ceil(np.log(1e-3) / np.log(radius)))


def stabilised(phi: np.ndarray, largest: float) -> np.ndarray:
    """The nearest filter whose roots have at most this modulus."""
    if not len(phi):
        return phi
    roots = np.roots(np.concatenate([[1.0], -phi]))
    size = np.abs(roots)
    if size.max() <= largest:
        return phi
    roots = np.where(size > largest, roots * (largest / np.maximum(size, 1e-300)), roots)
    return -np.real(np.poly(roots))[1:]


def autocovariance(phi: np.ndarray, count: int) -> np.ndarray:
    """Autocovariances at lags 0 .. count - 1 for innovations of variance one."""
    if not len(phi):
        return np.eye(1, count)[0]
    impulse = np.zeros(memory(phi) + count)
    impulse[0] = 1.0
    response = lfilter([1.0], np.concatenate([[1.0], -phi]), impulse)
    return np.array([response[: len(response) - k] @ response[k:] for k in range(count)])


def fit_noise(residuals: np.ndarray, jacobian: np.ndarray, max_order: int | None = None, sweeps: int = 60) -> NoiseModel:
    """Noise model of the residuals of a least-squares fit.

    Args:
        residuals: shape [frames, channels]; NaN: missing. Frames that lack any channel are left out of the model
        jacobian: of the parameters that were fitted, shape [frames, channels, p]
        max_order: longest filter; None: 10 log10(frames), at most a tenth of the frames
    """
    complete = np.isfinite(residuals).all(axis=1)
    f = len(residuals)
    if max_order is None:
        max_order = int(min(10.0 * np.log10(max(f, 2)), f / 10.0))
    while max_order > 0 and windows_of(complete, max_order).size < 5 * (max_order + jacobian.shape[-1]):
        max_order -= 1
    used = residuals[complete]
    rotation = np.linalg.eigh(used.T @ used)[1][:, ::-1]
    e = np.where(complete[:, None], np.nan_to_num(residuals), 0.0) @ rotation
    design = np.einsum("fcp,cd->fdp", np.where(complete[:, None, None], np.nan_to_num(jacobian), 0.0), rotation)
    model = _Model(e, _orthonormal(design), complete, max_order)
    for sweep in range(sweeps):
        if model.sweep(choose=sweep < 4) < 1e-3 and sweep >= 4:
            break
    return NoiseModel(rotation, model.phi, model.sigma, model.envelope, model.spread, complete)


def windows_of(complete: np.ndarray, order: int) -> np.ndarray:
    """Frames t for which t - order .. t are all complete."""
    gaps = np.concatenate([[0], np.cumsum(~complete)])
    t = np.arange(order, len(complete))
    return t[gaps[t + 1] == gaps[t - order]]


def _orthonormal(design: np.ndarray) -> np.ndarray:
    """The same column space with orthonormal columns, null directions left out: conditioning only."""
    flat = design.reshape(design.shape[0] * design.shape[1], design.shape[-1])
    if not flat.any():
        return np.zeros((*design.shape[:2], 1))
    size = np.linalg.norm(flat, axis=0)
    u, s, _ = np.linalg.svd(flat / np.where(size > 0.0, size, 1.0), full_matrices=False)
    return u[:, s > 1e-7 * max(s.max(initial=0.0), 1e-300)].reshape(*design.shape[:2], -1)


class _Model:
    """Expectation-maximisation; e [f, c], design [f, c, q]."""

    def __init__(self, e: np.ndarray, design: np.ndarray, complete: np.ndarray, max_order: int) -> None:
        self.e, self.design, self.complete, self.max_order = e, design, complete, max_order
        self.channels, q = e.shape[1], design.shape[-1]
        self.delta, self.root = np.zeros(q), np.zeros((q, q))  # P = root root^T
        self.orders = [max_order] * self.channels
        self.phi = [np.zeros(0)] * self.channels
        self.spread = [np.zeros((0, 0))] * self.channels
        self.sigma = np.eye(self.channels)
        self.envelope = np.ones_like(e)
        self.largest = float(np.exp(-2.0 / max(len(e), 4)))

    def sweep(self, choose: bool) -> float:
        """One maximisation and one expectation; returns the largest change of a log variance."""
        centred = self.e + self.design @ self.delta
        tail = self.design @ self.root
        for c in range(self.channels):
            self._fit_channel(centred[:, c], tail[:, c], c, choose)
        before = np.diag(self.sigma)
        white = [self.whiten(c, centred[:, c]) for c in range(self.channels)]
        rows = self._rows()
        y = np.stack([w[rows] for w in white], axis=1)
        w = np.stack([self.whiten(c, tail[:, c])[rows] for c in range(self.channels)], axis=1)
        self._fit_envelope(rows, y**2 + (w**2).sum(axis=2))
        y, w = y / self.envelope[rows], w / self.envelope[rows][..., None]
        self.sigma = (y.T @ y + np.einsum("tcq,tdq->cd", w, w)) / len(rows)
        # Floor: a channel without residuals (exact data) must not make Sigma singular.
        self.sigma += np.eye(self.channels) * (1e-12 * float(np.trace(self.sigma)) + 1e-300)
        self._expect(rows)
        return float(np.abs(np.log(np.diag(self.sigma) / before)).max())

    def _fit_envelope(self, rows: np.ndarray, squares: np.ndarray) -> None:
        weight = np.zeros(len(self.e))
        weight[rows] = 1.0
        for c in range(self.channels):
            x = np.zeros(len(self.e))
            x[rows] = squares[:, c]
            mean = _running_mean(x, weight) + 1e-300
            # Floor: frames that the noise model thinks exact must not settle delta alone; the fit weighs all frames alike.
            mean = np.maximum(mean, FLOOR * mean.mean())
            self.envelope[:, c] = np.sqrt(mean / mean.mean())

    def _rows(self) -> np.ndarray:
        longest = max(self.orders)
        inner = windows_of(self.complete, longest)
        head = np.arange(longest) if self.complete[:longest].all() else np.arange(0)
        return np.concatenate([head, inner])

    def _fit_channel(self, centred: np.ndarray, tail: np.ndarray, c: int, choose: bool) -> None:
        """phi of one channel from expected lagged products."""
        order = self.max_order if choose else self.orders[c]
        t = windows_of(self.complete, order)
        lagged = np.stack([centred[t - k] for k in range(order + 1)], axis=1)
        rest = np.stack([tail[t - k] for k in range(order + 1)], axis=1)
        products = lagged.T @ lagged + np.einsum("tkq,tlq->kl", rest, rest)
        products += np.eye(order + 1) * (1e-10 * products[0, 0] + 1e-300)
        if choose:
            order = self.orders[c] = _order(products, len(t))
        inner = products[1 : order + 1, 1 : order + 1]
        phi = np.linalg.solve(inner, products[1 : order + 1, 0])
        variance = float(products[0, 0] - phi @ products[1 : order + 1, 0]) / len(t)
        self.phi[c] = stabilised(phi, self.largest)
        self.spread[c] = variance * np.linalg.inv(inner)

    def whiten(self, c: int, x: np.ndarray) -> np.ndarray:
        """Innovations of x [f] or [f, q]; the first frames by the stationary covariance."""
        phi, order = self.phi[c], len(self.phi[c])
        white = lfilter(np.concatenate([[1.0], -phi]), [1.0], x, axis=0)
        if order:
            head = np.linalg.cholesky(toeplitz(autocovariance(phi, order)) + 1e-12 * np.eye(order))
            white[:order] = solve_triangular(head, x[:order], lower=True)
        return white

    def _expect(self, rows: np.ndarray) -> None:
        """delta_hat and P by generalised least squares."""
        half = np.linalg.cholesky(np.linalg.inv(self.sigma))
        g = self.envelope[rows]
        y = np.stack([self.whiten(c, self.e[:, c])[rows] for c in range(self.channels)], axis=1) / g @ half
        w = np.stack([self.whiten(c, self.design[:, c])[rows] for c in range(self.channels)], axis=1) / g[..., None]
        w = np.einsum("tcq,cd->tdq", w, half).reshape(w.shape[0] * w.shape[1], w.shape[2])
        u, s, vt = np.linalg.svd(w, full_matrices=False)
        inverse = np.divide(1.0, s, out=np.zeros_like(s), where=s > 1e-12 * s.max())
        self.delta = -vt.T @ ((u.T @ y.ravel()) * inverse)
        self.root = vt.T * inverse


def _order(products: np.ndarray, count: int) -> int:
    """Order with the smallest AICc, from lagged products [max + 1, max + 1] of ``count`` windows."""
    scores = []
    for k in range(len(products)):
        cross = products[1 : k + 1, 0]
        left = float(products[0, 0] - cross @ np.linalg.solve(products[1 : k + 1, 1 : k + 1], cross)) if k else products[0, 0]
        penalty = 2.0 * (k + 1) * count / max(count - k - 2, 1)
        scores.append(count * np.log(max(left, 1e-300) / count) + penalty)
    return int(np.argmin(scores))
