"""Surfaces with their colours: textures of OBJ and GLB, colours of points of PLY and OBJ.

Textures of an OBJ are read from its own folder alone; a GLB must hold everything itself.
"""

import io
import json
import struct
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path

import numpy as np

from physsim.errors import InputError
from physsim.io.files import checked_path
from physsim.io.images import MAX_PIXELS, read_image
from physsim.io.mesh import MAX_BYTES, MAX_CELLS, SURFACE_SUFFIXES, SurfaceMesh, checked_cells, load_surface, quietly
from physsim.io.obj_colours import material_libraries, obj_colours, read_materials
from physsim.io.ply import read_vertices

_GLB = b"glTF"
MAX_INSTANCES = 10_000  # of geometries in a scene


@dataclass(frozen=True)
class Material:
    """What colours a triangle.

    Args:
        colour: that the texture is multiplied by, from 0 to 1, shape [3].
        image: texture from 0 to 1, shape [height, width, 3], its first row on top; None: the colour alone.
    """

    colour: np.ndarray = field(default_factory=lambda: np.ones(3))
    image: np.ndarray | None = None


@dataclass(frozen=True)
class TexturedSurface:
    """A triangle surface and its colours.

    Args:
        surface: points and triangles [m].
        materials: at least one.
        material_of: which one each triangle has, shape [t].
        uv: place of each triangle's corners in its texture, (0, 0) the lower left corner, shape [t, 3, 2]; None: nowhere.
        colours: of the points, which everything is multiplied by, from 0 to 1, shape [n, 3]; None: white.
    """

    surface: SurfaceMesh
    materials: tuple
    material_of: np.ndarray
    uv: np.ndarray | None = None
    colours: np.ndarray | None = None

    def colours_at(self, triangles: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """Colours of points on the surface.

        Args:
            triangles: that the points lie on, shape [k].
            weights: barycentric coordinates there, shape [k, 3].

        Returns:
            Red, green and blue from 0 to 1, shape [k, 3]; textures are interpolated between the middles of pixels, and repeat.
        """
        out = np.ones((len(triangles), 3))
        if self.colours is not None:
            out *= np.einsum("kc,kcd->kd", weights, self.colours[self.surface.triangles[triangles]])
        for number, material in enumerate(self.materials):
            own = np.flatnonzero(self.material_of[triangles] == number)
            out[own] *= material.colour
            if material.image is not None and self.uv is not None:
                out[own] *= _looked_up(material.image, np.einsum("kc,kcd->kd", weights[own], self.uv[triangles[own]]))
        return np.clip(out, 0.0, 1.0)  # weights add up to 1 but for rounding


def load_textured_surface(path: str | PathLike[str], scale: float = 1.0, max_bytes: int = MAX_BYTES) -> TexturedSurface:
    """Read a triangle surface with its colours.

    Args:
        path: an .obj file with .mtl and pictures in the same folder, a .glb file, a .ply file, or any surface that `load_surface` reads
            (white then).
        scale: factor on the points, for files that are not in metres (0.001 for millimetres).
        max_bytes: largest file that is read [bytes].

    Returns:
        The surface, in the order of the file; axes as in the file (y is up in a GLB).

    Raises:
        InputError: the file, or one that it names, cannot be used; the message says why.
    """
    suffix = Path(path).suffix.lower()
    if suffix == ".glb":
        return _read_glb(checked_path(path, {".glb"}, max_bytes), scale)
    if suffix not in SURFACE_SUFFIXES:
        raise InputError(f"{path}: ending {suffix!r} is not read here; convert it to one of .glb, {', '.join(SURFACE_SUFFIXES)}")
    surface = load_surface(path, scale, max_bytes)
    plain = TexturedSurface(surface, (Material(),), np.zeros(len(surface.triangles), dtype=int))
    if suffix == ".obj":
        return _with_obj_colours(Path(path), plain)
    if suffix == ".ply":
        return TexturedSurface(surface, plain.materials, plain.material_of, colours=_ply_colours(path, len(surface.points)))
    return plain


def _looked_up(image: np.ndarray, uv: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    at = np.stack([(1.0 - uv[:, 1]) * height, uv[:, 0] * width], axis=1) - 0.5
    low = np.floor(at)
    share = at - low
    low = low.astype(np.int64)
    out = np.zeros((len(uv), 3))
    for row in (0, 1):
        for column in (0, 1):
            weight = np.abs(1 - row - share[:, 0]) * np.abs(1 - column - share[:, 1])
            out += weight[:, None] * image[(low[:, 0] + row) % height, (low[:, 1] + column) % width]
    return out


def colours_of(columns: dict[str, np.ndarray]) -> np.ndarray | None:
    """Colours [n, 3] from 0 to 1 of a PLY file's properties red, green, blue; None where it has none."""
    if not all(name in columns for name in ("red", "green", "blue")):
        return None
    values = np.stack([columns[name] for name in ("red", "green", "blue")], axis=1)
    if values.dtype.kind in "iu":
        return np.clip(values / np.iinfo(values.dtype).max, 0.0, 1.0)
    return np.clip(values.astype(np.float64), 0.0, 1.0)


def _ply_colours(path: str | PathLike[str], count: int) -> np.ndarray | None:
    columns = read_vertices(path)
    colours = colours_of(columns)
    if colours is not None and (len(colours) != count or not np.isfinite(colours).all()):
        raise InputError(f"{path}: its colours are not finite, or not one a point")
    return colours


def _with_obj_colours(path: Path, plain: TexturedSurface) -> TexturedSurface:
    content = path.read_bytes()
    uv, names, material_of, colours = quietly(path, lambda: obj_colours(content))
    if len(material_of) != len(plain.surface.triangles) or (colours is not None and len(colours) != len(plain.surface.points)):
        raise InputError(f"{path}: its faces cannot be matched with their textures; is the file damaged?")
    for what, values in (("texture coordinate", uv), ("colour", colours)):
        if values is not None and not np.isfinite(values).all():
            raise InputError(f"{path}: a {what} is NaN or infinite; repair the file")
    known = {}
    for library in material_libraries(content):
        known |= read_materials(_beside(path, library, {".mtl"}))
    materials = []
    for name in names:
        colour, picture = known.get(name, (np.ones(3), None))
        image = None if picture is None else read_image(_beside(path, picture, None))[0]
        materials.append(Material(colour if image is None else np.ones(3), image))  # viewers show the texture alone
    return TexturedSurface(plain.surface, tuple(materials), material_of, uv, None if colours is None else np.clip(colours, 0.0, 1.0))


def _beside(path: Path, name: str, suffixes: set | None) -> Path:
    """A file that another one names, in the same folder or below it."""
    folder = path.parent.resolve()
    relative = Path(name.replace("\\", "/"))
    try:
        file = (folder / relative).resolve()
        there = file.is_file()
    except (OSError, RuntimeError, ValueError):
        raise InputError(f"{path}: names {name[:80]!r}, which is no file's name") from None
    if relative.is_absolute() or not file.is_relative_to(folder):
        raise InputError(f"{path}: names {name[:80]!r}, which leaves its folder; copy that file beside it and name it by a relative path")
    if not there:
        raise InputError(f"{path}: names {name[:80]!r}, and there is no such file in its folder; copy it there")
    return checked_path(file, suffixes, MAX_BYTES) if suffixes else file


def _read_glb(path: Path, scale: float) -> TexturedSurface:
    content = path.read_bytes()
    _check_glb(path, content)
    parts = quietly(path, lambda: _glb_parts(path, content))
    if not parts:
        raise InputError(f"{path}: holds no triangles; is it of another kind?")
    starts = np.cumsum([0, *(len(part[0]) for part in parts)])
    points = np.concatenate([part[0] for part in parts])
    triangles = np.concatenate([part[1] + start for part, start in zip(parts, starts[:-1], strict=True)])
    points, triangles = checked_cells(path, points, triangles, scale, "triangle")
    corners = np.concatenate([part[2] for part in parts])
    colours = np.concatenate([part[3] for part in parts])
    if not (np.isfinite(corners).all() and np.isfinite(colours).all()):
        raise InputError(f"{path}: a texture coordinate or colour is NaN or infinite; repair the file")
    material_of = np.repeat(np.arange(len(parts)), [len(part[1]) for part in parts])
    return TexturedSurface(SurfaceMesh(points, triangles.astype(np.int32)), tuple(part[4] for part in parts), material_of, corners, colours)


def _check_glb(path: Path, content: bytes) -> None:
    """What a GLB says of itself: its length, what it names outside itself, and how much it unfolds to."""
    if len(content) < 20 or content[:4] != _GLB or struct.unpack_from("<I", content, 8)[0] != len(content) or content[16:20] != b"JSON":
        raise InputError(f"{path}: is no whole GLB file; is it cut off or of another kind?")
    size = struct.unpack_from("<I", content, 12)[0]
    try:
        tree = json.loads(content[20 : 20 + size])
        outside = [str(entry["uri"]) for kind in ("buffers", "images") for entry in tree.get(kind, ()) if "uri" in entry]
        counts = sum(int(accessor["count"]) for accessor in tree.get("accessors", ()))
        negative = any(int(accessor["count"]) < 0 for accessor in tree.get("accessors", ()))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise InputError(f"{path}: its description is not glTF; is it damaged?") from None
    outside = [uri for uri in outside if not uri.startswith("data:")]
    if outside:
        raise InputError(f"{path}: names the file {outside[0][:80]!r}, and only what a GLB holds itself is read; embed it")
    if negative or counts > 4 * MAX_CELLS:
        raise InputError(f"{path}: declares {counts} values; at most {4 * MAX_CELLS} are read; use a coarser mesh")


def _glb_parts(path: Path, content: bytes) -> list[tuple]:
    """(points, triangles, uv of corners, colours of points, material) of each geometry where it stands."""
    import trimesh

    scene = trimesh.load_scene(io.BytesIO(content), file_type="glb", process=False)
    nodes = scene.graph.nodes_geometry
    sizes = {name: len(getattr(geometry, "faces", ())) for name, geometry in scene.geometry.items()}
    total = sum(sizes.get(scene.graph[node][1], 0) for node in nodes)
    if len(nodes) > MAX_INSTANCES or total > MAX_CELLS:
        raise InputError(f"{path}: {len(nodes)} parts with {total} triangles; at most {MAX_INSTANCES} and {MAX_CELLS} are read")
    materials = {name: _glb_material(path, g.visual) for name, g in scene.geometry.items() if sizes[name]}
    parts = []
    for node in nodes:
        turn, name = scene.graph[node]
        if name not in materials:
            continue
        mesh = scene.geometry[name]
        points = np.asarray(mesh.vertices) @ turn[:3, :3].T + turn[:3, 3]
        triangles = np.asarray(mesh.faces)
        if np.linalg.det(turn[:3, :3]) < 0:
            triangles = triangles[:, ::-1]
        uv = getattr(mesh.visual, "uv", None)
        corners = np.zeros((len(triangles), 3, 2)) if uv is None or len(uv) != len(points) else np.asarray(uv)[triangles]
        colours = np.ones((len(points), 3))
        if mesh.visual.kind == "vertex":
            colours = np.asarray(mesh.visual.vertex_colors)[:, :3] / 255.0
        parts.append((points, triangles, corners, colours, materials[name]))
    return parts


def _glb_material(path: Path, visual: object) -> Material:
    material = getattr(visual, "material", None)
    factor = getattr(material, "baseColorFactor", None)
    colour = np.ones(3) if factor is None else np.asarray(factor, dtype=float)[:3] / 255.0
    picture = getattr(material, "baseColorTexture", None)
    if picture is None:
        return Material(colour)
    width, height = picture.size
    if width * height > MAX_PIXELS:
        raise InputError(f"{path}: a texture of {width} x {height} pixels; at most {MAX_PIXELS} are read; make it smaller")
    return Material(colour, np.asarray(picture.convert("RGB"), dtype=np.float32) / np.float32(255.0))
