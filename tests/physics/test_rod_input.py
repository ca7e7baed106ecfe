"""Rods, curves and poses that make no sense are refused, with the name, the place and the remedy."""

import numpy as np
import pytest

import physsim as ps

LINE = np.array([[0.0, 0, 0], [1, 0, 0], [2, 0, 0], [3, 0.5, 0]])
CABLE = {"stretch": 100.0, "bending": 0.01, "line_density": 0.1}


def changed(index, value):
    line = LINE.copy()
    line[index] = value
    return line


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"line": LINE[:1]}, "1 points were given; a rod needs at least 2"),
        ({"line": LINE[:2], "closed": True}, "a closed rod needs at least 3"),
        ({"line": np.zeros((3, 2))}, r"Curve\.line: shape"),
        ({"line": changed(2, np.nan)}, r"Curve\.line: 3 values are NaN.*first at \[2, 0\]"),
        ({"line": changed(2, LINE[1])}, r"edge 1 \(points 1 and 2\) has no length; remove"),
        ({"line": changed(2, [0.5, 0, 0])}, "turns back onto itself at point 1"),
        ({"line": np.concatenate([LINE, LINE[:1]]), "closed": True}, r"edge 4 \(points 4 and 0\) has no length"),
        ({"line": LINE, "normal": (2, 0, 0)}, "lies along the first edge"),
        ({"line": LINE, "arm": 0.0}, r"Curve\.arm = 0"),
        ({"line": LINE, "grips": (1,)}, r"Curve\.grips: 1 was given; ends are 0 and -1"),
        ({"line": LINE[:3], "grips": (0, -1)}, "at least one edge between clamps"),
        ({"line": LINE, "grips": (0,), "closed": True}, "ends of an open curve"),
    ],
)
def test_impossible_curves_are_refused(given, message):
    with pytest.raises(ps.InputError, match=message):
        ps.Curve(**given)


def test_closed_curve_has_no_ends():
    ring = ps.Curve(LINE, closed=True)
    with pytest.raises(ps.InputError, match="no end"):
        ring.end(0)
    with pytest.raises(ps.InputError, match="ends are 0 and -1"):
        ps.Curve(LINE).end(3)


def test_places_beyond_an_end_are_refused():
    with pytest.raises(ps.InputError, match="arc = 4 at"):
        ps.Curve(LINE).interpolation([0.5, 4.0])


@pytest.mark.parametrize("key", ["count", "points"])
def test_curve_through_too_little_is_refused(key):
    given = {"count": 4, "points": LINE} | {"count": {"count": 0}, "points": {"points": LINE[:1]}}[key]
    with pytest.raises(ps.InputError, match=r"Curve"):
        ps.Curve.through(**given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "no stiffness"),
        ({"young": 1e6, "density": 1000.0}, "young without radius"),
        ({"young": 1e6, "radius": 0.01, "stretch": 5.0, "density": 1e3}, "young with stretch"),
        ({"young": 1e6, "radius": 0.01}, "density .* or line_density"),
        ({"young": 1e6, "radius": 0.01, "density": 1e3, "line_density": 0.1}, "either density"),
        ({"stretch": 1e3, "density": 1e3}, "density without radius"),
        ({"stretch": 1e3, "line_density": 0.1, "torsion": 1.0}, "of a rope; give bending"),
        (CABLE | {"stretch": -1.0}, r"Rod\.stretch = -1"),
        (CABLE | {"bending": np.nan}, r"Rod\.bending"),
        (CABLE | {"torsion": 0.0}, r"Rod\.torsion = 0"),
        (CABLE | {"poisson": -1.0}, r"Rod\.poisson = -1"),
        (CABLE | {"bending_damping": -1.0}, r"Rod\.bending_damping"),
        (CABLE | {"line_density": 0.0}, r"Rod\.line_density = 0"),
    ],
)
def test_impossible_rods_are_refused(given, message):
    with pytest.raises(ps.InputError, match=message):
        ps.Rod(**given)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"bending": [0.1, 0.1]}, r"Rod\.bending: shape \[2\] was given, \[3\]"),
        ({"rest_curvature": (1.0, 0.0)}, "2 entries were given; two curvatures and a twist"),
        ({"rest_curvature": ([1.0], 0.0, 0.0)}, r"Rod\.rest_curvature_1: shape \[1\] was given, \[2\]"),
    ],
)
def test_values_that_do_not_fit_the_curve_are_refused(given, message):
    builder = ps.ModelBuilder()
    with pytest.raises(ps.InputError, match=message):
        builder.add_rod(ps.Curve(LINE), ps.Rod(**(CABLE | given)))
    with pytest.raises(ps.InputError, match="holds no body"):
        builder.finalize()


def test_other_things_than_curve_and_rod_are_refused():
    builder = ps.ModelBuilder()
    with pytest.raises(ps.InputError, match="a Curve is needed, ndarray"):
        builder.add_rod(LINE, ps.Rod(**CABLE))
    with pytest.raises(ps.InputError, match="a Rod is needed, Spring"):
        builder.add_rod(ps.Curve(LINE), ps.Spring(1.0))
    with pytest.raises(ps.InputError, match="pose: shape"):
        builder.add_rod(ps.Curve(LINE), ps.Rod(**CABLE), pose=LINE[:2])


def held_model():
    builder = ps.ModelBuilder()
    body = builder.add_rod(ps.Curve(LINE).with_grips(0), ps.Rod(**CABLE))
    builder.attach(body, body.mesh.end(0), name="end")
    return builder.finalize()


STILL = [[1.0, 0, 0, 0]]


@pytest.mark.parametrize(
    ("times", "poses", "message"),
    [
        ([0.0], {"start": (LINE[:1], STILL)}, "no attachment 'start'; it has end"),
        ([0.0, 0.0], {"end": (LINE[:2], STILL * 2)}, "later than the one before"),
        ([0.0], {"end": (LINE[:2], STILL)}, "positions of 'end': shape"),
        ([0.0], {"end": (LINE[:1], [[1.0, 0, 0]])}, "quaternions of 'end': shape"),
        ([0.0], {"end": (LINE[:1], [[0.0, 0, 0, 0]])}, "entry 0 is zero"),
        ([0.0], {"end": (LINE[:1], [[np.nan, 0, 0, 0]])}, "quaternions of 'end'.*NaN"),
    ],
)
def test_impossible_poses_are_refused(times, poses, message):
    with pytest.raises(ps.InputError, match=message):
        ps.Control.from_poses(held_model(), times, poses)


def test_origin_of_an_attachment_without_a_pose_is_refused():
    with pytest.raises(ps.InputError, match="no attachment 'other'"):
        ps.Control.from_poses(held_model(), [0.0], {"end": (LINE[:1], STILL)}, origins={"other": (0, 0, 0)})


@pytest.mark.parametrize("framed", [True, False])
def test_a_pose_may_turn_the_first_edge_by_any_angle(framed, rng):
    for away in (0.0, 1e-16, 1e-12, 1e-8, 1e-4, 1.0):
        along, nudge = rng.normal(size=(2, 3))
        curve = ps.Curve.straight((0, 0, 0), along / np.linalg.norm(along), 5)
        curve = ps.Curve(curve.line, framed=framed)
        line = -curve.line
        line[1:] += away * nudge
        points = curve.posed(line)
        assert np.array_equal(points[:6], line)
        if framed:
            arms = points[6:] - (line[1:] + line[:-1]) / 2
            assert np.abs(np.linalg.norm(arms, axis=1) - curve.arm).max() < 1e-9
            assert np.abs((arms * np.diff(line, axis=0)).sum(axis=1)).max() < 1e-9


def test_a_rod_laid_backwards_is_at_rest():
    curve = ps.Curve(np.linspace([0, 0, 0], [1, 0, 0], 6))
    builder = ps.ModelBuilder(gravity=(0, 0, 0))
    body = builder.add_rod(curve, ps.Rod(**CABLE), pose=curve.line * [-1, 1, 1])
    builder.attach(body, body.mesh.end(0))
    model = builder.finalize()
    assert np.abs(ps.Probe(model).forces(model.state())).max() < 1e-9


@pytest.mark.parametrize(
    ("pose", "message"),
    [
        (np.zeros((5, 3)), r"edge 0 \(points 0 and 1\) has no length"),
        ([[0, 0, 0], [1, 0, 0], [2, 0, 0], [1, 0, 0], [0, 0, 0]], "turns back onto itself at point 2"),
        (np.zeros((9, 3)), r"edge 0 \(points 0 and 1\) has no length"),
        (np.zeros((7, 3)), r"pose: shape \[7, 3\] was given, \[5, 3\] \(the centreline\) or, with directors, \[9, 3\]"),
        ([[0, 0, 0], [1, 2]], "pose: rows of different lengths"),
    ],
)
def test_impossible_poses_of_a_rod_are_refused(pose, message):
    builder = ps.ModelBuilder()
    curve = ps.Curve(np.linspace([0, 0, 0], [1, 0, 0], 5))
    with pytest.raises(ps.InputError, match=message):
        builder.add_rod(curve, ps.Rod(**CABLE), pose=pose)


def test_a_rope_may_be_folded():
    builder = ps.ModelBuilder()
    folded = np.array([[0.0, 0, 0], [1, 0, 0], [0, 0, 0]])
    body = builder.add_rod(ps.Curve(np.linspace([0, 0, 0], [2, 0, 0], 3)), ps.Rod(stretch=1.0, line_density=1.0), pose=folded)
    assert np.array_equal(builder.finalize().state().positions, folded) and not body.mesh.framed


@pytest.mark.parametrize("grips", [0, "0", None, (True,)])
def test_grips_that_are_no_ends_are_refused(grips):
    for make in (lambda: ps.Curve(LINE, grips=grips), lambda: ps.Curve.straight((0, 0, 0), (1, 0, 0), 4, grips=grips)):
        with pytest.raises(ps.InputError, match=r"Curve\.grips"):
            make()


def test_two_ends_at_once_are_refused():
    with pytest.raises(ps.InputError, match=r"Curve\.end: .*ends are 0 and -1"):
        ps.Curve(LINE).end(np.array([0, -1]))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"rest_curvature": 1.0}, "1 entries were given; two curvatures and a twist"),
        ({"rest_curvature": (1.0, 2.0)}, "2 entries were given; two curv"),
        ({"rest_curvature": (1.0, np.nan, 0.0)}, "rest_curvature_2: NaN or infinite was given; a finite number"),
        ({"stretch": [1, [2]]}, r"Rod\.stretch: rows of different lengths"),
        ({"poisson": None}, r"Rod\.poisson: None was given; a number"),
        ({"poisson": -1.0}, r"Rod\.poisson = -1: must lie in \(-1, 0.5\]$"),
    ],
)
def test_rods_with_malformed_values_are_refused(given, message):
    with pytest.raises(ps.InputError, match=message):
        ps.Rod(**(CABLE | given))


def test_an_end_is_gripped_once():
    with pytest.raises(ps.InputError, match="the end 0 is gripped twice"):
        ps.Curve.straight((0, 0, 0), (1, 0, 0), 3, grips=(0,)).with_grips(0)


def test_bending_on_some_edges_only_is_refused():
    with pytest.raises(ps.InputError, match=r"Rod.bending: 0 on some edges only"):
        ps.Rod(stretch=100.0, bending=[1e-3, 0.0], line_density=0.1)
