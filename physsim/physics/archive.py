"""Rest shapes and materials as plain numbers, for files: facts that JSON takes, and named arrays."""

from dataclasses import fields, replace

import numpy as np

from physsim.errors import InputError
from physsim.physics.materials import NeoHookean, Rod, Shell, Spring
from physsim.physics.mesh import SpringNet, TetMesh
from physsim.physics.rods import Curve
from physsim.physics.sheets import TriMesh

MESHES = {
    TetMesh: ("tetrahedra", ("points", "cells"), ()),
    TriMesh: ("triangles", ("points", "triangles"), ()),
    SpringNet: ("springs", ("points", "edges", "rest_lengths", "kinds"), ()),
    Curve: ("rod", ("line", "normal"), ("closed", "arm", "grips", "framed")),
}
MATERIALS = {"neo_hookean": NeoHookean, "shell": Shell, "spring": Spring, "rod": Rod}


def pack_mesh(mesh):
    """(facts, arrays) of a TetMesh, TriMesh, SpringNet or Curve: dicts from names to what JSON takes and to numpy arrays.

    Raises:
        InputError: something else.
    """
    if type(mesh) not in MESHES:
        raise InputError(f"mesh: a TetMesh, TriMesh, SpringNet or Curve is needed, {type(mesh).__name__} was given")
    kind, arrays, facts = MESHES[type(mesh)]
    told = {name: getattr(mesh, name) for name in facts}
    return {"kind": kind} | {k: list(v) if isinstance(v, tuple) else v for k, v in told.items()}, {k: getattr(mesh, k) for k in arrays}


def unpack_mesh(name, facts, arrays):
    """The mesh of `pack_mesh`, checked like one that a user makes; `name` is what errors call it.

    Raises:
        InputError: an unknown kind, something missing, of another type or not a valid mesh.
    """
    found = {kind: (cls, names, told) for cls, (kind, names, told) in MESHES.items()}
    kind = facts.get("kind") if isinstance(facts, dict) else None
    if not isinstance(kind, str) or kind not in found:
        raise InputError(f"{name}: mesh kind {kind!r} is not known; {', '.join(found)} are")
    cls, names, told = found[kind]
    lacking = [k for k in names if k not in arrays] + [k for k in told if k not in facts]
    if lacking:
        raise InputError(f"{name}: its mesh lacks {', '.join(lacking)}")
    given = {k: arrays[k] for k in names} | {k: facts[k] for k in told}
    if cls is Curve:
        types = {"closed": bool, "framed": bool, "arm": (int, float), "grips": list}
        wrong = [k for k, t in types.items() if not isinstance(given[k], t)]
        if wrong:
            raise InputError(f"{name}: {', '.join(wrong)} of its mesh: other types are needed")
        given["grips"] = tuple(given["grips"])
    try:
        return cls(**given)
    except InputError as error:
        raise InputError(f"{name}: {error}") from None


def pack_material(material):
    """(facts, arrays) of a NeoHookean, Shell, Spring or Rod; fields that were not given are left out.

    Raises:
        InputError: something else.
    """
    kinds = {cls: kind for kind, cls in MATERIALS.items()}
    if type(material) not in kinds:
        raise InputError(f"material: a NeoHookean, Shell, Spring or Rod is needed, {type(material).__name__} was given")
    facts, arrays = {"kind": kinds[type(material)]}, {}
    for f in fields(material):
        value = getattr(material, f.name)
        if value is None:
            continue
        several = isinstance(value, tuple | list)
        parts = {f"{f.name}.{i}": v for i, v in enumerate(value)} if several else {f.name: value}
        for key, part in parts.items():
            part = np.asarray(part, dtype=np.float64)
            if part.ndim:
                arrays[key] = part
            else:
                facts[key] = float(part)
    return facts, arrays


def unpack_material(name, facts, arrays):
    """The material of `pack_material`, checked like one that a user makes; `name` is what errors call it.

    Raises:
        InputError: an unknown kind or field, values that are no numbers or out of range.
    """
    kind = facts.get("kind") if isinstance(facts, dict) else None
    if not isinstance(kind, str) or kind not in MATERIALS:
        raise InputError(f"{name}: material kind {kind!r} is not known; {', '.join(MATERIALS)} are")
    cls = MATERIALS[kind]
    known, given = {f.name for f in fields(cls)}, {}
    for key, value in [*facts.items(), *arrays.items()]:
        if key == "kind":
            continue
        field, _, part = key.partition(".")
        if field not in known or part not in ("", "0", "1", "2"):
            raise InputError(f"{name}: a {cls.__name__} has no {key!r}; it has {', '.join(sorted(known))}")
        if not isinstance(value, np.ndarray) and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise InputError(f"{name}: {key} = {value!r} is no number")
        if part:
            given.setdefault(field, {})[part] = value
        else:
            given[field] = value
    tuples = {k: tuple(v[i] for i in sorted(v)) for k, v in given.items() if isinstance(v, dict)}
    try:
        return cls(**(given | tuples))
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
    except TypeError:
        raise InputError(f"{name}: a {cls.__name__} needs more than {', '.join(given) or 'nothing'}") from None


def material_with(body, parameters, env=0):
    """The material of a model's body with the values that a ParameterSet has for it, or None where it has none.

    Args:
        body: Body.
        parameters: ParameterSet.
        env: environment.
    """
    if body.material is None:
        return None

    def value(key):
        found = parameters[body.parameters[key]][env]
        return float(found.flat[0]) if found.size and (found == found.flat[0]).all() else found

    changed = {}
    for f in fields(body.material):
        pair = [f"{f.name}_warp", f"{f.name}_weft"]
        if f.name in body.parameters:
            changed[f.name] = value(f.name)
        elif all(k in body.parameters for k in pair):
            changed[f.name] = tuple(value(k) for k in pair)
    return replace(body.material, **changed)
