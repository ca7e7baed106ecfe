"""LPIPS, a distance of images in the features of AlexNet, with weights from files that the user names.

    sum over five layers of mean over pixels of sum over channels w_c (a_c - b_c)^2

with a and b the layer's features, each pixel's scaled to unit length, and w the weights learnt from people's judgements. Source: Zhang,
Isola, Efros, Shechtman, Wang, "The unreasonable effectiveness of deep features as a perceptual metric", CVPR 2018, eq. 1.

physsim brings no weights and fetches none. Two files hold what is needed: torchvision's AlexNet (`features.0.weight`, ...) and the
`lpips` package's `weights/v0.1/alex.pth` (`lin0.model.1.weight`, ...), or one file with both, such as that package's whole state
dictionary.
"""

from collections.abc import Sequence
from os import PathLike

import numpy as np
import torch
from torch.nn import functional

from physsim.errors import InputError
from physsim.io.weights import read_weights

# Number in torchvision's sequence, output and input channels, side of the kernel, stride, padding; a pooling comes before those marked.
LAYERS = ((0, 64, 3, 11, 4, 2, False), (3, 192, 64, 5, 1, 2, True), (6, 384, 192, 3, 1, 1, True), (8, 256, 384, 3, 1, 1, False),
          (10, 256, 256, 3, 1, 1, False))  # fmt: skip
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # of values from -1 to 1
LEAST = 31  # [pixel]: the last layers keep one
_TINY = 1e-10  # of a feature vector's length


class Lpips:
    """The distance, for images with values from 0 to 1; differentiable.

    Args:
        weights: arrays by name, as `read_weights` gives them.

    Raises:
        InputError: an array is missing or has another shape.
    """

    def __init__(self, weights: dict[str, np.ndarray]) -> None:
        self._kernels, self._biases, self._heads = [], [], []
        for k, (number, outputs, inputs, side, *_) in enumerate(LAYERS):
            names = [f"features.{number}", f"net.slice{k + 1}.{number}"]
            self._kernels.append(_find(weights, [f"{n}.weight" for n in names], (outputs, inputs, side, side)))
            self._biases.append(_find(weights, [f"{n}.bias" for n in names], (outputs,)))
            self._heads.append(_find(weights, [f"lin{k}.model.1.weight", f"lins.{k}.model.1.weight"], (1, outputs, 1, 1)))

    @classmethod
    def load(cls, paths: str | PathLike[str] | Sequence[str | PathLike[str]]) -> "Lpips":
        """The distance with weights from a file, or from several together.

        Args:
            paths: .npz, .safetensors, .pt or .pth.

        Raises:
            InputError: no file is named, one cannot be read, or an array is missing.
        """
        paths = [paths] if isinstance(paths, str | PathLike) else list(paths or ())
        if not paths:
            raise InputError(
                "LPIPS: no weights file is named; name torchvision's AlexNet and the lpips package's alex.pth, or one file with both"
            )
        weights = {}
        for path in paths:
            weights.update(read_weights(path))
        return cls(weights)

    def __call__(self, image: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
        """The distance, 0 for equal images; over a stack its mean.

        Args:
            image, reference: from 0 to 1, shape [h, w, 3] or [n, h, w, 3], at least 31 x 31 pixels.

        Raises:
            InputError: images of different sizes, too small, or not of three channels.
        """
        image, reference = torch.as_tensor(image), torch.as_tensor(reference)
        if image.shape != reference.shape or image.ndim not in (3, 4) or image.shape[-1] != 3 or min(image.shape[-3:-1]) < LEAST:
            shapes = f"{list(image.shape)} and {list(reference.shape)}"
            raise InputError(
                f"images of shapes {shapes} were given; both must be [h, w, 3] or [n, h, w, 3], at least {LEAST} x {LEAST} pixels"
            )
        both = torch.cat([x.reshape(-1, *x.shape[-3:]).permute(0, 3, 1, 2) for x in (image, reference)]).to(torch.float32)
        shift, scale = (both.new_tensor(x).reshape(1, 3, 1, 1) for x in (SHIFT, SCALE))
        features, total = (2.0 * both - 1.0 - shift) / scale, 0.0
        for (_, _, _, _, stride, padding, pooled), kernel, bias, head in zip(LAYERS, self._kernels, self._biases, self._heads):
            kernel, bias, head = (x.to(both.device) for x in (kernel, bias, head))
            if pooled:
                features = functional.max_pool2d(features, 3, 2)
            features = functional.relu(functional.conv2d(features, kernel, bias, stride, padding))
            # the root of a sum that may be zero has no slope: the floor stands under it
            a, b = (features / (torch.sqrt((features**2).sum(dim=1, keepdim=True) + _TINY**2) + _TINY)).chunk(2)
            total = total + functional.conv2d((a - b) ** 2, head).mean(dim=(1, 2, 3))
        return total.mean()


def _find(weights, names, shape):
    for name in names:
        if name in weights:
            array = np.asarray(weights[name])
            if array.shape != shape:
                raise InputError(f"LPIPS: {name} has shape {list(array.shape)}; {list(shape)} is AlexNet's")
            if not np.isfinite(array).all():
                raise InputError(f"LPIPS: {name} holds NaN or infinite values; the file may be damaged")
            return torch.tensor(array, dtype=torch.float32)
    raise InputError(
        f"LPIPS: the weights have no {' or '.join(names)}; name torchvision's AlexNet and the lpips package's alex.pth together"
    )
