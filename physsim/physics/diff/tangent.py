"""Tangent of a simulation: how every state moves with a few directions of parameters and initial state, forwards in time.

One extra solve a step and direction with the exact Hessian. Gauss-Newton needs it: an adjoint would cost one solve a residual.
"""

import numpy as np

from physsim.physics.diff.block import BlockSolver
from physsim.physics.diff.device_exact import exact_solver
from physsim.physics.solvers.implicit import bind, targets_at


class TangentRollout:
    """Carries tangents along with an implicit solver's steps.

    Args:
        solver: SolverImplicit.
        parameters: dict name -> tangents [directions, envs, *shape]; others stand still.
        positions, velocities: tangents of the initial state, [directions, envs, n, 3], or None for zero.
        directions: their number.
        tolerance: relative residual of the linear solves.
    """

    def __init__(self, solver, parameters, directions, positions=None, velocities=None, tolerance=1e-8):
        self.solver, self.directions, self.tolerance = solver, directions, tolerance
        n, envs = solver.model.particle_count, solver.model.envs
        shape = (directions, envs, n, 3)
        self.x = np.zeros(shape) if positions is None else np.array(positions, dtype=np.float64)
        self.v = np.zeros(shape) if velocities is None else np.array(velocities, dtype=np.float64)
        self.x1, self.v1 = self.x, self.v
        self._tangents = {"gravity": np.zeros((directions, envs, 3))} | parameters
        self._bind()

    def _bind(self):
        """Take the working arrays of the solver's assembly."""
        self.assembly, directions = self.solver.assembly, self.directions
        self.assembly.set_tangents(self._tangents)
        self.exact = exact_solver(self.solver, self.tolerance)
        names = ("x", "x1", "x2", "predictor", "target", "rest")
        array = self.exact.array
        self._moved = {name: array("moved " + name, directions) for name in names}
        for value in self._moved.values():
            value.zero_()
        self._out = array("moved gradient", directions)
        self._right, self._y = array("right"), array("moved solution")
        self._block = BlockSolver.choose(self.exact, directions)

    def follow(self, before, after, targets, parameters):
        """Move the tangents from state `before` over the step that led to `after`."""
        s = self.solver.prepare(before, targets, parameters)
        if self.assembly is not self.solver.assembly:  # these parameters made the solver take double precision
            self._bind()
        a = self.assembly
        a.place(after.x)
        history = before.follows(self.solver.dt)
        old_x, old_v = (self.x1, self.v1) if history else (self.x, self.v)
        past_x = s.a * self.x + s.b * old_x
        fixed = ~a.model.free
        still = np.zeros_like(self.x)
        stay = fixed.copy()
        if targets is not None:
            stay[targets[0]] = False  # a control moves them, whatever the parameters
        still[:, :, stay] = self.x[:, :, stay]
        moved = {"x": still, "x1": self.x, "x2": old_x, "predictor": past_x + (s.a * self.v + s.b * old_v) / s.rate}
        for name, value in moved.items():
            self._moved[name].assign(value.astype(self._out.numpy().dtype))
        self.exact.at_new_point(after.cache)
        a.set_active(True)
        at_rest = [name for name in ("x", "target", "rest") if name not in moved or not moved[name].any()]
        a.tangent(self.directions, self._moved, self._out, still=at_rest)
        new = still + self._solved()
        self.v1, self.x1 = self.v, self.x
        self.v = s.rate * (new - past_x)
        self.x = new

    def _solved(self):
        """H^-1 of minus the directions' gradients, [directions, envs, n, 3]."""
        if self._block is not None:
            found = self._block.solve(-self._out.numpy().astype(np.float64))
            if found is not None:
                return found
        out = np.empty(self.x.shape)
        for d in range(self.directions):
            self.assembly.combine(self._right, -1.0, self._out[d], 0.0, self._out[d], fixed=True)
            self.exact.solve(self._right, self._y)
            out[d] = self._y.numpy()
        return out


def equilibrium_tangent(solver, state, parameters, directions, tolerance=1e-8, params=None, control=None):
    """How an equilibrium moves with parameters.

    Args:
        solver: SolverStatic that found `state`.
        state: equilibrium State.
        parameters: dict name -> tangents [directions, envs, *shape].
        directions: their number.
        tolerance: relative residual of the linear solves.
        params, control: what `solve` was called with.

    Returns:
        Tangents of the positions, [directions, envs, n, 3].
    """
    a = solver.assembly
    envs, n = a.model.envs, a.model.particle_count
    bound = bind(a.model, control)
    targets = targets_at(a.model, control, bound, state.time) if bound else None
    solver.prepare(state, targets, a.model.resolve(params))
    a.place(state.x)
    a.set_tangents({"gravity": np.zeros((directions, envs, 3))} | parameters)
    exact = exact_solver(solver, tolerance)
    exact.at_new_point(state.cache)
    zero, out = exact.array("zero", directions), exact.array("moved gradient", directions)
    right, y = exact.array("right"), exact.array("moved solution")
    a.set_active(True)
    names = ("x", "x1", "x2", "predictor", "target", "rest")
    a.tangent(directions, dict.fromkeys(names, zero), out, still=names)
    result = np.zeros((directions, envs, n, 3))
    for d in range(directions):
        a.combine(right, -1.0, out[d], 0.0, out[d], fixed=True)
        exact.solve(right, y)
        result[d] = y.numpy()
    return result


class ExplicitTangentRollout:
    """Carries tangents along with an explicit solver's steps; arguments as `TangentRollout`, no linear solve."""

    def __init__(self, solver, parameters, directions, positions=None, velocities=None):
        self.solver, self.assembly, self.directions = solver, solver.assembly, directions
        a = solver.assembly
        n, envs = a.model.particle_count, a.model.envs
        shape = (directions, envs, n, 3)
        self.x = np.zeros(shape) if positions is None else np.array(positions, dtype=np.float64)
        self.v = np.zeros(shape) if velocities is None else np.array(velocities, dtype=np.float64)
        self._old_x = None
        a.set_tangents({"gravity": np.zeros((directions, envs, 3))} | parameters)
        self._mass = a.column_tangents("inertia")[..., :1]
        names = ("x", "x1", "x2", "predictor", "target", "rest")
        self._moved = {name: a.vectors((directions, envs, n)) for name in names}
        self._out = a.vectors((directions, envs, n))

    def follow(self, before, after, targets, parameters):
        """Move the tangents from state `before` over one step."""
        a, h = self.assembly, self.solver.dt
        self.solver.prepare(before, targets, parameters)
        old = self._old_x if before.follows(h) and self._old_x is not None else self.x - h * self.v
        for name, value in {"x": self.x, "x1": old, "x2": old, "predictor": self.x}.items():
            self._moved[name].assign(value.astype(self._out.numpy().dtype))
        a.evaluate()
        a.tangent(self.directions, self._moved, self._out, still=("target", "rest"))
        mass = self.solver.masses(parameters)[..., None]
        pull = self._out.numpy() / mass - self._mass * (a.gradient.numpy() / mass**2)
        v = self.v - h * pull
        x = self.x + h * v
        fixed = ~a.model.free
        driven = np.zeros(len(fixed), bool)
        if targets is not None:
            driven[targets[0]] = True  # a control moves them, whatever the parameters
        x[:, :, fixed] = np.where(driven[fixed, None], 0.0, self.x[:, :, fixed])
        v[:, :, fixed] = (x[:, :, fixed] - self.x[:, :, fixed]) / h
        self._old_x, self.x, self.v = self.x, x, v
