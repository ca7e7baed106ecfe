"""The command ``physsim fit-appearance``: from a folder of pictures and an asset to an asset that looks like them."""

import shutil
import sys
import time
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np

from physsim.errors import InputError

SPLATS = 2000  # where the asset has none and no number is given


def main(
    images: Path,
    asset: Path,
    out: Path,
    splats: int | None = None,
    iterations: int | None = None,
    degree: int | None = None,
    held_out: int | None = None,
    seed: int | None = None,
    background: list[float] | None = None,
    exposure: bool = False,
    network: bool | None = None,
    lpips: list[Path] | None = None,
    restart: bool = False,
    quiet: bool = False,
) -> int:
    """Fit, write the asset, its report and its page to `out`, and print how alike the held-out pictures are; returns the exit code."""
    from physsim.appearance.asset import Asset
    from physsim.appearance.color import ColorNetwork
    from physsim.appearance.fit import fit_appearance
    from physsim.appearance.fit_options import FitOptions
    from physsim.appearance.fit_quality import compare_frames, mean_numbers
    from physsim.appearance.frames import read_frames
    from physsim.appearance.lpips import Lpips
    from physsim.report.fit_page import WORDS, write_fit_report

    _check_out(out)
    given = Asset.load(asset)
    frames = read_frames(images)
    distance = Lpips.load(lpips) if lpips else None
    start = given.splats if given.splats is not None else _first_splats(given, splats, seed or 0)
    if splats is not None and splats < len(start):
        raise InputError(f"splats = {splats}: the asset has {len(start)} already; give at least as many, or an asset of fewer")
    _check_views(frames, start.means.numpy())
    chosen = {"most_splats": splats, "iterations": iterations, "degree": degree, "held_out": held_out, "seed": seed}
    chosen |= {"background": background and tuple(background), "network": network}
    options = FitOptions(exposure=exposure, **{name: value for name, value in chosen.items() if value is not None})
    known = ColorNetwork.from_arrays(given.network) if given.network is not None else None
    checkpoint = out.with_name(f"{out.name}.fit.npz")
    if restart:
        checkpoint.unlink(missing_ok=True)
    elif checkpoint.exists() and not quiet:
        print(f"goes on from {checkpoint}")
    began, bar = time.perf_counter(), None if quiet else _Bar()
    try:
        fit = fit_appearance(start, frames, given.mesh, known, options, checkpoint, bar)
    finally:
        if bar is not None:
            bar.end()
    seconds = time.perf_counter() - began
    arrays = None if fit.network is None else fit.network.arrays()
    replace(given, splats=fit.splats, network=arrays).save(out)
    compared = [f for i, f in enumerate(frames) if not fit.held_out or options.holds_out(i)]
    comparisons = compare_frames(fit, compared, distance)
    page = write_fit_report(out, given.name, fit, comparisons, seconds)
    checkpoint.unlink(missing_ok=True)
    _print_table("held out" if fit.held_out else "fitted", comparisons, mean_numbers(comparisons), WORDS)
    print(f"{len(fit.splats)} splats{'' if fit.network is None else ' with a network'} in {seconds:.0f} s; see {page}")
    return 0


def _check_out(out: Path) -> None:
    """Refuse before the fit what could not be written after it."""
    from physsim.appearance.asset import NAME

    if out.is_dir() and any(out.iterdir()) and not (out / NAME).is_file():
        raise InputError(f"{out}: the folder holds something else than an asset; give another name")
    if not out.absolute().parent.is_dir():
        raise InputError(f"{out}: its folder does not exist; make it first")


def _check_views(frames, points):
    """Refuse pictures none of which shows the body, and name those that do not; near the image is near enough."""

    def blind(frame):
        camera = frame.camera
        pixels, _ = camera.project(points if frame.positions is None else frame.positions.numpy())
        size = np.array([camera.width, camera.height])
        return not ((pixels > -size) & (pixels < 2 * size)).all(axis=-1).any()

    missed = [frame.name for frame in frames if blind(frame)]
    if len(missed) == len(frames):
        raise InputError("no camera has the asset in view; rotations and translations are from world to camera [m], in the asset's axes")
    if missed:
        told = ", ".join(missed[:5]) + (f" and {len(missed) - 5} more" if len(missed) > 5 else "")
        warnings.warn(f"the asset is not in view of the camera of {told}; check rotation and translation", stacklevel=2)


def _first_splats(asset, count, seed):
    """Splats over the surface of an asset that has none."""
    from physsim.appearance.sources import splats_from_mesh
    from physsim.physics.mesh import TetMesh
    from physsim.physics.sheets import TriMesh

    if not isinstance(asset.mesh, TetMesh | TriMesh):
        kind = type(asset.mesh).__name__
        raise InputError(f"asset {asset.name!r}: it has no splats, and a {kind} has no surface to put some on; give it splats first")
    return splats_from_mesh(asset.mesh, max(1, (count or SPLATS) // 2), seed=seed)


def _print_table(kind, comparisons, means, words):
    names = list(means)
    width = max(len(kind), *(len(c.name) for c in comparisons))
    print("  ".join([kind.ljust(max(width, 7)), *(words[name].rjust(10) for name in names)]))
    for name, numbers in [*((c.name, c.numbers) for c in comparisons), ("mean", means)]:
        cells = [f"{numbers[key]:.4g}" if key in numbers else "-" for key in names]
        print("  ".join([name.ljust(max(width, 7)), *(cell.rjust(max(10, len(words[key]))) for cell, key in zip(cells, names))]))


class _Bar:
    """Progress on a terminal, one line that is rewritten; nothing where the output is no terminal."""

    def __init__(self):
        self._then, self._before, self._open = time.perf_counter(), 0, False

    def __call__(self, done):
        if not sys.stderr.isatty():
            return
        wide = max(10, min(30, shutil.get_terminal_size().columns - 80))
        full = round(wide * done.iteration / done.iterations)
        held = "" if done.held_out is None else f", held out {done.held_out:.2f}"
        steps = done.iteration - self._before
        left = (time.perf_counter() - self._then) / max(steps, 1) * (done.iterations - done.iteration)
        self._before, self._then = done.iteration, time.perf_counter()
        text = f"[{'=' * full}{' ' * (wide - full)}] {done.iteration}/{done.iterations}  PSNR {done.psnr:.2f} dB{held}"
        print(f"\r{text}  {done.splats} splats  {left:.0f} s left ", end="", file=sys.stderr, flush=True)
        self._open = True

    def end(self):
        """Leave the line as it stands."""
        if self._open:
            print(file=sys.stderr)
        self._open = False
