"""Splats go where the material goes: exactly where the motion tells it, as rotations where it does not."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

import physsim as ps
from physsim.appearance.baking import bake
from physsim.appearance.binding import RigidBinding, bind
from physsim.appearance.carriers import usual_distance
from physsim.appearance.harmonics import spherical_harmonics
from physsim.appearance.sources import splats_from_mesh
from physsim.appearance.splats import Splats
from physsim.errors import InputError

ARC = np.linspace(0.0, 1.0, 9)
MESHES = {
    "tetrahedra of 4 nodes": ps.box_mesh((1.0, 0.8, 0.6), (3, 3, 2)),
    "tetrahedra of 10 nodes": ps.box_mesh((1.0, 0.8, 0.6), (2, 2, 1), order=2),
    "sheet": ps.sheet_mesh((1.0, 0.8), (5, 4)),
    "net": ps.spring_net((5, 4), (1.0, 0.8)),
    "lattice": None,
    "rod": ps.Curve(np.stack([ARC, 0.3 * np.sin(3 * ARC), 0.2 * ARC**2], axis=1)),
}
PLANAR = ("sheet", "net")


def lattice():
    """Springs of a box's tetrahedra: a net that spans all directions."""
    box = ps.box_mesh((1.0, 0.8, 0.6), (3, 3, 2))
    pairs = np.sort(box.cells[:, [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]]].reshape(-1, 2), axis=1)
    return ps.SpringNet(box.points, np.unique(pairs, axis=0))


MESHES["lattice"] = lattice()


def splats_at(points, rng, dtype=torch.float64):
    n = len(points)
    values = points, rng.uniform(0.003, 0.03, (n, 3)), rng.normal(size=(n, 4)), rng.uniform(0.1, 0.9, n), rng.normal(size=(n, 4, 3))
    return Splats(*(torch.as_tensor(v, dtype=dtype) for v in values))


def points_of(mesh, rng, count=200, off=0.02):
    """Points inside a mesh or near it."""
    corners = mesh.points[mesh.cells[:, :4] if hasattr(mesh, "cells") else mesh.triangles if hasattr(mesh, "triangles") else mesh.edges]
    shares = rng.dirichlet(np.ones(corners.shape[1]), count)
    return np.einsum("nk,nkd->nd", shares, corners[rng.integers(0, len(corners), count)]) + off * rng.uniform(-1, 1, (count, 3))


def covariances(posed):
    return posed.factors @ posed.factors.mT


def rest_covariances(splats):
    R = Rotation.from_quat(splats.rotations.double().numpy(), scalar_first=True).as_matrix()
    return torch.as_tensor((R * splats.scales.double().numpy()[:, None] ** 2) @ R.swapaxes(1, 2))


@pytest.mark.parametrize(("dtype", "close"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
@pytest.mark.parametrize("name", MESHES)
def test_rigid_motion_turns_splats_exactly(name, dtype, close, rng):
    mesh = MESHES[name]
    splats = splats_at(points_of(mesh, rng), rng, dtype)
    R, t = Rotation.random(random_state=rng).as_matrix(), rng.normal(size=3)
    posed = bind(splats, mesh).pose(torch.as_tensor(mesh.points @ R.T + t))
    assert posed.means.dtype == dtype
    np.testing.assert_allclose(posed.means, splats.means.double().numpy() @ R.T + t, atol=2 * close)
    np.testing.assert_allclose(posed.deformations, np.broadcast_to(R, (len(splats), 3, 3)), atol=2 * close)
    np.testing.assert_allclose(covariances(posed), R @ rest_covariances(splats).numpy() @ R.T, atol=close)


@pytest.mark.parametrize("name", MESHES)
def test_a_stretch_of_two_scales_the_covariance_by_four_along_it(name, rng):
    mesh = MESHES[name]
    if name == "rod":
        mesh = ps.Curve.straight((0.0, 0.0, 0.0), (1.0, 0.0, 0.0), 8)
    splats = splats_at(points_of(mesh, rng), rng)
    stretched = mesh.points * np.array([2.0, 1.0, 1.0])
    if name == "rod":
        stretched = ps.Curve.straight((0.0, 0.0, 0.0), (2.0, 0.0, 0.0), 8, normal=mesh.normal).points
    posed = bind(splats, mesh).pose(torch.as_tensor(stretched))
    A = torch.diag(torch.tensor([2.0, 1.0, 1.0], dtype=torch.float64))
    np.testing.assert_allclose(posed.means, splats.means @ A, atol=1e-12)
    np.testing.assert_allclose(covariances(posed), A @ rest_covariances(splats) @ A, atol=1e-12)


@pytest.mark.parametrize("name", ["tetrahedra of 4 nodes", "tetrahedra of 10 nodes", "lattice"])
def test_any_affine_motion_of_a_solid_is_followed_exactly(name, rng):
    mesh = MESHES[name]
    splats = splats_at(points_of(mesh, rng), rng)
    A = np.eye(3) + 0.3 * rng.uniform(-1, 1, (3, 3))
    posed = bind(splats, mesh).pose(torch.as_tensor(mesh.points @ A.T))
    np.testing.assert_allclose(posed.means, splats.means.numpy() @ A.T, atol=1e-12)
    np.testing.assert_allclose(posed.deformations, np.broadcast_to(A, (len(splats), 3, 3)), atol=1e-12)


@pytest.mark.parametrize("name", PLANAR)
def test_a_sheet_stretched_in_its_plane_keeps_its_thickness(name, rng):
    mesh = MESHES[name]
    splats = splats_at(points_of(mesh, rng), rng)
    A = np.diag([1.7, 0.6, 1.0])
    A[0, 1] = 0.4
    R = Rotation.random(random_state=rng).as_matrix()
    posed = bind(splats, mesh).pose(torch.as_tensor(mesh.points @ A.T @ R.T))
    np.testing.assert_allclose(posed.deformations, np.broadcast_to(R @ A, (len(splats), 3, 3)), atol=1e-12)
    np.testing.assert_allclose(posed.means, splats.means.numpy() @ A.T @ R.T, atol=1e-12)


def test_a_parabola_is_followed_exactly_by_tetrahedra_of_ten_nodes(rng):
    mesh = MESHES["tetrahedra of 10 nodes"]
    splats = splats_at(points_of(mesh, rng, off=0.0), rng)
    moved = lambda x: np.stack([x[:, 0], x[:, 1] + 0.2 * x[:, 0] ** 2, x[:, 2] - 0.1 * x[:, 0] * x[:, 1]], axis=1)  # noqa: E731
    x = splats.means.numpy()
    F = np.broadcast_to(np.eye(3), (len(x), 3, 3)).copy()
    F[:, 1, 0], F[:, 2, 0], F[:, 2, 1] = 0.4 * x[:, 0], -0.1 * x[:, 1], -0.1 * x[:, 0]
    posed = bind(splats, mesh).pose(torch.as_tensor(moved(mesh.points)))
    np.testing.assert_allclose(posed.means, moved(x), atol=1e-12)
    np.testing.assert_allclose(posed.deformations, F, atol=1e-12)


def test_neither_means_nor_deformations_jump_between_tetrahedra(rng):
    """Points on both sides of every face, a micrometre apart, in a body that is bent at random."""
    mesh = MESHES["tetrahedra of 4 nodes"]
    faces = mesh.points[mesh.cells[:, [0, 1, 2]]]
    at = np.einsum("nk,nkd->nd", rng.dirichlet(np.ones(3), len(faces)), faces)
    normal = np.cross(faces[:, 1] - faces[:, 0], faces[:, 2] - faces[:, 0])
    normal *= 5e-7 / np.linalg.norm(normal, axis=1, keepdims=True)
    x = torch.as_tensor(mesh.points + 0.05 * rng.normal(size=mesh.points.shape))
    sides = [bind(splats_at(at + s * normal, rng), mesh, limit=None).pose(x) for s in (-1, 1)]
    assert (sides[0].means - sides[1].means).abs().max() < 1e-5
    assert (sides[0].deformations - sides[1].deformations).abs().max() < 1e-4


def test_splats_off_a_bent_sheet_move_with_its_normal(rng):
    """A sheet rolled onto a cylinder: what lay `off` above it lies at radius r + off.

    At the rim, normals are those of the last triangles, off by half a triangle's turn: 1/60 rad, 0.33 mm at 2 cm.
    """
    mesh, radius, off = ps.sheet_mesh((1.0, 0.3), (60, 3)), 0.5, 0.02
    rolled = lambda p, r: np.stack([r * np.sin(p[:, 0] / radius), p[:, 1], r * np.cos(p[:, 0] / radius)], axis=1)  # noqa: E731
    points = points_of(mesh, rng, off=0.0)
    above = points + [0.0, 0.0, off]
    posed = bind(splats_at(above, rng), mesh).pose(torch.as_tensor(rolled(mesh.points, radius)))
    np.testing.assert_allclose(posed.means, rolled(points, radius + off), atol=4e-4)


def test_a_twisted_rod_turns_its_splats_with_its_frame(rng):
    curve = ps.Curve.straight((0.0, 0.0, 0.0), (1.0, 0.0, 0.0), 100, normal=(0.0, 0.0, 1.0))
    x = curve.points.copy()
    middle = x[101:, 0]
    angle = 2.0 * middle  # [rad] of twist
    x[101:, 1], x[101:, 2] = -curve.arm * np.sin(angle), curve.arm * np.cos(angle)
    points = np.stack([rng.uniform(0.02, 0.98, 50), rng.uniform(-0.01, 0.01, 50), rng.uniform(-0.01, 0.01, 50)], axis=1)
    posed = bind(splats_at(points, rng), curve).pose(torch.as_tensor(x))
    R = Rotation.from_rotvec(2.0 * points[:, :1] * [1.0, 0.0, 0.0])
    np.testing.assert_allclose(posed.means, R.apply(points * [0, 1, 1]) + points * [1, 0, 0], atol=2e-4)
    np.testing.assert_allclose(posed.deformations, R.as_matrix(), atol=2e-3)


@pytest.mark.parametrize("kind", ["curve", "net"])
def test_a_rope_turns_and_stretches_its_splats_along_itself(kind, rng):
    """A line does not tell its spin: splats on it, round across it, are exact under rigid motion and along a stretch."""
    line = np.stack([ARC, 0.2 * np.sin(4 * ARC), 0 * ARC], axis=1) if kind == "curve" else ARC[:, None] * [0.6, 0.8, 0.0]
    edges = np.stack([np.arange(8), np.arange(1, 9)], axis=1)
    mesh = ps.Curve(line, framed=False) if kind == "curve" else ps.SpringNet(line, edges)
    middles = line[edges].mean(axis=1) if kind == "net" else line[[0, -1]]
    along = np.broadcast_to([0.6, 0.8, 0.0], middles.shape) if kind == "net" else np.diff(line, axis=0)[[0, -1]]
    along = along / np.linalg.norm(along, axis=1, keepdims=True)
    splats = splats_at(middles, rng)
    turns = Rotation.concatenate([Rotation.align_vectors(a[None], [[1.0, 0, 0]])[0] for a in along])
    scales = torch.tensor([[0.03, 0.01, 0.01]], dtype=torch.float64).expand(len(middles), 3)
    splats = splats.replace(scales=scales, rotations=torch.as_tensor(turns.as_quat(scalar_first=True)))
    R = Rotation.random(random_state=rng).as_matrix()
    posed = bind(splats, mesh).pose(torch.as_tensor(2.0 * mesh.points @ R.T))
    np.testing.assert_allclose(posed.means, 2.0 * middles @ R.T, atol=1e-12)
    t = along @ R.T
    expected = 0.01**2 * np.eye(3) + (4 * 0.03**2 - 0.01**2) * t[:, :, None] * t[:, None]
    np.testing.assert_allclose(covariances(posed), expected, atol=1e-12)


@pytest.mark.parametrize("angle", [np.pi, np.pi - 1e-7, np.pi - 0.01])
def test_a_rope_turned_back_onto_itself_still_has_splats(angle, rng):
    mesh = ps.Curve.straight((0.0, 0.0, 0.0), (1.0, 0.0, 0.0), 8)
    rope = ps.Curve(mesh.line, framed=False)
    R = Rotation.from_rotvec([0.0, 0.0, angle]).as_matrix()
    x = torch.as_tensor(rope.points @ R.T).requires_grad_()
    posed = bind(splats_at(points_of(rope, rng, off=0.0), rng), rope).pose(x)
    F = posed.deformations
    np.testing.assert_allclose((F @ F.mT).detach(), np.broadcast_to(np.eye(3), F.shape), atol=1e-9)
    (posed.factors.sum() + F.square().sum()).backward()
    assert x.grad.isfinite().all()


def test_layers_of_a_net_that_lie_close_do_not_stick_together(rng):
    flat = ps.spring_net((6, 6), (1.0, 1.0))
    count = len(flat.points)
    layers = ps.SpringNet(np.concatenate([flat.points, flat.points + [0, 0, 0.02]]), np.concatenate([flat.edges, count + flat.edges]))
    splats = splats_at(points_of(flat, rng, off=0.0), rng)
    x = layers.points.copy()
    x[count:, 2] += 1.0  # the upper layer is lifted
    np.testing.assert_allclose(bind(splats, layers).pose(torch.as_tensor(x)).means, splats.means, atol=1e-12)


@pytest.mark.parametrize("name", MESHES)
def test_gradients_are_those_of_central_differences(name, rng):
    mesh = MESHES[name]
    splats = splats_at(points_of(mesh, rng, count=20), rng)
    binding = bind(splats, mesh)
    x = torch.as_tensor(mesh.points + 0.03 * rng.normal(size=mesh.points.shape)).requires_grad_()
    given = [getattr(splats, key).clone().requires_grad_() for key in ("means", "scales", "rotations")]

    def pose(x, means, scales, rotations):
        posed = binding.pose(x, splats.replace(means=means, scales=scales, rotations=rotations))
        return posed.means, 50.0 * posed.factors, posed.deformations

    assert torch.autograd.gradcheck(pose, (x, *given), eps=1e-6, atol=1e-6, rtol=1e-5)


def test_gradients_of_a_rope_are_those_of_central_differences(rng):
    rope = ps.Curve(MESHES["rod"].line, framed=False)
    binding = bind(splats_at(points_of(rope, rng, count=10), rng), rope)
    x = torch.as_tensor(rope.points @ Rotation.random(random_state=rng).as_matrix() + 0.02 * rng.normal(size=rope.points.shape))
    pose = lambda x: binding.pose(x).deformations  # noqa: E731
    assert torch.autograd.gradcheck(pose, (x.requires_grad_(),), eps=1e-6, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("name", MESHES)
def test_single_precision_gives_the_gradients_of_double_precision(name, rng):
    mesh = MESHES[name]
    splats = splats_at(points_of(mesh, rng), rng)
    x = torch.as_tensor(mesh.points + 0.02 * rng.normal(size=mesh.points.shape))
    found = []
    pulls = [torch.as_tensor(rng.normal(size=shape)) for shape in ((len(splats), 3), (len(splats), 3, 3), (len(splats), 3, 3))]
    for dtype in (torch.float32, torch.float64):
        given = [v.to(dtype).clone().requires_grad_() for v in (splats.means, splats.scales, splats.rotations)]
        own = x.clone().requires_grad_()
        changed = splats.to(dtype).replace(means=given[0], scales=given[1], rotations=given[2])
        posed = bind(splats.to(dtype), mesh).pose(own, changed)
        torch.autograd.backward((posed.means, posed.factors, posed.deformations), [p.to(dtype) for p in pulls])
        found.append([g.grad.double() for g in (own, *given)])
    for single, double in zip(*found, strict=True):
        np.testing.assert_allclose(single, double, atol=2e-5 * double.abs().max())


@pytest.mark.parametrize("name", MESHES)
def test_the_same_pose_gives_the_same_bits(name, rng):
    mesh = MESHES[name]
    binding = bind(splats_at(points_of(mesh, rng), rng, torch.float32), mesh)
    x = torch.as_tensor(mesh.points + 0.02 * rng.normal(size=mesh.points.shape), dtype=torch.float32)
    found = []
    for _ in range(2):
        own = x.clone().requires_grad_()
        posed = binding.pose(own)
        (posed.means.sum() + posed.factors.square().sum()).backward()
        found.append((posed.factors.detach(), own.grad))
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])


def clamped(A, limit):
    """Stretches of A within [1 / limit, limit], by numpy: the least one carries the sign."""
    U, s, Vt = np.linalg.svd(A)
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(A))])
    return U @ np.diag(np.clip(s * sign, 1 / limit, limit) * sign) @ Vt


def test_needles_and_inside_out_elements_are_clamped_as_singular_values_say(rng):
    mesh = MESHES["tetrahedra of 4 nodes"]
    binding = bind(splats_at(points_of(mesh, rng, count=5), rng), mesh, limit=3.0)
    for _ in range(50):
        A = rng.normal(size=(3, 3)) * rng.uniform(0.1, 5.0)
        posed = binding.pose(torch.as_tensor(mesh.points @ A.T))
        np.testing.assert_allclose(posed.deformations, np.broadcast_to(clamped(A, 3.0), (5, 3, 3)), atol=1e-10)


def test_gradients_of_clamped_splats_are_those_of_central_differences(rng):
    mesh = ps.box_mesh((1.0, 1.0, 1.0), (1, 1, 1))
    binding = bind(splats_at(rng.uniform(0.1, 0.9, (6, 3)), rng), mesh, limit=1.5)
    A = np.diag([2.5, 1.1, 0.3])
    for inside_out in (1.0, -1.0):
        x = mesh.points @ (A * inside_out) + 0.05 * rng.normal(size=mesh.points.shape)
        pose = lambda x: (binding.pose(x).deformations, binding.pose(x).factors * 50.0)  # noqa: E731
        assert torch.autograd.gradcheck(pose, (torch.as_tensor(x).requires_grad_(),), eps=1e-6, atol=1e-5, rtol=1e-4)


COLLAPSES = [
    np.zeros((3, 3)),
    -np.eye(3),
    np.diag([1.0, 1, 0]),
    np.diag([1.0, 0, 0]),
    np.diag([1.0, 1, -1]),
    1e-15 * np.eye(3),
    1e12 * np.eye(3),
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", MESHES)
def test_whatever_becomes_of_the_body_nothing_is_nan(name, dtype, rng):
    mesh = MESHES[name]
    binding = bind(splats_at(points_of(mesh, rng, count=50), rng, dtype), mesh)
    for A in COLLAPSES:
        x = torch.as_tensor(mesh.points @ A, dtype=dtype).requires_grad_()
        posed = binding.pose(x)
        sizes = torch.linalg.svdvals(posed.deformations.detach())
        assert sizes.max() < 4.01
        assert sizes.min() > 0.24
        directions = posed.directions(torch.tensor([5.0, 4.0, 3.0]))
        (posed.means.sum() + posed.factors.square().sum() + posed.deformations.square().sum() + directions.sum()).backward()
        assert x.grad.isfinite().all()


def test_slopes_stay_bounded_where_a_triangle_has_no_area(rng):
    mesh = ps.sheet_mesh((0.4, 0.4), (8, 8))
    binding = bind(splats_from_mesh(mesh, 300), mesh)
    weight = torch.as_tensor(rng.normal(size=(300, 3, 3)), dtype=torch.float32)

    def steepest(points):
        """Largest slope by a coordinate of the points [1/m]."""
        x = torch.as_tensor(points, dtype=torch.float32).requires_grad_()
        (binding.pose(x).factors * weight).sum().backward()
        return float(x.grad.abs().max())

    flat, edge, middle = mesh.points.copy(), mesh.points.copy(), mesh.points.copy()
    edge[1] = edge[0]
    a, b, c = mesh.triangles[40]
    middle[c] = (middle[a] + middle[b]) / 2
    assert max(steepest(edge), steepest(middle)) < 1000 * steepest(flat)  # the direction of no normal would have ten million


def test_directions_turn_into_the_material_frame(rng):
    mesh = MESHES["tetrahedra of 4 nodes"]
    splats = splats_at(points_of(mesh, rng), rng)
    A = np.eye(3) + 0.3 * rng.uniform(-1, 1, (3, 3))
    eye = np.array([3.0, -2.0, 1.0])
    posed = bind(splats, mesh).pose(torch.as_tensor(mesh.points @ A.T))
    seen = (splats.means.numpy() @ A.T - eye) @ np.linalg.inv(A).T
    np.testing.assert_allclose(posed.directions(torch.as_tensor(eye)), seen / np.linalg.norm(seen, axis=1, keepdims=True), atol=1e-12)


def test_a_baked_rigid_motion_shows_the_same_colours_from_everywhere(rng):
    mesh = MESHES["sheet"]
    splats = splats_at(points_of(mesh, rng), rng)
    R = Rotation.random(random_state=rng).as_matrix()
    posed = bind(splats, mesh).pose(torch.as_tensor(mesh.points @ R.T))
    eye = torch.as_tensor(rng.normal(size=3) * 3.0)
    seen = torch.nn.functional.normalize(posed.means - eye, dim=1)
    baked = spherical_harmonics(bake(splats, posed).harmonics, seen)
    np.testing.assert_allclose(baked, spherical_harmonics(splats.harmonics, posed.directions(eye)), atol=1e-12)


def test_a_baked_frame_has_the_same_covariances_or_given_colours(rng):
    mesh = MESHES["tetrahedra of 4 nodes"]
    splats = splats_at(points_of(mesh, rng), rng)
    posed = bind(splats, mesh).pose(torch.as_tensor(mesh.points + 0.05 * rng.normal(size=mesh.points.shape)))
    baked = bake(splats, posed).check()
    np.testing.assert_allclose(baked.means, posed.means)
    np.testing.assert_allclose(rest_covariances(baked), covariances(posed), atol=1e-14)
    colours = torch.as_tensor(rng.uniform(size=(len(splats), 3)))
    np.testing.assert_allclose(0.5 + 0.28209479177387814 * bake(splats, posed, colours).harmonics[:, 0], colours, atol=1e-12)
    with pytest.raises(InputError, match="colours of shape"):
        bake(splats, posed, colours[:5])


def test_a_body_of_a_model_takes_its_own_particles(rng):
    builder = ps.ModelBuilder()
    builder.add_soft_body(ps.box_mesh((0.1, 0.1, 0.1), (1, 1, 1)), ps.NeoHookean(young=1e4))
    body = builder.add_cloth(MESHES["sheet"], ps.Shell(stretch=100.0, bending=1e-5, area_density=0.1))
    model = builder.finalize()
    splats = splats_at(points_of(MESHES["sheet"], rng), rng, torch.float32)
    everything = torch.as_tensor(model.rest + [0.0, 0.0, 2.0]).requires_grad_()
    posed = bind(splats, body).pose(everything)
    np.testing.assert_allclose(posed.means.detach(), splats.means + torch.tensor([0.0, 0.0, 2.0]), atol=1e-6)
    posed.means.sum().backward()
    assert everything.grad.dtype == torch.float64
    np.testing.assert_allclose(everything.grad.sum(), 3 * len(splats), rtol=1e-5)


def test_a_rigid_body_carries_its_splats(rng):
    builder = ps.ModelBuilder()
    body = builder.add_rigid_body(ps.Box((0.1, 0.2, 0.3)), density=500.0, position=(1.0, 2.0, 3.0), rotation=(0.9, 0.1, 0.3, -0.2))
    model = builder.finalize()
    splats = splats_at(rng.uniform(-0.1, 0.1, (30, 3)), rng)
    posed = bind(splats, body).pose(torch.as_tensor(np.array(model.positions)))
    R = Rotation.from_quat([0.9, 0.1, 0.3, -0.2], scalar_first=True).as_matrix()
    np.testing.assert_allclose(posed.means, splats.means.numpy() @ R.T + [1.0, 2.0, 3.0], atol=1e-12)
    twin = RigidBinding(splats).pose(torch.as_tensor(R), torch.tensor([1.0, 2.0, 3.0]))
    np.testing.assert_allclose(twin.means, posed.means, atol=1e-12)
    np.testing.assert_allclose(twin.factors, posed.factors, atol=1e-12)
    np.testing.assert_allclose(twin.deformations, posed.deformations, atol=1e-12)


def test_a_link_gives_gradients_to_its_pose(rng):
    binding = RigidBinding(splats_at(rng.normal(size=(5, 3)), rng))
    q = torch.as_tensor(Rotation.random(random_state=rng).as_matrix()).requires_grad_()
    t = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    posed = binding.pose(q, t)
    (posed.means.sum() + posed.factors.sum()).backward()
    assert q.grad.abs().max() > 0
    np.testing.assert_allclose(t.grad, 5.0)


def test_wrong_bindings_are_refused(rng):
    mesh = MESHES["sheet"]
    splats = splats_at(points_of(mesh, rng), rng)
    far = splats.replace(means=splats.means + torch.tensor([0.0, 0.0, 0.5]))
    with pytest.raises(InputError, match=r"200 splats lie outside the body, .* or raise outside"):
        bind(far, mesh)
    assert len(bind(far, mesh, outside=0.6).splats) == 200
    with pytest.raises(InputError, match="no splats"):
        bind(splats.select(torch.zeros(200, dtype=torch.bool)), mesh)
    with pytest.raises(InputError, match="TetMesh, TriMesh, SpringNet, Curve or a Body"):
        bind(splats, "mesh")
    with pytest.raises(InputError, match="TetMesh, TriMesh, SpringNet, Curve or a Body"):
        usual_distance("mesh")
    with pytest.raises(InputError, match="limit"):
        bind(splats, mesh, limit=1.0)
    with pytest.raises(InputError, match=r"scales = -1 at \[3, 0\]"):
        bind(splats.replace(scales=torch.where(torch.arange(200)[:, None] == 3, -1.0, splats.scales)), mesh)
    binding = bind(splats, mesh)
    for wrong in (mesh.points, torch.zeros(5, 3), torch.zeros(len(mesh.points), 2), torch.zeros(len(mesh.points), 3, dtype=torch.int64)):
        with pytest.raises(InputError, match="positions"):
            binding.pose(wrong)
    with pytest.raises(InputError, match="bind the new ones"):
        binding.pose(binding.rest(), splats.select(torch.arange(5)))
    with pytest.raises(InputError, match=r"float32 on cpu were given, and torch\.float64 on cpu were bound"):
        binding.pose(binding.rest(), splats.to(torch.float32))
    with pytest.raises(InputError, match="no rotation"):
        RigidBinding(splats).pose(2 * torch.eye(3), torch.zeros(3))


def test_views_of_other_memory_give_the_same_pose_and_gradient(rng):
    mesh = MESHES["sheet"]
    splats = splats_at(points_of(mesh, rng, 20), rng)
    binding = bind(splats, mesh)
    found = []
    for strided in (False, True):
        x = (binding.rest() * torch.tensor([1.1, 0.9, 1.2], dtype=torch.float64)).requires_grad_()
        means = splats.means.clone().requires_grad_()
        given = (x.T.contiguous().T, means.repeat(1, 2)[:, :3]) if strided else (x, means)
        posed = binding.pose(given[0], splats.replace(means=given[1]))
        (posed.means.sum() + (posed.factors.mT if strided else posed.factors).sum()).backward()  # gradients of one number, not of memory
        found.append([posed.means.detach(), posed.factors.detach(), x.grad, means.grad])
    for plain, other in zip(*found, strict=True):
        np.testing.assert_array_equal(plain, other)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", MESHES)
def test_a_gpu_gives_the_same(name, rng):
    mesh = MESHES[name]
    splats = splats_at(points_of(mesh, rng), rng)
    x = torch.as_tensor(mesh.points + 0.05 * rng.normal(size=mesh.points.shape))
    found = []
    for device in ("cpu", "cuda"):
        own = x.to(device).requires_grad_()
        posed = bind(splats.to(device), mesh).pose(own)
        (posed.means.sum() + 1e3 * posed.factors.square().sum() + posed.deformations.square().sum()).backward()
        found.append([v.detach().cpu() for v in (posed.means, posed.factors, posed.deformations, own.grad)])
    for cpu, gpu in zip(*found, strict=True):
        np.testing.assert_allclose(gpu, cpu, atol=1e-10)
