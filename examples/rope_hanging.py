"""A rope hangs between two nails: from a slack pose to its equilibrium, against the catenary; then a cable that resists bending.

A rope is a rod without bending stiffness. Flat and straight it would not know which way to give; a start that sags tells it.
"""

import numpy as np
from scipy.optimize import brentq

import physsim as ps

LENGTH, SPAN = 1.2, 1.0  # [m]
WEIGHT = 0.5  # [N/m]
EDGES = 60


def hang(material, grips=()):
    """Lowest point [m] of a rope or cable between two points at height 0."""
    curve = ps.Curve.straight((0, 0, 0), (LENGTH, 0, 0), EDGES, grips=grips)
    s = curve.arc / LENGTH
    slack = np.sqrt(LENGTH**2 - SPAN**2) / 2
    pose = np.stack([SPAN * s, 0 * s, -slack * np.clip(1 - np.abs(2 * s - 1), 0, None)], axis=1)
    builder = ps.ModelBuilder(gravity=(0.0, 0.0, -9.81))
    body = builder.add_rod(curve, material, pose=pose)
    n = curve.point_count
    if grips:  # held as poses, level: two points and a director at each end
        first, last = (builder.attach(body, body.mesh.end(end)) for end in grips)
        model = builder.finalize()
        level = [[1.0, 0.0, 0.0, 0.0]]
        control = ps.Control.from_poses(model, [0.0], {first: ([[0.0, 0, 0]], level), last: ([[SPAN, 0, 0]], level)})
    else:
        builder.attach(body, [0, n - 1])
        model, control = builder.finalize(), None
    state, report = ps.solve_equilibrium(model, control=control)
    print(f"  {report.iterations} Newton iterations, residual {report.residual:.1e} N")
    return state.positions[:n, 2].min()


def main():
    """Sag of the rope over that of the catenary."""
    a = brentq(lambda a: np.sinh(SPAN / 2 / a) - LENGTH / 2 / a, 0.1, 10.0)
    catenary = a * (np.cosh(SPAN / 2 / a) - 1)
    print("rope")
    rope = -hang(ps.Rod(stretch=1e4, line_density=WEIGHT / 9.81))
    print(f"sag {1e3 * rope:.2f} mm, catenary {1e3 * catenary:.2f} mm")
    print("cable, clamped level at both ends")
    cable = -hang(ps.Rod(stretch=1e4, bending=0.005, line_density=WEIGHT / 9.81), grips=(0, -1))
    print(f"sag {1e3 * cable:.2f} mm with a bending stiffness of 0.005 N m^2")
    return rope / catenary


if __name__ == "__main__":
    main()
