"""What a law declares: its stencil, its named parameters with units, and what it measures against.

A new law is a file in `physsim.kernels.laws` and one declaration here.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import warp as wp

from physsim.kernels.elements import element_kernels, stress_kernel
from physsim.kernels.exact_tangent import exact_tangent_kernel
from physsim.kernels.laws.bending import bending
from physsim.kernels.laws.contact import contact
from physsim.kernels.laws.drive import drive
from physsim.kernels.laws.inertia import inertia
from physsim.kernels.laws.load import load
from physsim.kernels.laws.membrane import membrane
from physsim.kernels.laws.neo_hookean import neo_hookean
from physsim.kernels.laws.pin import pin
from physsim.kernels.laws.point_shape import point_shape
from physsim.kernels.laws.rigid import rigid
from physsim.kernels.laws.rod import rod
from physsim.kernels.laws.rolling import rolling
from physsim.kernels.laws.seam import seam
from physsim.kernels.laws.spring import spring
from physsim.kernels.laws.tendon import tendon
from physsim.kernels.laws.tether import tether
from physsim.kernels.laws.viscous import viscous

SCALARS = {"float32": wp.float32, "float64": wp.float64}


@dataclass(frozen=True)
class LawParameter:
    """One named parameter of a law: unit and the open or closed range it may lie in."""

    name: str
    unit: str
    lower: float | None = None
    upper: float | None = None
    lower_open: bool = False
    upper_open: bool = False
    affine: bool = True  # whether the gradient is affine in it


@dataclass(frozen=True)
class Law:
    """Declaration of a law.

    Args:
        name: unique, also what errors call it.
        points: stencil size.
        parameters: in the order in which the kernels read them.
        factory: called with the scalar type; gives the Warp functions (see `physsim.kernels.laws`).
        reference: "rest", "target" or "predictor".
        history: whether the gradient depends on the two old states.
        rates: parameters that multiply rates; where all are zero, a run needs no old states.
        buckles: of thin things, whose matrix changes from one iteration to the next, so that a kept factor does not serve.
        constant: whether the matrix is the same wherever the points are.
        exact_tangent: of laws that change over lengths far below their stencil's size, where differences do not serve.
    """

    name: str
    points: int
    parameters: tuple[LawParameter, ...]
    factory: Callable
    reference: str = "rest"
    history: bool = False
    rates: tuple[str, ...] = ()
    buckles: bool = False
    constant: bool = False
    exact_tangent: bool = False

    def column(self, name):
        """Place of a parameter in the law's order."""
        return [p.name for p in self.parameters].index(name)

    @cache  # noqa: B019 - laws are module-level constants
    def kernels(self, dtype, block_dtype):
        """Element kernels for a pair of scalar types given by name; compiled by Warp when first launched."""
        real, block_real = SCALARS[dtype], SCALARS[block_dtype]
        curved = tuple(None if p.affine else (p.lower, p.upper) for p in self.parameters)
        kernels = element_kernels(self.functions(dtype), self.points, len(self.parameters), curved, real, block_real)
        if self.exact_tangent:
            kernels["tangent"] = exact_tangent_kernel(self.functions(dtype), self.points, len(self.parameters), real)
        return kernels

    @cache  # noqa: B019
    def functions(self, dtype):
        """The law's Warp functions for a scalar type."""
        return self.factory(SCALARS[dtype])

    @cache  # noqa: B019
    def stress_kernel(self, dtype):
        """Kernel of the mean Cauchy stress, or None where the law has no stress."""
        functions = self.functions(dtype)
        if len(functions) < 4:
            return None
        return stress_kernel(functions[3], self.points, len(self.parameters), SCALARS[dtype])


def _positive(name, unit, affine=True):
    return LawParameter(name, unit, lower=0.0, lower_open=True, affine=affine)


def _not_negative(name, unit, affine=True):
    return LawParameter(name, unit, lower=0.0, affine=affine)


_POISSON = LawParameter("poisson", "-", lower=-1.0, upper=0.5, lower_open=True, upper_open=True, affine=False)
_INERTIA = (_not_negative("mass", "kg"), _not_negative("mass_damping", "1/s")) + tuple(
    LawParameter(f"gravity_{axis}", "m/s^2") for axis in "xyz"
)
_LOAD = tuple(LawParameter(f"force_{axis}", "N") for axis in "xyz")
_SPRING = (_not_negative("stiffness", "N/m"), _positive("rest_length", "m"), _not_negative("damping", "N s/m"))
_SOLID = (_positive("young", "Pa"), _POISSON)
_VISCOUS = (_not_negative("viscosity", "Pa s"),)
_ROD = (
    *(_not_negative(name, "N m^2") for name in ("bending_1", "bending_2", "torsion")),
    _not_negative("damping", "N m^2 s"),
    *(LawParameter(name, "1/m") for name in ("rest_curvature_1", "rest_curvature_2", "rest_twist")),
)
_SHEET_POISSON = LawParameter("poisson", "-", lower=-1.0, upper=1.0, lower_open=True, upper_open=True, affine=False)
_ANGLE = LawParameter("angle", "rad", affine=False)
_MEMBRANE = (
    _positive("stretch_warp", "N/m", affine=False),
    _positive("stretch_weft", "N/m", affine=False),
    _SHEET_POISSON,
    _not_negative("shear", "N/m", affine=False),
    _ANGLE,
    _not_negative("damping", "N s/m"),
)
_BENDING = (
    _positive("bending_warp", "N m", affine=False),
    _positive("bending_weft", "N m", affine=False),
    _SHEET_POISSON,
    _ANGLE,
    _not_negative("damping", "N m s"),
)
_CONTACT = (
    _not_negative("strength", "N"),
    _positive("gap", "m", affine=False),
    _not_negative("offset", "m", affine=False),
    _not_negative("friction", "-"),
    _not_negative("damping", "N s/m"),
    _positive("creep", "m/s", affine=False),
)
_SHAPE = (
    LawParameter("kind", "-", lower=0.0, upper=4.0, affine=False),
    *(_not_negative(f"size_{axis}", "m", affine=False) for axis in "xyz"),
)
_ARM = (
    *(LawParameter(name, "m", affine=False) for name in ("begin", "end")),
    _not_negative("radius", "m", affine=False),
    *(LawParameter(name, "m", affine=False) for name in ("other_begin", "other_end")),
    LawParameter("meeting", "-", lower=0.0, upper=3.0, affine=False),
)
_PIN = (_not_negative("stiffness", "N/m"), *(LawParameter(f"share_{k}", "-", affine=False) for k in (1, 2, 3)))
_DRIVE = (
    *(
        LawParameter(f"k_{i}{j}", "N/m" if i < 3 else "N" if j < 3 else "N m", lower=0.0 if i == j else None)
        for i in range(6)
        for j in range(i + 1)
    ),
    _not_negative("stiffness", "N/m"),
)

INERTIA = Law("inertia", 1, _INERTIA, inertia, reference="predictor", history=True, rates=("mass_damping",), constant=True)
LOAD = Law("load", 1, _LOAD, load, constant=True)
TETHER = Law("tether", 1, (_not_negative("stiffness", "N/m"),), tether, reference="target", constant=True)
SPRING = Law("spring", 2, _SPRING, spring, history=True, rates=("damping",), buckles=True)
ROD = Law("rod", 5, _ROD, rod, history=True, rates=("damping",))
NEO_HOOKEAN = {n: Law(f"neo_hookean_{n}", n, _SOLID, lambda real, n=n: neo_hookean(real, n)) for n in (4, 10)}
VISCOUS = {n: Law(f"viscous_{n}", n, _VISCOUS, lambda real, n=n: viscous(real, n), history=True, rates=("viscosity",)) for n in (4, 10)}
MEMBRANE = Law("membrane", 3, _MEMBRANE, membrane, history=True, rates=("damping",), buckles=True)
BENDING = Law("bending", 6, _BENDING, bending, history=True, rates=("damping",), buckles=True)
SEAM = Law("seam", 2, (_not_negative("stiffness", "N/m"),), seam, constant=True)
PIN = Law("pin", 5, _PIN, pin, constant=True)
TENDON = Law("tendon", 8, (_not_negative("stiffness", "N/m"), _positive("rest_length", "m", False), _positive("onset", "m", False)), tendon)
DRIVE = Law("drive", 4, _DRIVE, drive, reference="target", constant=True)
RIGID = Law("rigid", 4, (_positive("young", "Pa"),), rigid)

_TOUCH = {"history": True, "rates": ("friction", "damping"), "exact_tangent": True}
POINT_TRIANGLE = Law("contact_point_triangle", 4, _CONTACT, lambda real: contact(real, "point_triangle"), **_TOUCH)
EDGE_EDGE = Law("contact_edge_edge", 4, _CONTACT, lambda real: contact(real, "edge_edge"), **_TOUCH)
POINT_SHAPE = Law("point_shape", 5, _CONTACT + _SHAPE, point_shape, **_TOUCH)
ROLLING = Law("rolling", 8, _CONTACT + _SHAPE + _ARM, rolling, **_TOUCH)  # friction of the others' pairs

CONTACT = (POINT_TRIANGLE, EDGE_EDGE, POINT_SHAPE)
ALL = (
    INERTIA,
    LOAD,
    TETHER,
    DRIVE,
    PIN,
    TENDON,
    RIGID,
    SPRING,
    MEMBRANE,
    BENDING,
    SEAM,
    ROD,
    *NEO_HOOKEAN.values(),
    *VISCOUS.values(),
    *CONTACT,
    ROLLING,
)
