"""Soft bodies simulated by MuJoCo's flex: another engine's motions, and what stiffness that engine says that its bodies have.

Elements are four-node tetrahedra (St. Venant-Kirchhoff) or triangles with membrane and bending; damping is proportional to stiffness,
with a time [s]. Each vertex is a point mass of its share of the volume. Held vertices have a mass of their own, so large that nothing moves
them; before each step they get the place and the velocity of their handle, so that damping next to a handle sees the right rates.
MuJoCo must be installed.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

HELD_MASS = 1.0e5
"""Mass of held vertices, in those of the others."""
ITERATIONS, TOLERANCE = 1000, 1.0e-12
RADIUS = 5.0e-4
FRICTION = 0.6


@dataclass(frozen=True, eq=False)
class Thing:
    """A soft body as MuJoCo gets it.

    Args:
        points: at rest [m], shape [n, 3].
        elements: tetrahedra [m, 4] or triangles [m, 3].
        young: Young's modulus [Pa] of each part.
        held: handle -> vertices that it holds.
        part: of each element, shape [m]; None: there is one part.
        poisson: [-].
        density: [kg/m^3].
        thickness: of a sheet [m].
        damping: ratio of damping to stiffness [s].
    """

    points: np.ndarray
    elements: np.ndarray
    young: tuple[float, ...]
    held: dict[str, np.ndarray] = field(default_factory=dict)
    part: np.ndarray | None = None
    poisson: float = 0.3
    density: float = 1000.0
    thickness: float = 0.0
    damping: float = 0.004

    @property
    def solid(self) -> bool:
        """Whether it is made of tetrahedra."""
        return self.elements.shape[1] == 4

    def masses(self) -> np.ndarray:
        """Mass of each vertex [kg], shape [n]: an equal share of each of its elements."""
        corners = self.points[self.elements]
        edges = corners[:, 1:] - corners[:, :1]
        if self.solid:
            sizes = np.abs(np.linalg.det(edges)) / 6
        else:
            sizes = 0.5 * self.thickness * np.linalg.norm(np.cross(edges[:, 0], edges[:, 1]), axis=1)
        count = self.elements.shape[1]
        return np.bincount(self.elements.ravel(), np.repeat(self.density * sizes / count, count), len(self.points))

    def pivot(self, handle: str) -> np.ndarray:
        """Origin of a handle when the body is at rest [m], shape [3]: the middle of what it holds."""
        return self.points[self.held[handle]].mean(axis=0)


Motion = Callable[[float], tuple[np.ndarray, np.ndarray]]
"""Time [s] -> how far a handle's origin has moved from its pivot [m], shape [3], and how it is turned, shape [3, 3]."""


def still(_: float) -> tuple[np.ndarray, np.ndarray]:
    """The Motion of a handle that does not move."""
    return np.zeros(3), np.eye(3)


class FlexWorld:
    """MuJoCo with one soft body whose held vertices follow motions.

    Args:
        thing: Thing.
        motions: handle -> Motion.
        dt: step [s].
        gravity: [m/s^2].
        ground: height of a floor [m], or None.
    """

    def __init__(self, thing: Thing, motions: dict[str, Motion], dt: float, gravity=(0.0, 0.0, -9.81), ground: float | None = None):
        import mujoco

        self.mujoco, self.thing, self.motions, self.dt = mujoco, thing, motions, dt
        self.model = mujoco.MjModel.from_xml_string(_document(thing, dt, gravity, ground))
        free = np.setdiff1d(np.arange(len(thing.points)), np.concatenate([[], *thing.held.values()]).astype(int))
        # Convergence is measured in the mean inertia, which held vertices would drown.
        self.model.stat.meaninertia = thing.masses()[free].mean()
        self.data = mujoco.MjData(self.model)
        self.free, self.time, self.loads = free, 0.0, np.zeros((len(thing.points), 3))

    @property
    def positions(self) -> np.ndarray:
        """Of the vertices [m], shape [n, 3]."""
        return self.thing.points + self.data.qpos.reshape(-1, 3)

    def step(self) -> None:
        """Go on by `dt`.

        Raises:
            RuntimeError: MuJoCo warned, or the solver ran out of iterations.
        """
        place, rate = self.data.qpos.reshape(-1, 3), self.data.qvel.reshape(-1, 3)
        for name, vertices in self.thing.held.items():
            rest, pivot = self.thing.points[vertices], self.thing.pivot(name)
            now, then = (_placed(self.motions[name](t), rest, pivot) for t in (self.time, self.time + self.dt))
            place[vertices] = now - rest
            rate[vertices] = (then - now) / self.dt
        self.data.qfrc_applied.reshape(-1, 3)[:] = self.loads
        self.mujoco.mj_step(self.model, self.data)
        self.time += self.dt
        if self.data.warning.number.sum() or (self.data.solver_niter >= ITERATIONS).any():
            raise RuntimeError(f"MuJoCo did not converge at {self.time:.4f} s: warnings {self.data.warning.number}")

    def settle(self, tolerance: float = 2.0e-6, most: int = 20_000) -> None:
        """Come to rest with the handles where they are at this time: all velocities are taken away whenever the body slows down.

        The equilibrium does not depend on the step, so that it may be longer here.

        Args:
            tolerance: largest speed between two such moments at which the body counts as at rest [m/s].
            most: steps.

        Raises:
            RuntimeError: not at rest after `most` steps.
        """
        moment, motions, dt = self.time, self.motions, self.dt
        self.motions = {name: lambda _, m=motion: m(moment) for name, motion in motions.items()}
        self.dt = self.model.opt.timestep = max(dt, 1 / 480)
        before, fastest = 0.0, 0.0
        for _ in range(most):
            self.step()
            rates = self.data.qvel.reshape(-1, 3)[self.free]
            energy, fastest = np.square(rates).sum(), max(fastest, np.abs(rates).max())
            if energy < before:
                if fastest < tolerance:
                    break
                energy = fastest = 0.0
                self.data.qvel[:] = 0.0
            before = energy
        else:
            raise RuntimeError(f"MuJoCo's body still moves at {fastest:.2e} m/s after {most} steps")
        self.data.qvel[:] = 0.0
        self.motions, self.time, self.dt = motions, moment, dt
        self.model.opt.timestep = dt

    def record(self, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Positions [m] and velocities [m/s] at times that are multiples of the step after now, each [frames, n, 3]."""
        places, rates, start = [], [], self.time
        counts = np.round((np.asarray(times) - start) / self.dt).astype(int)
        for wanted in range(counts.max() + 1):
            if wanted in counts:
                places.append(self.positions.copy())
                rates.append(self.data.qvel.reshape(-1, 3).copy())
            self.step()
        return np.array(places), np.array(rates)


def _placed(pose, points, pivot):
    moved, rotation = pose
    return (points - pivot) @ rotation.T + pivot + moved


def _numbers(values):
    return " ".join(f"{value:.9g}" for value in np.ravel(values))


def _document(thing, dt, gravity, ground):
    """The world in MuJoCo's XML: a body with three slides for each vertex, a flex for each part."""
    held = set(np.concatenate([[], *thing.held.values()]).astype(int).tolist())
    bodies = []
    for i, (point, mass) in enumerate(zip(thing.points, thing.masses(), strict=True)):
        own, floating = (HELD_MASS * mass, 1) if i in held else (mass, 0)
        slides = "".join(f'<joint type="slide" axis="{axis}"/>' for axis in ("1 0 0", "0 1 0", "0 0 1"))
        inertia = f'<inertial pos="0 0 0" mass="{own:.9g}" diaginertia="{_numbers([1e-6 * own] * 3)}"/>'
        bodies.append(f'<body name="v{i}" pos="{_numbers(point)}" gravcomp="{floating}">{inertia}{slides}</body>')
    floor = "" if ground is None else f'<geom type="plane" size="2 2 0.1" pos="0 0 {ground}" friction="{FRICTION} 0.005 0.0001"/>'
    part = np.zeros(len(thing.elements), int) if thing.part is None else thing.part
    flexes = [_flex(thing, k, thing.elements[part == k], young, ground is not None) for k, young in enumerate(thing.young)]
    return f"""
    <mujoco>
      <option timestep="{dt}" gravity="{_numbers(gravity)}" integrator="discrete" solver="{"Newton" if thing.solid else "CG"}"
              iterations="{ITERATIONS}" tolerance="{TOLERANCE}" cone="elliptic"/>
      <size memory="2G"/>
      <worldbody>{floor}{"".join(bodies)}</worldbody>
      <deformable>{"".join(flexes)}</deformable>
    </mujoco>"""


def _flex(thing, number, elements, young, touches):
    vertices, local = np.unique(elements, return_inverse=True)
    sheet = "" if thing.solid else f'thickness="{thing.thickness}" elastic2d="both"'
    touch = f'condim="3" friction="{FRICTION} 0.005 0.0001"' if touches else 'contype="0" conaffinity="0"'
    return f"""
      <flex name="part{number}" dim="{3 if thing.solid else 2}" radius="{RADIUS}" body="{" ".join(f"v{i}" for i in vertices)}"
            element="{_numbers(local)}">
        <elasticity young="{young}" poisson="{thing.poisson}" damping="{thing.damping}" {sheet}/>
        <contact {touch} selfcollide="none"/>
      </flex>"""
