"""OBJ and STL read with numpy alone: points in the order of the file, one a vertex, whatever normals or textures it carries.

trimesh takes a second to import and splits points at the seams of textures; a robot has thirty such files, and contact needs its
surfaces whole.
"""

import re
import struct

import numpy as np

_FACET = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])
_NUMBER = rb"[+-]?[\w.+-]+"  # takes nan and inf in, so that they are found and refused


def stl_counts(content: bytes) -> tuple[int, int] | None:
    """Points and faces that an STL file holds: 84 bytes and 50 a face where it is binary, whole facets where it is text; None: neither."""
    if len(content) >= 84:
        faces = struct.unpack_from("<I", content, 80)[0]
        if len(content) == 84 + 50 * faces:
            return 3 * faces, faces
    if content.lstrip()[:5].lower() == b"solid":
        text = content.lower()
        begun, ended = len(re.findall(rb"\bfacet\s+normal\b", text)), len(re.findall(rb"\bendfacet\b", text))
        if begun == ended and b"endsolid" in text:
            return 3 * begun, begun
    return None


def read_stl(content: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Points, three a facet, shape [3 t, 3], and triangles [t, 3] of an STL file; ValueError where it is none or cut off."""
    counts = stl_counts(content)
    if counts is None:
        raise ValueError("neither a whole binary nor a whole text STL")
    if len(content) == 84 + 50 * counts[1] and struct.unpack_from("<I", content, 80)[0] == counts[1]:
        points = np.frombuffer(content, _FACET, offset=84)["corners"].reshape(-1, 3).astype(np.float64)
    else:
        corner = rb"\bvertex\s+(" + _NUMBER + rb")\s+(" + _NUMBER + rb")\s+(" + _NUMBER + rb")"
        points = np.array(re.findall(corner, content, re.IGNORECASE), dtype=np.float64).reshape(-1, 3)
    if len(points) != counts[0]:
        raise ValueError(f"{len(points)} corners in {counts[1]} facets; three a facet are needed")
    return points, np.arange(len(points)).reshape(-1, 3)


def read_obj(content: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Points [n, 3] and triangles [t, 3] of an OBJ file; polygons are cut into fans, materials and groups are left out.

    Raises:
        ValueError: a line of a point or a face does not read as one.
    """
    if b"\\\n" in content or b"\\\r\n" in content:
        content = re.sub(rb"\\\r?\n", b" ", content)
    if re.search(rb"^[ \t]", content, re.MULTILINE):
        content = re.sub(rb"^[ \t]+", b"", content, flags=re.MULTILINE)
    lines = content.split(b"\n")
    kinds = np.array([line[:2] for line in lines], dtype="S2")
    rows, cells = np.flatnonzero((kinds == b"v ") | (kinds == b"v\t")), np.flatnonzero((kinds == b"f ") | (kinds == b"f\t"))
    points = _points([lines[i] for i in rows])
    if len(cells) == 0:
        return points, np.zeros((0, 3), dtype=np.int64)
    seen = np.searchsorted(rows, cells)  # points above each face: what a negative index counts from
    corners, counts = _polygons([lines[i] for i in cells])
    return points, fans(np.where(corners < 0, np.repeat(seen, counts) + corners, corners - 1), counts)


def fans(corners: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Triangles [t, 3] of polygons, each cut into a fan about its first corner.

    Args:
        corners: of all polygons in one row
        counts: of corners, one a polygon
    """
    first = np.cumsum(counts) - counts
    each = np.maximum(counts - 2, 0)
    polygon = np.repeat(np.arange(len(counts)), each)
    k = np.arange(len(polygon)) - np.repeat(np.cumsum(each) - each, each)
    return np.stack([corners[first[polygon]], corners[first[polygon] + k + 1], corners[first[polygon] + k + 2]], axis=1)


def _points(lines: list[bytes]) -> np.ndarray:
    """Points [n, 3] of the lines `v x y z`; weights and colours behind them are left out."""
    if not lines:
        return np.zeros((0, 3))
    words = b" ".join(lines).split()
    width, rest = divmod(len(words), len(lines))
    if rest == 0 and width >= 4 and all(word == b"v" for word in words[::width]):
        return np.array(words, dtype=object).reshape(-1, width)[:, 1:4].astype(np.float64)
    rows = [line.split()[1:4] for line in lines]
    short = next((row for row in rows if len(row) != 3), None)
    if short is not None:
        raise ValueError(f"a point of {len(short)} coordinates")
    return np.array(rows, dtype=object).astype(np.float64)


def _polygons(lines: list[bytes]) -> tuple[np.ndarray, np.ndarray]:
    """Corners of all faces in one row, and how many corners each face has."""
    text = re.sub(rb"/[^\s]*", b"", b" ".join(lines))
    words = text.split()
    corners = np.array([int(word) for word in words if word != b"f"], dtype=np.int64)
    if (corners == 0).any():
        raise ValueError("a face uses point 0; points are counted from 1")
    at = np.flatnonzero([word == b"f" for word in words])
    counts = np.diff(np.append(at, len(words))) - 1
    if counts.min() < 3:
        raise ValueError(f"a face of {counts.min()} points")
    return corners, counts


def joined(points: np.ndarray, triangles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Equal points made one, triangles without an area left out, then points that no triangle uses.

    Args:
        points: [m], shape [n, 3]
        triangles: indices into points, shape [t, 3]

    Returns:
        points [k, 3], sorted, and triangles [s, 3]
    """
    order = np.lexsort(points.T)
    ordered = points[order]
    number = np.empty(len(points), dtype=np.int64)
    number[order] = np.cumsum(np.append(True, (ordered[1:] != ordered[:-1]).any(axis=1))) - 1
    first = np.empty(int(number.max()) + 1, dtype=np.int64)
    first[number] = np.arange(len(points))
    triangles = number[triangles]
    a, b, c = triangles.T
    triangles = triangles[(a != b) & (b != c) & (c != a)]
    used, index = np.unique(triangles, return_inverse=True)
    return points[first[used]], index.reshape(-1, 3)
