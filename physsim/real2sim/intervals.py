"""Intervals for fitted parameters when the residuals are correlated, and a plain statement where the data cannot tell.

A least-squares estimate with residuals r [frames, channels] and Jacobian J = dr/dz at the estimate has

    z_hat - z = -H^-1 J^T e,    H = J^T J,    Cov(z_hat) = H^-1 B H^-1,    B = Cov(J^T e)

    z   scaled parameters (logarithms of positive ones) [p]
    e   the data's errors, correlated in time and across channels; the weights are those of the caller

White residuals give B = s^2 H. Real ones do not: a model that is a little wrong errs in the same direction for many frames, and the
white formula is then too narrow several times over. B comes from the autoregressive model of :mod:`physsim.real2sim.noise`.
Its own uncertainty gives effective degrees of freedom (Satterthwaite) and with them Student's quantile.

A direction of z along which the data say next to nothing is *flat*; the parameters that take part in it get a sentence instead of
trust in a number.

Valid for estimates close to linear in the data, inside their bounds, with residuals that are stationary or nearly so. An error common to
all recordings (a wrong length, say) leaves no trace in the residuals and is not covered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from scipy.stats import t as student

from physsim.errors import InputError
from physsim.real2sim.least_squares import Variable, to_user
from physsim.real2sim.noise import NoiseModel, fit_noise

# Singular values below this share of the largest are rounding of the Jacobian, not information.
NULL_SHARE = 1e-7
# A parameter whose share of a flat direction is smaller is a bystander.
BYSTANDER = 0.1
MIN_FREEDOM = 3.0


@dataclass(frozen=True)
class Intervals:
    """Intervals of p parameters.

    Attributes:
        names: parameters, p strings
        level: of confidence, for example 0.95
        estimate, lower, upper: user units, shape [p]; a parameter without any information gets 0 (log) or -inf, and inf
        std: standard deviation in scaled space (log: relative), shape [p]
        covariance: in scaled space, shape [p, p]; NaN rows for parameters on a bound or without information
        freedom: effective degrees of freedom of each std, shape [p]
        orders: autoregressive orders of the noise model, one a (rotated) channel
        undetermined: name -> sentence; empty when the data determine everything
        not_determined: combinations along which the data say next to nothing, for example "young * density"
        determined: combinations of the undetermined parameters that the data do fix, for example "young / density"
    """

    names: tuple[str, ...]
    level: float
    estimate: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    std: np.ndarray
    covariance: np.ndarray
    freedom: np.ndarray
    orders: tuple[int, ...]
    undetermined: dict[str, str]
    not_determined: tuple[str, ...]
    determined: tuple[str, ...]

    def interval(self, name: str) -> tuple[float, float]:
        """(lower, upper) of one parameter in user units."""
        if name not in self.names:
            raise KeyError(f"no parameter {name!r}; there are {', '.join(self.names)}")
        i = self.names.index(name)
        return float(self.lower[i]), float(self.upper[i])

    def text(self) -> str:
        """One line a parameter: its interval, or why there is none."""
        lines = []
        for i, name in enumerate(self.names):
            span = f"{name} = {self.estimate[i]:.5g}, {100.0 * self.level:g} % interval {self.lower[i]:.5g} to {self.upper[i]:.5g}"
            lines.append(self.undetermined.get(name, span))
        return "\n".join(lines)


def intervals(
    variables: Sequence[Variable],
    scaled: np.ndarray,
    residuals: np.ndarray,
    jacobian: np.ndarray,
    *,
    level: float = 0.95,
    factor: float = 10.0,
    max_order: int | None = None,
    nuisance: np.ndarray | None = None,
) -> Intervals:
    """Intervals from the residuals and Jacobian of a finished least-squares fit.

    Args:
        variables: the parameters that were fitted
        scaled: the estimate in scaled space, shape [p]
        residuals: as they were minimised, frames at (nearly) uniform times, shape [f, channels]; NaN: missing
        jacobian: d residuals / d scaled, shape [f, channels, p]
        level: of confidence
        factor: a parameter whose interval's ends differ by more than this factor (linear scale: by more than ln(factor) of
            its variable's size) counts as undetermined
        max_order: longest autoregressive filter; None: from the number of frames
        nuisance: derivative of the residuals by what else was fitted and is eliminated from `jacobian` already, shape [f, channels, q]:
            the fit has swallowed what looks like it, too

    Raises:
        InputError: shapes that do not fit, too few frames, no finite residual
    """
    variables, scaled = tuple(variables), np.asarray(scaled, dtype=float)
    residuals, jacobian = np.asarray(residuals, dtype=float), np.asarray(jacobian, dtype=float)
    _check(variables, scaled, residuals, jacobian, level)
    p = len(variables)
    size = np.array([v.size for v in variables])
    seen = np.isfinite(residuals)
    design = np.where(seen[..., None], jacobian, 0.0) * size
    free = ~_on_bound(variables, scaled)
    known, null = _directions(design[..., free])
    basis = np.zeros((p, known.shape[1]))
    basis[free] = known
    swallowed = design @ basis
    if nuisance is not None:
        swallowed = np.concatenate([swallowed, np.where(seen[..., None], nuisance, 0.0)], axis=2)
    noise = fit_noise(residuals, swallowed, max_order)
    spread, freedom = _covariance(residuals, design @ basis, basis, noise)
    null_share = np.zeros(p)
    null_share[free] = np.sqrt((null**2).sum(axis=1))
    blind = ~free | (null_share > 1e-3)
    std = np.where(blind, np.inf, np.sqrt(np.diag(spread)))
    quantile = student.ppf(0.5 + 0.5 * level, freedom)
    half, limit = quantile * std, np.log(factor)
    flat = _flat(spread, null, free, basis, 2.0 * quantile.max(), limit)
    undetermined, not_determined, determined = _statements(variables, scaled, half * size, 2.0 * half > limit, free, flat, level)
    covariance = spread * np.outer(size, size)
    covariance[blind] = covariance[:, blind] = np.nan
    return Intervals(
        names=tuple(v.name for v in variables),
        level=level,
        estimate=to_user(variables, scaled),
        lower=to_user(variables, scaled - half * size),
        upper=to_user(variables, scaled + half * size),
        std=std * size,
        covariance=covariance,
        freedom=freedom,
        orders=noise.orders,
        undetermined=undetermined,
        not_determined=not_determined,
        determined=determined,
    )


def frames_needed(parameters: int) -> int:
    """Frames with every channel without which there are no intervals of so many parameters."""
    return 10 + 2 * parameters


def _check(variables: tuple, scaled: np.ndarray, residuals: np.ndarray, jacobian: np.ndarray, level: float) -> None:
    p = len(variables)
    if residuals.ndim != 2 or jacobian.shape != (*residuals.shape, p) or scaled.shape != (p,):
        raise InputError(
            f"residuals {residuals.shape}, jacobian {jacobian.shape}, scaled {scaled.shape}, {p} variables: "
            "must be [frames, channels], [frames, channels, p], [p]"
        )
    if not 0.0 < level < 1.0:
        raise InputError(f"level = {level}: must lie between 0 and 1; 0.95 is usual")
    complete = int(np.isfinite(residuals).all(axis=1).sum())
    if complete < frames_needed(p):
        text = f"{complete} frames have every channel: {frames_needed(p)} are needed for {p} parameters"
        raise InputError(f"{text}; give more frames, drop channels with many gaps, or fit fewer parameters")
    if not np.isfinite(jacobian[np.isfinite(residuals)]).all():
        raise InputError("the jacobian holds NaN or infinite values where there are residuals")


def _on_bound(variables: tuple[Variable, ...], scaled: np.ndarray) -> np.ndarray:
    slack = 1e-9 * np.array([v.size for v in variables])
    lower = np.array([float(v.scaled(v.lower)) for v in variables])
    upper = np.array([float(v.scaled(v.upper)) for v in variables])
    return (scaled <= lower + slack) | (scaled >= upper - slack)


def _directions(design: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Orthonormal directions [q, known] that move the residuals at all, and [q, null] that do not."""
    flat = design.reshape(design.shape[0] * design.shape[1], design.shape[-1])
    if not flat.shape[1]:
        return np.zeros((0, 0)), np.zeros((0, 0))
    _, s, vt = np.linalg.svd(flat, full_matrices=True) if flat.shape[0] < flat.shape[1] else np.linalg.svd(flat, full_matrices=False)
    s = np.concatenate([s, np.zeros(len(vt) - len(s))])
    known = s > NULL_SHARE * max(float(s.max(initial=0.0)), 1e-300)
    return vt[known].T, vt[~known].T


def _covariance(residuals: np.ndarray, design: np.ndarray, basis: np.ndarray, noise: NoiseModel) -> tuple[np.ndarray, np.ndarray]:
    """Sandwich covariance [p, p] and effective degrees of freedom [p]; design [f, c, q] in the basis [p, q]."""
    rotated = np.einsum("fcq,cd->fdq", design, noise.rotation)
    # Influence of each channel's errors on each parameter, filtered: Cov = sum_cd Sigma_cd influence_c^T influence_d.
    weights = basis @ np.linalg.pinv(np.einsum("fcq,fcr->qr", design, design), rcond=1e-15, hermitian=True)
    influence = rotated @ weights.T
    channels, p = range(rotated.shape[1]), len(basis)
    filtered = [noise.smoothed(influence, c) for c in channels]
    spread = np.zeros((p, p))
    for c in channels:
        for d in channels:
            n = min(len(filtered[c]), len(filtered[d]))
            spread += noise.innovations[c, d] * filtered[c][-n:].T @ filtered[d][-n:]
    variance = np.maximum(np.diag(spread), 1e-300)
    doubt = np.zeros(p)
    for c in channels:
        own = noise.innovations[c, c] * (filtered[c] ** 2).sum(axis=0)
        doubt += (own / variance) ** 2 * _relative_doubt(noise, influence, c)
    return spread, np.maximum(2.0 / np.maximum(doubt, 1e-12), MIN_FREEDOM)


def _relative_doubt(noise: NoiseModel, influence: np.ndarray, channel: int) -> np.ndarray:
    """Relative variance [p] of one channel's share of the variance: from its innovations' variance and its phi."""
    phi, cov = noise.coefficients[channel], noise.spread[channel]
    doubt = noise.variance_doubt(noise.smoothed(influence, channel), channel)
    if not len(phi):
        return doubt
    # Differences of the logarithm along the principal axes of phi's uncertainty, a fraction of one deviation.
    size, axes = np.linalg.eigh(cov)
    base = np.log((noise.smoothed(influence, channel) ** 2).sum(axis=0) + 1e-300)
    for i in range(len(phi)):
        step = 0.05 * np.sqrt(max(size[i], 0.0))
        if step == 0.0:
            continue
        moved = [noise.smoothed(influence, channel, _kept_stable(phi, s * step * axes[:, i])) for s in (-1.0, 1.0)]
        logs = [np.log((m**2).sum(axis=0) + 1e-300) for m in moved]
        slope = np.maximum(np.abs(logs[0] - base), np.abs(logs[1] - base)) / 0.05
        doubt = doubt + slope**2
    return doubt


def _kept_stable(phi: np.ndarray, change: np.ndarray) -> np.ndarray:
    moved = phi + change
    return moved if np.abs(np.roots(np.concatenate([[1.0], -moved]))).max() < 0.9999 else phi


def _flat(spread: np.ndarray, null: np.ndarray, free: np.ndarray, basis: np.ndarray, quantile: float, limit: float) -> np.ndarray:
    """Flat directions of scaled space, [p, k]: null, or wider than the limit."""
    size, axes = np.linalg.eigh(basis.T @ spread @ basis)
    axes = basis @ axes
    wide = quantile * np.sqrt(np.maximum(size, 0.0)) > limit
    whole = np.zeros((len(free), null.shape[1]))
    whole[free] = null
    return np.concatenate([whole, axes[:, wide]], axis=1)


def _statements(
    variables: tuple[Variable, ...],
    scaled: np.ndarray,
    half: np.ndarray,
    wide: np.ndarray,
    free: np.ndarray,
    flat: np.ndarray,
    level: float,
) -> tuple[dict[str, str], tuple[str, ...], tuple[str, ...]]:
    """Sentences for the parameters that the data cannot tell, and the combinations that they can and cannot."""
    in_flat = np.sqrt((flat**2).sum(axis=1)) > BYSTANDER if flat.shape[1] else np.zeros(len(variables), dtype=bool)
    together = np.flatnonzero(in_flat)
    not_determined = tuple(combination(variables, d) for d in _sparse(flat, together))
    determined = tuple(combination(variables, d) for d in _complement(flat, together)) if len(together) > 1 else ()
    sentences = {}
    for i, v in enumerate(variables):
        unit = f" {v.unit}" if v.unit else ""
        value = float(v.user(scaled[i]))
        if not free[i]:
            sentences[v.name] = (
                f"{v.name} is undetermined: the fit ended on its bound, {value:.5g}{unit}; the data ask for a value beyond it. "
                "Widen the bound or fix the parameter."
            )
        elif wide[i] or in_flat[i]:
            ends = f"{float(v.user(scaled[i] - half[i])):.3g} to {float(v.user(scaled[i] + half[i])):.3g}{unit}"
            known = (
                "it has no effect on the residuals"
                if not np.isfinite(half[i]) and len(together) < 2
                else ("any value fits" if not np.isfinite(half[i]) else f"the {100.0 * level:g} % interval runs from {ends}")
            )
            sentence = f"{v.name} is undetermined by this motion: {known}."
            if determined and in_flat[i]:
                sentence += f" Only {_listed(determined)} {'is' if len(determined) == 1 else 'are'} determined; "
                sentence += f"{_listed(not_determined)} {'is' if len(not_determined) == 1 else 'are'} not."
            sentences[v.name] = sentence
    return sentences, not_determined, determined


def _listed(items: Sequence[str]) -> str:
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + " and " + items[-1]


def _complement(flat: np.ndarray, members: np.ndarray) -> list[np.ndarray]:
    """Sparse combinations of the members that do not change along any flat direction, each [p]."""
    u, s, _ = np.linalg.svd(flat[members], full_matrices=True)
    rank = int((s > 0.3).sum())
    whole = np.zeros((len(flat), len(members) - rank))
    whole[members] = u[:, rank:]
    return _sparse(whole, members)


def _sparse(directions: np.ndarray, members: np.ndarray) -> list[np.ndarray]:
    """The same span by rows with as many zeros as elimination gives (reduced echelon form), small entries dropped."""
    rows = directions[members].T.copy()
    rows[np.abs(rows) < 0.5 * BYSTANDER] = 0.0
    taken = 0
    for column in range(rows.shape[1]):
        pivot = taken + int(np.argmax(np.abs(rows[taken:, column]))) if taken < len(rows) else taken
        if taken >= len(rows) or abs(rows[pivot, column]) < BYSTANDER:
            continue
        rows[[taken, pivot]] = rows[[pivot, taken]]
        rows[taken] /= rows[taken, column]
        others = np.arange(len(rows)) != taken
        rows[others] -= np.outer(rows[others, column], rows[taken])
        taken += 1
    result = []
    for row in rows[:taken]:
        whole = np.zeros(len(directions))
        whole[members] = np.where(np.abs(row) < BYSTANDER * np.abs(row).max(), 0.0, row)
        result.append(whole)
    return result


def combination(variables: Sequence[Variable], direction: np.ndarray) -> str:
    """A combination in words: a product of powers if every member is on a log scale, else a sum over the members' sizes."""
    members = np.flatnonzero(direction)
    powers = direction[members] / np.abs(direction[members]).max()
    if powers[np.argmax(powers != 0.0)] < 0.0:
        powers = -powers
    if len(members) == 1:
        return variables[members[0]].name
    if any(variables[i].scale != "log" for i in members):
        terms = []
        for i, w in zip(members, powers, strict=True):
            v = variables[i]
            what = f"ln({v.name})" if v.scale == "log" else v.name
            terms.append(f"{'-' if w < 0 else '+'} {abs(w) / v.size:.3g} {what}")
        return " ".join(terms).removeprefix("+ ")
    top = [_power(variables[i].name, w) for i, w in zip(members, powers, strict=True) if w > 0.0]
    bottom = [_power(variables[i].name, -w) for i, w in zip(members, powers, strict=True) if w < 0.0]
    if not bottom:
        return " * ".join(top)
    return f"{' * '.join(top)} / {bottom[0] if len(bottom) == 1 else '(' + ' * '.join(bottom) + ')'}"


def _power(name: str, exponent: float) -> str:
    near = Fraction(exponent).limit_denominator(4)
    shown = near if abs(float(near) - exponent) < 0.04 else None
    if shown == 1:
        return name
    return f"{name}^({shown})" if shown is not None and shown.denominator > 1 else f"{name}^{shown or f'{exponent:.2f}'}"
