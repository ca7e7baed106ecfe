"""Which inertias a rigid body can have, and what is done with those of files that no body has.

The rule, for a link of mass m > 0 whose inertia about its centre has the principal moments I1 <= I2 <= I3:

- a negative moment is refused;
- I3 > I1 + I2 belongs to no distribution of mass. Real files are full of it (xArm6, Mini Cheetah), so the nearest one that does is
  taken: second moments S = tr(I)/2 - I have their negative eigenvalues set to zero, I' = tr(S) - S. More than 1 % of change is warned of;
- all moments zero stands for "not given" (Laikago): the inertia of a solid box as large as the link's shapes is taken, and warned of.

A link without mass has no inertia, whatever the file says.
"""

import numpy as np

from physsim.errors import InputError
from physsim.io.description import Geometry

NEGATIVE = 1e-6  # of the largest moment: below this a negative one is rounding of the file's decimals
TOLD = 0.01  # relative change of a moment that is warned of


def possible_inertia(where: str, inertia: np.ndarray) -> tuple[np.ndarray, float]:
    """The inertia itself where a body can have it, else the nearest one that a body can have.

    Args:
        where: what errors name
        inertia: about the centre of mass [kg m^2], symmetric, shape [3, 3]

    Returns:
        The inertia, shape [3, 3], and the largest change of a principal moment, relative to the largest moment.

    Raises:
        InputError: a principal moment is negative.
    """
    moments, axes = np.linalg.eigh(inertia)
    if moments[0] < -NEGATIVE * np.abs(moments).max():
        raise InputError(
            f"{where}: its inertia has the principal moments {', '.join(f'{m:.4g}' for m in moments)} kg m^2; "
            "none may be negative: check the signs of ixy, ixz, iyz"
        )
    second = np.maximum(0.5 * moments.sum() - moments, 0.0)
    repaired = second.sum() - second
    change = float(np.abs(repaired - moments).max() / max(moments[2], np.finfo(float).tiny))
    return (inertia, 0.0) if change < 1e-12 else ((axes * repaired) @ axes.T, change)


def box_inertia(mass: float, shapes: tuple[Geometry, ...]) -> np.ndarray | None:
    """Inertia [kg m^2], shape [3, 3], of a solid box that bounds the shapes along the link's axes; None where there are none.

    Args:
        mass: [kg]
        shapes: in the link's frame
    """
    if not shapes:
        return None
    low, high = np.stack([_bounds(shape) for shape in shapes]).transpose(1, 0, 2)
    edges = high.max(axis=0) - low.min(axis=0)
    return mass / 12.0 * np.diag((edges**2).sum() - edges**2)


def _bounds(shape: Geometry) -> np.ndarray:
    """Lowest and highest coordinates of a shape in its link's frame [m], shape [2, 3]."""
    rotation, shift = shape.origin[:3, :3], shape.origin[:3, 3]
    if shape.kind == "mesh":
        points = shape.points @ rotation.T + shift
        return np.stack([points.min(axis=0), points.max(axis=0)])
    if shape.kind == "box":
        half = np.abs(rotation) @ (0.5 * np.array(shape.size))
    elif shape.kind == "sphere":
        half = np.full(3, shape.size[0])
    else:
        along = np.abs(rotation[:, 2])
        across = shape.size[0] * (np.sqrt(np.maximum(1.0 - along**2, 0.0)) if shape.kind == "cylinder" else 1.0)
        half = 0.5 * shape.size[1] * along + across
    return np.stack([shift - half, shift + half])
