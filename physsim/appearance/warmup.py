"""The smallest pictures that use the kernels of drawing and of binding: what `physsim warmup` compiles of looks."""

import torch

from physsim.appearance.binding import bind
from physsim.appearance.camera import Camera
from physsim.appearance.meshes import Surface
from physsim.appearance.raster import rasterize
from physsim.appearance.scene import PosedSplats, Scene, render
from physsim.appearance.sources import splats_from_mesh
from physsim.physics.mesh import box_mesh


def draw(device):
    """Draw splats that a deformed body carries before a lit surface, and take the gradient.

    Args:
        device: "cpu" or a CUDA device.
    """
    box = box_mesh((0.1, 0.1, 0.1), (1, 1, 1))
    camera = Camera.around(box.points, width=32, height=32)
    splats = splats_from_mesh(box, 20, degree=1).to(torch.device(device))
    splats = splats.replace(harmonics=splats.harmonics.requires_grad_())
    binding = bind(splats, box)
    posed = binding.pose(binding.rest().requires_grad_())
    wall = Surface(box.points, box.surface(), smooth=True)
    render(Scene(PosedSplats(splats, posed), wall), camera, samples=2).colour.sum().backward()
    more = torch.zeros(len(splats), 4, device=splats.means.device, requires_grad=True)  # colour and one number besides
    rasterize(splats.means, posed.factors.detach(), splats.opacities, more, camera, labels=splats.labels).features.sum().backward()
