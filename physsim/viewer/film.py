"""The worker of `physsim render`: a run or an asset as a film or a picture."""

import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

from physsim.appearance.camera import Camera, orbit
from physsim.errors import InputError
from physsim.io.files import read_json
from physsim.physics import validation
from physsim.physics.frames import matrices
from physsim.physics.mesh import TetMesh
from physsim.report.overlay import Legend, draw_overlay, rgb
from physsim.report.render import LIGHT
from physsim.report.video import write_video
from physsim.viewer.stage import Stage, palette, rounded_up, strain_colours
from physsim.viewer.subject import subject

SIZE = (960, 540)  # [pixel]
FPS = 30.0
TURN_FRAMES = 120  # of a thing that stands still
SWAY = 0.15  # of a turn that the camera goes around a run
FRONT = (0.0, -1.0, 0.15)  # from the bodies to the camera
MARGIN = 1.4
SAMPLES = 2  # rays a pixel's side
BACKGROUND, FLOOR = (0.97, 0.975, 0.985), ((0.94, 0.95, 0.965), (0.985, 0.99, 1.0))
REACH = 12.0  # half the floor's side, as a share of the size of what is seen
MAX_CAMERA = 1_000_000  # bytes of a camera's file
MOST_FRAMES = 100_000


def film(thing, out, *, camera=None, size=None, frames=None, show=None, tell=None):
    """Draw a run through its time, or a thing that stands still from all sides.

    Args:
        thing: Run, Asset, or the folder of either.
        out: file to write: .mp4 for a film (a strip of stills, .png, where no encoder is found), .png for one picture, of the last frame.
        camera: "orbit", "front", a Camera, or a JSON file of one (`Camera.to_dict`); None: the run's own, "orbit" where it has none.
        size: width and height [pixel]; None: 960 x 540, or the camera's own.
        frames: how many pictures a film has; None: 30 a second of the run, 120 of what stands still. The film takes as long as the run.
        show: "splats", "mesh" or "strain"; None: splats where there are some, else the mesh.
        tell: called with (number of the picture that is drawn next, how many there are).

    Returns:
        Path of what was written.

    Raises:
        InputError: another ending, a damaged folder or camera, nothing of what is to be shown, sizes that cannot be drawn.
    """
    out = Path(out)
    if out.suffix.lower() not in (".mp4", ".png"):
        raise InputError(f"{out}: films are written as .mp4 and pictures as .png; give a name that ends so")
    run = subject(thing)
    stage = Stage(run)
    show = show or ("splats" if "splats" in stage.modes else "mesh")
    if show not in stage.modes:
        raise InputError(f"show = {show!r}: the run offers {', '.join(stage.modes)}")
    still = out.suffix.lower() == ".png"
    shown, fps = _moments(run.times, 1 if still else frames)
    cameras = _cameras(stage, camera, size, len(shown))
    width, height = cameras[0].width, cameras[0].height
    if not still and (width % 2 or height % 2):
        even = f"{width + width % 2} {height + height % 2}"
        raise InputError(f"{out}: {width} x {height} pixels; a film's width and height must be even: give --size {even}, or write a .png")
    pictures = Pictures(stage, show)
    if still:
        out.parent.mkdir(parents=True, exist_ok=True)
        pictures.draw(shown[-1], cameras[-1]).save(out)
        return out
    return write_video(out, _drawn(pictures, shown, cameras, tell or (lambda number, count: None)), fps)


def _drawn(pictures, shown, cameras, tell):
    for k, (frame, camera) in enumerate(zip(shown, cameras, strict=True)):
        tell(k, len(shown))
        yield pictures.draw(frame, camera)


def main(*, path, out, camera=None, size=None, frames=None, show=None):
    """The command `physsim render`; see `film`.

    Returns:
        Exit code 0.
    """
    began = time.perf_counter()
    written = film(path, out, camera=camera, size=size, frames=frames, show=show, tell=_progress if sys.stderr.isatty() else None)
    print(f"written: {written} ({time.perf_counter() - began:.0f} s)", file=sys.stderr)
    return 0


def _progress(number, count):
    print(f"\rpicture {number + 1} of {count}", end="\n" if number + 1 == count else "", file=sys.stderr, flush=True)


def _moments(times, frames):
    """(numbers of the run's frames that the pictures show, pictures a second)."""
    if frames is not None:
        frames = int(validation.array("frames", frames, (), kind="i", lower=1, upper=MOST_FRAMES))
    span = float(times[-1] - times[0])
    if span == 0.0:
        return np.zeros(frames or TURN_FRAMES, int), FPS
    count = frames or min(int(np.ceil(span * FPS)) + 1, MOST_FRAMES)
    wanted = np.linspace(times[0], times[-1], count) if count > 1 else times[-1:]
    after = np.searchsorted(times, wanted).clip(0, len(times) - 1)
    before = (after - 1).clip(0)
    nearest = np.where(wanted - times[before] < times[after] - wanted, before, after)
    return nearest, float(np.clip((count - 1) / span, 1.0, 240.0)) if count > 1 else FPS


def _cameras(stage, camera, size, count):
    """A Camera a picture."""
    if camera is None:
        camera = stage.run.camera or "orbit"
    if isinstance(camera, str) and camera in ("orbit", "front"):
        width, height = SIZE if size is None else _checked_size(size)
        corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)])
        low, high = stage.box()
        seen = corners * (high - low) + low
        if camera == "front":
            return [Camera.around(seen, direction=FRONT, width=width, height=height, margin=MARGIN)] * count
        turns = 1.0 if len(stage.run) == 1 else SWAY
        return orbit(seen, count, turns=turns, width=width, height=height, margin=MARGIN)
    if not isinstance(camera, Camera):
        camera = _read_camera(camera)
    return [camera if size is None else camera.resized(*_checked_size(size))] * count


def _checked_size(size):
    return tuple(int(v) for v in validation.array("size", size, (2,), kind="i", lower=16, upper=8192))


def _read_camera(path):
    """The Camera of a JSON file."""
    if not Path(path).is_file():
        raise InputError(f"camera {str(path)!r}: it is neither orbit nor front, nor a file; a file holds what Camera.to_dict gives")
    told = read_json(path, MAX_CAMERA)
    try:
        return Camera.from_dict(told)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


class Pictures:
    """Draws frames of a stage.

    Args:
        stage: Stage.
        show: of the stage's modes.
    """

    def __init__(self, stage, show):
        from physsim.appearance.meshes import Light, Surface

        self._stage, self._show = stage, show
        run = stage.run
        self._light = Light(tuple(LIGHT.tolist()), ambient=0.5, diffuse=0.5)
        self._high = stage.strain_range()[1] if show == "strain" else 1.0
        self._bodies = {}
        for i, (body, skin) in enumerate(zip(run.bodies, stage.skins, strict=True)):
            if show != "splats" or i not in stage.with_splats:
                colour = np.array(rgb(body.colour)) / 255.0
                smooth = not isinstance(body.mesh, TetMesh) and show == "mesh"
                self._bodies[i] = Surface(skin.points(run.positions(0)[i]), skin.triangles, colour, label=i, smooth=smooth)
        after = len(run.bodies)
        self._links = [
            Surface(link.points, link.triangles, np.array(rgb(link.colour)) / 255.0, label=after + k) for k, link in enumerate(run.links)
        ]
        self._floor = [] if run.ground is None else [_floor(stage.box(), run.ground, after + len(run.links))]

    def draw(self, frame, camera):
        """A picture of a frame of the run (PIL)."""
        from physsim.appearance.scene import Scene, render

        run, stage = self._stage.run, self._stage
        positions, (places, turns) = run.positions(frame), run.poses(frame)
        surfaces = [self._surface(i, positions[i]) for i in self._bodies]
        surfaces += [link.moved(R, place) for link, R, place in zip(self._links, matrices(turns), places, strict=True)]
        splats = [stage.splats(i, positions[i], camera.position) for i in stage.with_splats if i not in self._bodies]
        scene = Scene(splats, surfaces + self._floor, background=BACKGROUND, light=self._light)
        picture = Image.fromarray(render(scene, camera, samples=SAMPLES).bytes())
        bar = (255.0 * palette(), (0.0, self._high), "largest principal Green strain") if self._show == "strain" else None
        if len(run) > 1 or bar is not None:
            draw_overlay(picture, Legend([], bar), f"{run.times[frame]:.2f} s" if len(run) > 1 else "")
        return picture

    def _surface(self, i, x):
        from physsim.appearance.meshes import Surface

        skin, surface = self._stage.skins[i], self._bodies[i]
        points = skin.points(x)
        if self._show != "strain":
            import torch

            return surface.deformed(torch.as_tensor(points))
        return Surface(points, skin.triangles, strain_colours(skin.strain(x), self._high), label=i)


def _floor(box, height, label):
    """A square of faint tiles under everything."""
    from physsim.appearance.meshes import Surface

    low, high = box
    size = max(float(np.max(high - low)), 1e-6)
    reach, tile = REACH * size, rounded_up(size / 5)
    middle = (low + high) / 2
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * reach + middle[:2]
    points = np.column_stack([corners, np.full(4, height)])
    tiles = np.array([[FLOOR[0], FLOOR[1]], [FLOOR[1], FLOOR[0]]])
    texture = np.kron(tiles, np.ones((16, 16, 1)))
    return Surface(points, [[0, 1, 2], [0, 2, 3]], texture=texture, uv=corners / (2 * tile), label=label)
