"""Robots to look at: the visual shapes of a description's links as surfaces, and where the links are.

surfaces = robot_surfaces(robot.description)
image = render(Scene(splats, placed_links(surfaces, robot.links())), camera)
"""

import numpy as np

from physsim.appearance.meshes import Surface
from physsim.errors import InputError
from physsim.io.description import Geometry, RobotDescription
from physsim.physics import validation
from physsim.physics.frames import rotation_matrix

PLAIN = (0.82, 0.85, 0.89)  # where a file gives no colour
ROUND = 32  # corners of a circle


def robot_surfaces(
    description: RobotDescription, links: list[str] | None = None, label: int = 0, label_each: bool = False, collisions: bool = False
) -> dict[str, Surface]:
    """Surfaces of a robot's links, in the links' frames.

    Args:
        description: as `load_urdf` gives it; its meshes came through that door.
        links: names of those to draw; None: all that have something to look at.
        label: of all links, or of the first.
        label_each: give every link of the description a label of its own, `label` plus its number there.
        collisions: draw the shapes that touch instead of those to be looked at.

    Returns:
        Surfaces by the name of the link, in the description's order; links without shapes are left out.

    Raises:
        InputError: no description, a link that it does not have.
    """
    validation.instance("description", description, RobotDescription)
    chosen = {description.link(name).name for name in links} if links is not None else {link.name for link in description.links}
    surfaces = {}
    for number, link in enumerate(description.links):
        shapes = link.collisions if collisions else link.visuals
        if link.name in chosen and shapes:
            surfaces[link.name] = _joined(shapes, label + number * label_each)
    return surfaces


def placed_links(surfaces: dict[str, Surface], links: object) -> list[Surface]:
    """The surfaces where the links are.

    Args:
        surfaces: by the name of the link, as `robot_surfaces` gives them.
        links: `robot.links()`: names, positions [m] and quaternions (w, x, y, z).

    Raises:
        InputError: a link that `links` does not know.
    """
    unknown = [name for name in surfaces if name not in links.names]
    if unknown:
        raise InputError(f"links {', '.join(map(repr, unknown[:4]))}: there are none of that name; give the surfaces of the same robot")
    poses = {name: links.pose(name) for name in surfaces}
    return [surface.moved(rotation_matrix(poses[name][1]), poses[name][0]) for name, surface in surfaces.items()]


def shape_triangles(shape: Geometry) -> tuple[np.ndarray, np.ndarray]:
    """Points in the link's frame [m], shape [n, 3], and outward triangles, shape [t, 3], of a mesh, box, sphere, cylinder or capsule."""
    import trimesh

    if shape.kind == "mesh":
        points, triangles = shape.points, shape.triangles
    else:
        if shape.kind == "box":
            made = trimesh.creation.box(extents=shape.size)
        elif shape.kind == "sphere":
            made = trimesh.creation.icosphere(subdivisions=3, radius=shape.size[0])
        elif shape.kind == "cylinder":
            made = trimesh.creation.cylinder(radius=shape.size[0], height=shape.size[1], sections=ROUND)
        else:
            made = trimesh.creation.capsule(radius=shape.size[0], height=shape.size[1], count=(ROUND, ROUND))
        points, triangles = np.asarray(made.vertices), np.asarray(made.faces)
        points = points - 0.5 * (points.min(axis=0) + points.max(axis=0))  # all four are symmetric about their middle
    return points @ shape.origin[:3, :3].T + shape.origin[:3, 3], triangles


def _joined(shapes, label):
    parts = [shape_triangles(shape) for shape in shapes]
    offsets = np.cumsum([0, *(len(points) for points, _ in parts)])
    triangles = np.concatenate([triangles + offset for (_, triangles), offset in zip(parts, offsets, strict=False)])
    colours = [np.broadcast_to(PLAIN if shape.color is None else shape.color[:3], (len(t), 3)) for shape, (_, t) in zip(shapes, parts)]
    return Surface(np.concatenate([points for points, _ in parts]), triangles, triangle_colours=np.concatenate(colours), label=label)
