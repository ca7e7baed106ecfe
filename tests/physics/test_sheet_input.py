"""What bad sheets get: an error with indices and a remedy."""

import numpy as np
import pytest

import physsim as ps

SQUARE = np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
TWO = [[0, 1, 2], [0, 2, 3]]
CLOTH = {"stretch": 10.0, "area_density": 0.1}


def refuses(*essentials):
    """Context that expects an InputError with every one of the essentials in its message."""
    return pytest.raises(ps.InputError, match="(?s)" + "".join(f"(?=.*{e})" for e in essentials))


@pytest.mark.parametrize(
    ("points", "triangles", "essentials"),
    [
        (SQUARE + [[np.nan, 0, 0]] * 4, TWO, ["TriMesh.points", "4 values are NaN"]),
        (SQUARE[:, :2], TWO, [r"shape \[4, 2\]", r"\[any, 3\]"]),
        (SQUARE, [[0, 1, 4]], ["index 4", "0 to 3"]),
        (SQUARE, np.zeros((0, 3), int), ["none were given"]),
        (SQUARE, [[0, 1, 2], [2, 3, 3]], [r"triangles \[1\]", "twice", "remove"]),
        (SQUARE, [*TWO, [2, 0, 1]], [r"triangles \[2\]", "repeat", "once"]),
        (SQUARE, [[0, 1, 2]], [r"points \[3\]", "no mass", "remove"]),
        ([*SQUARE, [0, 0, 1]], [*TWO, [0, 2, 4]], ["more than two triangles", "0-2", r"\[0, 1, 2\]", "sew"]),
        (SQUARE, [[0, 1, 2], [0, 3, 2]], ["opposite orientation", "0-2", r"\[0, 1\]", "swap two corners"]),
        ([*SQUARE[:3], SQUARE[2]], TWO, ["edge 2-3 of triangle 1", "no length", "merge"]),
        ([[0, 0, 0], [1, 0, 0], [2, 0, 0], [0, 1, 0]], TWO, [r"triangles \[0\]", "no area", "remove"]),
        ([*SQUARE[:3], [1, 0.01, 0.01]], TWO, ["triangles 0 and 1", "folded onto each other", "pose"]),
    ],
    ids=[
        "nan",
        "flat points",
        "range",
        "none",
        "twice",
        "duplicate",
        "unused",
        "three at an edge",
        "flipped",
        "zero edge",
        "no area",
        "folded",
    ],
)
def test_mesh_is_refused(points, triangles, essentials):
    with refuses(*essentials):
        ps.TriMesh(points, triangles)


@pytest.mark.parametrize(
    ("values", "essentials"),
    [
        ({}, ["no stiffness", "young", "stretch"]),
        ({"young": 1e6, "density": 1.0}, ["young without thickness", "thickness"]),
        ({"young": 1e6, "thickness": 1e-3}, ["either density", "area_density"]),
        ({"young": 1e6, "thickness": 1e-3, "density": 1.0, "area_density": 1.0}, ["either density"]),
        ({"young": 1e6, "thickness": 1e-3, "area_density": 1.0, "stretch": 1.0, "bending": 1.0}, ["no effect", "leave it out"]),
        ({"stretch": 1.0, "density": 1.0}, ["density without thickness"]),
        ({**CLOTH, "stretch": -1.0}, ["Shell.stretch = -1", r"\(0, inf\)"]),
        ({**CLOTH, "stretch": (1.0, 2.0, 3.0)}, ["tuple of 3", "warp, weft"]),
        ({**CLOTH, "bending": -1.0}, ["Shell.bending = -1", r"\[0, inf\)"]),
        ({**CLOTH, "poisson": 1.0}, ["Shell.poisson = 1", r"\(-1, 1\)"]),
        ({**CLOTH, "stretch": (100.0, 5.0)}, ["poisson", "smaller poisson"]),
        ({**CLOTH, "stretch_damping": -1.0}, ["stretch_damping = -1"]),
        ({**CLOTH, "shear": 0.0}, ["Shell.shear = 0"]),
    ],
)
def test_material_is_refused(values, essentials):
    with refuses(*essentials):
        ps.Shell(**values)


def test_sheet_and_material_have_to_fit():
    builder = ps.ModelBuilder()
    mesh = ps.TriMesh(SQUARE, TWO)
    with refuses("TriMesh is needed", "ndarray"):
        builder.add_cloth(SQUARE, ps.Shell(**CLOTH))
    with refuses("Shell is needed", "Spring"):
        builder.add_cloth(mesh, ps.Spring(1.0))
    with refuses("Shell.stretch", r"shape \[3\]", r"\[2\]"):
        builder.add_cloth(mesh, ps.Shell(stretch=np.ones(3), area_density=1.0))
    with refuses("Shell.bending", "0 in part"):
        builder.add_cloth(mesh, ps.Shell(**CLOTH, bending=np.array([0.0, 1.0])))
    with refuses("warp", "no length"):
        builder.add_cloth(mesh, ps.Shell(**CLOTH), warp=(0, 0, 0))
    with refuses("warp", "across", r"\[0, 1\]"):
        builder.add_cloth(mesh, ps.Shell(stretch=(1.0, 2.0), area_density=1.0), warp=(0, 0, 1))
    with refuses("pose", r"\[4, 3\]"):
        builder.add_cloth(mesh, ps.Shell(**CLOTH), pose=np.zeros((3, 3)))
    assert builder.add_cloth(mesh, ps.Shell(**CLOTH), warp=(0, 0, 1)).name == "cloth"  # refused ones left no trace


def test_seam_is_refused():
    builder = ps.ModelBuilder()
    a, b = (builder.add_cloth(ps.TriMesh(SQUARE, TWO), ps.Shell(**CLOTH)) for _ in range(2))
    net = builder.add_springs(ps.SpringNet(SQUARE, [[0, 1], [1, 2], [2, 3]]), ps.Spring(1.0), mass=1.0)
    with refuses("2 points on one side and 1"):
        builder.sew(a, [0, 1], b, [0])
    with refuses("pair 1", "itself"):
        builder.sew(a, [0, 1], a, [2, 1])
    with refuses("index 7", "0 to 3"):
        builder.sew(a, [7], b, [0])
    with refuses("stiffness = -1"):
        builder.sew(a, [0], b, [0], stiffness=-1.0)
    with refuses("neither body is a sheet"):
        builder.sew(net, [0], net, [1])


def test_generators_and_bases_are_refused():
    with refuses("size"):
        ps.sheet_mesh((1.0, 0.0), (2, 2))
    with refuses("diagonals", "alternating"):
        ps.sheet_mesh((1.0, 1.0), (2, 2), "crossed")
    with refuses("diagonals", r"\[2, 3\]"):
        ps.sheet_mesh((1.0, 1.0), (2, 3), np.ones((3, 2)))
    with refuses("count = 8", "at most 7"):
        ps.smooth_basis(ps.sheet_mesh((1.0, 1.0), (2, 2)), 8)
    with refuses("regions", r"\[1\]"):
        ps.region_basis([0, 2])
    with refuses("point 0", "from the sheet"):
        ps.sheet_mesh((1.0, 1.0), (2, 2)).interpolation([[2.0, 0.0, 0.0]])


@pytest.mark.parametrize(
    ("values", "essentials"),
    [
        ({"stretch": [[1], [2, 3]]}, [r"Shell\.stretch", "different lengths"]),
        ({"stretch": (np.ones(8), np.ones(7))}, ["arrays of 7 and 8 entries"]),
        ({"poisson": None}, [r"Shell\.poisson: None was given", "number"]),
        ({"poisson": 1.0}, [r"Shell\.poisson = 1: must lie in \(-1, 1\)$"]),
    ],
)
def test_malformed_values_are_refused(values, essentials):
    with refuses(*essentials):
        ps.Shell(**(CLOTH | values))


def test_ragged_and_complex_arrays_are_refused():
    builder = ps.ModelBuilder()
    mesh = ps.TriMesh(SQUARE, TWO)
    cloth = builder.add_cloth(mesh, ps.Shell(**CLOTH))
    with refuses("warp", "different lengths"):
        builder.add_cloth(mesh, ps.Shell(**CLOTH), warp=[[1, 0, 0], [1, 0]])
    with refuses("points of 'cloth'", "different lengths"):
        builder.sew(cloth, [[2], [1, 3]], cloth, [0])
    with refuses("diagonals", "different lengths"):
        ps.sheet_mesh((1.0, 1.0), (2, 1), diagonals=[[5, 3], [1]])
    with refuses("TriMesh.points", "complex"):
        ps.TriMesh(SQUARE.astype(complex), TWO)


def test_a_collapsed_pose_is_refused():
    builder = ps.ModelBuilder()
    mesh = ps.TriMesh(SQUARE, TWO)
    with refuses(r"pose: triangles \[0, 1\] \(2 in all\) have no area"):
        builder.add_cloth(mesh, ps.Shell(**CLOTH), pose=0 * SQUARE)
    builder.add_cloth(mesh, ps.Shell(**CLOTH))
    half = SQUARE.copy()
    half[3] = [0.5, 0.5, 0.0]
    with refuses(r"positions of 'cloth': triangles \[1\].* have no area"):
        builder.finalize().state(half)
