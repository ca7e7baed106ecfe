"""LPIPS follows its paper through an AlexNet of the published layout."""

import numpy as np
import pytest
import torch
from torch import nn

from physsim.appearance.lpips import Lpips
from physsim.errors import InputError


def alexnet():
    """The features of torchvision's AlexNet, with weights of its size drawn at random."""
    torch.manual_seed(3)
    first = [nn.Conv2d(3, 64, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2), nn.Conv2d(64, 192, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)]
    sizes = ((192, 384), (384, 256), (256, 256))
    return nn.Sequential(*first, *(part for size in sizes for part in (nn.Conv2d(*size, 3, padding=1), nn.ReLU())))


def weights(net):
    heads = {f"lin{k}.model.1.weight": torch.rand(1, n, 1, 1) for k, n in enumerate((64, 192, 384, 256, 256))}
    return {f"features.{name}": x.detach() for name, x in net.state_dict().items()}, heads


@pytest.fixture(scope="module")
def network():
    net = alexnet()
    return net, *weights(net)


def images(seed=0, shape=(64, 80, 3)):
    random = np.random.default_rng(seed)
    return [torch.tensor(random.uniform(size=shape), dtype=torch.float32) for _ in range(2)]


def by_the_paper(net, heads, a, b):
    """Layer by layer, as eq. 1 has it."""
    shift, scale = np.array([-0.030, -0.088, -0.188]), np.array([0.458, 0.448, 0.450])
    x, y = (torch.tensor(((2 * i.numpy() - 1 - shift) / scale).transpose(2, 0, 1)[None], dtype=torch.float32) for i in (a, b))
    total, layer = 0.0, 0
    with torch.no_grad():
        for part in net:
            x, y = part(x), part(y)
            if isinstance(part, nn.ReLU):
                p, q = (f[0].double().numpy() for f in (x, y))
                p, q = (f / (np.sqrt((f**2).sum(axis=0)) + 1e-10) for f in (p, q))
                total += (heads[f"lin{layer}.model.1.weight"].numpy().reshape(-1, 1, 1) * (p - q) ** 2).sum(axis=0).mean()
                layer += 1
    return total


def test_the_distance_is_the_papers(network):
    net, features, heads = network
    measure = Lpips({**features, **heads})
    a, b = images()
    assert float(measure(a, b)) == pytest.approx(by_the_paper(net, heads, a, b), rel=1e-4)
    assert float(measure(a, a)) == 0.0
    c, d = images(1)
    stacked = measure(torch.stack([a, c]), torch.stack([b, d]))
    assert float(stacked) == pytest.approx(0.5 * (float(measure(a, b)) + float(measure(c, d))), rel=1e-5)


def test_the_distance_is_that_of_the_lpips_package(network):
    lpips = pytest.importorskip("lpips")
    _, features, heads = network
    theirs = lpips.LPIPS(net="alex", pretrained=False, pnet_rand=True, verbose=False)
    state = {**theirs.state_dict(), **heads}
    for name in state:
        if name.startswith("net.slice"):
            state[name] = features["features." + name.split(".", 2)[2]]
    theirs.load_state_dict(state, strict=False)
    a, b = images(2)
    planes = [x.permute(2, 0, 1)[None] for x in (a, b)]
    assert float(Lpips({k: v.numpy() for k, v in state.items()})(a, b)) == pytest.approx(theirs(*planes, normalize=True).item(), rel=1e-4)


def test_weights_come_from_one_file_or_from_two_in_either_layout(network, tmp_path):
    _, features, heads = network
    a, b = images(3)
    expected = float(Lpips({**features, **heads})(a, b))
    torch.save({**features, "classifier.1.weight": torch.zeros(2, 2)}, tmp_path / "alexnet.pth")
    torch.save(heads, tmp_path / "alex.pth")
    assert float(Lpips.load([tmp_path / "alexnet.pth", tmp_path / "alex.pth"])(a, b)) == expected
    slices = {"0": 1, "3": 2, "6": 3, "8": 4, "10": 5}
    renamed = {f"net.slice{slices[n.split('.')[1]]}.{n.split('.', 1)[1]}": x.numpy() for n, x in features.items()}
    np.savez(tmp_path / "whole.npz", **renamed, **{n: x.numpy() for n, x in heads.items()})
    assert float(Lpips.load(tmp_path / "whole.npz")(a, b)) == expected


def test_slopes_are_finite_and_those_of_differences(network):
    _, features, heads = network
    measure = Lpips({**features, **heads})
    a, b = images(4)
    a.requires_grad_()
    measure(a, b).backward()
    with torch.no_grad():
        slope = (measure(a + 1e-3 * (b - a), b) - measure(a - 1e-3 * (b - a), b)).item() / 2e-3
    assert (a.grad * (b - a)).sum().item() == pytest.approx(slope, rel=0.02)
    black = torch.zeros(64, 64, 3, requires_grad=True)
    measure(black, torch.zeros(64, 64, 3)).backward()
    assert torch.isfinite(black.grad).all()


def test_without_weights_or_with_others_it_says_what_is_needed(network, tmp_path):
    _, features, heads = network
    for nothing in ([], None):
        with pytest.raises(InputError, match="no weights file is named"):
            Lpips.load(nothing)
    with pytest.raises(InputError, match=r"have no lin0\.model\.1\.weight"):
        Lpips(features)
    with pytest.raises(InputError, match="shape"):
        Lpips({**features, **heads, "features.0.bias": np.zeros(3)})
    with pytest.raises(InputError, match="NaN"):
        Lpips({**features, **heads, "features.0.bias": np.full(64, np.nan)})
    measure = Lpips({**features, **heads})
    for shape in ((30, 64, 3), (64, 64, 1), (64, 64)):
        with pytest.raises(InputError, match="at least 31 x 31"):
            measure(torch.zeros(shape), torch.zeros(shape))
