"""What is handed to gsplat and made of its answer, with a stand-in that follows its documentation; gsplat itself needs a GPU."""

import importlib.machinery
import sys
import types

import numpy as np
import pytest
import torch

from physsim.appearance import gsplat_backend
from physsim.appearance.camera import Camera
from physsim.appearance.raster import rasterize
from physsim.errors import InputError


def rasterization(
    means, quats, scales, opacities, colors, viewmats, Ks, width, height, near_plane, eps2d, packed, render_mode, rasterize_mode, covars
):
    """gsplat 1.5's function of that name, as documented, for one camera, by our own rasteriser."""
    assert quats is None and scales is None and not packed and eps2d == pytest.approx(0.3)
    assert viewmats.shape == (1, 4, 4) and Ks.shape == (1, 3, 3) and covars.shape == (len(means), 3, 3)
    inner = Ks[0].tolist()
    camera = Camera(width, height, (inner[0][0], inner[1][1]), (inner[0][2] - 0.5, inner[1][2] - 0.5), near=near_plane)
    pose = viewmats[0, :3, :3], viewmats[0, :3, 3]
    drawn = rasterize(means, torch.linalg.cholesky(covars), opacities, colors, camera, pose=pose, antialias=rasterize_mode == "antialiased")
    image = drawn.features if render_mode == "RGB" else torch.cat([drawn.features, drawn.depth[..., None]], -1)
    radii = drawn.radii.ceil().int()
    centres = drawn.screen.detach()[None].requires_grad_()
    image = image + (centres - centres.detach()).sum()  # nothing, with a slope of 1 everywhere
    return image[None], drawn.alpha[None, ..., None], {"means2d": centres, "radii": torch.stack([radii, radii], -1)[None]}


@pytest.fixture
def stand_in(monkeypatch):
    module = types.ModuleType("gsplat")
    module.__spec__ = importlib.machinery.ModuleSpec("gsplat", None)
    module.rasterization = rasterization
    monkeypatch.setitem(sys.modules, "gsplat", module)
    monkeypatch.setattr(gsplat_backend, "DEVICE", "cpu")


def scene(rng, n=40):
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    turn *= np.sign(np.linalg.det(turn))
    camera = Camera(37, 29, (40.0, 42.0), (17.0, 15.0), turn, np.array([0.1, -0.2, 2.0]))
    means, factors = rng.normal(size=(n, 3)) * 0.4, np.linalg.qr(rng.normal(size=(n, 3, 3)))[0] * rng.uniform(0.03, 0.2, (n, 1, 3))
    arrays = [means, factors, rng.uniform(0.1, 1.0, n), rng.uniform(size=(n, 3)), rng.uniform(size=(29, 37, 3))]
    return camera, [torch.tensor(a, dtype=torch.float32, requires_grad=True) for a in arrays]


@pytest.mark.parametrize("antialias", [True, False])
@pytest.mark.parametrize("constant", [True, False])
def test_the_answer_is_what_our_own_kernels_give(stand_in, antialias, constant, rng):
    camera, tensors = scene(rng)
    labels = torch.arange(40) % 3 + 4
    found = []
    for backend in ("warp", "gsplat"):
        p = [t.detach().clone().requires_grad_() for t in tensors]
        background = p[4][0, 0] if constant else p[4]
        drawn = rasterize(*p[:4], camera, background=background, labels=labels, antialias=antialias, backend=backend)
        (drawn.features.sum() + drawn.alpha.square().sum() + drawn.depth.sum()).backward()
        found.append([drawn.features, drawn.alpha, drawn.depth, drawn.screen, *(t.grad for t in p)])
        found[-1] += [drawn.labels.float(), drawn.visible.float()]
    for ours, theirs in zip(*found, strict=True):
        assert (ours - theirs).norm() <= 1e-3 * ours.norm()


def test_the_slope_of_centres_is_handed_on(stand_in, rng):
    camera, tensors = scene(rng)
    drawn = rasterize(*tensors[:4], camera, backend="gsplat")
    drawn.features.sum().backward()
    assert torch.equal(drawn.screen.grad, torch.full((40, 2), 29.0 * 37.0 * 3.0))


def test_what_it_cannot_do_is_refused(stand_in, monkeypatch, rng):
    camera, tensors = scene(rng)
    bent = Camera(37, 29, (40.0, 42.0), distortion=(0.1, 0.0, 0.0, 0.0))
    with pytest.raises(InputError, match="without lens distortion"):
        rasterize(*tensors[:4], bent, backend="gsplat")
    with pytest.raises(InputError, match="knows no depth_limit"):
        rasterize(*tensors[:4], camera, depth_limit=torch.ones(29, 37), backend="gsplat")
    with torch.no_grad():
        tensors[0][7, 1] = torch.nan
    with pytest.raises(InputError, match="means: NaN or infinite at 7"):
        rasterize(*tensors[:4], camera, backend="gsplat")
    monkeypatch.setattr(gsplat_backend, "DEVICE", "cuda")
    with pytest.raises(InputError, match="draws on CUDA only, the splats are on cpu"):
        rasterize(*tensors[:4], camera, backend="gsplat")
