"""A small software renderer: solids, shadows and markers on the CPU, by the painter's algorithm.

Projection, shading and sorting are vectorised; Pillow fills the triangles from far to near at twice the size, which is then halved for
smooth edges. It needs neither a display nor a graphics card.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from physsim.appearance.camera import Camera
from physsim.errors import InputError
from physsim.report.overlay import Legend, draw_dot, draw_overlay, rgb

SUPERSAMPLE = 2
_CREASE = np.cos(np.radians(35.0))  # edges between faces that turn by more are drawn
_FAR = 1e6  # depth that puts backdrops behind all else [m]
LIGHT = np.array([0.35, -0.55, 1.0]) / np.linalg.norm([0.35, -0.55, 1.0])  # towards the light


@dataclass(frozen=True)
class Solid:
    """A triangle surface to draw.

    Attributes:
        points: positions [m], shape [n, 3]
        triangles: indices into points, shape [t, 3], outward unless `two_sided`
        colour: such as ``#5b8def``
        scalar: values, shape [n] or [t], coloured over the renderer's `scalar_range` instead of `colour`
        two_sided: draw both faces of an open surface
        mesh_lines: show every edge thinly
        creases: show borders and edges where the surface turns sharply
        backdrop: draw it before all others, as for a wall or a table that nothing goes behind
    """

    points: np.ndarray
    triangles: np.ndarray
    colour: str = "#5b8def"
    scalar: np.ndarray | None = None
    two_sided: bool = False
    mesh_lines: bool = False
    creases: bool = True
    backdrop: bool = False

    def __post_init__(self) -> None:
        points, triangles = np.shape(self.points), np.shape(self.triangles)
        if len(points) != 2 or points[1] != 3 or len(triangles) != 2 or triangles[1] != 3:
            raise InputError(f"solid: points of shape {points} and triangles of shape {triangles}; they must be [n, 3] and [t, 3]")
        if not np.isfinite(self.points).all():
            raise InputError("solid: a point is NaN or infinite; only finite positions can be drawn")
        if triangles[0] and (np.min(self.triangles) < 0 or np.max(self.triangles) >= points[0]):
            raise InputError(f"solid: a triangle uses a point outside 0..{points[0] - 1}")
        if self.scalar is not None and np.shape(self.scalar) not in {(points[0],), (triangles[0],)}:
            raise InputError(f"solid: scalar of shape {np.shape(self.scalar)}; it must have a value a point or a value a triangle")


@dataclass(frozen=True)
class Dots:
    """Markers drawn above everything: positions [m], shape [n, 3]; colour; radius [pixel]; hollow or filled; label for the legend."""

    points: np.ndarray
    colour: str = "#e11d48"
    radius: float = 5.0
    hollow: bool = False
    label: str = ""


def box_surface(lower: Sequence[float], upper: Sequence[float], divisions: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Surface of an upright box between two corners.

    Each face is cut into `divisions` x `divisions` squares: the painter's algorithm sorts by the middle of a triangle, so that large
    ones would cover small ones that stand before them.

    Returns:
        Points [m], shape [n, 3], and outward triangles, shape [12 divisions^2, 3].
    """
    steps = np.arange(divisions)
    start = (steps[:, None] * (divisions + 1) + steps).ravel()
    squares = start[:, None] + np.array([0, divisions + 1, divisions + 2, 1])
    face = np.concatenate([squares[:, [0, 1, 2]], squares[:, [0, 2, 3]]])
    u, v = (grid.ravel() for grid in np.meshgrid(*[np.linspace(0.0, 1.0, divisions + 1)] * 2, indexing="ij"))
    points, triangles = [], []
    for axis in range(3):
        for side in (0.0, 1.0):
            unit = np.roll(np.stack([np.full_like(u, side), u, v], axis=1), axis, axis=1)
            triangles.append((face if side else face[:, ::-1]) + len(u) * len(points))
            points.append(np.asarray(lower) + unit * np.subtract(upper, lower))
    return np.concatenate(points), np.concatenate(triangles)


class Renderer:
    """Draws frames of one scene from one camera."""

    def __init__(
        self,
        camera: Camera,
        ground: float | None = None,
        scalar_range: tuple[float, float] = (0.0, 1.0),
        scalar_label: str = "",
        colours: str = "viridis",
    ) -> None:
        """Prepare the background, the ground and the colours.

        Args:
            camera: where the scene is seen from, and the size of the frames, which must be even
            ground: height of the floor that carries grid and shadow [m]; None for none
            scalar_range: values at the two ends of the colour map
            scalar_label: name and unit of the scalar, written at its colour bar; no bar without it
            colours: a matplotlib colour map

        Raises:
            InputError: the camera's size is odd or too small or large, or the range is empty.
        """
        size = (camera.width, camera.height)
        if any(side % 2 or not 64 <= side <= 4096 for side in size):
            raise InputError(f"camera of {size[0]} x {size[1]} pixels: width and height must be even, from 64 to 4096 pixels")
        if not (np.isfinite(scalar_range).all() and scalar_range[0] < scalar_range[1]):
            raise InputError(f"scalar_range = {tuple(scalar_range)}: must be finite and grow")
        import matplotlib

        self._size, self._ground = size, ground
        self._canvas = (size[0] * SUPERSAMPLE, size[1] * SUPERSAMPLE)
        self._camera = camera.resized(*self._canvas)
        self._table = (255.0 * matplotlib.colormaps[colours](np.linspace(0.0, 1.0, 256))[:, :3]).astype(np.float64)
        self._range, self._scalar_label = scalar_range, scalar_label
        self._background = self._draw_background()

    def frame(self, solids: Sequence[Solid], dots: Sequence[Dots] = (), caption: str = "", note: str = "") -> Image.Image:
        """Draw one picture.

        Args:
            solids: surfaces, sorted by depth together
            dots: markers, above the surfaces
            caption: bold line at the top left, such as the time
            note: smaller lines under it

        Returns:
            RGB image of the renderer's size.
        """
        image = self._background.copy()
        if self._ground is not None:
            self._draw_shadow(image, solids)
        self._draw_solids(image, solids)
        self._draw_dots(image, dots)
        image = image.reduce(SUPERSAMPLE)
        bar = (self._table, self._range, self._scalar_label) if self._scalar_label else None
        draw_overlay(image, Legend([(group.label, group.colour, group.hollow) for group in dots if group.label], bar), caption, note)
        return image

    def _draw_background(self) -> Image.Image:
        width, height = self._canvas
        shade = np.linspace(0.0, 1.0, height)[:, None, None]
        rows = (1.0 - shade) * np.array([250.0, 251.0, 253.0]) + shade * np.array([226.0, 231.0, 238.0])
        image = Image.fromarray(np.broadcast_to(rows, (height, width, 3)).astype(np.uint8))
        if self._ground is not None:
            self._draw_grid(image)
        return image

    def _draw_grid(self, image: Image.Image) -> None:
        """Grid lines on the floor, in steps of 1, 2 or 5, fading away from the point that the camera looks at."""
        centre = self._camera.target
        reach = 1.1 * self._camera.focus * self._camera.height / self._camera.focal[1]
        step = 10.0 ** np.floor(np.log10(reach / 4))
        step *= max(factor for factor in (1, 2, 5) if factor * step <= reach / 4)
        ticks = step * np.arange(np.floor(-reach / step), np.ceil(reach / step) + 1)
        along = np.linspace(-reach, reach, 41)
        first = np.stack(np.meshgrid(np.round(centre[0] / step) * step + ticks, centre[1] + along, indexing="ij"), axis=-1)
        second = np.stack(np.meshgrid(np.round(centre[1] / step) * step + ticks, centre[0] + along, indexing="ij"), axis=-1)[..., ::-1]
        ends = np.concatenate([np.stack([lines[:, :-1], lines[:, 1:]], axis=2).reshape(-1, 2, 2) for lines in (first, second)])
        distance = np.linalg.norm(ends.mean(axis=1) - centre[:2], axis=1) / reach
        flat = np.concatenate([ends, np.full((*ends.shape[:2], 1), self._ground)], axis=2)
        pixels, depth = self._camera.project(flat.reshape(-1, 3))
        visible = (depth.reshape(-1, 2) > self._camera.near).all(axis=1) & (distance < 1.0)
        pen = ImageDraw.Draw(image, "RGBA")
        strength = (150.0 * np.maximum(1.0 - distance, 0.0) ** 1.5).astype(int)
        for line, alpha in zip(pixels.reshape(-1, 4)[visible].tolist(), strength[visible].tolist()):
            pen.line(line, fill=(148, 160, 178, alpha), width=SUPERSAMPLE)

    def _draw_shadow(self, image: Image.Image, solids: Sequence[Solid]) -> None:
        coarse = (self._size[0] // 2, self._size[1] // 2)
        camera = self._camera.resized(*coarse)
        mask = Image.new("L", coarse, 0)
        pen = ImageDraw.Draw(mask)
        for solid in solids:
            height = np.maximum(solid.points[:, 2:] - self._ground, 0.0)
            fallen = solid.points - height * LIGHT / LIGHT[2]
            pixels, depth = camera.project(fallen)
            triangles = solid.triangles[(depth[solid.triangles] > self._camera.near).all(axis=1)]
            for corners in pixels[triangles].reshape(-1, 6).tolist():
                pen.polygon(corners, fill=70)
        mask = mask.filter(ImageFilter.GaussianBlur(coarse[0] / 160)).resize(image.size, Image.Resampling.BILINEAR)
        image.paste((38, 50, 72), mask=mask)

    def _draw_solids(self, image: Image.Image, solids: Sequence[Solid]) -> None:
        parts = [self._shaded(solid) for solid in solids if len(solid.triangles)]
        if not parts:
            return
        corners, depth, fill, line, edges = (np.concatenate(columns) for columns in zip(*parts))
        order = np.argsort(-depth, kind="stable")
        pen = ImageDraw.Draw(image)
        fills, lines = map(tuple, fill[order].tolist()), map(tuple, line[order].tolist())
        for points, inside, outside, drawn in zip(corners[order].reshape(-1, 6).tolist(), fills, lines, edges[order].tolist()):
            pen.polygon(points, fill=inside, outline=inside)
            for corner in range(3):
                if drawn[corner]:
                    start, end = 2 * corner, 2 * ((corner + 1) % 3)
                    pen.line((points[start], points[start + 1], points[end], points[end + 1]), fill=outside, width=drawn[corner])

    def _shaded(self, solid: Solid) -> tuple[np.ndarray, ...]:
        """Of the triangles that face the camera: corners [t, 3, 2], depth [t], colours of face and line [t, 3], line widths [t, 3]."""
        points, triangles = np.asarray(solid.points, dtype=float), np.asarray(solid.triangles)
        corners = points[triangles]
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-300)
        towards = self._camera.position - corners.mean(axis=1)
        towards /= np.linalg.norm(towards, axis=1, keepdims=True)
        facing = np.einsum("ij,ij->i", normals, towards)
        pixels, depth = self._camera.project(points)
        widths = _line_widths(triangles, normals, solid.mesh_lines, solid.creases)
        if solid.two_sided:
            normals = normals * np.where(facing < 0.0, -1.0, 1.0)[:, None]
        kept = (depth[triangles] > self._camera.near).all(axis=1) & (solid.two_sided | (facing > 0.0))
        low, high = pixels[triangles].min(axis=1), pixels[triangles].max(axis=1)
        kept &= ((high >= 0.0) & (low <= self._canvas)).all(axis=1)  # what lies beside the frame need not be drawn
        colour = self._base_colours(solid)[kept]
        light = 0.6 + 0.42 * np.maximum(normals[kept] @ LIGHT, 0.0) + 0.05 * normals[kept, 2]
        fill = np.clip(colour * light[:, None] + 16.0, 0.0, 255.0)
        depth = depth[triangles[kept]].mean(axis=1) + (_FAR if solid.backdrop else 0.0)
        return pixels[triangles[kept]], depth, fill.astype(int), (0.72 * fill).astype(int), widths[kept]

    def _base_colours(self, solid: Solid) -> np.ndarray:
        """Colour of each triangle before shading, 0..255, shape [t, 3]."""
        count = len(solid.triangles)
        if solid.scalar is None:
            return np.broadcast_to(np.array(rgb(solid.colour), dtype=float), (count, 3))
        values = np.asarray(solid.scalar, dtype=float)
        if len(values) == len(solid.points):
            values = values[solid.triangles].mean(axis=1)
        low, high = self._range
        return self._table[np.clip(np.nan_to_num(255.0 * (values - low) / (high - low)), 0, 255).astype(int)]

    def _draw_dots(self, image: Image.Image, dots: Sequence[Dots]) -> None:
        pen = ImageDraw.Draw(image)
        for group in dots:
            points = np.atleast_2d(np.asarray(group.points, dtype=float))
            pixels, depth = self._camera.project(np.nan_to_num(points))
            shown = (depth > self._camera.near) & np.isfinite(points).all(axis=1)
            for x, y in pixels[shown].tolist():
                draw_dot(pen, (x, y), group.radius * SUPERSAMPLE, group.colour, group.hollow)


def _line_widths(triangles: np.ndarray, normals: np.ndarray, mesh_lines: bool, creases: bool) -> np.ndarray:
    """Width of the line on each side (01, 12, 20) of each triangle [pixel], shape [t, 3]: creases and borders, or all, where asked for."""
    if not creases:
        return np.full(triangles.shape, int(mesh_lines))
    sides = triangles[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2)
    low, high = sides.min(axis=1).astype(np.int64), sides.max(axis=1).astype(np.int64)
    _, index, count = np.unique(low * (triangles.max() + 1) + high, return_inverse=True, return_counts=True)
    order = np.argsort(index, kind="stable")
    first = np.cumsum(count) - count
    last = first + count - 1
    turn = np.einsum("ij,ij->i", normals[order[first] // 3], normals[order[last] // 3])
    crease = (count != 2) | (turn < _CREASE)
    return np.where(crease, SUPERSAMPLE, int(mesh_lines))[index].reshape(-1, 3)
