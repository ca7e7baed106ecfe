"""The same tests for every law: what holds for one formula holds for all of them, and a law added to ALL is tested at once.

Each law stands alone in a tiny model; perturbed states ride as environments, so that all differences are one launch.
"""

from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from physsim.physics.assembly import Assembly
from physsim.physics.laws import ALL, CONTACT, DRIVE, EDGE_EDGE, INERTIA, POINT_SHAPE, POINT_TRIANGLE, ROLLING
from physsim.physics.model import LawBlock, Model
from physsim.physics.parameters import Feed, Parameter, ParameterSet

TOUCHING = (*CONTACT, ROLLING)
INTERNAL = {
    "spring",
    "rigid",
    "rod",
    "neo_hookean_4",
    "neo_hookean_10",
    "viscous_4",
    "viscous_10",
    "membrane",
    "bending",
    "seam",
    "pin",
    "tendon",
    "contact_point_triangle",
    "contact_edge_edge",
    "point_shape",
    "rolling",
}  # between points: rigid motion is free
EXTERNAL = {"inertia", "load", "tether", "drive"}  # against the world
STEPS = {"statics": (0.0, 1.0, 0.0), "backward_euler": (2.0, 1.0, 0.0), "bdf2": (3.0, 4 / 3, -1 / 3)}
TINY = 1e-4  # step of the five-point differences: truncation 1e-16, rounding 1e-12

laws = pytest.mark.parametrize("law", ALL, ids=lambda law: law.name)
internal_laws = pytest.mark.parametrize("law", [law for law in ALL if law.name not in EXTERNAL], ids=lambda law: law.name)
steps = pytest.mark.parametrize("step", STEPS.values(), ids=STEPS.keys())


@dataclass(frozen=True)
class Sample:
    """Arguments of a law: arrays [n, 3] and parameters [stencils, P], or the same with a leading axis of environments."""

    stencil: np.ndarray
    step: tuple
    x: np.ndarray
    x1: np.ndarray
    x2: np.ndarray
    reference: np.ndarray
    p: np.ndarray

    STATES = ("x", "x1", "x2", "reference")


def stencil_of(law):
    """Overlapping stencils (one for large ones, apart in contact), so that sums on particles and matrix entries are tested too."""
    k = law.points
    if law in TOUCHING:
        return np.arange(k * len(FEATURES[law])).reshape(-1, k)
    return np.arange(k)[None] if k > 4 else np.stack([np.arange(k), np.arange(k) + 1])


def rest_of(law, rng):
    """Points whose stencils are well-shaped: a random row of springs or tetrahedra, slightly bent edges for ten nodes."""
    if law.name == "rod":  # two bent edges and a director point beside each
        points = np.array([[0, 0, 0], [1, 0, 0], [1.9, 0.4, 0], [0.5, 0.9, 0], [1.2, 1.0, 0.4]])
        return (points + rng.uniform(-0.04, 0.04, points.shape)) @ Rotation.random(random_state=int(rng.integers(2**31))).as_matrix().T
    if law.name == "tendon":  # a way that turns at each waypoint
        return np.cumsum(rng.uniform(0.5, 1.0, (8, 3)) * rng.choice([-1, 1], (8, 3)), axis=0)
    if law.points < 3:
        return np.cumsum(rng.uniform(0.5, 1.0, (law.points + 1, 3)), axis=0)
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1.0]])
    sheet = np.array([[0, 0, 0], [1, 0, 0], [0.3, 0.9, 0], [1.2, 0.8, 0.2], [-0.6, 0.5, -0.1], [0.5, -0.8, 0.2]])
    if law.points == 4:
        points = corners
    elif law.points == 10:
        pairs = np.array([[0, 1], [1, 2], [2, 0], [0, 3], [1, 3], [2, 3]])
        points = np.concatenate([corners[:4], corners[pairs].mean(axis=1)])
    else:
        points = sheet[: law.points + (law.points <= 4)]  # a triangle and its neighbours
    points = points + rng.uniform(-0.04, 0.04, points.shape)
    return points @ Rotation.random(random_state=int(rng.integers(2**31))).as_matrix().T


def parameters_of(law, rng, near_upper=False):
    """Values of order one within the declared bounds; `near_upper` goes to 1e-3 from an upper bound (poisson 0.499)."""
    columns = []
    for p in law.parameters:
        if p.upper is not None and near_upper:
            columns.append(p.upper - 1e-3)
        elif p.upper is not None:
            columns.append(p.lower + (p.upper - p.lower) * rng.uniform(0.2, 0.8))
        else:
            columns.append(rng.normal() if p.lower is None else p.lower + rng.uniform(0.5, 2.0))
    return np.array(columns) * np.ones((len(stencil_of(law)), 1))


# Where features touch, with the closest points at the origin: who stays (points of the stencil after those that move), and a normal.
TRIANGLE = np.array([[1.8, 0.1, 0], [-1.1, 1.6, 0], [-0.9, -1.5, 0]])
ALONG, CROSS = np.array([[-1.4, 0, 0], [1.7, 0, 0]]), np.array([[0, -1.2, 0], [0, 1.5, 0]])
ASKEW = ALONG @ Rotation.from_euler("z", 0.024).as_matrix().T  # where the energy of parallel edges fades
RISING, FALLING = np.array([[0, 0, 0], [2.0, 0.5, 1.0]]), np.array([[0, 0, 0], [-2.0, 0.5, -1.0]])
UPRIGHT = np.concatenate([np.zeros((1, 3)), np.eye(3)])
FEATURES = {
    POINT_TRIANGLE: [
        ([[0, 0, 0]], TRIANGLE - corners.mean(axis=0), n)
        for corners, n in (
            (TRIANGLE, [0, 0, 1]),
            (TRIANGLE[:2], [1.5, 2.9, 2.0]),
            (TRIANGLE[1:], [-3.1, 0.2, -1.0]),
            (TRIANGLE[::2], [1.6, -2.7, 0.5]),
            (TRIANGLE[:1], [1, 0, 0.5]),
            (TRIANGLE[1:2], [-1, 1.3, -0.2]),
            (TRIANGLE[2:], [-1, -1.6, 1]),
        )
    ],
    EDGE_EDGE: [
        (ALONG, CROSS, [0, 0, 1]),
        (ALONG, ASKEW, [0, 0, 1]),
        (RISING, CROSS, [0.3, 0, 1]),
        (CROSS[::-1], RISING, [-0.3, 0, -1]),
        (RISING[::-1], FALLING, [0.7, 0, 0.7]),
        (ALONG - ALONG[1], ASKEW, [0, 0.3, 1]),
    ],
    POINT_SHAPE: [  # kind, where on it (in sizes), normal
        (0, [0.0, 0, 0], [0, 0, 1]),
        (1, [0.6, 0, 0.8], [0.6, 0, 0.8]),
        (2, [1, 0.4, -0.3], [1, 0, 0]),
        (2, [0.2, -1, 1], [0, -0.6, 0.8]),
        (2, [1, -1, -1], [0.6, -0.5, -0.6]),
        (3, [0.6, 0.8, 0.1], [0.6, 0.8, 0]),
        (3, [0.6, 0, 1.0], [0.6, 0, 0.8]),
        (4, [0.8, -0.6, 0.2], [0.8, -0.6, 0]),
        (4, [0.2, 0.3, -1], [0, 0, -1]),
        (4, [0.8, -0.6, 1], [0.5, -0.375, 0.8]),
    ],
    ROLLING: [  # meeting; where the core is (begin and end on its axis), the other's points, kind of shape, normal
        (0, 0.3, 0.3, TRIANGLE[[0, 1, 2, 2]], 0, [0, 0, 1]),
        (0, -0.4, -0.4, TRIANGLE[[0, 1, 2, 2]] - TRIANGLE[:2].mean(axis=0), 0, [1.5, 2.9, 2.0]),
        (1, -0.7, 0.8, ALONG[[0, 1, 1, 1]], 0, [0, 1, 0]),
        (1, 0.0, 0.8, ALONG[[0, 1, 1, 1]], 0, [0, 1, -0.4]),
        (2, 0.2, 0.2, UPRIGHT, 0, [0, 0, 1]),
        (2, -0.3, -0.3, UPRIGHT - [0, 0, 1.1], 1, [0, 0, 1]),
        (2, 0.0, 0.0, UPRIGHT - [0, 1.3, 0], 2, [0, 1, 0]),
        (3, -0.7, 0.8, UPRIGHT[:, [2, 0, 1]], 0, [0, 1, 0]),
        (3, 0.0, 0.8, UPRIGHT[:, [2, 0, 1]], 0, [0, 1, -0.4]),
    ],
}


def pair_at_rest(law, row, p):
    """(points of a pair of touching features, which of them move off along the normal, the unit normal)."""
    if law is ROLLING:
        _, begin, _, other, _, n = FEATURES[law][row]
        at = [0, 0, -begin] if FEATURES[law][row][0] in (0, 2) else [0, 0, 0]  # the core's point, or a place on its segment, at the origin
        return np.concatenate([UPRIGHT + at, other]), np.arange(8) < 4, np.array(n) / np.linalg.norm(n)
    first, second, n = FEATURES[law][row]
    n = np.array(n) / np.linalg.norm(n)
    if law is not POINT_SHAPE:
        return np.concatenate([first, second]), np.arange(law.points) < len(first), n
    size = p[law.column("size_x") :]
    where = np.array(second) * {2: size}.get(first, [size[0], size[0], size[1]])
    if first in (1, 3):
        where = size[0] * n + [0, 0, second[2] * size[1] * (first == 3)]
    return np.concatenate([[where], np.zeros((1, 3)), np.eye(3)]), np.arange(5) < 1, n


def draw_contact(law, rng, step, amount):
    """Pairs within their layer, sliding or creeping, in every way in which features meet; out of reach for an amount of zero."""
    rows = len(FEATURES[law])
    p = parameters_of(law, rng) * rng.uniform(0.95, 1.05, (rows, 1))
    p[:, law.column("creep")] *= rng.choice([0.02, 4.0], rows)
    if law is POINT_SHAPE:
        p[:, law.column("kind")] = [kind for kind, *_ in FEATURES[law]]
    if law is ROLLING:
        columns = ("meeting", "begin", "end", None, "kind")
        for name, values in zip(columns, zip(*FEATURES[law], strict=True), strict=False):
            if name is not None:
                p[:, law.column(name)] = values
        p[:, law.column("other_begin")], p[:, law.column("other_end")] = -0.6, 0.9
        p[:, law.column("size_x") : law.column("size_z") + 1] = [1.1, 1.3, 0.9]
    gap, offset = p[:, law.column("gap")], p[:, law.column("offset")]
    states = np.zeros((3, rows, law.points, 3))
    for row in range(rows):
        points, moving, n = pair_at_rest(law, row, p[row])
        slide = np.array([1.0, 0, 0]) if n[0] == 0 and law is EDGE_EDGE else np.cross(n, rng.normal(size=3))
        shaken = 5e-4 if FEATURES[law][row][1] is ASKEW else 0.01  # almost parallel edges cross elsewhere for any little tilt
        turn, place = Rotation.random(random_state=int(rng.integers(2**31))).as_matrix(), rng.normal(size=3)
        for i in range(3):  # a state each: now, and the two before
            u = rng.uniform(0.4, 0.7) if amount else 1.5
            off = (offset[row] + u * gap[row]) * n + amount * (1 - i) * slide / np.linalg.norm(slide)
            noise = amount * shaken * rng.uniform(-1, 1, points.shape)
            states[i, row] = (points + noise + moving[:, None] * off) @ turn.T + place
    x, x1, x2 = states.reshape(3, -1, 3)
    return Sample(stencil_of(law), step, x, x1, x2, x1, p)


def draw(law, rng, step, amount=0.15, near_upper=False):
    """A random state, `amount` away from the reference."""
    if law in TOUCHING:
        return draw_contact(law, rng, step, amount)
    reference = rest_of(law, rng)
    x, x1, x2 = (reference + amount * rng.normal(size=reference.shape) for _ in range(3))
    p = parameters_of(law, rng, near_upper)
    if not near_upper:
        p = p * rng.uniform(0.95, 1.05, p.shape)
    if law.name == "tendon":  # taut, or coming taut
        way = np.linalg.norm(np.diff(x, axis=0), axis=1).sum()
        p[:, law.column("rest_length")] = 0.8 * way
        p[:, law.column("onset")] = rng.choice([0.1, 1.0]) * way
    if law is DRIVE:
        for row in p:
            M = rng.normal(size=(6, 6))
            row[:21] = (M @ M.T)[np.tril_indices(6)]
    return Sample(stencil_of(law), step, x, x1, x2, reference, p)


def assembled(law, sample, dtype="float64"):
    """Assembly of the law alone, filled with a sample; as many environments as the sample's leading axes say."""
    bare = {"x": 2, "x1": 2, "x2": 2, "reference": 2, "p": 2}
    envs = max([getattr(sample, name).shape[0] for name, d in bare.items() if getattr(sample, name).ndim > d], default=1)
    full = {name: np.broadcast_to(getattr(sample, name), (envs, *getattr(sample, name).shape[-2:])) for name in bare}
    rows = np.arange(len(sample.stencil))
    parameters = {p.name: Parameter(p.name, p.unit, full["p"][0, :, i], (Feed(law.name, i, rows),)) for i, p in enumerate(law.parameters)}
    values = {p.name: full["p"][:, :, i] for i, p in enumerate(law.parameters)}
    n = full["x"].shape[1]
    blocks = (LawBlock(law, sample.stencil),)
    if law is not INERTIA:  # every model has it; here without mass
        blocks = (LawBlock(INERTIA, np.arange(n)[:, None]), *blocks)
    model = Model(
        device="cpu",
        dtype=dtype,
        envs=envs,
        batched=True,
        rest=full["reference"][0],
        free=np.ones(n, bool),
        velocities=np.zeros((n, 3)),
        blocks=blocks,
        bodies={},
        attachments={},
        parameters=ParameterSet(parameters, envs, values),
    )
    a = Assembly(model, block_dtype=dtype)
    a.set_step(*sample.step)
    for name, target in (("x", a.x), ("x1", a.x1), ("x2", a.x2), ("reference", getattr(a, law.reference))):
        target.assign(model.vectors(full[name]))
    return a


def energy_and_gradient(law, sample, dtype="float64"):
    """(energies [envs], gradients [envs, n, 3])."""
    a = assembled(law, sample, dtype)
    a.evaluate()
    return a.energy.numpy().sum(axis=1), a.gradient.numpy().astype(np.float64)


def hessian(law, sample, project=0, dtype="float64"):
    """Dense matrices [envs, 3n, 3n] from the assembled blocks."""
    a = assembled(law, sample, dtype)
    a.project.fill_(project)
    a.assemble()
    blocks = a.values.numpy()[:, :, :, :3].astype(np.float64)
    envs, n = a.x.shape
    dense = np.zeros((envs, n, 3, n, 3))
    for i in range(n):
        dense[:, i, :, i] = blocks[:, i]
    for entry, (i, j) in enumerate(zip(a.pattern.rows, a.pattern.columns, strict=True)):
        dense[:, i, :, j] = blocks[:, n + entry]
        dense[:, j, :, i] = blocks[:, n + entry].transpose(0, 2, 1)
    return dense.reshape(envs, 3 * n, 3 * n)


def differences(function, sample, name):
    """Five-point differences of `function(sample)` [envs, ...] by every entry of an array of the sample, shape [entries, ...]."""
    base = getattr(sample, name)
    unit = np.eye(base.size).reshape(base.size, *base.shape)
    shifts = np.array([1, -1, 2, -2])[:, None, None, None] * TINY
    values = function(replace(sample, **{name: (base + shifts[:, None] * unit).reshape(-1, *base.shape)}))
    plus, minus, plus2, minus2 = values.reshape(4, base.size, *values.shape[1:])
    return (8 * (plus - minus) - (plus2 - minus2)) / (12 * TINY)


def assert_close(actual, expected, tolerance, floor=0.0, what=""):
    """Equal to `tolerance` times the largest expected entry (or `floor`)."""
    scale = max(np.abs(expected).max(initial=0.0), floor)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * scale + 1e-12, err_msg=what)


def test_every_law_file_is_declared_and_every_law_is_classed():
    names = [law.name for law in ALL]
    assert len(set(names)) == len(names)
    assert INTERNAL.isdisjoint(EXTERNAL)
    assert set(names) == INTERNAL | EXTERNAL, "say in tests/test_laws.py whether rigid motion is free under the new law"
    files = {path.stem for path in Path(find_spec("physsim.kernels.laws").origin).parent.glob("*.py")} - {"__init__"}
    for stem in files:
        assert any(name.startswith(stem) for name in names), f"kernels/laws/{stem}.py is not declared in physsim.physics.laws.ALL"


@pytest.mark.parametrize("law", TOUCHING, ids=lambda law: law.name)
def test_every_pair_of_a_contact_laws_sample_pushes_or_rubs(law, rng):
    _, gradient = energy_and_gradient(law, draw(law, rng, STEPS["backward_euler"]))
    assert (np.abs(gradient.reshape(len(FEATURES[law]), -1)).max(axis=1) > 1e-6).all()


@laws
@steps
def test_rest_is_stationary(law, step, rng):
    sample = draw(law, rng, step, amount=0.0)
    p = sample.p.copy()
    if law.name == "spring":
        ends = sample.reference[sample.stencil]
        p[:, law.column("rest_length")] = np.linalg.norm(ends[:, 0] - ends[:, 1], axis=1)
    if law.name == "inertia":
        p[:, law.column("gravity_x") :] = 0.0
    if law.name == "load":
        p[:] = 0.0  # a load is nowhere at rest
    if law.name == "tendon":
        p[:, law.column("rest_length")] = 20.0  # slack: longer than its way
    if law.name == "seam":
        sample = replace(sample, x=np.tile(sample.x[0], (len(sample.x), 1)))
    if law.name == "pin":
        shares = np.append(1.0 - p[0, 1:].sum(), p[0, 1:])
        sample = replace(sample, x=np.concatenate([[shares @ sample.x[1:5]], sample.x[1:]]))
    if law.name == "rod":
        p[:, law.column("rest_curvature_1") :] = 0.0
    energy, gradient = energy_and_gradient(law, replace(sample, p=p))
    assert np.abs(gradient).max() < 1e-13
    assert abs(energy[0]) < 1e-13


@laws
@steps
@pytest.mark.parametrize("near_upper", [False, True], ids=["inside", "near the upper bound"])
def test_gradient_is_the_derivative_of_the_energy(law, step, near_upper, rng):
    sample = draw(law, rng, step, near_upper=near_upper)
    expected = differences(lambda s: energy_and_gradient(law, s)[0], sample, "x")
    assert_close(energy_and_gradient(law, sample)[1].ravel(), expected, 1e-8)


@laws
@steps
@pytest.mark.parametrize("near_upper", [False, True], ids=["inside", "near the upper bound"])
def test_hessian_blocks_are_the_derivative_of_the_gradient(law, step, near_upper, rng):
    sample = draw(law, rng, step, near_upper=near_upper)
    expected = differences(lambda s: energy_and_gradient(law, s)[1], sample, "x").reshape(sample.x.size, -1)
    assert_close(hessian(law, sample)[0], expected, 1e-8)


@laws
def test_a_law_is_declared_constant_where_its_matrix_is_the_same_everywhere(law, rng):
    """Solvers keep the blocks of such laws over the iterations of a step."""
    here = draw(law, rng, STEPS["bdf2"])
    H = hessian(law, here)
    moved = hessian(law, replace(here, x=here.x + 1e-3 * rng.normal(size=here.x.shape)))
    change = np.abs(moved - H).max() / np.abs(H).max() if np.abs(H).max() > 0 else 0.0
    assert (change < 1e-12) == law.constant, change


@laws
@steps
def test_product_is_the_exact_hessian_times_a_direction(law, step, rng):
    sample = draw(law, rng, step)
    a = assembled(law, sample)
    direction, out = a.vectors(a.x.shape), a.vectors(a.x.shape)
    d = rng.normal(size=sample.x.shape)
    direction.assign(a.model.vectors(d[None]))
    a.product(direction, out)
    expected = np.einsum("aij,a->ij", differences(lambda s: energy_and_gradient(law, s)[1], sample, "x"), d.ravel())
    assert_close(out.numpy()[0], expected, 1e-8)


@laws
@steps
def test_adjoint_gives_the_derivative_by_every_parameter_and_state(law, step, rng):
    sample = draw(law, rng, step)
    a = assembled(law, sample)
    weight = rng.normal(size=sample.x.shape)
    direction = a.vectors(a.x.shape)
    direction.assign(a.model.vectors(weight[None]))
    out = {name: a.vectors(a.x.shape) for name in ("x", "x1", "x2", law.reference)}
    a.begin_adjoint()
    a.adjoint(direction, out)
    work = lambda s: (energy_and_gradient(law, s)[1] * weight).sum(axis=(1, 2))  # noqa: E731
    whole = differences(work, sample, "x")
    for name in Sample.STATES:
        key = law.reference if name == "reference" else name
        expected = -differences(work, sample, name).reshape(sample.x.shape)
        assert_close(out[key].numpy()[0], expected, 1e-8, np.abs(whole).max(), f"derivative by {key}")
    expected = -differences(work, sample, "p").reshape(sample.p.shape)
    assert_close(a.column_gradients[-1].numpy()[0], expected, 1e-8, np.abs(whole).max(), f"derivative by {law.parameters}")
    for i, p in enumerate(law.parameters):
        assert_close(a.parameter_gradients()[p.name][0], expected[:, i], 1e-8, np.abs(whole).max(), p.name)


def dot_products(law, sample, moving, rng):
    """<J u, w> and the terms of <u, J^T w> for two random directions u of what is `moving`, and one w."""
    a = assembled(law, sample)
    weight = rng.normal(size=sample.x.shape)
    direction = a.vectors(a.x.shape)
    direction.assign(a.model.vectors(weight[None]))
    pulled = {name: a.vectors(a.x.shape) for name in ("x", "x1", "x2", "rest", "target", "predictor")}
    a.begin_adjoint()
    a.adjoint(direction, pulled)
    count = 2
    moved = {name: rng.normal(size=(count, 1, *sample.x.shape)) for name in pulled}
    if "rest shape" not in moving:
        moved["rest"][:] = 0.0
    values = {p.name: rng.normal(size=(count, 1, len(sample.stencil))) for p in law.parameters}
    if "parameters" not in moving:
        values = {name: 0.0 * value for name, value in values.items()}
    device = {name: a.vectors((count, *a.x.shape)) for name in moved}
    for name, array in device.items():
        array.assign(moved[name])
    out = a.vectors((count, *a.x.shape))
    a.set_tangents(values)
    a.tangent(count, device, out)
    gradients = a.parameter_gradients()
    terms = [(moved[name][:, 0] * -pulled[name].numpy()[0]).reshape(count, -1) for name in moved]
    terms += [values[p.name][:, 0] * -gradients[p.name][0] for p in law.parameters]
    return (out.numpy()[:, 0] * weight).sum(axis=(1, 2)), np.concatenate(terms, axis=1)


@laws
@steps
@pytest.mark.parametrize(
    ("moving", "tolerance"), [("states", 1e-10), ("states, parameters", 1e-9), ("states, parameters, rest shape", 1e-6)]
)
def test_tangent_is_the_transpose_of_the_adjoint(law, step, moving, tolerance, rng):
    """The dot-product test. Differences inside the tangent are exact to rounding where the gradient is a polynomial."""
    loose = {"bending": 1e-9, "tendon": 1e-8, "rod": 1e-7}  # normals and directions are no polynomials, least of all of a sharply bent rod
    tolerance = max(tolerance, loose.get(law.name, 0.0))
    pushed, terms = dot_products(law, draw(law, rng, step), moving, rng)
    assert np.abs(pushed - terms.sum(axis=1)).max() < tolerance * max(1.0, np.abs(terms).sum(axis=1).max())


@pytest.mark.parametrize("law", [law for law in ALL if any(p.lower is None for p in law.parameters)], ids=lambda law: law.name)
def test_tangent_survives_a_parameter_that_is_almost_zero(law, rng):
    """A component of a turned force or gravity may be 1e-17 of the others."""
    sample = draw(law, rng, STEPS["backward_euler"])
    p = sample.p.copy()
    p[:, next(i for i, q in enumerate(law.parameters) if q.lower is None)] = 1e-17
    pushed, terms = dot_products(law, replace(sample, p=p), "states, parameters", rng)
    assert np.abs(pushed - terms.sum(axis=1)).max() < 1e-9 * max(1.0, np.abs(terms).sum(axis=1).max())


@internal_laws
@steps
def test_rigid_motion_changes_nothing(law, step, rng):
    """Each state moved by a rigid motion of its own: same energy, and the gradient turns with the present state."""
    sample = draw(law, rng, step)
    if law in TOUCHING:
        sample.p[:, law.column("friction")] = 0.0  # feels how the states lie to each other
    energy, gradient = energy_and_gradient(law, sample)
    turns = Rotation.random(3, random_state=int(rng.integers(2**31))).as_matrix()
    moved = {name: getattr(sample, name) @ turn.T + rng.normal(size=3) for name, turn in zip(("x", "x1", "x2"), turns, strict=True)}
    moved_energy, moved_gradient = energy_and_gradient(law, replace(sample, **moved))
    assert_close(moved_energy, energy, 1e-12)
    assert_close(moved_gradient[0], gradient[0] @ turns[0].T, 1e-12)
    arms = sample.x - sample.x.mean(axis=0)
    assert np.abs(gradient[0].sum(axis=0)).max() < 1e-12 * max(1.0, np.abs(gradient).max())
    assert np.abs(np.cross(arms, gradient[0]).sum(axis=0)).max() < 1e-12 * max(1.0, np.abs(gradient).max())


@pytest.mark.parametrize("law", [law for law in ALL if law.name.startswith("neo_hookean")], ids=lambda law: law.name)
@pytest.mark.parametrize("poisson", [-0.9, -0.6, -0.3, 0.0, 0.3, 0.49, 0.499])
def test_rest_of_a_solid_is_a_minimum_at_any_poissons_ratio(law, poisson, rng):
    sample = draw(law, rng, STEPS["statics"], amount=0.0)
    sample = replace(sample, p=np.tile([1.0, poisson], (len(sample.stencil), 1)))
    values = np.linalg.eigvalsh(hessian(law, sample)[0])
    assert values[0] > -1e-12 * values[-1]
    assert (values < 1e-10 * values[-1]).sum() == 6, "only rigid motion is free"


def harsh(sample, rng):
    """States [envs, n, 3] that a solver may pass through: random, squeezed, flat, turned inside out, collapsed to a point."""
    x = sample.reference
    centre = x.mean(axis=0)
    arms = x - centre
    mirror = np.diag([1.0, 1.0, -1.0])
    states = [x + amount * rng.normal(size=x.shape) for amount in (0.01, 0.1, 0.3, 1.0, 3.0) for _ in range(8)]
    states += [centre + arms * scale for scale in (0.9, 0.5, 0.1, 1e-3, -0.1, -0.5, -1.0, 2.0)]
    states += [centre + arms @ mirror * scale for scale in (0.2, 1.0, 1.5)]
    states += [centre + arms @ np.diag([1.0, 1.0, 0.0]), centre + arms @ np.diag([1.0, 0.0, 0.0]), centre + 0.0 * arms]
    return np.array(states)


@laws
@steps
@pytest.mark.parametrize("near_upper", [False, True], ids=["inside", "near the upper bound"])
@pytest.mark.parametrize("project", [1, 2], ids=["projected", "lagged"])
def test_projected_hessian_has_no_negative_eigenvalue(law, step, near_upper, project, rng):
    sample = draw(law, rng, step, near_upper=near_upper)
    values = np.linalg.eigvalsh(hessian(law, replace(sample, x=harsh(sample, rng)), project=project))
    worst = (values[:, 0] / np.maximum(np.abs(values).max(axis=1), 1e-300)).min()
    assert worst > -1e-11, f"smallest eigenvalue over the largest: {worst:.2e}"


@internal_laws
@steps
def test_projection_leaves_the_matrix_at_rest_as_it_is(law, step, rng):
    sample = draw(law, rng, step, amount=0.0)
    p = sample.p.copy()
    if law.name == "spring":
        p[:, law.column("rest_length")] *= 0.1  # under tension
    if law.name == "rod":
        p[:, law.column("rest_curvature_1") :] = 0.0
    if "poisson" in [q.name for q in law.parameters]:
        p[:, law.column("poisson")] = rng.uniform(0.0, 0.49)
    sample = replace(sample, p=p)
    exact = hessian(law, sample)
    assert_close(hessian(law, sample, project=1), exact, 1e-12)


@laws
@steps
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_inversion_and_collapse_stay_finite(law, step, dtype, rng):
    sample = draw(law, rng, step)
    sample = replace(sample, x=harsh(sample, rng))
    energy, gradient = energy_and_gradient(law, sample, dtype)
    assert np.isfinite(energy).all()
    assert np.isfinite(gradient).all()
    for project in (0, 1):
        assert np.isfinite(hessian(law, sample, project, dtype)).all()


@pytest.mark.parametrize("law", [law for law in ALL if law not in TOUCHING], ids=lambda law: law.name)
@steps
def test_float32_agrees_with_float64(law, step, rng):
    """Contact runs in float64 whatever the particles are: gaps are differences of nearly equal numbers."""
    sample = draw(law, rng, step)
    energy, gradient = energy_and_gradient(law, sample)
    energy32, gradient32 = energy_and_gradient(law, sample, "float32")
    assert_close(energy32, energy, 2e-5, 1.0)
    assert_close(gradient32, gradient, 2e-5, 1.0)
    assert_close(hessian(law, sample, dtype="float32"), hessian(law, sample), 2e-5)


@pytest.mark.parametrize("law", [law for law in ALL if law.name.startswith("neo_hookean")], ids=lambda law: law.name)
@pytest.mark.parametrize("strain", [1e-3, 1e-5])
def test_float32_keeps_its_digits_at_small_strain(law, strain, rng):
    """Only the rounding of positions is left, eps |x| / strain of the force; a formula in F would lose eps / strain more."""
    sample = draw(law, rng, STEPS["statics"], amount=strain)
    rounded = replace(sample, **{name: np.float64(np.float32(getattr(sample, name))) for name in Sample.STATES})
    assert_close(energy_and_gradient(law, rounded, "float32")[1], energy_and_gradient(law, rounded)[1], 2e-5)


@pytest.mark.parametrize("law", [law for law in ALL if law.name.startswith("neo_hookean")], ids=lambda law: law.name)
def test_a_turned_solid_keeps_the_digits_of_small_strains_in_its_energy(law, rng):
    """Only the rounding of positions is left, eps / strain; terms that cancel after a turn would leave eps / strain^2, 1e-4 and more."""
    sample = draw(law, rng, STEPS["statics"], amount=1e-6)
    turn = Rotation.random(random_state=int(rng.integers(2**31))).as_matrix()
    energy, turned = (energy_and_gradient(law, s)[0] for s in (sample, replace(sample, x=sample.x @ turn.T)))
    np.testing.assert_allclose(turned, energy, rtol=1e-7)
