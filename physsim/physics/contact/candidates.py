"""Lists of pairs of features that may meet, on the device, and what their kernels know of the scene."""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import warp as wp

from physsim.kernels.contact import boxes, broad_phase, rolling

POINTS = {"point_triangle": 4, "edge_edge": 4, "point_shape": 5, "rolling": 8}  # of a row of each list, in the order of their slots


@dataclass
class CandidateList:
    """Pairs that are near; device arrays [envs, capacity].

    Args:
        stencil: surface points, [envs, capacity, 4, 5 or 8]; -1 comes first in rows that are not used.
        live: the same; -1 comes first also in rows that stay out of reach during the motion of the last `max_step` that marked them.
        touching: 1 for rows that were within the gap at the beginning of the last motion marked so, [envs, capacity].
        count: rows of each environment, [envs]; they come first.
        rows: the largest of them, on the host.
        pair_class: row of the table of contact parameters.
        offset: sum of the radii [m].
        weight: area [m^2]: of the point, or the mean of two edges'.
        shape: number of the shape where one takes part.
        rolls: 1 for rows of which another list, that of what rolls, has the friction.
        arm: of that list, what its law needs besides.
        source: of that list, the list and the row that each of its rows comes from, and 1 where what rolls is the first there, else -1.
    """

    stencil: wp.array
    live: wp.array
    touching: wp.array
    count: wp.array
    rows: int
    pair_class: wp.array
    offset: wp.array
    weight: wp.array
    shape: wp.array
    rolls: wp.array
    arm: wp.array
    source: wp.array
    kernels: broad_phase.Candidates = field(init=False, repr=False)  # the same arrays, as kernels take them

    def __post_init__(self):
        self.kernels = broad_phase.Candidates()
        for name in ("stencil", "live", "touching", "pair_class", "offset", "weight", "shape", "rolls"):
            setattr(self.kernels, name, getattr(self, name))

    @property
    def capacity(self):
        """Rows that there is room for."""
        return self.stencil.shape[1]


class PointMap(NamedTuple):
    """Slots of each surface point: `slots[env, k]` for k from `offsets[env, i]` to `offsets[env, i + 1]`, in ascending order."""

    offsets: wp.array
    slots: wp.array


def rollers_of(scene, device):
    """What `rolling` knows of points, for kernels; None where no point is of a round thing's core."""
    if scene.roller is None or (scene.roller < 0).all():
        return None
    out = rolling.Rollers()
    out.roller = wp.array(np.ascontiguousarray(scene.roller, dtype=np.int32), dtype=int, device=device)
    out.along = wp.array(np.ascontiguousarray(scene.along, dtype=np.float64), dtype=wp.float64, device=device)
    out.turns = wp.full(len(scene.shape_kind), 1, dtype=int, device=device)
    return out


def on_device(scene, device):
    """The scene for kernels."""
    out = boxes.Surfaces()
    material = np.asarray(scene.material, int)
    columns = {
        "owners": (-np.sort(-np.where(scene.weights != 0.0, scene.owners, -1), axis=1), np.int32, wp.vec4i),
        "fixed": (~np.asarray(scene.movable, bool), np.int32, int),
        "triangles": (scene.triangles, np.int32, wp.vec3i),
        "edges": (scene.edges, np.int32, wp.vec2i),
        "shape_size": (scene.shape_size, np.float64, wp.vec3d),
        "shape_frame": (scene.shape_frame, np.int32, wp.vec4i),
        "pair_class": (np.where(scene.allowed, scene.pair_class[np.ix_(material, material)], -1), np.int32, int),
    }
    columns |= {name: (getattr(scene, name), np.int32, int) for name in ("body", "vertices", "shape_kind", "shape_body")}
    columns |= {name: (getattr(scene, name), np.float64, wp.float64) for name in ("radius", "area", "edge_area")}
    for name, (values, host, dtype) in columns.items():
        ndim = 2 if name == "pair_class" else 1
        values = np.ascontiguousarray(values, dtype=host)
        empty = (0,) * ndim
        array = wp.array(values, dtype=dtype, device=device, ndim=ndim) if values.size else wp.zeros(empty, dtype=dtype, device=device)
        setattr(out, name, array)
    out.gap = float(scene.gap)
    return out
