"""The command `physsim demo beam`: fit one recording, predict another, judge both, write what was found."""

import json
import sys
import time
from dataclasses import dataclass
from importlib import metadata, resources
from pathlib import Path

import numpy as np

from physsim import __version__
from physsim.errors import InputError
from physsim.real2sim import beam
from physsim.real2sim import recording as rec
from physsim.real2sim.beam_experiment import Experiment, Measured
from physsim.real2sim.phase import PhaseTrack, phase_track

YOUNG_STARTS = (5e4, 2e6)  # far apart on purpose: a fit that ends where it began would show
PHASE_AFTER = 2.0  # the phase of an extrapolation is read this long after the fitted window [s]
RUN_RATE = 60.0  # frames that the run on disk has at most a second


@dataclass
class Judged:
    """A recording, its simulation, and the errors.

    Args:
        measured: Measured.
        experiment: Experiment with the weight of this recording.
        displacements: simulated [m], shape [f, markers, 3]; before the turning point the measured ones.
        samples: positions of all particles at the frames from `start` on [m], shape [g, n, 3].
        start: index of the first of these frames.
        beam: Beam that was simulated.
        until: last moment that is judged [s], None for all.
    """

    measured: Measured
    experiment: Experiment
    displacements: np.ndarray
    samples: np.ndarray
    start: int
    beam: object
    until: float | None = None

    def errors(self, other=None):
        """Errors of the simulation, or of another prediction of the same recording."""
        m = self.measured
        predicted = self.displacements if other is None else other
        return rec.errors(m.displacements, predicted, m.times, m.release, judge_from=m.turn, judge_until=self.until)

    def swings(self):
        """(measured, simulated) drop at rest, frequency and damping ratio."""
        m = self.measured
        return tuple(rec.rest_and_swing(u, m.times, m.release, m.turn) for u in (m.displacements, self.displacements))


@dataclass
class Extrapolation:
    """The part of the fitted recording that lies after the fitted window.

    Args:
        begin: end of the fitted window [s].
        rmse_mm, rmse_3d_mm: over all that follows.
        track: PhaseTrack from the last two periods of the window on, or None.
        at: moment at which the phase is read [s].
        first_amplitude: of the measured swing at the first turning point [m].
    """

    begin: float
    rmse_mm: float
    rmse_3d_mm: float
    track: PhaseTrack | None
    at: float
    first_amplitude: float


@dataclass
class Study:
    """All that one run of the demo found."""

    experiment: Experiment
    fit: beam.FitResult
    fitted: Judged
    heldout: Judged | None
    baselines: dict
    extrapolation: Extrapolation | None
    seconds: dict


def demo(
    *,
    out="physsim-demo",
    fit=None,
    heldout=None,
    experiment=None,
    young_start=YOUNG_STARTS,
    fit_seconds=None,
    cells=None,
    mass=None,
    quiet=False,
):
    """Fit Young's modulus and viscosity of a beam to one recording and predict another; write report.json, report.html, beam.mp4, run.

    Args:
        out: folder for the results.
        fit: recording to fit, CSV; None: the first of the experiment file.
        heldout: recording to predict, CSV; None: the second of the experiment file if `fit` was not given, else there is none.
        experiment: JSON file with the facts; None: the shipped silicone beam.
        young_start: first modulus [Pa], or several.
        fit_seconds: fit this long after the release [s], instead of until the swing has settled; what follows is then judged as well.
        cells: of the mesh along x, y, z.
        mass: of the weight [kg], instead of what the experiment file says.
        quiet: no progress, only the table.

    Returns:
        Exit code 0.

    Raises:
        InputError: a file or value that cannot be used.
        SolverError: nothing could be simulated.
    """
    began = time.perf_counter()
    show = (lambda line: None) if quiet else (lambda line: print(line, file=sys.stderr, flush=True))
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    facts = Experiment.read(experiment or resources.files("physsim.assets") / "silicone_beam" / "experiment.json")
    study = _study(facts, *_recordings(facts, fit, heldout), young_start, fit_seconds, cells, mass, show)

    from physsim.real2sim.beam_film import write_film
    from physsim.real2sim.beam_page import write_page
    from physsim.real2sim.beam_report import report, table

    show("drawing the video")
    before = time.perf_counter()
    film = write_film(out / "beam.mp4", study.heldout or study.fitted)
    study.seconds["video"] = time.perf_counter() - before
    study.seconds["until the page was written"] = time.perf_counter() - began
    data = report(study)
    page = write_page(out / "report.html", study, data, film)
    data["seconds"] = time.perf_counter() - began
    (out / "report.json").write_text(json.dumps(data, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    print(table(data))
    recorded = _recorded(study.heldout or study.fitted).save(out / "run")
    print(f"\nwritten: {out / 'report.json'}, {page}, {film}, {recorded} ({data['seconds']:.0f} s)")
    return 0


def _recorded(judged):
    """A simulated recording as a Run, for `physsim view`."""
    from physsim.appearance.run import Run

    times = judged.measured.times[judged.start :]
    run = Run(judged.beam.model)
    for i in np.unique(np.searchsorted(times, np.arange(times[0], times[-1], 1 / RUN_RATE))):
        run.add_frame(times[i], judged.samples[i])
    return run


def versions():
    """Versions of what computed this."""
    return {"physsim": __version__, "python": sys.version.split()[0]} | {n: metadata.version(n) for n in ("warp-lang", "numpy", "scipy")}


def _recordings(facts, fit, heldout):
    """Paths of the recording to fit and of the one to predict, or None."""
    if fit is None:
        listed = [facts.folder / entry["file"] for entry in facts.recordings.values()]
        if not listed:
            raise InputError("the experiment file names no recordings; give one by --fit a.csv, and by --heldout b.csv one to predict")
        fit = listed[0]
        heldout = heldout or (listed[1] if len(listed) > 1 else None)
    for path in (fit, heldout):
        if path is not None and not Path(path).is_file():
            raise InputError(f"{path}: no such file")
    return fit, heldout


def _study(facts, fit, heldout, young_start, fit_seconds, cells, mass, show):
    loads = [facts.loaded(path, mass) if path else None for path in (fit, heldout)]
    first = _read(fit, loads[0], show)
    second = _read(heldout, loads[1], show) if heldout else None
    show(f"fitting {first.name}, weight {1e3 * loads[0].weight:.4g} g; the first run compiles kernels, a minute or two")
    before = time.perf_counter()
    found = beam.fit(loads[0], first, young_start=young_start, fit_seconds=fit_seconds, cells=cells, show=show)
    seconds = {"fit": time.perf_counter() - before}
    before = time.perf_counter()
    show(f"simulating {first.name}")
    values = found.fit.values
    fitted = _simulate(loads[0], first, found, cells, multiple=values["release multiple"], delay=values["delay"])
    if fit_seconds is not None:
        fitted.until = found.window[1]
    judged = None
    if second:
        show(f"predicting {second.name} from its first turning point")
        judged = _simulate(loads[1], second, found, cells)
    seconds["predictions"] = time.perf_counter() - before
    baselines = _baselines(first, judged) if judged else {}
    rest = None if fit_seconds is None else _extrapolation(fitted, found.window[1])
    return Study(loads[0], found, fitted, judged, baselines, rest, seconds)


def _read(path, facts, show):
    measured = Measured.read(path, facts)
    how = "given" if measured.release_known else "detected"
    show(f"{measured.name}: {len(measured.times)} frames, release at {measured.release:.3f} s ({how}), turns at {measured.turn:.3f} s")
    return measured


def _simulate(facts, measured, found, cells, **start):
    displacements, samples, simulated = beam.predict(facts, measured, found.young, found.viscosity, cells=cells, **start)
    return Judged(measured, facts, displacements, samples, len(measured.times) - len(samples), simulated)


def _baselines(first, judged):
    """Predictions of the held-out recording that need no physics: name -> displacements [f, markers, 3]."""
    m = judged.measured
    seen = m.times[judged.start]  # the first simulated frame: before it the prediction is the measurement, without a residual
    return {
        "pose_held": rec.pose_held(m.displacements, m.times, seen),
        "residual_carried": rec.residual_carried(m.displacements, judged.displacements, m.times, seen),
        "a_replayed": rec.a_replayed(first.displacements, first.times, first.turn, m.times, m.turn),
    }


def _extrapolation(fitted, begin):
    m = fitted.measured
    if m.times[-1] <= begin + 1e-9:
        return None
    later = rec.errors(m.displacements, fitted.displacements, m.times, m.release, judge_from=np.nextafter(begin, np.inf) + 1e-8)
    frequency = fitted.swings()[0]["frequency_hz"]
    track = None
    if np.isfinite(frequency) and frequency > 0:
        drops = [rec.mean_drop(u) for u in (m.displacements, fitted.displacements)]
        track = phase_track(m.times, *drops, frequency, max(m.turn, begin - 2 / frequency), begin + PHASE_AFTER)
    at = float(track.times[-1]) if track else np.nan
    first = abs(m.turn_drop - rec.mean_drop(rec.rest_displacements(m.displacements, m.times)[None])[0])
    return Extrapolation(begin, later["rmse_mm"], later["rmse_3d_mm"], track, at, first)
