"""How well fitted splats show pictures that they were not fitted to."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from physsim.appearance.exposure import matched_exposure
from physsim.appearance.fit import Fit
from physsim.appearance.frames import Frame
from physsim.appearance.lpips import LEAST, Lpips
from physsim.appearance.metrics import MS_LEAST, iou, ms_ssim, psnr, ssim
from physsim.appearance.picture_loss import Target


@dataclass(frozen=True, eq=False)
class Comparison:
    """A picture beside what splats show of it.

    Attributes:
        name: of the frame.
        reference, shown: over the same background, shape [h, w, 3].
        numbers: `psnr` [dB], `ssim`, `ms_ssim` (of pictures of at least 161 x 161 pixels), `lpips` (where asked for), `iou` of coverage and
            mask (where there is one).
    """

    name: str
    reference: torch.Tensor
    shown: torch.Tensor
    numbers: dict[str, float]


def compare_frames(fit: Fit, frames: Sequence[Frame], lpips: Lpips | None = None) -> list[Comparison]:
    """Each frame beside what the fitted splats show.

    Where a frame has a mask, both stand on `options.background`. Where exposures were fitted, what is shown is given the gain and offset
    that suit the frame best: nobody knows those of frames that were not fitted.

    Args:
        fit: what `fit_appearance` found.
        frames: with camera, and positions where the body is deformed.
        lpips: a distance with weights, or None.

    Returns:
        A Comparison each: both pictures, shape [h, w, 3], and numbers (PSNR in dB) by name.

    Raises:
        InputError: positions of another number of particles than the body has.
    """
    out = []
    background = fit.splats.means.new_tensor(fit.options.background)
    for frame in frames:
        target = Target.of(frame, fit.splats.means.device)
        colour, alpha = fit.draw(frame.camera, frame.positions)
        shown, reference = target.pair(colour - (1.0 - alpha[..., None]) * background, alpha, background)
        if fit.options.exposure:
            shown = matched_exposure(shown, reference, alpha > 0.5)
        shown = shown.clamp(0.0, 1.0)
        numbers = {"psnr": psnr(shown, reference), "ssim": ssim(shown, reference)}
        side = min(frame.camera.width, frame.camera.height)
        if side >= MS_LEAST:
            numbers["ms_ssim"] = ms_ssim(shown, reference)
        if lpips is not None and side >= LEAST:
            numbers["lpips"] = lpips(shown, reference)
        if target.mask is not None:
            numbers["iou"] = iou(alpha, target.mask)
        out.append(Comparison(frame.name, reference, shown, {name: float(value) for name, value in numbers.items()}))
    return out


def mean_numbers(comparisons: Sequence[Comparison]) -> dict[str, float]:
    """Each number's mean over the pictures that have it."""
    names = dict.fromkeys(name for c in comparisons for name in c.numbers)
    return {name: sum(values) / len(values) for name in names if (values := [c.numbers[name] for c in comparisons if name in c.numbers])}
