"""Triangles of a COLLADA file (.dae), as robots' meshes often come: the shapes of its scene, in metres.

Read are meshes of triangles, strips of polygons (polylist, polygons) and the transforms of nodes. Left out are materials, textures,
cameras, lights, and everything that names another file. The unit of length that the file states is applied; its upward axis is not:
the tools of ROS ignore it, and robots are described to look right in those.
"""

import math
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from physsim.io.triangles import fans
from physsim.io.xml_tree import parse_xml

MAX_DEPTH = 64
MAX_NODES = 10_000  # visited, each instance counted anew: a few nodes that name each other would be visited for ever
MAX_PLACED = 20_000_000  # triangles of all instances

_NOTHING = (np.zeros((0, 3)), np.zeros((0, 3), dtype=np.int64))


@dataclass
class _Scene:
    """What nodes may name, and the shapes that were placed so far: points [n, 3] and triangles [t, 3] each."""

    named: dict[str, Element]
    shapes: dict[str, tuple[np.ndarray, np.ndarray]]
    placed: list[tuple[np.ndarray, np.ndarray]] = field(default_factory=list)
    visited: int = 0
    count: int = 0


def read_collada(path: Path, content: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Points [m], shape [n, 3], and triangles [t, 3] of all shapes in a COLLADA file's scene.

    Raises:
        InputError: not well formed, or it states a document type.
        ValueError: an entry is missing, refers to nothing or is no number; numbers of a list do not fit.
    """
    root = parse_xml(path, content)
    for element in root.iter():  # names stand with or without a prefix
        element.tag = element.tag.rpartition(":")[2]
    if root.tag != "COLLADA":
        raise ValueError(f"its outermost element is <{root.tag[:40]}>")
    named = {element.get("id"): element for element in root.iter() if element.get("id")}
    unit = root.find("asset/unit")
    metres = float(unit.get("meter", "1")) if unit is not None else 1.0
    if not 1e-9 < metres < 1e9:
        raise ValueError(f"its unit is {metres} m")
    shapes = {key: _geometry(element, named) for key, element in named.items() if element.tag == "geometry"}
    scene = _Scene(named, shapes)
    shown = root.find("scene/instance_visual_scene")
    for element in [_referred(shown, "url", named)] if shown is not None else root.findall("library_visual_scenes/visual_scene"):
        _place(element, np.diag([metres, metres, metres, 1.0]), scene, MAX_DEPTH)
    placed = scene.placed or [_NOTHING]
    shifts = np.cumsum([0, *(len(points) for points, _ in placed[:-1])])
    triangles = [cells + shift for (_, cells), shift in zip(placed, shifts)]
    return np.concatenate([points for points, _ in placed]), np.concatenate(triangles)


def _referred(element: Element, attribute: str, named: dict[str, Element]) -> Element:
    name = element.get(attribute, "")
    if not name.startswith("#") or name[1:] not in named:
        raise ValueError(f"<{element.tag}> refers to {name[:60]!r}, which is not in this file")
    return named[name[1:]]


def _numbers(element: Element | None, kind: type) -> np.ndarray:
    return np.array((element.text or "").split() if element is not None else [], dtype=object).astype(kind)


def _geometry(element: Element, named: dict[str, Element]) -> tuple[np.ndarray, np.ndarray]:
    """Points [n, 3] and triangles [t, 3] of one mesh, in its own axes and unit."""
    points, triangles, count = [], [], 0
    for part in element.findall("mesh/*"):
        if part.tag not in ("triangles", "polylist", "polygons"):
            continue
        inputs = part.findall("input")
        vertex = next((one for one in inputs if one.get("semantic") == "VERTEX"), None)
        if vertex is None:
            raise ValueError(f"<{part.tag}> has no VERTEX input")
        stride = 1 + max(int(one.get("offset", "0")) for one in inputs)
        rows = [_numbers(p, np.int64) for p in part.findall("p")]
        if any(len(row) % stride for row in rows):
            raise ValueError(f"<{part.tag}> holds a list that is no multiple of {stride}")
        if part.tag == "polylist":
            counts = _numbers(part.find("vcount"), np.int64)
        elif part.tag == "polygons":
            counts = np.array([len(row) // stride for row in rows], dtype=np.int64)
        else:
            counts = np.full(sum(map(len, rows)) // (3 * stride), 3, dtype=np.int64)
        corners = np.concatenate(rows or [np.zeros(0, dtype=np.int64)])[int(vertex.get("offset", "0")) :: stride]
        if counts.sum() != len(corners) or (len(counts) and counts.min() < 3):
            raise ValueError(f"<{part.tag}> holds {len(corners)} corners, its polygons have {counts.sum()}")
        found = _positions(_referred(vertex, "source", named), named)
        points.append(found)
        cells = fans(corners, counts)
        if len(cells) and not (cells.min() >= 0 and cells.max() < len(found)):
            raise ValueError(f"<{part.tag}> uses point {cells.max() if cells.min() >= 0 else cells.min()} of {len(found)}")
        triangles.append(cells + count)
        count += len(found)
    return (np.concatenate(points), np.concatenate(triangles)) if points else _NOTHING


def _positions(vertices: Element, named: dict[str, Element]) -> np.ndarray:
    """Points [n, 3] of a <vertices> element, or of a <source> named in its place."""
    source = vertices
    if vertices.tag == "vertices":
        given = next((one for one in vertices.findall("input") if one.get("semantic") == "POSITION"), None)
        if given is None:
            raise ValueError("<vertices> has no POSITION input")
        source = _referred(given, "source", named)
    values = _numbers(source.find("float_array"), np.float64)
    accessor = source.find("technique_common/accessor")
    stride, offset = (
        int(accessor.get(name, default)) if accessor is not None else int(default) for name, default in (("stride", "3"), ("offset", "0"))
    )
    if not 3 <= stride <= 64 or not 0 <= offset <= len(values) or (len(values) - offset) % stride:
        raise ValueError(f"a source of {len(values)} numbers does not fit a stride of {stride}")
    return values[offset:].reshape(-1, stride)[:, :3]


def _place(element: Element, pose: np.ndarray, scene: "_Scene", depth: int) -> None:
    """Append the shapes at and below a node to the scene, in its axes."""
    scene.visited += 1
    if depth == 0 or scene.visited > MAX_NODES:
        raise ValueError(f"its nodes lie more than {MAX_DEPTH} deep or are more than {MAX_NODES}; do they name each other?")
    for child in element:
        if child.tag in ("matrix", "translate", "rotate", "scale"):
            pose = pose @ _transform(child)
        elif child.tag == "instance_geometry":
            points, triangles = scene.shapes.get(_referred(child, "url", scene.named).get("id"), _NOTHING)
            scene.count += len(triangles)
            if scene.count > MAX_PLACED:
                raise ValueError(f"its scene holds more than {MAX_PLACED} triangles")
            mirrored = np.linalg.det(pose[:3, :3]) < 0.0
            scene.placed.append((points @ pose[:3, :3].T + pose[:3, 3], triangles[:, ::-1] if mirrored else triangles))
        elif child.tag == "node":
            _place(child, pose, scene, depth - 1)
        elif child.tag == "instance_node":
            _place(_referred(child, "url", scene.named), pose, scene, depth - 1)


def _transform(element: Element) -> np.ndarray:
    """Matrix [4, 4] of a transform."""
    values = _numbers(element, np.float64)
    needed = {"matrix": 16, "translate": 3, "rotate": 4, "scale": 3}[element.tag]
    if len(values) != needed or not np.isfinite(values).all():
        raise ValueError(f"<{element.tag}> holds {len(values)} numbers; {needed} finite ones are needed")
    out = np.eye(4)
    if element.tag == "matrix":
        return values.reshape(4, 4)
    if element.tag == "translate":
        out[:3, 3] = values
    elif element.tag == "scale":
        out[:3, :3] = np.diag(values)
    else:  # Rodrigues: an axis and an angle in degrees
        length = float(np.linalg.norm(values[:3]))
        x, y, z = values[:3] / length if length > 0.0 else values[:3]
        cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
        angle = math.radians(values[3])
        out[:3, :3] += math.sin(angle) * cross + (1.0 - math.cos(angle)) * cross @ cross
    return out
