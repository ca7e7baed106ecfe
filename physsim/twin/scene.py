"""A capture's body as a model: material, handles that hold it, ground and gravity, ready to be simulated and fitted."""

import copy

import numpy as np

from physsim.appearance.nearest import nearest_element
from physsim.capture.capture import Capture
from physsim.errors import InputError
from physsim.physics import validation
from physsim.physics.builder import ModelBuilder
from physsim.physics.frames import quaternions_of
from physsim.physics.materials import NeoHookean, Rod, Shell
from physsim.physics.model import Control, State
from physsim.physics.rods import Curve
from physsim.physics.shapes import Plane
from physsim.physics.solvers.implicit import SolverImplicit
from physsim.physics.solvers.static import SolverStatic
from physsim.twin.body import SoftBody
from physsim.twin.elements import elements_of
from physsim.twin.holds import Hold, find_holds
from physsim.twin.material import first_material

LONGEST = 1 / 120  # step that is taken where frames are not closer together [s]: 3 Hz come out 1 % too slow
LOCKS = 0.4  # Poisson's ratio above which four-node tetrahedra are far too stiff
GAP = 1e-3  # contact begins to push this far from the ground [m], or a tenth of an edge
MARGIN = 0.25  # handles move on for this long beyond the frames, so that a time offset can be fitted [s]
HOLDS = "holds"  # name of the attachment


class TwinScene:
    """A capture's body, held and moved as the capture says.

    The particles are the body's mesh points first, in their order (of ten-node tetrahedra the given corners, then the middles; of a rod
    the centreline, then the directors); the ground's own points, if any, come last.

    Args:
        capture: Capture.
        body: SoftBody.
        material: NeoHookean, Shell or Rod to begin with; None: from what is known of the body, see `remarks`.
        dt: step [s]; None: a part of the time between frames, at most 1/120 s.
        envs: starts that are simulated side by side; None: one, without an axis for it.
        contact: whether the body touches the ground ("ground"), itself too ("self"), or nothing ("none"); None: the ground where one is
            known.
        integrator: "bdf2" or "backward_euler"; None: the second where there is contact, the first else.
        hold_stiffness: of the tether of each held point [N/m]; None: held points go exactly where the handle carries them.
        holds: Holds; None: found, see `physsim.twin.holds`.
        order: of a solid's tetrahedra: 1 or 2 (ten nodes); None: as the mesh is, ten nodes where Poisson's ratio is above 0.4.
        device, dtype: as `ModelBuilder.finalize`.

    Raises:
        InputError: a material of another kind, a value out of range, a handle that lets go within the frames.
    """

    def __init__(
        self,
        capture: Capture,
        body: SoftBody,
        material: NeoHookean | Shell | Rod | None = None,
        *,
        dt: float | None = None,
        envs: int | None = None,
        contact: str | None = None,
        integrator: str | None = None,
        hold_stiffness: float | None = None,
        holds: list[Hold] | None = None,
        order: int | None = None,
        device: str = "cpu",
        dtype: str = "float64",
    ):
        self.capture = validation.instance("capture", capture, Capture)
        soft_body = validation.instance("body", body, SoftBody)
        known = capture.known
        remarks = []
        if material is None:
            material, remarks = first_material(soft_body, known, capture.gravity)
        if contact is None:
            contact = "none" if known.ground is None else "ground"
        if contact not in ("none", "ground", "self"):
            raise InputError(f'contact = {contact!r}: must be "none", "ground" or "self"')
        if contact == "ground" and known.ground is None:
            raise InputError('contact = "ground": the capture knows no ground; give Known.ground, a point and its normal')
        self.soft_body = _ordered(soft_body, material, order)
        self.material, self.contact = material, contact
        self.start_frame = int(capture.fit[0]) if len(capture.fit) else 0
        self.start_time = float(capture.times[self.start_frame])
        self.dt = step_between(capture.times) if dt is None else float(validation.array("dt", dt, (), lower=0.0, lower_open=True))
        self.integrator = integrator or ("bdf2" if contact == "none" else "backward_euler")
        if holds is None:
            holds, found = find_holds(capture, self.soft_body)
            remarks = remarks + found
        self.holds = tuple(holds)
        self._refuse_releases()
        self.remarks = (*self.soft_body.remarks, *remarks)
        self._build(envs, hold_stiffness, device, dtype)
        self.control = self._control()

    def _refuse_releases(self) -> None:
        last = self.capture.times[-1]
        for hold in self.holds:
            when = hold.begin if hold.begin > self.start_time else hold.end if hold.end < last else None
            if when is not None:
                does = "takes hold" if hold.begin > self.start_time else "lets go"
                text = f"handle {hold.handle!r} {does} at {when:.4g} s, within the frames; a hold lasts for the whole of a fit"
                raise InputError(f"{text}. Cut the capture there by `Capture.with_frames` (fit and test on one side of it)")

    def _build(self, envs, hold_stiffness, device, dtype):
        builder = ModelBuilder(self.capture.gravity)
        soft, material = self.soft_body, self.material
        if isinstance(soft.mesh, Curve):
            self.body = builder.add_rod(soft.mesh, material, name="body", pose=soft.pose)
        elif soft.kind == "sheet":
            self.body = builder.add_cloth(soft.mesh, material, name="body", pose=soft.pose)
        else:
            self.body = builder.add_soft_body(soft.mesh, material, name="body")
        attachment = None
        if self.holds:
            held = np.concatenate([hold.points for hold in self.holds])
            attachment = builder.attach(self.body, held, stiffness=hold_stiffness, name=HOLDS)
        if self.capture.known.weights is not None:
            self._weigh_down(builder)
        pair = self._touch(builder) if self.contact != "none" else None
        self.model = builder.finalize(device=device, dtype=dtype, envs=envs)
        self.parameters = dict(self.body.parameters) | {"gravity": self.model.parameters.find("gravity")}
        if pair is not None:
            self.parameters |= {"friction": pair.friction, "contact_stiffness": pair.stiffness, "contact_damping": pair.damping}
        if attachment is not None and attachment.stiffness is not None:
            self.parameters["hold_stiffness"] = attachment.stiffness

    def _weigh_down(self, builder):
        """Each weight hangs on the element that is nearest at rest, its mass shared out to the corners."""
        weights = validation.array("known.weights", self.capture.known.weights, (None, 4))
        rest, elements = self.soft_body.points, elements_of(self.soft_body.mesh)
        which, shares, away = nearest_element(weights[:, :3], rest[elements])
        if (away > self.soft_body.cell_size).any():
            far = int(away.argmax())
            raise InputError(
                f"known.weights[{far}] lies {away[far]:.3g} m from the body at rest; give its place in the coordinates of the mesh"
            )
        masses = np.bincount(elements[which].ravel(), (shares * weights[:, 3:]).ravel(), minlength=len(rest))
        points = np.flatnonzero(masses > 0.0)
        builder.add_mass(self.body, points, masses.sum(), weights=masses[points])

    def _touch(self, builder):
        known = self.capture.known
        self._gap = min(GAP, 0.1 * self.soft_body.cell_size)
        if known.ground is not None:
            point, normal = np.asarray(known.ground, float)
            normal = normal / np.linalg.norm(normal)
            # what rests on it floats within the gap: the solid lies lower by it, so that the body rests where it was seen
            self._ground = point - self._gap * normal, normal
            builder.add_collider(Plane(), self._ground[0], quaternions_of(_turn_to(normal)), name="ground")
        builder.set_surface(self.body, self_contact=self.contact == "self")
        return builder.enable_contact(gap=self._gap, friction=0.5 if known.friction is None else known.friction)

    def _control(self) -> Control | None:
        if not self.holds:
            return None
        steps = int(np.ceil((self.capture.times[-1] - self.start_time + MARGIN) / self.dt))
        before = int(np.ceil(MARGIN / self.dt))
        times = self.start_time + self.dt * np.arange(-before, steps + 1)
        targets = [hold.targets(self.capture.handles[hold.handle], times) for hold in self.holds]
        return Control(times, {HOLDS: np.concatenate(targets, axis=1)})

    def with_step(self, dt: float | None) -> "TwinScene":
        """The same scene simulated in steps of dt [s]; None: in its own."""
        if dt is None or dt == self.dt:
            return self
        other = copy.copy(self)
        other.dt = float(dt)
        other.control = other._control()
        return other

    @property
    def held(self) -> np.ndarray:
        """Numbers of the held particles, as in the control's targets, shape [p]."""
        return np.concatenate([hold.points for hold in self.holds]) if self.holds else np.zeros(0, int)

    @property
    def count(self) -> int:
        """Particles of the body."""
        return len(self.body.particles)

    @property
    def surface(self) -> np.ndarray | None:
        """Triangles that can be seen, of particle numbers, shape [t, 3]; None of a rod."""
        return self.soft_body.surface

    @property
    def edges(self) -> np.ndarray:
        """Pairs of particles that an edge joins, shape [e, 2]."""
        return self.soft_body.edges

    @property
    def thickness(self) -> float:
        """Of a sheet, or diameter of a rod [m]; 0 of a solid."""
        if self.soft_body.kind == "solid":
            return 0.0
        if self.soft_body.kind == "rod":
            known = self.capture.known.thickness
            radius = self.material.radius if known is None else known / 2
            return 0.0 if radius is None else 2 * float(np.max(radius))
        return 0.0 if self.material.thickness is None else float(np.max(self.material.thickness))

    def frames_times(self, frames: np.ndarray) -> np.ndarray:
        """Times of frames [s]."""
        return self.capture.times[np.asarray(frames, int)]

    def solver(self, **options: object) -> SolverImplicit:
        """Solver of the scene's step and integrator; options as `SolverImplicit`."""
        return SolverImplicit(self.model, self.dt, self.integrator, **options)

    def static(self, **options: object) -> SolverStatic:
        """Solver of equilibria; options as `SolverStatic`."""
        return SolverStatic(self.model, **options)

    def state(self, positions: np.ndarray | None = None, velocities: np.ndarray | None = None, time: float | None = None) -> State:
        """A state of the model.

        Args:
            positions: [m], shape [n, 3] or [envs, n, 3]: of all particles, of the body's, or of its mesh's points alone (of a rod the
                centreline, whose directors follow without twist); None: the body's pose. What lies below the ground is lifted onto it.
            velocities: [m/s], the same shapes; None: at rest.
            time: [s]; None: of the first fitted frame.

        Raises:
            InputError: shapes that do not fit.
        """
        given = self.soft_body.pose if positions is None else positions
        x = self._lifted(self.spread(given))
        v = np.zeros_like(x) if velocities is None else self.spread(velocities, around=given)
        return self.model.state(x, v, self.start_time if time is None else time)

    def spread(self, values: np.ndarray, around: np.ndarray | None = None) -> np.ndarray:
        """Positions, or displacements `around` positions, of every particle of the model [..., n, 3] from those of the first ones."""
        values = np.asarray(values, float)
        n = self.model.particle_count
        if values.shape[-2:] == (n, 3):
            return values
        mesh = self.body.mesh
        if isinstance(mesh, Curve) and values.shape[-2:] == (mesh.point_count, 3):
            values = _with_directors(mesh, values, None if around is None else np.asarray(around, float)[..., : mesh.point_count, :])
        if values.shape[-2:] != (self.count, 3):
            raise InputError(f"positions: shape {list(values.shape)} was given; [..., {n}, 3] or [..., {self.count}, 3] is needed")
        out = np.zeros((*values.shape[:-2], n, 3))
        out[..., self.count :, :] = self.model.positions[self.count :] if around is None else 0.0
        out[..., : self.count, :] = values
        return out

    def _lifted(self, x: np.ndarray) -> np.ndarray:
        if self.contact == "none" or self.capture.known.ground is None:
            return x
        point, normal = self._ground
        lowest = self.thickness / 2 + 0.5 * self._gap
        body = x[..., : self.count, :]
        lack = np.maximum(lowest - (body - point) @ normal, 0.0)
        out = x.copy()
        out[..., : self.count, :] = body + lack[..., None] * normal
        return out


def step_between(times: np.ndarray, longest: float = LONGEST) -> float:
    """A step [s] of which the usual time between frames is a multiple, at most `longest`."""
    interval = float(np.median(np.diff(times))) if len(times) > 1 else longest
    return interval / max(1, int(np.ceil(interval / longest - 1e-6)))


def _ordered(body: SoftBody, material: object, order: int | None) -> SoftBody:
    """The body with tetrahedra of the order that its material asks for."""
    if body.kind != "solid":
        return body
    if order not in (None, 1, 2):
        raise InputError(f"order = {order!r}: 1 (four-node tetrahedra) or 2 (ten-node) is needed")
    if order == 1 and body.mesh.order == 2:
        raise InputError("order = 1: the body's tetrahedra have ten nodes already; give a mesh of four-node ones")
    locks = isinstance(material, NeoHookean) and np.max(material.poisson) > LOCKS
    return body.quadratic() if order == 2 or (order is None and locks) else body


def _turn_to(normal: np.ndarray) -> np.ndarray:
    """A rotation [3, 3] that turns z into a unit vector."""
    across = np.eye(3)[np.abs(normal).argmin()]
    x = across - (across @ normal) * normal
    x /= np.linalg.norm(x)
    return np.stack([x, np.cross(normal, x), normal], axis=1)


def _with_directors(curve: Curve, line: np.ndarray, around: np.ndarray | None) -> np.ndarray:
    """Points and directors [..., n + m, 3] of centrelines; of displacements, how the directors of `around` follow them."""
    if not curve.framed:
        return line
    flat = line.reshape(-1, curve.point_count, 3)
    if around is None:
        out = [curve.posed(one) for one in flat]
    else:
        places = np.broadcast_to(around, line.shape).reshape(flat.shape)
        small = 1e-4 * float(curve.lengths.min()) / max(float(np.abs(flat).max()), 1e-12)
        out = [(curve.posed(x + small * v) - curve.posed(x - small * v)) / (2 * small) for x, v in zip(places, flat, strict=True)]
    return np.array(out).reshape(*line.shape[:-2], -1, 3)
