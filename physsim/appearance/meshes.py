"""Triangle surfaces as a camera sees them, by ray queries: robots, tables, backgrounds, and references for splats.

What is seen first along the ray of each pixel's centre gives depth, normal and label; colour is the mean over a grid of rays. Nothing is
differentiable. Shadows and reflections are not drawn.
"""

import copy
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import torch
import warp as wp

from physsim.appearance.camera import Camera
from physsim.appearance.image import Image, background_image
from physsim.appearance.launch import torch_device, torch_stream
from physsim.appearance.memory import require_memory
from physsim.errors import InputError
from physsim.kernels.render import rays as kernels
from physsim.physics import validation
from physsim.physics.launch import Launcher, quiet_warp

PLAIN = (0.72, 0.75, 0.8)  # where no colour is given
MOST_SAMPLES = 16  # rays a pixel's side
RAY_BYTES, PIXEL_BYTES = 96, 128  # most that making a ray and drawing a pixel take
MOST_KEPT = 2**23  # rays of a lens that are kept for the next picture: 64 MiB
_RAY_COST = 1.0  # [us]


@dataclass(frozen=True)
class Light:
    """How surfaces are lit: colour = albedo (ambient + diffuse max(normal . direction, 0)).

    Args:
        direction: towards the light in the world, of any length, shape [3]; None: from the camera.
        ambient: share that reaches every side.
        diffuse: share that comes from the direction; ambient = 1 and diffuse = 0 show the albedo itself.

    Raises:
        InputError: a direction of zero, shares outside [0, 1].
    """

    direction: tuple[float, float, float] | None = None
    ambient: float = 0.4
    diffuse: float = 0.6

    def __post_init__(self) -> None:
        for name in ("ambient", "diffuse"):
            object.__setattr__(self, name, float(validation.array(f"Light.{name}", getattr(self, name), (), lower=0.0, upper=1.0)))
        if self.direction is not None:
            direction = validation.array("Light.direction", self.direction, (3,))
            if not np.linalg.norm(direction) > 0.0:
                raise InputError("Light.direction: zero was given; a vector towards the light is needed")
            object.__setattr__(self, "direction", tuple((direction / np.linalg.norm(direction)).tolist()))


UNSHADED = Light(ambient=1.0, diffuse=0.0)


@dataclass(frozen=True, eq=False)
class Surface:
    """A triangle surface to look at; both sides show.

    Surfaces are values. What `moved` and `deformed` return shares with the original what lies on the device, so that a new pose costs
    nothing and new points cost a refit of the tree of boxes.

    Args:
        points: vertices [m], shape [n, 3].
        triangles: indices into points, shape [t, 3].
        colours: red, green, blue from 0 to 1: one, shape [3], or one a vertex, [n, 3]; None: white under a texture, else a light grey.
        triangle_colours: instead of `colours`, shape [t, 3].
        texture: a picture from 0 to 1 that colours are multiplied by, shape [h, w, 3]; it repeats, and is read between its four nearest
            texels.
        uv: texture coordinates of the vertices, shape [n, 2], or of the triangles' corners, [t, 3, 2]; (0, 0) is the lower left.
        label: what the surface is called in label images, from 0.
        smooth: light it by normals that are blended between the vertices.
        rotation, translation: from the surface's axes to the world, shapes [3, 3] and [3], [m].

    Raises:
        InputError: shapes that do not fit, NaN, indices out of range, no triangle, two kinds of colours.
    """

    points: torch.Tensor
    triangles: np.ndarray
    colours: np.ndarray | None = None
    triangle_colours: np.ndarray | None = None
    texture: np.ndarray | None = None
    uv: np.ndarray | None = None
    label: int = 0
    smooth: bool = False
    rotation: np.ndarray = field(default_factory=lambda: np.eye(3))
    translation: np.ndarray = field(default_factory=lambda: np.zeros(3))

    def __post_init__(self) -> None:
        points = validation.array("Surface.points", self.points, (None, 3))
        triangles = validation.indices("Surface.triangles", self.triangles, len(points), (None, 3))
        if len(triangles) == 0:
            raise InputError("Surface.triangles: there is none; at least one is needed")
        object.__setattr__(self, "points", torch.tensor(points, dtype=torch.float32))
        object.__setattr__(self, "triangles", triangles)
        self._check_colours(points, triangles)
        object.__setattr__(self, "label", int(validation.array("Surface.label", self.label, (), kind="i", lower=0, upper=2**31 - 1)))
        self._place(self.rotation, self.translation)
        object.__setattr__(self, "_held", {})  # by device

    def _check_colours(self, points, triangles):
        if self.colours is not None and self.triangle_colours is not None:
            raise InputError("Surface: colours and triangle_colours were both given; one of them is needed")
        plain = PLAIN if self.texture is None else (1.0, 1.0, 1.0)
        given = validation.given_array("Surface.colours", plain if self.colours is None else self.colours)
        shape = (3,) if given.ndim == 1 else (len(points), 3)
        object.__setattr__(self, "colours", validation.array("Surface.colours", given, shape, lower=0.0, upper=1.0))
        if self.triangle_colours is not None:
            colours = validation.array("Surface.triangle_colours", self.triangle_colours, (len(triangles), 3), lower=0.0, upper=1.0)
            object.__setattr__(self, "triangle_colours", colours)
        if (self.texture is None) != (self.uv is None):
            raise InputError("Surface: texture and uv go together; give both or neither")
        if self.texture is not None:
            object.__setattr__(self, "texture", validation.array("Surface.texture", self.texture, (None, None, 3), lower=0.0, upper=1.0))
            if 0 in self.texture.shape:
                raise InputError("Surface.texture: it has no pixel; at least one is needed")
            by_corner = validation.given_array("Surface.uv", self.uv).ndim == 3
            uv = validation.array("Surface.uv", self.uv, (len(triangles), 3, 2) if by_corner else (len(points), 2))
            object.__setattr__(self, "uv", uv if by_corner else uv[triangles])

    def _place(self, rotation, translation):
        object.__setattr__(self, "rotation", validation.rotation("Surface.rotation", rotation))
        object.__setattr__(self, "translation", validation.array("Surface.translation", translation, (3,)))

    def moved(self, rotation: np.ndarray, translation: np.ndarray) -> "Surface":
        """The same surface in another pose (from its axes to the world).

        Raises:
            InputError: no rotation, NaN.
        """
        other = copy.copy(self)
        other._place(rotation, translation)
        return other

    def deformed(self, points: torch.Tensor) -> "Surface":
        """The same surface with its vertices elsewhere.

        Args:
            points: [m], shape [n, 3]; a torch tensor stays on its device.

        Raises:
            InputError: another number of points, NaN.
        """
        given = torch.as_tensor(points).detach()
        if tuple(given.shape) != tuple(self.points.shape):
            raise InputError(f"Surface.deformed: shape {list(given.shape)} was given, {list(self.points.shape)} is needed")
        given = given.to(torch.float32, copy=True).contiguous()
        if not torch.isfinite(given).all():
            raise InputError("Surface.deformed: a point is NaN or infinite; only finite positions can be drawn")
        other = copy.copy(self)
        object.__setattr__(other, "points", given)
        return other


def render_surfaces(
    surfaces: list[Surface],
    camera: Camera,
    light: Light | None = None,
    background: object = (0.0, 0.0, 0.0),
    samples: int = 1,
    device: str | torch.device = "cpu",
) -> Image:
    """What a camera sees of surfaces.

    Args:
        surfaces: any number; the first of several at one depth is seen.
        camera: with its lens; nothing nearer than `camera.near` is seen, nor where the lens images nothing.
        light: None: from the camera.
        background: behind all, shape [3] or [h, w, 3].
        samples: rays along each side of a pixel; 1 is one ray through its centre, 4 makes smooth edges.
        device: "cpu" or a CUDA device.

    Returns:
        Image: colour and alpha are means over the rays; depth, normals and labels are those of the pixel's centre.

    Raises:
        InputError: samples outside 1..16, an unknown device, more memory than there is, a background of another size.
    """
    samples = checked_samples(samples)
    device = torch_device(device)
    what = f"render_surfaces: {camera.width} x {camera.height} pixels with {samples} x {samples} rays each"
    needed = camera.width * camera.height * (PIXEL_BYTES + RAY_BYTES * samples**2)
    require_memory(what, needed, device, "draw a smaller picture or fewer samples")
    behind = background_image(background, camera, device)
    h, w = camera.height, camera.width
    colour, alpha = torch.zeros(h, w, 3, device=device), torch.zeros(h, w, device=device)
    depth, normals = torch.zeros(h, w, device=device), torch.zeros(h, w, 3, device=device)
    labels = torch.full((h, w), -1, dtype=torch.int32, device=device)
    if surfaces:
        with torch_stream(device), quiet_warp():
            held = _on_device(surfaces, camera, device)
            launcher = Launcher(wp.device_from_torch(device).alias, 1)
            centres, fine = camera_rays(camera, 1, device), camera_rays(camera, samples, device)
            turn = wp.mat33(*camera.rotation.T.ravel())
            seen_from = turn, _lit(light or Light(), camera), centres.flatten(), fine
            outputs = _flat(colour, wp.vec3), _flat(alpha), _flat(depth), _flat(normals, wp.vec3), _flat(labels)
            weight = _RAY_COST * (samples**2 + 1)
            launcher.record(kernels.trace, h * w, samples, w, held, camera.near, *seen_from, *outputs, weight=weight)()
    return Image(colour + (1.0 - alpha[..., None]) * behind, alpha, depth, labels, normals)


def checked_samples(samples: object) -> int:
    """Rays along each side of a pixel.

    Raises:
        InputError: not a whole number in 1..16.
    """
    return int(validation.array("samples", samples, (), kind="i", lower=1, upper=MOST_SAMPLES))


def camera_rays(camera: Camera, samples: int, device: torch.device) -> wp.array:
    """Directions (x, y, 1) of `samples` x `samples` rays a pixel, shape [samples h, samples w]; not too many are kept for the same lens."""
    lens = camera.width, camera.height, camera.focal, camera.centre, camera.distortion
    few = camera.width * camera.height * samples**2 <= MOST_KEPT
    return (_kept_rays if few else _kept_rays.__wrapped__)(lens, samples, str(device))


@lru_cache(maxsize=4)
def _kept_rays(lens, samples, device):
    width, height, focal, centre, distortion = lens
    across, down = ((np.arange(side * samples) + 0.5) / samples - 0.5 for side in (width, height))
    pixels = np.stack(np.meshgrid(across, down), axis=-1)
    directions = Camera(width, height, focal, centre, distortion=distortion).undistort(pixels).astype(np.float32)
    return wp.array(directions, dtype=wp.vec2, device=wp.device_from_torch(torch.device(device)).alias)


class _Held:
    """What surfaces of one topology keep on a device: colours, texture, and a tree of boxes for each set of points in one picture."""

    def __init__(self, surface, device):
        self.device = device
        self.triangles = wp.array(surface.triangles.astype(np.int32).ravel(), dtype=int, device=device)
        self.colouring, colours = _coloured(surface)
        self.colours = wp.array(colours.astype(np.float32), dtype=wp.vec3, device=device)
        texture = np.zeros((1, 1, 3)) if surface.texture is None else surface.texture
        uv = np.zeros((1, 2)) if surface.uv is None else surface.uv.reshape(-1, 2)
        self.texture = wp.array(texture.astype(np.float32), dtype=wp.vec3, device=device)
        self.uv = wp.array(uv.astype(np.float32), dtype=wp.vec2, device=device)
        order = np.argsort(surface.triangles.ravel(), kind="stable")
        count = np.bincount(surface.triangles.ravel(), minlength=len(surface.points))
        self.starts = wp.array(np.concatenate([[0], np.cumsum(count)]).astype(np.int32), dtype=int, device=device)
        self.around = wp.array((order // 3).astype(np.int32), dtype=int, device=device)
        self.trees = []

    def tree(self, surface, taken):
        """A tree of boxes about the surface's points that no other surface of this picture has taken."""
        free = [tree for tree in self.trees if id(tree) not in taken or tree.points is surface.points]
        tree = next((tree for tree in free if tree.points is surface.points), None) or next(iter(free), None)
        if tree is None:
            tree = _Tree(self, surface.points)
            self.trees.append(tree)
        tree.follow(self, surface)
        taken.add(id(tree))
        return tree


class _Tree:
    """Points, their tree of boxes and, where asked for, their normals."""

    def __init__(self, held, points):
        self.points = points
        self.mesh = wp.Mesh(wp.array(points.cpu().numpy(), dtype=wp.vec3, device=held.device), held.triangles)
        self.normals = None

    def follow(self, held, surface):
        """Take the surface's points, and make normals if it needs them."""
        if self.points is not surface.points:
            self.points, self.normals = surface.points, None
            source = surface.points.to(wp.device_to_torch(held.device))
            wp.copy(self.mesh.points, wp.from_torch(source, dtype=wp.vec3))
            self.mesh.refit()
        if surface.smooth and self.normals is None:
            self.normals = wp.zeros_like(self.mesh.points)
            arrays = held.starts, held.around, held.triangles, self.mesh.points, self.normals
            Launcher(held.device, 1).record_whole(kernels.vertex_normals, len(self.normals), *arrays)()


def _on_device(surfaces, camera, device):
    """The kernel's records of all surfaces, posed in the camera's frame."""
    target, taken, records = wp.device_from_torch(device).alias, set(), []
    for surface in surfaces:
        held = surface._held.get(str(device))
        if held is None:
            held = surface._held[str(device)] = _Held(surface, target)
        tree = held.tree(surface, taken)
        record = kernels.SurfaceRecord()
        record.mesh, record.label, record.smooth, record.colouring = tree.mesh.id, surface.label, int(surface.smooth), held.colouring
        record.textured = int(surface.texture is not None)
        turn = surface.rotation.T @ camera.rotation.T
        shift = surface.rotation.T @ (camera.position - surface.translation)
        record.rotation, record.translation = wp.mat33(*turn.ravel()), wp.vec3(*shift)
        record.colours, record.texture, record.uv = held.colours, held.texture, held.uv
        record.normals = tree.mesh.points if tree.normals is None else tree.normals
        records.append(record)
    return wp.array(records, dtype=kernels.SurfaceRecord, device=target)


def _lit(light, camera):
    record = kernels.Light()
    record.direction = wp.vec3() if light.direction is None else wp.vec3(*(camera.rotation @ np.array(light.direction)))
    record.ambient, record.diffuse = light.ambient, light.diffuse
    return record


def _flat(tensor, dtype=None):
    return wp.from_torch(tensor.flatten(0, 1), dtype=dtype) if dtype else wp.from_torch(tensor.flatten())


def _coloured(surface):
    """How the kernel colours a surface, and the colours, shape [any, 3]."""
    if surface.triangle_colours is not None:
        return kernels.BY_TRIANGLE, surface.triangle_colours
    return (kernels.UNIFORM, surface.colours[None]) if surface.colours.ndim == 1 else (kernels.BY_VERTEX, surface.colours)
