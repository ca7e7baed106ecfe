"""Taichi as a peer: a bare explicit mass-spring cloth, one kernel launch a step, float32, two threads.

A gather over the twelve springs of each particle and one symplectic Euler update; the gradient row stores every state and
runs Taichi's own reverse mode step by step.
"""

import numpy as np
import taichi as ti

from physsim.bench.cases import FRAMES, Case
from physsim.bench.scenes import CLOTH_MASS, GRAVITY, SPRING_OFFSETS, Cloth, cloth

THREADS = 2
VERSION = ".".join(str(part) for part in ti.__version__)


@ti.data_oriented
class ExplicitCloth:
    """Fields and kernels of one cloth; `slots` states are kept (two to simulate, all of them to differentiate).

    Args:
        scene: the cloth.
        case: gives stiffness [N/m] and damping [N s/m].
        substeps: steps in 1/60 s.
        slots: states held, at least two.
        per_spring: the stiffness is a field with one entry a spring (for gradients) instead of one number.
        edges_held: the edges x = 0 and x = 1 are held instead of two corners.
    """

    def __init__(self, scene: Cloth, case: Case, substeps: int, slots: int, per_spring: bool, edges_held: bool = False):
        self.edges_held = edges_held
        side = case.size
        self.side, self.slots, self.per_spring = side, slots, per_spring
        self.dt = 1.0 / (FRAMES * substeps)
        self.mass = CLOTH_MASS / side**2
        self.spacing = 1.0 / (side - 1)
        self.damping = case.damping
        self.position = ti.Vector.field(3, ti.f32, (slots, side, side), needs_grad=per_spring)
        self.velocity = ti.Vector.field(3, ti.f32, (slots, side, side), needs_grad=per_spring)
        shape = (len(SPRING_OFFSETS), side, side) if per_spring else ()
        self.stiffness = ti.field(ti.f32, shape, needs_grad=per_spring)
        self.height = ti.field(ti.f32, (), needs_grad=per_spring)
        self.rest = scene.points.astype(np.float32)

    def restart(self) -> None:
        """Put slot 0 back to the flat cloth at rest."""
        self.set_rest(self.rest)

    @ti.kernel
    def set_rest(self, rest: ti.types.ndarray()):
        """Set slot 0 to the positions `rest` [m], shape [n, 3], at rest."""
        for j, i in ti.ndrange(self.side, self.side):
            for axis in ti.static(range(3)):
                self.position[0, j, i][axis] = rest[j * self.side + i, axis]
                self.velocity[0, j, i][axis] = 0.0

    @ti.func
    def spring_constant(self, kind: ti.template(), j, i):
        """Stiffness [N/m] of the spring whose first particle is (i, j)."""
        value = 0.0
        if ti.static(self.per_spring):
            value = self.stiffness[kind, j, i]
        else:
            value = self.stiffness[None] * ti.static(0.02 if kind >= 4 else 1.0)
        return value

    @ti.func
    def force(self, old, j, i):
        """Force [N] on a particle of slot `old`: its weight and its springs."""
        p, v = self.position[old, j, i], self.velocity[old, j, i]
        force = ti.Vector([0.0, 0.0, -GRAVITY * self.mass])
        for kind, way in ti.static(ti.ndrange(len(SPRING_OFFSETS), 2)):
            dx = ti.static(SPRING_OFFSETS[kind][0] * (1 - 2 * way))
            dy = ti.static(SPRING_OFFSETS[kind][1] * (1 - 2 * way))
            a, b = i + dx, j + dy
            if 0 <= a < self.side and 0 <= b < self.side:
                # A spring's stiffness is stored at its first particle: this one (way 0) or the other (way 1).
                k = self.spring_constant(kind, ti.static(0 if way == 0 else 1) * dy + j, ti.static(way) * dx + i)
                d = self.position[old, b, a] - p
                length = d.norm(1e-9)
                u = d / length
                c = self.damping * ti.static(0.02 if kind >= 4 else 1.0)
                stretch = length - self.spacing * ti.static((dx * dx + dy * dy) ** 0.5)
                force += (k * stretch + c * (self.velocity[old, b, a] - v).dot(u)) * u
        return force

    @ti.kernel
    def step(self, old: ti.i32, new: ti.i32):
        """One symplectic Euler step from slot `old` to slot `new`."""
        for j, i in ti.ndrange(self.side, self.side):
            moved = self.velocity[old, j, i] + self.dt / self.mass * self.force(old, j, i)
            held = j == 0 and (i == 0 or i == self.side - 1)
            if ti.static(self.edges_held):
                held = i == 0 or i == self.side - 1
            if held:
                moved = ti.Vector([0.0, 0.0, 0.0])
            self.velocity[new, j, i] = moved
            self.position[new, j, i] = self.position[old, j, i] + self.dt * moved

    @ti.kernel
    def add_mean_height(self, slot: ti.i32):
        """Add the mean z [m] of a slot to `height`."""
        for j, i in ti.ndrange(self.side, self.side):
            self.height[None] += self.position[slot, j, i][2] / (self.side * self.side)


def start_taichi() -> None:
    """Start Taichi on two CPU threads in float32."""
    ti.init(arch=ti.cpu, cpu_max_num_threads=THREADS, default_fp=ti.f32, log_level=ti.ERROR)


class TaichiSimulation:
    """One simulated second of the cloth; see `engines.Simulation`."""

    def __init__(self, case: Case, substeps: int, options: dict):
        start_taichi()
        self.substeps = substeps
        self.cloth = ExplicitCloth(cloth(case.size), case, substeps, slots=2, per_spring=False)
        self.cloth.stiffness[None] = case.stiffness

    def warm_up(self) -> None:
        """Compile by taking two steps."""
        self.cloth.restart()
        self.cloth.step(0, 1)
        self.cloth.step(1, 0)
        self.cloth.position.to_numpy()

    def simulate(self) -> np.ndarray:
        """Return the lowest point's z [m] at each frame; nan from the frame in which it is no longer finite."""
        heights = np.full(FRAMES, np.nan)
        self.cloth.restart()
        slot = 0
        for frame in range(FRAMES):
            for _ in range(self.substeps):
                self.cloth.step(slot, 1 - slot)
                slot = 1 - slot
            z = self.cloth.position.to_numpy()[slot, :, :, 2]
            if not np.isfinite(z).all():
                break
            heights[frame] = z.min()
        return heights

    def facts(self) -> dict:
        """Version, threads and dtype."""
        return {"version": VERSION, "threads": THREADS, "dtype": "float32"}


class TaichiGradient:
    """Gradient of the mean height at 1 s with respect to every spring; see `engines.Gradient`."""

    def __init__(self, case: Case, substeps: int, options: dict):
        start_taichi()
        scene = cloth(case.size)
        self.steps = FRAMES * substeps
        self.cloth = ExplicitCloth(scene, case, substeps, slots=self.steps + 1, per_spring=True)
        row, column = np.divmod(scene.edges[:, 0], case.size)
        self.entry = (scene.offset_index, row, column)
        self.stiffness = case.stiffness * scene.share
        self.set_stiffness(self.stiffness)

    def set_stiffness(self, stiffness: np.ndarray) -> None:
        """Set every spring's stiffness [N/m], shape [m]."""
        field = np.zeros(self.cloth.stiffness.shape, np.float32)
        field[self.entry] = stiffness
        self.cloth.stiffness.from_numpy(field)

    def warm_up(self) -> None:
        """Compile both directions by differentiating one step."""
        self.cloth.restart()
        self.cloth.step(0, 1)
        self.cloth.add_mean_height(1)
        self.cloth.add_mean_height.grad(1)
        self.cloth.step.grad(0, 1)
        ti.sync()

    def forward(self) -> float:
        """Return the mean z [m] of all particles at 1 s."""
        self.cloth.restart()
        self.cloth.height[None] = 0.0
        for slot in range(self.steps):
            self.cloth.step(slot, slot + 1)
        self.cloth.add_mean_height(self.steps)
        return float(self.cloth.height[None])

    def backward(self) -> np.ndarray:
        """Return the derivative of the last `forward` by each stiffness [m / (N/m)], shape [m]."""
        for field in (self.cloth.position, self.cloth.velocity, self.cloth.stiffness):
            field.grad.fill(0)
        self.cloth.height.grad[None] = 1.0
        self.cloth.add_mean_height.grad(self.steps)
        for slot in reversed(range(self.steps)):
            self.cloth.step.grad(slot, slot + 1)
        return self.cloth.stiffness.grad.to_numpy()[self.entry]

    def facts(self) -> dict:
        """Version, threads and dtype."""
        return {"version": VERSION, "threads": THREADS, "dtype": "float32"}
