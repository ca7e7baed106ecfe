"""Comparisons of fitted splats with pictures: every number that is asked for, each over the pictures that have it."""

import numpy as np
import pytest
import torch
from fit_scenes import TexturedBlock

from physsim.appearance.exposure import matched_exposure
from physsim.appearance.fit import fit_appearance
from physsim.appearance.fit_options import FitOptions
from physsim.appearance.fit_quality import compare_frames, mean_numbers
from physsim.appearance.frames import Frame
from physsim.appearance.metrics import ms_ssim, psnr, ssim
from physsim.report.fit_page import DIFFERENCES, side_by_side, write_fit_report


@pytest.fixture(scope="module")
def scene():
    rng = np.random.default_rng(2)
    thing = TexturedBlock(rng)
    frames = thing.frames(rng, 4, size=176)
    masked = [Frame(f.image, f.camera, (f.image.sum(dim=2) > 0).float(), f.positions, name=f"masked {f.name}") for f in frames[:2]]
    options = FitOptions(iterations=60, round_length=20, densify=False, held_out=2)
    return fit_appearance(thing.splats(500), frames, thing.mesh, options=options), frames, masked


def test_numbers_are_those_of_the_metrics(scene):
    fit, frames, masked = scene
    plain = compare_frames(fit, frames)
    for c, frame in zip(plain, frames):
        shown = fit.draw(frame.camera, frame.positions)[0].clamp(0, 1)
        torch.testing.assert_close(c.reference, frame.image)
        expected = {"psnr": psnr(shown, frame.image), "ssim": ssim(shown, frame.image), "ms_ssim": ms_ssim(shown, frame.image)}
        assert set(c.numbers) == set(expected)
        for name, value in expected.items():
            assert c.numbers[name] == pytest.approx(float(value), rel=1e-3)
    assert 0.5 < compare_frames(fit, masked)[0].numbers["iou"] <= 1.0
    asked = compare_frames(fit, frames[:1], lpips=lambda a, b: (a - b).abs().mean())
    assert asked[0].numbers["lpips"] == pytest.approx(float((asked[0].shown - asked[0].reference).abs().mean()))
    means = mean_numbers([*plain, *asked])
    assert means["psnr"] == pytest.approx(np.mean([c.numbers["psnr"] for c in [*plain, *asked]]))
    assert means["lpips"] == asked[0].numbers["lpips"]


def test_a_matched_exposure_is_the_least_squares_one(rng):
    colour = torch.as_tensor(rng.uniform(size=(20, 15, 3)))
    where = torch.as_tensor(rng.uniform(size=(20, 15)) > 0.5)
    reference = torch.as_tensor(rng.uniform(size=(20, 15, 3)))
    found = matched_exposure(colour, reference, where)
    torch.testing.assert_close(found[~where], colour[~where])
    for k in range(3):
        x, y = colour[where][:, k].numpy(), reference[where][:, k].numpy()
        gain, offset = np.polyfit(x, y, 1)
        np.testing.assert_allclose(found[where][:, k], gain * x + offset, atol=1e-9)
    flat = torch.full((4, 4, 3), 0.3)
    assert torch.isfinite(matched_exposure(flat, flat + 0.1, torch.ones(4, 4, dtype=torch.bool))).all()


def test_the_page_shows_reference_rendering_and_difference(scene, tmp_path):
    fit, frames, _ = scene
    comparisons = compare_frames(fit, frames[1::2])
    row = np.asarray(side_by_side(comparisons[0])) / 255.0
    reference, shown, difference = np.split(row, 3, axis=1)
    np.testing.assert_allclose(reference, comparisons[0].reference, atol=0.003)
    np.testing.assert_allclose(shown, comparisons[0].shown, atol=0.003)
    np.testing.assert_allclose(difference, (DIFFERENCES * (comparisons[0].shown - comparisons[0].reference).abs()).clamp(0, 1), atol=0.003)
    page = write_fit_report(tmp_path, "<b>", fit, comparisons, 1.0)
    text = page.read_text()
    assert "&lt;b&gt;" in text and "MS-SSIM" in text and "<b>:" not in text
    assert (tmp_path / "report.json").is_file()


@pytest.mark.gpu
def test_a_fit_on_a_gpu_comes_as_close_as_on_the_cpu():
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    rng = np.random.default_rng(3)
    thing = TexturedBlock(rng)
    frames, unseen = thing.frames(rng, 8, size=64), thing.frames(rng, 4, turn=1.0, size=64)
    options = FitOptions(iterations=120, round_length=40, exposure=True, held_out=4)
    found = [
        mean_numbers(compare_frames(fit_appearance(thing.splats(300).to(device), frames, thing.mesh, options=options), unseen))["psnr"]
        for device in ("cpu", "cuda")
    ]
    assert found[1] == pytest.approx(found[0], abs=1.0)
