"""From a fit to what an asset keeps of it, and back to a scene: of the capture that was fitted, or of another recording of the thing."""

import copy
from dataclasses import replace

import numpy as np
from scipy.spatial.transform import Rotation

from physsim.appearance.asset import Asset
from physsim.capture.capture import Capture
from physsim.errors import SolverError
from physsim.physics.archive import material_with
from physsim.twin.body import SoftBody, reconstruct
from physsim.twin.fingerprint import capture_fingerprint
from physsim.twin.holds import Hold
from physsim.twin.identification import FINE_WAYS, identify_twin
from physsim.twin.results import TwinFit
from physsim.twin.scene import TwinScene, step_between
from physsim.twin.start import find_start
from physsim.twin.twin_file import Twin, twin_of, with_twin
from physsim.twin.unknowns import Unknown, pose_unknowns, start_unknowns, time_unknown

ROOM = 1e-6  # that a number which is known already has as an unknown [m, rad, s]


def twin_asset(scene: TwinScene, fit: TwinFit, residual: dict | None = None, name: str | None = None) -> Asset:
    """The asset of a fitted scene: its body with the material that was found, and the Twin beside it.

    Args:
        scene: that was fitted.
        fit: TwinFit.
        residual: correction of the residual, as `ResidualCorrection.as_dict` gives it; None: none was made.
        name: of the asset; None: the capture's.

    Raises:
        InputError: something in the fit that cannot be written.
    """
    capture, body = scene.capture, scene.soft_body
    told = {"name": capture.name, "source": capture.source, "fingerprint": capture_fingerprint(capture)}
    twin = Twin(
        fit=fit,
        kind=body.kind,
        pose=body.pose,
        material=scene.material,
        dt=scene.dt if fit.dt is None else fit.dt,
        source=body.source,
        remarks=list(scene.remarks),
        holds={hold.handle: {"points": hold.points, "local": hold.local, "begin": hold.begin, "end": hold.end} for hold in scene.holds},
        scene={"contact": scene.contact, "integrator": scene.integrator, "hold_stiffness": _tether(scene)},
        capture=told | {"frames": capture.frame_count, "seconds": float(np.ptp(capture.times))},
        residual=residual,
    )
    found = material_with(scene.body, fitted_parameters(scene, fit))
    return with_twin(Asset(name or capture.name or "twin", body.mesh, found), twin)


def fitted_parameters(scene: TwinScene, fit: TwinFit) -> object:
    """ParameterSet of a scene's model with what a fit found."""
    model = scene.model
    values = {name: np.broadcast_to(value, (model.envs, *np.shape(value))) for name, value in fit.settings.items()}
    return model.parameters.replace(values)


def rebuilt(asset: Asset, capture: Capture) -> tuple[TwinScene, TwinFit]:
    """A scene in which an asset's fit can be simulated, by `physsim.twin.identification.predict`.

    Of the capture that was fitted, the scene and the fit are what they were. In another recording of the same thing the body is laid where
    that one's first frames show it, held by its handles, and begins as these tell; material, and what was found of the cameras, stay.

    Args:
        asset: with a twin.
        capture: the one that was fitted, or another.

    Returns:
        (TwinScene, TwinFit).

    Raises:
        InputError: an asset without a twin, or with a damaged one; a capture in which the body cannot be laid.
    """
    twin = twin_of(asset)
    if capture_fingerprint(capture) == twin.capture.get("fingerprint"):
        return scene_of(asset, twin, capture), twin.fit
    seen = replace(capture, mesh=asset.mesh, kind=twin.kind)
    body = reconstruct(seen, twin.kind)
    turn, shift = (np.asarray(part, float) for part in twin.fit.camera_pose)
    body = replace(body, pose=body.pose @ turn.T + shift)  # from the cameras' world to that of the handles, which hold it there
    scene = TwinScene(seen, body, asset.material, dt=step_between(seen.times, twin.dt), **_options(twin))
    return scene, begun(scene, twin.fit)


def scene_of(asset: Asset, twin: Twin, capture: Capture) -> TwinScene:
    """The scene that was fitted, from the capture that it was fitted to."""
    body = SoftBody(twin.kind, asset.mesh, twin.pose, twin.source, ())
    holds = [Hold(name, told["points"], told["local"], told["begin"], told["end"]) for name, told in twin.holds.items()]
    return TwinScene(capture, body, twin.material, dt=twin.dt, holds=holds, **_options(twin))


def _tether(scene):
    """Stiffness of the holds [N/m]; None: they are exact."""
    found = scene.parameters.get("hold_stiffness")
    return None if found is None else float(np.mean(found.value))


def _options(twin):
    return {key: twin.scene[key] for key in ("contact", "integrator", "hold_stiffness") if key in twin.scene}


def begun(scene: TwinScene, fit: TwinFit, seed: int = 0) -> TwinFit:
    """The fit with the start of another scene, which its frames to fit tell; the material stays, and where cameras and clocks were found.

    At rest it is the equilibrium of the material that was found; in motion, place and velocity that the simulation follows best. Where none
    can be simulated it is what the first frames say by themselves.

    Args:
        scene: TwinScene.
        fit: TwinFit.
        seed: of the choice of points.
    """
    start = find_start(scene, seed=seed)
    plain = replace(fit, start=(start.positions, start.velocities), start_time=float(start.time), dt=scene.dt)
    if start.at_rest:
        state, report = scene.static(strict=False).solve(start.state(scene), scene.control, fitted_parameters(scene, fit))
        return replace(plain, start=(state.x.numpy().reshape(-1, 3), start.velocities)) if np.all(report.converged) else plain
    if not len(start.ways):
        return plain
    known = copy.copy(scene)
    known.model = replace(scene.model, parameters=fitted_parameters(scene, fit))
    middle = start.positions[scene.body.particles]
    # here they are what is asked for; in a fit of a material they are a nuisance
    wanted = [replace(u, wanted=True) for u in start_unknowns(min(FINE_WAYS, len(start.ways)), float(np.ptp(middle, axis=0).max()))]
    wanted += _held_fast(fit, middle.mean(axis=0))
    try:
        found = identify_twin(known, None, wanted, start=start, starts=(1.0,), ways=0, horizons=(None,), halvings=0, seed=seed)
    except SolverError:
        return plain
    return replace(plain, start=found.start, start_time=found.start_time)


def _held_fast(fit: TwinFit, centre: np.ndarray) -> list[Unknown]:
    """Cameras' pose and clock as a fit found them, as unknowns that have no room to move; none where it left them alone."""
    turn, shift = (np.asarray(part, float) for part in fit.camera_pose)
    values = np.concatenate([Rotation.from_matrix(turn).as_rotvec(), shift + turn @ centre - centre])
    pairs = [(u, v) for u, v in zip(pose_unknowns(), values, strict=True) if not np.allclose(turn, np.eye(3)) or shift.any()]
    pairs += [(time_unknown(), fit.time_offset)] if fit.time_offset != 0.0 else []
    return [replace(u, variable=replace(u.variable, start=v, lower=v - ROOM, upper=v + ROOM), prior=ROOM, wanted=False) for u, v in pairs]
