import numpy as np
import pytest
import torch
from scipy.special import sph_harm_y

from physsim.appearance.harmonics import harmonic_basis, spherical_harmonics
from physsim.errors import InputError


def test_the_basis_is_that_of_real_spherical_harmonics(rng):
    """3DGS orders them by degree and order; signs are those of the complex ones with the phase of Condon and Shortley."""
    directions = rng.normal(size=(50, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    polar, azimuth = np.arccos(directions[:, 2]), np.arctan2(directions[:, 1], directions[:, 0])
    expected = []
    for degree in range(4):
        for order in range(-degree, degree + 1):
            value = sph_harm_y(degree, abs(order), polar, azimuth)
            expected.append(value.real if order == 0 else np.sqrt(2) * (value.real if order > 0 else value.imag))
    found = harmonic_basis(torch.tensor(directions), 16).numpy()
    assert np.allclose(found, np.stack(expected, 1), atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("count", [1, 4, 9, 16])
def test_colours_and_their_slopes(count, dtype, rng):
    harmonics = torch.tensor(2.0 * rng.normal(size=(40, count, 3)), dtype=dtype, requires_grad=True)
    directions = torch.nn.functional.normalize(torch.tensor(rng.normal(size=(40, 3)), dtype=dtype), dim=1).requires_grad_()
    close = 1e-4 if dtype == torch.float32 else 1e-12
    colours = spherical_harmonics(harmonics, directions)
    full = torch.cat([harmonics, harmonics.new_zeros(40, 16 - count, 3)], 1)
    expected = (0.5 + (harmonic_basis(directions, 16)[:, :, None] * full).sum(1)).clamp(min=0)
    assert torch.allclose(colours, expected, atol=close) and (colours == 0).any()
    weights = torch.tensor(rng.normal(size=(40, 3)), dtype=dtype)
    for wanted in (harmonics, directions)[: 1 if count == 1 else 2]:  # a constant does not depend on the direction
        ours, truth = (torch.autograd.grad((c * weights).sum(), wanted, retain_graph=True)[0] for c in (colours, expected))
        assert torch.allclose(ours, truth, atol=close)


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match=r"harmonics: shape \[3, 5, 3\]"):
        spherical_harmonics(torch.zeros(3, 5, 3), torch.zeros(3, 3))
    with pytest.raises(InputError, match=r"directions: shape \[2, 3\] was given; \[3, 3\]"):
        spherical_harmonics(torch.zeros(3, 4, 3), torch.zeros(2, 3))
    with pytest.raises(InputError, match="directions: none were given, and harmonics of 4 coefficients depend on them"):
        spherical_harmonics(torch.zeros(3, 4, 3))
