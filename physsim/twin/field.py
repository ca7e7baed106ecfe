"""Stiffness that differs from place to place: as a smooth field, or by part, with the parts given or found.

Parts are found in four steps. A field that is constant on compact patches is fitted by Gauss-Newton on the simulation's tangents, one
direction a patch, with a prior that ties neighbours. In the linear model that results the patches are sorted into the few parts that
explain the data best, with borders as short as they allow. Then the borders are moved by Gauss-Newton through the simulation itself: each
cell is a blend of parts by its distance from the border, and the border's displacement is a smooth field. Last every part gets one value,
with an interval, by the general fit; parts that the data do not tell apart become one, and there are no more of them than it takes to
leave the data's noise. Damping goes along with stiffness.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from scipy.stats import norm

from physsim.errors import InputError
from physsim.physics import validation
from physsim.physics.fields import cells_of, region_basis, smooth_columns
from physsim.real2sim.least_squares import MAX_ITERATIONS
from physsim.twin.field_maps import border_field
from physsim.twin.field_stages import FieldStages
from physsim.twin.identification import identify_twin, predict
from physsim.twin.parts import neighbours, partitions, tidy
from physsim.twin.results import TwinFit
from physsim.twin.terms import default_terms
from physsim.twin.uncertainty import EXCESS, density_sentence, determine, wanted_values
from physsim.twin.unknowns import STIFFNESSES, chosen_unknowns, part_unknowns

PATCHES = 16  # of which parts are made
COLUMNS = 20  # of a smooth field
MODES = 6  # smooth displacements of a border
WIDTHS = (2.0, 1.0)  # of the blend at a border, in cells, round by round
SMALLEST = 0.03  # share of the body below which an island is no part
CHANCE = 4.0  # times what free patches explain of errors alone, that they have to explain
WORTH = 0.1  # share of the misfit of one part that a further part has to explain
TOLD_APART = 3.0  # standard deviations by which the ratio of two parts exceeds the least one that counts
BORDER = {"max_iterations": 8, "relative_decrease": 2e-3, "gradient": 3e-3, "step_size": 3e-3, "damping": 1e-2}


def identify_field_twin(
    scene: object,
    terms: list | None = None,
    *,
    names: str | Sequence[str] | None = None,
    basis: str | np.ndarray = "parts",
    fit: TwinFit | None = None,
    start: object = None,
    unknowns: object = None,
    count: int | None = None,
    most_parts: int = 3,
    least_ratio: float = 1.3,
    seed: int = 0,
    progress: Callable | None = None,
    level: float = 0.95,
    **options: object,
) -> TwinFit:
    """Fit stiffness that differs from place to place.

    Args:
        scene: TwinScene of one environment.
        terms: as `identify_twin`.
        names: of the parameters that have one value a cell and vary together, such as "young"; None: the fitted stiffnesses of the body.
        basis: "smooth": a smooth field of `count` columns; "parts": parts that are found; or the part of each cell, whole numbers from 0.
        fit: of the body as if it were the same everywhere, from where this one begins; None: it is made first.
        start: Start; None: found.
        unknowns: as `identify_twin`: what is fitted beside.
        count: of smooth columns, or of the patches from which parts are made; None: 20.
        most_parts: that are looked for.
        least_ratio: of the stiffnesses of two parts; what does not differ by more, beyond the uncertainty of either, counts as the same,
            because that much a mesh's own error may do.
        seed: of the patches.
        progress: called as progress(stage, horizon [s], iteration, cost, values).
        level: of the intervals.
        options: of `identify_twin` for the fits of numbers.

    Returns:
        TwinFit: `field` holds the values a cell; where there are parts, `parts` holds their labels and `values` "young[0]", "young[1]", ...
        in the order of falling size. One part: the values of the homogeneous fit.

    Raises:
        InputError: a parameter without a value a cell, labels of another length, a basis of another name.
        SolverError: no candidate could be simulated.
    """
    wanted = chosen_unknowns(scene, unknowns)
    names = _names(scene, names, wanted)
    others = [u for u in wanted if u.name not in names]
    if not isinstance(basis, str):
        labels = validation.array("basis", basis, scene.parameters[names[0]].shape, kind="i", lower=0)
        region_basis(labels)
    elif basis not in ("smooth", "parts"):
        raise InputError(f'basis = {basis!r}: "smooth", "parts" or labels of the cells are needed')
    if start is None:
        from physsim.twin.start import find_start

        start = find_start(scene, seed=seed)
    terms = default_terms(scene, seed=seed) if terms is None else list(terms)
    stated = [term.sigma for term in terms]
    if fit is None:
        fit = identify_twin(scene, terms, wanted, start=start, progress=progress, level=level, seed=seed, **options)
    scene = scene.with_step(fit.dt)
    job = FieldStages(scene, terms, names, _from(fit, others), start, fit, stated, progress)
    _bind(job)
    final = {"start": job.start, "progress": progress, "level": level, "seed": seed} | options
    if not isinstance(basis, str):
        return _given_parts(job, labels, final)
    if basis == "smooth":
        return _smooth(job, count or COLUMNS, level)
    return _found_parts(job, count or PATCHES, most_parts, least_ratio, seed, final)


def _names(scene, names, wanted):
    cells = len(cells_of(scene.soft_body.mesh))
    if names is None:
        fitted = [u.name for u in wanted if u.name in STIFFNESSES and scene.parameters[u.name].shape == (cells,)]
        if not fitted:
            raise InputError(f"names: no fitted stiffness has a value a cell; the scene has {', '.join(scene.parameters)}")
        return fitted
    names = [names] if isinstance(names, str) else list(names)
    for name in names:
        if name not in scene.parameters:
            raise InputError(f"names: the scene has no parameter {name!r}; it has {', '.join(scene.parameters)}")
        if scene.parameters[name].shape != (cells,):
            shape = list(scene.parameters[name].shape)
            raise InputError(f"names: {name} has shape {shape}; one value for each of the {cells} cells is needed")
    return names


def _from(fit, unknowns):
    return [u.started_at(fit.values[u.name]) if u.name in fit.values else u for u in unknowns]


def _bind(job):
    """Tie what is followed to the body where it is when it is first seen, as the homogeneous fit has it."""
    bound = [term for term in job.terms if hasattr(term, "bind") and len(term.first_frames)]
    frames = np.unique(np.concatenate([term.first_frames for term in bound])) if bound else np.zeros(0, int)
    if not len(frames):
        return
    # of a body at rest: where it was seen to rest, not where one stuff would let it hang
    seen = predict(job.scene, job.fit, frames) + (job.start.positions - job.fit.start[0])
    poses = dict(zip(frames.tolist(), seen, strict=True))
    for term in bound:
        for frame in term.first_frames:
            term.bind(int(frame), poses[int(frame)])


def _given_parts(job, labels, options):
    """One value in each given region: as a field with damping going along first, which also says how the damping's is shared out."""
    stage = job.run("parts", job.regions(labels), job.others)
    job.others = stage.others
    return _by_part(job, labels, stage.z + np.where(np.arange(len(stage.z)) > 0, stage.z[0], 0.0), options)


def _by_part(job, labels, values, options, blend=None):
    """The general fit with one value a part, cells at a border keeping what share of it they are of (`blend`: log values of cells)."""
    scene = job.scene
    cells = values[labels] if blend is None else blend
    shares = np.exp(cells - cells.mean())
    middle = float(np.exp(cells.mean()))
    unknowns = [u for u in job.others if u.name not in job.damping]
    for u in job.others:
        if u.name in job.damping:
            first = float(np.mean(u.variable.start)) * middle
            unknowns.append(replace(u.started_at(float(np.clip(first, u.variable.lower, u.variable.upper))), pattern=shares))
    for name in job.names:
        base = float(np.exp(np.log(job.base[scene.parameters[name].name]).mean()))
        parts = part_unknowns(scene, name, labels, base * np.exp(values))
        if blend is not None:
            parts = [replace(u, pattern=u.pattern * np.exp(blend - values[labels])) for u in parts]
        unknowns += parts
    for term, stated in zip(job.terms, job.stated, strict=True):
        term.sigma = stated
    fit = identify_twin(scene, job.terms, unknowns, **(options | {"starts": (1.0,), "near": True}))
    fit.history = job.history + fit.history
    fit.parts = np.asarray(labels)
    for name in job.names:
        fit.field[name] = np.asarray(fit.settings[scene.parameters[name].name], float)
    return fit


def _one_part(job, why):
    fit = job.fit
    fit.history = job.history
    fit.parts = np.zeros(len(job.cells), int)
    for name in job.names:
        fit.field[name] = job.base[job.scene.parameters[name].name].copy()
    fit.statement += f"\none part: {why}"
    return fit


def _found_parts(job, count, most, ratio, seed, options):
    field, cells_patch, modes = job.patched(count, seed)
    stage = job.climb("patches", field)
    value = modes @ stage.z
    sizes = np.bincount(cells_patch, job.cells.sizes)
    spread = _spread(value, sizes)
    if spread < np.log(ratio):
        return _one_part(job, f"a field of {len(sizes)} patches varies by a factor of {np.exp(spread):.2f} only")
    triangle, target = stage.data()
    inverse = np.linalg.inv(modes)
    path = partitions(triangle @ inverse, target, value, sizes, neighbours(job.cells, cells_patch), most)
    times = path[0].cost / stage.chance()
    if times < CHANCE:
        return _one_part(job, f"a field of {len(sizes)} patches explains {times:.1f} times as much as it would of errors alone")
    found = None
    for chosen in path[1 : _enough(path)]:
        more = _settled(job, chosen.labels[cells_patch], chosen.values, stage.others, ratio, options)
        found = found if more is None else more
        if more is None or _explained(job, more):
            break
    return _one_part(job, "no two parts could be told apart") if found is None else found


def _settled(job, labels, values, others, ratio, options):
    """The fit of parts from where patches say that they are: borders moved, parts that are too alike made one; None: one is left."""
    widths = WIDTHS
    while len(values) > 1:
        labels, values, others, blend = _refined(job, labels, values, others, widths)
        if len(values) < 2:
            break
        job.others = others
        found = _by_part(job, labels, values, options, blend)
        pair = _too_alike(job, found, len(values), ratio)
        if pair is None:
            return found
        labels, values = _joined(job, found, labels, pair)
        widths = WIDTHS[-1:]  # the borders that are left lie about right
    return None


def _explained(job, fit):
    """Whether what a fit leaves is the noise that the data have by themselves: a further part would explain the model's errors."""
    return all(fit.noise[term.name] < EXCESS * stated for term, stated in zip(job.terms, job.stated, strict=True))


def _spread(values, sizes):
    """Difference of log values between the tenth and the ninth tenth of the body."""
    order = np.argsort(values)
    share = np.cumsum(sizes[order]) / sizes.sum()
    return float(values[order][np.searchsorted(share, 0.9)] - values[order][np.searchsorted(share, 0.1)])


def _enough(path):
    """As many parts as each explain WORTH of what one part leaves over free patches."""
    whole, count = path[0].cost, 1
    while count < len(path) and path[count - 1].cost - path[count].cost >= WORTH * whole:
        count += 1
    return count


def _refined(job, labels, values, others, widths):
    """(labels [cells] by falling size, log values, others, log values of cells) once the borders are where the data want them."""
    labels, values = _tidied(job, labels, values)
    blend = None
    modes, rates = smooth_columns(job.cells, MODES)
    for width in widths:
        if len(values) < 2:
            break
        field = border_field(job.cells, labels, values, modes, rates, width * job.cell())
        if blend is None:
            values, others = job.between(field, others)
            field = replace(field, values=values)
        stage = _tried(job, field, others, width == widths[-1])
        field = stage.problem.field
        others, before = stage.others, field.labels(stage.z)
        labels, values = _tidied(job, before, stage.z[: len(values)])
        # an island that is gone takes the value of what surrounds it
        kept = values[labels] == stage.z[: field.distances.shape[1]][before]
        blend = np.where(kept, field.log_values(stage.z), values[labels])
    return labels, values, others, blend


def _tried(job, field, others, elsewhere):
    """The fitted field of borders; if `elsewhere`, also from a cell further out and further in, with the values that go with it, for a
    border of a little too much or too little of a stuff that is a little too soft or too stiff may be a minimum of its own."""
    best = job.run("borders", field, others, BORDER, weigh=not elsewhere)
    if not elsewhere:
        return best
    first = best
    count, modes = len(field.values), field.modes.shape[1]
    for part in range(1, count):
        for step in (job.cell(), -job.cell()):
            z, others = first.followed(count + (part - 1) * modes, step)
            moved = first.problem.field.moved(z)
            if len(np.unique(moved.labels(moved.still()))) < count:
                continue
            trial = job.run("borders", moved, others, BORDER, weigh=False)
            if trial.misfit() < best.misfit():
                best = trial
    best.problem(best.result.scaled)
    job.weigh(best.problem.noise[0])
    return best


def _tidied(job, labels, values):
    """Small islands gone, parts numbered by falling size, with the values that are left."""
    before = np.asarray(labels)
    marked = tidy(job.cells, before, SMALLEST)
    kept = np.array([np.bincount(before[marked == p]).argmax() for p in range(marked.max() + 1)])
    order = np.argsort(-np.bincount(marked, job.cells.sizes), kind="stable")
    rank = np.argsort(order)
    return rank[marked], np.asarray(values)[kept][order]


def _too_alike(job, fit, count, ratio):
    """The two parts that are least told apart, if that is too little; None else."""
    name = job.names[0]
    quantile = norm.ppf(0.5 + 0.5 * fit.level)
    logs, spread = np.zeros(count), np.zeros(count)
    for p in range(count):
        low, high = fit.intervals[f"{name}[{p}]"]
        logs[p] = np.log(fit.values[f"{name}[{p}]"])
        spread[p] = np.log(high / low) / (2 * quantile) if low > 0 and np.isfinite(high) else np.inf
    worst, pair = np.inf, None
    for a in range(count):
        for b in range(a):
            gap = abs(logs[a] - logs[b])
            told = gap / (np.log(ratio) + TOLD_APART * np.hypot(spread[a], spread[b]))
            if told < worst:
                worst, pair = told, (b, a)
    return pair if worst < 1.0 else None


def _joined(job, fit, labels, pair):
    """(labels, log values) with two parts made one."""
    name = job.names[0]
    base = np.log(job.base[job.scene.parameters[name].name]).mean()
    logs = np.array([np.log(fit.values[f"{name}[{p}]"]) - base for p in range(labels.max() + 1)])
    sizes = np.bincount(labels, job.cells.sizes)
    merged = np.unique(np.where(labels == pair[1], pair[0], labels), return_inverse=True)[1].reshape(-1)
    owner = np.array([merged[labels == p][0] for p in range(len(logs))])
    return merged, np.bincount(owner, sizes * logs) / np.bincount(owner, sizes)


def _smooth(job, count, level):
    stage = job.climb("field", job.smooth(count))
    problem, scaled = stage.problem, stage.result.scaled[0]
    values, units = wanted_values(problem, scaled)
    bounds, sentences = determine(problem, scaled, stage.result.residuals[0], stage.result.jacobian[0], level)
    settings = problem.settings(scaled[None])
    state, *_ = problem.begin(settings, slopes=False)
    lead = job.names[0]
    middle = float(np.exp(np.log(job.base[job.scene.parameters[lead].name]).mean()))
    values[lead], bounds[lead] = middle * values[lead], tuple(middle * b for b in bounds[lead])
    units[lead] = job.scene.parameters[lead].unit
    changed = {u.parameter for u in stage.others if u.parameter} | set(job.base)
    fields = {n: settings.parameters[job.scene.parameters[n].name][0] for n in job.names}
    low, high = (float(np.percentile(fields[lead], q)) for q in (5, 95))
    statement = f"{lead} varies smoothly from {low:.4g} to {high:.4g} {units[lead]} over nine tenths of the cells; {lead} is its mean"
    return replace(
        job.fit,
        values=values,
        units=units,
        intervals=bounds,
        undetermined=sentences | density_sentence(job.scene, values),
        settings=job.fit.settings | {name: settings.parameters[name][0] for name in sorted(changed)},
        start=(state.x.numpy()[0].copy(), state.v.numpy()[0].copy()),
        noise={term.name: term.sigma for term in job.terms},
        history=job.history,
        field=fields,
        parts=None,
        statement=statement,
        converged=stage.result.reason[0] != MAX_ITERATIONS,
        dt=problem.dt,
    )
