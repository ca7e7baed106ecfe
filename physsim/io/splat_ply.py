"""Splats in PLY files, laid out as 3D Gaussian splatting (Kerbl et al. 2023) and its viewers have them.

Of each point: x, y, z; nx, ny, nz (unused); f_dc_0..2, coefficients of degree 0 a channel; f_rest_*, the higher ones, channel by channel;
opacity, before a sigmoid; scale_0..2, logarithms; rot_0..3, a quaternion (w, x, y, z) of any length. Ours besides: f_latent_*, label.
"""

from os import PathLike

import numpy as np

from physsim.errors import InputError
from physsim.io.ply import read_vertices, write_vertices

_REST = (0, 9, 24, 45)  # numbers of f_rest of degree 0, 1, 2, 3
_MARGIN = 1e-7  # from 0 and 1 that opacities are kept, whose logit would not be finite


def read_splats(path: str | PathLike[str]) -> dict[str, np.ndarray]:
    """Read a PLY file of splats.

    Returns:
        float32 arrays means [m] [n, 3], scales [m] [n, 3], rotations (w, x, y, z) [n, 4], opacities [n], harmonics [n, K, 3],
        latents [n, k], and int32 labels [n].

    Raises:
        InputError: no such file, missing or surplus properties, NaN, values that no splat can have, counts that do not fit the file.
    """
    columns = read_vertices(path)
    needed = [*"xyz", "opacity", *_numbered("f_dc", 3), *_numbered("scale", 3), *_numbered("rot", 4)]
    missing = [name for name in needed if name not in columns]
    if missing:
        raise InputError(f"{path}: {', '.join(missing)} missing; splats of 3DGS are needed (a point cloud is read by splats_from_points)")
    rest, latents = (_family(path, columns, prefix) for prefix in ("f_rest", "f_latent"))
    if len(rest) not in _REST:
        raise InputError(f"{path}: {len(rest)} properties f_rest; 0, 9, 24 or 45 belong to degree 0, 1, 2 or 3")

    def stacked(names: list[str]) -> np.ndarray:
        values = np.stack([columns[name] for name in names], axis=1) if names else np.zeros((len(columns["x"]), 0))
        bad = np.argwhere(~np.isfinite(values))
        if len(bad):
            i, j = bad[0]
            raise InputError(f"{path}: {names[j]} of splat {i} is {values[i, j]} ({len(bad)} such values); every value must be finite")
        return values.astype(np.float64)

    n = len(columns["x"])
    higher = stacked(rest).reshape(n, 3, -1).swapaxes(1, 2)
    with np.errstate(over="ignore", under="ignore"):
        found = {
            "means": stacked(list("xyz")),
            "scales": np.exp(stacked(_numbered("scale", 3))),
            "rotations": stacked(_numbered("rot", 4)),
            "opacities": 1.0 / (1.0 + np.exp(-stacked(["opacity"])[:, 0])),
            "harmonics": np.concatenate([stacked(_numbered("f_dc", 3))[:, None], higher], axis=1),
            "latents": stacked(latents),
        }
        found = {name: values.astype(np.float32) for name, values in found.items()}
    labels = stacked(["label"])[:, 0] if "label" in columns else np.zeros(n)
    if (labels != np.rint(labels)).any() or labels.min() < 0 or labels.max() >= 2**31:
        raise InputError(f"{path}: a label is no whole number from 0")
    _refuse_odd(path, found)
    return found | {"labels": labels.astype(np.int32)}


def write_splats(path: str | PathLike[str], arrays: dict[str, np.ndarray], binary: bool = True) -> None:
    """Write splats, as `read_splats` gives them; latents and labels only where there are some.

    Raises:
        InputError: no splat, a path that cannot be written.
    """
    n = len(arrays["means"])
    if n == 0:
        raise InputError(f"{path}: there is no splat to write; a file of splats holds at least one")
    opacities = np.clip(np.asarray(arrays["opacities"], dtype=np.float64), _MARGIN, 1.0 - _MARGIN)
    higher = np.asarray(arrays["harmonics"][:, 1:]).swapaxes(1, 2).reshape(n, -1)
    latents = np.asarray(arrays["latents"])
    families = [
        (list("xyz"), arrays["means"]),
        (["nx", "ny", "nz"], np.zeros((n, 3))),
        (_numbered("f_dc", 3), arrays["harmonics"][:, 0]),
        (_numbered("f_rest", higher.shape[1]), higher),
        (["opacity"], (np.log(opacities) - np.log1p(-opacities))[:, None]),
        (_numbered("scale", 3), np.log(np.asarray(arrays["scales"], dtype=np.float64))),
        (_numbered("rot", 4), arrays["rotations"]),
        (_numbered("f_latent", latents.shape[1]), latents),
    ]
    columns = {name: np.asarray(values)[:, i].astype(np.float32) for names, values in families for i, name in enumerate(names)}
    labels = np.asarray(arrays["labels"])
    if labels.any():
        columns["label"] = labels.astype(np.int32)
    write_vertices(path, columns, binary)


def _numbered(prefix: str, count: int) -> list[str]:
    return [f"{prefix}_{i}" for i in range(count)]


def _family(path: str | PathLike[str], columns: dict, prefix: str) -> list[str]:
    """Names of a family of properties, numbered from 0 without a gap."""
    count = sum(name.startswith(f"{prefix}_") for name in columns)
    names = _numbered(prefix, count)
    missing = [name for name in names if name not in columns]
    if missing:
        raise InputError(f"{path}: {missing[0]} is missing among its {count} properties {prefix}_*")
    return names


def _refuse_odd(path: str | PathLike[str], found: dict) -> None:
    """Refuse values that no splat can have once they are float32."""
    tests = {
        "scales": (lambda v: (v <= 0) | ~np.isfinite(v), "its scale is not positive and finite"),
        "rotations": (lambda v: (v == 0).all(axis=1), "its quaternion is 0"),
        **dict.fromkeys(("means", "harmonics", "latents"), (lambda v: ~np.isfinite(v), "a value is too large for float32")),
    }
    for name, (test, said) in tests.items():
        bad = test(found[name])
        rows = np.flatnonzero(bad.reshape(len(bad), -1).any(axis=1))
        if len(rows):
            raise InputError(f"{path}: splat {rows[0]} ({len(rows)} such splats): {said}; remove it")
