"""PyBullet on the scenes in which things touch: deformable bodies of its deformable world.

Its cloth is a net of springs with the shell's stiffness, and does not touch itself: with that a cloth of 16 x 16 does not get through a
second in a hundred. Its solids are neo-Hookean. At steps much above 1/1920 s both fly apart. A deformable body is read from files, and its
vertices may come in another order.
"""

import tempfile
from pathlib import Path

import numpy as np
import pybullet

from physsim.bench import scenes, touch_scenes
from physsim.bench.cases import FRAMES, Case

MARGIN = 1.0e-3
"""Collision margin [m], as large as the gap of physsim's contact."""
ARM, FINGERS, GRASP_POINT = list(range(7)), [9, 10], 11
"""Numbers of the Panda's joints, and of the link between its fingers."""
VERSION = str(pybullet.getAPIVersion())


class TouchSimulation:
    """One simulated second; see `engines.Simulation`."""

    def __init__(self, case: Case, substeps: int, options: dict):
        self.case, self.substeps, self.deepest = case, substeps, 0.0
        if case.kind == "touch-cloth":
            scene = touch_scenes.cloth_on_sphere(case.size)
            self.depth = lambda x: scene.radius - np.linalg.norm(x - scene.centre, axis=1).min()
        elif case.kind == "grasp":
            scene, self.depth = None, lambda x: 0.0
        else:
            scene = touch_scenes.pile(case.size)
            self.depth = lambda x: -x[:, 2].min()
        self.scene = scene

    def _build(self) -> None:
        """Begin anew: PyBullet cannot put a deformable body back."""
        if pybullet.isConnected():
            pybullet.disconnect()
        pybullet.connect(pybullet.DIRECT)
        pybullet.resetSimulation(pybullet.RESET_USE_DEFORMABLE_WORLD)
        pybullet.setGravity(0, 0, -scenes.GRAVITY)
        pybullet.setPhysicsEngineParameter(sparseSdfVoxelSize=0.25)
        pybullet.setTimeStep(1.0 / (FRAMES * self.substeps))
        with tempfile.TemporaryDirectory() as folder:
            self.bodies = {"touch-cloth": self._cloth, "touch-pile": self._pile, "grasp": self._grasp}[self.case.kind](Path(folder))

    def _cloth(self, folder: Path) -> list[int]:
        scene = self.scene
        ball = pybullet.createCollisionShape(pybullet.GEOM_SPHERE, radius=scene.radius)
        pybullet.changeDynamics(pybullet.createMultiBody(0, ball, basePosition=scene.centre.tolist()), -1, lateralFriction=1.0)
        path = _surface_file(folder / "cloth.obj", scene.points, scene.triangles)
        springs = {"springElasticStiffness": self.case.stiffness, "springDampingStiffness": 0.1, "springBendingStiffness": 1.0}
        return [
            pybullet.loadSoftBody(
                path,
                mass=scenes.CLOTH_MASS,
                useMassSpring=1,
                useBendingSprings=1,
                useSelfCollision=0,
                useFaceContact=1,
                frictionCoeff=touch_scenes.FRICTION,
                collisionMargin=MARGIN,
                **springs,
            )
        ]

    def _pile(self, folder: Path) -> list[int]:
        plane = pybullet.createCollisionShape(pybullet.GEOM_BOX, halfExtents=[5.0, 5.0, 0.5])
        pybullet.createMultiBody(0, plane, basePosition=[0.0, 0.0, -0.5])
        return [self._solid(folder / str(k), points, self.scene.cells) for k, points in enumerate(self.scene.points)]

    def _grasp(self, folder: Path) -> list[int]:
        """A Panda from PyBullet's data over a cube on a block."""
        import pybullet_data

        self.robot = pybullet.loadURDF(f"{pybullet_data.getDataPath()}/franka_panda/panda.urdf", useFixedBase=True)
        for joint, value in zip(ARM + FINGERS, (*touch_scenes.HOME, touch_scenes.OPEN, touch_scenes.OPEN), strict=True):
            pybullet.resetJointState(self.robot, joint, value)
        middle = np.array(pybullet.getLinkState(self.robot, GRASP_POINT, computeForwardKinematics=1)[4])
        block = pybullet.createCollisionShape(pybullet.GEOM_BOX, halfExtents=[0.1, 0.1, 0.02])
        below = middle - [0.0, 0.0, 0.5 * touch_scenes.CUBE_SIZE + 0.0215]
        pybullet.createMultiBody(0, block, basePosition=below.tolist())
        points, cells = touch_scenes.robot_cube()
        self.middle, self.time = middle, 0.0
        return [self._solid(folder / "cube", points + middle, cells)]

    def _solid(self, path: Path, points: np.ndarray, cells: np.ndarray) -> int:
        young, poisson = self.case.stiffness, touch_scenes.CUBE_POISSON
        return pybullet.loadSoftBody(
            _surface_file(path.with_suffix(".obj"), points, _faces(cells)),
            simFileName=_solid_file(path.with_suffix(".vtk"), points, cells),
            mass=touch_scenes.CUBE_DENSITY * touch_scenes.CUBE_SIZE**3,
            useNeoHookean=1,
            NeoHookeanMu=young / (2.0 * (1.0 + poisson)),
            NeoHookeanLambda=young * poisson / ((1.0 + poisson) * (1.0 - 2.0 * poisson)),
            NeoHookeanDamping=0.001,
            useSelfCollision=0,
            useFaceContact=1,
            frictionCoeff=touch_scenes.FRICTION,
            collisionMargin=MARGIN,
            repulsionStiffness=800,
        )

    def _step(self) -> None:
        if self.case.kind == "grasp":
            joints = touch_scenes.robot_arm(self.time).tolist()
            pybullet.setJointMotorControlArray(self.robot, ARM, pybullet.POSITION_CONTROL, joints, forces=[87.0] * 7)
            force = [touch_scenes.GRIP_FORCE] * 2
            pybullet.setJointMotorControlArray(self.robot, FINGERS, pybullet.POSITION_CONTROL, [0.0, 0.0], forces=force)
            self.time += 1.0 / (FRAMES * self.substeps)
        pybullet.stepSimulation()

    def warm_up(self) -> None:
        """Take a step."""
        self._build()
        pybullet.stepSimulation()
        self._build()

    def _places(self) -> np.ndarray:
        meshes = [pybullet.getMeshData(body, -1, flags=pybullet.MESH_DATA_SIMULATION_MESH)[1] for body in self.bodies]
        return np.concatenate([np.array(mesh) for mesh in meshes])

    def simulate(self) -> np.ndarray:
        """Return the bodies' mean height [m] at each frame."""
        curve, self.deepest = np.full(FRAMES, np.nan), 0.0
        for frame in range(FRAMES):
            for _ in range(self.substeps):
                self._step()
            places = self._places()
            if not np.isfinite(places).all():
                break
            ground = self.middle[2] if self.case.kind == "grasp" else 0.0
            curve[frame], self.deepest = places[:, 2].mean() - ground, max(self.deepest, float(self.depth(places)))
        self._build()
        return curve

    def facts(self) -> dict:
        """Version, threads, dtype and the deepest overlap [m]."""
        return {"version": VERSION, "threads": 1, "dtype": "float64", "deepest_m": self.deepest}


def _surface_file(path: Path, points: np.ndarray, triangles: np.ndarray) -> str:
    lines = ["v {:.9g} {:.9g} {:.9g}".format(*p) for p in points] + ["f {} {} {}".format(*(t + 1)) for t in triangles]
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def _solid_file(path: Path, points: np.ndarray, cells: np.ndarray) -> str:
    lines = ["# vtk DataFile Version 2.0", "cube", "ASCII", "DATASET UNSTRUCTURED_GRID", f"POINTS {len(points)} double"]
    lines += ["{:.9g} {:.9g} {:.9g}".format(*p) for p in points]
    lines += [f"CELLS {len(cells)} {5 * len(cells)}", *("4 {} {} {} {}".format(*c) for c in cells)]
    lines += [f"CELL_TYPES {len(cells)}", *["10"] * len(cells)]
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def _faces(cells: np.ndarray) -> np.ndarray:
    """Triangles of a solid's surface: the faces of only one tetrahedron, outwards."""
    faces = np.concatenate([cells[:, [0, 2, 1]], cells[:, [0, 1, 3]], cells[:, [1, 2, 3]], cells[:, [0, 3, 2]]])
    _, first, counts = np.unique(np.sort(faces, axis=1), axis=0, return_index=True, return_counts=True)
    return faces[first[counts == 1]]
