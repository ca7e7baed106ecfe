"""What a fit says of itself in plain words, line by line."""

import numpy as np

SURPRISING = 3.0  # times the data's own noise: residuals beyond are told


def value_lines(values: dict, units: dict, bounds: dict, sentences: dict, level: float) -> list[str]:
    """On what was found.

    Args:
        values, units, bounds: name -> estimate, unit, (lower, upper).
        sentences: name -> what is to be said instead of a value that the data do not tell.
        level: of the intervals.
    """
    lines = []
    for name, value in values.items():
        low, high = bounds[name]
        unit = f" {units[name]}" if units[name] else ""
        lines.append(sentences.get(name) or f"{name} = {value:.4g}{unit}, {100 * level:g} % interval {low:.4g} to {high:.4g}")
    return lines + [text for name, text in sentences.items() if name not in values]


def term_lines(terms: list, stated: list) -> list[str]:
    """On the residuals of terms whose data have the noise `stated` by themselves, and what the terms remark."""
    lines = []
    for term, noise in zip(terms, stated, strict=True):
        unit = {"mask": " pixel", "colour": ""}.get(term.name.split()[0], " m")
        lines.append(f"{term.name}: residuals of {term.sigma:.3g}{unit}")
        if term.sigma > SURPRISING * noise:
            lines[-1] += f", {term.sigma / noise:.1f} times the data's own noise: the model, its shape or its start is off"
    return lines + [term.remark for term in terms if getattr(term, "remark", "")]


def step_lines(dt: float, moved: dict, settled: bool) -> list[str]:
    """On the length of the steps, and what it does to the number that it moves most.

    Args:
        dt: step of the simulation [s].
        moved: name -> change of its logarithm by half the step; empty: it was not tried.
        settled: whether that is little; else the step was halved and is now dt.
    """
    if not moved:
        return []
    name = max(moved, key=lambda one: abs(moved[one]))
    change = f"{name} by {100 * np.expm1(abs(moved[name])):.2g} %"
    return [f"steps of {1e3 * dt:.3g} ms: {'half of them would move' if settled else 'the last halving moved'} {change}"]
