"""Where a gripper with two parallel fingers may take hold of a body: antipodal grasps from its surface.

Points are drawn on the surface, and from each some lines into the body, within the cone of friction about the inward normal. Where a
line comes out again, the outward normal must lie in the cone as well (Nguyen 1988): then both fingers can press along the line without
slipping. The distance must fit the gripper, and open fingers, hand and the way in must be clear of the body and of the table.
"""

from dataclasses import dataclass

import numpy as np

from physsim.errors import InputError
from physsim.physics import validation
from physsim.physics.tetrahedralize import closed_surface

CLEAR_POINTS = 3000  # points of the surface that the gripper's room is checked against
LINES = 4  # lines through each drawn point
RAYS_AT_ONCE = 64
SUNK = 0.12  # share of the width that the body may bulge past the place where a finger first touches


@dataclass(frozen=True)
class Gripper:
    """Two parallel fingers and the hand that carries them, as far as room is needed for them.

    Attributes:
        opening: largest distance between the fingers [m].
        finger_width: across, in the direction that is neither of closing nor of approach [m].
        finger_thickness: in the direction of closing [m].
        finger_length: from the hand to the tips [m].
        pad: how far the tips reach past the place where the body is held [m].
    """

    opening: float = 0.08
    finger_width: float = 0.02
    finger_thickness: float = 0.012
    finger_length: float = 0.045
    pad: float = 0.009

    def __post_init__(self):
        for name in ("opening", "finger_width", "finger_thickness", "finger_length", "pad"):
            object.__setattr__(self, name, float(validation.array(f"Gripper.{name}", getattr(self, name), (), lower=0.0, lower_open=True)))
        if self.pad >= self.finger_length:
            raise InputError(f"Gripper.pad = {self.pad:g} m: must be less than finger_length = {self.finger_length:g} m")


@dataclass(frozen=True)
class GraspCandidate:
    """One way to take hold.

    Attributes:
        center: halfway between the fingers [m], shape [3].
        closing_axis: unit vector along which they close, shape [3].
        approach: unit vector along which the hand comes, from the hand to the body, shape [3].
        width: distance between the fingers when both touch [m].
        quality: in [0, 1]: how far within the cones of friction the line lies, times how near it passes to the centre of volume.
    """

    center: np.ndarray
    closing_axis: np.ndarray
    approach: np.ndarray
    width: float
    quality: float

    @property
    def rotation(self):
        """Axes of the hand as columns, shape [3, 3]: x across, y the closing axis, z the approach."""
        return np.stack([np.cross(self.closing_axis, self.approach), self.closing_axis, self.approach], axis=1)


def grasp_candidates(surface, gripper=None, friction=0.5, count=20, samples=400, approach=None, tilt=60.0, table=None, seed=0):
    """Antipodal grasps of a body, the best first.

    Args:
        surface: SurfaceMesh (from `load_surface`), or any object with `points` [m] and outward `triangles`, closed.
        gripper: Gripper; None takes the Panda's measures.
        friction: coefficient between finger and body.
        count: most grasps that are returned; similar ones (within a quarter of the finger's width and 15 degrees) are left out.
        samples: points drawn on the surface.
        approach: direction that the hand should come along, shape [3]; None takes straight down.
        tilt: largest angle between that direction and a grasp's [degree].
        table: height that no part of the gripper may go below [m]; None for none.
        seed: of the drawn points; the same gives the same grasps.

    Returns:
        List of GraspCandidate, sorted by falling quality; empty where the gripper finds no hold.

    Raises:
        InputError: no closed surface, or a number out of bounds.
    """
    points, triangles = closed_surface(surface)
    gripper = Gripper() if gripper is None else validation.instance("gripper", gripper, Gripper)
    friction = float(validation.array("friction", friction, (), lower=0.0, lower_open=True))
    count = int(validation.array("count", count, (), kind="i", lower=1))
    samples = int(validation.array("samples", samples, (), kind="i", lower=1, upper=100_000))
    tilt = float(validation.array("tilt", tilt, (), lower=0.0, upper=180.0))
    down = validation.array("approach", (0.0, 0.0, -1.0) if approach is None else approach, (3,))
    if np.linalg.norm(down) < 1e-12:
        raise InputError("approach = [0, 0, 0]: a direction is needed")
    table = -np.inf if table is None else float(validation.array("table", table, ()))
    random = np.random.default_rng(seed)
    corners = points[triangles]
    starts, first = _drawn(corners, samples, random)
    lines = _antipodal(corners, starts, first, friction, gripper.opening, random)
    if not len(lines.width):
        return []
    centre, size = _centre_of_volume(corners), np.ptp(points, axis=0).max()
    middle = 0.5 * (lines.start + lines.end)
    off = np.linalg.norm(np.cross(centre - middle, lines.axis), axis=1)
    quality = lines.margin * np.maximum(1.0 - 2.0 * off / size, 0.0)
    order = np.argsort(-quality, kind="stable")[: 40 * count]
    around = np.concatenate([points, _drawn(corners, CLEAR_POINTS, random)[0]])
    found = []
    for i in order:
        hand = _free_approach(middle[i], lines.axis[i], lines.width[i], gripper, around, down / np.linalg.norm(down), tilt, table)
        if hand is None:
            continue
        candidate = GraspCandidate(middle[i], lines.axis[i], hand, float(lines.width[i]), float(quality[i]))
        if not any(_alike(candidate, other, gripper) for other in found):
            found.append(candidate)
        if len(found) == count:
            break
    return found


@dataclass(frozen=True)
class _Lines:
    """Lines through a body: where they go in and come out, unit directions, widths, and how far within the cones they lie."""

    start: np.ndarray
    end: np.ndarray
    axis: np.ndarray
    width: np.ndarray
    margin: np.ndarray


def _drawn(corners, count, random):
    """Points evenly drawn on triangles, shape [count, 3], and the triangle of each."""
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    area = np.linalg.norm(normals, axis=1)
    chosen = random.choice(len(corners), count, p=area / area.sum())
    u, v = random.random((2, count))
    outside = u + v > 1.0
    u, v = np.where(outside, 1.0 - u, u), np.where(outside, 1.0 - v, v)
    a, b, c = (corners[chosen, i] for i in range(3))
    return a + u[:, None] * (b - a) + v[:, None] * (c - a), chosen


def _antipodal(corners, starts, first, friction, opening, random):
    """Lines from drawn points that lie within both cones of friction and fit between the fingers."""
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-300)
    inward = -np.repeat(normals[first], LINES, axis=0)
    starts, first = np.repeat(starts, LINES, axis=0), np.repeat(first, LINES)
    lean = friction * np.sqrt(random.random(len(starts)))
    lean[::LINES] = 0.0  # the normal itself is always among them
    turn = 2.0 * np.pi * random.random(len(starts))
    across = np.cross(inward, np.where(np.abs(inward[:, :1]) < 0.6, [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]))
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    other = np.cross(inward, across)
    axis = inward + lean[:, None] * (np.cos(turn)[:, None] * across + np.sin(turn)[:, None] * other)
    axis /= np.linalg.norm(axis, axis=1, keepdims=True)
    width, last = _way_out(corners, starts, axis, first)
    kept = np.isfinite(width) & (width < opening) & (width > 0.0)
    starts, axis, width, first, last = starts[kept], axis[kept], width[kept], first[kept], last[kept]
    tangents = [
        np.sqrt(np.maximum(1.0 / np.maximum(c, 1e-6) ** 2 - 1.0, 0.0)) for c in (_dot(-normals[first], axis), _dot(normals[last], axis))
    ]
    worst = np.maximum(*tangents)
    kept = (worst <= friction) & (_dot(normals[last], axis) > 0.0)
    margin = 1.0 - np.arctan(worst[kept]) / np.arctan(friction)
    return _Lines(starts[kept], starts[kept] + width[kept, None] * axis[kept], axis[kept], width[kept], margin)


def _way_out(corners, starts, axis, first):
    """Distance to the first triangle that each line meets but its own, inf where there is none, and that triangle."""
    a, ab, ac = corners[:, 0], corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    distance, last = np.full(len(starts), np.inf), np.zeros(len(starts), int)
    for low in range(0, len(starts), RAYS_AT_ONCE):  # Moeller and Trumbore 1997, a block of lines against all triangles
        rows = slice(low, low + RAYS_AT_ONCE)
        direction = axis[rows, None]
        p = np.cross(direction, ac)
        determinant = np.einsum("rti,ti->rt", p, ab)
        steep = np.abs(determinant) > 1e-12 * np.linalg.norm(ab, axis=1) * np.linalg.norm(ac, axis=1)
        inverse = 1.0 / np.where(steep, determinant, 1.0)
        offset = starts[rows, None] - a
        u = np.einsum("rti,rti->rt", offset, p) * inverse
        q = np.cross(offset, ab)
        v = np.einsum("rti,rti->rt", q, np.broadcast_to(direction, q.shape)) * inverse
        t = np.einsum("rti,ti->rt", q, ac) * inverse
        met = steep & (u >= -1e-9) & (v >= -1e-9) & (u + v <= 1.0 + 1e-9) & (t > 0.0)
        met[np.arange(len(met)), first[rows]] = False
        t = np.where(met, t, np.inf)
        last[rows] = t.argmin(axis=1)
        distance[rows] = t.min(axis=1)
    return distance, last


def _free_approach(middle, axis, width, gripper, around, down, tilt, table):
    """The direction nearest to `down` from which the open gripper reaches the line without touching; None where there is none."""
    level = down - (down @ axis) * axis
    length = np.linalg.norm(level)
    level = level / length if length > 1e-9 else _across(axis)
    side = np.cross(axis, level)
    turns = np.radians(np.arange(0, 180, 15))
    angles = np.unique(np.concatenate([turns, -turns]))
    angles = angles[np.argsort(np.abs(angles), kind="stable")]
    hands = np.cos(angles)[:, None] * level + np.sin(angles)[:, None] * side
    hands = hands[hands @ down >= np.cos(np.radians(tilt)) - 1e-12]
    if not len(hands):
        return None
    free = _clear(middle, axis, width, gripper, around, hands) & _above(middle, axis, gripper, hands, table)
    return hands[np.argmax(free)] if free.any() else None


def _clear(middle, axis, width, gripper, around, hands):
    """Whether the body keeps clear of fingers, hand and the way in, for each direction [h, 3] that the hand may come along."""
    local = around - middle
    closing = np.abs(local @ axis)[:, None]
    along = local @ hands.T
    across = np.abs(local @ np.cross(axis, hands).T)
    outer = 0.5 * gripper.opening + gripper.finger_thickness
    beside = (closing > (0.5 + SUNK) * width) & (closing < outer) & (across < 0.5 * gripper.finger_width) & (along < gripper.pad)
    hand = (closing < outer) & (across < gripper.finger_width) & (along < gripper.pad - gripper.finger_length)
    return ~(beside | hand).any(axis=0)


def _above(middle, axis, gripper, hands, table):
    """Whether the open fingers stay above the table, for each direction of the hand."""
    outer = 0.5 * gripper.opening + gripper.finger_thickness
    lowest = middle[2] - outer * abs(axis[2]) - 0.5 * gripper.finger_width * np.abs(np.cross(axis, hands)[:, 2])
    return lowest + np.minimum(gripper.pad * hands[:, 2], (gripper.pad - gripper.finger_length) * hands[:, 2]) > table


def _alike(a, b, gripper):
    near = np.linalg.norm(a.center - b.center) < 0.25 * gripper.finger_width
    turned = abs(a.closing_axis @ b.closing_axis) < np.cos(np.radians(15.0)) or a.approach @ b.approach < np.cos(np.radians(15.0))
    return near and not turned


def _centre_of_volume(corners):
    a, b, c = (corners[:, i] for i in range(3))
    volume = _dot(a, np.cross(b, c))
    return (volume[:, None] * (a + b + c)).sum(axis=0) / (4.0 * volume.sum())


def _across(axis):
    other = np.cross(axis, np.eye(3)[np.argmin(np.abs(axis))])
    return other / np.linalg.norm(other)


def _dot(a, b):
    return np.einsum("ij,ij->i", a, b)
