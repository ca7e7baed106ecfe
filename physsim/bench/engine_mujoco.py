"""MuJoCo as a peer: flexible bodies with the implicit `discrete` integrator.

The shell is its two-dimensional flex with membrane and bending (it has no spring net of the cloth's kind); the beam its
three-dimensional St. Venant-Kirchhoff flex. A thousand solver iterations are allowed, because with its usual fifty the solve
stops short and only a warning says so; a row with warnings is not used.
"""

import mujoco
import numpy as np

from physsim.bench import scenes
from physsim.bench.cases import FRAMES, Case

VERSION = mujoco.__version__
ITERATIONS = 1000
TOLERANCE = 1.0e-6


def numbers(values: np.ndarray) -> str:
    """Return numbers as an attribute of MuJoCo's XML."""
    return " ".join(f"{value:.9g}" for value in np.ravel(values))


def _document(scene: scenes.Cloth | scenes.Beam, case: Case, dt: float) -> str:
    """Return the model in MuJoCo's XML."""
    if isinstance(scene, scenes.Cloth):
        dim, mass, elements, pins, solver = 2, scenes.CLOTH_MASS, scene.triangles, scene.pins, "CG"
        elasticity = f'young="{case.stiffness / scenes.SHELL_THICKNESS}" poisson="{scenes.SHELL_POISSON}" '
        elasticity += f'thickness="{scenes.SHELL_THICKNESS}" elastic2d="both"'
        radius = 0.05 / (case.size - 1)
    else:
        dim, mass, elements, pins, solver = 3, scenes.BEAM_DENSITY * np.prod(scenes.BEAM_SIZE), scene.cells, scene.clamped, "Newton"
        elasticity = f'young="{case.stiffness}" poisson="{scenes.BEAM_POISSON}"'
        radius = 1.0e-3
    return f"""
    <mujoco>
      <option timestep="{dt}" gravity="0 0 -{scenes.GRAVITY}" integrator="discrete" solver="{solver}"
              iterations="{ITERATIONS}" tolerance="{TOLERANCE}"/>
      <size memory="6G"/>
      <worldbody>
        <body name="ground">
          <flexcomp name="flex" type="direct" dim="{dim}" mass="{mass}" radius="{radius}"
                    point="{numbers(scene.points)}" element="{numbers(elements)}">
            <pin id="{numbers(pins)}"/>
            <elasticity {elasticity} damping="0"/>
            <contact contype="0" conaffinity="0" selfcollide="none"/>
          </flexcomp>
        </body>
      </worldbody>
    </mujoco>"""


class MujocoSimulation:
    """One simulated second of a shell or a beam; see `engines.Simulation`."""

    def __init__(self, case: Case, substeps: int, options: dict):
        self.substeps = substeps
        scene = scenes.beam(case.size) if case.kind == "beam" else scenes.cloth(case.size)
        self.tip = scene.tip if case.kind == "beam" else None
        self.model = mujoco.MjModel.from_xml_string(_document(scene, case, 1.0 / (FRAMES * substeps)))
        self.data = mujoco.MjData(self.model)
        self.rest_z = scene.points[:, 2]
        self.address = self._height_addresses()
        self.warnings = 0

    def _height_addresses(self) -> np.ndarray:
        """Where each vertex's z displacement stands in qpos (its third slide joint), or -1 if it is pinned."""
        bodies = self.model.flex_vertbodyid
        joint = self.model.body_jntadr[bodies]
        return np.where(self.model.body_jntnum[bodies] == 3, self.model.jnt_qposadr[joint] + 2, -1)

    def heights(self) -> np.ndarray:
        """Return every vertex's z [m], read from qpos: flexvert_xpos is one step behind after mj_step."""
        moved = np.where(self.address >= 0, self.data.qpos[self.address], 0.0)
        return self.rest_z + moved

    def warm_up(self) -> None:
        """Take a step."""
        mujoco.mj_step(self.model, self.data)

    def simulate(self) -> np.ndarray:
        """Return the compared height [m] at each frame; nan from a frame in which MuJoCo has warned or diverged."""
        curve = np.full(FRAMES, np.nan)
        mujoco.mj_resetData(self.model, self.data)
        for frame in range(FRAMES):
            for _ in range(self.substeps):
                mujoco.mj_step(self.model, self.data)
            z = self.heights()
            self.warnings = int(self.data.warning.number.sum())
            if self.warnings or not np.isfinite(z).all():
                break
            curve[frame] = z.min() if self.tip is None else z[self.tip].mean()
        return curve

    def facts(self) -> dict:
        """Version, threads, dtype and how often MuJoCo warned."""
        return {
            "version": VERSION,
            "threads": 1,
            "dtype": "float64",
            "warnings": self.warnings,
        }
