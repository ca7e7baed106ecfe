"""What a fit of appearance leaves to read: report.json and the page report.html with reference, rendering and difference side by side."""

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

import numpy as np
from PIL import Image

from physsim.appearance.fit import Fit
from physsim.appearance.fit_quality import Comparison, mean_numbers
from physsim.report.json_file import write_json
from physsim.report.page import Page
from physsim.report.plot import Panel, Series

MAX_PICTURES = 12  # on the page
MAX_WIDTH = 1200  # of a row of pictures [pixel]
DIFFERENCES = 4  # times as bright as they are
WORDS = {"psnr": "PSNR [dB]", "ssim": "SSIM", "ms_ssim": "MS-SSIM", "lpips": "LPIPS", "iou": "IoU of coverage and mask"}


def fit_numbers(fit: Fit, comparisons: Sequence[Comparison], seconds: float) -> dict:
    """Numbers of report.json.

    Args:
        fit: what was found.
        comparisons: of the pictures that were held out, or of the fitted ones where none were.
        seconds: that the fit took [s].
    """
    return {
        "compared": "held out" if fit.held_out else "fitted",
        **mean_numbers(comparisons),
        "pictures": {c.name: c.numbers for c in comparisons},
        "splats": len(fit.splats),
        "network": fit.network is not None,
        "fitted": list(fit.fitted),
        "held_out": list(fit.held_out),
        "iterations": fit.rounds[-1].iteration,
        "best_iteration": fit.rounds[fit.best].iteration,
        "stopped_early": fit.stopped_early,
        "gains": fit.gains if fit.options.exposure else None,
        "offsets": fit.offsets if fit.options.exposure else None,
        "seconds": seconds,
    }


def write_fit_report(folder: str | PathLike[str], name: str, fit: Fit, comparisons: Sequence[Comparison], seconds: float) -> Path:
    """Write report.json and report.html into a folder, and return the page's path; arguments as for `fit_numbers`."""
    folder = Path(folder)
    numbers = fit_numbers(fit, comparisons, seconds)
    write_json(folder / "report.json", numbers)
    return _page(name, fit, comparisons, numbers).write(folder / "report.html")


def _page(name, fit, comparisons, numbers):
    kind = "held out" if fit.held_out else "fitted"
    page = Page(f"Appearance of {name}", f"Splats fitted to {len(fit.fitted)} pictures; {len(fit.held_out)} were held out.")
    means = [(WORDS[key], f"{numbers[key]:.4g}", f"mean of the pictures {kind}") for key in WORDS if key in numbers]
    page.tiles([*means, ("Splats", f"{len(fit.splats):,}", "with a network" if fit.network is not None else "without a network")])
    page.heading(f"Pictures {kind}")
    for c in comparisons[:MAX_PICTURES]:
        told = ", ".join(f"{WORDS[key]} {value:.4g}" for key, value in c.numbers.items())
        page.image(side_by_side(c), f"{c.name}: reference, rendering, difference", f"{c.name}: reference, rendering, {told}.")
    page.text(f"The last picture of each row is the absolute difference, {DIFFERENCES} times as bright.")
    if fit.held_out:
        page.text("The held-out pictures were not fitted, but they decided which round is kept and when the fit ends.")
    page.heading("How it went")
    iterations = np.array([r.iteration for r in fit.rounds])
    curves = [Series("fitted", iterations, np.array([r.psnr for r in fit.rounds]))]
    if fit.held_out:
        curves.append(Series("held out", iterations, np.array([r.held_out for r in fit.rounds])))
    counts = [Series("", iterations, np.array([float(r.splats) for r in fit.rounds]))]
    panels = [Panel("PSNR", curves, "iteration", "[dB]"), Panel("Number of splats", counts, "iteration", "splats")]
    page.plots(panels, columns=2)
    header = ["picture", *(WORDS[key] for key in WORDS if key in numbers)]
    page.table(header, [[c.name, *(c.numbers.get(key) for key in WORDS if key in numbers)] for c in comparisons])
    page.heading("Settings")
    page.facts([(key.replace("_", " "), str(value)) for key, value in vars(fit.options).items()])
    return page


def side_by_side(comparison: Comparison) -> Image.Image:
    """Reference, rendering and difference in a row."""
    reference, shown = (x.detach().cpu().numpy() for x in (comparison.reference, comparison.shown))
    row = np.concatenate([reference, shown, np.clip(DIFFERENCES * np.abs(shown - reference), 0.0, 1.0)], axis=1)
    picture = Image.fromarray((255.0 * np.clip(row, 0.0, 1.0) + 0.5).astype(np.uint8))
    if picture.width > MAX_WIDTH:
        picture = picture.resize((MAX_WIDTH, max(1, round(picture.height * MAX_WIDTH / picture.width))), Image.Resampling.LANCZOS)
    return picture
