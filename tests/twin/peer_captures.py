"""Captures of soft things that MuJoCo moved: what one RGB-D camera, tracks and a robot's handle would give, noise included.

The camera's images come from rays to the triangle surface, never from splats. Everything is drawn from a seed. What took long is kept in a
temporary folder, under a name made of the arguments and of these sources.
"""

import hashlib
import shutil
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from peer_flex import FlexWorld, Thing
from peer_static import static_stiffness
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation

from physsim import (
    Camera,
    Capture,
    ColourNoise,
    DepthNoise,
    Handle,
    Known,
    SeenTracks,
    Surface,
    TetMesh,
    TriMesh,
    box_mesh,
    render_surfaces,
)
from physsim.physics.sheets import sheet_mesh

RATE, FRAMES, FITTED = 30, 60, 40
HANDLE_RATE = 120  # of a robot's log [1/s]
TOUCH = 4.0e-3  # spacing of the places that are said to be held [m]
BODY, HAND, WALL = 0, 1, 2  # labels


@dataclass(frozen=True)
class Wave:
    """A smooth motion of a handle: a sum of sines that swells up from rest.

    Args:
        sway: amplitude along x, y, z [m].
        hertz: of each [1/s].
        phase: of each [rad].
        turn: amplitude of the rotation vector [rad].
        turn_hertz: [1/s].
        swell: time in which it starts up [s].
    """

    sway: tuple[float, float, float] = (0.03, 0.02, 0.015)
    hertz: tuple[float, float, float] = (1.3, 0.9, 1.7)
    phase: tuple[float, float, float] = (0.0, 1.0, 2.0)
    turn: tuple[float, float, float] = (0.0, 0.0, 0.0)
    turn_hertz: float = 1.1
    swell: float = 0.5

    def __call__(self, time: float) -> tuple[np.ndarray, np.ndarray]:
        """See `peer_flex.Motion`."""
        s = min(max(time / self.swell, 0.0), 1.0)
        grown = s**3 * (10 - 15 * s + 6 * s**2)
        waves = np.sin(2 * np.pi * np.array(self.hertz) * time + np.array(self.phase))
        turn = np.array(self.turn) * np.sin(2 * np.pi * self.turn_hertz * time) * grown
        return grown * np.array(self.sway) * waves, Rotation.from_rotvec(turn).as_matrix()


@dataclass(frozen=True, eq=False)
class Specimen:
    """A body and how it is moved and looked at.

    Args:
        name: of the capture.
        thing: Thing.
        wave: of its handles, each about its own pivot.
        dt: MuJoCo's step [s], a whole fraction of 1/120 s.
        lead: how long the handle moves before the first frame [s]; 0: the body is at rest then.
        view: direction from the body to the camera.
        distance: between them [m].
        ground: height of a floor [m], or None.
    """

    name: str
    thing: Thing
    wave: Wave
    dt: float
    lead: float = 1.0
    view: tuple[float, float, float] = (0.35, -1.0, 0.15)
    distance: float = 0.55
    ground: float | None = None

    def motion(self) -> tuple[np.ndarray, np.ndarray]:
        """Positions [m] and velocities [m/s] at the frames, each [60, n, 3]; kept from one call to the next."""
        return tuple(_kept(self._key(), self._simulate))

    def _key(self):
        thing = self.thing
        shape = thing.points.tobytes(), thing.elements.tobytes(), thing.held, thing.part
        stuff = thing.young, thing.poisson, thing.density, thing.thickness, thing.damping
        return shape, stuff, self.wave, self.dt, self.lead, self.ground

    def _simulate(self):
        world = FlexWorld(self.thing, dict.fromkeys(self.thing.held, self.wave), self.dt, ground=self.ground)
        world.settle()
        return world.record(self.lead + np.arange(FRAMES) / RATE)

    def handles(self, told: bool) -> dict[str, Handle]:
        """As a robot logs them; `told`: with a grid over where they touch."""
        times = np.arange(HANDLE_RATE * (FRAMES - 1) // RATE + 1) / HANDLE_RATE
        moved, turned = (np.array(part) for part in zip(*(self.wave(self.lead + t) for t in times), strict=True))
        found = {}
        for name, vertices in self.thing.held.items():
            pivot, held = self.thing.pivot(name), self.thing.points[vertices]
            sides = [
                np.linspace(low, high, max(1, round((high - low) / TOUCH) + 1)) for low, high in np.stack([held.min(0), held.max(0)], 1)
            ]
            touch = np.stack(np.meshgrid(*sides, indexing="ij"), axis=-1).reshape(-1, 3) - pivot
            found[name] = Handle(times, pivot + moved, turned, radius=TOUCH if told else None, places=touch if told else None)
        return found

    def mesh(self) -> TetMesh | TriMesh:
        """The rest shape, with MuJoCo's elements."""
        return TetMesh(self.thing.points, self.thing.elements) if self.thing.solid else TriMesh(self.thing.points, self.thing.elements)

    def camera(self, width: int, height: int) -> Camera:
        """That has the whole motion in view, with as long a lens as that allows."""
        places = self.motion()[0].reshape(-1, 3)
        middle = 0.5 * (places.min(axis=0) + places.max(axis=0))
        eye = middle + self.distance * np.array(self.view) / np.linalg.norm(self.view)
        camera = Camera.look_at(eye, middle, width=width, height=height)
        local = places @ camera.rotation.T + camera.translation
        reach = 1.15 * np.abs(local[:, :2] / local[:, 2:]).max(axis=0) / (0.5 * np.array([width, height]))
        focal = 1.0 / reach.max()
        return replace(camera, focal=(focal, focal), centre=None)


def block(young=3.0e4, size=(0.05, 0.05, 0.12), cells=(4, 4, 9), dt=1 / 3840, **changes) -> Specimen:
    """A block that hangs from a hand which waves its upper face."""
    shape = {k: changes.pop(k) for k in ("poisson", "density", "damping") if k in changes}
    mesh = box_mesh(size, cells, origin=(-size[0] / 2, -size[1] / 2, -size[2]))
    top = np.flatnonzero(mesh.points[:, 2] > -1e-9)
    thing = Thing(mesh.points, mesh.cells, (young,), {"hand": top}, **shape)
    return replace(Specimen("block", thing, Wave(), dt), **changes)


def shaken_block() -> Specimen:
    """The small block of the shipped capture: short enough that a parallel gripper takes it."""
    wave = Wave(sway=(0.028, 0.018, 0.012), hertz=(1.9, 1.3, 2.3), turn=(0.0, 0.12, 0.0), turn_hertz=1.1)
    return block(2.5e4, (0.045, 0.045, 0.09), (3, 3, 6), 1 / 7680, damping=0.003, wave=wave, name="shaken block", distance=0.45)


def two_part_block(young=(6.0e4, 1.2e4), size=(0.05, 0.05, 0.12), cells=(4, 4, 8), dt=1 / 3840, **changes) -> Specimen:
    """The block with an upper half of one stuff and a lower half of another.

    The softer one is below: of what hangs from a softer part even the exact motion tells no stiffness within a decade, because most of the
    bending is next to the hand. It is waved near its own frequency: slower motions show little more than one stiffness.
    """
    plain = block(young[0], size, cells, dt, **({"wave": Wave(hertz=(2.2, 1.6, 2.8))} | changes))
    middles = plain.thing.points[plain.thing.elements].mean(axis=1)
    part = (middles[:, 2] < -size[2] / 2).astype(int)
    return replace(plain, name="two-part block", thing=replace(plain.thing, young=tuple(young), part=part))


def bar(young=2.0e6, size=(0.2, 0.02, 0.02), cells=(20, 2, 2), dt=1 / 3840, **changes) -> Specimen:
    """A slender bar, held level at one end: it bends, and bending says nothing of Poisson's ratio."""
    shape = {k: changes.pop(k) for k in ("poisson", "density", "damping") if k in changes}
    mesh = box_mesh(size, cells, origin=(0.0, -size[1] / 2, -size[2] / 2))
    thing = Thing(mesh.points, mesh.cells, (young,), {"hand": np.flatnonzero(mesh.points[:, 0] < 1e-9)}, **shape)
    wave = Wave(sway=(0.0, 0.01, 0.012), hertz=(1.0, 1.1, 1.5))
    return replace(Specimen("bar", thing, wave, dt, distance=0.7), **changes)


def cloth(young=3.0e4, side=0.3, count=20, thickness=1.0e-3, holding="edge", dt=1 / 1920, **changes) -> Specimen:
    """A soft sheet that hangs from its upper edge ("edge"), or from two patches at its upper corners ("corners"), and is waved."""
    shape = {"density": 300.0, "poisson": 0.3} | {k: changes.pop(k) for k in ("poisson", "density", "damping") if k in changes}
    flat = sheet_mesh((side, side), (count - 1, count - 1), origin=(-side / 2, -side, 0.0))
    points = flat.points[:, [0, 2, 1]] * [1.0, -1.0, 1.0]
    high, reach = points[:, 2] > -1e-9, 0.075 * side
    if holding == "edge":
        held = {"hand": np.flatnonzero(high)}
    else:
        near = points[:, 2] > -reach
        held = {
            "left": np.flatnonzero(near & (points[:, 0] < reach - side / 2)),
            "right": np.flatnonzero(near & (points[:, 0] > side / 2 - reach)),
        }
    thing = Thing(points, flat.triangles, (young,), held, thickness=thickness, **shape)
    wave = Wave(sway=(0.015, 0.02, 0.02), hertz=(0.8, 0.7, 1.6))
    return replace(Specimen("cloth", thing, wave, dt, view=(0.5, -1.0, 0.1), distance=0.8), **changes)


def capture_of(
    specimen: Specimen,
    width: int = 320,
    height: int = 240,
    tracks: int = 80,
    track_noise: float = 1.0e-3,
    wrong: float = 0.05,
    marked: bool = False,
    mesh: bool = True,
    told: bool = True,
    depth_noise: DepthNoise | None = None,
    images: bool = True,
    seed: int = 1,
) -> Capture:
    """What the sensors saw of a specimen.

    Args:
        specimen: what moved.
        width, height: of the camera [pixel].
        tracks: points of the surface, visible in the first frame, that are followed; 0: none.
        track_noise: standard deviation [m].
        wrong: share of the tracks that jump to another one's place at some time and stay there.
        marked: whether it is known where on the body the followed points are, as of markers.
        mesh: whether the rest shape is known.
        told: whether it is known where the handles touch.
        depth_noise: None: of a first-generation Kinect, without its quantisation.
        images: whether there is a camera, or tracks only.
        seed: of all noise.
    """
    random = np.random.default_rng(seed)
    places, _ = specimen.motion()
    camera = specimen.camera(width, height)
    noise = depth_noise or DepthNoise(baseline=None, near=0.1)
    pictures = _kept((specimen._key(), camera.to_dict(), noise, seed), lambda: _film(specimen, places, camera, noise, seed))
    colour, depth, mask, clean = pictures
    thing = specimen.thing
    followed = _follow(thing, places, camera, clean, tracks, track_noise, wrong, marked, random) if tracks else None
    streams = {"colour": {"front": list(colour.astype(np.float32) / 255)}, "depth": {"front": list(depth)}, "mask": {"front": list(mask)}}
    return Capture(
        np.arange(FRAMES) / RATE,
        cameras={"front": camera} if images else {},
        tracks=followed,
        mesh=specimen.mesh() if mesh else None,
        handles=specimen.handles(told),
        kind="solid" if thing.solid else "sheet",
        known=Known(mass=float(thing.masses().sum()), thickness=thing.thickness or None),
        fit=np.arange(FITTED),
        test=np.arange(FITTED, FRAMES),
        name=specimen.name,
        source="MuJoCo 4.0 flex, drawn by rays, noise added",
        **(streams if images else {}),
    )


def _kept(key, make):
    """Arrays that `make` returned before for the same key and sources, or does now."""
    import mujoco

    sources = b"".join(Path(__file__).with_name(name).read_bytes() for name in ("peer_flex.py", "peer_captures.py"))
    with np.printoptions(threshold=10**9):
        name = hashlib.sha256(sources + repr((mujoco.__version__, key)).encode()).hexdigest()[:24]
    folder = Path(tempfile.gettempdir()) / "physsim_peer_captures"
    file = folder / f"{name}.npz"
    if not file.exists():
        folder.mkdir(exist_ok=True)
        arrays = make()
        with tempfile.NamedTemporaryFile(dir=folder, suffix=".part", delete=False) as part:
            np.savez_compressed(part, *arrays)
        Path(part.name).replace(file)
    with np.load(file) as kept:
        return [kept[f"arr_{i}"] for i in range(len(kept.files))]


def painted(thing: Thing, seed: int = 0) -> Surface:
    """The body's surface at rest, with a texture that has detail of every size on each side."""
    random = np.random.default_rng(seed)
    texture = sum(gaussian_filter(random.standard_normal((256, 256, 3)), (s, s, 0), mode="wrap") * s for s in (4, 10, 30))
    texture = 0.5 + 0.22 * texture / texture.std() * np.array([1.0, 0.8, 0.6])
    triangles = thing.elements if not thing.solid else TetMesh(thing.points, thing.elements).surface()
    corners = thing.points[triangles]
    normals = np.abs(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]))
    axes = np.array([[1, 2], [0, 2], [0, 1]])[normals.argmax(axis=1)]
    uv = np.take_along_axis(corners, axes[:, None, :].repeat(3, axis=1), axis=2) / np.ptp(thing.points, axis=0).max()
    return Surface(thing.points, triangles, texture=np.clip(texture, 0.05, 0.95), uv=uv + 0.37 * axes[:, :1, None], label=BODY)


def _film(specimen, places, camera, noise, seed):
    """Colour [uint8], noisy depth [m], masks, and depth without noise, each one a frame."""
    random = np.random.default_rng(seed + 1000)
    body, sensor = painted(specimen.thing), ColourNoise()
    out = []
    for frame, positions in enumerate(places):
        image = render_surfaces([body.deformed(positions), *_surroundings(specimen, camera, frame)], camera, samples=2)
        seen, labels = image.depth.numpy(), image.labels.numpy()
        depth = noise(seen, camera, random)
        colour = np.round(255 * sensor(image.colour.numpy(), random)).astype(np.uint8)
        out.append((colour, np.where(depth > 0, depth, np.nan).astype(np.float32), labels == BODY, np.where(labels == BODY, seen, 0)))
    return [np.stack(stack) for stack in zip(*out, strict=True)]


def _surroundings(specimen, camera, frame):
    """Hands that hold the body from outside, and a wall."""
    box = box_mesh((1.0, 1.0, 1.0), (1, 1, 1), origin=(-0.5, -0.5, -0.5))
    behind = camera.position + 2.2 * camera.rotation[2] * specimen.distance
    seen = [Surface(box.points * [4.0, 4.0, 0.01], box.surface(), (0.6, 0.58, 0.55), label=WALL).moved(camera.rotation.T, behind)]
    moved, turned = specimen.wave(specimen.lead + frame / RATE)
    for name, vertices in specimen.thing.held.items():
        held, pivot = specimen.thing.points[vertices], specimen.thing.pivot(name)
        outward = pivot - specimen.thing.points.mean(axis=0)
        outward = np.sign(outward) * (np.abs(outward) == np.abs(outward).max())
        size = np.where(outward != 0, 0.02, np.ptp(held, axis=0) + 0.01)
        place = pivot + moved + turned @ (outward * (0.0105 + np.ptp(held @ np.abs(outward)) / 2))
        seen.append(Surface(box.points * size, box.surface(), (0.25, 0.27, 0.3), label=HAND).moved(turned, place))
    return seen


def _follow(thing, places, camera, clean, count, noise, wrong, marked, random):
    """Tracks of points of the surface that the first frame shows."""
    triangles = thing.elements if not thing.solid else TetMesh(thing.points, thing.elements).surface()
    corners = thing.points[triangles]
    areas = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    chosen = random.choice(len(triangles), 40 * count, p=areas / areas.sum())
    weights = random.dirichlet(np.ones(3), len(chosen))
    truth = np.einsum("kc,fkcd->fkd", weights, places[:, triangles[chosen]])
    visible = np.stack([_seen(camera, depth, points) for depth, points in zip(clean, truth, strict=True)])
    kept = np.flatnonzero(visible[0])[:count]
    truth, visible = truth[:, kept], visible[:, kept]
    seen = truth + noise * random.standard_normal(truth.shape)
    bad = random.choice(len(kept), round(wrong * len(kept)), replace=False)
    for track in bad:
        other = random.choice(np.setdiff1d(np.arange(len(kept)), [track]))
        start = random.integers(1, len(truth) - 1)
        seen[start:, track] += truth[start:, other] - truth[start:, track]
    rest = np.einsum("kc,kcd->kd", weights[kept], thing.points[triangles[chosen[kept]]]) if marked else None
    return SeenTracks(np.where(visible[..., None], seen, np.nan), visible, rest)


def _seen(camera, depth, points, margin=0.003):
    pixels, away = camera.project(points)
    column, row = np.round(np.nan_to_num(pixels, nan=-1.0)).astype(int).T
    inside = (column >= 0) & (row >= 0) & (column < camera.width) & (row < camera.height)
    there = depth[np.clip(row, 0, camera.height - 1), np.clip(column, 0, camera.width - 1)]
    return inside & (there > 0) & (np.abs(there - away) < margin)


def write_shipped_capture(folder: str) -> None:
    """Write the capture that `physsim demo twin` fits, and print what MuJoCo's static tests say of its stiffness.

    Args:
        folder: that it goes to; files of the same names are replaced.
    """
    specimen = shaken_block()
    sensor = DepthNoise(axial=(0.001, 0.0, 0.0, 0.0001), baseline=None, near=0.1, far=0.8)
    capture = capture_of(specimen, 160, 120, tracks=60, depth_noise=sensor, seed=5)
    with tempfile.TemporaryDirectory() as scratch:
        shutil.copytree(capture.save(Path(scratch) / "capture"), folder, dirs_exist_ok=True)
    for way, gravity in (("along", (0.0, 0.0, -9.81)), ("across", (1.0, 0.0, 0.0))):
        print(f"hung {way} its length: {static_stiffness(specimen.thing, gravity):.0f} Pa")


if __name__ == "__main__":
    write_shipped_capture(sys.argv[1])
