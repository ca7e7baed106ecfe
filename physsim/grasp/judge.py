"""What a grasp is judged by: how far it lifted, whether it slipped, what the fingers felt."""

import numpy as np

from physsim.grasp.sequence import LIFT, SHAKE, Sequence

HELD = 0.9  # share of the lift that the object must keep through the hold, and of its weight that the fingers must carry then
DOWN = 2e-3  # how near to the table's top, where it began, the object's lowest point must be at the end [m]


class Slip:
    """Tangential way of an object along two fingers since a moment.

    Args:
        points: of the object then [m], shape [n, 3].
        forces: contact forces on them then [N], shape [n, 3].
        fingers: (position [3], rotation matrix [3, 3]) of both fingers then.
        closing: unit vector from the first finger to the second, shape [3].
    """

    def __init__(self, points, forces, fingers, closing):
        push = forces @ closing
        self._shares = [np.maximum(push, 0.0), np.maximum(-push, 0.0)]  # the first finger pushes along, the second against
        self._local = [self._in_finger(points, finger) for finger in fingers]
        self._closing = [rotation.T @ closing for _, rotation in fingers]

    def way(self, points, fingers):
        """Length of the way [m]: of both fingers the larger, each the mean over its contact, weighed by force; NaN without contact."""
        ways = []
        for share, before, closing, finger in zip(self._shares, self._local, self._closing, fingers, strict=True):
            if share.sum() <= 0.0:
                return np.nan
            moved = share @ (self._in_finger(points, finger) - before) / share.sum()
            ways.append(np.linalg.norm(moved - (moved @ closing) * closing))
        return float(max(ways))

    @staticmethod
    def _in_finger(points, finger):
        position, rotation = finger
        return (points - position) @ rotation


def judge(sequence: Sequence, samples: list, slip: np.ndarray, weight: float) -> dict:
    """Numbers of report.json that follow from the samples.

    Args:
        sequence: Sequence that was run.
        samples: Samples, one a step.
        slip: [m], shape [samples], NaN before the hold.
        weight: of the object [N].

    Returns:
        success, lift_m, slip_mm, slip_shake_mm, finger_force_n, finger_force_difference_pct, carried_n, carried_error_pct,
        object_weight_n, momentum_residual, stall_mm.
    """
    times = np.array([s.time for s in samples])
    heights = np.array([s.height for s in samples]) - samples[0].height
    pressing, carried = np.array([s.pressing for s in samples]), np.array([s.carried for s in samples])

    def during(name):
        start, end = sequence.phase(name)
        return (times > start + 1e-9) & (times <= end + 1e-9)

    hold, shake = during("hold"), during("shake")
    still = hold & (times > np.mean(sequence.phase("hold")))
    forces = pressing[still].mean(axis=0)
    up = heights[hold].min() >= HELD * LIFT and heights[shake].min() >= HELD * LIFT - 1.2 * SHAKE
    held = bool(up and carried[still].mean() >= HELD * weight)
    ended = bool(samples[-1].lowest - samples[0].lowest < DOWN and carried[-1] < (1.0 - HELD) * weight)  # a cloth may lean on a finger
    mean = max(float(forces.mean()), 1e-12)
    return {
        "success": held and ended,
        "lift_m": float(heights[hold].mean()),
        "slip_mm": 1e3 * _span(slip[hold]),
        "slip_shake_mm": 1e3 * _span(slip[shake]),
        "finger_force_n": forces.tolist(),
        "finger_force_difference_pct": 100.0 * float(abs(forces[0] - forces[1])) / mean,
        "carried_n": float(carried[still].mean()),
        "carried_error_pct": 100.0 * (float(carried[still].mean()) / weight - 1.0),
        "object_weight_n": weight,
        "momentum_residual": float(max(s.momentum_residual for s in samples)),
        "stall_mm": 1e3 * float(max(s.stall for s in samples)),
    }


def _span(values):
    finite = values[np.isfinite(values)]
    return float(finite.max() - finite.min()) if len(finite) else np.nan
