"""Every kernel that a CUDA device would run compiles for one (NVRTC needs no device); whether it runs right is for tests marked `gpu`."""

import pytest
import warp as wp

from physsim.kernels.contact import boxes, broad_phase, ccd, intersections, rolling, slots, surface
from physsim.kernels.kinematics.tree import kinematics_kernels
from physsim.kernels.linear.conjugate_gradient import parallel_kernels
from physsim.kernels.linear.flexible import flexible_kernels
from physsim.kernels.linear.frame_blocks import frame_kernels
from physsim.kernels.newton import newton_kernels
from physsim.kernels.reduction import reduction_kernels
from physsim.kernels.render import binning, harmonics, projection
from physsim.kernels.render.binding import binding_kernels
from physsim.kernels.render.pixel_blending import pixel_kernels
from physsim.kernels.stepping import stepping_kernels
from physsim.physics import laws

ARCH = 80

pytestmark = pytest.mark.skipif(ARCH not in wp.get_cuda_supported_archs(), reason="this build of Warp compiles nothing for CUDA")


def compiles(kernels, folder):
    for kernel in kernels.values():
        assert wp.compile_aot_module(kernel.module, arch=ARCH, module_dir=folder, use_ptx=True)


OF_CONTACT = (boxes, broad_phase, ccd, intersections, rolling, slots)
TWO_SCALARS = (newton_kernels, parallel_kernels, reduction_kernels)
ONE_SCALAR = (flexible_kernels, stepping_kernels, kinematics_kernels, frame_kernels, surface.surface_kernels, binding_kernels)


@pytest.mark.parametrize("factory", [*TWO_SCALARS, *ONE_SCALAR])
def test_solver_kernels_compile(factory, tmp_path):
    compiles(factory(wp.float32) if factory in ONE_SCALAR else factory(wp.float64, wp.float32), tmp_path)


@pytest.mark.parametrize("points", [4, 5, 8])
def test_kernels_between_pairs_and_particles_compile(points, tmp_path):
    """Rows of the lists and their blocks; the laws on them stand among the laws."""
    spread = {"spread": surface.spread_kernel(wp.float32, points)}
    compiles(surface.row_kernels({4: 6, 5: 10, 8: 16}[points]) | spread, tmp_path)


@pytest.mark.parametrize("channels", [1, 3, 20])
def test_kernels_that_draw_pixels_compile(channels, tmp_path):
    compiles(pixel_kernels(channels), tmp_path)


@pytest.mark.parametrize("kernel", [projection.project, binning.count_tiles, harmonics.colours], ids=["projection", "binning", "harmonics"])
def test_modules_of_kernels_before_drawing_compile(kernel, tmp_path):
    compiles({"all of its module": kernel}, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    "module", [boxes, broad_phase, ccd, intersections, rolling, slots], ids=lambda module: module.__name__.split(".")[-1]
)
def test_contact_kernels_compile(module, tmp_path):
    compiles({name: kernel for name, kernel in vars(module).items() if isinstance(kernel, wp.Kernel)}, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("law", laws.ALL, ids=lambda law: law.name)
def test_laws_compile(law, dtype, tmp_path):
    compiles(law.kernels(dtype, "float32"), tmp_path)
