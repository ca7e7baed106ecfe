"""Linear solvers against numpy on matrices of real assemblies: kept factors, conjugate gradient and its parallel twin."""

from functools import partial

import numpy as np
import pytest
import warp as wp

import physsim as ps
from physsim.physics.assembly import Assembly
from physsim.physics.diff.exact import ExactSolver
from physsim.physics.solvers import aggregation, linear


def scene(kind, envs=4, dtype="float64"):
    builder = ps.ModelBuilder()
    if kind == "solid":
        mesh = ps.box_mesh((0.3, 0.1, 0.1), (3, 1, 1), order=2)
        body = builder.add_soft_body(mesh, ps.NeoHookean(2e4, 0.35), name="body")
        builder.attach(body, np.flatnonzero(mesh.points[:, 0] == 0.0))
    else:
        body = builder.add_springs(ps.spring_net((5, 4), (0.5, 0.4)), ps.Spring(100.0), 0.1, name="body")
        builder.attach(body, [0, 5])
    return builder.finalize(envs=envs, dtype=dtype)


def assembled(kind, rng, envs=4, dtype="float64", block_dtype="float64", rate=200.0, amount=0.001):
    """Assembly at random states, a dense copy of each environment's matrix over free particles [envs, 3f, 3f], and the free ones."""
    model = scene(kind, envs, dtype)
    a = Assembly(model, block_dtype=block_dtype)
    a.require_pattern()
    a.set_step(rate, 1.0, 0.0)
    x = model.rest + amount * rng.normal(size=(envs, *model.rest.shape))
    a.x.assign(model.vectors(x))
    a.assemble()
    a.evaluate()
    n = model.particle_count
    blocks = a.values.numpy()[..., :3].astype(np.float64)
    dense = np.zeros((envs, n, 3, n, 3))
    for i in range(n):
        dense[:, i, :, i] = blocks[:, i]
    for entry, (i, j) in enumerate(zip(a.pattern.rows, a.pattern.columns, strict=True)):
        dense[:, i, :, j] = blocks[:, n + entry]
        dense[:, j, :, i] = blocks[:, n + entry].transpose(0, 2, 1)
    free = np.flatnonzero(model.free)
    matrix = dense[:, free][:, :, :, free].reshape(envs, 3 * len(free), 3 * len(free))
    assert rate == 0.0 or np.linalg.eigvalsh(matrix).min() > 0
    return a, matrix, free


def right_side(a, free, rng):
    """A random right side as device array, and the rows of the free particles [envs, 3f]."""
    host = rng.normal(size=(*a.x.shape, 3))
    return a.model.vectors(host), host[:, free].reshape(len(host), -1)


def rows(array, free):
    host = array.numpy().astype(np.float64)
    return host[:, free].reshape(len(host), -1)


def solve_in_parallel(a, twin, right, out, tolerance):
    """(iterations, status) of each environment."""
    envs = a.model.envs
    iterations, status = wp.zeros(envs, dtype=int), wp.zeros(envs, dtype=int)
    twin.solve(right, out, wp.array(np.full(envs, tolerance), dtype=wp.float64), iterations, status)
    return iterations.numpy(), status.numpy()


scenes = pytest.mark.parametrize("kind", ["solid", "net"])


@scenes
def test_assembled_matrix_times_a_vector_is_the_exact_product(kind, rng):
    """`multiply` (blocks) against `product` (reverse mode of the laws) against the dense matrix."""
    a, matrix, free = assembled(kind, rng)
    u = np.zeros((*a.x.shape, 3))
    u[:, free] = rng.normal(size=(len(u), len(free), 3))
    source, by_blocks, by_laws = a.model.vectors(u), a.vectors(a.x.shape), a.vectors(a.x.shape)
    a.multiply(source, by_blocks)
    a.product(source, by_laws)
    expected = np.einsum("eij,ej->ei", matrix, rows(source, free))
    for found in (by_blocks, by_laws):
        np.testing.assert_allclose(rows(found, free), expected, rtol=0, atol=1e-12 * np.abs(expected).max())


@scenes
@pytest.mark.parametrize("banded", [True, False])
def test_direct_equals_numpy(kind, banded, rng, monkeypatch):
    """The banded factor, and SuperLU where the band is said to be too costly."""
    if not banded:
        monkeypatch.setattr(linear, "BANDED_LIMIT", 0.0)
    a, matrix, free = assembled(kind, rng)
    direct = linear.Direct(a, linear.build_band(a.model, a.pattern))
    factors = direct.factorise(np.ones(4, bool), None)
    assert all(f.definite and f.exact for f in factors)
    right, b = right_side(a, free, rng)
    served = direct.solve(factors, right, a.direction)
    assert served.all()
    expected = np.linalg.solve(matrix, b[..., None])[..., 0]
    np.testing.assert_allclose(rows(a.direction, free), expected, rtol=0, atol=1e-10 * np.abs(expected).max())
    assert (a.direction.numpy()[:, ~a.model.free] == 0).all()


def test_direct_keeps_the_factors_that_it_is_not_asked_to_renew(rng):
    a, _, _ = assembled("solid", rng)
    direct = linear.Direct(a, linear.build_band(a.model, a.pattern))
    first = direct.factorise(np.ones(4, bool), None)
    second = direct.factorise(np.array([False, True, False, False]), first)
    assert [s is f for s, f in zip(second, first, strict=True)] == [True, False, True, True]


@scenes
@pytest.mark.parametrize("banded", [True, False])
def test_direct_lifts_an_indefinite_matrix_and_says_so(kind, banded, rng, monkeypatch):
    """Statics of a shrunken body: negative directions. The factor that comes back is definite and not called exact."""
    if not banded:
        monkeypatch.setattr(linear, "BANDED_LIMIT", 0.0)
    a, _, free = squeezed(kind, rng)
    direct = linear.Direct(a, linear.build_band(a.model, a.pattern))
    factors = direct.factorise(np.ones(4, bool), None)
    assert all(f.definite and not f.exact for f in factors)
    right, b = right_side(a, free, rng)
    assert direct.solve(factors, right, a.direction).all()
    assert ((rows(a.direction, free) * b).sum(axis=1) > 0).all()  # a descent direction


def squeezed(kind, rng, envs=4):
    """An assembly without inertia at a state of three quarters of the body's size: the exact Hessian is indefinite."""
    a, _, free = assembled(kind, rng, envs, rate=0.0)
    a.x.assign(a.model.vectors(np.tile(0.75 * a.model.rest, (envs, 1, 1))))
    a.assemble()
    n = a.model.particle_count
    columns = np.zeros((3 * len(free), 3 * len(free)))
    source, result = a.vectors(a.x.shape), a.vectors(a.x.shape)
    for k in range(3 * len(free)):
        host = np.zeros((envs, n, 3))
        host[:, free[k // 3], k % 3] = 1.0
        source.assign(host)
        a.product(source, result)
        columns[:, k] = rows(result, free)[0]
    assert np.linalg.eigvalsh(columns)[0] < -1e-3 * np.linalg.eigvalsh(columns)[-1]
    return a, columns, free


@scenes
@pytest.mark.parametrize("block_dtype", ["float64", "float32"])
def test_conjugate_gradient_equals_numpy(kind, block_dtype, rng):
    a, matrix, free = assembled(kind, rng, block_dtype=block_dtype)
    cg = linear.Iterative(a)
    right, b = right_side(a, free, rng)
    tolerance = 1e-12 if block_dtype == "float64" else 1e-6
    assert cg.solve(right, a.direction, tolerance).all()
    expected = np.linalg.solve(matrix, b[..., None])[..., 0]
    np.testing.assert_allclose(rows(a.direction, free), expected, rtol=0, atol=1e3 * tolerance * np.abs(expected).max())
    assert cg.total_iterations == cg.iterations.numpy().sum() > 0


@scenes
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_parallel_conjugate_gradient_is_the_native_ones_twin(kind, dtype, rng):
    """The CUDA form runs on the CPU too: the same solution in the same number of iterations, give or take rounding."""
    a, matrix, free = assembled(kind, rng, dtype=dtype, block_dtype=dtype)
    tolerance = 1e-10 if dtype == "float64" else 1e-5
    native = linear.Iterative(a)
    right, b = right_side(a, free, rng)
    assert native.solve(right, a.direction, tolerance).all()
    twin = linear.ParallelConjugateGradient(a, native.limit)
    out = a.vectors(a.x.shape)
    iterations, status = solve_in_parallel(a, twin, right, out, tolerance)
    assert (status == 0).all()
    expected = np.linalg.solve(matrix, b[..., None])[..., 0]
    size = np.abs(expected).max()
    np.testing.assert_allclose(rows(out, free), expected, rtol=0, atol=1e3 * tolerance * size)
    np.testing.assert_allclose(rows(out, free), rows(a.direction, free), rtol=0, atol=1e3 * tolerance * size)
    assert np.abs(iterations - native.iterations.numpy()).max() <= 2 + 0.05 * native.iterations.numpy().max()
    assert (out.numpy()[:, ~a.model.free] == 0).all()


def touching(rng, dtype, envs=2):
    """Assembly of a soft block that a rigid brick lies on and a driven plate presses, after a few steps, with the matrix at its end."""
    builder = ps.ModelBuilder()
    builder.add_soft_body(ps.box_mesh((0.05, 0.05, 0.05), (2, 2, 2), origin=(0, 0, 6e-4)), ps.NeoHookean(5e4, 0.3, 1000.0), name="block")
    brick = ps.box_mesh((0.04, 0.04, 0.02), (1, 1, 1))
    brick = ps.TriMesh(brick.points, brick.surface())
    builder.add_rigid_body(brick, 2000.0, position=(0.005, 0.005, 0.0515), angular_velocity=(0.5, 1.0, 0.0), name="brick")
    builder.add_driven(ps.Box((0.02, 0.1, 0.04)), (-0.0106, 0.025, 0.03), stiffness=2e3, name="plate")
    builder.add_ground()
    builder.enable_contact(friction=0.4)
    model = builder.finalize(envs=envs, dtype=dtype)
    solver, state = ps.SolverImplicit(model, 1 / 240, "backward_euler"), model.state()
    place = model.positions[model.attachments["plate"].particles]
    control = ps.Control([0.0, 0.02], {"plate": np.stack([place, place + [0.004, 0.0, 0.0]])})
    for _ in range(5):
        state, _ = solver.step(state, control)
    a = solver.assembly
    a.set_project(True)
    a.assemble()
    assert a.entries.count.numpy().min() > 50
    return a


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_parallel_conjugate_gradient_with_frames_in_contact_is_the_native_ones_twin(dtype, rng):
    """Blocks beside the pattern, and frames as one block of the preconditioner: as many iterations, give or take rounding."""
    a = touching(rng, dtype)
    free = np.flatnonzero(a.model.free)
    tolerance = 1e-9 if dtype == "float64" else 1e-4
    native = linear.Iterative(a, native=True)
    right, _ = right_side(a, free, rng)
    assert native.solve(right, a.direction, tolerance).all()
    twin = linear.ParallelConjugateGradient(a, native.limit)
    out = a.vectors(a.x.shape)
    iterations, status = solve_in_parallel(a, twin, right, out, tolerance)
    print(iterations, native.iterations.numpy())
    assert (status == 0).all()
    size = np.abs(rows(a.direction, free)).max()
    np.testing.assert_allclose(rows(out, free), rows(a.direction, free), rtol=0, atol=1e3 * tolerance * size)
    assert np.abs(iterations - native.iterations.numpy()).max() <= 2 + 0.05 * native.iterations.numpy().max()
    twin._frames = twin._frames[:0]  # blocks of three instead
    twin._recorded.clear()
    plain, _ = solve_in_parallel(a, twin, right, out, tolerance)
    print(plain)
    assert (plain > 1.5 * iterations).all()


def test_steps_in_contact_by_either_form_of_conjugate_gradient_end_in_the_same_place(rng, monkeypatch):
    ends = [touching(rng, "float64").x.numpy()]
    monkeypatch.setattr(linear, "Iterative", partial(linear.Iterative, native=False))
    ends.append(touching(rng, "float64").x.numpy())
    assert np.abs(ends[1] - ends[0]).max() < 1e-7


@scenes
@pytest.mark.parametrize("form", ["native", "parallel"])
def test_conjugate_gradient_reports_an_indefinite_matrix(kind, form, rng):
    a, _, free = squeezed(kind, rng)
    right, _ = right_side(a, free, rng)
    native = linear.Iterative(a)
    if form == "native":
        assert not native.solve(right, a.direction, 1e-8).any()
    else:
        _, status = solve_in_parallel(a, linear.ParallelConjugateGradient(a, native.limit), right, a.direction, 1e-8)
        assert (status == 1).all()
    assert np.isfinite(a.direction.numpy()).all()


@pytest.mark.parametrize("form", ["native", "parallel"])
def test_conjugate_gradient_leaves_inactive_environments_alone(form, rng):
    a, _, free = assembled("net", rng)
    right, _ = right_side(a, free, rng)
    native = linear.Iterative(a)
    mark = rng.normal(size=(*a.x.shape, 3))
    a.direction.assign(mark)
    a.set_active(np.array([True, False, True, False]))
    if form == "native":
        np.testing.assert_array_equal(native.solve(right, a.direction, 1e-8), [True, False, True, False])
    else:
        solve_in_parallel(a, linear.ParallelConjugateGradient(a, native.limit), right, a.direction, 1e-8)
    np.testing.assert_array_equal(a.direction.numpy()[[1, 3]], mark[[1, 3]])
    assert (a.direction.numpy()[0] != mark[0]).any()


def test_zero_right_side_has_the_zero_solution(rng):
    a, _, _ = assembled("net", rng)
    zero = a.vectors(a.x.shape)
    a.direction.assign(rng.normal(size=(*a.x.shape, 3)))
    assert linear.Iterative(a).solve(zero, a.direction, 1e-8).all()
    assert (a.direction.numpy()[:, a.model.free] == 0).all()


@scenes
@pytest.mark.parametrize("name", ["direct", "cg"])
def test_exact_solver_solves_definite_and_indefinite_systems(kind, name, rng):
    """What adjoint and tangent use: flexible conjugate gradient, MINRES where the exact Hessian is indefinite."""
    definite, matrix, free = assembled(kind, rng)
    indefinite, columns, _ = squeezed(kind, rng)
    for a, dense in ((definite, matrix), (indefinite, np.tile(columns, (4, 1, 1)))):
        solver = linear.Direct(a, linear.build_band(a.model, a.pattern)) if name == "direct" else linear.Iterative(a)
        exact = ExactSolver(a, solver, 1e-11)
        exact.at_new_point()
        right, b = right_side(a, free, rng)
        exact.solve(right, a.direction)
        limit = 1e-6 if a is indefinite else 1e-11  # MINRES measures by |H| |y|; above 1e-6 a gradient warns
        assert exact.worst < limit
        residual = np.linalg.norm(np.einsum("eij,ej->ei", dense, rows(a.direction, free)) - b, axis=1) / np.linalg.norm(b, axis=1)
        assert residual.max() < 10 * limit
        assert residual.max() == pytest.approx(exact.worst, rel=0.1, abs=1e-13)
        assert (exact.indefinite > 0) == (a is indefinite)


def test_solver_is_chosen_by_kind_and_size(monkeypatch):
    """Solids, rods and statics take a direct factor while the band is affordable; nets iterate, large ones with multigrid."""

    def choose(kind, **options):
        return linear.choose(scene(kind, envs=2), "auto", **options).name

    assert choose("net") == "cg"
    assert choose("net", static=True) == "direct"
    assert choose("solid") == "direct"
    line = np.stack([np.linspace(0.0, 1.0, 300), np.zeros(300), np.zeros(300)], axis=1)
    builder = ps.ModelBuilder()
    edges = np.stack([np.arange(299), np.arange(1, 300)], axis=1)
    builder.attach(builder.add_springs(ps.SpringNet(line, edges), ps.Spring(100.0), 0.1), [0])
    assert linear.choose(builder.finalize()).name == "direct"
    monkeypatch.setattr(linear, "MULTIGRID_FROM", 10)
    assert choose("net") == "multigrid"
    monkeypatch.setattr(linear, "DIRECT_LIMIT", 1.0)
    assert choose("solid") == "multigrid"
    monkeypatch.setattr(linear, "MULTIGRID_FROM", 1000)
    assert choose("net", static=True) == "cg"


def sheet(rng, side, stretch, envs=2, block_dtype="float64", rate=90.0, projected=False):
    """Assembly of a crumpled square sheet, two corners held, with gradient and matrix."""
    mesh = ps.sheet_mesh((1.0, 1.0), (side, side))
    builder = ps.ModelBuilder()
    body = builder.add_cloth(mesh, ps.Shell(stretch=stretch, bending=1e-7 * stretch, area_density=0.2))
    builder.attach(body, [0, side])
    model = builder.finalize(envs=envs)
    a = Assembly(model, block_dtype=block_dtype)
    a.require_pattern()
    a.set_step(rate, 1.0, 0.0)
    x = model.rest + 0.02 / side * rng.normal(size=(envs, *model.rest.shape))
    a.x.assign(model.vectors(x))
    a.predictor.assign(model.vectors(x))
    a.set_project(projected)
    a.assemble()
    a.evaluate()
    return a


@pytest.mark.parametrize("block_dtype", ["float64", "float32"])
def test_multigrid_solves_what_a_direct_factor_solves(block_dtype, rng, monkeypatch):
    monkeypatch.setattr(aggregation, "COARSEST", 4)
    a = sheet(rng, 20, 1e3, block_dtype=block_dtype, projected=True)
    solver = linear.Multigrid(a)
    assert len(solver.plan.sizes) == 3  # particles, a middle level, the dense one
    free = np.flatnonzero(a.model.free)
    right, _ = right_side(a, free, rng)
    tolerance = 1e-12 if block_dtype == "float64" else 1e-5
    assert solver.solve(right, a.direction, tolerance).all()
    found = rows(a.direction, free)
    exact = linear.Direct(a, linear.build_band(a.model, a.pattern))
    factors = tuple(linear.Factor(exact.band, values) for values in a.values.numpy())
    for env in range(2):
        expected = factors[env].solve(right.numpy()[env])[free].ravel()
        np.testing.assert_allclose(found[env], expected, rtol=0, atol=100 * tolerance * np.abs(expected).max())
    # the same matrix serves another right side without a new set-up, and an inactive environment is left alone
    a.set_active(np.array([True, False]))
    before = a.direction.numpy()[1].copy()
    solver.solve(right, a.direction, 1e-2)
    assert np.array_equal(a.direction.numpy()[1], before)
    # a new matrix is set up for each environment when it first takes part
    a.sum_blocks(1e4)
    solver.solve(right, a.direction, tolerance)
    a.set_active(True)
    assert solver.solve(right, a.direction, tolerance).all()
    factor = linear.Factor(exact.band, a.values.numpy()[1])
    expected = factor.solve(right.numpy()[1])[free].ravel()
    np.testing.assert_allclose(rows(a.direction, free)[1], expected, rtol=0, atol=100 * tolerance * np.abs(expected).max())


def test_multigrid_of_many_separate_pieces_stays_small_and_exact(rng):
    """One node a piece is left on the coarsest level: no dense factor of them all."""
    pieces, side = 100, 3
    net = ps.spring_net((side, side), (0.1, 0.1))
    n = len(net.points)
    points = np.concatenate([net.points + [0.2 * k, 0, 0] for k in range(pieces)])
    edges = np.concatenate([net.edges + n * k for k in range(pieces)])
    builder = ps.ModelBuilder()
    body = builder.add_springs(ps.SpringNet(points, edges), ps.Spring(100.0), 0.1)
    builder.attach(body, n * np.arange(pieces))
    a = Assembly(builder.finalize(), block_dtype="float64")
    a.set_step(60.0, 1.0, 0.0)
    a.x.assign(a.model.vectors(a.model.rest[None] * 1.05))
    a.set_project(True)
    a.assemble()
    solver = linear.Multigrid(a)
    assert solver.plan.sizes[-1] >= pieces
    assert solver.plan.work < 1000 * pieces
    free = np.flatnonzero(a.model.free)
    right, _ = right_side(a, free, rng)
    assert solver.solve(right, a.direction, 1e-12).all()
    expected = linear.Factor(linear.build_band(a.model, a.pattern), a.values.numpy()[0]).solve(right.numpy()[0])[free].ravel()
    np.testing.assert_allclose(rows(a.direction, free)[0], expected, rtol=0, atol=1e-9 * np.abs(expected).max())


def test_multigrid_iterations_hardly_grow_with_size_and_stiffness(rng):
    """Block Jacobi needs hundreds on the large stiff sheet."""
    counts = {}
    for side, stretch in ((16, 1e3), (48, 1e3), (48, 1e5)):
        a = sheet(rng, side, stretch, envs=1, block_dtype="float32", projected=True)
        smooth = np.sin(np.pi * a.model.rest[None, :, :1]) * np.array([0.3, 0.5, 1.0])
        right = a.model.vectors(smooth)
        for name, solver in (("multigrid", linear.Multigrid(a)), ("cg", linear.Iterative(a))):
            solver.solve(right, a.direction, 1e-3)
            counts[side, stretch, name] = int(solver.total_iterations)
    assert counts[48, 1e3, "multigrid"] < 2.5 * counts[16, 1e3, "multigrid"]
    assert counts[48, 1e5, "multigrid"] < 40
    assert counts[48, 1e5, "cg"] > 4 * counts[48, 1e5, "multigrid"], counts


def test_multigrid_tells_an_indefinite_matrix_before_an_iteration(rng):
    a = sheet(rng, 20, 1e4, rate=0.1)  # crumpled, almost no inertia, exact
    solver = linear.Multigrid(a)
    assert not solver.solve(a.gradient, a.direction, 1e-3).any()
    assert solver.total_iterations == 0


def test_every_free_particle_has_an_aggregate_and_none_is_large(rng):
    a = sheet(rng, 30, 1e3, envs=1)
    graph = aggregation.full_graph(a.model.particle_count, a.pattern.rows, a.pattern.columns)
    number = aggregation.aggregate(graph)
    sizes = np.bincount(number)
    assert (sizes > 0).all()
    assert sizes.max() <= 60
    assert len(sizes) < a.model.particle_count / 8


def test_blocks_in_order_of_memory_and_a_thread_an_entry_give_the_same_matrix(rng):
    assembly, _, _ = assembled("net", rng, envs=2)
    assembly.assemble(3.0)
    serial = assembly.values.numpy().copy()
    assembly._serial = False
    assembly._commands.clear()
    assembly.values.zero_()
    assembly.assemble(3.0)
    assert np.array_equal(assembly.values.numpy(), serial)
