"""COLLADA scenes come in as triangles in metres, and what refers to nothing, to itself or to other files does not."""

import os

import numpy as np
import pytest

from physsim.errors import InputError
from physsim.io.mesh import load_surface, read_solid_surface

SQUARE = "0 0 0 1 0 0 1 1 0 0 1 0"
POLYGON = '<polylist count="1"><input semantic="VERTEX" source="#v" offset="0"/><vcount>4</vcount><p>0 1 2 3</p></polylist>'
TRIANGLES = (
    '<triangles count="2"><input semantic="VERTEX" source="#v" offset="1"/><input semantic="NORMAL" source="#n" offset="0"/>'
    "<p>7 0 7 1 7 2 7 0 7 2 7 3</p></triangles>"
)
POLYGONS = '<polygons count="1"><input semantic="VERTEX" source="#v" offset="0"/><p>0 1 2 3</p></polygons>'
HERE = '<instance_geometry url="#g"/>'


def collada(part=POLYGON, scene=f"<node>{HERE}</node>", numbers=SQUARE, unit="1", more=""):
    return (
        '<?xml version="1.0"?><COLLADA xmlns="http://www.collada.org/2005/11/COLLADASchema" version="1.4.1">'
        f'<asset><unit name="some" meter="{unit}"/><up_axis>Y_UP</up_axis></asset>'
        f'<library_geometries><geometry id="g"><mesh><source id="s"><float_array>{numbers}</float_array>'
        '<technique_common><accessor stride="3"/></technique_common></source>'
        f'<vertices id="v"><input semantic="POSITION" source="#s"/></vertices>{part}</mesh></geometry></library_geometries>{more}'
        f'<library_visual_scenes><visual_scene id="scene">{scene}</visual_scene></library_visual_scenes>'
        '<scene><instance_visual_scene url="#scene"/></scene></COLLADA>'
    )


def load(folder, *arguments, **options):
    path = folder / "a.dae"
    path.write_text(collada(*arguments, **options))
    return load_surface(path)


@pytest.mark.parametrize("part", [POLYGON, TRIANGLES, POLYGONS])
def test_every_kind_of_polygon_is_read(tmp_path, part):
    surface = load(tmp_path, part)
    np.testing.assert_allclose(surface.points, [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    assert surface.triangles.tolist() == [[0, 1, 2], [0, 2, 3]]


def test_units_and_transforms_are_applied_and_mirrors_keep_the_outside_out(tmp_path):
    turn = "<translate>0 0 5</translate><rotate>0 0 1 90</rotate><scale>2 1 1</scale>"
    surface = load(tmp_path, scene=f"<node>{turn}<node><matrix>1 0 0 1 0 1 0 0 0 0 1 0 0 0 0 1</matrix>{HERE}</node></node>", unit="0.01")
    np.testing.assert_allclose(surface.points, 0.01 * np.array([[0, 2, 5], [0, 4, 5], [-1, 4, 5], [-1, 2, 5]]), atol=1e-15)
    for sign in (1, -1):
        surface = load(tmp_path, scene=f"<node><scale>{sign} 1 1</scale>{HERE}</node>")
        a, b, c = surface.points[surface.triangles[0]]
        assert np.cross(b - a, c - a)[2] == 1.0


def test_a_shape_stands_wherever_it_is_named(tmp_path):
    library = f'<library_nodes><node id="n"><translate>0 0 1</translate>{HERE}</node></library_nodes>'
    surface = load(tmp_path, scene=f'<node>{HERE}</node><node><instance_node url="#n"/></node>', more=library)
    assert surface.points[:, 2].tolist() == [0] * 4 + [1] * 4
    assert surface.triangles.max() == 7


LOOP = '<library_nodes><node id="n"><instance_node url="#n"/></node></library_nodes>'
DOUBLED = "".join(f'<node id="n{i}"><instance_node url="#n{i + 1}"/><instance_node url="#n{i + 1}"/></node>' for i in range(40))
DOUBLED = f'<library_nodes>{DOUBLED}<node id="n40"/></library_nodes>'


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"part": POLYGON.replace("0 1 2 3", "0 1 2 4")}, "uses point 4 of 4"),
        ({"part": POLYGON.replace("0 1 2 3", "0 1 2 -1")}, "uses point -1 of 4"),
        ({"part": POLYGON.replace("0 1 2 3", "0 1 2")}, "holds 3 corners, its polygons have 4"),
        ({"part": POLYGON.replace("0 1 2 3", "0 1 2 x")}, "cannot be read"),
        ({"part": POLYGON.replace("#v", "#w")}, "refers to '#w'"),
        ({"part": POLYGON.replace("#v", "other.dae#v")}, "which is not in this file"),
        ({"part": POLYGON.replace("VERTEX", "NORMAL")}, "no VERTEX input"),
        ({"numbers": SQUARE + " 1"}, "does not fit a stride of 3"),
        ({"numbers": SQUARE.replace("1", "nan", 1)}, "must be finite"),
        ({"unit": "nan"}, "its unit is nan m"),
        ({"scene": ""}, "points of shape"),
        ({"scene": f"<node><rotate>0 0 1</rotate>{HERE}</node>"}, "holds 3 numbers; 4 finite ones"),
        ({"scene": '<node><instance_node url="#n"/></node>', "more": LOOP}, "do they name each other"),
        ({"scene": '<node><instance_node url="#n0"/></node>', "more": DOUBLED}, "do they name each other"),
    ],
)
def test_scenes_that_cannot_be_used_are_refused(tmp_path, options, said):
    with pytest.raises(InputError, match=said):
        load(tmp_path, **options)


@pytest.mark.parametrize("name", ["chassis", "left_steering_hinge", "right_rear_wheel"])
def test_real_files_agree_with_the_stl_beside_them(name):
    folder = os.path.join(pytest.importorskip("pybullet_data").getDataPath(), "racecar", "meshes")
    ours, beside = (read_solid_surface(os.path.join(folder, name + ending)) for ending in (".dae", ".STL"))
    assert len(ours.triangles) == len(beside.triangles)
    centres = [np.sort(surface.points[surface.triangles].sum(axis=1), axis=0) for surface in (ours, beside)]
    np.testing.assert_allclose(*centres, atol=1e-6)
