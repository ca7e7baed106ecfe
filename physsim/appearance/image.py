"""What a camera sees: colour, coverage, depth, labels and normals of every pixel."""

from dataclasses import dataclass, fields, replace

import numpy as np
import torch

from physsim.appearance.camera import Camera
from physsim.errors import InputError
from physsim.physics import validation


@dataclass(frozen=True, eq=False)
class Image:
    """A picture.

    Args:
        colour: red, green, blue from 0 to 1, with the background, shape [h, w, 3].
        alpha: which share of the pixel is covered, shape [h, w].
        depth: along the camera's axis [m], 0 where nothing is, shape [h, w].
        labels: of the body that is seen, -1 where none is, shape [h, w].
        normals: unit vectors in the world of surfaces that are seen, zero elsewhere, shape [h, w, 3]; None where none were asked for.
    """

    colour: torch.Tensor
    alpha: torch.Tensor
    depth: torch.Tensor
    labels: torch.Tensor
    normals: torch.Tensor | None = None

    @property
    def height(self) -> int:
        """Rows."""
        return self.colour.shape[0]

    @property
    def width(self) -> int:
        """Columns."""
        return self.colour.shape[1]

    def detach(self) -> "Image":
        """The same numbers without gradients."""
        return replace(self, **{f.name: x.detach() for f in fields(self) if (x := getattr(self, f.name)) is not None})

    def bytes(self) -> np.ndarray:
        """Colour as whole numbers from 0 to 255, as picture files and videos hold it, shape [h, w, 3]."""
        return (255.0 * self.colour.detach().clamp(0.0, 1.0)).round().to(torch.uint8).cpu().numpy()


def background_image(background: object, camera: Camera, device: torch.device, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """A colour, or a picture of the camera's size, as a picture [h, w, 3]; gradients pass.

    Args:
        background: shape [3] or [h, w, 3].
        camera: whose size the picture has.
        device, dtype: of the result.

    Raises:
        InputError: another shape, NaN.
    """
    if not isinstance(background, torch.Tensor):
        background = validation.array("background", background, validation.given_array("background", background).shape)
    given = torch.as_tensor(background, dtype=dtype, device=device)
    size = (camera.height, camera.width, 3)
    if tuple(given.shape) not in ((3,), size):
        raise InputError(
            f"background: shape {list(given.shape)} was given; a colour [3] or a picture {list(size)} of the camera's size is needed"
        )
    if not torch.isfinite(given).all():
        raise InputError("background: a value is NaN or infinite; only finite colours can be drawn")
    return given.expand(size)
