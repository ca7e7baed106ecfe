"""The rasteriser against its formulas in float64 PyTorch (`raster_twin`), which autograd differentiates."""

import warnings

import numpy as np
import pytest
import raster_twin
import torch

from physsim.appearance import raster
from physsim.appearance.camera import Camera
from physsim.appearance.memory import available_memory, drawing_memory
from physsim.appearance.projection import view
from physsim.appearance.raster import rasterize

pytestmark = pytest.mark.usefixtures("one_thread")

PLAIN, BROWN, RATIONAL = (), (0.1, -0.05, 0.003, -0.002, 0.01), (-0.2, 0.05, 1e-3, 2e-3, 0.01, 0.1, 0.02, 0.01)
NAMES = ("means", "factors", "opacities", "features", "rotation", "translation", "background")


@pytest.fixture(params=["tiles", "pixels"])
def schedule(request, monkeypatch):
    """How the image is drawn: as on a CPU, or as on a GPU."""
    monkeypatch.setattr(raster, "draws_by_tiles", lambda device: request.param == "tiles")
    return request.param


def turned(rng):
    q, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    return q * np.sign(np.linalg.det(q))


def scene(rng, n=60, size=(37, 29), channels=3, distortion=(), constant=True):
    """(camera, arrays by name) of random splats in front of a camera in a random pose."""
    width, height = size
    camera = Camera(width, height, (1.2 * width, 1.1 * width), (0.48 * width, 0.53 * height), turned(rng), rng.normal(size=3), distortion)
    seen = np.stack([rng.uniform(-0.6, 0.6, n), rng.uniform(-0.5, 0.5, n), rng.uniform(1.5, 3.0, n)], 1)
    return camera, {
        "means": (seen - camera.translation) @ camera.rotation,
        "factors": np.linalg.qr(rng.normal(size=(n, 3, 3)))[0] * rng.uniform(0.02, 0.2, (n, 1, 3)),
        "opacities": rng.uniform(0.0, 1.0, n),
        "features": rng.uniform(0.0, 1.0, (n, channels)),
        "rotation": camera.rotation,
        "translation": camera.translation,
        "background": rng.uniform(0.0, 1.0, channels if constant else (height, width, channels)),
    }


def tensors(arrays, dtype):
    """The same numbers in either precision: rounded to float32 first."""
    return {name: torch.tensor(a, dtype=torch.float32).to(dtype).requires_grad_() for name, a in arrays.items()}


def draw(p, camera, twin=False, **options):
    rest = {"pose": (p["rotation"], p["translation"]), "background": p["background"], **options}
    splats = [p[name] for name in NAMES[:4]]
    if not twin:
        return rasterize(*splats, camera, **rest)
    seen = view(camera, True)
    return raster_twin.draw(*splats, camera, (seen.low, seen.high), **rest)


def loss(image, weights, trusted):
    """A random weighing of everything that is drawn; depth counts where enough is there to say what it is."""
    depth = torch.where(trusted, image.depth, 0.0)
    parts = zip((image.features, image.alpha, depth), weights, strict=True)
    return sum((part * torch.as_tensor(w, dtype=part.dtype)).sum() for part, w in parts)


def compare(rng, camera, arrays, **options):
    """Both images and gradients; asserts that they agree and returns ours."""
    height, width, channels = camera.height, camera.width, arrays["features"].shape[1]
    weights = [rng.normal(size=(height, width, channels)), rng.normal(size=(height, width)), rng.normal(size=(height, width))]
    p, q = tensors(arrays, torch.float32), tensors(arrays, torch.float64)
    ours = draw(p, camera, **options)
    limit = options.get("depth_limit")
    truth = draw(q, camera, twin=True, **{**options, **({} if limit is None else {"depth_limit": limit.double()})})
    trusted = truth.alpha.detach() > 0.1  # where little is there, float32 does not say how far
    assert torch.allclose(ours.features.double(), truth.features, rtol=0, atol=1e-5)
    assert torch.allclose(ours.alpha.double(), truth.alpha, rtol=0, atol=1e-5)
    assert torch.allclose(torch.where(trusted, ours.depth.double(), 0.0), torch.where(trusted, truth.depth, 0.0), rtol=1e-5, atol=0)
    loss(ours, weights, trusted).backward()
    loss(truth, weights, trusted).backward()
    scale = {name: q[name].grad.norm() for name in NAMES}
    for name in ("rotation", "translation"):  # sums over splats in which much cancels
        scale[name] = max(scale[name], scale["means"])
    scale["background"] = max(scale["background"], np.abs(weights[0]).sum() * (1.0 - ours.alpha.mean().item()))
    for name in NAMES:
        assert (p[name].grad - q[name].grad).norm() <= 1e-5 * scale[name] + 1e-12, name
    expected = torch.zeros(len(p["means"]), 2, dtype=torch.float64)
    expected[truth.order] = truth.screen.grad
    assert (ours.screen.grad - expected).norm() <= 1e-5 * expected.norm()
    return ours, truth


@pytest.mark.parametrize("distortion", [PLAIN, BROWN, RATIONAL], ids=["pinhole", "brown", "rational"])
@pytest.mark.parametrize("antialias", [True, False])
def test_image_and_gradients_are_those_of_the_formulas(schedule, antialias, distortion, rng):
    camera, arrays = scene(rng, distortion=distortion)
    compare(rng, camera, arrays, antialias=antialias)


@pytest.mark.parametrize(("channels", "constant"), [(1, True), (4, False), (7, False)])
def test_any_number_of_channels_before_a_colour_or_an_image(schedule, channels, constant, rng):
    camera, arrays = scene(rng, channels=channels, constant=constant)
    compare(rng, camera, arrays)


@pytest.mark.parametrize("size", [(1, 1), (16, 16), (17, 5), (64, 33)])
def test_images_of_any_size(schedule, size, rng):
    camera, arrays = scene(rng, size=size)
    compare(rng, camera, arrays)


def test_splats_that_cover_everything_and_needles_and_discs(schedule, rng):
    camera, arrays = scene(rng, n=30)
    arrays["factors"][:5] *= 30.0
    arrays["factors"][5:15] = arrays["factors"][5:15] @ np.diag([5.0, 0.02, 0.02])
    arrays["factors"][15:20] = arrays["factors"][15:20] @ np.diag([1.0, 1.0, 0.0])
    arrays["opacities"][:5] *= 0.3
    compare(rng, camera, arrays)


def test_opaque_and_absent_splats(schedule, rng):
    camera, arrays = scene(rng)
    arrays["opacities"][:20] = 1.0
    arrays["opacities"][20:30] = 0.0
    compare(rng, camera, arrays)


def test_splats_behind_the_camera_and_about_the_near_plane(schedule, rng):
    camera, arrays = scene(rng)
    seen = arrays["means"] @ camera.rotation.T + camera.translation
    seen[:20, 2] = rng.uniform(-2.0, 0.3, 20)
    seen[20] = 0.0
    arrays["means"] = (seen - camera.translation) @ camera.rotation
    camera = Camera(camera.width, camera.height, camera.focal, camera.centre, camera.rotation, camera.translation, near=0.2)
    compare(rng, camera, arrays)


def test_splats_beyond_a_pixels_depth_limit_do_not_count(schedule, rng):
    camera, arrays = scene(rng)
    limit = torch.tensor(rng.uniform(1.0, 3.5, (camera.height, camera.width)), dtype=torch.float32)
    limit[:5] = torch.inf
    limited, _ = compare(rng, camera, arrays, depth_limit=limit)
    assert (limited.alpha < draw(tensors(arrays, torch.float32), camera).alpha - 0.01).any()


def test_a_label_is_that_of_the_greatest_weight(schedule, rng):
    camera, arrays = scene(rng)
    for names in ([0, 1, 2, 5], [7, 100_000], [3]):
        labels = torch.tensor(rng.choice(names, len(arrays["means"])), dtype=torch.int64)
        ours = draw(tensors(arrays, torch.float32), camera, labels=labels)
        truth = draw(tensors(arrays, torch.float64), camera, twin=True)
        own = torch.stack([(truth.weights * (labels[truth.order] == name)).sum(1) for name in names], -1).detach()
        best = own.sort(dim=1).values
        clear = (best[:, -1] - (best[:, -2] if len(names) > 1 else 0.0)) > 1e-4
        expected = torch.tensor(names)[own.argmax(1)]
        assert (ours.labels.reshape(-1)[clear] == expected[clear]).all()
        assert (ours.labels[ours.alpha == 0.0] == -1).all()
        assert ours.labels.dtype == torch.int32


def test_many_threads_draw_the_same_bits_as_one(rng):
    camera, arrays = scene(rng, n=300, size=(97, 61))
    results = []
    for threads in (1, 3):
        p = tensors(arrays, torch.float32)
        image = draw(p, camera, threads=threads)
        (image.features.sum() + image.depth.sum()).backward()
        results.append([image.features, image.alpha, image.depth, *(p[name].grad for name in NAMES)])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_slopes_are_those_of_finite_differences(schedule, rng):
    camera, arrays = scene(rng, n=20)
    seen = arrays["means"] @ camera.rotation.T + camera.translation
    seen[:, 2] = np.linspace(1.5, 3.0, 20)  # where the order in depth changes, the image jumps
    arrays["means"] = (seen - camera.translation) @ camera.rotation
    weights = torch.tensor(rng.normal(size=(camera.height, camera.width, 3)))

    def value(p):
        return (draw(p, camera).features.double() * weights).sum()

    p = tensors(arrays, torch.float32)
    value(p).backward()
    for name, step in (("means", 3e-4), ("factors", 3e-4), ("opacities", 1e-3), ("features", 1e-2), ("translation", 3e-4)):
        direction = torch.tensor(rng.normal(size=arrays[name].shape), dtype=torch.float32)
        if name == "opacities":
            direction *= torch.minimum(p[name], 1.0 - p[name]).detach()
        moved = [{**p, name: (p[name] + sign * step * direction).detach()} for sign in (1, -1)]
        slope = (value(moved[0]) - value(moved[1])).item() / (2 * step)
        assert (p[name].grad * direction).sum().item() == pytest.approx(slope, rel=0.05, abs=0.05 * p[name].grad.norm().item())


def test_second_derivatives_are_refused_rather_than_wrong(rng):
    camera, arrays = scene(rng)
    p = tensors(arrays, torch.float32)
    (slope,) = torch.autograd.grad(draw(p, camera).features.square().sum(), p["means"], create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()


def test_double_precision_and_rows_that_are_not_contiguous_are_taken(rng):
    camera, arrays = scene(rng)
    p = tensors(arrays, torch.float64)
    turned_over = {**p, "factors": p["factors"].transpose(1, 2).contiguous().transpose(1, 2)}
    draw(turned_over, camera).features.sum().backward()
    assert p["means"].grad.dtype == torch.float64 and torch.isfinite(p["factors"].grad).all()
    assert torch.equal(draw(turned_over, camera).features, draw(tensors(arrays, torch.float32), camera).features)


@pytest.mark.parametrize("n", [0, 5])
def test_where_nothing_is_seen_the_image_is_the_background_and_slopes_are_zero(schedule, n, rng):
    camera, arrays = scene(rng, n=n)
    arrays["means"] = arrays["means"] - 100.0 * camera.rotation[2]
    p = tensors(arrays, torch.float32)
    with pytest.warns(UserWarning, match=f"none of {n} splats is seen"):
        image = draw(p, camera)
    assert torch.equal(image.features, p["background"].expand_as(image.features))
    assert not image.alpha.any() and not image.depth.any() and (image.labels == -1).all() and not image.visible.any()
    (image.features.sum() + image.alpha.sum() + image.depth.sum()).backward()
    assert all(not p[name].grad.any() for name in NAMES[:6])
    assert torch.allclose(p["background"].grad, torch.tensor(float(camera.width * camera.height)))


def test_radii_are_where_a_splat_ends(rng):
    camera = Camera(101, 101, (100.0, 100.0))
    means, factor = torch.tensor([[0.0, 0.0, 2.0], [9.0, 0.0, 2.0]]), torch.diag(torch.tensor([0.1, 0.05, 0.2]))
    image = rasterize(means, factor.expand(2, 3, 3), torch.ones(2), torch.ones(2, 1), camera, antialias=False)
    # alpha exp(-r^2 / 2 S) = 1/255 along the long axis, whose variance is (100 0.1 / 2)^2 + blur
    assert image.radii[0].item() == pytest.approx(np.sqrt(2 * np.log(255.0) * (25.0 + 0.3)), rel=1e-5)
    assert image.visible.tolist() == [True, False]
    drawn = torch.nonzero(image.alpha[50] > 1e-6)[:, 0]
    assert drawn.max().item() - 50 == int(image.radii[0])


def test_what_the_lens_model_folds_back_is_left_out(rng):
    camera = Camera(64, 64, (30.0, 30.0), distortion=(-0.3, 0.0, 0.0, 0.0))
    # r (1 - 0.3 r^2) grows up to r = 1 / sqrt(0.9); at r = sqrt(1 / 0.3) it is back in the middle of the image
    means = torch.tensor([[1.8257419 * 2.0, 0.0, 2.0], [0.2, 0.0, 2.0]])
    image = rasterize(means, 0.05 * torch.eye(3).expand(2, 3, 3), torch.ones(2), torch.ones(2, 1), camera)
    assert image.visible.tolist() == [False, True]


def wrong(**change):
    camera, arrays = scene(np.random.default_rng(0), n=4)
    p = {name: torch.tensor(a, dtype=torch.float32) for name, a in arrays.items()}
    options = {name: change.pop(name) for name in list(change) if name not in NAMES}
    return draw({**p, **change}, camera, **options)


NAN3 = torch.tensor([[0.0, 0.0, 0.0], [0.0, float("nan"), 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, float("inf")]])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"means": NAN3}, "means: NaN or infinite at splat 1"),
        ({"features": NAN3}, "features: NaN or infinite at splat 1"),
        ({"factors": torch.full((4, 3, 3), torch.inf)}, "factors: NaN or infinite at splat 0"),
        ({"opacities": torch.tensor([0.5, 0.5, torch.nan, 0.5])}, "opacities: NaN or infinite at splat 2"),
        ({"opacities": torch.tensor([0.5, 0.5, 0.5, 1.5])}, "opacities: 1.5 at splat 3; they must lie in"),
        ({"background": torch.tensor([0.0, torch.nan, 0.0])}, "background: NaN"),
        ({"translation": torch.tensor([0.0, torch.nan, 0.0])}, "pose: NaN"),
        ({"depth_limit": torch.full((29, 37), torch.nan)}, "depth_limit: NaN"),
        ({"depth_limit": torch.ones(37, 29)}, "depth_limit: shape"),
        ({"background": torch.zeros(4)}, "background: shape"),
        ({"means": torch.zeros(4, 2)}, "means: shape"),
        ({"means": np.zeros((4, 3))}, "means: a Tensor is needed"),
        ({"means": torch.zeros(4, 3, dtype=torch.int64)}, "means: torch.int64 was given"),
        ({"factors": torch.zeros(3, 3, 3)}, "factors: shape"),
        ({"features": torch.zeros(4)}, "features: shape"),
        ({"features": torch.zeros(4, 0)}, "features: no channel"),
        ({"labels": torch.zeros(4)}, "labels: a tensor of 4 whole numbers"),
        ({"labels": torch.tensor([0, 0, -3, 0])}, "labels: -3 was given"),
        ({"pose": torch.eye(3)}, "pose: "),
        ({"threads": 0}, "threads = 0"),
        ({"backend": "opengl"}, "backend = 'opengl'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_drawn_is_refused(change, message):
    with pytest.raises(raster.InputError, match=message):
        wrong(**change)


@pytest.mark.parametrize(
    "camera",
    [
        Camera(37, 29, (1e9, 1e9)),
        Camera(37, 29, (1e-9, 1e9)),
        Camera(37, 29, (30.0, 30.0), centre=(1e9, -1e9)),
        Camera(37, 29, (30.0, 30.0), translation=(1e12, -1e12, 1.0)),
        Camera(37, 29, (30.0, 30.0), translation=(0.0, 0.0, 1e12)),
    ],
    ids=["long", "odd", "aside", "far to the side", "far"],
)
def test_the_most_extreme_cameras_give_no_nan(camera):
    n = 5
    given = [torch.randn(n, 3) + torch.tensor([0.0, 0.0, 3.0]), 0.1 * torch.eye(3).repeat(n, 1, 1), torch.full((n,), 0.9), torch.rand(n, 3)]
    given = [value.requires_grad_() for value in given]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that none is seen
        image = rasterize(*given, camera)
    outputs = image.features, image.alpha, image.depth
    assert all(torch.isfinite(output).all() for output in outputs)
    sum(output.sum() for output in outputs).backward()
    assert all(torch.isfinite(value.grad).all() for value in given)


def test_views_that_repeat_a_splat_count_as_the_copies_that_drawing_makes():
    n = 10**11
    many = (torch.zeros(shape).expand(n, *shape) for shape in ((3,), (3, 3), (), (3,)))
    with pytest.raises(raster.InputError, match=f"rasterize: {n} splats, drawn at 37 x 29 with 3 channels: it takes about"):
        rasterize(*many, Camera(37, 29, (30.0, 30.0)))


def test_other_devices_than_cpu_and_cuda_are_refused():
    shapes = {"means": (4, 3), "factors": (4, 3, 3), "opacities": (4,), "features": (4, 3)}
    with pytest.raises(raster.InputError, match="on the CPU and on CUDA"):
        wrong(**{name: torch.empty(shape, device="meta") for name, shape in shapes.items()})


def test_more_than_there_is_memory_for_is_refused_before_it_is_taken(monkeypatch):
    monkeypatch.setattr("physsim.appearance.memory.ASSURED", 0)
    for there, tiles in ((10_000, ""), (drawing_memory(4, 0, 37, 29, 3), r" on [1-9]\d* tiles")):
        monkeypatch.setattr("physsim.appearance.memory.available_memory", lambda device, there=there: there)
        with pytest.raises(raster.InputError, match=f"4 splats{tiles}, drawn at 37 x 29 with 3 channels: it takes about"):
            wrong()
    monkeypatch.setattr("physsim.appearance.memory.available_memory", lambda device: drawing_memory(4, 1000, 37, 29, 3))
    wrong()


def test_what_is_free_is_said_to_be_free():
    assert 2**20 < available_memory(torch.device("cpu")) < 2**50


@pytest.mark.parametrize("name", ["means", "factors"])
@pytest.mark.parametrize("scale", [1e7, 1e13, 1e25, 1e37, 1e-20, 1e-38])
def test_absurd_sizes_leave_no_nan(schedule, name, scale, rng):
    camera, arrays = scene(rng, n=20)
    arrays[name][::2] *= scale
    p = tensors(arrays, torch.float32)
    image = draw(p, camera)
    (image.features.sum() + image.alpha.sum() + image.depth.sum()).backward()
    assert all(torch.isfinite(part).all() for part in (image.features, image.alpha, image.depth))
    assert all(torch.isfinite(p[name].grad).all() for name in NAMES[:6])


def test_a_backend_that_is_not_there_is_refused_with_what_to_do():
    with pytest.raises(raster.InputError, match=r"backend = 'gsplat': gsplat is not installed; install it .* or choose backend='warp'"):
        wrong(backend="gsplat")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("distortion", [PLAIN, RATIONAL], ids=["pinhole", "rational"])
def test_a_gpu_draws_the_same_image_with_the_same_gradient(distortion, rng):
    camera, arrays = scene(rng, n=500, size=(133, 90), distortion=distortion)
    labels, limit = torch.arange(500) % 3, torch.tensor(rng.uniform(1.0, 3.5, (90, 133)), dtype=torch.float32)
    results = []
    for device in ("cpu", "cuda"):
        p = {name: value.detach().to(device).requires_grad_() for name, value in tensors(arrays, torch.float32).items()}
        image = draw(p, camera, labels=labels.to(device), depth_limit=limit.to(device))
        loss(image, [1.0, 2.0, 3.0], image.alpha > 0.1).backward()
        results.append([image.features, image.alpha, *(p[name].grad for name in NAMES), image.labels.float()])
    *cpu, cpu_labels = results[0]
    *gpu, gpu_labels = results[1]
    assert all((a - b.cpu()).norm() <= 1e-4 * a.norm() for a, b in zip(cpu, gpu, strict=True))
    assert (cpu_labels != gpu_labels.cpu()).float().mean() < 1e-3


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_gsplat_draws_nearly_the_same_image(rng):
    pytest.importorskip("gsplat")
    camera, arrays = scene(rng, n=200, size=(133, 90))
    images = []
    for backend in ("warp", "gsplat"):
        p = {name: value.detach().cuda().requires_grad_() for name, value in tensors(arrays, torch.float32).items()}
        images.append(draw(p, camera, backend=backend))
        images[-1].features.sum().backward()
        assert torch.isfinite(p["factors"].grad).all() and images[-1].screen.grad.any()
    # contributions between 1/255 and 2/255 are tapered here and whole there
    assert (images[0].features - images[1].features).abs().mean() < 5e-3
