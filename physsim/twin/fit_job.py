"""A fit of a capture from its frames to an asset, stage by stage; what each stage found is kept, so that a killed fit goes on.

check, read -> body -> fit [-> parts or field] -> look [-> joint fit -> look] -> judge [-> residual] -> asset, report, run
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from physsim.capture.capture import Capture
from physsim.errors import InputError
from physsim.twin.look import fit_look, with_look
from physsim.twin.options import FitRequest
from physsim.twin.rebuild import twin_asset
from physsim.twin.terminal import Progress, fit_line, look_line
from physsim.twin.work import Work

NOTED = 10  # iterations of a fit between two notes of its time
LEAST_FRAMES = 3  # to fit


@dataclass(frozen=True, eq=False)
class Fitted:
    """What a job found.

    Args:
        scene: TwinScene.
        fit: TwinFit.
        asset: with its twin, and its look where one was fitted.
        judged: as `physsim.twin.judged.judge_twin` gives it.
        notes: sentences for the top of the report.
    """

    scene: object
    fit: object
    asset: object
    judged: object
    notes: tuple[str, ...]


class FitJob:
    """A fit of a capture.

    Args:
        capture: Capture, with what is known besides put in.
        request: FitRequest.
        work: Work, which keeps what stages found.
        progress: Progress.
    """

    def __init__(self, capture: Capture, request: FitRequest, work: Work, progress: Progress) -> None:
        self.capture, self.request, self.work, self.progress = capture, request, work, progress
        self.notes = []

    def run(self) -> Fitted:
        """All stages.

        Raises:
            InputError: nothing to fit in the capture, a request that it cannot meet.
            SolverError: no candidate could be simulated.
        """
        scene, start = self._scene()
        scene, fit = self._physics(scene, start)
        asset = look = None
        if self._pictured():
            look = self._look(scene, fit, "look")
            if self.request.joint:
                fit = self._joint(scene, start, fit, with_look(twin_asset(scene, fit), look))
                look = self._look(scene, fit, "look again")
        with self._stage("judge"):
            judged = self._judged(scene, fit, look)
        fit.stages = [*fit.stages, *self.work.stages]
        residual = None if judged.correction is None else judged.correction.as_dict()
        asset = with_look(twin_asset(scene, fit, residual), look)
        return Fitted(scene, fit, asset, judged, tuple(self.notes))

    def _stage(self, name):
        self.progress.begin(name)
        return self.work.stage(name)

    def _scene(self):
        from physsim.twin.body import reconstruct
        from physsim.twin.material import first_material
        from physsim.twin.scene import TwinScene
        from physsim.twin.start import find_start

        request = self.request
        with self._stage("body"):
            body = reconstruct(self.capture, request.kind, request.cell_size, request.seed)
            first, remarks = first_material(body, self.capture.known, self.capture.gravity)
            body = replace(body, remarks=(*body.remarks, *remarks))
            scene = TwinScene(self.capture, body, request.material(first), hold_stiffness=request.hold_stiffness)
            start = find_start(scene, seed=request.seed)
            self.progress.show(f"{body.kind} of {len(scene.soft_body.points):,} points, from {body.source}")
        return scene, start

    def _physics(self, scene, start):
        """(scene, whose body has the rest shape that was found; TwinFit)."""
        from physsim.twin.identification import identify_twin
        from physsim.twin.rest_fit import NEAR, fit_unsagged, starts_sagging

        request, unknowns = self.request, self.request.unknowns(scene)
        given = {"start": start, "seed": request.seed}

        def fitted(name, scene, unknowns):
            options = given | {"unknowns": unknowns, "checkpoint": str(self.work.path(name))}
            options |= {"near": True, "starts": (1.0,)} if name.startswith(NEAR) else {"seeds": request.seeds}
            return self._fitted(name, lambda show: identify_twin(scene, progress=show, **options), scene)

        if starts_sagging(scene, start, unknowns):
            if request.stiffness == "one":
                found = fit_unsagged(scene, start, unknowns, fitted)
                if not isinstance(found, str):
                    return found
            else:
                found = "The rest shape is the one that was seen, weight and all: it is found for a stiffness of one number alone."
            self.notes.append(found)
            fit = fitted("fit with weight", scene, unknowns)
        else:
            fit = fitted("fit", scene, unknowns)
        scene = scene.with_step(fit.dt)
        if request.stiffness == "one":
            return scene, fit
        from physsim.twin.field import COLUMNS, identify_field_twin

        basis = "parts" if request.stiffness == "parts" else "smooth"
        # a small body has fewer smooth functions than a field usually takes
        count = None if basis == "parts" else min(COLUMNS, max(1, len(scene.soft_body.points) - 2))
        given |= {"unknowns": unknowns, "basis": basis, "fit": fit, "count": count, "checkpoint": str(self.work.path(basis))}
        return scene, self._fitted(request.stiffness, lambda show: identify_field_twin(scene, progress=show, **given), scene)

    def _fitted(self, name: str, run: Callable, scene: object) -> object:
        """A fit that is made now, or that was made before a kill."""
        from physsim.twin.twin_file import fit_of, fit_told

        with self._stage(name) as note:
            told = self.work.kept(name)
            if told is not None:
                self.progress.show("done before")
                return fit_of(told)
            units = {key: parameter.unit.replace("-", "") for key, parameter in scene.parameters.items()}
            count = 0

            def show(stage, horizon, iteration, cost, values):
                nonlocal count
                count += 1
                if count % NOTED == 0:
                    note()
                self.progress.show(fit_line(stage, horizon, iteration, cost, values, units))

            fit = run(show)
            self.work.keep(name, fit_told(fit))
        return fit

    def _pictured(self):
        if not self.request.appearance:
            return False
        if not self.capture.colour:
            self.notes.append("The capture has no colour frames, so that the twin has no look of its own.")
            if self.request.joint:
                raise InputError("joint: the capture has no colour frames; leave --joint out")
            return False
        return True

    def _look(self, scene, fit, name):
        from physsim.physics.rods import Curve
        from physsim.twin.identification import predict

        frames = self.capture.fit
        mesh = scene.soft_body.mesh
        radius = scene.thickness / 2 if isinstance(mesh, Curve) and scene.thickness else None
        with self._stage(name) as note:
            positions = predict(scene, fit, frames)[:, : len(mesh.points)]

            def show(done):
                note()
                self.progress.show(look_line(done))

            try:
                return fit_look(
                    self.capture,
                    mesh,
                    dict(zip(frames.tolist(), positions, strict=True)),
                    radius=radius,
                    seed=self.request.seed,
                    checkpoint=self.work.path(f"{name}.npz"),
                    progress=show,
                )
            except InputError as error:
                if self.request.joint:
                    raise
                self.notes.append(f"The twin has no look of its own: {error}.")
                return None

    def _joint(self, scene, start, fit, asset):
        """All terms again with pixels among them, from where the fit ended."""
        from physsim.twin.identification import identify_twin
        from physsim.twin.photometric import PhotometricTerm
        from physsim.twin.terms import default_terms

        request = self.request
        terms = default_terms(scene, seed=request.seed) + [PhotometricTerm(self.capture, asset, name) for name in self.capture.colour]
        for term in terms:
            term.sigma = max(term.sigma, fit.noise.get(term.name, 0.0))
        unknowns = [u.started_at(fit.values[u.name]) if u.name in fit.values else u for u in request.unknowns(scene)]
        given = {"start": start, "starts": (1.0,), "horizons": (None,), "seed": request.seed, "checkpoint": str(self.work.path("joint"))}
        found = self._fitted("joint fit", lambda show: identify_twin(scene, terms, unknowns, progress=show, **given), scene)
        found.history, found.spread = [*fit.history, *found.history], fit.spread
        self.notes.append("Pixels took part in the fit, drawn through the look that was fitted before.")
        return found

    def _judged(self, scene, fit, look):
        from physsim.twin.judged import judge_twin
        from physsim.twin.pictures import painter

        draw = None
        if look is not None:
            draw = painter(with_look(twin_asset(scene, fit), look))
        return judge_twin(scene, fit, residual=self.request.residual_correction, draw=draw)


def enough_to_fit(capture: Capture) -> None:
    """Refuse a capture whose frames to fit hold too little.

    Raises:
        InputError: fewer than three frames to fit; fewer than three that show the body.
    """
    if len(capture.fit) < LEAST_FRAMES:
        raise InputError(
            f"capture {capture.name!r}: {len(capture.fit)} frames to fit; at least {LEAST_FRAMES} are needed (`fit` in capture.json)"
        )
    there = np.zeros(len(capture.fit), bool)
    if capture.tracks is not None:
        there |= capture.tracks.visible[capture.fit].any(axis=1)
    for k, frame in enumerate(capture.fit):
        if there.sum() >= LEAST_FRAMES:
            return
        there[k] |= len(capture.cloud(int(frame))) > 0
    if there.sum() < LEAST_FRAMES:
        seen = f"the body is seen in {there.sum()} of {len(capture.fit)} frames to fit"
        raise InputError(f"capture {capture.name!r}: {seen}; at least {LEAST_FRAMES} are needed: are its masks empty, or its depth?")
