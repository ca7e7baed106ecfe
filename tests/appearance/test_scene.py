"""Splats and surfaces hide each other by depth, and the picture has the splats' gradients."""

import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from physsim.appearance import scene as scenes
from physsim.appearance.binding import RigidBinding
from physsim.appearance.camera import Camera
from physsim.appearance.meshes import UNSHADED, Surface, render_surfaces
from physsim.appearance.raster import rasterize
from physsim.appearance.scene import PosedSplats, Scene, render
from physsim.appearance.splats import Splats
from physsim.errors import InputError

pytestmark = pytest.mark.usefixtures("one_thread")

VIEW = Camera.look_at((0, 0, -5), (0, 0, 0), up=(0, -1, 0), width=48, height=36, angle=20)  # x right, y down, z away
WALL = np.array([[-9.0, -9, 0], [9, -9, 0], [9, 9, 0], [-9, 9, 0]])
HALVES = [[0, 1, 2], [0, 2, 3]]
GREY = (0.2, 0.3, 0.4)


def wall(z=0.0, **options):
    return Surface(WALL + [0, 0, z], HALVES, **{"colours": GREY, "label": 7, **options})


def splats(rng, count=40, depth=(-1.0, 1.0), degree=0, label=2):
    """Splats about the middle of the view, float32; apart in depth: where two change places, the image jumps."""
    depths = rng.permutation(np.linspace(*depth, count))
    means = np.stack([rng.uniform(-0.7, 0.7, count), rng.uniform(-0.5, 0.5, count), depths], axis=1)
    arrays = means, rng.uniform(0.05, 0.2, (count, 3)), rng.normal(size=(count, 4)), rng.uniform(0.2, 0.9, count)
    harmonics = 0.5 * rng.normal(size=(count, (degree + 1) ** 2, 3))
    tensors = [torch.tensor(a, dtype=torch.float32) for a in (*arrays, harmonics)]
    return Splats(*tensors, labels=torch.full((count,), label, dtype=torch.int32))


def one_splat(z, opacity=0.8, colour=(0.9, 0.1, 0.5)):
    """A wide splat on the axis, of one colour."""
    tensors = [[[0.0, 0.0, z]], [[3.0, 3.0, 0.01]], [[1.0, 0.0, 0.0, 0.0]], [opacity]]
    harmonics = (torch.tensor(colour) - 0.5).reshape(1, 1, 3) / 0.28209479177387814
    return Splats(*(torch.tensor(x) for x in tensors), harmonics, labels=torch.tensor([2], dtype=torch.int32))


def close(a, b, atol=1e-6):
    np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), atol=atol)


def test_a_splat_before_a_wall_covers_it_by_its_opacity():
    image = render(Scene(one_splat(-1.0), wall(), light=UNSHADED), VIEW)
    middle = image.height // 2, image.width // 2
    share = render(one_splat(-1.0), VIEW).alpha[middle].item()
    assert share == pytest.approx(0.8, abs=2e-3)  # the pixel's centre is half a pixel off the splat's
    close(image.colour[middle], share * torch.tensor([0.9, 0.1, 0.5]) + (1 - share) * torch.tensor(GREY))
    assert image.depth[middle].item() == pytest.approx(share * 4.0 + (1 - share) * 5.0, abs=1e-4)
    assert image.labels[middle] == 2
    close(image.alpha, torch.ones(36, 48))
    assert not image.normals[middle].any()


def test_a_splat_behind_a_wall_does_not_show():
    bare = render(Scene((), wall(), light=UNSHADED), VIEW)
    hidden = render(Scene(one_splat(1.0), wall(), light=UNSHADED), VIEW)
    for name in ("colour", "alpha", "depth", "normals"):
        close(getattr(hidden, name), getattr(bare, name))
    assert (hidden.labels == 7).all()


def test_a_thin_splat_before_a_wall_leaves_the_walls_label():
    image = render(Scene(one_splat(-1.0, opacity=0.3), wall(), light=UNSHADED), VIEW)
    middle = image.height // 2, image.width // 2
    assert image.labels[middle] == 7
    close(image.normals[middle], torch.tensor([0.0, 0.0, -1.0]))


def test_walls_at_two_depths_hide_what_is_behind_each(rng):
    cloud = splats(rng)
    left, right = wall(-0.3, label=5).moved(np.eye(3), [-9.0, 0, 0]), wall(0.4, label=6).moved(np.eye(3), [9.0, 0, 0])
    image = render(Scene(cloud, [left, right], light=UNSHADED), VIEW)
    behind = render_surfaces([left, right], VIEW, UNSHADED)
    halves = slice(0, 24), slice(24, 48)
    for half, z in zip(halves, (-0.3, 0.4)):
        before = cloud.select(cloud.means[:, 2] < z)
        posed = PosedSplats(before)
        alone = rasterize(
            posed.posed.means, posed.posed.factors, before.opacities, posed.seen_from(VIEW.position), VIEW, background=behind.colour
        )
        close(image.colour[:, half], alone.features[:, half], 2e-6)
        expected = alone.alpha * alone.depth + (1 - alone.alpha) * behind.depth
        close(image.depth[:, half], expected[:, half], 1e-5)
    assert (image.alpha > 0.999).all()


def test_without_surfaces_the_picture_is_the_rasterisers(rng):
    cloud = splats(rng)
    image = render(Scene(cloud, background=(0.1, 0.2, 0.3)), VIEW)
    posed = PosedSplats(cloud)
    alone = rasterize(
        posed.posed.means,
        posed.posed.factors,
        cloud.opacities,
        posed.seen_from(VIEW.position),
        VIEW,
        background=torch.tensor([0.1, 0.2, 0.3]),
    )
    close(image.colour, alone.features, 0)
    close(image.depth, alone.depth, 0)
    assert image.normals is None
    assert set(image.labels.unique().tolist()) <= {-1, 2}


def test_several_groups_are_seen_as_one(rng):
    cloud = splats(rng)
    which = torch.arange(len(cloud)) % 3 == 0
    together, apart = render(cloud, VIEW), render(Scene([cloud.select(which), PosedSplats(cloud.select(~which))]), VIEW)
    close(together.colour, apart.colour, 2e-6)
    close(together.depth, apart.depth, 1e-5)


def test_colours_turn_with_the_material(rng):
    """A body and a camera that turn together make the same picture, though harmonics stay in the body's axes."""
    cloud = splats(rng, degree=3)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    turn *= np.linalg.det(turn)
    shift = rng.normal(size=3)
    posed = RigidBinding(cloud).pose(torch.tensor(turn, dtype=torch.float32), torch.tensor(shift, dtype=torch.float32))
    along = VIEW.moved(VIEW.rotation @ turn.T, VIEW.translation - VIEW.rotation @ turn.T @ shift)
    still, moved = render(cloud, VIEW), render(PosedSplats(cloud, posed), along)
    close(moved.colour, still.colour, 1e-4)
    assert (render(cloud, VIEW.moved(VIEW.rotation, VIEW.translation + [1.0, 0, 0])).colour - still.colour).abs().max() > 0.1


def test_colours_that_are_given_take_the_place_of_harmonics(rng):
    cloud = splats(rng)
    colours = torch.tensor(rng.uniform(size=(len(cloud), 3)), dtype=torch.float32, requires_grad=True)
    image = render(PosedSplats(cloud, colours=colours), VIEW)
    image.colour.sum().backward()
    assert (colours.grad.abs().sum() > 0).item()
    close(render(PosedSplats(cloud, colours=torch.ones(len(cloud), 3)), VIEW).colour[..., 0], image.alpha)


def test_what_is_merged_has_the_slopes_of_its_formula(rng):
    surfaces = SimpleNamespace(
        alpha=torch.tensor(rng.uniform(size=(3, 4))),
        depth=torch.tensor(rng.uniform(1, 2, (3, 4)) * rng.integers(0, 2, (3, 4))),
        labels=torch.zeros(3, 4, dtype=torch.int32),
        normals=torch.zeros(3, 4, 3, dtype=torch.float64),
    )
    given = [torch.tensor(rng.uniform(0.1, 0.9, shape), requires_grad=True) for shape in ((3, 4, 3), (3, 4), (3, 4))]

    def merged(features, alpha, depth):
        raster = SimpleNamespace(features=features, alpha=alpha, depth=depth, labels=surfaces.labels)
        image = scenes._merged(raster, surfaces)
        return image.colour, image.alpha, image.depth

    assert torch.autograd.gradcheck(merged, given)


def test_a_picture_with_a_wall_has_the_slopes_of_differences(rng):
    cloud = splats(rng, depth=(-1.0, -0.3))
    hidden = splats(rng, depth=(0.3, 1.0))
    weights = [torch.tensor(rng.normal(size=shape), dtype=torch.float32) for shape in ((36, 48, 3), (36, 48), (36, 48))]
    base = torch.cat([cloud.means, hidden.means])
    both = Splats(
        *(torch.cat([getattr(g, n) for g in (cloud, hidden)]) for n in ("means", "scales", "rotations", "opacities", "harmonics"))
    )

    def loss(means):
        image = render(Scene(both.replace(means=means), wall(), light=UNSHADED), VIEW)
        return sum((w * x).sum(dtype=torch.float64) for w, x in zip(weights, (image.colour, image.alpha, image.depth)))

    means = base.clone().requires_grad_()
    loss(means).backward()
    assert not means.grad[len(cloud) :].any()
    way = torch.tensor(rng.normal(size=base.shape), dtype=torch.float32)
    step = 2e-4
    difference = (loss(base + step * way) - loss(base - step * way)) / (2 * step)
    scale = (means.grad * way).norm().item()
    assert (means.grad * way).sum().item() == pytest.approx(difference.item(), abs=0.02 * scale)


def test_gradients_reach_the_pose_of_the_camera(rng):
    cloud = splats(rng, depth=(-1.0, -0.3))
    rotation = torch.tensor(VIEW.rotation, dtype=torch.float32, requires_grad=True)
    translation = torch.tensor(VIEW.translation, dtype=torch.float32, requires_grad=True)
    image = render(Scene(cloud, wall()), VIEW, pose=(rotation, translation))
    close(image.colour, render(Scene(cloud, wall()), VIEW).colour, 1e-5)
    image.colour[..., 0].sum().backward()
    assert torch.isfinite(rotation.grad).all()
    assert translation.grad.abs().sum() > 0


def test_the_pose_has_the_slopes_of_differences_through_the_direction_of_view_too(rng):
    cloud = splats(rng, degree=2)
    weights = torch.tensor(rng.normal(size=(36, 48, 3)), dtype=torch.float32)
    at = [torch.tensor(x, dtype=torch.float32) for x in (VIEW.rotation, VIEW.translation)]

    def loss(rotation, translation):
        return (weights * render(cloud, VIEW, pose=(rotation, translation)).colour).sum(dtype=torch.float64)

    given = [x.clone().requires_grad_() for x in at]
    loss(*given).backward()
    for k, step in ((0, 2e-4), (1, 1e-3)):
        way = torch.tensor(rng.normal(size=at[k].shape), dtype=torch.float32)
        ends = [loss(*(x + sign * step * way if i == k else x for i, x in enumerate(at))) for sign in (1, -1)]
        slope = (given[k].grad * way).sum().item()
        assert slope == pytest.approx((ends[0] - ends[1]).item() / (2 * step), abs=0.02 * given[k].grad.norm().item())
        still = (weights * render(PosedSplats(cloud, colours=PosedSplats(cloud).seen_from(VIEW.position)), VIEW, pose=given).colour).sum()
        (apart,) = torch.autograd.grad(still, given[k])
        assert (apart - given[k].grad).norm() > 1e-3 * apart.norm()  # the direction of view has its part in it


def test_splats_out_of_sight_leave_the_background_and_no_nan():
    away = one_splat(-50.0)  # behind the camera
    means = away.means.clone().requires_grad_()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = render(Scene(away.replace(means=means), wall(), background=(0.5, 0.5, 0.5)), VIEW)
    assert (image.labels == 7).all()
    (image.colour.sum() + image.depth.sum()).backward()
    assert means.grad is None or not means.grad.any()


def test_an_empty_scene_is_its_background():
    image = render(Scene(background=(0.1, 0.2, 0.3)), VIEW)
    close(image.colour, torch.tensor([0.1, 0.2, 0.3]).expand(36, 48, 3))
    assert not image.alpha.any()
    assert (image.labels == -1).all()


@pytest.mark.parametrize("degree", [0, 1])
def test_directions_are_found_only_where_colours_depend_on_them(degree, rng, monkeypatch):
    posed, asked = PosedSplats(splats(rng, degree=degree)), []
    real = type(posed.posed).directions
    monkeypatch.setattr(type(posed.posed), "directions", lambda self, eye: asked.append(eye) or real(self, eye))
    posed.seen_from(torch.zeros(3))
    assert len(asked) == degree


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_cuda_device_sees_what_the_cpu_sees(rng):
    cloud = splats(rng, degree=2)
    walls = [wall(-0.3, label=5).moved(np.eye(3), [-9.0, 0, 0]), wall(0.4, label=6).moved(np.eye(3), [9.0, 0, 0])]
    here = render(Scene(cloud, walls), VIEW)
    arrays = {name: getattr(cloud, name).cuda() for name in ("means", "scales", "rotations", "opacities", "harmonics", "labels")}
    there = render(Scene(Splats(**arrays), walls), VIEW, device="cuda")
    assert there.colour.device.type == "cuda"
    assert (here.colour - there.colour.cpu()).abs().mean() < 1e-4
    assert (here.depth - there.depth.cpu()).abs().mean() < 1e-3
    assert (here.labels == there.labels.cpu()).float().mean() > 0.99


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Scene([3]), "Splats"),
        (lambda: Scene((), [one_splat(0.0)]), "Surface"),
        (lambda: Scene(None), "Scene.splats: a Splats or PosedSplats is needed, NoneType was given"),
        (lambda: render(VIEW, VIEW), "Scene.splats: a Splats or PosedSplats is needed, Camera was given"),
        (lambda: render(one_splat(0.0), VIEW, samples=0), "samples = 0"),
        (lambda: render(Scene(), VIEW, device="tpu"), "device = 'tpu': torch knows no such device"),
        (lambda: render(Scene(), VIEW, device="meta"), "on the CPU and on CUDA"),
        (lambda: render(Scene(), VIEW, device="cuda:99"), r"device = 'cuda:99': \d+ CUDA devices are found"),
        (lambda: render(Scene(one_splat(0.0), background="white"), VIEW), "background: not an array of numbers"),
        (lambda: PosedSplats(one_splat(0.0), colours=torch.ones(2, 3)), r"\[1, 3\]"),
        (lambda: PosedSplats(one_splat(0.0), PosedSplats(splats(np.random.default_rng(0))).posed), "40 means"),
        (lambda: render(Scene(one_splat(0.0), background=np.zeros((3, 3, 3))), VIEW), "camera's size"),
    ],
)
def test_scenes_that_cannot_be_are_refused(make, said):
    with pytest.raises(InputError, match=said):
        make()
