"""Pixels as a term: its derivatives are those of the pictures, its transpose agrees, and it sees a body that is not where it is."""

from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
from painted_beams import YOUNG, beam, material

from physsim import InputError
from physsim.appearance.asset import Asset
from physsim.twin.body import reconstruct
from physsim.twin.identification import identify_twin
from physsim.twin.look import fit_look, with_look
from physsim.twin.photometric import PhotometricTerm
from physsim.twin.scene import TwinScene
from physsim.twin.start import Start


@lru_cache
def painted():
    """(film, asset with the film's look)."""
    film = beam()
    look = fit_look(film.capture, film.mesh, {int(f): film.positions[f] for f in film.capture.fit}, splats=500, iterations=200)
    return film, with_look(Asset("beam", film.mesh, film.material), look)


def smooth_ways(x, rng, count=3):
    """Displacements that bend, shear and stretch, shape [count, n, 3]."""
    u = (x - x.mean(axis=0)) / np.ptp(x, axis=0).max()
    basis = np.stack([np.ones(len(u)), *u.T, u[:, 0] ** 2, u[:, 0] * u[:, 1]], axis=1)
    return np.einsum("nb,kbd->knd", basis, rng.normal(size=(count, basis.shape[1], 3)))


def test_the_derivative_is_the_slope_of_the_residuals():
    film, asset = painted()
    term = PhotometricTerm(film.capture, asset, "front")
    seed = np.random.default_rng().integers(2**31)
    print(f"seed {seed}")
    rng = np.random.default_rng(seed)
    x = film.positions[10]
    linear = term.linearise(10, x)
    ways = smooth_ways(x, rng, 9)
    found = linear.apply(ways)
    assert found.shape == (9, len(linear.residuals))
    wrong = []
    for way, slope in zip(ways, found, strict=True):
        step = 2e-4 / np.abs(way).max()  # another one than the term takes
        ahead, behind = (term.linearise(10, x + s * step * way).residuals for s in (1, -1))
        expected = (ahead - behind) / (2 * step)
        off = np.abs(slope - expected)
        smooth = off <= np.quantile(off, 0.98)
        wrong.append(np.linalg.norm(off[smooth]) / np.linalg.norm(expected[smooth]))
    # where two splats change places in depth the picture jumps, which no slope tells: a few pixels, in a few directions more of them
    assert np.median(wrong) < 0.05


def test_the_transpose_agrees_with_the_derivative():
    film, asset = painted()
    term = PhotometricTerm(film.capture, asset, "front")
    rng = np.random.default_rng(7)
    x = film.positions[6]
    linear = term.linearise(6, x)
    # over many pixels alike: where two splats change places in depth, the picture jumps and only one of both sees it
    values = linear.residuals * linear.weights
    for way in smooth_ways(x, rng):
        forward, backward = float(linear.apply(way[None])[0] @ values), float((linear.pull(values) * way).sum())
        assert forward == pytest.approx(backward, rel=0.05, abs=0.02 * np.linalg.norm(linear.apply(way[None])) * np.linalg.norm(values))


def test_the_cost_is_least_where_the_body_is():
    film, asset = painted()
    term = PhotometricTerm(film.capture, asset, "front")
    x = film.positions[8]
    for axis in (0, 2):
        costs = [term.linearise(8, x + s * 1e-3 * np.eye(3)[axis]).cost(term.sigma) for s in (-4, -2, 0, 2, 4)]
        assert np.argmin(costs) == 2 and costs[0] > costs[1] and costs[4] > costs[3]


def test_gauss_newton_brings_a_shifted_body_back_from_pixels_alone():
    film, asset = painted()
    term = PhotometricTerm(film.capture, asset, "front")
    x = film.positions[8]
    ways = np.tile(np.eye(3)[:, None, :], (1, len(x), 1))[[0, 2]]
    off = np.array([0.004, -0.003])
    for _ in range(6):
        linear = term.linearise(8, x + np.tensordot(off, ways, 1))
        rows, slopes = linear.rows(term.sigma, ways)
        off = off - np.linalg.lstsq(slopes, rows, rcond=None)[0]
    assert np.abs(off).max() < 2e-4  # [m]; a pixel of the small picture is 3e-3


def test_it_counts_pixels_near_the_mask_and_as_many_in_every_iteration():
    film, asset = painted()
    term = PhotometricTerm(film.capture, asset, "front")
    sizes = {len(term.linearise(5, film.positions[5] + shift).residuals) for shift in (0.0, 0.01, 1.0)}
    assert len(sizes) == 1
    assert sizes.pop() < 0.8 * 3 * term.camera.width * term.camera.height
    far = term.linearise(5, film.positions[5] + 1.0)
    assert np.abs(far.apply(np.zeros((1, *film.positions[5].shape)))).max() == 0.0


def test_particles_beyond_the_mesh_move_nothing():
    film, asset = painted()
    term = PhotometricTerm(film.capture, asset, "front")
    more = np.concatenate([film.positions[5], np.zeros((4, 3))])
    linear = term.linearise(5, more)
    way = np.zeros((1, *more.shape))
    way[:, -4:] = 1.0
    assert np.abs(linear.apply(way)).max() == 0.0
    assert linear.pull(linear.residuals)[-4:].any() == False  # noqa: E712
    np.testing.assert_array_equal(linear.residuals, term.linearise(5, film.positions[5]).residuals)


def test_without_a_mask_what_splats_cover_counts():
    film, asset = painted()
    term = PhotometricTerm(replace(film.capture, mask={}), asset, "front")
    x = film.positions[8]
    linear = term.linearise(8, x)
    assert len(linear.residuals) == 3 * term.camera.width * term.camera.height
    costs = [term.linearise(8, x + [s, 0.0, 0.0]).cost(term.sigma) for s in (-2e-3, 0.0, 2e-3)]
    assert np.argmin(costs) == 1


def test_wrong_pixels_pull_less_the_farther_they_are_off():
    film, asset = painted()
    term = PhotometricTerm(film.capture, asset, "front", sigma=0.01)
    linear = term.linearise(8, film.positions[8])
    order = np.argsort(np.abs(linear.residuals))
    assert (np.diff(linear.weights[order]) <= 1e-12).all()
    assert linear.weights.min() < 0.5 < linear.weights.max()


def test_what_cannot_be_a_term_is_refused():
    film, asset = painted()
    with pytest.raises(InputError, match="camera 'back'"):
        PhotometricTerm(film.capture, asset, "back")
    with pytest.raises(InputError, match="no splats"):
        PhotometricTerm(film.capture, Asset("beam", film.mesh), "front")
    with pytest.raises(InputError, match="sigma"):
        PhotometricTerm(film.capture, asset, "front", sigma=0.0)
    empty = replace(film.capture, mask={"front": [np.zeros((120, 160), bool)] * 24})
    with pytest.raises(InputError, match="shows the body"):
        PhotometricTerm(empty, asset, "front")


@pytest.mark.slow
def test_stiffness_is_found_from_pixels_alone():
    """The look comes from the first picture, in which the beam has its rest shape; from there on only pixels are looked at.

    The start is a quarter too soft: pixels tell which way to go within a square of the pattern only.
    """
    film = beam()
    look = fit_look(film.capture, film.mesh, {0: film.positions[0]}, splats=800, iterations=200)
    asset = with_look(Asset("beam", film.mesh, film.material), look)
    scene = TwinScene(film.capture, reconstruct(film.capture), material(young=4.5e4))
    n = len(scene.state().x.numpy().reshape(-1, 3))
    start = Start(scene.spread(film.mesh.points), np.zeros((n, 3)), 0.0, False, np.zeros((0, n, 3)))
    term = PhotometricTerm(film.capture, asset, "front", frames=range(1, 16), side=48)
    fit = identify_twin(scene, [term], ["young", "viscosity"], start=start, starts=(1.0,), ways=0)
    print(fit.statement)
    assert fit.values["young"] == pytest.approx(YOUNG, rel=0.05)
