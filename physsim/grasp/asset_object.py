"""An Asset as a thing to grasp: stood on the table, or, of a sheet, laid on it with a fold to take hold of."""

import numpy as np

from physsim.errors import InputError
from physsim.grasp.objects import TILT, GraspObject, fold_profile, folded_hold, solid_choice
from physsim.io.mesh import SurfaceMesh
from physsim.physics.mesh import TetMesh
from physsim.physics.sheets import TriMesh
from physsim.robots.grasping import Gripper, grasp_candidates

FRICTION = 0.8  # against fingers and table, where the asset's fit did not find one
FLAT = 0.02  # thickness of a flat sheet's rest shape, as a share of its length
COARSEST = 0.012  # cells of a sheet that a fold can be pressed into [m]
FOLD = (0.024, 0.06)  # height and foot of that fold [m]
SUPPORT = 1e-3  # how far from the lowest plane a point still stands on it, as a share of the size
LEAST_LEAN = np.radians(5.0)  # that a thing may be leaned before it tips over, for a place on the table to be one


def asset_object(asset: object, gripper: Gripper | None = None, friction: float | None = None) -> GraspObject:
    """The thing to grasp that an Asset is.

    A solid stands as its rest shape does (z up), if it stands firmly and the hand finds a hold then; else on the side of its hull on which
    it stands most firmly of those that leave a hold. A sheet lies flat, with a fold pressed into its middle, which then is its rest shape.

    Args:
        asset: Asset of a solid or a sheet, with a material.
        gripper: of the hand that is to take it; None: the Panda's.
        friction: coefficient against fingers and table; None: the one that its fit found, else 0.8.

    Returns:
        GraspObject, which carries the asset.

    Raises:
        InputError: no material, a rod or a net, no way to stand or no hold for the hand, a sheet that is not flat or too coarse to fold.
    """
    if asset.material is None:
        raise InputError(f"asset {asset.name!r}: it has no material, so that nothing tells how it gives way; fit one by `physsim fit`")
    if friction is None:
        friction = _fitted_friction(asset)
    gripper = gripper or Gripper()
    if isinstance(asset.mesh, TetMesh):
        return _solid(asset, gripper, friction)
    if isinstance(asset.mesh, TriMesh):
        return _sheet(asset, friction)
    raise InputError(f"asset {asset.name!r}: a {type(asset.mesh).__name__} cannot be grasped here; solids and sheets can")


def _fitted_friction(asset):
    if asset.twin is None:
        return FRICTION
    from physsim.twin.twin_file import twin_of

    found = float(twin_of(asset).fit.values.get("friction", FRICTION))
    return found if found > 0.05 else FRICTION  # what slides like ice in a fit was never pressed there


def _solid(asset, gripper, friction):
    mesh, tried = asset.mesh, 0
    for turn in resting_turns(mesh):
        stood = _stood(mesh, turn)
        surface = SurfaceMesh(stood.points, stood.surface())
        tried += 1
        if grasp_candidates(surface, gripper, friction=friction, tilt=TILT, table=0.0, seed=1):
            chosen = solid_choice(stood, friction)
            shift = stood.points[0] - turn @ mesh.points[0]
            return GraspObject(asset.name, stood, asset.material, friction, 0.0, chosen, asset=asset, turn=turn, shift=shift)
    size = ", ".join(f"{1e3 * s:.0f}" for s in np.ptp(mesh.points, axis=0))
    ways = f"on none of the {tried} sides that it stands on" if tried else "it stands on no side, and"
    text = f"asset {asset.name!r}: {ways} does the hand find a hold; it is {size} mm, and the fingers open {1e3 * gripper.opening:.0f} mm"
    raise InputError(f"{text}; give another robot, or a smaller thing")


def _stood(mesh, turn):
    points = mesh.points @ turn.T
    low, high = points.min(axis=0), points.max(axis=0)
    return TetMesh(points - [*(low + high)[:2] / 2, low[2]], mesh.cells)


def resting_turns(mesh: TetMesh) -> list[np.ndarray]:
    """Rotations, shape [3, 3] each, after which a solid stands on the plane z = 0: as it is, if it stands so, then the firmest first."""
    from scipy.spatial import ConvexHull

    points = mesh.points
    volumes = mesh.volumes()
    middle = volumes @ points[mesh.cells[:, :4]].mean(axis=1) / volumes.sum()
    size = np.ptp(points, axis=0).max()
    normals = np.unique(np.round(ConvexHull(points).equations[:, :3], 3), axis=0)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    down = np.array([0.0, 0.0, -1.0])
    lean = {i: lean_before_tipping(points, middle, normal, SUPPORT * size) for i, normal in enumerate(normals)}
    order = sorted((i for i in lean if lean[i] > LEAST_LEAN), key=lambda i: -lean[i])
    turns = [_turn_to(normals[i], down) for i in order]
    as_it_is = lean_before_tipping(points, middle, down, SUPPORT * size) > LEAST_LEAN
    return ([np.eye(3)] if as_it_is else []) + turns


def lean_before_tipping(points: np.ndarray, middle: np.ndarray, normal: np.ndarray, tolerance: float) -> float:
    """Angle by which a thing may be leaned before it tips over the edge of what it stands on [rad]; negative where it cannot stand.

    Args:
        points: of its surface [m], shape [n, 3].
        middle: its centre of mass [m], shape [3].
        normal: outward, of the plane that it stands on, shape [3].
        tolerance: how far from that plane a point still stands on it [m].
    """
    from scipy.spatial import ConvexHull, QhullError

    depth = points @ normal
    standing = points[depth > depth.max() - tolerance]
    u = np.cross(normal, np.eye(3)[np.abs(normal).argmin()])
    u /= np.linalg.norm(u)
    plane = np.stack([u, np.cross(normal, u)])
    try:
        edges = ConvexHull(standing @ plane.T).equations
    except (QhullError, ValueError):  # it would stand on a line or a point
        return -np.pi / 2
    inside = -(edges[:, :2] @ (plane @ middle) + edges[:, 2]).max()
    return float(np.arctan2(inside, depth.max() - middle @ normal))


def _turn_to(direction, target):
    """The rotation by the least angle that takes a unit vector to another."""
    from scipy.spatial.transform import Rotation

    axis = np.cross(direction, target)
    sine, cosine = np.linalg.norm(axis), float(direction @ target)
    if sine < 1e-9:
        return np.eye(3) if cosine > 0.0 else np.diag([1.0, -1.0, -1.0])
    return Rotation.from_rotvec(axis / sine * np.arctan2(sine, cosine)).as_matrix()


def _sheet(asset, friction):
    mesh, (height, foot) = asset.mesh, FOLD
    centred = mesh.points - mesh.points.mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    flat = centred @ axes.T
    size = np.ptp(flat, axis=0)
    edges = mesh.edges()
    cell = float(np.median(np.linalg.norm(flat[edges[:, 1]] - flat[edges[:, 0]], axis=1)))
    if size[2] > FLAT * size[0]:
        raise InputError(
            f"asset {asset.name!r}: its rest shape is not flat ({1e3 * size[2]:.0f} mm high); only flat sheets are laid down here"
        )
    if cell > COARSEST or size[0] < 1.5 * foot:
        told = f"edges of {1e3 * cell:.0f} mm, {1e3 * size[0]:.0f} mm long"
        raise InputError(
            f"asset {asset.name!r}: {told}: the fold that the fingers take needs edges of at most {1e3 * COARSEST:.0f} mm and a sheet of "
            f"{1e3 * 1.5 * foot:.0f} mm; fit it again with a smaller --cell-size"
        )
    x, z = fold_profile(flat[:, 0], height, foot)
    folded = TriMesh(np.stack([x, flat[:, 1], z], axis=1), mesh.triangles)
    thickness = max(float(np.max(getattr(asset.material, "thickness", None) or 0.0)), 1e-3)
    hold = folded_hold(height, foot)
    return GraspObject(
        asset.name, folded, asset.material, friction, thickness, lambda gripper: [hold], least_grip=0.5, release=0.04, asset=asset
    )
