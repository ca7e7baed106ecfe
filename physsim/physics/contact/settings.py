"""How the things of a builder touch: their surfaces, contact parameters of pairs of materials, and what passes through what."""

import numpy as np

from physsim.errors import InputError
from physsim.physics import validation
from physsim.physics.contact.scene import COLUMNS, TABLE
from physsim.physics.contact.surfaces import DEFAULT, GAP, ContactPair, build_scene
from physsim.physics.frames import RigidFrame
from physsim.physics.mesh import TetMesh
from physsim.physics.parameters import Feed, Parameter


class ContactSettings:
    """What a builder was told of contact, until it becomes a ContactScene. `ModelBuilder` says what the methods' arguments mean.

    Args:
        register: takes a Parameter in among the builder's and returns it.
    """

    def __init__(self, register):
        self._register = register
        self._surfaces, self._ignored, self._pairs = {}, [], {}
        self._lengths = self._defaults = None  # gap and creep, and parameters of pairs that are not named, once contact is on

    def add(self, surface):
        """Take a Surface in."""
        self._surfaces[surface.name] = surface

    def __contains__(self, name):
        """Whether a body has a surface."""
        return name in self._surfaces

    def enable(self, gap, friction, stiffness, damping, creep):
        """Turn contact on."""
        if self._lengths is not None:
            raise InputError("enable_contact: contact is on already; name other materials by set_surface and contact_between")
        if gap is not None:
            gap = float(validation.array("gap", gap, (), lower=0.0, lower_open=True))
        creep = float(validation.array("creep", creep, (), lower=0.0, lower_open=True))
        self._lengths = {"gap": gap, "creep": creep}
        self._defaults = {"friction": friction, "stiffness": stiffness, "damping": damping}
        return self.between(DEFAULT, DEFAULT)

    def between(self, material_a, material_b, friction=None, stiffness=None, damping=None):
        """ContactPair of two materials."""
        if self._lengths is None:
            raise InputError("contact_between: call enable_contact first")
        for material in (material_a, material_b):
            validation.instance("material", material, str, "the name that set_surface gave")
        names = tuple(sorted((material_a, material_b)))
        if names in self._pairs:
            raise InputError(f"contact_between: {names[0]!r} and {names[1]!r} have parameters already; change them by params")
        given = {"stiffness": stiffness, "friction": friction, "damping": damping}
        given = {key: self._defaults[key] if value is None else value for key, value in given.items()}
        handles = {}
        for column, (key, unit) in enumerate(zip(COLUMNS, ("Pa", "-", "Pa s/m"), strict=True)):
            value = np.nan if given[key] is None else float(validation.array(key, given[key], (), lower=0.0, lower_open=key == "stiffness"))
            feed = Feed(TABLE, column, np.array([len(self._pairs)]))
            bounds = {"lower": 0.0, "lower_open": key == "stiffness"}
            handles[key] = self._register(Parameter(f"contact.{names[0]}-{names[1]}.{key}", unit, np.array([value]), (feed,), bounds))
        self._pairs[names] = ContactPair(names, **handles)
        return self._pairs[names]

    def set_surface(self, name, material, thickness, self_contact):
        """How the body of a name touches; what is None stays."""
        surface = self._surfaces[name]
        if thickness is not None:
            surface.thickness = float(validation.array("thickness", thickness, (), lower=0.0))
        if material is not None:
            surface.material = validation.instance("material", material, str)
        if self_contact is not None:
            surface.self_contact = bool(self_contact)

    def ignore(self, name_a, name_b):
        """Two bodies pass through each other."""
        self._ignored.append((name_a, name_b))

    def scene(self, free, masses, gravity):
        """(ContactScene, stiffnesses that were not given: dict from Parameter to value [Pa]); (None, {}) without contact.

        Args:
            free: which particles may move, [n] bool.
            masses: of all particles [kg], [n].
            gravity: [m/s^2], [3].
        """
        if self._lengths is None:
            return None, {}
        surfaces = list(self._surfaces.values())
        used = sorted({s.material for s in surfaces})
        for a in used:
            for b in used:
                if tuple(sorted((a, b))) not in self._pairs:
                    self.between(a, b)
        heavy, stiffnesses = max(np.linalg.norm(gravity), 1.0), {}
        for names, pair in self._pairs.items():
            if np.isnan(pair.stiffness.value[0]):
                pressures = [self._pressure(s, heavy * masses[s.particles].sum()) for s in surfaces if s.material in names]
                stiffnesses[pair.stiffness] = max(pressures, default=0.0) or 1.0
        numbers = {s.name: k for k, s in enumerate(surfaces)}
        ignored = [(numbers[a], numbers[b]) for a, b in self._ignored]
        classes = {names: row for row, names in enumerate(self._pairs)}
        return build_scene(surfaces, free, ignored, classes, **self._lengths), stiffnesses

    def _pressure(self, surface, weight):
        """A pressure that suits a surface's contacts [Pa]: what its stuff stands, and ten times its weight on the square of its extent.

        Sheets, rods and nets: what stops them within the gap once they have fallen by their extent.
        """
        points = surface.mesh.points
        extent = max(float(np.ptp(points, axis=0).max()), 1e-6)
        thin = not isinstance(surface.mesh, (RigidFrame, TetMesh))
        return max(surface.pressure, (max(10.0, extent / (self._lengths["gap"] or GAP)) if thin else 10.0) * weight / extent**2)
