"""The look of a twin: splats on its body, fitted to a capture's colour frames where the body is simulated.

The frames are those that were fitted; those held out are left to the judgement. Where a frame has no mask, what the simulated body covers
stands for it, without what is measured to stand before it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from os import PathLike

import numpy as np

from physsim.appearance.asset import Asset
from physsim.appearance.skin import Skin
from physsim.capture.capture import Capture
from physsim.errors import InputError
from physsim.physics.rods import Curve
from physsim.twin.shrunk import averaged, shrunk_camera, spread_frames

SIDE = 320  # longer side of the pictures that are fitted [pixel]
MOST_FRAMES = 24  # of all cameras together
LEAST_PIXELS = 64  # of the body in a picture that counts
SPLATS = 1500  # to begin with; as many again may grow
ITERATIONS = 600
MARGIN, LEAST_MARGIN = 0.15, 8.0  # around the body in a picture, as a share of its extent, and in pixels
LEAST_SIDE = 16  # of a picture [pixel]
ASIDE, WIDE = 0.04, 0.1  # of the body's extent: how far a splat may float beside it, and how wide it may be
HELD = 8  # one picture in so many decides which round is kept; the judgement has frames of its own
BEFORE = 0.01  # what is measured nearer than the body by more than this hides it [m]
COLOURED = 6  # pictures that the first colours come from
STANDS_BESIDE = 0.003  # depth by which a point of the body may lie behind what is drawn and still be what is seen, as a share of its depth


@dataclass(frozen=True, eq=False)
class Look:
    """What a body looks like.

    Args:
        splats, network: as an Asset has them.
        fit: what `fit_appearance` found.
        frames: its pictures.
    """

    splats: object
    network: dict | None
    fit: object
    frames: list


def look_frames(
    capture: Capture,
    mesh: object,
    positions: dict[int, np.ndarray],
    *,
    radius: float | None = None,
    side: int = SIDE,
    most: int = MOST_FRAMES,
) -> list:
    """Pictures of a capture as `fit_appearance` takes them: made smaller, with mask and simulated positions.

    Args:
        capture: with colour.
        mesh: of the body.
        positions: frame -> of its points [m], shape [n, 3]: the frames to choose from.
        radius: of a rod [m].
        side: longer side of the pictures [pixel].
        most: of the pictures, of all cameras together.

    Raises:
        InputError: no colour, no picture in which the body is seen.
    """
    from physsim.appearance.frames import Frame

    if not capture.colour:
        raise InputError(f"capture {capture.name!r}: it has no colour frames, so that no look can be fitted to it")
    skin, out = Skin(mesh, radius), []
    share = max(1, most // len(capture.colour))
    for name, stream in capture.colour.items():
        camera = shrunk_camera(capture.cameras[name], side)
        for frame in spread_frames(sorted(positions), share):
            colour = stream[frame]
            if colour is None:
                continue
            x = positions[int(frame)]
            cover = _cover(capture, name, int(frame), camera, skin.points(x), skin.triangles)
            if (cover > 0.5).sum() < LEAST_PIXELS:
                continue
            colour, cover = np.clip(averaged(colour, camera), 0.0, 1.0), np.clip(cover, 0.0, 1.0)
            rows, columns, near = _window(camera, cover, skin.points(x))
            told = f"{name} {int(frame):06d}"
            out.append(Frame(colour[rows, columns], near, cover[rows, columns], x[: len(mesh.points)], name=told))
    if not out:
        raise InputError(f"capture {capture.name!r}: no picture shows the body where it is simulated; are masks, cameras and times right?")
    return out


def _window(camera, cover, points):
    """(rows, columns, camera) of the part of a picture that holds the body as it is seen and as it is simulated, with a margin."""
    pixels, z = camera.project(points)
    inside = np.isfinite(pixels).all(axis=1) & (z > 0)
    row, column = np.nonzero(cover > 0.0)
    spans = []
    for seen, drawn, side in ((row, pixels[inside, 1], camera.height), (column, pixels[inside, 0], camera.width)):
        both = np.concatenate([seen, drawn.clip(0, side - 1)])
        margin = max(LEAST_MARGIN, MARGIN * np.ptp(both))
        first, last = max(0, int(both.min() - margin)), min(side, int(both.max() + margin) + 2)
        first = max(0, min(first, last - LEAST_SIDE))
        spans.append(slice(first, min(side, max(last, first + LEAST_SIDE))))
    rows, columns = spans
    centre = camera.centre[0] - columns.start, camera.centre[1] - rows.start
    size = {"width": columns.stop - columns.start, "height": rows.stop - rows.start}
    return rows, columns, replace(camera, centre=centre, **size)


def _cover(capture, name, frame, camera, points, triangles):
    """Share of each of a camera's pixels that the body covers, shape [h, w]."""
    stream = capture.mask.get(name)
    mask = None if stream is None else stream[frame]
    if mask is not None:
        return averaged(mask, camera)
    depth, alpha = _depth(camera, points, triangles)
    measured = capture.depth[name][frame] if name in capture.depth else None
    if measured is not None:
        # the nearest measurement of a block of pixels: what stands before the body covers it
        seen = averaged(np.where(np.isfinite(measured), measured, 0.0), camera)
        known = averaged(np.isfinite(measured), camera)
        seen = np.where(known > 0.5, seen / np.maximum(known, 1e-6), np.inf)
        alpha = alpha * ~(seen < depth - BEFORE)
    return alpha


def _depth(camera, points, triangles):
    from physsim.appearance.meshes import Surface, render_surfaces

    image = render_surfaces([Surface(points, triangles)], camera)
    alpha = image.alpha.numpy()
    return np.where(alpha > 0.5, image.depth.numpy(), np.inf), alpha


def first_colours(mesh: object, frames: list, radius: float | None = None) -> np.ndarray:
    """Colours of a body's points as its pictures show them, shape [n, 3]; the mean of all of them where none does; of a rod one colour [3].

    Args:
        mesh: of the body.
        frames: Frames with masks and positions.
        radius: of a rod [m].
    """
    skin, count = Skin(mesh, radius), len(mesh.points)
    total, seen = np.zeros((count, 3)), np.zeros(count)
    inside = [f.image.numpy()[f.mask.numpy() > 0.5].mean(axis=0) for f in frames]
    mean = np.mean(inside, axis=0)
    if isinstance(mesh, Curve):
        return mean
    for frame in [frames[i] for i in spread_frames(range(len(frames)), COLOURED)]:
        camera, x = frame.camera, frame.positions.numpy().astype(np.float64)
        depth, _ = _depth(camera, skin.points(x), skin.triangles)
        pixels, z = camera.project(x)
        column, row = np.round(np.nan_to_num(pixels, nan=-1.0, posinf=-1.0, neginf=-1.0)).astype(int).clip(-1, 1 << 20).T
        within = (column >= 0) & (column < camera.width) & (row >= 0) & (row < camera.height) & (z > 0)
        at = np.where(within, row, 0), np.where(within, column, 0)
        shown = within & (z < depth[at] * (1.0 + STANDS_BESIDE)) & (frame.mask.numpy()[at] > 0.5)
        total[shown] += frame.image.numpy()[at][shown]
        seen[shown] += 1.0
    return np.where(seen[:, None] > 0.0, total / np.maximum(seen, 1.0)[:, None], mean)


def fit_look(
    capture: Capture,
    mesh: object,
    positions: dict[int, np.ndarray],
    *,
    radius: float | None = None,
    splats: int = SPLATS,
    iterations: int = ITERATIONS,
    seed: int = 0,
    checkpoint: str | PathLike[str] | None = None,
    progress: Callable | None = None,
) -> Look:
    """Fit splats on a body to a capture's pictures.

    Args:
        capture, mesh, positions, radius: as for `look_frames`.
        splats: to begin with.
        iterations: of the fit.
        seed: of all that is drawn.
        checkpoint, progress: as for `fit_appearance`.

    Raises:
        InputError: as `look_frames`; a checkpoint of another fit.
    """
    from physsim.appearance.fit import fit_appearance
    from physsim.appearance.fit_options import FitOptions
    from physsim.appearance.sources import splats_from_mesh

    frames = look_frames(capture, mesh, positions, radius=radius)
    start = splats_from_mesh(mesh, splats, colours=first_colours(mesh, frames, radius), radius=radius, seed=seed)
    several = len({frame.name.rpartition(" ")[0] for frame in frames}) > 2
    held = HELD if len(frames) >= HELD else 0
    # views from one side cannot tell how colours change with the view, nor how with strain from how with light
    options = FitOptions(iterations=iterations, most_splats=2 * splats, degree=1 if several else 0, held_out=held, network=False, seed=seed)
    fit = fit_appearance(start, frames, mesh, None, options, checkpoint, progress)
    return Look(_near_body(fit.splats, mesh, radius), None if fit.network is None else fit.network.arrays(), fit, frames)


def _near_body(splats, mesh, radius=None):
    """The splats without those that float beside the body or are spread wide over it: pictures from one side leave both unseen."""
    import torch

    from physsim.appearance.carriers import carriage

    extent = float(np.ptp(mesh.points, axis=0).max())
    away = carriage(mesh, splats.means.double().numpy()).away - (radius or 0.0)  # of a rod from its centreline
    kept = (away < ASIDE * extent) & (splats.scales.amax(dim=1).numpy() < WIDE * extent)
    return splats.select(torch.as_tensor(np.flatnonzero(kept))) if kept.any() else splats


def with_look(asset: Asset, look: Look | None) -> Asset:
    """The asset with that look."""
    return asset if look is None else replace(asset, splats=look.splats, network=look.network)
