"""How a body deforms smoothly, whatever its material: edges that hardly stretch, neighbours that move alike.

Displacements u [n, 3] of the points at positions x cost

    sum over edges of (w d_ij . (u_i - u_j) / l_ij)^2  +  sum over points of |(u_i - mean of neighbours' u_j) / l|^2

with d_ij the edges' directions, l_ij their lengths, l the median one, and w the weight of strain against roughness.
"""

import numpy as np
from scipy import sparse
from scipy.sparse import linalg

from physsim.twin.elements import mesh_edges, rest_points

STRETCH = {"solid": 3.0, "sheet": 30.0, "rod": 30.0}  # weight of strain: sheets and rods bend a hundred times more easily than they stretch


def strain_rows(x: np.ndarray, edges: np.ndarray, lengths: np.ndarray) -> sparse.csr_matrix:
    """How the strains of edges change with displacements, shape [e, 3 n]."""
    along = x[edges[:, 1]] - x[edges[:, 0]]
    along = along / np.maximum(np.linalg.norm(along, axis=1), 1e-12)[:, None] / lengths[:, None]
    rows = np.repeat(np.arange(len(edges)), 6)
    columns = (3 * edges[:, :, None] + np.arange(3)).reshape(-1)
    values = np.concatenate([-along, along], axis=1).ravel()
    return sparse.csr_matrix((values, (rows, columns)), (len(edges), 3 * len(x)))


def rough_rows(count: int, edges: np.ndarray) -> sparse.csr_matrix:
    """Difference of each point from the mean of its neighbours, shape [n, n]."""
    ones = np.ones(len(edges))
    joined = sparse.csr_matrix((ones, (edges[:, 0], edges[:, 1])), (count, count))
    joined = joined + joined.T
    degree = np.asarray(joined.sum(axis=1)).ravel()
    return (sparse.identity(count) - sparse.diags(1.0 / np.maximum(degree, 1.0)) @ joined).tocsr()


def cost_matrix(mesh: object, x: np.ndarray, stretch: float) -> sparse.csc_matrix:
    """Matrix of the cost of displacements at positions x, shape [3 n, 3 n] [1/m^2]."""
    edges, rest = mesh_edges(mesh), rest_points(mesh)
    lengths = np.linalg.norm(rest[edges[:, 1]] - rest[edges[:, 0]], axis=1)
    strain = strain_rows(x, edges, lengths) * stretch
    rough = sparse.kron(rough_rows(len(x), edges), sparse.identity(3)) / np.median(lengths)
    return (strain.T @ strain + rough.T @ rough).tocsc()


def smooth_ways(mesh: object, kind: str, x: np.ndarray, held: np.ndarray, count: int) -> np.ndarray:
    """Smooth directions of displacement that stretch little, the cheapest first.

    Args:
        mesh: TetMesh, TriMesh or Curve.
        kind: of body.
        x: positions of its points [m], shape [n, 3].
        held: numbers of points that do not move.
        count: number of directions.

    Returns:
        Shape [q, n, 3], orthogonal, root mean square length over the body 1; q = count, or less where fewer points are free. Where
        nothing is held the six rigid motions come first; else the three ways in which the body gives under even loads along x, y and z,
        as under its weight: what hangs is stretched.
    """
    n = len(x)
    free = np.setdiff1d(np.arange(n), held)
    dofs = (3 * free[:, None] + np.arange(3)).ravel()
    count = min(count, max(len(dofs) - 1, 0))
    if count == 0:
        return np.zeros((0, n, 3))
    K = cost_matrix(mesh, x, STRETCH[kind])[np.ix_(dofs, dofs)].tocsc()
    scale = float(K.diagonal().mean())
    K = K + 1e-9 * scale * sparse.identity(len(dofs))
    if len(dofs) <= count + 20:
        modes = np.linalg.eigh(K.toarray())[1][:, :count]
    else:
        begin = np.random.default_rng(0).standard_normal(len(dofs))
        values, modes = linalg.eigsh(K, k=min(count + 6, len(dofs) - 1), sigma=0.0, which="LM", v0=begin)
        modes = modes[:, np.argsort(values)]
    if len(held) == 0:
        modes = np.concatenate([rigid_motions(x)[:, free].reshape(6, -1).T, modes], axis=1)
    else:
        modes = np.concatenate([given_ways(mesh, x, free).reshape(3, -1)[:, dofs].T, modes], axis=1)
    basis = _orthonormal(modes, count)
    ways = np.zeros((basis.shape[1], 3 * n))
    ways[:, dofs] = basis.T * np.sqrt(n)
    return ways.reshape(-1, n, 3)


def given_ways(mesh: object, x: np.ndarray, free: np.ndarray) -> np.ndarray:
    """Displacements of a body at x [n, 3] under loads along x, y, z that are even over its free points, shape [3, n, 3]."""
    dofs = (3 * free[:, None] + np.arange(3)).ravel()
    K = cost_matrix(mesh, x, 1.0)[np.ix_(dofs, dofs)]
    K = K + 1e-9 * float(K.diagonal().mean()) * sparse.identity(len(dofs))
    out = np.zeros((3, 3 * len(x)))
    out[:, dofs] = linalg.splu(K.tocsc()).solve(np.tile(np.eye(3), (len(free), 1))).T
    return out.reshape(3, -1, 3)


def _orthonormal(columns: np.ndarray, count: int) -> np.ndarray:
    """The first `count` directions of columns made orthonormal in turn; what earlier ones hold already is left out."""
    kept = []
    for column in columns.T:
        column = column / max(np.linalg.norm(column), 1e-300)
        for _ in range(2):
            for other in kept:
                column = column - (other @ column) * other
        size = np.linalg.norm(column)
        if size > 0.1:
            kept.append(column / size)
        if len(kept) == count:
            break
    return np.stack(kept, axis=1)


def rigid_motions(x: np.ndarray) -> np.ndarray:
    """Three shifts and three turns about the middle, shape [6, n, 3]."""
    arm = x - x.mean(axis=0)
    size = max(float(np.sqrt((arm**2).sum(axis=1).mean())), 1e-12)
    shifts = np.broadcast_to(np.eye(3)[:, None], (3, *x.shape))
    turns = np.stack([np.cross(axis, arm / size) for axis in np.eye(3)])
    return np.concatenate([shifts, turns])


def follow(mesh: object, kind: str, x: np.ndarray, held: np.ndarray, moved: np.ndarray) -> np.ndarray:
    """The cheapest displacement [..., n, 3] of all points where those held are displaced by `moved` [..., p, 3]."""
    n = len(x)
    out = np.zeros((*moved.shape[:-2], n, 3))
    if len(held) == 0:
        return out
    K = cost_matrix(mesh, x, STRETCH[kind])
    free = np.setdiff1d(np.arange(n), held)
    fixed = (3 * np.asarray(held)[:, None] + np.arange(3)).ravel()
    dofs = (3 * free[:, None] + np.arange(3)).ravel()
    out[..., held, :] = moved
    if len(free):
        inner = K[np.ix_(dofs, dofs)] + 1e-9 * float(K.diagonal().mean()) * sparse.identity(len(dofs))
        solve = linalg.splu(inner.tocsc())
        right = -(K[np.ix_(dofs, fixed)] @ moved.reshape(-1, len(fixed)).T)
        out[..., free, :] = solve.solve(right).T.reshape(*moved.shape[:-2], len(free), 3)
    return out
