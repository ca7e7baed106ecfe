"""How the plush was made: blended balls, ellipsoids and capsules, meshed by surface nets.

The solid is the set of points where a smooth union of simple shapes is negative, cut off by the table's plane so that it sits by itself.
Surface nets (Gibson 1998) put one point into every grid cell that the surface crosses; tangential smoothing and Newton steps then move
the points to where the triangles are even and on the surface.
"""

import numpy as np

SPACING = 0.0043  # of the grid [m]
BLEND = 0.009  # width over which two shapes flow into each other [m]
HALF_WIDTH, HALF_DEPTH, HEIGHT = 0.042, 0.046, 0.106  # of the box that is searched [m]

# The bear looks along -y and sits on z = 0; all lengths in metres. Shapes with x > 0 stand for both sides.
ELLIPSOIDS = (  # centre, half axes
    ((0.0, 0.006, 0.029), (0.0245, 0.0225, 0.033)),  # body
    ((0.0, 0.0, 0.0735), (0.0225, 0.0205, 0.0205)),  # head
    ((0.0, -0.0185, 0.0685), (0.0095, 0.0085, 0.008)),  # snout
    ((0.0185, 0.003, 0.0905), (0.0085, 0.0055, 0.0085)),  # ear
    ((0.0, 0.0285, 0.012), (0.007, 0.007, 0.007)),  # tail
)
CAPSULES = (  # from, to, radius
    ((0.0195, 0.001, 0.0475), (0.0300, -0.0185, 0.0385), 0.0085),  # arm
    ((0.0145, -0.004, 0.0085), (0.0225, -0.0285, 0.0085), 0.0115),  # leg
)


def signed_distance(points):
    """Signed value of the blended solid, negative inside and close to a distance near the surface.

    Args:
        points: positions [m], shape [..., 3].

    Returns:
        Values [m], shape [...].
    """
    folded = np.array(points, dtype=float)
    folded[..., 0] = np.abs(folded[..., 0])
    value = np.full(folded.shape[:-1], np.inf)
    for centre, axes in ELLIPSOIDS:
        local = folded - centre
        scaled = np.linalg.norm(local / axes, axis=-1)
        slope = np.linalg.norm(local / np.square(axes), axis=-1)
        value = _blended(value, scaled * (scaled - 1.0) / np.maximum(slope, 1e-9))
    for start, end, radius in CAPSULES:
        along = np.subtract(end, start)
        share = np.clip((folded - start) @ along / (along @ along), 0.0, 1.0)
        value = _blended(value, np.linalg.norm(folded - start - share[..., None] * along, axis=-1) - radius)
    return -_blended(-value, folded[..., 2], 0.5 * BLEND)


def surface(spacing=SPACING, rounds=20):
    """The plush as a closed triangle surface.

    Args:
        spacing: length of the grid's cells [m], about that of the triangles.
        rounds: of smoothing.

    Returns:
        Points [m], shape [n, 3], and outward triangles, shape [t, 3].
    """
    half = np.ceil(np.array([HALF_WIDTH, HALF_DEPTH]) / spacing) * spacing
    axes = [np.arange(-half[0], half[0] + spacing / 2, spacing), np.arange(-half[1], half[1] + spacing / 2, spacing)]
    axes.append(np.arange(-1.5 * spacing, HEIGHT, spacing))
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    points, quads = _surface_nets(grid, signed_distance(grid))
    sides = np.stack([quads, np.roll(quads, -1, axis=1)], axis=2).reshape(-1, 2)
    neighbours = np.unique(np.concatenate([sides, sides[:, ::-1]]), axis=0)
    count = np.bincount(neighbours[:, 0])[:, None]
    for _ in range(rounds):
        sums = np.stack([np.bincount(neighbours[:, 0], points[neighbours[:, 1], i]) for i in range(3)], axis=1)
        points = _on_surface(points + 0.5 * (sums / count - points))
    points = _on_surface(_on_surface(points))
    first, second = (np.linalg.norm(points[quads[:, i]] - points[quads[:, i + 2]], axis=1) for i in (0, 1))
    turned = np.where((first < second)[:, None], quads, np.roll(quads, -1, axis=1))  # cut along the shorter diagonal
    return points, np.concatenate([turned[:, [0, 1, 2]], turned[:, [0, 2, 3]]])


def _blended(a, b, width=BLEND):
    """Smooth minimum (Quilez's quadratic polynomial)."""
    share = np.maximum(width - np.abs(a - b), 0.0) / width
    return np.minimum(a, b) - 0.25 * width * share**2


def _on_surface(points):
    """One Newton step onto the surface along its normal; differences over a micrometre give the slope."""
    step = 1e-6 * np.eye(3)
    slope = np.stack([(signed_distance(points + s) - signed_distance(points - s)) / 2e-6 for s in step], axis=-1)
    return points - signed_distance(points)[:, None] * slope / np.maximum((slope**2).sum(axis=1, keepdims=True), 1e-6)


def _surface_nets(grid, value):
    """Points, one a crossed cell, and outward quads, one a crossed edge of the grid."""
    inside = value < 0.0
    cells = np.array(value.shape) - 1
    sums, counts = np.zeros((*cells, 3)), np.zeros(cells)
    for axis in range(3):
        low, high = (np.take(value, range(start, start + cells[axis]), axis) for start in (0, 1))
        crossed = (low < 0.0) != (high < 0.0)
        share = np.where(crossed, low, 0.0) / np.where(crossed, low - high, 1.0)
        place = np.take(grid, range(cells[axis]), axis).copy()
        place[..., axis] += share * (grid.take(1, axis) - grid.take(0, axis)).max()
        others = [a for a in range(3) if a != axis]
        for shift in np.ndindex(2, 2):
            window = [slice(None)] * 3
            for other, start in zip(others, shift, strict=True):
                window[other] = slice(start, start + cells[other])
            sums += np.where(crossed, 1.0, 0.0)[tuple(window)][..., None] * place[tuple(window)]
            counts += crossed[tuple(window)]
    number = np.cumsum(counts.ravel() > 0).reshape(cells) - 1
    quads = []
    for axis in range(3):
        low, high = (np.take(inside, range(start, start + cells[axis]), axis) for start in (0, 1))
        for leaves in (True, False):  # whether the edge leads out of the solid
            at = np.argwhere((low != high) & (low == leaves))
            first, second = np.eye(3, dtype=int)[[(axis + 1) % 3, (axis + 2) % 3]]
            around = [at - first - second, at - second, at, at - first]
            ring = np.stack([number[tuple(corner.T)] for corner in around], axis=1)
            quads.append(ring if leaves else ring[:, ::-1])
    return (sums / np.maximum(counts, 1.0)[..., None])[counts > 0], np.concatenate(quads)
