"""The viewer: a run in the browser, to be played, scrubbed and pulled at."""

import threading
import time
from dataclasses import dataclass

import numpy as np

from physsim.appearance.camera import Camera
from physsim.errors import InputError, PhyssimError
from physsim.viewer.canvas import Canvas, legend
from physsim.viewer.live import LiveSimulation, why_not_live
from physsim.viewer.server import HOST, start_server, stop_server
from physsim.viewer.stage import LEAST, Stage, rounded_up

RATE = 30.0  # pictures a second that are sent to the browser
ANGLE, MARGIN = 40.0, 1.7  # vertical angle of view [degree], and how much wider than the bodies it is: the panel covers some of it
PAGE_HEIGHT = 800  # pixels, until a page tells its own
ZOOM = 1.25  # as often as pixels become so much larger or smaller, splats are sent anew
AMBIENT = 1.6  # light from everywhere, beside viser's own lamps
SPEEDS = ("0.1", "0.25", "0.5", "1", "2", "4")
HINT = "Drag a point of a body with the left button; a drag beside it turns the view."
ALONE = " Rigid things do not take part in a simulation."
STARTING = "Starting; the first time, kernels are compiled for a minute."
LONGEST = 300  # characters of a text on the page
GROW, SHRINK = 1.05, 4.0  # strain beyond the range by the first, or this many times below its end, moves the end


@dataclass(eq=False)
class _Drag:
    """A pull at a body: its number, where the pointer took hold of it and where the pointer is [m]."""

    body: int
    start: np.ndarray
    end: np.ndarray


class Viewer:
    """Shows a Run on a page of this machine.

    Args:
        run: Run; one of a single frame is a thing to be pulled at.
        port: of the server; None: the first free one from 8080 on.
        title: at the top of the panel.

    Attributes:
        url: address of the page.

    Raises:
        InputError: viser is not installed, the port is taken.
    """

    def __init__(self, run, port=None, title="physsim"):
        self.run, self.stage = run, Stage(run)
        self._high = self.stage.strain_range()[1]
        self.live, self._why_not = None, why_not_live(run)
        self._frame, self._clock, self._playing = 0, float(run.times[0]), False
        self._dirty, self._ended = True, threading.Event()
        self._drag, self._shown, self._failure = None, None, None
        self._lock = threading.RLock()
        self.server = start_server(port, title)
        self.url = f"http://{HOST}:{self.server.get_port()}"
        try:
            self._set_scene()
            self._canvas = Canvas(self.server, self.stage, None if self._why_not else self._on_drag)
            self._add_controls()
        except BaseException:
            stop_server(self.server)
            raise
        self._thread = threading.Thread(target=self._loop, name="physsim viewer", daemon=True)
        self._thread.start()

    def _set_scene(self):
        """Camera, light and floor."""
        self.server.scene.configure_environment_map(hdri=None)  # light from a photograph takes a browser without a graphics card 12 s
        self.server.scene.add_light_ambient("/light", intensity=AMBIENT)
        low, high = self.stage.box()
        size = max(float(np.max(high - low)), 1e-3)
        corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)]) * (high - low) + low
        seen = self.run.camera or Camera.around(corners, angle=ANGLE, margin=MARGIN)
        self._eye, self._middle = seen.position, (low + high) / 2
        self._pixel = 2.0 * np.tan(0.5 * ANGLE * np.pi / 180.0) / PAGE_HEIGHT * np.linalg.norm(self._eye - self._middle)
        start = self.server.initial_camera
        start.position, start.look_at, start.up = seen.position, seen.target, (0.0, 0.0, 1.0)
        angle = 2.0 * np.arctan(0.5 * seen.height / seen.focal[1])
        start.fov, start.near, start.far = angle, 0.01 * size, 200.0 * size
        if self.run.ground is not None:
            cell = rounded_up(size / 5)
            middle = (high + low) / 2
            self.server.scene.add_grid(
                "/floor", width=40 * cell, height=40 * cell, cell_size=cell, position=(middle[0], middle[1], self.run.ground)
            )

    def _add_controls(self):
        gui, run = self.server.gui, self.run
        names = ", ".join(b.name for b in run.bodies) or "no soft body"
        frames = f" · {len(run)} frames" if len(run) > 1 else ""
        gui.add_markdown(f"**{plain(names)}** · {sum(len(b.mesh.points) for b in run.bodies)} points{frames}")
        self._mode = gui.add_dropdown("Show", self.stage.modes, initial_value="splats" if "splats" in self.stage.modes else "mesh")
        self._mode.on_update(self._touch)
        self._bar = gui.add_image(legend(self._high), label=self._legend_text(), format="png", visible=False)
        many = len(run) > 1
        with gui.add_folder("Recording", visible=many):
            self._play = gui.add_button("Play")
            self._slider = gui.add_slider("Frame", min=0, max=max(len(run) - 1, 1), step=1, initial_value=0)
            self._speed = gui.add_dropdown("Speed", SPEEDS, initial_value="1")
            self._time = gui.add_markdown(self._time_text())
        self._play.on_click(lambda _: self.play(not self._playing))
        self._slider.on_update(lambda _: self._scrub())
        with gui.add_folder("Live"):
            reason = self._why_not
            self._simulate = gui.add_checkbox("Simulate", False, disabled=reason is not None)
            self._reset = gui.add_button("Reset", disabled=reason is not None)
            self._hint = plain(f"No simulation: {reason}.") if reason else HINT + ALONE * bool(run.links)
            self._status = gui.add_markdown(self._hint)
        if reason is None:
            self._simulate.on_update(lambda _: self._toggle())
        self._reset.on_click(lambda _: self.reset())

    # What the controls do; scripts and tests may call the same.

    def play(self, playing=True):
        """Play the recording, or pause it; a simulation that runs is ended."""
        with self._lock:
            self._leave_live()
            if playing and self._frame == len(self.run) - 1:
                self._go_to(0)
            self._playing = playing and len(self.run) > 1
            self._play.label = "Pause" if self._playing else "Play"

    def go_to(self, frame):
        """Show a frame of the recording."""
        with self._lock:
            self._leave_live()
            self._go_to(min(max(int(frame), 0), len(self.run) - 1))

    def simulate(self, running=True):
        """Let a simulation go on from the frame that is shown, or hold it.

        Raises:
            InputError: the run does not hold enough for one.
        """
        with self._lock:
            if running:
                self._enter_live()
                self.live.play()
            elif self.live is not None:
                self.live.pause()
            self._simulate.value = bool(running)

    def reset(self):
        """Put a simulation back to where it started."""
        with self._lock:
            if self.live is not None:
                self.live.reset()
                self._set_range(self.stage.strain_range()[1])
                self._dirty = True

    def positions(self):
        """What is shown now: positions of every body's points [m], shape [n, 3] each."""
        live = self.live
        return live.snapshot.positions if live is not None else self.run.positions(self._frame)

    @property
    def frame(self):
        """Number of the frame that is shown, or that a simulation started from."""
        return self._frame

    def wait(self):
        """Return when `close` is called from elsewhere; raises what ended the drawing or a simulation, and KeyboardInterrupt."""
        while not self._ended.wait(0.2):
            if self._failure is not None:
                raise self._failure

    def close(self):
        """End the simulation and the server."""
        self._ended.set()
        if self._thread is not threading.current_thread():
            self._thread.join(timeout=5.0)
        with self._lock:
            self._leave_live()
        stop_server(self.server)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _enter_live(self):
        if self._why_not is not None:
            raise InputError(f"no simulation can start: {self._why_not}")
        if self.live is None:
            self._playing, self._play.label = False, "Play"
            self.live = LiveSimulation(self.run, self._frame)

    def _can_enter_live(self):
        """Enter a simulation; one that the run does not hold enough for after all is said on the page, and not tried again."""
        try:
            self._enter_live()
        except PhyssimError as error:
            self._why_not = str(error)
            self._hint = plain(f"No simulation: {error}")
            self._simulate.value, self._simulate.disabled, self._reset.disabled, self._dirty = False, True, True, True
            return False
        return True

    def _toggle(self):
        with self._lock:
            if not self._simulate.value or self._can_enter_live():
                self.simulate(self._simulate.value)

    def _leave_live(self):
        if self.live is not None:
            self.live.close()
            self.live, self._dirty = None, True
            self._simulate.value = False
            self._drag = None

    def _touch(self, _):
        self._dirty = True

    def _scrub(self):
        with self._lock:
            frame = self._slider.value
            if isinstance(frame, int) and frame != self._frame:
                self.play(False)
                self.go_to(frame)

    def _go_to(self, frame):
        self._frame, self._clock, self._dirty = frame, float(self.run.times[frame]), True

    async def _on_drag(self, number, phase, start, end):
        """Runs on the server's event loop, in order; what takes long is left to the loop below."""
        start, end = (np.asarray(place, dtype=np.float64) for place in (start, end))
        if phase == "start" and start.shape == end.shape == (3,) and np.isfinite([start, end]).all():
            self._drag = _Drag(number, start, end)
        elif phase == "update" and self._drag is not None and end.shape == (3,) and np.isfinite(end).all():
            self._drag.end = end
        elif phase == "end":
            self._drag = None

    def _loop(self):
        held, before = None, time.perf_counter()
        try:
            while not self._ended.is_set():
                now = time.perf_counter()
                with self._lock:
                    held = self._follow_pointer(held)
                    if self._playing:
                        self._advance(now - before)
                    if self.live is not None and self.live.failure is not None:
                        raise self.live.failure
                    if self.live is not None and self.live.snapshot is not self._shown:
                        self._dirty = True
                    self._follow_eye()
                    if self._dirty:
                        self._dirty = False
                        self._draw()
                before = now
                self._ended.wait(max(1.0 / RATE - (time.perf_counter() - now), 0.002))
        except Exception as error:
            self._failure = error  # `wait` raises it

    def _follow_eye(self):
        """Take note of where the page looks from: splats have other colours from elsewhere, and other least sizes from further away.

        Of several pages the first one counts.
        """
        clients = self.server.get_clients() if self._mode.value == "splats" else {}
        if not clients:
            return
        camera = next(iter(clients.values())).camera
        eye = np.asarray(camera.position, dtype=np.float64)
        if not np.isfinite(eye).all():
            return
        if self.stage.changes_with_view and np.abs(eye - self._eye).max() > 1e-3 * np.linalg.norm(eye):
            self._eye, self._dirty = eye, True
        pixel = 2.0 * np.tan(0.5 * camera.fov) / max(camera.image_height, 1) * np.linalg.norm(eye - self._middle)
        if np.isfinite(pixel) and pixel > 0.0 and not 1.0 / ZOOM < pixel / self._pixel < ZOOM:
            self._pixel, self._dirty = pixel, True

    def _follow_pointer(self, held):
        """Hand the pointer's way on to the simulation; returns the drag that was taken hold of, or None."""
        drag = self._drag
        if drag is None:
            if held is not None and self.live is not None:
                self.live.release()
                self._dirty = True
            return None
        if drag is not held:
            if not self._can_enter_live():
                self._drag = None
                return None
            self._simulate.value = True
            self.live.grab(drag.body, drag.start)
        self.live.move(drag.end - drag.start)
        return drag

    def _advance(self, seconds):
        speed = self._speed.value if self._speed.value in SPEEDS else "1"  # what a page sends need not be of the list
        self._clock += seconds * float(speed)
        frame = int(np.searchsorted(self.run.times, self._clock, side="right")) - 1
        if self._clock >= self.run.times[-1]:
            self._playing, self._play.label, frame = False, "Play", len(self.run) - 1
        if frame != self._frame:
            self._frame, self._dirty = frame, True

    def _draw(self):
        live = self.live
        mode = self._mode.value if self._mode.value in self.stage.modes else "mesh"
        self._shown = live.snapshot if live is not None else None
        positions = self._shown.positions if live is not None else self.run.positions(self._frame)
        if mode == "strain":
            self._follow_strain(positions)
        self._canvas.show(mode, positions, self.run.poses(self._frame), self._high, self._eye, self._pixel)
        self._canvas.show_pull(live.pulled if live is not None else None)
        if self._bar.visible != (mode == "strain"):
            self._bar.visible = mode == "strain"
        if live is not None:
            shot = self._shown
            told = f"{shot.time:.2f} s simulated, {shot.pace:.2g} times real time"
            self._status.content = plain(live.message) or (STARTING if live.running and shot.time == 0.0 else told)
        else:
            self._status.content = self._hint
        if self._slider.value != self._frame:
            self._slider.value = self._frame
        self._time.content = self._time_text()

    def _follow_strain(self, positions):
        """Let the colours reach about as far as a simulation strains now."""
        if self.live is None:
            return
        high = max((float(np.quantile(s.strain(x), 0.998)) for s, x in zip(self.stage.skins, positions, strict=True)), default=0.0)
        if high > GROW * self._high or high < self._high / SHRINK:
            high = rounded_up(max(high, LEAST))
            if high != self._high:
                self._set_range(high)

    def _set_range(self, high):
        self._high = high
        self._bar.image, self._bar.label = legend(high), self._legend_text()

    def _legend_text(self):
        return f"largest principal Green strain, 0 to {self._high:g}"

    def _time_text(self):
        return f"{self.run.times[self._frame]:.3f} s of {self.run.times[-1]:.3f} s"


def plain(text):
    """Text that a page shows as it stands: names come from files, and the page would take markup, or a script, for what it is."""
    return "".join(c if c.isalnum() or c in " .,;:'=%/+-" else "?" for c in text)[:LONGEST]
