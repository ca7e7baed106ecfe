class SolverExplicit: pass
