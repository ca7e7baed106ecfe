"""Measured, simulated and difference side by side, frame by frame: the pictures of a report that a slider goes through.

Where a camera has colour or depth its own view is shown, cut to what moves: what it measured, the simulated body in its place, and the
depth of the simulation less the measured one. Without depth the third picture shows how the silhouettes differ. Without any camera the
points and tracks are drawn beside the body from a view of our own, and the third picture colours the body by how far they are off.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from PIL import Image, ImageDraw

from physsim.appearance.camera import Camera
from physsim.report.overlay import INK, MUTED, rgb, typeface
from physsim.report.render import Dots, Renderer, Solid
from physsim.twin import distances
from physsim.twin.judge_clouds import Moving
from physsim.twin.judgement import Judgement
from physsim.twin.seen import Seen

WIDTH, HEIGHT = 360, 270  # of one picture [pixel]
FOOT = 36  # under it, for the colour bar [pixel]
MOST_FRAMES = 60
FEW = 150  # points that are drawn over the coloured body
BODY, ONLY_MEASURED, ONLY_SIMULATED = "#7ba0e8", "#ea580c", "#9333ea"
FITTED, TESTED = "#93c5fd", "#fdba74"
TITLES = ("measured", "simulated", "difference")


@dataclass(frozen=True)
class Strip:
    """What `Page.strip` takes: (label, picture) a frame; what the pictures show; spans of fitted and held-out frames; where to begin."""

    frames: list
    caption: str
    spans: list
    first: int


def make_strip(judgement: Judgement, seen: Seen, body: Moving, positions: np.ndarray, draw: object = None) -> Strip:
    """Draw the strip of a judgement.

    Args:
        judgement: whose frames are drawn, at most 60, evenly chosen.
        seen: Seen.
        body: Moving, in the judged frames.
        positions: of the particles in the judged frames [m], shape [f, n, 3].
        draw: as `physsim.twin.pictures.painter` gives it; None: the body is drawn plain.
    """
    there = np.flatnonzero(body.there & (judgement.fitted | judgement.tested))
    chosen = there[np.unique(np.linspace(0, len(there) - 1, min(MOST_FRAMES, len(there))).round().astype(int))]
    camera = _camera_of(seen)
    painter = _Own(judgement, seen, body, chosen) if camera is None else _View(judgement, seen, body, chosen, camera, positions, draw)
    frames, kinds = [], []
    for i in chosen:
        kind = "held out" if judgement.tested[i] else "fitted"
        row = Image.new("RGB", (len(TITLES) * WIDTH, HEIGHT + (FOOT if painter.bar else 0)), "white")
        for k, image in enumerate(painter.pictures(i)):
            row.paste(image, (k * WIDTH, 0))
        if painter.bar:
            draw_bar(row, *painter.bar)
        frames.append((f"frame {judgement.frames[i]}, {judgement.times[i]:.2f} s, {kind}", row))
        kinds.append(TESTED if judgement.tested[i] else FITTED)
    borders = [0, *(k for k in range(1, len(kinds)) if kinds[k] != kinds[k - 1]), len(kinds)]
    spans = [(b - a, kinds[a]) for a, b in pairwise(borders)]
    first = next((k for k, i in enumerate(chosen) if judgement.tested[i]), 0)
    legend = " Under the slider: fitted frames blue, held-out frames orange." if len(set(kinds)) > 1 else ""
    return Strip(frames, painter.caption + legend, spans, first)


def _camera_of(seen):
    """The camera whose view is shown: one with colour and depth before one with depth, before one with colour or masks; None: none."""
    capture = seen.capture
    for wanted in (("colour", "depth"), ("depth",), ("colour",), ("mask",)):
        for name in capture.cameras:
            if all(name in getattr(capture, kind) for kind in wanted):
                return name
    return None


def _step(values, share=0.98):
    """A round number that hardly any of the sizes exceed: of 1, 2, 5 times a power of ten."""
    values = values[np.isfinite(values)]
    top = max(float(np.quantile(values, share)) if len(values) else 0.0, 1e-4)
    power = 10.0 ** np.floor(np.log10(top))
    return float(next(k * power for k in (1, 2, 5, 10) if k * power >= top * (1 - 1e-9)))


def _colours(name):
    import matplotlib

    return (255.0 * matplotlib.colormaps[name](np.linspace(0.0, 1.0, 256))[:, :3]).astype(np.float64)


def draw_bar(image: Image.Image, table: np.ndarray, ends: tuple[float, float], label: str) -> None:
    """Write a colour bar into the foot under the last picture of a row, in place.

    Args:
        image: RGB.
        table: colours, 0..255, shape [256, 3].
        ends: values at its two ends.
        label: what they are, with the unit.
    """
    pen, font = ImageDraw.Draw(image), typeface(12)
    width, height = 150, 8
    left, top = image.width - 4 - width, image.height - FOOT + 8
    row = table[np.linspace(0, len(table) - 1, width).astype(int)].astype(np.uint8)
    image.paste(Image.fromarray(np.broadcast_to(row, (height, width, 3)).copy()), (left, top))
    pen.text((left - 12, top + height / 2), label, fill=INK, font=font, anchor="rm")
    pen.text((left, top + height + 4), f"{ends[0]:g}", fill=MUTED, font=font, anchor="lt")
    pen.text((left + width, top + height + 4), f"{ends[1]:g}", fill=MUTED, font=font, anchor="rt")


class _View:
    """Pictures from a camera of the capture."""

    def __init__(self, judgement, seen, body, chosen, camera, positions, draw):
        self._judgement, self._seen, self._name, self._positions, self._draw = judgement, seen, camera, positions, draw
        self._eye, self._body = distances.Eye(seen.cameras[camera], body.triangles), body
        self._looks = {i: self._look(i) for i in chosen}
        self._window = self._cut()
        capture = seen.capture
        self._has = {kind: camera in getattr(capture, kind) for kind in ("colour", "depth", "mask")}
        depths = [np.abs(1e3 * off[np.isfinite(off)]) for i in chosen if (off := self._off(i)) is not None]
        self._range = _step(np.concatenate(depths)) if depths and any(len(d) for d in depths) else 1.0
        near = np.concatenate([depth[shown] for depth, shown in self._looks.values()])
        self._depths = (float(near.min()), float(near.max()) + 1e-6) if len(near) else (0.0, 1.0)
        self._hot, self._even = _colours("coolwarm"), _colours("viridis")
        ends = -self._range, self._range
        self.bar = (self._hot, ends, "simulated \u2212 measured [mm]") if self._has["depth"] else None
        how = (
            "its splats" if draw is not None else "the plain body" if self._has["colour"] or not self._has["depth"] else "depth of the body"
        )
        first = "what it took" if self._has["colour"] else "the measured depth" if self._has["depth"] else "the mask"
        third = "depth of the simulation less measured depth" if self._has["depth"] else "both silhouettes"
        self.caption = (
            f"Camera {camera}, cut to the body. Left: {first}. Middle: {how} where the simulation says that it is. Right: {third}; orange: "
            "only measured there, violet: only simulated."
        )

    def _look(self, i):
        depth, shown = self._eye.look(self._body.vertices[i])
        return depth.astype(np.float32), shown

    def _image(self, kind, i):
        return self._seen.image(kind, self._name, self._judgement.frames[i])

    def _off(self, i):
        """Depth of the simulation less measured depth on the body [m], NaN elsewhere; None without depth."""
        measured, mask = self._image("depth", i), self._image("mask", i)
        if measured is None:
            return None
        return np.where(True if mask is None else mask, self._looks[i][0] - measured, np.nan)

    def _cut(self):
        """Rows and columns that hold the body in all frames, with a border, in the pictures' shape: (left, top, right, bottom)."""
        camera = self._seen.cameras[self._name]
        used = np.zeros((camera.height, camera.width), bool)
        for i, (_, shown) in self._looks.items():
            mask = self._image("mask", i)
            used |= shown if mask is None else shown | mask
        if not used.any():
            used[:] = True
        rows, columns = np.flatnonzero(used.any(axis=1)), np.flatnonzero(used.any(axis=0))
        middle = 0.5 * np.array([columns[0] + columns[-1] + 1, rows[0] + rows[-1] + 1])
        size = np.array([len(range(columns[0], columns[-1] + 1)), len(range(rows[0], rows[-1] + 1))]) * 1.2 + 8
        width = max(size[0], size[1] * WIDTH / HEIGHT)
        half = 0.5 * np.array([width, width * HEIGHT / WIDTH])
        whole = np.array([camera.width, camera.height])
        middle = np.where(2 * half > whole, whole / 2, np.clip(middle, half, np.maximum(whole - half, half)))
        return (*np.floor(middle - half).astype(int), *np.ceil(middle + half).astype(int))

    def _framed(self, pixels, smooth=True):
        """A picture [h, w, 3], 0..255, cut and of the strip's size."""
        left, top, right, bottom = self._window
        image = Image.new("RGB", (right - left, bottom - top), "#f5f5f5")
        image.paste(Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)), (-left, -top))
        return image.resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR if smooth else Image.Resampling.NEAREST)

    def pictures(self, i):
        """Measured, simulated, difference."""
        return self._measured(i), self._simulated(i), self._difference(i)

    def _measured(self, i):
        if self._has["colour"]:
            colour = self._image("colour", i)
            return self._framed(255.0 * colour) if colour is not None else self._missing("no picture")
        if self._has["depth"]:
            depth, mask = self._image("depth", i), self._image("mask", i)
            return self._missing("no depth") if depth is None else self._framed(self._shaded(depth, mask), False)
        mask = self._image("mask", i)
        return self._missing("no mask") if mask is None else self._framed(np.where(mask[..., None], rgb(ONLY_MEASURED), 245.0), False)

    def _missing(self, text):
        image = Image.new("RGB", (WIDTH, HEIGHT), "#f3f4f6")
        ImageDraw.Draw(image).text((WIDTH / 2, HEIGHT / 2), text, fill=MUTED, font=typeface(14), anchor="mm")
        return image

    def _shaded(self, depth, mask):
        low, high = self._depths
        shown = np.isfinite(depth) & (True if mask is None else mask)
        level = np.clip(np.nan_to_num(255.0 * (high - depth) / (high - low)), 0, 255).astype(int)
        return np.where(shown[..., None], self._even[level], 245.0)

    def _simulated(self, i):
        depth, shown = self._looks[i]
        colour = self._image("colour", i) if self._has["colour"] else None
        if not self._has["colour"] and self._has["depth"]:
            return self._framed(self._shaded(depth, shown), False)
        behind = np.full((*shown.shape, 3), 245.0) if colour is None else 255.0 * (0.45 * colour + 0.55)
        if self._draw is not None:
            drawn, alpha, _ = self._draw(self._seen.cameras[self._name], self._positions[i])
            return self._framed(255.0 * drawn + (1.0 - alpha[..., None]) * behind)
        return self._framed(self._plain(i, behind))

    def _plain(self, i, behind):
        from physsim.appearance.meshes import Surface, render_surfaces

        surface = Surface(self._body.vertices[i], self._body.triangles, np.array(rgb(BODY)) / 255.0)
        image = render_surfaces([surface], self._seen.cameras[self._name], background=behind / 255.0, samples=2)
        return 255.0 * image.colour.numpy()

    def _difference(self, i):
        off, mask, (_, shown) = self._off(i), self._image("mask", i), self._looks[i]
        pixels = np.full((*shown.shape, 3), 245.0)
        if off is not None:
            both = np.isfinite(off)
            level = np.clip(np.nan_to_num(127.5 * (1e3 * off / self._range + 1.0)), 0, 255).astype(int)
            pixels = np.where(both[..., None], self._hot[level], pixels)
        elif mask is not None:
            pixels[shown & mask] = 200.0
        if mask is not None:
            hidden = distances.hidden(self._looks[i][0], self._image("depth", i), mask, self._judgement.depth_noise or 0.0)
            pixels[mask & ~shown] = rgb(ONLY_MEASURED)
            pixels[shown & ~mask & ~hidden] = rgb(ONLY_SIMULATED)
        return self._framed(pixels, False)


class _Own:
    """Pictures from a view of our own, for captures of points and tracks alone."""

    def __init__(self, judgement, seen, body, chosen):
        self._judgement, self._seen, self._body = judgement, seen, body
        self._sheet = body.half > 0.0 or not _closed(body.triangles)
        everything = [body.vertices[chosen].reshape(-1, 3), *(self._data(i) for i in chosen)]
        everything = np.concatenate(everything)
        camera = Camera.around(everything[np.isfinite(everything).all(axis=1)], width=WIDTH, height=HEIGHT, margin=1.1)
        self._plain = Renderer(camera)
        away = [distances.cloud_distances(body.vertices[i], self._data(i)) for i in chosen]
        self._range = _step(np.concatenate([1e3 * self._errors(i) for i in chosen] or away))
        self._coloured = Renderer(camera, scalar_range=(0.0, self._range))
        self.bar = _colours("viridis"), (0.0, self._range), "off by [mm]"
        what = "tracks" if seen.tracks is not None else "points"
        self.caption = (
            f"Left: the measured {what}. Middle: the simulated body. Right: the body, coloured by how far the nearest of the {what} is off"
            f"{' its material point' if seen.tracks is not None else ' its surface'}."
        )

    def _data(self, i):
        frame = self._judgement.frames[i]
        if self._seen.tracks is not None:
            kept = self._seen.visible[frame]
            return self._seen.tracks[frame, kept]
        return distances.evenly_chosen(self._seen.cloud(frame), 800)

    def _errors(self, i):
        """Of each of the data of a frame [m]."""
        if self._seen.tracks is None:
            return self._body.distances(self._data(i), i)
        kept = self._seen.visible[self._judgement.frames[i]]
        return np.linalg.norm(self._judgement.simulated[i, kept] - self._data(i), axis=1)

    def pictures(self, i):
        """Measured, simulated, difference."""
        from scipy.spatial import cKDTree

        vertices, triangles, data = self._body.vertices[i], self._body.triangles, self._data(i)
        options = {"two_sided": self._sheet, "creases": False}
        simulated = Solid(vertices, triangles, BODY, **options)
        dots = [Dots(data, "#e11d48", 1.8)] if len(data) else []
        measured = self._plain.frame([], dots)
        marks = [Dots(data, "#1f2937", 1.0)] if 0 < len(data) <= FEW else []  # more would hide the colours
        errors = self._errors(i)
        known = np.isfinite(errors)
        scalar = np.zeros(len(vertices))
        if known.any():
            scalar = 1e3 * errors[known][cKDTree(data[known]).query(vertices)[1]]
        difference = self._coloured.frame([Solid(vertices, triangles, scalar=scalar, **options)], marks)
        return measured, self._plain.frame([simulated]), difference


def _closed(triangles):
    """Whether every edge belongs to two triangles."""
    pairs = np.sort(triangles[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    return bool((np.unique(pairs, axis=0, return_counts=True)[1] == 2).all())
