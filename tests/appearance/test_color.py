"""The colour network: zero at the start, blind to rotations, kept exactly by an asset, and fast."""

import time

import numpy as np
import pytest
import torch

from physsim.appearance.binding import Posed, RigidBinding
from physsim.appearance.color import ColorNetwork, equivalent_strain, green_strain, splat_colors
from physsim.appearance.harmonics import spherical_harmonics
from physsim.appearance.splats import Splats
from physsim.errors import InputError

EYE = torch.tensor([0.3, -2.0, 1.0])


@pytest.fixture
def draw(rng):
    return lambda *shape: torch.as_tensor(rng.normal(size=shape), dtype=torch.float32)


@pytest.fixture
def splats(draw):
    n = 40
    return Splats(draw(n, 3), draw(n, 3).exp() * 0.01, draw(n, 4), torch.sigmoid(draw(n)), 0.3 * draw(n, 4, 3), draw(n, 8))


def stretched(splats, draw):
    deformations = torch.eye(3) + 0.2 * draw(len(splats), 3, 3)
    return Posed(splats.means, deformations, deformations)


def trained(network, draw):
    """With weights as they might be after training."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(0.3 * draw(*parameter.shape))
    return network


def test_a_new_network_changes_no_colour_at_all(splats, draw):
    posed = stretched(splats, draw)
    plain, colours = splat_colors(splats, posed, EYE), splat_colors(splats, posed, EYE, ColorNetwork(8))
    torch.testing.assert_close(colours, plain, rtol=0, atol=0)
    torch.testing.assert_close(plain, spherical_harmonics(splats.harmonics, posed.directions(EYE)), rtol=0, atol=0)


def test_a_new_network_can_begin_to_learn(splats, draw):
    network = ColorNetwork(8)
    splat_colors(splats, stretched(splats, draw), EYE, network).sum().backward()
    assert network.weight2.grad.abs().max() > 0


def test_green_strain_is_that_of_continuum_mechanics(draw):
    deformations = (torch.eye(3) + 0.3 * draw(20, 3, 3)).double()
    expected = 0.5 * (deformations.transpose(1, 2) @ deformations - torch.eye(3, dtype=torch.double))
    found = green_strain(deformations)
    for k, (i, j) in enumerate([(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]):
        torch.testing.assert_close(found[:, k], expected[:, i, j])
    principal = torch.linalg.eigvalsh(expected)
    a, b, c = principal.unbind(1)
    mises = torch.sqrt(0.5 * ((a - b) ** 2 + (b - c) ** 2 + (c - a) ** 2))
    torch.testing.assert_close(equivalent_strain(found), torch.sqrt(mises**2 + 1e-4))


def test_a_rotated_body_seen_by_a_rotated_eye_has_the_same_colours(splats, draw):
    network, posed = trained(ColorNetwork(8), draw), stretched(splats, draw)
    turn = torch.linalg.qr(draw(3, 3))[0]
    turn = turn * torch.linalg.det(turn)
    turned = Posed(posed.means @ turn.T, turn @ posed.factors, turn @ posed.deformations)
    before, after = splat_colors(splats, posed, EYE, network), splat_colors(splats, turned, turn @ EYE, network)
    assert (before - splat_colors(splats, posed, EYE)).abs().max() > 0.01  # it does something
    torch.testing.assert_close(after, before, rtol=0, atol=2e-5)


def test_colours_depend_on_strain_latent_and_view(splats, draw):
    network, posed = trained(ColorNetwork(8), draw), stretched(splats, draw)
    before = splat_colors(splats, posed, EYE, network)
    rest = RigidBinding(splats).pose(torch.eye(3), torch.zeros(3))
    plain = splats.replace(harmonics=splats.harmonics[:, :1])
    other = [
        splat_colors(splats, Posed(posed.means, posed.factors, rest.deformations), EYE, network),
        splat_colors(splats.replace(latents=splats.latents + 0.1), posed, EYE, network),
    ]
    assert all((colours - before).abs().max() > 1e-3 for colours in other)
    flat = splat_colors(plain, posed, EYE, network)
    assert (splat_colors(plain, posed, -EYE, network) - flat).abs().max() > 1e-3


def test_gradients_at_rest_are_finite_and_match_differences(splats, draw):
    network = trained(ColorNetwork(8), draw).double()
    n, weights = 5, draw(5, 3).double()
    latents, view = splats.latents[:n].double(), torch.nn.functional.normalize(draw(n, 3).double(), dim=1)

    def value(deformations):
        return (weights * network(latents, green_strain(deformations), view)).sum()

    for deformations in (torch.eye(3).expand(n, 3, 3).double(), torch.eye(3) + 0.2 * draw(n, 3, 3).double()):
        assert torch.autograd.gradcheck(value, deformations.clone().requires_grad_(), eps=1e-6, atol=1e-6)


def test_an_extreme_strain_gives_a_bounded_residual(draw):
    network = trained(ColorNetwork(0), draw)
    strains = 1e4 * draw(100, 6)
    bound = network.weight2.abs().sum(dim=1) + network.bias2.abs()
    assert (network(torch.zeros(100, 0), strains, torch.zeros(100, 3)).abs() <= bound + 1e-5).all()


def test_arrays_give_the_same_network_back(splats, draw):
    network, posed = trained(ColorNetwork(8, width=16), draw), stretched(splats, draw)
    again = ColorNetwork.from_arrays(network.arrays())
    assert (again.latent_count, again.width) == (8, 16)
    torch.testing.assert_close(splat_colors(splats, posed, EYE, again), splat_colors(splats, posed, EYE, network), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"weight0": None}, "missing arrays"),
        ({"weight9": np.zeros(3)}, "unknown arrays"),
        ({"weight0": np.zeros((16, 4))}, "weight0 has shape"),
        ({"weight0": np.zeros((100_000, 18))}, "weight0 has shape"),
        ({"weight0": np.zeros(16)}, "weight0"),
        ({"bias1": np.zeros(3)}, "bias1"),
        ({"bias2": np.full(3, np.nan)}, "bias2"),
    ],
)
def test_arrays_that_are_no_network_are_refused(change, said):
    arrays = {name: value for name, value in (ColorNetwork(8, width=16).arrays() | change).items() if value is not None}
    with pytest.raises(InputError, match=said):
        ColorNetwork.from_arrays(arrays)


def test_another_number_of_latents_is_refused(splats, draw):
    with pytest.raises(InputError, match=r"latents: shape \[40, 8\]"):
        splat_colors(splats, stretched(splats, draw), EYE, ColorNetwork(4))
    with pytest.raises(InputError, match="pose the same ones"):
        splat_colors(splats.select(torch.arange(3)), stretched(splats, draw), EYE)


def test_five_thousand_splats_take_milliseconds_there_and_back(draw):
    network, n = ColorNetwork(8), 5000
    latents, strains, view = draw(n, 8).requires_grad_(), draw(n, 6).requires_grad_(), draw(n, 3)
    torch.set_num_threads(1)
    spent = []
    for _ in range(20):
        begin = time.perf_counter()
        network(latents, strains, view).sum().backward()
        spent.append(time.perf_counter() - begin)
    print(f"network of 5,000 splats, forward and backward: {1e3 * min(spent):.2f} ms")
    assert min(spent) < 0.02
