"""A fitted field on the body, from two sides, with a colour bar."""

import numpy as np
from PIL import Image, ImageDraw

from physsim.appearance.camera import Camera
from physsim.appearance.skin import SIDES, Skin
from physsim.physics.mesh import TetMesh
from physsim.physics.rods import Curve
from physsim.report.overlay import INK, MUTED, typeface
from physsim.report.render import Renderer, Solid
from physsim.twin.report import digits, scaled, words
from physsim.twin.results import TwinFit

VIEWS = ((0.55, -1.0, 0.38), (-0.55, 1.0, 0.38))  # from the body towards the camera
SIZE = (500, 380)  # of one view [pixel]
BAR = 46  # height of the colour bar's strip [pixel]


def field_pictures(mesh: object, fit: TwinFit) -> list[tuple[str, Image.Image, str]]:
    """A picture for each field of a fit that varies over the cells, and one of its parts where there are several.

    Values of a rod may be one an edge or one a point between; those of a sheet's hinges have no triangle to be shown on.

    Args:
        mesh: rest shape: TetMesh, TriMesh or Curve.
        fit: TwinFit.

    Returns:
        (name, picture, caption) each; none where no field was fitted.
    """
    out, owner = [], cells_of_surface(mesh)
    for name, given in fit.field.items():
        values = _by_cell(mesh, np.asarray(given, float).ravel())
        if values is None or np.ptp(values) < 1e-6 * np.abs(values).max():
            continue
        factor, unit = scaled(float(np.median(values)), fit.units.get(name, fit.units.get(f"{name}[0]", "")))
        label = f"{words(name)} [{unit}]" if unit else words(name)
        picture = _views(mesh, (factor * values)[owner], label)
        least, middle, most = (digits(factor * q) for q in np.quantile(values, (0.0, 0.5, 1.0)))
        out.append((name, picture, f"{words(name)} at rest, from two sides: {least} to {most} {unit}, median {middle} {unit}."))
    parts = None if fit.parts is None else _by_cell(mesh, np.asarray(fit.parts, float))
    if parts is not None and parts.max() > 0:
        picture = _views(mesh, parts[owner] + 1, "part")
        out.append(("parts", picture, f"The {int(parts.max()) + 1} parts of the body at rest, from two sides."))
    return out


def _by_cell(mesh, values):
    """Values [cells]; None where they are not of the mesh's cells."""
    cells = len(mesh.cells if isinstance(mesh, TetMesh) else mesh.edges if isinstance(mesh, Curve) else mesh.triangles)
    if isinstance(mesh, Curve) and 1 < len(values) != cells:
        return np.interp(np.linspace(0.0, 1.0, cells), np.linspace(0.0, 1.0, len(values)), values)
    return values if len(values) == cells else None


def cells_of_surface(mesh: object) -> np.ndarray:
    """The cell behind each triangle of a mesh's `Skin`, shape [t]."""
    if isinstance(mesh, TetMesh):
        return mesh.surface_cells()
    if isinstance(mesh, Curve):
        sides = SIDES[Curve]
        return np.repeat(np.arange(len(mesh.edges)), 2 * sides + 2 * (sides - 2))
    return np.arange(len(mesh.triangles))


def _views(mesh, scalar, label):
    """Two views side by side above a colour bar."""
    skin = Skin(mesh)
    points = skin.points(mesh.points)
    low, high = float(scalar.min()), float(scalar.max())
    if high - low < 1e-9 * max(abs(low), abs(high), 1e-300):
        low, high = low - 0.5 * max(abs(low), 1.0) * 1e-3, high + 0.5 * max(abs(high), 1.0) * 1e-3
    images = []
    for direction in VIEWS:
        renderer = Renderer(Camera.around(points, direction, width=SIZE[0], height=SIZE[1], margin=1.15), scalar_range=(low, high))
        images.append(np.asarray(renderer.frame([Solid(points, skin.triangles, scalar=scalar, two_sided=skin.two_sided)])))
    row = np.concatenate(images, axis=1)
    out = Image.new("RGB", (row.shape[1], row.shape[0] + BAR), "white")
    out.paste(Image.fromarray(row), (0, 0))
    _bar(out, low, high, label)
    return out


def _bar(image, low, high, label):
    import matplotlib

    pen, font, width = ImageDraw.Draw(image), typeface(13), 420
    left, top = (image.width - width) // 2, image.height - BAR + 8
    table = 255.0 * matplotlib.colormaps["viridis"](np.linspace(0.0, 1.0, width))[:, :3]
    image.paste(Image.fromarray(np.broadcast_to(table, (12, width, 3)).astype(np.uint8)), (left, top))
    for share in (0.0, 0.5, 1.0):
        pen.text((left + share * width, top + 17), digits(low + share * (high - low)), fill=MUTED, font=font, anchor="mt")
    pen.text((left - 14, top + 6), label, fill=INK, font=font, anchor="rm")
