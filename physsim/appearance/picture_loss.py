"""How far what splats show is from a picture: absolute difference, structure, and coverage against the mask."""

from dataclasses import dataclass

import torch

from physsim.appearance.frames import Frame
from physsim.appearance.metrics import dssim

PARTLY = 0.02  # a mask's values this far from 0 and 1 count as covered in part
LEAST_SIDE = 11  # of pictures, for the window of SSIM [pixel]


@dataclass(frozen=True, eq=False)
class Target:
    """A frame on the device where it is compared.

    Attributes:
        frame: as given.
        image: shape [h, w, 3].
        mask: shape [h, w], or None.
        inside: share of the pixel whose colour is that of the body, shape [h, w, 1], or None.
        partly: pixels whose colour mixes body and background, which nobody knows apart, shape [h, w, 1], or None.
        eye: the camera's position [m], shape [3].
        positions: of the body's particles [m], or None.
    """

    frame: Frame
    image: torch.Tensor
    mask: torch.Tensor | None
    inside: torch.Tensor | None
    partly: torch.Tensor | None
    eye: torch.Tensor
    positions: torch.Tensor | None

    @classmethod
    def of(cls, frame: Frame, device: torch.device) -> "Target":
        """A frame, moved."""
        mask = None if frame.mask is None else frame.mask.to(device)
        inside = partly = None
        if mask is not None:
            inside = (mask if frame.matte else (mask > 0.5).float())[..., None]
            mixed = ((mask > PARTLY) & (mask < 1.0 - PARTLY))[..., None]
            partly = mixed if not frame.matte and mixed.any() else None
        eye = torch.as_tensor(frame.camera.position, dtype=torch.float32, device=device)
        positions = None if frame.positions is None else frame.positions.to(device)
        return cls(frame, frame.image.to(device), mask, inside, partly, eye, positions)

    def pair(self, colour: torch.Tensor, alpha: torch.Tensor, background: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Picture and reference that are to be alike, each over the same background.

        With a mask the frame's own background is replaced by the given one in both, and pixels that the mask covers in part say nothing.

        Args:
            colour: premultiplied, shape [h, w, 3].
            alpha: shape [h, w].
            background: shape [3].
        """
        shown = colour + (1.0 - alpha[..., None]) * background
        if self.mask is None:
            return shown, self.image
        reference = torch.lerp(background.expand_as(self.image), self.image, self.inside)
        return (shown if self.partly is None else torch.where(self.partly, reference, shown)), reference


def picture_loss(
    target: Target,
    colour: torch.Tensor,
    alpha: torch.Tensor,
    background: torch.Tensor,
    dssim_weight: float,
    mask_weight: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The loss (1 - w) mean |a - b| + w (1 - SSIM) + m mean |alpha - mask|, and the mean squared difference, which has no gradient.

    Args:
        target: what should be seen.
        colour, alpha, background: what is seen, as for `Target.pair`.
        dssim_weight: w, in [0, 1].
        mask_weight: m.
    """
    shown, reference = target.pair(colour, alpha, background)
    loss = (1.0 - dssim_weight) * (shown - reference).abs().mean()
    if dssim_weight > 0.0:
        loss = loss + 2.0 * dssim_weight * dssim(shown, reference)
    if target.mask is not None and mask_weight > 0.0:
        loss = loss + mask_weight * (alpha - target.mask).abs().mean()
    return loss, ((shown.detach() - reference) ** 2).mean()
