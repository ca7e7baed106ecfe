"""A rest shape laid into what was seen: turned and shifted first, then bent as little as the data ask for."""

import numpy as np
from scipy import sparse
from scipy.sparse import linalg
from scipy.spatial import cKDTree

from physsim.appearance.nearest import nearest_element
from physsim.physics.solvers.linear import one_blas_thread
from physsim.twin.elements import elements_of, mesh_edges, rest_points
from physsim.twin.rigid import turned_to
from physsim.twin.sight import Sight
from physsim.twin.smooth import given_ways, rough_rows, strain_rows
from physsim.twin.touches import TOLD

BENT = 30, 6  # rounds at the first stiffness, at most: a sheet slips in its own plane slowly; and at others
# spreads of strain and of the roughness of displacements that are tried in turn: solids strain, sheets and rods rather fold
SOFTER = {
    "solid": ((3e-3, 0.03), (1e-2, 0.1), (3e-2, 0.3), (0.1, 1.0), (0.3, 3.0)),
    "sheet": ((1e-3, 0.03), (1e-3, 0.1), (2e-3, 0.3), (5e-3, 0.3), (2e-2, 1.0)),
    "rod": ((1e-3, 0.03), (1e-3, 0.1), (3e-3, 0.3), (1e-2, 1.0)),
}
SWIFT = 4  # whole steps at first
EXPLAINED = 1.2  # misfit over noise at which more strain explains nothing, or over the least that any strain reaches
DENSE = 2.0  # points that are seen over those of the body beyond which what they say of its strain is no chance
TORN = 0.05  # root mean square strain of a pose that hands hold beyond which few points have torn it
CHANCE = 2.0  # by how much the misfit of one point may vary, over that of all: its median has that over the root of their number
EVENLY = 3e-3  # spread of a strain that is linear over the body
GIVES = 0.03  # spread of the strain of a held body under its weight
STRAIGHT = 0.02  # of a point from the middle of its neighbours, over the cell
UNSTRAINED = 2e-3  # root mean square strain of a pose that may stay as it is
RIM = 0.2  # of a cell: how well a mesh's rim can follow that of a cloud
LOST = 4.0  # noises beyond which a point counts for less
MEDIAN = {1: 0.6745, 2: 1.1774, 3: 1.5382}  # median length of as many normal numbers
NEAR = 0.03  # median distance over the extent below which a body lies as it is given


def register(mesh: object, kind: str, guess: np.ndarray, sight: Sight, *, search: bool = True) -> tuple[np.ndarray, float]:
    """Positions of a mesh's points that agree with what was seen.

    Args:
        mesh: TetMesh, TriMesh or Curve.
        kind: of body.
        guess: positions to begin with [m], shape [n, 3].
        sight: Sight.
        search: whether the body may lie anywhere; else it lies near the guess.

    Returns:
        (positions [m], shape [n, 3], misfit: median distance over the noise).
    """
    x = guess
    if search:
        x = turned_to(mesh, x, sight)
    return bent_to(mesh, kind, x, sight)


def bent_to(mesh: object, kind: str, x: np.ndarray, sight: Sight, only_if_near: bool = False) -> tuple[np.ndarray | None, float]:
    """The body bent to what was seen, as stiff as the data allow: ever softer until the misfit is noise; not at all where it is already.

    Args:
        mesh, kind, x, sight: as `register`, whose guess is x.
        only_if_near: give None where most of the points are more than a tenth of the extent away.

    Returns:
        (positions [m], shape [n, 3], misfit: median distance over the noise).
    """
    problem = _Bending(mesh, x, sight)
    misfit = problem.misfit(x)
    if only_if_near and misfit * sight.noise > NEAR * float(np.ptp(x, axis=0).max()):
        return None, misfit
    if misfit <= EXPLAINED and problem.strain(x) < UNSTRAINED and not sight.held:
        return x, misfit
    dense = sight.held and problem.count >= DENSE * len(problem.used)
    found = []
    for level, (strain, rough) in enumerate(SOFTER[kind]):
        x = problem.solve(x, strain, rough, BENT[level > 0])
        if found and sight.held and problem.strain(x) > TORN:  # softer ones may be less strained: they reach what they are drawn to
            continue
        found.append((x, problem.misfit(x)))
        if found[-1][1] <= EXPLAINED and not dense:
            break
    least = min(size for _, size in found)
    # what hangs from a hand sags: where much is seen of it, it is bent until more strain explains no more than chance does
    enough = least * (1.0 + CHANCE / np.sqrt(problem.count)) if dense else EXPLAINED * max(1.0, least)
    return next(fit for fit in found if fit[1] <= enough)


class _Bending:
    """Least squares of strain, roughness of the displacement and misfit."""

    def __init__(self, mesh, x, sight):
        self.sight = sight
        self.elements = elements_of(mesh)
        self.edges = mesh_edges(mesh)
        rest = rest_points(mesh)
        self.lengths = np.linalg.norm(rest[self.edges[:, 1]] - rest[self.edges[:, 0]], axis=1)
        self.cell = float(np.median(self.lengths))
        self.stretched = _smooth_strains(rest, self.edges)
        self.spreads = np.full(self.stretched.shape[1], EVENLY)
        if sight.held:
            self._give(mesh, x, sight.nodes[len(sight.nodes) - sight.held :, 0])
        rough = rough_rows(len(x), self.edges) / self.cell
        self.rough = sparse.kron(rough, sparse.identity(3)).tocsr()
        # where the rest shape is flat or straight its bending counts; elsewhere, and at the rim, how unevenly it is displaced
        flat = np.linalg.norm(rough @ rest, axis=1) < STRAIGHT
        self.bent_from = (rough @ x) * ~flat[:, None]
        self.used = np.unique(self.elements)
        shown = sight.cloud if sight.dense is None else sight.dense
        self.tree = cKDTree(shown) if len(shown) else None
        # points that are scattered over a surface have their next neighbour at half of what they would have on a lattice
        self.spacing = 2.0 * float(np.median(self.tree.query(shown, 2)[0][:, 1])) if len(shown) > 1 else self.cell
        cloud, points = len(sight.cloud), int(np.isfinite(sight.points).all(axis=1).sum())
        # many points on one cell tell of it together, but their errors are partly alike: count at most ten a point of the mesh
        self.count = max(cloud + points - sight.held, 1)
        self.share = min(1.0, 10.0 * len(self.used) / max(cloud + points, 1))

    def _give(self, mesh, x, held):
        """What is held and carries its weight is strained as it gives under loads: that costs little."""
        free = np.setdiff1d(np.arange(len(x)), held)
        if len(free) == 0:
            return
        strains = strain_rows(x, self.edges, self.lengths) @ given_ways(mesh, x, free).reshape(3, -1).T
        strains = strains / np.maximum(np.sqrt(np.mean(strains**2, axis=0)), 1e-30)
        self.stretched = sparse.hstack([self.stretched, sparse.csr_matrix(strains)]).tocsr()
        self.spreads = np.append(self.spreads, np.full(3, GIVES))

    def strain(self, x):
        """Root mean square strain of the edges."""
        along = np.linalg.norm(x[self.edges[:, 1]] - x[self.edges[:, 0]], axis=1)
        return float(np.sqrt(np.mean((along / self.lengths - 1) ** 2)))

    def misfit(self, x):
        """Median distance over what the noise would make it."""
        away = []
        if len(self.sight.cloud):
            lags = np.array([lag for _, lag, _ in self._across(x)])
            away.append(np.linalg.norm(lags, axis=0) / MEDIAN[len(lags)])
        if len(self.sight.points):
            lags = np.einsum("pk,pkc->pc", self.sight.weights, x[self.sight.nodes]) - self.sight.points
            size = np.linalg.norm(lags, axis=1)[: len(lags) - self.sight.held]
            away.append(size[np.isfinite(size)] / MEDIAN[3])
        away = [part for part in away if len(part)]
        size = float(np.median(np.concatenate(away))) / self.sight.noise if away else 0.0
        if self.sight.whole and len(self.sight.cloud):
            beyond = self._reach(x)[1]
            size = max(size, float(np.sqrt((beyond**2).sum() / len(self.used))) / max(self.sight.noise, RIM * self.cell))
        return size

    def _across(self, x):
        """(rows [c, 3 n], distances [c], whether beyond the rim [c]) of the cloud from the body, across it: once, or twice of a rod."""
        cloud = self.sight.cloud
        element, weights, _ = nearest_element(cloud, x[self.elements])
        nodes = self.elements[element]
        arm = np.einsum("pk,pkc->pc", weights, x[nodes]) - cloud
        axes = across_elements(x, nodes)
        rim = (weights < 1e-6).any(axis=1) if len(axes) == 1 else np.zeros(len(arm), bool)
        away = np.linalg.norm(arm, axis=1)
        out = []
        for axis in axes:
            # beyond the rim the nearest point lies on it: then along the way to it
            axis = np.where((rim & (away > 1e-12))[:, None], arm / np.maximum(away, 1e-12)[:, None], axis)
            out.append((_rows(nodes, weights, axis, len(x)), (axis * arm).sum(axis=1), rim))
        return out

    def _reach(self, x):
        """Of a cloud that shows the whole body: rows and distances of the body's points from it, along the surface only."""
        near, number = self.tree.query(x[self.used], min(4, self.tree.n))
        near, number = (part.reshape(len(self.used), -1) for part in (near, number))
        slack = self.spacing + 2.0 * self.sight.noise
        beyond = np.flatnonzero(near[:, 0] > slack)
        arm = x[self.used[beyond]] - self.tree.data[number[beyond]].mean(axis=1)
        nodes = self.used[beyond][:, None]
        rows = _rows(nodes, np.ones(nodes.shape), arm / np.maximum(np.linalg.norm(arm, axis=1), 1e-12)[:, None], len(x))
        return rows, near[beyond, 0] - slack

    def _data(self, x):
        noise, parts = self.sight.noise, []
        if len(self.sight.cloud):
            coarse = max(noise, RIM * self.cell)
            parts += [(rows, lags, np.where(rim, coarse, noise)) for rows, lags, rim in self._across(x)]
            if self.sight.whole:
                parts.append((*self._reach(x), coarse))
        if len(self.sight.points):
            seen = np.flatnonzero(np.isfinite(self.sight.points).all(axis=1))
            nodes, weights = self.sight.nodes[seen], self.sight.weights[seen]
            lags = np.einsum("pk,pkc->pc", weights, x[nodes]) - self.sight.points[seen]
            # what handles are said to hold is known better than anything that is measured
            sure = np.where(seen < len(self.sight.points) - self.sight.held, noise, min(noise, TOLD))
            for axis in np.eye(3):
                parts.append((_rows(nodes, weights, np.tile(axis, (len(seen), 1)), len(x)), lags @ axis, sure))
        return parts

    def solve(self, x, strain, rough, rounds):
        """Gauss-Newton rounds with new nearest points each, at one spread of strain and roughness.

        Strain counts as far as it departs from one that is linear over the body, as weight makes it: that has a wide spread of its own.
        """
        x = x.copy()
        n, q = x.size, self.stretched.shape[1]
        even = np.zeros(q)
        for turn in range(rounds):
            along = np.linalg.norm(x[self.edges[:, 1]] - x[self.edges[:, 0]], axis=1)
            rows = sparse.hstack([strain_rows(x, self.edges, self.lengths), -self.stretched]) / strain
            terms = [(rows, (along / self.lengths - 1 - self.stretched @ even) / strain)]
            terms.append((self._wide(sparse.diags(1.0 / self.spreads), n), even / self.spreads))
            terms.append((_padded(self.rough / rough, q), (self.rough @ x.ravel() - self.bent_from.ravel()) / rough))
            for matrix, lags, noise in self._data(x):
                size = np.abs(lags) / noise
                weight = np.sqrt(self.share) * np.where(size < LOST, 1.0, LOST / np.maximum(size, LOST)) / noise
                terms.append((_padded(sparse.diags(weight) @ matrix, q), weight * lags))
            normal = sum(m.T @ m for m, _ in terms)
            normal = normal + 1e-9 * float(normal.diagonal()[:n].mean()) * sparse.identity(n + q)
            right = sum(m.T @ r for m, r in terms)
            with one_blas_thread():
                found = linalg.spsolve(normal.tocsc(), -right)
            step = found[:n].reshape(x.shape)
            longest = float(np.abs(step).max())
            # points come to lie beyond the rim and leave it again: a whole step swings to and fro
            share = min(1.0 if turn < SWIFT else 0.4, 2.0 * self.cell / max(longest, 1e-30))
            x += share * step
            even += share * found[n:]
            if longest < 0.05 * self.sight.noise:
                break
        return x

    @staticmethod
    def _wide(rows, before):
        return sparse.hstack([sparse.csr_matrix((rows.shape[0], before)), rows]).tocsr()


def _padded(rows, after):
    return sparse.hstack([rows, sparse.csr_matrix((rows.shape[0], after))]).tocsr()


def _smooth_strains(rest, edges):
    """Strains of edges [e, q] of strain tensors that are constant or linear over the body, in the axes along which it extends."""
    arm = rest - rest.mean(axis=0)
    sizes, axes = np.linalg.svd(arm, full_matrices=False)[1:]
    axes = axes[sizes > 1e-6 * sizes[0]]
    along = rest[edges[:, 1]] - rest[edges[:, 0]]
    own = (along / np.linalg.norm(along, axis=1)[:, None]) @ axes.T
    middle = (arm[edges].mean(axis=1)) @ axes.T
    middle /= np.abs(middle).max(axis=0)
    count = len(axes)
    tensor = np.stack([own[:, i] * own[:, j] for i in range(count) for j in range(i, count)], axis=1)
    shape = np.concatenate([np.ones((len(edges), 1)), middle], axis=1)
    return sparse.csr_matrix((tensor[:, :, None] * shape[:, None, :]).reshape(len(edges), -1))


def across_elements(x: np.ndarray, nodes: np.ndarray) -> list[np.ndarray]:
    """Unit directions across triangles [p, 3] (one), or edges [p, 2] of nodes (two), each of shape [p, 3]."""
    along = x[nodes[:, 1]] - x[nodes[:, 0]]
    if nodes.shape[1] == 3:
        across = np.cross(along, x[nodes[:, 2]] - x[nodes[:, 0]])
        return [across / np.maximum(np.linalg.norm(across, axis=1), 1e-30)[:, None]]
    along = along / np.maximum(np.linalg.norm(along, axis=1), 1e-30)[:, None]
    first = np.cross(along, np.eye(3)[np.abs(along).argmin(axis=1)])
    first /= np.linalg.norm(first, axis=1)[:, None]
    return [first, np.cross(along, first)]


def _rows(nodes, weights, axes, count):
    """Sparse rows [p, 3 n] of points that are sums of weights * x[nodes], along axes [p, 3]."""
    p, k = nodes.shape
    rows = np.repeat(np.arange(p), 3 * k)
    columns = (3 * nodes[:, :, None] + np.arange(3)).ravel()
    return sparse.csr_matrix(((weights[:, :, None] * axes[:, None, :]).ravel(), (rows, columns)), (p, 3 * count))
