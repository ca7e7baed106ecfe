"""Solvers: implicit steps, static equilibrium, explicit steps."""

from physsim.physics.solvers.explicit import SolverExplicit
from physsim.physics.solvers.implicit import SolverImplicit
from physsim.physics.solvers.newton import StepReport
from physsim.physics.solvers.static import SolverStatic, solve_equilibrium

__all__ = ["SolverExplicit", "SolverImplicit", "SolverStatic", "StepReport", "solve_equilibrium"]
