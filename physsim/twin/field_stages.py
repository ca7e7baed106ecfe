"""The stages in which a field of stiffness is fitted, and the problem that each of them solves."""

from dataclasses import dataclass, replace

import numpy as np

from physsim.physics.fields import cells_of, region_basis, smooth_columns
from physsim.real2sim.least_squares import least_squares
from physsim.twin.checkpoint import Remembered
from physsim.twin.field_maps import ColumnField
from physsim.twin.parts import neighbours, patches
from physsim.twin.problem import TwinProblem
from physsim.twin.unknowns import DAMPINGS, Unknown

STRENGTH = 1.5  # standard deviation that is assumed of the smoothest variation of log stiffness
LEVELS = (4, 8)  # columns of a field that are fitted before all of them
MEMORY = 4  # errors of frames are taken to be alike over up to this part of the motion
SHARES = (1.0, 0.5, 0.25)  # of the way from one stuff to several, at which fits of borders may begin
FIELD = {"max_iterations": 4, "relative_decrease": 1e-2, "gradient": 1e-2, "step_size": 2e-2, "damping": 3e-2}


class FieldProblem(TwinProblem):
    """A fit some of whose unknowns make a field of factors on parameters that have a value a cell.

    Args:
        scene, terms, start, frames: as `TwinProblem`.
        others: Unknowns beside the field.
        field: ColumnField or BorderField.
        base: name of a model's parameter -> values that the field multiplies, shape [cells].
        along: names of parameters of a value a cell that go along with the field, whatever the other unknowns make of them.
    """

    def __init__(
        self,
        scene: object,
        terms: list,
        others: list,
        field: object,
        base: dict,
        start: object,
        frames: np.ndarray | None = None,
        along: tuple = (),
    ) -> None:
        made = zip(field.variables(), field.priors, strict=True)
        own = [Unknown(v, prior=s if np.isfinite(s) else None, wanted=v.name == field.lead) for v, s in made]
        super().__init__(scene, terms, [*others, *own], start, frames)
        self.field, self.base, self.along = field, base, along
        self.own = slice(len(others), len(others) + len(own))
        middle = [float(u.variable.scaled(np.mean(u.variable.start))) for u in others]
        self.assume(np.concatenate([middle, np.zeros(len(own))]))
        self._z = None

    def settings(self, scaled: np.ndarray) -> object:
        """As of `TwinProblem`."""
        variables = self.variables[self.own]
        lower = np.array([float(v.scaled(v.lower)) for v in variables])
        upper = np.array([float(v.scaled(v.upper)) for v in variables])
        self._z = np.clip(scaled[:, self.own], lower, upper)
        return super().settings(scaled)

    def _feed(self, u, i, value, slope, params, tangents, p):
        if i < self.own.start:
            super()._feed(u, i, value, slope, params, tangents, p)
            return
        if i > self.own.start:
            return  # all of the field is fed at once
        factors = np.exp(np.stack([self.field.log_values(z) for z in self._z]))
        slopes = np.stack([self.field.slopes(z) for z in self._z])
        for name in self.along:
            before = params.get(name, self.model.parameters[name])
            params[name] = before * factors
            tangents[name] = tangents.get(name, np.zeros((p, *factors.shape))) * factors
        for name, base in self.base.items():
            params[name] = base * factors
            tangents[name] = np.zeros((p, *factors.shape))
        for name in (*self.base, *self.along):
            tangents[name][self.own] = np.moveaxis(slopes * params[name][..., None], -1, 0)


@dataclass(frozen=True, eq=False)
class Stage:
    """A field that has been fitted.

    Args:
        problem: FieldProblem at its end.
        z: of the field.
        others: Unknowns beside it, started where they ended.
        result: LeastSquaresResult.
    """

    problem: FieldProblem
    z: np.ndarray
    others: list
    result: object

    def data(self) -> tuple[np.ndarray, np.ndarray]:
        """(triangle [q, q], target [q]) of the linear model: misfit |triangle z - target|^2 / 2, other unknowns eliminated, no priors."""
        rows = len(self.result.residuals[0]) - self.problem.prior_rows
        jacobian, residuals = self.result.jacobian[0][:rows], self.result.residuals[0][:rows]
        first = self.problem.own.start
        priors = [u.prior for u in self.problem.unknowns[:first]]
        held = np.diag([0.0 if s is None else 1.0 / s for s in priors]) if first else np.zeros((0, 0))
        whole = np.column_stack([jacobian, residuals])
        whole = np.concatenate([whole, np.pad(held, ((0, 0), (0, whole.shape[1] - first)))])
        triangle = np.linalg.qr(whole, mode="r")
        block = triangle[first : whole.shape[1] - 1]
        matrix = block[:, first:-1]
        return matrix, matrix @ self.z - block[:, -1]

    def misfit(self) -> float:
        """Cost without what is assumed beforehand."""
        rows = len(self.result.residuals[0]) - self.problem.prior_rows
        return 0.5 * float(np.sum(self.result.residuals[0][:rows] ** 2))

    def chance(self) -> float:
        """What the field's columns beyond the constant one lower the cost by if there is nothing to be found but errors.

        Of white noise of the size that the terms state half a unit a column. Else what follows from the sum S of the frames' gradients'
        products, each with itself and with those of the frames close by, tr(H^-1 S) / 2 with the normal matrix H: errors of the model and
        of the mesh are alike in neighbouring points and frames.
        """
        p, frames = len(self.problem.unknowns), len(self.problem.frames)
        rows = frames * (p + 1)
        jacobian = self.result.jacobian[0][:rows]
        jacobian = jacobian / np.maximum(np.linalg.norm(jacobian, axis=0), 1e-300)
        normal = jacobian.T @ jacobian
        pulls = (jacobian * self.result.residuals[0][:rows, None]).reshape(frames, p + 1, p).sum(axis=1)
        spread = pulls.T @ pulls
        apart = frames // MEMORY
        for lag in range(1, apart + 1):
            product = pulls[lag:].T @ pulls[:-lag]
            spread += (1 - lag / (apart + 1)) * (product + product.T)
        few = self.problem.own.start + 1
        all_of, first = (float(np.trace(np.linalg.pinv(normal[:n, :n], rcond=1e-10) @ spread[:n, :n])) for n in (p, few))
        return 0.5 * max(1.0, len(self.z) - 1.0, all_of - first)

    def followed(self, index: int, step: float) -> tuple[np.ndarray, list]:
        """(z, other unknowns) with one of the field's unknowns moved by a step, and the rest as the linear model has it best then."""
        moving = self.problem.own.start + index
        rest = np.arange(len(self.problem.unknowns)) != moving
        jacobian = self.result.jacobian[0]
        after = self.result.residuals[0] + step * jacobian[:, moving]
        scale = np.maximum(np.linalg.norm(jacobian[:, rest], axis=0), 1e-300)
        change = np.linalg.lstsq(jacobian[:, rest] / scale, -after, rcond=1e-6)[0] / scale
        limits = np.array([u.variable.size if u.prior is None else min(u.prior, u.variable.size) for u in self.problem.unknowns])
        change *= min(1.0, 1.0 / max(1e-300, float((np.abs(change) / limits[rest]).max())))  # further the linear model does not reach
        scaled = self.result.scaled[0].copy()
        scaled[moving] += step
        scaled[rest] += change
        variables = self.problem.variables
        scaled = np.clip(scaled, [float(v.scaled(v.lower)) for v in variables], [float(v.scaled(v.upper)) for v in variables])
        others = [u.started_at(float(u.variable.user(v))) for u, v in zip(self.others, scaled, strict=False)]
        return scaled[self.problem.own], others


class FieldStages:
    """What all stages share."""

    def __init__(self, scene, terms, names, others, start, fit, stated, progress):
        self.scene, self.terms, self.names, self.others = scene, terms, names, others
        self.fit, self.stated, self.progress = fit, stated, progress
        # a body at rest is bound where it was seen to rest, not where one stuff would let it hang
        self.start = start if start.at_rest else replace(start, positions=fit.start[0], velocities=fit.start[1])
        self.cells = cells_of(scene.soft_body.mesh)
        values = scene.model.parameters
        self.base = {}
        for name in names:
            key = scene.parameters[name].name
            self.base[key] = np.asarray(fit.settings.get(key, values[key].reshape(-1, *values.find(key).shape)[0]), float).copy()
        shape = (len(self.cells),)
        self.damping = [n for n in DAMPINGS if n in scene.parameters and scene.parameters[n].shape == shape]
        self.along = tuple(scene.parameters[n].name for n in self.damping)
        self.history = list(fit.history)

    def cell(self):
        """Edge of a regular cell of the mean size [m]."""
        size = self.cells.sizes.mean()
        return {4: (6 * np.sqrt(2) * size) ** (1 / 3), 3: np.sqrt(4 / np.sqrt(3) * size), 2: size}[self.cells.corners.shape[1]]

    def climb(self, name, field):
        """Fit a field of columns, coarse ones first: what varies over the whole body is found before what it would be mistaken for."""
        others, count = self.others, len(field.starts)
        found = np.zeros(0)
        for width in sorted({*(w for w in LEVELS if w < count), count}):
            starts = np.concatenate([found, np.zeros(width - len(found))])
            stage = self.run(name, field.first(width).started_at(starts), others)
            found, others = stage.z, stage.others
        return stage

    def run(self, name, field, others, options=FIELD, weigh=True):
        """Fit a field; the terms' noise is found anew at its end, unless costs are to be compared."""
        problem = FieldProblem(self.scene, self.terms, others, field, self.base, self.start, along=self.along)
        length = float(self.scene.capture.times[problem.frames[-1]] - self.start.time)
        remembered = Remembered(None)
        result = least_squares(remembered.calls(problem), problem.variables, progress=self._shown(name, length), **options)
        if weigh:
            self.weigh(remembered.noise_at(result.scaled[0]))
        others = [u.started_at(float(result.theta[0, i])) for i, u in enumerate(others)]
        return Stage(problem, result.scaled[0][problem.own], others, result)

    def between(self, field, others):
        """(values, other unknowns) on the way from one stuff to a field of borders and its others, from where the cost is least.

        What linear models say of stuffs that differ much may lie far beyond where those hold.
        """
        best = np.inf, field.values, others
        for share in SHARES:
            less = replace(field, values=share * field.values)
            mixed = []
            for u, v in zip(self.others, others, strict=True):
                one, two = (float(w.variable.scaled(np.mean(w.variable.start))) for w in (u, v))
                mixed.append(v.started_at(float(v.variable.user((1 - share) * one + share * two))))
            problem = FieldProblem(self.scene, self.terms, mixed, less, self.base, self.start, along=self.along)
            scaled = [float(v.scaled(np.mean(v.start))) for v in problem.variables]
            cost = 0.5 * float(np.sum(problem(np.array([scaled]))[0] ** 2))
            if cost < best[0]:
                best = cost, less.values, mixed
        return best[1:]

    def _shown(self, name, length):
        def show(iteration, cost, theta):
            self.history.append((name, length, float(cost[0])))
            if self.progress is not None:
                self.progress(name, length, iteration, float(cost[0]), {})

        return show

    def weigh(self, shown):
        """Set each term's noise to what residuals show, never below what was stated; returns the largest relative change."""
        change = 0.0
        for term, stated, value in zip(self.terms, self.stated, shown, strict=True):
            if np.isfinite(value):
                new = max(stated, float(value))
                change = max(change, abs(new / term.sigma - 1.0))
                term.sigma = new
        return change

    def smooth(self, count):
        """A field of smooth columns."""
        columns, rates = smooth_columns(self.cells, count)
        return self._graded(columns, rates, "field", self.names[0])

    def regions(self, labels):
        """A field with one value in each given region: the first one's, and the others' over it."""
        columns = region_basis(labels)
        columns[:, 0] = 1.0
        names = (self.names[0], *(f"region[{i}]" for i in range(1, columns.shape[1])))
        priors = np.array([np.inf, *[STRENGTH] * (len(names) - 1)])
        return ColumnField(columns, names, np.zeros(len(names)), priors)

    def patched(self, count, seed):
        """(field that is constant on patches, in modes of their graph; labels [cells]; modes [patches, patches])."""
        labels = patches(self.cells, count, seed)
        pairs, areas = neighbours(self.cells, labels)
        n = int(labels.max()) + 1
        graph = np.zeros((n, n))
        graph[pairs[:, 0], pairs[:, 1]] = graph[pairs[:, 1], pairs[:, 0]] = areas
        rates, modes = np.linalg.eigh(np.diag(graph.sum(axis=1)) - graph)
        modes *= np.sqrt(n)
        modes[:, 0] = 1.0
        return self._graded(region_basis(labels) @ modes, np.maximum(rates, 0.0), "patches", self.names[0]), labels, modes

    @staticmethod
    def _graded(columns, rates, name, lead):
        count = columns.shape[1]
        priors = np.full(count, np.inf)
        if count > 1:
            priors[1:] = STRENGTH * np.sqrt(rates[1] / np.maximum(rates[1:], rates[1]))
        return ColumnField(columns, (lead, *(f"{name}[{i}]" for i in range(1, count))), np.zeros(count), priors)
