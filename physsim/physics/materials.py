"""Materials as value objects in SI units."""

from dataclasses import dataclass

import numpy as np

from physsim.errors import InputError
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


@dataclass(frozen=True)
class Rod:
    """A rod, rope or cable: it stretches, bends and twists.

    Either from its stuff, round and solid (`young` and `radius`), or from stiffnesses as they are measured (`stretch`, `bending`).
    Values are scalars or one an edge. `bending` 0 makes a rope: it neither bends nor twists.

    Args:
        young: Young's modulus E [Pa]: stretch E pi r^2, bending E pi r^4 / 4, torsion bending / (1 + poisson).
        radius: r [m]; without `young` it gives the rotary inertia only (None: 2 sqrt(bending / stretch)) and turns density into mass.
        density: [kg/m^3], with `radius`.
        poisson: [-], in (-1, 0.5].
        stretch: E A [N].
        bending: E I [N m^2].
        torsion: G J [N m^2]; None: bending / (1 + poisson), as for a round section.
        line_density: [kg/m], in place of density.
        stretch_damping: [N s], on the rate of strain.
        bending_damping: [N m^2 s], on the rates of curvature and twist.
        mass_damping: alpha [1/s]; damps rigid motion too.
        rest_curvature: curvatures about the director and across it, and twist [1/m], beyond those of the rest positions; three values,
            each a scalar or one a vertex. None leaves them out, so that they cannot be learnt.

    Raises:
        InputError: a value out of its range, one missing, or one given twice.
    """

    young: object = None
    radius: object = None
    density: object = None
    poisson: float = 0.3
    stretch: object = None
    bending: object = None
    torsion: object = None
    line_density: object = None
    stretch_damping: object = 0.0
    bending_damping: object = 0.0
    mass_damping: float = 0.0
    rest_curvature: object = None

    def __post_init__(self):
        check = _field_check("Rod")
        for name in ("young", "radius", "density", "stretch", "torsion", "line_density"):
            if getattr(self, name) is not None:
                check(name, getattr(self, name), lower=0.0, lower_open=True)
        for name in ("stretch_damping", "bending_damping"):
            check(name, getattr(self, name), lower=0.0)
        if self.bending is not None:
            check("bending", self.bending, lower=0.0)
        validation.array("Rod.poisson", self.poisson, (), lower=-1.0, upper=0.5, lower_open=True)
        validation.array("Rod.mass_damping", self.mass_damping, (), lower=0.0)
        given = {name for name in self.__dataclass_fields__ if getattr(self, name) is not None}
        if "young" in given and given & {"stretch", "bending", "torsion"}:
            raise InputError("Rod: young with stretch, bending or torsion; give young and radius, or stretch and bending")
        if "young" in given and "radius" not in given:
            raise InputError("Rod: young without radius; give the radius [m]")
        if not given & {"young", "stretch"}:
            raise InputError("Rod: no stiffness; give young and radius, or stretch [N] and bending [N m^2]")
        if ("density" in given) == ("line_density" in given):
            raise InputError("Rod: either density [kg/m^3] (with radius) or line_density [kg/m] is needed")
        if "density" in given and "radius" not in given:
            raise InputError("Rod: density without radius; give the radius [m], or line_density [kg/m]")
        if self.is_rope and given & {"torsion", "rest_curvature"}:
            raise InputError("Rod: torsion or rest_curvature of a rope; give bending above 0")

    @property
    def is_rope(self):
        """Whether it has no bending stiffness at all."""
        return self.young is None and (self.bending is None or not np.any(np.asarray(self.bending) > 0))

    def section(self, count):
        """RodSection of `count` edges.

        Raises:
            InputError: arrays of another length.
        """
        given = {}
        for key in ("young", "radius", "density", "stretch", "bending", "torsion", "line_density", "stretch_damping", "bending_damping"):
            value = getattr(self, key)
            if value is not None:
                scalar = np.ndim(value) == 0
                value = validation.array(f"Rod.{key}", value, () if scalar else (count,))
                given[key] = np.full(count, float(value)) if scalar else value
        one = np.ones(count)
        radius = given.get("radius")
        rows = []
        if "young" in given:
            bend = np.pi / 4 * radius**4
            shares = {"stretch": np.pi * radius**2, "bending": bend, "torsion": bend / (1 + self.poisson)}
            rows.append(("young", "Pa", given["young"], shares, True))
        else:
            bending = given.get("bending", 0.0 * one)
            rows.append(("stretch", "N", given["stretch"], {"stretch": one}, True))
            rows.append(("bending", "N m^2", bending, {"bending": one}, False))
            rows.append(("torsion", "N m^2", given.get("torsion", bending / (1 + self.poisson)), {"torsion": one}, False))
            radius = 2 * np.sqrt(bending / given["stretch"]) if radius is None else radius
        if "density" in given:
            rows.append(("density", "kg/m^3", given["density"], {"mass": np.pi * radius**2}, True))
        else:
            rows.append(("line_density", "kg/m", given["line_density"], {"mass": one}, True))
        rows.append(("stretch_damping", "N s", given["stretch_damping"], {"stretch_damping": one}, False))
        rows.append(("bending_damping", "N m^2 s", given["bending_damping"], {"bending_damping": one}, False))
        return RodSection(radius, tuple(rows), self.rest_curvature)


@dataclass(frozen=True)
class RodSection:
    """A Rod's values, one an edge.

    Args:
        radius: that gives the rotary inertia [m], shape [m].
        parameters: tuples (name, unit, value [m], what it feeds -> share of each edge [m], whether zero is excluded).
        rest_curvature: as in Rod.
    """

    radius: np.ndarray
    parameters: tuple
    rest_curvature: object

    def curvature(self, count):
        """dict of the rest curvatures and twist at `count` vertices [1/m]; empty without."""
        if self.rest_curvature is None:
            return {}
        names = ("rest_curvature_1", "rest_curvature_2", "rest_twist")
        if len(self.rest_curvature) != 3:
            raise InputError(f"Rod.rest_curvature: {len(self.rest_curvature)} entries were given; two curvatures and a twist are needed")
        out = {}
        for name, value in zip(names, self.rest_curvature, strict=True):
            value = validation.array(f"Rod.{name}", value, () if np.ndim(value) == 0 else (count,))
            out[name] = np.array(np.broadcast_to(value, (count,)))
        return out


def _field_check(owner):
    def check(name, value, **bounds):
        scalar = np.ndim(value) == 0 if not hasattr(value, "detach") else value.ndim == 0
        validation.array(f"{owner}.{name}", value, () if scalar else (None,), **bounds)

    return check
