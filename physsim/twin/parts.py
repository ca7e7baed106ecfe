"""Parts of a body: patches to begin with, patches sorted into parts as the data allow, and borders that move between cells."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy.cluster.vq import kmeans2
from scipy.spatial import cKDTree

from physsim.errors import InputError
from physsim.physics.fields import Cells

ROUND = 30  # iterations of the clustering of cells
COHERENCE = 0.01  # share of the misfit of one part that each patch's side of a border costs
MOST_STARTS = 500  # of the search for parts
EXPECTED = 1.5  # standard deviation of a part's log value about what its patches say by themselves
SPAN = 8.0  # of log values that a merged part may have about the constant part of the field: a factor of 3,000


def patches(cells: Cells, count: int, seed: int = 0) -> np.ndarray:
    """Compact patches of cells of about the same extent, numbered without gaps, shape [m]; `count` of them or a few less."""
    count = min(int(count), len(cells))
    if count < 1:
        raise InputError(f"patches: count = {count}; at least one is needed")
    centres = cells.centres()
    _, labels = kmeans2(centres, count, iter=ROUND, minit="++", rng=np.random.default_rng(seed))
    return np.unique(labels, return_inverse=True)[1].reshape(-1)


def neighbours(cells: Cells, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of labels [k, 2] whose cells border on each other, and the common border's area, length or number, shape [k]."""
    pairs, sizes = cells.borders()
    ends = np.sort(labels[pairs], axis=1)
    apart = ends[:, 0] != ends[:, 1]
    found, number = np.unique(ends[apart], axis=0, return_inverse=True)
    return found, np.bincount(number.ravel(), sizes[apart], minlength=len(found))


@dataclass(frozen=True, eq=False)
class Partition:
    """Patches sorted into parts.

    Args:
        labels: part of each patch, numbered by falling size, shape [patches].
        values: log value of each part that fits best in the linear model, shape [parts].
        cost: of the linear model, without what borders cost.
    """

    labels: np.ndarray
    values: np.ndarray
    cost: float


def partitions(triangle: np.ndarray, target: np.ndarray, best: np.ndarray, sizes: np.ndarray, sides: tuple, most: int) -> list[Partition]:
    """The best partitions of patches into 1, 2, ... `most` parts in a linear model.

    minimise over labels and values   |R v(labels) - target|^2 / 2 + weak pull to `best` + COHERENCE * cost of one part * border

    The border is counted in patches' sides, so that patches of which the data say little go with what surrounds them. Labels descend by
    the best move of one patch, from every way of cutting the sorted patches' own values into parts. Parts need not be connected: the same
    stuff may be in two places.

    Args:
        triangle: R, shape [rows, patches].
        target: shape [rows].
        best: the patches' own values, shape [patches].
        sizes: of the patches.
        sides: pairs of patches that border on each other [k, 2], and the borders' areas [k].
        most: of parts.

    Returns:
        Partition of 1, 2, ... parts, at most as many as there are patches.
    """
    weak = 2.0 * sizes / sizes.sum() / EXPECTED**2
    normal, right = triangle.T @ triangle + np.diag(weak), triangle.T @ target + weak * best
    constant = 0.5 * float(target @ target + weak @ best**2)
    found = []
    for count in range(1, min(most, len(best)) + 1):
        labels = _cuts(best, count)
        if count > 1:
            toll = COHERENCE * found[0].cost / max(float(np.mean(sides[1])), 1e-300)
            labels = _descended(labels, count, normal, right, (sides[0], toll * sides[1]))
        costs = _costs(labels, count, normal, right, None if count == 1 else (sides[0], toll * sides[1]))
        found.append(_ordered(labels[int(np.argmin(costs))], count, normal, right, constant, sizes))
    return found


def _cuts(best, count):
    """Labels [starts, patches] from all ways to cut the sorted values into parts."""
    if count == 1:
        return np.zeros((1, len(best)), int)
    rank = np.argsort(np.argsort(best, kind="stable"))
    cuts = np.array(list(combinations(range(1, len(best)), count - 1)), dtype=int).reshape(-1, count - 1)
    if len(cuts) > MOST_STARTS:
        cuts = cuts[np.linspace(0, len(cuts) - 1, MOST_STARTS).astype(int)]
    return (rank[None, :, None] >= cuts[:, None, :]).sum(axis=2)


def _gathered(labels, count, normal, right):
    members = (labels[:, :, None] == np.arange(count)).astype(float)
    matrix = np.einsum("npa,pq,nqb->nab", members, normal, members, optimize=True)
    return members, matrix + 1e-12 * np.trace(normal) * np.eye(count), np.einsum("npa,p->na", members, right)


def _costs(labels, count, normal, right, sides):
    """Cost of each labelling [starts], up to a constant; infinite where a part is empty."""
    members, matrix, vector = _gathered(labels, count, normal, right)
    cost = -0.5 * np.einsum("na,na->n", vector, np.linalg.solve(matrix, vector[..., None])[..., 0])
    if sides is not None:
        pairs, tolls = sides
        cost = cost + (labels[:, pairs[:, 0]] != labels[:, pairs[:, 1]]) @ tolls
    return np.where((members.sum(axis=1) > 0).all(axis=1), cost, np.inf)


def _descended(labels, count, normal, right, sides):
    """Labels [starts, patches] after best moves of single patches, until none helps."""
    n = labels.shape[1]
    moves = np.stack(np.meshgrid(np.arange(n), np.arange(count), indexing="ij"), axis=-1).reshape(-1, 2)
    for _ in range(4 * n):
        trials = np.repeat(labels[:, None], len(moves), axis=1)
        trials[:, np.arange(len(moves)), moves[:, 0]] = moves[:, 1]
        costs = _costs(trials.reshape(-1, n), count, normal, right, sides).reshape(len(labels), -1)
        now = _costs(labels, count, normal, right, sides)
        choice = costs.argmin(axis=1)
        better = costs[np.arange(len(labels)), choice] < now - 1e-9 * np.abs(now)
        if not better.any():
            break
        labels = np.unique(np.where(better[:, None], trials[np.arange(len(labels)), choice], labels), axis=0)
    return labels


def _ordered(labels, count, normal, right, constant, sizes):
    _, matrix, vector = _gathered(labels[None], count, normal, right)
    values = np.linalg.solve(matrix[0], vector[0])
    order = np.argsort(-np.bincount(labels, sizes, minlength=count), kind="stable")
    middle = float(np.median(values))
    cost = constant - 0.5 * float(vector[0] @ values)
    return Partition(np.argsort(order)[labels], np.clip(values[order], middle - SPAN, middle + SPAN), cost)


def signed_distances(cells: Cells, labels: np.ndarray) -> np.ndarray:
    """Distance of each cell's centre from the border of each part [m], positive inside, shape [m, parts].

    A part without a border (it is the whole body) is as far away as the body is large.
    """
    pairs, _ = cells.borders()
    centres = cells.centres()
    count = int(labels.max()) + 1
    out = np.full((len(cells), count), float(np.linalg.norm(np.ptp(cells.points, axis=0))))
    for part in range(count):
        inside = labels == part
        across = inside[pairs[:, 0]] != inside[pairs[:, 1]]
        if across.any():
            sides = centres[pairs[across]].mean(axis=1)
            out[:, part] = cKDTree(sides).query(centres)[0]
        out[~inside, part] *= -1
    return out


def tidy(cells: Cells, labels: np.ndarray, least: float) -> np.ndarray:
    """Labels in which islands smaller than a share `least` of the body have gone over to the part that surrounds them most."""
    pairs, sizes = cells.borders()
    labels = np.array(labels)
    for _ in range(len(np.unique(labels)) + 10):
        island = _islands(len(cells), pairs, labels)
        volume = np.bincount(island, cells.sizes)
        small = np.flatnonzero(volume < least * cells.sizes.sum())
        if not len(small):
            break
        worst = small[np.argmin(volume[small])]
        mine = island == worst
        border = mine[pairs[:, 0]] != mine[pairs[:, 1]]
        outer = np.where(mine[pairs[border, 0]], pairs[border, 1], pairs[border, 0])
        if not len(outer):
            break
        labels[mine] = np.argmax(np.bincount(labels[outer], sizes[border]))
    return np.unique(labels, return_inverse=True)[1].reshape(-1)


def _islands(count, pairs, labels):
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    same = pairs[labels[pairs[:, 0]] == labels[pairs[:, 1]]]
    graph = coo_matrix((np.ones(len(same)), (same[:, 0], same[:, 1])), (count, count))
    return connected_components(graph, directed=False)[1]
