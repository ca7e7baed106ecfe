"""How alike two images, or two masks, are: PSNR, SSIM, MS-SSIM, IoU. All differentiable but IoU.

Images are [height, width, channels] or a stack [count, height, width, channels], with values from 0 to `data_range`.
"""

import math

import torch

from physsim.errors import InputError
from physsim.physics import validation

WINDOW, SIGMA = 11, 1.5  # of the Gaussian window: Wang et al. 2004
K1, K2 = 0.01, 0.03
SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # exponents of MS-SSIM's five scales: Wang et al. 2003
MS_LEAST = (WINDOW - 1) * 2 ** (len(SCALES) - 1) + 1  # pixels a side that five scales need
_LEAST = 1e-6  # floor of a scale's term: fractional powers have no slope at 0, and none at all below


def psnr(image: torch.Tensor, reference: torch.Tensor, mask: torch.Tensor | None = None, data_range: float = 1.0) -> torch.Tensor:
    """Peak signal to noise ratio [dB], 10 log10(data_range^2 / mean squared difference).

    Args:
        image, reference: shape [h, w, c] or [n, h, w, c]; over a stack the mean of the images' PSNR is taken.
        mask: which pixels count, shape [h, w] or [n, h, w]; None: all.
        data_range: the largest value.

    Returns:
        A scalar; inf where the images are the same, and without a slope there: a figure to report rather than a loss.

    Raises:
        InputError: images of different sizes, a mask of another size or without a pixel, a range that is not positive.
    """
    image, reference = _stacks(image, reference, data_range)
    squares = ((image - reference) ** 2).mean(dim=3)
    if mask is None:
        error = squares.mean(dim=(1, 2))
    else:
        chosen = _mask(mask, squares).to(squares)
        error = (squares * chosen).sum(dim=(1, 2)) / chosen.sum(dim=(1, 2))
    return (20.0 * math.log10(data_range) - 10.0 * torch.log10(error)).mean()


def ssim(image: torch.Tensor, reference: torch.Tensor, data_range: float = 1.0) -> torch.Tensor:
    """Structural similarity, 1 for equal images: the mean over all windows that lie inside the image, and over channels.

        (2 m_a m_b + c1) (2 s_ab + c2) / ((m_a^2 + m_b^2 + c1) (s_a^2 + s_b^2 + c2)),   c1 = (0.01 range)^2, c2 = (0.03 range)^2

    with means, variances and covariance weighted by a Gaussian of 11 x 11 pixels, sigma 1.5. Source: Wang, Bovik, Sheikh, Simoncelli,
    "Image quality assessment: from error visibility to structural similarity", IEEE Trans. Image Processing 13 (2004), eq. 13.

    Args:
        image, reference: shape [h, w, c] or [n, h, w, c], at least 11 x 11 pixels.
        data_range: the largest value.

    Returns:
        A scalar.

    Raises:
        InputError: images of different sizes or smaller than the window, a range that is not positive.
    """
    image, reference = _planes(*_stacks(image, reference, data_range))
    luminance, structure = _similarity(image, reference, data_range)
    return (luminance * structure).mean()


def dssim(image: torch.Tensor, reference: torch.Tensor, data_range: float = 1.0) -> torch.Tensor:
    """Structural dissimilarity (1 - SSIM) / 2, a loss from 0 to 1; arguments and errors as for `ssim`."""
    return 0.5 * (1.0 - ssim(image, reference, data_range))


def ms_ssim(image: torch.Tensor, reference: torch.Tensor, data_range: float = 1.0) -> torch.Tensor:
    """Structural similarity over five scales, each half as fine as the one before: contrast and structure of all, luminance of the last.

    Terms below 1e-6 count as 1e-6. Source: Wang, Simoncelli, Bovik, "Multiscale structural similarity for image quality assessment",
    Asilomar 2003, eq. 7 and the exponents of its section 3.2.

    Args:
        image, reference: shape [h, w, c] or [n, h, w, c], at least 161 x 161 pixels.
        data_range: the largest value.

    Returns:
        A scalar, the mean over images and channels.

    Raises:
        InputError: images of different sizes or too small for five scales, a range that is not positive.
    """
    image, reference = _stacks(image, reference, data_range)
    channels = image.shape[3]
    image, reference = _planes(image, reference, MS_LEAST)
    product = image.new_ones(len(image))
    for scale, weight in enumerate(SCALES):
        luminance, structure = _similarity(image, reference, data_range)
        term = structure if scale < len(SCALES) - 1 else luminance * structure
        product = product * term.mean(dim=(1, 2)).clamp(min=_LEAST) ** weight
        if scale < len(SCALES) - 1:
            image, reference = (_halved(x) for x in (image, reference))
    return product.reshape(-1, channels).mean()


def iou(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Intersection over union of two masks, from 0 to 1; 1 where both are empty.

    Args:
        first, second: booleans, or numbers that count above 0.5, of one shape.

    Returns:
        A scalar, without gradient.

    Raises:
        InputError: masks of different sizes.
    """
    first, second = torch.as_tensor(first), torch.as_tensor(second)
    if first.shape != second.shape:
        raise InputError(f"masks of shapes {list(first.shape)} and {list(second.shape)} were given; they must have one size")
    first, second = first > 0.5, second > 0.5
    union = (first | second).sum()
    return torch.where(union > 0, (first & second).sum() / union.clamp(min=1), 1.0)


def _similarity(a, b, data_range):
    """Maps of luminance, and of contrast with structure, shape [planes, h - 10, w - 10]."""
    c1, c2 = (K1 * data_range) ** 2, (K2 * data_range) ** 2
    mean_a, mean_b, square, product = _blur(torch.cat([a, b, a * a + b * b, a * b])).chunk(4)
    above, below = 2.0 * mean_a * mean_b, mean_a * mean_a + mean_b * mean_b
    return (above + c1) / (below + c1), (2.0 * product - above + c2) / (square - below + c2)


def _blur(planes):
    """Gaussian window means of [planes, h, w]: along the columns, then along the rows, each plane a group (20 times as fast as a batch)."""
    steps = torch.arange(WINDOW, device=planes.device, dtype=planes.dtype) - WINDOW // 2
    window = torch.exp(-0.5 * (steps / SIGMA) ** 2)
    window = (window / window.sum()).reshape(1, 1, -1, 1).expand(len(planes), 1, -1, 1)
    columns = torch.nn.functional.conv2d(planes[None], window, groups=len(planes))
    return torch.nn.functional.conv2d(columns, window.transpose(2, 3), groups=len(planes))[0]


def _halved(planes):
    return torch.nn.functional.avg_pool2d(planes[None], 2, ceil_mode=True, count_include_pad=False)[0]


def _stacks(image, reference, data_range):
    """Both as [n, h, w, c], checked, as the range is."""
    validation.array("data_range", data_range, (), lower=0.0, lower_open=True)
    image = torch.as_tensor(image)
    reference = torch.as_tensor(reference, dtype=image.dtype if image.is_floating_point() else None, device=image.device)
    if image.shape != reference.shape or image.ndim not in (3, 4) or 0 in image.shape:
        shapes = f"{list(image.shape)} and {list(reference.shape)}"
        raise InputError(f"images of shapes {shapes} were given; both must be [h, w, c] or [n, h, w, c] of one size")
    if not image.is_floating_point():
        raise InputError(f"images of {image.dtype} were given; divide by 255 to get numbers from 0 to 1")
    return (image[None], reference[None]) if image.ndim == 3 else (image, reference)


def _planes(image, reference, least=WINDOW):
    """Both as planes [n c, h, w], large enough for the window."""
    if min(image.shape[1:3]) < least:
        raise InputError(f"images of {image.shape[2]} x {image.shape[1]} pixels were given; at least {least} x {least} are needed")
    return [x.permute(0, 3, 1, 2).flatten(0, 1) for x in (image, reference)]


def _mask(mask, squares):
    mask = torch.as_tensor(mask, device=squares.device)
    mask = mask if mask.ndim == 3 else mask[None]
    if mask.shape[1:] != squares.shape[1:] or mask.shape[0] not in (1, len(squares)):
        raise InputError(f"mask: shape {list(mask.shape)} was given, {list(squares.shape)} is needed")
    mask = (mask > 0.5).expand_as(squares)
    if not mask.flatten(1).any(dim=1).all():
        raise InputError("mask: it has no pixel; give one that leaves something to compare")
    return mask
