"""The smallest models that use the kernels that models commonly use: what `physsim warmup` compiles of physics."""

import numpy as np
import warp as wp

from physsim.physics.builder import ModelBuilder
from physsim.physics.materials import NeoHookean, Rod, Shell, Spring
from physsim.physics.mesh import box_mesh, spring_net
from physsim.physics.rods import Curve
from physsim.physics.sheets import sheet_mesh
from physsim.physics.solvers import SolverExplicit, SolverImplicit
from physsim.physics.solvers.static import SolverStatic

KINDS = {"spring nets": "net", "sheets": "sheet", "rods": "rod", "four-node solids": 1, "ten-node solids": 2}


def solve(kind, device, dtype):
    """Run every kind of solve once on the smallest model of a kind.

    Args:
        kind: "net", "sheet", "rod", or the order of a solid's tetrahedra.
        device: Warp's name.
        dtype: "float32" or "float64".
    """
    from physsim.physics.diff.torch_bridge import equilibrium, simulate

    def build():
        builder = ModelBuilder()
        if kind == "rod":
            material = Rod(young=1e6, radius=0.01, density=1000.0)
            body = builder.add_rod(Curve.straight((0, 0, 0), (0.1, 0, 0), 3), material)
            builder.attach(body, body.mesh.end(0))
        elif kind == "sheet":
            body = builder.add_cloth(sheet_mesh((0.1, 0.1), (3, 3)), Shell(young=1e6, thickness=1e-3, density=1000.0))
            builder.attach(body, [0, 3])
        elif kind != "net":
            mesh = box_mesh((0.1, 0.1, 0.1), (1, 1, 1), order=kind)
            body = builder.add_soft_body(mesh, NeoHookean(1e5, 0.3, 1000.0, viscosity=1.0))
            builder.attach(body, np.flatnonzero(mesh.points[:, 0] < 1e-9))
            builder.add_load(body, [len(mesh.points) - 1], (0.0, 0.0, 0.0))
        else:
            body = builder.add_springs(spring_net((2, 2), (0.1, 0.1)), Spring(10.0, 0.01), 0.1)
            builder.attach(body, [0, 2])
            builder.attach(body, [8], stiffness=1.0)
        return builder.finalize(device, dtype), body

    def implicit(linear):
        model, body = build()
        solver = SolverImplicit(model, 1e-3, linear=linear)
        import torch

        key = body.parameters["stiffness" if kind == "net" else "young"]
        value = torch.tensor(float(key.value.mean()), dtype=torch.float64, requires_grad=True)
        simulate(solver, times=[3e-3], params={key: value}).positions.sum().backward()

    def explicit():
        model, _ = build()
        SolverExplicit(model, 1e-5).run(model.state(), 2)

    def static():
        model, _ = build()
        equilibrium(SolverStatic(model))

    for linear in ("cg", "direct", "multigrid") if wp.get_device(device).is_cpu else ("cg",):
        implicit(linear)
    explicit()
    static()
