"""Who goes into which aggregate: the multigrid hierarchy's plan, made once from a matrix' pattern."""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from physsim.kernels.linear.multigrid import DENSE, FIELDS, HEADER

COARSEST = 24  # nodes of the last level, which is factorised densely
LEVELS = 12
STALLED = 0.8  # of a level's nodes; where so many are left, they are separate pieces, and coarsening ends


@dataclass(frozen=True)
class Plan:
    """Integers that the kernels read (see `kernels.linear.multigrid`) and the float64 numbers of work that the coarse levels need."""

    integers: np.ndarray
    work: int
    sizes: tuple[int, ...]  # nodes of each level, the particles first


def aggregate(graph):
    """Aggregates of a symmetric graph: one around each node of a maximal independent set of distance two.

    Args:
        graph: sparse matrix [n, n] with a full diagonal; only the pattern counts.

    Returns:
        Number of each node's aggregate, shape [n].

    Source: Bell, Dalton and Olson 2012, section 3 (the parallel form, here as sparse products).
    """
    n = graph.shape[0]
    near = sparse.csr_matrix((np.ones(graph.nnz), graph.indices, graph.indptr), graph.shape)
    wide = (near @ near).tocsr()
    priority = np.random.default_rng(0).permutation(n) + 1.0
    open_ = np.ones(n, bool)
    roots = np.zeros(n, bool)
    while open_.any():
        rank = np.where(open_, priority, 0.0)
        new = open_ & (rank == _largest(wide, rank))
        roots |= new
        open_ &= (wide @ new.astype(float)) == 0
    number = np.full(n, -1)
    number[roots] = np.arange(roots.sum())
    for _ in range(2):  # neighbours of a root, then theirs
        number = np.where(number < 0, _largest(near, number + 1.0).astype(int) - 1, number)
    return number


def _largest(graph, value):
    """Largest value among each node's neighbours (rows are never empty)."""
    return np.maximum.reduceat(value[graph.indices], graph.indptr[:-1])


def full_graph(n, rows, columns):
    """Both triangles and the diagonal as compressed rows with sorted columns."""
    everyone = np.arange(n)
    i = np.concatenate([everyone, rows, columns])
    j = np.concatenate([everyone, columns, rows])
    return sparse.csr_matrix((np.ones(len(i)), (i, j)), (n, n))


def build_plan(pattern, free):
    """Plan of a pattern; fixed particles are in no aggregate.

    Args:
        pattern: Pattern (lower triangle by rows).
        free: mask of free particles, shape [n].
    """
    n = len(free)
    chunks, fields = [], []
    offset = 0

    def put(array):
        nonlocal offset
        chunks.append(np.asarray(array, np.int32))
        offset += len(array)
        return offset - len(array)

    parts = [dict.fromkeys(("begin", "columns", "group", "target", "diagonal", "mirror", "work"), 0) | {"n": n}]
    parts[0] |= {"begin": put(pattern.row_begin), "columns": put(pattern.columns)}
    rows, columns = pattern.rows, pattern.columns
    members = np.flatnonzero(free)
    graph = full_graph(n, rows, columns)[members][:, members]
    work = 0
    sizes = [n]
    group = np.full(n, -1)
    group[members] = aggregate(graph)
    while True:
        coarse = group.max() + 1
        fine = parts[-1]
        fine["group"] = put(group)
        keep = (group[rows] >= 0) & (group[columns] >= 0)
        graph = full_graph(coarse, group[rows[keep]], group[columns[keep]])
        graph.sum_duplicates()
        number = sparse.csr_matrix((np.arange(1, graph.nnz + 1), graph.indices, graph.indptr), graph.shape)

        def slot(i, j, number=number):
            return np.asarray(number[i, j]).ravel().astype(int) - 1 if len(i) else np.zeros(0, int)

        if len(sizes) == 1:  # the lower triangle is stored: a pair may have to be turned
            i, j = group[rows], group[columns]
            pair = np.full(len(rows), -1)
            high, low = np.maximum(i, j)[keep], np.minimum(i, j)[keep]
            pair[keep] = 2 * slot(high, low) + (i < j)[keep]
            own = np.where(group >= 0, 2 * slot(np.maximum(group, 0), np.maximum(group, 0)), -1)
            fine["target"] = put(np.concatenate([own, pair]))
        else:
            i, j = group[rows], group[columns]
            target = np.full(len(rows), -1)
            lower = i >= j
            target[lower] = 2 * slot(i[lower], j[lower])
            fine["target"] = put(target)
        full_rows = np.repeat(np.arange(coarse), np.diff(graph.indptr))
        part = {"n": coarse, "begin": put(graph.indptr), "columns": put(graph.indices), "group": 0, "target": 0}
        everyone = np.arange(coarse)
        part |= {"diagonal": put(slot(everyone, everyone)), "mirror": put(slot(graph.indices, full_rows)), "work": work}
        parts.append(part)
        work += 48 * graph.nnz + 48 * coarse + 8 * coarse + 24 * coarse
        sizes.append(int(coarse))
        if coarse <= COARSEST or len(sizes) > LEVELS or coarse > STALLED * sizes[-2]:
            work += 36 * coarse**2 + 6 * coarse if coarse <= DENSE else 0
            break
        rows, columns = full_rows, graph.indices
        group = aggregate(graph)
    head = HEADER + FIELDS * len(parts)
    order = ("n", "begin", "columns", "group", "target", "diagonal", "mirror")
    for part in parts:
        fields += [part["n"], *(head + part[k] for k in order[1:]), part["work"]]
    return Plan(np.concatenate([[len(parts) - 1], fields, *chunks]).astype(np.int32), work, tuple(sizes))
