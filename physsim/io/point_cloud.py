"""Coloured points from PLY files."""

from dataclasses import dataclass
from os import PathLike

import numpy as np

from physsim.errors import InputError
from physsim.io.ply import MAX_BYTES, read_vertices
from physsim.io.textured import colours_of


@dataclass(frozen=True)
class PointCloud:
    """Points [m], shape [n, 3], their colours from 0 to 1 and unit normals, each [n, 3] or None."""

    points: np.ndarray
    colours: np.ndarray | None = None
    normals: np.ndarray | None = None


def load_point_cloud(path: str | PathLike[str], scale: float = 1.0, max_bytes: int = MAX_BYTES) -> PointCloud:
    """Read points of a PLY file with x, y, z, and where it has them red, green, blue and nx, ny, nz; faces are left out.

    Args:
        path: the file.
        scale: factor on the points, for files that are not in metres (0.001 for millimetres).
        max_bytes: largest file that is read [bytes].

    Returns:
        The cloud, in the order of the file.

    Raises:
        InputError: the file cannot be used; a value is not finite, a scale not positive.
    """
    columns = read_vertices(path, max_bytes)
    if not (np.isfinite(scale) and scale > 0.0):
        raise InputError(f"scale = {scale}: must be positive and finite; use 0.001 for a file in millimetres")
    if not all(name in columns for name in "xyz"):
        raise InputError(f"{path}: its vertices have no x, y, z")
    stack = lambda names: np.stack([columns[name] for name in names], axis=1).astype(np.float64)  # noqa: E731
    points, colours, normals = scale * stack("xyz"), colours_of(columns), None
    if all(name in columns for name in ("nx", "ny", "nz")):
        normals = stack(("nx", "ny", "nz"))
        length = np.linalg.norm(normals, axis=1, keepdims=True)
        normals = normals / length if (length > 0.0).all() else None  # a file may have the columns and nothing in them
    for name, values in (("point", points), ("colour", colours), ("normal", normals)):
        bad = [] if values is None else np.flatnonzero(~np.isfinite(values).all(axis=1))
        if len(bad):
            raise InputError(f"{path}: {name} {bad[0]} is {values[bad[0]].tolist()} ({len(bad)} such); every value must be finite")
    return PointCloud(points, colours, normals)
