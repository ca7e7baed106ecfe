"""Runs: what a simulation leaves behind to look at, in memory and as a folder.

A run holds times, the rest shape, material and positions of every soft body, and the poses of rigid things. It belongs to the looks
because its bodies may carry an Asset's splats; it needs no solver to be read.
"""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from physsim.appearance.camera import Camera
from physsim.errors import InputError
from physsim.physics import validation
from physsim.physics.archive import material_with
from physsim.physics.frames import RigidFrame, quaternions_of
from physsim.physics.laws import INERTIA
from physsim.physics.model import require_model, require_state
from physsim.physics.rods import Curve
from physsim.physics.shapes import Plane, shape_surface

COLOURS = ("#5b8def", "#d08a4e", "#4faa72", "#b86ad0", "#c9b037", "#d0605e")  # of bodies, one after the other
GREY = "#c2c8d2"


@dataclass(frozen=True, eq=False)
class RunBody:
    """A soft body of a run.

    Attributes:
        name: of the body
        mesh: TetMesh, TriMesh, SpringNet or Curve at rest
        material: NeoHookean, Shell, Spring or Rod, or None where it is not known
        masses: of its particles as simulated [kg], shape [n], or None
        held: particles that were attached exactly, shape [h]
        asset: Asset with its splats, or None
        colour: such as ``#5b8def``
    """

    name: str
    mesh: object
    material: object = None
    masses: np.ndarray | None = None
    held: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    asset: object = None
    colour: str = COLOURS[0]

    def __post_init__(self):
        count = len(self.mesh.points)
        if self.masses is not None:
            object.__setattr__(self, "masses", validation.array(f"{self.name}: masses", self.masses, (count,), lower=0.0))
        object.__setattr__(self, "held", validation.indices(f"{self.name}: held", self.held, count, (None,)))
        mesh = getattr(self.asset, "mesh", None)
        if mesh is not None and (type(mesh) is not type(self.mesh) or len(mesh.points) != count):
            raise InputError(f"{self.name}: its asset is of another mesh ({len(mesh.points)} points, {count} are needed)")

    @property
    def radius(self):
        """Of a rod's section [m], where the material tells it; else None."""
        if not isinstance(self.mesh, Curve) or self.material is None:
            return None
        return float(self.material.section(self.mesh.edge_count).radius.max()) or None  # a rope may leave it open


@dataclass(frozen=True, eq=False)
class RunLink:
    """A rigid thing of a run: points in its own frame [m], shape [n, 3]; outward triangles, shape [t, 3]; colour such as ``#c2c8d2``."""

    name: str
    points: np.ndarray
    triangles: np.ndarray
    colour: str = GREY

    def __post_init__(self):
        points = validation.array(f"{self.name}: points", self.points, (None, 3))
        object.__setattr__(self, "points", points)
        object.__setattr__(self, "triangles", validation.indices(f"{self.name}: triangles", self.triangles, len(points), (None, 3)))


class Run:
    """A recording of a model.

    Two lines in a script: `run = ps.Run(model)` before the loop and `run.add(state)` in it; `run.save("folder")` writes it for
    `physsim view folder`.

    Args:
        model: Model whose states are to be added.
        assets: dict from names of bodies to Assets whose splats show them.
        params: as handed to the solver, so that the materials are those that were simulated.
        env: which of several environments is recorded.
        camera: Camera from where it is best seen, or None.

    Attributes:
        bodies: tuple of RunBody.
        links: tuple of RunLink: colliders, driven links and rigid bodies.
        gravity: [m/s^2], shape [3].
        ground: height of the floor [m], or None.
        camera: as given.

    Raises:
        InputError: not a model, an asset of an unknown body or of another mesh, an environment that the model lacks.
    """

    def __init__(self, model, *, assets=None, params=None, env=0, camera=None):
        require_model(model)
        assets = dict(assets or {})
        unknown = [name for name in assets if name not in model.bodies]
        if unknown:
            raise InputError(f"assets: the model has no body {unknown[0]!r}; it has {', '.join(model.bodies)}")
        self._model, self.camera = model, _checked_camera(camera)
        self._env = int(validation.array("env", env, (), kind="i", lower=0, upper=model.envs - 1))
        values = model.resolve(params)
        masses = values.columns(model.column_shapes)[INERTIA.name][self._env, :, 0]
        rigid = {name: body for name, body in model.bodies.items() if isinstance(body.mesh, RigidFrame)}
        soft = [body for name, body in model.bodies.items() if name not in rigid]
        self.bodies = tuple(
            RunBody(
                body.name,
                body.mesh,
                material_with(body, values, self._env),
                masses[body.particles],
                np.flatnonzero(~model.free[body.particles]),
                assets.get(body.name),
                COLOURS[i % len(COLOURS)],
            )
            for i, body in enumerate(soft)
        )
        self.gravity = values["gravity"][self._env]
        self.ground, self._rigid, links = None, [], []
        for body in rigid.values():
            floor = _floor(body, model)
            if floor is not None:
                self.ground = floor if self.ground is None else max(floor, self.ground)
                continue
            links.append(RunLink(body.name, *shape_surface(body.mesh.shape)))
            self._rigid.append(body)
        self.links = tuple(links)
        self._times, self._positions, self._places, self._turns = [], [], [], []

    @classmethod
    def of_parts(cls, times, bodies, positions, links=(), places=None, turns=None, gravity=(0.0, 0.0, -9.81), ground=None, camera=None):
        """A whole run from arrays.

        Args:
            times: [s], shape [f], increasing.
            bodies: RunBody each.
            positions: of each body's points [m], shape [f, n, 3].
            links: RunLink each.
            places: of the links' frames [m], shape [f, links, 3]; None without links.
            turns: their quaternions (w, x, y, z), shape [f, links, 4].
            gravity: [m/s^2], shape [3].
            ground: height of the floor [m], or None.
            camera: Camera from where it is best seen, or None.

        Raises:
            InputError: no body and no link, shapes that do not fit, times that do not increase, NaN.
        """
        run = cls.__new__(cls)
        run._model, run.camera = None, _checked_camera(camera)
        run.bodies, run.links = tuple(bodies), tuple(links)
        run.gravity = validation.array("gravity", gravity, (3,))
        run.ground = None if ground is None else float(validation.array("ground", ground, ()))
        times = validation.array("times", times, (None,))
        f, k = len(times), len(run.links)
        if not f or (np.diff(times) <= 0).any():
            raise InputError("times: at least one is needed, and each must be later than the one before")
        if not run.bodies and not run.links:
            raise InputError("Run: neither a body nor a link was given; there is nothing to look at")
        (name, count), *_ = Counter(part.name for part in (*run.bodies, *run.links)).most_common(1)
        if count > 1:
            raise InputError(f"Run: {count} parts are called {name!r}; give each body and link a name of its own")
        if len(positions) != len(run.bodies):
            raise InputError(f"positions: {len(positions)} arrays for {len(run.bodies)} bodies; one each is needed")
        places = np.zeros((f, 0, 3)) if k == 0 else validation.array("places", places, (f, k, 3))
        turns = np.zeros((f, 0, 4)) if k == 0 else validation.array("turns", turns, (f, k, 4))
        size = np.linalg.norm(turns, axis=-1, keepdims=True)
        if (size < 1e-9).any():
            raise InputError("turns: a quaternion of zero; (1, 0, 0, 0) stands for no turn")
        moves = [
            validation.array(f"positions of {b.name!r}", p, (f, len(b.mesh.points), 3)) for b, p in zip(run.bodies, positions, strict=True)
        ]
        run._times = times.tolist()
        run._positions = [tuple(p[i] for p in moves) for i in range(f)]
        run._places, run._turns = list(places), list(turns / size)
        return run

    @classmethod
    def of_trajectory(cls, model, trajectory, **options):
        """A run from what `simulate` returned.

        Args:
            model: that was simulated.
            trajectory: Trajectory.
            options: as for `Run`.

        Raises:
            InputError: as for `Run` and `add_frame`.
        """
        run = cls(model, **options)
        positions = trajectory.positions.detach().cpu().double().numpy()
        for time, frame in zip(trajectory.times, positions, strict=True):
            run.add_frame(time, frame)
        return run

    def add(self, state):
        """Take down a state of the model.

        Raises:
            InputError: a state of another model, or not later than the last one; a run that was read or made from arrays.
        """
        if self._model is None:
            raise InputError("run: it was read or made from arrays, and takes no more states; start one by Run(model)")
        require_state(self._model, state)
        self.add_frame(state.time, state.positions)

    def add_frame(self, time, positions):
        """Take down where all of the model's particles are.

        Args:
            time: [s], later than the last one.
            positions: [m], shape [n, 3] or [envs, n, 3].

        Raises:
            InputError: another shape, NaN, a time not later than the last one; a run that was read or made from arrays.
        """
        if self._model is None:
            raise InputError("run: it was read or made from arrays, and takes no more frames; start one by Run(model)")
        time = float(validation.array("time", time, ()))
        if self._times and time <= self._times[-1]:
            raise InputError(f"run: a state at {time:g} s after one at {self._times[-1]:g} s; add states in the order of their times")
        x = self._model.expand("positions", positions)[self._env]
        poses = [body.mesh.pose(x[body.particles]) for body in self._rigid]
        self._places.append(np.array([place for place, _ in poses]).reshape(-1, 3))
        self._turns.append(quaternions_of(np.array([turn for _, turn in poses]).reshape(-1, 3, 3)))
        self._positions.append(tuple(x[self._model.bodies[body.name].particles] for body in self.bodies))
        self._times.append(time)

    def __len__(self):
        """Number of frames."""
        return len(self._times)

    @property
    def times(self):
        """Of the frames [s], shape [f]."""
        return np.array(self._times)

    def positions(self, frame):
        """Of every body's points in a frame [m], shape [n, 3] each."""
        return self._positions[frame]

    def poses(self, frame):
        """(places [m], shape [links, 3]; quaternions (w, x, y, z), shape [links, 4]) of the links in a frame."""
        return self._places[frame], self._turns[frame]

    def save(self, path):
        """Write the run to a folder; one that holds a run already is replaced as a whole.

        Args:
            path: of the folder; the folder that it is in must be there.

        Raises:
            InputError: nothing was added, or the folder is there and holds something else.
        """
        from physsim.appearance.run_folder import save_run

        return save_run(self, path)

    @classmethod
    def load(cls, path):
        """Read what `save` wrote.

        Raises:
            InputError: not such a folder, something missing or damaged.
        """
        from physsim.appearance.run_folder import load_run

        return load_run(path)


def _checked_camera(camera):
    return camera if camera is None else validation.instance("camera", camera, Camera)


def _floor(body, model):
    """Height of a horizontal plane that stands still [m]; None of anything else."""
    if not isinstance(body.mesh.shape, tuple) or len(body.mesh.shape) != 1 or not isinstance(body.mesh.shape[0][0], Plane):
        return None
    _, place, turn = body.mesh.shape[0]
    position, rotation = body.mesh.pose(model.positions[body.particles])
    normal = rotation @ turn[:, 2]
    return float((position + rotation @ place)[2]) if normal[2] > 1.0 - 1e-6 else None
