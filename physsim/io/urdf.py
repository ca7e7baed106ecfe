"""The one door for robots that come from URDF files.

A URDF is a stranger's text that names further files. Here it is read without document types, bounded in size and depth; every number
is finite and in a stated range; links and joints make one tree (`physsim.io.description`); meshes are named by paths that stay below
the file's own folder or folders that the caller allows, and are read in a child process with limits (`physsim.io.confined`). Inertias
that no body has are repaired or refused by the rule of `physsim.io.inertia`. Elements of simulators (`<gazebo>`, `<transmission>`,
`<contact>`) are left out.
"""

import dataclasses
import re
import warnings
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from physsim.errors import InputError
from physsim.io.confined import read_surfaces
from physsim.io.description import JOINT_KINDS, Geometry, Joint, Link, Mimic, RobotDescription
from physsim.io.files import checked_path
from physsim.io.inertia import TOLD, box_inertia, possible_inertia
from physsim.io.mesh import SurfaceMesh
from physsim.io.mesh_paths import allowed_folders, mesh_file
from physsim.io.urdf_writer import write_urdf
from physsim.io.xml_tree import parse_xml

__all__ = ["Geometry", "Joint", "Link", "Mimic", "RobotDescription", "load_urdf", "write_urdf"]

MAX_BYTES = 16_000_000
MAX_LENGTH = 1e5  # [m], of sizes and distances
MAX_MASS = 1e6  # [kg]
MAX_INERTIA = 1e12  # [kg m^2]
MAX_FORCE = 1e12  # [N or N m], also of speeds and damping
_SHAPES = {"box": (), "sphere": ("radius",), "cylinder": ("radius", "length"), "capsule": ("radius", "length"), "mesh": ()}
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(nan|inf|infinity)", re.IGNORECASE)


def load_urdf(
    path: str | PathLike[str], package_folders: Sequence[str | PathLike[str]] = (), frames_only: bool = False
) -> RobotDescription:
    """Read a robot's description.

    Args:
        path: a .urdf file
        package_folders: folders that meshes may lie in besides the file's own folder. A name `package://arm/meshes/a.stl` is looked for
            as `arm/meshes/a.stl` in each folder, and as `meshes/a.stl` in one that is called `arm`
        frames_only: leaves out masses and shapes, and reads no mesh: where links are needs none of them

    Returns:
        The description, checked: a tree of finite numbers in SI units, with meshes read.

    Raises:
        InputError: the file or a mesh cannot be used; the message says why and what to do.

    Warns:
        UserWarning: an inertia was missing or possible for no body, and was replaced (`physsim.io.inertia` states the rule).
    """
    path = checked_path(path, (".urdf",), MAX_BYTES)
    folders = allowed_folders(path, package_folders)
    root = parse_xml(path, path.read_bytes())
    if root.tag != "robot":
        raise InputError(f"{path}: its outermost element is <{root.tag[:40]}>; a URDF has <robot>")
    if any(element.tag.startswith("xacro:") for element in root.iter()):
        raise InputError(f"{path}: holds xacro macros; expand them first (xacro robot.xacro > robot.urdf)")
    if frames_only:
        for link in root.findall("link"):
            for element in [e for e in link if e.tag in ("inertial", "visual", "collision")]:
                link.remove(element)
    joints = tuple(_joint(path, element) for element in root.findall("joint"))
    surfaces = _surfaces(path, root, folders)
    colors = _named_colors(path, root)
    links = tuple(_link(path, element, colors, surfaces) for element in root.findall("link"))
    description = RobotDescription(root.get("name", ""), links, joints, path.parent, path)
    _refuse_unmovable(description)
    return dataclasses.replace(description, links=_with_inertias(path, links))


def _surfaces(path: Path, root: Element, folders: list[Path]) -> dict[str, SurfaceMesh]:
    """Surfaces of all meshes, by the names that the file gives them."""
    files = {}
    for link in root.findall("link"):
        for mesh in link.iter("mesh"):
            name = mesh.get("filename", "")
            files[name] = mesh_file(f"{path}: link {link.get('name', '')[:40]!r}", name, folders)
    return dict(zip(files, read_surfaces(list(files.values()))))


def _numbers(where: str, element: Element | None, attribute: str, count: int, default: str | None = None) -> np.ndarray:
    """Finite numbers, shape [count], of an attribute such as `xyz="0 0 1"`; without it the default, or an error where there is none."""
    text = default if element is None else element.get(attribute, default)
    if text is None:
        tag = "" if element is None else f"<{element.tag}> "
        raise InputError(f"{where}: {tag}lacks {attribute!r}")
    words = text.split()
    if len(words) != count or not all(_NUMBER.fullmatch(word) for word in words):
        raise InputError(f"{where}: {attribute} = {text[:60]!r}; {count} number{'s' * (count > 1)} must stand there")
    values = np.array([float(word) for word in words])
    if not np.isfinite(values).all():
        raise InputError(f"{where}: {attribute} = {text[:60]!r}; every number must be finite")
    return values


def _number(where: str, element: Element | None, attribute: str, low: float, high: float, default: str | None = None) -> float:
    """One number in [low, high]."""
    value = float(_numbers(where, element, attribute, 1, default)[0])
    if not low <= value <= high:
        raise InputError(f"{where}: {attribute} = {value:g}; must lie in [{low:g}, {high:g}]")
    return value


def _lengths(where: str, element: Element | None, attribute: str, default: str | None = None) -> np.ndarray:
    values = _numbers(where, element, attribute, 3, default)
    if np.abs(values).max() > MAX_LENGTH:
        raise InputError(f"{where}: {attribute} = {values.tolist()}; at most {MAX_LENGTH:g} m are read; are these millimetres?")
    return values


def _origin(where: str, element: Element) -> np.ndarray:
    """Pose [4, 4] of the element's <origin>; rpy turns about the fixed axes x, then y, then z."""
    origin = element.find("origin")
    roll, pitch, yaw = _numbers(where, origin, "rpy", 3, "0 0 0")
    (sr, sp, sy), (cr, cp, cy) = np.sin([roll, pitch, yaw]), np.cos([roll, pitch, yaw])
    pose = np.eye(4)
    pose[:3, :3] = [
        [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
        [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
        [-sp, cp * sr, cp * cr],
    ]
    pose[:3, 3] = _lengths(where, origin, "xyz", "0 0 0")
    return pose


def _named_colors(path: Path, root: Element) -> dict[str, tuple]:
    """Colours of named materials, wherever the file defines them."""
    found = {}
    for material in root.iter("material"):
        if material.find("color") is not None and material.get("name"):
            found.setdefault(material.get("name"), _rgba(f"{path}: material {material.get('name')[:40]!r}", material))
    return found


def _rgba(where: str, material: Element) -> tuple[float, float, float, float]:
    return tuple(np.clip(_numbers(where, material.find("color"), "rgba", 4), 0.0, 1.0).tolist())


def _link(path: Path, element: Element, colors: dict[str, tuple], surfaces: dict[str, SurfaceMesh]) -> Link:
    name = element.get("name", "")
    where = f"{path}: link {name[:40]!r}"
    mass, center, inertia = _inertial(where, element.find("inertial"))
    shapes = {
        tag: [_geometry(f"{where}: {tag} {i}", shape, colors, surfaces) for i, shape in enumerate(element.findall(tag))]
        for tag in ("collision", "visual")
    }
    for shape in shapes["collision"]:
        if 0.0 in shape.size:
            raise InputError(f"{where}: a collision {shape.kind} has the size {list(shape.size)}; every length must be positive [m]")
    seen = tuple(shape for shape in shapes["visual"] if 0.0 not in shape.size)  # files hide a shape by giving it no size
    return Link(name, mass, center, inertia, tuple(shapes["collision"]), seen)


def _inertial(where: str, element: Element | None) -> tuple[float, np.ndarray, np.ndarray]:
    """Mass [kg], centre [m] and inertia [kg m^2] in the link's axes; nothing of it where the file gives none."""
    if element is None:
        return 0.0, np.zeros(3), np.zeros((3, 3))
    if element.find("mass") is None:
        raise InputError(f"{where}: <inertial> lacks <mass value=...>")
    mass = _number(f"{where}: mass", element.find("mass"), "value", 0.0, MAX_MASS)
    pose = _origin(where, element)
    given = element.find("inertia")
    names = ("ixx", "ixy", "ixz", "iyy", "iyz", "izz")
    xx, xy, xz, yy, yz, zz = (
        0.0 if given is None else _number(f"{where}: inertia", given, name, -MAX_INERTIA, MAX_INERTIA, "0") for name in names
    )
    rotation = pose[:3, :3]
    inertia = rotation @ np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]) @ rotation.T
    return mass, pose[:3, 3], inertia * (mass > 0.0)


def _geometry(where: str, element: Element, colors: dict[str, tuple], surfaces: dict[str, SurfaceMesh]) -> Geometry:
    """A shape; one of no size is handed on as it is."""
    shapes = [child for child in element.findall("geometry/*") if child.tag != "material"]
    if len(shapes) != 1 or shapes[0].tag not in _SHAPES:
        held = ", ".join(f"<{shape.tag[:40]}>" for shape in shapes) or "nothing"
        raise InputError(f"{where}: its <geometry> holds {held}; it must hold one of {', '.join(_SHAPES)}")
    shape, material = shapes[0], element.find("material")
    color = None
    if material is not None:
        color = _rgba(where, material) if material.find("color") is not None else colors.get(material.get("name"))
    origin = _origin(where, element)
    if shape.tag == "mesh":
        points, triangles = _scaled(where, shape, surfaces[shape.get("filename", "")])
        return Geometry("mesh", (), origin, points, triangles, color)
    if shape.tag == "box":
        size = _lengths(where, shape, "size")
        if (size < 0.0).any():
            raise InputError(f"{where}: size = {size.tolist()}; every edge must be positive [m]")
    else:
        size = np.array([_number(where, shape, name, 0.0, MAX_LENGTH) for name in _SHAPES[shape.tag]])
    return Geometry(shape.tag, tuple(size.tolist()), origin, color=color)


def _scaled(where: str, element: Element, surface: SurfaceMesh) -> tuple[np.ndarray, np.ndarray]:
    """Points [m] and triangles of a mesh, scaled."""
    scale = _numbers(where, element, "scale", 3, "1 1 1")
    if (np.abs(scale) < 1e-9).any() or (np.abs(scale) > 1e9).any():
        raise InputError(f"{where}: scale = {scale.tolist()}; no factor may be 0 or beyond 1e9")
    points = surface.points * scale
    if np.abs(points).max() > MAX_LENGTH:
        raise InputError(
            f"{where}: its mesh reaches {np.abs(points).max():g} m with scale {scale.tolist()}; at most {MAX_LENGTH:g} m are read; "
            "give a scale that makes it metres"
        )
    return points, surface.triangles if scale.prod() > 0.0 else surface.triangles[:, ::-1].copy()  # a mirror turns it inside out


def _with_inertias(path: Path, links: tuple[Link, ...]) -> tuple[Link, ...]:
    """The links with inertias that a body can have; one warning names those that were changed."""
    repaired, missing, out = [], [], []
    for link in links:
        where, inertia = f"{path}: link {link.name!r}", link.inertia
        if link.mass > 0.0 and not inertia.any():
            inertia = box_inertia(link.mass, link.collisions or link.visuals)
            if inertia is None:
                raise InputError(f"{where}: has a mass of {link.mass:g} kg but neither inertia nor shape; give <inertia> or <collision>")
            missing.append(link.name)
        elif link.mass > 0.0:
            inertia, change = possible_inertia(where, inertia)
            if change > TOLD:
                repaired.append(f"{link.name} (by {100 * change:.0f} %)")
        out.append(dataclasses.replace(link, inertia=inertia))
    for named, told in (
        (
            repaired,
            "no body has the inertia given for {}: a principal moment exceeds the sum of the others; the nearest possible one is used",
        ),
        (missing, "no inertia is given for {}; that of a solid box as large as the link's shapes is used"),
    ):
        if named:
            warnings.warn(f"{path}: {told.format(', '.join(named))}", UserWarning, stacklevel=3)
    return tuple(out)


def _joint(path: Path, element: Element) -> Joint:
    name, kind = element.get("name", ""), element.get("type", "")
    where = f"{path}: joint {name[:40]!r}"
    if kind not in JOINT_KINDS:
        raise InputError(f"{where}: is of type {kind[:40]!r}; it must be one of {', '.join(JOINT_KINDS)}")
    ends = []
    for end in ("parent", "child"):
        if element.find(end) is None or not element.find(end).get("link"):
            raise InputError(f"{where}: lacks <{end} link=...>")
        ends.append(element.find(end).get("link"))
    origin, axis = _origin(where, element), _numbers(where, element.find("axis"), "xyz", 3, "1 0 0")
    if kind == "fixed":
        return Joint(name, kind, *ends, origin, np.array([1.0, 0.0, 0.0]))
    length = float(np.linalg.norm(axis))
    if not 1e-6 < length < 1e6:
        raise InputError(f"{where}: axis = {axis.tolist()}; it must have a length, best 1")
    dynamics = element.find("dynamics")
    damping, friction = (_number(where, dynamics, word, 0.0, MAX_FORCE, "0") for word in ("damping", "friction"))
    limits = _limits(where, kind, element.find("limit"))
    return Joint(name, kind, *ends, origin, axis / length, *limits, damping, _mimic(where, element.find("mimic")), friction)


def _limits(where: str, kind: str, element: Element | None) -> tuple[float, float, float, float]:
    """Lower, upper, effort and velocity of a moving joint."""
    lower, upper = -np.inf, np.inf
    if kind != "continuous":
        if element is None:
            raise InputError(f"{where}: is {kind} and lacks <limit lower=... upper=...>; a joint that turns without end is continuous")
        lower, upper = (_number(where, element, word, -MAX_LENGTH, MAX_LENGTH, "0") for word in ("lower", "upper"))
        if lower > upper:
            raise InputError(f"{where}: its lower limit {lower:g} lies above its upper limit {upper:g}; exchange them, or use continuous")
    most = [
        np.inf if element is None or element.get(word) is None else _number(where, element, word, 0.0, MAX_FORCE)
        for word in ("effort", "velocity")
    ]
    return lower, upper, *most


def _mimic(where: str, element: Element | None) -> Mimic | None:
    if element is None:
        return None
    multiplier = _number(f"{where}: mimic", element, "multiplier", -1e6, 1e6, "1")
    return Mimic(element.get("joint", ""), multiplier, _number(f"{where}: mimic", element, "offset", -MAX_LENGTH, MAX_LENGTH, "0"))


def _refuse_unmovable(description: RobotDescription) -> None:
    """Refuse a moving joint that carries no mass at all, in a robot that has mass: nothing says how it would move."""
    carried = {link.name: link.mass for link in description.links}
    if not any(carried.values()):
        return
    for joint in reversed(description.tree):
        if joint.kind != "fixed" and carried[joint.child] == 0.0:
            raise InputError(
                f"{description.path}: joint {joint.name!r} moves link {joint.child!r}, and nothing it carries has a mass; "
                "give it <inertial>, or make the joint fixed"
            )
        carried[joint.parent] += carried[joint.child]
