"""Two grippers shake a cable; markers on it are filmed, its bending is fitted, and another shake is predicted.

The film is a simulation with half a millimetre of noise. Both ends are driven as poses: position and turn. Motion tells bending and
damping per mass only; the cable was weighed.
"""

import numpy as np
from scipy.spatial.transform import Rotation

import physsim as ps

LENGTH, MARKERS = 1.0, 11
RATE, SECONDS, DT = 100.0, 1.0, 1 / 200
LINE_DENSITY, BENDING, DAMPING = 0.05, 2e-3, 3e-5  # [kg/m], [N m^2], [N m^2 s]


def build():
    """(model, body, attachments): a cable between two clamps, 9 edges between two markers."""
    piece = LENGTH / (MARKERS - 1)
    curve = ps.Curve.straight((0, 0, 0), (LENGTH - 2 * piece, 0, 0), 9 * (MARKERS - 3), grips=(0, -1))
    builder = ps.ModelBuilder()
    material = ps.Rod(stretch=500.0, bending=BENDING, line_density=LINE_DENSITY, stretch_damping=1.0, bending_damping=DAMPING)
    body = builder.add_rod(curve, material, name="cable")
    ends = [builder.attach(body, body.mesh.end(end), name=name) for end, name in ((0, "left"), (-1, "right"))]
    return builder.finalize(), body, ends


def film(seed):
    """CableRecording of a shake."""
    model, body, ends = build()
    rng = np.random.default_rng(seed)
    curve = body.mesh
    times = np.arange(0.0, SECONDS + 2 * DT, DT)
    shake = (1 - np.cos(2 * np.pi * times))[:, None] * rng.normal(size=(2, 1, 3))
    poses = {}
    for end, place, moved in zip(ends, ([0.0, 0, 0], [0.6, 0, 0]), shake, strict=True):
        turns = Rotation.from_rotvec(0.15 * moved * [0, 1, 1]).as_quat()[:, [3, 0, 1, 2]]  # about y and z: across the cable
        poses[end] = (place + 0.05 * moved, turns)
    control = ps.Control.from_poses(model, times, poses)

    s = np.clip(curve.arc / curve.arc[-2], -1, 2)
    sag = np.stack([0.6 * s, 0 * s, -0.2 * np.sin(np.pi * np.clip(s, 0, 1)) ** 2], axis=1)
    hanging, _ = ps.solve_equilibrium(model, model.state(curve.posed(sag)), control)
    frames = np.arange(int(SECONDS * RATE) + 1) / RATE
    points = ps.simulate(ps.SolverImplicit(model, DT), hanging, control, times=frames).positions.numpy()

    markers = np.empty((len(frames), MARKERS, 3))
    nodes, weights = curve.interpolation(np.linspace(0, curve.arc[-2], MARKERS - 2))
    markers[:, 1:-1] = np.einsum("pk,fpkc->fpc", weights, points[:, nodes])
    n = curve.point_count
    for marker, (inner, outer) in {0: (1, 0), -1: (n - 2, n - 1)}.items():  # these sit on the grippers, beyond the free cable
        away = points[:, outer] - points[:, inner]
        markers[:, marker] = points[:, inner] + LENGTH / (MARKERS - 1) * away / np.linalg.norm(away, axis=1)[:, None]
    return ps.CableRecording(frames, markers + 5e-4 * rng.normal(size=markers.shape), noise=5e-4)


def main():
    """Fitted bending stiffness over the true one."""
    fit = ps.fit_cable(film(seed=1), line_density=LINE_DENSITY, bending=0.01, dt=1 / 100)
    print(fit.statement())
    other = fit.predict(film(seed=2))
    print(f"another shake is predicted to {1e3 * other.error:.1f} mm of mean distance")
    print(f"without physics: {1e3 * other.held:.1f} mm for a cable that stays, {1e3 * other.carried:.1f} mm carried along")
    return fit.material()["bending"][0] / BENDING


if __name__ == "__main__":
    main()
