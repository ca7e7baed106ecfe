"""What bad input gets: an error that names the thing, says what is allowed and what to do, before anything is computed."""

import numpy as np
import pytest

import physsim as ps

TETRAHEDRON = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
NET = ps.SpringNet([[0.0, 0, 0], [1, 0, 0], [2, 0, 0]], [[0, 1], [1, 2]])


def refuses(*essentials):
    """Context that expects an InputError with every one of the essentials in its message."""
    return pytest.raises(ps.InputError, match="(?s)" + "".join(f"(?=.*{e})" for e in essentials))


def beam_builder():
    builder = ps.ModelBuilder()
    body = builder.add_soft_body(ps.box_mesh((2, 1, 1), (2, 1, 1)), ps.NeoHookean(1e5, 0.3), name="beam")
    builder.attach(body, [0, 1], name="clamp")
    return builder, body


@pytest.fixture(scope="module")
def model():
    return beam_builder()[0].finalize()


@pytest.fixture(scope="module")
def batched():
    return beam_builder()[0].finalize(envs=4)


# --- materials ---------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "essentials"),
    [
        ({"young": 0.0}, ["NeoHookean.young = 0", r"\(0, inf\)"]),
        ({"young": -5.0}, ["NeoHookean.young = -5", r"\(0, inf\)"]),
        ({"young": np.nan}, ["NeoHookean.young", "NaN or infinite"]),
        ({"young": np.inf}, ["NeoHookean.young", "NaN or infinite"]),
        ({"young": "stiff"}, ["NeoHookean.young", "not an array of numbers"]),
        ({"young": [1.0, -1.0]}, ["NeoHookean.young = -1", r"at \[1\]"]),
        ({"young": 1.0, "poisson": 0.5}, ["poisson = 0.5", r"\(-1, 0.5\)", "0.499"]),
        ({"young": 1.0, "poisson": -1.0}, ["poisson = -1", r"\(-1, 0.5\)"]),
        ({"young": 1.0, "density": -1000.0}, ["density = -1000", r"\(0, inf\)"]),
        ({"young": 1.0, "density": 0.0}, ["density = 0"]),
        ({"young": 1.0, "viscosity": -1.0}, ["viscosity = -1", r"\[0, inf\)"]),
        ({"young": 1.0, "mass_damping": -1.0}, ["mass_damping = -1"]),
        ({"young": 1.0, "mass_damping": [1.0, 2.0]}, ["mass_damping", "scalar is needed"]),
    ],
)
def test_material_out_of_range(values, essentials):
    with refuses(*essentials):
        ps.NeoHookean(**values)


def test_spring_out_of_range():
    with refuses("Spring.stiffness = -1", r"\[0, inf\)"):
        ps.Spring(-1.0)
    with refuses("Spring.damping", "NaN"):
        ps.Spring(1.0, [0.0, np.nan])


def test_four_nodes_near_incompressibility_are_warned_of():
    builder = ps.ModelBuilder()
    with pytest.warns(UserWarning, match=r"0\.49.*four-node.*locks.*quadratic"):
        builder.add_soft_body(ps.box_mesh((1, 1, 1), (1, 1, 1)), ps.NeoHookean(1e5, 0.49))


# --- meshes ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("points", "cells", "essentials"),
    [
        (np.where(TETRAHEDRON == 1, np.nan, TETRAHEDRON), [[0, 1, 2, 3]], ["TetMesh.points", "3 values are NaN", r"\[1, 0\]"]),
        (TETRAHEDRON[:, :2], [[0, 1, 2, 3]], ["TetMesh.points", r"shape \[4, 2\]", r"\[any, 3\]"]),
        (TETRAHEDRON, [[0, 1, 2, 4]], ["TetMesh.cells", r"index 4 at \[0, 3\]", "0 to 3"]),
        (TETRAHEDRON, [[0, 1, 2, -1]], ["TetMesh.cells", "index -1", "0 to 3"]),
        (TETRAHEDRON, [[0, 2, 1, 3]], [r"tetrahedra \[0\]", "inverted", "swap"]),
        (TETRAHEDRON * [1, 1, 0], [[0, 1, 2, 3]], [r"tetrahedra \[0\]", "flat"]),
        (TETRAHEDRON, [[0, 1, 2, 2]], [r"tetrahedra \[0\]", "twice"]),
        (np.concatenate([TETRAHEDRON, [[5, 5, 5.0]]]), [[0, 1, 2, 3]], [r"points \[4\]", "no tetrahedron", "remove"]),
        (TETRAHEDRON, [[0, 1, 2]], ["TetMesh.cells", r"\[1, 3\]", "4 or 10"]),
        (TETRAHEDRON, np.zeros((0, 4), int), ["TetMesh.cells", "4 or 10"]),
        (TETRAHEDRON, [[0.0, 1.0, 2.0, 3.0]], ["TetMesh.cells", "whole numbers", "float64"]),
        (TETRAHEDRON, [0, 1, 2, 3], ["TetMesh.cells", "4 or 10"]),
    ],
)
def test_tetrahedra_that_cannot_be(points, cells, essentials):
    with refuses(*essentials):
        ps.TetMesh(points, cells)


def test_middle_nodes_in_another_order_are_refused():
    """Gmsh and Abaqus number the last middle nodes differently; taken as they are, the element would be folded."""
    mesh = ps.box_mesh((1, 1, 1), (1, 1, 1), order=2)
    cells = mesh.cells.copy()
    cells[2] = cells[2][[0, 1, 2, 3, 4, 5, 6, 7, 9, 8]]
    with refuses(r"tetrahedra \[2\]"):
        ps.TetMesh(mesh.points, cells)


def test_many_bad_tetrahedra_are_counted_and_the_first_named():
    mesh = ps.box_mesh((4, 1, 1), (4, 1, 1))
    with refuses(r"tetrahedra \[0, 1, 2, 3, 4, 5, 6, 7, ...\] \(20 in all\)", "inverted"):
        ps.TetMesh(mesh.points, mesh.cells[:, [0, 2, 1, 3]])


@pytest.mark.parametrize(
    ("arguments", "essentials"),
    [
        (((1, 1, 0), (1, 1, 1)), ["size = 0", r"\(0, inf\)"]),
        (((1, 1, 1), (1, 0, 1)), ["cells = 0", r"\[1, inf\)"]),
        (((1, 1, 1), (1, 1.5, 1)), ["cells", "whole numbers"]),
        (((1, 1), (1, 1, 1)), ["size", r"\[3\] is needed"]),
        (((1, 1, 1), (1, 1, 1), 3), ["order = 3", "1", "2"]),
    ],
)
def test_box_that_cannot_be(arguments, essentials):
    with refuses(*essentials):
        ps.box_mesh(*arguments)


@pytest.mark.parametrize(
    ("points", "edges", "lengths", "essentials"),
    [
        ([[0, 0, 0], [1, 0, 0]], [[0, 2]], None, ["SpringNet.edges", "index 2", "0 to 1"]),
        ([[0, 0, 0], [1, 0, 0]], [[1, 1]], None, ["SpringNet.edges", "itself"]),
        ([[0, 0, 0], [0, 0, 0]], [[0, 1]], None, ["rest_lengths = 0", r"\(0, inf\)"]),
        ([[0, 0, 0], [1, 0, 0]], [[0, 1]], [-1.0], ["rest_lengths = -1"]),
        ([[0, 0, 0], [1, 0, 0]], [[0, 1]], [1.0, 2.0], ["rest_lengths", r"shape \[2\]", r"\[1\]"]),
        ([[0, 0, np.inf], [1, 0, 0]], [[0, 1]], None, ["SpringNet.points", "infinite"]),
        ([[0, 0, 0], [1, 0, 0]], [[0, 1, 2]], None, ["SpringNet.edges", r"\[any, 2\]"]),
    ],
)
def test_spring_nets_that_cannot_be(points, edges, lengths, essentials):
    with refuses(*essentials):
        ps.SpringNet(points, edges, lengths)


# --- the builder -------------------------------------------------------------------------------------------------------------------


def test_builder_refuses_what_is_not_a_body():
    builder = ps.ModelBuilder()
    with refuses("TetMesh is needed", "SpringNet was given"):
        builder.add_soft_body(NET, ps.NeoHookean(1.0))
    with refuses("NeoHookean is needed", "Spring was given"):
        builder.add_soft_body(ps.box_mesh((1, 1, 1), (1, 1, 1)), ps.Spring(1.0))
    with refuses("SpringNet is needed", "TetMesh was given"):
        builder.add_springs(ps.box_mesh((1, 1, 1), (1, 1, 1)), ps.Spring(1.0), 1.0)
    with refuses("no body"):
        builder.finalize()


def test_builder_refuses_values_that_do_not_fit():
    builder = ps.ModelBuilder()
    with refuses("NeoHookean.young", r"shape \[3\]", r"\[5\]"):
        builder.add_soft_body(ps.box_mesh((1, 1, 1), (1, 1, 1)), ps.NeoHookean([1.0, 2.0, 3.0]))
    with refuses("Spring.stiffness", r"shape \[3\]", r"\[2\]"):
        builder.add_springs(NET, ps.Spring([1.0, 2.0, 3.0]), 1.0)
    with refuses("mass = 0", r"\(0, inf\)"):
        builder.add_springs(NET, ps.Spring(1.0), [1.0, 0.0, 1.0])
    with refuses("mass", r"shape \[2\]", r"\[3\]"):
        builder.add_springs(NET, ps.Spring(1.0), [1.0, 1.0])
    with refuses("velocity", "NaN"):
        builder.add_springs(NET, ps.Spring(1.0), 1.0, velocity=(np.nan, 0, 0))
    with refuses("gravity", r"\[3\]"):
        ps.ModelBuilder(gravity=9.81)


def test_a_refused_body_leaves_the_builder_as_it_was():
    builder, _ = beam_builder()
    with refuses("NeoHookean.young"):
        builder.add_soft_body(ps.box_mesh((1, 1, 1), (1, 1, 1)), ps.NeoHookean([1.0, 2.0]), name="second")
    builder.add_soft_body(ps.box_mesh((1, 1, 1), (1, 1, 1)), ps.NeoHookean(1.0), name="second")
    assert builder.finalize().particle_count == 12 + 8


def test_builder_refuses_taken_names_and_foreign_bodies():
    builder, body = beam_builder()
    with refuses("'beam' is taken"):
        builder.add_soft_body(ps.box_mesh((1, 1, 1), (1, 1, 1)), ps.NeoHookean(1.0), name="beam")
    with refuses("'clamp' is taken"):
        builder.attach(body, [3], name="clamp")
    other = beam_builder()[1]
    for call in (lambda: builder.attach(other, [0]), lambda: builder.add_mass(other, [0], 1.0), lambda: builder.attach("beam", [0])):
        with refuses("Body that this builder made"):
            call()


@pytest.mark.parametrize(
    ("points", "essentials"),
    [
        ([12], ["points of 'beam'", r"index 12 at \[0\]", "0 to 11"]),
        ([0, -1], ["points of 'beam'", r"index -1 at \[1\]"]),
        ([0, 0], ["points of 'beam'", "twice"]),
        ([], ["points of 'beam'"]),
        ([0.5], ["points of 'beam'", "whole numbers"]),
        (np.ones(12, bool), ["points of 'beam'", "whole numbers", "bool"]),
    ],
)
def test_builder_refuses_points_that_a_body_lacks(points, essentials):
    builder, body = beam_builder()
    for call in (builder.attach, lambda b, p: builder.add_mass(b, p, 1.0), lambda b, p: builder.add_load(b, p, (0, 0, 1.0))):
        with refuses(*essentials):
            call(body, points)


def test_builder_refuses_masses_loads_and_stiffnesses_out_of_range():
    builder, body = beam_builder()
    with refuses("mass = -1"):
        builder.add_mass(body, [0], -1.0)
    with refuses("weights", r"shape \[2\]", r"\[1\]"):
        builder.add_mass(body, [0], 1.0, weights=[1.0, 1.0])
    with refuses("weights", "zero"):
        builder.add_load(body, [0, 1], (0, 0, 1.0), weights=[0.0, 0.0])
    with refuses("force", "NaN"):
        builder.add_load(body, [0], (0, 0, np.nan))
    with refuses("stiffness = 0"):
        builder.attach(body, [0], stiffness=0.0)


@pytest.mark.parametrize(
    ("options", "essentials"),
    [
        ({"device": "tpu"}, ["device = 'tpu'", "cpu"]),
        ({"device": "cuda:99"}, ["device = 'cuda:99'", "cpu"]),
        ({"dtype": "float16"}, ["dtype = 'float16'", "float32", "float64"]),
        ({"dtype": np.float64}, ["dtype", "float32", "float64"]),
        ({"envs": 0}, ["envs = 0", r"\[1, inf\)"]),
        ({"envs": 2.5}, ["envs", "whole numbers"]),
    ],
)
def test_finalize_refuses(options, essentials):
    with refuses(*essentials):
        beam_builder()[0].finalize(**options)


@pytest.mark.parametrize("envs", [1, 2, 3, 5, 10, 12])
def test_any_number_of_environments(envs):
    """A count that happens to be that of gravity's components or of the tetrahedra is nothing special."""
    assert beam_builder()[0].finalize(envs=envs).state().positions.shape == (envs, 12, 3)


# --- the model, its states and parameters --------------------------------------------------------------------------------------------


def test_model_says_which_bodies_and_parameters_it_has(model):
    with refuses("no body 'bean'", "beam"):
        model.body("bean")
    with pytest.raises(AttributeError, match=r"'beam' has no parameter 'stiffness'.*young"):
        _ = model.body("beam").stiffness
    with refuses("no parameter 'beam.yung'", "beam.young"):
        model.parameters.replace({"beam.yung": 1.0})
    with refuses("no parameter 'beam.viscosity'"):  # a law that the material left out
        ps.solve_equilibrium(model, params={"beam.viscosity": 1.0})


@pytest.mark.parametrize(
    ("name", "value", "essentials"),
    [
        ("beam.young", -1.0, ["beam.young = -1", r"\(0, inf\)"]),
        ("beam.young", np.nan, ["beam.young", "NaN"]),
        ("beam.young", np.ones(7), ["beam.young", r"shape \[7\]", r"\[10\]"]),
        ("beam.poisson", 0.5, ["beam.poisson = 0.5", r"\(-1, 0.5\)", "0.499"]),
        ("beam.density", 0.0, ["beam.density = 0"]),
        ("gravity", [0.0, 1.0], ["gravity", r"shape \[2\]", r"\[3\]"]),
    ],
)
def test_parameter_values_out_of_range(model, name, value, essentials):
    with refuses(*essentials):
        model.parameters.replace({name: value})


def test_parameter_shape_that_could_mean_two_things(batched):
    builder = ps.ModelBuilder()
    builder.add_springs(NET, ps.Spring(1.0), 1.0, name="net")
    two = builder.finalize(envs=2)
    with refuses("net.stiffness", r"\[2\] could mean", r"\[2, 1\]"):
        two.parameters.replace({"net.stiffness": [1.0, 2.0]})
    assert two.parameters.replace({"net.stiffness": [[1.0], [2.0]]})["net.stiffness"].tolist() == [[1, 1], [2, 2]]
    assert batched.parameters.replace({"beam.young": [1.0, 2.0, 3.0, 4.0]})["beam.young"][:, 0].tolist() == [1, 2, 3, 4]
    with refuses("beam.young", r"shape \[5\]"):
        batched.parameters.replace({"beam.young": np.ones(5)})


def test_states_that_do_not_fit(model, batched):
    with refuses("positions", r"shape \[11, 3\]", r"\[12, 3\]"):
        model.state(np.zeros((11, 3)))
    with refuses("velocities", "NaN", r"\[3, 1\]"):
        velocities = np.zeros((12, 3))
        velocities[3, 1] = np.nan
        model.state(velocities=velocities)
    with refuses("positions", r"shape \[2, 12, 3\]", r"\[4, 12, 3\]"):
        batched.state(np.zeros((2, 12, 3)))
    with refuses("positions", "not an array"):
        model.state("here")
    with refuses("time", "infinite"):
        model.state(time=np.inf)


def test_files_that_hold_something_else(model, batched, tmp_path):
    with refuses("none.npz", "no such file"):
        model.load_state(tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("not an archive")
    with refuses("text.npz", "cannot be read as npz of plain arrays"):
        model.load_state(tmp_path / "text.npz")
    model.save_parameters(tmp_path / "parameters.npz")
    with refuses("parameters.npz", "'parameters'", "'state' is needed"):
        model.load_state(tmp_path / "parameters.npz")
    batched.state().save(tmp_path / "state.npz")
    with refuses("positions", r"shape \[4, 12, 3\]"):
        model.load_state(tmp_path / "state.npz")
    whole = (tmp_path / "state.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    with refuses("cut.npz", "cut short"):
        batched.load_state(tmp_path / "cut.npz")
    builder = ps.ModelBuilder()
    builder.add_springs(NET, ps.Spring(1.0), 1.0, name="net")
    with refuses("no parameter 'beam.young'"):
        builder.finalize().load_parameters(tmp_path / "parameters.npz")


# --- solvers and controls ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "essentials"),
    [
        ({"dt": 0.0}, ["dt = 0", r"\(0, inf\)"]),
        ({"dt": np.nan}, ["dt", "NaN"]),
        ({"integrator": "rk4"}, ["integrator = 'rk4'", "bdf2", "backward_euler"]),
        ({"tolerance": -1.0}, ["tolerance = -1"]),
        ({"max_iterations": 0}, ["max_iterations = 0"]),
        ({"linear": "lu"}, ["linear = 'lu'", "direct", "cg"]),
    ],
)
def test_implicit_solver_refuses(model, options, essentials):
    with refuses(*essentials):
        ps.SolverImplicit(model, **options)


def test_solvers_refuse_foreign_states_and_controls(model):
    other = beam_builder()[0].finalize()
    solver = ps.SolverImplicit(model, dt=0.01)
    with refuses("another model", "model.state()"):
        solver.step(other.state())
    with refuses("another model"):
        ps.solve_equilibrium(model, other.state())
    with refuses("Control is needed", "dict was given"):
        solver.step(model.state(), control={"clamp": 0})
    with refuses("linear = 'lu'"):
        ps.solve_equilibrium(model, linear="lu")
    with refuses("tolerance = 0"):
        ps.solve_equilibrium(model, tolerance=0.0)


def test_static_solver_refuses_what_is_no_control(model):
    with refuses("Control is needed"):
        ps.solve_equilibrium(model, control={"clamp": 0})


def test_solvers_refuse_a_foreign_parameter_set(model):
    builder = ps.ModelBuilder()
    builder.add_springs(NET, ps.Spring(1.0), 1.0, name="net")
    with refuses("another model"):
        ps.SolverImplicit(model, dt=0.01).step(model.state(), params=builder.finalize().parameters)


def test_controls_that_do_not_fit(model):
    solver = ps.SolverImplicit(model, dt=0.01)
    with refuses("Control.times", "later"):
        ps.Control([0.0, 0.0], {"clamp": np.zeros((2, 2, 3))})
    with refuses("Control.targets", "'clamp'", r"\[2, points, 3\]"):
        ps.Control([0.0, 1.0], {"clamp": np.zeros((1, 2, 3))})
    with refuses("no attachment 'clmp'", "clamp"):
        solver.step(model.state(), control=ps.Control([0.0], {"clmp": np.zeros((1, 2, 3))}))
    with refuses("'clamp'", r"\[1, 1, 5, 3\]", r"\[1, 1, 2, 3\]"):
        solver.step(model.state(), control=ps.Control([0.0], {"clamp": np.zeros((1, 5, 3))}))
    with refuses("'clamp'", "NaN"):
        solver.step(model.state(), control=ps.Control([0.0], {"clamp": np.full((1, 2, 3), np.nan)}))


def test_points_outside_a_body_cannot_be_carried_with_it():
    mesh = ps.box_mesh((1, 1, 1), (1, 1, 1), order=2)
    nodes, weights = mesh.interpolation([[0.2, 0.3, 0.4]])
    np.testing.assert_allclose(np.einsum("pk,pki->pi", weights, mesh.points[nodes]), [[0.2, 0.3, 0.4]], atol=1e-12)
    with refuses("point 1", "0.5 m outside", "0.1 m"):
        mesh.interpolation([[0.5, 0.5, 0.5], [1.5, 0.5, 0.5]], outside=0.1)
