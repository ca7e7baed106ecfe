"""Isoparametric tetrahedra of 4 and of 10 nodes: derivatives of the shape functions at the quadrature points.

Reference coordinates (r, s, t) with barycentric l0 = 1 - r - s - t, l1 = r, l2 = s, l3 = t. Ten nodes: four corners, then the
middles of the edges 01, 12, 20, 03, 13, 23 (the order of VTK, Gmsh's `tetra10` after meshio). Quadrature: one point for four
nodes, the symmetric four-point rule of degree two for ten.
Source: Zienkiewicz, Taylor and Zhu, The Finite Element Method: Its Basis and Fundamentals, 7th ed., sections 6.3 and 6.5.
"""

import warp as wp


def tetrahedron(points, real):
    """Shape-function derivatives of a tetrahedron for one scalar type.

    Args:
        points: 4 or 10 nodes.
        real: `wp.float32` or `wp.float64`.

    Returns:
        (derivatives, quadrature_count, weight): `derivatives(q)` is a Warp function that gives dN/d(r, s, t) at point q, shape
        [points, 3]; every quadrature point has the same `weight` (a share of the reference volume 1/6).
    """
    if points == 4:
        return _linear(real), 1, real(1.0 / 6.0)
    if points == 10:
        return _quadratic(real), 4, real(1.0 / 24.0)
    raise ValueError(f"tetrahedra have 4 or 10 nodes, not {points}")


def _linear(real):
    Stencil = wp.types.matrix((4, 3), real)
    one, zero = real(1.0), real(0.0)

    @wp.func
    def derivatives(q: int) -> Stencil:
        return Stencil(-one, -one, -one, one, zero, zero, zero, one, zero, zero, zero, one)

    return derivatives


def _quadratic(real):
    Stencil = wp.types.matrix((10, 3), real)
    near, far = real(0.5854101966249685), real(0.1381966011250105)  # (5 + 3 sqrt 5)/20, (5 - sqrt 5)/20
    one, zero, four = real(1.0), real(0.0), real(4.0)

    @wp.func
    def derivatives(q: int) -> Stencil:
        l0 = wp.where(q == 0, near, far)
        l1 = wp.where(q == 1, near, far)
        l2 = wp.where(q == 2, near, far)
        l3 = wp.where(q == 3, near, far)
        corner0 = one - four * l0
        # fmt: off
        return Stencil(
            corner0, corner0, corner0,
            four * l1 - one, zero, zero,
            zero, four * l2 - one, zero,
            zero, zero, four * l3 - one,
            four * (l0 - l1), -four * l1, -four * l1,
            four * l2, four * l1, zero,
            -four * l2, four * (l0 - l2), -four * l2,
            -four * l3, -four * l3, four * (l0 - l3),
            four * l3, zero, four * l1,
            zero, four * l3, four * l2,
        )
        # fmt: on

    return derivatives
