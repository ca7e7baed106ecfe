"""Equilibria against closed forms and published values: beams, patches, spheres, a membrane, chains.

Small loads stand for the linear theory: displacements scale with the load, so that rows computed for a large one are compared
after scaling.
"""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial import ConvexHull
from scipy.spatial.transform import Rotation

import physsim as ps
from physsim.physics.assembly import Assembly

WEIGHTLESS = (0.0, 0.0, 0.0)


def held_box(size, cells, material, order=2, gravity=WEIGHTLESS):
    """(builder, body, indices of the tip's points) of a bar along x that is clamped at x = 0."""
    mesh = ps.box_mesh(size, cells, order=order)
    builder = ps.ModelBuilder(gravity=gravity)
    body = builder.add_soft_body(mesh, material, name="bar")
    builder.attach(body, np.flatnonzero(mesh.points[:, 0] == 0.0), name="clamp")
    return builder, body, np.flatnonzero(mesh.points[:, 0] == size[0])


def area_forces(mesh, chosen):
    """Forces [n, 3] of a unit pressure on the boundary faces whose points are all `chosen`, as the shape functions spread them.

    A ten-node face gives its middle points a third each and its corners nothing.
    """
    triangles = mesh.surface()
    a, b, c = (mesh.points[triangles[:, k]] for k in range(3))
    area = np.cross(b - a, c - a) / 2
    if mesh.order == 2:
        area = area.reshape(-1, 4, 3).sum(axis=1)
        triangles_of_area, corners = triangles.reshape(-1, 4, 3)[:, 3], triangles.reshape(-1, 12)
    else:
        triangles_of_area, corners = triangles, triangles
    inside = chosen[corners].all(axis=1)
    forces = np.zeros_like(mesh.points)
    for k in range(3):
        np.add.at(forces, triangles_of_area[inside, k], -area[inside] / 3)
    return forces


def tip_displacement(model, tip, **options):
    state, report = ps.solve_equilibrium(model, **options)
    assert report.converged
    return (state.positions - model.rest)[tip].mean(axis=0)


# --- beams ---------------------------------------------------------------------------------------------------------------------

SLENDER = {"size": (1.0, 0.05, 0.05), "young": 1e6, "poisson": 0.3, "density": 1000.0}
SILICONE = {"size": (0.1, 0.03, 0.03), "young": 263824.0, "poisson": 0.499, "density": 1070.0}


STOCKY = SILICONE | {"poisson": 0.0}  # a clamp does not hold back a section that does not want to contract


def timoshenko(size, young, poisson, density, force, gravity):
    """Tip deflections (under a tip force, under self weight): bending plus shear with Cowper's coefficient (Cowper 1966)."""
    length, width, height = size
    inertia, area = width * height**3 / 12, width * height
    kappa = 10 * (1 + poisson) / (12 + 11 * poisson)
    shear = kappa * young / (2 * (1 + poisson)) * area
    weight = density * gravity * area
    tip = force * length**3 / (3 * young * inertia) + force * length / shear
    own = weight * length**4 / (8 * young * inertia) + weight * length**2 / (2 * shear)
    return tip, own


@pytest.mark.parametrize(
    ("beam", "force", "gravity", "cells", "row"),
    [
        (SLENDER, 0.05, 9.81, (40, 2, 2), (0.03206120, 5.9010093)),
        (STOCKY, 1.00062, 9.80709, (10, 3, 3), (0.01974105969636324, 0.007106457659651892)),
    ],
    ids=["slender", "stocky"],
)
def test_cantilever_bends_as_timoshenko_says(beam, force, gravity, cells, row):
    """Rows: P L^3/(3 E I) + P L/(kappa G A), and w L^4/(8 E I) + w L^2/(2 kappa G A); here at a thousandth of the load."""
    np.testing.assert_allclose(timoshenko(**beam, force=force, gravity=gravity), row, rtol=1e-6)
    material = ps.NeoHookean(beam["young"], beam["poisson"], beam["density"])
    builder, body, tip = held_box(beam["size"], cells, material)
    load = builder.add_load(body, tip, (0.0, 0.0, 0.0))
    model = builder.finalize()
    bent = tip_displacement(model, tip, params={load: [0, 0, -1e-3 * force]}, tolerance=1e-10)
    sagged = tip_displacement(model, tip, params={"gravity": [0, 0, -1e-3 * gravity]}, tolerance=1e-10)
    assert -1e3 * bent[2] == pytest.approx(row[0], rel=0.02)
    assert -1e3 * sagged[2] == pytest.approx(row[1], rel=0.02)


def test_silicone_beam_bends_as_timoshenko_says_where_no_clamp_holds_its_section():
    """Two cantilevers back to back, their common section pushed up and free to contract: P L^3/(3 E I) + P L/(kappa G A) = 20.20 mm.

    Clamped points would make this short beam of nu = 0.499 some 6 % stiffer than beam theory has it.
    """
    size = (0.2, 0.03, 0.03)
    mesh = ps.box_mesh(size, (20, 3, 3), order=2)
    x = mesh.points[:, 0]
    builder = ps.ModelBuilder(gravity=WEIGHTLESS)
    body = builder.add_soft_body(mesh, ps.NeoHookean(SILICONE["young"], SILICONE["poisson"], SILICONE["density"]))
    builder.attach(body, np.arange(len(x)), stiffness=1e-7)  # against rigid motion
    sections = [np.flatnonzero(np.isclose(x, at)) for at in (0.0, 0.1, 0.2)]
    for section, share in zip(sections, (-1, 2, -1), strict=True):
        builder.add_load(body, section, (0.0, 0.0, share * 1e-3 * 1.00062))
    state, _ = ps.solve_equilibrium(builder.finalize(), tolerance=1e-10)
    left, middle, right = ((state.positions - mesh.points)[section, 2].mean() for section in sections)
    found = 1e3 * (middle - (left + right) / 2)
    assert found == pytest.approx(0.02020369161764409, rel=0.02)


def test_bar_stretches_by_its_load_over_its_stiffness():
    """P L/(E A) = 2e-5 m."""
    builder, body, tip = held_box(SLENDER["size"], (20, 1, 1), ps.NeoHookean(1e6, 0.3, 1000.0))
    weights = np.linalg.norm(area_forces(body.mesh, body.points[:, 0] == 1.0), axis=1)[tip]
    builder.add_load(body, tip, (0.05, 0.0, 0.0), weights=weights)
    found = tip_displacement(builder.finalize(), tip, tolerance=1e-10)[0]
    assert found == pytest.approx(2e-5, rel=0.01)


def slender_rod(poisson):
    """A rod of square section with E I = 1 N m^2, L = 1 m, L/h = 50, and its tip."""
    side = 0.02
    material = ps.NeoHookean(12.0 / side**4, poisson, density=1.0 / side**2)  # 1 kg/m
    return held_box((1.0, side, side), (40, 1, 1) if poisson == 0.0 else (60, 2, 2), material)


@pytest.mark.parametrize("poisson", [0.0, 0.3])
def test_elastica_under_a_tip_load(poisson):
    """Bisshopp and Drucker 1945: (drop, shortening)/L for alpha = P L^2/(E I)."""
    rows = {
        1: (0.30172077379981377, 0.05643323628337693),
        2: (0.493457480396712, 0.16064172082516726),
        5: (0.7137915236119128, 0.38762836072442985),
        10: (0.8106090248802966, 0.5549955977537513),
    }
    builder, body, tip = slender_rod(poisson)
    load = builder.add_load(body, tip, (0.0, 0.0, 0.0))
    model = builder.finalize()
    state = None
    for alpha, expected in rows.items():
        state, _ = ps.solve_equilibrium(model, state, params={load: [0.0, 0.0, -alpha]}, tolerance=1e-6)
        moved = (state.positions - model.rest)[tip].mean(axis=0)
        assert (-moved[2], -moved[0]) == pytest.approx(expected, rel=0.01)


def test_elastica_under_its_own_weight():
    """Drop over reach H/W for Gamma = w L^3/(E I) (boundary-value problem of the heavy elastica)."""
    rows = {0.5: 0.06244445727237667, 1: 0.12456176644159532, 2: 0.24667320579622007, 10: 1.0668023204327517}
    builder, _, tip = slender_rod(0.0)
    model = builder.finalize()
    state = None
    for gamma, expected in rows.items():
        state, _ = ps.solve_equilibrium(model, state, params={"gravity": [0.0, 0.0, -gamma]}, tolerance=1e-6)
        end = state.positions[tip].mean(axis=0) - [0.0, 0.01, 0.01]
        assert -end[2] / end[0] == pytest.approx(expected, rel=0.01)


# --- homogeneous deformation -----------------------------------------------------------------------------------------------------


def distorted_box(order, rng):
    """A box of 3 x 3 x 3 cells whose inner points are moved about."""
    mesh = ps.box_mesh((1.0, 1.0, 1.0), (3, 3, 3))
    inner = ((mesh.points > 1e-9) & (mesh.points < 1 - 1e-9)).all(axis=1)
    points = mesh.points + inner[:, None] * rng.uniform(-0.06, 0.06, mesh.points.shape)
    mesh = ps.TetMesh(points, mesh.cells)
    return mesh if order == 1 else mesh.quadratic()


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("amount", [1e-3, 0.2])
def test_patch_of_distorted_tetrahedra_strains_evenly(order, amount, rng):
    """Boundary points moved by an affine map: every inner point follows it (Irons' patch test)."""
    mesh = distorted_box(order, rng)
    outer = ((mesh.points < 1e-9) | (mesh.points > 1 - 1e-9)).any(axis=1)
    builder = ps.ModelBuilder(gravity=WEIGHTLESS)
    body = builder.add_soft_body(mesh, ps.NeoHookean(1e5, 0.3))
    builder.attach(body, np.flatnonzero(outer))
    model = builder.finalize()
    F = np.eye(3) + amount * rng.uniform(-1, 1, (3, 3))
    wanted = mesh.points @ F.T + 0.1
    start = wanted + ~outer[:, None] * rng.uniform(-0.01, 0.01, wanted.shape)
    state, _ = ps.solve_equilibrium(model, model.state(start), tolerance=1e-9)
    assert np.abs(state.positions - wanted).max() < 1e-8


def face_stress(F, young, poisson, order=1):
    """First Piola stress [Pa] of a unit cube under x = F X: forces of the points on the faces x = 1, y = 1 and z = 1, as columns."""
    mesh = ps.box_mesh((1.0, 1.0, 1.0), (1, 1, 1), order=order)
    builder = ps.ModelBuilder(gravity=WEIGHTLESS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # four nodes above 0.4 lock, but not under a homogeneous strain
        builder.add_soft_body(mesh, ps.NeoHookean(young, poisson))
    model = builder.finalize()
    a = Assembly(model)
    a.x.assign(model.vectors((mesh.points @ np.asarray(F).T)[None]))
    a.evaluate()
    gradient = a.gradient.numpy()[0]
    # the middle plane's points (ten nodes) share each face's force: first moments give the volume average of P
    return gradient.T @ mesh.points


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("poisson", [0.3, 0.45, 0.499, -0.3])
def test_young_and_poisson_come_out_as_asked(order, poisson):
    """Small confined strain: C11 = lam + 2 mu, C12 = lam, C44 = mu, of which E and nu as Hooke's law has them."""
    young, small = 1e5, 1e-6
    confined = face_stress(np.diag([1 + small, 1, 1]), young, poisson, order)
    sheared = face_stress(np.eye(3) + small * np.eye(3)[[1, 2, 0]].T, young, poisson, order)
    lam, mu = confined[1, 1] / small, (confined[0, 0] - confined[1, 1]) / (2 * small)
    assert lam / (2 * (lam + mu)) == pytest.approx(poisson, rel=1e-3)
    assert mu * (3 * lam + 2 * mu) / (lam + mu) == pytest.approx(young, rel=1e-3)
    assert np.abs(sheared).max() / small == pytest.approx(mu, rel=1e-3)
    uniaxial = face_stress(np.diag([1 + small, 1 - poisson * small, 1 - poisson * small]), young, poisson, order)
    assert uniaxial[0, 0] / small == pytest.approx(young, rel=1e-3)
    assert abs(uniaxial[1, 1]) < 1e-3 * young * small


# W = mu/2 (I1 - 3) - mu (J - 1) + (lam + mu)/2 (J - 1)^2 (Smith, de Goes and Kim 2018, eq. 13 without its logarithm), E = 1e5 Pa:
# (stretch, free stretch of the other directions, P11), solved to the last digit with scipy.
UNIAXIAL = {
    0.3: [
        (0.7, 1.0879675865519869, -38113.92688943709),
        (0.9, 1.0304020550550783, -10757.623720586664),
        (1.01, 0.9970056138751764, 993.138076975687),
        (1.1, 0.9706434774573919, 9365.427960469286),
        (1.3, 0.9166442529086907, 25140.926438149854),
        (1.5, 0.8692269873603532, 38319.088319088325),
    ],
    0.45: [
        (0.7, 1.1693361102674928, -43219.0610234242),
        (0.9, 1.048220125784067, -11063.809658956518),
        (1.01, 0.9955296610098551, 990.8055325914247),
        (1.1, 0.9577867048047943, 9173.812793077534),
        (1.3, 0.8871201995900612, 23952.72550342943),
        (1.5, 0.8299933065325823, 35887.6117496808),
    ],
}
EQUIBIAXIAL = {
    0.3: [
        (0.7, 1.0717075456959848, -36184.45403855558),
        (0.9, 1.0737619543603825, -14656.612591103767),
        (1.01, 0.9913480665654957, 1421.516028821541),
        (1.1, 0.9087495306045812, 13432.667504403966),
        (1.3, 0.7266361598231013, 34378.695007027694),
        (1.5, 0.5766590389016019, 49165.75263725849),
    ],
    0.45: [
        (0.7, 1.5848279917671275, -99590.13613244466),
        (0.9, 1.1784155534982146, -22171.004472279805),
        (1.01, 0.9837857750473803, 1784.4161425204948),
        (1.1, 0.8509686081452592, 15230.483634837645),
        (1.3, 0.6288691180947871, 34337.49687816139),
        (1.5, 0.47941888619854717, 46440.403024279156),
    ],
}
CONFINED = {  # (stretch, P11, P22)
    0.3: [
        (0.7, -40384.61538461539, -8653.846153846156),
        (0.9, -13461.538461538454, -4807.692307692305),
        (1.01, 1346.153846153844, 586.538461538461),
        (1.1, 13461.538461538476, 6730.769230769238),
        (1.3, 40384.61538461539, 25961.53846153846),
        (1.5, 67307.6923076923, 52884.615384615376),
    ],
    0.45: [
        (0.7, -113793.10344827594, -62068.96551724143),
        (0.9, -37931.03448275862, -27586.206896551732),
        (1.01, 3793.1034482758696, 3137.9310344827645),
        (1.1, 37931.034482758674, 34482.75862068971),
        (1.3, 113793.10344827591, 124137.93103448284),
        (1.5, 189655.1724137932, 241379.31034482768),
    ],
}


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("poisson", [0.3, 0.45])
def test_large_homogeneous_strains_give_the_laws_stress(order, poisson):
    mu = 1e5 / (2 * (1 + poisson))
    close = {"rtol": 1e-6, "atol": 1e-6 * mu}
    for stretch, lateral, p11 in UNIAXIAL[poisson]:
        P = face_stress(np.diag([stretch, lateral, lateral]), 1e5, poisson, order)
        np.testing.assert_allclose(P, np.diag([p11, 0.0, 0.0]), **close)
    for stretch, thickness, p11 in EQUIBIAXIAL[poisson]:
        P = face_stress(np.diag([stretch, stretch, thickness]), 1e5, poisson, order)
        np.testing.assert_allclose(P, np.diag([p11, p11, 0.0]), **close)
    for stretch, p11, p22 in CONFINED[poisson]:
        P = face_stress(np.diag([stretch, 1.0, 1.0]), 1e5, poisson, order)
        np.testing.assert_allclose(P, np.diag([p11, p22, p22]), **close)
    for gamma in (0.01, 0.1, 0.3, 0.5, 1.0):  # P12 = mu gamma, at any shear; P21 balances the moment of P11 = P22 = 0
        P = face_stress([[1, gamma, 0], [0, 1, 0], [0, 0, 1]], 1e5, poisson, order)
        np.testing.assert_allclose([P[0, 1], P[0, 0], P[1, 1]], [mu * gamma, 0.0, 0.0], **close)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("state", ["flat", "turned inside out"])
def test_squashed_and_inverted_bars_come_back_to_rest(order, state):
    builder, _, _ = held_box((0.3, 0.1, 0.1), (3, 1, 1), ps.NeoHookean(1e5, 0.4), order)
    model = builder.finalize()
    start = model.rest.copy()
    if state == "flat":
        start[model.free, 2] = 0.05
    else:
        start[:, 0] *= -1
    found, _ = ps.solve_equilibrium(model, model.state(start), tolerance=1e-7)
    assert np.abs(found.positions - model.rest).max() < 1e-8


# --- inflation and locking ---------------------------------------------------------------------------------------------------------


def sphere_faces(level):
    """Outward triangles of a subdivided icosahedron: (unit points, faces)."""
    golden = (1 + 5**0.5) / 2
    points = np.array([[0, a, b * golden] for a in (-1, 1) for b in (-1, 1)], float)
    points = np.concatenate([np.roll(points, k, axis=1) for k in range(3)]) / np.hypot(1, golden)
    faces = ConvexHull(points).simplices
    for _ in range(level):
        edges, inverse = np.unique(np.sort(faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1), axis=0, return_inverse=True)
        middles = points[edges].sum(axis=1)
        a, b, c = faces.T
        ab, bc, ca = len(points) + inverse.reshape(-1, 3).T
        points = np.concatenate([points, middles / np.linalg.norm(middles, axis=1, keepdims=True)])
        faces = np.concatenate([np.stack(f, axis=1) for f in ((a, ab, ca), (ab, b, bc), (ca, bc, c), (ab, bc, ca))])
    normals = np.cross(points[faces[:, 1]] - points[faces[:, 0]], points[faces[:, 2]] - points[faces[:, 0]])
    inward = (normals * points[faces[:, 0]]).sum(axis=1) < 0
    faces[inward] = faces[inward][:, [0, 2, 1]]
    return points, faces


def shell_mesh(inner, outer, level, layers, order):
    """A thick sphere: prisms between subdivided icosahedra, three tetrahedra each; middles of edges lie on their spheres."""
    points, faces = sphere_faces(level)
    radii = np.geomspace(inner, outer, layers + 1)
    nodes = (radii[:, None, None] * points).reshape(-1, 3)
    cells = []
    for layer in range(layers):
        low = np.sort(faces, axis=1) + layer * len(points)
        high = low + len(points)
        for corners in ((low[:, 0], low[:, 1], low[:, 2], high[:, 2]), (low[:, 0], low[:, 1], high[:, 1], high[:, 2])):
            cells.append(np.stack(corners, axis=1))
        cells.append(np.stack((low[:, 0], high[:, 0], high[:, 1], high[:, 2]), axis=1))
    cells = np.concatenate(cells)
    a, b, c, d = (nodes[cells[:, k]] for k in range(4))
    inverted = np.einsum("ij,ij->i", np.cross(b - a, c - a), d - a) < 0
    cells[inverted] = cells[inverted][:, [0, 2, 1, 3]]
    mesh = ps.TetMesh(nodes, cells)
    if order == 1:
        return mesh
    mesh = mesh.quadratic()
    pairs = np.array([[0, 1], [1, 2], [2, 0], [0, 3], [1, 3], [2, 3]])
    ends = np.empty((len(mesh.points), 2), int)
    ends[mesh.cells[:, 4:].ravel()] = mesh.cells[:, pairs].reshape(-1, 2)
    middle = np.arange(len(mesh.points)) >= len(nodes)
    radius = np.linalg.norm(mesh.points, axis=1)
    radius[middle] = radius[ends[middle]].mean(axis=1)
    return replace(mesh, points=mesh.points / np.linalg.norm(mesh.points, axis=1, keepdims=True) * radius[:, None])


def inflate(poisson, order, level=1, layers=3):
    """(u_a, u_b) [m] of a sphere of radii 0.05 and 0.1 m, E = 1e5 Pa, under 1000 Pa inside, from a hundredth of the pressure."""
    mesh = shell_mesh(0.05, 0.1, level, layers, order)
    builder = ps.ModelBuilder(gravity=WEIGHTLESS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that four nodes lock is what this shows
        body = builder.add_soft_body(mesh, ps.NeoHookean(1e5, poisson))
    builder.attach(body, np.arange(len(mesh.points)), stiffness=1e-4)  # against rigid motion; E a = 5000 N/m
    forces = area_forces(mesh, np.isclose(np.linalg.norm(mesh.points, axis=1), 0.05))
    forces *= 4 * np.pi * 0.05**2 / np.linalg.norm(forces, axis=1).sum()  # the sphere's area, not the polyhedron's
    for point in np.flatnonzero(forces.any(axis=1)):
        builder.add_load(body, [point], 10.0 * forces[point], name=f"pressure {point}")
    model = builder.finalize()
    state, _ = ps.solve_equilibrium(model, tolerance=1e-9)
    outward = mesh.points / np.linalg.norm(mesh.points, axis=1, keepdims=True)
    radial = ((state.positions - mesh.points) * outward).sum(axis=1)
    radius = np.linalg.norm(mesh.points, axis=1)
    return [100 * radial[np.isclose(radius, r)].mean() for r in (0.05, 0.1)]


@pytest.mark.parametrize(
    ("poisson", "inside", "outside"),
    [
        (0.3, 0.0004, 0.00015),
        (0.45, 0.0004214285714285714, 0.00011785714285714284),
        (0.499, 0.00042842857142857146, 0.00010735714285714287),
    ],
)
def test_thick_sphere_inflates_as_lame_says(poisson, inside, outside):
    """Lame's thick sphere (Timoshenko and Goodier, Theory of Elasticity, section 136)."""
    found = inflate(poisson, order=2)
    assert found == pytest.approx([inside, outside], rel=0.02)


def test_four_nodes_lock_where_ten_do_not():
    """Why ten nodes: at 0.499 the same sphere of four-node tetrahedra is far too stiff."""
    found = inflate(0.499, order=1)
    assert found[0] < 0.8 * 0.00042842857142857146


# --- Cook's membrane ---------------------------------------------------------------------------------------------------------------


def test_cooks_membrane_in_plane_stress():
    """Cook 1974: E = 1, nu = 1/3, unit load over the end; 23.96 at the middle of the end. A thin slab is in plane stress."""
    n, thickness = 12, 2.0
    box = ps.box_mesh((1.0, 1.0, thickness), (n, n, 1))
    s, t, z = box.points.T
    mesh = ps.TetMesh(np.stack([48 * s, 44 * s + t * (44 * (1 - s) + 16 * s), z], axis=1), box.cells).quadratic()
    builder = ps.ModelBuilder(gravity=WEIGHTLESS)
    body = builder.add_soft_body(mesh, ps.NeoHookean(1.0, 1 / 3))
    x, y = mesh.points[:, 0], mesh.points[:, 1]
    builder.attach(body, np.flatnonzero(x == 0.0))
    weights = np.linalg.norm(area_forces(mesh, x == 48.0), axis=1)
    tip = np.flatnonzero(weights)
    builder.add_load(body, tip, (0.0, 1e-3 * thickness, 0.0), weights=weights[tip])
    model = builder.finalize()
    state, _ = ps.solve_equilibrium(model, tolerance=1e-12)
    middle = np.isclose(x, 48.0) & np.isclose(y, 52.0)
    found = 1e3 * (state.positions - mesh.points)[middle, 1].mean()
    assert found == pytest.approx(23.96, rel=0.01)


# --- chains of springs -------------------------------------------------------------------------------------------------------------


def hanging_chain(links, length, span, weight, stiffness):
    """Equilibrium of a chain of springs between two ends: (sag, horizontal force, largest tension, positions).

    `weight` is per rest length [N/m], `stiffness` E A [N]. Masses sit on the points, each link giving half to either end.
    """
    x = np.linspace(0.0, span, links + 1)
    depth = np.sqrt(length**2 - span**2) / 2
    points = np.stack([x, 0 * x, -depth * (1 - np.abs(2 * x / span - 1))], axis=1)
    edges = np.stack([np.arange(links), np.arange(1, links + 1)], axis=1)
    net = ps.SpringNet(points, edges, np.full(links, length / links))
    mass = np.full(links + 1, weight * length / links / 9.81)
    mass[[0, -1]] /= 2
    builder = ps.ModelBuilder()
    body = builder.add_springs(net, ps.Spring(stiffness * links / length), mass)
    builder.attach(body, [0, links])
    model = builder.finalize()
    state, _ = ps.solve_equilibrium(model, tolerance=1e-8)
    legs = np.diff(state.positions, axis=0)
    lengths = np.linalg.norm(legs, axis=1)
    tension = stiffness * (lengths * links / length - 1)
    return -state.positions[:, 2].min(), (tension * legs[:, 0] / lengths).mean(), tension.max()


@pytest.mark.parametrize(
    ("links", "sag", "force"), [(10, 0.2938642493310066, 0.23408338974164603), (20, 0.2927214753075241, 0.234598602169318)]
)
def test_chain_of_stiff_links_hangs_as_its_balance_says(links, sag, force):
    """Statics of equal rigid links of weight 0.5 N/m, 1.2 m over a span of 1 m; the springs stretch by 1e-5."""
    found = hanging_chain(links, 1.2, 1.0, 0.5, 2e4)
    assert found[:2] == pytest.approx((sag, force), rel=5e-3)


def test_fine_elastic_chain_is_the_elastic_catenary():
    """Irvine, Cable Structures, section 1.3: L0 = 1.2 m, span 1 m, w = 0.5 N/m, E A = 20 N: (sag, H, largest tension)."""
    found = hanging_chain(200, 1.2, 1.0, 0.5, 20.0)
    assert found == pytest.approx((0.30593173248510136, 0.22321713479878294, 0.37393300104133365), rel=5e-3)


def test_hanging_strip_stretches_under_its_own_weight():
    """s g L^2/(2 k) = 4.586175 mm for s = 0.187 kg/m^2, k = 50 N/m of stretch stiffness, L = 0.5 m; exact for any mesh."""
    links, height, width = 12, 0.5, 0.1
    z = np.repeat(-np.linspace(0.0, height, links + 1), 2)
    points = np.stack([np.tile([0.0, width], links + 1), 0 * z, z], axis=1)
    edges = np.arange(2 * links)[:, None] + [0, 2]
    mass = np.full(len(points), 0.187 * width * height / links / 2)
    mass[:2] /= 2
    mass[-2:] /= 2
    builder = ps.ModelBuilder()
    body = builder.add_springs(ps.SpringNet(points, edges), ps.Spring(50.0 * (width / 2) / (height / links)), mass)
    builder.attach(body, [0, 1])
    state, _ = ps.solve_equilibrium(builder.finalize(), tolerance=1e-10)
    assert -state.positions[-2:, 2] - height == pytest.approx(0.004586175, rel=1e-6)


# --- convergence with the mesh -----------------------------------------------------------------------------------------------------


def harmonic_error(order, cells, turn):
    """Root-mean-square error at the cells' centres for u = grad(exp(2 x') cos(2 y')), a solution of Hooke's law without forces."""
    mesh = ps.box_mesh((1.0, 1.0, 1.0), (cells,) * 3, order=order)
    amplitude = 1e-7

    def exact(points):
        x, y, _ = (points @ turn).T
        local = np.stack([np.cos(2 * y), -np.sin(2 * y), 0 * x], axis=1) * np.exp(2 * x)[:, None]
        return amplitude * local @ turn.T

    outer = ((mesh.points == 0.0) | (mesh.points == 1.0)).any(axis=1)
    builder = ps.ModelBuilder(gravity=WEIGHTLESS)
    body = builder.add_soft_body(mesh, ps.NeoHookean(1.0, 0.3))
    builder.attach(body, np.flatnonzero(outer))
    model = builder.finalize()
    start = mesh.points + outer[:, None] * exact(mesh.points)
    state, _ = ps.solve_equilibrium(model, model.state(start), tolerance=1e-15)
    moved = state.positions - mesh.points
    centres = mesh.points[mesh.cells[:, :4]].mean(axis=1)
    shape = np.full(4, 1 / 4) if order == 1 else np.array([-1 / 8] * 4 + [1 / 4] * 6)
    error = np.einsum("k,mki->mi", shape, moved[mesh.cells]) - exact(centres)
    return np.sqrt((mesh.volumes() * (error**2).sum(axis=1)).sum()) / amplitude


@pytest.mark.parametrize(("order", "sizes", "rate"), [(1, (4, 8), 2.0), (2, (3, 6), 3.0)])
def test_error_falls_with_the_mesh_at_the_elements_rate(order, sizes, rate, rng):
    turn = Rotation.random(random_state=int(rng.integers(2**31))).as_matrix()
    coarse, fine = (harmonic_error(order, n, turn) for n in sizes)
    assert np.log2(coarse / fine) > rate - 0.3
