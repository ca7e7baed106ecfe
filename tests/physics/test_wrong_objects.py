"""What objects of the wrong kind get, wherever they are handed in: an error that says what is needed."""

import numpy as np
import pytest
import torch  # noqa: F401

import physsim as ps
from physsim.io.arrays import save_arrays

SQUARE = np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
STILL = [[1.0, 0, 0, 0]]


def held_cloth(name="cloth"):
    """(builder, body, attachment) of two triangles held at two corners."""
    builder = ps.ModelBuilder()
    body = builder.add_cloth(ps.TriMesh(SQUARE, [[0, 1, 2], [0, 2, 3]]), ps.Shell(stretch=10.0, area_density=0.1), name=name)
    return builder, body, builder.attach(body, [0, 1], name="end")


@pytest.mark.parametrize(
    "make",
    [
        ps.SolverImplicit,
        lambda m: ps.SolverExplicit(m, 1e-3),
        ps.SolverStatic,
        ps.solve_equilibrium,
        ps.Probe,
        lambda m: ps.Control.from_poses(m, [0.0], {}),
    ],
)
def test_a_model_is_needed(make):
    with pytest.raises(ps.InputError, match="model: a Model is needed, NoneType was given"):
        make(None)
    with pytest.raises(ps.InputError, match=r"ModelBuilder was given; call its finalize\(\)"):
        make(held_cloth()[0])


def test_simulate_and_equilibrium_want_their_solvers_states_and_tolerances():
    model = held_cloth()[0].finalize()
    static, implicit = ps.SolverStatic(model), ps.SolverImplicit(model)
    with pytest.raises(ps.InputError, match="a SolverImplicit or SolverExplicit is needed, SolverStatic"):
        ps.simulate(static, times=[0.1])
    with pytest.raises(ps.InputError, match="a SolverStatic is needed, SolverImplicit"):
        ps.equilibrium(implicit)
    other = held_cloth()[0].finalize().state()
    for run in (lambda **k: ps.simulate(implicit, times=[0.1], **k), lambda **k: ps.equilibrium(static, **k)):
        with pytest.raises(ps.InputError, match="state: a State is needed, int"):
            run(state=5)
        with pytest.raises(ps.InputError, match="another model"):
            run(state=other)
        for tolerance in (-1, 0):
            with pytest.raises(ps.InputError, match=f"tolerance = {tolerance}: must lie in"):
                run(tolerance=tolerance)


def test_bodies_meshes_and_names_are_needed():
    builder, body, _ = held_cloth()
    model = builder.finalize()
    with pytest.raises(ps.InputError, match="body: a Body is needed, str"):
        ps.Probe(model).stresses(model.state(), "cloth")
    with pytest.raises(ps.InputError, match="NoneType was given; take what its add_"):
        builder.sew(body, [2], None, [0])
    with pytest.raises(ps.InputError, match="'cloth' of another builder"):
        builder.attach(held_cloth()[1], [0])
    with pytest.raises(ps.InputError, match="mesh: a TriMesh, TetMesh or Curve is needed, str"):
        ps.smooth_basis("x", 2)
    with pytest.raises(ps.InputError, match=r"dtype = \['float32'\]: allowed are"):
        builder.finalize(dtype=["float32"])
    with pytest.raises(ps.InputError, match="add_cloth or add_rod first"):
        ps.ModelBuilder().finalize()


def test_files_that_are_none_lack_parts_or_have_no_folder(tmp_path):
    model = held_cloth()[0].finalize()
    with pytest.raises(ps.InputError, match="path: the name of a file is needed, NoneType"):
        model.load_state(None)
    with pytest.raises(ps.InputError, match=r"missing.*cannot be written.*folder"):
        model.state().save(tmp_path / "missing" / "state.npz")
    save_arrays(tmp_path / "part.npz", "state", {"positions": SQUARE, "time": np.array(0.0)})
    with pytest.raises(ps.InputError, match="it holds no velocities; write it again"):
        model.load_state(tmp_path / "part.npz")


@pytest.mark.parametrize(
    ("poses", "options", "message"),
    [
        (SQUARE[:1], {}, r"poses\['end'\]: ndarray was given; a pair"),
        ((SQUARE[:1],), {}, r"poses\['end'\]: 1 entries was given; a pair"),
        ((SQUARE[:1], STILL, STILL), {}, r"poses\['end'\]: 3 entries"),
        (None, {}, r"poses\['end'\]: NoneType"),
        ((SQUARE[:1], [[1, 0, 0, 0], [1]]), {}, "quaternions of 'end': rows of different lengths"),
        ((SQUARE[:1], STILL), {"origins": [0, 0, 0]}, "origins: a dict is needed, list"),
    ],
)
def test_malformed_poses_are_refused(poses, options, message):
    builder, _, attachment = held_cloth()
    with pytest.raises(ps.InputError, match=message):
        ps.Control.from_poses(builder.finalize(), [0.0], {attachment: poses}, **options)


def test_containers_of_poses_and_targets_are_dicts():
    model = held_cloth()[0].finalize()
    for wrong in (None, [1, 2]):
        with pytest.raises(ps.InputError, match="poses: a dict is needed"):
            ps.Control.from_poses(model, [0.0], wrong)
        with pytest.raises(ps.InputError, match=r"Control\.targets: a dict is needed"):
            ps.Control([0.0], wrong)
    with pytest.raises(ps.InputError, match=r"Control\.targets\['end'\]: rows of different lengths"):
        ps.Control([0.0], {"end": [[[0, 0, 0], [1, 2]]]})


def test_attachments_of_another_builder_are_refused():
    builder, _, _ = held_cloth()
    foreign = held_cloth()[2]
    model = builder.finalize()
    with pytest.raises(ps.InputError, match="attachment 'end' is of another builder"):
        ps.Control.from_poses(model, [0.0], {foreign: (SQUARE[:1], STILL)})
    control = ps.Control([0.0], {foreign: SQUARE[None, :2]})
    with pytest.raises(ps.InputError, match="attachment 'end' is of another builder"):
        ps.SolverImplicit(model).step(model.state(), control)


def test_an_explicit_run_that_explodes_below_the_stable_step_says_so():
    builder = ps.ModelBuilder(gravity=(0, 0, 0))
    body = builder.add_cloth(ps.TriMesh(SQUARE, [[0, 1, 2], [0, 2, 3]]), ps.Shell(stretch=10.0, area_density=0.1))
    builder.attach(body, [0])
    model = builder.finalize()
    stable = ps.SolverExplicit(model, 1.0).stable_step()
    state = model.state(velocities=1e6 * SQUARE)
    with pytest.raises(ps.SolverError, match=r"particle [1-3] of body 'cloth'.*is stable at rest.*moves too fast") as caught:
        ps.SolverExplicit(model, 0.9 * stable).run(state, 2000)
    assert "take dt below" not in str(caught.value)
    with pytest.raises(ps.SolverError, match="take dt below"):
        ps.SolverExplicit(model, 3 * stable).run(model.state(velocities=SQUARE), 2000)
