"""Evaluations of a fit kept in a folder, so that a fit that was killed goes on where it was.

Each evaluation of the problem is one file, written beside its place and renamed. A fit is a deterministic function of its evaluations:
run again, it asks for the same ones in the same order, gets those that are there from the files, and ends as an unbroken one would.
"""

import json
import os
from pathlib import Path

import numpy as np

from physsim.errors import InputError
from physsim.io.arrays import load_arrays, save_arrays

KIND = "twin evaluation"
HEAD = "fit.json"


class Checkpoint:
    """A folder of evaluations.

    Args:
        folder: made where it is missing.
        fingerprint: of all that the evaluations depend on (`fingerprint`); evaluations of another one are discarded.

    Raises:
        InputError: a folder that cannot be written.
    """

    def __init__(self, folder: str, fingerprint: str) -> None:
        self.folder = Path(folder)
        self.reused = 0
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if self._found() != fingerprint:
                for file in self.folder.glob("evaluation_*.npz*"):
                    file.unlink()
                partial = self.folder / f"{HEAD}.partial"
                partial.write_text(json.dumps({"format": KIND, "fingerprint": fingerprint}))
                os.replace(partial, self.folder / HEAD)
        except OSError as error:
            raise InputError(f"checkpoint {folder}: cannot be written ({error.strerror}); give a folder that can") from None

    def _found(self):
        try:
            return json.loads((self.folder / HEAD).read_text()).get("fingerprint")
        except (OSError, ValueError, AttributeError):
            return None

    def load(self, number: int, scaled: np.ndarray) -> dict | None:
        """Arrays of an evaluation, if it is there and was made at these unknowns."""
        path = self._path(number)
        if not path.exists():
            return None
        try:
            data = load_arrays(path, KIND)
        except InputError:
            return None
        if not np.array_equal(data.get("scaled"), scaled):
            return None
        self.reused += 1
        failed = data["failed"].astype(bool)
        for name in ("residuals", "jacobian", "noise"):
            data[name][failed] = np.nan
        data["noise"][data["noise"] < 0] = np.nan
        return data

    def save(self, number: int, scaled: np.ndarray, residuals: np.ndarray, jacobian: np.ndarray, noise: np.ndarray) -> None:
        """Keep an evaluation."""
        failed = ~(np.isfinite(residuals).all(axis=1) & np.isfinite(jacobian).all(axis=(1, 2)))
        parts = {"residuals": np.nan_to_num(residuals), "jacobian": np.nan_to_num(jacobian), "noise": np.nan_to_num(noise, nan=-1.0)}
        for name in ("residuals", "jacobian"):
            parts[name][failed] = 0.0
        save_arrays(self._path(number), KIND, parts | {"scaled": scaled, "failed": failed.astype(np.int8)})

    def _path(self, number):
        return self.folder / f"evaluation_{number:04d}.npz"


class Remembered:
    """A problem whose evaluations are kept, counted through all stages of a fit."""

    def __init__(self, checkpoint: Checkpoint | None, first: int = 0) -> None:
        self.checkpoint, self.count = checkpoint, first
        self._noise = {}

    def calls(self, problem: object):
        """The problem as a function for `least_squares`."""

        def evaluate(scaled, active):
            number, self.count = self.count, self.count + 1
            kept = None if self.checkpoint is None else self.checkpoint.load(number, scaled)
            if kept is not None:
                if active.all():
                    problem.pass_by(scaled)
                residuals, jacobian, problem.noise = kept["residuals"], kept["jacobian"], kept["noise"]
            else:
                # laid out as they come from a file: another layout would show in the last digits of sums
                residuals, jacobian = (np.ascontiguousarray(part) for part in problem(scaled, active))
                if self.checkpoint is not None:
                    self.checkpoint.save(number, scaled, residuals, jacobian, problem.noise)
            found = zip(scaled[active], problem.noise[active], strict=True)
            self._noise |= {one.tobytes(): noise for one, noise in found}
            return residuals, jacobian

        return evaluate

    def noise_at(self, scaled: np.ndarray) -> np.ndarray:
        """Noise [terms] that the residuals showed when the problem was last evaluated at these unknowns [p]."""
        return self._noise[np.ascontiguousarray(scaled).tobytes()]
