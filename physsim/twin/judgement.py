"""Judgement: how well a twin describes the frames that it was fitted to, and predicts those that it was not, beside trivial predictors.

`physsim.twin.distances` defines the errors, `physsim.twin.trivial` the predictors. Each error is a number a frame; over the frames of a
part ("fit" or "test") stands its mean, every frame weighing the same, with a standard error that allows for errors that last over many
frames."""

from dataclasses import dataclass, field

import numpy as np

from physsim.twin import trivial

TWIN = "twin"
METRICS = {  # name -> (words, unit, whether less is better)
    "track": ("track error", "m", True),
    "track_median": ("median track error", "m", True),
    "track_all": ("track error, strayed tracks included", "m", True),
    "chamfer": ("one-way Chamfer", "m", True),
    "chamfer_two_way": ("two-way Chamfer", "m", True),
    "chamfer_l1": ("one-way Chamfer, L1 to vertices", "m", True),
    "depth": ("depth error", "m", True),
    "iou": ("silhouette IoU", "", False),
    "psnr": ("PSNR", "dB", False),
    "ssim": ("SSIM", "", False),
}


@dataclass(frozen=True)
class Mean:
    """A mean over frames, its standard error (NaN for a single frame) and the number of frames; all NaN over none."""

    value: float
    error: float
    frames: int


@dataclass
class Judgement:
    """Errors of a twin and of trivial predictors, frame by frame.

    Args:
        name: of the capture.
        frames: of the capture that were judged, shape [f].
        times: of these frames [s], shape [f].
        fitted, tested: whether a frame was fitted, whether it was held out, shape [f] each.
        errors: predictor ("twin" and the names of `trivial`) -> metric (of METRICS) -> a number a frame, shape [f]; NaN: there is none.
        tracks: number of tracks that were judged.
        strayed: share of their sightings that left the body by the data alone, and were set aside in "track" and "track_median".
        depth_noise: standard deviation of depth that the capture states or the fit found [m]; None: not known.
        simulated: positions of the tracks by the twin [m], shape [f, p, 3]; None: no tracks.
        remarks: what could not be judged, and why.
    """

    name: str
    frames: np.ndarray
    times: np.ndarray
    fitted: np.ndarray
    tested: np.ndarray
    errors: dict
    tracks: int = 0
    strayed: float = 0.0
    depth_noise: float | None = None
    simulated: np.ndarray | None = None
    remarks: list = field(default_factory=list)

    @property
    def metrics(self) -> tuple[str, ...]:
        """Metrics that the twin has in some frame, in the order of METRICS."""
        return tuple(m for m in METRICS if np.isfinite(self.series(m)).any())

    @property
    def part(self) -> str:
        """What the verdict is about: "test" where frames were held out, else "fit"."""
        return "test" if self.tested.any() else "fit"

    def series(self, metric: str, predictor: str = TWIN) -> np.ndarray:
        """A metric frame by frame, shape [f]; all NaN where the predictor does not have it."""
        return self.errors.get(predictor, {}).get(metric, np.full(len(self.frames), np.nan))

    def mean(self, metric: str, predictor: str = TWIN, part: str = "test") -> Mean:
        """Mean of a metric over the frames of a part ("fit" or "test") that have it."""
        values = self.series(metric, predictor)[self.tested if part == "test" else self.fitted]
        values = values[np.isfinite(values)]
        if not len(values):
            return Mean(float("nan"), float("nan"), 0)
        return Mean(float(values.mean()), block_error(values), len(values))

    def best_trivial(self, metric: str, predictors: tuple[str, ...] = trivial.TRIVIAL) -> str | None:
        """The predictor without a simulation that is best over the held-out frames; None where there is none."""
        sign = 1.0 if METRICS[metric][2] else -1.0
        found = [(sign * mean.value, name) for name in predictors if (mean := self.mean(metric, name)).frames]
        return min(found)[1] if found else None

    def ratio(self, metric: str, predictor: str | None = None) -> float:
        """The twin's mean over a predictor's (None: the best trivial one's), over held-out frames that both have.

        NaN where there are none, and of what is better the more there is of it.
        """
        if not METRICS[metric][2]:
            return float("nan")
        predictor = predictor or self.best_trivial(metric)
        if predictor is None:
            return float("nan")
        twin, other = self.series(metric), self.series(metric, predictor)
        both = self.tested & np.isfinite(twin) & np.isfinite(other)
        return float(twin[both].mean() / other[both].mean()) if both.any() and other[both].mean() > 0 else float("nan")

    @property
    def chamfer_over_noise(self) -> float:
        """One-way Chamfer over the standard deviation of depth, in the part that the verdict is about; 0.8 where only noise is left."""
        return self.mean("chamfer", part=self.part).value / self.depth_noise if self.depth_noise else float("nan")

    def as_dict(self) -> dict:
        """All of it as numbers: means by part, predictor and metric; ratios; and the series."""
        parts = {}
        for part in ("fit", "test"):
            parts[part] = {p: {m: vars(self.mean(m, p, part)) for m in table} for p, table in self.errors.items()}
        return {
            "capture": self.name,
            "units": {m: METRICS[m][1] for m in self.metrics},
            "definitions": {m: METRICS[m][0] for m in self.metrics},
            "means": parts,
            "best_trivial": {m: self.best_trivial(m) for m in self.metrics},
            "ratio_to_best_trivial": {m: self.ratio(m) for m in self.metrics},
            "ratio_to_residual_carried": {m: self.ratio(m, trivial.CARRIED) for m in self.metrics},
            "tracks": self.tracks,
            "strayed_share": self.strayed,
            "depth_noise_m": self.depth_noise,
            "chamfer_over_depth_noise": self.chamfer_over_noise,
            "frames": self.frames,
            "times_s": self.times,
            "fitted": self.fitted,
            "tested": self.tested,
            "series": self.errors,
            "remarks": self.remarks,
        }


def block_error(values: np.ndarray) -> float:
    """Standard error of the mean of a series whose neighbours may be alike; NaN for fewer than two values.

    Means of ever longer blocks of frames are taken until fewer than four blocks are left; the largest standard error that they show counts.
    Source: Flyvbjerg and Petersen, "Error estimates on averages of correlated data", J. Chem. Phys. 91 (1989).

    Args:
        values: shape [k], in order.
    """
    if len(values) < 2:
        return float("nan")
    largest, size = 0.0, 1
    while size == 1 or len(values) // size >= 4:
        blocks = len(values) // size
        means = values[: blocks * size].reshape(blocks, size).mean(axis=1)
        largest = max(largest, float(means.std(ddof=1) / np.sqrt(blocks)))
        size *= 2
    return largest
