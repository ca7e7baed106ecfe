"""Parts of a body: patches to begin with, patches merged as the data allow, and borders that move between cells."""

from dataclasses import dataclass

import numpy as np
from scipy.cluster.vq import kmeans2
from scipy.spatial import cKDTree

from physsim.errors import InputError
from physsim.physics.fields import Cells

ROUND = 30  # iterations of the clustering of cells
APART = 2.0  # how much dearer it is to merge parts that join nowhere
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
class Merged:
    """Patches merged into parts.

    Args:
        labels: part of each patch, numbered by falling size, shape [patches].
        values: log value of each part that fits best in the linear model, shape [parts].
        cost: of the linear model beyond that of free patches.
    """

    labels: np.ndarray
    values: np.ndarray
    cost: float


def merge_path(
    triangle: np.ndarray, target: np.ndarray, best: np.ndarray, sizes: np.ndarray, adjacent: np.ndarray, most: int
) -> list[Merged]:
    """The best partitions into 1, 2, ... `most` parts that merging patches two by two leads to.

    The misfit is |R c - target|^2 / 2 beyond its least, c being the patches' log values. Merging makes some of them equal; at each
    step the two parts are merged whose merging raises the misfit least, one that join nowhere as if it were twice as much. Parts need
    not be connected: the same stuff may be in two places.

    Args:
        triangle: R, shape [rows, patches].
        target: shape [rows].
        best: the patches' values where the data do not decide, shape [patches].
        sizes: of the patches, for the order of the parts.
        adjacent: pairs of patches that border on each other, shape [k, 2].
        most: of parts.

    Returns:
        Merged of 1, 2, ... parts, at most as many as there are patches.
    """
    members = np.eye(len(best))
    beside = np.zeros((len(best), len(best)))
    beside[adjacent[:, 0], adjacent[:, 1]] = beside[adjacent[:, 1], adjacent[:, 0]] = 1.0
    kept = []
    while True:
        values, cost = _fitted(triangle @ members, target, members, sizes, best)
        if members.shape[1] <= most:
            kept.append(_ordered(members, values, cost, sizes))
        if members.shape[1] == 1:
            return kept[::-1]
        members = _merge_once(triangle, target, members, sizes, best, beside)


def _fitted(design, target, members, sizes, best):
    """Values of parts and their cost: least squares, with a weak pull to the patches' own values where the data say little."""
    weak = _pull(members, sizes)
    own = members.T @ (sizes * best) / (members.T @ sizes)
    values = np.linalg.solve(design.T @ design + np.diag(weak), design.T @ target + weak * own)
    return values, 0.5 * float(((design @ values - target) ** 2).sum() + (weak * (values - own) ** 2).sum())


def _pull(members, sizes):
    """What is assumed of a part's value, 1 / variance, shape [parts]: a part of half the body may lie off by EXPECTED."""
    return 2.0 * (members.T @ sizes) / sizes.sum() / EXPECTED**2


def _merge_once(triangle, target, members, sizes, best, beside):
    count = members.shape[1]
    first, second = np.triu_indices(count, 1)
    # misfit of "value of a = value of b" from the quadratic model without it: (a - b)^2 / (2 variance of a - b)
    design = triangle @ members
    values, _ = _fitted(design, target, members, sizes, best)
    inverse = np.linalg.inv(design.T @ design + np.diag(_pull(members, sizes)))
    variance = inverse[first, first] + inverse[second, second] - 2 * inverse[first, second]
    rise = (values[first] - values[second]) ** 2 / np.maximum(variance, 1e-300)
    joined = (members.T @ beside @ members)[first, second] > 0
    k = int(np.argmin(rise * np.where(joined, 1.0, APART)))
    a, b = first[k], second[k]
    out = np.delete(members, b, axis=1)
    out[:, a] += members[:, b]
    return out


def _ordered(members, values, cost, sizes):
    order = np.argsort(-(members * sizes[:, None]).sum(axis=0), kind="stable")
    labels = np.argmax(members[:, order], axis=1)
    middle = float(np.median(values))
    return Merged(labels, np.clip(values[order], middle - SPAN, middle + SPAN), cost)


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
