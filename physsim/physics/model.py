"""Model (particles and laws, frozen), Body, State and Control."""

from dataclasses import dataclass, field, replace

import numpy as np
import warp as wp

from physsim.errors import InputError
from physsim.physics import validation
from physsim.physics.contact.scene import COLUMNS, TABLE, ContactScene
from physsim.physics.laws import SCALARS, Law
from physsim.physics.parameters import Parameter, ParameterSet
from physsim.physics.sheets import TriMesh, check_areas


@dataclass(frozen=True)
class Body:
    """A named body: its particles and the handles of its parameters.

    `body.young`, `body.density`, `body.stiffness`, ... are Parameter handles for `params`.
    """

    name: str
    particles: np.ndarray  # numbers in the model, shape [n]
    mesh: object  # TetMesh, SpringNet, TriMesh or Curve
    parameters: dict = field(repr=False)
    material: object = field(default=None, repr=False)  # as it was given: NeoHookean, Spring, Shell or Rod; None of rigid things

    @property
    def points(self):
        """Rest positions [m], shape [n, 3]."""
        return self.mesh.points

    def __getattr__(self, name):
        parameters = self.__dict__.get("parameters", {})
        if name in parameters:
            return parameters[name]
        if name.startswith("__"):
            raise AttributeError(name)
        raise AttributeError(f"body {self.__dict__.get('name')!r} has no parameter {name!r}; it has {', '.join(parameters)}")


@dataclass(frozen=True, eq=False)  # by identity, so that it is a key of dicts
class Attachment:
    """Named particles held to targets: exactly (`stiffness` None) or by tethers."""

    name: str
    particles: np.ndarray
    stiffness: Parameter | None


@dataclass(frozen=True, eq=False)
class Tendon:
    """A string through waypoints of a body.

    Args:
        name: of its parameters, and of the attachment that moves its end.
        particles: numbers of its waypoints in the model, in order, shape [k].
        length: of its way at rest [m].
        stiffness: Parameter [N/m].
        rest_length: Parameter [m].
        end: Attachment of the driven end, or None.
    """

    name: str
    particles: np.ndarray
    length: float
    stiffness: Parameter
    rest_length: Parameter
    end: Attachment | None


@dataclass(frozen=True)
class LawBlock:
    """All stencils of one law."""

    law: Law
    stencil: np.ndarray  # [m, points]


@dataclass(frozen=True)
class Model:
    """Bodies and laws, ready to be solved; immutable. Built by `ModelBuilder.finalize`."""

    device: str
    dtype: str
    envs: int
    batched: bool  # whether arrays handed in and out have the environment axis
    rest: np.ndarray  # [n, 3]
    free: np.ndarray  # [n] bool
    velocities: np.ndarray  # initial, [n, 3]
    blocks: tuple[LawBlock, ...]
    bodies: dict
    attachments: dict
    parameters: ParameterSet
    positions: np.ndarray | None = None  # initial, [n, 3]; None: at rest
    contact: ContactScene | None = None  # surfaces that may touch
    frames: np.ndarray = field(default_factory=lambda: np.zeros(0, int))  # first of the four particles of each rigid body that is free

    def __post_init__(self):
        if self.positions is None:
            object.__setattr__(self, "positions", self.rest)
        for array in (self.rest, self.free, self.velocities, self.positions):
            array.setflags(write=False)

    @property
    def particle_count(self):
        """Number of particles of one environment."""
        return len(self.rest)

    def body(self, name):
        """A body by its name.

        Raises:
            InputError: no body of that name.
        """
        if name not in self.bodies:
            raise InputError(f"the model has no body {name!r}; it has {', '.join(self.bodies)}")
        return self.bodies[name]

    @property
    def column_shapes(self):
        """dict law -> (stencils, parameters)."""
        shapes = {b.law.name: (len(b.stencil), len(b.law.parameters)) for b in self.blocks}
        return shapes if self.contact is None else shapes | {TABLE: (self.contact.class_count, len(COLUMNS))}

    def expand(self, name, value):
        """Broadcast particle vectors to [envs, n, 3].

        Raises:
            InputError: a shape other than [n, 3] or [envs, n, 3]; NaN or infinite values.
        """
        n = self.particle_count
        value = validation.array(name, value, (None,) * min(max(validation.given_array(name, value).ndim, 2), 3))
        allowed = [(n, 3), (self.envs, n, 3)]
        if value.shape not in allowed:
            raise InputError(f"{name}: shape {list(value.shape)} was given; [{n}, 3] or [{self.envs}, {n}, 3] is needed")
        return np.array(np.broadcast_to(value, (self.envs, n, 3)))

    def squeeze(self, value, axis=0):
        """Drop the environment axis where the user asked for none."""
        return value if self.batched else value.squeeze(axis)

    def vectors(self, value):
        """Device array [envs, n] of 3-vectors from numpy [envs, n, 3]."""
        real = SCALARS[self.dtype]
        return wp.array(np.ascontiguousarray(value), dtype=wp.types.vector(3, real), device=self.device, ndim=2)

    def replicated(self, envs):
        """The same model with `envs` environments side by side; parameters, attachments and controls of this one fit it.

        Raises:
            InputError: it has several environments, whose values may differ.
        """
        return replace(self, envs=envs, batched=True, parameters=self.parameters.replicated(envs))

    def state(self, positions=None, velocities=None, time=0.0):
        """A state of this model.

        Args:
            positions: [m], shape [n, 3] or [envs, n, 3]; None: the builder's, which are the rest shape where no pose was given.
            velocities: [m/s], the same shapes; None: the builder's.
            time: [s].

        Returns:
            State without history (the first step of a two-step scheme is a one-step one).

        Raises:
            InputError: shapes that do not fit, NaN, a triangle of a sheet without area.
        """
        x = self.expand("positions", self.positions if positions is None else positions)
        v = self.expand("velocities", self.velocities if velocities is None else velocities)
        for body in self.bodies.values() if positions is not None else ():
            if isinstance(body.mesh, TriMesh):
                check_areas(f"positions of {body.name!r}", x[:, body.particles], body.mesh.triangles)
        return State(self, self.vectors(x), self.vectors(v), time=float(validation.array("time", time, ())))

    def load_state(self, path):
        """Read a state that `State.save` wrote.

        Raises:
            InputError: not such a file, or of another model's shape.
        """
        from physsim.io.arrays import load_arrays

        data = load_arrays(path, kind="state")
        lacking = [k for k in ("positions", "velocities", "time") if k not in data]
        if "old_positions" in data:
            lacking += [k for k in ("old_velocities", "dt") if k not in data]
        if lacking:
            raise InputError(f"{path}: it holds no {', '.join(lacking)}; write it again by State.save")
        state = self.state(data["positions"], data["velocities"], data["time"])
        if "old_positions" in data:
            old = [self.vectors(self.expand(f"old_{k}", data[f"old_{k}"])) for k in ("positions", "velocities")]
            state = State(self, state.x, state.v, old[0], old[1], state.time, float(data["dt"]))
        return state

    def save_parameters(self, path, params=None):
        """Write a parameter set (None: the model's own; a dict of changes is accepted) to a file for `load_parameters`."""
        from physsim.io.arrays import save_arrays

        values = self.resolve(params)
        save_arrays(path, "parameters", {name: values[name] for name in values.names()})

    def load_parameters(self, path):
        """Read a ParameterSet that `save_parameters` wrote.

        Raises:
            InputError: not such a file, or parameters that this model lacks.
        """
        from physsim.io.arrays import load_arrays

        return self.parameters.replace(load_arrays(path, kind="parameters"))

    def resolve(self, params):
        """A ParameterSet from None, a ParameterSet or a dict of changes."""
        if isinstance(params, ParameterSet):
            if not params.belongs_to(self.parameters):
                raise InputError("params: a ParameterSet of another model was given; make one by model.parameters.replace")
            return params
        if params is not None and not isinstance(params, dict):
            raise InputError(f"params: a dict from Parameter to value, or a ParameterSet, is needed, not {type(params).__name__}")
        return self.parameters.replace(params) if params else self.parameters


def require_model(model):
    """The model, if it is one.

    Raises:
        InputError: anything else; of a ModelBuilder, that `finalize` makes the model.
    """
    remedy = "call its finalize() and hand in what it returns" if hasattr(model, "finalize") else "ModelBuilder.finalize() makes one"
    return validation.instance("model", model, Model, remedy)


def require_state(model, state):
    """The state, if it is one of this model.

    Raises:
        InputError: another object, or a state of another model.
    """
    validation.instance("state", state, State, "model.state() makes one")
    if state.model is not model:
        raise InputError("state: it belongs to another model; make one by model.state()")
    return state


def find_attachment(model, key, name):
    """Name of an attachment of the model, from it or its name.

    Raises:
        InputError: the model lacks it, or it is of another builder.
    """
    found = getattr(key, "name", key)
    if not isinstance(found, str) or found not in model.attachments:
        raise InputError(f"{name}: the model has no attachment {found!r}; it has {', '.join(model.attachments) or 'none'}")
    if isinstance(key, Attachment) and model.attachments[found] is not key:
        raise InputError(f"{name}: attachment {found!r} is of another builder; use this model's, or the name")
    return found


@dataclass(frozen=True, eq=False)
class State:
    """Positions, velocities and the integrator's history at one time. A value: steps give a new one.

    `x`, `v` and, a step of `dt` before, `x1`, `v1` (None without history) are device arrays [envs, n] of 3-vectors that nobody writes
    again; `cache` holds what a solver may reuse (a factorisation), `steady` how alike the last two accelerations are
    (`physsim.kernels.stepping`), by which the next solve begins: neither is part of the value.
    """

    model: Model = field(repr=False)
    x: wp.array = field(repr=False)
    v: wp.array = field(repr=False)
    x1: wp.array | None = field(default=None, repr=False)
    v1: wp.array | None = field(default=None, repr=False)
    time: float = 0.0
    dt: float | None = None  # step that lies between the history and now [s]
    cache: object = field(default=None, repr=False)
    steady: wp.array | None = field(default=None, repr=False)

    def follows(self, dt):
        """Whether (x1, v1) are those of one step of this size before: a two-step scheme may use no others."""
        return self.x1 is not None and self.dt is not None and abs(self.dt - dt) <= 1e-12 * dt

    @property
    def positions(self):
        """[m], numpy, shape [n, 3], with several environments [envs, n, 3]."""
        return self.model.squeeze(self.x.numpy().copy())

    @property
    def velocities(self):
        """[m/s], numpy, shape [n, 3], with several environments [envs, n, 3]."""
        return self.model.squeeze(self.v.numpy().copy())

    def save(self, path):
        """Write to a file (numpy's npz) for `Model.load_state`."""
        from physsim.io.arrays import save_arrays

        arrays = {"positions": self.x.numpy(), "velocities": self.v.numpy(), "time": np.array(self.time)}
        if self.x1 is not None:
            arrays |= {"old_positions": self.x1.numpy(), "old_velocities": self.v1.numpy(), "dt": np.array(self.dt)}
        save_arrays(path, "state", arrays)


class Control:
    """Targets of attachments over time, linear between the given times, constant outside.

    Args:
        times: [s], shape [k], increasing.
        targets: dict from attachment name (or Attachment) to positions [m], shape [k, points, 3] or [k, envs, points, 3];
            numpy, or torch tensors to be differentiated by `simulate`.

    Raises:
        InputError: times that do not increase, NaN, shapes that do not fit.
    """

    def __init__(self, times, targets):
        self.times = validation.array("Control.times", times, (None,))
        if len(self.times) == 0 or (np.diff(self.times) <= 0).any():
            raise InputError("Control.times: at least one time is needed, and each must be later than the one before")
        validation.instance("Control.targets", targets, dict, "from attachment to positions [m], shape [times, points, 3]")
        self._keys = {getattr(key, "name", key): key for key in targets}
        self.targets = {getattr(key, "name", key): value for key, value in targets.items()}
        for name, value in self.targets.items():
            shape = validation.given_array(f"Control.targets[{name!r}]", value).shape
            if len(shape) not in (3, 4) or shape[0] != len(self.times) or shape[-1] != 3:
                raise InputError(
                    f"Control.targets[{name!r}]: shape {list(shape)} was given; "
                    f"[{len(self.times)}, points, 3] or [{len(self.times)}, envs, points, 3] is needed"
                )

    @classmethod
    def from_poses(cls, model, times, poses, origins=None, largest_turn=2.0):
        """A control that moves attachments as rigid bodies.

        Each attachment's points, as they are at rest, are turned about an origin, which goes to the position. Between keys positions are
        linear and turns are even (slerp): keys are added so that none turns by more than `largest_turn`.

        Args:
            model: Model.
            times: [s], shape [k], increasing.
            poses: dict from attachment (or its name) to (positions [m], shape [k, 3]; quaternions (w, x, y, z), shape [k, 4], made
                unit, (1, 0, 0, 0) as at rest), each also with one entry an environment, [k, envs, 3] and [k, envs, 4]; numpy, or
                torch tensors to be differentiated by `simulate`.
            origins: dict from attachment to the point [m] at rest, shape [3], that goes to the position; without one it is the
                attachment's first point.
            largest_turn: between two keys [degrees].

        Raises:
            InputError: an attachment that the model lacks, times that do not increase, shapes that do not fit, a quaternion of zero.
        """
        from physsim.physics.poses import pose_targets

        return cls(*pose_targets(require_model(model), times, poses, {} if origins is None else origins, largest_turn))

    def bind(self, model):
        """Targets as arrays that fit a model: dict name -> float64 [k, envs, points, 3].

        Raises:
            InputError: an attachment that the model lacks, or another number of points.
        """
        bound = {}
        for name, value in self.targets.items():
            find_attachment(model, self._keys.get(name, name), "Control")
            value = validation.array(f"Control.targets[{name!r}]", value, (None,) * np.ndim(value))
            if value.ndim == 3:
                value = value[:, None]
            shape = (len(self.times), model.envs, len(model.attachments[name].particles), 3)
            try:
                bound[name] = np.broadcast_to(value, shape)
            except ValueError:
                raise InputError(
                    f"Control.targets[{name!r}]: shape {list(value.shape)} does not fit [times, envs, points, 3] = {list(shape)}"
                ) from None
        return bound

    def weights(self, time):
        """(i, j, w): the targets at `time` are (1 - w) targets[i] + w targets[j]."""
        t = self.times
        j = int(np.searchsorted(t, time))
        if j == 0:
            return 0, 0, 0.0
        if j == len(t):
            return len(t) - 1, len(t) - 1, 0.0
        return j - 1, j, float((time - t[j - 1]) / (t[j] - t[j - 1]))
