"""Time integrators as data: what each supplies to the incremental potential.

A step of size h from (x, v) with older (x1, v1) minimises Phi with the rate r = 1 / h_e and

    past(q)   = a q + b q1                                            (x_n and x_{n-1} at the start of the step)
    predictor = past(x) + past(v) / r,      v' = r (x' - past(x))

Backward Euler: r = 1/h, (a, b) = (1, 0). BDF2: r = 3/(2h), (a, b) = (4/3, -1/3). A first step has no history and is backward
Euler. A rigid body that spins freely at w loses the share (w h)^2 of its spin in a step of backward Euler, next to none in one of BDF2.
Source: Hairer and Wanner, Solving Ordinary Differential Equations II, section III.1.
"""

from dataclasses import dataclass

from physsim.errors import InputError


@dataclass(frozen=True)
class Scheme:
    """Coefficients of one step."""

    rate: float  # r [1/s]
    a: float
    b: float


INTEGRATORS = ("bdf2", "backward_euler")


def scheme(integrator, dt, has_history):
    """Coefficients of a step.

    Args:
        integrator: "bdf2" or "backward_euler".
        dt: h [s].
        has_history: whether the state knows (x1, v1).
    """
    if integrator == "bdf2" and has_history:
        return Scheme(1.5 / dt, 4.0 / 3.0, -1.0 / 3.0)
    return Scheme(1.0 / dt, 1.0, 0.0)


def check_integrator(name):
    """Raise an InputError for an unknown integrator."""
    if name not in INTEGRATORS:
        raise InputError(f"integrator = {name!r}: allowed are {', '.join(INTEGRATORS)}")
    return name
