"""Meshes and materials come back from plain numbers as they were, and damaged numbers are refused."""

import json
from dataclasses import fields

import numpy as np
import pytest

import physsim as ps
from physsim.physics.archive import material_with, pack_material, pack_mesh, unpack_material, unpack_mesh

MESHES = [
    ps.box_mesh((0.1, 0.1, 0.1), (1, 2, 1), order=2),
    ps.sheet_mesh((1.0, 1.0), (3, 2)),
    ps.spring_net((2, 2), (1.0, 1.0)),
    ps.Curve.straight((0, 0, 0), (1, 0, 0), 4, grips=(0,)),
    ps.Curve(np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0]], float), closed=True, framed=False),
]
MATERIALS = [
    ps.NeoHookean(young=np.array([1e4, 2e4]), poisson=0.3, density=200.0, viscosity=3.0),
    ps.Shell(stretch=(1000.0, 500.0), bending=2e-5, area_density=0.15),
    ps.Shell(young=1e6, thickness=1e-3, density=900.0, mass_damping=0.1),
    ps.Spring(stiffness=100.0, damping=0.1),
    ps.Rod(young=1e7, radius=0.004, density=1100.0, rest_curvature=(0.0, np.array([1.0, 2.0]), 0.3)),
    ps.Rod(stretch=100.0, line_density=0.1),
]


def same(a, b):
    if isinstance(a, tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return (a is None and b is None) or np.array_equal(a, b)


@pytest.mark.parametrize("mesh", MESHES, ids=lambda m: type(m).__name__)
def test_a_mesh_comes_back_as_it_was(mesh):
    facts, arrays = pack_mesh(mesh)
    back = unpack_mesh("it", json.loads(json.dumps(facts)), arrays)
    assert type(back) is type(mesh)
    assert all(same(getattr(mesh, f.name), getattr(back, f.name)) for f in fields(mesh))
    assert np.array_equal(mesh.points, back.points)


@pytest.mark.parametrize("material", MATERIALS, ids=lambda m: type(m).__name__)
def test_a_material_comes_back_as_it_was(material):
    facts, arrays = pack_material(material)
    back = unpack_material("it", json.loads(json.dumps(facts)), arrays)
    assert type(back) is type(material)
    assert all(same(getattr(material, f.name), getattr(back, f.name)) for f in fields(material))


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        (None, "mesh kind None is not known"),
        ({"kind": ["tetrahedra"]}, "is not known"),
        ({"kind": "voxels"}, "tetrahedra, triangles, springs, rod are"),
        ({"kind": "triangles"}, "lacks triangles"),
        ({"kind": "rod"}, "lacks line, normal, closed, arm, grips, framed"),
    ],
)
def test_a_damaged_mesh_is_refused(facts, said):
    with pytest.raises(ps.InputError, match=said):
        unpack_mesh("it", facts, {"points": np.zeros((3, 3))})


def test_a_mesh_with_an_index_out_of_range_is_refused_by_name():
    facts, arrays = pack_mesh(MESHES[0])
    with pytest.raises(ps.InputError, match=r"thing: TetMesh.cells: index 999"):
        unpack_mesh("thing", facts, arrays | {"cells": np.full_like(arrays["cells"], 999)})
    facts, arrays = pack_mesh(MESHES[3])
    with pytest.raises(ps.InputError, match="closed of its mesh"):
        unpack_mesh("thing", facts | {"closed": 1}, arrays)


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"kind": "jelly"}, "'jelly' is not known"),
        ({"kind": "neo_hookean", "young": "soft"}, "young = 'soft' is no number"),
        ({"kind": "neo_hookean", "young": True}, "young = True is no number"),
        ({"kind": "neo_hookean", "young": -1.0}, "NeoHookean.young"),
        ({"kind": "neo_hookean"}, "needs more than nothing"),
        ({"kind": "neo_hookean", "young": 1.0, "__class__": 1.0}, "has no '__class__'"),
    ],
)
def test_a_damaged_material_is_refused(facts, said):
    with pytest.raises(ps.InputError, match=said):
        unpack_material("it", facts, {})


def test_a_bodys_material_takes_the_values_that_were_simulated():
    builder = ps.ModelBuilder()
    mesh = ps.box_mesh((0.1, 0.1, 0.1), (1, 1, 1))
    solid = builder.add_soft_body(mesh, ps.NeoHookean(young=1e4, poisson=0.3, density=200.0))
    cloth = builder.add_cloth(ps.sheet_mesh((1, 1), (2, 2)), ps.Shell(stretch=(1000.0, 900.0), bending=1e-5, area_density=0.1))
    model = builder.finalize()
    each = np.linspace(1e4, 2e4, len(mesh.cells))
    values = model.resolve({solid.young: each, solid.density: 300.0, cloth.stretch_weft: 800.0})
    assert np.array_equal(material_with(solid, values).young, each)
    assert material_with(solid, values).density == 300.0
    assert material_with(cloth, values).stretch == (1000.0, 800.0)
    assert material_with(cloth, values).bending == 1e-5
