"""Tetrahedra inside a closed surface by fTetWild, run in a child process: its compiled code ends the process on some inputs.

`python -m physsim.io.mesher FOLDER SECONDS BYTES` is the child, bounded in processor time and address space: it reads `surface.npz` there
and writes `tetrahedra.npz`. pytetwild's compiled module is loaded by itself, because its package also imports PyVista, 300 MB that meshing
does not need.

Source: Hu, Schneider, Wang, Zorin, Panozzo 2020, Fast tetrahedral meshing in the wild.
"""

import os
import subprocess
import sys
import tempfile
from importlib import machinery, util
from pathlib import Path

import numpy as np

import physsim
from physsim.errors import InputError
from physsim.io import confined

STOP_ENERGY = 8.0  # of the worst element's shape (3 is regular); 10 is fTetWild's own, and leaves angles of some 10 degrees
ROUNDS = 80  # of its optimisation at most
MEMORY_BYTES = 16 << 30  # of the address space; much of it is reserved and never used
FILE_BYTES = 4 << 30
EXTRA = "pip install physsim[mesh]"


def available() -> bool:
    """Whether pytetwild is installed."""
    return util.find_spec("pytetwild") is not None


def fill(
    points: np.ndarray,
    triangles: np.ndarray,
    edge_length: float,
    deviation: float,
    time_limit: float = 300.0,
    memory_bytes: int = MEMORY_BYTES,
) -> tuple[np.ndarray, np.ndarray]:
    """Fill a closed surface with tetrahedra.

    Args:
        points: of the surface [m], shape [n, 3]
        triangles: outward, indices into points, shape [t, 3]
        edge_length: that the tetrahedra should have [m]
        deviation: how far the new surface may lie from the old one [m]
        time_limit: after which it is given up [s]
        memory_bytes: most address space that it may take

    Returns:
        Points [m], shape [k, 3], and positive tetrahedra, shape [m, 4].

    Raises:
        InputError: pytetwild is not installed, or it found no tetrahedra, failed, or took too much time or memory.
    """
    if not available():
        raise InputError(f"tetrahedra: pytetwild is not installed; {EXTRA}, or read a mesh of tetrahedra by load_mesh")
    centre, size = points.mean(axis=0), float(np.ptp(points, axis=0).max())
    root = str(Path(physsim.__file__).resolve().parent.parent)
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    with tempfile.TemporaryDirectory(prefix="physsim-mesh-") as folder:
        lengths = np.array([edge_length, deviation]) / size
        np.savez(Path(folder, "surface.npz"), points=(points - centre) / size, triangles=triangles.astype(np.uint32), lengths=lengths)
        try:
            done = subprocess.run(
                [sys.executable, "-m", "physsim.io.mesher", folder, str(time_limit * (os.cpu_count() or 1)), str(memory_bytes)],
                cwd=folder,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
                capture_output=True,
                text=True,
                timeout=time_limit,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise InputError(
                f"tetrahedra: not done after {time_limit:g} s at edge_length = {edge_length:g} m; take a larger one, or a larger deviation"
            ) from None
        if done.returncode != 0:
            reason = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
            raise InputError(
                f"tetrahedra: the mesher failed on this surface ({reason[:200]}; it may take {memory_bytes >> 20} MiB); repair or simplify "
                f"it, or take an edge_length above {edge_length:g} m"
            )
        with np.load(Path(folder, "tetrahedra.npz"), allow_pickle=False) as found:
            filled, cells = found["points"], found["cells"]
    if len(cells) == 0:
        raise InputError("tetrahedra: the mesher found no inside; the surface must be closed, outward and not flat")
    return size * filled + centre, cells.astype(np.int64)


def _child(folder: str) -> None:
    """Fill the surface that lies in a folder, whose coordinates are of order one."""
    with np.load(Path(folder, "surface.npz"), allow_pickle=False) as given:
        points, triangles, (edge_length, deviation) = given["points"], given["triangles"], given["lengths"]
    diagonal = float(np.linalg.norm(np.ptp(points, axis=0)))
    nothing = (np.zeros((0, 3)), np.zeros((0, 4), np.int32), np.zeros(0))  # no field of edge lengths
    found, cells = _compiled().tetrahedralize_mesh(
        points,
        triangles,
        True,
        False,
        0.05,
        edge_length,
        deviation / diagonal,
        STOP_ENERGY,
        False,
        1,
        ROUNDS,
        6,
        True,
        False,
        False,
        *nothing,
    )
    corners = found[cells]
    edges = corners[:, 1:] - corners[:, :1]
    inverted = np.einsum("ij,ij->i", np.cross(edges[:, 0], edges[:, 1]), edges[:, 2]) < 0.0
    cells = np.where(inverted[:, None], cells[:, [0, 2, 1, 3]], cells)  # fTetWild's are negative as TetMesh counts
    used, cells = np.unique(cells, return_inverse=True)
    np.savez(Path(folder, "tetrahedra.npz"), points=found[used], cells=cells.reshape(-1, 4))


def _compiled():
    places = list(util.find_spec("pytetwild").submodule_search_locations)
    spec = machinery.PathFinder.find_spec("PyfTetWildWrapper", places)
    if spec is None:
        raise ImportError(
            f"pytetwild in {places[0]} holds no compiled module PyfTetWildWrapper; install the release that constraints.txt pins"
        )
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


if __name__ == "__main__":
    confined.set_bounds(float(sys.argv[2]), int(sys.argv[3]), FILE_BYTES)
    _child(sys.argv[1])
