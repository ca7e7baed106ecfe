"""What the laws of contact promise: a barrier that is smooth where it begins, Coulomb's bound, and balanced forces."""

import numpy as np
import pytest
import warp as wp
from scipy.spatial.transform import Rotation

from physsim.physics.laws import CONTACT, EDGE_EDGE, POINT_SHAPE, POINT_TRIANGLE

STATICS, EULER = (0.0, 1.0, 0.0), (100.0, 1.0, 0.0)
STRENGTH, GAP, OFFSET, FRICTION, DAMPING, CREEP = 3.0, 1e-3, 5e-4, 0.4, 0.2, 1e-3
FACING = {  # the first feature moved up by d is d away
    POINT_TRIANGLE: np.array([[0.1, 0.2, 0], [-1, -1, 0], [1, -1, 0], [0, 1.5, 0]]),
    EDGE_EDGE: np.array([[-1, 0.1, 0], [1, -0.2, 0], [0.3, -1, 0], [-0.2, 1, 0]]),
    POINT_SHAPE: np.array([[0.2, -0.3, 0], [0, 0, -1], [1, 0, -1], [0, 1, -1], [0, 0, 0]]),  # a box of edges 2
}
MOVING = {POINT_TRIANGLE: 1, EDGE_EDGE: 2, POINT_SHAPE: 1}

contacts = pytest.mark.parametrize("law", CONTACT, ids=lambda law: law.name)


def parameters(law, **changes):
    """A row of parameters [P]."""
    values = {"strength": STRENGTH, "gap": GAP, "offset": OFFSET, "friction": FRICTION, "damping": DAMPING, "creep": CREEP}
    values |= {"kind": 2.0, "size_x": 1.0, "size_y": 1.0, "size_z": 1.0}
    return np.array([(values | changes)[p.name] for p in law.parameters])


def evaluate(law, p, x, x1=None, x2=None, step=STATICS):
    """(energies [n], gradients [n, k, 3]) of stencils [n, k, 3]."""
    n, k = x.shape[:2]
    vectors = lambda a: wp.array(np.ascontiguousarray(a, np.float64).reshape(1, -1, 3), dtype=wp.vec3d, device="cpu")  # noqa: E731
    stencil = wp.array(np.arange(n * k, dtype=np.int32).reshape(1, n, k), dtype=int, device="cpu")
    rows = wp.array(np.tile(p, (1, n, 1)), dtype=wp.types.vector(len(p), wp.float64), device="cpu")
    energy, shares = wp.zeros((1, n), dtype=wp.float64, device="cpu"), vectors(np.zeros((n * k, 3)))
    states = [vectors(x if a is None else a) for a in (x, x1, x2)]
    active = wp.array([1], dtype=int, device="cpu")
    arguments = [wp.vec2i(0, 0), active, wp.vec3d(*step), stencil, rows, *states, states[0], 0, 0, energy, shares]
    wp.launch(law.kernels("float64", "float64")["evaluate"], (1, n), arguments, device="cpu")
    return energy.numpy()[0], shares.numpy().reshape(n, k, 3)


def apart(law, d, motion=(0, 0, 0)):
    """Stencils [n, k, 3] with features d [n] apart along z, the first one moved by `motion` too."""
    x = np.tile(FACING[law], (len(d), 1, 1))
    x[:, : MOVING[law]] += np.asarray(d)[:, None, None] * [0, 0, 1] + np.asarray(motion)
    return x


def push(law, gradient):
    """Force on the first feature, [n, 3]."""
    return -gradient[:, : MOVING[law]].sum(axis=1)


def barrier(u):
    return -((u - 1) ** 2) * np.log(u)


@contacts
def test_energy_is_the_barrier_of_the_distance(law):
    u = np.array([1e-5, 1e-3, 0.1, 0.5, 0.9, 0.999, 1.0, 1.5, 30.0])
    energy, gradient = evaluate(law, parameters(law), apart(law, OFFSET + u * GAP))
    expected = np.where(u < 1, STRENGTH * GAP * barrier(u), 0)
    np.testing.assert_allclose(energy, expected, rtol=1e-7, atol=1e-15)
    slope = np.where(u < 1, -2 * (u - 1) * np.log(u) - (u - 1) ** 2 / u, 0)
    np.testing.assert_allclose(push(law, gradient)[:, 2], -STRENGTH * slope, rtol=1e-6, atol=1e-12)


@contacts
def test_barrier_begins_with_two_continuous_derivatives(law):
    """E = N g (1 - u)^3 to leading order: the push begins as a square."""
    short = np.array([1e-1, 1e-2, 1e-3])
    energy, gradient = evaluate(law, parameters(law), apart(law, OFFSET + (1 - short) * GAP))
    np.testing.assert_allclose(energy / (STRENGTH * GAP * short**3), 1, atol=0.06)
    np.testing.assert_allclose(push(law, gradient)[:, 2] / (3 * STRENGTH * short**2), 1, atol=0.08)


@contacts
def test_no_line_search_accepts_a_distance_within_the_offset(law):
    energy, gradient = evaluate(law, parameters(law), apart(law, np.array([0.0, 0.5, 1.0]) * OFFSET))
    assert (energy > 1e20).all()
    assert np.isfinite(gradient).all()


@contacts
@pytest.mark.parametrize("direction", [[1, 0, 0], [0.6, 0.8, 0], [0, -1, 0]])
def test_friction_is_bounded_by_coulomb_and_meets_the_bound_above_the_creep(law, direction):
    speed = np.array([0, 0.01, 0.3, 0.999, 1.0, 1.01, 5, 100]) * CREEP
    d = np.full(len(speed), OFFSET + 0.4 * GAP)
    before = apart(law, d)
    now = apart(law, d, speed[:, None, None] / EULER[0] * np.array(direction))
    _, gradient = evaluate(law, parameters(law, damping=0), now, before, step=EULER)
    force = push(law, gradient)
    bound = FRICTION * force[:, 2]
    along, across = force @ direction, force @ np.cross(direction, [0, 0, 1])
    s = np.minimum(speed / CREEP, 1)
    np.testing.assert_allclose(-along, bound * (2 * s - s**2), rtol=1e-6, atol=1e-9)
    assert np.abs(across).max() < 1e-6 * bound.max()


@contacts
def test_friction_takes_the_push_of_the_state_before(law):
    before = apart(law, np.array([OFFSET + 0.3 * GAP, OFFSET + 2 * GAP]))
    now = apart(law, np.array([OFFSET + 2 * GAP, OFFSET + 0.3 * GAP]), [1e-3, 0, 0])
    _, gradient = evaluate(law, parameters(law, damping=0), now, before, step=EULER)
    pushed = push(law, evaluate(law, parameters(law), before)[1])[0, 2]
    np.testing.assert_allclose(push(law, gradient)[:, 0], [-FRICTION * pushed, 0], rtol=1e-6, atol=1e-12)


@contacts
@pytest.mark.parametrize("turned", [0.0, 2.0])
def test_damping_opposes_the_change_of_the_layer_only(law, turned):
    """Force c (1 - u) dpsi/dt in d; nothing for a pair that turns or slides as it is."""
    u, u1 = np.array([0.3, 0.5, 0.4, 0.9]), np.array([0.5, 0.3, 0.4, 1.4])
    turn = Rotation.from_rotvec([0.3 * turned, -0.2, turned]).as_matrix()
    before = apart(law, OFFSET + u1 * GAP) @ turn.T + [turned, 0, 0]
    now = apart(law, OFFSET + u * GAP)
    damped = evaluate(law, parameters(law, friction=0), now, before, step=EULER)[1]
    free = evaluate(law, parameters(law, friction=0, damping=0), now, before, step=EULER)[1]
    psi = lambda u: GAP / 2 * np.maximum(1 - u, 0) ** 2  # noqa: E731
    expected = DAMPING * EULER[0] * (psi(u) - psi(u1)) * (1 - u)
    np.testing.assert_allclose((push(law, damped) - push(law, free))[:, 2], expected, rtol=1e-6, atol=1e-12)


@contacts
def test_forces_balance_and_torques_up_to_frictions_lever_arm(law, rng):
    n = 200
    scatter = lambda: 0.02 * GAP * rng.normal(size=(n, law.points, 3))  # noqa: E731
    d = OFFSET + rng.uniform(0.2, 1.2, n) * GAP
    turn = Rotation.random(random_state=int(rng.integers(2**31))).as_matrix()
    now, before = ((apart(law, d) + scatter()) @ turn.T for _ in range(2))
    for p, lever in ((parameters(law, friction=0), 0.0), (parameters(law), 3 * (GAP + OFFSET))):
        _, gradient = evaluate(law, p, now, before, step=EULER)
        size = np.linalg.norm(gradient, axis=2).sum(axis=1) + 1e-12
        assert (np.linalg.norm(gradient.sum(axis=1), axis=1) / size).max() < 1e-13
        torque = np.cross(now, gradient).sum(axis=1)
        assert (np.linalg.norm(torque, axis=1) / size).max() < 1e-12 + lever


def test_energy_of_edges_fades_where_they_are_parallel():
    """Where closest points jump from end to end, there is nothing to jump."""
    d, angles = OFFSET + 0.3 * GAP, np.array([0, 1e-6, 1e-3, 0.01, 0.03, 0.04, 0.5])
    edge, lifted = np.array([[-1.0, 0, 0], [1, 0, 0]]), np.array([[-1.0, 0, d], [1, 0, d]])
    x = np.array([np.concatenate([lifted, edge @ Rotation.from_euler("z", a).as_matrix().T]) for a in angles])
    energy, gradient = evaluate(EDGE_EDGE, parameters(EDGE_EDGE), x)
    y = np.minimum(np.sin(angles) ** 2 / 1e-3, 1)
    np.testing.assert_allclose(energy, STRENGTH * GAP * barrier(0.3) * y * (2 - y), rtol=1e-9, atol=1e-18)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("law", [POINT_TRIANGLE, EDGE_EDGE], ids=lambda law: law.name)
def test_force_is_continuous_where_the_closest_feature_changes(law):
    """Along a line past a face, an edge and a corner, the gradient changes by little steps only."""
    count = 20_001
    x = apart(law, np.full(count, 0.5))
    x[:, : MOVING[law], 0] += np.linspace(-3, 3, count)[:, None]
    x[:, : MOVING[law], 1] += 0.1 * np.sin(np.linspace(0, 9, count))[:, None]
    wide = parameters(law, gap=2.0)
    _, gradient = evaluate(law, wide, x)
    steps = np.abs(np.diff(gradient, axis=0)).max(axis=(1, 2))
    assert steps.max() < 0.01 * np.abs(gradient).max()


def matrix_times(law, p, x, x1, direction, project=0):
    """(matrix by hand times a direction, the same by reverse mode), each [n, k, 3]."""
    n, k = x.shape[:2]
    vectors = lambda a: wp.array(np.ascontiguousarray(a, np.float64).reshape(1, -1, 3), dtype=wp.vec3d, device="cpu")  # noqa: E731
    stencil = wp.array(np.arange(n * k, dtype=np.int32).reshape(1, n, k), dtype=int, device="cpu")
    rows = wp.array(np.tile(p, (1, n, 1)), dtype=wp.types.vector(len(p), wp.float64), device="cpu")
    flags = [wp.array([value], dtype=int, device="cpu") for value in (1, project)]
    head, states = [wp.vec2i(0, 0), flags[0], wp.vec3d(*EULER)], [stencil, rows, *(vectors(a) for a in (x, x1, x1, x))]
    pairs = k * (k + 1) // 2
    blocks = wp.zeros((1, n * pairs), dtype=wp.types.matrix((3, 4), wp.float64), device="cpu")
    out = vectors(np.zeros((n * k, 3)))
    kernels = law.kernels("float64", "float64")
    wp.launch(kernels["blocks"], (1, n), [*head, flags[1], *states, 0, blocks], device="cpu")
    wp.launch(kernels["product"], (1, n), [*head, *states, vectors(direction), 0, out], device="cpu")
    values = blocks.numpy().reshape(n, pairs, 3, 4)[..., :3]
    total = np.zeros((n, k, 3))
    for slot, (a, b) in enumerate(zip(*np.tril_indices(k), strict=True)):
        total[:, a] += np.einsum("nij,nj->ni", values[:, slot], direction[:, b])
        if a != b:
            total[:, b] += np.einsum("nji,nj->ni", values[:, slot], direction[:, a])
    return total, out.numpy().reshape(n, k, 3)


@contacts
@pytest.mark.parametrize("scale", [1e-3, 0.02, 1.0])
def test_matrix_by_hand_is_the_one_by_reverse_mode_at_the_scale_of_things(law, scale, rng):
    """Features of a millimetre to a metre, gaps of a tenth to a thousandth of that, distances down to a thousandth of the gap."""
    n = 300
    gap = scale * 10 ** rng.uniform(-3, -1)
    p = parameters(law, gap=gap, offset=0.3 * gap, **{f"size_{axis}": scale for axis in "xyz"} if law is POINT_SHAPE else {})
    x = FACING[law] * scale
    if law is POINT_SHAPE:
        x[2:] = x[1] + np.eye(3)
    d = gap * (0.3 + 10 ** rng.uniform(-3, 0.2, (2, n)))
    x, x1 = (np.tile(x, (n, 1, 1)) for _ in range(2))
    for state, apart_by in zip((x, x1), d, strict=True):
        state[:, : MOVING[law]] += apart_by[:, None, None] * [0, 0, 1] + 1e-3 * scale * rng.normal(size=3) * [1, 1, 0]
    direction = rng.normal(size=x.shape)
    by_hand, by_reverse = matrix_times(law, p, x, x1, direction)
    size = np.abs(by_reverse).max(axis=(1, 2))
    assert (np.abs(by_hand - by_reverse).max(axis=(1, 2)) <= 1e-9 * size).all()


@pytest.mark.parametrize("law", [POINT_TRIANGLE, EDGE_EDGE], ids=lambda law: law.name)
@pytest.mark.parametrize("offset", [1e-3, 0.1, 3.0])
def test_projected_matrix_is_never_below_the_exact_one_and_keeps_what_resists_tilting(law, offset, rng):
    """A thick feature (a ball's centre, a capsule's axis) that is pressed on: where the other tilts about it, one side comes up."""
    n = 200
    p = parameters(law, offset=offset, friction=0.0, damping=0.0)
    x = apart(law, offset + GAP * 10 ** rng.uniform(-3, -0.1, n))
    x[:, :, :2] += 0.02 * rng.normal(size=(n, 4, 2))
    turn = Rotation.random(random_state=int(rng.integers(2**31))).as_matrix()
    direction = rng.normal(size=x.shape)
    projected, exact = matrix_times(law, p, x @ turn.T, x @ turn.T, direction, project=1)
    work, least = (direction * projected).sum(axis=(1, 2)), (direction * exact).sum(axis=(1, 2))
    size = np.abs(direction * exact).sum(axis=(1, 2))
    assert (work >= -1e-9 * size).all()
    assert (work >= least - 1e-9 * size).all()
    lower = slice(MOVING[law], 4)
    places = contact_places(law, x)
    tilt = np.zeros_like(x)  # along the normal, by how far each vertex is from the place in a direction along the feature
    along = x[:, 3] - x[:, 2]
    tilt[:, lower, 2] = np.einsum("nvi,ni->nv", (x[:, lower] - places[:, None])[:, :, :2], along[:, :2])
    projected, exact = matrix_times(law, p, x @ turn.T, x @ turn.T, tilt @ turn.T, project=1)
    work, true = (tilt @ turn.T * projected).sum(axis=(1, 2)), (tilt @ turn.T * exact).sum(axis=(1, 2))
    assert (true > 0.0).all()
    assert (work >= true * (1 - 1e-6)).all()
    if offset > 1.0:
        np.testing.assert_allclose(work, true, rtol=0.2)


def contact_places(law, x):
    """Places on the lower feature [n, 3] below the upper one of stencils whose features are level."""
    if law is POINT_TRIANGLE:
        return x[:, 0] * [1, 1, 0]
    u, v, w = (np.zeros((len(x), 3)) for _ in range(3))
    u[:, :2], v[:, :2], w[:, :2] = ((x[:, b] - x[:, a])[:, :2] for a, b in ((0, 1), (2, 3), (0, 2)))
    t = np.cross(w, u)[:, 2] / np.cross(u, v)[:, 2]
    return x[:, 2] + t[:, None] * (x[:, 3] - x[:, 2])
