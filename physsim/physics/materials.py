"""Materials as value objects in SI units."""

from dataclasses import dataclass

import numpy as np

from physsim.physics import validation


@dataclass(frozen=True)
class NeoHookean:
    """Stable neo-Hookean solid with Kelvin-Voigt viscosity.

    Args:
        young: Young's modulus [Pa], scalar or one a tetrahedron; above 0.
        poisson: Poisson's ratio [-], scalar or one a tetrahedron; in (-1, 0.5), 0.499 for rubber.
        density: mass density [kg/m^3], scalar or one a tetrahedron; above 0.
        viscosity: shear viscosity eta [Pa s]; a mode of angular frequency w decays with the ratio eta w (1 + nu) / E.
            Zero leaves the law out, so that it cannot be learnt.
        mass_damping: alpha [1/s]; damps rigid motion too.

    Raises:
        InputError: a value out of its range.
    """

    young: object
    poisson: object = 0.4
    density: object = 1000.0
    viscosity: object = 0.0
    mass_damping: float = 0.0

    def __post_init__(self):
        check = _field_check("NeoHookean")
        check("young", self.young, lower=0.0, lower_open=True)
        check("poisson", self.poisson, lower=-1.0, upper=0.5, lower_open=True, upper_open=True)
        check("density", self.density, lower=0.0, lower_open=True)
        check("viscosity", self.viscosity, lower=0.0)
        validation.array("NeoHookean.mass_damping", self.mass_damping, (), lower=0.0)


@dataclass(frozen=True)
class Spring:
    """Damped linear springs.

    Args:
        stiffness: k [N/m], scalar or one a spring; 0 or more.
        damping: c [N s/m] on the change of length, scalar or one a spring; 0 or more.

    Raises:
        InputError: a value out of its range.
    """

    stiffness: object
    damping: object = 0.0

    def __post_init__(self):
        check = _field_check("Spring")
        check("stiffness", self.stiffness, lower=0.0)
        check("damping", self.damping, lower=0.0)


def _field_check(owner):
    def check(name, value, **bounds):
        scalar = np.ndim(value) == 0 if not hasattr(value, "detach") else value.ndim == 0
        validation.array(f"{owner}.{name}", value, () if scalar else (None,), **bounds)

    return check
