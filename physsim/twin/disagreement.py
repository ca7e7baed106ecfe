"""Whether sensors agree: what a fit would find without each of them.

Where the model, the hold or the start is a little wrong, each sensor is misled its own way, and intervals that stand on noise alone are
too narrow. An estimate that one sensor moves by more than the others' interval shows it; the interval then reaches to where it would be
without that one.
"""

import numpy as np

from physsim.twin.uncertainty import determine

LEAST = 0.01  # of a variable's size: a change that is too small to be told


def newton_step(residuals: np.ndarray, jacobian: np.ndarray) -> np.ndarray:
    """Gauss-Newton step in scaled space, shape [p], from residuals [rows] and their Jacobian [rows, p]."""
    scale = np.maximum(np.linalg.norm(jacobian, axis=0), 1e-300)
    return np.linalg.lstsq(jacobian / scale, -residuals, rcond=1e-8)[0] / scale


def without_each(problem: object, scaled: np.ndarray, bounds: dict, level: float, excess: float) -> tuple[dict, list[str]]:
    """Intervals that reach to what a fit would find without one of its terms, where that is further than chance would move it.

    Args:
        problem: TwinProblem that was evaluated at `scaled`.
        scaled: the estimate in scaled space, shape [p].
        bounds: name -> (lower, upper) in user units of the wanted unknowns.
        level, excess: as of `determine`.

    Returns:
        (The intervals, a line for each term and number that disagree.)
    """
    out, lines = dict(bounds), []
    wanted = [(i, u.variable) for i, u in enumerate(problem.unknowns) if u.wanted]
    for index, term in enumerate(problem.terms if len(problem.terms) > 1 else ()):
        rest = problem.without(index)
        residuals, jacobian = (part[0] for part in rest(np.tile(scaled, (rest.model.envs, 1))))
        step = newton_step(residuals, jacobian)
        ends, _ = determine(rest, scaled, residuals, jacobian, level, excess)
        for i, v in wanted:
            low, high = (float(v.scaled(end)) for end in ends[v.name])
            if not max(0.5 * (high - low), LEAST * v.size) < abs(step[i]):
                continue
            value = float(np.clip(v.user(scaled[i] + step[i]), v.lower, v.upper))
            out[v.name] = min(out[v.name][0], value), max(out[v.name][1], value)
            unit = f" {v.unit}" if v.unit else ""
            told = f"without {term.name} {v.name} would be {value:.4g}{unit}"
            lines.append(f"{told}: sensors differ by more than their noise, and its interval reaches there")
    return out, lines
