"""What is asked of `physsim fit`, and how it bears on a capture, a material and the list of unknowns."""

import math
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path

import numpy as np

from physsim.capture.capture import KINDS, Capture, Known
from physsim.errors import InputError
from physsim.physics import validation
from physsim.twin.unknowns import Unknown, chosen_unknowns

STIFFNESS = ("one", "parts", "field")
HOLD = "hold_stiffness"
NUISANCES = ("time_offset", "camera_pose", "gravity_direction")


@dataclass(frozen=True)
class FitRequest:
    """What is asked for.

    Args:
        kind: "solid", "sheet" or "rod"; None: the capture's, or as it looks.
        cell_size: of the mesh that is made [m]; None: from the body's size.
        stiffness: "one" number for the body, "parts" that are found, or a smooth "field".
        fit: names of what is fitted; empty: what is not known of the body.
        known: name -> value of what is held fixed, in SI units.
        young_start: Young's modulus that the fit starts from [Pa]; None: from the body's weight.
        seeds: fits by other choices of points and other starts, whose spread is told.
        appearance: whether a look is fitted to the colour frames, where there are some.
        joint: whether pixels refine the physics together with the rest, once there is a look.
        residual_correction: whether a correction of the residual is learned, as a step of its own.
        seed: of all that is drawn.

    Raises:
        InputError: a value out of range, a name both fitted and known.
    """

    kind: str | None = None
    cell_size: float | None = None
    stiffness: str = "one"
    fit: tuple[str, ...] = ()
    known: dict[str, float] = field(default_factory=dict)
    young_start: float | None = None
    seeds: int = 1
    appearance: bool = True
    joint: bool = False
    residual_correction: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if self.kind is not None and self.kind not in KINDS:
            raise InputError(f"kind = {self.kind!r}: must be one of {', '.join(KINDS)}")
        if self.stiffness not in STIFFNESS:
            raise InputError(f"stiffness = {self.stiffness!r}: must be one of {', '.join(STIFFNESS)}")
        for name in ("cell_size", "young_start"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, float(validation.array(name, getattr(self, name), (), lower=0.0, lower_open=True)))
        for name, lower in (("seeds", 1), ("seed", 0)):
            object.__setattr__(self, name, int(validation.array(name, getattr(self, name), (), kind="i", lower=lower)))
        object.__setattr__(self, "fit", tuple(self.fit))
        for name, value in self.known.items():
            if not isinstance(value, int | float) or not math.isfinite(value):
                raise InputError(f"known: {name} = {value!r}: a finite number in SI units is needed")
        both = [name for name in self.fit if name in self.known]
        if both:
            raise InputError(f"{both[0]}: it is to be fitted and known at once; leave one of them out")
        if self.joint and not self.appearance:
            raise InputError("joint: pixels refine the physics through the look; leave --no-appearance out")
        if self.young_start is not None and "young" in self.known:
            raise InputError("young_start: young is known, so that it starts nowhere; leave one of them out")

    def as_dict(self) -> dict:
        """What JSON takes."""
        return asdict(self)

    def given(self, capture: Capture) -> Capture:
        """The capture with what is known besides what it says itself, and without what is to be fitted."""
        own = {f.name for f in fields(Known) if f.name != "ground"}
        changed = {name: value for name, value in self.known.items() if name in own}
        changed |= {name: None for name in self.fit if name in own}
        for name, value in changed.items():
            if value is not None and name != "poisson" and not value > 0.0 and not (name == "friction" and value == 0.0):
                raise InputError(f"known: {name} = {value:g}: must be above 0")
        if "poisson" in self.known and not -1.0 < self.known["poisson"] < 0.5:
            raise InputError(f"known: poisson = {self.known['poisson']:g}: must lie in (-1, 0.5); use 0.499 for rubber")
        return replace(capture, known=replace(capture.known, **changed)) if changed else capture

    def material(self, first: object) -> object:
        """The material to begin with, values that are known or to start from put in.

        Raises:
            InputError: a name that neither the capture nor the material has.
        """
        there = [f.name for f in fields(first) if getattr(first, f.name) is not None]
        own = {f.name for f in fields(Known)}
        unknown = [name for name in self.known if name not in own and name not in there and name != HOLD]
        if unknown:
            allowed = sorted({*there, *(own - {"ground"}), HOLD})
            raise InputError(f"known: a {type(first).__name__} has no {unknown[0]!r}; it may be one of {', '.join(allowed)}")
        changed = {name: value for name, value in self.known.items() if name in there}
        if self.young_start is not None:
            changed |= _started(first, there, self.young_start)
        return replace(first, **changed) if changed else first

    def unknowns(self, scene: object) -> list[Unknown]:
        """What is fitted: what was named, or else what is not known of the body.

        Raises:
            InputError: a name that the scene lacks; nothing that would be left to fit.
        """
        if self.fit:
            allowed = [*scene.parameters, *NUISANCES]
            for name in self.fit:
                if name not in allowed:
                    raise InputError(f"fit: there is no {name!r} here; it may be one of {', '.join(allowed)}")
            return chosen_unknowns(scene, list(self.fit))
        found = [u for u in chosen_unknowns(scene, None) if u.name.split("[")[0] not in self.known]
        if not found:
            raise InputError("known: nothing is left to be fitted; leave a value out, or name what is fitted by --fit")
        return found

    @property
    def hold_stiffness(self) -> float | None:
        """Stiffness of the tether of held points [N/m] to begin with; None: holds are exact."""
        if HOLD in self.known:
            return self.known[HOLD]
        return 1e3 if HOLD in self.fit else None


def _started(first, there, young):
    """Fields of a material that starts from a Young's modulus; a damping that grows with it keeps its share."""
    if "young" not in there:
        raise InputError(f"young_start: this {type(first).__name__} is told by {', '.join(there)}; it has no Young's modulus to start from")
    share = young / float(np.mean(first.young))
    scaled = {n: np.asarray(getattr(first, n), float) * share for n in ("viscosity", "stretch_damping") if n in there}
    return {"young": young} | {name: float(value) if value.ndim == 0 else value for name, value in scaled.items()}


def known_values(words: list[str]) -> dict[str, float]:
    """Name -> value of words such as poisson=0.3.

    Raises:
        InputError: a word of another form, a name twice.
    """
    out = {}
    for word in words:
        name, equals, text = str(word).partition("=")
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not name or not equals or not math.isfinite(value):
            raise InputError(f"known: {word!r}: give it as NAME=VALUE, in SI units, such as poisson=0.3")
        if name in out:
            raise InputError(f"known: {name!r} is given twice")
        out[name] = value
    return out


def checked_output(capture: Path, out: Path, marker: str) -> Path:
    """The output's folder, refused before the fit where it could not be written after it.

    Raises:
        InputError: it is the capture's folder, or lies within it or around it; it holds something else; its folder does not exist.
    """
    out, capture = Path(out), Path(capture)
    own, seen = out.absolute().resolve(), capture.absolute().resolve()
    if own == seen:
        raise InputError(f"{out}: this is the capture itself; give another --out")
    if own.is_relative_to(seen):
        raise InputError(f"{out}: it lies in the capture's folder, which a fit leaves as it is; give another --out")
    if seen.is_relative_to(own):
        raise InputError(f"{out}: the capture lies in it, and would be replaced; give another --out")
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: it exists and is no folder; give another --out")
    if out.is_dir() and any(out.iterdir()) and not (out / marker).is_file():
        raise InputError(f"{out}: the folder holds something else than an asset; give another --out")
    if not own.parent.is_dir():
        raise InputError(f"{out}: its folder does not exist; make it first")
    return out
