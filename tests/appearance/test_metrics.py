"""Metrics of images agree with their papers, and with other libraries where those are installed."""

import math

import numpy as np
import pytest
import torch

from physsim.appearance.metrics import dssim, iou, ms_ssim, psnr, ssim
from physsim.errors import InputError


def pair(height=48, width=61, seed=0, noise=0.1):
    """A smooth image and the same with noise, float64."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] / 20.0
    image = np.stack([0.5 + 0.4 * np.sin(x + k) * np.cos(1.3 * y - k) for k in range(3)], axis=-1)
    return torch.tensor(image), torch.tensor(np.clip(image + noise * random.normal(size=image.shape), 0.0, 1.0))


def window_by_window(a, b):
    """SSIM as its paper writes it: one window after another."""
    t = np.arange(11) - 5
    weight = np.exp(-(t[:, None] ** 2 + t**2) / (2 * 1.5**2))
    weight /= weight.sum()
    values = []
    for c in range(a.shape[2]):
        for i in range(a.shape[0] - 10):
            for j in range(a.shape[1] - 10):
                p, q = a[i : i + 11, j : j + 11, c], b[i : i + 11, j : j + 11, c]
                mp, mq = (weight * p).sum(), (weight * q).sum()
                vp, vq, cov = (weight * (p - mp) ** 2).sum(), (weight * (q - mq) ** 2).sum(), (weight * (p - mp) * (q - mq)).sum()
                values.append((2 * mp * mq + 1e-4) * (2 * cov + 9e-4) / ((mp**2 + mq**2 + 1e-4) * (vp + vq + 9e-4)))
    return np.mean(values)


def test_psnr_of_a_constant_difference_is_its_decibels():
    image = torch.full((7, 9, 3), 0.5)
    assert float(psnr(image, image + 0.01)) == pytest.approx(40.0, abs=1e-3)
    assert float(psnr(255 * image, 255 * image + 2.55, data_range=255.0)) == pytest.approx(40.0, abs=1e-3)
    assert math.isinf(float(psnr(image, image)))


def test_psnr_of_a_stack_is_the_mean_of_its_images():
    images, others = (torch.stack(images) for images in zip(pair(seed=1), pair(seed=2, noise=0.02)))
    single = [float(psnr(a, b)) for a, b in zip(images, others)]
    assert float(psnr(images, others)) == pytest.approx(np.mean(single))


def test_psnr_under_a_mask_sees_only_the_mask():
    image = torch.zeros(8, 8, 3)
    other = torch.ones(8, 8, 3)
    other[2:5, 2:5] = 0.1
    mask = torch.zeros(8, 8, dtype=torch.bool)
    mask[2:5, 2:5] = True
    assert float(psnr(image, other, mask)) == pytest.approx(20.0, abs=1e-4)


def test_ssim_is_the_papers_window_by_window():
    a, b = pair(30, 25)
    assert float(ssim(a, b)) == pytest.approx(window_by_window(a.numpy(), b.numpy()), abs=1e-12)
    assert float(ssim(a, a)) == pytest.approx(1.0, abs=1e-12)
    assert float(dssim(a, b)) == pytest.approx((1 - float(ssim(a, b))) / 2)


def test_ssim_is_that_of_scikit_image():
    metrics = pytest.importorskip("skimage.metrics")
    a, b = pair(seed=3)
    options = {"channel_axis": 2, "gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0}
    assert float(ssim(a, b)) == pytest.approx(metrics.structural_similarity(a.numpy(), b.numpy(), **options), abs=1e-9)
    assert float(psnr(a, b)) == pytest.approx(metrics.peak_signal_noise_ratio(a.numpy(), b.numpy(), data_range=1.0), abs=1e-9)


def test_ms_ssim_is_that_of_pytorch_msssim():
    theirs = pytest.importorskip("pytorch_msssim")
    a, b = pair(192, 256, seed=4)
    planes = [x.permute(2, 0, 1)[None] for x in (a, b)]
    assert float(ms_ssim(a, b)) == pytest.approx(float(theirs.ms_ssim(*planes, data_range=1.0)), abs=1e-5)  # its window is float32
    assert float(ssim(a, b)) == pytest.approx(float(theirs.ssim(*planes, data_range=1.0)), abs=1e-5)


def test_ms_ssim_is_the_product_of_five_scales():
    # two constant images differ in luminance alone, which only the last scale counts
    a, b = torch.full((180, 200, 1), 0.4, dtype=torch.float64), torch.full((180, 200, 1), 0.7, dtype=torch.float64)
    luminance = (2 * 0.4 * 0.7 + 1e-4) / (0.4**2 + 0.7**2 + 1e-4)
    assert float(ms_ssim(a, b)) == pytest.approx(luminance**0.1333, abs=1e-9)
    # and where a scale's structure is opposite its term is floored, without NaN
    c = pair(180, 200)[0].requires_grad_()
    value = ms_ssim(c, 1.0 - c.detach())
    value.backward()
    assert value.item() < 0.01
    assert torch.isfinite(c.grad).all()


@pytest.mark.parametrize("metric", [psnr, ssim, dssim, ms_ssim])
def test_slopes_are_those_of_differences(metric):
    a, b = pair(162, 170, seed=5)
    a.requires_grad_()
    metric(a, b).backward()
    way = torch.tensor(np.random.default_rng(6).normal(size=a.shape))
    with torch.no_grad():
        slope = (metric(a + 1e-5 * way, b) - metric(a - 1e-5 * way, b)) / 2e-5
    assert float((a.grad * way).sum()) == pytest.approx(float(slope), rel=1e-6)


def test_iou_counts_pixels():
    first, second = np.zeros((6, 6), bool), np.zeros((6, 6), bool)
    first[:4], second[2:] = True, True
    assert float(iou(first, second)) == pytest.approx(2 / 6)
    assert float(iou(first, first)) == 1.0
    assert float(iou(np.zeros((3, 3)), np.zeros((3, 3)))) == 1.0
    assert float(iou(np.zeros((3, 3)), np.ones((3, 3)))) == 0.0


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: psnr(torch.zeros(4, 5, 3), torch.zeros(5, 4, 3)), "one size"),
        (lambda: ssim(torch.zeros(4, 5), torch.zeros(4, 5)), "one size"),
        (lambda: ssim(torch.zeros(10, 50, 3), torch.zeros(10, 50, 3)), "at least 11 x 11"),
        (lambda: ms_ssim(torch.zeros(160, 200, 3), torch.zeros(160, 200, 3)), "at least 161 x 161"),
        (lambda: psnr(torch.zeros(4, 4, 3, dtype=torch.uint8), torch.zeros(4, 4, 3, dtype=torch.uint8)), "divide by 255"),
        (lambda: psnr(torch.zeros(4, 4, 3), torch.zeros(4, 4, 3), torch.zeros(4, 4)), "no pixel"),
        (lambda: psnr(torch.zeros(4, 4, 3), torch.zeros(4, 4, 3), torch.ones(4, 5)), "mask"),
        (lambda: psnr(torch.zeros(4, 4, 3), torch.ones(4, 4, 3), data_range=0.0), "data_range = 0"),
        (lambda: ssim(torch.zeros(20, 20, 3), torch.ones(20, 20, 3), data_range=-1.0), "data_range = -1"),
        (lambda: iou(torch.zeros(4, 4), torch.zeros(4, 5)), "one size"),
    ],
)
def test_images_that_cannot_be_compared_are_refused(call, said):
    with pytest.raises(InputError, match=said):
        call()
