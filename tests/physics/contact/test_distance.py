"""Distances between features, against minimisers that try everything, and against closed forms."""

import numpy as np
import pytest
import warp as wp
from scipy.optimize import lsq_linear
from scipy.spatial import cKDTree

from physsim.kernels.contact.distance import (
    edge_edge_coefficients,
    point_triangle_coefficients,
    shape_distance,
    shape_gradient,
    shape_hessian,
)

PAIRS = ("point_triangle", "edge_edge")
KINDS = ("plane", "sphere", "box", "capsule", "cylinder")


@wp.kernel(enable_backward=False)
def point_triangle(x: wp.array2d(dtype=wp.vec3d), c_out: wp.array(dtype=wp.vec4d)):
    i = wp.tid()
    c_out[i] = point_triangle_coefficients(x[i, 0], x[i, 1], x[i, 2], x[i, 3])


@wp.kernel(enable_backward=False)
def edge_edge(x: wp.array2d(dtype=wp.vec3d), c_out: wp.array(dtype=wp.vec4d)):
    i = wp.tid()
    c_out[i] = edge_edge_coefficients(x[i, 0], x[i, 1], x[i, 2], x[i, 3])


@wp.kernel(enable_backward=False)
def shape(
    kind: wp.array(dtype=int),
    size: wp.array(dtype=wp.vec3d),
    X: wp.array(dtype=wp.vec3d),
    d_out: wp.array(dtype=wp.float64),
    g_out: wp.array(dtype=wp.vec3d),
    H_out: wp.array(dtype=wp.mat33d),
):
    i = wp.tid()
    d_out[i] = shape_distance(kind[i], size[i], X[i])
    g_out[i] = shape_gradient(kind[i], size[i], X[i])
    H_out[i] = shape_hessian(kind[i], size[i], X[i])


def coefficients(pair, x):
    """Coefficients [n, 4] of stencils [n, 4, 3]."""
    out = wp.zeros(len(x), dtype=wp.vec4d, device="cpu")
    kernel = point_triangle if pair == "point_triangle" else edge_edge
    wp.launch(kernel, len(x), [wp.array(x, dtype=wp.vec3d, device="cpu")], [out], device="cpu")
    return out.numpy()


def least_distance(pair, x):
    """Edges: least squares with bounds. Triangle: least squares over its plane where that falls inside, else the nearest of its edges."""
    if pair == "edge_edge":
        A = np.stack([x[1] - x[0], -(x[3] - x[2])], axis=1)
        return np.sqrt(2 * lsq_linear(A, x[2] - x[0], bounds=(0, 1), tol=1e-15, method="bvls").cost)
    u, v, w = x[2] - x[1], x[3] - x[1], x[0] - x[1]
    candidates = []
    inside, *_ = np.linalg.lstsq(np.stack([u, v], axis=1), w, rcond=None)
    if inside.min() >= 0 and inside.sum() <= 1:
        candidates.append(np.linalg.norm(w - inside @ [u, v]))
    for a, b in ((1, 2), (2, 3), (3, 1)):
        e = x[b] - x[a]
        t = np.clip(np.dot(x[0] - x[a], e) / max(np.dot(e, e), 1e-300), 0, 1)
        candidates.append(np.linalg.norm(x[0] - x[a] - t * e))
    return min(candidates)


def degenerate(x, rng):
    """Stencils with needles, double points, parallel and collinear edges, and points in a plane."""
    cases = []
    for s in x:
        a, b, c, d = s
        t = rng.uniform(-0.5, 1.5)
        cases += [
            [a, b, c, b + t * (c - b)],  # a needle
            [a, b, b, d],
            [a, b, b, b],
            [b, b, c, d],
            [b + t * (c - b), b, c, d],
            [b + 0.2 * (c - b) + 0.3 * (d - b), b, c, d],  # on the face
            [a, b, c, c + (b - a)],  # parallel
            [a, b, c, c + t * (b - a) + 1e-9 * (d - a)],
            [a, b, a + t * (b - a), a + 2 * t * (b - a)],  # collinear
            [a, a, c, d],
            [a, a, c, c],
            [a, b, a + 0.5 * (b - a), d],
        ]
    return np.array(cases)


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("draw", ["random", "degenerate"])
def test_closest_points_are_the_closest(pair, draw, rng):
    x = rng.normal(size=(300, 4, 3)) * rng.choice([1e-3, 1.0, 30.0], size=(300, 1, 1))
    if draw == "degenerate":
        x = degenerate(x[:40], rng)
    c = coefficients(pair, x)
    size = np.abs(x - x[:, :1]).max(axis=(1, 2))
    distance = np.linalg.norm(np.einsum("nv,nvi->ni", c, x), axis=1)
    expected = np.array([least_distance(pair, s) for s in x])
    assert np.abs((distance - expected) / size).max() < 1e-12
    first = 1 if pair == "point_triangle" else 2
    assert np.abs(c[:, :first].sum(axis=1) - 1).max() < 1e-14
    assert np.abs(c[:, first:].sum(axis=1) + 1).max() < 1e-14
    assert (c[:, :first] >= 0).all()
    assert (c[:, first:] <= 0).all()


def shapes_at(kind, size, X):
    """(distances, gradients, Hessians) at local coordinates [n, 3]."""
    n = len(X)
    out = [wp.zeros(n, dtype=t, device="cpu") for t in (wp.float64, wp.vec3d, wp.mat33d)]
    given = [wp.array(np.broadcast_to(kind, n).astype(np.int32), dtype=int, device="cpu")]
    given += [wp.array(np.ascontiguousarray(np.broadcast_to(a, (n, 3))), dtype=wp.vec3d, device="cpu") for a in (size, X)]
    wp.launch(shape, n, given, out, device="cpu")
    return [a.numpy() for a in out]


def surface_of(kind, size, rng, count=400_000):
    """Points spread over a shape's surface."""
    n = rng.normal(size=(count, 3))
    n /= np.linalg.norm(n, axis=1, keepdims=True)
    if kind == "sphere":
        return n * size[0]
    if kind == "box":
        points = rng.uniform(-1, 1, (count, 3))
        points[np.arange(count), rng.integers(3, size=count)] = rng.choice([-1.0, 1.0], size=count)
        return points * size
    angle, z = rng.uniform(0, 2 * np.pi, count), rng.uniform(-size[1], size[1], count)
    barrel = np.stack([size[0] * np.cos(angle), size[0] * np.sin(angle), z], axis=1)
    if kind == "capsule":
        caps = n * size[0]
        caps[:, 2] += np.sign(n[:, 2]) * size[1]
        return np.concatenate([barrel, caps])
    ends = barrel * np.stack([np.sqrt(rng.uniform(size=count))] * 2 + [np.ones(count)], axis=1)
    ends[:, 2] = np.sign(z) * size[1]
    return np.concatenate([barrel, ends])


def inside(kind, size, X):
    across = np.linalg.norm(X[:, :2], axis=1)
    return {
        "plane": X[:, 2] < 0,
        "sphere": np.linalg.norm(X, axis=1) < size[0],
        "box": (np.abs(X) < size).all(axis=1),
        "capsule": np.linalg.norm(X - np.clip(X[:, 2:], -size[1], size[1]) * [0, 0, 1], axis=1) < size[0],
        "cylinder": (across < size[0]) & (np.abs(X[:, 2]) < size[1]),
    }[kind]


@pytest.mark.parametrize("kind", ["sphere", "box", "capsule", "cylinder"])
def test_distance_to_a_shape_is_that_to_the_nearest_of_many_points_on_it(kind, rng):
    size = rng.uniform(0.5, 1.2, 3)
    X = rng.uniform(-2.5, 2.5, (2000, 3))
    nearest, _ = cKDTree(surface_of(kind, size, rng)).query(X)
    distance, *_ = shapes_at(KINDS.index(kind), size, X)
    np.testing.assert_array_equal(distance < 0, inside(kind, size, X))
    assert (nearest - np.abs(distance)).min() > -1e-12
    assert (nearest - np.abs(distance)).max() < 0.02


@pytest.mark.parametrize("kind", KINDS)
def test_derivatives_of_the_distance_to_a_shape(kind, rng):
    size = rng.uniform(0.5, 1.2, 3)
    X = rng.uniform(-2.5, 2.5, (2000, 3))
    step = 1e-5
    number = KINDS.index(kind)
    shifted = [shapes_at(number, size, X + s * step * e) for e in np.eye(3) for s in (1, -1)]
    gradient = np.stack([(shifted[2 * k][0] - shifted[2 * k + 1][0]) / (2 * step) for k in range(3)], axis=1)
    hessian = np.stack([(shifted[2 * k][1] - shifted[2 * k + 1][1]) / (2 * step) for k in range(3)], axis=2)
    _, g, H = shapes_at(number, size, X)
    smooth = np.abs(hessian).max(axis=(1, 2)) < 100  # not across an edge of the inside, where the nearest face changes
    assert smooth.mean() > 0.98
    assert np.abs(g - gradient)[smooth].max() < 1e-6
    error = np.sort(np.abs(H - hessian).max(axis=(1, 2))[smooth])
    assert error[-20] < 1e-4, "all but a few that lie within a step of where a feature ends"
    np.testing.assert_allclose(np.linalg.norm(g, axis=1), 1, atol=1e-12)
