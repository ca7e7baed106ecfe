"""What colours the faces of an OBJ file: texture coordinates, materials and their libraries, colours of points."""

import re
from os import PathLike

import numpy as np

from physsim.io.triangles import fans

MAX_LIBRARIES = 32


def obj_colours(content: bytes) -> tuple[np.ndarray | None, list[str], np.ndarray, np.ndarray | None]:
    """Colours of an OBJ file's triangles, in the order in which `triangles.read_obj` gives them.

    Returns:
        (place of the triangles' corners in the texture [t, 3, 2] or None; names of materials; which of them each triangle has [t];
        colours of the points [n, 3] or None).

    Raises:
        ValueError: a line does not read as one of OBJ, or a face names texture coordinates that are not there.
    """
    lines = [line.strip() for line in re.sub(rb"\\\r?\n", b" ", content).split(b"\n")]
    words = [line.split(None, 1)[0] if line else b"" for line in lines]
    kinds = np.array(words, dtype="S8")
    points, places, faces = (np.flatnonzero(kinds == kind) for kind in (b"v", b"vt", b"f"))
    rows = [lines[i].split()[1:3] for i in places]
    uv = np.array([[*row, b"0"][:2] for row in rows], dtype=object).astype(np.float64).reshape(-1, 2)
    tokens = [lines[i].split()[1:] for i in faces]
    counts = np.array([len(row) for row in tokens], dtype=np.int64)
    second = [(token.split(b"/") + [b""])[1] for row in tokens for token in row]
    given = np.array([word != b"" for word in second], dtype=bool)
    corners = np.array([int(word or 0) for word in second], dtype=np.int64)
    seen = np.repeat(np.searchsorted(places, faces), counts)  # texture coordinates above each face: what a negative index counts from
    corners = np.where(corners < 0, seen + corners, corners - 1)
    if ((corners < 0) | (corners >= len(uv)))[given].any():
        raise ValueError("a face names texture coordinates that are not there")
    triangles = fans(np.arange(len(corners)), counts)
    at = None
    if given.any():
        place = np.where(given[:, None], uv[np.where(given, corners, 0)], 0.0)
        at = place[triangles]
    names, material_of = _materials_of(lines, kinds, faces)
    return at, names, np.repeat(material_of, np.maximum(counts - 2, 0)), _point_colours([lines[i] for i in points])


def material_libraries(content: bytes) -> list[str]:
    """Names of the files that an OBJ file takes its materials from."""
    names = re.findall(rb"^[ \t]*mtllib[ \t]+([^\r\n]+)", content, re.MULTILINE)
    return [name.strip().decode("utf-8", errors="replace") for name in names[:MAX_LIBRARIES]]


def read_materials(path: str | PathLike[str]) -> dict[str, tuple[np.ndarray, str | None]]:
    """Materials of an MTL file: name -> (diffuse colour [3], name of its texture or None).

    Lines that do not read as colours are left out; options of a texture (-s, -o, ...) too.
    """
    found, name = {}, None
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            words = line.split()
            if len(words) < 2:
                continue
            if words[0] == "newmtl":
                name = line.strip().split(None, 1)[1]
                found[name] = (np.ones(3), None)
            elif name is not None and words[0] == "Kd":
                colour = _colour(words[1:4])
                found[name] = (found[name][0] if colour is None else colour, found[name][1])
            elif name is not None and words[0] == "map_Kd":
                rest = line.strip().split(None, 1)[1]
                found[name] = (found[name][0], words[-1] if rest.startswith("-") else rest)
    return found


def _colour(words: list[str]) -> np.ndarray | None:
    try:
        colour = np.array([float(word) for word in words])
    except ValueError:
        return None
    return np.clip(colour, 0.0, 1.0) if colour.shape == (3,) and np.isfinite(colour).all() else None


def _materials_of(lines: list[bytes], kinds: np.ndarray, faces: np.ndarray) -> tuple[list[str], np.ndarray]:
    """(names of the materials that faces use, sorted; which of them each face has)."""
    uses = np.flatnonzero(kinds == b"usemtl")
    named = [(lines[i].split(None, 1) + [b""])[1].decode("utf-8", errors="replace") for i in uses]
    names, number = np.unique(np.array(["", *named])[np.searchsorted(uses, faces)], return_inverse=True)
    return names.tolist(), number


def _point_colours(lines: list[bytes]) -> np.ndarray | None:
    """Colours behind the coordinates, `v x y z r g b`, if every point has them."""
    rows = [line.split()[1:] for line in lines]
    if not rows or any(len(row) != 6 for row in rows):
        return None
    return np.array([row[3:] for row in rows], dtype=object).astype(np.float64)
