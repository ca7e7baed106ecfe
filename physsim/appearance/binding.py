"""Splats bound to what moves: soft bodies, sheets, nets, rods, rigid things. Torch in, torch out, with gradients.

How a body carries splats, with all formulas, stands in `physsim.kernels.render.binding`.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
import warp as wp

from physsim.appearance.carriers import carriage, usual_distance
from physsim.appearance.launch import launch, torch_stream, warp_array
from physsim.appearance.quaternions import rotation_matrices
from physsim.appearance.splats import Splats
from physsim.errors import InputError
from physsim.kernels.render.binding import binding_kernels
from physsim.physics import validation
from physsim.physics.model import Body

_REALS = {torch.float32: wp.float32, torch.float64: wp.float64}
_LIMIT = 4.0


@dataclass(frozen=True, eq=False)
class Posed:
    """Splats in a pose of what they are bound to.

    Args:
        means: centres [m], shape [n, 3].
        factors: M = F R S [m], covariance M M^T, shape [n, 3, 3].
        deformations: F, shape [n, 3, 3], its stretches within the binding's limit, so that it has an inverse.
    """

    means: torch.Tensor
    factors: torch.Tensor
    deformations: torch.Tensor

    def directions(self, eye: torch.Tensor) -> torch.Tensor:
        """Directions of view turned into the material's frame, where spherical harmonics stay.

        Args:
            eye: where the camera stands [m], shape [3].

        Returns:
            Unit vectors along F^-1 (mean - eye), shape [n, 3].
        """
        eye = torch.as_tensor(eye, dtype=self.means.dtype, device=self.means.device)
        a, b, c = self.deformations.unbind(-1)
        view = self.means - eye
        volume = torch.cross(b, c, dim=-1)
        sign = torch.where((volume * a).sum(-1, keepdim=True) < 0, -1.0, 1.0)  # only without a limit
        rows = (volume, torch.cross(c, a, dim=-1), torch.cross(a, b, dim=-1))
        turned = torch.stack([(row * view).sum(-1) for row in rows], dim=-1)
        return torch.nn.functional.normalize(sign * turned, dim=-1, eps=1e-8)


class Binding:
    """Splats bound to a deformable body; made by `bind`.

    Args:
        splats: at rest.
        mesh: TetMesh, TriMesh, SpringNet, Curve or RigidFrame.
        particles: numbers of the mesh's points in the model, shape [p]; None: bound to a mesh alone.
        outside: how far from the mesh a splat's mean may lie [m]; None: as `usual_distance` has it.
        limit: stretches of F are clamped to [1 / limit, limit]; None: not at all.

    Raises:
        InputError: splats that `Splats.check` refuses, none at all, too far away, another kind of mesh, a limit not above 1.
    """

    def __init__(self, splats: Splats, mesh: object, particles: np.ndarray | None = None, outside=None, limit=_LIMIT):
        validation.instance("splats", splats, Splats)
        splats.check()
        if len(splats) == 0:
            raise InputError("bind: no splats were given; make some by physsim.appearance.sources")
        self.splats, self.mesh, self.particles = splats, mesh, particles
        self.limit = 0.0 if limit is None else float(validation.array("limit", limit, (), lower=1.0, lower_open=True))
        points = splats.means.detach().cpu().double().numpy()
        carried = carriage(mesh, points)
        self.outside = usual_distance(mesh) if outside is None else float(validation.array("outside", outside, (), lower=0.0))
        far = np.flatnonzero(carried.away > self.outside + 1e-9)
        if len(far):
            i = int(carried.away.argmax())
            text = f"bind: {len(far)} splats lie outside the body, splat {i} by {carried.away[i]:.4g} m; {self.outside:.4g} m are allowed"
            raise InputError(f"{text}; move or remove them, or raise outside")
        self._rest = torch.as_tensor(mesh.points, dtype=splats.means.dtype, device=splats.means.device)
        self._rows = {}  # particles by the device of positions
        self._tables = _Tables(carried, len(mesh.points), splats.means.device, _real_of(splats), mesh.points)

    def pose(self, positions: torch.Tensor, splats: Splats | None = None) -> Posed:
        """The splats where the body is now.

        Args:
            positions: of the body's particles [m], shape [p, 3], or of all of the model's particles, of which the body's own are taken.
            splats: in place of those that were bound, as many of them (a fit changes them); the weights stay.

        Returns:
            Posed, in the splats' dtype, with gradients to positions and to the splats' means, scales and rotations.

        Raises:
            InputError: not a tensor of such a shape; splats of another number, dtype or device.
        """
        splats = self.splats if splats is None else splats
        if len(splats) != self._tables.splat_count:
            raise InputError(f"pose: {len(splats)} splats were given; {self._tables.splat_count} were bound; bind the new ones")
        given, bound = splats.means, self.splats.means
        if (given.dtype, given.device) != (bound.dtype, bound.device):
            text = f"splats in {given.dtype} on {given.device} were given, and {bound.dtype} on {bound.device} were bound"
            raise InputError(f"pose: {text}; bind the new ones, or make them alike by `to`")
        positions = self._own(positions).to(dtype=self.splats.means.dtype, device=self.splats.means.device)
        return Posed(*_Pose.apply(self._tables, self.limit, positions, splats.means, splats.scales, splats.rotations))

    def rest(self) -> torch.Tensor:
        """Positions of the body's particles at rest [m], shape [p, 3]."""
        return self._rest.clone()

    def _own(self, positions: torch.Tensor) -> torch.Tensor:
        if not torch.is_tensor(positions) or not positions.is_floating_point() or positions.ndim != 2 or positions.shape[1] != 3:
            given = list(positions.shape) if hasattr(positions, "shape") else type(positions).__name__
            raise InputError(f"positions: {given} was given; a floating point torch tensor of shape [particles, 3] is needed")
        count = self._tables.particle_count
        if len(positions) == count:
            return positions
        if self.particles is None or len(positions) <= self.particles.max():
            raise InputError(f"positions: {len(positions)} particles were given; the body has {count}")
        if positions.device not in self._rows:  # kept: a copy to a GPU at every pose would make it wait
            self._rows[positions.device] = torch.as_tensor(self.particles, device=positions.device)
        return positions[self._rows[positions.device]]


class RigidBinding:
    """Splats on something rigid, such as a robot's link.

    Args:
        splats: in the coordinates of the thing.

    Raises:
        InputError: splats that `Splats.check` refuses.
    """

    def __init__(self, splats: Splats):
        validation.instance("splats", splats, Splats)
        self.splats = splats.check()

    def pose(self, rotation: torch.Tensor, translation: torch.Tensor, splats: Splats | None = None) -> Posed:
        """The splats where the thing is now.

        Args:
            rotation: from the thing's coordinates to the world, shape [3, 3].
            translation: of the thing's origin [m], shape [3].
            splats: in place of those that were bound.

        Returns:
            Posed, with gradients to all of them.

        Raises:
            InputError: other shapes, or no rotation.
        """
        splats = self.splats if splats is None else splats
        kind = {"dtype": splats.means.dtype, "device": splats.means.device}
        rotation, translation = torch.as_tensor(rotation, **kind), torch.as_tensor(translation, **kind)
        if tuple(rotation.shape) != (3, 3) or tuple(translation.shape) != (3,):
            text = f"rotation of shape {list(rotation.shape)} and translation of shape {list(translation.shape)}"
            raise InputError(f"pose: {text} were given; [3, 3] and [3] are needed")
        off = (rotation @ rotation.T - torch.eye(3, **kind)).abs().max()
        if not off < 1e-3 or torch.linalg.det(rotation) < 0:
            raise InputError("pose: rotation is no rotation; its rows must be orthogonal unit vectors, right-handed")
        factors = rotation @ (rotation_matrices(splats.rotations) * splats.scales[:, None, :])
        return Posed(splats.means @ rotation.T + translation, factors, rotation.expand(len(splats), 3, 3))


def bind(splats: Splats, body: object, *, outside: float | None = None, limit: float | None = _LIMIT) -> Binding:
    """Bind splats to a body, so that they move, turn and stretch with its material.

    Args:
        splats: in the rest shape of the body.
        body: Body of a model, or its rest shape: TetMesh (4 or 10 nodes), TriMesh, SpringNet, Curve.
        outside: how far from the mesh a splat's mean may lie [m]; it moves with the nearest point of the mesh and turns about it. None: the
            mean length of the mesh's edges, or a twentieth of its diagonal if that is more.
        limit: needles: stretches of F are clamped to [1 / limit, limit], and elements that are inside out to 1 / limit; None: not at all.

    Returns:
        Binding.

    Raises:
        InputError: splats that `Splats.check` refuses, none at all, too far away, another kind of body, a limit not above 1.
    """
    if isinstance(body, Body):
        return Binding(splats, body.mesh, body.particles, outside, limit)
    return Binding(splats, body, None, outside, limit)


_kernels = lru_cache(binding_kernels)


def _real_of(splats: Splats):
    if splats.means.dtype not in _REALS:
        raise InputError(f"splats: {splats.means.dtype} was given; float32 or float64 is needed")
    return _REALS[splats.means.dtype]


class _Tables:
    """A carriage on a device."""

    def __init__(self, carried, particle_count: int, device: torch.device, real, rest: np.ndarray):
        self.real, self.device = real, device
        self.splat_count, self.carrier_count, self.particle_count = len(carried.away), len(carried.kinds), particle_count
        self.vec3, self.vec4 = wp.types.vector(3, real), wp.types.vector(4, real)
        self.mat33 = wp.types.matrix((3, 3), real)
        with torch_stream(device):
            self.kinds = self._array(carried.kinds.astype(np.int32), int)
            self.axes = self._array(carried.axes, self.mat33)
            self.anchors = self._array(carried.means.apply(rest), self.vec3)
            self.slopes, self.shares, self.means = (self._map(m) for m in (carried.slopes, carried.shares, carried.means))
            self.by_carrier = self._map(carried.shares.transposed(self.carrier_count))
            self.by_particle = [self._map(m.transposed(particle_count)) for m in (carried.slopes, carried.means)]

    def _array(self, values: np.ndarray, kind) -> wp.array:
        return wp.array(np.ascontiguousarray(values), dtype=kind, device=wp.device_from_torch(self.device))

    def _map(self, gather) -> list:
        """Offsets, columns and values on the device."""
        indices = [self._array(a.astype(np.int32), int) for a in (gather.offsets, gather.columns)]
        return [*indices, self._array(gather.values, self.real if gather.values.ndim == 1 else self.vec3)]

    def launch(self, name: str, count: int, inputs: list) -> None:
        """Launch a kernel by its name."""
        launch(_kernels(self.real)[name], count, inputs, self.device)

    def view(self, tensor: torch.Tensor):
        """A contiguous tensor [n, 3], [n, 4] or [n, 3, 3] as an array of vectors or matrices."""
        return warp_array(tensor, self.mat33 if tensor.ndim == 3 else self.vec3 if tensor.shape[1] == 3 else self.vec4)


class _Pose(torch.autograd.Function):
    @staticmethod
    def forward(ctx, tables, limit, positions, means, scales, rotations):
        t, n = tables, tables.splat_count
        new = lambda *shape: torch.empty(shape, dtype=means.dtype, device=means.device)  # noqa: E731
        told, carried, blended = new(t.carrier_count, 3, 3), new(t.carrier_count, 3, 3), new(n, 3, 3)
        out = new(n, 3), new(n, 3, 3), new(n, 3, 3)
        given = [value.contiguous() for value in (positions, means, scales, rotations)]
        x, *shapes = map(t.view, given)
        t.launch("carriers", t.carrier_count, [*t.slopes, t.kinds, t.axes, x, t.view(told), t.view(carried)])
        inputs = [t.real(limit), *t.shares, *t.means, t.anchors, *shapes, x, t.view(carried)]
        t.launch("splats", n, [*inputs, t.view(blended), *map(t.view, out)])
        ctx.tables, ctx.limit = tables, limit
        ctx.save_for_backward(*given[1:], told, blended, out[2])
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, *gradients):
        t, n = ctx.tables, ctx.tables.splat_count
        means, scales, rotations, told, blended, deformations = ctx.saved_tensors
        new = lambda *shape: torch.empty(shape, dtype=means.dtype, device=means.device)  # noqa: E731
        by_blended, by_told, by_positions = new(n, 3, 3), new(t.carrier_count, 3, 3), new(t.particle_count, 3)
        by_splats = new(n, 3), new(n, 3), new(n, 4)
        gradients = [g.contiguous() for g in gradients]
        moved, factor, deformation = map(t.view, gradients)
        inputs = [t.real(ctx.limit), t.anchors, *map(t.view, (means, scales, rotations, blended, deformations))]
        spread, inner = t.view(by_blended), t.view(by_told)
        t.launch("splats_backward", n, [*inputs, moved, factor, deformation, spread, *map(t.view, by_splats)])
        t.launch("carriers_backward", t.carrier_count, [*t.by_carrier, t.kinds, t.axes, t.view(told), spread, inner])
        t.launch("particles_backward", t.particle_count, [*t.by_particle[0], *t.by_particle[1], inner, moved, t.view(by_positions)])
        return None, None, by_positions, *by_splats
