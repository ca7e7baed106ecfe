"""Curves, their frames and interpolation."""

import numpy as np
import pytest

import physsim as ps


def helix(count, turns=2.0, radius=0.3, rise=0.1):
    t = np.linspace(0, 2 * np.pi * turns, count)
    return np.stack([radius * np.cos(t), radius * np.sin(t), rise * t], axis=1)


def test_curve_through_measured_points_is_as_long_and_evenly_cut():
    """A helix of 33 points: its length is 2 pi n sqrt(r^2 + c^2) with a rise of c a radian."""
    curve = ps.Curve.through(helix(33), 100)
    assert curve.lengths.sum() == pytest.approx(4 * np.pi * np.hypot(0.3, 0.1), rel=2e-3)
    assert np.ptp(curve.lengths) < 2e-3 * curve.lengths.mean()
    assert np.abs(np.hypot(curve.line[:, 0], curve.line[:, 1]) - 0.3).max() < 2e-3


def test_directors_follow_without_twist_at_their_distance():
    """Along a turn of a helix it turns against Frenet's frame by the total torsion, 2 pi c / sqrt(r^2 + c^2)."""
    curve = ps.Curve(helix(2001, turns=1.0))
    n = curve.point_count
    arms = curve.points[n:] - (curve.line[1:] + curve.line[:-1]) / 2
    along = np.diff(curve.line, axis=0) / curve.lengths[:, None]
    np.testing.assert_allclose(np.linalg.norm(arms, axis=1), curve.arm)
    assert np.abs((arms * along).sum(axis=1)).max() < 1e-12
    first, last = arms[0] / curve.arm, arms[-1] / curve.arm
    twist = np.arctan2(np.cross(first, last) @ along[0], first @ last)  # the first and last tangents are alike
    torsion = 2 * np.pi * 0.1 / np.hypot(0.3, 0.1)
    assert np.cos(twist + torsion) == pytest.approx(1.0, abs=1e-3)


def test_closed_curve_joins_its_frames():
    """Around a bent ring the frame comes back turned; the difference is shared by all edges."""
    t = 2 * np.pi * np.arange(80) / 80
    curve = ps.Curve(np.stack([np.cos(t), np.sin(t), 0.5 * np.sin(2 * t)], axis=1), closed=True)
    assert curve.edge_count == 80
    arms = curve.points[80:] - (curve.line + np.roll(curve.line, -1, axis=0)) / 2
    cosines = (arms * np.roll(arms, -1, axis=0)).sum(axis=1) / curve.arm**2
    assert cosines.min() > 0.98


def test_material_points_are_carried_by_cubic_weights(rng):
    curve = ps.Curve.straight((0, 0, 0), (1, 0, 0), 20, grips=(0, -1))
    arc = np.sort(rng.uniform(0, 1, 7))
    nodes, weights = curve.interpolation(arc)
    cubic = np.stack([curve.arc, curve.arc**2 - curve.arc, 3 * curve.arc**3], axis=1)
    expected = np.stack([arc, arc**2 - arc, 3 * arc**3], axis=1)
    np.testing.assert_allclose(np.einsum("pk,pkc->pc", weights, cubic[nodes]), expected, atol=1e-12)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0)
