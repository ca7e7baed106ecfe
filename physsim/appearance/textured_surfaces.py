"""Surfaces with the textures and colours that files of meshes bring."""

from os import PathLike

import numpy as np

from physsim.appearance.meshes import Surface
from physsim.io.textured import TexturedSurface, load_textured_surface
from physsim.physics import validation


def textured_surfaces(source: TexturedSurface | str | PathLike[str], label: int = 0, smooth: bool = False) -> list[Surface]:
    """A mesh with its colours, as one surface a material.

    Every surface has all points of the mesh, so that `moved` and `deformed` take the same for each.

    Args:
        source: what `load_textured_surface` gave, or the file that it reads.
        label, smooth: of all surfaces.

    Raises:
        InputError: the file cannot be used; something else was given.
    """
    mesh = load_textured_surface(source) if isinstance(source, str | PathLike) else source
    validation.instance("source", mesh, TexturedSurface, "or the name of a file")
    points, triangles = mesh.surface.points, mesh.surface.triangles
    surfaces = []
    for number, material in enumerate(mesh.materials):
        own = np.flatnonzero(mesh.material_of == number)
        if not len(own):
            continue
        colours = material.colour if mesh.colours is None else mesh.colours * material.colour
        textured = material.image is not None and mesh.uv is not None
        picture = {"texture": material.image, "uv": mesh.uv[own]} if textured else {}
        surfaces.append(Surface(points, triangles[own], np.clip(colours, 0.0, 1.0), label=label, smooth=smooth, **picture))
    return surfaces
