"""Every kernel that a CUDA device would run compiles for one (NVRTC needs no device); whether it runs right is for tests marked `gpu`."""

import pytest
import warp as wp

from physsim.kernels.contact import boxes, broad_phase, ccd, intersections, slots
from physsim.kernels.kinematics.tree import kinematics_kernels
from physsim.kernels.linear.conjugate_gradient import parallel_kernels
from physsim.kernels.linear.flexible import flexible_kernels
from physsim.kernels.newton import newton_kernels
from physsim.kernels.reduction import reduction_kernels
from physsim.kernels.stepping import stepping_kernels
from physsim.physics import laws

ARCH = 80

pytestmark = pytest.mark.skipif(ARCH not in wp.get_cuda_supported_archs(), reason="this build of Warp compiles nothing for CUDA")


def compiles(kernels, folder):
    for kernel in kernels.values():
        assert wp.compile_aot_module(kernel.module, arch=ARCH, module_dir=folder, use_ptx=True)


@pytest.mark.parametrize(
    "factory", [newton_kernels, parallel_kernels, reduction_kernels, flexible_kernels, stepping_kernels, kinematics_kernels]
)
def test_solver_kernels_compile(factory, tmp_path):
    one = factory in (flexible_kernels, stepping_kernels, kinematics_kernels)
    compiles(factory(wp.float32) if one else factory(wp.float64, wp.float32), tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("module", [boxes, broad_phase, ccd, intersections, slots], ids=lambda module: module.__name__.split(".")[-1])
def test_contact_kernels_compile(module, tmp_path):
    compiles({name: kernel for name, kernel in vars(module).items() if isinstance(kernel, wp.Kernel)}, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("law", laws.ALL, ids=lambda law: law.name)
def test_laws_compile(law, dtype, tmp_path):
    compiles(law.kernels(dtype, "float32"), tmp_path)
