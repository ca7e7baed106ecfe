"""Splats and surfaces in one picture, merged by depth.

Where a pixel's ray first meets a surface, splats with centres nearer than that are blended over the surface's colour, and splats beyond it
do not show. Gradients flow to everything that the splats depend on; surfaces have none.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch

from physsim.appearance.binding import Posed
from physsim.appearance.camera import Camera
from physsim.appearance.harmonics import spherical_harmonics
from physsim.appearance.image import Image, background_image
from physsim.appearance.launch import torch_device
from physsim.appearance.meshes import Light, Surface, checked_samples, render_surfaces
from physsim.appearance.quaternions import rotation_matrices
from physsim.appearance.raster import rasterize
from physsim.appearance.splats import Splats
from physsim.errors import InputError
from physsim.physics import validation


@dataclass(frozen=True, eq=False)
class PosedSplats:
    """Splats where a binding has put them.

    Args:
        splats: at rest.
        posed: what `Binding.pose` gave; None: they stay at rest.
        colours: red, green, blue of each, shape [n, 3], such as a colour network's; None: by the spherical harmonics of the splats, seen in
            the direction that the material sees the camera in.

    Raises:
        InputError: another number of means or colours than of splats.
    """

    splats: Splats
    posed: Posed | None = None
    colours: torch.Tensor | None = None

    def __post_init__(self) -> None:
        validation.instance("PosedSplats.splats", self.splats, Splats)
        if self.posed is None:
            factors = rotation_matrices(self.splats.rotations) * self.splats.scales[:, None, :]
            still = torch.eye(3, dtype=factors.dtype, device=factors.device).expand_as(factors)
            object.__setattr__(self, "posed", Posed(self.splats.means, factors, still))
        n = len(self.splats)
        if len(self.posed.means) != n:
            raise InputError(f"PosedSplats.posed: {len(self.posed.means)} means were given for {n} splats; pose these very splats")
        if self.colours is not None and tuple(self.colours.shape) != (n, 3):
            raise InputError(f"PosedSplats.colours: shape {list(self.colours.shape)} was given; [{n}, 3] is needed")

    def seen_from(self, eye: torch.Tensor) -> torch.Tensor:
        """Colours of all splats as seen from a place [m], shape [n, 3]."""
        if self.colours is not None:
            return self.colours
        return spherical_harmonics(self.splats.harmonics, self.posed.directions(eye) if self.splats.degree else None)


@dataclass(frozen=True, eq=False)
class Scene:
    """What is to be seen.

    Args:
        splats: one or several; Splats stay at rest, PosedSplats are where they were posed.
        surfaces: robots, tables, walls.
        background: behind all, red, green, blue from 0 to 1, shape [3], or a picture of the camera's size, [h, w, 3].
        light: of the surfaces; None: from the camera. Splats carry their light in their colours.

    Raises:
        InputError: something else than splats or surfaces.
    """

    splats: Splats | PosedSplats | Sequence[Splats | PosedSplats] = ()
    surfaces: Sequence[Surface] = ()
    background: object = (0.0, 0.0, 0.0)
    light: Light | None = None

    def __post_init__(self) -> None:
        given = _listed("Scene.splats", self.splats, (Splats, PosedSplats))
        object.__setattr__(self, "splats", tuple(PosedSplats(item) if isinstance(item, Splats) else item for item in given))
        object.__setattr__(self, "surfaces", tuple(_listed("Scene.surfaces", self.surfaces, Surface)))


def _listed(name, given, kinds):
    """What was given as a list: one thing of some kinds, or several."""
    several = list(given) if isinstance(given, Iterable) else [given]
    return [validation.instance(name, item, kinds) for item in several]


def render(
    scene: Scene | Splats | PosedSplats,
    camera: Camera,
    *,
    pose: tuple[torch.Tensor, torch.Tensor] | None = None,
    samples: int = 1,
    antialias: bool = True,
    backend: str = "auto",
    threads: int | None = None,
    device: str | torch.device | None = None,
) -> Image:
    """What a camera sees of a scene; differentiable in all that the splats depend on, and in the pose.

    Args:
        scene: or splats alone, before black.
        camera: Camera.
        pose: (R, t), shapes [3, 3] and [3], instead of the camera's own; may have gradients, which surfaces do not add to.
        samples: rays along each side of a pixel for the surfaces' colours, as for `render_surfaces`.
        antialias, backend, threads: as for `rasterize`.
        device: where to draw; None: where the splats are, else "cpu".

    Returns:
        Image. Depth is the mean over what covers the pixel, weighted by how much it does. The label is the splats', unless the surface
        behind shows more than they do; normals are the surfaces', where the label is. Without surfaces there are no normals.

    Raises:
        InputError: something else than a scene, splats on different devices, a background of another size, what `rasterize` and
            `render_surfaces` refuse.
    """
    if not isinstance(scene, Scene):
        scene = Scene(scene)
    samples = checked_samples(samples)
    groups = [group for group in scene.splats if len(group.splats)]
    device = _device(groups, device)
    seen_by = camera
    if pose is not None and (scene.surfaces or not groups):
        seen_by = camera.moved(*(validation.given_array("pose", x).astype(float) for x in pose))
    if not groups:
        image = render_surfaces(scene.surfaces, seen_by, scene.light, scene.background, samples, device)
        return image if scene.surfaces else replace(image, normals=None)
    surfaces, behind, limit = None, background_image(scene.background, camera, device), None
    if scene.surfaces:
        surfaces = render_surfaces(scene.surfaces, seen_by, scene.light, behind, samples, device)
        behind, limit = surfaces.colour, torch.where(surfaces.depth > 0.0, surfaces.depth, torch.inf)
    eye = torch.as_tensor(camera.position, dtype=torch.float32, device=device) if pose is None else -pose[0].T @ pose[1]
    parts = [(g.posed.means, g.posed.factors, g.splats.opacities, g.seen_from(eye), g.splats.labels) for g in groups]
    means, factors, opacities, colours, labels = (torch.cat(column) if len(parts) > 1 else column[0] for column in zip(*parts, strict=True))
    options = {"pose": pose, "antialias": antialias, "backend": backend, "threads": threads}
    raster = rasterize(means, factors, opacities, colours, camera, background=behind, labels=labels, depth_limit=limit, **options)
    if surfaces is None:
        return Image(raster.features, raster.alpha, raster.depth, raster.labels)
    return _merged(raster, surfaces)


def _merged(raster, surfaces):
    """Splats over surfaces; the raster's background was the surfaces' colour, and nothing behind their depth is in it."""
    through = 1.0 - raster.alpha
    alpha = raster.alpha + through * surfaces.alpha
    shown = through * (surfaces.depth > 0.0)
    cover = raster.alpha + shown
    covered = cover > 0.0
    depth = (raster.alpha * raster.depth + shown * surfaces.depth) / torch.where(covered, cover, 1.0)
    surface_wins = (surfaces.labels >= 0) & (shown.detach() > raster.alpha.detach())
    labels = torch.where(surface_wins, surfaces.labels, raster.labels)
    normals = torch.where(surface_wins[..., None], surfaces.normals, 0.0)
    return Image(raster.features, alpha, torch.where(covered, depth, 0.0), labels, normals)


def _device(groups, device):
    there = {group.posed.means.device for group in groups} | ({torch_device(device)} if device is not None else set())
    if len(there) > 1:
        raise InputError(f"scene: splats on {', '.join(sorted(map(str, there)))}; move them to one device, such as by .to('cpu')")
    return there.pop() if there else torch.device("cpu")
