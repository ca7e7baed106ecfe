"""The same beam sixteen times over, each with its own modulus, in one model.

`finalize(envs=16)` puts environments side by side: one mesh, sixteen states and parameter sets, one call a step, at work on every
core. A parameter takes a column, one row an environment. Softer beams swing slower, as the root of the modulus.
"""

import time

import numpy as np

import physsim as ps

MODULI = np.geomspace(2e5, 2e6, 16)  # [Pa]
STEPS, DT = 180, 1 / 180


def build(envs):
    """Model, body and the particles of the tip."""
    mesh = ps.box_mesh((0.3, 0.05, 0.05), (6, 1, 1), order=2)
    builder = ps.ModelBuilder(gravity=(0.0, 0.0, -1.0))
    body = builder.add_soft_body(mesh, ps.NeoHookean(young=1e5, poisson=0.4, density=1000.0), name="beam")
    builder.attach(body, np.flatnonzero(mesh.points[:, 0] == 0.0))
    return builder.finalize(envs=envs), body, np.flatnonzero(mesh.points[:, 0] == 0.3)


def swing(envs, young):
    """Height of the tip at every step, [steps, envs] or [steps]."""
    model, body, tip = build(envs)
    solver = ps.SolverImplicit(model, dt=DT)
    state, heights = model.state(), []
    for _ in range(STEPS):
        state, _ = solver.step(state, params={body.young: young})
        heights.append(state.positions[..., tip, 2].mean(axis=-1))
    return np.array(heights)


def frequency(heights):
    """Of a swing [Hz], by its crossings of the middle between highest and lowest point."""
    offset = heights - 0.5 * (heights.max() + heights.min())
    before = np.flatnonzero(offset[:-1] * offset[1:] < 0)
    crossings = before + offset[before] / (offset[before] - offset[before + 1])
    return 0.5 / (np.diff(crossings).mean() * DT)


def main():
    """Exponent of the law that the frequencies follow: 1/2 is the root."""
    start = time.perf_counter()
    together = swing(16, MODULI[:, None])
    print(f"16 beams, {STEPS} steps: {time.perf_counter() - start:.1f} s")
    start = time.perf_counter()
    alone = swing(None, MODULI[5])
    print(f" 1 beam, {STEPS} steps: {time.perf_counter() - start:.1f} s")
    print(f"largest difference of the same beam alone and among the others: {np.abs(together[:, 5] - alone).max():.1e} m")

    frequencies = np.array([frequency(heights) for heights in together.T])
    exponent, _ = np.polyfit(np.log(MODULI), np.log(frequencies), 1)
    for young, f in zip(MODULI[::5], frequencies[::5], strict=True):
        print(f"E = {young / 1e3:5.0f} kPa: {f:.3f} Hz")
    print(f"frequency goes as E^{exponent:.4f}")
    return exponent


if __name__ == "__main__":
    main()
