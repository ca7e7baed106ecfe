"""Geometry of the scenes in which things touch: the same points, elements and masses for every engine (numpy only)."""

from dataclasses import dataclass

import numpy as np

from physsim.bench.scenes import bar, cloth

CLOTH_SIZE = 1.0
"""Edge of the cloth [m]; stiffness, mass and bending are those of the benchmark's shell."""
SPHERE_RADIUS = 0.25
DROP = 0.05
"""Way from the cloth's underside to the sphere's top [m]."""

CUBE_SIZE = 0.05
CUBE_YOUNG = 5.0e4
CUBE_POISSON = 0.3
CUBE_DENSITY = 300.0
LAYERS = (4, 4, 2)
"""Cubes in each layer of the pile, from below."""
LAYER_HEIGHT = 0.08
FRICTION = 0.5


@dataclass(frozen=True)
class ClothOnSphere:
    """A square cloth above the middle of a sphere that stands still."""

    points: np.ndarray
    """Rest positions [m], shape [n, 3], in the plane z = 0 around the origin."""
    triangles: np.ndarray
    centre: np.ndarray
    """Of the sphere [m], shape [3]."""
    radius: float


@dataclass(frozen=True)
class Pile:
    """Soft cubes that fall on the ground z = 0 and on each other, each turned in its own way."""

    points: np.ndarray
    """Start positions [m], without stress, shape [cubes, n, 3]."""
    cells: np.ndarray
    """Tetrahedra of one cube, shape [m, 4]."""

    @property
    def cube_mass(self) -> float:
        """Of one cube [kg]."""
        return CUBE_DENSITY * CUBE_SIZE**3


def cloth_on_sphere(side: int) -> ClothOnSphere:
    """Return the scene with `side` particles along each edge of the cloth."""
    sheet = cloth(side)
    points = CLOTH_SIZE * (sheet.points - [0.5, 0.5, 0.0])
    return ClothOnSphere(points, sheet.triangles, np.array([0.0, 0.0, -DROP - SPHERE_RADIUS]), SPHERE_RADIUS)


def pile(boxes: int, layers: tuple[int, ...] = LAYERS) -> Pile:
    """Return the pile of cubes with `boxes` boxes of five tetrahedra along each edge."""
    points, cells = bar((CUBE_SIZE,) * 3, (boxes,) * 3)
    points = points - 0.5 * CUBE_SIZE
    cubes = []
    for layer, count in enumerate(layers):
        for k in range(count):
            number = len(cubes)
            turn = 2.0 * np.pi * (k / count + 0.13 * layer)
            aside = 0.06 if count > 2 else 0.04  # m from the pile's axis: a cube's diagonal leaves room between neighbours
            place = [aside * np.cos(turn), aside * np.sin(turn), 0.05 + LAYER_HEIGHT * layer]
            cubes.append(points @ _turned(number).T + place)
    return Pile(np.array(cubes), cells)


def _turned(number: int) -> np.ndarray:
    """A rotation that differs from one cube to the next: axes and angles step by irrational shares of a turn."""
    golden = 0.5 * (np.sqrt(5.0) - 1.0)
    height, around, angle = 2.0 * ((number + 0.5) * golden % 1.0) - 1.0, 2.0 * np.pi * golden * number, 0.3 + 0.9 * number
    flat = np.sqrt(1.0 - height**2)
    x, y, z = flat * np.cos(around), flat * np.sin(around), height
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.eye(3) + np.sin(angle) * cross + (1.0 - np.cos(angle)) * cross @ cross


FINGER_HALF = (0.005, 0.015, 0.015)
"""Half edges of a finger [m]."""
GRIP = 0.003
"""How far each finger's face goes beyond the cube's [m]."""
LIFT = 0.10


@dataclass(frozen=True)
class Grasp:
    """A soft cube on the ground between two fingers that close, lift it and hold it."""

    points: np.ndarray
    """Start positions [m], shape [n, 3]."""
    cells: np.ndarray
    times: np.ndarray
    """Of the fingers' keys [s], shape [k]."""
    fingers: dict[str, np.ndarray]
    """Name -> its middle at each key [m], shape [k, 3]."""


def grasp(boxes: int = 3) -> Grasp:
    """Return the scene with `boxes` boxes of five tetrahedra along each edge of the cube."""
    points, cells = bar((CUBE_SIZE,) * 3, (boxes,) * 3)
    points = points + [-0.5 * CUBE_SIZE, -0.5 * CUBE_SIZE, 0.001]
    times = np.array([0.0, 0.3, 0.8, 1.0])
    apart = 0.5 * CUBE_SIZE + FINGER_HALF[0] + np.array([0.01, -GRIP, -GRIP, -GRIP])
    height = 0.001 + 0.5 * CUBE_SIZE + np.array([0.0, 0.0, LIFT, LIFT])
    still = np.zeros(4)
    return Grasp(points, cells, times, {n: np.stack([side * apart, still, height], 1) for n, side in (("left", -1.0), ("right", 1.0))})


HOME = (0.0, -0.4, 0.0, -2.2, 0.0, 1.8, 0.785)
"""Joints of the Panda's arm with the hand upright over the cube [rad]."""
OPEN = 0.04
"""Joint of each open finger [m]."""
GRIP_FORCE = 5.0
"""With which each finger presses [N]."""
ROBOT_BOXES = 4
"""Boxes of five tetrahedra along each edge of the cube that a robot grasps."""


def robot_cube() -> tuple[np.ndarray, np.ndarray]:
    """Return points [m] about the cube's middle, shape [n, 3], and cells of the cube that a robot grasps."""
    points, cells = bar((CUBE_SIZE,) * 3, (ROBOT_BOXES,) * 3)
    return points - 0.5 * CUBE_SIZE, cells


def robot_arm(time: float) -> np.ndarray:
    """Return the joints that the arm shall have at a time [rad]: still for 0.5 s, while the fingers close, and up by 0.1 m in the next."""
    joints = np.array(HOME)
    joints[1] -= 0.25 * np.clip((time - 0.5) / 0.5, 0.0, 1.0)
    return joints
