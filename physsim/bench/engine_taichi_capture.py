"""Taichi on a capture: the published recipe's gradient, explicit springs at a step of 5e-5 s over all frames of the capture.

States at the frames are kept, those between are computed again on the way back; nothing is cut off between frames.
"""

import numpy as np
import taichi as ti

from physsim.bench import capture_scenes
from physsim.bench.cases import FRAMES, Case
from physsim.bench.engine_taichi import THREADS, VERSION, ExplicitCloth, start_taichi
from physsim.bench.scenes import cloth


class CaptureGradient:
    """Mean squared distance of all particles from their tracks [m^2] and its derivative by every spring; see `engines.Gradient`."""

    def __init__(self, case: Case, substeps: int, options: dict):
        start_taichi()
        scene = cloth(case.size)
        self.frames = len(capture_scenes.frame_times())
        self.between = substeps * FRAMES // capture_scenes.RATE
        self.cloth = ExplicitCloth(scene, case, substeps, slots=self.between + 1, per_spring=True, edges_held=True)
        row, column = np.divmod(scene.edges[:, 0], case.size)
        self.entry = (scene.offset_index, row, column)
        self.stiffness = case.stiffness * scene.share
        shape = (self.frames + 1, case.size, case.size)
        self.places, self.rates = ti.Vector.field(3, ti.f32, shape), ti.Vector.field(3, ti.f32, shape)
        self.tracks = np.zeros((self.frames, len(scene.points), 3))
        self.set_stiffness(self.stiffness)

    def set_stiffness(self, stiffness: np.ndarray) -> None:
        """Set every spring's stiffness [N/m], shape [m]."""
        field = np.zeros(self.cloth.stiffness.shape, np.float32)
        field[self.entry] = stiffness
        self.cloth.stiffness.from_numpy(field)

    def warm_up(self) -> None:
        """Compile both directions, and record the tracks."""
        self.cloth.restart()
        self.cloth.step(0, 1)
        self.cloth.step.grad(0, 1)
        self.set_stiffness(capture_scenes.OFF * self.stiffness)
        self.forward()
        self.tracks = self._seen()
        self.set_stiffness(self.stiffness)

    def forward(self) -> float:
        """Return the loss [m^2] over all frames."""
        self.cloth.restart()
        _keep(self.places, self.rates, 0, self.cloth.position, self.cloth.velocity, 0)
        for frame in range(self.frames):
            self._run(frame)
            _keep(self.places, self.rates, frame + 1, self.cloth.position, self.cloth.velocity, self.between)
        self.away = self._seen() - self.tracks
        return float(np.square(self.away).sum(axis=-1).mean())

    def _run(self, frame):
        _keep(self.cloth.position, self.cloth.velocity, 0, self.places, self.rates, frame)
        for slot in range(self.between):
            self.cloth.step(slot, slot + 1)

    def _seen(self):
        return self.places.to_numpy()[1:].reshape(self.frames, -1, 3).astype(float)

    def backward(self) -> np.ndarray:
        """Return the derivative of the last `forward` by each stiffness, shape [m]."""
        net = self.cloth
        net.stiffness.grad.fill(0)
        side = net.side
        pulls = (2.0 * self.away / self.away[..., 0].size).astype(np.float32).reshape(self.frames, side, side, 3)
        place, rate = np.zeros((side, side, 3), np.float32), np.zeros((side, side, 3), np.float32)
        for frame in reversed(range(self.frames)):
            self._run(frame)
            net.position.grad.fill(0)
            net.velocity.grad.fill(0)
            _put(net.position.grad, self.between, place + pulls[frame])
            _put(net.velocity.grad, self.between, rate)
            for slot in reversed(range(self.between)):
                net.step.grad(slot, slot + 1)
            place, rate = _taken(net.position.grad, side), _taken(net.velocity.grad, side)
        return net.stiffness.grad.to_numpy()[self.entry].astype(float)

    def facts(self) -> dict:
        """Version, threads and dtype."""
        return {"version": VERSION, "threads": THREADS, "dtype": "float32"}


@ti.kernel
def _keep(places_out: ti.template(), rates_out: ti.template(), to: ti.i32, places: ti.template(), rates: ti.template(), start: ti.i32):
    for j, i in ti.ndrange(places.shape[1], places.shape[2]):
        places_out[to, j, i] = places[start, j, i]
        rates_out[to, j, i] = rates[start, j, i]


@ti.kernel
def _put(field: ti.template(), slot: ti.i32, values: ti.types.ndarray()):
    for j, i in ti.ndrange(field.shape[1], field.shape[2]):
        for axis in ti.static(range(3)):
            field[slot, j, i][axis] = values[j, i, axis]


@ti.kernel
def _take(values_out: ti.types.ndarray(), field: ti.template()):
    for j, i in ti.ndrange(field.shape[1], field.shape[2]):
        for axis in ti.static(range(3)):
            values_out[j, i, axis] = field[0, j, i][axis]


def _taken(field, side):
    out = np.zeros((side, side, 3), np.float32)
    _take(out, field)
    return out
