"""What is looked at: a Run, from a folder or from an Asset."""

import os
from pathlib import Path

import numpy as np

from physsim.appearance.run import Run, RunBody
from physsim.appearance.run_folder import NAME, is_run
from physsim.errors import InputError
from physsim.viewer.live import hold_points

ASSET = "asset.json"


def subject(thing, hold="auto"):
    """The Run that a viewer or a film shows.

    Args:
        thing: Run, Asset, or the folder of either; of what `physsim grasp` and `physsim demo` write the folder or its "run".
        hold: which layer of an Asset stays in place while it is pulled at, see `hold_points`.

    Raises:
        InputError: something else, or a damaged folder.
    """
    if isinstance(thing, Run):
        return thing
    if isinstance(thing, str | os.PathLike):
        return _read(Path(thing), hold)
    from physsim.appearance.asset import Asset

    if isinstance(thing, Asset):
        return asset_run(thing, hold)
    raise InputError(f"a Run, an Asset or the folder of either is needed, {type(thing).__name__} was given")


def _read(path, hold):
    if not path.is_dir():
        raise InputError(f"{path}: no such folder; the folder of a run or of an asset is needed")
    for folder in (path, path / "run"):
        if is_run(folder):
            return Run.load(folder)
    if (path / ASSET).is_file():
        from physsim.appearance.asset import Asset

        return asset_run(Asset.load(path), hold)
    raise InputError(f"{path}: it holds neither {NAME} (of a run) nor {ASSET} (of an asset)")


def asset_run(asset, hold="auto"):
    """A run of one frame: an Asset at rest, held as `hold_points` says."""
    mesh, masses = asset.mesh, None
    if asset.mass is not None:
        masses = asset.mass if np.ndim(asset.mass) else np.full(len(mesh.points), asset.mass / len(mesh.points))
    body = RunBody(asset.name, mesh, asset.material, masses, hold_points(mesh, hold), asset)
    return Run.of_parts([0.0], [body], [mesh.points[None]])
