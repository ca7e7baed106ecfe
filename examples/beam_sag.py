"""A clamped beam sags under its own weight: how fine a mesh does it take to agree with beam theory?

Timoshenko's beam theory gives the tip's drop under an even load q = rho g A as

    q L^4 / (8 E I)  +  q L^2 / (2 kappa G A),        I = b h^3 / 12,   kappa = 10 (1 + nu) / (12 + 11 nu)

(Euler-Bernoulli's is the first term alone). Four-node tetrahedra are far too stiff in bending; ten-node ones get there with one
element through the thickness.
"""

import numpy as np

import physsim as ps

LENGTH, WIDTH, HEIGHT = 0.4, 0.04, 0.04  # [m]
YOUNG, POISSON, DENSITY = 1e6, 0.3, 1000.0  # [Pa], [-], [kg/m^3]
GRAVITY = 0.5  # [m/s^2]: light enough for the drop to stay small, as the theory assumes


def theory():
    """Drops after Euler and Bernoulli and after Timoshenko [m]."""
    area, inertia = WIDTH * HEIGHT, WIDTH * HEIGHT**3 / 12
    load = DENSITY * GRAVITY * area
    shear = YOUNG / (2 * (1 + POISSON))
    kappa = 10 * (1 + POISSON) / (12 + 11 * POISSON)
    bending = load * LENGTH**4 / (8 * YOUNG * inertia)
    return bending, bending + load * LENGTH**2 / (2 * kappa * shear * area)


def sag(cells, order):
    """Drop of the tip in equilibrium [m] and the number of tetrahedra."""
    mesh = ps.box_mesh((LENGTH, WIDTH, HEIGHT), cells, order=order)
    builder = ps.ModelBuilder(gravity=(0.0, 0.0, -GRAVITY))
    body = builder.add_soft_body(mesh, ps.NeoHookean(YOUNG, POISSON, DENSITY))
    builder.attach(body, np.flatnonzero(mesh.points[:, 0] == 0.0))
    state, _ = ps.solve_equilibrium(builder.finalize())
    tip = np.flatnonzero(mesh.points[:, 0] == LENGTH)
    return (mesh.points - state.positions)[tip, 2].mean(), len(mesh.cells)


def main():
    """Drop on the finest mesh as a share of Timoshenko's."""
    euler, timoshenko = theory()
    print(f"Euler-Bernoulli {1e3 * euler:.3f} mm, Timoshenko {1e3 * timoshenko:.3f} mm")
    for order, cells in ((1, (10, 1, 1)), (1, (20, 2, 2)), (2, (5, 1, 1)), (2, (10, 1, 1)), (2, (20, 2, 2))):
        drop, count = sag(cells, order)
        nodes = 4 if order == 1 else 10
        print(f"{count:4d} tetrahedra of {nodes:2d} nodes: {1e3 * drop:.3f} mm, {100 * (drop / timoshenko - 1):+.1f} %")
    return drop / timoshenko


if __name__ == "__main__":
    main()
