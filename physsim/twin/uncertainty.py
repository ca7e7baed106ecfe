"""How sure a fit is of its numbers, and which further motion would tell what this one cannot.

Nuisances b (the start of the motion, say) are eliminated: with J = [A B] the estimates of the wanted unknowns err by

    delta a = -(A'^T A')^-1 A'^T e,    A' = A - B (B^T B)^-1 B^T A

and each frame enters by as many numbers as there are wanted unknowns: with A'_f^T A'_f = S_f^2 (S_f symmetric, so that it changes as
smoothly as the motion) the frame's Jacobian is S_f and its residuals are S_f^-1 A'_f^T r_f. The same normal equations result, and
`physsim.real2sim.intervals` takes the correlation from frame to frame into account. Where what is far off pulls less the cost is flatter
than those equations say (`TwinProblem.flatness`), and intervals are wider by as much.

Where residuals exceed the data's own noise the model is off, by something that every part of the motion shows in its own way: intervals
are then no narrower than the scatter of what is found without one part after the other. An estimate on its bound says that the model's
errors outweigh what the data say of it; what it may be is then all that is possible.
"""

import numpy as np
from scipy.stats import t as student

from physsim.physics.solvers.linear import one_blas_thread
from physsim.real2sim.intervals import frames_needed, intervals

INFORMED = 1e-12  # eigenvalues of a frame's normal matrix below this share of the largest are rounding
EXCESS = 1.3  # times the data's own noise, from which residuals show that the model is off
PARTS = 6  # of the motion, each left out once
MOST_OF_RANGE = 0.6  # an interval that covers this share of what is possible tells nothing
INNER = 1e-6  # of a variable's size: how far within its bound an estimate on it is taken to lie

ADVICE = {
    "young": "pull, press or bend it by the handle so that its shape changes visibly, or let it swing",
    "stretch": "pull it taut by the handles",
    "shear": "move two handles so that it is sheared",
    "bending": "let it hang over an edge or fold it slowly",
    "stiffness": "pull it by the handles so that its shape changes visibly",
    "poisson": "squeeze or stretch it while its sides are seen",
    "viscosity": "let it swing freely and record until it rests",
    "damping": "let it swing freely and record until it rests",
    "stretch_damping": "pull it taut and let it spring back",
    "bending_damping": "let it swing freely and record until it rests",
    "mass_damping": "let it swing freely and record until it rests",
    "friction": "let it slide on the ground",
    "hold_stiffness": "jerk the handle, so that the held part lags behind it",
    "density": "weigh it; a motion under known handles tells stiffness over density only",
    "time_offset": "begin or stop the handle's motion abruptly",
    "camera_turn": "move the handle far along all three axes",
    "camera_shift": "move the handle far along all three axes, and turn it",
    "gravity_tilt": "let it hang freely at rest",
}


def advice(name: str) -> str:
    """Which further motion would tell a parameter, as an order; "" where none is known."""
    base = name.split("[")[0]
    for key in sorted(ADVICE, key=len, reverse=True):
        if base == key or base.startswith(f"{key}_"):
            return ADVICE[key]
    return ""


def determine(
    problem: object, scaled: np.ndarray, residuals: np.ndarray, jacobian: np.ndarray, level: float, excess: float = 1.0
) -> tuple[dict, dict]:
    """Intervals of the wanted unknowns, and sentences on those that the data do not tell.

    Args:
        problem: TwinProblem.
        scaled: the estimate in scaled space, shape [p].
        residuals, jacobian: of the problem at the estimate, shapes [rows] and [rows, p].
        level: of the intervals.
        excess: largest share of the residuals in the data's own noise.

    Returns:
        (name -> (lower, upper) in user units; name -> sentence).
    """
    wanted = [i for i, u in enumerate(problem.unknowns) if u.wanted]
    variables = [problem.unknowns[i].variable for i in wanted]
    sizes = np.array([v.size for v in variables])
    frames, design, nuisance = _frames(problem, wanted, residuals, jacobian)
    inner = _inside(variables, scaled[wanted])
    with one_blas_thread():
        if len(frames) >= frames_needed(len(wanted)):
            found = intervals(variables, inner, frames, design, level=level, nuisance=nuisance)
            half, text = _half(variables, inner, found), found.undetermined
        else:
            half, text = _few_frames(frames, design, level), {}
        half = problem.flatness[0] * half
        if excess > EXCESS and len(frames) >= 2 * PARTS:
            half = np.maximum(half, _without_parts(frames, design, sizes, level))
        low, high = (np.array([float(v.user(z + s * h)) for v, z, h in zip(variables, inner, half)]) for s in (-1, 1))
    bounds, sentences = {}, {}
    for k, (i, v) in enumerate(zip(wanted, variables, strict=True)):
        name = v.name
        ends = _ends(v, low[k], high[k])
        bounds[name] = ends
        sentence = text.get(name, "")
        bounded = v.scale == "linear" and np.isfinite(v.upper - v.lower)  # the interval is what is possible of what the data leave
        if (sentence and bounded) or (not sentence and _says_nothing(v, ends)):
            sentence = f"{name} is undetermined by this motion: the {100 * level:g} % interval runs from {ends[0]:.3g} to {ends[1]:.3g}"
            sentence += f"{' ' * bool(v.unit)}{v.unit}."
        if _at_bound(v, scaled[i], sizes[k]) and (bounded or not sentence):
            value = f"{float(v.user(scaled[i])):.4g}{' ' * bool(v.unit)}{v.unit}"
            sentence = f"{name} = {value} lies on its bound; the data ask for a value beyond it."
            if bounded:
                bounds[name] = v.lower, v.upper
                sentence += f" It is undetermined and may lie anywhere from {v.lower:.3g} to {v.upper:.3g}."
        if sentence:
            sentences[name] = _with_advice(sentence, name)
    return bounds, sentences


def _with_advice(sentence, name):
    further = advice(name)
    return sentence + (f" To tell it: {further}." if further else "")


def _frames(problem, wanted, residuals, jacobian):
    """Residuals [frames, a], Jacobian [frames, a, a] and that of the nuisances [frames, a, q]; the nuisances' priors are the last frame."""
    p = jacobian.shape[1]
    others = [i for i in range(p) if i not in wanted]
    rows = len(problem.frames) * (p + 1)
    keep = np.ones(len(residuals), bool)
    for k, i in enumerate(problem._priors):
        keep[rows + k] = i in others  # what is assumed of a wanted unknown is no evidence
    residuals, jacobian = residuals[keep], jacobian[keep]
    a, b = jacobian[:, wanted], jacobian[:, others]
    if others:
        scale = np.maximum(np.linalg.norm(b, axis=0), 1e-300)
        a = a - (b / scale) @ np.linalg.lstsq(b / scale, a, rcond=1e-10)[0]
    blocks = [slice(f * (p + 1), (f + 1) * (p + 1)) for f in range(len(problem.frames))]
    if len(residuals) > rows:
        blocks.append(slice(rows, len(residuals)))
    sizes = np.array([problem.unknowns[i].variable.size for i in wanted])
    largest = max(float(np.linalg.norm(a * sizes)) ** 2, 1e-300)
    out = [_root(a[one] * sizes, residuals[one], b[one], largest) for one in blocks]
    frames, design, nuisance = (np.stack(part) for part in zip(*out, strict=True))
    return frames, design / sizes, nuisance


def _root(a, r, b, largest):
    """(S^-1 A^T r, S, S^-1 A^T B) of one frame."""
    values, vectors = np.linalg.eigh(a.T @ a)
    root = np.sqrt(np.maximum(values, 0.0))
    inverse = np.where(values > INFORMED * largest, 1.0 / np.where(root > 0, root, 1.0), 0.0)
    left = (vectors * inverse) @ vectors.T @ a.T
    return left @ r, (vectors * root) @ vectors.T, left @ b


def _half(variables, scaled, found):
    """Half widths in scaled space of Intervals about an estimate; infinite where nothing is known."""
    with np.errstate(divide="ignore"):
        high = np.array([float(v.scaled(h)) for v, h in zip(variables, found.upper, strict=True)])
    return np.where(np.isfinite(found.std), high - scaled, np.inf)


def _few_frames(frames, design, level):
    """Half widths in scaled space from the scatter of the frames' scores, where they are too few for a model of their correlation."""
    score = np.einsum("fca,fc->fa", design, frames)
    normal = np.einsum("fca,fcb->ab", design, design)
    inverse = np.linalg.pinv(normal, rcond=1e-12, hermitian=True)
    freedom = max(len(frames) - design.shape[2], 1)
    spread = inverse @ (score.T @ score) @ inverse * len(frames) / freedom
    seen = np.diag(normal) > 1e-12 * max(float(np.diag(normal).max()), 1e-300)
    return np.where(seen, student.ppf(0.5 + 0.5 * level, freedom) * np.sqrt(np.maximum(np.diag(spread), 0.0)), np.inf)


def _without_parts(frames, design, sizes, level):
    """Half widths in scaled space from the estimates without one part of the motion after the other (jackknife)."""
    parts = np.array_split(np.arange(len(frames)), PARTS)
    slopes = design * sizes
    score = np.stack([np.einsum("fca,fc->a", slopes[one], frames[one]) for one in parts])
    normal = np.stack([np.einsum("fca,fcb->ab", slopes[one], slopes[one]) for one in parts])
    left = [np.linalg.pinv(normal.sum(axis=0) - own, rcond=1e-12, hermitian=True) for own in normal]
    moved = np.stack([inverse @ (score.sum(axis=0) - own) for inverse, own in zip(left, score, strict=True)])
    spread = np.sqrt((PARTS - 1) / PARTS * ((moved - moved.mean(axis=0)) ** 2).sum(axis=0))
    return student.ppf(0.5 + 0.5 * level, PARTS - 1) * spread * sizes


def _inside(variables, scaled):
    """Estimates moved off their bounds, so that their intervals can be told."""
    out = []
    for v, z in zip(variables, scaled, strict=True):
        low, high = float(v.scaled(v.lower)), float(v.scaled(v.upper))
        out.append(np.clip(z, low + INNER * v.size, high - INNER * v.size))
    return np.array(out)


def _ends(v, low, high):
    """An interval within what is possible."""
    low = v.lower if np.isnan(low) else max(float(low), v.lower)
    high = v.upper if np.isnan(high) else min(float(high), v.upper)
    return min(low, v.upper), max(high, v.lower)


def _says_nothing(v, ends):
    if v.scale == "log":
        return not (ends[0] > 0 and ends[1] < 10.0 * ends[0])
    return bool(np.isfinite(v.upper - v.lower)) and v.name == "poisson" and ends[1] - ends[0] > MOST_OF_RANGE * (v.upper - v.lower)


def _at_bound(v, scaled, size):
    return scaled <= float(v.scaled(v.lower)) + 1e-9 * size or scaled >= float(v.scaled(v.upper)) - 1e-9 * size


def wanted_values(problem: object, scaled: np.ndarray) -> tuple[dict, dict]:
    """Values and units of the wanted unknowns at a scaled estimate [p]."""
    values = {u.name: float(u.variable.user(scaled[i])) for i, u in enumerate(problem.unknowns) if u.wanted}
    return values, {u.name: u.variable.unit for u in problem.unknowns if u.wanted}


def density_sentence(scene: object, values: dict) -> dict:
    """That density was assumed, where it was neither known nor fitted; empty else."""
    known = scene.capture.known
    key = next((k for k in ("density", "area_density", "line_density", "mass") if k in scene.parameters), None)
    if known.mass is not None or known.density is not None or key is None or any(n.startswith(key) for n in values):
        return {}
    assumed = float(np.mean(scene.parameters[key].value))
    ratio = next((n for n in values if any(n.startswith(k) for k in ("young", "stretch", "bending", "stiffness"))), None)
    text = f"{key} is undetermined by this motion: {assumed:.4g} {scene.parameters[key].unit} was assumed."
    if ratio is not None:
        text += f" Only {ratio} / {key} = {values[ratio] / assumed:.4g} is determined; other stiffnesses and dampings go along."
    return {key: _with_advice(text, "density")}
