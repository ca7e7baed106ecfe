"""What real cameras add to images: depth of structured light or stereo, and the sensor's noise in colour.

Depth z [m] of a surface that is seen under an angle a to its normal becomes, in this order:

1. axial noise, z + sigma n, n normal, with sigma = axial_0 + axial_1 (z - axial_2)^2 + axial_3 a^2 / (sqrt(z) (pi/2 - a)^2): Nguyen, Izadi,
   Lovell, "Modeling Kinect sensor noise for improved 3D reconstruction and tracking", 3DIMPVT 2012, with axial = (0.0012, 0.0019, 0.4,
   0.0001). They add the last term from 60 degrees on; here it stands at every angle, so that nothing jumps;
2. quantisation: of the disparity d = baseline focal / z to whole multiples of `subpixel`, so that steps of depth grow as
   z^2 subpixel / (baseline focal) (Khoshelham, Elberink, "Accuracy and resolution of Kinect depth data for indoor mapping applications",
   Sensors 12, 2012), or of depth itself to multiples of `step`;
3. dropouts: out of range; under an angle above `grazing`; and beside depth edges, where one of the two eyes sees something else: a pixel
   with a step of depth above `edge` to one of its four neighbours, or within `edge_width` pixels of such a one, is lost with probability
   `edge_dropout`.

Missing depth is 0.

Colour is photons: a pixel of linear intensity I that is full at `full_well` electrons holds a Poisson number of mean I full_well, and
reading adds normal noise of `read` electrons (the linear camera model of EMVA standard 1288):
variance = I / full_well + (read / full_well)^2. Then it is clipped to [0, 1] and rounded to `bits`.
"""

from dataclasses import dataclass

import numpy as np

from physsim.appearance.camera import Camera
from physsim.errors import InputError
from physsim.physics import validation

STEEPEST = np.pi / 2 - 1e-3  # [rad]: the noise of a surface seen edge on has no bound


@dataclass(frozen=True)
class DepthNoise:
    """A depth camera's errors; formulas in the module. The defaults are a first-generation Kinect's.

    Args:
        axial: axial_0 [m], axial_1 [1/m], axial_2 [m], axial_3 [m^1.5].
        baseline: between projector and camera, or between the eyes [m]; None: no quantisation of disparity.
        subpixel: steps of disparity [pixel].
        step: steps of depth [m] instead; None: none.
        edge: step of depth between neighbours that loses pixels [m].
        edge_width: how far from such a step pixels may be lost [pixel].
        edge_dropout: probability of losing them.
        grazing: angle between ray and normal beyond which nothing comes back [degree].
        near, far: range [m].

    Raises:
        InputError: a number out of its range, both kinds of quantisation.
    """

    axial: tuple[float, float, float, float] = (0.0012, 0.0019, 0.4, 0.0001)
    baseline: float | None = 0.075
    subpixel: float = 0.125
    step: float | None = None
    edge: float = 0.05
    edge_width: int = 1
    edge_dropout: float = 0.8
    grazing: float = 80.0
    near: float = 0.4
    far: float = 4.5

    def __post_init__(self) -> None:
        object.__setattr__(self, "axial", tuple(validation.array("DepthNoise.axial", self.axial, (4,), lower=0.0).tolist()))
        bounds = {"subpixel": np.inf, "edge": np.inf, "edge_dropout": 1.0, "grazing": 90.0, "near": np.inf, "far": np.inf}
        for name, upper in bounds.items():
            value = float(validation.array(f"DepthNoise.{name}", getattr(self, name), (), lower=0.0, upper=upper))
            object.__setattr__(self, name, value)
        for name in ("baseline", "step"):
            if getattr(self, name) is not None:
                value = float(validation.array(f"DepthNoise.{name}", getattr(self, name), (), lower=0.0, lower_open=True))
                object.__setattr__(self, name, value)
        width = validation.array("DepthNoise.edge_width", self.edge_width, (), kind="i", lower=0, upper=64)
        object.__setattr__(self, "edge_width", int(width))
        if self.step is not None and self.baseline is not None:
            raise InputError("DepthNoise: baseline and step are two kinds of quantisation; set baseline=None to round depth to steps")
        if self.baseline is not None and self.subpixel == 0.0:
            raise InputError("DepthNoise.subpixel = 0: a positive step is needed; set baseline=None for no quantisation")
        if not self.near < self.far:
            raise InputError(f"DepthNoise: near = {self.near:g} and far = {self.far:g} m; near must be less")

    def __call__(self, depth: np.ndarray, camera: Camera, random: np.random.Generator, normals: np.ndarray | None = None) -> np.ndarray:
        """A depth image as the camera would give it.

        Args:
            depth: along the axis [m], 0 where nothing is, shape [h, w].
            camera: that sees it.
            random: from which all noise is drawn.
            normals: of what is seen, in the world, shape [h, w, 3]; None: from the differences of depth to the neighbours.

        Returns:
            Depth [m], 0 where it is missing, shape [h, w].

        Raises:
            InputError: images of another size than the camera's or of whole numbers, NaN, a negative depth, no generator.
        """
        validation.instance("random", random, np.random.Generator, "numpy.random.default_rng(seed) makes one")
        size = (camera.height, camera.width)
        depth = validation.array("depth image", _real("depth image", depth, "divide millimetres by 1000 to get metres"), size, lower=0.0)
        angle = _angles(depth, camera, None if normals is None else validation.array("normals", normals, (*size, 3)))
        there = depth > 0.0
        z = np.where(there, depth, 1.0)
        a0, a1, a2, a3 = self.axial
        sigma = a0 + a1 * (z - a2) ** 2 + a3 / np.sqrt(z) * angle**2 / (np.pi / 2 - angle) ** 2
        noisy = self._quantised(np.maximum(z + sigma * random.standard_normal(size), 1e-6), camera)
        lost = self._near_edges(depth) & (random.random(size) < self.edge_dropout)
        lost |= (angle >= np.radians(self.grazing)) | (noisy < self.near) | (noisy > self.far)
        return np.where(there & ~lost, noisy, 0.0)

    def _quantised(self, depth, camera):
        if self.step is not None:
            return np.round(depth / self.step) * self.step
        if self.baseline is None:
            return depth
        full = self.baseline * camera.focal[0] / self.subpixel  # disparity in steps is full / depth
        return full / np.maximum(np.round(full / depth), 0.5)  # below half a step: out of every range

    def _near_edges(self, depth):
        """Pixels at steps of depth, and those around them; a step to where nothing is counts."""
        jump = np.zeros(depth.shape, bool)
        for axis in (0, 1):
            step = np.abs(np.diff(depth, axis=axis)) > self.edge
            before, after = (slice(None),) * axis + (slice(None, -1),), (slice(None),) * axis + (slice(1, None),)
            jump[before] |= step
            jump[after] |= step
        for _ in range(self.edge_width):
            wide = jump.copy()
            wide[1:] |= jump[:-1]
            wide[:-1] |= jump[1:]
            wide[:, 1:] |= jump[:, :-1]
            wide[:, :-1] |= jump[:, 1:]
            jump = wide
        return jump


@dataclass(frozen=True)
class ColourNoise:
    """A colour sensor's noise; formulas in the module.

    Args:
        full_well: electrons of a pixel at intensity 1.
        read: standard deviation of reading [electron].
        bits: of the values that come out; None: not rounded.
        srgb: the images' values are sRGB (IEC 61966-2-1), to be made linear for the noise and turned back; False: they are linear.

    Raises:
        InputError: a number out of its range.
    """

    full_well: float = 10_000.0
    read: float = 5.0
    bits: int | None = 8
    srgb: bool = True

    def __post_init__(self) -> None:
        full = validation.array("ColourNoise.full_well", self.full_well, (), lower=1.0, upper=1e12)
        object.__setattr__(self, "full_well", float(full))
        object.__setattr__(self, "read", float(validation.array("ColourNoise.read", self.read, (), lower=0.0)))
        if self.bits is not None:
            object.__setattr__(self, "bits", int(validation.array("ColourNoise.bits", self.bits, (), kind="i", lower=1, upper=16)))

    def __call__(self, colour: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """An image as the sensor would give it.

        Args:
            colour: from 0 to 1, of any shape; what is outside is clipped.
            random: from which all noise is drawn.

        Returns:
            Values in [0, 1], of the same shape.

        Raises:
            InputError: whole numbers, NaN, no generator.
        """
        validation.instance("random", random, np.random.Generator, "numpy.random.default_rng(seed) makes one")
        given = _real("colour image", colour, "divide by 255 to get numbers from 0 to 1")
        intensity = np.clip(validation.array("colour image", given, given.shape), 0.0, 1.0)
        if self.srgb:
            intensity = linear_from_srgb(intensity)
        electrons = random.poisson(intensity * self.full_well) + self.read * random.standard_normal(intensity.shape)
        noisy = np.clip(electrons / self.full_well, 0.0, 1.0)
        if self.srgb:
            noisy = srgb_from_linear(noisy)
        if self.bits is None:
            return noisy
        most = 2**self.bits - 1
        return np.round(noisy * most) / most


def linear_from_srgb(values: np.ndarray) -> np.ndarray:
    """Linear intensity of sRGB values, both from 0 to 1 (IEC 61966-2-1)."""
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def srgb_from_linear(intensity: np.ndarray) -> np.ndarray:
    """sRGB values of linear intensity, both from 0 to 1 (IEC 61966-2-1)."""
    return np.where(intensity <= 0.0031308, 12.92 * intensity, 1.055 * np.maximum(intensity, 0.0) ** (1 / 2.4) - 0.055)


def _angles(depth, camera, normals):
    """Angle between each pixel's ray and its normal [rad], shape [h, w]."""
    _, directions = camera.rays()
    directions = np.nan_to_num(directions / np.linalg.norm(directions, axis=-1, keepdims=True))
    if normals is None:
        normals = _normals(depth, camera)
    length = np.linalg.norm(normals, axis=-1)
    cosine = np.abs((directions * normals).sum(axis=-1)) / np.maximum(length, 1e-300)
    return np.where(length > 0.0, np.minimum(np.arccos(np.clip(cosine, 0.0, 1.0)), STEEPEST), 0.0)


def _normals(depth, camera):
    """Normals from the nearer of the two neighbours along each axis: across an edge the farther one belongs to something else."""
    points = np.where(depth[..., None] > 0.0, np.nan_to_num(camera.points(depth)), 0.0)
    return np.cross(_slope(points, depth, 1), _slope(points, depth, 0))


def _slope(points, depth, axis):
    """Difference of position to the neighbour whose depth is nearest, shape [h, w, 3]; zero where there is none."""
    step = np.zeros(points.shape)
    if depth.shape[axis] < 2:
        return step
    difference = np.diff(points, axis=axis)
    before, after = (slice(None),) * axis + (slice(None, -1),), (slice(None),) * axis + (slice(1, None),)
    both = (depth[before] > 0.0) & (depth[after] > 0.0)
    gap = np.where(both, np.abs(np.diff(depth, axis=axis)), np.inf)
    best = np.full(depth.shape, np.inf)
    for place in (before, after):
        better = gap < best[place]
        best[place] = np.where(better, gap, best[place])
        step[place] = np.where(better[..., None], difference, step[place])
    return step


def _real(name, image, remedy):
    """An image as numpy has it; whole numbers, which cameras write in other units, are refused."""
    given = validation.given_array(name, image)
    if given.dtype.kind in "iub":
        raise InputError(f"{name}: {given.dtype} was given; {remedy}")
    return given
