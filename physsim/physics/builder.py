"""ModelBuilder: bodies, masses, loads and attachments, then `finalize`.

One class and so one file: each kind of body is a method of it that checks everything before it adds anything.
"""

import warnings
from dataclasses import replace

import numpy as np
import warp as wp
from scipy import sparse

from physsim.errors import InputError
from physsim.physics import laws, shapes, validation
from physsim.physics.contact.settings import ContactSettings
from physsim.physics.contact.surfaces import Surface
from physsim.physics.frames import body_frame, collider_frame, rotation_matrix, second_moments
from physsim.physics.launch import quiet_warp
from physsim.physics.materials import NeoHookean, Rod, Shell, Spring
from physsim.physics.mesh import SpringNet, TetMesh
from physsim.physics.model import Attachment, Body, LawBlock, Model, Tendon
from physsim.physics.parameters import Feed, Parameter, ParameterSet
from physsim.physics.rods import Curve, rod_maps
from physsim.physics.sheets import TriMesh, check_areas

ONSET = 1e-3  # of a tendon's rest length: extension over which it comes taut
FRAME = 0.1  # how far from its origin a moved thing's control points lie along its axes [m]


class ModelBuilder:
    """Collects bodies and what holds, loads and weighs them down. Every length, modulus and density in SI units.

    Args:
        gravity: [m/s^2], shape [3].
    """

    def __init__(self, gravity=(0.0, 0.0, -9.81)):
        self._gravity = validation.array("gravity", gravity, (3,))
        self._points, self._velocities, self._poses = [], [], []
        self._weightless = []  # particles that gravity leaves alone
        self._count = 0
        self._stencils = {}  # Law -> list of [m, points]
        self._parameters = {}
        self._bodies = {}
        self._attachments = {}
        self._fixed = []
        self._frames = []  # first particles of free rigid bodies
        self._contact = ContactSettings(self._register)

    def add_soft_body(self, mesh, material, name=None, velocity=(0.0, 0.0, 0.0)):
        """A solid of tetrahedra.

        Args:
            mesh: TetMesh, stress-free as given.
            material: NeoHookean; its values may be arrays, one entry a tetrahedron.
            name: to find the body again; None counts up: "body", "body_1", ...
            velocity: initial velocity [m/s], shape [3].

        Returns:
            Body with parameters young, poisson, density, mass_damping, and viscosity where the material has one.

        Raises:
            InputError: not a TetMesh or NeoHookean, values that do not fit the mesh, a name taken.
        """
        if not isinstance(mesh, TetMesh):
            raise InputError(f"mesh: a TetMesh is needed, {type(mesh).__name__} was given")
        if not isinstance(material, NeoHookean):
            raise InputError(f"material: a NeoHookean is needed, {type(material).__name__} was given")
        if mesh.order == 1 and np.max(material.poisson) > 0.4:
            text = f"poisson = {np.max(material.poisson):g} with four-node tetrahedra locks (far too stiff); use mesh.quadratic()"
            warnings.warn(text, stacklevel=2)
        count, nodes = mesh.cells.shape
        # every check before anything is added: a refused body leaves the builder as it was
        values = {key: _per(f"NeoHookean.{key}", getattr(material, key), count) for key in ("young", "poisson", "viscosity", "density")}
        name, particles = self._add_particles(name, "body", mesh.points, velocity)
        cells = particles[mesh.cells]
        law = laws.NEO_HOOKEAN[nodes]
        rows = self._add_stencils(law, cells)
        found = {}
        for key in ("young", "poisson"):
            found[key] = self._law_parameter(f"{name}.{key}", law, key, rows, values[key])
        if (values["viscosity"] > 0).any():
            law = laws.VISCOUS[nodes]
            rows = self._add_stencils(law, cells)
            found["viscosity"] = self._law_parameter(f"{name}.viscosity", law, "viscosity", rows, values["viscosity"])
        shares = mesh.volumes()[:, None] * mesh.node_shares()
        columns = np.repeat(np.arange(count), nodes)
        masses = sparse.csr_matrix((shares.ravel(), (mesh.cells.ravel(), columns)), (len(particles), count))
        feed = Feed(laws.INERTIA.name, 0, particles, masses)
        bounds = {"lower": 0.0, "lower_open": True}
        found["density"] = self._register(Parameter(f"{name}.density", "kg/m^3", values["density"], (feed,), bounds))
        found["mass_damping"] = self._mass_damping(name, particles, material.mass_damping)
        self._contact.add(Surface(name, particles, mesh, 0.2 * float(values["young"].max())))
        return self._add_body(Body(name, particles, mesh, found, material))

    def add_springs(self, net, material, mass, name=None, velocity=(0.0, 0.0, 0.0)):
        """Particles joined by springs.

        Args:
            net: SpringNet.
            material: Spring; its values may be arrays, one entry a spring.
            mass: total mass [kg], spread evenly, or one mass a particle, shape [n]; above 0.
            name: to find the body again; None counts up: "net", "net_1", ...
            velocity: initial velocity [m/s], shape [3].

        Returns:
            Body with parameters stiffness, rest_length, damping, mass, mass_damping.

        Raises:
            InputError: not a SpringNet or Spring, values that do not fit the net, a mass not above 0, a name taken.
        """
        if not isinstance(net, SpringNet):
            raise InputError(f"net: a SpringNet is needed, {type(net).__name__} was given")
        if not isinstance(material, Spring):
            raise InputError(f"material: a Spring is needed, {type(material).__name__} was given")
        count = len(net.points)
        scalar = validation.is_scalar("mass", mass)
        mass = validation.array("mass", mass, () if scalar else (count,), lower=0.0, lower_open=True)
        given = {"stiffness": material.stiffness, "rest_length": net.rest_lengths, "damping": material.damping}
        values = {key: _per(f"Spring.{key}", value, len(net.edges)) for key, value in given.items()}
        name, particles = self._add_particles(name, "net", net.points, velocity)
        rows = self._add_stencils(laws.SPRING, particles[net.edges])
        found = {}
        for key, value in values.items():
            found[key] = self._law_parameter(f"{name}.{key}", laws.SPRING, key, rows, value)
        each = np.full(count, mass / count) if scalar else mass
        found["mass"] = self._law_parameter(f"{name}.mass", laws.INERTIA, "mass", particles, each)
        found["mass_damping"] = self._mass_damping(name, particles, 0.0)
        self._contact.add(Surface(name, particles, net))
        return self._add_body(Body(name, particles, net, found, material))

    def add_rod(self, curve, material, name=None, velocity=(0.0, 0.0, 0.0), pose=None):
        """A rod, rope or cable.

        Its centreline is joined by springs; every edge has a director point that carries the material frame, with the rotary inertia
        about the axis and without weight. A rope has no directors. Between neighbouring edges it must turn well under half a turn, bent
        or twisted (see `Rod`): a strong twist needs that many edges. Its `mesh` is the curve with the arm that was used: ends are
        attached by `builder.attach(body, body.mesh.end(0))`.

        Args:
            curve: Curve, stress-free as given.
            material: Rod; its values may be arrays, one entry an edge.
            name: to find the body again; None counts up: "rod", "rod_1", ...
            velocity: initial velocity [m/s], shape [3].
            pose: initial positions [m]: of the centreline, shape [n, 3] (`Curve.posed` gives the directors), or of points and
                directors; None: at rest.

        Returns:
            Body with parameters young or stretch and bending; torsion where given; density or line_density; rest_length,
            stretch_damping, bending_damping, mass_damping; rest_curvature_1, rest_curvature_2, rest_twist where given.

        Raises:
            InputError: not a Curve or Rod, values that do not fit the curve, a pose with an edge of no length or folded back onto
                itself, a name taken.
        """
        if not isinstance(curve, Curve):
            raise InputError(f"curve: a Curve is needed, {type(curve).__name__} was given")
        if not isinstance(material, Rod):
            raise InputError(f"material: a Rod is needed, {type(material).__name__} was given")
        section = material.section(curve.edge_count)
        # further out than ten radii a director's mass is under 0.5 % of its edge's
        curve = replace(curve, arm=max(curve.arm, 10 * section.radius.max()), framed=not material.is_rope)
        maps = rod_maps(curve, section.radius)
        curvature = section.curvature(len(curve.vertices))
        if pose is not None:
            pose = _rod_pose(curve, pose)
        name, particles = self._add_particles(name, "rod", curve.points, velocity, pose)
        self._weightless.append(particles[curve.point_count :])
        rows = {laws.SPRING: self._add_stencils(laws.SPRING, particles[curve.edges])}
        targets = {"stretch": (laws.SPRING, ("stiffness",), maps.springs), "stretch_damping": (laws.SPRING, ("damping",), maps.springs)}
        targets["mass"] = (laws.INERTIA, ("mass",), maps.masses)
        rows[laws.INERTIA] = particles
        if curve.framed and len(curve.vertices):
            rows[laws.ROD] = self._add_stencils(laws.ROD, particles[curve.vertices])
            targets["bending"] = (laws.ROD, ("bending_1", "bending_2"), maps.vertices)
            for key, column in (("torsion", "torsion"), ("bending_damping", "damping")):
                targets[key] = (laws.ROD, (column,), maps.vertices)
        found = {"rest_length": self._law_parameter(f"{name}.rest_length", laws.SPRING, "rest_length", rows[laws.SPRING], curve.lengths)}
        for key, unit, value, shares, lower_open in section.parameters:
            feeds = []
            for target, share in shares.items():
                law, columns, matrix = targets.get(target, (None, (), None))
                feeds += [Feed(law.name, law.column(c), rows[law], (matrix @ sparse.diags(share)).tocsr()) for c in columns]
            if feeds:
                found[key] = self._register(Parameter(f"{name}.{key}", unit, value, tuple(feeds), {"lower": 0.0, "lower_open": lower_open}))
        for key, value in curvature.items() if laws.ROD in rows else ():
            feed = Feed(laws.ROD.name, laws.ROD.column(key), rows[laws.ROD], sparse.diags(maps.curvature).tocsr())
            found[key] = self._register(Parameter(f"{name}.{key}", "1/m", value, (feed,)))
        found["mass_damping"] = self._mass_damping(name, particles, material.mass_damping)
        thickness = 2.0 * float(section.radius.max())
        self._contact.add(Surface(name, particles, curve, thickness=thickness))
        return self._add_body(Body(name, particles, curve, found, material))

    def add_cloth(self, mesh, material, name=None, warp=(1.0, 0.0, 0.0), pose=None, velocity=(0.0, 0.0, 0.0)):
        """A sheet of triangles.

        Args:
            mesh: TriMesh, flat or curved, stress-free as given.
            material: Shell; its values may be arrays, one entry a triangle.
            name: to find the body again; None counts up: "cloth", "cloth_1", ...
            warp: direction of the warp at rest, shape [3], or one a triangle, shape [m, 3]; its part in the sheet counts.
            pose: initial positions [m], shape [n, 3]; None: at rest.
            velocity: initial velocity [m/s], shape [3].

        Returns:
            Body with parameters young (it feeds stretch by h and bending by h^3 / (12 (1 - nu^2)) at the given nu) or stretch, bending
            (or stretch_warp, stretch_weft, ...), shear where given; poisson; density or area_density; stretch_damping and bending_damping
            where not 0; mass_damping; angle (of the warp from each triangle's edge 0 -> 1).

        Raises:
            InputError: not a TriMesh or Shell, values that do not fit the mesh, a warp across the sheet, a pose in which a triangle has no
                area, a name taken.
        """
        if not isinstance(mesh, TriMesh):
            raise InputError(f"mesh: a TriMesh is needed, {type(mesh).__name__} was given")
        if not isinstance(material, Shell):
            raise InputError(f"material: a Shell is needed, {type(material).__name__} was given")
        count = len(mesh.triangles)
        section = material.section(count)
        angle = mesh.warp_angles(warp, needed=material.has_directions)
        if pose is not None:
            pose = validation.array("pose", pose, mesh.points.shape)
            check_areas("pose", pose, mesh.triangles)
        name, particles = self._add_particles(name, "cloth", mesh.points, velocity, pose)
        rows = {laws.MEMBRANE: self._add_stencils(laws.MEMBRANE, particles[mesh.triangles])}
        if material.bends:
            rows[laws.BENDING] = self._add_stencils(laws.BENDING, particles[mesh.stencils()])
        thirds = mesh.areas() / 3
        masses = (np.repeat(thirds, 3), (mesh.triangles.ravel(), np.repeat(np.arange(count), 3)))
        masses = sparse.csr_matrix(masses, (len(particles), count))
        found = {}
        for key, unit, value, shares, bounds in (*section, ("angle", "rad", angle, {"angle": np.ones(count)}, {})):
            feeds = []
            for target, share in shares.items():
                if target == "mass":
                    feeds.append(Feed(laws.INERTIA.name, 0, particles, (masses @ sparse.diags(share)).tocsr()))
                    continue
                column = "damping" if target.endswith("damping") else target
                owners = {"stretch_damping": (laws.MEMBRANE,), "bending_damping": (laws.BENDING,)}.get(target, rows)
                known = [law for law in owners if column in [p.name for p in law.parameters]]
                feeds += [Feed(law.name, law.column(column), rows[law], sparse.diags(share).tocsr()) for law in known]
            found[key] = self._register(Parameter(f"{name}.{key}", unit, value, tuple(feeds), bounds))
        found["mass_damping"] = self._mass_damping(name, particles, material.mass_damping)
        thickness = 0.0 if material.thickness is None else float(np.max(material.thickness))
        self._contact.add(Surface(name, particles, mesh, thickness=thickness))
        return self._add_body(Body(name, particles, mesh, found, material))

    def sew(self, body_a, points_a, body_b, points_b, stiffness=None, name=None):
        """Seam: join points of two sheets (or of one) pair by pair, by springs of no length.

        Args:
            body_a, points_a: Body and indices into it, shape [p].
            body_b, points_b: the same of the other side, in the same order.
            stiffness: one for every pair [N/m], above 0; None: the largest stretch of the two sheets.
            name: of the parameter; None counts up: "seam", "seam_1", ...

        Returns:
            Parameter of the stiffness, shape [p].

        Raises:
            InputError: bodies of another builder, indices out of range, numbers of points that differ, a point sewn to itself.
        """
        a, b = self._points_of(body_a, points_a), self._points_of(body_b, points_b)
        if len(a) != len(b):
            raise InputError(f"sew: {len(a)} points on one side and {len(b)} on the other; give one for one")
        if (a == b).any():
            k = int(np.argmax(a == b))
            raise InputError(f"sew: pair {k} joins a point to itself; name the point of the other side")
        if stiffness is None:
            stiffness = max(_largest_stretch(body) for body in (body_a, body_b))
            if stiffness == 0.0:
                raise InputError("sew: neither body is a sheet; give the seam's stiffness [N/m]")
        stiffness = float(validation.array("stiffness", stiffness, (), lower=0.0, lower_open=True))
        name = self._unique(name or "seam", self._parameters, given=name is not None)
        rows = self._add_stencils(laws.SEAM, np.stack([a, b], axis=1))
        return self._law_parameter(name, laws.SEAM, "stiffness", rows, np.full(len(a), stiffness))

    def pin(self, body, points, frame, stiffness=0.0, name=None):
        """Hold points of a soft body to places on a rigid thing, by springs that both feel.

        With the default stiffness of 0 nothing is held: a run pins them when it wants to, by `params`.

        Args:
            body: Body.
            points: indices into it, shape [p].
            frame: Body of a collider, driven frame or rigid body.
            stiffness: of each spring [N/m].
            name: None: "BODY.pin".

        Returns:
            dict of Parameters: "stiffness" [N/m], shape [p], and "shares" [-], shape [p, 3]: those of the frame's second, third and
            fourth control points in the places (`frame.mesh.weights(local)[:, 1:]` of points [m] in the frame's own coordinates).
            Where the bodies are placed now is the default.

        Raises:
            InputError: bodies of another builder, a frame that is none, indices out of range, a stiffness below 0.
        """
        points = self._points_of(body, points)
        if not isinstance(frame, Body) or self._bodies.get(frame.name) is not frame or not hasattr(frame.mesh, "weights"):
            raise InputError("frame: a collider, driven frame or rigid body of this builder is needed")
        stiffness = float(validation.array("stiffness", stiffness, (), lower=0.0))
        name = name or f"{body.name}.pin"
        rows = self._add_stencils(laws.PIN, np.column_stack([points, np.tile(frame.particles, (len(points), 1))]))
        pose = np.concatenate(self._poses)
        place, turn = frame.mesh.pose(pose[frame.particles])
        shares = frame.mesh.weights((pose[points] - place) @ turn)[:, 1:]
        held = self._law_parameter(f"{name}.stiffness", laws.PIN, "stiffness", rows, np.full(len(points), stiffness))
        pick = np.arange(3 * len(points)).reshape(-1, 3)
        ones = np.ones(len(points))
        feeds = tuple(
            Feed(laws.PIN.name, 1 + k, rows, sparse.csr_matrix((ones, (np.arange(len(points)), pick[:, k])), (len(points), pick.size)))
            for k in range(3)
        )
        return {"stiffness": held, "shares": self._register(Parameter(f"{name}.shares", "-", shares, feeds))}

    def add_tendon(self, body, points, stiffness, end=None, slack=0.0, onset=None, name=None):
        """An elastic string that runs without friction through points of a body; it pulls them together and never pushes.

        It is shortened by moving its end away (a Control of the attachment of its name), or by the parameter `rest_length`.

        Args:
            body: Body.
            points: waypoints in order, indices into the body; two to eight, with an end one to seven.
            stiffness: tension over extension [N/m], above 0.
            end: place behind the last waypoint at which the tendon is held and pulled [m], shape [3]; None: it ends at the last waypoint.
            slack: how much longer than its way at rest it is [m]; below 0: it is taut at rest.
            onset: extension over which it comes taut [m], above 0; None: a thousandth of its rest length.
            name: None counts up: "tendon", "tendon_1", ...

        Returns:
            Tendon.

        Raises:
            InputError: too few or too many waypoints, two neighbours at one place at rest, a rest length that is not above 0, a value out
                of range, a name taken.
        """
        points = self._points_of(body, points)
        count = len(points) + (end is not None)
        if not 2 <= count <= laws.TENDON.points:
            raise InputError(f"add_tendon: {count} waypoints; 2 to {laws.TENDON.points} are needed, the end among them")
        stiffness = float(validation.array("stiffness", stiffness, (), lower=0.0, lower_open=True))
        way = np.concatenate(self._points)[points]
        if end is not None:
            way = np.concatenate([way, validation.array("end", end, (1, 3) if np.ndim(end) == 2 else (3,)).reshape(1, 3)])
        pieces = np.linalg.norm(np.diff(way, axis=0), axis=1)
        if (pieces <= 1e-9 * pieces.max(initial=1e-300)).any():
            raise InputError(f"add_tendon: waypoints {int(pieces.argmin())} and {int(pieces.argmin()) + 1} lie at one place; leave one out")
        length = float(pieces.sum())
        rest = length + float(validation.array("slack", slack, ()))
        if rest <= 0.0:
            raise InputError(
                f"slack = {slack:g}: the tendon's way at rest is {length:g} m, nothing would be left of it; use a larger slack"
            )
        onset = ONSET * rest if onset is None else float(validation.array("onset", onset, (), lower=0.0, lower_open=True))
        name = self._unique(name or "tendon", self._attachments | self._bodies, given=name is not None)
        attachment = None
        if end is not None:
            self._unique(f"{name}.stiffness", self._parameters, given=True)  # checks before anything is added
            name, particles = self._add_particles(name, "tendon", way[-1:], (0.0, 0.0, 0.0))
            self._fixed.append(particles)
            self._weightless.append(particles)
            attachment = self._attachments[name] = Attachment(name, particles, None)
            points = np.concatenate([points, particles])
        padded = np.concatenate([points, np.full(laws.TENDON.points - count, points[-1])])
        rows = self._add_stencils(laws.TENDON, padded[None])
        values = {"stiffness": stiffness, "rest_length": rest, "onset": onset}
        found = {key: self._law_parameter(f"{name}.{key}", laws.TENDON, key, rows, np.array([v])) for key, v in values.items()}
        return Tendon(name, points, length, found["stiffness"], found["rest_length"], attachment)

    def add_mass(self, body, points, mass, weights=None, name=None):
        """A weight fixed to points of a body: it has inertia and feels gravity.

        Args:
            body: Body.
            points: indices into the body, shape [p].
            mass: total [kg], above 0.
            weights: share of each point, shape [p]; None: equal shares.
            name: of the parameter; None: "BODY.added_mass".

        Returns:
            Parameter of the total mass.
        """
        points = self._points_of(body, points)
        mass = validation.array("mass", mass, (), lower=0.0, lower_open=True)
        shares = _weights(weights, len(points))
        feed = Feed(laws.INERTIA.name, 0, points, sparse.csr_matrix(shares[:, None]))
        name = self._unique(name or f"{body.name}.added_mass", self._parameters, given=name is not None)
        return self._register(Parameter(name, "kg", mass.reshape(1), (feed,), {"lower": 0.0, "lower_open": True}))

    def add_load(self, body, points, force, weights=None, name=None):
        """A dead load on points of a body.

        Args:
            body: Body.
            points: indices into the body, shape [p].
            force: total [N], shape [3].
            weights: share of each point, shape [p]; None: equal shares.
            name: of the parameter; None: "BODY.load".

        Returns:
            Parameter of the total force, shape [3].
        """
        points = self._points_of(body, points)
        force = validation.array("force", force, (3,))
        shares = _weights(weights, len(points))
        name = self._unique(name or f"{body.name}.load", self._parameters, given=name is not None)
        rows = self._add_stencils(laws.LOAD, points[:, None])
        return self._register(Parameter(name, "N", force, _vector_feeds(laws.LOAD, "force", rows, shares)))

    def attach(self, body, points, stiffness=None, name=None):
        """Hold points of a body where they are, or move them by a Control.

        Args:
            body: Body.
            points: indices into the body, shape [p].
            stiffness: None: exact, the points are prescribed; else the tether of each point [N/m], above 0.
            name: to find the attachment again; None counts up: "attachment", "attachment_1", ...

        Returns:
            Attachment; its `stiffness` is a Parameter where soft.
        """
        points = self._points_of(body, points)
        name = self._unique(name or "attachment", self._attachments, given=name is not None)
        self._unique(f"{name}.stiffness", self._parameters, given=True)  # checks
        parameter = None
        if stiffness is None:
            self._fixed.append(points)
        else:
            value = np.atleast_1d(validation.array("stiffness", stiffness, (), lower=0.0, lower_open=True))
            rows = self._add_stencils(laws.TETHER, points[:, None])
            value = np.full(len(points), value[0])
            parameter = self._law_parameter(f"{name}.stiffness", laws.TETHER, "stiffness", rows, value)
        self._attachments[name] = Attachment(name, points, parameter)
        return self._attachments[name]

    def add_rigid_body(
        self,
        shape,
        density=None,
        *,
        mass=None,
        inertia=None,
        center=None,
        position=(0.0, 0.0, 0.0),
        rotation=(1.0, 0.0, 0.0, 0.0),
        velocity=(0.0, 0.0, 0.0),
        angular_velocity=(0.0, 0.0, 0.0),
        young=1e9,
        name=None,
    ):
        """A free rigid body: four particles that carry its mass, centre and inertia exactly, held together by a stiff law.

        Args:
            shape: Box, Sphere, Capsule, Cylinder or a closed TriMesh, in the body's own coordinates.
            density: [kg/m^3], above 0; or give `mass`.
            mass: [kg], above 0.
            inertia: about the centre of mass [kg m^2], shape [3, 3]; None: of the shape, evenly filled.
            center: of mass in the body's coordinates [m], shape [3]; None: the shape's.
            position: of the body's origin [m], shape [3].
            rotation: quaternion (w, x, y, z), made unit.
            velocity: of the centre of mass [m/s], shape [3].
            angular_velocity: [rad/s], in world axes, shape [3].
            young: of what keeps the four particles a rigid frame [Pa].
            name: to find the body again; None counts up: "rigid", "rigid_1", ...

        Returns:
            Body with parameters mass, rigidity and mass_damping; `body.mesh.pose(positions of its particles)` gives position and rotation.

        Raises:
            InputError: not a shape, neither or both of density and mass, a mesh that is not closed, an inertia that no body has, a name
                taken.
        """
        validation.instance("shape", shape, (*shapes.SHAPES, TriMesh))
        if (density is None) == (mass is None):
            raise InputError("add_rigid_body: either density [kg/m^3] or mass [kg] is needed")
        volume, own_centre, second = shapes.moments(shape)
        if mass is None:
            mass = volume * float(validation.array("density", density, (), lower=0.0, lower_open=True))
        mass = float(validation.array("mass", mass, (), lower=0.0, lower_open=True))
        young = float(validation.array("young", young, (), lower=0.0, lower_open=True))
        center = own_centre if center is None else validation.array("center", center, (3,))
        frame = body_frame(shape, center, second if inertia is None else second_moments(inertia, mass))
        turn = rotation_matrix(rotation)
        position = validation.array("position", position, (3,))
        spin = validation.array("angular_velocity", angular_velocity, (3,))
        pose = frame.points @ turn.T + position
        name, particles = self._add_particles(name, "rigid", frame.points, velocity, pose)
        self._velocities[-1] = self._velocities[-1] + np.cross(spin, pose - pose.mean(axis=0))
        self._frames.append(particles[0])
        law = laws.RIGID
        rows = self._add_stencils(law, particles[None])
        feed = Feed(laws.INERTIA.name, 0, particles, sparse.csr_matrix(np.full((4, 1), 0.25)))
        found = {"mass": self._register(Parameter(f"{name}.mass", "kg", np.array([mass]), (feed,), {"lower": 0.0, "lower_open": True}))}
        found["rigidity"] = self._law_parameter(f"{name}.rigidity", law, "young", rows, np.array([young]))
        found["mass_damping"] = self._mass_damping(name, particles, 0.0)
        body = self._add_body(Body(name, particles, frame, found))
        self._contact.add(Surface(name, particles, frame))
        return body

    def add_collider(self, shape, position=(0.0, 0.0, 0.0), rotation=(1.0, 0.0, 0.0, 0.0), name=None):
        """A rigid thing that others touch: it stands still, or moves as a Control says.

        Args:
            shape: Plane, Box, Sphere, Capsule, Cylinder or a TriMesh in its own coordinates; or a list of (shape, position, rotation).
            position: [m], shape [3].
            rotation: quaternion (w, x, y, z), made unit.
            name: to find it again, and that of its attachment; None counts up: "collider", "collider_1", ...

        Returns:
            Body whose attachment of the same name moves it: `Control.from_poses(model, times, {body.name: (positions, quaternions)})`
            takes poses of its own coordinates in the world.

        Raises:
            InputError: not a shape, a name taken.
        """
        given = shape if isinstance(shape, (list, tuple)) else [(shape, np.zeros(3), (1.0, 0.0, 0.0, 0.0))]
        if not given:
            raise InputError("shape: an empty list was given; at least one shape is needed")
        shape = tuple((_shape(part), validation.array("position", p, (3,)), rotation_matrix(r)) for part, p, r in given)
        frame = collider_frame(shape, FRAME)
        pose = frame.points @ rotation_matrix(rotation).T + validation.array("position", position, (3,))
        name = self._unique(name or "collider", self._bodies | self._attachments, given=name is not None)
        name, particles = self._add_particles(name, "collider", frame.points, (0.0, 0.0, 0.0), pose)
        self._fixed.append(particles)
        self._weightless.append(particles)
        self._attachments[name] = Attachment(name, particles, None)
        self._contact.add(Surface(name, particles, frame))
        return self._add_body(Body(name, particles, frame, {}))

    def add_driven(self, shape, position=(0.0, 0.0, 0.0), rotation=(1.0, 0.0, 0.0, 0.0), stiffness=1e4, name=None):
        """A rigid thing that is driven towards a pose and gives way to what it touches, as a robot's link does.

        It has no mass of its own: the drive is a quadratic energy of the way and the turn from the target's pose, whose 6 x 6 stiffness
        may be that of a servo, or an inertia over the step squared (`physsim.coupling`).

        Args:
            shape, position, rotation: as in `add_collider`.
            stiffness: of the drive [N/m] until `params` give another: K = stiffness (1, 1, 1, s^2, s^2, s^2) with s = 0.1 m.
            name: as in `add_collider`; also of the attachment whose targets are the drive's.

        Returns:
            Body with the parameter drive: the 21 entries of the lower triangle of K, row by row ([N/m], [N], [N m], world axes, about the
            middle of the four points), and rigidity [N/m], which keeps the four points a rigid frame.

        Raises:
            InputError: not a shape, a value out of range, a name taken.
        """
        stiffness = float(validation.array("stiffness", stiffness, (), lower=0.0, lower_open=True))
        body = self.add_collider(shape, position, rotation, name)
        self._fixed.pop()
        rows = self._add_stencils(laws.DRIVE, body.particles[None])
        lower = np.tril_indices(6)
        K = np.diag([stiffness] * 3 + [stiffness * FRAME**2] * 3)[lower]
        feeds = tuple(Feed(laws.DRIVE.name, c, rows, sparse.csr_matrix(([1.0], ([0], [c])), (1, 21))) for c in range(21))
        found = {"drive": self._register(Parameter(f"{body.name}.drive", "N/m, N, N m", K, feeds))}
        found["rigidity"] = self._law_parameter(f"{body.name}.rigidity", laws.DRIVE, "stiffness", rows, np.array([100.0 * stiffness]))
        self._attachments[body.name] = Attachment(body.name, body.particles, found["rigidity"])
        self._frames.append(body.particles[0])
        return self._add_body(Body(body.name, body.particles, body.mesh, found))

    def add_ground(self, height=0.0, name="ground"):
        """A collider that fills everything below a height [m]; see `add_collider`."""
        height = float(validation.array("height", height, ()))
        return self.add_collider(shapes.Plane(), (0.0, 0.0, height), name=name)

    def enable_contact(self, gap=None, friction=0.5, stiffness=None, damping=0.0, creep=1e-4):
        """Let everything touch everything, and each soft thing itself.

        What is held (colliders, exact attachments) does not touch what is held. Where it is moved, it presses no layer below a hundredth of
        its gap, with up to a hundred times the stiffness: it stays behind, and `StepReport.unreached` says by how much. Static solves know
        contact without friction.

        Args:
            gap: distance at which contact begins to push [m]; None: 1 mm, or less where edges are short.
            friction: coefficient of every pair of materials that `contact_between` does not name [-].
            stiffness: pressure at about half the gap [Pa]; None: the largest of a fifth of Young's modulus of solids, what stops sheets and
                rods within the gap after a fall by their extent, and ten times what weights press.
            damping: of the contact layer [Pa s/m]: pressure per speed at which it is pressed together; it takes the bounce away. The
                layer resists opening, too: what parts faster than about 3 stiffness / damping is held back a little.
            creep: sliding speed at which friction is fully developed [m/s].

        Returns:
            ContactPair of the material that surfaces have where `set_surface` gives them no other.

        Raises:
            InputError: called twice, a value out of range.
        """
        return self._contact.enable(gap, friction, stiffness, damping, creep)

    def contact_between(self, material_a, material_b, friction=None, stiffness=None, damping=None):
        """Contact parameters of two materials; where one is None, the value of `enable_contact` holds.

        Args:
            material_a, material_b: names, as given to `set_surface`; the same for surfaces of one material.
            friction, stiffness, damping: as in `enable_contact`.

        Returns:
            ContactPair: handles of the parameters "contact.A-B.friction", ".stiffness" and ".damping".

        Raises:
            InputError: contact is not enabled, the pair has parameters already, a value out of range.
        """
        return self._contact.between(material_a, material_b, friction, stiffness, damping)

    def set_surface(self, body, material=None, thickness=None, self_contact=None):
        """How a body touches.

        Args:
            body: Body.
            material: name for `contact_between`.
            thickness: [m]; half of it lies on each side of the body's points and triangles.
            self_contact: whether a soft body may touch itself.

        Raises:
            InputError: a body of another builder or without a surface, a value out of range.
        """
        self._contact.set_surface(self._surface_name(body), material, thickness, self_contact)

    def ignore_contact(self, body_a, body_b):
        """Let two bodies pass through each other; the same body twice: through itself."""
        self._contact.ignore(self._surface_name(body_a), self._surface_name(body_b))

    def _surface_name(self, body):
        if not isinstance(body, Body) or self._bodies.get(body.name) is not body or body.name not in self._contact:
            raise InputError("body: a Body that this builder made is needed; take what its add_... returned")
        return body.name

    def _masses(self):
        """Masses of all particles as added [kg], [n]."""
        masses = np.zeros(self._count)
        for p in self._parameters.values():
            for f in p.feeds:
                if f.law == laws.INERTIA.name and f.column == 0:
                    masses[f.rows] += p.value if f.matrix is None else f.matrix @ p.value.ravel()
        return masses

    def finalize(self, device="cpu", dtype="float64", envs=None):
        """The frozen model.

        Args:
            device: "cpu", or a CUDA device as Warp names it ("cuda", "cuda:0").
            dtype: "float32" or "float64", of states and laws.
            envs: None: one, arrays without an environment axis; k: k side by side, each with its own states and parameters.

        Raises:
            InputError: nothing was added, an unknown device or dtype, envs below 1.
        """
        if not self._bodies:
            raise InputError("finalize: the builder holds no body; add_soft_body, add_springs, add_cloth or add_rod first")
        if not isinstance(dtype, str) or dtype not in laws.SCALARS:
            raise InputError(f"dtype = {dtype!r}: allowed are {', '.join(laws.SCALARS)}")
        count = 1 if envs is None else int(validation.array("envs", envs, (), kind="i", lower=1))
        device = device_name(device)
        everyone = np.arange(self._count)
        heavy = np.ones(self._count)
        for particles in self._weightless:
            heavy[particles] = 0.0
        free = np.ones(self._count, bool)
        for points in self._fixed:
            free[points] = False
        contact, stiffnesses = self._contact.scene(free, self._masses(), self._gravity)
        feeds = _vector_feeds(laws.INERTIA, "gravity", everyone, heavy)
        parameters = {"gravity": Parameter("gravity", "m/s^2", self._gravity, feeds)} | self._parameters
        stencils = {laws.INERTIA: [everyone[:, None]]} | self._stencils
        return Model(
            device=device,
            dtype=dtype,
            envs=count,
            batched=envs is not None,
            rest=np.concatenate(self._points),
            free=free,
            velocities=np.concatenate(self._velocities),
            positions=np.concatenate(self._poses),
            blocks=tuple(LawBlock(law, np.concatenate(parts)) for law, parts in stencils.items()),
            bodies=dict(self._bodies),
            attachments=dict(self._attachments),
            parameters=ParameterSet(parameters, count).replace(stiffnesses),
            contact=contact,
            frames=np.array(self._frames, int),
        )

    def _add_particles(self, name, kind, points, velocity, pose=None):
        velocity = validation.array("velocity", velocity, (3,))
        pose = points if pose is None else validation.array("pose", pose, points.shape)
        name = self._unique(name or kind, self._bodies, given=name is not None)
        particles = np.arange(self._count, self._count + len(points))
        self._points.append(points)
        self._poses.append(pose)
        self._velocities.append(np.tile(velocity, (len(points), 1)))
        self._count += len(points)
        return name, particles

    def _add_body(self, body):
        self._bodies[body.name] = body
        return body

    def _add_stencils(self, law, stencil):
        parts = self._stencils.setdefault(law, [])
        start = sum(len(p) for p in parts)
        parts.append(stencil)
        return np.arange(start, start + len(stencil))

    def _register(self, parameter):
        if parameter.name in self._parameters:
            raise InputError(f"parameter {parameter.name!r} is there already; give the body, weight, load or attachment another name")
        self._parameters[parameter.name] = parameter
        return parameter

    def _law_parameter(self, name, law, key, rows, value):
        p = law.parameters[law.column(key)]
        bounds = {"lower": p.lower, "upper": p.upper, "lower_open": p.lower_open, "upper_open": p.upper_open}
        return self._register(Parameter(name, p.unit, value, (Feed(law.name, law.column(key), rows),), bounds))

    def _mass_damping(self, name, particles, value):
        feed = Feed(laws.INERTIA.name, 1, particles, sparse.csr_matrix(np.ones((len(particles), 1))))
        value = validation.array("mass_damping", value, (), lower=0.0).reshape(1)
        return self._register(Parameter(f"{name}.mass_damping", "1/s", value, (feed,), {"lower": 0.0}))

    def _points_of(self, body, points):
        if not isinstance(body, Body) or self._bodies.get(body.name) is not body:
            given = f"{body.name!r} of another builder" if isinstance(body, Body) else type(body).__name__
            raise InputError(f"body: a Body that this builder made is needed, {given} was given; take what its add_... returned")
        name = f"points of {body.name!r}"
        points = validation.indices(name, np.atleast_1d(validation.given_array(name, points)), len(body.particles))
        if len(points) == 0:
            raise InputError(f"points of {body.name!r}: none were given")
        if len(np.unique(points)) < len(points):
            raise InputError(f"points of {body.name!r}: a point is named twice; name each once")
        return body.particles[points]

    @staticmethod
    def _unique(name, taken, given=False):
        if name not in taken and name != "gravity":
            return name
        if given:
            raise InputError(f"name = {name!r} is taken; choose another")
        k = 1
        while f"{name}_{k}" in taken:
            k += 1
        return f"{name}_{k}"


def _shape(shape):
    return validation.instance("shape", shape, (*shapes.SHAPES, TriMesh))


def _largest_stretch(body):
    """Largest stretch stiffness of a sheet [N/m]; 0 where the body is none."""
    largest = 0.0
    for p in body.parameters.values():
        for feed in p.feeds:
            if feed.law == laws.MEMBRANE.name and laws.MEMBRANE.parameters[feed.column].name.startswith("stretch"):
                largest = max(largest, float((feed.matrix @ p.value).max()))
    return largest


def _rod_pose(curve, pose):
    """Positions of points and directors from those of the centreline, or of both."""
    given = validation.given_array("pose", pose).shape
    n = len(curve.points)
    if given == curve.line.shape:
        return curve.posed(pose)
    if given != (n, 3):
        both = f" or, with directors, [{n}, 3]" if n > curve.point_count else ""
        raise InputError(f"pose: shape {list(given)} was given, [{curve.point_count}, 3] (the centreline){both} is needed")
    pose = validation.array("pose", pose, (n, 3))
    curve.posed(pose[: curve.point_count])  # checks
    return pose


def _per(name, value, count):
    scalar = validation.is_scalar(name, value)
    value = validation.array(name, value, () if scalar else (count,))
    return np.full(count, float(value)) if scalar else value


def _weights(weights, count):
    if weights is None:
        return np.full(count, 1 / count)
    weights = validation.array("weights", weights, (count,), lower=0.0)
    if weights.sum() <= 0:
        raise InputError("weights: all are zero; at least one must be above 0")
    return weights / weights.sum()


def _vector_feeds(law, prefix, rows, shares):
    """Feeds of a parameter of shape [3] into the columns prefix_x, prefix_y, prefix_z, each row taking its share."""
    feeds = []
    for c, axis in enumerate("xyz"):
        matrix = sparse.csr_matrix((shares, (np.arange(len(rows)), np.full(len(rows), c))), (len(rows), 3))
        feeds.append(Feed(law.name, law.column(f"{prefix}_{axis}"), rows, matrix))
    return tuple(feeds)


def device_name(name):
    """Warp's name of a device.

    Raises:
        InputError: the device is not here; those that are, are listed.
    """
    with quiet_warp():
        wp.init()
    try:
        return str(wp.get_device(name))
    except Exception:
        known = ", ".join(str(d) for d in wp.get_devices())
        raise InputError(f"device = {name!r} is not known here; there are {known}") from None
