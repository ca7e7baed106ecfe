"""The rest shape of a capture's folder: tetrahedra, a closed surface, a sheet or a rod, from the kinds of files that meshes come in."""

from pathlib import Path

import numpy as np

from physsim.capture import layout
from physsim.capture.facts import MESH_KINDS
from physsim.errors import InputError
from physsim.io.mesh import SURFACE_SUFFIXES, VOLUME_SUFFIXES, SurfaceMesh, load_mesh, load_surface
from physsim.io.npy import npy_header, npz_headers, read_npy, read_npz
from physsim.io.ply import read_positions
from physsim.physics.archive import MESHES, pack_mesh, unpack_mesh
from physsim.physics.mesh import TetMesh
from physsim.physics.rods import Curve
from physsim.physics.sheets import TriMesh


def read_rest_shape(path: Path, facts: dict, kind: str | None) -> object:
    """A TetMesh, SurfaceMesh, TriMesh or Curve.

    Args:
        path: the file.
        facts: "kind" says which one it is ("tetrahedra", "surface", "triangles", "rod"); for a rod also what `pack_mesh` says of it.
        kind: of the body ("solid", "sheet", "rod") or None, which decides where `facts` do not.

    Raises:
        InputError: no such mesh, damaged, too large.
    """
    said = facts.get("kind")
    if said is not None and said not in MESH_KINDS:
        raise InputError(f"{path}: mesh kind {said!r:.40} is not known; {', '.join(MESH_KINDS)} are")
    suffix = path.suffix.lower()
    if suffix in VOLUME_SUFFIXES:
        mesh = load_mesh(path, max_bytes=layout.MAX_MESH)
    elif suffix == ".npz":
        mesh = _from_arrays(path, _arrays(path), facts, said, kind)
    elif suffix == ".npy":
        mesh = Curve(_line(path))
    elif suffix == ".ply" and (said or kind) == "rod":
        mesh = Curve(read_positions(path, layout.MAX_MESH).astype(float))
    elif suffix in SURFACE_SUFFIXES:
        surface = load_surface(path, max_bytes=layout.MAX_MESH)
        mesh = _surface_or_sheet(path, surface.points, surface.triangles, said, kind)
    else:
        raise InputError(f"{path}: ending {suffix!r} is not read; convert it to one of {', '.join(layout.MESH_SUFFIXES)}")
    found = _kind_of(mesh)
    if said is not None and said != found:
        raise InputError(f"{path}: holds {found}, but its kind is {said!r}; correct capture.json")
    return mesh


def pack_rest_shape(mesh: object) -> tuple[dict, dict]:
    """(facts, arrays) of a rest shape, as mesh.npz and capture.json hold them.

    Raises:
        InputError: something else.
    """
    if isinstance(mesh, SurfaceMesh):
        return {"kind": "surface"}, {"points": mesh.points, "triangles": mesh.triangles}
    if not isinstance(mesh, TetMesh | TriMesh | Curve):
        raise InputError(f"mesh: a TetMesh, TriMesh, Curve or SurfaceMesh is needed, {type(mesh).__name__} was given")
    facts, arrays = pack_mesh(mesh)
    return {k: v for k, v in facts.items() if v is not None}, {k: v for k, v in arrays.items() if v is not None}


def is_closed(triangles: np.ndarray) -> bool:
    """Whether every edge of a surface, shape [t, 3], belongs to two triangles that run along it in opposite directions."""
    sides = triangles[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2).astype(np.int64)
    count = int(triangles.max()) + 1
    there, back = np.sort(sides[:, 0] * count + sides[:, 1]), np.sort(sides[:, 1] * count + sides[:, 0])
    return bool((there == back).all() and (np.diff(there) > 0).all())


def _kind_of(mesh):
    return "surface" if isinstance(mesh, SurfaceMesh) else MESHES[type(mesh)][0]


def _arrays(path):
    headers = npz_headers(path, layout.MAX_MESH)
    for name, header in headers.items():
        if header.dtype.kind not in "fiu" or len(header.shape) > 2:
            raise InputError(f"{path}: {name!r:.80} is {header.dtype} of shape {list(header.shape)}; numbers [n, 3] and indices are needed")
    return read_npz(path, max_bytes=layout.MAX_MESH)


def _line(path):
    header = npy_header(path, layout.MAX_MESH)
    if len(header.shape) != 2 or header.shape[1] != 3 or header.dtype.kind not in "fiu":
        raise InputError(f"{path}: shape {list(header.shape)} of {header.dtype}; ordered points of a rod are numbers of shape [n, 3]")
    return read_npy(path, layout.MAX_MESH)


def _from_arrays(path, arrays, facts, said, kind):
    points = arrays.get("points", arrays.get("line"))
    if points is None:
        raise InputError(f'{path}: it holds no array "points"; write it, with "cells" or "triangles" (a rod: alone)')
    if "cells" in arrays:
        return TetMesh(points, arrays["cells"])
    if "triangles" in arrays:
        wrong = points.ndim != 2 or points.shape[1] != 3 or arrays["triangles"].ndim != 2 or arrays["triangles"].shape[1] != 3
        if wrong:
            raise InputError(f"{path}: points must have shape [n, 3] and triangles [t, 3]; correct them")
        return _surface_or_sheet(path, points, arrays["triangles"], said, kind)
    told = {"kind": "rod", "closed": False, "arm": None, "grips": [], "framed": True} | {k: v for k, v in facts.items() if k != "file"}
    if told["arm"] is None:
        told["arm"] = float(Curve(points).arm)
    return unpack_mesh(str(path), told, {"line": points, "normal": arrays.get("normal")})


def _surface_or_sheet(path, points, triangles, said, kind):
    points, triangles = np.asarray(points, float), np.asarray(triangles)
    if triangles.dtype.kind not in "iu" or len(triangles) == 0:
        raise InputError(f"{path}: triangles must be whole numbers, at least one row; correct them")
    if not np.isfinite(points).all() or triangles.min() < 0 or triangles.max() >= len(points):
        raise InputError(f"{path}: points must be finite, and triangles name points from 0 to {len(points) - 1}; correct them")
    sheet = said == "triangles" if said else kind == "sheet" if kind else not is_closed(triangles)
    if sheet:
        return TriMesh(points, triangles)
    if not is_closed(triangles):
        raise InputError(f'{path}: the surface is not closed, as a solid\'s must be; close it, or say "kind": "sheet"')
    return SurfaceMesh(points, triangles.astype(np.int32))
