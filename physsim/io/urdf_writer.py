"""A robot's description written out as a URDF that every reader takes: one element a line, meshes beside it as plain OBJ."""

from os import PathLike
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

import numpy as np

from physsim.errors import InputError
from physsim.io.description import Geometry, Joint, Link, RobotDescription

_LONGEST = 1e5  # stands for a slide without an end [m]


def write_urdf(description: RobotDescription, folder: str | PathLike[str], visuals: bool = True) -> Path:
    """Write a description as `robot.urdf` with its meshes beside it, for other simulators.

    Args:
        description: to be written
        folder: to write into; made if it is not there, files of the same names are replaced
        visuals: False leaves out the shapes that are only looked at

    Returns:
        Path of the URDF; `load_urdf` reads it back to the same description, points of meshes to nine digits.

    Raises:
        InputError: the folder cannot be written.
    """
    root = Element("robot", name=description.name)
    written: dict[tuple[int, int], str] = {}
    try:
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for link in description.links:
            _add_link(root, link, visuals, folder, written)
        for joint in description.joints:
            _add_joint(root, joint)
        tree = ElementTree.ElementTree(root)
        ElementTree.indent(tree)
        path = folder / "robot.urdf"
        tree.write(path, encoding="utf-8", xml_declaration=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror}); it must be a folder that may be written to") from None
    return path


def _text(*values: float) -> str:
    return " ".join(repr(float(value)) for value in values)


def _add_origin(element: Element, pose: np.ndarray) -> None:
    rotation = pose[:3, :3]
    level = float(np.hypot(rotation[0, 0], rotation[1, 0]))
    pitch = np.arctan2(-rotation[2, 0], level)
    if level > 1e-9:
        roll, yaw = np.arctan2(rotation[2, 1], rotation[2, 2]), np.arctan2(rotation[1, 0], rotation[0, 0])
    else:  # pointing straight up or down: roll and yaw turn about one axis, and yaw is taken as 0
        roll, yaw = np.arctan2(-rotation[1, 2], rotation[1, 1]), 0.0
    SubElement(element, "origin", xyz=_text(*pose[:3, 3]), rpy=_text(roll, pitch, yaw))


def _add_link(root: Element, link: Link, visuals: bool, folder: Path, written: dict) -> None:
    element = SubElement(root, "link", name=link.name)
    inertial = SubElement(element, "inertial")
    pose = np.eye(4)
    pose[:3, 3] = link.center
    _add_origin(inertial, pose)
    SubElement(inertial, "mass", value=_text(link.mass))
    entries = {f"i{'xyz'[i]}{'xyz'[j]}": _text(link.inertia[i, j]) for i in range(3) for j in range(i, 3)}
    SubElement(inertial, "inertia", entries)
    for tag, shapes in (("visual", link.visuals if visuals else ()), ("collision", link.collisions)):
        for shape in shapes:
            _add_shape(SubElement(element, tag), shape, folder, written)


def _add_shape(element: Element, shape: Geometry, folder: Path, written: dict) -> None:
    _add_origin(element, shape.origin)
    geometry = SubElement(element, "geometry")
    if shape.kind == "mesh":
        key = (id(shape.points), id(shape.triangles))
        if key not in written:
            written[key] = f"mesh{len(written)}.obj"
            _write_obj(folder / written[key], shape)
        SubElement(geometry, "mesh", filename=written[key])
    elif shape.kind == "box":
        SubElement(geometry, "box", size=_text(*shape.size))
    else:
        names = ("radius", "length")[: len(shape.size)]
        SubElement(geometry, shape.kind, {name: _text(value) for name, value in zip(names, shape.size)})
    if shape.color is not None:
        material = SubElement(element, "material", name="color " + " ".join(f"{c:g}" for c in shape.color))
        SubElement(material, "color", rgba=_text(*shape.color))


def _write_obj(path: Path, shape: Geometry) -> None:
    points = "v %.9g %.9g %.9g\n" * len(shape.points) % tuple(shape.points.ravel().tolist())
    path.write_text(points + "f %d %d %d\n" * len(shape.triangles) % tuple((shape.triangles.ravel() + 1).tolist()))


def _add_joint(root: Element, joint: Joint) -> None:
    endless = joint.kind == "revolute" and np.isinf(joint.lower) and np.isinf(joint.upper)
    kind = "continuous" if endless else joint.kind
    element = SubElement(root, "joint", name=joint.name, type=kind)
    SubElement(element, "parent", link=joint.parent)
    SubElement(element, "child", link=joint.child)
    _add_origin(element, joint.origin)
    if kind == "fixed":
        return
    SubElement(element, "axis", xyz=_text(*joint.axis))
    limit = {name: _text(value) for name, value in (("effort", joint.effort), ("velocity", joint.velocity)) if np.isfinite(value)}
    if kind != "continuous":
        limit |= {"lower": _text(max(joint.lower, -_LONGEST)), "upper": _text(min(joint.upper, _LONGEST))}
    SubElement(element, "limit", limit)
    SubElement(element, "dynamics", damping=_text(joint.damping), friction=_text(joint.friction))
    if joint.mimic is not None:
        follow = {"multiplier": _text(joint.mimic.multiplier), "offset": _text(joint.mimic.offset)}
        SubElement(element, "mimic", joint=joint.mimic.joint, **follow)
