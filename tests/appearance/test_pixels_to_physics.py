"""Gradients from pixels to positions, deformations and materials, against central differences of the same chain in double precision.

The chain under test draws by the kernels, in single precision; the truth draws by `raster_twin`.
"""

import numpy as np
import pytest
import raster_twin
import torch

import physsim as ps
from physsim.appearance.binding import Posed, bind
from physsim.appearance.color import ColorNetwork, splat_colors
from physsim.appearance.projection import view
from physsim.appearance.splats import Splats

pytestmark = pytest.mark.usefixtures("one_thread")

CLOSE = 2e-4  # of the gradient's norm: single precision's rounding, summed over the pixels
BODIES = {
    "solid": ps.box_mesh((1.0, 0.4, 0.4), (2, 1, 1)),
    "quadratic solid": ps.box_mesh((1.0, 0.4, 0.4), (2, 1, 1), order=2),
    "sheet": ps.sheet_mesh((1.0, 0.6), (3, 2)),
    "net": ps.spring_net((3, 2), (1.0, 0.6)),
    "rod": ps.Curve.straight((0.0, 0.0, 0.0), (1.0, 0.0, 0.0), 4),
}


def splats_on(mesh, rng, count=40, degree=2):
    """Splats about a mesh's points, whose colours depend on the direction of view."""
    middles = mesh.points[rng.integers(len(mesh.points), size=count)] + rng.uniform(-0.05, 0.05, (count, 3))
    harmonics = 0.3 * rng.normal(size=(count, (degree + 1) ** 2, 3))
    rotations = rng.normal(size=(count, 4))
    rotations /= np.linalg.norm(rotations, axis=1, keepdims=True)
    arrays = middles, rng.uniform(0.03, 0.12, (count, 3)), rotations, rng.uniform(0.3, 0.9, count), harmonics
    return Splats(*(torch.as_tensor(a) for a in arrays)).check()


def camera_of(points, size=(28, 22)):
    return ps.Camera.around(points, width=size[0], height=size[1], margin=1.3)


def drawn(splats, posed, camera, weights, network=None):
    """A weighing of what the kernels draw: colour, alpha and alpha times depth."""
    colours = None if network is None else splat_colors(splats, posed, torch.as_tensor(camera.position), network)
    image = ps.render(ps.Scene(ps.PosedSplats(splats, posed, colours), background=(0.2, 0.5, 0.7)), camera)
    return weighed(image.colour, image.alpha, image.depth, weights)


def drawn_by_twin(splats, posed, camera, weights, network=None):
    """The same by formulas in float64."""
    seen = view(camera, True)
    colours = splat_colors(splats, posed, torch.as_tensor(camera.position), network)
    behind = torch.tensor([0.2, 0.5, 0.7], dtype=torch.float64)
    image = raster_twin.draw(posed.means, posed.factors, splats.opacities, colours, camera, (seen.low, seen.high), background=behind)
    return weighed(image.features, image.alpha, image.depth, weights)


def weighed(colour, alpha, depth, weights):
    parts = torch.cat([colour, alpha[..., None], alpha[..., None] * depth[..., None]], dim=-1).double()
    return (parts * weights).sum()


def weighing(rng, camera, frames=None):
    return torch.as_tensor(rng.normal(size=([] if frames is None else [frames]) + [camera.height, camera.width, 5]))


def assert_slopes_agree(gradients, value, at, rng, steps=(1e-7, 3e-8), close=CLOSE):
    """Along random directions of all arrays together, each scaled by how much it matters.

    Where two splats change places in depth between the two ends of a difference the image jumps; hence two steps, of which one is enough.
    """
    norm = np.sqrt(sum(float((g * g).sum()) for g in gradients))
    for _ in range(3):
        directions = [torch.as_tensor(rng.normal(size=tuple(x.shape))) for x in at]
        size = np.sqrt(sum(float((d * d).sum()) for d in directions))
        directions = [d / size for d in directions]
        ours = sum(float((g.double() * d).sum()) for g, d in zip(gradients, directions, strict=True))
        errors = []
        for step in steps:
            ends = [value(*(x + side * step * d for x, d in zip(at, directions, strict=True))) for side in (1.0, -1.0)]
            errors.append(abs(float(ends[0] - ends[1]) / (2 * step) - ours))
        assert min(errors) < close * norm, (errors, ours, norm)


@pytest.mark.parametrize("name", BODIES)
def test_an_image_tells_every_particle_where_it_wants_it(name, rng):
    mesh = BODIES[name]
    splats = splats_on(mesh, rng)
    binding = bind(splats, mesh, outside=0.5)
    x = torch.as_tensor(mesh.points + 0.03 * rng.normal(size=mesh.points.shape))
    camera = camera_of(x.numpy())
    weights = weighing(rng, camera)
    positions = x.clone().requires_grad_()
    drawn(splats, binding.pose(positions), camera, weights).backward()
    assert positions.grad.norm() > 0
    with torch.no_grad():
        assert_slopes_agree([positions.grad], lambda p: drawn_by_twin(splats, binding.pose(p), camera, weights), [x], rng)


def test_an_image_tells_deformations_how_they_turn_the_direction_of_view(rng):
    mesh = BODIES["solid"]
    splats = splats_on(mesh, rng, degree=3)
    posed = bind(splats, mesh).pose(torch.as_tensor(mesh.points))
    at = [posed.means, posed.factors, posed.deformations + 0.2 * torch.as_tensor(rng.normal(size=posed.deformations.shape))]
    camera = camera_of(mesh.points)
    weights = weighing(rng, camera)
    given = [value.clone().requires_grad_() for value in at]
    drawn(splats, Posed(*given), camera, weights).backward()
    assert given[2].grad.norm() > 0
    with torch.no_grad():
        for i in range(3):  # one by one: the image cares for means much more than for F
            twin = lambda value, i=i: drawn_by_twin(splats, Posed(*at[:i], value, *at[i + 1 :]), camera, weights)  # noqa: E731
            assert_slopes_agree([given[i].grad], twin, [at[i]], rng)


def test_colours_that_know_their_strain_tell_particles_how_to_strain(rng):
    mesh = BODIES["quadratic solid"]
    splats = splats_on(mesh, rng)
    splats = splats.replace(latents=torch.as_tensor(rng.normal(size=(len(splats), 4))))
    network = ColorNetwork(latent_count=4, width=8).double().requires_grad_(False)
    network.weight2.copy_(torch.as_tensor(0.5 * rng.normal(size=(3, 8))))  # at first it is zero
    binding = bind(splats, mesh)
    x = torch.as_tensor(mesh.points + 0.03 * rng.normal(size=mesh.points.shape))
    camera = camera_of(x.numpy())
    weights = weighing(rng, camera)
    found = []
    for given in (network, None):
        positions = x.clone().requires_grad_()
        drawn(splats, binding.pose(positions), camera, weights, given).backward()
        found.append(positions.grad)
    assert (found[0] - found[1]).norm() > 0.05 * found[1].norm()
    twin = lambda p: drawn_by_twin(splats, binding.pose(p), camera, weights, network)  # noqa: E731
    with torch.no_grad():
        assert_slopes_agree(found[:1], twin, [x], rng)


def beam():
    mesh = ps.box_mesh((1.0, 0.3, 0.3), (2, 1, 1), order=2)
    builder = ps.ModelBuilder()
    body = builder.add_soft_body(mesh, ps.NeoHookean(young=4e4, poisson=0.4, density=1000.0, viscosity=100.0))
    builder.attach(body, np.flatnonzero(mesh.points[:, 0] == 0.0))
    return builder.finalize(), body, (body.young, body.poisson, body.density, body.viscosity)


def net():
    builder = ps.ModelBuilder()
    shape = ps.spring_net((3, 3), (1.0, 1.0))
    body = builder.add_springs(shape, ps.Spring(np.full(len(shape.edges), 60.0), damping=0.1), mass=0.3)
    builder.attach(body, [0, 3])
    return builder.finalize(), body, (body.stiffness,)


def cloth():
    builder = ps.ModelBuilder()
    shell = ps.Shell(young=3e4, poisson=0.3, thickness=0.002, density=300.0)
    body = builder.add_cloth(ps.sheet_mesh((1.0, 1.0), (3, 3)), shell)
    builder.attach(body, [0, 3])
    return builder.finalize(), body, (body.young, body.density)


@pytest.mark.parametrize("build", [beam, net, cloth])
def test_a_film_tells_materials_and_the_throw_what_to_be(build, rng):
    model, body, parameters = build()
    solver = ps.SolverImplicit(model, dt=1 / 60, tolerance=1e-11)
    times = np.array([0.05, 0.1, 0.15])
    splats = splats_on(body.mesh, rng)
    binding = bind(splats, body)
    camera = camera_of(ps.simulate(solver, times=times).positions.numpy())
    weights = weighing(rng, camera, len(times))
    start = [torch.as_tensor(np.array(model.parameters[p.name]), dtype=torch.float64) for p in parameters]

    def film(draw, logs, velocities):
        values = {p: value * log.exp() for p, value, log in zip(parameters, start, logs, strict=True)}
        run = ps.simulate(solver, times=times, params=values, velocities=velocities)
        return sum(draw(splats, binding.pose(x), camera, w) for x, w in zip(run.positions, weights, strict=True))

    logs = [torch.zeros_like(value).requires_grad_() for value in start]
    velocities = torch.as_tensor(0.1 * rng.normal(size=(model.particle_count, 3))).requires_grad_()
    film(drawn, logs, velocities).backward()
    with torch.no_grad():
        fixed = [log.detach() for log in logs]
        steps = (1e-6, 3e-7)
        assert_slopes_agree([v.grad for v in logs], lambda *v: film(drawn_by_twin, v, velocities), fixed, rng, steps)
        throw = lambda v: film(drawn_by_twin, fixed, v)  # noqa: E731
        assert_slopes_agree([velocities.grad], throw, [velocities.detach()], rng, steps)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_film_drawn_on_a_gpu_tells_the_same_gradient(rng):
    model, body, parameters = beam()
    solver = ps.SolverImplicit(model, dt=1 / 60, tolerance=1e-11)
    splats = splats_on(body.mesh, rng).to(torch.float32)
    camera = camera_of(ps.simulate(solver, times=[0.1]).positions.numpy())
    weights = weighing(rng, camera)
    found = []
    for device in ("cpu", "cuda"):
        there = splats.to(torch.device(device))
        young = torch.tensor(4e4, dtype=torch.float64, requires_grad=True)
        run = ps.simulate(solver, times=[0.1], params={parameters[0]: young})
        drawn(there, bind(there, body).pose(run.positions[0]), camera, weights.to(device)).backward()
        found.append(young.grad.item())
    assert found[1] == pytest.approx(found[0], rel=1e-3)
