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


REST_CURVATURE = ("rest_curvature_1", "rest_curvature_2", "rest_twist")


@dataclass(frozen=True)
class Rod:
    """A rod, rope or cable: it stretches, bends and twists.

    The turn from edge to edge, bent or twisted, must stay well below a half turn: the energy is 2 % too high at 20 degrees a vertex,
    11 % at 45 and 62 % at 90, and a twist beyond 180 degrees slips. A coil or a strong twist needs that many edges.

    Either from its stuff, round and solid (`young` and `radius`), or from stiffnesses as they are measured (`stretch`, `bending`).
    Values are scalars or one an edge. `bending` 0, or none beside `stretch`, makes a rope: it neither bends nor twists.

    Args:
        young: Young's modulus E [Pa]: stretch E pi r^2, bending E pi r^4 / 4, torsion bending / (1 + poisson).
        radius: r [m]; without `young` it gives the rotary inertia only (None: 2 sqrt(bending / stretch)) and turns density into mass.
        density: [kg/m^3], with `radius`.
        poisson: [-], in (-1, 0.5].
        stretch: E A [N].
        bending: E I [N m^2].
        torsion: G J [N m^2]; None: bending / (1 + poisson), as for a round section, also where the bending is changed or learnt.
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
        if self.rest_curvature is not None:
            entries = len(self.rest_curvature) if hasattr(self.rest_curvature, "__len__") else 1
            if entries != 3:
                raise InputError(f"Rod.rest_curvature: {entries} entries were given; two curvatures and a twist are needed")
            for name, value in zip(REST_CURVATURE, self.rest_curvature, strict=True):
                check(name, value)
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
        if self.bending is not None and not self.is_rope and (np.asarray(self.bending) == 0).any():
            raise InputError("Rod.bending: 0 on some edges only; give every edge some bending, or make the limp part a rope of its own")
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
                scalar = validation.is_scalar(f"Rod.{key}", value)
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
            torsion = {} if "torsion" in given else {"torsion": one / (1 + self.poisson)}  # follows the bending where it was not given
            rows.append(("bending", "N m^2", bending, {"bending": one} | torsion, False))
            if "torsion" in given:
                rows.append(("torsion", "N m^2", given["torsion"], {"torsion": one}, False))
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
        out = {}
        for name, value in zip(REST_CURVATURE, self.rest_curvature, strict=True):
            value = validation.array(f"Rod.{name}", value, () if validation.is_scalar(f"Rod.{name}", value) else (count,))
            out[name] = np.array(np.broadcast_to(value, (count,)))
        return out


@dataclass(frozen=True)
class Shell:
    """A sheet, cloth or foil: it stretches in its plane and bends.

    Either from its stuff (`young` and `thickness`: stretch E h, bending E h^3 / (12 (1 - nu^2))), or from stiffnesses as fabric tables
    give them (`stretch`, `bending`), each of which takes the place of what young and thickness would give. Values are scalars or numpy
    arrays, one a triangle; a tuple of two is (warp, weft).

    Args:
        young: Young's modulus E [Pa].
        poisson: [-], in (-1, 1), of both stretch and bending; where warp and weft differ, the geometric mean of both directions' ratios.
        thickness: h [m].
        density: [kg/m^3], with `thickness`.
        stretch: force per width and strain of a strip free to contract [N/m].
        bending: moment per width and curvature where the sheet cannot curve across [N m]; a narrow strip has (1 - nu^2) of it. 0: none.
        shear: [N/m]; None: as for an isotropic sheet, from stretch and poisson.
        area_density: [kg/m^2], in place of density.
        stretch_damping: [N s/m], on the rate of the Green strain.
        bending_damping: [N m s], on the rate of curvature.
        mass_damping: alpha [1/s]; damps rigid motion too.

    Raises:
        InputError: a value out of its range, one missing, one given twice, or warp and weft too far apart for this poisson: its square
            must lie below the softer over the stiffer stretch. Values given later as `params` are not checked for this; beyond it the
            law stays bounded below, but a long pull along the soft direction loses stiffness.
    """

    young: object = None
    poisson: object = 0.3
    thickness: object = None
    density: object = None
    stretch: object = None
    bending: object = None
    shear: object = None
    area_density: object = None
    stretch_damping: object = 0.0
    bending_damping: object = 0.0
    mass_damping: float = 0.0

    def __post_init__(self):
        check = _field_check("Shell")
        for name in ("young", "thickness", "density", "shear", "area_density"):
            if getattr(self, name) is not None:
                check(name, getattr(self, name), lower=0.0, lower_open=True)
        for name in ("stretch_damping", "bending_damping"):
            check(name, getattr(self, name), lower=0.0)
        check("poisson", self.poisson, lower=-1.0, upper=1.0, lower_open=True, upper_open=True)
        for value in _directions(self.stretch, "Shell.stretch"):
            check("stretch", value, lower=0.0, lower_open=True)
        for value in _directions(self.bending, "Shell.bending"):
            check("bending", value, lower=0.0)
        validation.array("Shell.mass_damping", self.mass_damping, (), lower=0.0)
        self._check_choices()

    def _check_choices(self):
        given = {name for name in self.__dataclass_fields__ if getattr(self, name) is not None}
        if not given & {"young", "stretch"}:
            raise InputError("Shell: no stiffness; give young [Pa] and thickness [m], or stretch [N/m] and bending [N m]")
        if "young" in given and "thickness" not in given:
            raise InputError("Shell: young without thickness; give the thickness [m], or stretch [N/m] and bending [N m]")
        if given >= {"young", "stretch", "bending"}:
            raise InputError("Shell: young beside stretch and bending has no effect; leave it out")
        if ("density" in given) == ("area_density" in given):
            raise InputError("Shell: either density [kg/m^3] (with thickness) or area_density [kg/m^2] is needed")
        if "density" in given and "thickness" not in given:
            raise InputError("Shell: density without thickness; give the thickness [m], or area_density [kg/m^2]")
        if isinstance(self.stretch, tuple):
            warp, weft, poisson = (np.asarray(v, dtype=np.float64) for v in (*self.stretch, self.poisson))
            lengths = sorted({v.size for v in (warp, weft, poisson) if v.ndim})
            if len(lengths) > 1:
                raise InputError(f"Shell: arrays of {' and '.join(map(str, lengths))} entries were given; one a triangle is needed")
            if (np.minimum(warp, weft) <= poisson**2 * np.maximum(warp, weft)).any():
                text = "Shell: poisson^2 must lie below the softer over the stiffer stretch"
                raise InputError(f"{text}; use a smaller poisson")

    @property
    def bends(self):
        """Whether it has a bending stiffness."""
        if self.bending is None:
            return self.young is not None
        return any(np.any(np.asarray(value) > 0) for value in _directions(self.bending, "Shell.bending"))

    @property
    def has_directions(self):
        """Whether warp and weft matter."""
        return isinstance(self.stretch, tuple) or isinstance(self.bending, tuple) or self.shear is not None

    def section(self, count):
        """Parameters of `count` triangles: tuples (name, unit, value [m], what it feeds -> share of each triangle [m], bounds).

        Raises:
            InputError: arrays of another length; bending 0 on some triangles only.
        """

        def per(key, value):
            scalar = validation.is_scalar(f"Shell.{key}", value)
            value = validation.array(f"Shell.{key}", value, () if scalar else (count,))
            return np.full(count, float(value)) if scalar else value

        one = np.ones(count)
        positive = {"lower": 0.0, "lower_open": True}
        poisson = per("poisson", self.poisson)
        thickness = None if self.thickness is None else per("thickness", self.thickness)
        targets = ["stretch", "bending"] if self.bends else ["stretch"]
        rows, columns = [], {}
        for key in targets:
            columns[key] = (f"{key}_warp", f"{key}_weft")
        if self.young is not None:
            share = {"stretch": thickness, "bending": thickness**3 / (12 * (1 - poisson**2))}
            fed = {c: share[key] for key in targets if getattr(self, key) is None for c in columns[key]}
            rows.append(("young", "Pa", per("young", self.young), fed, positive))
        for key, unit in (("stretch", "N/m"), ("bending", "N m")):
            value = getattr(self, key)
            if key not in targets or value is None:
                continue
            values = [per(key, v) for v in _directions(value, f"Shell.{key}")]
            if key == "bending" and any((v <= 0).any() for v in values):
                raise InputError("Shell.bending: 0 in part; give every triangle and direction a value above 0, or 0 for a sheet without")
            if len(values) == 1:
                rows.append((key, unit, values[0], dict.fromkeys(columns[key], one), positive))
            else:
                rows += [(c, unit, v, {c: one}, positive) for c, v in zip(columns[key], values, strict=True)]
        bounds = {"lower": -1.0, "upper": 1.0, "lower_open": True, "upper_open": True}
        rows.append(("poisson", "-", poisson, {"poisson": one}, bounds))
        if self.shear is not None:
            rows.append(("shear", "N/m", per("shear", self.shear), {"shear": one}, positive))
        if self.density is not None:
            rows.append(("density", "kg/m^3", per("density", self.density), {"mass": thickness}, positive))
        else:
            rows.append(("area_density", "kg/m^2", per("area_density", self.area_density), {"mass": one}, positive))
        for key, unit in (("stretch_damping", "N s/m"), ("bending_damping", "N m s")):
            value = per(key, getattr(self, key))
            if (value > 0).any() and key.split("_")[0] in targets:
                rows.append((key, unit, value, {key: one}, {"lower": 0.0}))
        return tuple(rows)


def _directions(value, name):
    """(value,) or (warp, weft)."""
    if value is None:
        return ()
    if not isinstance(value, tuple):
        return (value,)
    if len(value) != 2:
        raise InputError(f"{name}: a tuple of {len(value)} was given; (warp, weft) is needed, or a numpy array with one value a triangle")
    return value


def _field_check(owner):
    def check(name, value, **bounds):
        scalar = validation.is_scalar(f"{owner}.{name}", value)
        validation.array(f"{owner}.{name}", value, () if scalar else (None,), **bounds)

    return check
