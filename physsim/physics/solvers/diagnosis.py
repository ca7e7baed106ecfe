"""What went wrong where: the law and the particle that an error names."""

import numpy as np
import warp as wp

from physsim.errors import SolverError


def describe(assembly, env):
    """One line on the worst particle of an environment and the law that acts on it.

    Args:
        assembly: Assembly with shares of the last evaluation.
        env: environment.
    """
    shares = assembly.shares.numpy()[env]
    model = assembly.model
    x = assembly.x.numpy()[env]
    for i, block in enumerate(model.blocks):
        part = shares[assembly.share_offsets[i] : assembly.share_offsets[i + 1]]
        bad = ~np.isfinite(part).all(axis=1)
        if bad.any():
            solved = bad & model.free[block.stencil.ravel()]  # a held particle only shows what its neighbours do
            particle = int(block.stencil.ravel()[np.argmax(solved if solved.any() else bad)])
            return f"law {block.law.name!r} is not finite at particle {_name(model, particle)}, x = {x[particle].tolist()}"
    gradient = np.where(model.free[:, None], assembly.gradient.numpy()[env], 0.0)
    particle = int(np.linalg.norm(gradient, axis=1).argmax())
    largest, law = -1.0, ""
    for i, block in enumerate(model.blocks):
        part = shares[assembly.share_offsets[i] : assembly.share_offsets[i + 1]].reshape(*block.stencil.shape, 3)
        here = np.linalg.norm(part[block.stencil == particle], axis=1).max(initial=0.0)
        if here > largest:
            largest, law = here, block.law.name
    if assembly.contact is not None:
        here = np.linalg.norm(assembly.contact.forces()[env, particle])
        largest, law = max((largest, law), (float(here), "contact"))
    return (
        f"particle {_name(model, particle)} is out of balance by {np.linalg.norm(gradient[particle]):.3g} N; "
        f"the largest force on it is of law {law!r}, {largest:.3g} N"
    )


def _name(model, particle):
    for body in model.bodies.values():
        if body.particles[0] <= particle <= body.particles[-1]:
            return f"{particle - int(body.particles[0])} of body {body.name!r}"
    return str(particle)


def raise_failure(assembly, failed, what, remedy):
    """Raise a SolverError for the first failed environment."""
    env = int(np.flatnonzero(failed)[0])
    where = f" (environment {env} of {assembly.model.envs})" if assembly.model.batched else ""
    raise SolverError(f"{what}{where}: {describe(assembly, env)}. {remedy}")


def default_tolerance(model):
    """Residual [N] that is small beside the weights: 1e-5 of the mean particle's, or of its mass times 1 m/s^2 without gravity."""
    columns = model.parameters.columns(model.column_shapes)["inertia"]
    gravity = np.linalg.norm(columns[:, :, 2:5], axis=-1)
    force = columns[:, :, 0] * np.where(gravity > 0, gravity, 1.0)
    floor = 1e-9 if model.dtype == "float32" else 0.0
    return max(1e-5 * float(force.mean()), floor)


def rounding_force(assembly):
    """Force [N] that float32 rounding of positions leaves on the stiffest particle: eps * stiffness at rest * extent."""
    return 1.2e-7 * _stiffest(assembly) * extent(assembly.model)


def stiffness_contrast(assembly, rate):
    """Stiffness at rest of the stiffest particle over the inertia of the lightest free one, its mass times `rate`^2 [1/s^2]."""
    free = assembly.model.free
    lightest = float(assembly.particle_masses()[:, free].min()) if free.any() else np.inf
    return _stiffest(assembly) / (lightest * rate**2) if lightest > 0 else np.inf


def _stiffest(assembly):
    """Largest mean diagonal entry of a particle's block at rest [N/m]."""
    a = assembly
    step = a.step
    a.set_active(True)
    a.set_step(0.0, 1.0, 0.0)
    wp.copy(a.x, a.rest)
    a.set_project(True)
    a.assemble()
    diagonal = a.values.numpy()[:, : a.model.particle_count]
    stiffness = float((diagonal[:, :, 0, 0] + diagonal[:, :, 1, 1] + diagonal[:, :, 2, 2]).max()) / 3.0
    a.set_step(*step)
    return stiffness


def extent(model):
    """Diagonal of the box of all particles where the scene begins, and of the origin, from which coordinates are rounded [m]."""
    return float(np.linalg.norm(np.maximum(model.positions.max(axis=0), 0.0) - np.minimum(model.positions.min(axis=0), 0.0)))
