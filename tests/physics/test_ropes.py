"""Ropes against catenaries, computed from their equations."""

import numpy as np
import pytest
from scipy.optimize import brentq

import physsim as ps


def chain(count, stretch, length=1.2, span=1.0, weight=0.5):
    """(sag, horizontal force) of a rope between two points at one height."""
    x = np.linspace(0, 1, count + 1)
    slack = np.sqrt(length**2 - span**2) / 2
    pose = np.stack([span * x, 0 * x, -slack * (1 - np.abs(2 * x - 1))], axis=1)
    curve = ps.Curve.straight((0, 0, 0), (length, 0, 0), count)
    builder = ps.ModelBuilder()
    body = builder.add_rod(curve, ps.Rod(stretch=stretch, line_density=weight / 9.81), pose=pose)
    builder.attach(body, [0, count])
    model = builder.finalize()
    state, report = ps.solve_equilibrium(model, tolerance=1e-7)
    assert report.converged
    return -state.positions[:, 2].min(), abs(ps.Probe(model).forces(state)[0, 0])


def test_hanging_chain_is_the_catenary():
    """Length 1.2 m, span 1 m, weight 0.5 N/m: a = H / w from sinh(span / 2a) = length / 2a, sag = a (cosh(span / 2a) - 1)."""
    a = brentq(lambda a: np.sinh(0.5 / a) - 0.6 / a, 0.1, 10.0)
    sag, force = chain(100, stretch=1e4)
    assert sag == pytest.approx(a * (np.cosh(0.5 / a) - 1), rel=5e-3)
    assert force == pytest.approx(0.5 * a, rel=5e-3)


def test_hanging_elastic_chain():
    """E A = 20 N: an unstretched length s from the middle has (H s / E A + H / w arsinh(w s / H), w s^2 / (2 E A) + (T - H) / w).

    Irvine, Cable Structures, 1981, section 1.3; T = hypot(H, w s), and s = 0.6 m lies at half the span.
    """
    stretch, weight, half = 20.0, 0.5, 0.6
    pull = brentq(lambda h: h * half / stretch + h / weight * np.arcsinh(weight * half / h) - 0.5, 1e-3, 10.0)
    sag, force = chain(100, stretch=stretch)
    assert sag == pytest.approx(weight * half**2 / (2 * stretch) + (np.hypot(pull, weight * half) - pull) / weight, rel=5e-3)
    assert force == pytest.approx(pull, rel=5e-3)


@pytest.mark.parametrize("count", [10, 20, 50])
def test_chain_of_beads(count):
    """Rigid links with their weight at the joints: link k leans by V_k / H, where V falls by one joint's weight from link to link."""
    link = 1.2 / count
    upright = 0.5 * link * ((count - 1) / 2 - np.arange(count))
    pull = brentq(lambda h: (link * h / np.hypot(h, upright)).sum() - 1.0, 1e-3, 10.0)
    sag = np.cumsum(link * upright / np.hypot(pull, upright)).max()
    np.testing.assert_allclose(chain(count, stretch=1e6), (sag, pull), rtol=1e-3)


def test_rope_has_no_directors():
    builder = ps.ModelBuilder()
    body = builder.add_rod(ps.Curve.straight((0, 0, 0), (1, 0, 0), 10), ps.Rod(stretch=100.0, line_density=0.1))
    assert len(body.particles) == 11
    assert {b.law.name for b in builder.finalize().blocks} == {"inertia", "spring"}
