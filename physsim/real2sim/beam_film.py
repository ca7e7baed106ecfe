"""The video of `physsim demo beam`: the simulated beam, with the measured markers beside the simulated points."""

import numpy as np

from physsim.appearance.camera import Camera
from physsim.real2sim import recording as rec
from physsim.report.render import Dots, Renderer, Solid, box_surface
from physsim.report.video import write_video

FPS = 30.0
SIZE = (960, 540)  # [pixel]
SECONDS = 3.0
BEAM, WALL, WEIGHT, MEASURED, SIMULATED = "#5b8def", "#aab3c0", "#3f4856", "#e11d48", "#facc15"
_BAR = 0.22  # side of the drawn weight, as a share of the beam's thickness


def write_film(path, judged, seconds=SECONDS):
    """Draw a simulated recording in real time from its first turning point on.

    Args:
        path: .mp4 file.
        judged: Judged.
        seconds: length; shorter where the recording ends before.

    Returns:
        Path of what was written: the video, or a PNG strip where no encoder is found.
    """
    times = judged.measured.times[judged.start :]
    shown = np.arange(times[0], min(times[0] + seconds, times[-1]) + 1e-9, 1.0 / FPS)
    return write_video(path, _frames(judged, times, shown), FPS)


def _frames(judged, times, shown):
    e, m = judged.experiment, judged.measured
    surface = judged.beam.mesh.surface()
    measured = e.points + m.displacements
    thickness = e.size[1:].max()
    low = [e.origin[0] - 0.3 * thickness, e.origin[1] - 0.6 * e.size[1], e.origin[2] - 0.9 * e.size[2]]
    high = [e.origin[0], e.origin[1] + 1.6 * e.size[1], e.origin[2] + 1.6 * e.size[2]]
    wall = Solid(*box_surface(low, high), colour=WALL, backdrop=True)
    everything = [judged.samples, measured[judged.start :], wall.points, judged.beam.mesh.points]
    shown_points = np.concatenate([p.reshape(-1, 3) for p in everything])
    camera = Camera.around(shown_points, direction=(0.32, -1.0, 0.22), width=SIZE[0], height=SIZE[1], margin=1.35)
    renderer = Renderer(camera)
    drop = [rec.mean_drop(u) for u in (m.displacements, judged.displacements)]
    for time in shown:
        x = _between(times, judged.samples, time)
        now = _between(m.times, measured, time)
        solids = [wall, Solid(x, surface, colour=BEAM, mesh_lines=True)]
        if e.weight > 0:
            solids.append(_weight(e, judged.beam.mesh.points, x, _BAR * thickness))
        dots = [
            Dots(judged.beam.observe(x), SIMULATED, radius=4.2, label="marker points, simulated"),
            Dots(now, MEASURED, radius=7.0, hollow=True, label="markers, measured"),
        ]
        fallen = [1e3 * np.interp(time, m.times, d) for d in drop]
        caption = f"{m.name}: {time - m.release:.2f} s after the release"
        note = f"mean drop {fallen[0]:.1f} mm measured, {fallen[1]:.1f} mm simulated; weight {1e3 * e.weight:.4g} g; real time"
        yield renderer.frame(solids, dots, caption, note)


def _between(times, values, time):
    """Values [...] at a time, linear between frames."""
    i = int(np.clip(np.searchsorted(times, time) - 1, 0, len(times) - 2))
    share = np.clip((time - times[i]) / (times[i + 1] - times[i]), 0.0, 1.0)
    return (1 - share) * values[i] + share * values[i + 1]


def _weight(experiment, rest, x, side):
    """A bar that lies on the edge which carries the weight; its size says nothing about the real one's."""
    along = experiment.edge[1] - experiment.edge[0]
    length = np.linalg.norm(along)
    s = (rest - experiment.edge[0]) @ along / length**2
    off = np.linalg.norm(rest - experiment.edge[0] - s[:, None] * along, axis=1)
    nodes = np.flatnonzero((off < 1e-6 * length) & (s > -1e-9) & (s < 1 + 1e-9))
    nodes = nodes[np.argsort(s[nodes])]
    ends = x[nodes[[0, -1]]]
    axis = (ends[1] - ends[0]) / np.linalg.norm(ends[1] - ends[0])
    up = np.array([0.0, 0.0, 1.0]) - axis[2] * axis
    up /= np.linalg.norm(up)
    across = np.cross(axis, up)  # across, axis, up: a right-handed frame, so that the faces look outward
    cube, triangles = box_surface([-0.5, 0.0, 0.0], [0.5, 1.0, 1.0], divisions=3)
    points = ends[0] + cube[:, :1] * side * across + cube[:, 1:2] * (ends[1] - ends[0]) + cube[:, 2:] * side * up
    return Solid(points, triangles, colour=WEIGHT)
