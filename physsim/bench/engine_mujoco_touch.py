"""MuJoCo on the scenes in which things touch: flexible bodies with its soft contacts, integrator `discrete`."""

import mujoco
import numpy as np

from physsim.bench import scenes, touch_scenes
from physsim.bench.cases import FRAMES, Case
from physsim.bench.engine_mujoco import ITERATIONS, TOLERANCE, VERSION, numbers

RADIUS = 1.0e-3
"""Thickness about a flexible body's points [m], as large as the gap of physsim's contact."""
FRICTION = f"{touch_scenes.FRICTION} 0.005 0.0001"


class TouchSimulation:
    """One simulated second; see `engines.Simulation`."""

    def __init__(self, case: Case, substeps: int, options: dict):
        self.substeps = substeps
        if case.kind == "touch-cloth":
            scene = touch_scenes.cloth_on_sphere(case.size)
            bodies, self.depth = _cloth(scene, case), lambda x: scene.radius - np.linalg.norm(x - scene.centre, axis=1).min()
        else:
            bodies, self.depth = _pile(touch_scenes.pile(case.size), case), lambda x: -x[:, 2].min()
        self.model = mujoco.MjModel.from_xml_string(_document(bodies, 1.0 / (FRAMES * substeps)))
        self.data = mujoco.MjData(self.model)
        self.warnings, self.deepest, self.contacts = 0, 0.0, 0

    def warm_up(self) -> None:
        """Take a step."""
        mujoco.mj_step(self.model, self.data)

    def simulate(self) -> np.ndarray:
        """Return the bodies' mean height [m] at each frame; nan from a frame in which MuJoCo has warned or diverged."""
        curve, self.deepest, self.contacts = np.full(FRAMES, np.nan), 0.0, 0
        mujoco.mj_resetData(self.model, self.data)
        for frame in range(FRAMES):
            for _ in range(self.substeps):
                mujoco.mj_step(self.model, self.data)
            self.contacts = max(self.contacts, self.data.ncon)
            places = self.data.flexvert_xpos.reshape(-1, 3)  # one step behind
            self.warnings = int(self.data.warning.number.sum())
            if self.warnings or not np.isfinite(places).all():
                break
            curve[frame], self.deepest = places[:, 2].mean(), max(self.deepest, float(self.depth(places)))
        return curve

    def facts(self) -> dict:
        """Version, threads, dtype, the deepest overlap [m], the most contacts, and how often MuJoCo warned."""
        facts = {"version": VERSION, "threads": 1, "dtype": "float64", "warnings": self.warnings}
        return facts | {"deepest_m": self.deepest, "contacts": self.contacts}


def _document(bodies: str, dt: float) -> str:
    return f"""
    <mujoco>
      <option timestep="{dt}" gravity="0 0 -{scenes.GRAVITY}" integrator="discrete" solver="CG"
              iterations="{ITERATIONS}" tolerance="{TOLERANCE}"/>
      <size memory="6G"/>
      <worldbody>{bodies}</worldbody>
    </mujoco>"""


def flex(name: str, dim: int, mass: float, points: np.ndarray, elements: np.ndarray, elasticity: str, contact: str) -> str:
    """Return a body of one flexible component in MuJoCo's XML."""
    return f"""
    <body name="{name}">
      <flexcomp name="{name}_flex" type="direct" dim="{dim}" mass="{mass}" radius="{RADIUS}"
                point="{numbers(points)}" element="{numbers(elements)}">
        <elasticity {elasticity}/>
        <contact condim="3" friction="{FRICTION}" {contact}/>
      </flexcomp>
    </body>"""


def _cloth(scene: touch_scenes.ClothOnSphere, case: Case) -> str:
    elasticity = f'young="{case.stiffness / scenes.SHELL_THICKNESS}" poisson="{scenes.SHELL_POISSON}" '
    elasticity += f'thickness="{scenes.SHELL_THICKNESS}" elastic2d="both" damping="0"'
    sphere = f'<geom type="sphere" size="{scene.radius}" pos="{numbers(scene.centre)}" friction="{FRICTION}"/>'
    return sphere + flex("cloth", 2, scenes.CLOTH_MASS, scene.points, scene.triangles, elasticity, 'selfcollide="auto"')


def _pile(scene: touch_scenes.Pile, case: Case) -> str:
    elasticity = f'young="{case.stiffness}" poisson="{touch_scenes.CUBE_POISSON}" damping="0"'
    ground = f'<geom type="plane" size="5 5 0.1" friction="{FRICTION}"/>'
    cubes = [
        flex(f"cube{k}", 3, scene.cube_mass, points, scene.cells, elasticity, 'selfcollide="none"') for k, points in enumerate(scene.points)
    ]
    return ground + "".join(cubes)
