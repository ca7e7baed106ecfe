"""One law, one file, one formula.

A law's module has one factory, called with the scalar type (and the stencil's size where the law serves several), that returns
Warp functions on one gathered stencil:

    energy(x, x1, x2, reference, p, step) -> real
    gradient(x, x1, x2, reference, p, step) -> Stencil                 (minus the force)
    hessian(x, x1, x2, reference, p, step, project) -> Hessian         (lower triangle of 3 x 3 blocks is read)

    x, x1, x2    positions [m] now and at the two states before, shape [points, 3]
    reference    what the law measures against: rest positions, targets, or the integrator's predictor, shape [points, 3]
    p            the law's parameters, in the order of its declaration
    step         (r, a, b): r = 1 / h_e [1/s], zero for statics; a past strain is a q(x1) + b q(x2), so that a rate is
                 r (q(x) - a q(x1) - b q(x2)); (1/h, 1, 0) for backward Euler, (3/(2h), 4/3, -1/3) for BDF2
    project      0: the exact matrix; 1: a positive semi-definite one near it; 2: the same, where the law can with the stresses at x1
                 in its geometric part: thin bodies are hardly stretched at the start of a step, but very much so at a trial point
"""
