"""The one door for meshes that come from files.

Tetrahedra come through meshio (.msh, .vtk, .vtu, .mesh), triangle surfaces through our own readers (.stl, .obj, .dae) or trimesh
(.ply, .off). The libraries hand on much that no solver can use: cut-off files as empty scenes, indices beyond the points, NaN.
Everything is checked here, before it reaches anything else. Only single files are read: no archive, no reference to another file, no
compressed array.
"""

import contextlib
import io
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from xml.etree import ElementTree

import numpy as np

from physsim.errors import InputError
from physsim.io.collada import read_collada
from physsim.io.files import checked_path
from physsim.io.triangles import joined, read_obj, read_stl, stl_counts

if TYPE_CHECKING:
    import meshio

    from physsim.physics.mesh import TetMesh

VOLUME_SUFFIXES = (".mesh", ".msh", ".vtk", ".vtu")
SURFACE_SUFFIXES = (".dae", ".obj", ".off", ".ply", ".stl")
MAX_BYTES = 256_000_000
MAX_POINTS = 5_000_000
MAX_CELLS = 20_000_000

Result = TypeVar("Result")


@dataclass(frozen=True)
class SurfaceMesh:
    """A triangle surface: points [m], shape [n, 3]; triangles, indices into points, shape [t, 3]."""

    points: np.ndarray
    triangles: np.ndarray

    def edges(self) -> np.ndarray:
        """Each edge of the triangles once, sorted, shape [e, 2]: a spring net's topology."""
        pairs = self.triangles[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2)
        return np.unique(np.sort(pairs, axis=1), axis=0)


def load_mesh(path: str | PathLike[str], scale: float = 1.0, max_bytes: int = MAX_BYTES) -> "TetMesh":
    """Read a mesh of tetrahedra.

    Args:
        path: a .msh, .vtk, .vtu or .mesh file with tetrahedra of 4 or 10 nodes; other cells in it are left out
        scale: factor on the points, for files that are not in metres (0.001 for millimetres)
        max_bytes: largest file that is read [bytes]

    Returns:
        The mesh, without points that no tetrahedron uses.

    Raises:
        InputError: the file cannot be used; the message says why.
    """
    from physsim.physics.mesh import TetMesh

    points, cells = read_tetrahedra(path, scale, max_bytes)
    return TetMesh(points, cells)


def read_tetrahedra(path: str | PathLike[str], scale: float = 1.0, max_bytes: int = MAX_BYTES) -> tuple[np.ndarray, np.ndarray]:
    """Points [m], shape [n, 3], and tetrahedra, shape [m, 4] or [m, 10], of a file; arguments and errors as for `load_mesh`."""
    if Path(path).suffix.lower() in SURFACE_SUFFIXES:
        raise InputError(f"{path}: holds a surface, not tetrahedra; read it by load_surface and fill it by tetrahedralize")
    path = checked_path(path, VOLUME_SUFFIXES, max_bytes)
    if path.suffix.lower() == ".vtu":
        _refuse_unbounded_xml(path)
    elif path.suffix.lower() == ".msh" and not all(word in path.read_bytes() for word in (b"$EndNodes", b"$EndElements")):
        raise InputError(
            f"{path}: holds no whole sections of nodes and elements as Gmsh writes them; is the file cut off or of another kind?"
        )
    mesh = quietly(path, lambda: _meshio_reader(path.suffix.lower())(str(path)))
    found = {block.type: 0 for block in mesh.cells}
    for block in mesh.cells:
        found[block.type] += len(block.data)
    kinds = [kind for kind in ("tetra", "tetra10") if found.get(kind)]
    if len(kinds) != 1:
        held = ", ".join(f"{count} {kind}" for kind, count in found.items()) or "no cells"
        raise InputError(f"{path}: {held}; it must hold tetrahedra of either 4 or 10 nodes (tetra or tetra10); is the file cut off?")
    cells = np.concatenate([np.asarray(block.data) for block in mesh.cells if block.type == kinds[0]])
    points, cells = checked_cells(path, mesh.points, cells, scale, "tetrahedron")
    _refuse_repeated(path, cells, "tetrahedron")
    used, cells = np.unique(cells, return_inverse=True)
    return points[used], cells.reshape(-1, 4 if kinds[0] == "tetra" else 10).astype(np.int32)


def load_surface(path: str | PathLike[str], scale: float = 1.0, max_bytes: int = MAX_BYTES) -> SurfaceMesh:
    """Read a triangle surface; polygons are cut into triangles, and an STL file's equal points become one.

    Args:
        path: a .stl, .obj, .ply, .off or .dae file; materials and textures are left out
        scale: factor on the points, for files that are not in metres (0.001 for millimetres)
        max_bytes: largest file that is read [bytes]

    Returns:
        The surface, in the order of the file.

    Raises:
        InputError: the file cannot be used; the message says why.
    """
    points, triangles = _read_triangles(path, scale, max_bytes)
    if Path(path).suffix.lower() == ".stl":
        points, index = np.unique(points, axis=0, return_inverse=True)
        triangles = index.reshape(-1)[triangles]
    _refuse_repeated(path, triangles, "triangle")
    return SurfaceMesh(points, triangles.astype(np.int32))


def read_solid_surface(path: str | PathLike[str], max_bytes: int = MAX_BYTES, max_triangles: int = MAX_CELLS) -> SurfaceMesh:
    """A surface for contact and mass: equal points made one, and triangles without an area and unused points left out.

    Args:
        path: as for `load_surface`
        max_bytes: largest file that is read [bytes]
        max_triangles: most triangles that are read

    Returns:
        The surface, its points sorted.

    Raises:
        InputError: the file cannot be used; the message says why.
    """
    points, triangles = _read_triangles(path, 1.0, max_bytes)
    if len(triangles) > max_triangles:
        raise InputError(f"{path}: {len(triangles)} triangles; at most {max_triangles} are read; use a coarser mesh")
    points, triangles = joined(points, triangles)
    if len(triangles) == 0:
        raise InputError(f"{path}: no triangle has an area; is the file damaged?")
    return SurfaceMesh(points, triangles.astype(np.int32))


def _read_triangles(path: str | PathLike[str], scale: float, max_bytes: int) -> tuple[np.ndarray, np.ndarray]:
    """Points [m], shape [n, 3], and triangles [t, 3] in the order of the file, finite and within their bounds."""
    path = checked_path(path, SURFACE_SUFFIXES, max_bytes)
    suffix = path.suffix.lower()
    content = path.read_bytes()
    declared = _declared_counts(path, suffix, content)
    points, triangles = quietly(path, lambda: _surface_arrays(path, suffix, content))
    if declared is not None and (len(points), min(len(triangles), declared[1])) != declared:
        raise InputError(
            f"{path}: declares {declared[0]} points and {declared[1]} faces, holds {len(points)} and {len(triangles)}; is it cut off?"
        )
    return checked_cells(path, points, triangles, scale, "triangle")


def _meshio_reader(suffix: str) -> Callable[[str], "meshio.Mesh"]:
    """meshio's reader of one format; its general one ends the process where a file is damaged."""
    import meshio

    return {".msh": meshio.gmsh.read, ".vtk": meshio.vtk.read, ".vtu": meshio.vtu.read, ".mesh": meshio.medit.read}[suffix]


def _surface_arrays(path: Path, suffix: str, content: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Points and triangles of a surface file, in its own order."""
    if suffix == ".dae":
        return read_collada(path, content)
    return {".stl": read_stl, ".obj": read_obj}[suffix](content) if suffix in (".stl", ".obj") else _trimesh_arrays(content, suffix[1:])


def _trimesh_arrays(content: bytes, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Points and triangles, unmerged and in the order of the file. Reading from memory lets no reference to another file be followed."""
    import trimesh

    mesh = trimesh.load_mesh(io.BytesIO(content), file_type=kind, process=False)
    return np.asarray(mesh.vertices), np.asarray(mesh.faces)


def quietly(path: Path, read: Callable[[], Result]) -> Result:
    """Run a library's reader: whatever it raises or prints becomes one error that names the file."""
    spoken = io.StringIO()
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(spoken), contextlib.redirect_stderr(spoken):
            warnings.simplefilter("ignore")
            return read()
    except MemoryError:
        raise InputError(f"{path}: reading it takes more memory than there is; use a coarser mesh") from None
    except InputError:
        raise
    except (Exception, SystemExit) as error:  # the readers raise nearly every kind of error on damaged files
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(f"{path}: cannot be read as {path.suffix.lower()} ({reason}); is the file cut off or of another kind?") from error


def _refuse_unbounded_xml(path: Path) -> None:
    """Refuse what a small XML file can make large: entities and compressed arrays."""
    content = path.read_bytes()
    if b"<!DOCTYPE" in content or b"<!ENTITY" in content:
        raise InputError(f"{path}: declares XML entities, which are not read; save the mesh anew")
    try:
        root = next(ElementTree.iterparse(io.BytesIO(content), events=("start",)))[1]
    except (ElementTree.ParseError, StopIteration) as error:
        raise InputError(f"{path}: is not XML ({error}); is the file cut off or of another kind?") from error
    if "compressor" in root.attrib:
        raise InputError(f"{path}: its arrays are compressed, and compressed files are not read; save it uncompressed, or as .msh or .vtk")


def _declared_counts(path: Path, suffix: str, content: bytes) -> tuple[int, int] | None:
    """Points and faces that a surface file says it holds; None where the format does not say."""
    if suffix == ".stl":
        counts = stl_counts(content)
        if counts is None:
            raise InputError(f"{path}: its length does not fit the number of its triangles; the file is cut off or no STL")
        return counts
    if suffix == ".ply":
        header = content[: content.find(b"end_header")]
        counts = dict(re.findall(rb"^element\s+(vertex|face)\s+(\d+)\s*$", header, re.MULTILINE))
        if set(counts) != {b"vertex", b"face"}:
            raise InputError(f"{path}: its header does not declare both vertices and faces; point clouds are not surfaces")
    elif suffix == ".off":
        words = re.match(rb"\s*(?:OFF)?(?:\s|#[^\n]*\n)*(\d+)\s+(\d+)", content)
        if words is None:
            raise InputError(f"{path}: its header does not give the numbers of points and faces; is the file cut off or of another kind?")
        counts = {b"vertex": words[1], b"face": words[2]}
    else:
        return None
    declared = int(counts[b"vertex"]), int(counts[b"face"])
    if declared[0] + declared[1] > len(content):  # every point and every face takes more than a byte
        raise InputError(f"{path}: declares {declared[0]} points and {declared[1]} faces in {len(content)} bytes; is the file cut off?")
    return declared


def checked_cells(path: Path, points: np.ndarray, cells: np.ndarray, scale: float, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Points [n, 3] in metres and cells of a file, refused where no solver could use them; `kind` is what errors call a cell."""
    points, cells = np.asarray(points, dtype=np.float64), np.asarray(cells)
    if not (np.isfinite(scale) and scale > 0.0):
        raise InputError(f"scale = {scale}: must be positive and finite; use 0.001 for a file in millimetres")
    if points.ndim != 2 or points.shape[1] != 3 or len(points) == 0:
        raise InputError(f"{path}: points of shape {list(points.shape)}; they must be [n, 3] with at least one point")
    if len(cells) == 0:
        raise InputError(f"{path}: no {kind}; is the file empty or cut off?")
    if len(points) > MAX_POINTS or len(cells) > MAX_CELLS:
        raise InputError(
            f"{path}: {len(points)} points and {len(cells)} cells; at most {MAX_POINTS} and {MAX_CELLS} are read; use a coarser mesh"
        )
    bad = np.flatnonzero(~np.isfinite(points).all(axis=1))
    if len(bad):
        raise InputError(f"{path}: point {bad[0]} is {points[bad[0]].tolist()} ({len(bad)} such points); every coordinate must be finite")
    outside = np.flatnonzero(((cells < 0) | (cells >= len(points))).any(axis=1))
    if len(outside):
        first = outside[0]
        raise InputError(
            f"{path}: {kind} {first} uses points {cells[first].tolist()} ({len(outside)} such cells); "
            f"indices must lie in 0..{len(points) - 1}"
        )
    return points * scale, cells


def _refuse_repeated(path: str | PathLike[str], cells: np.ndarray, kind: str) -> None:
    ordered = np.sort(cells, axis=1)
    repeated = np.flatnonzero((ordered[:, 1:] == ordered[:, :-1]).any(axis=1))
    if len(repeated):
        first = repeated[0]
        raise InputError(
            f"{path}: {kind} {first} uses a point twice, {cells[first].tolist()} ({len(repeated)} such cells); "
            "remove degenerate cells in the mesher"
        )
