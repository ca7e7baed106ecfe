"""A sheet bends over an edge under its own weight: Peirce's test of a fabric's bending stiffness, as laboratories do it.

A strip is pushed over the edge of a table until its tip has sunk to a plane that leaves the edge at 41.5 degrees. Half that
overhang is the bending length c, and the bending stiffness is w c^3, w the weight per area: so says the standard (ASTM D1388). Here
the sheet's stiffness is known, and the test is done in the simulation: how near does the standard come?
"""

import numpy as np

import physsim as ps

WIDTH = 0.025  # [m]
FABRIC = ps.Shell(stretch=2000.0, bending=1e-5, poisson=0.0, area_density=0.2)
CELLS = 20  # along the overhang


def sunk(overhang):
    """Angle of the chord from the edge to the tip of a strip that hangs over [degrees]."""
    cell = overhang / (CELLS - 0.5)
    # two rows of points lie on the table: the strip leaves it midway between them, which is the edge
    mesh = ps.sheet_mesh((CELLS * cell, WIDTH), (CELLS, 4), origin=(-0.5 * cell, 0.0, 0.0))
    builder = ps.ModelBuilder(gravity=(0.0, 0.0, -9.81))
    body = builder.add_cloth(mesh, FABRIC, name="strip")
    builder.attach(body, np.flatnonzero(mesh.points[:, 0] < cell))
    rest, _ = ps.solve_equilibrium(builder.finalize())
    tip = rest.positions[np.isclose(mesh.points[:, 0], overhang)].mean(axis=0)
    return np.degrees(np.arctan2(-tip[2], tip[0]))


def main():
    """Bending stiffness that the test finds, over the true one."""
    low, high = 0.02, 0.08  # [m]
    for _ in range(12):
        middle = 0.5 * (low + high)
        angle = sunk(middle)
        print(f"overhang {1e3 * middle:.2f} mm: the chord stands at {angle:.2f} degrees")
        low, high = (middle, high) if angle < 41.5 else (low, middle)
    length = 0.5 * (low + high) / 2
    found = 9.81 * FABRIC.area_density * length**3
    print(f"bending length {1e3 * length:.2f} mm, stiffness {1e6 * found:.3f} uN m; the sheet has {1e6 * FABRIC.bending:.3f} uN m")
    return found / FABRIC.bending


if __name__ == "__main__":
    main()
