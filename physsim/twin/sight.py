"""What was seen of a body at one time, and where handles are said to touch it."""

from dataclasses import dataclass

import numpy as np

from physsim.twin.touches import Touch

SAMPLED = 2000  # points of a cloud that are used


@dataclass(frozen=True, eq=False)
class Sight:
    """What was seen of a body at one time.

    Args:
        cloud: points of its surface, not in any order [m], shape [c, 3].
        points: points that are known to be some of the mesh's [m], shape [p, 3]; NaN: not seen.
        nodes, weights: which ones, shape [p, k].
        noise: standard deviation of a coordinate [m].
        whole: whether the cloud shows all sides, so that the body reaches no further than it.
        dense: the cloud with more points, to tell how far it reaches, shape [d, 3]; None: the same.
        held: how many of the points, the last ones, are known by what holds them, to `TOLD`: they do not count in the misfit.
        touches: where handles are said to touch the body.
    """

    cloud: np.ndarray
    points: np.ndarray
    nodes: np.ndarray
    weights: np.ndarray
    noise: float
    whole: bool = False
    held: int = 0
    dense: np.ndarray | None = None
    touches: tuple[Touch, ...] = ()
