"""Probe: forces, energies and stresses of any state."""

import numpy as np
import warp as wp

from physsim.errors import InputError
from physsim.physics import validation
from physsim.physics.assembly import Assembly
from physsim.physics.laws import MEMBRANE, NEO_HOOKEAN, SCALARS
from physsim.physics.model import Body, require_model, require_state
from physsim.physics.strain import green_strain


class Probe:
    """Reads what acts in a state; keeps its working arrays from call to call.

    Args:
        model: Model.
    """

    def __init__(self, model):
        self.model = require_model(model)
        self._assembly = Assembly(model)

    def _evaluate(self, state, params):
        require_state(self.model, state)
        a = self._assembly
        a.set_parameters(self.model.resolve(params))
        a.set_step(0.0, 1.0, 0.0)
        a.set_active(True)
        for array in (a.x, a.x1, a.x2, a.predictor):
            wp.copy(array, state.x)
        target = state.x.numpy().copy()
        for attachment in self.model.attachments.values():
            if attachment.stiffness is not None:
                target[:, attachment.particles] = self.model.positions[attachment.particles]
        a.target.assign(target)
        if a.contact is not None:
            a.contact.place()
        a.evaluate()
        return a

    def forces(self, state, params=None):
        """Static forces on the particles: gravity, loads, contact's push; not friction, damping, inertia [N], shape [(envs,) n, 3].

        On exactly attached particles the attachment carries the opposite of this.
        """
        return self.model.squeeze(-self._evaluate(state, params).gradient.numpy())

    def energies(self, state, params=None):
        """Potential energy of every stencil [J]: dict law name -> [(envs,) stencils]; gravity's under "inertia".

        Under "contact" are rows of pairs that are near, zeros among them.
        """
        a = self._evaluate(state, params)
        host = a.energy.numpy()
        parts = zip(self.model.blocks, a.element_offsets[:-1], a.element_offsets[1:], strict=True)
        out = {b.law.name: self.model.squeeze(host[:, i:j].copy()) for b, i, j in parts}
        if a.contact is not None:
            out["contact"] = self.model.squeeze(a.contact.energy.numpy().copy())
        return out

    def energy(self, state, params=None):
        """Kinetic and potential energy of everything [J], scalar or [envs]: what dissipation only takes from."""
        potential = sum(rows.sum(axis=-1, dtype=np.float64) for rows in self.energies(state, params).values())
        masses = self._assembly.particle_masses().astype(np.float64)
        squares = (state.v.numpy().astype(np.float64) ** 2).sum(axis=-1)
        return potential + self.model.squeeze(0.5 * (masses * squares).sum(axis=1))

    def stresses(self, state, body, params=None):
        """Elastic Cauchy stress, shape [(envs,) elements, 3, 3].

        Of a soft body's tetrahedra the mean over each deformed element [Pa], of a sheet's triangles the stress times thickness [N/m].

        Raises:
            InputError: the body is not made of tetrahedra or triangles.
        """
        validation.instance("body", body, Body, "such as model.body('name')")
        cells = getattr(body.mesh, "cells", None)
        law = MEMBRANE if hasattr(body.mesh, "triangles") else NEO_HOOKEAN[cells.shape[1]] if cells is not None else None
        if law is None or self.model.bodies.get(body.name) is not body:
            raise InputError(f"body: a soft body or sheet of this model is needed, {getattr(body, 'name', body)!r} was given")
        a = self._evaluate(state, params)
        i = [b.law for b in self.model.blocks].index(law)
        count = len(self.model.blocks[i].stencil)
        dtype = wp.types.matrix((3, 3), SCALARS[self.model.dtype])
        out = wp.zeros((self.model.envs, count), dtype=dtype, device=self.model.device)
        kernel = law.stress_kernel(self.model.dtype)
        a.launcher.record(kernel, count, a.stencils[i], a.parameters[i], a.x, a.rest, out)()
        rows = body.poisson.feeds[0].rows
        return self.model.squeeze(out.numpy()[:, rows])

    def strains(self, state, body):
        """Green strain E = (F^T F - 1) / 2 of a soft body's tetrahedra or a sheet's triangles [-], shape [(envs,) elements, 3, 3].

        Of ten-node tetrahedra that of their corners; a triangle's normal is not stretched.

        Raises:
            InputError: the body is not made of tetrahedra or triangles.
        """
        validation.instance("body", body, Body, "such as model.body('name')")
        cells = getattr(body.mesh, "cells", getattr(body.mesh, "triangles", None))
        if cells is None or self.model.bodies.get(body.name) is not body:
            raise InputError(f"body: a soft body or sheet of this model is needed, {getattr(body, 'name', body)!r} was given")
        now = require_state(self.model, state).x.numpy().astype(np.float64)[:, body.particles]
        return self.model.squeeze(green_strain(body.mesh, now))


def von_mises(stress):
    """Von Mises stress [Pa], shape [...], from Cauchy stresses [..., 3, 3]."""
    deviator = stress - np.trace(stress, axis1=-2, axis2=-1)[..., None, None] / 3.0 * np.eye(3)
    return np.sqrt(1.5 * (deviator**2).sum(axis=(-2, -1)))
