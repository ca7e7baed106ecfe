"""Many small environments on one device: how many steps of them a second it takes."""

import time

import numpy as np
import warp as wp

import physsim as ps
from physsim.bench import scenes

COUNTS = (1, 64, 4096)
"""Environments of the rows."""

WARM_STEPS = 5
"""Steps before the clock starts: kernels are loaded, both schemes have run, and graphs are captured."""


def nets(device: str, envs: int, side: int = 8, dtype: str = "float32") -> tuple[ps.Model, ps.State]:
    """Return a model of `envs` nets of side x side particles on two corners, and a start that differs from one to the next."""
    shape = scenes.cloth(side)
    builder = ps.ModelBuilder(gravity=(0.0, 0.0, -scenes.GRAVITY))
    spring = ps.Spring(stiffness=1.0e3 * shape.share, damping=0.01 * shape.share)
    mass = np.full(len(shape.points), scenes.CLOTH_MASS / len(shape.points))
    body = builder.add_springs(ps.SpringNet(shape.points, shape.edges), spring, mass=mass, name="net")
    builder.attach(body, shape.pins)
    model = builder.finalize(device=device, dtype=dtype, envs=envs)
    push = np.random.default_rng(1).normal(size=(envs, 1, 3)) * model.free[:, None]
    return model, model.state(velocities=0.3 * push)


def time_environments(device: str, envs: int, side: int = 8, dtype: str = "float32", steps: int = 60, loop: str = "auto") -> dict:
    """Return one row: an implicit run of `steps` steps of 1/60 s by conjugate gradient.

    Args:
        device: "cpu" or "cuda".
        envs: environments.
        side: particles along a net's edge.
        dtype: "float32" or "float64".
        steps: steps that are timed, after `WARM_STEPS`.
        loop: as `SolverImplicit`.

    Returns:
        dict with `device`, `device_name`, `envs`, `particles` (of one environment), `dtype`, `loop`, `step_s` (wall, all environments),
        `cpu_s` (of the run), `env_steps_per_s`, `iterations_per_step` (the most of any environment) and `failed` (environments).
    """
    model, state = nets(device, envs, side, dtype)
    solver = ps.SolverImplicit(model, 1 / 60, linear="cg", strict=False, loop=loop)
    for _ in range(WARM_STEPS):
        state, _report = solver.step(state)
    wp.synchronize_device(device)
    failed, iterations = np.zeros(envs, bool), 0
    start, cpu = time.perf_counter(), time.process_time()
    for _ in range(steps):
        state, report = solver.step(state)
        failed |= ~np.asarray(report.converged)
        iterations += int(np.max(report.iterations))
    wp.synchronize_device(device)
    wall = time.perf_counter() - start
    return {
        "device": device,
        "device_name": wp.get_device(device).name,
        "envs": envs,
        "particles": model.particle_count,
        "dtype": dtype,
        "loop": solver.loop,
        "step_s": wall / steps,
        "cpu_s": time.process_time() - cpu,
        "env_steps_per_s": envs * steps / wall,
        "iterations_per_step": iterations / steps,
        "failed": int(failed.sum()),
    }
