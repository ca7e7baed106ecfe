"""What is grasped: a soft cube, a plush and a folded cloth, each with its stuff, its place and where to take hold."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from physsim import assets
from physsim.errors import InputError
from physsim.io.mesh import SurfaceMesh, load_mesh
from physsim.physics.materials import NeoHookean, Shell
from physsim.physics.mesh import TetMesh, box_mesh
from physsim.physics.sheets import TriMesh, sheet_mesh
from physsim.robots.grasping import GraspCandidate, Gripper, grasp_candidates

GRAVITY = 9.81  # [m/s^2]
CLEARANCE = 1e-3  # between the object and the table at the start [m]
TILT = 30.0  # largest angle of the hand from upright [degree]


@dataclass(frozen=True)
class GraspObject:
    """A thing to grasp, resting on z = 0 about x = y = 0.

    Attributes:
        name: as on the command line
        mesh: TetMesh of a solid, TriMesh of a sheet, as it is at rest and at first
        material: NeoHookean or Shell
        friction: coefficient against fingers and table
        thickness: of its surface in contact [m]
        choose: from a Gripper to the GraspCandidates, the best first
        least_grip: least force that fingers press with, such as to close a fold [N]
        release: height above the place of the grasp at which it is let go [m]; what hangs down would else be pressed on the table
        asset: Asset that it is, or None
        turn, shift: rotation [3, 3] and shift [3] [m] that took a solid asset's rest shape to `mesh`
    """

    name: str
    mesh: TetMesh | TriMesh
    material: NeoHookean | Shell
    friction: float
    thickness: float
    choose: Callable[[Gripper], list[GraspCandidate]]
    least_grip: float = 0.0
    release: float = 0.0
    asset: object = None
    turn: np.ndarray | None = None
    shift: np.ndarray | None = None

    @property
    def points(self) -> np.ndarray:
        """Of its mesh [m], shape [n, 3]."""
        return self.mesh.points

    @property
    def triangles(self) -> np.ndarray:
        """Of its surface, indices into `points`, shape [t, 3]."""
        return self.mesh.surface() if isinstance(self.mesh, TetMesh) else self.mesh.triangles

    @property
    def is_sheet(self) -> bool:
        """Whether it is a cloth."""
        return isinstance(self.mesh, TriMesh)

    def height(self, points: np.ndarray, masses: np.ndarray) -> float:
        """Height that tells how far it is lifted [m]: of a solid's centre of mass, of a sheet's highest point, for the rest hangs down."""
        return float(points[:, 2].max() if self.is_sheet else masses @ points[:, 2] / masses.sum())

    def add(self, builder, place):
        """Add it to a ModelBuilder at a place on the table (x, y) [m]; returns the Body."""
        shift = np.array([*place, CLEARANCE])
        if self.is_sheet:
            body = builder.add_cloth(TriMesh(self.points + shift, self.mesh.triangles), self.material, name=self.name)
        else:
            body = builder.add_soft_body(TetMesh(self.points + shift, self.mesh.cells), self.material, name=self.name)
        builder.set_surface(body, material=self.name, thickness=self.thickness)
        return body


def grasp_object(name: str) -> GraspObject:
    """The object of that name.

    Raises:
        InputError: there is none.
    """
    if name not in OBJECTS:
        raise InputError(f"object {name!r} is unknown; choose one of {', '.join(OBJECTS)}, or the folder of an asset")
    return OBJECTS[name]()


def soft_cube() -> GraspObject:
    """A cube of 5 cm, 320 tetrahedra, 50 kPa, 300 kg/m3."""
    side = 0.05
    mesh = box_mesh((side, side, side), (4, 4, 4), origin=(-0.5 * side, -0.5 * side, 0.0))
    return _solid("cube", mesh, NeoHookean(young=5e4, poisson=0.3, density=300.0, viscosity=10.0), friction=0.8)


def plush() -> GraspObject:
    """The bear that ships with physsim: about 2,000 tetrahedra, 20 kPa, 120 kg/m3, as stuffing is."""
    mesh = load_mesh(assets.folder("plush") / "plush.mesh")
    mesh = TetMesh(mesh.points - [0.0, 0.0, mesh.points[:, 2].min()], mesh.cells)
    return _solid("plush", mesh, NeoHookean(young=2e4, poisson=0.3, density=120.0, viscosity=10.0), friction=0.8)


def folded_cloth() -> GraspObject:
    """A cloth of 16 by 9 cm that lies on the table with a fold pressed into its middle, 24 mm high: that is its shape at rest."""
    length, width, height, foot, cell = 0.16, 0.09, 0.024, 0.06, 0.006
    sheet = sheet_mesh((length, width), (round(length / cell), round(width / cell)))
    centred = sheet.points - sheet.points.mean(axis=0)
    x, z = fold_profile(centred[:, 0], height, foot)
    mesh = TriMesh(np.stack([x, centred[:, 1], z], axis=1), sheet.triangles)
    stuff = Shell(stretch=2000.0, bending=3e-5, area_density=0.25, thickness=1e-3, stretch_damping=0.5, bending_damping=1e-6)
    hold = folded_hold(height, foot)
    return GraspObject("cloth", mesh, stuff, 0.6, 1e-3, lambda gripper: [hold], least_grip=0.5, release=0.04)


OBJECTS = {"cube": soft_cube, "plush": plush, "cloth": folded_cloth}


def _solid(name: str, mesh: TetMesh, material: NeoHookean, friction: float) -> GraspObject:
    return GraspObject(name, mesh, material, friction, 0.0, solid_choice(mesh, friction))


def solid_choice(mesh: TetMesh, friction: float) -> Callable[[Gripper], list[GraspCandidate]]:
    """From a Gripper to the ways to take hold of a solid that stands on z = 0, the best first."""

    def choose(gripper):
        surface = SurfaceMesh(mesh.points, mesh.surface())
        found = grasp_candidates(surface, gripper, friction=friction, tilt=TILT, table=0.0, seed=1)
        middle = (mesh.volumes() @ mesh.points[mesh.cells].mean(axis=1) / mesh.volumes().sum())[2]

        def rank(c):  # what is held above its centre of mass hangs and does not tip over; level fingers share the weight alike
            return c.center[2] < middle, -c.quality * (1.0 - 3.0 * abs(c.closing_axis[2]))

        return sorted(found, key=rank)

    return choose


def folded_hold(height: float, foot: float) -> GraspCandidate:
    """Where a fold of a height and a foot [m] across x, as `fold_profile` makes it, is taken."""
    return GraspCandidate(np.array([0.0, 0.0, 0.6 * height]), np.array([1.0, 0.0, 0.0]), np.array([0.0, 0.0, -1.0]), 0.5 * foot, 1.0)


def fold_profile(along: np.ndarray, height: float, foot: float) -> tuple[np.ndarray, np.ndarray]:
    """Places x and heights z of points by their distance from the middle of the sheet, for the profile height cos^2(pi x / foot)."""
    x = np.linspace(0.0, 0.5 * foot, 2000)
    z = height * np.cos(np.pi * x / foot) ** 2
    run = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(x), np.diff(z)))])
    far = np.abs(along)
    beyond = np.maximum(far - run[-1], 0.0)
    return np.sign(along) * (np.interp(far, run, x) + beyond), np.interp(far, run, z)
