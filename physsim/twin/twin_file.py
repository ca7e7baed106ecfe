"""What a fit of a capture leaves with an Asset: all that is needed to rebuild the scene and to predict.

Beside the asset's own files its folder holds

twin.json       format, version, units; the Twin, as `physsim.io.packing` writes nested values
twin.npz        its arrays

    asset = with_twin(asset, twin)      # asset.save(folder) writes both, Asset.load(folder) reads both
    twin = twin_of(Asset.load(folder))

The asset's material is the one that was found. The Twin keeps the material that the scene was made with besides: the fit's settings stand
on that one, and laws that a zero switches off are the same again.
"""

import math
import sys
from dataclasses import dataclass, fields, replace
from dataclasses import field as entry
from importlib import metadata
from numbers import Real

import numpy as np

from physsim import __version__
from physsim.appearance.asset import Asset
from physsim.capture.capture import KINDS
from physsim.errors import InputError
from physsim.io.packing import packed, unpacked
from physsim.physics import validation
from physsim.physics.archive import pack_material, unpack_material
from physsim.twin.elements import rest_points
from physsim.twin.results import Stage, TwinFit

WHERE = "twin.json"  # what errors call it


@dataclass(frozen=True, eq=False)
class Twin:
    """A fit, and what its scene was made of.

    Args:
        fit: TwinFit.
        kind: "solid", "sheet" or "rod".
        pose: of the body's points at the first fitted frame [m], shape [n, 3].
        material: that the scene was made with: NeoHookean, Shell or Rod.
        dt: step [s].
        source: where the body's shape came from.
        remarks: on it.
        holds: handle -> "points" that it holds, shape [p], "local": where in its frame [m], shape [p, 3], "begin" and "end" [s].
        scene: further options of the scene by name: numbers, text, None, arrays, and lists and dicts of them.
        capture: of the capture: "name", "source", "fingerprint" and other facts by name.
        residual: correction of the boundary's residual, where one was fitted, as numbers and arrays by name; else None.
        versions: of what computed it, by name.

    Raises:
        InputError: values of other types, shapes that do not fit, numbers out of range.
    """

    fit: TwinFit
    kind: str
    pose: np.ndarray
    material: object
    dt: float
    source: str = ""
    remarks: list = entry(default_factory=list)
    holds: dict = entry(default_factory=dict)
    scene: dict = entry(default_factory=dict)
    capture: dict = entry(default_factory=dict)
    residual: dict | None = None
    versions: dict = entry(default_factory=lambda: versions())

    def __post_init__(self) -> None:
        validation.instance("Twin.fit", self.fit, TwinFit)
        if self.kind not in KINDS:
            raise InputError(f"Twin.kind: {str(self.kind)[:40]!r}; it must be one of {', '.join(KINDS)}")
        pose = validation.array("Twin.pose", self.pose, (None, 3))
        object.__setattr__(self, "pose", pose)
        object.__setattr__(self, "dt", float(validation.array("Twin.dt", self.dt, (), lower=0.0, lower_open=True)))
        for name, kind in (("source", str), ("remarks", list), ("holds", dict), ("scene", dict), ("capture", dict), ("versions", dict)):
            validation.instance(f"Twin.{name}", getattr(self, name), kind)
        if self.residual is not None:
            validation.instance("Twin.residual", self.residual, dict)
        _check_fit(self.fit)
        _check_holds(self.holds, len(self.fit.start[0]))
        if len(self.fit.start[0]) < len(pose):
            raise InputError(f"Twin.fit.start: {len(self.fit.start[0])} particles; the body has {len(pose)} points")


def versions() -> dict[str, str]:
    """Versions of what computes here."""
    names = ("warp-lang", "numpy", "scipy", "torch")
    return {"physsim": __version__, "python": sys.version.split()[0]} | {name: metadata.version(name) for name in names}


def with_twin(asset: Asset, twin: Twin | None) -> Asset:
    """The asset with the fit that it came from, or without one.

    Raises:
        InputError: a Twin of a body of another number of points; something in it that cannot be written.
    """
    if twin is None:
        return replace(asset, twin=None)
    count = len(rest_points(asset.mesh))
    if len(validation.instance("twin", twin, Twin).pose) != count:
        raise InputError(f"twin: its body has {len(twin.pose)} points, the mesh {count}; give those that belong together")
    told = {f.name: getattr(twin, f.name) for f in fields(Twin) if f.name not in ("fit", "material")}
    told["fit"] = fit_told(twin.fit)
    facts, parts = pack_material(twin.material)
    told["material"] = {"facts": facts, "arrays": parts}
    written, arrays = packed(told)
    for name, value in arrays.items():
        if not np.isfinite(value).all():
            raise InputError(f"twin: {name} holds NaN or infinite values; a fit that ended well has none")
    return replace(asset, twin=(written, arrays))


def twin_of(asset: Asset) -> Twin:
    """The fit that an asset came from.

    Raises:
        InputError: the asset was not made by `physsim fit`, or its twin.json is damaged or of another asset.
    """
    if asset.twin is None:
        raise InputError(f"asset {asset.name!r}: it holds no {WHERE}, which tells the scene; `physsim fit` makes such assets")
    told = unpacked(WHERE, *asset.twin)
    known = {f.name for f in fields(Twin)}
    if not isinstance(told, dict) or not {"fit", "material", "kind", "pose", "dt"} <= set(told) <= known:
        given = ", ".join(sorted(map(str, told))) if isinstance(told, dict) else type(told).__name__
        raise InputError(f"{WHERE}: it holds {given[:200]}; {', '.join(sorted(known))} are needed")
    try:
        twin = Twin(**told | {"fit": fit_of(told["fit"]), "material": _material_of(told["material"])})
    except TypeError as error:
        raise InputError(f"{WHERE}: {str(error)[:200]}; the file is damaged") from None
    count = len(rest_points(asset.mesh))
    if len(twin.pose) != count:
        raise InputError(f"{WHERE}: a body of {len(twin.pose)} points; the mesh has {count}; is it of another asset?")
    return twin


def _material_of(told):
    if not isinstance(told, dict) or set(told) != {"facts", "arrays"} or not all(isinstance(part, dict) for part in told.values()):
        raise InputError(f"{WHERE}: its material is damaged; facts and arrays are needed")
    return unpack_material(f"{WHERE}: material", told["facts"], told["arrays"])


def fit_told(fit: TwinFit) -> dict:
    """A fit as `physsim.io.packing` writes it."""
    told = {f.name: getattr(fit, f.name) for f in fields(fit)}
    return told | {"stages": [vars(stage) for stage in fit.stages]}


def fit_of(told: object) -> TwinFit:
    """The fit of `fit_told`.

    Raises:
        InputError: unknown or missing parts.
    """
    known = {f.name for f in fields(TwinFit)}
    if not isinstance(told, dict) or not set(told) <= known:
        raise InputError(f"{WHERE}: its fit is damaged; {', '.join(sorted(known))} may be in it")
    stages = told.get("stages", [])
    if not isinstance(stages, list) or not all(isinstance(stage, dict) for stage in stages):
        raise InputError(f"{WHERE}: fit: stages must be a list of named numbers")
    try:
        return TwinFit(**told | {"stages": [Stage(**stage) for stage in stages]})
    except TypeError as error:
        raise InputError(f"{WHERE}: fit: {str(error)[:200]}; the file is damaged") from None


def _check_holds(holds, particles):
    for name, told in holds.items():
        where = f"Twin.holds: {str(name)[:80]!r}"
        if not isinstance(told, dict) or set(told) != {"points", "local", "begin", "end"}:
            raise InputError(f"{where}: points, local, begin and end are needed")
        points = validation.indices(f"{where}: points", told["points"], particles)
        validation.array(f"{where}: local", told["local"], (len(points), 3))
        if not all(isinstance(told[end], Real) and not math.isnan(told[end]) for end in ("begin", "end")):
            raise InputError(f"{where}: begin and end must be times [s], infinite for always")


def _check_fit(fit):
    """Refuse a TwinFit whose parts are of other types than it says; reports and predictions take them on trust."""
    number, text = Real, str
    for name, kind in (("values", number), ("units", text), ("undetermined", text), ("noise", number)):
        _check_named(f"Twin.fit.{name}", getattr(fit, name), kind)
    for name, kind in (("intervals", tuple | list), ("settings", np.ndarray), ("field", np.ndarray), ("spread", list | tuple | np.ndarray)):
        _check_named(f"Twin.fit.{name}", getattr(fit, name), kind)
    for name, pair in fit.intervals.items():
        if len(pair) != 2 or not all(isinstance(end, number) for end in pair):
            raise InputError(f"Twin.fit.intervals: {name!r}: a lower and an upper number are needed")
    for name, lower, upper in (("level", 0.0, 1.0), ("start_time", None, None), ("time_offset", None, None)):
        validation.array(f"Twin.fit.{name}", getattr(fit, name), (), lower=lower, upper=upper)
    if not isinstance(fit.start, tuple) or len(fit.start) != 2:
        raise InputError("Twin.fit.start: a pair of positions and velocities is needed")
    positions = validation.array("Twin.fit.start: positions", fit.start[0], (None, 3))
    validation.array("Twin.fit.start: velocities", fit.start[1], (len(positions), 3))
    if not isinstance(fit.camera_pose, tuple) or len(fit.camera_pose) != 2:
        raise InputError("Twin.fit.camera_pose: a pair of rotation and translation is needed")
    validation.rotation("Twin.fit.camera_pose: rotation", fit.camera_pose[0])
    validation.array("Twin.fit.camera_pose: translation", fit.camera_pose[1], (3,))
    if fit.parts is not None:
        validation.array("Twin.fit.parts", fit.parts, (None,), kind="i", lower=0)
    if not isinstance(fit.statement, str) or not isinstance(fit.converged, bool | np.bool_):
        raise InputError("Twin.fit: a statement in words, and converged as true or false, are needed")
    if fit.dt is not None:
        validation.array("Twin.fit.dt", fit.dt, (), lower=0.0, lower_open=True)
    if not isinstance(fit.history, list) or not all(_is_history(row) for row in fit.history):
        raise InputError("Twin.fit.history: a list of (stage, horizon [s], cost) is needed")
    for stage in fit.stages:
        if not isinstance(stage.name, str) or not all(isinstance(x, number) for x in (stage.seconds, stage.cpu_seconds, stage.peak_mb)):
            raise InputError("Twin.fit.stages: a name and three numbers each are needed")


def _check_named(what, given, kind):
    if not isinstance(given, dict):
        raise InputError(f"{what}: a dict of names is needed, {type(given).__name__} was given")
    for name, value in given.items():
        if not isinstance(name, str) or not isinstance(value, kind) or isinstance(value, bool):
            raise InputError(f"{what}: {str(name)[:80]!r}: {type(value).__name__} was given, which is not what belongs there")


def _is_history(row):
    return isinstance(row, tuple | list) and len(row) == 3 and isinstance(row[0], str) and all(isinstance(x, Real) for x in row[1:])
