"""Splats are checked, joined, turned and scaled as what they stand for."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from physsim.appearance.harmonics import harmonic_basis
from physsim.appearance.quaternions import rotation_matrices, rotation_quaternions
from physsim.appearance.splats import Splats
from physsim.appearance.turned_harmonics import turned_harmonics
from physsim.errors import InputError


def random_splats(rng, n=20, degree=3, latents=2):
    values = [rng.normal(size=(n, 3)), rng.uniform(0.1, 1, (n, 3)), rng.normal(size=(n, 4)), rng.uniform(0, 1, n)]
    values += [rng.normal(size=(n, (degree + 1) ** 2, 3)), rng.normal(size=(n, latents))]
    return Splats(*(torch.as_tensor(v) for v in values))


def test_quaternions_and_matrices_are_each_others_inverse(rng):
    turns = Rotation.concatenate([Rotation.random(200, random_state=rng), Rotation.from_rotvec(np.pi * np.eye(3)), Rotation.identity()])
    matrices = torch.as_tensor(turns.as_matrix())
    quaternions = rotation_quaternions(matrices)
    np.testing.assert_allclose(rotation_matrices(quaternions), matrices, atol=1e-14)
    np.testing.assert_allclose(rotation_matrices(-3.0 * quaternions), matrices, atol=1e-14)


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_turned_harmonics_show_the_same_colours_from_turned_directions(degree, rng):
    harmonics = torch.as_tensor(rng.normal(size=(20, (degree + 1) ** 2, 3)))
    R = torch.as_tensor(Rotation.random(20, random_state=rng).as_matrix())
    d = torch.nn.functional.normalize(torch.as_tensor(rng.normal(size=(20, 3))), dim=1)
    seen = lambda h, d: (harmonic_basis(d, h.shape[1])[:, :, None] * h).sum(1)  # noqa: E731
    np.testing.assert_allclose(seen(turned_harmonics(harmonics, R), (R @ d[..., None])[..., 0]), seen(harmonics, d), atol=1e-12)
    one = turned_harmonics(harmonics, R[0])
    np.testing.assert_allclose(seen(one, d @ R[0].T), seen(harmonics, d), atol=1e-12)


def test_a_similarity_moves_covariances_and_colours_along(rng):
    splats = random_splats(rng)
    R, t, s = Rotation.random(random_state=rng).as_matrix(), rng.normal(size=3), 2.5
    moved = splats.transformed(R, t, s)
    np.testing.assert_allclose(moved.means, s * splats.means.numpy() @ R.T + t, atol=1e-12)
    factors = [rotation_matrices(each.rotations).numpy() * each.scales.numpy()[:, None] for each in (splats, moved)]
    before, after = (m @ m.swapaxes(1, 2) for m in factors)
    np.testing.assert_allclose(after, s * s * R @ before @ R.T, atol=1e-12)
    back = moved.transformed(R.T, scale=1 / s).transformed(translation=-R.T @ t / s)
    for name in ("means", "scales", "harmonics"):
        np.testing.assert_allclose(getattr(back, name), getattr(splats, name), atol=1e-12)
    with pytest.raises(InputError, match="no rotation"):
        splats.transformed(np.diag([1.0, 1.0, -1.0]))
    with pytest.raises(InputError, match="scale"):
        splats.transformed(scale=0.0)


def test_degrees_are_raised_by_zeros_and_lowered_by_leaving_out(rng):
    splats = random_splats(rng, degree=1)
    assert splats.with_degree(3).degree == 3
    assert torch.equal(splats.with_degree(3).with_degree(1).harmonics, splats.harmonics)
    assert not splats.with_degree(2).harmonics[:, 4:].any()
    with pytest.raises(InputError, match="degree"):
        splats.with_degree(4)


def test_joined_splats_keep_order_and_take_the_highest_degree(rng):
    parts = [random_splats(rng, 3, degree=0), random_splats(rng, 5, degree=2)]
    joined = Splats.join(parts, relabel=True)
    assert joined.degree == 2
    assert joined.labels.tolist() == [0] * 3 + [1] * 5
    assert torch.equal(joined.means, torch.cat([p.means for p in parts]))
    assert Splats.join(parts).labels.tolist() == [0] * 8
    with pytest.raises(InputError, match="2 latents"):
        Splats.join([parts[0], random_splats(rng, latents=3)])
    with pytest.raises(InputError, match="float32"):
        Splats.join([parts[0], parts[1].to(torch.float32)])
    with pytest.raises(InputError, match="no splats"):
        Splats.join([])


def test_every_wrong_value_is_named(rng):
    splats = random_splats(rng)

    def broken(name, value):
        changed = getattr(splats, name).clone()
        changed[7] = value
        return splats.replace(**{name: changed})

    for name, value, said in (
        ("means", np.nan, r"means = nan at \[7, 0\] \(1 splats\): must be finite"),
        ("harmonics", np.inf, "harmonics = inf"),
        ("latents", -np.inf, "latents = -inf"),
        ("scales", 0.0, "must be positive"),
        ("opacities", 1.5, r"opacities = 1\.5 at \[7\]"),
        ("opacities", -0.1, "must lie in"),
        ("rotations", 0.0, "is no rotation"),
        ("labels", -1, "must be at least 0"),
    ):
        with pytest.raises(InputError, match=said):
            broken(name, value).check()
    assert splats.check() is splats
    with pytest.raises(InputError, match="dtypes"):
        splats.replace(means=splats.means.float()).check()
    with pytest.raises(InputError, match="whole numbers"):
        splats.replace(labels=splats.means[:, 0]).check()


def test_shapes_that_do_not_fit_are_refused(rng):
    splats = random_splats(rng)
    for name, value in (
        ("scales", splats.scales[:5]),
        ("rotations", splats.scales),
        ("opacities", splats.scales),
        ("harmonics", splats.harmonics[:, :5]),
        ("latents", splats.latents[:3]),
        ("labels", splats.labels[:3]),
        ("means", torch.tensor(1.0)),
        ("means", np.zeros((20, 3))),
        ("scales", None),
    ):
        with pytest.raises(InputError, match=r"Splats\."):
            splats.replace(**{name: value})
