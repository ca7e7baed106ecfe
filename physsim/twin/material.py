"""The material that a twin begins with: what is known of the body, and for the rest values from which a fit can start."""

import numpy as np

from physsim.capture.capture import Known
from physsim.physics.materials import NeoHookean, Rod, Shell
from physsim.twin.body import SoftBody

SAG = 0.02  # strain under its own weight of the stiffness that a fit starts from
RELAXATION = 1e-3  # viscosity over modulus that a fit starts from [s]: a damping ratio of 1 % at 3 Hz
DENSITY = {"solid": 1000.0, "sheet": 300.0, "rod": 1000.0}  # where nothing is known [kg/m^3]
POISSON = {"solid": 0.35, "sheet": 0.3, "rod": 0.3}
THIN = 1e-3  # thickness of a sheet of which none is known [m]
SLENDER = 0.01  # diameter over length of a rod of which none is known


def first_material(body: SoftBody, known: Known, gravity: np.ndarray) -> tuple[NeoHookean | Shell | Rod, list[str]]:
    """Material of the right kind to begin with.

    Args:
        body: SoftBody.
        known: mass or density, thickness, Poisson's ratio as far as they are known.
        gravity: [m/s^2], shape [3].

    Returns:
        (NeoHookean, Shell or Rod; what was assumed, in plain words). A sheet or rod whose thickness is not known has its bending stiffness
        as a parameter of its own, because no thickness ties it to Young's modulus.
    """
    make = {"solid": _solid, "sheet": _sheet, "rod": _rod}[body.kind]
    heavy = max(float(np.linalg.norm(gravity)), 1.0)
    return make(body, known, heavy)


def _density(body: SoftBody, known: Known, volume: float) -> tuple[float, list[str]]:
    if known.mass is not None:
        return known.mass / volume, []
    if known.density is not None:
        return known.density, []
    text = f"neither mass nor density is known: {DENSITY[body.kind]:g} kg/m^3 is assumed"
    return DENSITY[body.kind], [f"{text}; only ratios of stiffness, damping and density count"]


def _solid(body, known, heavy):
    density, remarks = _density(body, known, float(body.mesh.volumes().sum()))
    poisson = known.poisson
    if poisson is None:
        poisson = POISSON["solid"]
        remarks.append(f"Poisson's ratio is not known: {poisson:g} is assumed until it is fitted")
    young = density * heavy * _extent(body) / SAG
    return NeoHookean(young=young, poisson=poisson, density=density, viscosity=RELAXATION * young), remarks


def _sheet(body, known, heavy):
    thickness = THIN if known.thickness is None else known.thickness
    density, remarks = _density(body, known, float(body.mesh.areas().sum()) * thickness)
    poisson = POISSON["sheet"] if known.poisson is None else known.poisson
    extent = _extent(body)
    young = density * heavy * extent / SAG
    bending = young * thickness**3 / (12 * (1 - poisson**2))
    given = {"young": young, "thickness": thickness, "poisson": poisson, "density": density}
    if known.thickness is None:
        # a strip of a tenth of the extent that bends by a radian under its own weight
        bending = density * thickness * heavy * (0.1 * extent) ** 3
        given["bending"] = bending
        text = f"the thickness is not known: {thickness:g} m is assumed, so that Young's modulus times it is the stiffness per width"
        remarks.append(f"{text}; bending is a parameter of its own")
    damping = {"stretch_damping": RELAXATION * young * thickness, "bending_damping": RELAXATION * bending}
    return Shell(**given, **damping), remarks


def _rod(body, known, heavy):
    length = float(body.mesh.lengths.sum())
    thickness = SLENDER * length if known.thickness is None else known.thickness
    radius = thickness / 2
    area = np.pi * radius**2
    density, remarks = _density(body, known, length * area)
    # a tenth of the length that bends by a radian under its own weight
    bending = density * area * heavy * (0.1 * length) ** 3
    young = bending / (np.pi / 4 * radius**4)
    poisson = POISSON["rod"] if known.poisson is None else known.poisson
    if known.thickness is not None:
        given = {"young": young, "density": density, "radius": radius}
        stretch = young * area
    else:
        stretch = density * area * heavy * length / 1e-3
        given = {"stretch": stretch, "bending": bending, "line_density": density * area, "radius": radius}
        remarks.append("the diameter is not known: bending stiffness over mass per length is what the motion tells; it does not stretch")
    damping = {"stretch_damping": RELAXATION * stretch, "bending_damping": RELAXATION * bending}
    return Rod(**given, poisson=poisson, **damping), remarks


def _extent(body: SoftBody) -> float:
    return float(np.ptp(body.points, axis=0).max())
