"""Pictures drawn in simulated positions, beside those that cameras took."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from physsim.appearance.asset import Asset
from physsim.errors import InputError
from physsim.twin import distances
from physsim.twin.seen import Seen

LEAST_PIXELS = 32  # of a body that is judged by its look


def painter(asset: Asset) -> Callable:
    """What draws an asset's splats: (Camera, positions [n, 3] m) -> (colour over black [h, w, 3], alpha [h, w], depth [h, w] m), arrays.

    Args:
        asset: with splats; of positions those of its mesh's points, which come first, are used.

    Raises:
        InputError: it has no splats.
    """
    import torch

    from physsim.appearance.color import ColorNetwork
    from physsim.appearance.fitting import draw_splats

    if asset.splats is None:
        raise InputError(f"asset {asset.name!r}: it has no splats, so that nothing can be drawn; fit its appearance first")
    binding, count = asset.bind(), len(asset.mesh.points)
    network = None if asset.network is None else ColorNetwork.from_arrays(asset.network).to(asset.splats.means)

    def draw(camera, positions):
        with torch.no_grad():
            at = torch.as_tensor(np.asarray(positions)[:count]).to(asset.splats.means)
            eye = torch.as_tensor(camera.position).to(asset.splats.means)
            raster, _ = draw_splats(asset.splats, binding, network, camera, eye, at)
        return raster.features.clamp(0.0, 1.0).cpu().numpy(), raster.alpha.cpu().numpy(), raster.depth.cpu().numpy()

    return draw


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """One thread for PyTorch: small pictures gain nothing by several, which wait for each other on a busy machine."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def held_painter(seen: Seen, camera: str, frame: int) -> Callable | None:
    """What "draws" the picture that a camera took in one frame, wherever the body is; None without picture or mask."""
    picture, mask = seen.image("colour", camera, frame), seen.image("mask", camera, frame)
    if picture is None or mask is None:
        return None
    depth = seen.image("depth", camera, frame)
    depth = np.full(mask.shape, np.nan) if depth is None else depth
    return lambda *_: (picture * mask[..., None], mask.astype(np.float32), depth)


def picture_errors(seen: Seen, camera: str, frame: int, positions: np.ndarray, draw: Callable | None) -> dict[str, float] | None:
    """PSNR [dB] and SSIM of what is drawn against what a camera took, both over black off the body.

    PSNR is taken over the pixels that the body covers in either picture; the black that both share elsewhere would flatter it. SSIM is
    taken over the smallest upright rectangle around these. Without a mask the drawn body is laid over the picture, which is fair only where
    it covers it. Pixels at which something stands in front count in neither.

    Args:
        seen: Seen.
        camera: its name.
        frame: of the capture.
        positions: of the particles [m], shape [n, 3].
        draw: as `painter` gives it; None: there is nothing to judge.

    Returns:
        {"psnr", "ssim"}, or None where there is no picture or the body is not in it.
    """
    import torch

    from physsim.appearance.metrics import WINDOW, ssim

    reference, mask = seen.image("colour", camera, frame), seen.image("mask", camera, frame)
    if reference is None or draw is None:
        return None
    colour, alpha, depth = draw(seen.cameras[camera], positions)
    body = alpha > 0.5 if mask is None else (alpha > 0.5) | mask
    if body.sum() < LEAST_PIXELS:
        return None
    if mask is None:
        shown = colour + (1.0 - alpha[..., None]) * reference
    else:
        model = np.where(alpha > 0.5, depth, np.nan)
        hidden = distances.hidden(model, seen.image("depth", camera, frame), mask, seen.noise("depth") or 0.0)
        body, reference, shown = body & ~hidden, reference * mask[..., None], colour * ~hidden[..., None]
    rows, columns = np.flatnonzero(body.any(axis=1)), np.flatnonzero(body.any(axis=0))
    if not len(rows):
        return None
    box = tuple(_span(k, side, WINDOW) for k, side in ((rows, body.shape[0]), (columns, body.shape[1])))
    square = float(np.mean((shown[body] - reference[body]) ** 2))
    a, b = (torch.as_tensor(np.ascontiguousarray(x[box], dtype=np.float32)) for x in (shown, reference))
    return {"psnr": -10.0 * float(np.log10(square)) if square > 0.0 else float("inf"), "ssim": float(ssim(a, b))}


def _span(used, side, least):
    """A slice over the used rows, at least `least` long where the picture allows it."""
    first, last = int(used[0]), int(used[-1]) + 1
    grow = max(0, least - (last - first))
    first = max(0, first - grow)
    return slice(first, min(side, max(last, first + least)))
