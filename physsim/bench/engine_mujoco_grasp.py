"""MuJoCo with a Panda that squeezes and lifts a soft cube: the description that PyBullet ships, servos on the arm, force on the fingers.

The friction cone is elliptic and its impedance ten times the normal's, as MuJoCo's manual advises for grasps; without, the cube slips.
"""

import re
from pathlib import Path

import mujoco
import numpy as np

from physsim.bench import scenes, touch_scenes
from physsim.bench.cases import FRAMES, Case
from physsim.bench.engine_mujoco import ITERATIONS, TOLERANCE, VERSION
from physsim.bench.engine_mujoco_touch import FRICTION, flex

SERVO = (4500.0, 4500.0, 3500.0, 3500.0, 2000.0, 2000.0, 2000.0)
"""Stiffness of the arm's servos [N m/rad]; their damping is a tenth of it [N m s/rad]."""
FINGER_DAMPING = 20.0
GRASP_POINT = "panda_grasptarget"


class TouchSimulation:
    """One second in which fingers close and the arm goes up; see `engines.Simulation`."""

    def __init__(self, case: Case, substeps: int, options: dict):
        self.substeps, self.warnings, self.contacts = substeps, 0, 0
        robot = _robot().compile()
        data = mujoco.MjData(robot)
        data.qpos[:] = [*touch_scenes.HOME, touch_scenes.OPEN, touch_scenes.OPEN]
        mujoco.mj_kinematics(robot, data)
        self.middle = data.body(GRASP_POINT).xpos.copy()
        world = mujoco.MjSpec.from_string(_scene(self.middle, case, 1.0 / (FRAMES * substeps)))
        world.attach(_robot(), frame=world.worldbody.add_frame(), prefix="robot_")
        self.model = world.compile()
        self.data = mujoco.MjData(self.model)
        names = [f"robot_panda_joint{k + 1}" for k in range(7)] + ["robot_panda_finger_joint1", "robot_panda_finger_joint2"]
        self.joints = [int(self.model.joint(name).qposadr[0]) for name in names]

    def warm_up(self) -> None:
        """Take a step."""
        mujoco.mj_step(self.model, self.data)

    def simulate(self) -> np.ndarray:
        """Return how far the cube's middle has come up [m] at each frame; nan from a frame in which MuJoCo has warned or diverged."""
        curve, self.contacts = np.full(FRAMES, np.nan), 0
        mujoco.mj_resetData(self.model, self.data)
        self.data.qpos[self.joints] = [*touch_scenes.HOME, touch_scenes.OPEN, touch_scenes.OPEN]
        self.data.ctrl[7:] = -touch_scenes.GRIP_FORCE
        for frame in range(FRAMES):
            for _ in range(self.substeps):
                self.data.ctrl[:7] = touch_scenes.robot_arm(self.data.time)
                mujoco.mj_step(self.model, self.data)
            self.contacts = max(self.contacts, self.data.ncon)
            height = self.data.flexvert_xpos.reshape(-1, 3)[:, 2].mean() - self.middle[2]
            self.warnings = int(self.data.warning.number.sum())
            if self.warnings or not np.isfinite(height):
                break
            curve[frame] = height
        return curve

    def facts(self) -> dict:
        """Version, threads, dtype, the most contacts, how often MuJoCo warned, and how far apart the fingers' pads are [m]."""
        facts = {"version": VERSION, "threads": 1, "dtype": "float64", "warnings": self.warnings, "contacts": self.contacts}
        return facts | {"pads_apart_m": float(self.data.qpos[self.joints[7:]].sum())}


def _robot() -> mujoco.MjSpec:
    """The Panda of PyBullet's data with its collision meshes, weightless as under gravity compensation, with actuators."""
    import pybullet_data

    folder = Path(pybullet_data.getDataPath()) / "franka_panda"
    text = re.sub(r"<visual>.*?</visual>", "", (folder / "panda.urdf").read_text(), flags=re.DOTALL).replace("package://", "")
    options = f'<mujoco><compiler meshdir="{folder}" strippath="false" fusestatic="false" balanceinertia="true"/></mujoco>'
    spec = mujoco.MjSpec.from_string(re.sub(r"(<robot[^>]*>)", lambda found: found.group(1) + options, text, count=1))
    for body in spec.bodies:
        body.gravcomp = 1.0
    for joint in spec.joints:
        name, finger = joint.name, "finger" in joint.name
        actuator = spec.add_actuator(name=name, target=name, trntype=mujoco.mjtTrn.mjTRN_JOINT)
        if finger:
            joint.damping[0] = FINGER_DAMPING
            continue
        stiffness = SERVO[int(name[-1]) - 1]
        actuator.gainprm[0] = stiffness
        actuator.biastype = mujoco.mjtBias.mjBIAS_AFFINE
        actuator.biasprm[1:3] = [-stiffness, -0.1 * stiffness]
    for body in spec.bodies:
        for geometry in body.geoms:
            geometry.friction = [1.0, 0.005, 0.0001]
            if "finger" not in body.name:
                geometry.contype = geometry.conaffinity = 0
    return spec


def _scene(middle: np.ndarray, case: Case, dt: float) -> str:
    points, cells = touch_scenes.robot_cube()
    elasticity = f'young="{case.stiffness}" poisson="{touch_scenes.CUBE_POISSON}" damping="0.01"'
    mass = touch_scenes.CUBE_DENSITY * touch_scenes.CUBE_SIZE**3
    table = middle - [0.0, 0.0, 0.5 * touch_scenes.CUBE_SIZE + 0.0215]
    place = " ".join(f"{value:.9g}" for value in table)
    return f"""
    <mujoco>
      <option timestep="{dt}" gravity="0 0 -{scenes.GRAVITY}" integrator="discrete" iterations="{ITERATIONS}" tolerance="{TOLERANCE}"
              cone="elliptic" impratio="10"/>
      <worldbody>
        <geom type="box" size="0.1 0.1 0.02" pos="{place}" friction="{FRICTION}"/>
        {flex("cube", 3, mass, points + middle, cells, elasticity, 'selfcollide="none"')}
      </worldbody>
    </mujoco>"""
